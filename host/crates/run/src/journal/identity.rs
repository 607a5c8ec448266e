//! Which run a journal is of: the task, and every option that its results depend on.

use serde::{Deserialize, Serialize};

/// Names and values, in the order in which they are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity(Vec<(String, String)>);

impl Identity {
    pub fn new<N: Into<String>>(parts: impl IntoIterator<Item = (N, String)>) -> Identity {
        Identity(parts.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// With one more part, which is compared first.
    pub fn of(self, name: &str, value: String) -> Identity {
        let mut parts = vec![(name.to_owned(), value)];
        parts.extend(self.0);
        Identity(parts)
    }

    /// The first part in which `other` differs: its name, and what it is here and there.
    pub fn difference<'a>(&'a self, other: &'a Identity) -> Option<(&'a str, &'a str, &'a str)> {
        self.0.iter().find_map(|(name, value)| {
            let theirs = other.0.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value);
            (theirs != value).then_some((name.as_str(), value.as_str(), theirs))
        })
    }
}
