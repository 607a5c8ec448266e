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
    /// A file, and whether what it held before is gone: it is kept until there is something to replace it with.
    File {
        path: PathBuf,
        file: File,
        begun: bool,
    },
}

impl Target {
    /// Standard output, or a file, which is made if it is not there.
    pub fn open(path: Option<&PathBuf>) -> Result<Target, String> {
        match path {
            None => Ok(Target::Stdout),
            Some(path) if path.as_os_str() == "-" => Ok(Target::Stdout),
            Some(path) => File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map(|file| Target::File { path: path.clone(), file, begun: false })
                .map_err(|e| format!("cannot write the output {}: {e}", path.display())),
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

/// Bytes gathered for one write.
const WRITE: usize = 256 << 10;

/// Writes what comes, and tells the supervisor how much has left, until there is no more.
pub fn write_all(mut target: Target, results: &Receiver<Vec<u8>>, supervisor: &Sender) -> Target {
    while let Ok(mut bytes) = results.recv() {
        // Small pieces that have gathered meanwhile go out together.
        while bytes.len() < WRITE
            && let Ok(more) = results.try_recv()
        {
            bytes.extend_from_slice(&more);
        }
        match target.write(&bytes) {
            Ok(()) => supervisor.written(bytes.len()),
            Err(e) => {
                let closed = e.kind() == io::ErrorKind::BrokenPipe;
                supervisor.send(if closed { Event::OutputClosed } else { Event::OutputFailed(e) });
                break;
            }
        }
    }
    target
}
