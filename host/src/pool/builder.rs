//! The builder of a pool.

use std::path::PathBuf;
use std::sync::Arc;

use super::Pool;
#[cfg(feature = "hosts")]
use super::access::AccessFiles;
use super::events::{WorkerEvent, WorkerHook};
use super::function::Function;
use super::keeper::SpareKeeper;
use super::objects::{Manager, Sharing};
use super::program;
use super::settings::{CallSettings, settings};
#[cfg(feature = "hosts")]
use super::shared::HostsOfPool;
use super::shared::SharedWorkers;
use super::task::{LoadedTask, Task};
use wasmpool_core::policy::{Isolate, ItemEncoding, ResultForm, SandboxMode};
#[cfg(feature = "hosts")]
use wasmpool_nats::access::IdentityFile;
use wasmpool_run::compile::{ArtifactCache, ArtifactKey};
use wasmpool_run::error::Error;
#[cfg(feature = "hosts")]
use wasmpool_run::spawn::ChildProgram;
use wasmpool_sandbox::surroundings;

/// A builder of a [`Pool`]: sets its options, then builds it. See [`Pool::builder`].
///
/// ```
/// use std::time::Duration;
/// use wasmpool::Pool;
///
/// let pool = Pool::builder("examples/squares.wat")
///     .workers(2)
///     .timeout(Duration::from_secs(1))
///     .memory(16 << 20)
///     .build()?;
/// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
/// # Ok::<(), wasmpool::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct PoolBuilder {
    task: Task,
    workers: Option<usize>,
    worker_binary: Option<PathBuf>,
    hook: Option<WorkerHook>,
    settings: CallSettings,
    #[cfg(feature = "hosts")]
    via: Option<String>,
    #[cfg(feature = "hosts")]
    access: AccessFiles,
}

impl PoolBuilder {
    pub(super) fn new(task: Task) -> PoolBuilder {
        PoolBuilder {
            task,
            workers: None,
            worker_binary: None,
            hook: None,
            settings: CallSettings::default(),
            #[cfg(feature = "hosts")]
            via: None,
            #[cfg(feature = "hosts")]
            access: AccessFiles::default(),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut CallSettings)) -> PoolBuilder {
        change(&mut self.settings);
        self
    }

