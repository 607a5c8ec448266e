//! The `wasmpool` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    wasmpool::worker_entry();
    wasmpool::cli::main()
}
