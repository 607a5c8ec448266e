//! Entries of a dict that this worker remembers, from answers and from what it set itself. They are true until the manager
//! tells that somebody else changed the dict.

use std::collections::BTreeMap;

/// Most entries that are remembered of a dict, and most bytes of them, with keys. When there would be more, all are
/// forgotten.
const MOST: usize = 1024;
const MOST_BYTES: usize = 64 << 10;
/// Length from which on a value is not remembered: to copy it takes as long as to ask for it.
const LONG: usize = 8 << 10;

/// A value and its version, or that there is none.
pub type Remembered = Option<(Vec<u8>, u64)>;

/// What is remembered of one dict.
#[derive(Debug, Default)]
pub struct Copies {
    /// Number of changes by others that had been told when these were true.
    changes: u64,
    entries: BTreeMap<String, Remembered>,
    bytes: usize,
    /// Version that the manager gave to the last entry that was set, from which those that are set on credit count on.
    version: Option<u64>,
}

impl Copies {
    /// Forgets what is not true any more. `changes` is the number of changes by others that have been told by now.
    pub fn look(&mut self, changes: u64) {
        if self.changes != changes {
            self.changes = changes;
            self.forget();
        }
    }

    pub fn get(&self, key: &str) -> Option<&Remembered> {
        self.entries.get(key)
    }

    /// Remembers an entry that was true when `changes` was read.
    pub fn keep(&mut self, changes: u64, key: String, copy: Remembered) {
        let length = copy.as_ref().map_or(0, |(value, _)| value.len());
        if changes != self.changes || key.len() + length > LONG {
            return self.remove(&key);
        }
        self.remove(&key);
        if self.entries.len() >= MOST || self.bytes + key.len() + length > MOST_BYTES {
            self.forget();
        }
        self.bytes += key.len() + length;
        self.entries.insert(key, copy);
    }

    fn remove(&mut self, key: &str) {
        if let Some(copy) = self.entries.remove(key) {
            self.bytes -= key.len() + copy.map_or(0, |(value, _)| value.len());
        }
    }

    /// Forgets all entries.
    pub fn forget(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Returns the version that the next entry has if it is set on credit. Without one, there is no credit.
    pub fn next_version(&self) -> Option<u64> {
        self.version?.checked_add(1)
    }

    /// Takes note of the version of an entry that was set.
    pub fn has_set(&mut self, version: u64) {
        self.version = Some(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(length: usize) -> Remembered {
        Some((vec![7; length], 1))
    }

    #[test]
    fn entries_are_remembered_until_a_change_is_told() {
        let mut copies = Copies::default();
        copies.keep(0, "a".to_owned(), copy(3));
        copies.keep(0, "b".to_owned(), None);
        copies.look(0);
        assert_eq!(copies.get("a"), Some(&copy(3)));
        assert_eq!(copies.get("b"), Some(&None));
        copies.look(1);
        assert_eq!(copies.get("a"), None);
        // It was asked for before the change was told, and answered after it.
        copies.keep(0, "a".to_owned(), copy(3));
        assert_eq!(copies.get("a"), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_counted() {
        let mut copies = Copies::default();
        for number in 0..5000 {
            copies.keep(0, format!("{}", number % 3000), copy(number % 700));
            assert!(copies.entries.len() <= MOST && copies.bytes <= MOST_BYTES);
            let bytes: usize =
                copies.entries.iter().map(|(key, copy)| key.len() + copy.as_ref().unwrap().0.len()).sum();
            assert_eq!(copies.bytes, bytes);
        }
        copies.keep(0, "long".to_owned(), copy(3));
        copies.keep(0, "long".to_owned(), copy(LONG));
        assert_eq!(copies.get("long"), None, "it is not what it was");
    }
}
