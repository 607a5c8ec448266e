//! What a file probably is that was given as a task and is none, and what to do then.

use wasmpool_core::magic::FileFormat;

/// What a file seems to be, as text that follows "it is not WebAssembly but".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistaken {
    pub kind: &'static str,
    pub way_out: &'static str,
}

/// A kind of file: the endings of its name, what it is, and what to do.
type Named = (&'static [&'static str], &'static str, &'static str);
/// A kind of text: how a line of it begins, what it is, and what to do.
type Begun = (&'static [&'static str], &'static str, &'static str);

const DECOMPRESS: &str = "decompress it first";
const NATIVE: &str = "build it for WebAssembly, such as for wasm32-wasip2";
const RUST: &str = "build it first, with `cargo build --target wasm32-wasip2`";
const PYTHON: &str = "build it first, with componentize-py";
const C: &str = "build it first, with the clang of wasi-sdk";
const JAVASCRIPT: &str = "build it first, with `jco componentize`";
const TYPESCRIPT: &str = "build it first, with `jco componentize`, or with asc if it is AssemblyScript";
const GO: &str = "build it first, with GOOS=wasip1 GOARCH=wasm, or with TinyGo";
const OTHER: &str = "build it for WebAssembly first";
const DOWNLOADED: &str = "was a web page downloaded instead of the file?";
const ITEMS: &str = "is it the input? The task is named before the input";
const NO_CODE: &str = "is another file the task?";

/// Returns what a file of a format is that is given as a task, and what to do.
fn words(format: FileFormat) -> (&'static str, &'static str) {
    match format {
        FileFormat::Gzip => ("a gzip archive", "decompress it first, with gunzip, or tar -xzf if it is a .tar.gz"),
        FileFormat::Zstd => ("compressed by zstd", "decompress it first, with unzstd"),
        FileFormat::Xz => ("compressed by xz", "decompress it first, with unxz"),
        FileFormat::Bzip2 => ("compressed by bzip2", "decompress it first, with bunzip2"),
        FileFormat::Lz4 => ("compressed by lz4", "decompress it first, with unlz4"),
        FileFormat::Zip => ("a zip archive", "unpack it first, and name the .wasm file in it"),
        FileFormat::Tar => ("a tar archive", "unpack it first, and name the .wasm file in it"),
        FileFormat::EmptyZip => ("an empty zip archive", NO_CODE),
        FileFormat::SevenZip => ("a 7z archive", DECOMPRESS),
        FileFormat::Elf => ("a native program or library (ELF)", NATIVE),
        FileFormat::Windows => ("a program for Windows", NATIVE),
        FileFormat::MacOs => ("a program for macOS", NATIVE),
        FileFormat::JavaClass => ("a Java class or a program for macOS", NATIVE),
        FileFormat::Bitcode => ("LLVM bitcode", "link it first, with wasm-ld"),
        FileFormat::ObjectArchive => ("an archive of object files", "link it first, with wasm-ld"),
        FileFormat::Image => ("an image", NO_CODE),
        FileFormat::Pdf => ("a PDF document", NO_CODE),
        FileFormat::Parquet => ("a table of Parquet", NO_CODE),
        FileFormat::Sqlite => ("an SQLite database", NO_CODE),
        FileFormat::LfsPointer => ("a pointer of Git LFS that stands for the file", "`git lfs pull` fetches the file"),
        FileFormat::Script => ("a script", OTHER),
    }
}

const NAMED: [Named; 15] = [
    (&["rs"], "Rust source", RUST),
    (&["py"], "Python source", PYTHON),
    (&["c", "h", "cc", "cpp", "cxx", "hpp"], "C or C++ source", C),
    (&["js", "mjs", "cjs", "jsx"], "JavaScript source", JAVASCRIPT),
    (&["ts", "mts", "tsx"], "TypeScript source", TYPESCRIPT),
    (&["go"], "Go source", GO),
    (&["zig"], "Zig source", "build it first, with `zig build-exe -target wasm32-wasi`"),
    (&["java", "kt", "cs", "rb", "php", "swift", "lua", "ml", "hs"], "source code", OTHER),
    (&["sh", "bash"], "a script", OTHER),
    (&["wit"], "an interface in WIT, which has no code", NO_CODE),
    (&["toml"], "TOML", "the manifest of a plugin is called plugin.toml, and `wasmpool run` takes the file of a run"),
    (&["csv", "tsv"], "a table", ITEMS),
    (&["json", "jsonl", "ndjson"], "JSON", ITEMS),
    (&["html", "htm", "xml"], "HTML", DOWNLOADED),
    (&["md", "txt", "log"], "text", ITEMS),
];

