//! Tests of both ends of a lane in one process, and of a worker's end that is hostile.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::frame::{self, ItemTag, OUTCOME_HEADER, OutcomeHeader, OutcomeTag};
use super::host::{COPIED, HostLane, LARGE, Received};
use super::left::LeftValue;
use super::outcome::OutcomeBytes;
use super::region::{LONG, NEVER, PRINTED, RING, Region, WIDE};
use super::worker::{NOTICE, WorkerLane};
use crate::wake::{Bell, SleepReason};

const MAX: u64 = 8 << 20;

/// A bell that lets the host act when a worker would sleep.
struct Host<'a> {
    lane: &'a RefCell<HostLane>,
    step: &'a dyn Fn(&mut HostLane),
    naps: Cell<u32>,
}

impl Bell for Host<'_> {
    fn wait(&self) -> io::Result<()> {
        self.naps.set(self.naps.get() + 1);
        (self.step)(&mut self.lane.borrow_mut());
        Ok(())
    }

    fn ring(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A bell for tests in which everything has arrived, so that it must not be used to wait.
struct Silent;

impl Bell for Silent {
    fn wait(&self) -> io::Result<()> {
        panic!("nothing is to be waited for")
    }

    fn ring(&self) -> io::Result<()> {
        Ok(())
    }
}

fn pair() -> (HostLane, OwnedFd) {
    HostLane::create(MAX).unwrap()
}

/// Sends the bytes of the items through the lane and back, as the results of an echo: first some through the small
/// rings, then others through the wide ones.
fn echo(some: &[Vec<u8>], others: &[Vec<u8>]) -> Vec<Vec<u8>> {
    echo_by(some, others, false)
}

/// Does the same; with `leaves`, large results stay in the lane until the worker needs the room, or somebody looks at them:
/// every other one at once, the others at the end.
fn echo_by(some: &[Vec<u8>], others: &[Vec<u8>], leaves: bool) -> Vec<Vec<u8>> {
    let (mut host, fd) = pair();
    host.leave_large(leaves);
    let mut worker = WorkerLane::map(&fd).unwrap();
    let [first, second] = [some, others].map(|items| {
        let mut wire = frame::ChunkHeader { first: 0, count: items.len() as u32 }.to_bytes().to_vec();
        for item in items {
            wire.extend(frame::item_header(ItemTag::Item, item.len() as u32));
            wire.extend(item);
        }
        wire
    });
    let wires = RefCell::new([&first[..], &second[..]]);
    let host = RefCell::new(host);
    let results = RefCell::new(Vec::new());
    let step = |lane: &mut HostLane| {
        let [first, second] = &mut *wires.borrow_mut();
        *first = &first[lane.send(first).unwrap()..];
        if first.is_empty() {
            lane.widen();
            *second = &second[lane.send(second).unwrap()..];
        }
        while let Received::Outcome(header, payload) = lane.receive().unwrap() {
            assert_eq!(header.tag, OutcomeTag::Value);
            let mut results = results.borrow_mut();
            let nth = results.len();
            results.push(match payload {
                OutcomeBytes::Left(value) if nth % 2 == 0 => Ok(value),
                payload => Err(payload.to_vec()),
            });
        }
        lane.received();
        if lane.lacks_room() {
            lane.reclaim();
        }
    };
    let bell = Host { lane: &host, step: &step, naps: Cell::new(0) };
    for _ in 0..2 {
        let count = frame::ChunkHeader::from_bytes(worker.take(&bell).unwrap()).count;
        for nth in 0..count {
            let (_, len) = frame::read_item_header(worker.take(&bell).unwrap());
            worker.stage(len, &bell).unwrap();
            worker.start(1);
            let item = worker.staged().to_vec();
            worker.unstage();
            let header = OutcomeHeader { tag: OutcomeTag::Value, len: len as u32, elapsed: Duration::from_micros(7) };
            // A third of the outcomes is placed if there is room, a third is not, and of a third other bytes are placed
            // and then overwritten.
            let mut output = worker.lend_output();
            match nth % 3 {
                0 => _ = output.place(&item),
                1 => _ = output.place(&[&item[..], b"not said"].concat()),
                _ => {}
            }
            worker.take_back(output);
            if nth % 3 == 0 && worker.placed() > 0 {
                worker.write_placed(&header.to_bytes(), &bell).unwrap();
            } else {
                worker.write(&header.to_bytes(), &bell).unwrap();
                worker.write(&item, &bell).unwrap();
            }
            worker.answered();
        }
    }
    step(&mut host.borrow_mut());
    drop(host);
    results
        .into_inner()
        .into_iter()
        .map(|value| value.map_or_else(|bytes| bytes, |left| left.into_bytes().into()))
        .collect()
}

#[test]
#[cfg_attr(miri, ignore = "a hundred megabytes")]
fn items_of_any_size_pass_whole() {
    let small = [0, 1, 7, 4096, LARGE - 1, LARGE, LARGE + 1, 3];
    let long = [4 * LARGE, LONG, LONG + 1, 9, RING - 1, RING, RING + 1, 4096];
    let huge = [WIDE - 1, WIDE, 5, WIDE + 1, 3 * WIDE + 5, 0, 2];
    let sizes = [&small[..], &long, &huge, &small].concat();
    let items: Vec<Vec<u8>> = sizes.iter().map(|&n| (0..n).map(|i| (i * 7 + n) as u8).collect()).collect();
    for some in 0..items.len() {
        let (some, others) = items.split_at(some);
        for leaves in [false, true] {
            assert!(echo_by(some, others, leaves) == items, "{} and {} items", some.len(), others.len());
        }
    }
}

/// Items pass the ends of the small rings and of the wide ones, by every way of writing an outcome. There are few
/// enough of them for miri.
#[test]
fn items_pass_whole_where_a_ring_ends_and_where_the_wide_one_takes_over() {
    let filled = |sizes: &[usize]| -> Vec<Vec<u8>> {
        let pattern: Vec<u8> = (0..251).collect();
        sizes.iter().map(|&size| pattern.repeat(size / 251 + 1)[..size].to_vec()).collect()
    };
    let some = filled(&[0, 7, LONG, LONG - 1, LARGE, LONG, LONG, 3, LARGE + 1]);
    let others = filled(&[LONG + 1, 5, WIDE - 64, WIDE / 2, LARGE, WIDE + 9, 1]);
    for leaves in [false, true] {
        assert!(echo_by(&some, &others, leaves) == [&some[..], &others].concat());
    }
}

/// The bytes of a value that is left in the lane it passes.
const LEFT: usize = LONG + 1;

/// Writes a large value to a lane that leaves it there, and takes its outcome.
fn left_value(host: &mut HostLane, worker: &mut WorkerLane, byte: u8) -> LeftValue {
    host.leave_large(true);
    let header = OutcomeHeader { tag: OutcomeTag::Value, len: LEFT as u32, elapsed: Duration::ZERO };
    worker.write(&header.to_bytes(), &Silent).unwrap();
    worker.write(&vec![byte; LEFT], &Silent).unwrap();
    worker.answered();
    let Received::Outcome(_, OutcomeBytes::Left(value)) = host.receive().unwrap() else {
        panic!("a large value is left in the lane");
    };
    assert!(matches!(host.receive().unwrap(), Received::Nothing));
    host.received();
    value
}

/// Returns how many bytes of its output the worker knows to be taken.
fn told(region: &Region) -> u64 {
    region.status().host.0.output_tail.load(Ordering::SeqCst)
}

#[test]
fn a_value_that_is_left_in_the_lane_keeps_its_room_until_it_was_taken() {
    let (mut host, fd) = pair();
    let region = Region::map(&fd).unwrap();
    let mut worker = WorkerLane::map(&fd).unwrap();
    type Take = fn(LeftValue);
    let ways: [Take; 3] = [
        |value| assert!(value.bytes()[..] == [7; LEFT]),
        |value| assert!(value.into_bytes()[..] == [7; LEFT]),
        // Nobody wants it any more.
        drop,
    ];
    for take in ways {
        let before = told(&region);
        let value = left_value(&mut host, &mut worker, 7);
        assert_eq!(value.size(), LEFT);
        let used = (LEFT + OUTCOME_HEADER) as u64;
        assert!(
            host.has_left() && (before..before + used).contains(&told(&region)),
            "only what stands before it is free"
        );
        take(value);
        host.received();
        assert!(!host.has_left());
        assert_eq!(told(&region) - before, used);
    }
}

#[test]
fn what_a_worker_changes_of_a_value_after_it_was_copied_or_the_lane_has_gone_changes_nothing() {
    type Copied = fn(&mut HostLane, &LeftValue);
    let ways: [Copied; 3] = [|_, value| _ = value.bytes(), |host, _| host.reclaim(), |host, _| *host = pair().0];
    for copy in ways {
        let (mut host, fd) = pair();
        let region = Region::map(&fd).unwrap();
        let mut worker = WorkerLane::map(&fd).unwrap();
        let value = left_value(&mut host, &mut worker, 7);
        copy(&mut host, &value);
        let mut rings = region.output();
        rings.wide_from = 0;
        // SAFETY: within the wide ring, which nobody reads meanwhile.
        unsafe { rings.write(0, &vec![9; WIDE]) };
        assert!(value.bytes()[..] == [7; LEFT]);
    }
}

#[test]
fn a_worker_that_sleeps_for_the_room_of_a_value_gets_it() {
    let (mut host, fd) = pair();
    let mut worker = WorkerLane::map(&fd).unwrap();
    let value = left_value(&mut host, &mut worker, 7);
    let in_use = OUTCOME_HEADER + LEFT - told(&Region::map(&fd).unwrap()) as usize;
    let host = RefCell::new(host);
    assert!(!host.borrow().lacks_room() && !host.borrow().has_outcomes(false), "there is nothing to do");
    let step = |lane: &mut HostLane| {
        assert!(lane.lacks_room() && lane.has_outcomes(true), "a host that is about to sleep looks once more");
        lane.reclaim();
    };
    let bell = Host { lane: &host, step: &step, naps: Cell::new(0) };
    worker.write(&vec![9; WIDE - in_use + 1], &bell).unwrap();
    assert_eq!(bell.naps.get(), 1);
    assert!(value.into_bytes()[..] == [7; LEFT]);
}

#[test]
fn values_that_one_thread_takes_while_another_reclaims_them_are_whole() {
    let (mut host, fd) = pair();
    let mut worker = WorkerLane::map(&fd).unwrap();
    let (sender, receiver) = channel::<(u8, LeftValue)>();
    let taker = thread::spawn(move || {
        receiver.into_iter().for_each(|(byte, value)| assert!(value.into_bytes()[..] == [byte; LEFT]));
    });
    for byte in 0..if cfg!(miri) { 3 } else { 200 } {
        sender.send((byte, left_value(&mut host, &mut worker, byte))).unwrap();
        while byte % 2 == 0 && host.has_left() {
            thread::yield_now();
            host.received();
        }
        host.reclaim();
    }
    drop(sender);
    taker.join().unwrap();
}

#[test]
fn outcomes_that_somebody_keeps_are_not_overwritten_by_later_ones() {
    let (mut host, fd) = pair();
    let mut worker = WorkerLane::map(&fd).unwrap();
    let mut kept = Vec::new();
    for round in 0..8 {
        for _ in 0..COPIED / 1000 {
            let header = OutcomeHeader { tag: OutcomeTag::Value, len: 1000, elapsed: Duration::ZERO };
            worker.write(&header.to_bytes(), &Silent).unwrap();
            worker.write(&[round; 1000], &Silent).unwrap();
            worker.answered();
        }
        while let Received::Outcome(_, OutcomeBytes::Shared(block, range)) = host.receive().unwrap() {
            // Of every other round nothing is kept, so that the block can be used again.
            if round % 2 == 0 {
                kept.push((round, block.slice(range)));
            }
        }
        host.received();
    }
    assert_eq!(kept.len(), 4 * (COPIED / 1000));
    assert!(kept.iter().all(|(round, bytes)| bytes[..] == [*round; 1000]));
}

/// A bell between threads.
struct Rung(Receiver<()>, Sender<()>);

impl Bell for Rung {
    fn wait(&self) -> io::Result<()> {
        self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn ring(&self) -> io::Result<()> {
        self.1.send(()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn two_threads_hand_items_over_without_a_race() {
    const ITEMS: usize = 6;
    const SIZE: usize = 90_000;
    let (mut host, fd) = pair();
    let (to_worker, at_worker) = channel();
    let (to_host, at_host) = channel();
    let worker = thread::spawn(move || {
        let bell = Rung(at_worker, to_host);
        let mut worker = WorkerLane::map(&fd).unwrap();
        for _ in 0..ITEMS {
            worker.stage(SIZE, &bell).unwrap();
            let item = worker.staged().to_vec();
            worker.unstage();
            let header = OutcomeHeader { tag: OutcomeTag::Value, len: SIZE as u32, elapsed: Duration::ZERO };
            worker.write(&header.to_bytes(), &bell).unwrap();
            worker.write(&item, &bell).unwrap();
            worker.answered();
            worker.ring_if_due(&bell).unwrap();
        }
        worker.ring_if_waiting(&bell).unwrap();
    });
    let items = (0..ITEMS).map(|nth| vec![nth as u8; SIZE]).collect::<Vec<_>>().concat();
    let mut rest = &items[..];
    let mut received = Vec::new();
    while received.len() < items.len() {
        host.announce_sleep(true);
        if !host.has_outcomes(false) && (rest.is_empty() || host.room() == 0) {
            at_host.recv().unwrap();
        }
        host.announce_sleep(false);
        let sent = host.send(rest).unwrap();
        rest = &rest[sent..];
        if sent > 0 && host.worker_sleeps_for(SleepReason::Input) {
            to_worker.send(()).unwrap();
        }
        while let Received::Outcome(_, payload) = host.receive().unwrap() {
            received.extend_from_slice(&payload);
        }
        host.received();
        if host.worker_sleeps_for(SleepReason::Room) {
            to_worker.send(()).unwrap();
        }
    }
    worker.join().unwrap();
    assert!(received == items);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore = "for its many cases")]
    fn what_goes_in_comes_out(
        items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5000), 0..200),
        some in any::<prop::sample::Index>(),
    ) {
        let (some, others) = items.split_at(some.index(items.len() + 1));
        prop_assert!(echo(some, others) == items);
    }
}

#[test]
fn a_worker_that_sleeps_is_rung_for_what_it_waits_for_and_for_nothing_else() {
    let (host, fd) = pair();
    let mut worker = WorkerLane::map(&fd).unwrap();
    let host = RefCell::new(host);
    let ring_for = |lane: &HostLane, want, other| {
        assert!(!lane.worker_sleeps_for(other));
        assert!(lane.worker_sleeps_for(want));
        assert!(!lane.worker_sleeps_for(want), "it was rung already");
    };
    let input = |lane: &mut HostLane| {
        ring_for(lane, SleepReason::Input, SleepReason::Room);
        assert_eq!(lane.send(b"x").unwrap(), 1);
    };
    let bell = Host { lane: &host, step: &input, naps: Cell::new(0) };
    assert_eq!(worker.take(&bell).unwrap(), *b"x");
    assert_eq!(bell.naps.get(), 1);
    let room = |lane: &mut HostLane| {
        ring_for(lane, SleepReason::Room, SleepReason::Input);
        assert!(matches!(lane.receive().unwrap(), Received::Nothing));
        lane.received();
    };
    let bell = Host { lane: &host, step: &room, naps: Cell::new(0) };
    let header = OutcomeHeader { tag: OutcomeTag::Value, len: WIDE as u32, elapsed: Duration::ZERO };
    worker.write(&header.to_bytes(), &bell).unwrap();
    worker.write(&vec![0; WIDE], &bell).unwrap();
    assert_eq!(bell.naps.get(), 1);
}

/// Things that a hostile worker may do to the memory that it shares with the host.
#[derive(Clone, Debug)]
enum Attack {
    OutputHead(u64),
    InputTail(u64),
    /// Adds a small number to a correct one.
    Nudge(i64),
    Scribble(usize, Vec<u8>),
    Header {
        tag: u8,
        len: u32,
    },
    Status(u64, u64, u64),
    /// Overwrites what only the host should write.
    HostPage(u64),
    /// Claims that its output continues in the wide ring from this position on.
    WideFrom(u64),
    /// Lets the host receive outcomes.
    Look,
    Send(usize),
    Widen,
    /// Has the host leave large values in the lane, or take back the room of those that are there.
    Leave(bool),
    Reclaim,
}

fn attacks() -> impl Strategy<Value = Attack> {
    prop_oneof![
        any::<u64>().prop_map(Attack::OutputHead),
        (0..2 * RING as u64).prop_map(Attack::OutputHead),
        any::<u64>().prop_map(Attack::InputTail),
        (-40..40i64).prop_map(Attack::Nudge),
        (0..RING, proptest::collection::vec(any::<u8>(), 0..64)).prop_map(|(at, bytes)| Attack::Scribble(at, bytes)),
        (any::<u8>(), any::<u32>()).prop_map(|(tag, len)| Attack::Header { tag, len }),
        (0..6u8, 0..100u32).prop_map(|(tag, len)| Attack::Header { tag, len }),
        any::<(u64, u64, u64)>().prop_map(|(a, b, c)| Attack::Status(a, b, c)),
        any::<u64>().prop_map(Attack::HostPage),
        Just(Attack::Look),
        any::<u64>().prop_map(Attack::WideFrom),
        (0..2 * RING as u64).prop_map(Attack::WideFrom),
        (0..4 * WIDE as u64).prop_map(Attack::OutputHead),
        Just(Attack::Look),
        (0..2 * WIDE).prop_map(Attack::Send),
        Just(Attack::Widen),
        any::<bool>().prop_map(Attack::Leave),
        (LONG as u32..2 * WIDE as u32).prop_map(|len| Attack::Header { tag: OutcomeTag::Value as u8, len }),
        Just(Attack::Reclaim),
    ]
}

fn poke(region: &Region, at: usize, bytes: &[u8]) {
    for (i, &byte) in bytes.iter().enumerate() {
        let mut rings = region.output();
        for wide_from in [NEVER, 0] {
            rings.wide_from = wide_from;
            // SAFETY: within the output rings, which nobody reads meanwhile.
            unsafe { rings.write((at + i) as u64, &[byte]) };
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore = "for its many cases")]
    fn no_write_of_a_worker_makes_the_host_panic_or_allocate_without_bound(
        attacks in proptest::collection::vec(attacks(), 1..60)
    ) {
        let (mut host, fd) = pair();
        let worker = Region::map(&fd).unwrap();
        let status = worker.status();
        let mut wrote = 0u64;
        let mut left = Vec::new();
        'attacks: for attack in attacks {
            match attack {
                Attack::OutputHead(n) => status.worker.0.output_head.store(n, Ordering::SeqCst),
                Attack::InputTail(n) => status.worker.0.input_tail.store(n, Ordering::SeqCst),
                Attack::Nudge(by) => {
                    wrote = wrote.wrapping_add_signed(by);
                    status.worker.0.output_head.store(wrote, Ordering::SeqCst);
                }
                Attack::Scribble(at, bytes) => poke(&worker, at, &bytes),
                Attack::Header { tag, len } => {
                    let word = u128::from(u64::from(len) | u64::from(tag) << 32);
                    poke(&worker, wrote as usize, &word.to_ne_bytes());
                    wrote = wrote.wrapping_add(16);
                    status.worker.0.output_head.store(wrote, Ordering::SeqCst);
                }
                Attack::Status(attempt, started, since) => {
                    status.worker.0.attempt.store(attempt, Ordering::SeqCst);
                    status.worker.0.started.store(started, Ordering::SeqCst);
                    status.worker.0.attempt_since.store(since, Ordering::SeqCst);
                    let _ = host.claim();
                }
                Attack::HostPage(n) => {
                    status.host.0.input_head.store(n, Ordering::SeqCst);
                    status.host.0.output_tail.store(n, Ordering::SeqCst);
                }
                Attack::WideFrom(n) => status.worker.0.output_wide_from.store(n, Ordering::SeqCst),
                Attack::Widen => host.widen(),
                Attack::Leave(leaves) => host.leave_large(leaves),
                Attack::Reclaim => host.reclaim(),
                Attack::Look => {
                    let _ = host.has_outcomes(false);
                    // A worker that violates the protocol is killed; until then the number of outcomes is limited.
                    for _ in 0..RING {
                        match host.receive() {
                            Ok(Received::Outcome(header, OutcomeBytes::Left(value))) => left.push((header.len, value)),
                            Ok(Received::Outcome(header, payload)) => {
                                prop_assert!(payload.len() as u64 <= MAX);
                                prop_assert_eq!(payload.len(), header.len as usize);
                            }
                            Ok(Received::Nothing) => break,
                            Err(_) => break 'attacks,
                        }
                    }
                }
                Attack::Send(count) => match host.send(&vec![1; count]) {
                    Ok(sent) => prop_assert!(sent <= count.min(WIDE)),
                    Err(_) => break 'attacks,
                },
            }
        }
        drop(host);
        for (len, value) in left {
            prop_assert_eq!(value.size(), len as usize);
            prop_assert_eq!(value.into_bytes().len(), len as usize);
        }
    }
}

