//! The thread of a host that has a run's task, and the supervisor of its workers.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::tunnels::ObjectsWay;
use super::{HostSettings, LimitBounds};
use wasmpool_core::guest_grants::GuestGrants;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::Failure;
use wasmpool_core::policy::{ItemLimits, TaskCall};
use wasmpool_hosts::names::HostName;
use wasmpool_hosts::notes::{self, Manifest};
use wasmpool_hosts::outcomes::append;
use wasmpool_ipc::lane::frame::{OutcomeHeader, OutcomeTag};
use wasmpool_run::cgroup::{HostPlacement, Room, Workers};
use wasmpool_run::compile::{self, ArtifactCache, ArtifactKey, Unwatched, Wasm};
use wasmpool_run::error::{Error, caught};
use wasmpool_run::grants::{Grants, OpenedGrants};
use wasmpool_run::rendered::RenderedOutcomes;
use wasmpool_run::scarce::start_thread;
use wasmpool_run::shared::SharedEvent;
use wasmpool_run::spawn::ChildRole;
use wasmpool_run::supervisor::{
    EncodedValue, Mailbox, OutcomeRecord, OutcomeSink, OutcomeValue, Recorded, RunEnd, SpareWorkers, Supervisor,
};
use wasmpool_scheduler::{ChunkSize, SchedulerConfig, WorkerId};

/// What happens to the task of a run.
#[derive(Debug)]
pub enum TaskNews {
    /// A worker is ready for items.
    Ready,
    /// Outcomes of consecutive items, as they are sent.
    Outcomes(RenderedOutcomes),
    /// Workers have no part any more in the shared objects: what they run has to run again.
    Cut,
    Ended(Result<RunEnd, Error>),
}

/// What the thread of a run needs.
pub struct TaskWork {
    pub settings: HostSettings,
    pub manifest: Manifest,
    pub wasm: Wasm,
    /// What the host's policy grants of what the run asks for.
    pub grants: Grants,
    pub mailbox: Mailbox,
    pub unwanted: UnwantedItems,
    /// The way to the shared objects of the run, if it has some.
    pub objects: Option<ObjectsWay>,
}

/// Items that were given to the thread and that nobody wants any more, until it asks for them.
#[derive(Clone, Debug, Default)]
pub struct UnwantedItems(Arc<Mutex<Vec<Range<u64>>>>);

impl UnwantedItems {
    pub fn add(&self, items: Range<u64>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(items);
    }

