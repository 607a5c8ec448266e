//! Counts what components of one task copy to each other, by its bytes, for tasks whose instructions are counted.
//!
//! The engine copies a string or list from one component's memory into another's with code of its own, in which a
//! string of any length costs a few instructions. But the receiver is asked for room first, through its `realloc`. So a
//! function is inserted before each `realloc` that uses up as many instructions as there are bytes, whatever that
//! `realloc` does afterwards. Data that goes through a stream has its room already, so each read and write is replaced
//! by a function that counts afterwards what went through. Other functions that the engine gives a component, such as
//! those that create a resource or a stream, count according to the time they take.

mod counters;
mod uses;
mod weights;

use std::collections::HashMap;

use wasm_encoder::reencode::{self, Error, Reencode, ReencodeComponent, component_utils};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption as Encoded, Component, ComponentAliasSection, ExportKind,
    InstanceSection, ModuleArg, NestedComponentSection, RawSection,
};
use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind,
    ComponentOuterAliasKind, ComponentTypeRef, CustomSectionReader, Instance, Parser, Payload,
};

pub use self::counters::waste;
use self::counters::{Counter, Counts, module, name};
use self::uses::{OfCanonical, OfComponent, Uses};

/// Returns the component with added counting of what is copied within it. `None` if nothing is copied.
///
/// # Errors
///
/// Fails if the component is not valid, or has something that cannot be read: what it copies would not be counted.
pub fn count(wasm: &[u8]) -> Result<Option<Vec<u8>>, CountError> {
    if !super::is_component(wasm) {
        return Ok(None);
    }
    let uses = Uses::of(wasm)?;
    if uses.is_empty() {
        return Ok(None);
    }
    let mut counted = CountedComponent { uses: uses.into_components(), levels: Vec::new() };
    let mut out = Component::new();
    counted.enter();
    component_utils::parse_component(&mut counted, &mut out, Parser::new(0), wasm, wasm)?;
    Ok(Some(out.finish()))
}

const CORE_MODULE: u8 = 1;

/// The reason why what a component copies cannot be counted. The text includes what is behind it.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    #[error("{0}")]
    Read(BinaryReaderError),
    #[error("{0}")]
    Write(reencode::Error<NotThere>),
}

impl From<BinaryReaderError> for CountError {
    fn from(e: BinaryReaderError) -> CountError {
        CountError::Read(e)
    }
}

impl From<reencode::Error<NotThere>> for CountError {
    fn from(e: reencode::Error<NotThere>) -> CountError {
        CountError::Write(e)
    }
}

/// Error: the component is not valid. The engine reports the reason better.
#[derive(Debug, thiserror::Error)]
#[error("it uses a core function that is not there")]
pub struct NotThere;

/// Writes components anew, with counting of what they copy.
struct CountedComponent {
    /// The counters of the components that are still to come, in their order.
    uses: std::vec::IntoIter<OfComponent>,
    /// The components that the one being written is in, and it.
    levels: Vec<ComponentLevel>,
}

/// The indices of a component, which change where something is inserted.
#[derive(Default)]
struct ComponentLevel {
    /// The counters of its canonical functions, and how many of these are written.
    uses: OfComponent,
    written: usize,
    /// The new index of each core module, core instance and core function.
    modules: Vec<u32>,
    instances: Vec<u32>,
    functions: Vec<u32>,
    /// The next new index.
    next_module: u32,
    next_instance: u32,
    next_function: u32,
    /// Functions in whose place others come that count, as soon as one of them is used: all of them share a module then, since
    /// a component may have no more than a thousand instances.
    pending: Vec<(u32, Counter)>,
    /// The function that counts in front of each of these, for what it is called.
    counting: HashMap<(u32, Counts), u32>,
}

/// The next of these indices.
fn add(indices: &mut Vec<u32>, next: &mut u32) {
    indices.push(*next);
    *next += 1;
}

impl ComponentLevel {
    fn add_module(&mut self) {
        add(&mut self.modules, &mut self.next_module);
    }

    fn add_instance(&mut self) {
        add(&mut self.instances, &mut self.next_instance);
    }

    fn add_function(&mut self) {
        add(&mut self.functions, &mut self.next_function);
    }

    /// Returns the counters of the canonical function being written.
    fn using(&self) -> Option<&OfCanonical> {
        self.uses.get(self.written)
    }

