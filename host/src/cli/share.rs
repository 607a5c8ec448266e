//! Shared objects in the words of the command line: `NAME=KIND[:TYPE][:SIZE][:RIGHTS]`.

use std::fmt::{self, Display};
use std::mem::discriminant;

use serde::{Serialize, Serializer};

use super::meant::nearest;
use super::units::{self, ParseSizeError};
use wasmpool_core::share::{LONGEST_NAME, NumberType, ObjectForm, ObjectQuota, ObjectRights, ObjectSpec, is_in_names};
use wasmpool_core::text::QuotedName;

/// The most elements of an array, so that all arrays of a run fit the address space.
const LONGEST_ARRAY: u32 = 1 << 27;

const KINDS: [&str; 13] = [
    "queue",
    "pipe",
    "value",
    "array",
    "lock",
    "rlock",
    "semaphore",
    "event",
    "condition",
    "barrier",
    "dict",
    "list",
    "namespace",
];

/// The reason why a text is not a shared object, in words that say what it has to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseShareError {
    #[error("it has to be NAME=KIND[:TYPE][:SIZE][:RIGHTS], such as jobs=queue:100 or total=value:s64")]
    Form,
    #[error("an object needs a name, such as jobs in jobs=queue:100")]
    NoName,
    #[error("the name of an object has at most {LONGEST_NAME} characters")]
    LongName,
    #[error("the name of an object consists of letters, digits, `_`, `-` and `.`")]
    Name,
    #[error("{} is no kind of object{}; there are {}", QuotedName::of(.0), meant(kind_meant(.0)), KINDS.join(", "))]
    Kind(String),
    #[error("{} needs the type of its numbers: {} ({})", a(kind), syntax(kind), types())]
    NoType { kind: String },
    #[error("{} is no type of numbers{}: there are {}", QuotedName::of(.0), meant(type_meant(.0)), types())]
    Type(String),
    #[error("{} needs {what}: {}", a(kind), syntax(kind))]
    NoNumber { kind: String, what: &'static str },
    #[error("{} is not {what} of {}: that is a whole number up to {most}", QuotedName::of(text), a(kind))]
    Number { kind: String, what: &'static str, text: String, most: u32 },
    #[error("a barrier needs one party at least")]
    NoParties,
    #[error("a bounded semaphore without slots can never be acquired: give it one at least, or leave `bounded` out")]
    NoSlots,
    #[error("entries= takes a number, such as entries=1000")]
    Entries,
    #[error("{0}= is given twice: leave one out")]
    QuotaTwice(&'static str),
    #[error("{0}=0 leaves room for nothing: it takes a number from 1")]
    NoRoom(&'static str),
    #[error("{} is no quota; there are entries=N and bytes=SIZE", QuotedName::of(.0))]
    Quota(String),
    #[error(transparent)]
    Size(#[from] ParseSizeError),
    #[error("{} means nothing for {}: {}", QuotedName::of(part), a(kind), syntax(kind))]
    Part { kind: String, part: String },
    #[error(
        "it is given with one right, `:{}` or `:{}`, or with neither, which grants both",
        .words.0, .words.1
    )]
    TwoRights { words: (&'static str, &'static str) },
    #[error(
        "{} begins as 0, unless the file of --share-in says otherwise: --share-in FILE with {{\"{name}\": {first}}} in it",
        a(kind)
    )]
    FirstNumber { name: String, kind: String, first: String },
    #[error(
        "an object of a server is NAME@SERVER[:RIGHTS], such as jobs@backlog:put; the name of a server has 1 to \
         {LONGEST_NAME} characters, of a-z, A-Z, 0-9, - and _"
    )]
    Server,
    #[error("{} is no right: there are {}", QuotedName::of(.0), RIGHTS.join(", "))]
    Right(String),
}

/// The words for rights, of objects of whatever kind.
const RIGHTS: [&str; 6] = ["put", "get", "first", "second", "ro", "rw"];

/// What `--share` takes: an object of the run itself, or one of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedOption {
    Own(SharedObject),
    Served(ServedObject),
}

/// A shared object of a server, whose kind the server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedObject {
    pub name: String,
    pub server: String,
    /// The word for what the task may do with it, if that is not all.
    pub right: Option<String>,
    /// What the plugin asks for that gets it.
    pub asked: Option<SharedObject>,
}

impl Display for ServedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.server)?;
        self.right.as_ref().map_or(Ok(()), |right| write!(f, ":{right}"))
    }
}

