//! The first frame of each participant.

use serde::{Deserialize, Serialize};
use wasmpool_core::share::ObjectRights;

/// Who a participant is, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What others are told of it, on its machine.
    pub name: String,
    /// True for a program, which may have any number of requests under way.
    pub is_program: bool,
    /// The objects, by their numbers, and what it wants to do with them.
    pub grants: Vec<(u16, ObjectRights)>,
}
