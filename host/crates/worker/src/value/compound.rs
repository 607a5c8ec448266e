//! Values that consist of parts: how a [`ValueSeed`] reads an array or an
//! object.

use super::cell::{self, CellSeed};
use super::encode;
use super::fields::{self, MemberNames, NameSeed, unknown};
use super::json::{ObjectLayout, ValueSeed};
use super::misfit::{ValueStep, shorten};
use super::names::Names;
use super::shape::{Cases, Fields, TypePlan};
use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use wasmtime::component::Val;

impl<'a> ValueSeed<'a> {
    pub(super) fn list<'de, A: SeqAccess<'de>>(self, mut seq: A, element: &'a TypePlan) -> Result<Val, A::Error> {
        let want = self.of(element);
        match element {
            TypePlan::S64 => return want.integers(seq, Val::S64),
            TypePlan::U64 => return want.integers(seq, Val::U64),
            TypePlan::S32 => return want.integers(seq, Val::S32),
            TypePlan::U32 => return want.integers(seq, Val::U32),
            TypePlan::U8 => return want.integers(seq, Val::U8),
            _ => {}
        }
        let mut values = Vec::new();
        while let Some(value) = next(&mut seq, want, values.len())? {
            values.push(value);
        }
        Ok(Val::List(values))
    }

    pub(super) fn exactly<'de, A: SeqAccess<'de>>(
        self,
        mut seq: A,
        length: usize,
        shape: impl Fn(usize) -> &'a TypePlan,
    ) -> Result<Vec<Val>, A::Error> {
        let wrong = |found: &str| {
            let note = format!("{found} where {length} are wanted");
            self.mismatch("an array", Some(&note))
        };
        let mut values = Vec::new();
        while values.len() < length {
            match next(&mut seq, self.of(shape(values.len())), values.len())? {
                Some(value) => values.push(value),
                None => return Err(wrong(&elements(values.len()))),
            }
        }
        match seq.next_element::<IgnoredAny>()? {
            None => Ok(values),
            Some(_) => Err(wrong("more elements")),
        }
    }

    /// Reads the flags that are set. The value has them in the order of
    /// declaration.
    pub(super) fn flags<'de, A: SeqAccess<'de>>(self, mut seq: A, names: &Names) -> Result<Val, A::Error> {
        let mut set = vec![false; names.as_slice().len()];
        let mut guess = 0;
        let mut at = 0;
        loop {
            let flag = match seq.next_element_seed(NameSeed { names, guess })? {
                None => break,
                Some(Ok(flag)) => flag,
                Some(Err(name)) => {
                    let error = self.parts(unknown("flag", &name, names));
                    return Err(self.context.under(ValueStep::Index(at), error));
                }
            };
            if std::mem::replace(&mut set[flag], true) {
                let name = &names.as_slice()[flag];
                return Err(self.parts(format!("flag `{name}` is given twice")));
            }
            guess = flag + 1;
            at += 1;
        }
        let names = names.as_slice().iter().zip(set);
        let set = names.filter(|(_, set)| *set).map(|(name, _)| name.clone());
        Ok(Val::Flags(set.collect()))
    }

    pub(super) fn record<'de, A: MapAccess<'de>>(self, map: A, fields: &Fields) -> Result<Val, A::Error> {
        let naming = MemberNames {
            fields,
            noun: match self.layout {
                ObjectLayout::Json => "field",
                ObjectLayout::Row => "column",
            },
            layout: self.layout,
            wanted: &|| self.shape.wit_brief(),
            unknown: &|name| unknown("field", name, &fields.names),
        };
        let values = fields::read(map, &naming, self.context)?;
        let names = fields.names.as_slice().iter().cloned();
        Ok(Val::Record(names.zip(values).collect()))
    }

    /// Reads a record from the cells of a row without a header, in the order of
    /// its fields.
    pub(super) fn cells<'de, A: SeqAccess<'de>>(self, seq: A, fields: &Fields) -> Result<Val, A::Error> {
        let values = fields::read_cells(seq, fields, &|| self.shape.wit_brief(), self.context)?;
        let names = fields.names.as_slice().iter().cloned();
        Ok(Val::Record(names.zip(values).collect()))
    }

