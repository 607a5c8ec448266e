//! Calls that read further items as their outcomes are taken.

use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use super::function::{is_full, read};
use super::group::CallGroup;
use super::job::{Job, JobOutcome, JobState, ResultOrder};
use super::result::deadline;
use super::value::{Argument, ReturnValue};
use wasmpool_ipc::batch::Batch;
use wasmpool_run::error::Error;
use wasmpool_scheduler::ItemTerms;

/// Number of items that are read ahead before the size of results is known.
const BEFORE_FIRST: u64 = 256;

/// An iterator over the results of [`imap`](crate::Function::imap) or
/// [`imap_unordered`](crate::Function::imap_unordered).
///
/// ```
/// # use wasmpool::{Imap, Pool};
/// let pool = Pool::builder("examples/squares.wat").build()?;
/// let mut squares: Imap<_, i64> = pool.imap(1..);
/// assert_eq!(squares.next().transpose()?, Some(1));
/// assert_eq!(squares.next().transpose()?, Some(4));
/// # Ok::<(), wasmpool::Error>(())
/// ```
#[must_use = "items are read as results are taken"]
pub struct Imap<I: Iterator<Item: Argument>, R> {
    outcomes: LazyOutcomes<I>,
    result: PhantomData<fn() -> R>,
}

impl<I: Iterator<Item: Argument>, R> Imap<I, R> {
    pub(super) fn new(outcomes: LazyOutcomes<I>) -> Imap<I, R> {
        Imap { outcomes, result: PhantomData }
    }
}

impl<I: Iterator<Item: Argument>, R: ReturnValue> Imap<I, R> {
    /// Returns the next result as [`next`](Iterator::next) does, but waits for at most `timeout`; with
    /// [`Duration::ZERO`] it only looks. The time that the iterator of items takes is not limited.
    ///
    /// # Errors
    ///
    /// [`Error::WaitTimeout`] when the time is over. The item goes on, and the next call waits for the same result.
    /// Otherwise those of [`imap`](crate::Function::imap).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::{Error, Pool};
    /// let pool = Pool::builder("examples/spin.wat").workers(1).build()?;
    /// let mut results = pool.imap::<_, i64>([1, -1]);
    /// assert_eq!(results.next().transpose()?, Some(1));
    /// // Python: results.next(timeout=0.01)
    /// let late = results.next_timeout(Duration::from_millis(10));
    /// assert!(matches!(late, Some(Err(Error::WaitTimeout))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, Error>> {
        Some(self.outcomes.next_until(deadline(timeout))?.and_then(|(index, outcome)| Ok(read(index, outcome)?)))
    }
}

impl<I: Iterator<Item: Argument>, R: ReturnValue> Iterator for Imap<I, R> {
    type Item = Result<R, Error>;

    fn next(&mut self) -> Option<Result<R, Error>> {
        Some(self.outcomes.next()?.and_then(|(index, outcome)| Ok(read(index, outcome)?)))
    }
}

impl<I: Iterator<Item: Argument>, R: ReturnValue> FusedIterator for Imap<I, R> {}

impl<I: Iterator<Item: Argument>, R> fmt::Debug for Imap<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LazyOutcomes { read, taken, .. } = &self.outcomes;
        f.debug_struct("Imap").field("read", read).field("taken", taken).finish_non_exhaustive()
    }
}

/// The items of an iterator that may fail, up to its first failure; see [`Function::try_imap`](crate::Function::try_imap).
#[derive(Debug)]
pub struct TryItems<I> {
    items: Option<I>,
    failure: ItemsFailure,
}

/// The failure at which an iterator of items has ended, until it is returned.
#[derive(Clone, Debug, Default)]
pub(super) struct ItemsFailure(Arc<Mutex<Option<Error>>>);

impl ItemsFailure {
    fn slot(&self) -> MutexGuard<'_, Option<Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I> TryItems<I> {
    pub(super) fn new(items: I) -> (TryItems<I>, ItemsFailure) {
        let failure = ItemsFailure::default();
        (TryItems { items: Some(items), failure: failure.clone() }, failure)
    }
}

impl<I: Iterator<Item = Result<A, E>>, A, E: Into<Box<dyn std::error::Error + Send + Sync>>> Iterator for TryItems<I> {
    type Item = A;

