//! The command's standard streams, in whatever state they were inherited.
//!
//! The standard library's streams are not used for anything that matters: its macros panic if nobody reads standard
//! error any more, and it treats a stream that is closed, or open in the other direction, as one that discards
//! everything or is empty. Here every error of results and input is reported. Messages are dropped if they cannot be
//! written: no results are lost because of them.

mod diagnostic;
mod status;

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::uio::writev;

pub use diagnostic::{Facts, Level};
use status::StatusLine;

/// Writes a line of a message to standard error, or drops it. Takes the arguments of `format!`.
#[macro_export]
macro_rules! tell {
    ($($message:tt)*) => {
        $crate::stdio::tell_line($crate::stdio::Level::Info, &[], format_args!($($message)*))
    };
}

/// Does what [`tell!`] does, with the message's [`Level`] and [`Facts`] in front.
#[macro_export]
macro_rules! tell_as {
    ($level:expr, $facts:expr, $($message:tt)*) => {
        $crate::stdio::tell_line($level, $facts, format_args!($($message)*))
    };
}

/// Time that a message waits for a slow reader, if standard error is non-blocking.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bit for each of the three streams that was closed when the process began.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Records which standard streams are closed. The standard library opens `/dev/null` in place of such a stream before
/// `main` runs, so this has to be called before that: the command has it among its initialisers.
pub extern "C" fn note_closed() {
    for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: the call reads the flags of a descriptor, which need not be open.
        if unsafe { libc::fcntl(stream, libc::F_GETFD) } == -1 {
            CLOSED.fetch_or(1 << stream, Ordering::Relaxed);
        }
    }
}

fn is_closed(stream: i32) -> bool {
    CLOSED.load(Ordering::Relaxed) & (1 << stream) != 0
}

/// Standard output, unbuffered.
#[derive(Clone, Copy, Debug)]
pub struct Stdout;

/// Standard input, unbuffered.
#[derive(Clone, Copy, Debug)]
pub struct Stdin;

/// Standard error.
#[derive(Clone, Copy, Debug)]
pub struct Stderr;

impl Stderr {
    /// Returns another descriptor of the stream.
    pub fn duplicate(self) -> io::Result<File> {
        duplicate(libc::STDERR_FILENO, &io::stderr())
    }
}

impl Stdout {
    /// Returns another descriptor of the stream.
    pub fn duplicate(self) -> io::Result<File> {
        duplicate(libc::STDOUT_FILENO, &io::stdout())
    }

    /// Returns an error if it is known beforehand that nothing can be written to it.
    pub fn check(self) -> Result<(), StreamError> {
        match wrong(libc::STDOUT_FILENO, &io::stdout(), OFlag::O_WRONLY) {
            Some(fault) => Err(StreamError::Output(fault)),
            None => Ok(()),
        }
    }
}

impl Stdin {
    /// Returns another descriptor of the stream.
    pub fn duplicate(self) -> io::Result<File> {
        duplicate(libc::STDIN_FILENO, &io::stdin())
    }

    /// Returns an error if it is known beforehand that nothing can be read from it.
    pub fn check(self) -> Result<(), StreamError> {
        match wrong(libc::STDIN_FILENO, &io::stdin(), OFlag::O_RDONLY) {
            Some(fault) => Err(StreamError::Input(fault)),
            None => Ok(()),
        }
    }
}

fn duplicate(number: i32, stream: &impl AsFd) -> io::Result<File> {
    match is_closed(number) {
        true => Err(Errno::EBADF.into()),
        false => stream.as_fd().try_clone_to_owned().map(File::from),
    }
}

/// A standard stream that cannot be used, with what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    #[error("standard input {0}; redirect it, or name a file")]
    Input(StreamFault),
    #[error("standard output {0}; redirect it, or name a file")]
    Output(StreamFault),
    #[error("standard error {0}; redirect it, or name a file")]
    Messages(StreamFault),
}

/// Returns an error if a path names a standard stream that was closed. The standard library has opened `/dev/null` in its
/// place, so that the path leads to a device that is empty and takes everything.
pub fn check_stream_of(path: &Path) -> Result<(), StreamError> {
    let streams = [
        (libc::STDIN_FILENO, "stdin", StreamError::Input(StreamFault::Closed)),
        (libc::STDOUT_FILENO, "stdout", StreamError::Output(StreamFault::Closed)),
        (libc::STDERR_FILENO, "stderr", StreamError::Messages(StreamFault::Closed)),
    ];
    let is_named = |number: i32, name: &str| {
        let number = number.to_string();
        path == Path::new("/dev").join(name)
            || ["/dev/fd", "/proc/self/fd"].iter().any(|folder| path == Path::new(folder).join(&number))
    };
    match streams.into_iter().find(|(number, name, _)| is_closed(*number) && is_named(*number, name)) {
        Some((.., error)) => Err(error),
        None => Ok(()),
    }
}

/// What is wrong with a standard stream, in words that follow its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFault {
    Closed,
    NotForReading,
    NotForWriting,
    Directory,
}

