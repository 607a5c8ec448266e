//! An item ends with something in its hands: by a trap, a timeout, or the death of its worker. All of it is released, and
//! the next one is told.

use nix::sys::signal::Signal;

use super::{Session, come_to, in_turn};

/// The ways in which an item ends early, and the kind of its failure.
const WAYS: [(&str, &str); 3] = [("trap", "trap"), ("fail", "it was told to fail"), ("spin", "timeout")];

/// Runs items after one that held something and ended early, in each way.
///
/// An item that is out of time may be reported while its process is still being killed, and what it held is released when
/// that has happened. So the first order after it waits.
#[track_caller]
fn after_each_end(shares: &[&str], held: &str, items_and_endings: &[(&str, &str)]) {
    for (way, kind) in WAYS {
        let first = format!("{held} ; {way}");
        let (items, wanted): (Vec<&str>, Vec<&str>) = items_and_endings.iter().copied().unzip();
        let items = [&[first.as_str()], items.as_slice()].concat();
        let output = in_turn(shares, &items).args(["--timeout", "300ms"]).run().exits(1);
        assert_eq!(super::endings(&output), [&[kind], wanted.as_slice()].concat(), "{way}: {}", output.stderr);
    }
    after_a_death(shares, held, items_and_endings);
}

/// Does the same after the worker was killed.
#[track_caller]
fn after_a_death(shares: &[&str], held: &str, items_and_endings: &[(&str, &str)]) {
    let mut session = Session::start("1", &["--timeout", "10m"], shares);
    session.give(&format!("{held} ; spin"));
    session.host.busy_worker().send(Signal::SIGKILL);
    assert_eq!(session.next(), "worker-lost");
    for (item, wanted) in items_and_endings {
        assert_eq!(session.ask(item), *wanted, "after a death");
    }
    assert_eq!(session.end(), 1);
}

/// Rows 0.11, 5.5 and 5.6.
/// Rows 5.7 and 5.9.
#[test]
fn a_slot_that_a_release_added_is_received_by_one_item() {
    let items = ["release room", "acquire room 0", "acquire room 0", "release one", "acquire one 0", "acquire one 0"];
    let output = in_turn(&["room=semaphore:0", "one=semaphore:1"], &items).run().exits(0);
    assert_eq!(super::endings(&output), ["ok", "acquired", "timed-out", "ok", "acquired", "acquired"]);
    // What the first holder of a slot of the start leaves is there for the next, and what was added is gone.
    let held = super::held_after(&["room=semaphore:0", "one=semaphore:1"], &items);
    assert_eq!(held, serde_json::json!({ "room": 0, "one": 1 }));
}

#[test]
fn a_lock_of_an_item_that_ended_is_released_and_the_next_holder_is_told_once() {
    after_each_end(
        &["gate=lock"],
        "lock gate -",
        &[("lock gate - ; unlock gate", "abandoned:worker 1, item 0 ok"), ("lock gate 0 ; unlock gate", "acquired ok")],
    );
}

#[test]
fn a_lock_that_an_item_forgot_is_released_at_its_end() {
    come_to(
        &["gate=lock"],
        &[
            ("lock gate - ; forget", "acquired forgotten"),
            ("locked gate ; lock gate 0 ; unlock gate", "false abandoned:worker 1, item 0 ok"),
        ],
    );
}

#[test]
fn all_levels_of_an_rlock_of_an_item_that_ended_are_released() {
    after_each_end(
        &["gate=rlock"],
        "rlock gate - ; rlock gate -",
        &[("rlock gate - ; runlock gate", "abandoned:worker 1, item 0 ok"), ("rlock gate 0", "acquired")],
    );
}

/// Row 5.9.
#[test]
fn slots_of_an_item_that_ended_are_given_back() {
    after_each_end(
        &["room=semaphore:2:bounded"],
        "acquire room - ; acquire room -",
        &[("acquire room - ; acquire room - ; slots room", "abandoned:worker 1, item 0 acquired 0")],
    );
}

#[test]
fn the_lock_of_a_condition_of_an_item_that_ended_is_released() {
    after_each_end(
        &["turn=condition"],
        "enter turn -",
        &[("enter turn - ; leave turn", "abandoned:worker 1, item 0 ok")],
    );
}

