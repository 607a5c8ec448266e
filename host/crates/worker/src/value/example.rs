//! An item that a function would take, to show what one looks like.

use super::shape::{Cases, Fields, TypePlan};
use serde_json::{Map, Value, json};
use wasmpool_core::json::encode_bytes;

/// Maximum number of values in an example: beyond that, it explains nothing.
const MOST: usize = 60;
/// Maximum length of an example as text, in bytes.
const LONGEST: usize = 1000;

/// Returns an item for a function of these parameters, as JSON; `None` if it would be too long to help.
pub fn example_item(params: &[(String, TypePlan)]) -> Option<String> {
    let mut writer = ExampleWriter { left: MOST };
    let item = match params {
        [] => Value::Null,
        [(name, shape)] => writer.value(shape, name)?,
        several => {
            let values = several.iter().map(|(name, shape)| writer.value(shape, name));
            Value::Array(values.collect::<Option<_>>()?)
        }
    };
    let text = item.to_string();
    (text.len() <= LONGEST).then_some(text)
}

struct ExampleWriter {
    /// Number of values that it may still have.
    left: usize,
}

impl ExampleWriter {
    /// Returns a value of this type. A text is the name of its place, so that it shows what belongs there.
    fn value(&mut self, shape: &TypePlan, name: &str) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        Some(match shape {
            TypePlan::Bool => json!(true),
            TypePlan::F32 | TypePlan::F64 => json!(1.5),
            shape if shape.range().is_some() => json!(1),
            TypePlan::Char => json!("a"),
            TypePlan::String => json!(name),
            TypePlan::Bytes => {
                let mut quoted = Vec::new();
                encode_bytes(name.as_bytes(), &mut quoted);
                serde_json::from_slice(&quoted).ok()?
            }
            TypePlan::List(element) => Value::Array(vec![self.value(element, name)?]),
            TypePlan::FixedList(element, length) => {
                let length = usize::try_from(*length).ok().filter(|length| *length <= self.left)?;
                Value::Array((0..length).map(|_| self.value(element, name)).collect::<Option<_>>()?)
            }
            TypePlan::Map(key, value) => {
                let key = match self.value(key, "key")? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                Value::Object(Map::from_iter([(key, self.value(value, name)?)]))
            }
            TypePlan::Tuple(shapes) => {
                Value::Array(shapes.iter().map(|shape| self.value(shape, name)).collect::<Option<_>>()?)
            }
            TypePlan::Record(fields) => self.record(fields)?,
            TypePlan::Variant(cases) => self.variant(cases)?,
            TypePlan::Enum(names) => json!(names.as_slice().first()?),
            TypePlan::Flags(names) => Value::Array(names.as_slice().iter().take(1).map(|name| json!(name)).collect()),
            TypePlan::Option(inner) => {
                let value = self.value(inner, name)?;
                if matches!(**inner, TypePlan::Option(_)) { json!({ "some": value }) } else { value }
            }
            TypePlan::Result { ok, .. } => {
                let value = ok.as_ref().map_or(Some(Value::Null), |ok| self.value(ok, name))?;
                json!({ "ok": value })
            }
            // The integers are those types that have a range.
            _ => return None,
        })
    }

    fn record(&mut self, fields: &Fields) -> Option<Value> {
        let members = fields.iter().map(|(name, shape)| Some((name.to_owned(), self.value(shape, name)?)));
        members.collect::<Option<Map<_, _>>>().map(Value::Object)
    }

    fn variant(&mut self, cases: &Cases) -> Option<Value> {
        let (name, payload) = cases.iter().next()?;
        Some(match payload {
            None => json!(name),
            Some(shape) => Value::Object(Map::from_iter([(name.to_owned(), self.value(shape, name)?)])),
        })
    }
}