impl fmt::Display for StreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StreamFault::Closed => "is closed",
            StreamFault::NotForReading => "is not open for reading",
            StreamFault::NotForWriting => "is not open for writing",
            StreamFault::Directory => "is a directory",
        })
    }
}

/// Returns what is wrong with a stream that must be open in this direction, or in both.
fn wrong(number: i32, stream: &impl AsFd, way: OFlag) -> Option<StreamFault> {
    if is_closed(number) {
        return Some(StreamFault::Closed);
    }
    let flags = OFlag::from_bits_retain(fcntl(stream, FcntlArg::F_GETFL).ok()?);
    let open = flags & OFlag::O_ACCMODE;
    if flags.contains(OFlag::O_PATH) || (open != way && open != OFlag::O_RDWR) {
        return Some(if way == OFlag::O_RDONLY { StreamFault::NotForReading } else { StreamFault::NotForWriting });
    }
    let kind = SFlag::from_bits_truncate(fstat(stream).ok()?.st_mode) & SFlag::S_IFMT;
    (kind == SFlag::S_IFDIR).then_some(StreamFault::Directory)
}

/// Error: the terminal that standard output goes to is gone. It was closed, or the connection to it has ended.
#[derive(Debug, thiserror::Error)]
#[error("the terminal is gone")]
pub struct HungUp;

impl HungUp {
    /// Returns true if a write to standard output failed because its terminal is gone.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<HungUp>())
    }
}

/// True if standard output was a terminal before anything was written. One that is gone no longer says so.
static OUT_IS_TERMINAL: OnceLock<bool> = OnceLock::new();

fn write_to_stdout(parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let stdout = io::stdout();
    let is_terminal = *OUT_IS_TERMINAL.get_or_init(|| stdout.is_terminal());
    let parts = parts.get(..MOST_PARTS).unwrap_or(parts);
    until_ready(stdout.as_fd(), PollFlags::POLLOUT, None, || writev(&stdout, parts)).map_err(|e| {
        match e.raw_os_error() {
            Some(libc::EIO) if is_terminal => io::Error::other(HungUp),
            _ => e,
        }
    })
}

