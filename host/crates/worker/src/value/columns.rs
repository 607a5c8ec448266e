//! Checks the columns of CSV against a function before it gets any row.

use std::collections::HashMap;

use super::misfit::shorten;
use super::names::Names;
use super::params::FunctionParams;
use super::shape::{Fields, TypePlan};
use super::wit;
use wasmpool_core::policy::CsvColumns;
use wasmpool_core::setting::Setting;

/// Delimiters other than the default that a header may have, as the command line writes them.
const DELIMITERS: [(char, &str); 4] = [(';', "';'"), ('\t', "'\\t'"), ('|', "'|'"), (',', "','")];
/// Maximum number of names that a message lists.
const SHOWN: usize = 30;

/// The reason why no row can fit a function. Columns are listed as text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    /// The function takes columns by name, and the columns have none.
    #[error("the function takes columns by any names, and {} gives them none", Setting::NoHeader)]
    Nameless,
    /// Two columns have the name of one that is wanted.
    #[error("the CSV has the column `{0}` twice; give one of them another name")]
    Twice(String),
    /// Columns that the function requires are missing.
    #[error("the CSV lacks columns that the function wants: {missing}; it has {found}{}", told(.hint))]
    Missing { missing: String, found: String, hint: Option<ColumnsHint> },
    /// There is none of the columns that the function takes, all of which may be missing.
    #[error("the CSV has none of the columns that the function takes: {taken}; it has {found}{}", told(.hint))]
    NoneOf { taken: String, found: String, hint: Option<ColumnsHint> },
    /// The rows have too few or too many cells.
    #[error(
        "the rows of the CSV have {count} cells, and the function takes {wanted}: {taken}; is it another {}?",
        Setting::CsvDelimiter
    )]
    Count { count: usize, wanted: usize, taken: String },
}

/// What may be wrong where columns are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnsHint {
    /// Another delimiter, as the command line writes it.
    Delimiter(&'static str),
    /// The first row is data.
    NoHeader,
    /// The first row says what separates the columns, as some spreadsheets write it.
    Separator,
}

fn told(hint: &Option<ColumnsHint>) -> String {
    match hint {
        Some(ColumnsHint::Delimiter(name)) => {
            format!("; its columns seem to be separated by {name}: {} {name}", Setting::CsvDelimiter)
        }
        Some(ColumnsHint::NoHeader) => format!(
            "; the first row has to name the columns so; where it is data already, {} takes cells in this order",
            Setting::NoHeader
        ),
        Some(ColumnsHint::Separator) => {
            "; its first row only says to a spreadsheet what separates the columns: remove that row (tail -n +2)"
                .to_owned()
        }
        None => String::new(),
    }
}

/// Returns an error if no row can fit: it names every missing column, and those there are.
pub fn check(params: &FunctionParams, columns: &CsvColumns) -> Result<(), ColumnsError> {
    let Some(fields) = wanted(params) else {
        return match columns {
            CsvColumns::Named(_) => Ok(()),
            CsvColumns::Counted(_) => Err(ColumnsError::Nameless),
        };
    };
    match columns {
        _ if fields.shapes.is_empty() => Ok(()),
        CsvColumns::Named(names) => by_name(fields, names),
        CsvColumns::Counted(count) => by_place(fields, *count),
    }
}

/// Returns the fields that the cells of a row fill, or `None` if names do not matter.
fn wanted(params: &FunctionParams) -> Option<&Fields> {
    let free = params.free();
    let [shape] = &free.shapes[..] else {
        return Some(free);
    };
    if !shape.is_row() {
        return Some(free);
    }
    let mut shape = shape;
    while let TypePlan::Option(inner) = shape {
        shape = inner;
    }
    match shape {
        TypePlan::Record(fields) => Some(fields),
        _ => None,
    }
}

fn by_name(fields: &Fields, names: &[String]) -> Result<(), ColumnsError> {
    let there = Names::new(names.to_vec());
    let mut times: HashMap<&str, usize> = HashMap::new();
    names.iter().for_each(|name| *times.entry(name).or_default() += 1);
    let mut known = 0;
    let mut missing = Vec::new();
    for (name, shape) in fields.iter() {
        match times.get(name).copied().unwrap_or_default() {
            0 if shape.may_be_missing() => {}
            0 => missing.push((name, shape)),
            1 => known += 1,
            _ => return Err(ColumnsError::Twice(name.to_owned())),
        }
    }
    if missing.is_empty() && known > 0 {
        return Ok(());
    }
    let delimiter = delimiter(fields, names, known);
    let found = list(names.iter().map(|name| format!("`{}`", shorten(name))));
    let no_header = (known == 0).then_some(ColumnsHint::NoHeader);
    let separator = names.first().is_some_and(|name| name.trim_matches('"').starts_with("sep="));
    let hint = separator.then_some(ColumnsHint::Separator);
    let hint = hint.or_else(|| delimiter.map(ColumnsHint::Delimiter)).or(no_header);
    if missing.is_empty() {
        let taken = list(fields.iter().map(|(name, shape)| quoted(name, shape)));
        return Err(ColumnsError::NoneOf { taken, found, hint });
    }
    let missing = list(missing.iter().map(|(name, shape)| {
        // Capitals make two names less similar than they are.
        let same = names.iter().find(|other| other.trim().eq_ignore_ascii_case(name)).map(String::as_str);
        let near = same.or_else(|| there.near(name)).filter(|_| delimiter.is_none());
        let near = near.map(|near| format!(" (is it `{}`?)", shorten(near)));
        quoted(name, shape) + &near.unwrap_or_default()
    }));
    Err(ColumnsError::Missing { missing, found, hint })
}

