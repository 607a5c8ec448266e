//! The Rust API: a pool of worker processes, like Python's `multiprocessing.Pool`; and a single one, like its `Process`
//! ([`process`]).
//!
//! A [`Function`] is a call with all its settings. Each distinct call has a [`group`] of worker processes, with a
//! supervisor on a thread of its own that serves items on demand. Each call that a user makes is a [`job`]: its items
//! wait in the group's row, its outcomes in the job itself, so a user who takes no outcomes keeps nobody else waiting.
//! Its items have the job's terms, which the group's other jobs need not share: timeout, retries, chunk size.
//! What tasks and the program have in common is made by a [`Manager`] ([`objects`]).
//! [`shared`] is what the groups of a pool have in common: the number of processes, which
//! [`wasmpool_scheduler::shares`] divides among them, and their end.

#[cfg(feature = "hosts")]
mod access;
mod ahead;
mod builder;
mod callbacks;
mod events;
mod function;
mod group;
mod imap;
mod job;
mod keeper;
mod objects;
mod outcomes;
mod process;
mod process_builder;
mod process_run;
mod program;
mod result;
mod settings;
mod several;
mod shared;
mod spelled;
mod task;
mod value;

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

pub use builder::PoolBuilder;
pub use events::{ProcessInfo, ProcessRole, WorkerEvent};
pub use function::Function;
pub use imap::{Imap, TryItems};
pub use objects::{
    ArithmeticNumber, Array, Barrier, Condition, ConditionGuard, Dict, Event, List, Lock, LockGuard, Manager,
    ManagerBuilder, Message, Namespace, PipeEnd, Queue, QueueIter, RLock, RLockGuard, Semaphore, SemaphoreGuard, Share,
    SharedNumber, SharedObjectType, Value,
};
pub use process::{Process, ProcessExit, active_children};
pub use process_builder::ProcessBuilder;
pub use program::{may_start_own_binary, tell_version};
pub use result::AsyncResult;
pub use several::{AsCompleted, ReturnWhen, as_completed, wait};
pub use task::Task;
pub use value::{Argument, Bytes, ReturnValue};
pub use wasmpool_core::item_error::ItemError;

use keeper::SpareKeeper;
use settings::{CallSettings, settings};
use wasmpool_core::policy::Isolate;
use wasmpool_run::error::Error;

/// A pool of sandboxed worker processes over which functions of WebAssembly are mapped.
///
/// [`map`](Pool::map), [`imap`](Pool::imap), [`apply`](Pool::apply) and their variants call the [`Function`] that the
/// pool was built with. Several threads may use a pool at once. Dropping it ends all its processes; running calls are
/// given up, as by [`terminate`](Pool::terminate).
///
/// Calls block the thread that makes them, and need no async runtime. The pool starts threads of its own; it leaves
/// signals, standard streams and the working directory alone. A worker that dies costs the item that it was running,
/// which fails as [`FailureKind::WorkerLost`](crate::FailureKind::WorkerLost), and no other.
///
/// Where the system allows it, the pool puts its processes into a memory cgroup of their own, whose limit is what they may
/// have together. It never moves the program itself; with cgroups of version 2 it therefore needs a systemd unit that has
/// `Delegate=yes` and `DelegateSubgroup=`.
///
/// A process that is forked off cannot use the pool: calls there return [`Error::Forked`], and dropping it leaves the
/// parent's processes alone.
///
/// ```no_run
/// use wasmpool::Pool;
///
/// fn main() -> Result<(), wasmpool::Error> {
///     wasmpool::worker_entry(); // first thing: worker processes are this program, too
///     let pool = Pool::builder("squares.wat").build()?;
///     let squares: Vec<i64> = pool.map(0..10)?;
///     println!("{squares:?}");
///     Ok(())
/// }
/// ```
pub struct Pool {
    function: Function,
    /// `None` once the pool is left alone.
    keeper: Option<SpareKeeper>,
}

