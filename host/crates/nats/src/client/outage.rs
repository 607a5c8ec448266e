//! What is told of a time without a connection, after there was one.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::ConnectionRefused;
use crate::access::BrokerAccess;
use wasmpool_core::text::{ForeignText, bytes_said};

/// Time for which nothing is said: a server that is started again is often back sooner.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// Number of lost connections at which the user is told.
const MANY_CUTS: u32 = 5;
/// What a server lets wait for a client if it is not configured otherwise, in bytes.
const USUAL_PENDING: u64 = 64 << 20;

/// How often the server has ended the connection, which it does without a word where a client does not read as fast as it sends.
#[derive(Debug, Default)]
pub struct Cuts(u32);

impl Cuts {
    /// Counts a connection that was lost for this reason, if it `was_made`. Returns what the user is to be told of them, once.
    pub fn add(&mut self, access: &BrokerAccess, why: &io::Error, was_made: bool) -> Option<String> {
        if !was_made || why.kind() == ErrorKind::TimedOut {
            return None;
        }
        self.0 = self.0.saturating_add(1);
        (self.0 == MANY_CUTS).then(|| {
            format!(
                "the connection to {access} was lost {MANY_CUTS} times ({}): the server was ended, or the network, or the server \
                 ends it, and says so in its log, since what it has to send is more than its `max_pending`, which is {} where \
                 nothing is configured",
                ForeignText::of(&why.to_string()),
                bytes_said(USUAL_PENDING)
            )
        })
    }
}

/// The time since a connection was lost, if it is, and what was told of it.
#[derive(Debug, Default)]
pub struct Outage {
    since: Option<Instant>,
    is_told: bool,
    is_refusal_told: bool,
}

impl Outage {
    /// Returns a time without a connection that begins now.
    pub fn begun() -> Outage {
        Outage { since: Some(Instant::now()), ..Outage::default() }
    }

    /// Records that there is no connection.
    pub fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Returns true if there is no connection.
    pub fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// Returns what the user is to be told of a connection that is refused, once for each outage.
    pub fn refused(&mut self, access: &BrokerAccess, why: &ConnectionRefused) -> Option<String> {
        self.begin();
        (!std::mem::replace(&mut self.is_refusal_told, true)).then(|| format!("{access}: {why}; it is tried again"))
    }

    /// Records that there is one. Returns true if the user was told that there is none.
    pub fn end(&mut self) -> bool {
        let Outage { is_told, is_refusal_told, .. } = std::mem::take(self);
        is_told || is_refusal_told
    }

    /// Returns what the user is to be told now, once for each outage. Asked now and then.
    pub fn news(&mut self, access: &BrokerAccess) -> Option<String> {
        let is_long = self.since.is_some_and(|since| since.elapsed() >= TELL_AFTER);
        (is_long && !self.is_refusal_told && !std::mem::replace(&mut self.is_told, true))
            .then(|| format!("{access} cannot be reached; it is tried again"))
    }
}
