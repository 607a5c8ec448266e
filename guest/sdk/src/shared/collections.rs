//! Dicts, lists and namespaces.

use std::collections::VecDeque;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::shared::wasmpool::shared::collections;

use super::{Error, json};

/// Entries that an iterator asks for at a time.
const PAGE: u32 = 256;

/// A value of a dict, and the version that each change of it gives a new number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub value: Vec<u8>,
    /// What [`Dict::compare_and_set`] wants to know.
    pub version: u64,
}

/// A dict from text to bytes (`--share NAME=dict`).
pub struct Dict(collections::Dict);

impl Dict {
    /// Opens the dict of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self(collections::Dict::open(name)?))
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.get(key)?.map(|entry| entry.value))
    }

    /// Returns the value of a key, decoded from JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], [`Error::Lost`].
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.get(key)?.map(|value| json::decode(&value)).transpose()
    }

    /// Returns the value of a key with its version.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn entry(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.0.get(key)?.map(|entry| Entry { value: entry.value, version: entry.version }))
    }

    /// Sets the value of a key, and returns its version.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`, [`Error::Quota`].
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<u64, Error> {
        Ok(self.0.set(key, value.as_ref())?)
    }

    /// Sets the value of a key as JSON, and returns its version.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set), and [`Error::Json`].
    pub fn set_json(&self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<u64, Error> {
        self.set(key, json::encode(value)?)
    }

    /// Sets several entries in one step, at most 10,000.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set).
    pub fn set_many(&self, entries: &[(String, Vec<u8>)]) -> Result<(), Error> {
        Ok(self.0.set_many(entries)?)
    }

    /// Sets the value if the entry has this version; `None` stands for no entry. Returns the new version, or `None` if
    /// another change came first.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set).
    pub fn compare_and_set(
        &self,
        key: &str,
        version: Option<u64>,
        value: impl AsRef<[u8]>,
    ) -> Result<Option<u64>, Error> {
        Ok(self.0.compare_and_set(key, version, value.as_ref())?)
    }

    /// Replaces the value of a key by what `change` makes of it (`None` if there is none), so that no other change is lost.
    /// Returns the new value. Where others change it meanwhile, `change` is called again.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set).
    pub fn update(&self, key: &str, mut change: impl FnMut(Option<&[u8]>) -> Vec<u8>) -> Result<Vec<u8>, Error> {
        loop {
            let before = self.entry(key)?;
            let value = change(before.as_ref().map(|entry| &*entry.value));
            if self.compare_and_set(key, before.map(|entry| entry.version), &value)?.is_some() {
                return Ok(value);
            }
        }
    }

    /// Adds in one step to a value that is a whole number in decimal text, and returns the sum. No entry counts as 0.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set), and [`Error::Invalid`] if the value is no such number.
    pub fn increment(&self, key: &str, by: i64) -> Result<i64, Error> {
        Ok(self.0.increment(key, by)?)
    }

    /// Removes an entry, and returns its value.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`.
    pub fn pop(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.pop(key)?)
    }

    /// Returns whether there is an entry with this key.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn contains(&self, key: &str) -> Result<bool, Error> {
        Ok(self.0.contains(key)?)
    }

    /// Returns the number of entries.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn len(&self) -> Result<u64, Error> {
        Ok(self.0.length()?)
    }

    /// Returns whether there are no entries.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Removes all entries.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`.
    pub fn clear(&self) -> Result<(), Error> {
        Ok(self.0.clear()?)
    }

    /// Returns an iterator over the entries, in the order of their keys. An entry that is there all the time is seen once.
    pub fn entries(&self) -> Entries<'_> {
        Entries { dict: self, page: VecDeque::new(), last: None, ended: false }
    }
}

/// The entries of a dict; see [`Dict::entries`].
pub struct Entries<'a> {
    dict: &'a Dict,
    page: VecDeque<(String, Vec<u8>)>,
    last: Option<String>,
    ended: bool,
}

