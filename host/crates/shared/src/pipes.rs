//! Pipes. Each handle is of an end that the item has opened, which is closed with the last of its handles.

use wasmtime::component::Resource;

use super::bindings::pipes::{End, Host, HostPipeEnd, PipeEnd as Handle};
use super::bindings::types::Error;
use super::refusal::{ObjectKind, Refusal};
use super::{InstanceObjects, reply};
use wasmpool_core::text::QuotedName;
use wasmpool_objects::operation::{Operation, PipeEnd, Reply};

/// What the handles of an instance are of, by their numbers.
#[derive(Default)]
pub struct EndHandles {
    all: Vec<EndHandle>,
    free: Vec<u32>,
}

#[derive(Clone, Copy)]
struct EndHandle {
    place: u32,
    end: PipeEnd,
    /// Number of the item that opened it.
    item: u64,
}

impl EndHandles {
    fn add(&mut self, handle: EndHandle) -> u32 {
        if let Some(number) = self.free.pop() {
            self.all[number as usize] = handle;
            return number;
        }
        self.all.push(handle);
        self.all.len() as u32 - 1
    }

    fn get(&self, number: u32) -> wasmtime::Result<EndHandle> {
        let handle = self.all.get(number as usize).copied();
        handle.ok_or_else(|| wasmtime::Error::msg("the task has a handle of a pipe that it never opened"))
    }
}

impl Host for InstanceObjects {
    fn wait(&mut self, ends: Vec<Resource<Handle>>, timeout: Option<u64>) -> Result<Vec<u32>, Refusal> {
        let handles = ends.iter().map(|end| self.end(end)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = handles.first() else {
            return Err(Error::Invalid("there is no end to wait for".to_owned()).into());
        };
        let number = |handle: &EndHandle| Ok((self.shared.grant(handle.place)?.object, handle.end));
        let polled = handles.iter().map(number).collect::<wasmtime::Result<Vec<_>>>()?;
        reply!(self.ask(first.place, Operation::PollAny(polled), timeout)?, Reply::Places(places) => places)
    }
}

impl HostPipeEnd for InstanceObjects {
    fn open(&mut self, name: String, end: Option<End>) -> Result<Resource<Handle>, Refusal> {
        self.call(name.len())?;
        let place = self.find(&name, ObjectKind::Pipe)?;
        let rights = self.shared.grant(place)?.rights;
        let end = match (end, rights.first, rights.second) {
            (Some(End::First), ..) | (None, true, false) => PipeEnd::First,
            (Some(End::Second), ..) | (None, false, true) => PipeEnd::Second,
            (None, ..) => {
                let why = format!(
                    "both ends of {} were granted; name the one to open, or grant one alone (`:first` or `:second`)",
                    QuotedName::of(&name)
                );
                return Err(Error::Invalid(why).into());
            }
        };
        if !self.shared.kept().ends.contains_key(&(place, end)) {
            reply!(self.ask(place, Operation::OpenEnd(end), None)?, Reply::Done => ())?;
        }
        self.add_handle()?;
        let mut kept = self.shared.kept();
        *kept.ends.entry((place, end)).or_default() += 1;
        let item = kept.item;
        drop(kept);
        Ok(Resource::new_own(self.ends.add(EndHandle { place, end, item })))
    }

    fn send(&mut self, end: Resource<Handle>, message: Vec<u8>, timeout: Option<u64>) -> Result<(), Refusal> {
        let handle = self.end(&end)?;
        reply!(self.ask(handle.place, Operation::Send(handle.end, message), timeout)?, Reply::Done => ())
    }

    fn recv(&mut self, end: Resource<Handle>, timeout: Option<u64>) -> Result<Vec<u8>, Refusal> {
        self.recv(&end, None, timeout)
    }

    fn recv_at_most(&mut self, end: Resource<Handle>, length: u64, timeout: Option<u64>) -> Result<Vec<u8>, Refusal> {
        self.recv(&end, Some(length), timeout)
    }

    fn poll(&mut self, end: Resource<Handle>, timeout: Option<u64>) -> Result<bool, Refusal> {
        let handle = self.end(&end)?;
        reply!(self.ask(handle.place, Operation::Poll(handle.end), timeout)?, Reply::Bool(ready) => ready)
    }

    fn drop(&mut self, end: Resource<Handle>) -> wasmtime::Result<()> {
        self.drop_handle()?;
        let EndHandle { place, end: side, item } = self.ends.get(end.rep())?;
        self.ends.free.push(end.rep());
        let mut kept = self.shared.kept();
        if item == kept.item
            && let Some(count) = kept.ends.get_mut(&(place, side))
        {
            *count -= 1;
            if *count == 0 {
                kept.ends.remove(&(place, side));
                drop(kept);
                // Whatever the answer, the guest has no handle of it any more.
                let _ = self.ask(place, Operation::CloseEnd(side), None);
            }
        }
        Ok(())
    }
}

impl InstanceObjects {
    fn end(&self, handle: &Resource<Handle>) -> Result<EndHandle, Refusal> {
        let handle = self.ends.get(handle.rep())?;
        if handle.item == self.shared.kept().item { Ok(handle) } else { Err(Error::Closed.into()) }
    }

    fn recv(&mut self, end: &Resource<Handle>, at_most: Option<u64>, timeout: Option<u64>) -> Result<Vec<u8>, Refusal> {
        let EndHandle { place, end, .. } = self.end(end)?;
        let received = self.ask(place, Operation::Recv { end, at_most }, timeout)?;
        reply!(received, Reply::Bytes(message) => message)
    }
}
