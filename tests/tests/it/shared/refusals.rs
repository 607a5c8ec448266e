//! Each way to be refused is an error of its own, which says what to do.

use super::{Session, come_to, in_turn, orders};

/// Runs one item on these objects, and checks how each of its orders is refused.
#[track_caller]
fn refused(shares: &[&str], refusals: &[(&str, &str)]) {
    for (order, wanted) in refusals {
        let output = in_turn(shares, &[order]).run();
        assert_eq!(super::endings(&output), [*wanted], "{order}: {}", output.stderr);
    }
}

/// Row 0.14.
#[test]
fn an_object_that_was_not_granted_is_named_with_the_option() {
    let kinds = [
        ("put a x -", "queue", "a=queue"),
        ("end a/first", "pipe", "a=pipe"),
        ("load a", "value", "a=value:TYPE"),
        ("array-length a", "array", "a=array:TYPE:LENGTH"),
        ("lock a 0", "lock", "a=lock"),
        ("rlock a 0", "rlock", "a=rlock"),
        ("acquire a 0", "semaphore", "a=semaphore:SLOTS"),
        ("is-set a", "event", "a=event"),
        ("enter a 0", "condition", "a=condition"),
        ("parties a", "barrier", "a=barrier:PARTIES"),
        ("dict-get a k", "dict", "a=dict"),
        ("push a x", "list", "a=list"),
        ("ns-names a", "namespace", "a=namespace"),
    ];
    let items: Vec<String> = kinds.iter().map(|(order, ..)| format!("??{order}")).collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    // Also if others are granted, and if none is.
    for shares in [&["b=queue"][..], &[]] {
        let output = in_turn(shares, &items).run().exits(0);
        for ((order, kind, option), ending) in kinds.iter().zip(super::endings(&output)) {
            let wanted = format!("not-granted=no {kind} `a` is granted; grant it with --share {option}");
            assert_eq!(ending, wanted, "{order}");
        }
    }
}

#[test]
fn an_item_that_fails_for_want_of_an_object_names_it_in_its_record() {
    let run = orders(&["other=queue"]).arg("-j1").input("get jobs 0\nput jobs x 0\n");
    let output = run.run().exits(1);
    assert_eq!(super::endings(&output)[0], "not-granted: no queue `jobs` is granted; grant it with --share jobs=queue");
    let denied = output.records()[0].get("denied").map(ToString::to_string).unwrap_or_default();
    assert_eq!(denied, "[\"the queue `jobs` (--share jobs=queue)\"]");
}

/// What a guest makes of a refusal names no object, whatever language it is in.
#[test]
fn an_item_that_fails_after_a_refusal_says_which_object_refused() {
    let shares = ["jobs=queue:1", "gate=lock", "p=pipe:first", "room=semaphore:0"];
    for (item, says) in [
        ("put jobs a 0 ; put jobs b 0", "`jobs`: it is full"),
        ("shutdown jobs ; get jobs 0", "`jobs`: it is closed"),
        (
            "end p/second",
            "`p` was granted without its second end (`:second`), which it has where neither right is named",
        ),
        ("unlock gate", "`gate`: nobody holds it"),
        ("?get jobs 0 ; trap", "`jobs`: it is empty"),
        ("end p/first ; recv p/first 0", "`p`: no message came in time"),
        ("acquire room 0 ; trap", "`room`: it did not come free in time"),
    ] {
        let output = in_turn(&shares, &[item]).run().exits(1);
        let message = output.records()[0].get("message").map(ToString::to_string).unwrap_or_default();
        assert!(message.contains(says), "{item}: {message}");
    }
    let output = in_turn(&shares, &["?get jobs 0 ; put jobs a 0 ; trap", "trap"]).run().exits(1);
    let told = output
        .records()
        .iter()
        .any(|record| record.get("message").is_some_and(|said| said.to_string().contains("refused")));
    assert!(!told, "{}", output.text());
}

