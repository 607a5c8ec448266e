//! A pool whose items run on other machines, by way of a real message system.
//!
//! Each test starts a NATS server and hosts of its own. Where there is no server, it is left out.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use wasmpool::{Error, FailureKind, Pool};

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
        let (program, folder) = (server()?, TempDir::new().unwrap());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let quiet = || Stdio::null();
        let mut server = Command::new(program);
        server.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(folder.path());
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
