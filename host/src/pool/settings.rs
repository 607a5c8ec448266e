//! The settings of a call, and the methods that change them.

use std::sync::Arc;

use serde::Serialize;

use super::objects::{Manager, Share, Sharing};
use super::spelled;
use wasmpool_core::guest_grants::GuestGrants;
use wasmpool_core::policy::{Isolate, ItemEncoding, ItemLimits, ResultForm, SandboxMode, TaskCall};
use wasmpool_run::error::Error;
use wasmpool_run::grants::Grants;
use wasmpool_scheduler::{ChunkSize, ItemTerms, SchedulerConfig};

/// The settings that a worker process is made for. Calls of one task that agree in these share worker processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ProcessSettings {
    pub function: Option<String>,
    /// Parameters that are bound by name, each to a JSON value.
    pub args: Vec<(String, String)>,
    /// JSON argument of the task's `init`.
    pub init: Option<String>,
    pub isolate: Isolate,
    /// The timeout among these is that of `init`; items have that of their call.
    pub limits: ItemLimits,
    pub sandbox: SandboxMode,
    pub grants: Grants,
    pub sharing: Sharing,
    pub max_tasks_per_worker: Option<u64>,
}

/// The settings of a call.
#[derive(Clone, Debug)]
pub(crate) struct CallSettings {
    process: Arc<ProcessSettings>,
    /// The settings that calls of the same worker processes may differ in.
    pub terms: ItemTerms,
    /// Number of items, and of bytes, that a lazy call reads ahead.
    pub buffer: (usize, usize),
    /// The error of a setting that is not possible.
    pub wrong: Option<Error>,
}

impl Default for CallSettings {
    fn default() -> CallSettings {
        let process = Arc::<ProcessSettings>::default();
        CallSettings {
            terms: ItemTerms { chunk: ChunkSize::Auto, retries: 0, timeout: process.limits.timeout },
            process,
            buffer: (4096, 16 << 20),
            wrong: None,
        }
    }
}

impl CallSettings {
    /// Returns the settings that a worker process is made for.
    pub fn process(&self) -> &Arc<ProcessSettings> {
        &self.process
    }

    /// Returns the settings that a worker process is made for, to be changed.
    pub fn process_mut(&mut self) -> &mut ProcessSettings {
        Arc::make_mut(&mut self.process)
    }

    /// Sets the function. Bound arguments belong to the previous function and are dropped.
    pub fn function(&mut self, name: &str) {
        let process = self.process_mut();
        process.function = Some(name.to_owned());
        process.args.clear();
    }

    pub fn bind(&mut self, name: &str, value: &impl Serialize) {
        match spelled::text(value) {
            Ok(json) => self.process_mut().args.push((name.to_owned(), json)),
            Err(e) => self.wrong = Some(Error::Argument(format!("the argument {name} ({e})"))),
        }
    }

    pub fn init(&mut self, argument: &impl Serialize) {
        match spelled::text(argument) {
            Ok(json) => {
                self.process_mut().init = Some(json);
                self.fix_time_of_init();
            }
            Err(e) => self.wrong = Some(Error::Argument(format!("the argument of init ({e})"))),
        }
    }

    /// Gives the task a shared object.
    pub fn share(&mut self, share: Share) {
        if let Err(e) = self.process_mut().sharing.grant(share) {
            self.wrong = Some(e);
        }
    }

    /// Gives the task all objects of a manager.
    pub fn share_all(&mut self, manager: &Manager) {
        self.process_mut().sharing = Sharing::all_of(manager);
    }

    /// Gives `init` as much time as items have now. What a later call allows its items changes nothing about it, since
    /// it runs when a process starts.
    pub fn fix_time_of_init(&mut self) {
        if self.process.init.is_some() {
            self.process_mut().limits.timeout = self.terms.timeout;
        }
    }

    /// Returns the settings that a worker process is made for. On other machines its items have the timeout that it was made
    /// with.
    #[cfg(feature = "hosts")]
    pub fn over_hosts(&self, over_hosts: bool) -> Arc<ProcessSettings> {
        let timeout = if over_hosts { self.terms.timeout } else { self.process.limits.timeout };
        match timeout == self.process.limits.timeout {
            true => self.process.clone(),
            false => {
                let limits = ItemLimits { timeout, ..self.process.limits };
                Arc::new(ProcessSettings { limits, ..ProcessSettings::clone(&self.process) })
            }
        }
    }