impl Serialize for ServedObject {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Parses what `--share` takes.
pub fn shared_option(text: &str) -> Result<SharedOption, ParseShareError> {
    match text.split_once('@').filter(|(name, _)| !name.contains('=')) {
        Some((name, rest)) => served_object(name, rest).map(SharedOption::Served),
        None => shared_object(text).map(SharedOption::Own),
    }
}

/// Parses an object of a server, of which this stands before and behind the `@`.
fn served_object(name: &str, rest: &str) -> Result<ServedObject, ParseShareError> {
    check_name(name)?;
    let (server, right) = rest.split_once(':').map_or((rest, None), |(server, right)| (server, Some(right)));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if server.is_empty() || server.len() > LONGEST_NAME || !server.chars().all(plain) {
        return Err(ParseShareError::Server);
    }
    match right {
        Some(right) if !RIGHTS.contains(&right) => Err(ParseShareError::Right(right.to_owned())),
        right => {
            let (server, right) = (server.to_owned(), right.map(str::to_owned));
            Ok(ServedObject { name: name.to_owned(), server, right, asked: None })
        }
    }
}

/// A shared object, and what the task may do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedObject {
    pub spec: ObjectSpec,
    pub rights: ObjectRights,
}

impl SharedObject {
    /// Returns true if both are meant to be the same object: name and kind agree. Sizes and rights may differ.
    pub fn is_same_object(&self, other: &SharedObject) -> bool {
        let same_kind = match (&self.spec.form, &other.spec.form) {
            (ObjectForm::Value(one), ObjectForm::Value(other)) => one == other,
            (ObjectForm::Array(one, _), ObjectForm::Array(other, _)) => one == other,
            (ObjectForm::Pipe { duplex: one }, ObjectForm::Pipe { duplex: other }) => one == other,
            (one, other) => discriminant(one) == discriminant(other),
        };
        self.spec.name == other.spec.name && same_kind
    }
}

/// Parses a shared object as `--share` takes it.
pub fn shared_object(text: &str) -> Result<SharedObject, ParseShareError> {
    let (name, rest) = text.split_once('=').ok_or(ParseShareError::Form)?;
    check_name(name)?;
    let mut parts: Parts<'_> = Parts { kind: "", rest: rest.split(':').collect(), at: 0 };
    let kind = parts.next().unwrap_or_default();
    parts.kind = kind;
    if let Some(first) = first_number(kind, &parts) {
        return Err(ParseShareError::FirstNumber { name: name.to_owned(), kind: kind.to_owned(), first });
    }
    let form = form(kind, &mut parts)?;
    let quota = quota(&mut parts, &form)?;
    let rights = rights(&mut parts, &form);
    match parts.next() {
        None => Ok(SharedObject { spec: ObjectSpec { name: name.to_owned(), form, quota }, rights }),
        Some(part) if rights_of(&form, part).is_some() => Err(ParseShareError::TwoRights { words: words(&form) }),
        Some(part) => Err(ParseShareError::Part { kind: kind.to_owned(), part: part.to_owned() }),
    }
}

/// Returns the number behind the type (and the length) of a value or an array, as JSON: somebody means it to begin so, as in
/// Python's `Value('q', 5)`.
fn first_number(kind: &str, parts: &Parts<'_>) -> Option<String> {
    let before = match kind {
        "value" => 1,
        "array" => 2,
        _ => return None,
    };
    let mut rest = parts.rest.iter().skip(parts.at);
    let assigned =
        rest.clone().find_map(|part| part.split_once('=').filter(|(of, _)| type_of(of).is_some() || is_number(of)));
    let first = assigned.map(|(_, first)| first).or_else(|| rest.nth(before).copied())?;
    let first = first.trim_start_matches('[').trim_end_matches(']');
    let is_first = !first.is_empty() && first.split(',').all(|one| is_number(one.trim()));
    is_first.then(|| if kind == "array" { format!("[{first}, …]") } else { first.to_owned() })
}

/// Returns true if a text is a number or a truth value as JSON has it.
fn is_number(text: &str) -> bool {
    matches!(serde_json::from_str(text), Ok(serde_json::Value::Number(_) | serde_json::Value::Bool(_)))
}

/// The parts of a text between its colons, taken one by one.
struct Parts<'a> {
    kind: &'a str,
    rest: Vec<&'a str>,
    at: usize,
}

