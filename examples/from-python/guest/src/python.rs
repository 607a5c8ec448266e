//! Values, as Python prints them.

use serde_json::Value;

/// Returns a value as a literal of Python. Texts are taken to need no escapes.
pub fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{text}'"),
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("'{name}': {}", literal(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}

/// Returns texts as a set of Python.
pub fn set(texts: &[String]) -> String {
    format!("{{{}}}", texts.iter().map(|text| format!("'{text}'")).collect::<Vec<_>>().join(", "))
}
