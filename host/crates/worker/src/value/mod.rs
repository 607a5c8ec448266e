//! Conversion between WIT values and JSON text: how an item becomes the
//! arguments of a call, and how the result of a call becomes a line of output.
//!
//! This runs once per item. So the type is planned once ([`TypePlan::of`]), and
//! an item is then read directly from its text into [`Val`]s and written
//! directly from them, without a tree of JSON values in between. An item that
//! does not fit is a [`DecodeError`], which says where in the value, which type
//! was expected and what was found.
//!
//! Nothing here allocates according to a length that somebody claims: memory
//! grows with the bytes of the item and with the type, and no further.
//!
//! `docs/reference.md` describes the mapping under "JSON and WIT values".

use wasmtime::component::Val;

mod bytes;
mod cell;
pub mod columns;
mod compound;
mod context;
mod encode;
mod example;
mod excerpt;
mod fields;
mod json;
mod misfit;
pub mod names;
mod numbers;
mod params;
mod shape;
mod typed;

mod wit;

#[cfg(test)]
mod tests;

pub use bytes::decode_bytes;
pub use encode::EncodeError;
pub use example::example_item;
pub use misfit::DecodeError;
pub use params::{BindError, FunctionParams, MeantFormat};
pub use shape::TypePlan;
pub use wit::spell;

pub use wasmpool_core::policy::ItemEncoding;

/// Reads one value of `shape` from the bytes of an item.
///
/// Costs as much as reading the text: about 20 ns for an integer, and for other
/// types the allocations that [`Val`] itself consists of.
///
/// # Errors
///
/// A [`DecodeError`] if the text is not of that form or not of that type.
pub fn decode(shape: &TypePlan, item: &[u8], form: ItemEncoding) -> Result<Val, DecodeError> {
    match form {
        ItemEncoding::Json | ItemEncoding::Typed => json::value(shape, item, json::ObjectLayout::Json),
        ItemEncoding::Csv if shape.is_row() => json::value(shape, item, json::ObjectLayout::Row),
        ItemEncoding::Csv => Err(DecodeError::row(shape.wit_brief())),
        ItemEncoding::Bytes => bytes::value(shape, item),
    }
}
