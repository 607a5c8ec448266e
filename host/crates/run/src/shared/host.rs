//! The host as a participant: it asks the manager like a worker does, from any number of threads. What a thread holds
//! for itself, such as an rlock, needs a holder of its own: another participant of the host's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SharedObjects;
use super::link::Link;
use super::mapped::{MappedObject, shape};
use crate::error::Error;
use wasmpool_core::share::ObjectSpec;
use wasmpool_ipc::cells::asked::{self, AskForNumbers, CellAccess, CellAnswer, CellRequest};
use wasmpool_ipc::cells::{CellError, Cells};
use wasmpool_objects::operation::{Answer, Operation, Reply, Request};

/// What the host does with the shared objects of a run.
#[derive(Clone, Copy, Debug)]
pub struct HostObjects<'a> {
    shared: &'a SharedObjects,
}

/// A place of the host among the participants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostHolder(usize);

impl HostHolder {
    /// The place that all threads of the host have in common.
    pub const COMMON: HostHolder = HostHolder(0);
}

/// A request that is on its way. If it is dropped, it may happen or not.
#[derive(Debug)]
pub struct PendingAnswer {
    link: Arc<Link>,
    ticket: u32,
    /// When the host itself ends the wait, and with what answer.
    own_end: Option<(Instant, Reply)>,
}

/// Time after the end of a wait that the manager has to say so. One that was stopped does not.
const GRACE: Duration = Duration::from_secs(1);

/// Returns when the host ends a wait by its own clock, and with what answer. Only a wait that has no effect can be ended so: a
/// message that is taken, or a lock that is acquired, after nobody waits any more would be lost.
fn own_end(operation: &Operation, timeout: Duration) -> Option<(Instant, Reply)> {
    let answer = match operation {
        Operation::WaitEvent | Operation::JoinQueue | Operation::Poll(_) => Reply::Bool(false),
        Operation::PollAny(_) => Reply::Places(Vec::new()),
        _ => return None,
    };
    Some((Instant::now().checked_add(timeout)?.checked_add(GRACE)?, answer))
}

impl<'a> HostObjects<'a> {
    pub(super) fn new(shared: &'a SharedObjects) -> HostObjects<'a> {
        HostObjects { shared }
    }

    /// Returns the number and the properties of an object.
    pub fn find(&self, name: &str) -> Option<(u16, &'a ObjectSpec)> {
        (0..).zip(&self.shared.specs).find(|(_, spec)| spec.name == name)
    }

    /// Returns the memory of a value or an array, if it is on this machine.
    pub fn cells(&self, object: u16) -> Option<&'a Cells> {
        self.shared.mapped.get(&object).map(MappedObject::cells)
    }

    /// Does something with the numbers of a value or an array, wherever they are. Returns `None` for an object of another
    /// kind.
    pub fn with_cells<T>(&self, object: u16, act: impl FnOnce(CellAccess<'_>) -> T) -> Option<T> {
        if let Some(cells) = self.cells(object) {
            return Some(act(CellAccess::Mapped(cells)));
        }
        let form = &self.shared.specs.get(usize::from(object)).filter(|_| self.shared.is_elsewhere())?.form;
        let (of, len) = form.is_mapped().then(|| shape(form))?;
        let asked = AskedNumbers { host: *self, object };
        Some(act(CellAccess::Asked { of, len, by: &asked }))
    }

    /// Asks for something, and returns at once. Its own timeout runs from its arrival at the manager.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] if the manager process is lost, [`Error::Forked`] in a process that was forked off.
    pub fn start(&self, object: u16, operation: Operation, timeout: Option<Duration>) -> Result<PendingAnswer, Error> {
        self.start_as(HostHolder::COMMON, object, operation, timeout)
    }

    /// Asks for something as this holder, as [`HostObjects::start`] does for the one that all threads have in common.
    pub fn start_as(
        &self,
        holder: HostHolder,
        object: u16,
        operation: Operation,
        timeout: Option<Duration>,
    ) -> Result<PendingAnswer, Error> {
        let link = self.link()?;
        let own_end = timeout.and_then(|timeout| own_end(&operation, timeout));
        let quota = self.shared.specs.get(usize::from(object)).map(|spec| spec.quota).unwrap_or_default();
        let ticket = link.ask(holder.0, Request { object, operation, timeout }, &quota)?;
        Ok(PendingAnswer { link: link.clone(), ticket, own_end })
    }

    fn link(&self) -> Result<&'a Arc<Link>, Error> {
        let manager = self.shared.manager.as_ref();
        Ok(&manager.ok_or_else(|| Error::Bug("an object was asked for that nobody keeps".to_owned()))?.link)
    }

    /// Returns a new holder: what it holds, another does not. It lives as long as the objects.
    ///
    /// # Errors
    ///
    /// As [`HostObjects::start`].
    pub fn new_holder(&self) -> Result<HostHolder, Error> {
        self.link()?.add_holder(&super::grants_of_all(&self.shared.specs)).map(HostHolder)
    }

    /// Asks for something, and waits for the answer.
    ///
    /// # Errors
    ///
    /// As [`HostObjects::start`].
    pub fn ask(&self, object: u16, operation: Operation, timeout: Option<Duration>) -> Result<Answer, Error> {
        self.start(object, operation, timeout)?.wait()
    }

    /// Waits until everything is released that was held by workers which have ended and were detached.
    pub fn settle(&self) -> Result<(), Error> {
        self.shared.manager.as_ref().map_or(Ok(()), |manager| manager.link.settle())
    }
}

/// The numbers of an object on another machine.
struct AskedNumbers<'a> {
    host: HostObjects<'a>,
    object: u16,
}

impl AskForNumbers for AskedNumbers<'_> {
    fn ask(&self, request: CellRequest) -> CellAnswer {
        match self.host.ask(self.object, Operation::Numbers(request.to_bytes()), None) {
            Ok(Ok(Reply::Bytes(answer))) => asked::answer_of_bytes(&answer).unwrap_or(Err(CellError::Lost)),
            _ => Err(CellError::Lost),
        }
    }
}

impl PendingAnswer {
    /// Waits for the answer.
    pub fn wait(self) -> Result<Answer, Error> {
        if let Some((end, answer)) = &self.own_end {
            let left = end.saturating_duration_since(Instant::now());
            return self.link.answer(self.ticket, Some(left)).unwrap_or_else(|| Ok(Ok(answer.clone())));
        }
        self.link.answer(self.ticket, None).unwrap_or_else(|| Err(Error::Bug("a wait without end ended".to_owned())))
    }

    /// Waits for the answer for this long. It can be called again, until it returns an answer.
    pub fn wait_at_most(&self, time: Duration) -> Option<Result<Answer, Error>> {
        self.link.answer(self.ticket, Some(time))
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        self.link.forget(self.ticket);
    }
}
