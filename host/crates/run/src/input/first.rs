//! The first items of an input.

use std::io;

use super::{Batch, ItemSource};
use wasmpool_core::policy::CsvColumns;

/// Takes the first items of another source, and reads no further.
pub struct FirstItems {
    items: Box<dyn ItemSource>,
    /// Number of items that may still come.
    left: u64,
}

impl FirstItems {
    pub fn new(items: Box<dyn ItemSource>, most: u64) -> FirstItems {
        FirstItems { items, left: most }
    }
}

impl ItemSource for FirstItems {
    fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        let before = batch.sizes.len();
        let more = self.items.next(batch)?;
        let read = (batch.sizes.len() - before) as u64;
        // What is taken is no more than what was read, so it fits.
        let taken = read.min(self.left);
        batch.truncate(before + taken as usize);
        self.left -= taken;
        Ok(more && self.left > 0)
    }

    fn columns(&mut self) -> io::Result<Vec<(String, CsvColumns)>> {
        self.items.columns()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives items in reads of this many, and counts the reads.
    struct Counting {
        each: usize,
        reads: usize,
    }

    impl ItemSource for Counting {
        fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
            self.reads += 1;
            assert!(self.reads < 10, "it is read on");
            (0..self.each).for_each(|nth| batch.push(format!("{}.{nth}", self.reads).as_bytes()));
            // The last item of a read may be kept in memory of its own.
            batch.push_whole(bytes::Bytes::from_static(b"whole"));
            Ok(true)
        }
    }

    #[test]
    fn it_has_as_many_items_as_were_asked_for_and_reads_no_further() {
        for (most, each) in [(1, 0), (1, 4), (5, 4), (6, 4), (7, 1), (9, 0)] {
            let mut items = FirstItems::new(Box::new(Counting { each, reads: 0 }), most);
            let (mut batch, mut more) = (Batch::default(), true);
            while more {
                more = items.next(&mut batch).expect("items");
            }
            assert_eq!(batch.sizes.len() as u64, most, "{each}");
            let size = wasmpool_ipc::batch::with_headers(&batch.sizes);
            assert_eq!(batch.size(), size, "{most} of {each}: nothing is left of others");
            assert!(!items.next(&mut batch).expect("no items"));
        }
    }
}
