//! The state of an instance beside its memory: its limits, and WASI if it asks for it.

use std::cell::{Cell, OnceCell};
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

use super::command::{CapturedOutput, CommandInvocation, TooMuch};
use super::denied::{self, MissedGrant};
use super::deterministic::{self, InstanceClock};
use super::directory::Listing;
use super::file_numbers::{FileNumbers, NoMemory};
use super::keyvalue::KeyCursors;
use super::meter::{self, Meter};
use super::said;
use super::wasi::Wasi;
use wasmpool_core::artifact::TABLE_ELEMENT;
use wasmpool_core::outcome::GuestOutput;
use wasmpool_core::policy::ItemLimits;
use wasmpool_ipc::lane::PRINTED;
use wasmpool_ipc::lane::worker::PrintedPage;
use wasmpool_shared::{Cost, InstanceObjects};

/// Number of bytes that are kept of the end of a stream.
const END: usize = 16 << 10;

/// The data of a store.
pub struct StoreState {
    /// The limits of an item, as messages name them.
    pub limits: ItemLimits,
    pub limiter: MemoryLimiter,
    /// Counts the cost of calls of the host.
    pub meter: Meter,
    /// Created when the guest first calls WASI; most guests never do.
    wasi: Option<Box<(WasiCtx, ResourceTable)>>,
    p1: Option<Box<WasiP1Ctx>>,
    grants: Arc<Wasi>,
    objects: InstanceObjects,
    cursors: KeyCursors,
    /// Used if the run is deterministic; created when it is first read.
    clock: OnceCell<InstanceClock>,
    /// Created when the guest first asks for the number of a file.
    numbers: Option<FileNumbers>,
    /// A directory of preview 1 that was read in part, with its descriptor.
    pub listing: Option<(i32, Listing)>,
    /// Present for a command.
    invocation: Option<CommandInvocation>,
    missed: BTreeSet<MissedGrant>,
    /// True if it looked in vain for something in a directory that was granted.
    is_missing: Cell<bool>,
    /// True if it has printed by other ways than WASI.
    printed: bool,
    /// True if a call of the host may have left something, here or among the instance's handles.
    used: Cell<bool>,
}

/// Maximum number of things that are reported as not granted, for one instance.
const MOST_MISSED: usize = 16;

impl StoreState {
    pub fn new(limits: &ItemLimits, grants: Arc<Wasi>, invocation: Option<CommandInvocation>) -> StoreState {
        let meter = Meter::new(limits.fuel);
        let cost = meter.is_counting().then(|| Box::new(meter.clone()) as Box<dyn Cost>);
        StoreState {
            limits: *limits,
            limiter: MemoryLimiter {
                left: usize::try_from(limits.memory).unwrap_or(usize::MAX),
                refused: false,
                grew: false,
                collects: false,
                meter: meter.clone(),
            },
            objects: InstanceObjects::new(Arc::clone(&grants.shared), cost),
            cursors: KeyCursors::default(),
            meter,
            wasi: None,
            p1: None,
            grants,
            clock: OnceCell::new(),
            numbers: None,
            listing: None,
            invocation,
            missed: BTreeSet::new(),
            is_missing: Cell::new(false),
            printed: false,
            used: Cell::new(false),
        }
    }

    /// Returns true if a call of the host may have left something since this was created: here, or among the handles of
    /// the instance. Calls that only say what is the same for each item do not count.
    pub fn is_used(&self) -> bool {
        self.used.get()
    }

    /// Records a call of the host that may leave something, or whose answer is not the same each time.
    pub fn use_host(&self) {
        self.used.set(true);
    }

    /// Returns the table of what WASI gave the instance handles of, if there is one, and the number of handles of shared objects
    /// that it had at most at a time. `None` if it still has one of these.
    pub fn handles(&mut self) -> Option<(Option<&mut ResourceTable>, u32)> {
        let others = self.objects.has_no_handle().then(|| self.objects.most_handles())?;
        Some((self.wasi.as_mut().map(|wasi| &mut wasi.1), others))
    }

    /// Makes everything anew but the limits, for another item of the same instance, which gets its
    /// [invocation](StoreState::invoke) later if it is a command.
    pub fn renew(&mut self, limits: &ItemLimits) {
        let MemoryLimiter { left, collects, .. } = self.limiter;
        let mut new = StoreState::new(limits, Arc::clone(&self.grants), None);
        new.limiter.left = left;
        new.limiter.collects = collects;
        *self = new;
    }

    /// Returns true if it is that of a command which has been given its arguments.
    pub fn is_invoked(&self) -> bool {
        self.invocation.is_some()
    }

    /// Gives a command its arguments and streams, before it asks for them.
    pub fn invoke(&mut self, invocation: CommandInvocation) {
        self.invocation = Some(invocation);
    }

    /// Takes them back, from a command that did not run.
    pub fn take_invocation(&mut self) -> Option<CommandInvocation> {
        self.invocation.take()
    }

