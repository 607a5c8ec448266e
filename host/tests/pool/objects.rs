//! Shared objects from the program's side, each promise with tasks as the other side. What the objects themselves promise
//! is tested in `host/crates/objects`, and what each method does, by the example in its documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use wasmpool::{
    Bytes, Error, FailureKind, Function, Manager, ObjectErrorKind, Pool, PoolBuilder, Process, ProcessBuilder,
};

use crate::support::{SQUARES, Worker, alone, beside_others, builder, until, workers};

/// A guest that follows orders to shared objects: see `guest/fixtures/shared`.
pub const SHARED: &str = "../guest/target/wasm32-wasip2/release/shared.wasm";

/// Longer than any test should wait.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn manager() -> Manager {
    Manager::builder().worker_binary(env!("CARGO_BIN_EXE_wasmpool")).build()
}

/// A process that follows orders.
pub fn ordered(orders: &str) -> ProcessBuilder {
    Process::builder(SHARED).worker_binary(env!("CARGO_BIN_EXE_wasmpool")).function("act").args(orders)
}

pub fn obeying() -> PoolBuilder {
    builder(SHARED).function("act").workers(2)
}

fn act(pool: &Function, orders: &str) -> String {
    pool.apply(orders).unwrap()
}

fn answer(process: &Process) -> String {
    process.result().unwrap()
}

pub fn kind<T>(result: Result<T, Error>) -> ObjectErrorKind {
    match result {
        Err(Error::Object(e)) => e.kind,
        Err(e) => panic!("{e:?}"),
        Ok(_) => panic!("it should have been refused"),
    }
}

#[test]
fn what_a_task_puts_the_program_gets_and_the_other_way_round_as_json() {
    let _beside = beside_others();
    let pool = obeying().build().unwrap();
    let jobs = pool.queue::<(String, Vec<i64>)>("jobs", 10).unwrap();
    let raw = pool.queue::<Bytes>("raw", 10).unwrap();
    let seen = pool.dict::<f64>("seen").unwrap();
    jobs.put(("a".to_owned(), vec![1, 2])).unwrap();
    raw.put(Bytes(b"as_it_is".to_vec())).unwrap();
    seen.set("not a number", f64::NAN).unwrap();
    let answer: String = pool.apply("get jobs - ; get raw - ; put jobs [\"b\",[3]] - ; dict-set seen x 0.5").unwrap();
    assert!(answer.starts_with("[\"a\",[1,2]] as_it_is ok "), "{answer}");
    assert_eq!(jobs.get().unwrap(), ("b".to_owned(), vec![3]));
    assert_eq!(seen.get("x").unwrap(), Some(0.5));
    assert!(seen.get("not a number").unwrap().unwrap().is_nan());
}

/// Row 0.13.
#[test]
fn a_message_that_cannot_be_written_is_an_error_of_who_puts_it() {
    let _beside = beside_others();
    let manager = manager();
    // Keys of JSON are texts.
    let jobs = manager.queue::<BTreeMap<(u8, u8), u8>>("jobs", 1).unwrap();
    let refused = jobs.put(BTreeMap::from([((1, 2), 3)]));
    assert!(matches!(refused, Err(Error::Object(e)) if matches!(e.kind, ObjectErrorKind::Unwritable(_))));
    // It costs no room.
    assert!(jobs.is_empty().unwrap());
    jobs.try_put(BTreeMap::new()).unwrap();
}

#[test]
fn a_message_of_another_type_is_an_error_and_gone() {
    let _beside = beside_others();
    let pool = obeying().build().unwrap();
    let jobs = pool.queue::<i64>("jobs", 10).unwrap();
    pool.apply::<_, String>("put jobs word - ; put jobs 3 -").unwrap();
    assert!(matches!(kind(jobs.get()), ObjectErrorKind::Unreadable(_)));
    assert_eq!(jobs.get().unwrap(), 3);
    pool.apply::<_, String>("put jobs word - ; put jobs 4 - ; shutdown jobs").unwrap();
    let all: Vec<Result<i64, Error>> = jobs.iter().collect();
    assert!(matches!(&all[..], [Err(Error::Object(_)), Ok(4)]), "{all:?}");
}

