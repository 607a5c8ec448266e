//! Decides which chunks are sent to hosts again, and which outcomes count. A pure state machine, without I/O and without a
//! clock.
//!
//! To the scheduler, a *slot* is a worker that holds one chunk at a time. Here, a slot has the chunk's *copies*: each time
//! that the chunk is published, that is another copy. Hosts pull copies from the broker, and their beats name those that
//! they hold. It promises, whatever is lost, doubled, delayed or reordered:
//!
//! * the outcomes of a chunk are taken once, from one host, in order; all others are dropped;
//! * as long as some host serves, each slot ends: its outcomes are taken, or the scheduler is told of its loss;
//! * a chunk is published again only when each of its copies is lost: never because it waits its turn;
//! * no host is blamed, and no chunk, for what the broker lost.
//!
//! The broker is believed in nothing that matters. If it says wrongly how far it has delivered, chunks run twice or late.

mod host;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use host::ServingHost;

use crate::chunk::{ChunkName, CopyNumber};
use crate::names::{HostLife, HostName};
use crate::notes::{Refusal, RunBeat};
use crate::outcomes::{OutcomesHead, Receipt};

/// Time since the start of the run, as reported by the caller.
pub type Time = Duration;
/// Number of a slot: that of the worker that it is to the scheduler.
pub type SlotId = u32;

/// Time without a beat after which a host is lost.
pub const SILENCE: Duration = Duration::from_secs(5);
/// Time after which a copy is lost that was delivered, or held, and that no beat names.
const UNNAMED: Duration = Duration::from_secs(5);
/// Time after which a copy is published again that the broker has not confirmed. The broker knows it by its number.
const UNCONFIRMED: Duration = Duration::from_secs(5);
/// Time for which a host may keep the coordinator waiting for the next part of outcomes that it has begun to send.
const NEXT_PART: Duration = Duration::from_secs(15);
/// Time between questions to the broker how far it has delivered, while copies wait there.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Number of copies that may be lost with their hosts, and number of hosts among these, until the chunk is blamed.
const MOST_TRIES: u32 = 3;
const MOST_HOSTS: usize = 2;
/// Number of breaches of the protocol after which nothing of a host is heard any more.
const MOST_BREACHES: u32 = 3;
/// Maximum number of copies that a host may say it holds. None has room for as many.
const MOST_HELD: usize = 16 << 10;
/// Time for which all hosts may refuse a run until it ends: another may just be coming.
const ALL_REFUSE: Duration = Duration::from_secs(1);
/// Number of slots for each worker: one chunk in work, and one on its way.
const PER_WORKER: usize = 2;

/// An order to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Publish the chunk of this slot under this number.
    Publish { slot: SlotId, copy: CopyNumber },
    /// Tell the broker that this copy is done with.
    Acknowledge(Receipt),
    /// Delete a message of the stream of chunks, whether or not it was delivered.
    Discard { sequence: u64 },
    /// Ask the broker how far it has delivered, and report it as [`Slots::delivered`] or [`Slots::stream_lost`].
    Ask,
    /// Have the scheduler use this many slots.
    Slots(usize),
    /// Report the loss of this slot to the scheduler. If `blamed`, the chunk has ended all these hosts.
    Lose { slot: SlotId, blamed: bool, hosts: Vec<HostName> },
    /// Tell the user that nothing of this host is heard any more.
    Ignored(HostName),
    /// End the run: every host refuses it, this one for this reason.
    Refused(HostName, Refusal),
}

/// What becomes of outcomes that a host has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take this part, then call [`Slots::answered`], and tell the host.
    Take { slot: SlotId },
    /// Tell the host that the part was taken before, so that it sends the next.
    Taken,
    /// Tell the host that nobody wants these outcomes.
    Unwanted,
    /// Tell nothing for now; the host will send them again.
    Later,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum CopyState {
    /// The broker has not confirmed it yet.
    Sending { since: Time },
    /// The broker has it, and no host.
    Waiting,
    /// It was delivered to some host, which has not named it yet.
    Delivered { since: Time },
    /// This host named it in its beat, at last at this time.
    Held { host: HostLife, named: Time },
    /// Nobody will send outcomes of it, as far as is known.
    Lost,
}

