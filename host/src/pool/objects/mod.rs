//! Shared objects: queues, pipes, values, arrays, locks and collections that the program and its tasks have in common.
//!
//! A [`Manager`] creates them (`manager.rs`), or finds those of a server (`opened.rs`), and hands out a handle for each, by which the program uses it. A task is
//! given objects by the settings of its pool or process (`share.rs`). The process that keeps them is started when one is
//! first used; from then on no more can be created. Handles, pools and processes keep it alive together (`handle.rs`).

mod array;
mod barrier;
mod condition;
mod dict;
mod event;
mod handle;
mod list;
mod lock;
mod manager;
mod message;
mod namespace;
mod number;
mod opened;
mod pipe;
mod queue;
mod rlock;
mod semaphore;
mod share;
mod value;

pub use array::Array;
pub use barrier::Barrier;
pub use condition::{Condition, ConditionGuard};
pub use dict::Dict;
pub use event::Event;
pub use list::List;
pub use lock::{Lock, LockGuard};
pub use manager::{Manager, ManagerBuilder};
pub use message::Message;
pub use namespace::Namespace;
pub use number::{ArithmeticNumber, SharedNumber};
pub use opened::SharedObjectType;
pub use pipe::PipeEnd;
pub use queue::{Queue, QueueIter};
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{Semaphore, SemaphoreGuard};
pub use share::Share;
pub(super) use share::Sharing;
pub use value::Value;
