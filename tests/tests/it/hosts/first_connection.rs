//! Programs that have not reached the message system yet: each tells why after 2 s, in the same words, goes on if it is reached
//! then, and ends after 10 s if it is not.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread::{sleep, spawn};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::broker::{Broker, free_port};
use crate::support::guest::wat;
use crate::support::host::Host;
use crate::support::run::{Run, map, wasmpool};
use crate::support::until;
use crate::support::wat::SQUARE;

const REFUSES: &str = "Connection refused (os error 111)";
const SILENT: &str = "it does not answer";

fn nowhere() -> String {
    format!("nats://127.0.0.1:{}", free_port())
}

fn not_yet(url: &str, why: &str) -> String {
    format!("wasmpool: {url} cannot be reached yet: {why}; it is tried for 10 s")
}

/// Checks that a program without a connection says so once, and why, before it ends with that error.
#[track_caller]
fn tells_and_ends(run: Run, url: &str, why: &str) {
    let said = run.run().exits(2).stderr;
    let first = not_yet(url, why);
    assert_eq!(said.lines().filter(|line| *line == first).count(), 1, "{said}");
    let rest: Vec<&str> = said.lines().filter(|line| *line != first && line.contains("reached")).collect();
    let error = format!("{url} cannot be reached: {why}; is the server started, with JetStream (nats-server -js)?");
    assert!(matches!(rest[..], [last] if last.contains(&error)), "{said}");
}

fn a_run(url: &str) -> Run {
    map(&wat(SQUARE)).args(["--via", url]).input("3\n")
}

fn a_host(url: &str) -> Run {
    wasmpool().args(["serve", "--via", url, "--name", "a", "-j", "1"])
}

fn a_server_of_objects(folder: &Path, url: &str) -> Run {
    let file = folder.join("one.toml");
    std::fs::write(&file, "[share]\ntotal = \"value:s64\"\n").expect("a file");
    wasmpool().args(["share", "serve", "--via", url]).arg(file)
}

#[test]
fn a_run_tells_why_there_is_no_connection_yet_and_ends_without_one() {
    let url = nowhere();
    tells_and_ends(a_run(&url), &url, REFUSES);
}

#[test]
fn a_host_tells_why_there_is_no_connection_yet_and_ends_without_one() {
    let url = nowhere();
    tells_and_ends(a_host(&url), &url, REFUSES);
}

#[test]
fn a_server_of_objects_tells_why_there_is_no_connection_yet_and_ends_without_one() {
    let (url, folder) = (nowhere(), TempDir::new().unwrap());
    tells_and_ends(a_server_of_objects(folder.path(), &url), &url, REFUSES);
}

#[test]
fn a_run_that_asks_for_objects_tells_why_there_is_no_connection_yet_and_ends_without_one() {
    let url = nowhere();
    tells_and_ends(a_run(&url).args(["--share", "total@one"]), &url, REFUSES);
}

#[test]
fn the_list_of_hosts_tells_why_there_is_no_connection_yet_and_ends_without_one() {
    let url = nowhere();
    tells_and_ends(wasmpool().args(["hosts", "--via", &url]), &url, REFUSES);
}

/// Takes connections, and says this to each, and then the last byte of it again and again, if there is one. What is behind a line
/// it says to a client that has said something.
fn poor_server(said: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("nats://{}", listener.local_addr().expect("it is bound"));
    spawn(move || {
        let mut kept: Vec<TcpStream> = Vec::new();
        for stream in listener.incoming().flatten() {
            match said {
                [] => kept.push(stream),
                said => drop(spawn(move || drip(stream, said))),
            }
        }
    });
    url
}

