//! Report on which parts of the sandbox a process really got.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{SandboxError, SandboxPlan};
use wasmpool_core::chain::with_sources;
use wasmpool_core::layer::{LayerPart, Substitute};

/// A part that is not available.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MissingPart {
    pub part: LayerPart,
    pub why: String,
}

impl fmt::Display for MissingPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}: {})", self.part.layer().name(), self.part.name(), self.why)
    }
}

/// The parts that hold, and those that do not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SandboxReport {
    pub held: Vec<LayerPart>,
    pub missing: Vec<MissingPart>,
}

impl SandboxReport {
    pub fn add(&mut self, part: LayerPart, result: Result<(), impl Into<Box<dyn Error>>>) {
        self.record(part, result);
    }

    /// Adds a part, and returns true if it holds.
    pub fn record(&mut self, part: LayerPart, result: Result<(), impl Into<Box<dyn Error>>>) -> bool {
        match result {
            Ok(()) => self.held.push(part),
            Err(why) => {
                self.missing.push(MissingPart { part, why: with_sources(&*why.into()) });
                return false;
            }
        }
        true
    }

    pub fn add_all<E: Into<Box<dyn Error>>>(&mut self, parts: impl IntoIterator<Item = (LayerPart, Result<(), E>)>) {
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

    /// Checks that this process has all parts that strict mode requires.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Missing`] with those that it does not have.
    pub fn meets_strict(&self, plan: &SandboxPlan) -> Result<(), SandboxError> {
        let lacking: Vec<MissingPart> = self.lacking(plan).cloned().collect();
        match lacking.is_empty() {
            true => Ok(()),
            false => Err(SandboxError::Missing(lacking)),
        }
    }
}
