//! Calls of WASI whose [cost](super::meter) depends on their arguments. The cost is counted before the call is made.
//!
//! Each function here replaces one of the runtime, which it calls.

use std::pin::Pin;

use wasmtime::component::{ComponentNamedList, Lift, Linker as ComponentLinker, LinkerInstance, Lower, Resource};
use wasmtime::{AsContextMut, Caller, Extern, Linker as CoreLinker, Memory, StoreContextMut};
use wasmtime_wasi::TrappableError;
use wasmtime_wasi::WasiView;
use wasmtime_wasi::cli::WasiCliView;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::cli::environment::Host as Environment;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, HostDescriptor, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::bindings::io::poll::Host as Poll;
use wasmtime_wasi::p2::bindings::io::streams::{self, Host as _, HostInputStream, HostOutputStream};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamResult};
use wiggle::GuestMemory;

use super::block_on;
use super::concurrent;
use super::deterministic;
use super::link::unversioned;
use super::meter::Meter;
use super::state::StoreState;
use super::used_up;

/// A version of WASI 0.2: the runtime's own, under which functions can be replaced one by one.
macro_rules! runtime {
    ($interface:literal) => {
        concat!("wasi:", $interface, "@0.2.12")
    };
}
pub(super) use runtime;

/// The interface for files of WASI 0.2.
pub const FILES: &str = runtime!("filesystem/types");
const STREAMS: &str = runtime!("io/streams");
const POLL: &str = runtime!("io/poll");
const ENVIRONMENT: &str = runtime!("cli/environment");
/// Maximum number of bytes that a read makes room for, whatever length is requested.
const MOST_READ: u64 = 64 << 10;

/// The future result of a function of the host.
pub type HostAnswer<'a, R> = Pin<Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>>;

/// Defines a function of the host that may wait.
pub fn define<P, R>(
    instance: &mut LinkerInstance<'_, StoreState>,
    is_async: bool,
    name: &str,
    answer: for<'a> fn(&'a mut StoreState, P) -> HostAnswer<'a, R>,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + Send + 'static,
    R: ComponentNamedList + Lower + Send + 'static,
{
    match is_async {
        false => instance.func_wrap(name, move |mut store: StoreContextMut<'_, StoreState>, params: P| {
            block_on(answer(store.data_mut(), params))
        }),
        true => instance.func_wrap_async(name, move |mut store, params: P| {
            Box::new(async move { answer(store.data_mut(), params).await })
        }),
    }
}

/// Adds counting to an interface that a component imports. `linker` has the interface defined already.
pub fn link(linker: &mut ComponentLinker<StoreState>, interface: &str, is_async: bool) -> wasmtime::Result<()> {
    if interface.contains("@0.3.") {
        return concurrent::link(linker, interface);
    }
    match unversioned(interface) {
        "wasi:filesystem/types" => link_files(&mut linker.instance(FILES)?, is_async),
        "wasi:io/streams" => link_streams(&mut linker.instance(STREAMS)?, is_async),
        "wasi:io/poll" => define(&mut linker.instance(POLL)?, is_async, "poll", |state, (list,)| {
            Box::pin(async move {
                state.meter.subscriptions(Vec::<Resource<DynPollable>>::len(&list))?;
                Ok((Poll::poll(state.ctx().table, list).await?,))
            })
        }),
        "wasi:cli/environment" => link_environment(&mut linker.instance(ENVIRONMENT)?, is_async),
        _ => Ok(()),
    }
}

/// Counts what `get-environment` and `get-arguments` tell.
pub fn link_environment(instance: &mut LinkerInstance<'_, StoreState>, is_async: bool) -> wasmtime::Result<()> {
    define(instance, is_async, "get-environment", |state, ()| {
        Box::pin(async move {
            told(state)?;
            Ok((Environment::get_environment(&mut state.cli())?,))
        })
    })?;
    define(instance, is_async, "get-arguments", |state, ()| {
        Box::pin(async move {
            told(state)?;
            Ok((Environment::get_arguments(&mut state.cli())?,))
        })
    })
}

/// Counts the variables and arguments that a task is given.
pub fn told(state: &StoreState) -> wasmtime::Result<()> {
    let (texts, bytes) = state.told();
    state.meter.each(texts)?;
    state.meter.bytes(bytes)
}