#[derive(Debug)]
struct ChunkCopy {
    number: CopyNumber,
    /// Its number in the stream, once the broker has confirmed it.
    sequence: Option<u64>,
    state: CopyState,
}

/// Outcomes that are being taken.
#[derive(Debug)]
struct Taking {
    host: HostLife,
    copy: CopyNumber,
    receipt: Receipt,
    part: u32,
    last: bool,
    /// The time since which the coordinator waits for the next part; none while the host waits for the coordinator.
    waits_since: Option<Time>,
}

#[derive(Debug)]
struct Slot {
    chunk: ChunkName,
    copies: Vec<ChunkCopy>,
    /// Number of copies that were lost with their hosts, and these hosts.
    tries: u32,
    lost_with: BTreeSet<HostLife>,
    taking: Option<Taking>,
}

/// The state machine. See the module's documentation.
#[derive(Debug)]
pub struct Slots {
    /// Maximum number of slots, or none.
    most: Option<usize>,
    hosts: BTreeMap<HostName, ServingHost>,
    slots: BTreeMap<SlotId, Slot>,
    /// Slots by their chunk, and by the copies of it. An item that is tried again may be the first of two chunks.
    by_chunk: BTreeMap<ChunkName, SlotId>,
    by_copy: BTreeMap<CopyNumber, SlotId>,
    next_copy: CopyNumber,
    /// What makes numbers of copies that nobody can guess; without it they follow each other.
    secret: Option<[u8; 32]>,
    orders: VecDeque<Order>,
    /// Number of slots that was ordered last.
    ordered: usize,
    asked: Time,
    /// Number of the last message that was confirmed, and of that when the broker was asked last.
    confirmed: u64,
    asked_up_to: u64,
    /// True once some host has had workers for the run.
    served: bool,
    refused_since: Option<Time>,
    told_refusal: bool,
    /// Number of outcomes, by chunks, that came a second time and were dropped.
    dropped: u64,
}

impl Slots {
    /// Returns a machine without hosts. There will be at most `most` slots.
    pub fn new(most: Option<usize>) -> Slots {
        Slots {
            most,
            hosts: BTreeMap::new(),
            slots: BTreeMap::new(),
            by_chunk: BTreeMap::new(),
            by_copy: BTreeMap::new(),
            next_copy: 0,
            secret: None,
            orders: VecDeque::new(),
            ordered: 0,
            asked: Time::ZERO,
            confirmed: 0,
            asked_up_to: 0,
            served: false,
            refused_since: None,
            told_refusal: false,
            dropped: 0,
        }
    }

    /// Gives copies numbers that nobody can guess who does not know this secret. So a host can name, ask for and answer only
    /// those that it was given.
    #[must_use]
    pub fn with_secret(mut self, secret: [u8; 32]) -> Slots {
        self.secret = Some(secret);
        self
    }

    /// Returns the next order that follows from the events so far.
    pub fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Returns the number of hosts that have workers for the run, and of their workers.
    pub fn serving(&self) -> (usize, usize) {
        let workers = self.hosts.values().map(|host| host.workers).filter(|&workers| workers > 0);
        workers.fold((0, 0), |(hosts, all), workers| (hosts + 1, all + workers))
    }

    /// Returns the number of chunks whose outcomes came more than once.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the slot of a copy that may still be run.
    pub fn slot_of(&self, copy: CopyNumber) -> Option<SlotId> {
        self.by_copy.get(&copy).copied()
    }

    // ---- the scheduler -----------------------------------------------------------------------------------------------

    /// Gives a slot a chunk.
    pub fn open(&mut self, slot: SlotId, chunk: ChunkName, now: Time) {
        self.close(slot);
        self.by_chunk.insert(chunk, slot);
        let lost_with = BTreeSet::new();
        self.slots.insert(slot, Slot { chunk, copies: Vec::new(), tries: 0, lost_with, taking: None });
        self.publish(slot, now);
    }

