//! Two hosts of one name: one of them keeps it.

use nix::sys::signal::Signal;

use crate::support::broker::Broker;
use crate::support::guest::wat;
use crate::support::run::map;
use crate::support::until;
use crate::support::wat::SQUARE;

#[test]
fn a_second_host_of_one_name_is_refused_and_the_first_serves_on() {
    let Some(broker) = Broker::start() else { return };
    let mut first = broker.serve("a");
    let second = broker.host("a").run();
    assert_eq!(second.code, 2, "{}", second.stderr);
    assert!(second.stderr.contains("another host has the name a at nats://"), "{}", second.stderr);
    assert!(second.stderr.contains("another name") && !second.stderr.contains(" serves with "), "{}", second.stderr);
    let run = broker.via(map(&wat(SQUARE))).input("3\n".repeat(100)).run().exits(0);
    assert_eq!(run.text(), "9\n".repeat(100));
    assert!(!first.has_ended(), "{}", first.said());
    // Once it has ended, the name is free, at once.
    first.signal(Signal::SIGTERM);
    assert_eq!(first.code(), 0, "{}", first.said());
    drop(broker.serve("a"));
    drop(broker.serve("a"));
}

#[test]
fn of_a_host_that_stood_still_and_one_that_took_its_name_the_later_one_ends() {
    let Some(broker) = Broker::start() else { return };
    let mut first = broker.serve("a");
    first.signal(Signal::SIGSTOP);
    let mut second = broker.serve("a");
    first.signal(Signal::SIGCONT);
    assert_eq!(second.code(), 2, "{}", second.said());
    assert!(second.said().contains("another host has the name a at nats://"), "{}", second.said());
    assert!(!first.has_ended(), "{}", first.said());
    let run = broker.via(map(&wat(SQUARE))).input("3\n".repeat(100)).run().exits(0);
    assert_eq!(run.text(), "9\n".repeat(100));
}

#[test]
fn of_two_hosts_of_one_name_that_start_at_once_one_serves() {
    let Some(broker) = Broker::start() else { return };
    broker.key("a");
    let mut hosts = [broker.host("a").start(), broker.host("a").start()];
    until("one has left the name to the other", || hosts.iter_mut().any(|host| host.has_ended()).then_some(()));
    until("the other serves", || hosts.iter().any(|host| host.said().contains(" serves with ")).then_some(()));
    let run = broker.via(map(&wat(SQUARE))).input("3\n".repeat(100)).run().exits(0);
    assert_eq!(run.text(), "9\n".repeat(100));
    let ended = hosts.iter_mut().filter_map(|host| host.has_ended().then(|| host.code())).collect::<Vec<_>>();
    assert_eq!(ended, [2]);
}
