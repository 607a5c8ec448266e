//! One input for several supervisors: each batch that is read goes to all of them, and is kept until the last has taken
//! it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use wasmpool_ipc::batch::Batch;
use wasmpool_run::input::{InputError, ItemSource};
use wasmpool_run::supervisor::{Event, EventSender};

/// Limit on bytes that are read ahead of the slowest supervisor, besides those that each supervisor holds itself.
const WINDOW: usize = 2 << 20;
/// Limit on batches whose number was announced, but not yet confirmed by [`InputSplitter::noted`].
const MOST_UNNOTED: usize = 64;

/// Hands the items of one input to several takers. No taker gets any before all are ready.
#[derive(Debug)]
pub struct InputSplitter {
    state: Mutex<SplitterState>,
    changed: Condvar,
}

#[derive(Debug)]
struct SplitterState {
    takers: Vec<SplitInput>,
    /// Batches that some taker has not taken yet; `first` is the number of the first.
    batches: VecDeque<Batch>,
    first: u64,
    bytes: usize,
    /// The way in which the input ended, if it did.
    end: Option<Result<(), InputError>>,
    unnoted: usize,
    /// True if no taker wants more.
    closed: bool,
}

#[derive(Debug)]
struct SplitInput {
    sender: EventSender,
    ready: bool,
    gone: bool,
    /// True while the taker waits for a batch.
    asks: bool,
    /// The number of the taker's next batch.
    next: u64,
    /// Number of items that the taker was given.
    items: u64,
}

