//! WASI for a guest, which can reach nothing but what was granted.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand_core::{Rng, TryRng};
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network};
use wasmtime_wasi::random::thread_rng;
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder, WasiView};

use super::denied::MissedGrant;
use super::link::unversioned;
use super::meter::{Meter, MeteredRandom};
use super::state::{OutputCapture, StoreState};
use wasmpool_core::guest_grants::GuestPeer;
use wasmpool_core::policy::TaskCall;
use wasmpool_core::text::ForeignText;
use wasmpool_shared::SharedObjects;

/// The types of WASI 0.3.
mod p3 {
    pub use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup::ErrorCode;
    pub use wasmtime_wasi::p3::bindings::sockets::types::IpAddress;
}

/// The grants, ready for use.
#[derive(Default)]
pub struct Wasi {
    env: Vec<(String, String)>,
    directories: Vec<(PathBuf, String, FsPerms)>,
    peers: Vec<GuestPeer>,
    addresses: Arc<[SocketAddr]>,
    /// True if clocks and random numbers have to be the same on any machine.
    pub deterministic: bool,
    /// The printers of standard output and standard error.
    pub printers: [OutputCapture; 2],
    /// Addresses that were not granted and that the guest tried to connect to, limited in number.
    refused: Arc<Mutex<BTreeSet<SocketAddr>>>,
    /// The shared objects that it can reach.
    pub shared: Arc<SharedObjects>,
    /// Set to true when the guest asks for random numbers, if present.
    asked: Option<Arc<AtomicBool>>,
    /// Makes random bytes for all instances; made itself when a guest first asks.
    random: Mutex<Option<Box<dyn Rng + Send>>>,
}

/// Error: a granted directory cannot be opened in this process.
#[derive(Debug, thiserror::Error)]
#[error("the directory granted as {guest} cannot be opened in a worker: {why}")]
pub struct UnopenedDirectory {
    guest: String,
    why: wasmtime::Error,
}

/// Maximum number of refused addresses that are kept until they are taken.
const MOST_REFUSED: usize = 16;

impl Wasi {
    /// Makes WASI ready for a call. `paths` lead to the granted directories, in their order, and then to the scratch
    /// directory.
    pub fn new(
        call: &TaskCall,
        paths: impl Iterator<Item = PathBuf>,
        printers: [OutputCapture; 2],
        shared: Arc<SharedObjects>,
    ) -> Result<Arc<Wasi>, UnopenedDirectory> {
        let given = &call.given;
        let granted = given.directories.iter().map(|directory| (&directory.guest, directory.writable));
        let directories: Vec<(PathBuf, String, FsPerms)> = paths
            .zip(granted.chain(given.scratch.iter().map(|scratch| (scratch, true))))
            .map(|(path, (guest, writable))| {
                let permissions = if writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
                (path, guest.clone(), permissions)
            })
            .collect();
        for (path, guest, permissions) in &directories {
            WasiCtxBuilder::new()
                .preopened_dir(path, guest, *permissions)
                .map_err(|why| UnopenedDirectory { guest: guest.clone(), why })?;
        }
        let addresses = given.peers.iter().flat_map(|peer| peer.addresses.iter().copied()).collect();
        Ok(Arc::new(Wasi {
            env: given.env.clone(),
            directories,
            peers: given.peers.clone(),
            addresses,
            deterministic: call.deterministic,
            printers,
            refused: Arc::default(),
            shared,
            asked: None,
            random: Mutex::default(),
        }))
    }

    /// Returns WASI without any grants, and without a reader for what is printed. `asked` becomes true when the guest
    /// asks for random numbers.
    pub fn silent(asked: &Arc<AtomicBool>) -> Wasi {
        let asked = Some(Arc::clone(asked));
        Wasi { asked, printers: [OutputCapture::default(), OutputCapture::default().with_end()], ..Wasi::default() }
    }

