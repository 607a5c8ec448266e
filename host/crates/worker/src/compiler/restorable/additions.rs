//! What is added at the end of a component: core modules whose functions call those of all its core instances, and the
//! instance whose functions these become, together with those of the components within.

use wasm_encoder::{
    Alias, BlockType, CanonicalFunctionSection, CanonicalOption as Encoded, CodeSection, Component,
    ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentInstanceSection, ComponentTypeSection,
    ComponentValType, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection, InstanceSection,
    Module, ModuleArg, ModuleSection, PrimitiveValType, TypeSection, ValType,
};

use super::component::{ComponentIndices, Functions};
use super::handles::HandleClearing;
use crate::added;

/// What clears the handles of an instance: the number of core modules that were added for it, and the core instance that has
/// the functions.
pub struct Clearing {
    modules: u32,
    instance: u32,
}

/// Functions that are added at the end of a component.
pub struct Additions<'a> {
    of: &'a ComponentIndices,
    /// Number of core modules that were added.
    modules: u32,
    aliases: ComponentAliasSection,
    /// Number of core functions and memories that were aliased, and of functions and instances of components.
    core_functions: u32,
    memories: u32,
    functions: u32,
    instances: u32,
    types: ComponentTypeSection,
    lifted: CanonicalFunctionSection,
    exported: Vec<(String, ComponentExportKind, u32)>,
}

/// The types of the functions, by their places among those that are added.
const PLAIN: u32 = 0;
const LIST: u32 = 1;
const WHOLE: u32 = 2;
const LOOK: u32 = 3;
const CLEAR: u32 = 4;
const HANDLE_AT: u32 = 5;

impl<'a> Additions<'a> {
    /// Adds what clears the handles of an instance.
    pub fn clear(of: &mut ComponentIndices, out: &mut Component) -> Clearing {
        let mut types = ComponentTypeSection::new();
        types.resource(ValType::I32, None);
        let mut made = CanonicalFunctionSection::new();
        made.resource_new(of.types).resource_drop(of.types);
        out.section(&types).section(&made);
        out.section(&ModuleSection(&of.clearing.module()));
        let mut instances = InstanceSection::new();
        let given = of.clearing.given(of.core_functions);
        instances.export_items(given.iter().map(|(name, function)| (name, ExportKind::Func, *function)));
        let given = [(HandleClearing::MODULE, ModuleArg::Instance(of.core_instances))];
        instances.instantiate(of.modules.len() as u32, given);
        out.section(&instances);
        of.types += 1;
        of.core_functions += 2;
        of.core_instances += 2;
        Clearing { modules: 1, instance: of.core_instances - 1 }
    }

    /// Adds what restores an instance. Takes note of the functions that this is.
    pub fn add(of: &ComponentIndices, clearing: Option<Clearing>, functions: &mut Functions, out: &mut Component) {
        let modules = clearing.as_ref().map_or(0, |clearing| clearing.modules);
        let mut added = Additions::new(of, modules);
        for (instance, within) in of.within() {
            added.within(instance, within, functions);
        }
        let with_globals: Vec<u32> = of.with_globals().collect();
        let with_words: Vec<(u32, u32)> = of.with_words().collect();
        // What has global variables has words.
        if !with_words.is_empty() {
            let instances: Vec<u32> = with_words.iter().map(|(instance, _)| *instance).collect();
            added.all(&with_globals, &instances, functions, out);
            functions.words.push(with_words.into_iter().map(|(_, words)| words).collect());
            functions.globals += u32::from(!with_globals.is_empty());
        }
        for (instance, memory) in of.lists() {
            added.list(functions.memories, instance, memory);
            functions.memories += 1;
        }
        if let Some(Clearing { instance, .. }) = clearing {
            added.clearing(functions.handles, instance);
            functions.handles += 1;
        }
        added.finish(out);
    }

