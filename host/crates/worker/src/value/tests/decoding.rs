use super::*;
use crate::value::shape::Fields;

#[test]
fn an_integer_out_of_range_names_the_place_and_the_type() {
    let shape = record(&[("points", list(point()))]);
    assert_eq!(
        misfit(&shape, r#"{"points":[{"x":1,"y":2},{"x":300,"y":2}]}"#),
        "at .points[1].x: expected u8, got 300 (out of range 0..=255)"
    );
}

#[test]
fn integers_are_exact_to_the_ends_of_64_bits() {
    assert_eq!(good(&TypePlan::S64, "-9223372036854775808"), Val::S64(i64::MIN));
    assert_eq!(good(&TypePlan::S64, "9223372036854775807"), Val::S64(i64::MAX));
    assert_eq!(good(&TypePlan::U64, "18446744073709551615"), Val::U64(u64::MAX));
    assert_eq!(
        misfit(&TypePlan::U64, "18446744073709551616"),
        "expected u64, got 18446744073709551616 (out of range 0..=18446744073709551615)"
    );
    assert!(misfit(&TypePlan::S64, "9223372036854775808").contains("out of range"));
    assert!(misfit(&TypePlan::U8, "-1").contains("got -1 (out of range 0..=255)"));
}

#[test]
fn a_fraction_or_exponent_is_no_integer() {
    for text in ["3.0", "3.5", "1e2"] {
        assert_eq!(
            misfit(&TypePlan::S64, text),
            format!("expected s64, got {text} (an integer is written without fraction or exponent)")
        );
    }
    assert_eq!(good(&TypePlan::S64, "-0"), Val::S64(0));
}

#[test]
fn a_number_in_quotes_is_no_number() {
    assert_eq!(misfit(&TypePlan::U8, "\"7\""), "expected u8, got \"7\" (a number has no quotes)");
}

#[test]
fn floats_take_integers_and_the_three_names() {
    assert_eq!(good(&TypePlan::F64, "3"), Val::Float64(3.0));
    assert_eq!(good(&TypePlan::F64, "-0"), Val::Float64(-0.0));
    assert_eq!(good(&TypePlan::F64, "-0.0"), Val::Float64(-0.0));
    assert_eq!(good(&TypePlan::F64, "\"NaN\""), Val::Float64(f64::NAN));
    assert_eq!(good(&TypePlan::F32, "\"-Infinity\""), Val::Float32(f32::NEG_INFINITY));
    assert_eq!(misfit(&TypePlan::F64, "\"nan\""), "expected f64, got \"nan\"");
    assert_eq!(misfit(&TypePlan::F64, "1e400"), "expected f64, got 1e400 (out of range)");
    assert_eq!(misfit(&TypePlan::F32, "1e39"), "expected f32, got 1e39 (out of range)");
    assert!(misfit(&TypePlan::F64, "01").starts_with("not valid JSON"));
    assert!(misfit(&TypePlan::F64, "[1").starts_with("not valid JSON"));
    assert_eq!(misfit(&TypePlan::S64, "[1,2"), "not valid JSON: it breaks off within a list at column 4");
    assert!(misfit(&TypePlan::S64, "[[1]]").starts_with("expected s64, got [[1]]"));
}

#[test]
fn an_f32_is_rounded_once() {
    // As a double, this would be halfway between two floats.
    let number = "1.00000017881393432617187499";
    assert_eq!(good(&TypePlan::F32, number), Val::Float32(1.000_000_1));
}

#[test]
fn a_char_is_exactly_one_scalar() {
    assert_eq!(good(&TypePlan::Char, r#""\ud83d\ude00""#), Val::Char('😀'));
    assert!(misfit(&TypePlan::Char, r#""ab""#).contains("exactly one character"));
    assert!(misfit(&TypePlan::Char, r#""""#).contains("exactly one character"));
}

#[test]
fn a_lone_surrogate_is_refused() {
    for text in [r#""\ud800""#, r#""\udc00x""#, r#""\ud800\ud800""#] {
        assert!(misfit(&TypePlan::String, text).starts_with("not valid JSON"));
    }
    assert!(decode(&TypePlan::String, b"\"\xff\"", ItemEncoding::Json).is_err());
}

#[test]
fn invalid_json_says_where() {
    assert_eq!(misfit(&list(TypePlan::U8), "[1, }"), "not valid JSON: no value begins at column 5");
    assert_eq!(misfit(&list(TypePlan::S8), "[1,\n2,,"), "not valid JSON: no value begins at line 2, column 3");
    assert_eq!(misfit(&TypePlan::U8, "  "), "not valid JSON: there is nothing in the item");
    assert_eq!(misfit(&TypePlan::U8, "1 2"), "not valid JSON: more follows the value at column 3");
}

#[test]
fn text_nested_without_end_is_refused() {
    let mut shape = TypePlan::U8;
    for _ in 0..200 {
        shape = list(shape);
    }
    assert!(misfit(&shape, &"[".repeat(100_000)).contains("recursion limit"));
}

#[test]
fn a_record_takes_its_fields_in_any_order() {
    let shape = record(&[("a", TypePlan::U8), ("b-c", TypePlan::String), ("d", TypePlan::Bool)]);
    let wanted = fields(&[("a", Val::U8(1)), ("b-c", Val::String("x".into())), ("d", Val::Bool(true))]);
    assert_eq!(good(&shape, r#"{"a":1,"b-c":"x","d":true}"#), wanted);
    assert_eq!(good(&shape, r#"{"d":true,"b-\u0063":"x","a":1}"#), wanted);
}

#[test]
fn only_an_option_may_be_left_out_of_a_record() {
    let shape = record(&[("a", TypePlan::U8), ("b", option(TypePlan::U8))]);
    let wanted = fields(&[("a", Val::U8(1)), ("b", Val::Option(None))]);
    assert_eq!(good(&shape, r#"{"a":1}"#), wanted);
    assert_eq!(misfit(&shape, r#"{"b":1}"#), "expected record { a: u8, b: option<u8> }: field `a: u8` is missing");
}

#[test]
fn an_unknown_field_is_named_with_the_one_that_was_meant() {
    let shape = list(record(&[("user-name", TypePlan::String), ("age", TypePlan::U8)]));
    assert_eq!(
        misfit(&shape, r#"[{"user_name":"x"}]"#),
        "at [0]: expected record { user-name: string, age: u8 }: \
         no field `user_name`; did you mean `user-name`?"
    );
    assert!(misfit(&shape, r#"[{"zzz":1}]"#).ends_with("; there are `user-name`, `age`"));
}

#[test]
fn a_key_given_twice_is_refused() {
    let what = misfit(&point(), r#"{"x":1,"x":2,"y":3}"#);
    assert!(what.ends_with("field `x` is given twice"), "{what}");
    let map = TypePlan::Map(Box::new(TypePlan::U8), Box::new(TypePlan::U8));
    let what = misfit(&map, r#"{"1":1,"01":2}"#);
    assert!(what.ends_with("the key \"01\" is given twice"), "{what}");
}

#[test]
fn left_out_options_cannot_multiply_memory() {
    let many = (0..1000).map(|at| (format!("f{at}"), option(TypePlan::U8)));
    let shape = list(TypePlan::Record(Fields::new(many)));
    let text = format!("[{}{{}}]", "{},".repeat(2000));
    assert!(misfit(&shape, &text).ends_with("too many fields are left out"));
}

#[test]
fn an_option_is_null_or_the_value() {
    let shape = option(TypePlan::U8);
    assert_eq!(good(&shape, "null"), Val::Option(None));
    assert_eq!(good(&shape, " 7"), some(Val::U8(7)));
    assert_eq!(misfit(&shape, "\"x\""), "expected u8, got \"x\"");
}

#[test]
fn a_nested_option_says_some() {
    let shape = option(option(TypePlan::U8));
    assert_eq!(good(&shape, "null"), Val::Option(None));
    assert_eq!(good(&shape, r#"{"some":null}"#), some(Val::Option(None)));
    assert_eq!(good(&shape, r#"{"some":7}"#), some(some(Val::U8(7))));
    assert_eq!(misfit(&shape, "7"), "expected option<option<u8>>, got 7");
    let what = misfit(&shape, r#"{"none":7}"#);
    assert!(what.ends_with(r#"it is null or {"some": …}"#), "{what}");
    assert!(misfit(&shape, r#"{"some":1,"some":2}"#).ends_with("more than one member"));
    assert!(misfit(&shape, r#"{"some":300}"#).starts_with("at .some: expected u8, got 300"));
}

#[test]
fn a_variant_is_its_case_with_or_without_payload() {
    let shape = variant(&[("circle", Some(TypePlan::F64)), ("empty", None)]);
    let circle = Val::Variant("circle".into(), Some(Box::new(Val::Float64(2.0))));
    let empty = Val::Variant("empty".into(), None);
    assert_eq!(good(&shape, r#"{"circle":2}"#), circle);
    assert_eq!(good(&shape, r#""empty""#), empty);
    assert_eq!(good(&shape, r#"{"empty":null}"#), empty);
    for (text, why) in [
        (r#""circle""#, r#"`circle` carries a f64: {"circle": …}"#),
        (r#"{"empty":1}"#, "`empty` carries nothing: its value is null"),
        (r#""circl""#, "no case `circl`; did you mean `circle`?"),
        (r#"{"square":1}"#, "no case `square`; there are `circle`, `empty`"),
        ("{}", "the object is empty: it names one case"),
        (r#"{"circle":1,"empty":null}"#, "the object has more than one member"),
    ] {
        let wanted = format!("expected variant {{ circle(f64), empty }}: {why}");
        assert_eq!(misfit(&shape, text), wanted);
    }
    assert_eq!(misfit(&shape, r#"{"circle":[]}"#), "at .circle: expected f64, got []");
}

#[test]
fn a_result_inside_a_value_is_ok_or_err() {
    let shape = TypePlan::Result { ok: Some(Box::new(TypePlan::U8)), err: None };
    let ok = Val::Result(Ok(Some(Box::new(Val::U8(1)))));
    assert_eq!(good(&shape, r#"{"ok":1}"#), ok);
    assert_eq!(good(&shape, r#"{"err":null}"#), Val::Result(Err(None)));
    assert!(misfit(&shape, r#"{"err":1}"#).contains("`err` carries nothing"));
    assert!(misfit(&shape, "{}").contains(r#"it is {"ok": …} or {"err": …}"#));
}

#[test]
fn flags_are_names_and_each_at_most_once() {
    let shape = TypePlan::Flags(names(&["read", "write"]));
    let both = Val::Flags(vec!["read".into(), "write".into()]);
    assert_eq!(good(&shape, r#"["write","read"]"#), both);
    assert_eq!(good(&shape, "[]"), Val::Flags(vec![]));
    assert!(misfit(&shape, r#"["read","read"]"#).ends_with("flag `read` is given twice"));
    let what = misfit(&shape, r#"["read","wriet"]"#);
    assert!(what.starts_with("at [1]: "), "{what}");
    assert!(what.ends_with("did you mean `write`?"), "{what}");
    assert!(json(&shape, "[3]").is_err());
}

#[test]
fn an_enum_is_one_of_its_names() {
    let shape = TypePlan::Enum(names(&["red", "green"]));
    assert_eq!(good(&shape, "\"green\""), Val::Enum("green".into()));
    assert!(misfit(&shape, "\"gren\"").ends_with("did you mean `green`?"));
    assert_eq!(misfit(&shape, "1"), "expected enum { red, green }, got 1");
}

#[test]
fn bytes_are_base64_or_numbers() {
    let hi = Val::List(vec![Val::U8(104), Val::U8(105)]);
    assert_eq!(good(&TypePlan::Bytes, "\"aGk=\""), hi);
    assert_eq!(good(&TypePlan::Bytes, "[104, 105]"), hi);
    assert_eq!(decode_bytes(b"\"aGk=\"", ItemEncoding::Json).unwrap(), &b"hi"[..]);
    assert_eq!(decode_bytes(b"[104,105]", ItemEncoding::Json).unwrap(), &b"hi"[..]);
    for text in ["\"aGk\"", "\"a-_=\"", "\"aGl=\""] {
        let what = misfit(&TypePlan::Bytes, text);
        assert!(what.contains("base64 with padding"), "{what}");
        assert_eq!(decode_bytes(text.as_bytes(), ItemEncoding::Json).unwrap_err().to_string(), what);
    }
    assert!(misfit(&TypePlan::Bytes, "[1,256]").starts_with("at [1]: expected u8, got 256"));
}

#[test]
fn a_tuple_has_exactly_its_elements() {
    let shape = TypePlan::Tuple(vec![TypePlan::U8, TypePlan::String]);
    let pair = Val::Tuple(vec![Val::U8(1), Val::String("a".into())]);
    assert_eq!(good(&shape, r#"[1,"a"]"#), pair);
    assert_eq!(misfit(&shape, "[1]"), "expected tuple<u8, string>, got [1] (1 element where 2 are wanted)");
    assert!(misfit(&shape, r#"[1,"a",2]"#).ends_with("(more elements where 2 are wanted)"));
    let pair = TypePlan::FixedList(Box::new(TypePlan::U8), u32::MAX);
    assert!(misfit(&pair, "[1,2]").contains("2 elements where 4294967295 are wanted"));
}

#[test]
fn a_message_is_short_and_safe_to_print() {
    let long = format!("\"{}\\u001b[2J\u{9b}31m\"", "x".repeat(10));
    let what = misfit(&TypePlan::U8, &long);
    assert!(what.contains("\\u{9b}31m") && !what.contains('\u{9b}'), "{what}");
    let key = misfit(&point(), r#"{"\u001b[2J":1}"#);
    assert!(key.contains("\\u{1b}[2J"), "{key}");
    let many = (0..500).map(|at| (format!("field-{at}"), TypePlan::U8));
    let wide = TypePlan::Record(Fields::new(many));
    let what = misfit(&wide, &format!("\"{}\"", "é".repeat(10_000)));
    assert!(what.chars().count() < 250, "{what}");
}

#[test]
fn the_short_way_for_a_bare_integer_takes_what_json_takes() {
    for text in ["01", "-", "+1", "1a", "", "--1", "0x1", "-01"] {
        assert!(misfit(&TypePlan::S64, text).starts_with("not valid JSON"), "{text}");
    }
    for text in ["0", "-5", "999999999999999999", "1000000000000000000", " 7\t"] {
        let wanted = Val::S64(text.trim().parse().unwrap());
        assert_eq!(good(&TypePlan::S64, text), wanted);
    }
    assert_eq!(misfit(&TypePlan::Bool, "1"), "expected bool, got 1");
}

#[test]
fn a_list_of_integers_says_which_one_does_not_fit() {
    for (shape, what) in [
        (TypePlan::U8, "256"),
        (TypePlan::S32, "2147483648"),
        (TypePlan::U32, "-1"),
        (TypePlan::S64, "1e3"),
        (TypePlan::U64, "true"),
        (TypePlan::S16, "null"),
        (TypePlan::U32, "\"x\""),
        (TypePlan::S64, "[1]"),
        (TypePlan::U64, "{}"),
    ] {
        let message = misfit(&list(shape.clone()), &format!("[1,-0,{what}]"));
        let wanted = format!("at [2]: expected {}, got {what}", shape.wit());
        assert!(message.starts_with(&wanted), "{message}");
    }
}
