//! Items that end at a delimiter: lines, JSON lines, NUL-terminated strings.

use std::io;

use memchr::memchr;

use super::json::{JsonCutter, JsonForm};
use super::{Batch, InputFiles, ItemSource};
use wasmpool_core::failed::RawText;
use wasmpool_core::setting::Setting;
use wasmpool_core::text::bytes_said;
use wasmpool_ipc::copy;

/// Bytes of one read: those of two chunks, since each read wakes the supervisor.
pub const BLOCK: usize = 256 << 10;
/// Like `BLOCK`, where chunks go to other machines. Whatever was read at once is kept until all of it has outcomes, which takes far
/// longer there, and the supervisor is woken less often for other things.
const BLOCK_AFAR: usize = 48 << 10;
/// Alignment of what is read into: the kernel copies from whole pages, which takes up to three times as long where the
/// destination does not lie in its cache lines as they do.
const ALIGNED: usize = 64;
/// Maximum memory that is reserved for an item before it has been read.
const FORESEEN: usize = 4 << 20;

/// The lines of an input that are items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// All of them.
    All,
    /// Those with more than white space.
    NotBlank,
    /// Those with more than white space, of JSON. A file that is one JSON text over many lines is cut as [`LineKind::JsonText`],
    /// and so is a file with a single array whose name says that it is one JSON text, if `named`.
    Json { named: bool },
    /// None: each file is one array, whose elements are the items, or has JSON values one after the other.
    JsonText,
}

/// Cuts input at a delimiter.
#[derive(Debug)]
pub struct LineItems {
    inputs: InputFiles,
    delimiter: u8,
    kind: LineKind,
    /// Cuts the file that is read, if it is not cut into lines.
    text: Option<JsonCutter>,
    /// True at the beginning of a file, and once its end has been read ahead.
    at_start: bool,
    at_end: bool,
    /// Length of the longest item that is kept; a longer one could not be handed to the task anyway.
    longest: usize,
    block: Vec<u8>,
    /// Maximum bytes of a read, but for the first of a file, by which it is found out how that is cut.
    most: usize,
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
    pub fn new(inputs: InputFiles, delimiter: u8, kind: LineKind, longest: usize) -> LineItems {
        LineItems {
            inputs,
            delimiter,
            kind,
            text: None,
            at_start: true,
            at_end: false,
            longest,
            block: vec![0; BLOCK + ALIGNED],
            most: BLOCK,
            partial: Vec::new(),
            dropped: 0,
            last: 0,
            line: 0,
            apart: true,
        }
    }

    /// Reads less at a time, since chunks go to other machines.
    pub fn afar(self) -> LineItems {
        LineItems { most: BLOCK_AFAR, ..self }
    }

    fn end_item(&mut self, rest: &[u8], batch: &mut Batch) {
        self.line += 1;
        if self.dropped > 0 || self.partial.len() + rest.len() > self.longest {
            let length = self.partial.len() + self.dropped + rest.len();
            self.place(batch);
            batch.push_unreadable(&too_long(length, self.longest), &RawText::Nothing);
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
        self.kind != LineKind::All && item.trim_ascii().is_empty()
    }

    /// Reads into a block: 0 bytes at the end of each file, `None` after the last. At the beginning of a file, it also finds
    /// out how the file is cut.
    fn read(&mut self, block: &mut [u8]) -> io::Result<Option<usize>> {
        if std::mem::take(&mut self.at_end) {
            return Ok(Some(0));
        }
        let read = self.inputs.read(block)?;
        match read.filter(|_| self.at_start) {
            Some(count) if count > 0 => self.begin_file(block, count).map(Some),
            _ => Ok(read),
        }
    }

    /// Finds out how a file is cut that begins with the first `count` bytes of the block, and returns how many of it are read
    /// now.
    fn begin_file(&mut self, block: &mut [u8], mut count: usize) -> io::Result<usize> {
        self.at_start = false;
        let is_one = match self.kind {
            LineKind::All | LineKind::NotBlank => return Ok(count),
            LineKind::Json { named } => named && self.inputs.is_named_as(&["json"]),
            LineKind::JsonText => {
                self.text = Some(JsonCutter::new(self.longest));
                return Ok(count);
            }
        };
        let form = loop {
            match JsonForm::of(&block[..count], is_one, self.at_end) {
                // No line with an array is this long.
                JsonForm::Unsure if count == block.len() && is_one && block.trim_ascii_start().starts_with(b"[") => {
                    break JsonForm::Whole;
                }
                JsonForm::Unsure if count < block.len() && !self.at_end => {
                    let more = self.inputs.read(&mut block[count..])?.unwrap_or(0);
                    self.at_end = more == 0;
                    count += more;
                }
                form => break form,
            }
        };
        self.text = (form == JsonForm::Whole).then(|| JsonCutter::new(self.longest));
        Ok(count)
    }

    /// Cuts bytes of a file that is not cut into lines; none are its end.
    fn cut_text(&mut self, text: &mut JsonCutter, bytes: &[u8], batch: &mut Batch) -> io::Result<()> {
        let input = self.inputs.source();
        let cut = if bytes.is_empty() { text.end(input, batch) } else { text.cut(bytes, input, batch) };
        cut.map_err(|e| io::Error::other(format!("{}:{}: {e}", self.inputs.name(), e.line)))
    }
}

/// Returns the message for an item that is longer than the longest that can be given to a task.
pub(super) fn too_long(length: usize, longest: usize) -> String {
    format!(
        "the item is {length} bytes long, more than the memory of an instance ({}, {})",
        bytes_said(longest as u64),
        Setting::Memory
    )
}

impl ItemSource for LineItems {
    fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
        let mut block = std::mem::take(&mut self.block);
        let start = block.as_ptr().align_offset(ALIGNED).min(ALIGNED);
        // The batch may be another one than before.
        self.apart = true;
        let most = if self.at_start { BLOCK } else { self.most };
        let read = self.read(&mut block[start..start + most])?;
        if let (Some(mut text), Some(count)) = (self.text.take(), read) {
            self.cut_text(&mut text, &block[start..start + count], batch)?;
            self.at_start = count == 0;
            self.text = (count > 0).then_some(text);
            self.block = block;
            return Ok(true);
        }
        match read {
            None => return Ok(false),
            // The last item of a file needs no delimiter.
            Some(0) => {
                self.at_start = true;
                if !self.partial.is_empty() || self.dropped > 0 {
                    self.end_item(&[], batch);
                }
                self.line = 0;
            }
            Some(count) => {
                let mut rest = &block[start..start + count];
                // Headers are eight bytes, and lines hardly shorter than six.
                batch.bytes.reserve(rest.len() / 4 * 9);
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
