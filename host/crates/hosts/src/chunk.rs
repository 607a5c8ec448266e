//! A chunk on its way to a host: a header, and the items as they go into a lane.

use std::ops::Range;

use bytes::Bytes;

use crate::PROTOCOL;
use crate::digest::Digest;
use crate::fields::Fields;
use wasmpool_ipc::batch::Batch;
use wasmpool_ipc::lane::frame::{ITEM_HEADER, read_item_header};

/// What a chunk is known by: whoever has the outcomes of these very items may deliver them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkName {
    /// Index of the first item.
    pub first: u64,
    pub count: u32,
    /// The digest of the items with their headers.
    pub digest: Digest,
}

impl ChunkName {
    /// Returns the indices of its items.
    pub fn items(&self) -> Range<u64> {
        self.first..self.first.saturating_add(self.count.into())
    }

    /// Returns true if the chunk is among this percentage of all chunks, by its hash: another run with the same chunks
    /// chooses the same.
    pub fn is_among(&self, percent: u8) -> bool {
        let mut bytes = self.digest.0.to_vec();
        bytes.extend_from_slice(&self.first.to_le_bytes());
        let [a, b, ..] = Digest::of(&bytes).0;
        percent > 0 && u32::from(u16::from_le_bytes([a, b])) * 100 < u32::from(percent) << 16
    }
}

/// Number of a copy of a chunk: each that is published has another.
pub type CopyNumber = u64;

/// The header of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHead {
    pub name: ChunkName,
    pub copy: CopyNumber,
    /// Number of bytes of the items with their headers.
    pub size: u64,
    /// True if the items do not follow, since they are too long for a message: they are fetched from the coordinator.
    pub away: bool,
}

/// Maximum index of a first item. No input is as long, so that whoever counts on from there need not look for an overflow.
const MOST_FIRST: u64 = u64::MAX / 2;

/// Number of bytes of a chunk's header.
pub const CHUNK_HEAD: usize = 2 + 8 + 8 + 4 + 8 + 16;

impl ChunkHead {
    pub fn to_bytes(self) -> Vec<u8> {
        let ChunkHead { name: ChunkName { first, count, digest }, copy, size, away } = self;
        let mut bytes = Vec::with_capacity(CHUNK_HEAD);
        bytes.extend_from_slice(&[PROTOCOL, u8::from(away)]);
        bytes.extend_from_slice(&copy.to_le_bytes());
        bytes.extend_from_slice(&first.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&digest.0);
        bytes
    }

    /// Parses a message. Returns the header, and the items if they are there; `None` for what no coordinator sends.
    pub fn parse(message: &Bytes) -> Option<(ChunkHead, Bytes)> {
        let mut fields = Fields(message);
        let (protocol, away) = (fields.u8()?, fields.u8()?);
        let copy = fields.u64()?;
        let (first, count, size) = (fields.u64()?, fields.u32()?, fields.u64()?);
        let digest = Digest(fields.bytes()?);
        let head = ChunkHead { name: ChunkName { first, count, digest }, copy, size, away: away == 1 };
        let fits = match head.away {
            true => fields.0.is_empty(),
            false => fields.0.len() as u64 == size,
        };
        let sound = protocol == PROTOCOL && away <= 1 && count > 0 && first <= MOST_FIRST;
        (sound && fits).then(|| (head, message.slice(CHUNK_HEAD..)))
    }

    /// Returns the items, if these bytes are the ones that the header speaks of.
    pub fn items(&self, body: Bytes) -> Option<Batch> {
        if body.len() as u64 != self.size || Digest::of(&body) != self.name.digest {
            return None;
        }
        let sizes = sizes(&body, self.name.count)?;
        Some(Batch { bytes: body.into(), sizes, ..Batch::default() })
    }
}

