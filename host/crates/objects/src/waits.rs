//! The requests that wait, and their deadlines.

use std::collections::{BTreeMap, BTreeSet};

use crate::events::{Answered, Outputs, ParticipantId, Ticket, Time};
use crate::operation::Answer;

/// Number of a request that waits. Later requests have higher numbers.
pub(crate) type WaitId = u64;

/// A request that waits. Which line it is in, its object knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) participant: ParticipantId,
    pub(crate) ticket: Ticket,
    pub(crate) object: u16,
    deadline: Option<Time>,
    /// Bytes that the request itself holds while it waits.
    pub(crate) bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Waits {
    next: WaitId,
    waiting: BTreeMap<WaitId, Wait>,
    deadlines: BTreeSet<(Time, WaitId)>,
    of_participants: BTreeMap<ParticipantId, Own>,
    /// Requests that wait in lines of several objects.
    spread: BTreeMap<WaitId, Vec<u16>>,
    /// Those of them that have ended, with the objects in whose lines they may still be.
    ended: Vec<(WaitId, Vec<u16>)>,
}

/// What one participant has waiting.
#[derive(Debug, Default)]
struct Own {
    waits: BTreeSet<WaitId>,
    tickets: BTreeSet<Ticket>,
    bytes: u64,
}

impl Waits {
    /// Returns the number that the next request has if it waits.
    pub(crate) fn next_id(&self) -> WaitId {
        self.next
    }

    /// Keeps a request. `deadline` is `None` if it waits without a limit, or until a time that never comes.
    pub(crate) fn add(
        &mut self,
        participant: ParticipantId,
        ticket: Ticket,
        object: u16,
        deadline: Option<Time>,
        bytes: u64,
    ) -> WaitId {
        let id = self.next;
        self.next += 1;
        self.waiting.insert(id, Wait { participant, ticket, object, deadline, bytes });
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, id));
        }
        let own = self.of_participants.entry(participant).or_default();
        own.waits.insert(id);
        own.tickets.insert(ticket);
        own.bytes += bytes;
        id
    }

    /// Forgets a request that was answered or dropped.
    pub(crate) fn remove(&mut self, id: WaitId) -> Option<Wait> {
        let wait = self.waiting.remove(&id)?;
        if let Some(objects) = self.spread.remove(&id) {
            self.ended.push((id, objects));
        }
        if let Some(deadline) = wait.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        if let Some(own) = self.of_participants.get_mut(&wait.participant) {
            own.waits.remove(&id);
            own.tickets.remove(&wait.ticket);
            own.bytes -= wait.bytes;
            if own.waits.is_empty() {
                self.of_participants.remove(&wait.participant);
            }
        }
        Some(wait)
    }

    /// Takes note that a request waits in lines of all of these objects.
    pub(crate) fn spread(&mut self, id: WaitId, objects: Vec<u16>) {
        self.spread.insert(id, objects);
    }

    /// Returns a request that has ended, and the objects that may still have it in a line.
    pub(crate) fn pop_ended(&mut self) -> Option<(WaitId, Vec<u16>)> {
        self.ended.pop()
    }

    /// Answers a request that waits. One that is not there was answered before, and nothing happens.
    pub(crate) fn answer(&mut self, id: WaitId, answer: Answer, outputs: &mut Outputs) {
        if let Some(Wait { participant, ticket, .. }) = self.remove(id) {
            outputs.answers.push(Answered { participant, ticket, answer });
        }
    }

    /// Lets a request wait on without a deadline.
    pub(crate) fn forget_deadline(&mut self, id: WaitId) {
        if let Some(wait) = self.waiting.get_mut(&id)
            && let Some(deadline) = wait.deadline.take()
        {
            self.deadlines.remove(&(deadline, id));
        }
    }

    /// Returns the request whose deadline has come, the earliest first.
    pub(crate) fn due(&self, now: Time) -> Option<(WaitId, Wait)> {
        let &(deadline, id) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.waiting.get(&id).map(|wait| (id, *wait))
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Returns the first request of this participant that waits, with its object.
    pub(crate) fn first_of(&self, participant: ParticipantId) -> Option<(WaitId, Wait)> {
        let &id = self.of_participants.get(&participant)?.waits.first()?;
        self.waiting.get(&id).map(|wait| (id, *wait))
    }

    pub(crate) fn contains(&self, id: WaitId) -> bool {
        self.waiting.contains_key(&id)
    }

    pub(crate) fn count_of(&self, participant: ParticipantId) -> usize {
        self.of_participants.get(&participant).map_or(0, |own| own.waits.len())
    }

    pub(crate) fn has_ticket(&self, participant: ParticipantId, ticket: Ticket) -> bool {
        self.of_participants.get(&participant).is_some_and(|own| own.tickets.contains(&ticket))
    }

    /// Returns the bytes that this participant's waiting requests hold.
    pub(crate) fn bytes_of(&self, participant: ParticipantId) -> u64 {
        self.of_participants.get(&participant).map_or(0, |own| own.bytes)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}
