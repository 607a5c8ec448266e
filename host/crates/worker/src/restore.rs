//! Restoring instances in place: after an item, the instance gets back the memory and the global variables that it had when
//! it was made, which costs a fraction of making another.
//!
//! The compile process has decided which tasks can be restored, and added to them what that takes ([`crate::added`]). What an
//! item does decides about it, too: if its memory grew, or if it called a function of the host that may have left
//! something among its handles, its instance is dropped. What must be true of the kernel, so that no page is overlooked that an
//! item wrote to, is in `pages.rs` and in docs/security.md.
//!
//! A pristine copy is taken once, from an instance that asked the host for nothing while it was made: all instances are
//! the same then. It is taken only when making instances has cost about as much as the copy will, so that a task never
//! pays more than twice what it would have cost without.

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::time::{Duration, Instant};

use wasmtime::component::{
    Component, ComponentExportIndex, Instance as ComponentInstance, TypedFunc as ComponentTypedFunc, WasmList,
};
use wasmtime::{Instance as CoreInstance, Store, TypedFunc as CoreTypedFunc};

use crate::added;
use crate::engine::KEEP_RESIDENT;
use crate::exports::TaskExport;
use crate::handles::LeftHandles;
use crate::pages::{self, PageMap};
use crate::pristine::{PristineMemory, WrittenMemory};
use crate::savings::{MakingTime, Savings};
use wasmpool_core::artifact::Renewal;
use wasmpool_core::policy::ItemLimits;
use wasmpool_imports::meter::Meter;
use wasmpool_imports::state::StoreState;

/// Time that copying a KiB of memory takes at most, including the faults of its pages: a page that nothing was written to
/// takes 650 ns.
const COPY_PER_KIB: Duration = Duration::from_nanos(170);
/// Time that a page costs at least that the kernel has to give to a new instance when an item writes to it. Putting one back
/// takes about as long.
const FAULT: Duration = Duration::from_nanos(250);
/// Maximum size of the memories that are copied.
const MOST_COPIED: usize = 256 << 20;
/// Maximum number of pages that are put back; with more, making an instance anew costs less.
const MOST_WRITTEN: usize = 4096;
/// Maximum number of instances that are not prepared after others were prepared in vain.
const MOST_PAUSED: u32 = 1023;
/// Number of restored items after which is looked whether the last one wrote to the pages that are put back.
const LOOK_EVERY: u64 = 64;
/// Number of handles by which instances are compared.
const HANDLES_COMPARED: u32 = 70;
/// Time that putting a page back takes, where there are more than a few.
const PUT_BACK: Duration = Duration::from_nanos(120);
/// Number of pages that an item may be the first to write to without being suspected to be the only one.
const MOST_NEW: usize = 16;
/// Number of pages that are put back without measuring how long it takes, if no page has to be looked for.
const MOST_UNMEASURED: usize = 32;

/// Restores instances of one task.
pub struct Restorer {
    map: PageMap,
    way: RestoreWay,
    /// The memory of every instance that is restored, once it has been copied.
    pristine: Option<Rc<[PristineMemory]>>,
    /// True if the last instance could be restored, or could have been.
    worthwhile: bool,
    /// Number of instances that have to be restorable before the next is prepared, and the number from which this counts
    /// down: it doubles when an instance was prepared in vain.
    wait: u32,
    pause: u32,
    making: MakingTime,
    /// Time that making and dropping instances took which could have been restored.
    spent: Duration,
    /// Time that the copy will take.
    price: Duration,
}

/// Way to what the compile process has added to the task.
pub struct RestoreWay {
    globals: GlobalsWay,
    memories: MemoriesWay,
    /// The functions of a component that clear the handles, and by which they are compared.
    handles: Option<HandlesWay>,
    /// The functions of a component by which instances are compared.
    look: Vec<ComponentExportIndex>,
    /// Number of words of each core instance that has some, for each of these functions.
    words: Vec<Vec<u32>>,
}

struct HandlesWay {
    clear: ComponentExportIndex,
    at: ComponentExportIndex,
}

enum GlobalsWay {
    None,
    /// The functions that save them, and those that restore them.
    Component(Vec<(ComponentExportIndex, ComponentExportIndex)>),
    Core,
}