    /// Returns an error if a setting is not possible.
    pub fn check(&self) -> Result<(), Error> {
        self.wrong.clone().map_or(Ok(()), Err)
    }

    /// Returns the settings for another task in the same pool: limits are kept, and nothing that belongs to this task.
    pub fn of_another_task(&self) -> CallSettings {
        let &ProcessSettings { isolate, limits, sandbox, max_tasks_per_worker, .. } = &*self.process;
        let limits = ItemLimits { timeout: ItemLimits::default().timeout, ..limits };
        let process = ProcessSettings { isolate, limits, sandbox, max_tasks_per_worker, ..ProcessSettings::default() };
        CallSettings { process: Arc::new(process), terms: self.terms, buffer: self.buffer, wrong: None }
    }
}

impl ProcessSettings {
    /// Returns the call in the form in which workers are told of it.
    pub fn call(&self, given: GuestGrants, item_form: ItemEncoding, result_form: ResultForm) -> TaskCall {
        TaskCall {
            function: self.function.clone(),
            args: self.args.clone(),
            init: self.init.clone(),
            isolate: self.isolate,
            limits: self.limits,
            sandbox: self.sandbox,
            given,
            item_form,
            result_form,
            ..TaskCall::default()
        }
    }

    /// Returns the scheduler's configuration for a pool of `workers` workers. Items come with terms of their own.
    pub fn config(&self, workers: usize, window: usize) -> SchedulerConfig {
        SchedulerConfig {
            // The number of workers is sent as soon as there are items.
            workers: 0,
            ordered: false,
            max_items_per_worker: self.max_tasks_per_worker,
            window,
            ..SchedulerConfig::of_limits(self.limits.timeout, workers)
        }
    }
}

/// Generates the methods that change a setting of a call of a pool, for a builder of a pool, a function, and a pool's own
/// function. `with` is a method of theirs that changes the settings, and `$made` is what it returns.
macro_rules! settings {
    ($self:ident, $made:ty, $($receiver:tt)*) => {
        $crate::pool::settings::process_settings!($self, $made, $($receiver)*);

        /// Limits the wall time of one item, from its start in the worker. Default: 30 s. Calls that differ in this
        /// share worker processes. An `init` has the time that was set when the pool was built.
        ///
        /// ```
        /// # use std::time::Duration;
        /// # use wasmpool::{Error, Kind, Pool};
        /// let pool = Pool::builder("examples/spin.wat").timeout(Duration::from_millis(100)).build()?;
        /// match pool.apply::<_, i64>(-1) {
        ///     Err(Error::Item(e)) => assert_eq!(e.kind, Kind::Timeout),
        ///     other => panic!("{other:?}"),
        /// }
        /// # Ok::<(), Error>(())
        /// ```
        pub fn timeout($($receiver)*, timeout: std::time::Duration) -> $made {
            $self.with(|settings| settings.terms.timeout = timeout.max(std::time::Duration::from_millis(1)))
        }

        /// Sets how often an instance starts from pristine memory. Default: for every item.
        ///
        /// ```
        /// # use wasmpool::{Isolate, Pool};
        /// let pool = Pool::builder("examples/counter.wat").workers(1).isolate(Isolate::Worker).build()?;
        /// let counts: Vec<i64> = pool.map([(), (), ()])?;
        /// assert_eq!(counts, [1, 2, 3]);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn isolate($($receiver)*, isolate: Isolate) -> $made {
            $self.with(|settings| settings.process_mut().isolate = isolate)
        }

        /// Sets how often an item is run again whose worker died or that ran out of time. Default: 0. Calls that differ
        /// in this share worker processes.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").retries(2).build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn retries($($receiver)*, retries: u32) -> $made {
            $self.with(|settings| settings.terms.retries = retries)
        }

        /// Replaces a worker process after this many items. The next worker is started ahead of need. Default: never.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// // Python: Pool(maxtasksperchild=1000)
        /// let pool = Pool::builder("examples/squares.wat").max_tasks_per_worker(1000).build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn max_tasks_per_worker($($receiver)*, items: u64) -> $made {
            $self.with(|settings| settings.process_mut().max_tasks_per_worker = Some(items.max(1)))
        }

        /// Sets the number of items per chunk. Default: as many as make a few milliseconds of work, from measured
        /// times. A failure costs one item, whatever the size of its chunk, and nothing waits for a chunk to fill.
        /// Calls that differ in this share worker processes, so it may be set for each.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// // Python: pool.map(square, range(10), chunksize=5)
        /// let pool = Pool::builder("examples/squares.wat").chunk_size(5).build()?;
        /// assert_eq!(pool.map::<_, i64>(0..10)?.len(), 10);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn chunk_size($($receiver)*, items: u32) -> $made {
            $self.with(|settings| settings.terms.chunk = wasmpool_scheduler::ChunkSize::Fixed(items.max(1)))
        }

        /// Limits the items that `map` and `imap` read ahead of the outcome that is taken next, as `buffersize` of
        /// Python's executors does. Default: 4096. Calls that differ in this share worker processes.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// // Python: executor.map(square, itertools.count(), buffersize=100)
        /// let pool = Pool::builder("examples/squares.wat").buffer_size(100).build()?;
        /// let first: Vec<i64> = pool.imap(0..).take(3).collect::<Result<_, _>>()?;
        /// assert_eq!(first, [0, 1, 4]);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn buffer_size($($receiver)*, items: usize) -> $made {
            $self.with(|settings| settings.buffer.0 = items.max(1))
        }

        /// Limits the bytes of items and results that `map` and `imap` hold ahead of the outcome that is taken next,
        /// estimated from the size of the results so far; one item is always read. Default: 16 MiB.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").buffer_bytes(1 << 20).build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn buffer_bytes($($receiver)*, bytes: usize) -> $made {
            $self.with(|settings| settings.buffer.1 = bytes.max(1))
        }
    };
}
pub(super) use settings;

