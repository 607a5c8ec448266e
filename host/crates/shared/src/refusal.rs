//! Why an operation does not succeed: what the guest is told, and what ends it.

use wasmpool_core::setting::Setting;
use wasmpool_core::share::{self, NumberType, ObjectForm};
use wasmpool_core::similar::nearest;
use wasmpool_core::text::{QuotedName, head};
use wasmpool_objects::operation::ObjectError;

use super::bindings::types::Error;

/// Why an operation did not succeed.
#[derive(Debug)]
pub enum Refusal {
    /// The guest gets this error.
    Told(Error),
    /// The guest ends.
    Ends(wasmtime::Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Told(error)
    }
}

impl From<wasmtime::Error> for Refusal {
    fn from(error: wasmtime::Error) -> Refusal {
        Refusal::Ends(error)
    }
}

impl From<ObjectError> for Refusal {
    fn from(error: ObjectError) -> Refusal {
        Refusal::Told(match error {
            ObjectError::Denied(right) => Error::Denied(right),
            ObjectError::Closed => Error::Closed,
            ObjectError::Full => Error::Full,
            ObjectError::Empty => Error::Empty,
            ObjectError::Timeout => Error::Timeout,
            ObjectError::Quota(quota) => Error::Quota(quota),
            ObjectError::NotHeld => Error::NotHeld,
            ObjectError::NotHolder => Error::NotHolder,
            ObjectError::TooMany => Error::TooMany,
            ObjectError::Broken(by) => Error::Broken(by),
            ObjectError::Eof => Error::Eof,
            ObjectError::ClosedByPeer => Error::ClosedByPeer,
            ObjectError::NotReadable => Error::NotReadable,
            ObjectError::NotWritable => Error::NotWritable,
            ObjectError::TooLong(length) => Error::TooLong(length),
            ObjectError::OutOfRange(why) => Error::OutOfRange(why),
            ObjectError::Invalid(why) => Error::Invalid(why),
        })
    }
}

/// What a guest opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    Queue,
    Pipe,
    Value,
    Array,
    Lock,
    Rlock,
    Semaphore,
    Event,
    Condition,
    Barrier,
    Dict,
    List,
    Namespace,
}

impl ObjectKind {
    pub fn of(form: &ObjectForm) -> ObjectKind {
        match form {
            ObjectForm::Queue { .. } => ObjectKind::Queue,
            ObjectForm::Pipe { .. } => ObjectKind::Pipe,
            ObjectForm::Value(_) => ObjectKind::Value,
            ObjectForm::Array(..) => ObjectKind::Array,
            ObjectForm::Lock => ObjectKind::Lock,
            ObjectForm::Rlock => ObjectKind::Rlock,
            ObjectForm::Semaphore { .. } => ObjectKind::Semaphore,
            ObjectForm::Event => ObjectKind::Event,
            ObjectForm::Condition => ObjectKind::Condition,
            ObjectForm::Barrier { .. } => ObjectKind::Barrier,
            ObjectForm::Dict => ObjectKind::Dict,
            ObjectForm::List => ObjectKind::List,
            ObjectForm::Namespace => ObjectKind::Namespace,
        }
    }

    /// Returns the name of the kind, as `--share` has it.
    pub fn name(self) -> &'static str {
        match self {
            ObjectKind::Queue => "queue",
            ObjectKind::Pipe => "pipe",
            ObjectKind::Value => "value",
            ObjectKind::Array => "array",
            ObjectKind::Lock => "lock",
            ObjectKind::Rlock => "rlock",
            ObjectKind::Semaphore => "semaphore",
            ObjectKind::Event => "event",
            ObjectKind::Condition => "condition",
            ObjectKind::Barrier => "barrier",
            ObjectKind::Dict => "dict",
            ObjectKind::List => "list",
            ObjectKind::Namespace => "namespace",
        }
    }

    /// Returns the name with its article.
    fn a(self) -> String {
        let article =
            if matches!(self, ObjectKind::Array | ObjectKind::Rlock | ObjectKind::Event) { "an" } else { "a" };
        format!("{article} {}", self.name())
    }

    /// Returns what `--share` takes after the name, with placeholders.
    fn definition(self) -> &'static str {
        match self {
            ObjectKind::Value => "value:TYPE",
            ObjectKind::Array => "array:TYPE:LENGTH",
            ObjectKind::Semaphore => "semaphore:SLOTS",
            ObjectKind::Barrier => "barrier:PARTIES",
            other => other.name(),
        }
    }
}

