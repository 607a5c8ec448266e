//! A message between the ends of a tunnel, as bytes.

use std::borrow::Cow;

use bytes::Bytes;

/// What all messages are: something about one participant, or about all of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Which process sends it.
    pub life: u64,
    pub participant: u32,
    /// Number of the first part that was not confirmed, as far as the sender knows.
    pub base: u64,
    /// Number of the first part that has not arrived at the sender.
    pub confirmed: u64,
    /// Number of the first part that the other end may not send yet.
    pub limit: u64,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// No more than what all packets say.
    Nothing,
    /// The end is there, and knows these participants. The far end answers with the same, and no participant.
    Beat(Vec<u32>),
    /// The other end is to say how far it is.
    Ask,
    /// The participant has no part in the objects any more. The text says why, if it did not end by itself.
    Gone(String),
    /// The far end has ended, and the objects with it: no participant has a part in them any more.
    Over,
    Part {
        number: u64,
        kind: PartKind,
        bytes: Bytes,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// A part of a frame, of which more follow.
    More,
    /// The last part of a frame, or all of it.
    Last,
    /// The participant is being ended: it is to be given nothing more.
    Ending,
    /// The participant has ended. Nothing follows.
    End,
}

const NOTHING: u8 = 0;
const BEAT: u8 = 1;
const ASK: u8 = 2;
const GONE: u8 = 3;
const OVER: u8 = 4;
const KINDS: [(u8, PartKind); 4] =
    [(16, PartKind::More), (17, PartKind::Last), (18, PartKind::Ending), (19, PartKind::End)];

/// Number of bytes before those of a part.
pub const HEAD: usize = 1 + 8 + 4 + 4 * 8;
/// Maximum number of participants that a beat names.
pub const MOST_KNOWN: usize = 1024;
/// Maximum bytes of the reason for which a participant is gone.
const LONGEST_REASON: usize = 1000;

impl Packet {
    /// Returns the packet as a head and the bytes that follow it.
    pub fn to_parts(&self) -> ([u8; HEAD], Cow<'_, [u8]>) {
        let none = || Cow::Borrowed([].as_slice());
        let (tag, number, bytes) = match &self.content {
            Content::Nothing => (NOTHING, 0, none()),
            Content::Beat(known) => (BEAT, 0, known.iter().flat_map(|number| number.to_le_bytes()).collect()),
            Content::Ask => (ASK, 0, none()),
            Content::Gone(why) => (GONE, 0, wasmpool_core::text::head(why, LONGEST_REASON).as_bytes().into()),
            Content::Over => (OVER, 0, none()),
            Content::Part { number, kind, bytes } => {
                let tag = KINDS.iter().find(|(_, of)| of == kind).map_or(NOTHING, |(tag, _)| *tag);
                (tag, *number, bytes.as_ref().into())
            }
        };
        let mut head = [0; HEAD];
        let mut rest = head.as_mut_slice();
        let mut write = |bytes: &[u8]| {
            if let Some((to, after)) = std::mem::take(&mut rest).split_at_mut_checked(bytes.len()) {
                to.copy_from_slice(bytes);
                rest = after;
            }
        };
        write(&[tag]);
        write(&self.life.to_le_bytes());
        write(&self.participant.to_le_bytes());
        [self.base, self.confirmed, self.limit, number].iter().for_each(|number| write(&number.to_le_bytes()));
        (head, bytes)
    }

    /// Reads a packet; `None` for what is none.
    pub fn parse(bytes: &Bytes) -> Option<Packet> {
        let mut rest = bytes.as_ref();
        let [tag] = take(&mut rest)?;
        let life = u64::from_le_bytes(take(&mut rest)?);
        let participant = u32::from_le_bytes(take(&mut rest)?);
        let mut number = || take(&mut rest).map(u64::from_le_bytes);
        let (base, confirmed, limit, number) = (number()?, number()?, number()?, number()?);
        let kind = KINDS.iter().find(|(of, _)| *of == tag).map(|(_, kind)| *kind);
        let content = match (tag, kind) {
            (NOTHING, _) => Content::Nothing,
            (BEAT, _) if rest.len() <= MOST_KNOWN * 4 => {
                let (numbers, _) = rest.as_chunks();
                Content::Beat(numbers.iter().map(|number| u32::from_le_bytes(*number)).collect())
            }
            (ASK, _) => Content::Ask,
            (GONE, _) if rest.len() <= LONGEST_REASON => Content::Gone(String::from_utf8_lossy(rest).into_owned()),
            (OVER, _) => Content::Over,
            (_, Some(kind)) => Content::Part { number, kind, bytes: bytes.slice_ref(rest) },
            _ => return None,
        };
        Some(Packet { life, participant, base, confirmed, limit, content })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_packet_arrives_as_it_was_sent(
            numbers in any::<[u64; 5]>(),
            participant in any::<u32>(),
            known in proptest::collection::vec(any::<u32>(), 0..9),
            kind in 0..9_usize,
            bytes in proptest::collection::vec(any::<u8>(), 0..99),
        ) {
            let [life, base, confirmed, limit, number] = numbers;
            let part = |kind| Content::Part { number, kind, bytes: bytes.clone().into() };
            let content = match kind {
                0 => Content::Nothing,
                1 => Content::Beat(known),
                2 => Content::Ask,
                3 => Content::Gone("too many".to_owned()),
                4 => part(PartKind::More),
                5 => part(PartKind::Last),
                6 => part(PartKind::Ending),
                7 => Content::Over,
                _ => part(PartKind::End),
            };
            let packet = Packet { life, participant, base, confirmed, limit, content };
            let (head, rest) = packet.to_parts();
            prop_assert_eq!(Packet::parse(&[&head, rest.as_ref()].concat().into()), Some(packet));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            let _ = Packet::parse(&bytes.into());
        }
    }
}
