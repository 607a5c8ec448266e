//! Bytes that a function returns, taken from where they stand in the guest's memory.
//!
//! `post-return` has freed a list in the guest by the time `TypedFunc::call` returns, so wasmtime hands out a copy of it in
//! a `Vec`, which would be copied once more, to the lane. Between the two it lifts the result. [`Taken`] is a type that
//! copies the list to its place then. Wasmtime has no other way to look at a result before `post-return`; the methods that
//! are implemented here for it are public, but hidden, as they are written by `#[derive(Lift)]` elsewhere. A version with
//! other methods does not compile with this file, which is all that depends on them. One with wider pointers (memories of
//! 64 bits, which components do not have yet) would: where the list begins is read here, though its length is not.

use std::cell::RefCell;

use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext};
use wasmtime::component::{ComponentType, Lift, WasmList};
use wasmtime::{Error, Result};

use wasmpool_core::json;
use wasmpool_core::policy::ResultForm;
use wasmpool_ipc::lane::worker::Output;

thread_local! {
    /// Where the result goes of the function that this thread calls.
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// Where the bytes of a result go.
#[derive(Debug)]
pub struct Place {
    pub form: ResultForm,
    /// If it is there, and there is room, they go there as they are, if they are no more than this.
    pub lane: Option<Output>,
    pub most: usize,
    /// Else they go here.
    pub out: Vec<u8>,
}

impl Place {
    /// Makes a call whose [`Taken`] result goes here. Gives itself back with what the call returned.
    pub fn during<R>(self, call: impl FnOnce() -> R) -> (R, Option<Place>) {
        PLACE.set(Some(self));
        (call(), PLACE.take())
    }

    fn take(&mut self, bytes: &[u8]) {
        let may_be = bytes.len() <= self.most;
        match self.form {
            ResultForm::Json => json::encode_bytes(bytes, &mut self.out),
            ResultForm::Raw if may_be && self.lane.as_mut().is_some_and(|lane| lane.place(bytes)) => {}
            // As large as it has to be, and no longer kept than until the next: it may be very large.
            ResultForm::Raw => self.out = bytes.to_vec(),
        }
    }
}

/// A list of bytes, which was taken to the [`Place`] of the call that returned it.
#[derive(Debug)]
pub struct Taken;

/// What it stands for: wasmtime's view of the same list.
type List = WasmList<u8>;

// SAFETY: all that is said of the type is what wasmtime says of its own view of a list of bytes.
unsafe impl ComponentType for Taken {
    type Lower = <List as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = List::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        List::typecheck(ty, types)
    }
}

// SAFETY: the list is lifted as wasmtime's own view of it, and its bytes are looked at within the memory's bounds.
unsafe impl Lift for Taken {
    fn linear_lift_from_flat(_: &mut LiftContext<'_>, _: InterfaceType, _: &Self::Lower) -> Result<Self> {
        Err(Error::msg("a list is returned by way of memory"))
    }

    fn linear_lift_from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Self> {
        let list = List::linear_lift_from_memory(cx, ty, bytes)?;
        let start = u32::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default()) as usize;
        let bytes = cx.memory().get(start..).and_then(|memory| memory.get(..list.len()));
        let bytes = bytes.ok_or_else(|| Error::msg("the list is not within the memory"))?;
        PLACE.with_borrow_mut(|place| place.as_mut().map(|place| place.take(bytes)));
        Ok(Taken)
    }
}
