//! The promises of queues, checked on what became of each message.
//!
//! A put is acknowledged when it is answered, or when it is in its participant's ring where it is made on credit. A
//! message is delivered when a get is answered with it, or when its participant takes it of those that it has ahead.
//! Each of these moments has a number, and the order of these numbers decides what is right.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::reference::Key;
use crate::{Violation, promise};
use wasmpool_core::share::ObjectQuota;
use wasmpool_objects::operation::{Answer, ObjectError, Operation, Reply};
use wasmpool_objects::{ParticipantId, Time};

pub(super) type MessageId = u64;

#[derive(Clone, Debug)]
struct Message {
    bytes: u64,
    start: u64,
    /// Moment of acknowledgement.
    acked: Option<u64>,
    /// True if it was taken and came back.
    returned: bool,
    /// True if a liar had its hands on it: it may be in the queue or not, and anywhere in it.
    doubtful: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Offered,
    Queued,
    Got(ParticipantId),
    Taken(ParticipantId),
    Done,
    ThrownAway,
}

#[derive(Clone, Debug)]
pub(super) struct Waiter {
    key: Key,
    since: u64,
    operation: Operation,
    deadline: Option<Time>,
    /// Time since which it could be answered.
    answerable: Option<Time>,
}

impl Waiter {
    pub(super) fn joins(&self) -> bool {
        self.operation == Operation::JoinQueue
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Closed,
    ThrownAway,
}

/// What happened during one call of the machine besides what it decided.
#[derive(Clone, Copy, Debug, Default)]
struct Call {
    start: u64,
    size: u64,
    puts: u64,
    takes: u64,
    taken_bytes: u64,
    /// Number of puts whose credit is subtracted and which are not in the ring, at most.
    on_the_way: (u64, u64),
    /// Number of puts on credit that the manager has not read.
    unread: u64,
}

/// Numbers of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) put: u64,
    pub(super) on_credit: u64,
    pub(super) got: u64,
    pub(super) ahead: u64,
    pub(super) redelivered: u64,
    pub(super) lost: u64,
    pub(super) thrown_away: u64,
}

#[derive(Debug)]
pub(super) struct Queue {
    capacity: u64,
    quota: ObjectQuota,
    moment: u64,
    messages: BTreeMap<MessageId, Message>,
    /// Messages that wait, by the moment of their acknowledgement.
    queued: BTreeMap<u64, MessageId>,
    /// Messages that may wait.
    doubtful: BTreeSet<MessageId>,
    deliveries: BTreeMap<u64, (ParticipantId, MessageId)>,
    /// The request that has given a message back, and is to be answered so. What was put before that, and read in the same
    /// call, may have gone to who waited.
    given_back: Option<(Key, MessageId)>,
    /// Messages that were got and not called done, by participant.
    undone: BTreeMap<ParticipantId, u64>,
    unfinished: u64,
    end: End,
    line: Vec<Waiter>,
    call: Call,
    /// True if a liar can reach this queue: then what it reserves, got and left undone is not known.
    liars: bool,
    pub(super) counts: Counts,
}

pub(super) fn id_of(body: &[u8]) -> MessageId {
    body.first_chunk::<8>().map_or(u64::MAX, |id| u64::from_le_bytes(*id))
}

impl Queue {
    pub(super) fn new(capacity: Option<u32>, quota: ObjectQuota, liars: bool) -> Queue {
        Queue {
            capacity: capacity.map_or(u64::MAX, u64::from),
            quota,
            moment: 0,
            messages: BTreeMap::new(),
            queued: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            deliveries: BTreeMap::new(),
            given_back: None,
            undone: BTreeMap::new(),
            unfinished: 0,
            end: End::Open,
            line: Vec::new(),
            call: Call::default(),
            liars,
            counts: Counts::default(),
        }
    }

    fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    fn message(&mut self, id: MessageId) -> Result<&mut Message, Violation> {
        self.messages.get_mut(&id).ok_or_else(|| format!("message {id} was never put"))
    }

