//! One call of a pool, as `map` or `apply`: its items that wait for a worker, and its outcomes that wait for whoever called.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{self, ThreadId};
use std::time::Instant;

use bytes::Bytes;

use super::ItemError;
use super::callbacks::Callback;
use wasmpool_core::outcome::Failure;
use wasmpool_ipc::batch::Batch;
use wasmpool_run::error::Error;

/// What became of an item, before it is read as a value.
pub(super) type Outcome = Result<Bytes, Failed>;

/// A failure, and how often it was tried.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub attempts: u32,
    pub failure: Failure,
}

/// Why a job ended before all its outcomes were known.
#[derive(Debug)]
pub(super) enum Ended {
    Cancelled,
    Failed(Error),
}

impl Ended {
    pub fn again(&self) -> Ended {
        match self {
            Ended::Cancelled => Ended::Cancelled,
            Ended::Failed(e) => Ended::Failed(e.again()),
        }
    }

    /// What it makes of an item whose outcome is not known.
    pub fn error(&self, index: u64) -> Error {
        match self {
            Ended::Cancelled => Error::Item(ItemError::cancelled(index)),
            Ended::Failed(e) => e.again(),
        }
    }
}

/// How whoever called wants the outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Input,
    Arrival,
}

#[derive(Debug)]
pub(super) struct Job {
    /// Items that no worker was given. Locked only by who holds the lock of the group's state.
    queue: Mutex<Queue>,
    state: Mutex<JobState>,
    changed: Condvar,
}

/// Items that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    batches: VecDeque<Batch>,
    /// Items of the first batch that were taken already.
    taken: usize,
    /// Items that were taken, ever.
    pub given: u64,
    /// It stands in the row of jobs that have items.
    pub listed: bool,
}

impl Queue {
    pub fn push(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.batches.push_back(batch);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Gives up all, and says how many items that are.
    pub fn clear(&mut self) -> (usize, VecDeque<Batch>) {
        let items: usize = self.batches.iter().map(|b| b.sizes.len()).sum();
        (items - std::mem::take(&mut self.taken).min(items), std::mem::take(&mut self.batches))
    }

    /// Takes the next batch off, or so many items of it where it has more.
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

/// Outcomes, and who waits for them.
#[derive(Debug)]
pub(super) struct JobState {
    order: Order,
    /// In input order: those from the item `base` on that are known.
    slots: VecDeque<Option<Outcome>>,
    base: u64,
    /// In the order of arrival.
    arrived: VecDeque<(u64, Outcome)>,
    pub submitted: u64,
    pub known: u64,
    /// Bytes of all outcomes that came, and what one is expected to have.
    pub came: u64,
    pub usual: u64,
    /// No more items will come.
    sealed: bool,
    /// They will not because the pool was closed meanwhile.
    shut: bool,
    ended: Option<Ended>,
    /// It is known what became of it, and this was told.
    over: bool,
    waiting: usize,
    wakers: Vec<Waker>,
    callbacks: Vec<Callback>,
    /// Who reads items as outcomes are taken.
    reader: Option<ThreadId>,
}

/// Those who have to be told that a job is over.
#[must_use]
pub(super) struct Listeners {
    pub wakers: Vec<Waker>,
    pub callbacks: Vec<Callback>,
}

impl JobState {
    /// Returns those to be told, if it has just become known what became of it all.
    fn settle(&mut self) -> Option<Listeners> {
        let complete = self.sealed && self.known == self.submitted;
        if self.over || !(complete || self.ended.is_some()) {
            return None;
        }
        self.over = true;
        Some(Listeners { wakers: std::mem::take(&mut self.wakers), callbacks: std::mem::take(&mut self.callbacks) })
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    pub fn is_shut(&self) -> bool {
        self.shut
    }

    /// The outcome of an item, if it is known and was not taken.
    pub fn outcome(&self, index: u64) -> Option<&Outcome> {
        self.slots.get(usize::try_from(index.checked_sub(self.base)?).ok()?)?.as_ref()
    }

    /// Takes the outcome of an item, and leaves the others.
    pub fn take(&mut self, index: u64) -> Option<Outcome> {
        self.slots.get_mut(usize::try_from(index.checked_sub(self.base)?).ok()?)?.take()
    }

    /// Has a callback called when it is over, or gives it back if it is.
    pub fn call_back(&mut self, callback: Callback) -> Option<Callback> {
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

    fn has_next(&self) -> bool {
        match self.order {
            Order::Input => matches!(self.slots.front(), Some(Some(_))),
            Order::Arrival => !self.arrived.is_empty(),
        }
    }

    /// Moves all outcomes that can be had now.
    pub fn drain(&mut self, to: &mut VecDeque<(u64, Outcome)>) {
        match self.order {
            Order::Arrival => to.append(&mut self.arrived),
            Order::Input => {
                while let Some(Some(outcome)) = self.slots.pop_front_if(|slot| slot.is_some()) {
                    to.push_back((self.base, outcome));
                    self.base += 1;
                }
            }
        }
    }
}

impl Job {
    pub fn new(order: Order) -> Job {
        Job {
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
                wakers: Vec::new(),
                callbacks: Vec::new(),
                reader: None,
            }),
            changed: Condvar::new(),
        }
    }

    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state(&self) -> MutexGuard<'_, JobState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts items that are about to be submitted.
    pub fn submitting(&self, items: usize) {
        self.state().submitted += items as u64;
    }

    /// Says that the thread that calls this reads items as it takes outcomes.
    pub fn read_here(&self) {
        self.state().reader = Some(thread::current().id());
    }

    /// No more items come.
    pub fn seal(&self) -> Option<Listeners> {
        let mut state = self.state();
        state.sealed = true;
        state.settle()
    }

    /// No more items can come from this very thread, which waits for the pool to end.
    pub fn shut_own(&self) -> Option<Listeners> {
        let mut state = self.state();
        if state.sealed || state.reader != Some(thread::current().id()) {
            return None;
        }
        state.sealed = true;
        state.shut = true;
        state.settle()
    }

    /// Takes outcomes of items that workers ran.
    pub fn deliver(&self, outcomes: impl Iterator<Item = (u64, Outcome)>) -> Option<Listeners> {
        let mut state = self.state();
        if state.ended.is_some() {
            return None;
        }
        for (index, outcome) in outcomes {
            let bytes = outcome.as_ref().map_or(0, |value| value.len() as u64);
            state.came += bytes;
            state.usual = bytes.max(state.usual - state.usual / 16);
            state.known += 1;
            match state.order {
                Order::Arrival => state.arrived.push_back((index, outcome)),
                Order::Input => {
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
        let wake = state.waiting > 0 && (told.is_some() || state.has_next());
        // Woken any sooner, they might take this thread's processor, only to wait for the lock.
        drop(state);
        if wake {
            self.changed.notify_all();
        }
        told
    }

    /// Ends it: what is not known now never will be.
    pub fn end(&self, ended: Ended) -> Option<Listeners> {
        let mut state = self.state();
        if state.over {
            return None;
        }
        state.ended = Some(ended);
        self.changed.notify_all();
        state.settle()
    }

    /// Waits until an outcome can be had or none will come.
    pub fn wait_for_next(&self) -> MutexGuard<'_, JobState> {
        self.wait(None, |state| state.has_next() || state.over || state.known == state.submitted)
    }

    /// Waits until it is over, or until the deadline.
    pub fn wait_until_over(&self, deadline: Option<Instant>) -> MutexGuard<'_, JobState> {
        self.wait(deadline, |state| state.over)
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
