//! `wasmpool map` and `wasmpool exec`, which differ in what they do with an item.

use super::dry::dry_run;
use super::exit::{Exit, Stop};
use super::several::several;
use super::spec::RunSpec;
use super::spec::TaskSpecs;
use super::stream::stream;

pub fn map(spec: &RunSpec) -> Result<Exit, Stop> {
    if *spec.items.dry_run {
        return dry_run(spec);
    }
    match &spec.items.tasks {
        TaskSpecs::One(task) => stream(spec, task),
        TaskSpecs::Several(tasks) => several(spec, tasks),
    }
}