fn drip(mut stream: TcpStream, said: &[u8]) {
    let (line, rest) = said.split_at(said.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    let (first, again) = rest.split_at(rest.len() - 1);
    let heard = stream.write_all(line).and_then(|()| if line.is_empty() { Ok(0) } else { stream.read(&mut [0; 4096]) });
    if heard.and_then(|_| stream.write_all(first)).is_ok() {
        while stream.write_all(again).is_ok() {
            sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_server_that_takes_connections_and_says_nothing_is_not_reached() {
    let url = poor_server(b"");
    tells_and_ends(a_run(&url), &url, SILENT);
}

#[test]
fn a_server_that_says_a_byte_now_and_then_is_not_reached() {
    let url = poor_server(b"I");
    tells_and_ends(a_host(&url), &url, SILENT);
}

#[test]
fn a_server_that_never_ends_the_handshake_of_tls_is_not_reached() {
    // The beginning of a record of TLS of 16 KiB.
    const BEGUN: &[u8] = b"INFO {\"max_payload\":1048576,\"tls_required\":true}\r\n\x16\x03\x03\x40\x00\x02";
    let url = poor_server(BEGUN);
    tells_and_ends(a_run(&url), &url, SILENT);
}

/// Starts a program without a server, which is started once that was told.
fn later(broker: &mut Broker, run: Run) -> Host {
    broker.kill();
    let program = run.start();
    let first = not_yet(&broker.url(), REFUSES);
    until("it tells that there is no connection yet", || program.said().contains(&first).then_some(()));
    broker.start_again();
    program
}

#[test]
fn whoever_waits_for_the_first_connection_goes_on_once_it_is_there() {
    let Some(mut broker) = Broker::start() else { return };
    let host = broker.host("a");
    let host = later(&mut broker, host);
    until("the host serves", || host.said().contains("a serves with 1 worker").then_some(()));
    let run = broker.via(map(&wat(SQUARE)).input("3\n"));
    let mut run = later(&mut broker, run);
    assert_eq!(run.line().as_deref(), Some("9"));
    assert_eq!(run.code(), 0);
    assert!(run.said().contains(&format!("wasmpool: {} is reached\n", broker.url())), "{}", run.said());
    let folder = TempDir::new().unwrap();
    let objects = broker.objects(folder.path(), "one", &["total = \"value:s64\""]);
    let objects = later(&mut broker, objects);
    until("the server serves", || objects.said().contains("one serves total").then_some(()));
    let list = broker.via(wasmpool().arg("hosts"));
    let mut list = later(&mut broker, list);
    assert!(list.line().is_some_and(|line| line.starts_with("a\t")), "{}", list.said());
}

#[test]
fn a_run_waits_for_a_server_that_is_full_and_goes_on_once_another_has_left() {
    let Some(broker) = Broker::configured("max_connections: 2", None) else { return };
    let (_host, other) = (broker.serve("a"), broker.serve("b"));
    let mut run = broker.via(a_run(&broker.url())).start();
    let first = not_yet(&broker.url(), "it refuses the connection: maximum connections exceeded");
    until("it tells that the server is full", || run.said().contains(&first).then_some(()));
    other.signal(Signal::SIGTERM);
    assert_eq!(run.line().as_deref(), Some("9"));
    assert_eq!(run.code(), 0, "{}", run.said());
    assert!(!run.said().contains("--nkey"), "{}", run.said());
}

/// The text in place of which the server has no JetStream.
const SWITCH_IT_ON: &str = "it has no JetStream, which has to be switched on (nats-server -js)";

/// A host may be there before JetStream is switched on, so it waits; a run that has begun has nobody to wait for.
#[test]
fn a_server_without_jetstream_is_told_to_whoever_needs_it() {
    let Some(broker) = Broker::of_operator("jetstream: disabled") else { return };
    let url = broker.url();
    let said = a_run(&url).run().exits(2).stderr;
    assert!(said.contains(&format!("{url} cannot carry a run: {SWITCH_IT_ON}")), "{said}");
    assert!(!said.contains("no host serves"), "it was told only when the run had waited: {said}");
    let mut host = a_host(&url).start();
    let told = format!("no run can be served over {url}: {SWITCH_IT_ON}");
    until("the host tells it", || host.said().contains(&told).then_some(()));
    host.signal(Signal::SIGTERM);
    assert_eq!(host.code(), 0);
    assert_eq!(host.stderr().matches("no JetStream").count(), 1);
}