enum MemoriesWay {
    Component(Vec<ComponentExportIndex>),
    /// So many.
    Core(u32),
}

impl RestoreWay {
    /// Returns the way for a component of which this function is called. `None` if it cannot be restored.
    pub fn of_component(component: &Component, renewal: &Renewal, export: &TaskExport) -> Option<RestoreWay> {
        let Renewal::InPlace { memories, globals, words, keeping, .. } = renewal else {
            return None;
        };
        let instance = component.get_export_index(None, added::INSTANCE)?;
        let index = |name: &str, nth: u32| component.get_export_index(Some(&instance), added::nth(name, nth));
        let both = |nth| index(added::SAVE_ALL, nth).zip(index(added::RESTORE_ALL, nth));
        let keeps = export.interface.is_none() && keeping.contains(&export.name);
        let globals = if keeps { 0 } else { *globals };
        let globals = GlobalsWay::Component((0..globals).map(both).collect::<Option<_>>()?);
        let memories = (0..*memories).map(|nth| index(added::MEMORY, nth)).collect::<Option<_>>()?;
        let memories = MemoriesWay::Component(memories);
        let look = (0..words.len() as u32).map(|nth| index(added::LOOK_AT, nth)).collect::<Option<_>>()?;
        let handles = index(added::CLEAR_HANDLES, 0).zip(index(added::HANDLE_AT, 0));
        // Where several components have handles, nothing tells which of them has which.
        let handles = handles.filter(|_| index(added::CLEAR_HANDLES, 1).is_none());
        let handles = handles.map(|(clear, at)| HandlesWay { clear, at });
        Some(RestoreWay { globals, memories, handles, look, words: words.clone() })
    }

    /// Returns the way for a core module of which the function with this name is called, if only one is. `None` if it cannot be restored.
    pub fn of_core(renewal: &Renewal, export: Option<&str>) -> Option<RestoreWay> {
        let Renewal::InPlace { memories, globals, words, keeping, .. } = renewal else {
            return None;
        };
        let keeps = export.is_some_and(|export| keeping.contains(export));
        let globals = if *globals > 0 && !keeps { GlobalsWay::Core } else { GlobalsWay::None };
        let memories = MemoriesWay::Core(*memories);
        Some(RestoreWay { globals, memories, handles: None, look: Vec::new(), words: words.clone() })
    }
}

/// An instance of either kind.
#[derive(Clone, Copy)]
pub enum AnyInstance {
    Component(ComponentInstance),
    Core(CoreInstance),
}

/// What restoring an instance takes.
pub struct RestorableInstance {
    /// The functions that restore the global variables.
    globals: Vec<RestoreGlobals>,
    /// The function that clears the handles, if there can be any.
    clear: Option<ComponentTypedFunc<(u32, u32, u64), (u32,)>>,
    memories: Vec<WrittenMemory>,
    pristine: Rc<[PristineMemory]>,
    /// Number of page faults when the pages were last looked at, if it is known.
    faults: Option<u64>,
    /// Number of times that it was restored.
    restored: u64,
    savings: Savings,
    /// Number of pages that had been written to when that was looked at last, the restored item after which that was, and the
    /// one after which it is next.
    needed: usize,
    looked_at: u64,
    look_at: u64,
    /// Number of bytes that its memories may grow by.
    left: usize,
}

enum RestoreGlobals {
    Component(ComponentTypedFunc<(), ()>),
    Core(CoreTypedFunc<(), ()>),
}

impl RestoreGlobals {
    fn call(&self, store: &mut Store<StoreState>) -> wasmtime::Result<()> {
        match self {
            RestoreGlobals::Component(function) => function.call(store, ()),
            RestoreGlobals::Core(function) => function.call(store, ()),
        }
    }
}

impl Restorer {
    /// Returns what restores instances whose memories have this size at the start.
    pub fn new(map: PageMap, way: RestoreWay, memory: u64) -> Restorer {
        let price = time_of(COPY_PER_KIB, usize::try_from(memory >> 10).unwrap_or(usize::MAX));
        Restorer {
            map,
            way,
            pristine: None,
            worthwhile: false,
            wait: 0,
            pause: 0,
            making: MakingTime::default(),
            spent: Duration::ZERO,
            price,
        }
    }

