//! A server of shared objects, which outlive runs: it answers whoever asks which it has, and lets workers of all hosts, and
//! programs, take part in them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::far::{self, FarInput, ServedObjects};
use crate::access::BrokerAccess;
use crate::client::{Client, ClientEvent, Cuts, Message, Outage};
use crate::presence::own_presence;
use crate::random;
use wasmpool_core::share::SharedGrants;
use wasmpool_core::text::ForeignText;
use wasmpool_hosts::PROTOCOL;
use wasmpool_hosts::names::{HostName, RunId};
use wasmpool_hosts::notes::{self, ServerNote};
use wasmpool_hosts::subjects;
use wasmpool_hosts::tunnel::far::SiteName;
use wasmpool_run::error::Error;
use wasmpool_run::shared::{SharedEvent, SharedObjects};

/// Time in which another server of the same name would answer, and time between two questions for one.
const ANSWER: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(250);
/// Time between two questions of a server that serves: one that stood still hears by them that another has its name.
const SELDOM: Duration = Duration::from_secs(2);
/// What is behind this server's inbox in the subject of an answer: of another server, and to its last words.
const OTHER: &str = "other";
const LAST: &str = "last";
/// Time that the message system has to take the last words.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Time for which whoever asked is told of the end, and how many at most.
const ASKED: Duration = Duration::from_secs(30);
const MOST_ASKED: usize = 4096;

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

/// Why a server ended whose objects are as they are to be kept.
#[derive(Debug)]
pub enum ServiceEnd {
    /// It was told to end.
    Told,
    /// The message system does not permit what it needs.
    Denied(Error),
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
    /// Objects that were served are not to be kept after an error: they are lost, or others use those of another server.
    /// [`Error::Broker`] if the message system cannot be reached at the start, or has another server of this name, also if that
    /// has begun while nothing was heard of this one;
    /// [`Error::BrokerLogin`] if it does not permit this; [`Error::Shared`] if the process that keeps the objects is lost.
    pub fn serve(
        self,
        objects: &Arc<SharedObjects>,
        grants: &SharedGrants,
        tell: &mut dyn FnMut(&str),
    ) -> Result<ServiceEnd, Error> {
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
        let serving = Serving {
            access,
            name,
            client,
            inbox,
            note,
            reached: false,
            outage: Outage::default(),
            cuts: Cuts::default(),
            asks: None,
            asked: started,
            told: BTreeMap::new(),
        };
        serving.run(&inputs, far, objects, grants, tell)
    }
}

struct Serving {
    access: BrokerAccess,
    name: HostName,
    client: Arc<Client>,
    inbox: String,
    note: ServerNote,
    /// True once the message system was reached.
    reached: bool,
    outage: Outage,
    cuts: Cuts,
    /// Since when it is asked whether another server has the name, and when it was asked last.
    asks: Option<Instant>,
    asked: Instant,
    /// Where those are answered who have asked of late which objects there are, and when they did so last.
    told: BTreeMap<String, Instant>,
}

impl Serving {
    fn run(
        mut self,
        inputs: &Receiver<Input>,
        far: (far::FarInbox, far::FarParts),
        objects: &Arc<SharedObjects>,
        grants: &SharedGrants,
        tell: &mut dyn FnMut(&str),
    ) -> Result<ServiceEnd, Error> {
        let mut served = None;
        let ended = self.serve_until_told(inputs, far, &mut served, objects, grants, tell);
        if let Some(served) = served {
            self.take_leave(inputs, served);
        }
        ended
    }

