//! The machine: participants, what they ask, and the time at which a wait ends.

mod poll;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wasmpool_core::share::{ObjectForm, ObjectRights, ObjectSpec};

use crate::contents::{Contents, ContentsError};
use crate::context::{Asker, Context, Ending, Step};
use crate::events::{
    Answered, ItemEnding, JoinError, Outputs, ParticipantId, ParticipantLimits, Ticket, Time, Violation,
};
use crate::fast::{FastPath, PutOnCredit};
use crate::object::Object;
use crate::operation::{Answer, ObjectError, Operation, Reply, Request};
use crate::rights;
use crate::waits::{WaitId, Waits};

/// Time after which the machine looks again at what a participant has taken without telling.
const LOOK: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Participant {
    name: String,
    limits: ParticipantLimits,
    grants: BTreeMap<u16, ObjectRights>,
    /// Objects of which its item may hold something.
    touched: BTreeSet<u16>,
    /// The index of its item, if it says so.
    item: Option<u64>,
}

impl Participant {
    /// Returns what others are told of it.
    fn told(&self) -> String {
        match self.item {
            Some(item) => format!("{}, item {item}", self.name),
            None => self.name.clone(),
        }
    }
}

#[derive(Debug)]
struct Kept {
    spec: ObjectSpec,
    object: Object,
}

/// The shared objects of a run, and who waits for them.
///
/// The caller reads what participants sent and calls [`Machine::ask`], [`Machine::put_on_credit`],
/// [`Machine::released`] and [`Machine::item_ended`] for it in the order in which each participant sent it, and [`Machine::leave`] when its
/// process has ended. It calls [`Machine::tick`] at [`Machine::next_deadline`], and whenever a participant woke it.
#[derive(Debug)]
pub struct Machine {
    objects: Vec<Kept>,
    participants: BTreeMap<ParticipantId, Participant>,
    waits: Waits,
    at_once: u32,
    /// Queues that wait for a participant to take messages that it has ahead.
    looking: BTreeSet<u16>,
    look_at: Option<Time>,
    /// The last token that was told to a holder of any lock.
    token: u64,
}

impl Machine {
    /// Makes the objects of a run. `at_once` is the number of participants that can run at the same time.
    pub fn new(specs: Vec<ObjectSpec>, at_once: u32) -> Machine {
        let objects = specs.into_iter().map(|spec| Kept { object: Object::new(&spec), spec }).collect();
        Machine {
            objects,
            participants: BTreeMap::new(),
            waits: Waits::default(),
            at_once,
            looking: BTreeSet::new(),
            look_at: None,
            token: 0,
        }
    }

    /// Has tokens of holders be greater than this one.
    pub fn tokens_after(&mut self, token: u64) {
        self.token = token;
    }

    /// Changes the number of participants that can run at the same time.
    pub fn set_at_once(&mut self, at_once: u32) {
        self.at_once = at_once;
    }

    /// Adds a participant. Its name is told to others, for example to the next holder of a lock that it left locked.
    pub fn join(
        &mut self,
        participant: ParticipantId,
        name: String,
        grants: &[(u16, ObjectRights)],
        limits: ParticipantLimits,
    ) -> Result<(), JoinError> {
        if self.participants.contains_key(&participant) {
            return Err(JoinError::Taken);
        }
        if let Some(&(object, _)) = grants.iter().find(|(object, _)| usize::from(*object) >= self.objects.len()) {
            return Err(JoinError::NoSuchObject(object));
        }
        let grants = grants.iter().copied().collect();
        self.participants
            .insert(participant, Participant { name, limits, grants, touched: BTreeSet::new(), item: None });
        Ok(())
    }

    /// Handles a request. It is answered now or later, once.
    pub fn ask(
        &mut self,
        now: Time,
        participant: ParticipantId,
        ticket: Ticket,
        request: Request,
        fast: &mut dyn FastPath,
        outputs: &mut Outputs,
    ) {
        self.tick(now, fast, outputs);
        if !self.participants.contains_key(&participant) {
            return violation(participant, "asked without having joined", outputs);
        }
        if self.waits.has_ticket(participant, ticket) {
            return violation(participant, "used the ticket of a request that waits", outputs);
        }
        if let Some(answer) = self.handle(now, participant, ticket, request, fast, outputs) {
            outputs.answers.push(Answered { participant, ticket, answer });
        }
    }

