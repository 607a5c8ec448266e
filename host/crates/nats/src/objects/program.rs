//! How a program finds the objects of a server, and takes part in them by itself.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::near::{self, NearInbox, NearInput, Route, SharedRoom};
use super::server_in_words;
use crate::access::BrokerAccess;
use crate::client::{Client, ClientEvent, connection_ended};
use crate::presence::machine_name;
use crate::random;
use wasmpool_core::share::{MOST_OBJECTS, ObjectGrant, SharedGrants, is_name};
use wasmpool_core::text::ForeignText;
use wasmpool_hosts::PROTOCOL;
use wasmpool_hosts::names::{HostName, RunId};
use wasmpool_hosts::notes::{self, ServerNote, ServerNoteHead};
use wasmpool_hosts::subjects;
use wasmpool_hosts::tunnel::far::SiteName;
use wasmpool_run::error::Error;
use wasmpool_run::shared::SharedObjects;

/// Time in which a server answers, and time between two questions.
const ANSWER: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(250);
/// What is behind this program's inbox in the subject of an answer. No life is written so.
const OBJECTS: &str = "objects";

/// A connection by which a server of shared objects can be asked.
struct Asking {
    access: BrokerAccess,
    server: HostName,
    program: RunId,
    life: u64,
    client: Client,
    events: Receiver<ClientEvent>,
    /// Where packets go, once this program takes part.
    inbox: Arc<OnceLock<NearInbox>>,
    longest_part: usize,
    /// Where this program speaks later: whether it may is found out before the server has answered.
    needed: Option<String>,
}

/// The objects of a server.
#[derive(Clone, Debug)]
pub struct FoundObjects {
    /// Which process the server is.
    pub life: u64,
    /// All its objects, with what can be granted of them.
    pub objects: Vec<ObjectGrant>,
}

/// Returns the objects of a server. `tell` is given what the user may want to know meanwhile.
///
/// # Errors
///
/// [`Error::Broker`] if there is no such server or it cannot be reached, and [`Error::BrokerLogin`] if the message system does
/// not permit to ask it.
pub fn ask(access: &BrokerAccess, server: &HostName, tell: &mut dyn FnMut(&str)) -> Result<FoundObjects, Error> {
    Asking::start(access, server)?.ask(tell)
}

/// Takes part in the objects of a server. Returns them, with what the server says of them. A program that embeds this has its
/// own way to tell its user what it waits for.
///
/// # Errors
///
/// As [`ask`]; [`Error::System`] if there is no room for a thread.
pub fn connect(access: &BrokerAccess, server: &HostName) -> Result<(SharedObjects, FoundObjects), Error> {
    let mut asking = Asking::start(access, server)?;
    let machine = HostName::of_text(&machine_name());
    let site = SiteName { host: machine, run: asking.program, is_program: true };
    let subject = subjects::server(server, &site);
    asking.needed = Some(subject.clone());
    let found = asking.ask(&mut |_| {})?;
    let Asking { life, client, inbox, longest_part, .. } = asking;
    let route = Route {
        client: Arc::new(client),
        subject,
        life,
        far: Some(found.life),
        longest_part,
        whose: server_in_words(server),
        // What it asks for is its own.
        room: SharedRoom::new(usize::MAX),
    };
    let grants = SharedGrants { remote: true, objects: found.objects.clone(), ..SharedGrants::default() };
    let (reached, packets) = near::connect(route, &grants, true)?;
    // What comes before that is sent again.
    let _ = inbox.set(packets);
    Ok((reached, found))
}

