//! The manager: it creates objects, and starts the process that keeps them when the first is used.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};

#[cfg(feature = "hosts")]
use super::super::access::AccessFiles;
use super::super::program;
use super::handle::Handle;
use super::message::Message;
use super::number::SharedNumber;
use super::opened::{self, SharedObjectType};
use super::{Array, Barrier, Condition, Dict, Event, List, Lock, Namespace, PipeEnd, Queue, RLock, Semaphore, Value};
use wasmpool_core::policy::SandboxMode;
use wasmpool_core::share::{MOST_OBJECTS, ObjectForm, ObjectQuota, ObjectSpec};
use wasmpool_core::text::QuotedName;
#[cfg(feature = "hosts")]
use wasmpool_hosts::names::HostName;
use wasmpool_ipc::cells::Numbers;
#[cfg(feature = "hosts")]
use wasmpool_nats::access::{BrokerAccess, IdentityFile};
#[cfg(feature = "hosts")]
use wasmpool_nats::objects::program::{self as server_program, FoundObjects};
use wasmpool_objects::operation::PipeEnd as End;
use wasmpool_run::cgroup::HostPlacement;
use wasmpool_run::error::Error;
use wasmpool_run::shared::{HostHolder, ObjectError, ObjectErrorKind, SharedContents, SharedObjects, SharedSettings};
use wasmpool_run::spawn::ChildProgram;

/// The longest name of an object, in bytes.
const LONGEST_NAME: usize = 64;
/// The most elements of an array, so that all arrays fit the address space.
const LONGEST_ARRAY: usize = 1 << 27;
/// Number of workers that there is room for, at least.
const ROOM: usize = 64;
/// Number of threads that can hold rlocks and conditions at a time.
const MOST_HOLDERS: usize = 32;

/// Creates shared objects, which pools and processes are given by [`share`](crate::Pool::share) or
/// [`manager`](crate::PoolBuilder::manager): Python's `Manager()`, and its `Queue`, `Pipe`, `Value`, `Lock` as well.
///
/// All objects are created first. When one is used, or a worker is started that is given objects, they are complete:
/// creating another returns an error of kind [`TooLate`](crate::ObjectErrorKind::TooLate), and another `Manager` can
/// create it for other processes. Numbers are shared memory, and an operation on them costs some nanoseconds. All else
/// is kept by a process of its own in a sandbox, which is started then, in some milliseconds; an operation is a message
/// to it and an answer, some microseconds.
///
/// That process lives as long as there is a handle, a pool or a process that uses it. If it is lost, every operation
/// and call returns [`Error::Shared`], and nothing waits. A process that is forked off can use
/// values and arrays that were used before; all else returns [`Error::Forked`] there.
///
/// A manager is cheap to clone, and several threads may use it and all its objects at once.
///
/// ```
/// use wasmpool::{Manager, Pool};
///
/// // Python: manager = Manager(); total = manager.Value("q", 0); seen = manager.dict()
/// let manager = Manager::new();
/// let total = manager.value("total", 0i64)?;
/// let seen = manager.dict::<String>("seen")?;
/// let pool = Pool::builder("examples/total.wat").manager(&manager).build()?;
/// // The task adds its item to the value `total`, and returns the sum.
/// assert_eq!(pool.map::<_, i64>(1..=100)?.len(), 100);
/// assert_eq!(total.load()?, 5050);
/// seen.set("by whom", "all".to_owned())?;
/// # Ok::<(), wasmpool::Error>(())
/// ```
#[derive(Clone)]
pub struct Manager(Arc<ManagerState>);

struct ManagerState {
    /// The process that made it, whose thread keeps the objects.
    owner: u32,
    program: ManagerProgram,
    sandbox: SandboxMode,
    quota: ObjectQuota,
    created: Mutex<CreatedObjects>,
    started: OnceLock<Arc<SharedObjects>>,
    holders: Mutex<Holders>,
    /// The server that has the objects, if this program only takes part in them.
    #[cfg(feature = "hosts")]
    server: Option<ServerOfManager>,
}

