//! Restrictions of shells, services and containers: `doctor` finds them, the error of a run names them, and what is not
//! essential is done without.

use super::*;

/// Runs `wasmpool` in emulated surroundings.
fn in_these(programs: &Programs, user: User, settings: &[&str], arguments: &[&str]) -> Output {
    let wasmpool = programs.wasmpool.to_str().unwrap();
    programs.probes(user, &[&["emulated"], settings, &[wasmpool], arguments].concat()).output().unwrap()
}

/// Returns true if strict mode works on this machine when nothing is taken away.
fn runs_here(programs: &Programs, user: User) -> bool {
    let strict = Doctor::here(programs, user).strict;
    if !strict {
        left_out("other surroundings", user, NO_STRICT);
    }
    strict
}

/// Checks that a run is refused, and that its message and `doctor` each contain these words. No result is printed.
fn refused(settings: &[&str], users: &[User], words: &[&str], doctors: &[&str]) {
    let programs = programs();
    let task = task(&programs);
    for &user in users.iter().filter(|user| runs_here(&programs, **user)) {
        let output = in_these(&programs, user, settings, &["call", &task, "f", "3"]);
        let message = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{settings:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{settings:?} as {user:?} does not say {word}: {message}");
        }
        let output = in_these(&programs, user, settings, &["doctor"]);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_ne!(output.status.code(), Some(0), "{settings:?}: {said}");
        for word in doctors {
            assert!(said.contains(word), "doctor does not say {word}, {settings:?} as {user:?}: {said}");
        }
    }
}

/// Checks that a run succeeds, and that `doctor` reports these words.
fn runs(settings: &[&str], users: &[User], doctors: &[&str]) {
    let programs = programs();
    let task = task(&programs);
    for &user in users.iter().filter(|user| runs_here(&programs, **user)) {
        let output = in_these(&programs, user, settings, &["call", &task, "f", "3"]);
        assert_eq!(text(&output.stdout), "9\n", "{settings:?} as {user:?}: {}", text(&output.stderr));
        let output = in_these(&programs, user, settings, &["doctor"]);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{settings:?} as {user:?}: {said}");
        for word in doctors {
            assert!(said.contains(word), "doctor does not say {word}, {settings:?} as {user:?}: {said}");
        }
    }
}

/// Returns root, if it may change what is mounted.
fn root() -> Vec<User> {
    if nix::unistd::geteuid().is_root() && namespaces_here(User::Own) { vec![User::Own] } else { Vec::new() }
}

#[test]
fn memory_that_may_not_be_executed_is_named() {
    // PR_SET_MDWE exists since Linux 6.3.
    // SAFETY: the call takes numbers.
    let known = unsafe { libc::prctl(66, 0, 0, 0, 0) } >= 0;
    let settings: &[&str] = if known { &["--mdwe", "--no-executable-memory"] } else { &["--no-executable-memory"] };
    for setting in settings {
        let words = ["executable", "MemoryDenyWriteExecute"];
        refused(&[setting], &users(), &words, &words);
    }
}

#[test]
fn a_task_that_was_compiled_before_names_it_too() {
    let programs = programs();
    let task = task(&programs);
    let cache = programs.probes.with_file_name("cache");
    let run = |settings: &[&str]| {
        let wasmpool = programs.wasmpool.to_str().unwrap();
        let words = [&["emulated"], settings, &[wasmpool, "call", &task, "f", "3"]].concat();
        programs.probes(User::Own, &words).env("WASMPOOL_CACHE_DIR", &cache).output().unwrap()
    };
    assert_eq!(text(&run(&[]).stdout), "9\n");
    let output = run(&["--no-executable-memory"]);
    let message = text(&output.stderr);
    assert!(output.status.code() == Some(2) && message.contains("MemoryDenyWriteExecute"), "{message}");
}

#[test]
fn a_call_that_nothing_works_without_is_named() {
    for call in ["memfd_create", "pidfd_open"] {
        for errno in ["ENOSYS", "EPERM"] {
            refused(&["--refuse", &format!("{call}={errno}")], &users(), &[call], &[call]);
        }
    }
}

