//! The manager process, and the thread that keeps it: it starts the process, which dies with it, and passes on what the
//! process says.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::link::{HostRequest, Link, PATIENCE, SharedEvent};
use crate::error::Error;
use crate::scarce::patiently;
use crate::spawn::{self, ChildProcess, ChildProgram, ChildRole, ChildWait};
use wasmpool_core::layer::LayerPart;
use wasmpool_core::text::ForeignText;
use wasmpool_ipc::channel::Heard;
use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_ipc::messages::{ManagerOrder, ManagerReport, ManagerSetup, StartManager};
use wasmpool_objects::wire::{self, ManagerFrame};
use wasmpool_sandbox::ProcessLimits;
use wasmpool_sandbox::surroundings::ChildEnd;

/// Time that the process has to enter its sandbox.
const START: Duration = Duration::from_secs(30);
/// Pause before waiting again when the kernel has no memory to wait with.
const AGAIN: Duration = Duration::from_millis(10);
/// Interval at which the process is asked whether it still answers.
const LOOK: Duration = Duration::from_secs(5);
/// Maximum number of messages that are read before the other things that are waited for are looked at.
const MESSAGES: usize = 64;

/// What the thread has to begin with.
pub struct Keeper {
    pub program: ChildProgram,
    pub setup: ManagerSetup,
    /// What objects are filled with, as the process reads it.
    pub contents: Vec<u8>,
    pub started: Sender<Result<Started, Error>>,
}

/// The process has entered its sandbox.
pub struct Started {
    pub link: Arc<Link>,
    /// The parts of the sandbox that it runs without.
    pub lacking: Vec<LayerPart>,
    pub pid: u32,
}

impl Keeper {
    /// Starts the process, and keeps it until it ends or is no longer wanted.
    pub fn run(self) {
        let (child, link) = match self.start() {
            Ok((child, started)) => {
                let link = started.link.clone();
                if self.started.send(Ok(started)).is_err() {
                    return;
                }
                (child, link)
            }
            Err(e) => {
                let _ = self.started.send(Err(e));
                return;
            }
        };
        let (hosts, outbox, pulse) = (Vec::new(), VecDeque::new(), Pulse { looked: Instant::now(), unanswered: 0 });
        let serving = Serving { child: Some(child), link, hosts, outbox, pulse };
        serving.run();
    }

    fn start(&self) -> Result<(ChildProcess, Started), Error> {
        let (child, control) = patiently(None, || {
            let (control, theirs) = Control::pair()?;
            let child = spawn::start(&self.program, ChildRole::Manager, theirs).map_err(Error::spawn)?;
            let setup = wasmpool_ipc::memfd::of_json(c"wasmpool-manager", &self.setup)?;
            let contents = wasmpool_ipc::memfd::of_bytes(c"wasmpool-contents", &self.contents)?;
            match control.send(&StartManager, &[setup.as_fd(), contents.as_fd()]) {
                // The process has ended: how is found below.
                Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
                sent => sent?,
            }
            Ok::<_, Error>((child, control))
        })?;
        let lacking = entered(&child, &control)?;
        let most = ProcessLimits::most_participants(self.setup.participants);
        let link = Arc::new(Link::new(control, most, false)?);
        link.add_holder(&super::grants_of_all(&self.setup.objects))?;
        let pid = child.pid();
        Ok((child, Started { link, lacking, pid }))
    }
}

/// Waits until the process has entered its sandbox.
fn entered(child: &ChildProcess, control: &Control) -> Result<Vec<LayerPart>, Error> {
    let ended =
        |end: ChildEnd| Error::Shared(format!("the process that keeps the shared objects cannot start ({end})"));
    match child.wait_at_most(START, Some(control.as_fd()))? {
        ChildWait::Late => {
            let late = format!("the process that keeps the shared objects was not ready within {} s", START.as_secs());
            return Err(Error::Shared(late));
        }
        ChildWait::Ended(end) => {
            // What it said before its end says more.
            if let Ok(Incoming::Message(ManagerReport::Unprotected(message))) = control.receive(true) {
                return Err(Error::Sandbox(message));
            }
            return Err(ended(end));
        }
        ChildWait::Stopped => {}
    }
    match control.receive(true)? {
        Incoming::Message(ManagerReport::Entered { lacking }) => Ok(lacking),
        Incoming::Message(ManagerReport::Unprotected(message)) => Err(Error::Sandbox(message)),
        _ => {
            child.kill();
            Err(ended(child.reap()))
        }
    }
}

/// Passes on what somebody else says that has the objects on another machine, and takes the manager's place at the other end
/// of this link's socket.
pub fn keep_elsewhere(link: Arc<Link>) {
    let (hosts, outbox, pulse) = (Vec::new(), VecDeque::new(), Pulse { looked: Instant::now(), unanswered: 0 });
    Serving { child: None, link, hosts, outbox, pulse }.run();
}

struct Serving {
    /// The process; none if the objects are on another machine.
    child: Option<ChildProcess>,
    link: Arc<Link>,
    /// The channels of the host's holders, by their numbers.
    hosts: Vec<ChannelClient>,
    outbox: VecDeque<HostRequest>,
    pulse: Pulse,
}

/// Whether the process answers.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    /// When it was last asked.
    looked: Instant,
    /// How often it was asked since it last answered.
    unanswered: u32,
}

