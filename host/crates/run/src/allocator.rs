//! The allocator's treatment of large blocks in this process.

/// Keeps large freed blocks in the process, for reuse. Large items and chunks pass through buffers of their size. An
/// allocator that returns each to the kernel gets the next one a page at a time, and a page costs more than the work
/// done with it. Only for processes that are wholly ours: a program that uses the library decides for itself.
pub fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    {
        const KEPT: i32 = 4 << 20;
        // SAFETY: these calls set two numbers, and the only other thread waits for the one that calls this.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }
}
