//! A single process, by the promises of Python's `multiprocessing.Process`.
//!
//! Some of them mean nothing here: a process cannot be used before its start, or started twice, since the builder's
//! `start` gives the handle; a guest sees nothing of its parent, and starts no processes; what is passed at the start is
//! written once and kept by nobody. That a process gets no descriptors but its own is tested for all workers in
//! `python::spawn_inherits_nothing` and by the sandbox's tests.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use wasmpool::{Bytes, Error, FailureKind, Process, ProcessBuilder, ProcessRole, Task, active_children};

use crate::support::{
    DIVIDE, ECHO, INNER, OFFSET, POWER, SPIN, SQUARES, TWO, Worker, again, alone, beside_others, until, workers,
};

/// `leave(u32) -> u32`: ends with `exit`, successfully if it is given 0.
const EXIT: &str = r#"
(component
  (import "wasi:cli/exit@0.2.0" (instance $cli (export "exit" (func (param "status" (result))))))
  (core func $exit (canon lower (func $cli "exit")))
  (core module $m
    (import "" "exit" (func $exit (param i32)))
    (func (export "leave") (param i32) (result i32) (call $exit (local.get 0)) (i32.const 7)))
  (core instance $i (instantiate $m (with "" (instance (export "exit" (func $exit))))))
  (func (export "leave") (param "how" u32) (result u32) (canon lift (core func $i "leave"))))"#;

/// `who() -> option<string>`: the name of its process.
const NAME: &str = r#"
(component
  (import "wasmpool:shared/self@0.1.0" (instance $self (export "name" (func (result (option string))))))
  (core module $memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $own (instantiate $memory))
  (alias core export $own "memory" (core memory $mem))
  (alias core export $own "realloc" (core func $realloc))
  (core func $name (canon lower (func $self "name") (memory $mem) (realloc $realloc)))
  (core module $m
    (import "" "name" (func $name (param i32)))
    (func (export "who") (result i32) (call $name (i32.const 16)) (i32.const 16)))
  (core instance $i (instantiate $m (with "" (instance (export "name" (func $name))))))
  (func (export "who") (result (option string)) (canon lift (core func $i "who") (memory $mem))))"#;

fn process(task: impl Into<Task>) -> ProcessBuilder {
    Process::builder(task).worker_binary(env!("CARGO_BIN_EXE_wasmpool"))
}

fn endless() -> Process {
    process(SPIN).args(-1).start().unwrap()
}

fn is_listed(process: &Process) -> bool {
    active_children().iter().any(|child| child.pid == process.pid())
}

