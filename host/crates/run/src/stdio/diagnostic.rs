//! Messages as lines: as text for a person, or as one JSON object each for programs.

use std::fmt::{self, Write};

use serde_json::Value;

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The command does not do what it was asked to.
    Error,
    /// Something is not as it should be; the run goes on.
    Warning,
    Info,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
        }
    }
}

/// Facts of a message, by name. Only programs see them.
pub type Facts<'a> = &'a [(&'static str, Value)];

/// The name of the program, with which messages for a person begin.
const OURS: &str = "wasmpool: ";

/// Returns a message as an object on a line of its own.
pub fn as_json(level: Level, facts: Facts<'_>, message: fmt::Arguments<'_>) -> String {
    let message = message.to_string();
    let message = message.strip_prefix(OURS).unwrap_or(&message).trim();
    let mut line = String::new();
    // Writing to a string does not fail.
    let _ = write!(line, "{{\"level\":\"{}\",\"message\":{}", level.name(), Value::from(message));
    for (name, value) in facts {
        let _ = write!(line, ",\"{name}\":{value}");
    }
    line += "}\n";
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_json_with_its_facts() {
        let facts = [("kind", "trap".into()), ("index", 7.into())];
        let line = as_json(Level::Warning, &facts, format_args!("wasmpool: item 7 failed:\n  \"so\""));
        assert_eq!(line.matches('\n').count(), 1);
        let read: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read["level"], "warning");
        assert_eq!(read["message"], "item 7 failed:\n  \"so\"");
        assert_eq!((&read["kind"], &read["index"]), (&"trap".into(), &7.into()));
    }
}
