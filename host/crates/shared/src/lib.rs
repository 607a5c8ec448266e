//! The guest's side of shared objects: the interfaces of `wit/shared.wit`, each a thin layer over what the manager process
//! is asked ([`objects`]) or over shared memory ([`numbers`], and [`cells`] without handles).
//!
//! A worker has one [`SharedObjects`], and each instance its [`InstanceObjects`]. A handle of the guest is the place of
//! the object among the grants, so opening one costs no memory here; only ends of pipes have something of their own.
//!
//! What an item holds (locks, slots, deliveries, ends of pipes) is released at its end, however it ends, also if its
//! instance lives on (`--isolate worker`). Handles belong to the instance and stay as long as it does; that of a pipe end
//! is `closed` after its item. What `init` holds is held by the item that the instance was made for.

mod bindings;
mod cells;
mod collections;
mod direct;
mod numbers;
mod objects;
mod pipes;
mod queues;
mod refusal;
mod remote;
mod stream;
mod sync;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};

pub use bindings::types::Error as ObjectRefusal;
use bindings::types::{Error, Host as Types};
use bindings::{self_, types};
pub use objects::{Lost, Objects};
use refusal::{LONGEST_NAME, wrong_kind};
pub use refusal::{MissedObject, ObjectKind, Refusal, RefusedCall};
pub use remote::RemoteObjects;
pub use stream::{StreamEnd, StreamFault};
use wasmpool_core::share::{NumberType, ObjectForm, ObjectGrant, ObjectQuota, ObjectSpec, SharedGrants};
use wasmpool_core::text::{QuotedName, head};
use wasmpool_ipc::cells::asked::{self, AskForNumbers, CellAccess, CellAnswer, CellRequest};
use wasmpool_ipc::cells::{CellError, Cells};
use wasmpool_objects::operation::{
    Acquisition, Answer, ObjectError, Operation, OperationWords, PipeEnd, Reply, Request,
};
use wasmpool_objects::usage::Usage;

/// The shared objects that were granted to a worker.
#[derive(Default)]
pub struct SharedObjects {
    grants: SharedGrants,
    /// Values and arrays, at the places of their grants.
    cells: Vec<Option<Numbers>>,
    kept: Mutex<Kept>,
}

/// The numbers of a value or an array.
enum Numbers {
    Mapped(Cells),
    /// They are on another machine.
    Asked {
        of: NumberType,
        len: u32,
    },
}

/// The way to the numbers of an object on another machine.
struct AskedNumbers<'a> {
    shared: &'a SharedObjects,
    place: u32,
}

impl AskForNumbers for AskedNumbers<'_> {
    fn ask(&self, request: CellRequest) -> CellAnswer {
        let Some(grant) = self.shared.grants.objects.get(self.place as usize) else { return Err(CellError::Lost) };
        let operation = Operation::Numbers(request.to_bytes());
        let request = Request { object: grant.object, operation, timeout: None };
        match self.shared.ask(false, |objects| objects.ask(request)) {
            Ok(Ok(Reply::Bytes(answer))) => asked::answer_of_bytes(&answer).unwrap_or(Err(CellError::Lost)),
            _ => Err(CellError::Lost),
        }
    }
}

/// The way to the objects that the manager keeps, and what the item does with them.
#[derive(Default)]
struct Kept {
    objects: Option<Box<dyn Objects>>,
    /// True if the item may hold something.
    touched: bool,
    lost: bool,
    /// Number of the item.
    item: u64,
    /// Its index, if others are told of it and the objects do not know it yet.
    index: Option<u64>,
    /// Ends of pipes that the item has opened, with the number of handles of each.
    ends: BTreeMap<(u32, PipeEnd), u32>,
}

impl SharedObjects {
    /// Takes the objects in `grants`. `cells` has the memory of those that are mapped, in their order, and `objects` is
    /// the way to the others.
    pub fn new(grants: SharedGrants, cells: Vec<Cells>, objects: Option<Box<dyn Objects>>) -> SharedObjects {
        let mut cells = cells.into_iter();
        let of_each = grants.objects.iter().map(|grant| match (&grant.spec.form, grants.remote) {
            (ObjectForm::Value(of), true) => Some(Numbers::Asked { of: *of, len: 1 }),
            (ObjectForm::Array(of, len), true) => Some(Numbers::Asked { of: *of, len: *len }),
            (form, _) => form.is_mapped().then(|| cells.next().map(Numbers::Mapped)).flatten(),
        });
        SharedObjects { cells: of_each.collect(), grants, kept: Mutex::new(Kept { objects, ..Kept::default() }) }
    }

    fn grant(&self, place: u32) -> wasmtime::Result<&ObjectGrant> {
        let grant = self.grants.objects.get(place as usize);
        grant.ok_or_else(|| wasmtime::Error::msg("the task has a handle of an object that it was never granted"))
    }

