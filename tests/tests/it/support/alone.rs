//! Tests run in parallel, except those whose limits mean something only on a machine that is not busy.
//!
//! The lock is held by the thread of a test, not by a run, so that a test may run the program twice at once.

use std::cell::RefCell;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

enum Held {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// Reserves the machine for this test alone, until its thread ends. Call it first in a test.
pub fn alone() {
    HELD.with_borrow_mut(|held| {
        if matches!(held, Some(Held::Alone { .. })) {
            return;
        }
        *held = None; // with one test thread, the test before left its own lock here
        let guard = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        *held = Some(Held::Alone { _guard: guard });
    });
}

/// Waits for a test that has reserved the machine. Every run calls it.
pub fn shared() {
    HELD.with_borrow_mut(|held| {
        if held.is_none() {
            let guard = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
            *held = Some(Held::Shared { _guard: guard });
        }
    });
}
