//! A component with what restoring its instances takes: its core modules have it, and at the end one more core module is
//! instantiated, whose functions call those of all core instances, and another whose functions clear the handles
//! (`handles.rs`). They become functions of an instance that the component exports.

use std::collections::BTreeMap;

use wasm_encoder::{
    Alias, BlockType, CanonicalFunctionSection, CanonicalOption as Encoded, CodeSection, Component,
    ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentInstanceSection, ComponentTypeSection,
    ComponentValType, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection, InstanceSection,
    Module, ModuleArg, ModuleSection, PrimitiveValType, RawSection, TypeSection, ValType,
};
use wasmparser::{
    BinaryReader, CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind,
    ComponentType, ExternalKind, FromReader, Instance, SectionLimited,
};

use super::super::sections::{COMPONENT, CORE_MODULE, sections};
use super::handles::HandleClearing;
use super::module::{self, Lists, RestorableModule};
use super::{NotRestorable, RestorableTask};
use crate::added;

/// Returns the component with what restoring its instances takes.
pub fn restorable(wasm: &[u8]) -> Result<RestorableTask, NotRestorable> {
    let mut level = ComponentIndices::default();
    let mut out = Component::new();
    for (id, data) in sections(wasm).ok_or(NotRestorable::Unread)? {
        if id == CORE_MODULE {
            let module = module::restorable(data, Lists::Yes)?;
            out.section(&RawSection { id, data: &module.wasm });
            level.modules.push(module);
            continue;
        }
        level.read(id, data)?;
        out.section(&RawSection { id, data });
    }
    let memories = level.lists().count() as u32;
    let globals = level.with_globals().next().is_some();
    let words = level.with_words().map(|(_, words)| words).collect();
    level.restore(&mut out);
    Ok(RestorableTask { wasm: out.finish(), memories, globals, words })
}

const CORE_INSTANCES: u8 = 2;
const INSTANCES: u8 = 5;
const ALIASES: u8 = 6;
const TYPES: u8 = 7;
const CANONICALS: u8 = 8;
const START: u8 = 9;
const IMPORTS: u8 = 10;
const EXPORTS: u8 = 11;
const VALUES: u8 = 12;

/// Number of things of each kind that a component has, by which the next are numbered.
#[derive(Default)]
struct ComponentIndices {
    modules: Vec<RestorableModule>,
    /// Number of modules that were added.
    added_modules: u32,
    core_instances: u32,
    core_functions: u32,
    core_memories: u32,
    types: u32,
    /// The types that have a name because they are imported, or exported by something that is.
    names: BTreeMap<u32, String>,
    /// What drops handles of each kind that can be cleared.
    clearing: HandleClearing,
    /// True if something is imported, which may return handles.
    imports: bool,
    functions: u32,
    instances: u32,
    /// The instances of core modules, each with its module.
    instantiated: Vec<(u32, u32)>,
}

