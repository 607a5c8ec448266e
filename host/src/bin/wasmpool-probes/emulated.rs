//! Surroundings that a machine does not have, emulated for one command: an older Landlock, system calls that are
//! refused or fail now and then, limits of the shell, memory that cannot become executable, no `/proc`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use crate::contained::refuse;

type Error = Box<dyn std::error::Error>;

/// Runs a command, and ends with its exit code. Arguments: `[--limit NAME=N | --refuse CALL=ERRNO | --mdwe |
/// --no-executable-memory | --no-proc | --no-null | --read-only | --landlock N | --failing CALL=ERRNO/N]… COMMAND…`.
pub fn run(arguments: &[String]) -> Result<(), Error> {
    let mut words = arguments.iter();
    let mut word = || words.next().ok_or("a word is missing");
    let mut answers = Answers::default();
    let mut last = Vec::<(i64, Vec<SeccompRule>, i32)>::new();
    let program = loop {
        let option = word()?;
        match option.as_str() {
            "--limit" => limit(word()?)?,
            "--refuse" => {
                let (call, errno) = call(word()?)?;
                last.push((call, Vec::new(), errno));
            }
            "--mdwe" => {
                const PR_SET_MDWE: i32 = 65;
                // SAFETY: the call takes numbers.
                nix::errno::Errno::result(unsafe { libc::prctl(PR_SET_MDWE, 1, 0, 0, 0) })?;
            }
            // The same filter that systemd installs for `MemoryDenyWriteExecute`.
            "--no-executable-memory" => {
                let executable = libc::PROT_EXEC as u64;
                let operation = SeccompCmpOp::MaskedEq(executable);
                let condition = SeccompCondition::new(2, SeccompCmpArgLen::Dword, operation, executable)?;
                last.push((libc::SYS_mprotect, vec![SeccompRule::new(vec![condition])?], libc::EPERM));
            }
            "--no-proc" => cover("/proc")?,
            "--no-null" => cover("/dev")?,
            "--read-only" => read_only()?,
            "--landlock" => answers.landlock = Some(word()?.parse()?),
            "--failing" => answers.failing.push(Failing::of(word()?)?),
            program => break program,
        }
    };
    let mut command = Command::new(program);
    command.args(words);
    for (call, rules, errno) in last {
        refuse(BTreeMap::from([(call, rules)]), errno)?;
    }
    match answers.calls().is_empty() {
        true => Err(command.exec().into()),
        false => with_answers(command, answers),
    }
}

fn limit(text: &str) -> Result<(), Error> {
    let (name, number) = text.split_once('=').ok_or("NAME=N")?;
    let resource = match name {
        "f" => Resource::RLIMIT_FSIZE,
        "n" => Resource::RLIMIT_NOFILE,
        "u" => Resource::RLIMIT_NPROC,
        "v" => Resource::RLIMIT_AS,
        "d" => Resource::RLIMIT_DATA,
        "s" => Resource::RLIMIT_STACK,
        _ => return Err("there is no such limit".into()),
    };
    let number = number.parse()?;
    Ok(setrlimit(resource, number, number)?)
}

fn call(text: &str) -> Result<(i64, i32), Error> {
    let (name, errno) = text.split_once('=').ok_or("CALL=ERRNO")?;
    let call = match name {
        "close_range" => libc::SYS_close_range,
        "memfd_create" => libc::SYS_memfd_create,
        "pidfd_open" => libc::SYS_pidfd_open,
        "landlock_create_ruleset" => libc::SYS_landlock_create_ruleset,
        "unshare" => libc::SYS_unshare,
        "seccomp" => libc::SYS_seccomp,
        _ => return Err("there is no such call".into()),
    };
    let errno = match errno {
        "ENOSYS" => libc::ENOSYS,
        "EPERM" => libc::EPERM,
        _ => return Err("there is no such error".into()),
    };
    Ok((call, errno))
}

const NOWHERE: Option<&str> = None;

/// Mounts an empty directory over another, for this process and its children.
fn cover(path: &str) -> Result<(), Error> {
    own_mounts()?;
    Ok(mount(Some("nothing"), path, Some("tmpfs"), MsFlags::empty(), NOWHERE)?)
}

/// Mounts the root file system read-only.
fn read_only() -> Result<(), Error> {
    own_mounts()?;
    Ok(mount(NOWHERE, "/", NOWHERE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, NOWHERE)?)
}

fn own_mounts() -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount(NOWHERE, "/", NOWHERE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOWHERE)?)
}

