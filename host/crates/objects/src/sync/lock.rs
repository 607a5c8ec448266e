//! Locks and rlocks. The holder is a participant in its item.
//!
//! A worker that gets a lock has it *lent*: it releases and acquires it in a word that it shares with the manager, without
//! asking, until somebody else wants it or its item ends. So the last holder of a lock that is lent may have released it,
//! which only its word says. Whoever needs to know has to look there first.

use crate::context::{Asker, Context, Ending, Step, wrong_kind};
use crate::events::ParticipantId;
use crate::line::Line;
use crate::operation::{Acquisition, Answer, ObjectError, Operation, Reply};
use crate::waits::WaitId;

/// A lock. A reentrant one can be acquired again by its holder, who has to release it as often.
#[derive(Debug, Default)]
pub(crate) struct Lock {
    reentrant: bool,
    /// True if it may be lent.
    may_be_lent: bool,
    holder: Option<ParticipantId>,
    levels: u32,
    /// True if it is lent to its holder, who may have released it. All of its levels are one here.
    is_lent: bool,
    line: Line<Waiter>,
    /// Who ended while holding the lock, until the next holder was told.
    abandoned: Option<String>,
}

#[derive(Debug)]
struct Waiter {
    participant: ParticipantId,
    fast: bool,
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

    /// Makes a lock that is lent to its holders.
    pub(crate) fn lent(reentrant: bool) -> Lock {
        Lock { may_be_lent: true, ..Lock::new(reentrant) }
    }

    pub(crate) fn ask(&mut self, asker: &Asker, operation: &Operation, context: &mut Context) -> Step {
        match operation {
            Operation::Acquire => self.acquire(asker, context),
            Operation::Release => Step::Answer(self.release(asker.participant, context)),
            Operation::IsLocked => {
                self.look(context);
                Step::Answer(Ok(Reply::Bool(self.holder.is_some())))
            }
            Operation::Token => Step::Answer(self.token(asker.participant, context)),
            _ => Step::Answer(Err(wrong_kind(if self.reentrant { "an rlock" } else { "a lock" }))),
        }
    }

    fn acquire(&mut self, &Asker { participant, fast, .. }: &Asker, context: &mut Context) -> Step {
        self.want(context);
        if self.reentrant && self.holder == Some(participant) {
            let Some(levels) = self.levels.checked_add(1) else { return Step::Answer(Err(ObjectError::TooMany)) };
            self.levels = levels;
            return Step::Answer(Ok(Reply::Acquired(Acquisition::Acquired)));
        }
        if self.holder.is_none() {
            self.hold(participant, fast, 1, context);
            return Step::Answer(Ok(Reply::Acquired(self.acquisition())));
        }
        self.line.push(context.id(), Waiter { participant, fast, levels: 1, purpose: Purpose::Acquire });
        Step::Wait
    }

    /// Returns a token of the holder. Each is new: of a lock that is lent, it is not known whether it was released and acquired
    /// since the last one was told.
    fn token(&mut self, participant: ParticipantId, context: &mut Context) -> Answer {
        self.look(context);
        self.check_holder(participant)?;
        Ok(Reply::Number(context.next_token()))
    }

    fn release(&mut self, participant: ParticipantId, context: &mut Context) -> Answer {
        self.look(context);
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
        self.line.push(id, Waiter { participant, fast: false, levels, purpose: Purpose::Return { notified } });
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
            (self.holder, self.levels) = (Some(participant), levels);
            return Step::Answer(Ok(Reply::Bool(notified)));
        }
        self.line.push(id, Waiter { participant, fast: false, levels, purpose: Purpose::Return { notified } });
        Step::Wait
    }

    fn hold(&mut self, participant: ParticipantId, fast: bool, levels: u32, context: &mut Context) {
        self.holder = Some(participant);
        self.levels = levels;
        self.is_lent = self.may_be_lent && fast;
        if self.is_lent {
            context.fast.lend_lock(participant, context.object, self.reentrant);
        }
    }

    /// Looks whether the holder has released a lock that is lent to it. If it has, the next has it.
    fn look(&mut self, context: &mut Context) {
        if let Some(holder) = self.holder.filter(|_| self.is_lent)
            && !context.fast.holds_lock(holder, context.object)
        {
            self.want(context);
        }
    }

    /// Says that a lock that is lent is wanted. Returns true if its holder has released it: then the next has it.
    fn want(&mut self, context: &mut Context) -> bool {
        if let Some(holder) = self.holder.filter(|_| self.is_lent)
            && context.fast.want_lock(holder, context.object)
        {
            self.give_to_next(context);
            return true;
        }
        false
    }

    /// Gives a lock that was released in its word to those who wait.
    pub(crate) fn settle(&mut self, context: &mut Context) {
        while !self.line.is_empty() && self.want(context) {}
    }

    /// Tells what the last holder left behind, once.
    fn acquisition(&mut self) -> Acquisition {
        self.abandoned.take().map_or(Acquisition::Acquired, Acquisition::Abandoned)
    }

    /// Gives the lock to the first in the line, or to nobody.
    fn pass_on(&mut self, context: &mut Context) {
        if let Some(holder) = self.holder.filter(|_| self.is_lent) {
            context.fast.take_back_lock(holder, context.object);
        }
        self.give_to_next(context);
    }

    fn give_to_next(&mut self, context: &mut Context) {
        (self.holder, self.levels, self.is_lent) = (None, 0, false);
        if let Some((id, waiter)) = self.line.pop() {
            self.hold(waiter.participant, waiter.fast, waiter.levels, context);
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
        if self.holder != Some(ending.participant) {
            return;
        }
        let is_held = !self.is_lent || context.fast.take_back_lock(ending.participant, context.object);
        // It was taken back just now.
        self.is_lent = false;
        if is_held {
            self.abandoned = Some(ending.name.to_owned());
        }
        self.pass_on(context);
    }

    /// Returns true if somebody holds the lock, or has it lent.
    pub(crate) fn is_held(&self) -> bool {
        self.holder.is_some()
    }
}
