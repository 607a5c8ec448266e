//! What objects hold after a run, as JSON: an object with a member for each. It is written in pieces, so that no more of it is
//! in memory at a time than what the objects hold.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::SharedObjects;
use super::filling::LAST_TOKEN;
use super::host::HostObjects;
use super::numbers;
use crate::error::Error;
use wasmpool_core::share::{ObjectForm, ObjectSpec};
use wasmpool_core::text::QuotedName;
use wasmpool_ipc::cells::{CellError, Cells};
use wasmpool_objects::contents::json::write_bytes;
use wasmpool_objects::operation::{Answer, ObjectError, Operation, Reply};

/// Entries that are asked for at once.
const MANY: u32 = 1024;
/// Numbers of an array that are read at once.
const PIECE: u32 = 4096;

/// Why what the objects hold could not be told.
#[derive(Debug, thiserror::Error)]
pub enum TellContentsError {
    #[error(transparent)]
    Objects(#[from] Error),
    #[error("cannot write what the shared objects hold")]
    Output(#[from] io::Error),
}

impl From<serde_json::Error> for TellContentsError {
    fn from(e: serde_json::Error) -> TellContentsError {
        TellContentsError::Output(e.into())
    }
}

impl SharedObjects {
    /// Writes what the objects hold, as JSON, once all that ended workers held is released. Messages that wait in queues are
    /// taken out of them. Locks, conditions, barriers and pipes hold nothing that can be told.
    ///
    /// # Errors
    ///
    /// [`TellContentsError::Objects`] if the manager process is lost, [`TellContentsError::Output`] if writing fails.
    pub fn write_contents(&self, out: &mut dyn Write) -> Result<(), TellContentsError> {
        self.write_members(None, out)
    }

    /// Writes the same for a process that goes on with these objects: also the last token that was told to a holder.
    ///
    /// # Errors
    ///
    /// As [`SharedObjects::write_contents`].
    pub fn write_state(&self, out: &mut dyn Write) -> Result<(), TellContentsError> {
        self.write_members(self.last_token()?, out)
    }

    fn write_members(&self, token: Option<u64>, out: &mut dyn Write) -> Result<(), TellContentsError> {
        let host = self.host();
        host.settle()?;
        let mut objects: Vec<(u16, &ObjectSpec)> = (0..).zip(self.specs()).filter(|(_, spec)| is_told(spec)).collect();
        objects.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        let mut members = JsonParts::begin(out, [b'{', b'}'])?;
        if let Some(token) = token {
            members.key(LAST_TOKEN)?;
            serde_json::to_writer(&mut *members.out, &token)?;
        }
        for (object, spec) in objects {
            members.key(&spec.name)?;
            match host.cells(object) {
                Some(cells) => write_numbers(spec, cells, members.out)?,
                None => write_kept(host, object, &spec.form, members.out)?,
            }
        }
        members.end()?;
        Ok(())
    }
}

fn is_told(spec: &ObjectSpec) -> bool {
    use ObjectForm::*;
    !matches!(spec.form, Pipe { .. } | Lock | Rlock | Condition | Barrier { .. })
}

/// An array or an object of JSON that is being written.
struct JsonParts<'a> {
    out: &'a mut dyn Write,
    end: u8,
    is_empty: bool,
}

impl<'a> JsonParts<'a> {
    fn begin(out: &'a mut dyn Write, [begin, end]: [u8; 2]) -> io::Result<JsonParts<'a>> {
        out.write_all(&[begin])?;
        Ok(JsonParts { out, end, is_empty: true })
    }

    fn separate(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.is_empty, false) {
            true => Ok(()),
            false => self.out.write_all(b","),
        }
    }

    /// Writes an element.
    fn element(&mut self, element: impl Serialize) -> Result<(), TellContentsError> {
        self.separate()?;
        Ok(serde_json::to_writer(&mut *self.out, &element)?)
    }

