//! The compile process: turns one task into its artifact.

mod bounds;
mod copies;
mod mistaken;
mod proposals;
mod restorable;
mod sections;
mod snapshot;
mod threads;

use std::any::Any;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::Duration;

use wasmparser::{Validator, WasmFeatures};
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Engine, ImportType, Module, ResourcesRequired};

use crate::InitError;
use crate::engine;
use crate::exports::{self, TaskExport};
use crate::load::{self, LoadError};
use crate::value::example_item;
use copies::CountError;
pub use restorable::NotRestorable;
use restorable::{RestorableTask, restorable};
use snapshot::Snapshot;
use threads::{Late, Threads};
use wasmpool_core::artifact::{
    ArtifactMeta, EngineProfile, ExportLine, InitOnce, InstanceNeeds, Renewal, TaskDescription, TaskFormat,
};
use wasmpool_core::chain::with_sources;
use wasmpool_core::setting::Setting;
use wasmpool_core::text::{ForeignText, brief, cut, shown};
use wasmpool_ipc::lane::control::Control;
use wasmpool_ipc::messages::{BeginCompile, CompileReply, CompileRequest, CompilerEntry, InitCall};
use wasmpool_sandbox::surroundings;
use wasmpool_sandbox::{self as sandbox, SandboxError, SandboxPlan};

