//! What a file asks for, checked as a whole: which processes there are, in which order they start, and which reaches
//! which objects with which rights. Nothing is touched for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::circles;
use super::error::PlanError;
use super::file::{ProcessEntry, Restart, RunFile};
use crate::cli::manifest::{FileLimits, PolicyGrants};
use crate::cli::meant::nearest;
use crate::cli::share::{self, SharedObject};
use crate::cli::units;
use wasmpool_core::share::{MOST_OBJECTS, ObjectForm, ObjectQuota, ObjectRights, ObjectSpec};

/// Maximum number of processes of a run. Each is a process of the system, and a thread of this one.
pub const MOST_PROCESSES: u32 = 1000;
/// Restarts of a process that is started again on failure, unless the file says how many.
const RESTARTS: u32 = 5;
/// What stands for the number of a process in its arguments.
const NUMBER: &str = "{#}";
/// Quota of a pipe between two commands.
const PIPE: ObjectQuota = ObjectQuota { entries: 4096, bytes: 1 << 20 };

/// All that a run is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The objects that the file names, with the rights that it leaves, and behind them the pipes between commands.
    pub objects: Vec<SharedObject>,
    /// Number of those that the file names.
    pub named: usize,
    pub processes: Vec<PlannedProcess>,
}

/// One or several processes of the same name.
#[derive(Clone, Debug)]
pub struct PlannedProcess {
    pub name: String,
    pub task: PathBuf,
    pub work: Work,
    pub count: u32,
    pub restart: Restart,
    /// `None` if it is started again without end.
    pub restarts: Option<u32>,
    pub daemon: bool,
    pub after: Vec<After>,
    /// The process whose standard output it reads, and the one that reads its own.
    pub stdin: Option<usize>,
    pub stdout: Option<usize>,
    /// What it reaches of the objects that the file names, by their places.
    pub rights: Vec<(usize, ObjectRights)>,
    pub limits: FileLimits,
    pub grants: PolicyGrants,
}

/// What a process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    Function { name: Option<String>, arguments: Vec<String>, bound: Vec<(String, String)>, init: Option<String> },
    Command { arguments: Vec<String>, ok_codes: BTreeSet<i32> },
}

/// Something that has to have happened before a process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    pub process: usize,
    pub until: Until,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All processes of that name have loaded their task.
    Started,
    /// All have ended, and none has failed.
    Ended,
}

impl Plan {
    /// Checks the file, whose paths are relative to this folder.
    pub fn of(file: RunFile, folder: &Path) -> Result<Plan, PlanError> {
        let mut objects = objects(&file.share)?;
        let named = objects.len();
        let names: Vec<String> = file.process.iter().map(|(name, _)| name.clone()).collect();
        let mut processes = Vec::new();
        for (name, entry) in file.process {
            processes.push(process(name, entry, &names, &objects, folder)?);
        }
        check_processes(&processes)?;
        check_order(&processes)?;
        check_pipes(&processes, &objects)?;
        check_barriers(&processes, &objects)?;
        for reader in 0..processes.len() {
            let Some(writer) = processes[reader].stdin else {
                continue;
            };
            check_standard_streams(&processes, writer, reader)?;
            processes[writer].stdout = Some(reader);
            let name = format!("standard output of {}", processes[writer].name);
            let spec = ObjectSpec { name, form: ObjectForm::Pipe { duplex: false }, quota: PIPE };
            objects.push(SharedObject { spec, rights: ObjectRights::ALL });
        }
        let in_circle = circles::of(&processes, &objects);
        if !in_circle.is_empty() {
            let names = in_circle.into_iter().filter_map(|place| processes.get(place)).map(|one| one.name.clone());
            return Err(PlanError::NeverEnd { names: names.collect() });
        }
        match objects.len() {
            count if count > MOST_OBJECTS => Err(PlanError::TooManyObjects { count }),
            _ => Ok(Plan { objects, named, processes }),
        }
    }

    /// Takes away what processes do not get, since their plugins do not ask for it. `granted` has what each gets, by the names of
    /// the objects.
    pub fn narrow(&mut self, granted: impl Fn(usize, &str) -> Option<ObjectRights>) -> Result<(), PlanError> {
        let Plan { objects, named, processes } = self;
        for (place, process) in processes.iter_mut().enumerate() {
            process.rights.retain_mut(|(object, rights)| {
                let granted = objects.get(*object).and_then(|object| granted(place, &object.spec.name));
                *rights = granted.map_or(ObjectRights { first: false, second: false }, |granted| granted.and(*rights));
                rights.first || rights.second
            });
        }
        let objects = objects.get(..*named).unwrap_or_default();
        check_pipes(processes, objects)?;
        check_barriers(processes, objects)
    }