impl InputSplitter {
    /// Makes a fan without takers, which are added by [`InputSplitter::add`].
    pub fn new() -> InputSplitter {
        let state = SplitterState {
            takers: Vec::new(),
            batches: VecDeque::new(),
            first: 0,
            bytes: 0,
            end: None,
            unnoted: 0,
            closed: false,
        };
        InputSplitter { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, SplitterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a taker. Takers are numbered from 0 in the order in which they are added.
    pub fn add(&self, sender: EventSender) {
        let taker = SplitInput { sender, ready: false, gone: false, asks: false, next: 0, items: 0 };
        self.lock().takers.push(taker);
    }

    /// Records that a taker can run items.
    pub fn ready(&self, taker: usize) {
        let mut state = self.lock();
        let Some(of) = state.takers.get_mut(taker).filter(|taker| !taker.ready) else {
            return;
        };
        of.ready = true;
        state.answer_all();
        self.changed.notify_all();
    }

    /// Records that a taker asks for a batch. Returns true if the answer is in its mailbox already.
    pub fn ask(&self, taker: usize) -> bool {
        let mut state = self.lock();
        if let Some(taker) = state.takers.get_mut(taker) {
            taker.asks = true;
        }
        let answered = state.answer(taker, EventSender::leave);
        self.changed.notify_all();
        answered
    }

    /// Records that a taker wants no more, so that it delays no other.
    pub fn leave(&self, taker: usize) {
        let mut state = self.lock();
        if let Some(taker) = state.takers.get_mut(taker) {
            taker.gone = true;
        }
        state.forget_taken();
        state.answer_all();
        self.changed.notify_all();
    }

    /// Confirms one batch whose number of items was announced.
    pub fn noted(&self) {
        let mut state = self.lock();
        state.unnoted = state.unnoted.saturating_sub(1);
        self.changed.notify_all();
    }

    /// Ends reading, since no taker wants more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Ends the input with an error: it cannot be read further.
    pub fn fail(&self, why: InputError) {
        let mut state = self.lock();
        state.end.get_or_insert(Err(why));
        state.answer_all();
        self.changed.notify_all();
    }

    /// Returns the number of items that a taker was given.
    pub fn handed(&self, taker: usize) -> u64 {
        self.lock().takers.get(taker).map_or(0, |taker| taker.items)
    }

    /// Waits until the input has been read to its end, or is closed. Returns an error if it could not be read further.
    pub fn wait_for_end(&self) -> Result<(), InputError> {
        let mut state = self.lock();
        loop {
            match &state.end {
                Some(end) => return end.clone(),
                None if state.closed => return Ok(()),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Reads while there is room, until there are no more items or no taker wants any. `told` is called with the number
    /// of items read so far before any taker gets them; for each call, [`InputSplitter::noted`] must be called in the end.
    pub fn read(&self, mut items: Box<dyn ItemSource>, mut told: impl FnMut(u64)) {
        let mut count = 0;
        while self.wait_for_room() {
            let (batch, end) = items.next_batch();
            count += batch.sizes.len() as u64;
            self.lock().unnoted += 1;
            told(count);
            let mut state = self.lock();
            state.bytes += batch.size();
            if !batch.is_empty() {
                state.batches.push_back(batch);
            }
            let ended = end.is_some();
            state.end = end;
            state.forget_taken();
            state.answer_all();
            self.changed.notify_all();
            if ended {
                return;
            }
        }
    }

    /// Waits until more may be read. Returns false if no taker wants more.
    fn wait_for_room(&self) -> bool {
        let mut state = self.lock();
        while !state.closed && !state.has_room() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.closed
    }
}

impl SplitterState {
    /// Returns true if all takers are ready, so that items may be handed out.
    fn is_open(&self) -> bool {
        self.takers.iter().all(|taker| taker.ready || taker.gone)
    }

    /// Returns true if one more batch may be read.
    fn has_room(&self) -> bool {
        self.is_open() && self.bytes < WINDOW && self.unnoted < MOST_UNNOTED
    }

    fn answer_all(&mut self) {
        for taker in 0..self.takers.len() {
            self.answer(taker, EventSender::send);
        }
    }

    /// Answers a taker, if it asks and there is something to answer with.
    fn answer(&mut self, taker: usize, tell: fn(&EventSender, Event)) -> bool {
        let open = self.is_open();
        let Some(taker) = self.takers.get_mut(taker).filter(|taker| open && taker.asks && !taker.gone) else {
            return false;
        };
        if let Some(batch) = self.batches.get((taker.next - self.first) as usize) {
            taker.next += 1;
            taker.items += batch.sizes.len() as u64;
            taker.asks = false;
            tell(&taker.sender, Event::Input(batch.clone()));
            self.forget_taken();
            return true;
        }
        let Some(end) = &self.end else {
            return false;
        };
        taker.asks = false;
        tell(&taker.sender, Event::of_end(end.clone()));
        true
    }

    /// Drops batches that all have taken.
    fn forget_taken(&mut self) {
        let end = self.first + self.batches.len() as u64;
        let next = self.takers.iter().filter(|taker| !taker.gone).map(|taker| taker.next).min().unwrap_or(end);
        while self.first < next {
            self.first += 1;
            self.bytes -= self.batches.pop_front().map_or(0, |batch| batch.size());
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmpool_run::supervisor::Mailbox;

    use super::*;

    #[test]
    fn an_input_that_breaks_off_is_told_to_all_who_take_it_and_to_who_waits_for_its_end() {
        let fan = InputSplitter::new();
        let mailbox = || Mailbox::asking(Box::new(|_| false)).expect("a mailbox");
        let mailboxes = [mailbox(), mailbox()];
        mailboxes.iter().for_each(|mailbox| fan.add(mailbox.sender()));
        (0..2).for_each(|taker| fan.ready(taker));
        // One taker asked before the input ended, and one asks afterwards.
        fan.ask(0);
        fan.fail(InputError::Directory("it broke".into()));
        fan.ask(1);
        let is_told = |e: &InputError| matches!(e, InputError::Directory(path) if path.as_os_str() == "it broke");
        assert!(fan.wait_for_end().is_err_and(|e| is_told(&e)));
        for mailbox in mailboxes {
            assert!(matches!(&mailbox.take()[..], [Event::InputFailed(e)] if is_told(e)));
        }
    }
}
