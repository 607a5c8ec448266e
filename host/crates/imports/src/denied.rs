//! Things that a task asks for without being granted them. The task gets the answer of a machine that does not have
//! them, because many programs look without need. If the item fails, its record lists them. If they can be the reason,
//! its message names the option that would have granted them.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

use wasmtime::component::{ComponentNamedList, Lift, Linker as ComponentLinker, LinkerInstance, Lower, Resource};
use wasmtime::{Caller, Extern, ExternType, Linker as CoreLinker, Module, StoreContextMut, Val};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
use wasmtime_wasi::p2::bindings::sockets::tcp::TcpSocket;
use wasmtime_wasi::p2::bindings::sockets::udp::UdpSocket;

/// The types of WASI 0.3.
mod p3 {
    pub use wasmtime_wasi::p3::bindings::sockets::types::{ErrorCode, IpAddressFamily};
    pub use wasmtime_wasi::sockets::{TcpSocket, UdpSocket};
}

use super::charges;
use super::link::unversioned;
use super::state::StoreState;
use wasmpool_core::guest_grants::GuestGrants;
use wasmpool_core::outcome::FailureKind;
use wasmpool_core::setting::Setting;
use wasmpool_core::text::ForeignText;
use wasmpool_shared::MissedObject;

/// Something that was asked for and not granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissedGrant {
    /// The list of directories; many runtimes look at it when they start.
    Directories,
    /// Something in a directory.
    Path,
    /// What a directory that was granted for reading does not allow.
    Writing,
    Socket,
    /// The address of a machine of this name.
    Name(String),
    /// A connection to this address.
    Address(SocketAddr),
    /// Variables of the environment. A panic looks for the one that asks for a backtrace.
    Environment,
    /// A shared object.
    Object(MissedObject),
    /// A function of an interface that is not provided.
    Interface(String),
}

impl Display for MissedGrant {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            MissedGrant::Directories | MissedGrant::Path => write!(f, "a directory ({})", Setting::Dir),
            MissedGrant::Writing => {
                write!(
                    f,
                    "writing to a directory granted for reading only, or what is outside of it ({})",
                    Setting::Dir
                )
            }
            MissedGrant::Socket => write!(f, "the network ({})", Setting::Net),
            MissedGrant::Name(name) => write!(f, "the network, for {} ({})", ForeignText::of(name), Setting::Net),
            MissedGrant::Address(address) => write!(f, "the network, for {address} ({})", Setting::Net),
            MissedGrant::Environment => write!(f, "variables of the environment ({})", Setting::Env),
            MissedGrant::Object(object) => object.fmt(f),
            MissedGrant::Interface(function) => write!(f, "{} (nothing grants it)", ForeignText::of(function)),
        }
    }
}

/// Words of guests, in various languages, that lack a file, a peer or a variable. These say in so many words that there is no such
/// file.
const OF_MISSING_FILES: [&str; 12] = [
    "no such file",
    "no such directory",
    "file not found",
    "entity not found",
    "filenotfounderror",
    "kind: notfound",
    "noent",
    "no-entry",
    "preopen",
    "pre-opened",
    "badf",
    "bad file",
];
/// Others that speak of files.
const OF_OTHER_FILES: [&str; 11] = [
    "file descriptor",
    "permission denied",
    "permissiondenied",
    "operation not permitted",
    "eacces",
    "notcapable",
    "not capable",
    "cannot open",
    "can't open",
    "failed to open",
    "unable to open",
];
/// Those that say that a directory does not allow it.
const OF_MODES: [&str; 8] =
    ["not permitted", "not-permitted", "notpermitted", "eperm", "erofs", "read-only", "not capable", "notcapable"];
const OF_PEERS: [&str; 18] = [
    "network",
    "connect",
    "socket",
    "address",
    "resolve",
    "resolution",
    "look up",
    "lookup",
    "dns",
    "host",
    "permission denied",
    "permissiondenied",
    "permissionerror",
    "not permitted",
    "eacces",
    "access denied",
    "access-denied",
    "refused",
];
const OF_OBJECTS: [&str; 5] = ["granted", "no-such-store", "nosuchstore", "no such store", "bucket"];
const OF_VARIABLES: [&str; 6] = ["environ", "variable", "notpresent", "not set", "getenv", "env var"];

