//! Waiting: what ends it, that it leaves nothing behind, and that nobody waits for what cannot come.

use std::time::{Duration, Instant};

use super::{Session, come_to, in_turn, orders};

/// Row 0.10: an item ends at its own timeout while it waits, and is in no line any more.
#[test]
fn a_wait_is_ended_by_the_timeout_of_its_item_and_leaves_the_line() {
    for (shares, wait, then, comes) in [
        (&["jobs=queue"][..], "get jobs -", "put jobs a - ; get jobs 0", "ok a"),
        (&["jobs=queue"], "take jobs -", "put jobs a - ; get jobs 0", "ok a"),
        (&["jobs=queue:1"], "put jobs a - ; put jobs b -", "get jobs 0 ; ?get jobs 0", "a empty"),
        (&["jobs=queue"], "put jobs a - ; join jobs -", "get jobs 0 ; task-done jobs ; join jobs 0", "a ok true"),
        (&["go=event"], "wait-event go -", "set-event go ; wait-event go 0", "ok true"),
        (&["room=semaphore:0"], "acquire room -", "release room ; acquire room 0 ; slots room", "ok acquired 0"),
        (
            &["turn=condition"],
            "enter turn - ; wait turn -",
            "enter turn 0 ; notify-all turn ; leave turn",
            "abandoned:worker 1, item 0 ok ok",
        ),
        (&["p=pipe:duplex"], "recv p/first -", "send p/second a 0", "closed-by-peer: "),
    ] {
        let output = in_turn(shares, &[wait, then]).args(["--timeout", "300ms"]).run().exits(1);
        let endings = super::endings(&output);
        assert_eq!(endings[0], "timeout", "{wait}: {}", output.stderr);
        // A condition whose waiter ended while its lock was free was abandoned by nobody.
        let second = endings[1].replace("acquired ok ok", "abandoned:worker 1, item 0 ok ok");
        assert_eq!(second, comes, "{wait}: {}", output.stderr);
    }
}

/// Rows 0.1 to 0.3.
#[test]
fn a_timeout_of_nothing_looks_once_and_a_timeout_is_never_early() {
    let shares =
        ["jobs=queue:1", "gate=lock", "go=event", "room=semaphore:0", "turn=condition", "p=pipe:duplex", "fill=event"];
    let start = Instant::now();
    come_to(
        &shares,
        &[
            (
                "?get jobs 0 ; put jobs a 0 ; ?put jobs b 0 ; acquire room 0 ; wait-event go 0",
                "empty ok full timed-out false",
            ),
            (
                "enter turn 0 ; wait turn 0 ; end p/first ; poll p/first 0 ; ?recv p/first 0",
                "acquired false ok false timeout",
            ),
            ("get jobs 0 ; ?get jobs 100 ; acquire room 100 ; wait-event go 100", "a empty timed-out false"),
        ],
    );
    assert!(start.elapsed() >= Duration::from_millis(300));
    let output = in_turn(&["go=event"], &["timed wait-event go 250"]).run().exits(0);
    let nanoseconds: u64 = super::endings(&output)[0].parse().expect("a number");
    assert!(nanoseconds >= 250_000_000, "{nanoseconds}");
}

/// Row 2.6.
#[test]
fn what_was_put_is_seen_by_every_get_that_starts_later() {
    let round = ["put jobs a - ; get jobs 0 ; put back b -", "get back 0 ; size jobs ; size back"];
    let items: Vec<&str> = round.iter().copied().cycle().take(400).collect();
    let output = orders(&["jobs=queue", "back=queue"]).args(["-j", "1"]).input(super::lines(&items)).run().exits(0);
    for (nth, ending) in super::endings(&output).iter().enumerate() {
        assert_eq!(ending, if nth % 2 == 0 { "ok a ok" } else { "b 0 0" }, "item {nth}");
    }
}

