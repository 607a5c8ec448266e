//! Queues: messages in one order, from any number of producers to any number of consumers.

mod ahead;
mod deliveries;
mod store;

use smallvec::SmallVec;
use wasmpool_core::share::ObjectQuota;

use crate::context::{Asker, Context, Ending, Step, wrong_kind};
use crate::credits::Credits;
use crate::events::{ParticipantId, Violation};
use crate::line::Line;
use crate::operation::{Answer, MOST_PARTS, ObjectError, Operation, Reply};
use crate::usage::{PAGE, Usage};
use crate::waits::WaitId;
use ahead::Ahead;
use deliveries::Deliveries;
use store::{Message, Store};

#[derive(Debug)]
pub(crate) struct Queue {
    capacity: u64,
    quota: ObjectQuota,
    store: Store,
    ahead: Ahead,
    credits: Credits,
    deliveries: Deliveries,
    /// Messages that wait or were taken and may come back: what counts against the quota.
    usage: Usage,
    /// Number of messages that were put and are not done.
    unfinished: u64,
    putters: Line<Putter>,
    getters: Line<Getter>,
    joiners: Line<()>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// What is in the queue can still be got.
    Closed,
    /// What comes back or was on the way is thrown away, too.
    ThrownAway,
}

#[derive(Debug)]
struct Putter {
    participant: ParticipantId,
    fast: bool,
    message: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Getter {
    participant: ParticipantId,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Get { most: u32 },
    Take,
}

impl Queue {
    pub(crate) fn new(capacity: Option<u32>, quota: ObjectQuota) -> Queue {
        Queue {
            // A capacity of 0 is none, as in Python.
            capacity: capacity.filter(|&capacity| capacity > 0).map_or(u64::MAX, u64::from),
            quota,
            store: Store::default(),
            ahead: Ahead::default(),
            credits: Credits::default(),
            deliveries: Deliveries::default(),
            usage: Usage::default(),
            unfinished: 0,
            putters: Line::default(),
            getters: Line::default(),
            joiners: Line::default(),
            end: End::Open,
        }
    }

    pub(crate) fn ask(&mut self, asker: &Asker, operation: Operation, context: &mut Context) -> Step {
        self.look(context);
        let answer = match operation {
            Operation::Put(message) => return self.put(asker, message, context),
            Operation::Get { most: 0 } => {
                Err(ObjectError::Invalid("to get no message; ask for at least one".to_owned()))
            }
            Operation::Get { most } => return self.get(asker, How::Get { most }, context),
            Operation::Take => return self.get(asker, How::Take, context),
            Operation::Finish(id) => self.finish(asker.participant, id, context),
            Operation::GiveBack(id) => self.give_back(asker.participant, id, context),
            Operation::TaskDone => self.task_done(asker.participant, context),
            Operation::JoinQueue if self.unfinished == 0 => Ok(Reply::Bool(true)),
            Operation::JoinQueue => {
                self.joiners.push(context.id(), ());
                return Step::Wait;
            }
            Operation::Size => Ok(Reply::Number(self.size())),
            Operation::IsEmpty => Ok(Reply::Bool(self.size() == 0)),
            Operation::IsFull => Ok(Reply::Bool(self.is_full())),
            Operation::Shutdown { immediately } => self.shutdown(immediately, context),
            _ => Err(wrong_kind("a queue")),
        };
        Step::Answer(answer)
    }

    /// Returns the number of messages that wait. Those that are ahead still do.
    fn size(&self) -> u64 {
        (self.store.len() + self.ahead.len()) as u64
    }

    fn is_full(&self) -> bool {
        let Usage { entries, bytes } = self.usage;
        self.size() >= self.capacity || entries >= self.quota.entries || bytes >= self.quota.bytes
    }

    /// Returns the room for more messages, beside that which is reserved for credit.
    fn room(&self) -> Usage {
        let lent = self.credits.lent();
        let in_capacity = self.capacity.saturating_sub(self.size()).saturating_sub(lent.entries);
        let in_quota = self.quota.entries.saturating_sub(self.usage.entries).saturating_sub(lent.entries);
        let bytes = self.quota.bytes.saturating_sub(self.usage.bytes).saturating_sub(lent.bytes);
        Usage { entries: in_capacity.min(in_quota), bytes }
    }

    fn has_room_for(&self, message: &[u8]) -> bool {
        let room = self.room();
        room.entries > 0 && room.bytes >= message.len() as u64
    }

