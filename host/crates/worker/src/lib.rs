//! The worker process: it loads one task, runs items one at a time, and answers.
//!
//! It is the host's own binary, started with an empty environment and nothing but one end of a socket. It lives as long
//! as the socket does.

mod added;
pub mod compiler;
pub mod doctor;
pub mod engine;
mod exports;
mod handles;
#[cfg(feature = "probes")]
mod hostile;
mod init;
mod load;
mod numbers;
mod pages;
mod place;
mod pristine;
mod restore;
pub mod restored;
mod run;
mod savings;
mod scratch;
mod serve;
#[cfg(test)]
mod tests;
mod texts;
mod told;
mod trace;
pub mod value;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

pub use init::{InitError, InitialisedTask, initialise};
pub use load::LoadError;
use restore::Restorer;
use scratch::Scratch;
use wasmpool_core::artifact::Renewal;
use wasmpool_core::chain::with_sources;
use wasmpool_core::policy::Isolate;
use wasmpool_core::share::{ObjectForm, SharedGrants};
pub use wasmpool_imports::link::imports_async;
use wasmpool_imports::state::OutputCapture;
pub use wasmpool_imports::state::StoreState;
use wasmpool_imports::wasi::Wasi;
use wasmpool_ipc::cells::Cells;
use wasmpool_ipc::channel::ChannelParts;
use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_ipc::lane::control::Control;
use wasmpool_ipc::lane::life::WorkerMessage;
use wasmpool_ipc::lane::worker::WorkerLane;
use wasmpool_ipc::messages::{Restoring, StartWorker, WorkerSetup};
use wasmpool_sandbox::surroundings;
use wasmpool_sandbox::{self as sandbox, SandboxError, SandboxPlan, Seclusion};
use wasmpool_shared::{Objects, RemoteObjects, SharedObjects};

/// Runs the worker on the socket it was given.
pub fn run(socket: OwnedFd) -> ExitCode {
    run_after(socket, None)
}

/// Does the same for a worker whose task is granted neither a peer nor a scratch directory: it enters its namespaces
/// before it waits for the task. That takes half a millisecond, in which the host does other things.
pub fn run_secluded(socket: OwnedFd) -> ExitCode {
    match sandbox::seclude() {
        Ok(seclusion) => run_after(socket, Some(seclusion)),
        // The host has ended.
        Err(_) => ExitCode::SUCCESS,
    }
}

