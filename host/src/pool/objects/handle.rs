//! What all handles have in common: the object, and how it is asked for something.

use std::time::Duration;

use super::manager::{HolderPlace, Manager};
use super::message::Message;
use super::share::Share;
use wasmpool_core::share::ObjectRights;
use wasmpool_ipc::cells::CellError;
use wasmpool_ipc::cells::asked::CellAccess;
use wasmpool_objects::operation::{Acquisition, Operation, Reply};
use wasmpool_run::error::Error;
use wasmpool_run::shared::{HostHolder, ObjectError, ObjectErrorKind};

/// The rights to read, get and hold the first end, or to write, put and hold the second end.
pub const FIRST: ObjectRights = ObjectRights { first: true, second: false };
pub const SECOND: ObjectRights = ObjectRights { first: false, second: true };

/// An object, by its number.
#[derive(Clone)]
pub struct Handle {
    pub manager: Manager,
    pub object: u16,
    pub name: String,
}

/// Returns the value of one form of reply. No other can come; a manager that sends another is broken.
macro_rules! reply {
    ($reply:expr, $form:pat => $value:expr) => {
        match $reply {
            $form => Ok($value),
            other => Err($crate::pool::objects::handle::unexpected(&other)),
        }
    };
}
pub(super) use reply;

#[cold]
pub fn unexpected(reply: &Reply) -> Error {
    Error::Bug(format!("a shared object answered something else: {reply:.200?}"))
}

impl Handle {
    /// Asks the object, and waits for the answer.
    pub fn ask(&self, operation: Operation, timeout: Option<Duration>) -> Result<Reply, Error> {
        self.ask_as(HostHolder::COMMON, operation, timeout)
    }

    pub fn ask_as(&self, holder: HostHolder, operation: Operation, timeout: Option<Duration>) -> Result<Reply, Error> {
        let objects = self.manager.started()?;
        let words = operation.words();
        let answer = objects.host().start_as(holder, self.object, operation, timeout)?.wait()?;
        answer.map_err(|refusal| ObjectError::of_operation(&self.name, refusal, words).into())
    }

    /// Asks for something and waits for no answer.
    pub fn leave(&self, holder: HostHolder, operation: Operation) {
        if let Ok(objects) = self.manager.started() {
            // A manager that is lost has nothing left to be done.
            let _ = objects.host().start_as(holder, self.object, operation, None);
        }
    }

    /// Releases something that this holder has, and waits until it is released. What a holder of its own asks comes to the
    /// manager beside what the others ask, so whoever is told later that it was released might be there first.
    pub fn release_now(&self, holder: HostHolder) {
        if let Ok(objects) = self.manager.started()
            && let Ok(pending) = objects.host().start_as(holder, self.object, Operation::Release, None)
        {
            // A manager that is lost has nothing left to be released.
            let _ = pending.wait();
        }
    }

    pub fn done(&self, operation: Operation, timeout: Option<Duration>) -> Result<(), Error> {
        reply!(self.ask(operation, timeout)?, Reply::Done => ())
    }

    pub fn is(&self, operation: Operation, timeout: Option<Duration>) -> Result<bool, Error> {
        reply!(self.ask(operation, timeout)?, Reply::Bool(is) => is)
    }

    pub fn number(&self, operation: Operation) -> Result<u64, Error> {
        self.number_as(HostHolder::COMMON, operation)
    }

    pub fn number_as(&self, holder: HostHolder, operation: Operation) -> Result<u64, Error> {
        reply!(self.ask_as(holder, operation, None)?, Reply::Number(number) => number)
    }

    /// Acquires a lock or a slot. `None` at the timeout; else who ended while holding it, if its last holder did.
    pub fn acquire(&self, holder: HostHolder, timeout: Option<Duration>) -> Result<Option<Option<String>>, Error> {
        let reply = self.ask_as(holder, Operation::Acquire, timeout)?;
        reply!(reply, Reply::Acquired(acquisition) => match acquisition {
            Acquisition::Acquired => Some(None),
            Acquisition::Abandoned(by) => Some(Some(by)),
            Acquisition::TimedOut => None,
        })
    }

    /// Returns the place of this thread among the holders.
    pub fn place(&self) -> Result<HolderPlace, Error> {
        self.manager.place()
    }

    /// Makes the error for an operation that is refused.
    pub fn refused(&self, kind: impl Into<ObjectErrorKind>) -> Error {
        ObjectError::new(&self.name, kind.into()).into()
    }

    pub fn write<M: Message>(&self, message: &M) -> Result<Vec<u8>, Error> {
        message.to_message().map_err(|kind| self.refused(kind))
    }

    pub fn read<M: Message>(&self, message: Vec<u8>) -> Result<M, Error> {
        M::of_message(message).map_err(|kind| self.refused(kind))
    }

    /// Does something with the memory of a value or an array.
    pub fn cells<T>(&self, act: impl FnOnce(CellAccess<'_>) -> Result<T, CellError>) -> Result<T, Error> {
        let done = self.manager.started()?.host().with_cells(self.object, act);
        let done = done.ok_or_else(|| Error::Bug("a value or an array has no memory".to_owned()))?;
        done.map_err(|e| match e {
            CellError::Index { .. } | CellError::Range { .. } => {
                self.refused(ObjectErrorKind::OutOfRange(e.to_string()))
            }
            CellError::Lost => Error::Shared("the process that keeps the shared objects cannot be reached".to_owned()),
            e => self.refused(ObjectErrorKind::Invalid(e.to_string())),
        })
    }

    pub fn share(&self, rights: ObjectRights) -> Share {
        Share { manager: self.manager.clone(), object: self.object, name: self.name.clone(), rights }
    }
}

/// Implements what all handles have: a name, cloning, and being granted with all rights.
macro_rules! object {
    ($name:ident $(<$of:ident>)?) => {
        impl$(<$of>)? $name$(<$of>)? {
            /// Returns the name by which a task opens the object.
            pub fn name(&self) -> &str {
                &self.handle.name
            }
        }

        impl$(<$of>)? std::fmt::Debug for $name$(<$of>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("name", &self.handle.name).finish_non_exhaustive()
            }
        }

        /// Grants the object with all rights.
        impl$(<$of>)? From<&$name$(<$of>)?> for $crate::pool::objects::Share {
            fn from(object: &$name$(<$of>)?) -> $crate::pool::objects::Share {
                object.handle.share(wasmpool_core::share::ObjectRights::ALL)
            }
        }
    };
}
pub(super) use object;

/// Implements cloning of a handle, whatever the type of what is in the object.
macro_rules! cloned {
    ($name:ident $(<$of:ident>)?) => {
        impl$(<$of>)? Clone for $name$(<$of>)? {
            fn clone(&self) -> Self {
                $name::new(self.handle.clone())
            }
        }
    };
}
pub(super) use cloned;
