//! Pristine copies of memories, and the pages of an instance that are put back from them.

use std::io;
use std::ptr::NonNull;

use super::pages::{self, OwnPages, PageMap};

/// The contents of a memory as an item has to find it. Pages that are all zeros are not kept.
#[derive(Debug)]
pub struct PristineMemory {
    len: usize,
    page: usize,
    /// The place of each page in `bytes`; [`ZERO`] for a page of zeros.
    places: Vec<u32>,
    bytes: Vec<u8>,
}

/// Place of a page of zeros.
const ZERO: u32 = u32::MAX;

impl PristineMemory {
    /// Copies a memory.
    ///
    /// # Safety
    ///
    /// The memory has to be mapped with this length, which is a multiple of that of a page, and nothing may write to it
    /// meanwhile.
    pub unsafe fn copy(base: NonNull<u8>, len: usize, page: usize) -> PristineMemory {
        // SAFETY: as promised by the caller.
        let memory = unsafe { std::slice::from_raw_parts(base.as_ptr(), len) };
        let mut pristine = PristineMemory { len, page, places: Vec::with_capacity(len / page), bytes: Vec::new() };
        for page in memory.chunks(page) {
            let place = match is_zero(page) {
                true => ZERO,
                false => (pristine.bytes.len() / pristine.page) as u32,
            };
            if place != ZERO {
                pristine.bytes.extend_from_slice(page);
            }
            pristine.places.push(place);
        }
        pristine
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Gives the pages that copying this memory has mapped back to the kernel, which would otherwise go through all of them
    /// whenever it is asked which pages were written to: of this instance, and of each later one at the same place. Pages that
    /// have been written to stay.
    pub fn give_back_read(&self, base: NonNull<u8>, pages: &PageMap) -> io::Result<()> {
        let mut written = Vec::new();
        pages.own_pages(base, self.len, |own| written.extend((!own.zero).then_some((own.at, own.at + own.len))))?;
        written.push((self.len, self.len));
        let mut begin = 0;
        for (at, end) in written {
            if at > begin {
                // SAFETY: the pages lie in the memory.
                pages::give_back(unsafe { base.add(begin) }, at - begin);
            }
            begin = end;
        }
        Ok(())
    }

    /// Returns a page's contents; `None` for zeros.
    fn page(&self, at: usize) -> Option<&[u8]> {
        let place = self.places.get(at).copied().filter(|place| *place != ZERO)? as usize;
        self.bytes.get(place * self.page..(place + 1) * self.page)
    }
}

fn is_zero(page: &[u8]) -> bool {
    page.chunks(size_of::<u128>()).all(|bytes| bytes.iter().fold(0, |all, byte| all | byte) == 0)
}

/// A memory of an instance, with the pages that may differ from the pristine ones.
#[derive(Debug)]
pub struct WrittenMemory {
    base: NonNull<u8>,
    /// The page's number, for each page that may have been written to. Pages stay here as long as the instance lives: they
    /// can be written to again without a fault.
    written: Vec<u32>,
    /// A bit for each page that is there.
    is_written: Vec<u64>,
}

impl WrittenMemory {
    pub fn new(base: NonNull<u8>, pristine: &PristineMemory) -> WrittenMemory {
        WrittenMemory { base, written: Vec::new(), is_written: vec![0; pristine.places.len().div_ceil(64)] }
    }

    /// Returns the number of pages that may have been written to.
    pub fn written(&self) -> usize {
        self.written.len()
    }

    /// Takes note of the pages that were written to.
    pub fn look(&mut self, pages: &PageMap, pristine: &PristineMemory) -> io::Result<()> {
        let WrittenMemory { base, written, is_written } = self;
        pages.own_pages(*base, pristine.len, |OwnPages { at, len, zero }| {
            for page in at / pristine.page..(at + len) / pristine.page {
                // A page that was only read may be one that the kernel has for all zeros.
                if zero && pristine.page(page).is_none() {
                    continue;
                }
                let (word, bit) = (page / 64, 1 << (page % 64));
                if let Some(word) = is_written.get_mut(word)
                    && *word & bit == 0
                {
                    *word |= bit;
                    written.push(page as u32);
                }
            }
        })
    }

    /// Returns the number of pages that are put back in vain, because they were not written to this time.
    ///
    /// # Safety
    ///
    /// As for [`WrittenMemory::put_back`].
    pub unsafe fn same(&self, pristine: &PristineMemory) -> usize {
        // SAFETY: as promised by the caller.
        let memory = unsafe { self.contents(pristine) };
        let is_same = |page: &&u32| {
            let page = **page as usize;
            let now = memory.get(page * pristine.page..(page + 1) * pristine.page).unwrap_or_default();
            pristine.page(page).map_or_else(|| is_zero(now), |contents| contents == now)
        };
        self.written.iter().filter(is_same).count()
    }

    /// Gives the pages back to the kernel, before the instance is dropped. They would otherwise be kept for the next one, which
    /// would have them as its own from the start.
    pub fn give_back(&self, pristine: &PristineMemory) {
        pages::give_back(self.base, pristine.len);
    }

    /// Puts back all pages that may have been written to.
    ///
    /// # Safety
    ///
    /// The memory has to be mapped, and nothing may access it meanwhile.
    pub unsafe fn put_back(&self, pristine: &PristineMemory) {
        for page in &self.written {
            let page = *page as usize;
            // SAFETY: the page lies in the memory, which nothing else accesses.
            let memory = unsafe {
                let at = self.base.as_ptr().add(page * pristine.page);
                std::slice::from_raw_parts_mut(at, pristine.page)
            };
            match pristine.page(page) {
                Some(contents) => memory.copy_from_slice(contents),
                None => memory.fill(0),
            }
        }
    }

    /// Returns the memory.
    ///
    /// # Safety
    ///
    /// As for [`WrittenMemory::put_back`], for as long as the slice is used.
    pub unsafe fn contents(&self, pristine: &PristineMemory) -> &[u8] {
        // SAFETY: as promised by the caller.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), pristine.len) }
    }
}
