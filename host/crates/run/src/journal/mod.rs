//! Records on disk what a run has done, so that another can continue where it was killed.
//!
//! The thread that writes results keeps the journal: it writes results, syncs them, and then tells the journal how much
//! of the output is complete and which items it stands for (`output/writer.rs`). So a journal never promises what is
//! not there; output that is there and was not promised is cut off. Records are gathered for
//! [`COMMIT_EVERY`](crate::resume::COMMIT_EVERY), so that syncing costs the run little.
//!
//! [`format`](mod@format) has the bytes, [`state`] the state that they add up to, [`identity`] the identity of the run,
//! and [`input`] the check that the input is the same.

mod error;
mod format;
mod identity;
mod input;
mod state;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::{JournalError, OutputChange};
use format::{JournalContents, RecordChain};
use identity::RunDifference;
pub use identity::RunIdentity;
pub use input::InputDigest;
use state::{JournalEntry, JournalState};
pub use state::{OverHosts, ReadRecord, WrittenRecord};

use crate::aside::OpenDirectory;
use crate::fresh::{self, NewFile};
use crate::locked;
use crate::place::{FileExtent, FileId, SameFile};
use crate::rendered::RenderedOutcomes;
use crate::scarce::patiently;
use wasmpool_core::outcome::OutcomeCounts;
use wasmpool_core::text::ForeignText;

/// Size in bytes up to which a journal is not rewritten; a larger one is rewritten when it has doubled.
const SMALL: u64 = 16 << 20;

/// A journal that this process has locked.
#[derive(Debug)]
pub struct Journal {
    /// The path that the user gave.
    path: PathBuf,
    /// The directory and the name to which the links of that path lead, whatever happens to the path later. A task that
    /// may write to the directory above cannot lead the journal elsewhere.
    directory: OpenDirectory,
    name_there: OsString,
    file: File,
    /// Set if this process made the file and it is still empty.
    fresh: Option<NewFile>,
    chain: RecordChain,
    /// Number of bytes that are complete.
    size: u64,
    /// True while the file is unchanged.
    untouched: bool,
    /// The size at which the journal is rewritten.
    rewrite_at: u64,
    state: JournalState,
    /// True if the state says of hosts what is not on disk yet.
    untold: bool,
    tally: InputDigest,
}

/// The place where a run begins.
#[derive(Debug)]
pub enum JournalStart {
    /// At the first item.
    Fresh,
    /// After what is done: its counts, how much of the results and of the failed items is complete, and whether nothing
    /// was left to do.
    Behind { counts: OutcomeCounts, results: FileExtent, failed: FileExtent, finished: bool },
}

