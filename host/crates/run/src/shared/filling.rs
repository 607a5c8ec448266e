//! What objects are filled with before a run, read from JSON: an object with a member for each. It is read element by element,
//! so that no more of it is in memory at a time than what the objects come to hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::mapped::shape;
use super::numbers;
use crate::error::Error;
use wasmpool_core::setting::Setting;
use wasmpool_core::share::{NumberType, ObjectForm, ObjectSpec};
use wasmpool_core::text::{ForeignText, QuotedName};
use wasmpool_ipc::cells::Numbers;
use wasmpool_objects::contents::{self, Contents, ContentsError, json};

/// Numbers of an array that are read at once.
const PIECE: usize = 4096;

/// Maximum characters of a value in a message.
const LONGEST_SHOWN: usize = 60;

/// What objects are filled with, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct SharedContents {
    /// Of objects that the manager keeps.
    pub(super) kept: BTreeMap<u16, Contents>,
    /// Of values and arrays, in pieces that follow each other.
    pub(super) numbers: BTreeMap<u16, Vec<Numbers>>,
    /// Tokens of holders are greater than this.
    pub(super) tokens: u64,
}

/// The member for the last token that was told to a holder, which is the name of no object.
pub(super) const LAST_TOKEN: &str = "@token";
/// The greatest token to begin behind: there is room for more than will ever be told.
const MOST_TOKEN: u64 = u64::MAX / 2;

impl SharedContents {
    /// Fills a value or an array. The numbers have to be of its type and as many as it has.
    pub fn fill(&mut self, object: u16, numbers: Numbers) {
        self.numbers.insert(object, vec![numbers]);
    }

    /// Has tokens of holders be greater than this one.
    pub fn tokens_after(&mut self, token: u64) {
        self.tokens = self.tokens.max(token.min(MOST_TOKEN));
    }

    /// Reads contents of some of these objects from JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] names the object, and says what it can be filled with.
    pub fn read(specs: &[ObjectSpec], text: impl Read) -> Result<SharedContents, Error> {
        let mut from = serde_json::Deserializer::from_reader(text);
        let read = Members(specs).deserialize(&mut from).and_then(|read| from.end().map(|()| read));
        read.map_err(|e| match e.classify() {
            Category::Io => Error::Shared(std::io::Error::from(e).to_string()),
            Category::Eof if (e.line(), e.column()) <= (1, 0) => {
                Error::Shared("it is empty, and not an object of JSON: without a member it is {}".to_owned())
            }
            _ => Error::Shared(format!("the contents of shared objects are not an object of JSON: {e}")),
        })?
    }
}

/// Reads all members. What is wrong with one of them is the inner error, and then the rest is passed over.
struct Members<'a>(&'a [ObjectSpec]);

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Result<SharedContents, Error>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Result<SharedContents, Error>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a member for each shared object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut contents, mut seen) = (SharedContents::default(), BTreeSet::new());
        while let Some(name) = map.next_key::<String>()? {
            if name == LAST_TOKEN {
                contents.tokens_after(map.next_value()?);
                continue;
            }
            let read = match member(self.0, &name, seen.insert(name.clone())) {
                Ok((object, spec)) => map.next_value_seed(Member(spec))?.map(|filled| (object, filled)),
                Err(e) => {
                    map.next_value::<IgnoredAny>()?;
                    Err(e)
                }
            };
            match read {
                Ok((object, Filled::Kept(kept))) => drop(contents.kept.insert(object, kept)),
                Ok((object, Filled::Numbers(pieces))) => drop(contents.numbers.insert(object, pieces)),
                Err(e) => {
                    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                    return Ok(Err(e));
                }
            }
        }
        Ok(Ok(contents))
    }
}

/// Finds the object of a member.
fn member<'a>(specs: &'a [ObjectSpec], name: &str, is_first: bool) -> Result<(u16, &'a ObjectSpec), Error> {
    let quoted = QuotedName::of(name);
    let found = (0..).zip(specs).find(|(_, spec)| spec.name == name);
    let found = found.ok_or_else(|| {
        Error::Shared(format!("there is no shared object {quoted} to be filled: name it in {}", Setting::Share))
    })?;
    match is_first {
        true => Ok(found),
        // Only one of the two could count.
        false => Err(Error::Shared(format!("the shared object {quoted} is filled twice: leave one out"))),
    }
}

