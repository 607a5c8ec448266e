//! Promises of the crate that concern several of its parts.

mod shared;