impl Serving {
    fn run(mut self) {
        let lost = loop {
            if self.link.is_closing() {
                return;
            }
            if let Err(e) = self.turn() {
                break e;
            }
        };
        let Some(child) = &self.child else {
            let why = match lost.kind() {
                io::ErrorKind::BrokenPipe => "the shared objects cannot be reached any more".to_owned(),
                _ => lost.to_string(),
            };
            return self.link.lose(Error::Shared(why));
        };
        child.kill();
        let end = child.reap();
        let how = match lost.kind() {
            io::ErrorKind::BrokenPipe => end.to_string(),
            _ => lost.to_string(),
        };
        self.link.lose(Error::Shared(format!(
            "the process that keeps the shared objects has ended ({how}), and what it kept is lost: start the run again"
        )));
    }

    /// Passes on what there is, and waits for more. An error means that the process is gone, or of no use.
    fn turn(&mut self) -> io::Result<()> {
        let (joining, requests) = self.link.to_send();
        self.hosts.extend(joining);
        self.outbox.extend(requests);
        while let Some(HostRequest { holder, ticket, request }) = self.outbox.pop_front() {
            let host = self.hosts.get_mut(holder).ok_or_else(|| io::Error::other("there is no such holder"))?;
            host.send(&wire::ask(ticket, &request).parts(), true)?;
            self.hear_answers()?;
        }
        self.hear_answers()?;
        self.hear_reports()?;
        self.feel_pulse()?;
        let mut timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::MAX);
        for host in &mut self.hosts {
            if host.announce()? {
                timeout = PollTimeout::ZERO;
            }
        }
        let own = [self.link.wake.as_fd(), self.link.control().as_fd()];
        let child = self.child.as_ref().map(AsFd::as_fd);
        let all = child.into_iter().chain(own).chain(self.hosts.iter().map(ChannelClient::as_fd));
        let mut awaited: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut awaited, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::ENOMEM | Errno::EAGAIN) => thread::sleep(AGAIN),
            Err(e) => return Err(e.into()),
        }
        let ended = self.child.is_some() && awaited.first().is_some_and(|child| child.any() == Some(true));
        for host in &self.hosts {
            while host.heard() == Heard::Rung {}
        }
        if ended { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn hear_answers(&mut self) -> io::Result<()> {
        for host in &mut self.hosts {
            while let Some(frame) = host.try_recv()? {
                match ManagerFrame::decode(frame).map_err(io::Error::other)? {
                    ManagerFrame::Answer { ticket, answer } => self.link.answered(ticket, answer),
                    // The host takes nothing ahead, so it all stays with the manager.
                    ManagerFrame::Ahead { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// Asks the process from time to time whether it still answers, and gives it up if it does not: nobody waits for ever
    /// for a process that was stopped.
    fn feel_pulse(&mut self) -> io::Result<()> {
        let Pulse { looked, unanswered } = &mut self.pulse;
        if looked.elapsed() < LOOK {
            return Ok(());
        }
        // However long that was, it counts as one interval: this program may have been stopped too, and with it the process.
        *looked = Instant::now();
        if LOOK * *unanswered >= PATIENCE {
            let late = format!("it has not answered for {} s", PATIENCE.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, late));
        }
        *unanswered += 1;
        // If there is no room, the process has something to read as it is.
        self.link.control().try_send(&ManagerOrder::Ping).map(drop)
    }

    fn hear_reports(&mut self) -> io::Result<()> {
        for _ in 0..MESSAGES {
            match self.link.control().receive(true)? {
                Incoming::Message(ManagerReport::Detached { participant }) => self.link.detached(participant),
                Incoming::Message(ManagerReport::Alive) => self.pulse.unanswered = 0,
                Incoming::Message(ManagerReport::Violation { participant, why }) => {
                    self.link.tell(&SharedEvent::Violation { participant, why: ForeignText::of(&why).to_string() });
                }
                Incoming::Message(ManagerReport::Cut { participant, why }) => {
                    self.link.tell(&SharedEvent::Cut { participant, why: ForeignText::of(&why).to_string() });
                }
                Incoming::Message(ManagerReport::Lost { why }) => return Err(io::Error::other(why)),
                Incoming::Message(_) => return Err(io::Error::other("it said something unexpected")),
                Incoming::Bell | Incoming::Nothing => break,
                Incoming::Closed => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        Ok(())
    }
}

/// Has a manager process run a probe; `Err` is how the process ended instead of answering.
#[cfg(feature = "probes")]
pub fn probe(
    probe: wasmpool_core::probe::Probe,
    mode: wasmpool_core::policy::SandboxMode,
) -> io::Result<Result<wasmpool_core::probe::ProbeOutcome, ChildEnd>> {
    let (control, theirs) = Control::pair()?;
    let child = spawn::start(&ChildProgram::Own, ChildRole::Manager, theirs)?;
    let setup = ManagerSetup { probe: Some(probe), ..ManagerSetup::new(Vec::new(), mode, 1) };
    let setup = wasmpool_ipc::memfd::of_json(c"setup", &setup)?;
    // An empty map of contents.
    let contents = wasmpool_ipc::memfd::of_bytes(c"contents", &[0])?;
    control.send(&StartManager, &[setup.as_fd(), contents.as_fd()])?;
    loop {
        match control.receive(false)? {
            Incoming::Message(ManagerReport::Entered { .. }) => {}
            Incoming::Message(ManagerReport::Probed(outcome)) => return Ok(Ok(outcome)),
            Incoming::Closed => return Ok(Err(child.reap())),
            other => return Err(io::Error::other(format!("the manager answered something else: {other:?}"))),
        }
    }
}
