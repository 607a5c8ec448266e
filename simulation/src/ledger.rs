//! What became of each item, checked against the scheduler's promises.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use crate::world::{Nature, World};
use crate::{Violation, promise};
use wasmpool_core::outcome::FailureKind;
use wasmpool_core::policy::{Failures, Halt, HaltWhen};
use wasmpool_scheduler::{Blame, OutcomeEnd, WorkerId};

/// Number of times that a chunk may be given back without any of its items having started, before its first item may be
/// blamed.
const BOUNCES: u32 = 3;

/// The outcome of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    Answered(OutcomeEnd),
    Blamed(Blame),
    /// The outcome was known before this run.
    Known,
}

#[derive(Debug, Default)]
struct Item {
    holder: Option<WorkerId>,
    became: Option<(Became, u32)>,
    emitted: bool,
    /// Number of workers that died while they ran this item alone, or when it was the next to start.
    deaths: u32,
    bounces: u32,
    /// Number of times that it was run again after an answer.
    again: u32,
}

/// The end of a worker as it really was.
#[derive(Debug)]
pub struct Death {
    /// The running item, and whether it was alone in its call.
    pub in_work: Option<(u64, bool)>,
    /// True if the worker reports the truth about itself.
    pub honest: bool,
    /// The item that it had to answer next when it was ordered to be killed, if it was.
    pub ordered: Option<u64>,
}

/// Outcomes that wait to be emitted.
#[derive(Debug, Default)]
struct Gathered {
    indices: Vec<u64>,
    bytes: u64,
}

#[derive(Debug)]
pub struct Ledger {
    world: World,
    items: Vec<Item>,
    /// Items of each worker, in the order in which it must answer them.
    held: BTreeMap<WorkerId, VecDeque<u64>>,
    /// Number of workers that hold more than one item.
    holding_several: usize,
    chunks: BTreeMap<u64, Gathered>,
    /// Items that callers gave up.
    given_up: BTreeSet<u64>,
    deaths: BTreeMap<WorkerId, (Death, Option<u64>)>,
    /// Chunks that were emitted completely.
    ended: BTreeSet<u64>,
    emitted: u64,
    given_out: u64,
    /// Number of outcomes of this run, and of failures among them; whether there were ever too many.
    done: u64,
    failed: u64,
    was_too_much: bool,
    halted: Option<HaltWhen>,
    /// Bytes of items that were read and not given out, of items given out and not all emitted, of outcomes that wait,
    /// and of outcomes emitted and not written.
    waiting: u64,
    input: u64,
    output: u64,
    unwritten: u64,
}

impl Ledger {
    pub fn new(world: World) -> Self {
        Ledger {
            world,
            items: Vec::new(),
            held: BTreeMap::new(),
            holding_several: 0,
            chunks: BTreeMap::new(),
            given_up: BTreeSet::new(),
            deaths: BTreeMap::new(),
            ended: BTreeSet::new(),
            emitted: 0,
            given_out: 0,
            done: 0,
            failed: 0,
            was_too_much: false,
            halted: None,
            waiting: 0,
            input: 0,
            output: 0,
            unwritten: 0,
        }
    }

    fn cost(&self, index: u64) -> u64 {
        self.world.cost(index)
    }

    fn item(&mut self, index: u64) -> Result<&mut Item, Violation> {
        self.items.get_mut(index as usize).ok_or_else(|| format!("item {index} was never read"))
    }

    pub fn read(&mut self, index: u64) {
        self.waiting += self.cost(index);
    }

    /// Adds outcomes that an earlier run has left, and the bytes of their printed form.
    pub fn known(&mut self, first: u64, end: u64, bytes: u64) {
        self.items.extend((first..end).map(|_| Item { became: Some((Became::Known, 1)), ..Item::default() }));
        self.chunks.insert(first, Gathered { indices: (first..end).collect(), bytes });
        self.output += bytes;
        self.given_out = end;
    }