    fn take(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts a thread that has workers run what comes through the mailbox.
pub fn start(work: TaskWork, tell: impl Fn(TaskNews) + Send + Sync + 'static) -> Result<(), Error> {
    start_thread("run", move || {
        let tell: Arc<dyn Fn(TaskNews) + Send + Sync> = Arc::new(tell);
        let done = caught("the thread that serves a run", || run(work, &tell)).flatten();
        tell(TaskNews::Ended(done));
    })?;
    Ok(())
}

fn run(work: TaskWork, tell: &Arc<dyn Fn(TaskNews) + Send + Sync>) -> Result<RunEnd, Error> {
    let TaskWork { settings, manifest, wasm, grants, mailbox, unwanted, objects } = work;
    let cache = ArtifactCache::of_user();
    let OpenedGrants { given, directories } = grants.open(&cache)?;
    let shared = objects.as_ref().map(|way| way.grants().clone()).unwrap_or_default();
    let given = GuestGrants { shared, ..given };
    let call = call(manifest.call, given, &settings);
    let reached = objects.map(ObjectsWay::connect).transpose()?;
    let _watching = reached.as_ref().map(|reached| {
        let told = tell.clone();
        reached.objects.listen(Box::new(move |event| {
            if matches!(event, SharedEvent::Cut { .. }) {
                told(TaskNews::Cut);
            }
        }))
    });
    let config = SchedulerConfig {
        ordered: false,
        // A chunk is run as it came.
        chunk: ChunkSize::Fixed(u32::MAX),
        batch: call.batch,
        max_items_per_worker: manifest.max_items_per_worker,
        ..SchedulerConfig::of_limits(call.limits.timeout, settings.workers)
    };
    let room = Room::new(HostPlacement::Moves, Workers::of(settings.workers, &call));
    let spares = SpareWorkers::new(settings.program.clone(), ChildRole::Worker, room);
    let key = ArtifactKey::of(&call);
    let prepare = |fresh| compile::prepare(&settings.program, &wasm, &key, &cache, fresh, &mut Unwatched);
    let prepared = prepare(false)?;
    let (name, bounds) = (settings.name.clone(), settings.policy.limits);
    let mut sink = HostSink { tell: tell.clone(), ready: false, unwanted, name, bounds, limits: call.limits };
    let mut supervisor = Supervisor::new(&prepared, &call, &directories, config, spares, &mut sink, &mailbox)?;
    if let Some(reached) = &reached {
        supervisor.share(reached.objects.clone(), call.given.shared.clone());
    }
    supervisor.serve_on_demand();
    supervisor.stand_by();
    match supervisor.run() {
        Err(Error::Artifact(_)) if prepared.compiled.is_none() => {
            // The cached artifact was made on another machine: a new one is compiled. No item has run yet.
            cache.remove(&prepared.hash, prepared.meta.profile);
            supervisor.exchange(&prepare(true)?, &call)?;
            supervisor.run()
        }
        other => other,
    }
}

/// Returns the call as this host makes it: with what it grants itself, and its own sandbox. What it sends, it sends whole.
fn call(asked: TaskCall, given: GuestGrants, settings: &HostSettings) -> TaskCall {
    TaskCall { sandbox: settings.sandbox, given, in_parts: false, only_checked: false, ..asked }
}

/// Writes outcomes as they are sent to the coordinator.
struct HostSink {
    tell: Arc<dyn Fn(TaskNews) + Send + Sync>,
    ready: bool,
    unwanted: UnwantedItems,
    name: HostName,
    /// What the policy of this host allows, and what items have.
    bounds: LimitBounds,
    limits: ItemLimits,
}

impl OutcomeSink for HostSink {
    fn record(
        &mut self,
        record: OutcomeRecord<'_>,
        result: Result<OutcomeValue<'_>, Failure>,
        to: &mut RenderedOutcomes,
    ) -> Recorded {
        let worker = record.worker.unwrap_or(0);
        let mut write = |tag, payload: &[&[u8]]| {
            let len: usize = payload.iter().map(|bytes| bytes.len()).sum();
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            append(worker, OutcomeHeader { tag, len, elapsed: record.elapsed }, payload, &mut to.results);
        };
        match result {
            Ok(OutcomeValue { encoded, beside }) => {
                let (bytes, [alone, with_beside]): (&[u8], _) = match &encoded {
                    EncodedValue::One(one) => (one, [OutcomeTag::Value, OutcomeTag::ValueAndBeside]),
                    EncodedValue::Many(many) => (many, [OutcomeTag::Values, OutcomeTag::ValuesAndBeside]),
                };
                match beside.filter(|beside| !beside.is_empty()) {
                    None => write(alone, &[bytes]),
                    Some(beside) => {
                        let beside = notes::write(&beside);
                        let len = u32::try_from(beside.len()).unwrap_or(u32::MAX).to_ne_bytes();
                        write(with_beside, &[&len, &beside, bytes]);
                    }
                }
                Recorded::Success
            }
            Err(mut failure) => {
                if self.bounds.hold(&self.limits, failure.kind) {
                    failure.message += &format!("; the policy of host {} allows no more", self.name);
                }
                let bytes = notes::write(&failure);
                write(OutcomeTag::Failure, &[&bytes]);
                Recorded::Failure
            }
        }
    }

    fn emit(&mut self, groups: Vec<RenderedOutcomes>) {
        groups.into_iter().for_each(|group| (self.tell)(TaskNews::Outcomes(group)));
    }

    fn unwanted(&mut self) -> Vec<Range<u64>> {
        self.unwanted.take()
    }

    fn worker_ready(&mut self, _worker: WorkerId) {
        if !std::mem::replace(&mut self.ready, true) {
            (self.tell)(TaskNews::Ready);
        }
    }

    fn worker_lost(&mut self, _worker: WorkerId, _how: &str) {}

    fn unprotected(&mut self, _lacking: &[LayerPart]) {}

    fn tick(&mut self, _items: u64) -> Option<std::time::Duration> {
        None
    }
}
