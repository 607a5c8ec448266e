//! Semaphores, bounded and not.

use std::collections::BTreeMap;

use crate::context::{Asker, Context, Ending, Step, wrong_kind};
use crate::events::ParticipantId;
use crate::line::Line;
use crate::operation::{Acquisition, Answer, ObjectError, Operation, Reply};
use crate::waits::WaitId;

/// A number of slots. Another participant than the one who acquired a slot may give it back, as in Python.
///
/// A release without an acquisition before it adds a slot, which is a signal to whoever acquires it. An item that acquires
/// more than the slots of the start has received such a signal, so the slot is gone when the item ends well. When it fails,
/// the slot is there for another.
#[derive(Debug)]
pub(crate) struct Semaphore {
    bounded: bool,
    /// Number of slots at the start, which are always given back.
    at_start: u64,
    slots: u64,
    /// Slots by holder: what is given back when its item ends.
    held: BTreeMap<ParticipantId, u64>,
    line: Line<ParticipantId>,
    /// Who ended while holding a slot, until the next holder was told.
    abandoned: Option<String>,
}

impl Semaphore {
    pub(crate) fn new(slots: u32, bounded: bool) -> Semaphore {
        let slots = slots.into();
        let (held, line) = (BTreeMap::new(), Line::default());
        Semaphore { bounded, at_start: slots, slots, held, line, abandoned: None }
    }

    pub(crate) fn ask(&mut self, asker: &Asker, operation: &Operation, context: &mut Context) -> Step {
        match operation {
            Operation::Acquire => {
                if self.slots > 0 {
                    return Step::Answer(Ok(self.take_slot(asker.participant)));
                }
                self.line.push(context.id(), asker.participant);
                Step::Wait
            }
            Operation::Release => Step::Answer(self.release(asker.participant, context)),
            Operation::Token if self.held.contains_key(&asker.participant) => {
                Step::Answer(Ok(Reply::Number(context.next_token())))
            }
            Operation::Token => Step::Answer(Err(ObjectError::NotHeld)),
            Operation::Slots => Step::Answer(Ok(Reply::Number(self.slots))),
            _ => Step::Answer(Err(wrong_kind("a semaphore"))),
        }
    }

    fn take_slot(&mut self, participant: ParticipantId) -> Reply {
        self.slots -= 1;
        *self.held.entry(participant).or_default() += 1;
        Reply::Acquired(self.abandoned.take().map_or(Acquisition::Acquired, Acquisition::Abandoned))
    }

    fn release(&mut self, participant: ParticipantId, context: &mut Context) -> Answer {
        // A slot that one participant acquired and another gives back must not be given back again when the item of the
        // first ends.
        let holder = if self.held.contains_key(&participant) {
            Some(participant)
        } else {
            self.held.first_key_value().map(|(&holder, _)| holder)
        };
        match holder {
            Some(holder) => self.drop_slot(holder),
            // Nobody holds a slot, so there are as many as at the start, or more.
            None if self.bounded => return Err(ObjectError::TooMany),
            None => {}
        }
        self.slots = self.slots.checked_add(1).ok_or(ObjectError::TooMany)?;
        self.serve(context);
        Ok(Reply::Done)
    }

    fn drop_slot(&mut self, holder: ParticipantId) {
        if let Some(slots) = self.held.get_mut(&holder) {
            *slots -= 1;
            if *slots == 0 {
                self.held.remove(&holder);
            }
        }
    }

    fn serve(&mut self, context: &mut Context) {
        while self.slots > 0
            && let Some((id, participant)) = self.line.pop()
        {
            let reply = self.take_slot(participant);
            context.answer(id, Ok(reply));
        }
    }

    pub(crate) fn timed_out(&mut self, id: WaitId) -> Step {
        self.line.remove(id);
        Step::Answer(Ok(Reply::Acquired(Acquisition::TimedOut)))
    }

    pub(crate) fn dropped(&mut self, id: WaitId) {
        self.line.remove(id);
    }

    /// Gives back the slots that this participant holds, because its item ended.
    pub(crate) fn ended(&mut self, ending: &Ending, context: &mut Context) {
        let Some(held) = self.held.remove(&ending.participant) else { return };
        let given_back = if ending.failed { held } else { held.min(self.missing_from_start()) };
        if given_back > 0 {
            self.slots = self.slots.saturating_add(given_back);
            self.abandoned = Some(ending.name.to_owned());
            self.serve(context);
        }
    }

    /// Returns how many slots of the start are neither free nor held.
    fn missing_from_start(&self) -> u64 {
        let there = self.held.values().fold(self.slots, |sum, held| sum.saturating_add(*held));
        self.at_start.saturating_sub(there)
    }

    /// Returns the number of free slots.
    pub(crate) fn slots(&self) -> u64 {
        self.slots
    }

    pub(crate) fn fill(&mut self, slots: u64) {
        (self.at_start, self.slots) = (slots, slots);
    }
}
