//! The arguments of a call, made from an item and from values that were bound
//! beforehand.

use super::context::DecodeContext;
use super::fields::{self, MemberNames, unknown};
use super::json::{self, ObjectLayout, ValueSeed};
use super::misfit::{DecodeError, MisfitProblem, ValueStep, shorten};
use super::shape::{Fields, TypePlan};
use super::{ItemEncoding, typed, wit};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::sync::Arc;
use wasmpool_core::setting::Setting;
use wasmtime::component::Val;

/// The parameters of one function: names and types, and the values of those
/// that are bound.
#[derive(Clone, Debug)]
pub struct FunctionParams {
    all: Fields,
    /// One for each parameter in `all`.
    bound: Vec<Option<Val>>,
    /// The parameters that the item fills.
    free: Fields,
    /// Position in `all` of each parameter in `free`.
    slots: Vec<usize>,
    /// Members that an item may have beside those that the function takes.
    passed: Option<Arc<[String]>>,
}

/// An argument that cannot be bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The function has no such parameter.
    #[error("{0}")]
    Unknown(String),
    /// The parameter already has a value.
    #[error("parameter `{0}` is bound twice")]
    Twice(String),
    /// The value is not of the parameter's type.
    #[error("parameter `{name}`: {misfit}")]
    DecodeError {
        /// The parameter.
        name: String,
        /// The reason why the value does not fit.
        misfit: DecodeError,
    },
}

/// A format of the input that the user probably meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeantFormat {
    /// Lines that are texts as they stand.
    Lines,
    /// Rows of CSV.
    Csv,
    /// Items that are elements of the list that the function takes.
    Element,
}

impl FunctionParams {
    /// Creates the parameters of a function, in their order.
    pub fn new(params: Vec<(String, TypePlan)>) -> Self {
        let all = Fields::new(params);
        let (bound, slots) = (vec![None; all.shapes.len()], (0..all.shapes.len()).collect());
        Self { bound, slots, free: all.clone(), all, passed: None }
    }

    /// Lets an item that is an object have these members beside those that the function takes.
    pub fn pass_over(&mut self, names: &[String]) {
        self.passed = (!names.is_empty()).then(|| names.into());
    }

    /// Gives the parameter `name` a value for every call, like
    /// `functools.partial`; the item then fills the others.
    ///
    /// # Errors
    ///
    /// [`BindError`] names the parameter, and one that was probably meant.
    pub fn bind(&mut self, name: &str, json: &[u8]) -> Result<(), BindError> {
        self.bind_read(name, |shape| json::value(shape, json, ObjectLayout::Json))
    }

    /// Gives the parameter `name` the value that a person typed: JSON of its type, or a text as it is.
    ///
    /// # Errors
    ///
    /// [`BindError`], as of [`bind`](Self::bind).
    pub fn bind_typed(&mut self, name: &str, text: &str) -> Result<(), BindError> {
        self.bind_read(name, |shape| typed::value(shape, text))
    }

    fn bind_read(
        &mut self,
        name: &str,
        read: impl FnOnce(&TypePlan) -> Result<Val, DecodeError>,
    ) -> Result<(), BindError> {
        let Some(at) = self.all.names.find(name, 0) else {
            let what = unknown("parameter", name, &self.all.names);
            return Err(BindError::Unknown(what));
        };
        if self.bound[at].is_some() {
            return Err(BindError::Twice(shorten(name)));
        }
        let value = read(&self.all.shapes[at]);
        let value = value.map_err(|misfit| BindError::DecodeError { name: shorten(name), misfit })?;
        self.bound[at] = Some(value);
        self.slots.retain(|slot| *slot != at);
        let names = self.all.names.as_slice();
        let free = |slot: &usize| (names[*slot].clone(), self.all.shapes[*slot].clone());
        self.free = Fields::new(self.slots.iter().map(free));
        Ok(())
    }

    /// Returns the parameters that the item fills.
    pub(super) fn free(&self) -> &Fields {
        &self.free
    }

