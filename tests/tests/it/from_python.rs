//! The programs that documents of `multiprocessing` show, in `examples/from-python`: each prints what the original prints.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::guest::built;
use crate::support::run::cache;
use crate::support::{binary, workspace};

/// Runs a program, and returns what it prints.
#[track_caller]
fn prints(program: &str) -> String {
    let guest = built("from_python");
    let folder = workspace().join("examples/from-python");
    // A program that hangs ends with the code of `timeout`.
    let mut shell = Command::new("timeout");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WASMPOOL_")) {
        shell.env_remove(name);
    }
    shell.arg("120").arg(folder.join(program)).env("WASMPOOL", binary()).env("XDG_CACHE_HOME", cache());
    let output = shell.env("GUESTS", guest.path().parent().expect("a folder")).output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {}\n{said}", output.status);
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

/// Which tasks begin together is left to the machine; how many run at once is not.
#[test]
fn program_5_runs_three_tasks_at_once() {
    let printed = prints("05-apply-async.sh");
    let [waits, said @ .., done] = &printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
    assert_eq!((*waits, *done), ("Waiting for all tasks", "All tasks are done"));
    let (mut begun, mut running) = (BTreeSet::new(), BTreeSet::new());
    for line in said {
        let task = line.strip_prefix("Task ").and_then(|line| line.split_once(' '));
        match task.expect(line) {
            (task, "begins") => assert!(begun.insert(task) && running.insert(task), "{printed}"),
            (task, _) => assert!(running.remove(task), "{printed}"),
        }
        assert!(running.len() <= 3, "{printed}");
    }
    assert!(running.is_empty() && begun == ["0", "1", "2", "3", "4", "5"].into(), "{printed}");
}

#[test]
fn program_6_runs_one_task_after_the_other() {
    let said: String = (0..6).map(|n| format!("Task {n} begins\nTask {n} ends\n")).collect();
    assert_eq!(prints("06-apply.sh"), said + "All tasks are done\n");
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
fn program_13_consumes_what_is_produced() {
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

/// Prevents that a program is added and never run.
#[test]
fn each_program_has_a_test() {
    let folder = std::fs::read_dir(workspace().join("examples/from-python")).expect("the programs");
    let names = folder.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let programs: BTreeSet<String> = names.filter(|name| name.ends_with(".sh") && name != "setup.sh").collect();
    assert!(programs.len() >= 18, "{programs:?}");
    let tests = include_str!("from_python.rs");
    for program in programs {
        assert!(tests.contains(&format!("(\"{program}\")")), "{program}");
    }
}
