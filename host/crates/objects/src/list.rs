//! Lists.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use wasmpool_core::share::ObjectQuota;

use crate::operation::{Answer, ObjectError, Operation, Reply};
use crate::usage::{Usage, page};

/// Elements in a ring: to push and pop at either end takes the same time however long the list is. To insert or remove in
/// the middle moves the shorter side, by 24 bytes an element.
#[derive(Clone, Debug, Default)]
pub struct List {
    elements: VecDeque<Vec<u8>>,
    usage: Usage,
    /// Room that is reserved for elements that are appended without asking.
    pub(crate) lent: Usage,
}

impl List {
    /// Does what is asked, or refuses it without any change.
    pub fn apply(&mut self, operation: Operation, quota: &ObjectQuota) -> Answer {
        Ok(match operation {
            Operation::ListGet(index) => {
                let at = self.at(index)?;
                Reply::Bytes(self.elements.get(at).cloned().unwrap_or_default())
            }
            Operation::ListSet(index, value) => {
                let at = self.at(index)?;
                self.set(at, value, quota)?;
                Reply::Done
            }
            Operation::ListCompareAndSet { index, expected, value } => {
                let at = self.at(index)?;
                let same = self.elements.get(at).is_some_and(|element| *element == expected);
                if same {
                    self.set(at, value, quota)?;
                }
                Reply::Bool(same)
            }
            Operation::ListExtend(values) => {
                let mut usage = self.usage;
                values.iter().for_each(|value| usage.add(value.len()));
                self.usage = usage.within_beside(self.lent, quota)?;
                self.elements.extend(values);
                Reply::Done
            }
            Operation::ListInsert(index, value) => {
                self.usage = self.usage.changed(None, Some(value.len())).within_beside(self.lent, quota)?;
                self.elements.insert(self.place(index), value);
                Reply::Done
            }
            Operation::ListPop(index) => {
                if self.elements.is_empty() {
                    return Err(ObjectError::Empty);
                }
                let at = self.at(index)?;
                let element = self.elements.remove(at).unwrap_or_default();
                self.usage.remove(element.len());
                // The memory of elements that are gone would otherwise stay for as long as the list lives.
                if self.elements.capacity() / 4 > self.elements.len() + 16 {
                    self.elements.shrink_to(self.elements.len() * 2);
                }
                Reply::Bytes(element)
            }
            Operation::ListRange { start, most } => {
                let start = usize::try_from(start).unwrap_or(usize::MAX).min(self.elements.len());
                let found = page(self.elements.range(start..), most, |element| element.len());
                Reply::Many(found.into_iter().cloned().collect())
            }
            Operation::Length => Reply::Number(self.usage.entries),
            Operation::Empty => {
                *self = List { lent: self.lent, ..List::default() };
                Reply::Done
            }
            _ => return Err(ObjectError::Invalid("a list has no such operation".into())),
        })
    }

    /// Appends an element for which there is room.
    pub(crate) fn push_reserved(&mut self, value: Vec<u8>) {
        self.usage.add(value.len());
        self.elements.push_back(value);
    }

    pub fn usage(&self) -> Usage {
        self.usage
    }

    pub fn elements(&self) -> impl Iterator<Item = &[u8]> {
        self.elements.iter().map(Vec::as_slice)
    }

    /// Returns the place of an element; a negative index counts from the end.
    fn at(&self, index: i64) -> Result<usize, ObjectError> {
        let length = self.elements.len();
        let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        let at = if index < 0 { length.checked_sub(distance) } else { Some(distance) };
        at.filter(|at| *at < length)
            .ok_or_else(|| ObjectError::OutOfRange(format!("index {index} of a list of length {length}")))
    }

    /// Returns the place at which to insert. As in Python, an index beyond an end means that end.
    fn place(&self, index: i64) -> usize {
        let length = self.elements.len();
        let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        if index < 0 { length.saturating_sub(distance) } else { distance.min(length) }
    }

    fn set(&mut self, at: usize, value: Vec<u8>, quota: &ObjectQuota) -> Result<(), ObjectError> {
        if let Some(element) = self.elements.get_mut(at) {
            self.usage = self.usage.changed(Some(element.len()), Some(value.len())).within_beside(self.lent, quota)?;
            *element = value;
        }
        Ok(())
    }
}
