//! The interfaces as a guest sees them, over the machine of the objects in this process: every kind, and what an item leaves
//! behind.

mod guest;
mod local;

use guest::World;
use wasmpool_core::share::{NumberType, ObjectForm, ObjectRights};

const READ: ObjectRights = ObjectRights { first: true, second: false };
const WRITE: ObjectRights = ObjectRights { first: false, second: true };

fn queue() -> ObjectForm {
    ObjectForm::Queue { capacity: None }
}

#[test]
fn queues_pass_messages_in_order_and_tell_full_empty_and_closed_apart() {
    let world = World::of(&[("jobs", ObjectForm::Queue { capacity: Some(2) })]);
    let mut worker = world.worker("w");
    worker.answers("put jobs a 0 ; put jobs b - ; ?put jobs c 0 ; full jobs ; size jobs", "ok ok full true 2");
    worker.answers("get jobs 0 ; get jobs - ; ?get jobs 0 ; ?get jobs 5 ; empty jobs", "a b empty empty true");
    worker.answers("put jobs a - ; put jobs b - ; get-many jobs 10 -", "ok ok [a,b]");
    worker.answers("put jobs a - ; shutdown jobs ; ?put jobs b - ; get jobs - ; ?get jobs -", "ok ok closed a closed");
}

#[test]
fn what_was_taken_and_not_finished_returns_when_the_item_ends() {
    let world = World::of(&[("jobs", queue())]);
    let (mut one, mut other) = (world.worker("one"), world.worker("other"));
    one.answers("put jobs a - ; take jobs - ; ?get jobs 0", "ok 0:a empty");
    other.answers("take-and-finish jobs 0", "a");
    other.answers("put jobs b - ; take jobs - ; size jobs", "ok 2:b 0");
    let redelivered = one.act("take jobs 0").expect("a delivery");
    assert!(redelivered.ends_with(":b:redelivered"), "{redelivered}");
}

#[test]
fn pipes_end_when_the_other_end_is_closed() {
    let world = World::of(&[("pipe", ObjectForm::Pipe { duplex: true })]);
    let (mut one, mut other) = (world.worker("one"), world.worker("other"));
    one.answers("end pipe/first ; ?end pipe", "ok invalid");
    let world = World::of(&[("pipe", ObjectForm::Pipe { duplex: false })]);
    let mut both = world.worker("both");
    both.answers("send pipe/second hello - ; end pipe/first ; poll pipe/first 0", "ok ok true");
    drop(other.act("end pipe/second"));
    let world = World::of(&[("pipe", ObjectForm::Pipe { duplex: false })]);
    let mut both = world.worker("both");
    both.answers(
        "end pipe/first ; send pipe/second abc - ; ?recv-at-most pipe/first 2 - ; recv pipe/first - ; close pipe/second ; \
         ?recv pipe/first -",
        "ok ok too-long abc ok eof",
    );
}

#[test]
fn a_handle_of_a_pipe_end_is_closed_after_its_item() {
    let world = World::of(&[("pipe", ObjectForm::Pipe { duplex: true })]);
    let mut worker = world.worker("w");
    worker.answers("end pipe/first ; poll pipe/first 0", "ok false");
    worker.answers("?poll pipe/first 0 ; ?send pipe/first a 0 ; ?recv pipe/first 0", "closed closed closed");
    // Dropping it closes nothing that is not closed.
    worker.answers("close pipe/first", "ok");
}

#[test]
fn several_ends_can_be_waited_for() {
    let pipe = || ObjectForm::Pipe { duplex: true };
    let world = World::of(&[("a", pipe()), ("b", pipe())]);
    let mut worker = world.worker("w");
    worker.answers(
        "end a/first ; end a/second ; end b/first ; end b/second ; send b/second x - ; wait-ends - a/first b/first ; \
         recv b/first - ; wait-ends 3 a/first b/first ; wait-ends 0 a/first",
        "ok ok ok ok ok [1] x [] []",
    );
}

