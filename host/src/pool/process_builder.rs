//! The builder of a single process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::ahead::ProcessAhead;
use super::process::{Process, ProcessState};
use super::process_run::ProcessCall;
use super::program;
use super::settings::{CallSettings, process_settings};
use super::task::{LoadedTask, Task};
use super::value::Argument;
use wasmpool_core::policy::{ItemEncoding, SandboxMode};
use wasmpool_ipc::batch::Batch;
use wasmpool_run::error::Error;
use wasmpool_run::scarce::{patiently, start_thread};
use wasmpool_run::supervisor::Mailbox;

/// Number of processes that were started so far, by which those without a name are called.
static STARTED: AtomicU64 = AtomicU64::new(0);

/// The time of a call that is not limited: longer than any machine runs.
const UNLIMITED: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A builder of a [`Process`]: what it calls, with which arguments, and what it may do. See [`Process::builder`].
///
/// ```
/// use std::time::Duration;
/// use wasmpool::Process;
///
/// let process = Process::builder("examples/two.wat")
///     .function("negate")
///     .args(4)
///     .name("negation")
///     .timeout(Duration::from_secs(1))
///     .memory(16 << 20)
///     .start()?;
/// assert_eq!(process.result::<i64>()?, -4);
/// # Ok::<(), wasmpool::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start` is called"]
pub struct ProcessBuilder {
    task: Task,
    args: Batch,
    item_form: ItemEncoding,
    name: String,
    daemon: bool,
    worker_binary: Option<PathBuf>,
    settings: CallSettings,
    /// Clones have it in common.
    ahead: Arc<ProcessAhead>,
}

impl ProcessBuilder {
    pub(super) fn new(task: Task) -> ProcessBuilder {
        let mut settings = CallSettings::default();
        settings.terms.timeout = UNLIMITED;
        let builder = ProcessBuilder {
            task,
            args: Batch::default(),
            item_form: ItemEncoding::default(),
            name: String::new(),
            daemon: true,
            worker_binary: None,
            settings,
            ahead: Arc::default(),
        };
        builder.args(())
    }

    fn with(mut self, change: impl FnOnce(&mut CallSettings)) -> ProcessBuilder {
        change(&mut self.settings);
        self
    }

