//! The coordinator: the thread between a run's supervisor and the broker. It publishes chunks, keeps their items until
//! their outcomes are taken, and passes outcomes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::client::{Client, ClientEvent, Message};
use crate::jetstream::{self, Answer};
use crate::objects::far::{self, FarInput, ServedObjects};
use crate::random;
use crate::url::BrokerUrl;
use wasmpool_core::policy::TaskCall;
use wasmpool_core::text::ForeignText;
use wasmpool_hosts::PROTOCOL;
use wasmpool_hosts::chunk::{ChunkHead, ChunkName, CopyNumber};
use wasmpool_hosts::digest::Digest;
use wasmpool_hosts::names::{HostName, RunId};
use wasmpool_hosts::notes::{self, Control, Manifest, RefusalCause, RunBeat, Wanted};
use wasmpool_hosts::outcomes::{Gathering, OutcomesHead, each};
use wasmpool_hosts::slots::{Order, SlotId, Slots, Time, Verdict};
use wasmpool_hosts::subjects::{self, CONSUMER, FromHost};
use wasmpool_hosts::tunnel::far::SiteName;
use wasmpool_ipc::lane::frame::ChunkHeader;
use wasmpool_run::compile::Wasm;
use wasmpool_run::error::{Error, TaskError};
use wasmpool_run::scarce::start_thread;
use wasmpool_run::shared::SharedObjects;
use wasmpool_run::supervisor::{Event, EventSender, RemoteEvent, RemoteOutcome, RemoteSlots, most_of_outcome};
use wasmpool_scheduler::WorkerId;

/// Time between two looks at what may be late.
const LOOK: Duration = Duration::from_millis(250);
/// Time between two beats to hosts.
const BEAT: Duration = Duration::from_secs(2);
/// Time after which a request to the broker is made again.
const REQUEST: Duration = Duration::from_secs(2);
/// Time within which the broker has to be reached at the start, and from which on the user is told that something is
/// waited for.
const FIRST_CONNECTION: Duration = Duration::from_secs(10);
const TELL_AFTER: Duration = Duration::from_secs(5);
/// Time without anything from the broker after which the silence of hosts means nothing.
const BROKER_SILENCE: Duration = Duration::from_secs(3);
/// Time that the broker has for the last request.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Maximum bytes of all chunks in the stream. The number of slots bounds them sooner.
const STREAM: usize = 1 << 30;

/// A run over many machines.
#[derive(Debug)]
pub struct CoordinatedRun {
    pub url: BrokerUrl,
    /// Maximum number of chunks that are with hosts at a time.
    pub most: Option<usize>,
    pub max_items_per_worker: Option<u64>,
    /// Where the shared objects are that the call grants.
    pub objects: ObjectsPlace,
}

