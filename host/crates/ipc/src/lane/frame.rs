//! Format of the bytes in a lane. Both sides are the same binary, so numbers are in the machine's byte order.
//!
//! Host to worker, per chunk: a [`ChunkHeader`], then for each item a header ([`item_header`]) and its bytes. Worker to
//! host, per item and in the order of the items: an [`OutcomeHeader`] and its bytes. An outcome carries no index: a
//! worker can only answer the next item it was given.

use std::time::Duration;

pub use wasmpool_core::item::ItemTag;

pub const CHUNK_HEADER: usize = 16;
pub const ITEM_HEADER: usize = 8;
pub const OUTCOME_HEADER: usize = 16;

/// Range of the items that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Index of the first item.
    pub first: u64,
    pub count: u32,
}

impl ChunkHeader {
    #[inline]
    pub fn to_bytes(self) -> [u8; CHUNK_HEADER] {
        (u128::from(self.first) | u128::from(self.count) << 64).to_ne_bytes()
    }

    #[inline]
    pub fn from_bytes(bytes: [u8; CHUNK_HEADER]) -> ChunkHeader {
        let word = u128::from_ne_bytes(bytes);
        ChunkHeader { first: word as u64, count: (word >> 64) as u32 }
    }
}

#[inline]
pub fn item_header(tag: ItemTag, len: u32) -> [u8; ITEM_HEADER] {
    let tag = match tag {
        ItemTag::Item => 0u64,
        ItemTag::Unreadable => 1,
    };
    (u64::from(len) | tag << 32).to_ne_bytes()
}

#[inline]
pub fn read_item_header(bytes: [u8; ITEM_HEADER]) -> (ItemTag, usize) {
    let word = u64::from_ne_bytes(bytes);
    let tag = if word >> 32 == 0 { ItemTag::Item } else { ItemTag::Unreadable };
    (tag, (word & u64::from(u32::MAX)) as usize)
}

/// Meaning of an outcome's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeTag {
    /// The encoded value.
    Value,
    /// Encoded values of a flattened result, each after its length in four bytes.
    Values,
    /// A [`wasmpool_core::outcome::Failure`] as JSON.
    Failure,
    /// Four bytes of length, facts beside the value as JSON ([`wasmpool_core::outcome::SuccessNotes`]), then the encoded
    /// value.
    ValueAndBeside,
    ValuesAndBeside,
    /// Not an outcome, but the next [`PART`] bytes of the current item's value, which is longer than may be kept in
    /// memory.
    Part,
}

/// Number of bytes in a part. All parts have the same length, so that a worker cannot keep the host busy with tiny
/// ones.
pub const PART: usize = 64 << 10;

const TAGS: [OutcomeTag; 6] = [
    OutcomeTag::Value,
    OutcomeTag::Values,
    OutcomeTag::Failure,
    OutcomeTag::ValueAndBeside,
    OutcomeTag::ValuesAndBeside,
    OutcomeTag::Part,
];

/// Length and kind of an outcome, and how long the item ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeHeader {
    pub tag: OutcomeTag,
    pub len: u32,
    pub elapsed: Duration,
}

impl OutcomeHeader {
    #[inline]
    pub fn to_bytes(self) -> [u8; OUTCOME_HEADER] {
        let tag = TAGS.iter().position(|&t| t == self.tag).unwrap_or(0) as u64;
        let first = u64::from(self.len) | tag << 32;
        let ns = u64::try_from(self.elapsed.as_nanos()).unwrap_or(u64::MAX);
        (u128::from(first) | u128::from(ns) << 64).to_ne_bytes()
    }

    /// Parses a header. Returns `None` for bytes that are not a valid one.
    #[inline]
    pub fn from_bytes(bytes: [u8; OUTCOME_HEADER]) -> Option<OutcomeHeader> {
        let word = u128::from_ne_bytes(bytes);
        let tag = TAGS.get((word >> 32) as u32 as usize).copied()?;
        Some(OutcomeHeader { tag, len: word as u32, elapsed: Duration::from_nanos((word >> 64) as u64) })
    }
}
