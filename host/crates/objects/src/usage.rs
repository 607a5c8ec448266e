//! What an object holds, in entries and bytes, and whether its quota has room for more.

use wasmpool_core::share::ObjectQuota;

use crate::operation::{MOST_PARTS, ObjectError};

/// Most bytes of one page or range, whatever the number of entries that was asked for. At least one entry is in it.
pub(crate) const PAGE: usize = 1 << 20;

/// Entries of an object, and the bytes of all of them together, with keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub entries: u64,
    pub bytes: u64,
}

impl Usage {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    pub(crate) fn remove(&mut self, bytes: usize) {
        self.entries -= 1;
        self.bytes -= bytes as u64;
    }

    /// Returns what is used after a change of one entry from `before` bytes to `after` bytes, either of which may be
    /// missing.
    pub(crate) fn changed(mut self, before: Option<usize>, after: Option<usize>) -> Usage {
        if let Some(before) = before {
            self.remove(before);
        }
        if let Some(after) = after {
            self.add(after);
        }
        self
    }

    /// Refuses what is more than the quota.
    pub(crate) fn within(self, quota: &ObjectQuota) -> Result<Usage, ObjectError> {
        self.within_beside(Usage::default(), quota)
    }

    /// Refuses what is more than the quota together with what is `lent`.
    pub(crate) fn within_beside(self, lent: Usage, quota: &ObjectQuota) -> Result<Usage, ObjectError> {
        if self.entries.saturating_add(lent.entries) > quota.entries {
            return Err(ObjectError::Quota(format!("it may hold {0} entries (`:entries={0}`)", quota.entries)));
        }
        if self.bytes.saturating_add(lent.bytes) > quota.bytes {
            return Err(ObjectError::Quota(format!("it may hold {0} bytes (`:bytes={0}`)", quota.bytes)));
        }
        Ok(self)
    }
}

/// Returns the room that is left beside what is used and lent.
pub(crate) fn room(used: Usage, lent: Usage, quota: &ObjectQuota) -> Usage {
    Usage {
        entries: quota.entries.saturating_sub(used.entries).saturating_sub(lent.entries),
        bytes: quota.bytes.saturating_sub(used.bytes).saturating_sub(lent.bytes),
    }
}

/// Takes entries until there are `most` or [`MOST_PARTS`], or until the next would make them longer than [`PAGE`].
pub(crate) fn page<T>(entries: impl Iterator<Item = T>, most: u32, length: impl Fn(&T) -> usize) -> Vec<T> {
    let mut page = Vec::new();
    let mut bytes = 0_usize;
    for entry in entries.take((most as usize).min(MOST_PARTS)) {
        bytes = bytes.saturating_add(length(&entry));
        if bytes > PAGE && !page.is_empty() {
            break;
        }
        page.push(entry);
    }
    page
}
