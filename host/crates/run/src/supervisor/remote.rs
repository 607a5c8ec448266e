//! Slots on other machines, which take the place of workers: see [`SchedulerConfig::slots`]. They are behind
//! [`RemoteSlots`], and what they do comes as [`RemoteEvent`]s.
//!
//! [`SchedulerConfig::slots`]: wasmpool_scheduler::SchedulerConfig::slots

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use super::chunks::{BatchSlice, ChunkItems};
use super::{Supervisor, parse};
use crate::error::Error;
use wasmpool_core::hosts::HostChange;
use wasmpool_ipc::lane::frame::{ChunkHeader, OutcomeHeader};
use wasmpool_ipc::lane::outcome::OutcomeBytes;
use wasmpool_scheduler::WorkerId;

/// Whoever has chunks run on other machines.
pub trait RemoteSlots {
    /// Has a chunk run.
    fn send(&mut self, slot: WorkerId, chunk: ChunkHeader, items: ChunkItems);
    /// Reports that the outcomes which came last from this slot were taken.
    fn taken(&mut self, slot: WorkerId);
    /// Reports that they were none. The slot is lost, which is reported as any loss.
    fn broken(&mut self, slot: WorkerId);
    /// Forgets the chunk of this slot.
    fn close(&mut self, slot: WorkerId);
}

/// What slots on other machines do.
#[derive(Debug)]
pub enum RemoteEvent {
    /// There may be this many slots from now on, and this many beside them for chunks that take little time.
    Slots { count: usize, ahead: usize },
    /// Outcomes of the chunk of this slot, the next in order. No others come until they are taken.
    Outcomes { slot: WorkerId, host: Arc<str>, outcomes: Box<dyn RemoteOutcomes> },
    /// The slot is lost with the rest of its chunk, which is to blame for it or not.
    Lost { slot: WorkerId, blamed: bool, how: String },
    /// Something that the user may want to know.
    News(String),
    /// What has become of a host, by its name.
    Host(Arc<str>, HostChange),
    /// The run cannot continue.
    Failed(Error),
}

/// Outcomes as they came from another machine, one behind the other. They may wait, so they are cut into single ones only when
/// they are taken.
pub trait RemoteOutcomes: Debug + Send {
    /// Has each of them taken, in order, until one is none.
    fn each(&self, take: &mut dyn FnMut(RemoteOutcome<'_>) -> Result<(), BadOutcome>) -> Result<(), BadOutcome>;
}

/// An outcome as it came from another machine. Nothing of it is checked but its length.
#[derive(Clone, Copy, Debug)]
pub struct RemoteOutcome<'a> {
    /// Number of the worker, on its machine.
    pub worker: WorkerId,
    pub header: OutcomeHeader,
    pub payload: &'a [u8],
}

/// Error: what came is no outcome of the item whose turn it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOutcome;

/// The slots of a run, and what came from them and cannot be taken yet.
pub(super) struct RemoteCrew<'a> {
    pub slots: Box<dyn RemoteSlots + 'a>,
    /// Outcomes that are left where they are for now, since more would be held than may be.
    left: VecDeque<(WorkerId, Arc<str>, Box<dyn RemoteOutcomes>)>,
}

impl<'a> RemoteCrew<'a> {
    pub fn new(slots: Box<dyn RemoteSlots + 'a>) -> RemoteCrew<'a> {
        RemoteCrew { slots, left: VecDeque::new() }
    }

    pub fn send(&mut self, slot: WorkerId, chunk: ChunkHeader, items: Vec<BatchSlice>) {
        self.slots.send(slot, chunk, ChunkItems::new(items));
    }
}

impl Supervisor<'_> {
    /// Handles what a slot did.
    pub(super) fn hear_remote(&mut self, event: RemoteEvent) -> Result<(), Error> {
        let now = self.now();
        match event {
            RemoteEvent::Slots { count, ahead } => {
                self.scheduler.set_slots(count, ahead);
                if count > 0 {
                    // Hosts count workers once one of theirs has loaded the task.
                    self.proven = true;
                    self.sink.worker_ready(0);
                }
            }
            RemoteEvent::Outcomes { slot, host, outcomes } => {
                if let Some(crew) = self.place.crew() {
                    crew.left.push_back((slot, host, outcomes));
                }
            }
            RemoteEvent::Lost { slot, blamed, how } => {
                if let Some(crew) = self.place.crew() {
                    crew.left.retain(|(of, ..)| *of != slot);
                }
                if blamed {
                    self.last_loss = how;
                }
                self.scheduler.slot_lost(slot, blamed, now);
            }
            RemoteEvent::News(text) => self.sink.news(&text),
            RemoteEvent::Host(name, change) => self.sink.host(&name, change),
            RemoteEvent::Failed(e) => return Err(e),
        }
        Ok(())
    }

    /// Takes outcomes of slots that have arrived, unless they are left for now.
    pub(super) fn take_remote(&mut self) {
        let count = self.place.crew().map_or(0, |crew| crew.left.len());
        for _ in 0..count {
            let Some((slot, host, outcomes)) = self.place.crew().and_then(|crew| crew.left.pop_front()) else {
                return;
            };
            if self.throttled(slot) {
                if let Some(crew) = self.place.crew() {
                    crew.left.push_back((slot, host, outcomes));
                }
                continue;
            }
            let taken = outcomes.each(&mut |outcome| self.take_remote_outcome(slot, &host, outcome));
            drop(outcomes);
            self.chunks.shrink_waiting();
            if let Some(crew) = self.place.crew() {
                match taken {
                    Ok(()) => crew.slots.taken(slot),
                    Err(BadOutcome) => crew.slots.broken(slot),
                }
            }
        }
    }

    fn take_remote_outcome(
        &mut self,
        slot: WorkerId,
        host: &str,
        outcome: RemoteOutcome<'_>,
    ) -> Result<(), BadOutcome> {
        let RemoteOutcome { worker, header, payload } = outcome;
        let mut payload = OutcomeBytes::Borrowed(payload);
        let outcome = parse(header.tag, &mut payload).map_err(|_| BadOutcome)?;
        self.take_outcome(slot, worker, Some(host), header.elapsed, outcome, self.now()).map_err(|_| BadOutcome)
    }

    /// Forgets a slot that is to end.
    pub(super) fn close_slot(&mut self, slot: WorkerId) {
        let now = self.now();
        if let Some(crew) = self.place.crew() {
            crew.left.retain(|(of, ..)| *of != slot);
            crew.slots.close(slot);
            self.scheduler.slot_lost(slot, false, now);
        }
    }
}
