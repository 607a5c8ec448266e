//! A server of shared objects, which outlive runs: it answers whoever asks which it has, and lets workers of all hosts, and
//! programs, take part in them.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::far::{self, FarInput, ServedObjects};
use crate::access::BrokerAccess;
use crate::client::{Client, ClientEvent, FIRST_CONNECTION, Message};
use crate::presence::own_presence;
use crate::random;
use wasmpool_core::share::SharedGrants;
use wasmpool_core::text::ForeignText;
use wasmpool_hosts::PROTOCOL;
use wasmpool_hosts::names::{HostName, RunId};
use wasmpool_hosts::notes::{self, ServerNote};
use wasmpool_hosts::subjects;
use wasmpool_run::error::Error;
use wasmpool_run::shared::{SharedEvent, SharedObjects};

/// Time in which another server of the same name would answer, and time between two questions for one.
const ANSWER: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(250);
/// What is behind this server's inbox in the subject of an answer.
const OTHER: &str = "other";

/// Something that happens to a server.
#[derive(Debug)]
enum Input {
    Broker(ClientEvent),
    /// The process that keeps the objects is lost.
    Lost(Error),
    /// The server is to end.
    Leave,
}

/// The way in which whoever started a server tells it to end.
#[derive(Clone, Debug)]
pub struct ServerEnd(Sender<Input>);

impl ServerEnd {
    /// Has the server end.
    pub fn leave(&self) {
        let _ = self.0.send(Input::Leave);
    }
}

/// A server of shared objects, which serves until it is told to end.
#[derive(Debug)]
pub struct ObjectsServer {
    access: BrokerAccess,
    name: HostName,
    inputs: Receiver<Input>,
    sender: Sender<Input>,
}

impl ObjectsServer {
    pub fn new(access: BrokerAccess, name: HostName) -> ObjectsServer {
        let (sender, inputs) = mpsc::channel();
        ObjectsServer { access, name, inputs, sender }
    }

    pub fn end(&self) -> ServerEnd {
        ServerEnd(self.sender.clone())
    }

    /// Lets all of the account take part in `objects`, as far as `grants` says. When it returns, nobody has a part in them any
    /// more. `tell` is given what the user may want to know.
    ///
    /// # Errors
    ///
    /// [`Error::Broker`] if the message system cannot be reached at the start, or has another server of this name;
    /// [`Error::BrokerLogin`] if it does not permit this; [`Error::Shared`] if the process that keeps the objects is lost.
    pub fn serve(
        self,
        objects: &Arc<SharedObjects>,
        grants: &SharedGrants,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), Error> {
        let ObjectsServer { access, name, inputs, sender } = self;
        let lost = sender.clone();
        let _listening = objects.listen(Box::new(move |event| {
            if let SharedEvent::Lost(why) = event {
                let _ = lost.send(Input::Lost(why));
            }
        }));
        let far = far::parts()?;
        let (packets, own) = (far.0.clone(), name.clone());
        let client = Client::start(access.clone(), "wasmpool share serve", move |event| {
            if let ClientEvent::Connected(info) = &event {
                packets.tell(FarInput::Connected(info.longest_part()));
            }
            let event = match event {
                ClientEvent::Message(message, waiting) => match subjects::serving(&message.subject, &own) {
                    // Whoever asks for answers elsewhere, and the broker where it answers, are no near end.
                    Some(_) if message.reply.is_some() || message.status.is_some() => return,
                    Some(site) => return packets.tell(FarInput::Packet(site, message.payload, waiting)),
                    None => ClientEvent::Message(message, waiting),
                },
                event => event,
            };
            // If the server is gone, the connection ends soon.
            let _ = sender.send(Input::Broker(event));
        })?;
        let inbox = subjects::program_inbox(RunId(random::bytes()?));
        client.subscribe(&format!("{inbox}.*"));
        client.subscribe(&subjects::server_question(&name));
        let note = ServerNote {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            life: random::life()?,
            presence: own_presence(),
            serves: false,
            objects: grants.objects.clone(),
        };
        let (started, client) = (Instant::now(), Arc::new(client));
        let serving =
            Serving { access, name, client, inbox, note, started, reached: false, asks: None, asked: started };
        serving.run(&inputs, far, objects, grants, tell)
    }
}

