//! The shared objects of one run: made of `--share`, filled from `--share-in`, and told in `--share-out`.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::signals::LastWord;
use super::spec::RunSpec;
use super::whole::WholeFile;
use wasmpool_core::policy::SandboxMode;
use wasmpool_core::share::{ObjectRights, ObjectSpec, SharedGrants};
use wasmpool_core::text::{ForeignText, bytes_said};
use wasmpool_run::cgroup::HostPlacement;
use wasmpool_run::error::Error;
use wasmpool_run::shared::{SharedContents, SharedObjects, SharedSettings, TellContentsError};
use wasmpool_run::spawn::ChildProgram;

/// Maximum bytes of the file of `--share-in`.
const LONGEST: u64 = 1 << 30;
/// Number of workers on other machines for which the process that keeps the objects has memory. Descriptors it has for more.
const MOST_WORKERS: usize = 256;
/// The beginning of the name that a file of `--share-out` has for a moment, or while it is written where there are no files
/// without a name.
const UNFINISHED: &str = ".wasmpool-share-";

/// The shared objects that a run is to have. All objects of a run are granted to its tasks.
#[derive(Debug, Default)]
pub struct Sharing {
    objects: Vec<(ObjectSpec, ObjectRights)>,
    contents: SharedContents,
    told: Option<ContentsFile>,
    sandbox: SandboxMode,
    /// True if those who take part are on other machines, and nobody knows how many they are.
    over_hosts: bool,
}

/// The file of `--share-out`, or of `--state`.
#[derive(Debug)]
struct ContentsFile {
    path: PathBuf,
    file: WholeFile,
    /// True if other objects begin with it, whose tokens are to be greater.
    is_state: bool,
}

impl Sharing {
    /// Reads what the objects are filled with, and makes the file for what they hold at the end: whatever is wrong with
    /// either is found before anything runs.
    pub fn of<I>(spec: &RunSpec<I>) -> Result<Sharing, Error> {
        let shares = spec.grants.shares.iter();
        let objects = shares.map(|share| (share.spec.clone(), share.rights)).collect();
        Sharing::of_objects(objects, spec.share_in.as_deref(), spec.share_out.as_deref(), *spec.sandbox)
    }

    /// Does the same for these objects.
    pub fn of_objects(
        objects: Vec<(ObjectSpec, ObjectRights)>,
        share_in: Option<&Path>,
        share_out: Option<&Path>,
        sandbox: SandboxMode,
    ) -> Result<Sharing, Error> {
        let specs: Vec<ObjectSpec> = objects.iter().map(|(spec, _)| spec.clone()).collect();
        let contents = match share_in {
            Some(path) => read(&specs, path).map_err(|e| in_file(path, &e))?,
            None => SharedContents::default(),
        };
        let told = share_out.map(ContentsFile::make).transpose()?;
        Ok(Sharing { objects, contents, told, sandbox, over_hosts: false })
    }

