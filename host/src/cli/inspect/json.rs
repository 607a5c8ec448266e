//! The description of a task for programs. `docs/reference.md` promises its form: members are added, and none of them
//! changes its meaning.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Inspected, grants};
use wasmpool_core::artifact::{ExportLine, InitOnce, Renewal, TaskFormat};

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Description<'a> {
    task: String,
    kind: &'static str,
    functions: Vec<Function<'a>>,
    /// The export that `exec` runs.
    command: Option<&'a str>,
    other_exports: Vec<&'a str>,
    imports: &'a [String],
    /// The reason why it can never run, if it imports what nothing provides. Imports from WASI are not checked.
    cannot_run: Option<&'a str>,
    /// Number of exports and imports beyond the lists' bound.
    left_out: usize,
    grants: Vec<Grant<'a>>,
    init: Option<Init<'a>>,
    restoring: Restoring<'a>,
    memory_at_start: Option<u64>,
    plugin: Option<Plugin<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Function<'a> {
    name: &'a str,
    signature: &'a str,
    callable: bool,
    /// The reason why it cannot be called with values.
    why: Option<&'a str>,
    /// An item that it would take.
    example: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Grant<'a> {
    option: &'static str,
    imports: Vec<&'a str>,
}

/// Whether `init` runs once for all instances, and if not, why.
#[derive(Serialize)]
struct Init<'a> {
    once: bool,
    why: Option<&'a str>,
}

/// Whether an instance is restored after an item, and if not, why.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Restoring<'a> {
    in_place: bool,
    why: Option<&'a str>,
    unless: Option<&'a str>,
}

#[derive(Serialize)]
struct Plugin<'a> {
    function: Option<&'a str>,
    asks: Vec<String>,
}

/// Returns the description on one line.
pub fn described(inspected: &Inspected<'_>) -> serde_json::Result<String> {
    let Inspected { wasm, meta, manifest } = inspected;
    let description = &meta.description;
    let (users, others) = inspected.functions();
    let description = Description {
        task: wasm.to_string_lossy().into_owned(),
        kind: match meta.format {
            TaskFormat::Component => "component",
            TaskFormat::Core => "core module",
        },
        functions: users.into_iter().map(function).collect(),
        command: description.command.as_deref(),
        other_exports: others.into_iter().map(|export| export.signature.as_str()).collect(),
        imports: &description.imports,
        cannot_run: description.unprovided.as_deref(),
        left_out: description.left_out,
        grants: grants::usable(&description.imports)
            .into_iter()
            .map(|grant| Grant { option: grant.option, imports: grant.imports })
            .collect(),
        init: description.init.as_ref().map(|init| match init {
            InitOnce::EachTime(why) => Init { once: false, why: Some(why) },
            InitOnce::Snapshot | InitOnce::SnapshotOfNow => Init { once: true, why: None },
        }),
        restoring: match &meta.renewal {
            Renewal::InPlace { .. } => Restoring { in_place: true, why: None, unless: meta.renewal.unless() },
            Renewal::Anew(why) => Restoring { in_place: false, why: Some(why), unless: None },
        },
        memory_at_start: meta.needs.map(|needs| needs.initial_memory),
        plugin: manifest.map(|manifest| Plugin { function: manifest.function.as_deref(), asks: manifest.sentences() }),
    };
    Ok(serde_json::to_string(&description)? + "\n")
}

fn function(export: &ExportLine) -> Function<'_> {
    Function {
        name: &export.name,
        signature: &export.signature,
        callable: export.unsupported.is_none(),
        why: export.unsupported.as_deref(),
        example: export.example.as_deref().and_then(|example| serde_json::from_str(example).ok()),
    }
}
