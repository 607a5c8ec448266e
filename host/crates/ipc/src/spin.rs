//! Looks for something for a short while before a side sleeps, where that pays.
//!
//! If the other side runs on another processor at the same time, what it has comes within a microsecond or two, and to
//! sleep and be woken takes ten times as long. If the processors are busy with something else, the other side may only
//! run once this one sleeps, and each look is in vain. Which of the two it is changes with what the machine does, so it
//! is learned from what became of the last attempts.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

/// Time after which an attempt is given up.
const MOST: Duration = Duration::from_micros(10);
/// Looks between two looks at the clock.
const LOOKS: u32 = 16;
/// Attempts in vain after which an attempt is made only once in `2 ^ RAREST` times.
const RAREST: u32 = 8;

/// Memory of the last attempts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spin {
    /// An attempt is made once in `2 ^ rarity` times. It pays where two of three succeed.
    rarity: u32,
    /// Number of times that are left until the next attempt.
    skip: u32,
}

impl Spin {
    /// Looks whether it is `ready`, perhaps for some microseconds, and returns that.
    pub fn until(&mut self, ready: impl Fn() -> bool) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return ready();
        }
        let came = look(ready);
        self.rarity = if came { self.rarity.saturating_sub(1) } else { (self.rarity + 2).min(RAREST) };
        self.skip = (1 << self.rarity) - 1;
        came
    }
}

fn look(ready: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    loop {
        for _ in 0..LOOKS {
            if ready() {
                return true;
            }
            spin_loop();
        }
        if began.elapsed() >= MOST {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Returns true if the next time is an attempt, which looks more than once.
    fn attempts(spin: &mut Spin, comes: bool) -> bool {
        let looks = Cell::new(0);
        let came = spin.until(|| {
            looks.set(looks.get() + 1);
            comes && looks.get() > 1
        });
        assert!(came == comes || looks.get() == 1);
        looks.get() > 1
    }

    #[test]
    fn attempts_in_vain_become_rare_and_never_end() {
        let mut spin = Spin::default();
        let count = (0..10_000).filter(|_| attempts(&mut spin, false)).count();
        assert!((10_000 / 256..10_000 / 256 + 8).contains(&count), "{count}");
    }

    #[test]
    fn attempts_that_succeed_become_as_frequent_again() {
        let mut spin = Spin::default();
        (0..1000).for_each(|_| _ = attempts(&mut spin, false));
        (0..1000).for_each(|_| _ = attempts(&mut spin, true));
        assert!((0..100).all(|_| attempts(&mut spin, true)));
    }
}
