//! A worker that loads a task, looks whether items fit its function, and runs nothing of it.

use std::time::Duration;

use super::compiling::CompilingNotice;
use super::run::SupervisorWork;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::{Failure, FailureKind};
use wasmpool_ipc::batch::Batch;
use wasmpool_run::error::Error;
use wasmpool_run::rendered::RenderedOutcomes;
use wasmpool_run::scarce::patiently;
use wasmpool_run::supervisor::{Event, Mailbox, OutcomeRecord, OutcomeSink, OutcomeValue, Recorded, SpareWorkers};
use wasmpool_scheduler::{SchedulerConfig, WorkerId};

/// What a check finds.
#[derive(Debug, Default)]
pub struct Findings {
    /// Why the first item that does not fit does not. Any other failure is for the run to tell.
    pub misfit: Option<Failure>,
    /// The parts of the sandbox that the worker does without.
    pub lacking: Vec<LayerPart>,
}

/// Checks items against a call that has `only_checked`.
pub fn check(
    work: SupervisorWork<'_>,
    spares: SpareWorkers,
    items: Batch,
    notice: &mut CompilingNotice<'_>,
) -> Result<Findings, Error> {
    let mailbox = patiently(None, || Mailbox::asking(Box::new(|_| false)))?;
    let sender = mailbox.sender();
    sender.send(Event::Input(items));
    sender.send(Event::InputEnd);
    let mut findings = Findings::default();
    let config = SchedulerConfig::of_limits(work.call.limits.timeout, 1);
    work.run(config, spares, &mut findings, &mailbox, notice)?;
    Ok(findings)
}

impl OutcomeSink for Findings {
    fn record(
        &mut self,
        _: OutcomeRecord<'_>,
        result: Result<OutcomeValue<'_>, Failure>,
        _: &mut RenderedOutcomes,
    ) -> Recorded {
        match result {
            Ok(_) => Recorded::Success,
            Err(failure) => {
                if failure.kind == FailureKind::InvalidInput {
                    self.misfit.get_or_insert(failure);
                }
                Recorded::Failure
            }
        }
    }

    fn emit(&mut self, _: Vec<RenderedOutcomes>) {}

    fn worker_lost(&mut self, _: WorkerId, _: &str) {}

    fn unprotected(&mut self, lacking: &[LayerPart]) {
        self.lacking = lacking.to_vec();
    }

    fn tick(&mut self, _: u64) -> Option<Duration> {
        None
    }
}
