//! The thread that writes results: a slow reader slows the run, never its deadlines.

use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use rangemap::RangeSet;
use serde::{Deserialize, Serialize};

use crate::journal::{COMMIT_EVERY, Identity, Journal, Start, Written, sync_directory};
use crate::outcome::Counts;
use crate::supervisor::{Event, Group, Sender};

/// Where results go, or failed items.
#[derive(Debug)]
pub struct Target {
    to: To,
    written: u64,
    /// The end of what was written.
    end: Vec<u8>,
}

#[derive(Debug)]
enum To {
    Stdout,
    /// A file, and whether what it held before is gone: it is kept until there is something to replace it with.
    File {
        path: PathBuf,
        file: File,
        begun: bool,
    },
}

/// How much of a target is whole: so many bytes, the last of which have this hash, so that another file is not taken for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    bytes: u64,
    end: [u8; 32],
}

/// Bytes at the end of what was written that are looked at again.
const END: usize = 4096;

impl Target {
    /// Standard output, or a file, which is made if it is not there. `what` it is for is named where that fails.
    pub fn open(path: Option<&Path>, what: &str) -> Result<Target, String> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            return Ok(Target::stdout());
        };
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| format!("cannot write {what} {}: {e}", path.display()))?;
        Ok(Target { to: To::File { path: path.to_owned(), file, begun: false }, ..Target::stdout() })
    }

    pub fn stdout() -> Target {
        Target { to: To::Stdout, written: 0, end: Vec::new() }
    }

    /// The file it is, where that is a file on a disk.
    pub fn same(&self) -> Option<SameFile> {
        match &self.to {
            To::Stdout => None,
            To::File { file, .. } => SameFile::of(file),
        }
    }

    /// How much of it is whole, if all that was written is.
    fn extent(&self) -> Extent {
        Extent { bytes: self.written, end: blake3::hash(&self.end).into() }
    }

    /// Makes sure that what was written stays, where that can be had; for the first time, that the file itself does.
    fn sync(&self, first: bool) -> io::Result<()> {
        match &self.to {
            To::File { path, file, .. } if self.same().is_some() => {
                let result = file.sync_data().and_then(|()| if first { sync_directory(path) } else { Ok(()) });
                result.map_err(|e| name(path, e))
            }
            _ => Ok(()),
        }
    }

    /// Goes on behind what another run has written: a file keeps that and loses what follows.
    fn go_on(&mut self, extent: &Extent) -> Result<(), String> {
        self.written = extent.bytes;
        if self.same().is_none() {
            return Ok(());
        }
        let To::File { path, file, begun } = &mut self.to else {
            return Ok(());
        };
        let name = path.display();
        let cannot = |e: io::Error| format!("cannot go on with {name}: {e}");
        let length = file.metadata().map_err(cannot)?.len();
        let other = |how: String| {
            format!(
                "{name} is not what the journal says was written: {how}; put it back, or remove the journal to start anew"
            )
        };
        if length < extent.bytes {
            return Err(other(format!("it has {length} bytes, of {}", extent.bytes)));
        }
        let mut end = vec![0; END.min(usize::try_from(extent.bytes).unwrap_or(END))];
        let from = extent.bytes - end.len() as u64;
        // It is open for writing alone, as a target may be a pipe.
        File::open(&*path).and_then(|file| file.read_exact_at(&mut end, from)).map_err(cannot)?;
        if blake3::hash(&end).as_bytes() != &extent.end {
            return Err(other(format!("its bytes up to {} are others", extent.bytes)));
        }
        file.set_len(extent.bytes).and_then(|()| file.seek(SeekFrom::Start(extent.bytes))).map_err(cannot)?;
        *begun = true;
        self.end = end;
        Ok(())
    }

    /// Empties the file for the results to come. Called again it does nothing.
    pub fn begin(&mut self) -> io::Result<()> {
        if let To::File { file, begun: begun @ false, .. } = &mut self.to {
            *begun = true;
            if file.metadata()?.is_file() {
                file.set_len(0)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.begin()?;
        match &mut self.to {
            To::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()?;
            }
            To::File { path, file, .. } => file.write_all(bytes).map_err(|e| name(path, e))?,
        }
        self.written += bytes.len() as u64;
        let kept = self.end.len().min(END.saturating_sub(bytes.len()));
        self.end.drain(..self.end.len() - kept);
        self.end.extend_from_slice(bytes.get(bytes.len().saturating_sub(END)..).unwrap_or_default());
        Ok(())
    }
}

fn name(path: &Path, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
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
    pub journal: Option<Journal>,
    uncommitted: Uncommitted,
}

/// What the journal was not told yet.
#[derive(Debug, Default)]
struct Uncommitted {
    items: RangeSet<u64>,
    counts: Counts,
    waiting: Vec<Group>,
    /// Since when there is something.
    since: Option<Instant>,
}

impl Output {
    pub fn new(results: Target, failed: Option<Target>, journal: Option<Journal>) -> Output {
        Output { results, failed, journal, uncommitted: Uncommitted::default() }
    }

