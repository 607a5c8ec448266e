//! A pool whose items run on other machines, by way of a real message system.
//!
//! Each test starts a NATS server and hosts of its own. Where there is no server, it is left out.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use wasmpool::{Dict, Error, FailureKind, Lock, Manager, PipeEnd, Pool, Queue, Value};

use crate::support::{POWER, SPIN, SQUARES, until};

/// A NATS server, and hosts that serve through it.
struct Machines {
    url: String,
    processes: Vec<Child>,
    _folder: TempDir,
}

impl Drop for Machines {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Returns the server's program, if it was fetched.
fn server() -> Option<PathBuf> {
    let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/third-party/fetch");
    let output = Command::new(fetch).arg("nats").stdin(Stdio::null()).output().unwrap();
    let required = std::env::var_os("GUESTS_REQUIRED").is_some_and(|value| value == "1");
    assert!(output.status.success() || !required, "there is no NATS server to test with");
    let line = String::from_utf8(output.stdout).unwrap();
    let (_, folder) = line.trim_end().split_once(' ')?;
    output.status.success().then(|| PathBuf::from(folder).join("nats-server"))
}

impl Machines {
    fn start(hosts: usize) -> Option<Machines> {
        Machines::configured(hosts, "")
    }

    /// Starts a server with this configuration.
    fn configured(hosts: usize, configuration: &str) -> Option<Machines> {
        let (program, folder) = (server()?, TempDir::new().unwrap());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let quiet = || Stdio::null();
        let file = folder.path().join("nats.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut server = Command::new(program);
        server.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(folder.path()).arg("-c").arg(file);
        let server = server.stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().unwrap();
        until("the server takes connections", || TcpStream::connect(("127.0.0.1", port)).ok());
        let url = format!("nats://127.0.0.1:{port}");
        let mut machines = Machines { url, processes: vec![server], _folder: folder };
        for host in 0..hosts {
            let mut serve = Command::new(env!("CARGO_BIN_EXE_wasmpool"));
            serve.args(["serve", "--via", &machines.url, "--name", &format!("h{host}"), "-j", "1"]);
            let mut serve = serve.stdin(quiet()).stdout(quiet()).stderr(Stdio::piped()).spawn().unwrap();
            let mut said = BufReader::new(serve.stderr.take().unwrap()).lines();
            machines.processes.push(serve);
            assert!(said.by_ref().map_while(Result::ok).any(|line| line.contains(" serves with ")));
            std::thread::spawn(move || said.for_each(drop));
        }
        Some(machines)
    }

    /// Starts a server of these objects, and waits until it serves.
    fn serve_objects(&mut self, name: &str, objects: &str) {
        let file = self._folder.path().join(format!("{name}.toml"));
        std::fs::write(&file, format!("[share]\n{objects}")).unwrap();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_wasmpool"));
        serve.args(["share", "serve", "--via", &self.url]).arg(file);
        let mut serve = serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(serve.stderr.take().unwrap()).lines();
        self.processes.push(serve);
        assert!(said.by_ref().map_while(Result::ok).any(|line| line.contains(" serves ")));
        std::thread::spawn(move || said.for_each(drop));
    }
}

#[test]
fn objects_of_a_server_are_for_the_program_and_for_its_pools_here_and_over_hosts() {
    let Some(mut machines) = Machines::start(1) else { return };
    let objects = "total = \"value:s64\"\njobs = \"queue:5\"\ngate = \"lock\"\nline = \"pipe\"\nseen = \"dict\"";
    machines.serve_objects("sums", objects);
    let manager = Manager::connect(&machines.url, "sums").unwrap();
    let total: Value<i64> = manager.open("total").unwrap();
    let jobs: Queue<String> = manager.open("jobs").unwrap();
    jobs.put("first".to_owned()).unwrap();
    assert_eq!(total.add(5).unwrap(), 5);
    let there = Pool::builder("examples/total.wat").via(&machines.url).share(&total).build().unwrap();
    there.map::<_, i64>([1, 2, 3]).unwrap();
    let here = Pool::builder("examples/total.wat").manager(&manager).workers(2).build().unwrap();
    here.map::<_, i64>([10, 20, 30]).unwrap();
    assert_eq!(total.load().unwrap(), 71);
    // Another program finds what this one left.
    drop((there, here));
    let other = Manager::connect(&machines.url, "sums").unwrap();
    let again: Queue<String> = other.open("jobs").unwrap();
    assert_eq!(
        (again.get().unwrap(), other.open::<Value<i64>>("total").unwrap().load().unwrap()),
        ("first".to_owned(), 71)
    );
    let (gate, same): (Lock, Lock) = (manager.open("gate").unwrap(), other.open("gate").unwrap());
    let held = gate.acquire().unwrap();
    let first = held.token().unwrap();
    assert!(same.try_acquire().unwrap().is_none());
    held.release().unwrap();
    assert!(same.acquire().unwrap().token().unwrap() > first);
    let (receiver, sender): (PipeEnd<i64>, PipeEnd<i64>) = manager.open("line").unwrap();
    sender.send(3).unwrap();
    assert_eq!(receiver.recv().unwrap(), 3);
    let seen: Dict<i64> = manager.open("seen").unwrap();
    seen.set("a", 1).unwrap();
    assert_eq!(other.open::<Dict<i64>>("seen").unwrap().get("a").unwrap(), Some(1));
}

#[test]
fn a_manager_that_may_not_speak_to_a_server_of_objects_is_told_at_once() {
    const USER: &str = "accounts { A { jetstream: enabled, users: [ { user: all, password: x, permissions: { \
                        publish: { deny: [\"wp.s.*.*.*.p\"] } } } ] } }\nno_auth_user: all\n";
    let Some(mut machines) = Machines::configured(0, USER) else { return };
    machines.serve_objects("s", "jobs = \"queue\"\n");
    let refused = Manager::connect(&machines.url, "s").unwrap_err();
    assert!(matches!(&refused, Error::BrokerLogin(why) if why.contains("Publish to \"wp.s.s.")), "{refused}");
}

#[test]
fn what_a_manager_of_a_server_cannot_do_is_said() {
    let Some(mut machines) = Machines::start(0) else { return };
    machines.serve_objects("s", "jobs = \"queue\"\n");
    let manager = Manager::connect(&machines.url, "s").unwrap();
    let said = |error: Error| error.to_string();
    let unknown = said(manager.open::<Queue<i64>>("job").unwrap_err());
    assert!(unknown.contains("`job`") && unknown.contains("there are jobs"), "{unknown}");
    let other = said(manager.open::<Dict<i64>>("jobs").unwrap_err());
    assert!(other.contains("it is a queue, and was opened as Dict<i64>"), "{other}");
    let created = said(manager.queue::<i64>("new", 5).unwrap_err());
    assert!(created.contains("`open` one of them"), "{created}");
    let nobody = said(Manager::connect(&machines.url, "t").unwrap_err());
    assert!(nobody.contains("called t") && nobody.contains("wasmpool share serve"), "{nobody}");
    let jobs: Queue<i64> = manager.open("jobs").unwrap();
    let elsewhere = Pool::builder(SQUARES).share(&jobs).via("nats://127.0.0.1:1").build();
    assert!(matches!(elsewhere, Err(Error::Broker(why)) if why.contains("one message system")));
}

#[test]
fn a_pool_over_hosts_returns_what_a_pool_of_this_machine_returns() {
    let Some(machines) = Machines::start(2) else { return };
    // No binary of workers is needed here.
    let pool = Pool::builder(SQUARES).via(&machines.url).build().unwrap();
    let squares: Vec<i64> = pool.map(0..3000).unwrap();
    assert_eq!(squares, (0..3000).map(|n: i64| n * n).collect::<Vec<_>>());
    assert_eq!(pool.apply::<_, i64>(12).unwrap(), 144);
    let lazy: Vec<i64> = pool.imap(0..100).collect::<Result<_, _>>().unwrap();
    assert_eq!(lazy.last(), Some(&(99 * 99)));
    let power = pool.task(POWER).unwrap();
    assert_eq!(power.apply::<_, i64>((3, 3)).unwrap(), 27);
    assert!(pool.processes().is_empty());
}

#[test]
fn an_item_that_is_late_on_a_host_costs_itself() {
    let Some(machines) = Machines::start(1) else { return };
    let pool = Pool::builder(SPIN).via(&machines.url).timeout(Duration::from_millis(200)).build().unwrap();
    match pool.apply::<_, i64>(-1) {
        Err(Error::Item(e)) => assert_eq!(e.kind, FailureKind::Timeout),
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.apply::<_, i64>(5).unwrap(), 5);
}

#[test]
fn what_cannot_be_over_hosts_is_refused() {
    let Err(Error::Broker(why)) = Pool::builder(SQUARES).via("nats://192.0.2.1").build() else {
        panic!("it is refused")
    };
    assert!(why.contains("nats://192.0.2.1"), "{why}");
    let manager = wasmpool::Manager::new();
    let total = manager.value("total", 0i64).unwrap();
    let built = Pool::builder("examples/total.wat").share(&total).via("nats://127.0.0.1:1").build();
    assert!(matches!(built, Err(Error::Broker(why)) if why.contains("shared within one machine")));
    // Only the call says that nobody is there.
    let pool = Pool::builder(SQUARES).via("nats://127.0.0.1:1").build().unwrap();
    assert!(matches!(pool.apply::<_, i64>(1), Err(Error::Broker(_))));
}