impl MissedGrant {
    /// Returns true if an item can have failed like this because it lacked this. If the guest gave a reason, the reason
    /// has to mention such a thing, because many programs look for what they do not need. If it gave none, something
    /// that it tried to use, and did not only look for, may be the reason.
    fn explains(&self, kind: FailureKind, said: Option<&str>) -> bool {
        if !matches!(kind, FailureKind::Error | FailureKind::Exit | FailureKind::Trap) {
            return false;
        }
        let speaks = |words: &[&str]| said.is_some_and(|said| speaks_of(said, words));
        let of_files = || speaks(&OF_MISSING_FILES) || speaks(&OF_OTHER_FILES);
        match self {
            MissedGrant::Directories => of_files(),
            MissedGrant::Writing => speaks(&OF_MODES),
            MissedGrant::Path => said.is_none() || of_files(),
            MissedGrant::Socket | MissedGrant::Name(_) | MissedGrant::Address(_) => said.is_none() || speaks(&OF_PEERS),
            MissedGrant::Environment => said.is_none() && kind != FailureKind::Trap || speaks(&OF_VARIABLES),
            // An error that passes on what the guest was told names the option already.
            MissedGrant::Object(object) => said.is_none_or(|said| {
                !said.contains(&Setting::Share.to_string()) && (speaks(&OF_OBJECTS) || said.contains(object.name()))
            }),
            // The trap that follows says so.
            MissedGrant::Interface(_) => false,
        }
    }
}

fn speaks_of(said: &str, words: &[&str]) -> bool {
    let said = said.to_lowercase();
    words.iter().any(|word| said.contains(word))
}

/// Returns what a guest that was granted directories, and said this, lacks beside them. `reads_only` is true if some of them are
/// for reading only, and `is_missing` if it looked in one of them for what is not there.
pub fn beside(reads_only: Option<bool>, is_missing: bool, said: Option<&str>) -> Option<MissedGrant> {
    let (reads_only, said) = (reads_only?, said?);
    if speaks_of(said, &OF_MODES) {
        return Some(if reads_only { MissedGrant::Writing } else { MissedGrant::Path });
    }
    // A path that begins like no directory is looked for nowhere: the guest's own library refuses it.
    (!is_missing && speaks_of(said, &OF_MISSING_FILES)).then_some(MissedGrant::Directories)
}

/// Returns all of it as text.
pub fn list(missed: &BTreeSet<MissedGrant>) -> Vec<String> {
    let mut list: Vec<String> = missed.iter().map(MissedGrant::to_string).collect();
    list.dedup();
    list
}

/// Returns advice for a failure of this kind with this reason given by the guest, or nothing if a missing grant cannot
/// be the cause.
pub fn advice(missed: &BTreeSet<MissedGrant>, kind: FailureKind, said: Option<&str>) -> String {
    let explaining: BTreeSet<MissedGrant> =
        missed.iter().filter(|missed| missed.explains(kind, said)).cloned().collect();
    match explaining.is_empty() {
        true => String::new(),
        false => format!("; it looked for what it was not granted: {}", list(&explaining).join(", ")),
    }
}

/// The sockets interface of WASI 0.3 in the runtime's version, under which functions can be replaced one by one.
const SOCKETS: &str = "wasi:sockets/types@0.3.0";