    /// Begins a run, or goes on with it where its journal says.
    pub fn start(&mut self, identity: Identity) -> Result<Start, String> {
        let Some(journal) = &mut self.journal else {
            return Ok(Start::Fresh);
        };
        let start = journal.begin(identity)?;
        if let Start::Behind { results, failed, .. } = &start {
            self.results.go_on(results)?;
            self.failed.as_mut().map_or(Ok(()), |target| target.go_on(failed))?;
        }
        Ok(start)
    }

    /// Every item has its outcome, and the command ends with this code.
    pub fn finish(&mut self, code: u8) -> io::Result<()> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.finish(code))
    }

    /// What the journal is to be told of, if it is written.
    fn note(&mut self, told: Told) {
        if self.journal.is_none() {
            return;
        }
        let Uncommitted { items, counts, waiting, since } = &mut self.uncommitted;
        since.get_or_insert_with(Instant::now);
        match told {
            Told::Next { items: next, counts: more } => {
                items.insert(next);
                counts.add(&more);
            }
            Told::Waiting(group) => waiting.push(group),
        }
    }

    /// Tells the journal of what was written, once that is on disk.
    fn commit(&mut self) -> Result<(), Refused> {
        let Some(journal) = self.journal.as_mut().filter(|_| self.uncommitted.since.is_some()) else {
            return Ok(());
        };
        let Uncommitted { items, counts, waiting, .. } = std::mem::take(&mut self.uncommitted);
        let first = *journal.counts() == Counts::default();
        self.results.sync(first).map_err(Refused::Failed)?;
        self.failed.as_ref().map_or(Ok(()), |target| target.sync(first)).map_err(Refused::Failed)?;
        let mut all = journal.counts().clone();
        all.add(&counts);
        let written = Written {
            items: items.into_iter().collect(),
            counts: all,
            results: self.results.extent(),
            failed: self.failed.as_ref().map(Target::extent).unwrap_or_default(),
            read: journal.read(),
        };
        journal.commit(written, waiting).map_err(Refused::Journal)
    }

    /// Nothing more will come. Where nothing was written, that, too, is a result.
    pub fn end(&mut self) -> io::Result<()> {
        self.results.begin()?;
        self.failed.as_mut().map_or(Ok(()), Target::begin)
    }
}

/// Why output did not leave.
enum Refused {
    /// Nobody reads the results any more.
    Closed,
    Failed(io::Error),
    Journal(io::Error),
}

/// What the writer is told.
#[derive(Debug)]
pub enum Message {
    /// These outcomes are next.
    Next(Group),
    /// These wait for others, and are only for the journal.
    Waiting(Group),
}

/// What the journal is to be told.
enum Told {
    Next { items: Range<u64>, counts: Counts },
    Waiting(Group),
}

/// Bytes gathered for one write.
const WRITE: usize = 256 << 10;

/// Writes what comes, and tells the supervisor how much has left, until there is no more.
pub fn write_all(mut output: Output, messages: &Receiver<Message>, supervisor: &Sender) -> Output {
    if let Err(refused) = output.write_until_end(messages, supervisor) {
        supervisor.send(match refused {
            Refused::Closed => Event::OutputClosed,
            Refused::Failed(e) => Event::OutputFailed(e),
            Refused::Journal(e) => Event::JournalFailed(e),
        });
    }
    output
}

impl Output {
    fn write_until_end(&mut self, messages: &Receiver<Message>, supervisor: &Sender) -> Result<(), Refused> {
        loop {
            let next = match self.uncommitted.since {
                None => messages.recv().map_err(RecvTimeoutError::from),
                Some(since) => messages.recv_timeout(COMMIT_EVERY.saturating_sub(since.elapsed())),
            };
            match next {
                Ok(Message::Next(group)) => self.write_more(group, messages, supervisor)?,
                Ok(Message::Waiting(group)) => self.note(Told::Waiting(group)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.commit(),
            }
            if self.uncommitted.since.is_some_and(|since| since.elapsed() >= COMMIT_EVERY) {
                self.commit()?;
            }
        }
    }

    /// Writes a group, and with it the small ones that have gathered meanwhile.
    fn write_more(&mut self, group: Group, messages: &Receiver<Message>, supervisor: &Sender) -> Result<(), Refused> {
        let Group { items, counts, mut results, mut failed } = group;
        let mut told = vec![Told::Next { items, counts }];
        while results.len() + failed.len() < WRITE
            && let Ok(message) = messages.try_recv()
        {
            match message {
                Message::Next(more) => {
                    results.extend_from_slice(&more.results);
                    failed.extend_from_slice(&more.failed);
                    told.push(Told::Next { items: more.items, counts: more.counts });
                }
                Message::Waiting(group) => told.push(Told::Waiting(group)),
            }
        }
        self.write(&results, &failed)?;
        told.into_iter().for_each(|told| self.note(told));
        supervisor.written(results.len() + failed.len());
        Ok(())
    }

    fn write(&mut self, results: &[u8], failed: &[u8]) -> Result<(), Refused> {
        // The failed first: where nobody reads the results any more, they have still been written down.
        if let Some(target) = &mut self.failed
            && !failed.is_empty()
        {
            target.write(failed).map_err(Refused::Failed)?;
        }
        if !results.is_empty() {
            self.results.write(results).map_err(|e| match e.kind() {
                io::ErrorKind::BrokenPipe => Refused::Closed,
                _ => Refused::Failed(e),
            })?;
        }
        Ok(())
    }
}
