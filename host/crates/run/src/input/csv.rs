//! Items from CSV: the first row names the columns, and every other row is an object. Without such a row each row is an
//! array.

use std::io;

use csv_core::{ReadRecordResult, Reader};

use super::lines::BLOCK;
use super::{Batch, InputFiles, ItemSource, TextEncoding};
use wasmpool_core::failed::{self, RawText};
use wasmpool_core::policy::CsvColumns;
use wasmpool_core::row::{self, Quotes};
use wasmpool_core::setting::Setting;
use wasmpool_core::text::{ForeignText, bytes_said};

/// Bytes at which a batch is full: as JSON, each row repeats the names of its columns, and may be much longer than its
/// text.
const BATCH: usize = 1 << 20;
/// Maximum bytes of a row's text that are kept, for the report of a row that cannot be read.
const KEPT: usize = 16 << 20;
/// Maximum bytes and number of the names of columns. Each worker is sent them, and each row repeats them.
const LONGEST_HEADER: usize = 4 << 20;
const MOST_COLUMNS: usize = 1 << 16;
/// Maximum number of cells of a row without a header.
const MOST_CELLS: usize = 1 << 20;
/// Bytes up to which the memory for the row being read is doubled; then this much more is added.
const STEP: usize = 16 << 20;
/// Maximum number of lines within a broken quote before the rest of the file can no longer be trusted.
const SWALLOWED: usize = 1000;

/// The options of reading CSV.
#[derive(Clone, Copy, Debug)]
pub struct CsvSettings {
    /// What separates the cells; if it was not said, each file shows it.
    pub delimiter: Option<u8>,
    /// True if the first row names the columns.
    pub header: bool,
}

/// The columns of a file.
enum CsvHeader {
    /// The first row was not yet read.
    Unread,
    /// The names of the columns, and each name as JSON with its colon.
    Names { names: Vec<String>, keys: Vec<String> },
    /// Columns without names, of this number.
    Cells(usize),
}

/// Reads rows and turns each into JSON with strings as cells, which become other types where the task wants them.
pub struct CsvItems {
    inputs: InputFiles,
    cut: CsvSettings,
    /// What separates the cells of the current file.
    delimiter: u8,
    reader: Reader,
    /// True at the beginning of a file, and once its end has been read ahead.
    at_start: bool,
    at_end: bool,
    /// The columns of the current file.
    header: CsvHeader,
    /// Bytes of the names of the columns, as JSON.
    width: usize,
    /// The block that was read, of which the bytes from `fed` to `filled` were not yet parsed.
    block: Vec<u8>,
    fed: usize,
    filled: usize,
    /// The cells of the row being read: their bytes, and where each ends.
    cells: Vec<u8>,
    used: usize,
    ends: Vec<usize>,
    columns: usize,
    longest: usize,
    /// The text of that row in the blocks before this one, and whether that is all of it.
    text: Vec<u8>,
    whole: bool,
    /// Number of rows that the file had so far, and the line in which the last one ended.
    row: u64,
    line: u64,
    /// Rows that were read to find the columns, and whether more can follow.
    ahead: Option<(Batch, io::Result<bool>)>,
}

impl CsvItems {
    pub fn new(inputs: InputFiles, longest: usize, cut: CsvSettings) -> CsvItems {
        let delimiter = cut.delimiter.unwrap_or(b',');
        CsvItems {
            inputs,
            cut,
            delimiter,
            reader: row::reader(delimiter),
            at_start: true,
            at_end: false,
            header: CsvHeader::Unread,
            width: 0,
            block: vec![0; BLOCK],
            fed: 0,
            filled: 0,
            cells: vec![0; 1024],
            used: 0,
            ends: vec![0; 64],
            columns: 0,
            longest,
            text: Vec::new(),
            whole: true,
            row: 0,
            line: 1,
            ahead: None,
        }
    }

    /// Reads up to the first row. Rows that are read with it are kept.
    fn first_columns(&mut self) -> io::Result<Option<(String, CsvColumns)>> {
        let mut ahead = Batch::default();
        let mut more = Ok(true);
        while matches!(more, Ok(true)) && matches!(self.header, CsvHeader::Unread) {
            more = self.read(&mut ahead);
        }
        if matches!(self.header, CsvHeader::Unread) {
            more = Ok(more?);
        }
        // An error behind the header is reported when the rows before it have been taken.
        self.ahead = Some((ahead, more));
        let columns = match &self.header {
            CsvHeader::Unread => return Ok(None),
            CsvHeader::Names { names, .. } => CsvColumns::Named(names.clone()),
            CsvHeader::Cells(count) => CsvColumns::Counted(*count),
        };
        Ok(Some((self.inputs.name(), columns)))
    }

