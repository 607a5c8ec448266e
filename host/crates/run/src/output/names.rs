//! The names of results that go to files of their own, made from their items by a template.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::Value;
use wasmpool_core::setting::Setting;
use wasmpool_core::text::{ForeignText, QuotedName};

/// Maximum number of bytes of a file's name, on every file system that is usual on Linux.
const LONGEST: usize = 255;

/// A template of names, such as `{/.}.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTemplate {
    text: String,
    parts: Vec<NamePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum NamePart {
    Text(String),
    /// `{#}`: the index of the item.
    Index,
    /// `{}`, `{.}`, `{/}`, `{/.}`: the item's text, or the path of its file; its last part; without an extension.
    Whole {
        base: bool,
        stem: bool,
    },
    /// `{NAME}`: a member of an item that is an object, or a column of a row; of an array, and of a row without a header, the
    /// place, from 1.
    Member(String),
}

/// The reason why a template cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("a `{{` is not closed; what it can stand for is {{}}, {{.}}, {{/}}, {{/.}}, {{#}} or {{NAME}}")]
    Open,
    #[error("{{{0}}} stands for nothing; what it can stand for is {{}}, {{.}}, {{/}}, {{/.}}, {{#}} or {{NAME}}")]
    Field(String),
    #[error("it holds a `/`: a result is a file of the directory itself")]
    Directory,
    #[error("it is the same for every item: add {{#}}, the index of the item, or {{/.}}, the name of its file")]
    Constant,
}

/// The reason why the result of an item can have no name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error(
        "the item is no text that {} {template} could make a name of; name a member of it, or take {{#}}",
        Setting::ResultsName
    )]
    NoText { template: NameTemplate },
    #[error("the item has no text or number {} for {} {template}", QuotedName::of(.member), Setting::ResultsName)]
    NoMember { template: NameTemplate, member: String },
    #[error(
        "{} {template} makes {} of it, which is no name of a file; {{#}} is the index of the item, and {{/}} is the last part \
         of its path",
        Setting::ResultsName,
        QuotedName::of(.name)
    )]
    NoName { template: NameTemplate, name: String },
    #[error(
        "the result of another item has the name {} already; add {{#}} to {}",
        QuotedName::of(.0),
        Setting::ResultsName
    )]
    Taken(String),
}

/// What the name of a result is made of.
#[derive(Clone, Copy, Debug)]
pub struct NamedItem<'a> {
    pub index: u64,
    /// The path of the item's file, or its text, if it is one.
    pub text: Option<&'a str>,
    /// The item as JSON, if it is that.
    pub json: Option<&'a [u8]>,
}

impl FromStr for NameTemplate {
    type Err = TemplateError;

    fn from_str(template: &str) -> Result<NameTemplate, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, behind)) = rest.split_once('{') {
            let (field, behind) = behind.split_once('}').ok_or(TemplateError::Open)?;
            if !text.is_empty() {
                parts.push(NamePart::Text(text.to_owned()));
            }
            parts.push(match field {
                "#" => NamePart::Index,
                "" | "." | "/" | "/." => NamePart::Whole { base: field.contains('/'), stem: field.contains('.') },
                // No member is called so, but by whoever means something else.
                member if member.contains('{') || member.chars().all(|c| " #./".contains(c)) => {
                    return Err(TemplateError::Field(ForeignText::of(member).to_string()));
                }
                member => NamePart::Member(member.to_owned()),
            });
            rest = behind;
        }
        if parts.is_empty() {
            return Err(TemplateError::Constant);
        }
        if !rest.is_empty() {
            parts.push(NamePart::Text(rest.to_owned()));
        }
        let has_slash = |part: &NamePart| matches!(part, NamePart::Text(text) if text.contains('/'));
        if parts.iter().any(has_slash) {
            return Err(TemplateError::Directory);
        }
        Ok(NameTemplate { text: template.to_owned(), parts })
    }
}

impl Display for NameTemplate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        ForeignText::of(&self.text).fmt(f)
    }
}

impl Serialize for NameTemplate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl NameTemplate {
    /// Returns the names of all members of items that names are made of.
    pub fn members(&self) -> impl Iterator<Item = &String> {
        self.parts.iter().filter_map(|part| match part {
            NamePart::Member(member) => Some(member),
            NamePart::Text(_) | NamePart::Index | NamePart::Whole { .. } => None,
        })
    }

