//! Items that end at a delimiter: lines, JSON lines, NUL-terminated strings.

use std::io;

use memchr::memchr;

use super::{Batch, InputFiles, ItemSource};
use wasmpool_core::failed::RawText;
use wasmpool_core::setting::Setting;
use wasmpool_core::text::bytes_said;
use wasmpool_ipc::copy;

/// Bytes of one read: those of two chunks, since each read wakes the supervisor.
pub const BLOCK: usize = 256 << 10;
/// Alignment of what is read into: the kernel copies from whole pages, which takes up to three times as long where the
/// destination does not lie in its cache lines as they do.
const ALIGNED: usize = 64;
/// Maximum memory that is reserved for an item before it has been read.
const FORESEEN: usize = 4 << 20;

/// Cuts input at a delimiter.
#[derive(Debug)]
pub struct LineItems {
    inputs: InputFiles,
    delimiter: u8,
    /// True if lines of nothing but white space are skipped (JSON lines).
    skip_blank: bool,
    /// Length of the longest item that is kept; a longer one could not be handed to the task anyway.
    longest: usize,
    block: Vec<u8>,
    /// The beginning of an item whose end was not yet read, and how many bytes of it were dropped.
    partial: Vec<u8>,
    dropped: usize,
    /// Size of the last such item, within bounds: the next is likely to be similar.
    last: usize,
    /// Number of lines of the current input that have ended.
    line: u64,
    /// True if the next item does not stand on the line behind that of the item before it in its batch.
    apart: bool,
}

impl LineItems {
    pub fn new(inputs: InputFiles, delimiter: u8, skip_blank: bool, longest: usize) -> LineItems {
        let block = vec![0; BLOCK + ALIGNED];
        LineItems {
            inputs,
            delimiter,
            skip_blank,
            longest,
            block,
            partial: Vec::new(),
            dropped: 0,
            last: 0,
            line: 0,
            apart: true,
        }
    }

    fn end_item(&mut self, rest: &[u8], batch: &mut Batch) {
        self.line += 1;
        if self.dropped > 0 || self.partial.len() + rest.len() > self.longest {
            let length = self.partial.len() + self.dropped + rest.len();
            self.place(batch);
            batch.push_unreadable(
                &format!(
                    "the item is {length} bytes long, more than the memory of an instance ({}, {})",
                    bytes_said(self.longest as u64),
                    Setting::Memory
                ),
                &RawText::Nothing,
            );
            self.partial = Vec::new();
            self.dropped = 0;
            self.last = 0;
            return;
        }
        if self.partial.is_empty() {
            match self.is_blank(rest) {
                false => {
                    self.place(batch);
                    batch.push(rest);
                }
                true => self.apart = true,
            }
            return;
        }
        let mut item = std::mem::take(&mut self.partial);
        copy::append(rest, &mut item);
        self.last = item.len().min(FORESEEN);
        let blank = self.is_blank(&item);
        match blank {
            false => self.place(batch),
            true => self.apart = true,
        }
        if item.capacity() > BLOCK {
            if !blank {
                batch.push_whole(item.into());
            }
            return;
        }
        if !blank {
            batch.push(&item);
        }
        item.clear();
        self.partial = item;
    }

    /// Notes the line of the next item, unless it follows from that of the item before.
    #[inline]
    fn place(&mut self, batch: &mut Batch) {
        if std::mem::take(&mut self.apart) {
            batch.at_line(self.inputs.source(), self.line);
        }
    }

    /// Keeps the beginning of an item, or more of it.
    fn begin_item(&mut self, bytes: &[u8]) {
        if self.partial.len() + bytes.len() > self.longest {
            self.dropped += bytes.len();
        } else if !bytes.is_empty() {
            if self.partial.is_empty() {
                self.partial.reserve(self.last.max(bytes.len()));
            }
            copy::append(bytes, &mut self.partial);
        }
    }

    fn is_blank(&self, item: &[u8]) -> bool {
        self.skip_blank && item.trim_ascii().is_empty()
    }
}

impl ItemSource for LineItems {
    fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
        let mut block = std::mem::take(&mut self.block);
        let start = block.as_ptr().align_offset(ALIGNED).min(ALIGNED);
        let read = self.inputs.read(&mut block[start..start + BLOCK])?;
        // The batch may be another one than before.
        self.apart = true;
        match read {
            None => return Ok(false),
            // The last item of a file needs no delimiter.
            Some(0) => {
                if !self.partial.is_empty() || self.dropped > 0 {
                    self.end_item(&[], batch);
                }
                self.line = 0;
            }
            Some(count) => {
                let mut rest = &block[start..start + count];
                batch.bytes.reserve(rest.len() * 2);
                while let Some(at) = memchr(self.delimiter, rest) {
                    let (item, behind) = rest.split_at(at);
                    self.end_item(item, batch);
                    rest = &behind[1..];
                }
                self.begin_item(rest);
            }
        }
        self.block = block;
        Ok(true)
    }
}
