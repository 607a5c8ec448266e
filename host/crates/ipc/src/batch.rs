//! Items that have been read, in the form in which they are written to a lane.

mod places;

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
pub use places::{ItemPlace, ItemPlaces};

use crate::copy::append;
use crate::lane::frame::{ITEM_HEADER, ItemTag, item_header, read_item_header};
use wasmpool_core::chain::with_sources;
use wasmpool_core::failed::{self, RawText};
use wasmpool_core::text::cut;

/// Items in the form in which they are written to a lane: each after its header.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub bytes: Vec<u8>,
    /// Contents of the last item, if they are kept in memory of their own, because the item is large and was not
    /// copied.
    pub last: Bytes,
    /// Size of each item without its header.
    pub sizes: Vec<u32>,
    /// Where the items came from, as far as that is known.
    pub places: ItemPlaces,
}

const TOO_LONG: &str = "the item is longer than 4 GiB";
/// Maximum number of bytes to reserve for items that have not come yet.
const ROOM: usize = 128 << 10;
/// Maximum number of characters of the reason why an item could not be read.
const REASON: usize = 4096;

impl Batch {
    /// Appends an item.
    #[inline]
    pub fn push(&mut self, item: &[u8]) {
        self.append(ItemTag::Item, item);
    }

    /// Appends an item without copying it. Appending another one copies it after all, so this is for an item that fills
    /// a batch.
    pub fn push_whole(&mut self, item: Bytes) {
        let Ok(len) = u32::try_from(item.len()) else {
            return self.push_unreadable(TOO_LONG, &RawText::Nothing);
        };
        self.copy_last();
        if self.is_empty() {
            // Memory reserved for other items would be kept as long as this item.
            self.bytes = Vec::new();
        }
        self.bytes.extend_from_slice(&item_header(ItemTag::Item, len));
        self.sizes.push(len);
        self.last = item;
    }

    /// Notes that the next item stands on this line of an input, and those behind it on the lines that follow.
    pub fn at_line(&mut self, input: &Arc<str>, line: u64) {
        self.places.line(self.sizes.len(), input, line);
    }

    /// Notes where the next item comes from, and which index it had in an earlier run.
    pub fn at(&mut self, source: &str, index: Option<u64>) {
        self.places.named(self.sizes.len(), source, index);
    }

    /// Copies the last item to where the others are, so that more can follow.
    fn copy_last(&mut self) {
        if !self.last.is_empty() {
            self.bytes.extend_from_slice(&std::mem::take(&mut self.last));
        }
    }

    /// Appends an item that `write` appends to the given bytes. If it returns an error instead, the item becomes a
    /// failure of kind `invalid-input`.
    pub fn push_written<E: Error + 'static>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) {
        self.copy_last();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ITEM_HEADER]);
        let mut unfinished = UnfinishedItem { bytes: &mut self.bytes, start };
        let written = write(unfinished.bytes);
        unfinished.start = usize::MAX;
        drop(unfinished);
        let len = u32::try_from(self.bytes.len() - (start + ITEM_HEADER));
        match (written, len) {
            (Ok(()), Ok(len)) => {
                self.bytes[start..start + ITEM_HEADER].copy_from_slice(&item_header(ItemTag::Item, len));
                self.sizes.push(len);
            }
            (written, _) => {
                self.bytes.truncate(start);
                self.push_unreadable(
                    &written.err().map_or_else(|| TOO_LONG.to_owned(), |e| with_sources(&e)),
                    &RawText::Nothing,
                );
            }
        }
    }

    /// Appends an item that could not be read: it becomes a failure of kind `invalid-input` with this reason. Its
    /// original text is kept for the line of a failed item.
    pub fn push_unreadable(&mut self, reason: &str, raw: &RawText<'_>) {
        let mut item = Vec::new();
        failed::unreadable(&cut(reason, REASON), raw, &mut item);
        self.append(ItemTag::Unreadable, &item);
    }

    fn append(&mut self, tag: ItemTag, bytes: &[u8]) {
        let Ok(len) = u32::try_from(bytes.len()) else {
            return self.push_unreadable(TOO_LONG, &RawText::Nothing);
        };
        self.copy_last();
        self.bytes.reserve(ITEM_HEADER + bytes.len());
        self.bytes.extend_from_slice(&item_header(tag, len));
        append(bytes, &mut self.bytes);
        self.sizes.push(len);
    }

    /// Drops all items but the first `count`.
    pub fn truncate(&mut self, count: usize) {
        if count < self.sizes.len() {
            self.sizes.truncate(count);
            self.last = Bytes::new();
            self.bytes.truncate(with_headers(&self.sizes));
        }
    }

    /// Returns the first item, and whether it could be read.
    pub fn first(&self) -> Option<(ItemTag, &[u8])> {
        let len = *self.sizes.first()? as usize;
        let (tag, _) = read_item_header(self.bytes.get(..ITEM_HEADER)?.try_into().ok()?);
        let inside = self.bytes.get(ITEM_HEADER..ITEM_HEADER + len);
        Some((tag, inside.unwrap_or(&self.last)))
    }

    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Returns the number of bytes of all items with their headers.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.last.len()
    }

    /// Takes the items out, and reserves memory for as many again. Without that, small items would be moved each time
    /// the memory has to grow.
    pub fn take(&mut self) -> Batch {
        let bytes = (self.bytes.len() + self.bytes.len() / 8).min(ROOM);
        let (bytes, sizes) = (Vec::with_capacity(bytes), Vec::with_capacity(self.sizes.len()));
        std::mem::replace(self, Batch { bytes, sizes, ..Batch::default() })
    }
}

