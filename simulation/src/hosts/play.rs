//! The run: the coordinator with the scheduler and the slots, the broker, the hosts, and what goes wrong.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use super::broker::Broker;
use super::figures::Figures;
use super::site::{HeldChunk, Site};
use super::world::{Rogue, TROUBLE, World};
use crate::Violation;
use crate::promise;
use crate::random::{Random, mix};
use crate::trace::Trace;
use wasmpool_core::hosts::HostChange;
use wasmpool_core::outcome::FailureKind;
use wasmpool_hosts::chunk::{ChunkName, CopyNumber};
use wasmpool_hosts::digest::Digest;
use wasmpool_hosts::names::{HostLife, HostName};
use wasmpool_hosts::notes::RunBeat;
use wasmpool_hosts::outcomes::{OutcomesHead, Receipt};
use wasmpool_hosts::slots::{Order, SlotId, Slots, SlotsConfig, Verdict as Taken};
use wasmpool_scheduler::{Action, Blame, ChunkSize, OutcomeEnd, Scheduler, SchedulerConfig, Time, Verdict};

/// A run that has not ended by then never will. One of whose two hosts holds chunks, while the other ends under them, takes long.
const END: Duration = Duration::from_secs(40_000);
/// No item takes longer on a host that works.
const ITEM: Duration = Duration::from_secs(2);
/// Number of workers that a host claims which has none, and of chunks that are published for it at most.
const CLAIMED: u32 = 3000;
const FOR_CLAIMS: usize = 64;
/// What the number of the second process under a name is greater by.
const OTHER_LIFE: u64 = 1 << 40;
const BEAT: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(250);
const RESEND: Duration = Duration::from_secs(1);
/// Time for which the broker keeps a pull, and after which a host asks again.
const EXPIRES: Duration = Duration::from_secs(5);
const PULL: Duration = Duration::from_secs(6);

/// Something that happens.
#[derive(Debug)]
enum Event {
    /// The coordinator looks at the time.
    Look,
    /// A host beats, pulls, sends again what was not answered.
    Beat {
        host: u32,
        life: u64,
    },
    /// A message reaches the broker.
    Publish {
        copy: CopyNumber,
        chunk: ChunkName,
    },
    /// A message of the stream that there was after so many losses: what was said before another stream is made, the broker
    /// hears before.
    Discard {
        losses: u64,
        sequence: u64,
    },
    Ask,
    Pull {
        host: u32,
        life: u64,
    },
    /// A message reaches the coordinator.
    Confirmed {
        copy: CopyNumber,
        sequence: u64,
    },
    NotStored {
        copy: CopyNumber,
    },
    Delivered(u64, bool),
    Gone,
    Heard {
        host: u32,
        beat: RunBeat,
    },
    Outcomes {
        host: u32,
        head: OutcomesHead,
        items: Vec<u64>,
    },
    /// A message reaches a host.
    Chunk {
        host: u32,
        life: u64,
        copy: CopyNumber,
        sequence: u64,
        chunk: ChunkName,
    },
    Answer {
        host: u32,
        life: u64,
        copy: CopyNumber,
        part: u32,
        goes_on: bool,
    },
    /// A host is given a chunk past the stream, or told that a copy is not wanted any more.
    Given {
        host: u32,
        life: u64,
        copy: CopyNumber,
        chunk: ChunkName,
    },
    Dropped {
        host: u32,
        life: u64,
        copy: CopyNumber,
    },
    /// A worker of a host has run a chunk.
    Ran {
        host: u32,
        life: u64,
        copy: CopyNumber,
    },
    /// What may go wrong each second.
    Trouble,
    /// A host is started again.
    Start {
        host: u32,
    },
    /// The broker can be reached again.
    Back,
}

pub struct Simulation<'a> {
    world: &'a World,
    random: Random,
    trace: Trace,
    figures: Figures,
    now: Time,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
    scheduler: Scheduler,
    slots: Slots,
    /// The chunk of each slot that has one.
    chunks: BTreeMap<SlotId, ChunkName>,
    /// What was published of each slot last.
    published: BTreeMap<SlotId, (ChunkName, CopyNumber)>,
    read: u64,
    broker: Broker,
    away: bool,
    /// Number of losses of the broker that the coordinator has noticed.
    losses: u64,
    sites: BTreeMap<u32, Site>,
    lives: u64,
    /// Hosts that have held an item and ended, once for each end.
    ends: BTreeMap<u64, Vec<u32>>,
    /// Chunks that were given to a host for being late or to be compared, and the hosts that have delivered outcomes of the
    /// chunk of a slot.
    doubled: BTreeSet<CopyNumber>,
    deliverers: BTreeMap<SlotId, BTreeSet<u32>>,
    opened: u64,
    /// Hosts of which the user was told that they serve the run.
    told: BTreeSet<HostName>,
    /// Number of outcomes of each item.
    outcomes: Vec<u32>,
    emitted: u64,
}