fn kind(process: &Process) -> FailureKind {
    match process.join().unwrap().failure() {
        Some(Error::Item(e)) => e.kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_started_process_is_alive_has_a_pid_and_is_listed_and_an_ended_one_is_not() {
    let _alone = alone();
    let process = endless();
    assert!(process.is_alive() && process.exitcode().is_none() && process.exit().is_none());
    assert_eq!(workers(), [Worker(process.pid() as i32)]);
    assert!(is_listed(&process));
    process.kill();
    process.join().unwrap();
    assert!(!process.is_alive() && !is_listed(&process) && workers().is_empty());
    assert_eq!(process.exitcode(), Some(-9));
}

#[test]
fn a_builder_that_is_started_again_has_the_next_process_wait() {
    let _alone = alone();
    let builder = process(SQUARES);
    let square = |n: i64| {
        let process = builder.clone().args(n).start().unwrap();
        assert_eq!(process.result::<i64>().unwrap(), n * n);
        process.pid()
    };
    let waiting = || until("the process that waits", || workers().first().copied());
    square(3);
    assert!(workers().is_empty() && active_children().is_empty());
    square(4);
    let ahead = waiting();
    assert!(active_children().is_empty());
    assert_eq!(square(5), ahead.0 as u32);
    // Whatever becomes of the one that waits, there is a process.
    let lost = waiting();
    lost.kill();
    until("the end of the one that waited", || (!lost.lives()).then_some(()));
    assert_ne!(square(6), lost.0 as u32);
    // One that is started with other rights is not the one that waited.
    let other = waiting();
    let with_more = builder.clone().args(7).grant_scratch("/tmp").start().unwrap();
    assert_eq!((with_more.result::<i64>().unwrap(), with_more.pid() == other.0 as u32), (49, false));
    // Processes outlive the builder and the one that waits.
    let running = process(SPIN);
    let (first, second, third) = {
        let start = || running.clone().args(-1).start().unwrap();
        (start(), start(), start())
    };
    drop(running);
    drop(builder);
    until("the end of what waited", || (workers().len() == 3).then_some(()));
    assert!(first.is_alive() && second.is_alive() && third.is_alive());
}

#[test]
fn args_and_keywords_arrive_as_given() {
    let _beside = beside_others();
    assert_eq!(process(POWER).args((2, 10)).start().unwrap().result::<i64>().unwrap(), 1024);
    assert_eq!(process(POWER).args(2).bind("exponent", &3).start().unwrap().result::<i64>().unwrap(), 8);
    assert_eq!(process(POWER).bind("exponent", &3).bind("base", &5).start().unwrap().result::<i64>().unwrap(), 125);
    assert_eq!(process(TWO).function("negate").args(4).start().unwrap().result::<i64>().unwrap(), -4);
    assert_eq!(process(OFFSET).init(&100).args(1).start().unwrap().result::<i64>().unwrap(), 101);
    let long = "x".repeat(1 << 20);
    let echoed = process(ECHO).args(wasmpool::Bytes(&long)).start().unwrap().result::<String>().unwrap();
    // As JSON, bytes are in base64.
    assert!(echoed.len() > 4 * long.len() / 3 && echoed.starts_with("eHh4"));
    let echo = process(ECHO).args(Bytes(b"a\0b")).start().unwrap();
    assert_eq!(echo.result::<Bytes>().unwrap(), Bytes::from(b"a\0b".to_vec()));
    assert_eq!(echo.result::<String>().unwrap(), "YQBi");
    let wrong = process(SQUARES).args("no number").start().unwrap();
    assert_eq!((kind(&wrong), wrong.exitcode()), (FailureKind::InvalidInput, Some(1)));
}

#[test]
fn the_name_is_the_given_one_or_process_n() {
    let _beside = beside_others();
    let number = |name: &str| -> u64 { name.strip_prefix("Process-").unwrap().parse().unwrap() };
    let first = process(SQUARES).args(3).name("").start().unwrap();
    let named = process(SQUARES).args(3).name("a name").start().unwrap();
    let last = process(SQUARES).args(3).start().unwrap();
    assert_eq!(named.name(), "a name");
    // Others may be started meanwhile; the one with a name counts, too.
    assert!(number(last.name()) >= number(first.name()) + 2);
}

#[test]
fn a_guest_sees_the_name_that_was_given() {
    let _beside = beside_others();
    let who = |process: ProcessBuilder| process.start().unwrap().result::<Option<String>>().unwrap();
    assert_eq!(who(process(NAME.as_bytes()).name("the counter")).as_deref(), Some("the counter"));
    assert_eq!(who(process(NAME.as_bytes())), None);
}

#[test]
fn join_waits_as_long_as_it_may_and_says_whether_the_process_has_ended() {
    let _beside = beside_others();
    let process = endless();
    assert!(process.join_timeout(Duration::ZERO).unwrap().is_none());
    let start = Instant::now();
    assert!(process.join_timeout(Duration::from_millis(100)).unwrap().is_none());
    assert!(start.elapsed() >= Duration::from_millis(100) && process.is_alive());
    process.terminate();
    for _ in 0..2 {
        assert_eq!(process.join().unwrap().exitcode(), Some(-15));
        assert_eq!(process.join_timeout(Duration::MAX).unwrap().unwrap().exitcode(), Some(-15));
    }
}

#[test]
fn the_exit_code_says_how_it_ended_and_the_failure_why() {
    let _beside = beside_others();
    let fine = process(SQUARES).args(3).start().unwrap();
    assert!(fine.join().unwrap().failure().is_none() && fine.exitcode() == Some(0));
    assert_eq!(fine.result::<i64>().unwrap(), 9);
    assert!(matches!(fine.result::<String>(), Err(Error::Item(e)) if e.kind == FailureKind::InvalidOutput));
    let trap = process(DIVIDE).args((1, 0)).start().unwrap();
    assert_eq!((kind(&trap), trap.exitcode()), (FailureKind::Trap, Some(1)));
    match trap.result::<i64>() {
        Err(Error::Item(e)) => assert!(!e.trace.is_empty() && e.message.contains("divide by zero"), "{e:?}"),
        other => panic!("{other:?}"),
    }
    for (how, code) in [(0, 0), (1, 1)] {
        let left = process(EXIT.as_bytes()).args(how).start().unwrap();
        assert_eq!((kind(&left), left.exitcode()), (FailureKind::Exit, Some(code)));
    }
    let late = process(SPIN).args(-1).timeout(Duration::from_millis(100)).start().unwrap();
    assert_eq!((kind(&late), late.exitcode()), (FailureKind::Timeout, Some(-9)));
    let greedy = process(SPIN).args(-1).fuel(10_000).start().unwrap();
    assert_eq!((kind(&greedy), greedy.exitcode()), (FailureKind::Fuel, Some(1)));
    let nameless = process(SQUARES).function("cube").start().unwrap();
    let exit = nameless.join().unwrap();
    assert!(matches!(exit.failure(), Some(Error::Task(e)) if e.to_string().contains("cube")));
    assert_eq!(exit.exitcode(), Some(1));
}

#[test]
fn a_process_that_somebody_else_kills_says_by_which_signal() {
    let _beside = beside_others();
    let process = endless();
    let start = Instant::now();
    // Both while it starts and while it runs.
    while start.elapsed() < Duration::from_millis(20) {
        std::hint::spin_loop();
    }
    Worker(process.pid() as i32).kill();
    assert_eq!((kind(&process), process.exitcode()), (FailureKind::WorkerLost, Some(-9)));
    let young = endless();
    Worker(young.pid() as i32).kill();
    assert_eq!((kind(&young), young.exitcode()), (FailureKind::WorkerLost, Some(-9)));
}

#[test]
fn terminate_and_kill_work_at_any_moment_of_many_processes() {
    let _alone = alone();
    let processes: Vec<Process> =
        (0..100).map(|i| process(SPIN).args(if i % 2 == 0 { -1 } else { 1 })).map(|p| p.start().unwrap()).collect();
    let pids: BTreeSet<u32> = processes.iter().map(Process::pid).collect();
    for (i, process) in processes.iter().enumerate() {
        if i % 3 == 0 {
            process.terminate()
        } else {
            process.kill()
        }
        process.kill();
    }
    for (i, process) in processes.iter().enumerate() {
        let code = process.join().unwrap().exitcode().unwrap();
        let asked = if i % 3 == 0 { -15 } else { -9 };
        assert!(code == asked || (code == 0 && i % 2 == 1), "process {i}: {code}");
        // After the end they do nothing.
        process.kill();
        process.terminate();
        assert_eq!(process.exitcode(), Some(code));
    }
    assert_eq!(workers(), []);
    assert!(!active_children().iter().any(|child| pids.contains(&child.pid)));
}

#[test]
fn dropping_a_daemon_kills_it_and_dropping_another_waits_for_it() {
    let _alone = alone();
    let daemon = endless();
    let worker = Worker(daemon.pid() as i32);
    assert!(daemon.is_daemon());
    drop(daemon);
    assert!(!worker.lives());
    let (sender, told) = std::sync::mpsc::channel();
    let other = process(SPIN).args(-1).daemon(false).start().unwrap();
    let worker = Worker(other.pid() as i32);
    let dropper = std::thread::spawn(move || {
        drop(other);
        sender.send(()).unwrap();
    });
    assert!(told.recv_timeout(Duration::from_millis(100)).is_err() && worker.lives());
    worker.kill();
    dropper.join().unwrap();
    assert_eq!(workers(), []);
}

#[test]
fn the_sentinel_is_readable_once_the_process_has_ended() {
    let _beside = beside_others();
    let process = endless();
    let ready = |timeout: PollTimeout| poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout).unwrap();
    assert_eq!(ready(PollTimeout::from(20u8)), 0);
    process.kill();
    assert_eq!(ready(PollTimeout::NONE), 1);
    assert_eq!((process.is_alive(), process.exitcode()), (false, Some(-9)));
    assert_eq!(ready(PollTimeout::NONE), 1, "it stays so");
}

#[test]
fn close_is_refused_while_the_process_runs() {
    let _beside = beside_others();
    let process = endless().close().unwrap_err();
    assert!(process.is_alive());
    process.kill();
    process.join().unwrap();
    assert!(process.close().is_ok());
}

#[test]
fn active_children_are_those_that_run_in_the_order_of_their_starts() {
    let _alone = alone();
    let names = || -> Vec<String> { active_children().into_iter().filter_map(|child| child.name).collect() };
    let [first, second] = ["first", "second"].map(|name| process(SPIN).args(-1).name(name).start().unwrap());
    assert_eq!(names(), ["first", "second"]);
    let child = &active_children()[0];
    assert_eq!((child.pid, child.role, child.item), (first.pid(), ProcessRole::Process, None));
    first.kill();
    first.join().unwrap();
    assert_eq!(names(), ["second"]);
    drop(second);
    assert!(names().is_empty());
}

#[test]
fn a_process_has_no_more_descriptors_the_more_processes_there_are() {
    let _alone = alone();
    let processes: Vec<Process> = (0..10).map(|_| endless()).collect();
    let descriptors = |process: &Process| fs::read_dir(format!("/proc/{}/fd", process.pid())).ok().map(Iterator::count);
    let (first, last) = (&processes[0], &processes[9]);
    until("both are in their sandbox, or none can be looked at", || {
        (descriptors(first) == descriptors(last)).then_some(())
    });
}

#[test]
fn a_start_that_is_not_possible_is_an_error_and_leaves_no_process() {
    let _alone = alone();
    assert!(matches!(process("/nowhere/at/all.wasm").start(), Err(Error::Task(_))));
    assert!(matches!(process(&b"no wasm"[..]).start(), Err(Error::Task(_))));
    assert!(matches!(process(SQUARES).grant_dir("/nowhere/at/all", "/data", false).start(), Err(Error::Grant(_))));
    assert_eq!(workers(), []);
    assert!(active_children().is_empty());
}

#[test]
fn a_program_that_ignores_the_end_of_its_children_has_processes() {
    if env::var_os(INNER).is_none() {
        let _beside = beside_others();
        return again("process::a_program_that_ignores_the_end_of_its_children_has_processes", |_| {});
    }
    // SAFETY: ignoring a signal runs no code of this program.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
    assert_eq!(process(SQUARES).args(3).start().unwrap().join().unwrap().exitcode(), Some(0));
    let killed = endless();
    killed.kill();
    assert_eq!(killed.join().unwrap().exitcode(), Some(-9));
    let lost = endless();
    Worker(lost.pid() as i32).kill();
    // Nobody knows how it ended.
    assert_eq!((kind(&lost), lost.exitcode()), (FailureKind::WorkerLost, None));
}

#[test]
fn a_process_that_is_forked_off_leaves_those_of_its_parent_alone() {
    let _alone = alone();
    let process = endless();
    // SAFETY: the child looks at the handle, which is what is tested, and then ends without returning to the harness.
    let child = match unsafe { libc::fork() } {
        0 => {
            process.kill();
            let told =
                !process.is_alive() && matches!(process.join(), Err(Error::Forked)) && process.exitcode().is_none();
            drop(process);
            // SAFETY: the call ends the process.
            unsafe { libc::_exit(i32::from(!told)) }
        }
        child => Pid::from_raw(child),
    };
    assert_eq!(waitpid(child, None), Ok(nix::sys::wait::WaitStatus::Exited(child, 0)));
    assert!(process.is_alive() && Worker(process.pid() as i32).lives());
}
