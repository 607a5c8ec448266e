//! Columns: those of the input that are kept in the output, and results as rows of CSV.

use std::fmt::{self, Formatter};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::invalid;
use crate::column_error::ColumnTwice;
use crate::supervisor::OutcomeRecord;
use wasmpool_core::failed;
use wasmpool_core::item::ItemTag;
use wasmpool_core::json::encode_string;
use wasmpool_core::outcome::Failure;
use wasmpool_core::policy::ItemEncoding;

/// The name of the column, or the member, that is a whole result.
pub const VALUE: &str = "value";
/// The name of the column that is the name of a task.
pub const TASK: &str = "task";
/// The JSON of what an item does not have.
const NULL: &str = "null";

/// Columns of the input that are printed with each outcome: the members of this name, where items are objects, or the elements
/// of these numbers, where they are arrays.
#[derive(Clone, Debug)]
pub struct KeptColumns {
    names: Vec<String>,
    form: ItemEncoding,
    /// The place of each in a row, from 0, if the columns have no names.
    places: Option<Vec<usize>>,
}

impl KeptColumns {
    /// Makes it for items that are read in this form.
    pub fn new(names: Vec<String>, form: ItemEncoding) -> KeptColumns {
        KeptColumns { names, form, places: None }
    }

    /// Makes it for rows whose columns have no names: they are numbers, from 1.
    pub fn by_place(self) -> KeptColumns {
        let place =
            |name: &String| name.parse::<usize>().ok().and_then(|number| number.checked_sub(1)).unwrap_or(usize::MAX);
        KeptColumns { places: Some(self.names.iter().map(place).collect()), ..self }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the JSON of each column for the item of an outcome.
    pub fn values(&self, record: &mut OutcomeRecord<'_>) -> Vec<String> {
        let (tag, item) = record.item.bytes();
        self.values_of(tag, item)
    }

    fn values_of(&self, tag: ItemTag, item: &[u8]) -> Vec<String> {
        let nothing = || vec![NULL.to_owned(); self.names.len()];
        if tag != ItemTag::Item {
            return nothing();
        }
        let again = match self.form {
            ItemEncoding::Json => failed::read(item),
            ItemEncoding::Bytes | ItemEncoding::Csv | ItemEncoding::Typed => None,
        };
        let item = match &again {
            None => item,
            Some(Ok((item, _))) => item,
            Some(Err(_)) => return nothing(),
        };
        let picked = match (item.trim_ascii_start().first(), &self.places) {
            (Some(b'{'), None) => members(&self.names, item),
            (Some(b'['), Some(places)) => elements(places, item),
            _ => return nothing(),
        };
        let Some(picked) = picked else { return nothing() };
        picked.into_iter().map(|value| value.map_or_else(|| NULL.to_owned(), |value| one_line(value.get()))).collect()
    }

    /// Appends members with these values to an object that has no member yet, each followed by a comma.
    pub fn append(&self, values: &[String], to: &mut Vec<u8>) {
        for (name, value) in self.names.iter().zip(values) {
            encode_string(name, to);
            to.push(b':');
            to.extend_from_slice(value.as_bytes());
            to.push(b',');
        }
    }

    /// Returns a member that holds these values, to follow other members.
    pub fn member(&self, values: &[String]) -> String {
        let mut member = b",\"kept\":{".to_vec();
        self.append(values, &mut member);
        member.pop_if(|last| *last == b',');
        member.push(b'}');
        String::from_utf8_lossy(&member).into_owned()
    }
}

/// Returns JSON without line ends, which stand between its parts if there are any.
fn one_line(json: &str) -> String {
    match json.contains(['\n', '\r']) {
        true => json.replace(['\n', '\r'], ""),
        false => json.to_owned(),
    }
}

/// The columns of results that are printed as CSV.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultColumns {
    /// The columns, over all tasks of the run.
    names: Vec<String>,
    /// True if the results of this task are records with some of these columns, and not the column [`VALUE`].
    of_record: bool,
}

impl ResultColumns {
    /// Makes the columns of each of some tasks. A task is given by the names of the fields of the records that it returns, or by
    /// none if it returns something else.
    pub fn of_tasks(tasks: &[Vec<String>]) -> Vec<ResultColumns> {
        let mut names: Vec<String> = Vec::new();
        for fields in tasks {
            let own = if fields.is_empty() { &[VALUE.to_owned()][..] } else { fields };
            own.iter().for_each(|name| {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            });
        }
        tasks.iter().map(|fields| ResultColumns { names: names.clone(), of_record: !fields.is_empty() }).collect()
    }

