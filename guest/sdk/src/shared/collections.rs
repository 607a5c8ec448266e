//! Dicts, lists and namespaces.

use std::collections::VecDeque;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::shared::wasmpool::shared::collections;

use super::Error;
use super::json::{self, Place};

/// Entries that an iterator asks for at a time.
const PAGE: u32 = 256;

/// A dict from text to bytes (`--share NAME=dict`).
pub struct Dict {
    dict: collections::Dict,
    name: String,
}

impl Dict {
    /// Opens the dict of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self { dict: collections::Dict::open(name)?, name: name.to_owned() })
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.dict.get(key)?.map(|entry| entry.value))
    }

    /// Returns the value of a key, decoded from JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], [`Error::Lost`].
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.get(key)?.map(|value| json::decode(Place::Value(&self.name, key), &value)).transpose()
    }

    /// Returns the value of a key, and its version, a number that each change of it makes another.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn get_versioned(&self, key: &str) -> Result<Option<(Vec<u8>, u64)>, Error> {
        Ok(self.dict.get(key)?.map(|entry| (entry.value, entry.version)))
    }

    /// Sets the value of a key, and returns its version.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`, [`Error::Quota`].
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<u64, Error> {
        Ok(self.dict.set(key, value.as_ref())?)
    }

    /// Sets the value of a key as JSON, and returns its version.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set), and [`Error::Json`].
    pub fn set_json(&self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<u64, Error> {
        self.set(key, json::encode(Place::Value(&self.name, key), value)?)
    }

    /// Sets many entries in one step: all, or none if that is an error.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set), [`Error::Quota`] also for more than 10,000 entries.
    pub fn update<K, V>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<(), Error>
    where
        K: Into<String>,
        V: Into<Vec<u8>>,
    {
        let entries: Vec<_> = entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Ok(self.dict.set_many(&entries)?)
    }

    /// Sets the value if the entry has this version of [`get_versioned`](Self::get_versioned); `None` stands for no entry.
    /// Returns the new version, or `None` if another change came first.
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
        Ok(self.dict.compare_and_set(key, version, value.as_ref())?)
    }

    /// Replaces the value of a key by what `change` makes of it (`None` if there is none), so that no other change is lost.
    /// Returns the new value. Where others change it meanwhile, `change` is called again.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set).
    pub fn change(&self, key: &str, mut change: impl FnMut(Option<&[u8]>) -> Vec<u8>) -> Result<Vec<u8>, Error> {
        loop {
            let before = self.get_versioned(key)?;
            let value = change(before.as_ref().map(|(value, _)| &**value));
            if self.compare_and_set(key, before.map(|(_, version)| version), &value)?.is_some() {
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
        Ok(self.dict.increment(key, by)?)
    }

    /// Removes an entry, and returns its value.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`.
    pub fn pop(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.dict.pop(key)?)
    }

    /// Returns whether there is an entry with this key.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn contains(&self, key: &str) -> Result<bool, Error> {
        Ok(self.dict.contains(key)?)
    }

    /// Returns the number of entries.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn len(&self) -> Result<u64, Error> {
        Ok(self.dict.length()?)
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
        Ok(self.dict.clear()?)
    }

    /// Returns all keys, in their order. A key that is there all the time is among them once.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn keys(&self) -> Result<Vec<String>, Error> {
        self.iter().map(|entry| Ok(entry?.0)).collect()
    }

    /// Returns all entries, in the order of their keys. An entry that is there all the time is among them once; they are not of
    /// one instant.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn items(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        self.iter().collect()
    }

    /// Returns an iterator over the entries, as [`items`](Self::items) has them. It has few of them in memory at a time.
    pub fn iter(&self) -> DictIter<'_> {
        DictIter { dict: self, page: VecDeque::new(), last: None, ended: false }
    }
}

impl<'a> IntoIterator for &'a Dict {
    type Item = Result<(String, Vec<u8>), Error>;
    type IntoIter = DictIter<'a>;

    fn into_iter(self) -> DictIter<'a> {
        self.iter()
    }
}

/// The entries of a dict; see [`Dict::iter`].
pub struct DictIter<'a> {
    dict: &'a Dict,
    page: VecDeque<(String, Vec<u8>)>,
    last: Option<String>,
    ended: bool,
}