impl ComponentIndices {
    /// Counts what a section defines.
    fn read(&mut self, id: u8, data: &[u8]) -> Result<(), NotRestorable> {
        match id {
            CORE_INSTANCES => {
                for instance in entries::<Instance<'_>>(data)? {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        self.instantiated.push((self.core_instances, module_index));
                    }
                    self.core_instances += 1;
                }
            }
            COMPONENT => check_within(data)?,
            INSTANCES => self.instances += entries::<wasmparser::ComponentInstance<'_>>(data)?.count(),
            ALIASES => {
                for alias in entries::<ComponentAlias<'_>>(data)? {
                    self.alias(&alias?)?;
                }
            }
            TYPES => {
                for ty in entries::<ComponentType<'_>>(data)? {
                    if let ComponentType::Resource { .. } = ty? {
                        return Err(NotRestorable::Resources);
                    }
                    self.types += 1;
                }
            }
            CANONICALS => {
                for canonical in entries::<CanonicalFunction>(data)? {
                    self.canonical(&canonical?)?;
                }
            }
            START => return Err(NotRestorable::Start),
            IMPORTS => {
                for import in entries::<wasmparser::ComponentImport<'_>>(data)? {
                    let import = import?;
                    self.imports = true;
                    self.external(import.ty.kind(), import.name.name)?;
                }
            }
            EXPORTS => {
                for export in entries::<wasmparser::ComponentExport<'_>>(data)? {
                    let export = export?;
                    if export.name.name == added::INSTANCE {
                        return Err(NotRestorable::NameTaken(added::INSTANCE));
                    }
                    self.external(export.kind, export.name.name)?;
                }
            }
            VALUES => return Err(NotRestorable::Modules),
            _ => {}
        }
        Ok(())
    }

    fn external(&mut self, kind: ComponentExternalKind, name: &str) -> Result<(), NotRestorable> {
        match kind {
            ComponentExternalKind::Func => self.functions += 1,
            ComponentExternalKind::Type => {
                self.names.insert(self.types, name.to_owned());
                self.types += 1;
            }
            ComponentExternalKind::Instance => self.instances += 1,
            ComponentExternalKind::Module | ComponentExternalKind::Component | ComponentExternalKind::Value => {
                return Err(NotRestorable::Modules);
            }
        }
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) -> Result<(), NotRestorable> {
        match alias {
            ComponentAlias::CoreInstanceExport { kind: ExternalKind::Func | ExternalKind::FuncExact, .. } => {
                self.core_functions += 1;
            }
            ComponentAlias::CoreInstanceExport { kind: ExternalKind::Memory, .. } => self.core_memories += 1,
            ComponentAlias::CoreInstanceExport { .. } => {}
            ComponentAlias::InstanceExport { kind, name, .. } => self.external(*kind, name)?,
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. } => self.types += 1,
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreType, .. } => {}
            ComponentAlias::Outer { .. } => return Err(NotRestorable::Modules),
        }
        Ok(())
    }

    fn canonical(&mut self, canonical: &CanonicalFunction) -> Result<(), NotRestorable> {
        match canonical {
            CanonicalFunction::Lift { options, .. } if !waits(options) => self.functions += 1,
            CanonicalFunction::Lower { options, .. } if !waits(options) => self.core_functions += 1,
            CanonicalFunction::ResourceDrop { resource } => {
                if let Some(name) = self.names.get(resource) {
                    self.clearing.add(name, self.core_functions);
                }
                self.core_functions += 1;
            }
            CanonicalFunction::ResourceNew { .. } | CanonicalFunction::ResourceRep { .. } => {
                return Err(NotRestorable::Resources);
            }
            _ => return Err(NotRestorable::Waits),
        }
        Ok(())
    }

    fn module(&self, index: u32) -> Option<&RestorableModule> {
        self.modules.get(index as usize)
    }

    /// Returns the core instances that have global variables.
    fn with_globals(&self) -> impl Iterator<Item = u32> {
        let has_globals = |module: &u32| self.module(*module).is_some_and(|module| module.globals);
        self.instantiated.iter().filter(move |(_, module)| has_globals(module)).map(|(instance, _)| *instance)
    }

    /// Returns the core instances that have words by which they are compared, and the number of these.
    fn with_words(&self) -> impl Iterator<Item = (u32, u32)> {
        let words = |module: u32| self.module(module).map_or(0, |module| module.words);
        self.instantiated
            .iter()
            .map(move |(instance, module)| (*instance, words(*module)))
            .filter(|(_, words)| *words > 0)
    }

    /// Returns the memories, each by its core instance and its place among those that its module defines.
    fn lists(&self) -> impl Iterator<Item = (u32, u32)> {
        self.instantiated.iter().flat_map(|(instance, module)| {
            let memories = self.module(*module).map_or(0, |module| module.memories.len() as u32);
            (0..memories).map(|at| (*instance, at))
        })
    }

    /// Adds what restores an instance.
    fn restore(mut self, out: &mut Component) {
        let clears = self.imports.then(|| self.clear(out));
        let mut added = Added::new(&self);
        let with_globals: Vec<u32> = self.with_globals().collect();
        let with_words: Vec<u32> = self.with_words().map(|(instance, _)| instance).collect();
        // What has global variables has words.
        if !with_words.is_empty() {
            added.all(&with_globals, &with_words, out);
        }
        for (at, (instance, memory)) in self.lists().enumerate() {
            added.list(at as u32, instance, memory);
        }
        if let Some(instance) = clears {
            added.clearing(instance);
        }
        added.finish(out);
    }

    /// Adds what clears the handles. Returns the core instance that has its functions.
    fn clear(&mut self, out: &mut Component) -> u32 {
        let mut types = ComponentTypeSection::new();
        types.resource(ValType::I32, None);
        let mut made = CanonicalFunctionSection::new();
        made.resource_new(self.types).resource_drop(self.types);
        out.section(&types).section(&made);
        out.section(&ModuleSection(&self.clearing.module()));
        let mut instances = InstanceSection::new();
        let given = self.clearing.given(self.core_functions);
        instances.export_items(given.iter().map(|(name, function)| (name, ExportKind::Func, *function)));
        instances
            .instantiate(self.next_module(), [(HandleClearing::MODULE, ModuleArg::Instance(self.core_instances))]);
        out.section(&instances);
        self.types += 1;
        self.core_functions += 2;
        self.added_modules += 1;
        self.core_instances += 2;
        self.core_instances - 1
    }

    fn next_module(&self) -> u32 {
        self.modules.len() as u32 + self.added_modules
    }
}

