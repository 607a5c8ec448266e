//! A stream of bytes from a guest to the host, in which each byte is counted on its way. Bytes that the guest had written
//! before the host began to take them would not be counted otherwise.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Destination, Source, StreamConsumer, StreamProducer, StreamReader, StreamResult};

use super::meter::Meter;
use super::state::StoreState;

/// Maximum number of bytes that are on their way.
const MOST: usize = 64 << 10;

/// Returns a stream of the same bytes, each of which is counted.
pub fn counted(
    store: &mut StoreContextMut<'_, StoreState>,
    written: StreamReader<u8>,
) -> wasmtime::Result<StreamReader<u8>> {
    let meter = store.data().meter.clone();
    let between = Arc::<Mutex<Between>>::default();
    written.pipe(&mut *store, Taker { meter, end: End(Arc::clone(&between)) })?;
    StreamReader::new(&mut *store, Giver(End(between)))
}

/// The bytes that were taken from the guest and not yet given to the host.
#[derive(Default)]
struct Between {
    bytes: Option<Bytes>,
    /// True if one of the two ends is gone.
    is_over: bool,
    /// The end that waits for the other.
    waiting: Option<Waker>,
}

impl Between {
    fn wake(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// Makes an end wait for the other, unless it must finish.
    fn wait(&mut self, context: &Context<'_>, finish: bool) -> Poll<wasmtime::Result<StreamResult>> {
        if finish {
            return Poll::Ready(Ok(StreamResult::Cancelled));
        }
        self.waiting = Some(context.waker().clone());
        Poll::Pending
    }
}

/// One of the two ends. The stream ends when it is dropped.
struct End(Arc<Mutex<Between>>);

impl End {
    fn between(&self) -> MutexGuard<'_, Between> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut between = self.between();
        between.is_over = true;
        between.wake();
    }
}

/// The end that takes what the guest writes.
struct Taker {
    meter: Meter,
    end: End,
}

impl StreamConsumer<StoreState> for Taker {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'_, StoreState>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut between = self.end.between();
        if between.is_over {
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        if between.bytes.is_some() {
            return between.wait(context, finish);
        }
        let mut source = source.as_direct(store);
        let all = source.remaining();
        let taken = Bytes::copy_from_slice(all.get(..MOST).unwrap_or(all));
        if !taken.is_empty() {
            self.meter.bytes(taken.len())?;
            source.mark_read(taken.len());
            between.bytes = Some(taken);
            between.wake();
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// The end that gives it to the host.
struct Giver(End);

impl StreamProducer<StoreState> for Giver {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        _: StoreContextMut<'a, StoreState>,
        mut to: Destination<'a, u8, Bytes>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut between = self.0.between();
        if let Some(bytes) = between.bytes.take() {
            to.set_buffer(bytes);
            between.wake();
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match between.is_over {
            true => Poll::Ready(Ok(StreamResult::Dropped)),
            false => between.wait(context, finish),
        }
    }
}
