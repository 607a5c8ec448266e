//! The promises of the sandbox, tested from inside real workers that try what a compromised one would.
//!
//! `cargo test --release -p wasmpool --features probes --test sandbox`. When run as root, every test is made as root
//! and as an ordinary user; otherwise as the user who runs it.
//!
//! Not every machine has every layer: containers forbid namespaces, and old kernels support little of Landlock. What
//! cannot be tested on this machine is left out, and reported as left out. If no layer is missing, nothing is left out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod surroundings;
mod survivors;
mod together;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write, stderr};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The user who runs a host.
#[derive(Clone, Copy, Debug, PartialEq)]
enum User {
    /// The user who runs the tests.
    Own,
    /// An ordinary user, if the tests run as root.
    Ordinary,
}

fn users() -> Vec<User> {
    if nix::unistd::geteuid().is_root() { vec![User::Own, User::Ordinary] } else { vec![User::Own] }
}

/// The programs under test, where every user can run them.
struct Programs {
    _directory: tempfile::TempDir,
    probes: PathBuf,
    wasmpool: PathBuf,
}

fn programs() -> Programs {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let take = |from: &str| {
        let to = directory.path().join(Path::new(from).file_name().unwrap());
        // Copied by another process: a process that a concurrent test starts could inherit the writing descriptor for a
        // moment, and a file that is open for writing cannot be executed.
        assert!(Command::new("cp").arg(from).arg(&to).status().unwrap().success());
        to
    };
    let (probes, wasmpool) = (take(env!("CARGO_BIN_EXE_wasmpool-probes")), take(env!("CARGO_BIN_EXE_wasmpool")));
    Programs { _directory: directory, probes, wasmpool }
}

impl Programs {
    fn probes(&self, user: User, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.probes);
        command.args(arguments).env("WASMPOOL_CACHE_DIR", "").env_remove("WASMPOOL_SANDBOX");
        if user == User::Ordinary {
            command.uid(65534).gid(65534).env("HOME", "/");
        }
        command
    }

    /// Returns outcomes by the probe's name.
    fn attempt(&self, user: User, arguments: &[&str]) -> BTreeMap<String, Tried> {
        let output = self.probes(user, arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?} as {user:?}: {}", text(&output.stderr));
        let line = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| line[name].as_str().unwrap().to_owned();
            (field("probe"), Tried { outcome: field("outcome"), expected: field("expected"), detail: field("detail") })
        };
        text(&output.stdout).lines().map(line).collect()
    }

    /// Returns true if one probe succeeds when these layers are left out.
    fn succeeds(&self, user: User, mode: &str, without: &str, probe: &str) -> bool {
        let tried = self.attempt(user, &["try", "--mode", mode, "--without", without, probe]);
        tried.get(probe).expect("a probe of this name").outcome == "succeeded"
    }
}

/// The sandbox that a user's worker gets on a machine.
struct Doctor {
    strict: bool,
    /// Parts of the sandbox by name, and whether they are there.
    parts: BTreeMap<String, bool>,
    table: String,
}

impl Doctor {
    fn of(output: &Output) -> Doctor {
        let table = text(&output.stdout);
        let rows = table.lines().skip_while(|line| !line.starts_with("layer ")).skip(1).take_while(|l| !l.is_empty());
        // Names are padded to these columns.
        let parts: BTreeMap<String, bool> =
            rows.map(|row| (row[13..55].trim().to_owned(), row[55..].starts_with("yes"))).collect();
        assert!(parts.len() >= 20, "not the table that is known: {table}{}", text(&output.stderr));
        Doctor { strict: output.status.code() == Some(0), parts, table }
    }

    /// Runs `doctor` on this machine.
    fn here(programs: &Programs, user: User) -> Doctor {
        let mut command = Command::new(&programs.wasmpool);
        if user == User::Ordinary {
            command.uid(65534).gid(65534);
        }
        Doctor::of(&command.arg("doctor").output().unwrap())
    }

    /// Runs `doctor` in a container on this machine.
    fn contained(programs: &Programs, user: User) -> Doctor {
        Doctor::of(&contained(programs, user, true, &["doctor"]))
    }

    fn has(&self, part: &str) -> bool {
        self.parts.get(part).copied().unwrap_or_else(|| panic!("no row for {part}: {}", self.table))
    }

    /// Returns true if nothing is missing, so that no test may be left out.
    fn whole(&self) -> bool {
        self.strict && self.parts.values().all(|held| *held)
    }