    /// Writes the key of a member, whose value has to follow.
    fn key(&mut self, key: &str) -> Result<(), TellContentsError> {
        self.element(key)?;
        Ok(self.out.write_all(b":")?)
    }

    fn end(self) -> io::Result<()> {
        self.out.write_all(&[self.end])
    }
}

fn write_numbers(spec: &ObjectSpec, cells: &Cells, out: &mut dyn Write) -> Result<(), TellContentsError> {
    let read = |start, count| cells.read(start, count).map(numbers::write).map_err(|e| untold(spec, &e));
    if !matches!(spec.form, ObjectForm::Array(..)) {
        return Ok(serde_json::to_writer(out, &read(0, 1)?.pop())?);
    }
    let mut elements = JsonParts::begin(out, [b'[', b']'])?;
    let mut start = 0;
    while start < cells.len() {
        let count = PIECE.min(cells.len() - start);
        for number in read(start, count)? {
            elements.element(number)?;
        }
        start += count;
    }
    Ok(elements.end()?)
}

fn write_kept(
    host: HostObjects<'_>,
    object: u16,
    form: &ObjectForm,
    out: &mut dyn Write,
) -> Result<(), TellContentsError> {
    let ask = |operation| host.ask(object, operation, Some(Duration::ZERO));
    match form {
        ObjectForm::Queue { .. } => {
            let mut messages = JsonParts::begin(out, [b'[', b']'])?;
            loop {
                match ask(Operation::Get { most: MANY })? {
                    Ok(Reply::Many(some)) if !some.is_empty() => {
                        some.into_iter().try_for_each(|message| messages.element(write_bytes(message)))?;
                    }
                    Err(ObjectError::Empty | ObjectError::Closed) => return Ok(messages.end()?),
                    other => return Err(unexpected(&other)),
                }
            }
        }
        ObjectForm::List => {
            let mut elements = JsonParts::begin(out, [b'[', b']'])?;
            let mut start = 0;
            loop {
                match ask(Operation::ListRange { start, most: MANY })? {
                    Ok(Reply::Many(some)) if some.is_empty() => return Ok(elements.end()?),
                    Ok(Reply::Many(some)) => {
                        start += some.len() as u64;
                        some.into_iter().try_for_each(|element| elements.element(write_bytes(element)))?;
                    }
                    other => return Err(unexpected(&other)),
                }
            }
        }
        ObjectForm::Dict | ObjectForm::Namespace => {
            let mut members = JsonParts::begin(out, [b'{', b'}'])?;
            let mut after = None;
            loop {
                match ask(Operation::DictPage { after: after.clone(), most: MANY })? {
                    Ok(Reply::Page(page)) if page.is_empty() => return Ok(members.end()?),
                    Ok(Reply::Page(page)) => {
                        after = page.last().map(|(key, _)| key.clone());
                        for (key, value) in page {
                            members.key(&key)?;
                            serde_json::to_writer(&mut *members.out, &write_bytes(value))?;
                        }
                    }
                    other => return Err(unexpected(&other)),
                }
            }
        }
        ObjectForm::Semaphore { .. } => match ask(Operation::Slots)? {
            Ok(Reply::Number(slots)) => Ok(serde_json::to_writer(out, &slots)?),
            other => Err(unexpected(&other)),
        },
        _ => match ask(Operation::IsSet)? {
            Ok(Reply::Bool(is)) => Ok(serde_json::to_writer(out, &is)?),
            other => Err(unexpected(&other)),
        },
    }
}

/// Says what keeps the numbers of an object from being told: a task that took its worker over can write anything there.
fn untold(spec: &ObjectSpec, error: &CellError) -> Error {
    Error::Shared(format!("the shared object {} cannot be told: {error}", QuotedName::of(&spec.name)))
}

fn unexpected(answer: &Answer) -> TellContentsError {
    Error::Bug(format!("the contents of a shared object cannot be told: {answer:.200?}")).into()
}