#[test]
fn what_items_print_passes_whole_to_a_host_that_follows() {
    let (mut host, fd) = pair();
    host.follow_prints();
    let [mut out, _err] = WorkerLane::map(&fd).unwrap().printed();
    let printing = thread::spawn(move || {
        for line in 0..100_000 {
            out.append(format!("line {line}\n").as_bytes());
        }
        assert!(out.is_empty(), "there is nothing for anybody else");
    });
    let mut printed = Vec::new();
    while !printing.is_finished() {
        let [out, err] = host.take_prints();
        assert!(out.len() <= PRINTED && err.is_empty());
        printed.extend(out);
    }
    printing.join().unwrap();
    printed.extend_from_slice(&host.take_prints()[0]);
    let lines: Vec<String> = (0..100_000).map(|line| format!("line {line}\n")).collect();
    assert!(printed == lines.concat().as_bytes(), "{} bytes came", printed.len());
}

#[test]
fn a_worker_does_not_wait_for_ever_for_a_host_that_takes_nothing() {
    let (mut host, fd) = pair();
    host.follow_prints();
    let [_out, mut err] = WorkerLane::map(&fd).unwrap().printed();
    err.append(&[b'a'; PRINTED - NOTICE]);
    for _ in 0..10 {
        err.append(&[b'b'; 100]);
    }
    assert_eq!(host.take_prints()[1], [b'a'; PRINTED - NOTICE]);
    err.append(b"c");
    let told = "\n[1000 bytes were left out here, since nobody took them]\nc";
    assert_eq!(String::from_utf8_lossy(&host.take_prints()[1]), told);
}

