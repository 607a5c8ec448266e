//! `wasmpool call`: runs one item, made of the arguments, in a pool of one worker.

use std::io;
use std::time::Duration;
use wasmpool_run::stdio::Level;
use wasmpool_run::tell_as;

use super::apart::{self, ReadFiles};
use super::compiling::CompilingNotice;
use super::exit::{Exit, Stop};
use super::progress::{short_of_workers, without};
use super::run::{RunParts, run};
use super::sharing::Sharing;
use super::spec::OneItem;
use super::spec::RunSpec;
use super::spec::{FunctionSpec, WorkSpec};
use super::swapped;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::{FailureKind, OutcomeCounts};
use wasmpool_core::policy::{ItemEncoding, TaskCall};
use wasmpool_core::text::{ForeignText, QuotedOutput};
use wasmpool_ipc::batch::Batch;
use wasmpool_run::compile::Wasm;
use wasmpool_run::error::Error;
use wasmpool_run::input::ItemSource;
use wasmpool_run::journal::RunIdentity;
use wasmpool_run::output::{FailedItem, LineFormat, OutputTarget, RunOutput, RunWatcher};
use wasmpool_run::supervisor::SpareWorkers;
use wasmpool_scheduler::{SchedulerConfig, WorkerId};

/// Makes the call. `ahead` has the worker for it, if it was started already.
pub fn call(spec: &RunSpec<OneItem>, ahead: Option<SpareWorkers>) -> Result<Exit, Stop> {
    let OneItem { task, item, arguments } = &spec.items;
    let read = ReadFiles::of(spec, [task.as_path()]);
    read.check_streams()?;
    apart::check_share_out(&read, spec)?;
    let call = TaskCall { arguments: Some(*arguments), item_form: ItemEncoding::Typed, ..spec.call() };
    let mut watcher = CallFailureReport { quiet: spec.verbosity.quiet };
    let of_run = |e: Error| {
        let stop = Stop::of_spec(&e, spec);
        match &spec.work {
            WorkSpec::Function(FunctionSpec { function, .. }) => {
                swapped::with_task_behind(stop, &e, task, function.as_deref().unwrap_or_default())
            }
            WorkSpec::Command(_) => stop,
        }
    };
    let (exit, counts) = run(RunParts {
        task: &Wasm::of_argument(task).map_err(of_run)?,
        grants: spec.grants.grants(),
        sharing: Sharing::of(spec)?,
        config: SchedulerConfig::of_limits(call.limits.timeout, 1),
        #[cfg(feature = "hosts")]
        via: None,
        call,
        format: LineFormat::Values,
        keep: None,
        items: Box::new(SingleItem(Some(item.clone()))),
        identity: RunIdentity::default(),
        output: RunOutput::new(OutputTarget::open(None, "the result")?, None, None),
        files: None,
        watcher: &mut watcher,
        notice: CompilingNotice::new(spec.verbosity),
        ends_at_once: true,
        ahead,
    })
    .map_err(of_run)?;
    Ok(counts.failed.keys().next().map_or(exit, |kind| exit_of(*kind)))
}

/// Returns how a call ends that failed like this.
fn exit_of(kind: FailureKind) -> Exit {
    // Arguments that do not fit are wrong usage here, since a person wrote them.
    if kind == FailureKind::InvalidInput { Exit::Usage } else { Exit::Failures }
}

struct SingleItem(Option<String>);

impl ItemSource for SingleItem {
    fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
        if let Some(item) = self.0.take() {
            batch.push(item.as_bytes());
        }
        Ok(false)
    }
}

/// A watcher that prints on standard error why the call failed.
struct CallFailureReport {
    quiet: bool,
}

impl RunWatcher for CallFailureReport {
    fn failed(&mut self, FailedItem { failure, .. }: &FailedItem<'_>) {
        let name = failure.kind.name();
        let mut message = format!("the call failed: {name}: {}", ForeignText::of_failure(&failure.message));
        let exit = exit_of(failure.kind);
        let mut facts = vec![("kind", name.into()), ("exit_code", exit.code().into())];
        if !self.quiet {
            for frame in &failure.trace {
                // The last may be the number of those that are left out.
                let within = if frame.starts_with('(') { "" } else { "in " };
                message += &format!("\n    {within}{}", ForeignText::of(frame));
            }
            let printed = [("stdout", &failure.printed.stdout), ("stderr", &failure.printed.stderr)];
            for (stream, printed) in printed.into_iter().filter(|(_, printed)| !printed.trim().is_empty()) {
                message += &format!("\n{}", QuotedOutput(printed));
                facts.push((stream, printed.as_str().into()));
            }
        }
        tell_as!(Level::Error, &facts, "wasmpool: {message}");
    }

    fn worker_lost(&mut self, _worker: WorkerId, _how: &str) {}

    fn short_of_workers(&mut self, living: usize, why: &io::Error) {
        if !self.quiet {
            tell_as!(Level::Warning, &[], "{}", short_of_workers(living, why));
        }
    }

    fn unprotected(&mut self, lacking: &[LayerPart]) {
        if !self.quiet {
            tell_as!(Level::Warning, &[], "{}", without(lacking));
        }
    }

    fn tick(&mut self, _items: u64, _counts: &OutcomeCounts) -> Option<Duration> {
        None
    }
}
