use super::*;
use crate::value::{names::Names, shape::Cases, shape::Fields};
use proptest::collection::vec;
use proptest::option as maybe;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

fn label() -> impl Strategy<Value = String> {
    "[a-z]{1,4}(-[a-z]{1,3})?"
}

fn labels() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set(label(), 1..5).prop_map(|set| set.into_iter().collect())
}

fn scalar() -> impl Strategy<Value = TypePlan> {
    prop::sample::select(vec![
        TypePlan::Bool,
        TypePlan::S8,
        TypePlan::U8,
        TypePlan::S16,
        TypePlan::U16,
        TypePlan::S32,
        TypePlan::U32,
        TypePlan::S64,
        TypePlan::U64,
        TypePlan::F32,
        TypePlan::F64,
        TypePlan::Char,
        TypePlan::String,
        TypePlan::Bytes,
    ])
}

fn shape() -> impl Strategy<Value = TypePlan> {
    let leaf = prop_oneof![
        8 => scalar(),
        1 => labels().prop_map(|list| TypePlan::Enum(Names::new(list))),
        1 => labels().prop_map(|list| TypePlan::Flags(Names::new(list))),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let shapes = vec(inner.clone(), 4);
        let payloads = vec(maybe::of(inner.clone()), 4);
        let key = prop::sample::select(vec![TypePlan::String, TypePlan::S8, TypePlan::Bool, TypePlan::Char]);
        prop_oneof![
            2 => boxed.clone().prop_map(TypePlan::Option),
            // A list of bytes is not planned as a list.
            1 => boxed.clone().prop_map(|inner| match *inner {
                TypePlan::U8 => TypePlan::Bytes,
                inner => list(inner),
            }),
            1 => (boxed.clone(), 0..4_u32).prop_map(|(inner, n)| TypePlan::FixedList(inner, n)),
            1 => (key, boxed.clone()).prop_map(|(key, value)| TypePlan::Map(Box::new(key), value)),
            1 => vec(inner, 1..4).prop_map(TypePlan::Tuple),
            2 => (labels(), shapes).prop_map(|(names, shapes)| {
                TypePlan::Record(Fields::new(names.into_iter().zip(shapes)))
            }),
            1 => (labels(), payloads).prop_map(|(names, payloads)| {
                TypePlan::Variant(Cases::new(names.into_iter().zip(payloads)))
            }),
            1 => (maybe::of(boxed.clone()), maybe::of(boxed))
                .prop_map(|(ok, err)| TypePlan::Result { ok, err }),
        ]
    })
}

fn payload(shape: Option<&TypePlan>) -> BoxedStrategy<Option<Box<Val>>> {
    match shape {
        None => Just(None).boxed(),
        Some(shape) => value(shape).prop_map(|val| Some(Box::new(val))).boxed(),
    }
}

fn value(shape: &TypePlan) -> BoxedStrategy<Val> {
    match shape.clone() {
        TypePlan::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        TypePlan::S8 => any::<i8>().prop_map(Val::S8).boxed(),
        TypePlan::U8 => any::<u8>().prop_map(Val::U8).boxed(),
        TypePlan::S16 => any::<i16>().prop_map(Val::S16).boxed(),
        TypePlan::U16 => any::<u16>().prop_map(Val::U16).boxed(),
        TypePlan::S32 => any::<i32>().prop_map(Val::S32).boxed(),
        TypePlan::U32 => any::<u32>().prop_map(Val::U32).boxed(),
        TypePlan::S64 => any::<i64>().prop_map(Val::S64).boxed(),
        TypePlan::U64 => any::<u64>().prop_map(Val::U64).boxed(),
        TypePlan::F32 => any::<u32>().prop_map(|bits| Val::Float32(f32::from_bits(bits))).boxed(),
        TypePlan::F64 => any::<u64>().prop_map(|bits| Val::Float64(f64::from_bits(bits))).boxed(),
        TypePlan::Char => any::<char>().prop_map(Val::Char).boxed(),
        TypePlan::String => any::<String>().prop_map(Val::String).boxed(),
        TypePlan::Bytes => vec(any::<u8>().prop_map(Val::U8), 0..9).prop_map(Val::List).boxed(),
        TypePlan::List(inner) => vec(value(&inner), 0..4).prop_map(Val::List).boxed(),
        TypePlan::FixedList(inner, n) => vec(value(&inner), n as usize).prop_map(Val::FixedLengthList).boxed(),
        TypePlan::Map(key, inner) => vec((value(&key), value(&inner)), 0..4)
            .prop_map(|mut list| {
                list.sort_by_key(|(key, _)| format!("{key:?}"));
                list.dedup_by(|a, b| a.0 == b.0);
                Val::Map(list)
            })
            .boxed(),
        TypePlan::Tuple(shapes) => {
            let each: Vec<_> = shapes.iter().map(value).collect();
            each.prop_map(Val::Tuple).boxed()
        }
        TypePlan::Record(fields) => {
            let each: Vec<_> = fields.shapes.iter().map(value).collect();
            let names = fields.names.as_slice().to_vec();
            each.prop_map(move |vals| Val::Record(names.iter().cloned().zip(vals).collect())).boxed()
        }
        TypePlan::Variant(cases) => any::<Index>()
            .prop_flat_map(move |at| {
                let at = at.index(cases.names.as_slice().len());
                let name = cases.names.as_slice()[at].clone();
                payload(cases.payloads[at].as_ref()).prop_map(move |payload| Val::Variant(name.clone(), payload))
            })
            .boxed(),
        TypePlan::Enum(names) => prop::sample::select(names.as_slice().to_vec()).prop_map(Val::Enum).boxed(),
        TypePlan::Flags(names) => {
            let all = names.as_slice().to_vec();
            let count = 0..=all.len();
            subsequence(all, count).prop_map(Val::Flags).boxed()
        }
        TypePlan::Option(inner) => {
            prop_oneof![Just(Val::Option(None)), value(&inner).prop_map(|val| Val::Option(Some(Box::new(val)))),]
                .boxed()
        }
        TypePlan::Result { ok, err } => prop_oneof![
            payload(ok.as_deref()).prop_map(|val| Val::Result(Ok(val))),
            payload(err.as_deref()).prop_map(|val| Val::Result(Err(val))),
        ]
        .boxed(),
    }
}

