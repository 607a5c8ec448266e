//! Dicts, and namespaces, which are dicts that a guest sees in another way.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;

use wasmpool_core::share::ObjectQuota;
use wasmpool_core::text::{QuotedName, head};

use crate::operation::{Answer, ObjectError, Operation, Reply};
use crate::usage::{Usage, page};

/// Number of bytes of a key that an error shows.
const LONGEST_SHOWN: usize = 100;

#[derive(Clone, Debug, Default)]
pub struct Dict {
    entries: BTreeMap<String, Entry>,
    usage: Usage,
    /// The last version that was given. No two changes of a dict have the same, so a key that was removed and set again
    /// never has a version that it had before.
    version: u64,
    /// Room that is reserved for entries that are set without asking.
    pub(crate) lent: Usage,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Vec<u8>,
    version: u64,
}

impl Dict {
    /// Does what is asked, or refuses it without any change.
    pub fn apply(&mut self, operation: Operation, quota: &ObjectQuota) -> Answer {
        Ok(match operation {
            Operation::DictGet(key) => {
                Reply::Entry(self.entries.get(&key).map(|entry| (entry.value.clone(), entry.version)))
            }
            Operation::DictSet(key, value) => Reply::Number(self.set(key, value, quota)?),
            Operation::DictSetMany(entries) => {
                self.set_many(entries, quota)?;
                Reply::Done
            }
            Operation::DictCompareAndSet { key, version, value } => {
                let same = self.entries.get(&key).map(|entry| entry.version) == version;
                Reply::MaybeNumber(if same { Some(self.set(key, value, quota)?) } else { None })
            }
            Operation::DictPop(key) => Reply::MaybeBytes(self.pop(&key)),
            Operation::DictContains(key) => Reply::Bool(self.entries.contains_key(&key)),
            Operation::DictIncrement(key, by) => Reply::Signed(self.increment(key, by, quota)?),
            Operation::DictPage { after, most } => {
                let found = page(self.after(after.as_deref()), most, |(key, entry)| key.len() + entry.value.len());
                Reply::Page(found.into_iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect())
            }
            Operation::DictKeys { after, most } => {
                let found = page(self.after(after.as_deref()), most, |(key, _)| key.len());
                Reply::Keys(found.into_iter().map(|(key, _)| key.clone()).collect())
            }
            Operation::Length => Reply::Number(self.usage.entries),
            Operation::Empty => {
                self.entries.clear();
                self.usage = Usage::default();
                Reply::Done
            }
            _ => return Err(ObjectError::Invalid("a dict has no such operation".into())),
        })
    }

    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Returns all entries in the order of their keys.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry.value.as_slice()))
    }

    fn after(&self, key: Option<&str>) -> impl Iterator<Item = (&String, &Entry)> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range::<str, _>((from, Bound::Unbounded))
    }

    /// Returns the bytes that a key counts with its value, if it is there.
    fn length(&self, key: &str) -> Option<usize> {
        self.entries.get(key).map(|entry| key.len() + entry.value.len())
    }

    fn set(&mut self, key: String, value: Vec<u8>, quota: &ObjectQuota) -> Result<u64, ObjectError> {
        let after = key.len() + value.len();
        self.usage = self.usage.changed(self.length(&key), Some(after)).within_beside(self.lent, quota)?;
        self.version += 1;
        self.entries.insert(key, Entry { value, version: self.version });
        Ok(self.version)
    }

    /// Returns a number of versions that nothing else will have, of which this is the first.
    pub(crate) fn reserve(&mut self, versions: u64) -> u64 {
        let first = self.version + 1;
        self.version += versions;
        first
    }

    /// Sets an entry for which there is room.
    pub(crate) fn set_reserved(&mut self, key: String, value: Vec<u8>, version: u64) {
        let after = key.len() + value.len();
        self.usage = self.usage.changed(self.length(&key), Some(after));
        self.entries.insert(key, Entry { value, version });
    }

    /// Sets all entries or none. Of a key that occurs twice, the last value remains.
    fn set_many(&mut self, entries: Vec<(String, Vec<u8>)>, quota: &ObjectQuota) -> Result<(), ObjectError> {
        let lengths: BTreeMap<&str, usize> =
            entries.iter().map(|(key, value)| (key.as_str(), key.len() + value.len())).collect();
        let mut usage = self.usage;
        for (key, after) in lengths {
            usage = usage.changed(self.length(key), Some(after));
        }
        self.usage = usage.within_beside(self.lent, quota)?;
        for (key, value) in entries {
            self.version += 1;
            self.entries.insert(key, Entry { value, version: self.version });
        }
        Ok(())
    }

    fn pop(&mut self, key: &str) -> Option<Vec<u8>> {
        let entry = self.entries.remove(key)?;
        self.usage.remove(key.len() + entry.value.len());
        Some(entry.value)
    }

    fn increment(&mut self, key: String, by: i64, quota: &ObjectQuota) -> Result<i64, ObjectError> {
        let number = match self.entries.get(&key) {
            None => 0,
            Some(entry) => {
                let text = std::str::from_utf8(&entry.value).ok();
                text.and_then(|text| text.parse::<i64>().ok()).ok_or_else(|| {
                    let key = QuotedName::of(head(&key, LONGEST_SHOWN));
                    ObjectError::Invalid(format!("the value of {key} is not a whole number of 64 bits in decimal text"))
                })?
            }
        };
        let sum = number.checked_add(by).ok_or_else(|| {
            ObjectError::Invalid(format!("{number} and {by} are together more than a number of 64 bits holds"))
        })?;
        self.set(key, sum.to_string().into_bytes(), quota)?;
        Ok(sum)
    }
}
