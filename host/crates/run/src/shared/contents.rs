//! What objects are filled with before a run, and what they hold after it, as JSON: an object with a member for each.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::SharedObjects;
use super::host::HostObjects;
use super::mapped::shape;
use super::numbers;
use crate::error::Error;
use wasmpool_core::setting::Setting;
use wasmpool_core::share::{ObjectForm, ObjectSpec};
use wasmpool_core::text::{ForeignText, QuotedName};
use wasmpool_ipc::cells::{CellError, Numbers};
use wasmpool_objects::contents::{Contents, json};
use wasmpool_objects::operation::{Answer, ObjectError, Operation, Reply};

/// Entries that are asked for at once.
const MANY: u32 = 1024;

/// What objects are filled with, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct SharedContents {
    /// Of objects that the manager keeps.
    pub(super) kept: BTreeMap<u16, Contents>,
    /// Of values and arrays.
    pub(super) numbers: BTreeMap<u16, Numbers>,
}

impl SharedContents {
    /// Fills a value or an array. The numbers have to be of its type and as many as it has.
    pub fn fill(&mut self, object: u16, numbers: Numbers) {
        self.numbers.insert(object, numbers);
    }

    /// Reads contents of some of these objects from JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] names the object, and says what it can be filled with.
    pub fn read(specs: &[ObjectSpec], text: &[u8]) -> Result<SharedContents, Error> {
        let unreadable = |e| Error::Shared(format!("the contents of shared objects are not an object of JSON: {e}"));
        let Members(members) = serde_json::from_slice(text).map_err(unreadable)?;
        let mut contents = SharedContents::default();
        for (name, value) in members {
            let found = (0..).zip(specs).find(|(_, spec)| spec.name == name);
            let Some((object, spec)) = found else {
                let name = QuotedName::of(&name);
                return Err(Error::Shared(format!(
                    "there is no shared object {name} to be filled: name it in {}",
                    Setting::Share
                )));
            };
            if spec.form.is_mapped() {
                contents.numbers.insert(object, numbers_of(spec, value)?);
                continue;
            }
            let kept =
                json::read(spec, value).map_err(|e| Error::Shared(ForeignText::of(&e.to_string()).to_string()))?;
            contents.kept.insert(object, kept);
        }
        Ok(contents)
    }
}

/// The members of an object of JSON. One that is there twice is an error, since only one of the two could count.
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Members, D::Error> {
        from.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a member for each shared object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Map::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(format!("the member {} is there twice", QuotedName::of(&name))));
            }
            members.insert(name, value);
        }
        Ok(Members(members))
    }
}

/// Reads what a value or an array is filled with.
fn numbers_of(spec: &ObjectSpec, value: Value) -> Result<Numbers, Error> {
    let (of, len) = shape(&spec.form);
    let name = QuotedName::of(&spec.name);
    let values = match (&spec.form, value) {
        (ObjectForm::Array(..), Value::Array(values)) if values.len() == len as usize => values,
        (ObjectForm::Array(..), _) => {
            return Err(Error::Shared(format!("the array {name} is filled with an array of {len} numbers")));
        }
        (_, value) => vec![value],
    };
    numbers::read(of, &values).map_err(|index| {
        let place =
            if matches!(spec.form, ObjectForm::Array(..)) { format!("element {index} of ") } else { String::new() };
        let of = format!("{of:?}").to_lowercase();
        Error::Shared(format!("{place}the object {name} cannot be filled with that: its type is {of}"))
    })
}

impl SharedObjects {
    /// Returns what the objects hold, as JSON, once all that ended workers held is released. Messages that wait in queues
    /// are taken out of them. Locks, conditions, barriers and pipes hold nothing that can be told.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] if the manager process is lost.
    pub fn contents(&self) -> Result<Value, Error> {
        let host = self.host();
        host.settle()?;
        let mut all = Map::new();
        for (object, spec) in (0..).zip(self.specs()) {
            if let Some(cells) = host.cells(object) {
                let numbers = cells.read(0, cells.len()).map_err(|e| Error::Shared(told(spec, &e)))?;
                let mut numbers = numbers::write(numbers);
                let is_array = matches!(spec.form, ObjectForm::Array(..));
                let value = if is_array { Value::Array(numbers) } else { numbers.pop().unwrap_or_default() };
                all.insert(spec.name.clone(), value);
                continue;
            }
            if let Some(contents) = contents_of(host, object, &spec.form)? {
                all.insert(spec.name.clone(), json::write(contents));
            }
        }
        Ok(Value::Object(all))
    }
}

fn contents_of(host: HostObjects<'_>, object: u16, form: &ObjectForm) -> Result<Option<Contents>, Error> {
    let ask = |operation| host.ask(object, operation, Some(std::time::Duration::ZERO));
    Ok(Some(match form {
        ObjectForm::Queue { .. } => {
            let mut all = Vec::new();
            loop {
                match ask(Operation::Get { most: MANY })? {
                    Ok(Reply::Many(messages)) if !messages.is_empty() => all.extend(messages),
                    Err(ObjectError::Empty | ObjectError::Closed) => break,
                    other => return Err(unexpected(&other)),
                }
            }
            Contents::Sequence(all)
        }
        ObjectForm::List => {
            let mut all = Vec::new();
            loop {
                match ask(Operation::ListRange { start: all.len() as u64, most: MANY })? {
                    Ok(Reply::Many(elements)) if elements.is_empty() => break,
                    Ok(Reply::Many(elements)) => all.extend(elements),
                    other => return Err(unexpected(&other)),
                }
            }
            Contents::Sequence(all)
        }
        ObjectForm::Dict | ObjectForm::Namespace => {
            let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            loop {
                let after = all.last_key_value().map(|(key, _)| key.clone());
                match ask(Operation::DictPage { after, most: MANY })? {
                    Ok(Reply::Page(entries)) if entries.is_empty() => break,
                    Ok(Reply::Page(entries)) => all.extend(entries),
                    other => return Err(unexpected(&other)),
                }
            }
            Contents::Entries(all)
        }
        ObjectForm::Semaphore { .. } => match ask(Operation::Slots)? {
            Ok(Reply::Number(slots)) => Contents::Slots(slots),
            other => return Err(unexpected(&other)),
        },
        ObjectForm::Event => match ask(Operation::IsSet)? {
            Ok(Reply::Bool(is)) => Contents::Flag(is),
            other => return Err(unexpected(&other)),
        },
        _ => return Ok(None),
    }))
}

/// Says what keeps the numbers of an object from being told: a task that took its worker over can write anything there.
fn told(spec: &ObjectSpec, error: &CellError) -> String {
    format!("the shared object {} cannot be told: {error}", QuotedName::of(&spec.name))
}

fn unexpected(answer: &Answer) -> Error {
    Error::Bug(format!("the contents of a shared object cannot be told: {answer:.200?}"))
}
