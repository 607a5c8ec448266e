//! A host: it hears of runs, fetches their tasks, pulls chunks, has its workers run them, and sends the outcomes until the
//! coordinator has them.

mod policy;
mod run;
mod task;
mod tunnels;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::access::BrokerAccess;
use crate::client::{Client, ClientEvent, Cuts, Message, Outage, connection_ended, denied_subject};
use crate::jetstream::NO_JETSTREAM;
use crate::random;
pub use policy::{HostPolicy, LimitBounds};
use run::{HostContext, ServedRun};
use task::TaskNews;
use tunnels::Tunnels;
use wasmpool_core::policy::SandboxMode;
use wasmpool_core::text::ForeignText;
use wasmpool_hosts::PROTOCOL;
use wasmpool_hosts::names::{HostLife, HostName, RunId};
use wasmpool_hosts::notes::{self, Control, HostBeat, RefusalCause, own_target};
use wasmpool_hosts::subjects;
use wasmpool_run::error::Error;
use wasmpool_run::spawn::ChildProgram;

/// Time between two beats.
const BEAT: Duration = Duration::from_secs(1);
/// Time between two looks at what may be late.
const LOOK: Duration = Duration::from_millis(250);
/// Time for which a host listens, before it serves, whether another has its name.
const NAME_ASKED: Duration = Duration::from_millis(300);
/// Time that a host has to finish what it holds once it was told to end.
const LAST_WORK: Duration = Duration::from_secs(30);
/// Maximum number of runs that a host serves at a time, and that it knows of: of one that was only announced it keeps a name.
const MOST_RUNS: usize = 64;
/// Maximum number of reasons for leaving runs alone that a host tells.
const MOST_REASONS: usize = 8;
const MOST_ANNOUNCED: usize = 16 << 10;
/// What is told of a run whose coordinator has said so.
const ENDED: &str = "has ended";

/// The settings of a host.
#[derive(Clone, Debug)]
pub struct HostSettings {
    pub access: BrokerAccess,
    pub name: HostName,
    pub workers: usize,
    pub sandbox: SandboxMode,
    pub policy: HostPolicy,
    /// Maximum bytes that this process keeps of runs: tasks, items and outcomes; and as many of messages of shared objects.
    pub buffer: u64,
    /// The binary of its worker and compile processes.
    pub program: ChildProgram,
}

/// Something that happens to a host.
#[derive(Debug)]
enum Input {
    Broker(ClientEvent),
    Task(RunId, TaskNews),
    /// The host is to end: the first time when it has finished what it holds, the second time at once.
    Leave,
}

/// The way in which whoever started a host tells it to end.
#[derive(Clone, Debug)]
pub struct HostEnd(Sender<Input>);

impl HostEnd {
    /// Has the host end: the first time when it has finished what it holds, the second time at once.
    pub fn leave(&self) {
        let _ = self.0.send(Input::Leave);
    }
}

/// A host, which serves until it is told to end.
#[derive(Debug)]
pub struct Host {
    settings: HostSettings,
    inputs: Receiver<Input>,
    sender: Sender<Input>,
}

impl Host {
    pub fn new(settings: HostSettings) -> Host {
        let (sender, inputs) = mpsc::channel();
        Host { settings, inputs, sender }
    }

    pub fn end(&self) -> HostEnd {
        HostEnd(self.sender.clone())
    }

    /// Serves. `tell` is given what the user may want to know.
    ///
    /// # Errors
    ///
    /// [`Error::Broker`] if the message system cannot be reached at the start.
    pub fn serve(self, tell: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let Host { settings, inputs, sender } = self;
        let life = random::life()?;
        let from_broker = sender.clone();
        let inbox = subjects::inbox_of_life(&HostLife { name: settings.name.clone(), life });
        let tunnels = Tunnels::new(settings.buffer);
        let (ends, answered) = (tunnels.clone(), format!("{inbox}."));
        let client = Client::start(settings.access.clone(), "wasmpool serve", move |event| {
            // What is for workers that wait goes the shortest way.
            if let Some(event) = ends.pass_on(event, &answered) {
                let _ = from_broker.send(Input::Broker(event));
            }
        })?;
        let client = Arc::new(client);
        client.subscribe(&format!("{inbox}.>"));
        client.subscribe(&subjects::host(&settings.name));
        let now = Instant::now();
        let room = Cell::new(settings.buffer);
        let context =
            HostContext { settings, life, inbox, client, tunnels, longest_part: 1, leaving: false, full: false, room };
        let runs = BTreeMap::new();
        let serving = Serving {
            context,
            runs,
            sender,
            next_beat: now,
            next_look: now,
            begins: None,
            begun: false,
            outage: Outage::default(),
            cuts: Cuts::default(),
            lacks_jetstream: false,
            left: None,
            at_once: false,
        };
        serving.serve(&inputs, tell)
    }
}

