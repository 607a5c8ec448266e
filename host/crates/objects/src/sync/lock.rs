//! Locks and rlocks. The holder is a participant in its item.

use crate::context::{Asker, Context, Ending, Step, wrong_kind};
use crate::events::ParticipantId;
use crate::line::Line;
use crate::operation::{Acquisition, Answer, ObjectError, Operation, Reply};
use crate::waits::WaitId;

/// A lock. A reentrant one can be acquired again by its holder, who has to release it as often.
#[derive(Debug, Default)]
pub(crate) struct Lock {
    reentrant: bool,
    holder: Option<ParticipantId>,
    levels: u32,
    line: Line<Waiter>,
    /// Who ended while holding the lock, until the next holder was told.
    abandoned: Option<String>,
}

#[derive(Debug)]
struct Waiter {
    participant: ParticipantId,
    levels: u32,
    purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Acquire,
    /// The end of a wait for a condition, which is answered with whether it was notified.
    Return {
        notified: bool,
    },
}

impl Lock {
    pub(crate) fn new(reentrant: bool) -> Lock {
        Lock { reentrant, ..Lock::default() }
    }

    pub(crate) fn ask(&mut self, asker: &Asker, operation: &Operation, context: &mut Context) -> Step {
        match operation {
            Operation::Acquire => self.acquire(asker.participant, context),
            Operation::Release => Step::Answer(self.release(asker.participant, context)),
            Operation::IsLocked => Step::Answer(Ok(Reply::Bool(self.holder.is_some()))),
            _ => Step::Answer(Err(wrong_kind(if self.reentrant { "an rlock" } else { "a lock" }))),
        }
    }

    fn acquire(&mut self, participant: ParticipantId, context: &mut Context) -> Step {
        if self.reentrant && self.holder == Some(participant) {
            let Some(levels) = self.levels.checked_add(1) else { return Step::Answer(Err(ObjectError::TooMany)) };
            self.levels = levels;
            return Step::Answer(Ok(Reply::Acquired(Acquisition::Acquired)));
        }
        if self.holder.is_none() {
            self.hold(participant, 1);
            return Step::Answer(Ok(Reply::Acquired(self.acquisition())));
        }
        self.line.push(context.id(), Waiter { participant, levels: 1, purpose: Purpose::Acquire });
        Step::Wait
    }

    fn release(&mut self, participant: ParticipantId, context: &mut Context) -> Answer {
        self.check_holder(participant)?;
        self.levels -= 1;
        if self.levels == 0 {
            self.pass_on(context);
        }
        Ok(Reply::Done)
    }

    /// Refuses whoever does not hold the lock.
    pub(crate) fn check_holder(&self, participant: ParticipantId) -> Result<(), ObjectError> {
        match self.holder {
            None => Err(ObjectError::NotHeld),
            Some(holder) if holder != participant => Err(ObjectError::NotHolder),
            Some(_) => Ok(()),
        }
    }

    /// Releases all levels of the holder, and returns their number.
    pub(crate) fn release_all(&mut self, context: &mut Context) -> u32 {
        let levels = self.levels;
        self.pass_on(context);
        levels
    }

    /// Lets a wait for a condition end: it has to acquire its levels of the lock again before it is answered.
    pub(crate) fn reacquire(
        &mut self,
        id: WaitId,
        participant: ParticipantId,
        levels: u32,
        notified: bool,
        context: &mut Context,
    ) {
        self.line.push(id, Waiter { participant, levels, purpose: Purpose::Return { notified } });
        if self.holder.is_none() {
            self.pass_on(context);
        }
    }

    /// Acquires the levels again if the lock is free, for a wait that ends by itself.
    pub(crate) fn reacquire_at_once(
        &mut self,
        id: WaitId,
        participant: ParticipantId,
        levels: u32,
        notified: bool,
    ) -> Step {
        if self.holder.is_none() {
            self.hold(participant, levels);
            return Step::Answer(Ok(Reply::Bool(notified)));
        }
        self.line.push(id, Waiter { participant, levels, purpose: Purpose::Return { notified } });
        Step::Wait
    }

    fn hold(&mut self, participant: ParticipantId, levels: u32) {
        self.holder = Some(participant);
        self.levels = levels;
    }

    /// Tells what the last holder left behind, once.
    fn acquisition(&mut self) -> Acquisition {
        self.abandoned.take().map_or(Acquisition::Acquired, Acquisition::Abandoned)
    }

    /// Gives the lock to the first in the line, or to nobody.
    fn pass_on(&mut self, context: &mut Context) {
        self.holder = None;
        self.levels = 0;
        if let Some((id, waiter)) = self.line.pop() {
            self.hold(waiter.participant, waiter.levels);
            let reply = match waiter.purpose {
                Purpose::Acquire => Reply::Acquired(self.acquisition()),
                // The answer of a wait cannot tell of an abandoned lock. Whoever acquires it next is told.
                Purpose::Return { notified } => Reply::Bool(notified),
            };
            context.answer(id, Ok(reply));
        }
    }

    /// Takes a wait out of the line whose time is over.
    pub(crate) fn timed_out(&mut self, id: WaitId) -> Step {
        self.line.remove(id);
        Step::Answer(Ok(Reply::Acquired(Acquisition::TimedOut)))
    }

    /// Takes a wait out of the line that nobody waits for any more. Returns whether it had been notified.
    pub(crate) fn dropped(&mut self, id: WaitId) -> bool {
        self.line.remove(id).is_some_and(|waiter| waiter.purpose == Purpose::Return { notified: true })
    }

    /// Releases what this participant holds, because its item ended.
    pub(crate) fn ended(&mut self, ending: &Ending, context: &mut Context) {
        if self.holder == Some(ending.participant) {
            self.abandoned = Some(ending.name.to_owned());
            self.pass_on(context);
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.holder.is_some()
    }
}
