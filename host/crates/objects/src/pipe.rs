//! Pipes: two ends, each of which belongs to one participant's item.

use std::collections::VecDeque;

use wasmpool_core::share::ObjectQuota;

use crate::context::{Asker, Context, Ending, Step, wrong_kind};
use crate::events::ParticipantId;
use crate::line::Line;
use crate::operation::{Answer, ObjectError, Operation, PipeEnd, Reply};
use crate::usage::Usage;
use crate::waits::WaitId;

#[derive(Debug)]
pub(crate) struct Pipe {
    duplex: bool,
    /// Quota of one direction.
    quota: ObjectQuota,
    ends: [EndState; 2],
    /// The directions, by the end that receives.
    ways: [Way; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndState {
    Unopened,
    Open(ParticipantId),
    /// For good.
    Closed,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    messages: VecDeque<Vec<u8>>,
    usage: Usage,
    senders: Line<Vec<u8>>,
    /// With the greatest length that each allows.
    receivers: Line<Option<u64>>,
    pollers: Line<Poller>,
}

/// Who waits until a message can be received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Poller {
    One,
    /// Waits for other ends as well. This one has these places in the list that it asked for.
    Any(Vec<u32>),
}

impl Poller {
    fn ready(self) -> Reply {
        match self {
            Poller::One => Reply::Bool(true),
            Poller::Any(places) => Reply::Places(places),
        }
    }

    fn timed_out(self) -> Reply {
        match self {
            Poller::One => Reply::Bool(false),
            Poller::Any(_) => Reply::Places(Vec::new()),
        }
    }
}

fn index(end: PipeEnd) -> usize {
    match end {
        PipeEnd::First => 0,
        PipeEnd::Second => 1,
    }
}

fn other(end: PipeEnd) -> PipeEnd {
    match end {
        PipeEnd::First => PipeEnd::Second,
        PipeEnd::Second => PipeEnd::First,
    }
}

impl Pipe {
    pub(crate) fn new(duplex: bool, quota: ObjectQuota) -> Pipe {
        // A direction of its own room each: two that send to each other must not need each other's room.
        let share = if duplex { 2 } else { 1 };
        let quota = ObjectQuota { entries: (quota.entries / share).max(1), bytes: quota.bytes / share };
        Pipe { duplex, quota, ends: [EndState::Unopened; 2], ways: Default::default() }
    }

    pub(crate) fn ask(&mut self, asker: &Asker, operation: Operation, context: &mut Context) -> Step {
        match operation {
            Operation::OpenEnd(end) => Step::Answer(self.open(end, asker.participant)),
            Operation::CloseEnd(end) => Step::Answer(self.close_own(end, asker.participant, context)),
            Operation::Send(end, message) => {
                if let Err(error) = self.check_sender(end, asker.participant) {
                    return Step::Answer(Err(error));
                }
                self.ways[index(other(end))].send(message, &self.quota, asker, context)
            }
            Operation::Recv { end, at_most } => {
                if let Err(error) = self.check_receiver(end, asker.participant) {
                    return Step::Answer(Err(error));
                }
                let is_over = self.is_closed(other(end));
                self.ways[index(end)].receive(at_most, is_over, &self.quota, context)
            }
            Operation::Poll(end) => match self.can_receive(end, asker.participant) {
                Ok(false) => {
                    self.poll(end, context.id(), Poller::One);
                    Step::Wait
                }
                Ok(true) => Step::Answer(Ok(Reply::Bool(true))),
                Err(error) => Step::Answer(Err(error)),
            },
            _ => Step::Answer(Err(wrong_kind("a pipe"))),
        }
    }

    fn is_closed(&self, end: PipeEnd) -> bool {
        self.ends[index(end)] == EndState::Closed
    }

    fn check_own(&self, end: PipeEnd, participant: ParticipantId) -> Result<(), ObjectError> {
        match self.ends[index(end)] {
            EndState::Open(owner) if owner == participant => Ok(()),
            EndState::Open(_) => Err(ObjectError::NotHolder),
            EndState::Unopened | EndState::Closed => Err(ObjectError::Closed),
        }
    }

    fn check_sender(&self, end: PipeEnd, participant: ParticipantId) -> Result<(), ObjectError> {
        self.check_own(end, participant)?;
        if !self.duplex && end == PipeEnd::First {
            return Err(ObjectError::NotWritable);
        }
        if self.is_closed(other(end)) {
            return Err(ObjectError::ClosedByPeer);
        }
        Ok(())
    }

    fn check_receiver(&self, end: PipeEnd, participant: ParticipantId) -> Result<(), ObjectError> {
        self.check_own(end, participant)?;
        if !self.duplex && end == PipeEnd::Second {
            return Err(ObjectError::NotReadable);
        }
        Ok(())
    }

    /// Returns true if this participant would not have to wait for a message, or for the end.
    pub(crate) fn can_receive(&self, end: PipeEnd, participant: ParticipantId) -> Result<bool, ObjectError> {
        self.check_receiver(end, participant)?;
        Ok(!self.ways[index(end)].messages.is_empty() || self.is_closed(other(end)))
    }

    /// Lets a request wait until a message can be received.
    pub(crate) fn poll(&mut self, end: PipeEnd, id: WaitId, poller: Poller) {
        self.ways[index(end)].pollers.push(id, poller);
    }

    fn open(&mut self, end: PipeEnd, participant: ParticipantId) -> Answer {
        match self.ends[index(end)] {
            EndState::Closed => Err(ObjectError::Closed),
            EndState::Open(owner) if owner != participant => Err(ObjectError::NotHolder),
            EndState::Open(_) | EndState::Unopened => {
                self.ends[index(end)] = EndState::Open(participant);
                Ok(Reply::Done)
            }
        }
    }

