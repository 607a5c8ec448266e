//! A real NATS server for a test, and hosts that serve through it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::host::Host;
use super::run::{Run, wasmpool};
use super::until;
use crate::third_party::fetched;

/// A NATS server with JetStream on a port of its own.
pub struct Broker {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    child: Child,
}

/// Returns the server's program. If it is not available, that is printed, and the test is left out; where no guest may be
/// left out, it fails.
fn program() -> Option<PathBuf> {
    let found = fetched("nats").map(|folder| folder.join("nats-server"));
    let required = std::env::var_os("GUESTS_REQUIRED").is_some_and(|value| value == "1");
    assert!(found.is_some() || !required, "there is no NATS server to test with");
    found
}

impl Broker {
    /// Starts a server, if there is one to start.
    pub fn start() -> Option<Broker> {
        let program = program()?;
        // Another process may take the port before the server does; then there is another.
        for _ in 0..9 {
            let folder = TempDir::new().expect("a temporary directory");
            let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
            let mut broker = Broker { child: launch(&program, &folder, port), program: program.clone(), folder, port };
            if broker.is_there() {
                return Some(broker);
            }
        }
        panic!("the server does not start");
    }

    /// Waits until it takes connections; returns false if it has ended instead.
    fn is_there(&mut self) -> bool {
        until("the server takes connections", || {
            if self.child.try_wait().expect("it was started").is_some() {
                return Some(false);
            }
            // Whoever else took the port would take connections, too.
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            log.contains("Server is ready").then_some(true)
        })
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns true if it has a stream.
    pub fn has_streams(&self) -> bool {
        self.request("$JS.API.STREAM.NAMES", "").contains("\"WP-")
    }

    /// Sends a request, and returns what is answered.
    pub fn request(&self, subject: &str, payload: &str) -> String {
        let mut client = RawClient::connect(self);
        client.subscribe("answer");
        client.publish(subject, Some("answer"), payload.as_bytes());
        let Received { payload, .. } = client.receive();
        String::from_utf8(payload).expect("text")
    }

    /// Kills it. All that it had in memory is lost.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) {
        self.child = launch(&self.program, &self.folder, self.port);
        assert!(self.is_there(), "the server does not start again");
    }

    /// Returns `wasmpool serve` under this name.
    pub fn host(&self, name: &str) -> Run {
        wasmpool().args(["serve", "--via", &self.url(), "--name", name, "-j", "1"])
    }

    /// Starts a host, and waits until it serves.
    pub fn serve(&self, name: &str) -> Host {
        let host = self.host(name).start();
        until("a host serves", || host.said().contains(" serves with ").then_some(()));
        host
    }
}

/// A connection that says what a test wants it to say.
pub struct RawClient(BufReader<TcpStream>);

/// A message as it came.
pub struct Received {
    pub subject: String,
    pub reply: Option<String>,
    pub payload: Vec<u8>,
}

impl RawClient {
    pub fn connect(broker: &Broker) -> RawClient {
        let mut stream = TcpStream::connect(("127.0.0.1", broker.port)).expect("it takes connections");
        stream.write_all(b"CONNECT {\"verbose\":false}\r\n").expect("it reads");
        RawClient(BufReader::new(stream))
    }

    pub fn subscribe(&mut self, subject: &str) {
        let said = format!("SUB {subject} 1\r\n");
        self.0.get_mut().write_all(said.as_bytes()).expect("it reads");
    }

    pub fn publish(&mut self, subject: &str, reply: Option<&str>, payload: &[u8]) {
        let mut said = format!("PUB {subject} {} {}\r\n", reply.unwrap_or_default(), payload.len()).into_bytes();
        said.extend_from_slice(payload);
        said.extend_from_slice(b"\r\n");
        self.0.get_mut().write_all(&said).expect("it reads");
    }

    /// Waits for the next message.
    pub fn receive(&mut self) -> Received {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("it writes") > 0, "it has ended");
            if line.starts_with("PING") {
                self.0.get_mut().write_all(b"PONG\r\n").expect("it reads");
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["MSG", subject, _, reply @ .., size] = words.as_slice() {
                let mut payload = vec![0; size.parse::<usize>().expect("a size") + 2];
                self.0.read_exact(&mut payload).expect("it writes");
                payload.truncate(payload.len() - 2);
                let reply = reply.first().map(|reply| (*reply).to_owned());
                return Received { subject: (*subject).to_owned(), reply, payload };
            }
        }
    }
}

fn launch(program: &PathBuf, folder: &TempDir, port: u16) -> Child {
    let log = File::create(folder.path().join("log")).expect("a log");
    Command::new(program)
        .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the server can be started")
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
