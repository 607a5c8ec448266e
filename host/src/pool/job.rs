//! One call of a pool, such as `map` or `apply`: its items that wait for a worker, and its outcomes that wait for the
//! caller.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, ThreadId};
use std::time::Instant;

use bytes::Bytes;

use super::ItemError;
use super::callbacks::{self, Callback};
use wasmpool_core::outcome::{Failure, FailureKind};
use wasmpool_ipc::batch::Batch;
use wasmpool_ipc::lane::left::LeftValue;
use wasmpool_run::error::Error;
use wasmpool_scheduler::ItemTerms;

/// The outcome of an item, before it is read as a value.
pub(super) type JobOutcome = Result<JobValue, FailedItem>;

/// The encoded value of an item.
#[derive(Debug)]
pub(super) enum JobValue {
    Copied(Bytes),
    /// A large one that may still be in the lane of its worker. Boxed, since most values are small.
    Left(Box<LeftValue>),
}

impl JobValue {
    /// Returns the length in bytes.
    pub fn size(&self) -> usize {
        match self {
            JobValue::Copied(bytes) => bytes.len(),
            JobValue::Left(value) => value.size(),
        }
    }

    pub fn bytes(&self) -> &Bytes {
        match self {
            JobValue::Copied(bytes) => bytes,
            JobValue::Left(value) => value.bytes(),
        }
    }

    pub fn into_bytes(self) -> Bytes {
        match self {
            JobValue::Copied(bytes) => bytes,
            JobValue::Left(value) => value.into_bytes(),
        }
    }

    /// Copies the value out of the lane if it is still there.
    pub fn copy_out(&mut self) {
        if matches!(self, JobValue::Left(_)) {
            let value = std::mem::replace(self, JobValue::Copied(Bytes::new()));
            *self = JobValue::Copied(value.into_bytes());
        }
    }
}

/// A failure, and the number of attempts that were made.
#[derive(Clone, Debug)]
pub(super) struct FailedItem {
    pub attempts: u32,
    pub failure: Failure,
}

impl FailedItem {
    /// Returns the outcome of an item that was cancelled before a worker began it.
    pub fn cancelled() -> FailedItem {
        let why = "it was cancelled before a worker began it";
        FailedItem { attempts: 0, failure: Failure::new(FailureKind::Cancelled, why) }
    }
}

/// The reason why a job ended before all its outcomes were known.
#[derive(Clone, Debug)]
pub(super) enum JobEnd {
    Cancelled,
    Failed(Error),
}

impl JobEnd {
    /// Returns the error of an item whose outcome is not known.
    pub fn error(&self, index: u64) -> Error {
        match self {
            JobEnd::Cancelled => Error::Item(ItemError::cancelled(index)),
            JobEnd::Failed(e) => e.clone(),
        }
    }
}

/// The order in which the caller wants the outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResultOrder {
    Input,
    Arrival,
}

#[derive(Debug)]
pub(super) struct Job {
    pub terms: ItemTerms,
    /// Items that no worker was given. Lock it only while holding the lock of the group's state.
    queue: Mutex<ItemQueue>,
    state: Mutex<JobState>,
    changed: Condvar,
}

/// Items that wait for a worker.
#[derive(Debug, Default)]
pub(super) struct ItemQueue {
    batches: VecDeque<Batch>,
    /// Number of items of the first batch that were already taken.
    taken: usize,
    /// Number of items taken since the job began.
    pub given: u64,
    /// True if the job stands in the group's row of jobs that have items.
    pub listed: bool,
}

