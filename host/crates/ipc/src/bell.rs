//! A bell between two processes: a socket whose messages do nothing but wake, and whose end tells that the other side is
//! gone.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::wake::Bell;

/// Pause before a message is sent again because the kernel had no memory for it, and maximum number of tries.
pub const AGAIN: Duration = Duration::from_millis(1);
pub const SENDS: u32 = 100;
/// The message that does nothing but wake.
pub const BELL: &[u8] = b"b";

/// Creates the two ends of a socket that keeps messages apart.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Wakes the other side, without waiting. If the socket is full, bells are already waiting there. After a temporary
/// error, the bell has yet to be rung.
pub fn ring(socket: &impl AsFd) -> nix::Result<()> {
    loop {
        match send(socket.as_fd().as_raw_fd(), BELL, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
            Ok(_) | Err(Errno::EAGAIN) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Waits for a message, whatever it is. A side that is gone is an error.
pub fn wait(socket: &impl AsFd) -> io::Result<()> {
    let mut bytes = [0; BELL.len()];
    loop {
        return match recv(socket.as_fd().as_raw_fd(), &mut bytes, MsgFlags::empty()) {
            Ok(0) | Err(Errno::ECONNRESET) => Err(io::ErrorKind::BrokenPipe.into()),
            Ok(_) => Ok(()),
            Err(Errno::EINTR) => continue,
            Err(e) if is_short(e) => {
                thread::park_timeout(AGAIN);
                continue;
            }
            Err(e) => Err(e.into()),
        };
    }
}

/// Returns true if the kernel has no memory for a message at the moment.
pub fn is_short(e: Errno) -> bool {
    matches!(e, Errno::ENOBUFS | Errno::ENOMEM)
}

/// Repeats an action that was interrupted. If the kernel has no memory, repeats it up to `times` times.
pub fn at_last(times: u32, act: impl Fn() -> nix::Result<()>) -> nix::Result<()> {
    let mut short = 0;
    loop {
        match act() {
            Err(Errno::EINTR) => {}
            Err(e) if is_short(e) && short < times => {
                short += 1;
                // The sandbox allows this way of waiting.
                thread::park_timeout(AGAIN);
            }
            result => return result,
        }
    }
}

/// One end of a socket that carries nothing but bells.
#[derive(Debug)]
pub struct BellSocket(OwnedFd);

/// Result of [`BellSocket::heard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Rung,
    Silence,
    /// The other side is gone.
    End,
}

impl BellSocket {
    pub fn from_fd(socket: OwnedFd) -> BellSocket {
        BellSocket(socket)
    }

    /// Takes one bell off the socket, without waiting. Descriptors that come with it are closed by the kernel.
    pub fn heard(&self) -> Heard {
        let mut bytes = [0; BELL.len()];
        loop {
            return match recv(self.0.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
                // An empty message looks like the end, which nobody sends who still wants something.
                Ok(0) => Heard::End,
                Ok(_) => Heard::Rung,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => Heard::Silence,
                Err(e) if is_short(e) => Heard::Silence,
                Err(_) => Heard::End,
            };
        }
    }
}

impl AsFd for BellSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Bell for BellSocket {
    fn wait(&self) -> io::Result<()> {
        wait(&self.0)
    }

    /// Rings until it succeeds: a bell that is lost would leave both sides asleep.
    fn ring(&self) -> io::Result<()> {
        at_last(u32::MAX, || ring(&self.0))?;
        Ok(())
    }
}
