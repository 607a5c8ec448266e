//! Conditions, each with an rlock of its own.

use super::lock::Lock;
use crate::context::{Asker, Context, Ending, Step, wrong_kind};
use crate::events::ParticipantId;
use crate::line::Line;
use crate::operation::{Answer, Operation, Reply};
use crate::waits::WaitId;

#[derive(Debug)]
pub(crate) struct Condition {
    lock: Lock,
    waiting: Line<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    participant: ParticipantId,
    levels: u32,
}

impl Condition {
    pub(crate) fn new() -> Condition {
        Condition { lock: Lock::new(true), waiting: Line::default() }
    }

    pub(crate) fn ask(&mut self, asker: &Asker, operation: &Operation, context: &mut Context) -> Step {
        match operation {
            Operation::WaitCondition => {
                if let Err(error) = self.lock.check_holder(asker.participant) {
                    return Step::Answer(Err(error));
                }
                let levels = self.lock.release_all(context);
                self.waiting.push(context.id(), Waiter { participant: asker.participant, levels });
                Step::Wait
            }
            Operation::Notify { most } => Step::Answer(self.notify(asker.participant, *most, context)),
            Operation::Acquire | Operation::Release | Operation::IsLocked | Operation::Token => {
                self.lock.ask(asker, operation, context)
            }
            _ => Step::Answer(Err(wrong_kind("a condition"))),
        }
    }

    fn notify(&mut self, participant: ParticipantId, most: u32, context: &mut Context) -> Answer {
        self.lock.check_holder(participant)?;
        for _ in 0..most {
            if !self.notify_first(context) {
                break;
            }
        }
        Ok(Reply::Done)
    }

    fn notify_first(&mut self, context: &mut Context) -> bool {
        let Some((id, Waiter { participant, levels })) = self.waiting.pop() else { return false };
        context.waits.forget_deadline(id);
        self.lock.reacquire(id, participant, levels, true, context);
        true
    }

    /// Ends a wait whose time is over. It still has to acquire the lock.
    pub(crate) fn timed_out(&mut self, id: WaitId) -> Step {
        match self.waiting.remove(id) {
            Some(Waiter { participant, levels }) => self.lock.reacquire_at_once(id, participant, levels, false),
            None => self.lock.timed_out(id),
        }
    }

    /// Takes a wait out that nobody waits for any more. If it was notified, another one is notified in its place: the
    /// notification must not be lost with it.
    pub(crate) fn dropped(&mut self, id: WaitId, context: &mut Context) {
        if self.waiting.remove(id).is_none() && self.lock.dropped(id) {
            self.notify_first(context);
        }
    }

    pub(crate) fn ended(&mut self, ending: &Ending, context: &mut Context) {
        self.lock.ended(ending, context);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.lock.is_held()
    }
}
