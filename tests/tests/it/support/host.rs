//! A running program: its pipes, its processes, and a guard that kills it if it hangs.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::guest::Task;
use super::process::{Process, busy_worker, descendants, direct_children, session, workers};
use super::until;

/// A program that was started. It is killed when this value is dropped, at the latest.
pub struct Host {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<BufReader<ChildStdout>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    stderr_reader: Option<JoinHandle<()>>,
    hung: Arc<AtomicBool>,
    limit: Duration,
    /// Tells the guard that the run is over when it is dropped.
    guard: Option<Sender<()>>,
    /// The `TMPDIR` of the program.
    temporary: TempDir,
    _tasks: Vec<Task>,
}

impl Host {
    pub(super) fn new(mut child: Child, limit: Duration, temporary: TempDir, tasks: Vec<Task>) -> Self {
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let stderr_reader = child.stderr.take().map(|mut pipe| {
            let stderr = Arc::clone(&stderr);
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                    stderr.lock().expect("no panic under this lock").extend_from_slice(&buffer[..count]);
                }
            })
        });
        let hung = Arc::new(AtomicBool::new(false));
        let guard = guard(child.id().cast_signed(), limit, Arc::clone(&hung));
        Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take().map(|pipe| BufReader::with_capacity(1 << 16, pipe)),
            child,
            stderr,
            stderr_reader,
            hung,
            limit,
            guard: Some(guard),
            temporary,
            _tasks: tasks,
        }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub fn process(&self) -> Process {
        Process::living(self.pid()).expect("the program runs")
    }

    /// Returns its worker processes at this moment.
    pub fn workers(&self) -> Vec<Process> {
        workers(self.pid())
    }

    /// Waits for a child in this role: `worker`, `compile` or `manager`.
    pub fn child(&self, role: &str) -> Process {
        until(role, || self.children(role).into_iter().next())
    }

    /// Returns the children in this role at this moment.
    pub fn children(&self, role: &str) -> Vec<Process> {
        children(self.pid(), role)
    }

    /// Returns every process below it at this moment.
    pub fn descendants(&self) -> Vec<Process> {
        descendants(self.pid())
    }

    /// Returns its children, found quickly where the kernel keeps a list of them.
    pub fn direct_children(&self) -> Vec<Process> {
        direct_children(self.pid())
    }

    /// Waits for a worker that is in the middle of an item that computes.
    pub fn busy_worker(&self) -> Process {
        busy_worker(self.pid(), 10)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("the program runs");
    }

    /// Returns what it has written to standard error so far, and all of it once it was waited for.
    pub fn said(&self) -> String {
        let bytes = self.stderr.lock().expect("no panic under this lock");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the next line of standard output, without its end; `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        let pipe = self.stdout.as_mut().expect("standard output is a pipe");
        let mut line = String::new();
        let count = pipe.read_line(&mut line).expect("the output is text");
        self.fail_if_hung();
        if count == 0 {
            return None;
        }
        assert!(line.ends_with('\n'), "a torn last line: {line:?}");
        line.pop();
        Some(line)
    }

    /// Returns true if it has ended and was not waited for.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the program is our child").is_some()
    }

    /// Closes standard input, which ends the input.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end, and for all it has written to standard error. It must not be blocked on standard output.
    ///
    /// The end of standard error is the end of every process that holds it, so one that outlived the program is waited for too,
    /// until the guard kills it.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("the program is our child");
        if let Some(reader) = self.stderr_reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.fail_if_hung();
        status
    }

    /// Waits for its end and returns its exit code, or the signal as a shell reports it.
    pub fn code(&mut self) -> i32 {
        let status = self.wait();
        status.code().unwrap_or_else(|| 128 + status.signal().expect("a code or a signal"))
    }

    /// Waits for its end and returns everything it wrote to standard error.
    pub fn stderr(&mut self) -> String {
        self.wait();
        self.said()
    }

    pub(super) fn fail_if_hung(&self) {
        assert!(
            !self.hung.load(Ordering::SeqCst),
            "hung: killed after {:?}; its standard error:\n{}",
            self.limit,
            self.said()
        );
    }

    /// Waits until no process of `family`, and nothing else that came from this program, lives.
    pub fn leaves_nothing_behind(&self, family: &[Process]) {
        until("every process of the run has gone", || {
            let mut left: Vec<&Process> = family.iter().filter(|process| process.lives()).collect();
            let session = session(self.pid());
            left.extend(&session);
            left.is_empty().then_some(())
        });
        let files: Vec<_> = std::fs::read_dir(self.temporary.path())
            .expect("TMPDIR is ours")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        assert!(files.is_empty(), "left in TMPDIR: {files:?}");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.guard = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the processes below a host that have this role.
pub fn children(host: i32, role: &str) -> Vec<Process> {
    let line = format!("wasmpool-child\0{role}\0");
    // A process may have ended by now.
    let read = |process: &Process| std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    descendants(host).into_iter().filter(|process| read(process).starts_with(line.as_bytes())).collect()
}

/// Kills the process, and all below it, once `limit` is over, unless the sender is dropped before.
fn guard(pid: i32, limit: Duration, hung: Arc<AtomicBool>) -> Sender<()> {
    let (sender, receiver) = channel();
    let handle = pidfd(pid);
    std::thread::spawn(move || {
        if receiver.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            hung.store(true, Ordering::SeqCst);
            let mut family = descendants(pid);
            family.extend(session(pid));
            // SAFETY: the descriptor is open, and the call takes no pointers but a null one.
            unsafe {
                libc::syscall(
                    libc::SYS_pidfd_send_signal,
                    handle.as_raw_fd(),
                    libc::SIGKILL,
                    std::ptr::null::<libc::siginfo_t>(),
                    0,
                );
            }
            // A worker that outlived it could hold a pipe that the test reads.
            family.iter().for_each(|process| process.send(Signal::SIGKILL));
        }
    });
    sender
}

/// Returns a handle on a child, which remains the child's even if its number is used again.
fn pidfd(pid: i32) -> OwnedFd {
    // SAFETY: the call takes no pointers, and the descriptor that it returns is owned by nobody else.
    unsafe {
        let descriptor = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        assert!(descriptor >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(i32::try_from(descriptor).expect("a descriptor"))
    }
}