    /// Adds items that an earlier run has left to be run.
    pub fn hole(&mut self, first: u64, end: u64) {
        self.items.extend((first..end).map(|_| Item::default()));
        self.input += (first..end).map(|index| self.cost(index)).sum::<u64>();
        self.given_out = end;
    }

    /// Drops items that were read and not given out.
    pub fn stop(&mut self) {
        self.waiting = 0;
    }

    pub fn send(&mut self, worker: WorkerId, chunk: u64, count: u32) -> Result<(), Violation> {
        promise!(count > 0, "worker {worker} is given a chunk without items");
        promise!(self.halted != Some(HaltWhen::Now), "worker {worker} is given items after all was cut short");
        for index in chunk..chunk + u64::from(count) {
            if index == self.given_out {
                self.given_out += 1;
                self.items.push(Item::default());
                let cost = self.cost(index);
                self.input += cost;
                self.waiting = self
                    .waiting
                    .checked_sub(cost)
                    .ok_or_else(|| format!("item {index} is given to worker {worker}, but was never read"))?;
            }
            let item = self.item(index)?;
            promise!(item.holder.is_none(), "item {index} goes to worker {worker}, but {:?} has it", item.holder);
            promise!(item.became.is_none(), "item {index} goes to worker {worker}, but has an outcome");
            item.holder = Some(worker);
            let held = self.held.entry(worker).or_default();
            held.push_back(index);
            self.holding_several += usize::from(held.len() == 2);
        }
        Ok(())
    }

    /// Records that nobody wants these items any more.
    pub fn give_up(&mut self, items: Range<u64>) {
        self.given_up.extend(items);
    }

    pub fn is_given_up(&self, index: u64) -> bool {
        self.given_up.contains(&index)
    }

    /// Records that the next items of the input are a chunk that no worker gets.
    pub fn skip(&mut self, chunk: u64, count: u32) -> Result<(), Violation> {
        for index in chunk..chunk + u64::from(count) {
            promise!(index == self.given_out, "item {index} is skipped when it is the turn of {}", self.given_out);
            promise!(self.is_given_up(index), "item {index} is skipped, though somebody wants it");
            self.given_out += 1;
            self.items.push(Item::default());
            let cost = self.cost(index);
            self.input += cost;
            self.waiting = self.waiting.checked_sub(cost).ok_or_else(|| format!("item {index} was never read"))?;
        }
        Ok(())
    }

    /// Records that a worker will not run these items, the last that it was given.
    pub fn taken_back(&mut self, worker: WorkerId, chunk: u64) -> Result<(), Violation> {
        let held = self.held.entry(worker).or_default();
        let before = held.len();
        let kept = held.iter().position(|&index| index == chunk);
        let taken = held.split_off(kept.ok_or_else(|| format!("chunk {chunk} is taken back, which {worker} has not"))?);
        promise!(!held.is_empty(), "chunk {chunk} is taken back from worker {worker}, which has nothing else");
        self.holding_several -= usize::from(before > 1 && held.len() <= 1);
        for index in taken {
            self.item(index)?.holder = None;
        }
        Ok(())
    }

    /// Returns true if the worker holds this item.
    pub fn holds(&self, worker: WorkerId, index: u64) -> bool {
        self.held.get(&worker).is_some_and(|items| items.contains(&index))
    }

    /// Returns the item that a worker must answer next.
    pub fn next_of(&self, worker: WorkerId) -> Option<u64> {
        self.held.get(&worker)?.front().copied()
    }

    pub fn holds_nothing(&self, worker: WorkerId) -> bool {
        self.held.get(&worker).is_none_or(VecDeque::is_empty)
    }

    /// Returns true if this worker holds more than one item; `somebody_holds_several` if any worker does.
    pub fn holds_several(&self, worker: WorkerId) -> bool {
        self.held.get(&worker).is_some_and(|items| items.len() > 1)
    }

    pub fn somebody_holds_several(&self) -> bool {
        self.holding_several > 0
    }

