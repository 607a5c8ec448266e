//! Calls that a task makes often: without a round trip where that can be had, and without copying a message more often than
//! necessary.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, WasmList};

use super::bindings::queues::Queue;
use super::bindings::types::{Error, Host as Types};
use super::refusal::Refusal;
use super::{InstanceObjects, reply};
use wasmpool_core::share::ObjectGrant;
use wasmpool_objects::operation::{OperationWords, Reply};
use wasmpool_objects::usage::Usage;

/// Replaces functions of queues. `linker` has the interface defined already.
pub fn link_queues<T: Send + 'static>(
    linker: &mut Linker<T>,
    objects: fn(&mut T) -> &mut InstanceObjects,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    // The name under which the interface was defined.
    let mut queues = linker.instance("wasmpool:shared/queues@0.1.0")?;
    queues.func_wrap("[method]queue.put", move |mut store: StoreContextMut<'_, T>, params| {
        let (queue, message, timeout): (Resource<Queue>, WasmList<u8>, Option<u64>) = params;
        let put = put(&mut store, objects, queue.rep(), &message, timeout);
        Ok((answer(objects(store.data_mut()), put)?,))
    })
}

fn put<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    objects: fn(&mut T) -> &mut InstanceObjects,
    place: u32,
    message: &WasmList<u8>,
    timeout: Option<u64>,
) -> Result<(), Refusal> {
    let of_instance = objects(store.data_mut());
    of_instance.call(message.len())?;
    of_instance.take_refused();
    let shared = Arc::clone(&of_instance.shared);
    let ObjectGrant { object, spec, .. } = shared.grant(place)?;
    of_instance.within(spec, Usage { entries: 0, bytes: message.len() as u64 })?;
    // The message goes from the guest's memory into the ring of the channel.
    let bytes = message.as_le_slice(&*store);
    let put = shared.ask(false, |objects| objects.put(*object, bytes, timeout.map(Duration::from_nanos)))?;
    match put {
        Ok(put) => reply!(put, Reply::Done => ()),
        Err(error) => Err(objects(store.data_mut()).refuse(&spec.name, error, OperationWords::PLAIN)),
    }
}

fn answer<R>(objects: &mut InstanceObjects, result: Result<R, Refusal>) -> wasmtime::Result<Result<R, Error>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(refusal) => Types::convert_error(objects, refusal).map(Err),
    }
}

impl InstanceObjects {
    /// Gets a message from a queue.
    pub(super) fn get_one(&mut self, place: u32, timeout: Option<u64>) -> Result<Vec<u8>, Refusal> {
        self.call(0)?;
        self.take_refused();
        let ObjectGrant { object, spec, .. } = self.shared.grant(place)?;
        let got = self.shared.ask(true, |objects| objects.get(*object, timeout.map(Duration::from_nanos)))?;
        let message = got.map_err(|error| self.refuse(&spec.name, error, OperationWords::PLAIN))?;
        self.returns(message.len())?;
        Ok(message)
    }

    /// Gets up to `most` messages from a queue.
    pub(super) fn get_several(&mut self, place: u32, most: u32, timeout: Option<u64>) -> Result<Vec<Vec<u8>>, Refusal> {
        self.call(0)?;
        self.take_refused();
        let ObjectGrant { object, spec, .. } = self.shared.grant(place)?;
        let got =
            self.shared.ask(true, |objects| objects.get_many(*object, most, timeout.map(Duration::from_nanos)))?;
        let got = got.map_err(|error| self.refuse(&spec.name, error, OperationWords::PLAIN))?;
        let messages = reply!(got, Reply::Many(messages) => messages)?;
        self.returns(messages.iter().map(Vec::len).sum())?;
        Ok(messages)
    }
}
