//! What an item holds until it drops it.

use std::cell::Cell;

use crate::bindings::shared::wasmpool::shared::types::Acquisition;

use super::Error;

/// What can be acquired and released.
pub trait Held {
    fn release(&self) -> Result<(), Error>;

    /// Returns a number that is greater than every token of an earlier acquisition.
    fn token(&self) -> Result<u64, Error>;
}

/// A lock or a slot that is held, and is released when this is dropped.
///
/// Where a panic unwinds, it is released by that. Where it aborts, as it does in most guests, it traps: then the item's end releases
/// it, and the next holder is told that it was abandoned.
#[must_use = "dropping this releases the lock"]
pub struct Guard<'a> {
    held: Option<&'a dyn Held>,
    abandoned: Option<String>,
    token: Cell<Option<u64>>,
}

impl<'a> Guard<'a> {
    /// Makes a guard of what was acquired. `Error::Timeout` if it was not.
    pub(super) fn new(held: &'a dyn Held, acquisition: Acquisition) -> Result<Self, Error> {
        let abandoned = match acquisition {
            Acquisition::Acquired => None,
            Acquisition::Abandoned(holder) => Some(holder),
            Acquisition::TimedOut => return Err(Error::Timeout),
        };
        Ok(Self { held: Some(held), abandoned, token: Cell::new(None) })
    }

    /// Returns the name of the last holder, if it ended without releasing it. Then what it guards may need repair. This is told
    /// once.
    #[must_use]
    pub fn abandoned(&self) -> Option<&str> {
        self.abandoned.as_deref()
    }

    /// Returns a number that is greater than every token of an earlier acquisition, by whomever: a fencing token. Whoever keeps
    /// what the lock guards outside of the run can refuse what comes with a lesser one, from a holder that was given up and does
    /// not know it.
    ///
    /// # Errors
    ///
    /// [`Error::NotHeld`] if it was released otherwise; [`Error::Lost`].
    pub fn token(&self) -> Result<u64, Error> {
        if let Some(token) = self.token.get() {
            return Ok(token);
        }
        let token = self.held.map_or(Err(Error::NotHeld), Held::token)?;
        self.token.set(Some(token));
        Ok(token)
    }

    /// Releases it now, and returns what stood in the way. Dropping the guard says nothing of that.
    ///
    /// # Errors
    ///
    /// [`Error::NotHeld`] if it was released otherwise; [`Error::Lost`].
    pub fn release(mut self) -> Result<(), Error> {
        self.held.take().map_or(Ok(()), Held::release)
    }

    /// Keeps it held until it is released otherwise, or until the item ends.
    pub(super) fn keep(mut self) {
        self.held = None;
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held {
            // It was released otherwise, or there is no process any more that keeps it.
            let _ = held.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[derive(Default)]
    struct Counted(Cell<u32>);

    impl Held for Counted {
        fn release(&self) -> Result<(), Error> {
            self.0.set(self.0.get() + 1);
            if self.0.get() > 1 { Err(Error::NotHeld) } else { Ok(()) }
        }

        fn token(&self) -> Result<u64, Error> {
            Ok(self.0.get().into())
        }
    }

    #[test]
    fn a_guard_that_is_dropped_releases_once() {
        let lock = Counted::default();
        drop(Guard::new(&lock, Acquisition::Acquired).unwrap());
        assert_eq!(lock.0.get(), 1);
    }

    #[test]
    fn a_guard_that_was_released_does_not_release_again() {
        let lock = Counted::default();
        assert_eq!(Guard::new(&lock, Acquisition::Acquired).unwrap().release(), Ok(()));
        assert_eq!(lock.0.get(), 1);
    }

    #[test]
    fn a_guard_that_is_kept_releases_nothing() {
        let lock = Counted::default();
        Guard::new(&lock, Acquisition::Acquired).unwrap().keep();
        assert_eq!(lock.0.get(), 0);
    }

    #[test]
    fn a_panic_that_unwinds_releases() {
        let lock = Counted::default();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _guard = Guard::new(&lock, Acquisition::Acquired);
            panic!("while it is held");
        }));
        assert!(panicked.is_err());
        assert_eq!(lock.0.get(), 1);
    }

    #[test]
    fn a_guard_tells_who_abandoned_it() {
        let lock = Counted::default();
        let guard = Guard::new(&lock, Acquisition::Abandoned("worker 3".to_owned())).unwrap();
        assert_eq!(guard.abandoned(), Some("worker 3"));
        assert_eq!(Guard::new(&lock, Acquisition::Acquired).unwrap().abandoned(), None);
    }

    #[test]
    fn what_was_not_acquired_in_time_is_no_guard() {
        let lock = Counted::default();
        assert_eq!(Guard::new(&lock, Acquisition::TimedOut).err(), Some(Error::Timeout));
        assert_eq!(lock.0.get(), 0);
    }
}
