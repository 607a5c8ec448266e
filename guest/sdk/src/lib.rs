//! Write a [wasmpool](https://crates.io/crates/wasmpool) task in a few lines.
//!
//! A task is a component that exports `run`, called once per item, and perhaps
//! `init`, called once before. [`task!`] exports functions over bytes,
//! [`json_task!`] functions over any `serde` types:
//!
//! ```
//! fn shout(item: &[u8]) -> Result<String, std::str::Utf8Error> {
//!     Ok(std::str::from_utf8(item)?.to_uppercase())
//! }
//!
//! wasmpool_guest::task!(run: shout);
//! # fn main() {}
//! ```
//!
//! Put that in a crate with `crate-type = ["cdylib"]` and build it with
//! `cargo build --release --target wasm32-wasip2`.
//!
//! The SDK is a convenience: any component that exports a function can be
//! mapped, so a function over WIT types needs `wit-bindgen` only.
//!
//! With the feature `shared`, the module [`shared`] has the objects that tasks share: queues, pipes,
//! values, locks, dicts and more. Without it, a task imports none of their interfaces.

#[doc(hidden)]
pub mod bindings;
mod macros;
#[doc(hidden)]
pub mod runtime;
#[cfg(feature = "shared")]
pub mod shared;