/// Rows 2.14 and 2.16.
#[test]
fn a_delivery_that_was_not_finished_is_first_again_and_says_so() {
    after_each_end(&["jobs=queue"], "put jobs a - ; take jobs -", &[("get jobs - ; ?get jobs 0", "a empty")]);
    come_to(
        &["jobs=queue"],
        &[
            ("put jobs a - ; put jobs b - ; take jobs - ; trap", "trap"),
            // The number of a delivery is of no use to another item.
            ("??finish jobs 1 ; size jobs", "not-held= 2"),
            ("take jobs 0 ; trap", "trap"),
            ("take-and-finish jobs 0 ; get jobs 0 ; ?get jobs 0", "a b empty"),
        ],
    );
    let output = in_turn(&["jobs=queue"], &["put jobs a - ; take jobs - ; fail", "take jobs 0"]).run();
    assert!(super::endings(&output)[1].ends_with(":a:redelivered"), "{:?}", super::endings(&output));
}

/// Rows 2.12 and 2.14.
#[test]
fn what_an_item_got_and_did_not_call_done_counts_as_done_at_its_end() {
    after_each_end(
        &["jobs=queue"],
        "put jobs a - ; put jobs b - ; get jobs -",
        &[("join jobs 0 ; get jobs - ; join jobs 0 ; task-done jobs ; join jobs -", "false b false ok true")],
    );
}

/// Rows 3.8 and 3.10.
#[test]
fn a_pipe_end_of_an_item_that_ended_is_closed() {
    after_each_end(
        &["p=pipe"],
        "send p/second a - ; send p/second b -",
        &[("recv p/first 0 ; poll p/first 0 ; recv p/first 0 ; poll p/first - ; ?recv p/first -", "a true b true eof")],
    );
}

/// Row 3.9.
#[test]
fn nothing_is_sent_to_an_end_that_is_closed() {
    after_each_end(
        &["p=pipe:duplex"],
        "end p/first",
        &[("?recv p/second - ; ?send p/second a -", "eof closed-by-peer")],
    );
}

/// Row 3.10: who waits at the other end is woken.
#[test]
fn the_death_of_a_worker_ends_the_wait_for_its_pipe() {
    let mut session = Session::start("2", &["--timeout", "10m"], &["p=pipe", "there=event"]);
    session.give("end p/second ; send p/second a - ; set-event there ; spin");
    session.give("wait-event there - ; recv p/first - ; ?recv p/first -");
    session.host.busy_worker().send(Signal::SIGKILL);
    let came = session.both();
    assert_eq!(came, ["true a eof", "worker-lost"]);
    assert_eq!(session.end(), 1);
}

/// Row 0.8: who waits for a lock gets it when its holder dies.
#[test]
fn the_death_of_a_worker_ends_the_wait_for_its_lock() {
    let mut session = Session::start("2", &["--timeout", "10m"], &["gate=lock", "there=event"]);
    session.give("lock gate - ; set-event there ; spin");
    session.give("wait-event there - ; lock gate - ; unlock gate");
    session.host.busy_worker().send(Signal::SIGKILL);
    let came = session.both();
    assert!(came[0].starts_with("true abandoned:worker ") && came[0].ends_with(", item 0 ok"), "{came:?}");
    assert_eq!(came[1], "worker-lost");
    assert_eq!(session.end(), 1);
}

/// Row 5.25.
#[test]
fn a_party_that_ends_at_a_barrier_breaks_it_and_the_others_are_told_by_whom() {
    let mut session = Session::start("3", &["--timeout", "10m"], &["meet=barrier:3", "n=value:s64"]);
    // By its work it is known which process is at the barrier later.
    session.give("count n 20000000 ; meet meet -");
    let first = session.host.busy_worker();
    session.give("??meet meet -");
    session.until("waiting meet", "2");
    first.send(Signal::SIGKILL);
    let came = session.both();
    assert!(came[0].starts_with("broken=worker ") && came[0].ends_with(" ended while it waited"), "{came:?}");
    assert_eq!(came[1], "worker-lost", "{came:?}");
    assert_eq!(session.ask("is-broken meet ; reset meet ; is-broken meet ; waiting meet"), "true ok false 0");
    assert_eq!(session.end(), 1);
}

#[test]
fn a_party_that_fails_after_a_round_breaks_the_next_one() {
    let mut session = Session::start("2", &["--timeout", "10m"], &["meet=barrier:2"]);
    session.give("meet meet - ; trap");
    session.give("meet meet - ; ??meet meet -");
    let came = session.both();
    assert_eq!(came[1], "trap");
    assert!(came[0].contains(" broken=") && came[0].contains("worker "), "{came:?}");
    assert_eq!(session.end(), 1);
}
