//! The state that the records of a journal add up to.

use std::collections::BTreeMap;
use std::ops::Range;

use rangemap::RangeSet;
use serde::{Deserialize, Serialize};

use super::identity::RunIdentity;
use crate::place::FileExtent;
use crate::rendered::RenderedOutcomes;
use wasmpool_core::outcome::OutcomeCounts;

/// The beginning of the input: a number of items, and the hash of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRecord {
    pub items: u64,
    pub hash: [u8; 32],
}

/// What was written, and the beginning of the input that it is based on. `items` are those since the last record;
/// everything else covers the whole run so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenRecord {
    pub items: Vec<Range<u64>>,
    pub counts: OutcomeCounts,
    pub results: FileExtent,
    pub failed: FileExtent,
    pub read: ReadRecord,
}

/// An entry of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JournalEntry {
    /// The identity of the run.
    Began(RunIdentity),
    Written(WrittenRecord),
    /// Outcomes that wait for others before them.
    Waiting(RenderedOutcomes),
    /// Every item has its outcome, and the command ended with this code. The input may have grown since: then other
    /// entries follow.
    Finished(u8),
    /// The run goes over many machines.
    OverHosts(OverHosts),
}

/// What a run over many machines is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverHosts {
    pub run: [u8; 16],
    /// Number of times that it was resumed.
    pub epoch: u64,
}

/// The sum of the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalState {
    pub identity: Option<RunIdentity>,
    /// The items whose outcomes were written.
    pub done: RangeSet<u64>,
    /// What was written, except for the items.
    pub written: WrittenRecord,
    /// Waiting outcomes by their first item.
    pub waiting: BTreeMap<u64, RenderedOutcomes>,
    pub finished: Option<u8>,
    pub over_hosts: Option<OverHosts>,
}

impl JournalState {
    pub fn apply(&mut self, entry: JournalEntry) {
        match entry {
            JournalEntry::Began(identity) => self.identity = Some(identity),
            JournalEntry::Written(mut written) => {
                self.done.extend(written.items.drain(..).filter(|items| !items.is_empty()));
                self.written = written;
                let done = &self.done;
                self.waiting.retain(|first, _| !done.contains(first));
                self.finished = None;
            }
            JournalEntry::Waiting(group) => {
                self.finished = None;
                if !group.items.is_empty() && !self.done.contains(&group.items.start) {
                    self.waiting.insert(group.items.start, group);
                }
            }
            JournalEntry::Finished(code) => self.finished = Some(code),
            JournalEntry::OverHosts(over) => self.over_hosts = Some(over),
        }
    }

    /// Returns true if the run's identity is known, and what it has done.
    pub fn is_begun(&self) -> bool {
        self.identity.is_some() && (self.written != WrittenRecord::default() || self.finished.is_some())
    }

    /// Returns the fewest entries that lead to this state.
    pub fn entries(&self) -> Vec<JournalEntry> {
        let written = WrittenRecord { items: self.done.iter().cloned().collect(), ..self.written.clone() };
        let mut entries: Vec<JournalEntry> = self.identity.iter().cloned().map(JournalEntry::Began).collect();
        entries.extend(self.over_hosts.map(JournalEntry::OverHosts));
        entries.push(JournalEntry::Written(written));
        entries.extend(self.waiting.values().cloned().map(JournalEntry::Waiting));
        entries.extend(self.finished.map(JournalEntry::Finished));
        entries
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group() -> impl Strategy<Value = RenderedOutcomes> {
        (0..100u64, 1..5u64, any::<Vec<u8>>()).prop_map(|(first, count, results)| RenderedOutcomes {
            items: first..first + count,
            counts: OutcomeCounts { done: count, ..OutcomeCounts::default() },
            results,
            failed: Vec::new(),
        })
    }

    fn entry() -> impl Strategy<Value = JournalEntry> {
        let items =
            proptest::collection::vec((0..100u64, 0..10u64).prop_map(|(first, count)| first..first + count), 0..4);
        prop_oneof![
            group().prop_map(JournalEntry::Waiting),
            (items, any::<u64>()).prop_map(|(items, done)| {
                JournalEntry::Written(WrittenRecord {
                    items,
                    counts: OutcomeCounts { done, ..OutcomeCounts::default() },
                    ..WrittenRecord::default()
                })
            }),
            any::<u8>().prop_map(JournalEntry::Finished),
            any::<([u8; 16], u64)>().prop_map(|(run, epoch)| JournalEntry::OverHosts(OverHosts { run, epoch })),
            "[a-z]{0,5}".prop_map(|name| JournalEntry::Began(RunIdentity::default().of_task(&name))),
        ]
    }

    fn sum(entries: impl IntoIterator<Item = JournalEntry>) -> JournalState {
        let mut state = JournalState::default();
        entries.into_iter().for_each(|entry| state.apply(entry));
        state
    }

    proptest! {
        #[test]
        fn a_rewritten_journal_says_the_same(entries in proptest::collection::vec(entry(), 0..20)) {
            let state = sum(entries);
            prop_assert_eq!(sum(state.entries()), state);
        }

        #[test]
        fn what_was_written_waits_no_longer(entries in proptest::collection::vec(entry(), 0..20)) {
            let state = sum(entries);
            prop_assert!(state.waiting.keys().all(|first| !state.done.contains(first)));
        }
    }
}