#[test]
fn values_of_each_type_are_loaded_stored_and_added_to() {
    let forms = [
        ("s8", NumberType::S8),
        ("u16", NumberType::U16),
        ("s64", NumberType::S64),
        ("f64", NumberType::F64),
        ("bool", NumberType::Bool),
        ("char", NumberType::Char),
    ];
    let world = World::of(&forms.map(|(name, of)| (name, ObjectForm::Value(of))));
    let mut worker = world.worker("w");
    worker.answers("load s8 ; add s8 s8:127 ; add s8 s8:1", "0 127 -128");
    worker.answers("store u16 u16:65535 ; add u16 u16:2", "ok 1");
    worker.answers("add s64 s64:5 ; swap s64 s64:4 s64:9 ; swap s64 s64:5 s64:9 ; load s64", "5 5 5 9");
    worker.answers("add f64 f64:0.5 ; add f64 f64:0.25", "0.5 0.75");
    worker.answers("store bool bool:true ; load bool ; ?add bool bool:true", "ok true invalid");
    worker.answers("store char char:ß ; load char", "ok ß");
    worker.answers("??add s64 u8:1", "wrong-kind=`s64` holds s64, and the number is of type u8");
}

#[test]
fn arrays_refuse_what_lies_outside() {
    let world = World::of(&[("hist", ObjectForm::Array(NumberType::U64, 3))]);
    let mut worker = world.worker("w");
    worker.answers("array-length hist ; array-add hist 2 u64:7 ; array-load hist 2", "3 7 7");
    worker.answers("array-write hist 0 1 2 ; array-read hist 0 3 ; array-swap hist 0 u64:1 u64:4", "ok U64([1,2,7]) 1");
    worker.answers(
        "?array-load hist 3 ; ?array-read hist 2 2 ; ?array-write hist 3 1",
        "out-of-range out-of-range out-of-range",
    );
}

#[test]
fn a_value_that_is_granted_for_reading_cannot_be_written() {
    let world =
        World::of(&[("total", ObjectForm::Value(NumberType::S64)), ("hist", ObjectForm::Array(NumberType::U64, 2))]);
    world.worker("writer").answers("add total s64:3", "3");
    let mut reader = world.worker_with("reader", READ);
    reader.answers("load total", "3");
    reader.answers(
        "??add total s64:1",
        "denied=`total` was granted without the right to write (`:rw`), which it has where neither right is named",
    );
    reader
        .answers("?cell-add 0 0 1 ; ?cell-store 0 0 1 ; ?cell-swap 0 0 3 1 ; cell-load 0 0", "denied denied denied 3");
    reader.answers("?store total s64:1 ; ?swap total s64:3 s64:1 ; ?array-write hist 0 1", "denied denied denied");
}

#[test]
fn numbers_are_reached_without_handles_as_well() {
    let values = [
        ("s8", NumberType::S8),
        ("u64", NumberType::U64),
        ("f32", NumberType::F32),
        ("bool", NumberType::Bool),
        ("char", NumberType::Char),
    ];
    let mut objects = values.map(|(name, of)| (name, ObjectForm::Value(of))).to_vec();
    objects.extend([("hist", ObjectForm::Array(NumberType::U16, 3)), ("jobs", queue())]);
    let world = World::of(&objects);
    let mut worker = world.worker("w");
    worker.answers("cell s8 s8 ; cell-add 0 0 127 ; cell-add 0 0 1 ; load s8", "0 127 -128 -128");
    worker.answers("cell-store 0 0 -5 ; ?cell-store 0 0 300 ; ?cell-swap 0 0 -5 128", "ok invalid invalid");
    worker.answers("cell-swap 0 0 -4 1 ; cell-swap 0 0 -5 1 ; cell-load 0 0", "-5 -5 1");
    worker.answers("cell u64 u64 ; cell-store 1 0 -1 ; load u64 ; cell-add 1 0 1", "1 ok 18446744073709551615 0");
    worker.answers("cell f32 f32 ; float-add 2 0 0.5 ; float-swap 2 0 0.5 0.1 ; load f32", "2 0.5 0.5 0.1");
    worker.answers("float-store 2 0 0.25 ; float-load 2 0", "ok 0.25");
    worker.answers("cell bool bool ; cell-store 3 0 1 ; load bool ; ?cell-store 3 0 2", "3 ok true invalid");
    worker.answers("cell char char ; cell-store 4 0 223 ; load char ; ?cell-store 4 0 55296", "4 ok ß invalid");
    worker.answers("?cell-add 3 0 1 ; ?cell-add 4 0 1 ; ?cell-add 2 0 1", "invalid invalid wrong-kind");
    worker.answers("cells hist u16 ; cells-length 5 ; cell-add 5 2 7 ; array-load hist 2", "5 3 7 7");
    worker.answers("?cell-load 5 3 ; ?cell-add 0 1 1", "out-of-range out-of-range");
    worker.answers("??cell s8 u8", "wrong-kind=`s8` holds s8, and the number is of type u8");
    worker.answers(
        "?cell hist u16 ; ?cells s8 s8 ; ?cell jobs s8 ; ?cell other s8",
        "wrong-kind wrong-kind wrong-kind not-granted",
    );
    worker.answers("?cell-load 2 0 ; ?float-load 0 0 ; ?float-store 0 0 1", "wrong-kind wrong-kind wrong-kind");
    // What it makes up reaches nothing.
    worker.answers("?cell-load 6 0 ; ?cell-store 4294967295 0 1 ; ?cells-length 7", "invalid invalid invalid");
}