struct Serving {
    access: BrokerAccess,
    name: HostName,
    client: Arc<Client>,
    inbox: String,
    note: ServerNote,
    started: Instant,
    /// True once the message system was reached.
    reached: bool,
    /// Since when it is asked whether another server has the name, and when it was asked last.
    asks: Option<Instant>,
    asked: Instant,
}

impl Serving {
    fn run(
        mut self,
        inputs: &Receiver<Input>,
        far: (far::FarInbox, far::FarParts),
        objects: &Arc<SharedObjects>,
        grants: &SharedGrants,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), Error> {
        let (mut far, mut served) = (Some(far), None);
        loop {
            let input = match served {
                Some(_) => inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                None => inputs.recv_timeout(AGAIN),
            };
            match input {
                Ok(Input::Broker(event)) => self.hear(event, tell)?,
                Ok(Input::Lost(why)) => return Err(why),
                Ok(Input::Leave) | Err(RecvTimeoutError::Disconnected) => {
                    // Who took part is released before the objects are looked at.
                    drop::<Option<ServedObjects>>(served);
                    return Ok(());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let alone =
                self.asks.is_some_and(|since| since.elapsed() >= ANSWER) && self.client.heard_within(ANSWER * 3);
            if let Some(far) = far.take_if(|_| alone) {
                self.note.serves = true;
                subjects::server_of_all(&self.name).iter().for_each(|subject| self.client.subscribe(subject));
                served = Some(ServedObjects::start(far, self.client.clone(), objects.clone(), grants)?);
                let names: Vec<&str> = self.note.objects.iter().map(|grant| grant.spec.name.as_str()).collect();
                tell(&format!("{} serves {} at {}", self.name, names.join(", "), self.access));
            } else if !self.note.serves && self.reached && self.asked.elapsed() >= AGAIN {
                self.ask();
            }
            self.client.flush();
        }
    }

    /// Asks whether another server has the name.
    fn ask(&mut self) {
        self.asked = Instant::now();
        let reply = format!("{}.{OTHER}", self.inbox);
        self.client.publish(&subjects::server_question(&self.name), Some(&reply), &[]);
    }

    fn hear(&mut self, event: ClientEvent, tell: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let access = &self.access;
        match event {
            ClientEvent::Connected(_) => {
                if std::mem::replace(&mut self.reached, true) && self.note.serves {
                    tell(&format!("{access} is there again"));
                } else {
                    self.asks = Some(Instant::now());
                    self.ask();
                }
                Ok(())
            }
            ClientEvent::Disconnected(e) if !self.reached && self.started.elapsed() >= FIRST_CONNECTION => {
                Err(access.unreachable(e))
            }
            ClientEvent::Disconnected(_) => {
                // What was asked is not answered.
                self.asks = None;
                Ok(())
            }
            ClientEvent::Refused(why) if !self.reached => Err(why.into_error(access)),
            ClientEvent::Refused(why) => {
                tell(&format!("{access}: {why}; it is tried again"));
                Ok(())
            }
            ClientEvent::Denied(why) => {
                let said = access.denial("serving shared objects", &why);
                if self.note.serves {
                    tell(&said);
                    return Ok(());
                }
                Err(Error::BrokerLogin(said))
            }
            ClientEvent::Message(message, _held) => self.receive(&message),
        }
    }

    fn receive(&self, message: &Message) -> Result<(), Error> {
        if message.subject == subjects::server_question(&self.name) {
            // Whoever asks for an answer elsewhere would have the server speak where others are answered.
            if let Some(reply) = message.reply.as_deref().filter(|reply| subjects::is_in_program_inbox(reply)) {
                self.client.publish(reply, None, &[&notes::write(&self.note)]);
            }
            return Ok(());
        }
        let other = notes::read::<ServerNote>(&message.payload).filter(|other| other.life != self.note.life);
        match other {
            // Of two that begin at the same time, the one that began first goes on.
            Some(other) if !self.note.serves && (other.serves || other.life < self.note.life) => {
                let machine = ForeignText::of(&other.presence.machine).to_string();
                let (name, process, access) = (&self.name, other.presence.process, &self.access);
                Err(Error::Broker(format!(
                    "process {process} on {machine} serves shared objects as {name} at {access} already: end it, or serve \
                     these by another name"
                )))
            }
            _ => Ok(()),
        }
    }
}