    /// Forgets the chunk of a slot: its outcomes are no longer wanted.
    pub fn close(&mut self, slot: SlotId) {
        let Some(Slot { chunk, copies, .. }) = self.slots.remove(&slot) else {
            return;
        };
        self.by_chunk.remove(&chunk);
        for copy in copies {
            self.by_copy.remove(&copy.number);
            self.orders.extend(copy.sequence.map(|sequence| Order::Discard { sequence }));
        }
    }

    /// Reports that a part which was to be taken has been: the host is told now. The last part closes the slot.
    pub fn answered(&mut self, slot: SlotId, now: Time) {
        let Some(taking) = self.slots.get_mut(&slot).and_then(|slot| slot.taking.as_mut()) else {
            return;
        };
        taking.waits_since = Some(now);
        if !taking.last {
            return;
        }
        let (copy, receipt) = (taking.copy, taking.receipt);
        if let Some(slot) = self.slots.get_mut(&slot)
            && let Some(taken) = slot.copies.iter_mut().find(|known| known.number == copy)
            && taken.sequence == Some(receipt.stream_sequence)
        {
            taken.sequence = None;
            self.orders.push_back(Order::Acknowledge(receipt));
        }
        self.close(slot);
    }

    /// Reports that outcomes of this slot were none, after they had been taken. What was taken before stays; the rest of
    /// the chunk is lost.
    pub fn broken(&mut self, slot: SlotId, now: Time) {
        let taking = self.slots.get(&slot).and_then(|slot| slot.taking.as_ref());
        if let Some(host) = taking.map(|taking| taking.host.name.clone()) {
            self.breach(&host, now);
        }
        self.lose(slot, false);
    }

    // ---- the broker --------------------------------------------------------------------------------------------------

    /// Reports that the broker has stored a copy under this number of its stream.
    pub fn confirmed(&mut self, copy: CopyNumber, sequence: u64) {
        self.confirmed = self.confirmed.max(sequence);
        let Some(known) = self.copy_mut(copy) else {
            // The outcomes came before the confirmation, or the chunk is no longer wanted.
            self.orders.push_back(Order::Discard { sequence });
            return;
        };
        known.sequence = Some(sequence);
        if matches!(known.state, CopyState::Sending { .. }) {
            known.state = CopyState::Waiting;
        }
    }

    /// Reports that the broker has delivered all messages of the stream up to this one, and whether that is all it has. If it is,
    /// what it had confirmed before it was asked and has not delivered, it has lost.
    pub fn delivered(&mut self, sequence: u64, all: bool, now: Time) {
        let sequence = if all { sequence.max(self.asked_up_to) } else { sequence };
        for copy in self.slots.values_mut().flat_map(|slot| &mut slot.copies) {
            if copy.state == CopyState::Waiting && copy.sequence.is_some_and(|own| own <= sequence) {
                copy.state = CopyState::Delivered { since: now };
            }
        }
    }

    /// Reports that the broker has lost the stream, and that there is a new one. What hosts hold, they hold still.
    pub fn stream_lost(&mut self, now: Time) {
        // Its numbers begin again.
        (self.confirmed, self.asked_up_to) = (0, 0);
        for copy in self.slots.values_mut().flat_map(|slot| &mut slot.copies) {
            copy.sequence = None;
            if !matches!(copy.state, CopyState::Held { .. }) {
                copy.state = CopyState::Lost;
            }
        }
        self.look_after_all(now);
    }

    /// Has the copies published again that the broker has not confirmed: they may be lost with a connection.
    pub fn publish_unconfirmed(&mut self, now: Time) {
        for (&slot, Slot { copies, .. }) in &mut self.slots {
            for copy in copies {
                if let CopyState::Sending { since } = &mut copy.state {
                    *since = now;
                    self.orders.push_back(Order::Publish { slot, copy: copy.number });
                }
            }
        }
    }