    /// Returns the number of processes in all.
    pub fn count(&self) -> u32 {
        self.processes.iter().map(|process| process.count).sum()
    }

    /// Returns the pipe that this process's standard output is, by its place among the objects.
    pub fn pipe_of(&self, writer: usize) -> Option<usize> {
        self.processes.get(writer)?.stdout?;
        let before = self.processes.iter().filter_map(|process| process.stdin).take_while(|from| *from != writer);
        Some(self.named + before.count())
    }

    /// Returns the processes one by one, as the place of their entry and their number.
    pub fn instances(&self) -> Vec<(usize, u32)> {
        let each = self.processes.iter().enumerate();
        each.flat_map(|(process, entry)| (0..entry.count).map(move |number| (process, number))).collect()
    }

    /// Returns all that a process reaches, with the pipes of its standard streams.
    pub fn reached(&self, process: usize) -> Vec<(usize, ObjectRights)> {
        let Some(entry) = self.processes.get(process) else {
            return Vec::new();
        };
        let first = ObjectRights { first: true, second: false };
        let second = ObjectRights { first: false, second: true };
        let stdin = entry.stdin.and_then(|writer| self.pipe_of(writer)).map(|pipe| (pipe, first));
        let stdout = self.pipe_of(process).map(|pipe| (pipe, second));
        entry.rights.iter().copied().chain(stdin).chain(stdout).collect()
    }

    /// Returns the places of the processes, each behind those it starts after.
    pub fn in_order(&self) -> Vec<usize> {
        let mut ordered: Vec<usize> = Vec::new();
        while ordered.len() < self.processes.len() {
            let is_next = |place: &usize| {
                let after = &self.processes[*place].after;
                !ordered.contains(place) && after.iter().all(|after| ordered.contains(&after.process))
            };
            match (0..self.processes.len()).find(is_next) {
                Some(next) => ordered.push(next),
                // There is no circle (`check_order`).
                None => break,
            }
        }
        ordered
    }
}

impl PlannedProcess {
    /// Returns the name of one of these processes: its number is added if there can be several.
    pub fn label(&self, number: u32) -> String {
        match self.count {
            1 => self.name.clone(),
            _ => format!("{}-{number}", self.name),
        }
    }
}

impl Work {
    /// Returns the work of the process with this number.
    pub fn numbered(&self, number: u32) -> Work {
        let number = number.to_string();
        let fill = |text: &String| text.replace(NUMBER, &number);
        match self {
            Work::Function { name, arguments, bound, init } => Work::Function {
                name: name.clone(),
                arguments: arguments.iter().map(fill).collect(),
                bound: bound.iter().map(|(name, value)| (name.clone(), fill(value))).collect(),
                init: init.clone(),
            },
            Work::Command { arguments, ok_codes } => {
                Work::Command { arguments: arguments.iter().map(fill).collect(), ok_codes: ok_codes.clone() }
            }
        }
    }
}

/// Reads a table of objects, by their names.
pub fn objects(said: &BTreeMap<String, String>) -> Result<Vec<SharedObject>, PlanError> {
    let read = |(name, text): (&String, &String)| {
        share::shared_object(&format!("{name}={text}")).map_err(|why| PlanError::Object { name: name.clone(), why })
    };
    said.iter().map(read).collect()
}

fn process(
    name: String,
    entry: ProcessEntry,
    names: &[String],
    objects: &[SharedObject],
    folder: &Path,
) -> Result<PlannedProcess, PlanError> {
    share::check_name(&name).map_err(|_| PlanError::Name { name: name.clone() })?;
    let of = |name: &str| names.iter().position(|other| other == name);
    let similar = |name: &str| nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
    let work = work(&name, &entry)?;
    let count = entry.count.unwrap_or(1);
    if count == 0 || count > MOST_PROCESSES {
        return Err(PlanError::Count { name });
    }
    if entry.restarts.is_some() && entry.restart == Restart::Never {
        return Err(PlanError::RestartsOfNone { name });
    }
    let restarts = match entry.restart {
        Restart::Never => Some(0),
        Restart::OnFailure => Some(entry.restarts.unwrap_or(RESTARTS)),
        Restart::Always => entry.restarts,
    };
    let mut after = Vec::new();
    for text in &entry.after {
        let (other, what) = text.rsplit_once(':').unwrap_or((text, "started"));
        let unknown = || PlanError::After { name: name.clone(), other: other.to_owned(), similar: similar(other) };
        let process = of(other).ok_or_else(unknown)?;
        let until = match what {
            "started" => Until::Started,
            "ended" => Until::Ended,
            _ => {
                let (other, what) = (other.to_owned(), what.to_owned());
                return Err(PlanError::AfterWhat { name, other, what });
            }
        };
        after.push(After { process, until });
    }
    let unknown =
        |other: &String| PlanError::Stdin { name: name.clone(), other: other.clone(), similar: similar(other) };
    let stdin = entry.stdin.as_ref().map(|other| of(other).ok_or_else(|| unknown(other))).transpose()?;
    let rights = rights(&name, &entry.share, objects)?;
    Ok(PlannedProcess {
        task: folder.join(&entry.task),
        name,
        work,
        count,
        restart: entry.restart,
        restarts,
        daemon: entry.daemon,
        after,
        stdin,
        stdout: None,
        rights,
        limits: entry.limits,
        grants: entry.grants.into(),
    })
}