#[test]
fn what_was_left_out_is_told_at_the_end_of_an_item_that_prints_nothing_more() {
    let (mut host, fd) = pair();
    host.follow_prints();
    let [_out, mut err] = WorkerLane::map(&fd).unwrap().printed();
    err.append(&[b'a'; PRINTED - NOTICE]);
    err.append(&[b'b'; 1000]);
    err.end();
    err.end();
    let printed = host.take_prints()[1].split_off(PRINTED - NOTICE);
    assert_eq!(String::from_utf8_lossy(&printed), "\n[1000 bytes were left out here, since nobody took them]\n");
    err.append(b"c");
    err.end();
    assert_eq!(host.take_prints()[1], b"c");
}

#[test]
fn a_worker_that_claims_to_have_printed_more_than_there_is_room_for_has_printed_nothing() {
    let (mut host, fd) = pair();
    host.follow_prints();
    let region = Region::map(&fd).unwrap();
    let [(_, len), _] = region.printed();
    for claim in [PRINTED as u32 + 1, 1 << 31, 7] {
        len.store(claim, Ordering::Relaxed);
        assert!(host.take_prints().iter().all(Vec::is_empty));
    }
}

#[test]
fn a_worker_that_announces_more_than_any_outcome_can_be_is_broken_off() {
    let (mut host, fd) = HostLane::create(1000).unwrap();
    let worker = Region::map(&fd).unwrap();
    let header = OutcomeHeader { tag: OutcomeTag::Value, len: 1001, elapsed: Duration::ZERO };
    poke(&worker, 0, &header.to_bytes());
    worker.status().worker.0.output_head.store(16, Ordering::SeqCst);
    assert!(host.receive().is_err());
}

