//! Copies bytes that a function returns directly from the guest's memory to where they belong.
//!
//! By the time `TypedFunc::call` returns, `post-return` has freed a list in the guest, so wasmtime returns a copy of it
//! in a `Vec`, which would have to be copied again, to the lane. Before that, wasmtime lifts the result. [`DirectResult`] is a
//! type that copies the list to its place at that moment. Wasmtime has no other way to look at a result before
//! `post-return`. The methods that are implemented here are public but hidden; elsewhere `#[derive(Lift)]` writes them.
//! A version of wasmtime with other methods does not compile with this file, which is the only one that depends on
//! them. A version with wider pointers (64-bit memories, which components do not have yet) would compile and be wrong:
//! where the list begins is read here, although its length is not.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext};
use wasmtime::component::{ComponentType, Lift, WasmList};
use wasmtime::{Error, Result};

use super::ResultPlace;

thread_local! {
    /// The place for the result of the function that this thread is calling.
    static PLACE: Cell<*mut ResultPlace> = const { Cell::new(ptr::null_mut()) };
}

/// Takes the place away from the thread when the call is over, however that ends.
struct CallEnd;

impl Drop for CallEnd {
    fn drop(&mut self) {
        PLACE.set(ptr::null_mut());
    }
}

/// Makes a call whose [`DirectResult`] result goes to `place`. Returns what the call returned.
pub fn to<R>(place: &mut ResultPlace, call: impl FnOnce() -> R) -> R {
    PLACE.set(place);
    let _end = CallEnd;
    call()
}

/// A list of bytes that was copied to the [`ResultPlace`] of the call that returned it.
#[derive(Debug)]
pub struct DirectResult;

/// Wasmtime's view of the same list, which this type stands for.
type WasmListView = WasmList<u8>;

// SAFETY: everything stated about the type is what wasmtime states about its own view of a list of bytes.
unsafe impl ComponentType for DirectResult {
    type Lower = <WasmListView as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = WasmListView::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        WasmListView::typecheck(ty, types)
    }
}

// SAFETY: the list is lifted as wasmtime's own view of it, and its bytes are accessed within the memory's bounds.
unsafe impl Lift for DirectResult {
    fn linear_lift_from_flat(_: &mut LiftContext<'_>, _: InterfaceType, _: &Self::Lower) -> Result<Self> {
        Err(Error::msg("a list is returned by way of memory"))
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Self> {
        let list = WasmListView::linear_lift_from_memory(cx, ty, bytes)?;
        let start = u32::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default()) as usize;
        let bytes = cx.memory().get(start..).and_then(|memory| memory.get(..list.len()));
        let bytes = bytes.ok_or_else(|| Error::msg("the list is not within the memory"))?;
        if let Some(mut place) = NonNull::new(PLACE.get()) {
            // SAFETY: `to` has lent it to this thread for the call, which has no other way to it.
            unsafe { place.as_mut() }.take(bytes.into());
        }
        Ok(DirectResult)
    }
}
