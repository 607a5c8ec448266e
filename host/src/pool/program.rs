//! The binary that a pool starts as worker processes.
//!
//! A program that embeds the pool must not be started as a worker unless it is known to become one: it would run its
//! `main` again, which builds a pool, which starts workers, without end. So its own binary is used only after it has
//! called [`crate::worker_entry`], another binary has to answer with its version first, and a process that was started
//! as a worker never builds a pool.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::{AccessFlags, access};

use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_run::error::{Error, WorkerBinaryError};
use wasmpool_run::scarce::patiently;
use wasmpool_run::spawn::{self, ChildProgram, ChildRole, ChildWait};
use wasmpool_sandbox::surroundings::ChildEnd;

/// The name of the installed command.
const COMMAND: &str = "wasmpool";
/// The environment variable that names a worker binary, for programs whose own cannot be one, such as test harnesses.
const VARIABLE: &str = "WASMPOOL_WORKER_BINARY";
/// Time that a binary has to report its version. It takes a millisecond on a machine that is not overloaded.
const PATIENCE: Duration = Duration::from_secs(10);

/// True if [`crate::worker_entry`] was called in this process, so that its binary can serve as worker.
static OWN_BINARY: AtomicBool = AtomicBool::new(false);

/// The binaries that have reported this version, so that a program that starts many processes asks each once.
static ANSWERED: Mutex<BTreeSet<FileIdentity>> = Mutex::new(BTreeSet::new());

/// Device and number of a file, and when it was last changed: seconds, and nanoseconds.
type FileIdentity = (u64, u64, i64, i64);

fn identity(file: &File) -> io::Result<FileIdentity> {
    let about = file.metadata()?;
    Ok((about.dev(), about.ino(), about.ctime(), about.ctime_nsec()))
}

/// Records that this process's binary becomes a worker where it is started as one.
pub fn may_start_own_binary() {
    OWN_BINARY.store(true, Ordering::Relaxed);
}

/// Finds the worker binary: the one that was `given`, this program, the one the environment names, or the installed
/// command.
pub(super) fn find(given: Option<&Path>) -> Result<ChildProgram, Error> {
    if env::args_os().next().is_some_and(|mark| mark == spawn::MARK) {
        return Err(WorkerBinaryError::NoEntry.into());
    }
    if let Some(path) = given {
        return other(path);
    }
    if OWN_BINARY.load(Ordering::Relaxed) {
        return Ok(ChildProgram::Own);
    }
    if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return other(Path::new(&path));
    }
    match env::var_os("PATH").as_deref().and_then(installed) {
        Some(path) => other(&path),
        None => Err(WorkerBinaryError::None.into()),
    }
}

/// Returns true if both are the same binary.
pub(super) fn same(one: &ChildProgram, other: &ChildProgram) -> bool {
    match (one, other) {
        (ChildProgram::Own, ChildProgram::Own) => true,
        (ChildProgram::Other(one), ChildProgram::Other(other)) => {
            matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
        }
        _ => false,
    }
}

fn installed(path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|directory| directory.join(COMMAND))
        .find(|file| file.is_file() && access(file, AccessFlags::X_OK).is_ok())
}

/// Opens a binary, and checks the version that it reports.
fn other(path: &Path) -> Result<ChildProgram, Error> {
    let path = path.to_owned();
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(&path)
        .map_err(|e| WorkerBinaryError::Unopened { path: path.clone(), source: Arc::new(e) })?;
    let known = identity(&file).ok();
    let program = ChildProgram::Other(Arc::new(file));
    let mut answered = ANSWERED.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_some_and(|known| answered.contains(&known)) {
        return Ok(program);
    }
    let answer = ask(&program).map_err(|e| WorkerBinaryError::Unstarted { path: path.clone(), source: Box::new(e) })?;
    Err(match answer {
        VersionAnswer::Version(version) if version == env!("CARGO_PKG_VERSION") => {
            answered.extend(known);
            return Ok(program);
        }
        VersionAnswer::Version(version) => WorkerBinaryError::OtherVersion { path, version },
        VersionAnswer::Killed(end) => WorkerBinaryError::Killed { path, end },
        VersionAnswer::None => WorkerBinaryError::NoAnswer { path },
    }
    .into())
}

/// The answer of a binary that was asked for its version.
enum VersionAnswer {
    Version(String),
    /// Somebody ended it before it answered.
    Killed(ChildEnd),
    /// It did not answer as a `wasmpool` binary does.
    None,
}

/// Starts a binary and asks it for its version.
fn ask(program: &ChildProgram) -> Result<VersionAnswer, Error> {
    let (control, child) = patiently(None, || {
        let (control, theirs) = Control::pair()?;
        Ok::<_, Error>((control, spawn::start(program, ChildRole::Version, theirs).map_err(Error::spawn)?))
    })?;
    let ended = match child.wait_at_most(PATIENCE, None)? {
        ChildWait::Ended(ended) => ended,
        // Dropping the process kills it.
        ChildWait::Late | ChildWait::Stopped => return Ok(VersionAnswer::None),
    };
    Ok(match control.receive::<String>(true) {
        Ok(Incoming::Message(version)) => VersionAnswer::Version(version),
        _ if ended.sent_by_others() => VersionAnswer::Killed(ended),
        _ => VersionAnswer::None,
    })
}

/// Reports this binary's version to the process that asks for it.
pub fn tell_version(socket: OwnedFd) -> ExitCode {
    let told: io::Result<()> = Control::from_fd(socket).send(&env!("CARGO_PKG_VERSION"), &[]);
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
