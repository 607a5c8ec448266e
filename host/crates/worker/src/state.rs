//! What an instance has beside its memory: the limits it is held to, and WASI where it asks for it.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::command::{Captured, Invocation, TooMuch};
use super::denied::Missed;
use super::deterministic::{self, Clock};
use super::directory::Listing;
use super::file_numbers::{FileNumbers, NoMemory};
use super::meter::{self, Meter};
use super::said;
use super::wasi::Wasi;
use wasmpool_core::artifact::TABLE_ELEMENT;
use wasmpool_core::outcome::Printed;
use wasmpool_core::policy::Limits;
use wasmpool_ipc::lane::PRINTED;
use wasmpool_ipc::lane::worker::PrintedPage;

/// Bytes that are kept of the end of a stream.
const END: usize = 16 << 10;

/// The data of a store.
pub struct State {
    pub limiter: Limiter,
    /// What calls of the host cost.
    pub meter: Meter,
    /// Made when the guest first calls WASI: most never do.
    wasi: Option<Box<(WasiCtx, ResourceTable)>>,
    p1: Option<Box<WasiP1Ctx>>,
    grants: Arc<Wasi>,
    /// Where the run is deterministic; made when it is first looked at.
    clock: OnceCell<Clock>,
    /// Made when the guest first asks which file one is.
    numbers: Option<FileNumbers>,
    /// A directory of preview 1 that was read in part, by its descriptor.
    pub listing: Option<(i32, Listing)>,
    /// Of a command.
    invocation: Option<Invocation>,
    missed: BTreeSet<Missed>,
    /// It has printed without WASI.
    printed: bool,
}

/// Things of one instance that are told as not granted.
const MOST_MISSED: usize = 16;

impl State {
    pub fn new(limits: &Limits, grants: Arc<Wasi>, invocation: Option<Invocation>) -> State {
        State {
            limiter: Limiter { left: usize::try_from(limits.memory).unwrap_or(usize::MAX), refused: false },
            meter: Meter::new(limits.fuel),
            wasi: None,
            p1: None,
            grants,
            clock: OnceCell::new(),
            numbers: None,
            listing: None,
            invocation,
            missed: BTreeSet::new(),
            printed: false,
        }
    }

    /// The guest asks for something that it was not granted.
    pub fn miss(&mut self, missed: Missed) {
        if self.missed.len() < MOST_MISSED {
            self.missed.insert(missed);
        }
    }

    /// What it has asked for in vain.
    pub fn missed(&self) -> &BTreeSet<Missed> {
        &self.missed
    }

    /// Takes what the guest prints by other ways than WASI.
    pub fn print(&mut self, is_error: bool, text: &str) {
        self.printed = true;
        let [stdout, stderr] = &self.grants.printers;
        // Without a command that captures it there is no too much.
        let _ = if is_error { stderr } else { stdout }.print(text.as_bytes());
    }

    /// The reason of a failure, as the guest gave it on standard error since that was last taken.
    pub fn reason(&self) -> Option<String> {
        let [_, stderr] = &self.grants.printers;
        said::reason(&stderr.last())
    }

    /// Of a command.
    pub fn arguments(&self) -> &[String] {
        self.invocation.as_ref().map_or(&[], |invocation| &invocation.arguments)
    }

    /// How many variables and arguments it is told of, and their bytes.
    pub fn told(&self) -> (usize, usize) {
        let (variables, arguments) = (self.grants.variables(), self.arguments());
        let bytes = variables.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        (variables.len() + arguments.len(), bytes + arguments.iter().map(String::len).sum::<usize>())
    }

    /// Whether the guest has called WASI.
    pub fn used_wasi(&self) -> bool {
        self.wasi.is_some() || self.p1.is_some()
    }

    /// Whether the guest has no handle of anything outside its memory.
    pub fn holds_nothing(&self) -> bool {
        self.wasi.as_ref().is_none_or(|wasi| wasi.1.is_empty())
    }

    pub fn clock(&self) -> Clock {
        self.clock.get_or_init(Clock::default).clone()
    }

    pub fn is_deterministic(&self) -> bool {
        self.grants.deterministic
    }

    /// Returns the instance's own number for what the kernel's number of a file was hashed to.
    ///
    /// # Errors
    ///
    /// There is no memory left for it.
    pub fn file_number(&mut self, file: (u64, u64)) -> Result<(u64, u64), NoMemory> {
        let numbers = self.numbers.get_or_insert_with(|| FileNumbers::new(self.grants.deterministic));
        numbers.of(file, &mut self.limiter)
    }

    pub fn grants(&self) -> Arc<Wasi> {
        Arc::clone(&self.grants)
    }

    /// What was printed since it was last taken.
    pub fn take_printed(&mut self) -> Printed {
        // Only WASI prints, and most guests never call it.
        if !self.used_wasi() && !self.printed {
            return Printed::default();
        }
        for address in self.grants.take_refused() {
            self.miss(Missed::Address(address));
        }
        let [stdout, stderr] = &self.grants.printers;
        Printed { stdout: stdout.take(), stderr: stderr.take() }
    }

    /// Forgets what was printed to standard output.
    pub fn take_printed_output(&mut self) {
        let [stdout, _] = &self.grants.printers;
        stdout.take();
    }

