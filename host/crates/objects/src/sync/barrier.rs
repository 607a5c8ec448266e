//! Barriers.

use std::collections::BTreeSet;

use crate::context::{Asker, Context, Ending, Step, wrong_kind};
use crate::events::ParticipantId;
use crate::line::Line;
use crate::operation::{ObjectError, Operation, Reply};
use crate::waits::WaitId;

/// A point that all parties reach before any of them goes on.
#[derive(Debug)]
pub(crate) struct Barrier {
    parties: u32,
    line: Line<ParticipantId>,
    /// What broke the barrier, until it is reset.
    broken: Option<String>,
    /// Those who waited here in the item that they still run. If such an item fails, its party may be missing from the
    /// next round.
    met: BTreeSet<ParticipantId>,
}

impl Barrier {
    pub(crate) fn new(parties: u32) -> Barrier {
        Barrier { parties, line: Line::default(), broken: None, met: BTreeSet::new() }
    }

    pub(crate) fn ask(&mut self, asker: &Asker, operation: &Operation, context: &mut Context) -> Step {
        let answer = match operation {
            Operation::WaitBarrier => return self.wait(asker, context),
            Operation::Parties => Reply::Number(self.parties.into()),
            Operation::Waiting => Reply::Number(self.line.len() as u64),
            Operation::IsBroken => Reply::Bool(self.broken.is_some()),
            Operation::Abort => {
                self.break_because(format!("aborted by {}", asker.name), context);
                Reply::Done
            }
            Operation::Reset => {
                self.break_because(format!("reset by {}", asker.name), context);
                self.broken = None;
                self.met.clear();
                Reply::Done
            }
            _ => return Step::Answer(Err(wrong_kind("a barrier"))),
        };
        Step::Answer(Ok(answer))
    }

    fn wait(&mut self, asker: &Asker, context: &mut Context) -> Step {
        if let Some(why) = &self.broken {
            return Step::Answer(Err(ObjectError::Broken(why.clone())));
        }
        if self.parties > context.at_once {
            return Step::Answer(Err(ObjectError::Invalid(format!(
                "the barrier has {} parties, and at most {} can run at once, so they would never meet; run more \
                 workers, or give it fewer parties",
                self.parties, context.at_once
            ))));
        }
        self.met.insert(asker.participant);
        if self.line.len() as u64 + 1 < self.parties.into() {
            self.line.push(context.id(), asker.participant);
            return Step::Wait;
        }
        let mut number = 0;
        while let Some((id, _)) = self.line.pop() {
            context.answer(id, Ok(Reply::Number(number)));
            number += 1;
        }
        Step::Answer(Ok(Reply::Number(number)))
    }

    /// Breaks the barrier for all who wait and for all who come.
    fn break_because(&mut self, why: String, context: &mut Context) {
        while let Some((id, _)) = self.line.pop() {
            context.answer(id, Err(ObjectError::Broken(why.clone())));
        }
        if self.broken.is_none() {
            self.broken = Some(why);
        }
    }

    pub(crate) fn timed_out(&mut self, id: WaitId, who: &str, context: &mut Context) -> Step {
        self.line.remove(id);
        self.break_because(format!("the wait of {who} timed out"), context);
        Step::Answer(Err(ObjectError::Timeout))
    }

    pub(crate) fn dropped(&mut self, id: WaitId, who: &str, context: &mut Context) {
        if self.line.remove(id).is_some() {
            self.break_because(format!("{who} ended while it waited"), context);
        }
    }

    pub(crate) fn ended(&mut self, ending: &Ending, context: &mut Context) {
        if self.met.remove(&ending.participant) && ending.failed {
            self.break_because(format!("{} ended without reaching it again", ending.name), context);
        }
    }
}
