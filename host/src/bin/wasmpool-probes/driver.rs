//! The program `wasmpool-probes`, as tests call it:
//!
//! - `try [--without LAYER,…] [--mode MODE] [--timers] [--compile] [--dir] [--scratch] [--peer] [--loading]
//!   [--free] [PROBE…]`: runs each probe in a real worker (or compile process) of its own, and prints a line of JSON
//!   for each. With `--free` it runs only probes that name system calls, and allows these calls.
//! - `orphan [--without LAYER,…]`: starts a worker that computes for ever, prints its process id, and waits to be
//!   killed.
//! - `cost N`: measures how long a worker takes from its start until it is ready, with the sandbox and without, N times
//!   each.
//! - `emulated [SETTING…] COMMAND…`: runs a command in other surroundings; see [`emulated::run`].
//! - `contained [--no-landlock] COMMAND…`: runs a command as if in a container.

use std::fs::File;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use wasmpool_run::tell;

use crate::contained;
use crate::emulated;
use wasmpool_core::artifact::EngineProfile;
use wasmpool_core::layer::Layer;
use wasmpool_core::policy::{SandboxMode, TaskCall};
use wasmpool_core::probe::{Probe, ProbeOutcome, ProbeTargets};
use wasmpool_core::setting::SettingNames;
use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_ipc::lane::host::HostLane;
use wasmpool_ipc::lane::life::WorkerMessage;
use wasmpool_ipc::messages::{StartWorker, WorkerSetup};
use wasmpool_run::compile::{self, ArtifactCache, ArtifactKey, PreparedTask, Unwatched, Wasm};
use wasmpool_run::grants::{DirectoryGrant, Grants, OpenedGrants, PeerGrant};
use wasmpool_run::spawn::{self, ChildProcess, ChildProgram, ChildRole};
use wasmpool_sandbox::probes::list::{Attempt, ProbeRefusal, all};
use wasmpool_sandbox::probes::{FOR_EVER, LEAKED, WITHOUT, layers};
use wasmpool_sandbox::surroundings::ChildEnd;

type Error = Box<dyn std::error::Error>;

const PLAIN: &str = r#"(module (func (export "f") (param i64) (result i64) (local.get 0)))"#;
const WITH_WASI: &str = r#"(module
    (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
    (memory (export "memory") 1)
    (func (export "f") (param i64) (result i64) (local.get 0)))"#;

pub fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tell!("wasmpool-probes: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The options in front of the names of probes.
struct Options {
    without: String,
    mode: SandboxMode,
    timers: bool,
    compile: bool,
    landlock: bool,
    /// True if a writable directory is granted; `scratch` and `peer` likewise.
    directory: bool,
    scratch: bool,
    peer: bool,
    loading: bool,
    free: bool,
    rest: Vec<String>,
}

fn options(arguments: &[String]) -> Result<Options, Error> {
    let mut options = Options {
        without: String::new(),
        mode: SandboxMode::Strict,
        timers: false,
        compile: false,
        landlock: true,
        directory: false,
        scratch: false,
        peer: false,
        loading: false,
        free: false,
        rest: Vec::new(),
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--without" => options.without = words.next().cloned().unwrap_or_default(),
            "--mode" => options.mode = mode_of(words.next().map_or("", |w| w))?,
            "--timers" => options.timers = true,
            "--compile" => options.compile = true,
            "--dir" => options.directory = true,
            "--scratch" => options.scratch = true,
            "--peer" => options.peer = true,
            "--loading" => options.loading = true,
            "--free" => options.free = true,
            "--no-landlock" => options.landlock = false,
            _ => {
                options.rest.push(word.clone());
                options.rest.extend(words.by_ref().cloned());
            }
        }
    }
    Ok(options)
}

fn run(arguments: &[String]) -> Result<(), Error> {
    let (command, rest) = arguments.split_first().ok_or("name a command: try, orphan, cost, contained, emulated")?;
    if command == "emulated" {
        return emulated::run(rest);
    }
    let options = options(rest)?;
    // SAFETY: no other thread runs yet.
    unsafe {
        std::env::set_var(WITHOUT, &options.without);
        // An empty path turns the cache off.
        std::env::set_var("WASMPOOL_CACHE_DIR", "");
    }
    match command.as_str() {
        "try" => try_all(&options),
        "orphan" => orphan(&options),
        "cost" => cost(options.rest.first().and_then(|n| n.parse().ok()).unwrap_or(200)),
        "contained" => contained::run(options.landlock, &options.rest),
        _ => Err("there is no such command".into()),
    }
}

