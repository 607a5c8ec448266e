//! The bytes of items that are being run, and of outcomes that are not yet printed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::rendered::{RenderMark, RenderedOutcomes};
use wasmpool_ipc::batch::{Batch, ItemPlace, with_headers};
use wasmpool_ipc::lane::frame::{ITEM_HEADER, ItemTag, read_item_header};

/// The invariant that every chunk which the scheduler names is known here.
const KNOWN: &str = "the scheduler speaks of chunks that were sent, and not yet emitted as a whole";

/// An item whose outcome is known; its bytes are looked up on demand.
#[derive(Debug)]
pub struct AnsweredItem<'a> {
    pieces: &'a [BatchSlice],
    cursor: &'a mut ChunkCursor,
    /// Its index in the chunk.
    nth: usize,
}

impl AnsweredItem<'_> {
    pub fn bytes(&mut self) -> (ItemTag, &[u8]) {
        self.cursor.find(self.pieces, self.nth)
    }

    /// Returns where it came from, if that is known.
    pub fn place(&mut self) -> Option<ItemPlace<'_>> {
        self.cursor.find(self.pieces, self.nth);
        let piece = &self.pieces[self.cursor.piece];
        piece.batch.places.of(piece.first + self.cursor.item)
    }
}

/// The place in a chunk where the last item was found: the next is likely to follow it.
#[derive(Debug, Default)]
struct ChunkCursor {
    piece: usize,
    /// Number of items in the pieces before.
    before: usize,
    /// Number of items, and of bytes, of this piece before that item.
    item: usize,
    offset: usize,
}

impl ChunkCursor {
    fn find<'a>(&mut self, pieces: &'a [BatchSlice], nth: usize) -> (ItemTag, &'a [u8]) {
        if nth < self.before + self.item {
            *self = ChunkCursor::default();
        }
        while nth >= self.before + pieces[self.piece].len() {
            let before = self.before + pieces[self.piece].len();
            *self = ChunkCursor { piece: self.piece + 1, before, item: 0, offset: 0 };
        }
        let piece = &pieces[self.piece];
        while self.before + self.item < nth {
            self.offset += piece.batch.sizes[piece.first + self.item] as usize + ITEM_HEADER;
            self.item += 1;
        }
        let header = piece.rest(self.offset).first_chunk().expect("an item stands behind its header");
        let (tag, len) = read_item_header(*header);
        (tag, &piece.rest(self.offset + ITEM_HEADER)[..len])
    }
}

/// A part of a batch, as it goes into a lane.
#[derive(Clone, Debug)]
pub struct BatchSlice {
    pub batch: Arc<Batch>,
    pub start: usize,
    pub end: usize,
    /// The items of the piece, as indices into the batch's sizes.
    first: usize,
    last: usize,
}

impl BatchSlice {
    fn whole(batch: Batch) -> BatchSlice {
        let (end, last) = (batch.size(), batch.sizes.len());
        BatchSlice { batch: Arc::new(batch), start: 0, end, first: 0, last }
    }

    /// Returns the contiguous bytes from `from` on: up to the end, or up to where its last item has memory of its own.
    pub fn rest(&self, from: usize) -> &[u8] {
        let (bytes, last) = (&self.batch.bytes, &self.batch.last);
        let (from, end) = (self.start + from, self.end.min(bytes.len()));
        if from < bytes.len() { &bytes[from..end] } else { &last[from - bytes.len()..] }
    }

    /// Returns all its bytes, in contiguous parts.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut done = 0;
        std::iter::from_fn(move || {
            let rest = Some(self.rest(done)).filter(|_| done < self.size())?;
            done += rest.len();
            Some(rest)
        })
    }

    /// Returns the number of bytes of the piece.
    pub fn size(&self) -> usize {
        self.end - self.start
    }

    /// Cuts the piece in front of its `count`th item, and returns the rest.
    fn split(&mut self, count: usize) -> BatchSlice {
        let bytes: usize = self.sizes(count);
        let rest = BatchSlice {
            batch: self.batch.clone(),
            start: self.start + bytes,
            end: self.end,
            first: self.first + count,
            last: self.last,
        };
        self.end = rest.start;
        self.last = rest.first;
        rest
    }

    /// Returns the number of bytes of the first `count` items.
    fn sizes(&self, count: usize) -> usize {
        with_headers(&self.batch.sizes[self.first..self.first + count])
    }

    /// Returns the number of bytes of the longest item.
    pub fn longest(&self) -> usize {
        let sizes = &self.batch.sizes[self.first..self.last];
        sizes.iter().max().map_or(0, |&size| size as usize)
    }

    fn len(&self) -> usize {
        self.last - self.first
    }
}

