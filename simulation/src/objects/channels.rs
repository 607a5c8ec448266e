//! The channels between participants and the manager, over plain numbers, and what participants do in them without
//! asking. The machine sees them through [`FastPath`]; at each of its looks, participants may do something meanwhile.

use std::collections::{BTreeMap, VecDeque};

use super::noted::Noted;
use super::queues::{MessageId, Queue, id_of};
use super::world::{ActorKind, ActorPlan, World};
use crate::Violation;
use crate::random::Random;
use crate::trace::Trace;
use wasmpool_core::share::ObjectRights;
use wasmpool_objects::fast::{Credit, FastPath, PutOnCredit};
use wasmpool_objects::operation::{Operation, Request};
use wasmpool_objects::{ParticipantId, Ticket, Time};

/// What a participant has written into its ring.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sent {
    Ask { ticket: Ticket, request: Request },
    Put { object: u16, key: Option<String>, message: Vec<u8> },
    Released { object: u16 },
    ItemEnded { failed: bool },
}

/// Where a participant is between two of its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Doing {
    #[default]
    Nothing,
    /// It has subtracted credit, and the message is not in the ring yet.
    Subtracted { object: u16, key: Option<String>, message: Vec<u8> },
    /// The message is in the ring, and it has not looked yet whether puts are wanted.
    Written { object: u16 },
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CreditWord {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) wanted: bool,
}

/// A lock that is lent to a participant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LockWord {
    /// How often its item has acquired it.
    pub(super) levels: u32,
    nests: bool,
    wanted: bool,
    /// True if its item has ended.
    old: bool,
    /// True if the reference was told that it is free.
    pub(super) told: bool,
}

/// What a participant remembers of a dict.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    changes: u64,
    pub(super) entries: BTreeMap<String, Option<(Vec<u8>, u64)>>,
    pub(super) version: Option<u64>,
}

/// An element or an entry that was put on credit, and the version that its participant counts.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) who: ParticipantId,
    pub(super) object: u16,
    pub(super) key: Option<String>,
    pub(super) message: Vec<u8>,
    pub(super) version: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    messages: Vec<MessageId>,
    pub(super) taken: u32,
    pub(super) limit: u32,
    wake_at: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Channel {
    /// Place among the participants of the world, or `None` for who looks at the end.
    pub(super) plan: Option<usize>,
    pub(super) kind: ActorKind,
    pub(super) name: String,
    pub(super) in_flight: u32,
    pub(super) rights: Vec<Option<ObjectRights>>,
    pub(super) favourite: (u16, u32),
    pub(super) alive: bool,
    pub(super) ring: VecDeque<Sent>,
    pub(super) credit: BTreeMap<u16, CreditWord>,
    pub(super) ahead: BTreeMap<u16, Batch>,
    pub(super) locks: BTreeMap<u16, LockWord>,
    /// Number of changes that it was told of, by object.
    changes: BTreeMap<u16, u64>,
    copies: BTreeMap<u16, Copies>,
    /// Number of changes that it had been told of when it last asked or began to put something.
    asked_at: u64,
    pub(super) doing: Doing,
    pub(super) waiting: BTreeMap<Ticket, Request>,
}

pub(super) struct Channels<'a> {
    pub(super) world: &'a World,
    pub(super) random: Random,
    pub(super) trace: Trace,
    pub(super) now: Time,
    pub(super) all: BTreeMap<ParticipantId, Channel>,
    pub(super) queues: BTreeMap<u16, Queue>,
    pub(super) messages: MessageId,
    /// True if somebody has woken the manager.
    pub(super) woken: bool,
    /// Those who began something while the machine looked, and are about to finish it.
    pub(super) busy: Vec<ParticipantId>,
    /// What was put on credit into lists and dicts, and the reference does not know of yet.
    pub(super) written: Vec<Written>,
    /// Locks that the machine found to be free in their words.
    pub(super) found_free: Vec<u16>,
    /// The first promise that was broken while the machine looked.
    pub(super) broken: Option<Violation>,
}