fn shape_and_value() -> impl Strategy<Value = (TypePlan, Val)> {
    shape().prop_flat_map(|shape| value(&shape).prop_map(move |val| (shape.clone(), val)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_written_is_one_line_of_json_and_reads_back_the_same(
        (shape, val) in shape_and_value(),
    ) {
        let written = text(&shape, &val);
        prop_assert!(!written.contains(['\n', '\r']));
        prop_assert!(serde_json::from_str::<serde_json::Value>(&written).is_ok());
        prop_assert_eq!(json(&shape, &written), Ok(val));
    }

    #[test]
    fn an_example_is_an_item_of_its_type(shapes in vec((label(), shape()), 0..3)) {
        let shapes: std::collections::BTreeMap<_, _> = shapes.into_iter().collect();
        let params: Vec<_> = shapes.into_iter().collect();
        if let Some(example) = example_item(&params) {
            let decoded = FunctionParams::new(params).decode(example.as_bytes(), ItemEncoding::Json, &mut Vec::new());
            prop_assert_eq!(decoded, Ok(()), "{}", example);
        }
    }

    #[test]
    fn a_value_of_one_type_read_as_another_never_panics(
        (shape, val) in shape_and_value(),
        other in shape(),
    ) {
        let written = text(&shape, &val);
        if let Ok(val) = json(&other, &written) {
            // A value that was accepted can be written, and means the same
            // again.
            prop_assert_eq!(json(&other, &text(&other, &val)), Ok(val));
        }
        let _any = decode(&other, written.as_bytes(), ItemEncoding::Csv);
    }

    #[test]
    fn text_that_is_cut_or_garbled_never_panics(
        (shape, val) in shape_and_value(),
        at in any::<Index>(),
        byte in any::<u8>(),
    ) {
        let mut written = text(&shape, &val).into_bytes();
        let at = at.index(written.len());
        let _cut = decode(&shape, &written[..at], ItemEncoding::Json);
        written[at] = byte;
        for form in [ItemEncoding::Json, ItemEncoding::Csv, ItemEncoding::Bytes] {
            let _garbled = decode(&shape, &written, form);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        shape in shape(),
        item in vec(any::<u8>(), 0..64),
        likely in r#"[\[\]{}",:0-9eE.a-z\\ -]{0,40}"#,
    ) {
        let params = FunctionParams::new(vec![("a".into(), shape.clone()), ("b".into(), TypePlan::U8)]);
        for form in [ItemEncoding::Json, ItemEncoding::Csv, ItemEncoding::Bytes] {
            for item in [&item[..], likely.as_bytes()] {
                let _val = decode(&shape, item, form);
                let _args = params.decode(item, form, &mut Vec::new());
                let _bytes = decode_bytes(item, form);
            }
        }
    }

    #[test]
    fn a_cell_takes_what_the_type_is_written_as(val in any::<i64>(), float in any::<f64>()) {
        let shape = record(&[("n", TypePlan::S64), ("x", TypePlan::F64)]);
        let row = format!(r#"{{"n":"{val}","x":"{float}"}}"#);
        let wanted = fields(&[("n", Val::S64(val)), ("x", Val::Float64(float))]);
        prop_assert_eq!(decode(&shape, row.as_bytes(), ItemEncoding::Csv).unwrap(), wanted);
    }
}
