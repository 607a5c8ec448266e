//! What was got or taken from a queue and is not done yet.

use std::collections::{BTreeMap, BTreeSet};

use super::store::Message;
use crate::events::ParticipantId;
use crate::operation::ObjectError;

#[derive(Debug, Default)]
pub(super) struct Deliveries {
    next: u64,
    taken: BTreeMap<u64, (ParticipantId, Message)>,
    of_participants: BTreeSet<(ParticipantId, u64)>,
    /// Number of messages that a participant's item got and did not call done.
    got: BTreeMap<ParticipantId, u64>,
}

impl Deliveries {
    /// Keeps a message that was taken until it is finished, and returns the number of the delivery.
    pub(super) fn take(&mut self, participant: ParticipantId, message: Message) -> u64 {
        let id = self.next;
        self.next += 1;
        self.taken.insert(id, (participant, message));
        self.of_participants.insert((participant, id));
        id
    }

    /// Removes a delivery that its taker has finished.
    pub(super) fn finish(&mut self, participant: ParticipantId, id: u64) -> Result<Message, ObjectError> {
        match self.taken.get(&id) {
            None => return Err(ObjectError::NotHeld),
            Some((taker, _)) if *taker != participant => return Err(ObjectError::NotHolder),
            Some(_) => {}
        }
        self.of_participants.remove(&(participant, id));
        self.taken.remove(&id).map(|(_, message)| message).ok_or(ObjectError::NotHeld)
    }

    pub(super) fn got(&mut self, participant: ParticipantId, count: u64) {
        if count > 0 {
            *self.got.entry(participant).or_default() += count;
        }
    }

    /// Counts a message as done that was got. Another participant than the one that got it may say so.
    pub(super) fn done(&mut self, participant: ParticipantId) -> Result<(), ObjectError> {
        let getter = match self.got.contains_key(&participant) {
            true => participant,
            false => *self.got.first_key_value().ok_or(ObjectError::TooMany)?.0,
        };
        if let Some(count) = self.got.get_mut(&getter) {
            *count -= 1;
            if *count == 0 {
                self.got.remove(&getter);
            }
        }
        Ok(())
    }

    /// Forgets what the participant's item has. Returns the messages that it took and did not finish, and the number of
    /// those that it got and did not call done.
    pub(super) fn ended(&mut self, participant: ParticipantId) -> (Vec<Message>, u64) {
        let mut messages = Vec::new();
        while let Some(&(taker, id)) = self.of_participants.range((participant, 0)..).next()
            && taker == participant
        {
            self.of_participants.remove(&(taker, id));
            messages.extend(self.taken.remove(&id).map(|(_, message)| message));
        }
        (messages, self.got.remove(&participant).unwrap_or(0))
    }
}
