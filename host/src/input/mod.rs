//! Input, cut into items: lazily, a block at a time, and never more than was asked for.

mod csv;
mod fan;
mod files;
mod lines;
mod source;

use std::io;
use std::ops::Range;

pub use csv::CsvItems;
pub use fan::Fan;
pub use files::FileItems;
pub use lines::LineItems;
pub use source::{Inputs, feed};

use crate::lane::frame::{ITEM_HEADER, ItemTag, item_header};

/// Items in the form in which they go into a lane: each behind its header.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub bytes: Vec<u8>,
    /// Size of each item, without its header.
    pub sizes: Vec<u32>,
}

const TOO_LONG: &str = "the item is longer than 4 GiB";
/// Most bytes that are foreseen for items that have not come.
const ROOM: usize = 128 << 10;
/// Longest reason why an item could not be read.
const REASON: usize = 4096;

impl Batch {
    /// Appends an item.
    pub fn push(&mut self, item: &[u8]) {
        self.append(ItemTag::Item, item);
    }

    /// Appends an item that stands behind room for its header: moved, not copied, where it is the first.
    pub fn push_behind_room(&mut self, mut item: Vec<u8>) {
        let bytes = item.len().saturating_sub(ITEM_HEADER);
        match (u32::try_from(bytes), item.first_chunk_mut()) {
            (Ok(len), Some(header)) if self.is_empty() => {
                *header = item_header(ItemTag::Item, len);
                self.bytes = item;
                self.sizes.push(len);
            }
            _ => self.push(item.get(ITEM_HEADER..).unwrap_or_default()),
        }
    }

    /// Appends an item that `write` appends to what is there; what it says instead becomes a failure of kind
    /// `invalid-input`.
    pub fn push_written(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), String>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ITEM_HEADER]);
        let written = write(&mut self.bytes);
        let len = u32::try_from(self.bytes.len().saturating_sub(start + ITEM_HEADER));
        match (written, len) {
            (Ok(()), Ok(len)) => {
                if let Some(header) = self.bytes.get_mut(start..).and_then(|item| item.first_chunk_mut()) {
                    *header = item_header(ItemTag::Item, len);
                }
                self.sizes.push(len);
            }
            (written, _) => {
                self.bytes.truncate(start);
                self.push_unreadable(&written.err().unwrap_or_else(|| TOO_LONG.to_owned()));
            }
        }
    }

    /// Appends an item that could not be read: it becomes a failure of kind `invalid-input` with this reason.
    pub fn push_unreadable(&mut self, reason: &str) {
        self.append(ItemTag::Unreadable, reason.as_bytes().get(..REASON).unwrap_or(reason.as_bytes()));
    }

    fn append(&mut self, tag: ItemTag, bytes: &[u8]) {
        let Ok(len) = u32::try_from(bytes.len()) else {
            return self.push_unreadable(TOO_LONG);
        };
        self.bytes.reserve(ITEM_HEADER + bytes.len());
        self.bytes.extend_from_slice(&item_header(tag, len));
        self.bytes.extend_from_slice(bytes);
        self.sizes.push(len);
    }

    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Takes what is there, and makes room for as much again: small items would else be moved each time there is no more.
    pub fn take(&mut self) -> Batch {
        let bytes = (self.bytes.len() + self.bytes.len() / 8).min(ROOM);
        let room = Batch { bytes: Vec::with_capacity(bytes), sizes: Vec::with_capacity(self.sizes.len()) };
        std::mem::replace(self, room)
    }
}

/// Bytes of items of these sizes, each behind its header.
pub fn with_headers(sizes: &[u32]) -> usize {
    sizes.iter().map(|&size| size as usize + ITEM_HEADER).sum()
}

/// Some items of a batch.
#[derive(Debug)]
pub struct Part<'a> {
    pub bytes: &'a [u8],
    pub sizes: &'a [u32],
}

impl Batch {
    /// The items with these numbers in the batch.
    pub fn part(&self, items: Range<usize>) -> Part<'_> {
        let sizes = self.sizes.get(items.clone()).unwrap_or_default();
        let start = with_headers(self.sizes.get(..items.start).unwrap_or_default());
        Part { bytes: self.bytes.get(start..start + with_headers(sizes)).unwrap_or_default(), sizes }
    }

    /// Appends items of another batch.
    pub fn append_part(&mut self, part: &Part<'_>) {
        self.bytes.extend_from_slice(part.bytes);
        self.sizes.extend_from_slice(part.sizes);
    }
}

/// Something that yields items.
pub trait Items: Send {
    /// Appends the next items to `batch`: those that one read brings, or none. `false` when there are no more.
    fn next(&mut self, batch: &mut Batch) -> io::Result<bool>;

    /// Reads until there is an item. Says how the input ended, if it did: then the batch is the last, and may be empty.
    fn next_batch(&mut self) -> (Batch, Option<Result<(), String>>) {
        let mut batch = Batch::default();
        let end = loop {
            match self.next(&mut batch) {
                Ok(true) if batch.is_empty() => {}
                Ok(true) => break None,
                Ok(false) => break Some(Ok(())),
                Err(e) => break Some(Err(e.to_string())),
            }
        };
        (batch, end)
    }
}
