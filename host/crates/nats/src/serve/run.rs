//! A run that a host serves: its manifest and task while they come, the chunks that are held, and what is asked and said.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::HostSettings;
use super::task::{TaskNews, TaskWork, UnwantedItems};
use super::tunnels::{ObjectsWay, Tunnels};
use crate::client::{Client, Message};
use crate::jetstream;
use wasmpool_core::chain::with_sources;
use wasmpool_core::text::{ForeignText, bytes_said};
use wasmpool_hosts::PROTOCOL;
use wasmpool_hosts::ahead::{ChunkPace, most_ahead};
use wasmpool_hosts::chunk::{ChunkHead, CopyNumber};
use wasmpool_hosts::names::RunId;
use wasmpool_hosts::notes::{
    self, Control, EngineName, Manifest, ManifestHead, Refusal, RefusalCause, RunBeat, Wanted,
};
use wasmpool_hosts::outcomes::{OutcomesHead, Receipt};
use wasmpool_hosts::slots::MOST_HELD;
use wasmpool_hosts::subjects::FromHost;
use wasmpool_ipc::batch::Batch;
use wasmpool_run::compile::Wasm;
use wasmpool_run::error::Error;
use wasmpool_run::grants::Grants;
use wasmpool_run::rendered::RenderedOutcomes;
use wasmpool_run::supervisor::{Event, EventSender, Mailbox, RunEnd};

/// Time after which bytes are asked for again, and outcomes sent again.
const AGAIN: Duration = Duration::from_secs(1);
/// Time for which the broker keeps a pull.
const PULL: Duration = Duration::from_secs(5);
/// Time that the broker may be late with the end of a pull.
const PULL_SLACK: Duration = Duration::from_millis(500);
/// Time between pulls while the coordinator takes no outcomes.
const TRICKLE: Duration = Duration::from_secs(1);
/// Time without the coordinator after which no more is pulled, and after which the run is dropped.
const COORDINATOR_SILENCE: Duration = Duration::from_secs(10);
const COORDINATOR_GONE: Duration = Duration::from_secs(60);
/// Longest time between two questions for a manifest, which nobody may ever answer.
const SELDOM: Duration = Duration::from_secs(16);
/// Time without the coordinator after which another of the same epoch may take its place: it was killed before it had
/// recorded anything.
const COORDINATOR_LATE: Duration = Duration::from_secs(5);
/// Maximum bytes of a manifest, and of a task.
const MOST_MANIFEST: u64 = 16 << 20;
const MOST_TASK: u64 = 512 << 20;
/// Maximum bytes of a chunk whose items are fetched.
const MOST_CHUNK: u64 = 1 << 30;
/// Time that other hosts have to take a chunk for which there is no room here.
const OTHERS_HAVE_ROOM: Duration = Duration::from_secs(5);

/// What all runs of a host share.
pub(super) struct HostContext {
    pub settings: HostSettings,
    pub life: u64,
    /// The start of the subjects on which this host is answered.
    pub inbox: String,
    pub client: Arc<Client>,
    /// Where packets go that are for workers which share objects.
    pub tunnels: Tunnels,
    /// Maximum bytes of outcomes in a message.
    pub longest_part: usize,
    pub leaving: bool,
    /// True if this host serves as many runs as it can.
    pub full: bool,
    /// Number of bytes that may still be kept, over all runs.
    pub room: Cell<u64>,
}

impl HostContext {
    /// Counts bytes that are kept from now on, until all are counted again.
    fn take_room(&self, bytes: u64) {
        self.room.set(self.room.get().saturating_sub(bytes));
    }
}

/// Bytes that are fetched from the coordinator in parts.
#[derive(Debug)]
struct FetchedBytes {
    bytes: Vec<u8>,
    most: u64,
    asked: Instant,
    /// Time after which it is asked for again.
    again: Duration,
}

impl FetchedBytes {
    fn new(most: u64) -> FetchedBytes {
        FetchedBytes { bytes: Vec::new(), most, asked: Instant::now(), again: AGAIN }
    }

    /// Takes an answer, if it leaves `room` for that many bytes.
    fn take(&mut self, offset: u64, answer: &[u8], room: u64) -> Fetched {
        let Some((size, part)) = answer.split_first_chunk() else {
            return Fetched::Nothing;
        };
        let size = u64::from_le_bytes(*size);
        if size > self.most || part.len() as u64 > room {
            return Fetched::TooMuch;
        }
        // Nothing is asked for at once again where nothing came, so that nobody keeps this host busy by answering.
        if part.is_empty() && size > self.bytes.len() as u64 {
            return Fetched::Nothing;
        }
        // One that comes a second time is no answer to what was asked last.
        if offset != self.bytes.len() as u64 || offset + part.len() as u64 > size {
            return Fetched::Nothing;
        }
        self.again = AGAIN;
        // No more than there is, and twice what has come: a size alone takes no memory.
        if self.bytes.capacity() - self.bytes.len() < part.len() {
            let whole = usize::try_from(size).unwrap_or(usize::MAX);
            self.bytes
                .reserve_exact((self.bytes.len() + part.len()).max(self.bytes.len() * 2).min(whole) - self.bytes.len());
        }
        self.bytes.extend_from_slice(part);
        if self.bytes.len() as u64 == size { Fetched::All } else { Fetched::More }
    }

