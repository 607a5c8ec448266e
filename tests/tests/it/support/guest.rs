//! Tasks: text written for one test, and the fixtures that `guest/` builds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::workspace;

/// A task on disk; one that was written for a test is removed when its last holder is dropped.
#[derive(Clone)]
pub struct Task {
    path: PathBuf,
    _folder: Option<Arc<TempDir>>,
}

impl Task {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes a task with this text, as `.wat`.
pub fn wat(text: impl AsRef<str>) -> Task {
    file("task.wat", text.as_ref().as_bytes())
}

/// Writes a file of this name and content, to be used as a task.
pub fn file(name: &str, content: &[u8]) -> Task {
    let folder = TempDir::new().expect("a temporary directory");
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("a file in it");
    Task { path, _folder: Some(Arc::new(folder)) }
}

/// Returns a guest that `guest/` builds, by its name.
pub fn built(name: &str) -> Task {
    built_for("wasm32-wasip2", name)
}

/// Returns a guest that `guest/` builds for this target.
pub fn built_for(target: &str, name: &str) -> Task {
    // The folder that may be named is that of the usual target; those of other targets lie beside it.
    let folder = std::env::var_os("WASMPOOL_TEST_GUESTS")
        .map_or_else(|| workspace().join("guest/target/wasm32-wasip2/release"), PathBuf::from);
    let folder = if target == "wasm32-wasip2" { folder } else { folder.join("../..").join(target).join("release") };
    let path = folder.join(format!("{name}.wasm"));
    assert!(path.is_file(), "no guest at {}: `make guests` builds them", path.display());
    Task { path, _folder: None }
}

/// Returns a guest of `guest/languages` in a language, if `make guests` could build it.
pub fn built_in(language: &str, guest: &str) -> Option<Task> {
    let path = workspace().join(format!("guest/target/languages/{guest}-{language}.wasm"));
    path.is_file().then(|| Task { path, _folder: None })
}
