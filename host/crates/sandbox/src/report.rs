//! Report on which parts of the sandbox a process really got.

use serde::{Deserialize, Serialize};

use super::SandboxPlan;
use wasmpool_core::layer::{LayerPart, Substitute};

/// A part that is not available.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MissingPart {
    pub part: LayerPart,
    pub why: String,
}

/// The parts that hold, and those that do not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SandboxReport {
    pub held: Vec<LayerPart>,
    pub missing: Vec<MissingPart>,
}

impl SandboxReport {
    pub fn add(&mut self, part: LayerPart, result: Result<(), impl ToString>) {
        self.note(part, result);
    }

    /// Adds a part, and returns true if it holds.
    pub fn note(&mut self, part: LayerPart, result: Result<(), impl ToString>) -> bool {
        match result {
            Ok(()) => self.held.push(part),
            Err(why) => {
                self.missing.push(MissingPart { part, why: why.to_string() });
                return false;
            }
        }
        true
    }

    pub fn add_all<E: ToString>(&mut self, parts: impl IntoIterator<Item = (LayerPart, Result<(), E>)>) {
        for (part, result) in parts {
            self.add(part, result);
        }
    }

    pub fn holds(&self, part: LayerPart) -> bool {
        self.held.contains(&part)
    }

    /// Returns true if strict mode can do without `part`, which is missing.
    pub fn excused(&self, part: LayerPart) -> bool {
        match part.substitute() {
            Substitute::None => false,
            Substitute::Or(others) => others.iter().any(|&other| self.holds(other)),
            Substitute::NotRequired => true,
        }
    }

    /// Returns the parts that strict mode requires and this process does not have.
    pub fn lacking(&self, plan: &SandboxPlan) -> impl Iterator<Item = &MissingPart> {
        self.missing.iter().filter(|missing| plan.has(missing.part.layer()) && !self.excused(missing.part))
    }

    /// Returns an error that lists the parts that strict mode requires and this process does not have, if there are
    /// any.
    pub fn meets_strict(&self, plan: &SandboxPlan) -> Result<(), String> {
        let lacking: Vec<String> = self
            .lacking(plan)
            .map(|missing| format!("{} ({}: {})", missing.part.layer().name(), missing.part.name(), missing.why))
            .collect();
        match lacking.is_empty() {
            true => Ok(()),
            false => Err(lacking.join(", ")),
        }
    }
}