    /// Reports that the broker is there again after it could not be reached: the silence was not that of hosts.
    pub fn broker_back(&mut self, now: Time) {
        self.hosts.values_mut().for_each(|host| host.heard = now);
        self.asked = Time::ZERO;
        for slot in self.slots.values_mut() {
            if let Some(since) = slot.taking.as_mut().and_then(|taking| taking.waits_since.as_mut()) {
                *since = now;
            }
            for copy in &mut slot.copies {
                match &mut copy.state {
                    CopyState::Sending { since } | CopyState::Delivered { since } => *since = now,
                    CopyState::Held { named, .. } => *named = now,
                    CopyState::Waiting | CopyState::Lost => {}
                }
            }
        }
    }

    // ---- hosts -------------------------------------------------------------------------------------------------------

    /// Reports a host's beat.
    pub fn beat(&mut self, name: &HostName, beat: &RunBeat, now: Time) {
        if beat.held.len() > MOST_HELD {
            return self.breach(name, now);
        }
        let life = HostLife { name: name.clone(), life: beat.life };
        let breaches = match self.hosts.get(name) {
            Some(host) if host.is_ignored() => return,
            Some(host) if host.life != beat.life => {
                let (before, breaches) = (host.life, host.breaches);
                self.hosts.remove(name);
                self.lost(&HostLife { name: name.clone(), life: before }, now);
                breaches
            }
            Some(host) => host.breaches,
            None => 0,
        };
        let gives_back = beat.leaving || beat.refused.is_some();
        let host = ServingHost::of_beat(beat, breaches, now);
        self.served |= host.workers > 0;
        self.hosts.insert(name.clone(), host);
        for &copy in &beat.held {
            self.named(copy, &life, now);
        }
        if gives_back {
            let named: BTreeSet<CopyNumber> = beat.held.iter().copied().collect();
            let returned = |copy: &ChunkCopy| {
                !named.contains(&copy.number) && matches!(&copy.state, CopyState::Held { host, .. } if *host == life)
            };
            for slot in self.slots.values_mut() {
                slot.copies.iter_mut().filter(|copy| returned(copy)).for_each(|copy| copy.state = CopyState::Lost);
            }
            self.look_after_all(now);
        }
        self.count();
    }

    /// Records that a host holds a copy. The first host that names one has it, for as long as that host lives.
    fn named(&mut self, copy: CopyNumber, by: &HostLife, now: Time) {
        let Some(known) = self.copy_mut(copy) else {
            return;
        };
        match &mut known.state {
            CopyState::Held { host, named } if host == by => *named = now,
            CopyState::Held { .. } => {}
            other => *other = CopyState::Held { host: by.clone(), named: now },
        }
    }

    /// Returns true if nothing of this host is heard any more.
    pub fn ignores(&self, name: &HostName) -> bool {
        self.hosts.get(name).is_some_and(ServingHost::is_ignored)
    }

    /// Reports outcomes that a host has sent.
    pub fn outcomes(&mut self, name: &HostName, head: &OutcomesHead, now: Time) -> Verdict {
        match self.hosts.get(name) {
            Some(host) if host.is_ignored() => return Verdict::Unwanted,
            Some(host) if host.life == head.life => {}
            // Its beat comes first, or it is another's.
            _ => return Verdict::Later,
        }
        let by = HostLife { name: name.clone(), life: head.life };
        // The outcomes of a copy are those of whoever was given it.
        let found = self.by_chunk.get(&head.name).copied().filter(|id| self.by_copy.get(&head.copy) == Some(id));
        let Some((id, slot)) = found.and_then(|id| Some((id, self.slots.get_mut(&id)?))) else {
            return self.unwanted(head);
        };
        match &mut slot.taking {
            None if head.part > 0 => self.unwanted(head),
            None => {
                let (copy, receipt, last) = (head.copy, head.receipt, head.last);
                slot.taking = Some(Taking { host: by, copy, receipt, part: 0, last, waits_since: None });
                Verdict::Take { slot: id }
            }
            Some(taking) if taking.host != by || taking.copy != head.copy => Verdict::Later,
            Some(taking) if head.part == taking.part => match taking.waits_since {
                Some(_) => Verdict::Taken,
                None => Verdict::Later,
            },
            Some(taking) if head.part == taking.part + 1 && taking.waits_since.is_some() => {
                taking.part = head.part;
                taking.last = head.last;
                taking.waits_since = None;
                Verdict::Take { slot: id }
            }
            Some(taking) if head.part < taking.part => Verdict::Taken,
            Some(_) => {
                self.breach(name, now);
                Verdict::Unwanted
            }
        }
    }

