//! Which name somebody probably meant who wrote one that there is not.

use wasmpool_core::text::QuotedName;
pub use wasmpool_worker::value::names::nearest;

/// Returns the end of a message: `; did you mean …?`, or nothing if no name is similar.
pub fn did_you_mean(similar: Option<&str>) -> String {
    similar.map_or_else(String::new, |name| format!("; did you mean {}?", QuotedName::of(name)))
}
