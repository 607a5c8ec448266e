//! The linking of a task with what it imports.

use wasmtime::component::types::{Component as ComponentType, ComponentItem};
use wasmtime::component::{Component, Linker as ComponentLinker, ResourceType};
use wasmtime::{Engine, ImportType, Linker as CoreLinker, Module};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{cli, filesystem, random, sync};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::{I32Exit, p2};

use super::charges;
use super::denied::{self, MissedGrant};
use super::keyvalue;
use super::settings;
use super::state::StoreState;
use super::toolchain::{self, UnknownImports};
use super::wasi;
use super::{deterministic, file_numbers, random_bytes};
use wasmpool_core::policy::TaskCall;
use wasmpool_core::text::{ForeignText, QuotedName};

/// The reason why a task cannot be linked with what is provided here.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{}", on_one_line(.0))]
    Link(wasmtime::Error),
    #[error(
        "the task imports {}, which nothing here provides: only interfaces of WASI and of wasmpool:shared@0.1.0 can be imported",
        QuotedName::of(.0)
    )]
    UnknownInterface(String),
    #[error(transparent)]
    UnknownImports(#[from] UnknownImports),
}

// Not derived, since the error is told with all that is behind it and has no source then.
impl From<wasmtime::Error> for LinkError {
    fn from(error: wasmtime::Error) -> LinkError {
        LinkError::Link(error)
    }
}

/// Returns the interface of a name like `pkg:name/interface@1.2.3` without its version.
pub fn unversioned(interface: &str) -> &str {
    interface.split('@').next().unwrap_or(interface)
}

/// Returns the runtime's message about a task on one line of bounded length. It contains names from the task as they are.
pub fn on_one_line(error: &wasmtime::Error) -> String {
    ForeignText::of_failure(&format!("{error:#}")).to_string()
}

/// Returns an error if a component imports an interface that nothing here provides. Those of WASI are not checked: linking
/// tells what is wrong with them.
fn check_interfaces(ty: &ComponentType, engine: &Engine) -> Result<(), LinkError> {
    let provided = |name: &str| name.starts_with("wasi:") || wasmpool_shared::provides(name);
    let unknown = ty.imports(engine).find(|(name, item)| !provided(name) && needs_something(&item.ty, engine));
    unknown.map_or(Ok(()), |(name, _)| Err(LinkError::UnknownInterface(name.to_owned())))
}

/// Returns an error if a core module imports what nothing here provides. The types of WASI's functions are not checked, as
/// above.
fn check_imports(module: &Module) -> Result<(), LinkError> {
    let is_of_wasi = |import: &ImportType<'_>| import.module().starts_with("wasi_") && import.ty().func().is_some();
    let unknown: Vec<ImportType<'_>> =
        module.imports().filter(|import| !is_of_wasi(import) && !toolchain::provides(import)).collect();
    if unknown.is_empty() { Ok(()) } else { Err(toolchain::refusal(&unknown).into()) }
}

/// Links what the task imports besides shared objects, and nothing else.
pub fn component(
    linker: &mut ComponentLinker<StoreState>,
    component: &Component,
    call: &TaskCall,
    is_async: bool,
) -> Result<(), LinkError> {
    let engine = linker.engine().clone();
    let engine = &engine;
    let ty = component.component_type();
    check_interfaces(&ty, engine)?;
    let mut uses_wasi = false;
    for (name, item) in ty.imports(engine) {
        if keyvalue::provides(name) {
            keyvalue::link(linker, name)?;
        } else if settings::provides(name) {
            settings::link(linker, name)?;
        } else if name.starts_with("wasi:") {
            uses_wasi |= is_provided(name);
        } else if wasmpool_shared::provides(name) {
            // The caller has linked these.
        } else if let ComponentItem::ComponentInstance(_) = item.ty {
            // An interface that only has types is satisfied by an empty instance.
            linker.instance(name)?;
        }
    }
    if uses_wasi {
        let sockets = ty.imports(engine).any(|(name, _)| name.starts_with("wasi:sockets/"));
        match is_async {
            false if !sockets => link_without_sockets(linker),
            false => wasmtime_wasi::p2::add_to_linker_sync(linker),
            true => {
                wasmtime_wasi::p2::add_to_linker_async(linker).and_then(|()| wasmtime_wasi::p3::add_to_linker(linker))
            }
        }?;
    }
    // The runtime may define more than is provided here.
    linker.allow_shadowing(true);
    let shared = shared_resources(&ty, engine);
    for (name, item) in ty.imports(engine) {
        if name.starts_with("wasi:") && !is_provided(name) && !is_own(name) {
            deny(&mut linker.root(), name, name, &item.ty, &shared, engine)?;
        }
        wasi::link_names(linker, name)?;
        if call.limits.fuel.is_some() && is_provided(name) {
            charges::link(linker, name, is_async)?;
        }
        if is_provided(name) {
            charges::link_opening(linker, name, is_async)?;
            file_numbers::link(linker, name, is_async)?;
        }
        denied::link(linker, name, &call.given)?;
        if call.deterministic {
            deterministic::link(linker, name, is_async)?;
        } else if call.limits.fuel.is_none() && is_provided(name) {
            random_bytes::link(linker, name)?;
        }
    }
    Ok(())
}