/// Hands the calls that take a path to a macro that defines them: for WASI 0.2, or for 0.3, which has the same calls. The
/// types are those that are in scope where it is used.
macro_rules! path_calls {
    ($define:ident! { $($to:tt)* }) => {
        $define! { $($to)*
            "set-times-at" set_times_at(flags: PathFlags, path: String, access: NewTimestamp, change: NewTimestamp)
                path path.len();
            "create-directory-at" create_directory_at(path: String) path path.len();
            "link-at" link_at(flags: PathFlags, old: String, to: Resource<Descriptor>, new: String)
                path old.len() + new.len();
            "readlink-at" readlink_at(path: String) path path.len();
            "remove-directory-at" remove_directory_at(path: String) path path.len();
            "rename-at" rename_at(old: String, to: Resource<Descriptor>, new: String) path old.len() + new.len();
            "symlink-at" symlink_at(old: String, new: String) path old.len() + new.len(), link to old.len();
            "unlink-file-at" unlink_file_at(path: String) path path.len();
        }
    };
}
pub(super) use path_calls;

/// Hands the calls that look for a file to such a macro. They are defined with and without fuel, so that a guest that has used
/// up its descriptors is always told so, and it is known whether it looked in a directory that it was granted.
macro_rules! looking_calls {
    ($define:ident! { $($to:tt)* }) => {
        $define! { $($to)*
            "open-at" open_at(flags: PathFlags, path: String, how: OpenFlags, what: DescriptorFlags) path path.len();
            "stat-at" stat_at(flags: PathFlags, path: String) path path.len();
        }
    };
}
pub(super) use looking_calls;

/// Defines functions that count what a call costs, and then make it.
macro_rules! files {
    ($instance:ident, $is_async:ident:
        $($name:literal $method:ident($($arg:ident: $ty:ty),*) $counts:ident $bytes:expr $(, link to $target:expr)?;)*) => {$(
        define($instance, $is_async, concat!("[method]descriptor.", $name), |state, params| {
            let (descriptor, $($arg),*): (Resource<Descriptor>, $($ty),*) = params;
            Box::pin(async move {
                state.meter.$counts($bytes)?;
                $(state.meter.link($target);)?
                let answer = answer(HostDescriptor::$method(&mut state.filesystem(), descriptor, $($arg),*).await)?;
                Ok((answer.map_err(|code| used_up::preview2(state, code)),))
            })
        })?;
    )*};
}

fn link_files(instance: &mut LinkerInstance<'_, StoreState>, is_async: bool) -> wasmtime::Result<()> {
    files! { instance, is_async:
        "read" read(len: u64, offset: u64) bytes len.min(MOST_READ) as usize;
        "write" write(bytes: Vec<u8>, offset: u64) bytes bytes.len();
        "set-size" set_size(size: u64) files 2;
        "sync" sync() files 3;
        "sync-data" sync_data() files 3;
        "stat" stat() files 1;
    }
    path_calls! { files! { instance, is_async: } }
    deterministic::link_directories(instance, is_async)
}

/// Defines the opening of files for an interface that a component imports, counted if the task has fuel. `linker` has the
/// interface defined already.
pub fn link_opening(linker: &mut ComponentLinker<StoreState>, interface: &str, is_async: bool) -> wasmtime::Result<()> {
    match unversioned(interface) {
        "wasi:filesystem/types" if interface.contains("@0.3.") => concurrent::link_opening(linker, interface),
        "wasi:filesystem/types" => {
            let instance = &mut linker.instance(FILES)?;
            looking_calls! { files! { instance, is_async: } }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Returns an error as the guest receives it. Errors that it cannot receive end the guest.
pub fn answer<T, E>(result: Result<T, TrappableError<E>>) -> wasmtime::Result<Result<T, E>>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(e) => e.downcast().map(Err),
    }
}

/// Returns an error of a stream as the guest receives it. Errors that it cannot receive end the guest.
fn answer_stream<T>(
    state: &mut StoreState,
    result: StreamResult<T>,
) -> wasmtime::Result<Result<T, streams::StreamError>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(e) => state.ctx().table.convert_stream_error(e).map(Err),
    }
}

/// Defines functions that make a call of a stream, and then count the bytes that it moved.
macro_rules! streams {
    ($instance:ident, $is_async:ident, $kind:literal, $of:ident, $own:ty:
        $($name:literal $method:ident($($arg:ident: $ty:ty),*) $(.$await:ident)? counts $moved:ident => $bytes:expr;)*) => {$(
        define($instance, $is_async, concat!("[method]", $kind, ".", $name), |state, params| {
            let (stream, $($arg),*): (Resource<$own>, $($ty),*) = params;
            Box::pin(async move {
                let moved = $of::$method(state.ctx().table, stream, $($arg),*) $(.$await)?;
                if let Ok($moved) = &moved {
                    state.meter.bytes($bytes)?;
                }
                Ok((answer_stream(state, moved)?,))
            })
        })?;
    )*};
}

