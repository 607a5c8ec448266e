//! A function of a task, and all the ways to give items to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::ItemError;
use super::group::{CallGroup, GroupKey};
use super::imap::{Imap, LazyOutcomes, TryItems};
use super::job::{FailedItem, Job, JobEnd, JobOutcome, JobState, ResultOrder};
use super::result::{AsyncResult, deadline};
use super::settings::{CallSettings, settings};
use super::shared::SharedWorkers;
use super::task::LoadedTask;
use super::value::{Argument, ReturnError, ReturnValue, Star};
use wasmpool_core::chain::with_sources;
use wasmpool_core::outcome::{Failure, FailureKind};
use wasmpool_core::policy::{Isolate, ItemEncoding, ResultForm};
use wasmpool_ipc::batch::Batch;
use wasmpool_run::error::Error;

/// Maximum number of items that are handed over together; `BATCH_BYTES` bounds their bytes.
const BATCH_ITEMS: usize = 256;
pub(super) const BATCH_BYTES: usize = 64 << 10;

/// Returns true if the batch is full and must be handed over.
pub(super) fn is_full(batch: &Batch) -> bool {
    batch.sizes.len() >= BATCH_ITEMS || batch.size() >= BATCH_BYTES
}

/// A function of a task in a pool, with what is bound to it and its limits: a handle that is cheap to clone, and that
/// several threads may use at once.
///
/// A [`Pool`](crate::Pool) has the same methods, for the function that it was built with. Methods that set something
/// return another handle:
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
    pub(super) shared: Arc<SharedWorkers>,
    task: Arc<LoadedTask>,
    settings: Arc<CallSettings>,
}

impl Function {
    pub(super) fn new(shared: Arc<SharedWorkers>, task: Arc<LoadedTask>, settings: CallSettings) -> Function {
        Function { shared, task, settings: Arc::new(settings) }
    }

    pub(super) fn with(&self, change: impl FnOnce(&mut CallSettings)) -> Function {
        let mut settings = CallSettings::clone(&self.settings);
        change(&mut settings);
        Function::new(self.shared.clone(), self.task.clone(), settings)
    }

    pub(super) fn settings(&self) -> &CallSettings {
        &self.settings
    }

