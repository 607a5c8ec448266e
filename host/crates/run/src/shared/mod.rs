//! The host's side of shared objects: it starts the process that keeps them, creates the memory of those that are
//! mapped, gives each worker what it was granted, and takes part itself.

mod contents;
mod filling;
mod host;
mod link;
mod mapped;
mod numbers;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::SystemTime;

pub use crate::object_error::{ObjectError, ObjectErrorKind};
pub use contents::TellContentsError;
pub use filling::SharedContents;
pub use host::{HostHolder, HostObjects, PendingAnswer};
use link::Link;
pub use link::{Listener, SharedEvent};
use mapped::MappedObject;
use process::keep_elsewhere;
#[cfg(feature = "probes")]
pub use process::probe;
use process::{Keeper, Started};

use crate::cgroup::{HostPlacement, Room, Workers};
use crate::error::Error;
use crate::scarce::{patiently, start_thread};
use crate::spawn::ChildProgram;
use wasmpool_core::layer::LayerPart;
use wasmpool_core::policy::SandboxMode;
use wasmpool_core::share::{MOST_OBJECTS, ObjectForm, ObjectGrant, ObjectRights, ObjectSpec, SharedGrants};
use wasmpool_core::text::QuotedName;
use wasmpool_ipc::cells::asked::{self, CellRequest};
use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_ipc::channel::{ChannelParts, MEMORY};
use wasmpool_ipc::lane::control::Control;
use wasmpool_ipc::messages::{ManagerSetup, ParticipantRole};
use wasmpool_objects::contents::Contents;
pub use wasmpool_objects::operation::PipeEnd;
use wasmpool_objects::operation::{Answer, ObjectError as Refused, Operation, Reply};
use wasmpool_sandbox::ProcessLimits;

/// What the objects of a run need to know of it.
#[derive(Clone, Copy, Debug)]
pub struct SharedSettings {
    pub sandbox: SandboxMode,
    /// Number of workers that there can be at a time.
    pub workers: usize,
    pub placement: HostPlacement,
}

/// The shared objects of a run. They live as long as this value.
pub struct SharedObjects {
    specs: Vec<ObjectSpec>,
    mapped: BTreeMap<u16, MappedObject>,
    manager: Option<Manager>,
    /// Declared last, since the process has to end before it is dropped.
    _room: Room,
}

struct Manager {
    link: Arc<Link>,
    lacking: Vec<LayerPart>,
    /// The process; none if the objects are on another machine.
    pid: Option<u32>,
    thread: Option<JoinHandle<Option<()>>>,
}

/// What a worker gets for the objects that it may reach.
#[derive(Debug, Default)]
pub struct Attached {
    /// Its place among the participants, which it leaves when this is dropped. `None` if it reaches only objects that
    /// are mapped.
    pub participant: Option<Participant>,
    /// Its descriptors, in the order of `StartWorker`. They have to be closed here once they were sent: otherwise the
    /// manager does not see when the worker ends.
    pub descriptors: Vec<OwnedFd>,
}

/// A worker's place among the participants. It is detached when this is dropped.
#[derive(Debug)]
pub struct Participant {
    number: u32,
    link: Arc<Link>,
}

/// A listener's place. It is told nothing more when this is dropped.
#[derive(Debug)]
pub struct Listening {
    number: u64,
    link: Arc<Link>,
}

impl SharedObjects {
    /// Creates these objects, fills them, and starts the process that keeps them if any of them needs one.
    ///
    /// # Errors
    ///
    /// [`Error::Sandbox`] if the process cannot have the sandbox that was asked for, [`Error::Spawn`] if it cannot be
    /// started, and [`Error::Shared`] for objects that there cannot be.
    pub fn start(
        program: &ChildProgram,
        specs: Vec<ObjectSpec>,
        contents: SharedContents,
        settings: SharedSettings,
    ) -> Result<SharedObjects, Error> {
        check(&specs)?;
        let SharedContents { kept, numbers, tokens } = contents;
        let mut mapped = BTreeMap::new();
        for (number, spec) in (0..).zip(&specs).filter(|(_, spec)| spec.form.is_mapped()) {
            let object = patiently(None, || MappedObject::create(spec))?;
            let mut start = 0;
            for piece in numbers.get(&number).into_iter().flatten() {
                let filled = object.cells().write(start, piece);
                filled.map_err(|e| Error::Bug(format!("a new object cannot be filled: {e}")))?;
                start += u32::try_from(piece.len()).unwrap_or(u32::MAX);
            }
            mapped.insert(number, object);
        }
        // Those that are being replaced are still there when the next ones come.
        let participants = settings.workers as u64 * 2 + OTHERS;
        let is_kept = specs.iter().any(|spec| !spec.form.is_mapped());
        let memory = if is_kept {
            let process = ProcessLimits::of_manager(&specs, participants, MEMORY as u64);
            process.with_the_kernels().saturating_add(participants * MEMORY as u64)
        } else {
            0
        };
        let mapped_bytes = mapped.values().map(MappedObject::bytes).fold(memory, u64::saturating_add);
        let room = Room::new(settings.placement, Workers { count: 1, each: mapped_bytes });
        let manager = match is_kept {
            true => {
                let setup = ManagerSetup::new(specs.clone(), settings.sandbox, participants);
                let setup = ManagerSetup { token: first_token().max(tokens), ..setup };
                Some(Manager::start(program, setup, encoded(&kept)?, settings.workers)?)
            }
            false => None,
        };
        Ok(SharedObjects { specs, mapped, manager, _room: room })
    }

