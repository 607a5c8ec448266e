//! The machine of the objects in this process, for any number of participants on threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use wasmpool_core::share::{ObjectGrant, ObjectSpec};
use wasmpool_objects::fast::NoFastPath;
use wasmpool_objects::operation::{Answer, Request};
use wasmpool_objects::{ItemEnding, Machine, Outputs, ParticipantLimits};
use wasmpool_shared::{Lost, Objects};

pub struct LocalMachine {
    state: Mutex<State>,
    news: Condvar,
    began: Instant,
}

struct State {
    machine: Machine,
    answers: BTreeMap<u32, Answer>,
    participants: u32,
    lost: bool,
}

impl LocalMachine {
    pub fn new(specs: Vec<ObjectSpec>) -> Arc<LocalMachine> {
        let machine = Machine::new(specs, 8);
        let state = State { machine, answers: BTreeMap::new(), participants: 0, lost: false };
        Arc::new(LocalMachine { state: Mutex::new(state), news: Condvar::new(), began: Instant::now() })
    }

    pub fn join(self: &Arc<LocalMachine>, name: &str, grants: &[ObjectGrant]) -> LocalObjects {
        let mut state = self.state.lock().unwrap();
        state.participants += 1;
        let participant = state.participants;
        let grants: Vec<_> = grants.iter().map(|grant| (grant.object, grant.rights)).collect();
        let limits = ParticipantLimits { fast: false, ..ParticipantLimits::WORKER };
        state.machine.join(participant, name.to_owned(), &grants, limits).unwrap();
        LocalObjects { machine: Arc::clone(self), participant }
    }

    pub fn lose(&self) {
        self.state.lock().unwrap().lost = true;
        self.news.notify_all();
    }
}

impl State {
    fn take(&mut self, outputs: Outputs) {
        assert_eq!(outputs.violations, []);
        self.answers.extend(outputs.answers.into_iter().map(|answered| (answered.participant, answered.answer)));
    }
}

/// One participant.
pub struct LocalObjects {
    machine: Arc<LocalMachine>,
    participant: u32,
}

impl Objects for LocalObjects {
    fn ask(&mut self, request: Request) -> Result<Answer, Lost> {
        let LocalMachine { state, news, began } = &*self.machine;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outputs = Outputs::default();
        state.machine.ask(began.elapsed(), self.participant, 0, request, &mut NoFastPath, &mut outputs);
        state.take(outputs);
        news.notify_all();
        loop {
            if state.lost {
                return Err(Lost);
            }
            if let Some(answer) = state.answers.remove(&self.participant) {
                return Ok(answer);
            }
            state = match state.machine.next_deadline() {
                Some(deadline) => news.wait_timeout(state, deadline.saturating_sub(began.elapsed())).unwrap().0,
                None => news.wait(state).unwrap(),
            };
            let mut outputs = Outputs::default();
            state.machine.tick(began.elapsed(), &mut NoFastPath, &mut outputs);
            state.take(outputs);
        }
    }

    fn item_began(&mut self, item: u64) -> Result<(), Lost> {
        let mut state = self.machine.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.machine.item_began(self.participant, item);
        Ok(())
    }

    fn item_ended(&mut self, failed: bool) -> Result<(), Lost> {
        let LocalMachine { state, news, began } = &*self.machine;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lost {
            return Err(Lost);
        }
        let ending = if failed { ItemEnding::Failed } else { ItemEnding::Returned };
        let mut outputs = Outputs::default();
        state.machine.item_ended(began.elapsed(), self.participant, ending, &mut NoFastPath, &mut outputs);
        state.take(outputs);
        news.notify_all();
        Ok(())
    }
}
