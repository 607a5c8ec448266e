//! A component with what restoring its instances takes: its core modules have it, and so have the components within it. At
//! its end (`additions.rs`), more core modules are instantiated, whose functions call those of all core instances. They become
//! functions of an instance that the component exports.

use std::collections::{BTreeMap, BTreeSet};

use wasm_encoder::{Component, RawSection};
use wasmparser::{
    BinaryReader, CanonicalFunction, CanonicalOption, ComponentAlias, ComponentDefinedType, ComponentExternalKind,
    ComponentOuterAliasKind, ComponentType, ComponentValType, ExternalKind, FromReader, Instance, SectionLimited,
};

use super::super::sections::{COMPONENT, CORE_MODULE, sections};
use super::additions::Additions;
use super::handles::HandleClearing;
use super::module::{self, Lists, RestorableModule};
use super::{MOST_CALLERS, MOST_GLOBALS, MOST_INSTANCES, MemoryMisfit, NotRestorable, RestorableTask};
use crate::added;

/// Returns the component with what restoring its instances takes.
pub fn restorable(wasm: &[u8]) -> Result<RestorableTask, NotRestorable> {
    let (wasm, Functions { memories, globals, words, handles, keeping, .. }) = with_functions(wasm, &mut 0)?;
    Ok(RestorableTask { wasm, memories, globals, words, handles, keeping })
}

/// The functions that were added to a component, by which an instance of it is restored, with all within it.
#[derive(Clone, Default)]
pub struct Functions {
    /// Number of functions that return a memory.
    pub memories: u32,
    /// Number of functions that save global variables, and of those that restore them.
    pub globals: u32,
    /// Number of functions that clear handles.
    pub handles: u32,
    /// Number of words of each core instance that has some, for each function that returns them.
    pub words: Vec<Vec<u32>>,
    /// Names of its own functions that change no global variable.
    keeping: BTreeSet<String>,
    /// Number of components that have functions of their own which can be called, or that call others.
    callers: u32,
    /// Number of instances of core modules.
    instances: u32,
    /// True if a handle may be passed to one of them.
    takes_handles: bool,
}

/// Returns a component with the functions that restore its instances. Adds the number of global variables of its modules to
/// `variables`.
fn with_functions(wasm: &[u8], variables: &mut u32) -> Result<(Vec<u8>, Functions), NotRestorable> {
    let mut level = ComponentIndices::default();
    let mut out = Component::new();
    for (id, data) in sections(wasm).ok_or(NotRestorable::Unread)? {
        match id {
            CORE_MODULE => {
                let module = module::restorable(data, Lists::Yes)?;
                *variables = variables.saturating_add(module.globals);
                if *variables > MOST_GLOBALS {
                    return Err(NotRestorable::TooLarge);
                }
                out.section(&RawSection { id, data: &module.wasm });
                level.modules.push(module);
            }
            COMPONENT => {
                let (within, functions) = with_functions(data, variables)?;
                // Toolchains add components that only give other names to what they are given.
                let has_some = functions.callers > 0;
                out.section(&RawSection { id, data: if has_some { &within } else { data } });
                level.components.push(functions);
            }
            _ => {
                level.read(id, data)?;
                out.section(&RawSection { id, data });
            }
        }
    }
    let functions = level.finish(&mut out)?;
    Ok((out.finish(), functions))
}