impl Pool {
    /// Returns a builder of a pool that runs `task`: a path, or wasm in memory.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// // Python: with Pool() as pool: pool.map(square, [1, 2, 3])
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// assert_eq!(pool.map::<_, i64>([1, 2, 3])?, [1, 4, 9]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn builder(task: impl Into<Task>) -> PoolBuilder {
        PoolBuilder::new(task.into())
    }

    /// Adds another task to this pool, which is read and compiled now. It has the limits that the pool was built with,
    /// and none of its grants, bound arguments and `init`. No process ever holds two tasks; see [`Function::function`].
    ///
    /// # Errors
    ///
    /// [`Error::Task`] if it cannot be read or compiled, [`Error::Closed`] if the pool is closed.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// let power = pool.task("examples/power.wat")?;
    /// assert_eq!((pool.apply::<_, i64>(3)?, power.apply::<_, i64>((3, 3))?), (9, 27));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn task(&self, task: impl Into<Task>) -> Result<Function, Error> {
        self.function.shared.check_owner()?;
        if self.function.shared.is_closing() {
            return Err(Error::Closed);
        }
        let settings = self.function.settings().of_another_task();
        builder::load(&self.function.shared, &task.into(), settings)
    }

    /// Returns the number of worker processes that the pool may have, over all its functions.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").workers(3).build()?;
    /// assert_eq!(pool.workers(), 3);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn workers(&self) -> usize {
        self.function.shared.workers()
    }

    /// Changes the number of worker processes that the pool may have, while it runs. Surplus workers end when they have
    /// finished the items they were given.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").workers(1).build()?;
    /// pool.resize(4);
    /// assert_eq!(pool.map::<_, i64>(0..3)?, [0, 1, 4]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn resize(&self, workers: usize) {
        self.function.shared.resize(workers.max(1));
    }

    /// Returns the parts of the sandbox that workers run without, as
    /// [`SandboxMode::BestEffort`](crate::SandboxMode::BestEffort) permits. They are known once a worker has started.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// assert_eq!(pool.lacking(), [""; 0]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn lacking(&self) -> Vec<String> {
        self.function.shared.lacking()
    }

    /// Returns the processes of the pool, by number: workers, what they are doing, and those that were started ahead of
    /// need. Compile processes are not among them. It asks each function's supervisor, which takes some microseconds.
    ///
    /// ```
    /// # use wasmpool::{Pool, ProcessRole};
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// assert_eq!(pool.apply::<_, i64>(3)?, 9);
    /// for process in pool.processes() {
    ///     println!("{}: {:?}, item {:?}, for {:?}", process.pid, process.role, process.item, process.since.elapsed());
    /// }
    /// assert!(pool.processes().iter().any(|process| process.role == ProcessRole::Worker));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn processes(&self) -> Vec<ProcessInfo> {
        self.function.shared.processes()
    }

    /// Stops taking new calls, which then return [`Error::Closed`]; calls made before are finished.
    ///
    /// ```
    /// # use wasmpool::{Error, Pool};
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// let result = pool.apply_async::<_, i64>(7)?;
    /// pool.close();
    /// assert!(matches!(pool.apply::<_, i64>(8), Err(Error::Closed)));
    /// assert_eq!(result.get()?, 49);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn close(&self) {
        self.function.shared.close();
    }

    /// Stops taking new calls as [`close`](Self::close) does, and cancels the items that no worker has begun: they become
    /// failures of kind `cancelled`. Items that run are finished. An [`imap`](Function::imap) reads no more items, and
    /// ends with [`Error::Closed`] behind those that it has read. It returns at once; [`join`](Self::join) waits.
    ///
    /// A worker that was given several items at a time may finish some more of them, for up to 100 ms; then it is ended,
    /// and they are cancelled, too.
    ///
    /// ```
    /// # use wasmpool::{Error, Kind, Pool};
    /// let pool = Pool::builder("examples/spin.wat").workers(1).build()?;
    /// let results = [pool.map_async::<_, i64>([1; 3])?, pool.map_async([-1, 2])?];
    /// results[0].wait();
    /// // Python: executor.shutdown(wait=False, cancel_futures=True)
    /// pool.cancel_pending();
    /// assert!(matches!(pool.apply::<_, i64>(8), Err(Error::Closed)));
    /// assert_eq!(results[0].get()?, [1, 1, 1]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cancel_pending(&self) {
        self.function.shared.cancel_pending();
    }

    /// Stops taking new calls as [`close`](Self::close) does, and returns at once: what was called for still runs, and
    /// then the processes end. Dropping the pool would end them now. They still end with the program, so one that needs
    /// the results waits for those.
    ///
    /// ```
    /// # use wasmpool::{Error, Pool};
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// let result = pool.map_async::<_, i64>(0..1000)?;
    /// // Python: executor.shutdown(wait=False)
    /// pool.detach();
    /// assert_eq!(result.get()?.len(), 1000);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn detach(mut self) {
        self.close();
        let shared = &self.function.shared;
        if let Some(keeper) = self.keeper.take().filter(|_| shared.is_ours()) {
            keeper.leave_alone(shared.clone());
        }
    }

    /// Stops at once: kills the workers, and turns outcomes that are not known into failures of kind `cancelled`.
    ///
    /// ```
    /// # use wasmpool::{Error, Kind, Pool};
    /// let pool = Pool::builder("examples/spin.wat").build()?;
    /// let result = pool.apply_async::<_, i64>(-1)?;
    /// pool.terminate();
    /// assert!(matches!(result.get(), Err(Error::Item(e)) if e.kind == Kind::Cancelled));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn terminate(&self) {
        self.function.shared.terminate();
    }

    /// Waits until all workers have ended, and all callbacks have returned.
    ///
    /// That takes no longer than the calls do: each item has its [`timeout`](Function::timeout). An
    /// [`imap`](Function::imap) of another thread is waited for until it is taken to its end or dropped. One of the
    /// calling thread cannot continue meanwhile: the items that it has read are finished and can be taken later, and
    /// then it ends with [`Error::Closed`].
    ///
    /// # Errors
    ///
    /// [`Error::StillOpen`] if neither [`close`](Self::close) nor [`terminate`](Self::terminate) was called.
    ///
    /// ```
    /// # use wasmpool::{Error, Pool};
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// assert!(matches!(pool.join(), Err(Error::StillOpen)));
    /// pool.close();
    /// pool.join()?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join(&self) -> Result<(), Error> {
        self.join_until(None)
    }

    /// Waits as [`join`](Self::join) does, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::WaitTimeout`] when the time is over; the pool continues. Otherwise those of [`join`](Self::join).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::{Error, Pool};
    /// let pool = Pool::builder("examples/spin.wat").build()?;
    /// let _result = pool.apply_async::<_, i64>(-1)?;
    /// pool.close();
    /// assert!(matches!(pool.join_timeout(Duration::from_millis(10)), Err(Error::WaitTimeout)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), Error> {
        self.join_until(result::deadline(timeout))
    }

    fn join_until(&self, deadline: Option<Instant>) -> Result<(), Error> {
        let shared = &self.function.shared;
        shared.check_owner()?;
        if !shared.is_closing() {
            return Err(Error::StillOpen);
        }
        shared.shut_own_jobs();
        if !shared.wait(deadline) {
            return Err(Error::WaitTimeout);
        }
        shared.spares.clear();
        shared.callbacks.finish();
        Ok(())
    }
}