/// A worker that was started and was given its task.
struct Worker {
    child: ChildProcess,
    control: Control,
    _lane: HostLane,
}

impl Worker {
    /// Receives the worker's message that it has entered the sandbox.
    fn receive_after_entry(&self) -> io::Result<Incoming<WorkerMessage>> {
        match self.control.receive(false)? {
            Incoming::Message(WorkerMessage::Entered { .. }) => self.control.receive(false),
            other => Ok(other),
        }
    }
}

fn mode_of(name: &str) -> Result<SandboxMode, Error> {
    match name {
        "strict" => Ok(SandboxMode::Strict),
        "best-effort" => Ok(SandboxMode::BestEffort),
        "off" => Ok(SandboxMode::Off),
        _ => Err(format!("there is no mode {name}").into()),
    }
}

fn start(
    prepared: &PreparedTask,
    mode: SandboxMode,
    grants: &OpenedGrants,
    probe: Option<Probe>,
) -> Result<Worker, Error> {
    let call = TaskCall { sandbox: mode, given: grants.given.clone(), ..TaskCall::default() };
    // Without namespaces, a worker must not enter them early. While it loads, both ways are the same, so the other one
    // is tried there.
    let early = probe.as_ref().is_none_or(|probe| !probe.loading && !probe.without.contains(&Layer::Namespaces));
    let outside = call.given.scratch.is_some() || !call.given.ports().is_empty() || mode == SandboxMode::Off;
    let role = if early && !outside { ChildRole::SecludedWorker } else { ChildRole::Worker };
    let setup = wasmpool_ipc::memfd::of_json(
        c"setup",
        &WorkerSetup {
            meta: prepared.meta.clone(),
            call,
            swap: wasmpool_sandbox::surroundings::has_swap(),
            restoring: Default::default(),
            names: SettingNames::of_this_process(),
            probe,
        },
    )?;
    let (control, theirs) = Control::pair()?;
    let (lane, fd) = HostLane::create(1 << 20)?;
    let child = spawn::start(&spawn::ChildProgram::Own, role, theirs)?;
    let mut fds = vec![fd.as_fd(), prepared.artifact.as_fd(), setup.as_fd()];
    fds.extend(grants.directories.iter().map(AsFd::as_fd));
    control.send(&StartWorker, &fds)?;
    Ok(Worker { child, control, _lane: lane })
}

fn ready(prepared: &PreparedTask, mode: SandboxMode) -> Result<Worker, Error> {
    let worker = start(prepared, mode, &OpenedGrants::default(), None)?;
    match worker.receive_after_entry()? {
        Incoming::Message(WorkerMessage::Ready { .. }) => Ok(worker),
        other => Err(format!("the worker did not become ready: {other:?}").into()),
    }
}

fn prepare(directory: &std::path::Path, text: &str, mode: SandboxMode) -> Result<PreparedTask, Error> {
    let path = directory.join("task.wat");
    std::fs::write(&path, text)?;
    let wanted = ArtifactKey { profile: EngineProfile::default(), sandbox: mode, init: None };
    Ok(compile::prepare(
        &ChildProgram::Own,
        &Wasm::of_file(&path)?,
        &wanted,
        &ArtifactCache::of_user(),
        true,
        &mut Unwatched,
    )?)
}

