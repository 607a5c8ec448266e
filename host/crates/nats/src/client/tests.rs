use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::sync::mpsc;

use super::*;
use crate::url::BrokerUrl;

const INFO: &str = "INFO {\"server_id\":\"a\",\"version\":\"2.11.0\",\"max_payload\":1048576,\"headers\":true}\r\n";

/// Starts a server that answers each login with the next of these lines, and returns what a client tells.
fn told(answers: &'static [&'static str]) -> mpsc::Receiver<ClientEvent> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("nats://{}", listener.local_addr().expect("it listens"));
    let access = BrokerAccess::new(BrokerUrl::parse(&url).expect("a URL"), None, None).expect("no file to read");
    let (sender, events) = mpsc::channel();
    thread::spawn(move || {
        let client = Client::start(access, "test", move |event| drop(sender.send(event))).expect("a thread");
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.write_all(INFO.as_bytes()).expect("it reads");
            let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
            while lines.next().expect("it says something").expect("text") != "PING" {}
            stream.write_all(answer.as_bytes()).expect("it reads");
        }
        drop(client);
    });
    events
}

#[test]
fn a_login_that_is_refused_once_is_tried_again_before_it_is_told() {
    let events = told(&["-ERR 'Authorization Violation'\r\n", "PONG\r\n"]);
    let first = events.recv().expect("something is told");
    assert!(matches!(first, ClientEvent::Connected(_)), "{first:?}");
}

#[test]
fn a_login_that_is_refused_twice_is_told() {
    let events = told(&["-ERR 'Authorization Violation'\r\n"; 2]);
    let first = events.recv().expect("something is told");
    assert!(matches!(&first, ClientEvent::Never(Error::BrokerLogin(why)) if why.contains("Violation")), "{first:?}");
}

#[test]
fn a_server_that_ends_a_connection_which_it_had_let_in_is_told_with_its_reason() {
    let events = told(&["PONG\r\n-ERR 'User Authentication Expired'\r\n", "PONG\r\n"]);
    let told: Vec<ClientEvent> = events.iter().take(3).collect();
    assert!(
        matches!(
            &told[..],
            [ClientEvent::Connected(_), ClientEvent::Refused(ConnectionRefused::Login(why)), ClientEvent::Connected(_)]
                if why.contains("Expired")
        ),
        "{told:?}"
    );
}

#[test]
fn a_server_that_is_full_is_tried_again_until_it_lets_the_client_in() {
    const FULL: &str = "-ERR 'maximum connections exceeded'\r\n";
    let events = told(&[FULL, FULL, FULL, "PONG\r\n"]);
    let connected = events.iter().find(|event| !matches!(event, ClientEvent::NotYet(_))).expect("something is told");
    assert!(matches!(connected, ClientEvent::Connected(_)), "{connected:?}");
}

#[test]
fn a_server_that_is_full_is_no_matter_of_keys() {
    let why = ConnectionRefused::of_server("'maximum account active connections exceeded'".to_owned());
    let access = BrokerAccess::new(BrokerUrl::parse("nats://127.0.0.1").expect("a URL"), None, None).expect("no file");
    assert!(matches!(why.into_error(&access), Error::Broker(why) if why.contains("connections exceeded")));
}

#[test]
fn the_subject_that_is_denied_is_read_from_the_servers_words() {
    for (why, subject) in [
        ("Permissions Violation for Publish to \"wp.1.q.a\"", Some("wp.1.q.a")),
        ("Permissions Violation for Subscription to \"wp.*.k\" using queue \"x\"", Some("wp.*.k")),
        ("Permissions Violation", None),
    ] {
        assert_eq!(denied_subject(why), subject);
    }
}
