//! A core module with what restoring its instances takes. Nothing but entries at the ends of its sections is added, so all
//! indices stay as they are.

use std::collections::BTreeSet;

use wasm_encoder::{
    BlockType, ConstExpr, Encode, ExportKind, Function, GlobalType, HeapType, Ieee32, Ieee64, InstructionSink, MemArg,
    Module, RawSection, ValType,
};
use wasmparser::{ExternalKind, GlobalType as ParsedGlobal, MemoryType, Operator, Parser, Payload, TypeRef};

use super::super::sections::{AddedEntries, sections};
use super::keeping::GlobalChanges;
use super::{MOST_GLOBALS, MemoryMisfit, NotRestorable};
use crate::added;

/// A core module with what restoring its instances takes.
pub struct RestorableModule {
    pub wasm: Vec<u8>,
    /// The memories that it defines, by their indices.
    pub memories: Vec<u32>,
    /// Number of global variables to restore.
    pub globals: u32,
    /// Number of words by which its global variables and tables are compared.
    pub words: u32,
    /// True if it has a memory without a page, which is left as it is.
    pub has_empty: bool,
    /// True if its code may grow a memory.
    pub grows: bool,
    /// The exported functions that change no global variable.
    pub keeping: BTreeSet<String>,
}

/// Whether a module gets functions that return its memories as lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    Yes,
    No,
}

/// Returns the module with what restoring its instances takes.
pub fn restorable(wasm: &[u8], lists: Lists) -> Result<RestorableModule, NotRestorable> {
    let mut found = ModuleFacts::of(wasm)?;
    for (_, memory) in &found.memories {
        check(memory)?;
    }
    let all = found.memories.len();
    // There would be no place to write where the list begins.
    found.memories.retain(|(_, memory)| memory.initial > 0 || lists == Lists::No);
    let has_empty = found.memories.len() < all;
    let mut added = Additions::default();
    let variables = found.variables()?;
    if variables.len() > MOST_GLOBALS as usize {
        return Err(NotRestorable::TooLarge);
    }
    if !variables.is_empty() {
        added.save_and_restore(&found, &variables);
    }
    let words = added.look(&found, &variables);
    // Where the bytes are kept that a list's place and length are written over.
    let kept = found.globals + added.globals.count;
    if lists == Lists::Yes && !found.memories.is_empty() {
        added.global(ValType::I64, &ConstExpr::i64_const(0));
    }
    for (at, (memory, _)) in found.memories.iter().enumerate() {
        added.export(&added::memory(at as u32), ExportKind::Memory, *memory);
        if lists == Lists::Yes {
            added.lists(&found, at as u32, *memory, kept);
        }
    }
    let wasm = added.in_module(wasm).ok_or(NotRestorable::Unread)?;
    let memories = found.memories.iter().map(|(memory, _)| *memory).collect();
    let (globals, keeping) = (variables.len() as u32, found.changes.keeping());
    Ok(RestorableModule { wasm, memories, globals, words, has_empty, grows: found.grows, keeping })
}

fn check(memory: &MemoryType) -> Result<(), NotRestorable> {
    let misfit = match memory {
        MemoryType { shared: true, .. } => MemoryMisfit::Shared,
        MemoryType { memory64: true, .. } => MemoryMisfit::Wide,
        MemoryType { page_size_log2: Some(_), .. } => MemoryMisfit::PageSize,
        _ => return Ok(()),
    };
    Err(NotRestorable::Memory(misfit))
}

/// Properties of a module that restoring it depends on.
#[derive(Default)]
struct ModuleFacts {
    types: u32,
    functions: u32,
    /// Number of global variables and constants, and the type of each that the module defines.
    globals: u32,
    defined: Vec<(u32, ParsedGlobal)>,
    /// Number of memories, and those that the module defines.
    all_memories: u32,
    memories: Vec<(u32, MemoryType)>,
    /// True if its code may grow a memory.
    grows: bool,
    changes: GlobalChanges,
    /// Number of tables, and those that the module defines, with the number of elements of each.
    all_tables: u32,
    tables: Vec<(u32, u32)>,
}

