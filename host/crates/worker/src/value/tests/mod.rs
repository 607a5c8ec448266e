//! The promises of the module, with one test for each.

mod decoding;
mod encoding;
mod forms;
mod parameters;
mod planning;
mod properties;
mod typing;

use super::names::Names;
use super::shape::{Cases, Fields};
use super::*;

fn json(shape: &TypePlan, text: &str) -> Result<Val, String> {
    decode(shape, text.as_bytes(), ItemEncoding::Json).map_err(|misfit| misfit.to_string())
}

fn good(shape: &TypePlan, text: &str) -> Val {
    json(shape, text).unwrap()
}

fn misfit(shape: &TypePlan, text: &str) -> String {
    json(shape, text).unwrap_err()
}

fn text(shape: &TypePlan, val: &Val) -> String {
    let mut out = Vec::new();
    shape.encode(val, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn list(element: TypePlan) -> TypePlan {
    TypePlan::List(Box::new(element))
}

fn option(inner: TypePlan) -> TypePlan {
    TypePlan::Option(Box::new(inner))
}

fn some(val: Val) -> Val {
    Val::Option(Some(Box::new(val)))
}

fn record(fields: &[(&str, TypePlan)]) -> TypePlan {
    let fields = fields.iter().cloned();
    TypePlan::Record(Fields::new(fields.map(|(name, s)| (name.to_owned(), s))))
}

fn variant(cases: &[(&str, Option<TypePlan>)]) -> TypePlan {
    let cases = cases.iter().cloned();
    TypePlan::Variant(Cases::new(cases.map(|(name, s)| (name.to_owned(), s))))
}

fn names(names: &[&str]) -> Names {
    Names::new(names.iter().map(|&name| name.to_owned()).collect())
}

fn fields(fields: &[(&str, Val)]) -> Val {
    let fields = fields.iter().cloned();
    Val::Record(fields.map(|(name, v)| (name.to_owned(), v)).collect())
}

fn point() -> TypePlan {
    record(&[("x", TypePlan::U8), ("y", TypePlan::U8)])
}