impl ItemQueue {
    pub fn push(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.batches.push_back(batch);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Removes all items, and returns their number, and the batches for the caller to drop.
    pub fn clear(&mut self) -> (usize, VecDeque<Batch>) {
        let items: usize = self.batches.iter().map(|b| b.sizes.len()).sum();
        (items - std::mem::take(&mut self.taken).min(items), std::mem::take(&mut self.batches))
    }

    /// Removes and returns the next batch, or its first `most` items where it has more.
    pub fn take(&mut self, most: usize) -> Option<Batch> {
        let front = self.batches.pop_front()?;
        let first = std::mem::take(&mut self.taken);
        let end = front.sizes.len().min(first.saturating_add(most));
        let whole = end == front.sizes.len();
        let batch = match first == 0 && whole {
            true => front,
            false => {
                let mut some = Batch::default();
                some.append_part(front.part(first..end));
                if !whole {
                    self.taken = end;
                    self.batches.push_front(front);
                }
                some
            }
        };
        self.given += batch.sizes.len() as u64;
        Some(batch)
    }
}

/// The outcomes of a job, and who waits for them.
#[derive(Debug)]
pub(super) struct JobState {
    order: ResultOrder,
    /// For ordered jobs: the known outcomes from item `base` on, by index.
    slots: VecDeque<Option<JobOutcome>>,
    base: u64,
    /// For unordered jobs: the outcomes in the order of arrival.
    arrived: VecDeque<(u64, JobOutcome)>,
    pub submitted: u64,
    pub known: u64,
    /// Sum of the bytes of all outcomes that arrived; `usual` is the size that one is expected to have.
    pub came: u64,
    pub usual: u64,
    /// True once no more items will come.
    sealed: bool,
    /// True if no more items will come because the pool was closed in the meantime.
    shut: bool,
    ended: Option<JobEnd>,
    /// True once all outcomes are known and the listeners were told.
    over: bool,
    waiting: usize,
    /// Number of threads that wait for the next outcome, to take it at once.
    takers: usize,
    /// Number of outcomes that came since who waits was woken.
    unseen: usize,
    wakers: Vec<Waker>,
    callbacks: Vec<Callback>,
    /// Number of callbacks that were registered and have not returned.
    calling: usize,
    /// The thread that reads items as outcomes are taken.
    reader: Option<ThreadId>,
}

/// Number of outcomes for which who waits is woken at once. To wake a thread for each large outcome costs a tenth of what the
/// outcome costs.
const HANDFUL: usize = 4;

/// What is to be done after outcomes were stored.
#[must_use]
pub(super) struct Delivery {
    pub told: Option<JobListeners>,
    /// True if [`Job::wake_for_few`] has to be called.
    pub wakes_later: bool,
}

/// The wakers and callbacks that are run when a job is over.
#[must_use]
pub(super) struct JobListeners {
    pub wakers: Vec<Waker>,
    pub callbacks: Vec<Callback>,
}

impl JobState {
    /// Returns the listeners to tell, if the last outcome has just become known.
    fn settle(&mut self) -> Option<JobListeners> {
        let complete = self.sealed && self.known == self.submitted;
        if self.over || !(complete || self.ended.is_some()) {
            return None;
        }
        self.over = true;
        // Who waits is woken behind the callbacks.
        let wakers = if self.calling == 0 { std::mem::take(&mut self.wakers) } else { Vec::new() };
        Some(JobListeners { wakers, callbacks: std::mem::take(&mut self.callbacks) })
    }

    /// Returns true if the job is over and its callbacks have returned. A callback itself waits for none, since it
    /// would wait for its own end.
    pub fn is_settled(&self) -> bool {
        self.over && (self.calling == 0 || callbacks::runs_here())
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    pub fn ended(&self) -> Option<&JobEnd> {
        self.ended.as_ref()
    }

    pub fn is_shut(&self) -> bool {
        self.shut
    }

    /// Returns the outcome of an item, if it is known and was not taken.
    pub fn outcome(&self, index: u64) -> Option<&JobOutcome> {
        self.slots.get(usize::try_from(index.checked_sub(self.base)?).ok()?)?.as_ref()
    }

    /// Takes the outcome of an item, and leaves the others in place.
    pub fn take(&mut self, index: u64) -> Option<JobOutcome> {
        self.slots.get_mut(usize::try_from(index.checked_sub(self.base)?).ok()?)?.take()
    }

    /// Registers a callback to be run when the job is over, or gives it back if the job is over already.
    pub fn call_back(&mut self, callback: Callback) -> Option<Callback> {
        self.calling += 1;
        if self.over {
            return Some(callback);
        }
        self.callbacks.push(callback);
        None
    }

    pub fn wake(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }

    /// Forgets a waker.
    pub fn forget(&mut self, waker: &Waker) {
        self.wakers.retain(|known| !known.will_wake(waker));
    }

    pub fn has_next(&self) -> bool {
        match self.order {
            ResultOrder::Input => matches!(self.slots.front(), Some(Some(_))),
            ResultOrder::Arrival => !self.arrived.is_empty(),
        }
    }

    /// Moves all outcomes that are ready to `to`.
    pub fn drain(&mut self, to: &mut VecDeque<(u64, JobOutcome)>) {
        match self.order {
            ResultOrder::Arrival => to.append(&mut self.arrived),
            ResultOrder::Input => {
                while let Some(Some(outcome)) = self.slots.pop_front_if(|slot| slot.is_some()) {
                    to.push_back((self.base, outcome));
                    self.base += 1;
                }
            }
        }
    }
}

impl Job {
    pub fn new(order: ResultOrder, terms: ItemTerms) -> Job {
        Job {
            terms,
            queue: Mutex::default(),
            state: Mutex::new(JobState {
                order,
                slots: VecDeque::new(),
                base: 0,
                arrived: VecDeque::new(),
                submitted: 0,
                known: 0,
                came: 0,
                usual: 0,
                sealed: false,
                shut: false,
                ended: None,
                over: false,
                waiting: 0,
                takers: 0,
                unseen: 0,
                wakers: Vec::new(),
                callbacks: Vec::new(),
                calling: 0,
                reader: None,
            }),
            changed: Condvar::new(),
        }
    }