/// Writes as much as can be written at all.
fn write_bytes_to_stdout(bytes: &[u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < bytes.len() {
        match write_to_stdout(&[IoSlice::new(&bytes[count..])]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(_) if count > 0 => break,
            Err(e) => return Err(e),
        }
    }
    Ok(count)
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if is_closed(libc::STDOUT_FILENO) {
            return Err(Errno::EBADF.into());
        }
        let Some(mut line) = shares_terminal().then(status_line).flatten() else {
            return write_to_stdout(parts);
        };
        // All of it is written before the line is drawn again, which tells of all of it.
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        write_now(line.before_results());
        let written = write_bytes_to_stdout(&bytes);
        let last = written.as_ref().ok().and_then(|&count| bytes.get(..count)?.last());
        if let Some(&last) = last {
            write_now(&line.after_results(last));
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Maximum number of parts that the kernel takes at once.
const MOST_PARTS: usize = 1024;

impl Read for Stdin {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        if is_closed(libc::STDIN_FILENO) {
            return Err(Errno::EBADF.into());
        }
        let stdin = io::stdin();
        until_ready(stdin.as_fd(), PollFlags::POLLIN, None, || nix::unistd::read(&stdin, block))
    }
}

/// Tries until it is done, or fails for good. Waits, at most until the deadline, for a stream that another program that
/// shares it has made non-blocking.
fn until_ready(
    stream: BorrowedFd<'_>,
    ready: PollFlags,
    deadline: Option<Instant>,
    mut attempt: impl FnMut() -> nix::Result<usize>,
) -> io::Result<usize> {
    loop {
        match attempt() {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                if left.is_some_and(|left| left.is_zero()) {
                    return Err(Errno::EAGAIN.into());
                }
                let wait = left.map_or(PollTimeout::NONE, |left| left.try_into().unwrap_or(PollTimeout::MAX));
                match poll(&mut [PollFd::new(stream, ready)], wait) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            other => return Ok(other?),
        }
    }
}

/// True if the last message was not taken in time: the next ones do not wait for a reader that has stopped.
static UNREAD: AtomicBool = AtomicBool::new(false);

/// True if messages go to the terminal instead of standard error.
static TO_TERMINAL: AtomicBool = AtomicBool::new(false);

/// Sends messages to the terminal from now on, if there is one, and else nowhere: standard error is a file that nothing
/// may be written to.
pub fn spare_standard_error() {
    TO_TERMINAL.store(true, Ordering::Relaxed);
}

/// True if messages are written as JSON.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// Writes each message as a JSON object from now on, on a line of its own.
pub fn write_json(json: bool) {
    AS_JSON.store(json, Ordering::Relaxed);
}

/// Returns true if messages are written as JSON.
pub fn writes_json() -> bool {
    AS_JSON.load(Ordering::Relaxed)
}

/// What stands at the end of the terminal.
static STATUS: Mutex<StatusLine> = Mutex::new(StatusLine::new());

/// Time that a message waits for one who writes results to the terminal, which may have been stopped. It is then written
/// all the same.
const STATUS_PATIENCE: Duration = Duration::from_millis(50);

/// Returns what stands at the end of the terminal, unless another thread has it and keeps it.
fn status_line() -> Option<MutexGuard<'static, StatusLine>> {
    let deadline = Instant::now() + STATUS_PATIENCE;
    loop {
        match STATUS.try_lock() {
            Ok(line) => return Some(line),
            Err(TryLockError::Poisoned(line)) => return Some(line.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return None,
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Number of results that are on their way to the terminal, each with the line that tells of it.
static ON_THEIR_WAY: AtomicUsize = AtomicUsize::new(0);

/// Number of lines for the end of the terminal so far.
static LINES: AtomicU64 = AtomicU64::new(0);

/// A line for the end of the terminal that tells of results which go there, too, and have not been written yet. While there
/// are any, [`show_status`] does nothing, so that no line tells of results that nobody sees.
#[derive(Debug)]
pub struct StatusBehind(NumberedLine);

/// A line for the end of the terminal, with its number among all there were.
type NumberedLine = (u64, String);

fn numbered(line: String) -> NumberedLine {
    (LINES.fetch_add(1, Ordering::SeqCst) + 1, line)
}

impl StatusBehind {
    pub fn new(line: String) -> StatusBehind {
        ON_THEIR_WAY.fetch_add(1, Ordering::SeqCst);
        StatusBehind(numbered(line))
    }

    /// Has the line stand at the end of the terminal once the results are written, unless there is a later one by then.
    pub fn be_next(&self) {
        draw_next(&self.0);
    }
}

/// Has a line stand at the end of the terminal when that is drawn again, with the next message or result.
pub fn renew_status(line: String) {
    draw_next(&numbered(line));
}

fn draw_next((number, line): &NumberedLine) {
    if let Some(mut status) = status_line() {
        status.be_next(*number, line);
    }
}

impl Drop for StatusBehind {
    fn drop(&mut self) {
        ON_THEIR_WAY.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Shows a line at the end of the terminal that standard error is, until it is replaced or cleared. Messages, and results
/// that go to the same terminal, are put in front of it. It has to be shorter than the terminal is wide. It is left out
/// this time if the terminal does not take it at once.
pub fn show_status(line: String) {
    let stderr = io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if ON_THEIR_WAY.load(Ordering::SeqCst) == 0
        && matches!(poll(&mut ready, PollTimeout::ZERO), Ok(1..))
        && let Ok(mut status) = STATUS.try_lock()
    {
        let (number, line) = numbered(line);
        write_now(&status.show(number, line));
    }
}

/// Clears the line of [`show_status`].
pub fn clear_status() {
    if let Some(mut status) = status_line() {
        let (number, none) = numbered(String::new());
        write_now(&status.show(number, none));
    }
}

/// Returns true if results and messages go to the same terminal.
pub fn shares_terminal() -> bool {
    static SHARED: OnceLock<bool> = OnceLock::new();
    *SHARED.get_or_init(|| {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let device = |stream: BorrowedFd<'_>| fstat(stream).ok().map(|found| found.st_rdev);
        stdout.is_terminal() && stderr.is_terminal() && device(stdout.as_fd()) == device(stderr.as_fd())
    })
}

/// Writes a message to standard error as it is, or drops the part that cannot be written.
pub fn tell_text(message: &str) {
    if TO_TERMINAL.load(Ordering::Relaxed) {
        if let Ok(mut terminal) = File::options().write(true).open("/dev/tty") {
            let _ = terminal.write_all(message.as_bytes());
        }
        return;
    }
    match status_line().filter(|line| line.is_there()) {
        Some(mut line) => write_now(&line.around(message)),
        None => write_now(message),
    }
}

/// Writes to standard error, or drops the part that cannot be written.
fn write_now(text: &str) {
    if text.is_empty() {
        return;
    }
    let stderr = io::stderr();
    let patience = if UNREAD.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
    let deadline = Some(Instant::now() + patience);
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let written = until_ready(stderr.as_fd(), PollFlags::POLLOUT, deadline, || nix::unistd::write(&stderr, rest));
        match written {
            Ok(count @ 1..) => rest = &rest[count..],
            Ok(0) | Err(_) => {
                UNREAD.store(true, Ordering::Relaxed);
                return;
            }
        }
    }
    UNREAD.store(false, Ordering::Relaxed);
}

/// Writes a line of a message to standard error, or drops it. Uses one write, so that lines of several programs stay
/// whole.
pub fn tell_line(level: Level, facts: Facts<'_>, message: fmt::Arguments<'_>) {
    match writes_json() {
        true => tell_text(&diagnostic::as_json(level, facts, message)),
        false => tell_text(&format!("{message}\n")),
    }
}