/// Replaces functions of an interface that a component imports and was not granted. `linker` may have it defined
/// already.
pub fn link(linker: &mut ComponentLinker<StoreState>, interface: &str, given: &GuestGrants) -> wasmtime::Result<()> {
    match unversioned(interface) {
        "wasi:filesystem/preopens" if !given.has_directories() => {
            linker.instance(interface)?.func_wrap("get-directories", |mut store, ()| {
                store.data().meter.call()?;
                store.data_mut().miss(MissedGrant::Directories);
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
            environment.func_wrap("get-arguments", |store, ()| {
                let state: &StoreState = store.data();
                state.meter.call()?;
                charges::told(state)?;
                // An item may be among them, so an instance that has asked while it was made is like no other.
                if !state.arguments().is_empty() {
                    state.use_host();
                }
                Ok((state.arguments().to_vec(),))
            })?;
            // The names of this function in 0.2 and in 0.3.
            for name in ["initial-cwd", "get-initial-cwd"] {
                environment.func_wrap(name, |store, ()| {
                    store.data().meter.call()?;
                    Ok((None::<String>,))
                })?;
            }
            environment.func_wrap("get-environment", |mut store, ()| {
                store.data().meter.call()?;
                store.data_mut().miss(MissedGrant::Environment);
                Ok((Vec::<(String, String)>::new(),))
            })?;
        }
        _ => {}
    }
    Ok(())
}

/// Makes a function that creates a socket answer that none is available.
fn refuse<Family, Socket, Code>(
    instance: &mut LinkerInstance<'_, StoreState>,
    name: &str,
    denied: fn() -> Code,
) -> wasmtime::Result<()>
where
    (Family,): ComponentNamedList + Lift + 'static,
    (Result<Socket, Code>,): ComponentNamedList + Lower + 'static,
{
    instance.func_wrap(name, move |mut store: StoreContextMut<'_, StoreState>, (_,): (Family,)| {
        store.data().meter.call()?;
        store.data_mut().miss(MissedGrant::Socket);
        Ok((Err(denied()),))
    })
}

/// The error code of preview 1 for a descriptor that does not exist.
const BADF: i32 = 8;

/// Replaces functions that a core module imports and was not granted.
pub fn link_core(linker: &mut CoreLinker<StoreState>, module: &Module, given: &GuestGrants) -> wasmtime::Result<()> {
    for import in module.imports() {
        let ExternType::Func(ty) = import.ty() else {
            continue;
        };
        let name = import.name();
        if !given.has_directories() && (name.starts_with("path_") || name.starts_with("fd_prestat_")) {
            let is_look = name.starts_with("fd_prestat_");
            linker.func_new(import.module(), name, ty, move |mut caller, _, results| {
                caller.data().meter.call()?;
                caller.data_mut().miss(if is_look { MissedGrant::Directories } else { MissedGrant::Path });
                results.fill(Val::I32(BADF));
                Ok(())
            })?;
        } else if given.env.is_empty() && name == "environ_sizes_get" {
            linker.func_wrap(import.module(), name, |mut caller: Caller<'_, StoreState>, count: u32, bytes: u32| {
                caller.data().meter.call()?;
                caller.data_mut().miss(MissedGrant::Environment);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_advised(missed: MissedGrant, kind: FailureKind, said: Option<&str>, wanted: bool) {
        let advice = advice(&BTreeSet::from([missed.clone()]), kind, said);
        assert_eq!(!advice.is_empty(), wanted, "{missed:?}, {kind:?}, {said:?}: {advice}");
    }

    #[test]
    fn a_grant_is_advised_where_the_failure_speaks_of_what_it_would_give() {
        for said in [
            "FileNotFoundError: [Errno 44] No such file or directory: 'x'",
            "failed to find a pre-opened file descriptor through which \"x\" could be opened",
            "panic: open /x: Bad file number",
            "called `Result::unwrap()` on an `Err` value: Os { code: 2, kind: PermissionDenied, message: \"Permission denied\" }",
        ] {
            is_advised(MissedGrant::Directories, FailureKind::Trap, Some(said), true);
        }
        is_advised(
            MissedGrant::Environment,
            FailureKind::Trap,
            Some("called `Result::unwrap()` on an `Err` value: NotPresent"),
            true,
        );
        is_advised(
            MissedGrant::Name("a".to_owned()),
            FailureKind::Error,
            Some("failed to lookup address information"),
            true,
        );
    }

    #[test]
    fn no_grant_is_advised_where_the_failure_speaks_of_something_else() {
        for said in [
            "ValueError: bad weight",
            "panic: boom",
            "odd number, at assembly/index.ts:3:7",
            "can't access property \"foo\" of null, at half@source.js:3:26",
            "the key was not found",
            "a customer of this name is in no directory",
            "no permission to sell to minors",
            "NotFound: there is no such order",
        ] {
            for kind in [FailureKind::Trap, FailureKind::Exit, FailureKind::Error] {
                for missed in
                    [MissedGrant::Directories, MissedGrant::Path, MissedGrant::Environment, MissedGrant::Socket]
                {
                    is_advised(missed, kind, Some(said), false);
                }
            }
        }
        is_advised(MissedGrant::Path, FailureKind::Timeout, None, false);
    }

    #[test]
    fn beside_a_granted_directory_another_is_missed_only_where_nothing_was_looked_for_in_it() {
        let none = "NotFound: No such file or directory (os error 44)";
        let refused = "PermissionDenied: Operation not permitted (os error 63)";
        for (reads_only, is_missing, said, wanted) in [
            (Some(true), false, Some(none), Some(MissedGrant::Directories)),
            (Some(true), true, Some(none), None),
            (Some(true), true, Some(refused), Some(MissedGrant::Writing)),
            (Some(false), true, Some(refused), Some(MissedGrant::Path)),
            (Some(true), false, Some("ValueError: bad weight"), None),
            (Some(true), false, None, None),
            (None, false, Some(none), None),
        ] {
            assert_eq!(beside(reads_only, is_missing, said), wanted, "{reads_only:?}, {is_missing}, {said:?}");
        }
        for missed in [MissedGrant::Directories, MissedGrant::Writing, MissedGrant::Path] {
            let said = if missed == MissedGrant::Directories { none } else { refused };
            is_advised(missed, FailureKind::Error, Some(said), true);
        }
    }

    #[test]
    fn of_a_failure_without_a_word_what_was_tried_can_be_the_cause() {
        is_advised(MissedGrant::Path, FailureKind::Exit, None, true);
        is_advised(MissedGrant::Socket, FailureKind::Trap, None, true);
        is_advised(MissedGrant::Environment, FailureKind::Exit, None, true);
        // Runtimes look for these when they start.
        is_advised(MissedGrant::Environment, FailureKind::Trap, None, false);
        is_advised(MissedGrant::Directories, FailureKind::Exit, None, false);
    }
}