    fn unwanted(&mut self, head: &OutcomesHead) -> Verdict {
        self.dropped += u64::from(head.part == 0);
        Verdict::Unwanted
    }

    /// Reports that a host has sent what no host sends. After three times, it is not heard any more.
    pub fn breach(&mut self, name: &HostName, now: Time) {
        let host = self.hosts.entry(name.clone()).or_insert_with(|| ServingHost::unknown(now));
        host.breaches = host.breaches.saturating_add(1);
        if host.breaches == MOST_BREACHES {
            host.workers = 0;
            let life = HostLife { name: name.clone(), life: host.life };
            self.orders.push_back(Order::Ignored(name.clone()));
            self.give_back(&life, now);
            self.count();
        }
    }

    // ---- time --------------------------------------------------------------------------------------------------------

    /// Reports that time has passed while the broker could be reached.
    pub fn tick(&mut self, now: Time) {
        let silent: Vec<HostLife> = self
            .hosts
            .iter()
            .filter(|(_, host)| !host.is_ignored() && now.saturating_sub(host.heard) >= SILENCE)
            .map(|(name, host)| HostLife { name: name.clone(), life: host.life })
            .collect();
        for life in silent {
            self.hosts.remove(&life.name);
            self.lost(&life, now);
        }
        let mut waits = false;
        for (&slot, Slot { copies, .. }) in &mut self.slots {
            for copy in copies {
                let passed = |since: Time, most| now.saturating_sub(since) >= most;
                match &mut copy.state {
                    CopyState::Sending { since } if passed(*since, UNCONFIRMED) => {
                        *since = now;
                        // Perhaps the stream is gone.
                        waits = true;
                        self.orders.push_back(Order::Publish { slot, copy: copy.number });
                    }
                    CopyState::Delivered { since: at } | CopyState::Held { named: at, .. } if passed(*at, UNNAMED) => {
                        copy.state = CopyState::Lost;
                    }
                    state => waits |= *state == CopyState::Waiting,
                }
            }
        }
        self.look_after_all(now);
        if waits && now.saturating_sub(self.asked) >= ASK_EVERY {
            self.asked = now;
            self.asked_up_to = self.confirmed;
            self.orders.push_back(Order::Ask);
        }
        self.count();
        self.look_for_refusal(now);
    }

    /// Ends the run if every host refuses it, and none ever served it.
    fn look_for_refusal(&mut self, now: Time) {
        let mut heard = self.hosts.values().filter(|host| !host.is_ignored()).peekable();
        let all = !self.served && heard.peek().is_some() && heard.all(|host| host.refused.is_some());
        if !all {
            self.refused_since = None;
            return;
        }
        let since = *self.refused_since.get_or_insert(now);
        if now.saturating_sub(since) < ALL_REFUSE || self.told_refusal {
            return;
        }
        let refusal = |(name, host): (&HostName, &ServingHost)| Some((name.clone(), host.refused.clone()?));
        // What is said of the task concerns the user more than what is said of a host.
        let first = self.hosts.iter().filter_map(refusal).min_by_key(|(_, refusal)| refusal.cause as u8);
        if let Some((name, refusal)) = first {
            self.told_refusal = true;
            self.orders.push_back(Order::Refused(name, refusal));
        }
    }

    // ---- the work ----------------------------------------------------------------------------------------------------

