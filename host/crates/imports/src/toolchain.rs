//! Functions that toolchains make a plain module import from `env`, and that need nothing from the outside world but a
//! clock, which every task has: those of AssemblyScript, and some of Emscripten. They do not enable a task to reach
//! anything.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmtime::{Caller, Extern, ExternType, ImportType, Linker, Memory, Module, Trap};

use super::deterministic;
use super::state::StoreState;
use wasmpool_core::text::{QuotedName, few};

/// The module that they are imported from.
const MODULE: &str = "env";
/// Maximum number of bytes that are read of a string.
const LONGEST: u32 = 8 << 10;
/// Maximum number of imports that a message names.
const NAMED: usize = 5;

/// The functions, with their types in the format of [`signature`].
const PROVIDED: [(&str, &str); 22] = [
    ("Date.now", "-> f64"),
    ("__assert_fail", "i32 i32 i32 i32 ->"),
    ("_abort_js", "->"),
    ("_emscripten_memcpy_js", "i32 i32 i32 ->"),
    ("_emscripten_runtime_keepalive_clear", "->"),
    ("_setitimer_js", "i32 f64 -> i32"),
    ("abort", "->"),
    ("abort", "i32 i32 i32 i32 ->"),
    ("console.assert", "i32 i32 ->"),
    ("console.debug", "i32 ->"),
    ("console.error", "i32 ->"),
    ("console.info", "i32 ->"),
    ("console.log", "i32 ->"),
    ("console.warn", "i32 ->"),
    ("emscripten_date_now", "-> f64"),
    ("emscripten_get_now", "-> f64"),
    ("emscripten_memcpy_big", "i32 i32 i32 ->"),
    ("emscripten_notify_memory_growth", "i32 ->"),
    ("emscripten_resize_heap", "i32 -> i32"),
    ("performance.now", "-> f64"),
    ("seed", "-> f64"),
    ("trace", "i32 i32 f64 f64 f64 f64 f64 ->"),
];

/// Error: a guest aborted, for this reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct GuestAbort(String);

/// Error: a core module imports functions that nothing here provides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task imports {names}, which nothing here provides: only functions of WASI can be imported{way_out}")]
pub struct UnknownImports {
    /// The names of some of them, as text.
    names: String,
    /// How to build the task without them, with a separator in front; empty if that is not known.
    way_out: String,
}

/// Returns true if an import is one of these functions.
pub fn provides(import: &ImportType<'_>) -> bool {
    let mut known = PROVIDED.iter().filter(|(name, _)| import.module() == MODULE && *name == import.name()).peekable();
    // Few imports need their type in words.
    let signature = known.peek().and_then(|_| signature(&import.ty()));
    known.any(|(_, wanted)| signature.as_deref() == Some(*wanted))
}

fn signature(ty: &ExternType) -> Option<String> {
    let ExternType::Func(ty) = ty else {
        return None;
    };
    let params = ty.params().map(|param| param.to_string());
    let results = ty.results().map(|result| result.to_string());
    Some(params.chain(["->".to_owned()]).chain(results).collect::<Vec<_>>().join(" "))
}