    pub fn specs(&self) -> &[ObjectSpec] {
        &self.specs
    }

    /// Returns the parts of the sandbox that the manager process runs without, which strict mode would require.
    pub fn lacking(&self) -> &[LayerPart] {
        self.manager.as_ref().map_or(&[], |manager| &manager.lacking)
    }

    /// Returns the process id of the manager process, if there is one.
    pub fn pid(&self) -> Option<u32> {
        self.manager.as_ref().and_then(|manager| manager.pid)
    }

    /// Returns the last token that was told to a holder, or a greater number if none was told; `None` without objects that have
    /// holders.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] if the manager process is lost.
    pub fn last_token(&self) -> Result<Option<u64>, Error> {
        if !self.specs.iter().any(|spec| has_holders(&spec.form)) {
            return Ok(None);
        }
        match self.host().ask(0, Operation::LastToken, None)? {
            Ok(Reply::Number(token)) => Ok(Some(token)),
            other => Err(Error::Bug(format!("the last token cannot be told: {other:.200?}"))),
        }
    }

    /// Returns the grant of an object by its name.
    pub fn grant(&self, name: &str, rights: ObjectRights) -> Option<ObjectGrant> {
        let (number, spec) = self.specs.iter().enumerate().find(|(_, spec)| spec.name == name)?;
        Some(ObjectGrant { rights, ..grant_of_all(number, spec) })
    }

    /// Makes a worker that was granted these objects a participant. `name` is what others are told of it.
    pub fn attach(&self, name: &str, grants: &SharedGrants) -> io::Result<Attached> {
        let mut descriptors = Vec::with_capacity(grants.descriptors());
        let mut participant = None;
        if grants.has_channel() {
            let link = &self.manager.as_ref().ok_or_else(|| io::Error::other("nobody keeps the shared objects"))?.link;
            let (number, ChannelParts { memory, socket }) =
                link.attach(name, ParticipantRole::Worker, &grants.objects)?;
            descriptors.extend([memory, socket]);
            participant = Some(Participant { number, link: link.clone() });
        }
        for ObjectGrant { object, rights, .. } in grants.mapped() {
            let mapped = self.mapped.get(object).ok_or_else(|| io::Error::other("there is no such object"))?;
            descriptors.push(mapped.descriptor(*rights)?);
        }
        Ok(Attached { participant, descriptors })
    }

    /// Returns how many participants the objects can have at a time, if any process keeps them.
    pub fn most_participants(&self) -> Option<u64> {
        Some(self.manager.as_ref()?.link.most_participants())
    }

    /// Has a listener told of participants that misbehave, and of the loss of the manager process.
    pub fn listen(&self, listener: Listener) -> Option<Listening> {
        let link = self.manager.as_ref()?.link.clone();
        Some(Listening { number: link.listen(listener), link })
    }

    /// Tells the objects how many workers can run items at a time: a barrier for more parties is refused at once.
    pub fn set_parallelism(&self, workers: usize) {
        if let Some(manager) = &self.manager {
            manager.link.set_parallelism(u32::try_from(workers).unwrap_or(u32::MAX));
        }
    }

    /// Closes an end of a pipe that nobody has opened, once those are gone who could have. One that was opened is closed
    /// with its owner.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] if the manager process is lost.
    pub fn close_unopened(&self, pipe: u16, end: PipeEnd) -> Result<(), Error> {
        let host = self.host();
        host.settle()?;
        if host.ask(pipe, Operation::OpenEnd(end), None)?.is_ok() {
            // To close what was just opened cannot fail.
            let _ = host.ask(pipe, Operation::CloseEnd(end), None)?;
        }
        Ok(())
    }

    /// Makes use of objects that are on another machine. At the other end of `control` is what takes the manager's place: it
    /// understands what the host tells a manager process, and speaks as that does. `holds` says whether this program itself
    /// takes part.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no room for a thread or a channel.
    pub fn elsewhere(specs: Vec<ObjectSpec>, control: Control, holds: bool) -> Result<SharedObjects, Error> {
        check(&specs)?;
        let link = Arc::new(Link::new(control, u64::MAX, true)?);
        if holds {
            link.add_holder(&grants_of_all(&specs))?;
        }
        let kept = link.clone();
        let thread = start_thread("wasmpool-shared", move || keep_elsewhere(kept))?;
        let manager = Manager { link, lacking: Vec::new(), pid: None, thread: Some(thread) };
        let room = Room::new(HostPlacement::Moves, Workers { count: 1, each: 0 });
        Ok(SharedObjects { specs, mapped: BTreeMap::new(), manager: Some(manager), _room: room })
    }

