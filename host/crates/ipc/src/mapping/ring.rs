//! A ring that is mapped twice in a row, whose bytes are named by their position among all that ever pass.

use std::ptr::NonNull;

use crate::copy::copy;

/// A ring of `SIZE` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Ring<const SIZE: usize>(NonNull<u8>);

// SAFETY: this is an address; whoever accesses the bytes there says why no other thread does.
unsafe impl<const SIZE: usize> Send for Ring<SIZE> {}

impl<const SIZE: usize> Ring<SIZE> {
    /// Takes the address of a ring for one.
    ///
    /// # Safety
    ///
    /// Two copies of `SIZE` bytes have to be mapped there, for as long as the ring is used.
    pub unsafe fn at_address(base: NonNull<u8>) -> Ring<SIZE> {
        Ring(base)
    }

    /// Returns the address of the byte at this position. `SIZE` bytes follow from there without a wrap.
    #[inline]
    pub fn at(&self, position: u64) -> NonNull<u8> {
        // SAFETY: `2 * SIZE` bytes are mapped there.
        unsafe { self.0.add((position % SIZE as u64) as usize) }
    }

    /// Copies bytes into the ring, beginning at this position.
    ///
    /// # Safety
    ///
    /// The bytes must not be more than the ring holds, and nobody else may rely on that part of the ring.
    #[inline]
    pub unsafe fn write(&self, position: u64, bytes: &[u8]) {
        // SAFETY: as many bytes as the ring holds are mapped from there on, and they belong to the caller.
        unsafe { copy(bytes.as_ptr(), self.at(position).as_ptr(), bytes.len()) };
        #[cfg(miri)]
        super::plain::mirror(self.0, SIZE, (position % SIZE as u64) as usize, bytes.len());
    }
}
