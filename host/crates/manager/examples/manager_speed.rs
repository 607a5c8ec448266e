//! Measures the manager process with participants that are processes without wasm:
//! `cargo run --release -p wasmpool-manager --example manager_speed`. Prints the best of several rounds.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::process::exit;
use std::time::Instant;

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use wasmpool_core::policy::SandboxMode;
use wasmpool_core::share::{ObjectForm, ObjectQuota, ObjectRights, ObjectSpec};
use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_ipc::channel::words::NUMBERS;
use wasmpool_ipc::lane::control::{Control, Incoming};
use wasmpool_ipc::memfd;
use wasmpool_ipc::messages::{ManagerOrder, ManagerReport, ManagerSetup, ParticipantRole, StartManager};
use wasmpool_objects::operation::{Operation, Reply, Request};
use wasmpool_objects::wire::{self, ManagerFrame};

const ROUNDS: u32 = 5;

struct Participant {
    channel: ChannelClient,
    first: u32,
    ahead: VecDeque<Vec<u8>>,
}

impl Participant {
    fn ask(&mut self, operation: Operation) -> Reply {
        let request = Request { object: 0, operation, timeout: None };
        self.channel.send(&wire::ask(0, &request).parts(), true).unwrap();
        loop {
            match ManagerFrame::decode(self.channel.recv().unwrap()).unwrap() {
                ManagerFrame::Answer { answer, .. } => return answer.unwrap(),
                ManagerFrame::Ahead { messages, .. } => self.ahead.extend(messages),
            }
        }
    }

    fn put(&mut self, message: &[u8]) {
        let frame = wire::put_on_credit(0, message);
        if !self.channel.send_on_credit(0, message.len() as u64, &frame.parts()).unwrap() {
            self.ask(Operation::Put(message.to_vec()));
        }
    }

    fn get(&mut self) {
        while self.ahead.pop_front().is_some() {
            let number = self.first;
            self.first = (number + 1) % NUMBERS;
            if self.channel.take_ahead(0, number).unwrap() {
                return;
            }
        }
        self.ask(Operation::Get { most: 1 });
    }
}

/// What one participant does that many times.
type Act = fn(&mut Participant, u32);

/// Runs participants side by side, and returns the seconds until the last is done.
fn round(form: ObjectForm, acts: &[Act], times: u32) -> f64 {
    let spec = ObjectSpec { name: "object".to_owned(), form, quota: ObjectQuota::default() };
    let (control, theirs) = Control::pair().unwrap();
    // SAFETY: this process has one thread.
    let manager = match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop(control);
            wasmpool_manager::run(theirs);
            exit(0);
        }
        ForkResult::Parent { child } => child,
    };
    drop(theirs);
    let setup = memfd::of_json(c"setup", &ManagerSetup::new(vec![spec], SandboxMode::Off, 8)).unwrap();
    let mut contents = memfd::create(c"contents").unwrap();
    // No contents.
    std::io::Write::write_all(&mut contents, &[0]).unwrap();
    control.send(&StartManager, &[setup.as_fd(), contents.as_fd()]).unwrap();
    let entered = control.receive::<ManagerReport>(false).unwrap();
    assert!(matches!(entered, Incoming::Message(ManagerReport::Entered { .. })), "{entered:?}");
    let channels = (0..acts.len()).map(|participant| {
        let (client, server) = wasmpool_ipc::channel::create().unwrap();
        let grants = vec![(0, ObjectRights::ALL)];
        let participant = participant as u32;
        let order =
            ManagerOrder::Attach { participant, role: ParticipantRole::Worker, name: participant.to_string(), grants };
        control.send(&order, &[server.memory.as_fd(), server.socket.as_fd()]).unwrap();
        client
    });
    let channels: Vec<_> = channels.collect();
    let began = Instant::now();
    let children = channels.into_iter().zip(acts).map(|(channel, act)| {
        // SAFETY: this process has one thread.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let channel = ChannelClient::open(channel).unwrap();
                let mut participant = Participant { channel, first: 0, ahead: VecDeque::new() };
                (0..times).for_each(|time| act(&mut participant, time));
                exit(0);
            }
            ForkResult::Parent { child } => child,
        }
    });
    let children: Vec<_> = children.collect();
    children.into_iter().for_each(|child| assert!(waitpid(child, None).is_ok()));
    let elapsed = began.elapsed().as_secs_f64();
    drop(control);
    waitpid(manager, None).unwrap();
    elapsed
}

fn measure(what: &str, form: &ObjectForm, acts: &[Act], times: u32) {
    let best = (0..ROUNDS).map(|_| round(form.clone(), acts, times)).fold(f64::INFINITY, f64::min);
    let each = best * 1e6 / f64::from(times);
    println!("{what:40} {:10.0} / s  {each:8.3} µs", f64::from(times) / best);
}

fn main() {
    let queue = |capacity| ObjectForm::Queue { capacity };
    let small: [Act; 2] = [|participant, _| participant.put(&[1; 64]), |participant, _| participant.get()];
    let large: [Act; 2] = [
        |participant, _| {
            static MESSAGE: [u8; 1 << 20] = [1; 1 << 20];
            participant.put(&MESSAGE);
        },
        |participant, _| participant.get(),
    ];
    let lock: Act = |participant, _| {
        participant.ask(Operation::Acquire);
        participant.ask(Operation::Release);
    };
    let dict: Act = |participant, time| {
        participant.ask(Operation::DictSet((time % 100).to_string(), vec![1; 64]));
        participant.ask(Operation::DictGet((time % 100).to_string()));
    };
    measure("queue, put and get", &queue(None), &small, 500_000);
    measure("queue of 100, put and get", &queue(Some(100)), &small, 300_000);
    measure("queue, put and get of 1 MiB", &queue(None), &large, 1_000);
    measure("lock, acquire and release", &ObjectForm::Lock, &[lock], 50_000);
    measure("lock, two participants, of each", &ObjectForm::Lock, &[lock, lock], 20_000);
    measure("dict, set and get", &ObjectForm::Dict, &[dict], 50_000);
}
