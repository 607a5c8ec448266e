//! The error of columns that cannot be printed together.

use wasmpool_core::setting::Setting;
use wasmpool_core::text::QuotedName;

/// Error: two columns of the output would have this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the output would have two columns {}: leave it out of {}", QuotedName::of(.0), Setting::Keep)]
pub struct ColumnTwice(pub String);