#[test]
fn where_there_is_no_proc_that_is_said() {
    refused(&["--no-proc"], &root(), &["there is no /proc"], &["there is no /proc"]);
}

#[test]
fn what_can_be_done_without_is_done_without() {
    for errno in ["ENOSYS", "EPERM"] {
        runs(&["--refuse", &format!("close_range={errno}")], &users(), &[]);
    }
    runs(&["--no-null"], &root(), &[]);
    runs(&["--read-only"], &root(), &[]);
}

#[test]
fn without_close_range_descriptors_are_closed_all_the_same() {
    let programs = programs();
    for user in users() {
        let path = programs.probes.to_str().unwrap();
        let mode = Doctor::here(&programs, user).mode();
        let probe = "read what the host left open";
        let words = ["emulated", "--refuse", "close_range=EPERM", path, "try", "--mode", mode, probe];
        let tried = programs.attempt(user, &words);
        assert_eq!(tried[probe].outcome, "refused", "as {user:?}");
    }
}

#[test]
fn a_limit_of_the_shell_that_lets_nothing_run_is_named() {
    for (limit, option) in [
        ("s=65536", "ulimit -s"),
        ("s=524288", "ulimit -s"),
        ("v=400000000", "ulimit -v"),
        ("v=3000000000", "ulimit -v"),
    ] {
        refused(&["--limit", limit], &users(), &[option], &[option]);
    }
}

#[test]
fn a_limit_of_the_shell_that_a_run_meets_is_named() {
    let programs = programs();
    let task = task(&programs);
    let ordinary = *users().last().unwrap();
    for (limit, option, user) in [
        ("f=0", "ulimit -f", ordinary),
        ("f=4096", "ulimit -f", ordinary),
        ("f=102400", "ulimit -f", ordinary),
        ("n=6", "ulimit -n", ordinary),
        ("n=9", "ulimit -n", ordinary),
        ("d=3000000", "ulimit -d", ordinary),
    ] {
        let output = in_these(&programs, user, &["--limit", limit], &["call", &task, "f", "3"]);
        let message = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{limit}: {message}");
        assert!(message.contains(option), "{limit}: {message}");
        let output = in_these(&programs, user, &["--limit", limit], &["doctor"]);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains(option), "doctor does not say {option} of {limit}: {said}");
    }
}

#[test]
fn a_limit_of_processes_is_named() {
    let ordinary = *users().last().unwrap();
    if ordinary == User::Own && nix::unistd::geteuid().is_root() {
        return;
    }
    refused(&["--limit", "u=1"], &[ordinary], &["ulimit -u", "pids.max"], &["ulimit -u"]);
}

#[test]
fn limits_of_the_shell_that_leave_room_let_it_run_and_doctor_tells_of_them() {
    for (limit, option) in [
        ("s=2097152", ""),
        ("v=12000000000", "ulimit -v"),
        ("f=50000000", "ulimit -f"),
        ("n=40", "ulimit -n"),
        ("d=300000000", "ulimit -d"),
    ] {
        runs(&["--limit", limit], &users(), &[option]);
    }
}

/// System calls by which host and worker communicate and record what was done; each is made to fail from time to time.
const FAILING: [&str; 12] = [
    "sendto=ENOBUFS/3",
    "sendto=EINTR/2",
    "sendto=ENOMEM/5",
    "sendmsg=ENOBUFS/2",
    "sendmsg=EINTR/3",
    "recvmsg=EINTR/2",
    "recvmsg=ENOMEM/3",
    "recvfrom=EINTR/2",
    "recvfrom=ENOBUFS/3",
    "flock=EINTR/2",
    "flock=ENOLCK/3",
    "write=EINTR/2",
];

