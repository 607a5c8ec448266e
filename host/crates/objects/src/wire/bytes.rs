//! How numbers, texts and payloads are written into a frame, and read from one.

use smallvec::SmallVec;

use super::Malformed;
use crate::operation::MOST_PARTS;

/// Number of bytes at the end of a frame that say how long the head before them is.
const HEAD_LENGTH: usize = size_of::<u32>();
/// Room for the head of most frames, so that writing one allocates nothing.
const HEAD: usize = 96;
/// Payloads that need no list of their own.
const FEW: usize = 2;

/// A frame that is being written.
#[derive(Debug, Default)]
pub(super) struct Writer<'a> {
    payloads: SmallVec<[&'a [u8]; FEW]>,
    head: SmallVec<[u8; HEAD]>,
}

impl<'a> Writer<'a> {
    pub(super) fn u8(&mut self, n: u8) {
        self.head.push(n);
    }

    pub(super) fn u16(&mut self, n: u16) {
        self.head.extend_from_slice(&n.to_le_bytes());
    }

    pub(super) fn u32(&mut self, n: u32) {
        self.head.extend_from_slice(&n.to_le_bytes());
    }

    pub(super) fn u64(&mut self, n: u64) {
        self.head.extend_from_slice(&n.to_le_bytes());
    }

    pub(super) fn i64(&mut self, n: i64) {
        self.head.extend_from_slice(&n.to_le_bytes());
    }

    pub(super) fn bool(&mut self, is: bool) {
        self.u8(is.into());
    }

    /// Writes whether there is a value, and the value.
    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// Writes bytes into the head.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.head.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Borrows bytes as the whole payload.
    pub(super) fn payload(&mut self, bytes: &'a [u8]) {
        self.payloads.push(bytes);
    }

    /// Borrows several payloads, and writes their lengths into the head.
    pub(super) fn payloads(&mut self, all: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.parts_of(all, |_, payload| payload);
    }

    /// Borrows several payloads, each with a key.
    pub(super) fn entries(&mut self, entries: &'a [(String, Vec<u8>)]) {
        self.parts_of(entries.iter(), |writer, (key, value)| {
            writer.text(key);
            value.as_slice()
        });
    }

    fn parts_of<T>(&mut self, all: impl ExactSizeIterator<Item = T>, mut write: impl FnMut(&mut Self, T) -> &'a [u8]) {
        self.u64(all.len() as u64);
        self.payloads.reserve(all.len());
        for one in all {
            let payload = write(self, one);
            self.u64(payload.len() as u64);
            self.payloads.push(payload);
        }
    }

    /// Writes the length of the head, which ends the frame.
    pub(super) fn finish(mut self) -> Self {
        // A head holds at most keys, and a frame of 4 GiB is refused before it is sent.
        let length = u32::try_from(self.head.len()).unwrap_or(u32::MAX);
        self.u32(length);
        self
    }

    pub(super) fn parts(&self) -> SmallVec<[&[u8]; 4]> {
        let mut parts = SmallVec::with_capacity(self.payloads.len() + 1);
        parts.extend(self.payloads.iter().copied());
        parts.push(&self.head[..]);
        parts
    }
}

/// A frame that is being read: the head from its front. The payload is read last, by one of the methods that take the
/// reader itself, which also check that nothing is left over.
pub(super) struct Reader {
    frame: Vec<u8>,
    /// The part of the head that has not been read.
    at: usize,
    end: usize,
    /// Length of the payload, behind which the head begins.
    payload: usize,
}

const SHORT: Malformed = Malformed("it ends too early");
const LEFT_OVER: Malformed = Malformed("it has bytes that belong to nothing");

impl Reader {
    pub(super) fn of(frame: Vec<u8>) -> Result<Reader, Malformed> {
        let (rest, length) = frame.split_last_chunk::<HEAD_LENGTH>().ok_or(SHORT)?;
        let head = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| SHORT)?;
        let end = rest.len();
        let payload = end.checked_sub(head).ok_or(Malformed("its head is longer than all of it"))?;
        Ok(Reader { frame, at: payload, end, payload })
    }

    fn take(&mut self, length: u64) -> Result<&[u8], Malformed> {
        let left = self.end - self.at;
        let length = usize::try_from(length).ok().filter(|length| *length <= left).ok_or(SHORT)?;
        let from = self.at;
        self.at += length;
        self.frame.get(from..from + length).ok_or(SHORT)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N as u64)?.try_into().map_err(|_| SHORT)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(super) fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a truth value is neither 0 nor 1")),
        }
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, Malformed> {
        let length = self.u64()?;
        Ok(self.take(length)?.to_vec())
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let length = self.u64()?;
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Malformed("a text is not UTF-8")),
        }
    }

    /// Reads the number of parts, each of which takes at least `least` bytes of the head. Nothing is read of a frame that has
    /// more of them than it may.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, Malformed> {
        let count = self.u64()?;
        if count > MOST_PARTS as u64 {
            return Err(Malformed("it has more parts than a frame may have"));
        }
        let most = (self.end - self.at) / least;
        usize::try_from(count).ok().filter(|count| *count <= most).ok_or(Malformed("it has fewer parts than it says"))
    }

    /// Ends a frame that has no payload.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.at == self.end && self.payload == 0 { Ok(()) } else { Err(LEFT_OVER) }
    }

    /// Returns the whole payload, without copying it.
    pub(super) fn payload(mut self) -> Result<Vec<u8>, Malformed> {
        if self.at != self.end {
            return Err(LEFT_OVER);
        }
        self.frame.truncate(self.payload);
        // A short message in a long frame would be counted as short, and keep the memory of the frame.
        if self.frame.capacity() > self.frame.len() + self.frame.len() / 8 + HEAD {
            self.frame.shrink_to_fit();
        }
        Ok(self.frame)
    }

    /// Returns the payloads that [`Writer::payloads`] wrote.
    pub(super) fn payloads(self) -> Result<Vec<Vec<u8>>, Malformed> {
        let all = self.parts_of(0, |_| Ok(()))?;
        Ok(all.into_iter().map(|((), payload)| payload).collect())
    }

    /// Returns the entries that [`Writer::entries`] wrote.
    pub(super) fn entries(self) -> Result<Vec<(String, Vec<u8>)>, Malformed> {
        self.parts_of(size_of::<u64>(), Reader::text)
    }

    /// Returns payloads, each with what `read` reads of the head, which is at least `least` bytes.
    fn parts_of<T>(
        mut self,
        least: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<(T, Vec<u8>)>, Malformed> {
        let count = self.count(least + size_of::<u64>())?;
        if count == 1 {
            let one = read(&mut self)?;
            if self.u64()? != self.payload as u64 {
                return Err(LEFT_OVER);
            }
            return Ok(vec![(one, self.payload()?)]);
        }
        let mut all = Vec::with_capacity(count);
        let mut from = 0;
        for _ in 0..count {
            let one = read(&mut self)?;
            let length = self.u64()?;
            let left = self.payload - from;
            let length = usize::try_from(length).ok().filter(|length| *length <= left).ok_or(SHORT)?;
            all.push((one, self.frame.get(from..from + length).ok_or(SHORT)?.to_vec()));
            from += length;
        }
        if self.at == self.end && from == self.payload { Ok(all) } else { Err(LEFT_OVER) }
    }
}