impl Iterator for Entries<'_> {
    type Item = Result<(String, Vec<u8>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.ended {
            match self.dict.0.page(self.last.as_deref(), PAGE) {
                Ok(page) => self.page = page.into(),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error.into()));
                }
            }
            self.last = self.page.back().map(|(key, _)| key.clone());
            // Only an empty page is the end; without a last key, the next one would start over.
            self.ended = self.page.is_empty();
        }
        self.page.pop_front().map(Ok)
    }
}

/// A list of bytes (`--share NAME=list`). A negative index counts from the end.
pub struct List(collections::List);

impl List {
    /// Opens the list of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self(collections::List::open(name)?))
    }

    /// Returns an element.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`].
    pub fn get(&self, index: i64) -> Result<Vec<u8>, Error> {
        Ok(self.0.get(index)?)
    }

    /// Returns an element, decoded from JSON.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], [`Error::Json`].
    pub fn get_json<T: DeserializeOwned>(&self, index: i64) -> Result<T, Error> {
        json::decode(&self.get(index)?)
    }

    /// Replaces an element.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], [`Error::Denied`] where it was granted `:ro`, [`Error::Quota`].
    pub fn set(&self, index: i64, value: impl AsRef<[u8]>) -> Result<(), Error> {
        Ok(self.0.set(index, value.as_ref())?)
    }

    /// Replaces an element if it is `expected`, in one step. Returns whether it was.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set).
    pub fn compare_and_set(
        &self,
        index: i64,
        expected: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<bool, Error> {
        Ok(self.0.compare_and_set(index, expected.as_ref(), value.as_ref())?)
    }

    /// Appends an element.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`, [`Error::Quota`].
    pub fn push(&self, value: impl AsRef<[u8]>) -> Result<(), Error> {
        Ok(self.0.push(value.as_ref())?)
    }

    /// Appends an element as JSON.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push), and [`Error::Json`].
    pub fn push_json(&self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.push(json::encode(value)?)
    }

    /// Appends elements, all or none, at most 10,000.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    pub fn extend(&self, values: &[Vec<u8>]) -> Result<(), Error> {
        Ok(self.0.extend(values)?)
    }

    /// Inserts an element before this index. One beyond an end means that end.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    pub fn insert(&self, index: i64, value: impl AsRef<[u8]>) -> Result<(), Error> {
        Ok(self.0.insert(index, value.as_ref())?)
    }

    /// Removes and returns an element; `-1` is the last.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`], [`Error::OutOfRange`], [`Error::Denied`] where it was granted `:ro`.
    pub fn pop(&self, index: i64) -> Result<Vec<u8>, Error> {
        Ok(self.0.pop(index)?)
    }

    /// Returns the number of elements.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn len(&self) -> Result<u64, Error> {
        Ok(self.0.length()?)
    }

    /// Returns whether there are no elements.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Removes all elements.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`.
    pub fn clear(&self) -> Result<(), Error> {
        Ok(self.0.clear()?)
    }

    /// Returns all elements. They are read in parts, between which others may change the list.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn to_vec(&self) -> Result<Vec<Vec<u8>>, Error> {
        let mut all = Vec::new();
        loop {
            let part = self.0.range(all.len() as u64, u32::MAX)?;
            if part.is_empty() {
                return Ok(all);
            }
            all.extend(part);
        }
    }
}

/// Names with values of bytes (`--share NAME=namespace`).
pub struct Namespace(collections::Namespace);

impl Namespace {
    /// Opens the namespace of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self(collections::Namespace::open(name)?))
    }

    /// Returns the value of a name.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.get(name)?)
    }

    /// Returns the value of a name, decoded from JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], [`Error::Lost`].
    pub fn get_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        self.get(name)?.map(|value| json::decode(&value)).transpose()
    }

    /// Sets the value of a name.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`, [`Error::Quota`].
    pub fn set(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        Ok(self.0.set(name, value.as_ref())?)
    }

    /// Sets the value of a name as JSON.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set), and [`Error::Json`].
    pub fn set_json(&self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.set(name, json::encode(value)?)
    }

    /// Removes a name. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`.
    pub fn delete(&self, name: &str) -> Result<bool, Error> {
        Ok(self.0.delete(name)?)
    }

    /// Returns all names.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn names(&self) -> Result<Vec<String>, Error> {
        Ok(self.0.names()?)
    }
}
