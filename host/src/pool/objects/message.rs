//! Messages and entries: `serde` values as JSON, which guests in any language read, or bytes as they are.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::spelled;
use super::super::value::Bytes;
use wasmpool_core::text::QuotedName;
use wasmpool_run::shared::ObjectErrorKind;

/// A type of messages of a queue or a pipe, and of entries of a dict, a list or a namespace: anything that `serde`
/// writes and reads without borrowing, and [`Bytes`].
///
/// The former are JSON, in which NaN and the infinities are the strings `"NaN"`, `"Infinity"` and `"-Infinity"`. A guest
/// gets the bytes of that JSON, and what it puts is read as such; `Bytes` are passed as they are.
///
/// ```
/// use wasmpool::{Bytes, Manager};
///
/// let manager = Manager::new();
/// let pairs = manager.queue::<(String, i64)>("pairs", 0)?;
/// let raw = manager.queue::<Bytes>("raw", 0)?;
/// pairs.put(("a".to_owned(), 1))?; // the guest gets `["a",1]`
/// raw.put(Bytes(b"\0\x01".to_vec()))?;
/// assert_eq!(pairs.get()?, ("a".to_owned(), 1));
/// assert_eq!(raw.get()?.0, b"\0\x01");
/// # Ok::<(), wasmpool::Error>(())
/// ```
pub trait Message: Sized {
    #[doc(hidden)]
    fn to_message(&self) -> Result<Vec<u8>, ObjectErrorKind>;
    #[doc(hidden)]
    fn of_message(bytes: Vec<u8>) -> Result<Self, ObjectErrorKind>;
}

impl<T: Serialize + DeserializeOwned> Message for T {
    fn to_message(&self) -> Result<Vec<u8>, ObjectErrorKind> {
        let mut bytes = Vec::new();
        spelled::write(self, &mut bytes).map_err(|e| ObjectErrorKind::Unwritable(e.to_string()))?;
        Ok(bytes)
    }

    fn of_message(bytes: Vec<u8>) -> Result<T, ObjectErrorKind> {
        spelled::read(&bytes).map_err(|e| {
            /// Number of bytes that are shown of what cannot be read.
            const SHOWN: usize = 60;
            let start = String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(&bytes));
            ObjectErrorKind::Unreadable(format!("{e}; it begins with {}", QuotedName::of(&*start)))
        })
    }
}

impl Message for Bytes {
    fn to_message(&self) -> Result<Vec<u8>, ObjectErrorKind> {
        Ok(self.0.clone())
    }

    fn of_message(bytes: Vec<u8>) -> Result<Bytes, ObjectErrorKind> {
        Ok(Bytes(bytes))
    }
}