    /// Checks what [`Sharing::of_objects`] reads and makes, and leaves no file. A pipe or a device is not opened: opening it waits
    /// for another program.
    pub fn check<'a>(
        objects: impl Iterator<Item = &'a ObjectSpec>,
        share_in: Option<&Path>,
        share_out: Option<&Path>,
    ) -> Result<(), Error> {
        let is_stream = |path: &&Path| fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        let objects = objects.map(|spec| (spec.clone(), ObjectRights::ALL)).collect();
        let (share_in, share_out) =
            (share_in.filter(|path| !is_stream(path)), share_out.filter(|path| !is_stream(path)));
        Sharing::of_objects(objects, share_in, share_out, SandboxMode::default()).map(drop)
    }

    /// Has those take part who are on other machines.
    #[cfg(feature = "hosts")]
    pub fn over_hosts(self) -> Sharing {
        Sharing { over_hosts: true, ..self }
    }

    /// Has tokens of holders be greater than this one, and what the objects hold at the end be told as others begin with it.
    #[cfg(feature = "hosts")]
    pub fn going_on(mut self, tokens: u64) -> Sharing {
        self.contents.tokens_after(tokens);
        self.told.iter_mut().for_each(|told| told.is_state = true);
        self
    }

    /// Starts what the objects need, for this many workers. Returns `None` if there are none.
    pub fn start(self, workers: usize) -> Result<Option<RunObjects>, Error> {
        if self.objects.is_empty() {
            return Ok(None);
        }
        let specs = self.objects.iter().map(|(spec, _)| spec.clone()).collect();
        let workers = if self.over_hosts { MOST_WORKERS } else { workers };
        let settings = SharedSettings { sandbox: self.sandbox, workers, placement: HostPlacement::Moves };
        let objects = SharedObjects::start(&ChildProgram::Own, specs, self.contents, settings)?;
        if self.over_hosts {
            // More hosts may come at any time.
            objects.set_parallelism(usize::MAX);
        }
        let granted = self.objects.iter().filter_map(|(spec, rights)| objects.grant(&spec.name, *rights));
        let grants = SharedGrants { names_items: true, objects: granted.collect(), ..SharedGrants::default() };
        let told = self.told.map(|told| (LastWord::keep(told.unwritten_word()), told));
        Ok(Some(RunObjects { objects: Arc::new(objects), grants, told }))
    }
}

/// The shared objects of a run that has begun.
pub struct RunObjects {
    pub objects: Arc<SharedObjects>,
    /// What each worker is granted of them.
    pub grants: SharedGrants,
    /// The file of `--share-out`, and what is said where the program ends before it is written.
    told: Option<(LastWord, ContentsFile)>,
}

impl RunObjects {
    /// Writes what the objects hold, once all workers have ended.
    pub fn tell(self) -> Result<(), Error> {
        let Some((_until_written, told)) = self.told else {
            return Ok(());
        };
        told.write(&self.objects)
    }
}

impl ContentsFile {
    fn make(path: &Path) -> Result<ContentsFile, Error> {
        let file = WholeFile::make(path, UNFINISHED).map_err(|e| unwritten(path, &e))?;
        Ok(ContentsFile { path: path.to_owned(), file, is_state: false })
    }

    /// Returns what is said of the file where the program ends before it is written.
    fn unwritten_word(&self) -> String {
        let path = ForeignText::of(&self.path);
        match &self.file {
            WholeFile::Stream(_) => format!("what the shared objects hold was not written to {path}, or not all of it"),
            WholeFile::Aside(..) if self.path.exists() => {
                format!("what the shared objects hold was not written to {path}, which is as it was before the run")
            }
            WholeFile::Aside(..) => format!("what the shared objects hold was not written to {path}"),
        }
    }

    fn write(self, objects: &SharedObjects) -> Result<(), Error> {
        let written = self.file.write(|out| {
            match self.is_state {
                true => objects.write_state(&mut *out)?,
                false => objects.write_contents(&mut *out)?,
            }
            Ok(out.write_all(b"\n")?)
        });
        written.map_err(|e| match e {
            TellContentsError::Objects(e) => e,
            TellContentsError::Output(e) => unwritten(&self.path, &e),
        })
    }
}

fn read(specs: &[ObjectSpec], path: &Path) -> Result<SharedContents, Error> {
    let file = File::open(path).map_err(|e| Error::Shared(e.to_string()))?;
    let mut text = BufReader::new(AtMost { file, left: LONGEST });
    // The mark with which some editors begin a text in UTF-8.
    if text.fill_buf().is_ok_and(|begin| begin.starts_with(b"\xef\xbb\xbf")) {
        text.consume(3);
    }
    SharedContents::read(specs, text)
}

/// A file that may not be longer than this.
struct AtMost {
    file: File,
    left: u64,
}

impl Read for AtMost {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(format!("it is longer than {}", bytes_said(LONGEST)))),
        }
        Ok(count)
    }
}

fn in_file(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Shared(format!("cannot fill the shared objects from {}: {why}", ForeignText::of(path)))
}

fn unwritten(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Shared(format!("cannot write what the shared objects hold to {}: {why}", ForeignText::of(path)))
}
