//! Checks before bulk operations, for tasks whose instructions are counted.
//!
//! The engine charges `memory.fill`, `table.copy` and the like for the requested length, and checks afterwards whether
//! the operation is within bounds. An operation that is out of bounds, and only traps, could thus first use up all fuel
//! and be reported as a lack of fuel. So the engine's own check, with a trap of the same kind, is inserted before each
//! of these operations. All other bytes of a module stay as they are. Operations on arrays are left to trap by
//! themselves, at the cost of one element.

mod arrays;
mod unwinding;

use wasm_encoder::{BlockType, Encode, Instruction, InstructionSink, MemArg, Module, RawSection, ValType};
use wasmparser::{
    BinaryReader, CodeSectionReader, CompositeInnerType, DataKind, ElementItems, MemoryType, Operator, Parser, Payload,
    StorageType, TableType, TypeRef,
};

use self::unwinding::Clauses;
use super::copies::waste;
use super::sections::{COMPONENT, CORE_MODULE, HEADER, sections};

/// Returns the task with these checks. `None` if it needs none, or cannot be read.
pub fn check_first(wasm: &[u8]) -> Option<Vec<u8>> {
    match super::is_component(wasm) {
        true => component(wasm),
        false => module(wasm),
    }
}

const CODE: u8 = 10;

fn component(wasm: &[u8]) -> Option<Vec<u8>> {
    let mut out = wasm.get(..HEADER)?.to_vec();
    let mut changed = false;
    for (kind, inside) in sections(wasm)? {
        let within = match kind {
            CORE_MODULE => module(inside),
            COMPONENT => component(inside),
            _ => None,
        };
        changed |= within.is_some();
        out.push(kind);
        within.as_deref().unwrap_or(inside).encode(&mut out);
    }
    changed.then_some(out)
}

fn module(wasm: &[u8]) -> Option<Vec<u8>> {
    let known = ModuleFacts::of(wasm)?;
    let mut out = Module::new();
    let mut changed = false;
    for (id, inside) in sections(wasm)? {
        let code = if id == CODE { known.code(inside)? } else { None };
        changed |= code.is_some();
        out.section(&RawSection { id, data: code.as_deref().unwrap_or(inside) });
    }
    changed.then(|| out.finish())
}

/// Properties of a module that the checks of its bulk operations need.
#[derive(Default)]
struct ModuleFacts {
    /// Number of parameters of the functions of each type.
    params: Vec<usize>,
    /// Element type of the arrays of each type.
    arrays: Vec<Option<StorageType>>,
    /// Types of the functions that the module defines.
    functions: Vec<u32>,
    memories: Vec<MemoryType>,
    tables: Vec<TableType>,
    /// Number of bytes in each data segment, and of elements in each element segment.
    data: Vec<u64>,
    elements: Vec<u64>,
}

impl ModuleFacts {
    fn of(wasm: &[u8]) -> Option<ModuleFacts> {
        let mut known = ModuleFacts::default();
        for payload in Parser::new(0).parse_all(wasm) {
            known.read(payload.ok()?)?;
        }
        Some(known)
    }

