//! Holds restored instances of core modules against new ones, outside any sandbox: for a program that does it with a great many
//! random modules, and for tests. No part of a run.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Engine, Extern, ExternType, Instance, InstancePre, Linker, Module, Ref, Store, Val, ValType};

use crate::compiler;
use crate::engine;
use crate::restore::{self, AnyInstance, RestorableInstance, RestoreWay, Restorer};
use wasmpool_core::artifact::{EngineProfile, InstanceNeeds, Renewal};
use wasmpool_core::policy::ItemLimits;
use wasmpool_imports::state::StoreState;
use wasmpool_imports::wasi::Wasi;

/// Maximum number of memories and tables of a module.
const MOST: u32 = 8;
/// Fuel of a call.
const FUEL: u64 = 100_000;

/// Engines for modules that are checked: one that compiles them, and one like a worker's, which runs them.
pub struct RestoringCheck {
    compiling: Engine,
    engine: Engine,
}

/// Something that is left in an instance as if it had not been restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// A byte of a page.
    Page,
    Global,
    TableElement,
}

/// What a module's calls came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checked {
    /// Number of calls, and of those after which the instance was restored.
    pub calls: u64,
    pub restored: u64,
    /// Number of times that something was left on purpose.
    pub left: u64,
}

/// The result for a module.
#[derive(Debug)]
pub enum Verdict {
    /// Each restored instance was like a new one.
    Same(Checked),
    /// A restored instance differed after this call.
    Differs { call: u64, how: String },
    /// The module is not restored, or cannot be used here.
    LeftOut(String),
}

/// A module with an instance that nobody uses.
struct Subject<'a> {
    check: &'a RestoringCheck,
    pre: InstancePre<StoreState>,
    limits: ItemLimits,
}

/// An instance with its store.
struct Made {
    store: Store<StoreState>,
    instance: Instance,
    restorable: Option<RestorableInstance>,
    /// The elements of the exported tables.
    tables: Vec<Vec<Option<usize>>>,
}

impl RestoringCheck {
    pub fn new() -> wasmtime::Result<RestoringCheck> {
        let needs = InstanceNeeds { memories: MOST, initial_memory: 0, tables: MOST, initial_table: 0 };
        let profile = EngineProfile { fuel: true, ..EngineProfile::default() };
        let engine = engine::for_worker(profile, Some(needs), false, 2)?;
        Ok(RestoringCheck { compiling: engine::compiling(profile)?, engine })
    }

    /// Makes calls of a core module's functions, chosen by `random`, which returns a number below the given one. After each, the
    /// instance is restored, if that is possible, and compared with a new one. With `leave`, this is left behind each time.
    pub fn check(
        &self,
        wasm: &[u8],
        calls: u64,
        leave: Option<Leftover>,
        mut random: impl FnMut(u64) -> u64,
    ) -> Verdict {
        let (wasm, renewal) = match compiler::restorable_core(wasm) {
            Ok(restorable) => restorable,
            Err(why) => return Verdict::LeftOut(why.to_string()),
        };
        match self.try_check(&wasm, &renewal, calls, leave, &mut random) {
            Ok(verdict) => verdict,
            Err(e) => Verdict::LeftOut(format!("{e:#}")),
        }
    }

    fn try_check(
        &self,
        wasm: &[u8],
        renewal: &Renewal,
        calls: u64,
        leave: Option<Leftover>,
        random: &mut dyn FnMut(u64) -> u64,
    ) -> wasmtime::Result<Verdict> {
        let compiled = self.compiling.precompile_module(wasm)?;
        // SAFETY: it is what the engine above has just compiled.
        let module = unsafe { Module::deserialize(&self.engine, &compiled)? };
        let pre = Linker::new(&self.engine).instantiate_pre(&module)?;
        let subject = Subject { check: self, pre, limits: ItemLimits::default() };
        let Renewal::InPlace { keeping, .. } = renewal else {
            return Ok(Verdict::LeftOut("it is not restored".to_owned()));
        };
        // Half of the modules that can are called without their global variables being restored.
        let kept = keeping.first().filter(|_| random(2) == 0);
        let functions: Vec<_> = module
            .exports()
            .filter(|export| !crate::added::is_added(export.name()))
            .filter(|export| kept.is_none() || keeping.contains(export.name()))
            .filter_map(|export| match export.ty() {
                ExternType::Func(ty) => Some((export.name().to_owned(), ty)),
                _ => None,
            })
            .collect();
        if functions.is_empty() {
            return Ok(Verdict::LeftOut("it exports no function".to_owned()));
        }
        let other = || wasmtime::Error::msg("it cannot be restored");
        let map = restore::page_map()?;
        let way = RestoreWay::of_core(renewal, kept.map(String::as_str)).ok_or_else(other)?;
        let mut restorer = Restorer::new(map, way, 0);
        // No instance is given up because making another would cost less.
        restorer.made(Duration::from_secs(1), Duration::ZERO, false);
        let mut unused = subject.make(None)?;
        let mut live: Option<Made> = None;
        let mut checked = Checked::default();
        for call in 0..calls {
            let made = match &mut live {
                Some(made) => made,
                None => live.insert(subject.make(Some(&mut restorer))?),
            };
            let (name, ty) = &functions[random(functions.len() as u64) as usize];
            let arguments: Option<Vec<Val>> = ty.params().map(|ty| value(&ty, random)).collect();
            let Some(arguments) = arguments else { continue };
            let mut results = vec![Val::I32(0); ty.results().len()];
            made.store.set_fuel(FUEL)?;
            let function = made.instance.get_func(&mut made.store, name).ok_or_else(other)?;
            checked.calls += 1;
            let ended_well = function.call(&mut made.store, &arguments, &mut results).is_ok();
            made.store.set_fuel(u64::MAX >> 1)?;
            let restored = match &mut made.restorable {
                _ if !ended_well => false,
                Some(restorable) => restorer.restore(&mut made.store, restorable, &subject.limits),
                None => {
                    restorer.dropped(&mut made.store, true);
                    false
                }
            };
            if !restored {
                live = None;
                continue;
            }
            checked.restored += 1;
            if let Some(leave) = leave {
                checked.left += u64::from(made.leave(leave, renewal, random)?);
            }
            if let Some(how) = made.difference(&restorer, &mut unused)? {
                return Ok(Verdict::Differs { call, how });
            }
        }
        Ok(Verdict::Same(checked))
    }
}

