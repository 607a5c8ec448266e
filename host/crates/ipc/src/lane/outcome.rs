//! The bytes of an outcome, as the host has copied them out of a lane.

use std::ops::{Deref, Range};

use bytes::Bytes;

use super::left::LeftValue;

/// The bytes of an outcome.
#[derive(Debug)]
pub enum OutcomeBytes<'a> {
    Borrowed(&'a [u8]),
    /// A part of a block, to which many outcomes were copied together. Whoever keeps the block need not copy them again.
    Shared(&'a Bytes, Range<usize>),
    /// Large bytes have memory of their own.
    Owned(Vec<u8>),
    /// A large value that may still be in the lane. It is copied out when somebody looks at it.
    Left(LeftValue),
}

impl OutcomeBytes<'_> {
    pub fn into_owned(self) -> Vec<u8> {
        match self {
            OutcomeBytes::Owned(bytes) => bytes,
            OutcomeBytes::Left(value) => value.into_bytes().into(),
            other => other.to_vec(),
        }
    }
}

impl Deref for OutcomeBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            OutcomeBytes::Borrowed(bytes) => bytes,
            OutcomeBytes::Shared(block, range) => &block[range.clone()],
            OutcomeBytes::Owned(bytes) => bytes,
            OutcomeBytes::Left(value) => value.bytes(),
        }
    }
}

impl Default for OutcomeBytes<'_> {
    fn default() -> Self {
        OutcomeBytes::Borrowed(&[])
    }
}
