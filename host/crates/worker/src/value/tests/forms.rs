use super::*;

fn bytes(shape: &TypePlan, item: &[u8]) -> Result<Val, String> {
    decode(shape, item, ItemEncoding::Bytes).map_err(|misfit| misfit.to_string())
}

fn row(shape: &TypePlan, item: &str) -> Result<Val, String> {
    decode(shape, item.as_bytes(), ItemEncoding::Csv).map_err(|misfit| misfit.to_string())
}

#[test]
fn bytes_are_taken_as_they_are() {
    let quoted = Val::String("\"a\" \\n".into());
    assert_eq!(bytes(&TypePlan::String, b"\"a\" \\n").unwrap(), quoted);
    assert_eq!(bytes(&option(TypePlan::String), b"").unwrap(), some(Val::String(String::new())));
    let any = Val::List(vec![Val::U8(0), Val::U8(255)]);
    assert_eq!(bytes(&TypePlan::Bytes, b"\x00\xff").unwrap(), any);
    assert!(bytes(&TypePlan::String, b"\xff").unwrap_err().contains("not UTF-8"));
}

#[test]
fn text_where_a_number_is_wanted_points_to_the_input_format() {
    assert_eq!(
        bytes(&TypePlan::S64, b"12").unwrap_err(),
        "expected s64, got the text 12 \
         (the item is text as it stands; it is read as JSON with an argument that is not `Bytes`)"
    );
}

#[test]
fn a_row_fills_a_record_and_each_cell_becomes_its_type() {
    let shape = record(&[
        ("name", TypePlan::String),
        ("age", option(TypePlan::U8)),
        ("score", TypePlan::F64),
        ("ok", TypePlan::Bool),
        ("color", TypePlan::Enum(names(&["red", "green"]))),
        ("tags", list(TypePlan::String)),
        ("data", TypePlan::Bytes),
        ("kind", variant(&[("none", None), ("n", Some(TypePlan::U8))])),
        ("extra", option(TypePlan::String)),
    ]);
    let item = r#"{"name":" Al ","unwanted":"x","age":"","score":" 1.5 ","ok":"True",
        "color":"green","tags":"[\"a\"]","data":"aGk=","kind":"none"}"#;
    let wanted = fields(&[
        ("name", Val::String(" Al ".into())),
        ("age", Val::Option(None)),
        ("score", Val::Float64(1.5)),
        ("ok", Val::Bool(true)),
        ("color", Val::Enum("green".into())),
        ("tags", Val::List(vec![Val::String("a".into())])),
        ("data", Val::List(vec![Val::U8(104), Val::U8(105)])),
        ("kind", Val::Variant("none".into(), None)),
        ("extra", Val::Option(None)),
    ]);
    assert_eq!(row(&shape, item).unwrap(), wanted);
}

#[test]
fn a_cell_that_does_not_fit_names_its_column() {
    let shape = record(&[("age", TypePlan::U8), ("tags", option(list(TypePlan::U8)))]);
    let error = |item| row(&shape, item).unwrap_err();
    assert_eq!(error(r#"{"age":"300"}"#), "at .age: expected u8, got \"300\" (out of range 0..=255)");
    assert_eq!(error(r#"{"age":"abc"}"#), "at .age: expected u8, got \"abc\"");
    assert_eq!(error(r#"{"age":"1","tags":"[1,999]"}"#), "at .tags[1]: expected u8, got 999 (out of range 0..=255)");
    assert!(error(r#"{"age":"1","tags":"[1"}"#).starts_with("at .tags: not valid JSON"));
    assert!(error("{}").ends_with("column `age: u8` is missing"));
    assert!(error(r#"{"age":"1","age":"2"}"#).ends_with("column `age` is given twice"));
}

#[test]
fn a_float_cell_does_not_become_infinite_unsaid() {
    let shape = record(&[("x", TypePlan::F64)]);
    assert!(row(&shape, r#"{"x":"1e999"}"#).is_err());
    let infinite = fields(&[("x", Val::Float64(f64::INFINITY))]);
    assert_eq!(row(&shape, r#"{"x":"inf"}"#).unwrap(), infinite);
}

#[test]
fn a_row_fits_a_map_and_nothing_smaller() {
    let shape = TypePlan::Map(Box::new(TypePlan::String), Box::new(TypePlan::U8));
    let wanted = Val::Map(vec![(Val::String("a".into()), Val::U8(1))]);
    assert_eq!(row(&shape, r#"{"a":"1"}"#).unwrap(), wanted);
    assert!(row(&TypePlan::U8, r#"{"a":"1"}"#).unwrap_err().contains("a row of CSV"));
}
