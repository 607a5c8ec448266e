//! Counts what components of one task copy to each other, by its bytes, for tasks whose instructions are counted.
//!
//! The engine copies a string or list from one component's memory into another's with code of its own, in which a
//! string of any length costs a few instructions. But the receiver is asked for room first, through its `realloc`. So a
//! function is inserted before each `realloc` that uses up as many instructions as there are bytes, whatever that
//! `realloc` does afterwards. Data that goes through a stream has its room already, so each read and write is replaced
//! by a function that counts afterwards what went through. Other functions that the engine gives a component, such as
//! those that create a resource or a stream, count according to the time they take.

mod counters;

use std::collections::HashMap;

use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent, component_utils};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption as Encoded, Component, ComponentAliasSection,
    ComponentOuterAliasKind, ExportKind, InstanceSection, ModuleArg, NestedComponentSection, RawSection,
};
use wasmparser::{CanonicalFunction, CanonicalOption, ComponentAlias, CustomSectionReader, Instance, Parser, Payload};

use self::counters::{MODULES, NAME, OF_REALLOC, counter, modules};

/// Returns the component with added counting of what is copied within it. `None` if nothing is copied.
///
/// # Errors
///
/// Fails if the component is not valid, or has something that cannot be read: what it copies would not be counted.
pub fn count(wasm: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if !super::is_component(wasm) {
        return Ok(None);
    }
    let uses = uses(wasm).ok_or_else(|| NotThere.to_string())?;
    if uses == Uses::default() {
        return Ok(None);
    }
    let mut counted = Counted { copies: uses.copies, levels: vec![Level::default()] };
    let mut out = Component::new();
    for data in modules() {
        out.section(&RawSection { id: CORE_MODULE, data: &data });
    }
    component_utils::parse_component(&mut counted, &mut out, Parser::new(0), wasm, wasm).map_err(|e| e.to_string())?;
    Ok(Some(out.finish()))
}

/// The things in a component that have to be counted.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Uses {
    /// True if components within it have functions. The outermost component cannot call those within it, and what the
    /// host copies for a call is not counted here.
    copies: bool,
    /// True if it uses functions of the engine that count, too.
    builtins: bool,
}

fn uses(wasm: &[u8]) -> Option<Uses> {
    let mut depth = 0_u32;
    let mut uses = Uses::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentCanonicalSection(section) => {
                uses.copies |= depth > 1;
                for canonical in section {
                    uses.builtins |= counter(&canonical.ok()?).is_some();
                }
            }
            _ => {}
        }
    }
    Some(uses)
}

const CORE_MODULE: u8 = 1;

/// Error: the component is not valid. The engine reports the reason better.
#[derive(Debug, thiserror::Error)]
#[error("it uses a core function that is not there")]
struct NotThere;

/// Writes components anew, with counting of what they copy.
struct Counted {
    /// True if each `realloc` is counted.
    copies: bool,
    /// The component being written (last), and those that it is in.
    levels: Vec<Level>,
}

/// The indices of a component, which change where something is inserted.
#[derive(Default)]
struct Level {
    /// The new index of each core instance and core function.
    instances: Vec<u32>,
    functions: Vec<u32>,
    /// The next new index.
    next_instance: u32,
    next_function: u32,
    /// The counting function that was inserted before each of these.
    counting: HashMap<u32, u32>,
}

impl Level {
    fn add_instance(&mut self) {
        self.instances.push(self.next_instance);
        self.next_instance += 1;
    }

    fn add_function(&mut self) {
        self.functions.push(self.next_function);
        self.next_function += 1;
    }

    /// Inserts the counting function before a `realloc`, unless that was already done.
    fn put_in_front(&mut self, realloc: u32, out: &mut Component) -> Option<()> {
        if !self.counting.contains_key(&realloc) {
            let function = *self.functions.get(realloc as usize)?;
            let counting = self.count(OF_REALLOC, function, out);
            self.counting.insert(realloc, counting);
        }
        Some(())
    }

    /// Instantiates a module that counts for a function. Returns the function that replaces it.
    fn count(&mut self, module: u32, function: u32, out: &mut Component) -> u32 {
        let mut instances = InstanceSection::new();
        instances.export_items([(NAME, ExportKind::Func, function)]);
        instances.instantiate(module, [("", ModuleArg::Instance(self.next_instance))]);
        out.section(&instances);
        let mut aliases = ComponentAliasSection::new();
        let instance = self.next_instance + 1;
        aliases.alias(Alias::CoreInstanceExport { instance, kind: ExportKind::Func, name: NAME });
        out.section(&aliases);
        self.next_instance += 2;
        self.next_function += 1;
        self.next_function - 1
    }
}

