//! The names of a record's fields, a variant's cases, an enum, or flags.

use super::misfit::shorten;
use wasmpool_core::similar::{LONGEST, nearest};

/// Distinct names in the order of their declaration, which can be found in logarithmic time: a task may declare
/// thousands, and an item may name all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    list: Vec<String>,
    /// Positions in `list`, in the order of the names.
    sorted: Vec<usize>,
}

impl Names {
    /// Keeps `list` and creates a sorted index of it.
    pub fn new(list: Vec<String>) -> Self {
        let mut sorted: Vec<usize> = (0..list.len()).collect();
        sorted.sort_unstable_by(|&a, &b| list[a].cmp(&list[b]));
        Self { list, sorted }
    }

    /// Returns the names in the order of their declaration.
    pub fn as_slice(&self) -> &[String] {
        &self.list
    }

    /// Returns the position of `name`. `guess` is checked first, because an object's keys mostly come in the order of
    /// the record's fields.
    pub(super) fn find(&self, name: &str, guess: usize) -> Option<usize> {
        if self.list.get(guess).is_some_and(|known| known == name) {
            return Some(guess);
        }
        self.sorted.binary_search_by(|&at| self.list[at].as_str().cmp(name)).ok().map(|found| self.sorted[found])
    }

    /// Returns a name that `name` was probably meant to be.
    pub(super) fn near(&self, name: &str) -> Option<&str> {
        if name.len() > LONGEST {
            return None;
        }
        nearest(&name.to_lowercase().replace('_', "-"), self.list.iter().map(String::as_str))
    }

    /// Returns the end of a message: `; did you mean …?`, or else the names there are.
    pub(super) fn hint(&self, name: &str) -> String {
        const SHOWN: usize = 8;
        if let Some(near) = self.near(name) {
            return format!("; did you mean `{}`?", shorten(near));
        }
        let shown: Vec<String> = self.list.iter().take(SHOWN).map(|known| format!("`{}`", shorten(known))).collect();
        let rest = if self.list.len() > SHOWN { ", …" } else { "" };
        match shown.len() {
            0 => "; there are none".to_owned(),
            1 => format!("; there is only {}", shown[0]),
            _ => format!("; there are {}{rest}", shown.join(", ")),
        }
    }
}
