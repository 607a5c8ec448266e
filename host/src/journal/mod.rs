//! What a run has done, kept on disk, so that another can go on where it was killed.
//!
//! The thread that writes results keeps it: it writes, syncs what it wrote, and then tells the journal how much of it is
//! whole and which items it stands for (`output/writer.rs`). So a journal never promises what is not there; what is there
//! and not promised is cut off. Records are gathered for [`COMMIT_EVERY`], so that syncing costs the run little.
//!
//! [`format`] has the bytes, [`state`] what they add up to, [`identity`] which run they are of, and [`input`] how the input
//! is found to be the same again.

mod format;
mod identity;
mod input;
mod state;

use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use format::{Chain, Found};
pub use identity::Identity;
pub use input::{Left, Tally};
use state::{Entry, State};
pub use state::{Read, Written};

use crate::outcome::Counts;
use crate::output::{Extent, SameFile};
use crate::supervisor::Group;
use crate::text::Foreign;

/// How long what was done may wait to be kept.
pub const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// Bytes of a journal that are let be: from there on it is written anew when it has doubled.
const SMALL: u64 = 16 << 20;
/// A lock may outlive its process for a moment: a child that is just being started holds it until it becomes a program.
const LOCK_TRIES: u32 = 20;
const LOCK_AGAIN: Duration = Duration::from_millis(25);

/// A journal that is this process's own.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    chain: Chain,
    /// Bytes of it that are whole.
    size: u64,
    /// The size at which it is written anew.
    rewrite_at: u64,
    state: State,
    tally: Tally,
}

/// Where a run begins.
#[derive(Debug)]
pub enum Start {
    /// At the first item.
    Fresh,
    /// Behind what is done: counts of that, and how far the results and the failed items are whole.
    Behind { counts: Counts, results: Extent, failed: Extent },
    /// At its end: all was done, with these counts and this exit code.
    Finished(Counts, u8),
}

impl Journal {
    /// Opens a journal, or makes one, and keeps others from it. One that holds something is only taken to `resume`.
    pub fn open(path: &Path, resume: bool) -> Result<Journal, String> {
        let name = Foreign::of(path);
        let cannot = |e: io::Error| format!("cannot open the journal {name}: {e}");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if !metadata.is_file() {
            return Err(format!("the journal {name} is no file on a disk; name one"));
        }
        lock(&file, path)?;
        let size = file.metadata().map_err(cannot)?.len();
        if size > 0 && !resume {
            return Err(format!(
                "the journal {name} is of a run already: --resume goes on with it; to start anew, remove it or name another"
            ));
        }
        let mut state = State::default();
        let found = format::read(BufReader::new(&file), size, |entry| state.apply(entry)).map_err(cannot)?;
        let (whole, chain) = match found {
            Found::Whole { whole, chain } => (whole, chain),
            Found::Nothing => (0, Chain::new()),
            Found::Foreign => return Err(format!("the file {name} is no journal of this version; name another")),
        };
        // The first two records are written at once: without both, nothing was promised.
        let (state, size) = if state.is_begun() { (state, whole) } else { (State::default(), 0) };
        let chain = if size == 0 { Chain::new() } else { chain };
        let tally = Tally::default();
        Ok(Journal { path: path.to_owned(), file, chain, size, rewrite_at: size.max(SMALL / 2) * 2, state, tally })
    }

    /// The file it is.
    pub fn same(&self) -> Option<SameFile> {
        SameFile::of(&self.file)
    }

    /// Begins the run of this identity, or goes on with it. A journal of another run is refused, and left as it is.
    pub fn begin(&mut self, identity: Identity) -> Result<Start, String> {
        let Some(theirs) = &self.state.identity else {
            self.state.identity = Some(identity);
            return Ok(Start::Fresh);
        };
        if let Some((name, ours, theirs)) = identity.difference(theirs) {
            let what = match name {
                "task" => "another task (its content is not the same)".to_owned(),
                _ => format!(
                    "a run with {name} {}, and this one has {}",
                    Foreign::of(or_none(theirs)),
                    Foreign::of(or_none(ours))
                ),
            };
            return Err(format!(
                "the journal {} is of {what}; run it as before, or name another journal",
                Foreign::of(&self.path)
            ));
        }
        let State { written, waiting, finished, .. } = &self.state;
        let mut counts = written.counts.clone();
        waiting.values().for_each(|group| counts.add(&group.counts));
        if let Some(code) = *finished {
            return Ok(Start::Finished(counts, code));
        }
        let cannot = |e| format!("cannot write the journal {}: {e}", Foreign::of(&self.path));
        self.file.set_len(self.size).map_err(cannot)?;
        let known = self.state.done.iter().cloned().chain(waiting.values().map(|group| group.items.clone()));
        let waiting = waiting.values().cloned().collect();
        self.tally.expect(written.read.clone(), known.collect(), waiting);
        Ok(Start::Behind { counts, results: written.results.clone(), failed: written.failed.clone() })
    }

    /// Whoever reads the input keeps this.
    pub fn tally(&mut self) -> Tally {
        let theirs = self.tally.clone();
        self.tally.forget();
        theirs
    }

    /// The input that was read so far.
    pub fn read(&self) -> Read {
        self.tally.read()
    }

    /// Counts of what was written.
    pub fn counts(&self) -> &Counts {
        &self.state.written.counts
    }