    /// Returns the workers that hold items.
    pub fn holders(&self) -> impl Iterator<Item = WorkerId> {
        self.held.iter().filter(|(_, items)| !items.is_empty()).map(|(&id, _)| id)
    }

    /// Records that a worker's outcome was taken, for this item.
    fn answered(&mut self, worker: WorkerId, index: u64) -> Result<(), Violation> {
        let held = self.held.entry(worker).or_default();
        let next = held.pop_front();
        self.holding_several -= usize::from(held.len() == 1);
        promise!(
            next == Some(index),
            "an outcome of worker {worker} is taken for {index}, but it had {next:?} to answer"
        );
        self.item(index)?.holder = None;
        Ok(())
    }

    pub fn retry(&mut self, worker: WorkerId, index: u64, ending: OutcomeEnd) -> Result<(), Violation> {
        let config = &self.world.config;
        let (retries, meant) = (config.retries, self.is_retried(ending));
        promise!(meant, "item {index} runs again after {ending:?}, of which that was not asked");
        self.answered(worker, index)?;
        let item = self.item(index)?;
        item.again += 1;
        promise!(item.again <= retries, "item {index} runs again {} times, with {retries} allowed", item.again);
        Ok(())
    }

    fn is_retried(&self, ending: OutcomeEnd) -> bool {
        matches!(ending, OutcomeEnd::Failed(kind) if self.world.config.retry_on.contains(&kind))
    }

    pub fn keep(
        &mut self,
        worker: WorkerId,
        chunk: u64,
        index: u64,
        ending: OutcomeEnd,
        attempts: u32,
        bytes: u64,
    ) -> Result<(), Violation> {
        let tried = attempts > self.world.config.retries || !self.is_retried(ending);
        promise!(tried, "item {index} is not run again after {ending:?}, its attempt {attempts}");
        self.answered(worker, index)?;
        self.became(chunk, index, Became::Answered(ending), attempts, bytes)
    }

    pub fn settle(
        &mut self,
        worker: Option<WorkerId>,
        chunk: u64,
        index: u64,
        blame: Blame,
        attempts: u32,
        bytes: u64,
    ) -> Result<(), Violation> {
        if blame == Blame::Cancelled {
            let cut = self.halted == Some(HaltWhen::Now) && !self.world.config.resumable;
            let given_up = self.is_given_up(index);
            promise!(cut || given_up, "item {index} is cancelled, but nothing was cut short, nor given up");
            return self.became(chunk, index, Became::Blamed(blame), attempts, bytes);
        }
        promise!(!self.is_given_up(index), "item {index} is blamed ({blame:?}), though nobody wants it");
        let (death, next) = worker
            .and_then(|id| self.deaths.get(&id))
            .ok_or_else(|| format!("item {index} is blamed for worker {worker:?}, which nobody lost"))?;
        promise!(*next == Some(index), "item {index} is blamed for worker {worker:?}, whose next item was {next:?}");
        let bounced = self.items.get(index as usize).is_some_and(|item| item.bounces > BOUNCES);
        let guilty = match blame {
            Blame::Cancelled => false,
            Blame::Timeout(_) => death.ordered == Some(index),
            Blame::WorkerLost => {
                death.ordered != Some(index) && (!death.honest || death.in_work == Some((index, true)) || bounced)
            }
        };
        promise!(guilty, "item {index} is blamed ({blame:?}) for worker {worker:?}, which ended like this: {death:?}");
        self.became(chunk, index, Became::Blamed(blame), attempts, bytes)
    }

    fn became(&mut self, chunk: u64, index: u64, what: Became, attempts: u32, bytes: u64) -> Result<(), Violation> {
        let most = self.world.config.retries + 1;
        promise!((1..=most).contains(&attempts), "item {index} has its outcome after {attempts} attempts of {most}");
        let item = self.item(index)?;
        promise!(item.became.is_none(), "item {index} has two outcomes: {:?} and {what:?}", item.became);
        promise!(item.holder.is_none(), "item {index} has an outcome while worker {:?} has it", item.holder);
        item.became = Some((what, attempts));
        let gathered = self.chunks.entry(chunk).or_default();
        gathered.indices.push(index);
        gathered.bytes += bytes;
        self.output += bytes;
        self.done += 1;
        self.failed += u64::from(what != Became::Answered(OutcomeEnd::Final));
        self.was_too_much |= self.is_too_much();
        Ok(())
    }

