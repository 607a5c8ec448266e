//! The part of a report that says how a run was started: its command line, settings, isolation and grants.

use crate::cli::secrets::without_password;
use std::ffi::OsString;

use serde::Serialize;

use crate::cli::source::Sourced;
use crate::cli::spec::{RunSpec, WorkSpec};
use wasmpool_core::layer::{Layer, LayerPart};
use wasmpool_core::policy::{Isolate, SandboxMode};
use wasmpool_core::text::ShellWord;
use wasmpool_scheduler::ChunkSize;

#[derive(Clone, Debug, Serialize)]
pub struct SettingFigures {
    /// `None` over many machines, each of which has its own.
    pub workers: Option<usize>,
    pub chunk_size: Option<u32>,
    pub isolate: &'static str,
    pub deterministic: bool,
    pub timeout_us: u64,
    pub memory: u64,
    pub fuel: Option<u64>,
    pub max_output: u64,
    pub retries: u32,
    pub halt: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SandboxFigures {
    pub mode: &'static str,
    pub layers: Vec<LayerFigures>,
}

#[derive(Clone, Debug, Serialize)]
pub struct LayerFigures {
    pub layer: &'static str,
    /// `in-force`, `partly` or `off`.
    pub state: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<&'static str>,
}

/// Returns the settings in force, by whatever way they were given.
pub fn settings(spec: &RunSpec, workers: usize) -> SettingFigures {
    let limits = spec.limits();
    let isolate = match &spec.work {
        WorkSpec::Function(function) => *function.isolate,
        WorkSpec::Command(_) => Isolate::Item,
    };
    SettingFigures {
        workers: (!spec.items.over_hosts()).then_some(workers),
        chunk_size: match *spec.items.chunk_size {
            ChunkSize::Auto => None,
            ChunkSize::Fixed(size) => Some(size),
        },
        isolate: match isolate {
            Isolate::Item => "item",
            Isolate::Chunk => "chunk",
            Isolate::Worker => "worker",
        },
        deterministic: *spec.deterministic,
        timeout_us: u64::try_from(limits.timeout.as_micros()).unwrap_or(u64::MAX),
        memory: limits.memory,
        fuel: limits.fuel,
        max_output: limits.max_output,
        retries: *spec.items.retries,
        halt: spec.items.halt.as_ref().map(ToString::to_string),
    }
}

/// Returns the layers of isolation in force, for workers that lack these parts.
pub fn sandbox(mode: SandboxMode, lacking: &[LayerPart]) -> SandboxFigures {
    let layer = |layer: Layer| {
        let mut of_layer: Vec<&str> =
            lacking.iter().filter(|part| part.layer() == layer).map(|part| part.name()).collect();
        of_layer.sort_unstable();
        of_layer.dedup();
        // Every child process has these two.
        let always = matches!(layer, Layer::Inheritance | Layer::Death);
        let state = match mode {
            SandboxMode::Off if !always => "off",
            _ if of_layer.is_empty() => "in-force",
            _ => "partly",
        };
        LayerFigures { layer: layer.name(), state, lacking: of_layer }
    };
    SandboxFigures {
        mode: match mode {
            SandboxMode::Strict => "strict",
            SandboxMode::BestEffort => "best-effort",
            SandboxMode::Off => "off",
        },
        layers: Layer::ALL.into_iter().map(layer).collect(),
    }
}

/// Returns the grants in the words of their options, without the values of variables, which may be secret.
pub fn grants(spec: &RunSpec) -> Vec<String> {
    let grants = &spec.grants;
    let env = grants.env.iter().map(|variable| format!("--env {}", variable.0));
    let directories = grants.directories.iter().map(|directory| {
        let mode = if directory.writable { ":rw" } else { ":ro" };
        format!("--dir {}::{}{mode}", directory.host.to_string_lossy(), directory.guest)
    });
    let scratch = grants.scratch.iter().map(|scratch| format!("--scratch {}", **scratch));
    let peers = grants.peers.iter().map(|peer| format!("--allow-net {}:{}", peer.host, peer.port));
    let shares = grants.shares.iter().map(|share: &Sourced<_>| format!("--share {}", **share));
    env.chain(directories).chain(scratch).chain(peers).chain(shares).collect()
}

/// Returns the command line for a shell, without what may be secret: values of variables, and passwords in addresses.
pub fn command_line(arguments: impl Iterator<Item = OsString>) -> String {
    let mut words = Vec::new();
    let mut is_variable = false;
    for argument in arguments {
        let text = argument.to_string_lossy();
        let hidden = match text.strip_prefix("--env=") {
            Some(variable) => Some(format!("--env={}", without_value(variable))),
            None if is_variable => Some(without_value(&text)),
            None => without_password(&text),
        };
        is_variable = text == "--env";
        words.push(match hidden {
            Some(hidden) => ShellWord::of(&hidden).to_string(),
            None => ShellWord::of(&argument).to_string(),
        });
    }
    words.join(" ")
}

fn without_value(variable: &str) -> String {
    match variable.split_once('=') {
        Some((name, _)) => format!("{name}=…"),
        None => variable.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_no_secrets() {
        let line = |words: &[&str]| command_line(words.iter().map(OsString::from));
        assert_eq!(line(&["wasmpool", "map", "--env", "A=secret", "t"]), "wasmpool map --env 'A=…' t");
        assert_eq!(line(&["wasmpool", "--env=A=secret", "it's"]), "wasmpool '--env=A=…' 'it'\\''s'");
        assert_eq!(line(&["--via=nats://me:secret@host:1/x"]), "'--via=nats://…@host:1/x'");
        assert_eq!(line(&["nats://host:1/a@b"]), "nats://host:1/a@b");
    }
}
