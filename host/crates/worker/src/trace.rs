//! The stack of a guest as it is reported: its own functions, innermost first, and then how many there were of its
//! language's libraries, which every panic has on its stack.

use wasmtime::{FrameInfo, WasmBacktrace};

/// Maximum number of frames that are reported.
const MOST: usize = 20;

/// Returns the frames of a stack.
pub fn frames(stack: &WasmBacktrace) -> Vec<String> {
    folded(stack.frames().iter().map(name).collect())
}

fn name(frame: &FrameInfo) -> String {
    match frame.func_name() {
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("<function {}>", frame.func_index()),
    }
}

/// Counts the frames of libraries in place of listing them, if there are others.
fn folded(frames: Vec<String>) -> Vec<String> {
    let (of_libraries, mut own): (Vec<String>, Vec<String>) =
        frames.into_iter().partition(|frame| is_of_a_library(frame));
    if own.is_empty() {
        own = of_libraries;
        own.truncate(MOST);
        return own;
    }
    own.truncate(MOST);
    match of_libraries.len() {
        0 => {}
        1 => own.push("(and 1 frame of the standard library)".to_owned()),
        count => own.push(format!("(and {count} frames of the standard library)")),
    }
    own
}

/// Beginnings of the names of functions that a toolchain adds: of Rust, C, C++, Python, Go, AssemblyScript.
const OF_LIBRARIES: [&str; 27] = [
    "std::",
    "core::",
    "alloc::",
    "<std::",
    "<core::",
    "<alloc::",
    "<&mut core::",
    "<&core::",
    "__rustc",
    "__rust_",
    "rust_begin_unwind",
    "rust_panic",
    "dlmalloc::",
    "compiler_builtins::",
    "wit_bindgen::rt",
    "wit_dylib_",
    "__cxa_",
    "__cxxabiv1",
    "_ZNSt",
    "_ZSt",
    "__wasi_",
    "__libc_",
    "__assert_",
    "_Py",
    "(*runtime.",
    "runtime.",
    "~lib/",
];
/// Names of such functions.
const LIBRARY_FUNCTIONS: [&str; 8] = ["abort", "exit", "_Exit", "_exit", "raise", "_start", "__main_void", "Py_Exit"];

/// Returns true for a function of the library of a language, whose name says so.
fn is_of_a_library(name: &str) -> bool {
    LIBRARY_FUNCTIONS.contains(&name) || OF_LIBRARIES.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(frames: &[&str]) -> Vec<String> {
        folded(frames.iter().map(|frame| (*frame).to_owned()).collect())
    }

    #[test]
    fn the_frames_of_the_user_come_first_and_those_of_libraries_are_counted() {
        let panic = [
            "abort",
            "std::process::abort",
            "__rustc::__rust_start_panic",
            "core::panicking::panic_fmt",
            "shop::weight",
            "<alloc::vec::Vec<u8> as core::ops::index::Index<usize>>::index",
            "<shop::Order as core::fmt::Display>::fmt",
            "quote",
        ];
        let own = ["shop::weight", "<shop::Order as core::fmt::Display>::fmt", "quote"];
        assert_eq!(told(&panic), [&own[..], &["(and 5 frames of the standard library)"]].concat());
        assert_eq!(told(&["abort", "f"]), ["f", "(and 1 frame of the standard library)"]);
        // Names that only look alike.
        assert_eq!(told(&["stdlib", "corestd::f", "abort_order", "<function 7>"]).len(), 4);
    }

    #[test]
    fn a_stack_of_libraries_alone_is_told_as_it_is_and_a_deep_one_is_cut() {
        assert_eq!(told(&["abort", "std::process::abort"]), ["abort", "std::process::abort"]);
        assert_eq!(told(&["std::f"; 50]).len(), MOST);
        let deep = told(&[&["abort"][..], &["f"; 50]].concat());
        assert_eq!((deep.len(), &*deep[MOST]), (MOST + 1, "(and 1 frame of the standard library)"));
        assert_eq!(told(&[]), [""; 0]);
    }
}
