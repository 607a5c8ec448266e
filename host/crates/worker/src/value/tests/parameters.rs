use super::*;
use crate::value::params::{BindError, MeantFormat};

fn params(list: &[(&str, TypePlan)]) -> FunctionParams {
    let list = list.iter().cloned();
    FunctionParams::new(list.map(|(name, s)| (name.to_owned(), s)).collect())
}

fn two() -> FunctionParams {
    params(&[("base", TypePlan::U8), ("exp", option(TypePlan::U8))])
}

fn call(params: &FunctionParams, item: &str, form: ItemEncoding) -> Result<Vec<Val>, String> {
    let mut out = vec![Val::Bool(true)];
    let decoded = params.decode(item.as_bytes(), form, &mut out);
    decoded.map(|()| out).map_err(|misfit| misfit.to_string())
}

fn args(params: &FunctionParams, item: &str) -> Result<Vec<Val>, String> {
    call(params, item, ItemEncoding::Json)
}

#[test]
fn one_parameter_takes_the_item_itself() {
    let one = params(&[("xs", list(TypePlan::U8))]);
    let xs = Val::List(vec![Val::U8(1), Val::U8(2)]);
    assert_eq!(args(&one, "[1,2]").unwrap(), [xs]);
}

#[test]
fn more_parameters_take_an_array_or_an_object() {
    let both = [Val::U8(2), some(Val::U8(3))];
    assert_eq!(args(&two(), "[2,3]").unwrap(), both);
    assert_eq!(args(&two(), r#"{"exp":3,"base":2}"#).unwrap(), both);
    let base = [Val::U8(2), Val::Option(None)];
    assert_eq!(args(&two(), r#"{"base":2}"#).unwrap(), base);
    assert_eq!(
        args(&two(), "7").unwrap_err(),
        "expected the parameters (base: u8, exp: option<u8>), got 7 \
         (an item is an array of them, or an object with their names; `bind` gives one of them to all items)"
    );
    assert!(args(&two(), "[2]").unwrap_err().ends_with("got [2] (1 of 2 parameters)"));
    assert!(args(&two(), "[1,2,3]").unwrap_err().ends_with("(more than 2 parameters)"));
    assert!(args(&two(), "[1,300]").unwrap_err().starts_with("at [1]: expected u8, got 300"));
    assert!(args(&two(), r#"{"base":300}"#).unwrap_err().starts_with("at .base: expected u8"));
    assert!(args(&two(), r#"{"bas":1}"#).unwrap_err().ends_with("did you mean `base`?"));
}

#[test]
fn an_element_of_the_list_that_a_function_takes_is_known() {
    let (numbers, text) = (params(&[("xs", list(TypePlan::S64))]), params(&[("text", TypePlan::String)]));
    for (of, item, meant) in [
        (&numbers, "1", Some(MeantFormat::Element)),
        (&numbers, "\"1\"", None),
        (&numbers, "[\"1\"]", None),
        (&text, "1", None),
        (&text, "one", Some(MeantFormat::Lines)),
        (&two(), "1,2", Some(MeantFormat::Csv)),
    ] {
        assert_eq!(of.meant(item.as_bytes(), ItemEncoding::Json), meant, "{item}");
    }
}

#[test]
fn no_parameter_takes_only_null() {
    let none = params(&[]);
    assert_eq!(args(&none, " null ").unwrap(), []);
    for item in ["1", "[]", "{}", "\"\""] {
        let what = args(&none, item).unwrap_err();
        assert!(what.starts_with("expected null, as the function takes nothing"), "{what}");
    }
}

#[test]
fn a_bound_parameter_leaves_the_rest_to_the_item() {
    let mut params = params(&[("a", TypePlan::U8), ("b", TypePlan::U8), ("c", TypePlan::U8)]);
    params.bind("b", b"7").unwrap();
    let all = [Val::U8(1), Val::U8(7), Val::U8(3)];
    assert_eq!(args(&params, "[1,3]").unwrap(), all);
    assert_eq!(args(&params, r#"{"c":3,"a":1}"#).unwrap(), all);
    let what = args(&params, r#"{"a":1,"b":2,"c":3}"#).unwrap_err();
    assert!(what.ends_with("parameter `b` is bound already"), "{what}");
    params.bind("a", b"1").unwrap();
    assert_eq!(args(&params, "3").unwrap(), all);
    params.bind("c", b"3").unwrap();
    assert_eq!(args(&params, "null").unwrap(), all);
}

#[test]
fn what_cannot_be_bound_says_why() {
    let mut params = two();
    let error = |error: BindError| error.to_string();
    assert_eq!(error(params.bind("bse", b"1").unwrap_err()), "no parameter `bse`; did you mean `base`?");
    assert_eq!(
        error(params.bind("base", b"300").unwrap_err()),
        "parameter `base`: expected u8, got 300 (out of range 0..=255)"
    );
    params.bind("base", b"3").unwrap();
    assert_eq!(error(params.bind("base", b"3").unwrap_err()), "parameter `base` is bound twice");
}

#[test]
fn a_row_fills_parameters_by_name() {
    let row = r#"{"base":"2","exp":"3","comment":"x"}"#;
    let both = [Val::U8(2), some(Val::U8(3))];
    assert_eq!(call(&two(), row, ItemEncoding::Csv).unwrap(), both);
    let one = params(&[("base", TypePlan::U8)]);
    assert_eq!(call(&one, row, ItemEncoding::Csv).unwrap(), [Val::U8(2)]);
    let record = params(&[("p", super::record(&[("exp", TypePlan::U8)]))]);
    let wanted = [fields(&[("exp", Val::U8(3))])];
    assert_eq!(call(&record, row, ItemEncoding::Csv).unwrap(), wanted);
    let what = call(&two(), "{}", ItemEncoding::Csv).unwrap_err();
    assert!(what.ends_with("column `base: u8` is missing"), "{what}");
}

#[test]
fn bytes_fill_exactly_one_parameter() {
    let mut params = params(&[("text", TypePlan::String), ("n", TypePlan::U8)]);
    assert!(call(&params, "x", ItemEncoding::Bytes).unwrap_err().contains("`bind`"));
    params.bind("n", b"1").unwrap();
    let wanted = [Val::String("x".into()), Val::U8(1)];
    assert_eq!(call(&params, "x", ItemEncoding::Bytes).unwrap(), wanted);
}
