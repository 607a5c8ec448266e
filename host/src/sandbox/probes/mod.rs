//! What a compromised worker would try, tried from inside a real one. Only with the feature `probes`, which releases lack.
//!
//! [`list`] is what is tried; [`driver`] is the host of it, the program `wasmpool-probes`; [`contained`] is a setting like a
//! container's, [`emulated`] are others.

mod arguments;
mod contained;
mod driver;
mod emulated;
mod list;

use std::process::Command;

use serde::{Deserialize, Serialize};

use super::Layer;
pub use driver::main;

/// What a worker is to try in place of serving.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Probe {
    pub name: String,
    /// Layers its sandbox goes without.
    pub without: Vec<Layer>,
    /// System calls that its sandbox does not filter.
    pub free: Vec<libc::c_long>,
    /// It is tried while the task is loaded.
    pub loading: bool,
    pub targets: Targets,
}

/// What there is to attack.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Targets {
    pub host: i32,
    /// Another worker of the same host.
    pub sibling: i32,
    /// Where the host listens.
    pub port: u16,
    pub abstract_socket: String,
    /// A directory that anybody may write to.
    pub directory: String,
}

/// What came of it, where the worker lived to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Succeeded,
    Refused(String),
}

/// Tries it.
pub fn attempt(probe: &Probe) -> Outcome {
    if probe.name == FOR_EVER {
        loop {
            std::hint::spin_loop();
        }
    }
    let Some(attempt) = list::all().find(|attempt| attempt.name == probe.name) else {
        return Outcome::Refused("there is no such probe".to_owned());
    };
    match (attempt.run)(&probe.targets) {
        Ok(()) => Outcome::Succeeded,
        Err(errno) => Outcome::Refused(format!("{errno:?}")),
    }
}

/// The environment variable of the host that names layers a child starts without.
const WITHOUT: &str = "WASMPOOL_PROBES_WITHOUT";
/// What an environment leaks.
const SECRET: &str = "WASMPOOL_PROBES_SECRET";
/// The probe that computes and never looks at its socket.
const FOR_EVER: &str = "compute for ever";
/// A descriptor that the host leaks.
const LEAKED: i32 = 777;

/// Leaves layers out that a child has from its start.
pub fn weaken(command: &mut Command) {
    let without = std::env::var(WITHOUT).unwrap_or_default();
    if layers(&without).contains(&Layer::Inheritance) {
        command.env(SECRET, "leaked");
    }
    command.arg(without);
}

/// The layers that this child goes without from its start.
pub(super) fn left_out_at_start() -> Vec<Layer> {
    layers(&std::env::args().nth(3).unwrap_or_default())
}

fn layers(names: &str) -> Vec<Layer> {
    names.split(',').filter_map(Layer::from_name).collect()
}
