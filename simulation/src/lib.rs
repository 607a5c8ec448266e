//! The scheduler, driven through random schedules in virtual time.
//!
//! A seed determines a [`World`]: how many workers, which items, what goes wrong. A [`Simulation`] plays everything
//! round the scheduler in it: the supervisor's loop, workers, the reader of the input, the writer of the output, and
//! whoever kills and stops processes. A [`Ledger`] records what became of each item and checks the scheduler's promises
//! at every step. All events go into a [`Trace`], so that it can be shown that a seed replays bit for bit.
//!
//! `make simulate` runs it; `make simulate SEED=7` replays one seed and prints its trace.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is the purpose of this program")]

mod figures;
pub mod growth;
pub mod hosts;
mod ledger;
pub mod objects;
mod random;
pub mod seeds;
mod simulation;
mod trace;
pub mod tunnel;
mod worker;
mod world;

pub use figures::Figures;
pub use ledger::Ledger;
pub use simulation::Simulation;
pub use trace::Trace;
pub use world::World;

/// The description of a broken promise.
pub type Violation = String;

/// Ends the step with a [`Violation`] unless the condition holds.
macro_rules! promise {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use promise;
