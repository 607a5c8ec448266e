//! The outcomes of a chunk on their way to the coordinator: a header, and the outcomes as they come out of a lane, each with
//! the number of its worker. What is too long for a message goes in parts, one after the other.

use bytes::Bytes;

use crate::PROTOCOL;
use crate::chunk::{ChunkName, CopyNumber};
use crate::digest::Digest;
use crate::fields::Fields;
use wasmpool_ipc::lane::frame::{OUTCOME_HEADER, OutcomeHeader, OutcomeTag};

/// What the broker needs to know to be told that a copy of a chunk is done with: the numbers in the subject that it gave
/// the host with the copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    pub delivered: u64,
    pub stream_sequence: u64,
    pub consumer_sequence: u64,
    pub time: u64,
    pub pending: u64,
}

impl Receipt {
    /// Parses the reply subject that a copy came with, which is the broker's.
    pub fn of_subject(subject: &str) -> Option<Receipt> {
        let rest = subject.strip_prefix("$JS.ACK.")?;
        // Newer servers put a domain and a hash of the account in front, and a random token behind.
        let tokens: Vec<&str> = rest.split('.').collect();
        let numbers = match tokens.len() {
            7 => &tokens[2..7],
            9.. => &tokens[4..9],
            _ => return None,
        };
        let number = |at: usize| numbers.get(at)?.parse().ok();
        Some(Receipt {
            delivered: number(0)?,
            stream_sequence: number(1)?,
            consumer_sequence: number(2)?,
            time: number(3)?,
            pending: number(4)?,
        })
    }

    /// Returns the subject under which the broker of this stream and consumer is told.
    pub fn subject(&self, stream: &str, consumer: &str) -> String {
        let Receipt { delivered, stream_sequence, consumer_sequence, time, pending } = self;
        format!("$JS.ACK.{stream}.{consumer}.{delivered}.{stream_sequence}.{consumer_sequence}.{time}.{pending}")
    }
}

/// The header of outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomesHead {
    /// Which life of the host sends them.
    pub life: u64,
    pub name: ChunkName,
    /// The copy that the host was given.
    pub copy: CopyNumber,
    pub receipt: Receipt,
    /// Number of this part, from 0.
    pub part: u32,
    /// True if no part follows.
    pub last: bool,
}

/// Number of bytes of the header of outcomes.
pub const OUTCOMES_HEAD: usize = 2 + 8 + 8 + 8 + 4 + 16 + 5 * 8 + 4;

impl OutcomesHead {
    pub fn to_bytes(self) -> Vec<u8> {
        let OutcomesHead { life, name: ChunkName { first, count, digest }, copy, receipt, part, last } = self;
        let mut bytes = Vec::with_capacity(OUTCOMES_HEAD);
        bytes.extend_from_slice(&[PROTOCOL, u8::from(last)]);
        for number in [life, copy, first] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&digest.0);
        let Receipt { delivered, stream_sequence, consumer_sequence, time, pending } = receipt;
        for number in [delivered, stream_sequence, consumer_sequence, time, pending] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&part.to_le_bytes());
        bytes
    }

    /// Parses a message. Returns the header, and the bytes of outcomes; `None` for what no host sends.
    pub fn parse(message: &Bytes) -> Option<(OutcomesHead, Bytes)> {
        let mut fields = Fields(message);
        let (protocol, last) = (fields.u8()?, fields.u8()?);
        let (life, copy, first, count) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u32()?);
        let digest = Digest(fields.bytes()?);
        let receipt = Receipt {
            delivered: fields.u64()?,
            stream_sequence: fields.u64()?,
            consumer_sequence: fields.u64()?,
            time: fields.u64()?,
            pending: fields.u64()?,
        };
        let part = fields.u32()?;
        let name = ChunkName { first, count, digest };
        let head = OutcomesHead { life, name, copy, receipt, part, last: last == 1 };
        (protocol == PROTOCOL && last <= 1).then(|| (head, message.slice(OUTCOMES_HEAD..)))
    }
}

/// Number of bytes in front of the bytes of an outcome.
const BEFORE: usize = 4 + OUTCOME_HEADER;

/// Appends an outcome that a worker delivered; `write` appends its bytes.
pub fn append(worker: u32, header: OutcomeHeader, payload: &[&[u8]], to: &mut Vec<u8>) {
    to.extend_from_slice(&worker.to_le_bytes());
    to.extend_from_slice(&header.to_bytes());
    payload.iter().for_each(|bytes| to.extend_from_slice(bytes));
}

/// An outcome, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentOutcome<'a> {
    /// The number of the worker, on its host.
    pub worker: u32,
    pub header: OutcomeHeader,
    pub payload: &'a [u8],
}

/// Returns the outcomes that these bytes hold, which a [`Gathering`] returned.
pub fn each(bytes: &[u8]) -> impl Iterator<Item = SentOutcome<'_>> {
    let mut fields = Fields(bytes);
    std::iter::from_fn(move || next(&mut fields))
}

fn next<'a>(fields: &mut Fields<'a>) -> Option<SentOutcome<'a>> {
    let worker = fields.u32()?;
    let header = OutcomeHeader::from_bytes(fields.bytes()?)?;
    Some(SentOutcome { worker, header, payload: fields.slice(header.len as usize)? })
}

/// Error: a host sent outcomes that no host sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadOutcomes(&'static str);

/// The outcomes of a chunk, while their parts come. It holds no more than one outcome that is not complete.
#[derive(Debug)]
pub struct Gathering {
    rest: Vec<u8>,
    /// Number of outcomes that have not come yet.
    left: u32,
    /// Maximum bytes of an outcome.
    most: u64,
}

