//! One run in virtual time: participants, the manager's loop round the machine, and the comparison of its answers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::actors::Memory;
use super::channels::{Channel, Channels, Doing, Sent, Written};
use super::figures::Figures;
use super::noted::Noted;
use super::queues::{Queue, Waiter, id_of};
use super::reference::{Key, Reference, same};
use super::world::{ActorKind, ActorPlan, World};
use crate::random::{Random, mix};
use crate::trace::Trace;
use crate::{Violation, promise};
use wasmpool_core::share::{ObjectForm, ObjectRights};
use wasmpool_objects::fast::PutOnCredit;
use wasmpool_objects::operation::{Acquisition, Answer, ObjectError, Operation, Reply, Request};
use wasmpool_objects::{ItemEnding, Machine, Outputs, ParticipantId, ParticipantLimits, Ticket, Time};

/// Time after which the machine looks by itself at what was taken ahead.
const LOOK: Duration = Duration::from_millis(1);
/// Most time between the parts of one step that a participant does without asking.
const INSTANT: Duration = Duration::from_micros(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A participant does something.
    Step(ParticipantId),
    /// A participant goes on with what it began while the machine looked.
    Continue(ParticipantId),
    /// A request has waited for as long as the user allows its item.
    Impatience(ParticipantId, Ticket),
    /// The next participant in this place of the world joins.
    Join(usize),
    /// The manager was woken, or its time has come.
    Manager,
    Tick,
}

/// A call of the machine.
#[derive(Debug)]
enum Call {
    Ask { ticket: Ticket, request: Request },
    Put { object: u16, key: Option<String>, message: Vec<u8> },
    Released { object: u16 },
    ItemEnded { failed: bool },
    Leave,
    Tick,
}

