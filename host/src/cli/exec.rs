//! `wasmpool exec`.

use super::args::{Delimiter, Exec};
use super::exit::{Exit, Stop};
use super::stream::{Stream, stream};
use wasmpool_core::policy::{Call, Command};

pub fn exec(exec: &Exec) -> Result<Exit, Stop> {
    exec.check()?;
    let name = exec.task.file_name().map_or_else(|| "-".into(), |name| name.to_string_lossy());
    let arguments: Vec<String> = [name.into_owned()].into_iter().chain(exec.arguments.iter().cloned()).collect();
    let command = Command {
        arguments,
        item: exec.replace.clone(),
        index: exec.replace_index.clone(),
        ok_codes: exec.ok_codes.iter().copied().collect(),
    };
    let identity = vec![
        ("exec", serde_json::to_string(&command.arguments).unwrap_or_default()),
        ("--replace", command.item.clone()),
        ("--replace-index", command.index.clone()),
        ("--ok-codes", command.ok_codes.iter().map(i32::to_string).collect::<Vec<_>>().join(",")),
    ];
    stream(Stream {
        task: &exec.task,
        input: &exec.input,
        options: &exec.items,
        common: &exec.common,
        output_format: exec.output_format,
        delimiter: exec.delimiter.unwrap_or(match exec.items.results {
            // Paths are to be told apart.
            Some(_) => Delimiter::Newline,
            None => Delimiter::None,
        }),
        call: Call { command: Some(command), ..exec.common.call() },
        identity,
    })
}