    /// Returns the first row of the output.
    ///
    /// # Errors
    ///
    /// Fails if two columns have the same name.
    pub fn header(&self, several: bool, kept: Option<&KeptColumns>) -> Result<Vec<u8>, ColumnTwice> {
        let task = several.then(|| TASK.to_owned());
        let kept = kept.into_iter().flat_map(|kept| kept.names());
        let names: Vec<&String> = task.iter().chain(kept).chain(&self.names).collect();
        let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
        match twice {
            Some((_, name)) => Err(ColumnTwice((*name).clone())),
            None => Ok(row(names.iter().map(|name| Cell::Text(name)))),
        }
    }

    /// Returns the row of a result, which is JSON, with what stands in front of it.
    pub fn row(&self, task: Option<&str>, kept: &[String], result: &[u8]) -> Result<Vec<u8>, Failure> {
        let result = std::str::from_utf8(result).map_err(|_| invalid("the worker sent a value that is not UTF-8"))?;
        let fields: Vec<Cell<'_>> = match (self.of_record, result.trim_ascii_start()) {
            (true, NULL) => vec![Cell::Json(NULL); self.names.len()],
            (true, _) => {
                let found = members(&self.names, result.as_bytes());
                let found = found.ok_or_else(|| invalid("the worker sent a value that is no record"))?;
                found.into_iter().map(|value| Cell::Json(value.map_or(NULL, RawValue::get))).collect()
            }
            (false, _) => {
                let of = |name: &String| if name == VALUE { Cell::Json(result) } else { Cell::Json(NULL) };
                self.names.iter().map(of).collect()
            }
        };
        let front = task.map(Cell::Text).into_iter().chain(kept.iter().map(|value| Cell::Json(value)));
        Ok(row(front.chain(fields)))
    }
}

/// What a cell is made of.
#[derive(Clone, Copy)]
enum Cell<'a> {
    Text(&'a str),
    /// JSON: a string is its text, null is empty, and anything else stands as it is.
    Json(&'a str),
}

/// Returns a row of CSV.
fn row<'a>(cells: impl Iterator<Item = Cell<'a>>) -> Vec<u8> {
    let mut row = Vec::new();
    let mut count = 0;
    for cell in cells {
        if count > 0 {
            row.push(b',');
        }
        count += 1;
        match cell {
            Cell::Text(text) => quoted(text, &mut row),
            Cell::Json(NULL) => {}
            Cell::Json(json) if json.starts_with('"') => {
                match serde_json::from_str::<std::borrow::Cow<'_, str>>(json) {
                    Ok(text) => quoted(&text, &mut row),
                    Err(_) => quoted(json, &mut row),
                }
            }
            Cell::Json(json) => quoted(json, &mut row),
        }
    }
    if row.is_empty() && count == 1 {
        // An empty line would be no row.
        row.extend_from_slice(b"\"\"");
    }
    row.push(b'\n');
    row
}

/// Appends a cell, with quotes where they are needed.
fn quoted(text: &str, to: &mut Vec<u8>) {
    let plain = !text.contains([',', '"', '\n', '\r']) && text.trim() == text;
    if plain {
        to.extend_from_slice(text.as_bytes());
        return;
    }
    to.push(b'"');
    for (at, part) in text.split('"').enumerate() {
        if at > 0 {
            to.extend_from_slice(b"\"\"");
        }
        to.extend_from_slice(part.as_bytes());
    }
    to.push(b'"');
}

/// Returns the members of these names of a JSON object, or `None` if it is none.
fn members<'a>(names: &[String], object: &'a [u8]) -> Option<Vec<Option<&'a RawValue>>> {
    let mut parser = serde_json::Deserializer::from_slice(object);
    let picked = parser.deserialize_map(PickedMembers(names)).ok()?;
    parser.end().ok().map(|()| picked)
}

/// Returns the elements at these places of a JSON array, or `None` if it is none.
fn elements<'a>(places: &[usize], array: &'a [u8]) -> Option<Vec<Option<&'a RawValue>>> {
    let mut parser = serde_json::Deserializer::from_slice(array);
    let picked = parser.deserialize_seq(PickedElements(places)).ok()?;
    parser.end().ok().map(|()| picked)
}

struct PickedMembers<'n>(&'n [String]);

