//! Arguments and results of a call: `serde` values by way of JSON, or bytes as they are.

use std::any::TypeId;
use std::mem::ManuallyDrop;
use std::ops::Deref;

use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::value::RawValue;

use super::function::BATCH_BYTES;
use super::spelled;
use wasmpool_core::json::from_base64;
use wasmpool_core::policy::ItemEncoding;
use wasmpool_core::policy::ResultForm;
use wasmpool_ipc::batch::Batch;
use wasmpool_ipc::lane::host::LARGE;

/// Bytes that are passed as they are, for functions that take or return `list<u8>`: without JSON or base64, and with no
/// more copies than the way into the worker needs. As a result it takes strings, too.
///
/// As an argument it wraps any `AsRef<[u8]>`; 64 KiB or more are not copied if they are in a `Vec<u8>` or a
/// [`bytes::Bytes`]. A result is a `Bytes<Vec<u8>>` or a `Bytes<bytes::Bytes>`. The latter saves an allocation if it is
/// small: it then shares its memory with its neighbours, and keeps up to 64 KiB alive for as long as it lives.
///
/// A pool that calls one function with both JSON and bytes has worker processes for each (see [`crate::Pool::function`]
/// for what that costs).
///
/// ```
/// use wasmpool::{Bytes, Pool, Task};
///
/// let pool = Pool::builder("examples/echo.wat").build()?;
/// let echoed: Vec<Bytes> = pool.map(["ab", "\0\n"].map(Bytes))?;
/// assert_eq!(echoed, [Bytes(b"ab".to_vec()), Bytes(b"\0\n".to_vec())]);
/// # Ok::<(), wasmpool::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes<T = Vec<u8>>(pub T);

impl<T> Deref for Bytes<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Bytes<T> {
    fn from(bytes: T) -> Bytes<T> {
        Bytes(bytes)
    }
}

/// A type that can be an item: anything that is [`Serialize`], and [`Bytes`].
///
/// A function of one parameter takes the item itself. One of several takes a tuple of them, or a struct (or map) with
/// their names. One of none takes `()`.
pub trait Argument {
    #[doc(hidden)]
    fn form() -> ItemEncoding;
    #[doc(hidden)]
    fn write(item: Self, batch: &mut Batch)
    where
        Self: Sized;
}

impl<T: Serialize> Argument for T {
    fn form() -> ItemEncoding {
        ItemEncoding::Json
    }

    fn write(item: Self, batch: &mut Batch) {
        batch.push_written(|bytes| spelled::write(&item, bytes).map_err(ArgumentError::NoJson));
    }
}

impl<T: AsRef<[u8]>> Argument for Bytes<T> {
    fn form() -> ItemEncoding {
        ItemEncoding::Bytes
    }

    fn write(item: Self, batch: &mut Batch) {
        // A value that fills a batch by itself is not copied if its memory can be handed over.
        if item.0.as_ref().len() < BATCH_BYTES {
            return batch.push(item.0.as_ref());
        }
        match cast::<T, bytes::Bytes>(item.0).or_else(|item| cast::<T, Vec<u8>>(item).map(bytes::Bytes::from)) {
            Ok(whole) => batch.push_whole(whole),
            Err(item) => batch.push(item.as_ref()),
        }
    }
}

/// Returns the value as type `U`, if that is its type.
fn cast<T, U: 'static>(value: T) -> Result<U, T> {
    if typeid::of::<T>() != TypeId::of::<U>() {
        return Err(value);
    }
    let value = ManuallyDrop::new(value);
    // SAFETY: types with the same id differ at most in lifetimes, and this is only called for types without lifetimes.
    Ok(unsafe { std::mem::transmute_copy(&value) })
}

