//! The format of the journal: a head, then records, each preceded by its length and a checksum of everything before the
//! record's end.
//!
//! A record holds everything that is written and synced together, so only the last one can be torn. An incomplete
//! record at the end was never promised, and is cut off. Complete records after an incomplete one mean that the journal
//! was damaged later; then none of it is trusted.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, Read, Seek, SeekFrom};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first bytes of a journal. The number changes with any change of the records.
const MARK: &[u8] = b"wasmpool journal 3\n";
/// The first bytes of a journal of any version.
pub const ANY_MARK: &[u8] = b"wasmpool journal ";
/// Number of bytes of the key: random bytes of this journal that stand in front of every record, so that a record is
/// found after damage, and so that no result of a task can look like one.
const KEY: usize = 16;
const HEAD: usize = MARK.len() + KEY;
const CHECK: usize = 16;
const LENGTH: usize = 8;
/// Number of bytes in front of a record: the key, its length, the checksum of the record before, and its own.
const HEADER: usize = KEY + LENGTH + 2 * CHECK;

/// The checksum of the last record, from which that of the next is computed: a record in any other place is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordChain {
    key: [u8; KEY],
    last: [u8; CHECK],
}

impl RecordChain {
    /// Returns the chain of a new journal.
    pub fn new() -> RecordChain {
        // The standard library takes its hash keys from the system's random numbers.
        let random = || RandomState::new().hash_one(0).to_ne_bytes();
        let mut key = [0; KEY];
        key.iter_mut().zip([random(), random()].concat()).for_each(|(byte, random)| *byte = random);
        RecordChain { key, last: [0; CHECK] }
    }

    /// Returns the first bytes of the journal.
    pub fn head(&self) -> Vec<u8> {
        [MARK, &self.key].concat()
    }

    /// Appends a record.
    pub fn append(&mut self, record: &impl Serialize, to: &mut Vec<u8>) -> io::Result<()> {
        let payload = postcard::to_allocvec(record).map_err(io::Error::other)?;
        let check = check(&self.last, &payload);
        to.extend_from_slice(&self.key);
        to.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        to.extend_from_slice(&self.last);
        to.extend_from_slice(&check);
        to.extend_from_slice(&payload);
        self.last = check;
        Ok(())
    }
}

fn check(last: &[u8; CHECK], payload: &[u8]) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(last).update(payload);
    *hasher.finalize().as_bytes().first_chunk().expect("a check is shorter than a hash")
}

/// The header of a record.
struct RecordHeader {
    key: [u8; KEY],
    length: u64,
    last: [u8; CHECK],
    check: [u8; CHECK],
}

impl RecordHeader {
    fn read(bytes: &[u8]) -> Option<RecordHeader> {
        let (key, bytes) = bytes.split_first_chunk()?;
        let (length, bytes) = bytes.split_first_chunk()?;
        let (last, bytes) = bytes.split_first_chunk()?;
        let (check, _) = bytes.split_first_chunk()?;
        Some(RecordHeader { key: *key, length: u64::from_le_bytes(*length), last: *last, check: *check })
    }

    fn is_of(&self, payload: &[u8]) -> bool {
        check(&self.last, payload) == self.check
    }
}

/// The result of reading a journal.
#[derive(Debug, PartialEq, Eq)]
pub enum JournalContents {
    /// Complete records, `whole` bytes long together with the head, and the chain to which the next is appended.
    Whole { whole: u64, chain: RecordChain },
    /// Nothing that was ever promised.
    Nothing,
    /// A file that is no journal.
    Foreign,
    /// A journal of another version of this program.
    OtherVersion,
    /// A journal that was complete once and is damaged at `at`. `first` is true if no complete record stands before
    /// that.
    Damaged { at: u64, first: bool },
}

/// Calls `each` with every record of a file of `size` bytes.
pub fn read<T: DeserializeOwned>(
    mut from: impl Read + Seek,
    size: u64,
    mut each: impl FnMut(T),
) -> io::Result<JournalContents> {
    let mut head = vec![0; HEAD.min(usize::try_from(size).unwrap_or(HEAD))];
    from.read_exact(&mut head)?;
    let (mark, key) = head.split_at(MARK.len().min(head.len()));
    if !MARK.starts_with(mark) {
        return Ok(if head.starts_with(ANY_MARK) { JournalContents::OtherVersion } else { JournalContents::Foreign });
    }
    let Some(&key) = key.first_chunk() else {
        return Ok(JournalContents::Nothing);
    };
    let mut whole = HEAD as u64;
    let mut chain = RecordChain { key, last: [0; CHECK] };
    while let Some((header, payload)) = next(&mut from, size - whole, &chain)? {
        let Ok(record) = postcard::from_bytes(&payload) else {
            return Ok(JournalContents::OtherVersion);
        };
        each(record);
        chain.last = header.check;
        whole += (HEADER + payload.len()) as u64;
    }
    let mut rest = Vec::new();
    from.seek(SeekFrom::Start(whole))?;
    from.take(size - whole).read_to_end(&mut rest)?;
    let first = whole == HEAD as u64;
    Ok(match first {
        _ if holds_a_record(&rest, &key, first) => JournalContents::Damaged { at: whole, first },
        true if !is_torn(&rest, &key) => JournalContents::Damaged { at: whole, first },
        true => JournalContents::Nothing,
        false => JournalContents::Whole { whole, chain },
    })
}