    /// Returns a handle to another function of the same task: `name`, or `interface/name`. Limits are kept; bound
    /// arguments are not, since they belong to this function.
    ///
    /// A process never holds two tasks. Nor does it serve two calls that differ in function, bound arguments, `init`,
    /// grants, isolation, limits of memory, fuel and output, number of items per worker, or in whether they pass JSON or
    /// [`Bytes`](crate::Bytes). So each of these has worker processes of its own, out of those that the pool may have in
    /// all, and a thread. Its workers start with its first item (some 3 ms each); idle workers end where others need
    /// their place. Calls that differ in timeout, retries, chunk size and buffer share their workers.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/two.wat").function("twice").build()?;
    /// let negate = pool.function("negate");
    /// assert_eq!((pool.apply::<_, i64>(4)?, negate.apply::<_, i64>(4)?), (8, -4));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn function(&self, name: &str) -> Function {
        self.with(|settings| settings.function(name))
    }

    settings!(self, Function, &self);

    // ---- calls -------------------------------------------------------------------------------------------------------

    fn group(&self, item_form: ItemEncoding, result_form: ResultForm) -> Result<Arc<CallGroup>, Error> {
        self.settings.check()?;
        #[cfg(feature = "hosts")]
        let settings = self.settings.over_hosts(self.shared.hosts.is_some());
        #[cfg(not(feature = "hosts"))]
        let settings = self.settings.process().clone();
        let task = self.task.clone();
        settings.sharing.complete();
        self.shared.group(GroupKey { task, settings, item_form, result_form })
    }

    fn lazy<I: Iterator<Item: Argument>, R: ReturnValue>(&self, items: I, order: ResultOrder) -> LazyOutcomes<I> {
        let group = self.group(I::Item::form(), R::form());
        LazyOutcomes::new(group, items, order, self.settings.terms, self.settings.buffer)
    }

    /// Submits all items at once.
    fn submit<A: Argument, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<(Arc<CallGroup>, Arc<Job>), Error> {
        // Everything is read before the group expects a job, since reading runs code of the caller.
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
        let job = Arc::new(Job::new(ResultOrder::Input, self.settings.terms));
        group.begin(&job);
        for batch in batches {
            group.submit(&job, batch);
        }
        group.seal(&job);
        Ok((group, job))
    }

    /// Applies the function to every item, and returns the results in the order of the items. Blocks until all are
    /// there.
    ///
    /// Items are read as there is room for them, at most [`buffer_size`](Self::buffer_size) ahead.
    ///
    /// # Errors
    ///
    /// [`Error::Item`] with the first item, by index, that failed; the rest is then cancelled, unlike in Python, where
    /// it goes on running although nobody takes the results. [`map_each`](Self::map_each) returns every outcome
    /// instead. Other errors concern the pool or the task as a whole.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// // Python: pool.map(square, range(5))
    /// let squares: Vec<i64> = pool.map(0..5)?;
    /// assert_eq!(squares, [0, 1, 4, 9, 16]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn map<A: Argument, R: ReturnValue>(&self, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, Error> {
        collect(self.lazy::<_, R>(items.into_iter(), ResultOrder::Input))
    }

    /// Applies the function to every item as [`map`](Self::map) does, and returns each item's result or failure. A
    /// failure costs that item only.
    ///
    /// # Errors
    ///
    /// Those that concern the pool or the task as a whole.
    ///
    /// ```
    /// # use wasmpool::{Kind, Pool};
    /// let pool = Pool::builder("examples/divide.wat").build()?;
    /// let outcomes = pool.map_each::<_, i64>([(6, 2), (1, 0), (9, 3)])?;
    /// assert!(matches!(&outcomes[..], [Ok(3), Err(e), Ok(3)] if e.kind == Kind::Trap));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn map_each<A: Argument, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<Result<R, ItemError>>, Error> {
        let outcomes = self.lazy::<_, R>(items.into_iter(), ResultOrder::Input);
        outcomes.map(|outcome| outcome.map(|(index, outcome)| read(index, outcome))).collect()
    }

    /// Applies the function to every item as [`map`](Self::map) does, and takes at most `timeout` for all of them
    /// together. See [`map_each_timeout`](Self::map_each_timeout) for what there is by then. The iterator of items is
    /// not interrupted.
    ///
    /// # Errors
    ///
    /// [`Error::WaitTimeout`] when the time is over: the items without an outcome are cancelled. Otherwise those of
    /// [`map`](Self::map).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::{Error, Pool};
    /// let pool = Pool::builder("examples/spin.wat").build()?;
    /// // Python: list(executor.map(spin, [1, -1], timeout=0.1))
    /// let squares = pool.map_timeout::<_, i64>([1, -1], Duration::from_millis(100));
    /// assert!(matches!(squares, Err(Error::WaitTimeout)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn map_timeout<A: Argument, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = A>,
        timeout: Duration,
    ) -> Result<Vec<R>, Error> {
        let deadline = deadline(timeout);
        let mut outcomes = self.lazy::<_, R>(items.into_iter(), ResultOrder::Input);
        let mut results = Vec::new();
        while let Some(outcome) = outcomes.next_until(deadline) {
            let (index, outcome) = outcome?;
            results.push(read(index, outcome)?);
            if is_past(deadline) && !outcomes.is_at_its_end() {
                return Err(Error::WaitTimeout);
            }
        }
        Ok(results)
    }

    /// Applies the function to every item as [`map_each`](Self::map_each) does, takes at most `timeout` for all of them
    /// together, and returns what is known by then. Items without an outcome are cancelled, and are failures of kind
    /// `cancelled`. Items that were not even read, being further ahead than [`buffer_size`](Self::buffer_size), are not
    /// in the list. The iterator of items is not interrupted.
    ///
    /// # Errors
    ///
    /// Those that concern the pool or the task as a whole.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::{Kind, Pool};
    /// let pool = Pool::builder("examples/spin.wat").workers(2).build()?;
    /// let outcomes = pool.map_each_timeout::<_, i64>([1, -1, 3], Duration::from_millis(500))?;
    /// assert!(matches!(&outcomes[..], [Ok(1), Err(e), Ok(3)] if e.kind == Kind::Cancelled));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn map_each_timeout<A: Argument, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = A>,
        timeout: Duration,
    ) -> Result<Vec<Result<R, ItemError>>, Error> {
        let deadline = deadline(timeout);
        let mut outcomes = self.lazy::<_, R>(items.into_iter(), ResultOrder::Input);
        let mut known = Vec::new();
        loop {
            match outcomes.next_until(deadline) {
                None => return Ok(known),
                Some(Ok((index, outcome))) => known.push(read(index, outcome)),
                Some(Err(Error::WaitTimeout)) => break,
                Some(Err(e)) => return Err(e),
            }
            if is_past(deadline) {
                break;
            }
        }
        known.extend(outcomes.give_up().into_iter().map(|(index, outcome)| match outcome {
            Some(outcome) => read(index, outcome),
            None => Err(ItemError::cancelled(index)),
        }));
        Ok(known)
    }

    /// Applies the function to every item of an iterator that may fail, as [`map`](Self::map) does.
    ///
    /// # Errors
    ///
    /// [`Error::Items`] with the iterator's error, unless an item before it failed. Otherwise those of
    /// [`map`](Self::map).
    ///
    /// ```
    /// # use wasmpool::{Error, Pool};
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// let items = ["1", "2", "three"].iter().map(|text| text.parse::<i64>());
    /// match pool.try_map::<_, _, i64>(items) {
    ///     Err(Error::Items(e)) => assert!(e.is::<std::num::ParseIntError>()),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn try_map<A: Argument, E, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = Result<A, E>>,
    ) -> Result<Vec<R>, Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (items, failure) = TryItems::new(items.into_iter());
        collect(self.lazy::<_, R>(items, ResultOrder::Input).fails_with(failure))
    }

    /// Returns an iterator over the results for the items of an iterator that may fail, as [`imap`](Self::imap) does. It
    /// ends behind the results of the items before the failure, with the iterator's error as [`Error::Items`].
    ///
    /// ```
    /// # use std::io::BufRead;
    /// # use wasmpool::{Error, Pool};
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// let lines = b"1\n2\n\xff\n".lines();
    /// let items = lines.map(|line| Ok::<i64, Box<dyn std::error::Error + Send + Sync>>(line?.parse()?));
    /// let mut squares = pool.try_imap::<_, _, _, i64>(items);
    /// assert_eq!(squares.next().transpose()?, Some(1));
    /// assert_eq!(squares.next().transpose()?, Some(4));
    /// assert!(matches!(squares.next(), Some(Err(Error::Items(_)))));
    /// assert!(squares.next().is_none());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn try_imap<I, A: Argument, E, R: ReturnValue>(&self, items: I) -> Imap<TryItems<I::IntoIter>, R>
    where
        I: IntoIterator<Item = Result<A, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.try_lazy(items, ResultOrder::Input)
    }

    /// Returns an iterator over the results as they finish; otherwise like [`try_imap`](Self::try_imap).
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// let items = ["1", "2"].iter().map(|text| text.parse::<i64>());
    /// let mut squares: Vec<i64> = pool.try_imap_unordered(items).collect::<Result<_, _>>()?;
    /// squares.sort();
    /// assert_eq!(squares, [1, 4]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn try_imap_unordered<I, A: Argument, E, R: ReturnValue>(&self, items: I) -> Imap<TryItems<I::IntoIter>, R>
    where
        I: IntoIterator<Item = Result<A, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.try_lazy(items, ResultOrder::Arrival)
    }

    fn try_lazy<I, A: Argument, E, R: ReturnValue>(
        &self,
        items: I,
        order: ResultOrder,
    ) -> Imap<TryItems<I::IntoIter>, R>
    where
        I: IntoIterator<Item = Result<A, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (items, failure) = TryItems::new(items.into_iter());
        Imap::new(self.lazy::<_, R>(items, order).fails_with(failure))
    }

    /// Applies the function to every tuple of arguments, as [`map`](Self::map) does to items and Python's
    /// `itertools.starmap` to tuples. A tuple of one is that argument.
    ///
    /// # Errors
    ///
    /// Those of [`map`](Self::map).
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/power.wat").build()?;
    /// // Python: pool.starmap(power, [(2, 3), (3, 2)])
    /// let powers: Vec<i64> = pool.starmap([(2, 3), (3, 2)])?;
    /// assert_eq!(powers, [8, 9]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn starmap<A: Serialize, R: ReturnValue>(&self, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, Error> {
        collect(self.lazy::<_, R>(items.into_iter().map(Star), ResultOrder::Input))
    }

    /// Returns an iterator over the results in the order of the items, for more items than fit into memory, or
    /// infinitely many.
    ///
    /// Items are read in [`Iterator::next`], by the thread that calls it, so neither they nor their iterator have to be
    /// [`Send`]. They are read at most [`buffer_size`](Self::buffer_size) ahead of the result that is taken next. A
    /// failed item is an [`Error::Item`], and the next call continues with the item after it. Any other error ends the
    /// iterator. Dropping the iterator cancels the items that were read and whose results were not taken.
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
    pub fn imap<I: IntoIterator<Item: Argument>, R: ReturnValue>(&self, items: I) -> Imap<I::IntoIter, R> {
        Imap::new(self.lazy::<_, R>(items.into_iter(), ResultOrder::Input))
    }

    /// Returns an iterator over the results as they finish; otherwise like [`imap`](Self::imap).
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
    pub fn imap_unordered<I: IntoIterator<Item: Argument>, R: ReturnValue>(&self, items: I) -> Imap<I::IntoIter, R> {
        Imap::new(self.lazy::<_, R>(items.into_iter(), ResultOrder::Arrival))
    }

    /// Starts what [`map`](Self::map) does, and returns at once. All items are read now, and all of them run; the
    /// result is the first failure, by index, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], or an [`Error::Argument`] for an argument that cannot be bound. Later errors are reported by
    /// the result.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// // Python: result = pool.map_async(square, range(5)); result.get()
    /// let result = pool.map_async::<_, i64>(0..5)?;
    /// assert_eq!(result.get()?, [0, 1, 4, 9, 16]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn map_async<A: Argument, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<AsyncResult<Vec<R>>, Error> {
        let (group, job) = self.submit::<A, R>(items)?;
        Ok(AsyncResult::new(group, job, read_all))
    }

    /// Starts what [`starmap`](Self::starmap) does, and returns at once, as [`map_async`](Self::map_async) does.
    ///
    /// # Errors
    ///
    /// Those of [`map_async`](Self::map_async).
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/power.wat").build()?;
    /// // Python: pool.starmap_async(power, [(2, 3), (3, 2)]).get()
    /// let powers = pool.starmap_async::<_, i64>([(2, 3), (3, 2)])?.get()?;
    /// assert_eq!(powers, [8, 9]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn starmap_async<A: Serialize, R: ReturnValue>(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Result<AsyncResult<Vec<R>>, Error> {
        self.map_async(items.into_iter().map(Star))
    }

    /// Calls the function once, and blocks until its result is there. The argument is like an item of
    /// [`map`](Self::map).
    ///
    /// # Errors
    ///
    /// [`Error::Item`] if the call failed; other errors concern the pool or the task as a whole.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/power.wat").build()?;
    /// // Python: pool.apply(power, (2, 10))
    /// let power: i64 = pool.apply((2, 10))?;
    /// assert_eq!(power, 1024);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn apply<A: Argument, R: ReturnValue>(&self, argument: A) -> Result<R, Error> {
        let (_, job) = self.submit::<A, R>([argument])?;
        let mut state = job.wait_until_settled(None);
        match state.take(0) {
            Some(outcome) => Ok(read(0, outcome)?),
            None => Err(missing(&state, 0)),
        }
    }

    /// Starts what [`apply`](Self::apply) does, and returns at once.
    ///
    /// # Errors
    ///
    /// Those of [`map_async`](Self::map_async).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/power.wat").build()?;
    /// // Python: pool.apply_async(power, (2, 10)).get(timeout=5)
    /// let result = pool.apply_async::<_, i64>((2, 10))?;
    /// assert_eq!(result.get_timeout(Duration::from_secs(5))?, 1024);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn apply_async<A: Argument, R: ReturnValue>(&self, argument: A) -> Result<AsyncResult<R>, Error> {
        let (group, job) = self.submit::<A, R>([argument])?;
        Ok(AsyncResult::new(group, job, |state| read_at(state, 0)))
    }
}

fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Reads an outcome as a value of the type that the caller wants.
pub(super) fn read<R: ReturnValue>(index: u64, outcome: JobOutcome) -> Result<R, ItemError> {
    match outcome {
        Ok(value) => R::read(value.into_bytes()).map_err(|e| unreadable(index, &e)),
        Err(FailedItem { attempts, failure }) => Err(ItemError::new(index, attempts, failure)),
    }
}

/// Reads the outcome of the item `index` as a value of the type that the caller wants, and leaves it in place.
fn read_at<R: ReturnValue>(state: &JobState, index: u64) -> Result<R, Error> {
    match state.outcome(index) {
        Some(Ok(value)) => Ok(R::read(value.bytes().clone()).map_err(|e| unreadable(index, &e))?),
        Some(Err(FailedItem { attempts, failure })) => {
            Err(Error::Item(ItemError::new(index, *attempts, failure.clone())))
        }
        None => Err(missing(state, index)),
    }
}

fn read_all<R: ReturnValue>(state: &JobState) -> Result<Vec<R>, Error> {
    (0..state.submitted).map(|index| read_at(state, index)).collect()
}

fn collect<I: Iterator<Item: Argument>, R: ReturnValue>(outcomes: LazyOutcomes<I>) -> Result<Vec<R>, Error> {
    outcomes.map(|outcome| outcome.and_then(|(index, outcome)| Ok(read(index, outcome)?))).collect()
}

pub(super) fn unreadable(index: u64, e: &ReturnError) -> ItemError {
    ItemError::new(index, 1, Failure::new(FailureKind::InvalidOutput, with_sources(e)))
}

/// Returns the error that explains why an outcome is missing.
fn missing(state: &JobState, index: u64) -> Error {
    state.ended().unwrap_or(&JobEnd::Cancelled).error(index)
}