/// The reason why an item cannot be given to a worker.
#[derive(Debug, thiserror::Error)]
enum ArgumentError {
    #[error("the item cannot be written as JSON")]
    NoJson(#[source] serde_json::Error),
    #[error("starmap takes tuples of arguments; map takes items as they are")]
    NoTuple,
}

/// Error: a result is not of the type that it is wanted as.
#[doc(hidden)]
#[derive(Debug, thiserror::Error)]
#[error("the result is not of the type that it is wanted as")]
pub struct ReturnError(#[from] serde_json::Error);

/// A tuple of arguments, as `starmap` takes them; a tuple of one is that argument.
pub struct Star<T>(pub T);

impl<T: Serialize> Argument for Star<T> {
    fn form() -> ItemEncoding {
        ItemEncoding::Json
    }

    fn write(item: Self, batch: &mut Batch) {
        batch.push_written(|bytes| {
            let start = bytes.len();
            spelled::write(&item.0, bytes).map_err(ArgumentError::NoJson)?;
            let tuple = &bytes[start..];
            if tuple.first() != Some(&b'[') {
                return Err(ArgumentError::NoTuple);
            }
            if tuple == b"[]" {
                bytes.truncate(start);
                bytes.extend_from_slice(b"null");
            } else if let Ok([only]) = serde_json::from_slice::<[&RawValue; 1]>(tuple) {
                let only = only.get().to_owned();
                bytes.truncate(start);
                bytes.extend_from_slice(only.as_bytes());
            }
            Ok(())
        });
    }
}

/// A type that a result can be read as: anything that is `serde`'s `Deserialize` without borrowing, and [`Bytes`].
///
/// A result that does not fit the type is a failure of kind `invalid-output` of that item. NaN and the infinities, for
/// which JSON has no number, are read as floats wherever the type has one. Where the type does not say that, as in a
/// `serde_json::Value` or an untagged enum, they are the strings `"NaN"`, `"Infinity"` and `"-Infinity"`.
pub trait ReturnValue: Sized {
    #[doc(hidden)]
    fn form() -> ResultForm;
    #[doc(hidden)]
    fn read(bytes: bytes::Bytes) -> Result<Self, ReturnError>;
    /// Reads a result that was written as JSON, also where the type would have it in its own form. `is_base64` says that
    /// the function returned bytes.
    #[doc(hidden)]
    fn read_json(json: bytes::Bytes, is_base64: bool) -> Result<Self, ReturnError>;
}

impl<T: DeserializeOwned> ReturnValue for T {
    fn form() -> ResultForm {
        ResultForm::Json
    }

    fn read(bytes: bytes::Bytes) -> Result<T, ReturnError> {
        Ok(spelled::read(&bytes)?)
    }

    fn read_json(json: bytes::Bytes, _: bool) -> Result<T, ReturnError> {
        T::read(json)
    }
}

impl ReturnValue for Bytes {
    fn form() -> ResultForm {
        ResultForm::Raw
    }

    fn read(bytes: bytes::Bytes) -> Result<Bytes, ReturnError> {
        // A small result shares its memory with others, and must not keep that alive.
        Ok(Bytes(if bytes.len() < LARGE { bytes.to_vec() } else { bytes.into() }))
    }

    fn read_json(json: bytes::Bytes, is_base64: bool) -> Result<Bytes, ReturnError> {
        match json.first() {
            Some(b'"') => {}
            _ if &json[..] == b"null" => return Ok(Bytes::default()),
            _ => return Bytes::read(json),
        }
        let text: String = serde_json::from_slice(&json)?;
        let bytes = if is_base64 { from_base64(&text).map_err(serde_json::Error::custom)? } else { text.into_bytes() };
        Ok(Bytes(bytes))
    }
}

impl ReturnValue for Bytes<bytes::Bytes> {
    fn form() -> ResultForm {
        ResultForm::Raw
    }

    fn read(bytes: bytes::Bytes) -> Result<Self, ReturnError> {
        Ok(Bytes(bytes))
    }

    fn read_json(json: bytes::Bytes, is_base64: bool) -> Result<Self, ReturnError> {
        Ok(Bytes(Bytes::<Vec<u8>>::read_json(json, is_base64)?.0.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch<T: AsRef<[u8]>>(item: T) -> Batch {
        let mut batch = Batch::default();
        Argument::write(Bytes(item), &mut batch);
        batch
    }

    #[test]
    fn bytes_are_read_from_json_as_the_function_returned_them() {
        for (json, is_base64, wanted) in [
            (r#""AAE=""#, true, &b"\0\x01"[..]),
            (r#""AAE=""#, false, b"AAE="),
            ("12", false, b"12"),
            ("null", false, b""),
        ] {
            let read = Bytes::<Vec<u8>>::read_json(bytes::Bytes::from_static(json.as_bytes()), is_base64);
            assert_eq!(read.map(|bytes| bytes.0).map_err(|e| e.to_string()), Ok(wanted.to_vec()));
        }
        let wrong = Bytes::<bytes::Bytes>::read_json(bytes::Bytes::from_static(br#""?""#), true);
        assert!(wrong.is_err());
    }

    #[test]
    fn large_items_are_not_copied_where_their_memory_can_be_had() {
        let vec = vec![7; BATCH_BYTES];
        let at = vec.as_ptr();
        assert_eq!(batch(vec).last.as_ptr(), at);
        let shared = bytes::Bytes::from(vec![7; BATCH_BYTES]);
        assert_eq!(batch(shared.clone()).last.as_ptr(), shared.as_ptr());
        let borrowed: &[u8] = &shared;
        for copied in [batch(borrowed), batch(&shared), batch(shared.slice(1..))] {
            assert!(copied.last.is_empty() && copied.bytes.len() >= BATCH_BYTES);
        }
    }
}