struct Serving {
    context: HostContext,
    runs: BTreeMap<RunId, ServedRun>,
    sender: Sender<Input>,
    next_beat: Instant,
    next_look: Instant,
    /// When the host begins to serve, if no other has its name, and true once it has.
    begins: Option<Instant>,
    begun: bool,
    outage: Outage,
    cuts: Cuts,
    lacks_jetstream: bool,
    /// When the host was told to end, and whether it was told a second time.
    left: Option<Instant>,
    at_once: bool,
}

impl Serving {
    fn serve(mut self, inputs: &Receiver<Input>, tell: &mut dyn FnMut(&str)) -> Result<(), Error> {
        loop {
            let next = self.next_look.min(self.next_beat).min(self.begins.unwrap_or(self.next_look));
            let wait = next.saturating_duration_since(Instant::now());
            match inputs.recv_timeout(wait) {
                Ok(input) => {
                    let mut next = Some(input);
                    while let Some(input) = next {
                        self.handle(input, tell)?;
                        next = inputs.try_recv().ok();
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            let context = &self.context;
            self.runs.values_mut().for_each(|served| served.begin_named(context));
            if self.begins.is_some_and(|at| at <= Instant::now()) {
                self.begin(tell);
            }
            self.look(tell);
            self.outage.news(&self.context.settings.access).iter().for_each(|news| tell(news));
            self.context.client.flush();
            if self.has_left() {
                self.beat();
                return Ok(());
            }
        }
    }

    fn handle(&mut self, input: Input, tell: &mut dyn FnMut(&str)) -> Result<(), Error> {
        self.handle_input(input, tell)?;
        for why in self.runs.values_mut().filter_map(ServedRun::refusal_to_tell) {
            tell(&format!("a run is not served: {}", ForeignText::of(why)));
        }
        Ok(())
    }

    fn handle_input(&mut self, input: Input, tell: &mut dyn FnMut(&str)) -> Result<(), Error> {
        match input {
            Input::Broker(event) => self.hear(event, tell),
            Input::Task(run, news) => {
                let ended = matches!(news, TaskNews::Ended(_));
                if let Some(served) = self.runs.get_mut(&run) {
                    served.task_news(news, &self.context, tell);
                }
                if ended {
                    self.share();
                }
                Ok(())
            }
            Input::Leave => {
                // The second time, nothing is waited for.
                self.at_once = self.left.is_some();
                self.left.get_or_insert_with(Instant::now);
                self.context.leaving = true;
                let context = &self.context;
                self.runs.values_mut().for_each(|served| served.give_back(context));
                self.beat();
                Ok(())
            }
        }
    }

    /// Returns true if the host was told to end, and holds nothing any more or may wait no longer.
    fn has_left(&self) -> bool {
        self.left.is_some_and(|since| {
            self.at_once || since.elapsed() >= LAST_WORK || self.runs.values().all(ServedRun::is_idle)
        })
    }

    fn hear(&mut self, event: ClientEvent, tell: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let access = &self.context.settings.access;
        match event {
            ClientEvent::Connected(info) => {
                self.context.longest_part = info.longest_part();
                self.outage.end();
                let (lacked, lacks) = (self.lacks_jetstream, info.lacks_jetstream());
                self.lacks_jetstream = lacks;
                if lacks && !lacked {
                    tell(&format!("no run can be served over {access}: {NO_JETSTREAM}"));
                }
                match self.begun {
                    false => self.begins = Some(Instant::now() + NAME_ASKED),
                    true => tell(&access.reached_again()),
                }
                self.runs.values_mut().for_each(ServedRun::reconnected);
                self.beat();
                Ok(())
            }
            ClientEvent::NotYet(said) => {
                tell(&said);
                Ok(())
            }
            ClientEvent::Never(why) => Err(why),
            ClientEvent::Refused(why) => {
                self.outage.refused(access, &why).iter().for_each(|news| tell(news));
                Ok(())
            }
            ClientEvent::Disconnected { why, was_made } => {
                self.outage.begin();
                self.cuts.add(access, &why, was_made).iter().for_each(|news| tell(news));
                Ok(())
            }
            ClientEvent::Denied(why) => self.denied(&why),
            ClientEvent::Message(message, _held) if message.subject == subjects::host(&self.context.settings.name) => {
                self.hear_name(&message)
            }
            ClientEvent::Message(message, _held) => {
                self.receive(&message, tell);
                Ok(())
            }
        }
    }

    /// Handles that the server does not permit something. What only some runs need is a reason not to serve these.
    fn denied(&mut self, why: &str) -> Result<(), Error> {
        let HostSettings { name, access, .. } = &self.context.settings;
        let Some(run) = denied_subject(why).and_then(|subject| subjects::objects_asked(subject, name)) else {
            // Without the others a host can do nothing.
            return Err(Error::BrokerLogin(access.denial(format_args!("a host of the name {name}"), why)));
        };
        if let Some(served) = self.runs.get_mut(&run) {
            let why = access.denial("a run with these shared objects", why);
            served.refuse(RefusalCause::Host, why, &self.context);
            self.share();
        }
        Ok(())
    }

    /// Serves from now on, since no other has the host's name.
    fn begin(&mut self, tell: &mut dyn FnMut(&str)) {
        (self.begins, self.begun) = (None, true);
        self.context.client.subscribe(subjects::ALL_CONTROLS);
        self.beat();
        // Only now: whoever reads it may count on being heard.
        let HostSettings { name, workers, access, .. } = &self.context.settings;
        let s = if *workers == 1 { "" } else { "s" };
        tell(&format!("{name} serves with {workers} worker{s} at {access}"));
    }

    /// Handles what a host of this name says: this one, or another, to which this one leaves the name, or which is told.
    fn hear_name(&self, message: &Message) -> Result<(), Error> {
        let own = self.context.life;
        let Some(other) = notes::read::<HostBeat>(&message.payload).filter(|other| other.life != own) else {
            return Ok(());
        };
        if !other.has_name_before(own, !self.begun) {
            if other.starting {
                self.say_beat();
                self.context.client.flush();
            }
            return Ok(());
        }
        let HostSettings { name, access, .. } = &self.context.settings;
        let (version, workers) = (ForeignText::of(&other.version), other.workers);
        let s = if workers == 1 { "" } else { "s" };
        Err(Error::Broker(format!(
            "another host has the name {name} at {access}, and has had it first (wasmpool {version}, {workers} worker{s}): give \
             this one another name"
        )))
    }

    fn receive(&mut self, message: &Message, tell: &mut dyn FnMut(&str)) {
        if let Some(run) = subjects::controlled(&message.subject) {
            if let Some(control) = notes::read::<Control>(&message.payload) {
                self.controlled(run, control, tell);
            }
            return;
        }
        // A chunk comes under the name that it was published with, an answer under that of this host.
        let (run, rest) = match message.subject.strip_prefix(&self.context.inbox) {
            Some(rest) => {
                let mut tokens = rest.trim_start_matches('.').splitn(2, '.');
                (tokens.next().and_then(RunId::of_token), tokens.next())
            }
            None => (subjects::chunked(&message.subject), None),
        };
        if rest.is_some_and(|token| token.starts_with(['m', 't', 'c'])) {
            self.count_room();
        }
        let Some((run, served)) = run.and_then(|run| Some((run, self.runs.get_mut(&run)?))) else {
            return;
        };
        match rest {
            None => served.pulled_chunk(message, &self.context),
            Some(token) => {
                let sender = self.sender.clone();
                let begins = served.answer(token, message, &mut self.context, |work| {
                    task::start(work, move |news| {
                        let _ = sender.send(Input::Task(run, news));
                    })
                });
                if begins {
                    self.share();
                }
            }
        }
    }

    /// Counts what is left for more runs and for what they fetch.
    fn count_room(&mut self) {
        let (mut places, mut kept) = (0, 0);
        for served in self.runs.values() {
            places += usize::from(served.takes_place());
            kept += served.kept();
        }
        self.context.full = places >= MOST_RUNS;
        self.context.room.set(self.context.settings.buffer.saturating_sub(kept));
    }

    /// Handles what a coordinator says.
    fn controlled(&mut self, run: RunId, control: Control, tell: &mut dyn FnMut(&str)) {
        if let Some(served) = self.runs.get_mut(&run) {
            if served.is_coordinated_by(&control) {
                match control.ended {
                    true => self.drop_run(run, ENDED, tell),
                    false => served.heard_coordinator(),
                }
                return;
            }
            if !served.is_left_for(&control) {
                return;
            }
            self.drop_run(run, ENDED, tell);
        }
        if control.ended {
            return;
        }
        if !self.context.leaving && self.runs.len() < MOST_ANNOUNCED {
            let served = ServedRun::new(run, control);
            if !self.context.full {
                served.ask(&self.context);
            }
            self.runs.insert(run, served);
        }
    }

    fn drop_run(&mut self, run: RunId, how: &str, tell: &mut dyn FnMut(&str)) {
        if let Some(served) = self.runs.remove(&run) {
            if let Some(task) = served.task_name() {
                tell(&format!("the run of {} {how}", ForeignText::of(task)));
            }
            drop(served);
            self.share();
        }
    }

    /// Divides the workers among the runs.
    fn share(&mut self) {
        let running = self.runs.values().filter(|served| served.is_running()).count().max(1);
        let (each, more) = (self.context.settings.workers / running, self.context.settings.workers % running);
        for (at, served) in self.runs.values_mut().filter(|served| served.is_running()).enumerate() {
            served.set_workers((each + usize::from(at < more)).max(1));
        }
    }

    fn look(&mut self, tell: &mut dyn FnMut(&str)) {
        let now = Instant::now();
        if now >= self.next_beat {
            self.beat();
        }
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.count_room();
            let gone: Vec<RunId> =
                self.runs.iter().filter(|(_, served)| served.is_forgotten()).map(|(&run, _)| run).collect();
            for run in gone {
                self.drop_run(run, "is dropped here, since its coordinator is not heard any more", tell);
            }
            let context = &self.context;
            self.runs.values_mut().for_each(|served| served.look(context));
        }
        let context = &self.context;
        self.runs.values_mut().for_each(|served| served.pull(context));
    }

    fn beat(&mut self) {
        self.next_beat = Instant::now() + BEAT;
        self.say_beat();
        let context = &self.context;
        self.runs.values().for_each(|served| served.beat(context));
        context.client.flush();
    }

    /// Tells everybody of this host.
    fn say_beat(&self) {
        let context = &self.context;
        let reasons: BTreeSet<&str> = self.runs.values().filter_map(ServedRun::why_left_alone).collect();
        let beat = HostBeat {
            life: context.life,
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            target: own_target(),
            workers: u32::try_from(context.settings.workers).unwrap_or(u32::MAX),
            chunks: self.runs.values().map(|served| served.held() as u32).sum(),
            runs: self.runs.values().filter(|served| served.is_running()).count() as u32,
            leaves_alone: reasons.into_iter().take(MOST_REASONS).map(str::to_owned).collect(),
            starting: !self.begun,
        };
        context.client.publish(&subjects::host(&context.settings.name), None, &[&notes::write(&beat)]);
    }
}

/// Listens for this long which hosts there are. `tell` is given what the user may want to know meanwhile.
///
/// # Errors
///
/// [`Error::Broker`] if the message system cannot be reached.
pub fn hosts(
    access: &BrokerAccess,
    time: Duration,
    tell: &mut dyn FnMut(&str),
) -> Result<BTreeMap<HostName, HostBeat>, Error> {
    let (sender, inputs) = mpsc::channel();
    let client = Client::start(access.clone(), "wasmpool hosts", move |event| {
        let _ = sender.send(event);
    })?;
    client.subscribe(subjects::ALL_HOSTS);
    let mut found = BTreeMap::new();
    // Without the first connection, that there is none comes at last.
    let mut until = None::<Instant>;
    loop {
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        match inputs.recv_timeout(left) {
            Ok(ClientEvent::Connected(_)) => until = Some(Instant::now() + time),
            Ok(ClientEvent::NotYet(said)) => tell(&said),
            Ok(ClientEvent::Never(why)) => return Err(why),
            Ok(ClientEvent::Message(message, _held)) => {
                if let (Some(host), Some(beat)) = (subjects::beating(&message.subject), notes::read(&message.payload))
                    && !matches!(beat, HostBeat { starting: true, .. })
                {
                    found.insert(host, beat);
                }
            }
            Ok(ClientEvent::Disconnected { .. } | ClientEvent::Refused(_)) => {}
            Ok(ClientEvent::Denied(said)) => {
                return Err(Error::BrokerLogin(access.denial("the list of hosts", &said)));
            }
            Err(RecvTimeoutError::Timeout) => return Ok(found),
            Err(RecvTimeoutError::Disconnected) => return Err(connection_ended()),
        }
    }
}
