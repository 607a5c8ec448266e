//! The coordinator: the thread between a run's supervisor and the broker. It publishes chunks, keeps their items until
//! their outcomes are taken, and passes outcomes on.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::access::BrokerAccess;
use crate::client::{BROKER_SILENCE, Client, ClientEvent, Cuts, FIRST_CONNECTION, Message, Outage};
pub use crate::jetstream::ChunkStorage;
use crate::jetstream::{self, Answer, AnswerError, NO_JETSTREAM};
use crate::objects::far::{self, FarInput, ServedObjects};
use crate::objects::near::lost;
use crate::objects::program::FoundObjects;
use crate::objects::server_in_words;
use crate::presence::own_presence;
use crate::random;
use wasmpool_core::outcome::{Failure, FailureKind};
use wasmpool_core::policy::TaskCall;
use wasmpool_core::share::SharedGrants;
use wasmpool_core::text::ForeignText;
use wasmpool_hosts::PROTOCOL;
use wasmpool_hosts::chunk::{ChunkHead, ChunkName, CopyNumber};
use wasmpool_hosts::digest::Digest;
use wasmpool_hosts::names::{HostLife, HostName, RunId};
use wasmpool_hosts::notes::{
    self, AskedDirectory, AskedGrants, Control, EngineName, Manifest, Presence, Refusal, RefusalCause, RunBeat,
    ServerLife, ServerNote, Wanted,
};
use wasmpool_hosts::outcomes::{Gathering, OutcomesHead, SentOutcome, each};
use wasmpool_hosts::slots::{Order, SlotId, Slots, SlotsConfig, Time, Verdict};
use wasmpool_hosts::subjects::{self, CONSUMER, FromHost};
use wasmpool_hosts::tunnel::PATIENCE;
use wasmpool_hosts::tunnel::far::SiteName;
use wasmpool_hosts::tunnel::near::Loss;
use wasmpool_ipc::lane::frame::{ChunkHeader, OutcomeTag};
use wasmpool_run::compile::Wasm;
use wasmpool_run::error::{Error, TaskError};
use wasmpool_run::grants::{DirectoryGrant, Grants, PeerGrant};
use wasmpool_run::journal::OverHosts;
use wasmpool_run::scarce::start_thread;
use wasmpool_run::shared::SharedObjects;
use wasmpool_run::supervisor::{
    BadOutcome, ChunkItems, Event, EventSender, RemoteEvent, RemoteOutcome, RemoteOutcomes, RemoteSlots,
    most_of_outcome,
};
use wasmpool_scheduler::WorkerId;

/// Time between two looks at what may be late.
const LOOK: Duration = Duration::from_millis(250);
/// Time between two beats to hosts.
const BEAT: Duration = Duration::from_secs(2);
/// Time after which a request to the broker is made again.
const REQUEST: Duration = Duration::from_secs(2);
/// Time from which on the user is told that something is waited for.
const TELL_AFTER: Duration = Duration::from_secs(5);
/// Time that the broker has for the last request.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Number of slots that the stream has room for at first. With more, it is made larger.
const FIRST_SLOTS: usize = 16;
/// Time between two connections that are made to see whether something is permitted again.
const PERMITTED_AGAIN: Duration = Duration::from_secs(5);
/// Number of times that two hosts may not agree whether an item has an outcome, until the run ends.
const MOST_DISPUTES: u32 = 3;
/// A part of outcomes is a large one if it has this fraction of what fits into a message.
const LARGE: usize = 2;
/// What JetStream says of a stream that was made with other settings: another size, that is.
const STREAM_DIFFERS: u32 = 10058;

/// A run over many machines.
#[derive(Clone, Debug)]
pub struct CoordinatedRun {
    pub access: BrokerAccess,
    /// Maximum number of chunks that are with hosts at a time.
    pub most: Option<usize>,
    pub storage: ChunkStorage,
    pub max_items_per_worker: Option<u64>,
    /// What the task is to reach outside its memory. Directories are named by their paths on the hosts.
    pub grants: Grants,
    /// True if a chunk that is late may run on a second host.
    pub speculate: bool,
    /// Percentage of chunks that run on two hosts, whose outcomes are compared.
    pub check: u8,
    /// What the run is known by, if a journal keeps it.
    pub known: Option<OverHosts>,
    /// Where the shared objects are that the call grants.
    pub objects: ObjectsPlace,
}

impl CoordinatedRun {
    /// Returns a run by way of this message system, with the usual settings.
    pub fn new(access: BrokerAccess) -> CoordinatedRun {
        CoordinatedRun {
            access,
            most: None,
            storage: ChunkStorage::default(),
            max_items_per_worker: None,
            grants: Grants::default(),
            speculate: true,
            check: 0,
            known: None,
            objects: ObjectsPlace::default(),
        }
    }
}

/// Returns a name for a run that is to be kept in its journal.
///
/// # Errors
///
/// The error of the system if it has no random numbers.
pub fn new_run() -> Result<[u8; 16], Error> {
    Ok(random::bytes()?)
}

/// Where the shared objects of a run are.
#[derive(Clone, Debug, Default)]
pub enum ObjectsPlace {
    /// There are none.
    #[default]
    Nowhere,
    /// In this process.
    Here(Arc<SharedObjects>),
    /// In the server of this name, of whose objects this is granted.
    Server(HostName, FoundObjects),
}

/// The supervisor's end of the coordinator. Dropping it ends the run for its hosts.
#[derive(Debug)]
pub struct Coordinator {
    commands: Sender<Input>,
    thread: Option<JoinHandle<Option<()>>>,
}

/// Something for the coordinator's thread.
#[derive(Debug)]
enum Input {
    Broker(ClientEvent),
    Send { slot: WorkerId, chunk: ChunkHeader, items: ChunkItems },
    Taken(WorkerId),
    Broken(WorkerId),
    Close(WorkerId),
    End,
}