    pub fn queue(&self) -> MutexGuard<'_, ItemQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state(&self) -> MutexGuard<'_, JobState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts items that are about to be submitted.
    pub fn submitting(&self, items: usize) {
        self.state().submitted += items as u64;
    }

    /// Records that the calling thread reads items as it takes outcomes.
    pub fn read_here(&self) {
        self.state().reader = Some(thread::current().id());
    }

    /// Marks the job as complete: no more items will come.
    pub fn seal(&self) -> Option<JobListeners> {
        let mut state = self.state();
        state.sealed = true;
        state.settle()
    }

    /// Ends the supply of items if the calling thread is the one that reads them, since it now waits for the pool to
    /// end.
    pub fn shut_own(&self) -> Option<JobListeners> {
        let mut state = self.state();
        if state.sealed || state.reader != Some(thread::current().id()) {
            return None;
        }
        state.sealed = true;
        state.shut = true;
        state.settle()
    }

    /// Ends the supply of items, since the pool takes no more.
    pub fn shut(&self) -> Option<JobListeners> {
        let mut state = self.state();
        if state.sealed {
            return None;
        }
        state.sealed = true;
        state.shut = true;
        self.changed.notify_all();
        state.settle()
    }

    /// Records that a callback has returned, and returns the wakers to be called if it was the last.
    pub fn callback_returned(&self) -> Vec<Waker> {
        let mut state = self.state();
        state.calling = state.calling.checked_sub(1).expect("a callback returns once");
        if state.calling > 0 || !state.over {
            return Vec::new();
        }
        self.changed.notify_all();
        std::mem::take(&mut state.wakers)
    }

    /// Stores outcomes of items that workers ran. Who waits for the next one is woken once there is a [`HANDFUL`]; if there
    /// are fewer, [`Job::wake_for_few`] has to follow soon.
    pub fn deliver(&self, outcomes: impl Iterator<Item = (u64, JobOutcome)>) -> Delivery {
        let mut state = self.state();
        if state.ended.is_some() {
            return Delivery { told: None, wakes_later: false };
        }
        let mut left = false;
        for (index, outcome) in outcomes {
            left |= matches!(outcome, Ok(JobValue::Left(_)));
            let bytes = outcome.as_ref().map_or(0, |value| value.size() as u64);
            state.came += bytes;
            state.usual = bytes.max(state.usual - state.usual / 16);
            state.known += 1;
            state.unseen += 1;
            match state.order {
                ResultOrder::Arrival => state.arrived.push_back((index, outcome)),
                ResultOrder::Input => {
                    let at =
                        index.checked_sub(state.base).expect("an outcome that was taken does not come again") as usize;
                    if at >= state.slots.len() {
                        state.slots.resize_with(at + 1, || None);
                    }
                    state.slots[at] = Some(outcome);
                }
            }
        }
        let told = state.settle();
        let waits = state.waiting > 0 && (told.is_some() || state.has_next());
        // One that is left in its lane takes room there.
        let wake = waits && (told.is_some() || left || state.unseen >= HANDFUL);
        if wake {
            state.unseen = 0;
        }
        // If they were woken sooner, they might take this thread's processor only to wait for the lock.
        drop(state);
        if wake {
            self.changed.notify_all();
        }
        Delivery { told, wakes_later: waits && !wake }
    }