    /// Returns the offset of what is asked for now.
    fn next(&mut self) -> u64 {
        self.asked = Instant::now();
        self.bytes.len() as u64
    }
}

/// What an answer was for bytes that are fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fetched {
    Nothing,
    More,
    All,
    /// There are more than this host takes.
    TooMuch,
}

/// How far a run is.
enum Progress {
    Manifest(FetchedBytes),
    /// With what this host's policy grants.
    Task(Box<(Manifest, Grants)>, FetchedBytes),
    Running {
        supervisor: EventSender,
        unwanted: UnwantedItems,
        name: String,
        /// Number of workers for this run, and whether one is ready.
        workers: usize,
        ready: bool,
        /// True if its items share objects, and may wait for each other.
        waits_for_others: bool,
    },
    Refused(Refusal),
}

/// A chunk that a host holds.
struct HeldChunk {
    head: ChunkHead,
    receipt: Receipt,
    state: ChunkState,
}

enum ChunkState {
    /// Its items are fetched.
    Fetched(FetchedBytes),
    /// It waits until others end that have items of it.
    Waits(Batch),
    /// Workers have it since then, when they had this many `before`, and these outcomes are there, by their first item.
    Runs { since: Instant, before: usize, pieces: BTreeMap<u64, RenderedOutcomes>, done: u32 },
    /// Nobody wants it any more. Workers have it until so many outcomes are there as it has items.
    Unwanted { done: u32 },
    /// Its outcomes are sent, of which this part was sent last.
    Sent { outcomes: Bytes, part: u32, at: Instant },
}

impl ChunkState {
    /// Returns true if workers have items of the chunk.
    fn is_with_workers(&self) -> bool {
        matches!(self, ChunkState::Runs { .. } | ChunkState::Unwanted { .. })
    }
}

/// A run that a host serves, or would.
pub(super) struct ServedRun {
    run: RunId,
    coordinator: u64,
    epoch: u64,
    heard: Instant,
    progress: Progress,
    held: BTreeMap<CopyNumber, HeldChunk>,
    /// Since when no chunk came for which there is room, although none is held.
    lacks_room_since: Option<Instant>,
    told_refusal: bool,
    /// Pulls that the broker has: how many chunks they are for, and until when.
    pulls: VecDeque<(usize, Instant)>,
    pulled: Instant,
    pace: ChunkPace,
    /// True if a chunk came since the coordinator was told which are held.
    unnamed: bool,
}

impl ServedRun {
    pub fn new(run: RunId, control: Control) -> ServedRun {
        ServedRun {
            run,
            coordinator: control.coordinator,
            epoch: control.epoch,
            heard: Instant::now(),
            progress: Progress::Manifest(FetchedBytes::new(MOST_MANIFEST)),
            held: BTreeMap::new(),
            pulls: VecDeque::new(),
            pulled: Instant::now(),
            lacks_room_since: None,
            told_refusal: false,
            pace: ChunkPace::default(),
            unnamed: false,
        }
    }

    // ---- questions ---------------------------------------------------------------------------------------------------

    pub fn is_running(&self) -> bool {
        matches!(self.progress, Progress::Running { .. })
    }

    pub fn is_idle(&self) -> bool {
        self.held() == 0
    }

    /// Returns true if the run takes a place among those that this host serves.
    pub fn takes_place(&self) -> bool {
        matches!(self.progress, Progress::Task(..) | Progress::Running { .. })
    }

    /// Returns the number of bytes that are kept of the run: of what is being fetched, of items and of outcomes.
    pub fn kept(&self) -> u64 {
        let beside = match &self.progress {
            Progress::Manifest(fetched) | Progress::Task(_, fetched) => fetched.bytes.capacity(),
            Progress::Running { .. } | Progress::Refused(_) => 0,
        };
        let chunks = self.held.values().map(|HeldChunk { head, state, .. }| match state {
            ChunkState::Fetched(_) | ChunkState::Waits(_) | ChunkState::Unwanted { .. } => head.size,
            ChunkState::Runs { pieces, .. } => {
                head.size + pieces.values().map(RenderedOutcomes::bytes).sum::<usize>() as u64
            }
            ChunkState::Sent { outcomes, .. } => outcomes.len() as u64,
        });
        beside as u64 + chunks.sum::<u64>()
    }

    pub fn held(&self) -> usize {
        self.wanted().count()
    }

    /// Returns the chunks that the coordinator knows to be here.
    fn wanted(&self) -> impl Iterator<Item = (CopyNumber, &HeldChunk)> {
        let wanted = |held: &HeldChunk| !matches!(held.state, ChunkState::Unwanted { .. });
        self.held.iter().filter(move |(_, held)| wanted(held)).map(|(&copy, held)| (copy, held))
    }

