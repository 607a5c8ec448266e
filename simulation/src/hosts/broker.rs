//! The broker: a stream of chunks from which each message is pulled once, until it forgets.

use std::collections::{BTreeMap, VecDeque};

use wasmpool_hosts::chunk::{ChunkName, CopyNumber};
use wasmpool_scheduler::Time;

/// Who waits for a copy: a host, and which life of it.
pub type Puller = (u32, u64);

#[derive(Debug, Default)]
pub struct Broker {
    /// Messages that are kept, delivered or not.
    kept: BTreeMap<u64, (CopyNumber, ChunkName)>,
    numbers: BTreeMap<CopyNumber, u64>,
    last: u64,
    /// Number of the message that was delivered last.
    pub delivered: u64,
    /// Who waits for a message, and until when.
    pullers: VecDeque<(Puller, Time)>,
    /// True once everything was lost, until the coordinator has noticed.
    pub lost: bool,
    /// Number of times that it has lost everything.
    pub losses: u64,
    /// True once it stores nothing more.
    pub full: bool,
}

impl Broker {
    /// Stores a copy, unless it has it, and returns its number.
    pub fn store(&mut self, copy: CopyNumber, chunk: ChunkName) -> u64 {
        if let Some(&number) = self.numbers.get(&copy) {
            return number;
        }
        self.last += 1;
        self.kept.insert(self.last, (copy, chunk));
        self.numbers.insert(copy, self.last);
        self.last
    }

    pub fn delete(&mut self, number: u64) {
        self.kept.remove(&number);
    }

    pub fn pull(&mut self, by: Puller, until: Time) {
        self.pullers.push_back((by, until));
    }

    /// Drops the pulls of a host whose connection has ended.
    pub fn disconnected(&mut self, puller: Puller) {
        self.pullers.retain(|(by, _)| *by != puller);
    }

    /// Returns the next message for whoever waits for one.
    pub fn deliver(&mut self, now: Time) -> Option<(Puller, u64, CopyNumber, ChunkName)> {
        let (&number, &(copy, chunk)) = self.kept.range(self.delivered + 1..).next()?;
        self.pullers.retain(|(_, until)| *until > now);
        let (puller, _) = self.pullers.pop_front()?;
        self.delivered = number;
        Some((puller, number, copy, chunk))
    }

    /// Returns true if there is nothing that was not delivered.
    pub fn is_empty(&self) -> bool {
        self.kept.range(self.delivered + 1..).next().is_none()
    }

    /// Loses what was stored last, as a server does that was cut off from its power, and whose files are as they were a moment
    /// before. Numbers are given again.
    pub fn lose_last(&mut self, count: usize) {
        for _ in 0..count {
            if let Some((number, (copy, _))) = self.kept.pop_last() {
                self.numbers.remove(&copy);
                self.last = number - 1;
            }
        }
        self.delivered = self.delivered.min(self.last);
    }

    pub fn forget(&mut self) {
        *self = Broker { lost: true, losses: self.losses + 1, ..Broker::default() };
    }
}
