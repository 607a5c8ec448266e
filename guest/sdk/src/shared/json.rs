//! JSON in messages and entries.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;

/// Where a message or an entry is or is to be, for errors.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A message of this queue or pipe.
    Message(&'a str),
    /// An element of this list: of an index, or one that is to be appended.
    Element(&'a str, Option<i64>),
    /// A value of this dict or namespace, under a key.
    Value(&'a str, &'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Message(object) | Place::Element(object, None) => write!(f, "the shared object `{object}`"),
            Place::Element(object, Some(index)) => write!(f, "the shared object `{object}`, element {index}"),
            Place::Value(object, key) => write!(f, "the shared object `{object}`, key `{}`", key.escape_debug()),
        }
    }
}

pub fn encode<T: Serialize + ?Sized>(place: Place<'_>, value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Json(format!("{place}: it cannot be written as JSON ({error})")))
}

pub fn decode<T: DeserializeOwned>(place: Place<'_>, json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| {
        /// Number of bytes that are shown of what cannot be read.
        const SHOWN: usize = 60;
        let start = String::from_utf8_lossy(json.get(..SHOWN).unwrap_or(json));
        Error::Json(format!(
            "{place}: what was read is not JSON of the type that it is wanted as: {error}; it begins with `{}`",
            start.escape_debug()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place::Message("jobs");

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let list = vec![Some(1), None];
        assert_eq!(decode(PLACE, &encode(PLACE, &list).unwrap()), Ok(list));
    }

    #[test]
    fn what_does_not_fit_says_of_which_object_and_where() {
        for (place, named) in [
            (PLACE, "the shared object `jobs`: "),
            (Place::Element("found", Some(-1)), "the shared object `found`, element -1: "),
            (Place::Value("seen", "a\nb"), "the shared object `seen`, key `a\\nb`: "),
        ] {
            let Err(Error::Json(text)) = decode::<Vec<u8>>(place, b"[1, true]") else { panic!("it was decoded") };
            assert!(text.starts_with(named) && text.contains("line 1 column 8"), "{text}");
        }
    }

    #[test]
    fn what_has_no_form_in_json_says_so() {
        let keys = std::collections::BTreeMap::from([((1, 2), 3)]);
        let Err(Error::Json(text)) = encode(Place::Element("found", None), &keys) else { panic!("it was encoded") };
        assert!(text.starts_with("the shared object `found`: it cannot be written as JSON ("), "{text}");
    }
}