    /// Records that the guest asked for something that it was not granted.
    pub fn miss(&mut self, missed: MissedGrant) {
        self.use_host();
        if self.missed.len() < MOST_MISSED {
            self.missed.insert(missed);
        }
    }

    /// Records that the guest looked in vain for something in a directory that was granted.
    pub fn note_missing(&self) {
        self.is_missing.set(true);
    }

    /// Returns what the guest asked for without being granted it, as far as is known if it `said` this.
    pub fn missed(&self, said: Option<&str>) -> BTreeSet<MissedGrant> {
        let mut missed = self.missed.clone();
        missed.extend(denied::beside(self.grants.reads_only(), self.is_missing.get(), said));
        missed
    }

    /// Returns what the instance does with shared objects.
    pub fn objects(&mut self) -> &mut InstanceObjects {
        self.use_host();
        &mut self.objects
    }

    /// Returns the places from which it may continue to list keys.
    pub fn cursors(&mut self) -> &mut KeyCursors {
        self.use_host();
        &mut self.cursors
    }

    /// Returns the variables of the environment that were granted.
    pub fn variables(&self) -> &[(String, String)] {
        self.grants.variables()
    }

    /// Takes text that the guest prints by other ways than WASI.
    pub fn print(&mut self, is_error: bool, text: &str) {
        self.use_host();
        self.printed = true;
        let [stdout, stderr] = &self.grants.printers;
        // The length of the output is only limited if a command captures it.
        let _ = if is_error { stderr } else { stdout }.print(text.as_bytes());
    }

    /// Returns the reason of a failure that the guest has given on standard error since that was last taken.
    pub fn reason(&self) -> Option<String> {
        let [_, stderr] = &self.grants.printers;
        said::reason(&stderr.last())
    }

    /// Returns the arguments of a command; there are none without one.
    pub fn arguments(&self) -> &[String] {
        self.invocation.as_ref().map_or(&[], |invocation| &invocation.arguments)
    }

    /// Returns the number of variables and arguments that it is given, and their number of bytes.
    pub fn told(&self) -> (usize, usize) {
        let (variables, arguments) = (self.grants.variables(), self.arguments());
        let bytes = variables.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        (variables.len() + arguments.len(), bytes + arguments.iter().map(String::len).sum::<usize>())
    }

    /// Fills a buffer with random bytes, without counting them as fuel.
    pub fn fill_randomly(&mut self, bytes: &mut [u8]) {
        self.use_host();
        self.grants.fill_randomly(bytes);
    }

    /// Returns true if the guest has called WASI.
    pub fn used_wasi(&self) -> bool {
        self.wasi.is_some() || self.p1.is_some()
    }

    /// Returns true if the guest has no handle of anything outside its memory.
    pub fn holds_nothing(&self) -> bool {
        self.objects.has_no_handle() && self.wasi.as_ref().is_none_or(|wasi| wasi.1.is_empty())
    }

    pub fn clock(&self) -> InstanceClock {
        self.use_host();
        self.clock.get_or_init(InstanceClock::default).clone()
    }

    pub fn is_deterministic(&self) -> bool {
        self.grants.deterministic
    }

    /// Returns the instance's own number for a file, given the hash of the kernel's number.
    ///
    /// # Errors
    ///
    /// Fails if there is no memory left for it.
    pub fn file_number(&mut self, file: (u64, u64)) -> Result<(u64, u64), NoMemory> {
        self.use_host();
        let numbers = self.numbers.get_or_insert_with(|| FileNumbers::new(self.grants.deterministic));
        numbers.of(file, &mut self.limiter)
    }

    pub fn grants(&self) -> Arc<Wasi> {
        Arc::clone(&self.grants)
    }

    /// Returns what was printed since it was last taken.
    pub fn take_printed(&mut self) -> GuestOutput {
        // Most items call nothing of the host.
        if !self.is_used() {
            return GuestOutput::default();
        }
        for missed in self.objects.take_missed() {
            self.miss(MissedGrant::Object(missed));
        }
        self.objects.take_refused();
        // Only WASI prints (and `print`), and most guests never call it.
        if !self.used_wasi() && !self.printed {
            return GuestOutput::default();
        }
        for address in self.grants.take_refused() {
            self.miss(MissedGrant::Address(address));
        }
        let [stdout, stderr] = &self.grants.printers;
        GuestOutput { stdout: stdout.take(), stderr: stderr.take() }
    }

    /// Forgets what was printed to standard output.
    pub fn take_printed_output(&mut self) {
        let [stdout, _] = &self.grants.printers;
        stdout.take();
    }

    /// Returns the state of preview 1 for a call of it.
    pub fn p1(&mut self) -> &mut WasiP1Ctx {
        self.use_host();
        self.meter.call_or_unwind();
        let StoreState { p1, grants, invocation, clock, meter, .. } = self;
        p1.get_or_insert_with(|| Box::new(builder(grants, clock, meter, invocation.as_ref(), true).build_p1()))
    }
}

