//! Figures of runs over many machines.

use crate::seeds::RunFigures;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub items: u64,
    pub blamed: u64,
    pub copies: u64,
    pub again: u64,
    pub doubled_chunks: u64,
    pub checked: u64,
    pub cancelled: u64,
    pub dropped: u64,
    pub kills: u64,
    pub freezes: u64,
    pub forgotten: u64,
    pub away: u64,
    pub full: u64,
    pub lost: u64,
    pub doubled: u64,
    pub lies: u64,
    pub overdue: u64,
    pub lost_hosts: u64,
    pub events: u64,
    /// The hash of all events.
    pub hash: u64,
}

impl RunFigures for Figures {
    fn add(&mut self, other: &Figures) {
        self.items += other.items;
        self.blamed += other.blamed;
        self.copies += other.copies;
        self.again += other.again;
        self.doubled_chunks += other.doubled_chunks;
        self.checked += other.checked;
        self.cancelled += other.cancelled;
        self.dropped += other.dropped;
        self.kills += other.kills;
        self.freezes += other.freezes;
        self.forgotten += other.forgotten;
        self.away += other.away;
        self.full += other.full;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.lies += other.lies;
        self.overdue += other.overdue;
        self.lost_hosts += other.lost_hosts;
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
            "{} items, {} of them blamed for ends of hosts, {} copies of chunks, {} of them again, {} chunks given \
             to a second host for being late, {} compared, {} copies taken from hosts, {} outcomes dropped, \
             {} hosts ended, {} stood still, {} times the broker lost everything, {} times it was away, {} times its disk was full, {} messages lost, \
             {} doubled, {} lies, {} chunks kept for too long, {} hosts told as lost, {} events",
            self.items,
            self.blamed,
            self.copies,
            self.again,
            self.doubled_chunks,
            self.checked,
            self.cancelled,
            self.dropped,
            self.kills,
            self.freezes,
            self.forgotten,
            self.away,
            self.full,
            self.lost,
            self.doubled,
            self.lies,
            self.overdue,
            self.lost_hosts,
            self.events
        )
    }
}