    /// Returns true if more items have failed than the run permits.
    fn is_too_much(&self) -> bool {
        let (done, failed) = (self.done as f64, self.failed as f64);
        self.world.config.halt.is_some_and(|halt| match halt.after {
            Failures::Count(count) => self.failed >= count,
            Failures::Percent(share) => self.failed >= 3 && failed * 100.0 >= share * done,
        })
    }

    /// Records that the scheduler has halted; returns true if it had not before.
    pub fn halt(&mut self, halt: Halt) -> Result<bool, Violation> {
        if self.halted.is_some() {
            return Ok(false);
        }
        promise!(self.was_too_much, "it halts with {} of {} failed", self.failed, self.done);
        promise!(Some(halt) == self.world.config.halt, "it halts for {halt}, which nobody asked for");
        self.halted = Some(halt.manner);
        self.stop();
        if halt.manner == HaltWhen::Now {
            for index in std::mem::take(&mut self.held).into_values().flatten() {
                self.item(index)?.holder = None;
            }
            self.holding_several = 0;
        }
        Ok(true)
    }

    /// Checks, after the orders that follow from all outcomes were given, that the scheduler has halted if too many
    /// failed.
    pub fn would_halt(&self) -> Result<(), Violation> {
        let goes_on = self.halted.is_none() && self.is_too_much();
        promise!(!goes_on, "it goes on with {} of {} failed", self.failed, self.done);
        Ok(())
    }

    pub fn has_halted(&self) -> bool {
        self.halted.is_some()
    }

    /// Records that a worker has ended; what it delivered was taken before.
    pub fn lost(&mut self, worker: WorkerId, death: Death) -> Result<(), Violation> {
        let held = self.held.remove(&worker).unwrap_or_default();
        self.holding_several -= usize::from(held.len() > 1);
        for &index in &held {
            self.item(index)?.holder = None;
        }
        let next = held.front().copied();
        if let Some(next) = next {
            let batch = self.world.config.batch;
            let item = self.item(next)?;
            let alone = death.honest && death.ordered.is_none() && death.in_work == Some((next, true));
            item.deaths += u32::from(alone);
            item.bounces += u32::from(!alone);
            // Halving a batch runs an item once more for each half it is in.
            let most = if batch { 14 } else { 2 };
            promise!(item.deaths <= most, "item {next} killed {} workers", item.deaths);
        }
        self.deaths.insert(worker, (death, next));
        Ok(())
    }

    /// Records that all orders that follow from losses were given.
    pub fn losses_are_settled(&mut self) {
        self.deaths.clear();
    }

    pub fn split(&mut self, chunk: u64, at: u64) -> Result<(), Violation> {
        promise!(at > chunk, "chunk {chunk} is split at {at}");
        let behind = self.chunks.get(&chunk).and_then(|gathered| gathered.indices.iter().find(|&&index| index >= at));
        promise!(behind.is_none(), "chunk {chunk} is split at {at}, in front of an outcome that it has");
        Ok(())
    }

