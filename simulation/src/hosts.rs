//! The slots of a run over many machines, driven through random schedules in virtual time, together with the scheduler.
//!
//! A seed determines a [`World`]: how many hosts, which items, and what goes wrong. The broker delays, doubles, reorders
//! and loses messages, loses all that it has, and cannot be reached; hosts end, stand still, are cut off, come back under
//! the same name, and lie. Each outcome carries the index of its item, which no real one does, so that it is seen whether
//! it is counted for that item, and once.

mod broker;
mod figures;
mod play;
mod site;
mod world;

use crate::Violation;
use crate::trace::Trace;
pub use figures::Figures;
pub use world::World;

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

/// Runs a world; a panic in one of the machines is a violation too.
pub fn attempt(world: &World) -> Result<Figures, Violation> {
    let run = || play::Simulation::new(world, Trace::default()).run();
    std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("without a word")))
    })
}

/// Runs a world, and prints its events.
pub fn show(world: &World) -> Result<Figures, Violation> {
    play::Simulation::new(world, Trace::printing()).run()
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
        writeln!(f, "seed {seed} breaks a promise. `make simulate HOSTS={seed}` replays it.")?;
        write!(f, "The smallest world in which it still does:\n{:#?}\n{}", self.world, self.violation)
    }
}