    /// Returns true if this is said by the process that coordinates the run.
    pub fn is_coordinated_by(&self, control: &Control) -> bool {
        self.coordinator == control.coordinator
    }

    /// Returns true if the process that says this has taken the place of the one that coordinated the run.
    pub fn is_left_for(&self, control: &Control) -> bool {
        control.epoch > self.epoch || control.epoch == self.epoch && self.heard.elapsed() >= COORDINATOR_LATE
    }

    /// Returns the reason why the run is not served, if it is one that may not hold on other hosts.
    pub fn why_left_alone(&self) -> Option<&str> {
        match &self.progress {
            Progress::Refused(Refusal { cause: RefusalCause::Host | RefusalCause::Version, message }) => Some(message),
            _ => None,
        }
    }

    /// Returns true if nothing has been heard of its coordinator for so long that it will never come back.
    pub fn is_forgotten(&self) -> bool {
        self.heard.elapsed() >= COORDINATOR_GONE
    }

    pub fn task_name(&self) -> Option<&str> {
        match &self.progress {
            Progress::Running { name, .. } => Some(name),
            _ => None,
        }
    }

    // ---- what is said ------------------------------------------------------------------------------------------------

    pub fn beat(&self, context: &HostContext) {
        // Of a run that was only announced, nothing is known that its coordinator could use.
        if matches!(self.progress, Progress::Manifest(_)) {
            return;
        }
        self.send_beat(context, self.wanted().map(|(copy, _)| copy).collect());
    }

    fn send_beat(&self, context: &HostContext, held: Vec<CopyNumber>) {
        let (workers, ahead, refused) = match &self.progress {
            Progress::Running { workers, ready: true, .. } => (*workers, self.ahead(), None),
            Progress::Refused(refusal) => (0, 0, Some(refusal.clone())),
            _ => (0, 0, None),
        };
        let [workers, ahead] = [workers, ahead].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let beat = RunBeat { life: context.life, workers, held, ahead, leaving: context.leaving, refused };
        let subject = FromHost::Beat.subject(self.run, &context.settings.name);
        context.client.publish(&subject, None, &[&notes::write(&beat)]);
    }

    fn fetch(&self, context: &HostContext, wanted: &Wanted) {
        let token = match wanted {
            Wanted::Manifest { offset } => format!("m.{offset}"),
            Wanted::Task { offset } => format!("t.{offset}"),
            Wanted::Chunk { copy, offset } => format!("c.{copy}.{offset}"),
        };
        let subject = FromHost::Fetch.subject(self.run, &context.settings.name);
        let reply = format!("{}.{}.{token}", context.inbox, self.run);
        context.client.publish(&subject, Some(&reply), &[&notes::write(wanted)]);
    }

    /// Asks for what is fetched next of the manifest or the task.
    pub fn ask(&self, context: &HostContext) {
        match &self.progress {
            Progress::Manifest(fetched) => {
                self.fetch(context, &Wanted::Manifest { offset: fetched.bytes.len() as u64 });
            }
            Progress::Task(_, fetched) => self.fetch(context, &Wanted::Task { offset: fetched.bytes.len() as u64 }),
            Progress::Running { .. } | Progress::Refused(_) => {}
        }
    }

    /// Sends a part of a chunk's outcomes.
    fn send(&mut self, copy: CopyNumber, context: &HostContext) {
        let Some(HeldChunk { head, receipt, state: ChunkState::Sent { outcomes, part, at } }) =
            self.held.get_mut(&copy)
        else {
            return;
        };
        *at = Instant::now();
        let size = context.longest_part;
        let start = (*part as usize).saturating_mul(size).min(outcomes.len());
        let end = start.saturating_add(size).min(outcomes.len());
        let message = OutcomesHead {
            life: context.life,
            name: head.name,
            copy,
            receipt: *receipt,
            part: *part,
            last: end == outcomes.len(),
        };
        let subject = FromHost::Outcomes.subject(self.run, &context.settings.name);
        let reply = format!("{}.{}.o.{copy}.{part}", context.inbox, self.run);
        let bytes = outcomes.get(start..end).unwrap_or_default();
        context.client.publish(&subject, Some(&reply), &[&message.to_bytes(), bytes]);
    }

