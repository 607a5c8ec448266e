//! The short form of `make simulate`.

use wasmpool_simulation::seeds::{SeededWorld, attempt, run};
use wasmpool_simulation::{World, hosts, objects, tunnel};

/// Plays this many schedules, on all processors.
fn play<T, E: std::fmt::Display>(count: u64, run: impl Fn(u64) -> Result<T, E> + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    std::thread::scope(|scope| {
        for first in 0..threads {
            let run = &run;
            scope.spawn(move || {
                for seed in (first..count).step_by(threads as usize) {
                    if let Err(failure) = run(seed) {
                        panic!("{failure}");
                    }
                }
            });
        }
    });
}

#[test]
fn no_schedule_breaks_a_promise() {
    play(10_000, run::<World>);
}

#[test]
fn no_schedule_breaks_a_promise_of_the_shared_objects() {
    play(50_000, run::<objects::World>);
}

#[test]
fn no_schedule_breaks_a_promise_of_a_run_over_many_hosts() {
    play(10_000, run::<hosts::World>);
}

#[test]
fn no_schedule_breaks_a_promise_of_the_tunnel_to_shared_objects() {
    play(10_000, run::<tunnel::World>);
}

#[test]
fn a_seed_of_a_run_over_many_hosts_replays_bit_for_bit() {
    for seed in 0..200 {
        let (world, next) = (hosts::World::drawn(seed), hosts::World::drawn(seed + 1));
        let first = attempt(&world);
        assert_eq!(first, attempt(&hosts::World::drawn(seed)), "seed {seed}");
        if world.items == 0 && next.items == 0 {
            // A run without items is over before anything happens.
            continue;
        }
        let other = attempt(&next);
        assert_ne!(first, other, "seeds {seed} and {} are one world", seed + 1);
    }
}

#[test]
fn a_seed_of_the_shared_objects_replays_bit_for_bit() {
    for seed in 0..200 {
        let first = attempt(&objects::World::drawn(seed));
        assert_eq!(first, attempt(&objects::World::drawn(seed)), "seed {seed}");
        let other = attempt(&objects::World::drawn(seed + 1));
        assert_ne!(first, other, "seeds {seed} and {} are one world", seed + 1);
    }
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