impl Channels<'_> {
    pub(super) fn note(&mut self, noted: Noted) {
        self.trace.note(self.now, &noted);
    }

    pub(super) fn keep(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.broken.get_or_insert(violation);
        }
    }

    /// Makes a message of a length that mostly fits.
    pub(super) fn compose(&mut self, most: u64) -> Vec<u8> {
        let id = self.messages;
        self.messages += 1;
        let length = match self.random.below(20) {
            0 => most.min(5_000) + self.random.below(3),
            1..4 => 8 + self.random.magnitude(most.min(200)),
            _ => 8 + self.random.below(12),
        };
        let mut body = id.to_le_bytes().to_vec();
        body.resize(length.max(8) as usize, 0xee);
        body
    }

    /// Lets a participant continue what it does without asking. Returns false if there is nothing.
    pub(super) fn continue_put(&mut self, who: ParticipantId) -> bool {
        let Some(channel) = self.all.get_mut(&who) else { return false };
        match std::mem::take(&mut channel.doing) {
            Doing::Nothing => return false,
            Doing::Subtracted { object, key, message } => {
                channel.ring.push_back(Sent::Put { object, key: key.clone(), message: message.clone() });
                channel.doing = Doing::Written { object };
                if let Some(queue) = self.queues.get_mut(&object) {
                    let id = id_of(&message);
                    let result = queue.acknowledged(id, true);
                    self.keep(result);
                    self.note(Noted::PutOnCredit { who, object, id });
                } else {
                    let version = key.as_ref().and_then(|key| channel.has_set(object, key, &message));
                    self.note(Noted::SetOnCredit { who, object, version });
                    self.written.push(Written { who, object, key, message, version });
                }
            }
            Doing::Written { object } => {
                if channel.credit.get(&object).is_some_and(|word| word.wanted) {
                    self.woken = true;
                }
            }
        }
        true
    }

    /// Begins a put on credit, if there is enough.
    pub(super) fn begin_put(
        &mut self,
        who: ParticipantId,
        object: u16,
        key: Option<&String>,
        message: Vec<u8>,
    ) -> Result<(), Vec<u8>> {
        let Some(channel) = self.all.get_mut(&who) else { return Err(message) };
        let bytes = (key.map_or(0, String::len) + message.len()) as u64;
        let Some(word) = channel.credit.get_mut(&object) else { return Err(message) };
        if word.entries == 0 || word.bytes < bytes {
            return Err(message);
        }
        word.entries -= 1;
        word.bytes -= bytes;
        let doubtful = channel.kind == ActorKind::Liar;
        if let Some(queue) = self.queues.get_mut(&object) {
            queue.offered(id_of(&message), bytes, doubtful);
            queue.note_on_the_way(bytes);
        }
        channel.asked_at = channel.changes.get(&object).copied().unwrap_or_default();
        channel.doing = Doing::Subtracted { object, key: key.cloned(), message };
        self.note(Noted::Subtracted { who, object, bytes });
        Ok(())
    }

    /// Takes a message that was sent ahead, if there is one.
    pub(super) fn take_ahead(&mut self, who: ParticipantId, object: u16) -> bool {
        let Some(channel) = self.all.get_mut(&who) else { return false };
        let Some(batch) = channel.ahead.get_mut(&object) else { return false };
        if batch.taken >= batch.limit {
            return false;
        }
        let Some(&id) = batch.messages.get(batch.taken as usize) else { return false };
        batch.taken += 1;
        if batch.wake_at.is_some_and(|at| batch.taken >= at) {
            batch.wake_at = None;
            self.woken = true;
        }
        self.note(Noted::TakenAhead { who, object, id });
        // What a liar takes, it may say that it did not.
        if !self.lies(who)
            && let Some(queue) = self.queues.get_mut(&object)
        {
            let result = queue.delivered(id, who, None, true, false);
            self.keep(result);
        }
        true
    }

    /// Gives back what the item of a participant has ahead, before it ends.
    pub(super) fn give_back(&mut self, who: ParticipantId) {
        if let Some(channel) = self.all.get_mut(&who) {
            channel.ahead.values_mut().for_each(|batch| batch.limit = batch.taken);
            channel.locks.values_mut().for_each(|lock| lock.old = true);
        }
    }

    /// Acquires a lock that is lent, if it can be acquired.
    pub(super) fn acquire_lent(&mut self, who: ParticipantId, object: u16) -> bool {
        let lock = self.all.get_mut(&who).and_then(|channel| channel.locks.get_mut(&object)).filter(|lock| !lock.old);
        let Some(lock) = lock.filter(|lock| if lock.levels > 0 { lock.nests } else { !lock.wanted }) else {
            return false;
        };
        lock.levels += 1;
        self.note(Noted::AcquiredLent { who, object });
        true
    }

    /// Releases a lock that is lent, if it is held.
    pub(super) fn release_lent(&mut self, who: ParticipantId, object: u16) -> bool {
        let Some(channel) = self.all.get_mut(&who) else { return false };
        let Some(lock) = channel.locks.get_mut(&object).filter(|lock| !lock.old && lock.levels > 0) else {
            return false;
        };
        lock.levels -= 1;
        if lock.levels == 0 && lock.wanted {
            channel.ring.push_back(Sent::Released { object });
            self.woken = true;
        }
        self.note(Noted::ReleasedLent { who, object });
        true
    }

    /// Returns what a participant remembers of an entry.
    pub(super) fn remembered(&mut self, who: ParticipantId, object: u16, key: &str) -> Option<Option<(Vec<u8>, u64)>> {
        let copy = self.all.get_mut(&who)?.copies(object).entries.get(key).cloned()?;
        self.note(Noted::Remembered { who, object, version: copy.as_ref().map(|(_, version)| *version) });
        Some(copy)
    }

    /// Returns true if a participant knows which version the next entry has that it sets.
    pub(super) fn counts_versions(&mut self, who: ParticipantId, object: u16) -> bool {
        self.all.get_mut(&who).is_some_and(|channel| channel.copies(object).version.is_some())
    }

    /// Returns true if a lock is lent to this participant, which does not hold it.
    pub(super) fn has_released(&self, who: ParticipantId, object: u16) -> bool {
        self.all.get(&who).and_then(|channel| channel.locks.get(&object)).is_some_and(|lock| lock.levels == 0)
    }

    /// Lets participants do something while the machine looks.
    fn meanwhile(&mut self) {
        if self.queues.is_empty() || !self.random.per_mille(self.world.meanwhile) {
            return;
        }
        let who: Vec<ParticipantId> = self
            .all
            .iter()
            .filter(|(_, one)| one.alive && one.kind == ActorKind::Worker && one.waiting.is_empty())
            .map(|(who, _)| *who)
            .collect();
        if who.is_empty() {
            return;
        }
        let busy = self.all.iter().find(|(_, one)| one.alive && one.doing != Doing::Nothing).map(|(who, _)| *who);
        let some = who[self.random.below(who.len() as u64) as usize];
        let who = if self.random.per_mille(500) { busy.unwrap_or(some) } else { some };
        let is_queue = |channel: &&Channel| match &channel.doing {
            Doing::Subtracted { object, .. } => self.queues.contains_key(object),
            _ => true,
        };
        // The references of lists and dicts were asked before the machine looked.
        if self.all.get(&who).filter(is_queue).is_none() {
            return;
        }
        for _ in 0..self.random.between(1, 4) {
            if self.continue_put(who) {
                continue;
            }
            let objects: Vec<u16> = self.queues.keys().copied().collect();
            let object = objects[self.random.below(objects.len() as u64) as usize];
            if self.random.per_mille(500) {
                self.take_ahead(who, object);
            } else if self.all.get(&who).is_some_and(|one| one.credit.get(&object).is_some_and(|word| word.entries > 0))
            {
                let message = self.compose(20);
                // A message that is too long is dropped.
                if self.begin_put(who, object, None, message).is_ok() {
                    self.busy.push(who);
                }
            }
        }
    }

    fn word(&mut self, who: ParticipantId, object: u16) -> Option<&mut CreditWord> {
        self.all.get_mut(&who).map(|channel| channel.credit.entry(object).or_default())
    }

    fn lies(&self, who: ParticipantId) -> bool {
        self.all.get(&who).is_some_and(|channel| channel.kind == ActorKind::Liar)
    }

    /// Returns entries and bytes of the puts to an object that are subtracted from credit and not in a ring. Those that
    /// liars claim to put into queues do not count.
    pub(super) fn on_the_way(&self, object: u16) -> (u64, u64) {
        let is_queue = self.queues.contains_key(&object);
        let counts = self.all.values().filter(|channel| channel.kind != ActorKind::Liar || !is_queue);
        let lengths = counts.filter_map(|channel| match &channel.doing {
            Doing::Subtracted { object: of, key, message } if *of == object => {
                Some((key.as_ref().map_or(0, String::len) + message.len()) as u64)
            }
            _ => None,
        });
        lengths.fold((0, 0), |(entries, bytes), length| (entries + 1, bytes + length))
    }

    /// Returns who has subtracted credit for an object and not put what it is for.
    pub(super) fn who_is_on_the_way(&self, object: u16) -> Option<ParticipantId> {
        let is = |channel: &Channel| matches!(channel.doing, Doing::Subtracted { object: of, .. } if of == object);
        self.all.iter().find(|(_, channel)| is(channel)).map(|(who, _)| *who)
    }

    /// Returns the number of puts to an object that are in rings.
    pub(super) fn unread(&self, object: u16) -> u64 {
        let all = self.all.values().flat_map(|channel| &channel.ring);
        all.filter(|sent| matches!(sent, Sent::Put { object: of, .. } if *of == object)).count() as u64
    }

    /// Returns all credit of honest participants for an object, with what is on the way.
    pub(super) fn lent(&self, object: u16) -> (u64, u64) {
        let honest = self.all.values().filter(|channel| channel.kind != ActorKind::Liar);
        let words = honest.filter_map(|channel| channel.credit.get(&object));
        words.fold(self.on_the_way(object), |(entries, bytes), word| (entries + word.entries, bytes + word.bytes))
    }
}

