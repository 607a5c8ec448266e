//! The counting modules. Each has a function that uses up instructions and calls another function, which it replaces.

use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    InstructionSink, Module, TypeSection, ValType,
};
use wasmparser::CanonicalFunction;

/// The name under which a counting module imports a function, and exports one.
pub const NAME: &str = "counted";
/// Indices of the counting modules: one for each `realloc`, one for reads and writes of streams, then one for each of
/// [`BUILTINS`].
pub const OF_REALLOC: u32 = 0;
const OF_STREAMS: u32 = 1;
const OF_BUILTINS: u32 = 2;
pub const MODULES: u32 = OF_BUILTINS + BUILTINS.len() as u32;

/// A function of the engine: its number of 32-bit parameters, its result, and what it counts.
#[derive(PartialEq, Eq)]
struct Builtin(usize, Option<ValType>, u32);

/// Operations on a resource take some 50 ns, those that may wait or be waited for some 200 ns.
const RESOURCE: u32 = 50;
const WAITS: u32 = 200;
const BUILTINS: [Builtin; 8] = [
    Builtin(1, Some(ValType::I32), RESOURCE),
    Builtin(1, None, RESOURCE),
    Builtin(0, Some(ValType::I64), WAITS),
    Builtin(0, Some(ValType::I32), WAITS),
    Builtin(1, Some(ValType::I32), WAITS),
    Builtin(1, None, WAITS),
    Builtin(2, Some(ValType::I32), WAITS),
    Builtin(2, None, WAITS),
];

/// Returns which module counts for a function of the engine. `None` for functions that take negligible time, and for
/// one that calls a function of another component, which counts its own instructions.
pub fn counter(canonical: &CanonicalFunction) -> Option<u32> {
    use CanonicalFunction as F;
    let builtin = match canonical {
        F::StreamRead { .. } | F::StreamWrite { .. } => return Some(OF_STREAMS),
        F::ResourceNew { .. } => Builtin(1, Some(ValType::I32), RESOURCE),
        F::ResourceDrop { .. } => Builtin(1, None, RESOURCE),
        F::StreamNew { .. } | F::FutureNew { .. } => Builtin(0, Some(ValType::I64), WAITS),
        F::WaitableSetNew | F::ThreadYield { .. } => Builtin(0, Some(ValType::I32), WAITS),
        F::StreamCancelRead { .. }
        | F::StreamCancelWrite { .. }
        | F::FutureCancelRead { .. }
        | F::FutureCancelWrite { .. }
        | F::SubtaskCancel { .. } => Builtin(1, Some(ValType::I32), WAITS),
        F::StreamDropReadable { .. }
        | F::StreamDropWritable { .. }
        | F::FutureDropReadable { .. }
        | F::FutureDropWritable { .. }
        | F::WaitableSetDrop
        | F::SubtaskDrop => Builtin(1, None, WAITS),
        F::FutureRead { .. } | F::FutureWrite { .. } | F::WaitableSetWait { .. } | F::WaitableSetPoll { .. } => {
            Builtin(2, Some(ValType::I32), WAITS)
        }
        F::WaitableJoin => Builtin(2, None, WAITS),
        _ => return None,
    };
    let at = BUILTINS.iter().position(|known| *known == builtin)?;
    Some(OF_BUILTINS + at as u32)
}

/// Returns all counting modules, in the order of their indices.
pub fn modules() -> Vec<Vec<u8>> {
    let builtins = BUILTINS.iter().map(of_builtin);
    [of_realloc(), of_streams()].into_iter().chain(builtins).collect()
}

/// Number of bytes that are counted at a time. Fewer bytes count only the call.
const BYTES: u32 = 1 << SHIFT;
const SHIFT: u32 = 8;
/// Number of instructions that a turn of the loop takes in addition to those that are only counted.
const TURN: u32 = 8;

/// Instructions that each read and write of a stream counts in addition to its bytes, because the engine looks for a
/// party that waits for it.
const MOVE: u32 = 500;

/// Returns the module whose function counts the size that is requested from a `realloc`, and then calls it.
fn of_realloc() -> Vec<u8> {
    const SIZE: u32 = 3;
    const LEFT: u32 = 4;
    let mut body = Function::new([(1, ValType::I32)]);
    let mut code = body.instructions();
    code.local_get(SIZE).i32_const(SHIFT as i32).i32_shr_u().local_set(LEFT);
    spend(&mut code, LEFT);
    forward(&mut code, 4);
    code.end();
    module(4, Some(ValType::I32), &body)
}

/// Returns the module whose function reads or writes, and then counts what was moved. If a party has to wait, the other
/// one, which comes second, counts.
fn of_streams() -> Vec<u8> {
    const RETURNED: u32 = 3;
    const LEFT: u32 = 4;
    /// Result if nothing has been moved yet.
    const BLOCKED: i32 = -1;
    /// Bit at which the count begins in any other result.
    const COUNT: i32 = 4;
    let mut body = Function::new([(2, ValType::I32)]);
    let mut code = body.instructions();
    waste(&mut code, MOVE);
    forward(&mut code, 3);
    code.local_tee(RETURNED).i32_const(BLOCKED).i32_ne().if_(BlockType::Empty);
    code.local_get(RETURNED).i32_const(COUNT + SHIFT as i32).i32_shr_u().local_set(LEFT);
    spend(&mut code, LEFT);
    code.end().local_get(RETURNED).end();
    module(3, Some(ValType::I32), &body)
}

/// Returns the module whose function counts, and then calls a function of the engine.
fn of_builtin(Builtin(parameters, result, counts): &Builtin) -> Vec<u8> {
    let mut body = Function::new([]);
    let mut code = body.instructions();
    waste(&mut code, *counts);
    forward(&mut code, *parameters as u32);
    code.end();
    module(*parameters, *result, &body)
}

/// Returns a module with a function of this body, which may call the imported one.
fn module(parameters: usize, result: Option<ValType>, body: &Function) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function(vec![ValType::I32; parameters], result);
    let mut imports = ImportSection::new();
    imports.import("", NAME, EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export(NAME, ExportKind::Func, 1);
    let mut codes = CodeSection::new();
    codes.function(body);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&codes);
    module.finish()
}

/// Uses up [`BYTES`] instructions as many times as this local says.
fn spend(code: &mut InstructionSink<'_>, left: u32) {
    code.block(BlockType::Empty).loop_(BlockType::Empty);
    code.local_get(left).i32_eqz().br_if(1);
    waste(code, BYTES - TURN);
    code.local_get(left).i32_const(1).i32_sub().local_set(left);
    code.br(0).end().end();
}

/// Uses up this many instructions. The engine adds them up when it compiles them, and runs none.
fn waste(code: &mut InstructionSink<'_>, instructions: u32) {
    for _ in 0..instructions {
        code.i32_const(0).drop();
    }
}

/// Calls the imported function with the same parameters.
fn forward(code: &mut InstructionSink<'_>, parameters: u32) {
    for parameter in 0..parameters {
        code.local_get(parameter);
    }
    code.call(0);
}
