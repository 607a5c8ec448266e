//! Numbers by which a guest tells files apart: `metadata-hash`, and the inode of preview 1.
//!
//! The kernel numbers all files that are ever created in a file system. In the scratch directory its numbers would
//! reveal to an item how many files the items before it created, and in a deterministic run they would differ from run
//! to run. So each instance has numbers of its own: two files have the same number if and only if the kernel gives them
//! the same.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use wasmtime::component::{Accessor, Linker as ComponentLinker, Resource};
use wasmtime::{AsContextMut, Caller, Linker as CoreLinker};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::bindings::filesystem::types::{ErrorCode, HostDescriptor, MetadataHashValue, PathFlags};
use wiggle::GuestMemory;

use super::block_on;
use super::charges::{FILES, answer, define, memory, preview1, unstable};
use super::directory::{self, Listing};
use super::link::unversioned;
use super::state::{MemoryLimiter, StoreState};
use super::used_up;

/// The types of WASI 0.3.
mod p3 {
    pub use wasmtime_wasi::p3::bindings::filesystem::types::{
        ErrorCode, HostDescriptorWithStore as Descriptor, MetadataHashValue, PathFlags,
    };
}

/// Number of bytes of its memory that an instance pays for a file whose number is kept: about the size of a map's
/// entry.
const ENTRY: usize = 64;

/// The numbers that one instance sees.
#[derive(Debug)]
pub enum FileNumbers {
    /// Derived from the kernel's numbers with a key that nobody knows.
    Keyed(RandomState),
    /// Assigned in the order in which files are asked about, and thus the same in each run.
    Counted(BTreeMap<(u64, u64), u64>),
}

/// Error: the instance has no memory left to keep a file's number.
#[derive(Debug)]
pub struct NoMemory;

impl FileNumbers {
    pub fn new(is_deterministic: bool) -> FileNumbers {
        match is_deterministic {
            true => FileNumbers::Counted(BTreeMap::new()),
            false => FileNumbers::Keyed(RandomState::new()),
        }
    }

    /// Returns the instance's number for a file, given the hash of the kernel's number.
    ///
    /// # Errors
    ///
    /// Fails if there is no memory left for one more.
    pub fn of(&mut self, file: (u64, u64), limiter: &mut MemoryLimiter) -> Result<(u64, u64), NoMemory> {
        match self {
            FileNumbers::Keyed(key) => Ok((key.hash_one((file, 'l')), key.hash_one((file, 'u')))),
            FileNumbers::Counted(numbers) => {
                let next = numbers.len() as u64 + 1;
                if let Some(number) = numbers.get(&file) {
                    return Ok((*number, 0));
                }
                if !limiter.take(ENTRY, true) {
                    return Err(NoMemory);
                }
                numbers.insert(file, next);
                Ok((next, 0))
            }
        }
    }
}

/// Gives a component that imports `interface` numbers of its own. `linker` has the interface defined already.
pub fn link(linker: &mut ComponentLinker<StoreState>, interface: &str, is_async: bool) -> wasmtime::Result<()> {
    match unversioned(interface) {
        "wasi:filesystem/types" if interface.contains("@0.3.") => link_concurrent(linker, interface),
        "wasi:filesystem/types" => link_files(linker, is_async),
        _ => Ok(()),
    }
}

fn link_files(linker: &mut ComponentLinker<StoreState>, is_async: bool) -> wasmtime::Result<()> {
    let mut files = linker.instance(FILES)?;
    define(&mut files, is_async, "[method]descriptor.metadata-hash", |state, (file,)| {
        Box::pin(async move {
            state.meter.files(1)?;
            let hash = answer(HostDescriptor::metadata_hash(&mut state.filesystem(), file).await)?;
            Ok((hash.and_then(|hash| own(state, hash)),))
        })
    })?;
    define(&mut files, is_async, "[method]descriptor.metadata-hash-at", |state, params| {
        let (directory, flags, path): (Resource<Descriptor>, PathFlags, String) = params;
        Box::pin(async move {
            state.meter.path(path.len())?;
            let hash = HostDescriptor::metadata_hash_at(&mut state.filesystem(), directory, flags, path).await;
            let hash = answer(hash)?.map_err(|code| used_up::preview2(state, code));
            Ok((hash.and_then(|hash| own(state, hash)),))
        })
    })
}

fn own(state: &mut StoreState, hash: MetadataHashValue) -> Result<MetadataHashValue, ErrorCode> {
    let (lower, upper) = state.file_number((hash.lower, hash.upper)).map_err(|_| ErrorCode::InsufficientMemory)?;
    Ok(MetadataHashValue { lower, upper })
}

