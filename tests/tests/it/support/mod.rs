//! Support of the tests: running the program, looking at its processes, writing guests, reading records.

pub mod alone;
pub mod bombs;
pub mod broker;
pub mod browser;
pub mod chaos;
pub mod folder;
pub mod guest;
pub mod host;
pub mod nats;
pub mod pressure;
pub mod process;
pub mod proxy;
pub mod record;
pub mod run;
pub mod terminal;
pub mod tree;
pub mod wat;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time after which a run counts as hung. It is generous, since it only stands for "never".
pub const HANG: Duration = Duration::from_secs(120);

/// Time that a test waits for something that another process does by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the root of the workspace.
pub fn workspace() -> PathBuf {
    let tests = std::fs::canonicalize(env!("CARGO_MANIFEST_DIR")).expect("the tests' own folder");
    let workspace = tests.parent().expect("a member of a workspace");
    workspace.to_path_buf()
}

/// Returns the program under test: `WASMPOOL_BIN`, or else the workspace's release build.
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

/// Returns true if `WASMPOOL_TEST_FULL` asks for the full sizes rather than the short forms.
pub fn full() -> bool {
    std::env::var_os("WASMPOOL_TEST_FULL").is_some_and(|value| value == "1")
}

/// Waits until `condition` returns a value; fails, naming `what`, if it never does.
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, condition)
}

/// Does the same for what takes longer.
pub fn until_within<T>(patience: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