/// Row 0.15.
#[test]
fn an_object_of_another_kind_is_an_error_that_names_both() {
    refused(
        &["gate=lock", "total=value:s64", "hist=array:u8:2", "seen=dict", "all=list"],
        &[
            ("??get gate 0", "wrong-kind=`gate` is a lock, not a queue"),
            ("??rlock gate 0", "wrong-kind=`gate` is a lock, not an rlock"),
            ("??lock hist 0", "wrong-kind=`hist` is an array, not a lock"),
            ("??load hist", "wrong-kind=`hist` is an array, not a value"),
            ("??ns-names seen", "wrong-kind=`seen` is a dict, not a namespace"),
            ("??dict-get all k", "wrong-kind=`all` is a list, not a dict"),
            ("??add total u8:1", "wrong-kind=`total` holds s64, and the number is of type u8"),
            ("??array-store hist 0 f64:1.5", "wrong-kind=`hist` holds u8, and the number is of type f64"),
        ],
    );
}

/// Row 6.12.
#[test]
fn what_a_right_does_not_allow_is_denied_by_its_name() {
    let denied = |name: &str, right: &str| match right {
        "write" => format!(
            "denied=`{name}` was granted without the right to write (`:rw`), which it has where neither right is named"
        ),
        "second" => format!(
            "denied=`{name}` was granted without its second end (`:second`), which it has where neither right is named"
        ),
        _ => format!(
            "denied=`{name}` was granted without the right to {right} (`:{right}`), which it has where neither right is named"
        ),
    };
    let of = |order: &str, name: &str, right: &str| (format!("??{order}"), denied(name, right));
    let cases = [
        of("get jobs 0", "jobs", "get"),
        of("take jobs 0", "jobs", "get"),
        of("put done x 0", "done", "put"),
        of("shutdown done", "done", "put"),
        of("store total 1", "total", "write"),
        of("add total 1", "total", "write"),
        of("swap total 0 1", "total", "write"),
        of("array-write hist 0 1", "hist", "write"),
        of("set-event go", "go", "write"),
        of("clear-event go", "go", "write"),
        of("dict-set seen k v", "seen", "write"),
        of("dict-pop seen k", "seen", "write"),
        of("dict-increment seen k 1", "seen", "write"),
        of("dict-clear seen", "seen", "write"),
        of("push all x", "all", "write"),
        of("list-pop all 0", "all", "write"),
        of("ns-set names a b", "names", "write"),
        of("end p/second", "p", "second"),
        of("kv-set seen k v", "seen", "write"),
    ];
    let shares = [
        "jobs=queue:put",
        "done=queue:get",
        "total=value:s64:ro",
        "hist=array:u64:2:ro",
        "go=event:ro",
        "seen=dict:ro",
        "all=list:ro",
        "names=namespace:ro",
        "p=pipe:first",
    ];
    let items: Vec<&str> = cases.iter().map(|(order, _)| order.as_str()).collect();
    let output = in_turn(&shares, &items).run();
    for ((order, wanted), ending) in cases.iter().zip(super::endings(&output)) {
        match order.strip_prefix("??kv-set") {
            Some(_) => assert_eq!(ending, "invalid=access-denied"),
            None => assert_eq!(ending, *wanted, "{order}"),
        }
    }
    // What is left can be done.
    come_to(
        &shares,
        &[
            ("put jobs x 0 ; size jobs ; ?get done 0 ; load total ; array-load hist 1", "ok 1 empty 0 0"),
            (
                "is-set go ; wait-event go 0 ; dict-get seen k ; list-length all ; ns-names names",
                "false false none 0 []",
            ),
            ("end p ; ?recv p 0", "ok timeout"),
        ],
    );
}

