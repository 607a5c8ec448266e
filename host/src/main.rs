//! The `wasmpool` command.

mod cli;

use std::process::ExitCode;

/// Runs before the standard library opens `/dev/null` for streams that are closed.
#[used]
// SAFETY: the section holds functions that take nothing, or what `main` takes, and return nothing; this one is such a
// function, and needs nothing that is set up later.
#[unsafe(link_section = ".init_array")]
static NOTE_CLOSED_STREAMS: extern "C" fn() = wasmpool_run::stdio::note_closed;

fn main() -> ExitCode {
    wasmpool::worker_entry();
    cli::main()
}