    /// Puts functions that count in the place of those that were made since the last time.
    fn replace_pending(&mut self, out: &mut Component) -> Option<()> {
        let pending = std::mem::take(&mut self.pending);
        let functions = pending.iter().map(|(function, counter)| Some((self.new_of(*function)?, counter.clone())));
        let counting = self.count(&functions.collect::<Option<Vec<_>>>()?, out);
        for ((function, _), counting) in pending.iter().zip(counting) {
            *self.functions.get_mut(*function as usize)? = counting;
        }
        Some(())
    }

    /// Puts functions that count in front of all those that are there and that the engine calls.
    fn put_in_front(&mut self, out: &mut Component) -> Option<()> {
        let mut called: Vec<(u32, Counter)> = Vec::new();
        for (function, counter) in self.uses.iter().flat_map(|canonical| &canonical.called) {
            let is_there = self.new_of(*function).is_some();
            let key = (*function, counter.counts);
            if is_there && !self.counting.contains_key(&key) {
                // Its place is taken; where it is comes below.
                self.counting.insert(key, u32::MAX);
                called.push((*function, counter.clone()));
            }
        }
        let functions = called.iter().map(|(function, counter)| Some((self.new_of(*function)?, counter.clone())));
        let counting = self.count(&functions.collect::<Option<Vec<_>>>()?, out);
        for ((function, counter), counting) in called.into_iter().zip(counting) {
            self.counting.insert((function, counter.counts), counting);
        }
        Some(())
    }

    fn new_of(&self, function: u32) -> Option<u32> {
        self.functions.get(function as usize).copied()
    }

    /// Instantiates a module that counts for these functions. Returns those that take their places.
    fn count(&mut self, functions: &[(u32, Counter)], out: &mut Component) -> std::ops::Range<u32> {
        let first = self.next_function;
        if functions.is_empty() {
            return first..first;
        }
        let counters: Vec<Counter> = functions.iter().map(|(_, counter)| counter.clone()).collect();
        out.section(&RawSection { id: CORE_MODULE, data: &module(&counters) });
        let names: Vec<String> = (0..functions.len()).map(name).collect();
        let mut instances = InstanceSection::new();
        let given = names.iter().zip(functions).map(|(name, (function, _))| (&**name, ExportKind::Func, *function));
        instances.export_items(given.collect::<Vec<_>>());
        instances.instantiate(self.next_module, [("", ModuleArg::Instance(self.next_instance))]);
        out.section(&instances);
        let mut aliases = ComponentAliasSection::new();
        let instance = self.next_instance + 1;
        for name in &names {
            aliases.alias(Alias::CoreInstanceExport { instance, kind: ExportKind::Func, name });
        }
        out.section(&aliases);
        self.next_module += 1;
        self.next_instance += 2;
        self.next_function += functions.len() as u32;
        first..self.next_function
    }

    /// Returns true if a function is used that a counting one has not replaced yet.
    fn uses_pending(&self, canonical: &CanonicalFunction) -> bool {
        let is_pending = |used: &u32| self.pending.iter().any(|(function, _)| function == used);
        let lifted = match canonical {
            CanonicalFunction::Lift { core_func_index, .. } => is_pending(core_func_index),
            _ => false,
        };
        lifted
            || uses::options(canonical).iter().any(|option| match option {
                CanonicalOption::Realloc(used)
                | CanonicalOption::Callback(used)
                | CanonicalOption::PostReturn(used) => is_pending(used),
                _ => false,
            })
    }

    /// Returns true if the engine calls a function without its being counted.
    fn calls_uncounted(&self) -> bool {
        let called = self.using().map_or(&[][..], |canonical| &canonical.called);
        called.iter().any(|(function, counter)| !self.counting.contains_key(&(*function, counter.counts)))
    }

    /// The function that counts in front of this one, which the engine calls for the canonical function being written.
    fn in_front(&self, function: u32, is_for: impl Fn(&Counts) -> bool) -> Option<u32> {
        let mut called = self.using()?.called.iter();
        let (_, counter) = called.find(|(called, counter)| *called == function && is_for(&counter.counts))?;
        self.counting.get(&(function, counter.counts)).copied()
    }
}

impl CountedComponent {
    fn level(&mut self) -> Result<&mut ComponentLevel, Error<NotThere>> {
        self.levels.last_mut().ok_or(Error::UserError(NotThere))
    }

    /// Begins a component.
    fn enter(&mut self) {
        let uses = self.uses.next().unwrap_or_default();
        self.levels.push(ComponentLevel { uses, ..ComponentLevel::default() });
    }

