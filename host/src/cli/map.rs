//! `wasmpool map`.

use std::thread;

use super::args::{Common, Delimiter, InputFormat, Map, OutputFormat, Progress as When};
use super::compiling::Notice;
use super::exit::{Exit, Stop};
use super::progress::Progress;
use super::run::{Run, run};
use crate::compile::Wasm;
use crate::input::{CsvItems, FileItems, Inputs, Items, LineItems};
use crate::output::{Counts, Format, Target};
use crate::policy::{Call, ResultForm};
use crate::scheduler::Config;
use crate::value::Form;

pub fn map(map: &Map) -> Result<Exit, Stop> {
    let inputs = Inputs::open(&map.input)?;
    let size = inputs.size();
    let call = Call {
        function: map.function.clone(),
        batch: map.batch,
        flatten: map.flatten,
        item_form: item_form(map.input_format),
        result_form: match map.output_format {
            OutputFormat::Raw => ResultForm::Raw,
            OutputFormat::Values | OutputFormat::Records => ResultForm::Json,
        },
        ..call(&map.common)
    };
    let workers = match map.workers {
        Some(workers) => workers as usize,
        None => thread::available_parallelism().map_or(1, |n| n.get()),
    };
    let config = Config {
        ordered: !map.unordered,
        chunk: map.chunk_size,
        batch: map.batch,
        retries: map.retries,
        max_tasks_per_worker: map.max_tasks_per_worker,
        ..Config::of_limits(map.common.timeout, workers)
    };
    let format = match (map.output_format, map.delimiter) {
        (OutputFormat::Values, _) => Format::Values,
        (OutputFormat::Records, _) => Format::Records,
        (OutputFormat::Raw, Delimiter::Newline) => Format::Raw { delimiter: Some(b'\n') },
        (OutputFormat::Raw, Delimiter::Nul) => Format::Raw { delimiter: Some(0) },
        (OutputFormat::Raw, Delimiter::None) => Format::Raw { delimiter: None },
    };
    let target = Target::open(map.output.as_ref())?;
    let mut progress = Progress::new(map.progress, &map.common, size);
    let items = items(map.input_format, inputs, longest(&map.common), &progress);
    let notice = Notice::new(map.common.verbosity).still(map.progress == When::Never);
    let result = run(Run {
        task: &Wasm::of_argument(&map.task)?,
        call,
        grants: map.common.grants.grants(),
        config,
        format,
        items,
        target,
        watcher: &mut progress,
        notice,
    });
    let counts = result.as_ref().map_or_else(|_| Counts::default(), |(_, counts)| counts.clone());
    progress.finish(&counts);
    let (exit, counts) = result?;
    if exit != Exit::OutputClosed && !map.common.verbosity.quiet {
        progress.summary(&counts);
    }
    Ok(exit)
}

/// What `map` and `call` have in common.
pub fn call(common: &Common) -> Call {
    Call {
        args: common.arg.iter().flat_map(|given| given.0.clone()).collect(),
        init: common.init.clone(),
        isolate: common.isolate,
        limits: common.limits(),
        sandbox: common.sandbox.mode,
        ..Call::default()
    }
}

/// Longest item: what does not fit the memory of an instance can't be given to it.
fn longest(common: &Common) -> usize {
    usize::try_from(common.memory).unwrap_or(usize::MAX).min(u32::MAX as usize - 4096)
}

fn item_form(format: InputFormat) -> Form {
    match format {
        InputFormat::Jsonl => Form::Json,
        InputFormat::Lines | InputFormat::Nul | InputFormat::Files => Form::Bytes,
        InputFormat::Csv => Form::Csv,
    }
}

fn items(format: InputFormat, inputs: Inputs, longest: usize, progress: &Progress) -> Box<dyn Items> {
    let inputs = inputs.counted(progress.bytes_read());
    match format {
        InputFormat::Jsonl => Box::new(LineItems::new(inputs, b'\n', true, longest)),
        InputFormat::Lines => Box::new(LineItems::new(inputs, b'\n', false, longest)),
        InputFormat::Nul => Box::new(LineItems::new(inputs, 0, false, longest)),
        InputFormat::Csv => Box::new(CsvItems::new(inputs, longest)),
        InputFormat::Files => Box::new(FileItems::new(inputs, longest)),
    }
}
