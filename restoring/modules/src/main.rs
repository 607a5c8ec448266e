//! Generates random modules: `modules FIRST COUNT`. Each is written to standard output, after its number and its length.

use std::io::{self, BufWriter, ErrorKind, Write};

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

/// Number of bytes from which a module is generated.
const BYTES: u64 = 8000;

fn main() -> io::Result<()> {
    let number = |at: usize| std::env::args().nth(at).and_then(|given| given.parse::<u64>().ok());
    let (Some(first), Some(count)) = (number(1), number(2)) else {
        return Err(io::Error::other("usage: modules FIRST COUNT"));
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let written = (first..first + count).try_for_each(|seed| {
        let Some(wasm) = module(&mut Random(seed)) else { return Ok(()) };
        out.write_all(&seed.to_le_bytes())?;
        out.write_all(&(wasm.len() as u64).to_le_bytes())?;
        out.write_all(&wasm)
    });
    match written.and_then(|()| out.flush()) {
        // Enough modules were read.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Returns a random module without imports, all of which is exported.
fn module(random: &mut Random) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = (0..BYTES).map(|_| random.next() as u8).collect();
    let mut is = || random.next().is_multiple_of(2);
    let config = Config {
        max_imports: 0,
        min_funcs: 2,
        min_globals: 1,
        max_memories: 3,
        max_memory32_bytes: 4 << 16,
        max_tables: 3,
        max_table_elements: 50,
        export_everything: true,
        bulk_memory_enabled: is() && is(),
        reference_types_enabled: is() && is(),
        max_types: 6,
        min_memories: 1,
        max_element_segments: 4,
        max_data_segments: 6,
        simd_enabled: is(),
        gc_enabled: false,
        exceptions_enabled: false,
        memory64_enabled: false,
        threads_enabled: false,
        tail_call_enabled: false,
        relaxed_simd_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        shared_everything_threads_enabled: false,
        ..Config::default()
    };
    Some(Module::new(config, &mut Unstructured::new(&bytes)).ok()?.to_bytes())
}

/// A source of numbers (SplitMix64), the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