    /// Creates the arguments of one call in `out`, which is emptied and then
    /// holds one value per parameter.
    ///
    /// A function with one free parameter takes the item itself; with more, an
    /// array of them or an object by their names; with none, null. A row of CSV
    /// fills a record, or else the parameters by their names.
    ///
    /// Costs reading the item and a copy of each bound value.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`]; the contents of `out` are then undefined.
    pub fn decode(&self, item: &[u8], form: ItemEncoding, out: &mut Vec<Val>) -> Result<(), DecodeError> {
        out.clear();
        if form == ItemEncoding::Typed {
            return self.decode_typed(item, out);
        }
        if let ([_], [shape]) = (&self.slots[..], &self.free.shapes[..])
            && (form != ItemEncoding::Csv || shape.is_row())
        {
            let value = match (&self.passed, form) {
                (Some(passed), ItemEncoding::Json) => {
                    json::value_passing(shape, item, ObjectLayout::Json, Some(passed.clone()))?
                }
                _ => super::decode(shape, item, form)?,
            };
            match self.bound.len() {
                1 => out.push(value),
                _ => self.fill([value], out),
            }
            return Ok(());
        }
        if form == ItemEncoding::Bytes {
            return Err(DecodeError::new(MisfitProblem::Type {
                wanted: self.wanted(),
                found: "the bytes of one item".to_owned(),
                note: Some(format!("bind the other parameters with {}", Setting::Arg)),
            }));
        }
        let layout = match form {
            ItemEncoding::Csv => ObjectLayout::Row,
            _ => ObjectLayout::Json,
        };
        let context = DecodeContext::passing(self.passed.clone());
        let values = context.read(item, ItemArguments { params: self, context: &context, layout })?;
        self.fill(values, out);
        Ok(())
    }

    /// Returns the format in which an item that did not fit is probably written: one that is no JSON at all where the function
    /// takes a text, or has cells like a row where it takes values by name, or is an element where it takes a list.
    pub fn meant(&self, item: &[u8], form: ItemEncoding) -> Option<MeantFormat> {
        let item = item.trim_ascii();
        if form != ItemEncoding::Json || item.is_empty() {
            return None;
        }
        if serde_json::from_slice::<IgnoredAny>(item).is_ok() {
            let element = match &self.free.shapes[..] {
                [TypePlan::List(element)] => element,
                _ => return None,
            };
            return super::decode(element, item, form).is_ok().then_some(MeantFormat::Element);
        }
        // What begins like JSON is meant as such, and is wrong or cut short.
        if matches!(item.first(), Some(b'{' | b'[')) {
            return None;
        }
        match &self.free.shapes[..] {
            [] => None,
            [shape] if shape.is_text() => Some(MeantFormat::Lines),
            _ => item.iter().any(|byte| matches!(byte, b',' | b';' | b'\t')).then_some(MeantFormat::Csv),
        }
    }

    /// Creates the arguments of a call from texts that a person typed, one for each parameter that the item fills. A single
    /// text may also be JSON that has them all in it; none is the item `null`.
    fn decode_typed(&self, item: &[u8], out: &mut Vec<Val>) -> Result<(), DecodeError> {
        let texts: Vec<String> = serde_json::from_slice(item)
            .map_err(|e| DecodeError::new(MisfitProblem::Syntax(format!("the arguments cannot be read: {e}"))))?;
        let shapes = &self.free.shapes;
        match texts.as_slice() {
            [] => self.decode(b"null", ItemEncoding::Json, out),
            [all] if shapes.len() != 1 => self.decode(all.as_bytes(), ItemEncoding::Json, out),
            texts if texts.len() != shapes.len() => Err(DecodeError::new(MisfitProblem::Type {
                wanted: self.wanted(),
                found: format!("{} arguments", texts.len()),
                note: None,
            })),
            texts => {
                let read = |((name, shape), text): ((&str, &TypePlan), &String)| {
                    typed::value(shape, text).map_err(|mut misfit| {
                        // One argument needs no name.
                        if shapes.len() > 1 {
                            misfit.push(ValueStep::Key(name.to_owned()));
                        }
                        misfit
                    })
                };
                let values = self.free.iter().zip(texts).map(read).collect::<Result<Vec<_>, _>>()?;
                self.fill(values, out);
                Ok(())
            }
        }
    }

