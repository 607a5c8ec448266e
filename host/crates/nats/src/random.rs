//! Random numbers for names that must not occur twice.

use std::fs::File;
use std::io::{self, Read};
use std::time::SystemTime;

/// Returns random bytes of the system.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Returns a number that distinguishes this process from all others, and that is greater than those of processes which were started
/// before it, as far as clocks agree.
pub fn life() -> io::Result<u64> {
    /// Number of bits that distinguish processes which are started at the same time.
    const BITS: u32 = 12;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let micros = u64::try_from(now.as_micros()).unwrap_or_default();
    Ok(micros << BITS | u64::from_le_bytes(bytes()?) >> (u64::BITS - BITS))
}