/// Row 2.6, for dicts and lists.
#[test]
fn what_was_set_or_appended_is_seen_by_whoever_asks_later() {
    let shares = ["seen=namespace", "all=list", "go=queue", "back=queue"];
    let (mut asks, mut changes, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    for nth in 0..300 {
        asks.push("put go x - ; get back - ; ns-get seen key ; list-length all".to_owned());
        wanted.push(format!("ok x {nth} {}", nth + 1));
        changes.push(format!("get go - ; ns-set seen key {nth} ; push all {nth} ; put back x -"));
        // Now and then the one that asks sets as well, and is the only one that does.
        if nth % 10 == 0 {
            asks.push(["ns-set seen key own ; ns-get seen key"; 3].join(" ; "));
            wanted.push(["ok own"; 3].join(" "));
        }
    }
    let input = format!("{}\n{}\n", asks.join(" ; "), changes.join(" ; "));
    let output = orders(&shares).args(["-j", "2"]).input(input).run().exits(0);
    assert_eq!(super::endings(&output)[0], wanted.join(" "));
}

/// Row 0.9.
#[test]
fn who_waits_is_served_first_come_first_served() {
    let mut session = Session::start("4", &[], &["gate=lock", "go=event", "line=queue", "n=value:s64"]);
    session.give("lock gate - ; wait-event go - ; unlock gate");
    session.until("locked gate", "true");
    for nth in 1..=2 {
        // The event tells that it is about to wait; nothing can tell that it does.
        session.give(&format!("add n {nth} ; lock gate - ; put line {nth} - ; unlock gate"));
        let sum = (1..=nth).sum::<u32>().to_string();
        session.until("load n", &sum);
        // A round trip through the manager later, the request that followed the addition is there, too.
        (0..200).for_each(|_| assert_eq!(session.ask("size line"), "0"));
    }
    session.give("set-event go");
    let mut came: Vec<String> = (0..4).map(|_| session.next()).collect();
    came.sort();
    assert_eq!(session.ask("get line - ; get line -"), "1 2", "{came:?}");
    assert_eq!(session.end(), 0);
}

/// Rows 5.15 and 5.16.
#[test]
fn a_condition_wakes_as_many_as_were_asked_for() {
    let mut session = Session::start("4", &[], &["turn=condition", "in=value:s64"]);
    for nth in 1..=3 {
        session.give("enter turn - ; add in 1 ; wait turn - ; leave turn");
        session.until("load in", &nth.to_string());
    }
    // Whoever has the lock knows that they wait: each gave it up by waiting.
    session.give("enter turn - ; notify turn 1 ; leave turn");
    let came = session.both();
    assert!(came[0].ends_with(" true ok") && came[1] == "acquired ok ok", "{came:?}");
    session.give("enter turn - ; notify-all turn ; leave turn");
    let mut came = [session.next(), session.next(), session.next()];
    came.sort();
    assert!(came[..2].iter().all(|ending| ending.ends_with(" true ok")) && came[2] == "acquired ok ok", "{came:?}");
    assert_eq!(session.end(), 0);
}

/// Rows 5.11 and 5.12.
#[test]
fn an_event_wakes_all_who_waited_even_if_it_is_cleared_at_once() {
    let mut session = Session::start("3", &[], &["go=event", "in=semaphore:0", "both=barrier:2"]);
    for _ in 0..2 {
        session.give("meet both - ; wait-event go -");
    }
    // They have met, and are about to wait. Until both do, nobody is woken, so it is set again.
    let mut woken = 0;
    while woken < 2 {
        session.give("set-event go ; clear-event go");
        loop {
            match session.next().as_str() {
                "ok ok" => break,
                other => {
                    assert!(["0 true", "1 true"].contains(&other), "{other}");
                    woken += 1;
                }
            }
        }
    }
    assert_eq!(session.ask("is-set go ; wait-event go 0"), "false false");
    assert_eq!(session.end(), 0);
}

/// Rows 5.19, 5.22 and 5.23.
#[test]
fn a_barrier_lets_all_pass_together_time_after_time_until_it_is_broken() {
    let shares = ["meet=barrier:3", "sum=value:s64"];
    let round = ["meet meet -"; 20].join(" ; ");
    let output = orders(&shares).args(["-j", "3"]).input(format!("{round}\n").repeat(3)).run().exits(0);
    let rounds: Vec<Vec<String>> =
        super::endings(&output).iter().map(|one| one.split(' ').map(str::to_owned).collect()).collect();
    for nth in 0..20 {
        let mut numbers: Vec<&str> = rounds.iter().map(|one| one[nth].as_str()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, ["0", "1", "2"], "round {nth}");
    }
    let mut session = Session::start("3", &[], &["meet=barrier:3"]);
    session.give("??meet meet -");
    session.until("waiting meet", "1");
    session.give("?meet meet 50");
    let came = session.both();
    assert!(came[0].starts_with("broken=the wait of worker "), "{came:?}");
    assert_eq!(came[1], "timeout");
    assert_eq!(session.ask("?meet meet -"), "broken");
    assert_eq!(session.ask("reset meet ; is-broken meet"), "ok false");
    assert_eq!(session.end(), 0);
}

/// Row 5.26.
#[test]
fn a_barrier_for_more_parties_than_workers_is_an_error_at_the_first_wait() {
    let output = in_turn(&["meet=barrier:2"], &["??meet meet -"]).run().exits(0);
    let ending = &super::endings(&output)[0];
    assert!(
        ending.starts_with("invalid=") && ending.contains("2 parties") && ending.contains("more workers"),
        "{ending}"
    );
}

/// Rows 2.10 and 2.11.
#[test]
fn a_queue_that_is_shut_down_ends_all_waits_once_it_is_empty() {
    let mut session = Session::start("3", &[], &["jobs=queue", "small=queue:1"]);
    session.give("?get jobs -");
    session.give("put small a - ; ?put small b -");
    session.until("size small", "1");
    session.give("shutdown small");
    assert_eq!(session.both(), ["ok", "ok closed"]);
    assert_eq!(session.ask("get small - ; ?get small - ; ?put small c 0"), "a closed closed");
    session.give("shutdown jobs");
    assert_eq!(session.both(), ["closed", "ok"]);
    assert_eq!(session.end(), 0);
    come_to(
        &["jobs=queue"],
        &[
            (
                "put jobs a - ; put jobs b - ; get jobs 0 ; shutdown-now jobs ; size jobs ; ?get jobs -",
                "ok ok a ok 0 closed",
            ),
            // What the item before got counts as done by now.
            ("join jobs 0 ; ?task-done jobs", "true too-many"),
        ],
    );
}

/// Row 3.15.
#[test]
fn one_wait_is_for_several_pipe_ends() {
    let item = "send p/second a - ; wait-ends - p/first q/first r/first ; recv p/first 0 ; wait-ends 0 p/first q/first ; \
                close p/second ; send r/second b - ; wait-ends - q/first p/first r/first";
    come_to(&["p=pipe", "q=pipe", "r=pipe"], &[(item, "ok [0] a [] ok ok [1,2]")]);
}
