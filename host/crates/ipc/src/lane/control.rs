//! The socket between the host and a worker or compile process. It carries descriptors, short messages, and the bell.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::thread;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bell::{self, AGAIN, BELL, SENDS, at_last, is_short};
use crate::wake::Bell;

/// Maximum length of a message; longer ones travel in a memfd.
const MAX_MESSAGE: usize = 16 << 10;
/// Maximum number of descriptors with one message: a worker gets one for each shared object and each granted directory.
/// The kernel allows 253.
const MAX_FDS: usize = 128;

/// One end of the socket.
#[derive(Debug)]
pub struct Control {
    socket: OwnedFd,
}

/// A message, or the reason why there is none.
#[derive(Debug)]
pub enum Incoming<M> {
    Message(M),
    Bell,
    /// The peer has closed its end.
    Closed,
    /// Nothing has arrived (only without waiting).
    Nothing,
}

impl Control {
    /// Creates a socket and returns the host's end and the other one.
    pub fn pair() -> io::Result<(Control, OwnedFd)> {
        let (ours, theirs) = bell::pair()?;
        Ok((Control { socket: ours }, theirs))
    }

    pub fn from_fd(socket: OwnedFd) -> Control {
        Control { socket }
    }

    pub fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if fds.is_empty() {
            // A process in the sandbox may not make a system call that sends more than bytes.
            let send = || nix::sys::socket::send(self.socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL);
            at_last(SENDS, || send().map(|_| ()))?;
            return Ok(());
        }
        let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let send =
            || sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(&bytes)], &rights, MsgFlags::MSG_NOSIGNAL, None);
        at_last(SENDS, || send().map(|_| ()))?;
        Ok(())
    }

    /// Sends a message without waiting. Returns false if there is no room for it.
    pub fn try_send(&self, message: &impl Serialize) -> io::Result<bool> {
        let bytes = serde_json::to_vec(message)?;
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        loop {
            return match nix::sys::socket::send(self.socket.as_raw_fd(), &bytes, flags) {
                Ok(_) => Ok(true),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => Ok(false),
                Err(e) if is_short(e) => Ok(false),
                Err(e) => Err(e.into()),
            };
        }
    }

    /// Sends a message with a system call that a compile process may also use in its sandbox.
    pub fn write(&self, message: &impl Serialize) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        at_last(SENDS, || nix::unistd::write(&self.socket, &bytes).map(|_| ()))?;
        Ok(())
    }

    /// Receives the next message; waits for one unless `dont_wait`. The caller can take no descriptors: the kernel
    /// closes any that come with it.
    ///
    /// # Errors
    ///
    /// Also fails for a message that is not an `M`, is too long, or has descriptors with it.
    pub fn receive<M: DeserializeOwned>(&self, dont_wait: bool) -> io::Result<Incoming<M>> {
        let mut bytes = [0; MAX_MESSAGE];
        let mut flags = MsgFlags::empty();
        flags.set(MsgFlags::MSG_DONTWAIT, dont_wait);
        let count = loop {
            let mut iov = [IoSliceMut::new(&mut bytes)];
            match recvmsg::<()>(self.socket.as_raw_fd(), &mut iov, None, flags) {
                Ok(message) if message.flags.contains(MsgFlags::MSG_TRUNC) => {
                    return Err(io::Error::other("it is longer than any can be"));
                }
                // Descriptors were sent, although none may come and there was no room for them.
                Ok(message) if message.flags.contains(MsgFlags::MSG_CTRUNC) => {
                    return Err(io::Error::other("descriptors came with it"));
                }
                Ok(message) => break message.bytes,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(Incoming::Nothing),
                Err(Errno::ECONNRESET) => return Ok(Incoming::Closed),
                // The message stays in the socket, and whoever waits for it is woken again.
                Err(e) if is_short(e) && dont_wait => return Ok(Incoming::Nothing),
                Err(e) if is_short(e) => thread::park_timeout(AGAIN),
                Err(e) => return Err(e.into()),
            }
        };
        match &bytes[..count] {
            [] => Ok(Incoming::Closed),
            BELL => Ok(Incoming::Bell),
            message => Ok(Incoming::Message(serde_json::from_slice(message)?)),
        }
    }

    /// Waits for the host's message and its descriptors. Returns `None` if the host is gone.
    pub fn receive_descriptors<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        match self.receive_with_descriptors(false)? {
            Incoming::Message(message) => Ok(Some(message)),
            Incoming::Closed | Incoming::Bell | Incoming::Nothing => Ok(None),
        }
    }

    /// Receives the next message and the descriptors that come with it; waits for one unless `dont_wait`.
    pub fn receive_with_descriptors<M: DeserializeOwned>(
        &self,
        dont_wait: bool,
    ) -> io::Result<Incoming<(M, Vec<OwnedFd>)>> {
        let mut bytes = [0; MAX_MESSAGE];
        let mut space = nix::cmsg_space!([i32; MAX_FDS]);
        let mut flags = MsgFlags::MSG_CMSG_CLOEXEC;
        flags.set(MsgFlags::MSG_DONTWAIT, dont_wait);
        loop {
            let mut iov = [IoSliceMut::new(&mut bytes)];
            let (count, fds) = match recvmsg::<()>(self.socket.as_raw_fd(), &mut iov, Some(&mut space), flags) {
                Ok(message) => {
                    let mut fds = Vec::new();
                    for part in message.cmsgs()? {
                        if let ControlMessageOwned::ScmRights(raw) = part {
                            // SAFETY: the kernel has just made these descriptors for us; nobody else owns them.
                            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                        }
                    }
                    (message.bytes, fds)
                }
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Ok(Incoming::Nothing),
                // The message stays in the socket, and whoever waits for it is woken again.
                Err(e) if is_short(e) && dont_wait => return Ok(Incoming::Nothing),
                Err(e) if is_short(e) => {
                    thread::park_timeout(AGAIN);
                    continue;
                }
                Err(Errno::ECONNRESET) => return Ok(Incoming::Closed),
                Err(e) => return Err(e.into()),
            };
            return match &bytes[..count] {
                [] => Ok(Incoming::Closed),
                message => Ok(Incoming::Message((serde_json::from_slice(message)?, fds))),
            };
        }
    }

    /// Wakes the other side. If the socket is full, bells are already waiting there. After a temporary error, the bell
    /// has yet to be rung.
    pub fn ring(&self) -> io::Result<()> {
        Ok(bell::ring(&self.socket)?)
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Bell for Control {
    /// Waits with `recv`, which a worker that serves items may call. Anything that the host sends it then is a bell.
    fn wait(&self) -> io::Result<()> {
        bell::wait(&self.socket)
    }

    /// Rings until it succeeds: a bell that is lost would leave both sides asleep.
    fn ring(&self) -> io::Result<()> {
        at_last(u32::MAX, || bell::ring(&self.socket))?;
        Ok(())
    }
}