    /// Sets the function to call: `name`, or `interface/name`. Default: the only function that a user would call.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/two.wat").function("twice").args(4).start()?;
    /// assert_eq!(process.result::<i64>()?, 8);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn function(mut self, name: &str) -> ProcessBuilder {
        self.settings.process_mut().function = Some(name.to_owned());
        self
    }

    /// Sets the arguments of the call, as an item of [`Pool::map`](crate::Pool::map) has them: the argument itself for
    /// one parameter, a tuple of them for several, `()` for none, which is the default. [`bind`](Self::bind) sets
    /// arguments by name.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// // Python: Process(target=power, args=(2, 10))
    /// let process = Process::builder("examples/power.wat").args((2, 10)).start()?;
    /// assert_eq!(process.result::<i64>()?, 1024);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn args<A: Argument>(mut self, args: A) -> ProcessBuilder {
        self.args = Batch::default();
        self.item_form = A::form();
        Argument::write(args, &mut self.args);
        self
    }

    /// Sets the name. Default, also for an empty one: `Process-N` for the program's Nth process.
    ///
    /// A guest that asks for it (`wasmpool:shared/self`) sees a name that was given, and no default. It is something
    /// granted, so an [`init`](Self::init) then runs in the process itself and not once for all.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// let process = Process::builder("examples/squares.wat").args(3).start()?;
    /// assert!(process.name().starts_with("Process-"));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn name(mut self, name: &str) -> ProcessBuilder {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets whether dropping the handle kills the process, which is the default, or waits until the call has ended. In
    /// Python the default is to wait. Either way no process outlives the program.
    ///
    /// ```
    /// # use wasmpool::Process;
    /// // Python: Process(target=square, args=(3,), daemon=False)
    /// let process = Process::builder("examples/squares.wat").args(3).daemon(false).start()?;
    /// drop(process); // waits
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn daemon(mut self, daemon: bool) -> ProcessBuilder {
        self.daemon = daemon;
        self
    }

    /// Limits the wall time of the call, from its start in the process. Default: no limit; an `init` then has 30 s.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::{Error, Kind, Process};
    /// let process = Process::builder("examples/spin.wat").args(-1).timeout(Duration::from_millis(100)).start()?;
    /// let exit = process.join()?;
    /// assert_eq!(exit.exitcode(), Some(-9));
    /// assert!(matches!(exit.failure(), Some(Error::Item(e)) if e.kind == Kind::Timeout));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn timeout(self, timeout: Duration) -> ProcessBuilder {
        self.with(|settings| {
            settings.terms.timeout = timeout.max(Duration::from_millis(1));
            settings.process_mut().limits.timeout = settings.terms.timeout;
        })
    }

    /// Sets which layers of the sandbox must hold. Default: all that matter ([`SandboxMode::Strict`]).
    ///
    /// ```
    /// # use wasmpool::{Process, SandboxMode};
    /// let process = Process::builder("examples/squares.wat").args(3).sandbox(SandboxMode::BestEffort).start()?;
    /// assert_eq!(process.result::<i64>()?, 9);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn sandbox(mut self, mode: SandboxMode) -> ProcessBuilder {
        self.settings.process_mut().sandbox = mode;
        self
    }

    /// Sets the binary that is started, as [`PoolBuilder::worker_binary`](crate::PoolBuilder::worker_binary) does.
    ///
    /// ```
    /// # use wasmpool::{Error, Process};
    /// let started = Process::builder("examples/squares.wat").worker_binary("/bin/true").start();
    /// assert!(matches!(started, Err(Error::WorkerBinary(_))));
    /// ```
    pub fn worker_binary(mut self, path: impl Into<PathBuf>) -> ProcessBuilder {
        self.worker_binary = Some(path.into());
        self
    }

    process_settings!(self, ProcessBuilder, self);

    /// Starts the process, and returns once there is one; it then loads the task and makes the call. A task that is not
    /// in the cache is compiled first. With a cached task, a short call takes some milliseconds from start to exit.
    ///
    /// To start many, start clones of one builder: from the second start on it has another process started, which waits
    /// for the next. That process costs some MiB of memory, takes no part in [`active_children`](crate::active_children),
    /// and ends with the last clone.
    ///
    /// # Errors
    ///
    /// [`Error::WorkerBinary`] if there is no worker binary, [`Error::Task`] if the task cannot be read or compiled,
    /// [`Error::Grant`] if a grant cannot be opened, [`Error::Argument`] if a bound argument cannot be written,
    /// [`Error::Spawn`] if there is no room for a process. Whether the function exists and takes the arguments is
    /// reported by [`Process::join`].
    ///
    /// ```
    /// # use wasmpool::{Error, Process};
    /// assert!(matches!(Process::builder("missing.wasm").start(), Err(Error::Task(_))));
    /// ```
    pub fn start(self) -> Result<Process, Error> {
        let ProcessBuilder { task, args, item_form, name, daemon, worker_binary, settings, ahead } = self;
        settings.check()?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed) + 1;
        let given = Some(name).filter(|name| !name.is_empty());
        let name = given.clone().unwrap_or_else(|| format!("Process-{number}"));
        let program = program::find(worker_binary.as_deref())?;
        if let Some(manager) = settings.process().sharing.manager() {
            manager.expect_workers(1);
        }
        let task = LoadedTask::read(&task, program.clone())?;
        let (mailbox, _requests) = patiently(None, Mailbox::new)?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let sentinel = patiently(None, || EventFd::from_flags(flags).map_err(std::io::Error::from))?;
        let state = Arc::new(ProcessState::new(name, daemon, mailbox.sender(), sentinel));
        let call = ProcessCall { task, program, args, item_form, settings, name: given, ahead };
        let (begun, beginning) = std::sync::mpsc::channel();
        let shared = state.clone();
        let thread =
            start_thread("wasmpool-process", move || call.run(&mailbox, &shared, begun)).map_err(Error::spawn)?;
        match beginning.recv() {
            Ok(Ok(())) => Ok(Process::new(state, thread)),
            Ok(Err(e)) => {
                let _ = thread.join();
                Err(e)
            }
            Err(_) => {
                let _ = thread.join();
                Err(Error::Bug("the thread of a process ended without a word".to_owned()))
            }
        }
    }
}
