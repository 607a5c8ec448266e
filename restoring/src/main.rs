//! Holds restored instances of modules against new ones: `restoring [CALLS]`.
//!
//! Modules come from standard input, each after its number and its length, as `restoring/modules` writes them. Each call of one of
//! a module's functions with random arguments is an item, after which the instance is restored, if it may be, and compared with
//! one that nobody has used.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;

use wasmpool_worker::restored::{Checked, RestoringCheck, Verdict};

/// Maximum number of reasons that are listed for which modules were left out.
const LISTED: usize = 12;

fn main() -> ExitCode {
    let calls = std::env::args().nth(1).map_or(Ok(100), |given| given.parse());
    let Ok(calls) = calls else {
        return say("usage: restoring [CALLS] < modules", ExitCode::from(2));
    };
    match run(calls) {
        Ok(said) => say(said, ExitCode::SUCCESS),
        Err(said) => say(said, ExitCode::FAILURE),
    }
}

fn run(calls: u64) -> Result<String, CheckError> {
    let check = RestoringCheck::new().map_err(|e| CheckError::Engine(format!("{e:#}")))?;
    let (mut modules, mut all) = (0_u64, Checked::default());
    let mut left_out: BTreeMap<String, u64> = BTreeMap::new();
    let mut input = io::stdin().lock();
    while let Some((seed, wasm)) = next(&mut input)? {
        let mut state = seed;
        match check.check(&wasm, calls, None, |below| random(&mut state, below)) {
            Verdict::Same(Checked { calls, restored, .. }) => {
                modules += 1;
                all.calls += calls;
                all.restored += restored;
            }
            Verdict::LeftOut(why) => {
                let why = why.lines().next().unwrap_or_default().split(" (at offset").next().unwrap_or_default();
                *left_out.entry(why.to_owned()).or_default() += 1;
            }
            Verdict::Differs { call, how } => return Err(CheckError::Differs { seed, call, how }),
        }
    }
    let mut why: Vec<(String, u64)> = left_out.into_iter().collect();
    why.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let why: Vec<String> = why.iter().take(LISTED).map(|(why, count)| format!("\n  {count}: {why}")).collect();
    let Checked { calls, restored, .. } = all;
    let why = why.concat();
    Ok(format!("{modules} modules, {calls} calls, {restored} restored instances, no difference; left out:{why}"))
}

#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("there is no engine: {0}")]
    Engine(String),
    #[error("cannot read the modules: {0}")]
    Read(#[from] io::Error),
    #[error("module {seed} differs from a new instance after call {call}: {how}")]
    Differs { seed: u64, call: u64, how: String },
}

/// Reads the next module with its number.
fn next(input: &mut impl Read) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut number = [0; 8];
    match input.read_exact(&mut number) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let seed = u64::from_le_bytes(number);
    input.read_exact(&mut number)?;
    let mut wasm = Vec::new();
    input.take(u64::from_le_bytes(number)).read_to_end(&mut wasm)?;
    Ok(Some((seed, wasm)))
}

/// Returns a number below the given one (SplitMix64), the same for the same state.
fn random(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ mixed >> 31) % below.max(1)
}

fn say(what: impl Display, code: ExitCode) -> ExitCode {
    match writeln!(io::stdout(), "{what}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
