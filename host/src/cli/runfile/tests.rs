//! Plans of files, and the order in which their processes start.

use std::path::Path;
use std::time::Duration;

use super::error::PlanError;
use super::file::{Restart, RunFile};
use super::order::{AttemptEnd, Never, NextAct, StartOrder};
use super::plan::{Plan, Work};
use crate::cli::manifest::read;
use wasmpool_core::share::ObjectRights;

fn plan_of(text: &str) -> Result<Plan, PlanError> {
    Plan::of(read::text::<RunFile>(text).expect("a file that can be read"), Path::new("folder"))
}

fn plan(text: &str) -> Plan {
    plan_of(text).expect("a plan")
}

const SECOND: Duration = Duration::from_secs(1);

/// Returns all that is to be done at this time.
fn acts(order: &mut StartOrder, now: Duration) -> Vec<NextAct> {
    std::iter::from_fn(|| order.next(now)).collect()
}

#[test]
fn processes_have_the_order_of_the_file_and_paths_that_of_its_folder() {
    let plan = plan("[process.z]\ntask = 'one.wasm'\ncount = 2\n[process.a]\ntask = '/two.wasm'\n");
    let names: Vec<&str> = plan.processes.iter().map(|process| &*process.name).collect();
    assert_eq!(names, ["z", "a"]);
    assert_eq!(plan.processes[0].task, Path::new("folder/one.wasm"));
    assert_eq!(plan.processes[1].task, Path::new("/two.wasm"));
    assert_eq!(plan.instances(), [(0, 0), (0, 1), (1, 0)]);
    assert_eq!((plan.processes[0].label(1), plan.processes[1].label(0)), ("z-1".to_owned(), "a".to_owned()));
}

#[test]
fn arguments_are_json_and_hold_the_number_of_the_process() {
    let plan = plan(
        "[process.a]\ntask = 'x'\nargs = [1, 2.5, true, 'null', '\"w{#}\"', '18446744073709551615']\narg = {key = '[{#}]'}\n\
         [process.b]\ntask = 'x'\ncommand = ['-n', '{#}', '{}']\n",
    );
    let Work::Function { arguments, bound, .. } = plan.processes[0].work.numbered(3) else {
        panic!("a function");
    };
    assert_eq!(arguments, ["1", "2.5", "true", "null", "\"w3\"", "18446744073709551615"]);
    assert_eq!(bound, [("key".to_owned(), "[3]".to_owned())]);
    let Work::Command { arguments, .. } = plan.processes[1].work.numbered(3) else {
        panic!("a command");
    };
    assert_eq!(arguments, ["-n", "3", "{}"]);
}

#[test]
fn each_standard_stream_that_is_read_has_a_pipe_of_its_own() {
    let plan = plan(
        "[share]\nq = 'queue'\n\
         [process.a]\ntask = 'x'\ncommand = []\nshare = ['q:put']\n\
         [process.b]\ntask = 'x'\ncommand = []\nstdin = 'a'\n\
         [process.c]\ntask = 'x'\ncommand = []\nstdin = 'b'\n",
    );
    assert_eq!((plan.named, plan.objects.len()), (1, 3));
    assert_eq!((plan.pipe_of(0), plan.pipe_of(1), plan.pipe_of(2)), (Some(1), Some(2), None));
    let reached = |process: usize| {
        let all = plan.reached(process).into_iter();
        all.map(|(object, rights)| (object, rights.first, rights.second)).collect::<Vec<_>>()
    };
    assert_eq!(reached(0), [(0, false, true), (1, false, true)]);
    assert_eq!(reached(1), [(1, true, false), (2, false, true)]);
    assert_eq!(reached(2), [(2, true, false)]);
}

#[test]
fn rights_are_those_that_the_object_leaves_and_the_process_takes() {
    let rights = |object: &str, share: &str| {
        let text = format!("[share]\no = '{object}'\n[process.a]\ntask = 'x'\nshare = ['{share}']\n");
        plan_of(&text).map(|plan| (plan.processes[0].rights[0].1.first, plan.processes[0].rights[0].1.second))
    };
    assert_eq!(rights("queue", "o"), Ok((true, true)));
    assert_eq!(rights("queue", "o:get"), Ok((true, false)));
    assert_eq!(rights("queue:put", "o"), Ok((false, true)));
    assert!(matches!(rights("queue:put", "o:get"), Err(PlanError::NoRight { .. })));
    assert_eq!(rights("value:s64", "o:ro"), Ok((true, false)));
    assert_eq!(rights("lock", "o"), Ok((true, true)));
    assert!(matches!(rights("lock", "o:ro"), Err(PlanError::Right { .. })));
}