/// Functions that are added at the end of a component.
struct Added<'a> {
    of: &'a ComponentIndices,
    aliases: ComponentAliasSection,
    /// Number of core functions and memories that were aliased.
    functions: u32,
    memories: u32,
    types: ComponentTypeSection,
    lifted: CanonicalFunctionSection,
    exported: Vec<(String, ComponentExportKind, u32)>,
}

impl<'a> Added<'a> {
    fn new(of: &'a ComponentIndices) -> Added<'a> {
        let mut types = ComponentTypeSection::new();
        types.function().params::<_, ComponentValType>([]).result(None);
        types.defined_type().list(ComponentValType::Primitive(PrimitiveValType::U8));
        types.function().params::<_, ComponentValType>([]).result(Some(ComponentValType::Type(of.types + 1)));
        let number = |ty| ComponentValType::Primitive(ty);
        let place = [("instance", number(PrimitiveValType::U32)), ("at", number(PrimitiveValType::U32))];
        types.function().params(place).result(Some(number(PrimitiveValType::U64)));
        let handles = [("slots", PrimitiveValType::U32), ("live", PrimitiveValType::U32), ("kinds", PrimitiveValType::U64)];
        let handles = handles.map(|(name, ty)| (name, number(ty)));
        types.function().params(handles).result(Some(number(PrimitiveValType::U32)));
        types.function().params([("at", number(PrimitiveValType::U32))]).result(Some(number(PrimitiveValType::U32)));
        Added {
            of,
            aliases: ComponentAliasSection::new(),
            functions: 0,
            memories: 0,
            types,
            lifted: CanonicalFunctionSection::new(),
            exported: Vec::new(),
        }
    }

    /// Adds the functions for the global variables of these core instances, and that for comparing.
    fn all(&mut self, with_globals: &[u32], with_words: &[u32], out: &mut Component) {
        out.section(&ModuleSection(&all(with_globals, with_words)));
        let mut given: Vec<u32> = with_globals.iter().chain(with_words).copied().collect();
        given.sort_unstable();
        given.dedup();
        let names: Vec<String> = given.iter().map(u32::to_string).collect();
        let given = names.iter().zip(given).map(|(name, instance)| (&**name, ModuleArg::Instance(instance)));
        let mut instantiated = InstanceSection::new();
        instantiated.instantiate(self.of.next_module(), given);
        out.section(&instantiated);
        if !with_globals.is_empty() {
            for (from, name) in [(added::SAVE, added::SAVE_ALL), (added::RESTORE, added::RESTORE_ALL)] {
                let function = self.core_function(self.of.core_instances, from);
                self.lift(name, function, self.of.types, &[]);
            }
        }
        let look = self.core_function(self.of.core_instances, added::LOOK);
        self.lift(added::LOOK_AT, look, self.of.types + 3, &[]);
    }

    /// Adds the function that returns a memory of this core instance as a list.
    fn list(&mut self, at: u32, instance: u32, memory: u32) {
        let name = added::memory(memory);
        self.aliases.alias(Alias::CoreInstanceExport { instance, kind: ExportKind::Memory, name: &name });
        let index = self.of.core_memories + self.memories;
        self.memories += 1;
        let whole = self.core_function(instance, &added::whole(memory));
        let put_back = self.core_function(instance, &added::put_back(memory));
        let options = [Encoded::Memory(index), Encoded::PostReturn(put_back)];
        self.lift(&added::whole_of_component(at), whole, self.of.types + 2, &options);
    }

    /// Adds the functions of this core instance that clear the handles, and that say which the next ones are.
    fn clearing(&mut self, instance: u32) {
        for (name, ty) in [(added::CLEAR_HANDLES, 4), (added::HANDLE_AT, 5)] {
            let function = self.core_function(instance, name);
            self.lift(name, function, self.of.types + ty, &[]);
        }
    }

    /// Adds an alias of a function that a core instance exports, and returns its index.
    fn core_function(&mut self, instance: u32, name: &str) -> u32 {
        self.aliases.alias(Alias::CoreInstanceExport { instance, kind: ExportKind::Func, name });
        self.functions += 1;
        self.of.core_functions + self.functions - 1
    }

    fn lift(&mut self, name: &str, function: u32, ty: u32, options: &[Encoded]) {
        let index = self.of.functions + self.lifted.len();
        self.lifted.lift(function, ty, options.iter().copied());
        self.exported.push((name.to_owned(), ComponentExportKind::Func, index));
    }

    fn finish(self, out: &mut Component) {
        out.section(&self.aliases).section(&self.types).section(&self.lifted);
        let mut instances = ComponentInstanceSection::new();
        instances.export_items(self.exported.iter().map(|(name, kind, index)| (&**name, *kind, *index)));
        let mut exports = ComponentExportSection::new();
        exports.export(added::INSTANCE, ComponentExportKind::Instance, self.of.instances, None);
        out.section(&instances).section(&exports);
    }
}

/// Returns a core module whose functions save and restore the global variables of these core instances, and return words
/// of those.
fn all(with_globals: &[u32], with_words: &[u32]) -> Module {
    const PLAIN: u32 = 0;
    const LOOK: u32 = 1;
    const LOOK_AT: u32 = 2;
    let mut types = TypeSection::new();
    types.ty().function([], []);
    types.ty().function([ValType::I32], [ValType::I64]);
    types.ty().function([ValType::I32, ValType::I32], [ValType::I64]);
    let mut imports = ImportSection::new();
    let mut bodies = Vec::new();
    for name in [added::SAVE, added::RESTORE] {
        let mut body = Function::new([]);
        for instance in with_globals {
            body.instructions().call(imports.len());
            imports.import(&instance.to_string(), name, EntityType::Function(PLAIN));
        }
        body.instructions().end();
        bodies.push((name, PLAIN, body));
    }
    let mut body = Function::new([]);
    for (at, instance) in with_words.iter().enumerate() {
        let mut code = body.instructions();
        code.local_get(0).i32_const(at as i32).i32_eq().if_(BlockType::Empty);
        code.local_get(1).call(imports.len()).return_().end();
        imports.import(&instance.to_string(), added::LOOK, EntityType::Function(LOOK));
    }
    body.instructions().i64_const(0).end();
    bodies.push((added::LOOK, LOOK_AT, body));
    let (mut functions, mut exports, mut codes) = (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    for (nth, (name, ty, body)) in bodies.into_iter().enumerate() {
        functions.function(ty);
        exports.export(name, ExportKind::Func, imports.len() + nth as u32);
        codes.function(&body);
    }
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&codes);
    module
}

/// Returns an error if a component within the task has code, or something that may keep what a call leaves. Toolchains add
/// components that only give other names to what they are given.
fn check_within(wasm: &[u8]) -> Result<(), NotRestorable> {
    for (id, data) in sections(wasm).ok_or(NotRestorable::Unread)? {
        match id {
            CORE_MODULE | CORE_INSTANCES | CANONICALS | START | VALUES => return Err(NotRestorable::NestedCode),
            COMPONENT => check_within(data)?,
            TYPES => {
                for ty in entries::<ComponentType<'_>>(data)? {
                    if let ComponentType::Resource { .. } = ty? {
                        return Err(NotRestorable::Resources);
                    }
                }
            }
            ALIASES => {
                for alias in entries::<ComponentAlias<'_>>(data)? {
                    ComponentIndices::default().alias(&alias?)?;
                }
            }
            IMPORTS => {
                for import in entries::<wasmparser::ComponentImport<'_>>(data)? {
                    let import = import?;
                    ComponentIndices::default().external(import.ty.kind(), import.name.name)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns true if a function is called asynchronously.
fn waits(options: &[CanonicalOption]) -> bool {
    options.iter().any(|option| matches!(option, CanonicalOption::Async | CanonicalOption::Callback(_)))
}

fn entries<'a, T: FromReader<'a>>(section: &'a [u8]) -> Result<SectionLimited<'a, T>, NotRestorable> {
    Ok(SectionLimited::new(BinaryReader::new(section, 0))?)
}