impl ModuleFacts {
    fn of(wasm: &[u8]) -> Result<ModuleFacts, NotRestorable> {
        let mut facts = ModuleFacts::default();
        for payload in Parser::new(0).parse_all(wasm) {
            facts.read(payload?)?;
        }
        Ok(facts)
    }

    fn read(&mut self, payload: Payload<'_>) -> Result<(), NotRestorable> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    self.types += group?.types().len() as u32;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    match import?.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                            self.functions += 1;
                            self.changes.imported += 1;
                        }
                        TypeRef::Global(_) => self.globals += 1,
                        TypeRef::Memory(_) => self.all_memories += 1,
                        TypeRef::Table(_) => self.all_tables += 1,
                        TypeRef::Tag(_) => {}
                    }
                }
            }
            Payload::FunctionSection(section) => self.functions += section.count(),
            Payload::TableSection(section) => {
                for table in section {
                    let ty = table?.ty;
                    if ty.element_type != wasmparser::RefType::FUNCREF || ty.table64 || ty.shared {
                        return Err(NotRestorable::Table);
                    }
                    self.tables.push((self.all_tables, ty.initial as u32));
                    self.all_tables += 1;
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memories.push((self.all_memories, memory?));
                    self.all_memories += 1;
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    self.defined.push((self.globals, global?.ty));
                    self.globals += 1;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if added::is_added(export.name) {
                        return Err(NotRestorable::NameTaken(added::PREFIX));
                    }
                    if export.kind == ExternalKind::Func {
                        self.changes.export(export.name, export.index);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                self.changes.begin();
                for operator in body.get_operators_reader()? {
                    let operator = operator?;
                    self.grows |= matches!(operator, Operator::MemoryGrow { .. });
                    self.changes.read(&operator);
                    allow(&operator)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the global variables that the module defines, with their types and the values that their saved values have at
    /// first.
    fn variables(&self) -> Result<Vec<(u32, ValType, ConstExpr)>, NotRestorable> {
        let variables = self.defined.iter().filter(|(_, ty)| ty.mutable);
        let with_type = variables.map(|(global, ty)| {
            let (ty, first) = match ty.content_type {
                wasmparser::ValType::I32 => (ValType::I32, ConstExpr::i32_const(0)),
                wasmparser::ValType::I64 => (ValType::I64, ConstExpr::i64_const(0)),
                wasmparser::ValType::F32 => (ValType::F32, ConstExpr::f32_const(Ieee32::new(0))),
                wasmparser::ValType::F64 => (ValType::F64, ConstExpr::f64_const(Ieee64::new(0))),
                wasmparser::ValType::V128 => (ValType::V128, ConstExpr::v128_const(0)),
                wasmparser::ValType::Ref(ty) if ty == wasmparser::RefType::FUNCREF => {
                    (ValType::FUNCREF, ConstExpr::ref_null(HeapType::FUNC))
                }
                wasmparser::ValType::Ref(_) => return Err(NotRestorable::Reference),
            };
            Ok((*global, ty, first))
        });
        with_type.collect()
    }

    /// Returns the global variable in which toolchains keep the end of the stack: the first that is an address.
    fn stack(&self) -> Option<u32> {
        let is_address = |ty: &ParsedGlobal| ty.mutable && ty.content_type == wasmparser::ValType::I32;
        self.defined.iter().find(|(_, ty)| is_address(ty)).map(|(global, _)| *global)
    }
}

/// Returns an error if an instruction changes what is not restored.
fn allow(operator: &Operator<'_>) -> Result<(), NotRestorable> {
    use NotRestorable::{ChangesTable, DropsSegment};
    Err(match operator {
        Operator::TableSet { .. } => ChangesTable("table.set"),
        Operator::TableGrow { .. } => ChangesTable("table.grow"),
        Operator::TableFill { .. } => ChangesTable("table.fill"),
        Operator::TableCopy { .. } => ChangesTable("table.copy"),
        Operator::TableInit { .. } => ChangesTable("table.init"),
        Operator::ElemDrop { .. } => DropsSegment("elem.drop"),
        Operator::DataDrop { .. } => DropsSegment("data.drop"),
        _ => return Ok(()),
    })
}

/// Entries that are added to the sections of a module.
#[derive(Default)]
struct Additions {
    types: AddedEntries,
    functions: AddedEntries,
    globals: AddedEntries,
    exports: AddedEntries,
    codes: AddedEntries,
}

/// A function's type in the form of the type section.
struct FunctionType<'a>(&'a [ValType], &'a [ValType]);

impl Encode for FunctionType<'_> {
    fn encode(&self, sink: &mut Vec<u8>) {
        const FUNCTION: u8 = 0x60;
        sink.push(FUNCTION);
        self.0.encode(sink);
        self.1.encode(sink);
    }
}

/// An entry of a section that consists of several things.
struct Entry<'a>(&'a [&'a dyn Encode]);

impl Encode for Entry<'_> {
    fn encode(&self, sink: &mut Vec<u8>) {
        self.0.iter().for_each(|part| part.encode(sink));
    }
}

impl Additions {
    /// Adds functions that save all global variables, and that restore them.
    fn save_and_restore(&mut self, found: &ModuleFacts, variables: &[(u32, ValType, ConstExpr)]) {
        let (mut save, mut restore) = (Function::new([]), Function::new([]));
        for (at, (variable, ty, first)) in variables.iter().enumerate() {
            let saved = found.globals + at as u32;
            self.global(*ty, first);
            save.instructions().global_get(*variable).global_set(saved);
            restore.instructions().global_get(saved).global_set(*variable);
        }
        save.instructions().end();
        restore.instructions().end();
        self.function(found, added::SAVE, FunctionType(&[], &[]), &save);
        self.function(found, added::RESTORE, FunctionType(&[], &[]), &restore);
    }

    /// Adds the function by which global variables and tables are compared. Returns the number of its words.
    fn look(&mut self, found: &ModuleFacts, variables: &[(u32, ValType, ConstExpr)]) -> u32 {
        const AT: u32 = 0;
        const WITHIN: u32 = 1;
        let mut words: u32 = 0;
        let mut body = Function::new([(1, ValType::I32)]);
        let mut code = body.instructions();
        for (variable, ty, _) in variables {
            for half in 0..if *ty == ValType::V128 { 2 } else { 1 } {
                code.local_get(AT).i32_const(words as i32).i32_eq().if_(BlockType::Empty).global_get(*variable);
                match ty {
                    ValType::I32 => code.i64_extend_i32_u(),
                    ValType::I64 => &mut code,
                    ValType::F32 => code.i32_reinterpret_f32().i64_extend_i32_u(),
                    ValType::F64 => code.i64_reinterpret_f64(),
                    ValType::V128 => code.i64x2_extract_lane(half),
                    ValType::Ref(_) => code.ref_is_null().i64_extend_i32_u(),
                };
                code.return_().end();
                words += 1;
            }
        }
        for (table, elements) in found.tables.iter().filter(|(_, elements)| *elements > 0) {
            code.local_get(AT).i32_const(words as i32).i32_sub().local_tee(WITHIN);
            code.table_size(*table).i32_lt_u().if_(BlockType::Empty);
            code.local_get(WITHIN).table_get(*table).ref_is_null().i64_extend_i32_u().return_().end();
            words = words.saturating_add(*elements);
        }
        code.i64_const(0).end();
        if words > 0 {
            self.function(found, added::LOOK, FunctionType(&[ValType::I32], &[ValType::I64]), &body);
        }
        words
    }

    /// Adds functions that return a memory as a list, and that put back what the list's place and length were written over.
    /// They are written below the end of the stack, to a page that calls write to anyway.
    fn lists(&mut self, found: &ModuleFacts, at: u32, memory: u32, kept: u32) {
        const ROOM: i32 = 16;
        const PAGE_SHIFT: i64 = 16;
        const PLACE: u32 = 0;
        let arg = |offset| MemArg { offset, align: 0, memory_index: memory };
        let mut list = Function::new([(1, ValType::I32)]);
        let mut code = list.instructions();
        if let Some(stack) = found.stack() {
            code.global_get(stack).i32_const(ROOM).i32_sub().i32_const(-ROOM).i32_and().local_tee(PLACE);
            code.i64_extend_i32_u().i64_const(i64::from(ROOM)).i64_add();
            bytes(&mut code, memory, PAGE_SHIFT).i64_gt_u();
            code.if_(BlockType::Empty).i32_const(0).local_set(PLACE).end();
        }
        code.local_get(PLACE).i64_load(arg(0)).global_set(kept);
        code.local_get(PLACE).i32_const(0).i32_store(arg(0));
        code.local_get(PLACE);
        bytes(&mut code, memory, PAGE_SHIFT).i32_wrap_i64().i32_store(arg(4));
        code.local_get(PLACE).end();
        self.function(found, &added::whole(at), FunctionType(&[], &[ValType::I32]), &list);
        let mut put_back = Function::new([]);
        put_back.instructions().local_get(PLACE).global_get(kept).i64_store(arg(0)).end();
        self.function(found, &added::put_back(at), FunctionType(&[ValType::I32], &[]), &put_back);
    }

    fn global(&mut self, val_type: ValType, first: &ConstExpr) {
        let ty = GlobalType { val_type, mutable: true, shared: false };
        self.globals.push(&Entry(&[&ty, first]));
    }

    fn export(&mut self, name: &str, kind: ExportKind, index: u32) {
        self.exports.push(&Entry(&[&name, &kind, &index]));
    }

    /// Adds an exported function.
    fn function(&mut self, found: &ModuleFacts, name: &str, ty: FunctionType<'_>, body: &Function) {
        let index = found.functions + self.functions.count;
        self.functions.push(&(found.types + self.types.count));
        self.types.push(&ty);
        self.codes.push(body);
        self.export(name, ExportKind::Func, index);
    }

    /// Returns the module with all of this. `None` if it cannot be read.
    fn in_module(&self, wasm: &[u8]) -> Option<Vec<u8>> {
        let added =
            [(TYPE, &self.types), (FUNCTION, &self.functions), (GLOBAL, &self.globals), (EXPORT, &self.exports)];
        let added = added.into_iter().chain([(CODE, &self.codes)]).filter(|(_, entries)| entries.count > 0);
        let mut added = added.collect::<Vec<_>>().into_iter().peekable();
        let mut out = Module::new();
        for (id, inside) in sections(wasm)? {
            // Sections that the module does not have come before the next one in the order.
            while let Some((new, entries)) = added.next_if(|(new, _)| id != CUSTOM && rank(*new) < rank(id)) {
                out.section(&RawSection { id: new, data: &entries.behind(None)? });
            }
            match added.next_if(|(new, _)| *new == id) {
                Some((_, entries)) => out.section(&RawSection { id, data: &entries.behind(Some(inside))? }),
                None => out.section(&RawSection { id, data: inside }),
            };
        }
        for (new, entries) in added {
            out.section(&RawSection { id: new, data: &entries.behind(None)? });
        }
        Some(out.finish())
    }
}

const CUSTOM: u8 = 0;
const TYPE: u8 = 1;
const FUNCTION: u8 = 3;
const GLOBAL: u8 = 6;
const EXPORT: u8 = 7;
const CODE: u8 = 10;

/// Returns the position of a kind of section in a module, which is not the order of the numbers of these kinds.
fn rank(id: u8) -> usize {
    const ORDER: [u8; 13] = [TYPE, 2, FUNCTION, 4, 5, 13, GLOBAL, EXPORT, 8, 9, 12, CODE, 11];
    ORDER.iter().position(|kind| *kind == id).unwrap_or(ORDER.len())
}

/// Pushes the number of bytes of a memory, as 64 bits.
fn bytes<'a, 'b>(code: &'a mut InstructionSink<'b>, memory: u32, page_shift: i64) -> &'a mut InstructionSink<'b> {
    code.memory_size(memory).i64_extend_i32_u().i64_const(page_shift).i64_shl()
}