#[test]
fn calls_that_fail_for_a_moment_are_tried_again_and_no_bell_is_lost() {
    let programs = programs();
    let task = task(&programs);
    let folder = programs.probes.with_file_name("failing");
    let all: Vec<&str> = FAILING.iter().flat_map(|failing| ["--failing", failing]).collect();
    let each = FAILING.iter().map(|failing| vec!["--failing", failing]);
    for (nth, settings) in each.chain([all]).enumerate() {
        let place = folder.with_extension(nth.to_string());
        std::fs::create_dir(&place).unwrap();
        let input: String = (0..300).map(|n| format!("{n}\n")).collect();
        std::fs::write(place.join("in.jsonl"), input).unwrap();
        let at = |name: &str| place.join(name).to_str().unwrap().to_owned();
        let (input, output, journal, cache) = (at("in.jsonl"), at("out"), at("journal"), at("cache"));
        // Small chunks and short-lived workers make many messages.
        let map = ["map", &task, &input, "-j", "2", "-c", "3", "--max-items-per-worker", "40"];
        let arguments = [&map[..], &["-o", &output, "--journal", &journal]].concat();
        let wasmpool = programs.wasmpool.to_str().unwrap();
        let words = [&["emulated"], &settings[..], &[wasmpool], &arguments].concat();
        let mut command = programs.probes(User::Own, &words);
        let ended = command.env("WASMPOOL_CACHE_DIR", cache).output().unwrap();
        let message = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{settings:?}: {message}");
        let results: Vec<u64> =
            std::fs::read_to_string(&output).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(results, (0..300).map(|n| n * n).collect::<Vec<u64>>(), "{settings:?}: {message}");
    }
}

#[test]
fn in_a_container_on_a_kernel_whose_landlock_knows_no_network_strict_runs() {
    let programs = programs();
    let task = task(&programs);
    let (probes, wasmpool) = (programs.probes.to_str().unwrap(), programs.wasmpool.to_str().unwrap());
    for user in users() {
        if landlock_here() < 1 {
            left_out("strict in a container on an older kernel", user, "there is no Landlock here");
            continue;
        }
        for version in ["1", "3"] {
            let older = ["emulated", "--landlock", version, probes, "contained"];
            let run = |words: &[&str]| programs.probes(user, &[&older, words].concat()).output().unwrap();
            let doctor = run(&[wasmpool, "doctor"]);
            let table = text(&doctor.stdout);
            assert_eq!(
                doctor.status.code(),
                Some(0),
                "Landlock {version} as {user:?}: {table}{}",
                text(&doctor.stderr)
            );
            for part in ["Landlock: no TCP ", "network namespace "] {
                let line = table.lines().find(|line| line.contains(part)).unwrap();
                assert!(line.contains("no, not required"), "Landlock {version} as {user:?}: {line}");
            }
            let output = run(&[wasmpool, "call", &task, "f", "3"]);
            assert_eq!(text(&output.stdout), "9\n", "{}", text(&output.stderr));
            let tried = programs.attempt(user, &[&older, &[probes, "try"][..]].concat());
            assert_all_refused(&tried, user);
            // A granted peer requires sockets: nothing would restrict a worker to its port.
            let output = run(&[wasmpool, "call", "--allow-net", "127.0.0.1:9", &task, "f", "3"]);
            let message = text(&output.stderr);
            assert!(output.status.code() == Some(4) && message.contains("Landlock: no TCP"), "{message}");
        }
    }
}

/// A cgroup with a memory limit, if these tests may make one. It is removed when dropped.
struct Group(PathBuf);

impl Group {
    fn new(bytes: u64) -> Option<Group> {
        let name = format!("wasmpool-test-{}", std::process::id());
        let kinds = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        kinds.into_iter().find_map(|(root, file)| {
            let group = Group(Path::new(root).join(&name));
            std::fs::create_dir(&group.0).ok()?;
            std::fs::write(group.0.join(file), bytes.to_string()).ok()?;
            Some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn doctor_tells_of_a_cgroup_that_limits_the_memory_of_all() {
    let programs = programs();
    let Some(group) = Group::new(3 << 30) else {
        left_out("a limit of a cgroup", User::Own, "none can be made here");
        return;
    };
    let mut command = Command::new("sh");
    let script = "echo $$ > \"$1/cgroup.procs\" && exec \"$2\" doctor";
    let output = command.args(["-c", script, "sh"]).arg(&group.0).arg(&programs.wasmpool).output().unwrap();
    let said = text(&output.stdout);
    assert!(said.contains("memory of all workers together: at most 3 GiB"), "{said}{}", text(&output.stderr));
}