/// A server of shared objects.
#[cfg(feature = "hosts")]
pub struct ServerOfManager {
    pub access: BrokerAccess,
    pub name: HostName,
    pub found: FoundObjects,
}

/// Where the binary of the process comes from.
#[derive(Clone)]
enum ManagerProgram {
    /// It is looked for when the process is started, first at this path.
    Sought(Option<PathBuf>),
    /// That of a pool.
    Found(ChildProgram),
}

/// The objects as they are to be.
#[derive(Default)]
struct CreatedObjects {
    specs: Vec<ObjectSpec>,
    contents: SharedContents,
    /// True once no more can be created.
    complete: bool,
    /// Number of workers that may use them.
    workers: usize,
}

/// Places among the participants that threads have while they hold something of their own.
#[derive(Default)]
struct Holders {
    /// For each thread, its place, and the number of things that it holds.
    by_thread: HashMap<ThreadId, (HostHolder, usize)>,
    free: Vec<HostHolder>,
}

/// The place of this thread, as long as it holds something.
pub struct HolderPlace {
    manager: Manager,
    thread: ThreadId,
    pub holder: HostHolder,
    /// It is left on the thread that took it.
    _here: PhantomData<*const ()>,
}

impl Drop for HolderPlace {
    fn drop(&mut self) {
        let mut holders = self.manager.holders();
        if let Some((_, held)) = holders.by_thread.get_mut(&self.thread) {
            *held -= 1;
            if *held == 0
                && let Some((holder, _)) = holders.by_thread.remove(&self.thread)
            {
                holders.free.push(holder);
            }
        }
    }
}

impl PartialEq for Manager {
    /// Returns true if both are the same manager.
    fn eq(&self, other: &Manager) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Manager {}

impl Hash for Manager {
    fn hash<H: Hasher>(&self, to: &mut H) {
        Arc::as_ptr(&self.0).hash(to);
    }
}

impl Default for Manager {
    fn default() -> Manager {
        Manager::new()
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("started", &self.0.started.get()).finish_non_exhaustive()
    }
}

/// A builder of a [`Manager`]. See [`Manager::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ManagerBuilder {
    worker_binary: Option<PathBuf>,
    sandbox: SandboxMode,
    quota: ObjectQuota,
    #[cfg(feature = "hosts")]
    access: AccessFiles,
}