fn run_after(socket: OwnedFd, seclusion: Option<Seclusion>) -> ExitCode {
    // The socket is used as long as the process lives.
    match serve(Box::leak(Box::new(Control::from_fd(socket))), seclusion) {
        // A worker normally ends because the host has gone away.
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

fn serve(control: &'static Control, seclusion: Option<Seclusion>) -> io::Result<()> {
    let Some((StartWorker, fds)) = control.receive_descriptors()? else {
        return Ok(());
    };
    let mut fds = fds.into_iter();
    let (Some(lane), Some(artifact), Some(setup)) = (fds.next(), fds.next(), fds.next()) else {
        return Err(io::Error::other("the host sent fewer descriptors than a worker needs"));
    };
    let lane = WorkerLane::map(&lane)?;
    let mut setup: WorkerSetup = wasmpool_ipc::memfd::read_json(setup)?;
    std::mem::take(&mut setup.names).adopt();
    let shared = Arc::new(shared(&setup.call.given.shared, &mut fds, lane.asks())?);
    // Granted directories stay open as long as the process lives.
    let directories: &'static [OwnedFd] = Vec::leak(fds.collect());
    let failed = |e: LoadError| {
        let message = shorten(with_sources(&e));
        let message = match e {
            LoadError::Artifact(_) => WorkerMessage::BadArtifact(message),
            _ => WorkerMessage::Unusable(message),
        };
        control.send(&message, &[])
    };
    let unprotected = |e: SandboxError| control.send(&WorkerMessage::Unprotected(shorten(with_sources(&e))), &[]);
    if let Err(why) = surroundings::enough_to_run() {
        return failed(why.into());
    }
    // The engine reads nothing but settings. It opens what it needs of /proc before that goes away.
    let engine = match load::engine(&setup) {
        Ok(engine) => engine,
        Err(e) => return failed(e),
    };
    // Where it cannot be opened, each item gets a new instance.
    let pages = match (&setup.meta.renewal, setup.call.isolate, setup.restoring) {
        (Renewal::Anew(_), _, _) | (_, Isolate::Worker, _) | (_, _, Restoring::Off) => None,
        (Renewal::InPlace { .. }, _, _) => restore::page_map().ok(),
    };
    let plan = plan(&setup, directories);
    if seclusion.is_some() && (plan.openings.scratch.is_some() || !plan.openings.ports.is_empty()) {
        return Err(io::Error::other("the host has secluded a worker whose task is granted something outside"));
    }
    let mut sandbox = match sandbox::enter_loading(SandboxPlan { seclusion, ..plan }) {
        Ok(sandbox) => sandbox,
        Err(e) => return unprotected(e),
    };
    control.send(&WorkerMessage::Entered { lacking: sandbox.lacking() }, &[])?;
    #[cfg(feature = "probes")]
    if let Some(probe) = setup.probe.as_ref().filter(|probe| probe.loading) {
        return control.send(&WorkerMessage::Probed(sandbox::probes::attempt(probe)), &[]);
    }
    let wasi = sandbox.take_scratch().map_err(LoadError::Scratch).and_then(|scratch| {
        let granted = directories.iter().map(AsFd::as_fd).chain(scratch.as_ref().map(AsFd::as_fd));
        let paths = granted.map(|directory| sandbox.path_of(directory));
        let [stdout, stderr] = lane.printed().map(OutputCapture::new);
        let wasi = Wasi::new(&setup.call, paths, [stdout, stderr.with_end()], Arc::clone(&shared))?;
        Ok((wasi, scratch.map(Scratch::new)))
    });
    let (wasi, scratch) = match wasi {
        Ok(wasi) => wasi,
        Err(e) => return failed(e),
    };
    let task = match load::load(engine, &sandbox.path_of(artifact.as_fd()), &artifact, &setup) {
        Ok(task) => task,
        // Such an error would occur with any task.
        Err(e) => match surroundings::executable_memory() {
            Err(why) => return failed(why.into()),
            Ok(()) => return failed(e),
        },
    };
    drop(artifact);
    let timers = if setup.meta.waits() { Some(timers(setup.call.given.writing())?) } else { None };
    let _entered = timers.as_ref().map(|runtime| runtime.enter());
    if let Err(e) = sandbox.enter_serving() {
        return unprotected(e);
    }
    #[cfg(feature = "probes")]
    if let Some(probe) = &setup.probe {
        return control.send(&WorkerMessage::Probed(sandbox::probes::attempt(probe)), &[]);
    }
    let memory = setup.meta.needs.map_or(0, |needs| needs.initial_memory.saturating_mul(needs.memories.into()));
    let mut task = task;
    let restorer = pages.zip(task.restore.take()).map(|(pages, way)| Restorer::new(pages, way, memory));
    let mut runner = run::Runner::new(task, setup.call.clone(), wasi, shared, scratch, restorer, control);
    if setup.restoring == Restoring::Verified {
        runner = runner.verified();
    }
    // An `init` that fails would fail for every item, so that is reported once, before anything runs.
    if setup.call.init.is_some() && !setup.call.only_checked {
        control.send(&WorkerMessage::Loaded { lacking: sandbox.lacking() }, &[])?;
        if let Err(mut failure) = runner.prepare() {
            return control.send(&WorkerMessage::Uninitialised(shorten(std::mem::take(&mut failure.message))), &[]);
        }
    }
    control.send(&WorkerMessage::Ready { lacking: sandbox.lacking() }, &[])?;
    serve::serve(lane, control, runner, &setup.call)
}

/// Opens the shared objects that were granted, whose descriptors come next. Their memory is mapped before the sandbox
/// refuses that.
fn shared(
    grants: &SharedGrants,
    fds: &mut impl Iterator<Item = OwnedFd>,
    asks: &'static AtomicU32,
) -> io::Result<SharedObjects> {
    let mut next =
        || fds.next().ok_or_else(|| io::Error::other("the host sent fewer descriptors than there are objects"));
    let channel = match grants.has_channel() {
        true => Some(ChannelClient::open(ChannelParts { memory: next()?, socket: next()? })?),
        false => None,
    };
    let mapped = grants.mapped().map(|grant| match grant.spec.form {
        ObjectForm::Array(of, len) => Cells::open(&next()?, of, len),
        ObjectForm::Value(of) => Cells::open(&next()?, of, 1),
        _ => Err(io::Error::other("an object is mapped that has no memory")),
    });
    let cells = mapped.collect::<io::Result<Vec<Cells>>>()?;
    let objects = channel.map(|channel| Box::new(RemoteObjects::new(channel, grants.remote, asks)) as Box<dyn Objects>);
    Ok(SharedObjects::new(grants.clone(), cells, objects))
}

fn plan(setup: &WorkerSetup, directories: &'static [OwnedFd]) -> SandboxPlan {
    let role = if setup.meta.waits() { sandbox::ProcessRole::WorkerWithTimers } else { sandbox::ProcessRole::Worker };
    let limits = &setup.call.limits;
    let given = &setup.call.given;
    let writable = given.directories.iter().map(|directory| directory.writable);
    let openings = sandbox::SandboxOpenings {
        directories: directories.iter().map(AsFd::as_fd).zip(writable).collect(),
        ports: given.ports(),
        scratch: given.scratch.as_ref().map(|_| limits.memory),
        owner: given.owner,
    };
    let limits = sandbox::ProcessLimits::of_worker(limits.memory, limits.max_output);
    // If the needs of an instance are known, its memory was reserved with the engine.
    let limits = if setup.meta.needs.is_some() { limits } else { limits.with_memories_on_demand() };
    let plan = SandboxPlan::new(setup.call.sandbox, role, limits, openings);
    #[cfg(feature = "probes")]
    let plan = plan.weakened(setup.probe.as_ref());
    plan
}

/// Starts the one thread that drives the timers of WASI. Otherwise WASI would start one for each processor, at a time
/// when the sandbox no longer allows any.
///
/// If a directory may be written to, one more thread does the writing, for the same reasons. Both are running when this
/// returns, because what threads do at their start is no longer allowed either.
pub fn timers(writing: bool) -> io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all();
    if writing {
        builder.max_blocking_threads(1).thread_keep_alive(Duration::MAX);
    }
    let runtime = builder.build()?;
    runtime.block_on(runtime.spawn(async {})).map_err(io::Error::other)?;
    if writing {
        runtime.block_on(runtime.spawn_blocking(|| ())).map_err(io::Error::other)?;
    }
    Ok(runtime)
}

/// Shortens a message so that it fits the socket, where a character may take six times as much space as in memory.
fn shorten(message: String) -> String {
    const LENGTHS: [usize; 2] = [8 << 10, 2 << 10];
    let cut = |most| match wasmpool_core::text::head(&message, most) {
        cut if cut.len() < message.len() => format!("{cut}…"),
        _ => message.clone(),
    };
    let fits = |text: &String| serde_json::to_string(text).is_ok_and(|json| json.len() < 14 << 10);
    LENGTHS.into_iter().map(cut).find(fits).unwrap_or_default()
}
