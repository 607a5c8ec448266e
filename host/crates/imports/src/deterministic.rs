//! Deterministic runs: everything that WASI tells about the outside world is the same on any machine and at any time.
//!
//! The wall clock stands still. The monotonic clock counts how often it is read, so a guest that waits for time to pass
//! sees it pass. A guest that sleeps wakes immediately, at the time it asked for. Random numbers come from a fixed
//! seed. All of it begins anew in each instance.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use rand_core::TryRng;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType};
use wasmtime::{Caller, Extern, Linker as CoreLinker};
use wasmtime_wasi::filesystem::WasiFilesystemView;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Descriptor, DescriptorStat, DirectoryEntry, ErrorCode, HostDescriptor, HostDirectoryEntryStream, PathFlags,
};
use wasmtime_wasi::p2::{DynPollable, FsError, FsResult, Pollable, subscribe};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder, WasiView};

use super::charges::{FILES, answer, define};
use super::link::unversioned;
use super::meter::{self, Meter};
use super::state::StoreState;
use super::used_up;

/// Time on the wall clock since 1970: the beginning of the year 2000, because archive formats have no times before
/// 1980.
pub const WALL: Duration = Duration::from_secs(946_684_800);
/// Nanoseconds that pass each time the monotonic clock is read.
const STEP: u64 = 10_000;
/// Seed of the random numbers. Changing the text changes the results.
const SEED: &str = "wasmpool 2026-11-21 deterministic random numbers";

/// The monotonic clock of an instance.
#[derive(Clone, Debug, Default)]
pub struct InstanceClock(Arc<Mutex<MonotonicTimes>>);

#[derive(Debug, Default)]
struct MonotonicTimes {
    now: u64,
    /// The times that are waited for, each with the number of waits.
    awaited: BTreeMap<u64, usize>,
}

impl InstanceClock {
    fn times(&self) -> MutexGuard<'_, MonotonicTimes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn look(&self) -> u64 {
        let mut times = self.times();
        times.now = times.now.saturating_add(STEP);
        times.now
    }

    fn advance_to(&self, when: u64) {
        let mut times = self.times();
        times.now = times.now.max(when);
    }

    /// Records that somebody waits for this time until the returned value is dropped.
    fn await_time(&self, when: u64) -> AwaitedTimes {
        *self.times().awaited.entry(when).or_default() += 1;
        AwaitedTimes { clock: self.clone(), when }
    }
}

struct AwaitedTimes {
    clock: InstanceClock,
    when: u64,
}

impl Drop for AwaitedTimes {
    fn drop(&mut self) {
        let mut times = self.clock.times();
        if let Some(count) = times.awaited.get_mut(&self.when) {
            *count -= 1;
            if *count == 0 {
                times.awaited.remove(&self.when);
            }
        }
    }
}

impl HostMonotonicClock for InstanceClock {
    fn resolution(&self) -> u64 {
        STEP
    }

    fn now(&self) -> u64 {
        self.look()
    }
}

struct WallClock;

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        WALL
    }
}

/// A wait for a time. It ends when nothing else that is waited for has happened, and no earlier time is waited for.
struct DeterministicTimer {
    clock: InstanceClock,
    when: u64,
}

