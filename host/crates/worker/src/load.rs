//! From an artifact to something that can be called: the engine, the linked task, and the chosen function.

use std::os::fd::OwnedFd;
use std::path::Path;

use wasmtime::component::{Component, ComponentExportIndex, InstancePre as ComponentPre, Linker as ComponentLinker};
use wasmtime::{Engine, InstancePre as CorePre, Module};

use super::WorkerSetup;
use super::numbers::NumberSignature;
use super::restore::RestoreWay;
use crate::engine;
use crate::exports::{self, ExportError, TaskExport};
use crate::value::columns::ColumnsError;
use crate::value::{self, BindError, DecodeError, FunctionParams, TypePlan};
use wasmpool_core::artifact::{ArtifactMeta, InitOnce, InstanceNeeds, TaskFormat};
use wasmpool_core::chain::with_sources;
use wasmpool_core::json;
use wasmpool_core::policy::{CsvColumns, Isolate, ItemEncoding, TaskCall};
use wasmpool_core::setting::Setting;
use wasmpool_core::text::{ForeignText, QuotedName, bytes_given, bytes_said};
use wasmpool_imports::link::{self, LinkError, imports_async};
use wasmpool_imports::state::StoreState;
use wasmpool_imports::wasi::UnopenedDirectory;
use wasmpool_ipc::messages::Restoring;
use wasmpool_sandbox::ScratchError;
use wasmpool_sandbox::surroundings::RunObstacle;

/// A task that is ready to be instantiated.
pub struct LinkedTask {
    pub engine: Engine,
    pub pre: InstanceMaker,
    pub params: FunctionParams,
    pub returns: CallReturn,
    /// Position of the argument that gets the list of a batch.
    pub slot: usize,
    pub manner: CallStrategy,
    /// True if it has or imports async functions, so that it is called through the async interface of the runtime.
    pub is_async: bool,
    /// True if its engine has garbage-collected values.
    pub collects: bool,
    /// Way to what restores its instances, if items are to find them pristine.
    pub restore: Option<RestoreWay>,
}

impl LinkedTask {
    /// Returns a task whose function runs a command.
    fn command(engine: Engine, pre: InstanceMaker, restore: Option<RestoreWay>) -> LinkedTask {
        let returns = CallReturn { fallible: false, value: None, error: None };
        LinkedTask {
            engine,
            pre,
            params: FunctionParams::new(Vec::new()),
            returns,
            slot: 0,
            manner: CallStrategy::Command,
            is_async: false,
            collects: false,
            restore,
        }
    }
}

/// A task before instantiation, and how to find its function in an instance.
pub enum InstanceMaker {
    Component {
        pre: ComponentPre<StoreState>,
        function: ComponentExportIndex,
        init: Option<(ComponentExportIndex, Vec<wasmtime::component::Val>)>,
    },
    Core {
        pre: CorePre<StoreState>,
        function: String,
        shapes: Vec<TypePlan>,
        results: usize,
        /// Function that initialises an instance of a reactor.
        reactor: Option<&'static str>,
    },
}

/// Way in which an item gets to the function, and its result back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStrategy {
    /// As the values of its parameters.
    Values,
    /// As bytes: the parameter and the result are bytes, which pass through unchanged, without building a value.
    Bytes,
    /// As bytes, with a result that may be an error.
    FallibleBytes,
    /// As numbers: the parameter and the result are integers.
    Number(NumberSignature),
    /// As numbers in a batch: the parameter and the result are lists of integers.
    Numbers(NumberSignature),
    /// The function runs a command.
    Command,
}

/// Type of what a call returns.
#[derive(Debug)]
pub struct CallReturn {
    /// True if the function returns an outer `result`, whose `err` is a failure.
    pub fallible: bool,
    pub value: Option<TypePlan>,
    pub error: Option<TypePlan>,
}

impl CallReturn {
    /// Returns the type that a batch returns for each of its items.
    pub fn element(&self) -> Option<&TypePlan> {
        match &self.value {
            Some(TypePlan::List(of)) => Some(of),
            Some(TypePlan::Bytes) => Some(&TypePlan::U8),
            _ => None,
        }
    }
}

