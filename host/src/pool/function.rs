//! A function that items are given to, and all the ways to do that.

use std::sync::Arc;

use serde::Serialize;

use super::ItemError;
use super::group::Group;
use super::imap::{Imap, Lazy};
use super::job::{Ended, Failed, Job, Order, Outcome, State};
use super::result::AsyncResult;
use super::shared::{Key, Shared};
use super::spelled;
use super::task::Loaded;
use super::value::{Argument, Returned, Star};
use wasmpool_core::outcome::{Failure, Kind};
use wasmpool_core::policy::{Call, Isolate};
use wasmpool_ipc::batch::Batch;
use wasmpool_run::error::Error;
use wasmpool_run::grants::Grants;
use wasmpool_scheduler::ChunkSize;

/// Items and bytes that are handed over together.
const BATCH_ITEMS: usize = 256;
pub(super) const BATCH_BYTES: usize = 64 << 10;

/// Whether a batch is to be handed over.
pub(super) fn is_full(batch: &Batch) -> bool {
    batch.sizes.len() >= BATCH_ITEMS || batch.size() >= BATCH_BYTES
}

/// All that makes a call what it is: worker processes that serve one serve no other.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub task: Arc<Loaded>,
    pub settings: Settings,
}

/// What can be set of a call.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub call: Call,
    pub grants: Grants,
    pub retries: u32,
    pub max_tasks_per_worker: Option<u64>,
    pub chunk: ChunkSize,
    /// What was set and cannot be.
    pub wrong: Option<String>,
    /// Items, and bytes, that a lazy call reads ahead.
    pub buffer: (usize, usize),
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            call: Call::default(),
            grants: Grants::default(),
            retries: 0,
            max_tasks_per_worker: None,
            chunk: ChunkSize::Auto,
            wrong: None,
            buffer: (4096, 16 << 20),
        }
    }
}

impl Settings {
    pub fn bind(&mut self, name: &str, value: &impl Serialize) {
        match spelled::text(value) {
            Ok(json) => self.call.args.push((name.to_owned(), json)),
            Err(e) => self.wrong = Some(format!("the argument {name} ({e})")),
        }
    }

    pub fn init(&mut self, argument: &impl Serialize) {
        match spelled::text(argument) {
            Ok(json) => self.call.init = Some(json),
            Err(e) => self.wrong = Some(format!("the argument of init ({e})")),
        }
    }

    pub fn check(&self) -> Result<(), Error> {
        self.wrong.as_ref().map_or(Ok(()), |what| Err(Error::Argument(what.clone())))
    }
}

