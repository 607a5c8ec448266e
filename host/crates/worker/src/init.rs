//! Running a task's `init`: in each instance, or once for the snapshot that all instances start from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, Instance, Val};

use super::load::{self, LoadError};
use crate::exports;
use wasmpool_core::outcome::Failure;
use wasmpool_core::policy::{ItemLimits, TaskCall};
use wasmpool_core::setting::Setting;
use wasmpool_core::text::duration_given;
use wasmpool_imports::link;
use wasmpool_imports::state::StoreState;
use wasmpool_imports::wasi::{self, Wasi};

/// An instance whose `init` has run.
pub struct InitialisedTask {
    pub store: Store<StoreState>,
    pub instance: Instance,
    /// True if it asked for random numbers.
    pub asked: bool,
}

/// The reason why a task cannot be initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is no `init` that takes this argument, or the task cannot be linked.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The interfaces through which `init` would ask for random numbers cannot be linked.
    #[error("{}", link::on_one_line(.0))]
    Link(wasmtime::Error),
    /// It failed like an item.
    #[error("{}", .0.message)]
    Failed(Box<Failure>),
    /// It was still running a while after its time was up.
    #[error("it did not end within {}", Setting::Timeout.with(duration_given(*.0)))]
    Late(Duration),
}

/// Instantiates a component without any grants and runs its `init`. Raising the engine's epoch ends it.
pub fn initialise(
    component: &Component,
    json: &str,
    memory: u64,
    timeout: Duration,
) -> Result<InitialisedTask, InitError> {
    let engine = component.engine();
    let exports = exports::of_component(component, engine);
    let (function, arguments) = load::init(component, &exports, json)?;
    let mut linker = load::link_component(engine, component, &TaskCall::default(), false)?;
    let asked = Arc::new(AtomicBool::new(false));
    for (interface, _) in component.component_type().imports(engine) {
        wasi::link_asked(&mut linker, interface, &asked).map_err(InitError::Link)?;
    }
    let wasi = Wasi::silent(&asked);
    let limits = ItemLimits { memory, timeout, ..ItemLimits::default() };
    let mut store = Store::new(engine, StoreState::new(&limits, Arc::new(wasi), None));
    store.limiter(|state| &mut state.limiter);
    store.set_epoch_deadline(1);
    let run = |store: &mut Store<StoreState>| {
        let instance = linker.instantiate(&mut *store, component)?;
        call(store, &instance, &function, &arguments, false)?;
        Ok(instance)
    };
    match run(&mut store) {
        Ok(instance) => Ok(InitialisedTask { store, instance, asked: asked.load(Ordering::Relaxed) }),
        Err(e) => Err(InitError::Failed(Box::new(super::run::blame(&e, &store)))),
    }
}

/// Calls `init`. An error that it returns is an error here.
pub fn call(
    store: &mut Store<StoreState>,
    instance: &Instance,
    function: &ComponentExportIndex,
    arguments: &[Val],
    is_async: bool,
) -> wasmtime::Result<()> {
    let init = instance
        .get_func(&mut *store, function)
        .ok_or_else(|| wasmtime::Error::msg("the function `init` is not to be found"))?;
    let mut results = vec![Val::Bool(false); init.ty(&*store).results().len()];
    match is_async {
        false => init.call(store, arguments, &mut results)?,
        true => wasmpool_imports::block_on(init.call_async(store, arguments, &mut results))?,
    }
    match results.first() {
        Some(Val::Result(Err(error))) => Err(wasmtime::Error::msg(match error.as_deref() {
            Some(Val::String(message)) => format!("init failed: {message}"),
            Some(other) => format!("init failed: {other:?}"),
            None => "init failed".to_owned(),
        })),
        _ => Ok(()),
    }
}