impl<'de> Visitor<'de> for PickedMembers<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut picked = vec![None; self.0.len()];
        while let Some(at) = map.next_key_seed(PickedName(self.0))? {
            match at {
                Some(at) => picked[at] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(picked)
    }
}

/// Finds a name among these.
struct PickedName<'n>(&'n [String]);

impl<'de> DeserializeSeed<'de> for PickedName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for PickedName<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|wanted| wanted == name))
    }
}

struct PickedElements<'n>(&'n [usize]);

impl<'de> Visitor<'de> for PickedElements<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut picked = vec![None; self.0.len()];
        let mut at = 0;
        while let Some(value) = array.next_element::<&RawValue>()? {
            picked
                .iter_mut()
                .zip(self.0)
                .filter(|(_, place)| **place == at)
                .for_each(|(picked, _)| *picked = Some(value));
            at += 1;
        }
        Ok(picked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasmpool_core::row;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn kept(wanted: &[&str], form: ItemEncoding, item: &str) -> Vec<String> {
        KeptColumns::new(names(wanted), form).values_of(ItemTag::Item, item.as_bytes())
    }

    #[test]
    fn kept_columns_are_as_they_stand_in_the_item_and_null_where_it_has_none() {
        let item = r#" {"id": 18446744073709551616, "a": {"id": 2}, "name": "\u00e4", "list": [1, 2]}"#;
        let wanted = ["18446744073709551616", r#""\u00e4""#, "[1, 2]", "null"];
        assert_eq!(kept(&["id", "name", "list", "none"], ItemEncoding::Json, item), wanted);
        assert_eq!(kept(&["a"], ItemEncoding::Json, "{\"a\":\r[1,\r2]}"), ["[1,2]"]);
        for other in ["1", "[1]", "{\"id\":1", "{\"id\":1} 2", "\"id\"", ""] {
            assert_eq!(kept(&["id"], ItemEncoding::Json, other), ["null"], "{other}");
        }
        let by_place = KeptColumns::new(names(&["2", "9", "0"]), ItemEncoding::Csv).by_place();
        assert_eq!(by_place.values_of(ItemTag::Item, br#"["a","b"]"#), [r#""b""#, "null", "null"]);
        assert_eq!(by_place.values_of(ItemTag::Unreadable, b""), ["null"; 3]);
        let failed = r#"{"wasmpool":"failed","form":"row","input":{"id":"7"},"message":"why"}"#;
        assert_eq!(kept(&["id"], ItemEncoding::Json, failed), [r#""7""#]);
    }

    #[test]
    fn results_of_several_tasks_have_the_columns_of_all() {
        let of = ResultColumns::of_tasks(&[names(&["a", "b"]), Vec::new(), names(&["b", "c"])]);
        assert_eq!(of[0].header(true, None), Ok(b"task,a,b,value,c\n".to_vec()));
        let line =
            |at: usize, result: &str| of[at].row(Some("t"), &[], result.as_bytes()).map_err(|e| e.message.clone());
        assert_eq!(line(0, r#"{"a":1,"b":"x,y"}"#), Ok(b"t,1,\"x,y\",,\n".to_vec()));
        assert_eq!(line(1, "[1,2]"), Ok(b"t,,,\"[1,2]\",\n".to_vec()));
        assert_eq!(line(2, "null"), Ok(b"t,,,,\n".to_vec()));
        assert!(line(2, "7").is_err());
    }

    #[test]
    fn a_name_that_the_output_has_already_is_refused() {
        let columns = ResultColumns::of_tasks(&[names(&["a"])]);
        let keeping = |name| KeptColumns::new(names(&[name]), ItemEncoding::Csv);
        assert_eq!(columns[0].header(false, Some(&keeping("a"))), Err(ColumnTwice("a".to_owned())));
        assert_eq!(columns[0].header(false, Some(&keeping("task"))), Ok(b"task,a\n".to_vec()));
        assert!(columns[0].header(true, Some(&keeping("task"))).is_err());
    }

    proptest! {
        #[test]
        fn a_row_is_read_as_the_cells_it_was_written_from(cells in proptest::collection::vec("[a-c,;\"\n\r ä]{0,6}", 1..5)) {
            let line = row(cells.iter().map(|cell| Cell::Text(cell)));
            let read = row::of_text(&line, b',', None).expect("it is one row");
            prop_assert_eq!(serde_json::from_slice::<Vec<String>>(&read).expect("JSON"), cells);
        }
    }
}