/// Gives a component that imports WASI 0.3 numbers of its own.
fn link_concurrent(linker: &mut ComponentLinker<StoreState>, interface: &str) -> wasmtime::Result<()> {
    let mut files = linker.instance(interface)?;
    files.func_wrap_concurrent("[method]descriptor.metadata-hash", |accessor, (file,): (Resource<Descriptor>,)| {
        Box::pin(async move {
            let view = accessor.with_getter::<WasiFilesystem>(StoreState::filesystem);
            match <WasiFilesystem as p3::Descriptor<StoreState>>::metadata_hash(&view, file).await {
                Ok(hash) => Ok((own_concurrent(accessor, hash),)),
                Err(e) => Ok((Err(e.downcast()?),)),
            }
        })
    })?;
    files.func_wrap_concurrent("[method]descriptor.metadata-hash-at", |accessor, params| {
        let (directory, flags, path): (Resource<Descriptor>, p3::PathFlags, String) = params;
        Box::pin(async move {
            accessor.with(|mut access| access.data_mut().meter.path(path.len()))?;
            let view = accessor.with_getter::<WasiFilesystem>(StoreState::filesystem);
            match <WasiFilesystem as p3::Descriptor<StoreState>>::metadata_hash_at(&view, directory, flags, path).await
            {
                Ok(hash) => Ok((own_concurrent(accessor, hash),)),
                Err(e) => Ok((Err(used_up::preview3(accessor, e.downcast()?)),)),
            }
        })
    })
}

fn own_concurrent(
    accessor: &Accessor<StoreState>,
    hash: p3::MetadataHashValue,
) -> Result<p3::MetadataHashValue, p3::ErrorCode> {
    let number = accessor.with(|mut access| access.data_mut().file_number((hash.lower, hash.upper)));
    let (lower, upper) = number.map_err(|_| p3::ErrorCode::InsufficientMemory)?;
    Ok(p3::MetadataHashValue { lower, upper })
}

/// Layout of the properties of a file in preview 1.
struct Filestat {
    bytes: usize,
    times: std::ops::Range<usize>,
}

const DEVICE: std::ops::Range<usize> = 0..8;
const INODE: std::ops::Range<usize> = 8..16;
const PREVIEW1: Filestat = Filestat { bytes: 64, times: 40..64 };
const UNSTABLE: Filestat = Filestat { bytes: 56, times: 32..56 };

/// Success, and error codes of preview 1.
const SUCCESS: i32 = 0;
const FAULT: i32 = 21;
const NO_MEMORY: i32 = 48;

/// Replaces the number in the properties of a file that the runtime wrote at `told` by the instance's own. In a
/// deterministic run the times are cleared as well.
fn renumber(state: &mut StoreState, memory: &mut [u8], told: i32, layout: &Filestat) -> i32 {
    let stat = memory.get_mut(told as u32 as usize..).and_then(|rest| rest.get_mut(..layout.bytes));
    let Some(stat) = stat else {
        return FAULT;
    };
    // The standard streams have neither device nor number.
    if stat.get(DEVICE).is_none_or(|device| device.iter().all(|byte| *byte == 0)) {
        return SUCCESS;
    }
    if let (true, Some(times)) = (state.is_deterministic(), stat.get_mut(layout.times.clone())) {
        times.fill(0);
    }
    let Some(inode) = stat.get_mut(INODE).and_then(|inode| <&mut [u8; 8]>::try_from(inode).ok()) else {
        return FAULT;
    };
    let Ok((number, _)) = state.file_number((u64::from_le_bytes(*inode), 0)) else {
        return NO_MEMORY;
    };
    *inode = number.to_le_bytes();
    SUCCESS
}

/// Defines the calls of preview 1, or of its predecessor, that return numbers of files.
macro_rules! core {
    ($linker:ident, $module:literal, $functions:ident, $layout:ident) => {
        core! { $linker, $module, $functions, $layout:
            fd_filestat_get(fd: i32) files 1;
            path_filestat_get(fd: i32, flags: i32, path: i32, len: i32) path len as u32 as usize;
        }
        $linker.func_wrap(
            $module,
            "fd_readdir",
            |mut caller: Caller<'_, StoreState>, fd: i32, at: i32, room: i32, from: i64, told: i32| -> wasmtime::Result<i32> {
                let list = |context: &mut WasiP1Ctx, answer: &mut [u8], to: i32, room: i32| {
                    let mut memory = GuestMemory::Unshared(answer);
                    block_on(async { $functions::calls::fd_readdir(context, &mut memory, fd, to, room, 0, 0).await })
                };
                let asked = directory::ReaddirRequest { of: fd, at, room, from, told };
                read_directory(&mut caller, list, &asked)
            },
        )?;
    };
    ($linker:ident, $module:literal, $functions:ident, $layout:ident:
        $($name:ident($($arg:ident: i32),*) $counts:ident $bytes:expr;)*) => {$(
        $linker.func_wrap(
            $module,
            stringify!($name),
            |mut caller: Caller<'_, StoreState>, $($arg: i32,)* told: i32| -> wasmtime::Result<i32> {
                let fuel = caller.as_context_mut().hostcall_fuel();
                let memory = memory(&mut caller)?;
                let (bytes, state) = memory.data_and_store_mut(&mut caller);
                state.meter.$counts($bytes)?;
                let context = state.p1();
                $functions::Context::set_hostcall_fuel(context, fuel);
                let mut memory = GuestMemory::Unshared(bytes);
                let result = block_on(async { $functions::calls::$name(context, &mut memory, $($arg,)* told).await })?;
                Ok(match result {
                    SUCCESS => renumber(state, bytes, told, &$layout),
                    error => used_up::preview1(state, error),
                })
            },
        )?;
    )*};
}