/// Answers that this program gives in the kernel's place, to a command and all that it starts.
#[derive(Default)]
struct Answers {
    /// The version that Landlock reports.
    landlock: Option<i64>,
    failing: Vec<Failing>,
}

/// A system call of which every n-th fails, counted over the whole command.
struct Failing {
    call: i64,
    errno: i32,
    every: u64,
    made: u64,
}

impl Failing {
    fn of(text: &str) -> Result<Failing, Error> {
        let (call, rest) = text.split_once('=').ok_or("CALL=ERRNO/N")?;
        let (errno, every) = rest.split_once('/').ok_or("CALL=ERRNO/N")?;
        let call = match call {
            "sendto" => libc::SYS_sendto,
            "sendmsg" => libc::SYS_sendmsg,
            "recvfrom" => libc::SYS_recvfrom,
            "recvmsg" => libc::SYS_recvmsg,
            "flock" => libc::SYS_flock,
            "write" => libc::SYS_write,
            _ => return Err("there is no such call".into()),
        };
        let errno = match errno {
            "EINTR" => libc::EINTR,
            "ENOBUFS" => libc::ENOBUFS,
            "ENOMEM" => libc::ENOMEM,
            "ENOLCK" => libc::ENOLCK,
            _ => return Err("there is no such error".into()),
        };
        Ok(Failing { call, errno, every: every.parse()?, made: 0 })
    }
}

impl Answers {
    fn calls(&self) -> Vec<i64> {
        let landlock = self.landlock.map(|_| libc::SYS_landlock_create_ruleset);
        landlock.into_iter().chain(self.failing.iter().map(|failing| failing.call)).collect()
    }

    /// Returns the answer to a call: a number, or a negative error. `None` lets the call be made.
    fn to(&mut self, asked: &libc::seccomp_data) -> Option<i64> {
        /// The flag that asks `landlock_create_ruleset` for the version.
        const VERSION: u64 = 1;
        let call = i64::from(asked.nr);
        if call == libc::SYS_landlock_create_ruleset && asked.args[2] == VERSION {
            return self.landlock;
        }
        let failing = self.failing.iter_mut().filter(|failing| failing.call == call);
        let mut failing = failing.filter_map(|failing| {
            failing.made += 1;
            failing.made.is_multiple_of(failing.every).then_some(-i64::from(failing.errno))
        });
        failing.next()
    }
}

/// Runs the command with `answers` in the kernel's place.
fn with_answers(mut command: Command, mut answers: Answers) -> Result<(), Error> {
    let (give, given) = mpsc::channel::<OwnedFd>();
    let calls = answers.calls();
    // This thread has no filter, so its own calls need no answer.
    thread::spawn(move || {
        let Ok(listener) = given.recv() else {
            return;
        };
        loop {
            answer(&listener, &mut answers);
        }
    });
    give.send(listen(&calls)?)?;
    let status = command.status()?;
    std::process::exit(status.code().unwrap_or(255));
}

/// Has the given calls of this thread, and of processes that it starts, wait for an answer through the descriptor that
/// is returned.
fn listen(calls: &[i64]) -> io::Result<OwnedFd> {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let statement = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    // Loads the number of the call.
    let mut program = vec![statement(LOAD, 0)];
    for &call in calls {
        program.push(libc::sock_filter { code: EQUAL, jt: 0, jf: 1, k: call as u32 });
        program.push(statement(RETURN, libc::SECCOMP_RET_USER_NOTIF));
    }
    program.push(statement(RETURN, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter lives until the call returns, and the descriptor is new and owned by nobody else.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let fd = libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

fn answer(listener: &OwnedFd, answers: &mut Answers) {
    const RECEIVE: libc::c_ulong = 0xc050_2100;
    const SEND: libc::c_ulong = 0xc018_2101;
    // SAFETY: all zeroes is a valid `seccomp_notif`, and the call requires zeroes.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the call writes one `seccomp_notif`.
    if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut asked) } < 0 {
        // All processes under the filter have ended.
        return;
    }
    let made = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let (val, error, flags) = match answers.to(&asked.data) {
        Some(error @ ..0) => (0, error as i32, 0),
        Some(val) => (val, 0, 0),
        None => (0, 0, made),
    };
    let reply = libc::seccomp_notif_resp { id: asked.id, val, error, flags };
    // SAFETY: the call reads one reply. It fails if the process that waited for it has ended.
    unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw const reply) };
}
