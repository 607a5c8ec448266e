//! `wasmpool map`.

use super::args::{Calling, Common, Map};
use super::exit::{Exit, Stop};
use super::several::several;
use super::stream::{Stream, stream};
use wasmpool_core::policy::Call;

pub fn map(map: &Map) -> Result<Exit, Stop> {
    map.check()?;
    let Some(task) = map.task.as_ref().filter(|_| map.tasks.is_empty()) else {
        return several(map);
    };
    stream(Stream {
        task,
        input: &map.input,
        options: &map.items,
        common: &map.common,
        output_format: map.output_format(),
        delimiter: map.delimiter,
        call: item_call(map),
        identity: identity(map),
    })
}

/// What is done with each item.
pub fn item_call(map: &Map) -> Call {
    Call { function: map.function.clone(), batch: map.batch, flatten: map.flatten, ..call(&map.calling, &map.common) }
}

/// What `map` and `call` have in common.
pub fn call(calling: &Calling, common: &Common) -> Call {
    Call {
        args: calling.arg.iter().flatten().cloned().collect(),
        init: calling.init.clone(),
        isolate: calling.isolate,
        ..common.call()
    }
}

/// What results depend on, of the options that `map` has for itself.
fn identity(map: &Map) -> Vec<(&'static str, String)> {
    let calling = &map.calling;
    let bound: Vec<String> = calling.arg.iter().flatten().map(|(n, v)| format!("{n}={v}")).collect();
    vec![
        ("--function", map.function.clone().unwrap_or_default()),
        ("--arg", bound.join(" ")),
        ("--init", calling.init.clone().unwrap_or_default()),
        ("--batch", map.batch.to_string()),
        ("--flatten", map.flatten.to_string()),
        ("--isolate", format!("{:?}", calling.isolate).to_lowercase()),
    ]
}