    /// Emits the outcomes of the chunk, and returns their bytes. After its end the chunk must not be named again.
    pub fn emit(&mut self, chunk: u64, done: bool) -> Result<u64, Violation> {
        promise!(!self.ended.contains(&chunk), "chunk {chunk} is emitted after its end");
        let gathered = self.chunks.remove(&chunk).unwrap_or_default();
        let ordered = self.world.config.ordered;
        for &index in &gathered.indices {
            promise!(
                !ordered || index == self.emitted,
                "item {index} is emitted when it is the turn of {}",
                self.emitted
            );
            let item = self.item(index)?;
            promise!(!item.emitted, "item {index} is emitted twice");
            item.emitted = true;
            self.emitted += 1;
        }
        for &index in &gathered.indices {
            if !matches!(self.item(index)?.became, Some((Became::Known, _))) {
                self.input -= self.cost(index);
            }
        }
        if done {
            promise!(self.ended.insert(chunk), "chunk {chunk} ends twice");
        }
        self.output -= gathered.bytes;
        self.unwritten += gathered.bytes;
        Ok(gathered.bytes)
    }

    pub fn written(&mut self, bytes: u64) {
        self.unwritten -= bytes;
    }

    /// Returns the number of items that were emitted.
    pub fn emitted(&self) -> u64 {
        self.emitted
    }

    /// Returns the number of items that were given out.
    pub fn given_out(&self) -> u64 {
        self.given_out
    }

    /// Returns the bytes that wait to be written, and those of items that wait to be emitted.
    pub fn in_memory(&self) -> u64 {
        self.waiting + self.input + self.output + self.unwritten
    }

    /// Returns the bytes of items that are not emitted.
    pub fn items_in_memory(&self) -> u64 {
        self.waiting + self.input
    }

    /// Checks, when the run is over after this many items, that each has its outcome and that the outcome is right for
    /// it.
    pub fn complete(&self, items: u64) -> Result<(), Violation> {
        promise!(self.given_out == items, "{} items were given out of {items}", self.given_out);
        let config = &self.world.config;
        // A later run may continue with what this one leaves.
        let left = config.resumable && self.halted == Some(HaltWhen::Now);
        if left {
            let next = self.items.get(self.emitted as usize);
            let gap = !config.ordered || next.is_none_or(|item| item.became.is_none());
            promise!(gap, "item {} has an outcome and is next, but was not emitted", self.emitted);
        } else {
            promise!(self.emitted == items, "{} items were emitted of {items}", self.emitted);
        }
        for (index, item) in self.items.iter().enumerate() {
            let Some((became, attempts)) = item.became else {
                promise!(left, "item {index} has no outcome");
                continue;
            };
            promise!(item.emitted || left && config.ordered, "item {index} was not emitted");
            let right = self.is_right(index as u64, became, attempts);
            let nature = self.world.nature(index as u64);
            promise!(right, "item {index} is {nature:?}, and became {became:?} after {attempts} attempts");
        }
        Ok(())
    }

    /// Returns true if an item ended as it would alone, whatever others do.
    fn is_right(&self, index: u64, became: Became, attempts: u32) -> bool {
        let config = &self.world.config;
        if !self.world.is_undisturbed() || matches!(became, Became::Known | Became::Blamed(Blame::Cancelled)) {
            return true;
        }
        let tries = |kind, most: u32| 1 + if config.retry_on.contains(&kind) { config.retries.min(most) } else { 0 };
        let well = became == Became::Answered(OutcomeEnd::Final);
        let lost = became == Became::Blamed(Blame::WorkerLost);
        match self.world.nature(index) {
            Nature::Good => well && attempts == 1,
            Nature::Failing(kind) => {
                became == Became::Answered(OutcomeEnd::Failed(kind)) && attempts == tries(kind, u32::MAX)
            }
            // It is not tried on a third worker.
            Nature::Killer => lost && attempts == tries(FailureKind::WorkerLost, 1),
            Nature::Flaky => well || lost,
            Nature::Endless => {
                matches!(became, Became::Blamed(Blame::Timeout(_))) && attempts == tries(FailureKind::Timeout, u32::MAX)
            }
            Nature::Expiring => {
                became == Became::Answered(OutcomeEnd::Failed(FailureKind::Timeout))
                    && attempts == tries(FailureKind::Timeout, u32::MAX)
            }
            Nature::Moody => !matches!(became, Became::Blamed(Blame::Timeout(_))),
            Nature::Slow => !lost,
        }
    }
}