/// Returns the size of each of `count` items, which are all that these bytes hold.
fn sizes(body: &[u8], count: u32) -> Option<Vec<u32>> {
    let mut fields = Fields(body);
    // Each item has a header, so no number asks for more memory than what came.
    let mut sizes = Vec::with_capacity((count as usize).min(body.len() / ITEM_HEADER));
    while !fields.0.is_empty() {
        let (_, len) = read_item_header(fields.bytes()?);
        fields.slice(len)?;
        sizes.push(u32::try_from(len).ok()?);
    }
    (sizes.len() == count as usize).then_some(sizes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use wasmpool_ipc::lane::frame::ItemTag;

    fn chunk(items: &[Vec<u8>], first: u64, away: bool) -> (ChunkHead, Bytes) {
        let mut batch = Batch::default();
        items.iter().for_each(|item| batch.push(item));
        let body = Bytes::from(batch.bytes);
        let name = ChunkName { first, count: items.len() as u32, digest: Digest::of(&body) };
        (ChunkHead { name, copy: 3, size: body.len() as u64, away }, body)
    }

    proptest! {
        #[test]
        fn a_chunk_arrives_as_it_was_sent(
            items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..9),
            first in 0..u64::MAX / 2,
        ) {
            let (head, body) = chunk(&items, first, false);
            let message = Bytes::from([head.to_bytes(), body.to_vec()].concat());
            let (read, rest) = ChunkHead::parse(&message).unwrap();
            prop_assert_eq!(read, head);
            let batch = read.items(rest).unwrap();
            let back: Vec<_> = batch.iter().map(|(tag, item)| (tag, item.to_vec())).collect();
            let sent: Vec<_> = items.into_iter().map(|item| (ItemTag::Item, item)).collect();
            prop_assert_eq!(back, sent);
            let (away, _) = chunk(&[vec![1]], first, true);
            prop_assert_eq!(ChunkHead::parse(&away.to_bytes().into()), Some((away, Bytes::new())));
        }

        #[test]
        fn a_chunk_that_was_changed_is_none(
            items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..9),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let (head, body) = chunk(&items, 7, false);
            let mut message = [head.to_bytes(), body.to_vec()].concat();
            let at = at.index(message.len());
            message[at] ^= 1 << bit;
            // All but the numbers of the copy and of the first item are bound to the items by digest and size.
            if !(2..18).contains(&at) {
                let read = ChunkHead::parse(&message.into()).and_then(|(head, body)| head.items(body));
                prop_assert!(read.is_none());
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..120), count in any::<u32>()) {
            let _ = ChunkHead::parse(&bytes.clone().into());
            if let Some(sizes) = sizes(&bytes, count) {
                prop_assert_eq!(sizes.len(), count as usize);
            }
        }
    }

    #[test]
    fn no_chunk_is_taken_whose_items_have_numbers_beyond_any_input() {
        for (first, taken) in [(MOST_FIRST, true), (MOST_FIRST + 1, false), (u64::MAX - 1, false), (u64::MAX, false)] {
            let (away, _) = chunk(&[vec![1]], first, true);
            assert_eq!(ChunkHead::parse(&away.to_bytes().into()).is_some(), taken, "{first}");
        }
    }

    #[test]
    fn as_many_chunks_are_chosen_as_were_asked_for() {
        let name = |first| ChunkName { first, count: 1, digest: Digest([7; 16]) };
        let chosen = |percent| (0..10_000).filter(|&first| name(first).is_among(percent)).count();
        assert_eq!((chosen(0), chosen(100)), (0, 10_000));
        assert!((200..400).contains(&chosen(3)), "{}", chosen(3));
        assert!((4_700..5_300).contains(&chosen(50)), "{}", chosen(50));
    }

    #[test]
    fn more_items_than_there_are_ask_for_no_memory() {
        let (mut head, body) = chunk(&[vec![1; 9]], 0, false);
        head.name.count = u32::MAX;
        assert!(head.items(body).is_none());
    }
}