fn name(host: u32) -> HostName {
    HostName::of_text(&format!("h{host}"))
}

/// Returns the number of the host that has this name.
fn number(host: &HostLife) -> u32 {
    host.name.as_str().trim_start_matches('h').parse().unwrap_or(u32::MAX)
}

/// Returns the name of a chunk. The digest stands for the items.
fn chunk(first: u64, count: u32) -> ChunkName {
    let [a, b] = [first.to_le_bytes(), u64::from(count).to_le_bytes()];
    let mut digest = [0; 16];
    digest.iter_mut().zip(a.into_iter().chain(b)).for_each(|(to, from)| *to = from);
    ChunkName { first, count, digest: Digest(digest) }
}

/// Records that a host has ended under the items that it holds.
fn end_under(host: u32, site: &Site, ends: &mut BTreeMap<u64, Vec<u32>>) {
    for held in site.held.values() {
        for item in held.name.items() {
            ends.entry(item).or_default().push(host);
        }
    }
}

impl<'a> Simulation<'a> {
    pub fn new(world: &'a World, trace: Trace) -> Simulation<'a> {
        let config = SchedulerConfig {
            ordered: world.ordered,
            chunk: ChunkSize::Fixed(world.chunk),
            retries: world.retries,
            ..SchedulerConfig::of_limits(Duration::from_secs(10), 1).over_hosts()
        };
        Simulation {
            world,
            random: Random::new(mix(world.seed)),
            trace,
            figures: Figures::default(),
            now: Time::ZERO,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            scheduler: Scheduler::new(config),
            slots: Slots::new(SlotsConfig {
                most: None,
                speculate: world.speculate,
                check: world.check,
                item: Some(ITEM),
            }),
            chunks: BTreeMap::new(),
            published: BTreeMap::new(),
            read: 0,
            broker: Broker::default(),
            away: false,
            losses: 0,
            sites: BTreeMap::new(),
            lives: 0,
            ends: BTreeMap::new(),
            doubled: BTreeSet::new(),
            deliverers: BTreeMap::new(),
            opened: 0,
            told: BTreeSet::new(),
            outcomes: vec![0; world.items as usize],
            emitted: 0,
        }
    }

    pub fn run(mut self) -> Result<Figures, Violation> {
        self.after(Time::ZERO, Event::Look);
        self.after(BEAT, Event::Trouble);
        for host in 0..self.world.hosts + u32::from(self.world.rogue.is_some()) {
            let at = self.random.time(BEAT);
            self.after(at, Event::Start { host });
        }
        self.coordinate()?;
        while !self.scheduler.finished() {
            let Some(Reverse((at, id))) = self.queue.pop() else {
                return Err("nothing happens any more, and the run has not ended".to_owned());
            };
            promise!(at < END, "the run stands still: {} of {} outcomes", self.done(), self.world.items);
            self.now = at;
            let event = self.events.remove(&id).ok_or("an event without content")?;
            self.trace.note(at, &format!("{event:?}"));
            self.happen(event)?;
            self.coordinate()?;
        }
        for (item, &count) in self.outcomes.iter().enumerate() {
            promise!(count == 1, "item {item} has {count} outcomes");
        }
        promise!(self.emitted == self.world.items, "{} of {} items were emitted", self.emitted, self.world.items);
        let retries = self.world.retries > 0 && self.world.failing > 0;
        if self.world.is_quiet() && !retries {
            promise!(self.figures.again == 0, "{} chunks ran again though nothing was lost", self.figures.again);
            let doubled = self.slots.doubled() > 0;
            let doubled = doubled || self.slots.rescued() > 0;
            promise!(doubled || self.slots.dropped() == 0, "outcomes came twice though nothing was lost");
        }
        let (doubled, opened) = (self.slots.doubled(), self.opened);
        promise!(doubled <= (opened / 20).max(1), "{doubled} of {opened} chunks ran a second time for being late");
        promise!(self.world.speculate || doubled == 0, "{doubled} chunks ran a second time against the user's wish");
        self.figures.doubled_chunks = doubled;
        self.figures.items = self.world.items;
        self.figures.dropped = self.slots.dropped();
        self.figures.events = self.trace.events();
        self.figures.hash = self.trace.hash();
        Ok(self.figures)
    }

    fn done(&self) -> u64 {
        self.outcomes.iter().map(|&count| u64::from(count)).sum()
    }

    fn after(&mut self, delay: Duration, event: Event) {
        let id = self.next;
        self.next += 1;
        self.queue.push(Reverse((self.now + delay, id)));
        self.events.insert(id, event);
    }

    /// Returns what this host does instead of work.
    fn rogue(&self, host: u32) -> Option<Rogue> {
        self.world.rogue.filter(|_| host == self.world.hosts)
    }

    fn in_trouble(&self) -> bool {
        self.now < TROUBLE
    }

    /// Sends a message that may be lost, and may come twice.
    fn send(&mut self, event: impl Fn() -> Event) {
        let trouble = self.in_trouble();
        if self.away || (trouble && self.random.per_mille(self.world.lose)) {
            self.figures.lost += 1;
            return;
        }
        if trouble && self.random.per_mille(self.world.double) {
            self.figures.doubled += 1;
            let delay = self.random.time(self.world.delay * 2 + Duration::from_micros(1));
            self.after(delay, event());
        }
        let delay = self.random.time(self.world.delay + Duration::from_micros(1));
        self.after(delay, event());
    }

    // ---- the coordinator ---------------------------------------------------------------------------------------------

    /// Checks what the user is told of a host.
    fn told_of(&mut self, host: &HostName, change: HostChange) -> Result<(), Violation> {
        match change {
            HostChange::Serves { workers } => {
                promise!(workers > 0, "{host} serves without a worker");
                promise!(self.told.insert(host.clone()), "the user is told twice that {host} serves");
            }
            HostChange::Returns => {
                promise!(
                    self.told.insert(host.clone()),
                    "the user is told that {host} is back, and was not told that it is lost"
                );
            }
            HostChange::Leaves => return Err("a host leaves that was not told to".to_owned()),
            HostChange::Lost { how, chunks } => {
                promise!(chunks <= self.chunks.len(), "{chunks} chunks run again, and there are not so many");
                if how.is_of_host() {
                    promise!(!self.world.is_quiet(), "the user is told that {host} is lost, though nothing went wrong");
                    let told = self.told.remove(host);
                    promise!(
                        told || chunks > 0,
                        "the user is told that {host} is lost, which had nothing to do with the run"
                    );
                    self.figures.lost_hosts += 1;
                }
            }
        }
        Ok(())
    }

    /// Carries out what the scheduler and the slots order.
    fn coordinate(&mut self) -> Result<(), Violation> {
        loop {
            let mut quiet = true;
            while let Some(action) = self.scheduler.next_action() {
                quiet = false;
                self.act(action)?;
            }
            while let Some(order) = self.slots.next_order() {
                quiet = false;
                self.obey(order)?;
            }
            while self.scheduler.wants_input() {
                quiet = false;
                let count = self.random.between(1, 16).min(self.world.items - self.read);
                match count {
                    0 => self.scheduler.input_ended(),
                    count => self.scheduler.input(&vec![10; count as usize]),
                }
                self.read += count;
            }
            if quiet {
                return Ok(());
            }
        }
    }

    fn act(&mut self, action: Action) -> Result<(), Violation> {
        match action {
            Action::Spawn(id) => {
                self.scheduler.worker_spawned(id, self.now);
                self.scheduler.worker_ready(id, self.now);
            }
            Action::Send { worker, chunk: first, count } => {
                promise!(!self.chunks.contains_key(&worker), "slot {worker} was given a second chunk");
                let chunk = chunk(first, count);
                self.chunks.insert(worker, chunk);
                self.deliverers.remove(&worker);
                self.opened += 1;
                self.slots.open(worker, chunk, self.now);
            }
            Action::Kill(id) | Action::Retire(id) => {
                self.chunks.remove(&id);
                self.slots.close(id);
                self.scheduler.slot_lost(id, false, self.now);
            }
            Action::Settle { chunk, index, blame, .. } => {
                promise!(blame == Blame::WorkerLost, "item {index} was given up as {blame:?}");
                let ends = self.ends.get(&index).cloned().unwrap_or_default();
                let hosts: BTreeSet<u32> = ends.iter().copied().collect();
                promise!(
                    ends.len() >= 6 || hosts.len() >= 2,
                    "item {index} is blamed, and {hosts:?} have ended under it"
                );
                promise!(
                    !self.world.has_one_killer() || self.world.killers.contains(&index),
                    "item {index} is blamed, which has ended no host"
                );
                self.figures.blamed += 1;
                self.keep(chunk, index);
            }
            Action::Emit { .. } | Action::Split { .. } | Action::Skip { .. } => {}
            Action::TakeBack { .. } | Action::GiveUp => return Err(format!("{action:?} of slots")),
        }
        Ok(())
    }

    fn keep(&mut self, chunk: u64, index: u64) {
        if let Some(count) = self.outcomes.get_mut(index as usize) {
            *count += 1;
            self.emitted += 1;
        }
        self.scheduler.account_kept(chunk, 1);
        self.scheduler.written(1);
    }

    fn obey(&mut self, order: Order) -> Result<(), Violation> {
        match order {
            Order::Publish { slot, copy } => {
                let Some(&chunk) = self.chunks.get(&slot) else {
                    return Err(format!("slot {slot} without a chunk is published"));
                };
                self.figures.copies += 1;
                let before = self.published.insert(slot, (chunk, copy));
                self.figures.again += u64::from(before.is_some_and(|(of, number)| of == chunk && number != copy));
                self.send(|| Event::Publish { copy, chunk });
            }
            Order::Give { slot, copy, host } => self.give(slot, copy, &host)?,
            Order::Drop { copy, host } => {
                let (host, life) = (number(&host), host.life);
                self.send(|| Event::Dropped { host, life, copy });
            }
            Order::Acknowledge(Receipt { stream_sequence: sequence, .. }) | Order::Discard { sequence } => {
                let losses = self.losses;
                self.send(|| Event::Discard { losses, sequence });
            }
            Order::Ask => self.send(|| Event::Ask),
            Order::Slots { count, ahead } => {
                let workers = (self.world.hosts * self.world.workers) as usize;
                promise!(
                    count <= 2 * workers + FOR_CLAIMS && ahead <= 6 * workers + 3 * FOR_CLAIMS,
                    "{count} and {ahead} chunks are published at a time, for workers that a host claims"
                );
                self.scheduler.set_slots(count, ahead);
            }
            Order::Lose { slot, blamed, .. } => {
                self.chunks.remove(&slot);
                self.scheduler.slot_lost(slot, blamed, self.now);
            }
            Order::Shared(_) | Order::Unconfirmed => {}
            Order::Host { host, change } => self.told_of(&host, change)?,
            Order::Overdue { .. } => self.figures.overdue += 1,
            Order::Refused(..) => return Err("hosts refused that refuse nothing".to_owned()),
        }
        Ok(())
    }

    /// Gives a host a chunk past the stream.
    fn give(&mut self, slot: SlotId, copy: CopyNumber, to: &HostLife) -> Result<(), Violation> {
        let Some(&chunk) = self.chunks.get(&slot) else {
            return Err(format!("slot {slot} without a chunk is given to a host"));
        };
        let (host, life) = (number(to), to.life);
        self.figures.copies += 1;
        promise!(self.doubled.insert(copy), "copy {copy} is given twice");
        let delivered = self.deliverers.get(&slot).is_some_and(|hosts| hosts.contains(&host));
        promise!(!delivered, "host {host} is given a chunk whose outcomes it has delivered");
        self.send(|| Event::Given { host, life, copy, chunk });
        Ok(())
    }

    /// Takes outcomes, and returns what the host is told, if it is told anything: whether it goes on.
    fn take(&mut self, host: u32, head: OutcomesHead, items: &[u64]) -> Result<Option<bool>, Violation> {
        let slot = match self.slots.outcomes(&name(host), &head, self.now) {
            Taken::Take { slot, noted } => {
                let checked = self.chunks.get(&slot).is_some_and(|chunk| chunk.is_among(self.world.check));
                let others = self.deliverers.get(&slot).is_some_and(|hosts| hosts.iter().any(|other| *other != host));
                promise!(noted == (checked && !others), "outcomes of slot {slot} are noted: {noted}");
                if noted {
                    if head.last {
                        self.deliverers.entry(slot).or_default().insert(host);
                    }
                    self.slots.answered(slot, self.now);
                    return Ok(Some(true));
                }
                self.figures.checked += u64::from(checked && head.last);
                slot
            }
            Taken::Taken => return Ok(Some(true)),
            Taken::Unwanted => return Ok(Some(false)),
            Taken::Later => return Ok(None),
        };
        for &item in items {
            let fails = self.fails(item);
            let end = if fails { OutcomeEnd::Failed(FailureKind::Timeout) } else { OutcomeEnd::Final };
            match self.scheduler.outcome(slot, end, self.world.item, self.now) {
                Verdict::Keep { chunk, index, .. } => {
                    promise!(index == item, "the outcome of item {item} was taken for that of {index}");
                    self.keep(chunk, index);
                }
                Verdict::Retry { index, .. } => {
                    promise!(index == item, "item {index} runs again in place of {item}");
                }
                Verdict::Unexpected => return Err(format!("the outcome of item {item} was not expected")),
            }
        }
        if head.last {
            self.chunks.remove(&slot);
        }
        self.slots.answered(slot, self.now);
        Ok(Some(true))
    }

    fn fails(&self, item: u64) -> bool {
        mix(item ^ self.world.seed) % 1000 < u64::from(self.world.failing)
    }

    // ---- events ------------------------------------------------------------------------------------------------------

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Look => {
                if !self.away {
                    self.slots.tick(self.now);
                    self.scheduler.tick(self.now);
                }
                self.after(LOOK, Event::Look);
            }
            Event::Beat { host, life } => self.host_beats(host, life),
            Event::Publish { copy, .. } if self.broker.full => self.send(|| Event::NotStored { copy }),
            Event::NotStored { copy } => self.slots.not_stored(copy, self.now),
            Event::Publish { copy, chunk } if !self.broker.lost => {
                let sequence = self.broker.store(copy, chunk);
                self.send(|| Event::Confirmed { copy, sequence });
                self.deliver();
            }
            Event::Discard { losses, sequence } if losses == self.broker.losses => self.broker.delete(sequence),
            Event::Discard { .. } => {}
            Event::Ask => match self.broker.lost {
                true => self.send(|| Event::Gone),
                false => {
                    let (delivered, all) = (self.broker.delivered, self.broker.is_empty());
                    self.send(|| Event::Delivered(delivered, all));
                }
            },
            Event::Pull { host, life } if !self.broker.lost => {
                self.broker.pull((host, life), self.now + EXPIRES);
                self.deliver();
            }
            Event::Publish { .. } | Event::Pull { .. } => {}
            Event::Confirmed { copy, sequence } => self.slots.confirmed(copy, sequence, self.now),
            Event::Delivered(sequence, all) => self.slots.delivered(sequence, all, self.now),
            Event::Gone if self.broker.lost => {
                self.broker.lost = false;
                self.losses = self.broker.losses;
                self.slots.stream_lost(self.now);
            }
            Event::Gone => {}
            Event::Heard { host, beat } => {
                if beat.life > OTHER_LIFE
                    && let Some(site) = self.sites.get_mut(&host)
                    && !std::mem::replace(&mut site.has_other, true)
                {
                    // Not knowing of two processes yet, the coordinator takes the one that it heard before for ended.
                    end_under(host, site, &mut self.ends);
                }
                self.slots.beat(&name(host), &beat, self.now);
            }
            Event::Outcomes { host, head, items } => {
                let Some(goes_on) = self.take(host, head, &items)? else {
                    return Ok(());
                };
                let OutcomesHead { life, copy, part, .. } = head;
                self.send(|| Event::Answer { host, life, copy, part, goes_on });
            }
            Event::Chunk { host, life, copy, sequence, chunk } => {
                if let Some(site) = self.site(host, life) {
                    site.pulls = site.pulls.saturating_sub(1);
                }
                self.host_takes(host, life, copy, sequence, chunk);
            }
            Event::Given { host, life, copy, chunk } => self.host_takes(host, life, copy, 0, chunk),
            Event::Dropped { host, life, copy } => self.host_drops(host, life, copy),
            Event::Answer { host, life, copy, part, goes_on } => self.host_is_answered(host, life, copy, part, goes_on),
            Event::Ran { host, life, copy } => self.host_has_run(host, life, copy),
            Event::Trouble => self.trouble(),
            Event::Start { host } => self.host_starts(host),
            Event::Back => {
                self.away = false;
                self.slots.broker_back(self.now);
            }
        }
        Ok(())
    }

    fn deliver(&mut self) {
        while let Some(((host, life), sequence, copy, chunk)) = self.broker.deliver(self.now) {
            self.send(|| Event::Chunk { host, life, copy, sequence, chunk });
        }
    }

    fn trouble(&mut self) {
        if !self.in_trouble() {
            return;
        }
        self.after(BEAT, Event::Trouble);
        for host in 0..self.world.hosts {
            if self.random.per_mille(self.world.kill) {
                self.kill(host);
            } else if self.random.per_mille(self.world.freeze) {
                self.figures.freezes += 1;
                let until = self.now + self.random.time(Duration::from_secs(12));
                if let Some(site) = self.sites.get_mut(&host) {
                    site.frozen = until;
                    // To the coordinator, a host that says nothing for long has ended.
                    end_under(host, site, &mut self.ends);
                }
            }
        }
        if self.random.per_mille(self.world.forget) {
            self.figures.forgotten += 1;
            match self.random.between(0, 5) as usize {
                0..3 => self.broker.forget(),
                count => self.broker.lose_last(count),
            }
        }
        if !self.broker.full && self.random.per_mille(self.world.full) {
            self.figures.full += 1;
            self.broker.full = true;
        }
        if !self.away && self.random.per_mille(self.world.away) {
            self.figures.away += 1;
            self.away = true;
            let until = self.random.time(Duration::from_secs(20));
            self.after(until, Event::Back);
        }
    }

    // ---- hosts -------------------------------------------------------------------------------------------------------

    fn site(&mut self, host: u32, life: u64) -> Option<&mut Site> {
        let now = self.now;
        self.sites.get_mut(&host).filter(|site| site.life == life && site.frozen <= now)
    }

    fn host_starts(&mut self, host: u32) {
        self.lives += 1;
        let life = self.lives;
        self.sites.insert(host, Site::new(life));
        self.after(Time::ZERO, Event::Beat { host, life });
    }

    fn kill(&mut self, host: u32) {
        let Some(site) = self.sites.remove(&host) else {
            return;
        };
        self.figures.kills += 1;
        self.broker.disconnected((host, site.life));
        end_under(host, &site, &mut self.ends);
        let pause = self.random.time(Duration::from_secs(8));
        self.after(pause, Event::Start { host });
    }

    fn host_beats(&mut self, host: u32, life: u64) {
        let (now, workers, ahead) = (self.now, self.world.workers, self.world.ahead);
        let Some(site) = self.sites.get_mut(&host).filter(|site| site.life == life) else {
            return;
        };
        let frozen = site.frozen;
        if frozen > now {
            return self.after(frozen - now, Event::Beat { host, life });
        }
        let mut beat = site.beat(workers, ahead);
        let again: Vec<CopyNumber> = site
            .held
            .iter()
            .filter(|(_, held)| held.part.is_some() && now - held.sent >= RESEND)
            .map(|(&copy, _)| copy)
            .collect();
        if now - site.pulled >= PULL {
            site.pulls = 0;
        }
        match self.rogue(host) {
            Some(Rogue::Silent) => (beat.workers, beat.held) = (workers * 4, Vec::new()),
            Some(Rogue::Claims) => (beat.workers, beat.ahead, beat.held) = (CLAIMED, u32::MAX, Vec::new()),
            Some(Rogue::Alternates) => {
                let other = RunBeat { life: life + OTHER_LIFE, held: Vec::new(), ..beat.clone() };
                self.send(|| Event::Heard { host, beat: other.clone() });
            }
            Some(Rogue::Holds) | None => {}
        }
        self.send(|| Event::Heard { host, beat: beat.clone() });
        again.into_iter().for_each(|copy| self.host_sends(host, life, copy));
        self.host_pulls(host, life);
        self.after(BEAT, Event::Beat { host, life });
    }

    fn host_pulls(&mut self, host: u32, life: u64) {
        let (now, most) = (self.now, self.world.workers + self.world.ahead.max(1));
        if self.rogue(host) == Some(Rogue::Claims) {
            return;
        }
        while let Some(site) = self.site(host, life) {
            if site.held.len() as u32 + site.pulls >= most {
                return;
            }
            site.pulls += 1;
            site.pulled = now;
            self.send(|| Event::Pull { host, life });
        }
    }

    fn host_takes(&mut self, host: u32, life: u64, copy: CopyNumber, sequence: u64, name: ChunkName) {
        let (workers, ahead) = (self.world.workers, self.world.ahead);
        if let Some(Rogue::Silent | Rogue::Claims) = self.rogue(host) {
            return self.host_pulls(host, life);
        }
        let Some(site) = self.site(host, life) else {
            return;
        };
        if !site.held.values().any(|held| held.name == name) {
            site.held.insert(copy, HeldChunk { name, sequence, part: None, sent: Time::ZERO });
            // Named before it is run: it may end the host.
            let beat = site.beat(workers, ahead);
            self.send(|| Event::Heard { host, beat: beat.clone() });
        }
        self.host_works(host, life);
        self.host_pulls(host, life);
    }

    fn host_works(&mut self, host: u32, life: u64) {
        let workers = self.world.workers;
        if self.rogue(host) == Some(Rogue::Holds) {
            return;
        }
        while let Some((copy, name)) = self.site(host, life).and_then(|site| site.begin(workers)) {
            let items = name.items();
            if self.world.killers.iter().any(|item| items.contains(item)) {
                return self.kill(host);
            }
            let mut takes = Time::ZERO;
            for _ in items {
                takes += self.random.time(self.world.item + Duration::from_nanos(1));
            }
            takes *= if host == 0 { self.world.slow } else { 1 };
            self.after(takes, Event::Ran { host, life, copy });
        }
    }

    fn host_drops(&mut self, host: u32, life: u64, copy: CopyNumber) {
        if let Some(site) = self.site(host, life)
            && site.held.remove(&copy).is_some()
        {
            site.running.remove(&copy);
            self.figures.cancelled += 1;
            self.host_works(host, life);
            self.host_pulls(host, life);
        }
    }

    fn host_has_run(&mut self, host: u32, life: u64, copy: CopyNumber) {
        let now = self.now;
        let Some(site) = self.sites.get_mut(&host).filter(|site| site.life == life) else {
            return;
        };
        if site.frozen > now {
            let until = site.frozen - now;
            return self.after(until, Event::Ran { host, life, copy });
        }
        site.running.remove(&copy);
        if let Some(held) = site.held.get_mut(&copy) {
            held.part = Some(0);
        }
        self.host_sends(host, life, copy);
        self.host_works(host, life);
    }

    fn host_sends(&mut self, host: u32, life: u64, copy: CopyNumber) {
        let (now, size) = (self.now, self.world.part);
        // One that lies too often is not heard any more, so another has to be there.
        let may_lie = self.in_trouble() && host == 0 && self.world.hosts > 1;
        let lies = may_lie && self.random.per_mille(self.world.lie);
        let Some((name, sequence, part)) = self.site(host, life).and_then(|site| {
            let held = site.held.get_mut(&copy)?;
            held.sent = now;
            Some((held.name, held.sequence, held.part?))
        }) else {
            return;
        };
        let parts = name.count.div_ceil(size);
        let start = name.first + u64::from(part * size);
        let items: Vec<u64> = (start..(start + u64::from(size)).min(name.items().end)).collect();
        let receipt = Receipt { stream_sequence: sequence, ..Receipt::default() };
        let mut head = OutcomesHead { life, name, copy, receipt, part, last: part + 1 == parts };
        if lies {
            self.figures.lies += 1;
            // It may be told that nobody wants this, and drop a chunk that the coordinator believes it to hold.
            for item in name.items() {
                self.ends.entry(item).or_default().push(host);
            }
            match self.random.below(5) {
                0 => head.name.count += 1,
                1 => head.name.first += 1,
                2 => head.part += 2,
                3 => head.life += 1,
                _ => head.name.digest = Digest([9; 16]),
            }
        }
        self.send(|| Event::Outcomes { host, head, items: items.clone() });
    }

    fn host_is_answered(&mut self, host: u32, life: u64, copy: CopyNumber, part: u32, goes_on: bool) {
        let size = self.world.part;
        let Some(site) = self.site(host, life) else {
            return;
        };
        let Some(held) = site.held.get_mut(&copy).filter(|held| held.part == Some(part)) else {
            return;
        };
        if goes_on && part + 1 < held.name.count.div_ceil(size) {
            held.part = Some(part + 1);
            return self.host_sends(host, life, copy);
        }
        site.held.remove(&copy);
        self.host_works(host, life);
        self.host_pulls(host, life);
    }
}
