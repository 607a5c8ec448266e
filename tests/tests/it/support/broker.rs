//! A real NATS server for a test, and hosts that serve through it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::host::Host;
use super::nats::{Speaker, UserKey};
use super::process::Process;
use super::run::{Run, wasmpool};
use super::{HANG, until};
use crate::third_party::fetched;

/// A NATS server with JetStream on a port of its own. It permits what `serve --print-permissions` prints, and no more.
pub struct Broker {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    child: Child,
    /// What stands in the configuration beside the account.
    more: String,
    /// The account's limits, in place of those that are printed.
    limits: Option<String>,
    has_account: bool,
    /// The users of the account, each as it is printed.
    users: RefCell<Vec<String>>,
    keys: RefCell<BTreeMap<String, UserKey>>,
}

/// Users that are no hosts: whoever starts runs, whoever serves shared objects, and one who may do everything.
const COORDINATOR: &str = "COORDINATOR";
const OBJECTS: &str = "OBJECTS";
const ADMINISTRATOR: &str = "ADMINISTRATOR";
/// Begins the subjects of what a user may do that nobody does.
const NOTHING: &str = "nothing";

/// Returns the server's program. If it is not available, that is printed, and the test is left out; where no guest may be
/// left out, it fails. `WASMPOOL_TEST_NATS_SERVER` names another one, such as the oldest that is supported.
pub fn program() -> Option<PathBuf> {
    let other = std::env::var_os("WASMPOOL_TEST_NATS_SERVER").map(PathBuf::from);
    let found = other.or_else(|| fetched("nats").map(|folder| folder.join("nats-server")));
    let required = std::env::var_os("GUESTS_REQUIRED").is_some_and(|value| value == "1");
    assert!(found.is_some() || !required, "there is no NATS server to test with");
    found
}

impl Broker {
    /// Starts a server, if there is one to start.
    pub fn start() -> Option<Broker> {
        Broker::configured("", None)
    }

    /// Starts a server with this part of a configuration in it, and with these limits of the account.
    pub fn configured(more: &str, limits: Option<&str>) -> Option<Broker> {
        Broker::with(more, limits, true)
    }

    /// Starts a server whose accounts are those of JWTs.
    pub fn of_operator(configuration: &str) -> Option<Broker> {
        Broker::with(configuration, None, false)
    }

    fn with(more: &str, limits: Option<&str>, has_account: bool) -> Option<Broker> {
        let program = program()?;
        let mut said = String::new();
        // Another process may take the port before the server does; then there is another.
        for _ in 0..9 {
            let folder = TempDir::new().expect("a temporary directory");
            let port = free_port();
            let keys = [COORDINATOR, OBJECTS, ADMINISTRATOR].map(|name| (name.to_owned(), UserKey::new()));
            let mut broker = Broker {
                child: Command::new("true").spawn().expect("a process"),
                program: program.clone(),
                folder,
                port,
                more: more.to_owned(),
                limits: limits.map(str::to_owned),
                has_account,
                users: RefCell::default(),
                keys: RefCell::new(keys.into()),
            };
            let everything = format!("      {{ nkey: \"{}\" }}\n", broker.key(ADMINISTRATOR).public());
            let [_, coordinator, objects] = broker.printed("nobody");
            broker.users.borrow_mut().extend([everything, coordinator, objects]);
            let _ = broker.child.wait();
            broker.configure();
            broker.child = launch(&broker.program, &broker.folder);
            if broker.is_there() {
                return Some(broker);
            }
            said = broker.log();
        }
        panic!("the server does not start: {said}");
    }

