//! Copies of bytes on their way between two processes.
//!
//! Before version 2.40, glibc copies from 2 KiB to the size of the second-level cache with `rep movsb`. On AMD's Zen 3 and
//! Zen 4 that takes three times as long as a loop, unless source and destination lie alike in their cache lines
//! (<https://sourceware.org/bugzilla/show_bug.cgi?id=30994>); what passes a lane rarely does. On these processors, bytes are
//! copied by a loop here.

/// Copies bytes.
///
/// # Safety
///
/// As for [`pointer::copy_to_nonoverlapping`](https://doc.rust-lang.org/std/primitive.pointer.html).
#[inline]
pub unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if len >= LEAST && loops::are_faster() {
        // SAFETY: guaranteed by the caller.
        return unsafe { loops::copy(from, to, len) };
    }
    // SAFETY: guaranteed by the caller.
    unsafe { from.copy_to_nonoverlapping(to, len) }
}

/// Appends bytes.
#[inline]
pub fn append(bytes: &[u8], to: &mut Vec<u8>) {
    to.reserve(bytes.len());
    // SAFETY: there is room for the bytes at the end; afterwards they are initialised.
    unsafe {
        copy(bytes.as_ptr(), to.as_mut_ptr().add(to.len()), bytes.len());
        to.set_len(to.len() + bytes.len());
    }
}

/// Number of bytes up to which glibc does not use `rep movsb`.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const LEAST: usize = 2048;

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod loops {
    use std::arch::x86_64::{__cpuid, __m128i, _mm_loadu_si128, _mm_store_si128};
    use std::sync::LazyLock;

    /// Size of a cache line.
    const LINE: usize = 64;
    /// Families of AMD's processors that are Zen 3 or Zen 4.
    const ZEN_3_AND_4: u32 = 0x19;

    /// Returns true if loops copy faster than the C library on this processor.
    #[inline]
    pub fn are_faster() -> bool {
        static ARE_FASTER: LazyLock<bool> = LazyLock::new(is_zen_3_or_4);
        *ARE_FASTER
    }

    fn is_zen_3_or_4() -> bool {
        let vendor = __cpuid(0);
        let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
        let version = __cpuid(1).eax;
        name.as_flattened() == b"AuthenticAMD" && (version >> 8 & 0xf) + (version >> 20 & 0xff) == ZEN_3_AND_4
    }

    /// Copies bytes, a cache line of the destination at a time.
    ///
    /// # Safety
    ///
    /// As for [`super::copy`].
    pub unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
        let head = to.align_offset(LINE).min(len);
        let lines = (len - head) / LINE;
        let tail = head + lines * LINE;
        // SAFETY: all offsets are at most `len`; SSE2, which has these instructions, is part of x86-64; the destination of
        // each line is aligned.
        unsafe {
            from.copy_to_nonoverlapping(to, head);
            for at in (head..tail).step_by(LINE) {
                let (from, to) = (from.add(at).cast::<__m128i>(), to.add(at).cast::<__m128i>());
                let line = [0, 1, 2, 3].map(|part| _mm_loadu_si128(from.add(part)));
                for (part, bytes) in line.into_iter().enumerate() {
                    _mm_store_si128(to.add(part), bytes);
                }
            }
            from.add(tail).copy_to_nonoverlapping(to.add(tail), len - tail);
        }
    }
}

#[cfg(all(test, target_arch = "x86_64", not(miri)))]
mod tests {
    use proptest::prelude::*;

    use super::loops;

    proptest! {
        #[test]
        fn loops_copy_these_bytes_and_no_others(from in 0..100usize, to in 0..100usize, len in 0..5000usize) {
            let source: Vec<u8> = (0..6000).map(|i| (i * 7) as u8).collect();
            let mut expected = vec![0xee; 6000];
            expected[to..to + len].copy_from_slice(&source[from..from + len]);
            let mut copied = vec![0xee; 6000];
            // SAFETY: both have at least this many bytes from there on.
            unsafe { loops::copy(source[from..].as_ptr(), copied[to..].as_mut_ptr(), len) };
            prop_assert!(copied == expected);
        }
    }
}