    /// Reads a block of rows, or continues with one that was too much for a batch. Returns false when there are no
    /// more.
    fn read(&mut self, batch: &mut Batch) -> io::Result<bool> {
        if self.fed == self.filled {
            let read = if std::mem::take(&mut self.at_end) { Some(0) } else { self.inputs.read(&mut self.block)? };
            match read {
                None => return Ok(false),
                Some(0) => {
                    self.end_file(batch)?;
                    return Ok(true);
                }
                Some(count) => (self.fed, self.filled) = (0, count),
            }
            if std::mem::take(&mut self.at_start) {
                self.check_begin()?;
                self.find_delimiter()?;
            }
        }
        let block = std::mem::take(&mut self.block);
        let fed = self.feed(&block[self.fed..self.filled], batch);
        self.block = block;
        self.fed += fed?;
        Ok(true)
    }

    /// Returns an error for a file of items that failed in another run: their rows stand in lines of JSON.
    fn check_begin(&self) -> io::Result<()> {
        let line = self.block[..self.filled].split(|byte| *byte == b'\n').next().unwrap_or_default();
        match failed::is_line(line) {
            true => Err(io::Error::other(format!(
                "{} holds items that failed in another run, whatever format they came from; {} reads them again",
                self.inputs.name(),
                Setting::InputOfJson,
            ))),
            false => Ok(()),
        }
    }

    /// Finds out what separates the cells of a file that begins with the block, unless it was said.
    fn find_delimiter(&mut self) -> io::Result<()> {
        if self.cut.delimiter.is_some() {
            return Ok(());
        }
        self.delimiter = if self.inputs.is_named_as(&["tsv", "tab"]) { b'\t' } else { b',' };
        while self.delimiter == b',' {
            match row::delimiter_of(&self.block[..self.filled], self.at_end) {
                Some(delimiter) => {
                    self.delimiter = delimiter;
                    break;
                }
                None if self.at_end || self.filled == self.block.len() => break,
                None => {
                    let more = self.inputs.read(&mut self.block[self.filled..])?.unwrap_or(0);
                    self.at_end = more == 0;
                    self.filled += more;
                }
            }
        }
        self.reader = row::reader(self.delimiter);
        Ok(())
    }

    /// Feeds bytes to the parser until the batch is full, and returns how many were consumed.
    fn feed(&mut self, bytes: &[u8], batch: &mut Batch) -> io::Result<usize> {
        // `start` is where the row being read begins, and `at` is the parser's position.
        let (mut start, mut at) = (0, 0);
        loop {
            let cells = &mut self.cells[self.used..];
            let ends = &mut self.ends[self.columns..];
            let (result, read, written, ended) = self.reader.read_record(&bytes[at..], cells, ends);
            at += read;
            self.used += written;
            self.columns += ended;
            let text = &bytes[start..at];
            match result {
                _ if self.is_header() && (self.used > LONGEST_HEADER || self.columns > MOST_COLUMNS) => {
                    return Err(self.too_wide(text));
                }
                ReadRecordResult::OutputFull if self.cells.len() > self.longest => return Err(self.too_long(text)),
                ReadRecordResult::OutputFull => {
                    let more = self.cells.len().min(STEP);
                    self.cells.resize((self.cells.len() + more).min(self.longest + 1), 0);
                }
                ReadRecordResult::OutputEndsFull if self.columns >= MOST_CELLS => {
                    return Err(self.too_many_cells(text));
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    self.end_row(text, batch)?;
                    start = at;
                    if batch.size() >= BATCH {
                        return Ok(at);
                    }
                }
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {
                    self.keep(text);
                    return Ok(bytes.len());
                }
            }
        }
    }

    fn end_file(&mut self, batch: &mut Batch) -> io::Result<()> {
        // A newline ends any row except one with an open quote, and adds no row where none was begun.
        self.feed(b"\n", batch)?;
        if self.used > 0 || self.columns > 0 {
            return Err(self.open_quote());
        }
        // Every file has a header of its own.
        self.reader.reset();
        self.at_start = true;
        self.header = CsvHeader::Unread;
        self.row = 0;
        self.next_row();
        Ok(())
    }