#[test]
fn a_worker_that_claims_input_it_was_not_sent_is_broken_off() {
    let (mut host, fd) = pair();
    let worker = Region::map(&fd).unwrap();
    assert_eq!(host.send(b"12345").unwrap(), 5);
    worker.status().worker.0.input_tail.store(6, Ordering::SeqCst);
    assert!(host.send(b"6").is_err());
}

#[test]
fn a_worker_that_claims_more_output_than_its_rings_hold_is_broken_off() {
    let header = OutcomeHeader { tag: OutcomeTag::Value, len: 16, elapsed: Duration::ZERO }.to_bytes();
    let (ring, wide) = (RING as u64, WIDE as u64);
    // Output head and beginning of the wide ring as the worker claims them, and what it had delivered before.
    for (head, wide_from, before) in [
        (ring + 1, NEVER, 0),
        (ring + 2, ring + 1, 0),
        (wide + 1, 0, 0),
        (wide + 1, 1, 0),
        (u64::MAX, 0, 0),
        (64, 16, 32),
    ] {
        let (mut host, fd) = pair();
        let worker = Region::map(&fd).unwrap();
        poke(&worker, 0, &header);
        let status = &worker.status().worker.0;
        if before > 0 {
            status.output_head.store(before, Ordering::SeqCst);
            assert!(matches!(host.receive(), Ok(Received::Outcome(..))));
        }
        status.output_wide_from.store(wide_from, Ordering::SeqCst);
        status.output_head.store(head, Ordering::SeqCst);
        assert!(host.receive().is_err(), "{head}, wide from {wide_from}, {before} before");
    }
}