/// Generates the methods that change a setting of a worker process, as `settings` does; also for a builder of a single
/// process.
macro_rules! process_settings {
    ($self:ident, $made:ty, $($receiver:tt)*) => {
        /// Binds a parameter by name for every call, as Python's `functools.partial` does. The value is sent once to a
        /// worker, not with each item. Items supply the other parameters.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// // Python: pool.map(functools.partial(power, exponent=3), [1, 2, 3])
        /// let pool = Pool::builder("examples/power.wat").bind("exponent", &3).build()?;
        /// let cubes: Vec<i64> = pool.map([1, 2, 3])?;
        /// assert_eq!(cubes, [1, 8, 27]);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn bind($($receiver)*, name: &str, value: &impl serde::Serialize) -> $made {
            $self.with(|settings| settings.bind(name, value))
        }

        /// Sets the argument of the task's `init` export. With pristine instances every item finds its effect; see
        /// [`Isolate`](crate::Isolate).
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// // Python: Pool(initializer=init, initargs=(100,))
        /// let pool = Pool::builder("examples/offset.wat").init(&100).build()?;
        /// let sums: Vec<i64> = pool.map([1, 2])?;
        /// assert_eq!(sums, [101, 102]);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn init($($receiver)*, argument: &impl serde::Serialize) -> $made {
            $self.with(|settings| settings.init(argument))
        }

        /// Limits the linear memory of one instance, in bytes. Default: 256 MiB.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").memory(16 << 20).build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn memory($($receiver)*, bytes: u64) -> $made {
            $self.with(|settings| settings.process_mut().limits.memory = bytes)
        }

        /// Limits the instructions of one item, in wasmtime's units of fuel. Default: no limit, which costs nothing; a
        /// limit doubles the time of call-heavy code.
        ///
        /// ```
        /// # use wasmpool::{Error, Kind, Pool};
        /// let pool = Pool::builder("examples/spin.wat").fuel(100_000).build()?;
        /// match pool.apply::<_, i64>(-1) {
        ///     Err(Error::Item(e)) => assert_eq!(e.kind, Kind::Fuel),
        ///     other => panic!("{other:?}"),
        /// }
        /// # Ok::<(), Error>(())
        /// ```
        pub fn fuel($($receiver)*, fuel: u64) -> $made {
            $self.with(|settings| settings.process_mut().limits.fuel = Some(fuel))
        }

        /// Limits the bytes of one encoded result. Default: 16 MiB. The pool may hold as many results of this size as
        /// items are read ahead before it notices that results are large.
        ///
        /// ```
        /// # use wasmpool::{Bytes, Error, Kind, Pool};
        /// let pool = Pool::builder("examples/echo.wat").max_output(1000).build()?;
        /// match pool.apply::<_, Bytes>(Bytes(vec![0; 2000])) {
        ///     Err(Error::Item(e)) => assert_eq!(e.kind, Kind::OutputTooLarge),
        ///     other => panic!("{other:?}"),
        /// }
        /// # Ok::<(), Error>(())
        /// ```
        pub fn max_output($($receiver)*, bytes: u64) -> $made {
            $self.with(|settings| settings.process_mut().limits.max_output = bytes)
        }

        /// Lets the task see an environment variable. It sees no others.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").grant_env("LANG", "C").build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn grant_env($($receiver)*, name: &str, value: &str) -> $made {
            $self.with(|settings| settings.process_mut().grants.env.push((name.to_owned(), value.to_owned())))
        }

        /// Lets the task reach the directory `host`, and all below it, as `guest`; also for writing if `writable` is
        /// true.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").grant_dir("examples", "/data", false).build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn grant_dir($($receiver)*, host: impl Into<std::path::PathBuf>, guest: &str, writable: bool) -> $made {
            let directory = wasmpool_run::grants::DirectoryGrant { host: host.into(), guest: guest.to_owned(), writable };
            $self.with(|settings| settings.process_mut().grants.directories.push(directory))
        }

        /// Gives the task a writable directory, as `guest`, that is empty at the start of each item. It lies in the
        /// worker's memory, holds as many bytes as an instance may have of [`memory`](crate::Pool), and leaves nothing
        /// behind. It costs some microseconds per item, and more for removing what was written.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").grant_scratch("/tmp").build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn grant_scratch($($receiver)*, guest: &str) -> $made {
            $self.with(|settings| settings.process_mut().grants.scratch = Some(guest.to_owned()))
        }

        /// Lets the task open TCP connections to `port` of `host`, a name or an address.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").grant_net("127.0.0.1", 8080).build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn grant_net($($receiver)*, host: &str, port: u16) -> $made {
            let peer = wasmpool_run::grants::PeerGrant { host: host.to_owned(), port };
            $self.with(|settings| settings.process_mut().grants.peers.push(peer))
        }

        /// Gives the task a shared object, which it opens by its name: a reference to the object grants all rights, and
        /// methods such as [`Queue::put_only`](crate::Queue::put_only) grant less. Each call adds an object; the first
        /// takes the place of what [`manager`](Self::manager) gave. All have to be of one [`Manager`](crate::Manager);
        /// else the next call returns an [`Error::Object`](crate::Error::Object) of kind
        /// [`OtherManager`](crate::ObjectErrorKind::OtherManager).
        ///
        /// Calls that differ in this have worker processes of their own.
        ///
        /// ```
        /// # use wasmpool::{Manager, Pool};
        /// let manager = Manager::new();
        /// let (total, limit) = (manager.value("total", 0i64)?, manager.value("limit", 100i64)?);
        /// let pool = Pool::builder("examples/total.wat").share(&total).share(limit.read_only()).build()?;
        /// pool.map::<_, i64>([1, 2, 3])?;
        /// assert_eq!(total.load()?, 6);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn share($($receiver)*, object: impl Into<$crate::pool::Share>) -> $made {
            let share = object.into();
            $self.with(|settings| settings.share(share))
        }

        /// Gives the task all objects of a manager, with all rights, in place of what it was given before. Several pools
        /// and processes may have one manager.
        ///
        /// ```
        /// # use wasmpool::{Manager, Pool, Process};
        /// let manager = Manager::new();
        /// let total = manager.value("total", 0i64)?;
        /// let pool = Pool::builder("examples/total.wat").manager(&manager).build()?;
        /// let process = Process::builder("examples/total.wat").args(4).manager(&manager).start()?;
        /// pool.map::<_, i64>([1, 2, 3])?;
        /// process.join()?;
        /// assert_eq!(total.load()?, 10);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn manager($($receiver)*, manager: &$crate::pool::Manager) -> $made {
            $self.with(|settings| settings.share_all(manager))
        }
    };
}
pub(super) use process_settings;