#[test]
fn additions_of_many_items_are_exact() {
    let world = World::of(&[("total", ObjectForm::Value(NumberType::S64))]);
    std::thread::scope(|scope| {
        for nth in 0..4 {
            let world = &world;
            scope.spawn(move || world.worker(&nth.to_string()).count("total", 25_000));
        }
    });
    world.worker("reader").answers("load total", "100000");
}

#[test]
fn a_lock_that_an_item_leaves_locked_is_released_and_its_next_holder_is_told() {
    let world = World::of(&[("gate", ObjectForm::Lock)]);
    let (mut one, mut other) = (world.worker("one"), world.worker("other"));
    one.answers("lock gate - ; locked gate ; unlock gate ; ?unlock gate", "acquired true ok not-held");
    // An item that traps.
    assert!(one.act("lock gate - ; trap").is_err());
    let told = other.act("lock gate 0").expect("an acquisition");
    assert!(told.starts_with("abandoned:one"), "{told}");
    // This one has returned, with the lock held.
    assert!(one.act("lock gate 0").expect("an acquisition").starts_with("abandoned:other"));
}

#[test]
fn semaphores_events_conditions_and_barriers_are_reached() {
    let world = World::of(&[
        ("slots", ObjectForm::Semaphore { slots: 2, bounded: true }),
        ("event", ObjectForm::Event),
        ("nested", ObjectForm::Rlock),
        ("turn", ObjectForm::Condition),
        ("meeting", ObjectForm::Barrier { parties: 1 }),
    ]);
    let mut worker = world.worker("w");
    worker.answers(
        "acquire slots - ; acquire slots - ; acquire slots 0 ; slots slots ; release slots ; release slots ; ?release slots",
        "acquired acquired timed-out 0 ok ok too-many",
    );
    worker.answers(
        "is-set event ; wait-event event 0 ; set-event event ; wait-event event - ; clear-event event",
        "false false ok true ok",
    );
    worker.answers(
        "rlock nested - ; rlock nested - ; runlock nested ; runlock nested ; ?runlock nested",
        "acquired acquired ok ok not-held",
    );
    worker.answers(
        "?wait turn 0 ; enter turn - ; wait turn 0 ; notify turn 1 ; notify-all turn ; leave turn",
        "not-held acquired false ok ok ok",
    );
    worker.answers("parties meeting ; meet meeting - ; waiting meeting ; abort meeting ; is-broken meeting ; ?meet meeting - ; reset meeting", "1 0 0 ok true broken ok");
}

#[test]
fn dicts_lists_and_namespaces_are_reached() {
    let world = World::of(&[("seen", ObjectForm::Dict), ("log", ObjectForm::List), ("conf", ObjectForm::Namespace)]);
    let mut worker = world.worker("w");
    let version = worker.act("dict-set seen a 1").expect("a version");
    worker.answers("dict-get seen a ; dict-get seen b", &format!("1@{version} none"));
    worker.answers(
        &format!("dict-swap seen a 99999 2 ; dict-contains seen a ; dict-swap seen b {version} 2"),
        "none true none",
    );
    worker.answers("dict-increment seen a 41 ; dict-increment seen new -2 ; dict-length seen", "42 -2 2");
    worker.answers(
        "dict-set-many seen x=1 y=2 ; dict-page seen a 2 ; dict-pop seen x ; dict-pop seen x",
        "ok [new=-2,x=1] 1 none",
    );
    worker.answers("dict-clear seen ; dict-length seen", "ok 0");
    worker
        .answers("push log a ; extend log b c ; insert log 0 z ; range log 1 2 ; list-get log -1", "ok ok ok [a,b] c");
    worker.answers(
        "list-set log 0 y ; list-swap log 0 z q ; list-swap log 0 y q ; list-pop log -1 ; list-length log",
        "ok false true c 3",
    );
    worker.answers("?list-get log 9 ; list-clear log ; ?list-pop log 0", "out-of-range ok empty");
    worker.answers(
        "ns-set conf rate 5 ; ns-get conf rate ; ns-names conf ; ns-delete conf rate ; ns-get conf rate",
        "ok 5 [rate] true none",
    );
}