    fn read(&mut self, payload: Payload<'_>) -> Option<()> {
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.into_iter().flat_map(|group| group.into_iter().flat_map(|group| group.into_types())) {
                    self.params.push(match &ty.composite_type.inner {
                        CompositeInnerType::Func(ty) => ty.params().len(),
                        _ => 0,
                    });
                    self.arrays.push(match &ty.composite_type.inner {
                        CompositeInnerType::Array(ty) => Some(ty.0.element_type),
                        _ => None,
                    });
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    match import.ok()?.ty {
                        TypeRef::Memory(ty) => self.memories.push(ty),
                        TypeRef::Table(ty) => self.tables.push(ty),
                        _ => {}
                    }
                }
            }
            Payload::FunctionSection(section) => self.functions = section.into_iter().collect::<Result<_, _>>().ok()?,
            Payload::MemorySection(section) => {
                for ty in section {
                    self.memories.push(ty.ok()?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.tables.push(table.ok()?.ty);
                }
            }
            Payload::DataSection(section) => {
                for segment in section {
                    let segment = segment.ok()?;
                    // An active segment is dropped before any code runs.
                    let passive = matches!(segment.kind, DataKind::Passive);
                    self.data.push(if passive { segment.data.len() as u64 } else { 0 });
                }
            }
            Payload::ElementSection(section) => {
                for segment in section {
                    self.elements.push(match segment.ok()?.items {
                        ElementItems::Functions(items) => items.count().into(),
                        ElementItems::Expressions(_, items) => items.count().into(),
                    });
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Returns the code section with checks. The inner `None` means that nothing changes, the outer one that it cannot
    /// be read.
    fn code(&self, section: &[u8]) -> Option<Option<Vec<u8>>> {
        let mut out = Vec::new();
        let bodies = CodeSectionReader::new(BinaryReader::new(section, 0)).ok()?;
        bodies.count().encode(&mut out);
        let mut changed = false;
        for (body, ty) in bodies.into_iter().zip(&self.functions) {
            let body = body.ok()?;
            let whole = section.get(body.range())?;
            let params = *self.params.get(*ty as usize)?;
            let with = self.body(&body, section, params)?;
            changed |= with.is_some();
            with.as_deref().unwrap_or(whole).encode(&mut out);
        }
        Some(changed.then_some(out))
    }

    /// Returns a function's body with checks; `None` as for the code section.
    fn body(&self, body: &wasmparser::FunctionBody<'_>, section: &[u8], params: usize) -> Option<Option<Vec<u8>>> {
        let locals = body.get_locals_reader().ok()?;
        let groups = locals.get_count();
        let mut declared = 0;
        for group in locals {
            declared += group.ok()?.0;
        }
        let mut checks =
            BoundsChecks { known: self, first: params as u32 + declared, locals: Vec::new(), code: Vec::new() };
        let mut operators = body.get_operators_reader().ok()?;
        let (first, mut copied) = (operators.original_position(), operators.original_position());
        let mut clauses = Clauses::default();
        while !operators.eof() {
            let at = operators.original_position();
            let operator = operators.read().ok()?;
            let uncounted = clauses.cost_of(&operator).saturating_add(self.cost_of(&operator));
            if !is_bulk(&operator) && uncounted == 0 {
                continue;
            }
            checks.code.extend_from_slice(section.get(copied..at)?);
            copied = at;
            checks.check(&operator)?;
            waste(&mut InstructionSink::new(&mut checks.code), uncounted);
        }
        if checks.code.is_empty() {
            return Some(None);
        }
        let BoundsChecks { locals, code, .. } = checks;
        let mut out = Vec::new();
        (groups + locals.len() as u32).encode(&mut out);
        // The existing groups of locals are between their count and the first instruction.
        let mut count = BinaryReader::new(section.get(body.range().start..first)?, body.range().start);
        count.read_var_u32().ok()?;
        out.extend_from_slice(section.get(count.original_position()..first)?);
        for (_, ty) in locals {
            1_u32.encode(&mut out);
            ty.encode(&mut out);
        }
        out.extend(code);
        out.extend_from_slice(section.get(copied..body.range().end)?);
        Some(Some(out))
    }
}

fn is_bulk(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ArrayFill { .. }
            | Operator::ArrayCopy { .. }
            | Operator::ArrayInitData { .. }
            | Operator::ArrayInitElem { .. }
            | Operator::ArrayNewData { .. }
            | Operator::ArrayNewElem { .. }
    )
}

/// Something whose size an operation must not exceed.
#[derive(Clone, Copy)]
enum BoundedSize {
    Memory(u32),
    Table(u32),
    /// A segment. If it is exceeded, the operation traps like one that exceeds its destination.
    Segment(u64),
}

/// A function's code with checks in it.
struct BoundsChecks<'a> {
    known: &'a ModuleFacts,
    /// Index of the first local that is added to the function.
    first: u32,
    /// Added locals: the operand that each is for, and its type. All checks share them.
    locals: Vec<(usize, ValType)>,
    code: Vec<u8>,
}

impl BoundsChecks<'_> {
    /// Inserts a check before an operation.
    fn check(&mut self, operator: &Operator<'_>) -> Option<()> {
        use BoundedSize::{Memory, Segment, Table};
        match *operator {
            Operator::MemoryFill { mem } => {
                let address = self.address(Memory(mem))?;
                self.operands(&[address, ValType::I32, address], &[(Memory(mem), 0)], Memory(mem))
            }
            Operator::MemoryCopy { dst_mem, src_mem } => {
                let (to, from) = (self.address(Memory(dst_mem))?, self.address(Memory(src_mem))?);
                let bounds = [(Memory(dst_mem), 0), (Memory(src_mem), 1)];
                self.operands(&[to, from, narrower(to, from)], &bounds, Memory(dst_mem))
            }
            Operator::MemoryInit { data_index, mem } => {
                let segment = Segment(*self.known.data.get(data_index as usize)?);
                let address = self.address(Memory(mem))?;
                let bounds = [(Memory(mem), 0), (segment, 1)];
                self.operands(&[address, ValType::I32, ValType::I32], &bounds, Memory(mem))
            }
            Operator::TableFill { table } => {
                let address = self.address(Table(table))?;
                let element = self.known.tables.get(table as usize)?.element_type;
                let element = ValType::Ref(element.try_into().ok()?);
                self.operands(&[address, element, address], &[(Table(table), 0)], Table(table))
            }
            Operator::TableCopy { dst_table, src_table } => {
                let (to, from) = (self.address(Table(dst_table))?, self.address(Table(src_table))?);
                let bounds = [(Table(dst_table), 0), (Table(src_table), 1)];
                self.operands(&[to, from, narrower(to, from)], &bounds, Table(dst_table))
            }
            Operator::TableInit { elem_index, table } => {
                let segment = Segment(*self.known.elements.get(elem_index as usize)?);
                let address = self.address(Table(table))?;
                let bounds = [(Table(table), 0), (segment, 1)];
                self.operands(&[address, ValType::I32, ValType::I32], &bounds, Table(table))
            }
            ref other => self.check_array(other),
        }
    }

