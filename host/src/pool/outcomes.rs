//! The route of outcomes from the supervisor to the jobs that wait for them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use bytes::Bytes;

use super::events::WorkerEvent;
use super::group::CallGroup;
use super::job::{FailedItem, Job, JobValue};
use wasmpool_core::layer::LayerPart;
use wasmpool_core::outcome::{Failure, FailureKind};
use wasmpool_ipc::copy;
use wasmpool_ipc::lane::host::{COPIED, LARGE};
use wasmpool_ipc::lane::outcome::OutcomeBytes;
use wasmpool_run::rendered::RenderedOutcomes;
use wasmpool_run::supervisor::{EncodedValue, OutcomeRecord, OutcomeSink, OutcomeValue, Recorded, WorkerNews};
use wasmpool_scheduler::WorkerId;

/// Size in bytes of an allocation that outcomes share.
const BLOCK: usize = 64 << 10;
/// Length from which an outcome is handed out where it was copied to from the lane. Shorter ones are copied, since they would keep
/// alive what lies between them.
const HANDED_OUT: usize = 256;
/// Maximum number of turns of a busy supervisor that a few outcomes wait until somebody is woken for them.
const MOST_TURNS: u32 = 4;

/// The job to which the items from `start` on belong.
pub(super) struct JobRoute {
    pub start: u64,
    pub count: u64,
    pub job: Arc<Job>,
    /// The index of the first of these items within its job.
    pub first: u64,
    /// Number of these items that have no outcome yet.
    pub left: u64,
}

/// Routes outcomes to their jobs.
pub(super) struct OutcomeRouter {
    group: Arc<CallGroup>,
    news: Receiver<JobRoute>,
    /// Routes by the index of their first item.
    routes: BTreeMap<u64, JobRoute>,
    /// The items of the route that `gathered` belongs to.
    current: Range<u64>,
    gathered: Vec<(u64, Result<GatheredBytes, FailedItem>)>,
    /// The bytes of gathered outcomes, in shared allocations. The thread that takes outcomes frees them: if each were
    /// an allocation of its own, that thread and this one would wait for each other's allocator all the time.
    blocks: Vec<OutcomeBlock>,
    /// The number of the block that outcomes are copied into.
    filling: usize,
    /// Jobs with a few outcomes for which nobody was woken yet, and the number of turns of the supervisor since then.
    to_wake: Vec<Arc<Job>>,
    turns: u32,
}

/// Bytes of several outcomes.
enum OutcomeBlock {
    /// As the lane has it.
    Shared(Bytes),
    Filling(Vec<u8>),
}

/// The place of the bytes of a gathered outcome.
enum GatheredBytes {
    Alone(JobValue),
    /// A range in the block of this number.
    Shared(usize, Range<usize>),
}

impl OutcomeRouter {
    pub fn new(group: Arc<CallGroup>, news: Receiver<JobRoute>) -> OutcomeRouter {
        OutcomeRouter {
            group,
            news,
            routes: BTreeMap::new(),
            current: 0..0,
            gathered: Vec::new(),
            blocks: Vec::new(),
            filling: 0,
            to_wake: Vec::new(),
            turns: 0,
        }
    }

    /// Makes the route of this item the current one.
    fn turn_to(&mut self, index: u64) {
        self.deliver();
        self.learn_routes();
        let (&start, route) = self.routes.range(..=index).next_back().expect("items were given before this one");
        self.current = start..start + route.count;
        assert!(self.current.contains(&index), "an outcome is of an item that was given");
    }

    /// Stores the outcome of this item, and copies its bytes into the last block, or into a new one where that is full.
    fn copy(&mut self, index: u64, value: &[u8]) {
        match self.blocks.get(self.filling) {
            Some(OutcomeBlock::Filling(block)) if block.len() + value.len() <= BLOCK => {}
            _ => {
                self.filling = self.blocks.len();
                self.blocks.push(OutcomeBlock::Filling(Vec::with_capacity(BLOCK)));
            }
        }
        if let Some(OutcomeBlock::Filling(block)) = self.blocks.get_mut(self.filling) {
            let start = block.len();
            // Pushed before the copy: afterwards this write would have to wait until all of the copy is written.
            self.gathered.push((index, Ok(GatheredBytes::Shared(self.filling, start..start + value.len()))));
            copy::append(value, block);
        }
    }

    /// Stores the outcome of this item, and where its bytes are in a block of the lane.
    fn share(&mut self, index: u64, block: &Bytes, range: Range<usize>) {
        let is_last = matches!(self.blocks.last(), Some(OutcomeBlock::Shared(last)) if last.as_ptr() == block.as_ptr());
        if !is_last {
            self.blocks.push(OutcomeBlock::Shared(block.clone()));
        }
        self.gathered.push((index, Ok(GatheredBytes::Shared(self.blocks.len() - 1, range))));
    }

    /// Returns the route of this item, if it is known and still open.
    fn route_of(&self, index: u64) -> Option<&JobRoute> {
        let (_, route) = self.routes.range(..=index).next_back()?;
        (index < route.start + route.count).then_some(route)
    }

