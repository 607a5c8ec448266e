//! The thread that writes results: a slow reader slows the run down, but does not affect its deadlines.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use rangemap::RangeSet;

use super::files::ResultMarks;
use super::target::OutputTarget;
use crate::error::Error;
use crate::journal::{Journal, JournalStart, RunIdentity, WrittenRecord};
use crate::place::SameFile;
use crate::rendered::RenderedOutcomes;
use crate::resume::COMMIT_EVERY;
use crate::stdio::{HungUp, StatusBehind};
use crate::supervisor::{Event, EventSender};
use wasmpool_core::outcome::OutcomeCounts;

/// Everything that a run writes.
#[derive(Debug)]
pub struct RunOutput {
    pub results: OutputTarget,
    /// The target of failed items with their input.
    pub failed: Option<OutputTarget>,
    pub journal: Option<Journal>,
    /// What the results begin with, until it is written.
    header: Vec<u8>,
    /// The directory of results that go to files of their own.
    files: Option<ResultMarks>,
    /// True if the journal records that the files are this run's before anything is written to them.
    claiming: bool,
    uncommitted: Uncommitted,
}

/// Outcomes that the journal was not told yet.
#[derive(Debug, Default)]
struct Uncommitted {
    items: RangeSet<u64>,
    counts: OutcomeCounts,
    waiting: Vec<RenderedOutcomes>,
    /// The time since which there are such outcomes.
    since: Option<Instant>,
}

impl RunOutput {
    pub fn new(results: OutputTarget, failed: Option<OutputTarget>, journal: Option<Journal>) -> RunOutput {
        let (results, failed) = match journal {
            Some(_) => (results.hashed(), failed.map(OutputTarget::hashed)),
            None => (results, failed),
        };
        let (header, uncommitted) = (Vec::new(), Uncommitted::default());
        RunOutput { results, failed, journal, header, files: None, claiming: false, uncommitted }
    }

    /// Has the journal record that the files are this run's before the first byte is written. What stands in the files
    /// is then known to be this run's own even if it is killed at once, and the run that continues it does not take it
    /// for the user's.
    pub fn claiming(self, claiming: bool) -> RunOutput {
        RunOutput { claiming, ..self }
    }

    /// Sets what the results begin with. It is there even if there are no results, and a run that continues another does not
    /// write it again.
    pub fn beginning_with(&mut self, header: Vec<u8>) {
        if self.results.extent().bytes == 0 {
            self.header = header;
        }
    }

    /// Has the files of this directory on disk before the journal records their items.
    pub fn beside(self, files: Option<ResultMarks>) -> RunOutput {
        RunOutput { files, ..self }
    }

    /// Returns the files on a disk among everything that is written.
    pub fn same_files(&self) -> Vec<SameFile> {
        let targets = [Some(&self.results), self.failed.as_ref()];
        let journal = self.journal.as_ref().and_then(Journal::same);
        targets.into_iter().flatten().filter_map(OutputTarget::same).chain(journal).collect()
    }

    /// Finds out where a run begins, or continues with its journal. Nothing is changed yet. Checking what was written
    /// takes as long as reading it, unless it is `interrupted`.
    pub fn start(&mut self, identity: RunIdentity, interrupted: &dyn Fn() -> bool) -> Result<JournalStart, Error> {
        let Some(journal) = &mut self.journal else {
            return Ok(JournalStart::Fresh);
        };
        let start = journal.begin(identity)?;
        if let JournalStart::Behind { results, failed, finished, .. } = &start {
            self.results.go_on(results, *finished, interrupted)?;
            self.failed.as_mut().map_or(Ok(()), |target| target.go_on(failed, *finished, interrupted))?;
        }
        Ok(start)
    }

