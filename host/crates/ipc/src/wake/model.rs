//! Runs two sides that wake each other in every possible order. A lost wake-up leaves one asleep for good, which loom
//! reports as a deadlock.

use std::io;

use loom::model::Builder;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::{AnnouncedCount, Bell, SleepReason, SleepWord, Sleeper, Waker};

/// Stands for the socket of a lane, and the eventfd of the mailbox: it counts its rings.
#[derive(Default)]
struct Rings {
    count: Mutex<u32>,
    heard: Condvar,
}

impl Rings {
    fn ring(&self) {
        *self.count.lock().unwrap() += 1;
        self.heard.notify_one();
    }

    fn wait(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.heard.wait(count).unwrap();
        }
        *count = 0;
    }
}

/// A lane with heads in place of rings, and bells in both directions.
#[derive(Default)]
struct Lane {
    input: AtomicU64,
    output: AtomicU64,
    host_waits: SleepWord,
    worker_waits: SleepWord,
    host_rung: Rings,
    worker_rung: Rings,
}

/// The bells as the worker uses them.
struct OfWorker<'a>(&'a Lane);

impl Bell for OfWorker<'_> {
    fn wait(&self) -> io::Result<()> {
        self.0.worker_rung.wait();
        Ok(())
    }

    fn ring(&self) -> io::Result<()> {
        self.0.host_rung.ring();
        Ok(())
    }
}

impl Lane {
    fn worker(&self) -> (Sleeper<'_>, Waker<'_>, OfWorker<'_>) {
        (self.worker_waits.sleeper(), self.host_waits.waker(), OfWorker(self))
    }

    /// Does what the worker does until its input has reached `count`.
    fn worker_takes(&self, count: u64) {
        let (sleeper, host, bell) = self.worker();
        sleeper.sleep_until(SleepReason::Input, host, &bell, || self.input.load(Ordering::Acquire) >= count).unwrap();
    }

    /// Does what the host does to send input up to `count`.
    fn host_sends(&self, count: u64) {
        self.input.store(count, Ordering::Release);
        if self.worker_waits.waker().must_ring(SleepReason::Input) {
            self.worker_rung.ring();
        }
    }

    /// Does what the host does until the worker has written output up to `count`.
    fn host_receives(&self, count: u64) {
        while self.output.load(Ordering::Acquire) < count {
            self.host_waits.sleeper().announce(SleepReason::News);
            if self.output.load(Ordering::Acquire) < count {
                self.host_rung.wait();
            }
            self.host_waits.sleeper().retract();
        }
    }
}

/// Runs `host` and `worker` side by side in every order.
fn in_every_order(host: fn(&Lane), worker: fn(&Lane)) {
    in_orders(Builder::new(), host, worker);
}

fn in_orders(builder: Builder, host: fn(&Lane), worker: fn(&Lane)) {
    builder.check(move || {
        let lane = Arc::new(Lane::default());
        let other = Arc::clone(&lane);
        let thread = thread::spawn(move || worker(&other));
        host(&lane);
        thread.join().unwrap();
    });
}

#[test]
fn a_worker_that_waits_for_input_hears_of_it() {
    in_every_order(|lane| lane.host_sends(1), |lane| lane.worker_takes(1));
}

#[test]
fn a_worker_that_waits_again_hears_again() {
    let host = |lane: &Lane| {
        lane.host_sends(1);
        lane.host_sends(2);
    };
    let worker = |lane: &Lane| {
        lane.worker_takes(1);
        lane.worker_takes(2);
    };
    in_every_order(host, worker);
}

#[test]
fn a_bell_for_something_else_is_not_rung_and_the_right_one_is() {
    let host = |lane: &Lane| {
        assert!(!lane.worker_waits.waker().must_ring(SleepReason::Room));
        lane.host_sends(1);
    };
    in_every_order(host, |lane| lane.worker_takes(1));
}

