//! `wasmpool new`: a plugin that builds with the tools that its README names, and runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::run::wasmpool;
use crate::support::{HANG, workspace};

const LANGUAGES: [&str; 4] = ["rust", "python", "javascript", "c"];

fn made(language: &str, name: &str) -> TempDir {
    let folder = TempDir::new().expect("a temporary directory");
    let output = wasmpool().args(["new", language, name]).directory(folder.path()).run().exits(0);
    assert_eq!(output.text(), "");
    assert!(output.stderr.contains(&format!("{name}/README.md")), "{}", output.stderr);
    folder
}

#[test]
fn each_language_has_sources_a_manifest_and_a_readme_with_its_name() {
    for language in LANGUAGES {
        let folder = made(language, "my-check");
        let read = |name: &str| fs::read_to_string(folder.path().join("my-check").join(name)).expect(name);
        assert!(read("plugin.toml").contains("wasm = \"my-check.wasm\""), "{language}");
        // In the build command, which npm has in its own file.
        let builds = if language == "javascript" { "package.json" } else { "README.md" };
        assert!(read(builds).contains(" my-check.wasm"), "{language}");
        assert!(read(".gitignore").contains("*.wasm"), "{language}");
        assert_eq!(folder.path().join("my-check/wit/world.wit").exists(), language != "c", "{language}");
        assert!(!texts(&folder.path().join("my-check")).contains("@NAME@"), "{language}");
        let quiet = wasmpool().args(["new", language, "other", "-q"]).directory(folder.path()).run().exits(0);
        assert_eq!(quiet.stderr, "");
    }
}

/// Returns what is in all files of a directory.
fn texts(directory: &Path) -> String {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.map(|path| if path.is_dir() { texts(&path) } else { fs::read_to_string(&path).expect("a text") }).collect()
}

#[test]
fn nothing_is_written_over() {
    let folder = made("c", "check");
    let changed = folder.path().join("check/main.c");
    fs::write(&changed, "mine").expect("written");
    fs::write(folder.path().join("file"), "mine").expect("written");
    std::os::unix::fs::symlink("/nowhere", folder.path().join("link")).expect("a link");
    for name in ["check", "file", "link"] {
        let output = wasmpool().args(["new", "rust", name]).directory(folder.path()).run().exits(2);
        assert!(output.stderr.contains(name) && output.stderr.contains("nothing is written over"), "{}", output.stderr);
    }
    assert_eq!(fs::read_to_string(changed).expect("it is there"), "mine");
    assert!(!folder.path().join("check/Cargo.toml").exists());
}

#[test]
fn what_is_no_name_or_language_is_refused() {
    let folder = TempDir::new().expect("a temporary directory");
    for name in ["Check", "../check", "a/b", "-x", "a b", "1st", "a--b", ""] {
        let output = wasmpool().args(["new", "rust", "--", name]).directory(folder.path()).run().exits(2);
        assert!(output.stderr.contains("is no name for a plugin"), "{name}: {}", output.stderr);
    }
    let output = wasmpool().args(["new", "cobol", "check"]).directory(folder.path()).run().exits(2);
    assert!(LANGUAGES.iter().all(|language| output.stderr.contains(language)), "{}", output.stderr);
    assert!(output.stderr.contains("docs/plugins.md"), "{}", output.stderr);
    let output = wasmpool().args(["new", "rust"]).directory(folder.path()).run().exits(2);
    assert!(output.stderr.contains("NAME"), "{}", output.stderr);
    assert_eq!(fs::read_dir(folder.path()).expect("it").count(), 0);
}

#[test]
fn a_language_without_a_skeleton_is_told_its_guide() {
    let folder = TempDir::new().expect("a temporary directory");
    for (language, guide) in [("go", "docs/plugin-go.md"), ("Golang", "docs/plugin-go.md"), ("c++", "docs/plugin-c.md")]
    {
        let output = wasmpool().args(["new", language, "check"]).directory(folder.path()).run().exits(2);
        let there = LANGUAGES.iter().all(|language| output.stderr.contains(language));
        assert!(output.stderr.contains(guide) && there, "{}", output.stderr);
    }
    let output = wasmpool().args(["new", "pyton", "check"]).directory(folder.path()).run().exits(2);
    assert!(output.stderr.contains("did you mean") && output.stderr.contains("python"), "{}", output.stderr);
}

/// Runs a command in a directory. Returns false if there is no such program.
fn ran(directory: &Path, program: impl AsRef<Path>, arguments: &[&str]) -> bool {
    let Ok(output) = Command::new(program.as_ref()).args(arguments).current_dir(directory).output() else {
        return false;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}: {said}", program.as_ref().display());
    true
}

/// Returns a tool that `make guests` has got.
fn tool(path: &str) -> PathBuf {
    workspace().join("guest/target/languages/tools").join(path)
}

/// Builds a plugin as its README says, with the tools of `make guests`. Returns false if they are not there.
fn is_built(language: &str, directory: &Path) -> bool {
    match language {
        "rust" => {
            let built = ran(directory, "cargo", &["build", "--release", "--target", "wasm32-wasip2", "--offline"]);
            built
                && fs::copy(directory.join("target/wasm32-wasip2/release/plugin.wasm"), directory.join("check.wasm"))
                    .is_ok()
        }
        "python" => {
            let arguments = ["-d", "wit", "-w", "plugin", "componentize", "app", "-o", "check.wasm"];
            ran(directory, tool("venv/bin/componentize-py"), &arguments)
        }
        "javascript" => {
            let arguments = ["--sync", "--wit", "wit", "--js", "plugin.js", "-o", "check.wasm"];
            ran(directory, tool("npm/node_modules/.bin/componentize-qjs"), &arguments)
        }
        _ => {
            let arguments = ["-m", "ziglang", "cc", "--target=wasm32-wasi", "-Os", "-s", "main.c", "-o", "check.wasm"];
            tool("venv/bin/python3").exists() && ran(directory, tool("venv/bin/python3"), &arguments)
        }
    }
}

/// The tools of some languages may not be on this machine; their plugins are then left out, as guests are.
#[test]
fn it_builds_and_runs_as_its_readme_says() {
    for language in LANGUAGES {
        let folder = made(language, "check");
        let directory = folder.path().join("check");
        if !is_built(language, &directory) {
            eprintln!("left out: a new plugin in {language}: its tools are not there");
            continue;
        }
        let run = |words: &[&str]| wasmpool().args(words).arg(&directory).limit(HANG * 3);
        let shown = run(&["inspect"]).run().exits(0);
        assert!(shown.text().contains("what the plugin asks for"), "{language}: {}", shown.text());
        let (command, greeting) =
            if language == "c" { ("exec", "Hello, Ada!\n") } else { ("map", "\"Hello, Ada!\"\n") };
        let output =
            run(&[command]).args(["--input-format", "lines"]).input("Ada\n \nGrace\n".replace(" \n", "\n")).run();
        assert_eq!(output.code, 1, "{language}: {}", output.stderr);
        assert!(output.text().starts_with(greeting), "{language}: {}", output.text());
        assert!(output.stderr.contains("nobody has no name"), "{language}: {}", output.stderr);
    }
}