/// The function that the pool was built with, and all the ways to call it. [`Function`] describes each in full.
impl Pool {
    fn with(&self, change: impl FnOnce(&mut CallSettings)) -> Function {
        self.function.with(change)
    }

    /// Returns a handle to another function of the same task, with the same limits. See [`Function::function`].
    pub fn function(&self, name: &str) -> Function {
        self.function.function(name)
    }

    settings!(self, Function, &self);

    /// Applies the function to every item, and returns the results in the order of the items. See [`Function::map`].
    ///
    /// # Errors
    ///
    /// Those of [`Function::map`].
    pub fn map<A: Argument, R: ReturnValue>(&self, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, Error> {
        self.function.map(items)
    }

    /// Applies the function to every item, and returns each item's result or failure. See [`Function::map_each`].
    ///
    /// # Errors
    ///
    /// Those of [`Function::map_each`].
    pub fn map_each<A: Argument, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<Result<R, ItemError>>, Error> {
        self.function.map_each(items)
    }

    /// Applies the function to every item, within a time for all of them. See [`Function::map_timeout`].
    ///
    /// # Errors
    ///
    /// Those of [`Function::map_timeout`].
    pub fn map_timeout<A: Argument, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = A>,
        timeout: Duration,
    ) -> Result<Vec<R>, Error> {
        self.function.map_timeout(items, timeout)
    }