impl Journal {
    /// Opens a journal, or makes one, and locks it. One that is not empty is accepted only to `resume`. Until there is
    /// something to record it stays unchanged, and one that was made here is removed again.
    pub fn open(path: &Path, resume: bool) -> Result<Journal, JournalError> {
        let cannot = |e: io::Error| JournalError::Open { path: path.to_owned(), source: Arc::new(e) };
        let (file, fresh) = fresh::open_or_make(File::options().read(true).write(true), path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if !metadata.is_file() {
            return Err(JournalError::NoFile(path.to_owned()));
        }
        let place = fs::canonicalize(path).map_err(cannot)?;
        let directory = OpenDirectory::open(place.parent().unwrap_or(Path::new("/"))).map_err(cannot)?;
        let name_there = place.file_name().expect("a file has a name, where its path is canonical").to_owned();
        lock(&file, path)?;
        let size = file.metadata().map_err(cannot)?.len();
        if size > 0 && !resume {
            return Err(JournalError::Begun(path.to_owned()));
        }
        let mut state = JournalState::default();
        let each = |entries: Vec<JournalEntry>| entries.into_iter().for_each(|entry| state.apply(entry));
        let found = format::read(BufReader::new(&file), size, each).map_err(cannot)?;
        // Without the first record nothing was promised.
        let (state, size, chain) = match found {
            JournalContents::Whole { whole, chain } if state.is_begun() => (state, whole, chain),
            JournalContents::Whole { .. } | JournalContents::Nothing => {
                (JournalState::default(), 0, RecordChain::new())
            }
            JournalContents::Foreign => return Err(JournalError::NoJournal(path.to_owned())),
            JournalContents::OtherVersion => return Err(JournalError::OtherVersion(path.to_owned())),
            JournalContents::Damaged { at, first } => {
                return Err(JournalError::Damaged { path: path.to_owned(), at, first });
            }
        };
        Ok(Journal {
            path: path.to_owned(),
            directory,
            name_there,
            file,
            fresh,
            chain,
            size,
            untouched: true,
            rewrite_at: SMALL,
            state,
            untold: false,
            tally: InputDigest::default(),
        })
    }

    /// Returns true if the journal's run has begun: then the files that it records belong to that run.
    pub fn is_begun(&self) -> bool {
        self.state.is_begun()
    }

    /// Returns true if the journal has the outcome of this item.
    pub fn has(&self, item: u64) -> bool {
        let waits = |(_, group): (_, &RenderedOutcomes)| group.items.contains(&item);
        self.state.done.contains(&item) || self.state.waiting.range(..=item).next_back().is_some_and(waits)
    }

    /// Returns the identity of the journal's file.
    pub fn same(&self) -> Option<SameFile> {
        SameFile::of(&self.file)
    }

    /// Begins the run of this identity, or continues it. A journal of another run is refused, and left unchanged.
    pub fn begin(&mut self, identity: RunIdentity) -> Result<JournalStart, JournalError> {
        let Some(theirs) = &self.state.identity else {
            self.state.identity = Some(identity);
            return Ok(JournalStart::Fresh);
        };
        if let Some(RunDifference { name, ours, theirs }) = identity.difference(theirs) {
            return Err(JournalError::OtherRun { path: self.path.clone(), name: name.to_owned(), ours, theirs });
        }
        let JournalState { written, waiting, finished, .. } = &self.state;
        let mut counts = written.counts.clone();
        waiting.values().for_each(|group| counts.add(&group.counts));
        let known = self.state.done.iter().cloned().chain(waiting.values().map(|group| group.items.clone()));
        let waiting = waiting.values().cloned().collect();
        self.tally.expect(written.read.clone(), known.collect(), waiting);
        let (results, failed) = (written.results.clone(), written.failed.clone());
        Ok(JournalStart::Behind { counts, results, failed, finished: finished.is_some() })
    }

    /// Returns what the run is known by on many machines: under the name `new`, if it has none yet. It is recorded with
    /// what is recorded next.
    pub fn over_hosts(&mut self, new: [u8; 16]) -> OverHosts {
        let over = match self.state.over_hosts {
            Some(OverHosts { run, epoch }) => OverHosts { run, epoch: epoch + 1 },
            None => OverHosts { run: new, epoch: 0 },
        };
        self.state.over_hosts = Some(over);
        self.untold = true;
        over
    }

    /// Returns the tally for the thread that reads the input.
    pub fn tally(&mut self) -> InputDigest {
        let theirs = self.tally.clone();
        self.tally.forget();
        theirs
    }

    /// Returns the input that was read so far.
    pub fn read(&self) -> ReadRecord {
        self.tally.read()
    }

    /// Returns true once it is known that the run will take place: before that, nothing may be written.
    pub fn is_sure(&self) -> bool {
        !self.tally.is_unsure()
    }

    /// Returns the counts of the outcomes that were written.
    pub fn counts(&self) -> &OutcomeCounts {
        &self.state.written.counts
    }

    /// Records outcomes that were written, which are on disk, and outcomes that wait. On return the record is on disk
    /// as well.
    pub fn commit(&mut self, written: WrittenRecord, waiting: Vec<RenderedOutcomes>) -> io::Result<()> {
        let entries =
            [JournalEntry::Written(written)].into_iter().chain(waiting.into_iter().map(JournalEntry::Waiting));
        self.append(entries.collect())
    }

    /// Records that a finished run continues, since its input has grown. Called before anything is written, so that
    /// what is then appended to the files is known to be this run's.
    pub fn reopen(&mut self) -> io::Result<()> {
        match self.state.finished {
            Some(_) => self.append(vec![JournalEntry::Written(self.state.written.clone())]),
            None => Ok(()),
        }
    }

    /// Records that every item has its outcome, and the command's exit code.
    pub fn finish(&mut self, code: u8) -> io::Result<()> {
        match self.state.finished == Some(code) {
            true => Ok(()),
            false => self.append(vec![JournalEntry::Finished(code)]),
        }
    }

    /// Appends a record of these entries.
    fn append(&mut self, mut entries: Vec<JournalEntry>) -> io::Result<()> {
        if self.untold {
            entries.splice(..0, self.state.over_hosts.map(JournalEntry::OverHosts));
        }
        let fresh = self.size == 0;
        if mem::take(&mut self.untouched) {
            self.begin_to_write().map_err(|e| self.name(e))?;
        }
        let mut bytes = Vec::new();
        let mut chain = self.chain.clone();
        if fresh {
            bytes = chain.head();
            let begun = self.state.identity.iter().cloned().map(JournalEntry::Began);
            chain.append(&begun.chain(entries.iter().cloned()).collect::<Vec<_>>(), &mut bytes)?;
        } else {
            chain.append(&entries, &mut bytes)?;
        }
        // Writing at `size` overwrites what a failed attempt left behind.
        self.file.write_all_at(&bytes, self.size).and_then(|()| self.file.sync_data()).map_err(|e| self.name(e))?;
        if fresh {
            self.directory.sync().map_err(|e| self.name(e))?;
        }
        self.chain = chain;
        self.untold = false;
        self.size += bytes.len() as u64;
        entries.into_iter().for_each(|entry| self.state.apply(entry));
        if self.size >= self.rewrite_at {
            self.rewrite().map_err(|e| self.name(e))?;
        }
        Ok(())
    }

    /// Cuts off what was never promised, and rewrites what earlier runs have recorded: otherwise a journal would grow
    /// with every run that is killed.
    fn begin_to_write(&mut self) -> io::Result<()> {
        if let Some(fresh) = self.fresh.take() {
            fresh.keep();
        }
        self.file.set_len(self.size)?;
        if self.size > 0 { self.rewrite() } else { Ok(()) }
    }

    /// Writes a new journal that says the same in one record, and renames it over this one, so that there is a complete
    /// journal at any moment. If there is no room for two, this one is kept.
    fn rewrite(&mut self) -> io::Result<()> {
        self.rewrite_at = self.size.max(SMALL / 2) * 2;
        let beside = beside(Path::new(&self.name_there)).into_os_string();
        let Ok(mut file) = self.make_beside(&beside) else {
            return Ok(());
        };
        let renamed = self
            .write_to(&mut file)
            .and_then(|written| self.directory.rename(&*beside, &*self.name_there).map(|()| written));
        let Ok((chain, size)) = renamed else {
            let _ = self.directory.remove(&*beside);
            return Ok(());
        };
        self.file = file;
        self.chain = chain;
        self.size = size;
        self.rewrite_at = size.max(SMALL / 2) * 2;
        self.directory.sync()
    }

    /// Makes the file that will replace the journal, with its owner's permissions. One that a killed run left behind is
    /// removed; any other file of that name, or a link, is left alone.
    fn make_beside(&self, name: &OsStr) -> io::Result<File> {
        if self.directory.look_at(name).is_ok_and(|found| found.is_file) {
            let mut begin = Vec::new();
            self.directory.open_file(name)?.take(format::ANY_MARK.len() as u64).read_to_end(&mut begin)?;
            if !begin.is_empty() && begin != format::ANY_MARK {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists));
            }
            self.directory.remove(name)?;
        }
        let file = self.directory.make(name)?;
        let ready = file
            .set_permissions(self.file.metadata()?.permissions())
            .and_then(|()| patiently(None, || file.try_lock().map_err(io::Error::from)));
        ready.inspect_err(|_| drop(self.directory.remove(name))).map(|()| file)
    }

    /// Writes everything that the journal says to another file.
    fn write_to(&self, file: &mut File) -> io::Result<(RecordChain, u64)> {
        let mut chain = RecordChain::new();
        let mut bytes = chain.head();
        chain.append(&self.state.entries(), &mut bytes)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        Ok((chain, bytes.len() as u64))
    }

    fn name(&self, e: io::Error) -> io::Error {
        io::Error::new(e.kind(), format!("{}: {e}", ForeignText::of(&self.path)))
    }
}

