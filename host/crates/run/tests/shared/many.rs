//! Many participants at a time: more than were foreseen, and more than there can be.

use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use wasmpool_core::share::ObjectForm;
use wasmpool_objects::operation::{Operation, Reply};

use crate::support::*;

/// `settings` foresees four workers.
#[test]
fn there_can_be_more_participants_than_were_foreseen() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    let mut all: Vec<Client> = (0..400).map(|n| Client::new(&objects, &format!("participant {n}"))).collect();
    for client in &mut all {
        assert_eq!(client.ask(0, Operation::IsLocked, SOON), Ok(Reply::Bool(false)));
    }
    assert_eq!(objects.host().ask(0, Operation::IsLocked, None).unwrap(), Ok(Reply::Bool(false)));
}

/// The manager would have no descriptor left, not even to hear the next order.
#[test]
fn a_participant_too_many_is_refused_and_ends_nothing() {
    const FEW: &str = "WASMPOOL_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(FEW).is_none() {
        // A limit that is lowered stays, so the test goes on in a process of its own.
        let name = "many::a_participant_too_many_is_refused_and_ends_nothing";
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n 80 && exec \"$@\"", "sh"]).arg(std::env::current_exe().unwrap());
        assert!(shell.args(["--exact", name]).env(FEW, "1").status().unwrap().success());
        return;
    }
    let objects = objects(&[spec("gate", ObjectForm::Lock)]);
    // Some are for the manager itself. This process has two for each participant, and few besides.
    let mut attached = Vec::new();
    let error = loop {
        match objects.attach("participant", &all(&objects)) {
            Ok(one) => attached.push(one),
            Err(error) => break error,
        }
        assert!(attached.len() < 100);
    };
    assert!(error.to_string().contains("ulimit -Hn"), "{error}");
    assert_eq!(objects.host().ask(0, Operation::IsLocked, None).unwrap(), Ok(Reply::Bool(false)));
    // When one has left, there is room for another.
    drop(attached.pop());
    objects.host().settle().unwrap();
    assert!(objects.attach("participant", &all(&objects)).is_ok());
    assert_eq!(objects.host().ask(0, Operation::IsLocked, None).unwrap(), Ok(Reply::Bool(false)));
}