/// Gives a core module that imports preview 1 numbers of its own. `linker` has its functions defined already.
pub fn link_preview1(linker: &mut CoreLinker<StoreState>) -> wasmtime::Result<()> {
    core!(linker, "wasi_snapshot_preview1", preview1, PREVIEW1);
    Ok(())
}

/// Gives a core module that imports preview 1's predecessor numbers of its own.
pub fn link_unstable(linker: &mut CoreLinker<StoreState>) -> wasmtime::Result<()> {
    core!(linker, "wasi_unstable", unstable, UNSTABLE);
    Ok(())
}

/// Lists a directory with `list`, and renumbers its entries. The inner error is the code for the guest.
fn list_anew(
    state: &mut StoreState,
    list: impl Fn(&mut WasiP1Ctx, &mut [u8], i32, i32) -> wasmtime::Result<i32>,
) -> wasmtime::Result<Result<Listing, i32>> {
    let mut listing = match Listing::read(|answer, to, room| list(state.p1(), answer, to, room))? {
        Ok(listing) => listing,
        Err(error) => return Ok(Err(used_up::preview1(state, error))),
    };
    // Every entry was looked at, however few the guest has room for.
    state.meter.directory(listing.len())?;
    if state.is_deterministic() {
        listing.sort();
    }
    let renumbered = listing.renumber(|number| state.file_number((number, 0)).map(|(number, _)| number));
    Ok(renumbered.map(|()| listing).map_err(|_| NO_MEMORY))
}

/// Lists a directory with `list`, renumbers its entries, and writes those that the guest asked for.
fn read_directory(
    caller: &mut Caller<'_, StoreState>,
    list: impl Fn(&mut WasiP1Ctx, &mut [u8], i32, i32) -> wasmtime::Result<i32>,
    asked: &directory::ReaddirRequest,
) -> wasmtime::Result<i32> {
    let memory = memory(caller)?;
    let (bytes, state) = memory.data_and_store_mut(caller);
    state.meter.bytes(asked.room as u32 as usize)?;
    // A guest that continues where the last part ended gets the same listing. Listing the directory anew for each part
    // would take time that grows with the square of the number of entries.
    let kept = state.listing.take().filter(|(of, _)| *of == asked.of && asked.from > 0);
    let listing = match kept {
        Some((_, listing)) => listing,
        None => match list_anew(state, list)? {
            Ok(listing) => listing,
            Err(error) => return Ok(error),
        },
    };
    let Some(is_end) = listing.tell(bytes, asked) else {
        return Ok(FAULT);
    };
    if !is_end {
        state.listing = Some((asked.of, listing));
    }
    Ok(SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Meter;

    fn limiter(left: usize) -> MemoryLimiter {
        MemoryLimiter { left, refused: false, grew: false, collects: false, meter: Meter::default() }
    }

    #[test]
    fn files_are_told_apart_and_the_kernels_numbers_are_not_told() {
        let (mut one, mut other) = (FileNumbers::new(false), FileNumbers::new(false));
        let mut memory = limiter(0);
        let number = one.of((5, 6), &mut memory).unwrap();
        assert_eq!(number, one.of((5, 6), &mut memory).unwrap());
        assert_ne!(number, one.of((5, 7), &mut memory).unwrap());
        assert_ne!(number, other.of((5, 6), &mut memory).unwrap());
    }

    #[test]
    fn counted_numbers_follow_the_order_of_the_questions() {
        let mut numbers = FileNumbers::new(true);
        let mut memory = limiter(10 * ENTRY);
        let asked = [(900, 1), (7, 1), (900, 1), (8, 1)].map(|file| numbers.of(file, &mut memory).unwrap().0);
        assert_eq!(asked, [1, 2, 1, 3]);
    }

    #[test]
    fn counted_numbers_count_as_memory() {
        let mut numbers = FileNumbers::new(true);
        let mut memory = limiter(2 * ENTRY);
        assert!(numbers.of((1, 1), &mut memory).is_ok() && numbers.of((2, 1), &mut memory).is_ok());
        assert!(numbers.of((3, 1), &mut memory).is_err());
        assert!(numbers.of((1, 1), &mut memory).is_ok());
    }
}