/// Returns the path to which a journal is rewritten before it replaces the journal.
pub fn beside(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn lock(file: &File, path: &Path) -> Result<(), JournalError> {
    match locked::lock(file) {
        Err(e) => Err(JournalError::Lock { path: path.to_owned(), source: Arc::new(e) }),
        Ok(false) => Err(JournalError::InUse(path.to_owned())),
        Ok(true) => {
            // It may have been replaced by a rewritten journal while it was opened.
            let of = |metadata: fs::Metadata| FileId::of(&metadata);
            let same = file.metadata().map(of).ok() == fs::metadata(path).map(of).ok();
            same.then_some(()).ok_or_else(|| JournalError::Replaced(path.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(first: u64) -> RenderedOutcomes {
        let counts = OutcomeCounts { done: 1, ..OutcomeCounts::default() };
        RenderedOutcomes { items: first..first + 1, counts, results: vec![b'x'; 100], failed: Vec::new() }
    }

    fn written(done: u64) -> WrittenRecord {
        let counts = OutcomeCounts { done: done + 1, ..OutcomeCounts::default() };
        WrittenRecord { items: std::iter::once(done..done + 1).collect(), counts, ..WrittenRecord::default() }
    }

    #[test]
    fn a_journal_that_is_written_anew_says_the_same_and_stays_locked() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, false).expect("a new one");
        let identity = RunIdentity::default().of_task("a");
        assert!(matches!(journal.begin(identity.clone()), Ok(JournalStart::Fresh)));
        for done in 0..1000 {
            journal.commit(written(done), vec![waiting(done + 2)]).expect("it can be written");
        }
        let (long, state) = (journal.size, journal.state.clone());
        journal.rewrite().expect("it can be written anew");
        assert!(journal.size < long / 100, "{} of {long} bytes", journal.size);
        assert!(Journal::open(&path, true).is_err_and(|e| matches!(e, JournalError::InUse(_))));
        journal.commit(written(1000), Vec::new()).expect("it goes on");
        drop(journal);
        let mut journal = Journal::open(&path, true).expect("it is there");
        assert_eq!(journal.state.done, std::iter::once(0..1001).collect());
        assert_eq!(journal.state.waiting.len(), 1);
        assert_eq!(state.waiting.keys().copied().collect::<Vec<_>>(), [1000, 1001]);
        assert!(matches!(journal.begin(identity), Ok(JournalStart::Behind { counts, .. }) if counts.done == 1002));
    }

    /// Makes a journal in this folder whose run has written this many items one after another, the last in the last
    /// record.
    fn after(folder: &Path, items: u64) -> PathBuf {
        let path = folder.join("journal");
        let mut journal = Journal::open(&path, true).expect("it is there, or new");
        assert!(journal.begin(RunIdentity::default()).is_ok());
        for done in 0..items {
            journal.commit(written(done), vec![waiting(done + 2)]).expect("it can be written");
        }
        path
    }

    #[test]
    fn a_journal_does_not_grow_with_the_runs_that_are_killed() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = after(folder.path(), 1000);
        for run in 0..15 {
            let mut journal = Journal::open(&path, true).expect("it is there");
            assert!(matches!(journal.begin(RunIdentity::default()), Ok(JournalStart::Behind { .. })));
            for done in 0..1000 {
                journal.commit(written(1000 * run + done), Vec::new()).expect("it can be written");
            }
        }
        let size = fs::metadata(&path).expect("it is there").len();
        let mut journal = Journal::open(&path, true).expect("it is there");
        assert!(journal.begin(RunIdentity::default()).is_ok());
        journal.commit(written(15_000), Vec::new()).expect("it can be written");
        assert!(journal.size < size / 100, "{} of {size} bytes", journal.size);
        assert_eq!(journal.state.done, std::iter::once(0..15_001).collect());
    }

    #[test]
    fn what_is_opened_and_not_gone_on_with_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = after(folder.path(), 3);
        let mut bytes = fs::read(&path).expect("it is there");
        bytes.extend_from_slice(b"torn");
        fs::write(&path, &bytes).expect("written");
        let mut journal = Journal::open(&path, true).expect("it is there");
        assert!(journal.begin(RunIdentity::default()).is_ok());
        assert!(journal.begin(RunIdentity::default().of_task("other")).is_err());
        drop(journal);
        assert_eq!(fs::read(&path).expect("it is there"), bytes);
        let other = folder.path().join("other");
        drop(Journal::open(&other, true).expect("a new one"));
        assert!(!other.exists());
    }

    #[test]
    fn a_journal_that_was_damaged_is_refused_with_the_place_and_the_way_out() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        // The advice is pasted into a shell, whatever the path is.
        let place = folder.path().join("it's $(here); #\n");
        fs::create_dir(&place).expect("made");
        let path = after(&place, 3);
        let whole = fs::read(&path).expect("it is there");
        let mut bytes = whole;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).expect("written");
        let message = Journal::open(&path, true).expect_err("it is damaged").to_string();
        assert!(message.contains("journal is damaged at byte ") && message.contains("truncate -s "), "{message}");
        assert_eq!(fs::read(&path).expect("it is there"), bytes);
        // The advice works.
        let (_, advice) = message.split_once("(truncate").expect("an advice");
        let (arguments, _) = advice.split_once(") to have done again").expect("an advice");
        let ended = std::process::Command::new("bash").arg("-c").arg(format!("truncate{arguments}")).status();
        assert!(ended.expect("there is a shell").success(), "{message}");
        assert!(!Journal::open(&path, true).expect("it is whole").state.done.is_empty());
    }

    #[test]
    fn a_journal_that_is_written_anew_stays_in_its_directory_whatever_takes_the_place_of_that() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("granted")).expect("made");
        fs::create_dir(at("elsewhere")).expect("made");
        fs::write(at("elsewhere/journal"), "mine").expect("written");
        let path = after(&at("granted"), 3);
        let mut journal = Journal::open(&path, true).expect("it is there");
        assert!(journal.begin(RunIdentity::default()).is_ok());
        fs::rename(at("granted"), at("moved")).expect("moved");
        std::os::unix::fs::symlink("elsewhere", at("granted")).expect("a link");
        journal.rewrite().expect("it can be written anew");
        journal.commit(written(3), Vec::new()).expect("it goes on");
        assert_eq!(fs::read(at("elsewhere/journal")).expect("it is there"), b"mine");
        assert_eq!(fs::read_dir(at("elsewhere")).expect("a directory").count(), 1);
        assert_eq!(fs::metadata(at("moved/journal")).expect("it is there").len(), journal.size);
    }

    #[test]
    fn what_stands_where_a_journal_is_written_anew_is_replaced_only_if_it_is_a_leftover() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = after(folder.path(), 3);
        let (beside, precious) = (folder.path().join("journal.new"), folder.path().join("precious"));
        fs::write(&precious, "mine").expect("written");
        let go_on = |done| {
            let mut journal = Journal::open(&path, true).expect("it is there");
            assert!(journal.begin(RunIdentity::default()).is_ok());
            journal.commit(written(done), Vec::new()).expect("it can be written");
        };
        fs::write(&beside, "mine too").expect("written");
        go_on(3);
        assert_eq!(fs::read(&beside).expect("it is there"), b"mine too");
        fs::remove_file(&beside).expect("removed");
        std::os::unix::fs::symlink(&precious, &beside).expect("a link");
        go_on(4);
        assert_eq!(fs::read(&precious).expect("it is there"), b"mine");
        fs::remove_file(&beside).expect("removed");
        // As left by a run that was killed while writing it.
        fs::write(&beside, &fs::read(&path).expect("it is there")[..70]).expect("written");
        go_on(5);
        assert!(!beside.exists());
        let journal = Journal::open(&path, true).expect("it is there");
        assert_eq!(journal.state.done, std::iter::once(0..6).collect());
    }

    #[test]
    fn a_journal_that_is_written_anew_stays_where_a_link_leads_and_keeps_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = after(folder.path(), 3);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("journal", &link).expect("a link");
        let mut journal = Journal::open(&link, true).expect("it is there");
        assert!(journal.begin(RunIdentity::default()).is_ok());
        journal.commit(written(3), Vec::new()).expect("it can be written");
        assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o640);
        assert!(Journal::open(&path, true).is_err_and(|e| matches!(e, JournalError::InUse(_))));
    }

    #[test]
    fn a_journal_grows_no_further_than_twice_what_it_says() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut journal = Journal::open(&folder.path().join("journal"), false).expect("a new one");
        assert!(journal.begin(RunIdentity::default()).is_ok());
        journal.rewrite_at = 10_000;
        let mut largest = 0;
        for done in 0..200 {
            journal.rewrite_at = journal.rewrite_at.min(10_000);
            journal.commit(written(done), Vec::new()).expect("it can be written");
            largest = largest.max(journal.size);
        }
        assert!(largest < 11_000, "{largest}");
    }
}
