//! The pools that tasks run in.

use std::path::PathBuf;
use std::time::Duration;

use wasmpool::{Error, FailureKind, Pool};

/// How tasks are run.
#[derive(Debug)]
pub struct Runs {
    /// The command whose workers they run in.
    pub program: PathBuf,
    pub deterministic: bool,
}

/// What came of a step.
#[derive(Debug)]
#[expect(dead_code, reason = "messages are told by way of Debug")]
pub enum Came {
    Value(u32),
    Trap(String),
    /// Something else than either.
    Other(String),
}

impl Runs {
    fn build(&self, task: &[u8]) -> Result<Pool, Error> {
        let mut builder = Pool::builder(task).worker_binary(&self.program).workers(1).timeout(Duration::from_secs(60));
        if self.deterministic {
            builder = builder.fuel(10_000_000_000);
        }
        builder.build()
    }

    /// Runs the steps of a task with these numbers.
    ///
    /// # Errors
    ///
    /// The task is refused, for this reason.
    pub fn steps(&self, task: &[u8], steps: &[u32]) -> Result<Vec<Came>, String> {
        let pool = self.build(task).map_err(|e| e.to_string())?;
        let outcomes = pool.map_each::<_, u32>(steps.iter().copied()).map_err(|e| e.to_string())?;
        let came = outcomes.into_iter().map(|outcome| match outcome {
            Ok(value) => Came::Value(value),
            // A module that asks for more memory than it may have here, and then traps, traps.
            Err(e) if matches!(e.kind, FailureKind::Trap | FailureKind::Memory) => Came::Trap(e.message.clone()),
            Err(e) => Came::Other(e.to_string()),
        });
        Ok(came.collect())
    }

    /// Why a task is refused, if it is.
    pub fn refusal(&self, task: &[u8]) -> Option<String> {
        self.build(task).err().map(|e| e.to_string())
    }
}
