//! NaN and the infinities in JSON, which has no numbers for them: they are written and read as the strings `"NaN"`,
//! `"Infinity"` and `"-Infinity"`, wherever in a value they are. By itself, `serde_json` writes `null`, and reads no
//! string as a number.
//!
//! Reading and writing are those of `serde_json` with a wrapper in between, which passes on everything that is no
//! float.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Returns the string for a float that JSON has no number for.
fn spelling(float: f64) -> Option<&'static str> {
    match float {
        _ if float.is_finite() => None,
        _ if float.is_nan() => Some("NaN"),
        _ if float.is_sign_negative() => Some("-Infinity"),
        _ => Some("Infinity"),
    }
}

/// Returns the float that a string stands for.
fn spelled(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Writes a value as JSON.
pub fn write<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> serde_json::Result<()> {
    value.serialize(Spelled(&mut serde_json::Serializer::new(into)))
}

/// Returns the JSON of a value.
pub fn text<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    write(value, &mut bytes)?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

/// Reads a value from JSON.
pub fn read<'de, T: serde::Deserialize<'de>>(json: &'de [u8]) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = T::deserialize(Spelled(&mut reader))?;
    reader.end().map(|()| value)
}

/// A wrapper round a serializer or deserializer, or round a part of one, that translates such floats.
struct Spelled<T>(T);

/// A value within another, on its way to a [`Spelled`] serializer.
struct SpelledPart<'a, T: ?Sized>(&'a T);

impl<T: Serialize + ?Sized> Serialize for SpelledPart<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Spelled(serializer))
    }
}

/// Generates methods that pass a value on as it is.
macro_rules! write_as_is {
    ($($method:ident: $ty:ty),*) => {$(
        fn $method(self, value: $ty) -> Result<S::Ok, S::Error> {
            self.0.$method(value)
        }
    )*};
}

