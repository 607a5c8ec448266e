//! Shared objects that the manager process of the run keeps, over a channel.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use super::objects::{Lost, Objects};
use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_ipc::channel::words::NUMBERS;
use wasmpool_objects::operation::{Answer, ObjectError, Operation, Reply, Request};
use wasmpool_objects::wire::{self, Frame, ManagerFrame};

/// A worker has one request under way at a time.
const TICKET: u32 = 0;

/// Bytes of messages that are returned at once, as the manager bounds them.
const PAGE: usize = 1 << 20;

/// The way to the manager process.
#[derive(Debug)]
pub struct RemoteObjects {
    channel: ChannelClient,
    /// Messages that were sent ahead, by the numbers of their queues.
    ahead: BTreeMap<u16, Ahead>,
    /// Number of the item.
    item: u64,
}

/// Messages of a queue that can be taken without asking.
#[derive(Debug, Default)]
struct Ahead {
    /// Number of the first of them.
    first: u32,
    messages: VecDeque<Vec<u8>>,
}

impl Ahead {
    fn end(&self) -> u32 {
        (self.first + self.messages.len() as u32) % NUMBERS
    }

    fn pop(&mut self) -> Option<(u32, Vec<u8>)> {
        let message = self.messages.pop_front()?;
        let number = self.first;
        self.first = (number + 1) % NUMBERS;
        Some((number, message))
    }

    fn clear(&mut self) {
        self.first = self.end();
        self.messages.clear();
    }
}

/// Nothing here distinguishes between ends of a manager.
impl From<io::Error> for Lost {
    fn from(_: io::Error) -> Lost {
        Lost
    }
}

impl RemoteObjects {
    pub fn new(channel: ChannelClient) -> RemoteObjects {
        RemoteObjects { channel, ahead: BTreeMap::new(), item: 0 }
    }

    fn send(&mut self, frame: &Frame<'_>, wake: bool) -> Result<(), Lost> {
        Ok(self.channel.send(&frame.parts(), wake)?)
    }

    /// Waits for the answer to the request. Keeps messages that come ahead.
    fn answer(&mut self) -> Result<Answer, Lost> {
        loop {
            let frame = self.channel.recv()?;
            // A manager whose frames cannot be read is as good as gone.
            match ManagerFrame::decode(frame).map_err(|_| Lost)? {
                ManagerFrame::Answer { ticket: TICKET, answer } => return Ok(answer),
                ManagerFrame::Answer { .. } => return Err(Lost),
                ManagerFrame::Ahead { object, messages } => self.keep(object, messages),
            }
        }
    }

    fn keep(&mut self, object: u16, messages: Vec<Vec<u8>>) {
        self.ahead.entry(object).or_default().messages.extend(messages);
    }

    /// Returns true if the next message that was sent ahead can be returned with others of so many bytes.
    fn fits(&self, object: u16, bytes: usize) -> bool {
        let next = self.ahead.get(&object).and_then(|ahead| ahead.messages.front());
        bytes == 0 || next.is_some_and(|next| bytes + next.len() <= PAGE)
    }

    /// Takes a message that was sent ahead, if there is one.
    fn take_ahead(&mut self, object: u16) -> Result<Option<Vec<u8>>, Lost> {
        let Some(ahead) = self.ahead.get_mut(&object) else {
            return Ok(None);
        };
        while let Some((number, message)) = ahead.pop() {
            if self.channel.take_ahead(object, number)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

impl Objects for RemoteObjects {
    fn ask(&mut self, request: Request) -> Result<Answer, Lost> {
        self.send(&wire::ask(TICKET, &request), true)?;
        self.answer()
    }

    fn put(&mut self, object: u16, message: &[u8], timeout: Option<Duration>) -> Result<Answer, Lost> {
        let frame = wire::put_on_credit(object, message);
        if self.channel.send_on_credit(object, message.len() as u64, &frame.parts())? {
            return Ok(Ok(Reply::Done));
        }
        self.send(&wire::ask_to_put(TICKET, object, message, timeout), true)?;
        self.answer()
    }

    fn get(&mut self, object: u16, timeout: Option<Duration>) -> Result<Result<Vec<u8>, ObjectError>, Lost> {
        if let Some(message) = self.take_ahead(object)? {
            return Ok(Ok(message));
        }
        match self.ask(Request { object, operation: Operation::Get { most: 1 }, timeout })? {
            Ok(Reply::Many(messages)) => messages.into_iter().next().map(Ok).ok_or(Lost),
            Ok(Reply::Bytes(message)) => Ok(Ok(message)),
            Ok(_) => Err(Lost),
            Err(error) => Ok(Err(error)),
        }
    }

    fn get_many(&mut self, object: u16, most: u32, timeout: Option<Duration>) -> Result<Answer, Lost> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        // Those that are here already are the first of the queue.
        while messages.len() < most as usize && self.fits(object, bytes) {
            let Some(message) = self.take_ahead(object)? else { break };
            bytes += message.len();
            messages.push(message);
        }
        if !messages.is_empty() {
            return Ok(Ok(Reply::Many(messages)));
        }
        self.ask(Request { object, operation: Operation::Get { most }, timeout })
    }

    fn item_began(&mut self, item: u64) -> Result<(), Lost> {
        self.send(&wire::item_began(item), false)
    }

    fn item_ended(&mut self, failed: bool) -> Result<(), Lost> {
        // The next item must not take in the name of this one.
        for (object, ahead) in &mut self.ahead {
            ahead.clear();
            self.channel.words(*object).ahead.give_back();
        }
        self.item += 1;
        self.send(&wire::item_ended(self.item, failed), true)
    }
}