impl<'a> Parts<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let part = self.rest.get(self.at).copied();
        self.at += usize::from(part.is_some());
        part
    }

    /// Takes the next part if `read` makes something of it.
    fn next_if<T>(&mut self, read: impl FnOnce(&'a str) -> Option<T>) -> Option<T> {
        let read = self.rest.get(self.at).and_then(|part| read(part))?;
        self.at += 1;
        Some(read)
    }

    fn flag(&mut self, word: &str) -> bool {
        self.next_if(|part| (part == word).then_some(())).is_some()
    }

    /// Takes a number up to `most`, which is what the kind needs.
    fn number(&mut self, what: &'static str, most: u32) -> Result<u32, ParseShareError> {
        let kind = || self.kind.to_owned();
        let Some(text) = self.rest.get(self.at) else {
            return Err(ParseShareError::NoNumber { kind: kind(), what });
        };
        let number = text.parse().ok().filter(|number| *number <= most);
        let number =
            number.ok_or_else(|| ParseShareError::Number { kind: kind(), what, text: (*text).to_owned(), most })?;
        self.at += 1;
        Ok(number)
    }
}

/// Checks the name of an object, which is plain text.
pub fn check_name(name: &str) -> Result<(), ParseShareError> {
    match name {
        "" => Err(ParseShareError::NoName),
        _ if name.len() > LONGEST_NAME => Err(ParseShareError::LongName),
        _ if !name.chars().all(is_in_names) => Err(ParseShareError::Name),
        _ => Ok(()),
    }
}

fn form(kind: &str, parts: &mut Parts<'_>) -> Result<ObjectForm, ParseShareError> {
    let number_type = |parts: &mut Parts<'_>| {
        let text = parts.next().ok_or_else(|| ParseShareError::NoType { kind: kind.to_owned() })?;
        type_of(text).ok_or_else(|| ParseShareError::Type(text.to_owned()))
    };
    Ok(match kind {
        "queue" => {
            let is_number = |part: &&str| part.starts_with(|c: char| c.is_ascii_digit());
            let capacity = match parts.rest.get(parts.at).filter(|part| is_number(part)) {
                Some(_) => Some(parts.number("the capacity", u32::MAX)?),
                None => None,
            };
            // As in Python, a queue of size 0 is bounded by nothing but its quota.
            ObjectForm::Queue { capacity: capacity.filter(|&capacity| capacity != 0) }
        }
        "pipe" => ObjectForm::Pipe { duplex: parts.flag("duplex") },
        "value" => ObjectForm::Value(number_type(parts)?),
        "array" => {
            let of = number_type(parts)?;
            ObjectForm::Array(of, parts.number("the length", LONGEST_ARRAY)?)
        }
        "lock" => ObjectForm::Lock,
        "rlock" => ObjectForm::Rlock,
        "semaphore" => {
            let slots = parts.number("the number of slots", u32::MAX)?;
            let bounded = parts.flag("bounded");
            if bounded && slots == 0 {
                return Err(ParseShareError::NoSlots);
            }
            ObjectForm::Semaphore { slots, bounded }
        }
        "event" => ObjectForm::Event,
        "condition" => ObjectForm::Condition,
        "barrier" => match parts.number("the number of parties", u32::MAX)? {
            0 => return Err(ParseShareError::NoParties),
            parties => ObjectForm::Barrier { parties },
        },
        "dict" => ObjectForm::Dict,
        "list" => ObjectForm::List,
        "namespace" => ObjectForm::Namespace,
        _ => return Err(ParseShareError::Kind(kind.to_owned())),
    })
}

fn quota(parts: &mut Parts<'_>, form: &ObjectForm) -> Result<ObjectQuota, ParseShareError> {
    let holds = matches!(
        form,
        ObjectForm::Queue { .. }
            | ObjectForm::Pipe { .. }
            | ObjectForm::Dict
            | ObjectForm::List
            | ObjectForm::Namespace
    );
    let (mut entries, mut bytes) = (None, None);
    while let Some((what, value)) = parts.next_if(|part| part.split_once('=').filter(|_| holds)) {
        let (name, number, before) = match what {
            "entries" => ("entries", value.parse().map_err(|_| ParseShareError::Entries)?, &mut entries),
            "bytes" => ("bytes", units::size(value)?, &mut bytes),
            _ => return Err(ParseShareError::Quota(what.to_owned())),
        };
        match before.replace(number) {
            Some(_) => return Err(ParseShareError::QuotaTwice(name)),
            None if number == 0 => return Err(ParseShareError::NoRoom(name)),
            None => {}
        }
    }
    let usual = ObjectQuota::default();
    Ok(ObjectQuota { entries: entries.unwrap_or(usual.entries), bytes: bytes.unwrap_or(usual.bytes) })
}

