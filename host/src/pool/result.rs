//! The result of a call that returned at once.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::callbacks::Callback;
use super::group::CallGroup;
use super::job::{Job, JobState};
use wasmpool_run::error::Error;

/// The result of [`apply_async`](crate::Function::apply_async), [`map_async`](crate::Function::map_async) or
/// [`starmap_async`](crate::Function::starmap_async). Dropping it changes nothing: the call continues.
///
/// It is also a [`Future`], which needs no particular runtime.
///
/// ```
/// # use wasmpool::Pool;
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     struct Thread(std::thread::Thread);
/// #     impl std::task::Wake for Thread {
/// #         fn wake(self: std::sync::Arc<Self>) { self.0.unpark() }
/// #     }
/// #     let waker = std::sync::Arc::new(Thread(std::thread::current())).into();
/// #     let mut future = std::pin::pin!(future);
/// #     loop {
/// #         match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
/// #             std::task::Poll::Ready(output) => return output,
/// #             std::task::Poll::Pending => std::thread::park(),
/// #         }
/// #     }
/// # }
/// # block_on(async {
/// let pool = Pool::builder("examples/squares.wat").build()?;
/// let square = pool.apply_async::<_, i64>(7)?.await?;
/// assert_eq!(square, 49);
/// # Ok::<(), wasmpool::Error>(())
/// # })
/// # .unwrap();
/// ```
#[must_use = "it tells what became of the call"]
pub struct AsyncResult<T> {
    group: Arc<CallGroup>,
    job: Arc<Job>,
    read: fn(&JobState) -> Result<T, Error>,
}

impl<T> AsyncResult<T> {
    pub(super) fn new(group: Arc<CallGroup>, job: Arc<Job>, read: fn(&JobState) -> Result<T, Error>) -> AsyncResult<T> {
        AsyncResult { group, job, read }
    }

    /// Waits for the result, and until its callbacks have returned. May be called repeatedly: each call reads anew what
    /// the worker sent.
    ///
    /// # Errors
    ///
    /// [`Error::Item`] with the first item, by index, that failed; other errors concern the pool or the task as a
    /// whole.
    ///
    /// ```
    /// # use wasmpool::{Error, Pool};
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// let result = pool.apply_async::<_, i64>(7)?;
    /// // Python: result.get()
    /// assert_eq!(result.get()?, 49);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn get(&self) -> Result<T, Error> {
        self.get_until(None)
    }

    /// Waits for the result as [`get`](Self::get) does, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::WaitTimeout`] if the result is not there in time; the call continues. Otherwise those of
    /// [`get`](Self::get).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::{Error, Pool};
    /// let pool = Pool::builder("examples/spin.wat").build()?;
    /// let result = pool.apply_async::<_, i64>(-1)?;
    /// // Python: result.get(timeout=0.01)
    /// assert!(matches!(result.get_timeout(Duration::from_millis(10)), Err(Error::WaitTimeout)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, Error> {
        self.get_until(deadline(timeout))
    }

    fn get_until(&self, deadline: Option<Instant>) -> Result<T, Error> {
        self.group.check_owner()?;
        let state = self.job.wait_until_settled(deadline);
        if state.is_settled() { (self.read)(&state) } else { Err(Error::WaitTimeout) }
    }

    /// Waits until the result is there, whether it is a success or a failure, and its callbacks have returned. Returns
    /// at once in a process that was forked off from the pool's; [`get`](Self::get) then returns the reason.
    ///
    /// In a callback it does not wait for callbacks, which run one after the other.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// let result = pool.apply_async::<_, i64>(7)?;
    /// // Python: result.wait()
    /// result.wait();
    /// assert!(result.ready());
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits as [`wait`](Self::wait) does, for at most `timeout`. Returns true if the result is there.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/spin.wat").build()?;
    /// // Python: result.wait(0.01)
    /// assert!(!pool.apply_async::<_, i64>(-1)?.wait_timeout(Duration::from_millis(10)));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(deadline(timeout))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        self.group.check_owner().is_ok() && self.job.wait_until_settled(deadline).is_settled()
    }

    /// Has `waker` called when the result is there, if it is not there yet.
    pub(super) fn wake(&self, waker: &Waker) {
        if self.group.check_owner().is_ok() {
            let mut state = self.job.state();
            if !state.is_settled() {
                state.wake(waker);
            }
        }
    }

    pub(super) fn forget(&self, waker: &Waker) {
        if self.group.check_owner().is_ok() {
            self.job.state().forget(waker);
        }
    }

    pub(super) fn is_forked(&self) -> bool {
        self.group.check_owner().is_err()
    }

    /// Returns true if the result is there and its callbacks have returned.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/spin.wat").build()?;
    /// // Python: result.ready()
    /// assert!(!pool.apply_async::<_, i64>(-1)?.ready());
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn ready(&self) -> bool {
        self.group.check_owner().is_ok() && self.job.state().is_settled()
    }

    /// Returns true if the call succeeded.
    ///
    /// # Errors
    ///
    /// [`Error::Unfinished`] if the result is not there yet.
    ///
    /// ```
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/divide.wat").build()?;
    /// let result = pool.apply_async::<_, i64>((1, 0))?;
    /// result.wait();
    /// // Python: result.successful()
    /// assert!(!result.successful()?);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn successful(&self) -> Result<bool, Error> {
        self.group.check_owner()?;
        let state = self.job.state();
        if state.is_settled() { Ok((self.read)(&state).is_ok()) } else { Err(Error::Unfinished) }
    }

    /// Gives the call up: outcomes that are not yet known become failures of kind `cancelled`. Items that no worker was
    /// given do not run, and a worker that stays in one is ended, so that other calls do not wait for it. Returns true
    /// if that changed anything.
    ///
    /// ```
    /// # use wasmpool::{Error, Kind, Pool};
    /// let pool = Pool::builder("examples/spin.wat").build()?;
    /// let result = pool.apply_async::<_, i64>(-1)?;
    /// assert!(result.cancel());
    /// assert!(matches!(result.get(), Err(Error::Item(e)) if e.kind == Kind::Cancelled));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cancel(&self) -> bool {
        if self.group.check_owner().is_err() {
            return false;
        }
        let was_over = self.job.state().is_over();
        self.group.cancel(&self.job);
        !was_over
    }
}