#[test]
fn additions_of_many_workers_are_exact() {
    let _beside = beside_others();
    let pool = builder(SHARED).function("count").workers(4).build().unwrap();
    let total = pool.value("total", 0i64).unwrap();
    let results = pool.map_async::<_, i64>([("total", 100_000); 8]).unwrap();
    for _ in 0..100_000 {
        total.add(1).unwrap();
    }
    results.get().unwrap();
    assert_eq!(total.load().unwrap(), 900_000);
}

#[test]
fn a_task_reaches_only_what_it_was_given_with_the_rights_that_it_was_given() {
    let _beside = beside_others();
    let manager = manager();
    let jobs = manager.queue::<i64>("jobs", 10).unwrap();
    let total = manager.value("total", 7i64).unwrap();
    let seen = manager.dict::<i64>("seen").unwrap();
    let pool = obeying().build().unwrap();
    let nothing = act(&pool.function("act"), "??size jobs");
    assert!(nothing.starts_with("not-granted=") && nothing.contains("share"), "{nothing}");
    let putting = pool.share(jobs.put_only()).share(total.read_only());
    assert_eq!(act(&putting, "put jobs 1 - ; load total"), "ok 7");
    let refused = act(&putting, "?get jobs 0 ; ?store total 8 ; ?dict-length seen");
    assert_eq!(refused, "denied denied not-granted");
    let reading = pool.share(jobs.get_only()).share(seen.read_only());
    assert_eq!(act(&reading, "get jobs - ; ?put jobs 2 - ; ?dict-set seen a 1"), "1 denied denied");
    assert_eq!((total.load().unwrap(), seen.len().unwrap(), jobs.size().unwrap()), (7, 0, 0));
}

#[test]
fn pools_and_processes_share_what_one_manager_has() {
    let _beside = beside_others();
    let manager = manager();
    let line = manager.queue::<i64>("line", 0).unwrap();
    let pools = [1, 2].map(|_| obeying().manager(&manager).build().unwrap());
    pools[0].apply::<_, String>("put line 1 -").unwrap();
    assert_eq!(pools[1].apply::<_, String>("get line - ; put line 2 -").unwrap(), "1 ok");
    assert_eq!(answer(&ordered("get line - ; put line 3 -").manager(&manager).start().unwrap()), "2 ok");
    // The handle is enough to keep what is in it.
    drop((pools, manager));
    assert_eq!(line.get().unwrap(), 3);
}

#[test]
fn objects_that_come_too_late_or_cannot_be_are_refused() {
    let _beside = beside_others();
    let manager = manager();
    let first = manager.dict::<i64>("first").unwrap();
    for name in ["first", "", "a b", &"x".repeat(65)] {
        assert!(matches!(kind(manager.lock(name)), ObjectErrorKind::Uncreated(_)), "{name}");
    }
    assert!(matches!(kind(manager.barrier("b", 0)), ObjectErrorKind::Uncreated(_)));
    first.set("a", 1).unwrap();
    assert_eq!(kind(manager.lock("late")), ObjectErrorKind::TooLate);
    let pool = builder(SQUARES).workers(1).build().unwrap();
    pool.apply::<_, i64>(3).unwrap();
    assert_eq!(kind(pool.lock("late")), ObjectErrorKind::TooLate);
    let other = self::manager().lock("gate").unwrap();
    let mixed = pool.share(&first).share(&other);
    assert_eq!(kind(mixed.apply::<_, i64>(3)), ObjectErrorKind::OtherManager);
    assert!(matches!(
        builder(SQUARES).share(&first).build().unwrap().lock("one-by-one"),
        Err(Error::Shared(why)) if why.contains("one by one")
    ));
}

