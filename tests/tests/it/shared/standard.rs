//! The standard interfaces, so that components written for other hosts run unchanged: `wasi:keyvalue` over a dict,
//! `wasi:config` over what was granted with `--env`.

use serde_json::json;

use super::{Place, come_to, held_after, in_turn, orders};

#[test]
fn a_bucket_is_the_dict_of_its_name() {
    come_to(
        &["seen=dict", "gate=lock"],
        &[
            (
                "kv-get seen k ; kv-exists seen k ; kv-set seen k v ; kv-get seen k ; kv-exists seen k",
                "none false ok v true",
            ),
            // The same entries by both interfaces.
            ("dict-get seen k ; dict-set seen two 2 ; kv-get seen two ; kv-keys seen", "v@1 2 2 [k,two]"),
            ("kv-delete seen k ; kv-delete seen k ; kv-get seen k", "ok ok none"),
            ("kv-increment seen hits 5 ; kv-increment seen hits 1 ; dict-get seen hits", "5 6 6@4"),
            (
                "kv-set-many seen a b ; kv-get-many seen a nope b ; kv-delete-many seen a nope ; kv-keys seen",
                "ok a,none,b ok [b,hits,two]",
            ),
            ("??kv-get nope k", "invalid=no-such-store"),
            ("??kv-get gate k", "invalid=`gate` is a lock, not a dict"),
            (
                "kv-set seen text x ; ??kv-increment seen text 1",
                "ok invalid=the value of `text` is not a whole number of 64 bits in decimal text",
            ),
        ],
    );
}

/// The interface has no negative numbers.
#[test]
fn an_increment_to_a_sum_that_cannot_be_told_changes_nothing() {
    come_to(
        &["seen=dict"],
        &[
            ("dict-set seen low -10", "1"),
            ("??kv-increment seen low 3", "invalid=the sum is -7, which is negative"),
            ("dict-get seen low ; kv-increment seen low 12 ; kv-get seen low", "-10@1 2 2"),
        ],
    );
}

#[test]
fn increments_of_a_bucket_by_many_are_exact() {
    let place = Place::new();
    let input = format!("{}\n", ["kv-increment seen hits 2"; 20].join(" ; ")).repeat(50);
    orders(&["seen=dict"]).args(["-j", "4", "--share-out"]).arg(place.path("out.json")).input(input).run().exits(0);
    assert_eq!(place.read("out.json"), json!({ "seen": { "hits": "2000" } }));
}

/// Row 6.2.
#[test]
fn all_keys_of_a_bucket_are_listed_by_pages() {
    let keys: Vec<String> = (0..2500).map(|nth| format!("key{nth:04}")).collect();
    let set = format!("kv-set-many seen {}", keys.join(" "));
    let output = in_turn(&["seen=dict"], &[&set, "kv-keys seen"]).run().exits(0);
    assert_eq!(super::endings(&output)[1], format!("[{}]", keys.join(",")));
}

#[test]
fn settings_are_the_variables_that_were_granted() {
    let run = in_turn(&[], &["config A ; config B ; config-all"]).args(["--env", "A=1", "--env", "C=x"]);
    assert_eq!(super::endings(&run.env("B", "2").run().exits(0)), ["1 none [A=1,C=x]"]);
}

/// Rows 6.1, 6.3, 6.5 and 6.6.
#[test]
fn dicts_lists_and_namespaces_do_what_those_of_a_manager_do() {
    come_to(
        &["seen=dict", "all=list", "names=namespace"],
        &[
            (
                "dict-set seen b 1 ; dict-set seen a 2 ; dict-length seen ; dict-page seen - 10 ; dict-page seen a 10 ; dict-page seen b 1",
                "1 2 2 [a=2,b=1] [b=1] []",
            ),
            (
                "dict-swap seen a 1 x ; dict-swap seen a 2 x ; dict-swap seen a - y ; dict-swap seen c - y",
                "none 3 none 4",
            ),
            ("dict-contains seen c ; dict-pop seen c ; dict-pop seen c ; dict-contains seen c", "true y none false"),
            ("dict-increment seen n -3 ; dict-increment seen n 1 ; dict-clear seen ; dict-length seen", "-3 -2 ok 0"),
            (
                "push all a ; extend all b c ; insert all 0 z ; insert all 99 e ; insert all -99 s ; range all 0 99",
                "ok ok ok ok ok [s,z,a,b,c,e]",
            ),
            (
                "list-get all 0 ; list-get all -1 ; list-set all -1 E ; list-swap all -1 x y ; list-swap all -1 E y ; list-get all 5",
                "s e ok false true y",
            ),
            (
                "list-pop all 0 ; list-pop all -1 ; range all 1 2 ; list-length all ; list-clear all ; list-length all",
                "s y [a,b] 4 ok 0",
            ),
            (
                "ns-set names b 1 ; ns-set names a 2 ; ns-names names ; ns-get names a ; ns-get names c ; ns-delete names a ; ns-delete names a ; ns-names names",
                "ok ok [a,b] 2 none true false [b]",
            ),
        ],
    );
}

/// Row 2.12, and what `get-many` gives.
#[test]
fn a_queue_does_what_pythons_do() {
    come_to(
        &["jobs=queue:3"],
        &[
            (
                "empty jobs ; full jobs ; put jobs a - ; put jobs b - ; put jobs c - ; full jobs ; size jobs",
                "true false ok ok ok true 3",
            ),
            ("get-many jobs 2 - ; get-many jobs 9 - ; empty jobs ; join jobs 0", "[a,b] [c] true false"),
            ("join jobs 0 ; ?task-done jobs", "true too-many"),
            ("put jobs a - ; take-and-finish jobs - ; join jobs -", "ok a true"),
        ],
    );
}

#[test]
fn messages_of_a_megabyte_and_of_nothing_are_messages() {
    let held = held_after(
        &["jobs=queue", "p=pipe"],
        &["put-long jobs 0 ; put-long jobs 1048576 ; put-long jobs 20000000 ; size jobs"],
    );
    let lengths: Vec<usize> =
        held["jobs"].as_array().expect("messages").iter().map(|text| text.as_str().expect("text").len()).collect();
    assert_eq!(lengths, [0, 1 << 20, 20_000_000]);
}