/// The items of a chunk in the form in which they go into a lane. They are shared with whoever keeps them for other reasons.
#[derive(Clone, Debug, Default)]
pub struct ChunkItems(Vec<BatchSlice>);

impl ChunkItems {
    pub(super) fn new(pieces: Vec<BatchSlice>) -> ChunkItems {
        ChunkItems(pieces)
    }

    /// Returns the number of bytes.
    pub fn size(&self) -> usize {
        self.0.iter().map(BatchSlice::size).sum()
    }

    /// Returns all bytes, in contiguous parts.
    pub fn parts(&self) -> Vec<&[u8]> {
        self.0.iter().flat_map(BatchSlice::parts).collect()
    }

    /// Returns at most so many bytes from a place on.
    pub fn bytes_at(&self, mut offset: usize, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in self.0.iter().flat_map(BatchSlice::parts) {
            let start = offset.min(part.len());
            let end = part.len().min(start.saturating_add(most - bytes.len()));
            bytes.extend_from_slice(&part[start..end]);
            offset -= start;
        }
        bytes
    }
}

#[derive(Debug, Default)]
struct StoredChunk {
    input: Vec<BatchSlice>,
    output: RenderedOutcomes,
    cursor: ChunkCursor,
    /// How much of the output was reported as waiting, and how much there was when that was last looked at.
    told: RenderMark,
    seen: RenderMark,
}

/// All chunks that the scheduler knows, by the index of their first item, and the items that are not yet in one.
#[derive(Debug, Default)]
pub struct StoredChunks {
    pending: VecDeque<BatchSlice>,
    chunks: BTreeMap<u64, StoredChunk>,
}

impl StoredChunks {
    /// Adds items that were read.
    pub fn add(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.pending.push_back(BatchSlice::whole(batch));
        }
    }

    pub fn drop_pending(&mut self) {
        self.pending.clear();
    }

    /// Returns the items of a chunk. A new chunk is made of the next `count` items that were read.
    pub fn send(&mut self, chunk: u64, count: u32) -> Vec<BatchSlice> {
        let pending = &mut self.pending;
        let chunk = self.chunks.entry(chunk).or_insert_with(|| {
            let input = take(pending, count as usize);
            StoredChunk { input, ..StoredChunk::default() }
        });
        chunk.input.clone()
    }

    /// Makes the items from index `at` on a chunk of their own.
    pub fn split(&mut self, chunk: u64, at: u64) {
        let whole = self.chunks.get_mut(&chunk).expect(KNOWN);
        let mut pieces = VecDeque::from(std::mem::take(&mut whole.input));
        let front = take(&mut pieces, (at - chunk) as usize);
        whole.input = front;
        if !pieces.is_empty() {
            self.chunks.insert(at, StoredChunk { input: pieces.into(), ..StoredChunk::default() });
        }
    }

    /// Returns the item of this index, which is the next of a chunk to have its outcome, and where that outcome is
    /// appended.
    pub fn settle(&mut self, chunk: u64, index: u64) -> (AnsweredItem<'_>, &mut RenderedOutcomes) {
        let StoredChunk { input, output, cursor, .. } = self.chunks.get_mut(&chunk).expect(KNOWN);
        (AnsweredItem { pieces: input, cursor, nth: (index - chunk) as usize }, output)
    }

    /// Adds items that make a chunk of their own.
    pub fn restore(&mut self, chunk: u64, batch: Batch) {
        self.chunks.insert(chunk, StoredChunk { input: vec![BatchSlice::whole(batch)], ..StoredChunk::default() });
    }

    /// Adds outcomes that are recorded as waiting, as a chunk of their own.
    pub fn restore_output(&mut self, output: RenderedOutcomes) {
        let told = output.mark();
        self.chunks
            .insert(output.items.start, StoredChunk { output, seen: told.clone(), told, ..StoredChunk::default() });
    }

    /// Returns the outcomes that have waited since the previous call, or `all` that wait; each is returned once.
    pub fn waiting(&mut self, all: bool) -> Vec<RenderedOutcomes> {
        let mut waiting = Vec::new();
        for chunk in self.chunks.values_mut() {
            let now = chunk.output.mark();
            let until = if all { now.clone() } else { std::mem::replace(&mut chunk.seen, now) };
            if until.items > chunk.told.items {
                waiting.push(chunk.output.between(&chunk.told, &until));
                chunk.told = until;
            }
        }
        waiting
    }

    /// Gives memory back that was reserved for more outcomes of chunks behind the first, which wait for it.
    pub fn shrink_waiting(&mut self) {
        self.chunks.values_mut().skip(1).for_each(|chunk| chunk.output.shrink());
    }

    /// Takes the outcomes of a chunk, and removes the chunk if it is `done`.
    pub fn take_output(&mut self, chunk: u64, done: bool) -> RenderedOutcomes {
        if done {
            return self.chunks.remove(&chunk).expect(KNOWN).output;
        }
        let chunk = self.chunks.get_mut(&chunk).expect(KNOWN);
        chunk.told = RenderMark::default();
        chunk.seen = RenderMark::default();
        std::mem::take(&mut chunk.output)
    }
}