#[test]
#[cfg_attr(miri, ignore = "there are no files")]
fn a_lane_cannot_be_made_smaller_or_larger() {
    let (_host, fd) = pair();
    assert!(nix::unistd::ftruncate(&fd, 0).is_err());
    assert!(nix::unistd::ftruncate(&fd, 1 << 30).is_err());
}

#[test]
fn a_chunk_is_begun_or_taken_back_and_never_both() {
    let (mut host, fd) = pair();
    let mut worker = WorkerLane::map(&fd).unwrap();
    for chunk in 1..1_000 {
        assert!(host.send_header(&[0; 16]).unwrap());
        worker.take::<16>(&Silent).unwrap();
        match chunk % 3 {
            0 => assert!(worker.begin_chunk() && !host.take_back()),
            1 => assert!(host.take_back() && !worker.begin_chunk() && !host.take_back()),
            _ => assert!(worker.begin_chunk()),
        }
    }
    // If both happen at the same time, exactly one of them succeeds.
    let region = Region::map(&fd).unwrap();
    let turns = &region.status().turns.0;
    for chunk in 1_000..if cfg!(miri) { 1_010 } else { 1_500 } {
        let (taken, begun) = std::thread::scope(|scope| {
            let begun = scope.spawn(|| turns.begin(chunk));
            (turns.take_back(chunk), begun.join().unwrap())
        });
        assert!(begun != taken, "chunk {chunk}: begun {begun}, taken back {taken}");
    }
}

#[test]
fn whatever_a_worker_writes_about_turns_the_host_only_fails_to_take_back() {
    let (mut host, fd) = pair();
    let worker = Region::map(&fd).unwrap();
    for lie in [0, 1, 2, 3, u64::MAX, u64::MAX - 1, 1 << 63] {
        host.send_header(&[0; 16]).unwrap();
        worker.status().turns.0.0.iter().for_each(|turn| turn.store(lie, Ordering::SeqCst));
        let _ = host.take_back();
    }
}
