//! The `wasmpool` command.

mod cli;

use std::process::ExitCode;
use std::thread;

use nix::sys::signal::{SigSet, SigmaskHow};

/// Notes which standard streams are closed, before the standard library opens `/dev/null` in their place.
#[used]
// SAFETY: the section holds functions that take nothing, or what `main` takes, and return nothing. This function takes
// and returns nothing, and needs nothing that is set up later.
#[unsafe(link_section = ".init_array")]
static NOTE_CLOSED_STREAMS: extern "C" fn() = wasmpool_run::stdio::note_closed;

/// Stack size of the command's thread, in bytes. The shell's limit (`ulimit -s`) binds the first thread alone, which
/// would be killed without a message where that limit is low.
const STACK: usize = 8 << 20;

fn main() -> ExitCode {
    wasmpool::worker_entry();
    // Signals are delivered to the command's thread alone, which decides when one ends the process.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let command = move || -> ExitCode {
        if let Ok(before) = before {
            let _ = before.thread_set_mask();
        }
        // Not handed to the first thread, which would have to be woken for nothing else.
        std::process::exit(cli::main().code().into())
    };
    match thread::Builder::new().name("wasmpool".to_owned()).stack_size(STACK).spawn(command) {
        // The panic has already printed its reason.
        Ok(command) => command.join().unwrap_or(ExitCode::from(101)),
        // There is no room for a thread: the command runs in this one, where errors are reported as always.
        Err(_) => command(),
    }
}
