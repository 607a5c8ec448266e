//! Figures of runs with shared objects.

use super::queues::Counts;
use crate::seeds::RunFigures;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub asked: u64,
    pub timed_out: u64,
    pub put: u64,
    pub on_credit: u64,
    pub got: u64,
    pub ahead: u64,
    pub redelivered: u64,
    /// Messages that were got by somebody who was dead by then.
    pub lost: u64,
    pub thrown_away: u64,
    pub abandoned: u64,
    pub deaths: u64,
    pub ends: u64,
    pub violations: u64,
    pub events: u64,
    /// The hash of all events.
    pub hash: u64,
}

impl RunFigures for Figures {
    fn add(&mut self, other: &Figures) {
        self.asked += other.asked;
        self.timed_out += other.timed_out;
        self.put += other.put;
        self.on_credit += other.on_credit;
        self.got += other.got;
        self.ahead += other.ahead;
        self.redelivered += other.redelivered;
        self.lost += other.lost;
        self.thrown_away += other.thrown_away;
        self.abandoned += other.abandoned;
        self.deaths += other.deaths;
        self.ends += other.ends;
        self.violations += other.violations;
        self.events += other.events;
        self.hash = self.hash.wrapping_add(other.hash);
    }

    fn hash(&self) -> u64 {
        self.hash
    }
}

impl Figures {
    pub(super) fn count(&mut self, counts: &Counts) {
        self.put += counts.put;
        self.on_credit += counts.on_credit;
        self.got += counts.got;
        self.ahead += counts.ahead;
        self.redelivered += counts.redelivered;
        self.lost += counts.lost;
        self.thrown_away += counts.thrown_away;
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} requests, {} timed out, {} messages put, {} of them on credit, {} got, {} of them ahead, {} redelivered, \
             {} got by the dead, {} thrown away, {} locks and slots abandoned, {} participants died, {} items ended, \
             {} liars caught, {} events",
            self.asked,
            self.timed_out,
            self.put,
            self.on_credit,
            self.got,
            self.ahead,
            self.redelivered,
            self.lost,
            self.thrown_away,
            self.abandoned,
            self.deaths,
            self.ends,
            self.violations,
            self.events
        )
    }
}