    /// Asks the broker for as many chunks as there is room for.
    pub fn pull(&mut self, context: &HostContext) {
        let Progress::Running { workers, ready: true, .. } = self.progress else {
            return;
        };
        if context.leaving || self.heard.elapsed() >= COORDINATOR_SILENCE {
            return;
        }
        let now = Instant::now();
        while self.pulls.front().is_some_and(|&(count, until)| count == 0 || until + PULL_SLACK <= now) {
            self.pulls.pop_front();
        }
        let sent = self.held.values().filter(|held| matches!(held.state, ChunkState::Sent { .. })).count();
        let ahead = self.ahead();
        let coming: usize = self.pulls.iter().map(|(count, _)| count).sum();
        let mut room = (workers + ahead).saturating_sub(self.held() - sent + coming);
        // Several are pulled at once while there are enough at hand, unless the last pull may be over soon.
        let mut least = if self.pulled.elapsed() >= PULL / 2 { 1 } else { (ahead / 2).max(1) };
        // While the coordinator takes no outcomes, hardly any more are made. It may be waiting for a chunk that nobody has
        // pulled yet, so that some have to be.
        if sent > 2 * (workers + ahead.max(1)) {
            room = room.min(usize::from(coming == 0 && self.pulled.elapsed() >= TRICKLE));
            least = 1;
        }
        // What others keep may leave no room for more. One chunk is pulled all the same: who has none never gets one otherwise.
        if context.room.get() < context.settings.buffer / 2 && self.held() > 0 {
            return;
        }
        if room < least {
            return;
        }
        self.pulled = now;
        let (subject, asked) = jetstream::pull(self.run, room, PULL);
        context.client.publish(&subject, Some(&format!("{}.{}.p", context.inbox, self.run)), &[&asked]);
        self.pulls.push_back((room, now + PULL));
    }

    // ---- what is heard -----------------------------------------------------------------------------------------------

    pub fn heard_coordinator(&mut self) {
        self.heard = Instant::now();
    }

    /// Handles that there is a new connection: what was asked on the old one is not answered.
    pub fn reconnected(&mut self) {
        self.pulls.clear();
    }

    pub fn set_workers(&mut self, count: usize) {
        if let Progress::Running { supervisor, workers, .. } = &mut self.progress
            && std::mem::replace(workers, count) != count
        {
            supervisor.send(Event::Workers(count));
        }
    }

    /// Gives back the chunks that no worker has: they are not named any more.
    pub fn give_back(&mut self, context: &HostContext) {
        self.name_new(context);
        self.held.retain(|_, held| !matches!(held.state, ChunkState::Fetched(_) | ChunkState::Waits(_)));
    }

    /// Handles a chunk that was pulled.
    pub fn pulled_chunk(&mut self, message: &Message, context: &HostContext) {
        if let Some((count, _)) = self.pulls.iter_mut().find(|(count, _)| *count > 0) {
            *count -= 1;
        }
        if let Some(receipt) = message.reply.as_deref().and_then(Receipt::of_subject) {
            self.chunk(&message.payload, receipt, context);
        }
    }

    /// Leaves a chunk to other hosts, or for later. If there is no later, since it is what this host has room for that is
    /// too little, and others had the time to take it, the run is refused.
    fn has_no_room_for(&mut self, head: &ChunkHead, context: &HostContext) {
        let never = head.size > context.settings.buffer;
        if !never && !self.held.is_empty() {
            // Named by no beat, it is published again.
            return;
        }
        let since = *self.lacks_room_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= OTHERS_HAVE_ROOM {
            self.end_with(too_much("an item of it is", context), context);
        } else if never {
            self.leave(head.copy, context);
        }
    }

    /// Ends what runs of the run here, and serves it no more, for this reason.
    pub fn refuse(&mut self, cause: RefusalCause, why: String, context: &HostContext) {
        if !matches!(self.progress, Progress::Refused(_)) {
            self.end_with(refuse(cause, why), context);
        }
    }

    /// Ends what runs of the run here, since this is its state from now on.
    fn end_with(&mut self, progress: Progress, context: &HostContext) {
        self.name_new(context);
        self.terminate();
        self.progress = progress;
        self.held.clear();
        self.beat(context);
    }

    /// Returns why the run is refused, once.
    pub fn refusal_to_tell(&mut self) -> Option<&str> {
        match &self.progress {
            Progress::Refused(refusal) if !std::mem::replace(&mut self.told_refusal, true) => Some(&refusal.message),
            _ => None,
        }
    }

    /// Leaves a chunk to others at once: it is named, and then no more.
    fn leave(&self, copy: CopyNumber, context: &HostContext) {
        let held: Vec<CopyNumber> = self.wanted().map(|(copy, _)| copy).collect();
        self.send_beat(context, held.iter().copied().chain([copy]).collect());
        self.send_beat(context, held);
    }

    /// Handles a chunk that was pulled, or that the coordinator gave to this host, about which the broker knows nothing.
    fn chunk(&mut self, payload: &Bytes, receipt: Receipt, context: &HostContext) {
        let Some((head, body)) = ChunkHead::parse(payload) else {
            return;
        };
        if context.leaving || !self.is_running() {
            return self.leave(head.copy, context);
        }
        // More than this host ever asks for.
        let Progress::Running { workers, .. } = self.progress else {
            return;
        };
        let most = 4 * (workers + most_ahead(workers) + 4);
        if self.held.len() >= most.min(MOST_HELD) || (head.away && head.size > MOST_CHUNK) {
            return;
        }
        if head.size > context.room.get() {
            return self.has_no_room_for(&head, context);
        }
        self.lacks_room_since = None;
        // Another copy of what is here already.
        if self.wanted().any(|(_, held)| held.head.name == head.name) {
            return;
        }
        // Workers have not ended yet with what was dropped under this number.
        if self.held.contains_key(&head.copy) {
            return self.leave(head.copy, context);
        }
        let state = match head.away {
            true => ChunkState::Fetched(FetchedBytes::new(head.size)),
            false => match head.items(body) {
                Some(items) => ChunkState::Waits(items),
                None => return,
            },
        };
        context.take_room(head.size);
        self.held.insert(head.copy, HeldChunk { head, receipt, state });
        self.unnamed = true;
        if head.away {
            self.fetch(context, &Wanted::Chunk { copy: head.copy, offset: 0 });
        }
    }

