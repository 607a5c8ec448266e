//! The kernel's knowledge of pages: which of them were written to, and whether any may have been since it was asked.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

/// Categories of pages as `PAGEMAP_SCAN` names them.
const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
const IS_ZERO: u64 = 1 << 5;

/// The argument of the call, `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct ScanArgument {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// Consecutive pages in the answer, `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// Number of regions that are asked for at a time.
const REGIONS: usize = 256;

/// Consecutive pages that a process has of its own, as an offset and a length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnPages {
    pub at: usize,
    pub len: usize,
    /// True if nothing but zeros was read there so far.
    pub zero: bool,
}

/// The map of this process's pages.
#[derive(Debug)]
pub struct PageMap {
    file: File,
    page: usize,
}

impl PageMap {
    /// Opens the map. Fails without `/proc`, or if the kernel (before 6.7) cannot tell which pages were written to.
    pub fn open() -> io::Result<PageMap> {
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(io::Error::other)?;
        let map = PageMap { file: File::open("/proc/self/pagemap")?, page };
        let mut regions = [PageRegion::default()];
        map.ask(&mut ScanArgument::over(0, 0), &mut regions)?;
        Ok(map)
    }

    /// Returns the size of a page in bytes.
    pub fn page_size(&self) -> usize {
        self.page
    }

    /// Calls `found` for the pages of this memory that the process has of its own. All others have the contents that they were
    /// mapped with: a page becomes the process's own when it is first written to, and stays so.
    pub fn own_pages(&self, base: NonNull<u8>, len: usize, mut found: impl FnMut(OwnPages)) -> io::Result<()> {
        let base = base.as_ptr().addr();
        let mut regions = [PageRegion::default(); REGIONS];
        let end = base as u64 + len as u64;
        let mut argument = ScanArgument::over(base as u64, end);
        while argument.start < end {
            let count = self.ask(&mut argument, &mut regions)?;
            for region in regions.iter().take(count) {
                found(OwnPages {
                    at: (region.start - base as u64) as usize,
                    len: (region.end - region.start) as usize,
                    zero: region.categories & IS_ZERO != 0,
                });
            }
            if argument.walk_end <= argument.start {
                return Err(io::Error::other("the kernel does not go through the pages"));
            }
            argument.start = argument.walk_end;
        }
        Ok(())
    }

    fn ask(&self, argument: &mut ScanArgument, regions: &mut [PageRegion]) -> io::Result<usize> {
        argument.vec = regions.as_mut_ptr().addr() as u64;
        argument.vec_len = regions.len() as u64;
        let request = wasmpool_sandbox::PAGEMAP_SCAN;
        // SAFETY: the argument has the form that the kernel expects; it writes to it, and to as many regions as there
        // are.
        let count = unsafe { libc::ioctl(self.file.as_raw_fd(), request as _, &raw mut *argument) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

impl ScanArgument {
    /// Returns a request for pages between these addresses that are in memory or in swap space, and that are not those of
    /// a file.
    fn over(start: u64, end: u64) -> ScanArgument {
        ScanArgument {
            size: size_of::<ScanArgument>() as u64,
            start,
            end,
            category_inverted: IS_FILE,
            category_mask: IS_FILE,
            category_anyof_mask: IS_PRESENT | IS_SWAPPED,
            return_mask: IS_ZERO,
            ..ScanArgument::default()
        }
    }
}

/// Returns the number of page faults of this thread. As long as it stays the same, the thread has written to no page that
/// was not its process's own already. `None` if the kernel does not say: no thread gets here without a fault, so none is no answer.
pub fn faults() -> Option<u64> {
    // SAFETY: all zeros are valid usage data.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: writes to the variable.
    let failed = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) } != 0;
    let faults = (usage.ru_minflt as u64).wrapping_add(usage.ru_majflt as u64);
    (!failed && faults > 0).then_some(faults)
}

/// Forbids the kernel to join pages of this memory to larger ones, which it does without a fault of this thread.
///
/// # Errors
///
/// Fails if the kernel refuses it. A kernel that has no larger pages does not.
pub fn keep_pages_apart(base: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the advice changes no contents.
    if unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_NOHUGEPAGE) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        e if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        e => Err(e),
    }
}

/// Gives the pages of this memory back to the kernel, so that it has the contents again that it was mapped with.
pub fn give_back(base: NonNull<u8>, len: usize) {
    // SAFETY: either nothing has been written to the memory, or it belongs to an instance that is dropped next, and the engine
    // resets it whatever is in it.
    unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_DONTNEED) };
}
