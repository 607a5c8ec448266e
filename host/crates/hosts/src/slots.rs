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
//! * at most one chunk in twenty runs on a second host because it is late, each on one, and only while that host has
//!   nothing else to do; but for those of a host that answers nothing, for far longer than others take;
//! * of a chunk that is checked, nothing is taken until another host has delivered all of its outcomes;
//! * a chunk that a host does not answer within the time that its items may take, and several times that, runs elsewhere,
//!   and goes to a host that lost it before only where there is no other;
//! * no host is blamed, and no chunk, for what the broker lost;
//! * the user can be told of each host that is lost while it serves the run, and how many chunks run again for it.
//!
//! The broker is believed in nothing that matters. If it says wrongly how far it has delivered, chunks run twice or late.

mod host;
mod late;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use host::ServingHost;
use late::ChunkTimes;

use crate::chunk::{ChunkName, CopyNumber};
use crate::names::{HostLife, HostName};
use crate::notes::{Refusal, RefusalCause, RunBeat};
use crate::outcomes::{OutcomesHead, Receipt};
use wasmpool_core::hosts::{HostChange, HostLoss};

/// Time since the start of the run, as reported by the caller.
pub type Time = Duration;
/// Number of a slot: that of the worker that it is to the scheduler.
pub type SlotId = u32;

/// Time without a beat after which a host is lost.
pub const SILENCE: Duration = Duration::from_secs(5);
/// Time after which a copy is lost that was delivered, or held, and that no beat names.
const UNNAMED: Duration = Duration::from_secs(5);
/// Time after which a copy that the broker has not confirmed is given to a host, or published again where there is none. The
/// broker knows it by its number.
const UNCONFIRMED: Duration = Duration::from_secs(5);
/// Time for which a host may keep the coordinator waiting for the next part of outcomes that it has begun to send.
const NEXT_PART: Duration = Duration::from_secs(15);
/// Time between questions to the broker how far it has delivered, while copies wait there.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Number of copies that may be lost with their hosts, and number of hosts among these, until the chunk is blamed. If one host
/// alone has had it, more of them may be lost: that host may have other reasons to end.
const MOST_TRIES: u32 = 3;
const MOST_HOSTS: usize = 2;
const MOST_TRIES_OF_ONE: u32 = 6;
/// Time for which a chunk that may be what ends hosts waits for one that has no other of this kind.
const ALONE: Duration = Duration::from_secs(60);
/// A host may have a chunk for this many times the time that its items may take, and for this long besides. An item may take ten
/// times its timeout where processors are scarce, and a chunk may wait for others.
const MOST_TIMES: u32 = 20;
const SLACK: Duration = Duration::from_secs(60);
/// Time for which a host may keep the coordinator waiting in all while it sends outcomes, which it does once it has all of a
/// chunk; and how much longer for each large part.
const ALL_PARTS: Duration = Duration::from_secs(60);
const LARGE_PART: Duration = Duration::from_secs(2);
/// How much more the stream is mistrusted for each chunk that was pulled from it in vain, and less for each that was not; and
/// from how much on chunks are given to hosts past it.
const PULLED_IN_VAIN_COUNTS: u32 = 4;
const MOST_MISTRUST: u32 = 32;
/// Number of copies of a chunk that may be lost until the next is given to a host that serves, past the stream: a host that is
/// not heard any more, or does not answer, may pull whatever is in it.
const PULLED_IN_VAIN: usize = 2;
/// Number of breaches of the protocol after which nothing of a host is heard any more.
const MOST_BREACHES: u32 = 3;
/// Maximum number of copies that a host may say it holds. None has room for as many.
pub const MOST_HELD: usize = 16 << 10;
/// Time for which all hosts may refuse a run until it ends: another may just be coming. If it is for their versions, one of
/// the right version may be on its way.
const ALL_REFUSE: Duration = Duration::from_secs(1);
const NONE_FITS: Duration = Duration::from_secs(30);
/// Time after which the broker drops a chunk that nobody has pulled, so that one of a run that never comes back does not
/// stay for ever; and after which it is published again, sooner than that.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);
const STALE: Duration = Duration::from_secs(12 * 3600);
/// Number of slots for each worker at least: one chunk in work, and one on its way.
const PER_WORKER: usize = 2;

/// What a run wants of its slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotsConfig {
    /// Maximum number of slots, or none.
    pub most: Option<usize>,
    /// True if a chunk that is late may run on a second host.
    pub speculate: bool,
    /// Percentage of chunks that run on two hosts, whose outcomes are compared.
    pub check: u8,
    /// The longest that an item may take, or none.
    pub item: Option<Duration>,
}

/// An order to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Tell the user that the broker does not confirm what it is sent.
    Unconfirmed,
    /// Publish the chunk of this slot under this number.
    Publish { slot: SlotId, copy: CopyNumber },
    /// Give the chunk of this slot to this host under this number, past the stream.
    Give { slot: SlotId, copy: CopyNumber, host: HostLife },
    /// Tell this host that nobody wants outcomes of this copy any more.
    Drop { copy: CopyNumber, host: HostLife },
    /// Tell the broker that this copy is done with.
    Acknowledge(Receipt),
    /// Delete a message of the stream of chunks, whether or not it was delivered.
    Discard { sequence: u64 },
    /// Ask the broker how far it has delivered, and report it as [`Slots::delivered`] or [`Slots::stream_lost`].
    Ask,
    /// Have the scheduler use this many slots, and this many beside them for chunks that take little time.
    Slots { count: usize, ahead: usize },
    /// Report the loss of this slot to the scheduler. If `blamed`, the chunk has ended all these hosts.
    Lose { slot: SlotId, blamed: bool, hosts: Vec<HostName> },
    /// Tell the user what has become of this host.
    Host { host: HostName, change: HostChange },
    /// Tell the user that this host has not answered this chunk in time, which runs elsewhere.
    Overdue { host: HostName, chunk: ChunkName },
    /// Tell the user that two processes speak under the name of this host.
    Shared(HostName),
    /// End the run: every host refuses it, for these reasons. The first is that which concerns the user most.
    Refused(Vec<(HostName, Refusal)>),
}

