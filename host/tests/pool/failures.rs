//! Errors are reported to the caller whom they concern, and no caller waits for ever.

use wasmpool::{Error, FailureKind};

use crate::support::{ECHO, OFFSET, SPIN, SQUARES, TWO, beside_others, builder, pool};

#[test]
fn a_function_that_is_not_there_fails_its_calls_and_no_others() {
    let _beside = beside_others();
    let pool = pool(SQUARES);
    let wrong = pool.function("cube");
    for _ in 0..3 {
        assert!(matches!(wrong.apply::<_, i64>(1), Err(Error::Task(why)) if why.to_string().contains("cube")));
    }
    assert!(matches!(wrong.map_async::<_, i64>(0..5).unwrap().get(), Err(Error::Task(_))));
    let mut lazy = wrong.imap::<_, i64>(0i64..);
    assert!(matches!(lazy.next(), Some(Err(Error::Task(_)))));
    assert!(lazy.next().is_none());
    assert_eq!(pool.apply::<_, i64>(2).unwrap(), 4);
}

#[test]
fn a_function_that_has_to_be_named_can_be_named_later() {
    let _beside = beside_others();
    let pool = pool(TWO);
    assert!(matches!(pool.apply::<_, i64>(1), Err(Error::Task(why)) if why.to_string().contains("twice")));
    assert_eq!(pool.function("negate").apply::<_, i64>(1).unwrap(), -1);
}

#[test]
fn a_task_that_is_none_is_an_error_of_build() {
    let _beside = beside_others();
    let built = builder(&b"no wasm"[..]).build();
    assert!(matches!(built, Err(Error::Task(why)) if why.to_string().contains("the task")));
    let built = builder("/nowhere/at/all.wasm").build();
    assert!(matches!(built, Err(Error::Task(why)) if why.to_string().contains("/nowhere/at/all.wasm")));
    let granted = builder(SQUARES).grant_dir("/nowhere/at/all", "/data", false).build();
    assert!(
        matches!(granted, Err(Error::Grant(wasmpool::GrantError::Directory { host, .. })) if host.ends_with("nowhere/at/all"))
    );
}

#[test]
fn an_init_that_fails_is_told_to_whoever_calls() {
    let _beside = beside_others();
    let built = builder(OFFSET).init(&"no number").build();
    let told = match built {
        Err(e) => e,
        Ok(pool) => pool.apply::<_, i64>(1).unwrap_err(),
    };
    assert!(matches!(told, Error::Task(_)), "{told:?}");
}

#[test]
fn limits_are_those_of_the_call() {
    let _beside = beside_others();
    let pool = pool(SPIN);
    let kind = |result: Result<i64, Error>| match result {
        Err(Error::Item(e)) => e.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(pool.fuel(10_000).apply(-1)), FailureKind::Fuel);
    assert_eq!(kind(pool.timeout(std::time::Duration::from_millis(50)).apply(-1)), FailureKind::Timeout);
    let echo = pool.task(ECHO).unwrap();
    let small = echo.max_output(10).apply::<_, String>("YWJjZGVmZ2hpamts");
    assert!(matches!(small, Err(Error::Item(e)) if e.kind == FailureKind::OutputTooLarge));
    let tight = echo.memory(1 << 20).apply::<_, wasmpool::Bytes>(wasmpool::Bytes(vec![0; 4 << 20]));
    assert!(matches!(tight, Err(Error::Item(e)) if matches!(e.kind, FailureKind::Memory | FailureKind::Trap)));
}