/// Links all of WASI 0.2 but its sockets, which are two fifths of it and which few tasks import. It would take a small
/// task longer to have them linked than to be loaded.
fn link_without_sockets(linker: &mut ComponentLinker<StoreState>) -> wasmtime::Result<()> {
    type S = StoreState;
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_sync(linker)?;
    let l = linker;
    filesystem::preopens::add_to_linker::<S, WasiFilesystem>(l, S::filesystem)?;
    sync::filesystem::types::add_to_linker::<S, WasiFilesystem>(l, S::filesystem)?;
    random::insecure::add_to_linker::<S, WasiRandom>(l, S::random)?;
    random::insecure_seed::add_to_linker::<S, WasiRandom>(l, S::random)?;
    cli::exit::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::environment::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::terminal_input::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::terminal_output::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::terminal_stdin::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::terminal_stdout::add_to_linker::<S, WasiCli>(l, S::cli)?;
    cli::terminal_stderr::add_to_linker::<S, WasiCli>(l, S::cli)
}

/// Returns true if it imports interfaces of WASI 0.3, some of whose functions are async.
pub fn imports_async(component: &Component, engine: &Engine) -> bool {
    let ty = component.component_type();
    ty.imports(engine).any(|(name, _)| name.strip_prefix("wasi:").is_some_and(is_async_wasi))
}

/// Returns true if this is an interface of WASI that the runtime does not have.
fn is_own(name: &str) -> bool {
    keyvalue::provides(name) || settings::provides(name)
}

/// Returns true if a task can call functions of this interface of WASI, which the runtime has.
fn is_provided(name: &str) -> bool {
    let Some(interface) = name.strip_prefix("wasi:") else {
        return false;
    };
    let provided = if is_async_wasi(interface) { &PROVIDED_ASYNC[..] } else { &PROVIDED[..] };
    provided.contains(&unversioned(interface))
}

/// Returns true if an interface is one of WASI 0.3.
fn is_async_wasi(interface: &str) -> bool {
    interface.split_once('@').is_some_and(|(_, version)| version.starts_with("0.3."))
}

/// The interfaces of WASI 0.2 that a task can call, whatever their version.
const PROVIDED: [&str; 27] = [
    "cli/environment",
    "cli/exit",
    "cli/stdin",
    "cli/stdout",
    "cli/stderr",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "cli/terminal-stderr",
    "clocks/monotonic-clock",
    "clocks/wall-clock",
    "filesystem/preopens",
    "filesystem/types",
    "io/error",
    "io/poll",
    "io/streams",
    "random/insecure",
    "random/insecure-seed",
    "random/random",
    "sockets/instance-network",
    "sockets/ip-name-lookup",
    "sockets/network",
    "sockets/tcp",
    "sockets/tcp-create-socket",
    "sockets/udp",
    "sockets/udp-create-socket",
];

/// The interfaces of WASI 0.3 that a task can call, whatever their version.
const PROVIDED_ASYNC: [&str; 21] = [
    "cli/environment",
    "cli/exit",
    "cli/stderr",
    "cli/stdin",
    "cli/stdout",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stderr",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "cli/types",
    "clocks/monotonic-clock",
    "clocks/system-clock",
    "clocks/types",
    "filesystem/preopens",
    "filesystem/types",
    "random/insecure",
    "random/insecure-seed",
    "random/random",
    "sockets/ip-name-lookup",
    "sockets/types",
];

