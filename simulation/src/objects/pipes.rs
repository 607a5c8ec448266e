//! What a pipe has to answer, as simply as possible.

use std::collections::VecDeque;

use super::reference::Key;
use wasmpool_core::share::ObjectQuota;
use wasmpool_objects::operation::{Answer, ObjectError, Operation, PipeEnd, Reply};
use wasmpool_objects::{ParticipantId, Time};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    Send(Vec<u8>),
    Recv(Option<u64>),
    Poll,
}

#[derive(Clone, Debug)]
struct Waiter {
    key: Key,
    deadline: Option<Time>,
    /// The direction, by the end that receives.
    way: usize,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Unopened,
    Open(ParticipantId),
    Closed,
}

#[derive(Debug)]
pub(super) struct Pipe {
    duplex: bool,
    entries: u64,
    bytes: u64,
    ends: [End; 2],
    ways: [VecDeque<Vec<u8>>; 2],
    line: Vec<Waiter>,
}

type Out<'a> = &'a mut Vec<(Key, Answer)>;

fn number(end: PipeEnd) -> usize {
    usize::from(end == PipeEnd::Second)
}

impl Pipe {
    pub(super) fn new(duplex: bool, quota: ObjectQuota) -> Pipe {
        let share = if duplex { 2 } else { 1 };
        Pipe {
            duplex,
            entries: (quota.entries / share).max(1),
            bytes: quota.bytes / share,
            ends: [End::Unopened; 2],
            ways: Default::default(),
            line: Vec::new(),
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.line.iter().filter_map(|waiter| waiter.deadline).min()
    }

    pub(super) fn ask(&mut self, key: Key, operation: &Operation, deadline: Option<Time>, now: Time, out: Out) {
        match self.answer(key, operation, out) {
            Ok(Some(reply)) => out.push((key, Ok(reply))),
            Err(error) => out.push((key, Err(error))),
            Ok(None) => {
                let (way, why) = match operation {
                    Operation::Send(end, message) => (1 - number(*end), Why::Send(message.clone())),
                    Operation::Recv { end, at_most } => (number(*end), Why::Recv(*at_most)),
                    Operation::Poll(end) => (number(*end), Why::Poll),
                    _ => return,
                };
                self.line.push(Waiter { key, deadline, way, why });
                if deadline.is_some_and(|deadline| deadline <= now) {
                    self.time_out(key, out);
                }
            }
        }
    }

    fn answer(&mut self, key: Key, operation: &Operation, out: Out) -> Result<Option<Reply>, ObjectError> {
        let own = |pipe: &Pipe, end: PipeEnd| match pipe.ends[number(end)] {
            End::Open(owner) if owner == key.0 => Ok(()),
            End::Open(_) => Err(ObjectError::NotHolder),
            _ => Err(ObjectError::Closed),
        };
        match operation {
            Operation::OpenEnd(end) => match self.ends[number(*end)] {
                End::Closed => Err(ObjectError::Closed),
                End::Open(owner) if owner != key.0 => Err(ObjectError::NotHolder),
                _ => {
                    self.ends[number(*end)] = End::Open(key.0);
                    Ok(Some(Reply::Done))
                }
            },
            Operation::CloseEnd(end) => {
                if self.ends[number(*end)] != End::Closed {
                    own(self, *end)?;
                    self.close(number(*end), out);
                }
                Ok(Some(Reply::Done))
            }
            Operation::Send(end, message) => {
                own(self, *end)?;
                let way = 1 - number(*end);
                if !self.duplex && way == 1 {
                    return Err(ObjectError::NotWritable);
                }
                if self.ends[way] == End::Closed {
                    return Err(ObjectError::ClosedByPeer);
                }
                if message.len() as u64 > self.bytes {
                    return Err(ObjectError::Quota(String::new()));
                }
                let others = self.line.iter().any(|waiter| waiter.way == way && matches!(waiter.why, Why::Send(_)));
                if others || !self.fits(way, message) {
                    return Ok(None);
                }
                self.ways[way].push_back(message.clone());
                self.serve(way, out);
                Ok(Some(Reply::Done))
            }
            Operation::Recv { end, at_most } => {
                own(self, *end)?;
                let way = number(*end);
                if !self.duplex && way == 1 {
                    return Err(ObjectError::NotReadable);
                }
                if self.ways[way].is_empty() {
                    return if self.ends[1 - way] == End::Closed { Err(ObjectError::Eof) } else { Ok(None) };
                }
                let reply = self.pop(way, *at_most)?;
                self.serve(way, out);
                Ok(Some(reply))
            }
            Operation::Poll(end) => {
                own(self, *end)?;
                let way = number(*end);
                if !self.duplex && way == 1 {
                    return Err(ObjectError::NotReadable);
                }
                let ready = !self.ways[way].is_empty() || self.ends[1 - way] == End::Closed;
                Ok(ready.then_some(Reply::Bool(true)))
            }
            _ => Err(ObjectError::Invalid(String::new())),
        }
    }

    fn fits(&self, way: usize, message: &[u8]) -> bool {
        let bytes: usize = self.ways[way].iter().map(Vec::len).sum();
        (self.ways[way].len() as u64) < self.entries && (bytes + message.len()) as u64 <= self.bytes
    }

    fn pop(&mut self, way: usize, at_most: Option<u64>) -> Result<Reply, ObjectError> {
        let length = self.ways[way].front().map_or(0, |message| message.len() as u64);
        if at_most.is_some_and(|at_most| at_most < length) {
            return Err(ObjectError::TooLong(length));
        }
        Ok(Reply::Bytes(self.ways[way].pop_front().unwrap_or_default()))
    }

    fn serve(&mut self, way: usize, out: Out) {
        loop {
            let sender = self.line.iter().position(|one| one.way == way && matches!(one.why, Why::Send(_)));
            if let Some(place) = sender
                && let Why::Send(message) = self.line[place].why.clone()
                && self.fits(way, &message)
            {
                self.ways[way].push_back(message);
                out.push((self.line.remove(place).key, Ok(Reply::Done)));
                continue;
            }
            let receiver = self.line.iter().position(|one| one.way == way && matches!(one.why, Why::Recv(_)));
            let Some(place) = receiver.filter(|_| !self.ways[way].is_empty()) else { break };
            let waiter = self.line.remove(place);
            if let Why::Recv(at_most) = waiter.why {
                out.push((waiter.key, self.pop(way, at_most)));
            }
        }
        if !self.ways[way].is_empty() {
            self.answer_all(way, |why| (*why == Why::Poll).then_some(Ok(Reply::Bool(true))), out);
        }
    }

    /// Answers all who wait for this direction and for whom there is an answer.
    fn answer_all(&mut self, way: usize, answer: impl Fn(&Why) -> Option<Answer>, out: Out) {
        self.line.retain(|waiter| match answer(&waiter.why) {
            Some(answer) if waiter.way == way => {
                out.push((waiter.key, answer));
                false
            }
            _ => true,
        });
    }

    fn close(&mut self, end: usize, out: Out) {
        self.ends[end] = End::Closed;
        self.ways[end].clear();
        let closed = |error: ObjectError| Some(Err(error));
        self.answer_all(
            end,
            |why| closed(if matches!(why, Why::Send(_)) { ObjectError::ClosedByPeer } else { ObjectError::Closed }),
            out,
        );
        let over = self.ways[1 - end].is_empty();
        self.answer_all(
            1 - end,
            |why| match why {
                Why::Send(_) => closed(ObjectError::Closed),
                Why::Recv(_) if over => closed(ObjectError::Eof),
                Why::Poll if over => Some(Ok(Reply::Bool(true))),
                _ => None,
            },
            out,
        );
    }

    pub(super) fn tick(&mut self, now: Time, out: Out) {
        let due = |pipe: &Pipe| {
            let all = pipe.line.iter().filter(|one| one.deadline.is_some_and(|at| at <= now));
            all.min_by_key(|one| one.deadline).map(|one| one.key)
        };
        while let Some(key) = due(self) {
            self.time_out(key, out);
        }
    }

    fn time_out(&mut self, key: Key, out: Out) {
        let Some(place) = self.line.iter().position(|waiter| waiter.key == key) else { return };
        let waiter = self.line.remove(place);
        let answer = match waiter.why {
            Why::Send(_) => Err(ObjectError::Full),
            Why::Recv(_) => Err(ObjectError::Timeout),
            Why::Poll => Ok(Reply::Bool(false)),
        };
        out.push((key, answer));
        self.serve(waiter.way, out);
    }

    pub(super) fn drop_waits(&mut self, who: ParticipantId, answered: bool, out: Out) {
        while let Some(place) = self.line.iter().position(|waiter| waiter.key.0 == who) {
            let waiter = self.line.remove(place);
            if answered {
                out.push((waiter.key, Err(ObjectError::Closed)));
            }
        }
    }

    pub(super) fn end(&mut self, who: ParticipantId, out: Out) {
        for end in 0..2 {
            if self.ends[end] == End::Open(who) {
                self.close(end, out);
            }
        }
    }
}
