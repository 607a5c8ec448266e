//! The promises of wasmpool, tested on the built program from outside: real processes, real signals, real pipes.
//!
//! Each test is named after the promise it keeps. See `README.md` beside this crate's manifest for how to run them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and prints what was left out on this machine"
)]

mod support;

mod apart;
mod arguments;
mod async_calls;
mod backpressure;
mod batch;
mod bytes;
mod cache;
mod call;
mod captures;
mod chaos;
mod columns;
mod compile;
mod compile_bombs;
mod concurrent;
mod copies;
mod costs;
mod csv;
mod death;
mod deterministic;
mod documents;
mod dry_run;
mod environment;
mod exchange;
mod exec;
mod exit_codes;
mod failed;
mod failures;
mod faults;
mod faults_of_hosts;
mod features;
mod flatten;
mod from_python;
mod functions;
mod grants;
mod guests;
mod halt;
mod hangup;
mod help;
mod host_calls;
mod hosts;
mod init;
mod input_as_it_comes;
mod input_formats;
mod inspect;
mod interrupt;
mod isolate;
mod journal;
mod languages;
mod layers;
mod leftovers;
mod limits;
mod links;
mod manifest;
mod memory;
mod messages;
mod new;
mod order;
mod output_formats;
mod pictures;
mod progress;
mod promises;
mod random;
mod records;
mod reports;
mod restoring;
mod results;
mod retries;
mod round_trip;
mod runfile;
mod scarcity;
mod scratch;
mod sdk;
mod several;
mod shared;
mod sources;
mod streams;
mod third_party;
mod timeouts;
mod together;
mod toolchains;
mod typed;
mod values;
mod voice;
mod wasi_files;
mod worker_process;
mod wrong_use;
