//! The programs that documents of `multiprocessing` show, in `examples/from-python`: each prints what the original prints.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::Path;
use std::process::Command;

use crate::support::guest::built;
use crate::support::run::cache;
use crate::support::{binary, workspace};

/// Runs a script, and returns what it prints.
#[track_caller]
fn prints(script: &str) -> String {
    runs(&workspace().join("examples/from-python").join(script), &[])
}

/// Runs a program whose parent is a program, too, and returns what that prints.
#[track_caller]
fn host_prints(number: &str) -> String {
    let host = binary().with_file_name("examples").join("from-python");
    assert!(host.is_file(), "no program at {}: `cargo build --release --examples` builds it", host.display());
    runs(&host, &[number])
}

#[track_caller]
fn runs(program: &Path, arguments: &[&str]) -> String {
    let guest = built("from_python");
    // A program that hangs ends with the code of `timeout`.
    let mut shell = Command::new("timeout");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WASMPOOL_")) {
        shell.env_remove(name);
    }
    shell.arg("120").arg(program).args(arguments).env("WASMPOOL", binary()).env("XDG_CACHE_HOME", cache());
    let output = shell.env("GUESTS", guest.path().parent().expect("a folder")).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}: {}\n{said}", program.display(), output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// Returns the lines that a program prints, sorted, for those whose order is left to chance in Python too.
