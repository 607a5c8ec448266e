//! Runs one item through one instance: arguments in, result out, and failures sorted by kind.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::component::{Func as ComponentFunc, TypedFunc, Val};
use wasmtime::{Func as CoreFunc, Store, Trap, TypedFunc as CoreTypedFunc, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::load::{CallReturn, CallStrategy, InstanceMaker, LinkedTask};
use super::numbers::{JsonInteger, OfNumber, OfNumbers};
use super::place::{BytesFunction, ResultPlace, ReturnWay};
use super::restore::{AnyInstance, RestorableInstance, Restorer};
use super::scratch::Scratch;
use super::texts::Texts;
use super::told;
use super::trace;
use crate::value::{self, DecodeError, EncodeError, ItemEncoding, MeantFormat, TypePlan};
use wasmpool_core::failed;
use wasmpool_core::json;
use wasmpool_core::outcome::{Failure, FailureKind, JsonStringEncoding, SuccessNotes};
use wasmpool_core::policy::{Isolate, ItemLimits, ResultForm, TaskCall, UNREAD_CODE};
use wasmpool_core::setting::Setting;
use wasmpool_core::text::{bytes_given, bytes_said, duration_given};
use wasmpool_imports::block_on;
use wasmpool_imports::command::{CapturedOutput, CommandInvocation, ValueParts};
use wasmpool_imports::denied;
use wasmpool_imports::meter::Meter;
use wasmpool_imports::piped::{PipedOutput, PipedStreams};
use wasmpool_imports::state::StoreState;
use wasmpool_imports::toolchain::GuestAbort;
use wasmpool_imports::wasi::Wasi;
use wasmpool_ipc::lane::InstanceCounts;
use wasmpool_ipc::lane::control::Control;
use wasmpool_ipc::lane::frame::{ItemTag, OutcomeTag};
use wasmpool_ipc::lane::worker::OutcomeWriter;
use wasmpool_sandbox as sandbox;
use wasmpool_shared::SharedObjects;

/// Fuel of the functions that the compile process adds, which no item pays for.
const OWN_FUEL: u64 = 1 << 40;
/// Time that the host has to end a worker whose shared objects are lost.
const UNTIL_ENDED: Duration = Duration::from_secs(10);

/// Items that run as one call.
#[derive(Default)]
pub struct BatchCall {
    items: Texts,
    tags: Vec<ItemTag>,
}

impl BatchCall {
    pub fn push(&mut self, tag: ItemTag, item: &[u8]) {
        self.items.push(|bytes| bytes.extend_from_slice(item));
        self.tags.push(tag);
    }

    pub fn len(&self) -> usize {
        self.tags.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (ItemTag, &[u8])> {
        self.tags.iter().copied().zip(self.items.iter())
    }

    /// Returns the items as numbers, or `None` if one of them is not a number.
    fn numbers(&self) -> Option<Vec<JsonInteger>> {
        self.iter().map(|(tag, item)| if tag == ItemTag::Item { JsonInteger::read(item) } else { None }).collect()
    }
}

/// Runs items of one task.
pub struct Runner {
    task: LinkedTask,
    call: TaskCall,
    wasi: Arc<Wasi>,
    shared: Arc<SharedObjects>,
    scratch: Option<Scratch>,
    live: Option<LiveInstance>,
    /// Restores instances between items, where the task and the kernel allow it.
    restorer: Option<Restorer>,
    counts: InstanceCounts,
    /// True if restored instances are compared with one that no item has used.
    verified: bool,
    unused: Option<LiveInstance>,
    arguments: Vec<Val>,
    control: &'static Control,
    /// The lane, while an item of a task that [writes to it](Runner::writes_to_lane) is in work. It takes the output of
    /// a command in parts, or the bytes that a function returns, which are then in the lane and not in `out`.
    pub lane: Option<OutcomeWriter>,
}

/// An instance, and the function in it that items are given to.
struct LiveInstance {
    store: Store<StoreState>,
    callee: Callee,
    instance: AnyInstance,
    /// What restoring it takes, if it was prepared for that.
    restorable: Option<RestorableInstance>,
    /// True if it asked the host for nothing while it was made, and so is like all others.
    is_like_others: bool,
    /// Time that making it took. Zero if it is never restored.
    took: Duration,
    /// What an item has left of its fuel when it gets the instance, and how much of it calls of the host have used.
    fuel: Option<u64>,
    spent: u64,
    /// True if it was restored after the last item, so that the next one pays what making it costs.
    is_restored: bool,
    /// True if it is in an unknown state.
    is_spoilt: bool,
}

enum Callee {
    Component(ComponentFunc),
    /// A function from bytes to bytes.
    Bytes(BytesFunction),
    Core(CoreFunc),
    CoreNumber(Box<dyn OfNumber>, CoreFunc),
    /// A function of numbers. Items that are not plain numbers are passed to it as values.
    Number(Box<dyn OfNumber>, ComponentFunc),
    Numbers(Box<dyn OfNumbers>, ComponentFunc),
    /// A command of preview 1, and a command that is a component.
    Start(CoreTypedFunc<(), ()>),
    Run(TypedFunc<(), (Result<(), ()>,)>),
}

impl Runner {
    pub fn new(
        task: LinkedTask,
        call: TaskCall,
        wasi: Arc<Wasi>,
        shared: Arc<SharedObjects>,
        scratch: Option<Scratch>,
        restorer: Option<Restorer>,
        control: &'static Control,
    ) -> Runner {
        Runner {
            task,
            call,
            wasi,
            shared,
            scratch,
            live: None,
            restorer,
            counts: InstanceCounts::default(),
            verified: false,
            unused: None,
            arguments: Vec::new(),
            control,
            lane: None,
        }
    }

    /// Compares each instance that is restored for an item with one that no item has used.
    pub fn verified(self) -> Runner {
        Runner { verified: self.call.isolate == Isolate::Item, ..self }
    }

    /// Resets the times of the scratch directory for the item that begins.
    pub fn begin(&self) -> io::Result<()> {
        self.scratch.as_ref().map_or(Ok(()), Scratch::renew)
    }

    /// Returns true if the last item left nothing in its scratch directory.
    pub fn left_nothing(&self) -> io::Result<bool> {
        self.scratch.as_ref().map_or(Ok(true), Scratch::is_empty)
    }

    /// Removes what the last item left in its scratch directory.
    ///
    /// # Errors
    ///
    /// If this fails, no other item may run in this process: it has to end.
    pub fn clear_away(&self) -> io::Result<()> {
        self.scratch.as_ref().map_or(Ok(()), Scratch::empty)
    }

    /// Returns true if a result, or parts of it, can go to the lane before the item ends.
    pub fn writes_to_lane(&self) -> bool {
        match self.task.manner {
            CallStrategy::Bytes | CallStrategy::FallibleBytes => true,
            CallStrategy::Command => self.call.in_parts,
            _ => false,
        }
    }

    /// Makes the next item start from pristine memory: restores the instance, or drops it if that is not possible.
    pub fn renew(&mut self) {
        let Some(live) = self.live.as_mut().filter(|live| !live.is_restored) else {
            return;
        };
        // Output that no item has reported, for example that of `init`, is dropped.
        live.store.data_mut().take_printed();
        let mut not_prepared = None;
        live.is_restored = match (&mut self.restorer, &mut live.restorable) {
            (Some(restorer), Some(restorable)) if live.is_spoilt => {
                restorer.lost(restorable);
                false
            }
            (Some(restorer), Some(restorable)) => {
                own_calls(&self.call, &mut live.store);
                restorer.restore(&mut live.store, restorable, &self.call.limits)
            }
            (Some(restorer), None) => {
                let is_restorable = restorer.dropped(&mut live.store, live.is_like_others && !live.is_spoilt);
                not_prepared = Some((live.took, Instant::now(), is_restorable));
                false
            }
            (None, _) => false,
        };
        if !live.is_restored {
            self.live = None;
            if let (Some(restorer), Some((making, began, is_restorable))) = (&mut self.restorer, not_prepared) {
                restorer.made(making, began.elapsed(), is_restorable);
            }
        }
    }

    /// Returns how many instances were made so far, and how many items got a restored one.
    pub fn counts(&self) -> InstanceCounts {
        self.counts
    }

    /// Creates an instance, so that a task that cannot start reports that before it is given anything.
    pub fn prepare(&mut self) -> Result<(), Failure> {
        let live = instantiate(&self.task, &self.call, &self.wasi, None, self.restorer.as_mut())
            .map_err(|why| if self.shared.are_lost() { lost_objects() } else { why })?;
        self.counts.made += 1;
        // Files that `init` left are removed before the first item, as they would not exist for the second one either.
        if live.store.data().used_wasi() {
            let failed = |e| {
                Failure::new(
                    FailureKind::Trap,
                    format!("the scratch directory of {} cannot be emptied: {e}", Setting::Scratch),
                )
            };
            self.clear_away().map_err(failed)?;
        }
        self.live = Some(live);
        Ok(())
    }

    /// Runs the item with this index. Writes its encoded result to `out`, or places it in the lane if that was lent.
    pub fn run(&mut self, tag: ItemTag, item: &[u8], index: u64, out: &mut Vec<u8>) -> Result<OutcomeTag, Failure> {
        out.clear();
        // A command may be told the index; an item that failed in an earlier run keeps the one that it had there.
        let again = tag == ItemTag::Item && self.call.takes_failed && self.task.manner == CallStrategy::Command;
        let original = again.then(|| failed::original(item)?.index).flatten();
        let index = original.unwrap_or(index);
        let (item, form) = self.open(tag, item)?;
        if self.call.only_checked {
            out.extend_from_slice(b"null");
            return self.check(&item, form).map(|()| OutcomeTag::Value);
        }
        self.shared.item_begins(index);
        let result = match self.task.manner {
            CallStrategy::Command => self
                .execute(&item, form, index, out)
                .map(|beside| (OutcomeTag::Value, (!beside.is_empty()).then(|| Box::new(beside)))),
            _ => self.attempt(&item, form, out).map(plain),
        };
        let result = self.release(result);
        let concluded = self.conclude(result, out);
        match self.verified {
            true => self.verify(concluded),
            false => concluded,
        }
    }

    /// Restores the instance already now, and compares it with one that no item has used.
    #[cold]
    fn verify(&mut self, concluded: Result<OutcomeTag, Failure>) -> Result<OutcomeTag, Failure> {
        self.renew();
        let (Some(restorer), Some(LiveInstance { store, instance, restorable: Some(restorable), .. })) =
            (&self.restorer, &mut self.live)
        else {
            return concluded;
        };
        let mut unused = match self.unused.take() {
            Some(unused) => unused,
            None => instantiate(&self.task, &self.call, &self.wasi, None, None)?,
        };
        own_calls(&self.call, store);
        own_calls(&self.call, &mut unused.store);
        let compared = restorer.difference((store, instance, restorable), (&mut unused.store, &unused.instance));
        self.unused = Some(unused);
        let differs = |how: &dyn Display| {
            let message = format!("the instance that was restored differs from a new one: {how}");
            Err(Failure::new(FailureKind::Trap, message))
        };
        match compared {
            Ok(None) => concluded,
            Ok(Some(difference)) => differs(&difference),
            Err(e) => differs(&e),
        }
    }

    /// Checks that an item fits the function.
    fn check(&mut self, item: &[u8], form: ItemEncoding) -> Result<(), Failure> {
        match self.task.manner {
            CallStrategy::Command => Ok(()),
            CallStrategy::Bytes | CallStrategy::FallibleBytes => plain_bytes(item, form, &self.call).map(drop),
            _ => {
                let decoded = self.task.params.decode(item, form, &mut self.arguments);
                decoded.map_err(|misfit| self.unfit(&misfit, item, form))
            }
        }
    }

    /// Releases what the item holds of shared objects. An item that lost them has failed, whatever it made of that.
    fn release<R>(&self, result: Result<R, Failure>) -> Result<R, Failure> {
        match self.shared.item_ended(result.is_err()) {
            true => result,
            false => Err(lost_objects()),
        }
    }

    /// Runs a command on an item.
    fn execute(
        &mut self,
        item: &[u8],
        form: ItemEncoding,
        index: u64,
        out: &mut Vec<u8>,
    ) -> Result<SuccessNotes, Failure> {
        let parts = self.lane.take().map(|lane| ValueParts { lane, control: self.control });
        let stdout = match &self.call.command {
            Some(command) if command.without_value => CapturedOutput::discarding(parts),
            _ => CapturedOutput::new(self.most(), parts),
        };
        let code = self.execute_to(&stdout, item, form, index);
        self.lane = stdout.give_back().map(|parts| parts.lane);
        let Ok(bytes) = stdout.take() else {
            return Err(too_large(self.most()));
        };
        let code = code?;
        let (Some(command), Some(live)) = (&self.call.command, &mut self.live) else {
            return Err(other_kind());
        };
        if !command.ok_codes.contains(&code) {
            return Err(exit(code));
        }
        // It is the value, so it is not reported as printed output as well.
        live.store.data_mut().take_printed_output();
        let mut beside = SuccessNotes { code: (code != 0).then_some(code), ..SuccessNotes::default() };
        match (self.call.result_form, std::str::from_utf8(&bytes)) {
            (ResultForm::Raw, _) => *out = bytes,
            (ResultForm::Json, Ok(text)) => json::encode_string(text, out),
            (ResultForm::Json, Err(_)) => {
                beside.encoding = Some(JsonStringEncoding::Base64);
                json::encode_bytes(&bytes, out);
            }
        }
        Ok(beside)
    }

    /// Runs the command with this standard output, and returns its exit code.
    fn execute_to(
        &mut self,
        stdout: &CapturedOutput,
        item: &[u8],
        form: ItemEncoding,
        index: u64,
    ) -> Result<i32, Failure> {
        let command = self.call.command.as_ref().ok_or_else(other_kind)?;
        let mut invocation = CommandInvocation::new(command, item, form, index, stdout.clone())?;
        invocation.piped = PipedStreams::open(&self.shared, command.pipes)
            .map_err(|fault| Failure::new(FailureKind::Trap, fault.to_string()))?;
        let unread = invocation.piped.stdout.as_ref().map(PipedOutput::unread);
        let is_async = self.task.is_async;
        let ended = run_command(self.invoke(invocation)?, is_async);
        let is_unread = unread.is_some_and(|unread| unread.load(Ordering::Relaxed));
        let is_ok = |code| self.call.command.as_ref().is_some_and(|command| command.ok_codes.contains(&code));
        match ended {
            Ok(code) if is_ok(code) || !is_unread => Ok(code),
            Err(failure) if failure.kind != FailureKind::Trap || !is_unread => Err(failure),
            _ => Err(unread_output()),
        }
    }

    /// Returns an instance for a command: one that was restored, or a new one.
    fn invoke(&mut self, invocation: CommandInvocation) -> Result<&mut LiveInstance, Failure> {
        if self.live.as_ref().is_some_and(|live| live.is_restored) {
            let live = self.live()?;
            live.store.data_mut().invoke(invocation);
            return Ok(live);
        }
        let made = instantiate(&self.task, &self.call, &self.wasi, Some(invocation), self.restorer.as_mut())?;
        self.counts.made += 1;
        Ok(self.live.insert(made))
    }

    /// Returns the maximum size of a result in bytes.
    fn most(&self) -> usize {
        usize::try_from(self.call.limits.max_output).unwrap_or(usize::MAX)
    }

    /// Returns the bytes of an item and how to read them. An item that failed in an earlier run is taken out of its
    /// record.
    fn open<'a>(&self, tag: ItemTag, item: &'a [u8]) -> Result<failed::ReadItem<'a>, Failure> {
        if tag == ItemTag::Unreadable {
            return Err(Failure::new(
                FailureKind::InvalidInput,
                String::from_utf8_lossy(failed::split_unreadable(item).0),
            ));
        }
        let again = self.call.takes_failed.then(|| failed::read(item)).flatten();
        again.unwrap_or(Ok((Cow::Borrowed(item), self.call.item_form)))
    }

    /// Runs items as one call, and passes the outcome of each to `answer`, in order, with its encoded result. Items
    /// that do not fit fail alone. Returns `false`, without having answered anything, if the call itself failed with
    /// more than one item in it, so that it is unknown which one is to blame.
    pub fn run_batch(
        &mut self,
        items: &BatchCall,
        mut answer: impl FnMut(&Result<OutcomeTag, Failure>, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<bool> {
        let mut out = Vec::new();
        match self.call_numbers(items) {
            Ok(None) => {}
            Ok(Some(texts)) => {
                for text in texts.iter() {
                    out.clear();
                    out.extend_from_slice(text);
                    let outcome = self.conclude(Ok(plain(OutcomeTag::Value)), &mut out);
                    answer(&outcome, &mut out)?;
                }
                return Ok(true);
            }
            Err(failure) => return self.blame_batch(failure, vec![Ok(()); items.len()], items.len(), answer),
        }
        let mut arguments = Vec::new();
        let mut elements = Vec::new();
        let mut scratch = Vec::new();
        let fits: Vec<Result<(), Failure>> = items
            .iter()
            .map(|(tag, item)| self.decode_element(tag, item, &mut scratch, &mut arguments, &mut elements))
            .collect();
        let count = elements.len();
        let result = match elements.is_empty() {
            true => Ok(Vec::new()),
            false => self.attempt_batch(arguments, elements),
        };
        let results = match result {
            Ok(results) => results,
            Err(failure) => return self.blame_batch(failure, fits, count, answer),
        };
        let mut results = results.iter();
        for fit in fits {
            out.clear();
            let outcome = match fit {
                Err(failure) => Err(failure),
                Ok(()) => {
                    let encoded = self.encode_to(self.task.returns.element(), results.next(), &mut out);
                    self.conclude(encoded.map(plain), &mut out)
                }
            };
            answer(&outcome, &mut out)?;
        }
        Ok(true)
    }

    /// Answers for a call that failed with `count` items that fit. If there is only one, it is to blame.
    fn blame_batch(
        &mut self,
        failure: Failure,
        fits: Vec<Result<(), Failure>>,
        count: usize,
        mut answer: impl FnMut(&Result<OutcomeTag, Failure>, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<bool> {
        let mut out = Vec::new();
        let Err(failure) = self.conclude(Err(failure), &mut out) else {
            return Ok(false);
        };
        if count != 1 {
            return Ok(false);
        }
        for fit in fits {
            answer(&fit.and_then(|()| Err(failure.clone())), &mut out)?;
        }
        Ok(true)
    }

    /// Reads one item of a batch. Its value goes to `elements`; `arguments` gets the other arguments, from the last
    /// item that fits.
    fn decode_element(
        &self,
        tag: ItemTag,
        item: &[u8],
        scratch: &mut Vec<Val>,
        arguments: &mut Vec<Val>,
        elements: &mut Vec<Val>,
    ) -> Result<(), Failure> {
        let (item, form) = self.open(tag, item)?;
        scratch.clear();
        self.task.params.decode(&item, form, scratch).map_err(|misfit| self.unfit(&misfit, &item, form))?;
        if let Some(slot) = scratch.get_mut(self.task.slot) {
            elements.push(std::mem::replace(slot, Val::Bool(false)));
        }
        std::mem::swap(scratch, arguments);
        Ok(())
    }

    /// Returns the failure of an item that is not what the function takes.
    #[cold]
    fn unfit(&self, misfit: &DecodeError, item: &[u8], form: ItemEncoding) -> Failure {
        let advice = self.task.params.meant(item, form).map(|meant| match meant {
            MeantFormat::Lines => format!("; {} gives the function each item as it stands", Setting::InputOfLines),
            MeantFormat::Csv => format!("; {} reads rows like this one", Setting::InputOfCsv),
            MeantFormat::Element => format!("; {} calls the function once for many items", Setting::Batch),
        });
        Failure::new(FailureKind::InvalidInput, format!("{misfit}{}", advice.unwrap_or_default()))
    }

    fn attempt(&mut self, item: &[u8], form: ItemEncoding, out: &mut Vec<u8>) -> Result<OutcomeTag, Failure> {
        if form == ItemEncoding::Json && self.call_number(item, out)? {
            return Ok(OutcomeTag::Value);
        }
        if let CallStrategy::Bytes | CallStrategy::FallibleBytes = self.task.manner {
            let item = plain_bytes(item, form, &self.call)?;
            let (form, most) = (self.call.result_form, self.most());
            let (lane, empty) = (self.lane.take(), std::mem::take(out));
            let mut place = ResultPlace { form, lane, most, out: empty };
            let called = self.live().and_then(|live| call_bytes(live, &item, &mut place));
            (self.lane, *out) = (place.lane, place.out);
            return called.map(|()| OutcomeTag::Value);
        }
        let mut arguments = std::mem::take(&mut self.arguments);
        arguments.clear();
        let result = match self.task.params.decode(item, form, &mut arguments) {
            Ok(()) => self.call_values(&arguments),
            Err(misfit) => Err(self.unfit(&misfit, item, form)),
        };
        self.arguments = arguments;
        self.encode_to(self.task.returns.value.as_ref(), result?.as_ref(), out)
    }

    /// Calls a function of a number if the item is a number. Returns `false`, without having called anything, if it is
    /// not.
    fn call_number(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<bool, Failure> {
        let CallStrategy::Number(_) = self.task.manner else {
            return Ok(false);
        };
        let Some(number) = JsonInteger::read(item) else {
            return Ok(false);
        };
        let live = self.live()?;
        let (Callee::Number(function, _) | Callee::CoreNumber(function, _)) = &live.callee else {
            return Ok(false);
        };
        let called = Meter::during(&mut live.store, |store| function.call(store, number, out).transpose());
        called.map(|called| called.is_some()).map_err(|e| blame(&e, &live.store))
    }

    /// Calls a function of numbers for a batch if all items are numbers, and returns the result of each. Returns
    /// `None`, without having called anything, if they are not.
    fn call_numbers(&mut self, items: &BatchCall) -> Result<Option<Texts>, Failure> {
        let (CallStrategy::Numbers(_), ItemEncoding::Json) = (self.task.manner, self.call.item_form) else {
            return Ok(None);
        };
        let Some(numbers) = items.numbers() else {
            return Ok(None);
        };
        let live = self.live()?;
        let Callee::Numbers(function, _) = &live.callee else {
            return Ok(None);
        };
        let called = Meter::during(&mut live.store, |store| function.call(store, &numbers).transpose());
        let called = called.map_err(|e| blame(&e, &live.store));
        let Some(texts) = self.release(called)? else {
            return Ok(None);
        };
        as_many(texts.len(), items.len()).map(|()| Some(texts))
    }

    fn attempt_batch(&mut self, mut arguments: Vec<Val>, elements: Vec<Val>) -> Result<Vec<Val>, Failure> {
        let count = elements.len();
        if let Some(slot) = arguments.get_mut(self.task.slot) {
            *slot = Val::List(elements);
        }
        let called = self.call_values(&arguments);
        let Some(Val::List(results)) = self.release(called)? else {
            return Err(Failure::new(FailureKind::InvalidOutput, "the function returned no list"));
        };
        as_many(results.len(), count).map(|()| results)
    }

    /// Writes a result in the requested form.
    fn encode_to(
        &self,
        shape: Option<&TypePlan>,
        value: Option<&Val>,
        out: &mut Vec<u8>,
    ) -> Result<OutcomeTag, Failure> {
        let most = self.most();
        if self.call.flatten {
            encode_elements(shape, value, self.call.result_form, most, out).map(|()| OutcomeTag::Values)
        } else {
            encode(shape, value, self.call.result_form, most, out).map(|()| OutcomeTag::Value)
        }
    }

    /// Calls the function, and unwraps an outer `result` that it returns.
    fn call_values(&mut self, arguments: &[Val]) -> Result<Option<Val>, Failure> {
        let most = self.most();
        self.live()?;
        let Some(live) = &mut self.live else {
            return Ok(None);
        };
        open_result(call(live, &self.task, arguments)?, &self.task.returns, most)
    }

    /// Returns the instance for the next item: the existing one with its limits reset, or a new one.
    fn live(&mut self) -> Result<&mut LiveInstance, Failure> {
        if let Some(live) = &mut self.live {
            live.store.data_mut().limiter.refused = false;
            let is_restored = std::mem::take(&mut live.is_restored);
            self.counts.restored += u64::from(is_restored);
            if let Some(fuel) = self.call.limits.fuel {
                // An item that gets a restored instance has as much as with a new one.
                let (fuel, spent) = match is_restored {
                    true => (live.fuel.unwrap_or(fuel), live.spent),
                    false => (fuel, 0),
                };
                live.store.data().meter.reset(spent);
                live.store.set_fuel(fuel).map_err(|e| Failure::new(FailureKind::Trap, format!("{e:#}")))?;
            }
        } else {
            self.prepare()?;
        }
        self.live.as_mut().ok_or_else(other_kind)
    }

    /// Does what is common to every end of a call: checks the size of the result, adds what was printed, and drops an
    /// instance that trapped.
    fn conclude(
        &mut self,
        result: Result<(OutcomeTag, Option<Box<SuccessNotes>>), Failure>,
        out: &mut Vec<u8>,
    ) -> Result<OutcomeTag, Failure> {
        let (tag, beside) = match result {
            Ok(_) if out.len() > self.most() => return Err(self.failed(too_large(self.most()))),
            Ok(outcome) => outcome,
            Err(failure) => return Err(self.failed(failure)),
        };
        let printed = self.live.as_mut().map(|live| live.store.data_mut().take_printed()).unwrap_or_default();
        let is_base64 = self.call.tells_encoding && matches!(self.task.returns.value, Some(TypePlan::Bytes));
        if printed.is_empty() && beside.is_none() && !is_base64 {
            return Ok(tag);
        }
        let mut beside = SuccessNotes { printed, ..beside.map(|beside| *beside).unwrap_or_default() };
        if is_base64 {
            beside.encoding = Some(JsonStringEncoding::Base64);
        }
        let beside = serde_json::to_vec(&beside).expect("plain data can be written as JSON");
        let mut front = (beside.len() as u32).to_ne_bytes().to_vec();
        front.extend(beside);
        front.extend(self.lane.as_mut().map(OutcomeWriter::take_placed).unwrap_or_default());
        out.splice(0..0, front);
        Ok(match tag {
            OutcomeTag::Values => OutcomeTag::ValuesAndBeside,
            _ => OutcomeTag::ValueAndBeside,
        })
    }

    /// Completes a failure with what is known, and drops an instance that trapped.
    #[cold]
    fn failed(&mut self, mut failure: Failure) -> Failure {
        if let Some(live) = &mut self.live {
            tell(&mut failure, &mut live.store);
        }
        if spoils(failure.kind) {
            if let (Some(restorer), Some(LiveInstance { restorable: Some(lost), .. })) =
                (&mut self.restorer, &self.live)
            {
                restorer.lost(lost);
            }
            self.live = None;
        }
        failure
    }
}

/// Waits for the host to end this process, since the process that keeps the shared objects has ended. The host says so
/// for the whole run; an answer that is here before it knows would blame the item. Returns that answer if it never comes.
fn lost_objects() -> Failure {
    let began = Instant::now();
    while let Some(left) = UNTIL_ENDED.checked_sub(began.elapsed()) {
        thread::park_timeout(left);
    }
    Failure::new(FailureKind::Trap, "the process that keeps the shared objects has ended")
}

/// Adds to a failure what its instance knows: what the guest printed, the reason that it gave, what it was not granted, and
/// which shared object refused its last call.
fn tell(failure: &mut Failure, store: &mut Store<StoreState>) {
    let reason = store.data().reason();
    let refused = store.data_mut().objects().take_refused();
    failure.printed = store.data_mut().take_printed();
    if failure.kind == FailureKind::Exit
        && let Some(reason) = &reason
    {
        failure.message += &format!(": {reason}");
    }
    if failure.kind == FailureKind::InvalidInput {
        return;
    }
    let said = match failure.kind {
        FailureKind::Error => failure.error.as_ref().map(|_| failure.message.clone()),
        _ => reason,
    };
    let missed = store.data().missed(said.as_deref());
    let advice = denied::advice(&missed, failure.kind, said.as_deref());
    failure.denied = denied::list(&missed);
    failure.message += &advice;
    if let Some(refused) = refused.filter(|_| matches!(failure.kind, FailureKind::Error | FailureKind::Trap)) {
        let addition = refused.addition(&failure.message);
        failure.message += &addition;
    }
}

/// Returns true if an instance may be in the middle of something after this failure.
fn spoils(kind: FailureKind) -> bool {
    !matches!(kind, FailureKind::Error | FailureKind::InvalidInput)
}

/// Returns an outcome that has no facts beside its value yet.
fn plain(tag: OutcomeTag) -> (OutcomeTag, Option<Box<SuccessNotes>>) {
    (tag, None)
}

/// Gives the functions that the compile process added fuel of their own.
fn own_calls(call: &TaskCall, store: &mut Store<StoreState>) {
    if call.limits.fuel.is_some() {
        // It fails only where no fuel is counted.
        let _ = store.set_fuel(OWN_FUEL);
    }
}

fn instantiate(
    task: &LinkedTask,
    call: &TaskCall,
    wasi: &Arc<Wasi>,
    invocation: Option<CommandInvocation>,
    mut restorer: Option<&mut Restorer>,
) -> Result<LiveInstance, Failure> {
    let began = restorer.is_some().then(Instant::now);
    let mut store = Store::new(&task.engine, StoreState::new(&call.limits, Arc::clone(wasi), invocation));
    store.data_mut().limiter.collects = task.collects;
    store.limiter(|state| &mut state.limiter);
    if let Some(fuel) = call.limits.fuel {
        store.set_fuel(fuel).map_err(|e| Failure::new(FailureKind::Trap, format!("{e:#}")))?;
    }
    // Lists of values cost the host some forty times their encoded bytes, so the amount that a call may pass is
    // limited.
    let values = call.limits.max_output.saturating_mul(sandbox::PER_OUTPUT_BYTE).max(128 << 20);
    let values = store.data().meter.values().map_or(values, |paid| paid.min(values));
    store.set_hostcall_fuel(usize::try_from(values).unwrap_or(usize::MAX));
    let (callee, instance) = match Meter::during(&mut store, |store| make(task, store)) {
        Ok(made) => made,
        Err(e) => {
            let mut failure = blame(&e, &store);
            tell(&mut failure, &mut store);
            return Err(failure);
        }
    };
    let is_like_others = !store.data().is_used();
    let took = began.map_or(Duration::ZERO, |began| began.elapsed());
    // What happened while it was made is no fault of the item's, which may as well have got one that was restored.
    store.data_mut().limiter.grew = false;
    store.data_mut().limiter.refused = false;
    let fuel = call.limits.fuel.and_then(|_| store.get_fuel().ok());
    let spent = store.data().meter.spent();
    let mut restorable = None;
    if let Some(restorer) = restorer.as_mut().filter(|restorer| is_like_others && restorer.wants_to_prepare()) {
        own_calls(call, &mut store);
        restorable = match restorer.prepare(&mut store, &instance) {
            Ok(restorable) => restorable,
            // It is in an unknown state.
            Err(_) => return instantiate(task, call, wasi, store.data_mut().take_invocation(), None),
        };
        if let Some(fuel) = fuel {
            store.set_fuel(fuel).map_err(|e| Failure::new(FailureKind::Trap, format!("{e:#}")))?;
        }
    }
    Ok(LiveInstance {
        store,
        callee,
        instance,
        restorable,
        is_like_others,
        took,
        fuel,
        spent,
        is_restored: false,
        is_spoilt: false,
    })
}

fn make(task: &LinkedTask, store: &mut Store<StoreState>) -> wasmtime::Result<(Callee, AnyInstance)> {
    match &task.pre {
        InstanceMaker::Component { pre, function, init } => {
            let instance = match task.is_async {
                false => pre.instantiate(&mut *store)?,
                true => block_on(pre.instantiate_async(&mut *store))?,
            };
            if let Some((init, arguments)) = init {
                super::init::call(store, &instance, init, arguments, task.is_async)?;
            }
            let function = instance
                .get_func(&mut *store, function)
                .ok_or_else(|| wasmtime::Error::msg("the function is not to be found in the instance"))?;
            // The type is checked here, once per instance.
            let callee = match task.manner {
                CallStrategy::Values => Callee::Component(function),
                CallStrategy::Bytes => {
                    Callee::Bytes(BytesFunction::new(function, &*store, false, ReturnWay::SHORTEST)?)
                }
                CallStrategy::FallibleBytes => {
                    Callee::Bytes(BytesFunction::new(function, &*store, true, ReturnWay::SHORTEST)?)
                }
                CallStrategy::Number(signature) => Callee::Number(signature.of_number(function, store)?, function),
                CallStrategy::Numbers(signature) => Callee::Numbers(signature.of_numbers(function, store)?, function),
                CallStrategy::Command => Callee::Run(function.typed(&*store)?),
            };
            Ok((callee, AnyInstance::Component(instance)))
        }
        InstanceMaker::Core { pre, function, reactor, .. } => {
            let instance = pre.instantiate(&mut *store)?;
            if let Some(initialise) = reactor {
                instance.get_typed_func::<(), ()>(&mut *store, initialise)?.call(&mut *store, ())?;
            }
            let function = instance
                .get_func(&mut *store, function)
                .ok_or_else(|| wasmtime::Error::msg("the function is not to be found in the instance"))?;
            let callee = match task.manner {
                CallStrategy::Command => Callee::Start(function.typed(&*store)?),
                CallStrategy::Number(signature) => {
                    Callee::CoreNumber(signature.of_core_number(&function, &*store)?, function)
                }
                _ => Callee::Core(function),
            };
            Ok((callee, AnyInstance::Core(instance)))
        }
    }
}

fn call(live: &mut LiveInstance, task: &LinkedTask, arguments: &[Val]) -> Result<Option<Val>, Failure> {
    match (&live.callee, &task.pre) {
        (Callee::Core(function) | Callee::CoreNumber(_, function), InstanceMaker::Core { shapes, results, .. }) => {
            let arguments: Vec<wasmtime::Val> = arguments.iter().map(core_value).collect();
            debug_assert_eq!(arguments.len(), shapes.len());
            let mut returned = vec![wasmtime::Val::I32(0); *results];
            Meter::during(&mut live.store, |store| function.call(store, &arguments, &mut returned))
                .map_err(|e| blame(&e, &live.store))?;
            let mut returned: Vec<Val> = returned.iter().map(component_value).collect();
            Ok(if returned.len() > 1 { Some(Val::Tuple(returned)) } else { returned.pop() })
        }
        (Callee::Component(function) | Callee::Number(_, function) | Callee::Numbers(_, function), _) => {
            let mut returned = [Val::Bool(false)];
            let count = usize::from(task.returns.fallible || task.returns.value.is_some());
            let slots = &mut returned[..count];
            Meter::during(&mut live.store, |store| match task.is_async {
                false => function.call(store, arguments, slots),
                true => block_on(function.call_async(store, arguments, slots)),
            })
            .map_err(|e| blame(&e, &live.store))?;
            let [value] = returned;
            Ok((count == 1).then_some(value))
        }
        _ => Err(other_kind()),
    }
}

/// Runs a command to its end, and returns its exit code.
fn run_command(live: &mut LiveInstance, is_async: bool) -> Result<i32, Failure> {
    let store = &mut live.store;
    let ended = match &live.callee {
        Callee::Start(start) => Meter::during(store, |store| start.call(store, ())).map(|()| 0),
        Callee::Run(run) => Meter::during(store, |store| match is_async {
            false => run.call(store, ()),
            true => block_on(run.call_async(store, ())),
        })
        .map(|(result,)| i32::from(result.is_err())),
        _ => return Err(other_kind()),
    };
    ended.or_else(|e| match e.downcast_ref::<I32Exit>() {
        Some(exit) => {
            // What a core module has is restored wherever its code was; no component is called again after such an end.
            live.is_spoilt = matches!(live.callee, Callee::Run(_));
            Ok(exit.0)
        }
        None => Err(blame(&e, store)),
    })
}

/// Returns the failure of a command that ended because nobody reads what it writes: a system ends it by SIGPIPE then, which a
/// shell tells by this code.
fn unread_output() -> Failure {
    let mut failure = Failure::new(FailureKind::Exit, "nobody reads its standard output any more");
    failure.code = Some(UNREAD_CODE);
    failure
}

fn exit(code: i32) -> Failure {
    let mut failure = Failure::new(FailureKind::Exit, format!("the task ended with exit code {code}"));
    failure.code = Some(code);
    failure
}

fn call_bytes(live: &mut LiveInstance, item: &[u8], place: &mut ResultPlace) -> Result<(), Failure> {
    let Callee::Bytes(function) = &live.callee else {
        return Err(other_kind());
    };
    let store = &mut live.store;
    match Meter::during(store, |store| function.call(store, item, place)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(message)) => Err(returned_error(Some((&TypePlan::String, &Val::String(message))), place.most)),
        Err(e) => Err(blame(&e, store)),
    }
}

fn other_kind() -> Failure {
    Failure::new(FailureKind::Trap, "the function is of another kind of task")
}

/// Returns the bytes that a JSON item stands for, or the item itself.
fn plain_bytes<'a>(item: &'a [u8], form: ItemEncoding, call: &TaskCall) -> Result<Cow<'a, [u8]>, Failure> {
    value::decode_bytes(item, form).map_err(|misfit| {
        let advice = match (form, call.arguments) {
            (ItemEncoding::Json, None) if std::str::from_utf8(item).is_err() => {
                format!(
                    "; is the input to be one item? {} takes a list of paths, and gives each file whole",
                    Setting::InputOfFiles
                )
            }
            (ItemEncoding::Json, None) => {
                format!("; {} gives the function each item as it stands", Setting::InputOfLines)
            }
            (ItemEncoding::Json, Some(_)) => "; bytes are base64 in JSON: the text hi is \"aGk=\"".to_owned(),
            _ => String::new(),
        };
        Failure::new(FailureKind::InvalidInput, format!("{misfit}{advice}"))
    })
}

/// Returns an error unless a batch has a result for each of its items.
fn as_many(results: usize, items: usize) -> Result<(), Failure> {
    let message = || format!("the function returned {results} results for {items} items");
    if results == items { Ok(()) } else { Err(Failure::new(FailureKind::InvalidOutput, message())) }
}

/// Unwraps the outer `result`.
fn open_result(returned: Option<Val>, returns: &CallReturn, most: usize) -> Result<Option<Val>, Failure> {
    match returned {
        Some(Val::Result(result)) if returns.fallible => match result {
            Ok(value) => Ok(value.map(|v| *v)),
            Err(error) => Err(returned_error(returns.error.as_ref().zip(error.as_deref()), most)),
        },
        other => Ok(other),
    }
}

fn returned_error(error: Option<(&TypePlan, &Val)>, most: usize) -> Failure {
    let Some((shape, value)) = error else {
        return Failure::new(FailureKind::Error, "the task returned err");
    };
    let mut json = Vec::new();
    let is_text = matches!(value, Val::String(_));
    if let Err(e) = shape.encode_within(value, told::most_of_err(most, is_text), &mut json) {
        return match e {
            EncodeError::TooLarge { .. } => Failure::new(
                FailureKind::OutputTooLarge,
                format!(
                    "the `err` that the task returned is longer, as it is told, than the {} of {}",
                    bytes_said(most as u64),
                    Setting::MaxOutput
                ),
            ),
            EncodeError::NotOfShape { .. } => Failure::new(FailureKind::InvalidOutput, e.to_string()),
        };
    }
    let json = String::from_utf8_lossy(&json).into_owned();
    let message = match value {
        Val::String(message) if !message.is_empty() => message.clone(),
        _ => told::message_of_err(&json),
    };
    let mut failure = Failure::new(FailureKind::Error, message);
    failure.error = serde_json::value::RawValue::from_string(json).ok();
    failure
}

fn too_large(most: usize) -> Failure {
    Failure::new(
        FailureKind::OutputTooLarge,
        format!("the result is longer than the {} of {}", bytes_said(most as u64), Setting::MaxOutput),
    )
}

fn encode(
    shape: Option<&TypePlan>,
    value: Option<&Val>,
    form: ResultForm,
    most: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let (Some(shape), Some(value)) = (shape, value) else {
        if form == ResultForm::Json {
            out.extend_from_slice(b"null");
        }
        return Ok(());
    };
    match form {
        ResultForm::Json => shape.encode_within(value, most, out),
        ResultForm::Raw => shape.encode_raw(value, out),
    }
    .map_err(|e| match e {
        EncodeError::TooLarge { .. } => too_large(most),
        EncodeError::NotOfShape { .. } => Failure::new(FailureKind::InvalidOutput, e.to_string()),
    })
}

/// Encodes each element of a list, or the contents of an option, after its length.
fn encode_elements(
    shape: Option<&TypePlan>,
    value: Option<&Val>,
    form: ResultForm,
    most: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let (of, elements): (&TypePlan, &[Val]) = match (shape, value) {
        (Some(TypePlan::List(of)), Some(Val::List(elements))) => (of, elements),
        (Some(TypePlan::Bytes), Some(Val::List(elements))) => (&TypePlan::U8, elements),
        (Some(TypePlan::Option(of)), Some(Val::Option(element))) => {
            (of, element.as_deref().map(std::slice::from_ref).unwrap_or_default())
        }
        _ => {
            return Err(Failure::new(FailureKind::InvalidOutput, "the function returned neither a list nor an option"));
        }
    };
    for element in elements {
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        encode(Some(of), Some(element), form, most, out)?;
        if out.len() > most {
            return Err(too_large(most));
        }
        let len = ((out.len() - at - 4) as u32).to_ne_bytes();
        out[at..at + 4].copy_from_slice(&len);
    }
    Ok(())
}

fn core_value(value: &Val) -> wasmtime::Val {
    match value {
        Val::S32(v) => wasmtime::Val::I32(*v),
        Val::S64(v) => wasmtime::Val::I64(*v),
        Val::Float32(v) => wasmtime::Val::F32(v.to_bits()),
        Val::Float64(v) => wasmtime::Val::F64(v.to_bits()),
        other => unreachable!("a function of numbers is given {other:?}"),
    }
}

fn component_value(value: &wasmtime::Val) -> Val {
    match value {
        wasmtime::Val::I64(v) => Val::S64(*v),
        wasmtime::Val::F32(v) => Val::Float32(f32::from_bits(*v)),
        wasmtime::Val::F64(v) => Val::Float64(f64::from_bits(*v)),
        wasmtime::Val::I32(v) => Val::S32(*v),
        other => unreachable!("a function of numbers returned {other:?}"),
    }
}

/// Returns true if the values that it may return are limited by its fuel, and not by the size of a result.
fn spends_its_fuel(store: &Store<StoreState>) -> bool {
    store.data().meter.values().is_some_and(|paid| paid == store.hostcall_fuel() as u64)
}

/// Returns the limit of instructions as messages name it.
fn fuel_of(limits: &ItemLimits) -> String {
    limits.fuel.map_or_else(|| Setting::Fuel.to_string(), |fuel| Setting::Fuel.with(fuel))
}

/// Returns the failure that an error of the runtime stands for.
pub fn blame(error: &wasmtime::Error, store: &Store<StoreState>) -> Failure {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return self::exit(exit.0);
    }
    let trap = error.downcast_ref::<Trap>();
    let text = format!("{:#}", error.root_cause());
    let refused = store.data().limiter.refused;
    let limits = store.data().limits;
    // A guest that gives up says why, and can then only trap.
    let reason = match trap {
        Some(Trap::UnreachableCodeReached) => store.data().reason(),
        None if error.is::<wasmtime::ThrownException>() => store.data().reason(),
        _ => error.downcast_ref::<GuestAbort>().map(GuestAbort::to_string),
    };
    let (kind, message) = match trap {
        Some(Trap::Interrupt) => {
            let timeout = Setting::Timeout.with(duration_given(limits.timeout));
            (FailureKind::Timeout, format!("it did not end within {timeout}"))
        }
        Some(Trap::OutOfFuel) => (FailureKind::Fuel, format!("it used up its {}", fuel_of(&limits))),
        _ if refused => {
            let reason = reason.unwrap_or(text);
            let memory = Setting::Memory.with(bytes_given(limits.memory));
            (FailureKind::Memory, format!("it was refused memory beyond {memory} and failed: {reason}"))
        }
        None if text.contains("fuel allocated for hostcalls") && spends_its_fuel(store) => {
            (FailureKind::Fuel, format!("it has more values than its {} pays for", fuel_of(&limits)))
        }
        None if text.contains("fuel allocated for hostcalls") => {
            // What fails in a call of the host has a stack of the guest.
            let what = match error.is::<WasmBacktrace>() {
                true => "what it passed to a function of the host at once is",
                false => "the values of the result are",
            };
            let max_output = Setting::MaxOutput.with(bytes_given(limits.max_output));
            (FailureKind::OutputTooLarge, format!("{what} larger than {max_output} allows"))
        }
        trap => {
            let trap = match trap {
                Some(trap) => trap.to_string(),
                None if error.is::<GuestAbort>() => "the task called `abort`".to_owned(),
                None => text,
            };
            (FailureKind::Trap, reason.map_or_else(|| trap.clone(), |reason| format!("{reason} ({trap})")))
        }
    };
    let mut failure = Failure::new(kind, message);
    if let Some(stack) = error.downcast_ref::<WasmBacktrace>() {
        failure.trace = trace::frames(stack);
    }
    failure
}
