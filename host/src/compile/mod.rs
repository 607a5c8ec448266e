//! Wasm to machine code, in a process of its own: the host never looks inside a module.
//!
//! [`prepare`] takes a task's file and returns its artifact in a sealed memfd: from the cache, or made by a compile process
//! that gets the wasm in one memfd and writes the artifact into another.

mod cache;
mod process;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use cache::Cache;
pub use process::run;

use crate::engine::{Needs, Profile};
use crate::error::Error;
use crate::lane::control::Control;
use crate::spawn;

/// What a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    Component,
    Core,
}

/// What is known of an artifact without loading it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Meta {
    pub format: Format,
    pub profile: Profile,
    pub needs: Option<Needs>,
    pub description: Description,
}

/// What a task exports and imports, in words.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Description {
    pub exports: Vec<ExportLine>,
    pub imports: Vec<String>,
}

/// An exported function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportLine {
    pub name: String,
    pub signature: String,
    /// A user would call it, as opposed to what a toolchain added.
    pub users: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<String>,
}

/// A compiled task.
#[derive(Debug)]
pub struct Prepared {
    /// Sealed against writing.
    pub artifact: OwnedFd,
    pub meta: Meta,
    /// The hash of the wasm.
    pub hash: String,
    /// It was compiled just now, rather than found.
    pub compiled: bool,
}

/// What the compile process is asked for; descriptors of the wasm, the artifact to be and the reply come with it.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    fuel: bool,
}

/// How much wall time compiling may take.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Finds or makes the artifact of the task at `path` (`-` is standard input).
///
/// # Errors
///
/// [`Error::Task`] with what is wrong with the file.
pub fn prepare(path: &Path, fuel: bool, cache: &Cache, fresh: bool) -> Result<Prepared, Error> {
    let (wasm, hash) = read(path).map_err(|e| Error::Task(format!("cannot read the task {}: {e}", path.display())))?;
    for profile in Profile::all(fuel) {
        if !fresh && let Some((artifact, meta)) = cache.get(&hash, profile) {
            return Ok(Prepared { artifact, meta, hash, compiled: false });
        }
    }
    let (artifact, meta) = compile(&wasm, fuel).map_err(|message| Error::Task(format!("{}: {message}", path.display())))?;
    cache.put(&hash, &artifact, &meta);
    Ok(Prepared { artifact: artifact.into(), meta, hash, compiled: true })
}

/// Copies the file into sealed memory, and hashes it on the way.
fn read(path: &Path) -> io::Result<(File, String)> {
    let mut source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => {
            let file = File::open(path)?;
            if file.metadata()?.is_dir() {
                return Err(io::Error::other("it is a directory; name a .wasm or .wat file"));
            }
            Box::new(file)
        }
    };
    let mut wasm = crate::memfd::create(c"wasmpool-task")?;
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; 64 << 10];
    loop {
        let count = source.read(&mut block)?;
        let Some(read @ [_, ..]) = block.get(..count) else {
            break;
        };
        hasher.update(read);
        wasm.write_all(read)?;
    }
    crate::memfd::seal(&wasm)?;
    Ok((wasm, hasher.finalize().to_hex().to_string()))
}

/// Runs the compile process.
fn compile(wasm: &File, fuel: bool) -> Result<(File, Meta), String> {
    let io = |e: io::Error| format!("cannot compile it: {e}");
    let artifact = crate::memfd::create(c"wasmpool-artifact").map_err(io)?;
    let reply = crate::memfd::create(c"wasmpool-reply").map_err(io)?;
    let (control, theirs) = Control::pair().map_err(io)?;
    let mut child = spawn::start(spawn::Role::Compile, theirs).map_err(|e| e.to_string())?;
    control.send(&Request { fuel }, &[wasm.as_fd(), artifact.as_fd(), reply.as_fd()]).map_err(io)?;
    let status = child.wait_at_most(TIMEOUT).map_err(io)?;
    let Some(status) = status else {
        return Err(format!("compiling it took longer than {} s and was ended", TIMEOUT.as_secs()));
    };
    let mut text = String::new();
    let mut reply = reply;
    reply.seek(SeekFrom::Start(0)).map_err(io)?;
    reply.take(16 << 20).read_to_string(&mut text).map_err(io)?;
    match serde_json::from_str::<Result<Meta, String>>(&text) {
        Ok(Ok(meta)) => {
            crate::memfd::seal(&artifact).map_err(io)?;
            Ok((artifact, meta))
        }
        Ok(Err(message)) => Err(message),
        Err(_) => Err(format!("the compile process ended without an answer ({status})")),
    }
}
