//! Proposals for WebAssembly that a valid task may use and that are not run here.

use wasmparser::{Validator, WasmFeatures};

/// A proposal that is not run: what it is called, and how to build without it if that is known.
type Proposal = (WasmFeatures, &'static str, Option<&'static str>);

const NOT_RUN: [Proposal; 19] = [
    (
        WasmFeatures::THREADS,
        "threads (shared memory and atomic instructions)",
        Some("build it without -pthread and without the feature `atomics`"),
    ),
    (WasmFeatures::SHARED_EVERYTHING_THREADS, "shared-everything-threads", None),
    (
        WasmFeatures::LEGACY_EXCEPTIONS,
        "the old form of exception handling",
        Some(
            "build it with -mllvm -wasm-use-legacy-eh=false, or -sWASM_LEGACY_EXCEPTIONS=0, or wasm-opt --translate-to-exnref",
        ),
    ),
    (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic", Some("build it without the feature `wide-arithmetic`")),
    (WasmFeatures::STACK_SWITCHING, "stack switching", None),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes", Some("build it without -Wl,--page-size")),
    (WasmFeatures::MEMORY_CONTROL, "memory control", None),
    (WasmFeatures::CUSTOM_DESCRIPTORS, "custom descriptors", None),
    (WasmFeatures::COMPACT_IMPORTS, "the compact import section", None),
    (WasmFeatures::CM_VALUES, "values in components", None),
    (WasmFeatures::CM_NESTED_NAMES, "nested names in components", None),
    (WasmFeatures::CM_ASYNC_STACKFUL, "async functions of components without a callback", None),
    (WasmFeatures::CM_MORE_ASYNC_BUILTINS, "further built-in functions for async components", None),
    (WasmFeatures::CM_THREADING, "threads in components", None),
    (WasmFeatures::CM_ERROR_CONTEXT, "`error-context` of components", None),
    (WasmFeatures::CM_FIXED_LENGTH_LISTS, "lists of a fixed length in components", None),
    (WasmFeatures::CM_GC, "garbage-collected values at the border of components", None),
    (WasmFeatures::CM_MAP, "maps in components", None),
    (WasmFeatures::CM_CANON_NAMES, "canonical names in components", None),
];

/// Returns the proposals that a task needs and that are not run, and how to build without them, as text that follows "it
/// uses". Returns `None` if it is not valid with all of them either, or needs none.
pub fn used(wasm: &[u8]) -> Option<String> {
    let is_valid = |features| Validator::new_with_features(features).validate_all(wasm).is_ok();
    if !is_valid(WasmFeatures::all()) {
        return None;
    }
    let used: Vec<&Proposal> =
        NOT_RUN.iter().filter(|(feature, ..)| !is_valid(WasmFeatures::all().difference(*feature))).collect();
    let names: Vec<&str> = used.iter().map(|(_, name, _)| *name).collect();
    let way_out = used.iter().find_map(|(.., way_out)| *way_out).map_or_else(String::new, |way| format!(": {way}"));
    let they = if names.len() == 1 { "a proposal" } else { "proposals" };
    (!names.is_empty()).then(|| format!("{}, {they} that wasmpool does not run{way_out}", names.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine;
    use wasmpool_core::artifact::{EngineFeatures, EngineProfile};

    #[test]
    fn a_proposal_that_is_not_run_is_named() {
        for (text, named) in [
            ("(module (memory 1 1 shared))", "threads"),
            ("(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))", "-pthread"),
            ("(module (tag $e) (func try nop catch $e end))", "exnref"),
            ("(module (type $f (func)) (type $c (cont $f)))", "stack switching"),
            ("(module (memory 1 (pagesize 1)))", "custom page sizes"),
            (
                "(module (func (param i64 i64) (result i64 i64)
                   (i64.add128 (local.get 0) (local.get 1) (local.get 0) (local.get 1))))",
                "wide arithmetic",
            ),
        ] {
            let used = used(&wat::parse_str(text).expect("text")).unwrap_or_else(|| panic!("{text} uses nothing"));
            assert!(used.contains(named), "{text}: {used}");
        }
    }

    #[test]
    fn what_is_run_or_is_not_valid_names_no_proposal() {
        let profile = EngineProfile { features: EngineFeatures::Collected, ..EngineProfile::default() };
        let engine = engine::compiling(profile).expect("an engine");
        for text in [
            "(module (memory i64 1))",
            "(module (memory 1) (memory 1))",
            "(module (type (struct (field i32))))",
            "(module (tag $e) (func (throw $e)))",
            "(module (func (return_call 0)))",
            "(module (global i32 (i32.add (i32.const 1) (i32.const 2))))",
        ] {
            let wasm = wat::parse_str(text).expect("text");
            assert_eq!(used(&wasm), None, "{text}");
            wasmtime::Module::from_binary(&engine, &wasm).expect(text);
        }
        assert_eq!(used(&wat::parse_str("(module (func (result i32)))").expect("text")), None);
    }
}
