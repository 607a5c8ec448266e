//! Numbers of values and arrays as JSON. Floats that JSON has no number for are the texts `NaN`, `Infinity` and
//! `-Infinity`, and a char is a text of one character.

use serde_json::Value;

use wasmpool_core::share::NumberType;
use wasmpool_ipc::cells::Numbers;

/// Returns numbers as JSON.
pub fn write(numbers: Numbers) -> Vec<Value> {
    fn all<T: Into<Value>>(all: Vec<T>) -> Vec<Value> {
        all.into_iter().map(Into::into).collect()
    }
    match numbers {
        Numbers::S8(n) => all(n),
        Numbers::U8(n) => all(n),
        Numbers::S16(n) => all(n),
        Numbers::U16(n) => all(n),
        Numbers::S32(n) => all(n),
        Numbers::U32(n) => all(n),
        Numbers::S64(n) => all(n),
        Numbers::U64(n) => all(n),
        Numbers::F32(n) => n.into_iter().map(|n| float(n.into())).collect(),
        Numbers::F64(n) => n.into_iter().map(float).collect(),
        Numbers::Bool(n) => all(n),
        Numbers::Char(n) => n.into_iter().map(|c| c.to_string().into()).collect(),
    }
}

fn float(n: f64) -> Value {
    match n {
        n if n.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        n => n.into(),
    }
}

/// Reads numbers of a type from JSON. The error is the index of the first that is none.
pub fn read(of: NumberType, values: &[Value]) -> Result<Numbers, usize> {
    fn all<T>(values: &[Value], read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, usize> {
        values.iter().enumerate().map(|(index, value)| read(value).ok_or(index)).collect()
    }
    fn signed<T: TryFrom<i64>>(value: &Value) -> Option<T> {
        value.as_i64()?.try_into().ok()
    }
    fn unsigned<T: TryFrom<u64>>(value: &Value) -> Option<T> {
        value.as_u64()?.try_into().ok()
    }
    fn float(value: &Value) -> Option<f64> {
        match value.as_str() {
            Some("NaN") => Some(f64::NAN),
            Some("Infinity") => Some(f64::INFINITY),
            Some("-Infinity") => Some(f64::NEG_INFINITY),
            Some(_) => None,
            None => value.as_f64(),
        }
    }
    fn single(value: &Value) -> Option<f32> {
        let double = float(value)?;
        // A number that is too large is none: it would be infinite.
        Some(double as f32).filter(|single| single.is_finite() || !double.is_finite())
    }
    fn char(value: &Value) -> Option<char> {
        let mut chars = value.as_str()?.chars();
        chars.next().filter(|_| chars.next().is_none())
    }
    Ok(match of {
        NumberType::S8 => Numbers::S8(all(values, signed)?),
        NumberType::U8 => Numbers::U8(all(values, unsigned)?),
        NumberType::S16 => Numbers::S16(all(values, signed)?),
        NumberType::U16 => Numbers::U16(all(values, unsigned)?),
        NumberType::S32 => Numbers::S32(all(values, signed)?),
        NumberType::U32 => Numbers::U32(all(values, unsigned)?),
        NumberType::S64 => Numbers::S64(all(values, signed)?),
        NumberType::U64 => Numbers::U64(all(values, unsigned)?),
        NumberType::F32 => Numbers::F32(all(values, single)?),
        NumberType::F64 => Numbers::F64(all(values, float)?),
        NumberType::Bool => Numbers::Bool(all(values, Value::as_bool)?),
        NumberType::Char => Numbers::Char(all(values, char)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_each_type_are_read_as_they_were_written() {
        for numbers in [
            Numbers::S8(vec![-128, 0, 127]),
            Numbers::U8(vec![255]),
            Numbers::S16(vec![-32768]),
            Numbers::U16(vec![65535]),
            Numbers::S32(vec![i32::MIN]),
            Numbers::U32(vec![u32::MAX]),
            Numbers::S64(vec![i64::MIN, i64::MAX]),
            Numbers::U64(vec![u64::MAX]),
            Numbers::F32(vec![0.1, -0.0, f32::INFINITY]),
            Numbers::F64(vec![0.1, f64::MIN_POSITIVE, f64::NEG_INFINITY]),
            Numbers::Bool(vec![true, false]),
            Numbers::Char(vec!['a', '\0', '🦀']),
        ] {
            let text = serde_json::to_string(&write(numbers.clone())).unwrap();
            let values: Vec<Value> = serde_json::from_str(&text).unwrap();
            assert_eq!(read(numbers.number_type(), &values), Ok(numbers));
        }
        let nan = write(Numbers::F64(vec![f64::NAN]));
        assert!(matches!(read(NumberType::F64, &nan), Ok(Numbers::F64(all)) if matches!(all[..], [n] if n.is_nan())));
    }

    #[test]
    fn a_number_that_does_not_fit_its_type_is_refused_with_its_index() {
        for (of, text) in [
            (NumberType::S8, "[1, 128]"),
            (NumberType::U64, "[1, -1]"),
            (NumberType::S64, "[1, 0.5]"),
            (NumberType::F64, "[1, \"1\"]"),
            (NumberType::F32, "[1, 1e39]"),
            (NumberType::F32, "[1, -1e39]"),
            (NumberType::Bool, "[true, 1]"),
            (NumberType::Char, "[\"a\", \"ab\"]"),
        ] {
            let values: Vec<Value> = serde_json::from_str(text).unwrap();
            assert_eq!(read(of, &values), Err(1), "{text}");
        }
    }
}
