//! The short form of `make simulate`.

use wasmpool_simulation::{World, attempt, run};

/// Plays some thousand schedules, on all processors.
#[test]
fn no_schedule_breaks_a_promise() {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    std::thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || {
                for seed in (first..10_000).step_by(threads as usize) {
                    if let Err(failure) = run(seed) {
                        panic!("{failure}");
                    }
                }
            });
        }
    });
}

#[test]
fn a_seed_replays_bit_for_bit() {
    for seed in 0..200 {
        let world = World::drawn(seed);
        let first = attempt(&world);
        assert_eq!(first, attempt(&world), "seed {seed}");
        let other = attempt(&World::drawn(seed + 1));
        assert_ne!(first, other, "seeds {seed} and {} are one world", seed + 1);
    }
}