#[test]
fn processes_that_wait_for_each_other_are_named() {
    let error = plan_of(
        "[process.a]\ntask = 'x'\nafter = ['b']\n[process.b]\ntask = 'x'\nafter = ['c:ended']\n\
         [process.c]\ntask = 'x'\nafter = ['a:started']\n[process.d]\ntask = 'x'\n",
    );
    let Err(PlanError::Circle { names }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn the_ends_of_a_pipe_between_commands_run_at_the_same_time_and_once() {
    let refused = |a: &str, b: &str| {
        let text = format!(
            "[process.a]\ntask = 'x'\ncommand = []\n{a}\n[process.b]\ntask = 'x'\ncommand = []\nstdin = 'a'\n{b}\n"
        );
        plan_of(&text).expect_err("it cannot be")
    };
    assert!(matches!(refused("", "after = ['a:ended']"), PlanError::WaitsForPipe { .. }));
    assert!(matches!(refused("after = ['b:ended']", ""), PlanError::WaitsForPipe { .. }));
    assert!(matches!(refused("count = 2", ""), PlanError::SeveralAtPipe { .. }));
    assert!(matches!(refused("", "restart = 'always'"), PlanError::RestartedAtPipe { .. }));
    let more = "[process.c]\ntask = 'x'\ncommand = []\nstdin = 'a'\n";
    assert!(matches!(refused("", more), PlanError::ReadTwice { .. }));
}

#[test]
fn processes_that_wait_for_each_other_through_pipes_and_starts_are_named() {
    let command = |name: &str, rest: &str| format!("[process.{name}]\ntask = 'x'\ncommand = []\n{rest}\n");
    for (rest, circle) in [
        // Each reads what the other writes.
        ([("a", "stdin = 'b'"), ("b", "stdin = 'a'"), ("c", "stdin = 'd'"), ("d", "")], &["a", "b"][..]),
        (
            [("a", "stdin = 'c'"), ("b", "stdin = 'a'"), ("c", "stdin = 'b'"), ("d", "after = ['a:ended']")],
            &["a", "b", "c"],
        ),
        // The reader starts after something that waits for the end of the writer.
        ([("w", ""), ("r", "stdin = 'w'\nafter = ['x']"), ("x", "after = ['w:ended']"), ("y", "")], &["w", "r", "x"]),
        (
            [("w", ""), ("r", "stdin = 'w'\nafter = ['x']"), ("x", "after = ['y']"), ("y", "after = ['w:ended']")],
            &["w", "r", "x", "y"],
        ),
        // The writer starts after something that waits for the end of the reader.
        ([("w", "after = ['x']"), ("r", "stdin = 'w'"), ("x", "after = ['r:ended']"), ("y", "")], &["w", "r", "x"]),
    ] {
        let text: String = rest.iter().map(|(name, rest)| command(name, rest)).collect();
        assert_eq!(
            plan_of(&text).err(),
            Some(PlanError::NeverEnd { names: circle.iter().map(|&name| name.to_owned()).collect() })
        );
    }
    for rest in [
        [("w", ""), ("r", "stdin = 'w'"), ("x", "after = ['w:ended', 'r:ended']")],
        [("w", ""), ("r", "stdin = 'w'\nafter = ['w', 'x']"), ("x", "")],
        [("w", "after = ['r', 'x:ended']"), ("r", "stdin = 'w'"), ("x", "after = ['r']")],
    ] {
        let text: String = rest.iter().map(|(name, rest)| command(name, rest)).collect();
        assert!(plan_of(&text).is_ok(), "{text}");
    }
}

#[test]
fn what_nobody_could_give_is_not_waited_for() {
    let text = |share: &str, first: &str, second: &str| {
        format!(
            "[share]\n{share}\n[process.a]\ntask = 'x'\nshare = [{first}]\n[process.b]\ntask = 'x'\nshare = [{second}]\n"
        )
    };
    let link = |first, second| plan_of(&text("link = 'pipe'", first, second)).err();
    let end_of_nobody = |end| Some(PlanError::EndOfNobody { pipe: "link".to_owned(), end });
    assert_eq!(link("'link:first'", ""), end_of_nobody("second"));
    assert_eq!(link("", "'link:second'"), end_of_nobody("first"));
    assert_eq!(plan_of(&text("link = 'pipe:first'", "'link'", "")).err(), end_of_nobody("second"));
    assert_eq!(link("'link:first'", "'link:second'"), None);
    assert_eq!(link("'link'", ""), None);
    assert_eq!(link("", ""), None);
    let barrier = |first, second| plan_of(&text("meet = 'barrier:2'", first, second)).err();
    let too_few = PlanError::TooFewParties { barrier: "meet".to_owned(), parties: 2, count: 1 };
    assert_eq!(barrier("'meet'", ""), Some(too_few));
    assert_eq!((barrier("'meet'", "'meet'"), barrier("", "")), (None, None));
    let after = |restart: &str| {
        plan_of(&format!("[process.a]\ntask = 'x'\n{restart}\n[process.b]\ntask = 'x'\nafter = ['a:ended']\n")).err()
    };
    let endless = PlanError::AfterEndless { name: "b".to_owned(), other: "a".to_owned() };
    assert_eq!(after("restart = 'always'"), Some(endless));
    assert_eq!((after("restart = 'always'\nrestarts = 3"), after("restart = 'on-failure'")), (None, None));
}

/// A plugin may ask for less than the file gives.
#[test]
fn what_a_plugin_does_not_ask_for_is_taken_away_before_the_ends_of_pipes_are_checked() {
    let text = "[share]\nlink = 'pipe'\nq = 'queue'\n[process.a]\ntask = 'x'\nshare = ['link', 'q:get']\n";
    let right = |first, second| Some(ObjectRights { first, second });
    let mut whole = plan(text);
    assert_eq!(whole.narrow(|_, name| if name == "q" { right(false, true) } else { right(true, true) }), Ok(()));
    assert_eq!(whole.processes[0].rights, [(0, ObjectRights::ALL)]);
    let end_of_nobody = PlanError::EndOfNobody { pipe: "link".to_owned(), end: "second" };
    assert_eq!(plan(text).narrow(|_, name| if name == "q" { None } else { right(true, false) }), Err(end_of_nobody));
}

#[test]
fn a_process_starts_once_what_it_waits_for_has_happened() {
    let plan = plan(
        "[process.a]\ntask = 'x'\ncount = 2\n[process.b]\ntask = 'x'\nafter = ['a']\n\
         [process.c]\ntask = 'x'\nafter = ['a:ended', 'b']\n",
    );
    let mut order = StartOrder::of(&plan);
    assert_eq!(acts(&mut order, SECOND), [NextAct::Start(0), NextAct::Start(1)]);
    order.started(0);
    assert_eq!(acts(&mut order, SECOND), []);
    order.started(1);
    assert_eq!(acts(&mut order, SECOND), [NextAct::Start(2)]);
    order.started(2);
    order.ended(0, AttemptEnd::Success, SECOND);
    assert_eq!(acts(&mut order, SECOND), []);
    order.ended(1, AttemptEnd::Success, SECOND);
    assert_eq!(acts(&mut order, SECOND), [NextAct::Start(3)]);
    order.ended(2, AttemptEnd::Success, SECOND);
    order.ended(3, AttemptEnd::Failure, SECOND);
    assert!(order.is_over());
}

#[test]
fn what_waits_for_a_process_that_fails_is_never_started() {
    let plan = plan(
        "[process.a]\ntask = 'x'\n[process.b]\ntask = 'x'\nafter = ['a:ended']\n[process.c]\ntask = 'x'\nafter = ['b']\n\
         [process.d]\ntask = 'x'\nafter = ['a']\n",
    );
    let mut order = StartOrder::of(&plan);
    assert_eq!(acts(&mut order, SECOND), [NextAct::Start(0)]);
    order.started(0);
    order.ended(0, AttemptEnd::Failure, SECOND);
    let all = acts(&mut order, SECOND);
    assert_eq!(all, [NextAct::Cancel(1, Never::After(0)), NextAct::Cancel(2, Never::After(1)), NextAct::Start(3)]);
    assert_eq!((order.attempts(1), order.attempts(3)), (0, 1));
}

#[test]
fn restarts_have_pauses_that_grow_and_an_end() {
    let plan = plan("[process.a]\ntask = 'x'\nrestart = 'on-failure'\nrestarts = 2\n");
    assert_eq!(plan.processes[0].restart, Restart::OnFailure);
    let mut order = StartOrder::of(&plan);
    let mut now = SECOND;
    assert_eq!(acts(&mut order, now), [NextAct::Start(0)]);
    let mut pauses = Vec::new();
    for _ in 0..2 {
        assert!(order.ended(0, AttemptEnd::Failure, now));
        assert_eq!(acts(&mut order, now), []);
        let due = order.deadline().expect("a restart");
        pauses.push(due - now);
        now = due;
        assert_eq!(acts(&mut order, now), [NextAct::Start(0)]);
    }
    assert!(pauses[0] < pauses[1], "{pauses:?}");
    assert!(!order.ended(0, AttemptEnd::Failure, now));
    assert!(order.is_over() && order.attempts(0) == 3);
}

#[test]
fn a_success_is_repeated_only_where_that_is_asked_for() {
    for (restart, again) in [("never", false), ("on-failure", false), ("always", true)] {
        let plan = plan(&format!("[process.a]\ntask = 'x'\nrestart = '{restart}'\n"));
        let mut order = StartOrder::of(&plan);
        assert_eq!(acts(&mut order, SECOND), [NextAct::Start(0)]);
        assert_eq!(order.ended(0, AttemptEnd::Success, SECOND), again, "{restart}");
    }
}

#[test]
fn daemons_end_with_the_others_whether_they_run_wait_or_pause() {
    let plan = plan(
        "[process.runs]\ntask = 'x'\ndaemon = true\nrestart = 'always'\n\
         [process.pauses]\ntask = 'x'\ndaemon = true\nrestart = 'always'\n\
         [process.work]\ntask = 'x'\n[process.waits]\ntask = 'x'\ndaemon = true\nafter = ['work:ended']\n",
    );
    let mut order = StartOrder::of(&plan);
    assert_eq!(acts(&mut order, SECOND), [NextAct::Start(0), NextAct::Start(1), NextAct::Start(2)]);
    assert!(order.ended(1, AttemptEnd::Failure, SECOND));
    assert!(!order.ended(2, AttemptEnd::Success, SECOND));
    let ends = [NextAct::Terminate(0), NextAct::Settle(1), NextAct::Cancel(3, Never::NotNeeded)];
    assert_eq!(acts(&mut order, SECOND), ends);
    assert!(!order.is_over());
    assert!(!order.ended(0, AttemptEnd::Terminated, SECOND));
    assert!(order.is_over());
}

#[test]
fn an_interrupt_starts_nothing_more() {
    let plan = plan(
        "[process.a]\ntask = 'x'\nrestart = 'on-failure'\n[process.b]\ntask = 'x'\nrestart = 'always'\n\
         [process.c]\ntask = 'x'\nafter = ['a:ended']\n",
    );
    let mut order = StartOrder::of(&plan);
    assert_eq!(acts(&mut order, SECOND), [NextAct::Start(0), NextAct::Start(1)]);
    assert!(order.ended(0, AttemptEnd::Failure, SECOND));
    order.stop();
    assert_eq!(acts(&mut order, SECOND), [NextAct::Settle(0), NextAct::Cancel(2, Never::Stopping)]);
    assert!(!order.ended(1, AttemptEnd::Success, SECOND));
    assert!(order.is_over());
}

#[test]
fn a_process_that_receives_from_one_that_starts_after_its_end_is_refused() {
    let text = |pipe: &str, receiver: &str, sender: &str| {
        format!(
            "[share]\nlink = '{pipe}'\n[process.r]\ntask = 'x'\nshare = ['link:first']\n{receiver}\n\
             [process.s]\ntask = 'x'\nshare = ['link:second']\n{sender}\n[process.x]\ntask = 'x'\nafter = ['r:ended']\n"
        )
    };
    for (sender, names) in [("after = ['r:ended']", &["r", "s"][..]), ("after = ['x']", &["r", "s", "x"])] {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(plan_of(&text("pipe", "", sender)).err(), Some(PlanError::NeverEnd { names }));
        // What was sent may be received later, and at such a pipe either side may send.
        assert!(plan_of(&text("pipe:duplex", "", sender)).is_ok());
    }
    for receiver in ["", "after = ['s']", "after = ['s:ended']"] {
        assert!(plan_of(&text("pipe", receiver, "")).is_ok());
    }
}
