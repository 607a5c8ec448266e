//! What a task asks for that was not granted. It is answered as a machine answers that has none of it, since many programs
//! look without need. If the item fails, its message names the option that would have granted it.

use std::collections::BTreeSet;

use wasmtime::component::{ComponentNamedList, Lift, Linker as ComponentLinker, LinkerInstance, Lower, Resource};
use wasmtime::{Caller, Extern, ExternType, Linker as CoreLinker, Module, StoreContextMut, Val};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
use wasmtime_wasi::p2::bindings::sockets::tcp::TcpSocket;
use wasmtime_wasi::p2::bindings::sockets::udp::UdpSocket;

/// Those of WASI 0.3.
mod p3 {
    pub use wasmtime_wasi::p3::bindings::sockets::types::{ErrorCode, IpAddressFamily};
    pub use wasmtime_wasi::sockets::{TcpSocket, UdpSocket};
}

use super::state::State;
use crate::exports::unversioned;
use crate::grants::Given;
use crate::outcome::Kind;

/// Something that was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missed {
    Directory,
    Network,
    Environment,
}

impl Missed {
    fn hint(self) -> &'static str {
        match self {
            Missed::Directory => "a directory (--dir HOST::GUEST[:ro|:rw])",
            Missed::Network => "the network (--allow-net HOST:PORT)",
            Missed::Environment => "variables of the environment (--env NAME=VALUE)",
        }
    }

    /// Whether it can be why an item failed like this.
    fn explains(self, kind: Kind) -> bool {
        match kind {
            Kind::Error | Kind::Exit => true,
            // A panic looks for the variable that asks for a backtrace.
            Kind::Trap => self != Missed::Environment,
            _ => false,
        }
    }
}

/// What is said of a failure of this kind, where it may be for want of a grant.
pub fn hint(missed: &BTreeSet<Missed>, kind: Kind) -> String {
    let hints: Vec<&str> = missed.iter().filter(|missed| missed.explains(kind)).map(|missed| missed.hint()).collect();
    match hints.is_empty() {
        true => String::new(),
        false => format!("; it looked for what it was not granted: {}", hints.join(", ")),
    }
}

/// The sockets of WASI 0.3 as the runtime has them, under which their functions can be had one by one.
const SOCKETS: &str = "wasi:sockets/types@0.3.0";

/// Answers for an interface that a component imports, where it was not granted. `linker` may have it defined already.
pub fn link(linker: &mut ComponentLinker<State>, interface: &str, given: &Given) -> wasmtime::Result<()> {
    match unversioned(interface) {
        "wasi:filesystem/preopens" if !given.has_directories() => {
            linker.instance(interface)?.func_wrap("get-directories", |mut store, ()| {
                store.data_mut().miss(Missed::Directory);
                Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
            })?;
        }
        "wasi:sockets/tcp-create-socket" if given.peers.is_empty() => {
            refuse::<IpAddressFamily, Resource<TcpSocket>, _>(
                &mut linker.instance(interface)?,
                "create-tcp-socket",
                || ErrorCode::AccessDenied,
            )?;
        }
        "wasi:sockets/udp-create-socket" if given.peers.is_empty() => {
            refuse::<IpAddressFamily, Resource<UdpSocket>, _>(
                &mut linker.instance(interface)?,
                "create-udp-socket",
                || ErrorCode::AccessDenied,
            )?;
        }
        "wasi:sockets/types" if given.peers.is_empty() => {
            let mut sockets = linker.instance(SOCKETS)?;
            let denied = || p3::ErrorCode::AccessDenied;
            refuse::<p3::IpAddressFamily, Resource<p3::TcpSocket>, _>(
                &mut sockets,
                "[static]tcp-socket.create",
                denied,
            )?;
            refuse::<p3::IpAddressFamily, Resource<p3::UdpSocket>, _>(
                &mut sockets,
                "[static]udp-socket.create",
                denied,
            )?;
        }
        "wasi:cli/environment" if given.env.is_empty() => {
            // An interface is defined here as a whole, or not at all.
            let mut environment = linker.instance(interface)?;
            environment.func_wrap("get-arguments", |store, ()| Ok((store.data().arguments().to_vec(),)))?;
            // By its names in 0.2 and in 0.3.
            environment.func_wrap("initial-cwd", |_, ()| Ok((None::<String>,)))?;
            environment.func_wrap("get-initial-cwd", |_, ()| Ok((None::<String>,)))?;
            environment.func_wrap("get-environment", |mut store, ()| {
                store.data_mut().miss(Missed::Environment);
                Ok((Vec::<(String, String)>::new(),))
            })?;
        }
        _ => {}
    }
    Ok(())
}

/// Has a function that makes a socket say that there is none to be had.
fn refuse<Family, Socket, Code>(
    instance: &mut LinkerInstance<'_, State>,
    name: &str,
    denied: fn() -> Code,
) -> wasmtime::Result<()>
where
    (Family,): ComponentNamedList + Lift + 'static,
    (Result<Socket, Code>,): ComponentNamedList + Lower + 'static,
{
    instance.func_wrap(name, move |mut store: StoreContextMut<'_, State>, (_,): (Family,)| {
        store.data_mut().miss(Missed::Network);
        Ok((Err(denied()),))
    })
}

/// Preview 1 says so of a descriptor that is not there.
const BADF: i32 = 8;

/// The same for a core module.
pub fn link_core(linker: &mut CoreLinker<State>, module: &Module, given: &Given) -> wasmtime::Result<()> {
    for import in module.imports() {
        let ExternType::Func(ty) = import.ty() else {
            continue;
        };
        let name = import.name();
        if !given.has_directories() && (name.starts_with("path_") || name.starts_with("fd_prestat_")) {
            linker.func_new(import.module(), name, ty, |mut caller, _, results| {
                caller.data_mut().miss(Missed::Directory);
                results.fill(Val::I32(BADF));
                Ok(())
            })?;
        } else if given.env.is_empty() && name == "environ_sizes_get" {
            linker.func_wrap(import.module(), name, |mut caller: Caller<'_, State>, count: u32, bytes: u32| {
                caller.data_mut().miss(Missed::Environment);
                let memory = caller.get_export("memory").and_then(Extern::into_memory);
                let memory = memory.ok_or_else(|| wasmtime::Error::msg("the task exports no memory"))?;
                for at in [count, bytes] {
                    memory.write(&mut caller, at as usize, &[0; 4])?;
                }
                Ok(0)
            })?;
        }
    }
    Ok(())
}