    pub(super) fn result<'de, A: MapAccess<'de>>(
        self,
        mut map: A,
        ok: Option<&'a TypePlan>,
        err: Option<&'a TypePlan>,
    ) -> Result<Val, A::Error> {
        let side = map.next_key::<Cow<'de, str>>()?;
        let value = match side.as_deref() {
            Some("ok") => Ok(self.payload(&mut map, "ok", ok)?),
            Some("err") => Err(self.payload(&mut map, "err", err)?),
            _ => return Err(self.parts("it is {\"ok\": …} or {\"err\": …}".to_owned())),
        };
        self.no_more(map)?;
        Ok(Val::Result(value))
    }

    /// Reads an object of exactly one member, whose name is the case.
    pub(super) fn variant<'de, A: MapAccess<'de>>(self, mut map: A, cases: &'a Cases) -> Result<Val, A::Error> {
        let names = &cases.names;
        let case = match map.next_key_seed(NameSeed { names, guess: 0 })? {
            Some(Ok(case)) => case,
            Some(Err(name)) => return Err(self.parts(unknown("case", &name, names))),
            None => return Err(self.parts("the object is empty: it names one case".to_owned())),
        };
        let name = &names.as_slice()[case];
        let value = self.payload(&mut map, name, cases.payloads[case].as_ref())?;
        self.no_more(map)?;
        Ok(Val::Variant(name.clone(), value))
    }

    /// Reads `{"some": …}`, which distinguishes a value of a nested option from
    /// its null.
    pub(super) fn some<'de, A: MapAccess<'de>>(self, mut map: A, inner: &'a TypePlan) -> Result<Val, A::Error> {
        match map.next_key::<Cow<'de, str>>()?.as_deref() {
            Some("some") => {}
            _ => return Err(self.parts("it is null or {\"some\": …}".to_owned())),
        }
        let value = self.payload(&mut map, "some", Some(inner))?;
        self.no_more(map)?;
        Ok(Val::Option(value))
    }

    /// Reads the payload of a case, or null if it has none.
    fn payload<'de, A: MapAccess<'de>>(
        self,
        map: &mut A,
        case: &str,
        payload: Option<&'a TypePlan>,
    ) -> Result<Option<Box<Val>>, A::Error> {
        let Some(payload) = payload else {
            return match map.next_value::<&RawValue>()?.get() {
                "null" => Ok(None),
                _ => Err(self.parts(format!("`{case}` carries nothing: its value is null"))),
            };
        };
        let value = map.next_value_seed(self.of(payload));
        let value = value.map_err(|error| self.context.under(ValueStep::Key(case.to_owned()), error))?;
        Ok(Some(Box::new(value)))
    }

    fn no_more<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match map.next_key::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(self.parts("the object has more than one member".to_owned())),
        }
    }

    pub(super) fn map<'de, A: MapAccess<'de>>(
        self,
        mut map: A,
        key_shape: &'a TypePlan,
        value_shape: &'a TypePlan,
    ) -> Result<Val, A::Error> {
        let mut seen = HashSet::new();
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let Some(key) = cell::key(key_shape, &name) else {
                let wanted = key_shape.wit_brief();
                let name = shorten(&name);
                return Err(self.parts(format!("the key \"{name}\" is not a {wanted}")));
            };
            let under = |error| self.context.under(ValueStep::Key(name.clone()), error);
            let value = match self.layout {
                ObjectLayout::Json => map.next_value_seed(self.of(value_shape)),
                ObjectLayout::Row => map.next_value_seed(CellSeed::new(value_shape, self.context)),
            };
            let value = value.map_err(under)?;
            // Two spellings of one key, `1` and `01`, count as the same key.
            if !seen.insert(encode::key(&key).unwrap_or_default()) {
                let name = shorten(&name);
                return Err(self.parts(format!("the key \"{name}\" is given twice")));
            }
            entries.push((key, value));
        }
        Ok(Val::Map(entries))
    }
}

/// Returns the next element of an array. An error in it is reported at `at`.
#[inline]
fn next<'de, A: SeqAccess<'de>>(seq: &mut A, want: ValueSeed<'_>, at: usize) -> Result<Option<Val>, A::Error> {
    seq.next_element_seed(want).map_err(|error| want.context.under(ValueStep::Index(at), error))
}

fn elements(n: usize) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} element{s}")
}