    fn end_row(&mut self, mut text: &[u8], batch: &mut Batch) -> io::Result<()> {
        self.row += 1;
        if self.reader.line() - self.line > 1 {
            if self.end_broken_row(text, batch)? {
                self.next_row();
                return Ok(());
            }
            // `end_broken_row` has kept the whole text.
            text = b"";
        }
        if !self.is_header() {
            let line = self.begin(text);
            batch.at_line(self.inputs.source(), line);
        }
        let cells = row::split(&self.cells, &self.ends[..self.columns]);
        let count = cells.len();
        let problem = match &self.header {
            CsvHeader::Unread if self.cut.header => {
                let names: Vec<String> =
                    cells.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
                let keys: Vec<String> = names.iter().map(|name| row::key(name)).collect();
                self.width = keys.iter().map(String::len).sum();
                self.header = CsvHeader::Names { names, keys };
                None
            }
            CsvHeader::Names { names, .. } if names.len() != count => {
                Some(format!("has {}, its header has {}", cells_said(count), names.len()))
            }
            CsvHeader::Cells(wanted) if *wanted != count => {
                Some(format!("has {}, the first row has {wanted}", cells_said(count)))
            }
            CsvHeader::Names { names, keys } => {
                let mut row = Vec::with_capacity(self.used + self.width + 4 * count + 2);
                let written = row::object(keys, &cells, &mut row);
                written.map(|()| push(row, batch)).err().map(|at| {
                    let name = names.get(at).map_or("", |name| name);
                    format!("is not UTF-8 in column `{}`", ForeignText::of(name))
                })
            }
            CsvHeader::Unread | CsvHeader::Cells(_) => {
                let mut row = Vec::with_capacity(self.used + 3 * count + 2);
                let written = row::array(&cells, &mut row);
                self.header = CsvHeader::Cells(count);
                written.map(|()| push(row, batch)).err().map(|at| format!("is not UTF-8 in cell {}", at + 1))
            }
        };
        if self.cells.len() > STEP {
            // The next row need not be as long.
            self.cells = vec![0; 1024];
        }
        if let Some(problem) = problem {
            self.push_unreadable(&problem, text, batch);
        }
        self.next_row();
        Ok(())
    }

    /// Returns the line in which the row that ends with `end` begins.
    fn begin(&self, end: &[u8]) -> u64 {
        // The rest of the end of the row before, and blank lines, which are no rows.
        let blank = self.text.iter().chain(end).take_while(|byte| matches!(byte, b'\r' | b'\n'));
        self.line + blank.filter(|byte| **byte == b'\n').count() as u64
    }

    fn next_row(&mut self) {
        self.used = 0;
        self.columns = 0;
        self.text.clear();
        self.whole = true;
        self.line = self.reader.line();
    }

    /// Keeps the text of a row whose end was not yet read.
    fn keep(&mut self, text: &[u8]) {
        let kept = &text[..text.len().min(KEPT.min(self.longest).saturating_sub(self.text.len()))];
        self.text.extend_from_slice(kept);
        self.whole &= kept.len() == text.len();
    }

    /// Returns the text of the row that ends with `end`, and the line in which it begins.
    fn text(&mut self, end: &[u8]) -> (Vec<u8>, u64) {
        self.keep(end);
        let mut text = std::mem::take(&mut self.text);
        // Blank lines are no rows.
        let blank = text.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let line = self.line + count_lines(&text[..blank]);
        text.drain(..blank);
        for end in [b'\n', b'\r'] {
            text.pop_if(|last| *last == end);
        }
        (text, line)
    }

    #[cold]
    fn push_unreadable(&mut self, problem: &str, end: &[u8], batch: &mut Batch) {
        let (text, line) = self.text(end);
        let mut reason = format!("row {} of the CSV ({}:{line}) {problem}", self.row, self.inputs.name());
        let lines = count_lines(&text);
        if lines > 0 {
            reason += &format!("; it goes on to line {}, as a quoted cell may", line + lines);
        }
        batch.push_unreadable(&reason, &if self.whole { self.raw(&text) } else { RawText::Nothing });
    }

    fn raw<'a>(&'a self, text: &'a [u8]) -> RawText<'a> {
        let columns = match &self.header {
            CsvHeader::Names { names, .. } => Some(&**names),
            CsvHeader::Unread | CsvHeader::Cells(_) => None,
        };
        RawText::Row { text, columns, delimiter: self.delimiter }
    }