    /// Returns the answer of a request, or lets it wait.
    fn handle(
        &mut self,
        now: Time,
        participant: ParticipantId,
        ticket: Ticket,
        request: Request,
        fast: &mut dyn FastPath,
        outputs: &mut Outputs,
    ) -> Option<Answer> {
        let Request { object: number, operation, timeout } = request;
        if let Err(error) = operation.check_parts() {
            return Some(Err(error));
        }
        match operation {
            Operation::Settle => return Some(Ok(Reply::Done)),
            Operation::LastToken => return Some(Ok(Reply::Number(self.token))),
            _ => {}
        }
        if let Operation::PollAny(ends) = operation {
            return self.poll_any(now, participant, ticket, &ends, timeout, fast, outputs);
        }
        if let Err(error) = self.check_in_flight(participant) {
            return Some(Err(error));
        }
        // Puts that returned before this request began come first.
        self.read_credit_puts(number, fast, outputs);
        let Some(member) = self.participants.get_mut(&participant) else { return Some(Err(no_such_object())) };
        let (Some(&rights), Some(kept)) = (member.grants.get(&number), self.objects.get_mut(usize::from(number)))
        else {
            return Some(Err(no_such_object()));
        };
        if let Err(error) = rights::check(rights, &operation, &kept.spec.form) {
            return Some(Err(error));
        }
        member.touched.insert(number);
        let asker = Asker {
            participant,
            name: &member.name,
            fast: member.limits.fast,
            bytes_that_may_wait: match self.waits.bytes_of(participant) {
                0 => u64::MAX,
                waiting => member.limits.waiting_bytes.saturating_sub(waiting),
            },
        };
        let Machine { waits, at_once, token, .. } = self;
        let mut context = Context { object: number, at_once: *at_once, waits, fast, outputs, token };
        let held = match kept.object.ask(&asker, operation, &mut context) {
            Step::Answer(answer) => {
                self.settle(number, now, fast, outputs);
                return Some(answer);
            }
            Step::Wait => 0,
            Step::WaitHolding(bytes) => bytes,
        };
        // A time that never comes is none.
        let deadline = timeout.and_then(|timeout| now.checked_add(timeout));
        let id = self.waits.add(participant, ticket, number, deadline, held);
        if timeout == Some(Duration::ZERO) {
            self.time_out(id, number, participant, fast, outputs);
        }
        self.settle(number, now, fast, outputs);
        None
    }

    /// Refuses a request that comes while as many wait as may.
    fn check_in_flight(&self, participant: ParticipantId) -> Result<(), ObjectError> {
        let most = self.participants.get(&participant).map_or(0, |member| member.limits.in_flight);
        match self.waits.count_of(participant) < most as usize {
            true => Ok(()),
            false => Err(ObjectError::Quota(format!("operations in flight: {most}"))),
        }
    }

    /// Handles a put on credit.
    pub fn put_on_credit(
        &mut self,
        now: Time,
        participant: ParticipantId,
        put: PutOnCredit,
        fast: &mut dyn FastPath,
        outputs: &mut Outputs,
    ) {
        self.tick(now, fast, outputs);
        let object = put.object;
        self.accept(participant, put, fast, outputs);
        self.settle(object, now, fast, outputs);
    }

    fn accept(&mut self, participant: ParticipantId, put: PutOnCredit, fast: &mut dyn FastPath, outputs: &mut Outputs) {
        let number = put.object;
        let accepted =
            self.with_object(number, fast, outputs, |object, context| object.put_on_credit(participant, put, context));
        if accepted != Some(true) {
            violation(participant, "put more than it had credit for", outputs);
        }
    }

    /// Takes note that a participant has released a lock that was lent to it and is wanted.
    pub fn released(
        &mut self,
        now: Time,
        participant: ParticipantId,
        object: u16,
        fast: &mut dyn FastPath,
        outputs: &mut Outputs,
    ) {
        self.tick(now, fast, outputs);
        if self.participants.get(&participant).is_some_and(|member| member.grants.contains_key(&object)) {
            // Whether it has, its word says.
            self.settle(object, now, fast, outputs);
        }
    }

