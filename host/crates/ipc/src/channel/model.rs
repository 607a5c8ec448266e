//! Runs a participant and the manager in every order that matters, with the words of an object and the words by which they
//! wake each other. A lost wake-up leaves one asleep for good, which loom reports as a deadlock.

use loom::model::Builder;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::lock_word::Released;
use super::words::{Credit, ObjectWords, Taken, distance};
use crate::wake::{Fenced, SleepReason, SleepWord};

/// A channel with numbers in place of rings.
#[derive(Default)]
struct Channel {
    words: ObjectWords,
    /// Number of requests written, and read.
    head: AtomicU64,
    tail: AtomicU64,
    manager_waits: SleepWord,
    client_waits: SleepWord,
    rung: [Bell; 2],
}

#[derive(Default)]
struct Bell {
    count: Mutex<u32>,
    heard: Condvar,
}

impl Bell {
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

const MANAGER: usize = 0;
const CLIENT: usize = 1;

impl Channel {
    /// Does what the participant does to put on credit. Returns false if there is not enough.
    fn puts_on_credit(&self, bytes: u64) -> bool {
        if !self.words.credit.spend(bytes) {
            return false;
        }
        self.head.fetch_add(1, Ordering::Release);
        let fenced = Fenced::here();
        let wanted = self.words.credit.is_wanted(&fenced);
        if wanted && self.manager_waits.waker().must_ring_after(fenced, SleepReason::News) {
            self.rung[MANAGER].ring();
        }
        true
    }

    /// Does what the manager does until there are `count` requests, while somebody waits for a message.
    fn manager_waits_for(&self, count: u64) {
        while self.head.load(Ordering::Acquire) < count {
            self.words.credit.want(true);
            self.manager_waits.sleeper().announce(SleepReason::News);
            if self.head.load(Ordering::Acquire) < count {
                self.rung[MANAGER].wait();
            }
            self.manager_waits.sleeper().retract();
        }
    }
}

/// Runs `manager` and `participant` side by side in every order in which a side is interrupted at most three times:
/// running all others as well would take too long.
fn in_orders(manager: fn(&Channel), participant: fn(&Channel)) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let channel = Arc::new(Channel::default());
        channel.words.credit.grant(Credit::capped(2, 10));
        channel.words.lock.lend(false);
        let other = Arc::clone(&channel);
        let thread = thread::spawn(move || participant(&other));
        manager(&channel);
        thread.join().unwrap();
    });
}

#[test]
fn a_put_on_credit_wakes_a_manager_that_wants_to_know() {
    in_orders(
        |channel| {
            channel.manager_waits_for(1);
            channel.manager_waits_for(2);
        },
        |channel| {
            assert!(channel.puts_on_credit(4));
            assert!(channel.puts_on_credit(4));
        },
    );
}

#[test]
fn what_was_granted_is_spent_or_taken_back() {
    loom::model(|| {
        let channel = Arc::new(Channel::default());
        channel.words.credit.grant(Credit::capped(2, 10));
        let other = Arc::clone(&channel);
        let thread = thread::spawn(move || [6, 3].iter().filter(|&&bytes| other.puts_on_credit(bytes)).count());
        let left = channel.words.credit.take_back();
        channel.words.credit.want(true);
        channel.words.credit.grant(Credit::capped(1, 3));
        let rest = channel.words.credit.take_back();
        let put = thread.join().unwrap();
        let end = channel.words.credit.take_back();
        assert_eq!(put as u32 + left.entries + rest.entries + end.entries, 3);
    });
}

#[test]
fn a_message_that_was_sent_ahead_is_taken_or_recalled_and_never_both() {
    loom::model(|| {
        let channel = Arc::new(Channel::default());
        channel.words.ahead.extend(2);
        let other = Arc::clone(&channel);
        let thread = thread::spawn(move || {
            let take = |number| other.words.ahead.take(number) != Taken::Recalled;
            // The third message is one of another batch.
            [take(0), take(1), take(2)]
        });
        let recalled_from = channel.words.ahead.recall(2);
        channel.words.ahead.extend(1);
        let taken = thread.join().unwrap();
        assert_eq!(taken[..2].iter().filter(|&&taken| taken).count() as u32, recalled_from);
        // The message of the second batch can be taken if it was not yet.
        assert_eq!(channel.words.ahead.take(2) == Taken::Taken, !taken[2]);
    });
}

