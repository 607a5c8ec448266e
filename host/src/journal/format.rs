//! The journal's bytes: a mark, then records, each behind its length and a check of all that stands before its end.
//!
//! A record is only ever appended. What is torn, or was not written by us, ends the journal where the last whole record
//! does; that is always a state the run was in.

use std::io::{self, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a journal begins with. The number changes with anything that is in a record.
pub const MARK: &[u8] = b"wasmpool journal 1\n";
const LENGTH: usize = 8;
const CHECK: usize = 16;

/// The check of the last record, which the next one's goes on from: a record that stands elsewhere is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain([u8; CHECK]);

impl Chain {
    pub fn new() -> Chain {
        Chain([0; CHECK])
    }

    fn next(&self, payload: &[u8]) -> Chain {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(payload);
        Chain(hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default())
    }

    /// Appends a record.
    pub fn append(&mut self, record: &impl Serialize, to: &mut Vec<u8>) -> io::Result<()> {
        let payload = postcard::to_allocvec(record).map_err(io::Error::other)?;
        *self = self.next(&payload);
        to.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        to.extend_from_slice(&self.0);
        to.extend_from_slice(&payload);
        Ok(())
    }
}

/// What was found in a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Records, `whole` bytes long together with the mark, and the chain that the next is appended to.
    Whole { whole: u64, chain: Chain },
    /// Nothing, or the beginning of a mark.
    Nothing,
    /// The file of somebody else.
    Foreign,
}

/// Gives each record of a file of `size` bytes to `each`.
pub fn read<T: DeserializeOwned>(mut from: impl Read, size: u64, mut each: impl FnMut(T)) -> io::Result<Found> {
    let mut mark = vec![0; MARK.len().min(size as usize)];
    from.read_exact(&mut mark)?;
    if !MARK.starts_with(&mark) {
        return Ok(Found::Foreign);
    }
    if mark.len() < MARK.len() {
        return Ok(Found::Nothing);
    }
    let mut whole = MARK.len() as u64;
    let mut chain = Chain::new();
    while let Some(left) = (size - whole).checked_sub((LENGTH + CHECK) as u64) {
        let (mut length, mut check) = ([0; LENGTH], [0; CHECK]);
        from.read_exact(&mut length)?;
        from.read_exact(&mut check)?;
        let length = u64::from_le_bytes(length);
        if length > left {
            break;
        }
        let mut payload = vec![0; length as usize];
        from.read_exact(&mut payload)?;
        let next = chain.next(&payload);
        let Some(record) = (next.0 == check).then(|| postcard::from_bytes(&payload).ok()).flatten() else {
            break;
        };
        each(record);
        chain = next;
        whole += (LENGTH + CHECK) as u64 + length;
    }
    Ok(Found::Whole { whole, chain })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Record = (u64, Vec<u8>, Option<String>);

    fn records() -> impl Strategy<Value = Vec<Record>> {
        proptest::collection::vec(any::<Record>(), 0..8)
    }

    /// The bytes of these records, and where each ends.
    fn written(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = MARK.to_vec();
        let mut chain = Chain::new();
        let mut ends = Vec::new();
        for record in records {
            chain.append(record, &mut bytes).expect("it can be written to memory");
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read_back(bytes: &[u8]) -> (Vec<Record>, Found) {
        let mut records = Vec::new();
        let found = read(bytes, bytes.len() as u64, |record| records.push(record)).expect("memory can be read");
        (records, found)
    }

    proptest! {
        #[test]
        fn a_journal_cut_anywhere_holds_the_records_that_are_whole(records in records()) {
            let (bytes, ends) = written(&records);
            for cut in 0..=bytes.len() {
                let (read, found) = read_back(&bytes[..cut]);
                let whole = ends.iter().filter(|end| **end <= cut).count();
                prop_assert_eq!(&read[..], &records[..whole]);
                match found {
                    Found::Nothing => prop_assert!(cut < MARK.len()),
                    Found::Whole { whole: length, .. } => {
                        let end = ends[..whole].last().copied().unwrap_or(MARK.len());
                        prop_assert_eq!(length, end as u64);
                    }
                    Found::Foreign => prop_assert!(false),
                }
            }
        }

        #[test]
        fn a_damaged_byte_ends_the_journal_before_its_record(records in records(), at in any::<usize>(), by in 1u8..) {
            let (mut bytes, ends) = written(&records);
            let at = MARK.len() + at % (bytes.len() - MARK.len()).max(1);
            prop_assume!(at < bytes.len());
            bytes[at] ^= by;
            let before = ends.iter().filter(|end| **end <= at).count();
            let (read, _) = read_back(&bytes);
            prop_assert_eq!(&read[..], &records[..before]);
        }

        #[test]
        fn a_journal_goes_on_where_it_was_whole(records in records(), more in any::<Record>(), cut in any::<usize>()) {
            let (bytes, _) = written(&records);
            let cut = MARK.len() + cut % (bytes.len() - MARK.len() + 1);
            let (mut wanted, found) = read_back(&bytes[..cut]);
            if let Found::Whole { whole, mut chain } = found {
                let mut bytes = bytes[..whole as usize].to_vec();
                chain.append(&more, &mut bytes).expect("it can be written to memory");
                wanted.push(more);
                prop_assert_eq!(read_back(&bytes).0, wanted);
            }
        }

        #[test]
        fn bytes_of_others_are_no_journal(bytes in any::<Vec<u8>>()) {
            prop_assume!(!MARK.starts_with(&bytes) && !bytes.starts_with(MARK));
            prop_assert_eq!(read_back(&bytes).1, Found::Foreign);
        }
    }
}
