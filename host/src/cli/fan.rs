//! One input for several supervisors: what is read goes to each of them, and is kept until the last has taken it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use wasmpool_ipc::batch::Batch;
use wasmpool_run::input::Items;
use wasmpool_run::supervisor::{Event, Sender};

/// Bytes that are read ahead of the slowest, besides what each supervisor takes for itself.
const WINDOW: usize = 2 << 20;
/// Batches that whoever waits for [`Fan::noted`] may lag behind.
const MOST_UNNOTED: usize = 64;

/// Hands the items of one input to several takers, none of which sees any before all are ready.
#[derive(Debug)]
pub struct Fan {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    takers: Vec<Taker>,
    /// Those that not all have taken, and the number of the first.
    batches: VecDeque<Batch>,
    first: u64,
    bytes: usize,
    /// How the input ended, if it did.
    end: Option<Result<(), String>>,
    unnoted: usize,
    /// Nobody wants any more.
    closed: bool,
}

#[derive(Debug)]
struct Taker {
    sender: Sender,
    ready: bool,
    gone: bool,
    /// It waits for a batch.
    asks: bool,
    /// The number of its next batch.
    next: u64,
    /// Items it was handed.
    items: u64,
}

impl Fan {
    /// One for takers that come with [`Fan::add`].
    pub fn new() -> Fan {
        let state = State {
            takers: Vec::new(),
            batches: VecDeque::new(),
            first: 0,
            bytes: 0,
            end: None,
            unnoted: 0,
            closed: false,
        };
        Fan { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one more taker, whose number is how many there were before.
    pub fn add(&self, sender: Sender) {
        let taker = Taker { sender, ready: false, gone: false, asks: false, next: 0, items: 0 };
        self.lock().takers.push(taker);
    }

    /// A taker can run items.
    pub fn ready(&self, taker: usize) {
        let mut state = self.lock();
        let Some(of) = state.takers.get_mut(taker).filter(|taker| !taker.ready) else {
            return;
        };
        of.ready = true;
        state.answer_all();
        self.changed.notify_all();
    }

    /// A taker asks for a batch. Says whether the answer is in its mailbox already.
    pub fn ask(&self, taker: usize) -> bool {
        let mut state = self.lock();
        if let Some(taker) = state.takers.get_mut(taker) {
            taker.asks = true;
        }
        let answered = state.answer(taker, Sender::leave);
        self.changed.notify_all();
        answered
    }

    /// A taker wants no more, and holds up nobody.
    pub fn leave(&self, taker: usize) {
        let mut state = self.lock();
        if let Some(taker) = state.takers.get_mut(taker) {
            taker.gone = true;
        }
        state.forget_taken();
        state.answer_all();
        self.changed.notify_all();
    }

    /// What was read before one batch was noted by whoever was told of it.
    pub fn noted(&self) {
        let mut state = self.lock();
        state.unnoted = state.unnoted.saturating_sub(1);
        self.changed.notify_all();
    }

    /// Nobody wants any more: reading ends.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The input cannot be read on.
    pub fn fail(&self, why: &str) {
        let mut state = self.lock();
        state.end.get_or_insert_with(|| Err(why.to_owned()));
        state.answer_all();
        self.changed.notify_all();
    }

    /// Items that a taker was handed.
    pub fn handed(&self, taker: usize) -> u64 {
        self.lock().takers.get(taker).map_or(0, |taker| taker.items)
    }

    /// Waits until the input has been read to its end, or is closed. An error says why it could not be read on.
    pub fn wait_for_end(&self) -> Result<(), String> {
        let mut state = self.lock();
        loop {
            match &state.end {
                Some(end) => return end.clone(),
                None if state.closed => return Ok(()),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Reads while there is room, until there are no more items or nobody wants any. Before anybody gets them, `told` hears
    /// how many items were read so far; each time it does, [`Fan::noted`] is to be called in the end.
    pub fn read(&self, mut items: Box<dyn Items>, mut told: impl FnMut(u64)) {
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

    /// Says whether more is wanted.
    fn wait_for_room(&self) -> bool {
        let mut state = self.lock();
        while !state.closed && !state.has_room() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.closed
    }
}

impl State {
    /// Whether all are ready, so that items may be handed out.
    fn is_open(&self) -> bool {
        self.takers.iter().all(|taker| taker.ready || taker.gone)
    }

    /// Whether one more batch may be read.
    fn has_room(&self) -> bool {
        self.is_open() && self.bytes < WINDOW && self.unnoted < MOST_UNNOTED
    }

    fn answer_all(&mut self) {
        for taker in 0..self.takers.len() {
            self.answer(taker, Sender::send);
        }
    }

    /// Answers a taker, if it asks and there is something to answer it with.
    fn answer(&mut self, taker: usize, tell: fn(&Sender, Event)) -> bool {
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

    /// Forgets what all have taken.
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
        let fan = Fan::new();
        let mailbox = || Mailbox::asking(Box::new(|_| false)).expect("a mailbox");
        let mailboxes = [mailbox(), mailbox()];
        mailboxes.iter().for_each(|mailbox| fan.add(mailbox.sender()));
        (0..2).for_each(|taker| fan.ready(taker));
        // One asked before, and one asks behind it.
        fan.ask(0);
        fan.fail("it broke");
        fan.ask(1);
        assert_eq!(fan.wait_for_end(), Err("it broke".to_owned()));
        for mailbox in mailboxes {
            assert!(matches!(&mailbox.take()[..], [Event::InputFailed(message)] if message == "it broke"));
        }
    }
}
