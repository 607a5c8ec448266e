//! The promises of the module, one test each.

mod decoding;
mod encoding;
mod forms;
mod parameters;
mod planning;
mod properties;

use super::names::Names;
use super::shape::{Cases, Fields};
use super::*;

fn json(shape: &Shape, text: &str) -> Result<Val, String> {
    decode(shape, text.as_bytes(), Form::Json).map_err(|misfit| misfit.to_string())
}

fn good(shape: &Shape, text: &str) -> Val {
    json(shape, text).unwrap()
}

fn misfit(shape: &Shape, text: &str) -> String {
    json(shape, text).unwrap_err()
}

fn text(shape: &Shape, val: &Val) -> String {
    let mut out = Vec::new();
    shape.encode(val, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn list(element: Shape) -> Shape {
    Shape::List(Box::new(element))
}

fn option(inner: Shape) -> Shape {
    Shape::Option(Box::new(inner))
}

fn some(val: Val) -> Val {
    Val::Option(Some(Box::new(val)))
}

fn record(fields: &[(&str, Shape)]) -> Shape {
    let fields = fields.iter().cloned();
    Shape::Record(Fields::new(fields.map(|(name, s)| (name.to_owned(), s))))
}

fn variant(cases: &[(&str, Option<Shape>)]) -> Shape {
    let cases = cases.iter().cloned();
    Shape::Variant(Cases::new(cases.map(|(name, s)| (name.to_owned(), s))))
}

fn names(names: &[&str]) -> Names {
    Names::new(names.iter().map(|&name| name.to_owned()).collect())
}

fn fields(fields: &[(&str, Val)]) -> Val {
    let fields = fields.iter().cloned();
    Val::Record(fields.map(|(name, v)| (name.to_owned(), v)).collect())
}

fn point() -> Shape {
    record(&[("x", Shape::U8), ("y", Shape::U8)])
}
