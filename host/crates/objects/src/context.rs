//! What an object sees of the machine while it handles an event.

use crate::events::{Outputs, ParticipantId};
use crate::fast::FastPath;
use crate::operation::{Answer, ObjectError};
use crate::waits::{WaitId, Waits};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) participant: ParticipantId,
    pub(crate) name: &'a str,
    /// True if it can put on credit and take messages ahead.
    pub(crate) fast: bool,
    /// Bytes that its waiting requests may still hold. A single one may always wait.
    pub(crate) bytes_that_may_wait: u64,
}

/// The end of a participant's item, which releases what it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending<'a> {
    pub(crate) participant: ParticipantId,
    pub(crate) name: &'a str,
    /// True if it did not end by itself.
    pub(crate) failed: bool,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Step {
    Answer(Answer),
    /// It waits in a line of the object, under [`Context::id`]. A request whose time is over waits on without a deadline.
    Wait,
    /// As `Wait`, and holds this many bytes.
    WaitHolding(u64),
}

pub(crate) struct Context<'a> {
    /// Number of the object.
    pub(crate) object: u16,
    /// Number of participants that can run at once.
    pub(crate) at_once: u32,
    pub(crate) waits: &'a mut Waits,
    pub(crate) fast: &'a mut dyn FastPath,
    pub(crate) outputs: &'a mut Outputs,
    /// The last token that was told to a holder.
    pub(crate) token: &'a mut u64,
}

impl Context<'_> {
    /// Returns the number that the request in work has if it waits.
    pub(crate) fn id(&self) -> WaitId {
        self.waits.next_id()
    }

    /// Returns a number that is greater than all before it.
    pub(crate) fn next_token(&mut self) -> u64 {
        *self.token = self.token.saturating_add(1);
        *self.token
    }

    /// Answers a request that waits.
    pub(crate) fn answer(&mut self, id: WaitId, answer: Answer) {
        self.waits.answer(id, answer, self.outputs);
    }
}

/// The error for an operation that objects of this kind do not have.
pub(crate) fn wrong_kind(kind: &str) -> ObjectError {
    ObjectError::Invalid(format!("{kind} has no such operation"))
}