    /// Returns the mode that shows most on this machine: in strict mode a worker would not start without a layer that
    /// replaces a missing one.
    fn mode(&self) -> &'static str {
        if self.whole() { "strict" } else { "best-effort" }
    }
}

/// Reports that something could not be tested. Writes past the test harness, which would swallow the message.
fn left_out(what: &str, user: User, why: &str) {
    let _ = writeln!(stderr(), "left out, as {user:?}: {what}: {why}");
}

const NO_STRICT: &str = "`--sandbox strict` does not run here; `wasmpool doctor` says why";

struct Tried {
    outcome: String,
    expected: String,
    detail: String,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_all_refused(tried: &BTreeMap<String, Tried>, user: User) {
    assert!(tried.len() >= 133, "only {} probes ran", tried.len());
    for (probe, tried) in tried {
        let fine = match tried.expected.as_str() {
            "killed" => tried.outcome == "killed",
            _ => tried.outcome == "killed" || tried.outcome == "refused",
        };
        assert!(fine, "{probe} as {user:?}: {}, {}", tried.outcome, tried.detail);
    }
}

/// Returns the users for whom strict mode works on this machine.
fn strict_users(programs: &Programs, what: &str) -> Vec<User> {
    let mut users = users();
    users.retain(|&user| {
        let strict = Doctor::here(programs, user).strict;
        if !strict {
            left_out(what, user, NO_STRICT);
        }
        strict
    });
    users
}

#[test]
fn a_compromised_worker_gets_nothing() {
    let programs = programs();
    for user in strict_users(&programs, "all that a worker could try") {
        assert_all_refused(&programs.attempt(user, &["try"]), user);
    }
}

#[test]
fn a_compromised_worker_with_timers_gets_nothing() {
    let programs = programs();
    for user in strict_users(&programs, "all that a worker with timers could try") {
        assert_all_refused(&programs.attempt(user, &["try", "--timers"]), user);
    }
}

/// Returns the probes that succeeded.
fn through(tried: &BTreeMap<String, Tried>) -> Vec<&str> {
    tried.iter().filter(|(_, tried)| tried.outcome == "succeeded").map(|(name, _)| name.as_str()).collect()
}

#[test]
fn with_a_directory_granted_a_compromised_worker_gets_no_other_file() {
    let programs = programs();
    for user in users() {
        for kind in [&["try", "--dir"][..], &["try", "--dir", "--timers"]] {
            assert_eq!(through(&programs.attempt(user, kind)), [""; 0], "as {user:?}");
        }
    }
}

#[test]
fn with_a_scratch_directory_a_compromised_worker_gets_no_other_file() {
    let programs = programs();
    for user in users() {
        for kind in [&["try", "--scratch"][..], &["try", "--scratch", "--timers"]] {
            assert_eq!(through(&programs.attempt(user, kind)), [""; 0], "as {user:?}");
        }
        // Nor without one of the two layers that keep files away: no path leads out, not by `..` either.
        for without in ["landlock", "namespaces"] {
            let kind = ["try", "--scratch", "--mode", "best-effort", "--without", without];
            let through_files = [
                "open /etc/passwd",
                "open a file by a way up",
                "open above any descriptor",
                "write beside any descriptor",
                "create a file",
            ];
            let tried = programs.attempt(user, &[&kind[..], &through_files[..]].concat());
            assert_eq!(through(&tried), [""; 0], "without {without}, as {user:?}");
        }
    }
}

#[test]
fn with_a_peer_granted_a_compromised_worker_reaches_no_other_port() {
    let programs = programs();
    for user in users() {
        for kind in [&["try", "--peer"][..], &["try", "--peer", "--timers"]] {
            // A socket alone reaches nobody.
            assert_eq!(through(&programs.attempt(user, kind)), ["socket inet"], "as {user:?}");
        }
    }
}

#[test]
fn a_compromised_compiler_gets_nothing_but_what_compiling_takes() {
    let programs = programs();
    for user in strict_users(&programs, "all that a compiler could try") {
        let tried = programs.attempt(user, &["try", "--compile"]);
        // The process loads what it compiled, to describe it. The threads that compile run already.
        assert_eq!(through(&tried), ["make memory executable"], "as {user:?}");
    }
}

#[test]
fn a_worker_that_still_loads_its_task_gets_nothing_but_what_loading_takes() {
    let programs = programs();
    for user in strict_users(&programs, "all that a loading worker could try") {
        let tried = programs.attempt(user, &["try", "--loading"]);
        assert_eq!(through(&tried), ["make memory executable"], "as {user:?}");
        let tried = programs.attempt(user, &["try", "--loading", "--timers"]);
        // The thread that drives the timers is started after the task is loaded.
        assert_eq!(through(&tried), ["a thread", "make memory executable"], "as {user:?}");
    }
}

/// Each line of the table alone refuses the calls on it: without the line, and with all other layers, the call
/// succeeds. Root's workers run as users other than root, which by itself refuses some calls.
#[test]
fn calls_are_refused_by_what_they_are_asked_for() {
    let programs = programs();
    for user in strict_users(&programs, "calls by their arguments") {
        let root = user == User::Own && nix::unistd::geteuid().is_root();
        let mode: &[&str] = if root { &["--mode", "best-effort", "--without", "privileges"] } else { &[] };
        for process in [&[][..], &["--loading"], &["--compile"], &["--peer"], &["--dir"], &["--scratch"]] {
            let tried = programs.attempt(user, &[&["try", "--free"], mode, process].concat());
            assert!(tried.len() >= 38, "only {} probes ran", tried.len());
            for (probe, tried) in &tried {
                assert_eq!(tried.outcome, "succeeded", "{probe} in {process:?} as {user:?}: {}", tried.detail);
            }
        }
    }
}

#[test]
fn in_a_container_a_compromised_worker_gets_nothing() {
    let programs = programs();
    let path = programs.probes.to_str().unwrap();
    for user in users() {
        let strict = Doctor::contained(&programs, user).strict;
        if !strict {
            left_out("strict in a container", user, NO_STRICT);
        }
        for mode in ["strict", "best-effort"].into_iter().skip(usize::from(!strict)) {
            let tried = programs.attempt(user, &["contained", path, "try", "--mode", mode]);
            assert_all_refused(&tried, user);
        }
    }
}

const ALL_LAYERS: &str = "inheritance,death,limits,namespaces,privileges,landlock,seccomp";

/// Checks for each layer that, with only the layers left out that would do the same, it refuses the probe, and that the
/// probe succeeds without it, too. `part` is the part of the layer that refuses it.
fn holds_by_itself(layer: &str, part: &str, others: &[&str], probe: &str, users: &[User]) {
    let programs = programs();
    for &user in users {
        let doctor = Doctor::here(&programs, user);
        let mode = doctor.mode();
        if !doctor.has(part) {
            left_out(&format!("{layer} refuses to {probe}"), user, &format!("there is no `{part}` here"));
            continue;
        }
        assert!(!programs.succeeds(user, mode, &others.join(","), probe), "{layer} refuses to {probe}, as {user:?}");
        if !doctor.whole() && !programs.succeeds(user, mode, ALL_LAYERS, probe) {
            left_out(&format!("without {layer} it can {probe}"), user, "nobody can do that here");
            continue;
        }
        let without = [others, &[layer]].concat().join(",");
        assert!(programs.succeeds(user, mode, &without, probe), "without {layer} it can {probe}, as {user:?}");
    }
}

const DESCRIPTORS: &str = "no descriptors, no environment";
const MEMORY: &str = "limit of memory";
const ADDRESSES: &str = "limit of address space";
const FILTER: &str = "system calls, while loading";
const LANDLOCK_FILES: &str = "Landlock: no files";
const LANDLOCK_TCP: &str = "Landlock: no TCP";
const LANDLOCK_SCOPES: &str = "Landlock: no signals, no abstract sockets";
const LANDLOCK: [&str; 3] = [LANDLOCK_FILES, LANDLOCK_TCP, LANDLOCK_SCOPES];
const EMPTY_ROOT: &str = "empty root directory";
const NETWORK: &str = "network namespace";
const NO_GAIN: &str = "no new privileges";
const NOT_TRACEABLE: &str = "not traceable";
const NOT_ROOT: &str = "not root";

#[test]
fn without_closing_descriptors_a_worker_reads_what_the_host_left_open() {
    holds_by_itself("inheritance", DESCRIPTORS, &[], "read what the host left open", &users());
}

#[test]
fn without_an_empty_environment_a_worker_reads_the_hosts() {
    holds_by_itself("inheritance", DESCRIPTORS, &[], "read the host's environment", &users());
}

#[test]
fn without_limits_a_worker_takes_the_machines_memory() {
    holds_by_itself("limits", MEMORY, &[], "take 64 GiB of memory", &users());
}

#[test]
fn without_limits_a_worker_touches_the_whole_address_space() {
    holds_by_itself("limits", ADDRESSES, &[], "touch 16 TiB of address space", &users());
    // If the filter lets the call pass, the limit still covers memory that does not count as the process's own.
    holds_by_itself("limits", ADDRESSES, &["seccomp"], "share 64 GiB of memory with itself", &users());
}

#[test]
fn without_seccomp_a_worker_makes_executable_memory() {
    holds_by_itself("seccomp", FILTER, &[], "map executable memory", &users());
}

#[test]
fn without_seccomp_a_worker_reaches_the_kernel() {
    for probe in ["a memory file", "add a key", "socket unix", "outlive the host"] {
        holds_by_itself("seccomp", FILTER, &[], probe, &users());
    }
}

#[test]
fn landlock_alone_keeps_files_and_the_network_away() {
    for (probe, part) in [
        ("open /etc/passwd", LANDLOCK_FILES),
        ("create a file", LANDLOCK_FILES),
        ("connect to a loopback port", LANDLOCK_TCP),
        ("connect to an abstract socket", LANDLOCK_SCOPES),
    ] {
        holds_by_itself("landlock", part, &["seccomp", "namespaces"], probe, &users());
    }
}

#[test]
fn landlock_alone_keeps_signals_inside() {
    // Root's workers run as users other than root, so they need no Landlock for that.
    let ordinary = *users().last().unwrap();
    for probe in ["signal the host", "signal another worker"] {
        holds_by_itself("landlock", LANDLOCK_SCOPES, &["seccomp", "namespaces"], probe, &[ordinary]);
    }
}

#[test]
fn namespaces_alone_keep_files_and_the_network_away() {
    for (probe, part) in [
        ("open /etc/passwd", EMPTY_ROOT),
        ("create a file", EMPTY_ROOT),
        ("connect to a loopback port", NETWORK),
        ("connect to an abstract socket", NETWORK),
    ] {
        holds_by_itself("namespaces", part, &["seccomp", "landlock"], probe, &users());
    }
}

#[test]
fn without_dropping_privileges_a_worker_gains_them_and_can_be_traced() {
    for (probe, part) in [("gain privileges by exec", NO_GAIN), ("be traceable", NOT_TRACEABLE)] {
        holds_by_itself("privileges", part, &["seccomp", "landlock", "namespaces"], probe, &users());
    }
}

#[test]
fn without_dropping_privileges_a_worker_of_root_is_root() {
    if nix::unistd::geteuid().is_root() {
        for probe in
            ["change the root", "trace the host", "write the host's memory", "become root", "take capabilities"]
        {
            holds_by_itself("privileges", NOT_ROOT, &["seccomp", "landlock", "namespaces"], probe, &[User::Own]);
        }
    }
}

/// Returns true if a worker that never looks at its socket ends when its host is killed.
fn dies_with_its_host(programs: &Programs, user: User, without: &str) -> bool {
    let mode = Doctor::here(programs, user).mode();
    let mut host = programs
        .probes(user, &["orphan", "--mode", mode, "--without", without])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(host.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid: i32 = line.trim().parse().unwrap();
    // SAFETY: the call takes numbers, and returns a new descriptor.
    let worker = unsafe { OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, pid, 0) as i32) };
    host.kill().unwrap();
    host.wait().unwrap();
    // The kernel signals the worker before the host can be waited for. That a worker lives on is only seen by waiting.
    let patience = PollTimeout::from(if without.is_empty() { 60_000u16 } else { 500 });
    let ended = poll(&mut [PollFd::new(worker.as_fd(), PollFlags::POLLIN)], patience).unwrap() == 1;
    if !ended {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    ended
}

#[test]
fn without_the_death_signal_a_busy_worker_outlives_its_host() {
    let programs = programs();
    for user in users() {
        assert!(dies_with_its_host(&programs, user, ""), "as {user:?}");
        assert!(!dies_with_its_host(&programs, user, "death"), "as {user:?}");
    }
}

/// Runs `wasmpool` in a container, optionally as on a kernel without Landlock.
fn contained(programs: &Programs, user: User, landlock: bool, arguments: &[&str]) -> Output {
    let mut words = vec!["contained"];
    if !landlock {
        words.push("--no-landlock");
    }
    words.push(programs.wasmpool.to_str().unwrap());
    words.extend(arguments);
    programs.probes(user, &words).output().unwrap()
}

/// Returns true if this user can have all namespaces, and a view of the file system of its own, asked of the kernel
/// itself.
fn namespaces_here(user: User) -> bool {
    let mut command = Command::new("true");
    if user == User::Ordinary {
        command.uid(65534).gid(65534);
    }
    let own = if user == User::Own && nix::unistd::geteuid().is_root() { 0 } else { libc::CLONE_NEWUSER };
    let kinds =
        libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP | own;
    // SAFETY: both are system calls, and nothing else happens between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let null = std::ptr::null();
            if libc::unshare(kinds) != 0 || libc::mount(null, c"/".as_ptr(), null, private, null.cast()) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command.status().is_ok_and(|status| status.success())
}

/// Returns the version of Landlock that the kernel reports; 0 if it has none.
fn landlock_here() -> i64 {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call reads no memory.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) }.max(0)
}

