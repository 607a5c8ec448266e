//! `wasmpool-probes`: what a compromised worker would try. For tests of the sandbox only.

use std::process::ExitCode;

fn main() -> ExitCode {
    wasmpool::worker_entry();
    wasmpool::probes::main()
}