impl<S: Serializer> Serializer for Spelled<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Spelled<S::SerializeSeq>;
    type SerializeTuple = Spelled<S::SerializeTuple>;
    type SerializeTupleStruct = Spelled<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Spelled<S::SerializeTupleVariant>;
    type SerializeMap = Spelled<S::SerializeMap>;
    type SerializeStruct = Spelled<S::SerializeStruct>;
    type SerializeStructVariant = Spelled<S::SerializeStructVariant>;

    write_as_is!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_unit_struct: &'static str
    );

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        match spelling(value.into()) {
            Some(text) => self.0.serialize_str(text),
            None => self.0.serialize_f32(value),
        }
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        match spelling(value) {
            Some(text) => self.0.serialize_str(text),
            None => self.0.serialize_f64(value),
        }
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.0.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&SpelledPart(value))
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.0.serialize_unit()
    }

    fn serialize_unit_variant(self, name: &'static str, at: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        self.0.serialize_unit_variant(name, at, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &SpelledPart(value))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        at: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_variant(name, at, variant, &SpelledPart(value))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.0.serialize_seq(len).map(Spelled)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.0.serialize_tuple(len).map(Spelled)
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.0.serialize_tuple_struct(name, len).map(Spelled)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        at: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.0.serialize_tuple_variant(name, at, variant, len).map(Spelled)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.0.serialize_map(len).map(Spelled)
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        self.0.serialize_struct(name, len).map(Spelled)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        at: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.0.serialize_struct_variant(name, at, variant, len).map(Spelled)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Generates methods that write the parts of a value, which have no names.
macro_rules! write_parts {
    ($($trait:ident::$method:ident),*) => {$(
        impl<S: $trait> $trait for Spelled<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, part: &T) -> Result<(), S::Error> {
                self.0.$method(&SpelledPart(part))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

write_parts!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

/// Generates methods that write the fields of a value, each with its name.
macro_rules! write_fields {
    ($($trait:ident),*) => {$(
        impl<S: $trait> $trait for Spelled<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), S::Error> {
                self.0.serialize_field(name, &SpelledPart(value))
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                self.0.skip_field(name)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

write_fields!(SerializeStruct, SerializeStructVariant);

// A key is a string anyway, and a number in it is read by other rules.
impl<S: SerializeMap> SerializeMap for Spelled<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.0.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_value(&SpelledPart(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

/// Generates methods that read a value that holds no float.
macro_rules! read_as_is {
    ($($method:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(visitor)
        }
    )*};
}

/// Generates methods that read a value that may hold a float.
macro_rules! read_within {
    ($($method:ident($($arg:ident: $ty:ty),*)),*) => {$(
        fn $method<V: Visitor<'de>>(self, $($arg: $ty,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($arg,)* Spelled(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Spelled<D> {
    type Error = D::Error;

    read_as_is!(
        deserialize_bool,
        deserialize_i8,
        deserialize_i16,
        deserialize_i32,
        deserialize_i64,
        deserialize_i128,
        deserialize_u8,
        deserialize_u16,
        deserialize_u32,
        deserialize_u64,
        deserialize_u128,
        deserialize_char,
        deserialize_str,
        deserialize_string,
        deserialize_bytes,
        deserialize_byte_buf,
        deserialize_unit,
        deserialize_identifier,
        deserialize_ignored_any
    );

    read_within!(
        deserialize_any(), deserialize_option(), deserialize_seq(), deserialize_map(),
        deserialize_unit_struct(name: &'static str), deserialize_newtype_struct(name: &'static str),
        deserialize_tuple(len: usize), deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    );

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Float(visitor))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Float(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Generates methods that pass on a value that was read, as it is.
macro_rules! visit_as_is {
    ($($method:ident: $ty:ty),*) => {$(
        fn $method<E: Error>(self, value: $ty) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

/// A visitor that wants a float, and also takes a string that stands for one.
struct Float<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Float<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visit_as_is!(visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_i128: i128, visit_u128: u128);

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        match spelled(text) {
            Some(float) => self.0.visit_f64(float),
            None => self.0.visit_str(text),
        }
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Spelled<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visit_as_is!(
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128,
        visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128, visit_f32: f32,
        visit_f64: f64, visit_char: char, visit_str: &str, visit_borrowed_str: &'de str, visit_string: String,
        visit_bytes: &[u8], visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>
    );

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Spelled(value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Spelled(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Spelled(parts))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Spelled(members))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Spelled(variant))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Spelled<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(Spelled(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Spelled<A> {
    type Error = A::Error;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.0.next_value_seed(Spelled(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Spelled<A> {
    type Error = A::Error;
    type Variant = Spelled<A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self::Variant), A::Error> {
        self.0.variant_seed(seed).map(|(name, variant)| (name, Spelled(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Spelled<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.0.newtype_variant_seed(Spelled(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Spelled(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Spelled(visitor))
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Spelled<T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        self.0.deserialize(Spelled(deserializer))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
    enum Case {
        Unit,
        New(f64),
        Tuple(f32, Option<f64>),
        Struct { x: f64, name: String },
    }

    #[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
    struct Tagged(f32);

    #[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
    struct All {
        one: f64,
        small: f32,
        maybe: Option<f64>,
        list: Vec<f64>,
        pair: (f64, i64),
        tagged: Tagged,
        by_name: BTreeMap<String, f64>,
        by_number: BTreeMap<i32, f64>,
        cases: Vec<Case>,
        text: String,
    }

    fn json<T: Serialize>(value: &T) -> String {
        text(value).expect("it can be written")
    }

    #[test]
    fn floats_without_a_number_are_spelled_and_read_again() {
        assert_eq!(json(&f64::NAN), "\"NaN\"");
        assert_eq!(json(&[f32::INFINITY, f32::NEG_INFINITY, 1.5]), "[\"Infinity\",\"-Infinity\",1.5]");
        assert_eq!(json(&(Some(f64::NAN), None::<f64>)), "[\"NaN\",null]");
        assert!(read::<f64>(b"\"NaN\"").expect("a float").is_nan());
        assert!(read::<f32>(b" \"NaN\" ").expect("a float").is_nan());
        let [first, second]: [Option<f64>; 2] = read(b"[\"-Infinity\",null]").expect("two");
        assert_eq!((first, second), (Some(f64::NEG_INFINITY), None));
    }

    #[test]
    fn a_string_that_stands_for_no_float_is_none() {
        for wrong in ["\"nan\"", "\"1\"", "\"\"", "null", "[\"NaN\"]", "\"NaN\" 1"] {
            assert!(read::<f64>(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(read::<String>(b"\"NaN\"").expect("a string"), "NaN");
        let raw: Box<RawValue> = read(b"[1, \"NaN\"]").expect("any JSON");
        assert_eq!((raw.get(), json(&raw)), ("[1, \"NaN\"]", "[1, \"NaN\"]".to_owned()));
    }

    fn float() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>(), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(1e300)]
            .prop_filter("NaN is unlike itself", |float| !float.is_nan())
    }

    fn case() -> impl Strategy<Value = Case> {
        prop_oneof![
            Just(Case::Unit),
            float().prop_map(Case::New),
            (float(), proptest::option::of(float())).prop_map(|(one, other)| Case::Tuple(one as f32, other)),
            (float(), ".*").prop_map(|(x, name)| Case::Struct { x, name }),
        ]
    }

    prop_compose! {
        fn all()(
            floats in proptest::collection::vec(float(), 6..9),
            maybe in proptest::option::of(float()),
            number in any::<i64>(),
            cases in proptest::collection::vec(case(), 0..4),
            text in ".*",
        ) -> All {
            let by = |at: usize| floats[at];
            All {
                one: by(0),
                small: by(1) as f32,
                maybe,
                list: floats.clone(),
                pair: (by(2), number),
                tagged: Tagged(by(3) as f32),
                by_name: BTreeMap::from([("NaN".to_owned(), by(4)), (text.clone(), by(0))]),
                by_number: BTreeMap::from([(number as i32, by(5))]),
                cases,
                text,
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_wherever_it_is(value in all()) {
            prop_assert_eq!(&read::<All>(json(&value).as_bytes()).expect("it was written"), &value);
        }

        #[test]
        fn what_json_has_numbers_for_is_as_without(value in all()) {
            let plain = serde_json::to_string(&value).expect("it can be written");
            if !plain.contains("null") {
                prop_assert_eq!(json(&value), plain);
            }
        }
    }
}