/// What can be set of a call, for the pool's own function and for others.
macro_rules! settings {
    ($self:ident, $($receiver:tt)*) => {
        /// Binds a parameter by name for every call, as `functools.partial` does: sent once to a worker, not with each
        /// item. The items fill the others.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// // Python: pool.map(functools.partial(power, exponent=3), [1, 2, 3])
        /// let pool = Pool::builder("examples/power.wat").bind("exponent", &3).build()?;
        /// let cubes: Vec<i64> = pool.map([1, 2, 3])?;
        /// assert_eq!(cubes, [1, 8, 27]);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn bind($($receiver)*, name: &str, value: &impl serde::Serialize) -> Self {
            $self.with(|settings| settings.bind(name, value))
        }

        /// The argument of the task's `init` export. With pristine instances its effect is there for every item; see
        /// [`Isolate`].
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// // Python: Pool(initializer=init, initargs=(100,))
        /// let pool = Pool::builder("examples/offset.wat").init(&100).build()?;
        /// let sums: Vec<i64> = pool.map([1, 2])?;
        /// assert_eq!(sums, [101, 102]);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn init($($receiver)*, argument: &impl serde::Serialize) -> Self {
            $self.with(|settings| settings.init(argument))
        }

        /// Wall time of one item, from its start in the worker. Default 30 s.
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
        pub fn timeout($($receiver)*, timeout: std::time::Duration) -> Self {
            $self.with(|settings| settings.call.limits.timeout = timeout.max(std::time::Duration::from_millis(1)))
        }

        /// Linear memory of one instance, in bytes. Default 256 MiB.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").memory(16 << 20).build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn memory($($receiver)*, bytes: u64) -> Self {
            $self.with(|settings| settings.call.limits.memory = bytes)
        }

        /// Instructions of one item, in wasmtime's units of fuel. Not limited by default, which costs nothing; a limit
        /// doubles the time of call-heavy code.
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
        pub fn fuel($($receiver)*, fuel: u64) -> Self {
            $self.with(|settings| settings.call.limits.fuel = Some(fuel))
        }

        /// Bytes of one encoded result. Default 16 MiB. The pool may hold as many results of this size as items are read
        /// ahead before it notices that they are large.
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
        pub fn max_output($($receiver)*, bytes: u64) -> Self {
            $self.with(|settings| settings.call.limits.max_output = bytes)
        }

        /// How often an instance starts from pristine memory. Default: for every item.
        ///
        /// ```
        /// # use wasmpool::{Isolate, Pool};
        /// let pool = Pool::builder("examples/counter.wat").workers(1).isolate(Isolate::Worker).build()?;
        /// let counts: Vec<i64> = pool.map([(), (), ()])?;
        /// assert_eq!(counts, [1, 2, 3]);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn isolate($($receiver)*, isolate: Isolate) -> Self {
            $self.with(|settings| settings.call.isolate = isolate)
        }

        /// How often an item is run again whose worker died or that ran out of time. Default 0.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").retries(2).build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn retries($($receiver)*, retries: u32) -> Self {
            $self.with(|settings| settings.retries = retries)
        }

        /// Replaces a worker process after so many items. The next one is started ahead of need. Default: never.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// // Python: Pool(maxtasksperchild=1000)
        /// let pool = Pool::builder("examples/squares.wat").max_tasks_per_worker(1000).build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn max_tasks_per_worker($($receiver)*, items: u64) -> Self {
            $self.with(|settings| settings.max_tasks_per_worker = Some(items.max(1)))
        }

        /// Items per chunk. By default as many as make a few milliseconds of work, from measured times. A failure costs
        /// one item, whatever the size of its chunk, and nothing waits for a chunk to fill.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// // Python: pool.map(square, range(10), chunksize=5)
        /// let pool = Pool::builder("examples/squares.wat").chunk_size(5).build()?;
        /// assert_eq!(pool.map::<_, i64>(0..10)?.len(), 10);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn chunk_size($($receiver)*, items: u32) -> Self {
            $self.with(|settings| settings.chunk = wasmpool_scheduler::ChunkSize::Fixed(items.max(1)))
        }

        /// Items that `map` and `imap` read ahead of the outcome that is taken next: as `buffersize` of Python's
        /// executors. Default 4096.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// // Python: executor.map(square, itertools.count(), buffersize=100)
        /// let pool = Pool::builder("examples/squares.wat").buffer_size(100).build()?;
        /// let first: Vec<i64> = pool.imap(0..).take(3).collect::<Result<_, _>>()?;
        /// assert_eq!(first, [0, 1, 4]);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn buffer_size($($receiver)*, items: usize) -> Self {
            $self.with(|settings| settings.buffer.0 = items.max(1))
        }

        /// Bytes of items and results that `map` and `imap` hold ahead of the outcome that is taken next, going by the
        /// size of the results that came so far; one item is always read. Default 16 MiB.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").buffer_bytes(1 << 20).build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn buffer_bytes($($receiver)*, bytes: usize) -> Self {
            $self.with(|settings| settings.buffer.1 = bytes.max(1))
        }

        /// Lets the task see a variable of the environment. It sees no others.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").grant_env("LANG", "C").build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn grant_env($($receiver)*, name: &str, value: &str) -> Self {
            $self.with(|settings| settings.grants.env.push((name.to_owned(), value.to_owned())))
        }

        /// Lets the task reach the directory `host`, and all below it, as `guest`; to write there, too, if `writable`.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").grant_dir("examples", "/data", false).build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn grant_dir($($receiver)*, host: impl Into<std::path::PathBuf>, guest: &str, writable: bool) -> Self {
            let directory = wasmpool_run::grants::Directory { host: host.into(), guest: guest.to_owned(), writable };
            $self.with(|settings| settings.grants.directories.push(directory))
        }

        /// Gives the task a directory, as `guest`, that it may write to and that is empty at each item. It lies in memory, a
        /// worker's own, holds as many bytes as an instance may have of [`memory`](crate::Pool), and leaves nothing behind.
        /// Costs some microseconds an item, and what is written has to be removed again.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").grant_scratch("/tmp").build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn grant_scratch($($receiver)*, guest: &str) -> Self {
            $self.with(|settings| settings.grants.scratch = Some(guest.to_owned()))
        }

        /// Lets the task make TCP connections to `port` of `host`, a name or an address.
        ///
        /// ```
        /// # use wasmpool::Pool;
        /// let pool = Pool::builder("examples/squares.wat").grant_net("127.0.0.1", 8080).build()?;
        /// # assert_eq!(pool.apply::<_, i64>(3)?, 9);
        /// # Ok::<(), wasmpool::Error>(())
        /// ```
        pub fn grant_net($($receiver)*, host: &str, port: u16) -> Self {
            let peer = wasmpool_run::grants::Peer { host: host.to_owned(), port };
            $self.with(|settings| settings.grants.peers.push(peer))
        }
    };
}
pub(super) use settings;

