//! A program that embeds the pool has processes and signals of its own.

use std::env;
use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use wasmpool::{AsyncResult, Error, FailureKind, Imap, Pool};

use crate::support::{INNER, POWER, SPIN, SQUARES, again, alone, beside_others, builder, busy, pool, until, workers};

fn is_forked<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Forked))
}

/// Uses a parent's pool in every way that a forked process can, and drops it.
fn use_all(pool: Pool, result: AsyncResult<i64>, mut lazy: Imap<std::ops::RangeFrom<i64>, i64>) -> bool {
    // Some results may still be there from before.
    let lazy_ends = lazy.by_ref().take(100_000).find_map(Result::err).is_some_and(|e| matches!(e, Error::Forked));
    let told = [
        is_forked(pool.apply::<_, i64>(3)),
        is_forked(pool.map::<_, i64>(0..10)),
        is_forked(pool.apply_async::<_, i64>(3)),
        is_forked(pool.imap::<_, i64>(0..10).collect::<Result<Vec<i64>, Error>>()),
        is_forked(pool.task(SPIN)),
        is_forked(result.get()),
        is_forked(result.successful()),
        !result.wait_timeout(Duration::MAX) && !result.ready() && !result.cancel(),
        lazy_ends,
    ];
    pool.resize(4);
    pool.close();
    let joined = is_forked(pool.join());
    pool.terminate();
    drop((lazy, result, pool));
    told.iter().all(|&told| told) && joined
}

#[test]
fn a_process_that_is_forked_off_is_told_that_it_has_no_pool_and_leaves_that_of_its_parent_alone() {
    let _alone = alone();
    let pool = pool(SQUARES);
    let result = pool.apply_async::<_, i64>(7).unwrap();
    assert_eq!(result.get().unwrap(), 49);
    let mut lazy = pool.imap::<_, i64>(1i64..);
    assert_eq!(lazy.next().unwrap().unwrap(), 1);
    let before = workers();
    // SAFETY: the child uses the pool, which is what is tested, and then ends without returning to the harness.
    let child = match unsafe { libc::fork() } {
        0 => {
            let right = use_all(pool, result, lazy);
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
    assert_eq!(lazy.next().unwrap().unwrap(), 4);
    assert_eq!(pool.apply::<_, i64>(3).unwrap(), 9);
    assert!(before.iter().all(|worker| worker.lives()));
}

/// Each worker that is late or killed costs one item.
fn loses_one_item_with_each_worker() {
    let pool = builder(SPIN).workers(1).build().expect("the pool is built");
    let kind = |result: Result<i64, Error>| match result {
        Err(Error::Item(e)) => e.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(pool.timeout(Duration::from_millis(300)).apply(-1)), FailureKind::Timeout);
    for item in 0..3 {
        let endless = pool.apply_async::<_, i64>(-1).unwrap();
        busy(1)[0].kill();
        assert_eq!(kind(endless.get()), FailureKind::WorkerLost);
        assert_eq!(pool.apply::<_, i64>(item).unwrap(), item);
    }
    drop(pool);
    until("all processes have ended", || workers().is_empty().then_some(()));
}

#[test]
fn a_program_that_ignores_the_end_of_its_children_loses_one_item_with_each_worker() {
    if env::var_os(INNER).is_none() {
        let _beside = beside_others();
        let test = "processes::a_program_that_ignores_the_end_of_its_children_loses_one_item_with_each_worker";
        return again(test, |_| {});
    }
    // SAFETY: ignoring a signal runs no code of this program.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
    loses_one_item_with_each_worker();
}

#[test]
fn a_program_that_waits_for_all_its_children_loses_one_item_with_each_worker() {
    if env::var_os(INNER).is_none() {
        let _beside = beside_others();
        let test = "processes::a_program_that_waits_for_all_its_children_loses_one_item_with_each_worker";
        return again(test, |_| {});
    }
    std::thread::spawn(|| {
        loop {
            if waitpid(Pid::from_raw(-1), None) == Err(Errno::ECHILD) {
                std::thread::yield_now();
            }
        }
    });
    loses_one_item_with_each_worker();
}

/// Returns the directory of the memory cgroup that a process is in, if that is of version 1.
fn memory_cgroup(process: &str) -> Option<PathBuf> {
    let memberships = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
    let path = memberships.lines().find_map(|line| line.split_once(":memory:"))?.1;
    Some(PathBuf::from("/sys/fs/cgroup/memory").join(path.trim_start_matches('/')))
}

#[test]
fn the_processes_of_all_pools_share_a_cgroup_that_goes_with_the_last() {
    if env::var_os(INNER).is_none() {
        let _beside = beside_others();
        return again("processes::the_processes_of_all_pools_share_a_cgroup_that_goes_with_the_last", |_| {});
    }
    let own = memory_cgroup("self");
    let trial = own.as_ref().map(|own| own.join(format!("wasmpool-test-pool-{}", std::process::id())));
    if trial.is_none_or(|trial| fs::create_dir(&trial).and_then(|()| fs::remove_dir(&trial)).is_err()) {
        let _ = writeln!(stderr(), "left out: no memory cgroup of the first version can be made here");
        return;
    }
    let limit = |folder: &Path| -> u64 {
        fs::read_to_string(folder.join("memory.limit_in_bytes")).unwrap().trim().parse().unwrap()
    };
    let first = pool(SQUARES);
    assert_eq!(first.apply::<_, i64>(3).unwrap(), 9);
    let folder = memory_cgroup(&workers()[0].0.to_string()).unwrap();
    // Another name of this process's own if the first is in use.
    let number: u64 = folder.file_name().unwrap().to_str().unwrap().strip_prefix("wasmpool-").unwrap().parse().unwrap();
    assert_eq!(number % 10_000_000, u64::from(std::process::id()));
    assert!(workers().iter().all(|worker| memory_cgroup(&worker.0.to_string()).as_ref() == Some(&folder)));
    assert_eq!(memory_cgroup("self"), own);
    let one = limit(&folder);
    let second = pool(POWER);
    assert_eq!(second.memory(1 << 30).apply::<_, i64>((3, 3)).unwrap(), 27);
    // Room for two workers, with more than a gibibyte for each.
    assert!(limit(&folder) >= one + (4 << 30), "{} after {one}", limit(&folder));
    let two = limit(&folder);
    second.resize(3);
    assert!(limit(&folder) >= two + (2 << 30), "{} after {two}", limit(&folder));
    drop(first);
    assert_eq!(second.apply::<_, i64>((2, 3)).unwrap(), 8);
    assert!(folder.exists());
    drop(second);
    assert!(!folder.exists(), "left behind: {}", folder.display());
    assert_eq!(memory_cgroup("self"), own);
}
