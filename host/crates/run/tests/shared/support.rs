//! Objects with a real manager process, and participants in this process.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use wasmpool_core::policy::SandboxMode;
use wasmpool_core::share::{ObjectForm, ObjectGrant, ObjectQuota, ObjectRights, ObjectSpec, SharedGrants};
use wasmpool_ipc::channel::ChannelParts;
use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_objects::operation::{Answer, Operation, Request};
use wasmpool_objects::wire::{self, ManagerFrame};
use wasmpool_run::cgroup::HostPlacement;
use wasmpool_run::shared::{Listening, Participant, SharedContents, SharedEvent, SharedObjects, SharedSettings};
use wasmpool_run::spawn::ChildProgram;

pub const SOON: Option<Duration> = Some(Duration::from_secs(60));
pub const NOW: Option<Duration> = Some(Duration::ZERO);

pub fn spec(name: &str, form: ObjectForm) -> ObjectSpec {
    ObjectSpec { name: name.to_owned(), form, quota: ObjectQuota::default() }
}

pub fn settings() -> SharedSettings {
    SharedSettings { sandbox: SandboxMode::Strict, workers: 4, placement: HostPlacement::Stays }
}

pub fn objects(specs: &[ObjectSpec]) -> SharedObjects {
    filled(specs, SharedContents::default())
}

pub fn filled(specs: &[ObjectSpec], contents: SharedContents) -> SharedObjects {
    SharedObjects::start(&ChildProgram::Own, specs.to_vec(), contents, settings()).unwrap()
}

/// Returns the grant of everything.
pub fn all(objects: &SharedObjects) -> SharedGrants {
    let grant = |(number, spec): (usize, &ObjectSpec)| ObjectGrant {
        object: number as u16,
        spec: spec.clone(),
        rights: ObjectRights::ALL,
    };
    SharedGrants { objects: objects.specs().iter().enumerate().map(grant).collect(), ..SharedGrants::default() }
}

/// Returns what a listener is told.
pub fn told(objects: &SharedObjects) -> (Listening, Receiver<SharedEvent>) {
    let (tell, told) = mpsc::channel();
    let listening = objects.listen(Box::new(move |event| drop(tell.send(event)))).unwrap();
    (listening, told)
}

/// A participant in this process, which stands for a worker.
pub struct Client {
    pub channel: ChannelClient,
    pub participant: Participant,
}

impl Client {
    pub fn new(objects: &SharedObjects, name: &str) -> Client {
        Client::with(objects, name, &all(objects))
    }

    pub fn with(objects: &SharedObjects, name: &str, grants: &SharedGrants) -> Client {
        let attached = objects.attach(name, grants).unwrap();
        let mut descriptors = attached.descriptors.into_iter();
        let parts = ChannelParts { memory: descriptors.next().unwrap(), socket: descriptors.next().unwrap() };
        Client { channel: ChannelClient::open(parts).unwrap(), participant: attached.participant.unwrap() }
    }

    pub fn send(&mut self, object: u16, operation: Operation, timeout: Option<Duration>) {
        let request = Request { object, operation, timeout };
        self.channel.send(&wire::ask(0, &request).parts(), true).unwrap();
    }

    pub fn answer(&mut self) -> Answer {
        loop {
            match ManagerFrame::decode(self.channel.recv().unwrap()).unwrap() {
                ManagerFrame::Answer { answer, .. } => return answer,
                ManagerFrame::Ahead { .. } => {}
            }
        }
    }

    pub fn ask(&mut self, object: u16, operation: Operation, timeout: Option<Duration>) -> Answer {
        self.send(object, operation, timeout);
        self.answer()
    }

    /// Ends as a killed process does: its descriptors are closed, and nobody tells the manager.
    pub fn dies(self) -> Participant {
        self.participant
    }
}
