//! Files that one process at a time uses.

use std::fs::{File, TryLockError};
use std::io;
use std::thread;
use std::time::Duration;

use crate::scarce::passes;

/// Number of attempts to lock a file. A lock may outlive its process for a moment: a child that is just being started holds it
/// until it executes its program.
const TRIES: u32 = 20;
const AGAIN: Duration = Duration::from_millis(25);

/// Locks a file for this process, and returns false if another has it.
///
/// # Errors
///
/// That of the kernel if the file cannot be locked.
pub fn lock(file: &File) -> io::Result<bool> {
    let mut lack = None;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => lack = None,
            Err(TryLockError::Error(e)) if passes(&e) => lack = Some(e),
            Err(TryLockError::Error(e)) => return Err(e),
        }
        thread::sleep(AGAIN);
    }
    lack.map_or(Ok(false), Err)
}