    /// Entries and bytes that count against the quota.
    fn usage(&self) -> (u64, u64) {
        let all = self.queued.values().chain(self.deliveries.values().map(|(_, id)| id));
        let mut usage = (0, 0);
        for id in all {
            usage = (usage.0 + 1, usage.1 + self.messages.get(id).map_or(0, |message| message.bytes));
        }
        usage
    }

    /// A participant begins to put a message.
    pub(super) fn offered(&mut self, id: MessageId, bytes: u64, doubtful: bool) {
        let start = self.tick();
        let message = Message { bytes, start, acked: None, returned: false, doubtful, state: State::Offered };
        self.messages.insert(id, message);
    }

    /// A put has returned.
    pub(super) fn acknowledged(&mut self, id: MessageId, on_credit: bool) -> Result<(), Violation> {
        let moment = self.tick();
        let thrown = self.end == End::ThrownAway;
        let message = self.message(id)?;
        promise!(message.acked.is_none(), "message {id} was acknowledged twice");
        message.acked = Some(moment);
        self.counts.put += 1;
        self.counts.on_credit += u64::from(on_credit);
        self.call.puts += u64::from(on_credit);
        let message = self.message(id)?;
        if message.doubtful {
            self.doubtful.insert(id);
        } else if thrown {
            message.state = State::ThrownAway;
            self.counts.thrown_away += 1;
        } else {
            message.state = State::Queued;
            self.unfinished += 1;
            self.queued.insert(moment, id);
        }
        Ok(())
    }

    /// Messages were sent ahead to a participant.
    pub(super) fn sent_ahead(&mut self, ids: &[MessageId], to_liar: bool) -> Result<(), Violation> {
        for &id in ids {
            let is_queued = {
                let message = self.message(id)?;
                message.state == State::Queued || message.doubtful
            };
            // The put that it answers in this call may not have been acknowledged yet.
            let offered = self.message(id)?.state == State::Offered;
            promise!(is_queued || offered, "message {id} was sent ahead, but does not wait");
            if to_liar {
                self.doubt(id)?;
            }
        }
        Ok(())
    }

    fn doubt(&mut self, id: MessageId) -> Result<(), Violation> {
        let message = self.message(id)?;
        message.doubtful = true;
        if let Some(acked) = message.acked
            && message.state == State::Queued
        {
            self.queued.remove(&acked);
            self.doubtful.insert(id);
        }
        Ok(())
    }

