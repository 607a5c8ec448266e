//! `wasmpool-probes`: what a compromised worker would try. For tests of the sandbox only.

mod contained;
mod driver;
mod emulated;

use std::process::ExitCode;

fn main() -> ExitCode {
    wasmpool::worker_entry();
    driver::main()
}
