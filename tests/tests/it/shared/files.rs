//! `--share-in` and `--share-out`: what objects are filled with, and what they hold at the end.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::thread;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use super::{Place, Session, call, held_after, in_turn, orders, read, share};
use crate::support::guest::wat;
use crate::support::run::{Run, map, wasmpool};
use crate::support::wat::SQUARE;

/// One object of each kind that holds something, and what it holds.
fn filled() -> (Vec<&'static str>, Value) {
    let objects = [
        ("jobs=queue:5", json!(["a", "", { "base64": "/wA=" }])),
        ("all=list", json!(["x", "y\n\"ü"])),
        ("seen=dict", json!({ "": "empty", "k": "v", "ü": { "base64": "gA==" } })),
        ("names=namespace", json!({ "a": "b" })),
        ("room=semaphore:3", json!(7)),
        ("few=semaphore:3:bounded", json!(1)),
        ("go=event", json!(true)),
        ("v1=value:s8", json!(-128)),
        ("v2=value:u64", json!(u64::MAX)),
        ("v3=value:s64", json!(i64::MIN)),
        ("v4=value:f64", json!(0.1)),
        ("v5=value:f32", json!(1.5)),
        ("v6=value:bool", json!(true)),
        ("v7=value:char", json!("ß")),
        ("v8=value:u16", json!(65535)),
        ("hist=array:s32:3", json!([-1, 0, 2_147_483_647])),
        ("bits=array:bool:2", json!([true, false])),
        ("none=array:u8:0", json!([])),
    ];
    let held =
        objects.iter().map(|(share, value)| (share.split('=').next().expect("a name").to_owned(), value.clone()));
    (objects.iter().map(|(share, _)| *share).collect(), held.collect())
}

/// Row 4.10.
#[test]
fn what_every_object_is_filled_with_is_what_it_holds() {
    let (shares, held) = filled();
    let place = Place::new();
    let file = place.write("in.json", &held.to_string());
    let run =
        in_turn(&shares, &["size jobs ; list-get all 0 ; dict-get seen k ; slots room ; is-set go ; load v7", "name"]);
    let output = run.arg("--share-in").arg(&file).arg("--share-out").arg(place.path("out.json")).run().exits(0);
    assert_eq!(super::endings(&output)[0], "3 x v@2 7 true ß");
    assert_eq!(place.read("out.json"), held);
    // Some editors begin a text with a mark.
    let file = place.write("in.json", &format!("\u{feff}{held}"));
    // And by one call.
    let run = call(&shares, "size jobs").arg("--share-in").arg(&file).arg("--share-out").arg(place.path("two.json"));
    assert_eq!(run.run().exits(0).text(), "\"3\"\n");
    assert_eq!(place.read("two.json"), held);
}

#[test]
fn what_is_not_filled_is_as_it_is_without_a_file() {
    let (shares, held) = filled();
    let place = Place::new();
    let file = place.write("in.json", "{}");
    let run = |run: Run| run.arg("--share-out").arg(place.path("out.json")).run().exits(0);
    run(in_turn(&shares, &["name"]));
    let fresh = place.read("out.json");
    assert_ne!(fresh, held);
    assert_eq!(fresh["room"], json!(3));
    run(in_turn(&shares, &["name"]).arg("--share-in").arg(&file));
    assert_eq!(place.read("out.json"), fresh);
}

#[test]
fn floats_that_are_not_numbers_are_told() {
    let held = held_after(
        &["a=value:f64", "b=array:f32:2"],
        &["store a f64:NaN ; array-store b 0 f32:inf ; array-store b 1 f32:-inf"],
    );
    // JSON has no such numbers, so they are told as text; what is told can be filled in again.
    let place = Place::new();
    let file = place.write("in.json", &held.to_string());
    let run = in_turn(&["a=value:f64", "b=array:f32:2"], &["load a ; array-read b 0 2"]).arg("--share-in").arg(file);
    assert_eq!(super::endings(&run.run().exits(0)), ["NaN F32([inf,-inf])"], "{held}");
}

/// Nothing that an item still held is lost when the run ends.
#[test]
fn what_the_last_item_took_and_did_not_finish_is_told() {
    assert_eq!(
        held_after(&["jobs=queue"], &["put jobs a - ; put jobs b - ; take jobs -"]),
        json!({ "jobs": ["a", "b"] })
    );
}

