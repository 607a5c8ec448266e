//! The messages of a queue that wait, in their order.

use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Place in the order in which messages were put.
    pub(super) number: u64,
    pub(super) body: Vec<u8>,
    /// True if somebody took it and ended without finishing it.
    pub(super) redelivered: bool,
}

/// Messages that wait. The one with the lowest number is first.
#[derive(Debug, Default)]
pub(super) struct Store {
    next: u64,
    ready: VecDeque<Message>,
    /// Those that were taken and came back, possibly one after the other and in another order.
    returned: BTreeMap<u64, Message>,
}

/// Number of messages for which memory is kept.
const KEPT: usize = 1024;

impl Store {
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.returned.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.returned.is_empty()
    }

    pub(super) fn push(&mut self, body: Vec<u8>) {
        self.ready.push_back(Message { number: self.next, body, redelivered: false });
        self.next += 1;
    }

    pub(super) fn first(&self) -> Option<&Message> {
        match (self.returned.values().next(), self.ready.front()) {
            (Some(returned), Some(ready)) if ready.number < returned.number => Some(ready),
            (Some(returned), _) => Some(returned),
            (None, ready) => ready,
        }
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let number = self.first()?.number;
        if let Some(returned) = self.returned.remove(&number) {
            return Some(returned);
        }
        let message = self.ready.pop_front();
        // A burst of messages must not hold its memory for ever.
        if self.ready.capacity() > KEPT && self.ready.len() < self.ready.capacity() / 4 {
            self.ready.shrink_to(self.ready.capacity() / 2);
        }
        message
    }

    /// Puts back what was popped. Of several messages, the last one comes back first.
    pub(super) fn put_back(&mut self, message: Message) {
        match message.redelivered {
            true => drop(self.returned.insert(message.number, message)),
            false => self.ready.push_front(message),
        }
    }

    /// Removes all messages, and returns them.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Message> + use<> {
        std::mem::take(&mut self.returned).into_values().chain(std::mem::take(&mut self.ready))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.returned.values().chain(&self.ready)
    }
}
