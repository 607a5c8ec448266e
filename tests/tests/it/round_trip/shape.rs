//! The JSON form of WIT types: their values, and when two are the same.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use serde_json::{Map, Value, json};

/// A WIT type, as far as it matters to JSON.
#[derive(Clone, Debug)]
pub enum Shape {
    Bool,
    Integer(Int),
    F32,
    F64,
    Char,
    Text,
    Bytes,
    List(Box<Shape>),
    Tuple(Vec<Shape>),
    Record(Vec<(&'static str, Shape)>),
    Enum(&'static [&'static str]),
    Flags(&'static [&'static str]),
    Variant(Vec<(&'static str, Option<Shape>)>),
    Maybe(Box<Shape>),
    /// `option<option<T>>`, of this T.
    MaybeMaybe(Box<Shape>),
    /// A `result` inside a value.
    Outcome(Option<Box<Shape>>, Option<Box<Shape>>),
}

/// An integer type: its sign and its bits.
#[derive(Clone, Copy, Debug)]
pub struct Int {
    signed: bool,
    bits: u32,
}

impl Int {
    pub const fn signed(bits: u32) -> Shape {
        Shape::Integer(Self { signed: true, bits })
    }

    pub const fn unsigned(bits: u32) -> Shape {
        Shape::Integer(Self { signed: false, bits })
    }

    fn values(self) -> BoxedStrategy<Value> {
        let unused = 64 - self.bits;
        if self.signed {
            let extremes = prop::sample::select(vec![i64::MIN, i64::MAX, -1, 0, 1]);
            prop_oneof![any::<i64>(), extremes].prop_map(move |number| json!(number >> unused)).boxed()
        } else {
            let extremes = prop::sample::select(vec![u64::MAX, u64::MAX / 2, 0]);
            prop_oneof![any::<u64>(), extremes].prop_map(move |number| json!(number >> unused)).boxed()
        }
    }
}

impl Shape {
    /// Returns a strategy for values of this type in their JSON form.
    pub fn values(&self) -> BoxedStrategy<Value> {
        match self {
            Self::Bool => any::<bool>().prop_map(Value::from).boxed(),
            Self::Integer(int) => int.values(),
            Self::F32 => any_f32().prop_map(|n| float(f64::from(n))).boxed(),
            Self::F64 => any_f64().prop_map(float).boxed(),
            Self::Char => any::<char>().prop_map(|c| json!(c)).boxed(),
            Self::Text => text().prop_map(Value::from).boxed(),
            Self::Bytes => vec(any::<u8>(), 0..40).prop_map(|bytes| json!(STANDARD.encode(bytes))).boxed(),
            Self::List(of) => vec(of.values(), 0..8).prop_map(Value::from).boxed(),
            Self::Tuple(of) => of.iter().map(Self::values).collect::<Vec<_>>().prop_map(Value::from).boxed(),
            Self::Record(fields) => record(fields),
            Self::Enum(cases) => prop::sample::select(*cases).prop_map(Value::from).boxed(),
            Self::Flags(names) => {
                subsequence(names.to_vec(), 0..=names.len()).prop_shuffle().prop_map(|set| json!(set)).boxed()
            }
            Self::Variant(cases) => variant(cases),
            Self::Maybe(of) => prop_oneof![Just(Value::Null), of.values()].boxed(),
            Self::MaybeMaybe(of) => prop_oneof![
                Just(Value::Null),
                Just(json!({"some": null})),
                of.values().prop_map(|value| json!({ "some": value })),
            ]
            .boxed(),
            Self::Outcome(ok, err) => prop_oneof![side("ok", ok.as_deref()), side("err", err.as_deref())].boxed(),
        }
    }

    /// Returns true if two JSON forms are of the same value.
    pub fn same(&self, one: &Value, other: &Value) -> bool {
        match self {
            // The printer may choose the decimal digits, but not the number that they mean.
            Self::F32 => {
                bits(one).map(|n| n as f32).map(f32::to_bits) == bits(other).map(|n| n as f32).map(f32::to_bits)
            }
            Self::F64 => bits(one).map(f64::to_bits) == bits(other).map(f64::to_bits),
            Self::List(of) => same_all(one, other, |_| of),
            Self::Tuple(of) => same_all(one, other, |index| &of[index]),
            Self::Record(fields) => fields.iter().all(|(name, of)| of.same(&one[name], &other[name])),
            Self::Flags(_) => sorted(one) == sorted(other),
            Self::Variant(cases) => cases.iter().any(|(case, of)| match of {
                Some(of) => same_under(case, of, one, other),
                None => one == other && one == case,
            }),
            Self::Maybe(of) => one.is_null() == other.is_null() && (one.is_null() || of.same(one, other)),
            Self::Outcome(ok, err) => [("ok", ok), ("err", err)].iter().any(|(key, of)| match of {
                Some(of) => same_under(key, of, one, other),
                None => one == other,
            }),
            _ => one == other,
        }
    }
}

fn same_under(key: &str, of: &Shape, one: &Value, other: &Value) -> bool {
    match (one.get(key), other.get(key)) {
        (Some(one), Some(other)) => of.same(one, other),
        _ => false,
    }
}

fn same_all<'a>(one: &Value, other: &Value, of: impl Fn(usize) -> &'a Shape) -> bool {
    let (Some(one), Some(other)) = (one.as_array(), other.as_array()) else {
        return false;
    };
    one.len() == other.len()
        && one.iter().zip(other).enumerate().all(|(index, (one, other))| of(index).same(one, other))
}

fn sorted(flags: &Value) -> Option<Vec<&str>> {
    let flags = flags.as_array()?;
    let mut names: Vec<&str> = flags.iter().map(Value::as_str).collect::<Option<_>>()?;
    names.sort_unstable();
    Some(names)
}

/// Returns the float of a JSON form; every NaN is the same.
fn bits(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(name) if name == "NaN" => Some(f64::NAN),
        Value::String(name) if name == "Infinity" => Some(f64::INFINITY),
        Value::String(name) if name == "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn float(number: f64) -> Value {
    match number {
        _ if number.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        _ => json!(number),
    }
}

fn any_f32() -> impl Strategy<Value = f32> {
    // Drawn by bits, so that subnormals, both zeros, infinities and NaN occur.
    prop_oneof![
        any::<u32>().prop_map(f32::from_bits),
        prop::sample::select(vec![0.0, -0.0, f32::MAX, f32::MIN_POSITIVE, f32::INFINITY, f32::NAN]),
    ]
}

fn any_f64() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        any::<i32>().prop_map(f64::from),
        prop::sample::select(vec![0.0, -0.0, f64::MAX, f64::MIN_POSITIVE, f64::NEG_INFINITY, f64::NAN]),
    ]
}

