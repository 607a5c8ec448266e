//! What the process does all the time: it waits for the host and for participants.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_ipc::messages::{ManagerOrder, ManagerReport, ManagerSetup};

/// The host's number among the things that are waited for; participants have their own.
const HOST: u64 = u64::MAX;

pub struct Serving<'a> {
    control: &'a Control,
    epoll: Epoll,
}

impl<'a> Serving<'a> {
    pub fn new(control: &'a Control, _setup: &ManagerSetup) -> io::Result<Serving<'a>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(control.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, HOST))?;
        Ok(Serving { control, epoll })
    }

    /// Serves until the host is gone.
    pub fn run(self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 64];
        loop {
            match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
            match self.control.receive_with_descriptors::<ManagerOrder>(true)? {
                Incoming::Message((ManagerOrder::Detach { participant }, _)) => {
                    self.control.send(&ManagerReport::Detached { participant }, &[])?;
                }
                Incoming::Message(_) | Incoming::Bell | Incoming::Nothing => {}
                Incoming::Closed => return Ok(()),
            }
        }
    }
}