impl Coordinator {
    /// Starts a thread that connects, and has hosts do the work that `supervisor` is told to give out.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no room for a thread, [`Error::Broker`] for a directory that no host can have. That the
    /// broker cannot be reached is told to the supervisor.
    pub fn start(
        run: CoordinatedRun,
        task: &Wasm,
        call: &TaskCall,
        supervisor: EventSender,
    ) -> Result<Coordinator, Error> {
        let wasm = task.bytes()?;
        let grants = asked(&run.grants)?;
        let mut call = call.clone();
        let mut server = None;
        if let ObjectsPlace::Server(name, FoundObjects { life, objects }) = &run.objects {
            call.given.shared = SharedGrants { names_items: true, objects: objects.clone(), ..SharedGrants::default() };
            server =
                Some(UsedServer { name: name.clone(), life: *life, heard: Time::ZERO, asked: None, answered: false });
        }
        // What has effects that count is not done twice.
        let speculate = run.speculate && !grants.have_effects() && call.given.shared.is_empty();
        let manifest = Manifest {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            task_name: task.name().to_owned(),
            task_hash: task.hash().to_owned(),
            call: call.clone(),
            max_items_per_worker: run.max_items_per_worker,
            grants,
            engine: call.deterministic.then(EngineName::own),
            objects: match &run.objects {
                ObjectsPlace::Server(name, found) => {
                    Some(ServerLife { server: name.as_str().to_owned(), life: found.life })
                }
                ObjectsPlace::Nowhere | ObjectsPlace::Here(_) => None,
            },
        };
        let OverHosts { run: id, epoch } = match run.known {
            Some(known) => known,
            None => OverHosts { run: random::bytes()?, epoch: 0 },
        };
        let (id, resumes) = (RunId(id), epoch > 0);
        let (commands, inputs) = mpsc::channel();
        let from_broker = commands.clone();
        let far = far::parts()?;
        let packets = far.0.clone();
        let client = Client::start(run.access.clone(), "wasmpool map", move |event| {
            if let ClientEvent::Connected(info) = &event {
                packets.tell(FarInput::Connected(info.longest_part()));
            }
            let event = match event {
                ClientEvent::Message(message, waiting) => match FromHost::parse(&message.subject, id) {
                    Some((FromHost::Objects, host)) => {
                        let site = SiteName::of_host(host, id);
                        return packets.tell(FarInput::Packet(site, message.payload, waiting));
                    }
                    _ => ClientEvent::Message(message, waiting),
                },
                event => event,
            };
            // If the coordinator is gone, the connection ends soon.
            let _ = from_broker.send(Input::Broker(event));
        })?;
        let client = Arc::new(client);
        let inbox = format!("_INBOX.{}", RunId(random::bytes()?));
        client.subscribe(&format!("{inbox}.*"));
        [FromHost::Outcomes, FromHost::Beat, FromHost::Fetch]
            .iter()
            .for_each(|kind| client.subscribe(&kind.of_all(id)));
        client.subscribe(&subjects::control(id));
        if !resumes {
            client.subscribe(&subjects::presence(id));
        }
        let objects = match run.objects {
            ObjectsPlace::Here(objects) => {
                client.subscribe(&FromHost::Objects.of_all(id));
                Some(ServedObjects::start(far, client.clone(), objects, &call.given.shared, random::life()?)?)
            }
            ObjectsPlace::Nowhere | ObjectsPlace::Server(..) => None,
        };
        let thread = CoordinatorThread {
            run: id,
            access: run.access,
            storage: run.storage,
            coordinator: u64::from_le_bytes(random::bytes()?),
            epoch,
            resumes,
            disowned: false,
            client,
            inbox,
            supervisor: supervisor.clone(),
            started: Instant::now(),
            slots: Slots::new(SlotsConfig {
                most: run.most,
                speculate,
                check: run.check,
                item: Some(call.limits.timeout),
            })
            .with_secret(random::bytes()?),
            chunks: BTreeMap::new(),
            disputes: BTreeMap::new(),
            manifest: notes::write(&manifest).into(),
            wasm: wasm.into(),
            most_outcome: most_of_outcome(&call),
            longest_part: 1,
            lacks_jetstream: false,
            broker: BrokerState::Never,
            created: None,
            room: run.most.unwrap_or(FIRST_SLOTS).min(FIRST_SLOTS),
            next_beat: Time::ZERO,
            next_look: Time::ZERO,
            outage: Outage::begun(),
            told_not_yet: false,
            denied: None,
            progressed: false,
            cuts: Cuts::default(),
            told_not_stored: false,
            idle_since: Some(Time::ZERO),
            told_idle: false,
            single_since: None,
            swept: false,
            _objects: objects,
            server,
        };
        let watching = supervisor;
        let thread = start_thread("coordinator", move || {
            watching.watch("the thread that speaks to hosts", || thread.run(&inputs));
        })?;
        Ok(Coordinator { commands, thread: Some(thread) })
    }

    fn tell(&self, input: Input) {
        // If the thread is gone, it has said why.
        let _ = self.commands.send(input);
    }
}

impl RemoteSlots for Coordinator {
    fn send(&mut self, slot: WorkerId, chunk: ChunkHeader, items: ChunkItems) {
        self.tell(Input::Send { slot, chunk, items });
    }

    fn taken(&mut self, slot: WorkerId) {
        self.tell(Input::Taken(slot));
    }

    fn broken(&mut self, slot: WorkerId) {
        self.tell(Input::Broken(slot));
    }