#[test]
fn what_is_given_back_is_not_taken_later_and_is_all_recalled() {
    loom::model(|| {
        let channel = Arc::new(Channel::default());
        channel.words.ahead.extend(2);
        let other = Arc::clone(&channel);
        let thread = thread::spawn(move || {
            let first = other.words.ahead.take(0) != Taken::Recalled;
            other.words.ahead.give_back();
            assert_eq!(other.words.ahead.take(1), Taken::Recalled);
            first
        });
        channel.words.ahead.await_next(1);
        let recalled_from = channel.words.ahead.recall(2);
        assert_eq!(u32::from(thread.join().unwrap()), recalled_from);
    });
}

#[test]
fn a_manager_that_awaits_a_message_taken_ahead_hears_of_it() {
    in_orders(
        |channel| {
            let next = channel.words.ahead.await_next(2);
            if distance(next, 2) > 0 {
                channel.rung[MANAGER].wait();
            }
            assert_eq!(channel.words.ahead.next(), 2);
        },
        |channel| {
            channel.words.ahead.extend(2);
            for number in 0..2 {
                if channel.words.ahead.take(number) == Taken::TakenAndDue {
                    channel.rung[MANAGER].ring();
                }
            }
        },
    );
}

/// The participant acquires and releases a lock that is lent to it, and the manager wants it for somebody else.
#[test]
fn a_lent_lock_is_held_by_one_at_a_time_and_its_release_is_heard_of() {
    in_orders(
        |channel| {
            let lock = &channel.words.lock;
            if !lock.want() {
                channel.manager_waits_for(1);
                assert!(lock.want(), "its release was told");
            }
            assert_eq!(channel.tail.fetch_add(1, Ordering::Relaxed), 0, "both hold it");
        },
        |channel| {
            let lock = &channel.words.lock;
            // It holds the lock at first, and perhaps once more.
            for is_last in [false, true] {
                assert_eq!(channel.tail.load(Ordering::Relaxed), 0, "both hold it");
                if lock.release() == Released::ReleasedAndWanted {
                    channel.head.fetch_add(1, Ordering::Release);
                    if channel.manager_waits.waker().must_ring(SleepReason::News) {
                        channel.rung[MANAGER].ring();
                    }
                }
                if is_last || !lock.acquire() {
                    return;
                }
            }
        },
    );
}

/// The manager has answers for which there is no room, and the participant sleeps until there are more of them.
#[test]
fn a_full_ring_leaves_nobody_asleep() {
    in_orders(
        |channel| {
            // One answer fits; the next is written when the first was taken.
            channel.head.store(1, Ordering::Release);
            let wake = || {
                if channel.client_waits.waker().must_ring(SleepReason::Input) {
                    channel.rung[CLIENT].ring();
                }
            };
            wake();
            while channel.tail.load(Ordering::Acquire) == 0 {
                channel.manager_waits.sleeper().announce(SleepReason::Room);
                if channel.tail.load(Ordering::Acquire) == 0 {
                    channel.rung[MANAGER].wait();
                }
            }
            channel.head.store(2, Ordering::Release);
            wake();
        },
        |channel| {
            for count in 1..=2 {
                while channel.head.load(Ordering::Acquire) < count {
                    // It tells what it took before it sleeps.
                    channel.tail.store(count - 1, Ordering::Release);
                    if channel.manager_waits.waker().must_ring(SleepReason::Room) {
                        channel.rung[MANAGER].ring();
                    }
                    channel.client_waits.sleeper().announce(SleepReason::Input);
                    if channel.head.load(Ordering::Acquire) < count {
                        channel.rung[CLIENT].wait();
                    }
                    channel.client_waits.sleeper().retract();
                }
            }
        },
    );
}