    /// Returns the addresses that were refused since they were last taken.
    pub fn take_refused(&self) -> BTreeSet<SocketAddr> {
        match self.addresses.is_empty() {
            true => BTreeSet::new(),
            false => std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Returns true if there is a directory in which files can be opened.
    pub fn opens_files(&self) -> bool {
        !self.directories.is_empty()
    }

    /// Returns whether some of the directories that were granted are for reading only, if there are any.
    pub fn reads_only(&self) -> Option<bool> {
        let reads = |(_, _, permissions): &(PathBuf, String, FsPerms)| matches!(permissions, FsPerms::ReadOnly);
        self.opens_files().then(|| self.directories.iter().any(reads))
    }

    /// Fills a buffer with random bytes.
    pub fn fill_randomly(&self, bytes: &mut [u8]) {
        if let Some(asked) = &self.asked {
            asked.store(true, Ordering::Relaxed);
        }
        self.random.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(thread_rng).fill_bytes(bytes);
    }

    /// Returns the variables of the environment.
    pub fn variables(&self) -> &[(String, String)] {
        &self.env
    }

    /// Returns WASI for one instance, without arguments, with what was granted.
    pub fn builder(&self, meter: &Meter) -> WasiCtxBuilder {
        let mut builder = WasiCtxBuilder::new();
        let [stdout, stderr] = self.printers.each_ref().map(|printer| printer.counting(meter));
        if let Some(asked) = &self.asked {
            let numbers = || ObservedRandom { asked: Arc::clone(asked), of: thread_rng() };
            builder.secure_random(numbers()).insecure_random(numbers());
        } else if meter.is_counting() {
            let numbers = || MeteredRandom { meter: meter.clone(), of: thread_rng() };
            builder.secure_random(numbers()).insecure_random(numbers());
        }
        builder.stdout(stdout).stderr(stderr).allow_blocking_current_thread(true).envs(&self.env);
        for (path, guest, permissions) in &self.directories {
            // The directory could be opened when the worker started. A process that has run out of descriptors since
            // then does without.
            let _ = builder.preopened_dir(path, guest, *permissions);
        }
        builder.allow_udp(false).allow_tcp(!self.addresses.is_empty()).allow_ip_name_lookup(false);
        if !self.addresses.is_empty() {
            let (addresses, refused) = (Arc::clone(&self.addresses), Arc::clone(&self.refused));
            builder.socket_addr_check(move |address, what| {
                let granted = match what {
                    SocketAddrUse::TcpConnect => addresses.contains(&address),
                    // Every connection begins with a bind to no particular address.
                    SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
                    _ => false,
                };
                if let SocketAddrUse::TcpConnect = what
                    && !granted
                {
                    let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
                    if refused.len() < MOST_REFUSED {
                        refused.insert(address);
                    }
                }
                Box::pin(std::future::ready(granted))
            });
        }
        builder
    }

    /// Returns the addresses of a granted peer. Other names have none here: a guest that could look up any name could
    /// send messages to the outside in the names it asks for.
    fn look_up(&self, name: &str) -> Option<Vec<IpAddr>> {
        let of_name: Vec<IpAddr> = self
            .peers
            .iter()
            .filter(|peer| peer.host.eq_ignore_ascii_case(name))
            .flat_map(|peer| peer.addresses.iter().map(SocketAddr::ip))
            .collect();
        match name.parse::<IpAddr>() {
            _ if !of_name.is_empty() => Some(of_name),
            // An address is its own name.
            Ok(address) => Some(vec![address]),
            Err(_) => None,
        }
    }
}

/// Random numbers that record that they were asked for.
struct ObservedRandom<R> {
    asked: Arc<AtomicBool>,
    of: R,
}

impl<R> ObservedRandom<R> {
    fn ask(&mut self) -> &mut R {
        self.asked.store(true, Ordering::Relaxed);
        &mut self.of
    }
}

impl<R: Rng> TryRng for ObservedRandom<R> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.ask().next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.ask().next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.ask().fill_bytes(bytes);
        Ok(())
    }
}

