//! The tasks of a pool, and their artifacts.

use std::hash::{Hash, Hasher};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::eventfd::EventFd;

use wasmpool_run::compile::{self, Cache, Prepared, Unwatched, Wanted, Wasm, Watch};
use wasmpool_run::error::Error;
use wasmpool_run::spawn::Program;

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
pub struct Task(Source);

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl From<&str> for Task {
    fn from(path: &str) -> Task {
        Task(Source::File(path.into()))
    }
}

impl From<String> for Task {
    fn from(path: String) -> Task {
        Task(Source::File(path.into()))
    }
}

impl From<&Path> for Task {
    fn from(path: &Path) -> Task {
        Task(Source::File(path.into()))
    }
}

impl From<PathBuf> for Task {
    fn from(path: PathBuf) -> Task {
        Task(Source::File(path))
    }
}

impl From<&PathBuf> for Task {
    fn from(path: &PathBuf) -> Task {
        Task(Source::File(path.clone()))
    }
}

impl From<&[u8]> for Task {
    fn from(bytes: &[u8]) -> Task {
        Task(Source::Bytes(bytes.to_vec()))
    }
}

impl From<Vec<u8>> for Task {
    fn from(bytes: Vec<u8>) -> Task {
        Task(Source::Bytes(bytes))
    }
}

/// A task that was read, and the artifacts that were made from it.
#[derive(Debug)]
pub(super) struct Loaded {
    wasm: Wasm,
    program: Program,
    made: Mutex<Vec<(Wanted, Arc<Prepared>)>>,
}

/// Compares by identity: the same path, read once more, may be another task.
impl PartialEq for Loaded {
    fn eq(&self, other: &Loaded) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Loaded {}

impl Hash for Loaded {
    fn hash<H: Hasher>(&self, to: &mut H) {
        std::ptr::from_ref(self).hash(to);
    }
}

impl Loaded {
    pub fn read(task: &Task, program: Program) -> Result<Loaded, Error> {
        let wasm = match &task.0 {
            Source::File(path) => Wasm::of_file(path)?,
            Source::Bytes(bytes) => Wasm::of_bytes(bytes)?,
        };
        Ok(Loaded { wasm, program, made: Mutex::default() })
    }

    /// Returns the artifact that is `wanted`: one made before, one from the cache, or one compiled now. Gives up when
    /// `stop` becomes readable.
    pub fn prepare(&self, wanted: &Wanted, stop: Option<&EventFd>) -> Result<Arc<Prepared>, Error> {
        self.make(wanted, stop, None)
    }

    /// Makes a new artifact in place of `old`, which cannot be loaded on this machine.
    pub fn prepare_anew(
        &self,
        wanted: &Wanted,
        stop: Option<&EventFd>,
        old: &Arc<Prepared>,
    ) -> Result<Arc<Prepared>, Error> {
        self.make(wanted, stop, Some(old))
    }

    fn make(
        &self,
        wanted: &Wanted,
        stop: Option<&EventFd>,
        old: Option<&Arc<Prepared>>,
    ) -> Result<Arc<Prepared>, Error> {
        // Held while compiling, so that two callers that want the same artifact compile it once.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |prepared: &Arc<Prepared>| old.is_some_and(|old| Arc::ptr_eq(old, prepared));
        if let Some((_, prepared)) = made.iter().find(|(of, prepared)| of == wanted && !is_old(prepared)) {
            return Ok(prepared.clone());
        }
        let cache = Cache::of_user();
        if let Some(old) = old {
            cache.remove(&old.hash, old.meta.profile);
        }
        let watch: &mut dyn Watch = match stop {
            Some(stop) => &mut Until(stop),
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
struct Until<'a>(&'a EventFd);

impl Watch for Until<'_> {
    fn compiling(&mut self) {}

    fn compiled(&mut self) {}

    fn stop(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}