/// Returns WASI for one instance.
fn builder(
    grants: &Wasi,
    clock: &OnceCell<InstanceClock>,
    meter: &Meter,
    invocation: Option<&CommandInvocation>,
    is_preview1: bool,
) -> WasiCtxBuilder {
    let mut builder = grants.builder(meter);
    if grants.deterministic {
        deterministic::fix(&mut builder, clock.get_or_init(InstanceClock::default), meter);
    }
    if let Some(CommandInvocation { arguments, stdin, stdout, piped }) = invocation {
        builder.args(arguments);
        match &piped.stdin {
            Some(pipe) => builder.stdin(pipe.counting(meter)),
            None => {
                builder.stdin(meter::MeteredInput { meter: meter.clone(), of: MemoryInputPipe::new(stdin.clone()) })
            }
        };
        let [printer, _] = &grants.printers;
        match &piped.stdout {
            Some(pipe) if is_preview1 => builder.stdout(pipe.counting(meter).of_preview1()),
            Some(pipe) => builder.stdout(pipe.counting(meter)),
            None => builder.stdout(printer.counting(meter).capturing(stdout)),
        };
    }
    builder
}

impl WasiView for StoreState {
    /// Returns the context of WASI. Every call of WASI goes through here.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.use_host();
        self.meter.call_or_unwind();
        let StoreState { wasi, grants, invocation, clock, meter, .. } = self;
        let context =
            || Box::new((builder(grants, clock, meter, invocation.as_ref(), false).build(), ResourceTable::new()));
        let wasi = wasi.get_or_insert_with(context);
        WasiCtxView { ctx: &mut wasi.0, table: &mut wasi.1 }
    }
}

/// Enforces the memory limit of an instance on the sum of all its memories, tables and collected values (wasmtime's own
/// limit is for each).
#[derive(Debug)]
pub struct MemoryLimiter {
    /// Number of bytes that it may still take.
    pub left: usize,
    /// True if growing was refused: what fails afterwards failed for lack of memory.
    pub refused: bool,
    /// True if a memory or a table has grown.
    pub grew: bool,
    /// True if one of the memories may be that of garbage-collected values.
    pub collects: bool,
    /// Counts what follows where growing is refused.
    pub meter: Meter,
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let grows = self.take(desired.saturating_sub(current), maximum.is_none_or(|most| desired <= most));
        self.grew |= grows && desired > current;
        if !grows && self.collects {
            self.meter.refused_or_unwind();
        }
        Ok(grows)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Exceeding the table's own type, or its slot in the pool, does not count as a lack of memory.
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        let grows = self.take(desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT as usize), true);
        self.grew |= grows && desired > current;
        Ok(grows)
    }
}

impl MemoryLimiter {
    /// Takes this many bytes if they are available and `fits`.
    pub fn take(&mut self, bytes: usize, fits: bool) -> bool {
        let left = self.left.checked_sub(bytes).filter(|_| fits);
        // Exceeding the memory's own type does not count as a lack of memory.
        self.refused |= fits && left.is_none();
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

/// Keeps the first bytes that are written to it, and drops the rest: a guest that prints much is not a broken one.
/// Without a page to keep them in, it drops everything.
#[derive(Clone, Default)]
pub struct OutputCapture {
    page: Option<Arc<Mutex<PrintedPage>>>,
    /// The last bytes, however many there were before them.
    end: Option<Arc<Mutex<Vec<u8>>>>,
    /// Gets all of the output if that is the value.
    captured: Option<CapturedOutput>,
    /// Counts bytes that are written as a stream of WASI 0.3. Streams of other versions count with each call.
    meter: Meter,
}

impl OutputCapture {
    pub fn new(page: PrintedPage) -> OutputCapture {
        OutputCapture { page: Some(Arc::new(Mutex::new(page))), ..OutputCapture::default() }
    }

    /// Also keeps the end of the stream, for one whose end says why a guest failed.
    pub fn with_end(self) -> OutputCapture {
        OutputCapture { end: Some(Arc::default()), ..self }
    }

    /// Returns a printer whose output is captured as that of a command.
    fn capturing(&self, captured: &CapturedOutput) -> OutputCapture {
        OutputCapture { end: None, captured: Some(captured.clone()), ..self.clone() }
    }

    /// Returns a printer that counts.
    pub fn counting(&self, meter: &Meter) -> OutputCapture {
        OutputCapture { meter: meter.clone(), ..self.clone() }
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

    /// Returns the end of what was printed since it was last taken.
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
        page.end();
        match page.is_empty() {
            true => String::new(),
            false => String::from_utf8_lossy(&page.take()).into_owned(),
        }
    }
}

impl IsTerminal for OutputCapture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for OutputCapture {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl OutputStream for OutputCapture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // An error ends the guest: there is no use in continuing.
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
impl Pollable for OutputCapture {
    async fn ready(&mut self) {}
}

impl tokio::io::AsyncWrite for OutputCapture {
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