    fn replace_pending(&mut self, out: &mut Component) -> Result<(), Error<NotThere>> {
        self.level()?.replace_pending(out).ok_or(Error::UserError(NotThere))
    }

    fn canonical(&mut self, canonical: CanonicalFunction, out: &mut Component) -> Result<(), Error<NotThere>> {
        let (uses_pending, calls) = {
            let level = self.level()?;
            (level.uses_pending(&canonical), level.calls_uncounted())
        };
        if uses_pending || calls {
            self.replace_pending(out)?;
        }
        if calls {
            self.level()?.put_in_front(out).ok_or(Error::UserError(NotThere))?;
        }
        let defines = !matches!(canonical, CanonicalFunction::Lift { .. });
        let mut section = CanonicalFunctionSection::new();
        self.parse_component_canonical(&mut section, canonical)?;
        out.section(&section);
        let level = self.level()?;
        if defines {
            level.add_function();
            if let Some(counter) = level.using().and_then(|canonical| canonical.made.clone()) {
                level.pending.push((level.functions.len() as u32 - 1, counter));
            }
        }
        level.written += 1;
        Ok(())
    }
}

/// Returns the number of core modules that a section adds to a component without containing them.
fn brought(payload: &Payload<'_>) -> Result<usize, Error<NotThere>> {
    Ok(match payload {
        Payload::ComponentImportSection(section) => {
            let imports = section.clone().into_iter().collect::<Result<Vec<_>, _>>()?;
            imports.iter().filter(|import| matches!(import.ty, ComponentTypeRef::Module(_))).count()
        }
        Payload::ComponentExportSection(section) => {
            let exports = section.clone().into_iter().collect::<Result<Vec<_>, _>>()?;
            exports.iter().filter(|export| export.kind == ComponentExternalKind::Module).count()
        }
        _ => 0,
    })
}

/// The new one of these, or one that is not there, as the old one is not.
fn index(indices: Option<&Vec<u32>>, index: u32) -> u32 {
    indices.and_then(|indices| indices.get(index as usize)).copied().unwrap_or(u32::MAX)
}

impl Reencode for CountedComponent {
    type Error = NotThere;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<NotThere>> {
        self.level()?.new_of(function).ok_or(Error::UserError(NotThere))
    }
}

impl ReencodeComponent for CountedComponent {
    fn module_index(&mut self, module: u32) -> u32 {
        index(self.levels.last().map(|level| &level.modules), module)
    }

    fn outer_module_index(&mut self, count: u32, module: u32) -> u32 {
        index(self.levels.iter().rev().nth(count as usize).map(|level| &level.modules), module)
    }

    fn instance_index(&mut self, instance: u32) -> u32 {
        index(self.levels.last().map(|level| &level.instances), instance)
    }

    fn canonical_option(&mut self, option: CanonicalOption) -> Result<Encoded, Error<NotThere>> {
        let level = self.level()?;
        let encoded = match option {
            CanonicalOption::Realloc(realloc) => {
                level.in_front(realloc, |counts| matches!(counts, Counts::Room { .. })).map(Encoded::Realloc)
            }
            CanonicalOption::Callback(callback) => {
                level.in_front(callback, |counts| matches!(counts, Counts::Call(_))).map(Encoded::Callback)
            }
            _ => None,
        };
        encoded.map_or_else(|| component_utils::canonical_option(self, option), Ok)
    }