#[track_caller]
fn lines(program: &str) -> Vec<String> {
    let mut lines: Vec<String> = prints(program).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Returns the numbers of a list that Python could have printed.
#[track_caller]
fn list(text: &str) -> Vec<u64> {
    let inner = text.trim_end().strip_prefix('[').and_then(|text| text.strip_suffix(']')).expect("a list");
    inner.split(", ").map(|number| number.parse().expect("a number")).collect()
}

#[test]
fn program_1_maps_over_a_pool() {
    assert_eq!(prints("01-map.sh"), "[1, 4, 9, 16, 25, 36, 49, 64, 81, 100]\n");
}

#[test]
fn program_2_changes_a_value_and_an_array() {
    assert_eq!(prints("02-value-and-array.sh"), "3.14\n[5, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n");
}

#[test]
fn program_3_appends_to_a_list_as_well() {
    assert_eq!(prints("03-manager.sh"), "3.14\n[5, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n['Hello']\n");
}

#[test]
fn program_4_starts_five_processes_and_joins_them() {
    let printed = host_prints("4");
    let lines: Vec<&str> = printed.lines().collect();
    let parent = lines[0].strip_prefix("Parent process ").expect(&printed);
    assert_eq!(lines[1..6], ["process start"; 5]);
    let mut processes = BTreeSet::from([parent]);
    for (number, line) in lines[6..11].iter().enumerate() {
        let said = line.strip_prefix(&format!("Process-{} (", number + 1)).and_then(|line| line.split_once(") "));
        let (process, said) = said.expect(&printed);
        assert_eq!(said, format!("has number {number}: Running"));
        processes.insert(process);
    }
    assert_eq!(lines[11..], ["Process close"]);
    assert_eq!(processes.len(), 6, "{printed}");
}

/// Takes the process and its parent out of what a task of programs 5 and 6 says.
#[track_caller]
fn of_task(line: &str) -> (&str, &str, &str) {
    let parts = line.split_once(" (process ").and_then(|(task, rest)| Some((task, rest.split_once(") ")?)));
    let (task, (process, what)) = parts.expect(line);
    (task, what, process)
}

/// Which tasks begin together is left to the machine; how many run at once is not.
#[test]
fn program_5_runs_three_tasks_at_once_in_three_processes() {
    let printed = prints("05-apply-async.sh");
    let [waits, said @ .., done] = &printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
    assert_eq!((*waits, *done), ("Waiting for all tasks", "All tasks are done"));
    let (mut begun, mut running, mut processes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for line in said {
        let (task, what, process) = of_task(line);
        match what {
            "begins" => assert!(begun.insert(task) && running.insert(task), "{printed}"),
            _ => assert!(running.remove(task), "{printed}"),
        }
        processes.insert(process.split_once(" of ").expect(line));
        assert!(running.len() <= 3 && processes.len() <= 3, "{printed}");
    }
    assert!(running.is_empty() && begun.len() == 6, "{printed}");
    let parents: BTreeSet<&str> = processes.iter().map(|(_, parent)| *parent).collect();
    assert!(parents.len() == 1 && processes.iter().all(|(process, _)| !parents.contains(process)), "{printed}");
}

#[test]
fn program_6_runs_one_task_after_the_other() {
    let printed = prints("06-apply.sh");
    let [said @ .., done] = &printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
    let said: Vec<(&str, &str)> = said.iter().map(|line| of_task(line)).map(|(task, what, _)| (task, what)).collect();
    let tasks: Vec<String> = (0..6).map(|n| format!("Task {n}")).collect();
    let expected: Vec<_> = tasks.iter().flat_map(|task| [(&**task, "begins"), (&**task, "ends")]).collect();
    assert_eq!((&said, *done), (&expected, "All tasks are done"));
}

#[test]
fn program_7_gets_six_names_and_ends_its_reader_by_a_signal() {
    let printed = host_prints("7");
    let [said @ .., end] = &printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
    let names = |before: &str, behind: &str| -> Vec<&str> {
        said.iter().filter_map(|line| line.strip_prefix(before)?.strip_suffix(behind)).collect()
    };
    let (put, got) = (names("Put ", " to queue"), names("Get ", " from queue"));
    for names in [&put, &got] {
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ["A", "B", "C", "D", "E", "F"], "{printed}");
    }
    assert_eq!((said.len(), *end), (12, "The reader ended with -15"));
}

#[test]
fn program_8_receives_a_list_through_a_pipe() {
    assert_eq!(prints("08-pipe.sh"), "['spam', 42, 'egg']\n");
}

#[test]
fn program_9_answers_through_the_same_pipe() {
    let printed = prints("09-both-ways.sh");
    let [parent, child, end] = printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
    assert_eq!(parent, "Parent got: {'name': 'Bob', 'spam': 42}");
    assert_eq!(child, "Child got: {'ss', 'pp', 'aa', 'mm'}");
    assert_eq!(end, "Parent ends");
}

#[test]
fn program_10_starts_ten_processes() {
    assert_eq!(lines("10-processes.sh").concat(), "0123456789");
}

#[test]
fn program_11_shares_nothing() {
    let of = |name: &str| (1..=3).map(|n| format!("{name} {n}\n")).collect::<String>();
    assert_eq!(prints("11-nothing-is-shared.sh"), of("Process-1") + &of("Process-2") + "parent 0\n");
}

#[test]
fn program_12_gets_what_two_processes_put() {
    assert_eq!(prints("12-queue.sh"), "1\n1\n");
}

#[test]
fn program_13_consumes_three_and_is_terminated() {
    let printed = host_prints("13");
    let said = |before: &str| -> Vec<&str> { printed.lines().filter_map(|line| line.strip_prefix(before)).collect() };
    assert_eq!((said("Producer put "), said("Consumer got ")), (vec!["0", "1", "2"], vec!["0", "1", "2"]));
    assert_eq!(printed.lines().count(), 6);
}

#[test]
fn program_13_ends_by_itself_if_the_queue_is_shut_down() {
    let said = |what: &str| (0..3).map(|n| format!("{what} {n}\n")).collect::<String>();
    assert_eq!(prints("13-producer-and-consumer.sh"), said("Producer put") + &said("Consumer got"));
}

#[test]
fn program_14_maps_over_a_pool_that_ends_by_itself() {
    assert_eq!(prints("14-with-pool.sh"), "[1, 4, 9, 16, 25]\n");
}

#[test]
fn program_15_appends_each_item_once() {
    let mut items = list(&prints("15-list-and-lock.sh"));
    items.sort_unstable();
    assert_eq!(items, (0..20).collect::<Vec<_>>());
}

#[test]
fn program_16_gets_from_a_spawned_process() {
    assert_eq!(prints("16-spawn.sh"), "hello\n");
}

#[test]
fn program_17_runs_each_item_in_a_process_of_its_own() {
    let processes = lines("17-one-task-per-process.sh");
    assert_eq!(processes.len(), 30);
    assert_eq!(processes.iter().collect::<BTreeSet<_>>().len(), 30, "{processes:?}");
}

#[test]
fn program_18_has_a_process_for_each_processor_and_refuses_what_comes_at_the_wrong_time() {
    let printed = host_prints("18");
    let lines: Vec<&str> = printed.lines().collect();
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    assert_eq!(lines[0], format!("{processors} processes"));
    assert!(lines.len() == 3 && lines[1].starts_with("join: ") && lines[2].starts_with("apply: "), "{printed}");
}

#[test]
fn program_19_asks_for_a_result_that_is_not_there_yet() {
    let printed = host_prints("19");
    let [timeout, ready, unfinished, then] = printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
    assert_eq!((timeout, ready, then), ("TimeoutError", "false", "true true done"));
    assert!(!unfinished.is_empty());
}

/// The order of finishing is left to the machine here; how `--unordered` keeps it is tested without sleeping elsewhere.
#[test]
fn program_20_gives_results_in_both_orders() {
    let printed = prints("20-imap.sh");
    let [ordered, unordered] = printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
    assert_eq!(ordered, "[1500, 750, 0]");
    let mut unordered = list(unordered);
    unordered.sort_unstable();
    assert_eq!(unordered, [0, 750, 1500]);
}

#[test]
fn program_21_is_told_full_and_empty() {
    assert_eq!(prints("21-full-and-empty.sh"), "Full\nFull\nEmpty\nEmpty\n");
}

#[test]
fn program_22_writes_whole_lines_and_loses_none() {
    assert_eq!(prints("22-one-file.sh"), "400\n400\n");
}

#[test]
fn program_23_starts_by_spawn_and_eight_processes_without_a_fork() {
    let printed = prints("23-start-methods.sh");
    let (method, processes) = printed.split_once('\n').expect("lines");
    assert_eq!(method, "spawn");
    assert_eq!(processes.lines().collect::<BTreeSet<_>>().len(), 8, "{printed}");
}

/// Prevents that one of the 23 programs is missing, or that a script is added and never run.
#[test]
fn each_program_has_a_test() {
    let folder = std::fs::read_dir(workspace().join("examples/from-python")).expect("the programs");
    let names = folder.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let programs: BTreeSet<String> = names.filter(|name| name.ends_with(".sh") && name != "setup.sh").collect();
    let tests = include_str!("from_python.rs");
    for number in 1..=23 {
        assert!(tests.contains(&format!("fn program_{number}_")), "{number}");
    }
    for program in programs {
        assert!(tests.contains(&format!("(\"{program}\")")), "{program}");
    }
}