    /// Applies the function to every item, within a time for all of them, and returns what is known by then. See
    /// [`Function::map_each_timeout`].
    ///
    /// # Errors
    ///
    /// Those of [`Function::map_each_timeout`].
    pub fn map_each_timeout<A: Argument, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = A>,
        timeout: Duration,
    ) -> Result<Vec<Result<R, ItemError>>, Error> {
        self.function.map_each_timeout(items, timeout)
    }

    /// Applies the function to every item of an iterator that may fail. See [`Function::try_map`].
    ///
    /// # Errors
    ///
    /// Those of [`Function::try_map`].
    pub fn try_map<A: Argument, E, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = Result<A, E>>,
    ) -> Result<Vec<R>, Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.function.try_map(items)
    }

    /// Returns an iterator over the results for items of an iterator that may fail. See [`Function::try_imap`].
    pub fn try_imap<I, A: Argument, E, R: ReturnValue>(&self, items: I) -> Imap<TryItems<I::IntoIter>, R>
    where
        I: IntoIterator<Item = Result<A, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.function.try_imap(items)
    }

    /// Returns an iterator over the results, as they finish, for items of an iterator that may fail. See
    /// [`Function::try_imap_unordered`].
    pub fn try_imap_unordered<I, A: Argument, E, R: ReturnValue>(&self, items: I) -> Imap<TryItems<I::IntoIter>, R>
    where
        I: IntoIterator<Item = Result<A, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.function.try_imap_unordered(items)
    }

    /// Applies the function to every tuple of arguments. See [`Function::starmap`].
    ///
    /// # Errors
    ///
    /// Those of [`Function::starmap`].
    pub fn starmap<A: Serialize, R: ReturnValue>(&self, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, Error> {
        self.function.starmap(items)
    }

    /// Returns an iterator over the results in the order of the items. See [`Function::imap`].
    pub fn imap<I: IntoIterator<Item: Argument>, R: ReturnValue>(&self, items: I) -> Imap<I::IntoIter, R> {
        self.function.imap(items)
    }

    /// Returns an iterator over the results as they finish. See [`Function::imap_unordered`].
    pub fn imap_unordered<I: IntoIterator<Item: Argument>, R: ReturnValue>(&self, items: I) -> Imap<I::IntoIter, R> {
        self.function.imap_unordered(items)
    }

    /// Starts what [`map`](Self::map) does, and returns at once. See [`Function::map_async`].
    ///
    /// # Errors
    ///
    /// Those of [`Function::map_async`].
    pub fn map_async<A: Argument, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<AsyncResult<Vec<R>>, Error> {
        self.function.map_async(items)
    }

    /// Starts what [`starmap`](Self::starmap) does, and returns at once. See [`Function::starmap_async`].
    ///
    /// # Errors
    ///
    /// Those of [`Function::starmap_async`].
    pub fn starmap_async<A: Serialize, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<AsyncResult<Vec<R>>, Error> {
        self.function.starmap_async(items)
    }

    /// Calls the function once, and blocks until its result is there. See [`Function::apply`].
    ///
    /// # Errors
    ///
    /// Those of [`Function::apply`].
    pub fn apply<A: Argument, R: ReturnValue>(&self, argument: A) -> Result<R, Error> {
        self.function.apply(argument)
    }

    /// Starts what [`apply`](Self::apply) does, and returns at once. See [`Function::apply_async`].
    ///
    /// # Errors
    ///
    /// Those of [`Function::apply_async`].
    pub fn apply_async<A: Argument, R: ReturnValue>(&self, argument: A) -> Result<AsyncResult<R>, Error> {
        self.function.apply_async(argument)
    }
}

/// The function that the pool was built with, for code that takes any function.
impl AsRef<Function> for Pool {
    fn as_ref(&self) -> &Function {
        &self.function
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.function.shared.is_ours() || self.keeper.is_none() {
            return;
        }
        self.terminate();
        // Workers must be reaped before the thread that started some of them ends.
        self.function.shared.wait(None);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("workers", &self.workers()).field("keeper", &self.keeper).finish_non_exhaustive()
    }
}