/// A function of a task in a pool, with what is bound to it and its limits: a handle that is cheap to clone, and that
/// several threads may use at once.
///
/// [`Pool`](crate::Pool) dereferences to the one that it was built with. What is set makes another handle:
///
/// ```
/// use std::time::Duration;
/// use wasmpool::Pool;
///
/// let pool = Pool::builder("examples/power.wat").build()?;
/// let cube = pool.bind("exponent", &3).timeout(Duration::from_secs(1));
/// assert_eq!(cube.apply::<_, i64>(2)?, 8);
/// assert_eq!(pool.apply::<_, i64>((2, 5))?, 32);
/// # Ok::<(), wasmpool::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Function {
    pub(super) shared: Arc<Shared>,
    spec: Arc<Spec>,
    key: Arc<str>,
}

impl Function {
    pub(super) fn new(shared: Arc<Shared>, task: Arc<Loaded>, settings: Settings) -> Function {
        // All that tells calls apart, in words.
        let key = format!("{:p} {settings:?}", Arc::as_ptr(&task));
        Function { shared, spec: Arc::new(Spec { task, settings }), key: key.into() }
    }

    fn with(&self, change: impl FnOnce(&mut Settings)) -> Function {
        let mut settings = self.spec.settings.clone();
        change(&mut settings);
        Function::new(self.shared.clone(), self.spec.task.clone(), settings)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.spec.settings
    }

