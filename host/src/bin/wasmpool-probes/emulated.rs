//! Surroundings that a machine does not have, made for one command: an older Landlock, refused calls, limits of the shell,
//! memory that never becomes executable, no `/proc`.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use crate::contained::refuse;

type Error = Box<dyn std::error::Error>;

/// Runs a command: `[--limit NAME=N | --refuse CALL=ERRNO | --mdwe | --no-executable-memory | --no-proc | --no-null |
/// --read-only | --landlock N]… COMMAND…`. Ends as it ends.
pub fn run(arguments: &[String]) -> Result<(), Error> {
    let mut words = arguments.iter();
    let mut word = || words.next().ok_or("a word is missing");
    let mut landlock = None;
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
            // As systemd does it.
            "--no-executable-memory" => {
                let executable = libc::PROT_EXEC as u64;
                let operation = SeccompCmpOp::MaskedEq(executable);
                let condition = SeccompCondition::new(2, SeccompCmpArgLen::Dword, operation, executable)?;
                last.push((libc::SYS_mprotect, vec![SeccompRule::new(vec![condition])?], libc::EPERM));
            }
            "--no-proc" => cover("/proc")?,
            "--no-null" => cover("/dev")?,
            "--read-only" => read_only()?,
            "--landlock" => landlock = Some(word()?.parse()?),
            program => break program,
        }
    };
    let mut command = Command::new(program);
    command.args(words);
    for (call, rules, errno) in last {
        refuse(BTreeMap::from([(call, rules)]), errno)?;
    }
    match landlock {
        None => Err(command.exec().into()),
        Some(version) => with_landlock(command, version),
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

/// Puts an empty directory in place of another, for this process and its children.
fn cover(path: &str) -> Result<(), Error> {
    own_mounts()?;
    Ok(mount(Some("nothing"), path, Some("tmpfs"), MsFlags::empty(), NOWHERE)?)
}

/// Has nothing on the disk that holds the root be written to.
fn read_only() -> Result<(), Error> {
    own_mounts()?;
    Ok(mount(NOWHERE, "/", NOWHERE, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, NOWHERE)?)
}

fn own_mounts() -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount(NOWHERE, "/", NOWHERE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOWHERE)?)
}

/// Runs it where Landlock says that it is of this version: whoever asks gets the answer from here.
fn with_landlock(mut command: Command, version: i64) -> Result<(), Error> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: system calls, and nothing else, happen between fork and exec.
    unsafe { command.pre_exec(move || hand_over(&theirs)) };
    let mut child = command.spawn()?;
    drop(command);
    let listener = take_over(&ours)?;
    loop {
        let mut awaited = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut awaited, PollTimeout::from(20u8))?;
        let events = awaited[0].revents().unwrap_or(PollFlags::empty());
        if events.contains(PollFlags::POLLIN) {
            answer(&listener, version)?;
        } else if let Some(status) = child.try_wait()? {
            std::process::exit(status.code().unwrap_or(255));
        }
    }
}

/// Has somebody else answer what asks for Landlock's version, and sends the descriptor by which that goes.
fn hand_over(to: &OwnedFd) -> io::Result<()> {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let statement = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    // The number of the call, then the lower half of its third argument: the flag that asks for a version.
    let mut program = [
        statement(LOAD, 0),
        libc::sock_filter { code: EQUAL, jt: 0, jf: 3, k: libc::SYS_landlock_create_ruleset as u32 },
        statement(LOAD, 16 + 2 * 8),
        libc::sock_filter { code: EQUAL, jt: 0, jf: 1, k: 1 },
        statement(RETURN, libc::SECCOMP_RET_USER_NOTIF),
        statement(RETURN, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter lives until the call is over, and the descriptor is ours.
    let listener = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let fd = libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd as i32)
    };
    let fds = [listener.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(b"l")], &rights, MsgFlags::empty(), None)?;
    Ok(())
}

fn take_over(from: &OwnedFd) -> Result<OwnedFd, Error> {
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(from.as_raw_fd(), &mut bytes, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part
            && let [fd] = fds[..]
        {
            // SAFETY: the kernel has just made this descriptor for us.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
    Err("no descriptor came".into())
}

fn answer(listener: &OwnedFd, version: i64) -> Result<(), Error> {
    const RECEIVE: libc::c_ulong = 0xc050_2100;
    const SEND: libc::c_ulong = 0xc018_2101;
    // SAFETY: all zeroes is a valid one, and what the call wants.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: writes one of these.
    if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut asked) } < 0 {
        // Whoever asked has ended.
        return Ok(());
    }
    let reply = libc::seccomp_notif_resp { id: asked.id, val: version, error: 0, flags: 0 };
    // SAFETY: reads one of these. It fails where nobody waits any more.
    unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw const reply) };
    Ok(())
}
