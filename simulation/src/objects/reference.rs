//! What each object but queues has to answer, implemented a second time and as simply as possible.
//!
//! The machine is right if it answers the same requests, in the same calls, in the same way. Queues are left out, since
//! which of several orders they have depends on when the machine looks at what was put on credit and taken ahead; the
//! promises of queues are checked by `queues.rs`.

use std::collections::BTreeMap;

use super::pipes::Pipe;
use wasmpool_core::share::{ObjectForm, ObjectQuota, ObjectSpec};
use wasmpool_objects::operation::{Acquisition, Answer, ObjectError, Operation, Reply};
use wasmpool_objects::{ParticipantId, Ticket, Time};

pub(super) type Key = (ParticipantId, Ticket);

/// What a request waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    Acquire,
    /// To be notified.
    Notification {
        levels: u32,
    },
    /// To acquire the lock of a condition again.
    Return {
        levels: u32,
        notified: bool,
    },
    Event,
    Barrier,
}

#[derive(Clone, Debug)]
struct Waiter {
    key: Key,
    deadline: Option<Time>,
    why: Why,
}

#[derive(Debug)]
enum State {
    /// Locks, rlocks and conditions.
    Lock {
        reentrant: bool,
        holder: Option<ParticipantId>,
        levels: u32,
        abandoned: Option<String>,
    },
    Semaphore {
        bounded: bool,
        at_start: u64,
        slots: u64,
        held: BTreeMap<ParticipantId, u64>,
        abandoned: Option<String>,
    },
    Event {
        set: bool,
    },
    Barrier {
        parties: u32,
        broken: bool,
        met: Vec<ParticipantId>,
    },
    Dict {
        entries: BTreeMap<String, (Vec<u8>, u64)>,
        version: u64,
        /// Version of an entry that this participant has yet to put.
        on_the_way: Option<(ParticipantId, u64)>,
    },
    List(Vec<Vec<u8>>),
    Pipe(Pipe),
    /// Queues, and what has no manager.
    Other,
}

#[derive(Debug)]
pub(super) struct Reference {
    state: State,
    quota: ObjectQuota,
    /// Entries and bytes that are on the way.
    lent: (u64, u64),
    line: Vec<Waiter>,
}

type Out<'a> = &'a mut Vec<(Key, Answer)>;

fn acquired(abandoned: &mut Option<String>) -> Answer {
    Ok(Reply::Acquired(abandoned.take().map_or(Acquisition::Acquired, Acquisition::Abandoned)))
}

impl Reference {
    pub(super) fn new(spec: &ObjectSpec) -> Reference {
        let lock = |reentrant| State::Lock { reentrant, holder: None, levels: 0, abandoned: None };
        let state = match spec.form {
            ObjectForm::Lock => lock(false),
            ObjectForm::Rlock | ObjectForm::Condition => lock(true),
            ObjectForm::Semaphore { slots, bounded } => {
                let slots = slots.into();
                State::Semaphore { bounded, at_start: slots, slots, held: BTreeMap::new(), abandoned: None }
            }
            ObjectForm::Event => State::Event { set: false },
            ObjectForm::Barrier { parties } => State::Barrier { parties, broken: false, met: Vec::new() },
            ObjectForm::Dict | ObjectForm::Namespace => {
                State::Dict { entries: BTreeMap::new(), version: 0, on_the_way: None }
            }
            ObjectForm::List => State::List(Vec::new()),
            ObjectForm::Pipe { duplex } => State::Pipe(Pipe::new(duplex, spec.quota)),
            _ => State::Other,
        };
        Reference { state, quota: spec.quota, lent: (0, 0), line: Vec::new() }
    }

    /// Returns true if this object's answers are known in advance.
    pub(super) fn decides(&self) -> bool {
        !matches!(self.state, State::Other)
    }

    pub(super) fn waiting(&self) -> usize {
        let pipe = if let State::Pipe(pipe) = &self.state { pipe.waiting() } else { 0 };
        self.line.len() + pipe
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let pipe = if let State::Pipe(pipe) = &self.state { pipe.deadline() } else { None };
        self.line.iter().filter_map(|waiter| waiter.deadline).chain(pipe).min()
    }

    /// Answers a request, or lets it wait until `deadline`. `at_once` is the number of participants that can run at once.
    pub(super) fn ask(
        &mut self,
        key: Key,
        operation: &Operation,
        deadline: Option<Time>,
        now: Time,
        at_once: u32,
        out: Out,
    ) {
        if let State::Pipe(pipe) = &mut self.state {
            return pipe.ask(key, operation, deadline, now, out);
        }
        let answer = self.answer(key, operation, deadline, at_once, out);
        if let Some(answer) = answer {
            out.push((key, answer));
        } else if deadline.is_some_and(|deadline| deadline <= now) {
            self.time_out_key(key, out);
        }
    }

