//! The engine's settings: what compiling and running must agree on, and the pool of one instance a worker runs in.

use serde::{Deserialize, Serialize};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig, Strategy,
};

/// What an engine supports beyond what plain tasks need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Features {
    /// Nothing. There is no heap for garbage-collected values, so not even a table of `externref`.
    #[default]
    Lean,
    /// References that keep something alive, garbage collection and exceptions.
    Collected,
    /// These, and functions that wait for each other: everything wasmtime supports.
    Full,
}

/// Settings that change the compiled code. A task gets the first of [`Profile::all`] that can compile it, so that what
/// few tasks need is switched off for the others: less code that a hostile guest could reach, and faster calls
/// (concurrency support alone costs some 300 ns a call).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub features: Features,
    /// Count instructions. Doubles the time of call-heavy code.
    pub fuel: bool,
    /// Give the same bits on any machine, also where WebAssembly leaves a choice: which NaN, and what relaxed SIMD rounds to.
    #[serde(default)]
    pub deterministic: bool,
}

impl Profile {
    /// The profiles to try, the leanest first.
    pub fn all(self) -> [Profile; 3] {
        [Features::Lean, Features::Collected, Features::Full].map(|features| Profile { features, ..self })
    }

    /// Whether garbage-collected values, and exceptions, have a heap to live in.
    pub fn collects(self) -> bool {
        self.features != Features::Lean
    }

    /// Whether what an instance calls may wait for something else in it: it has to be called asynchronously.
    pub fn is_async(self) -> bool {
        self.features == Features::Full
    }

    /// A short name, part of the cache's key.
    pub fn name(self) -> String {
        let mut name = match self.features {
            Features::Lean => "lean",
            Features::Collected => "collected",
            Features::Full => "full",
        }
        .to_owned();
        if self.fuel {
            name.push_str("-fuel");
        }
        if self.deterministic {
            name.push_str("-deterministic");
        }
        name
    }

    /// The settings that compiled code depends on.
    pub fn config(self) -> Config {
        let mut config = Config::new();
        config
            .strategy(Strategy::Cranelift)
            .cranelift_opt_level(OptLevel::Speed)
            .consume_fuel(self.fuel)
            .concurrency_support(self.is_async())
            .wasm_component_model_async(self.is_async())
            .gc_support(self.collects())
            .wasm_function_references(self.collects())
            .wasm_gc(self.collects())
            .wasm_exceptions(self.collects())
            .memory_init_cow(true)
            .cranelift_nan_canonicalization(self.deterministic)
            .relaxed_simd_deterministic(self.deterministic);
        if self.fuel {
            config.operator_cost(costs());
        }
        config
    }

    pub fn engine(self) -> wasmtime::Result<Engine> {
        Engine::new(&self.config())
    }
}

/// Returns what instructions count. One is about as long as a nanosecond; those for which the runtime is called, or the stack
/// searched, took twenty to eighty times as long as others. Operations on many bytes or elements count each besides.
fn costs() -> OperatorCost {
    const ALLOCATES: u8 = 20;
    OperatorCost {
        Throw: 150,
        ThrowRef: 150,
        MemoryGrow: 100,
        TableGrow: 100,
        MemoryFill: 10,
        MemoryCopy: 10,
        MemoryInit: 10,
        TableInit: 10,
        RefFunc: 20,
        StructNew: ALLOCATES,
        StructNewDefault: ALLOCATES,
        ArrayNew: ALLOCATES,
        ArrayNewDefault: ALLOCATES,
        ArrayNewFixed: ALLOCATES,
        ArrayNewData: ALLOCATES,
        ArrayNewElem: ALLOCATES,
        ..OperatorCost::new()
    }
}

/// What one instance of a task needs of a pool. `None` where it can't be known before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    pub memories: u32,
    /// Bytes a memory starts with, at the most.
    pub initial_memory: u64,
    pub tables: u32,
    pub initial_table: u64,
}

impl Needs {
    /// Bytes of the largest memory and the largest table an instance starts with.
    pub fn initial_bytes(&self) -> u64 {
        self.initial_memory.saturating_add(self.initial_table.saturating_mul(TABLE_ELEMENT))
    }

    /// Bytes that a pool keeps for tables.
    pub fn pooled_tables(&self) -> u64 {
        let elements = self.initial_table.max(TABLE_ELEMENTS as u64);
        elements.saturating_mul(TABLE_ELEMENT).saturating_mul(self.tables.into())
    }
}

/// Bytes of an element of a table.
pub const TABLE_ELEMENT: u64 = 8;
/// Core instances a pool allows: they cost nothing until they are used, and a Python guest has dozens.
const CORE_INSTANCES: u32 = 1000;
/// Elements a table may grow to in a pool.
const TABLE_ELEMENTS: usize = 20_000;
/// Memory of a slot that is cleared by hand instead of being given back to the kernel and faulted in again, where the
/// kernel can tell which pages were written; else clearing costs more than faulting. Measured with a Rust guest: 8 µs an
/// item, against 10 µs with four times as much and 20 µs with none.
const KEEP_RESIDENT: usize = 128 << 10;

/// Stacks for calls that wait for something, of one instance: its own, and each call of the host that it has under way.
/// They cost nothing until they are used.
const STACKS: u32 = 64;

/// Whether this machine may move memory to disk.
///
/// Wasmtime resets an instance's memory in place where the kernel can tell which pages were written (`PAGEMAP_SCAN`). It
/// overlooks written pages that were swapped out (wasmtime pull request 14357), which the next item would then see: with
/// swap, memory is given back and faulted in again instead, at some 10 µs an item.
pub fn has_swap() -> bool {
    // The first line is a heading. A file that cannot be read is taken for a yes.
    std::fs::read_to_string("/proc/swaps").map_or(true, |swaps| swaps.lines().count() > 1)
}

/// Makes the engine of a worker: one instance at a time, in a slot that is reset between instances.
pub fn for_worker(profile: Profile, needs: Option<Needs>, swap: bool) -> wasmtime::Result<Engine> {
    let mut config = profile.config();
    let keep_resident = if swap { 0 } else { KEEP_RESIDENT };
    if let Some(needs) = needs {
        // Garbage-collected values, and exceptions, live in a memory of their own.
        let collected = u32::from(profile.collects());
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(1)
            .total_core_instances(CORE_INSTANCES)
            .max_core_instances_per_component(CORE_INSTANCES)
            .total_memories(needs.memories.max(1) + collected)
            .max_memories_per_component(needs.memories.max(1))
            .max_memories_per_module(needs.memories.max(1))
            .total_tables(needs.tables.max(1))
            .max_tables_per_component(needs.tables.max(1))
            .max_tables_per_module(needs.tables.max(1))
            .table_elements(usize::try_from(needs.initial_table)?.max(TABLE_ELEMENTS))
            .max_component_instance_size(16 << 20)
            .max_core_instance_size(16 << 20)
            .total_stacks(if profile.is_async() { STACKS } else { 0 })
            .total_gc_heaps(collected)
            .linear_memory_keep_resident(keep_resident)
            .table_keep_resident(keep_resident)
            .pagemap_scan(if swap { Enabled::No } else { Enabled::Auto });
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Engine::new(&config)
}
