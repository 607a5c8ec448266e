//! What the tests stand on: running the program, looking at its processes, writing guests, reading records.

pub mod alone;
pub mod bombs;
pub mod chaos;
pub mod guest;
pub mod host;
pub mod pressure;
pub mod process;
pub mod record;
pub mod run;
pub mod terminal;
pub mod tree;
pub mod wat;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long one run may take before it counts as hung. Generous: it only says "never".
pub const HANG: Duration = Duration::from_secs(120);

/// How long a test waits for something that another process does by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the workspace is.
pub fn workspace() -> PathBuf {
    let tests = std::fs::canonicalize(env!("CARGO_MANIFEST_DIR")).expect("the tests' own folder");
    let workspace = tests.parent().expect("a member of a workspace");
    workspace.to_path_buf()
}

/// The program under test: `WASMPOOL_BIN`, else the workspace's release build.
pub fn binary() -> PathBuf {
    let path =
        std::env::var_os("WASMPOOL_BIN").map_or_else(|| workspace().join("target/release/wasmpool"), PathBuf::from);
    assert!(
        path.is_file(),
        "no program to test at {}: run `cargo build --release` first, or set WASMPOOL_BIN",
        path.display()
    );
    path
}

/// Whether the sizes of the issue are wanted rather than the short forms.
pub fn full() -> bool {
    std::env::var_os("WASMPOOL_TEST_FULL").is_some_and(|value| value == "1")
}

/// Waits until `condition` gives a value; fails, naming `what`, when it never does.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