#[test]
fn doctor_finds_every_layer_here() {
    let programs = programs();
    for user in users() {
        let doctor = Doctor::here(&programs, user);
        // What the kernel grants must be found: everything else that these tests leave out is left out because `doctor`
        // says so.
        for (part, version) in LANDLOCK.into_iter().zip([1, 4, 6]) {
            assert!(doctor.has(part) || landlock_here() < version, "as {user:?}: {}", doctor.table);
        }
        if namespaces_here(user) {
            assert!(doctor.has(EMPTY_ROOT) && doctor.has(NETWORK), "as {user:?}: {}", doctor.table);
        }
        for (part, _) in doctor.parts.iter().filter(|(_, held)| !**held) {
            left_out(part, user, "there is none here");
            assert!(doctor.table.contains("\nto get the "), "as {user:?}: {}", doctor.table);
        }
        assert_eq!(doctor.strict, !doctor.table.contains("REQUIRED"), "as {user:?}: {}", doctor.table);
    }
}

#[test]
fn in_a_container_doctor_names_namespaces_and_strict_runs() {
    let programs = programs();
    for user in users() {
        let missing = LANDLOCK.into_iter().find(|part| !Doctor::here(&programs, user).has(part));
        if let Some(part) = missing {
            left_out("strict runs in a container", user, &format!("there is no `{part}` here to stand in"));
            continue;
        }
        let doctor = Doctor::contained(&programs, user);
        let table = &doctor.table;
        assert!(doctor.strict, "as {user:?}: {table}");
        for line in table.lines().filter(|line| line.contains("no, not required")) {
            assert!(line.starts_with("namespaces"), "as {user:?}: {line}");
        }
        assert!(table.contains("empty root directory                      no, not required"), "as {user:?}: {table}");
    }
}