    /// Takes note of the item that a participant has begun, by its index in the run: if the item ends with something that it
    /// holds, others are told.
    pub fn item_began(&mut self, participant: ParticipantId, item: u64) {
        if let Some(member) = self.participants.get_mut(&participant) {
            member.item = Some(item);
        }
    }

    /// Handles the end of a participant's item. What the item holds is released, and what it waits for is answered as
    /// closed. The participant goes on with its next item.
    pub fn item_ended(
        &mut self,
        now: Time,
        participant: ParticipantId,
        ending: ItemEnding,
        fast: &mut dyn FastPath,
        outputs: &mut Outputs,
    ) {
        self.tick(now, fast, outputs);
        self.release(now, participant, ending, true, fast, outputs);
    }

    /// Handles the end of a participant. What it holds is released, and what it waits for is not answered.
    pub fn leave(&mut self, now: Time, participant: ParticipantId, fast: &mut dyn FastPath, outputs: &mut Outputs) {
        self.tick(now, fast, outputs);
        self.read_ring(participant, fast, outputs);
        self.release(now, participant, ItemEnding::Failed, false, fast, outputs);
        for number in self.numbers() {
            self.with_object(number, fast, outputs, |object, context| object.left(participant, context));
            self.settle(number, now, fast, outputs);
        }
        self.participants.remove(&participant);
    }

    /// Takes a participant that is being killed out of all lines, so that nothing is given to it any more. What it holds
    /// stays with it until it has ended: until then it may still use it.
    pub fn stop_waiting(
        &mut self,
        now: Time,
        participant: ParticipantId,
        fast: &mut dyn FastPath,
        outputs: &mut Outputs,
    ) {
        self.tick(now, fast, outputs);
        let Some(name) = self.participants.get(&participant).map(Participant::told) else { return };
        for number in self.leave_lines(participant, &name, false, fast, outputs) {
            // Others may have waited behind it.
            self.settle(number, now, fast, outputs);
        }
    }

    /// Ends all waits of a participant, and returns the objects that it waited for.
    fn leave_lines(
        &mut self,
        participant: ParticipantId,
        name: &str,
        answered: bool,
        fast: &mut dyn FastPath,
        outputs: &mut Outputs,
    ) -> BTreeSet<u16> {
        let mut objects = BTreeSet::new();
        while let Some((id, wait)) = self.waits.first_of(participant) {
            match answered {
                true => self.waits.answer(id, Err(ObjectError::Closed), outputs),
                false => drop(self.waits.remove(id)),
            }
            self.with_object(wait.object, fast, outputs, |object, context| object.dropped(id, name, context));
            objects.insert(wait.object);
        }
        objects
    }

    fn release(
        &mut self,
        now: Time,
        participant: ParticipantId,
        ending: ItemEnding,
        answered: bool,
        fast: &mut dyn FastPath,
        outputs: &mut Outputs,
    ) {
        let Some(member) = self.participants.get_mut(&participant) else { return };
        let touched = std::mem::take(&mut member.touched);
        let name = member.told();
        member.item = None;
        let ending = Ending { participant, name: &name, failed: ending == ItemEnding::Failed };
        // First it leaves all lines, so that nothing that it releases is given to itself.
        self.leave_lines(participant, &name, answered, fast, outputs);
        for number in touched {
            self.with_object(number, fast, outputs, |object, context| object.ended(&ending, context));
            self.settle(number, now, fast, outputs);
        }
    }