    /// Takes note of an instance that is dropped after an item, without having been prepared for being restored. It is like all
    /// others unless it asked the host for something while it was made. Returns true if it could have been restored.
    pub fn dropped(&mut self, store: &mut Store<StoreState>, is_like_others: bool) -> bool {
        let is_restorable = is_like_others && self.left(store).is_some();
        self.worthwhile = is_restorable && self.wait == 0;
        if is_restorable {
            self.wait = self.wait.saturating_sub(1);
        }
        is_restorable
    }

    /// Takes note of how long it took to make an instance that has been dropped, and to drop it, if it was not prepared.
    pub fn made(&mut self, making: Duration, dropping: Duration, is_restorable: bool) {
        self.making.add(making, dropping);
        if is_restorable {
            self.spent += making + dropping;
        }
    }

    /// Takes note of a prepared instance that is dropped after an item, because that cannot be undone or costs too much.
    pub fn lost(&mut self, instance: &RestorableInstance) {
        self.worthwhile = false;
        if instance.savings.are_negative() {
            self.pause = (2 * self.pause + 1).min(MOST_PAUSED);
            self.wait = self.pause;
        }
    }

    /// Returns the handles that were left since the instance was made. `None` if anything happened that cannot be undone.
    fn left(&self, store: &mut Store<StoreState>) -> Option<LeftHandles> {
        let state = store.data_mut();
        // All that a core module can have of the host is in the state, which is made anew.
        match self.way.memories {
            _ if state.limiter.grew => None,
            MemoriesWay::Component(_) if state.is_used() => {
                state.handles().and_then(|(table, others)| LeftHandles::of(table, others))
            }
            _ => Some(LeftHandles::default()),
        }
    }

    /// Returns true if the next instance that is made should be [prepared](Restorer::prepare).
    pub fn wants_to_prepare(&self) -> bool {
        self.worthwhile && (self.pristine.is_some() || self.spent >= self.price)
    }

    /// Prepares an instance that was just made for being restored. `None` if that is not possible.
    ///
    /// # Errors
    ///
    /// Fails if one of the functions failed that the compile process added. The instance cannot be used then.
    pub fn prepare(
        &mut self,
        store: &mut Store<StoreState>,
        instance: &AnyInstance,
    ) -> wasmtime::Result<Option<RestorableInstance>> {
        // If it does not work out, it is not tried again before another instance could have been restored.
        self.worthwhile = false;
        let mut began = Instant::now();
        let globals = self.save(store, instance)?;
        let memories = self.memories(store, instance)?;
        // The length of a component's memory of 4 GiB does not fit the list that says it.
        let is_unknown =
            matches!(self.way.memories, MemoriesWay::Component(_)) && memories.iter().any(|(_, len)| *len == 0);
        if is_unknown || memories.iter().map(|(_, len)| len).sum::<usize>() > MOST_COPIED {
            return Ok(None);
        }
        // From here on, no page gets own contents without a fault of this thread.
        let apart = memories.iter().try_for_each(|(base, len)| pages::keep_pages_apart(*base, *len));
        if apart.is_err() {
            return Ok(None);
        }
        let pristine = match &self.pristine {
            Some(pristine) => Rc::clone(pristine),
            None => {
                let page = self.map.page_size();
                // SAFETY: the memories are mapped with these sizes, and no code of the guest runs.
                let copies = memories.iter().map(|(base, len)| unsafe { PristineMemory::copy(*base, *len, page) });
                let copies: Rc<[PristineMemory]> = copies.collect();
                for ((base, _), pristine) in memories.iter().zip(&*copies) {
                    if pristine.give_back_read(*base, &self.map).is_err() {
                        return Ok(None);
                    }
                }
                self.pristine = Some(Rc::clone(&copies));
                // The copy serves all instances, and has been paid for by now.
                began = Instant::now();
                copies
            }
        };
        if pristine.len() != memories.len() || pristine.iter().zip(&memories).any(|(copy, (_, len))| copy.len() != *len)
        {
            return Ok(None);
        }
        let faults = pages::faults();
        let mut written: Vec<WrittenMemory> =
            memories.iter().zip(&*pristine).map(|((base, _), pristine)| WrittenMemory::new(*base, pristine)).collect();
        for (memory, pristine) in written.iter_mut().zip(&*pristine) {
            if memory.look(&self.map, pristine).is_err() {
                return Ok(None);
            }
        }
        let left = store.data().limiter.left;
        let clear = match (&self.way.handles, instance) {
            (Some(HandlesWay { clear, .. }), AnyInstance::Component(instance)) => {
                Some(instance.get_typed_func(&mut *store, clear)?)
            }
            _ => None,
        };
        Ok(Some(RestorableInstance {
            globals,
            clear,
            memories: written,
            pristine,
            faults,
            restored: 0,
            savings: Savings::of_prepared(began.elapsed(), self.making.mean()),
            needed: 0,
            looked_at: 0,
            look_at: 2,
            left,
        }))
    }