impl<T: 'static> AsyncResult<T> {
    /// Calls `call` with the result once it is there, if it is a success. Callbacks run one after the other, on a
    /// thread of their own; one that panics affects nothing else. They have returned when [`wait`](Self::wait) and
    /// [`get`](Self::get) do, so one that never returns keeps those waiting, and later callbacks of the pool.
    ///
    /// ```
    /// # use std::sync::mpsc;
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/squares.wat").build()?;
    /// let (sender, results) = mpsc::channel();
    /// // Python: pool.apply_async(square, (7,), callback=results.put)
    /// drop(pool.apply_async::<_, i64>(7)?.callback(move |square| sender.send(square).unwrap()));
    /// assert_eq!(results.recv().unwrap(), 49);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn callback(self, call: impl FnOnce(T) + Send + 'static) -> AsyncResult<T> {
        self.call_back(|result| {
            if let Ok(value) = result {
                call(value);
            }
        })
    }

    /// Calls `call` with the error once it is known, if there is one. See [`callback`](Self::callback).
    ///
    /// ```
    /// # use std::sync::mpsc;
    /// # use wasmpool::Pool;
    /// let pool = Pool::builder("examples/divide.wat").build()?;
    /// let (sender, errors) = mpsc::channel();
    /// // Python: pool.apply_async(divide, (1, 0), error_callback=errors.put)
    /// drop(pool.apply_async::<_, i64>((1, 0))?.error_callback(move |e| sender.send(e).unwrap()));
    /// assert!(errors.recv().unwrap().to_string().contains("divide by zero"));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn error_callback(self, call: impl FnOnce(Error) + Send + 'static) -> AsyncResult<T> {
        self.call_back(|result| {
            if let Err(e) = result {
                call(e);
            }
        })
    }

    fn call_back(self, call: impl FnOnce(Result<T, Error>) + Send + 'static) -> AsyncResult<T> {
        if let Err(e) = self.group.check_owner() {
            call(Err(e));
            return self;
        }
        let (job, read) = (self.job.clone(), self.read);
        let returned = CallbackReturn(job.clone());
        let callback = Callback(Box::new(move || {
            // Dropped when the callback has returned, or where it panics or is never called.
            let _returned = returned;
            let result = read(&job.state());
            call(result);
        }));
        let late = self.job.state().call_back(callback);
        if let Some(callback) = late {
            self.group.call_back(callback);
        }
        self
    }
}

/// The end of a callback, which releases those who wait for the result.
struct CallbackReturn(Arc<Job>);

impl Drop for CallbackReturn {
    fn drop(&mut self) {
        for waker in self.0.callback_returned() {
            // A waker is the user's code. The panic hook has already printed the message.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}

impl<T> Future for AsyncResult<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        if let Err(e) = self.group.check_owner() {
            return Poll::Ready(Err(e));
        }
        let mut state = self.job.state();
        if state.is_settled() {
            return Poll::Ready((self.read)(&state));
        }
        state.wake(context.waker());
        Poll::Pending
    }
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

/// Returns the moment at which a wait ends, or `None` for a timeout too long to represent, which is no limit.
pub(super) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
