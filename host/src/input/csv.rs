//! Items from CSV: the first row names the columns, every other row is an object.

use std::io;

use csv_core::{ReadRecordResult, Reader};

use super::lines::BLOCK;
use super::{Batch, Inputs, Items};

/// Reads rows and makes JSON objects of strings of them; cells become other types where the task wants them.
pub struct CsvItems {
    inputs: Inputs,
    reader: Reader,
    /// Column names of the current file, each as JSON with its colon.
    header: Option<Vec<String>>,
    block: Vec<u8>,
    /// Cells of the row being read: their bytes, and where each ends.
    cells: Vec<u8>,
    used: usize,
    ends: Vec<usize>,
    columns: usize,
    longest: usize,
    row: u64,
}

impl CsvItems {
    pub fn new(inputs: Inputs, longest: usize) -> CsvItems {
        CsvItems {
            inputs,
            reader: Reader::new(),
            header: None,
            block: vec![0; BLOCK],
            cells: vec![0; 1024],
            used: 0,
            ends: vec![0; 64],
            columns: 0,
            longest,
            row: 0,
        }
    }

    /// Feeds bytes to the parser (none: the file has ended).
    fn feed(&mut self, mut bytes: &[u8], batch: &mut Batch) -> io::Result<()> {
        let at_end = bytes.is_empty();
        loop {
            let cells = self.cells.get_mut(self.used..).unwrap_or_default();
            let ends = self.ends.get_mut(self.columns..).unwrap_or_default();
            let (result, read, written, ended) = self.reader.read_record(bytes, cells, ends);
            bytes = bytes.get(read..).unwrap_or_default();
            self.used += written;
            self.columns += ended;
            match result {
                ReadRecordResult::OutputFull if self.cells.len() > self.longest => {
                    return Err(io::Error::other(format!(
                        "a row of the CSV is longer than the memory of an instance ({} bytes, --memory); is a quote missing?",
                        self.longest
                    )));
                }
                ReadRecordResult::OutputFull => self.cells.resize(self.cells.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => self.end_row(batch),
                ReadRecordResult::InputEmpty if at_end => {}
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return Ok(()),
            }
        }
    }

    fn end_row(&mut self, batch: &mut Batch) {
        let ends = self.ends.get(..self.columns).unwrap_or_default();
        let mut cells = Vec::with_capacity(ends.len());
        let mut start = 0;
        for &end in ends {
            cells.push(self.cells.get(start..end).unwrap_or_default());
            start = end;
        }
        self.row += 1;
        match &self.header {
            None => {
                let names = cells.iter().enumerate().map(|(i, cell)| {
                    let name = String::from_utf8_lossy(cell);
                    let name = if i == 0 { name.trim_start_matches('\u{feff}') } else { &name };
                    serde_json::Value::from(name.trim()).to_string() + ":"
                });
                self.header = Some(names.collect());
            }
            Some(header) if header.len() != cells.len() => batch.push_unreadable(&format!(
                "row {} of the CSV has {} cells, its header has {}",
                self.row,
                cells.len(),
                header.len()
            )),
            Some(header) => match object(header, &cells) {
                Ok(object) => batch.push(&object),
                Err(column) => {
                    batch.push_unreadable(&format!("row {} of the CSV is not UTF-8 in column {column}", self.row));
                }
            },
        }
        self.used = 0;
        self.columns = 0;
    }
}

/// A row as a JSON object, or the column that is not UTF-8.
fn object(header: &[String], cells: &[&[u8]]) -> Result<Vec<u8>, String> {
    let mut object = Vec::new();
    for (name, cell) in header.iter().zip(cells) {
        object.push(if object.is_empty() { b'{' } else { b',' });
        object.extend_from_slice(name.as_bytes());
        let cell = std::str::from_utf8(cell).map_err(|_| name.trim_end_matches(':').to_owned())?;
        crate::value::encode_string(cell, &mut object);
    }
    object.push(b'}');
    Ok(object)
}

impl Items for CsvItems {
    fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
        let mut block = std::mem::take(&mut self.block);
        let read = self.inputs.read(&mut block)?;
        match read {
            None => return Ok(false),
            Some(count) => self.feed(block.get(..count).unwrap_or_default(), batch)?,
        }
        if read == Some(0) {
            // Every file has a header of its own.
            self.reader.reset();
            self.header = None;
            self.row = 0;
        }
        self.block = block;
        Ok(true)
    }
}