fn rights(parts: &mut Parts<'_>, form: &ObjectForm) -> ObjectRights {
    let (first, second) = words(form);
    if first.is_empty() {
        return ObjectRights::ALL;
    }
    let right = parts.next_if(|part| match part {
        _ if part == first => Some(ObjectRights { first: true, second: false }),
        // Who may write to an object may read it.
        "rw" if second == "rw" => Some(ObjectRights::ALL),
        _ if part == second => Some(ObjectRights { first: false, second: true }),
        _ => None,
    });
    right.unwrap_or(ObjectRights::ALL)
}

/// Returns the rights that this word stands for, of an object of this form.
pub fn rights_of(form: &ObjectForm, word: &str) -> Option<ObjectRights> {
    let mut parts = Parts { kind: "", rest: vec![word], at: 0 };
    let rights = rights(&mut parts, form);
    parts.next().is_none().then_some(rights)
}

/// Returns the word for these rights to an object of this form; empty if it has none.
pub fn word_of(form: &ObjectForm, rights: ObjectRights) -> &'static str {
    match (rights, words(form)) {
        (ObjectRights { first: true, second: false }, (first, _)) => first,
        (ObjectRights { first: false, second: true }, (_, second)) => second,
        _ => "",
    }
}

/// Returns a shared object that is given as `--share` takes it as a process of a run file has it: its name, and its right.
pub fn in_a_process(text: &str) -> String {
    match shared_object(text) {
        Ok(SharedObject { spec, rights }) => match word_of(&spec.form, rights) {
            "" => spec.name,
            word => format!("{}:{word}", spec.name),
        },
        Err(_) => text.to_owned(),
    }
}

/// Returns the words for the two rights that an object of this form has; empty if it has none.
pub fn words(form: &ObjectForm) -> (&'static str, &'static str) {
    match form {
        ObjectForm::Queue { .. } => ("get", "put"),
        ObjectForm::Pipe { .. } => ("first", "second"),
        ObjectForm::Value(_)
        | ObjectForm::Array(..)
        | ObjectForm::Event
        | ObjectForm::Dict
        | ObjectForm::List
        | ObjectForm::Namespace => ("ro", "rw"),
        ObjectForm::Lock
        | ObjectForm::Rlock
        | ObjectForm::Semaphore { .. }
        | ObjectForm::Condition
        | ObjectForm::Barrier { .. } => ("", ""),
    }
}

/// Returns a kind with its article.
fn a(kind: &str) -> String {
    let article = if matches!(kind, "array" | "event" | "rlock") { "an" } else { "a" };
    format!("{article} {kind}")
}

fn types() -> String {
    TYPES.map(|(name, _)| name).join(", ")
}

/// Returns a question about what is probably meant.
fn meant(meant: Option<&str>) -> String {
    meant.map_or_else(String::new, |meant| format!(" (did you mean {meant}?)"))
}

/// Returns the kind that is probably meant, which Python may call so.
fn kind_meant(name: &str) -> Option<&'static str> {
    Some(match &*name.to_ascii_lowercase() {
        "joinablequeue" | "simplequeue" | "channel" => "queue",
        "manager" | "syncmanager" => "dict, list or namespace",
        "boundedsemaphore" => "semaphore:SLOTS:bounded",
        "rawvalue" => "value",
        "rawarray" | "shared_memory" | "sharedmemory" | "sharedctypes" => "array",
        "mutex" => "lock",
        "map" | "hashmap" => "dict",
        "vec" | "shareablelist" => "list",
        other => return nearest(other, KINDS.into_iter()),
    })
}

/// Returns the type that is probably meant, which other languages may call so.
fn type_meant(name: &str) -> Option<&'static str> {
    Some(match name {
        "i8" | "int8" | "b" => "s8",
        "i16" | "int16" | "h" => "s16",
        "i32" | "int32" | "int" | "i" => "s32",
        "i64" | "int64" | "long" | "l" | "q" => "s64",
        "uint8" | "byte" | "B" => "u8",
        "uint16" | "H" => "u16",
        "uint32" | "uint" | "I" => "u32",
        "uint64" | "ulong" | "L" | "Q" => "u64",
        "float32" | "float" | "f" => "f32",
        "float64" | "double" | "d" => "f64",
        "boolean" => "bool",
        "character" | "c" => "char",
        other => return nearest(&other.to_ascii_lowercase(), TYPES.into_iter().map(|(name, _)| name)),
    })
}

