//! `wasi:keyvalue` over shared dicts: a bucket is a granted dict of that name, so that components written for other hosts run
//! unchanged.

use std::collections::VecDeque;

use wasmtime::component::{HasSelf, Linker, Resource};

use super::state::StoreState;
use wasmpool_objects::operation::{Operation, Reply};
use wasmpool_shared::{InstanceObjects, ObjectKind, ObjectRefusal, Refusal};

mod generated {
    wasmtime::component::bindgen!({
        path: "../../../wit/wasi/keyvalue.wit",
        world: "wasi:keyvalue/imports",
        imports: { default: trappable },
        trappable_error_type: { "wasi:keyvalue/store.error" => super::StoreRefusal },
    });
}

use generated::wasi::keyvalue::{atomics, batch, store};
use store::{Bucket, Error, KeyResponse};

/// The version whose interfaces are provided.
const VERSION: &str = "0.2.0-draft";

/// Returns true if this is an interface of `wasi:keyvalue`, in the version that is provided.
pub fn provides(interface: &str) -> bool {
    let name = interface.strip_prefix("wasi:keyvalue/").and_then(|name| name.split_once('@'));
    matches!(name, Some(("store" | "atomics" | "batch", VERSION)))
}

/// Defines the interface.
pub fn link(linker: &mut Linker<StoreState>, interface: &str) -> wasmtime::Result<()> {
    type Has = HasSelf<StoreState>;
    match super::link::unversioned(interface) {
        "wasi:keyvalue/store" => store::add_to_linker::<_, Has>(linker, |state| state),
        "wasi:keyvalue/atomics" => atomics::add_to_linker::<_, Has>(linker, |state| state),
        _ => batch::add_to_linker::<_, Has>(linker, |state| state),
    }
}

/// Why an operation did not succeed.
pub enum StoreRefusal {
    /// The guest gets this error.
    Told(Error),
    /// The guest ends.
    Ends(wasmtime::Error),
}

impl From<Refusal> for StoreRefusal {
    fn from(refusal: Refusal) -> StoreRefusal {
        match refusal {
            Refusal::Told(ObjectRefusal::NotGranted(_)) => StoreRefusal::Told(Error::NoSuchStore),
            Refusal::Told(ObjectRefusal::Denied(_)) => StoreRefusal::Told(Error::AccessDenied),
            Refusal::Told(ObjectRefusal::Quota(why) | ObjectRefusal::WrongKind(why) | ObjectRefusal::Invalid(why)) => {
                StoreRefusal::Told(Error::Other(why))
            }
            Refusal::Told(other) => StoreRefusal::Told(Error::Other(other.to_string())),
            Refusal::Ends(error) => StoreRefusal::Ends(error),
        }
    }
}

/// Places in lists of keys that a guest may continue from. Only the last ones are kept.
#[derive(Default)]
pub struct KeyCursors {
    /// Number of the first of them.
    first: u64,
    after: VecDeque<String>,
}

/// Maximum number of places that are kept.
const MOST_CURSORS: usize = 64;
/// Number of keys that are listed at a time.
const KEYS: u32 = 1000;

impl KeyCursors {
    fn add(&mut self, after: String) -> u64 {
        if self.after.len() == MOST_CURSORS {
            self.after.pop_front();
            self.first += 1;
        }
        self.after.push_back(after);
        self.first + self.after.len() as u64 - 1
    }

    fn get(&self, cursor: u64) -> Option<String> {
        let index = cursor.checked_sub(self.first)?;
        self.after.get(usize::try_from(index).ok()?).cloned()
    }
}

fn told(why: &str) -> StoreRefusal {
    StoreRefusal::Told(Error::Other(why.to_owned()))
}

/// Returns the error of an answer that has another form than the operation's.
fn unexpected(reply: &Reply) -> StoreRefusal {
    StoreRefusal::Ends(wasmtime::Error::msg(format!("the process that keeps the shared objects answered {reply:?}")))
}

fn get(objects: &mut InstanceObjects, bucket: u32, key: String) -> Result<Option<Vec<u8>>, StoreRefusal> {
    match objects.ask(bucket, Operation::DictGet(key), None)? {
        Reply::Entry(entry) => Ok(entry.map(|(value, _)| value)),
        other => Err(unexpected(&other)),
    }
}

/// Returns the number that a value is, if it is a negative one.
fn negative(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok().filter(|number| *number < 0)
}

fn increment(objects: &mut InstanceObjects, bucket: u32, key: String, by: i64) -> Result<i64, StoreRefusal> {
    match objects.ask(bucket, Operation::DictIncrement(key, by), None)? {
        Reply::Signed(sum) => Ok(sum),
        other => Err(unexpected(&other)),
    }
}

impl store::Host for StoreState {
    fn open(&mut self, identifier: String) -> Result<Resource<Bucket>, StoreRefusal> {
        Ok(self.objects().open(&identifier, ObjectKind::Dict).map(Resource::new_own)?)
    }

