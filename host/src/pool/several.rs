//! Waiting for the first or all of several results, as Python's `concurrent.futures` does.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::result::{AsyncResult, deadline};
use wasmpool_run::error::Error;

/// The moment at which [`wait`] returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnWhen {
    /// Some result is there.
    FirstCompleted,
    /// Some result is there that is a failure, or all are there.
    FirstException,
    /// All results are there.
    #[default]
    AllCompleted,
}

/// Waits for several results, for at most `timeout` if there is one, and returns the indices of those that are there,
/// in ascending order. With no results at all, it returns at once.
///
/// A result is there once its callbacks have returned, too. In a process that was forked off from the pool's no result
/// is ever there, and it returns at once.
///
/// ```
/// # use std::time::Duration;
/// # use wasmpool::{Pool, ReturnWhen};
/// let pool = Pool::builder("examples/spin.wat").workers(2).build()?;
/// let results = [pool.apply_async::<_, i64>(-1)?, pool.apply_async::<_, i64>(7)?];
/// // Python: concurrent.futures.wait(results, return_when=FIRST_COMPLETED)
/// assert_eq!(wasmpool::wait(&results, None, ReturnWhen::FirstCompleted), [1]);
/// // Python: concurrent.futures.wait(results, timeout=0.01)
/// assert_eq!(wasmpool::wait(&results, Some(Duration::from_millis(10)), ReturnWhen::AllCompleted), [1]);
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub fn wait<T>(results: &[AsyncResult<T>], timeout: Option<Duration>, when: ReturnWhen) -> Vec<usize> {
    let deadline = timeout.and_then(deadline);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    for result in results {
        result.wake(&waker);
    }
    let there = || -> Vec<usize> { (0..results.len()).filter(|&i| results[i].ready()).collect() };
    let found = loop {
        bell.take();
        let there = there();
        let enough = match when {
            _ if there.len() == results.len() || results.iter().any(AsyncResult::is_forked) => true,
            ReturnWhen::FirstCompleted => !there.is_empty(),
            ReturnWhen::FirstException => there.iter().any(|&i| results[i].successful().is_ok_and(|ok| !ok)),
            ReturnWhen::AllCompleted => false,
        };
        if enough || !bell.wait(deadline) {
            break there;
        }
    };
    for result in results {
        result.forget(&waker);
    }
    found
}

/// Returns an iterator over several results, each with its index, in the order in which they come.
///
/// ```
/// # use wasmpool::Pool;
/// let pool = Pool::builder("examples/squares.wat").build()?;
/// let results = (0..5).map(|i| pool.apply_async::<_, i64>(i)).collect::<Result<Vec<_>, _>>()?;
/// // Python: for future in concurrent.futures.as_completed(futures): ...
/// for (index, result) in wasmpool::as_completed(results) {
///     assert_eq!(result.get()?, (index * index) as i64);
/// }
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub fn as_completed<T>(results: impl IntoIterator<Item = AsyncResult<T>>) -> AsCompleted<T> {
    let bell = Arc::new(Bell::default());
    let waiting: VecDeque<(usize, AsyncResult<T>)> = results.into_iter().enumerate().collect();
    let waker = Waker::from(bell.clone());
    for (_, result) in &waiting {
        result.wake(&waker);
    }
    AsCompleted { bell, waker, waiting, there: VecDeque::new() }
}

/// An iterator over results in the order in which they come; see [`as_completed`].
#[must_use = "results are waited for as they are taken"]
pub struct AsCompleted<T> {
    bell: Arc<Bell>,
    waker: Waker,
    /// Results that are not there, as far as is known, and those that are.
    waiting: VecDeque<(usize, AsyncResult<T>)>,
    there: VecDeque<(usize, AsyncResult<T>)>,
}

impl<T> AsCompleted<T> {
    /// Returns the next result as [`next`](Iterator::next) does, but waits for at most `timeout`; with
    /// [`Duration::ZERO`] it only looks.
    ///
    /// # Errors
    ///
    /// [`Error::WaitTimeout`] when the time is over; the calls go on, and so may the iteration. [`Error::Forked`] in a
    /// process that was forked off from the pool's, where no result comes.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmpool::{Error, Pool};
    /// let pool = Pool::builder("examples/spin.wat").build()?;
    /// let mut results = wasmpool::as_completed([pool.apply_async::<_, i64>(-1)?]);
    /// // Python: concurrent.futures.as_completed(futures, timeout=0.01)
    /// assert!(matches!(results.next_timeout(Duration::from_millis(10)), Some(Err(Error::WaitTimeout))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<(usize, AsyncResult<T>), Error>> {
        self.next_until(deadline(timeout))
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Option<Result<(usize, AsyncResult<T>), Error>> {
        loop {
            if let Some(next) = self.there.pop_front() {
                return Some(Ok(next));
            }
            if self.waiting.is_empty() {
                return None;
            }
            if self.waiting.iter().any(|(_, result)| result.is_forked()) {
                return Some(Err(Error::Forked));
            }
            self.bell.take();
            for _ in 0..self.waiting.len() {
                let Some((index, result)) = self.waiting.pop_front() else {
                    break;
                };
                let to = if result.ready() { &mut self.there } else { &mut self.waiting };
                to.push_back((index, result));
            }
            if self.there.is_empty() && !self.bell.wait(deadline) {
                return Some(Err(Error::WaitTimeout));
            }
        }
    }
}

/// Ends early only in a process that was forked off from the pool's.
impl<T> Iterator for AsCompleted<T> {
    type Item = (usize, AsyncResult<T>);

    fn next(&mut self) -> Option<(usize, AsyncResult<T>)> {
        self.next_until(None)?.ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.there.len() + self.waiting.len();
        (left, Some(left))
    }
}

impl<T> Drop for AsCompleted<T> {
    fn drop(&mut self) {
        for (_, result) in &self.waiting {
            result.forget(&self.waker);
        }
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.size_hint().0).finish_non_exhaustive()
    }
}

/// What a result that has come rings.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was rung. Call this before looking for results, so that none is missed.
    fn take(&self) {
        *self.lock() = false;
    }

    /// Waits until it is rung. Returns false if the deadline came first.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut rung = self.lock();
        while !*rung {
            rung = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(rung).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return false,
                Some(left) => self.changed.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.lock() = true;
        self.changed.notify_all();
    }
}