/// Runs the process on the socket it was given.
pub fn run(socket: OwnedFd) -> ExitCode {
    let served = sandbox::fault_plainly().map_err(io::Error::from).and_then(|()| serve(&Control::from_fd(socket)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(control: &Control) -> io::Result<()> {
    let Some((BeginCompile, fds)) = control.receive_descriptors()? else {
        return Ok(());
    };
    let Ok([request, wasm, artifact, reply]) = <[OwnedFd; 4]>::try_from(fds) else {
        return Err(io::Error::other("the host sent other descriptors than a compiler needs"));
    };
    let mut request: CompileRequest = wasmpool_ipc::memfd::read_json(request)?;
    std::mem::take(&mut request.names).adopt();
    let reply = File::from(reply);
    // In the sandbox, the process could not make a second descriptor.
    let late = late(&reply, request.init.as_ref().map(|init| init.timeout).unwrap_or_default())?;
    let threads = match enter(&request) {
        Ok(threads) => threads,
        Err(entry) => return control.write(&*entry),
    };
    control.write(&CompilerEntry::Entered)?;
    #[cfg(feature = "probes")]
    if let Some(probe) = &request.probe {
        let tried = sandbox::probes::attempt(probe);
        return Ok(serde_json::to_writer(&reply, &CompileReply::Probed(tried))?);
    }
    let _entered = threads.enter();
    let mut bytes = Vec::new();
    let mut wasm = File::from(wasm);
    wasm.seek(SeekFrom::Start(0))?;
    wasm.read_to_end(&mut bytes)?;
    let compiled = panic::catch_unwind(AssertUnwindSafe(|| {
        let file = request.file.as_deref().unwrap_or_default();
        compile(&bytes, file, request.profile, request.init.as_ref(), &threads, late)
    }));
    let answer = match compiled {
        Ok(Ok((code, meta))) => match File::from(artifact).write_all(&code) {
            Ok(()) => CompileReply::Compiled(Box::new(meta)),
            Err(e) => {
                CompileReply::Unable { why: "what was compiled cannot be kept".to_owned(), errno: e.raw_os_error() }
            }
        },
        Ok(Err(e)) => CompileReply::Refused(brief(&with_sources(&e))),
        Err(panicked) => CompileReply::Refused(brief(&broken_down(panicked.as_ref()))),
    };
    Ok(serde_json::to_writer(&reply, &answer)?)
}

/// Enters the whole sandbox; the task is read afterwards.
fn enter(request: &CompileRequest) -> Result<Threads, Box<CompilerEntry>> {
    for possible in [surroundings::executable_memory(), surroundings::enough_to_run()] {
        possible
            .map_err(|why| CompilerEntry::Unable { why: format!("the task cannot be compiled: {why}"), errno: None })?;
    }
    // Processors are counted while files can be read, because files may say that there are fewer.
    let compiling = wasmpool_sandbox::surroundings::processors();
    let limits = sandbox::ProcessLimits::of_compiler(compiling);
    let (role, limits) = match request.init {
        Some(_) => (sandbox::ProcessRole::CompileAndInit, limits.with_memories_on_demand()),
        None => (sandbox::ProcessRole::Compile, limits),
    };
    let plan = SandboxPlan::new(request.sandbox, role, limits, sandbox::SandboxOpenings::default());
    #[cfg(feature = "probes")]
    let plan = plan.weakened(request.probe.as_ref());
    let refused = |e: SandboxError| Box::new(CompilerEntry::Unprotected(cut(&with_sources(&e), LONGEST)));
    let mut sandbox = sandbox::enter_loading(plan).map_err(refused)?;
    let threads = Threads::start(compiling, request.init.is_some())
        // The host says which limit caused the error; in the sandbox this cannot be found out.
        .map_err(|e| {
            Box::new(CompilerEntry::Unable {
                why: "the compile process cannot start its threads".to_owned(),
                errno: e.raw_os_error(),
            })
        })?;
    sandbox.enter_serving().map_err(refused)?;
    Ok(threads)
}

/// Returns the message about a compiler that panicked.
fn broken_down(panicked: &(dyn Any + Send)) -> String {
    let words = panicked.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| panicked.downcast_ref::<&str>().copied()).unwrap_or("it did not say why");
    format!("the compiler broke down on it: {words}")
}

/// Returns the error of a text form: the message on one line, and below it the line of the text, as its parser draws
/// it. Names in the text may contain line breaks.
fn with_its_place(error: &str, file: &str) -> String {
    let drawn = error.rfind(PLACE);
    let (message, drawing) = drawn.and_then(|at| error.split_at_checked(at)).unwrap_or((error, ""));
    let drawing = match drawing.strip_prefix(PLACE).and_then(|rest| rest.strip_prefix(UNNAMED)) {
        Some(rest) if !file.is_empty() => format!("{PLACE}{}{rest}", ForeignText::of(file)),
        _ => drawing.to_owned(),
    };
    format!("{}{}", on_one_line(message), drawing.trim_end())
}

/// Returns the reason why something is not WebAssembly, with what it seems to be if it is not a text of WebAssembly.
fn no_wasm(bytes: &[u8], file: &str, error: &wat::Error) -> CompileError {
    if mistaken::is_meant_as_wat(bytes) {
        return CompileError::Text(with_its_place(&error.to_string(), file));
    }
    match mistaken::seems(bytes, file) {
        Some(seems) => CompileError::Mistaken(seems),
        None if std::str::from_utf8(bytes).is_ok() => CompileError::NoWasm(with_its_place(&error.to_string(), file)),
        None => CompileError::Binary(bytes.iter().take(4).map(|byte| format!(" {byte:02x}")).collect()),
    }
}

/// What the parser of the text form draws above the place of an error, and what it calls a text without a name.
const PLACE: &str = "\n     --> ";
const UNNAMED: &str = "<anon>";

/// Shows the runtime's message about a task on one line; it contains names from the task as they are.
fn on_one_line(message: &str) -> ForeignText<'_> {
    ForeignText::of(message.trim_end()).at_most(LONGEST)
}

/// The reason why a task has no artifact.
#[derive(Debug, thiserror::Error)]
enum CompileError {
    #[error("it is empty, not WebAssembly")]
    Empty,
    #[error("it is not WebAssembly, but {}: {}", .0.kind, .0.way_out)]
    Mistaken(mistaken::Mistaken),
    #[error("it is neither WebAssembly, which begins with the bytes 00 61 73 6d, nor its text form: it begins with{0}")]
    Binary(String),
    /// The place in the text is drawn on lines of its own.
    #[error("its text is not valid: {0}")]
    Text(String),
    /// The place in the text is drawn on lines of its own.
    #[error("it is neither WebAssembly nor its text form: {0}")]
    NoWasm(String),
    #[error("it is not valid WebAssembly: {}{}", on_one_line(&format!("{:#}", .0)), if_cut_short(.0))]
    Invalid(wasmtime::Error),
    #[error("it uses {0}")]
    Proposals(String),
    #[error("the task cannot be initialised")]
    Init(#[from] InitError),
    #[error("what its components copy to each other cannot be counted")]
    Uncounted(#[source] CountError),
    /// It is valid, and is not any more with the counting.
    #[error(
        "it is too large to count what its components pass to each other, as {} and {} have it done",
        Setting::Fuel,
        Setting::Deterministic
    )]
    TooLargeToCount(#[source] Box<CompileError>),
    /// It has no profile that it could be compiled with.
    #[error("it cannot be compiled")]
    NoProfile,
}

/// Returns the end of a message about a file that ends too early.
fn if_cut_short(error: &wasmtime::Error) -> &'static str {
    let ends_early = format!("{error:#}").contains("unexpected end-of-file");
    if ends_early { "; the file seems to be cut short: get or build it again" } else { "" }
}

/// Returns what ends the process if `init` is still running a while after its time was up, which happens if it waits in
/// a call of the host.
fn late(reply: &File, timeout: Duration) -> io::Result<Late> {
    let reply = reply.try_clone()?;
    Ok(Box::new(move || {
        let refused = CompileReply::Refused(with_sources(&CompileError::Init(InitError::Late(timeout))));
        let _ = serde_json::to_writer(&reply, &refused);
        // SAFETY: ends the process, whatever its other threads do.
        unsafe { libc::_exit(0) }
    }))
}

fn compile(
    bytes: &[u8],
    file: &str,
    profile: EngineProfile,
    init: Option<&InitCall>,
    threads: &Threads,
    late: Late,
) -> Result<(Vec<u8>, ArtifactMeta), CompileError> {
    if bytes.is_empty() {
        return Err(CompileError::Empty);
    }
    // Some editors put a byte order mark before a text; a binary begins with a zero byte.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|text| !text.starts_with(b"\0"));
    let text = text.unwrap_or(bytes);
    let wasm = wat::parse_bytes(text).map_err(|e| no_wasm(text, file, &e))?;
    let Some(init) = init.filter(|_| is_component(&wasm)) else {
        return compile_first(&wasm, profile);
    };
    match snapshot::take(&wasm, init, threads, late)? {
        Snapshot::Taken { wasm, pure } => {
            let (artifact, meta) = compile_first(&wasm, profile)?;
            let init = Some(if pure { InitOnce::Snapshot } else { InitOnce::SnapshotOfNow });
            Ok((artifact, ArtifactMeta { init, ..meta }))
        }
        Snapshot::Impossible(why) => {
            let (artifact, meta) = compile_first(&wasm, profile)?;
            Ok((artifact, ArtifactMeta { init: Some(InitOnce::EachTime(cut(&why, LONGEST))), ..meta }))
        }
    }
}

/// Returns true for a component; its fifth to eighth bytes differ from those of a core module.
pub fn is_component(wasm: &[u8]) -> bool {
    wasm.get(6..8) == Some(&[1, 0])
}

/// Returns true if the task is valid with all features that there are. Others get nothing added: a number that names
/// nothing in them could name what is added, and a task could change the values that its global variables are restored to.
fn is_valid(wasm: &[u8]) -> bool {
    Validator::new_with_features(WasmFeatures::all()).validate_all(wasm).is_ok()
}

/// Compiles the task with the first profile that can.
fn compile_first(wasm: &[u8], profile: EngineProfile) -> Result<(Vec<u8>, ArtifactMeta), CompileError> {
    let checked = (profile.fuel && is_valid(wasm)).then(|| bounds::check_first(wasm)).flatten();
    // A function that has as many local variables as it may has no room for those of the checks.
    let checked = checked.filter(|checked| is_valid(checked));
    let uncounted = checked.as_deref().unwrap_or(wasm);
    let counted = if profile.fuel { copies::count(uncounted) } else { Ok(None) };
    let wasm = counted.as_ref().ok().and_then(Option::as_deref).unwrap_or(uncounted);
    let mut last = CompileError::NoProfile;
    // For a core module, the last profile is the same as the one before.
    let profiles = || profile.all().into_iter().filter(|profile| is_component(wasm) || !profile.is_async());
    let restorable = if is_valid(wasm) { restorable(wasm) } else { Err(NotRestorable::Invalid) };
    for profile in profiles() {
        match compile_restorable(wasm, &restorable, profile) {
            Ok(done) => match counted {
                Ok(_) => return Ok(done),
                Err(e) => return Err(CompileError::Uncounted(e)),
            },
            // The error of the last profile, which has all features, is reported: others complain about the features
            // that they lack, not about what is wrong.
            Err(e) => last = CompileError::Invalid(e),
        }
    }
    // The counting exceeds the limits of a component, so the task is not to blame.
    if matches!(counted, Ok(Some(_)))
        && profiles().any(|profile| compile_as(uncounted, profile, NotRestorable::Invalid.into()).is_ok())
    {
        return Err(CompileError::TooLargeToCount(Box::new(last)));
    }
    match proposals::used(uncounted) {
        Some(used) => Err(CompileError::Proposals(used)),
        None => Err(last),
    }
}

/// Returns a core module with what restoring its instances takes, and what that is.
///
/// # Errors
///
/// Returns the reason why they cannot be restored.
pub fn restorable_core(wasm: &[u8]) -> Result<(Vec<u8>, Renewal), NotRestorable> {
    if !is_valid(wasm) {
        return Err(NotRestorable::Invalid);
    }
    let task = restorable(wasm)?;
    let renewal = task.renewal();
    Ok((task.wasm, renewal))
}

/// Compiles the task so that its instances can be restored, or else as it is. A task that needs more than the plain engine is
/// not restored: collected values and calls that wait keep more than is restored.
fn compile_restorable(
    wasm: &[u8],
    restorable: &Result<RestorableTask, NotRestorable>,
    profile: EngineProfile,
) -> wasmtime::Result<(Vec<u8>, ArtifactMeta)> {
    let why = match restorable {
        _ if profile.collects() => NotRestorable::Features,
        Ok(task) => {
            // What is added may also be more than the compiler can take, which it panics at.
            match panic::catch_unwind(|| compile_as(&task.wasm, profile, task.renewal())) {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(_)) | Err(_) => NotRestorable::Invalid,
            }
        }
        Err(why) => why.clone(),
    };
    compile_as(wasm, profile, why.into())
}