/// Splits off the next `count` items.
fn take(pieces: &mut VecDeque<BatchSlice>, count: usize) -> Vec<BatchSlice> {
    let mut taken = Vec::new();
    let mut left = count;
    while left > 0 {
        let mut piece = pieces.pop_front().expect("the scheduler gives out no more items than were read");
        if piece.len() > left {
            let rest = piece.split(left);
            pieces.push_front(rest);
        }
        left -= piece.len();
        taken.push(piece);
    }
    taken
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use std::ops::Range;

    use super::*;
    use wasmpool_ipc::lane::frame::item_header;

    /// Returns the bytes that a worker gets for these pieces.
    fn sent(pieces: &[BatchSlice]) -> Vec<u8> {
        pieces.iter().flat_map(BatchSlice::parts).flatten().copied().collect()
    }

    proptest! {
        #[test]
        fn chunks_send_and_show_the_items_of_their_batches(
            batches in proptest::collection::vec((proptest::collection::vec("[a-z]{0,9}", 1..6), "[A-Z]{0,9}"), 1..6),
            sizes in proptest::collection::vec(1..5u32, 40),
            split in any::<prop::sample::Index>(),
        ) {
            let mut chunks = StoredChunks::default();
            let mut items = Vec::new();
            for (copied, whole) in batches {
                let mut batch = Batch::default();
                copied.iter().for_each(|item| batch.push(item.as_bytes()));
                batch.push_whole(Bytes::copy_from_slice(whole.as_bytes()));
                items.extend(copied);
                items.push(whole);
                chunks.add(batch);
            }
            let wire = |range: Range<usize>| -> Vec<u8> {
                let item = |item: &String| [&item_header(ItemTag::Item, item.len() as u32)[..], item.as_bytes()].concat();
                items[range].iter().flat_map(item).collect()
            };
            let mut first = 0;
            for size in sizes {
                let end = (first + size as usize).min(items.len());
                if first == end {
                    break;
                }
                let pieces = chunks.send(first as u64, (end - first) as u32);
                let bytes = wire(first..end);
                prop_assert_eq!(&sent(&pieces), &bytes);
                let all = ChunkItems::new(pieces.clone());
                prop_assert_eq!((all.size(), all.parts().concat()), (bytes.len(), bytes.clone()));
                let (from, to) = (split.index(bytes.len() + 2), split.index(7));
                let wanted = bytes.get(from..).map_or(&[][..], |rest| &rest[..to.min(rest.len())]);
                prop_assert_eq!(all.bytes_at(from, to), wanted);
                let at = first + split.index(end - first);
                if at > first {
                    chunks.split(first as u64, at as u64);
                    prop_assert_eq!(sent(&chunks.send(first as u64, 0)), wire(first..at));
                    prop_assert_eq!(sent(&chunks.send(at as u64, 0)), wire(at..end));
                }
                for (nth, expected) in items.iter().enumerate().take(end).skip(first) {
                    let chunk = if nth < at { first } else { at };
                    let (mut item, _) = chunks.settle(chunk as u64, nth as u64);
                    prop_assert_eq!(item.bytes(), (ItemTag::Item, expected.as_bytes()));
                }
                first = end;
            }
        }
    }
}
