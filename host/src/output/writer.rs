//! The thread that writes results: a slow reader slows the run, never its deadlines.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use crate::supervisor::{Event, Sender};

/// Where results go.
#[derive(Debug)]
pub enum Target {
    Stdout,
    File(PathBuf, File),
}

impl Target {
    /// Standard output, or a file, which is made or emptied.
    pub fn open(path: Option<&PathBuf>) -> Result<Target, String> {
        match path {
            None => Ok(Target::Stdout),
            Some(path) if path.as_os_str() == "-" => Ok(Target::Stdout),
            Some(path) => File::create(path)
                .map(|file| Target::File(path.clone(), file))
                .map_err(|e| format!("cannot write the output {}: {e}", path.display())),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Target::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Target::File(path, file) => file
                .write_all(bytes)
                .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
        }
    }
}

/// Bytes gathered for one write.
const WRITE: usize = 256 << 10;

/// Writes what comes, and tells the supervisor how much has left, until there is no more.
pub fn write_all(mut target: Target, results: &Receiver<Vec<u8>>, supervisor: &Sender) {
    while let Ok(mut bytes) = results.recv() {
        // Small pieces that have gathered meanwhile go out together.
        while bytes.len() < WRITE
            && let Ok(more) = results.try_recv()
        {
            bytes.extend_from_slice(&more);
        }
        match target.write(&bytes) {
            Ok(()) => supervisor.send(Event::Written(bytes.len())),
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return supervisor.send(Event::OutputClosed),
            Err(e) => return supervisor.send(Event::OutputFailed(e)),
        }
    }
}