pub(super) struct Simulation<'a> {
    machine: Machine,
    channels: Channels<'a>,
    references: Vec<Reference>,
    memories: BTreeMap<ParticipantId, Memory>,
    /// Requests that wait, with their objects.
    open: BTreeMap<Key, u16>,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    scheduled: u64,
    manager_at: Option<Time>,
    tick_at: Option<Time>,
    steps: u64,
    joined: ParticipantId,
    tickets: Ticket,
    figures: Figures,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(world: &'a World, trace: Trace) -> Simulation<'a> {
        let mut queues = BTreeMap::new();
        for (number, spec) in world.objects.iter().enumerate() {
            if let ObjectForm::Queue { capacity } = spec.form {
                let liars = world.actors.iter().any(|actor| actor.kind == ActorKind::Liar);
                queues.insert(number as u16, Queue::new(capacity, spec.quota, liars));
            }
        }
        Simulation {
            machine: Machine::new(world.objects.clone(), world.at_once),
            channels: Channels {
                world,
                random: Random::new(mix(world.seed ^ 0x0b1e_c751)),
                trace,
                now: Time::ZERO,
                all: BTreeMap::new(),
                queues,
                messages: 1,
                woken: false,
                busy: Vec::new(),
                written: Vec::new(),
                found_free: Vec::new(),
                broken: None,
            },
            references: world.objects.iter().map(Reference::new).collect(),
            memories: BTreeMap::new(),
            open: BTreeMap::new(),
            events: BinaryHeap::new(),
            scheduled: 0,
            manager_at: None,
            tick_at: None,
            steps: 0,
            joined: 0,
            tickets: 0,
            figures: Figures::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<Figures, Violation> {
        let world = self.channels.world;
        for plan in 0..world.actors.len() {
            self.join(Some(plan))?;
        }
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.channels.now = at;
            self.check_waiting()?;
            match event {
                Event::Step(who) => self.step(who),
                Event::Continue(who) => {
                    if self.channels.all.get(&who).is_some_and(|one| one.alive) && self.channels.continue_put(who) {
                        self.channels.busy.push(who);
                    }
                }
                Event::Impatience(who, ticket) => {
                    if self.channels.all.get(&who).is_some_and(|one| one.alive && one.waiting.contains_key(&ticket)) {
                        self.die(who);
                    }
                }
                Event::Join(plan) => self.join(Some(plan))?,
                Event::Manager => self.manage()?,
                Event::Tick => {
                    self.tick_at = None;
                    self.call(0, Call::Tick)?;
                }
            }
            if let Some(violation) = self.channels.broken.take() {
                return Err(violation);
            }
            self.check_waiting()?;
            self.schedule_manager();
        }
        self.look_at_the_end()?;
        for queue in self.channels.queues.values() {
            self.figures.count(&queue.counts);
        }
        self.figures.events = self.channels.trace.events();
        self.figures.hash = self.channels.trace.hash();
        Ok(self.figures)
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((self.channels.now + after, self.scheduled, event)));
    }

    fn soon(&mut self, event: Event) {
        let after = self.channels.random.time(self.channels.world.pause);
        self.schedule(after, event);
    }

    /// Lets the manager run if somebody woke it, and at the machine's next deadline.
    fn schedule_manager(&mut self) {
        for who in std::mem::take(&mut self.channels.busy) {
            let after = self.channels.random.time(INSTANT);
            self.schedule(after, Event::Continue(who));
        }
        if std::mem::take(&mut self.channels.woken) && self.manager_at.is_none() {
            let after = self.channels.random.time(self.channels.world.latency + Duration::from_nanos(1));
            self.manager_at = Some(self.channels.now + after);
            self.schedule(after, Event::Manager);
        }
        if let Some(at) = self.machine.next_deadline()
            && self.tick_at.is_none_or(|planned| planned > at)
        {
            self.tick_at = Some(at);
            self.schedule(at.saturating_sub(self.channels.now), Event::Tick);
        }
    }

    fn join(&mut self, plan: Option<usize>) -> Result<(), Violation> {
        let world = self.channels.world;
        let who = self.joined;
        self.joined += 1;
        let observer = ActorPlan {
            kind: ActorKind::Host,
            in_flight: 1,
            rights: vec![Some(ObjectRights::ALL); world.objects.len()],
            favourite: (0, 0),
        };
        let actor = plan.and_then(|plan| world.actors.get(plan)).unwrap_or(&observer);
        let grants: Vec<(u16, ObjectRights)> =
            actor.rights.iter().enumerate().filter_map(|(object, rights)| Some((object as u16, (*rights)?))).collect();
        let limits = match actor.kind {
            ActorKind::Host => ParticipantLimits { in_flight: actor.in_flight, waiting_bytes: u64::MAX, fast: false },
            ActorKind::Worker | ActorKind::Liar => ParticipantLimits::WORKER,
        };
        let name = format!("participant {who}");
        let joined = self.machine.join(who, name.clone(), &grants, limits);
        promise!(joined.is_ok(), "{who} could not join: {joined:?}");
        self.channels.note(Noted::Joined { who, name: name.clone() });
        let channel = Channel::new(plan, name, actor);
        self.channels.all.insert(who, channel);
        self.memories.insert(who, Memory::default());
        if plan.is_some() {
            self.soon(Event::Step(who));
        }
        Ok(())
    }

    fn die(&mut self, who: ParticipantId) {
        if let Some(channel) = self.channels.all.get_mut(&who) {
            channel.alive = false;
            self.channels.woken = true;
            self.figures.deaths += 1;
            self.channels.note(Noted::Dies { who });
        }
    }

    fn end_item(&mut self, who: ParticipantId) {
        let failed = self.channels.random.per_mille(500);
        self.channels.give_back(who);
        self.memories.insert(who, Memory::default());
        if let Some(channel) = self.channels.all.get_mut(&who) {
            channel.ring.push_back(Sent::ItemEnded { failed });
        }
        self.channels.woken = true;
        self.figures.ends += 1;
        self.channels.note(Noted::ItemEnds { who, failed });
    }

    /// Lets a participant do what it does next. A worker that waits for an answer does nothing until it has it.
    fn step(&mut self, who: ParticipantId) {
        let world = self.channels.world;
        let Some(channel) = self.channels.all.get(&who) else { return };
        let (alive, waits, kind) = (channel.alive, channel.waiting.len(), channel.kind);
        if !alive {
            return;
        }
        self.steps += 1;
        let over = self.steps > world.steps;
        if self.channels.random.per_mille(if over { 700 } else { world.deaths }) {
            return self.die(who);
        }
        if self.channels.continue_put(who) {
            let after = self.channels.random.time(INSTANT);
            return self.schedule(after, Event::Step(who));
        }
        if self.channels.random.per_mille(if over { 500 } else { world.ends }) {
            self.end_item(who);
        } else if kind == ActorKind::Liar && self.channels.random.per_mille(60) {
            self.lie(who);
        } else if waits < self.channels.all.get(&who).map_or(0, |one| one.in_flight as usize) {
            self.use_object(who);
        }
        let channel = self.channels.all.get(&who);
        let busy = channel.is_some_and(|one| one.doing != Doing::Nothing);
        if kind == ActorKind::Host || channel.is_some_and(|one| one.waiting.is_empty()) {
            match busy {
                true => {
                    let after = self.channels.random.time(INSTANT);
                    self.schedule(after, Event::Step(who));
                }
                false => self.soon(Event::Step(who)),
            }
        }
    }

    fn use_object(&mut self, who: ParticipantId) {
        let object = self.channels.some_object(who);
        let Some(memory) = self.memories.get(&who).cloned() else { return };
        let Some(mut request) = self.channels.some_request(who, object, &memory) else { return };
        let kind = self.channels.all.get(&who).map(|one| one.kind);
        if kind.is_some_and(|kind| kind != ActorKind::Host) && self.does_without_asking(who, &mut request) {
            return;
        }
        self.send(who, request);
    }

    /// Does what is asked without asking, if a worker can.
    fn does_without_asking(&mut self, who: ParticipantId, request: &mut Request) -> bool {
        let object = request.object;
        let reference = self.references.get(usize::from(object));
        let (is_list, is_dict) = reference.map_or((false, false), |one| (one.is_list(), one.is_dict()));
        match &mut request.operation {
            Operation::Put(message) if self.channels.queues.contains_key(&object) => {
                match self.channels.begin_put(who, object, None, std::mem::take(message)) {
                    Ok(()) => return true,
                    Err(back) => *message = back,
                }
            }
            Operation::ListExtend(values) if is_list => {
                if let [value] = values.as_mut_slice() {
                    match self.channels.begin_put(who, object, None, std::mem::take(value)) {
                        Ok(()) => return true,
                        Err(back) => *value = back,
                    }
                }
            }
            Operation::DictSet(key, value) if is_dict && self.channels.counts_versions(who, object) => {
                match self.channels.begin_put(who, object, Some(key), std::mem::take(value)) {
                    Ok(()) => return true,
                    Err(back) => *value = back,
                }
            }
            Operation::DictGet(key) if is_dict => {
                self.take_written();
                if let Some(copy) = self.channels.remembered(who, object, key) {
                    let is = self.references.get(usize::from(object)).and_then(|reference| reference.entry(key));
                    if copy.as_ref() != is {
                        let what = format!("{who} remembers {copy:?} of {key:?} in {object}, which is {is:?}");
                        self.channels.keep(Err(what));
                    }
                    return true;
                }
            }
            Operation::Get { .. } => return self.channels.take_ahead(who, object),
            Operation::Acquire if self.channels.acquire_lent(who, object) => {
                let holder = self.references.get(usize::from(object)).and_then(Reference::holder);
                if holder != Some(who) {
                    self.channels.keep(Err(format!("{who} acquired the lock {object} of {holder:?}")));
                }
                self.memories.entry(who).or_default().held.push(object);
                return true;
            }
            Operation::Release if self.channels.release_lent(who, object) => {
                let memory = self.memories.entry(who).or_default();
                if let Some(place) = memory.held.iter().position(|held| *held == object) {
                    memory.held.swap_remove(place);
                }
                return true;
            }
            _ => {}
        }
        false
    }

    /// Tells the references what was put on credit.
    fn take_written(&mut self) {
        for written in std::mem::take(&mut self.channels.written) {
            let Written { who, object, key, message, version } = written;
            let is =
                self.references.get_mut(usize::from(object)).and_then(|reference| reference.put(who, key, message));
            if is != version {
                let what = format!("{who} counts the version {version:?} of an entry in {object}, which is {is:?}");
                self.channels.keep(Err(what));
            }
        }
    }

    /// Tells a reference that a lent lock is free, if it is. The machine looks at that in the call that follows.
    fn look_at_lock(&mut self, object: u16, expected: &mut Vec<(Key, Answer)>) {
        let Some(reference) = self.references.get_mut(usize::from(object)) else { return };
        if let Some(holder) = reference.holder()
            && self.channels.has_released(holder, object)
        {
            reference.found_free(expected);
            if let Some(lock) = self.channels.all.get_mut(&holder).and_then(|one| one.locks.get_mut(&object)) {
                lock.told = true;
            }
        }
    }

    fn send(&mut self, who: ParticipantId, request: Request) {
        let ticket = self.tickets;
        self.tickets += 1;
        self.channels.note(Noted::Asked { who, ticket, request: request.clone() });
        if let Some(channel) = self.channels.all.get_mut(&who) {
            channel.asks(&request);
            channel.waiting.insert(ticket, request.clone());
            channel.ring.push_back(Sent::Ask { ticket, request });
        }
        self.channels.woken = true;
        self.figures.asked += 1;
        let patience = self.channels.world.patience;
        self.schedule(patience, Event::Impatience(who, ticket));
    }

    /// Does something that no honest participant does.
    fn lie(&mut self, who: ParticipantId) {
        let object = self.channels.some_object(who);
        let draw = self.channels.random.below(6);
        // How it lies with credit for lists and dicts, and about locks, other tests check: the references would not know
        // what to expect.
        let is_queue = self.channels.queues.contains_key(&object);
        let draw = if draw < 2 && !is_queue { 5 } else { draw };
        let much = self.channels.random.magnitude(u64::MAX);
        let message = self.channels.compose(100);
        if let Some(queue) = self.channels.queues.get_mut(&object).filter(|_| draw == 1) {
            let id = id_of(&message);
            queue.offered(id, message.len() as u64, true);
            let acknowledged = queue.acknowledged(id, true);
            self.channels.keep(acknowledged);
        }
        let Some(channel) = self.channels.all.get_mut(&who) else { return };
        match draw {
            // More credit than it was granted.
            0 => {
                let word = channel.credit.entry(object).or_default();
                word.entries = word.entries.saturating_add(much);
                word.bytes = word.bytes.saturating_add(much);
            }
            // A put on credit that it may not have.
            1 => channel.ring.push_back(Sent::Put { object, key: None, message }),
            // A release that nobody waits for.
            5 => channel.ring.push_back(Sent::Released { object }),
            // The ticket of a request that it waits for, or more requests than it may have in flight.
            2 => {
                let request = Request { object, operation: Operation::Size, timeout: None };
                let ticket = channel.waiting.keys().next().copied().unwrap_or(0);
                channel.ring.push_back(Sent::Ask { ticket, request });
            }
            // A word for messages ahead that it wrote itself.
            3 => {
                if let Some(batch) = channel.ahead.get_mut(&object) {
                    batch.taken = much as u32;
                    batch.limit = (much >> 32) as u32;
                }
            }
            // An object that does not exist.
            _ => {
                let request = Request { object: 999, operation: Operation::Acquire, timeout: None };
                return self.send(who, request);
            }
        }
        self.channels.woken = true;
    }

    /// Does what the manager does when it was woken: it reads all rings, then takes note of deaths.
    fn manage(&mut self) -> Result<(), Violation> {
        self.manager_at = None;
        let mut all: Vec<ParticipantId> = self.channels.all.keys().copied().collect();
        for place in (1..all.len()).rev() {
            all.swap(place, self.channels.random.below(place as u64 + 1) as usize);
        }
        for who in all {
            while let Some(sent) = self.channels.all.get_mut(&who).and_then(|channel| channel.ring.pop_front()) {
                match sent {
                    Sent::Ask { ticket, request } => self.call(who, Call::Ask { ticket, request })?,
                    Sent::Put { object, key, message } => self.call(who, Call::Put { object, key, message })?,
                    Sent::Released { object } => self.call(who, Call::Released { object })?,
                    Sent::ItemEnded { failed } => self.call(who, Call::ItemEnded { failed })?,
                }
            }
            if self.channels.all.get(&who).is_some_and(|channel| !channel.alive) {
                self.call(who, Call::Leave)?;
            }
        }
        Ok(())
    }

    /// Calls the machine, and checks all that it answers.
    fn call(&mut self, who: ParticipantId, call: Call) -> Result<(), Violation> {
        // What is due ends first, so that it is checked apart from what a participant that ends gives back.
        if matches!(call, Call::ItemEnded { .. } | Call::Leave) {
            self.call(who, Call::Tick)?;
        }
        let now = self.channels.now;
        let numbers: Vec<u16> = self.channels.queues.keys().copied().collect();
        for &number in &numbers {
            let (on_the_way, unread) = (self.channels.on_the_way(number), self.channels.unread(number));
            if let Some(queue) = self.channels.queues.get_mut(&number) {
                queue.begin_call(on_the_way, unread);
            }
        }
        let mut expected = Vec::new();
        self.take_written();
        for object in 0..self.references.len() as u16 {
            let reference = self.references.get(usize::from(object));
            if reference.is_some_and(|one| one.deadline().is_some_and(|at| at <= now)) {
                self.look_at_lock(object, &mut expected);
            }
        }
        self.references.iter_mut().for_each(|reference| reference.tick(now, &mut expected));
        let name = self.channels.all.get(&who).map(|channel| channel.name.clone()).unwrap_or_default();
        let mut shutdown = None;
        let mut outputs = Outputs::default();
        match call {
            Call::Ask { ticket, request } => {
                let key = (who, ticket);
                // What timed out in this call does not count any more.
                let gone = |key: &Key| expected.iter().any(|(other, _)| other == key);
                if !self.open.contains_key(&key) || gone(&key) {
                    if let Operation::Shutdown { immediately } = request.operation {
                        shutdown = Some((key, request.object, immediately));
                    }
                    self.expect(key, &request, &mut expected)?;
                }
                self.channels.note(Noted::Handled { who, ticket });
                self.machine.ask(now, who, ticket, request, &mut self.channels, &mut outputs);
            }
            Call::Put { object, key, message } => {
                let put = PutOnCredit { object, key, message };
                self.machine.put_on_credit(now, who, put, &mut self.channels, &mut outputs);
            }
            Call::Released { object } => {
                self.machine.released(now, who, object, &mut self.channels, &mut outputs);
            }
            Call::ItemEnded { failed } => {
                self.end_in_references(who, &name, failed, true, &mut expected);
                self.channels.note(Noted::ItemEnded { who });
                let ending = if failed { ItemEnding::Failed } else { ItemEnding::Returned };
                self.machine.item_ended(now, who, ending, &mut self.channels, &mut outputs);
                for number in numbers {
                    self.queue(number)?.item_ended(who)?;
                }
                return self.check(expected, outputs, None, Some(who));
            }
            Call::Leave => {
                self.end_in_references(who, &name, true, false, &mut expected);
                self.references.iter_mut().for_each(|reference| reference.left(who));
                self.channels.note(Noted::Left { who });
                self.machine.leave(now, who, &mut self.channels, &mut outputs);
                return self.leave(who, expected, outputs);
            }
            Call::Tick => {
                self.channels.note(Noted::Ticks);
                self.machine.tick(now, &mut self.channels, &mut outputs);
            }
        }
        self.check(expected, outputs, shutdown, None)
    }

    /// Ends an item in all references. `answered` says whether it is told what became of its requests.
    fn end_in_references(
        &mut self,
        who: ParticipantId,
        name: &str,
        failed: bool,
        answered: bool,
        expected: &mut Vec<(Key, Answer)>,
    ) {
        for (number, reference) in (0..).zip(&mut self.references) {
            reference.drop_waits(who, answered, expected);
            // It is not abandoned if it was released without asking.
            match reference.holder() == Some(who) && self.channels.has_released(who, number) {
                true => reference.found_free(expected),
                false => reference.end(who, name, failed, expected),
            }
        }
    }

    fn leave(&mut self, who: ParticipantId, expected: Vec<(Key, Answer)>, outputs: Outputs) -> Result<(), Violation> {
        let numbers: Vec<u16> = self.channels.queues.keys().copied().collect();
        for number in numbers {
            let queue = self.queue(number)?;
            queue.item_ended(who)?;
        }
        for reference in &self.references {
            promise!(reference.holds_nothing_of(who), "{who} is gone and holds something: {reference:?}");
        }
        let plan = self.channels.all.remove(&who).and_then(|channel| channel.plan);
        self.memories.remove(&who);
        if let Some(plan) = plan.filter(|_| self.steps < self.channels.world.steps) {
            self.soon(Event::Join(plan));
        }
        self.check(expected, outputs, None, Some(who))
    }

    fn queue(&mut self, number: u16) -> Result<&mut Queue, Violation> {
        self.channels.queues.get_mut(&number).ok_or_else(|| format!("there is no queue {number}"))
    }

    /// Notes a request, and its answer if that is known.
    fn expect(&mut self, key: Key, request: &Request, expected: &mut Vec<(Key, Answer)>) -> Result<(), Violation> {
        let now = self.channels.now;
        let Some(channel) = self.channels.all.get(&key.0) else { return Ok(()) };
        let (in_flight, doubtful) = (channel.in_flight as usize, channel.kind == ActorKind::Liar);
        let right = channel.rights.get(usize::from(request.object)).copied().flatten();
        let allowed = right.is_some_and(|right| match request.operation {
            Operation::Put(_) | Operation::Shutdown { .. } => right.second,
            Operation::Get { .. }
            | Operation::Take
            | Operation::Finish(_)
            | Operation::GiveBack(_)
            | Operation::TaskDone => right.first,
            _ => true,
        });
        let waits =
            self.open.keys().filter(|open| open.0 == key.0 && !expected.iter().any(|(other, _)| other == *open));
        let waits = waits.count();
        self.open.insert(key, request.object);
        if waits >= in_flight {
            expected.push((key, Err(ObjectError::Quota(String::new()))));
            return Ok(());
        }
        if !allowed {
            expected.push((key, Err(ObjectError::Denied(String::new()))));
            return Ok(());
        }
        let deadline = request.timeout.and_then(|timeout| now.checked_add(timeout));
        let at_once = self.channels.world.at_once;
        if matches!(request.operation, Operation::Acquire | Operation::Release | Operation::IsLocked) {
            self.look_at_lock(request.object, expected);
        }
        let on_the_way = self.channels.who_is_on_the_way(request.object).filter(|who| *who != key.0);
        let lent = self.channels.on_the_way(request.object);
        let Some(reference) = self.references.get_mut(usize::from(request.object)) else { return Ok(()) };
        if reference.decides() {
            reference.lent(on_the_way, lent);
            reference.ask(key, &request.operation, deadline, now, at_once, expected);
        } else if let Some(queue) = self.channels.queues.get_mut(&request.object) {
            queue.asked(key, &request.operation, deadline, doubtful)?;
        }
        Ok(())
    }

    /// Checks what came of a call.
    fn check(
        &mut self,
        mut expected: Vec<(Key, Answer)>,
        outputs: Outputs,
        shutdown: Option<(Key, u16, bool)>,
        ended: Option<ParticipantId>,
    ) -> Result<(), Violation> {
        for object in std::mem::take(&mut self.channels.found_free) {
            if let Some(reference) = self.references.get_mut(usize::from(object)) {
                reference.found_free(&mut expected);
            }
        }
        if let Some(violation) = self.channels.broken.take() {
            return Err(violation);
        }
        let now = self.channels.now;
        let key_of = |answered: &wasmpool_objects::Answered| (answered.participant, answered.ticket);
        for answered in &outputs.answers {
            self.channels.note(Noted::Answered {
                who: answered.participant,
                ticket: answered.ticket,
                answer: answered.answer.clone(),
            });
        }
        // First the puts, since a message may be got in the answer before that of its own put.
        for answered in outputs.answers.iter().filter(|answered| answered.answer == Ok(Reply::Done)) {
            let key = key_of(answered);
            if let Some(object) = self.open.get(&key)
                && let Some(queue) = self.channels.queues.get_mut(object)
                && queue.is_put(key)
            {
                queue.put_answered(key)?;
            }
        }
        let mut answers = Vec::new();
        for answered in outputs.answers {
            let key = key_of(&answered);
            let Some(object) = self.open.remove(&key) else {
                return Err(format!("{key:?} was answered without having asked: {:?}", answered.answer));
            };
            let waiter = self.channels.queues.get_mut(&object).and_then(|queue| queue.remove(key));
            answers.push((key, object, waiter, answered.answer));
        }
        if let Some(who) = ended.filter(|who| !self.channels.all.contains_key(who)) {
            self.open.retain(|(asker, _), _| *asker != who);
            self.channels.queues.values_mut().for_each(|queue| queue.left(who));
        }
        // Whoever called the last message done is answered after those who waited for that, and who ends the queue
        // after those who got what was read before.
        answers.sort_by_key(|(_, _, waiter, answer)| answer.is_err() || waiter.as_ref().is_some_and(Waiter::joins));
        let ends =
            shutdown.filter(|(ending, ..)| answers.iter().any(|(key, _, _, answer)| key == ending && answer.is_ok()));
        for (key, object, waiter, answer) in answers {
            let comes_later = answer.is_err() || waiter.as_ref().is_some_and(Waiter::joins);
            if let Some((_, object, immediately)) = ends.filter(|_| comes_later) {
                self.queue(object)?.shut_down(immediately);
            }
            let is_dead = self.channels.all.get(&key.0).is_none_or(|channel| !channel.alive);
            if let Some(place) = expected.iter().position(|(other, _)| *other == key) {
                let (_, right) = expected.remove(place);
                promise!(same(&answer, &right), "{key:?} was answered {answer:?}, which should be {right:?}");
            } else if let Some(queue) = self.channels.queues.get_mut(&object)
                && let Some(waiter) = waiter
            {
                queue.answered(waiter, &answer, now, ended == Some(key.0), is_dead)?;
            } else {
                return Err(format!("{key:?} was answered {answer:?}, which should wait"));
            }
            if !is_dead {
                self.hear(key, object, answer);
            }
        }
        if let Some((_, object, immediately)) = ends {
            self.queue(object)?.shut_down(immediately);
        }
        promise!(expected.is_empty(), "not answered, but should be: {expected:?}");
        for violation in outputs.violations {
            let who = violation.participant;
            self.figures.violations += 1;
            self.channels.note(Noted::Violates { who, what: violation.what });
            let Some(channel) = self.channels.all.get(&who) else { continue };
            promise!(channel.kind == ActorKind::Liar, "{who} is honest, but violates: {}", violation.what);
            self.die(who);
        }
        self.check_objects()
    }

    fn check_objects(&mut self) -> Result<(), Violation> {
        let now = self.channels.now;
        let mut first: Option<Time> = None;
        let mut waiting = 0;
        for reference in &self.references {
            waiting += reference.waiting();
            first = [first, reference.deadline()].into_iter().flatten().min();
        }
        for (number, queue) in &self.channels.queues {
            queue.check(self.channels.lent(*number))?;
            waiting += queue.waiting();
            first = [first, queue.deadline()].into_iter().flatten().min();
        }
        promise!(waiting == self.machine.waiting(), "{waiting} requests wait, not {}", self.machine.waiting());
        if let Some(first) = first {
            promise!(first > now, "a request has waited until {first:?}, and it is {now:?}");
            let next = self.machine.next_deadline();
            promise!(
                next.is_some_and(|next| next <= first),
                "the machine would look at {next:?}, but a wait ends at {first:?}"
            );
        }
        Ok(())
    }

    fn check_waiting(&mut self) -> Result<(), Violation> {
        let patience = LOOK + self.channels.world.latency * 2 + INSTANT * 4;
        let numbers: Vec<u16> = self.channels.queues.keys().copied().collect();
        for number in numbers {
            let on_the_way = self.channels.on_the_way(number);
            let now = self.channels.now;
            self.queue(number)?.check_waiting(now, patience, on_the_way)?;
        }
        Ok(())
    }

    /// Lets a participant take note of an answer, and go on.
    fn hear(&mut self, key: Key, object: u16, answer: Answer) {
        let (who, ticket) = key;
        let Some(channel) = self.channels.all.get_mut(&who) else { return };
        let Some(request) = channel.waiting.remove(&ticket) else { return };
        let goes_on = channel.kind != ActorKind::Host && channel.waiting.is_empty();
        let memory = self.memories.entry(who).or_default();
        match (&request.operation, &answer) {
            (Operation::Acquire, Ok(Reply::Acquired(Acquisition::TimedOut))) => self.figures.timed_out += 1,
            (Operation::Acquire, Ok(Reply::Acquired(acquisition))) => {
                memory.held.push(object);
                self.figures.abandoned += u64::from(*acquisition != Acquisition::Acquired);
            }
            (Operation::Release, Ok(_)) => {
                if let Some(place) = memory.held.iter().position(|held| *held == object) {
                    memory.held.swap_remove(place);
                }
            }
            (_, Ok(Reply::Delivery { id, .. })) => memory.deliveries.push((object, *id)),
            (Operation::Finish(id) | Operation::GiveBack(id), _) => {
                memory.deliveries.retain(|delivery| *delivery != (object, *id))
            }
            (Operation::OpenEnd(end), Ok(_)) => memory.ends.push((object, *end)),
            (Operation::CloseEnd(end), Ok(_)) => memory.ends.retain(|own| *own != (object, *end)),
            (Operation::DictGet(name), Ok(Reply::Entry(copy))) => {
                memory.version = copy.as_ref().map(|(_, version)| *version);
                channel.remember(object, name, copy.clone());
            }
            (Operation::DictSet(name, value), Ok(Reply::Number(version))) => {
                channel.was_told(object, *version);
                channel.remember(object, name, Some((value.clone(), *version)));
            }
            (_, Err(ObjectError::Full | ObjectError::Empty | ObjectError::Timeout)) => self.figures.timed_out += 1,
            _ => {}
        }
        if goes_on {
            self.soon(Event::Step(who));
        }
    }

    /// Looks at what is left when all participants are gone: nobody waits, nothing is held, and each queue has exactly
    /// the messages that it must have.
    fn look_at_the_end(&mut self) -> Result<(), Violation> {
        promise!(self.channels.all.is_empty(), "{} participants are left", self.channels.all.len());
        promise!(self.machine.waiting() == 0, "{} requests wait for ever", self.machine.waiting());
        let observer = self.joined;
        self.join(None)?;
        let ask = |simulation: &mut Self, object: u16, operation: Operation| {
            let ticket = simulation.tickets;
            simulation.tickets += 1;
            let request = Request { object, operation, timeout: Some(Duration::ZERO) };
            simulation.call(observer, Call::Ask { ticket, request })
        };
        for (number, spec) in self.channels.world.objects.iter().enumerate() {
            let object = number as u16;
            let operations = match spec.form {
                ObjectForm::Queue { .. } => {
                    ask(self, object, Operation::Size)?;
                    loop {
                        let before = self.queue(object)?.counts.got;
                        ask(self, object, Operation::Get { most: 1 })?;
                        if self.queue(object)?.counts.got == before {
                            break;
                        }
                    }
                    let left = self.queue(object)?.left_over();
                    promise!(left == 0, "{left} messages are lost in object {object}");
                    vec![Operation::JoinQueue]
                }
                ObjectForm::Lock | ObjectForm::Rlock | ObjectForm::Condition => {
                    vec![Operation::IsLocked, Operation::Acquire, Operation::Release]
                }
                ObjectForm::Semaphore { .. } => vec![Operation::Slots, Operation::Acquire, Operation::Slots],
                ObjectForm::Event => vec![Operation::IsSet],
                ObjectForm::Barrier { .. } => vec![Operation::IsBroken, Operation::Waiting],
                ObjectForm::Dict | ObjectForm::List | ObjectForm::Namespace => vec![Operation::Length],
                ObjectForm::Pipe { .. } | ObjectForm::Value(_) | ObjectForm::Array(..) => Vec::new(),
            };
            for operation in operations {
                ask(self, object, operation)?;
            }
        }
        Ok(())
    }
}