/// Links the functions that a module imports.
pub fn link(linker: &mut Linker<StoreState>, module: &Module, deterministic: bool) -> wasmtime::Result<()> {
    for import in module.imports().filter(provides) {
        let name = import.name();
        match name {
            "abort" if import.ty().func().is_some_and(|ty| ty.params().len() > 0) => {
                linker.func_wrap(MODULE, name, abort)?
            }
            "abort" | "_abort_js" => linker.func_wrap(MODULE, name, || -> wasmtime::Result<()> {
                Err(GuestAbort("it aborted".to_owned()).into())
            })?,
            "__assert_fail" => linker.func_wrap(MODULE, name, assert_fail)?,
            "emscripten_notify_memory_growth" => {
                linker.func_wrap(MODULE, name, |caller: Caller<'_, StoreState>, _: i32| caller.data().meter.call())?
            }
            "_emscripten_runtime_keepalive_clear" => {
                linker.func_wrap(MODULE, name, |caller: Caller<'_, StoreState>| caller.data().meter.call())?
            }
            // Signals of a timer, which never come: a command is told that it has been set, as on its way to its end.
            "_setitimer_js" => linker.func_wrap(MODULE, name, |caller: Caller<'_, StoreState>, _: i32, _: f64| {
                caller.data().meter.call().map(|()| 0)
            })?,
            "emscripten_resize_heap" => linker.func_wrap(MODULE, name, resize_heap)?,
            "_emscripten_memcpy_js" | "emscripten_memcpy_big" => linker.func_wrap(MODULE, name, copy)?,
            "Date.now" | "emscripten_date_now" => {
                linker.func_wrap(MODULE, name, move |caller: Caller<'_, StoreState>| wall(&caller, deterministic))?
            }
            "performance.now" | "emscripten_get_now" => {
                let start = Instant::now();
                linker.func_wrap(MODULE, name, move |caller: Caller<'_, StoreState>| {
                    monotonic(&caller, (!deterministic).then_some(start))
                })?
            }
            "console.assert" => {
                linker.func_wrap(MODULE, name, |mut caller: Caller<'_, StoreState>, holds: i32, text: u32| {
                    caller.data().meter.call()?;
                    let text = string(&mut caller, text).unwrap_or_default();
                    caller.data().meter.bytes(text.len())?;
                    if holds == 0 {
                        caller.data_mut().print(true, &format!("Assertion failed: {text}\n"));
                    }
                    Ok(())
                })?
            }
            "seed" => {
                linker.func_wrap(MODULE, name, move |caller: Caller<'_, StoreState>| seed(&caller, deterministic))?
            }
            "trace" => linker.func_wrap(MODULE, name, trace)?,
            _ => {
                let is_error = matches!(name, "console.error" | "console.warn");
                linker.func_wrap(MODULE, name, move |mut caller: Caller<'_, StoreState>, text: u32| {
                    caller.data().meter.call()?;
                    let text = string(&mut caller, text).unwrap_or_default();
                    caller.data().meter.bytes(text.len())?;
                    caller.data_mut().print(is_error, &format!("{text}\n"));
                    Ok(())
                })?
            }
        };
    }
    Ok(())
}

/// Implements `abort(message, file, line, column)`.
fn abort(mut caller: Caller<'_, StoreState>, message: u32, file: u32, line: u32, column: u32) -> wasmtime::Result<()> {
    let mut said = |at| string(&mut caller, at).filter(|text| !text.trim().is_empty());
    let message = said(message).unwrap_or_else(|| "it aborted".to_owned());
    let file = said(file).map_or_else(String::new, |file| file + ":");
    Err(GuestAbort(format!("{message}, at {file}{line}:{column}")).into())
}

/// Implements `__assert_fail(condition, file, line, function)` of C.
fn assert_fail(
    mut caller: Caller<'_, StoreState>,
    condition: u32,
    file: u32,
    line: u32,
    function: u32,
) -> wasmtime::Result<()> {
    let mut said = |at| c_string(&mut caller, at).unwrap_or_else(|| "?".to_owned());
    let (condition, file, function) = (said(condition), said(file), said(function));
    Err(GuestAbort(format!("assertion failed: {condition}, at {file}:{line}, in {function}")).into())
}

/// Implements `emscripten_resize_heap(size)`: returns 1 if the memory is this large afterwards.
fn resize_heap(mut caller: Caller<'_, StoreState>, size: u32) -> wasmtime::Result<i32> {
    caller.data().meter.call()?;
    let Some(memory) = memory(&mut caller) else { return Ok(0) };
    let lacking = u64::from(size).saturating_sub(memory.data_size(&caller) as u64);
    let pages = lacking.div_ceil(memory.page_size(&caller));
    Ok(i32::from(memory.grow(&mut caller, pages).is_ok()))
}