    fn learn_routes(&mut self) {
        for route in self.news.try_iter() {
            self.routes.insert(route.start, route);
        }
    }

    /// Hands the gathered outcomes to their job.
    fn deliver(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let count = self.gathered.len();
        // Counted first: a caller that is told may call again at once, and its items would seem to need one worker
        // more.
        self.group.finished(count);
        let route = self.routes.get_mut(&self.current.start).expect("outcomes are gathered for a route that is open");
        // Without spare capacity, since a caller may keep a small outcome for long.
        let whole = |block| match block {
            OutcomeBlock::Shared(block) => block,
            OutcomeBlock::Filling(block) => block.into_boxed_slice().into(),
        };
        let blocks: Vec<Bytes> = self.blocks.drain(..).map(whole).collect();
        let outcome = |kept| match kept {
            GatheredBytes::Alone(value) => value,
            GatheredBytes::Shared(number, range) => JobValue::Copied(blocks[number].slice(range)),
        };
        let (start, first) = (route.start, route.first);
        let outcomes = self.gathered.drain(..);
        let delivery = route.job.deliver(outcomes.map(|(index, kept)| (index - start + first, kept.map(outcome))));
        if delivery.wakes_later && !self.to_wake.iter().any(|job| Arc::ptr_eq(job, &route.job)) {
            self.to_wake.push(route.job.clone());
        }
        self.group.settle(&route.job, delivery.told);
        route.left = route.left.checked_sub(count as u64).expect("an item has one outcome");
        if route.left == 0 {
            self.routes.remove(&self.current.start);
            self.current = 0..0;
        }
    }
}

impl OutcomeSink for OutcomeRouter {
    fn record(
        &mut self,
        record: OutcomeRecord<'_>,
        result: Result<OutcomeValue<'_>, Failure>,
        _: &mut RenderedOutcomes,
    ) -> Recorded {
        if !self.current.contains(&record.index) {
            self.turn_to(record.index);
        }
        let outcome = match result.map(|value| value.encoded) {
            // A block that is hardly filled would keep far more memory alive than is in it.
            Ok(EncodedValue::One(OutcomeBytes::Shared(block, range)))
                if range.len() >= HANDED_OUT && block.len() >= COPIED / 2 =>
            {
                self.share(record.index, block, range);
                return Recorded::Success;
            }
            Ok(EncodedValue::One(OutcomeBytes::Left(value))) => {
                Ok(GatheredBytes::Alone(JobValue::Left(Box::new(value))))
            }
            Ok(EncodedValue::One(value)) if value.len() < LARGE => {
                self.copy(record.index, &value);
                return Recorded::Success;
            }
            Ok(EncodedValue::One(value)) => Ok(GatheredBytes::Alone(JobValue::Copied(value.into_owned().into()))),
            Ok(EncodedValue::Many(_)) => {
                Err(Failure::new(FailureKind::InvalidOutput, "the worker sent several values for one"))
            }
            Err(failure) => Err(failure),
        }
        .map_err(|failure| match failure.kind {
            FailureKind::Cancelled => FailedItem::cancelled(),
            _ => FailedItem { attempts: record.attempts, failure },
        });
        let recorded = if outcome.is_ok() { Recorded::Success } else { Recorded::Failure };
        self.gathered.push((record.index, outcome));
        recorded
    }

    fn emit(&mut self, _: Vec<RenderedOutcomes>) {}

    fn takes_from_lane(&mut self, index: u64) -> bool {
        let route = self.route_of(index);
        route.is_some_and(|route| route.job.is_wanted(index - route.start + route.first, self.gathered.len()))
    }

    fn hand_over(&mut self) {
        self.deliver();
    }

    fn several_callers(&mut self) -> bool {
        self.learn_routes();
        // A job may be over while its items still run.
        let mut jobs = self.routes.values().map(|route| &route.job);
        let first = jobs.next();
        first.is_some_and(|first| jobs.any(|job| !Arc::ptr_eq(first, job)))
    }

    fn unwanted(&mut self) -> Vec<Range<u64>> {
        self.learn_routes();
        let ended = self.routes.values().filter(|route| route.job.state().ended().is_some());
        ended.map(|route| route.start..route.start + route.count).collect()
    }

    fn worker_lost(&mut self, _: WorkerId, _: &str) {}

    fn index_in_call(&mut self, index: u64) -> u64 {
        self.learn_routes();
        self.route_of(index).map_or(index, |route| index - route.start + route.first)
    }

    fn worker_news(&mut self, _: WorkerId, news: WorkerNews<'_>) {
        self.group.worker_event(|| WorkerEvent::from(news));
    }

    fn unprotected(&mut self, lacking: &[LayerPart]) {
        self.group.unprotected(lacking);
    }

    fn tick(&mut self, _: u64) -> Option<Duration> {
        self.deliver();
        self.turns += u32::from(!self.to_wake.is_empty());
        if self.turns == MOST_TURNS {
            self.rests();
        }
        None
    }

    fn rests(&mut self) {
        self.turns = 0;
        self.to_wake.drain(..).for_each(|job| job.wake_for_few());
    }
}
