//! The modules that count: each has functions that use up instructions and call others, in whose place they are called.

use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    InstructionSink, Module, TypeSection, ValType,
};

/// A counter for a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Counter {
    pub params: Vec<ValType>,
    pub results: Vec<ValType>,
    pub counts: Counts,
}

/// The things that a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counts {
    /// Each call.
    Call(u64),
    /// The size that a `realloc` is asked for, by its bytes.
    Room { byte: u64 },
    /// Each read or write of a stream, and the elements that it moved. What is moved while nobody waits is counted by whoever
    /// comes second.
    Moves { call: u64, each: u64 },
    /// Each read or write of a future, and what was passed by it; likewise.
    Passes { call: u64, value: u64 },
}

/// Instructions that are counted at a time; fewer are not, besides the call.
const UNITS: u64 = 1 << SHIFT;
const SHIFT: u32 = 8;
/// Maximum number of instructions that are inserted one by one.
const MOST_INSERTED: u64 = 10_000;
/// Instructions that a turn of the loop takes besides those that are only counted.
const TURN: u64 = 8;

/// Returns the name under which a module is given the function at this place in its list, and gives another.
pub fn name(at: usize) -> String {
    at.to_string()
}

/// Returns a module that counts for these functions, which it imports.
pub fn module(counters: &[Counter]) -> Vec<u8> {
    let count = counters.len() as u32;
    let mut module = Functions { helpers: count, ..Functions::default() };
    for (at, counter) in counters.iter().enumerate() {
        let ty = module.ty(&counter.params, &counter.results);
        module.imports.import("", &name(at), EntityType::Function(ty));
    }
    let spend = module.ty(&[ValType::I64], &[]);
    module.add(spend, &spend_units());
    let wasted = module.add_wasted(counters);
    for (at, counter) in counters.iter().enumerate() {
        let ty = module.ty(&counter.params, &counter.results);
        let body = counting(counter, at as u32, count, &wasted);
        let function = module.add(ty, &body);
        module.exports.export(&name(at), ExportKind::Func, function);
    }
    module.finish()
}

/// A module in the making.
#[derive(Default)]
struct Functions {
    types: Vec<(Vec<ValType>, Vec<ValType>)>,
    imports: ImportSection,
    functions: FunctionSection,
    exports: ExportSection,
    codes: CodeSection,
    /// The index of the first that is not imported.
    helpers: u32,
}

impl Functions {
    /// The index of a type of functions.
    fn ty(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let known = self.types.iter().position(|(p, r)| p == params && r == results);
        let at = known.unwrap_or_else(|| {
            self.types.push((params.to_vec(), results.to_vec()));
            self.types.len() - 1
        });
        at as u32
    }

    /// Adds a function, and returns its index.
    fn add(&mut self, ty: u32, body: &Function) -> u32 {
        self.functions.function(ty);
        self.codes.function(body);
        self.helpers + self.functions.len() - 1
    }

    /// Adds a function for each number of instructions that calls count. Returns these numbers, and which function it is.
    fn add_wasted(&mut self, counters: &[Counter]) -> Vec<(u64, u32)> {
        let mut wasted = Vec::new();
        let ty = self.ty(&[], &[]);
        for counter in counters {
            let units = counter.counts.of_call();
            if units > 0 && !wasted.iter().any(|(known, _)| *known == units) {
                let mut body = Function::new([]);
                let mut code = body.instructions();
                if units > MOST_INSERTED {
                    // The function that uses up so many turns is the first.
                    turns(code.i64_const(1), units).call(self.helpers);
                } else {
                    waste(&mut code, units);
                }
                code.end();
                wasted.push((units, self.add(ty, &body)));
            }
        }
        wasted
    }

    fn finish(self) -> Vec<u8> {
        let mut types = TypeSection::new();
        for (params, results) in self.types {
            types.ty().function(params, results);
        }
        let mut module = Module::new();
        module.section(&types).section(&self.imports).section(&self.functions).section(&self.exports);
        module.section(&self.codes);
        module.finish()
    }
}

impl Counts {
    /// Returns the number of instructions that each call counts.
    fn of_call(self) -> u64 {
        match self {
            Counts::Call(units) => units,
            Counts::Room { .. } => 0,
            Counts::Moves { call, .. } | Counts::Passes { call, .. } => call,
        }
    }
}

/// Returns the function that counts for the imported one at this place. `spend` is the function that uses up so many turns, and
/// these use up what calls count.
fn counting(counter: &Counter, at: u32, spend: u32, wasted: &[(u64, u32)]) -> Function {
    let params = counter.params.len() as u32;
    let returned = counter.results.first().copied();
    let mut body = Function::new(returned.map(|ty| (1, ty)));
    let mut code = body.instructions();
    let units = counter.counts.of_call();
    if let Some((_, waste)) = wasted.iter().find(|(known, _)| *known == units) {
        code.call(*waste);
    }
    if let Counts::Room { byte } = counter.counts {
        const SIZE: u32 = 3;
        turns(code.local_get(SIZE).i64_extend_i32_u(), byte).call(spend);
    }
    for param in 0..params {
        code.local_get(param);
    }
    code.call(at);
    /// Result if nothing has been moved yet.
    const BLOCKED: i32 = -1;
    /// Bit at which the count begins in any other result.
    const COUNT: i32 = 4;
    match counter.counts {
        Counts::Moves { each, .. } => {
            code.local_tee(params).i32_const(BLOCKED).i32_ne().if_(BlockType::Empty);
            code.local_get(params).i32_const(COUNT).i32_shr_u().i64_extend_i32_u();
            turns(&mut code, each).call(spend).end().local_get(params);
        }
        Counts::Passes { value, .. } => {
            code.local_tee(params).i32_const(BLOCKED).i32_ne().if_(BlockType::Empty);
            turns(code.i64_const(1), value).call(spend).end().local_get(params);
        }
        Counts::Call(_) | Counts::Room { .. } => {}
    }
    code.end();
    body
}

/// Turns the number on the stack into the number of turns that so many things count, at `each` instructions.
fn turns<'a, 'b>(code: &'a mut InstructionSink<'b>, each: u64) -> &'a mut InstructionSink<'b> {
    code.i64_const(i64::try_from(each).unwrap_or(i64::MAX)).i64_mul().i64_const(i64::from(SHIFT)).i64_shr_u()
}

/// Returns the function that uses up [`UNITS`] instructions as often as its parameter says.
fn spend_units() -> Function {
    const LEFT: u32 = 0;
    let mut body = Function::new([]);
    let mut code = body.instructions();
    code.block(BlockType::Empty).loop_(BlockType::Empty);
    code.local_get(LEFT).i64_eqz().br_if(1);
    waste(&mut code, UNITS - TURN);
    code.local_get(LEFT).i64_const(1).i64_sub().local_set(LEFT);
    code.br(0).end().end().end();
    body
}

/// Uses up so many instructions: the engine adds them up when it compiles them, and runs none.
pub fn waste(code: &mut InstructionSink<'_>, instructions: u64) {
    for _ in 0..instructions {
        code.i32_const(0).drop();
    }
}