impl Iterator for DictIter<'_> {
    type Item = Result<(String, Vec<u8>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.ended {
            match self.dict.dict.page(self.last.as_deref(), PAGE) {
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
pub struct List {
    list: collections::List,
    name: String,
}

impl List {
    /// Opens the list of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self { list: collections::List::open(name)?, name: name.to_owned() })
    }

    /// Returns an element.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`].
    pub fn get(&self, index: i64) -> Result<Vec<u8>, Error> {
        Ok(self.list.get(index)?)
    }

    /// Returns an element, decoded from JSON.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], [`Error::Json`].
    pub fn get_json<T: DeserializeOwned>(&self, index: i64) -> Result<T, Error> {
        json::decode(Place::Element(&self.name, Some(index)), &self.get(index)?)
    }

    /// Replaces an element.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], [`Error::Denied`] where it was granted `:ro`, [`Error::Quota`].
    pub fn set(&self, index: i64, value: impl AsRef<[u8]>) -> Result<(), Error> {
        Ok(self.list.set(index, value.as_ref())?)
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
        Ok(self.list.compare_and_set(index, expected.as_ref(), value.as_ref())?)
    }

    /// Appends an element.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`, [`Error::Quota`].
    pub fn append(&self, value: impl AsRef<[u8]>) -> Result<(), Error> {
        Ok(self.list.push(value.as_ref())?)
    }

    /// Appends an element as JSON.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append), and [`Error::Json`].
    pub fn append_json(&self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.append(json::encode(Place::Element(&self.name, None), value)?)
    }

    /// Appends many elements in one step: all, or none if that is an error.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append), [`Error::Quota`] also for more than 10,000 elements.
    pub fn extend<V: Into<Vec<u8>>>(&self, values: impl IntoIterator<Item = V>) -> Result<(), Error> {
        let values: Vec<Vec<u8>> = values.into_iter().map(Into::into).collect();
        Ok(self.list.extend(&values)?)
    }

    /// Inserts an element before this index. One beyond an end means that end.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append).
    pub fn insert(&self, index: i64, value: impl AsRef<[u8]>) -> Result<(), Error> {
        Ok(self.list.insert(index, value.as_ref())?)
    }

    /// Removes and returns the last element.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`], [`Error::Denied`] where it was granted `:ro`.
    pub fn pop(&self) -> Result<Vec<u8>, Error> {
        self.pop_at(-1)
    }

    /// Removes and returns an element.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`], [`Error::OutOfRange`], [`Error::Denied`] where it was granted `:ro`.
    pub fn pop_at(&self, index: i64) -> Result<Vec<u8>, Error> {
        Ok(self.list.pop(index)?)
    }

    /// Returns the number of elements.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn len(&self) -> Result<u64, Error> {
        Ok(self.list.length()?)
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
        Ok(self.list.clear()?)
    }

    /// Returns all elements. They are read in parts, between which others may change the list.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn to_vec(&self) -> Result<Vec<Vec<u8>>, Error> {
        let mut all = Vec::new();
        loop {
            let part = self.list.range(all.len() as u64, u32::MAX)?;
            if part.is_empty() {
                return Ok(all);
            }
            all.extend(part);
        }
    }
}

/// Names with values of bytes (`--share NAME=namespace`).
pub struct Namespace {
    namespace: collections::Namespace,
    /// That by which it was opened.
    object: String,
}

impl Namespace {
    /// Opens the namespace of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self { namespace: collections::Namespace::open(name)?, object: name.to_owned() })
    }

    /// Returns the value of a name.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.namespace.get(name)?)
    }

    /// Returns the value of a name, decoded from JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], [`Error::Lost`].
    pub fn get_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        self.get(name)?.map(|value| json::decode(Place::Value(&self.object, name), &value)).transpose()
    }

    /// Sets the value of a name.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`, [`Error::Quota`].
    pub fn set(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        Ok(self.namespace.set(name, value.as_ref())?)
    }

    /// Sets the value of a name as JSON.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set), and [`Error::Json`].
    pub fn set_json(&self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.set(name, json::encode(Place::Value(&self.object, name), value)?)
    }

    /// Removes a name. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:ro`.
    pub fn delete(&self, name: &str) -> Result<bool, Error> {
        Ok(self.namespace.delete(name)?)
    }

    /// Returns all names.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn names(&self) -> Result<Vec<String>, Error> {
        Ok(self.namespace.names()?)
    }
}
