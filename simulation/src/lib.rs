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
mod simulation;
mod trace;
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

/// The result of a seed that failed.
#[derive(Debug)]
pub struct Failure {
    pub violation: Violation,
    /// The smallest world found in which the seed still fails.
    pub world: World,
}

/// Runs a seed, and reduces its world if it fails.
pub fn run(seed: u64) -> Result<Figures, Box<Failure>> {
    let world = World::drawn(seed);
    attempt(&world).map_err(|violation| Box::new(smaller(Failure { violation, world })))
}

/// Runs a world; a panic in the scheduler is a violation too.
pub fn attempt(world: &World) -> Result<Figures, Violation> {
    let run = || Simulation::new(world.clone(), Trace::default()).run();
    std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("without a word")))
    })
}

/// Searches for a smaller world that fails.
fn smaller(mut failure: Failure) -> Failure {
    'smaller: loop {
        for world in failure.world.smaller() {
            if let Err(violation) = attempt(&world) {
                failure = Failure { violation, world };
                continue 'smaller;
            }
        }
        return failure;
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seed = self.world.seed;
        writeln!(f, "seed {seed} breaks a promise. `make simulate SEED={seed}` replays it.")?;
        write!(f, "The smallest world in which it still does:\n{:#?}\n{}", self.world, self.violation)
    }
}