#[test]
fn what_a_killed_process_held_is_released_and_the_next_holder_is_told() {
    let _beside = beside_others();
    let manager = manager();
    let (gate, nested) = (manager.lock("gate").unwrap(), manager.rlock("nested").unwrap());
    let (slots, held) = (manager.semaphore("slots", 1).unwrap(), manager.event("held").unwrap());
    let orders = "lock gate - ; rlock nested - ; rlock nested - ; acquire slots - ; set-event held ; spin";
    let process = ordered(orders).name("careless").manager(&manager).start().unwrap();
    assert!(held.wait_timeout(PATIENCE).unwrap());
    assert!(gate.try_acquire().unwrap().is_none());
    process.kill();
    let told = [
        gate.acquire().unwrap().abandoned().map(str::to_owned),
        nested.acquire().unwrap().abandoned().map(str::to_owned),
        slots.acquire().unwrap().abandoned().map(str::to_owned),
    ];
    assert!(told.iter().all(|who| who.as_deref().is_some_and(|who| who.contains("careless"))), "{told:?}");
    let again = gate.acquire().unwrap();
    assert_eq!(again.abandoned(), None);
}

#[test]
fn each_thread_of_the_program_holds_an_rlock_for_itself() {
    let _beside = beside_others();
    let manager = manager();
    let gate = manager.rlock("gate").unwrap();
    let total = manager.value("total", 0i64).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let (_outer, _inner) = (gate.acquire().unwrap(), gate.acquire().unwrap());
                    // Not atomic, so that two at a time would lose additions.
                    total.store(total.load().unwrap() + 1).unwrap();
                }
            });
        }
    });
    assert_eq!(total.load().unwrap(), 800);
    let outer = gate.acquire().unwrap();
    let inner = gate.acquire().unwrap();
    let refused = || thread::scope(|scope| scope.spawn(|| gate.try_acquire().unwrap().is_none()).join().unwrap());
    assert!(refused());
    inner.release().unwrap();
    assert!(refused());
    outer.release().unwrap();
    assert!(!refused());
}

/// Each thread that holds something asks the manager by a way of its own, and the manager goes through them in an order.
#[test]
fn what_a_thread_has_released_is_free_for_all_who_ask_later() {
    let _beside = beside_others();
    let manager = manager();
    let (gate, changed, kept) =
        (manager.rlock("gate").unwrap(), manager.condition("changed").unwrap(), manager.condition("kept").unwrap());
    let (ask, asked) = mpsc::channel();
    let (answer, answered) = mpsc::channel();
    thread::scope(|scope| {
        let (gate, changed, kept) = (&gate, &changed, &kept);
        scope.spawn(move || {
            // This thread has its place before the other, and keeps it.
            let _kept = kept.acquire().unwrap();
            answer.send((true, true)).unwrap();
            while asked.recv().is_ok() {
                let now = Duration::ZERO;
                let free = (gate.try_acquire().unwrap().is_some(), changed.acquire_timeout(now).unwrap().is_some());
                answer.send(free).unwrap();
            }
        });
        answered.recv().unwrap();
        for _ in 0..2000 {
            drop((gate.acquire().unwrap(), changed.acquire().unwrap()));
            assert!(!gate.is_locked().unwrap());
            ask.send(()).unwrap();
            assert_eq!(answered.recv().unwrap(), (true, true));
        }
        drop(ask);
    });
}

#[test]
fn threads_and_tasks_wait_for_one_condition_and_all_are_woken() {
    let _beside = beside_others();
    let manager = manager();
    let changed = manager.condition("changed").unwrap();
    let (waiting, woken) = (manager.value("waiting", 0i64).unwrap(), manager.value("woken", 0i64).unwrap());
    let orders = "enter changed - ; add waiting 1 ; wait changed - ; add woken 1 ; leave changed";
    let tasks = [1, 2].map(|_| ordered(orders).manager(&manager).start().unwrap());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut held = changed.acquire().unwrap();
                waiting.add(1).unwrap();
                held.wait().unwrap();
                woken.add(1).unwrap();
            });
        }
        until("all to wait", || (waiting.load().unwrap() == 5).then_some(()));
        // Whoever counted itself has the lock until it waits.
        changed.acquire().unwrap().notify_all().unwrap();
    });
    for task in &tasks {
        assert!(answer(task).contains(" true "), "{}", answer(task));
    }
    assert_eq!(woken.load().unwrap(), 5);
    assert!(!changed.acquire().unwrap().wait_timeout(Duration::ZERO).unwrap());
}