#[test]
fn a_host_that_waits_for_outcomes_hears_of_them() {
    let worker = |lane: &Lane| {
        lane.output.store(1, Ordering::Release);
        let (_, host, bell) = lane.worker();
        if host.must_ring(SleepReason::News) {
            bell.ring().unwrap();
        }
    };
    in_every_order(|lane| lane.host_receives(1), worker);
}

/// The worker answers without waking the host, and wakes it only when it goes to sleep itself, with one fence for both.
#[test]
fn a_worker_that_goes_to_sleep_leaves_no_host_asleep() {
    let host = |lane: &Lane| {
        lane.host_receives(1);
        lane.host_sends(1);
    };
    let worker = |lane: &Lane| {
        lane.output.store(1, Ordering::Release);
        lane.worker_takes(1);
    };
    in_every_order(host, worker);
}

/// The worker sleeps for room that a value takes which the host has left in the lane. The host gives it back when it sees that,
/// and may ring before.
#[test]
fn a_worker_that_sleeps_for_the_room_of_a_value_gets_it() {
    let host = |lane: &Lane| {
        let waker = lane.worker_waits.waker();
        while lane.output.load(Ordering::Acquire) < 1 {
            lane.host_waits.sleeper().announce(SleepReason::News);
            if !waker.seems_to_sleep_for(SleepReason::Room) && lane.output.load(Ordering::Acquire) < 1 {
                lane.host_rung.wait();
            }
            lane.host_waits.sleeper().retract();
            if waker.seems_to_sleep_for(SleepReason::Room) {
                // Stands for the position up to which the host has taken output.
                lane.input.store(1, Ordering::Release);
            }
            if waker.must_ring(SleepReason::Room) {
                lane.worker_rung.ring();
            }
        }
    };
    let worker = |lane: &Lane| {
        let (sleeper, host, bell) = lane.worker();
        sleeper.sleep_until(SleepReason::Room, host, &bell, || lane.input.load(Ordering::Acquire) >= 1).unwrap();
        lane.output.store(1, Ordering::Release);
        if host.must_ring(SleepReason::News) {
            bell.ring().unwrap();
        }
    };
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    in_orders(builder, host, worker);
}

/// Limited to orders in which a side is interrupted at most three times: running all of them would take too long.
#[test]
fn items_go_to_and_fro() {
    let host = |lane: &Lane| {
        for count in 1..=2 {
            lane.host_sends(count);
            lane.host_receives(count);
        }
    };
    let worker = |lane: &Lane| {
        for count in 1..=2 {
            lane.worker_takes(count);
            lane.output.store(count, Ordering::Release);
        }
        let (_, host, bell) = lane.worker();
        if host.must_ring(SleepReason::News) {
            bell.ring().unwrap();
        }
    };
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    in_orders(builder, host, worker);
}

#[test]
fn all_of_a_tally_arrives_and_whoever_waits_for_it_hears_of_it() {
    loom::model(|| {
        let shared = Arc::new((AnnouncedCount::default(), Rings::default()));
        let adders: Vec<_> = (1..=2)
            .map(|count| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (tally, rings) = &*shared;
                    if tally.add(count) {
                        rings.ring();
                    }
                })
            })
            .collect();
        let (tally, rings) = &*shared;
        let mut sum = tally.take();
        while sum < 3 {
            if !tally.announce(true) {
                rings.wait();
            }
            sum += tally.take();
        }
        assert_eq!(sum, 3);
        adders.into_iter().for_each(|adder| adder.join().unwrap());
    });
}

#[test]
fn a_tally_that_nobody_waits_for_wakes_nobody() {
    loom::model(|| {
        let tally = Arc::new(AnnouncedCount::default());
        assert!(!tally.announce(true));
        assert!(!tally.announce(false));
        let other = Arc::clone(&tally);
        let adder = thread::spawn(move || assert!(!other.add(1)));
        adder.join().unwrap();
        assert_eq!(tally.take(), 1);
    });
}