fn task(programs: &Programs) -> String {
    let path = programs.probes.with_file_name("task.wat");
    let square = r#"(module (func (export "f") (param i64) (result i64) (i64.mul (local.get 0) (local.get 0))))"#;
    std::fs::write(&path, square).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn strict_refuses_to_run_where_nothing_keeps_files_away() {
    let programs = programs();
    let task = task(&programs);
    for user in users() {
        let doctor = contained(&programs, user, false, &["doctor"]);
        assert_eq!(doctor.status.code(), Some(4), "{}", text(&doctor.stdout));
        let output = contained(&programs, user, false, &["call", &task, "f", "3"]);
        let message = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(4), ""), "{message}");
        assert!(message.contains("landlock") && message.contains("wasmpool doctor"), "{message}");
    }
}

#[test]
fn best_effort_runs_with_what_there_is() {
    let programs = programs();
    let task = task(&programs);
    for user in users() {
        let output = contained(&programs, user, false, &["call", "--sandbox", "best-effort", &task, "f", "3"]);
        assert_eq!(text(&output.stdout), "9\n", "{}", text(&output.stderr));
    }
}

#[test]
fn where_nothing_can_be_mounted_a_scratch_directory_is_refused_with_a_way_out() {
    let programs = programs();
    let task = task(&programs);
    for user in users() {
        for mode in ["best-effort", "off"] {
            let output =
                contained(&programs, user, true, &["call", "--sandbox", mode, "--scratch", "/s", &task, "f", "3"]);
            let message = text(&output.stderr);
            assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{message}");
            assert!(message.contains("--scratch") && message.contains("--dir"), "{message}");
        }
    }
}

