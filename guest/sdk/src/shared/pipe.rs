//! Pipes.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::shared::wasmpool::shared::pipes;

use super::Error;
use super::json::{self, Place};
use super::timeout::nanoseconds;

/// An end of a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The end that receives, of a pipe in one direction.
    First,
    /// The end that sends, of a pipe in one direction.
    Second,
}

/// An end of a pipe, which one participant holds (`--share NAME=pipe[:duplex]`). It is closed for good when its last
/// handle is dropped, or when the item ends.
pub struct PipeEnd {
    end: pipes::PipeEnd,
    /// Name of the pipe.
    name: String,
}

impl PipeEnd {
    /// Opens an end of the pipe of this name; without `end`, the one that was granted.
    ///
    /// # Errors
    ///
    /// [`Error::NotGranted`], [`Error::WrongKind`], [`Error::Denied`] if the other end was granted; [`Error::NotHolder`] if
    /// another has this end; [`Error::Closed`] if it was closed before.
    pub fn open(name: &str, end: impl Into<Option<End>>) -> Result<Self, Error> {
        let end = end.into().map(|end| match end {
            End::First => pipes::End::First,
            End::Second => pipes::End::Second,
        });
        Ok(Self { end: pipes::PipeEnd::open(name, end)?, name: name.to_owned() })
    }

    /// Sends a message, of any length within the pipe's quota.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] if there was no room before the timeout, [`Error::ClosedByPeer`], [`Error::NotWritable`],
    /// [`Error::Quota`].
    pub fn send(&self, message: impl AsRef<[u8]>, timeout: impl Into<Option<Duration>>) -> Result<(), Error> {
        Ok(self.end.send(message.as_ref(), nanoseconds(timeout.into()))?)
    }

    /// Sends a message as JSON.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send), and [`Error::Json`].
    pub fn send_json(
        &self,
        message: &(impl Serialize + ?Sized),
        timeout: impl Into<Option<Duration>>,
    ) -> Result<(), Error> {
        self.send(json::encode(Place::Message(&self.name), message)?, timeout)
    }

    /// Receives a message.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`], [`Error::Eof`] if the other end is closed and everything was received, [`Error::NotReadable`].
    pub fn recv(&self, timeout: impl Into<Option<Duration>>) -> Result<Vec<u8>, Error> {
        Ok(self.end.recv(nanoseconds(timeout.into()))?)
    }

    /// Receives a message, decoded from JSON.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv), and [`Error::Json`]: then the message is gone.
    pub fn recv_json<T: DeserializeOwned>(&self, timeout: impl Into<Option<Duration>>) -> Result<T, Error> {
        json::decode(Place::Message(&self.name), &self.recv(timeout)?)
    }

    /// Receives a message of at most this many bytes.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv), and [`Error::TooLong`]: then the message stays.
    pub fn recv_at_most(&self, bytes: u64, timeout: impl Into<Option<Duration>>) -> Result<Vec<u8>, Error> {
        Ok(self.end.recv_at_most(bytes, nanoseconds(timeout.into()))?)
    }

    /// Waits until [`recv`](Self::recv) would not wait: a message is there, or the other end is closed. Returns false at the
    /// timeout.
    ///
    /// # Errors
    ///
    /// [`Error::NotReadable`], [`Error::Lost`].
    pub fn poll(&self, timeout: impl Into<Option<Duration>>) -> Result<bool, Error> {
        Ok(self.end.poll(nanoseconds(timeout.into()))?)
    }
}

/// Waits until at least one of these ends can be received from, and returns the indices of those that can: none at the timeout.
///
/// # Errors
///
/// [`Error::NotReadable`], [`Error::Lost`].
pub fn wait(ends: &[&PipeEnd], timeout: impl Into<Option<Duration>>) -> Result<Vec<usize>, Error> {
    let ends: Vec<&pipes::PipeEnd> = ends.iter().map(|end| &end.end).collect();
    let ready = pipes::wait(&ends, nanoseconds(timeout.into()))?;
    Ok(ready.into_iter().map(|index| index as usize).collect())
}
