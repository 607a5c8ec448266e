//! Plain data that the parts of wasmpool share: the user's choices, the properties of a task, outcomes of items, and
//! how foreign text is shown.

#![forbid(unsafe_code)]

pub mod artifact;
pub mod chain;
pub mod failed;
pub mod guest_grants;
pub mod hosts;
pub mod item;
pub mod item_error;
pub mod json;
pub mod layer;
pub mod magic;
pub mod outcome;
pub mod policy;
#[cfg(feature = "probes")]
pub mod probe;
pub mod row;
pub mod setting;
pub mod share;
pub mod similar;
pub mod text;