    fn copy_mut(&mut self, copy: CopyNumber) -> Option<&mut ChunkCopy> {
        let slot = self.by_copy.get(&copy)?;
        self.slots.get_mut(slot)?.copies.iter_mut().find(|known| known.number == copy)
    }

    /// Orders as many slots as the hosts have workers for.
    fn count(&mut self) {
        let (_, workers) = self.serving();
        let slots = workers.saturating_mul(PER_WORKER).min(self.most.unwrap_or(usize::MAX));
        if std::mem::replace(&mut self.ordered, slots) != slots {
            self.orders.push_back(Order::Slots(slots));
        }
    }

    /// Returns a number that no copy has.
    fn new_number(&mut self) -> CopyNumber {
        loop {
            let count = self.next_copy.to_le_bytes();
            self.next_copy += 1;
            let number = match &self.secret {
                None => u64::from_le_bytes(count),
                Some(secret) => {
                    let [start @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
                        *blake3::keyed_hash(secret, &count).as_bytes();
                    u64::from_le_bytes(start)
                }
            };
            if !self.by_copy.contains_key(&number) {
                return number;
            }
        }
    }

    fn publish(&mut self, id: SlotId, now: Time) {
        let number = self.new_number();
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.copies.push(ChunkCopy { number, sequence: None, state: CopyState::Sending { since: now } });
            self.by_copy.insert(number, id);
            self.orders.push_back(Order::Publish { slot: id, copy: number });
        }
    }

    /// Handles the end of a host, for which no chunk that it held may be to blame.
    fn lost(&mut self, life: &HostLife, now: Time) {
        for slot in self.slots.values_mut() {
            for copy in &mut slot.copies {
                if matches!(&copy.state, CopyState::Held { host, .. } if host == life) {
                    copy.state = CopyState::Lost;
                    slot.tries += 1;
                    slot.lost_with.insert(life.clone());
                }
            }
        }
        self.give_back(life, now);
    }

    /// Takes back what a host held or had begun to deliver.
    fn give_back(&mut self, life: &HostLife, now: Time) {
        let mut begun = Vec::new();
        for (&id, slot) in &mut self.slots {
            // What the scheduler is taking now is complete in itself; only a part that is to come will not.
            if slot
                .taking
                .as_ref()
                .is_some_and(|taking| taking.host == *life && !(taking.last && taking.waits_since.is_none()))
            {
                begun.push(id);
            }
            for copy in &mut slot.copies {
                if matches!(&copy.state, CopyState::Held { host, .. } if host == life) {
                    copy.state = CopyState::Lost;
                }
            }
        }
        begun.into_iter().for_each(|slot| self.lose(slot, false));
        self.look_after_all(now);
    }

    /// Publishes the chunks again of which no copy is left, and ends those that have ended hosts.
    fn look_after_all(&mut self, now: Time) {
        let is_lost = |copy: &ChunkCopy| copy.state == CopyState::Lost;
        let late = |taking: &Taking| taking.waits_since.is_some_and(|since| now.saturating_sub(since) >= NEXT_PART);
        let (mut again, mut stuck) = (Vec::new(), Vec::new());
        for (&id, slot) in &self.slots {
            match &slot.taking {
                Some(taking) if late(taking) => stuck.push(id),
                Some(_) => {}
                None if slot.copies.iter().all(is_lost) => again.push(id),
                None => {}
            }
        }
        for id in stuck {
            self.broken(id, now);
        }
        for id in again {
            let blamed = |slot: &Slot| slot.tries >= MOST_TRIES && slot.lost_with.len() >= MOST_HOSTS;
            match self.slots.get(&id).is_some_and(blamed) {
                true => self.lose(id, true),
                false => self.publish(id, now),
            }
        }
    }

    fn lose(&mut self, id: SlotId, blamed: bool) {
        if let Some(slot) = self.slots.get(&id) {
            let hosts = slot.lost_with.iter().map(|life| life.name.clone()).collect();
            self.close(id);
            self.orders.push_back(Order::Lose { slot: id, blamed, hosts });
        }
    }
}
