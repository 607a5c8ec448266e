//! Files and directories that are granted to a task, and others beside them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory with `in/`, which is granted for reading, `out/`, which is also for writing, and others that are not
/// granted.
pub struct Tree {
    folder: TempDir,
}

impl Tree {
    /// Makes the tree with further directories, and files with their text.
    pub fn new(directories: &[&str], files: &[(&str, &str)]) -> Tree {
        let tree = Tree { folder: TempDir::new().expect("a temporary directory") };
        for name in ["in", "out"].iter().chain(directories) {
            fs::create_dir(tree.path(name)).expect("a directory");
        }
        for (name, text) in files {
            fs::write(tree.path(name), text).expect("a file");
        }
        tree
    }

    /// Makes a symbolic link.
    pub fn link(&self, target: impl AsRef<Path>, name: &str) {
        symlink(target, self.path(name)).expect("a link");
    }

    /// Returns the path of something; the empty name is the root.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the options that grant `in/` and `out/`.
    pub fn grants(&self) -> Vec<String> {
        let dir = |name: &str, more: &str| format!("--dir={}::/{name}{more}", self.path(name).display());
        vec![dir("in", ""), dir("out", ":rw")]
    }
}