/// What becomes of outcomes that a host has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take this part, then call [`Slots::answered`], and tell the host. If `noted`, it is only kept in mind, to be compared
    /// with what another host delivers.
    Take { slot: SlotId, noted: bool },
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
    Waiting { since: Time },
    /// It was delivered to some host, which has not named it yet: to this one, if it was given past the stream.
    Delivered { since: Time, to: Option<HostLife> },
    /// This host named it in its beat, at first and at last at these times.
    Held { host: HostLife, since: Time, named: Time },
    /// Nobody will send outcomes of it, as far as is known.
    Lost,
}

#[derive(Debug)]
struct ChunkCopy {
    number: CopyNumber,
    /// Its number in the stream, once the broker has confirmed it.
    sequence: Option<u64>,
    state: CopyState,
    /// True if its host has had it for too long: it counts as lost, though the host still names it.
    overdue: bool,
}

impl ChunkCopy {
    /// Returns the host that has it, as far as is known.
    fn host(&self) -> Option<&HostLife> {
        match &self.state {
            CopyState::Held { host, .. } => Some(host),
            CopyState::Delivered { to, .. } => to.as_ref(),
            _ => None,
        }
    }

    fn is_lost(&self) -> bool {
        self.state == CopyState::Lost
    }
}

/// Outcomes that are being taken.
#[derive(Debug)]
struct Taking {
    host: HostLife,
    copy: CopyNumber,
    receipt: Receipt,
    part: u32,
    last: bool,
    /// True if they are only kept in mind, to be compared with what another host delivers.
    noted: bool,
    /// The time since which the coordinator waits for the next part; none while the host waits for the coordinator.
    waits_since: Option<Time>,
    /// How long it has waited for parts so far, and how much longer it waits since they are large.
    waited: Duration,
    granted: Duration,
}

/// Which hosts may be given a chunk.
#[derive(Clone, Copy, Debug)]
enum Receivers<'a> {
    All,
    /// Those with a free worker.
    Free,
    /// All but these.
    Except(&'a BTreeSet<HostName>),
}

#[derive(Debug)]
struct Slot {
    chunk: ChunkName,
    copies: Vec<ChunkCopy>,
    /// True if it is a part of a chunk that was blamed.
    of_blamed: bool,
    /// Since when it waits for a host that has no other chunk which may be what ends hosts.
    waits_alone: Option<Time>,
    /// Number of hosts that were lost with it, by their names, and the last of them.
    tries: u32,
    lost_with: BTreeSet<HostName>,
    last_lost_with: Option<HostLife>,
    /// How often each host has lost it, for whatever reason.
    lost_by: BTreeMap<HostName, u32>,
    taking: Option<Taking>,
    /// True if it was given to a second host because it was late.
    doubled: bool,
    /// True if two hosts are to run it; and the host whose outcomes are kept in mind.
    checked: bool,
    noted: Option<HostName>,
}

impl Slot {
    /// Returns true if this host has the chunk, or has had it.
    fn concerns(&self, name: &HostName) -> bool {
        self.noted.as_ref() == Some(name)
            || self.copies.iter().filter_map(ChunkCopy::host).any(|host| host.name == *name)
    }

    /// Records that a host has lost a copy.
    fn count_loss(&mut self, name: &HostName) {
        *self.lost_by.entry(name.clone()).or_default() += 1;
    }

    /// Returns true if it may be what ends hosts: it is blamed for the next that is lost with it, or is a part of what was blamed. If
    /// there is `one_host`, which has lost it before, it takes more losses.
    fn is_suspect(&self, one_host: bool) -> bool {
        let most = if one_host && self.lost_with.len() < MOST_HOSTS { MOST_TRIES_OF_ONE } else { MOST_TRIES };
        self.of_blamed || self.tries + 1 >= most
    }

    /// Returns true if it has ended hosts.
    fn ends_hosts(&self) -> bool {
        self.tries >= MOST_TRIES_OF_ONE || self.tries >= MOST_TRIES && self.lost_with.len() >= MOST_HOSTS
    }

    /// Returns true if one more host has to have the chunk, since two are to run it.
    fn wants_second(&self) -> bool {
        let mut living = self.copies.iter().filter(|copy| !copy.is_lost());
        match (&self.noted, living.next(), living.next()) {
            (Some(_), first, _) => first.is_none(),
            // Which host has the first is known once that host names it. What may end hosts is on one of them at a time.
            (None, Some(copy), None) => matches!(copy.state, CopyState::Held { .. }) && !self.is_suspect(false),
            (None, ..) => false,
        }
    }
}

/// Returns how long a host may have a chunk of so many items, of which one may take so long.
fn most(items: u32, item: Option<Duration>) -> Option<Duration> {
    Some(item?.saturating_mul(items).saturating_mul(MOST_TIMES).saturating_add(SLACK))
}