impl Counted {
    fn level(&mut self) -> Result<&mut Level, Error<NotThere>> {
        self.levels.last_mut().ok_or(Error::UserError(NotThere))
    }

    fn canonical(&mut self, canonical: CanonicalFunction, out: &mut Component) -> Result<(), Error<NotThere>> {
        for option in options(&canonical) {
            if let (CanonicalOption::Realloc(realloc), true) = (option, self.copies) {
                self.level()?.put_in_front(*realloc, out).ok_or(Error::UserError(NotThere))?;
            }
        }
        let defines = !matches!(canonical, CanonicalFunction::Lift { .. });
        let counter = counter(&canonical);
        let mut section = CanonicalFunctionSection::new();
        self.parse_component_canonical(&mut section, canonical)?;
        out.section(&section);
        let level = self.level()?;
        if defines {
            level.add_function();
        }
        if let Some(counter) = counter
            && let Some(function) = level.functions.pop()
        {
            let counting = level.count(counter, function, out);
            level.functions.push(counting);
        }
        Ok(())
    }
}

fn options(canonical: &CanonicalFunction) -> &[CanonicalOption] {
    match canonical {
        CanonicalFunction::Lift { options, .. }
        | CanonicalFunction::Lower { options, .. }
        | CanonicalFunction::TaskReturn { options, .. }
        | CanonicalFunction::StreamRead { options, .. }
        | CanonicalFunction::StreamWrite { options, .. }
        | CanonicalFunction::FutureRead { options, .. }
        | CanonicalFunction::FutureWrite { options, .. }
        | CanonicalFunction::ErrorContextNew { options }
        | CanonicalFunction::ErrorContextDebugMessage { options } => options,
        _ => &[],
    }
}

impl Reencode for Counted {
    type Error = NotThere;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<NotThere>> {
        let level = self.level()?;
        level.functions.get(function as usize).copied().ok_or(Error::UserError(NotThere))
    }
}

impl ReencodeComponent for Counted {
    fn module_index(&mut self, module: u32) -> u32 {
        // Every component gets some more modules, before all others.
        module.saturating_add(MODULES)
    }

    fn instance_index(&mut self, instance: u32) -> u32 {
        // An index that does not exist has no counterpart in the new component either.
        let level = self.levels.last();
        level.and_then(|level| level.instances.get(instance as usize)).copied().unwrap_or(u32::MAX)
    }

    fn canonical_option(&mut self, option: CanonicalOption) -> Result<Encoded, Error<NotThere>> {
        match option {
            CanonicalOption::Realloc(realloc) if self.copies => {
                let counting = self.level()?.counting.get(&realloc).copied();
                counting.map(Encoded::Realloc).ok_or(Error::UserError(NotThere))
            }
            other => component_utils::canonical_option(self, other),
        }
    }

    fn component_alias<'a>(&mut self, alias: ComponentAlias<'a>) -> Result<Alias<'a>, Error<NotThere>> {
        let defines = matches!(alias, ComponentAlias::CoreInstanceExport { kind: wasmparser::ExternalKind::Func, .. });
        let encoded = component_utils::component_alias(self, alias)?;
        if defines {
            self.level()?.add_function();
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
            other => component_utils::parse_component_payload(self, out, other, whole),
        }
    }

    fn parse_component_submodule(
        &mut self,
        out: &mut Component,
        _: Parser,
        module: &[u8],
    ) -> Result<(), Error<NotThere>> {
        out.section(&RawSection { id: CORE_MODULE, data: module });
        Ok(())
    }

    fn parse_component_subcomponent(
        &mut self,
        out: &mut Component,
        parser: Parser,
        data: &[u8],
        whole: &[u8],
    ) -> Result<(), Error<NotThere>> {
        self.levels.push(Level::default());
        let mut inner = Component::new();
        // These refer to the modules of the component around it, which likewise has them from outside unless it is the
        // outermost.
        let mut aliases = ComponentAliasSection::new();
        for index in 0..MODULES {
            aliases.alias(Alias::Outer { kind: ComponentOuterAliasKind::CoreModule, count: 1, index });
        }
        inner.section(&aliases);
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
            assert_eq!(count(&wat::parse_str(text).expect("wasm")), Ok(None), "{text}");
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
            let profile = wasmpool_core::artifact::Profile { features: wasmpool_core::artifact::Features::Full, ..Default::default() };
            let engine = crate::engine::compiling(profile).expect("an engine");
            for wasm in [wasm, counted] {
                let valid = wasmtime::component::Component::from_binary(&engine, &wasm).map(|_| ());
                assert!(valid.is_ok(), "{text}: {valid:?}");
            }
        }
    }
}
