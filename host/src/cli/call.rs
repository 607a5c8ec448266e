//! `wasmpool call`: runs one item, made of the arguments, in a pool of one worker.

use std::io;
use std::time::Duration;
use wasmpool_run::tell;

use super::apart::ReadFiles;
use super::compiling::Notice;
use super::exit::{Exit, Stop};
use super::progress::{short_of_workers, without};
use super::run::{Run, run};
use super::spec::OneItem;
use super::spec::RunSpec;
use wasmpool_core::layer::Part;
use wasmpool_core::outcome::{Counts, Failure, Kind};
use wasmpool_core::text::{Foreign, Quoted};
use wasmpool_ipc::batch::Batch;
use wasmpool_run::compile::Wasm;
use wasmpool_run::input::Items;
use wasmpool_run::journal::Identity;
use wasmpool_run::output::{Format, Output, Target, Watcher};
use wasmpool_scheduler::{Config, WorkerId};

pub fn call(spec: &RunSpec<OneItem>) -> Result<Exit, Stop> {
    let OneItem { task, item } = &spec.items;
    ReadFiles::of(spec, [task.as_path()]).check_streams()?;
    let call = spec.call();
    let mut watcher = Said { quiet: spec.verbosity.quiet };
    let (exit, counts) = run(Run {
        task: &Wasm::of_argument(task)?,
        grants: spec.grants.grants(),
        config: Config::of_limits(call.limits.timeout, 1),
        call,
        format: Format::Values,
        items: Box::new(Once(Some(item.clone()))),
        identity: Identity::default(),
        output: Output::new(Target::open(None, "the result")?, None, None),
        files: None,
        watcher: &mut watcher,
        notice: Notice::new(spec.verbosity),
        ends_at_once: true,
    })
    .map_err(|e| Stop::of_run(&e, &spec.grants))?;
    // Arguments that do not fit are wrong usage here, since a person wrote them.
    let misfit = counts.failed.contains_key(&Kind::InvalidInput);
    Ok(if misfit { Exit::Usage } else { exit })
}

struct Once(Option<String>);

impl Items for Once {
    fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
        if let Some(item) = self.0.take() {
            batch.push(item.as_bytes());
        }
        Ok(false)
    }
}

/// A watcher that prints on standard error why the call failed.
struct Said {
    quiet: bool,
}

impl Watcher for Said {
    fn failed(&mut self, _index: u64, failure: &Failure) {
        tell!("wasmpool: the call failed: {}: {}", failure.kind.name(), Foreign::of(&failure.message));
        if !self.quiet {
            for frame in &failure.trace {
                tell!("    in {}", Foreign::of(frame));
            }
            for printed in [&failure.printed.stdout, &failure.printed.stderr] {
                if !printed.trim().is_empty() {
                    tell!("{}", Quoted(printed));
                }
            }
        }
    }

    fn worker_lost(&mut self, _worker: WorkerId, _how: &str) {}

    fn short_of_workers(&mut self, living: usize, why: &io::Error) {
        if !self.quiet {
            tell!("{}", short_of_workers(living, why));
        }
    }

    fn unprotected(&mut self, lacking: &[Part]) {
        if !self.quiet {
            tell!("{}", without(lacking));
        }
    }

    fn tick(&mut self, _items: u64, _counts: &Counts) -> Option<Duration> {
        None
    }
}
