//! Compiles wasm to machine code in a process of its own: the host never looks inside a module.
//!
//! [`prepare`] takes a task and returns its artifact in a sealed memfd: from the cache, or made by a compile process
//! that gets the wasm in one memfd and writes the artifact into another.

mod cache;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use cache::Cache;

use crate::cgroup::Compiling;
use crate::error::Error;
use crate::hashed;
use crate::scarce::{self, passes, patiently};
use crate::spawn::{self, Child, Program, Waited};
use crate::stdio::Stdin;
use wasmpool_core::artifact::{InitOnce, Meta, Profile};
use wasmpool_core::policy::{Call, Isolate, SandboxMode};
use wasmpool_core::text::bytes_said;
use wasmpool_core::text::{Foreign, brief};
use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_ipc::messages::{Begin, Entry, Init, Reply, Request};
use wasmpool_sandbox as sandbox;
use wasmpool_sandbox::surroundings::told;
use wasmpool_scheduler::{PATIENCE, pause};

/// A compiled task.
#[derive(Debug)]
pub struct Prepared {
    /// The artifact, in memory that is sealed against writing.
    pub artifact: OwnedFd,
    pub meta: Meta,
    /// The hash of the wasm and of the argument of `init`.
    pub hash: String,
    /// Time that compiling took just now; `None` if the artifact was in the cache.
    pub compiled: Option<Duration>,
    /// The reason why the cache did not keep a new artifact, if it did not.
    pub unkept: Option<String>,
}

/// An observer that waits for a task to be compiled.
pub trait Watch {
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

impl Watch for Unwatched {
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
        let name = Foreign::of(path).to_string();
        let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
            true => Err(io::Error::other("it is a directory; name a .wasm or .wat file")),
            false => Ok(file),
        });
        match opened {
            Ok(mut file) => Wasm::read(&mut file, name),
            Err(e) => Err(unreadable(&name, &e)),
        }
    }

    /// Takes bytes that are in memory.
    pub fn of_bytes(mut bytes: &[u8]) -> Result<Wasm, Error> {
        Wasm::read(&mut bytes, "the task".to_owned())
    }

    /// Copies the source into sealed memory, and hashes it on the way.
    fn read(source: &mut dyn Read, name: String) -> Result<Wasm, Error> {
        match copy(source) {
            Ok((file, hash)) => Ok(Wasm { file: Arc::new(file), hash, name }),
            Err(e) => Err(unreadable(&name, &e)),
        }
    }

    /// Returns the name of the task in messages.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn unreadable(name: &str, e: &io::Error) -> Error {
    Error::Task(format!("cannot read the task {name}: {}", told(e)))
}

/// The properties that an artifact depends on besides the wasm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The leanest profile that suffices.
    pub profile: Profile,
    /// The sandbox mode of the compile process.
    pub sandbox: SandboxMode,
    /// The `init` call after which the snapshot is taken.
    pub init: Option<Init>,
}

impl Wanted {
    pub fn of(call: &Call) -> Wanted {
        // An instance that serves all items of a worker runs its `init` itself, and so does one that may reach
        // something granted. In a deterministic run, what `init` saw of the clock would be in the snapshot.
        let once = call.isolate != Isolate::Worker && call.given.is_empty() && !call.deterministic;
        let init = call.init.as_ref().filter(|_| once).map(|json| Init {
            json: json.clone(),
            memory: call.limits.memory,
            timeout: call.limits.timeout,
        });
        let profile =
            Profile { fuel: call.limits.fuel.is_some(), deterministic: call.deterministic, ..Profile::default() };
        Wanted { profile, sandbox: call.sandbox, init }
    }
}