/// The reason why a task cannot be loaded. For all but [`LoadError::Artifact`], the user has to do something about it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The artifact is from another build, or damaged: it has to be compiled again.
    #[error("{0:#}")]
    Artifact(wasmtime::Error),
    /// No wasm runs in this process.
    #[error(transparent)]
    Obstacle(#[from] RunObstacle),
    #[error(
        "a scratch directory ({}) cannot be had here: {}; it takes user namespaces, or root with the right to mount, which \
         containers often forbid. {} grants a directory of your own, which is not emptied",
        Setting::Scratch, with_sources(.0), Setting::Dir
    )]
    Scratch(ScratchError),
    #[error(transparent)]
    Directory(#[from] UnopenedDirectory),
    /// The task is larger than it may be before it does anything.
    #[error(
        "the task starts with {}, more than {} allows", starts_with(.needs), Setting::Memory.with(bytes_given(*.memory))
    )]
    TooLarge { needs: InstanceNeeds, memory: u64 },
    /// The engine cannot reserve memory. `limit` is what the shell limits it to.
    #[error("{why:#}{}", .limit.as_ref().map(|limit| format!("; {limit}")).unwrap_or_default())]
    Engine { why: wasmtime::Error, limit: Option<String> },
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("the export {} is not to be found in the task", QuotedName::of(.0))]
    LostExport(String),
    /// The task cannot be linked with what is provided here.
    #[error("{}", link::on_one_line(.0))]
    Link(wasmtime::Error),
    #[error(transparent)]
    Imports(#[from] LinkError),
    #[error("`{signature}` takes {}, and {} given", takes(*.free, *.bound), are(*.given))]
    Arguments { signature: String, free: usize, bound: usize, given: usize },
    #[error("the function takes bytes, and rows of CSV are objects; {} gives it each line", Setting::InputOfLines)]
    RowsForBytes,
    /// No row of a file fits.
    #[error("{file}")]
    Columns { file: String, source: ColumnsError },
    /// A setting does not fit the task.
    #[error("{setting} {misfit}")]
    Setting { setting: Setting, misfit: SettingMisfit },
    #[error(transparent)]
    System(#[from] std::io::Error),
}

// Not derived, since the error is told with all that is behind it and has no source then.
impl From<wasmtime::Error> for LoadError {
    fn from(error: wasmtime::Error) -> LoadError {
        LoadError::Link(error)
    }
}

/// Says how much of memory a task takes before it does anything.
fn starts_with(needs: &InstanceNeeds) -> String {
    let memory = bytes_said(needs.initial_memory);
    match needs.initial_table {
        0 => format!("{memory} of memory"),
        elements => format!("{memory} of memory and a table of {elements} elements"),
    }
}

/// Says how many arguments a function takes, besides those that have a value already.
fn takes(free: usize, bound: usize) -> String {
    let besides = if bound == 0 { "" } else { " besides those given by name" };
    match free {
        0 => format!("no argument{besides}"),
        1 => format!("1 argument{besides}"),
        _ => format!("{free} arguments{besides}"),
    }
}

fn are(given: usize) -> String {
    match given {
        0 => "none is".to_owned(),
        1 => "1 is".to_owned(),
        _ => format!("{given} are"),
    }
}

/// The reason why a setting does not fit a task, in words that follow the name of the setting.
#[derive(Debug, thiserror::Error)]
pub enum SettingMisfit {
    #[error("cannot be had for a task that imports WASI 0.3")]
    AsyncTask,
    #[error("is given, but the task exports no function `init`")]
    NoInit,
    #[error("needs a component; a core module's functions take only numbers")]
    CoreModule,
    #[error("is not JSON: {} at column {}", json::problem(.0), .0.column())]
    NoJson(serde_json::Error),
    #[error("does not fit `{signature}`: {why}")]
    Value { signature: String, why: DecodeError },
    #[error("{}: {why}", ForeignText::of(.name))]
    Argument { name: String, why: BindError },
    #[error("needs a function that takes one list of items, not `{0}`")]
    TakesNoList(String),
    #[error("needs a function that returns a list of results, not `{0}`")]
    ReturnsNoList(String),
    #[error("needs a function that returns a list or an option, not `{0}`")]
    ReturnsNothingToFlatten(String),
}

impl SettingMisfit {
    fn of(self, setting: Setting) -> LoadError {
        LoadError::Setting { setting, misfit: self }
    }
}

/// Creates the engine for a task.
pub fn engine(setup: &WorkerSetup) -> Result<Engine, LoadError> {
    let WorkerSetup { meta, call, .. } = setup;
    let memory = call.limits.memory;
    if let Some(needs) = meta.needs
        && needs.initial_bytes() > memory
    {
        return Err(LoadError::TooLarge { needs, memory });
    }
    // Memory that a pool keeps for tables is taken at once, whether it is used or not.
    let needs = meta.needs.filter(|needs| needs.pooled_tables() <= memory.max(MOST_POOLED));
    let instances = if setup.restoring == Restoring::Verified { 2 } else { 1 };
    engine::for_worker(meta.profile, needs, setup.swap, instances)
        .map_err(|why| LoadError::Engine { why, limit: wasmpool_sandbox::surroundings::memory() })
}

/// Number of bytes of tables that a pool may keep even if the task may have less memory.
const MOST_POOLED: u64 = 64 << 20;

/// Loads the task in `artifact`, to which `path` also leads.
pub fn load(engine: Engine, path: &Path, artifact: &OwnedFd, setup: &WorkerSetup) -> Result<LinkedTask, LoadError> {
    let task = match setup.meta.format {
        TaskFormat::Component => component(engine, path, setup),
        TaskFormat::Core => core(engine, artifact, setup),
    }?;
    check_columns(&task, &setup.call.columns)?;
    Ok(LinkedTask { collects: setup.meta.profile.collects(), ..task })
}

/// Reports files of CSV of which no row can fit, once and before any row is run.
fn check_columns(task: &LinkedTask, columns: &[(String, CsvColumns)]) -> Result<(), LoadError> {
    match task.manner {
        CallStrategy::Command => Ok(()),
        CallStrategy::Bytes | CallStrategy::FallibleBytes if !columns.is_empty() => Err(LoadError::RowsForBytes),
        _ => columns.iter().try_for_each(|(file, columns)| {
            value::columns::check(&task.params, columns)
                .map_err(|source| LoadError::Columns { file: file.clone(), source })
        }),
    }
}

fn component(engine: Engine, path: &Path, setup: &WorkerSetup) -> Result<LinkedTask, LoadError> {
    let WorkerSetup { meta: ArtifactMeta { profile, init: once, renewal, .. }, call, .. } = setup;
    let initialised = once.as_ref().is_some_and(InitOnce::is_done);
    // SAFETY: the artifact was written by our own compile process. Its memfd is sealed against writing, so it is and
    // stays what was compiled.
    let component = unsafe { Component::deserialize_file(&engine, path) }.map_err(LoadError::Artifact)?;
    let exports = exports::of_component(&component, &engine);
    let export = match call.command {
        Some(_) => exports::command(&exports),
        None => exports::choose(&exports, call.function.as_deref()),
    }?;
    if call.deterministic && imports_async(&component, &engine) {
        return Err(SettingMisfit::AsyncTask.of(Setting::Deterministic));
    }
    let is_async = profile.is_async();
    let linker = link_component(&engine, &component, call, is_async)?;
    let pre = linker.instantiate_pre(&component)?;
    let function = index(&component, export)?;
    let restore = if is_restored(call) { RestoreWay::of_component(&component, renewal, export) } else { None };
    if call.command.is_some() {
        let pre = InstanceMaker::Component { pre, function, init: None };
        return Ok(LinkedTask { is_async, ..LinkedTask::command(engine, pre, restore) });
    }
    let init = match &call.init {
        // In a snapshot, `init` has already run.
        _ if initialised => None,
        Some(json) => Some(init(&component, &exports, json)?),
        None => None,
    };
    let (params, slot) = params(export, call)?;
    let returns = returns(export, call)?;
    let manner = if is_async { CallStrategy::Values } else { manner(export, call, &returns) };
    Ok(LinkedTask {
        engine,
        pre: InstanceMaker::Component { pre, function, init },
        params,
        slot,
        returns,
        manner,
        is_async,
        collects: false,
        restore,
    })
}

fn index(component: &Component, export: &TaskExport) -> Result<ComponentExportIndex, LoadError> {
    let interface = match &export.interface {
        Some(interface) => Some(component.get_export_index(None, interface).ok_or_else(|| lost(export))?),
        None => None,
    };
    component.get_export_index(interface.as_ref(), &export.name).ok_or_else(|| lost(export))
}

fn lost(export: &TaskExport) -> LoadError {
    LoadError::LostExport(export.path())
}

/// Links what the task imports, and nothing else.
pub fn link_component(
    engine: &Engine,
    component: &Component,
    call: &TaskCall,
    is_async: bool,
) -> Result<ComponentLinker<StoreState>, LoadError> {
    let mut linker = ComponentLinker::new(engine);
    // This is done here, since a program that is installed has `imports` optimised for size: calls of shared objects are many
    // and short.
    for (name, _) in component.component_type().imports(engine).filter(|(name, _)| wasmpool_shared::provides(name)) {
        wasmpool_shared::link(&mut linker, name, StoreState::objects)?;
    }
    link::component(&mut linker, component, call, is_async)?;
    Ok(linker)
}

/// Returns an error if a component can never run, since what it imports is not provided here, whatever it is granted.
pub fn check_component(engine: &Engine, component: &Component, is_async: bool) -> Result<(), LoadError> {
    link_component(engine, component, &TaskCall::default(), is_async)?.instantiate_pre(component)?;
    Ok(())
}

/// Returns an error if a core module can never run, for the same reason.
pub fn check_module(engine: &Engine, module: &Module) -> Result<(), LoadError> {
    link::core(engine, module, &TaskCall::default())?.instantiate_pre(module)?;
    Ok(())
}

pub fn init(
    component: &Component,
    exports: &[TaskExport],
    json: &str,
) -> Result<(ComponentExportIndex, Vec<wasmtime::component::Val>), LoadError> {
    let export = exports::init(exports).ok_or_else(|| SettingMisfit::NoInit.of(Setting::Init))?;
    let mut values = Vec::new();
    match export.params.as_slice() {
        // Bytes that are not given as base64 or numbers are the JSON text itself, which the task parses.
        [(_, TypePlan::Bytes)] if !matches!(json.trim_start().as_bytes().first(), Some(b'"')) => {
            match crate::value::decode(&TypePlan::Bytes, json.as_bytes(), crate::value::ItemEncoding::Json) {
                Ok(value) => values.push(value),
                Err(_) => {
                    serde_json::from_str::<serde::de::IgnoredAny>(json)
                        .map_err(|e| SettingMisfit::NoJson(e).of(Setting::Init))?;
                    values.extend(crate::value::decode(
                        &TypePlan::Bytes,
                        json.as_bytes(),
                        crate::value::ItemEncoding::Bytes,
                    ));
                }
            }
        }
        _ => {
            FunctionParams::new(export.params.clone())
                .decode(json.as_bytes(), crate::value::ItemEncoding::Json, &mut values)
                .map_err(|why| SettingMisfit::Value { signature: export.signature(), why }.of(Setting::Init))?;
        }
    }
    Ok((index(component, export)?, values))
}

/// Returns true if items are to find pristine memory again and again.
fn is_restored(call: &TaskCall) -> bool {
    call.isolate != Isolate::Worker
}

fn core(engine: Engine, artifact: &OwnedFd, setup: &WorkerSetup) -> Result<LinkedTask, LoadError> {
    let WorkerSetup { meta, call, .. } = setup;
    let file = std::fs::File::from(artifact.try_clone()?);
    // SAFETY: the artifact was written by our own compile process. Its memfd is sealed against writing, so it is and
    // stays what was compiled.
    let module = unsafe { Module::deserialize_open_file(&engine, file) }.map_err(LoadError::Artifact)?;
    let linker = link::core(&engine, &module, call)?;
    let pre = linker.instantiate_pre(&module)?;
    let exports = exports::of_module(&module);
    let restore = |name| if is_restored(call) { RestoreWay::of_core(&meta.renewal, name) } else { None };
    if call.command.is_some() {
        let function = exports::command(&exports)?.name.clone();
        // A command may exit wherever it is, so nothing is known of what its functions change before they return.
        let restore = restore(None);
        let pre = InstanceMaker::Core { pre, function, shapes: Vec::new(), results: 0, reactor: None };
        return Ok(LinkedTask::command(engine, pre, restore));
    }
    let export = exports::choose(&exports, call.function.as_deref())?;
    if call.init.is_some() {
        return Err(SettingMisfit::CoreModule.of(Setting::Init));
    }
    let (params, slot) = params(export, call)?;
    let returns = returns(export, call)?;
    let shapes = export.params.iter().map(|(_, s)| s.clone()).collect();
    let results = match &export.result {
        None => 0,
        Some(TypePlan::Tuple(shapes)) => shapes.len(),
        Some(_) => 1,
    };
    let manner = manner(export, call, &returns);
    // Where Emscripten builds for its own JavaScript, that calls the second.
    let reactor = ["_initialize", "__wasm_call_ctors"]
        .into_iter()
        .find(|name| exports.iter().any(|e| e.name == *name && e.params.is_empty()));
    let function = export.name.clone();
    let restore = restore(Some(&*function));
    Ok(LinkedTask {
        engine,
        pre: InstanceMaker::Core { pre, function, shapes, results, reactor },
        params,
        slot,
        returns,
        manner,
        is_async: false,
        collects: false,
        restore,
    })
}

/// Returns the parameters that an item has to fill, with the bound values. For a batch, they are those of one item.
fn params(export: &TaskExport, call: &TaskCall) -> Result<(FunctionParams, usize), LoadError> {
    let mut wanted = export.params.clone();
    let is_bound = |name: &String| call.args.iter().any(|(bound, _)| bound == name);
    let slot = wanted.iter().position(|(name, _)| !is_bound(name)).unwrap_or_default();
    if call.batch
        && let Some((_, shape)) = wanted.get_mut(slot)
    {
        *shape = match std::mem::replace(shape, TypePlan::U8) {
            TypePlan::List(of) => *of,
            TypePlan::Bytes => TypePlan::U8,
            other => other,
        };
    }
    let mut params = FunctionParams::new(wanted);
    params.pass_over(&call.kept);
    for (name, json) in &call.args {
        let bound = if call.args_typed { params.bind_typed(name, json) } else { params.bind(name, json.as_bytes()) };
        bound.map_err(|why| SettingMisfit::Argument { name: name.clone(), why }.of(Setting::Arg))?;
    }
    let (all, bound) = (export.params.len(), call.args.len());
    let free = all - bound;
    // A single argument is taken as an item is, so it may have all parameters in it.
    if let Some(given) = call.arguments
        && given != free
        && (given != 1 || free == 0)
    {
        return Err(LoadError::Arguments { signature: export.signature(), free, bound, given });
    }
    Ok((params, slot))
}

/// Returns what a call returns, without the outer `result`, after checking what a batch and flattening require.
fn returns(export: &TaskExport, call: &TaskCall) -> Result<CallReturn, LoadError> {
    let returns = match export.result.clone() {
        Some(TypePlan::Result { ok, err }) => {
            CallReturn { fallible: true, value: ok.map(|s| *s), error: err.map(|s| *s) }
        }
        value => CallReturn { fallible: false, value, error: None },
    };
    let signature = export.signature();
    if call.batch {
        let unbound = export.params.iter().filter(|(name, _)| !call.args.iter().any(|(bound, _)| bound == name));
        let takes: Vec<&TypePlan> = unbound.map(|(_, s)| s).collect();
        if !matches!(takes.as_slice(), [TypePlan::List(_) | TypePlan::Bytes]) {
            return Err(SettingMisfit::TakesNoList(signature).of(Setting::Batch));
        }
        if !matches!(returns.value, Some(TypePlan::List(_) | TypePlan::Bytes)) {
            return Err(SettingMisfit::ReturnsNoList(signature).of(Setting::Batch));
        }
    }
    let element = match (&returns.value, call.batch) {
        (Some(TypePlan::List(of)), true) => Some(&**of),
        (Some(TypePlan::Bytes), true) => Some(&TypePlan::U8),
        (value, _) => value.as_ref(),
    };
    if call.flatten && !matches!(element, Some(TypePlan::List(_) | TypePlan::Bytes | TypePlan::Option(_))) {
        return Err(SettingMisfit::ReturnsNothingToFlatten(signature).of(Setting::Flatten));
    }
    Ok(returns)
}

fn manner(export: &TaskExport, call: &TaskCall, returns: &CallReturn) -> CallStrategy {
    if call.flatten || !call.args.is_empty() || export.is_async || call.item_form == ItemEncoding::Typed {
        return CallStrategy::Values;
    }
    if call.batch {
        let signature = match (export.params.as_slice(), &returns.value, returns.fallible) {
            ([(_, TypePlan::List(param))], Some(TypePlan::List(result)), false) => NumberSignature::of(param, result),
            _ => None,
        };
        return signature.map_or(CallStrategy::Values, CallStrategy::Numbers);
    }
    if let ([(_, param)], Some(result), false) = (export.params.as_slice(), &returns.value, returns.fallible)
        && let Some(signature) = NumberSignature::of(param, result)
    {
        return CallStrategy::Number(signature);
    }
    match (export.params.as_slice(), &returns.value, returns.fallible, &returns.error) {
        ([(_, TypePlan::Bytes)], Some(TypePlan::Bytes), false, _) => CallStrategy::Bytes,
        ([(_, TypePlan::Bytes)], Some(TypePlan::Bytes), true, Some(TypePlan::String)) => CallStrategy::FallibleBytes,
        _ => CallStrategy::Values,
    }
}
