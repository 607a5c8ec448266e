//! The identity of a journal's run: the task, and every option on which its results depend.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names and values, in the order in which they are compared. A value is JSON text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity(Vec<(String, String)>);

/// A part in which two runs differ, with the value of each, to be shown.
#[derive(Debug, PartialEq, Eq)]
pub struct RunDifference<'a> {
    pub name: &'a str,
    pub ours: String,
    pub theirs: String,
}

impl RunIdentity {
    /// Makes an identity of all members of a struct. `option` gives the name of the option that a member is.
    pub fn of_options(options: &impl Serialize, option: impl Fn(&str) -> String) -> RunIdentity {
        let Ok(Value::Object(members)) = serde_json::to_value(options) else {
            unreachable!("the options of a run are a struct of plain values");
        };
        RunIdentity(members.into_iter().map(|(name, value)| (option(&name), value.to_string())).collect())
    }

    /// Adds a part, which is compared last.
    pub fn and(mut self, name: &str, value: &str) -> RunIdentity {
        self.0.push((name.to_owned(), Value::from(value).to_string()));
        self
    }

    /// Adds the hash of the task, which is compared last: it depends on some of the options.
    pub fn of_task(mut self, hash: &str) -> RunIdentity {
        self.0.push((TASK.to_owned(), Value::from(hash).to_string()));
        self
    }

    /// Returns the first part in which two identities differ.
    pub fn difference<'a>(&'a self, theirs: &'a RunIdentity) -> Option<RunDifference<'a>> {
        let names = self.0.iter().chain(&theirs.0).map(|(name, _)| name.as_str());
        names
            .map(|name| (name, self.value(name), theirs.value(name)))
            .find(|(_, ours, theirs)| ours != theirs)
            .map(|(name, ours, theirs)| RunDifference { name, ours: shown(ours), theirs: shown(theirs) })
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// The name of the part that holds the task's hash.
pub const TASK: &str = "task";

/// Formats a value as a person would write it, where that is unambiguous.
fn shown(json: Option<&str>) -> String {
    let value = json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or(Value::Null);
    match &value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => words(values).unwrap_or_else(|| value.to_string()),
        other => other.to_string(),
    }
}

/// Returns the texts on one line, if it is clear where each ends.
fn words(values: &[Value]) -> Option<String> {
    let is_word = |text: &&str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"');
    let words = values.iter().map(|value| value.as_str().filter(is_word)).collect::<Option<Vec<_>>>();
    words.map(|words| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Options {
        arguments: Vec<String>,
        max_output: Option<u64>,
    }

    #[test]
    fn a_difference_names_the_option_with_both_values() {
        let words = |words: &[&str]| Options {
            arguments: words.iter().map(|&word| word.to_owned()).collect(),
            ..Options::default()
        };
        let option = |member: &str| match member {
            "arguments" => "the arguments".to_owned(),
            member => format!("--{member}"),
        };
        let of = |options: &Options| RunIdentity::of_options(options, option).of_task("hash");
        let difference = |ours: &Options, theirs: &Options| {
            of(ours).difference(&of(theirs)).map(|it| (it.name.to_owned(), it.ours, it.theirs))
        };
        let said = |name: &str, ours: &str, theirs: &str| Some((name.to_owned(), ours.to_owned(), theirs.to_owned()));
        let none = Options::default();
        assert_eq!(difference(&none, &none), None);
        let limited = Options { max_output: Some(7), ..Options::default() };
        assert_eq!(difference(&limited, &none), said("--max-output", "7", "none"));
        assert_eq!(difference(&words(&["a", "b"]), &none), said("the arguments", "a b", "none"));
        // Texts that would look the same when separated by spaces are shown with quotes.
        assert_eq!(difference(&words(&["a", "b"]), &words(&["a b"])), said("the arguments", "a b", "[\"a b\"]"));
        assert_eq!(
            of(&none).difference(&of(&none).and("--output", "a file")).map(|it| it.theirs),
            Some("a file".to_owned())
        );
    }
}