    /// Saves the global variables of an instance. Returns what restores them.
    fn save(&self, store: &mut Store<StoreState>, instance: &AnyInstance) -> wasmtime::Result<Vec<RestoreGlobals>> {
        let mut restore = Vec::new();
        match (&self.way.globals, instance) {
            (GlobalsWay::None, _) => {}
            (GlobalsWay::Component(functions), AnyInstance::Component(instance)) => {
                for (save, function) in functions {
                    instance.get_typed_func::<(), ()>(&mut *store, save)?.call(&mut *store, ())?;
                    restore.push(RestoreGlobals::Component(instance.get_typed_func(&mut *store, function)?));
                }
            }
            (GlobalsWay::Core, AnyInstance::Core(instance)) => {
                instance.get_typed_func::<(), ()>(&mut *store, added::SAVE)?.call(&mut *store, ())?;
                restore.push(RestoreGlobals::Core(instance.get_typed_func(&mut *store, added::RESTORE)?));
            }
            _ => return Err(other_kind()),
        }
        Ok(restore)
    }

    /// Returns where the memories of an instance are, and how many bytes they have.
    fn memories(
        &self,
        store: &mut Store<StoreState>,
        instance: &AnyInstance,
    ) -> wasmtime::Result<Vec<(NonNull<u8>, usize)>> {
        let mut found = Vec::new();
        match (&self.way.memories, instance) {
            (MemoriesWay::Component(memories), AnyInstance::Component(instance)) => {
                for memory in memories {
                    let whole = instance.get_typed_func::<(), (WasmList<u8>,)>(&mut *store, memory)?;
                    let (list,) = whole.call(&mut *store, ())?;
                    found.extend(place(list.as_le_slice(&*store)));
                }
            }
            (MemoriesWay::Core(memories), AnyInstance::Core(instance)) => {
                for at in 0..*memories {
                    let memory = instance.get_memory(&mut *store, &added::memory(at));
                    let memory = memory.ok_or_else(|| wasmtime::Error::msg("a memory is not to be found"))?;
                    found.extend(place(memory.data(&*store)));
                }
            }
            _ => return Err(other_kind()),
        }
        Ok(found)
    }