fn link_streams(instance: &mut LinkerInstance<'_, StoreState>, is_async: bool) -> wasmtime::Result<()> {
    // None of them moves more than an item, a buffer of the runtime, or the guest's memory holds.
    streams! { instance, is_async, "input-stream", HostInputStream, DynInputStream:
        "read" read(len: u64) counts bytes => bytes.len();
        "blocking-read" blocking_read(len: u64).await counts bytes => bytes.len();
        "skip" skip(len: u64) counts bytes => *bytes as usize;
        "blocking-skip" blocking_skip(len: u64).await counts bytes => *bytes as usize;
    }
    streams! { instance, is_async, "output-stream", HostOutputStream, DynOutputStream:
        "write-zeroes" write_zeroes(len: u64) counts _written => len as usize;
        "blocking-write-zeroes-and-flush" blocking_write_zeroes_and_flush(len: u64).await counts _written => len as usize;
        "splice" splice(from: Resource<DynInputStream>, len: u64) counts bytes => *bytes as usize;
        "blocking-splice" blocking_splice(from: Resource<DynInputStream>, len: u64).await counts bytes => *bytes as usize;
    }
    define(instance, is_async, "[method]output-stream.write", |state, params| {
        let (stream, bytes): (Resource<DynOutputStream>, Vec<u8>) = params;
        Box::pin(async move {
            state.meter.bytes(bytes.len())?;
            let written = HostOutputStream::write(state.ctx().table, stream, bytes);
            Ok((answer_stream(state, written)?,))
        })
    })?;
    define(instance, is_async, "[method]output-stream.blocking-write-and-flush", |state, params| {
        let (stream, bytes): (Resource<DynOutputStream>, Vec<u8>) = params;
        Box::pin(async move {
            state.meter.bytes(bytes.len())?;
            let written = HostOutputStream::blocking_write_and_flush(state.ctx().table, stream, bytes).await;
            Ok((answer_stream(state, written)?,))
        })
    })
}

/// Returns the memory of the calling module.
pub fn memory(caller: &mut Caller<'_, StoreState>) -> wasmtime::Result<Memory> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    memory.ok_or_else(|| wasmtime::Error::msg("the task exports no memory"))
}

/// Counts the buffers in a list, and the bytes of the first one that is not empty: the runtime takes no more.
fn buffers(meter: &Meter, memory: &[u8], list: i32, count: i32) -> wasmtime::Result<()> {
    const BUFFER: usize = 8;
    let (list, count) = (list as u32 as usize, count as u32 as usize);
    meter.each(count)?;
    let all = memory.get(list..).unwrap_or_default();
    let lengths = all.chunks_exact(BUFFER).take(count).filter_map(|buffer| buffer.last_chunk().copied());
    let first = lengths.map(u32::from_le_bytes).find(|length| *length > 0);
    meter.bytes(first.unwrap_or(0) as usize)
}

/// Defines functions that count what a call of preview 1 costs, and then make it.
macro_rules! core {
    ($linker:ident, $module:literal, $functions:ident:
        $($name:ident($($arg:ident: $ty:ty),*) $(.$await:ident)? counts |$meter:ident, $memory:ident| $count:expr;)*) => {$(
        $linker.func_wrap(
            $module,
            stringify!($name),
            |mut caller: Caller<'_, StoreState>, $($arg: $ty),*| -> wasmtime::Result<i32> {
                let fuel = caller.as_context_mut().hostcall_fuel();
                let memory = memory(&mut caller)?;
                let (bytes, state) = memory.data_and_store_mut(&mut caller);
                {
                    let ($meter, $memory) = (&state.meter, &*bytes);
                    let _ = $memory;
                    $count?;
                }
                let context = state.p1();
                $functions::Context::set_hostcall_fuel(context, fuel);
                let mut memory = GuestMemory::Unshared(bytes);
                let code = block_on(async { $functions::calls::$name(context, &mut memory, $($arg),*) $(.$await)? })?;
                Ok(used_up::preview1(state, code))
            },
        )?;
    )*};
}

