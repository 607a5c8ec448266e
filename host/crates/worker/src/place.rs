//! Calls functions that return bytes, and puts these where they belong.
//!
//! There are two ways. The plain one takes the list as wasmtime hands it out, in a `Vec`, and copies it once more, to the
//! lane. The direct one (`place/taken.rs`) copies it out of the guest's memory to its place. It rests on hidden methods of
//! wasmtime, so it stands behind the feature `direct-results`, which is on by default. So does the direct way of an item into the
//! guest's memory (`place/given.rs`). Both ways have the same results.

use std::borrow::Cow;

use wasmtime::component::{ComponentNamedList, Func, Lift, Lower, TypedFunc};
use wasmtime::{AsContext, AsContextMut, Result};

use wasmpool_core::json;
use wasmpool_core::policy::ResultForm;
use wasmpool_ipc::lane::worker::OutcomeWriter;

#[cfg(feature = "direct-results")]
mod given;
#[cfg(feature = "direct-results")]
mod taken;
#[cfg(test)]
mod tests;

#[cfg(feature = "direct-results")]
use given::DirectItem;
#[cfg(feature = "direct-results")]
use taken::DirectResult;

/// The place for the bytes of a result.
#[derive(Debug)]
pub struct ResultPlace {
    pub form: ResultForm,
    /// If present, it gets the raw bytes, if they fit and are no more than `most`.
    pub lane: Option<OutcomeWriter>,
    pub most: usize,
    /// Otherwise the result goes here.
    pub out: Vec<u8>,
}

impl ResultPlace {
    pub fn take(&mut self, bytes: Cow<'_, [u8]>) {
        let may_be = bytes.len() <= self.most;
        match self.form {
            ResultForm::Json => json::encode_bytes(&bytes, &mut self.out),
            ResultForm::Raw if may_be && self.lane.as_mut().is_some_and(|lane| lane.place(&bytes)) => {}
            // The vector is exactly as large as necessary and only kept until the next result, because it may be very
            // large.
            ResultForm::Raw => self.out = bytes.into_owned(),
        }
    }
}

/// The way that a result takes.
#[derive(Clone, Copy, Debug)]
pub enum ReturnWay {
    /// Chosen only by tests in a build that has both.
    #[cfg_attr(all(feature = "direct-results", not(test)), expect(dead_code))]
    Plain,
    #[cfg(feature = "direct-results")]
    Direct,
}

impl ReturnWay {
    /// The way with the fewest copies that this build has.
    pub const SHORTEST: ReturnWay = {
        #[cfg(feature = "direct-results")]
        let way = ReturnWay::Direct;
        #[cfg(not(feature = "direct-results"))]
        let way = ReturnWay::Plain;
        way
    };
}

/// A function of bytes. One that is typed for `'static` bytes also takes bytes that live as long as a call.
type Typed<R, Item = &'static [u8]> = TypedFunc<(Item,), (R,)>;

/// A function of bytes that returns bytes, or a result of bytes.
pub enum BytesFunction {
    Plain(Typed<Vec<u8>>),
    FalliblePlain(Typed<Result<Vec<u8>, String>>),
    #[cfg(feature = "direct-results")]
    Direct(Typed<DirectResult, DirectItem<'static>>),
    #[cfg(feature = "direct-results")]
    FallibleDirect(Typed<Result<DirectResult, String>, DirectItem<'static>>),
}

impl BytesFunction {
    pub fn new(function: Func, store: impl AsContext, fallible: bool, way: ReturnWay) -> Result<BytesFunction> {
        Ok(match (way, fallible) {
            (ReturnWay::Plain, false) => BytesFunction::Plain(function.typed(store)?),
            (ReturnWay::Plain, true) => BytesFunction::FalliblePlain(function.typed(store)?),
            #[cfg(feature = "direct-results")]
            (ReturnWay::Direct, false) => BytesFunction::Direct(function.typed(store)?),
            #[cfg(feature = "direct-results")]
            (ReturnWay::Direct, true) => BytesFunction::FallibleDirect(function.typed(store)?),
        })
    }

    /// Calls the function with this item and puts what it returns into `place`. The inner error is the guest's own.
    pub fn call(
        &self,
        store: impl AsContextMut,
        item: &[u8],
        place: &mut ResultPlace,
    ) -> Result<std::result::Result<(), String>> {
        match *self {
            BytesFunction::Plain(function) => {
                let bytes = call(function, store, item)?;
                place.take(bytes.into());
                Ok(Ok(()))
            }
            BytesFunction::FalliblePlain(function) => {
                call(function, store, item).map(|bytes| bytes.map(|bytes| place.take(bytes.into())))
            }
            #[cfg(feature = "direct-results")]
            BytesFunction::Direct(function) => {
                taken::to(place, || call(function, store, DirectItem(item))).map(|DirectResult| Ok(()))
            }
            #[cfg(feature = "direct-results")]
            BytesFunction::FallibleDirect(function) => {
                taken::to(place, || call(function, store, DirectItem(item))).map(|taken| taken.map(|DirectResult| ()))
            }
        }
    }
}

fn call<R: Lift + 'static, Item: Lower>(function: Typed<R, Item>, store: impl AsContextMut, item: Item) -> Result<R>
where
    (R,): ComponentNamedList,
    (Item,): ComponentNamedList,
{
    function.call(store, (item,)).map(|(returned,)| returned)
}
