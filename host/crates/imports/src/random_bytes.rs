//! Random bytes for a guest, many at a time.
//!
//! Of each four bytes that its generator makes, the runtime uses one, with a call for each. Guests in Python ask for
//! thousands at the first use of their library, which is in every item that starts from pristine memory.
//!
//! Where random bytes [count as fuel](super::meter), or are the same on every machine, the runtime's functions stay.

use wasmtime::component::Linker as ComponentLinker;
use wasmtime::{Caller, Linker as CoreLinker, StoreContextMut};
use wasmtime_wasi::random::DEFAULT_MAX_SIZE;
use wiggle::GuestMemory;

use super::charges::{memory, preview1, runtime, unstable};
use super::link::unversioned;
use super::state::StoreState;

/// Links the interfaces for random bytes that a component imports. `linker` has them defined already.
pub fn link(linker: &mut ComponentLinker<StoreState>, interface: &str) -> wasmtime::Result<()> {
    let is_third = interface.contains("@0.3.");
    let (runtimes, name) = match unversioned(interface) {
        "wasi:random/random" => (runtime!("random/random"), "get-random-bytes"),
        "wasi:random/insecure" => (runtime!("random/insecure"), "get-insecure-random-bytes"),
        _ => return Ok(()),
    };
    // Of WASI 0.2 the runtime has one version, under whose name functions can be replaced one by one.
    let mut instance = linker.instance(if is_third { interface } else { runtimes })?;
    instance.func_wrap(name, move |mut store: StoreContextMut<'_, StoreState>, (len,): (u64,)| {
        let len = match len {
            // That version may give fewer.
            len if is_third => len.min(DEFAULT_MAX_SIZE),
            len if len <= DEFAULT_MAX_SIZE => len,
            len => wasmtime::bail!("requested len {len} exceeds limit {DEFAULT_MAX_SIZE}"),
        };
        let mut bytes = vec![0; len as usize];
        store.data_mut().fill_randomly(&mut bytes);
        Ok((bytes,))
    })
}

/// Links the same function for a core module that imports preview 1, or its predecessor.
pub fn link_core(linker: &mut CoreLinker<StoreState>, interface: &str) -> wasmtime::Result<()> {
    let is_unstable = interface == "wasi_unstable";
    let random_get = move |mut caller: Caller<'_, StoreState>, at: i32, len: i32| -> wasmtime::Result<i32> {
        let memory = memory(&mut caller)?;
        let (bytes, state) = memory.data_and_store_mut(&mut caller);
        let (start, len_of) = (at as u32 as usize, len as u32 as usize);
        match start.checked_add(len_of).and_then(|end| bytes.get_mut(start..end)) {
            Some(bytes) if bytes.len() as u64 <= DEFAULT_MAX_SIZE => {
                state.fill_randomly(bytes);
                Ok(0)
            }
            // The runtime says what is wrong.
            _ if is_unstable => unstable::calls::random_get(state.p1(), &mut GuestMemory::Unshared(bytes), at, len),
            _ => preview1::calls::random_get(state.p1(), &mut GuestMemory::Unshared(bytes), at, len),
        }
    };
    linker.func_wrap(interface, "random_get", random_get)?;
    Ok(())
}