fn syntax(kind: &str) -> &'static str {
    match kind {
        "queue" => "queue[:CAPACITY][:entries=N][:bytes=SIZE][:put|:get]",
        "pipe" => "pipe[:duplex][:entries=N][:bytes=SIZE][:first|:second]",
        "value" => "value:TYPE[:ro]",
        "array" => "array:TYPE:LENGTH[:ro]",
        "semaphore" => "semaphore:SLOTS[:bounded]",
        "event" => "event[:ro]",
        "barrier" => "barrier:PARTIES",
        "dict" => "dict[:entries=N][:bytes=SIZE][:ro]",
        "list" => "list[:entries=N][:bytes=SIZE][:ro]",
        "namespace" => "namespace[:entries=N][:bytes=SIZE][:ro]",
        _ => "lock, rlock and condition take nothing more",
    }
}

const TYPES: [(&str, NumberType); 12] = [
    ("s8", NumberType::S8),
    ("u8", NumberType::U8),
    ("s16", NumberType::S16),
    ("u16", NumberType::U16),
    ("s32", NumberType::S32),
    ("u32", NumberType::U32),
    ("s64", NumberType::S64),
    ("u64", NumberType::U64),
    ("f32", NumberType::F32),
    ("f64", NumberType::F64),
    ("bool", NumberType::Bool),
    ("char", NumberType::Char),
];

fn type_of(name: &str) -> Option<NumberType> {
    TYPES.iter().find(|(known, _)| *known == name).map(|(_, of)| *of)
}

fn type_name(of: NumberType) -> &'static str {
    TYPES.iter().find(|(_, known)| *known == of).map_or("", |(name, _)| name)
}

/// Writes the object as `--share` takes it, with everything that differs from a default.
impl Display for SharedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectSpec { name, form, quota } = &self.spec;
        write!(f, "{name}=")?;
        match form {
            ObjectForm::Queue { capacity: None } => write!(f, "queue"),
            ObjectForm::Queue { capacity: Some(capacity) } => write!(f, "queue:{capacity}"),
            ObjectForm::Pipe { duplex } => write!(f, "pipe{}", if *duplex { ":duplex" } else { "" }),
            ObjectForm::Value(of) => write!(f, "value:{}", type_name(*of)),
            ObjectForm::Array(of, length) => write!(f, "array:{}:{length}", type_name(*of)),
            ObjectForm::Lock => write!(f, "lock"),
            ObjectForm::Rlock => write!(f, "rlock"),
            ObjectForm::Semaphore { slots, bounded } => {
                write!(f, "semaphore:{slots}{}", if *bounded { ":bounded" } else { "" })
            }
            ObjectForm::Event => write!(f, "event"),
            ObjectForm::Condition => write!(f, "condition"),
            ObjectForm::Barrier { parties } => write!(f, "barrier:{parties}"),
            ObjectForm::Dict => write!(f, "dict"),
            ObjectForm::List => write!(f, "list"),
            ObjectForm::Namespace => write!(f, "namespace"),
        }?;
        let default = ObjectQuota::default();
        if quota.entries != default.entries {
            write!(f, ":entries={}", quota.entries)?;
        }
        if quota.bytes != default.bytes {
            write!(f, ":bytes={}", quota.bytes)?;
        }
        match (self.rights, words(form)) {
            (ObjectRights { first: true, second: false }, (first, _)) => write!(f, ":{first}"),
            (ObjectRights { first: false, second: true }, (_, second)) => write!(f, ":{second}"),
            _ => Ok(()),
        }
    }
}