/// Implements `_emscripten_memcpy_js(to, from, length)`.
fn copy(mut caller: Caller<'_, StoreState>, to: u32, from: u32, length: u32) -> wasmtime::Result<()> {
    caller.data().meter.call()?;
    caller.data().meter.bytes(length as usize)?;
    let Some(memory) = memory(&mut caller) else { return Err(Trap::MemoryOutOfBounds.into()) };
    let data = memory.data_mut(&mut caller);
    let range =
        |at: u32| Some(at as usize..(at as usize).checked_add(length as usize)?).filter(|r| r.end <= data.len());
    match (range(from), range(to)) {
        (Some(from), Some(to)) => data.copy_within(from, to.start),
        _ => return Err(Trap::MemoryOutOfBounds.into()),
    }
    Ok(())
}

/// Returns the milliseconds since 1970.
fn wall(caller: &Caller<'_, StoreState>, deterministic: bool) -> wasmtime::Result<f64> {
    caller.data().meter.call()?;
    caller.data().use_host();
    let now = match deterministic {
        true => deterministic::WALL,
        false => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    };
    Ok(now.as_millis() as f64)
}

/// Returns the milliseconds since `start`, or those of the instance's own clock.
fn monotonic(caller: &Caller<'_, StoreState>, start: Option<Instant>) -> wasmtime::Result<f64> {
    caller.data().meter.call()?;
    caller.data().use_host();
    Ok(match start {
        Some(start) => start.elapsed().as_secs_f64() * 1e3,
        None => caller.data().clock().look() as f64 / 1e6,
    })
}

/// Implements `trace(message, count, …)`, where `count` says how many of the five numbers are used.
#[expect(clippy::too_many_arguments, reason = "the guest's toolchain determines the parameters")]
fn trace(
    mut caller: Caller<'_, StoreState>,
    message: u32,
    count: u32,
    a: f64,
    b: f64,
    c: f64,
    d: f64,
    e: f64,
) -> wasmtime::Result<()> {
    caller.data().meter.call()?;
    let message = string(&mut caller, message).unwrap_or_default();
    let numbers: Vec<String> = [a, b, c, d, e].iter().take(count as usize).map(f64::to_string).collect();
    caller.data().meter.bytes(message.len())?;
    caller.data_mut().print(true, &format!("trace: {message} {}\n", numbers.join(", ")));
    Ok(())
}

/// Returns the seed of random numbers.
fn seed(caller: &Caller<'_, StoreState>, deterministic: bool) -> wasmtime::Result<f64> {
    caller.data().meter.call()?;
    caller.data().use_host();
    Ok(match deterministic {
        true => 946_684_800.0,
        // Each hasher has keys of its own, which come from the system.
        false => (RandomState::new().build_hasher().finish() >> 11) as f64,
    })
}

fn memory(caller: &mut Caller<'_, StoreState>) -> Option<Memory> {
    caller.get_export("memory").and_then(Extern::into_memory)
}