    fn component_alias<'a>(&mut self, alias: ComponentAlias<'a>) -> Result<Alias<'a>, Error<NotThere>> {
        let (function, module) = match alias {
            ComponentAlias::CoreInstanceExport { kind, .. } => (kind == wasmparser::ExternalKind::Func, false),
            ComponentAlias::InstanceExport { kind, .. } => (false, kind == ComponentExternalKind::Module),
            ComponentAlias::Outer { kind, .. } => (false, kind == ComponentOuterAliasKind::CoreModule),
        };
        let encoded = component_utils::component_alias(self, alias)?;
        let level = self.level()?;
        if function {
            level.add_function();
        }
        if module {
            level.add_module();
        }
        Ok(encoded)
    }

    fn parse_instance(&mut self, out: &mut InstanceSection, instance: Instance<'_>) -> Result<(), Error<NotThere>> {
        component_utils::parse_instance(self, out, instance)?;
        self.level()?.add_instance();
        Ok(())
    }

    fn parse_component_payload(
        &mut self,
        out: &mut Component,
        payload: Payload<'_>,
        whole: &[u8],
    ) -> Result<(), Error<NotThere>> {
        match payload {
            Payload::ComponentCanonicalSection(section) => {
                for canonical in section {
                    self.canonical(canonical?, out)?;
                }
                Ok(())
            }
            other => {
                if let Payload::InstanceSection(_) = other {
                    self.replace_pending(out)?;
                }
                let brought = brought(&other)?;
                component_utils::parse_component_payload(self, out, other, whole)?;
                let level = self.level()?;
                (0..brought).for_each(|_| level.add_module());
                Ok(())
            }
        }
    }

    fn parse_component_submodule(
        &mut self,
        out: &mut Component,
        _: Parser,
        module: &[u8],
    ) -> Result<(), Error<NotThere>> {
        out.section(&RawSection { id: CORE_MODULE, data: module });
        self.level()?.add_module();
        Ok(())
    }

    fn parse_component_subcomponent(
        &mut self,
        out: &mut Component,
        parser: Parser,
        data: &[u8],
        whole: &[u8],
    ) -> Result<(), Error<NotThere>> {
        self.enter();
        let mut inner = Component::new();
        component_utils::parse_component(self, &mut inner, parser, data, whole)?;
        out.section(&NestedComponentSection(&inner));
        self.levels.pop();
        Ok(())
    }

    fn parse_component_custom_section(
        &mut self,
        out: &mut Component,
        section: CustomSectionReader<'_>,
    ) -> Result<(), Error<NotThere>> {
        // The engine does not use names, and these would need to refer to other indices.
        if section.name() != "component-name" {
            out.section(&self.custom_section(section)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: &str = r#"(core module $m (memory (export "m") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)) (func (export "f") (param i32 i32)))
        (core instance $i (instantiate $m)) (alias core export $i "m" (core memory $mem))
        (func $f (param "s" string) (canon lift (core func $i "f") (memory $mem) (realloc (core func $i "realloc"))))"#;

    #[test]
    fn only_what_has_components_in_it_changes() {
        for text in [&*format!("(component {CORE})"), "(component (component))", "(module)"] {
            assert!(matches!(count(&wat::parse_str(text).expect("wasm")), Ok(None)), "{text}");
        }
    }

    #[test]
    fn what_changes_is_still_valid() {
        for text in [
            format!("(component (component $c {CORE} (export \"f\" (func $f))) (instance $c (instantiate $c)))"),
            format!(
                "(component $out (core module $outer (func (export \"a\")) (func (export \"b\")))
                   (component $in (alias outer $out $outer (core module $o)) {CORE}
                     (core instance $o (instantiate $o)) (alias core export $o \"b\" (core func $b))
                     (func $g (canon lift (core func $b)))
                     (func $h (param \"s\" (list string)) (canon lift (core func $i \"f\") (memory $mem)
                       string-encoding=utf16 (realloc (core func $i \"realloc\"))))
                     (export \"f\" (func $f)) (export \"g\" (func $g)) (export \"h\" (func $h)))
                   {CORE} (core instance $more (instantiate $outer)) (instance $c (instantiate $in))
                   (core func $low (canon lower (func $c \"f\") (memory $mem) (realloc (core func $i \"realloc\"))))
                   (export \"own\" (func $f)) (export \"g\" (func $c \"g\")) (export \"h\" (func $c \"h\")))"
            ),
            format!(
                "(component {CORE} (type $s (stream u8))
                   (core func $new (canon stream.new $s))
                   (core func $read (canon stream.read $s async (memory $mem)))
                   (core func $write (canon stream.write $s async (memory $mem)))
                   (core func $drop (canon stream.drop-readable $s))
                   (core module $n (import \"\" \"read\" (func (param i32 i32 i32) (result i32))) (import \"\" \"drop\" (func (param i32))))
                   (core instance $n (instantiate $n (with \"\" (instance (export \"read\" (func $read)) (export \"drop\" (func $drop))))))
                   (export \"f\" (func $f)))"
            ),
        ] {
            let wasm = wat::parse_str(&*text).expect("wasm");
            let counted = count(&wasm).expect("it can be read").expect("it is changed");
            let profile = wasmpool_core::artifact::EngineProfile { features: wasmpool_core::artifact::EngineFeatures::Full, ..Default::default() };
            let engine = crate::engine::compiling(profile).expect("an engine");
            for wasm in [wasm, counted] {
                let valid = wasmtime::component::Component::from_binary(&engine, &wasm).map(|_| ());
                assert!(valid.is_ok(), "{text}: {valid:?}");
            }
        }
    }
}
