//! Atomics of any width, by bits in 64.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// An atomic unsigned integer. Bits beyond its width are left out.
pub trait Atomic {
    fn load_bits(&self) -> u64;
    fn store_bits(&self, bits: u64);
    /// Adds, and returns the bits before.
    fn add_bits(&self, bits: u64) -> u64;
    /// Replaces `before` by `after`, or returns what is there.
    fn exchange_bits(&self, before: u64, after: u64) -> Result<(), u64>;
}

macro_rules! atomics {
    ($($atomic:ty as $bits:ty),*) => {
        $(impl Atomic for $atomic {
            fn load_bits(&self) -> u64 {
                self.load(Ordering::SeqCst).into()
            }

            fn store_bits(&self, bits: u64) {
                self.store(bits as $bits, Ordering::SeqCst);
            }

            fn add_bits(&self, bits: u64) -> u64 {
                self.fetch_add(bits as $bits, Ordering::SeqCst).into()
            }

            fn exchange_bits(&self, before: u64, after: u64) -> Result<(), u64> {
                let (before, after) = (before as $bits, after as $bits);
                self.compare_exchange(before, after, Ordering::SeqCst, Ordering::SeqCst).map(|_| ()).map_err(u64::from)
            }
        })*
    };
}

atomics!(AtomicU8 as u8, AtomicU16 as u16, AtomicU32 as u32, AtomicU64 as u64);
