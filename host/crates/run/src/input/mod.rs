//! Cuts input into items: lazily, a block at a time, and never more than was asked for.

mod compressed;
mod csv;
mod error;
mod files;
mod first;
mod json;
mod lines;
mod mark;
mod opening;
mod source;
mod written;

use std::io;

pub use csv::{CsvItems, CsvSettings};
pub use error::{InputError, ReadOnce};
pub use files::{FileItems, find_listed};
pub use first::FirstItems;
pub use lines::{LineItems, LineKind};
pub use mark::TextEncoding;
pub use opening::InputLinks;
pub use source::{InputFiles, extension};
pub use written::WrittenTo;

use wasmpool_core::policy::CsvColumns;
use wasmpool_ipc::batch::Batch;

/// A source of items.
pub trait ItemSource: Send {
    /// Appends the next items to `batch`: those that one read brings, or none. Returns false when there are no more.
    fn next(&mut self, batch: &mut Batch) -> io::Result<bool>;

    /// Reads as far as is needed to know the columns, where items are rows. Returns, with its name, each file whose
    /// columns differ from those of the files before it.
    fn columns(&mut self) -> io::Result<Vec<(String, CsvColumns)>> {
        Ok(Vec::new())
    }

    /// Reads until there is an item. Also returns how the input ended, if it did: then the batch is the last, and may
    /// be empty.
    fn next_batch(&mut self) -> (Batch, Option<Result<(), InputError>>) {
        let mut batch = Batch::default();
        let end = loop {
            match self.next(&mut batch) {
                Ok(true) if batch.is_empty() => {}
                Ok(true) => break None,
                Ok(false) => break Some(Ok(())),
                Err(e) => break Some(Err(e.into())),
            }
        };
        (batch, end)
    }
}