fn work(name: &str, entry: &ProcessEntry) -> Result<Work, PlanError> {
    let name = || name.to_owned();
    let json = |text: &str| {
        let filled = text.replace(NUMBER, "0");
        units::json(&filled).map_err(|why| PlanError::Argument { name: name(), text: text.to_owned(), why: why.into() })
    };
    if let Some(arguments) = &entry.command {
        let of_function = [
            ("function", entry.function.is_some()),
            ("args", entry.args.is_some()),
            ("arg", !entry.arg.is_empty()),
            ("init", entry.init.is_some()),
        ];
        if let Some((key, _)) = of_function.into_iter().find(|(_, given)| *given) {
            return Err(PlanError::OfFunction { name: name(), key });
        }
        if arguments.iter().any(|argument| argument.contains('\0')) {
            return Err(PlanError::Nul { name: name() });
        }
        let ok_codes = entry.ok_codes.clone().unwrap_or_else(|| [0].into());
        return Ok(Work::Command { arguments: arguments.clone(), ok_codes });
    }
    for (key, given) in [("ok-codes", entry.ok_codes.is_some()), ("stdin", entry.stdin.is_some())] {
        if given {
            return Err(PlanError::OfCommand { name: name(), key });
        }
    }
    let arguments: Vec<String> = entry.args.iter().flatten().map(|argument| argument.0.clone()).collect();
    let bound: Vec<(String, String)> = entry.arg.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    let init = entry.init.as_ref().map(|argument| argument.0.clone());
    arguments.iter().chain(bound.iter().map(|(_, value)| value)).try_for_each(|text| json(text).map(drop))?;
    if let Some(init) = &init {
        units::json(init).map_err(|why| PlanError::Argument { name: name(), text: init.clone(), why: why.into() })?;
    }
    Ok(Work::Function { name: entry.function.clone(), arguments, bound, init })
}

/// Returns the rights of a process, narrowed by those that the file leaves of an object.
fn rights(name: &str, said: &[String], objects: &[SharedObject]) -> Result<Vec<(usize, ObjectRights)>, PlanError> {
    let mut all: Vec<(usize, ObjectRights)> = Vec::new();
    for text in said {
        let (object, word) = text.split_once(':').map_or((&**text, None), |(object, word)| (object, Some(word)));
        let found = objects.iter().position(|one| one.spec.name == object);
        let unknown = || {
            let similar = nearest(object, objects.iter().map(|one| &*one.spec.name)).map(str::to_owned);
            PlanError::Share { name: name.to_owned(), object: object.to_owned(), similar }
        };
        let place = found.ok_or_else(unknown)?;
        let form = &objects[place].spec.form;
        let asked = match word {
            None => ObjectRights::ALL,
            Some(word) => share::rights_of(form, word).ok_or_else(|| PlanError::Right {
                name: name.to_owned(),
                text: text.clone(),
                words: share::words(form),
            })?,
        };
        let rights = asked.and(objects[place].rights);
        if !rights.first && !rights.second {
            return Err(PlanError::NoRight { name: name.to_owned(), text: text.clone() });
        }
        if all.iter().any(|(other, _)| *other == place) {
            return Err(PlanError::ShareTwice { name: name.to_owned(), object: object.to_owned() });
        }
        all.push((place, rights));
    }
    Ok(all)
}

fn check_processes(processes: &[PlannedProcess]) -> Result<(), PlanError> {
    if processes.is_empty() {
        return Err(PlanError::NoProcess);
    }
    if processes.iter().all(|process| process.daemon) {
        return Err(PlanError::AllDaemons);
    }
    let count = processes.iter().map(|process| process.count).fold(0, u32::saturating_add);
    if count > MOST_PROCESSES {
        return Err(PlanError::TooMany { count });
    }
    // What several are called must not be what another is called.
    let mut labels = BTreeSet::new();
    for process in processes {
        for number in 0..process.count {
            if !labels.insert(process.label(number)) {
                return Err(PlanError::SameLabel { label: process.label(number) });
            }
        }
    }
    Ok(())
}

