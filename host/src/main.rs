//! The `wasmpool` command.

mod cli;

use std::process::ExitCode;
use std::thread;

use nix::sys::signal::{SigSet, SigmaskHow};

/// Runs before the standard library opens `/dev/null` for streams that are closed.
#[used]
// SAFETY: the section holds functions that take nothing, or what `main` takes, and return nothing; this one is such a
// function, and needs nothing that is set up later.
#[unsafe(link_section = ".init_array")]
static NOTE_CLOSED_STREAMS: extern "C" fn() = wasmpool_run::stdio::note_closed;

/// Bytes of stack that the command has. The shell's limit (`ulimit -s`) binds the first thread alone, which would end without a
/// word where it is narrow.
const STACK: usize = 8 << 20;

fn main() -> ExitCode {
    wasmpool::worker_entry();
    // Signals reach the command's thread alone: it decides when one ends the process.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let command = move || {
        if let Ok(before) = before {
            let _ = before.thread_set_mask();
        }
        cli::main()
    };
    match thread::Builder::new().name("wasmpool".to_owned()).stack_size(STACK).spawn(command) {
        // A panic has told its reason.
        Ok(command) => command.join().unwrap_or(ExitCode::from(101)),
        // Where there is no room for a thread, there is more to say than can be said here.
        Err(_) => command(),
    }
}
