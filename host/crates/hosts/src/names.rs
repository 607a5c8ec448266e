//! Names of runs and hosts, as they stand in the broker's subjects.

use std::fmt;
use std::sync::Arc;

/// The name of a run: 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub [u8; 16]);

impl RunId {
    /// Returns the run that a token of a subject names.
    pub fn of_token(token: &str) -> Option<RunId> {
        let digits = token.as_bytes();
        if digits.len() != 32 || !digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        u128::from_str_radix(token, 16).ok().map(|number| RunId(number.to_be_bytes()))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The name of a host, which the broker's permissions may be bound to: one token of a subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

/// Error: a name is no token of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host's name has 1 to {MOST_NAME} characters, of a-z, A-Z, 0-9, - and _")]
pub struct BadHostName;

/// Maximum number of characters of a host's name.
const MOST_NAME: usize = 64;

impl HostName {
    /// Returns the host of this name.
    ///
    /// # Errors
    ///
    /// [`BadHostName`] for characters that are none of a name.
    pub fn new(name: &str) -> Result<HostName, BadHostName> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        match (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(plain) {
            true => Ok(HostName(name.into())),
            false => Err(BadHostName),
        }
    }

    /// Returns a name made of any text: characters that are none of a name become `-`.
    pub fn of_text(text: &str) -> HostName {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let name: String = text.chars().map(plain).take(MOST_NAME).collect();
        HostName(if name.is_empty() { "host".into() } else { name.into() })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name in memory that can be shared.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of a host: a process that is started again under the same name has another number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostLife {
    pub name: HostName,
    pub life: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_one_token_of_a_subject() {
        for bad in ["", ".", "a.b", "*", ">", "a b", "ä", &"x".repeat(MOST_NAME + 1), "a\r\nPUB"] {
            assert_eq!(HostName::new(bad), Err(BadHostName), "{bad}");
        }
        assert_eq!(HostName::new("node-7_A").unwrap().as_str(), "node-7_A");
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_name(text in any::<String>()) {
            let name = HostName::of_text(&text);
            prop_assert_eq!(HostName::new(name.as_str()), Ok(name));
        }

        #[test]
        fn a_run_is_found_by_its_token_and_by_no_other(bytes in any::<[u8; 16]>(), text in "[0-9a-fA-F.]{0,40}") {
            prop_assert_eq!(RunId::of_token(&RunId(bytes).to_string()), Some(RunId(bytes)));
            if let Some(run) = RunId::of_token(&text) {
                prop_assert_eq!(run.to_string(), text);
            }
        }
    }
}