    /// Returns what is printed for a host, for whoever starts runs and for whoever serves shared objects: each as a user of the
    /// configuration.
    fn printed(&self, host: &str) -> [String; 3] {
        let text = wasmpool().args(["serve", "--print-permissions", host]).run().exits(0).text().to_owned();
        let coordinator = self.key(COORDINATOR).public();
        let text = text.replace("PUBLIC-KEY-OF-COORDINATOR", &coordinator);
        let text = text.replace("PUBLIC-KEY-OF-OBJECTS", &self.key(OBJECTS).public());
        let users: Vec<String> = text.split("      { nkey: ").skip(1).map(user).collect();
        users.try_into().expect("a host, a coordinator and a server of objects")
    }

    /// Writes its configuration.
    fn configure(&self) {
        let printed = wasmpool().args(["serve", "--print-permissions", "nobody"]).run().exits(0).text().to_owned();
        let limits = printed.lines().find(|line| line.contains("jetstream {")).expect("the account's limits");
        let limits = self.limits.as_deref().unwrap_or(limits);
        let (port, store) = (self.port, self.folder.path().display());
        let (more, users) = (&self.more, self.users.borrow().concat());
        let account = match self.has_account {
            true => format!("accounts {{\n  WASMPOOL {{\n{limits}\n    users [\n{users}    ]\n  }}\n}}\n"),
            false => String::new(),
        };
        let text = format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{store}\" }}\n{more}\n{account}");
        fs::write(self.folder.path().join("nats.conf"), text).expect("a configuration");
    }

    /// Returns the key of a user; a host that the server does not know yet is made known to it.
    pub fn key(&self, name: &str) -> UserKey {
        if let Some(key) = self.keys.borrow().get(name) {
            return key.clone();
        }
        let key = UserKey::new();
        self.keys.borrow_mut().insert(name.to_owned(), key.clone());
        let [host, ..] = self.printed(name);
        let host = host.replace(&format!("PUBLIC-KEY-OF-{name}"), &key.public());
        self.users.borrow_mut().push(host);
        self.configure();
        self.reload();
        key
    }

    /// Takes a permission from all users that there are.
    pub fn forbid(&self, subject: &str) {
        self.exchange(&format!("\"{subject}\""), &format!("\"{NOTHING}.{subject}\""));
    }

    /// Gives a permission back that was taken from all users.
    pub fn permit(&self, subject: &str) {
        self.exchange(&format!("\"{NOTHING}.{subject}\""), &format!("\"{subject}\""));
    }

    fn exchange(&self, permission: &str, other: &str) {
        for user in self.users.borrow_mut().iter_mut() {
            *user = user.replace(permission, other);
        }
        self.configure();
        self.reload();
    }

    /// Returns what the server has said.
    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Has the server read its configuration again.
    fn reload(&self) {
        let reloads = || self.log().matches("Reloaded server configuration").count();
        let before = reloads();
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process"));
        kill(pid, Signal::SIGHUP).expect("the server runs");
        until("the server reads its configuration", || {
            assert!(!self.log().contains("Failed to reload"), "{}", self.log());
            (reloads() > before).then_some(())
        });
    }

    /// Returns the file with a user's seed.
    pub fn nkey(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.nk"));
        // It is written once: a program that was started before may be reading it, and would find it empty.
        match path.exists() {
            true => path,
            false => self.key(name).write(path),
        }
    }

    /// Returns a connection of this user.
    pub fn speaker(&self, name: &str) -> Speaker {
        Speaker::connect(self.port, &self.key(name))
    }

    /// Returns a connection of a user who may do everything.
    pub fn administrator(&self) -> Speaker {
        self.speaker(ADMINISTRATOR)
    }

    /// Has a run go over hosts, whatever its arguments: what stands behind `--` is a command's.
    pub fn via(&self, run: Run) -> Run {
        self.access().on(run)
    }

    /// Returns what a run needs to go over hosts.
    pub fn access(&self) -> Access {
        Access { url: self.url(), nkey: self.nkey(COORDINATOR) }
    }

    /// Waits until it takes connections; returns false if it has ended instead.
    fn is_there(&mut self) -> bool {
        until("the server takes connections", || {
            if self.child.try_wait().expect("it was started").is_some() {
                return Some(false);
            }
            // Whoever else took the port would take connections, too.
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            log.contains("Server is ready").then_some(true)
        })
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its process.
    pub fn process(&self) -> Process {
        Process::living(self.child.id().cast_signed()).expect("the server runs")
    }

    /// Returns true if it has a stream.
    pub fn has_streams(&self) -> bool {
        !self.streams().is_empty()
    }

    /// Returns the names of its streams.
    pub fn streams(&self) -> Vec<String> {
        let answer = self.administrator().ask("$JS.API.STREAM.NAMES", b"");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let names = answer["streams"].as_array().cloned().unwrap_or_default();
        names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    }

    /// Kills it. All that it had in memory is lost.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) {
        self.child = launch(&self.program, &self.folder);
        assert!(self.is_there(), "the server does not start again");
    }

    /// Returns `wasmpool share serve` of these objects, each a line of the table, in this directory.
    pub fn objects(&self, place: &Path, name: &str, objects: &[&str]) -> Run {
        let file = place.join(format!("{name}.toml"));
        fs::write(&file, format!("[share]\n{}\n", objects.join("\n"))).expect("a file");
        let run = wasmpool().args(["share", "serve", "--via", &self.url()]).arg(file);
        run.env("WASMPOOL_NKEY", self.nkey(OBJECTS))
    }

    /// Starts such a server, and waits until it serves.
    pub fn serve_objects(&self, place: &Path, name: &str, objects: &[&str]) -> Host {
        serving(self.objects(place, name, objects))
    }

    /// Returns `wasmpool serve` under this name.
    pub fn host(&self, name: &str) -> Run {
        self.host_with(name, 1)
    }

    /// Returns `wasmpool serve` under this name, with so many workers.
    fn host_with(&self, name: &str, workers: usize) -> Run {
        let run = wasmpool().args(["serve", "--via", &self.url(), "--name", name, "-j", &workers.to_string()]);
        run.env("WASMPOOL_NKEY", self.nkey(name))
    }

    /// Starts a host, and waits until it serves.
    pub fn serve(&self, name: &str) -> Host {
        serving(self.host(name))
    }

    /// Starts a host with so many workers, and waits until it serves.
    pub fn serve_with(&self, name: &str, workers: usize) -> Host {
        serving(self.host_with(name, workers))
    }

    /// Starts a host that may serve for as long as the longest tests take, and waits until it serves. It reaches the server by this
    /// URL, if there is one.
    pub fn serve_long(&self, name: &str, url: Option<&str>) -> Host {
        let url = url.map_or_else(|| self.url(), str::to_owned);
        let run = wasmpool().args(["serve", "--via", &url, "--name", name, "-j", "1"]);
        serving(run.env("WASMPOOL_NKEY", self.nkey(name)).limit(HANG * 20))
    }
}

/// Where a server is, and who a run is to it.
pub struct Access {
    url: String,
    nkey: PathBuf,
}

impl Access {
    /// Has a run go over hosts.
    pub fn on(&self, run: Run) -> Run {
        run.env("WASMPOOL_VIA", &self.url).env("WASMPOOL_NKEY", &self.nkey)
    }
}

pub fn serving(run: Run) -> Host {
    let host = run.start();
    until("it serves", || host.said().contains(" serves ").then_some(()));
    host
}

/// Returns a port that nobody listens on, for now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// Returns one user of a configuration, of which the first words are cut off.
fn user(text: &str) -> String {
    let end = text.find("      } }\n").expect("the end of a user") + "      } }\n".len();
    format!("      {{ nkey: {}", &text[..end])
}

fn launch(program: &PathBuf, folder: &TempDir) -> Child {
    let log = File::create(folder.path().join("log")).expect("a log");
    Command::new(program)
        .arg("-c")
        .arg(folder.path().join("nats.conf"))
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