impl ManagerBuilder {
    /// Sets the binary that is started, as [`PoolBuilder::worker_binary`](crate::PoolBuilder::worker_binary) does.
    ///
    /// ```
    /// # use wasmpool::{Error, Manager};
    /// let seen = Manager::builder().worker_binary("/bin/true").build().dict::<i64>("seen")?;
    /// assert!(matches!(seen.get("a"), Err(Error::WorkerBinary(_))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn worker_binary(mut self, path: impl Into<PathBuf>) -> ManagerBuilder {
        self.worker_binary = Some(path.into());
        self
    }

    /// Sets which layers of the sandbox of the process that keeps the objects must hold. Default: all that matter
    /// ([`SandboxMode::Strict`]).
    ///
    /// ```
    /// # use wasmpool::{Manager, SandboxMode};
    /// let seen = Manager::builder().sandbox(SandboxMode::BestEffort).build().dict::<i64>("seen")?;
    /// assert_eq!(seen.get("a")?, None);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn sandbox(mut self, mode: SandboxMode) -> ManagerBuilder {
        self.sandbox = mode;
        self
    }

    /// Limits what is in a queue, a pipe, a dict, a list or a namespace at a time, each: entries, and bytes of all of them
    /// together with their keys. Default: 1,048,576 and 64 MiB. A put then waits or is `Full`; all else is an error of
    /// kind [`Quota`](crate::ObjectErrorKind::Quota).
    ///
    /// ```
    /// # use wasmpool::{Error, Manager, ObjectErrorKind};
    /// let seen = Manager::builder().quota(1, 1000).build().dict::<i64>("seen")?;
    /// seen.set("a", 1)?;
    /// assert!(matches!(seen.set("b", 2), Err(Error::Object(e)) if matches!(e.kind, ObjectErrorKind::Quota(_))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn quota(mut self, entries: u64, bytes: u64) -> ManagerBuilder {
        self.quota = ObjectQuota { entries, bytes };
        self
    }

    /// Believes the message system of [`connect`](Self::connect) if an authority in this file (PEM) has signed its
    /// certificate, in place of those that the system knows. Only with the feature `hosts`.
    ///
    /// ```no_run
    /// # use wasmpool::Manager;
    /// let manager = Manager::builder()
    ///     .via_authorities("ca.pem")
    ///     .via_nkey("me.nk")
    ///     .connect("tls://nats.example.com:4222", "backlog")?;
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    #[cfg(feature = "hosts")]
    pub fn via_authorities(mut self, file: impl Into<PathBuf>) -> ManagerBuilder {
        self.access.authorities = Some(file.into());
        self
    }

    /// Logs in to the message system of [`connect`](Self::connect) with the key whose seed is in this file, in place of what
    /// was set before. Only with the feature `hosts`. See [`via_authorities`](Self::via_authorities) for an example.
    #[cfg(feature = "hosts")]
    pub fn via_nkey(mut self, file: impl Into<PathBuf>) -> ManagerBuilder {
        self.access.login = Some(IdentityFile::Seed(file.into()));
        self
    }

    /// Logs in to the message system of [`connect`](Self::connect) with the credentials in this file, a JWT and its key, in
    /// place of what was set before. Only with the feature `hosts`.
    #[cfg(feature = "hosts")]
    pub fn via_credentials(mut self, file: impl Into<PathBuf>) -> ManagerBuilder {
        self.access.login = Some(IdentityFile::Credentials(file.into()));
        self
    }

    /// Returns a manager of the objects of a server, as [`Manager::connect`] does. Of the other settings only those that begin
    /// with `via` count. Only with the feature `hosts`.
    ///
    /// # Errors
    ///
    /// Those of [`Manager::connect`].
    #[cfg(feature = "hosts")]
    pub fn connect(self, url: &str, server: &str) -> Result<Manager, Error> {
        let name = HostName::new(server).map_err(|_| {
            Error::Broker(format!(
                "{} is no name of a server of shared objects, which has 1 to 64 characters, of a-z, A-Z, 0-9, - and _",
                QuotedName::of(server)
            ))
        })?;
        let access = self.access.to(url)?;
        let (reached, found) = server_program::connect(&access, &name)?;
        let specs = found.objects.iter().map(|grant| grant.spec.clone()).collect();
        let created = CreatedObjects { specs, complete: true, ..CreatedObjects::default() };
        Ok(Manager(Arc::new(ManagerState {
            owner: std::process::id(),
            program: ManagerProgram::Sought(None),
            sandbox: self.sandbox,
            quota: self.quota,
            created: Mutex::new(created),
            started: OnceLock::from(Arc::new(reached)),
            holders: Mutex::default(),
            server: Some(ServerOfManager { access, name, found }),
        })))
    }

    /// Returns the manager. It starts nothing yet.
    pub fn build(self) -> Manager {
        let ManagerBuilder { worker_binary, sandbox, quota, .. } = self;
        Manager::of(ManagerProgram::Sought(worker_binary), sandbox, quota)
    }
}