impl FastPath for Channels<'_> {
    fn grant_credit(&mut self, who: ParticipantId, object: u16, credit: Credit) {
        self.meanwhile();
        self.note(Noted::Granted { who, object, entries: credit.entries, bytes: credit.bytes });
        let lies = self.lies(who);
        if let Some(word) = self.word(who, object) {
            let held = word.entries;
            word.entries = credit.entries.into();
            word.bytes = credit.bytes;
            if held > 0 && !lies {
                self.keep(Err(format!("{who} was granted credit for {object} while it had some")));
            }
        }
        self.meanwhile();
    }

    fn take_back_credit(&mut self, who: ParticipantId, object: u16) -> Credit {
        self.meanwhile();
        let lies = self.lies(who) && self.queues.contains_key(&object);
        let lie = lies.then(|| self.random.magnitude(u64::MAX));
        let Some(word) = self.word(who, object) else { return Credit::default() };
        let mut credit = Credit { entries: word.entries as u32, bytes: word.bytes };
        word.entries = 0;
        word.bytes = 0;
        if let Some(lie) = lie {
            credit = Credit { entries: lie as u32, bytes: lie };
        }
        self.note(Noted::TakenBack { who, object, entries: credit.entries });
        self.meanwhile();
        credit
    }

    fn want_puts(&mut self, who: ParticipantId, object: u16, wanted: bool) {
        self.meanwhile();
        if let Some(word) = self.word(who, object) {
            word.wanted = wanted;
        }
        self.note(Noted::Wanted { who, object, wanted });
        self.meanwhile();
    }

    fn puts_on_credit(&mut self, who: ParticipantId) -> Vec<PutOnCredit> {
        self.meanwhile();
        let Some(channel) = self.all.get_mut(&who) else { return Vec::new() };
        let mut puts = Vec::new();
        channel.ring.retain(|sent| match sent {
            Sent::Put { object, key, message } => {
                puts.push(PutOnCredit { object: *object, key: key.clone(), message: message.clone() });
                false
            }
            _ => true,
        });
        self.note(Noted::Read { who, puts: puts.len() });
        self.meanwhile();
        puts
    }

    fn send_ahead(&mut self, who: ParticipantId, object: u16, messages: &[&[u8]]) {
        self.meanwhile();
        let ids: Vec<MessageId> = messages.iter().map(|body| id_of(body)).collect();
        self.note(Noted::SentAhead { who, object, ids: ids.clone() });
        let lies = self.lies(who);
        if let Some(queue) = self.queues.get_mut(&object) {
            let result = queue.sent_ahead(&ids, lies);
            self.keep(result);
        }
        let Some(channel) = self.all.get_mut(&who) else { return };
        let batch = channel.ahead.entry(object).or_default();
        let left = batch.limit.saturating_sub(batch.taken);
        *batch = Batch { limit: ids.len() as u32, messages: ids, taken: 0, wake_at: None };
        if left > 0 && !lies {
            self.keep(Err(format!("{who} was sent messages of {object} ahead while it had {left}")));
        }
        self.meanwhile();
    }

    fn taken_ahead(&mut self, who: ParticipantId, object: u16) -> u32 {
        self.meanwhile();
        let lie = self.lies(who).then(|| self.random.magnitude(u32::MAX.into()) as u32);
        let taken = self.all.get(&who).and_then(|channel| channel.ahead.get(&object)).map_or(0, |batch| batch.taken);
        self.meanwhile();
        lie.unwrap_or(taken)
    }

    fn recall_ahead(&mut self, who: ParticipantId, object: u16) -> u32 {
        self.meanwhile();
        let lie = self.lies(who).then(|| self.random.magnitude(u32::MAX.into()) as u32);
        let batch = self.all.get_mut(&who).and_then(|channel| channel.ahead.get_mut(&object));
        let taken = batch.map_or(0, |batch| {
            batch.limit = batch.taken;
            batch.taken
        });
        self.note(Noted::Recalled { who, object, taken });
        self.meanwhile();
        lie.unwrap_or(taken)
    }

    fn wake_when_taken(&mut self, who: ParticipantId, object: u16, taken: u32) {
        self.meanwhile();
        if let Some(batch) = self.all.get_mut(&who).and_then(|channel| channel.ahead.get_mut(&object)) {
            batch.wake_at = Some(taken);
        }
        self.meanwhile();
    }

    fn lend_lock(&mut self, who: ParticipantId, object: u16, nests: bool) {
        self.note(Noted::Lent { who, object });
        let lock = LockWord { levels: 1, nests, ..LockWord::default() };
        let before = self.all.get_mut(&who).and_then(|channel| channel.locks.insert(object, lock));
        if before.is_some() {
            self.keep(Err(format!("{who} was lent the lock {object} twice")));
        }
    }

    fn want_lock(&mut self, who: ParticipantId, object: u16) -> bool {
        let Some(channel) = self.all.get_mut(&who) else { return true };
        let Some(lock) = channel.locks.get_mut(&object) else { return true };
        lock.wanted = true;
        if lock.levels > 0 {
            return false;
        }
        if !lock.told {
            self.found_free.push(object);
        }
        channel.locks.remove(&object);
        true
    }

    fn holds_lock(&mut self, who: ParticipantId, object: u16) -> bool {
        self.all.get(&who).and_then(|channel| channel.locks.get(&object)).is_some_and(|lock| lock.levels > 0)
    }

    fn take_back_lock(&mut self, who: ParticipantId, object: u16) -> bool {
        let lock = self.all.get_mut(&who).and_then(|channel| channel.locks.remove(&object));
        lock.is_some_and(|lock| lock.levels > 0)
    }

    fn tell_change(&mut self, who: ParticipantId, object: u16) {
        self.note(Noted::ToldOfChange { who, object });
        if let Some(channel) = self.all.get_mut(&who) {
            *channel.changes.entry(object).or_default() += 1;
        }
    }
}