    fn close(&mut self, slot: WorkerId) {
        self.tell(Input::Close(slot));
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.tell(Input::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How far the broker is ready for chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BrokerState {
    /// It was never reached.
    Never,
    /// It cannot be reached.
    Away,
    /// It was asked, at this time, whether another process coordinates the run, and to delete what that has left.
    AsksForOther(Time),
    DeletesStream(Time),
    /// It was asked for the stream, or for the consumer, at this time.
    MakesStream(Time),
    MakesConsumer(Time),
    Ready,
}

/// The chunk of a slot.
#[derive(Debug)]
struct SentChunk {
    name: ChunkName,
    items: ChunkItems,
    gathering: Gathering,
    /// What the first of two hosts has delivered, with its name, and how much of it was compared.
    noted: Vec<NotedOutcome>,
    noted_by: Option<HostName>,
    compared: usize,
    /// Where the host waits that sent what is being taken, and whether it was the last part.
    answer: Option<(String, bool)>,
}

/// The digest of an outcome that another host has to deliver, too; `None` for one that says more of its host than of the
/// task.
type NotedOutcome = Option<Digest>;

/// What comes of comparing outcomes that a second host delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Comparison {
    Same,
    /// They differ from this item on, and this is the first host.
    Differ(u64, HostName),
    /// Of this item, one host tells only that its worker was lost or late: the first if `first`.
    Disputed {
        item: u64,
        first: bool,
    },
}

fn noted(outcome: &SentOutcome<'_>) -> NotedOutcome {
    let of_host = outcome.header.tag == OutcomeTag::Failure
        && notes::read::<Failure>(outcome.payload)
            .is_some_and(|failure| matches!(failure.kind, FailureKind::WorkerLost | FailureKind::Timeout));
    (!of_host).then(|| Digest::of_parts(&[&[outcome.header.tag as u8], outcome.payload]))
}

/// Outcomes, none of which is cut off.
#[derive(Debug)]
struct WholeOutcomes(Bytes);

impl RemoteOutcomes for WholeOutcomes {
    fn each(&self, take: &mut dyn FnMut(RemoteOutcome<'_>) -> Result<(), BadOutcome>) -> Result<(), BadOutcome> {
        let Self(bytes) = self;
        each(bytes)
            .try_for_each(|SentOutcome { worker, header, payload }| take(RemoteOutcome { worker, header, payload }))
    }
}

struct CoordinatorThread {
    run: RunId,
    access: BrokerAccess,
    storage: ChunkStorage,
    /// The number of this process among those that coordinate the run.
    coordinator: u64,
    /// Number of times that the run was resumed before, and whether it is not known yet that no other process goes on with
    /// it.
    epoch: u64,
    resumes: bool,
    /// True if another process coordinates the run: what it has in the broker is not this one's.
    disowned: bool,
    client: Arc<Client>,
    inbox: String,
    supervisor: EventSender,
    started: Instant,
    slots: Slots,
    chunks: BTreeMap<SlotId, SentChunk>,
    /// How often hosts did not agree whether these items have an outcome.
    disputes: BTreeMap<u64, u32>,
    manifest: Bytes,
    wasm: Bytes,
    /// Maximum bytes of an outcome.
    most_outcome: u64,
    /// Maximum bytes of items in a message.
    longest_part: usize,
    lacks_jetstream: bool,
    broker: BrokerState,
    /// When the stream was made, in the broker's words.
    created: Option<String>,
    /// Number of slots that the stream has room for.
    room: usize,
    next_beat: Time,
    next_look: Time,
    outage: Outage,
    /// True once the user was told that there is no first connection yet.
    told_not_yet: bool,
    /// When something was not permitted that had been, at last, once the user was told.
    denied: Option<Time>,
    /// True once the outcomes of a chunk were taken.
    progressed: bool,
    cuts: Cuts,
    /// True once the user was told that the broker stores no chunks.
    told_not_stored: bool,
    /// Since when no host has served the run, and whether that was told.
    idle_since: Option<Time>,
    told_idle: bool,
    /// Since when chunks have waited for a second host; zero once that was told.
    single_since: Option<Time>,
    /// True once streams of runs that are over were looked for.
    swept: bool,
    /// Lets hosts take part in the shared objects.
    _objects: Option<ServedObjects>,
    /// The server that has the shared objects, if one has.
    server: Option<UsedServer>,
}

/// A server of shared objects that a run uses. If it is lost, each host finds that out by itself, but none can end the run.
struct UsedServer {
    name: HostName,
    life: u64,
    /// When it was last heard, and asked.
    heard: Time,
    asked: Option<Time>,
    /// True once it has answered: it tells of its end to whoever has asked it before.
    answered: bool,
}

impl CoordinatorThread {
    fn run(mut self, inputs: &Receiver<Input>) {
        loop {
            let now = self.now();
            let next_beat = if self.resumes { Time::MAX } else { self.next_beat };
            let wait = self.next_look.min(next_beat).saturating_sub(now);
            match inputs.recv_timeout(wait) {
                Ok(input) => {
                    let mut ended = self.handle(input);
                    while let (false, Ok(input)) = (ended, inputs.try_recv()) {
                        ended = self.handle(input);
                    }
                    if ended {
                        return self.end(inputs);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look();
            self.obey();
            self.client.flush();
        }
    }

    fn now(&self) -> Time {
        self.started.elapsed()
    }

    fn tell(&self, event: RemoteEvent) {
        self.supervisor.send(Event::Remote(event));
    }

    /// Handles an input, and returns true if it was the last.
    fn handle(&mut self, input: Input) -> bool {
        let now = self.now();
        match input {
            Input::Broker(event) => self.hear(event),
            Input::Send { slot, chunk: ChunkHeader { first, count }, items } => {
                let name = ChunkName { first, count, digest: Digest::of_parts(&items.parts()) };
                let gathering = Gathering::new(count, self.most_outcome);
                let noted = Vec::new();
                let chunk = SentChunk { name, items, gathering, noted, noted_by: None, compared: 0, answer: None };
                self.chunks.insert(slot, chunk);
                self.slots.open(slot, name, now);
            }
            Input::Taken(slot) => self.taken(slot),
            Input::Broken(slot) => self.slots.broken(slot, now),
            Input::Close(slot) => {
                self.chunks.remove(&slot);
                self.slots.close(slot);
            }
            Input::End => return true,
        }
        false
    }

    /// Tells the hosts that the run has ended, and has the broker forget it.
    fn end(&mut self, inputs: &Receiver<Input>) {
        if self.disowned || self.resumes {
            return;
        }
        self.say_control(true);
        self.client.publish(&jetstream::delete_stream(self.run), Some(&self.reply("end")), &[]);
        self.client.flush();
        if self.broker == BrokerState::Never || self.outage.is_on() {
            return;
        }
        let until = Instant::now() + LAST_WORDS;
        let ended = self.reply("end");
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match inputs.recv_timeout(left) {
                Ok(Input::Broker(ClientEvent::Message(message, _))) if message.subject == ended => return,
                Ok(Input::Broker(ClientEvent::Disconnected { .. })) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn reply(&self, token: &str) -> String {
        format!("{}.{token}", self.inbox)
    }

    fn say_control(&mut self, ended: bool) {
        self.next_beat = self.now() + BEAT;
        let control = notes::write(&Control { coordinator: self.coordinator, epoch: self.epoch, ended });
        self.client.publish(&subjects::control(self.run), None, &[&control]);
    }

    // ---- time --------------------------------------------------------------------------------------------------------

    fn look(&mut self) {
        let now = self.now();
        if now >= self.next_beat && !self.resumes {
            self.say_control(false);
        }
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        match self.broker {
            // Whoever coordinates the run and does not answer will hear of this process.
            BrokerState::AsksForOther(since) if now - since >= REQUEST => self.delete_left_stream(),
            BrokerState::DeletesStream(since) if now - since >= REQUEST => self.delete_left_stream(),
            BrokerState::MakesStream(since) if now - since >= REQUEST => self.make_stream(),
            BrokerState::MakesConsumer(since) if now - since >= REQUEST => self.make_consumer(),
            _ => {}
        }
        let reached =
            !matches!(self.broker, BrokerState::Never | BrokerState::Away) && self.client.heard_within(BROKER_SILENCE);
        match (reached, self.outage.is_on()) {
            (true, true) => {
                self.slots.broker_back(now);
                if self.outage.end() {
                    self.tell(RemoteEvent::News(self.access.reached_again()));
                }
            }
            (true, false) => self.slots.tick(now),
            (false, false) => self.outage.begin(),
            // Of the first connection it is told otherwise.
            (false, true) if self.broker == BrokerState::Never => {}
            (false, true) => {
                let news = self.outage.news(&self.access);
                news.into_iter().for_each(|news| self.tell(RemoteEvent::News(news)));
            }
        }
        if reached {
            self.look_for_hosts(now);
        }
        self.look_for_server(reached, now);
    }

    /// Asks from time to time whether the server is there that has the shared objects, and ends the run once it is not.
    fn look_for_server(&mut self, reached: bool, now: Time) {
        let reply = self.reply("objects");
        let Some(server) = &mut self.server else { return };
        if !reached {
            // While the broker is away, the silence is nobody's.
            server.heard = now;
            return;
        }
        if now.saturating_sub(server.heard) >= PATIENCE {
            let why = lost(Loss::Silent, &server_in_words(&server.name));
            self.server = None;
            return self.tell(RemoteEvent::Failed(Error::Shared(why)));
        }
        if server.asked.is_none_or(|asked| now.saturating_sub(asked) >= BEAT) {
            server.asked = Some(now);
            self.client.publish(&subjects::server_question(&server.name), Some(&reply), &[]);
        }
    }

    /// Asks the server before any item runs, so that it knows whom to tell when it ends.
    fn ask_server_first(&mut self) {
        let (reply, now) = (self.reply("objects"), self.now());
        if let Some(server) = &mut self.server {
            (server.heard, server.asked) = (now, Some(now));
            self.client.publish(&subjects::server_question(&server.name), Some(&reply), &[]);
        }
    }

    /// Handles the answer of a server of shared objects.
    fn hear_server(&mut self, message: &Message) {
        let now = self.now();
        let Some(server) = &mut self.server else {
            return;
        };
        if message.status == Some(503) && !server.answered {
            // It was there when its objects were looked up, and has ended since. Of one that has answered, others may know more.
            let why = lost(Loss::Ended, &server_in_words(&server.name));
            self.server = None;
            return self.tell(RemoteEvent::Failed(Error::Shared(why)));
        }
        let Some(note) = notes::read::<ServerNote>(&message.payload) else {
            return;
        };
        server.answered = true;
        let loss = match note.life.cmp(&server.life) {
            Ordering::Equal if note.serves => {
                server.heard = now;
                return;
            }
            Ordering::Equal => Loss::Ended,
            Ordering::Greater if note.serves => Loss::Restarted,
            // One that does not serve yet, or that does not know yet that another has taken its place.
            Ordering::Greater | Ordering::Less => return,
        };
        let why = lost(loss, &server_in_words(&server.name));
        self.server = None;
        self.tell(RemoteEvent::Failed(Error::Shared(why)));
    }

    fn look_for_hosts(&mut self, now: Time) {
        let (hosts, workers) = self.slots.serving();
        self.look_for_second_host(now);
        if hosts > 0 {
            self.idle_since = None;
            if std::mem::take(&mut self.told_idle) {
                let (s, n) = (if hosts == 1 { "" } else { "s" }, if workers == 1 { "" } else { "s" });
                self.tell(RemoteEvent::News(format!("{hosts} host{s} with {workers} worker{n} at {}", self.access)));
            }
            return;
        }
        let since = *self.idle_since.get_or_insert(now);
        if now - since >= TELL_AFTER && !std::mem::replace(&mut self.told_idle, true) {
            let refusals = self.slots.refusals();
            let first = refusals.first().map(|(host, why)| format!(" ({host}: {})", ForeignText::of(&why.message)));
            self.tell(RemoteEvent::News(format!(
                "no host serves this run{}; it waits for one (wasmpool serve, version {}) at {}",
                first.unwrap_or_default(),
                env!("CARGO_PKG_VERSION"),
                self.access
            )));
        }
    }

    /// Tells the user if chunks that two hosts are to run have waited for a second one.
    fn look_for_second_host(&mut self, now: Time) {
        if !self.slots.lacks_second_host() {
            self.single_since = self.single_since.filter(Time::is_zero);
            return;
        }
        let since = *self.single_since.get_or_insert(now);
        if !since.is_zero() && now - since >= TELL_AFTER {
            self.single_since = Some(Time::ZERO);
            self.tell(RemoteEvent::News(format!(
                "chunks that are to be checked wait for a second host at {}: one alone serves this run",
                self.access
            )));
        }
    }

    // ---- the broker --------------------------------------------------------------------------------------------------

    fn hear(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Connected(info) => {
                self.longest_part = info.longest_part();
                self.lacks_jetstream = info.lacks_jetstream();
                if self.broker == BrokerState::Never && self.told_not_yet {
                    self.tell(RemoteEvent::News(self.access.reached_at_last()));
                }
                self.ask_server_first();
                match self.resumes {
                    true => self.ask_for_other(),
                    false => self.make_stream(),
                }
            }
            ClientEvent::NotYet(said) => {
                self.told_not_yet = true;
                self.tell(RemoteEvent::News(said));
            }
            ClientEvent::Never(why) => self.tell(RemoteEvent::Failed(why)),
            ClientEvent::Disconnected { why, was_made } => {
                self.broker = BrokerState::Away;
                // One that this program has ended says nothing.
                let news = self.cuts.add(&self.access, &why, was_made && self.denied.is_none());
                news.into_iter().for_each(|news| self.tell(RemoteEvent::News(news)));
            }
            ClientEvent::Refused(why) => {
                self.broker = BrokerState::Away;
                let news = self.outage.refused(&self.access, &why);
                news.into_iter().for_each(|news| self.tell(RemoteEvent::News(news)));
            }
            ClientEvent::Denied(why) => self.denied(&why),
            ClientEvent::Message(message, _held) => self.receive(message),
        }
    }

    /// Handles that the server does not permit something.
    fn denied(&mut self, why: &str) {
        let said = self.access.denial("a run", why);
        if self.created.is_none() || !self.progressed {
            // Whatever it is, no chunk has come through without it.
            self.tell(RemoteEvent::Failed(Error::BrokerLogin(said)));
            return;
        }
        let now = self.now();
        if self.denied.is_none() {
            self.tell(RemoteEvent::News(format!("{said}; the run goes on when that is permitted again")));
        }
        // What is subscribed while it is not permitted is not heard when it is.
        if self.denied.is_none_or(|at| now.saturating_sub(at) >= PERMITTED_AGAIN) {
            self.denied = Some(now);
            self.client.connect_again();
        }
    }

    /// Asks whether another process coordinates the run that this one is to resume.
    fn ask_for_other(&mut self) {
        self.broker = BrokerState::AsksForOther(self.now());
        self.client.publish(&subjects::presence(self.run), Some(&self.reply("other")), &[]);
    }

    /// Has the stream deleted that the process has left which coordinated the run before.
    fn delete_left_stream(&mut self) {
        self.broker = BrokerState::DeletesStream(self.now());
        self.client.publish(&jetstream::delete_stream(self.run), Some(&self.reply("deleted")), &[]);
    }

    /// Ends the run here, since another process coordinates it.
    fn leave_to_other(&mut self, other: &str) {
        if !std::mem::replace(&mut self.disowned, true) {
            let why = format!("{other} goes on with the run of this journal at {}", self.access);
            self.tell(RemoteEvent::Failed(Error::Broker(why)));
        }
    }

    /// Asks for the streams of all runs, once: those are deleted for which no coordinator answers. If one has lost its connection
    /// at this moment, it makes its stream again, as it does when the broker has lost it.
    fn sweep(&mut self) {
        if !std::mem::replace(&mut self.swept, true) {
            let (subject, asked) = jetstream::list_streams();
            self.client.publish(subject, Some(&self.reply("streams")), &[&asked]);
        }
    }

    fn make_stream(&mut self) {
        self.broker = BrokerState::MakesStream(self.now());
        let (subject, asked) = jetstream::create_stream(self.run, stream_bytes(self.room), self.storage);
        self.client.publish(&subject, Some(&self.reply("stream")), &[&asked]);
    }

    /// Has the stream hold the chunks of this many slots.
    fn make_room(&mut self, slots: usize) {
        if slots > self.room {
            self.room = slots.next_power_of_two();
            self.update_stream("grown");
        }
    }

    fn update_stream(&self, token: &str) {
        let (subject, asked) = jetstream::update_stream(self.run, stream_bytes(self.room), self.storage);
        self.client.publish(&subject, Some(&self.reply(token)), &[&asked]);
    }

    fn make_consumer(&mut self) {
        self.broker = BrokerState::MakesConsumer(self.now());
        let (subject, asked) = jetstream::create_consumer(self.run);
        self.client.publish(&subject, Some(&self.reply("consumer")), &[&asked]);
    }

    fn receive(&mut self, message: Message) {
        if let Some(token) = message.subject.strip_prefix(&self.inbox).and_then(|rest| rest.strip_prefix('.')) {
            let token = token.to_owned();
            return self.answered(&token, &message);
        }
        if subjects::controlled(&message.subject) == Some(self.run) {
            return self.hear_other(&message);
        }
        if message.subject == subjects::presence(self.run) {
            return self.tell_presence(&message);
        }
        let Some((kind, host)) = FromHost::parse(&message.subject, self.run) else {
            return;
        };
        // The broker has answered a pull here, which somebody asked for in the name of this host: it is not the host's word.
        if message.status.is_some() {
            return;
        }
        // Somebody who asks for answers elsewhere would have the coordinator speak where hosts may not.
        if message.reply.as_deref().is_some_and(|reply| !subjects::is_in_inbox(reply, &host)) {
            return self.breach(&host);
        }
        let now = self.now();
        match kind {
            FromHost::Beat => match notes::read::<RunBeat>(&message.payload) {
                Some(beat) => self.slots.beat(&host, &beat, now),
                None => self.breach(&host),
            },
            FromHost::Fetch if self.slots.ignores(&host) => {}
            FromHost::Fetch => self.give(&message),
            FromHost::Outcomes => self.take(&host, message),
            // It was passed on before.
            FromHost::Objects => {}
        }
    }

    /// Handles what a coordinator of this run says: this one, or another.
    fn hear_other(&mut self, message: &Message) {
        if let (BrokerState::AsksForOther(_), Some(Presence { process, machine })) =
            (self.broker, notes::read(&message.payload))
        {
            return self.leave_to_other(&format!("process {process} on {}", ForeignText::of(&machine)));
        }
        let Some(Control { coordinator, epoch, ended: false }) = notes::read(&message.payload) else {
            return;
        };
        if (epoch, coordinator) > (self.epoch, self.coordinator) {
            self.leave_to_other("another process");
        }
    }

    /// Answers whoever asks whether somebody coordinates this run.
    fn tell_presence(&mut self, message: &Message) {
        let presence = own_presence();
        if message.reply.is_some() {
            // No coordinator may publish into the inbox of another; all hear what is said of a run.
            self.client.publish(&subjects::control(self.run), None, &[&notes::write(&presence)]);
        }
    }

    /// Handles an answer of the broker.
    fn answered(&mut self, token: &str, message: &Message) {
        let (answer, now) = (Answer::read(&message.payload), self.now());
        match token {
            "other" if matches!(self.broker, BrokerState::AsksForOther(_)) && message.status == Some(503) => {
                self.delete_left_stream();
            }
            "deleted" if matches!(self.broker, BrokerState::DeletesStream(_)) => {
                if std::mem::take(&mut self.resumes) {
                    self.client.subscribe(&subjects::presence(self.run));
                }
                self.make_stream();
            }
            "streams" => {
                for run in answer.streams.iter().filter_map(jetstream::StreamInfo::run).filter(|run| *run != self.run) {
                    let reply = self.reply(&format!("over-{run}"));
                    self.client.publish(&subjects::presence(run), Some(&reply), &[]);
                }
            }
            "objects" => self.hear_server(message),
            "stream" if answer.created.is_some() => {
                let before = std::mem::replace(&mut self.created, answer.created);
                if before.is_some() && before != self.created {
                    self.slots.stream_lost(now);
                }
                self.make_consumer();
            }
            "consumer" if answer.created.is_some() => {
                self.broker = BrokerState::Ready;
                self.slots.publish_unconfirmed(now);
                self.say_control(false);
                self.sweep();
            }
            "stream" if answer.error.as_ref().is_some_and(|error| error.err_code == STREAM_DIFFERS) => {
                self.update_stream("stream");
            }
            "grown" => {
                if let Some(error) = answer.error.filter(|error| error.code != 404) {
                    let why = ForeignText::of(&error.description);
                    self.tell(RemoteEvent::News(format!(
                        "{} has no room for more chunks at a time: {why}",
                        self.access
                    )));
                }
            }
            "stream" | "consumer" if self.created.is_none() => {
                let why = match (message.status, answer.error) {
                    (Some(503), _) => NO_JETSTREAM.to_owned(),
                    (_, Some(error)) => error.why(self.storage),
                    _ => return,
                };
                // It may just be starting, or another of its cluster.
                if now >= FIRST_CONNECTION || message.status.is_none() || self.lacks_jetstream {
                    self.tell(RemoteEvent::Failed(Error::Broker(format!("{} cannot carry a run: {why}", self.access))));
                }
            }
            "consumer" if self.broker != BrokerState::Ready => self.make_stream(),
            "ask" => match (answer.delivered, answer.error) {
                (Some(delivered), _) => {
                    self.slots.delivered(delivered.stream_seq, answer.num_pending == Some(0), now);
                }
                (None, Some(error)) if error.code == 404 && self.broker == BrokerState::Ready => self.make_stream(),
                _ => {}
            },
            token if token.starts_with("over-") => {
                // Nobody answers for the run.
                if let (Some(503), Some(run)) = (message.status, RunId::of_token(token.trim_start_matches("over-"))) {
                    self.client.publish(&jetstream::delete_stream(run), Some(&self.reply("discarded")), &[]);
                }
            }
            token => {
                let copy = token.strip_prefix('p').and_then(|copy| copy.parse::<CopyNumber>().ok());
                match (copy, answer.error, answer.seq) {
                    // It comes with a number, too, which is none.
                    (Some(copy), Some(error), _) => self.not_stored(copy, &error),
                    (Some(copy), None, Some(sequence)) => {
                        self.told_not_stored = false;
                        self.slots.confirmed(copy, sequence, now);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Handles that the broker does not store a chunk, as with a full disk.
    fn not_stored(&mut self, copy: CopyNumber, error: &AnswerError) {
        self.tell_not_stored(&error.description);
        self.slots.not_stored(copy, self.now());
    }

    fn tell_not_stored(&mut self, why: &str) {
        if !std::mem::replace(&mut self.told_not_stored, true) {
            let why = ForeignText::of(why);
            self.tell(RemoteEvent::News(format!("{} stores no chunks: {why}; hosts get them past it", self.access)));
        }
    }

    // ---- hosts -------------------------------------------------------------------------------------------------------

    /// Handles that a host has sent what no host sends.
    fn breach(&mut self, host: &HostName) {
        self.slots.breach(host, self.now());
    }

    /// Gives a host bytes that it asks for.
    fn give(&mut self, message: &Message) {
        let (Some(reply), Some(wanted)) = (&message.reply, notes::read::<Wanted>(&message.payload)) else {
            return;
        };
        let most = self.longest_part;
        let part = |bytes: &[u8], offset| {
            let rest = bytes.get(place(offset)..).unwrap_or_default();
            (bytes.len(), rest[..rest.len().min(most)].to_vec())
        };
        let (len, part) = match wanted {
            Wanted::Manifest { offset } => part(&self.manifest, offset),
            Wanted::Task { offset } => part(&self.wasm, offset),
            Wanted::Chunk { copy, offset } => {
                let chunk = self.slots.slot_of(copy).and_then(|slot| self.chunks.get(&slot));
                let Some(chunk) = chunk else {
                    return;
                };
                (chunk.items.size(), chunk.items.bytes_at(place(offset), most))
            }
        };
        self.client.publish(reply, None, &[&(len as u64).to_le_bytes(), &part]);
    }

    /// Takes outcomes that a host sends.
    fn take(&mut self, host: &HostName, message: Message) {
        let now = self.now();
        let Some((head, body)) = OutcomesHead::parse(&message.payload) else {
            return self.breach(host);
        };
        match self.slots.outcomes(host, &head, now) {
            Verdict::Later => {}
            Verdict::Taken => self.answer(message.reply.as_deref(), true),
            Verdict::Unwanted => self.answer(message.reply.as_deref(), false),
            Verdict::Take { slot, noted } => {
                let most = self.most_outcome;
                let Some(chunk) = self.chunks.get_mut(&slot) else {
                    return;
                };
                // Each part that is not the last has something, so that there is an end of them.
                if body.is_empty() && !head.last {
                    return self.slots.broken(slot, now);
                }
                if body.len() >= self.longest_part / LARGE {
                    self.slots.large_part(slot);
                }
                if head.part == 0 {
                    chunk.gathering = Gathering::new(head.name.count, most);
                    chunk.compared = 0;
                }
                match chunk.gathering.take(body, head.last) {
                    Ok(whole) if noted => {
                        if head.part == 0 {
                            chunk.noted.clear();
                        }
                        chunk.noted.extend(each(&whole).map(|outcome| self::noted(&outcome)));
                        chunk.noted_by = Some(host.clone());
                        self.answer(message.reply.as_deref(), true);
                        self.slots.answered(slot, now);
                    }
                    Ok(whole) => {
                        let compared = chunk.compare(&whole);
                        if let Comparison::Disputed { item, first } = compared {
                            return self.disputed(slot, item, first.then_some(&whole), host, &message, head.last);
                        }
                        if head.last && !self.disputes.is_empty() {
                            let items = chunk.name.items();
                            self.disputes.retain(|item, _| !items.contains(item));
                        }
                        if let Comparison::Differ(item, other) = compared {
                            let why = format!(
                                "hosts {other} and {host} have different outcomes of item {item}, though the run is \
                                 deterministic: one of them is faulty, or lies"
                            );
                            return self.tell(RemoteEvent::Failed(Error::Broker(why)));
                        }
                        chunk.answer = Some((message.reply.unwrap_or_default(), head.last));
                        let (outcomes, host) = (Box::new(WholeOutcomes(whole)), host.shared());
                        self.tell(RemoteEvent::Outcomes { slot, host, outcomes });
                    }
                    Err(_) => self.slots.broken(slot, now),
                }
            }
        }
    }

    /// Handles that one of two hosts tells of an item only that its worker was lost or late, and the other has an outcome. `whole`
    /// are the outcomes of the second, if it is the first that has none.
    fn disputed(
        &mut self,
        slot: SlotId,
        item: u64,
        whole: Option<&Bytes>,
        host: &HostName,
        message: &Message,
        last: bool,
    ) {
        let now = self.now();
        let Some(chunk) = self.chunks.get_mut(&slot) else { return };
        let times = self.disputes.entry(item).or_default();
        *times += 1;
        if *times >= MOST_DISPUTES {
            let other = chunk.noted_by.as_ref().map_or("another", HostName::as_str);
            let why = format!(
                "hosts {other} and {host} do not agree on item {item}: its worker was lost or late on one of them, and not on the \
                 other, {MOST_DISPUTES} times: one of them is faulty, lies, or has too little time or memory"
            );
            return self.tell(RemoteEvent::Failed(Error::Broker(why)));
        }
        let replaces = whole.filter(|_| last);
        if let Some(whole) = replaces {
            chunk.noted = each(whole).map(|outcome| noted(&outcome)).collect();
            chunk.noted_by = Some(host.clone());
        }
        self.answer(message.reply.as_deref(), false);
        self.slots.disputed(slot, replaces.is_some(), now);
    }

    fn answer(&self, reply: Option<&str>, goes_on: bool) {
        if let Some(reply) = reply.filter(|reply| !reply.is_empty()) {
            self.client.publish(reply, None, &[if goes_on { b"+" } else { b"-" }]);
        }
    }

    /// Handles that the supervisor has taken what came last from a slot.
    fn taken(&mut self, slot: SlotId) {
        let now = self.now();
        if let Some((reply, last)) = self.chunks.get_mut(&slot).and_then(|chunk| chunk.answer.take()) {
            self.answer(Some(&reply), true);
            self.slots.answered(slot, now);
            if last {
                self.chunks.remove(&slot);
            }
        }
    }

    /// Carries out what the slots order.
    fn obey(&mut self) {
        while let Some(order) = self.slots.next_order() {
            match order {
                Order::Unconfirmed => self.tell_not_stored("it does not say that it has what it was sent"),
                Order::Publish { slot, copy } => self.publish(slot, copy),
                Order::Give { slot, copy, host } => self.give_chunk(slot, copy, &host),
                Order::Drop { copy, host } => {
                    self.client.publish(&subjects::dropped(&host, self.run, copy), None, &[]);
                }
                Order::Acknowledge(receipt) => {
                    self.progressed = true;
                    self.denied = self.denied.filter(|at| self.now().saturating_sub(*at) < PERMITTED_AGAIN * 2);
                    self.client.publish(&receipt.subject(&subjects::stream(self.run), CONSUMER), None, &[b"+ACK"]);
                }
                Order::Discard { sequence } => {
                    let (subject, asked) = jetstream::delete_message(self.run, sequence);
                    self.client.publish(&subject, Some(&self.reply("discarded")), &[&asked]);
                }
                Order::Ask => {
                    self.client.publish(&jetstream::consumer_info(self.run), Some(&self.reply("ask")), &[]);
                }
                Order::Slots { count, ahead } => {
                    self.make_room(count);
                    self.tell(RemoteEvent::Slots { count, ahead });
                }
                Order::Lose { slot, blamed, hosts } => {
                    self.chunks.remove(&slot);
                    self.tell(RemoteEvent::Lost { slot, blamed, how: lost_under(&hosts) });
                }
                Order::Refused(all) => self.tell(RemoteEvent::Failed(refused(all))),
                Order::Overdue { host, chunk } => self.tell(RemoteEvent::News(format!(
                    "host {host} has not answered items {} to {} in the time that they may take; they run elsewhere",
                    chunk.first,
                    chunk.items().end.saturating_sub(1)
                ))),
                Order::Shared(host) => self.tell(RemoteEvent::News(format!(
                    "two hosts have the name {host}: only the one that began first is heard; give the other another name"
                ))),
                Order::Host { host, change } => self.tell(RemoteEvent::Host(host.shared(), change)),
            }
        }
    }

    /// Has the message of a chunk sent, in parts: its header, and its items unless they are too long for a message.
    fn with_message(&self, slot: SlotId, copy: CopyNumber, send: impl FnOnce(&[&[u8]])) {
        let Some(chunk) = self.chunks.get(&slot) else {
            return;
        };
        let away = chunk.items.size() > self.longest_part;
        let head = ChunkHead { name: chunk.name, copy, size: chunk.items.size() as u64, away };
        let head = head.to_bytes();
        let mut parts = vec![&head[..]];
        if !away {
            parts.extend(chunk.items.parts());
        }
        send(&parts);
    }

    fn publish(&self, slot: SlotId, copy: CopyNumber) {
        if self.broker == BrokerState::Ready {
            let (subject, reply) = (subjects::chunks(self.run), self.reply(&format!("p{copy}")));
            let id = format!("{:x}.{copy}", self.coordinator);
            self.with_message(slot, copy, |parts| self.client.publish_once(&subject, &reply, &id, parts));
        }
    }

    /// Gives a chunk to a host, past the stream.
    fn give_chunk(&self, slot: SlotId, copy: CopyNumber, host: &HostLife) {
        let subject = subjects::given(host, self.run);
        self.with_message(slot, copy, |parts| self.client.publish(&subject, None, parts));
    }
}

impl SentChunk {
    /// Compares outcomes that a second host delivers with what is kept in mind.
    fn compare(&mut self, outcomes: &Bytes) -> Comparison {
        let Some(first) = self.noted_by.clone() else {
            return Comparison::Same;
        };
        let mut disputed = Comparison::Same;
        for outcome in each(outcomes) {
            let (other, item) =
                (self.noted.get(self.compared).copied().flatten(), self.name.first + self.compared as u64);
            self.compared += 1;
            match (noted(&outcome), other) {
                (Some(one), Some(other)) if one != other => return Comparison::Differ(item, first),
                (Some(_), Some(_)) | (None, None) => {}
                (one, _) if disputed == Comparison::Same => {
                    disputed = Comparison::Disputed { item, first: one.is_some() };
                }
                _ => {}
            }
        }
        disputed
    }
}

/// Returns what a run asks of hosts.
fn asked(grants: &Grants) -> Result<AskedGrants, Error> {
    let Grants { env, directories, peers, scratch } = grants;
    let directories = directories.iter().map(|DirectoryGrant { host, guest, writable }| match host.to_str() {
        Some(path) if host.is_absolute() => {
            Ok(AskedDirectory { host: path.to_owned(), guest: guest.clone(), writable: *writable })
        }
        _ => {
            let shown = ForeignText::of(host).to_string();
            Err(Error::Broker(format!("a directory on hosts is named by its whole path in UTF-8, unlike {shown}")))
        }
    });
    Ok(AskedGrants {
        env: env.clone(),
        directories: directories.collect::<Result<_, _>>()?,
        peers: peers.iter().map(|PeerGrant { host, port }| (host.clone(), *port)).collect(),
        scratch: scratch.clone(),
    })
}

/// Returns the error of a run that every host refuses, of which the first refusal concerns the user most.
fn refused(all: Vec<(HostName, Refusal)>) -> Error {
    let Some((host, first)) = all.first() else {
        return Error::Broker("no host serves this run".to_owned());
    };
    let said = first.message.clone();
    match first.cause {
        RefusalCause::Task => TaskError::Unusable(said).into(),
        RefusalCause::Sandbox => Error::SandboxOfHost { host: host.to_string(), why: said },
        RefusalCause::Host => Error::Broker(format!("no host serves this run; {host}: {}", ForeignText::of(&said))),
        RefusalCause::Version => {
            let each: Vec<String> =
                all.iter().map(|(host, refusal)| format!("{host}: {}", ForeignText::of(&refusal.message))).collect();
            Error::Broker(format!("no host has the version that this run wants; {}", each.join("; ")))
        }
    }
}

/// Returns a place in bytes that a host names.
fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Returns the maximum bytes of the stream for the chunks of so many slots. Each chunk is in it once, as a rule.
fn stream_bytes(slots: usize) -> usize {
    2 * wasmpool_scheduler::window(slots)
}

/// Returns what is said of an item under which hosts were lost.
fn lost_under(hosts: &[HostName]) -> String {
    let names: Vec<String> = hosts.iter().map(HostName::to_string).collect();
    match names.len() {
        0 => "the host was lost under this item".to_owned(),
        1 => format!("the host was lost under this item, each time that it had it ({})", names.join(", ")),
        count => format!("{count} hosts were lost under this item ({})", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmpool_hosts::outcomes::append;
    use wasmpool_ipc::lane::frame::OutcomeHeader;

    fn outcomes(all: &[(OutcomeTag, &[u8])]) -> Bytes {
        let mut bytes = Vec::new();
        for (at, (tag, payload)) in all.iter().enumerate() {
            let header = OutcomeHeader { tag: *tag, len: payload.len() as u32, elapsed: Time::from_millis(at as u64) };
            append(at as u32, header, &[payload], &mut bytes);
        }
        bytes.into()
    }

    fn comparison(one: &[(OutcomeTag, &[u8])], other: &[(OutcomeTag, &[u8])]) -> Comparison {
        let one = outcomes(one);
        let mut chunk = SentChunk {
            name: ChunkName { first: 40, count: 2, digest: Digest([0; 16]) },
            items: ChunkItems::default(),
            gathering: Gathering::new(2, 100),
            noted: each(&one).map(|outcome| noted(&outcome)).collect(),
            noted_by: Some(HostName::of_text("a")),
            compared: 0,
            answer: None,
        };
        chunk.compare(&outcomes(other))
    }

    #[test]
    fn the_first_item_is_found_of_which_two_hosts_differ() {
        use OutcomeTag::{Failure, Value};
        let lost: &[u8] = br#"{"kind":"worker-lost","message":"a"}"#;
        let trap: &[u8] = br#"{"kind":"trap","message":"a"}"#;
        let differ = |item| Comparison::Differ(item, HostName::of_text("a"));
        assert_eq!(comparison(&[(Value, b"1"), (Value, b"2")], &[(Value, b"1"), (Value, b"2")]), Comparison::Same);
        assert_eq!(comparison(&[(Value, b"1"), (Value, b"2")], &[(Value, b"1"), (Value, b"3")]), differ(41));
        assert_eq!(comparison(&[(Value, b"1"), (Value, b"2")], &[(Value, b"0"), (Value, b"3")]), differ(40));
        assert_eq!(comparison(&[(Value, b"1"), (Value, trap)], &[(Value, b"1"), (Failure, trap)]), differ(41));
        // A lost worker says nothing of the task: it is no difference, and no agreement either.
        let disputed = |item, first| Comparison::Disputed { item, first };
        assert_eq!(comparison(&[(Failure, lost), (Value, b"2")], &[(Value, b"1"), (Value, b"2")]), disputed(40, true));
        assert_eq!(comparison(&[(Value, b"1"), (Value, b"2")], &[(Value, b"1"), (Failure, lost)]), disputed(41, false));
        assert_eq!(comparison(&[(Failure, lost), (Value, b"2")], &[(Value, b"1"), (Value, b"3")]), differ(41));
        assert_eq!(comparison(&[(Failure, lost), (Value, b"2")], &[(Failure, lost), (Value, b"2")]), Comparison::Same);
    }
}
