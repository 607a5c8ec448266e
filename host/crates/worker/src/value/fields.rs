//! Objects whose members have names and types: records, and the arguments of a
//! function.

use super::cell::CellSeed;
use super::context::DecodeContext;
use super::json::{ObjectLayout, ValueSeed};
use super::misfit::{ValueStep, shorten};
use super::names::Names;
use super::shape::Fields;
use super::wit;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use wasmtime::component::Val;

/// The members of an object, and the words for them in messages.
pub(super) struct MemberNames<'a> {
    pub fields: &'a Fields,
    /// `field`, `parameter` or `column`.
    pub noun: &'static str,
    pub layout: ObjectLayout,
    /// Description of what the whole object should be.
    pub wanted: &'a dyn Fn() -> String,
    /// Returns the message about a name that is not among the fields.
    pub unknown: &'a dyn Fn(&str) -> String,
}

/// Reads the members of an object, one value per field in the order of
/// declaration. A field that is left out is `none` if it is an option.
pub(super) fn read<'de, A: MapAccess<'de>>(
    mut map: A,
    naming: &MemberNames<'_>,
    context: &DecodeContext,
) -> Result<Vec<Val>, A::Error> {
    let Fields { names, shapes } = naming.fields;
    let parts = |what| context.parts((naming.wanted)(), what);
    let mut values: Vec<Option<Val>> = Vec::new();
    values.resize_with(names.as_slice().len(), || None);
    let passed = context.take_passed();
    let is_passed = |name: &String| passed.as_ref().is_some_and(|passed| passed.contains(name));
    let mut guess = 0;
    while let Some(found) = map.next_key_seed(NameSeed { names, guess })? {
        let at = match (found, naming.layout) {
            (Ok(at), _) => at,
            (Err(_), ObjectLayout::Row) => {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            (Err(name), ObjectLayout::Json) if is_passed(&name) => {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            (Err(name), ObjectLayout::Json) => return Err(parts((naming.unknown)(&name))),
        };
        let name = || names.as_slice()[at].clone();
        if values[at].is_some() {
            let what = format!("{} `{}` is given twice", naming.noun, name());
            return Err(parts(what));
        }
        let value = match naming.layout {
            ObjectLayout::Json => map.next_value_seed(ValueSeed::new(&shapes[at], context)),
            ObjectLayout::Row => map.next_value_seed(CellSeed::new(&shapes[at], context)),
        };
        let value = value.map_err(|error| context.under(ValueStep::Key(name()), error))?;
        values[at] = Some(value);
        guess = at + 1;
    }
    let mut complete = Vec::with_capacity(values.len());
    for (at, value) in values.into_iter().enumerate() {
        complete.push(match value {
            Some(value) => value,
            None if !shapes[at].may_be_missing() => {
                let field = wit::brief(wit::Field(&names.as_slice()[at], &shapes[at]));
                return Err(parts(format!("{} `{field}` is missing", naming.noun)));
            }
            None if context.one_more_missing() => Val::Option(None),
            None => return Err(parts("too many fields are left out".to_owned())),
        });
    }
    Ok(complete)
}

/// Reads the cells of a row without a header, one value per field in the order
/// of declaration. The last ones may be left out if they are options.
pub(super) fn read_cells<'de, A: SeqAccess<'de>>(
    mut seq: A,
    fields: &Fields,
    wanted: &dyn Fn() -> String,
    context: &DecodeContext,
) -> Result<Vec<Val>, A::Error> {
    let parts = |what| context.parts(wanted(), what);
    let mut values = Vec::new();
    for (name, shape) in fields.iter() {
        let value = seq.next_element_seed(CellSeed::new(shape, context));
        values.push(match value.map_err(|error| context.under(ValueStep::Key(name.to_owned()), error))? {
            Some(value) => value,
            None if shape.may_be_missing() => Val::Option(None),
            None => {
                let field = wit::brief(wit::Field(name, shape));
                return Err(parts(format!("column `{field}` is missing: the row has {} cells", values.len())));
            }
        });
    }
    match seq.next_element::<IgnoredAny>()? {
        None => Ok(values),
        Some(_) => Err(parts(format!("the row has more than {} cells", values.len()))),
    }
}

/// Reads a string that should be one of `names`. Returns its position or, if it
/// is not among them, the string.
#[derive(Clone, Copy)]
pub(super) struct NameSeed<'a> {
    pub names: &'a Names,
    /// The position that it probably has.
    pub guess: usize,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Result<usize, String>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    #[inline]
    fn visit_str<E: Error>(self, found: &str) -> Result<Self::Value, E> {
        let at = self.names.find(found, self.guess);
        Ok(at.ok_or_else(|| found.to_owned()))
    }
}

/// Returns the message that there is no such name; perhaps another one was
/// meant.
pub(super) fn unknown(noun: &str, name: &str, names: &Names) -> String {
    let hint = names.hint(name);
    format!("no {noun} `{}`{hint}", shorten(name))
}
