//! The near ends of tunnels to shared objects that a host has: one for each run that shares some.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::run::HostContext;
use crate::client::ClientEvent;
use crate::objects::near::{self, NearInbox, NearInput, Route, SharedRoom};
use crate::objects::server_in_words;
use wasmpool_core::share::SharedGrants;
use wasmpool_hosts::names::{HostName, RunId};
use wasmpool_hosts::notes::{Manifest, ServerLife};
use wasmpool_hosts::subjects::{self, FromHost};
use wasmpool_hosts::tunnel::far::SiteName;
use wasmpool_run::error::Error;
use wasmpool_run::shared::SharedObjects;

/// Where packets go that are for workers of this host.
#[derive(Clone, Debug)]
pub struct Tunnels {
    inboxes: Arc<Mutex<BTreeMap<RunId, NearInbox>>>,
    /// What all of them share.
    room: SharedRoom,
}

impl Tunnels {
    /// Returns a place for tunnels whose participants hold so many bytes together.
    pub fn new(room: u64) -> Tunnels {
        Tunnels { inboxes: Arc::default(), room: SharedRoom::new(usize::try_from(room).unwrap_or(usize::MAX)) }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<RunId, NearInbox>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what is for a near end. Returns what others have to hear of. `inbox` is the beginning of subjects on which this
    /// host is answered.
    pub fn pass_on(&self, event: ClientEvent, inbox: &str) -> Option<ClientEvent> {
        match event {
            ClientEvent::Connected(ref info) => {
                let longest_part = info.longest_part();
                self.all().values().for_each(|tunnel| tunnel.tell(NearInput::Connected(longest_part)));
                Some(event)
            }
            ClientEvent::Message(message, waiting) => {
                let run = message.subject.strip_prefix(inbox).and_then(subjects::objects_answered);
                let Some(run) = run else {
                    return Some(ClientEvent::Message(message, waiting));
                };
                if let Some(tunnel) = self.all().get(&run).cloned() {
                    tunnel.tell(NearInput::Packet(message.payload, waiting));
                }
                None
            }
            event => Some(event),
        }
    }
}

/// The way to the shared objects of a run.
#[derive(Debug)]
pub struct ObjectsWay {
    run: RunId,
    grants: SharedGrants,
    route: Route,
    tunnels: Tunnels,
}

impl ObjectsWay {
    /// Returns the way to the objects that a run grants, if it grants any.
    ///
    /// # Errors
    ///
    /// [`Error::Broker`] if they are at a server by whose name none can be.
    pub(super) fn of(run: RunId, manifest: &Manifest, context: &HostContext) -> Result<Option<ObjectsWay>, Error> {
        let shared = &manifest.call.given.shared;
        if shared.objects.is_empty() {
            return Ok(None);
        }
        let host = &context.settings.name;
        let (subject, whose, far) = match &manifest.objects {
            None => (FromHost::Objects.subject(run, host), "the coordinator of the run".to_owned(), None),
            Some(ServerLife { server, life }) => {
                let unnamed =
                    |_| Error::Broker("no server of shared objects can have the name that the run gives".to_owned());
                let server = HostName::new(server).map_err(unnamed)?;
                let site = SiteName::of_host(host.clone(), run);
                (subjects::server(&server, &site), server_in_words(&server), Some(*life))
            }
        };
        let route = Route {
            client: context.client.clone(),
            subject,
            life: context.life,
            far,
            longest_part: context.longest_part,
            whose,
            room: context.tunnels.room.clone(),
        };
        // Nobody reads it. If it is not permitted, that is known before an item runs.
        route.client.publish(&route.subject, None, &[]);
        let grants = SharedGrants { remote: true, ..shared.clone() };
        Ok(Some(ObjectsWay { run, grants, route, tunnels: context.tunnels.clone() }))
    }

    pub fn grants(&self) -> &SharedGrants {
        &self.grants
    }

    /// Makes use of the objects.
    pub fn connect(self) -> Result<ReachedObjects, Error> {
        let (objects, inbox) = near::connect(self.route, &self.grants, false)?;
        self.tunnels.all().insert(self.run, inbox);
        Ok(ReachedObjects { objects: Arc::new(objects), run: self.run, tunnels: self.tunnels })
    }
}

/// Shared objects that are reached from this host.
#[derive(Debug)]
pub struct ReachedObjects {
    pub objects: Arc<SharedObjects>,
    run: RunId,
    tunnels: Tunnels,
}

impl Drop for ReachedObjects {
    fn drop(&mut self) {
        self.tunnels.all().remove(&self.run);
    }
}
