//! A line of those who wait, first come, first served.

use std::collections::BTreeMap;

use crate::waits::WaitId;

/// Waits in the order in which they came to this line, each with what it waits for. Every step costs the logarithm of
/// the line's length, also to leave from the middle.
#[derive(Clone, Debug)]
pub(crate) struct Line<T> {
    next: u64,
    order: BTreeMap<u64, (WaitId, T)>,
    places: BTreeMap<WaitId, u64>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Line { next: 0, order: BTreeMap::new(), places: BTreeMap::new() }
    }
}

impl<T> Line<T> {
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn push(&mut self, id: WaitId, wait: T) {
        self.order.insert(self.next, (id, wait));
        self.places.insert(id, self.next);
        self.next += 1;
    }

    pub(crate) fn first(&self) -> Option<(WaitId, &T)> {
        self.order.first_key_value().map(|(_, (id, wait))| (*id, wait))
    }

    pub(crate) fn pop(&mut self) -> Option<(WaitId, T)> {
        let (_, (id, wait)) = self.order.pop_first()?;
        self.places.remove(&id);
        Some((id, wait))
    }

    /// Takes a wait out of the line, wherever it is.
    pub(crate) fn remove(&mut self, id: WaitId) -> Option<T> {
        let place = self.places.remove(&id)?;
        self.order.remove(&place).map(|(_, wait)| wait)
    }
}
