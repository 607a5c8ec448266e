//! What becomes of the machines of a run over many.

/// A change of which the user of a run may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostChange {
    /// The host serves the run, with this many workers.
    Serves { workers: usize },
    /// It was silent, and is heard again.
    Returns,
    /// It was told to end, and takes no more chunks.
    Leaves,
    /// It is lost. The `chunks` that it had, and no other host has, run again.
    Lost { how: HostLoss, chunks: usize },
}

/// How a host was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostLoss {
    /// It has ended, stands still, or cannot be reached.
    Silent,
    /// It was started again, and has nothing of what it had before.
    Restarted,
    /// It breaks the protocol, and is not heard any more.
    Breaks,
    /// It is heard, and has answered nothing for very long.
    AnswersNothing,
    /// It is heard, and has given up chunks that it ran, as if it was not heard for too long where shared objects are.
    GivesUp,
}

impl HostLoss {
    /// Returns true if the host does not serve the run any more, as far as is known.
    pub fn is_of_host(self) -> bool {
        !matches!(self, HostLoss::AnswersNothing | HostLoss::GivesUp)
    }
}
