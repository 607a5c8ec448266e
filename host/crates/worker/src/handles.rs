//! What an item has left among the handles of its instance.

use std::any::Any;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::sockets::network::Network;
use wasmtime_wasi::p2::bindings::sockets::tcp::TcpSocket;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, IoError, ReaddirIterator};

use super::added;
use wasmpool_imports::deterministic::NameStream;
use wasmpool_imports::wasi::Addresses;

/// Maximum number of places that are put into order, and of handles that are dropped; with more, making an instance anew
/// costs less. They are said in as many bits.
const MOST_SLOTS: usize = 63;
const MOST_LIVE: usize = u64::BITS as usize / added::KIND_BITS as usize;

/// The handles of an instance, as far as the host knows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftHandles {
    /// Number of places that may have been used. Only these can be in another order than at first.
    pub slots: u32,
    /// Number of handles that were not dropped.
    pub live: u32,
    /// The kind of each, in the order in which they were made, the last one in the lowest bits.
    pub kinds: u64,
}

impl LeftHandles {
    /// Returns what is left of a table that was empty when the instance was made, and of which each handle of the instance
    /// has an entry, but for at most `others` at a time, which were dropped. `None` if there is too much. The table cannot be
    /// used for anything but dropping afterwards.
    pub fn of(table: Option<&mut ResourceTable>, others: u32) -> Option<LeftHandles> {
        let mut left = LeftHandles { slots: others, ..LeftHandles::default() };
        if let Some(table) = table {
            let mut entries = 0;
            for kind in table.iter_mut().map(|entry| kind(entry)) {
                entries += 1;
                // What has no kind belongs to another entry.
                if let Some(kind) = kind {
                    left.live += 1;
                    left.kinds = left.kinds << added::KIND_BITS | u64::from(kind);
                }
                if entries > MOST_SLOTS || left.live as usize > MOST_LIVE {
                    return None;
                }
            }
            // The table tells how many free entries it has only by what still fits in.
            table.set_max_capacity(0);
            while table.push(()).is_ok() {
                entries += 1;
                if entries > MOST_SLOTS {
                    return None;
                }
            }
            left.slots = left.slots.saturating_add(entries as u32);
        }
        (left.slots as usize <= MOST_SLOTS).then_some(left)
    }

    /// Returns true if there was never a handle.
    pub fn is_untouched(&self) -> bool {
        self.slots == 0
    }
}

/// Returns the kind of an entry that a guest has a handle of.
fn kind(entry: &dyn Any) -> Option<u32> {
    let name = if entry.is::<DynInputStream>() {
        "input-stream"
    } else if entry.is::<DynOutputStream>() {
        "output-stream"
    } else if entry.is::<DynPollable>() {
        "pollable"
    } else if entry.is::<IoError>() {
        "error"
    } else if entry.is::<Descriptor>() {
        "descriptor"
    } else if entry.is::<ReaddirIterator>() || entry.is::<NameStream>() {
        "directory-entry-stream"
    } else if entry.is::<Network>() {
        "network"
    } else if entry.is::<TcpSocket>() {
        "tcp-socket"
    } else if entry.is::<Addresses>() {
        "resolve-address-stream"
    } else {
        return None;
    };
    added::kind_of_handle(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an entry of a kind, and what it is.
    fn entry() -> IoError {
        IoError::msg("an error")
    }

    #[test]
    fn all_places_that_were_ever_used_are_counted() {
        let mut table = ResourceTable::new();
        let handles: Vec<_> = (0..5).map(|_| table.push(entry()).expect("room")).collect();
        let mut handles = handles.into_iter();
        table.delete(handles.next().expect("a handle")).expect("it is there");
        table.delete(handles.next().expect("a handle")).expect("it is there");
        let kind = u64::from(added::kind_of_handle("error").expect("a kind"));
        let kinds = kind << 8 | kind << 4 | kind;
        assert_eq!(LeftHandles::of(Some(&mut table), 2), Some(LeftHandles { slots: 7, live: 3, kinds }));
    }

    #[test]
    fn where_there_were_too_many_handles_no_number_is_told() {
        let mut table = ResourceTable::new();
        let many: Vec<_> = (0..=MOST_SLOTS).map(|_| table.push(entry()).expect("room")).collect();
        for handle in many {
            table.delete(handle).expect("it is there");
        }
        assert_eq!(LeftHandles::of(Some(&mut table), 0), None);
        let mut table = ResourceTable::new();
        for _ in 0..=MOST_LIVE {
            table.push(entry()).expect("room");
        }
        assert_eq!(LeftHandles::of(Some(&mut table), 0), None);
        assert_eq!(LeftHandles::of(None, MOST_SLOTS as u32 + 1), None);
    }

    #[test]
    fn without_a_handle_there_is_nothing_to_put_into_order() {
        assert!(LeftHandles::of(None, 0).expect("few").is_untouched());
        assert!(LeftHandles::of(Some(&mut ResourceTable::new()), 0).expect("few").is_untouched());
    }
}