/// Maximum number of core instances that are added to a component.
const MOST_ADDED: u32 = 3;

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
pub struct ComponentIndices {
    pub modules: Vec<RestorableModule>,
    components: Vec<Functions>,
    pub core_instances: u32,
    pub core_functions: u32,
    pub core_memories: u32,
    pub types: u32,
    pub functions: u32,
    pub instances: u32,
    /// The types that have a name because they are imported, or exported by something that is.
    names: BTreeMap<u32, String>,
    /// The types of which it is known that no handle is in them.
    plain: BTreeSet<u32>,
    /// What drops handles of each kind that can be cleared.
    pub clearing: HandleClearing,
    /// True if it calls functions that are not its own, which may return handles.
    lowers: bool,
    lifts: bool,
    /// The core functions that core instances export: the instance, and the name.
    core_exports: BTreeMap<u32, (u32, String)>,
    /// The functions that change no global variable, and the names under which they are exported.
    keeps: BTreeSet<u32>,
    keeping: BTreeSet<String>,
    /// True if a handle may be passed to one of its functions.
    takes_handles: bool,
    /// The instances of core modules, each with its module.
    instantiated: Vec<(u32, u32)>,
    /// The instances of components within it, each with its component.
    within: Vec<(u32, u32)>,
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
            INSTANCES => {
                for instance in entries::<wasmparser::ComponentInstance<'_>>(data)? {
                    if let wasmparser::ComponentInstance::Instantiate { component_index, .. } = instance? {
                        self.within.push((self.instances, component_index));
                    }
                    self.instances += 1;
                }
            }
            ALIASES => {
                for alias in entries::<ComponentAlias<'_>>(data)? {
                    self.alias(&alias?)?;
                }
            }
            TYPES => {
                for ty in entries::<ComponentType<'_>>(data)? {
                    self.ty(&ty?)?;
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
                    self.external(import.ty.kind(), import.name.name)?;
                }
            }
            EXPORTS => {
                for export in entries::<wasmparser::ComponentExport<'_>>(data)? {
                    let export = export?;
                    if export.name.name == added::INSTANCE {
                        return Err(NotRestorable::NameTaken(added::INSTANCE));
                    }
                    if export.kind == ComponentExternalKind::Func && self.keeps.contains(&export.index) {
                        self.keeping.insert(export.name.name.to_owned());
                    }
                    // An exported type is another one with the same values.
                    if export.kind == ComponentExternalKind::Type && self.plain.contains(&export.index) {
                        self.plain.insert(self.types);
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
            ComponentAlias::CoreInstanceExport {
                kind: ExternalKind::Func | ExternalKind::FuncExact,
                instance_index,
                name,
            } => {
                self.core_exports.insert(self.core_functions, (*instance_index, (*name).to_owned()));
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

    fn ty(&mut self, ty: &ComponentType<'_>) -> Result<(), NotRestorable> {
        let is_plain = match ty {
            ComponentType::Resource { .. } => return Err(NotRestorable::Resources),
            ComponentType::Defined(defined) => self.is_plain(defined),
            ComponentType::Func(function) => {
                let params = function.params.iter().map(|(_, ty)| ty);
                params.chain(&function.result).all(|ty| self.is_plain_value(ty))
            }
            _ => false,
        };
        if is_plain {
            self.plain.insert(self.types);
        }
        self.types += 1;
        Ok(())
    }

    fn is_plain_value(&self, ty: &ComponentValType) -> bool {
        match ty {
            ComponentValType::Primitive(_) => true,
            ComponentValType::Type(index) => self.plain.contains(index),
        }
    }

    /// Returns true if it is known that no handle is in this type.
    fn is_plain(&self, ty: &ComponentDefinedType<'_>) -> bool {
        let is_plain = |ty: &ComponentValType| self.is_plain_value(ty);
        match ty {
            ComponentDefinedType::Primitive(_) | ComponentDefinedType::Flags(_) | ComponentDefinedType::Enum(_) => true,
            ComponentDefinedType::Record(fields) => fields.iter().all(|(_, ty)| is_plain(ty)),
            ComponentDefinedType::Variant(cases) => cases.iter().filter_map(|case| case.ty.as_ref()).all(is_plain),
            ComponentDefinedType::List(of)
            | ComponentDefinedType::FixedLengthList(of, _)
            | ComponentDefinedType::Option(of) => is_plain(of),
            ComponentDefinedType::Tuple(all) => all.iter().all(is_plain),
            ComponentDefinedType::Result { ok, err } => ok.iter().chain(err).all(is_plain),
            _ => false,
        }
    }

    fn canonical(&mut self, canonical: &CanonicalFunction) -> Result<(), NotRestorable> {
        match canonical {
            CanonicalFunction::Lift { options, type_index, core_func_index } if !waits(options) => {
                if !calls_more(options) && self.keeps_globals(*core_func_index) {
                    self.keeps.insert(self.functions);
                }
                self.functions += 1;
                self.lifts = true;
                self.takes_handles |= !self.plain.contains(type_index);
            }
            CanonicalFunction::Lower { options, .. } if !waits(options) => {
                self.core_functions += 1;
                self.lowers = true;
            }
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

    /// Returns true if it is known that a core function changes no global variable.
    fn keeps_globals(&self, function: u32) -> bool {
        let Some((instance, name)) = self.core_exports.get(&function) else {
            return false;
        };
        let module = self.instantiated.iter().find(|(instantiated, _)| instantiated == instance);
        let module = module.and_then(|(_, module)| self.module(*module));
        module.is_some_and(|module| module.keeping.contains(name))
    }

    fn module(&self, index: u32) -> Option<&RestorableModule> {
        self.modules.get(index as usize)
    }

    /// Returns the core instances that have global variables.
    pub fn with_globals(&self) -> impl Iterator<Item = u32> {
        let has_globals = |module: &u32| self.module(*module).is_some_and(|module| module.globals > 0);
        self.instantiated.iter().filter(move |(_, module)| has_globals(module)).map(|(instance, _)| *instance)
    }

    /// Returns the core instances that have words by which they are compared, and the number of these.
    pub fn with_words(&self) -> impl Iterator<Item = (u32, u32)> {
        let words = |module: u32| self.module(module).map_or(0, |module| module.words);
        self.instantiated
            .iter()
            .map(move |(instance, module)| (*instance, words(*module)))
            .filter(|(_, words)| *words > 0)
    }

    /// Returns the memories, each by its core instance and its place among those that its module defines.
    pub fn lists(&self) -> impl Iterator<Item = (u32, u32)> {
        self.instantiated.iter().flat_map(|(instance, module)| {
            let memories = self.module(*module).map_or(0, |module| module.memories.len() as u32);
            (0..memories).map(|at| (*instance, at))
        })
    }

    /// Returns the instances of components within it that have functions for restoring, with these.
    pub fn within(&self) -> impl Iterator<Item = (u32, &Functions)> {
        let functions = |component: u32| self.components.get(component as usize).filter(|within| within.callers > 0);
        self.within.iter().filter_map(move |(instance, component)| Some((*instance, functions(*component)?)))
    }

    /// Adds what restores an instance. Returns the functions that this is.
    fn finish(mut self, out: &mut Component) -> Result<Functions, NotRestorable> {
        // A memory without a page has nothing to restore as long as it does not grow.
        if self.modules.iter().any(|module| module.has_empty) && self.modules.iter().any(|module| module.grows) {
            return Err(NotRestorable::Memory(MemoryMisfit::Empty));
        }
        let mut callers = u32::from(self.lifts || self.lowers || !self.instantiated.is_empty());
        let mut takes_handles = self.takes_handles;
        let mut instances = self.instantiated.len() as u32 + MOST_ADDED * callers;
        for (_, within) in self.within() {
            callers = callers.saturating_add(within.callers);
            instances = instances.saturating_add(within.instances);
            takes_handles |= within.takes_handles;
        }
        if callers > MOST_CALLERS || instances > MOST_INSTANCES {
            return Err(NotRestorable::TooLarge);
        }
        // What is lent to a function has places among its handles that the host knows nothing of.
        if callers > 1 && takes_handles {
            return Err(NotRestorable::PassesHandles);
        }
        let keeping = std::mem::take(&mut self.keeping);
        let mut functions = Functions { callers, instances, takes_handles, keeping, ..Functions::default() };
        if callers > 0 {
            let clears = self.lowers.then(|| Additions::clear(&mut self, out));
            Additions::add(&self, clears, &mut functions, out);
        }
        Ok(functions)
    }
}

/// Returns true if a function is called asynchronously.
fn waits(options: &[CanonicalOption]) -> bool {
    options.iter().any(|option| matches!(option, CanonicalOption::Async | CanonicalOption::Callback(_)))
}

/// Returns true if other functions of the component are called with a function, for its arguments or after it.
fn calls_more(options: &[CanonicalOption]) -> bool {
    options.iter().any(|option| matches!(option, CanonicalOption::Realloc(_) | CanonicalOption::PostReturn(_)))
}

fn entries<'a, T: FromReader<'a>>(section: &'a [u8]) -> Result<SectionLimited<'a, T>, NotRestorable> {
    Ok(SectionLimited::new(BinaryReader::new(section, 0))?)
}