impl Manager {
    /// Returns a manager with the usual settings. It starts nothing yet.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let manager = Manager::new();
    /// let jobs = manager.queue::<i64>("jobs", 100)?;
    /// jobs.put(3)?;
    /// assert_eq!(jobs.get()?, 3);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn new() -> Manager {
        Manager::builder().build()
    }

    /// Returns a builder of a manager, for other settings than the usual ones.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// let manager = Manager::builder().quota(1000, 1 << 20).build();
    /// # assert_eq!(manager.list::<i64>("list")?.len()?, 0);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    /// Returns the parts of the sandbox that the process that keeps the objects runs without, as
    /// [`SandboxMode::BestEffort`] permits. They are known once an object was used.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// assert_eq!(Manager::new().lacking(), [""; 0]);
    /// ```
    pub fn lacking(&self) -> Vec<String> {
        let started = self.0.started.get();
        started.map_or(Vec::new(), |objects| objects.lacking().iter().map(|part| format!("{part:?}")).collect())
    }

    fn of(program: ManagerProgram, sandbox: SandboxMode, quota: ObjectQuota) -> Manager {
        Manager(Arc::new(ManagerState {
            owner: std::process::id(),
            program,
            sandbox,
            quota,
            created: Mutex::default(),
            started: OnceLock::new(),
            holders: Mutex::default(),
            #[cfg(feature = "hosts")]
            server: None,
        }))
    }

    /// Returns a manager of the objects that `wasmpool share serve` keeps under the name `server`, at the message system
    /// `url`: Python's `BaseManager.connect()`. They outlive this program. Only with the feature `hosts`.
    ///
    /// [`open`](Self::open) returns a handle for each, by its name; none is created here. They work as those of any other
    /// manager, but each operation travels, a value's, too. Pools may be given them that run here, and those that run
    /// [`via`](crate::PoolBuilder::via) the same message system.
    ///
    /// # Errors
    ///
    /// [`Error::Broker`] if there is no such message system, or no such server answers within 5 s;
    /// [`Error::BrokerLogin`] and [`Error::BrokerCertificate`] if the message system cannot be used.
    ///
    /// ```no_run
    /// # use wasmpool::{Manager, Pool, Queue};
    /// // Python: manager = BaseManager(address=…); manager.connect(); jobs = manager.jobs()
    /// let manager = Manager::connect("nats://127.0.0.1:4222", "backlog")?;
    /// let jobs: Queue<String> = manager.open("jobs")?;
    /// jobs.put("first".to_owned())?;
    /// let pool = Pool::builder("work.wasm").via("nats://127.0.0.1:4222").share(jobs.get_only()).build()?;
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    #[cfg(feature = "hosts")]
    pub fn connect(url: &str, server: &str) -> Result<Manager, Error> {
        Manager::builder().connect(url, server)
    }

    /// Returns the server that has the objects, if it is not this program that keeps them.
    #[cfg(feature = "hosts")]
    pub(super) fn server(&self) -> Option<&ServerOfManager> {
        self.0.server.as_ref()
    }

    fn is_connected(&self) -> bool {
        #[cfg(feature = "hosts")]
        return self.0.server.is_some();
        #[cfg(not(feature = "hosts"))]
        false
    }

    /// Returns a handle for an object that is there: of a server, or created before. The type says what it is to be, and which
    /// messages or numbers are in it.
    ///
    /// # Errors
    ///
    /// [`Error::Shared`] if there is no object of this name, and [`Error::Object`] of kind
    /// [`Invalid`](ObjectErrorKind::Invalid) if it is of another type.
    ///
    /// ```
    /// # use wasmpool::{Manager, PipeEnd, Value};
    /// let manager = Manager::new();
    /// manager.value("total", 5i64)?;
    /// manager.pipe::<i64>("line")?;
    /// let total: Value<i64> = manager.open("total")?;
    /// let (receiver, sender): (PipeEnd<i64>, PipeEnd<i64>) = manager.open("line")?;
    /// sender.send(total.load()?)?;
    /// assert_eq!(receiver.recv()?, 5);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn open<O: SharedObjectType>(&self, name: &str) -> Result<O, Error> {
        if !self.is_ours() {
            return Err(Error::Forked);
        }
        let created = self.created();
        let Some(at) = created.specs.iter().position(|spec| spec.name == name) else {
            let names: Vec<&str> = created.specs.iter().map(|spec| spec.name.as_str()).collect();
            let names =
                if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
            return Err(Error::Shared(format!("there is no shared object {}; {names}", QuotedName::of(name))));
        };
        let form = created.specs[at].form.clone();
        drop(created);
        let object = u16::try_from(at).unwrap_or(u16::MAX);
        O::of_handle(Handle { manager: self.clone(), object, name: name.to_owned() }, &form).ok_or_else(|| {
            let why = format!("it is {}, and was opened as {}", opened::kind_of(&form), opened::name_of::<O>());
            ObjectError::new(name, ObjectErrorKind::Invalid(why)).into()
        })
    }

    /// Returns the manager of a pool that was not given one.
    pub(in crate::pool) fn of_pool(program: ChildProgram, sandbox: SandboxMode) -> Manager {
        Manager::of(ManagerProgram::Found(program), sandbox, ObjectQuota::default())
    }

    /// Makes room for the workers of a pool, or a process.
    pub(in crate::pool) fn expect_workers(&self, workers: usize) {
        if self.is_ours() {
            let mut created = self.created();
            created.workers = created.workers.saturating_add(workers);
        }
    }

    fn is_ours(&self) -> bool {
        self.0.owner == std::process::id()
    }

    fn created(&self) -> MutexGuard<'_, CreatedObjects> {
        self.0.created.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.0.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if no object was created, and none ever will be.
    pub(super) fn is_empty_from_now_on(&self) -> Result<bool, Error> {
        if !self.is_ours() {
            return Err(Error::Forked);
        }
        let mut created = self.created();
        created.complete = true;
        Ok(created.specs.is_empty())
    }

    /// Returns the objects, and starts what they need if that was not done yet.
    pub(super) fn started(&self) -> Result<&Arc<SharedObjects>, Error> {
        if let Some(started) = self.0.started.get() {
            return Ok(started);
        }
        if !self.is_ours() {
            return Err(Error::Forked);
        }
        // Held meanwhile, so that two threads start one process.
        let mut created = self.created();
        if let Some(started) = self.0.started.get() {
            return Ok(started);
        }
        created.complete = true;
        let program = match &self.0.program {
            ManagerProgram::Sought(path) => program::find(path.as_deref())?,
            ManagerProgram::Found(program) => program.clone(),
        };
        let settings = SharedSettings {
            sandbox: self.0.sandbox,
            workers: created.workers.max(ROOM),
            placement: HostPlacement::Stays,
        };
        let objects = SharedObjects::start(&program, created.specs.clone(), created.contents.clone(), settings)?;
        // Threads of the program are parties of a barrier, too, and how many there are is not known.
        objects.set_parallelism(usize::MAX);
        Ok(self.0.started.get_or_init(|| Arc::new(objects)))
    }

    /// Returns the place of this thread among the holders, for something that it is to hold.
    pub(super) fn place(&self) -> Result<HolderPlace, Error> {
        let objects = self.started()?;
        if !self.is_ours() {
            return Err(Error::Forked);
        }
        let thread = thread::current().id();
        let mut holders = self.holders();
        let holder = match holders.by_thread.get_mut(&thread) {
            Some((holder, held)) => {
                *held += 1;
                *holder
            }
            None => {
                let holder = match holders.free.pop() {
                    Some(holder) => holder,
                    None if holders.by_thread.len() >= MOST_HOLDERS => {
                        return Err(Error::Shared(format!(
                            "{MOST_HOLDERS} threads of this program hold rlocks or conditions already, and no more can"
                        )));
                    }
                    None => objects.host().new_holder()?,
                };
                holders.by_thread.insert(thread, (holder, 1));
                holder
            }
        };
        drop(holders);
        Ok(HolderPlace { manager: self.clone(), thread, holder, _here: PhantomData })
    }

    /// Adds an object, which begins with these numbers if it is a value or an array.
    fn create(&self, name: &str, form: ObjectForm, numbers: Option<Numbers>) -> Result<Handle, Error> {
        if !self.is_ours() {
            return Err(Error::Forked);
        }
        let refuse = |kind| Err(ObjectError::new(name, kind).into());
        let uncreated = |why| refuse(ObjectErrorKind::Uncreated(why));
        if let Some(why) = unfit_name(name) {
            return uncreated(why);
        }
        if self.is_connected() {
            return uncreated("the objects of a server are those of its file: `open` one of them");
        }
        let mut created = self.created();
        if created.complete {
            return refuse(ObjectErrorKind::TooLate);
        }
        if created.specs.iter().any(|spec| spec.name == name) {
            return uncreated("there is one of this name already");
        }
        if created.specs.len() >= MOST_OBJECTS {
            return uncreated("a manager has at most 64 objects");
        }
        let object = u16::try_from(created.specs.len()).unwrap_or(u16::MAX);
        created.specs.push(ObjectSpec { name: name.to_owned(), form, quota: self.0.quota });
        if let Some(numbers) = numbers {
            created.contents.fill(object, numbers);
        }
        drop(created);
        Ok(Handle { manager: self.clone(), object, name: name.to_owned() })
    }
}

