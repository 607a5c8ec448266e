//! Counts [the cost](super::meter) of calls of WASI 0.3 before they are made, as [`charges`](super::charges) does for
//! those of WASI 0.2.
//!
//! Each function replaces the runtime's, and calls what that calls. The bytes of a stream are counted where the guest reads
//! them, and those that it writes to a file on their way there.

use wasmtime::component::{Access, FutureReader, Linker, LinkerInstance, Resource, StreamReader};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::types as p2;
use wasmtime_wasi::p3::bindings::filesystem::types::{
    DescriptorFlags, DescriptorType, DirectoryEntry, ErrorCode, HostDescriptorWithStore as Host, NewTimestamp,
    OpenFlags, PathFlags,
};

use super::charges::{answer, looking_calls, path_calls};
use super::deterministic::entries;
use super::relay;
use super::state::StoreState;
use super::used_up;

/// Adds counting to an interface of WASI 0.3 that a component imports. `linker` has the interface defined already.
pub fn link(linker: &mut Linker<StoreState>, interface: &str) -> wasmtime::Result<()> {
    match super::link::unversioned(interface) {
        "wasi:filesystem/types" => link_files(&mut linker.instance(interface)?),
        "wasi:clocks/monotonic-clock" => link_clock(&mut linker.instance(interface)?),
        "wasi:cli/environment" => super::charges::link_environment(&mut linker.instance(interface)?, true),
        _ => Ok(()),
    }
}

/// Defines functions that count the path that a call takes, and then make it.
macro_rules! files {
    ($files:ident: $($name:literal $method:ident($($arg:ident: $ty:ty),*) path $bytes:expr $(, link to $target:expr)?;)*) => {$(
        $files.func_wrap_concurrent(concat!("[method]descriptor.", $name), |accessor, params| {
            let (descriptor, $($arg),*): (Resource<Descriptor>, $($ty),*) = params;
            Box::pin(async move {
                accessor.with(|mut access| {
                    let meter = &access.data_mut().meter;
                    meter.path($bytes)?;
                    $(meter.link($target);)?
                    Ok::<_, wasmtime::Error>(())
                })?;
                let files = accessor.with_getter::<WasiFilesystem>(StoreState::filesystem);
                let answer = answer(<WasiFilesystem as Host<StoreState>>::$method(&files, descriptor, $($arg),*).await)?;
                Ok((answer.map_err(|code| used_up::preview3(accessor, code)),))
            })
        })?;
    )*};
}

fn link_files(files: &mut LinkerInstance<'_, StoreState>) -> wasmtime::Result<()> {
    path_calls! { files! { files: } }
    files.func_wrap_async(
        "[method]descriptor.read-directory",
        |mut store, (directory,): (Resource<Descriptor>,)| {
            Box::new(async move { Ok((read_directory(&mut store, directory).await?,)) })
        },
    )?;
    files.func_wrap("[method]descriptor.write-via-stream", |mut store, params| {
        let (file, written, at): (Resource<Descriptor>, StreamReader<u8>, u64) = params;
        let counted = relay::counted(&mut store, written)?;
        Ok((<WasiFilesystem as Host<StoreState>>::write_via_stream(files_of(store), file, counted, at)?,))
    })?;
    files.func_wrap("[method]descriptor.append-via-stream", |mut store, params| {
        let (file, written): (Resource<Descriptor>, StreamReader<u8>) = params;
        let counted = relay::counted(&mut store, written)?;
        Ok((<WasiFilesystem as Host<StoreState>>::append_via_stream(files_of(store), file, counted)?,))
    })
}

/// Defines the opening of files, counted if the task has fuel. `linker` has the interface defined already.
pub fn link_opening(linker: &mut Linker<StoreState>, interface: &str) -> wasmtime::Result<()> {
    let files = &mut linker.instance(interface)?;
    looking_calls! { files! { files: } }
    Ok(())
}

/// Returns the files of an instance in the form that the runtime's functions take.
fn files_of(store: StoreContextMut<'_, StoreState>) -> Access<'_, StoreState, WasiFilesystem> {
    Access::<StoreState, WasiFilesystem>::new(store, StoreState::filesystem)
}

/// The result of reading a directory: its entries, and whether all could be read.
type Directory = (StreamReader<DirectoryEntry>, FutureReader<Result<(), ErrorCode>>);

/// Returns all entries of a directory, sorted by name, and counts each. A directory that cannot be read is left to the
/// runtime, which reports why.
async fn read_directory(
    store: &mut StoreContextMut<'_, StoreState>,
    directory: Resource<Descriptor>,
) -> wasmtime::Result<Directory> {
    let all = entries(store.data_mut(), Resource::new_borrow(directory.rep())).await;
    match answer(all)? {
        Ok(entries) => {
            let entries: Vec<DirectoryEntry> = entries.into_iter().map(told).collect();
            let done = async { Ok::<_, wasmtime::Error>(Ok(())) };
            Ok((StreamReader::new(&mut *store, entries)?, FutureReader::new(&mut *store, done)?))
        }
        Err(_) => <WasiFilesystem as Host<StoreState>>::read_directory(files_of(store.as_context_mut()), directory),
    }
}

/// Returns an entry in the form of WASI 0.3.
fn told(entry: p2::DirectoryEntry) -> DirectoryEntry {
    let type_ = match entry.type_ {
        p2::DescriptorType::BlockDevice => DescriptorType::BlockDevice,
        p2::DescriptorType::CharacterDevice => DescriptorType::CharacterDevice,
        p2::DescriptorType::Directory => DescriptorType::Directory,
        p2::DescriptorType::Fifo => DescriptorType::Fifo,
        p2::DescriptorType::SymbolicLink => DescriptorType::SymbolicLink,
        p2::DescriptorType::RegularFile => DescriptorType::RegularFile,
        p2::DescriptorType::Socket => DescriptorType::Socket,
        p2::DescriptorType::Unknown => DescriptorType::Other(None),
    };
    DirectoryEntry { type_, name: entry.name }
}

/// Defines the wait for a time, which counts however short it is.
fn link_clock(clock: &mut LinkerInstance<'_, StoreState>) -> wasmtime::Result<()> {
    clock.func_wrap_concurrent("wait-for", |accessor, (time,): (u64,)| {
        Box::pin(async move {
            accessor.with(|mut access| access.data_mut().meter.call())?;
            if time > 0 {
                tokio::time::sleep(std::time::Duration::from_nanos(time)).await;
            }
            Ok(())
        })
    })
}