    /// Restores an instance. Returns false if that is not possible, or costs more than making another; it has to be
    /// dropped then.
    pub fn restore(
        &mut self,
        store: &mut Store<StoreState>,
        instance: &mut RestorableInstance,
        limits: &ItemLimits,
    ) -> bool {
        let left = self.left(store);
        let is_cleared = left.is_some_and(|left| instance.clear(store, left));
        let has_faulted = instance.has_faulted();
        let known = instance.written();
        let began = (has_faulted || known > MOST_UNMEASURED).then(Instant::now);
        self.worthwhile = is_cleared && (!has_faulted || self.look(instance));
        if !self.worthwhile {
            self.lost(instance);
            return false;
        }
        if instance.globals.iter().any(|globals| globals.call(store).is_err()) {
            return false;
        }
        instance.restored += 1;
        let written = instance.written();
        if instance.restored >= instance.look_at {
            // SAFETY: the instance's memories have not grown, so they are where they were; no code of the guest runs.
            let same = instance.memories().map(|(memory, pristine)| unsafe { memory.same(pristine) }).sum();
            instance.looked(written, same);
        }
        // SAFETY: as above.
        instance.memories().for_each(|(memory, pristine)| unsafe { memory.put_back(pristine) });
        // Another instance has these pages only once an item writes to them.
        let is_replaced = instance.savings.are_wasted();
        if is_replaced {
            instance.memories().for_each(|(memory, pristine)| memory.give_back(pristine));
        }
        // A new instance would have had to be given the pages that this item wrote to, except those that a slot keeps.
        let needed = instance.needed.max(written - known);
        let faults = needed.saturating_sub(KEEP_RESIDENT / self.map.page_size());
        let took = began.map_or(Duration::ZERO, |began| began.elapsed());
        instance.savings.add(took, self.making.mean() + time_of(FAULT, faults));
        if is_replaced || instance.savings.are_used_up() {
            // The next instance is not prepared in any case, so that what making one costs is measured again.
            self.lost(instance);
            return false;
        }
        if !instance.savings.are_negative() {
            self.pause = 0;
        }
        if store.data().is_used() || store.data().is_invoked() {
            store.data_mut().renew(limits);
        }
        store.data_mut().limiter.left = instance.left;
        true
    }

    /// Returns how a restored instance differs from a new one, if it does.
    pub fn difference(
        &self,
        (store, instance, restorable): (&mut Store<StoreState>, &AnyInstance, &RestorableInstance),
        (new_store, new): (&mut Store<StoreState>, &AnyInstance),
    ) -> wasmtime::Result<Option<Difference>> {
        let memories = self.memories(new_store, new)?;
        if memories.len() != restorable.memories.len() {
            return Err(other_kind());
        }
        for (nth, (memory, (base, len))) in restorable.memories.iter().zip(memories).enumerate() {
            // SAFETY: both memories are mapped with these lengths, and no code of a guest runs.
            let (restored, new) = unsafe {
                let restored = memory.contents(&restorable.pristine[nth]);
                (restored, std::slice::from_raw_parts(base.as_ptr(), len))
            };
            if restored != new {
                let byte = restored.iter().zip(new).position(|(a, b)| a != b);
                return Ok(Some(Difference::Memory { memory: nth, byte: byte.unwrap_or(restored.len().min(len)) }));
            }
        }
        let of_functions = self.way.words.iter().enumerate();
        let places = of_functions
            .flat_map(|(function, words)| (0..).zip(words).map(move |(nth, words)| ((function, nth), *words)));
        for (instance_nth, (place, words)) in places.enumerate() {
            for word in 0..words {
                if self.word(store, instance, place, word)? != self.word(new_store, new, place, word)? {
                    return Ok(Some(Difference::Word { instance: instance_nth, word }));
                }
            }
        }
        for at in 0..HANDLES_COMPARED {
            let restored = self.handle(store, instance, at)?;
            if restored != self.handle(new_store, new, at)? {
                return Ok(Some(Difference::Handle { at }));
            }
        }
        Ok(None)
    }

    /// Returns the number that the next handle gets, or the one that comes so much later. `None` if there are none.
    fn handle(&self, store: &mut Store<StoreState>, instance: &AnyInstance, at: u32) -> wasmtime::Result<Option<u32>> {
        let (AnyInstance::Component(instance), Some(HandlesWay { at: function, .. })) = (instance, &self.way.handles)
        else {
            return Ok(None);
        };
        let function = instance.get_typed_func::<(u32,), (u32,)>(&mut *store, function)?;
        Ok(Some(function.call(store, (at,))?.0))
    }

    /// Returns a word of the global variables and tables of a core instance, which is the one at this place of the function
    /// at this place.
    fn word(
        &self,
        store: &mut Store<StoreState>,
        instance: &AnyInstance,
        (function, nth): (usize, u32),
        word: u32,
    ) -> wasmtime::Result<u64> {
        match (instance, self.way.look.get(function)) {
            (AnyInstance::Component(instance), Some(look)) => {
                let look = instance.get_typed_func::<(u32, u32), (u64,)>(&mut *store, look)?;
                Ok(look.call(store, (nth, word))?.0)
            }
            (AnyInstance::Core(instance), None) => {
                let look = instance.get_typed_func::<u32, u64>(&mut *store, added::LOOK)?;
                look.call(store, word)
            }
            _ => Err(other_kind()),
        }
    }