    fn close_own(&mut self, end: PipeEnd, participant: ParticipantId, context: &mut Context) -> Answer {
        // To close twice is nothing.
        if !self.is_closed(end) {
            self.check_own(end, participant)?;
            self.close(end, context);
        }
        Ok(Reply::Done)
    }

    fn close(&mut self, end: PipeEnd, context: &mut Context) {
        self.ends[index(end)] = EndState::Closed;
        // Nobody receives here any more.
        let way = &mut self.ways[index(end)];
        way.messages = VecDeque::new();
        way.usage = Usage::default();
        way.end_senders(ObjectError::ClosedByPeer, context);
        way.end_receivers(ObjectError::Closed, context);
        // Nothing is sent from here any more.
        let way = &mut self.ways[index(other(end))];
        way.end_senders(ObjectError::Closed, context);
        if way.messages.is_empty() {
            way.end_receivers(ObjectError::Eof, context);
        }
    }

    pub(crate) fn timed_out(&mut self, id: WaitId, context: &mut Context) -> Step {
        for way in &mut self.ways {
            if way.senders.remove(id).is_some() {
                // A shorter message behind it may fit.
                way.serve(&self.quota, context);
                return Step::Answer(Err(ObjectError::Full));
            }
            if let Some(poller) = way.pollers.remove(id) {
                return Step::Answer(Ok(poller.timed_out()));
            }
            way.receivers.remove(id);
        }
        Step::Answer(Err(ObjectError::Timeout))
    }

    /// Forgets a request that nobody waits for any more. Whoever waited here has opened this end, which closes now.
    pub(crate) fn dropped(&mut self, id: WaitId) {
        for way in &mut self.ways {
            way.receivers.remove(id);
            way.pollers.remove(id);
            way.senders.remove(id);
        }
    }

    /// Closes the ends that the participant's item opened.
    pub(crate) fn ended(&mut self, ending: &Ending, context: &mut Context) {
        for end in [PipeEnd::First, PipeEnd::Second] {
            if self.ends[index(end)] == EndState::Open(ending.participant) {
                self.close(end, context);
            }
        }
    }
}

impl Way {
    fn send(&mut self, message: Vec<u8>, quota: &ObjectQuota, asker: &Asker, context: &mut Context) -> Step {
        if let Err(error) = Usage::default().changed(None, Some(message.len())).within(quota) {
            return Step::Answer(Err(error));
        }
        if !self.senders.is_empty() || !self.has_room_for(&message, quota) {
            let bytes = message.len() as u64;
            if bytes > asker.bytes_that_may_wait {
                return Step::Answer(Err(ObjectError::Quota("bytes of the messages that wait to be sent".to_owned())));
            }
            self.senders.push(context.id(), message);
            return Step::WaitHolding(bytes);
        }
        self.push(message);
        self.serve(quota, context);
        Step::Answer(Ok(Reply::Done))
    }

    fn has_room_for(&self, message: &[u8], quota: &ObjectQuota) -> bool {
        self.usage.changed(None, Some(message.len())).within(quota).is_ok()
    }

    fn push(&mut self, message: Vec<u8>) {
        self.usage.add(message.len());
        self.messages.push_back(message);
    }

    /// Receives a message. `is_over` says that the other end is closed.
    fn receive(&mut self, at_most: Option<u64>, is_over: bool, quota: &ObjectQuota, context: &mut Context) -> Step {
        if self.messages.is_empty() {
            if is_over {
                return Step::Answer(Err(ObjectError::Eof));
            }
            self.receivers.push(context.id(), at_most);
            return Step::Wait;
        }
        let answer = self.pop(at_most);
        self.serve(quota, context);
        Step::Answer(answer)
    }

    /// Takes the first message, unless it is too long. There is one.
    fn pop(&mut self, at_most: Option<u64>) -> Answer {
        let length = self.messages.front().map_or(0, Vec::len);
        if at_most.is_some_and(|at_most| length as u64 > at_most) {
            return Err(ObjectError::TooLong(length as u64));
        }
        self.usage.remove(length);
        Ok(Reply::Bytes(self.messages.pop_front().unwrap_or_default()))
    }

    /// Gives everybody who waits what there is by now.
    fn serve(&mut self, quota: &ObjectQuota, context: &mut Context) {
        loop {
            if let Some((_, message)) = self.senders.first()
                && self.has_room_for(message, quota)
            {
                if let Some((id, message)) = self.senders.pop() {
                    self.push(message);
                    context.answer(id, Ok(Reply::Done));
                }
            } else if !self.messages.is_empty()
                && let Some((id, at_most)) = self.receivers.pop()
            {
                let answer = self.pop(at_most);
                context.answer(id, answer);
            } else {
                break;
            }
        }
        if !self.messages.is_empty() {
            while let Some((id, poller)) = self.pollers.pop() {
                context.answer(id, Ok(poller.ready()));
            }
        }
    }

    fn end_senders(&mut self, error: ObjectError, context: &mut Context) {
        while let Some((id, _)) = self.senders.pop() {
            context.answer(id, Err(error.clone()));
        }
    }

    /// Answers those who wait for a message that does not come.
    fn end_receivers(&mut self, error: ObjectError, context: &mut Context) {
        while let Some((id, _)) = self.receivers.pop() {
            context.answer(id, Err(error.clone()));
        }
        while let Some((id, poller)) = self.pollers.pop() {
            let answer = if error == ObjectError::Eof { Ok(poller.ready()) } else { Err(error.clone()) };
            context.answer(id, answer);
        }
    }
}