    fn convert_error(&mut self, refusal: StoreRefusal) -> wasmtime::Result<Error> {
        match refusal {
            StoreRefusal::Told(error) => Ok(error),
            StoreRefusal::Ends(error) => Err(error),
        }
    }
}

impl store::HostBucket for StoreState {
    fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Option<Vec<u8>>, StoreRefusal> {
        get(self.objects(), bucket.rep(), key)
    }

    fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Result<(), StoreRefusal> {
        self.objects().ask(bucket.rep(), Operation::DictSet(key, value), None)?;
        Ok(())
    }

    fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Result<(), StoreRefusal> {
        self.objects().ask(bucket.rep(), Operation::DictPop(key), None)?;
        Ok(())
    }

    fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Result<bool, StoreRefusal> {
        match self.objects().ask(bucket.rep(), Operation::DictContains(key), None)? {
            Reply::Bool(exists) => Ok(exists),
            other => Err(unexpected(&other)),
        }
    }

    fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Result<KeyResponse, StoreRefusal> {
        let after = match cursor {
            None => None,
            Some(cursor) => Some(self.cursors().get(cursor).ok_or_else(|| told("the cursor is unknown, or too old"))?),
        };
        match self.objects().ask(bucket.rep(), Operation::DictKeys { after, most: KEYS }, None)? {
            // Only an empty page is the end.
            Reply::Keys(keys) => {
                let last = keys.last().cloned();
                Ok(KeyResponse { cursor: last.map(|last| self.cursors().add(last)), keys })
            }
            other => Err(unexpected(&other)),
        }
    }

    fn drop(&mut self, _: Resource<Bucket>) -> wasmtime::Result<()> {
        self.objects().drop_handle()
    }
}

impl atomics::Host for StoreState {
    fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Result<u64, StoreRefusal> {
        let delta =
            i64::try_from(delta).map_err(|_| told("no more than 9223372036854775807 can be added at a time"))?;
        let (objects, bucket) = (self.objects(), bucket.rep());
        loop {
            let entry = match objects.ask(bucket, Operation::DictGet(key.clone()), None)? {
                Reply::Entry(entry) => entry,
                other => return Err(unexpected(&other)),
            };
            let negative = entry.as_ref().and_then(|(value, version)| Some((negative(value)?, *version)));
            let Some((number, version)) = negative else {
                let sum = increment(objects, bucket, key.clone(), delta)?;
                if let Ok(sum) = u64::try_from(sum) {
                    return Ok(sum);
                }
                // Another made it negative meanwhile, which shows only now.
                increment(objects, bucket, key.clone(), -delta)?;
                continue;
            };
            // An increment that cannot be told must not happen.
            let sum = number + delta;
            let told_sum = u64::try_from(sum).map_err(|_| told(&format!("the sum is {sum}, which is negative")))?;
            let value = sum.to_string().into_bytes();
            let set = Operation::DictCompareAndSet { key: key.clone(), version: Some(version), value };
            match objects.ask(bucket, set, None)? {
                Reply::MaybeNumber(Some(_)) => return Ok(told_sum),
                Reply::MaybeNumber(None) => {}
                other => return Err(unexpected(&other)),
            }
        }
    }
}

impl batch::Host for StoreState {
    fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, StoreRefusal> {
        let objects = self.objects();
        let one = |key: String| Ok(get(objects, bucket.rep(), key.clone())?.map(|value| (key, value)));
        keys.into_iter().map(one).collect()
    }

    fn set_many(&mut self, bucket: Resource<Bucket>, entries: Vec<(String, Vec<u8>)>) -> Result<(), StoreRefusal> {
        self.objects().ask(bucket.rep(), Operation::DictSetMany(entries), None)?;
        Ok(())
    }

    fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Result<(), StoreRefusal> {
        for key in keys {
            self.objects().ask(bucket.rep(), Operation::DictPop(key), None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_keys_continues_where_a_cursor_says_until_it_is_too_old() {
        let mut cursors = KeyCursors::default();
        let first = cursors.add("a".to_owned());
        assert_eq!(cursors.get(first).as_deref(), Some("a"));
        for nth in 0..MOST_CURSORS {
            let cursor = cursors.add(nth.to_string());
            assert_eq!(cursors.get(cursor), Some(nth.to_string()));
        }
        assert_eq!((cursors.get(first), cursors.get(u64::MAX)), (None, None));
    }

    #[test]
    fn only_the_version_with_these_types_is_provided() {
        assert!(provides("wasi:keyvalue/store@0.2.0-draft") && provides("wasi:keyvalue/batch@0.2.0-draft"));
        assert!(!provides("wasi:keyvalue/store@0.2.0-draft2") && !provides("wasi:keyvalue/watcher@0.2.0-draft"));
    }
}