    /// Names the chunks that have come to the coordinator, and has them run. They are named before, since they may end this host.
    pub fn begin_named(&mut self, context: &HostContext) {
        if self.name_new(context) {
            self.begin();
        }
    }

    /// Names the chunks that have come to the coordinator. Returns true if there are some. Only of a chunk that was named does the
    /// coordinator know that it is given back.
    fn name_new(&mut self, context: &HostContext) -> bool {
        let is_new = std::mem::take(&mut self.unnamed);
        if is_new {
            self.beat(context);
            context.client.flush();
        }
        is_new
    }

    /// Handles that nobody wants the outcomes of a copy any more.
    fn drop_chunk(&mut self, copy: CopyNumber) {
        let Some(held) = self.held.get_mut(&copy) else {
            return;
        };
        match (&held.state, &self.progress) {
            (ChunkState::Runs { done, .. }, Progress::Running { supervisor, unwanted, .. }) => {
                held.state = ChunkState::Unwanted { done: *done };
                unwanted.add(held.head.name.items());
                supervisor.send(Event::Unwanted);
            }
            (ChunkState::Unwanted { .. }, _) => {}
            _ => drop(self.held.remove(&copy)),
        }
        self.begin();
    }

    /// Returns the number of chunks to have at hand beside those that workers run.
    fn ahead(&self) -> usize {
        match self.progress {
            // Items may wait for each other, so none may wait behind one that waits while another host is idle.
            Progress::Running { waits_for_others: false, workers, .. } => self.pace.ahead(workers),
            _ => 0,
        }
    }

    /// Gives workers as many chunks as they can begin, of which nobody has an item.
    fn begin(&mut self) {
        // The coordinator has to know first what is held.
        if self.unnamed {
            return;
        }
        let Progress::Running { supervisor, workers, waits_for_others, .. } = &self.progress else {
            return;
        };
        let ahead = if *waits_for_others { 0 } else { self.pace.given_ahead(*workers) };
        let with_workers = self.held.values().filter(|held| held.state.is_with_workers());
        let mut runs: Vec<_> = with_workers.map(|held| held.head.name.items()).collect();
        for held in self.held.values_mut() {
            if runs.len() >= workers + ahead {
                return;
            }
            let own = held.head.name.items();
            let ChunkState::Waits(batch) = &mut held.state else { continue };
            if runs.iter().all(|other| own.end <= other.start || other.end <= own.start) {
                supervisor.send(Event::Chunk(own.start, std::mem::take(batch)));
                let before = runs.len();
                held.state = ChunkState::Runs { since: Instant::now(), before, pieces: BTreeMap::new(), done: 0 };
                runs.push(own);
            }
        }
    }

    /// Handles an answer of the coordinator, or of the broker. `start` is called once the task is there; returns true if
    /// it was.
    pub fn answer(
        &mut self,
        token: &str,
        message: &Message,
        context: &mut HostContext,
        start: impl FnOnce(TaskWork) -> Result<(), Error>,
    ) -> bool {
        let tokens: Vec<&str> = token.split('.').collect();
        let number = |at: usize| tokens.get(at).and_then(|token| token.parse::<u64>().ok()).unwrap_or(u64::MAX);
        match tokens.first().copied() {
            Some("m") => self.manifest_part(number(1), &message.payload, context),
            Some("t") => return self.task_part(number(1), &message.payload, context, start),
            Some("c") => self.chunk_part(number(1), number(2), &message.payload, context),
            Some("o") => self.answered(number(1), number(2), &message.payload, context),
            Some("d") => self.chunk(&message.payload, Receipt::default(), context),
            Some("x") => self.drop_chunk(number(1)),
            // The broker has nothing for a pull.
            _ => {}
        }
        false
    }

    fn manifest_part(&mut self, offset: u64, answer: &[u8], context: &HostContext) {
        let Progress::Manifest(fetched) = &mut self.progress else {
            return;
        };
        match fetched.take(offset, answer, context.room.get()) {
            Fetched::Nothing => return,
            Fetched::More => drop(fetched.next()),
            Fetched::All => self.progress = read_manifest(&fetched.bytes, &context.settings),
            Fetched::TooMuch => self.progress = too_much("what it asks for is", context),
        }
        self.ask(context);
    }

