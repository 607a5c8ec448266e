//! The way in which a test runs the program: `map(&task).args([...]).input("1\n2\n").run()`.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::guest::Task;
use super::host::Host;
use super::record::{Record, records};
use super::{HANG, alone, binary};

type Feed = Box<dyn FnOnce(&mut ChildStdin) -> std::io::Result<()> + Send>;

/// A run of the program that was not started yet.
pub struct Run {
    command: Command,
    feed: Option<Feed>,
    limit: Duration,
    temporary: TempDir,
    tasks: Vec<Task>,
    /// True if it stays in the session of the tests.
    job: Arc<AtomicBool>,
}

/// The result of a run.
pub struct Output {
    pub code: i32,
    pub bytes: Vec<u8>,
    pub stderr: String,
}

/// Returns `wasmpool` with no arguments yet, in an environment that holds none of its options.
pub fn wasmpool() -> Run {
    Run::of(binary())
}

/// Returns `wasmpool map TASK`.
pub fn map(task: &Task) -> Run {
    wasmpool().arg("map").task(task)
}

/// Returns the cache that all tests share: what one test compiled, the next run finds.
pub fn cache() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// Makes the run of a program that gets the environment of [`wasmpool`].
fn of_program(program: &OsStr) -> Run {
    let temporary = TempDir::new().expect("a temporary directory");
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WASMPOOL_") {
            command.env_remove(name);
        }
    }
    command
        .env("TMPDIR", temporary.path())
        .env("XDG_CACHE_HOME", cache())
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let job = Arc::new(AtomicBool::new(false));
    let is_job = Arc::clone(&job);
    // SAFETY: both calls are async-signal-safe, and nothing else happens between fork and exec.
    unsafe {
        command.pre_exec(move || {
            match is_job.load(Ordering::Relaxed) {
                true => nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?,
                false => drop(nix::unistd::setsid()?),
            }
            Ok(())
        });
    }
    Run { command, feed: None, limit: HANG, temporary, tasks: Vec::new(), job }
}

impl Run {
    /// Returns another program with no arguments yet, as [`wasmpool`] starts its own.
    pub fn of(program: impl AsRef<OsStr>) -> Run {
        of_program(program.as_ref())
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds the task, which stays on disk for as long as the program runs.
    pub fn task(mut self, task: &Task) -> Self {
        self.tasks.push(task.clone());
        self.arg(task.path())
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it under this name, in place of its path.
    pub fn named(mut self, name: &str) -> Self {
        self.command.arg0(name);
        self
    }

    /// Sets its working directory.
    pub fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets the content of standard input.
    pub fn input(self, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        self.feed(move |pipe| pipe.write_all(&bytes))
    }

    /// Sets a function that writes standard input as the program reads it.
    pub fn feed(mut self, feed: impl FnOnce(&mut ChildStdin) -> std::io::Result<()> + Send + 'static) -> Self {
        self.feed = Some(Box::new(feed));
        self
    }

    pub fn stdin_from(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    pub fn stdout_to(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Starts it without this one of its standard streams.
    pub fn without(mut self, stream: i32) -> Self {
        // SAFETY: close is async-signal-safe, and the descriptor is the child's own.
        unsafe {
            self.command.pre_exec(move || match libc::close(stream) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        self
    }

    /// Limits the number of descriptors that may be open at a time.
    pub fn most_descriptors(mut self, count: u64) -> Self {
        let limit = libc::rlimit { rlim_cur: count, rlim_max: count };
        // SAFETY: setrlimit is async-signal-safe, and its argument is a copy.
        unsafe {
            self.command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        self
    }

    pub fn stderr_to(mut self, stderr: impl Into<Stdio>) -> Self {
        self.command.stderr(stderr);
        self
    }

    /// Limits the size of files in bytes.
    pub fn largest_file(mut self, bytes: u64) -> Self {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        // SAFETY: setrlimit is async-signal-safe, and its argument is a copy.
        unsafe {
            self.command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        self
    }

    /// Sets the limit of its descriptors.
    pub fn descriptors(mut self, most: u64) -> Self {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: setrlimit is async-signal-safe, and its argument is a copy.
        unsafe {
            self.command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        self
    }

    /// Sets the limit of its descriptors that it can raise by itself.
    pub fn soft_descriptors(mut self, most: u64) -> Self {
        // SAFETY: getrlimit and setrlimit are async-signal-safe, and use a place of their own.
        unsafe {
            self.command.pre_exec(move || {
                let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                limit.rlim_cur = most;
                match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        self
    }

    /// Starts it with this signal ignored, as its parent ignores it.
    pub fn ignoring(mut self, signal: Signal) -> Self {
        // SAFETY: signal is async-signal-safe, and ignoring one runs no code of this program.
        unsafe {
            self.command.pre_exec(move || {
                nix::sys::signal::signal(signal, SigHandler::SigIgn)?;
                Ok(())
            });
        }
        self
    }

    /// Starts it at a terminal that is its own, as the first program of a login: standard input is the terminal, and it gets
    /// a signal when that is closed.
    pub fn at_its_terminal(mut self, terminal: OwnedFd) -> Self {
        self.command.stdin(terminal);
        // SAFETY: the call is async-signal-safe. It comes after the one that makes a new session.
        unsafe {
            self.command.pre_exec(|| match libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        self
    }

    /// Starts it as a job of a shell, which could continue it: in a group of its own in the session of the tests.
    pub fn job(self) -> Self {
        self.job.store(true, Ordering::Relaxed);
        self
    }

    /// Allows more time than [`HANG`], for the sizes of `WASMPOOL_TEST_FULL`.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts it. Standard input stays with the caller unless there is something to feed.
    pub fn start(mut self) -> Host {
        alone::shared();
        let child = self.command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        let mut host = Host::new(child, self.limit, self.temporary, self.tasks);
        if let Some(feed) = self.feed {
            let mut pipe = host.stdin.take().expect("standard input is a pipe");
            // A program that ends early closes the pipe; the test judges what it printed.
            std::thread::spawn(move || drop(feed(&mut pipe)));
        }
        host
    }

    /// Starts it, gives it its input (empty if none was set), and waits for its end.
    pub fn run(self) -> Output {
        let mut host = self.start();
        host.end_input();
        let mut bytes = Vec::new();
        if let Some(mut pipe) = host.stdout.take() {
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        }
        let code = host.code();
        let stderr = host.stderr();
        Output { code, bytes, stderr }
    }
}

impl Output {
    /// Fails, with everything that was printed, unless it ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            code,
            "exit code; standard error:\n{}\nstandard output:\n{}",
            self.stderr,
            String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(500)])
        );
        self
    }

    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("the output is text")
    }

    #[track_caller]
    pub fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// Returns each line as JSON.
    #[track_caller]
    pub fn values(&self) -> Vec<Value> {
        self.lines()
            .into_iter()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Returns each line as a record, and checks its form.
    #[track_caller]
    pub fn records(&self) -> Vec<Record> {
        records(self.text())
    }

    /// Returns the kinds of all records in the order of their index, `ok` for those that succeeded.
    #[track_caller]
    pub fn kinds(&self) -> Vec<String> {
        let mut records = self.records();
        records.sort_by_key(Record::index);
        records.iter().map(|record| record.kind().to_owned()).collect()
    }
}