    /// Another function of the same task: `name`, or `interface/name`. What was bound belongs to this one, and is not
    /// taken along; limits are.
    ///
    /// A process never holds two tasks, nor serves two calls that differ in function, bound arguments, `init`, limits or
    /// whether they pass JSON or [`Bytes`](crate::Bytes). So each of these has worker processes of its own, of those that
    /// the pool may have in all, and a thread. They start with its first item (some 3 ms each), and idle ones end where
    /// others need their place.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/two.wat").function("twice").build()?;
    /// let negate = pool.function("negate");
    /// assert_eq!((pool.apply::<_, i64>(4)?, negate.apply::<_, i64>(4)?), (8, -4));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn function(&self, name: &str) -> Function {
        self.with(|settings| {
            settings.call.function = Some(name.to_owned());
            settings.call.args.clear();
        })
    }

    settings!(self, &self);

    // ---- calls -------------------------------------------------------------------------------------------------------

    fn group(
        &self,
        item_form: wasmpool_core::policy::Form,
        result_form: wasmpool_core::policy::ResultForm,
    ) -> Result<Arc<Group>, Error> {
        self.spec.settings.check()?;
        let key = Key { spec: self.key.clone(), item_form, result_form };
        self.shared.group(key, &self.spec)
    }

    fn lazy<I: Iterator<Item: Argument>, R: Returned>(&self, items: I, order: Order) -> Lazy<I> {
        Lazy::new(self.group(I::Item::form(), R::form()), items, order, self.spec.settings.buffer)
    }

    /// Submits all items at once.
    fn submit<A: Argument, R: Returned>(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<(Arc<Group>, Arc<Job>), Error> {
        // Read before anything is promised to anybody.
        let mut batches = Vec::new();
        let mut batch = Batch::default();
        for item in items {
            Argument::write(item, &mut batch);
            if is_full(&batch) {
                batches.push(batch.take());
            }
        }
        batches.push(batch);
        let group = self.group(A::form(), R::form())?;
        let job = Arc::new(Job::new(Order::Input));
        group.begin(&job);
        for batch in batches {
            group.submit(&job, batch);
        }
        group.seal(&job);
        Ok((group, job))
    }

    /// Applies the function to every item, and returns the results in the order of the items. Blocks until they are there.
    ///
    /// The items are read as there is room for them, [`buffer_size`](Self::buffer_size) ahead at most.
    ///
    /// # Errors
    ///
    /// [`Error::Item`] with the first item, by index, that failed; the rest is cancelled then, unlike in Python, where it
    /// runs on for nobody. [`map_each`](Self::map_each) returns every outcome instead. Other errors are of the pool or the
    /// task as a whole.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// // Python: pool.map(square, range(5))
    /// let squares: Vec<i64> = pool.map(0..5)?;
    /// assert_eq!(squares, [0, 1, 4, 9, 16]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn map<A: Argument, R: Returned>(&self, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, Error> {
        collect(self.lazy::<_, R>(items.into_iter(), Order::Input))
    }

    /// As [`map`](Self::map), and returns what became of every item: a failure costs that item only.
    ///
    /// # Errors
    ///
    /// Those of the pool or the task as a whole.
    ///
    /// ```
    /// # use wasmpool::{Kind, Pool};
    /// let pool = Pool::builder("examples/divide.wat").build()?;
    /// let outcomes = pool.map_each::<_, i64>([(6, 2), (1, 0), (9, 3)])?;
    /// assert!(matches!(&outcomes[..], [Ok(3), Err(e), Ok(3)] if e.kind == Kind::Trap));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn map_each<A: Argument, R: Returned>(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<Result<R, ItemError>>, Error> {
        let outcomes = self.lazy::<_, R>(items.into_iter(), Order::Input);
        outcomes.map(|outcome| outcome.map(|(index, outcome)| read(index, outcome))).collect()
    }

    /// As [`map`](Self::map), with tuples of arguments as items, as `itertools.starmap`. A tuple of one is that argument.
    ///
    /// # Errors
    ///
    /// As those of [`map`](Self::map).
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/power.wat").build()?;
    /// // Python: pool.starmap(power, [(2, 3), (3, 2)])
    /// let powers: Vec<i64> = pool.starmap([(2, 3), (3, 2)])?;
    /// assert_eq!(powers, [8, 9]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn starmap<A: Serialize, R: Returned>(&self, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, Error> {
        collect(self.lazy::<_, R>(items.into_iter().map(Star), Order::Input))
    }

    /// Results in the order of the items, as they are taken: for more items than fit into memory, or endlessly many.
    ///
    /// Items are read in [`Iterator::next`], by the thread that calls it, so that neither they nor their iterator have to
    /// be [`Send`]; no more than [`buffer_size`](Self::buffer_size) ahead of the result that is taken next. A failed item
    /// is an [`Error::Item`], and the next call goes on behind it. Any other error is the last of the iterator. Dropping
    /// it cancels what was read and not taken.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// // Python: for square in pool.imap(square, itertools.count()): ...
    /// for (i, square) in (0i64..).zip(pool.imap::<_, i64>(0i64..)).take(1000) {
    ///     assert_eq!(square?, i * i);
    /// }
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn imap<I: IntoIterator<Item: Argument>, R: Returned>(&self, items: I) -> Imap<I::IntoIter, R> {
        Imap::new(self.lazy::<_, R>(items.into_iter(), Order::Input))
    }

    /// As [`imap`](Self::imap), with results as they finish.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// // Python: sorted(pool.imap_unordered(square, range(5)))
    /// let mut squares: Vec<i64> = pool.imap_unordered(0..5).collect::<Result<_, _>>()?;
    /// squares.sort();
    /// assert_eq!(squares, [0, 1, 4, 9, 16]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn imap_unordered<I: IntoIterator<Item: Argument>, R: Returned>(&self, items: I) -> Imap<I::IntoIter, R> {
        Imap::new(self.lazy::<_, R>(items.into_iter(), Order::Arrival))
    }

    /// As [`map`](Self::map), but returns at once. All items are read now, and all of them run; the result is the first
    /// failure, by index, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], or that something cannot be bound. What happens later is told by the result.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// // Python: result = pool.map_async(square, range(5)); result.get()
    /// let result = pool.map_async::<_, i64>(0..5)?;
    /// assert_eq!(result.get(None)?, [0, 1, 4, 9, 16]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn map_async<A: Argument, R: Returned>(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<AsyncResult<Vec<R>>, Error> {
        let (group, job) = self.submit::<A, R>(items)?;
        Ok(AsyncResult::new(group, job, read_all))
    }

    /// As [`starmap`](Self::starmap), but returns at once, as [`map_async`](Self::map_async).
    ///
    /// # Errors
    ///
    /// As those of [`map_async`](Self::map_async).
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/power.wat").build()?;
    /// // Python: pool.starmap_async(power, [(2, 3), (3, 2)]).get()
    /// let powers = pool.starmap_async::<_, i64>([(2, 3), (3, 2)])?.get(None)?;
    /// assert_eq!(powers, [8, 9]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn starmap_async<A: Serialize, R: Returned>(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<AsyncResult<Vec<R>>, Error> {
        self.map_async(items.into_iter().map(Star))
    }

    /// One call; blocks until its result is there. The argument is what an item of [`map`](Self::map) is.
    ///
    /// # Errors
    ///
    /// [`Error::Item`] if the call failed, others of the pool or the task as a whole.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/power.wat").build()?;
    /// // Python: pool.apply(power, (2, 10))
    /// let power: i64 = pool.apply((2, 10))?;
    /// assert_eq!(power, 1024);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn apply<A: Argument, R: Returned>(&self, argument: A) -> Result<R, Error> {
        let (_, job) = self.submit::<A, R>([argument])?;
        let mut state = job.wait_until_over(None);
        match state.take(0) {
            Some(outcome) => Ok(read(0, outcome)?),
            None => Err(missing(&state, 0)),
        }
    }

    /// As [`apply`](Self::apply), but returns at once.
    ///
    /// # Errors
    ///
    /// As those of [`map_async`](Self::map_async).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/power.wat").build()?;
    /// // Python: pool.apply_async(power, (2, 10)).get(timeout=5)
    /// let result = pool.apply_async::<_, i64>((2, 10))?;
    /// assert_eq!(result.get(Duration::from_secs(5))?, 1024);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn apply_async<A: Argument, R: Returned>(&self, argument: A) -> Result<AsyncResult<R>, Error> {
        let (group, job) = self.submit::<A, R>([argument])?;
        Ok(AsyncResult::new(group, job, |state| read_at(state, 0)))
    }
}