/// Defines the functions of preview 1 that its predecessor has with the same parameters.
macro_rules! core_files {
    ($linker:ident, $module:literal, $functions:ident) => {
        core! { $linker, $module, $functions:
            fd_write(fd: i32, list: i32, count: i32, told: i32).await counts |meter, memory| buffers(meter, memory, list, count);
            fd_pwrite(fd: i32, list: i32, count: i32, at: i64, told: i32).await
                counts |meter, memory| buffers(meter, memory, list, count);
            fd_read(fd: i32, list: i32, count: i32, told: i32).await counts |meter, memory| buffers(meter, memory, list, count);
            fd_pread(fd: i32, list: i32, count: i32, at: i64, told: i32).await
                counts |meter, memory| buffers(meter, memory, list, count);
            poll_oneoff(given: i32, events: i32, count: i32, told: i32).await
                counts |meter, memory| meter.subscriptions(count as u32 as usize);
            // Pages are given back.
            fd_filestat_set_size(fd: i32, size: i64).await counts |meter, memory| meter.files(2);
            path_create_directory(fd: i32, path: i32, len: i32).await counts |meter, memory| meter.path(len as u32 as usize);
            path_filestat_set_times(fd: i32, flags: i32, path: i32, len: i32, access: i64, change: i64, which: i32).await
                counts |meter, memory| meter.path(len as u32 as usize);
            path_link(fd: i32, flags: i32, old: i32, old_len: i32, to: i32, new: i32, new_len: i32).await
                counts |meter, memory| meter.path(old_len as u32 as usize).and_then(|()| meter.path(new_len as u32 as usize));
            path_readlink(fd: i32, path: i32, len: i32, buffer: i32, room: i32, told: i32).await
                counts |meter, memory| meter.path(len as u32 as usize);
            path_remove_directory(fd: i32, path: i32, len: i32).await counts |meter, memory| meter.path(len as u32 as usize);
            path_rename(fd: i32, old: i32, old_len: i32, to: i32, new: i32, new_len: i32).await
                counts |meter, memory| meter.path(old_len as u32 as usize).and_then(|()| meter.path(new_len as u32 as usize));
            path_symlink(old: i32, old_len: i32, fd: i32, new: i32, new_len: i32).await
                counts |meter, memory| { meter.link(old_len as u32 as usize); meter.path(old_len as u32 as usize) }.and_then(|()| meter.path(new_len as u32 as usize));
            path_unlink_file(fd: i32, path: i32, len: i32).await counts |meter, memory| meter.path(len as u32 as usize);
        }
    };
}

/// Defines the function that opens a file, which preview 1 and its predecessor have with the same parameters.
macro_rules! core_opening {
    ($linker:ident, $module:literal, $functions:ident) => {
        core! { $linker, $module, $functions:
            path_open(fd: i32, flags: i32, path: i32, len: i32, how: i32, base: i64, inherited: i64, what: i32, told: i32).await
                counts |meter, memory| meter.path(len as u32 as usize);
        }
    };
}

/// The functions of preview 1, and their context.
pub mod preview1 {
    pub use wasmtime_wasi::p1::wasi_snapshot_preview1 as calls;
    pub use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1 as Context;
}

/// The functions of preview 1's predecessor, and their context.
pub mod unstable {
    pub use wasmtime_wasi::p0::wasi_unstable as calls;
    pub use wasmtime_wasi::p0::wasi_unstable::WasiUnstable as Context;
}

/// Adds counting to a core module that imports preview 1. `linker` may have its functions defined already.
pub fn link_preview1(linker: &mut CoreLinker<StoreState>) -> wasmtime::Result<()> {
    core_files!(linker, "wasi_snapshot_preview1", preview1);
    link_told(linker, "wasi_snapshot_preview1")
}

/// Adds counting to a core module that imports preview 1's predecessor.
pub fn link_unstable(linker: &mut CoreLinker<StoreState>) -> wasmtime::Result<()> {
    core_files!(linker, "wasi_unstable", unstable);
    link_told(linker, "wasi_unstable")
}

/// Defines the opening of files for a core module that imports preview 1, counted if the task has fuel.
pub fn link_opening_preview1(linker: &mut CoreLinker<StoreState>) -> wasmtime::Result<()> {
    core_opening!(linker, "wasi_snapshot_preview1", preview1);
    Ok(())
}

/// Defines the opening of files for a core module that imports preview 1's predecessor, counted if the task has fuel.
pub fn link_opening_unstable(linker: &mut CoreLinker<StoreState>) -> wasmtime::Result<()> {
    core_opening!(linker, "wasi_unstable", unstable);
    Ok(())
}

/// Adds counting of variables and arguments.
fn link_told(linker: &mut CoreLinker<StoreState>, module: &str) -> wasmtime::Result<()> {
    macro_rules! told {
        ($($name:ident)*) => {$(
            linker.func_wrap(
                module,
                stringify!($name),
                |mut caller: Caller<'_, StoreState>, first: i32, second: i32| -> wasmtime::Result<i32> {
                    let memory = memory(&mut caller)?;
                    let (bytes, state) = memory.data_and_store_mut(&mut caller);
                    told(state)?;
                    preview1::calls::$name(state.p1(), &mut GuestMemory::Unshared(bytes), first, second)
                },
            )?;
        )*};
    }
    told! { args_get args_sizes_get environ_get environ_sizes_get }
    Ok(())
}
