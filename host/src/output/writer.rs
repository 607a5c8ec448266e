//! The thread that writes results: a slow reader slows the run, never its deadlines.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use crate::supervisor::{Event, Group, Sender};

/// Where results go.
#[derive(Debug)]
pub enum Target {
    Stdout,
    /// A file, and whether what it held before is gone: it is kept until there is something to replace it with.
    File {
        path: PathBuf,
        file: File,
        begun: bool,
    },
}

impl Target {
    /// Standard output, or a file, which is made if it is not there. `what` it is for is named where that fails.
    pub fn open(path: Option<&Path>, what: &str) -> Result<Target, String> {
        match path {
            None => Ok(Target::Stdout),
            Some(path) if path.as_os_str() == "-" => Ok(Target::Stdout),
            Some(path) => File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map(|file| Target::File { path: path.to_owned(), file, begun: false })
                .map_err(|e| format!("cannot write {what} {}: {e}", path.display())),
        }
    }

    /// The file it is, where that is a file on a disk.
    pub fn same(&self) -> Option<SameFile> {
        match self {
            Target::Stdout => None,
            Target::File { file, .. } => SameFile::of(file),
        }
    }

    /// Empties the file for the results to come. Called again it does nothing.
    pub fn begin(&mut self) -> io::Result<()> {
        if let Target::File { file, begun: begun @ false, .. } = self {
            *begun = true;
            if file.metadata()?.is_file() {
                file.set_len(0)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.begin()?;
        match self {
            Target::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Target::File { path, file, .. } => {
                file.write_all(bytes).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
            }
        }
    }
}

/// A file on a disk, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SameFile(u64, u64);

impl SameFile {
    pub fn of(file: &File) -> Option<SameFile> {
        file.metadata().ok().filter(Metadata::is_file).map(|m| SameFile(m.dev(), m.ino()))
    }
}

/// All that a run writes.
#[derive(Debug)]
pub struct Output {
    pub results: Target,
    /// Failed items with their input.
    pub failed: Option<Target>,
}

impl Output {
    /// Results alone.
    pub fn to(results: Target) -> Output {
        Output { results, failed: None }
    }

    /// Nothing more will come. Where nothing was written, that, too, is a result.
    pub fn end(&mut self) -> io::Result<()> {
        self.results.begin()?;
        self.failed.as_mut().map_or(Ok(()), Target::begin)
    }

    fn write(&mut self, group: &Group) -> Result<(), Refused> {
        // The failed first: where nobody reads the results any more, they have still been written down.
        if let Some(failed) = &mut self.failed
            && !group.failed.is_empty()
        {
            failed.write(&group.failed).map_err(Refused::Failed)?;
        }
        if !group.results.is_empty() {
            self.results.write(&group.results).map_err(|e| match e.kind() {
                io::ErrorKind::BrokenPipe => Refused::Closed,
                _ => Refused::Failed(e),
            })?;
        }
        Ok(())
    }
}

/// Why output did not leave.
enum Refused {
    /// Nobody reads the results any more.
    Closed,
    Failed(io::Error),
}

/// Bytes gathered for one write.
const WRITE: usize = 256 << 10;

/// Writes what comes, and tells the supervisor how much has left, until there is no more.
pub fn write_all(mut output: Output, groups: &Receiver<Group>, supervisor: &Sender) -> Output {
    while let Ok(mut group) = groups.recv() {
        // Small pieces that have gathered meanwhile go out together.
        while group.bytes() < WRITE
            && let Ok(more) = groups.try_recv()
        {
            group.results.extend_from_slice(&more.results);
            group.failed.extend_from_slice(&more.failed);
        }
        match output.write(&group) {
            Ok(()) => supervisor.written(group.bytes()),
            Err(Refused::Closed) => {
                supervisor.send(Event::OutputClosed);
                break;
            }
            Err(Refused::Failed(e)) => {
                supervisor.send(Event::OutputFailed(e));
                break;
            }
        }
    }
    output
}
