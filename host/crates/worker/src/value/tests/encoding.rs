use wasmpool_core::json::encode_bytes;

use super::*;

#[test]
fn a_float_has_the_shortest_digits_that_mean_it() {
    assert_eq!(text(&TypePlan::F32, &Val::Float32(0.1)), "0.1");
    assert_eq!(text(&TypePlan::F64, &Val::Float64(0.1)), "0.1");
    assert_eq!(text(&TypePlan::F64, &Val::Float64(-0.0)), "-0.0");
    assert_eq!(text(&TypePlan::F32, &Val::Float32(f32::NAN)), "\"NaN\"");
    assert_eq!(text(&TypePlan::F32, &Val::Float32(f32::INFINITY)), "\"Infinity\"");
    assert_eq!(text(&TypePlan::F64, &Val::Float64(f64::NEG_INFINITY)), "\"-Infinity\"");
}

#[test]
fn a_line_break_is_always_escaped() {
    let val = Val::String("a\nb\r\"\\\u{1b}é😀".into());
    assert_eq!(text(&TypePlan::String, &val), r#""a\nb\r\"\\\u001bé😀""#);
    assert_eq!(text(&TypePlan::Char, &Val::Char('\n')), r#""\n""#);
}

#[test]
fn every_length_of_bytes_is_base64_with_padding() {
    for length in [0, 1, 2, 3, 767, 768, 769, 770, 5000] {
        let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let mut wanted = Vec::new();
        encode_bytes(&bytes, &mut wanted);
        let val = Val::List(bytes.iter().copied().map(Val::U8).collect());
        assert_eq!(text(&TypePlan::Bytes, &val).as_bytes(), wanted);
        assert_eq!(*decode_bytes(&wanted, ItemEncoding::Json).unwrap(), bytes);
    }
}

#[test]
fn a_map_is_an_object_and_its_last_value_counts() {
    let shape = TypePlan::Map(Box::new(TypePlan::U8), Box::new(TypePlan::Bool));
    let val =
        Val::Map(vec![(Val::U8(1), Val::Bool(true)), (Val::U8(2), Val::Bool(true)), (Val::U8(1), Val::Bool(false))]);
    assert_eq!(text(&shape, &val), r#"{"2":true,"1":false}"#);
}

#[test]
fn raw_is_what_a_program_that_reads_no_json_wants() {
    let raw = |shape: &TypePlan, val: &Val| {
        let mut out = b">".to_vec();
        shape.encode_raw(val, &mut out).unwrap();
        out
    };
    let string = Val::String("a\n\"b".into());
    assert_eq!(raw(&TypePlan::String, &string), b">a\n\"b");
    assert_eq!(raw(&option(TypePlan::String), &some(string)), b">a\n\"b");
    assert_eq!(raw(&option(TypePlan::String), &Val::Option(None)), b">null");
    let bytes = Val::List(vec![Val::U8(0), Val::U8(255)]);
    assert_eq!(raw(&TypePlan::Bytes, &bytes), b">\x00\xff");
    let color = TypePlan::Enum(names(&["red"]));
    assert_eq!(raw(&color, &Val::Enum("red".into())), b">red");
    assert_eq!(raw(&TypePlan::Char, &Val::Char('é')), ">é".as_bytes());
    assert_eq!(raw(&list(TypePlan::String), &Val::List(vec![])), b">[]");
}

#[test]
fn a_result_beyond_the_limit_is_not_written_out() {
    let shape = list(TypePlan::U64);
    let val = Val::List(vec![Val::U64(u64::MAX); 1000]);
    let mut out = b"before".to_vec();
    let error = shape.encode_within(&val, 100, &mut out).unwrap_err();
    assert_eq!(error, EncodeError::TooLarge { limit: 100 });
    assert!(out.len() < 150);
    out.clear();
    let exact = text(&shape, &val).len();
    assert!(shape.encode_within(&val, exact, &mut out).is_ok());
    assert!(shape.encode_within(&val, exact - 1, &mut out).is_err());
}

#[test]
fn a_value_of_another_type_is_an_error_and_no_panic() {
    let mut out = Vec::new();
    assert!(TypePlan::U8.encode(&Val::Bool(true), &mut out).is_err());
    assert!(point().encode(&Val::Record(vec![]), &mut out).is_err());
}