/// Reads a string of C, up to its zero byte. Returns `None` for null, and for what is not in the memory.
fn c_string(caller: &mut Caller<'_, StoreState>, at: u32) -> Option<String> {
    let memory = memory(caller)?;
    let text = memory.data(&*caller).get(at as usize..).filter(|_| at > 0)?;
    let text = text.get(..LONGEST as usize).unwrap_or(text);
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text.get(..end).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// Reads an AssemblyScript string: UTF-16, with its length in bytes before it. Returns `None` for null, and for
/// anything that is not a string.
fn string(caller: &mut Caller<'_, StoreState>, at: u32) -> Option<String> {
    let memory = memory(caller)?;
    let memory = memory.data(&*caller);
    let start = usize::try_from(at).ok().filter(|at| *at >= 4)?;
    let (before, behind) = memory.split_at_checked(start)?;
    let length = u32::from_le_bytes(*before.last_chunk()?).min(LONGEST);
    let bytes = behind.get(..usize::try_from(length).ok()?)?;
    let units: Vec<u16> = bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    Some(String::from_utf16_lossy(&units))
}

/// Returns the reason why a module with these imports is refused, and how to build it without them. Each import comes
/// with the module that it is from.
pub fn refusal(imports: &[ImportType<'_>]) -> UnknownImports {
    let (shown, more) = few(imports, NAMED);
    let named = |import: &ImportType<'_>| {
        format!("{} from {}", QuotedName::of(import.name()).at_most(80), QuotedName::of(import.module()).at_most(80))
    };
    let mut names = shown.iter().map(named).collect::<Vec<_>>().join(", ");
    if more > 0 {
        names += &format!(" and {more} more");
    }
    let of_env = imports.iter().any(|import| import.module() == MODULE);
    let undefined = "what is declared and defined nowhere is imported from `env`: link what defines it";
    let way_out = imports.iter().find_map(way_out).or(of_env.then_some(undefined));
    let way_out = way_out.map_or_else(String::new, |way| format!("; {way}"));
    UnknownImports { names, way_out }
}

/// Returns how to build without this import, for toolchains that produce it.
fn way_out(import: &ImportType<'_>) -> Option<&'static str> {
    const BINDGEN: &str =
        "it was built for JavaScript by wasm-bindgen: build it without, for wasm32-wasip2 or wasm32-wasip1";
    const EMSCRIPTEN: &str = "it was built for JavaScript by Emscripten, which builds for WASI with -sSTANDALONE_WASM";
    const HALVES: &str = "it was built by Emscripten, with 64-bit numbers in two halves of which JavaScript has one: build it with \
                          -sWASM_BIGINT or -sSTANDALONE_WASM";
    const UNWINDS: &str = "it was built by Emscripten, whose exceptions and longjmp call JavaScript: build it with \
                           -fwasm-exceptions or -sSUPPORT_LONGJMP=wasm, and with -sSTANDALONE_WASM and \
                           -sWASM_LEGACY_EXCEPTIONS=0";
    const MINIFIED: &str =
        "names as short as these are of Emscripten, for its own JavaScript: build with -sSTANDALONE_WASM";
    const BROWSER: &str = "it was built by AssemblyScript and uses what only JavaScript has: leave that out, or give its \
                           value as a parameter; `--use abort=` and the like name a function of the module in its place";
    const GO: &str = "it was built for a browser: Go builds for WASI with GOOS=wasip1 GOARCH=wasm";
    const LINKED: &str = "it is a side module or expects its memory from outside: build it without -sSIDE_MODULE, \
                          -shared, --import-memory or --importMemory";
    let of_emscripten = ["emscripten_", "_emscripten_", "__syscall_", "_tzset_js", "_localtime_js", "_mktime_js"];
    let unwinds = ["invoke_", "__cxa_", "_emscripten_throw_longjmp", "__resumeException", "llvm_eh_typeid_for"];
    let of_objects = ["__linear_memory", "__indirect_function_table", "__stack_pointer"];
    let starts = |among: &[&str]| among.iter().any(|start| import.name().starts_with(start));
    let is_short = |name: &str| name.len() <= 2 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    const SHARED: &str = "only components can use shared objects: build one, for example for wasm32-wasip2";
    const OBJECT: &str = "it is an object file: link it, with wasm-ld or without the compiler's -c";
    match import.module() {
        module if module.starts_with("wasmpool:shared/") => Some(SHARED),
        "wbg" => Some(BINDGEN),
        module if module.starts_with("__wbindgen") || module.ends_with("_bg.js") => Some(BINDGEN),
        "go" | "gojs" => Some(GO),
        MODULE if import.name() == "__linear_memory" => Some(OBJECT),
        MODULE if matches!(import.name(), "setTempRet0" | "getTempRet0") => Some(HALVES),
        MODULE if starts(&unwinds) => Some(UNWINDS),
        MODULE if starts(&of_emscripten) => Some(EMSCRIPTEN),
        MODULE if import.name() == "memory" || starts(&of_objects) => Some(LINKED),
        "GOT.mem" | "GOT.func" => Some(LINKED),
        MODULE if import.name().contains('.') => Some(BROWSER),
        "a" if is_short(import.name()) => Some(MINIFIED),
        _ => None,
    }
}