    /// Returns the type of addresses in this memory, table or segment.
    fn address(&self, of: BoundedSize) -> Option<ValType> {
        let is_64 = match of {
            BoundedSize::Memory(memory) => self.known.memories.get(memory as usize)?.memory64,
            BoundedSize::Table(table) => self.known.tables.get(table as usize)?.table64,
            BoundedSize::Segment(_) => false,
        };
        Some(if is_64 { ValType::I64 } else { ValType::I32 })
    }

    /// Stores the three operands of an operation, the last of which is a count, and restores them after a check. The
    /// check traps if the count, added to the given operand, exceeds one of `bounds`.
    fn operands(&mut self, types: &[ValType; 3], bounds: &[(BoundedSize, usize)], traps: BoundedSize) -> Option<()> {
        let [first, second, third] = *types;
        let operands = [self.local(0, first), self.local(1, second), self.local(2, third)];
        let size = self.local(3, ValType::I64);
        for local in operands.iter().rev() {
            self.emit(&Instruction::LocalSet(*local));
        }
        let [.., count] = operands;
        let count_type = types[2];
        for (bounded, at) in bounds {
            self.size(*bounded)?;
            self.emit(&Instruction::LocalSet(size));
            self.wide(count, count_type);
            self.emit(&Instruction::LocalGet(size));
            self.emit(&Instruction::I64GtU);
            self.wide(*operands.get(*at)?, *types.get(*at)?);
            self.emit(&Instruction::LocalGet(size));
            self.wide(count, count_type);
            self.emit(&Instruction::I64Sub);
            self.emit(&Instruction::I64GtU);
            self.emit(&Instruction::I32Or);
            self.emit(&Instruction::If(BlockType::Empty));
            self.trap(traps)?;
            self.emit(&Instruction::End);
        }
        for local in operands {
            self.emit(&Instruction::LocalGet(local));
        }
        Some(())
    }

    /// Returns a local of this type for an operand.
    fn local(&mut self, operand: usize, ty: ValType) -> u32 {
        let at = self.locals.iter().position(|local| *local == (operand, ty)).unwrap_or_else(|| {
            self.locals.push((operand, ty));
            self.locals.len() - 1
        });
        self.first + at as u32
    }

    /// Pushes a size as 64 bits.
    fn size(&mut self, of: BoundedSize) -> Option<()> {
        let is_narrow = self.address(of)? == ValType::I32;
        match of {
            BoundedSize::Segment(length) => {
                self.emit(&Instruction::I64Const(i64::try_from(length).ok()?));
                return Some(());
            }
            BoundedSize::Memory(memory) => self.emit(&Instruction::MemorySize(memory)),
            BoundedSize::Table(table) => self.emit(&Instruction::TableSize(table)),
        }
        if is_narrow {
            self.emit(&Instruction::I64ExtendI32U);
        }
        if let BoundedSize::Memory(memory) = of {
            let page = self.known.memories.get(memory as usize)?.page_size_log2.unwrap_or(16);
            self.emit(&Instruction::I64Const(page.into()));
            self.emit(&Instruction::I64Shl);
        }
        Some(())
    }

    /// Pushes a local as 64 bits.
    fn wide(&mut self, local: u32, ty: ValType) {
        self.emit(&Instruction::LocalGet(local));
        if ty == ValType::I32 {
            self.emit(&Instruction::I64ExtendI32U);
        }
    }

    /// Traps like an access beyond the end, by making one: nothing has that many bytes or elements.
    fn trap(&mut self, of: BoundedSize) -> Option<()> {
        match self.address(of)? {
            ValType::I64 => self.emit(&Instruction::I64Const(-1)),
            _ => self.emit(&Instruction::I32Const(-1)),
        }
        match of {
            BoundedSize::Memory(memory_index) => {
                self.emit(&Instruction::I32Load8U(MemArg { offset: u32::MAX.into(), align: 0, memory_index }));
            }
            BoundedSize::Table(table) => self.emit(&Instruction::TableGet(table)),
            BoundedSize::Segment(_) => return None,
        }
        self.emit(&Instruction::Drop);
        Some(())
    }