/// Links an import of WASI that is not provided to functions that fail, because many guests import what they never
/// call.
fn deny(
    linker: &mut wasmtime::component::LinkerInstance<'_, StoreState>,
    name: &str,
    path: &str,
    item: &ComponentItem,
    shared: &[(ResourceType, ResourceType)],
    engine: &Engine,
) -> wasmtime::Result<()> {
    match item {
        ComponentItem::ComponentFunc(function) => {
            let path = path.to_owned();
            let denied = move |state: &mut StoreState| {
                state.miss(MissedGrant::Interface(path.clone()));
                let message =
                    format!("the task called {}, which is not provided here; nothing grants it", QuotedName::of(&path));
                Err(wasmtime::Error::msg(message))
            };
            match function.async_() {
                false => linker.func_new(name, move |mut store, _, _, _| denied(store.data_mut())),
                true => linker.func_new_concurrent(name, move |accessor, _, _, _| {
                    let failed = accessor.with(|mut access| denied(access.data_mut()));
                    Box::pin(std::future::ready(failed))
                }),
            }
        }
        ComponentItem::ComponentInstance(instance) => {
            let mut inner = linker.instance(name)?;
            for (item, ty) in instance.exports(engine) {
                deny(&mut inner, item, &format!("{path}#{item}"), &ty.ty, shared, engine)?;
            }
            Ok(())
        }
        ComponentItem::Resource(resource) => {
            let of_another = shared.iter().find(|(imported, _)| imported == resource);
            let ty = of_another.map_or_else(ResourceType::host::<DeniedResource>, |(_, provided)| *provided);
            linker.resource(name, ty, |_, _| Ok(()))
        }
        _ => Ok(()),
    }
}

/// A resource of an interface that is not provided, so there is never one.
enum DeniedResource {}

/// Returns resources that are provided and that interfaces which are not provided use, as `wasi:http` uses streams:
/// each as the component imports it, and as the runtime has it.
fn shared_resources(ty: &ComponentType, engine: &Engine) -> Vec<(ResourceType, ResourceType)> {
    let mut shared = Vec::new();
    for (interface, item) in ty.imports(engine) {
        let ComponentItem::ComponentInstance(instance) = &item.ty else {
            continue;
        };
        for (name, item) in instance.exports(engine) {
            let provided = match (unversioned(interface), name) {
                ("wasi:io/error", "error") => ResourceType::host::<p2::IoError>(),
                ("wasi:io/poll", "pollable") => ResourceType::host::<p2::DynPollable>(),
                ("wasi:io/streams", "input-stream") => ResourceType::host::<p2::DynInputStream>(),
                ("wasi:io/streams", "output-stream") => ResourceType::host::<p2::DynOutputStream>(),
                _ => continue,
            };
            if let ComponentItem::Resource(imported) = item.ty {
                shared.push((imported, provided));
            }
        }
    }
    shared
}

/// Returns true if an import consists of more than types.
fn needs_something(item: &ComponentItem, engine: &Engine) -> bool {
    match item {
        ComponentItem::Type(_) => false,
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).any(|(_, item)| needs_something(&item.ty, engine))
        }
        _ => true,
    }
}

const PREVIEW1: &str = "wasi_snapshot_preview1";
const UNSTABLE: &str = "wasi_unstable";

/// Returns a linker with what a core module imports.
pub fn core(engine: &Engine, module: &Module, call: &TaskCall) -> Result<CoreLinker<StoreState>, LinkError> {
    check_imports(module)?;
    let mut linker = CoreLinker::new(engine);
    if module.imports().len() > 0 {
        link_preview1(&mut linker, module, call)?;
    }
    Ok(linker)
}

/// Links what a core module imports: preview 1 of WASI, or its predecessor.
fn link_preview1(linker: &mut CoreLinker<StoreState>, module: &Module, call: &TaskCall) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    for interface in [PREVIEW1, UNSTABLE] {
        if module.imports().all(|import| import.module() != interface) {
            continue;
        }
        match interface {
            PREVIEW1 => wasmtime_wasi::p1::add_to_linker_sync(linker, StoreState::p1)?,
            _ => wasmtime_wasi::p0::add_to_linker_sync(linker, StoreState::p1)?,
        }
        match interface {
            _ if call.limits.fuel.is_none() => {}
            PREVIEW1 => charges::link_preview1(linker)?,
            _ => charges::link_unstable(linker)?,
        }
        match interface {
            PREVIEW1 => charges::link_opening_preview1(linker).and_then(|()| file_numbers::link_preview1(linker))?,
            _ => charges::link_opening_unstable(linker).and_then(|()| file_numbers::link_unstable(linker))?,
        }
        if call.limits.fuel.is_none() && !call.deterministic {
            random_bytes::link_core(linker, interface)?;
        }
        // Wasmtime's own function treats a code of 126 or more as a trap.
        linker.func_wrap(interface, "proc_exit", |code: i32| -> wasmtime::Result<()> { Err(I32Exit(code).into()) })?;
    }
    if call.deterministic {
        deterministic::link_core(linker)?;
    }
    denied::link_core(linker, module, &call.given)?;
    toolchain::link(linker, module, call.deterministic)?;
    linker.define_unknown_imports_as_traps(module)
}
