//! The events of a run in order: a hash by which two runs of a seed can be compared, and the lines themselves where
//! wanted.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use crate::random::mix;
use wasmpool_scheduler::Time;

#[derive(Debug, Default)]
pub struct Trace {
    hash: Words,
    events: u64,
    print: bool,
}

impl Trace {
    /// Makes a trace that prints each line immediately.
    pub fn printing() -> Self {
        Trace { print: true, ..Trace::default() }
    }

    pub fn note(&mut self, now: Time, thing: &(impl Hash + Debug)) {
        now.hash(&mut self.hash);
        thing.hash(&mut self.hash);
        self.events += 1;
        if self.print {
            println!("{:>14.6} ms  {thing:?}", now.as_secs_f64() * 1e3);
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// Returns the number of lines so far.
    pub fn events(&self) -> u64 {
        self.events
    }
}

/// A hasher that is the same on every machine: each number is a word of 64 bits.
#[derive(Debug, Default)]
struct Words(u64);

impl Words {
    fn word(&mut self, word: u64) {
        self.0 = mix(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ word);
    }
}

impl Hasher for Words {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.word(byte.into()));
    }

    fn write_u8(&mut self, n: u8) {
        self.word(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.word(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.word(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.word(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.word(n as u64);
    }
}