    /// Records that every item has its outcome, and the command's exit code.
    pub fn finish(&mut self, code: u8) -> io::Result<()> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.finish(code))
    }

    /// Notes something to be recorded in the journal, if there is one.
    fn record(&mut self, told: JournalMessage) {
        if self.journal.is_none() {
            return;
        }
        let Uncommitted { items, counts, waiting, since } = &mut self.uncommitted;
        since.get_or_insert_with(Instant::now);
        match told {
            JournalMessage::Next { items: next, counts: more } => {
                items.insert(next);
                counts.add(&more);
            }
            JournalMessage::Waiting(group) => waiting.push(group),
        }
    }

    /// Empties the files, and has the journal record that they are this run's, before anything else is recorded or
    /// written.
    fn claim(&mut self) -> Result<(), OutputError> {
        if !std::mem::take(&mut self.claiming) || self.journal.as_ref().is_none_or(Journal::is_begun) {
            return Ok(());
        }
        self.results.begin().map_err(OutputError::Failed)?;
        self.failed.as_mut().map_or(Ok(()), OutputTarget::begin).map_err(OutputError::Failed)?;
        let told = std::mem::take(&mut self.uncommitted);
        self.uncommitted.since = Some(Instant::now());
        let claimed = self.commit();
        self.uncommitted = told;
        claimed
    }

    /// Has the journal record that the directory of results is this run's.
    fn claim_files(&mut self) -> Result<(), OutputError> {
        self.journal.as_mut().map_or(Ok(()), Journal::reopen).map_err(OutputError::Journal)?;
        self.claiming = true;
        self.claim()
    }

    /// Records in the journal what was written, once that is on disk.
    fn commit(&mut self) -> Result<(), OutputError> {
        if self.uncommitted.since.is_none() {
            return Ok(());
        }
        self.claim()?;
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let Uncommitted { items, counts, waiting, .. } = std::mem::take(&mut self.uncommitted);
        let first = *journal.counts() == OutcomeCounts::default();
        self.files.as_ref().map_or(Ok(()), ResultMarks::sync).map_err(OutputError::Failed)?;
        self.results.sync(first).map_err(OutputError::Failed)?;
        self.failed.as_ref().map_or(Ok(()), |target| target.sync(first)).map_err(OutputError::Failed)?;
        let mut all = journal.counts().clone();
        all.add(&counts);
        let written = WrittenRecord {
            items: items.into_iter().collect(),
            counts: all,
            results: self.results.extent(),
            failed: self.failed.as_ref().map(OutputTarget::extent).unwrap_or_default(),
            read: journal.read(),
        };
        let mut recorded = written.items.clone();
        recorded.extend(waiting.iter().map(|group| group.items.clone()));
        journal.commit(written, waiting).map_err(OutputError::Journal)?;
        if let Some(directory) = &self.files {
            directory.remove(recorded);
        }
        Ok(())
    }

    /// Ends the output. If nothing was written, the empty file is the result, or one with nothing but its beginning; unless it
    /// was never found out whether the run continues with what is there.
    pub fn end(&mut self) -> io::Result<()> {
        if self.journal.as_ref().is_some_and(|journal| !journal.is_sure()) {
            return Ok(());
        }
        self.results.begin()?;
        self.failed.as_mut().map_or(Ok(()), OutputTarget::begin)?;
        if self.header.is_empty() {
            return Ok(());
        }
        self.uncommitted.since.get_or_insert_with(Instant::now);
        match self.write(&[], &[]).and_then(|()| self.commit()) {
            Ok(()) | Err(OutputError::Closed | OutputError::HungUp) => Ok(()),
            Err(OutputError::Failed(e) | OutputError::Journal(e)) => Err(e),
        }
    }
}

/// The reason why output was not written.
enum OutputError {
    /// Nobody reads the results any more.
    Closed,
    /// The terminal that results go to is gone.
    HungUp,
    Failed(io::Error),
    Journal(io::Error),
}

/// A message to the writer.
#[derive(Debug)]
pub enum WriterMessage {
    /// The next outcomes in order, and the line that stands at the end of the terminal once all of them are printed there.
    Next(Vec<RenderedOutcomes>, Option<StatusBehind>),
    /// Outcomes that wait for others, and are only for the journal.
    Waiting(RenderedOutcomes),
    /// The first result is about to be put into a file of its own: the journal has to record that the directory is this
    /// run's. The sender is dropped once it has.
    Claim(Sender<()>),
}

/// Groups of outcomes that are written at once.
#[derive(Default)]
struct GatheredGroups {
    results: Vec<Vec<u8>>,
    failed: Vec<u8>,
    /// Number of bytes of both.
    bytes: usize,
    statuses: Vec<StatusBehind>,
    told: Vec<JournalMessage>,
}

