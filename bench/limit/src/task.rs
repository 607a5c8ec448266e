//! The task: compiled like wasmpool compiles it, loaded and instantiated like in a worker, called with static types.

use std::hint::black_box;
use std::path::Path;

use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, ResourceTable, TypedFunc};
use wasmtime::{Error, Result, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use wasmpool_core::artifact::{EngineProfile, InstanceNeeds};
use wasmpool_sandbox::surroundings::has_swap;
// The settings of a worker themselves, not a copy of them that could become outdated.
use crate::items::Item;
use wasmpool_worker::engine;

/// Maximum memory of an instance in bytes; wasmpool's default.
const MEMORY: usize = 256 << 20;

/// A compiled task.
pub struct Artifact {
    code: Vec<u8>,
    profile: EngineProfile,
    needs: Option<InstanceNeeds>,
}

impl Artifact {
    /// Compiles the task, or takes what an earlier run stored at `kept`.
    pub fn get(task: &Path, kept: Option<&Path>) -> Result<Artifact> {
        let mut first = None;
        for profile in EngineProfile::default().all() {
            match Artifact::with(profile, task, kept) {
                Ok(artifact) => return Ok(artifact),
                Err(e) => first = first.or(Some(e)),
            }
        }
        Err(first.unwrap_or_else(|| Error::msg("there is no profile to compile for")))
    }

    fn with(profile: EngineProfile, task: &Path, kept: Option<&Path>) -> Result<Artifact> {
        let engine = engine::compiling(profile)?;
        let kept = kept.map(|path| path.with_extension(profile.name()));
        let component = match &kept {
            // SAFETY: the user asserts that the file is what this program wrote, and that nobody changes it.
            Some(path) if path.exists() => unsafe { Component::deserialize_file(&engine, path)? },
            _ => Component::from_file(&engine, task)?,
        };
        let code = component.serialize()?;
        if let Some(path) = kept
            && !path.exists()
        {
            std::fs::write(path, &code)?;
        }
        let needs = component.resources_required().map(|required| InstanceNeeds {
            memories: required.num_memories,
            initial_memory: required.max_initial_memory_size.unwrap_or(0).saturating_mul(64 << 10),
            tables: required.num_tables,
            initial_table: required.max_initial_table_size.unwrap_or(0),
        });
        Ok(Artifact { code, profile, needs })
    }
}

/// A task that is ready to be instantiated.
pub struct Task {
    pre: InstancePre<State>,
    function: ComponentExportIndex,
}

impl Task {
    pub fn load(artifact: &Artifact, function: &str) -> Result<Task> {
        let engine = engine::for_worker(artifact.profile, artifact.needs, has_swap(), 1)?;
        // SAFETY: `Artifact` holds only what wasmtime serialised.
        let component = unsafe { Component::deserialize(&engine, &artifact.code)? };
        let mut linker = Linker::new(&engine);
        if component.component_type().imports(&engine).next().is_some() {
            wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        }
        let pre = linker.instantiate_pre(&component)?;
        let function = component
            .get_export_index(None, function)
            .ok_or_else(|| Error::msg(format!("the task exports no function `{function}`")))?;
        Ok(Task { pre, function })
    }

    /// Makes an instance in pristine memory.
    pub fn instantiate(&self, bytes: bool) -> Result<Live> {
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY).build();
        let mut store = Store::new(self.pre.engine(), State { limits, wasi: None });
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(1);
        let instance = self.pre.instantiate(&mut store)?;
        let function = match bytes {
            true => Function::Bytes(instance.get_typed_func(&mut store, self.function)?),
            false => Function::Integer(instance.get_typed_func(&mut store, self.function)?),
        };
        Ok(Live { store, function })
    }
}

/// An instance and its function.
pub struct Live {
    store: Store<State>,
    function: Function,
}

enum Function {
    Integer(TypedFunc<(i64,), (i64,)>),
    Bytes(TypedFunc<(&'static [u8],), (Vec<u8>,)>),
}

impl Live {
    pub fn call(&mut self, item: Item) -> Result<()> {
        match (&self.function, item) {
            (Function::Integer(function), Item::Integer(x)) => {
                black_box(function.call(&mut self.store, (x,))?);
            }
            (Function::Bytes(function), Item::Bytes(x)) => {
                black_box(function.call(&mut self.store, (x,))?);
            }
            _ => return Err(Error::msg("the function takes other items")),
        }
        Ok(())
    }
}

/// The data of a store: limits, and WASI once it is used.
pub struct State {
    limits: StoreLimits,
    wasi: Option<Box<(WasiCtx, ResourceTable)>>,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_with(|| {
            Box::new((WasiCtxBuilder::new().allow_blocking_current_thread(true).build(), ResourceTable::new()))
        });
        WasiCtxView { ctx: &mut wasi.0, table: &mut wasi.1 }
    }
}
