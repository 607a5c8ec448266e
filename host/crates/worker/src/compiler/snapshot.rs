//! Snapshots: a task as its `init` leaves it, as a task of its own. Instances of it start initialised, from memory that
//! the kernel copies on write.
//!
//! Wizer reads the state of all memories and globals of an instance and writes it into the module. A snapshot is
//! impossible if there is state that it cannot read (tables that code writes to, and the like), or state that would not
//! be valid in another instance: handles of WASI, and random numbers, from which maps of many languages derive their
//! order. `init` then runs in every instance.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmtime::component::{Component, Instance, Lift, WasmList};
use wasmtime::{Engine, OptLevel, Store};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use super::threads::{Late, Threads};
use crate::engine;
use crate::{InitError, InitialisedTask, StoreState, imports_async};
use wasmpool_core::artifact::{EngineFeatures, EngineProfile, InitOnce};
use wasmpool_ipc::messages::InitCall;

/// Result of taking a snapshot.
pub enum Snapshot {
    Taken {
        wasm: Vec<u8>,
        /// True if `init` saw nothing of the outside world, such as the time: the snapshot would be the same on any
        /// other day.
        pure: bool,
    },
    Impossible(String),
}

/// The reason why there is no snapshot of a task that may wait.
const ASYNC: &str = "the task has or imports async functions";

/// Returns whether a snapshot can be taken of this task, as far as can be told before its `init` runs.
pub fn outlook(wasm: &[u8], profile: EngineProfile) -> InitOnce {
    if profile.is_async() {
        return InitOnce::EachTime(ASYNC.to_owned());
    }
    match Wizer::new().instrument_component(wasm) {
        Ok(_) => InitOnce::Snapshot,
        Err(e) => InitOnce::EachTime(format!("{e:#}")),
    }
}

/// Runs `init` once and takes a snapshot. Calls `late` if `init` is still running a while after its time was up, which
/// happens if it waits in a call of the host.
///
/// # Errors
///
/// Returns what is wrong with `init`: it does not exist, does not take this argument, trapped, or returned an error.
pub fn take(wasm: &[u8], init: &InitCall, threads: &Threads, late: Late) -> Result<Snapshot, InitError> {
    // Whether a snapshot is possible has to be known before anything runs, so that `init` never runs twice.
    let wizer = Wizer::new();
    let (context, instrumented) = match wizer.instrument_component(wasm) {
        Ok(instrumented) => instrumented,
        Err(e) => return Ok(Snapshot::Impossible(format!("{e:#}"))),
    };
    // The profile with the most features that needs no waiting, compiled as quickly as possible, since the speed of
    // this instance does not matter. Its memory is not a copy of a file, because the sandbox does not allow creating
    // files. It checks the epoch, because this process is not killed for taking too long.
    let mut config = engine::config(EngineProfile { features: EngineFeatures::Collected, ..EngineProfile::default() });
    config.memory_init_cow(false).cranelift_opt_level(OptLevel::None).epoch_interruption(true);
    let prepared = Engine::new(&config).and_then(|engine| {
        let component = Component::from_binary(&engine, &instrumented)?;
        Ok((engine, component))
    });
    let (engine, component) = match prepared {
        Ok(prepared) => prepared,
        Err(e) => return Ok(Snapshot::Impossible(format!("{e:#}"))),
    };
    if imports_async(&component, &engine) {
        return Ok(Snapshot::Impossible(ASYNC.to_owned()));
    }
    let run = || crate::initialise(&component, &init.json, init.memory, init.timeout);
    let InitialisedTask { store, instance, asked } = threads.within(init.timeout, &engine, late, run)?;
    // There would be no way to tell which numbers in its memory depend on them.
    if asked {
        return Ok(Snapshot::Impossible("`init` asks for random numbers, which all items would share".to_owned()));
    }
    if !store.data().holds_nothing() {
        return Ok(Snapshot::Impossible("`init` leaves something of WASI open".to_owned()));
    }
    let pure = !store.data().used_wasi();
    let mut state = InitialisedInstance { store, instance };
    // Nothing in it waits: `Live` answers immediately.
    let snapshot = pin!(wizer.snapshot_component(&context, &mut state));
    Ok(match snapshot.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(wasm)) => Snapshot::Taken { wasm, pure },
        Poll::Ready(Err(e)) => Snapshot::Impossible(format!("{e:#}")),
        Poll::Pending => Snapshot::Impossible("reading the state of the task never ends".to_owned()),
    })
}

/// The initialised instance as Wizer reads it: through functions that Wizer added to the task.
struct InitialisedInstance {
    store: Store<StoreState>,
    instance: Instance,
}

impl InitialisedInstance {
    fn call<R: Lift + Send + Sync + 'static, T>(
        &mut self,
        interface: &str,
        name: &str,
        then: impl FnOnce(&Store<StoreState>, R) -> T,
    ) -> T {
        let interface = self.instance.get_export_index(&mut self.store, None, interface);
        let function = self.instance.get_export_index(&mut self.store, interface.as_ref(), name);
        let result = function
            .ok_or_else(|| wasmtime::Error::msg("there is no such function"))
            .and_then(|function| self.instance.get_typed_func::<(), (R,)>(&mut self.store, function))
            .and_then(|function| function.call(&mut self.store, ()));
        match result {
            Ok((value,)) => then(&self.store, value),
            // The trait's methods cannot fail. The compile process reports a panic.
            Err(e) => panic!("the state of the initialised task cannot be read: {e:#}"),
        }
    }
}

impl ComponentInstanceState for InitialisedInstance {
    async fn call_func_ret_list_u8(&mut self, interface: &str, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        self.call(interface, name, |store, bytes: WasmList<u8>| contents(bytes.as_le_slice(store)));
    }

    async fn call_func_ret_s32(&mut self, interface: &str, name: &str) -> i32 {
        self.call(interface, name, |_, value| value)
    }

    async fn call_func_ret_s64(&mut self, interface: &str, name: &str) -> i64 {
        self.call(interface, name, |_, value| value)
    }

    async fn call_func_ret_f32(&mut self, interface: &str, name: &str) -> u32 {
        self.call(interface, name, |_, value: f32| value.to_bits())
    }

    async fn call_func_ret_f64(&mut self, interface: &str, name: &str) -> u64 {
        self.call(interface, name, |_, value: f64| value.to_bits())
    }
}
