//! Shared objects that the manager process of the run keeps, over a channel.
//!
//! Much is done without asking: messages, elements of lists and entries of dicts are put on credit, messages are taken
//! that were sent ahead, locks are acquired while they are lent ([`locks`]), and entries of dicts are remembered ([`copies`]).

mod copies;
mod locks;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::objects::{Lost, Objects};
use copies::Copies;
use locks::LentLocks;
use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_ipc::channel::words::NUMBERS;
use wasmpool_objects::operation::{Acquisition, Answer, ObjectError, Operation, Reply, Request};
use wasmpool_objects::wire::{self, Frame, ManagerFrame};

/// A worker has one request under way at a time.
const TICKET: u32 = 0;

/// Bytes of messages that are returned at once, as the manager bounds them.
const PAGE: usize = 1 << 20;

/// The way to the manager process.
#[derive(Debug)]
pub struct RemoteObjects {
    channel: ChannelClient,
    /// True if the objects are on another machine, and everything is asked for.
    asks_all: bool,
    /// Messages that were sent ahead, by the numbers of their queues.
    ahead: BTreeMap<u16, Ahead>,
    locks: LentLocks,
    /// What is remembered of dicts, by their numbers.
    copies: BTreeMap<u16, Copies>,
    /// Number of the item.
    item: u64,
    /// Where the host finds for which object the item waits.
    asks: &'static AtomicU32,
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
    /// Takes the channel. With `asks_all`, nothing is done without asking: the other side of the channel passes on what it
    /// reads, and knows no words of objects.
    pub fn new(channel: ChannelClient, asks_all: bool, asks: &'static AtomicU32) -> RemoteObjects {
        let (ahead, locks, copies) = (BTreeMap::new(), LentLocks::default(), BTreeMap::new());
        RemoteObjects { channel, asks_all, ahead, locks, copies, item: 0, asks }
    }

    fn send(&mut self, frame: &Frame<'_>, wake: bool) -> Result<(), Lost> {
        Ok(self.channel.send(&frame.parts(), wake)?)
    }

    /// Waits for the answer to the request, which is about this object.
    fn answer(&mut self, object: u16) -> Result<Answer, Lost> {
        self.asks.store(u32::from(object) + 1, Ordering::Relaxed);
        let answer = self.next_answer();
        self.asks.store(0, Ordering::Relaxed);
        answer
    }

