//! Where shared objects are: behind a trait, so that nothing else here depends on it.

use std::time::Duration;

use wasmpool_objects::operation::{Answer, ObjectError, Operation, Reply, Request};

/// Error: the process that keeps the objects has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// The objects of a run as one participant reaches them. It does one thing at a time, so each call waits for its answer.
pub trait Objects: Send {
    fn ask(&mut self, request: Request) -> Result<Answer, Lost>;

    /// Puts a message into a queue. The same as asking for it, without a round trip where that can be had.
    fn put(&mut self, object: u16, message: &[u8], timeout: Option<Duration>) -> Result<Answer, Lost> {
        self.ask(Request { object, operation: Operation::Put(message.to_vec()), timeout })
    }

    /// Gets a message from a queue. The same as asking for it, without a round trip where that can be had.
    fn get(&mut self, object: u16, timeout: Option<Duration>) -> Result<Result<Vec<u8>, ObjectError>, Lost> {
        let answer = self.ask(Request { object, operation: Operation::Get { most: 1 }, timeout })?;
        Ok(answer.and_then(|reply| match reply {
            Reply::Many(messages) => messages.into_iter().next().ok_or(ObjectError::Empty),
            Reply::Bytes(message) => Ok(message),
            _ => Err(ObjectError::Invalid("the answer to a get is not a message".to_owned())),
        }))
    }

    /// Says that the item with this index has begun, and may hold something from now on.
    fn item_began(&mut self, item: u64) -> Result<(), Lost>;

    /// Gets up to `most` messages from a queue, at least one. The same as asking for them, without a round trip where that
    /// can be had.
    fn get_many(&mut self, object: u16, most: u32, timeout: Option<Duration>) -> Result<Answer, Lost> {
        self.ask(Request { object, operation: Operation::Get { most }, timeout })
    }

    /// Releases all that the item holds, which has ended.
    fn item_ended(&mut self, failed: bool) -> Result<(), Lost>;
}