    fn serve_until_told(
        &mut self,
        inputs: &Receiver<Input>,
        far: (far::FarInbox, far::FarParts),
        served: &mut Option<ServedObjects>,
        objects: &Arc<SharedObjects>,
        grants: &SharedGrants,
        tell: &mut dyn FnMut(&str),
    ) -> Result<ServiceEnd, Error> {
        let mut far = Some(far);
        loop {
            match inputs.recv_timeout(AGAIN) {
                Ok(Input::Broker(event)) => match self.hear(event, tell) {
                    Err(why @ Error::BrokerLogin(_)) if served.is_some() => return Ok(ServiceEnd::Denied(why)),
                    heard => heard?,
                },
                Ok(Input::Lost(why)) => return Err(why),
                Ok(Input::Leave) | Err(RecvTimeoutError::Disconnected) => return Ok(ServiceEnd::Told),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let alone =
                self.asks.is_some_and(|since| since.elapsed() >= ANSWER) && self.client.heard_within(ANSWER * 3);
            if let Some(far) = far.take_if(|_| alone) {
                self.note.serves = true;
                subjects::server_of_all(&self.name).iter().for_each(|subject| self.client.subscribe(subject));
                self.try_to_answer()?;
                let (client, objects) = (self.client.clone(), objects.clone());
                *served = Some(ServedObjects::start(far, client, objects, grants, self.note.life)?);
                let names: Vec<&str> = self.note.objects.iter().map(|grant| grant.spec.name.as_str()).collect();
                tell(&format!("{} serves {} at {}", self.name, names.join(", "), self.access));
            } else {
                let pause = if self.note.serves { SELDOM } else { AGAIN };
                if self.reached && self.asked.elapsed() >= pause {
                    self.ask();
                }
            }
            self.outage.news(&self.access).iter().for_each(|news| tell(news));
            self.client.flush();
        }
    }

    /// Sends what nobody hears to where a host would be answered: whether that is permitted is to be known before a host asks.
    fn try_to_answer(&self) -> Result<(), Error> {
        let site = SiteName::of_host(self.name.clone(), RunId(random::bytes()?));
        self.client.publish(&subjects::objects_answer(&site, self.note.life), None, &[]);
        Ok(())
    }

    /// Tells all who use the objects that they are no more. When it returns, nobody has a part in them.
    fn take_leave(&mut self, inputs: &Receiver<Input>, served: ServedObjects) {
        self.note.serves = false;
        let note = notes::write(&self.note);
        for (reply, _) in self.told.iter().filter(|(_, asked)| asked.elapsed() <= ASKED) {
            self.client.publish(reply, None, &[&note]);
        }
        // Who took part is told, and released, before the objects are looked at. Coordinators hear of it before their hosts, so
        // that what they say of it is one error.
        self.client.flush();
        served.leave();
        // Nobody else hears this, so the message system answers that nobody does, once it has all that was said before.
        let last = format!("{}.{LAST}", self.inbox);
        self.client.publish(&last, Some(&last), &[]);
        self.client.flush();
        let until = Instant::now() + LAST_WORDS;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match inputs.recv_timeout(left) {
                Ok(Input::Broker(ClientEvent::Message(message, _))) if message.subject == last => return,
                Ok(Input::Broker(ClientEvent::Disconnected { .. }) | Input::Leave) | Err(_) => return,
                Ok(_) => {}
            }
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
                self.outage.end();
                if std::mem::replace(&mut self.reached, true) && self.note.serves {
                    tell(&access.reached_again());
                } else {
                    self.asks = Some(Instant::now());
                    self.ask();
                }
                Ok(())
            }
            ClientEvent::NotYet(said) => {
                tell(&said);
                Ok(())
            }
            ClientEvent::Never(why) => Err(why),
            ClientEvent::Disconnected { why, was_made } => {
                self.outage.begin();
                self.cuts.add(access, &why, was_made).iter().for_each(|news| tell(news));
                // What was asked is not answered.
                self.asks = None;
                Ok(())
            }
            ClientEvent::Refused(why) => {
                self.outage.refused(access, &why).iter().for_each(|news| tell(news));
                Ok(())
            }
            ClientEvent::Denied(why) => Err(Error::BrokerLogin(access.denial("serving shared objects", &why))),
            ClientEvent::Message(message, _held) => self.receive(&message),
        }
    }

    fn receive(&mut self, message: &Message) -> Result<(), Error> {
        if message.subject == subjects::server_question(&self.name) {
            // Whoever asks for an answer elsewhere would have the server speak where others are answered.
            if let Some(reply) = message.reply.as_deref().filter(|reply| subjects::is_in_program_inbox(reply)) {
                self.client.publish(reply, None, &[&notes::write(&self.note)]);
                self.remember(reply);
            }
            return Ok(());
        }
        let own = &self.note;
        let Some(other) = notes::read::<ServerNote>(&message.payload).filter(|other| other.life != own.life) else {
            return Ok(());
        };
        let machine = ForeignText::of(&other.presence.machine).to_string();
        let (name, process, access) = (&self.name, other.presence.process, &self.access);
        let who = format!("process {process} on {machine} serves shared objects as {name} at {access}");
        match own.serves {
            // Of two that begin at the same time, the one that began first goes on.
            false if other.serves || other.life < own.life => {
                Err(Error::Broker(format!("{who} already: end it, or serve these by another name")))
            }
            // The other began while this one was not heard, so whoever uses objects now uses those of the other.
            true if other.serves && other.life > own.life => Err(Error::Broker(format!(
                "{who}, which it began while this process stood still or could not be reached: this one ends, and leaves \
                 the name to it"
            ))),
            _ => Ok(()),
        }
    }

    /// Keeps in mind that somebody is answered here, who wants to know of the end.
    fn remember(&mut self, reply: &str) {
        if self.told.len() >= MOST_ASKED {
            self.told.retain(|_, asked| asked.elapsed() <= ASKED);
        }
        if self.told.len() < MOST_ASKED {
            self.told.insert(reply.to_owned(), Instant::now());
        }
    }
}