impl Subject<'_> {
    fn make(&self, restorer: Option<&mut Restorer>) -> wasmtime::Result<Made> {
        let state = StoreState::new(&self.limits, Arc::new(Wasi::silent(&Arc::default())), None);
        let mut store = Store::new(&self.check.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_fuel(FUEL)?;
        let instance = self.pre.instantiate(&mut store)?;
        store.data_mut().limiter.grew = false;
        store.set_fuel(u64::MAX >> 1)?;
        let any = AnyInstance::Core(instance);
        let restorable = match restorer.filter(|restorer| restorer.wants_to_prepare()) {
            Some(restorer) => restorer.prepare(&mut store, &any)?,
            None => None,
        };
        let mut made = Made { store, instance, restorable, tables: Vec::new() };
        made.tables = made.elements();
        Ok(made)
    }
}

impl Made {
    /// Returns the functions in the exported tables, as numbers that mean something for this instance alone.
    fn elements(&mut self) -> Vec<Vec<Option<usize>>> {
        let exports: Vec<Extern> = self.instance.exports(&mut self.store).map(wasmtime::Export::into_extern).collect();
        let mut tables = Vec::new();
        for table in exports.into_iter().filter_map(Extern::into_table) {
            let elements = (0..table.size(&self.store)).map(|at| match table.get(&mut self.store, at) {
                Some(Ref::Func(Some(function))) => Some(function.to_raw(&mut self.store).addr()),
                _ => None,
            });
            tables.push(elements.collect());
        }
        tables
    }

    fn difference(&mut self, restorer: &Restorer, unused: &mut Made) -> wasmtime::Result<Option<String>> {
        let elements = self.elements();
        if elements != self.tables {
            return Ok(Some("an element of a table".to_owned()));
        }
        let Some(restorable) = &self.restorable else {
            return Ok(None);
        };
        let (restored, new) = (AnyInstance::Core(self.instance), AnyInstance::Core(unused.instance));
        let difference = restorer.difference((&mut self.store, &restored, restorable), (&mut unused.store, &new))?;
        Ok(difference.map(|difference| difference.to_string()))
    }

    /// Leaves something behind. Returns false if there is nothing of the kind that could be left.
    fn leave(
        &mut self,
        what: Leftover,
        renewal: &Renewal,
        random: &mut dyn FnMut(u64) -> u64,
    ) -> wasmtime::Result<bool> {
        match what {
            Leftover::Page => {
                let Renewal::InPlace { memories: 1.., .. } = renewal else { return Ok(false) };
                let memory = self.instance.get_memory(&mut self.store, &crate::added::memory(0));
                let Some(memory) = memory.filter(|memory| memory.data_size(&self.store) > 0) else { return Ok(false) };
                let at = random(memory.data_size(&self.store) as u64) as usize;
                memory.data_mut(&mut self.store)[at] ^= 1;
                Ok(true)
            }
            Leftover::Global => {
                let exports: Vec<Extern> =
                    self.instance.exports(&mut self.store).map(wasmtime::Export::into_extern).collect();
                for global in exports.into_iter().filter_map(Extern::into_global) {
                    let ty = global.ty(&self.store);
                    let new = match (ty.mutability(), global.get(&mut self.store)) {
                        (wasmtime::Mutability::Var, Val::I32(value)) => Val::I32(value ^ 1),
                        (wasmtime::Mutability::Var, Val::I64(value)) => Val::I64(value ^ 1),
                        (wasmtime::Mutability::Var, Val::F32(value)) => Val::F32(value ^ 1),
                        (wasmtime::Mutability::Var, Val::F64(value)) => Val::F64(value ^ 1),
                        _ => continue,
                    };
                    global.set(&mut self.store, new)?;
                    return Ok(true);
                }
                Ok(false)
            }
            Leftover::TableElement => {
                let exports: Vec<Extern> =
                    self.instance.exports(&mut self.store).map(wasmtime::Export::into_extern).collect();
                for table in exports.into_iter().filter_map(Extern::into_table) {
                    let filled = (0..table.size(&self.store))
                        .find(|at| matches!(table.get(&mut self.store, *at), Some(Ref::Func(Some(_)))));
                    if let Some(at) = filled {
                        table.set(&mut self.store, at, Ref::Func(None))?;
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// Returns an argument of this type. `None` for types that no argument is made of.
fn value(ty: &ValType, random: &mut dyn FnMut(u64) -> u64) -> Option<Val> {
    // Small numbers are often addresses and counts that are in bounds.
    let bits = match random(3) {
        0 => random(16),
        1 => random(1 << 16),
        _ => random(u64::MAX),
    };
    Some(match ty {
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 => Val::I64(bits as i64),
        ValType::F32 => Val::F32(bits as u32),
        ValType::F64 => Val::F64(bits),
        ValType::V128 => Val::V128(u128::from(bits).into()),
        ValType::Ref(ty) if ty.is_nullable() => Val::null_ref(ty.heap_type()),
        ValType::Ref(_) => return None,
    })
}

#[cfg(test)]
mod tests;