/// Reads an outcome as the value that is wanted.
pub(super) fn read<R: Returned>(index: u64, outcome: Outcome) -> Result<R, ItemError> {
    match outcome {
        Ok(bytes) => R::read(bytes).map_err(|message| unreadable(index, message)),
        Err(Failed { attempts, failure }) => Err(ItemError::new(index, attempts, failure)),
    }
}

/// The same, without taking it.
fn read_at<R: Returned>(state: &State, index: u64) -> Result<R, Error> {
    match state.outcome(index) {
        Some(Ok(bytes)) => Ok(R::read(bytes.clone()).map_err(|message| unreadable(index, message))?),
        Some(Err(Failed { attempts, failure })) => Err(Error::Item(ItemError::new(index, *attempts, failure.clone()))),
        None => Err(missing(state, index)),
    }
}

fn read_all<R: Returned>(state: &State) -> Result<Vec<R>, Error> {
    (0..state.submitted).map(|index| read_at(state, index)).collect()
}

fn collect<I: Iterator<Item: Argument>, R: Returned>(outcomes: Lazy<I>) -> Result<Vec<R>, Error> {
    outcomes.map(|outcome| outcome.and_then(|(index, outcome)| Ok(read(index, outcome)?))).collect()
}

fn unreadable(index: u64, message: String) -> ItemError {
    ItemError::new(index, 1, Failure::new(Kind::InvalidOutput, message))
}

/// Why an outcome is not there.
fn missing(state: &State, index: u64) -> Error {
    state.ended().unwrap_or(&Ended::Cancelled).error(index)
}