#[test]
fn full_empty_closed_and_timeout_are_four_errors() {
    refused(
        &["jobs=queue:1", "p=pipe:entries=1"],
        &[
            ("put jobs a 0 ; ??put jobs b 0 ; ??put jobs b 20", "ok full= full="),
            ("??get jobs 0 ; ??take jobs 20 ; ??get-many jobs 3 0", "empty= empty= empty="),
            ("shutdown jobs ; ??put jobs a - ; ??get jobs -", "ok closed= closed="),
            ("end p/first ; ??recv p/first 0 ; ??recv p/first 20", "ok timeout= timeout="),
            ("send p/second a 0 ; ??send p/second b 0", "ok full="),
            ("end p/first ; close p/first ; ??recv p/first 0", "ok ok closed="),
        ],
    );
}

/// Rows 0.12 and 6.19.
#[test]
fn a_quota_is_named_with_its_option() {
    let bytes = |name: &str| format!("quota=`{name}`: it may hold 8 bytes (`:bytes=8`), and this has 9");
    let entries = |name: &str| format!("quota=`{name}`: it may hold 2 entries (`:entries=2`)");
    refused(
        &["jobs=queue:bytes=8", "seen=dict:entries=2", "few=dict:bytes=8", "all=list:entries=2", "p=pipe:bytes=8"],
        &[
            ("??put jobs 123456789 -", &bytes("jobs")),
            ("put jobs 12345678 0 ; ??put jobs 1 0", "ok full="),
            (
                "dict-set seen a 1 ; dict-set seen b 1 ; dict-set seen a 2 ; ??dict-set seen c 1",
                &format!("1 2 3 {}", entries("seen")),
            ),
            ("??dict-set-many seen a=1 b=2 c=3 ; dict-length seen", &format!("{}, and these are 3 0", entries("seen"))),
            ("dict-set few k 1234567 ; ??dict-set few k 12345678", &format!("1 {}", bytes("few"))),
            (
                "extend all a b ; ??push all c ; ??insert all 0 c ; list-length all",
                &format!("ok {0} {0} 2", entries("all")),
            ),
            ("??send p/second 123456789 -", &bytes("p")),
        ],
    );
}

/// Rows 5.1, 5.2, 5.4, 5.7, 5.8, 5.14 and 2.13.
#[test]
fn what_is_not_held_cannot_be_released() {
    refused(
        &["gate=lock", "again=rlock", "room=semaphore:1:bounded", "more=semaphore:1", "turn=condition", "jobs=queue"],
        &[
            ("??unlock gate ; ??runlock again ; ??leave turn", "not-held= not-held= not-held="),
            ("??wait turn 0 ; ??notify turn 1 ; ??notify-all turn", "not-held= not-held= not-held="),
            ("lock gate 0 ; unlock gate ; ??unlock gate", "acquired ok not-held="),
            (
                "rlock again 0 ; rlock again 0 ; runlock again ; rlocked again ; runlock again ; ??runlock again",
                "acquired acquired ok true ok not-held=",
            ),
            ("??release room ; release more ; slots more", "too-many= ok 2"),
            ("??task-done jobs ; ??finish jobs 7", "too-many= not-held="),
        ],
    );
    let mut session =
        Session::start("2", &[], &["gate=lock", "again=rlock", "turn=condition", "held=event", "go=event"]);
    session.give("lock gate - ; rlock again - ; enter turn - ; set-event held ; wait-event go -");
    let other = "wait-event held - ; ??unlock gate ; ??runlock again ; ??leave turn ; ??notify turn 1 ; set-event go";
    session.give(other);
    let came = session.both();
    assert_eq!(came, ["acquired acquired acquired ok true", "true not-holder= not-holder= not-holder= not-holder= ok"]);
    assert_eq!(session.end(), 0);
}

/// Rows 3.2, 3.12 and 3.13.
#[test]
fn a_pipe_refuses_the_wrong_direction_and_a_message_that_is_too_long() {
    refused(
        &["p=pipe", "both=pipe:duplex"],
        &[
            ("end p/first ; ??send p/first a 0", "ok not-writable="),
            ("end p/second ; ??recv p/second 0 ; ??poll p/second 0", "ok not-readable= not-readable="),
            ("send p/second 12345 0 ; ??recv-at-most p/first 4 0 ; recv-at-most p/first 5 0", "ok too-long=5 12345"),
            ("send both/first a 0 ; send both/second b 0 ; recv both/first 0 ; recv both/second 0", "ok ok b a"),
            ("end p/first ; close p/first ; ??send p/second a 0", "ok ok closed-by-peer="),
        ],
    );
}