/// Draws any Unicode but surrogates, control characters and NUL included; often none at all.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        vec(any::<char>(), 0..20).prop_map(String::from_iter),
        vec(prop::char::range('\0', '\u{7f}'), 0..20).prop_map(String::from_iter),
        Just(String::new()),
    ]
}

fn record(fields: &[(&'static str, Shape)]) -> BoxedStrategy<Value> {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = fields.iter().map(|(_, of)| of.values()).collect();
    values
        .prop_map(move |values| {
            let fields = names.iter().map(|name| (*name).to_owned()).zip(values);
            Value::Object(fields.collect::<Map<_, _>>())
        })
        .boxed()
}

fn variant(cases: &[(&'static str, Option<Shape>)]) -> BoxedStrategy<Value> {
    let each: Vec<BoxedStrategy<Value>> = cases
        .iter()
        .map(|(case, of)| match of {
            Some(_) => side(case, of.as_ref()),
            None => Just(json!(case)).boxed(),
        })
        .collect();
    (any::<Index>(), each).prop_map(|(index, values)| index.get(&values).clone()).boxed()
}

/// Draws an object of one key; its value is null if the case has no payload.
fn side(key: &'static str, of: Option<&Shape>) -> BoxedStrategy<Value> {
    match of {
        Some(of) => of.values().prop_map(move |value| json!({ key: value })).boxed(),
        None => Just(json!({ key: null })).boxed(),
    }
}