    fn task_part(
        &mut self,
        offset: u64,
        answer: &[u8],
        context: &HostContext,
        start: impl FnOnce(TaskWork) -> Result<(), Error>,
    ) -> bool {
        let Progress::Task(asked, fetched) = &mut self.progress else {
            return false;
        };
        match fetched.take(offset, answer, context.room.get()) {
            Fetched::Nothing => return false,
            Fetched::More => {
                fetched.next();
                self.ask(context);
                return false;
            }
            Fetched::All => {}
            Fetched::TooMuch => {
                self.progress = too_much("its task is", context);
                self.beat(context);
                return false;
            }
        }
        let (manifest, grants) = &**asked;
        let begun = Wasm::of_bytes(&fetched.bytes).and_then(|wasm| {
            if wasm.hash() != manifest.task_hash {
                return Err(Error::Broker("the task that came is not the one of the run".to_owned()));
            }
            let (mailbox, _) = Mailbox::new()?;
            let (sender, name) = (mailbox.sender(), manifest.task_name.clone());
            let unwanted = UnwantedItems::default();
            let objects = ObjectsWay::of(self.run, manifest, context)?;
            let waits_for_others = objects.is_some();
            start(TaskWork {
                settings: context.settings.clone(),
                manifest: manifest.clone(),
                wasm: wasm.named(&name),
                grants: grants.clone(),
                mailbox,
                unwanted: unwanted.clone(),
                objects,
            })?;
            Ok(Progress::Running {
                supervisor: sender,
                unwanted,
                name,
                workers: context.settings.workers,
                ready: false,
                waits_for_others,
            })
        });
        self.progress = begun.unwrap_or_else(|e| refusal(&e));
        self.beat(context);
        true
    }

    fn chunk_part(&mut self, copy: CopyNumber, offset: u64, answer: &[u8], context: &HostContext) {
        let Some(HeldChunk { head, state: ChunkState::Fetched(fetched), .. }) = self.held.get_mut(&copy) else {
            return;
        };
        // There was room for it when it was accepted.
        match fetched.take(offset, answer, u64::MAX) {
            Fetched::Nothing => return,
            Fetched::More => {
                let offset = fetched.next();
                return self.fetch(context, &Wanted::Chunk { copy, offset });
            }
            Fetched::All => {}
            Fetched::TooMuch => {
                // No beat names it any more, so it is published again.
                self.held.remove(&copy);
                return self.begin();
            }
        }
        let items = head.items(std::mem::take(&mut fetched.bytes).into());
        match (items, self.held.get_mut(&copy)) {
            (Some(items), Some(held)) => held.state = ChunkState::Waits(items),
            _ => drop(self.held.remove(&copy)),
        }
        self.begin();
    }

    /// Handles that the coordinator has a part of outcomes, or does not want them.
    fn answered(&mut self, copy: CopyNumber, number: u64, answer: &[u8], context: &HostContext) {
        let Some(HeldChunk { state: ChunkState::Sent { outcomes, part, .. }, .. }) = self.held.get_mut(&copy) else {
            return;
        };
        if u64::from(*part) != number {
            return;
        }
        let rest = outcomes.len().saturating_sub((*part as usize + 1).saturating_mul(context.longest_part));
        if answer == b"+" && rest > 0 {
            *part += 1;
            return self.send(copy, context);
        }
        if answer != b"+" && answer != b"-" {
            // The broker says that nobody hears; it is sent again.
            return;
        }
        self.held.remove(&copy);
        self.begin();
    }

    /// Handles what became of the run's task.
    pub fn task_news(&mut self, news: TaskNews, context: &HostContext, tell: &mut dyn FnMut(&str)) {
        match news {
            TaskNews::Ready => {
                if let Progress::Running { ready, name, .. } = &mut self.progress {
                    *ready = true;
                    tell(&format!("serving a run of {name}"));
                }
                self.beat(context);
                self.pull(context);
            }
            TaskNews::Outcomes(group) => self.outcomes(group, context),
            TaskNews::Cut => {
                // What these chunks did to shared objects is not known, and who has the objects has given this host up. They run
                // elsewhere, or here once more, when workers have ended with them.
                let running = self.held.iter().filter(|(_, held)| matches!(held.state, ChunkState::Runs { .. }));
                let running: Vec<CopyNumber> = running.map(|(&copy, _)| copy).collect();
                running.into_iter().for_each(|copy| self.drop_chunk(copy));
                self.beat(context);
            }
            TaskNews::Ended(end) => {
                let error = match end {
                    Err(e) => e,
                    Ok(RunEnd::Terminated) => return,
                    Ok(_) => Error::Broker("its workers have ended".to_owned()),
                };
                self.name_new(context);
                self.progress = refusal(&error);
                self.held.clear();
                self.beat(context);
            }
        }
    }