fn try_all(options: &Options) -> Result<(), Error> {
    let directory = tempfile::tempdir()?;
    // Writable for everybody, whatever the umask is.
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777))?;
    let mode = options.mode;
    let prepared = prepare(directory.path(), if options.timers { WITH_WASI } else { PLAIN }, mode)?;
    let sibling = ready(&prepared, mode)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let abstract_socket = format!("wasmpool-probes-{}", std::process::id());
    let _unix = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_socket)?)?;
    let _leaked = leak(directory.path())?;
    let targets = ProbeTargets {
        host: std::process::id().cast_signed(),
        sibling: sibling.child.pid().cast_signed(),
        port: listener.local_addr()?.port(),
        abstract_socket,
        directory: directory.path().display().to_string(),
    };
    let grants = grants(options, directory.path())?;
    let named = |name: &str| options.rest.is_empty() || options.rest.iter().any(|w| w == name);
    let wanted = |attempt: &Attempt| named(attempt.name) && (!options.free || !attempt.calls.is_empty());
    let mut out = io::stdout().lock();
    for attempt in all().filter(|attempt| wanted(attempt)) {
        std::fs::write(directory.path().join("victim"), "")?;
        let without = layers(&options.without);
        let free = if options.free { attempt.calls.to_vec() } else { Vec::new() };
        let loading = options.loading;
        let probe = Probe { name: attempt.name.to_owned(), without, free, loading, targets: targets.clone() };
        let answer = if options.compile {
            let how = |end: Option<ChildEnd>| end.map(|end| end.to_string()).unwrap_or_default();
            compile::probe(probe, mode)?.map_err(how)
        } else {
            ask_worker(&prepared, mode, &grants, probe)?
        };
        let (outcome, detail) = match answer {
            Ok(ProbeOutcome::Succeeded) => ("succeeded", String::new()),
            Ok(ProbeOutcome::Refused(why)) => ("refused", why),
            Err(end) if end.contains("SIGSYS") => ("killed", end),
            // The process became another program, or ended in some other way that must not happen.
            Err(end) => ("succeeded", end),
        };
        let expected = match attempt.refusal {
            ProbeRefusal::Killed => "killed",
            ProbeRefusal::Fails => "refused",
        };
        let line = serde_json::json!({
            "probe": attempt.name, "outcome": outcome, "detail": detail, "expected": expected
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Returns the grants: a directory beside the one that is attacked, and a peer on whose port nobody listens.
fn grants(options: &Options, beside: &std::path::Path) -> Result<OpenedGrants, Error> {
    let mut grants = Grants::default();
    if options.directory {
        let host = beside.join("granted");
        std::fs::create_dir(&host)?;
        grants.directories.push(DirectoryGrant { host, guest: "/granted".to_owned(), writable: true });
    }
    grants.scratch = options.scratch.then(|| "/scratch".to_owned());
    if options.peer {
        grants.peers.push(PeerGrant { host: "127.0.0.1".to_owned(), port: 9 });
    }
    Ok(grants.open(&ArtifactCache::of_user())?)
}

/// Runs a probe in a worker and returns its outcome; `Err` describes how the worker ended instead of answering.
fn ask_worker(
    prepared: &PreparedTask,
    mode: SandboxMode,
    grants: &OpenedGrants,
    probe: Probe,
) -> Result<Result<ProbeOutcome, String>, Error> {
    let worker = start(prepared, mode, grants, Some(probe))?;
    match worker.receive_after_entry()? {
        Incoming::Message(WorkerMessage::Probed(outcome)) => Ok(Ok(outcome)),
        Incoming::Closed => Ok(Err(worker.child.reap().to_string())),
        other => Err(format!("the worker answered something else: {other:?}").into()),
    }
}

/// Leaves a file open for children to inherit, as careless programs do.
fn leak(directory: &std::path::Path) -> Result<OwnedFd, Error> {
    std::fs::write(directory.join("secret"), "a secret")?;
    let file = File::open(directory.join("secret"))?;
    // SAFETY: no descriptor of this program has this number.
    Ok(unsafe { nix::unistd::dup2_raw(&file, LEAKED)? })
}

fn orphan(options: &Options) -> Result<(), Error> {
    let directory = tempfile::tempdir()?;
    let prepared = prepare(directory.path(), PLAIN, options.mode)?;
    drop(directory);
    let probe = Probe { name: FOR_EVER.to_owned(), without: layers(&options.without), ..Probe::default() };
    let worker = start(&prepared, options.mode, &OpenedGrants::default(), Some(probe))?;
    // The worker reports that it entered the sandbox before it computes, and would end if nobody received that.
    worker.control.receive::<WorkerMessage>(false)?;
    writeln!(io::stdout(), "{}", worker.child.pid())?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(())
}

fn cost(times: usize) -> Result<(), Error> {
    let directory = tempfile::tempdir()?;
    for (name, text) in [("plain", PLAIN), ("timers", WITH_WASI)] {
        let prepared = prepare(directory.path(), text, SandboxMode::Strict)?;
        let mut taken = [(SandboxMode::Off, Vec::new()), (SandboxMode::Strict, Vec::new())];
        for _ in 0..times {
            for (mode, taken) in &mut taken {
                let start = Instant::now();
                let worker = ready(&prepared, *mode)?;
                taken.push(start.elapsed());
                drop(worker);
            }
        }
        let [off, strict] = taken.map(|(_, taken)| median(taken));
        let line = serde_json::json!({
            "task": name, "off_us": off.as_micros() as u64, "strict_us": strict.as_micros() as u64, "times": times
        });
        writeln!(io::stdout(), "{line}")?;
    }
    Ok(())
}

fn median(mut taken: Vec<Duration>) -> Duration {
    taken.sort();
    taken.get(taken.len() / 2).copied().unwrap_or_default()
}