impl From<NotRestorable> for Renewal {
    fn from(why: NotRestorable) -> Renewal {
        Renewal::Anew(why.to_string())
    }
}

fn compile_as(wasm: &[u8], profile: EngineProfile, renewal: Renewal) -> wasmtime::Result<(Vec<u8>, ArtifactMeta)> {
    let engine = engine::compiling(profile)?;
    if is_component(wasm) {
        let component = Component::from_binary(&engine, wasm)?;
        if !profile.is_async() && crate::imports_async(&component, &engine) {
            return Err(wasmtime::Error::msg("what it imports of WASI 0.3 needs support for async functions"));
        }
        let needs = component.resources_required().map(needs);
        let imports = imports(&component, &engine);
        let wasi = imports.iter().any(|name| name.starts_with("wasi"));
        let imports = imports.iter().map(|name| shown(name)).collect();
        let exports = exports::of_component(&component, &engine);
        let init = exports::init(&exports).is_some().then(|| snapshot::outlook(wasm, profile));
        let unprovided = load::check_component(&engine, &component, profile.is_async()).err().map(told);
        let description = TaskDescription { init, unprovided, ..describe(&exports, imports) };
        Ok((
            component.serialize()?,
            ArtifactMeta { format: TaskFormat::Component, profile, needs, wasi, init: None, renewal, description },
        ))
    } else {
        let module = Module::from_binary(&engine, wasm)?;
        let needs = Some(needs(module.resources_required()));
        let wasi = module.imports().any(|import| import.module().starts_with("wasi"));
        let named = |of: ImportType<'_>| format!("{}/{}", shown(of.module()), shown(of.name()));
        let imports: Vec<String> = module.imports().map(named).collect();
        let unprovided = load::check_module(&engine, &module).err().map(told);
        let description = TaskDescription { unprovided, ..describe(&exports::of_module(&module), imports) };
        Ok((
            module.serialize()?,
            ArtifactMeta { format: TaskFormat::Core, profile, needs, wasi, init: None, renewal, description },
        ))
    }
}

