//! Clearing the handles that an item has left: a core module that drops them, and puts the table of handles into the order
//! of a new one.
//!
//! A component's instance has one table for all its handles. A new handle gets the place that was freed last, or else the
//! next one that was never used. So the numbers of an item's handles would tell what the items before it had, unless the table
//! is as it was: all places free, and the lowest freed last. The module takes all of them by handles of a resource of its own,
//! which shows that none is anything else's, and drops these from the highest to the lowest.

use std::collections::BTreeMap;

use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    InstructionSink, Module, TypeSection, ValType,
};

use crate::added;

/// What clears the handles of a component's instances.
#[derive(Default)]
pub struct HandleClearing {
    /// The core function that drops handles of each kind, if the component has one.
    drops: BTreeMap<u32, u32>,
}

/// Names of the functions that the module imports.
const NEW: &str = "new";
const DROP: &str = "drop";

/// Indices of the types and functions of the module.
const ONE_TO_ONE: u32 = 0;
const ONE: u32 = 1;
const CLEAR: u32 = 2;
const MAKE: u32 = 0;
const UNMAKE: u32 = 1;
const DROPS: u32 = 2;

impl HandleClearing {
    /// Name of the module that the functions are imported from.
    pub const MODULE: &str = "";

    /// Takes note of a core function that drops handles of a type with this name.
    pub fn add(&mut self, name: &str, function: u32) {
        if let Some(kind) = added::kind_of_handle(name) {
            self.drops.entry(kind).or_insert(function);
        }
    }

    /// Returns what the module imports, by name. `own` is the core function that makes handles of its own resource, and the
    /// next one drops these.
    pub fn given(&self, own: u32) -> Vec<(String, u32)> {
        let own = [(NEW.to_owned(), own), (DROP.to_owned(), own + 1)];
        own.into_iter().chain(self.drops.iter().map(|(kind, function)| (kind.to_string(), *function))).collect()
    }

    /// Returns the module.
    pub fn module(&self) -> Module {
        let mut types = TypeSection::new();
        types.ty().function([ValType::I32], [ValType::I32]);
        types.ty().function([ValType::I32], []);
        types.ty().function([ValType::I32, ValType::I32, ValType::I64], [ValType::I32]);
        let mut imports = ImportSection::new();
        imports.import(Self::MODULE, NEW, EntityType::Function(ONE_TO_ONE));
        imports.import(Self::MODULE, DROP, EntityType::Function(ONE));
        for kind in self.drops.keys() {
            imports.import(Self::MODULE, &kind.to_string(), EntityType::Function(ONE));
        }
        let (clear, at) = (imports.len(), imports.len() + 1);
        let mut functions = FunctionSection::new();
        functions.function(CLEAR).function(ONE_TO_ONE);
        let mut exports = ExportSection::new();
        exports.export(added::CLEAR_HANDLES, ExportKind::Func, clear);
        exports.export(added::HANDLE_AT, ExportKind::Func, at);
        let mut codes = CodeSection::new();
        codes.function(&self.clear()).function(&handle_at(at));
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&exports).section(&codes);
        module
    }

    /// Returns the function that clears the handles. It is given the number of places that were used, at most 63, the number of
    /// those that are not free, and the kind of each, in four bits, that of the highest place in the lowest. It returns 0 if
    /// the table cannot be put into order.
    fn clear(&self) -> Function {
        const SLOTS: u32 = 0;
        const LIVE: u32 = 1;
        const KINDS: u32 = 2;
        /// A bit for each place that is taken by a handle of the own resource.
        const TAKEN: u32 = 3;
        const LEFT: u32 = 4;
        const PLACE: u32 = 5;
        let mut body = Function::new([(1, ValType::I64), (2, ValType::I32)]);
        let mut code = body.instructions();
        // Takes as many places as there are in LEFT.
        let take = |code: &mut InstructionSink<'_>| {
            while_left(code, LEFT, |code| {
                code.i32_const(0).call(MAKE).local_tee(PLACE);
                code.local_get(SLOTS).i32_gt_u().if_(BlockType::Empty).i32_const(0).return_().end();
                code.local_get(TAKEN)
                    .i64_const(1)
                    .local_get(PLACE)
                    .i64_extend_i32_u()
                    .i64_shl()
                    .i64_or()
                    .local_set(TAKEN);
            });
        };
        code.local_get(SLOTS).local_get(LIVE).i32_sub().local_set(LEFT);
        take(&mut code);
        // Places that are not free now are those of the handles that were left. A child is behind its parent.
        code.local_get(SLOTS).local_set(LEFT);
        while_left(&mut code, LEFT, |code| {
            code.local_get(TAKEN).local_get(LEFT).i64_extend_i32_u().i64_shr_u().i32_wrap_i64().i32_const(1).i32_and();
            code.i32_eqz().if_(BlockType::Empty);
            code.block(BlockType::Empty);
            for (nth, kind) in self.drops.keys().enumerate() {
                code.local_get(KINDS).i64_const(added::KIND_MASK).i64_and().i64_const(i64::from(*kind)).i64_eq();
                code.if_(BlockType::Empty).local_get(LEFT).call(DROPS + nth as u32).br(1).end();
            }
            code.i32_const(0).return_().end();
            code.local_get(KINDS).i64_const(added::KIND_BITS).i64_shr_u().local_set(KINDS);
            code.end();
        });
        code.local_get(LIVE).local_set(LEFT);
        take(&mut code);
        code.local_get(TAKEN).i64_popcnt().i32_wrap_i64().local_get(SLOTS).i32_ne();
        code.if_(BlockType::Empty).i32_const(0).return_().end();
        code.local_get(SLOTS).local_set(LEFT);
        while_left(&mut code, LEFT, |code| {
            code.local_get(LEFT).call(UNMAKE);
        });
        code.i32_const(1).end();
        body
    }
}

/// Returns the function that says which number the next handle has, or one of those after it. Afterwards the table is as it was.
fn handle_at(own: u32) -> Function {
    const AT: u32 = 0;
    const HANDLE: u32 = 1;
    let mut body = Function::new([(1, ValType::I32)]);
    let mut code = body.instructions();
    code.i32_const(0).call(MAKE).local_tee(HANDLE);
    code.local_get(AT).if_(BlockType::Result(ValType::I32)).local_get(AT).i32_const(1).i32_sub().call(own);
    code.else_().local_get(HANDLE).end().local_set(AT);
    code.call(UNMAKE).local_get(AT).end();
    body
}

/// Adds a loop that counts a variable down to zero.
fn while_left(code: &mut InstructionSink<'_>, left: u32, mut inner: impl FnMut(&mut InstructionSink<'_>)) {
    code.block(BlockType::Empty).loop_(BlockType::Empty);
    code.local_get(left).i32_eqz().br_if(1);
    inner(code);
    code.local_get(left).i32_const(1).i32_sub().local_set(left).br(0).end().end();
}
