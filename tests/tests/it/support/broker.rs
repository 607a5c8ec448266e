//! A real NATS server for a test, and hosts that serve through it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::host::Host;
use super::run::wasmpool;
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
            TcpStream::connect(("127.0.0.1", self.port)).ok().map(|_| true)
        })
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns true if it has a stream.
    pub fn has_streams(&self) -> bool {
        let mut server = TcpStream::connect(("127.0.0.1", self.port)).expect("it takes connections");
        let ask = "CONNECT {\"verbose\":false}\r\nSUB answer 1\r\nPUB $JS.API.STREAM.NAMES answer 0\r\n\r\n";
        server.write_all(ask.as_bytes()).expect("it reads");
        for line in BufReader::new(server).lines() {
            let line = line.expect("it writes");
            if line.contains("stream_names_response") {
                return line.contains("\"WP-");
            }
        }
        panic!("it does not answer")
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

    /// Starts a host, and waits until it serves.
    pub fn serve(&self, name: &str) -> Host {
        self.serve_with(name, 1)
    }

    /// Starts a host with so many workers, and waits until it serves.
    pub fn serve_with(&self, name: &str, workers: usize) -> Host {
        let host = wasmpool().args(["serve", "--via", &self.url(), "--name", name, "-j", &workers.to_string()]).start();
        until("a host serves", || host.said().contains(" serves with ").then_some(()));
        host
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