#[wasmtime_wasi::async_trait]
impl Pollable for DeterministicTimer {
    async fn ready(&mut self) {
        // Asking without waiting reads the clock, too.
        if self.clock.look() >= self.when {
            return;
        }
        let awaited = self.clock.await_time(self.when);
        let mut first = true;
        poll_fn(|context| {
            // The first round gives everything else that is waited for a chance to happen.
            let earliest =
                awaited.clock.times().awaited.first_key_value().is_some_and(|(&when, _)| when == awaited.when);
            if !std::mem::take(&mut first) && earliest {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.clock.advance_to(self.when);
    }
}

/// Random numbers from a seed, the same on every machine.
struct SeededRandom(blake3::OutputReader);

impl SeededRandom {
    fn new(of: &[u8]) -> SeededRandom {
        let mut hasher = blake3::Hasher::new_derive_key(SEED);
        hasher.update(of);
        SeededRandom(hasher.finalize_xof())
    }
}

impl TryRng for SeededRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

/// Gives an instance its clocks and random numbers.
pub fn fix(builder: &mut WasiCtxBuilder, clock: &InstanceClock, meter: &Meter) {
    let numbers = |of: &[u8]| meter::MeteredRandom { meter: meter.clone(), of: SeededRandom::new(of) };
    builder
        .wall_clock(WallClock)
        .monotonic_clock(clock.clone())
        .secure_random(numbers(b"secure"))
        .insecure_random(numbers(b"insecure"))
        .insecure_random_seed(0x7761_736d_706f_6f6c);
}

/// Replaces functions of the runtime that would wait for real time, or reveal what differs from machine to machine: the
/// times of files and the order of their names. `interface` is imported by a component; `linker` may have it defined
/// already.
pub fn link(linker: &mut Linker<StoreState>, interface: &str, is_async: bool) -> wasmtime::Result<()> {
    match unversioned(interface) {
        "wasi:clocks/monotonic-clock" => link_clock(linker, interface),
        "wasi:filesystem/types" => link_files(linker, is_async),
        _ => Ok(()),
    }
}

fn link_clock(linker: &mut Linker<StoreState>, interface: &str) -> wasmtime::Result<()> {
    let mut clock = linker.instance(interface)?;
    clock.func_wrap("now", |store, ()| {
        store.data().meter.call()?;
        Ok((store.data().clock().look(),))
    })?;
    clock.func_wrap("resolution", |store, ()| {
        store.data().meter.call()?;
        Ok((STEP,))
    })?;
    clock.func_wrap("subscribe-instant", |mut store, (when,): (u64,)| Ok((timer(store.data_mut(), when)?,)))?;
    clock.func_wrap("subscribe-duration", |mut store, (time,): (u64,)| {
        let when = store.data().clock().times().now.saturating_add(time);
        Ok((timer(store.data_mut(), when)?,))
    })
}

fn timer(state: &mut StoreState, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
    let clock = state.clock();
    let table = state.ctx().table;
    let timer = table.push(DeterministicTimer { clock, when })?;
    subscribe(table, timer)
}

/// The entries of a directory that have not been asked for yet.
pub struct NameStream(std::vec::IntoIter<DirectoryEntry>);

fn link_files(linker: &mut Linker<StoreState>, is_async: bool) -> wasmtime::Result<()> {
    let mut files = linker.instance(FILES)?;
    link_directories(&mut files, is_async)?;
    define(&mut files, is_async, "[method]descriptor.stat", |state, (file,)| {
        Box::pin(async move {
            state.meter.files(1)?;
            Ok((answer(state.filesystem().stat(file).await)?.map(without_times),))
        })
    })?;
    define(&mut files, is_async, "[method]descriptor.stat-at", |state, params| {
        let (directory, flags, path): (Resource<Descriptor>, PathFlags, String) = params;
        Box::pin(async move {
            state.meter.path(path.len())?;
            Ok((answer(state.filesystem().stat_at(directory, flags, path).await)?.map(without_times),))
        })
    })
}

/// Makes reading a directory read all of it, sort it by name, and count each entry.
pub fn link_directories(files: &mut LinkerInstance<'_, StoreState>, is_async: bool) -> wasmtime::Result<()> {
    files.resource("directory-entry-stream", ResourceType::host::<NameStream>(), |mut store, resource| {
        store.data_mut().ctx().table.delete(Resource::<NameStream>::new_own(resource))?;
        Ok(())
    })?;
    define(files, is_async, "[method]descriptor.read-directory", |state, (directory,)| {
        Box::pin(async move {
            match answer(entries(state, directory).await)? {
                Ok(entries) => Ok((Ok(state.ctx().table.push(NameStream(entries.into_iter()))?),)),
                Err(code) => Ok((Err(used_up::preview2(state, code)),)),
            }
        })
    })?;
    files.func_wrap(
        "[method]directory-entry-stream.read-directory-entry",
        |mut store, (entries,): (Resource<NameStream>,)| {
            let next = store.data_mut().ctx().table.get_mut(&entries)?.0.next();
            Ok((Ok::<_, ErrorCode>(next),))
        },
    )?;
    Ok(())
}

/// Returns all entries of a directory, sorted by name, and counts each.
pub async fn entries(state: &mut StoreState, directory: Resource<Descriptor>) -> FsResult<Vec<DirectoryEntry>> {
    let meter = state.meter.clone();
    meter.directory(0).map_err(FsError::trap)?;
    let mut files = state.filesystem();
    let stream = files.read_directory(directory).await?;
    let mut entries = Vec::new();
    let all = loop {
        match files.read_directory_entry(Resource::new_borrow(stream.rep())).await {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => break Ok(()),
            Err(e) => break Err(e),
        }
        meter.entry().map_err(FsError::trap)?;
    };
    HostDirectoryEntryStream::drop(&mut files, stream).map_err(FsError::trap)?;
    all?;
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn without_times(stat: DescriptorStat) -> DescriptorStat {
    DescriptorStat {
        data_access_timestamp: None,
        data_modification_timestamp: None,
        status_change_timestamp: None,
        ..stat
    }
}

const SUCCESS: i32 = 0;
const FAULT: i32 = 21;
const INVALID: i32 = 28;
/// Sizes in bytes of a subscription and of an event in preview 1, and its tags.
const SUBSCRIPTION: usize = 48;
const EVENT: usize = 32;
const CLOCK: u8 = 0;
const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;
const ABSOLUTE: u16 = 1;

/// Replaces these functions for preview 1. `linker` may have them defined already.
pub fn link_core(linker: &mut CoreLinker<StoreState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "wasi_snapshot_preview1",
        "poll_oneoff",
        |mut caller: Caller<'_, StoreState>, given: u32, events: u32, count: u32, told: u32| -> wasmtime::Result<i32> {
            let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                return Ok(FAULT);
            };
            let (bytes, state) = memory.data_and_store_mut(&mut caller);
            state.meter.call()?;
            state.meter.subscriptions(count as usize)?;
            Ok(poll_oneoff(bytes, &state.clock(), given, events, count, told).unwrap_or(FAULT))
        },
    )?;
    Ok(())
}

/// Waits for the subscriptions. A stream is always ready; without one, the clock advances to the earliest requested
/// time.
fn poll_oneoff(
    memory: &mut [u8],
    clock: &InstanceClock,
    given: u32,
    events: u32,
    count: u32,
    told: u32,
) -> Option<i32> {
    if count == 0 {
        return Some(INVALID);
    }
    let start = usize::try_from(given).ok()?;
    let length = usize::try_from(count).ok()?.checked_mul(SUBSCRIPTION)?;
    let subscriptions = memory.get(start..start.checked_add(length)?)?.to_vec();
    let now = clock.look();
    // The time at which each is ready; streams are ready now.
    let mut ready = Vec::new();
    for subscription in subscriptions.chunks_exact(SUBSCRIPTION) {
        let tag = *subscription.get(8)?;
        if tag != CLOCK {
            ready.push(now);
            continue;
        }
        let time = u64::from_le_bytes(subscription.get(24..32)?.try_into().ok()?);
        let absolute = u16::from_le_bytes(subscription.get(40..42)?.try_into().ok()?) & ABSOLUTE != 0;
        ready.push(match u32::from_le_bytes(subscription.get(16..20)?.try_into().ok()?) {
            MONOTONIC if absolute => time.max(now),
            REALTIME if absolute => now.saturating_add(time.saturating_sub(WALL.as_nanos() as u64)),
            MONOTONIC | REALTIME => now.saturating_add(time),
            _ => return Some(INVALID),
        });
    }
    let first = ready.iter().copied().min()?;
    let mut at = usize::try_from(events).ok()?;
    let mut happened = 0u32;
    for (subscription, _) in subscriptions.chunks_exact(SUBSCRIPTION).zip(&ready).filter(|(_, when)| **when == first) {
        let mut event = [0; EVENT];
        let (front, rest) = event.split_at_mut(8);
        front.copy_from_slice(subscription.get(..8)?);
        // No error; the kind of event; one byte is available.
        *rest.get_mut(2)? = *subscription.get(8)?;
        *rest.get_mut(8)? = 1;
        memory.get_mut(at..at.checked_add(EVENT)?)?.copy_from_slice(&event);
        at += EVENT;
        happened += 1;
    }
    let told = usize::try_from(told).ok()?;
    memory.get_mut(told..told.checked_add(4)?)?.copy_from_slice(&happened.to_le_bytes());
    clock.advance_to(first);
    Some(SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(userdata: u64, clock: u32, time: u64, absolute: bool) -> Vec<u8> {
        let mut bytes = vec![0; SUBSCRIPTION];
        bytes[..8].copy_from_slice(&userdata.to_le_bytes());
        bytes[16..20].copy_from_slice(&clock.to_le_bytes());
        bytes[24..32].copy_from_slice(&time.to_le_bytes());
        bytes[40] = u8::from(absolute);
        bytes
    }

    /// Returns which subscriptions a poll wakes, and the time at which it does.
    fn woken(clock: &InstanceClock, subscriptions: &[Vec<u8>]) -> (Vec<u64>, u64) {
        let mut memory = subscriptions.concat();
        let (events, count) = (memory.len(), subscriptions.len());
        memory.resize(events + count * EVENT + 4, 0);
        let told = events + count * EVENT;
        let result = poll_oneoff(&mut memory, clock, 0, events as u32, count as u32, told as u32);
        assert_eq!(result, Some(SUCCESS));
        let happened = u32::from_le_bytes(memory[told..told + 4].try_into().unwrap()) as usize;
        let word = |i: usize| u64::from_le_bytes(memory[events + i * EVENT..][..8].try_into().unwrap());
        ((0..happened).map(word).collect(), clock.times().now)
    }

    #[test]
    fn who_wants_to_wake_first_wakes_first_and_time_has_passed() {
        let clock = InstanceClock::default();
        let poll = [subscription(7, MONOTONIC, 5_000_000, false), subscription(8, REALTIME, 3_000_000, false)];
        assert_eq!(woken(&clock, &poll), (vec![8], STEP + 3_000_000));
        let wall = WALL.as_nanos() as u64;
        let poll = [subscription(1, REALTIME, wall + 1_000, true), subscription(2, MONOTONIC, 0, true)];
        assert_eq!(woken(&clock, &poll), (vec![2], 2 * STEP + 3_000_000));
    }

    #[test]
    fn what_lies_outside_memory_is_a_fault() {
        let mut memory = subscription(7, MONOTONIC, 1, false);
        assert_eq!(poll_oneoff(&mut memory, &InstanceClock::default(), u32::MAX - 3, 0, 1, 0), None);
        assert_eq!(poll_oneoff(&mut memory, &InstanceClock::default(), 0, 40, 1, 0), None);
        assert_eq!(poll_oneoff(&mut memory, &InstanceClock::default(), 0, 0, 0, 0), Some(INVALID));
    }
}