/// Maximum number of bytes of a name in a message.
pub const LONGEST_NAME: usize = 100;

/// An object that a guest asked for and that was not granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissedObject {
    /// The beginning of the name.
    name: String,
    kind: ObjectKind,
}

impl MissedObject {
    pub fn new(name: &str, kind: ObjectKind) -> MissedObject {
        MissedObject { name: head(name, LONGEST_NAME).to_owned(), kind }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what grants it.
    fn grant(&self) -> String {
        let how = Setting::ShareOf.to_string();
        // The name of an object has no character that is special to a shell, in TOML or in Rust.
        how.replace("NAME", &self.name).replace("KIND", self.kind.definition())
    }

    /// Returns what the guest is told. `granted` are the names of what was granted.
    pub fn told<'a>(&self, granted: impl Iterator<Item = &'a str>) -> String {
        let (kind, name) = (self.kind.name(), QuotedName::of(&self.name));
        let meant = nearest(&self.name, granted).map(|meant| format!(" (is {} meant?)", QuotedName::of(meant)));
        match share::is_name(&self.name) {
            true => {
                let meant = meant.unwrap_or_default();
                format!("no {kind} {name} is granted{meant}; grant it with {}", self.grant())
            }
            false => format!(
                "no {kind} {name} is granted, and none can be: a name consists of letters, digits, `_`, `-` and `.`, at most {} \
                 of them",
                share::LONGEST_NAME
            ),
        }
    }
}

impl std::fmt::Display for MissedObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, name) = (self.kind.name(), QuotedName::of(&self.name));
        match share::is_name(&self.name) {
            true => write!(f, "the {kind} {name} ({})", self.grant()),
            false => write!(f, "the {kind} {name}, which is no name of an object"),
        }
    }
}

/// A call that an object refused, for the message of an item that fails after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCall {
    /// The object, as it is shown.
    name: String,
    why: String,
    of_numbers: bool,
}

impl RefusedCall {
    pub fn new(name: &str, why: &str) -> RefusedCall {
        RefusedCall { name: QuotedName::of(name).to_string(), why: why.to_owned(), of_numbers: false }
    }

    /// Returns the same as a call of a value or an array. Others of them, which succeeded, may have followed it.
    pub fn of_numbers(self) -> RefusedCall {
        RefusedCall { of_numbers: true, ..self }
    }

    /// Returns what is to be added to the message of a failure, so that it says which object refused what.
    pub fn addition(&self, message: &str) -> String {
        let RefusedCall { name, why, of_numbers } = self;
        let call = if *of_numbers { "a call" } else { "its last call" };
        match (message.contains(&**why), message.contains(&**name)) {
            (true, true) => String::new(),
            (true, false) => format!(" ({name})"),
            _ if why.contains(&**name) => format!("; {call} to a shared object was refused: {why}"),
            _ => format!("; {call} to a shared object was refused: {name}: {why}"),
        }
    }
}

/// Returns the error of an object that is of another kind.
pub fn wrong_kind(name: &str, is: ObjectKind, wanted: ObjectKind) -> Error {
    Error::WrongKind(format!("{} is {}, not {}", QuotedName::of(head(name, LONGEST_NAME)), is.a(), wanted.a()))
}

/// Returns the error of numbers that are of another type.
pub fn wrong_type(name: QuotedName<'_>, is: NumberType, given: NumberType) -> Error {
    Error::WrongKind(format!("{name} holds {}, and the number is of type {}", type_name(is), type_name(given)))
}

/// Returns the name of a type of number, as `--share` has it.
pub fn type_name(number: NumberType) -> &'static str {
    match number {
        NumberType::S8 => "s8",
        NumberType::U8 => "u8",
        NumberType::S16 => "s16",
        NumberType::U16 => "u16",
        NumberType::S32 => "s32",
        NumberType::U32 => "u32",
        NumberType::S64 => "s64",
        NumberType::U64 => "u64",
        NumberType::F32 => "f32",
        NumberType::F64 => "f64",
        NumberType::Bool => "bool",
        NumberType::Char => "char",
    }
}