    fn outcomes(&mut self, group: RenderedOutcomes, context: &HostContext) {
        let (start, size) = (group.items.start, group.bytes());
        let Progress::Running { supervisor, workers, .. } = &self.progress else {
            return;
        };
        let workers = *workers;
        // What is kept here until the chunk is complete must not keep the rest of it waiting.
        supervisor.written(size);
        let count = u32::try_from(group.items.end - start).unwrap_or(u32::MAX);
        let holds = |(_, held): &(&CopyNumber, &mut HeldChunk)| {
            held.state.is_with_workers() && held.head.name.items().contains(&start)
        };
        let Some((&copy, held)) = self.held.iter_mut().find(holds) else {
            return;
        };
        let all = held.head.name.count;
        match &mut held.state {
            ChunkState::Unwanted { done } => {
                *done += count;
                if *done >= all {
                    self.held.remove(&copy);
                }
            }
            ChunkState::Runs { .. } if size as u64 > context.room.get() => {
                return self.end_with(too_much("the results of its chunks are", context), context);
            }
            ChunkState::Runs { since, before, pieces, done } => {
                context.take_room(size as u64);
                *done += count;
                pieces.insert(start, group);
                if *done < all {
                    return;
                }
                self.pace.add(since.elapsed(), *before, workers);
                let mut outcomes = Vec::with_capacity(size.max(pieces.values().map(RenderedOutcomes::bytes).sum()));
                pieces.values().for_each(|piece| outcomes.extend_from_slice(&piece.results));
                held.state = ChunkState::Sent { outcomes: outcomes.into(), part: 0, at: Instant::now() };
                self.send(copy, context);
            }
            _ => return,
        }
        self.begin();
    }

    // ---- time --------------------------------------------------------------------------------------------------------

    /// Asks and sends again what was not answered.
    pub fn look(&mut self, context: &HostContext) {
        match &mut self.progress {
            Progress::Manifest(_) if context.full => {}
            Progress::Manifest(fetched) | Progress::Task(_, fetched) if fetched.asked.elapsed() >= fetched.again => {
                fetched.next();
                fetched.again = (fetched.again * 2).min(SELDOM);
                self.ask(context);
            }
            _ => {}
        }
        let mut again = Vec::new();
        let mut fetch = Vec::new();
        for (&copy, held) in &mut self.held {
            match &mut held.state {
                ChunkState::Sent { at, .. } if at.elapsed() >= AGAIN => again.push(copy),
                ChunkState::Fetched(fetched) if fetched.asked.elapsed() >= AGAIN => {
                    fetch.push(Wanted::Chunk { copy, offset: fetched.next() });
                }
                _ => {}
            }
        }
        again.into_iter().for_each(|copy| self.send(copy, context));
        fetch.iter().for_each(|wanted| self.fetch(context, wanted));
    }
}

impl ServedRun {
    /// Ends the workers of the run, if there are any.
    fn terminate(&self) {
        if let Progress::Running { supervisor, .. } = &self.progress {
            supervisor.send(Event::Terminate);
        }
    }
}

impl Drop for ServedRun {
    fn drop(&mut self) {
        self.terminate();
    }
}

/// Returns what becomes of a run that asks for this.
fn read_manifest(bytes: &[u8], settings: &HostSettings) -> Progress {
    let own = EngineName::own();
    let Ok(ManifestHead { protocol, version }) = serde_json::from_slice(bytes) else {
        return refuse(RefusalCause::Version, "it cannot read what the run asks for".to_owned());
    };
    let version = ForeignText::of(&version);
    if protocol != PROTOCOL {
        let message = format!(
            "it speaks protocol {PROTOCOL} of wasmpool {}, and the run protocol {protocol} of wasmpool {version}",
            own.wasmpool
        );
        return refuse(RefusalCause::Version, message);
    }
    let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else {
        let message = format!("it cannot read what the run of wasmpool {version} asks for");
        return refuse(RefusalCause::Version, message);
    };
    if let Some(wanted) = manifest.engine.as_ref().filter(|wanted| **wanted != own) {
        let message = format!("it has {own}, and the run is deterministic and wants {wanted}");
        return refuse(RefusalCause::Version, message);
    }
    let policy = &settings.policy;
    let allowed = policy.grant(&manifest.grants).and_then(|grants| Ok((policy.bound(manifest.call.clone())?, grants)));
    match allowed {
        Ok((call, grants)) => {
            Progress::Task(Box::new((Manifest { call, ..manifest }, grants)), FetchedBytes::new(MOST_TASK))
        }
        Err(e) => refuse(RefusalCause::Host, e.to_string()),
    }
}

fn too_much(what: &str, context: &HostContext) -> Progress {
    let room = bytes_said(context.settings.buffer);
    refuse(RefusalCause::Host, format!("{what} larger than this host has room for (its buffer has {room})"))
}

fn refuse(cause: RefusalCause, message: String) -> Progress {
    Progress::Refused(Refusal { cause, message })
}

fn refusal(error: &Error) -> Progress {
    let cause = match error {
        Error::Task(_) => RefusalCause::Task,
        Error::Sandbox(_) => RefusalCause::Sandbox,
        _ => RefusalCause::Host,
    };
    refuse(cause, with_sources(error))
}

#[cfg(test)]
mod tests {
    use super::super::HostPolicy;
    use super::*;
    use crate::access::BrokerAccess;
    use crate::url::BrokerUrl;
    use wasmpool_core::outcome::OutcomeCounts;
    use wasmpool_core::policy::SandboxMode;
    use wasmpool_hosts::chunk::ChunkName;
    use wasmpool_hosts::digest::Digest;
    use wasmpool_hosts::names::HostName;
    use wasmpool_run::spawn::ChildProgram;