impl Serialize for SharedObject {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_written_as_it_is_read() {
        for text in [
            "jobs=queue",
            "jobs=queue:100",
            "jobs=queue:100:put",
            "jobs=queue:get",
            "jobs=queue:7:entries=9:bytes=1000:get",
            "p=pipe",
            "p=pipe:duplex:second",
            "total=value:s64",
            "total=value:char:ro",
            "hist=array:u64:256",
            "hist=array:f32:0:ro",
            "gate=lock",
            "gate=rlock",
            "s=semaphore:0",
            "s=semaphore:3:bounded",
            "go=event:ro",
            "c=condition",
            "b=barrier:2",
            "seen=dict:bytes=5:ro",
            "l=list",
            "n=namespace",
        ] {
            assert_eq!(shared_object(text).map(|object| object.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn all_types_of_numbers_have_a_name() {
        for (name, of) in TYPES {
            let object = shared_object(&format!("v=value:{name}")).unwrap();
            assert_eq!(object.spec.form, ObjectForm::Value(of));
        }
    }

    #[test]
    fn a_queue_of_size_nothing_is_bounded_by_its_quota_alone() {
        assert_eq!(shared_object("q=queue:0").unwrap().spec.form, ObjectForm::Queue { capacity: None });
    }

    #[test]
    fn an_object_of_a_server_has_the_name_of_both_and_perhaps_a_right() {
        for text in ["jobs@backlog", "jobs@backlog:put", "a.b@c-d_1:ro"] {
            let Ok(SharedOption::Served(served)) = shared_option(text) else { panic!("{text}") };
            assert_eq!(served.to_string(), text);
        }
        assert!(matches!(shared_option("jobs=queue"), Ok(SharedOption::Own(_))));
        for (text, named) in [
            ("jobs@", "NAME@SERVER[:RIGHTS]"),
            ("jobs@a.b", "a-z, A-Z, 0-9, - and _"),
            ("@a", "needs a name"),
            ("jobs@a:write", "`write` is no right: there are put, get"),
        ] {
            let error = shared_option(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn who_may_write_may_read() {
        assert_eq!(shared_object("d=dict:rw").unwrap().rights, ObjectRights::ALL);
    }

    #[test]
    fn an_error_names_the_way_out() {
        for (text, named) in [
            ("jobs", "NAME=KIND"),
            ("=queue", "needs a name"),
            ("a b=queue", "letters, digits"),
            ("jobs=", "there are queue, pipe"),
            ("jobs=stack", "`stack` is no kind of object"),
            ("jobs=queue:-1", "queue[:CAPACITY]"),
            ("jobs=queue:put:get", "one right, `:get` or `:put`, or with neither, which grants both"),
            ("d=dict:ro:rw", "one right, `:ro` or `:rw`"),
            ("jobs=queue:put:bytes=1", "queue[:CAPACITY][:entries=N][:bytes=SIZE][:put|:get]"),
            ("total=value", "value:TYPE"),
            ("total=value:int", "`int` is no type of numbers (did you mean s32?): there are s8"),
            ("total=value:number", "`number` is no type of numbers: there are s8"),
            ("total=value:i32", "(did you mean s32?)"),
            ("total=value:bolean", "(did you mean bool?)"),
            ("total=value:S64", "(did you mean s64?)"),
            ("jobs=que", "`que` is no kind of object (did you mean queue?); there are queue"),
            ("jobs=Queue:5", "(did you mean queue?)"),
            ("jobs=JoinableQueue", "(did you mean queue?)"),
            ("jobs=RLock", "(did you mean rlock?)"),
            ("jobs=BoundedSemaphore:2", "(did you mean semaphore:SLOTS:bounded?)"),
            ("jobs=manager", "(did you mean dict, list or namespace?)"),
            ("jobs=stack", "`stack` is no kind of object; there are"),
            ("total=value:s64:5", "--share-in FILE with {\"total\": 5} in it"),
            ("total=value:s64=-5", "a value begins as 0, unless the file of --share-in says otherwise"),
            ("total=value:bool:true", "{\"total\": true}"),
            ("hist=array:f64:2:[1,2.5]", "{\"hist\": [1,2.5, …]}"),
            ("hist=array:u8:10=7", "{\"hist\": [7, …]}"),
            ("total=value:s64:x", "`x` means nothing for a value"),
            ("a=array", "an array needs the type of its numbers"),
            ("a=array:u8", "an array needs the length: array:TYPE:LENGTH"),
            ("a=array:s64:99999999999", "`99999999999` is not the length of an array: that is a whole number up to"),
            ("jobs=queue:99999999999999999999", "is not the capacity of a queue"),
            ("go=event:x", "means nothing for an event"),
            ("s=semaphore", "a semaphore needs the number of slots"),
            ("s=semaphore:0:bounded", "can never be acquired"),
            ("d=dict:entries=10:entries=12", "entries= is given twice"),
            ("d=dict:entries=0", "entries=0 leaves room for nothing"),
            ("d=dict:bytes=0", "bytes=0 leaves room for nothing"),
            ("a=array:u8:4294967295", "a whole number up to 134217728"),
            ("b=barrier:0", "one party at least"),
            ("s=semaphore", "semaphore:SLOTS"),
            ("gate=lock:ro", "take nothing more"),
            ("q=queue:size=3", "entries=N"),
            ("q=queue:bytes=x", "256MiB"),
        ] {
            let error = shared_object(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
