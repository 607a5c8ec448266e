//! Shared objects as the user grants them: what each is, its quotas, and what a task may do with it.

use serde::{Deserialize, Serialize};

/// Number of objects that one run can have.
pub const MOST_OBJECTS: usize = 64;

/// Maximum number of bytes of the name of an object.
pub const LONGEST_NAME: usize = 64;

/// Returns true if a name of an object can have this character.
pub fn is_in_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Returns true if an object can have this name.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_in_names)
}

/// Type of a number in a value or an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NumberType {
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Bool,
    Char,
}

/// What an object is, with the properties that it has from its start on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectForm {
    /// Without a capacity only the quota of bytes bounds it.
    Queue {
        capacity: Option<u32>,
    },
    /// In one direction, the first end receives and the second sends.
    Pipe {
        duplex: bool,
    },
    Value(NumberType),
    Array(NumberType, u32),
    Lock,
    Rlock,
    Semaphore {
        slots: u32,
        bounded: bool,
    },
    Event,
    Condition,
    /// At least one party.
    Barrier {
        parties: u32,
    },
    Dict,
    List,
    Namespace,
}

impl ObjectForm {
    /// Returns true for a number or an array, which participants map into their own memory. All other objects are kept
    /// by the manager process.
    pub fn is_mapped(&self) -> bool {
        matches!(self, ObjectForm::Value(_) | ObjectForm::Array(..))
    }
}

/// Limits of one object, which the user sets and no task can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectQuota {
    /// Messages of a queue or a pipe, entries of a dict, elements of a list. Default 1,048,576.
    pub entries: u64,
    /// Bytes of all of them together, with keys. Default 64 MiB.
    pub bytes: u64,
}

impl Default for ObjectQuota {
    fn default() -> Self {
        ObjectQuota { entries: 1 << 20, bytes: 64 << 20 }
    }
}

impl ObjectQuota {
    /// Bytes that say how long an entry of a request and its key are, at most.
    pub const PER_ENTRY: u64 = 16;

    /// Returns the length in bytes of the longest request to an object with this quota: everything that fits it at once,
    /// with the lengths of its parts. A frame says its length in 32 bits, so it is shorter than 4 GiB whatever the quota.
    pub fn longest_request(&self) -> u64 {
        /// Bytes of a request besides its entries.
        const REQUEST: u64 = 1 << 16;
        /// The answer that tells a message is somewhat longer than the request that brought it.
        const MOST: u64 = u32::MAX as u64 - REQUEST;
        self.bytes.saturating_add(self.entries.saturating_mul(Self::PER_ENTRY)).saturating_add(REQUEST).min(MOST)
    }
}

/// One object of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectSpec {
    pub name: String,
    pub form: ObjectForm,
    pub quota: ObjectQuota,
}

/// What a participant may do with an object.
///
/// Values, arrays, dicts, lists, namespaces and events can be read and written; queues put to and got from; of a pipe
/// an end or both can be held. Locks, semaphores, conditions and barriers have no rights of their own: who reaches one
/// uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectRights {
    /// To read, to get from a queue, to hold the first end of a pipe.
    pub first: bool,
    /// To write, to put to a queue, to hold the second end of a pipe.
    pub second: bool,
}

impl ObjectRights {
    pub const ALL: ObjectRights = ObjectRights { first: true, second: true };

    /// Returns the rights that are in both.
    pub fn and(self, other: ObjectRights) -> ObjectRights {
        ObjectRights { first: self.first && other.first, second: self.second && other.second }
    }
}

/// A grant of one object, as a worker gets it. The objects of a run are numbered in the order in which the user named
/// them, and `object` is that number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectGrant {
    pub object: u16,
    pub spec: ObjectSpec,
    pub rights: ObjectRights,
}

/// The shared objects of one participant.
///
/// If any of them is not mapped, the participant has a channel to the manager process: a memory file and a socket. Those
/// that are mapped have a memory file each, in this order; without the right to write, it can only be read. Of objects on
/// another machine there is the channel alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedGrants {
    /// What the user called the process, if anything.
    pub name: Option<String>,
    /// True if the user knows items by their index, so that others are told by it which item left something behind.
    #[serde(default)]
    pub names_items: bool,
    /// True if the objects are on another machine: none of them is mapped, and everything is asked for.
    #[serde(default)]
    pub remote: bool,
    pub objects: Vec<ObjectGrant>,
}

impl SharedGrants {
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.name.is_none()
    }

    /// Returns true if the participant has a channel to the manager process.
    pub fn has_channel(&self) -> bool {
        self.objects.iter().any(|grant| self.remote || !grant.spec.form.is_mapped())
    }

    /// Returns the objects that have a memory file each, in the order of these.
    pub fn mapped(&self) -> impl Iterator<Item = &ObjectGrant> {
        self.objects.iter().filter(|grant| !self.remote && grant.spec.form.is_mapped())
    }

    /// Returns the number of descriptors that the participant gets for them.
    pub fn descriptors(&self) -> usize {
        self.mapped().count() + if self.has_channel() { 2 } else { 0 }
    }
}
