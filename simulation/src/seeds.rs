//! Seeds of all simulations: a seed is run, replayed, and reduced to a smaller world if it fails.

use std::fmt::{self, Debug, Display, Formatter};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Violation;
use crate::trace::Trace;

/// What a seed determines, and how it is played.
pub trait SeededWorld: Clone + Debug {
    type Figures: RunFigures;
    /// The variable of `make simulate` by which a seed is replayed.
    const VARIABLE: &'static str;

    fn drawn(seed: u64) -> Self;

    fn seed(&self) -> u64;

    /// Returns smaller and simpler worlds, in which a failure is easier to understand. Some may be this one.
    fn smaller(&self) -> Vec<Self>;

    fn play(&self, trace: Trace) -> Result<Self::Figures, Violation>;
}

/// The figures of runs.
pub trait RunFigures: Default + Display + PartialEq + Send {
    /// Adds the figures of other runs. The hash is a sum, so it depends neither on their order nor on which thread ran
    /// which.
    fn add(&mut self, other: &Self);

    /// Returns the hash of all events.
    fn hash(&self) -> u64;
}

/// The result of a seed that failed.
#[derive(Debug)]
pub struct Failure<W> {
    pub violation: Violation,
    /// The smallest world found in which the seed still fails.
    pub world: W,
}

/// Runs a seed, and reduces its world if it fails.
pub fn run<W: SeededWorld>(seed: u64) -> Result<W::Figures, Box<Failure<W>>> {
    let world = W::drawn(seed);
    attempt(&world).map_err(|violation| Box::new(smaller(Failure { violation, world })))
}

/// Runs a world; a panic is a violation too.
pub fn attempt<W: SeededWorld>(world: &W) -> Result<W::Figures, Violation> {
    catch_unwind(AssertUnwindSafe(|| world.play(Trace::default()))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("without a word")))
    })
}

/// Searches for a smaller world that fails.
fn smaller<W: SeededWorld>(mut failure: Failure<W>) -> Failure<W> {
    'smaller: loop {
        let before = format!("{:?}", failure.world);
        for world in failure.world.smaller() {
            if format!("{world:?}") == before {
                continue;
            }
            if let Err(violation) = attempt(&world) {
                failure = Failure { violation, world };
                continue 'smaller;
            }
        }
        return failure;
    }
}

impl<W: SeededWorld> Display for Failure<W> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (variable, seed) = (W::VARIABLE, self.world.seed());
        writeln!(f, "seed {seed} breaks a promise. `make simulate {variable}={seed}` replays it.")?;
        write!(f, "The smallest world in which it still does:\n{:#?}\n{}", self.world, self.violation)
    }
}