const BEGUN: [Begun; 8] = [
    (&["fn ", "pub fn ", "use std::", "#![", "#[", "mod ", "extern crate ", "pub mod "], "Rust source", RUST),
    (&["def ", "from ", "class ", "\"\"\"", "@"], "Python source", PYTHON),
    (&["#include", "#define", "#pragma", "int ", "void ", "static ", "extern "], "C or C++ source", C),
    (&["package main"], "Go source", GO),
    (
        &["export ", "function ", "const ", "let ", "var ", "async ", "'use strict'", "\"use strict\""],
        "JavaScript or TypeScript source",
        TYPESCRIPT,
    ),
    (&["package ", "interface ", "world "], "an interface in WIT, which has no code", NO_CODE),
    (&["[", "wasm ="], "TOML or JSON", NO_CODE),
    (&["import "], "source code", OTHER),
];

/// Maximum number of bytes of a file that are looked at.
const LOOKED_AT: usize = 4096;

/// Returns what a file seems to be, by what is in it and what its name ends with.
pub fn seems(bytes: &[u8], file: &str) -> Option<Mistaken> {
    of_format(bytes).or_else(|| of_markup(bytes)).or_else(|| of_items(bytes)).or_else(|| of_name(file)).or_else(|| {
        let text = text(bytes)?;
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("//"))?;
        let (_, kind, way_out) =
            BEGUN.iter().find(|(starts, ..)| starts.iter().any(|start| line.starts_with(start)))?;
        Some(Mistaken { kind, way_out })
    })
}

/// Returns true if this is a text that is meant as WebAssembly's: it begins with a parenthesis or a comment.
pub fn is_meant_as_wat(text: &[u8]) -> bool {
    let start = text.trim_ascii_start();
    start.starts_with(b"(") || start.starts_with(b";;")
}

fn of_format(bytes: &[u8]) -> Option<Mistaken> {
    let (kind, way_out) = words(FileFormat::of(bytes)?);
    Some(Mistaken { kind, way_out })
}

fn of_markup(bytes: &[u8]) -> Option<Mistaken> {
    let start: Vec<u8> = bytes.trim_ascii_start().iter().take(20).map(u8::to_ascii_lowercase).collect();
    let is_html = ["<!doctype", "<html", "<head", "<body", "<!--", "<?xml", "<script"];
    let found = is_html.iter().any(|tag| start.starts_with(tag.as_bytes()));
    found.then_some(Mistaken { kind: "HTML or XML", way_out: DOWNLOADED })
}

/// Recognises JSON, alone or on lines.
fn of_items(bytes: &[u8]) -> Option<Mistaken> {
    let text = text(bytes)?;
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let opens = line.trim_start().starts_with('{');
    (opens || is_json(line)).then_some(Mistaken { kind: "JSON", way_out: ITEMS })
}

fn of_name(file: &str) -> Option<Mistaken> {
    let (_, ending) = file.rsplit_once('.')?;
    let ending = ending.to_ascii_lowercase();
    let (_, kind, way_out) = NAMED.iter().find(|(endings, ..)| endings.contains(&&*ending))?;
    Some(Mistaken { kind, way_out })
}

/// Returns the beginning of a file if it is text.
fn text(bytes: &[u8]) -> Option<&str> {
    let start = bytes.get(..LOOKED_AT).unwrap_or(bytes);
    match std::str::from_utf8(start) {
        Ok(text) => Some(text),
        // The last letter may have been cut.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(start.get(..e.valid_up_to())?).ok(),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_bytes_whatever_its_name_is() {
        let mut tar = vec![0; 300];
        tar[257..262].copy_from_slice(b"ustar");
        let cases: [(&[u8], &str); 15] = [
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"PK\x03\x04", "zip"),
            (b"\x7fELF\x02", "ELF"),
            (b"MZ\x90", "Windows"),
            (&tar, "tar"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
            (b"\n <!DOCTYPE html>", "HTML"),
            (b"<HTML>", "HTML"),
            (b"#!/bin/sh\n", "script"),
            (b"1\n2\n", "JSON"),
            (b"{\n  \"a\": 1\n}", "JSON"),
            (b"\n// a comment\n\npub fn f() {}", "Rust"),
            (b"#include <stdio.h>\n", "C or C++"),
            (b"package main\n", "Go"),
            (b"export function f(x: i32): i32 { return x }", "TypeScript"),
        ];
        for (bytes, kind) in cases {
            let seems = seems(bytes, "task.wasm").unwrap_or_else(|| panic!("{kind} is not known"));
            assert!(seems.kind.contains(kind), "{kind}: {seems:?}");
        }
    }

    #[test]
    fn what_looks_like_nothing_is_known_by_its_name() {
        for (file, kind) in [("f.rs", "Rust"), ("f.PY", "Python"), ("f.go", "Go"), ("a.b.csv", "table")] {
            assert!(seems(b"x y z", file).is_some_and(|seems| seems.kind.contains(kind)), "{file}");
        }
        for file in ["f.wasm", "f", "", "rs", "f."] {
            assert_eq!(seems(b"x y z", file), None, "{file}");
        }
    }

    #[test]
    fn text_of_webassembly_is_told_by_its_first_letter() {
        for (text, is_wat) in
            [("(module", true), (" ;; x\n", true), ("(; x ;) x", true), ("module", false), ("", false)]
        {
            assert_eq!(is_meant_as_wat(text.as_bytes()), is_wat, "{text}");
        }
    }
}