    fn put(&mut self, asker: &Asker, message: Vec<u8>, context: &mut Context) -> Step {
        if self.end != End::Open {
            return Step::Answer(Err(ObjectError::Closed));
        }
        let mut alone = Usage::default();
        alone.add(message.len());
        if let Err(error) = alone.within(&self.quota) {
            return Step::Answer(Err(error));
        }
        // From now on, messages come from this participant.
        let same = self.credits.has(asker.participant);
        self.credits.take_back(context);
        if self.credits.has(asker.participant) {
            // It sends nothing between subtracting credit and putting the message.
            let what = "subtracted credit and put nothing";
            context.outputs.violations.push(Violation { participant: asker.participant, what });
        }
        if !self.putters.is_empty() || !self.has_room_for(&message) {
            let bytes = message.len() as u64;
            if bytes > asker.bytes_that_may_wait {
                return Step::Answer(Err(ObjectError::Quota("bytes of the messages that wait to be put".to_owned())));
            }
            let putter = Putter { participant: asker.participant, fast: asker.fast, message };
            self.putters.push(context.id(), putter);
            return Step::WaitHolding(bytes);
        }
        self.push(message);
        self.serve(context);
        if asker.fast {
            self.credits.grant(asker.participant, same, self.room(), context);
        }
        Step::Answer(Ok(Reply::Done))
    }

    fn push(&mut self, message: Vec<u8>) {
        self.usage.add(message.len());
        self.unfinished += 1;
        self.store.push(message);
    }

    /// Adds a message that was put on credit. Returns false if there was no credit for it.
    pub(crate) fn put_on_credit(
        &mut self,
        participant: ParticipantId,
        message: Vec<u8>,
        context: &mut Context,
    ) -> bool {
        if !self.credits.spend(participant, message.len(), context) {
            return false;
        }
        // It was put before the queue was closed.
        if self.end != End::ThrownAway {
            self.push(message);
        }
        self.serve(context);
        true
    }

    fn get(&mut self, asker: &Asker, how: How, context: &mut Context) -> Step {
        self.recall(context);
        let getter = Getter { participant: asker.participant, how };
        if !self.getters.is_empty() || self.store.is_empty() {
            if self.store.is_empty() && self.is_at_its_end() {
                return Step::Answer(Err(ObjectError::Closed));
            }
            self.getters.push(context.id(), getter);
            return Step::Wait;
        }
        let reply = self.deliver(getter);
        self.serve(context);
        if asker.fast && matches!(how, How::Get { .. }) && self.getters.is_empty() {
            self.ahead.send(asker.participant, &mut self.store, context);
        }
        Step::Answer(Ok(reply))
    }

    /// Returns true if no message will be added any more.
    fn is_at_its_end(&self) -> bool {
        match self.end {
            End::Open => false,
            // Some may be on the way.
            End::Closed => self.credits.lent().entries == 0,
            End::ThrownAway => true,
        }
    }

    /// Gives away the first message, or more. There is one.
    fn deliver(&mut self, Getter { participant, how }: Getter) -> Reply {
        self.ahead.got(participant);
        match how {
            How::Get { most } => {
                let mut bodies = Vec::new();
                let mut bytes = 0;
                while bodies.len() < (most as usize).min(MOST_PARTS)
                    && let Some(first) = self.store.first()
                {
                    bytes += first.body.len();
                    if bytes > PAGE && !bodies.is_empty() {
                        break;
                    }
                    bodies.extend(self.store.pop().map(|message| message.body));
                }
                bodies.iter().for_each(|body| self.usage.remove(body.len()));
                self.deliveries.got(participant, bodies.len() as u64);
                Reply::Many(bodies)
            }
            How::Take => {
                let Some(message) = self.store.pop() else { return Reply::Many(Vec::new()) };
                let (item, redelivered) = (message.body.clone(), message.redelivered);
                Reply::Delivery { id: self.deliveries.take(participant, message), item, redelivered }
            }
        }
    }

    fn finish(&mut self, participant: ParticipantId, id: u64, context: &mut Context) -> Answer {
        let message = self.deliveries.finish(participant, id)?;
        self.usage.remove(message.body.len());
        self.unfinished -= 1;
        self.serve(context);
        Ok(Reply::Done)
    }

    fn give_back(&mut self, participant: ParticipantId, id: u64, context: &mut Context) -> Answer {
        let message = self.deliveries.finish(participant, id)?;
        // It comes before those that somebody has ahead.
        self.recall(context);
        self.returned(message);
        self.serve(context);
        Ok(Reply::Done)
    }

    /// Puts a message back that was taken and not finished.
    fn returned(&mut self, message: Message) {
        if self.end == End::ThrownAway {
            self.usage.remove(message.body.len());
            self.unfinished -= 1;
        } else {
            self.store.put_back(Message { redelivered: true, ..message });
        }
    }

    fn task_done(&mut self, participant: ParticipantId, context: &mut Context) -> Answer {
        self.deliveries.done(participant)?;
        self.unfinished -= 1;
        self.serve(context);
        Ok(Reply::Done)
    }

    fn shutdown(&mut self, immediately: bool, context: &mut Context) -> Answer {
        self.credits.take_back(context);
        while let Some((id, _)) = self.putters.pop() {
            context.answer(id, Err(ObjectError::Closed));
        }
        if immediately {
            self.recall(context);
            for message in self.store.clear() {
                self.usage.remove(message.body.len());
                self.unfinished -= 1;
            }
            self.end = End::ThrownAway;
        } else if self.end == End::Open {
            self.end = End::Closed;
        }
        self.serve(context);
        Ok(Reply::Done)
    }