/// Returns the reason why a task cannot be linked, at a length that fits a description.
fn told(why: LoadError) -> String {
    cut(&why.to_string(), LONGEST)
}

fn needs(required: ResourcesRequired) -> InstanceNeeds {
    // Wasmtime counts memory in pages here.
    const PAGE: u64 = 64 << 10;
    InstanceNeeds {
        memories: required.num_memories,
        initial_memory: required.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE),
        tables: required.num_tables,
        initial_table: required.max_initial_table_size.unwrap_or(0),
    }
}

/// Approximate maximum size of a description in bytes. The host keeps it, so a task with many functions and types must
/// not make it grow.
const DESCRIBED: usize = 512 << 10;
/// Maximum number of characters of a name or signature: deeply nested types soon have a million.
const LONGEST: usize = 2000;
/// Maximum size of the names of the fields that a function returns. A record with more columns is printed as one.
const LONGEST_FIELDS: usize = 64 << 10;

fn describe(exports: &[TaskExport], mut imports: Vec<String>) -> TaskDescription {
    let command = exports::command(exports).ok().map(|export| cut(&export.path(), LONGEST));
    imports.sort();
    imports.dedup();
    let all = exports.len() + imports.len();
    let mut room = DESCRIBED;
    // Each entry takes some memory in addition to its text.
    let mut fits = |bytes: usize| {
        let left = room.checked_sub(bytes + 64);
        room = left.unwrap_or(0);
        left.is_some()
    };
    let imports: Vec<String> =
        imports.into_iter().map(|name| cut(&name, LONGEST)).take_while(|name| fits(name.len())).collect();
    let exports: Vec<ExportLine> = exports
        .iter()
        .map(|e| ExportLine {
            name: cut(&e.path(), LONGEST),
            signature: cut(&e.signature(), LONGEST),
            users: e.is_users(),
            fields: if fields_of(&e.fields()) <= LONGEST_FIELDS { e.fields() } else { Default::default() },
            unsupported: e.unsupported.as_ref().map(|unsupported| cut(&unsupported.why, LONGEST)),
            example: match e.is_users() && e.unsupported.is_none() {
                true => example_item(&e.params),
                false => None,
            },
        })
        .take_while(|e| {
            let more = [&e.unsupported, &e.example].map(|text| text.as_ref().map_or(0, String::len));
            fits(e.name.len() + e.signature.len() + fields_of(&e.fields) + more.iter().sum::<usize>())
        })
        .collect();
    let left_out = all - imports.len() - exports.len();
    TaskDescription { exports, command, imports, unprovided: None, init: None, left_out }
}

/// Returns the approximate size in bytes of the names of fields.
fn fields_of(fields: &[Vec<String>; 3]) -> usize {
    fields.iter().flatten().map(|name| name.len() + 32).sum()
}

/// Returns the interfaces and functions that a component imports; imports that are only types require nothing.
fn imports(component: &Component, engine: &Engine) -> Vec<String> {
    component
        .component_type()
        .imports(engine)
        .filter(|(_, item)| !matches!(item.ty, ComponentItem::Type(_)))
        .map(|(name, _)| name.to_owned())
        .collect()
}