impl Gathering {
    pub fn new(count: u32, most: u64) -> Gathering {
        Gathering { rest: Vec::new(), left: count, most }
    }

    /// Takes the next part, and returns the outcomes that are complete with it.
    ///
    /// # Errors
    ///
    /// [`BadOutcomes`] if there are more or fewer outcomes than items, or one is longer than it may be.
    pub fn take(&mut self, part: Bytes, last: bool) -> Result<Bytes, BadOutcomes> {
        let mut all = match self.rest.is_empty() {
            true => part,
            false => {
                let mut all = std::mem::take(&mut self.rest);
                all.extend_from_slice(&part);
                all.into()
            }
        };
        let mut at = 0;
        while let Some(header) = all.get(at..).and_then(|rest| rest.first_chunk::<BEFORE>()) {
            let header = header.last_chunk().and_then(|header| OutcomeHeader::from_bytes(*header));
            let header = header.ok_or(BadOutcomes("it sent an outcome of no kind"))?;
            if header.tag == OutcomeTag::Part {
                return Err(BadOutcomes("it sent a part of an outcome"));
            }
            if u64::from(header.len) > self.most {
                return Err(BadOutcomes("it sent an outcome that is longer than it may be"));
            }
            let end = at + BEFORE + header.len as usize;
            if end > all.len() {
                break;
            }
            self.left = self.left.checked_sub(1).ok_or(BadOutcomes("it sent more outcomes than there are items"))?;
            at = end;
        }
        let whole = all.split_to(at);
        match last {
            true if self.left > 0 => Err(BadOutcomes("it sent fewer outcomes than there are items")),
            true if !all.is_empty() => Err(BadOutcomes("it sent more than outcomes")),
            _ => {
                self.rest = all.into();
                Ok(whole)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn outcome(payload: &[u8], to: &mut Vec<u8>) {
        let header =
            OutcomeHeader { tag: OutcomeTag::Value, len: payload.len() as u32, elapsed: Duration::from_micros(5) };
        append(7, header, &[payload], to);
    }

    fn head() -> OutcomesHead {
        OutcomesHead {
            life: 1,
            name: ChunkName { first: 2, count: 3, digest: Digest([4; 16]) },
            copy: 5,
            receipt: Receipt { delivered: 1, stream_sequence: 6, consumer_sequence: 7, time: 8, pending: 9 },
            part: 10,
            last: true,
        }
    }

    #[test]
    fn a_header_arrives_as_it_was_sent() {
        let message = Bytes::from([head().to_bytes(), b"abc".to_vec()].concat());
        assert_eq!(OutcomesHead::parse(&message), Some((head(), Bytes::from_static(b"abc"))));
    }

    #[test]
    fn a_receipt_is_found_in_the_subjects_of_older_and_newer_servers() {
        let receipt = head().receipt;
        let subject = receipt.subject("WP-1", "wp");
        assert_eq!(subject, "$JS.ACK.WP-1.wp.1.6.7.8.9");
        assert_eq!(Receipt::of_subject(&subject), Some(receipt));
        assert_eq!(Receipt::of_subject("$JS.ACK._.hash.WP-1.wp.1.6.7.8.9.token"), Some(receipt));
        assert_eq!(Receipt::of_subject("$JS.ACK.WP-1.wp.1.6.7.8"), None);
        assert_eq!(Receipt::of_subject("$JS.ACK.WP-1.wp.1.x.7.8.9"), None);
        assert_eq!(Receipt::of_subject("wp.1.6.7.8.9.a.b"), None);
    }

    #[test]
    fn more_or_fewer_outcomes_than_items_are_refused_and_so_is_one_that_is_too_long() {
        let mut two = Vec::new();
        outcome(b"abc", &mut two);
        outcome(b"", &mut two);
        let take = |count, most, bytes: &[u8]| Gathering::new(count, most).take(Bytes::copy_from_slice(bytes), true);
        assert_eq!(take(2, 3, &two), Ok(two.clone().into()));
        take(1, 3, &two).unwrap_err();
        take(3, 3, &two).unwrap_err();
        take(2, 2, &two).unwrap_err();
        take(2, 3, &two[..two.len() - 1]).unwrap_err();
        take(2, 3, &[&two[..], b"x"].concat()).unwrap_err();
    }

    proptest! {
        #[test]
        fn outcomes_are_gathered_from_whatever_parts_they_come_in(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..9),
            size in 1..200usize,
        ) {
            let mut sent = Vec::new();
            payloads.iter().for_each(|payload| outcome(payload, &mut sent));
            let mut gathering = Gathering::new(payloads.len() as u32, 50);
            let mut back = Vec::new();
            let parts: Vec<&[u8]> = sent.chunks(size).collect();
            for (number, part) in parts.iter().enumerate() {
                let whole = gathering.take(Bytes::copy_from_slice(part), number + 1 == parts.len()).unwrap();
                back.extend(each(&whole).map(|outcome| outcome.payload.to_vec()));
            }
            prop_assert_eq!(back, payloads);
        }

        #[test]
        fn any_bytes_are_read_without_harm(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            count in any::<u32>(),
            last in any::<bool>(),
        ) {
            let _ = OutcomesHead::parse(&bytes.clone().into());
            if let Ok(whole) = Gathering::new(count, 1 << 20).take(bytes.clone().into(), last) {
                prop_assert!(each(&whole).count() <= count as usize);
                prop_assert!(bytes.starts_with(&whole));
            }
        }
    }
}