    /// The state of preview 1, for a call of it.
    pub fn p1(&mut self) -> &mut WasiP1Ctx {
        self.meter.call_or_unwind();
        let State { p1, grants, invocation, clock, meter, .. } = self;
        p1.get_or_insert_with(|| Box::new(builder(grants, clock, meter, invocation.as_ref()).build_p1()))
    }
}

/// WASI for one instance.
fn builder(grants: &Wasi, clock: &OnceCell<Clock>, meter: &Meter, invocation: Option<&Invocation>) -> WasiCtxBuilder {
    let mut builder = grants.builder(meter);
    if grants.deterministic {
        deterministic::fix(&mut builder, clock.get_or_init(Clock::default), meter);
    }
    if let Some(Invocation { arguments, stdin, stdout }) = invocation {
        let [printer, _] = &grants.printers;
        let printer = printer.counting(meter);
        builder
            .args(arguments)
            .stdin(meter::Input { meter: meter.clone(), of: MemoryInputPipe::new(stdin.clone()) })
            .stdout(printer.capturing(stdout));
    }
    builder
}

impl WasiView for State {
    /// Every call of WASI comes by here.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.meter.call_or_unwind();
        let State { wasi, grants, invocation, clock, meter, .. } = self;
        let context = || Box::new((builder(grants, clock, meter, invocation.as_ref()).build(), ResourceTable::new()));
        let wasi = wasi.get_or_insert_with(context);
        WasiCtxView { ctx: &mut wasi.0, table: &mut wasi.1 }
    }
}

/// Holds an instance to its memory, summed over all its memories, tables and collected values (wasmtime's own limit is for
/// each).
#[derive(Debug)]
pub struct Limiter {
    /// Bytes that it may still take.
    pub left: usize,
    /// A growth was refused: what fails after this failed for want of memory.
    pub refused: bool,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.take(desired.saturating_sub(current), maximum.is_none_or(|most| desired <= most)))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // What the table's own type, or its slot in the pool, has no room for is no want of memory.
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        Ok(self.take(desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT as usize), true))
    }
}

impl Limiter {
    /// Takes so many bytes, if they are there and `fits`.
    pub fn take(&mut self, bytes: usize, fits: bool) -> bool {
        let left = self.left.checked_sub(bytes).filter(|_| fits);
        // What the memory's own type has no room for is no want of memory.
        self.refused |= fits && left.is_none();
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// Keeps the first bytes that are written to it, and swallows the rest: a talkative guest is not a broken one. Without a
/// page to keep them in it swallows all.
#[derive(Clone, Default)]
pub struct Printer {
    page: Option<Arc<Mutex<PrintedPage>>>,
    /// The last bytes, whatever there was before them.
    end: Option<Arc<Mutex<Vec<u8>>>>,
    /// Gets all of it, where it is the value.
    captured: Option<Captured>,
    /// Counts what is written as a stream of WASI 0.3. The others count calls by what they are given.
    meter: Meter,
}

impl Printer {
    pub fn new(page: PrintedPage) -> Printer {
        Printer { page: Some(Arc::new(Mutex::new(page))), ..Printer::default() }
    }

    /// The same, of a stream whose end says why a guest failed.
    pub fn with_end(self) -> Printer {
        Printer { end: Some(Arc::default()), ..self }
    }

    /// The same, of a command.
    fn capturing(&self, captured: &Captured) -> Printer {
        Printer { end: None, captured: Some(captured.clone()), ..self.clone() }
    }

    /// The same, counting.
    pub fn counting(&self, meter: &Meter) -> Printer {
        Printer { meter: meter.clone(), ..self.clone() }
    }

    fn print(&self, bytes: &[u8]) -> Result<(), TooMuch> {
        if let Some(page) = &self.page {
            page.lock().unwrap_or_else(PoisonError::into_inner).append(bytes);
        }
        if let Some(end) = &self.end {
            let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
            end.extend_from_slice(&bytes[bytes.len().saturating_sub(END)..]);
            if end.len() > 2 * END {
                let before = end.len() - END;
                end.drain(..before);
            }
        }
        self.captured.as_ref().map_or(Ok(()), |captured| captured.write(bytes))
    }

    /// The end of what was printed since it was last taken.
    fn last(&self) -> String {
        let end = self.end.as_ref().map(|end| end.lock().unwrap_or_else(PoisonError::into_inner));
        end.map_or_else(String::new, |end| String::from_utf8_lossy(&end).into_owned())
    }

    fn take(&self) -> String {
        if let Some(end) = &self.end {
            end.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let Some(page) = &self.page else {
            return String::new();
        };
        let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
        match page.is_empty() {
            true => String::new(),
            false => String::from_utf8_lossy(&page.take()).into_owned(),
        }
    }
}

impl IsTerminal for Printer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printer {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl OutputStream for Printer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // There is no use in going on.
        self.print(&bytes).map_err(|e| StreamError::Trap(e.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PRINTED)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Printer {
    async fn ready(&mut self) {}
}

impl tokio::io::AsyncWrite for Printer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Err(e) = self.meter.bytes(bytes.len()) {
            return Poll::Ready(Err(io::Error::other(e)));
        }
        Poll::Ready(self.print(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