    fn new(of: &'a ComponentIndices, modules: u32) -> Additions<'a> {
        let mut types = ComponentTypeSection::new();
        types.function().params::<_, ComponentValType>([]).result(None);
        types.defined_type().list(ComponentValType::Primitive(PrimitiveValType::U8));
        types.function().params::<_, ComponentValType>([]).result(Some(ComponentValType::Type(of.types + LIST)));
        let number = |ty| ComponentValType::Primitive(ty);
        let place = [("instance", number(PrimitiveValType::U32)), ("at", number(PrimitiveValType::U32))];
        types.function().params(place).result(Some(number(PrimitiveValType::U64)));
        let handles =
            [("slots", PrimitiveValType::U32), ("live", PrimitiveValType::U32), ("kinds", PrimitiveValType::U64)];
        let handles = handles.map(|(name, ty)| (name, number(ty)));
        types.function().params(handles).result(Some(number(PrimitiveValType::U32)));
        types.function().params([("at", number(PrimitiveValType::U32))]).result(Some(number(PrimitiveValType::U32)));
        Additions {
            of,
            modules,
            aliases: ComponentAliasSection::new(),
            core_functions: 0,
            memories: 0,
            functions: 0,
            instances: 0,
            types,
            lifted: CanonicalFunctionSection::new(),
            exported: Vec::new(),
        }
    }

    /// Adds the functions of an instance of a component within, under names that follow those that there are already.
    fn within(&mut self, instance: u32, of: &Functions, all: &mut Functions) {
        let kind = ComponentExportKind::Instance;
        self.aliases.alias(Alias::InstanceExport { instance, kind, name: added::INSTANCE });
        let from = self.of.instances + self.instances;
        self.instances += 1;
        let kinds = [
            (added::SAVE_ALL, of.globals, all.globals),
            (added::RESTORE_ALL, of.globals, all.globals),
            (added::LOOK_AT, of.words.len() as u32, all.words.len() as u32),
            (added::MEMORY, of.memories, all.memories),
            (added::CLEAR_HANDLES, of.handles, all.handles),
            (added::HANDLE_AT, of.handles, all.handles),
        ];
        for (name, count, before) in kinds {
            for nth in 0..count {
                let kind = ComponentExportKind::Func;
                let name_within = added::nth(name, nth);
                self.aliases.alias(Alias::InstanceExport { instance: from, kind, name: &name_within });
                let function = self.of.functions + self.functions;
                self.exported.push((added::nth(name, before + nth), ComponentExportKind::Func, function));
                self.functions += 1;
            }
        }
        all.globals += of.globals;
        all.memories += of.memories;
        all.handles += of.handles;
        all.words.extend_from_slice(&of.words);
    }

    /// Adds the functions for the global variables of these core instances, and that for comparing.
    fn all(&mut self, with_globals: &[u32], with_words: &[u32], functions: &Functions, out: &mut Component) {
        out.section(&ModuleSection(&all(with_globals, with_words)));
        let mut given: Vec<u32> = with_globals.iter().chain(with_words).copied().collect();
        given.sort_unstable();
        given.dedup();
        let names: Vec<String> = given.iter().map(u32::to_string).collect();
        let given = names.iter().zip(given).map(|(name, instance)| (&**name, ModuleArg::Instance(instance)));
        let mut instantiated = InstanceSection::new();
        instantiated.instantiate(self.of.modules.len() as u32 + self.modules, given);
        self.modules += 1;
        out.section(&instantiated);
        if !with_globals.is_empty() {
            for (from, name) in [(added::SAVE, added::SAVE_ALL), (added::RESTORE, added::RESTORE_ALL)] {
                let function = self.core_function(self.of.core_instances, from);
                self.lift(added::nth(name, functions.globals), function, PLAIN, &[]);
            }
        }
        let look = self.core_function(self.of.core_instances, added::LOOK);
        self.lift(added::nth(added::LOOK_AT, functions.words.len() as u32), look, LOOK, &[]);
    }

    /// Adds the function that returns a memory of this core instance as a list.
    fn list(&mut self, nth: u32, instance: u32, memory: u32) {
        let name = added::memory(memory);
        self.aliases.alias(Alias::CoreInstanceExport { instance, kind: ExportKind::Memory, name: &name });
        let index = self.of.core_memories + self.memories;
        self.memories += 1;
        let whole = self.core_function(instance, &added::whole(memory));
        let put_back = self.core_function(instance, &added::put_back(memory));
        let options = [Encoded::Memory(index), Encoded::PostReturn(put_back)];
        self.lift(added::nth(added::MEMORY, nth), whole, WHOLE, &options);
    }

    /// Adds the functions of this core instance that clear the handles, and that say which the next ones are.
    fn clearing(&mut self, nth: u32, instance: u32) {
        for (name, ty) in [(added::CLEAR_HANDLES, CLEAR), (added::HANDLE_AT, HANDLE_AT)] {
            let function = self.core_function(instance, name);
            self.lift(added::nth(name, nth), function, ty, &[]);
        }
    }

    /// Adds an alias of a function that a core instance exports, and returns its index.
    fn core_function(&mut self, instance: u32, name: &str) -> u32 {
        self.aliases.alias(Alias::CoreInstanceExport { instance, kind: ExportKind::Func, name });
        self.core_functions += 1;
        self.of.core_functions + self.core_functions - 1
    }

    /// Lifts a function. It has to be called after all functions of components within were added.
    fn lift(&mut self, name: String, function: u32, ty: u32, options: &[Encoded]) {
        let index = self.of.functions + self.functions + self.lifted.len();
        self.lifted.lift(function, self.of.types + ty, options.iter().copied());
        self.exported.push((name, ComponentExportKind::Func, index));
    }

    fn finish(self, out: &mut Component) {
        out.section(&self.aliases).section(&self.types).section(&self.lifted);
        let mut instances = ComponentInstanceSection::new();
        instances.export_items(self.exported.iter().map(|(name, kind, index)| (&**name, *kind, *index)));
        let mut exports = ComponentExportSection::new();
        let index = self.of.instances + self.instances;
        exports.export(added::INSTANCE, ComponentExportKind::Instance, index, None);
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