    /// Looks for pages that were written to. Returns false if there are too many, or if the kernel does not say.
    fn look(&self, instance: &mut RestorableInstance) -> bool {
        let before = instance.written();
        for (memory, pristine) in instance.memories.iter_mut().zip(&*instance.pristine) {
            if memory.look(&self.map, pristine).is_err() {
                return false;
            }
        }
        let all = instance.written();
        let new = all - before;
        if new > MOST_NEW {
            // Perhaps no other item writes to them. After many that did not, the instance is not worth what they cost.
            if instance.restored >= LOOK_EVERY && time_of(FAULT, new) > self.making.mean() {
                return false;
            }
            instance.look_at = instance.restored + 2;
        }
        all <= MOST_WRITTEN
    }
}

impl RestorableInstance {
    /// Returns the memories, each with its pristine copy.
    fn memories(&self) -> impl Iterator<Item = (&WrittenMemory, &PristineMemory)> {
        self.memories.iter().zip(&*self.pristine)
    }

    /// Returns the number of pages that may have been written to.
    fn written(&self) -> usize {
        self.memories.iter().map(WrittenMemory::written).sum()
    }

    /// Takes note that so many of the pages which are put back had not been written to by the last item.
    fn looked(&mut self, written: usize, in_vain: usize) {
        let items = usize::try_from(self.restored - self.looked_at).unwrap_or(usize::MAX);
        self.savings.waste(time_of(PUT_BACK, in_vain.saturating_mul(items)));
        self.needed = written - in_vain;
        self.looked_at = self.restored;
        self.look_at = self.restored + LOOK_EVERY;
    }

    /// Returns true if pages may have been written to that are not known yet.
    fn has_faulted(&mut self) -> bool {
        let faults = pages::faults();
        let is_same = faults.is_some() && faults == self.faults;
        self.faults = faults;
        !is_same
    }

    /// Clears the handles. Returns false if that is not possible.
    fn clear(&self, store: &mut Store<StoreState>, left: LeftHandles) -> bool {
        if left.is_untouched() {
            return true;
        }
        let Some(clear) = &self.clear else {
            return false;
        };
        // What the item has used up is not needed any more.
        store.data().meter.reset(0);
        let LeftHandles { slots, live, kinds } = left;
        let cleared = Meter::during(store, |store| clear.call(store, (slots, live, kinds)));
        matches!(cleared, Ok((1,)))
    }
}

/// The first difference between a restored instance and a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    Memory {
        memory: usize,
        byte: usize,
    },
    /// A global variable or an element of a table.
    Word {
        instance: usize,
        word: u32,
    },
    /// The number that the next handle gets, or one of those after it.
    Handle {
        at: u32,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Memory { memory, byte } => write!(f, "byte {byte} of memory {memory}"),
            Difference::Word { instance, word } => {
                write!(f, "word {word} of the global variables and tables of core instance {instance}")
            }
            Difference::Handle { at } => write!(f, "the number of handle {at} of those that come next"),
        }
    }
}

/// Returns where a memory is and how many bytes it has. The guest writes to it whenever it runs, so it is not seen as the contents
/// of the slice, which are only there until then.
fn place(memory: &[u8]) -> Option<(NonNull<u8>, usize)> {
    let address = memory.as_ptr().expose_provenance();
    Some((NonNull::new(std::ptr::with_exposed_provenance_mut(address))?, memory.len()))
}

fn time_of(each: Duration, count: usize) -> Duration {
    each.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

fn other_kind() -> wasmtime::Error {
    wasmtime::Error::msg("the instance is of another kind of task")
}

/// Opens the map of pages, before the sandbox takes `/proc` away.
///
/// # Errors
///
/// Fails if the kernel does not say which pages were written to.
pub fn page_map() -> io::Result<PageMap> {
    PageMap::open()
}