/// Row 4.6.
#[test]
fn an_index_outside_is_an_error_that_says_the_length() {
    for (order, says) in [
        ("??array-load hist 3", "out-of-range=`hist`: "),
        ("??array-store hist 4294967295 u64:1", "out-of-range=`hist`: "),
        ("??array-read hist 2 2", "out-of-range=`hist`: "),
        ("??array-write hist 2 1 2", "out-of-range=`hist`: "),
        ("??list-get all 0", "out-of-range="),
        ("??list-set all -1 x", "out-of-range="),
    ] {
        let output = in_turn(&["hist=array:u64:3", "all=list"], &[order]).run();
        let ending = &super::endings(&output)[0];
        assert!(ending.starts_with(says), "{order}: {ending}");
        assert!(ending.contains(if order.contains("hist") { "3" } else { "0" }), "{order}: {ending}");
    }
    come_to(
        &["none=array:u8:0", "all=list"],
        &[
            ("array-length none ; array-read none 0 0", "0 U8([])"),
            ("??list-pop all 0 ; ??list-pop all -1", "empty= empty="),
        ],
    );
}

/// Row 4.2: what does not fit a type is refused, and additions wrap around.
#[test]
fn numbers_keep_their_type() {
    come_to(
        &["small=value:u8", "flag=value:bool", "letter=value:char", "real=value:f32", "deep=value:s64"],
        &[
            ("store small u8:255 ; add small u8:1 ; add small u8:255", "ok 0 255"),
            ("store deep 9223372036854775807 ; add deep 1", "ok -9223372036854775808"),
            ("store flag bool:true ; load flag ; swap flag bool:true bool:false ; load flag", "ok true true false"),
            ("store letter char:ß ; load letter ; swap letter char:a char:b ; load letter", "ok ß ß ß"),
            ("store real f32:1.5 ; add real f32:0.25", "ok 1.75"),
            ("?add flag bool:true ; ?add letter char:a", "invalid invalid"),
        ],
    );
}

#[test]
fn more_entries_than_can_be_set_at_once_are_a_quota_that_says_how_many() {
    let many: String = (0..10_001).map(|number| format!(" {number}=")).collect();
    let said =
        "quota=`seen`: 10001 entries at a time are more than 10000, for which others have to wait: use several calls";
    refused(&["seen=dict"], &[(&format!("??dict-set-many seen{many} ; dict-length seen"), &format!("{said} 0"))]);
}

#[test]
fn a_name_that_no_object_can_have_is_not_told_with_an_option_that_grants_it() {
    let said = "and none can be: a name consists of letters, digits, `_`, `-` and `.`, at most 64 of them";
    let long = "x".repeat(65);
    for name in ["a=b", "ü", &long] {
        let item = format!("??get {name} 0");
        let output = in_turn(&["jobs=queue"], &[&item]).run();
        let ending = &super::endings(&output)[0];
        assert!(ending.contains(said) && !ending.contains("--share"), "{ending}");
    }
}

#[test]
fn a_call_of_the_host_that_is_too_large_is_not_called_a_result() {
    let output = in_turn(&["jobs=queue:bytes=1GiB"], &["??put-long jobs 140000000"])
        .args(["--max-output", "1MiB"])
        .run()
        .exits(1);
    let record = &output.records()[0];
    assert_eq!(record.kind(), "output-too-large");
    let message = record.get("message").and_then(serde_json::Value::as_str).expect("a message");
    assert!(
        message.contains("what it passed to a function of the host at once") && message.contains("--max-output"),
        "{message}"
    );
}