    /// Checks a row that spans several lines. If a stray quote has joined rows that were separate, each of its lines
    /// becomes an item that could not be read, and true is returned; too many such lines are an error, since what
    /// follows cannot be trusted.
    #[cold]
    fn end_broken_row(&mut self, end: &[u8], batch: &mut Batch) -> io::Result<bool> {
        let (text, line) = self.text(end);
        let line_of = |place: usize| line + count_lines(&text[..place]);
        let Quotes::Broken { open, close } = row::quotes(&text, self.delimiter) else {
            // The text is needed again if the row has too few or too many cells.
            self.text = text;
            self.line = line;
            return Ok(false);
        };
        let (open, close) = (line_of(open), line_of(close));
        let name = self.inputs.name();
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        let names = match &self.header {
            CsvHeader::Names { .. } => self.width,
            CsvHeader::Unread | CsvHeader::Cells(_) => 0,
        };
        let many = lines.len() > SWALLOWED || lines.len() * names > KEPT;
        if many || !self.whole || matches!(self.header, CsvHeader::Unread) {
            return Err(io::Error::other(format!(
                "{name}:{open}: a quote opens in this row of the CSV and is closed in line {close}, in front of other \
                 text; is one missing, or one too many?"
            )));
        }
        for (at, text) in (line..).zip(&lines) {
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            let reason = format!(
                "line {at} of {name} is in a quoted cell that opens in line {open} and is closed in line {close}, in front of \
                 other text; is a quote missing, or one too many?"
            );
            batch.at_line(self.inputs.source(), at);
            batch.push_unreadable(&reason, &self.raw(text));
        }
        self.row += lines.len() as u64 - 1;
        Ok(true)
    }

    #[cold]
    fn open_quote(&mut self) -> io::Error {
        let (text, line) = self.text(b"");
        let place = match row::quotes(&text, self.delimiter) {
            Quotes::Open(at) => at,
            _ => 0,
        };
        let line = line + count_lines(&text[..place]);
        let name = self.inputs.name();
        io::Error::other(format!(
            "{name}:{line}: a quote opens in this row of the CSV and is never closed; close it, or double it where it is part of the text"
        ))
    }

    /// Returns true if the row being read names the columns.
    fn is_header(&self) -> bool {
        self.cut.header && matches!(self.header, CsvHeader::Unread)
    }

    #[cold]
    fn too_wide(&mut self, end: &[u8]) -> io::Error {
        let (_, line) = self.text(end);
        io::Error::other(format!(
            "{}:{line}: the first row of the CSV, which names the columns, is longer than {} or has more than {MOST_COLUMNS} \
             cells; is a line end missing, or is it a row without names ({})?",
            self.inputs.name(),
            bytes_said(LONGEST_HEADER as u64),
            Setting::NoHeader
        ))
    }

    #[cold]
    fn too_many_cells(&mut self, end: &[u8]) -> io::Error {
        let (_, line) = self.text(end);
        io::Error::other(format!(
            "{}:{line}: this row of the CSV has more than {MOST_CELLS} cells; is a line end missing?",
            self.inputs.name()
        ))
    }

    #[cold]
    fn too_long(&mut self, end: &[u8]) -> io::Error {
        let (_, line) = self.text(end);
        io::Error::other(format!(
            "{}:{line}: this row of the CSV is longer than the memory of an instance ({}, {}); is a quote missing?",
            self.inputs.name(),
            bytes_said(self.longest as u64),
            Setting::Memory
        ))
    }
}

/// Appends a row, without another copy if it is long.
fn push(row: Vec<u8>, batch: &mut Batch) {
    match row.len() < BATCH {
        true => batch.push(&row),
        false => batch.push_whole(row.into()),
    }
}

/// Returns a number of cells in words.
fn cells_said(count: usize) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} cell{s}")
}

fn count_lines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

impl ItemSource for CsvItems {
    fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
        match self.ahead.take() {
            Some((ahead, Err(wrong))) if !ahead.is_empty() => {
                batch.append_part(ahead.part(0..ahead.sizes.len()));
                self.ahead = Some((Batch::default(), Err(wrong)));
                Ok(true)
            }
            Some((ahead, more)) => {
                batch.append_part(ahead.part(0..ahead.sizes.len()));
                more
            }
            None => self.read(batch),
        }
    }

    fn columns(&mut self) -> io::Result<Vec<(String, CsvColumns)>> {
        let (behind, links) = (self.inputs.behind(), self.inputs.links());
        let mut all: Vec<(String, CsvColumns)> = self.first_columns()?.into_iter().collect();
        for path in behind {
            let inputs = InputFiles::open(&[path]).map_err(io::Error::other)?.guarded(links.clone());
            let inputs = inputs.written_in(TextEncoding::Utf8);
            let first = CsvItems::new(inputs, self.longest, self.cut).first_columns()?;
            let new = first.filter(|(_, columns)| all.iter().all(|(_, known)| known != columns));
            all.extend(new);
        }
        Ok(all)
    }
}
