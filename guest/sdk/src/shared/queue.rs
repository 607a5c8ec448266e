//! Queues.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::shared::wasmpool::shared::queues;

use super::Error;
use super::json::{self, Place};
use super::timeout::nanoseconds;

/// A queue of messages, first in, first out, from any number of producers to any number of consumers
/// (`--share NAME=queue[:CAPACITY]`).
pub struct Queue {
    queue: queues::Queue,
    name: String,
}

impl Queue {
    /// Opens the queue of this name.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`].
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self { queue: queues::Queue::open(name)?, name: name.to_owned() })
    }

    /// Appends a message. Once this returned, every `get` that starts later sees it.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] if there was no room before the timeout, [`Error::Closed`] once the queue is shut down,
    /// [`Error::Quota`] if the message is longer than the queue may ever hold, [`Error::Denied`] where it was granted `:get`.
    pub fn put(&self, message: impl AsRef<[u8]>, timeout: impl Into<Option<Duration>>) -> Result<(), Error> {
        Ok(self.queue.put(message.as_ref(), nanoseconds(timeout.into()))?)
    }

    /// Appends a message as JSON.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put), and [`Error::Json`].
    pub fn put_json(
        &self,
        message: &(impl Serialize + ?Sized),
        timeout: impl Into<Option<Duration>>,
    ) -> Result<(), Error> {
        self.put(json::encode(Place::Message(&self.name), message)?, timeout)
    }

    /// Removes and returns the first message. It is gone even if the item ends without having used it;
    /// see [`take`](Self::take).
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] if there was nothing before the timeout, [`Error::Closed`] once the queue is shut down and empty,
    /// [`Error::Denied`] where it was granted `:put`.
    pub fn get(&self, timeout: impl Into<Option<Duration>>) -> Result<Vec<u8>, Error> {
        Ok(self.queue.get(nanoseconds(timeout.into()))?)
    }

    /// Removes the first message, and returns it decoded from JSON.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), and [`Error::Json`]: then the message is gone.
    pub fn get_json<T: DeserializeOwned>(&self, timeout: impl Into<Option<Duration>>) -> Result<T, Error> {
        json::decode(Place::Message(&self.name), &self.get(timeout)?)
    }

    /// Removes and returns up to `most` messages, and at least one: as many as are there.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub fn get_many(&self, most: u32, timeout: impl Into<Option<Duration>>) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.queue.get_many(most, nanoseconds(timeout.into()))?)
    }

    /// Takes the first message, to be finished. If the item ends before that, the message is at the front of the queue again.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub fn take(&self, timeout: impl Into<Option<Duration>>) -> Result<Delivery<'_>, Error> {
        let queues::Delivery { id, item, redelivered } = self.queue.take(nanoseconds(timeout.into()))?;
        Ok(Delivery { queue: self, is_finished: false, id, message: item, redelivered })
    }

    /// Returns an iterator that waits for each next message and removes it. It ends when the queue is shut down and empty.
    pub fn messages(&self) -> Messages<'_> {
        Messages(self)
    }

    /// Returns an iterator that waits for each next message and takes it, to be finished. It ends when the queue is shut down and
    /// empty.
    pub fn deliveries(&self) -> Deliveries<'_> {
        Deliveries(self)
    }

    /// Says that a message of [`get`](Self::get) is done, for [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// [`Error::TooMany`] if all are done, [`Error::Denied`] where it was granted `:put`.
    pub fn task_done(&self) -> Result<(), Error> {
        Ok(self.queue.task_done()?)
    }

    /// Waits until every message that was put is done: called so by [`task_done`](Self::task_done), finished, or got by an item
    /// that has ended. Returns false at the timeout. Either right is enough.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn join(&self, timeout: impl Into<Option<Duration>>) -> Result<bool, Error> {
        Ok(self.queue.join(nanoseconds(timeout.into()))?)
    }

    /// Returns the number of messages that wait.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn size(&self) -> Result<u64, Error> {
        Ok(self.queue.size()?)
    }

    /// Returns whether no message waits. It may be out of date at once.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.queue.empty()?)
    }

    /// Returns whether there is no room. It may be out of date at once.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn is_full(&self) -> Result<bool, Error> {
        Ok(self.queue.full()?)
    }

    /// Ends the queue: every `put` is refused as [`Error::Closed`], and every `get` once the queue is empty. Immediately: what waits
    /// in it is thrown away.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] where it was granted `:get`, [`Error::Lost`].
    pub fn shutdown(&self, immediately: bool) -> Result<(), Error> {
        Ok(self.queue.shutdown(immediately)?)
    }
}

/// A message that was taken and is not finished yet.
///
/// One that is dropped unfinished returns to the front of its queue, where the next taker finds it redelivered.
#[must_use = "a delivery that is not finished returns to its queue"]
pub struct Delivery<'a> {
    queue: &'a Queue,
    is_finished: bool,
    id: u64,
    message: Vec<u8>,
    redelivered: bool,
}

impl Delivery<'_> {
    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Returns the message, decoded from JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Json`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        json::decode(Place::Message(&self.queue.name), &self.message)
    }

    /// Returns whether somebody took it before and ended without finishing it.
    #[must_use]
    pub fn is_redelivered(&self) -> bool {
        self.redelivered
    }

    /// Finishes the delivery, and returns the message, which is gone from the queue now and counts as done.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`].
    pub fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.is_finished = true;
        self.queue.queue.finish(self.id)?;
        Ok(std::mem::take(&mut self.message))
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            // If the objects are lost, there is no queue that it could return to.
            let _ = self.queue.queue.give_back(self.id);
        }
    }
}

/// The messages of a queue until it is shut down; see [`Queue::messages`].
pub struct Messages<'a>(&'a Queue);

impl Iterator for Messages<'_> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        until_closed(self.0.get(None))
    }
}

impl<'a> IntoIterator for &'a Queue {
    type Item = Result<Vec<u8>, Error>;
    type IntoIter = Messages<'a>;

    fn into_iter(self) -> Messages<'a> {
        self.messages()
    }
}

/// The messages of a queue until it is shut down, each to be finished; see [`Queue::deliveries`].
pub struct Deliveries<'a>(&'a Queue);

impl<'a> Iterator for Deliveries<'a> {
    type Item = Result<Delivery<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        until_closed(self.0.take(None))
    }
}

/// Makes the end of the queue the end of an iterator.
fn until_closed<T>(result: Result<T, Error>) -> Option<Result<T, Error>> {
    if matches!(result, Err(Error::Closed)) { None } else { Some(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_queue_that_is_shut_down_ends_an_iterator() {
        assert_eq!(until_closed::<()>(Err(Error::Closed)), None);
        assert_eq!(until_closed::<()>(Err(Error::Empty)), Some(Err(Error::Empty)));
        assert_eq!(until_closed(Ok(1)), Some(Ok(1)));
    }
}