    fn wait(&mut self, key: Key, deadline: Option<Time>, why: Why) -> Option<Answer> {
        self.line.push(Waiter { key, deadline, why });
        None
    }

    fn answer(
        &mut self,
        key: Key,
        operation: &Operation,
        deadline: Option<Time>,
        at_once: u32,
        out: Out,
    ) -> Option<Answer> {
        let who = key.0;
        match (&mut self.state, operation) {
            (State::Lock { reentrant, holder, levels, abandoned }, Operation::Acquire) => match *holder {
                None => {
                    (*holder, *levels) = (Some(who), 1);
                    Some(acquired(abandoned))
                }
                Some(holder) if holder == who && *reentrant => {
                    *levels += 1;
                    Some(Ok(Reply::Acquired(Acquisition::Acquired)))
                }
                Some(_) => self.wait(key, deadline, Why::Acquire),
            },
            (State::Lock { holder, .. }, Operation::IsLocked) => Some(Ok(Reply::Bool(holder.is_some()))),
            (
                State::Lock { holder, levels, .. },
                Operation::Release | Operation::WaitCondition | Operation::Notify { .. },
            ) => {
                match *holder {
                    None => return Some(Err(ObjectError::NotHeld)),
                    Some(holder) if holder != who => return Some(Err(ObjectError::NotHolder)),
                    Some(_) => {}
                }
                match operation {
                    Operation::Release => {
                        *levels -= 1;
                        if *levels == 0 {
                            self.pass_on(out);
                        }
                        Some(Ok(Reply::Done))
                    }
                    Operation::WaitCondition => {
                        let levels = *levels;
                        self.pass_on(out);
                        self.wait(key, deadline, Why::Notification { levels })
                    }
                    Operation::Notify { most } => {
                        (0..*most).all(|_| self.notify());
                        Some(Ok(Reply::Done))
                    }
                    _ => Some(Err(ObjectError::Invalid(String::new()))),
                }
            }
            (State::Semaphore { slots, held, abandoned, .. }, Operation::Acquire) => {
                if *slots == 0 {
                    return self.wait(key, deadline, Why::Acquire);
                }
                *slots -= 1;
                *held.entry(who).or_default() += 1;
                Some(acquired(abandoned))
            }
            (State::Semaphore { slots, .. }, Operation::Slots) => Some(Ok(Reply::Number(*slots))),
            (State::Semaphore { bounded, slots, held, .. }, Operation::Release) => {
                let from = if held.contains_key(&who) { Some(who) } else { held.keys().next().copied() };
                match from {
                    None if *bounded => return Some(Err(ObjectError::TooMany)),
                    None => {}
                    Some(from) => {
                        *held.entry(from).or_default() -= 1;
                        held.retain(|_, held| *held > 0);
                    }
                }
                *slots += 1;
                self.serve(out);
                Some(Ok(Reply::Done))
            }
            (State::Event { set }, Operation::IsSet) => Some(Ok(Reply::Bool(*set))),
            (State::Event { set }, Operation::Clear) => {
                *set = false;
                Some(Ok(Reply::Done))
            }
            (State::Event { set }, Operation::Set) => {
                *set = true;
                out.extend(self.line.drain(..).map(|waiter| (waiter.key, Ok(Reply::Bool(true)))));
                Some(Ok(Reply::Done))
            }
            (State::Event { set: true }, Operation::WaitEvent) => Some(Ok(Reply::Bool(true))),
            (State::Event { .. }, Operation::WaitEvent) => self.wait(key, deadline, Why::Event),
            (State::Barrier { parties, .. }, Operation::Parties) => Some(Ok(Reply::Number((*parties).into()))),
            (State::Barrier { broken, .. }, Operation::IsBroken) => Some(Ok(Reply::Bool(*broken))),
            (State::Barrier { .. }, Operation::Waiting) => Some(Ok(Reply::Number(self.line.len() as u64))),
            (State::Barrier { .. }, Operation::Abort) => {
                self.break_barrier(out);
                Some(Ok(Reply::Done))
            }
            (State::Barrier { .. }, Operation::Reset) => {
                self.break_barrier(out);
                if let State::Barrier { broken, met, .. } = &mut self.state {
                    *broken = false;
                    met.clear();
                }
                Some(Ok(Reply::Done))
            }
            (State::Barrier { broken: true, .. }, Operation::WaitBarrier) => {
                Some(Err(ObjectError::Broken(String::new())))
            }
            (State::Barrier { parties, .. }, Operation::WaitBarrier) if *parties > at_once => {
                Some(Err(ObjectError::Invalid(String::new())))
            }
            (State::Barrier { parties, met, .. }, Operation::WaitBarrier) => {
                met.push(who);
                let others = self.line.len() as u64;
                if others + 1 < u64::from(*parties) {
                    return self.wait(key, deadline, Why::Barrier);
                }
                let all = self.line.drain(..).enumerate();
                out.extend(all.map(|(number, waiter)| (waiter.key, Ok(Reply::Number(number as u64)))));
                Some(Ok(Reply::Number(others)))
            }
            (State::Dict { entries, version, .. }, operation) => {
                Some(dict(entries, version, &beside(&self.quota, self.lent), operation))
            }
            (State::List(elements), operation) => Some(list(elements, &beside(&self.quota, self.lent), operation)),
            (State::Pipe(_) | State::Other, _) => None,
            (_, _) => Some(Err(ObjectError::Invalid(String::new()))),
        }
    }