    /// Sets the number of worker processes, over all functions and tasks of the pool; 0 counts as 1. Default: the number
    /// of processors that this process may use.
    ///
    /// Processes start when the first items arrive, some of them ahead of need, and are then kept.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// // Python: Pool(processes=2)
    /// let pool = Pool::builder("examples/squares.wat").workers(2).build()?;
    /// assert_eq!(pool.workers(), 2);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn workers(mut self, workers: usize) -> PoolBuilder {
        self.workers = Some(workers.max(1));
        self
    }

    /// Has the machines that serve at `url` run the items, each by `wasmpool serve`, instead of processes of this one. `url` is
    /// that of a NATS server with JetStream, such as `nats://127.0.0.1:4222`. Only with the feature `hosts`.
    ///
    /// Calls return what they return without it. The pool starts no process, and needs no worker binary.
    /// [`workers`](Self::workers) is then how many chunks hosts have at a time; without it, twice as many as they have
    /// workers, and more while chunks take a few milliseconds or less. Each host has a sandbox of its own choice. It grants no
    /// directory and no peer that its policy does not give; directories are named by their paths on the hosts. A call waits
    /// until a host serves. Objects that a pool over hosts shares are those of a server, which [`Manager::connect`] finds at
    /// the same message system; all others are shared within one machine. What is wrong with the task is reported by the
    /// first call.
    ///
    /// ```no_run
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").via("nats://127.0.0.1:4222").build()?;
    /// assert_eq!(pool.map::<_, i64>([1, 2, 3])?, [1, 4, 9]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    #[cfg(feature = "hosts")]
    pub fn via(mut self, url: &str) -> PoolBuilder {
        self.via = Some(url.to_owned());
        self
    }

    /// Believes the message system of [`via`](Self::via) if an authority in this file (PEM) has signed its certificate, in
    /// place of those that the system knows. Only with the feature `hosts`.
    ///
    /// ```no_run
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat")
    ///     .via("tls://nats.example.com:4222")
    ///     .via_authorities("ca.pem")
    ///     .via_nkey("me.nk")
    ///     .build()?;
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    #[cfg(feature = "hosts")]
    pub fn via_authorities(mut self, file: impl Into<PathBuf>) -> PoolBuilder {
        self.access.authorities = Some(file.into());
        self
    }

    /// Logs in to the message system of [`via`](Self::via) with the key whose seed is in this file, in place of what was
    /// set before. Only with the feature `hosts`. See [`via_authorities`](Self::via_authorities) for an example.
    #[cfg(feature = "hosts")]
    pub fn via_nkey(mut self, file: impl Into<PathBuf>) -> PoolBuilder {
        self.access.login = Some(IdentityFile::Seed(file.into()));
        self
    }

    /// Logs in to the message system of [`via`](Self::via) with the credentials in this file, a JWT and its key, in place of
    /// what was set before. Only with the feature `hosts`.
    #[cfg(feature = "hosts")]
    pub fn via_credentials(mut self, file: impl Into<PathBuf>) -> PoolBuilder {
        self.access.login = Some(IdentityFile::Credentials(file.into()));
        self
    }

    /// Sets the binary that is started as a worker process: the `wasmpool` command of the same version, or a program
    /// that calls [`worker_entry`](crate::worker_entry).
    ///
    /// The default is this program, if it has called that function; else the binary that `$WASMPOOL_WORKER_BINARY`
    /// names; else an installed `wasmpool` on the `$PATH`.
    ///
    /// ```
    /// # use wasmpool::{Error, Pool};
    /// let built = Pool::builder("examples/squares.wat").worker_binary("/bin/true").build();
    /// assert!(matches!(built, Err(Error::WorkerBinary(_))));
    /// ```
    pub fn worker_binary(mut self, path: impl Into<PathBuf>) -> PoolBuilder {
        self.worker_binary = Some(path.into());
        self
    }

    /// Sets the function to call: `name`, or `interface/name`. Default: the only function that a user would call.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/two.wat").function("twice").build()?;
    /// assert_eq!(pool.apply::<_, i64>(4)?, 8);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn function(mut self, name: &str) -> PoolBuilder {
        self.settings.process_mut().function = Some(name.to_owned());
        self
    }

    /// Sets which layers of the sandbox must hold. Default: all that matter ([`SandboxMode::Strict`]).
    ///
    /// ```
    /// # use wasmpool::{Pool, SandboxMode};
    /// let pool = Pool::builder("examples/squares.wat").sandbox(SandboxMode::BestEffort).build()?;
    /// assert_eq!(pool.apply::<_, i64>(3)?, 9);
    /// println!("workers lack {:?}", pool.lacking());
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn sandbox(mut self, mode: SandboxMode) -> PoolBuilder {
        self.settings.process_mut().sandbox = mode;
        self
    }

    /// Has `hook` told what becomes of worker processes: that one was started, and in whose place; that one was lost;
    /// that one is ended because its item takes too long. Default: nobody is told, which costs nothing.
    ///
    /// It is called on the thread of the callbacks, one event after the other, so it delays no call but callbacks; a
    /// panic there affects nothing else. [`Pool::join`] waits until it has returned.
    ///
    /// ```
    /// # use std::sync::mpsc;
    /// # use wasmpool::{Pool, WorkerEvent};
    /// let (sender, events) = mpsc::channel();
    /// // Python: multiprocessing.log_to_stderr()
    /// let pool = Pool::builder("examples/squares.wat")
    ///     .on_worker_event(move |event| sender.send(event.clone()).unwrap())
    ///     .build()?;
    /// assert_eq!(pool.apply::<_, i64>(3)?, 9);
    /// assert!(matches!(events.recv(), Ok(WorkerEvent::Started { replaces: None, .. })));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn on_worker_event(mut self, hook: impl Fn(&WorkerEvent) + Send + Sync + 'static) -> PoolBuilder {
        self.hook = Some(WorkerHook(Arc::new(hook)));
        self
    }

    settings!(self, PoolBuilder, self);

    /// Builds the pool: finds the worker binary, opens what is granted, and compiles the task or finds it in the cache.
    ///
    /// # Errors
    ///
    /// [`Error::WorkerBinary`] if there is no worker binary, [`Error::Task`] if the task cannot be read or compiled,
    /// [`Error::Grant`] if a grant cannot be opened, [`Error::Argument`] if a bound argument cannot be written. Whether
    /// the function exists and takes the arguments that are bound is reported by the first call.
    ///
    /// ```
    /// # use wasmpool::{Error, Pool};
    /// assert!(matches!(Pool::builder("missing.wasm").build(), Err(Error::Task(_))));
    /// ```
    pub fn build(self) -> Result<Pool, Error> {
        #[cfg(feature = "hosts")]
        if let Some(url) = self.via.clone() {
            return self.build_over_hosts(&url);
        }
        let PoolBuilder { task, workers, worker_binary, hook, mut settings, .. } = self;
        settings.check()?;
        let workers = workers.unwrap_or_else(surroundings::processors);
        let program = program::find(worker_binary.as_deref())?;
        if settings.process().sharing.manager().is_none() {
            let manager = Manager::of_pool(program.clone(), settings.process().sandbox);
            settings.process_mut().sharing = Sharing::all_of(&manager);
        }
        if let Some(manager) = settings.process().sharing.manager() {
            manager.expect_workers(workers);
        }
        let shared = Arc::new(SharedWorkers::new(program, workers, hook));
        // Processes start while the task is compiled, but no more than there are processors for them.
        let keeper = SpareKeeper::start(shared.spares.clone(), surroundings::at_once(workers))?;
        let function = load(&shared, &task, settings)?;
        Ok(Pool { function, keeper: Some(keeper) })
    }

    /// Builds a pool whose items run on other machines.
    #[cfg(feature = "hosts")]
    fn build_over_hosts(self, url: &str) -> Result<Pool, Error> {
        let PoolBuilder { task, workers, hook, settings, access, .. } = self;
        settings.check()?;
        let access = access.to(url)?;
        settings.process().sharing.place(&access)?;
        let shared = SharedWorkers::new(ChildProgram::Own, workers.unwrap_or(1), hook)
            .over(HostsOfPool { access, most: workers });
        let shared = Arc::new(shared);
        // No process is started. The thread waits until the pool is left alone, as that of any other.
        let keeper = SpareKeeper::start(shared.spares.clone(), 0)?;
        let function = load(&shared, &task, settings)?;
        Ok(Pool { function, keeper: Some(keeper) })
    }
}

/// Reads and compiles a task.
pub(super) fn load(shared: &Arc<SharedWorkers>, task: &Task, mut settings: CallSettings) -> Result<Function, Error> {
    settings.fix_time_of_init();
    let loaded = LoadedTask::read(task, shared.program.clone())?;
    #[cfg(feature = "hosts")]
    if shared.hosts.is_some() {
        // Hosts compile it themselves.
        return Ok(Function::new(shared.clone(), Arc::new(loaded), settings));
    }
    let process = settings.process();
    let given = process.grants.open(&ArtifactCache::of_user())?.given;
    // The artifact is the same whatever form items and results have.
    let call = process.call(given, ItemEncoding::default(), ResultForm::default());
    loaded.prepare(&ArtifactKey::of(&call), None)?;
    Ok(Function::new(shared.clone(), Arc::new(loaded), settings))
}
