//! A host: what it holds, what it runs, and what it says.

use std::collections::{BTreeMap, BTreeSet};

use wasmpool_hosts::chunk::{ChunkName, CopyNumber};
use wasmpool_hosts::notes::RunBeat;
use wasmpool_scheduler::Time;

/// A chunk that a host holds.
#[derive(Debug)]
pub struct HeldChunk {
    pub name: ChunkName,
    pub sequence: u64,
    /// The part that is sent next, once the chunk is run.
    pub part: Option<u32>,
    pub sent: Time,
}

/// One life of a host.
#[derive(Debug)]
pub struct Site {
    pub life: u64,
    pub held: BTreeMap<CopyNumber, HeldChunk>,
    pub running: BTreeSet<CopyNumber>,
    /// Number of pulls that the broker has not answered.
    pub pulls: u32,
    pub pulled: Time,
    /// It does nothing until then.
    pub frozen: Time,
    /// True once another process has spoken under its name.
    pub has_other: bool,
}

impl Site {
    pub fn new(life: u64) -> Site {
        Site {
            life,
            held: BTreeMap::new(),
            running: BTreeSet::new(),
            pulls: 0,
            pulled: Time::ZERO,
            frozen: Time::ZERO,
            has_other: false,
        }
    }

    pub fn beat(&self, workers: u32, ahead: u32) -> RunBeat {
        let held = self.held.keys().copied().collect();
        RunBeat { life: self.life, workers, held, ahead, leaving: false, refused: None }
    }

    /// Returns the next chunk that a free worker begins.
    pub fn begin(&mut self, workers: u32) -> Option<(CopyNumber, ChunkName)> {
        if self.running.len() >= workers as usize {
            return None;
        }
        let (&copy, chunk) =
            self.held.iter().find(|(copy, chunk)| chunk.part.is_none() && !self.running.contains(copy))?;
        self.running.insert(copy);
        Some((copy, chunk.name))
    }
}