/// The state machine. See the module's documentation.
#[derive(Debug)]
pub struct Slots {
    config: SlotsConfig,
    hosts: BTreeMap<HostName, ServingHost>,
    slots: BTreeMap<SlotId, Slot>,
    /// Slots by their chunk, and by the copies of it. An item that is tried again may be the first of two chunks.
    by_chunk: BTreeMap<ChunkName, SlotId>,
    by_copy: BTreeMap<CopyNumber, SlotId>,
    next_copy: CopyNumber,
    /// What makes numbers of copies that nobody can guess; without it they follow each other.
    secret: Option<[u8; 32]>,
    orders: VecDeque<Order>,
    /// Number of slots that was ordered last, and of those beside them.
    ordered: (usize, usize),
    asked: Time,
    /// Number of the last message that was confirmed, and of that when the broker was asked last.
    confirmed: u64,
    asked_up_to: u64,
    /// The first host that has had workers for the run, and true once a second has had some.
    served_by: Option<HostName>,
    several: bool,
    refused_since: Option<Time>,
    told_refusal: bool,
    /// Number of outcomes, by chunks, that came a second time and were dropped.
    dropped: u64,
    /// Number of chunks, and of those that were given to a second host because they were late.
    opened: u64,
    doubled: u64,
    /// Number of chunks that were given to a second host because the first answered nothing for very long.
    rescued: u64,
    times: ChunkTimes,
    /// Items of chunks that were blamed, of which some may be innocent: the first of each range, and its end.
    blamed: BTreeMap<u64, u64>,
    /// Hosts that are not heard any more, of which the user was told.
    silent: BTreeSet<HostName>,
    /// How much the stream is mistrusted: whoever pulls from it may be a host that does not answer.
    mistrust: u32,
}