    /// Returns true if the objects are on another machine.
    pub fn is_elsewhere(&self) -> bool {
        self.manager.as_ref().is_some_and(|manager| manager.link.is_elsewhere())
    }

    /// Makes a worker or a program on another machine a participant, which asks through the channel that is returned. There is
    /// none if all objects are mapped: then [`SharedObjects::numbers`] is all that can be asked for.
    pub fn attach_remote(
        &self,
        name: &str,
        role: ParticipantRole,
        grants: &[ObjectGrant],
    ) -> io::Result<Option<(Participant, ChannelClient)>> {
        let Some(manager) = &self.manager else {
            return Ok(None);
        };
        let (number, parts) = manager.link.attach(name, role, grants)?;
        let participant = Participant { number, link: manager.link.clone() };
        let channel = ChannelClient::open(parts)?;
        channel.set_patience(link::PATIENCE)?;
        Ok(Some((participant, channel)))
    }

    /// Does for a participant on another machine what it asks of the numbers of a value or an array.
    pub fn numbers(&self, object: u16, rights: ObjectRights, request: &[u8]) -> Answer {
        let wrong = || Refused::Invalid("this is nothing that can be asked of numbers".to_owned());
        let mapped = self.mapped.get(&object).ok_or_else(wrong)?;
        let request = CellRequest::of_bytes(request).ok_or_else(wrong)?;
        Ok(Reply::Bytes(asked::answer_bytes(&request.perform(mapped.cells(), rights.second))))
    }

    /// Returns what the host itself does with the objects.
    pub fn host(&self) -> HostObjects<'_> {
        HostObjects::new(self)
    }
}

/// Participants besides workers: the host, and workers that end while others start.
const OTHERS: u64 = 16;

fn check(specs: &[ObjectSpec]) -> Result<(), Error> {
    if specs.len() > MOST_OBJECTS {
        return Err(Error::Shared(format!("there can be at most {MOST_OBJECTS} shared objects")));
    }
    let mut names = BTreeSet::new();
    for ObjectSpec { name, form, .. } in specs {
        if !names.insert(name) {
            return Err(Error::Shared(format!("two shared objects are called {}: rename one", QuotedName::of(name))));
        }
        if matches!(form, ObjectForm::Barrier { parties: 0 }) {
            let name = QuotedName::of(name);
            return Err(Error::Shared(format!("the barrier {name} is for no party: it needs at least one")));
        }
    }
    Ok(())
}

/// Returns true if holders of such an object are told tokens.
fn has_holders(form: &ObjectForm) -> bool {
    matches!(form, ObjectForm::Lock | ObjectForm::Rlock | ObjectForm::Semaphore { .. } | ObjectForm::Condition)
}

fn encoded(contents: &BTreeMap<u16, Contents>) -> Result<Vec<u8>, Error> {
    postcard::to_allocvec(contents).map_err(|e| Error::Bug(format!("contents cannot be encoded: {e}")))
}

/// Returns a number than which the tokens of an earlier manager were less, unless the clock was set back meanwhile.
fn first_token() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX / 2)
}

/// Returns the grants of everything with these objects.
fn grants_of_all(specs: &[ObjectSpec]) -> Vec<ObjectGrant> {
    specs.iter().enumerate().map(|(number, spec)| grant_of_all(number, spec)).collect()
}

/// Returns the grant of everything with this object.
fn grant_of_all(number: usize, spec: &ObjectSpec) -> ObjectGrant {
    // There are fewer than that (`check`).
    let object = u16::try_from(number).unwrap_or(u16::MAX);
    ObjectGrant { object, spec: spec.clone(), rights: ObjectRights::ALL }
}

impl Manager {
    fn start(program: &ChildProgram, setup: ManagerSetup, contents: Vec<u8>, workers: usize) -> Result<Manager, Error> {
        let (started, has_started) = mpsc::channel();
        let keeper = Keeper { program: program.clone(), setup, contents, started };
        let thread = start_thread("wasmpool-shared", move || keeper.run())?;
        match has_started.recv() {
            Ok(Ok(Started { link, lacking, pid })) => {
                link.set_parallelism(u32::try_from(workers).unwrap_or(u32::MAX));
                Ok(Manager { link, lacking, pid: Some(pid), thread: Some(thread) })
            }
            Ok(Err(e)) => Err(e),
            Err(_) => Err(Error::Bug("the thread that keeps the shared objects broke down".to_owned())),
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // A process that was forked off has neither the thread nor a part in the manager.
        if self.link.is_ours() {
            self.link.close();
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

impl Participant {
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Has nothing more given to it, since it is being killed: what somebody puts from now on is for others.
    pub fn ending(&self) {
        self.link.ending(self.number);
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.link.detach(self.number);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.link.stop_listening(self.number);
    }
}

impl fmt::Debug for SharedObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedObjects").field("specs", &self.specs).field("pid", &self.pid()).finish_non_exhaustive()
    }
}
