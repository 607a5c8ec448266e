//! The host as a participant: it asks the manager like a worker does, from any number of threads.

use std::sync::Arc;
use std::time::Duration;

use super::SharedObjects;
use super::link::Link;
use super::mapped::MappedObject;
use crate::error::Error;
use wasmpool_core::share::ObjectSpec;
use wasmpool_ipc::cells::Cells;
use wasmpool_objects::operation::{Answer, Operation, Request};

/// What the host does with the shared objects of a run.
#[derive(Clone, Copy, Debug)]
pub struct HostObjects<'a> {
    shared: &'a SharedObjects,
}

/// A request that is on its way. If it is dropped, it may happen or not.
#[derive(Debug)]
pub struct PendingAnswer {
    link: Arc<Link>,
    ticket: u32,
}

impl<'a> HostObjects<'a> {
    pub(super) fn new(shared: &'a SharedObjects) -> HostObjects<'a> {
        HostObjects { shared }
    }

    /// Returns the number and the properties of an object.
    pub fn find(&self, name: &str) -> Option<(u16, &'a ObjectSpec)> {
        (0..).zip(&self.shared.specs).find(|(_, spec)| spec.name == name)
    }

    /// Returns the memory of a value or an array.
    pub fn cells(&self, object: u16) -> Option<&'a Cells> {
        self.shared.mapped.get(&object).map(MappedObject::cells)
    }

    /// Asks for something, and returns at once. Its own timeout runs from its arrival at the manager.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] if the manager process is lost, [`Error::Forked`] in a process that was forked off.
    pub fn start(&self, object: u16, operation: Operation, timeout: Option<Duration>) -> Result<PendingAnswer, Error> {
        let manager = self.shared.manager.as_ref();
        let link = &manager.ok_or_else(|| Error::Bug("an object was asked for that nobody keeps".to_owned()))?.link;
        let ticket = link.ask(Request { object, operation, timeout })?;
        Ok(PendingAnswer { link: link.clone(), ticket })
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

impl PendingAnswer {
    /// Waits for the answer.
    pub fn wait(self) -> Result<Answer, Error> {
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