impl GatheredGroups {
    fn add(&mut self, groups: Vec<RenderedOutcomes>, status: Option<StatusBehind>) {
        self.statuses.extend(status);
        for group in groups {
            self.bytes += group.bytes();
            self.results.push(group.results);
            self.failed.extend_from_slice(&group.failed);
            self.told.push(JournalMessage::Next { items: group.items, counts: group.counts });
        }
    }
}

/// Something that the journal is to record.
enum JournalMessage {
    Next { items: Range<u64>, counts: OutcomeCounts },
    Waiting(RenderedOutcomes),
}

/// Maximum bytes that are gathered for one write.
const WRITE: usize = 256 << 10;
/// Maximum groups of outcomes that are gathered for one write.
const TOLD: usize = 1024;

/// Writes outcomes and tells the supervisor how many bytes were written, until there are no more.
pub fn write_all(mut output: RunOutput, messages: &Receiver<WriterMessage>, supervisor: &EventSender) -> RunOutput {
    if let Err(refused) = output.write_until_end(messages, supervisor) {
        supervisor.send(match refused {
            OutputError::Closed => Event::OutputClosed,
            OutputError::HungUp => Event::OutputHungUp,
            OutputError::Failed(e) => Event::OutputFailed(e),
            OutputError::Journal(e) => Event::JournalFailed(e),
        });
    }
    output
}

impl RunOutput {
    fn write_until_end(
        &mut self,
        messages: &Receiver<WriterMessage>,
        supervisor: &EventSender,
    ) -> Result<(), OutputError> {
        loop {
            let next = match self.uncommitted.since {
                None => messages.recv().map_err(RecvTimeoutError::from),
                Some(since) => messages.recv_timeout(COMMIT_EVERY.saturating_sub(since.elapsed())),
            };
            match next {
                Ok(WriterMessage::Next(groups, status)) => self.write_more(groups, status, messages, supervisor)?,
                Ok(WriterMessage::Waiting(group)) => self.record(JournalMessage::Waiting(group)),
                Ok(WriterMessage::Claim(done)) => {
                    self.claim_files()?;
                    drop(done);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.commit(),
            }
            if self.uncommitted.since.is_some_and(|since| since.elapsed() >= COMMIT_EVERY) {
                self.commit()?;
            }
        }
    }

    /// Writes groups, together with the small ones that have arrived meanwhile.
    fn write_more(
        &mut self,
        groups: Vec<RenderedOutcomes>,
        status: Option<StatusBehind>,
        messages: &Receiver<WriterMessage>,
        supervisor: &EventSender,
    ) -> Result<(), OutputError> {
        let mut gathered = GatheredGroups::default();
        gathered.add(groups, status);
        // Groups that print nothing are reported from time to time, too.
        while gathered.bytes < WRITE
            && gathered.told.len() < TOLD
            && let Ok(message) = messages.try_recv()
        {
            match message {
                WriterMessage::Next(more, status) => gathered.add(more, status),
                WriterMessage::Waiting(group) => gathered.told.push(JournalMessage::Waiting(group)),
                WriterMessage::Claim(done) => {
                    self.claim_files()?;
                    drop(done);
                }
            }
        }
        let GatheredGroups { results, failed, bytes, statuses, told } = gathered;
        self.journal.as_mut().map_or(Ok(()), Journal::reopen).map_err(OutputError::Journal)?;
        self.claim()?;
        if let Some(status) = statuses.last() {
            status.be_next();
        }
        self.write(&results, &failed)?;
        drop(statuses);
        told.into_iter().for_each(|told| self.record(told));
        supervisor.written(bytes);
        Ok(())
    }

    fn write(&mut self, results: &[Vec<u8>], failed: &[u8]) -> Result<(), OutputError> {
        // Failed items are written first: if nobody reads the results any more, they are still recorded.
        if let Some(target) = &mut self.failed
            && !failed.is_empty()
        {
            target.write(failed).map_err(OutputError::Failed)?;
        }
        let header = std::mem::take(&mut self.header);
        let parts: Vec<&[u8]> = std::iter::once(&header).chain(results).map(Vec::as_slice).collect();
        if parts.iter().all(|part| part.is_empty()) {
            return Ok(());
        }
        self.results.write_parts(&parts).map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => OutputError::Closed,
            _ if HungUp::is(&e) => OutputError::HungUp,
            _ => OutputError::Failed(e),
        })?;
        Ok(())
    }
}