/// Reads the next record, if it is complete and continues the chain.
fn next(from: &mut impl Read, left: u64, chain: &RecordChain) -> io::Result<Option<(RecordHeader, Vec<u8>)>> {
    let mut header = [0; HEADER];
    if left < HEADER as u64 {
        return Ok(None);
    }
    from.read_exact(&mut header)?;
    let Some(header) = RecordHeader::read(&header)
        .filter(|it| it.key == chain.key && it.last == chain.last && it.length <= left - HEADER as u64)
    else {
        return Ok(None);
    };
    let mut payload = vec![0; header.length as usize];
    from.read_exact(&mut payload)?;
    Ok(header.is_of(&payload).then_some((header, payload)))
}

/// Returns true if a complete record stands somewhere in these bytes, which begin where a record should. The key in
/// front of it is the journal's, or, where that was damaged, the one of the first record.
fn holds_a_record(rest: &[u8], key: &[u8; KEY], first: bool) -> bool {
    let here = rest.first_chunk().filter(|here| first && *here != key);
    [Some(key), here].into_iter().flatten().any(|key| {
        memchr::memmem::find_iter(rest, key).any(|at| {
            let Some((header, payload)) = rest.get(at..).and_then(|rest| rest.split_at_checked(HEADER)) else {
                return false;
            };
            let whole = |header: RecordHeader| {
                let payload = payload.get(..usize::try_from(header.length).ok()?)?;
                header.is_of(payload).then_some(())
            };
            RecordHeader::read(header).and_then(whole).is_some()
        })
    })
}