    fn next(&mut self) -> Option<A> {
        match self.items.as_mut()?.next() {
            Some(Ok(item)) => Some(item),
            ended => {
                self.items = None;
                *self.failure.slot() = ended.and_then(Result::err).map(|e| Error::Items(Arc::from(e.into())));
                None
            }
        }
    }
}

/// The outcomes behind an [`Imap`], not yet read as values.
pub(super) struct LazyOutcomes<I: Iterator<Item: Argument>> {
    /// The items not yet read; `None` once there are no more, or none are wanted.
    items: Option<I>,
    work: Option<(Arc<CallGroup>, Arc<Job>)>,
    /// The error that keeps everything from running, until it was returned.
    refused: Option<Error>,
    /// The failure of the items, if they may fail.
    failure: ItemsFailure,
    /// Items that were read but not yet handed over.
    batch: Batch,
    /// Outcomes that are ready to be taken.
    ready: VecDeque<(u64, JobOutcome)>,
    most: (usize, usize),
    /// Number of items that were read; `usual_item` is the size that an item is expected to have.
    read: u64,
    usual_item: usize,
    /// Number of outcomes that were taken; `taken_bytes` is the sum of their sizes.
    taken: u64,
    taken_bytes: u64,
    /// The counters of the job when it was last looked at.
    seen: GatheredOutcomes,
}

/// Number of outcomes that arrived, the sum of their bytes, and the size that a result usually has.
#[derive(Clone, Copy, Debug, Default)]
struct GatheredOutcomes {
    known: u64,
    came: u64,
    usual: u64,
}

impl<I: Iterator<Item: Argument>> LazyOutcomes<I> {
    pub fn new(
        group: Result<Arc<CallGroup>, Error>,
        items: I,
        order: ResultOrder,
        terms: ItemTerms,
        most: (usize, usize),
    ) -> LazyOutcomes<I> {
        let (work, refused) = match group {
            Ok(group) => {
                let job = Arc::new(Job::new(order, terms));
                group.begin(&job);
                (Some((group, job)), None)
            }
            Err(e) => (None, Some(e)),
        };
        LazyOutcomes {
            items: Some(items),
            work,
            refused,
            failure: ItemsFailure::default(),
            batch: Batch::default(),
            ready: VecDeque::new(),
            most,
            read: 0,
            usual_item: 0,
            taken: 0,
            taken_bytes: 0,
            seen: GatheredOutcomes::default(),
        }
    }

    /// Sets where the iterator of items leaves its failure, which ends this one after the outcomes of all items.
    pub fn fails_with(mut self, failure: ItemsFailure) -> LazyOutcomes<I> {
        self.failure = failure;
        self
    }

    /// Returns true if the items are read to their end, and all outcomes were taken.
    pub fn is_at_its_end(&self) -> bool {
        self.items.is_none() && self.taken == self.read
    }

    /// Gives the call up, and returns what is known of the items that were read and whose outcomes were not taken.
    pub fn give_up(mut self) -> Vec<(u64, Option<JobOutcome>)> {
        let Some((group, job)) = self.work.take() else {
            return Vec::new();
        };
        group.cancel(&job);
        let mut known: Vec<(u64, Option<JobOutcome>)> =
            std::mem::take(&mut self.ready).into_iter().map(|(index, outcome)| (index, Some(outcome))).collect();
        let mut state = job.state();
        let rest = self.taken + known.len() as u64..self.read;
        known.extend(rest.map(|index| (index, state.take(index))));
        known
    }

    /// Returns true if one more item may be read while `bytes` bytes are read and not yet handed over.
    fn has_room(&self, bytes: usize) -> bool {
        let (most_items, most_bytes) = self.most;
        let ahead = self.read - self.taken;
        if ahead == 0 {
            return true;
        }
        if ahead >= most_items as u64 || (self.seen.known == 0 && ahead >= BEFORE_FIRST) {
            return false;
        }
        let running = self.read.saturating_sub(self.seen.known);
        let held = self.seen.came.saturating_sub(self.taken_bytes);
        let expected = running.saturating_mul(self.seen.usual + self.usual_item as u64);
        expected.saturating_add(held).saturating_add(bytes as u64) < most_bytes as u64
    }