#[test]
fn messages_that_were_put_and_got_in_haste_are_told_exactly() {
    let held = held_after(&["jobs=queue"], &["produce jobs 1000 1", "consume jobs 400"]);
    assert_eq!(held["jobs"].as_array().map(Vec::len), Some(600));
}

#[test]
fn an_interrupted_run_tells_what_its_objects_hold() {
    let place = Place::new();
    let out = place.path("out.json");
    let args = ["--timeout", "10m", "--share-out", out.to_str().expect("a path")];
    let mut session = Session::start("1", &args, &["total=value:s64", "jobs=queue"]);
    assert_eq!(session.ask("add total 3 ; put jobs a -"), "3 ok");
    session.give("take jobs - ; spin");
    let busy = session.host.busy_worker();
    session.host.signal(Signal::SIGTERM);
    assert_eq!(session.end(), 143);
    assert!(!busy.lives());
    assert_eq!(read(&out), json!({ "total": 3, "jobs": ["a"] }));
}

/// Runs with a file that cannot be used, and checks that nothing ran and nothing was made.
#[track_caller]
fn refused(place: &Place, run: Run, says: &[&str]) {
    let run = run.arg("--share-out").arg(place.path("never.json"));
    let output = run.run().exits(2);
    assert!(says.iter().all(|text| output.stderr.contains(text)), "{says:?} is not in: {}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert_eq!(output.text(), "");
    assert!(!place.path("never.json").exists());
}

#[test]
fn what_an_object_cannot_be_filled_with_is_an_error_that_names_it() {
    let shares = [
        "jobs=queue:2",
        "total=value:u8",
        "hist=array:s16:2",
        "seen=dict:entries=1",
        "gate=lock",
        "few=semaphore:2:bounded",
        "go=event",
        "p=pipe",
        "letter=value:char",
        "big=value:u64",
        "small=value:f32",
    ];
    let place = Place::new();
    for (text, says) in [
        ("", &["it is empty, and not an object of JSON"][..]),
        ("[]", &["not an object of JSON"]),
        ("{\"jobs\": [\"a\"]", &["not an object of JSON"]),
        ("{\"nope\": 1}", &["no shared object `nope`", "--share"]),
        ("{\"no\\u001b[1mpe\": 1}", &["no shared object", "u{1b}"]),
        ("{\"jobs\": {}}", &["`jobs`"]),
        ("{\"jobs\": [1]}", &["`jobs`", "element 0", "text"]),
        ("{\"jobs\": [\"a\",\"b\",\"c\"]}", &["`jobs`", "capacity of 2"]),
        ("{\"jobs\": [{\"base64\":\"!\"}]}", &["`jobs`", "base64"]),
        ("{\"total\": 256}", &["`total`", "256", "u8"]),
        ("{\"total\": -1}", &["`total`", "u8"]),
        ("{\"total\": 1.5}", &["`total`", "u8"]),
        ("{\"total\": \"1\"}", &["`total`", "u8"]),
        ("{\"total\": [1]}", &["`total`"]),
        ("{\"hist\": [1]}", &["`hist`", "2"]),
        ("{\"hist\": [1, 40000]}", &["`hist`", "element 1", "40000", "s16"]),
        ("{\"hist\": 1}", &["`hist`", "2"]),
        ("{\"seen\": {\"a\":\"1\",\"b\":\"2\"}}", &["`seen`", ":entries=2"]),
        ("{\"seen\": [\"a\"]}", &["`seen`"]),
        ("{\"gate\": true}", &["`gate`", "filled"]),
        ("{\"p\": []}", &["`p`", "filled"]),
        ("{\"few\": 3}", &["`few`", "2"]),
        ("{\"small\": 1e39}", &["`small`", "1e+39", "f32"]),
        ("{\"small\": -3.4028236e38}", &["`small`", "-3.4028236e+38", "f32"]),
        ("{\"go\": 1}", &["`go`"]),
        ("{\"letter\": \"ab\"}", &["`letter`", "char"]),
        ("{\"big\": 18446744073709551616}", &["`big`", "u64"]),
    ] {
        let file = place.write("in.json", text);
        refused(&place, in_turn(&shares, &["name"]).arg("--share-in").arg(file), &[&["in.json"], says].concat());
    }
}

#[test]
fn files_that_cannot_be_read_or_written_are_found_before_anything_runs() {
    let place = Place::new();
    let shares = ["jobs=queue"];
    for file in [place.path("missing"), place.path("")] {
        refused(
            &place,
            in_turn(&shares, &["name"]).arg("--share-in").arg(file),
            &["cannot fill the shared objects from"],
        );
    }
    for file in [place.path("no/such.json"), place.path("")] {
        let output = in_turn(&shares, &["name"]).arg("--share-out").arg(&file).run().exits(2);
        assert!(output.stderr.contains("cannot write what the shared objects hold to"), "{}", output.stderr);
        assert_eq!(output.text(), "");
    }
}

#[test]
fn a_member_that_is_there_twice_is_refused() {
    let place = Place::new();
    let file = place.write("in.json", r#"{"total": 1, "total": 2}"#);
    let run = in_turn(&["total=value:s64"], &["name"]).arg("--share-in").arg(file);
    refused(&place, run, &["in.json", "the shared object `total` is filled twice"]);
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    for kind in ["dict", "namespace"] {
        let place = Place::new();
        let file = place.write("in.json", r#"{"seen": {"a": "1", "b": "2", "a": "3"}}"#);
        let run = in_turn(&[&format!("seen={kind}")], &["name"]).arg("--share-in").arg(file);
        refused(&place, run, &["in.json", "the key `a` of the shared object `seen` is given twice: leave one out"]);
    }
}

#[test]
fn the_name_of_a_directory_is_no_file_to_write_to() {
    let place = Place::new();
    let run = in_turn(&["total=value:s64"], &["name"]).arg("--share-out").arg(place.path("out/"));
    let output = run.run().exits(2);
    assert!(output.stderr.contains("it is the name of a directory"), "{}", output.stderr);
    assert!(!place.path("out").exists());
}

#[test]
fn a_file_that_is_also_another_file_of_the_run_is_refused_under_every_name() {
    let place = Place::new();
    let task = place.path("task.wasm");
    fs::copy(super::guest().path(), &task).expect("a copy");
    place.write("items", "name\n");
    place.write("in.json", "{}");
    place.write("policy.toml", "");
    symlink("in.json", place.path("link")).expect("a link");
    fs::hard_link(place.path("in.json"), place.path("hard")).expect("a link");
    let run = || {
        let run = share(wasmpool().arg("map").arg(&task).arg(place.path("items")), &["jobs=queue"]);
        let run = run.args(["-f", "act", "--input-format", "lines"]);
        run.arg("--share-in").arg(place.path("in.json")).arg("--policy").arg(place.path("policy.toml"))
    };
    for (file, what) in [
        ("task.wasm", "is also the task"),
        ("items", "is also an input"),
        ("in.json", "is also the file of --share-in"),
        ("link", "is also the file of --share-in"),
        ("hard", "is also the file of --share-in"),
        ("policy.toml", "is also the file of --policy"),
    ] {
        let output = run().arg("--share-out").arg(place.path(file)).run().exits(2);
        assert!(output.stderr.contains(what), "{file}: {}", output.stderr);
        assert_eq!(output.text(), "");
    }
    for option in ["-o", "--failed"] {
        for (one, other) in [("out", "out"), ("link", "in.json")] {
            let output =
                run().arg("--share-out").arg(place.path(one)).arg(option).arg(place.path(other)).run().exits(2);
            assert!(output.stderr.contains("is also"), "{option}: {}", output.stderr);
        }
        assert!(!place.path("out").exists());
    }
    assert_eq!(fs::read_to_string(place.path("in.json")).expect("it is there"), "{}");
    // A call checks the same.
    let call = share(wasmpool().arg("call").arg(&task), &["jobs=queue"]).args(["act", "\"name\"", "--share-out"]);
    let output = call.arg(&task).run().exits(2);
    assert!(output.stderr.contains("is also the task"), "{}", output.stderr);
}

#[test]
fn a_pipe_takes_what_the_objects_hold() {
    let place = Place::new();
    let pipe = place.path("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let reader = {
        let pipe = pipe.clone();
        thread::spawn(move || {
            let mut text = String::new();
            File::open(pipe).and_then(|mut file| file.read_to_string(&mut text)).expect("it is read");
            text
        })
    };
    in_turn(&["total=value:s64"], &["add total 5"]).arg("--share-out").arg(&pipe).run().exits(0);
    assert_eq!(reader.join().expect("it reads"), "{\"total\":5}\n");
}

#[test]
fn objects_are_filled_from_a_pipe() {
    let place = Place::new();
    let pipe = place.path("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let writer = {
        let pipe = pipe.clone();
        thread::spawn(move || fs::write(pipe, "{\"total\":5}").expect("it is written"))
    };
    let output = in_turn(&["total=value:s64"], &["load total"]).arg("--share-in").arg(&pipe).run().exits(0);
    writer.join().expect("it writes");
    assert_eq!(super::endings(&output), ["5"]);
}

/// The results are there all the same, and a file that had something before still has it.
#[test]
fn a_full_disk_is_an_error_and_takes_no_result_away() {
    let place = Place::new();
    let run = |out: &Path| in_turn(&["jobs=queue"], &["produce jobs 3000 1000"]).arg("--share-out").arg(out);
    let output = run(Path::new("/dev/full")).run().exits(2);
    assert!(output.stderr.contains("/dev/full: No space left"), "{}", output.stderr);
    assert_eq!(super::endings(&output), ["3000"]);
    let out = place.write("out.json", "before");
    let output = run(&out).largest_file(1 << 20).run().exits(2);
    assert!(output.stderr.contains("out.json: File too large"), "{}", output.stderr);
    assert_eq!(super::endings(&output), ["3000"]);
    assert_eq!(fs::read_to_string(&out).expect("it is there"), "before");
    let left: Vec<_> = fs::read_dir(place.path("")).expect("a directory").filter_map(Result::ok).collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_run_whose_results_cannot_be_written_leaves_the_file_as_it_was() {
    let place = Place::new();
    let out = place.write("out.json", "before");
    let full = || File::options().write(true).open("/dev/full").expect("it is there");
    let run = in_turn(&["jobs=queue"], &["put jobs a -"]).arg("--share-out").arg(&out).stdout_to(full());
    run.run().exits(2);
    assert_eq!(fs::read_to_string(&out).expect("it is there"), "before");
}

#[test]
fn a_link_is_followed_and_a_file_of_others_keeps_its_name() {
    let place = Place::new();
    place.write("real.json", "before");
    symlink("real.json", place.path("link.json")).expect("a link");
    in_turn(&["total=value:s64"], &["add total 1"]).arg("--share-out").arg(place.path("link.json")).run().exits(0);
    assert!(place.path("link.json").is_symlink());
    assert_eq!(place.read("real.json"), json!({ "total": 1 }));
}

#[test]
fn a_run_that_never_began_leaves_the_file_as_it_was() {
    let place = Place::new();
    let out = place.write("out.json", "before");
    let run = share(map(&wat(SQUARE)), &["total=value:s64"]).args(["-f", "nope", "--share-out"]).arg(&out);
    run.input("1\n").run().exits(2);
    assert_eq!(fs::read_to_string(out).expect("it is there"), "before");
    let output = orders(&["total=value:s64"]).arg("--share-out").arg(place.path("empty.json")).run().exits(0);
    assert_eq!(output.text(), "");
    assert_eq!(place.read("empty.json"), json!({ "total": 0 }));
}

#[test]
fn a_killed_run_leaves_nothing_beside_the_file_or_the_next_one_removes_it() {
    let place = Place::new();
    let out = place.path("out.json");
    let mut session = Session::start("1", &["--share-out", out.to_str().expect("a path")], &["total=value:s64"]);
    assert_eq!(session.ask("add total 1"), "1");
    session.host.signal(Signal::SIGKILL);
    session.host.wait();
    // What an earlier version left.
    place.write(".wasmpool-share-00ff00ff00ff00ff", "");
    in_turn(&["total=value:s64"], &["name"]).arg("--share-out").arg(&out).run().exits(0);
    let left: Vec<_> = fs::read_dir(place.path("")).expect("a directory").filter_map(Result::ok).collect();
    assert!(left.len() == 1 && out.exists(), "{left:?}");
}

#[test]
fn the_target_of_a_link_is_made_if_there_is_none() {
    let place = Place::new();
    fs::create_dir(place.path("below")).expect("made");
    symlink("below/next.json", place.path("link.json")).expect("a link");
    symlink("real.json", place.path("below/next.json")).expect("a link");
    symlink("circle.json", place.path("circle.json")).expect("a link");
    in_turn(&["total=value:s64"], &["add total 1"]).arg("--share-out").arg(place.path("link.json")).run().exits(0);
    assert!(place.path("link.json").is_symlink() && place.path("below/next.json").is_symlink());
    assert_eq!(place.read("below/real.json"), json!({ "total": 1 }));
    let output =
        in_turn(&["total=value:s64"], &["name"]).arg("--share-out").arg(place.path("circle.json")).run().exits(2);
    assert!(output.stderr.contains("circle.json") && place.path("circle.json").is_symlink(), "{}", output.stderr);
}

#[test]
fn a_large_array_is_told_without_a_copy_of_it_in_memory() {
    let place = Place::new();
    let pipe = place.path("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let run = in_turn(&["all=array:u8:8000000"], &["name"]).arg("--share-out").arg(&pipe);
    // The run waits for somebody who reads.
    let mut host = run.start();
    let mut reader = File::open(&pipe).expect("opened");
    let mut first = [0; 64 << 10];
    reader.read_exact(&mut first).expect("it is written");
    let peak = host.process().status_bytes("VmHWM");
    assert!(peak < 200 << 20, "{peak}");
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("it is read");
    assert_eq!(first.len() + rest.len(), "{\"all\":[0".len() + 2 * 7_999_999 + "]}\n".len());
    assert_eq!(host.code(), 0);
}

#[test]
fn what_the_objects_hold_takes_no_other_file_of_the_run_away() {
    let place = Place::new();
    let total = || share(map(&wat(SQUARE)), &["total=value:s64"]);
    // A file that a list names.
    let item = place.write("item", "3");
    let list = place.write("list", &format!("{}\n", item.display()));
    let output = total().arg(&list).args(["--input-format", "files", "--share-out"]).arg(&item).run().exits(2);
    assert!(output.stderr.contains("is also an item"), "{}", output.stderr);
    assert_eq!(fs::read_to_string(&item).expect("it is there"), "3");
    // Standard output, of every command.
    let out = place.write("out", "");
    let square = wat(SQUARE);
    let plan = format!(
        "[share]\ntotal = 'value:s64'\n[process.a]\ntask = '{}'\nargs = [5]\nshare = ['total']\n",
        square.path().display()
    );
    let plan = place.write("run.toml", &plan);
    let call = share(wasmpool().arg("call").task(&square), &["total=value:s64"]).args(["square", "3"]);
    for run in [total(), call, wasmpool().arg("run").arg(&plan)] {
        let stdout = File::options().append(true).open(&out).expect("it is there");
        let output = run.arg("--share-out").arg(&out).stdout_to(stdout).run().exits(2);
        assert!(output.stderr.contains("is also standard output"), "{}", output.stderr);
        assert_eq!(fs::read_to_string(&out).expect("it is there"), "");
    }
    // A result in a file of its own.
    let results = place.path("results");
    fs::create_dir(&results).expect("made");
    let run = total().args(["--output-format", "raw", "--results"]).arg(&results);
    let output = run.arg("--share-out").arg(results.join("0")).input("1\n").run().exits(2);
    assert!(output.stderr.contains("name of a result"), "{}", output.stderr);
    // A file that is to be made, under two names.
    for link in ["one", "two"] {
        symlink("new", place.path(link)).expect("a link");
    }
    let run = total().arg("-o").arg(place.path("one")).arg("--share-out").arg(place.path("two"));
    let output = run.input("1\n").run().exits(2);
    assert!(output.stderr.contains("is also the output"), "{}", output.stderr);
    assert!(!place.path("new").exists());
}

#[test]
fn a_file_that_is_replaced_keeps_its_permissions_and_one_that_is_write_protected_is_not_replaced() {
    let place = Place::new();
    let run = |name: &str| in_turn(&["total=value:s64"], &["add total 1"]).arg("--share-out").arg(place.path(name));
    for mode in [0o600, 0o640, 0o664] {
        let file = place.write("file", "before");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("its mode");
        run("file").run().exits(0);
        assert_eq!(place.read("file"), json!({ "total": 1 }));
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, mode);
    }
    let file = place.write("protected", "precious");
    fs::set_permissions(&file, Permissions::from_mode(0o444)).expect("its mode");
    if File::options().write(true).open(&file).is_ok() {
        eprintln!("this user may write to every file: left out");
        return;
    }
    let output = run("protected").run().exits(2);
    assert!(output.stderr.contains("Permission denied"), "{}", output.stderr);
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "precious");
}
