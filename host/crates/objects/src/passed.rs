//! How many bytes an operation passes, and an answer tells: what a request costs before it is sent, and an answer once it
//! is made.

use wasmpool_core::share::ObjectQuota;

use crate::operation::{ObjectError, Operation, Reply};
use crate::usage::Usage;

/// Bytes of a request besides the entries that it passes, at most: its kind, its numbers, and the ends of pipes.
const HEAD: u64 = 48 << 10;

impl Operation {
    /// Returns the number of entries that it passes, if there can be several, and of all their bytes, with keys.
    pub fn passes(&self) -> Usage {
        let (entries, bytes) = match self {
            Operation::Put(message) | Operation::Send(_, message) => (0, message.len()),
            Operation::DictGet(key)
            | Operation::DictPop(key)
            | Operation::DictContains(key)
            | Operation::DictIncrement(key, _)
            | Operation::DictPage { after: Some(key), .. }
            | Operation::DictKeys { after: Some(key), .. } => (0, key.len()),
            Operation::DictSet(key, value) | Operation::DictCompareAndSet { key, value, .. } => {
                (0, key.len() + value.len())
            }
            Operation::DictSetMany(entries) => {
                (entries.len(), entries.iter().map(|(key, value)| key.len() + value.len()).sum())
            }
            Operation::ListSet(_, value) | Operation::ListInsert(_, value) | Operation::Numbers(value) => {
                (0, value.len())
            }
            Operation::ListCompareAndSet { expected, value, .. } => (0, expected.len() + value.len()),
            Operation::ListExtend(values) => (values.len(), values.iter().map(Vec::len).sum()),
            _ => (0, 0),
        };
        Usage { entries: entries as u64, bytes: bytes as u64 }
    }

    /// Refuses an operation that passes more parts than one request may have, or whose request would be longer than any to
    /// an object with this quota can be: nothing of it could ever fit.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Quota`]. A participant has to check this before it asks: the manager takes such a request for a
    /// violation.
    pub fn check(&self, quota: &ObjectQuota) -> Result<(), ObjectError> {
        self.check_parts()?;
        let passes = self.passes();
        let of_entries = passes.entries.saturating_mul(ObjectQuota::PER_ENTRY);
        let length = passes.bytes.saturating_add(of_entries).saturating_add(HEAD);
        let most = quota.longest_request();
        if length <= most {
            return Ok(());
        }
        passes.within(quota)?;
        // Several values are within the quota each, or it is more than the longest frame.
        Err(ObjectError::Quota(format!("a request of {length} bytes is longer than any can be: {most}")))
    }

    /// Returns true for operations whose answers tell what is in an object, and that may be long.
    pub fn tells(&self) -> bool {
        matches!(
            self,
            Operation::Get { .. }
                | Operation::Take
                | Operation::Recv { .. }
                | Operation::DictGet(_)
                | Operation::DictPop(_)
                | Operation::DictPage { .. }
                | Operation::DictKeys { .. }
                | Operation::ListGet(_)
                | Operation::ListPop(_)
                | Operation::ListRange { .. }
        )
    }
}

impl Reply {
    /// Returns the number of bytes that it tells.
    pub fn bytes(&self) -> usize {
        match self {
            Reply::Bytes(bytes) | Reply::Delivery { item: bytes, .. } => bytes.len(),
            Reply::Many(many) => many.iter().map(Vec::len).sum(),
            Reply::Entry(Some((bytes, _))) | Reply::MaybeBytes(Some(bytes)) => bytes.len(),
            Reply::Page(page) => page.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Reply::Keys(keys) => keys.iter().map(String::len).sum(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{MOST_PARTS, PipeEnd, Request};
    use crate::wire;

    fn length(operation: Operation) -> u64 {
        wire::ask(0, &Request { object: 0, operation, timeout: Some(std::time::Duration::MAX) }).len() as u64
    }

    #[test]
    fn what_fits_an_object_is_within_the_longest_request_and_what_is_longer_is_refused() {
        for (entries, bytes) in [(0, 0), (1, 1000), (20_000, 0), (20_000, 1 << 20)] {
            let quota = ObjectQuota { entries, bytes };
            for of in [0_usize, 10, 1000, 60_000, 200_000, 1 << 20, 2 << 20] {
                let (text, long) = ("k".repeat(of), vec![0; of]);
                let count = (of / 10).min(MOST_PARTS);
                let several = vec![long.get(..10).unwrap_or_default().to_vec(); count];
                for operation in [
                    Operation::Put(long.clone()),
                    Operation::Send(PipeEnd::First, long.clone()),
                    Operation::DictGet(text.clone()),
                    Operation::DictPop(text.clone()),
                    Operation::DictContains(text.clone()),
                    Operation::DictIncrement(text.clone(), 1),
                    Operation::DictSet(text.clone(), long.clone()),
                    Operation::DictSetMany(several.iter().map(|value| (String::new(), value.clone())).collect()),
                    Operation::DictSetMany(vec![(text.clone(), long.clone())]),
                    Operation::DictCompareAndSet { key: text.clone(), version: Some(1), value: long.clone() },
                    Operation::DictPage { after: Some(text.clone()), most: 1 },
                    Operation::DictKeys { after: Some(text.clone()), most: 1 },
                    Operation::ListSet(0, long.clone()),
                    Operation::ListInsert(0, long.clone()),
                    Operation::ListCompareAndSet { index: 0, expected: long.clone(), value: long.clone() },
                    Operation::ListExtend(several.clone()),
                    Operation::ListExtend(vec![long.clone()]),
                    Operation::PollAny(vec![(0, PipeEnd::First); count]),
                ] {
                    let passes = operation.passes();
                    let checked = operation.check(&quota);
                    match &checked {
                        Ok(()) => assert!(length(operation) <= quota.longest_request(), "{quota:?} {passes:?}"),
                        Err(error) => {
                            assert!(matches!(error, ObjectError::Quota(_)));
                            assert!(passes.within(&quota).is_err(), "{quota:?} {passes:?}");
                        }
                    }
                }
            }
        }
    }

    /// A frame says its length in 32 bits, and an answer is somewhat longer than the request that brought the message.
    #[test]
    fn no_request_is_longer_than_a_frame_can_be_whatever_the_quota() {
        let most = ObjectQuota { entries: u64::MAX, bytes: u64::MAX }.longest_request();
        assert!(most + (1 << 16) <= u64::from(u32::MAX));
    }
}
