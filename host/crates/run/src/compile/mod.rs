//! Compiles wasm to machine code in a process of its own: the host never looks inside a module.
//!
//! [`prepare`] takes a task and returns its artifact in a sealed memfd: from the cache, or made by a compile process
//! that gets the wasm in one memfd and writes the artifact into another.

mod cache;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use cache::{ArtifactCache, CacheEntry, CacheError};

use crate::cgroup::Compiling;
use crate::error::{Error, TaskError};
use crate::hashed;
use crate::scarce::{self, passes, patiently};
use crate::spawn::{self, ChildProcess, ChildProgram, ChildWait};
use crate::stdio::Stdin;
use wasmpool_core::artifact::{ArtifactMeta, EngineProfile, InitOnce};
use wasmpool_core::policy::{Isolate, SandboxMode, TaskCall};
use wasmpool_core::text::{ForeignText, brief, bytes_said};
use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_ipc::messages::{BeginCompile, CompileReply, CompileRequest, CompilerEntry, InitCall};
use wasmpool_sandbox as sandbox;
#[cfg(feature = "probes")]
use wasmpool_sandbox::surroundings::ChildEnd;
use wasmpool_sandbox::surroundings::error_with_limit;
use wasmpool_scheduler::{PATIENCE, pause};

/// A compiled task.
#[derive(Debug)]
pub struct PreparedTask {
    /// The artifact, in memory that is sealed against writing.
    pub artifact: OwnedFd,
    pub meta: ArtifactMeta,
    /// The hash of the wasm and of the argument of `init`.
    pub hash: String,
    /// Time that compiling took just now; `None` if the artifact was in the cache.
    pub compiled: Option<Duration>,
    /// The reason why the cache did not keep a new artifact, if it did not.
    pub unkept: Option<CacheError>,
}

/// An observer that waits for a task to be compiled.
pub trait CompileWatcher {
    /// Reports that there is no room for the compile process at the moment, or that it was killed, and will be started
    /// again. Called once.
    fn again(&mut self, _why: &Error) {}
    /// Reports that compiling takes longer than [`LONG`]. Called once.
    fn compiling(&mut self);
    /// Reports that compiling has ended, successfully or not.
    fn compiled(&mut self);
    /// Returns a descriptor that becomes readable when the artifact is no longer wanted.
    fn stop(&self) -> Option<BorrowedFd<'_>>;
}

/// Maximum wall time of compiling. 100 MB of plain code took 200 s on two busy processors.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Compile time from which on the user is told.
const LONG: Duration = Duration::from_millis(500);
/// Maximum bytes of a task. No valid module is larger; reading a larger file would fill the machine's memory, outside
/// all limits.
const MOST_WASM: u64 = 1 << 30;
/// Maximum bytes of a reply. A compile process that keeps its own bounds needs less.
const MOST_REPLY: u64 = 4 << 20;

