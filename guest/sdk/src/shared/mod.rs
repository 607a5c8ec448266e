//! Objects that tasks share: queues, pipes, values, arrays, locks, dicts and more (feature `shared`).
//!
//! The user grants each object by its name and with rights, and a task opens it by that name:
//!
//! ```no_run
//! use wasmpool_guest::shared::{Error, Queue, Value};
//!
//! /// wasmpool map --share words=queue --share bytes=value:u64 TASK …
//! fn count(item: &[u8]) -> Result<String, Error> {
//!     let sum = Value::<u64>::open("bytes")?.add(item.len() as u64)?;
//!     Queue::open("words")?.put(item, None)?;
//!     Ok(sum.to_string())
//! }
//!
//! wasmpool_guest::task!(run: count);
//! # fn main() {}
//! ```
//!
//! **Timeouts.** What waits takes `impl Into<Option<Duration>>`: `None` waits until the item's own `--timeout`,
//! [`Duration::ZERO`](std::time::Duration::ZERO) looks once and never waits, and any other is never early.
//! Who waits is served first come, first served.
//!
//! **Ends.** The holder of a lock, a slot or a delivery is the item. However it ends, by a trap or a killed process too,
//! its locks and slots are released, and its deliveries are at the front of their queues again.
//!
//! **Errors.** Every refusal is an [`Error`]. Nothing of the operation has happened then.

mod collections;
mod condition;
mod error;
mod guard;
mod json;
mod numbers;
mod pipe;
mod queue;
mod sync;
mod timeout;

pub use collections::{Dict, DictIter, List, Namespace};
pub use condition::{Condition, ConditionGuard};
pub use error::Error;
pub use guard::Guard;
pub use numbers::{Array, Number, Value};
pub use pipe::{End, PipeEnd, wait};
pub use queue::{Deliveries, Delivery, Messages, Queue};
pub use sync::{Barrier, Event, Lock, RLock, Semaphore, SemaphoreGuard};

/// Returns the name of the process that runs this item, if the user gave it one.
#[must_use]
pub fn process_name() -> Option<String> {
    crate::bindings::shared::wasmpool::shared::self_::name()
}