    /// Returns what runs of a host share that reaches nothing.
    fn context() -> HostContext {
        let access = BrokerAccess::new(BrokerUrl::parse("nats://127.0.0.1:1").unwrap(), None, None).unwrap();
        let settings = HostSettings {
            access: access.clone(),
            name: HostName::new("h").unwrap(),
            workers: 2,
            sandbox: SandboxMode::Off,
            policy: HostPolicy::default(),
            buffer: 1 << 20,
            program: ChildProgram::Own,
        };
        HostContext {
            settings,
            life: 1,
            inbox: "_INBOX.h.1".to_owned(),
            client: Arc::new(Client::start(access, "test", |_| {}).unwrap()),
            tunnels: Tunnels::new(1 << 20),
            longest_part: 1 << 20,
            leaving: false,
            full: false,
            room: Cell::new(1 << 20),
        }
    }

    /// Returns a run that has begun, and what it says to its supervisor.
    fn running() -> (ServedRun, Mailbox) {
        let control = Control { coordinator: 1, epoch: 0, ended: false };
        let (mailbox, _) = Mailbox::new().unwrap();
        let mut run = ServedRun::new(RunId([1; 16]), control);
        run.progress = Progress::Running {
            supervisor: mailbox.sender(),
            unwanted: UnwantedItems::default(),
            name: "task".to_owned(),
            workers: 2,
            ready: true,
            waits_for_others: true,
        };
        (run, mailbox)
    }

    fn chunk(first: u64, copy: CopyNumber) -> Bytes {
        let mut batch = Batch::default();
        batch.push(b"1");
        let name = ChunkName { first, count: 1, digest: Digest::of(&batch.bytes) };
        let head = ChunkHead { name, copy, size: batch.bytes.len() as u64, away: false };
        [head.to_bytes(), batch.bytes.to_vec()].concat().into()
    }

    /// Returns the first items of the chunks that the supervisor was given since.
    fn given(mailbox: &Mailbox) -> Vec<u64> {
        let of_chunk = |event| if let Event::Chunk(first, _) = event { Some(first) } else { None };
        mailbox.take().into_iter().filter_map(of_chunk).collect()
    }

    fn ended(first: u64) -> TaskNews {
        TaskNews::Outcomes(RenderedOutcomes {
            items: first..first + 1,
            counts: OutcomeCounts::default(),
            results: Vec::new(),
            failed: Vec::new(),
        })
    }

    #[test]
    fn a_chunk_whose_worker_was_cut_off_is_given_to_workers_again_only_when_they_have_ended_with_it() {
        let context = context();
        let (mut run, mailbox) = running();
        run.chunk(&chunk(3, 10), Receipt::default(), &context);
        run.chunk(&chunk(4, 11), Receipt::default(), &context);
        run.begin_named(&context);
        assert_eq!(given(&mailbox), [3, 4]);
        run.task_news(TaskNews::Cut, &context, &mut |_| {});
        assert_eq!(run.held(), 0, "the coordinator is told that they are not here");
        // The coordinator gives them to this host again, and one under the number that it had.
        run.chunk(&chunk(3, 12), Receipt::default(), &context);
        run.chunk(&chunk(4, 11), Receipt::default(), &context);
        run.begin_named(&context);
        assert_eq!(given(&mailbox), [0; 0], "its supervisor still has them");
        assert_eq!(run.held(), 1);
        run.task_news(ended(4), &context, &mut |_| {});
        assert_eq!(given(&mailbox), [0; 0]);
        run.task_news(ended(3), &context, &mut |_| {});
        assert_eq!(given(&mailbox), [3]);
        run.chunk(&chunk(4, 13), Receipt::default(), &context);
        run.begin_named(&context);
        assert_eq!(given(&mailbox), [4]);
    }

    #[test]
    fn while_no_outcomes_are_taken_one_chunk_is_pulled_now_and_then_however_short_chunks_are() {
        let context = context();
        let (mut run, _mailbox) = running();
        if let Progress::Running { waits_for_others, .. } = &mut run.progress {
            *waits_for_others = false;
        }
        run.pace.add(Duration::from_micros(10), 0, 1);
        let sent = |copy: CopyNumber| {
            let (head, _) = ChunkHead::parse(&chunk(copy, copy)).unwrap();
            let state = ChunkState::Sent { outcomes: Bytes::new(), part: 0, at: Instant::now() };
            (copy, HeldChunk { head, receipt: Receipt::default(), state })
        };
        run.held = (0..50).map(sent).collect();
        run.pulled = Instant::now() - TRICKLE;
        run.pull(&context);
        run.pull(&context);
        assert_eq!(run.pulls.iter().map(|(count, _)| *count).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn what_is_given_back_was_named_before() {
        let context = context();
        let (mut run, _mailbox) = running();
        run.chunk(&chunk(3, 10), Receipt::default(), &context);
        assert!(run.unnamed);
        run.give_back(&context);
        assert!(!run.unnamed && run.held.is_empty());
    }
}
