//! Events.

use crate::context::{Asker, Context, Step, wrong_kind};
use crate::line::Line;
use crate::operation::{Operation, Reply};
use crate::waits::WaitId;

/// A flag that participants wait for. Setting it answers all who wait, so one that is cleared at once loses nobody.
#[derive(Debug, Default)]
pub(crate) struct Event {
    set: bool,
    line: Line<()>,
}

impl Event {
    pub(crate) fn ask(&mut self, _: &Asker, operation: &Operation, context: &mut Context) -> Step {
        match operation {
            Operation::IsSet => Step::Answer(Ok(Reply::Bool(self.set))),
            Operation::Set => {
                self.set = true;
                while let Some((id, ())) = self.line.pop() {
                    context.answer(id, Ok(Reply::Bool(true)));
                }
                Step::Answer(Ok(Reply::Done))
            }
            Operation::Clear => {
                self.set = false;
                Step::Answer(Ok(Reply::Done))
            }
            Operation::WaitEvent if self.set => Step::Answer(Ok(Reply::Bool(true))),
            Operation::WaitEvent => {
                self.line.push(context.id(), ());
                Step::Wait
            }
            _ => Step::Answer(Err(wrong_kind("an event"))),
        }
    }

    pub(crate) fn timed_out(&mut self, id: WaitId) -> Step {
        self.line.remove(id);
        Step::Answer(Ok(Reply::Bool(false)))
    }

    pub(crate) fn dropped(&mut self, id: WaitId) {
        self.line.remove(id);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.set
    }

    pub(crate) fn fill(&mut self, set: bool) {
        self.set = set;
    }
}