fn check_order(processes: &[PlannedProcess]) -> Result<(), PlanError> {
    for process in processes {
        let awaited = process.after.iter().filter(|after| after.until == Until::Ended);
        for other in awaited.filter_map(|after| processes.get(after.process)) {
            let names = || (process.name.clone(), other.name.clone());
            if other.daemon {
                let (name, other) = names();
                return Err(PlanError::AfterDaemon { name, other });
            }
            if other.restart == Restart::Always && other.restarts.is_none() {
                let (name, other) = names();
                return Err(PlanError::AfterEndless { name, other });
            }
        }
    }
    let mut left: BTreeSet<usize> = (0..processes.len()).collect();
    // Those that wait for none of the others are taken away, until there are none.
    loop {
        let free = |place: &usize| processes[*place].after.iter().all(|after| !left.contains(&after.process));
        let Some(next) = left.iter().copied().find(free) else {
            break;
        };
        left.remove(&next);
    }
    match left.first() {
        None => Ok(()),
        Some(_) => Err(PlanError::Circle { names: left.iter().map(|&place| processes[place].name.clone()).collect() }),
    }
}

/// Checks that each end of a pipe belongs to one process, which is started once, and that the other end does, too.
fn check_pipes(processes: &[PlannedProcess], objects: &[SharedObject]) -> Result<(), PlanError> {
    for (place, object) in objects.iter().enumerate() {
        if !matches!(object.spec.form, ObjectForm::Pipe { .. }) {
            continue;
        }
        let pipe = || object.spec.name.clone();
        let holds: [fn(&ObjectRights) -> bool; 2] = [|rights| rights.first, |rights| rights.second];
        let mut lacking = Vec::new();
        for (holds, end) in holds.into_iter().zip(["first", "second"]) {
            let has = |process: &&PlannedProcess| {
                process.rights.iter().any(|(object, rights)| *object == place && holds(rights))
            };
            let holders: Vec<&PlannedProcess> = processes.iter().filter(has).collect();
            if let Some(again) = holders.iter().find(|process| process.restart != Restart::Never) {
                return Err(PlanError::RestartedEnd { name: again.name.clone(), pipe: pipe() });
            }
            if holders.iter().map(|process| process.count).sum::<u32>() > 1 {
                return Err(PlanError::SharedEnd { pipe: pipe(), end });
            }
            if holders.is_empty() {
                lacking.push(end);
            }
        }
        // A pipe that nobody has does no harm.
        if let [end] = lacking[..] {
            return Err(PlanError::EndOfNobody { pipe: pipe(), end });
        }
    }
    Ok(())
}

/// Checks that so many processes reach a barrier as it is for.
fn check_barriers(processes: &[PlannedProcess], objects: &[SharedObject]) -> Result<(), PlanError> {
    for (place, object) in objects.iter().enumerate() {
        let ObjectForm::Barrier { parties } = object.spec.form else {
            continue;
        };
        let reaches = |process: &&PlannedProcess| process.rights.iter().any(|(object, _)| *object == place);
        let count: u32 = processes.iter().filter(reaches).map(|process| process.count).sum();
        if (1..parties).contains(&count) {
            return Err(PlanError::TooFewParties { barrier: object.spec.name.clone(), parties, count });
        }
    }
    Ok(())
}

/// Checks that one process can read what the other writes.
fn check_standard_streams(processes: &[PlannedProcess], writer: usize, reader: usize) -> Result<(), PlanError> {
    let (from, to) = (&processes[writer], &processes[reader]);
    let names = || (to.name.clone(), from.name.clone());
    if !matches!(from.work, Work::Command { .. }) {
        let (name, other) = names();
        return Err(PlanError::StdinOfFunction { name, other });
    }
    if writer == reader {
        return Err(PlanError::OwnStdin { name: to.name.clone() });
    }
    if let Some(second) = from.stdout.and_then(|other| processes.get(other)) {
        return Err(PlanError::ReadTwice { name: from.name.clone(), readers: [second.name.clone(), to.name.clone()] });
    }
    if let Some(several) = [from, to].into_iter().find(|process| process.count > 1) {
        return Err(PlanError::SeveralAtPipe { name: several.name.clone() });
    }
    if let Some(again) = [from, to].into_iter().find(|process| process.restart != Restart::Never) {
        return Err(PlanError::RestartedAtPipe { name: again.name.clone() });
    }
    let waits = |one: &PlannedProcess, other: usize| one.after.contains(&After { process: other, until: Until::Ended });
    if waits(to, writer) || waits(from, reader) {
        let (name, other) = names();
        return Err(PlanError::WaitsForPipe { name, other });
    }
    Ok(())
}