/// Makes a component record that it asked for the seed of random numbers. `interface` is one that it imports, which
/// `linker` has defined already.
pub fn link_asked(linker: &mut Linker<StoreState>, interface: &str, asked: &Arc<AtomicBool>) -> wasmtime::Result<()> {
    if unversioned(interface) != "wasi:random/insecure-seed" {
        return Ok(());
    }
    let asked = Arc::clone(asked);
    linker.instance(interface)?.func_wrap("insecure-seed", move |_, ()| {
        asked.store(true, Ordering::Relaxed);
        let mut numbers = thread_rng();
        Ok(((numbers.next_u64(), numbers.next_u64()),))
    })
}

/// The addresses that a lookup found and that have not been asked for yet.
pub struct Addresses(std::vec::IntoIter<IpAddr>);

/// Answers `wasi:sockets/ip-name-lookup` from the granted peers, whose addresses the host has looked up, because a
/// worker cannot ask anybody. `interface` is imported by a component; `linker` may have it defined already.
pub fn link_names(linker: &mut Linker<StoreState>, interface: &str) -> wasmtime::Result<()> {
    match interface.strip_prefix("wasi:sockets/ip-name-lookup@") {
        Some(version) if version.starts_with("0.3.") => link_async_names(linker, interface),
        Some(_) => link_sync_names(linker, interface),
        None => Ok(()),
    }
}

/// Links the lookup of WASI 0.3.
fn link_async_names(linker: &mut Linker<StoreState>, interface: &str) -> wasmtime::Result<()> {
    linker.instance(interface)?.func_wrap_concurrent("resolve-addresses", |accessor, (name,): (String,)| {
        let found = accessor.with(|mut access| look_up(access.data_mut(), &name)).map(|found| {
            let addresses = found.map(|addresses| addresses.into_iter().map(p3::IpAddress::from).collect::<Vec<_>>());
            (addresses.ok_or(p3::ErrorCode::NameUnresolvable),)
        });
        Box::pin(std::future::ready(found))
    })
}

/// Returns the addresses of a name, or `None` if it was not granted.
fn look_up(state: &mut StoreState, name: &str) -> wasmtime::Result<Option<Vec<IpAddr>>> {
    state.meter.call()?;
    state.meter.bytes(name.len())?;
    let found = state.grants().look_up(name);
    if found.is_none() {
        state.miss(MissedGrant::Name(ForeignText::of(name).to_string()));
    }
    Ok(found)
}

/// Links the lookup of WASI 0.2.
fn link_sync_names(linker: &mut Linker<StoreState>, interface: &str) -> wasmtime::Result<()> {
    let mut names = linker.instance(interface)?;
    names.resource("resolve-address-stream", ResourceType::host::<Addresses>(), |mut store, resource| {
        store.data_mut().ctx().table.delete(Resource::<Addresses>::new_own(resource))?;
        Ok(())
    })?;
    names.func_wrap("resolve-addresses", |mut store, (_, name): (Resource<Network>, String)| {
        let state: &mut StoreState = store.data_mut();
        let Some(addresses) = look_up(state, &name)? else {
            return Ok((Err(ErrorCode::NameUnresolvable),));
        };
        Ok((Ok(state.ctx().table.push(Addresses(addresses.into_iter()))?),))
    })?;
    names.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store, (resource,): (Resource<Addresses>,)| {
            let state: &mut StoreState = store.data_mut();
            let next = state.ctx().table.get_mut(&resource)?.0.next();
            Ok((Ok::<_, ErrorCode>(next.map(IpAddress::from)),))
        },
    )?;
    names.func_wrap("[method]resolve-address-stream.subscribe", |mut store, (resource,): (Resource<Addresses>,)| {
        let state: &mut StoreState = store.data_mut();
        Ok((wasmtime_wasi::p2::subscribe(state.ctx().table, resource)?,))
    })?;
    Ok(())
}

#[wasmtime_wasi::async_trait]
impl wasmtime_wasi::p2::Pollable for Addresses {
    async fn ready(&mut self) {}
}
