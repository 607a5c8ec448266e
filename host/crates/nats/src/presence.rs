//! How this process names itself to others that would take its place.

use wasmpool_hosts::notes::Presence;

/// Returns where this process is.
pub fn own_presence() -> Presence {
    Presence { process: std::process::id(), machine: machine_name() }
}

/// Returns the name of this machine.
pub fn machine_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