#[test]
fn a_thread_of_the_program_is_a_party_of_a_barrier() {
    let _beside = beside_others();
    let manager = manager();
    let start = manager.barrier("start", 3).unwrap();
    let tasks = [1, 2].map(|_| ordered("meet start -").manager(&manager).start().unwrap());
    let mut numbers = BTreeSet::from([start.wait().unwrap()]);
    numbers.extend(tasks.iter().map(|task| answer(task).parse::<u32>().unwrap()));
    assert_eq!(numbers, BTreeSet::from([0, 1, 2]));
    let stuck = ordered("meet start -").manager(&manager).start().unwrap();
    until("it to wait", || (start.waiting().unwrap() == 1).then_some(()));
    stuck.kill();
    assert!(matches!(kind(start.wait()), ObjectErrorKind::Broken(_)));
}

#[test]
fn a_pipe_ends_with_the_process_that_has_its_other_end() {
    let _beside = beside_others();
    let manager = manager();
    let (receiver, sender) = manager.pipe::<i64>("line").unwrap();
    let sent = manager.event("sent").unwrap();
    let orders = "send line 1 - ; send line 2 - ; set-event sent ; spin";
    let process = ordered(orders).share(&sender).share(&sent).start().unwrap();
    assert!(sent.wait_timeout(PATIENCE).unwrap());
    process.kill();
    assert_eq!((receiver.recv().unwrap(), receiver.recv().unwrap()), (1, 2));
    assert_eq!(kind(receiver.recv()), ObjectErrorKind::Eof);
    // The process had the other end, for good.
    assert_eq!(kind(sender.send(3)), ObjectErrorKind::Closed);
}

#[test]
fn a_timeout_says_which_object_did_not_do_what() {
    let _beside = beside_others();
    let manager = manager();
    let (receiver, _sender) = manager.pipe::<i64>("line").unwrap();
    let start = manager.barrier("start", 2).unwrap();
    let late = receiver.recv_timeout(Duration::ZERO).unwrap_err().to_string();
    assert_eq!(late, "the shared object `line`: no message came in time");
    let alone = start.wait_timeout(Duration::ZERO).unwrap_err().to_string();
    assert_eq!(alone, "the shared object `start`: not all parties came in time");
}

#[test]
fn join_of_a_queue_waits_for_what_tasks_do_and_for_none_that_is_dead() {
    let _beside = beside_others();
    let manager = manager();
    let (jobs, got) = (manager.queue::<i64>("jobs", 0).unwrap(), manager.event("got").unwrap());
    (0..3).try_for_each(|n| jobs.put(n)).unwrap();
    let careless = ordered("get jobs - ; set-event got ; spin").manager(&manager).start().unwrap();
    assert!(got.wait_timeout(PATIENCE).unwrap());
    let careful = ordered("get jobs - ; task-done jobs ; get jobs - ; task-done jobs").manager(&manager);
    assert_eq!(answer(&careful.start().unwrap()), "1 ok 2 ok");
    assert!(!jobs.join_timeout(Duration::ZERO).unwrap());
    careless.kill();
    assert!(jobs.join_timeout(PATIENCE).unwrap());
}

/// Returns the process that keeps the objects of a manager, which has to be the only child.
fn keeper() -> Worker {
    match workers()[..] {
        [keeper] => keeper,
        ref others => panic!("{others:?}"),
    }
}