    /// Does something with the numbers of an object. Returns `None` if there are none at this place.
    #[inline]
    fn with_cells<R>(&self, place: u32, act: impl FnOnce(CellAccess<'_>) -> R) -> Option<R> {
        Some(match self.cells.get(place as usize)?.as_ref()? {
            Numbers::Mapped(cells) => act(CellAccess::Mapped(cells)),
            Numbers::Asked { of, len } => {
                act(CellAccess::Asked { of: *of, len: *len, by: &AskedNumbers { shared: self, place } })
            }
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for something, as the item, which may hold something afterwards if `touches`.
    fn ask<T>(&self, touches: bool, ask: impl FnOnce(&mut dyn Objects) -> Result<T, Lost>) -> Result<T, Refusal> {
        let mut kept = self.kept();
        kept.touched |= touches;
        if touches && let Some(index) = kept.index.take() {
            kept.ask(|objects| objects.item_began(index))?;
        }
        kept.ask(ask)
    }

    /// Returns true if somebody was told that the process that keeps the objects is gone.
    pub fn are_lost(&self) -> bool {
        self.kept().lost
    }

    /// Takes note of the item that begins, by its index in the run.
    pub fn item_begins(&self, index: u64) {
        if self.grants.names_items && self.grants.has_channel() {
            self.kept().index = Some(index);
        }
    }

    /// Releases all that the item held, which has ended. Returns false if the process that keeps the objects is gone, and
    /// the item was, or would have been, told so.
    pub fn item_ended(&self, failed: bool) -> bool {
        if self.grants.objects.is_empty() {
            return true;
        }
        let mut kept = self.kept();
        if std::mem::take(&mut kept.touched) {
            kept.item += 1;
            kept.ends.clear();
            // An error is noted.
            let _ = kept.ask(|objects| objects.item_ended(failed));
        }
        !kept.lost
    }
}

impl Kept {
    fn ask<T>(&mut self, ask: impl FnOnce(&mut dyn Objects) -> Result<T, Lost>) -> Result<T, Refusal> {
        let asked = match &mut self.objects {
            Some(objects) if !self.lost => ask(objects.as_mut()),
            _ => Err(Lost),
        };
        asked.map_err(|Lost| {
            self.lost = true;
            Error::Lost.into()
        })
    }
}

/// What calls cost an item whose instructions are counted.
pub trait Cost: Send {
    /// Counts a call that passes this many bytes.
    fn call(&self, bytes: usize) -> wasmtime::Result<()>;
    /// Counts bytes that a call returns.
    fn bytes(&self, bytes: usize) -> wasmtime::Result<()>;
}

/// What an instance does with shared objects.
#[derive(Default)]
pub struct InstanceObjects {
    shared: Arc<SharedObjects>,
    /// Absent if nothing is counted.
    cost: Option<Box<dyn Cost>>,
    missed: Vec<MissedObject>,
    /// The last call that was refused, unless one that was not followed it. Releases do not count, and those of numbers
    /// count only if they are refused.
    refused: Cell<Option<Box<RefusedCall>>>,
    /// Number of handles that the guest has, and how many it had at most at a time.
    handles: u32,
    most_handles: u32,
    ends: pipes::EndHandles,
}

/// Maximum number of handles that an instance has at a time. The runtime keeps some bytes for each.
const MOST_HANDLES: u32 = 1 << 16;
/// Maximum number of missed objects that are reported for an instance.
const MOST_MISSED: usize = 16;

impl InstanceObjects {
    pub fn new(shared: Arc<SharedObjects>, cost: Option<Box<dyn Cost>>) -> InstanceObjects {
        InstanceObjects { shared, cost, ..InstanceObjects::default() }
    }

    /// Returns the objects that it asked for and that were not granted, since they were last taken.
    pub fn take_missed(&mut self) -> Vec<MissedObject> {
        std::mem::take(&mut self.missed)
    }

    /// Returns the call that was refused last, if there is one and it is not known yet.
    pub fn take_refused(&mut self) -> Option<Box<RefusedCall>> {
        self.refused.take()
    }

    pub fn has_no_handle(&self) -> bool {
        self.handles == 0
    }

    /// Returns the number of handles that the guest had at most at a time.
    pub fn most_handles(&self) -> u32 {
        self.most_handles
    }

    /// Counts a call that passes this many bytes.
    fn call(&self, bytes: usize) -> wasmtime::Result<()> {
        self.cost.as_ref().map_or(Ok(()), |cost| cost.call(bytes))
    }

    /// Counts bytes that a call returns.
    fn returns(&self, bytes: usize) -> wasmtime::Result<()> {
        self.cost.as_ref().map_or(Ok(()), |cost| cost.bytes(bytes))
    }

    /// Finds an object by its name, and counts the handle that the guest gets. Returns its place.
    pub fn open(&mut self, name: &str, kind: ObjectKind) -> Result<u32, Refusal> {
        self.call(name.len())?;
        let place = self.find(name, kind)?;
        self.add_handle()?;
        Ok(place)
    }

    fn find(&mut self, name: &str, kind: ObjectKind) -> Result<u32, Refusal> {
        let objects = &self.shared.grants.objects;
        let Some(place) = objects.iter().position(|grant| grant.spec.name == name) else {
            let missed = MissedObject::new(name, kind);
            let told = missed.told(objects.iter().map(|grant| &*grant.spec.name));
            self.note_refusal(missed.name(), &told);
            if self.missed.len() < MOST_MISSED && !self.missed.contains(&missed) {
                self.missed.push(missed);
            }
            return Err(Error::NotGranted(told).into());
        };
        match ObjectKind::of(&objects[place].spec.form) {
            is if is == kind => Ok(place as u32),
            is => Err(self.refuse_kind(name, wrong_kind(name, is, kind))),
        }
    }

    fn add_handle(&mut self) -> Result<(), Refusal> {
        if self.handles == MOST_HANDLES {
            return Err(Error::Quota(format!("a task may have {MOST_HANDLES} handles of objects at a time")).into());
        }
        self.handles += 1;
        self.most_handles = self.most_handles.max(self.handles);
        Ok(())
    }

    pub fn drop_handle(&mut self) -> wasmtime::Result<()> {
        self.call(0)?;
        self.handles = self.handles.saturating_sub(1);
        Ok(())
    }

    /// Asks the manager for something.
    pub fn ask(&mut self, place: u32, operation: Operation, timeout: Option<u64>) -> Result<Reply, Refusal> {
        let passed = passed(&operation);
        self.call(passed.entries.saturating_add(passed.bytes) as usize)?;
        let ObjectGrant { object, spec, .. } = self.shared.grant(place)?;
        // It could never fit, so nothing of it is copied.
        self.within(spec, passed)?;
        operation.check(&spec.quota).map_err(|error| self.refuse(&spec.name, error, operation.words()))?;
        let touches = touches(&operation);
        // What a guard does when it is dropped follows the call that was refused.
        if !matches!(operation, Operation::Release | Operation::CloseEnd(_) | Operation::GiveBack(_)) {
            self.refused.set(None);
        }
        let words = operation.words();
        let request = Request { object: *object, operation, timeout: timeout.map(Duration::from_nanos) };
        let answer: Answer = self.shared.ask(touches, |objects| objects.ask(request))?;
        let reply = answer.map_err(|error| self.refuse(&spec.name, error, words))?;
        if let Reply::Acquired(Acquisition::TimedOut) = reply {
            self.note_refusal(&spec.name, words.timeout());
        }
        if self.cost.is_some() {
            self.returns(reply.bytes())?;
        }
        Ok(reply)
    }

    /// Notes an error of an object, and returns it as the guest gets it.
    #[cold]
    fn refuse(&self, name: &str, error: ObjectError, words: OperationWords) -> Refusal {
        let why = words.of(&error).map_or_else(|| error.to_string(), str::to_owned);
        let refusal = refused(name, error);
        match &refusal {
            Refusal::Told(Error::Denied(told)) => self.note_refusal(name, told),
            _ => self.note_refusal(name, &why),
        }
        refusal
    }

    /// Notes that an object is of another kind or type than it was opened as.
    #[cold]
    fn refuse_kind(&self, name: &str, error: Error) -> Refusal {
        if let Error::WrongKind(told) = &error {
            self.note_refusal(head(name, LONGEST_NAME), told);
        }
        error.into()
    }

    fn note_refusal(&self, name: &str, why: &str) {
        self.refused.set(Some(Box::new(RefusedCall::new(name, why))));
    }

    /// Refuses a request that is longer than all that the object may hold.
    fn within(&self, spec: &ObjectSpec, Usage { entries: count, bytes }: Usage) -> Result<(), Refusal> {
        let ObjectQuota { entries: most_entries, bytes: most_bytes } = spec.quota;
        let why = if bytes > most_bytes {
            format!("it may hold {most_bytes} bytes (`:bytes={most_bytes}`), and this has {bytes}")
        } else if count > most_entries {
            format!("it may hold {most_entries} entries (`:entries={most_entries}`), and these are {count}")
        } else {
            return Ok(());
        };
        self.note_refusal(&spec.name, &why);
        Err(refused(&spec.name, ObjectError::Quota(why)))
    }
}

/// Returns an error of the manager as the guest gets it.
fn refused(name: &str, error: ObjectError) -> Refusal {
    match error {
        ObjectError::Denied(right) => Error::Denied(match &*right {
            "first" | "second" => {
                format!("{} was granted without its {right} end (`:{right}`), {WAY_OUT}", QuotedName::of(name))
            }
            "write" => without_writing(name),
            _ => format!("{} was granted without the right to {right} (`:{right}`), {WAY_OUT}", QuotedName::of(name)),
        })
        .into(),
        ObjectError::Quota(why) => Error::Quota(format!("{}: {why}", QuotedName::of(name))).into(),
        other => other.into(),
    }
}

/// Returns what a guest is told that writes to an object of which it was granted the reading.
fn without_writing(name: &str) -> String {
    format!("{} was granted without the right to write (`:rw`), {WAY_OUT}", QuotedName::of(name))
}

/// What gives a task a right that it lacks.
const WAY_OUT: &str = "which it has where neither right is named";

/// Returns the error of an answer that has another form than the operation's.
#[cold]
fn unexpected(reply: &Reply) -> Refusal {
    wasmtime::Error::msg(format!("the process that keeps the shared objects answered {reply:?}")).into()
}

/// Takes a reply apart that can have one form only.
macro_rules! reply {
    ($reply:expr, $form:pat => $value:expr) => {
        match $reply {
            $form => Ok($value),
            other => Err($crate::unexpected(&other)),
        }
    };
}
use reply;

/// Returns true if an item may hold something after this operation, so that its end has to be told.
fn touches(operation: &Operation) -> bool {
    use Operation::*;
    !matches!(
        operation,
        Put(_)
            | Size
            | IsEmpty
            | IsFull
            | IsLocked
            | Slots
            | Token
            | Numbers(_)
            | IsSet
            | Set
            | Clear
            | Length
            | Empty
            | DictGet(_)
            | DictSet(..)
            | DictSetMany(_)
            | DictCompareAndSet { .. }
            | DictPop(_)
            | DictContains(_)
            | DictIncrement(..)
            | DictPage { .. }
            | DictKeys { .. }
            | ListGet(_)
            | ListSet(..)
            | ListCompareAndSet { .. }
            | ListExtend(_)
            | ListInsert(..)
            | ListPop(_)
            | ListRange { .. }
    )
}

/// Returns what an operation passes, for what it costs and against the quota. Each end that is asked about counts as a byte.
fn passed(operation: &Operation) -> Usage {
    match operation {
        Operation::PollAny(ends) => Usage { entries: 0, bytes: ends.len() as u64 },
        _ => operation.passes(),
    }
}

impl Types for InstanceObjects {
    fn convert_error(&mut self, refusal: Refusal) -> wasmtime::Result<Error> {
        match refusal {
            Refusal::Told(error) => Ok(error),
            Refusal::Ends(error) => Err(error),
        }
    }
}

impl self_::Host for InstanceObjects {
    fn name(&mut self) -> wasmtime::Result<Option<String>> {
        self.call(0)?;
        Ok(self.shared.grants.name.clone())
    }
}

/// Returns true if this is an interface of shared objects, in a version that is provided.
pub fn provides(interface: &str) -> bool {
    let Some((name, version)) = interface.strip_prefix("wasmpool:shared/").and_then(|name| name.split_once('@')) else {
        return false;
    };
    version.starts_with("0.1.")
        && ["types", "self", "queues", "pipes", "numbers", "cells", "sync", "collections"].contains(&name)
}

/// Defines an interface of shared objects that a component imports.
pub fn link<T: Send + 'static>(
    linker: &mut Linker<T>,
    interface: &str,
    objects: fn(&mut T) -> &mut InstanceObjects,
) -> wasmtime::Result<()> {
    type Has = HasSelf<InstanceObjects>;
    let name = interface.split('@').next().unwrap_or_default();
    match name.strip_prefix("wasmpool:shared/").unwrap_or_default() {
        "types" => types::add_to_linker::<T, Has>(linker, objects),
        "self" => self_::add_to_linker::<T, Has>(linker, objects),
        "queues" => bindings::queues::add_to_linker::<T, Has>(linker, objects)
            .and_then(|()| direct::link_queues(linker, objects)),
        "pipes" => bindings::pipes::add_to_linker::<T, Has>(linker, objects),
        "numbers" => bindings::numbers::add_to_linker::<T, Has>(linker, objects),
        "cells" => bindings::cells::add_to_linker::<T, Has>(linker, objects),
        "sync" => bindings::sync::add_to_linker::<T, Has>(linker, objects),
        "collections" => bindings::collections::add_to_linker::<T, Has>(linker, objects),
        _ => Ok(()),
    }
}

/// Implements the dropping of a handle that has nothing of its own.
macro_rules! plain_drop {
    ($resource:ty) => {
        fn drop(&mut self, _: wasmtime::component::Resource<$resource>) -> wasmtime::Result<()> {
            self.drop_handle()
        }
    };
}
use plain_drop;