/// Shared objects, which all functions of the pool's task can open by their names, with all rights. Each method is that
/// of a [`Manager`], which every pool has. They have to be created before the pool's first call; a pool to which
/// [`share`](PoolBuilder::share) gave objects one by one has no others.
///
/// ```
/// # use wasmpool::{Error, ObjectErrorKind, Pool};
/// let pool = Pool::builder("examples/total.wat").build()?;
/// let total = pool.value("total", 0i64)?;
/// pool.map::<_, i64>(1..=100)?;
/// assert_eq!(total.load()?, 5050);
/// assert!(matches!(pool.lock("gate"), Err(Error::Object(e)) if e.kind == ObjectErrorKind::TooLate));
/// # Ok::<(), Error>(())
/// ```
impl Pool {
    /// Returns the manager of the pool's own objects.
    fn objects(&self) -> Result<&Manager, Error> {
        self.function.settings().process().sharing.manager_of_all().ok_or_else(|| {
            let why =
                "the pool was given shared objects one by one: create others in their Manager, and give them as well";
            Error::Shared(why.to_owned())
        })
    }

    /// Creates a queue of at most `capacity` messages; 0 bounds it by its quota alone. See [`Manager::queue`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::queue`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn queue<T: Message>(&self, name: &str, capacity: u32) -> Result<Queue<T>, Error> {
        self.objects()?.queue(name, capacity)
    }

    /// Creates a pipe in one direction, and returns its ends: the first receives, the second sends. See [`Manager::pipe`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::pipe`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn pipe<T: Message>(&self, name: &str) -> Result<(PipeEnd<T>, PipeEnd<T>), Error> {
        self.objects()?.pipe(name)
    }

    /// Creates a pipe in both directions, and returns its ends. See [`Manager::duplex_pipe`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::duplex_pipe`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn duplex_pipe<T: Message>(&self, name: &str) -> Result<(PipeEnd<T>, PipeEnd<T>), Error> {
        self.objects()?.duplex_pipe(name)
    }

    /// Creates a number in shared memory. See [`Manager::value`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::value`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn value<T: SharedNumber>(&self, name: &str, first: T) -> Result<Value<T>, Error> {
        self.objects()?.value(name, first)
    }

    /// Creates an array of numbers in shared memory. See [`Manager::array`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::array`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn array<T: SharedNumber>(&self, name: &str, first: impl IntoIterator<Item = T>) -> Result<Array<T>, Error> {
        self.objects()?.array(name, first)
    }

    /// Creates a lock. See [`Manager::lock`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::lock`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn lock(&self, name: &str) -> Result<Lock, Error> {
        self.objects()?.lock(name)
    }

    /// Creates a lock that its holder can acquire again. See [`Manager::rlock`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::rlock`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn rlock(&self, name: &str) -> Result<RLock, Error> {
        self.objects()?.rlock(name)
    }

    /// Creates a semaphore with this many slots. See [`Manager::semaphore`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::semaphore`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn semaphore(&self, name: &str, slots: u32) -> Result<Semaphore, Error> {
        self.objects()?.semaphore(name, slots)
    }

    /// Creates a semaphore that never has more than this many slots. See [`Manager::bounded_semaphore`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::bounded_semaphore`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn bounded_semaphore(&self, name: &str, slots: u32) -> Result<Semaphore, Error> {
        self.objects()?.bounded_semaphore(name, slots)
    }

    /// Creates an event, which is not set. See [`Manager::event`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::event`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn event(&self, name: &str) -> Result<Event, Error> {
        self.objects()?.event(name)
    }

    /// Creates a condition. See [`Manager::condition`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::condition`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn condition(&self, name: &str) -> Result<Condition, Error> {
        self.objects()?.condition(name)
    }

    /// Creates a barrier that opens when this many wait at it. See [`Manager::barrier`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::barrier`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn barrier(&self, name: &str, parties: u32) -> Result<Barrier, Error> {
        self.objects()?.barrier(name, parties)
    }

    /// Creates a dict from strings to values of one type. See [`Manager::dict`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::dict`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn dict<V: Message>(&self, name: &str) -> Result<Dict<V>, Error> {
        self.objects()?.dict(name)
    }

    /// Creates a list of values of one type. See [`Manager::list`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::list`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn list<V: Message>(&self, name: &str) -> Result<List<V>, Error> {
        self.objects()?.list(name)
    }

    /// Creates a namespace. See [`Manager::namespace`].
    ///
    /// # Errors
    ///
    /// Those of [`Manager::namespace`]; [`Error::Shared`] if the pool was given objects one by one.
    pub fn namespace(&self, name: &str) -> Result<Namespace, Error> {
        self.objects()?.namespace(name)
    }
}