    /// Reads items while there is room, until an outcome is ready.
    fn top_up(&mut self, group: &CallGroup, job: &Arc<Job>) {
        let mut last = tick();
        while self.has_room(self.batch.size()) {
            let Some(item) = self.items.as_mut().and_then(Iterator::next) else {
                self.items = None;
                break;
            };
            let before = self.batch.size();
            Argument::write(item, &mut self.batch);
            let bytes = self.batch.size() - before;
            self.usual_item = bytes.max(self.usual_item - self.usual_item / 16);
            self.read += 1;
            if is_full(&self.batch) || tick() != last {
                group.submit(job, self.batch.take());
                self.collect_ready(job.state());
                if !self.ready.is_empty() {
                    break;
                }
                last = tick();
            }
        }
        if !self.batch.is_empty() {
            group.submit(job, self.batch.take());
        }
        if self.items.is_none() {
            group.seal(job);
        }
    }

    /// Takes the outcomes that are ready, large ones straight out of the lanes, and updates the counters.
    fn collect_ready(&mut self, mut state: MutexGuard<'_, JobState>) {
        let before = self.ready.len();
        state.drain(&mut self.ready);
        self.look_at(&state);
        drop(state);
        for (_, outcome) in self.ready.range_mut(before..) {
            if let Ok(value) = outcome {
                value.copy_out();
            }
        }
    }

    /// Updates the counters, and whether more items may be read.
    fn look_at(&mut self, state: &JobState) {
        if state.is_shut() {
            self.items = None;
        }
        self.seen = GatheredOutcomes { known: state.known, came: state.came, usual: state.usual };
    }

    /// Takes the next outcome that is ready.
    fn pop(&mut self) -> Option<(u64, JobOutcome)> {
        let (index, outcome) = self.ready.pop_front()?;
        self.taken += 1;
        self.taken_bytes += outcome.as_ref().map_or(0, |value| value.size() as u64);
        Some((index, outcome))
    }

    /// Returns true if it is worth reading more items although an outcome is ready.
    fn runs_low(&self) -> bool {
        let (most_items, _) = self.most;
        self.items.is_some() && self.read - self.taken <= most_items as u64 * 3 / 4
    }
}

/// Returns a coarse time that advances every few milliseconds, at next to no cost. It is compared after each item: when
/// it has changed, what was read is handed over, in case the iterator is slow.
fn tick() -> Option<TimeSpec> {
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).ok()
}

impl<I: Iterator<Item: Argument>> LazyOutcomes<I> {
    /// Returns the next outcome, or [`Error::WaitTimeout`] if it is not there by the deadline.
    pub fn next_until(&mut self, deadline: Option<Instant>) -> Option<Result<(u64, JobOutcome), Error>> {
        if let Some(e) = self.refused.take() {
            return Some(Err(e));
        }
        // In most cases an outcome is ready and nothing else is to be done.
        if !self.runs_low()
            && let Some(outcome) = self.pop()
        {
            return Some(Ok(outcome));
        }
        let (group, job) = self.work.clone()?;
        if let Err(e) = group.check_owner() {
            (self.work, self.items) = (None, None);
            return Some(Err(e));
        }
        if self.items.is_some() {
            job.read_here();
            self.collect_ready(job.state());
            self.top_up(&group, &job);
        }
        loop {
            if let Some(outcome) = self.pop() {
                return Some(Ok(outcome));
            }
            let state = job.wait_for_next(deadline);
            if state.has_next() {
                self.collect_ready(state);
                continue;
            }
            self.look_at(&state);
            let over = match state.ended() {
                Some(ended) => Some(Err(ended.error(self.taken))),
                None if !state.is_over() && state.known < state.submitted => return Some(Err(Error::WaitTimeout)),
                None if state.is_shut() => Some(Err(Error::Closed)),
                None => None,
            };
            drop(state);
            if over.is_none() && self.items.is_some() {
                self.top_up(&group, &job);
                continue;
            }
            self.work = None;
            self.items = None;
            return over.or_else(|| self.failure.slot().take().map(Err));
        }
    }
}

impl<I: Iterator<Item: Argument>> Iterator for LazyOutcomes<I> {
    type Item = Result<(u64, JobOutcome), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }
}

impl<I: Iterator<Item: Argument>> Drop for LazyOutcomes<I> {
    fn drop(&mut self) {
        if let Some((group, job)) = self.work.as_ref().filter(|(group, _)| group.check_owner().is_ok()) {
            group.cancel(job);
        }
    }
}