/// Where the shared objects of a run are.
#[derive(Clone, Debug, Default)]
pub enum ObjectsPlace {
    /// There are none.
    #[default]
    Nowhere,
    /// In this process.
    Here(Arc<SharedObjects>),
    /// In the server of this name.
    Server(HostName),
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
    Send { slot: WorkerId, chunk: ChunkHeader, items: Bytes },
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
    /// [`Error::System`] if there is no room for a thread. That the broker cannot be reached is told to the supervisor.
    pub fn start(
        run: CoordinatedRun,
        task: &Wasm,
        call: &TaskCall,
        supervisor: EventSender,
    ) -> Result<Coordinator, Error> {
        let wasm = task.bytes()?;
        let manifest = Manifest {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            task_name: task.name().to_owned(),
            task_hash: task.hash().to_owned(),
            call: call.clone(),
            max_items_per_worker: run.max_items_per_worker,
            objects: match &run.objects {
                ObjectsPlace::Server(name) => Some(name.as_str().to_owned()),
                ObjectsPlace::Nowhere | ObjectsPlace::Here(_) => None,
            },
        };
        let id = RunId(random::bytes()?);
        let (commands, inputs) = mpsc::channel();
        let from_broker = commands.clone();
        let far = far::parts()?;
        let packets = far.0.clone();
        let client = Client::start(run.url.clone(), "wasmpool map", move |event| {
            if let ClientEvent::Connected(info) = &event {
                packets.tell(FarInput::Connected(info.longest_part()));
            }
            if let ClientEvent::Message(message) = &event
                && let Some((FromHost::Objects, host)) = FromHost::parse(&message.subject, id)
            {
                return packets.tell(FarInput::Packet(SiteName { host, run: id }, message.payload.clone()));
            }
            // If the coordinator is gone, the connection ends soon.
            let _ = from_broker.send(Input::Broker(event));
        })?;
        let client = Arc::new(client);
        let inbox = format!("_INBOX.{}", RunId(random::bytes()?));
        client.subscribe(&format!("{inbox}.*"));
        [FromHost::Outcomes, FromHost::Beat, FromHost::Fetch]
            .iter()
            .for_each(|kind| client.subscribe(&kind.of_all(id)));
        let objects = match run.objects {
            ObjectsPlace::Here(objects) => {
                client.subscribe(&FromHost::Objects.of_all(id));
                Some(ServedObjects::start(far, client.clone(), objects, &call.given.shared)?)
            }
            ObjectsPlace::Nowhere | ObjectsPlace::Server(_) => None,
        };
        let thread = CoordinatorThread {
            run: id,
            url: run.url,
            coordinator: u64::from_le_bytes(random::bytes()?),
            client,
            inbox,
            supervisor: supervisor.clone(),
            started: Instant::now(),
            slots: Slots::new(run.most),
            chunks: BTreeMap::new(),
            manifest: notes::write(&manifest).into(),
            wasm: wasm.into(),
            most_outcome: most_of_outcome(call),
            longest_part: 1,
            broker: BrokerState::Never,
            created: None,
            next_beat: Time::ZERO,
            next_look: Time::ZERO,
            away_since: Some(Time::ZERO),
            told_away: false,
            idle_since: Some(Time::ZERO),
            told_idle: false,
            _objects: objects,
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
    fn send(&mut self, slot: WorkerId, chunk: ChunkHeader, items: Vec<u8>) {
        self.tell(Input::Send { slot, chunk, items: items.into() });
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
    /// It was asked for the stream, or for the consumer, at this time.
    MakesStream(Time),
    MakesConsumer(Time),
    Ready,
}

/// The chunk of a slot.
#[derive(Debug)]
struct SentChunk {
    name: ChunkName,
    items: Bytes,
    gathering: Gathering,
    /// Where the host waits that sent what is being taken, and whether it was the last part.
    answer: Option<(String, bool)>,
}

struct CoordinatorThread {
    run: RunId,
    url: BrokerUrl,
    /// The number of this process among those that coordinate the run.
    coordinator: u64,
    client: Arc<Client>,
    inbox: String,
    supervisor: EventSender,
    started: Instant,
    slots: Slots,
    chunks: BTreeMap<SlotId, SentChunk>,
    manifest: Bytes,
    wasm: Bytes,
    /// Maximum bytes of an outcome.
    most_outcome: u64,
    /// Maximum bytes of items in a message.
    longest_part: usize,
    broker: BrokerState,
    /// When the stream was made, in the broker's words.
    created: Option<String>,
    next_beat: Time,
    next_look: Time,
    /// Since when the broker could not be reached, and since when no host has served the run; and whether that was told.
    away_since: Option<Time>,
    told_away: bool,
    idle_since: Option<Time>,
    told_idle: bool,
    /// Lets hosts take part in the shared objects.
    _objects: Option<ServedObjects>,
}

impl CoordinatorThread {
    fn run(mut self, inputs: &Receiver<Input>) {
        loop {
            let now = self.now();
            let wait = self.next_look.min(self.next_beat).saturating_sub(now);
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
                let name = ChunkName { first, count, digest: Digest::of(&items) };
                let gathering = Gathering::new(count, self.most_outcome);
                self.chunks.insert(slot, SentChunk { name, items, gathering, answer: None });
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
        self.say_control(true);
        self.client.publish(&jetstream::delete_stream(self.run), Some(&self.reply("end")), &[]);
        self.client.flush();
        if self.broker == BrokerState::Never || self.away_since.is_some() {
            return;
        }
        let until = Instant::now() + LAST_WORDS;
        let ended = self.reply("end");
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match inputs.recv_timeout(left) {
                Ok(Input::Broker(ClientEvent::Message(message))) if message.subject == ended => return,
                Ok(Input::Broker(ClientEvent::Disconnected(_))) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn reply(&self, token: &str) -> String {
        format!("{}.{token}", self.inbox)
    }

    fn say_control(&mut self, ended: bool) {
        self.next_beat = self.now() + BEAT;
        let control = notes::write(&Control { coordinator: self.coordinator, ended });
        self.client.publish(&subjects::control(self.run), None, &[&control]);
    }

    // ---- time --------------------------------------------------------------------------------------------------------

    fn look(&mut self) {
        let now = self.now();
        if now >= self.next_beat {
            self.say_control(false);
        }
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        match self.broker {
            BrokerState::MakesStream(since) if now - since >= REQUEST => self.make_stream(),
            BrokerState::MakesConsumer(since) if now - since >= REQUEST => self.make_consumer(),
            _ => {}
        }
        let reached =
            !matches!(self.broker, BrokerState::Never | BrokerState::Away) && self.client.heard_within(BROKER_SILENCE);
        match (reached, self.away_since) {
            (true, Some(_)) => {
                self.away_since = None;
                self.slots.broker_back(now);
                if std::mem::take(&mut self.told_away) {
                    self.tell(RemoteEvent::News(format!("{} is there again", self.url)));
                }
            }
            (true, None) => self.slots.tick(now),
            (false, None) => self.away_since = Some(now),
            (false, Some(since)) => self.look_for_broker(since, now),
        }
        if reached {
            self.look_for_hosts(now);
        }
    }

    fn look_for_broker(&mut self, since: Time, now: Time) {
        if self.broker == BrokerState::Never || now - since < TELL_AFTER {
            return;
        }
        if !std::mem::replace(&mut self.told_away, true) {
            self.tell(RemoteEvent::News(format!("{} cannot be reached; the run waits for it", self.url)));
        }
    }

    fn look_for_hosts(&mut self, now: Time) {
        let (hosts, workers) = self.slots.serving();
        if hosts > 0 {
            self.idle_since = None;
            if std::mem::take(&mut self.told_idle) {
                let (s, n) = (if hosts == 1 { "" } else { "s" }, if workers == 1 { "" } else { "s" });
                self.tell(RemoteEvent::News(format!("{hosts} host{s} with {workers} worker{n} at {}", self.url)));
            }
            return;
        }
        let since = *self.idle_since.get_or_insert(now);
        if now - since >= TELL_AFTER && !std::mem::replace(&mut self.told_idle, true) {
            self.tell(RemoteEvent::News(format!(
                "no host serves this run; it waits for one (wasmpool serve, version {}) at {}",
                env!("CARGO_PKG_VERSION"),
                self.url
            )));
        }
    }

    // ---- the broker --------------------------------------------------------------------------------------------------

    fn hear(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Connected(info) => {
                self.longest_part = info.longest_part();
                self.make_stream();
            }
            ClientEvent::Disconnected(e) if self.broker == BrokerState::Never => {
                if self.now() >= FIRST_CONNECTION {
                    self.tell(RemoteEvent::Failed(Error::Broker(format!("{} cannot be reached: {e}", self.url))));
                }
            }
            ClientEvent::Disconnected(_) => self.broker = BrokerState::Away,
            ClientEvent::Refused(why) if self.broker == BrokerState::Never => {
                self.tell(RemoteEvent::Failed(Error::Broker(format!(
                    "{} refuses the connection: {}",
                    self.url,
                    ForeignText::of(&why)
                ))));
            }
            ClientEvent::Refused(_) => self.broker = BrokerState::Away,
            ClientEvent::Message(message) => self.receive(message),
        }
    }

    fn make_stream(&mut self) {
        self.broker = BrokerState::MakesStream(self.now());
        let (subject, asked) = jetstream::create_stream(self.run, STREAM);
        self.client.publish(&subject, Some(&self.reply("stream")), &[&asked]);
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
        let Some((kind, host)) = FromHost::parse(&message.subject, self.run) else {
            return;
        };
        let now = self.now();
        match kind {
            FromHost::Beat => match notes::read::<RunBeat>(&message.payload) {
                Some(beat) => self.slots.beat(&host, &beat, now),
                None => self.slots.breach(&host, now),
            },
            FromHost::Fetch => self.give(&message),
            FromHost::Outcomes => self.take(&host, message),
            // It was passed on before.
            FromHost::Objects => {}
        }
    }

    /// Handles an answer of the broker.
    fn answered(&mut self, token: &str, message: &Message) {
        let (answer, now) = (Answer::read(&message.payload), self.now());
        match token {
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
            }
            "stream" | "consumer" if self.created.is_none() => {
                let why = match (message.status, answer.error) {
                    (Some(503), _) => "it has no JetStream, which has to be switched on (nats-server -js)".to_owned(),
                    (_, Some(error)) => ForeignText::of(&error.description).to_string(),
                    _ => return,
                };
                // It may just be starting.
                if now >= FIRST_CONNECTION || message.status.is_none() {
                    self.tell(RemoteEvent::Failed(Error::Broker(format!("{} cannot carry a run: {why}", self.url))));
                }
            }
            "consumer" if self.broker != BrokerState::Ready => self.make_stream(),
            "ask" => match (answer.delivered, answer.error) {
                (Some(delivered), _) => self.slots.delivered(delivered.stream_seq, now),
                (None, Some(error)) if error.code == 404 && self.broker == BrokerState::Ready => self.make_stream(),
                _ => {}
            },
            token => {
                let copy = token.strip_prefix('p').and_then(|copy| copy.parse::<CopyNumber>().ok());
                if let (Some(copy), Some(sequence)) = (copy, answer.seq) {
                    self.slots.confirmed(copy, sequence);
                }
            }
        }
    }

    // ---- hosts -------------------------------------------------------------------------------------------------------

    /// Gives a host bytes that it asks for.
    fn give(&mut self, message: &Message) {
        let (Some(reply), Some(wanted)) = (&message.reply, notes::read::<Wanted>(&message.payload)) else {
            return;
        };
        let (bytes, offset) = match wanted {
            Wanted::Manifest { offset } => (&self.manifest, offset),
            Wanted::Task { offset } => (&self.wasm, offset),
            Wanted::Chunk { copy, offset } => {
                let chunk = self.slots.slot_of(copy).and_then(|slot| self.chunks.get(&slot));
                let Some(chunk) = chunk else {
                    return;
                };
                (&chunk.items, offset)
            }
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(self.longest_part).min(bytes.len());
        let part = bytes.get(start..end).unwrap_or_default();
        self.client.publish(reply, None, &[&(bytes.len() as u64).to_le_bytes(), part]);
    }

    /// Takes outcomes that a host sends.
    fn take(&mut self, host: &HostName, message: Message) {
        let now = self.now();
        let Some((head, body)) = OutcomesHead::parse(&message.payload) else {
            return self.slots.breach(host, now);
        };
        match self.slots.outcomes(host, &head, now) {
            Verdict::Later => {}
            Verdict::Taken => self.answer(message.reply.as_deref(), true),
            Verdict::Unwanted => self.answer(message.reply.as_deref(), false),
            Verdict::Take { slot } => {
                let Some(chunk) = self.chunks.get_mut(&slot) else {
                    return;
                };
                match chunk.gathering.take(body, head.last) {
                    Ok(whole) => {
                        chunk.answer = Some((message.reply.unwrap_or_default(), head.last));
                        let outcomes = each(&whole).map(|outcome| RemoteOutcome {
                            worker: outcome.worker,
                            header: outcome.header,
                            payload: whole.slice_ref(outcome.payload),
                        });
                        let (outcomes, host) = (outcomes.collect(), host.shared());
                        self.tell(RemoteEvent::Outcomes { slot, host, outcomes });
                    }
                    Err(_) => self.slots.broken(slot, now),
                }
            }
        }
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
                Order::Publish { slot, copy } => self.publish(slot, copy),
                Order::Acknowledge(receipt) => {
                    self.client.publish(&receipt.subject(&subjects::stream(self.run), CONSUMER), None, &[b"+ACK"]);
                }
                Order::Discard { sequence } => {
                    let (subject, asked) = jetstream::delete_message(self.run, sequence);
                    self.client.publish(&subject, Some(&self.reply("discarded")), &[&asked]);
                }
                Order::Ask => {
                    self.client.publish(&jetstream::consumer_info(self.run), Some(&self.reply("ask")), &[]);
                }
                Order::Slots(count) => self.tell(RemoteEvent::Slots(count)),
                Order::Lose { slot, blamed, hosts } => {
                    self.chunks.remove(&slot);
                    self.tell(RemoteEvent::Lost { slot, blamed, how: lost_under(&hosts) });
                }
                Order::Refused(host, refusal) => {
                    let said = refusal.message;
                    self.tell(RemoteEvent::Failed(match refusal.cause {
                        RefusalCause::Task => TaskError::Unusable(said).into(),
                        RefusalCause::Sandbox => Error::Sandbox(format!("on {host}: {said}")),
                        RefusalCause::Host => Error::Broker(format!("no host serves this run; {host}: {said}")),
                    }));
                }
            }
        }
    }

    fn publish(&self, slot: SlotId, copy: CopyNumber) {
        let Some(chunk) = self.chunks.get(&slot).filter(|_| self.broker == BrokerState::Ready) else {
            return;
        };
        let away = chunk.items.len() > self.longest_part;
        let head = ChunkHead { name: chunk.name, copy, size: chunk.items.len() as u64, away }.to_bytes();
        let items: &[u8] = if away { &[] } else { &chunk.items };
        let (subject, reply) = (subjects::chunks(self.run), self.reply(&format!("p{copy}")));
        self.client.publish_once(&subject, &reply, &format!("{:x}.{copy}", self.coordinator), &[&head, items]);
    }
}

/// Returns what is said of an item under which hosts were lost.
fn lost_under(hosts: &[HostName]) -> String {
    let names: Vec<String> = hosts.iter().map(HostName::to_string).collect();
    match names.len() {
        0 | 1 => "the host was lost under this item".to_owned(),
        count => format!("{count} hosts were lost under this item ({})", names.join(", ")),
    }
}