    /// Appends the bound values, with the free ones in their places between
    /// them.
    fn fill(&self, free: impl IntoIterator<Item = Val>, out: &mut Vec<Val>) {
        let mut free = free.into_iter();
        for bound in &self.bound {
            out.extend(bound.clone().or_else(|| free.next()));
        }
    }

    fn wanted(&self) -> String {
        match self.slots.len() {
            0 => "null, as the function takes nothing from the item".to_owned(),
            1 => format!("the parameter ({})", wit::brief(ParameterList(&self.free))),
            _ => format!("the parameters ({})", wit::brief(ParameterList(&self.free))),
        }
    }

    fn unknown(&self, name: &str) -> String {
        match self.all.names.find(name, 0) {
            Some(_) => format!("parameter `{}` is bound already", shorten(name)),
            None => unknown("parameter", name, &self.free.names),
        }
    }
}

/// Formats fields as a parameter list.
struct ParameterList<'a>(&'a Fields);

impl fmt::Display for ParameterList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.0.iter();
        wit::separated(f, fields.map(|(name, shape)| wit::Field(name, shape)))
    }
}

/// Reads the arguments that an item has to provide, unless there is exactly
/// one.
struct ItemArguments<'a> {
    params: &'a FunctionParams,
    context: &'a DecodeContext,
    layout: ObjectLayout,
}

impl ItemArguments<'_> {
    #[cold]
    fn mismatch<E: Error>(&self, found: &str, note: Option<String>) -> E {
        let by = match (note, self.layout) {
            (Some(note), _) => Some(note),
            (None, _) if self.params.slots.is_empty() => None,
            (None, ObjectLayout::Json) => Some(format!(
                "an item is an array of them, or an object with their names; {} gives one of them to all items",
                Setting::Arg
            )),
            (None, ObjectLayout::Row) => Some("an item is an object with their names".to_owned()),
        };
        self.context.fail(DecodeError::new(MisfitProblem::Type {
            wanted: self.params.wanted(),
            found: found.to_owned(),
            note: by,
        }))
    }
}

impl<'de> DeserializeSeed<'de> for ItemArguments<'_> {
    type Value = Vec<Val>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<Val>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemArguments<'_> {
    type Value = Vec<Val>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.params.wanted())
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<Val>, E> {
        if self.params.slots.is_empty() {
            return Ok(Vec::new());
        }
        Err(self.mismatch("null", None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Val>, A::Error> {
        let shapes = &self.params.free.shapes;
        // An array has no members.
        self.context.take_passed();
        if shapes.is_empty() {
            return Err(self.mismatch("an array", None));
        }
        if self.layout == ObjectLayout::Row {
            return fields::read_cells(seq, &self.params.free, &|| self.params.wanted(), self.context);
        }
        let mut values = Vec::with_capacity(shapes.len());
        for (at, shape) in shapes.iter().enumerate() {
            let value = seq.next_element_seed(ValueSeed::new(shape, self.context));
            match value.map_err(|error| self.context.under(ValueStep::Index(at), error))? {
                Some(value) => values.push(value),
                None => {
                    let note = format!("{at} of {} parameters", shapes.len());
                    return Err(self.mismatch("an array", Some(note)));
                }
            }
        }
        match seq.next_element::<IgnoredAny>()? {
            None => Ok(values),
            Some(_) => {
                let note = format!("more than {} parameters", shapes.len());
                Err(self.mismatch("an array", Some(note)))
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<Val>, A::Error> {
        if self.params.slots.is_empty() {
            return Err(self.mismatch("an object", None));
        }
        let naming = MemberNames {
            fields: &self.params.free,
            noun: match self.layout {
                ObjectLayout::Json => "parameter",
                ObjectLayout::Row => "column",
            },
            layout: self.layout,
            wanted: &|| self.params.wanted(),
            unknown: &|name| self.params.unknown(name),
        };
        fields::read(map, &naming, self.context)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Vec<Val>, E> {
        Err(self.mismatch("a boolean", None))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Vec<Val>, E> {
        Err(self.mismatch("a number", None))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Vec<Val>, E> {
        Err(self.mismatch("a number", None))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Vec<Val>, E> {
        Err(self.mismatch("a number", None))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Vec<Val>, E> {
        Err(self.mismatch("a string", None))
    }
}