    /// Takes note of what is on the way, of which the credit was taken back by now, since another asks.
    pub(super) fn lent(&mut self, on_the_way: Option<ParticipantId>, lent: (u64, u64)) {
        self.lent = lent;
        if let State::Dict { version, on_the_way: known, .. } = &mut self.state
            && let Some(who) = on_the_way
            && known.is_none()
        {
            *version += 1;
            *known = Some((who, *version));
        }
    }

    /// Adds what was put on credit, and returns the version of an entry.
    pub(super) fn put(&mut self, who: ParticipantId, key: Option<String>, message: Vec<u8>) -> Option<u64> {
        match (&mut self.state, key) {
            (State::List(elements), None) => {
                elements.push(message);
                None
            }
            (State::Dict { entries, version, on_the_way }, Some(key)) => {
                let reserved = on_the_way.take_if(|(of, _)| *of == who);
                if reserved.is_none() {
                    *version += 1;
                }
                let version = reserved.map_or(*version, |(_, reserved)| reserved);
                entries.insert(key, (message, version));
                Some(version)
            }
            _ => None,
        }
    }

    /// Returns an entry of a dict.
    pub(super) fn entry(&self, key: &str) -> Option<&(Vec<u8>, u64)> {
        if let State::Dict { entries, .. } = &self.state { entries.get(key) } else { None }
    }

