//! Messages in which a worker reports its progress over the socket, and when each of them is allowed.
//!
//! A worker becomes less trustworthy step by step. Until it has entered its sandbox, it has run only our code. Then it
//! reads the artifact, which was made by a compile process that foreign wasm may have taken over. Then it runs code of
//! the task. So each message is believed only at a moment when an honest worker would send it, and only as far as the
//! worker could know it by then. Any other message costs this worker its life, and no other worker anything.

use serde::{Deserialize, Serialize};

use wasmpool_core::layer::LayerPart;

/// A message of a worker about its progress.
#[derive(Debug, Serialize, Deserialize)]
pub enum WorkerMessage {
    /// It is in the sandbox, and from here on reads what strangers have made. `lacking` are the parts that strict mode
    /// would have required.
    Entered { lacking: Vec<LayerPart> },
    /// It has loaded the task, and is about to run its `init`. Sent only if there is one to run.
    Loaded { lacking: Vec<LayerPart> },
    /// It waits for items.
    Ready { lacking: Vec<LayerPart> },
    /// The sandbox lacks a layer that is required.
    Unprotected(String),
    /// The task cannot be run with these settings; the user has to change something.
    Unusable(String),
    /// The artifact does not fit this build.
    BadArtifact(String),
    /// The task's `init` failed.
    Uninitialised(String),
    #[cfg(feature = "probes")]
    Probed(wasmpool_core::probe::ProbeOutcome),
}

/// Stage that a worker has reached, according to its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeStage {
    /// It was sent the task, and has said nothing yet.
    Entering,
    /// It reads the artifact.
    Loading,
    /// It runs the task's `init`.
    Initialising,
    /// It serves items, and has no more messages to send.
    Serving,
    /// It said why it will never serve items.
    Over,
}

/// The reason why a worker will never serve items.
#[derive(Debug, PartialEq, Eq)]
pub enum WorkerRefusal {
    Unprotected(String),
    /// The sandbox cannot be narrowed for serving. The worker had read the artifact by then, so its word does not end
    /// the run.
    NotNarrowed(String),
    Unusable(String),
    BadArtifact(String),
    Uninitialised(String),
}

impl WorkerRefusal {
    /// Returns the worker's message.
    pub fn message(&self) -> &str {
        match self {
            WorkerRefusal::Unprotected(message)
            | WorkerRefusal::NotNarrowed(message)
            | WorkerRefusal::Unusable(message)
            | WorkerRefusal::BadArtifact(message)
            | WorkerRefusal::Uninitialised(message) => message,
        }
    }
}

/// A consequence of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum LifeEvent {
    /// The worker waits for items, and runs without these parts of the sandbox.
    Ready {
        lacking: Vec<LayerPart>,
    },
    Refused(WorkerRefusal),
}