impl Channel {
    pub(super) fn new(plan: Option<usize>, name: String, actor: &ActorPlan) -> Channel {
        Channel {
            plan,
            kind: actor.kind,
            name,
            in_flight: actor.in_flight,
            rights: actor.rights.clone(),
            favourite: actor.favourite,
            alive: true,
            ring: VecDeque::new(),
            credit: BTreeMap::new(),
            ahead: BTreeMap::new(),
            locks: BTreeMap::new(),
            changes: BTreeMap::new(),
            copies: BTreeMap::new(),
            asked_at: 0,
            doing: Doing::Nothing,
            waiting: BTreeMap::new(),
        }
    }

    /// Returns what it remembers of a dict, without what is not true any more.
    fn copies(&mut self, object: u16) -> &mut Copies {
        let changes = self.changes.get(&object).copied().unwrap_or_default();
        let copies = self.copies.entry(object).or_default();
        if copies.changes != changes {
            copies.changes = changes;
            copies.entries.clear();
        }
        copies
    }

    /// Takes note of what it is about to ask.
    pub(super) fn asks(&mut self, request: &Request) {
        self.asked_at = self.changes.get(&request.object).copied().unwrap_or_default();
        let changes = matches!(
            request.operation,
            Operation::DictPop(_)
                | Operation::DictIncrement(..)
                | Operation::DictCompareAndSet { .. }
                | Operation::DictSetMany(_)
                | Operation::Empty
        );
        if changes {
            self.copies(request.object).entries.clear();
        }
    }

    /// Remembers an entry that it has asked for or set, if nobody has changed the dict meanwhile.
    pub(super) fn remember(&mut self, object: u16, key: &str, copy: Option<(Vec<u8>, u64)>) {
        let asked_at = self.asked_at;
        let copies = self.copies(object);
        match copies.changes == asked_at {
            true => drop(copies.entries.insert(key.to_owned(), copy)),
            false => drop(copies.entries.remove(key)),
        }
    }

    /// Takes note of an entry that was set by asking.
    pub(super) fn was_told(&mut self, object: u16, version: u64) {
        self.copies(object).version = Some(version);
    }

    /// Takes note of an entry that it has set on credit, and returns its version.
    fn has_set(&mut self, object: u16, key: &str, value: &[u8]) -> Option<u64> {
        let version = self.copies(object).version? + 1;
        self.was_told(object, version);
        self.remember(object, key, Some((value.to_vec(), version)));
        Some(version)
    }
}
