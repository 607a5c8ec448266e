//! Copies the bytes of an item directly into the guest's memory.
//!
//! Wasmtime copies a list of bytes with the C library's copy, which takes three times as long as it has to on some processors
//! (`wasmpool_ipc::copy`). The methods that are implemented here are hidden, like those of `taken.rs`, and for them holds what
//! is said there.

use std::mem::MaybeUninit;

use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext};
use wasmtime::component::{ComponentType, Lower};
use wasmtime::{Error, Result, ValRaw};

use wasmpool_ipc::copy::copy;

/// The bytes of an item.
#[derive(Clone, Copy, Debug)]
pub struct DirectItem<'a>(pub &'a [u8]);

// SAFETY: everything stated about the type is what wasmtime states about a slice of bytes.
unsafe impl ComponentType for DirectItem<'_> {
    type Lower = <[u8] as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <[u8] as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        <[u8] as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: both numbers of the list are written: where its bytes are, which were copied to memory that the guest has allocated for
// them, and how many.
unsafe impl Lower for DirectItem<'_> {
    fn linear_lower_to_flat<U>(
        &self,
        cx: &mut LowerContext<'_, U>,
        _: InterfaceType,
        to: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        let DirectItem(item) = *self;
        let start = cx.realloc(0, 0, 1, item.len())?;
        let place = cx.as_slice_mut().get_mut(start..).and_then(|memory| memory.get_mut(..item.len()));
        let place = place.ok_or_else(|| Error::msg("the item is not within the memory"))?;
        // SAFETY: the place is as long as the item, and the guest's memory is not what the item lies in.
        unsafe { copy(item.as_ptr(), place.as_mut_ptr(), item.len()) };
        to.write([start, item.len()].map(|number| ValRaw::i64(number as i64)));
        Ok(())
    }

    fn linear_lower_to_memory<U>(&self, _: &mut LowerContext<'_, U>, _: InterfaceType, _: usize) -> Result<()> {
        Err(Error::msg("the only parameter is not passed by way of memory"))
    }
}
