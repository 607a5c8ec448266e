//! The thread that writes results: a slow reader slows the run, never its deadlines.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use rangemap::RangeSet;

use super::target::Target;
use crate::error::Error;
use crate::journal::{Identity, Journal, Start, Written};
use crate::place::SameFile;
use crate::rendered::RenderedOutcomes;
use crate::resume::COMMIT_EVERY;
use crate::supervisor::{Event, Sender};
use wasmpool_core::outcome::Counts;

/// All that a run writes.
#[derive(Debug)]
pub struct Output {
    pub results: Target,
    /// Failed items with their input.
    pub failed: Option<Target>,
    pub journal: Option<Journal>,
    /// The journal is to say that the files are this run's before anything is written to them.
    claiming: bool,
    uncommitted: Uncommitted,
}

/// What the journal was not told yet.
#[derive(Debug, Default)]
struct Uncommitted {
    items: RangeSet<u64>,
    counts: Counts,
    waiting: Vec<RenderedOutcomes>,
    /// Since when there is something.
    since: Option<Instant>,
}

impl Output {
    pub fn new(results: Target, failed: Option<Target>, journal: Option<Journal>) -> Output {
        let (results, failed) = match journal {
            Some(_) => (results.hashed(), failed.map(Target::hashed)),
            None => (results, failed),
        };
        Output { results, failed, journal, claiming: false, uncommitted: Uncommitted::default() }
    }

    /// The same, with a journal that says so before the first byte is written: what stands in the files is then known to be
    /// this run's own, even where it is killed at once, and is not held to be the user's by the run that goes on.
    pub fn claiming(self, claiming: bool) -> Output {
        Output { claiming, ..self }
    }

    /// The files on a disk among all that is written.
    pub fn same_files(&self) -> Vec<SameFile> {
        let targets = [Some(&self.results), self.failed.as_ref()];
        let journal = self.journal.as_ref().and_then(Journal::same);
        targets.into_iter().flatten().filter_map(Target::same).chain(journal).collect()
    }

    /// Finds out where a run begins, or goes on with its journal. Nothing is touched yet. To look at what was written takes as
    /// long as reading it, unless it is `interrupted`.
    pub fn start(&mut self, identity: Identity, interrupted: &dyn Fn() -> bool) -> Result<Start, Error> {
        let Some(journal) = &mut self.journal else {
            return Ok(Start::Fresh);
        };
        let start = journal.begin(identity).map_err(Error::Journal)?;
        if let Start::Behind { results, failed, finished, .. } = &start {
            self.results.go_on(results, *finished, interrupted)?;
            self.failed.as_mut().map_or(Ok(()), |target| target.go_on(failed, *finished, interrupted))?;
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

    /// Empties the files, and tells the journal that they are this run's, before anything else is told or written.
    fn claim(&mut self) -> Result<(), Refused> {
        if !std::mem::take(&mut self.claiming) || self.journal.as_ref().is_none_or(Journal::is_begun) {
            return Ok(());
        }
        self.results.begin().map_err(Refused::Failed)?;
        self.failed.as_mut().map_or(Ok(()), Target::begin).map_err(Refused::Failed)?;
        let told = std::mem::take(&mut self.uncommitted);
        self.uncommitted.since = Some(Instant::now());
        let claimed = self.commit();
        self.uncommitted = told;
        claimed
    }

    /// Tells the journal of what was written, once that is on disk.
    fn commit(&mut self) -> Result<(), Refused> {
        if self.uncommitted.since.is_none() {
            return Ok(());
        }
        self.claim()?;
        let Some(journal) = &mut self.journal else {
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

    /// Nothing more will come. Where nothing was written, that, too, is a result; but not where it was never found out
    /// whether the run goes on with what is there.
    pub fn end(&mut self) -> io::Result<()> {
        if self.journal.as_ref().is_some_and(|journal| !journal.is_sure()) {
            return Ok(());
        }
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
    Next(RenderedOutcomes),
    /// These wait for others, and are only for the journal.
    Waiting(RenderedOutcomes),
}

/// What the journal is to be told.
enum Told {
    Next { items: Range<u64>, counts: Counts },
    Waiting(RenderedOutcomes),
}

/// Bytes gathered for one write.
const WRITE: usize = 256 << 10;
/// Groups gathered for one write.
const TOLD: usize = 1024;

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
    fn write_more(
        &mut self,
        group: RenderedOutcomes,
        messages: &Receiver<Message>,
        supervisor: &Sender,
    ) -> Result<(), Refused> {
        let RenderedOutcomes { items, counts, mut results, mut failed } = group;
        let mut told = vec![Told::Next { items, counts }];
        // Many that print nothing are told of now and then, too.
        while results.len() + failed.len() < WRITE
            && told.len() < TOLD
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
        self.journal.as_mut().map_or(Ok(()), Journal::reopen).map_err(Refused::Journal)?;
        self.claim()?;
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