impl Asking {
    fn start(access: &BrokerAccess, server: &HostName) -> Result<Asking, Error> {
        let (program, life) = (RunId(random::bytes()?), random::life()?);
        let (sender, events) = mpsc::channel();
        let inbox = Arc::new(OnceLock::<NearInbox>::new());
        let site = SiteName { host: server.clone(), run: program, is_program: true };
        let (near, answers) = (inbox.clone(), subjects::objects_answer(&site, life));
        let client = Client::start(access.clone(), "wasmpool", move |event| match event {
            ClientEvent::Message(message, waiting) if message.subject == answers => {
                if let Some(near) = near.get() {
                    near.tell(NearInput::Packet(message.payload, waiting));
                }
            }
            event => {
                if let (ClientEvent::Connected(info), Some(near)) = (&event, near.get()) {
                    near.tell(NearInput::Connected(info.longest_part()));
                }
                // Once there was an answer, nobody listens any more.
                let _ = sender.send(event);
            }
        })?;
        client.subscribe(&format!("{}.*", subjects::program_inbox(program)));
        Ok(Asking {
            access: access.clone(),
            server: server.clone(),
            program,
            life,
            client,
            events,
            inbox,
            longest_part: 1,
            needed: None,
        })
    }

    fn ask(&mut self, tell: &mut dyn FnMut(&str)) -> Result<FoundObjects, Error> {
        let access = self.access.clone();
        let (question, reply) =
            (subjects::server_question(&self.server), format!("{}.{OBJECTS}", subjects::program_inbox(self.program)));
        let mut reached = None::<Instant>;
        loop {
            match self.events.recv_timeout(AGAIN) {
                Ok(ClientEvent::Connected(info)) => {
                    self.longest_part = info.longest_part();
                    reached.get_or_insert_with(Instant::now);
                }
                Ok(ClientEvent::NotYet(said)) => tell(&said),
                Ok(ClientEvent::Never(why)) => return Err(why),
                Ok(ClientEvent::Denied(why)) => {
                    return Err(Error::BrokerLogin(access.denial("reaching a server of shared objects", &why)));
                }
                // Nobody hears the question yet.
                Ok(ClientEvent::Message(message, _)) if message.subject == reply && message.status.is_some() => {
                    std::thread::sleep(AGAIN);
                }
                Ok(ClientEvent::Message(message, _)) if message.subject == reply => {
                    if let Some(found) = self.read(&message.payload)? {
                        return Ok(found);
                    }
                    std::thread::sleep(AGAIN);
                }
                Ok(ClientEvent::Disconnected { .. } | ClientEvent::Refused(_) | ClientEvent::Message(..))
                | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(connection_ended()),
            }
            if reached.is_some_and(|since| since.elapsed() >= ANSWER) {
                let server = &self.server;
                return Err(Error::Broker(format!(
                    "no server of shared objects called {server} answers at {access}: start one of that name \
                     with `wasmpool share serve`"
                )));
            }
            if reached.is_some() {
                // Nobody reads the first.
                self.needed.iter().for_each(|subject| self.client.publish(subject, None, &[]));
                self.client.publish(&question, Some(&reply), &[]);
                self.client.flush();
            }
        }
    }

    /// Reads the answer of a server; `None` if it does not serve yet.
    fn read(&self, answer: &[u8]) -> Result<Option<FoundObjects>, Error> {
        let whose = server_in_words(&self.server);
        let wrong = || Error::Broker(format!("{whose} answers what no server of this version does"));
        let ServerNoteHead { protocol, version } = notes::read(answer).ok_or_else(wrong)?;
        if protocol != PROTOCOL {
            let version = ForeignText::of(&version);
            let own = env!("CARGO_PKG_VERSION");
            return Err(Error::Broker(format!(
                "{whose} speaks protocol {protocol} of wasmpool {version}, and this is protocol {PROTOCOL} of wasmpool {own}"
            )));
        }
        let ServerNote { serves, objects, life, .. } = notes::read(answer).ok_or_else(wrong)?;
        let is_numbered = |(number, grant): (usize, &ObjectGrant)| usize::from(grant.object) == number;
        let fit = objects.len() <= MOST_OBJECTS
            && objects.iter().enumerate().all(is_numbered)
            && objects.iter().all(|grant| is_name(&grant.spec.name));
        match fit {
            true => Ok(serves.then_some(FoundObjects { life, objects })),
            false => Err(wrong()),
        }
    }
}