    /// Gives everybody who waits what there is by now.
    fn serve(&mut self, context: &mut Context) {
        loop {
            if let Some((_, putter)) = self.putters.first()
                && self.has_room_for(&putter.message)
            {
                if let Some((id, Putter { participant, fast, message })) = self.putters.pop() {
                    self.push(message);
                    context.answer(id, Ok(Reply::Done));
                    if fast && self.putters.is_empty() {
                        self.credits.grant(participant, true, self.room(), context);
                    }
                }
            } else if !self.getters.is_empty() && !self.store.is_empty() {
                if let Some((id, getter)) = self.getters.pop() {
                    let reply = self.deliver(getter);
                    context.answer(id, Ok(reply));
                }
            } else {
                break;
            }
        }
        if self.store.is_empty() && self.is_at_its_end() {
            while let Some((id, _)) = self.getters.pop() {
                context.answer(id, Err(ObjectError::Closed));
            }
        }
        if self.unfinished == 0 {
            while let Some((id, ())) = self.joiners.pop() {
                context.answer(id, Ok(Reply::Bool(true)));
            }
        }
    }

    pub(crate) fn timed_out(&mut self, id: WaitId, context: &mut Context) -> Step {
        if self.putters.remove(id).is_some() {
            // A shorter message behind it may fit.
            self.serve(context);
            return Step::Answer(Err(ObjectError::Full));
        }
        if self.joiners.remove(id).is_some() {
            return Step::Answer(Ok(Reply::Bool(false)));
        }
        self.getters.remove(id);
        Step::Answer(Err(ObjectError::Empty))
    }

    /// Forgets a request that nobody waits for any more. Others are served when all that the item held is back, by
    /// [`Queue::ended`]: what it took has to come before what was put later.
    pub(crate) fn dropped(&mut self, id: WaitId) {
        if self.putters.remove(id).is_none() && self.getters.remove(id).is_none() {
            self.joiners.remove(id);
        }
    }

    /// Takes back what the participant's item took and did not finish, and counts as done what it got.
    pub(crate) fn ended(&mut self, ending: &Ending, context: &mut Context) {
        self.look(context);
        if self.ahead.holder() == Some(ending.participant) {
            self.recall(context);
        }
        self.ahead.ended(ending.participant);
        let (messages, got) = self.deliveries.ended(ending.participant);
        self.unfinished -= got;
        if !messages.is_empty() {
            // They come before those that somebody has ahead.
            self.recall(context);
        }
        messages.into_iter().for_each(|message| self.returned(message));
        self.serve(context);
    }

    /// Takes back the credit of a participant that has ended.
    pub(crate) fn left(&mut self, participant: ParticipantId, context: &mut Context) {
        self.credits.left(participant, context);
        self.serve(context);
    }

    pub(crate) fn creditors(&self) -> SmallVec<[ParticipantId; 2]> {
        self.credits.creditors()
    }

    /// Takes note of what was taken of the messages ahead.
    fn look(&mut self, context: &mut Context) {
        let taken = self.ahead.taken(context);
        self.count_as_got(taken);
    }

    /// Ends the batch that somebody has ahead: what it did not take is first again.
    fn recall(&mut self, context: &mut Context) {
        let taken = self.ahead.recall(&mut self.store, context);
        self.count_as_got(taken);
    }

    fn count_as_got(&mut self, taken: Option<(ParticipantId, Vec<Message>)>) {
        if let Some((participant, messages)) = taken {
            self.deliveries.got(participant, messages.len() as u64);
            messages.iter().for_each(|message| self.usage.remove(message.body.len()));
        }
    }

    /// Brings the fast paths in line with those who wait. Returns the participants that were just told that their puts
    /// are wanted.
    pub(crate) fn settle(&mut self, context: &mut Context) -> SmallVec<[ParticipantId; 2]> {
        if !self.putters.is_empty() {
            self.look(context);
            self.serve(context);
        }
        if self.looks() {
            self.ahead.ask_to_wake(context);
        }
        self.credits.want(!self.getters.is_empty(), context)
    }

    /// Returns true if somebody waits for room that a participant makes without telling.
    pub(crate) fn looks(&self) -> bool {
        !self.putters.is_empty() && self.ahead.len() > 0
    }

    /// Returns the messages that wait, in order.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let mut messages: Vec<&Message> = self.store.iter().chain(self.ahead.iter()).collect();
        messages.sort_unstable_by_key(|message| message.number);
        messages.into_iter().map(|message| message.body.clone()).collect()
    }

    pub(crate) fn fill(&mut self, messages: Vec<Vec<u8>>) {
        messages.into_iter().for_each(|message| self.push(message));
    }
}