#[test]
fn wasi_keyvalue_and_config_work_over_what_was_granted() {
    let world = World::of(&[("seen", ObjectForm::Dict), ("gate", ObjectForm::Lock)]);
    let mut worker = world.worker("w");
    worker.answers("kv-set seen a 1 ; kv-get seen a ; kv-exists seen b ; kv-increment seen a 4", "ok 1 false 5");
    worker.answers("kv-set-many seen b c ; kv-get-many seen a x c ; kv-keys seen ; kv-delete seen a ; kv-delete-many seen b c x ; kv-keys seen", "ok 5,none,c [a,b,c] ok ok []");
    worker.answers("??kv-get other a ; ??kv-get gate a", "invalid=no-such-store invalid=`gate` is a lock, not a dict");
    let mut reader = world.worker_with("reader", READ);
    reader.answers("??kv-set seen a 1", "invalid=access-denied");
    worker.answers("config RATE ; config OTHER ; config-all", "5 none [RATE=5]");
}

#[test]
fn what_is_not_granted_or_of_another_kind_is_named_with_the_option() {
    let world = World::of(&[("jobs", queue())]);
    let mut worker = world.worker("w");
    let way_out = "grant it with `share`, which takes an object that a `Manager` created as \"other\"";
    worker.answers("??get other 0", &format!("not-granted=no queue `other` is granted; {way_out}"));
    worker.answers("??load other", &format!("not-granted=no value `other` is granted; {way_out}"));
    worker.answers("??lock jobs 0", "wrong-kind=`jobs` is a queue, not a lock");
    let missed = |what: &str| {
        format!("the {what} `other` (`share`, which takes an object that a `Manager` created as \"other\")")
    };
    assert_eq!(worker.missed(), [missed("queue"), missed("value")]);
    let mut writer = world.worker_with("writer", WRITE);
    writer.answers(
        "put jobs a - ; ??get jobs 0",
        "ok denied=`jobs` was granted without the right to get (`:get`), which it has where neither right is named",
    );
}

#[test]
fn a_message_beyond_the_quota_is_refused_before_it_is_copied() {
    let world = World::with_bytes(&[("jobs", queue())], 1000);
    let mut worker = world.worker("w");
    worker.answers(
        "put-long jobs 1000 ; get jobs - ; ??put-long jobs 1001",
        &format!("ok {} quota=`jobs`: it may hold 1000 bytes (`:bytes=1000`), and this has 1001", "l".repeat(1000)),
    );
}

#[test]
fn handles_are_limited_in_number_and_stay_with_the_instance() {
    let world = World::of(&[("jobs", queue())]);
    let mut worker = world.worker("w");
    worker.answers("put jobs a -", "ok");
    worker.answers("get jobs - ; forget ; ?get jobs 0", "a forgotten empty");
    worker.discard();
    worker.answers("?get jobs 0", "empty");
}

#[test]
fn calls_cost_fuel() {
    let world = World::of(&[("total", ObjectForm::Value(NumberType::S64)), ("jobs", queue())]);
    let mut worker = world.worker("w");
    worker.limit_fuel(1_000_000);
    worker.answers("add total s64:1", "1");
    // Some 500 units for each call.
    assert!(worker.try_count("total", 5_000).is_err_and(|e| e.contains("fuel")));
    assert!(worker.act("put-long jobs 2000000").is_err_and(|e| e.contains("fuel")));
}

#[test]
fn the_end_of_the_process_that_keeps_the_objects_is_told_and_fails_the_item() {
    let world = World::of(&[("jobs", queue())]);
    let mut worker = world.worker("w");
    worker.answers("put jobs a -", "ok");
    world.lose();
    worker.answers("?get jobs - ; ?put jobs b - ; ?size jobs", "lost lost lost");
    assert!(!worker.shared().item_ended(false));
}

#[test]
fn a_task_may_know_the_name_of_its_process() {
    let world = World::of(&[("jobs", queue())]);
    world.worker("parser").answers("name", "parser");
    world.worker("").answers("name", "nameless");
}