/// An item that foreign code is writing. If that code panics, what it wrote is cut off, because bytes that are not an
/// item would be taken for the next one.
struct UnfinishedItem<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
}

impl Drop for UnfinishedItem<'_> {
    fn drop(&mut self) {
        self.bytes.truncate(self.start);
    }
}

/// Returns the number of bytes of items of these sizes, each with its header.
pub fn with_headers(sizes: &[u32]) -> usize {
    sizes.iter().map(|&size| size as usize + ITEM_HEADER).sum()
}

/// Consecutive items of a batch.
#[derive(Debug)]
pub struct BatchPart<'a> {
    pub bytes: &'a [u8],
    /// Contents of the last item, as in [`Batch::last`].
    pub last: Bytes,
    pub sizes: &'a [u32],
    /// The places of the batch's items, and which of these the part has.
    places: (&'a ItemPlaces, Range<usize>),
}

impl Batch {
    /// Returns the items of the batch with these numbers.
    pub fn part(&self, items: Range<usize>) -> BatchPart<'_> {
        let sizes = &self.sizes[items.clone()];
        let start = with_headers(&self.sizes[..items.start]);
        let end = (start + with_headers(sizes)).min(self.bytes.len());
        let last = if !sizes.is_empty() && items.end == self.sizes.len() { self.last.clone() } else { Bytes::new() };
        // A part without items has no bytes, even at the end of a batch whose last item is kept elsewhere.
        let bytes = if sizes.is_empty() { &[][..] } else { &self.bytes[start..end] };
        BatchPart { bytes, last, sizes, places: (&self.places, items) }
    }

    /// Appends items of another batch.
    pub fn append_part(&mut self, part: BatchPart<'_>) {
        if part.sizes.is_empty() {
            return;
        }
        self.copy_last();
        let (places, items) = part.places;
        self.places.append(self.sizes.len(), places, items);
        self.bytes.extend_from_slice(part.bytes);
        self.sizes.extend_from_slice(part.sizes);
        self.last = part.last;
    }

    /// Returns the items, in order.
    pub fn iter(&self) -> impl Iterator<Item = (ItemTag, &[u8])> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (header, behind) = rest.split_first_chunk::<ITEM_HEADER>()?;
            let (tag, len) = read_item_header(*header);
            let (item, others) = behind.split_at_checked(len).unwrap_or_else(|| {
                assert!(behind.is_empty() && self.last.len() == len, "only the last item has memory of its own");
                (&self.last, &[])
            });
            rest = others;
            Some((tag, item))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_item_whose_writing_panics_leaves_nothing() {
        let mut batch = Batch::default();
        batch.push(b"one");
        let write = |bytes: &mut Vec<u8>| -> Result<(), std::io::Error> {
            bytes.extend_from_slice(b"half of an item");
            panic!("in the middle");
        };
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| batch.push_written(write)));
        assert!(panicked.is_err());
        batch.push(b"two");
        assert_eq!(batch.iter().collect::<Vec<_>>(), [(ItemTag::Item, &b"one"[..]), (ItemTag::Item, b"two")]);
    }

    proptest! {
        #[test]
        fn a_batch_and_all_parts_of_it_hold_the_items_whether_copied_or_not(
            items in proptest::collection::vec((any::<bool>(), any::<bool>(), "[a-z]{0,9}"), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut batch = Batch::default();
            let mut expected = Vec::new();
            for (whole, readable, item) in &items {
                match (readable, whole) {
                    (true, true) => batch.push_whole(Bytes::copy_from_slice(item.as_bytes())),
                    (true, false) => batch.push(item.as_bytes()),
                    (false, _) => batch.push_unreadable(item, &RawText::Path(item.as_bytes())),
                }
                let mut unread = Vec::new();
                failed::unreadable(item, &RawText::Path(item.as_bytes()), &mut unread);
                expected.push(match readable {
                    true => (ItemTag::Item, item.as_bytes().to_vec()),
                    false => (ItemTag::Unreadable, unread),
                });
            }
            let expected: Vec<(ItemTag, &[u8])> = expected.iter().map(|(tag, item)| (*tag, &**item)).collect();
            prop_assert_eq!(batch.iter().collect::<Vec<_>>(), &expected[..]);
            prop_assert_eq!(batch.size(), with_headers(&batch.sizes));
            let cut = cut.index(items.len() + 1);
            let mut parts = Batch::default();
            parts.append_part(batch.part(0..cut));
            prop_assert_eq!(parts.iter().collect::<Vec<_>>(), &expected[..cut]);
            parts.append_part(batch.part(cut..items.len()));
            parts.append_part(batch.part(cut..cut));
            prop_assert_eq!(parts.iter().collect::<Vec<_>>(), &expected[..]);
            prop_assert_eq!(parts.size(), batch.size());
        }
    }
}