/// What one object is filled with.
enum Filled {
    Kept(Contents),
    Numbers(Vec<Numbers>),
}

/// Reads what this object is filled with.
struct Member<'a>(&'a ObjectSpec);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Result<Filled, Error>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        match self.0.form {
            ObjectForm::Value(NumberType::F32) => {
                let Single(value) = Single::deserialize(from)?;
                Ok(self.whole(value))
            }
            _ => from.deserialize_any(self),
        }
    }
}

/// A float of 32 bits, rounded once, from what is written: rounded to 64 bits before, it could come out as another. What is no
/// such number stays as it is written, for the error that says so; `null` if it is long.
struct Single(Value);

impl<'de> Deserialize<'de> for Single {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Single, D::Error> {
        /// Maximum length of the texts that stand for what JSON has no number for.
        const LONGEST_TEXT: usize = 100;
        let written: Box<RawValue> = Box::deserialize(from)?;
        let text = written.get();
        Ok(Single(match text.parse::<f32>() {
            Ok(number) if number.is_finite() => f64::from(number).into(),
            _ if text.len() <= LONGEST_TEXT => serde_json::from_str(text).unwrap_or_default(),
            _ => Value::Null,
        }))
    }
}

impl Member<'_> {
    /// Makes something of a value that has no parts.
    fn whole(&self, value: Value) -> Result<Filled, Error> {
        match self.0.form {
            ObjectForm::Array(_, len) => Err(self.wrong_length(len)),
            ObjectForm::Value(_) => Ok(Filled::Numbers(vec![self.numbers(0, &[value])?])),
            _ => json::read(self.0, value).map(Filled::Kept).map_err(|e| refused(&e)),
        }
    }

    fn wrong_length(&self, len: u32) -> Error {
        Error::Shared(format!("the array {} is filled with an array of {len} numbers", QuotedName::of(&self.0.name)))
    }

    /// Reads numbers, of which the first has this index.
    fn numbers(&self, first: usize, values: &[Value]) -> Result<Numbers, Error> {
        let (of, _) = shape(&self.0.form);
        numbers::read(of, values).map_err(|index| {
            let is_array = matches!(self.0.form, ObjectForm::Array(..));
            let place = if is_array { format!("element {} of ", first + index) } else { String::new() };
            let of = format!("{of:?}").to_lowercase();
            let name = QuotedName::of(&self.0.name);
            let found = values.get(index).map(shown).unwrap_or_default();
            Error::Shared(format!("{place}the object {name} cannot be filled with {found}: its type is {of}"))
        })
    }

    /// Reads the numbers of an array.
    fn array<'de, A: SeqAccess<'de>>(&self, len: u32, seq: &mut A) -> Result<Result<Filled, Error>, A::Error> {
        let (of, _) = shape(&self.0.form);
        let (mut pieces, mut piece, mut count) = (Vec::new(), Vec::new(), 0);
        loop {
            let next = match of {
                NumberType::F32 => seq.next_element()?.map(|Single(value)| value),
                _ => seq.next_element()?,
            };
            let is_end = next.is_none();
            piece.extend(next);
            if piece.len() == PIECE || is_end && !piece.is_empty() {
                match self.numbers(count, &piece) {
                    Ok(numbers) => pieces.push(numbers),
                    Err(e) => return Ok(Err(e)),
                }
                count += piece.len();
                piece.clear();
            }
            match is_end {
                true if count == len as usize => return Ok(Ok(Filled::Numbers(pieces))),
                true => return Ok(Err(self.wrong_length(len))),
                false if count > len as usize => return Ok(Err(self.wrong_length(len))),
                false => {}
            }
        }
    }

    /// Reads messages or elements. Those that are more than the object takes are only counted.
    fn sequence<'de, A: SeqAccess<'de>>(&self, seq: &mut A) -> Result<Result<Filled, Error>, A::Error> {
        let mut all = Vec::new();
        while (all.len() as u64) < self.0.quota.entries {
            match seq.next_element::<Element>()?.map(|Element(value)| json::read_element(self.0, all.len(), value)) {
                Some(Ok(bytes)) => all.push(bytes),
                Some(Err(e)) => return Ok(Err(refused(&e))),
                None => return Ok(self.kept(Contents::Sequence(all))),
            }
        }
        let mut entries = all.len() as u64;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            entries += 1;
        }
        Ok(self.within_quota(entries).and_then(|()| self.kept(Contents::Sequence(all))))
    }

    /// Reads entries. Those that are more than the object takes are only counted.
    fn entries<'de, A: MapAccess<'de>>(&self, map: &mut A) -> Result<Result<Filled, Error>, A::Error> {
        let mut all = BTreeMap::new();
        while (all.len() as u64) < self.0.quota.entries {
            let next = map.next_entry::<String, Element>()?;
            match next.map(|(key, value)| json::read_entry(self.0, &key, value.0).map(|bytes| (key, bytes))) {
                Some(Ok((key, _))) if all.contains_key(&key) => return Ok(Err(self.twice(&key))),
                Some(Ok((key, bytes))) => drop(all.insert(key, bytes)),
                Some(Err(e)) => return Ok(Err(refused(&e))),
                None => return Ok(self.kept(Contents::Entries(all))),
            }
        }
        let mut entries = all.len() as u64;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            entries += 1;
        }
        Ok(self.within_quota(entries).and_then(|()| self.kept(Contents::Entries(all))))
    }

    /// Returns the error for a key of which only one of two values could count.
    fn twice(&self, key: &str) -> Error {
        let name = QuotedName::of(&self.0.name);
        Error::Shared(format!(
            "the key {} of the shared object {name} is given twice: leave one out",
            QuotedName::of(key)
        ))
    }

    fn within_quota(&self, entries: u64) -> Result<(), Error> {
        contents::check_entries(self.0, entries).map_err(|e| refused(&e))
    }

    fn kept(&self, contents: Contents) -> Result<Filled, Error> {
        contents.check(self.0).map_err(|e| refused(&e))?;
        Ok(Filled::Kept(contents))
    }
}