/// Runs items some of which make their worker attack the host, and returns the records.
fn attacked(programs: &Programs, name: &str, format: &str) -> Vec<serde_json::Value> {
    let echo = programs.probes.with_file_name("echo.wat");
    std::fs::write(&echo, ECHO).unwrap();
    let item = |i: usize| if i == 5 { format!("\"attack:{name}\"\n") } else { format!("\"{i}\"\n") };
    let input = programs.probes.with_file_name("items.jsonl");
    std::fs::write(&input, (0..40).map(item).collect::<String>()).unwrap();
    let began = Instant::now();
    let output = Command::new(&programs.wasmpool)
        .args(["map", "-v", "-j", "2", "-c", "1", "--timeout", "500ms", "--output-format", format])
        .args([&echo, &input])
        .env_remove("WASMPOOL_SANDBOX")
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{name}: {said}");
    assert!(!said.contains("forged") && !said.contains("--sandbox off") && !said.contains('\x1b'), "{name}: {said}");
    // Whatever the worker does: the time that its items may take, and the start of another worker.
    let most = Duration::from_millis(500) * HELD as u32 + Duration::from_secs(5);
    assert!(began.elapsed() < most * patience(), "{name} held up the run for {:?}", began.elapsed());
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const ECHO: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "echo") (param i32 i32) (result i32)
            (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16)))
    (core instance $i (instantiate $m))
    (func (export "echo") (param "item" string) (result string)
        (canon lift (core func $i "echo") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#;

/// The kind of failure of the item whose worker attacks. A worker may answer the items it holds with anything that has
/// the form of an answer.
const ATTACKS: &[(&str, &str)] = &[
    ("a kind that is none", "worker-lost"),
    ("a length beyond all", "worker-lost"),
    ("several lines", "invalid-output"),
    ("two values", "invalid-output"),
    ("half a value", "invalid-output"),
    ("lengths that lie", "invalid-output"),
    ("bytes that are no text", "invalid-output"),
    ("members that no failure has", "worker-lost"),
    ("a trace without end", "worker-lost"),
    ("a byte now and then", "timeout"),
    ("starts without end", "timeout"),
    ("a failure that is none", "worker-lost"),
    ("a failure of several lines", "worker-lost"),
    ("two answers", "ok"),
    ("endless answers", "ok"),
    ("an answer without end", "timeout"),
    ("a part of no value", "worker-lost"),
    ("crumbs without end", "worker-lost"),
    ("output from nowhere", "worker-lost"),
    ("output taken back", "worker-lost"),
    ("input from nowhere", "worker-lost"),
    ("a claim to more", "timeout"),
    ("bytes that change", "ok"),
    ("no bell", "timeout"),
    ("words that are none", "worker-lost"),
    ("ready again", "worker-lost"),
    ("unusable", "worker-lost"),
    ("unprotected", "worker-lost"),
    ("bad artifact", "worker-lost"),
    ("uninitialised", "worker-lost"),
    ("entered again", "worker-lost"),
    ("loaded again", "worker-lost"),
    ("a message beyond all", "worker-lost"),
    ("messages without end", "worker-lost"),
    ("descriptors", "worker-lost"),
    ("bells without end", "worker-lost"),
    ("hanging up", "worker-lost"),
];

/// Returns a factor for time limits on a machine that is busy with other things, from the number of tests that run at
/// the same time.
fn patience() -> u32 {
    let busy = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = busy.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    1 + (load / std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64)) as u32
}

/// Number of chunks that a worker holds at a time: it can answer one in place of another, or let them wait until it is
/// killed.
const HELD: usize = 2;

#[test]
fn a_worker_that_attacks_the_host_costs_the_item_in_work_and_nothing_else() {
    let programs = programs();
    for &(name, kind) in ATTACKS {
        let records = attacked(&programs, name, "records");
        let mut spoilt = Vec::new();
        assert_eq!(records.len(), 40, "{name}");
        for (i, record) in records.iter().enumerate() {
            assert_eq!(record["index"], i, "{name}");
            let ended = if record["status"] == "ok" { "ok" } else { record["kind"].as_str().unwrap() };
            if i == 5 {
                assert_eq!(ended, kind, "{name}: {record}");
            } else if (ended, record["value"].as_str()) != ("ok", Some(i.to_string().as_str())) {
                spoilt.push(record);
            }
        }
        // Items that the worker holds may be lost with it: answers that were not received yet, and those to come.
        let most = if kind == "invalid-output" { 0 } else { HELD };
        assert!(spoilt.len() <= most, "{name} spoilt {spoilt:?}");
    }
}

#[test]
fn a_worker_that_attacks_the_host_forges_no_line_of_values() {
    let programs = programs();
    for name in ["several lines", "two values", "half a value", "lengths that lie"] {
        let values = attacked(&programs, name, "values");
        assert_eq!(values.len(), 39, "{name}: {values:?}");
    }
}
