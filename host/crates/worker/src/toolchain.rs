//! Functions that toolchains make a plain module import from `env`, and that need nothing from the outside world: those
//! of AssemblyScript, and one of Emscripten. They do not enable a task to reach anything.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use wasmtime::{Caller, Extern, ExternType, ImportType, Linker, Module};

use super::state::StoreState;
use wasmpool_core::text::{QuotedName, few};

/// The module that they are imported from.
const MODULE: &str = "env";
/// Maximum number of bytes that are read of an AssemblyScript string.
const LONGEST: u32 = 8 << 10;
/// Maximum number of imports that a message names.
const NAMED: usize = 5;

/// The functions, with their types in the format of [`signature`].
const PROVIDED: [(&str, &str); 9] = [
    ("abort", "i32 i32 i32 i32 ->"),
    ("console.debug", "i32 ->"),
    ("console.error", "i32 ->"),
    ("console.info", "i32 ->"),
    ("console.log", "i32 ->"),
    ("console.warn", "i32 ->"),
    ("emscripten_notify_memory_growth", "i32 ->"),
    ("seed", "-> f64"),
    ("trace", "i32 i32 f64 f64 f64 f64 f64 ->"),
];

/// Error: a guest aborted, for this reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct GuestAbort(String);

/// Error: a core module imports functions that nothing here provides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task imports {names}, which nothing here provides: only WASI can be imported{way_out}")]
pub struct UnknownImports {
    /// The names of some of them, as text.
    names: String,
    /// How to build the task without them, with a separator in front; empty if that is not known.
    way_out: String,
}

/// Returns true if an import is one of these functions.
pub fn provides(import: &ImportType<'_>) -> bool {
    let known = PROVIDED.iter().find(|(name, _)| import.module() == MODULE && *name == import.name());
    known.is_some_and(|(_, wanted)| signature(&import.ty()).as_deref() == Some(*wanted))
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
            "abort" => linker.func_wrap(MODULE, name, abort)?,
            "emscripten_notify_memory_growth" => {
                linker.func_wrap(MODULE, name, |caller: Caller<'_, StoreState>, _: i32| caller.data().meter.call())?
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

/// Reads an AssemblyScript string: UTF-16, with its length in bytes before it. Returns `None` for null, and for
/// anything that is not a string.
fn string(caller: &mut Caller<'_, StoreState>, at: u32) -> Option<String> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory)?;
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
    const GO: &str = "it was built for a browser: Go builds for WASI with GOOS=wasip1 GOARCH=wasm";
    let of_emscripten = ["emscripten_", "_emscripten_", "invoke_", "__cxa_", "__syscall_"];
    const SHARED: &str = "only components can use shared objects: build one, for example for wasm32-wasip2";
    match import.module() {
        module if module.starts_with("wasmpool:shared/") => Some(SHARED),
        "wbg" => Some(BINDGEN),
        module if module.starts_with("__wbindgen") || module.ends_with("_bg.js") => Some(BINDGEN),
        "go" | "gojs" => Some(GO),
        MODULE if of_emscripten.iter().any(|start| import.name().starts_with(start)) => Some(EMSCRIPTEN),
        _ => None,
    }
}