#[test]
fn if_the_process_that_keeps_the_objects_is_lost_every_call_ends_with_one_error() {
    let _alone = alone();
    let manager = manager();
    let (jobs, gate) = (manager.queue::<i64>("jobs", 1).unwrap(), manager.lock("gate").unwrap());
    assert!(jobs.is_empty().unwrap());
    let keeper = keeper();
    let pool = obeying().manager(&manager).build().unwrap();
    let waiting = pool.map_async::<_, String>(["get jobs -"; 2]).unwrap();
    let process = ordered("lock gate - ; get jobs -").manager(&manager).start().unwrap();
    until("the lock to be held", || gate.is_locked().unwrap().then_some(()));
    let is_lost = |error: Error| matches!(&error, Error::Shared(why) if why.contains("has ended"));
    thread::scope(|scope| {
        let getting = scope.spawn(|| jobs.get());
        let acquiring = scope.spawn(|| gate.acquire().map(drop));
        keeper.kill();
        assert!(is_lost(getting.join().unwrap().unwrap_err()));
        assert!(is_lost(acquiring.join().unwrap().unwrap_err()));
    });
    let told = waiting.get().unwrap_err();
    // A worker may have been told before the pool was, and then its item says so.
    assert!(is_lost(told.clone()) || matches!(&told, Error::Item(_)), "{told:?}");
    assert!(process.join().unwrap().failure().is_some());
    assert!(is_lost(pool.apply::<_, String>("size jobs").unwrap_err()));
    assert!(is_lost(jobs.put(1).unwrap_err()));
    drop((pool, process));
    until("all to end", || workers().is_empty().then_some(()));
}

#[test]
fn nothing_is_left_when_handles_pools_and_processes_are_dropped() {
    let _alone = alone();
    let mut descriptors = Vec::new();
    for _ in 0..3 {
        let pool = obeying().build().unwrap();
        let (jobs, total) = (pool.queue::<i64>("jobs", 1).unwrap(), pool.array("total", [0i64; 9]).unwrap());
        pool.apply::<_, String>("put jobs 1 -").unwrap();
        drop(pool);
        // The process that keeps them is there as long as somebody can use them.
        assert_eq!((workers().len(), jobs.get().unwrap(), total.len()), (1, 1, 9));
        drop((jobs, total));
        assert_eq!(workers(), []);
        descriptors.push(std::fs::read_dir("/proc/self/fd").unwrap().count());
    }
    // What is kept for later pools is there after the first.
    assert_eq!(descriptors.get(1), descriptors.get(2));
}

#[test]
fn a_process_that_is_forked_off_has_numbers_and_nothing_else_of_its_parents_objects() {
    let _alone = alone();
    let manager = manager();
    let (jobs, total) = (manager.queue::<i64>("jobs", 1).unwrap(), manager.value("total", 1i64).unwrap());
    let gate = manager.rlock("gate").unwrap();
    assert!(jobs.is_empty().unwrap());
    // SAFETY: the child uses the objects, which is what is tested, and then ends without returning to the harness.
    let child = match unsafe { libc::fork() } {
        0 => {
            let refused = [
                jobs.try_put(1).err(),
                gate.try_acquire().err(),
                manager.lock("other").err(),
                ordered("size jobs").manager(&manager).start().err(),
            ];
            let right = refused.iter().all(|e| matches!(e, Some(Error::Forked))) && total.add(1).unwrap() == 2;
            drop((manager, jobs, gate));
            // SAFETY: the call ends the process.
            unsafe { libc::_exit(i32::from(!right)) }
        }
        child => Pid::from_raw(child),
    };
    let status = until("the process that was forked off ends", || match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) => None,
        other => Some(other),
    });
    assert_eq!(status, Ok(WaitStatus::Exited(child, 0)));
    assert_eq!((total.load().unwrap(), jobs.size().unwrap()), (2, 0));
}

#[test]
fn a_process_and_what_it_left_are_told_by_its_name() {
    let _beside = beside_others();
    let pool: Pool = obeying().build().unwrap();
    assert_eq!(pool.apply::<_, String>("name").unwrap(), "nameless");
    assert_eq!(answer(&ordered("name").name("reader").start().unwrap()), "reader");
    let failed = ordered("trap").name("broken").manager(&manager()).start().unwrap();
    assert!(
        matches!(failed.join().unwrap().failure(), Some(Error::Item(e)) if e.kind == FailureKind::Trap),
        "{failed:?}"
    );
}
