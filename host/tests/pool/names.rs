//! Errors of the library name its own methods, and no option of the command, which a program that embeds the pool does not have.

use std::time::Duration;

use wasmpool::{Bytes, Error, Manager, Pool};

use crate::support::{DIVIDE, ECHO, OFFSET, POWER, SPIN, SQUARES, TWO, beside_others, builder, pool};

/// A WASI command, which exports no function.
const COMMAND: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
/// A task that begins with more memory than most limits.
const LARGE: &str =
    r#"(module (memory (export "memory") 2000) (func (export "go") (param i64) (result i64) local.get 0))"#;
/// A task whose import nothing provides.
const IMPORTING: &str =
    r#"(module (import "env" "f" (func)) (func (export "go") (param i64) (result i64) local.get 0))"#;
/// A task that looks for a file that nobody has granted, and traps.
const LOOKING: &str = r#"
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "/data/file")
  (func (export "go") (param i64) (result i64)
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 10) (i32.const 0) (i64.const 2) (i64.const 0)
      (i32.const 0) (i32.const 8)))
    unreachable))"#;

/// Returns an error with all that is behind it, as `main` prints it.
fn told<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(e) => format!("{e:?}\n{e}"),
    }
}

/// Returns the error of a pool that is not built, or else of its first call.
fn of_pool(built: Result<Pool, Error>) -> String {
    match built {
        Ok(pool) => told(pool.apply::<_, i64>(1)),
        Err(e) => told::<()>(Err(e)),
    }
}

/// Returns errors of every part of the library that a program can meet: each with the word that has to be in it.
fn errors() -> Vec<(&'static str, String)> {
    let (squares, echo, spin) = (pool(SQUARES), pool(ECHO), pool(SPIN));
    let manager = Manager::builder().worker_binary(env!("CARGO_BIN_EXE_wasmpool")).build();
    let jobs = manager.queue::<i64>("jobs", 1).unwrap();
    jobs.put(1).unwrap();
    let short = Duration::from_millis(50);
    let mut errors = vec![
        ("the task", of_pool(builder(&b"no wasm"[..]).build())),
        ("Rust", of_pool(builder(&b"fn main() {}"[..]).build())),
        ("/nowhere", of_pool(builder("/nowhere.wasm").build())),
        ("command", of_pool(builder(COMMAND.as_bytes()).build())),
        ("`memory`", of_pool(builder(LARGE.as_bytes()).memory(1 << 20).build())),
        ("env", of_pool(builder(IMPORTING.as_bytes()).build())),
        ("`function`", of_pool(builder(TWO).build())),
        ("cube", told(squares.function("cube").apply::<_, i64>(1))),
        ("`init`", of_pool(builder(SQUARES).init(&1).build())),
        ("init", of_pool(builder(OFFSET).init(&"x").build())),
        ("x", of_pool(builder(SQUARES).bind("x", &1).build())),
        ("p0", of_pool(builder(POWER).bind("p0", &"x").build())),
        ("expected", told(squares.apply::<_, i64>("x"))),
        ("expected", told(squares.apply::<_, i64>(Bytes(vec![1])))),
        ("more than 2", told(pool(DIVIDE).apply::<_, i64>((1, 2, 3)))),
        ("trap", told(pool(DIVIDE).apply::<_, i64>((1, 0)))),
        ("`timeout`", told(spin.timeout(short).apply::<_, i64>(-1))),
        ("`fuel`", told(spin.fuel(10_000).apply::<_, i64>(-1))),
        ("`max_output`", told(echo.max_output(10).apply::<_, String>("YWJjZGVmZ2hpamts"))),
        ("memory", told(echo.memory(1 << 20).apply::<_, Bytes>(Bytes(vec![0; 4 << 20])))),
        ("grant", told(pool(LOOKING.as_bytes()).apply::<_, i64>(1))),
        ("/nowhere", of_pool(builder(SQUARES).grant_dir("/nowhere", "/data", false).build())),
        ("name", of_pool(builder(SQUARES).grant_dir("/tmp", "/a", false).grant_dir("/tmp", "/a", true).build())),
        ("twice", of_pool(builder(SQUARES).grant_env("A", "1").grant_env("A", "2").build())),
        ("peer", of_pool(builder(SQUARES).grant_net("nowhere.invalid", 1).build())),
        ("/nowhere", of_pool(Pool::builder(SQUARES).worker_binary("/nowhere").build())),
        ("full", told(jobs.try_put(2))),
        ("jobs", told(manager.queue::<i64>("jobs", 1))),
        ("closed", {
            let pool = pool(SQUARES);
            pool.close();
            told(pool.apply::<_, i64>(1))
        }),
        ("open", told(squares.join())),
    ];
    #[cfg(feature = "hosts")]
    errors.extend([
        ("http", of_pool(builder(SQUARES).via("http://x").build())),
        ("127.0.0.1", of_pool(builder(SQUARES).via("nats://127.0.0.1:1").build())),
        ("/nowhere", of_pool(builder(SQUARES).via("tls://127.0.0.1:1").via_authorities("/nowhere").build())),
        ("/nowhere", of_pool(builder(SQUARES).via("tls://127.0.0.1:1").via_nkey("/nowhere").build())),
        ("/nowhere", of_pool(builder(SQUARES).via("tls://127.0.0.1:1").via_credentials("/nowhere").build())),
        ("127.0.0.1", told(Manager::connect("nats://127.0.0.1:1", "server"))),
    ]);
    errors
}

/// Commands of other programs with their options, which messages advise.
const OF_OTHERS: [&str; 2] = ["cargo build --target", "nats-server -js"];

/// Returns what in a text is an option of the command, or tells of one.
fn options(text: &str) -> Vec<&str> {
    let is_option = |word: &&str| {
        let word = word.trim_start_matches(|c: char| c.is_ascii_punctuation() && c != '-');
        let letters = word.trim_start_matches('-');
        let count = word.len() - letters.len();
        (1..=2).contains(&count) && letters.starts_with(|c: char| c.is_ascii_lowercase())
    };
    let of_others: Vec<&str> = OF_OTHERS.iter().flat_map(|line| line.split(' ').skip(1)).collect();
    let is_of_others = |word: &str| of_others.contains(&word.trim_end_matches([')', '?', '`']));
    let named = text.split_whitespace().filter(|word| !is_of_others(word)).filter(is_option);
    let told = ["no option", "an option of", "command line", "wasmpool map", "wasmpool serve", "wasmpool doctor"];
    named.chain(told.into_iter().filter(|words| text.contains(words))).collect()
}

#[test]
fn no_error_of_the_library_names_an_option_of_the_command() {
    let _beside = beside_others();
    let (mut wrong, errors) = (Vec::new(), errors());
    for (word, text) in &errors {
        if !options(text).is_empty() || !text.contains(word) {
            wrong.push(format!("{:?} or no {word:?} in: {text}", options(text)));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n\n{}", wrong.len(), errors.len(), wrong.join("\n\n"));
}

#[test]
fn options_are_found_in_texts() {
    assert_eq!(
        options("allow more with `--memory`; -j 3 (--dir A::B) and --sandbox off"),
        ["`--memory`;", "-j", "(--dir", "--sandbox"]
    );
    assert_eq!(options("from -1 to a-b, 3 -- 4, x-, {\"p0\":-5} and `memory`"), [""; 0]);
}