    /// Ends the waits whose time is over, and looks at what participants have taken.
    pub fn tick(&mut self, now: Time, fast: &mut dyn FastPath, outputs: &mut Outputs) {
        while let Some((id, objects)) = self.waits.pop_ended() {
            for number in objects {
                self.with_object(number, fast, outputs, |object, context| object.dropped(id, "", context));
            }
        }
        while let Some((id, wait)) = self.waits.due(now) {
            self.read_credit_puts(wait.object, fast, outputs);
            // What was taken ahead without telling has made room.
            self.settle(wait.object, now, fast, outputs);
            // One of these may have answered it.
            if self.waits.contains(id) {
                self.time_out(id, wait.object, wait.participant, fast, outputs);
            }
            self.settle(wait.object, now, fast, outputs);
        }
        if self.looking.is_empty() {
            return;
        }
        for number in self.looking.clone() {
            self.settle(number, now, fast, outputs);
        }
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = Some(now + LOOK);
        }
    }

    fn time_out(
        &mut self,
        id: WaitId,
        number: u16,
        participant: ParticipantId,
        fast: &mut dyn FastPath,
        outputs: &mut Outputs,
    ) {
        // It waits without a deadline from now on, if it does not end.
        self.waits.forget_deadline(id);
        let name = self.participants.get(&participant).map(Participant::told).unwrap_or_default();
        let step = self.with_object(number, fast, outputs, |object, context| object.timed_out(id, &name, context));
        if let Some(Step::Answer(answer)) = step {
            self.waits.answer(id, answer, outputs);
        }
    }

    /// Returns the next time at which [`Machine::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Time> {
        [self.waits.next_deadline(), self.look_at].into_iter().flatten().min()
    }

    /// Returns the number of requests that wait.
    pub fn waiting(&self) -> usize {
        self.waits.len()
    }

    /// Brings the fast path of an object in line with what happened to it.
    fn settle(&mut self, number: u16, now: Time, fast: &mut dyn FastPath, outputs: &mut Outputs) {
        loop {
            let told = self.with_object(number, fast, outputs, Object::settle).unwrap_or_default();
            if told.is_empty() {
                break;
            }
            // What they put before they could see that puts are wanted comes without waking anybody.
            for participant in told {
                self.read_ring(participant, fast, outputs);
            }
        }
        let looks = self.objects.get(usize::from(number)).is_some_and(|kept| kept.object.looks());
        match looks {
            true if self.looking.insert(number) => self.look_at = self.look_at.or(Some(now + LOOK)),
            true => {}
            false => {
                self.looking.remove(&number);
                if self.looking.is_empty() {
                    self.look_at = None;
                }
            }
        }
    }

    /// Reads what was put on credit into this object, or will turn out to have been.
    fn read_credit_puts(&mut self, number: u16, fast: &mut dyn FastPath, outputs: &mut Outputs) {
        let Some(kept) = self.objects.get(usize::from(number)) else { return };
        for participant in kept.object.creditors() {
            self.read_ring(participant, fast, outputs);
        }
    }

    fn read_ring(&mut self, participant: ParticipantId, fast: &mut dyn FastPath, outputs: &mut Outputs) {
        for put in fast.puts_on_credit(participant) {
            self.accept(participant, put, fast, outputs);
        }
    }

    fn with_object<T>(
        &mut self,
        number: u16,
        fast: &mut dyn FastPath,
        outputs: &mut Outputs,
        work: impl FnOnce(&mut Object, &mut Context) -> T,
    ) -> Option<T> {
        let Machine { objects, waits, at_once, token, .. } = self;
        let kept = objects.get_mut(usize::from(number))?;
        let mut context = Context { object: number, at_once: *at_once, waits, fast, outputs, token };
        Some(work(&mut kept.object, &mut context))
    }

    fn numbers(&self) -> std::ops::Range<u16> {
        0..u16::try_from(self.objects.len()).unwrap_or(u16::MAX)
    }

    /// Returns what an object holds, if it is kept here and holds something that can be told.
    pub fn contents(&self, object: u16) -> Option<Contents> {
        self.objects.get(usize::from(object))?.object.contents()
    }

    /// Fills an object, before anybody joins.
    pub fn fill(&mut self, object: u16, contents: Contents) -> Result<(), ContentsError> {
        let Some(kept) = self.objects.get_mut(usize::from(object)) else { return Ok(()) };
        contents.check(&kept.spec)?;
        kept.object.fill(contents);
        Ok(())
    }

    /// Returns the form of an object.
    pub fn form(&self, object: u16) -> Option<&ObjectForm> {
        self.objects.get(usize::from(object)).map(|kept| &kept.spec.form)
    }
}

fn violation(participant: ParticipantId, what: &'static str, outputs: &mut Outputs) {
    outputs.violations.push(Violation { participant, what });
}

fn no_such_object() -> ObjectError {
    ObjectError::Denied("the object".to_owned())
}