    /// Returns true of a dict.
    pub(super) fn is_dict(&self) -> bool {
        matches!(self.state, State::Dict { .. })
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.state, State::List(_))
    }

    /// Returns who holds the lock.
    pub(super) fn holder(&self) -> Option<ParticipantId> {
        if let State::Lock { holder, .. } = &self.state { *holder } else { None }
    }

    /// Takes note that the holder has released the lock without asking.
    pub(super) fn found_free(&mut self, out: Out) {
        self.pass_on(out);
    }

    /// Forgets what a participant had on the way that has ended.
    pub(super) fn left(&mut self, who: ParticipantId) {
        if let State::Dict { on_the_way, .. } = &mut self.state {
            on_the_way.take_if(|(of, _)| *of == who);
        }
    }

    /// Gives a lock to the first who waits for it.
    fn pass_on(&mut self, out: Out) {
        let State::Lock { holder, levels, abandoned, .. } = &mut self.state else { return };
        *holder = None;
        *levels = 0;
        let waits = |waiter: &Waiter| matches!(waiter.why, Why::Acquire | Why::Return { .. });
        let Some(first) = self.line.iter().position(waits) else { return };
        let Waiter { key, why, .. } = self.line.remove(first);
        *holder = Some(key.0);
        match why {
            Why::Return { levels: again, notified } => {
                *levels = again;
                out.push((key, Ok(Reply::Bool(notified))));
            }
            _ => {
                *levels = 1;
                out.push((key, acquired(abandoned)));
            }
        }
    }

    /// Gives slots of a semaphore to those who wait.
    fn serve(&mut self, out: Out) {
        let State::Semaphore { slots, held, abandoned, .. } = &mut self.state else { return };
        while *slots > 0 && !self.line.is_empty() {
            let Waiter { key, .. } = self.line.remove(0);
            *slots -= 1;
            *held.entry(key.0).or_default() += 1;
            out.push((key, acquired(abandoned)));
        }
    }

    /// Notifies the first who waits for it. It has to wait for the lock then, without a deadline.
    fn notify(&mut self) -> bool {
        let waits = |waiter: &Waiter| matches!(waiter.why, Why::Notification { .. });
        let Some(first) = self.line.iter().position(waits) else { return false };
        let Waiter { key, why, .. } = self.line.remove(first);
        let Why::Notification { levels } = why else { return false };
        self.line.push(Waiter { key, deadline: None, why: Why::Return { levels, notified: true } });
        true
    }

    fn break_barrier(&mut self, out: Out) {
        if let State::Barrier { broken, .. } = &mut self.state {
            *broken = true;
            out.extend(self.line.drain(..).map(|waiter| (waiter.key, Err(ObjectError::Broken(String::new())))));
        }
    }

    /// Ends the waits of which the time is over, the earliest first.
    pub(super) fn tick(&mut self, now: Time, out: Out) {
        if let State::Pipe(pipe) = &mut self.state {
            return pipe.tick(now, out);
        }
        while let Some((_, key)) = self
            .line
            .iter()
            .filter_map(|waiter| waiter.deadline.filter(|deadline| *deadline <= now).map(|at| (at, waiter.key)))
            .min_by_key(|(at, _)| *at)
        {
            self.time_out_key(key, out);
        }
    }

    fn time_out_key(&mut self, key: Key, out: Out) {
        let Some(place) = self.line.iter().position(|waiter| waiter.key == key) else { return };
        let waiter = self.line.remove(place);
        match (waiter.why, &mut self.state) {
            (Why::Notification { levels: again }, State::Lock { holder, levels, .. }) => {
                if holder.is_none() {
                    (*holder, *levels) = (Some(key.0), again);
                    out.push((key, Ok(Reply::Bool(false))));
                } else {
                    let why = Why::Return { levels: again, notified: false };
                    self.line.push(Waiter { key, deadline: None, why });
                }
            }
            (Why::Event, _) => out.push((key, Ok(Reply::Bool(false)))),
            (Why::Barrier, _) => {
                out.push((key, Err(ObjectError::Timeout)));
                self.break_barrier(out);
            }
            _ => out.push((key, Ok(Reply::Acquired(Acquisition::TimedOut)))),
        }
    }

    /// Forgets what this participant waits for; with `answered`, it is told that its item is over.
    pub(super) fn drop_waits(&mut self, who: ParticipantId, answered: bool, out: Out) {
        if let State::Pipe(pipe) = &mut self.state {
            return pipe.drop_waits(who, answered, out);
        }
        while let Some(place) = self.line.iter().position(|waiter| waiter.key.0 == who) {
            let waiter = self.line.remove(place);
            if answered {
                out.push((waiter.key, Err(ObjectError::Closed)));
            }
            match waiter.why {
                Why::Return { notified: true, .. } => {
                    self.notify();
                }
                Why::Barrier => self.break_barrier(out),
                _ => {}
            }
        }
    }

    /// Releases what the item of this participant holds.
    pub(super) fn end(&mut self, who: ParticipantId, name: &str, failed: bool, out: Out) {
        match &mut self.state {
            State::Lock { holder, abandoned, .. } if *holder == Some(who) => {
                *abandoned = Some(name.to_owned());
                self.pass_on(out);
            }
            State::Semaphore { at_start, slots, held, abandoned, .. } => {
                // One by one: a slot beyond those of the start is a signal, which an item that ends well has received.
                let mut given_back = false;
                for _ in 0..held.remove(&who).unwrap_or(0) {
                    if failed || *slots + held.values().sum::<u64>() < *at_start {
                        *slots += 1;
                        given_back = true;
                    }
                }
                if given_back {
                    *abandoned = Some(name.to_owned());
                    self.serve(out);
                }
            }
            State::Barrier { met, .. } => {
                let was = met.len();
                met.retain(|one| *one != who);
                if met.len() < was && failed {
                    self.break_barrier(out);
                }
            }
            State::Pipe(pipe) => pipe.end(who, out),
            _ => {}
        }
    }

    /// Returns a violation if this object holds anything for a participant that has ended.
    pub(super) fn holds_nothing_of(&self, who: ParticipantId) -> bool {
        match &self.state {
            State::Lock { holder, .. } => *holder != Some(who),
            State::Semaphore { held, .. } => !held.contains_key(&who),
            _ => true,
        }
    }
}

/// Returns the quota without what is lent.
fn beside(quota: &ObjectQuota, (entries, bytes): (u64, u64)) -> ObjectQuota {
    ObjectQuota { entries: quota.entries.saturating_sub(entries), bytes: quota.bytes.saturating_sub(bytes) }
}