/// Error: the worker sent a message that is not allowed at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker broke the protocol: {0}")]
pub struct OutOfTurn(pub &'static str);

/// Maximum number of bells that can be on their way at a time. A worker rings once for each time the host goes to
/// sleep; with many workers, the host may go to sleep several times before it reads this worker's socket.
const MOST_BELLS: u32 = 512;
/// Maximum number of consecutive bells for which the host finds nothing. An honest worker rings in vain once or twice,
/// when it goes to sleep itself.
const MOST_IN_VAIN: u32 = 1_000;

/// Follows what a worker says, and checks that it is allowed.
#[derive(Debug)]
pub struct WorkerLife {
    stage: LifeStage,
    /// True if the worker may have an `init` to run.
    inits: bool,
    lacking: Vec<LayerPart>,
    /// Number of bells that the worker may ring, and of consecutive ones that led to nothing.
    bells: u32,
    in_vain: u32,
}

impl WorkerLife {
    /// Starts with a worker that is sent a task. `inits` says that it may have an `init` to run.
    pub fn new(inits: bool) -> WorkerLife {
        WorkerLife { stage: LifeStage::Entering, inits, lacking: Vec::new(), bells: 0, in_vain: 0 }
    }

    /// Processes a message.
    ///
    /// # Errors
    ///
    /// Returns [`OutOfTurn`] for a message that is not allowed now: the worker has to be killed.
    pub fn hear(&mut self, said: WorkerMessage) -> Result<Option<LifeEvent>, OutOfTurn> {
        match (self.stage, said) {
            (LifeStage::Entering, WorkerMessage::Entered { lacking }) => {
                self.add_lacking(lacking);
                self.stage = LifeStage::Loading;
                Ok(None)
            }
            (LifeStage::Loading, WorkerMessage::Loaded { lacking }) if self.inits => {
                self.add_lacking(lacking);
                self.stage = LifeStage::Initialising;
                Ok(None)
            }
            (LifeStage::Loading, WorkerMessage::Ready { lacking }) => {
                self.add_lacking(lacking);
                Ok(Some(self.ready()))
            }
            // Code of the task has run by then, so the message's list of missing parts is ignored. Earlier messages had
            // it.
            (LifeStage::Initialising, WorkerMessage::Ready { .. }) => Ok(Some(self.ready())),
            (LifeStage::Entering, WorkerMessage::Unprotected(message)) => {
                self.refuse(WorkerRefusal::Unprotected(message))
            }
            (LifeStage::Loading, WorkerMessage::Unprotected(message)) => {
                self.refuse(WorkerRefusal::NotNarrowed(message))
            }
            (LifeStage::Entering | LifeStage::Loading, WorkerMessage::Unusable(message)) => {
                self.refuse(WorkerRefusal::Unusable(message))
            }
            (LifeStage::Loading, WorkerMessage::BadArtifact(message)) => {
                self.refuse(WorkerRefusal::BadArtifact(message))
            }
            (LifeStage::Initialising, WorkerMessage::Uninitialised(message)) => {
                self.refuse(WorkerRefusal::Uninitialised(message))
            }
            _ => {
                self.stage = LifeStage::Over;
                Err(OutOfTurn("it said something that was not due"))
            }
        }
    }

    fn ready(&mut self) -> LifeEvent {
        self.stage = LifeStage::Serving;
        LifeEvent::Ready { lacking: std::mem::take(&mut self.lacking) }
    }

    fn refuse(&mut self, refusal: WorkerRefusal) -> Result<Option<LifeEvent>, OutOfTurn> {
        self.stage = LifeStage::Over;
        Ok(Some(LifeEvent::Refused(refusal)))
    }

    fn add_lacking(&mut self, lacking: Vec<LayerPart>) {
        for part in lacking {
            if !self.lacking.contains(&part) {
                self.lacking.push(part);
            }
        }
    }

    /// Records that the host is about to sleep, so that the worker may ring once more.
    pub fn may_ring(&mut self) {
        self.bells = (self.bells + 1).min(MOST_BELLS);
    }

    /// Processes a bell.
    ///
    /// # Errors
    ///
    /// Returns [`OutOfTurn`] for a bell that nobody can have asked for.
    pub fn rung(&mut self) -> Result<(), OutOfTurn> {
        if self.stage != LifeStage::Serving {
            return Err(OutOfTurn("it rang before it was ready"));
        }
        self.bells = self.bells.checked_sub(1).ok_or(OutOfTurn("it rang more often than the host slept"))?;
        self.in_vain += 1;
        if self.in_vain > MOST_IN_VAIN {
            return Err(OutOfTurn("it rings and rings, and has nothing"));
        }
        Ok(())
    }

    /// Records that the host found something, or takes nothing for now: the bells so far were not in vain.
    pub fn had_reason(&mut self) {
        self.in_vain = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> LayerPart {
        LayerPart::NetworkNamespace
    }

    /// Returns one message of each kind.
    fn all() -> Vec<WorkerMessage> {
        let text = || "text".to_owned();
        vec![
            WorkerMessage::Entered { lacking: vec![] },
            WorkerMessage::Loaded { lacking: vec![] },
            WorkerMessage::Ready { lacking: vec![] },
            WorkerMessage::Unprotected(text()),
            WorkerMessage::Unusable(text()),
            WorkerMessage::BadArtifact(text()),
            WorkerMessage::Uninitialised(text()),
        ]
    }

    /// Returns the state of a worker at this stage.
    fn at(stage: LifeStage, inits: bool) -> WorkerLife {
        let mut life = WorkerLife::new(inits);
        let way: &[WorkerMessage] = match stage {
            LifeStage::Entering => &[],
            LifeStage::Loading => &[WorkerMessage::Entered { lacking: vec![] }],
            LifeStage::Initialising => {
                &[WorkerMessage::Entered { lacking: vec![] }, WorkerMessage::Loaded { lacking: vec![] }]
            }
            LifeStage::Serving => {
                &[WorkerMessage::Entered { lacking: vec![] }, WorkerMessage::Ready { lacking: vec![] }]
            }
            LifeStage::Over => &[WorkerMessage::Unusable(String::new())],
        };
        for said in way {
            // Sent through JSON, as on the socket.
            let said = serde_json::from_str(&serde_json::to_string(said).unwrap()).unwrap();
            life.hear(said).unwrap();
        }
        assert_eq!(life.stage, stage);
        life
    }

    const STAGES: [LifeStage; 5] =
        [LifeStage::Entering, LifeStage::Loading, LifeStage::Initialising, LifeStage::Serving, LifeStage::Over];

    #[test]
    fn each_message_is_believed_only_at_the_moment_an_honest_worker_sends_it() {
        for inits in [false, true] {
            for stage in STAGES.into_iter().filter(|&stage| inits || stage != LifeStage::Initialising) {
                for (nth, said) in all().into_iter().enumerate() {
                    let name = format!("{said:?} while {stage:?}, init {inits}");
                    let due = match stage {
                        LifeStage::Entering => [true, false, false, true, true, false, false],
                        LifeStage::Loading => [false, inits, true, true, true, true, false],
                        LifeStage::Initialising => [false, false, true, false, false, false, true],
                        LifeStage::Serving | LifeStage::Over => [false; 7],
                    };
                    let heard = at(stage, inits).hear(said);
                    assert_eq!(heard.is_ok(), due[nth], "{name}: {heard:?}");
                }
            }
        }
    }

    #[test]
    fn that_there_is_no_sandbox_is_believed_only_of_who_has_read_nothing_yet() {
        let refused = |stage, inits| at(stage, inits).hear(WorkerMessage::Unprotected("m".to_owned()));
        let news = |refusal| Ok(Some(LifeEvent::Refused(refusal)));
        assert_eq!(refused(LifeStage::Entering, false), news(WorkerRefusal::Unprotected("m".to_owned())));
        assert_eq!(refused(LifeStage::Loading, false), news(WorkerRefusal::NotNarrowed("m".to_owned())));
        assert!(refused(LifeStage::Initialising, true).is_err() && refused(LifeStage::Serving, true).is_err());
    }

    #[test]
    fn whoever_was_out_of_turn_is_believed_nothing_afterwards() {
        for stage in STAGES {
            let mut life = at(stage, true);
            life.hear(WorkerMessage::Entered { lacking: vec![] }).ok();
            life.hear(WorkerMessage::Entered { lacking: vec![] }).unwrap_err();
            for said in all() {
                life.hear(said).unwrap_err();
            }
            life.may_ring();
            life.rung().unwrap_err();
        }
    }

    #[test]
    fn what_the_sandbox_lacks_is_believed_only_from_before_the_task_ran() {
        let mut life = WorkerLife::new(true);
        life.hear(WorkerMessage::Entered { lacking: vec![part()] }).unwrap();
        life.hear(WorkerMessage::Loaded { lacking: vec![part(), LayerPart::ServingFilter] }).unwrap();
        let ready = life.hear(WorkerMessage::Ready { lacking: vec![LayerPart::NotDumpable] });
        assert_eq!(ready, Ok(Some(LifeEvent::Ready { lacking: vec![part(), LayerPart::ServingFilter] })));
    }

    #[test]
    fn a_bell_is_due_once_for_each_time_the_host_sleeps() {
        let mut life = at(LifeStage::Serving, false);
        life.rung().unwrap_err();
        for _ in 0..10 {
            life.may_ring();
        }
        for _ in 0..10 {
            life.rung().unwrap();
        }
        life.rung().unwrap_err();
        for stage in [LifeStage::Entering, LifeStage::Loading, LifeStage::Initialising] {
            let mut life = at(stage, true);
            life.may_ring();
            life.rung().unwrap_err();
        }
    }

    #[test]
    fn bells_for_which_there_is_nothing_do_not_keep_the_host_busy_for_ever() {
        let mut life = at(LifeStage::Serving, false);
        let mut ring = |reason: bool| {
            life.may_ring();
            if reason {
                life.had_reason();
            }
            life.rung()
        };
        assert!((0..10 * MOST_IN_VAIN).all(|_| ring(true).is_ok()));
        assert!((0..10 * MOST_IN_VAIN).any(|_| ring(false).is_err()));
    }
}