    fn emit(&mut self, instruction: &Instruction<'_>) {
        instruction.encode(&mut self.code);
    }
}

/// Returns the type of the count of a copy between these, which is the narrower one.
fn narrower(one: ValType, other: ValType) -> ValType {
    if one == ValType::I64 && other == ValType::I64 { ValType::I64 } else { ValType::I32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_bulk_operations_changes() {
        let plain =
            wat::parse_str("(module (memory 1) (func (param i32) (drop (i32.load (local.get 0)))))").expect("wasm");
        assert!(check_first(&plain).is_none());
        assert!(check_first(b"\0asm\x01\0\0\0\x0a\xff").is_none());
    }

    #[test]
    fn what_many_clauses_surround_is_still_valid() {
        let clauses = "(catch $t $out) ".repeat(20);
        for body in [
            format!("(block $out (try_table {clauses} (throw $t)))"),
            format!(
                "(block $out (try_table {clauses} (try_table (block (call $f)) (if (i32.const 1) (then (call $f))))) (call $f))"
            ),
        ] {
            let wasm = wat::parse_str(format!("(module (tag $t) (func $f {body}))")).expect("wasm");
            let counted = check_first(&wasm).expect("it is changed");
            let mut config = wasmtime::Config::new();
            config.wasm_gc(true).wasm_function_references(true).wasm_exceptions(true);
            let engine = wasmtime::Engine::new(&config).expect("an engine");
            let valid = wasmtime::Module::validate(&engine, &counted);
            assert!(valid.is_ok(), "{body}: {valid:?}");
        }
        let few = wat::parse_str("(module (tag $t) (func (block $out (try_table (catch $t $out) (throw $t)))))")
            .expect("wasm");
        assert!(check_first(&few).is_none());
    }

    #[test]
    fn what_changes_is_still_valid() {
        for module in [
            "(memory 1) (func (param i32 i32) (local i64 f32) (memory.fill (local.get 0) (i32.const 1) (local.get 1)) \
             (memory.copy (local.get 0) (i32.const 1) (local.get 1)))",
            "(memory i64 1) (memory $b 1) (func (memory.fill (i64.const 0) (i32.const 1) (i64.const -1)) \
             (memory.copy 0 $b (i64.const 0) (i32.const 0) (i32.const 1)))",
            "(memory 1) (data $d \"abc\") (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 9)) (data.drop $d))",
            "(table $t 1 externref) (table $f i64 1 funcref) (elem $e func) (func \
             (table.fill $t (i32.const 0) (ref.null extern) (i32.const 9)) (table.copy $f $f (i64.const 0) (i64.const 0) (i64.const 1)) \
             (table.init $f $e (i64.const 0) (i32.const 0) (i32.const 1)))",
            "(type $b (array (mut i8))) (type $w (array (mut i64))) (type $r (array (mut (ref func)))) (data $d \"abc\") \
             (elem $e func $f) (elem declare func $f) (func $f (param $b (ref $b)) (param $w (ref null $w)) (param $r (ref $r)) \
             (array.fill $b (local.get $b) (i32.const 0) (i32.const 1) (i32.const 9)) \
             (array.fill $w (local.get $w) (i32.const 0) (i64.const 1) (i32.const 9)) \
             (block (array.fill $r (local.get $r) (i32.const 0) (ref.func $f) (i32.const 9))) \
             (array.copy $b $b (local.get $b) (i32.const 0) (local.get $b) (i32.const 0) (i32.const 9)) \
             (array.init_data $w $d (local.get $w) (i32.const 0) (i32.const 0) (i32.const 9)) \
             (array.init_elem $r $e (local.get $r) (i32.const 0) (i32.const 0) (i32.const 9)) \
             (drop (array.new_data $w $d (i32.const 0) (i32.const 9))) (drop (array.new_elem $r $e (i32.const 0) (i32.const 9))))",
        ] {
            for text in [format!("(module {module})"), format!("(component (core module {module}))")] {
                let wasm = wat::parse_str(&text).expect("wasm");
                let checked = check_first(&wasm).unwrap_or_else(|| panic!("{text} has a bulk operation"));
                let mut config = wasmtime::Config::new();
                config.wasm_component_model(true).wasm_function_references(true).wasm_gc(true);
                let engine = wasmtime::Engine::new(&config).expect("an engine");
                let valid = match super::super::is_component(&checked) {
                    true => wasmtime::component::Component::from_binary(&engine, &checked).map(|_| ()),
                    false => wasmtime::Module::validate(&engine, &checked),
                };
                assert!(valid.is_ok(), "{text}: {valid:?}");
            }
        }
    }
}
