//! Memory that no limit of a process counts is limited for all workers together, by a cgroup where one can be made.

use super::*;

/// A run, and the cgroup of its workers as it reports it, or the reason why they have none.
struct Bounded {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    folder: Result<PathBuf, String>,
    /// Kept open, since the run may print more.
    _errors: BufReader<ChildStderr>,
}

impl Bounded {
    fn start(command: &mut Command) -> Bounded {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut said) = (String::new(), String::new());
        let folder = loop {
            line.clear();
            assert!(errors.read_line(&mut line).unwrap() > 0, "nothing is said of a cgroup: {said}");
            said += &line;
            if let Some((_, folder)) = line.trim_end().split_once(" together: ") {
                break Ok(PathBuf::from(folder));
            }
            if let Some((_, why)) = line.trim_end().split_once("memory of all workers: ") {
                break Err(why.to_owned());
            }
        };
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Bounded { child, input, output, folder, _errors: errors }
    }

    fn record(&mut self) -> serde_json::Value {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "the run ended");
        serde_json::from_str(&line).unwrap()
    }
}

fn read(folder: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

/// Lowers the limit far below what a run sets, so that the test does not use up the memory of the machine.
fn bound(folder: &Path, bytes: u64) {
    let set = |file: &str| std::fs::write(folder.join(file), bytes.to_string());
    set("memory.max").or_else(|_| set("memory.limit_in_bytes")).unwrap();
    // Including swap, where swap is counted.
    let _ = set("memory.swap.max").or_else(|_| set("memory.memsw.limit_in_bytes"));
}

fn echoing(programs: &Programs) -> Command {
    let echo = programs.probes.with_file_name("echo.wat");
    std::fs::write(&echo, ECHO).unwrap();
    let mut command = Command::new(&programs.wasmpool);
    command
        .args(["map", "-v", "-j", "2", "-c", "1", "--timeout", "2m", "--output-format", "records"])
        .arg(&echo)
        .env("WASMPOOL_CACHE_DIR", "")
        .env_remove("WASMPOOL_SANDBOX");
    command
}

#[test]
fn memory_that_no_limit_of_a_process_counts_costs_the_worker_that_takes_it_and_nothing_else() {
    const LIMIT: u64 = 400 << 20;
    let programs = programs();
    let mut run = Bounded::start(&mut echoing(&programs));
    let folder = match &run.folder {
        Ok(folder) => folder.clone(),
        Err(why) => return left_out("the memory of all workers", User::Own, why),
    };
    run.input.write_all(b"\"0\"\n").unwrap();
    assert_eq!(run.record()["value"], "0");
    bound(&folder, LIMIT);
    let attacks = [5, 15, 16];
    let item = |i: usize| match attacks.contains(&i) {
        true => "\"attack:memory that is not counted\"\n".to_owned(),
        false => format!("\"{i}\"\n"),
    };
    run.input.write_all((1..40).map(item).collect::<String>().as_bytes()).unwrap();
    let records: Vec<serde_json::Value> = (1..39).map(|_| run.record()).collect();
    let most = read(&folder, "memory.peak").or_else(|| read(&folder, "memory.max_usage_in_bytes"));
    assert!(most.is_none_or(|most| most <= LIMIT), "{most:?}");
    drop(run.input);
    for (i, record) in (1..).zip(&records) {
        let attacked = attacks.contains(&i);
        let (kind, value) = (record["kind"].as_str(), record["value"].as_str());
        assert_eq!(kind, attacked.then_some("worker-lost"), "{record}");
        assert_eq!(value.map(str::to_owned), (!attacked).then(|| i.to_string()), "{record}");
        assert!(!attacked || record["signal"] == libc::SIGKILL, "{record}");
    }
    let mut last = String::new();
    std::io::Read::read_to_string(&mut run.output, &mut last).unwrap();
    assert_eq!((run.child.wait().unwrap().code(), last.lines().count()), (Some(1), 1));
    assert!(!folder.exists());
}

/// A memory cgroup of version 1 below the one of these tests. It is removed when dropped.
struct Below(PathBuf);

impl Below {
    fn new() -> Option<Below> {
        let memberships = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = memberships.lines().find_map(|line| line.split_once(":memory:"))?.1;
        let name = format!("wasmpool-test-below-{}", std::process::id());
        let folder = Path::new("/sys/fs/cgroup/memory").join(own.trim_start_matches('/')).join(name);
        std::fs::create_dir(&folder).ok().map(|()| Below(folder))
    }

    /// Changes its owner to another user, as delegating it does.
    fn delegate(&self) {
        for file in ["", "tasks", "cgroup.procs"] {
            std::os::unix::fs::chown(self.0.join(file), Some(65534), Some(65534)).unwrap();
        }
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn an_ordinary_user_has_one_where_it_was_delegated_and_runs_without_elsewhere() {
    let Some(below) = nix::unistd::geteuid().is_root().then(Below::new).flatten() else {
        return left_out("a delegated cgroup", User::Ordinary, "none of the first version can be made here");
    };
    let programs = programs();
    let task = task(&programs);
    for delegated in [false, true] {
        if delegated {
            below.delegate();
        }
        let mut shell = Command::new("sh");
        let script = "read go && exec \"$1\" call -v \"$2\" f 3";
        shell.args(["-c", script, "sh"]).arg(&programs.wasmpool).arg(&task);
        shell.uid(65534).gid(65534).env("HOME", "/").env("WASMPOOL_CACHE_DIR", "").env_remove("WASMPOOL_SANDBOX");
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::fs::write(below.0.join("cgroup.procs"), child.id().to_string()).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(text(&output.stdout), "9\n", "{said}");
        let name = below.0.join("wasmpool-").display().to_string();
        assert_eq!(said.contains(&format!("together: {name}")), delegated, "{said}");
        assert_eq!(said.contains("no cgroup bounds the memory of all workers: "), !delegated, "{said}");
    }
}
