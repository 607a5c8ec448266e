//! What of the host's module of this name a worker's messages name: the parts of a sandbox.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    NetworkNamespace,
    ServingFilter,
}