fn quota_allows(entries: usize, bytes: usize, quota: &ObjectQuota) -> Result<(), ObjectError> {
    let fits = entries as u64 <= quota.entries && bytes as u64 <= quota.bytes;
    if fits { Ok(()) } else { Err(ObjectError::Quota(String::new())) }
}

fn dict(
    entries: &mut BTreeMap<String, (Vec<u8>, u64)>,
    version: &mut u64,
    quota: &ObjectQuota,
    operation: &Operation,
) -> Answer {
    let mut set = |entries: &mut BTreeMap<String, (Vec<u8>, u64)>, key: &String, value: Vec<u8>| {
        let mut changed = entries.clone();
        changed.insert(key.clone(), (value, *version + 1));
        quota_allows(changed.len(), changed.iter().map(|(key, (value, _))| key.len() + value.len()).sum(), quota)?;
        *version += 1;
        *entries = changed;
        Ok(*version)
    };
    Ok(match operation {
        Operation::DictGet(key) => Reply::Entry(entries.get(key).cloned()),
        Operation::DictSet(key, value) => Reply::Number(set(entries, key, value.clone())?),
        Operation::DictCompareAndSet { key, version, value } => {
            let same = entries.get(key).map(|(_, version)| *version) == *version;
            Reply::MaybeNumber(if same { Some(set(entries, key, value.clone())?) } else { None })
        }
        Operation::DictIncrement(key, by) => {
            let before = entries.get(key).map_or(Ok("0".to_owned()), |(value, _)| String::from_utf8(value.clone()));
            let before: Option<i64> = before.ok().and_then(|text| text.parse().ok());
            let sum = before.and_then(|n| n.checked_add(*by)).ok_or(ObjectError::Invalid(String::new()))?;
            set(entries, key, sum.to_string().into_bytes())?;
            Reply::Signed(sum)
        }
        Operation::DictPop(key) => Reply::MaybeBytes(entries.remove(key).map(|(value, _)| value)),
        Operation::Length => Reply::Number(entries.len() as u64),
        Operation::Empty => {
            entries.clear();
            Reply::Done
        }
        Operation::DictPage { after, most } => {
            let found = entries.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
            Reply::Page(found.take(*most as usize).map(|(key, (value, _))| (key.clone(), value.clone())).collect())
        }
        _ => return Err(ObjectError::Invalid(String::new())),
    })
}

fn list(elements: &mut Vec<Vec<u8>>, quota: &ObjectQuota, operation: &Operation) -> Answer {
    let length = elements.len() as i64;
    let at = |index: i64| {
        let at = if index < 0 { index + length } else { index };
        if (0..length).contains(&at) { Ok(at as usize) } else { Err(ObjectError::OutOfRange(String::new())) }
    };
    let change = |elements: &mut Vec<Vec<u8>>, changed: Vec<Vec<u8>>| {
        quota_allows(changed.len(), changed.iter().map(Vec::len).sum(), quota)?;
        *elements = changed;
        Ok(Reply::Done)
    };
    let mut changed = elements.clone();
    match operation {
        Operation::ListGet(index) => Ok(Reply::Bytes(elements[at(*index)?].clone())),
        Operation::ListSet(index, value) => {
            changed[at(*index)?] = value.clone();
            change(elements, changed)
        }
        Operation::ListExtend(values) => {
            changed.extend(values.iter().cloned());
            change(elements, changed)
        }
        Operation::ListInsert(index, value) => {
            let at = if *index < 0 { (*index + length).max(0) } else { (*index).min(length) };
            changed.insert(at as usize, value.clone());
            change(elements, changed)
        }
        Operation::ListPop(_) if elements.is_empty() => Err(ObjectError::Empty),
        Operation::ListPop(index) => Ok(Reply::Bytes(elements.remove(at(*index)?))),
        Operation::Length => Ok(Reply::Number(elements.len() as u64)),
        Operation::Empty => {
            elements.clear();
            Ok(Reply::Done)
        }
        _ => Err(ObjectError::Invalid(String::new())),
    }
}

/// Returns true if two answers are the same but for the wording of errors.
pub(super) fn same(one: &Answer, other: &Answer) -> bool {
    use ObjectError::{Broken, Denied, Invalid, OutOfRange, Quota};
    match (one, other) {
        (Err(Broken(_)), Err(Broken(_)))
        | (Err(Denied(_)), Err(Denied(_)))
        | (Err(Invalid(_)), Err(Invalid(_)))
        | (Err(OutOfRange(_)), Err(OutOfRange(_)))
        | (Err(Quota(_)), Err(Quota(_))) => true,
        (one, other) => one == other,
    }
}