    /// A participant has this message now.
    pub(super) fn delivered(
        &mut self,
        id: MessageId,
        to: ParticipantId,
        delivery: Option<(u64, bool)>,
        ahead: bool,
        is_dead: bool,
    ) -> Result<(), Violation> {
        self.tick();
        self.call.takes += u64::from(ahead);
        let message = self.message(id)?.clone();
        self.call.taken_bytes += if ahead { message.bytes } else { 0 };
        if message.doubtful {
            promise!(
                matches!(message.state, State::Queued | State::Offered),
                "message {id} was delivered twice: it is {:?}",
                message.state
            );
            self.doubtful.remove(&id);
        } else {
            promise!(message.state == State::Queued, "message {id} was delivered to {to}, but is {:?}", message.state);
            let Some(acked) = message.acked else { return Err(format!("message {id} was never acknowledged")) };
            let returning = self.given_back.map(|(_, message)| message);
            let others = |other: MessageId| other != id && Some(other) != returning;
            if let Some((&first, &before)) = self.queued.iter().find(|(_, other)| others(**other)) {
                promise!(
                    first > message.start,
                    "message {id} was delivered to {to} before message {before}, which had been put before it"
                );
            }
            self.queued.remove(&acked);
        }
        let returned = message.returned;
        let known = !message.doubtful;
        self.counts.got += 1;
        self.counts.ahead += u64::from(ahead);
        self.counts.lost += u64::from(is_dead && delivery.is_none());
        let message = self.message(id)?;
        match delivery {
            Some((delivery, redelivered)) => {
                message.state = State::Taken(to);
                promise!(redelivered == returned, "message {id} has the wrong flag `redelivered`: {redelivered}");
                self.counts.redelivered += u64::from(returned);
                let before = self.deliveries.insert(delivery, (to, id));
                promise!(before.is_none(), "delivery {delivery} exists twice");
            }
            None => {
                message.state = State::Got(to);
                if known {
                    *self.undone.entry(to).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    /// Begins a call of the machine. `on_the_way` is what is subtracted from credit and not in a ring.
    pub(super) fn begin_call(&mut self, on_the_way: (u64, u64), unread: u64) {
        let start = self.tick();
        self.call =
            Call { start, size: self.queued.len() as u64, puts: 0, takes: 0, taken_bytes: 0, on_the_way, unread };
    }

    pub(super) fn note_on_the_way(&mut self, bytes: u64) {
        self.call.on_the_way.0 += 1;
        self.call.on_the_way.1 += bytes;
    }

    /// The machine is asked.
    pub(super) fn asked(
        &mut self,
        key: Key,
        operation: &Operation,
        deadline: Option<Time>,
        doubtful: bool,
    ) -> Result<(), Violation> {
        if let Operation::Put(body) = operation {
            self.offered(id_of(body), body.len() as u64, doubtful);
        }
        let since = self.tick();
        self.line.push(Waiter { key, since, operation: operation.clone(), deadline, answerable: None });
        // Others may be given the message before this is answered.
        if let Operation::GiveBack(id) = operation
            && let Some(&(taker, message)) = self.deliveries.get(id)
            && taker == key.0
        {
            self.deliveries.remove(id);
            self.given_back = Some((key, message));
            self.returned(message)?;
        }
        Ok(())
    }

    /// Does to the model what a shutdown does that the machine has just handled.
    pub(super) fn shut_down(&mut self, immediately: bool) {
        if immediately {
            self.end = End::ThrownAway;
            for id in std::mem::take(&mut self.queued).into_values() {
                if let Some(message) = self.messages.get_mut(&id) {
                    message.state = State::ThrownAway;
                    self.unfinished -= 1;
                    self.counts.thrown_away += 1;
                }
            }
        } else if self.end == End::Open {
            self.end = End::Closed;
        }
    }

    /// Returns the request with this ticket, which is answered. All that are answered in a call are removed before any
    /// answer is checked: whoever times out in it waits no more.
    pub(super) fn remove(&mut self, key: Key) -> Option<Waiter> {
        let place = self.line.iter().position(|waiter| waiter.key == key)?;
        Some(self.line.remove(place))
    }

    /// Checks an answer. `ended` says that the item of the asker has just ended.
    pub(super) fn answered(
        &mut self,
        waiter: Waiter,
        answer: &Answer,
        now: Time,
        ended: bool,
        is_dead: bool,
    ) -> Result<(), Violation> {
        let key = waiter.key;
        let Waiter { operation, deadline, .. } = &waiter;
        if *answer == Err(ObjectError::Closed) && ended {
            return Ok(());
        }
        let timed_out = || {
            promise!(
                deadline.is_some_and(|deadline| deadline <= now),
                "{key:?} timed out at {now:?}, before {deadline:?}: {operation:?}"
            );
            Ok(())
        };
        let wrong = || Err(format!("{key:?} asked for {operation:?} and was answered {answer:?}; {self:?}"));
        match (operation, answer) {
            (Operation::Put(body), Ok(Reply::Done)) => {
                self.first_come(&waiter, |other| matches!(other, Operation::Put(_)))?;
                promise!(self.end == End::Open, "a put was accepted by a queue that is closed");
                let _ = body;
            }
            (Operation::Put(_), Err(ObjectError::Closed)) => {
                promise!(self.end != End::Open, "a put was refused as closed, but the queue is open");
            }
            (Operation::Put(body), Err(ObjectError::Quota(_))) => {
                promise!(
                    body.len() as u64 > self.quota.bytes || self.quota.entries == 0,
                    "a put was refused for no quota"
                );
            }
            (Operation::Put(body), Err(ObjectError::Full)) => {
                timed_out()?;
                let earlier = self
                    .line
                    .iter()
                    .any(|other| matches!(other.operation, Operation::Put(_)) && other.since < waiter.since);
                promise!(
                    earlier || self.liars || !self.has_room(body.len() as u64, self.held_meanwhile()),
                    "a put was refused as full, but there is room: {self:?}"
                );
            }
            (Operation::Get { most }, Ok(Reply::Many(bodies))) => {
                self.first_come(&waiter, |other| matches!(other, Operation::Get { .. } | Operation::Take))?;
                promise!(!bodies.is_empty() && bodies.len() <= *most as usize, "a get of {most} got {}", bodies.len());
                for body in bodies {
                    self.delivered(id_of(body), key.0, None, false, is_dead)?;
                }
            }
            (Operation::Take, Ok(Reply::Delivery { id, item, redelivered })) => {
                self.first_come(&waiter, |other| matches!(other, Operation::Get { .. } | Operation::Take))?;
                self.delivered(id_of(item), key.0, Some((*id, *redelivered)), false, is_dead)?;
            }
            (Operation::Get { .. } | Operation::Take, Err(ObjectError::Empty)) => {
                timed_out()?;
                self.is_empty_since(self.call.start)?;
            }
            (Operation::Get { .. } | Operation::Take, Err(ObjectError::Closed)) => {
                promise!(self.end != End::Open, "a get was refused as closed, but the queue is open");
                self.is_empty_since(self.call.start)?;
            }
            (operation @ (Operation::Finish(id) | Operation::GiveBack(id)), answer) => {
                let expected = match self.deliveries.get(id) {
                    _ if self.given_back.is_some_and(|(asker, _)| asker == key) => Ok(Reply::Done),
                    None => Err(ObjectError::NotHeld),
                    Some((taker, _)) if *taker != key.0 => Err(ObjectError::NotHolder),
                    Some(_) => Ok(Reply::Done),
                };
                promise!(*answer == expected, "{operation:?} by {} was answered {answer:?}", key.0);
                self.given_back = None;
                if answer.is_ok()
                    && let Some((_, message)) = self.deliveries.remove(id)
                {
                    self.done(message)?;
                }
            }
            (Operation::TaskDone, Ok(Reply::Done)) => {
                let getter = match self.undone.contains_key(&key.0) {
                    true => Some(key.0),
                    false => self.undone.keys().next().copied(),
                };
                match getter {
                    None => promise!(self.liars, "a message was called done too often"),
                    Some(getter) => {
                        let count = self.undone.entry(getter).or_default();
                        *count -= 1;
                        if *count == 0 {
                            self.undone.remove(&getter);
                        }
                        self.unfinished -= 1;
                    }
                }
            }
            (Operation::TaskDone, Err(ObjectError::TooMany)) => {
                let undone: u64 = self.undone.values().sum();
                promise!(undone <= self.call.takes || self.liars, "`too-many`, but {undone} are not done");
            }
            (Operation::JoinQueue, Ok(Reply::Bool(true))) => {
                // Who has waited may have been answered at any moment since the last call: a put that has not been read
                // comes after that.
                let later = if waiter.since < self.call.start { self.call.unread } else { 0 };
                promise!(
                    self.unfinished <= self.call.puts + later || self.liars,
                    "join returned with {} messages unfinished",
                    self.unfinished
                );
            }
            (Operation::JoinQueue, Ok(Reply::Bool(false))) => {
                timed_out()?;
                promise!(self.unfinished > 0 || self.liars, "join timed out, but all is done");
            }
            (Operation::Size, Ok(Reply::Number(size))) => {
                let (low, high) = self.sizes();
                promise!((low..=high).contains(size), "the size is {size}, but it is within {low}..={high}");
            }
            (Operation::IsEmpty, Ok(Reply::Bool(empty))) => {
                let (low, high) = self.sizes();
                promise!(if *empty { low == 0 } else { high > 0 }, "empty: {empty}, with {low}..={high} messages");
            }
            (Operation::IsFull, Ok(Reply::Bool(full))) => {
                let (low, high) = self.sizes();
                let (entries, bytes) = self.usage();
                let quota = entries >= self.quota.entries || bytes >= self.quota.bytes;
                let still = self.call.puts == 0 && self.call.takes == 0 && !self.liars;
                let right = if *full { high >= self.capacity || quota } else { low < self.capacity && !quota };
                promise!(right || !still, "full: {full}, with {low}..={high} messages of {}", self.capacity);
            }
            (Operation::Shutdown { .. }, Ok(Reply::Done)) => {}
            _ => return wrong(),
        }
        Ok(())
    }

    /// Acknowledges a put that was answered, before anything else of the same call is checked.
    pub(super) fn put_answered(&mut self, key: Key) -> Result<(), Violation> {
        let body = self.line.iter().find(|waiter| waiter.key == key).map(|waiter| waiter.operation.clone());
        match body {
            Some(Operation::Put(body)) => self.acknowledged(id_of(&body), false),
            _ => Ok(()),
        }
    }

    pub(super) fn is_put(&self, key: Key) -> bool {
        self.line.iter().any(|waiter| waiter.key == key && matches!(waiter.operation, Operation::Put(_)))
    }

    fn done(&mut self, id: MessageId) -> Result<(), Violation> {
        let message = self.message(id)?;
        message.state = State::Done;
        if !message.doubtful {
            self.unfinished -= 1;
        }
        Ok(())
    }

    fn sizes(&self) -> (u64, u64) {
        let Call { size, puts, takes, .. } = self.call;
        // Puts on credit that the call read may have gone to those who waited, and puts that waited may have come in.
        let now = self.queued.len() as u64;
        let (low, high) = (size.saturating_sub(takes).min(now.saturating_sub(puts)), (size + puts).max(now + takes));
        (low, high + self.doubtful.len() as u64)
    }

    fn first_come(&self, waiter: &Waiter, same: impl Fn(&Operation) -> bool) -> Result<(), Violation> {
        let before = self.line.iter().find(|other| same(&other.operation) && other.since < waiter.since);
        promise!(before.is_none(), "{:?} was served before {:?}", waiter.key, before.map(|other| other.key));
        Ok(())
    }

    /// Checks that no message waits that was acknowledged before this moment.
    fn is_empty_since(&self, moment: u64) -> Result<(), Violation> {
        match self.queued.first_key_value() {
            Some((&acked, id)) if acked < moment => {
                Err(format!("a get found nothing, but message {id} waits: {self:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Returns what took room during this call and may not be seen at its end: puts on the way, and messages that were
    /// taken meanwhile.
    fn held_meanwhile(&self) -> (u64, u64) {
        let Call { takes, taken_bytes, on_the_way: (entries, bytes), .. } = self.call;
        (entries + takes, bytes + taken_bytes)
    }

    fn has_room(&self, bytes: u64, (entries_on_the_way, bytes_on_the_way): (u64, u64)) -> bool {
        let (entries, used) = self.usage();
        self.queued.len() as u64 + entries_on_the_way < self.capacity
            && entries + entries_on_the_way < self.quota.entries
            && used + bytes_on_the_way + bytes <= self.quota.bytes
    }

    /// The item of this participant has ended, as the machine knows now.
    pub(super) fn item_ended(&mut self, who: ParticipantId) -> Result<(), Violation> {
        if let Some(got) = self.undone.remove(&who) {
            self.unfinished -= got;
        }
        let taken: Vec<(u64, MessageId)> = self
            .deliveries
            .iter()
            .filter(|(_, (taker, _))| *taker == who)
            .map(|(delivery, (_, message))| (*delivery, *message))
            .collect();
        for (delivery, id) in taken {
            self.deliveries.remove(&delivery);
            self.returned(id)?;
        }
        Ok(())
    }

    /// A message that was taken and not finished is back.
    fn returned(&mut self, id: MessageId) -> Result<(), Violation> {
        let thrown = self.end == End::ThrownAway;
        let message = self.message(id)?;
        message.returned = true;
        match (message.doubtful, message.acked) {
            (true, _) => {
                message.state = State::Queued;
                self.doubtful.insert(id);
            }
            (false, _) if thrown => {
                message.state = State::ThrownAway;
                self.unfinished -= 1;
                self.counts.thrown_away += 1;
            }
            (false, Some(acked)) => {
                message.state = State::Queued;
                self.queued.insert(acked, id);
            }
            (false, None) => return Err(format!("message {id} was taken, but never acknowledged")),
        }
        Ok(())
    }

    /// The participant is gone, and nobody is told what it waited for.
    pub(super) fn left(&mut self, who: ParticipantId) {
        self.line.retain(|waiter| waiter.key.0 != who);
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.line.iter().filter_map(|waiter| waiter.deadline).min()
    }

    /// Checks what must hold after each call. `lent` is the credit that honest participants have.
    pub(super) fn check(&self, lent: (u64, u64)) -> Result<(), Violation> {
        let (entries, bytes) = self.usage();
        let returned =
            self.queued.values().filter(|id| self.messages.get(id).is_some_and(|message| message.returned)).count();
        let size = self.queued.len() as u64;
        promise!(
            size + lent.0 <= self.capacity.saturating_add(returned as u64) || lent.0 == 0 && size <= self.capacity,
            "{size} messages and credit for {} are more than the capacity of {}",
            lent.0,
            self.capacity
        );
        promise!(
            entries + lent.0 <= self.quota.entries.saturating_add(returned as u64),
            "{entries} entries and credit for {} are more than the quota of {}",
            lent.0,
            self.quota.entries
        );
        promise!(
            bytes + lent.1 <= self.quota.bytes,
            "{bytes} bytes and credit for {} are more than the quota of {}",
            lent.1,
            self.quota.bytes
        );
        Ok(())
    }

    /// Checks that nobody waits for longer than `patience` who could be answered.
    pub(super) fn check_waiting(
        &mut self,
        now: Time,
        patience: Duration,
        on_the_way: (u64, u64),
    ) -> Result<(), Violation> {
        let mut put_before = false;
        let answerable: Vec<bool> = self
            .line
            .iter()
            .map(|waiter| match &waiter.operation {
                Operation::Put(body) => {
                    let first = !std::mem::replace(&mut put_before, true);
                    first && !self.liars && self.has_room(body.len() as u64, on_the_way) || self.end != End::Open
                }
                Operation::Get { .. } | Operation::Take => {
                    let over = self.end != End::Open && on_the_way.0 == 0 && !self.liars;
                    !self.queued.is_empty() || over
                }
                Operation::JoinQueue => self.unfinished == 0 && !self.liars,
                _ => true,
            })
            .collect();
        for (waiter, answerable) in self.line.iter_mut().zip(answerable) {
            match (answerable, waiter.answerable) {
                (false, _) => waiter.answerable = None,
                (true, None) => waiter.answerable = Some(now),
                (true, Some(since)) => promise!(
                    now - since <= patience,
                    "{:?} waits since {since:?} for what it could have: {:?}",
                    waiter.key,
                    waiter.operation
                ),
            }
        }
        Ok(())
    }

    /// Returns the number of messages that must still be in the queue.
    pub(super) fn left_over(&self) -> usize {
        self.queued.len()
    }
}
