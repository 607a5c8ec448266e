//! Figures of runs.

use crate::seeds::RunFigures;

/// The figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub items: u64,
    pub spawned: u64,
    pub refused: u64,
    pub deaths: u64,
    pub kills: u64,
    pub settled: u64,
    pub retries: u64,
    pub cancelled: u64,
    pub taken_back: u64,
    pub halted: u64,
    pub resized: u64,
    pub taken_up: u64,
    pub calls: u64,
    pub given_up: u64,
    pub signals: u64,
    pub gave_up: u64,
    pub events: u64,
    /// The hash of all events.
    pub hash: u64,
}

impl RunFigures for Figures {
    fn add(&mut self, other: &Figures) {
        self.items += other.items;
        self.spawned += other.spawned;
        self.refused += other.refused;
        self.deaths += other.deaths;
        self.kills += other.kills;
        self.settled += other.settled;
        self.retries += other.retries;
        self.cancelled += other.cancelled;
        self.taken_back += other.taken_back;
        self.halted += other.halted;
        self.resized += other.resized;
        self.taken_up += other.taken_up;
        self.calls += other.calls;
        self.given_up += other.given_up;
        self.signals += other.signals;
        self.gave_up += other.gave_up;
        self.events += other.events;
        self.hash = self.hash.wrapping_add(other.hash);
    }

    fn hash(&self) -> u64 {
        self.hash
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} items, {} workers started, {} refused, {} lost, {} killed for being late, {} signals, \
             {} items blamed, {} run again, {} cancelled, {} chunks taken back, {} runs given up, {} halted, {} taken up, {} calls, {} items given up, \
             {} changes of the number of workers, {} events",
            self.items,
            self.spawned,
            self.refused,
            self.deaths,
            self.kills,
            self.signals,
            self.settled,
            self.retries,
            self.cancelled,
            self.taken_back,
            self.gave_up,
            self.halted,
            self.taken_up,
            self.calls,
            self.given_up,
            self.resized,
            self.events
        )
    }
}