/// Returns the delimiter that a header seems to have in which not all fields were found, as the command line writes it.
fn delimiter(fields: &Fields, names: &[String], known: usize) -> Option<&'static str> {
    let fits = |part: &str| fields.names.find(part.trim().trim_matches('"'), 0).is_some();
    // Cells may contain the comma that was taken for the delimiter.
    let header = names.join(",");
    let separated = DELIMITERS.iter().find(|(delimiter, _)| {
        header.contains(*delimiter) && header.split(*delimiter).filter(|part| fits(part)).count() > known
    });
    let alone = || match names {
        [one] => DELIMITERS.iter().find(|(delimiter, _)| one.contains(*delimiter)),
        _ => None,
    };
    separated.or_else(alone).map(|(_, name)| *name)
}

fn by_place(fields: &Fields, count: usize) -> Result<(), ColumnsError> {
    let least = fields.shapes.iter().rposition(|shape| !shape.may_be_missing()).map_or(0, |last| last + 1);
    if (least..=fields.shapes.len()).contains(&count) {
        return Ok(());
    }
    let taken = list(fields.iter().map(|(name, shape)| quoted(name, shape)));
    Err(ColumnsError::Count { count, wanted: fields.shapes.len(), taken })
}

fn quoted(name: &str, shape: &TypePlan) -> String {
    format!("`{}`", wit::brief(wit::Field(name, shape)))
}

fn list(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.take(SHOWN + 1).collect();
    if names.len() > SHOWN {
        names.truncate(SHOWN);
        names.push("…".to_owned());
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> FunctionParams {
        let coupon = TypePlan::Option(Box::new(TypePlan::String));
        let fields = [
            ("order-id", TypePlan::U32),
            ("country", TypePlan::String),
            ("weight-kg", TypePlan::F64),
            ("coupon", coupon),
        ];
        let record = Fields::new(fields.map(|(name, shape)| (name.to_owned(), shape)));
        FunctionParams::new(vec![("order".to_owned(), TypePlan::Record(record))])
    }

    fn named(header: &str) -> Result<(), ColumnsError> {
        check(&order(), &CsvColumns::Named(header.split(',').map(str::to_owned).collect()))
    }

    #[track_caller]
    fn says(result: Result<(), ColumnsError>, parts: &[&str]) {
        let message = result.expect_err("it does not fit").to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }

    #[test]
    fn a_header_with_all_that_is_wanted_fits_whatever_else_is_in_it() {
        assert_eq!(named("note,weight-kg,order-id,country"), Ok(()));
        assert_eq!(named("order-id,country,weight-kg,coupon"), Ok(()));
    }

    #[test]
    fn names_in_capitals_and_the_first_row_of_a_spreadsheet_are_recognised() {
        let result = named("ORDER-ID,Country,WEIGHT-KG");
        says(result, &["(is it `ORDER-ID`?)", "(is it `Country`?)", "(is it `WEIGHT-KG`?)"]);
        says(named("sep=;"), &["remove that row (tail -n +2)"]);
    }

    #[test]
    fn all_missing_columns_are_named_at_once_with_those_there_are() {
        let result = named("order_id,country,Weight,service");
        says(
            result,
            &[
                "`order-id: u32` (is it `order_id`?)",
                "`weight-kg: f64` (is it `Weight`?)",
                "it has `order_id`, `country`, `Weight`",
            ],
        );
        says(named("order-id,order-id,country,weight-kg"), &["`order-id` twice"]);
    }

    #[test]
    fn the_delimiter_that_a_header_seems_to_have_is_named() {
        says(named("order-id;country;weight-kg;coupon"), &["`csv_delimiter` ';'"]);
        says(named("order-id\tcountry\tweight-kg"), &["`csv_delimiter` '\\t'"]);
        says(named("order-id;\"country\";x,y"), &["`csv_delimiter` ';'"]);
        says(named("a|b"), &["`csv_delimiter` '|'"]);
    }

    #[test]
    fn a_first_row_that_is_data_is_taken_for_what_it_may_be() {
        says(named("0,AT,22.81,"), &["order-id", "it has `0`, `AT`, `22.81`", "`no_header`"]);
    }

    #[test]
    fn options_alone_fit_no_header_in_which_none_of_them_is() {
        let params = FunctionParams::new(vec![("x".to_owned(), TypePlan::Option(Box::new(TypePlan::U8)))]);
        says(check(&params, &CsvColumns::Named(vec!["y".to_owned()])), &["none of the columns", "`x: option<u8>`"]);
        assert_eq!(check(&params, &CsvColumns::Named(vec!["x".to_owned()])), Ok(()));
    }

    #[test]
    fn cells_without_names_are_counted() {
        assert_eq!(check(&order(), &CsvColumns::Counted(4)), Ok(()));
        assert_eq!(check(&order(), &CsvColumns::Counted(3)), Ok(()));
        says(check(&order(), &CsvColumns::Counted(2)), &["have 2 cells, and the function takes 4"]);
        says(check(&order(), &CsvColumns::Counted(5)), &["have 5 cells"]);
    }

    #[test]
    fn what_takes_nothing_or_any_names_is_held_against_none() {
        let any = TypePlan::Map(Box::new(TypePlan::String), Box::new(TypePlan::String));
        let params = FunctionParams::new(vec![("row".to_owned(), any)]);
        assert_eq!(check(&params, &CsvColumns::Named(vec!["y".to_owned()])), Ok(()));
        says(check(&params, &CsvColumns::Counted(1)), &["`no_header` gives them none"]);
        assert_eq!(check(&FunctionParams::new(Vec::new()), &CsvColumns::Named(vec!["y".to_owned()])), Ok(()));
    }
}
