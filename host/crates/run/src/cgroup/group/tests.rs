use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::*;

const BOUNDS: Bounds = Bounds { memory: 64 << 20, processes: 40 };

/// Makes a directory that looks like a cgroup, with these files.
fn cgroup(folder: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(folder).expect("a directory");
    files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).expect("a file"));
}

fn text(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).expect("a file")
}

/// Makes a directory that looks like a delegated cgroup of version 2 with these processes.
fn delegated(folder: &Path, processes: &str) {
    cgroup(
        folder,
        &[("cgroup.procs", processes), ("cgroup.controllers", "cpu memory pids\n"), ("cgroup.subtree_control", "")],
    );
}

/// Returns the cgroup of a process's workers if nobody else has its name.
fn workers_of(place: &Path, pid: u32) -> PathBuf {
    place.join(place::names_of_workers(pid).next().expect("a name"))
}

/// Makes the directories and files that the kernel would make in new cgroups, and returns their paths.
fn to_come(place: &Path) -> [PathBuf; 2] {
    let this = std::process::id();
    let all = [workers_of(place, this), place.join(place::name_of_leaf(this))];
    let [workers, leaf] = &all;
    cgroup(workers, &["memory.max", "memory.swap.max", "pids.max", "cgroup.procs"].map(|name| (name, "")));
    cgroup(leaf, &[("cgroup.procs", "")]);
    all
}

fn own(folder: &Path) -> Own {
    Own { version: Version::Two, folder: folder.to_owned(), topmost: false }
}

#[test]
fn where_it_is_delegated_the_command_goes_to_a_leaf_and_comes_back() {
    let tree = TempDir::new().expect("a directory");
    let place = tree.path().join("a.service");
    let this = std::process::id().to_string();
    delegated(&place, &this);
    let [workers, leaf] = to_come(&place);
    let marked = |folder: &Path| folder == place;
    let group = Group::make_in(&own(&place), true, BOUNDS, &marked).expect("a cgroup");
    assert_eq!((text(&leaf, "cgroup.procs"), text(&workers, "memory.max")), (this.clone(), "67108864".to_owned()));
    assert_eq!((text(&workers, "memory.swap.max"), text(&workers, "pids.max")), ("67108864".into(), "40".into()));
    let mut child = group.start(|| Command::new("true").spawn()).expect("a child");
    assert_eq!(text(&workers, "cgroup.procs"), child.id().to_string());
    child.wait().expect("its end");
    group.raise(Bounds { memory: 70_000_000, processes: 50 });
    assert_eq!((text(&workers, "memory.max"), text(&workers, "pids.max")), ("70000000".into(), "50".into()));
    // Files of a real cgroup are removed with it.
    for folder in [&workers, &leaf] {
        let files = fs::read_dir(folder).expect("a directory").filter_map(Result::ok);
        files.for_each(|file| fs::remove_file(file.path()).expect("removed"));
    }
    fs::write(place.join("cgroup.procs"), "").expect("a file");
    drop(group);
    assert!(!workers.exists() && !leaf.exists());
    assert_eq!(text(&place, "cgroup.procs"), this);
    // The state before: children get no controller any more.
    assert!(text(&place, "cgroup.subtree_control").starts_with("-"));
}

#[test]
fn in_a_leaf_of_a_delegated_cgroup_the_workers_go_beside_it() {
    let tree = TempDir::new().expect("a directory");
    let (place, leaf) = (tree.path().join("a.service"), tree.path().join("a.service/main"));
    delegated(&place, "");
    cgroup(&leaf, &[("cgroup.procs", "7\n8\n")]);
    let [workers, unused] = to_come(&place);
    let group = Group::make_in(&own(&leaf), false, BOUNDS, &|folder| folder == place).expect("a cgroup");
    assert_eq!(group.folder(), workers);
    assert_eq!((text(&leaf, "cgroup.procs"), text(&unused, "cgroup.procs")), ("7\n8\n".into(), String::new()));
}

#[test]
fn what_cannot_be_finished_is_undone() {
    let tree = TempDir::new().expect("a directory");
    let place = tree.path().join("a.service");
    let this = std::process::id().to_string();
    delegated(&place, &this);
    let [workers, leaf] = to_come(&place);
    ["memory.max", "memory.swap.max", "pids.max", "cgroup.procs"]
        .iter()
        .for_each(|file| fs::remove_file(workers.join(file)).expect("removed"));
    let moved_away = |folder: &Path| {
        fs::write(place.join("cgroup.procs"), &this).expect("a file");
        folder == place
    };
    let made = Group::make_in(&own(&place), true, BOUNDS, &moved_away);
    assert!(made.is_err_and(|why| why.to_string().contains("none can be made")));
    assert!(!workers.exists(), "it was made for nothing");
    assert_eq!((text(&place, "cgroup.procs"), text(&leaf, "cgroup.procs")), (this.clone(), this.clone()));
}

