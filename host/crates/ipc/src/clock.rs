//! The clock that the host and its workers share.

use nix::time::{ClockId, clock_gettime};

/// Returns the time of the monotonic clock, in nanoseconds. It is the same in all processes.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
