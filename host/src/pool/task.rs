//! The tasks of a pool, and their artifacts.

use std::hash::{Hash, Hasher};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::eventfd::EventFd;

use wasmpool_run::compile::{self, ArtifactCache, ArtifactKey, CompileWatcher, PreparedTask, Unwatched, Wasm};
use wasmpool_run::error::Error;
use wasmpool_run::spawn::ChildProgram;

/// Number of artifacts of one task that are kept; an `init` with another argument makes another artifact.
const MOST_MADE: usize = 16;

/// The wasm that a pool is to run: a component or a core module, in binary or text form.
///
/// It is made from a path (`&str`, `String`, `&Path`, `PathBuf`), which is read once, or from bytes in memory
/// (`Vec<u8>`, `&[u8]`).
///
/// ```
/// use wasmpool::{Pool, Task};
///
/// let text = r#"(module (func (export "twice") (param i64) (result i64)
///     (i64.add (local.get 0) (local.get 0))))"#;
/// let pool = Pool::builder(text.as_bytes()).build()?;
/// assert_eq!(pool.apply::<_, i64>(21)?, 42);
/// # Ok::<(), wasmpool::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Task(TaskSource);

#[derive(Clone, Debug)]
enum TaskSource {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl From<&str> for Task {
    fn from(path: &str) -> Task {
        Task(TaskSource::File(path.into()))
    }
}

impl From<String> for Task {
    fn from(path: String) -> Task {
        Task(TaskSource::File(path.into()))
    }
}

impl From<&Path> for Task {
    fn from(path: &Path) -> Task {
        Task(TaskSource::File(path.into()))
    }
}

impl From<PathBuf> for Task {
    fn from(path: PathBuf) -> Task {
        Task(TaskSource::File(path))
    }
}

impl From<&PathBuf> for Task {
    fn from(path: &PathBuf) -> Task {
        Task(TaskSource::File(path.clone()))
    }
}

impl From<&[u8]> for Task {
    fn from(bytes: &[u8]) -> Task {
        Task(TaskSource::Bytes(bytes.to_vec()))
    }
}

impl From<Vec<u8>> for Task {
    fn from(bytes: Vec<u8>) -> Task {
        Task(TaskSource::Bytes(bytes))
    }
}

/// A task that was read, and the artifacts that were made from it.
#[derive(Debug)]
pub(super) struct LoadedTask {
    wasm: Wasm,
    program: ChildProgram,
    made: Mutex<Vec<(ArtifactKey, Arc<PreparedTask>)>>,
}

/// Compares by identity: the same path, read once more, may be another task.
impl PartialEq for LoadedTask {
    fn eq(&self, other: &LoadedTask) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for LoadedTask {}

impl Hash for LoadedTask {
    fn hash<H: Hasher>(&self, to: &mut H) {
        std::ptr::from_ref(self).hash(to);
    }
}

impl LoadedTask {
    pub fn read(task: &Task, program: ChildProgram) -> Result<LoadedTask, Error> {
        let wasm = match &task.0 {
            TaskSource::File(path) => Wasm::of_file(path)?,
            TaskSource::Bytes(bytes) => Wasm::of_bytes(bytes)?,
        };
        Ok(LoadedTask { wasm, program, made: Mutex::default() })
    }

    /// Returns the wasm, for machines that compile it themselves.
    #[cfg(feature = "hosts")]
    pub fn wasm(&self) -> &Wasm {
        &self.wasm
    }

    /// Returns the artifact that is `wanted`: one made before, one from the cache, or one compiled now. Gives up when
    /// `stop` becomes readable.
    pub fn prepare(&self, wanted: &ArtifactKey, stop: Option<&EventFd>) -> Result<Arc<PreparedTask>, Error> {
        self.make(wanted, stop, None)
    }

    /// Makes a new artifact in place of `old`, which cannot be loaded on this machine.
    pub fn prepare_anew(
        &self,
        wanted: &ArtifactKey,
        stop: Option<&EventFd>,
        old: &Arc<PreparedTask>,
    ) -> Result<Arc<PreparedTask>, Error> {
        self.make(wanted, stop, Some(old))
    }

    fn make(
        &self,
        wanted: &ArtifactKey,
        stop: Option<&EventFd>,
        old: Option<&Arc<PreparedTask>>,
    ) -> Result<Arc<PreparedTask>, Error> {
        // Held while compiling, so that two callers that want the same artifact compile it once.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |prepared: &Arc<PreparedTask>| old.is_some_and(|old| Arc::ptr_eq(old, prepared));
        if let Some((_, prepared)) = made.iter().find(|(of, prepared)| of == wanted && !is_old(prepared)) {
            return Ok(prepared.clone());
        }
        let cache = ArtifactCache::of_user();
        if let Some(old) = old {
            cache.remove(&old.hash, old.meta.profile);
        }
        let watch: &mut dyn CompileWatcher = match stop {
            Some(stop) => &mut CompileWait(stop),
            None => &mut Unwatched,
        };
        let prepared = compile::prepare(&self.program, &self.wasm, wanted, &cache, old.is_some(), watch)?;
        let prepared = Arc::new(prepared);
        made.retain(|(of, _)| of != wanted);
        if made.len() >= MOST_MADE {
            made.remove(0);
        }
        made.push((wanted.clone(), prepared.clone()));
        Ok(prepared)
    }
}

/// A wait for the compile process that ends when a descriptor becomes readable.
struct CompileWait<'a>(&'a EventFd);

impl CompileWatcher for CompileWait<'_> {
    fn compiling(&mut self) {}

    fn compiled(&mut self) {}

    fn stop(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}