/// A message, an element or the value of an entry: a text, or an object whose members are there once. `null` for all else, of
/// which nothing can be made.
struct Element(Value);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Element, D::Error> {
        from.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message, an element or the value of an entry")
    }

    fn visit_str<E>(self, text: &str) -> Result<Element, E> {
        Ok(Element(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Element, E> {
        Ok(Element(text.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element, A::Error> {
        let (mut members, mut is_doubled) = (Map::new(), false);
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            // Only one of the two could count.
            is_doubled |= members.insert(name, value).is_some();
        }
        Ok(Element(if is_doubled { Value::Null } else { Value::Object(members) }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Element, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Element(Value::Null))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Element, E> {
        Ok(Element(Value::Null))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Element, E> {
        Ok(Element(Value::Null))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Element, E> {
        Ok(Element(Value::Null))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Element, E> {
        Ok(Element(Value::Null))
    }

    fn visit_unit<E>(self) -> Result<Element, E> {
        Ok(Element(Value::Null))
    }
}

/// Returns a value that is no number of a type, to be shown. Of one with parts, they are not known here.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => ForeignText::of(&other.to_string()).at_most(LONGEST_SHOWN).to_string(),
    }
}

fn refused(error: &ContentsError) -> Error {
    Error::Shared(ForeignText::of(&error.to_string()).to_string())
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Result<Filled, Error>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what an object is filled with")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let filled = match self.0.form {
            ObjectForm::Array(_, len) => self.array(len, &mut seq)?,
            ObjectForm::Queue { .. } | ObjectForm::List => self.sequence(&mut seq)?,
            _ => self.whole(Value::Array(Vec::new())),
        };
        if filled.is_err() {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
        }
        Ok(filled)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let filled = match self.0.form {
            ObjectForm::Dict | ObjectForm::Namespace => self.entries(&mut map)?,
            _ => self.whole(Value::Object(Map::new())),
        };
        if filled.is_err() {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        }
        Ok(filled)
    }

    fn visit_bool<E>(self, is: bool) -> Result<Self::Value, E> {
        Ok(self.whole(is.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.whole(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self.whole(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(self.whole(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.whole(text.into()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(self.whole(Value::Null))
    }
}