/// Returns true if these bytes can be what is left of a record that was being written: its beginning, or nothing but
/// zeros, which a file system leaves when the power is cut. Used for a journal's first record, without which a run
/// starts over.
fn is_torn(rest: &[u8], key: &[u8; KEY]) -> bool {
    match RecordHeader::read(rest) {
        _ if rest.iter().all(|byte| *byte == 0) => true,
        Some(header) => header.key == *key && header.length > (rest.len() - HEADER) as u64,
        None => key.starts_with(rest.get(..KEY).unwrap_or(rest)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    type Record = (u64, Vec<u8>, Option<String>);

    fn records() -> impl Strategy<Value = Vec<Record>> {
        proptest::collection::vec(any::<Record>(), 0..8)
    }

    /// Returns the bytes of these records, and where each ends.
    fn written(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
        let mut chain = RecordChain::new();
        let mut bytes = chain.head();
        let mut ends = Vec::new();
        for record in records {
            chain.append(record, &mut bytes).expect("it can be written to memory");
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read_back(bytes: &[u8]) -> (Vec<Record>, JournalContents) {
        let mut records = Vec::new();
        let size = bytes.len() as u64;
        let found = read(Cursor::new(bytes), size, |record| records.push(record)).expect("memory can be read");
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
                    JournalContents::Nothing => prop_assert_eq!(whole, 0),
                    JournalContents::Whole { whole: length, .. } => prop_assert_eq!(Some(length), ends[..whole].last().map(|end| *end as u64)),
                    other => prop_assert!(false, "cut at {}: {:?}", cut, other),
                }
            }
        }

        #[test]
        fn a_damaged_record_with_a_whole_one_behind_it_is_told_with_its_place(
            records in proptest::collection::vec(any::<Record>(), 2..8), at in any::<usize>(), by in 1u8..,
        ) {
            let (mut bytes, ends) = written(&records);
            // The key in the head counts as well, since all records depend on it.
            let at = MARK.len() + at % (ends[ends.len() - 2] - MARK.len());
            bytes[at] ^= by;
            let before = if at < HEAD { 0 } else { ends.iter().filter(|end| **end <= at).count() };
            let (read, found) = read_back(&bytes);
            prop_assert_eq!(&read[..], &records[..before]);
            let place = before.checked_sub(1).map_or(HEAD, |last| ends[last]);
            prop_assert_eq!(found, JournalContents::Damaged { at: place as u64, first: before == 0 });
        }

        #[test]
        fn damage_of_the_last_record_is_as_if_it_had_not_been_written(
            records in proptest::collection::vec(any::<Record>(), 2..8), at in any::<usize>(), by in 1u8..,
        ) {
            let (mut bytes, ends) = written(&records);
            let start = ends[ends.len() - 2];
            let at = start + at % (bytes.len() - start);
            bytes[at] ^= by;
            let (read, found) = read_back(&bytes);
            prop_assert_eq!(&read[..], &records[..records.len() - 1]);
            prop_assert!(matches!(found, JournalContents::Whole { whole, .. } if whole == start as u64), "{:?}", found);
        }

        #[test]
        fn damage_of_the_only_record_is_not_taken_for_a_new_journal(record in any::<Record>(), at in any::<usize>(), by in 1u8..) {
            let (mut bytes, _) = written(&[record]);
            let at = HEAD + at % (bytes.len() - HEAD);
            // A length that is too large looks like that of a torn record.
            prop_assume!(!(HEAD + KEY..HEAD + KEY + LENGTH).contains(&at));
            bytes[at] ^= by;
            prop_assert_eq!(read_back(&bytes).1, JournalContents::Damaged { at: HEAD as u64, first: true });
        }

        #[test]
        fn a_stretch_that_was_cut_out_is_damage(records in proptest::collection::vec(any::<Record>(), 3..8), cut in any::<usize>()) {
            let (mut bytes, ends) = written(&records);
            let gone = cut % (records.len() - 1);
            let start = gone.checked_sub(1).map_or(HEAD, |last| ends[last]);
            bytes.drain(start..ends[gone]);
            let (read, found) = read_back(&bytes);
            prop_assert_eq!(&read[..], &records[..gone]);
            prop_assert_eq!(found, JournalContents::Damaged { at: start as u64, first: gone == 0 });
        }

        #[test]
        fn a_record_that_a_task_made_up_is_none(records in records(), made_up in any::<Record>(), cut in any::<usize>()) {
            // The forged record stands inside the last record, which is torn.
            let (forged, _) = written(&[made_up.clone(), made_up]);
            let mut records = records;
            records.push((0, [forged, vec![0; 100]].concat(), None));
            let (bytes, ends) = written(&records);
            let start = ends.len().checked_sub(2).map_or(HEAD, |last| ends[last]);
            let cut = start + cut % (bytes.len() - start);
            let (read, found) = read_back(&bytes[..cut]);
            prop_assert_eq!(&read[..], &records[..records.len() - 1]);
            prop_assert!(matches!(found, JournalContents::Nothing | JournalContents::Whole { .. }), "{:?}", found);
        }

        #[test]
        fn a_journal_goes_on_where_it_was_whole(records in records(), more in any::<Record>(), cut in any::<usize>()) {
            let (bytes, _) = written(&records);
            let cut = HEAD + cut % (bytes.len() - HEAD + 1);
            let (mut wanted, found) = read_back(&bytes[..cut]);
            if let JournalContents::Whole { whole, mut chain } = found {
                let mut bytes = bytes[..whole as usize].to_vec();
                chain.append(&more, &mut bytes).expect("it can be written to memory");
                wanted.push(more);
                prop_assert_eq!(read_back(&bytes).0, wanted);
            }
        }

        #[test]
        fn bytes_of_others_are_no_journal(bytes in any::<Vec<u8>>()) {
            prop_assume!(!MARK.starts_with(&bytes) && !bytes.starts_with(ANY_MARK));
            prop_assert_eq!(read_back(&bytes).1, JournalContents::Foreign);
        }
    }

    #[test]
    fn zeros_that_a_power_cut_left_are_nothing_that_was_promised() {
        let (mut bytes, ends) = written(&[(1, vec![2], None), (3, vec![4], None)]);
        let whole = bytes.clone();
        bytes.truncate(ends[0]);
        bytes.extend([0; 5000]);
        assert!(
            matches!(read_back(&bytes), (read, JournalContents::Whole { whole, .. }) if read.len() == 1 && whole == ends[0] as u64)
        );
        bytes.truncate(HEAD);
        bytes.extend([0; 5000]);
        assert_eq!(read_back(&bytes).1, JournalContents::Nothing);
        assert_eq!(read_back(&whole).0.len(), 2);
    }

    #[test]
    fn a_journal_of_another_version_is_known_for_one() {
        assert_eq!(read_back(b"wasmpool journal 2\nabc").1, JournalContents::OtherVersion);
        let mut chain = RecordChain::new();
        let mut bytes = chain.head();
        chain.append(&"not such a record", &mut bytes).expect("it can be written to memory");
        let size = bytes.len() as u64;
        let found = read(Cursor::new(bytes), size, |_: [bool; 30]| ()).expect("memory can be read");
        assert_eq!(found, JournalContents::OtherVersion);
    }
}