impl Slots {
    /// Returns a machine without hosts.
    pub fn new(config: SlotsConfig) -> Slots {
        Slots {
            config,
            hosts: BTreeMap::new(),
            slots: BTreeMap::new(),
            by_chunk: BTreeMap::new(),
            by_copy: BTreeMap::new(),
            next_copy: 0,
            secret: None,
            orders: VecDeque::new(),
            ordered: (0, 0),
            asked: Time::ZERO,
            confirmed: 0,
            asked_up_to: 0,
            served_by: None,
            several: false,
            refused_since: None,
            told_refusal: false,
            dropped: 0,
            opened: 0,
            doubled: 0,
            rescued: 0,
            times: ChunkTimes::default(),
            blamed: BTreeMap::new(),
            silent: BTreeSet::new(),
            mistrust: 0,
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

    /// Returns the hosts that refuse the run, and why. What is said of the task stands before what is said of a host, since it
    /// concerns the user more.
    pub fn refusals(&self) -> Vec<(HostName, Refusal)> {
        let refusal = |(name, host): (&HostName, &ServingHost)| Some((name.clone(), host.refused.clone()?));
        let mut all: Vec<(HostName, Refusal)> = self.hosts.iter().filter_map(refusal).collect();
        all.sort_by_key(|(_, refusal)| refusal.cause as u8);
        all
    }

    /// Returns the number of chunks whose outcomes came more than once.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the number of chunks that were given to a second host because they were late.
    pub fn doubled(&self) -> u64 {
        self.doubled
    }

    /// Returns the number of chunks that were given to a second host because the first answered nothing for very long.
    pub fn rescued(&self) -> u64 {
        self.rescued
    }

    /// Returns true if a chunk that two hosts are to run waits for a second one, and there is none.
    pub fn lacks_second_host(&self) -> bool {
        self.serving().0 == 1 && self.slots.values().any(|slot| slot.checked && slot.wants_second())
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
        self.opened += 1;
        let opened = Slot {
            chunk,
            copies: Vec::new(),
            of_blamed: self.blamed.range(..chunk.items().end).next_back().is_some_and(|(_, &end)| end > chunk.first),
            waits_alone: None,
            tries: 0,
            lost_with: BTreeSet::new(),
            last_lost_with: None,
            lost_by: BTreeMap::new(),
            taking: None,
            doubled: false,
            checked: chunk.is_among(self.config.check),
            noted: None,
        };
        let of_blamed = opened.of_blamed;
        self.slots.insert(slot, opened);
        if of_blamed {
            self.give_alone(slot, &mut self.suspected(), now);
        } else if !self.mistrusts_stream() || self.give(slot, Receivers::All, now).is_none() {
            self.publish(slot, now);
        }
    }

    /// Forgets the chunk of a slot: its outcomes are no longer wanted.
    pub fn close(&mut self, slot: SlotId) {
        let Some(Slot { chunk, copies, taking, .. }) = self.slots.remove(&slot) else {
            return;
        };
        self.by_chunk.remove(&chunk);
        // Whoever is answered that all was taken knows it.
        let knows = taking.filter(|taking| taking.last && taking.waits_since.is_some()).map(|taking| taking.host);
        for copy in copies {
            self.by_copy.remove(&copy.number);
            self.orders.extend(copy.sequence.map(|sequence| Order::Discard { sequence }));
            if let Some(host) = copy.host().filter(|host| knows.as_ref() != Some(host)) {
                self.orders.push_back(Order::Drop { copy: copy.number, host: host.clone() });
            }
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
        let (copy, receipt, noted, by) = (taking.copy, taking.receipt, taking.noted, taking.host.name.clone());
        if let Some(slot) = self.slots.get_mut(&slot)
            && let Some(taken) = slot.copies.iter_mut().find(|known| known.number == copy)
        {
            if let CopyState::Held { since, .. } = taken.state {
                self.times.add(&by, now.saturating_sub(since));
            }
            if let Some(host) = self.hosts.get_mut(&by) {
                host.lost = 0;
                host.last_answer = Some(now);
                host.answered = host.answered.saturating_add(1);
            }
            self.mistrust = self.mistrust.saturating_sub(u32::from(taken.sequence.is_some()));
            if taken.sequence == Some(receipt.stream_sequence) {
                taken.sequence = None;
                self.orders.push_back(Order::Acknowledge(receipt));
            }
        }
        match noted {
            true => self.noted(slot, by, now),
            false => {
                let one_host = self.is_of_one_host();
                let suspect = self.slots.get(&slot).filter(|slot| slot.is_suspect(one_host)).map(|slot| slot.chunk);
                self.close(slot);
                if let Some(chunk) = suspect {
                    self.acquit(chunk);
                    self.look_after_all(now);
                }
            }
        }
    }

    /// Handles that all outcomes of a chunk are kept in mind: another host has to deliver them, too.
    fn noted(&mut self, id: SlotId, by: HostName, now: Time) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.taking = None;
        for copy in &mut slot.copies {
            // What waits in the stream might go to the same host once more.
            if copy.host().is_none_or(|host| host.name == by) {
                self.orders.extend(copy.sequence.take().map(|sequence| Order::Discard { sequence }));
                copy.state = CopyState::Lost;
            }
        }
        slot.noted = Some(by);
        self.give_second(id, now);
    }

    /// Reports that the outcomes of the second host can neither be taken nor are they a lie: of some item, one of the two hosts
    /// tells only that its worker was lost or late. They are kept in mind instead of those of the first if this one `replaces`
    /// it. Another host is asked, and one that has run the chunk only if there is no other.
    pub fn disputed(&mut self, id: SlotId, replaces: bool, now: Time) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let Some(Taking { host, copy, part, .. }) = slot.taking.take() else {
            return;
        };
        if part > 0 || !slot.copies.iter().any(|known| known.number == copy) {
            // What was taken before stays.
            return self.lose(id, false);
        }
        let tells_nothing = if replaces { slot.noted.replace(host.name.clone()) } else { Some(host.name.clone()) };
        if let Some(name) = tells_nothing {
            slot.count_loss(&name);
        }
        for known in &mut slot.copies {
            if known.number == copy || known.host().is_none_or(|by| by.name == host.name) {
                self.orders.extend(known.sequence.take().map(|sequence| Order::Discard { sequence }));
                known.state = CopyState::Lost;
            }
        }
        self.give_second(id, now);
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
    pub fn confirmed(&mut self, copy: CopyNumber, sequence: u64, now: Time) {
        self.confirmed = self.confirmed.max(sequence);
        let Some(known) = self.copy_mut(copy) else {
            // The outcomes came before the confirmation, or the chunk is no longer wanted.
            self.orders.push_back(Order::Discard { sequence });
            return;
        };
        known.sequence = Some(sequence);
        if matches!(known.state, CopyState::Sending { .. }) {
            known.state = CopyState::Waiting { since: now };
        }
    }

    /// Reports that the broker does not store a copy. From now on, chunks are given to hosts past the stream.
    pub fn not_stored(&mut self, copy: CopyNumber, now: Time) {
        self.mistrust = MOST_MISTRUST;
        self.give_instead(copy, now);
    }

    /// Gives the chunk of a copy that the broker has not confirmed to a host, past the stream. Returns false if there is none.
    fn give_instead(&mut self, copy: CopyNumber, now: Time) -> bool {
        let is_sent = |known: &mut ChunkCopy| matches!(known.state, CopyState::Sending { .. });
        let Some(&id) = self.by_copy.get(&copy) else { return false };
        if !self.copy_mut(copy).is_some_and(is_sent) || self.give(id, Receivers::All, now).is_none() {
            return false;
        }
        if let Some(known) = self.copy_mut(copy) {
            known.state = CopyState::Lost;
        }
        true
    }

    /// Reports that the broker has delivered all messages of the stream up to this one, and whether that is all it has. If it is,
    /// what it had confirmed before it was asked and has not delivered, it has lost.
    pub fn delivered(&mut self, sequence: u64, all: bool, now: Time) {
        let sequence = if all { sequence.max(self.asked_up_to) } else { sequence };
        for copy in self.slots.values_mut().flat_map(|slot| &mut slot.copies) {
            let waits = matches!(copy.state, CopyState::Waiting { .. });
            if waits && copy.sequence.is_some_and(|own| own <= sequence) {
                copy.state = CopyState::Delivered { since: now, to: None };
            }
        }
    }

    /// Reports that the broker has lost the stream, and that there is a new one. What hosts hold, they hold still.
    pub fn stream_lost(&mut self, now: Time) {
        // Its numbers begin again.
        (self.confirmed, self.asked_up_to) = (0, 0);
        for copy in self.slots.values_mut().flat_map(|slot| &mut slot.copies) {
            copy.sequence = None;
            if copy.host().is_none() {
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
                    CopyState::Sending { since } | CopyState::Delivered { since, .. } => *since = now,
                    CopyState::Held { since, named, .. } => (*since, *named) = (now, now),
                    CopyState::Waiting { .. } | CopyState::Lost => {}
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
        let mut host = ServingHost::of_beat(beat, now);
        match self.hosts.get_mut(name) {
            Some(known) if known.is_ignored() => return,
            // One of two processes with the same name. While the other lives, nothing of this one counts.
            Some(known) if known.rival == Some(beat.life) && known.life != beat.life => return,
            Some(known) if known.life == beat.life => host.goes_on(known),
            Some(known) if known.before == Some(beat.life) => {
                // It did not end when another began under its name. The one that began first is heard from now on.
                let (first, rival) = (known.life.min(beat.life), known.life.max(beat.life));
                if !known.told_rival {
                    self.orders.push_back(Order::Shared(name.clone()));
                }
                (known.rival, known.told_rival) = (Some(rival), true);
                if first == known.life {
                    return;
                }
                let other = HostLife { name: name.clone(), life: known.life };
                host.begins_after(known);
                (host.told_serving, host.told_leaving) = (known.told_serving, known.told_leaving);
                // Neither has ended, so that no chunk is to blame.
                self.take_back_loss(&life);
                self.give_back(&other, now);
            }
            Some(known) => {
                let (life, was_missed) = (known.life, known.is_missed());
                host.begins_after(known);
                self.hosts.remove(name);
                self.lost(&HostLife { name: name.clone(), life }, was_missed, HostLoss::Restarted, now);
            }
            None => {}
        }
        self.tell_of_service(name, &mut host, beat.leaving);
        let gives_back = beat.leaving || beat.refused.is_some();
        if host.workers > 0 {
            self.several |= self.served_by.get_or_insert_with(|| name.clone()) != name;
        }
        self.hosts.insert(name.clone(), host);
        let mut known = 0;
        for &copy in &beat.held {
            known += usize::from(self.copy_named(copy, &life, now));
        }
        if let Some(host) = self.hosts.get_mut(name) {
            host.holds = known;
        }
        if gives_back {
            let named: BTreeSet<CopyNumber> = beat.held.iter().copied().collect();
            let returned = |copy: &ChunkCopy| !named.contains(&copy.number) && copy.host() == Some(&life);
            for slot in self.slots.values_mut() {
                slot.copies.iter_mut().filter(|copy| returned(copy)).for_each(|copy| copy.state = CopyState::Lost);
            }
            self.look_after_all(now);
        }
        self.count();
    }

    /// Has the user told that a host begins to serve the run, or leaves it.
    fn tell_of_service(&mut self, name: &HostName, host: &mut ServingHost, leaves: bool) {
        if host.workers > 0 && !std::mem::replace(&mut host.told_serving, true) {
            let change = match self.silent.remove(name) {
                true => HostChange::Returns,
                false => HostChange::Serves { workers: host.workers },
            };
            self.tell_of(name, change);
        }
        if leaves && host.told_serving && !std::mem::replace(&mut host.told_leaving, true) {
            self.tell_of(name, HostChange::Leaves);
        }
    }

    fn tell_of(&mut self, host: &HostName, change: HostChange) {
        self.orders.push_back(Order::Host { host: host.clone(), change });
    }

    /// Returns the number of chunks that this host has and no other.
    fn only_with(&self, life: &HostLife) -> usize {
        let has_it_alone = |slot: &&Slot| {
            let mut living = slot.copies.iter().filter(|copy| !copy.is_lost()).peekable();
            living.peek().is_some() && living.all(|copy| copy.host() == Some(life))
        };
        self.slots.values().filter(has_it_alone).count()
    }

    /// Records that a host holds a copy, and returns true if it does. The first host that names one has it, for as long as that
    /// host lives, and for no longer than the items may take.
    fn copy_named(&mut self, copy: CopyNumber, by: &HostLife, now: Time) -> bool {
        let Some((id, slot)) = self.by_copy.get(&copy).copied().and_then(|id| Some((id, self.slots.get_mut(&id)?)))
        else {
            return false;
        };
        if slot.noted.as_ref() == Some(&by.name) {
            // It has run this chunk before.
            self.orders.push_back(Order::Drop { copy, host: by.clone() });
            return false;
        }
        let Some(known) = slot.copies.iter_mut().find(|known| known.number == copy) else {
            return false;
        };
        if known.overdue {
            return true;
        }
        match &mut known.state {
            CopyState::Held { host, named, .. } if host == by => *named = now,
            CopyState::Held { .. } => {}
            other => *other = CopyState::Held { host: by.clone(), since: now, named: now },
        }
        self.give_second(id, now);
        true
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
        if slot.noted.as_ref() == Some(name) {
            return self.unwanted(head);
        }
        match &mut slot.taking {
            None if head.part > 0 => self.unwanted(head),
            None => {
                let (copy, receipt, last) = (head.copy, head.receipt, head.last);
                let noted = slot.checked && slot.noted.is_none();
                slot.taking = Some(Taking {
                    host: by,
                    copy,
                    receipt,
                    part: 0,
                    last,
                    noted,
                    waits_since: None,
                    waited: Duration::ZERO,
                    granted: Duration::ZERO,
                });
                Verdict::Take { slot: id, noted }
            }
            Some(taking) if taking.host != by || taking.copy != head.copy => Verdict::Later,
            Some(taking) if head.part == taking.part => match taking.waits_since {
                Some(_) => Verdict::Taken,
                None => Verdict::Later,
            },
            Some(taking) if head.part == taking.part + 1 && taking.waits_since.is_some() => {
                taking.waited += now.saturating_sub(taking.waits_since.unwrap_or(now));
                taking.part = head.part;
                taking.last = head.last;
                taking.waits_since = None;
                Verdict::Take { slot: id, noted: taking.noted }
            }
            Some(taking) if head.part < taking.part => Verdict::Taken,
            Some(_) => {
                self.breach(name, now);
                Verdict::Unwanted
            }
        }
    }

    /// Reports that the part of outcomes which was taken last is a large one: those that follow may take longer.
    pub fn large_part(&mut self, slot: SlotId) {
        if let Some(taking) = self.slots.get_mut(&slot).and_then(|slot| slot.taking.as_mut()) {
            taking.granted = taking.granted.saturating_add(LARGE_PART);
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
            let chunks = self.only_with(&life);
            self.tell_of(name, HostChange::Lost { how: HostLoss::Breaks, chunks });
            self.give_back(&life, now);
            self.count();
        }
    }

    // ---- time --------------------------------------------------------------------------------------------------------

    /// Reports that time has passed while the broker could be reached.
    pub fn tick(&mut self, now: Time) {
        let silent: Vec<(HostLife, bool)> = self
            .hosts
            .iter()
            .filter(|(_, host)| !host.is_ignored() && now.saturating_sub(host.heard) >= SILENCE)
            .map(|(name, host)| (HostLife { name: name.clone(), life: host.life }, host.is_missed()))
            .collect();
        for (life, was_missed) in silent {
            self.hosts.remove(&life.name);
            self.lost(&life, was_missed, HostLoss::Silent, now);
        }
        let mut waits = false;
        // Hosts that have lost copies of slots, or who knows which has.
        let mut losses: Vec<(SlotId, Option<HostName>)> = Vec::new();
        let mut unconfirmed: Vec<(SlotId, CopyNumber)> = Vec::new();
        let mut given_up: BTreeMap<HostName, usize> = BTreeMap::new();
        for (&slot, Slot { chunk, copies, taking, .. }) in &mut self.slots {
            let most = most(chunk.count, self.config.item);
            for copy in copies {
                let passed = |since: Time, most| now.saturating_sub(since) >= most;
                match &mut copy.state {
                    CopyState::Sending { since } if passed(*since, UNCONFIRMED) => {
                        *since = now;
                        // Perhaps the stream is gone.
                        waits = true;
                        unconfirmed.push((slot, copy.number));
                    }
                    CopyState::Delivered { since: at, .. } | CopyState::Held { named: at, .. }
                        if passed(*at, UNNAMED) =>
                    {
                        let host = copy.host().map(|host| host.name.clone());
                        if let (CopyState::Held { .. }, Some(host)) = (&copy.state, &host) {
                            *given_up.entry(host.clone()).or_default() += 1;
                        }
                        losses.push((slot, host));
                        copy.state = CopyState::Lost;
                    }
                    // What it delivers is bounded by itself.
                    CopyState::Held { host, since, .. }
                        if taking.is_none() && most.is_some_and(|most| passed(*since, most)) =>
                    {
                        let (host, chunk) = (host.clone(), *chunk);
                        losses.push((slot, Some(host.name.clone())));
                        self.orders.push_back(Order::Overdue { host: host.name.clone(), chunk });
                        self.orders.push_back(Order::Drop { copy: copy.number, host });
                        (copy.state, copy.overdue) = (CopyState::Lost, true);
                    }
                    CopyState::Waiting { since } if passed(*since, STALE) => {
                        self.orders.extend(copy.sequence.take().map(|sequence| Order::Discard { sequence }));
                        copy.state = CopyState::Lost;
                    }
                    state => waits |= matches!(state, CopyState::Waiting { .. }),
                }
            }
        }
        for (slot, host) in losses {
            self.blame(slot, host.as_ref());
        }
        for (host, chunks) in given_up {
            self.tell_of(&host, HostChange::Lost { how: HostLoss::GivesUp, chunks });
        }
        for (slot, copy) in unconfirmed {
            if self.give_instead(copy, now) {
                // It would keep the next waiting, too.
                self.mistrust = MOST_MISTRUST;
                self.orders.push_back(Order::Unconfirmed);
            } else {
                self.orders.push_back(Order::Publish { slot, copy });
            }
        }
        self.look_after_all(now);
        self.look_for_late(now);
        if self.config.check > 0 {
            let checked: Vec<SlotId> = self.slots.iter().filter(|(_, slot)| slot.checked).map(|(&id, _)| id).collect();
            checked.into_iter().for_each(|id| self.give_second(id, now));
        }
        if waits && now.saturating_sub(self.asked) >= ASK_EVERY {
            self.asked = now;
            self.asked_up_to = self.confirmed;
            self.orders.push_back(Order::Ask);
        }
        self.count();
        self.look_for_refusal(now);
    }

    /// Handles that a living host has lost a copy: this one, or whichever has pulled it.
    fn blame(&mut self, id: SlotId, host: Option<&HostName>) {
        let Some(name) = host else {
            self.mistrust = self.mistrust.saturating_add(PULLED_IN_VAIN_COUNTS).min(MOST_MISTRUST);
            return;
        };
        if let Some(host) = self.hosts.get_mut(name) {
            host.lost = host.lost.saturating_add(1);
        }
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.count_loss(name);
        }
    }

    /// Ends the run if every host refuses it. If one has served it, it is waited longer for another.
    fn look_for_refusal(&mut self, now: Time) {
        let mut heard = self.hosts.values().filter(|host| !host.is_ignored()).peekable();
        let all = heard.peek().is_some() && heard.all(|host| host.refused.is_some());
        if !all {
            self.refused_since = None;
            return;
        }
        let since = *self.refused_since.get_or_insert(now);
        let all = self.refusals();
        let is_for_versions = all.first().is_some_and(|(_, refusal)| refusal.cause == RefusalCause::Version);
        let patience = if is_for_versions || self.served_by.is_some() { NONE_FITS } else { ALL_REFUSE };
        if now.saturating_sub(since) >= patience && !std::mem::replace(&mut self.told_refusal, true) {
            self.orders.push_back(Order::Refused(all));
        }
    }

    // ---- the work ----------------------------------------------------------------------------------------------------

    fn copy_mut(&mut self, copy: CopyNumber) -> Option<&mut ChunkCopy> {
        let slot = self.by_copy.get(&copy)?;
        self.slots.get_mut(slot)?.copies.iter_mut().find(|known| known.number == copy)
    }

    /// Orders as many slots as the hosts have workers for.
    fn count(&mut self) {
        let all =
            self.hosts.values().map(ServingHost::slots).fold((0_usize, 0_usize), |(all, beside), (slots, ahead)| {
                (all.saturating_add(slots), beside.saturating_add(ahead))
            });
        let most = self.config.most.unwrap_or(usize::MAX);
        let count = all.0.min(most);
        let ahead = all.1.min(most - count);
        if std::mem::replace(&mut self.ordered, (count, ahead)) != (count, ahead) {
            self.orders.push_back(Order::Slots { count, ahead });
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

    /// Returns true if whoever pulls from the stream is hardly one that answers.
    fn mistrusts_stream(&self) -> bool {
        self.mistrust >= MOST_MISTRUST
    }

    fn publish(&mut self, id: SlotId, now: Time) {
        let number = self.new_number();
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.copies.push(ChunkCopy {
                number,
                sequence: None,
                state: CopyState::Sending { since: now },
                overdue: false,
            });
            self.by_copy.insert(number, id);
            self.orders.push_back(Order::Publish { slot: id, copy: number });
        }
    }

    /// Gives a chunk to one of these hosts that does not have it. One that has lost it gets it after all others. Returns false if
    /// there is none.
    fn give(&mut self, id: SlotId, to: Receivers<'_>, now: Time) -> Option<HostName> {
        let slot = self.slots.get(&id)?;
        let others = self.hosts.iter_mut().filter(|(name, host)| {
            let is_meant = match to {
                Receivers::All => true,
                Receivers::Free => host.load() < host.workers,
                Receivers::Except(others) => !others.contains(name),
            };
            host.workers > 0 && !slot.concerns(name) && is_meant
        });
        let last = |name: &HostName, host: &ServingHost| {
            let lost = slot.lost_by.get(name).copied().unwrap_or_default();
            (host.loses(), lost, host.load().saturating_mul(1000) / host.reckoned().max(1))
        };
        let (name, host) = others.min_by_key(|(name, host)| last(name, host))?;
        host.given += 1;
        let to = HostLife { name: name.clone(), life: host.life };
        let copy = self.new_number();
        if let Some(slot) = self.slots.get_mut(&id) {
            let state = CopyState::Delivered { since: now, to: Some(to.clone()) };
            slot.copies.push(ChunkCopy { number: copy, sequence: None, state, overdue: false });
            self.by_copy.insert(copy, id);
            slot.waits_alone = None;
            self.orders.push_back(Order::Give { slot: id, copy, host: to.clone() });
        }
        Some(to.name)
    }

    /// Returns true if no second host has ever served the run, which would be the next that a chunk is blamed for.
    fn is_of_one_host(&self) -> bool {
        !self.several
    }

    /// Returns the hosts that have a chunk which may be what ends hosts. One that sends its outcomes ends nothing.
    fn suspected(&self) -> BTreeSet<HostName> {
        let one_host = self.is_of_one_host();
        let suspects = self.slots.values().filter(|slot| slot.taking.is_none() && slot.is_suspect(one_host));
        suspects.flat_map(|slot| &slot.copies).filter_map(ChunkCopy::host).map(|host| host.name.clone()).collect()
    }

    /// Gives a chunk that may be what ends hosts to one that has no other of this kind: chunks that are always lost together
    /// would be blamed together. If each host has one, it waits, though not for ever: the others may take long.
    fn give_alone(&mut self, id: SlotId, suspected: &mut BTreeSet<HostName>, now: Time) {
        if let Some(name) = self.give(id, Receivers::Except(suspected), now) {
            suspected.insert(name);
            return;
        }
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let since = *slot.waits_alone.get_or_insert(now);
        if now.saturating_sub(since) >= ALONE {
            self.give(id, Receivers::Free, now);
        }
    }

    /// Gives a chunk that two hosts are to run to the second, once it is known which the first is.
    fn give_second(&mut self, id: SlotId, now: Time) {
        let wants = |slot: &&Slot| slot.checked && slot.taking.is_none() && slot.wants_second();
        match self.slots.get(&id).filter(wants) {
            Some(slot) if slot.is_suspect(false) => self.give_alone(id, &mut self.suspected(), now),
            Some(_) => drop(self.give(id, Receivers::All, now)),
            None => {}
        }
    }

    /// Takes back that chunks were lost with a host, which has not ended.
    fn take_back_loss(&mut self, life: &HostLife) {
        for slot in self.slots.values_mut().filter(|slot| slot.last_lost_with.as_ref() == Some(life)) {
            slot.last_lost_with = None;
            slot.tries = slot.tries.saturating_sub(1);
            let left = slot.lost_by.get_mut(&life.name).map_or(0, |lost| {
                *lost = lost.saturating_sub(1);
                *lost
            });
            if left == 0 {
                slot.lost_by.remove(&life.name);
                slot.lost_with.remove(&life.name);
            }
        }
    }

    /// Handles the end of a host, for which no chunk that it held may be to blame.
    fn lost(&mut self, life: &HostLife, was_missed: bool, how: HostLoss, now: Time) {
        let chunks = self.only_with(life);
        if was_missed || chunks > 0 {
            if how == HostLoss::Silent {
                self.silent.insert(life.name.clone());
            }
            self.tell_of(&life.name, HostChange::Lost { how, chunks });
        }
        for slot in self.slots.values_mut() {
            if slot.copies.iter().any(|copy| matches!(&copy.state, CopyState::Held { host, .. } if host == life)) {
                slot.tries += 1;
                slot.lost_with.insert(life.name.clone());
                slot.last_lost_with = Some(life.clone());
                slot.count_loss(&life.name);
            }
            for copy in &mut slot.copies {
                if copy.host() == Some(life) {
                    copy.state = CopyState::Lost;
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
                if copy.host() == Some(life) {
                    copy.state = CopyState::Lost;
                }
            }
        }
        begun.into_iter().for_each(|slot| self.lose(slot, false));
        self.look_after_all(now);
    }

    /// Publishes the chunks again of which no copy is left, and ends those that have ended hosts.
    fn look_after_all(&mut self, now: Time) {
        let late = |taking: &Taking| {
            let waits = taking.waits_since.map(|since| now.saturating_sub(since));
            let most = ALL_PARTS.saturating_add(taking.granted);
            waits.is_some_and(|waits| waits >= NEXT_PART || waits.saturating_add(taking.waited) >= most)
        };
        let (mut again, mut stuck, mut suspected) = (Vec::new(), Vec::new(), None);
        let one_host = self.is_of_one_host();
        for (&id, slot) in &self.slots {
            match &slot.taking {
                Some(taking) if late(taking) => stuck.push(id),
                Some(_) => {}
                None if slot.copies.iter().all(ChunkCopy::is_lost) => again.push(id),
                None => {}
            }
        }
        for id in stuck {
            self.broken(id, now);
        }
        for id in again {
            let Some(slot) = self.slots.get(&id) else {
                continue;
            };
            let (blamed, noted, suspect) = (slot.ends_hosts(), slot.noted.is_some(), slot.is_suspect(one_host));
            // Whoever lost it may pull it again.
            let pulled_in_vain = self.mistrusts_stream()
                || slot.copies.len() >= PULLED_IN_VAIN
                || slot.copies.iter().any(|copy| copy.overdue);
            if blamed {
                self.lose(id, true);
            } else if noted {
                // It may not go to the host that has run it.
                self.give_second(id, now);
            } else if suspect {
                let mut others = suspected.take().unwrap_or_else(|| self.suspected());
                self.give_alone(id, &mut others, now);
                suspected = Some(others);
            } else if !pulled_in_vain || self.give(id, Receivers::All, now).is_none() {
                self.publish(id, now);
            }
        }
    }

    /// Records that these items end no hosts, or have ended enough.
    fn acquit(&mut self, chunk: ChunkName) {
        let items = chunk.items();
        while let Some((&first, &end)) =
            self.blamed.range(..items.end).next_back().filter(|(_, end)| **end > items.start)
        {
            self.blamed.remove(&first);
            let rest = [(first, items.start), (items.end, end)];
            self.blamed.extend(rest.into_iter().filter(|(first, end)| first < end));
        }
    }

    fn lose(&mut self, id: SlotId, blamed: bool) {
        if let Some(slot) = self.slots.get(&id) {
            let (hosts, chunk) = (slot.lost_with.iter().cloned().collect(), slot.chunk);
            if blamed {
                self.acquit(chunk);
                // One item alone has its outcome now; of several, the parts come back.
                self.blamed.extend((chunk.count > 1).then_some((chunk.first, chunk.items().end)));
            }
            self.close(id);
            self.orders.push_back(Order::Lose { slot: id, blamed, hosts });
        }
    }

    // ---- stragglers --------------------------------------------------------------------------------------------------

    /// Gives chunks that are late to a second host, while there is no other work for it.
    fn look_for_late(&mut self, now: Time) {
        // Where a slot is free, no input is left to send, or what is sent next waits for outcomes.
        if !self.config.speculate || self.slots.len() >= self.ordered.0 + self.ordered.1 {
            return;
        }
        let mut late: Vec<(bool, Time, SlotId, HostName)> = Vec::new();
        for (&id, slot) in &self.slots {
            let alone = !slot.doubled && !slot.checked && slot.taking.is_none();
            let mut living = slot.copies.iter().filter(|copy| !copy.is_lost());
            if let (true, Some(copy), None) = (alone, living.next(), living.next())
                && let CopyState::Held { host, since, .. } = &copy.state
                && let time = now.saturating_sub(*since)
                && self.times.are_late(&host.name, time)
            {
                let answers = self.hosts.get(&host.name).is_some_and(|host| host.last_answer >= Some(*since));
                let counts = answers || !self.times.are_very_late(&host.name, time);
                if counts && slot.is_suspect(false) {
                    continue;
                }
                late.push((counts, *since, id, host.name.clone()));
            }
        }
        late.sort_unstable();
        for (counts, _, id, host) in late {
            if counts && self.doubled >= late::most_doubled(self.opened)
                || self.give(id, Receivers::Free, now).is_none()
            {
                return;
            }
            match counts {
                true => self.doubled += 1,
                false => {
                    self.rescued += 1;
                    self.tell_of(&host, HostChange::Lost { how: HostLoss::AnswersNothing, chunks: 1 });
                }
            }
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.doubled = true;
            }
        }
    }
}
