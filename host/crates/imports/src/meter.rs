//! The cost of calls of the host for an item whose instructions are counted. Without it, a guest could use any amount
//! of time with few instructions.
//!
//! A call counts [`CALL`], and more depending on its arguments: [`EACH`] for each thing, and one for each byte. That is
//! about the time it takes, expressed in instructions, and it is the same on any machine. If the cost of a call of WASI
//! is known before the call, [`super::charges`] counts it. This module has the count itself, and what can only be
//! counted here: random numbers and bytes of a stream.

use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use rand_core::{Rng, TryRng};
use tokio::io::{AsyncRead, ReadBuf};
use wasmtime::{Store, Trap};
use wasmtime_wasi::cli::{IsTerminal, StdinStream};
use wasmtime_wasi::p2::InputStream;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;

use super::state::StoreState;
use wasmpool_shared::Cost;

/// Units that any call of the host counts.
const CALL: u64 = 500;
/// Units that each thing counts that a call is given: a buffer, a variable.
const EACH: u64 = 100;
/// Units that a subscription counts, for which a timer is made or a descriptor looked at.
const SUBSCRIPTION: u64 = 250;
/// Units that a random byte counts.
const RANDOM_BYTE: u64 = 2;
/// Units that a look at a file counts in addition to the call, and those of a path that is followed, however short.
const FILE: u64 = 1000;
const PATH: u64 = 2000;
/// Units that an entry of a directory counts: it is looked up, and the file's number is requested. The directory itself counts
/// as much.
const ENTRY: u64 = 3000;
/// Units that a byte of a path counts. The kernel follows the path, and the links that are in it.
const PATH_BYTE: u64 = 20;
/// Maximum number of bytes of links that one path may lead along: as many links as the kernel follows, each of the
/// maximum length.
const MOST_LINKED: u64 = 40 << 12;

/// Units that growing a memory counts if it is refused. If the memory is that of garbage-collected values, the engine collects
/// garbage next: it goes through the whole stack, which took up to half a millisecond, however little it then finds.
const REFUSED: u64 = 500_000;

/// Number of bytes of values that one unit pays for, and number of bytes that are free. A guest that writes the values
/// that it passes has paid more: each byte written becomes a value of some forty bytes.
const VALUES: u64 = 64;
const FREE_VALUES: u64 = 64 << 10;

/// The fuel of an item that calls of the host may still use. Counts nothing for an item without a limit. Clones share
/// one count.
#[derive(Clone, Debug, Default)]
pub struct Meter(Option<Arc<FuelCount>>);

#[derive(Debug)]
struct FuelCount {
    most: AtomicU64,
    left: AtomicU64,
    /// Number of bytes in the links that the instance has created.
    linked: AtomicU64,
}

impl Cost for Meter {
    fn call(&self, bytes: usize) -> wasmtime::Result<()> {
        Meter::call(self)?;
        Meter::bytes(self, bytes)
    }

    fn bytes(&self, bytes: usize) -> wasmtime::Result<()> {
        Meter::bytes(self, bytes)
    }
}

/// The payload that unwinds a call of the host that has no way to fail.
struct FuelSpent;

impl Meter {
    /// Returns the meter of an item with this much fuel, or of one without a limit.
    pub fn new(fuel: Option<u64>) -> Meter {
        Meter(fuel.map(|fuel| Arc::new(FuelCount { most: fuel.into(), left: fuel.into(), linked: 0.into() })))
    }