/// Finds or makes the artifact of a task. `program` is the binary of the compile process.
///
/// # Errors
///
/// [`Error::Task`] with what is wrong with the file, [`Error::Interrupted`] if the artifact is no longer wanted.
pub fn prepare(
    program: &Program,
    wasm: &Wasm,
    wanted: &Wanted,
    cache: &Cache,
    fresh: bool,
    watch: &mut dyn Watch,
) -> Result<Prepared, Error> {
    let hash = match &wanted.init {
        Some(init) => init.hash(&wasm.hash),
        None => wasm.hash.clone(),
    };
    for profile in wanted.profile.all() {
        if !fresh && let Some((artifact, meta)) = cache.get(&hash, profile) {
            return Ok(Prepared { artifact, meta, hash, compiled: None, unkept: None });
        }
    }
    let start = Instant::now();
    let request = Request::new(wanted.profile, wanted.sandbox, wanted.init.clone());
    let (artifact, meta) = compile(program, &wasm.file, &request, watch).map_err(|e| match e {
        Error::Task(message) => Error::Task(format!("{}: {message}", wasm.name)),
        other => other,
    })?;
    let compiled = Some(start.elapsed());
    let kept = match meta.init {
        Some(InitOnce::SnapshotOfNow) => Err("its init saw what may be otherwise in another run".to_owned()),
        _ => cache.put(&hash, &artifact, &meta),
    };
    Ok(Prepared { artifact: artifact.into(), meta, hash, compiled, unkept: kept.err() })
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
struct Lack {
    why: Error,
    again: Again,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Never,
    /// A resource is lacking that may soon be available.
    Room,
    /// Somebody killed the process, most often the kernel for lack of memory.
    Killed,
}

impl From<Error> for Lack {
    fn from(why: Error) -> Lack {
        let again = if scarce::Lack::passes(&why) { Again::Room } else { Again::Never };
        Lack { why, again }
    }
}

impl From<io::Error> for Lack {
    fn from(e: io::Error) -> Lack {
        let again = if passes(&e) { Again::Room } else { Again::Never };
        Lack { why: Error::Task(format!("cannot compile it: {}", told(&e))), again }
    }
}

/// Number of times that the process may be killed: compiling takes long, and a task that needs more memory than there
/// is would fail each time.
const MOST_KILLS: u32 = 3;

/// Runs the compile process, again if it failed for a reason that may pass, as starts of workers are tried again.
fn compile(program: &Program, wasm: &File, request: &Request, watch: &mut dyn Watch) -> Result<(File, Meta), Error> {
    let (mut kills, mut since, mut told) = (0, None, false);
    for failures in 1.. {
        let Lack { why, again } = match compile_once(program, wasm, request, watch) {
            Ok(done) => return Ok(done),
            Err(lack) => lack,
        };
        kills += u32::from(again == Again::Killed);
        let lasts = since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE;
        let ends = match again {
            Again::Never => true,
            Again::Room => lasts,
            Again::Killed => kills >= MOST_KILLS,
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
    program: &Program,
    wasm: &File,
    request: &Request,
    watch: &mut dyn Watch,
) -> Result<(File, Meta), Lack> {
    let asked = wasmpool_ipc::memfd::of_json(c"wasmpool-request", request)?;
    let artifact = wasmpool_ipc::memfd::create(c"wasmpool-artifact")?;
    let reply = wasmpool_ipc::memfd::create(c"wasmpool-reply")?;
    let (control, theirs) = Control::pair()?;
    let compiling = Compiling::begins();
    let child = spawn::start(program, spawn::Role::Compile, theirs).map_err(Error::spawn)?;
    match control.send(&Begin, &[asked.as_fd(), wasm.as_fd(), artifact.as_fd(), reply.as_fd()]) {
        // The process has ended: its exit status is read below.
        Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
        sent => sent?,
    }
    let waited = wait(&child, watch);
    watch.compiled();
    // A process that still runs is killed when `child` is dropped.
    let status = match waited? {
        Waited::Ended(status) => status,
        Waited::Late => {
            let late = format!("compiling it took longer than {} s and was ended", TIMEOUT.as_secs());
            return Err(Error::Task(late).into());
        }
        Waited::Stopped => return Err(Error::Interrupted.into()),
    };
    let ended = || Lack {
        why: Error::Task(match sandbox::why_compiling_ended(status) {
            Some(why) => format!("compiling it {why}"),
            None => format!("the compile process ended without an answer ({status})"),
        }),
        again: if status.signal() == Some(libc::SIGKILL) { Again::Killed } else { Again::Never },
    };
    match control.receive::<Entry>(true) {
        Ok(Incoming::Message(Entry::Entered)) => {}
        Ok(Incoming::Message(Entry::Unprotected(message))) => return Err(Error::Sandbox(message).into()),
        Ok(Incoming::Message(Entry::Unable { why, errno })) => return Err(unable(&why, errno)),
        _ => return Err(ended()),
    }
    match read_reply(reply, request.profile)? {
        Some(Reply::Compiled(meta)) => {
            wasmpool_ipc::memfd::seal(&artifact)?;
            compiling.made(artifact.metadata()?.len());
            Ok((artifact, meta))
        }
        Some(Reply::Refused(message)) => Err(Error::Task(message).into()),
        Some(Reply::Unable { why, errno }) => Err(unable(&why, errno)),
        #[cfg(feature = "probes")]
        Some(Reply::Probed(_)) => Err(Error::Task("it was only probed".to_owned()).into()),
        None => Err(ended()),
    }
}

/// Makes the error for a machine on which nothing can be compiled, from the compile process's reason and the system's
/// error.
fn unable(why: &str, errno: Option<i32>) -> Lack {
    let error = errno.map(io::Error::from_raw_os_error);
    let again = if error.as_ref().is_some_and(passes) { Again::Room } else { Again::Never };
    let error = error.map(|error| format!(": {}", told(&error))).unwrap_or_default();
    Lack { why: Error::from(io::Error::other(format!("{}{error}", Foreign::of(why)))), again }
}

/// Reads the compile process's answer. Returns `None` for one that no honest process gives when asked for this profile.
fn read_reply(mut reply: File, asked: Profile) -> io::Result<Option<Reply>> {
    let mut bytes = Vec::new();
    reply.seek(SeekFrom::Start(0))?;
    reply.take(MOST_REPLY).read_to_end(&mut bytes)?;
    Ok(match serde_json::from_slice(&bytes) {
        // Workers set up their engine by the profile in the answer, which decides whether instructions are counted.
        Ok(Reply::Compiled(meta)) if !asked.all().contains(&meta.profile) => None,
        Ok(Reply::Refused(message)) => Some(Reply::Refused(brief(&message))),
        Ok(reply) => Some(reply),
        Err(_) => None,
    })
}

fn wait(child: &Child, watch: &mut dyn Watch) -> io::Result<Waited> {
    match child.wait_at_most(LONG, watch.stop())? {
        Waited::Late => {
            watch.compiling();
            child.wait_at_most(TIMEOUT - LONG, watch.stop())
        }
        other => Ok(other),
    }
}

/// Has a compile process run a probe; `Err` describes how the process ended instead of answering.
#[cfg(feature = "probes")]
pub fn probe(
    probe: wasmpool_core::probe::Probe,
    mode: SandboxMode,
) -> io::Result<Result<wasmpool_core::probe::Outcome, String>> {
    let wasm = wasmpool_ipc::memfd::create(c"wasm")?;
    let artifact = wasmpool_ipc::memfd::create(c"artifact")?;
    let mut reply = wasmpool_ipc::memfd::create(c"reply")?;
    let (control, theirs) = Control::pair()?;
    let child = spawn::start(&Program::Own, spawn::Role::Compile, theirs)?;
    let request = Request { probe: Some(probe), ..Request::new(Profile::default(), mode, None) };
    let request = wasmpool_ipc::memfd::of_json(c"request", &request)?;
    control.send(&Begin, &[request.as_fd(), wasm.as_fd(), artifact.as_fd(), reply.as_fd()])?;
    let waited = child.wait_at_most(TIMEOUT, None)?;
    let mut text = String::new();
    reply.seek(SeekFrom::Start(0))?;
    reply.read_to_string(&mut text)?;
    match serde_json::from_str(&text) {
        Ok(Reply::Probed(outcome)) => Ok(Ok(outcome)),
        _ => Ok(Err(match waited {
            Waited::Ended(status) => status.to_string(),
            Waited::Late | Waited::Stopped => String::new(),
        })),
    }
}
