//! How many descriptors this process may have.

use std::fs;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Raises the limit to the one up to which a process may raise it by itself (`ulimit -Hn`). The lower one is meant for programs
/// that use `select`, which nothing here does. Children set limits of their own when they enter their sandbox.
pub fn raise_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // If that is refused, the lower limit holds.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Returns how many descriptors this process may have besides those that it has, if there is a limit and they can be counted.
pub fn left() -> Option<u64> {
    let (most, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let used = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    (most != RLIM_INFINITY).then(|| most.saturating_sub(used))
}