/// An observer that reports nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl CompileWatcher for Unwatched {
    fn compiling(&mut self) {}

    fn compiled(&mut self) {}

    fn stop(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A task as its author made it: wasm or its text form, in sealed memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Wasm {
    file: Arc<File>,
    hash: String,
    name: String,
    /// Name of the file, without its directory.
    file_name: Option<String>,
}

impl Wasm {
    /// Reads the task that a command line names: a file, or standard input for `-`.
    ///
    /// # Errors
    ///
    /// [`Error::Task`] names the file.
    pub fn of_argument(path: &Path) -> Result<Wasm, Error> {
        match path.to_str() {
            Some("-") => Wasm::read(&mut Stdin, "-".to_owned()),
            _ => Wasm::of_file(path),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Error::Task`] names the file.
    pub fn of_file(path: &Path) -> Result<Wasm, Error> {
        let name = ForeignText::of(path).to_string();
        let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
            true => Err(io::Error::other("it is a directory; name a .wasm or .wat file")),
            false => Ok(file),
        });
        match opened {
            Ok(mut file) => {
                let file_name = path.file_name().map(|name| ForeignText::of(name).to_string());
                Ok(Wasm { file_name, ..Wasm::read(&mut file, name)? })
            }
            Err(e) => Err(unreadable(name, e)),
        }
    }

    /// Takes bytes that are in memory.
    pub fn of_bytes(mut bytes: &[u8]) -> Result<Wasm, Error> {
        Wasm::read(&mut bytes, "the task".to_owned())
    }

    /// Copies the source into sealed memory, and hashes it on the way.
    fn read(source: &mut dyn Read, name: String) -> Result<Wasm, Error> {
        match copy(source) {
            Ok((file, hash)) => Ok(Wasm { file: Arc::new(file), hash, name, file_name: None }),
            Err(e) => Err(unreadable(name, e)),
        }
    }

    /// Returns the task under another name.
    pub fn named(self, name: &str) -> Wasm {
        let file_name = Path::new(name).file_name().filter(|_| name != "-");
        let file_name = file_name.map(|name| ForeignText::of(name).to_string());
        Wasm { name: name.to_owned(), file_name, ..self }
    }

    /// Returns the name of the task in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the hash of the wasm.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Returns the hash of the wasm and of what is called before its first item, by which journals know it.
    pub fn hash_for(&self, call: &TaskCall) -> String {
        ArtifactKey::of(call).hash(self)
    }

    /// Returns the wasm.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

fn unreadable(task: String, e: io::Error) -> Error {
    TaskError::Unreadable { task, source: Arc::new(e) }.into()
}

/// The properties that an artifact depends on besides the wasm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactKey {
    /// The leanest profile that suffices.
    pub profile: EngineProfile,
    /// The sandbox mode of the compile process.
    pub sandbox: SandboxMode,
    /// The `init` call after which the snapshot is taken.
    pub init: Option<InitCall>,
}

impl ArtifactKey {
    pub fn of(call: &TaskCall) -> ArtifactKey {
        // An instance that serves all items of a worker runs its `init` itself, and so does one that may reach
        // something granted. In a deterministic run, what `init` saw of the clock would be in the snapshot.
        let once = call.isolate != Isolate::Worker && call.given.is_empty() && !call.deterministic;
        let init = call.init.as_ref().filter(|_| once).map(|json| InitCall {
            json: json.clone(),
            memory: call.limits.memory,
            timeout: call.limits.timeout,
        });
        let profile = EngineProfile {
            fuel: call.limits.fuel.is_some(),
            deterministic: call.deterministic,
            ..EngineProfile::default()
        };
        ArtifactKey { profile, sandbox: call.sandbox, init }
    }

    /// Returns the hash of a task with what was done to it.
    fn hash(&self, wasm: &Wasm) -> String {
        match &self.init {
            Some(init) => init.hash(&wasm.hash),
            None => wasm.hash.clone(),
        }
    }
}

/// Finds or makes the artifact of a task. `program` is the binary of the compile process.
///
/// # Errors
///
/// [`Error::Task`] with what is wrong with the file, [`Error::Interrupted`] if the artifact is no longer wanted.
pub fn prepare(
    program: &ChildProgram,
    wasm: &Wasm,
    wanted: &ArtifactKey,
    cache: &ArtifactCache,
    fresh: bool,
    watch: &mut dyn CompileWatcher,
) -> Result<PreparedTask, Error> {
    let hash = wanted.hash(wasm);
    for profile in wanted.profile.all() {
        if !fresh && let Some((artifact, meta)) = cache.get(&hash, profile) {
            return Ok(PreparedTask { artifact, meta, hash, compiled: None, unkept: None });
        }
    }
    let start = Instant::now();
    let request = CompileRequest {
        file: wasm.file_name.clone(),
        ..CompileRequest::new(wanted.profile, wanted.sandbox, wanted.init.clone())
    };
    let (artifact, meta) = compile(program, wasm, &request, watch)?;
    let compiled = Some(start.elapsed());
    let kept = match meta.init {
        Some(InitOnce::SnapshotOfNow) => Err(CacheError::OfThisRun),
        _ => cache.put(&hash, &artifact, &meta),
    };
    Ok(PreparedTask { artifact: artifact.into(), meta, hash, compiled, unkept: kept.err() })
}

fn copy(source: &mut dyn Read) -> io::Result<(File, String)> {
    let mut wasm = patiently(None, || wasmpool_ipc::memfd::create(c"wasmpool-task"))?;
    let mut hasher = blake3::Hasher::new();
    if hashed::copy(&mut source.take(MOST_WASM + 1), &mut wasm, &mut hasher)? > MOST_WASM {
        return Err(io::Error::other(format!("it is larger than {}", bytes_said(MOST_WASM))));
    }
    wasmpool_ipc::memfd::seal(&wasm)?;
    Ok((wasm, hasher.finalize().to_hex().to_string()))
}

/// The reason why there is no artifact, and whether another try may give one.
struct CompileFailure {
    why: Error,
    again: CompileRetry,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CompileRetry {
    Never,
    /// A resource is lacking that may soon be available.
    Room,
    /// Somebody killed the process, most often the kernel for lack of memory.
    Killed,
}

impl From<Error> for CompileFailure {
    fn from(why: Error) -> CompileFailure {
        let again = if scarce::ResourceShortage::passes(&why) { CompileRetry::Room } else { CompileRetry::Never };
        CompileFailure { why, again }
    }
}

impl CompileFailure {
    /// Makes the failure for a system that refuses something that compiling this task needs.
    fn of_system(task: &str, e: io::Error) -> CompileFailure {
        let again = if passes(&e) { CompileRetry::Room } else { CompileRetry::Never };
        let why = TaskError::Uncompiled { task: task.to_owned(), source: Arc::new(e) };
        CompileFailure { why: why.into(), again }
    }
}

/// Number of times that the process may be killed: compiling takes long, and a task that needs more memory than there
/// is would fail each time.
const MOST_KILLS: u32 = 3;

/// Runs the compile process, again if it failed for a reason that may pass, as starts of workers are tried again.
fn compile(
    program: &ChildProgram,
    wasm: &Wasm,
    request: &CompileRequest,
    watch: &mut dyn CompileWatcher,
) -> Result<(File, ArtifactMeta), Error> {
    let (mut kills, mut since, mut told) = (0, None, false);
    for failures in 1.. {
        let CompileFailure { why, again } = match compile_once(program, wasm, request, watch) {
            Ok(done) => return Ok(done),
            Err(lack) => lack,
        };
        kills += u32::from(again == CompileRetry::Killed);
        let lasts = since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE;
        let ends = match again {
            CompileRetry::Never => true,
            CompileRetry::Room => lasts,
            CompileRetry::Killed => kills >= MOST_KILLS,
        };
        if ends {
            return Err(why);
        }
        // A single failure may be chance.
        if failures > 1 && !std::mem::replace(&mut told, true) {
            watch.again(&why);
        }
        if scarce::wait(pause(failures), watch.stop()) {
            return Err(Error::Interrupted);
        }
    }
    Err(Error::Interrupted)
}

/// Runs the compile process once.
fn compile_once(
    program: &ChildProgram,
    wasm: &Wasm,
    request: &CompileRequest,
    watch: &mut dyn CompileWatcher,
) -> Result<(File, ArtifactMeta), CompileFailure> {
    let task = wasm.name();
    let failed = |e| CompileFailure::of_system(task, e);
    let asked = wasmpool_ipc::memfd::of_json(c"wasmpool-request", request).map_err(failed)?;
    let artifact = wasmpool_ipc::memfd::create(c"wasmpool-artifact").map_err(failed)?;
    let reply = wasmpool_ipc::memfd::create(c"wasmpool-reply").map_err(failed)?;
    let (control, theirs) = Control::pair().map_err(failed)?;
    let compiling = Compiling::begins();
    let child = spawn::start(program, spawn::ChildRole::Compile, theirs).map_err(Error::spawn)?;
    match control.send(&BeginCompile, &[asked.as_fd(), wasm.file.as_fd(), artifact.as_fd(), reply.as_fd()]) {
        // The process has ended: its exit status is read below.
        Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
        sent => sent.map_err(failed)?,
    }
    let waited = wait(&child, watch);
    watch.compiled();
    // A process that still runs is killed when `child` is dropped.
    let status = match waited.map_err(failed)? {
        ChildWait::Ended(status) => status,
        ChildWait::Late => {
            let late = TaskError::CompileTimeout { task: task.to_owned(), seconds: TIMEOUT.as_secs() };
            return Err(Error::from(late).into());
        }
        ChildWait::Stopped => return Err(Error::Interrupted.into()),
    };
    let ended = || CompileFailure {
        why: Error::from(match sandbox::why_compiling_ended(status) {
            Some(limit) => TaskError::CompileLimit { task: task.to_owned(), limit },
            None => TaskError::CompilerEnded { task: task.to_owned(), end: status },
        }),
        again: if status.signal() == Some(libc::SIGKILL) { CompileRetry::Killed } else { CompileRetry::Never },
    };
    match control.receive::<CompilerEntry>(true) {
        Ok(Incoming::Message(CompilerEntry::Entered)) => {}
        Ok(Incoming::Message(CompilerEntry::Unprotected(message))) => return Err(Error::Sandbox(message).into()),
        Ok(Incoming::Message(CompilerEntry::Unable { why, errno })) => return Err(unable(&why, errno)),
        _ => return Err(ended()),
    }
    match read_reply(reply, request.profile).map_err(failed)? {
        Some(CompileReply::Compiled(meta)) => {
            wasmpool_ipc::memfd::seal(&artifact).map_err(failed)?;
            compiling.made(artifact.metadata().map_err(failed)?.len());
            Ok((artifact, *meta))
        }
        Some(CompileReply::Refused(why)) => Err(Error::from(TaskError::Refused { task: task.to_owned(), why }).into()),
        Some(CompileReply::Unable { why, errno }) => Err(unable(&why, errno)),
        #[cfg(feature = "probes")]
        Some(CompileReply::Probed(_)) => Err(ended()),
        None => Err(ended()),
    }
}

/// Makes the error for a machine on which nothing can be compiled, from the compile process's reason and the system's
/// error.
fn unable(why: &str, errno: Option<i32>) -> CompileFailure {
    let error = errno.map(io::Error::from_raw_os_error);
    let again = if error.as_ref().is_some_and(passes) { CompileRetry::Room } else { CompileRetry::Never };
    let error = error.map(|error| format!(": {}", error_with_limit(&error))).unwrap_or_default();
    CompileFailure { why: Error::from(io::Error::other(format!("{}{error}", ForeignText::of(why)))), again }
}

/// Reads the compile process's answer. Returns `None` for one that no honest process gives when asked for this profile.
fn read_reply(mut reply: File, asked: EngineProfile) -> io::Result<Option<CompileReply>> {
    let mut bytes = Vec::new();
    reply.seek(SeekFrom::Start(0))?;
    reply.take(MOST_REPLY).read_to_end(&mut bytes)?;
    Ok(match serde_json::from_slice(&bytes) {
        // Workers set up their engine by the profile in the answer, which decides whether instructions are counted.
        Ok(CompileReply::Compiled(meta)) if !asked.all().contains(&meta.profile) => None,
        Ok(CompileReply::Refused(message)) => Some(CompileReply::Refused(brief(&message))),
        Ok(reply) => Some(reply),
        Err(_) => None,
    })
}

fn wait(child: &ChildProcess, watch: &mut dyn CompileWatcher) -> io::Result<ChildWait> {
    match child.wait_at_most(LONG, watch.stop())? {
        ChildWait::Late => {
            watch.compiling();
            child.wait_at_most(TIMEOUT - LONG, watch.stop())
        }
        other => Ok(other),
    }
}

/// Has a compile process run a probe; `Err` is how the process ended instead of answering, if it did.
#[cfg(feature = "probes")]
pub fn probe(
    probe: wasmpool_core::probe::Probe,
    mode: SandboxMode,
) -> io::Result<Result<wasmpool_core::probe::ProbeOutcome, Option<ChildEnd>>> {
    let wasm = wasmpool_ipc::memfd::create(c"wasm")?;
    let artifact = wasmpool_ipc::memfd::create(c"artifact")?;
    let mut reply = wasmpool_ipc::memfd::create(c"reply")?;
    let (control, theirs) = Control::pair()?;
    let child = spawn::start(&ChildProgram::Own, spawn::ChildRole::Compile, theirs)?;
    let request = CompileRequest { probe: Some(probe), ..CompileRequest::new(EngineProfile::default(), mode, None) };
    let request = wasmpool_ipc::memfd::of_json(c"request", &request)?;
    control.send(&BeginCompile, &[request.as_fd(), wasm.as_fd(), artifact.as_fd(), reply.as_fd()])?;
    let waited = child.wait_at_most(TIMEOUT, None)?;
    let mut text = String::new();
    reply.seek(SeekFrom::Start(0))?;
    reply.read_to_string(&mut text)?;
    match serde_json::from_str(&text) {
        Ok(CompileReply::Probed(outcome)) => Ok(Ok(outcome)),
        _ => Ok(Err(match waited {
            ChildWait::Ended(status) => Some(status),
            ChildWait::Late | ChildWait::Stopped => None,
        })),
    }
}