    /// Returns true if there is a limit.
    pub fn is_counting(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the number of bytes of values that a call may take from the guest, if there is a limit. It is what the
    /// item's fuel pays for; each value and each byte of a text costs a fraction of a unit.
    pub fn values(&self) -> Option<u64> {
        let count = self.0.as_ref()?;
        Some(count.most.load(Ordering::Relaxed).saturating_mul(VALUES).saturating_add(FREE_VALUES))
    }

    /// Starts anew for another item, of whose fuel this much is used already.
    pub fn reset(&self, spent: u64) {
        if let Some(count) = &self.0 {
            count.left.store(count.most.load(Ordering::Relaxed).saturating_sub(spent), Ordering::Relaxed);
        }
    }

    /// Counts a call.
    ///
    /// # Errors
    ///
    /// Returns [`Trap::OutOfFuel`] if there is not enough fuel.
    pub fn call(&self) -> wasmtime::Result<()> {
        self.take(CALL)
    }

    /// Counts this many things, in addition to the call.
    pub fn each(&self, things: usize) -> wasmtime::Result<()> {
        self.take((things as u64).saturating_mul(EACH))
    }

    /// Counts this many subscriptions, in addition to the call.
    pub fn subscriptions(&self, subscriptions: usize) -> wasmtime::Result<()> {
        self.take((subscriptions as u64).saturating_mul(SUBSCRIPTION))
    }

    /// Counts looks at this many open files, in addition to the call.
    pub fn files(&self, files: usize) -> wasmtime::Result<()> {
        self.take((files as u64).saturating_mul(FILE))
    }

    /// Counts this many bytes, in addition to the call.
    pub fn bytes(&self, bytes: usize) -> wasmtime::Result<()> {
        self.take(bytes as u64)
    }

    /// Counts a directory and this many entries of it, in addition to the call.
    pub fn directory(&self, entries: usize) -> wasmtime::Result<()> {
        self.take((entries as u64).saturating_add(1).saturating_mul(ENTRY))
    }

    /// Counts another entry of a directory.
    pub fn entry(&self) -> wasmtime::Result<()> {
        self.take(ENTRY)
    }

    /// Counts a path of this many bytes, in addition to the call. It may lead along all links that the instance has
    /// created.
    pub fn path(&self, bytes: usize) -> wasmtime::Result<()> {
        let linked = self.0.as_ref().map_or(0, |count| count.linked.load(Ordering::Relaxed).min(MOST_LINKED));
        let bytes = (bytes as u64).saturating_add(linked);
        self.take(bytes.saturating_mul(PATH_BYTE).saturating_add(PATH))
    }

    /// Records that a link is created whose target has this many bytes.
    pub fn link(&self, target: usize) {
        if let Some(count) = &self.0 {
            count.linked.fetch_add(target as u64, Ordering::Relaxed);
        }
    }

    fn take(&self, units: u64) -> wasmtime::Result<()> {
        let Some(count) = &self.0 else {
            return Ok(());
        };
        // If one amount did not fit, no later one does.
        let left = count.left.load(Ordering::Relaxed).checked_sub(units);
        count.left.store(left.unwrap_or(0), Ordering::Relaxed);
        if left.is_none() { Err(Trap::OutOfFuel.into()) } else { Ok(()) }
    }

    /// Counts a call in a place that has no way to fail. If there is no fuel for it, this unwinds to [`Meter::during`].
    pub fn call_or_unwind(&self) {
        unwind_without(self.call());
    }

    /// Counts that growing a memory was refused, in the same way: what the engine does next has no way to fail.
    pub fn refused_or_unwind(&self) {
        unwind_without(self.take(REFUSED));
    }

    fn random_or_unwind(&self, bytes: usize) {
        unwind_without(self.take((bytes as u64).saturating_mul(RANDOM_BYTE)));
    }

    pub fn bytes_or_unwind(&self, bytes: usize) {
        unwind_without(self.bytes(bytes));
    }

    /// Returns the amount that was used.
    pub fn spent(&self) -> u64 {
        let taken = |count: &Arc<FuelCount>| count.most.load(Ordering::Relaxed) - count.left.load(Ordering::Relaxed);
        self.0.as_ref().map_or(0, taken)
    }

    /// Makes a call of the guest, which ends when its instructions or its calls of the host have used up their fuel.
    ///
    /// # Errors
    ///
    /// Returns [`Trap::OutOfFuel`] in that case. Nothing in the store may be called any more.
    pub fn during<T>(
        store: &mut Store<StoreState>,
        call: impl FnOnce(&mut Store<StoreState>) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        if !store.data().meter.is_counting() {
            return call(store);
        }
        // The runtime passes the unwinding of a call of the host on through the guest, and the caller drops the store.
        let value = match catch_unwind(AssertUnwindSafe(|| call(store))) {
            Ok(result) => result?,
            Err(thrown) if thrown.is::<FuelSpent>() => return Err(Trap::OutOfFuel.into()),
            Err(thrown) => resume_unwind(thrown),
        };
        // Each of the two stayed below the limit; their sum must, too.
        let left = store.get_fuel()?;
        if left < store.data().meter.spent() { Err(Trap::OutOfFuel.into()) } else { Ok(value) }
    }
}

fn unwind_without(taken: wasmtime::Result<()>) {
    if taken.is_err() {
        resume_unwind(Box::new(FuelSpent));
    }
}

/// Random numbers that are counted.
pub struct MeteredRandom<R> {
    pub meter: Meter,
    pub of: R,
}

impl<R: Rng> TryRng for MeteredRandom<R> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        // The runtime draws one for each byte that is requested.
        self.meter.random_or_unwind(1);
        Ok(self.of.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.meter.random_or_unwind(1);
        Ok(self.of.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.meter.random_or_unwind(bytes.len());
        self.of.fill_bytes(bytes);
        Ok(())
    }
}

/// Standard input that counts bytes when they are read as a stream of WASI 0.3. Streams of other versions count with
/// each call.
pub struct MeteredInput {
    pub meter: Meter,
    pub of: MemoryInputPipe,
}

impl IsTerminal for MeteredInput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for MeteredInput {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(InputStreamOf { meter: self.meter.clone(), of: self.of.clone() })
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.of.clone())
    }
}

struct InputStreamOf {
    meter: Meter,
    of: MemoryInputPipe,
}

impl AsyncRead for InputStreamOf {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.of).poll_read(context, into);
        self.meter.bytes_or_unwind(into.filled().len() - before);
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_leaves_nothing() {
        let meter = Meter::new(Some(CALL + 10));
        assert!(meter.call().is_ok());
        assert_eq!(meter.spent(), CALL);
        assert!(meter.clone().bytes(11).is_err());
        assert!(meter.bytes(1).is_err());
        meter.reset(0);
        assert!(meter.call().is_ok() && meter.bytes(10).is_ok() && meter.each(0).is_ok());
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let meter = Meter::new(None);
        assert!(meter.bytes(usize::MAX).is_ok() && meter.each(usize::MAX).is_ok());
        assert_eq!(meter.spent(), 0);
    }
}