    /// Wakes who waits for the next outcome, if it is there.
    pub fn wake_for_few(&self) {
        let mut state = self.state();
        let wake = state.waiting > 0 && state.has_next();
        state.unseen = 0;
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    /// Ends the job: outcomes that are not known now never will be.
    pub fn end(&self, ended: JobEnd) -> Option<JobListeners> {
        let mut state = self.state();
        if state.over {
            return None;
        }
        state.ended = Some(ended);
        self.changed.notify_all();
        state.settle()
    }

    /// Waits until an outcome is ready or none will come, or until the deadline.
    pub fn wait_for_next(&self, deadline: Option<Instant>) -> MutexGuard<'_, JobState> {
        self.state().takers += 1;
        let mut state = self.wait(deadline, |s| s.has_next() || s.over || s.known == s.submitted);
        state.takers -= 1;
        state
    }

    /// Returns true if a thread waits that takes the outcome of this item once it and the `ahead` outcomes before it are stored.
    pub fn is_wanted(&self, index: u64, ahead: usize) -> bool {
        let state = self.state();
        state.takers > 0 && (state.order == ResultOrder::Arrival || index <= state.base + ahead as u64)
    }

    /// Waits until the job is over and its callbacks have returned, or until the deadline.
    pub fn wait_until_settled(&self, deadline: Option<Instant>) -> MutexGuard<'_, JobState> {
        self.wait(deadline, JobState::is_settled)
    }

    fn wait(&self, deadline: Option<Instant>, enough: impl Fn(&JobState) -> bool) -> MutexGuard<'_, JobState> {
        let mut state = self.state();
        while !enough(&state) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            state.waiting += 1;
            state = match left {
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.waiting -= 1;
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;
    use std::{io, iter, thread};

    use super::*;
    use wasmpool_core::policy::ItemLimits;
    use wasmpool_ipc::lane::frame::{OutcomeHeader, OutcomeTag};
    use wasmpool_ipc::lane::host::{HostLane, Received};
    use wasmpool_ipc::lane::outcome::OutcomeBytes;
    use wasmpool_ipc::lane::worker::WorkerLane;
    use wasmpool_ipc::wake::Bell;
    use wasmpool_scheduler::ChunkSize;

    /// A bell for a lane in which nobody waits.
    struct NoBell;

    impl Bell for NoBell {
        fn wait(&self) -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn ring(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_waits_for_the_next_outcome_takes_a_large_one_straight_out_of_the_lane() {
        let (mut lane, fd) = HostLane::create(ItemLimits::default().max_output).unwrap();
        let mut worker = WorkerLane::map(&fd).unwrap();
        let bytes = vec![7; 1 << 20];
        let header = OutcomeHeader { tag: OutcomeTag::Value, len: 1 << 20, elapsed: Duration::ZERO };
        worker.write(&header.to_bytes(), &NoBell).unwrap();
        worker.write(&bytes, &NoBell).unwrap();
        worker.answered();

        let terms = ItemTerms { chunk: ChunkSize::Auto, retries: 0, timeout: Duration::MAX };
        let job = Arc::new(Job::new(ResultOrder::Input, terms));
        job.submitting(1);
        assert!(!job.is_wanted(0, 0));
        let taker = thread::spawn({
            let job = job.clone();
            move || {
                let mut outcomes = VecDeque::new();
                job.wait_for_next(None).drain(&mut outcomes);
                let (_, outcome) = outcomes.pop_front().expect("it is there");
                outcome.expect("a value").into_bytes()
            }
        });
        while !job.is_wanted(0, 0) {
            thread::yield_now();
        }
        assert!(!job.is_wanted(1, 0) && job.is_wanted(1, 1), "the first is to come before the second");
        lane.leave_large(true);
        let Ok(Received::Outcome(_, OutcomeBytes::Left(value))) = lane.receive() else {
            panic!("it is left in the lane");
        };
        let delivery = job.deliver(iter::once((0, Ok(JobValue::Left(Box::new(value))))));
        assert!(!delivery.wakes_later, "the one who waits is woken at once");
        assert!(taker.join().unwrap()[..] == bytes);
        lane.received();
        assert!(!lane.has_left(), "its room is free again");
    }
}
