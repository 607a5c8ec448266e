//! Attacks that a compromised worker would try, tried from inside a real one. Only with the feature `probes`, which
//! releases do not have.
//!
//! [`list`] contains the attacks; the program `wasmpool-probes` is the host that runs them.

mod arguments;
pub mod list;

use std::process::Command;

use wasmpool_core::layer::Layer;
use wasmpool_core::probe::{Probe, ProbeOutcome};

/// Tries the attack that a probe names.
pub fn attempt(probe: &Probe) -> ProbeOutcome {
    if probe.name == FOR_EVER {
        loop {
            std::hint::spin_loop();
        }
    }
    let Some(attempt) = list::all().find(|attempt| attempt.name == probe.name) else {
        return ProbeOutcome::Refused("there is no such probe".to_owned());
    };
    match (attempt.run)(&probe.targets) {
        Ok(()) => ProbeOutcome::Succeeded,
        Err(errno) => ProbeOutcome::Refused(format!("{errno:?}")),
    }
}

/// The environment variable of the host that names layers that a child starts without.
pub const WITHOUT: &str = "WASMPOOL_PROBES_WITHOUT";
/// The environment variable that is leaked to a child that starts without the inheritance layer.
pub const SECRET: &str = "WASMPOOL_PROBES_SECRET";
/// The probe that computes and never looks at its socket.
pub const FOR_EVER: &str = "compute for ever";
/// A descriptor that the host leaks.
pub const LEAKED: i32 = 777;

/// Leaves out layers that a child otherwise has from its start.
pub fn weaken(command: &mut Command) {
    let without = std::env::var(WITHOUT).unwrap_or_default();
    if layers(&without).contains(&Layer::Inheritance) {
        command.env(SECRET, "leaked");
    }
    command.arg(without);
}

/// Returns the layers that this child starts without.
pub(super) fn left_out_at_start() -> Vec<Layer> {
    layers(&std::env::args().nth(3).unwrap_or_default())
}

pub fn layers(names: &str) -> Vec<Layer> {
    names.split(',').filter_map(Layer::from_name).collect()
}
