//! Measures a channel between two processes: `cargo run --release -p wasmpool-ipc --example channel_speed`.
//!
//! Prints the best of several rounds, and the mean time of processors. Where the machine is busy with something else, that time (of both
//! processes together, in user mode and in the kernel) says more than the time on the clock.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use wasmpool_ipc::channel::client::ChannelClient;
use wasmpool_ipc::channel::server::ChannelServer;
use wasmpool_ipc::channel::words::Credit;
use wasmpool_ipc::channel::{Heard, create};
use wasmpool_ipc::spin::Spin;

const ROUNDS: u32 = 7;
const MIB: usize = 1 << 20;
/// Credit that is granted at a time.
const ENTRIES: u32 = 64;
const BYTES: u64 = 256 << 10;

/// What is asked for, in the last byte of a frame.
const ECHO: u8 = 0;
const PUT: u8 = 1;
const ON_CREDIT: u8 = 2;
const KEEP: u8 = 3;
const GIVE: u8 = 4;

fn serve(mut server: ChannelServer) {
    let mut kept = vec![7; MIB];
    let mut sum = 0;
    let mut spin = Spin::default();
    loop {
        while let Some(mut frame) = server.read().unwrap() {
            match frame.pop() {
                Some(ECHO) => server.write(&[&frame]).unwrap(),
                Some(PUT) => {
                    server.words(0).credit.take_back();
                    server.words(0).credit.grant(Credit::capped(ENTRIES, BYTES));
                    server.write(&[&[]]).unwrap();
                }
                Some(ON_CREDIT) => sum += frame.len(),
                Some(KEEP) => {
                    kept = frame;
                    server.write(&[&[]]).unwrap();
                }
                _ => server.write_long(std::mem::replace(&mut kept, vec![7; 1]), &[GIVE]).unwrap(),
            }
        }
        server.wake().unwrap();
        if spin.until(|| server.has_requests()) {
            continue;
        }
        if server.announce() {
            server.retract();
            continue;
        }
        poll(&mut [PollFd::new(server.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        server.retract();
        if server.heard().unwrap() == Heard::End {
            std::hint::black_box(sum);
            return;
        }
    }
}

fn total(who: UsageWho) -> [Duration; 2] {
    let usage = getrusage(who).unwrap();
    let duration = |time: TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    [duration(usage.user_time()), duration(usage.system_time())]
}

fn round(times: u32, act: fn(&mut ChannelClient)) -> [Duration; 3] {
    let (client, server) = create().unwrap();
    let before = [total(UsageWho::RUSAGE_SELF), total(UsageWho::RUSAGE_CHILDREN)];
    // SAFETY: this process has one thread.
    let child = match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop(client);
            serve(ChannelServer::open(server, u32::MAX).unwrap());
            std::process::exit(0);
        }
        ForkResult::Parent { child } => child,
    };
    drop(server);
    let mut client = ChannelClient::open(client).unwrap();
    let began = Instant::now();
    (0..times).for_each(|_| act(&mut client));
    let elapsed = began.elapsed();
    drop(client);
    waitpid(child, None).unwrap();
    let after = [total(UsageWho::RUSAGE_SELF), total(UsageWho::RUSAGE_CHILDREN)];
    let used = |which: usize| (0..2).map(|side| after[side][which] - before[side][which]).sum::<Duration>();
    [elapsed, used(0), used(1)]
}

fn measure(what: &str, times: u32, act: fn(&mut ChannelClient)) {
    let rounds: Vec<_> = (0..ROUNDS).map(|_| round(times, act)).collect();
    let elapsed = rounds.iter().map(|round| round[0]).min().unwrap();
    // These are counted in ticks, so that one round says little.
    let [user, system] = [1, 2].map(|which| rounds.iter().map(|round| round[which]).sum::<Duration>() / ROUNDS);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(times);
    let per_second = f64::from(times) / elapsed.as_secs_f64();
    println!(
        "{what:28} {per_second:10.0} / s  {:8.3} µs on the clock {:8.3} µs user {:8.3} µs kernel",
        each(elapsed),
        each(user),
        each(system)
    );
}

/// A case: its name, how often it is done, and what.
type Case = (&'static str, u32, fn(&mut ChannelClient));

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let cases: [Case; 5] = [
        ("round trips of 16 bytes", 50_000, |client| {
            client.send(&[&[1; 15], &[ECHO]], true).unwrap();
            client.recv().unwrap();
        }),
        ("puts of 64 bytes on credit", 1_000_000, |client| {
            if !client.send_on_credit(0, 64, &[&[1; 64], &[ON_CREDIT]]).unwrap() {
                client.send(&[&[1; 64], &[PUT]], true).unwrap();
                client.recv().unwrap();
            }
        }),
        ("puts of 1 KiB on credit", 500_000, |client| {
            if !client.send_on_credit(0, 1024, &[&[1; 1024], &[ON_CREDIT]]).unwrap() {
                client.send(&[&[1; 1024], &[PUT]], true).unwrap();
                client.recv().unwrap();
            }
        }),
        ("1 MiB there", 2_000, |client| {
            static MESSAGE: [u8; MIB] = [3; MIB];
            client.send(&[&MESSAGE, &[KEEP]], true).unwrap();
            client.recv().unwrap();
        }),
        ("1 MiB there and back", 1_000, |client| {
            static MESSAGE: [u8; MIB] = [3; MIB];
            client.send(&[&MESSAGE, &[KEEP]], true).unwrap();
            client.recv().unwrap();
            client.send(&[&[GIVE]], true).unwrap();
            assert_eq!(client.recv().unwrap().len(), MIB + 1);
        }),
    ];
    for (what, times, act) in cases {
        if what.contains(&only) {
            measure(what, times, act);
        }
    }
}