    /// Keeps what was written, which is on disk, and what waits. On return this is on disk as well.
    pub fn commit(&mut self, written: Written, waiting: Vec<Group>) -> io::Result<()> {
        // The outcomes that wait come last: they rest on the input that the other record tells of.
        let entries = [Entry::Written(written)].into_iter().chain(waiting.into_iter().map(Entry::Waiting));
        self.append(entries.collect())
    }

    /// Every item has its outcome, and the command ends with this code.
    pub fn finish(&mut self, code: u8) -> io::Result<()> {
        self.append(vec![Entry::Finished(code)])
    }

    fn append(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        let fresh = self.size == 0;
        let mut bytes = Vec::new();
        let mut chain = self.chain.clone();
        if fresh {
            bytes.extend_from_slice(format::MARK);
            self.state.identity.clone().map_or(Ok(()), |it| chain.append(&Entry::Began(it), &mut bytes))?;
        }
        for entry in &entries {
            chain.append(entry, &mut bytes)?;
        }
        // What a failed attempt left behind is written over.
        self.file.write_all_at(&bytes, self.size).and_then(|()| self.file.sync_data()).map_err(|e| self.name(e))?;
        if fresh {
            sync_directory(&self.path).map_err(|e| self.name(e))?;
        }
        self.chain = chain;
        self.size += bytes.len() as u64;
        entries.into_iter().for_each(|entry| self.state.apply(entry));
        if self.size >= self.rewrite_at {
            self.rewrite_at = self.size * 2;
            self.rewrite().map_err(|e| self.name(e))?;
        }
        Ok(())
    }

    /// Writes a new journal that says the same in fewer records, and puts it in the place of this one. Where there is no
    /// room for two, this one goes on.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let path = PathBuf::from(name);
        let Ok((file, chain, size)) = self.write_anew(&path) else {
            let _ = fs::remove_file(&path);
            return Ok(());
        };
        fs::rename(&path, &self.path)?;
        self.file = file;
        self.chain = chain;
        self.size = size;
        self.rewrite_at = size.max(SMALL / 2) * 2;
        sync_directory(&self.path)
    }

    fn write_anew(&self, path: &Path) -> io::Result<(File, Chain, u64)> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        file.try_lock().map_err(io::Error::other)?;
        let mut bytes = format::MARK.to_vec();
        let mut chain = Chain::new();
        for entry in self.state.entries() {
            chain.append(&entry, &mut bytes)?;
        }
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        Ok((file, chain, bytes.len() as u64))
    }

    fn name(&self, e: io::Error) -> io::Error {
        io::Error::new(e.kind(), format!("{}: {e}", Foreign::of(&self.path)))
    }
}

fn or_none(value: &str) -> &str {
    if value.is_empty() { "none" } else { value }
}

fn lock(file: &File, path: &Path) -> Result<(), String> {
    let name = Foreign::of(path);
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_AGAIN),
            Err(TryLockError::Error(e)) => return Err(format!("cannot lock the journal {name}: {e}")),
            Ok(()) => {
                // It may have been written anew under that name while it was opened.
                let of = |m: fs::Metadata| (m.dev(), m.ino());
                let same = file.metadata().map(of).ok() == fs::metadata(path).map(of).ok();
                return same.then_some(()).ok_or_else(|| format!("another run uses the journal {name}"));
            }
        }
    }
    Err(format!("another run uses the journal {name}; wait for its end, or name another"))
}

/// Makes sure that a file that was made is found in its directory again.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(first: u64) -> Group {
        let counts = Counts { done: 1, ..Counts::default() };
        Group { items: first..first + 1, counts, results: vec![b'x'; 100], failed: Vec::new() }
    }

    fn written(done: u64) -> Written {
        let counts = Counts { done: done + 1, ..Counts::default() };
        Written { items: std::iter::once(done..done + 1).collect(), counts, ..Written::default() }
    }

    #[test]
    fn a_journal_that_is_written_anew_says_the_same_and_stays_locked() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, false).expect("a new one");
        let identity = Identity::new([("task", "a".to_owned())]);
        assert!(matches!(journal.begin(identity.clone()), Ok(Start::Fresh)));
        for done in 0..1000 {
            journal.commit(written(done), vec![waiting(done + 2)]).expect("it can be written");
        }
        let (long, state) = (journal.size, journal.state.clone());
        journal.rewrite().expect("it can be written anew");
        assert!(journal.size < long / 100, "{} of {long} bytes", journal.size);
        assert!(Journal::open(&path, true).is_err_and(|e| e.contains("another run")));
        journal.commit(written(1000), Vec::new()).expect("it goes on");
        drop(journal);
        let mut journal = Journal::open(&path, true).expect("it is there");
        assert_eq!(journal.state.done, std::iter::once(0..1001).collect());
        assert_eq!(journal.state.waiting.len(), 1);
        assert_eq!(state.waiting.keys().copied().collect::<Vec<_>>(), [1000, 1001]);
        assert!(matches!(journal.begin(identity), Ok(Start::Behind { counts, .. }) if counts.done == 1002));
    }

    #[test]
    fn a_journal_grows_no_further_than_twice_what_it_says() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut journal = Journal::open(&folder.path().join("journal"), false).expect("a new one");
        assert!(journal.begin(Identity::default()).is_ok());
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
