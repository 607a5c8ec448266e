//! Finds the text at a place inside JSON, for the message of a misfit.
//!
//! Serde gives a visitor the value of a number, not its text, and nothing at
//! all of an array. Items that do not fit are rare, so the text is searched for
//! again, along the path in the misfit.

use super::misfit::ValueStep;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Returns the text in `json` at the end of `path`. Costs one pass over the
/// text per step. Returns `None` if the path leads nowhere or the text is not
/// JSON.
pub(super) fn excerpt<'j, 'p>(json: &'j [u8], path: impl Iterator<Item = &'p ValueStep>) -> Option<&'j str> {
    let mut place: &'j RawValue = serde_json::from_slice(json).ok()?;
    for step in path {
        let mut within = serde_json::Deserializer::from_str(place.get());
        place = ExcerptStep(step).deserialize(&mut within).ok()??;
    }
    Some(place.get())
}

/// One step into an object or an array.
struct ExcerptStep<'p>(&'p ValueStep);

impl<'de> DeserializeSeed<'de> for ExcerptStep<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            ValueStep::Key(_) => from.deserialize_map(self),
            ValueStep::Index(_) => from.deserialize_seq(self),
        }
    }
}

impl<'de> Visitor<'de> for ExcerptStep<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value that has {}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if matches!(self.0, ValueStep::Key(wanted) if *wanted == *key) {
                found = Some(map.next_value::<&RawValue>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut at = 0;
        while let Some(element) = seq.next_element::<&RawValue>()? {
            if *self.0 == ValueStep::Index(at) {
                found = Some(element);
            }
            at += 1;
        }
        Ok(found)
    }
}