    /// Returns the name of the result of an item, or why it can have none.
    pub fn of(&self, item: NamedItem<'_>) -> Result<String, NameError> {
        let template = || self.clone();
        let mut name = String::new();
        let mut json = None;
        for part in &self.parts {
            match part {
                NamePart::Text(text) => name.push_str(text),
                NamePart::Index => name += &item.index.to_string(),
                NamePart::Whole { base, stem } => {
                    let text = item.text.ok_or_else(|| NameError::NoText { template: template() })?;
                    name.push_str(cut(text, *base, *stem));
                }
                NamePart::Member(member) => {
                    let json = json.get_or_insert_with(|| {
                        item.json.and_then(|json| serde_json::from_slice::<Value>(json).ok()).unwrap_or_default()
                    });
                    match member_of(json, member) {
                        Some(Value::String(text)) => name.push_str(text),
                        Some(value @ (Value::Number(_) | Value::Bool(_))) => name += &value.to_string(),
                        _ => {
                            return Err(NameError::NoMember { template: template(), member: member.clone() });
                        }
                    }
                }
            }
        }
        match is_name(&name) {
            true => Ok(name),
            false => Err(NameError::NoName { template: template(), name }),
        }
    }
}

/// Returns a member of an object by its name, or of an array by its place, from 1.
fn member_of<'a>(json: &'a Value, member: &str) -> Option<&'a Value> {
    match json {
        Value::Array(values) => values.get(member.parse::<usize>().ok()?.checked_sub(1)?),
        json => json.get(member),
    }
}

/// Returns a path, or its last part, with or without its extension.
fn cut(path: &str, base: bool, stem: bool) -> &str {
    let start = path.rfind('/').map_or(0, |at| at + 1);
    let end = match path[start..].rfind('.') {
        // A name that begins with a dot has no other part.
        Some(dot) if stem && dot > 0 => start + dot,
        _ => path.len(),
    };
    &path[if base { start } else { 0 }..end]
}

/// Returns true for what can be the name of a file that a user sees.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST && !name.starts_with('.') && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(template: &str, text: Option<&str>, json: Option<&str>) -> Result<String, String> {
        let template: NameTemplate = template.parse().expect("a template");
        template.of(NamedItem { index: 7, text, json: json.map(str::as_bytes) }).map_err(|e| e.to_string())
    }

    #[test]
    fn a_name_is_made_of_the_path_the_text_the_index_or_a_member() {
        let path = Some("in/a.b/photo.tar.gz");
        for (template, wanted) in
            [("{/.}.png", "photo.tar.png"), ("{/}", "photo.tar.gz"), ("{#}", "7"), ("{#}-{/.}", "7-photo.tar")]
        {
            assert_eq!(name(template, path, None).as_deref(), Ok(wanted), "{template}");
        }
        assert_eq!(name("{}.txt", Some("id 3"), None).as_deref(), Ok("id 3.txt"));
        assert_eq!(name("{.}", Some("a.b"), None).as_deref(), Ok("a"));
        assert_eq!(name("{/.}", Some("in/a.b/c"), None).as_deref(), Ok("c"));
        let json = Some(r#"{"id":"x y","n":3,"list":[]}"#);
        assert_eq!(name("{id}-{n}.json", None, json).as_deref(), Ok("x y-3.json"));
        let row = Some(r#"["x",5,[1]]"#);
        assert_eq!(name("{1}-{2}", None, row).as_deref(), Ok("x-5"));
        for template in ["{0}", "{3}", "{4}", "{x}"] {
            assert!(name(template, None, row).is_err(), "{template}");
        }
        for (template, json) in [("{list}", json), ("{other}", json), ("{id}", Some("7")), ("{id}", None)] {
            assert!(name(template, None, json).is_err_and(|why| why.contains("the names of results")), "{template}");
        }
        assert!(name("{}", None, json).is_err_and(|why| why.contains("no text")));
    }

    #[test]
    fn no_item_leads_its_result_out_of_the_directory() {
        for text in ["a/b", "..", ".", "", "/", "\0", "../x", ".part-0123456789abcdef", &"x".repeat(256)] {
            assert!(name("{}", Some(text), None).is_err_and(|why| why.contains("no name of a file")), "{text:?}");
        }
        assert!(name("{/}", Some("a/.."), None).is_err());
        assert!(name("{id}", None, Some(r#"{"id":"../x"}"#)).is_err());
    }

    #[test]
    fn a_template_that_makes_no_names_is_refused() {
        let refused = |template: &str| template.parse::<NameTemplate>().err();
        assert_eq!(refused("{"), Some(TemplateError::Open));
        assert_eq!(refused("out/{#}"), Some(TemplateError::Directory));
        for (template, field) in [("{##}", "##"), ("{{}}", "{"), ("a{..}", ".."), ("{ }", " "), ("{//}", "//")] {
            assert_eq!(refused(template), Some(TemplateError::Field(field.to_owned())), "{template}");
        }
        assert_eq!(refused("x"), Some(TemplateError::Constant));
        assert_eq!(refused(""), Some(TemplateError::Constant));
    }
}