/// Returns why this is no name of an object.
fn unfit_name(name: &str) -> Option<&'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match name {
        "" => Some("an object needs a name"),
        _ if name.len() > LONGEST_NAME => Some("a name has at most 64 characters"),
        _ if !name.chars().all(is_plain) => Some("a name consists of letters, digits, `_`, `-` and `.`"),
        _ => None,
    }
}

/// Objects. Names consist of letters, digits, `_`, `-` and `.`, at most 64 of them; a manager has at most 64 objects.
///
/// Each of these returns an [`Error::Object`] of kind
/// [`TooLate`](crate::ObjectErrorKind::TooLate) once an object of this manager was used, or a worker started that has
/// some of them, and of kind [`Uncreated`](crate::ObjectErrorKind::Uncreated) for a name that another object has or that
/// is no name.
impl Manager {
    /// Creates a queue of at most `capacity` messages; 0 bounds it by its quota alone.
    ///
    /// # Errors
    ///
    /// Those of all objects.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: jobs = manager.Queue(100)
    /// let jobs = Manager::new().queue::<String>("jobs", 100)?;
    /// jobs.put("first".to_owned())?;
    /// assert_eq!((jobs.size()?, jobs.get()?), (1, "first".to_owned()));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn queue<T: Message>(&self, name: &str, capacity: u32) -> Result<Queue<T>, Error> {
        let capacity = Some(capacity).filter(|&capacity| capacity != 0);
        self.create(name, ObjectForm::Queue { capacity }, None).map(Queue::new)
    }

    /// Creates a pipe in one direction, and returns its two ends: the first receives, the second sends. The program uses
    /// one of them, or both; a task is given one by `share`.
    ///
    /// # Errors
    ///
    /// Those of all objects.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: receiver, sender = Pipe(duplex=False)
    /// let (receiver, sender) = Manager::new().pipe::<i64>("line")?;
    /// sender.send(3)?;
    /// assert_eq!(receiver.recv()?, 3);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn pipe<T: Message>(&self, name: &str) -> Result<(PipeEnd<T>, PipeEnd<T>), Error> {
        self.pipe_of(name, false)
    }

    /// Creates a pipe in both directions, and returns its two ends. Each direction has half of the quota.
    ///
    /// # Errors
    ///
    /// Those of all objects.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: one, other = Pipe()
    /// let (one, other) = Manager::new().duplex_pipe::<i64>("line")?;
    /// one.send(3)?;
    /// other.send(4)?;
    /// assert_eq!((other.recv()?, one.recv()?), (3, 4));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn duplex_pipe<T: Message>(&self, name: &str) -> Result<(PipeEnd<T>, PipeEnd<T>), Error> {
        self.pipe_of(name, true)
    }

    fn pipe_of<T: Message>(&self, name: &str, duplex: bool) -> Result<(PipeEnd<T>, PipeEnd<T>), Error> {
        let handle = self.create(name, ObjectForm::Pipe { duplex }, None)?;
        Ok((PipeEnd::new(handle.clone(), End::First), PipeEnd::new(handle, End::Second)))
    }

    /// Creates a number in shared memory, whose type is that of its first value.
    ///
    /// # Errors
    ///
    /// Those of all objects.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: total = Value("d", 0.5)
    /// let total = Manager::new().value("total", 0.5)?;
    /// assert_eq!(total.add(0.25)?, 0.75);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn value<T: SharedNumber>(&self, name: &str, first: T) -> Result<Value<T>, Error> {
        self.create(name, ObjectForm::Value(T::TYPE), Some(T::into_numbers(vec![first]))).map(Value::new)
    }

    /// Creates an array of numbers in shared memory, with these in it. Its length never changes.
    ///
    /// # Errors
    ///
    /// Those of all objects; kind [`Uncreated`](crate::ObjectErrorKind::Uncreated) for more than 134,217,728 elements.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: numbers = Array("i", range(10))
    /// let numbers = Manager::new().array("numbers", 0i32..10)?;
    /// numbers.store(0, 5)?;
    /// assert_eq!(numbers.to_vec()?, [5, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn array<T: SharedNumber>(&self, name: &str, first: impl IntoIterator<Item = T>) -> Result<Array<T>, Error> {
        let numbers: Vec<T> = first.into_iter().take(LONGEST_ARRAY + 1).collect();
        if numbers.len() > LONGEST_ARRAY {
            return Err(ObjectError::new(name, ObjectErrorKind::Uncreated("it is too long")).into());
        }
        let length = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        self.create(name, ObjectForm::Array(T::TYPE, length), Some(T::into_numbers(numbers)))
            .map(|handle| Array::new(handle, length))
    }

    /// Creates a lock.
    ///
    /// # Errors
    ///
    /// Those of all objects.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: gate = Lock()
    /// let gate = Manager::new().lock("gate")?;
    /// let held = gate.acquire()?;
    /// assert!(gate.try_acquire()?.is_none());
    /// # drop(held);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn lock(&self, name: &str) -> Result<Lock, Error> {
        self.create(name, ObjectForm::Lock, None).map(Lock::new)
    }

    /// Creates a lock that its holder can acquire again, and has to release as often.
    ///
    /// # Errors
    ///
    /// Those of all objects.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: gate = RLock()
    /// let gate = Manager::new().rlock("gate")?;
    /// let (outer, inner) = (gate.acquire()?, gate.acquire()?);
    /// # drop((outer, inner));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn rlock(&self, name: &str) -> Result<RLock, Error> {
        self.create(name, ObjectForm::Rlock, None).map(RLock::new)
    }

    /// Creates a semaphore with this many slots. [`Semaphore::release`] may add more.
    ///
    /// # Errors
    ///
    /// Those of all objects.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: slots = Semaphore(2)
    /// let slots = Manager::new().semaphore("slots", 2)?;
    /// let held = slots.acquire()?;
    /// assert_eq!(slots.value()?, 1);
    /// # drop(held);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn semaphore(&self, name: &str, slots: u32) -> Result<Semaphore, Error> {
        self.create(name, ObjectForm::Semaphore { slots, bounded: false }, None).map(Semaphore::new)
    }

    /// Creates a semaphore that never has more than this many slots.
    ///
    /// # Errors
    ///
    /// Those of all objects; kind [`Uncreated`](crate::ObjectErrorKind::Uncreated) for no slot.
    ///
    /// ```
    /// # use wasmpool::{Error, Manager, ObjectErrorKind};
    /// // Python: slots = BoundedSemaphore(2)
    /// let slots = Manager::new().bounded_semaphore("slots", 2)?;
    /// assert!(matches!(slots.release(), Err(Error::Object(e)) if e.kind == ObjectErrorKind::TooMany));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn bounded_semaphore(&self, name: &str, slots: u32) -> Result<Semaphore, Error> {
        if slots == 0 {
            return Err(ObjectError::new(name, ObjectErrorKind::Uncreated("it needs one slot at least")).into());
        }
        self.create(name, ObjectForm::Semaphore { slots, bounded: true }, None).map(Semaphore::new)
    }

    /// Creates an event, which is not set.
    ///
    /// # Errors
    ///
    /// Those of all objects.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: go = Event()
    /// let go = Manager::new().event("go")?;
    /// go.set()?;
    /// go.wait()?;
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn event(&self, name: &str) -> Result<Event, Error> {
        self.create(name, ObjectForm::Event, None).map(Event::new)
    }

    /// Creates a condition, with an rlock of its own.
    ///
    /// # Errors
    ///
    /// Those of all objects.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: changed = Condition()
    /// let changed = Manager::new().condition("changed")?;
    /// changed.acquire()?.notify_all()?;
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn condition(&self, name: &str) -> Result<Condition, Error> {
        self.create(name, ObjectForm::Condition, None).map(Condition::new)
    }

    /// Creates a barrier that opens when this many wait at it.
    ///
    /// # Errors
    ///
    /// Those of all objects; kind [`Uncreated`](crate::ObjectErrorKind::Uncreated) for no party.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: start = Barrier(1)
    /// let start = Manager::new().barrier("start", 1)?;
    /// assert_eq!(start.wait()?, 0);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn barrier(&self, name: &str, parties: u32) -> Result<Barrier, Error> {
        if parties == 0 {
            return Err(ObjectError::new(name, ObjectErrorKind::Uncreated("it needs one party at least")).into());
        }
        self.create(name, ObjectForm::Barrier { parties }, None).map(Barrier::new)
    }

    /// Creates a dict from strings to values of one type, which begins empty. A guest has it as `wasi:keyvalue`, too.
    ///
    /// # Errors
    ///
    /// Those of all objects.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: seen = manager.dict()
    /// let seen = Manager::new().dict::<Vec<i64>>("seen")?;
    /// seen.set("a", vec![1, 2])?;
    /// assert_eq!(seen.get("a")?, Some(vec![1, 2]));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn dict<V: Message>(&self, name: &str) -> Result<Dict<V>, Error> {
        self.create(name, ObjectForm::Dict, None).map(Dict::new)
    }

    /// Creates a list of values of one type, which begins empty.
    ///
    /// # Errors
    ///
    /// Those of all objects.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: found = manager.list()
    /// let found = Manager::new().list::<String>("found")?;
    /// found.append("Hello".to_owned())?;
    /// assert_eq!(found.to_vec()?, ["Hello"]);
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn list<V: Message>(&self, name: &str) -> Result<List<V>, Error> {
        self.create(name, ObjectForm::List, None).map(List::new)
    }

    /// Creates a namespace: names with values, each of its own type.
    ///
    /// # Errors
    ///
    /// Those of all objects.
    ///
    /// ```
    /// # use wasmpool::Manager;
    /// // Python: settings = manager.Namespace(); settings.x = 10
    /// let settings = Manager::new().namespace("settings")?;
    /// settings.set("x", 10)?;
    /// assert_eq!(settings.get::<i64>("x")?, Some(10));
    /// # Ok::<(), wasmpool::Error>(())
    /// ```
    pub fn namespace(&self, name: &str) -> Result<Namespace, Error> {
        self.create(name, ObjectForm::Namespace, None).map(Namespace::new)
    }
}
