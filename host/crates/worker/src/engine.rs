//! Settings of the engine: those that compiling and running must agree on, and the pool for the one instance of a
//! worker.

use std::num::NonZeroUsize;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig, Strategy,
};

use wasmpool_core::artifact::{EngineProfile, InstanceNeeds, TABLE_ELEMENTS};

/// Maximum number of frames of a guest's stack that are looked at: a panic has a dozen of its own.
const FRAMES: usize = 40;

/// Returns the settings of an engine that compiles.
pub fn config(profile: EngineProfile) -> Config {
    let mut config = shared_config(profile);
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(profile.deterministic);
    config
}

/// Returns the settings that compiling and running must agree on.
fn shared_config(profile: EngineProfile) -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(profile.fuel)
        .concurrency_support(profile.is_async())
        .wasm_component_model_async(profile.is_async())
        .gc_support(profile.collects())
        .wasm_function_references(profile.collects())
        .wasm_gc(profile.collects())
        .wasm_exceptions(profile.collects())
        .memory_init_cow(true)
        .relaxed_simd_deterministic(profile.deterministic);
    if profile.fuel {
        config.operator_cost(costs());
    }
    config
}

/// Returns what instructions count. One unit is about a nanosecond. Instructions that call the runtime or search the
/// stack took twenty to eighty times as long as others. Operations on many bytes or elements count each of these in
/// addition.
fn costs() -> OperatorCost {
    const ALLOCATES: u8 = 60;
    const CALLS: u8 = 2;
    OperatorCost {
        Call: CALLS,
        CallIndirect: CALLS,
        CallRef: CALLS,
        ReturnCall: CALLS,
        ReturnCallIndirect: CALLS,
        ReturnCallRef: CALLS,
        Throw: 150,
        ThrowRef: 150,
        MemoryGrow: 100,
        TableGrow: 100,
        MemoryFill: 40,
        MemoryCopy: 10,
        MemoryInit: 10,
        TableInit: 10,
        DataDrop: 10,
        ElemDrop: 10,
        RefFunc: 25,
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

/// Creates an engine that compiles.
pub fn compiling(profile: EngineProfile) -> wasmtime::Result<Engine> {
    Engine::new(&config(profile))
}

/// Maximum number of core instances in a pool. They cost nothing until they are used, and a Python guest has dozens.
pub const CORE_INSTANCES: u32 = 4000;
/// Number of bytes of a slot that are cleared in place instead of being given back to the kernel and faulted in again.
/// Only used if the kernel can tell which pages were written, because clearing costs more than faulting otherwise.
/// Measured with a Rust guest: 8 µs per item, against 10 µs with four times as much and 20 µs with none.
pub const KEEP_RESIDENT: usize = 128 << 10;

/// Number of stacks for calls that wait, in one instance: its own, and one for each call of the host that it has under
/// way. They cost nothing until they are used.
const STACKS: u32 = 64;

/// Creates the engine of a worker: so many instances at a time, which is one unless they are compared. Each is in a slot
/// that is reset between instances.
pub fn for_worker(
    profile: EngineProfile,
    needs: Option<InstanceNeeds>,
    swap: bool,
    instances: u32,
) -> wasmtime::Result<Engine> {
    let mut config = shared_config(profile);
    // A worker only loads what was compiled. A compiler takes some time to set up, and the process has no use for it.
    config.enable_compiler(false);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES));
    let keep_resident = if swap { 0 } else { KEEP_RESIDENT };
    if let Some(needs) = needs {
        // Garbage-collected values and exceptions live in a memory of their own.
        let collected = u32::from(profile.collects());
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances)
            .total_core_instances(CORE_INSTANCES * instances)
            .max_core_instances_per_component(CORE_INSTANCES)
            .total_memories(needs.memories.max(1) * instances + collected)
            .max_memories_per_component(needs.memories.max(1))
            .max_memories_per_module(needs.memories.max(1))
            .total_tables(needs.tables.max(1) * instances)
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
