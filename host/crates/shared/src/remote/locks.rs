//! Locks that are lent to this worker: while nobody else wants them, its item acquires and releases them without asking.

use std::collections::BTreeMap;

use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_ipc::channel::lock_word::Released;

/// What the item has of the locks that are, or were, lent to it.
#[derive(Debug, Default)]
pub struct LentLocks(BTreeMap<u16, LentLock>);

#[derive(Debug, Default)]
struct LentLock {
    /// How often the item has acquired it and not released it. The manager knows of one level at most.
    levels: u32,
    /// True if it may be acquired again by its holder.
    nests: bool,
}

impl LentLocks {
    /// Acquires a lock, if that can be had without asking.
    pub fn acquire(&mut self, object: u16, channel: &ChannelClient) -> bool {
        let Some(lock) = self.0.get_mut(&object) else { return false };
        if lock.levels > 0 {
            let again = lock.levels.checked_add(1).filter(|_| lock.nests);
            lock.levels = again.unwrap_or(lock.levels);
            return again.is_some();
        }
        let acquired = channel.words(object).lock.acquire();
        lock.levels = acquired.into();
        acquired
    }

    /// Takes note that the manager gave something to the item, which may be a lock that it lends.
    pub fn acquired(&mut self, object: u16, channel: &ChannelClient) {
        let word = &channel.words(object).lock;
        if word.is_held() {
            self.0.insert(object, LentLock { levels: 1, nests: word.nests() });
        }
    }

    /// Releases a lock that the item has acquired as one that is lent. Returns `None` if there is none, and whether the
    /// manager has to be told.
    pub fn release(&mut self, object: u16, channel: &ChannelClient) -> Option<bool> {
        let lock = self.0.get_mut(&object).filter(|lock| lock.levels > 0)?;
        lock.levels -= 1;
        if lock.levels > 0 {
            return Some(false);
        }
        match channel.words(object).lock.release() {
            Released::Released => Some(false),
            Released::ReleasedAndWanted => Some(true),
            Released::NotHeld => None,
        }
    }

    /// Gives back all locks that are free, since the next item must not acquire them in the name of this one. What this
    /// one holds is the manager's to release.
    pub fn give_back(&mut self, channel: &ChannelClient) {
        for object in std::mem::take(&mut self.0).into_keys() {
            channel.words(object).lock.give_back();
        }
    }
}