#[test]
fn the_root_of_a_container_is_left_alone_though_it_bears_the_mark() {
    let tree = TempDir::new().expect("a directory");
    delegated(tree.path(), &std::process::id().to_string());
    let root = Own { topmost: true, ..own(tree.path()) };
    let made = Group::make_in(&root, true, BOUNDS, &|_| true);
    assert!(made.is_err_and(|why| why.to_string().contains("not delegated")));
    assert_eq!(fs::read_dir(tree.path()).expect("a directory").count(), 3);
}

#[test]
fn what_killed_hosts_left_is_removed_and_nothing_else() {
    let tree = TempDir::new().expect("a directory");
    let at = |name: &str| tree.path().join(name);
    for name in ["wasmpool-1", "wasmpool-2", "wasmpool-2-host", "wasmpool-3", "wasmpool-test-4", "other"] {
        fs::create_dir(at(name)).expect("a directory");
    }
    fs::create_dir(at("wasmpool-3/in-use")).expect("a directory");
    let _held = lock(&at("wasmpool-1")).expect("held");
    sweep(tree.path());
    let mut left: Vec<String> =
        below(tree.path()).iter().filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned())).collect();
    left.sort();
    assert_eq!(left, ["other", "wasmpool-1", "wasmpool-3", "wasmpool-test-4"]);
}

#[test]
fn a_name_that_another_process_has_locked_is_left_to_it() {
    let tree = TempDir::new().expect("a directory");
    let first = workers_of(tree.path(), std::process::id());
    let (folder, held) = make_folder(tree.path()).expect("a cgroup");
    assert_eq!(folder, first);
    // The same id in another PID namespace, or the lock of a host that is about to remove it.
    let (second, _held) = make_folder(tree.path()).expect("another cgroup");
    assert!(second != first && place::is_ours(&second), "{second:?}");
    drop(held);
    let (again, _held) = make_folder(tree.path()).expect("the first again");
    assert_eq!(again, first);
}

#[test]
fn hosts_that_start_and_remove_what_was_left_at_the_same_time_all_get_a_cgroup() {
    let tree = TempDir::new().expect("a directory");
    let starting = || {
        for _ in 0..300 {
            sweep(tree.path());
            let (folder, _held) = make_folder(tree.path()).expect("a cgroup");
            assert!(folder.exists(), "it was removed though it is locked");
            fs::remove_dir(folder).expect("removed");
        }
    };
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(starting))));
}

#[test]
fn a_memory_cgroup_that_does_not_count_for_those_above_gets_no_child() {
    let tree = TempDir::new().expect("a directory");
    cgroup(tree.path(), &[("memory.use_hierarchy", "0\n"), ("tasks", "")]);
    let one = Own { version: Version::One, ..own(tree.path()) };
    assert!(Group::make_in(&one, true, BOUNDS, &|_| true).is_err());
    assert!(below(tree.path()).is_empty());
}

/// Makes a real cgroup, if this machine lets the user of the tests have one.
fn real() -> Option<Group> {
    match Group::make(false, BOUNDS) {
        Ok(group) => Some(group),
        Err(why) => {
            let _ = writeln!(io::stderr(), "left out: {why}");
            None
        }
    }
}

fn membership(process: &str) -> String {
    fs::read_to_string(format!("/proc/{process}/cgroup")).expect("a process")
}

#[test]
fn a_child_is_in_it_from_its_start_and_whoever_starts_it_is_not() {
    let Some(group) = real() else {
        return;
    };
    let folder = group.folder().to_owned();
    let name = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let before = membership("thread-self");
    let mut command = Command::new("cat");
    let mut child = group.start(|| command.stdin(Stdio::piped()).spawn()).expect("a child");
    assert!(membership(&child.id().to_string()).contains(&name));
    assert_eq!((membership("thread-self"), membership("self").contains(&name)), (before, false));
    drop(child.stdin.take());
    child.wait().expect("its end");
    drop(group);
    assert!(!folder.exists());
}

#[test]
fn a_child_that_takes_more_than_is_allowed_is_killed() {
    let Some(group) = real() else {
        return;
    };
    let mut command = Command::new("sh");
    // It reads one endless line. If nothing else stops it, the limit of the shell does.
    command.args(["-c", "ulimit -v 2000000; exec tail -n 1 /dev/zero"]).stderr(Stdio::null());
    let status = group.start(|| command.spawn()).and_then(|mut child| child.wait()).expect("its end");
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
}