    /// Waits for the next answer. Keeps messages that come ahead.
    fn next_answer(&mut self) -> Result<Answer, Lost> {
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

impl RemoteObjects {
    /// Asks the manager, and waits for its answer.
    fn ask_manager(&mut self, request: &Request) -> Result<Answer, Lost> {
        self.send(&wire::ask(TICKET, request), true)?;
        self.answer(request.object)
    }

    fn acquire(&mut self, request: &Request) -> Result<Answer, Lost> {
        let object = request.object;
        if self.locks.acquire(object, &self.channel) {
            return Ok(Ok(Reply::Acquired(Acquisition::Acquired)));
        }
        let answer = self.ask_manager(request)?;
        if matches!(answer, Ok(Reply::Acquired(Acquisition::Acquired | Acquisition::Abandoned(_)))) {
            self.locks.acquired(object, &self.channel);
        }
        Ok(answer)
    }

    fn release(&mut self, request: &Request) -> Result<Answer, Lost> {
        let object = request.object;
        match self.locks.release(object, &self.channel) {
            Some(true) => self.send(&wire::released(object), true)?,
            Some(false) => {}
            None => return self.ask_manager(request),
        }
        Ok(Ok(Reply::Done))
    }

    /// Returns an entry of a dict.
    fn entry(&mut self, request: &Request, key: &str) -> Result<Answer, Lost> {
        let object = request.object;
        let changes = self.channel.words(object).changes.count();
        let copies = self.copies.entry(object).or_default();
        copies.look(changes);
        if let Some(copy) = copies.get(key) {
            return Ok(Ok(Reply::Entry(copy.clone())));
        }
        let answer = self.ask_manager(request)?;
        if let Ok(Reply::Entry(entry)) = &answer {
            self.remember(object, changes, key.to_owned(), entry.clone());
        }
        Ok(answer)
    }

    /// Sets an entry of a dict.
    fn set_entry(&mut self, request: Request) -> Result<Answer, Lost> {
        let Request { object, operation: Operation::DictSet(key, value), timeout } = request else {
            return Ok(Err(ObjectError::Invalid("this is not to set an entry of a dict".to_owned())));
        };
        let changes = self.channel.words(object).changes.count();
        let copies = self.copies.entry(object).or_default();
        copies.look(changes);
        if let Some(version) = copies.next_version() {
            let cost = (key.len() + value.len()) as u64;
            let is_sent =
                self.channel.send_on_credit(object, cost, &wire::set_on_credit(object, &key, &value).parts())?;
            if is_sent {
                copies.has_set(version);
                copies.keep(changes, key, Some((value, version)));
                return Ok(Ok(Reply::Number(version)));
            }
        }
        let request = Request { object, operation: Operation::DictSet(key, value), timeout };
        let answer = self.ask_manager(&request)?;
        if let (Ok(Reply::Number(version)), Operation::DictSet(key, value)) = (&answer, request.operation) {
            self.copies.entry(object).or_default().has_set(*version);
            self.remember(object, changes, key, Some((value, *version)));
        }
        Ok(answer)
    }

    /// Remembers an entry that was asked for after `changes` was read.
    fn remember(&mut self, object: u16, changes: u64, key: String, copy: copies::Remembered) {
        let now = self.channel.words(object).changes.count();
        let copies = self.copies.entry(object).or_default();
        copies.look(now);
        copies.keep(changes, key, copy);
    }

    /// Appends an element to a list.
    fn append(&mut self, request: &Request, value: &[u8]) -> Result<Answer, Lost> {
        let frame = wire::put_on_credit(request.object, value);
        if self.channel.send_on_credit(request.object, value.len() as u64, &frame.parts())? {
            return Ok(Ok(Reply::Done));
        }
        self.ask_manager(request)
    }
}

impl Objects for RemoteObjects {
    fn ask(&mut self, request: Request) -> Result<Answer, Lost> {
        if self.asks_all {
            return self.ask_manager(&request);
        }
        match &request.operation {
            Operation::Acquire => self.acquire(&request),
            Operation::Release => self.release(&request),
            Operation::DictGet(key) => self.entry(&request, key),
            Operation::DictSet(..) => self.set_entry(request),
            Operation::ListExtend(values) => match values.as_slice() {
                [value] => self.append(&request, value),
                _ => self.ask_manager(&request),
            },
            Operation::DictSetMany(_)
            | Operation::DictCompareAndSet { .. }
            | Operation::DictPop(_)
            | Operation::DictIncrement(..)
            | Operation::Empty => {
                // The manager tells of changes by others only.
                if let Some(copies) = self.copies.get_mut(&request.object) {
                    copies.forget();
                }
                self.ask_manager(&request)
            }
            _ => self.ask_manager(&request),
        }
    }

    fn put(&mut self, object: u16, message: &[u8], timeout: Option<Duration>) -> Result<Answer, Lost> {
        let frame = wire::put_on_credit(object, message);
        if !self.asks_all && self.channel.send_on_credit(object, message.len() as u64, &frame.parts())? {
            return Ok(Ok(Reply::Done));
        }
        self.send(&wire::ask_to_put(TICKET, object, message, timeout), true)?;
        self.answer(object)
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
        self.locks.give_back(&self.channel);
        self.item += 1;
        self.send(&wire::item_ended(self.item, failed), true)?;
        if self.asks_all {
            // The outcome goes another way, and must not be there before what the item held is released.
            let settle = Request { object: 0, operation: Operation::Settle, timeout: None };
            self.ask_manager(&settle)?.map_err(|_| Lost)?;
        }
        Ok(())
    }
}
