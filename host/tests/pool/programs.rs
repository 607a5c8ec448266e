//! Programs that introductions to Python's `multiprocessing` show, with what they print. The functions of their processes
//! are orders to a guest (`guest/fixtures/shared`): `store total f64:3.14` is `total.value = 3.14`.

#![allow(clippy::approx_constant, reason = "the number that those programs have")]

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::objects::{SHARED, manager, ordered};
use crate::support::{beside_others, builder};

#[test]
fn a_value_and_an_array_that_a_process_changes() {
    let _beside = beside_others();
    let manager = manager();
    let number = manager.value("number", 0.0).unwrap();
    let numbers = manager.array("numbers", 0i32..10).unwrap();
    let orders = "store number f64:3.14 ; array-store numbers 0 s32:5";
    let process = ordered(orders).share(&number).share(&numbers).start().unwrap();
    assert_eq!(process.join().unwrap().exitcode(), Some(0));
    assert_eq!(number.load().unwrap(), 3.14);
    assert_eq!(numbers.to_vec().unwrap(), [5, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_list_of_a_manager_to_which_a_process_appends() {
    let _beside = beside_others();
    let manager = manager();
    let number = manager.value("number", 0.0).unwrap();
    let numbers = manager.array("numbers", 0i32..10).unwrap();
    let words = manager.list::<String>("words").unwrap();
    let orders = "store number f64:3.14 ; array-store numbers 0 s32:5 ; push words \"Hello\"";
    ordered(orders).manager(&manager).start().unwrap().join().unwrap();
    assert_eq!((number.load().unwrap(), numbers.load(0).unwrap()), (3.14, 5));
    assert_eq!(words.to_vec().unwrap(), ["Hello"]);
}

#[test]
fn two_writers_and_a_reader_that_never_ends_by_itself() {
    let _beside = beside_others();
    let manager = manager();
    let names = manager.queue::<String>("names", 0).unwrap();
    let read = manager.queue::<String>("read", 0).unwrap();
    let writers = ["A B C", "D E F"].map(|three| {
        let puts: Vec<String> = three.split(' ').map(|name| format!("put names \"{name}\" -")).collect();
        ordered(&puts.join(" ; ")).share(names.put_only()).start().unwrap()
    });
    let takes = ["get names -"; 6].join(" ; ");
    let orders = format!("{takes} ; put read \"six\" - ; get names -");
    let reader = ordered(&orders).share(names.get_only()).share(read.put_only()).start().unwrap();
    writers.iter().for_each(|writer| assert_eq!(writer.join().unwrap().exitcode(), Some(0)));
    assert_eq!(read.get().unwrap(), "six");
    assert!(reader.is_alive());
    reader.terminate();
    assert_eq!(reader.join().unwrap().exitcode(), Some(-15));
    assert!(names.is_empty().unwrap());
}

#[test]
fn a_list_through_a_pipe() {
    let _beside = beside_others();
    let (parent, child) = manager().duplex_pipe::<(String, i64, String)>("line").unwrap();
    let process = ordered("send line [\"spam\",42,\"egg\"] - ; close line").share(&child).start().unwrap();
    assert_eq!(parent.recv().unwrap(), ("spam".to_owned(), 42, "egg".to_owned()));
    process.join().unwrap();
}

#[test]
fn a_pipe_both_ways() {
    let _beside = beside_others();
    let (parent, child) = manager().duplex_pipe::<Value>("line").unwrap();
    let orders = "send line {\"name\":\"Bob\",\"spam\":42} - ; recv line -";
    let process = ordered(orders).share(&child).start().unwrap();
    assert_eq!(parent.recv().unwrap(), json!({"name": "Bob", "spam": 42}));
    let doubled: BTreeSet<String> = "spam".chars().map(|letter| format!("{letter}{letter}")).collect();
    parent.send(json!(doubled)).unwrap();
    assert_eq!(process.result::<String>().unwrap(), "ok [\"aa\",\"mm\",\"pp\",\"ss\"]");
}

#[test]
fn two_processes_put_one_each() {
    let _beside = beside_others();
    let ones = manager().queue::<i64>("ones", 0).unwrap();
    let processes = [1, 2].map(|_| ordered("put ones 1 -").share(&ones).start().unwrap());
    for process in &processes {
        process.join().unwrap();
    }
    assert_eq!((ones.try_get().unwrap(), ones.try_get().unwrap()), (1, 1));
}

#[test]
fn a_producer_and_a_consumer() {
    let _beside = beside_others();
    let manager = manager();
    let (line, taken) = (manager.queue::<i64>("line", 0).unwrap(), manager.value("taken", 0i64).unwrap());
    let producer = ordered("put line 0 - ; put line 1 - ; put line 2 -").manager(&manager).start().unwrap();
    let take = "get line - ; task-done line ; add taken 1";
    let consumer = ordered(&format!("{} ; get line -", [take; 3].join(" ; "))).manager(&manager).start().unwrap();
    producer.join().unwrap();
    line.join().unwrap();
    consumer.terminate();
    assert_eq!(consumer.join().unwrap().exitcode(), Some(-15));
    assert!((2..=3).contains(&taken.load().unwrap()), "the last is counted behind `task-done`");
}

#[test]
fn a_pool_whose_items_append_to_one_list_under_one_lock() {
    let _beside = beside_others();
    let pool = builder(SHARED).function("act").workers(4).build().unwrap();
    let (found, _gate) = (pool.list::<i64>("found").unwrap(), pool.lock("gate").unwrap());
    pool.map::<_, String>((0..20).map(|item| format!("lock gate - ; push found {item} ; unlock gate"))).unwrap();
    let mut all = found.to_vec().unwrap();
    all.sort_unstable();
    assert_eq!(all, (0..20).collect::<Vec<i64>>());
}

#[test]
fn a_spawned_process_puts_a_word() {
    let _beside = beside_others();
    let words = manager().queue::<String>("words", 0).unwrap();
    let process = ordered("put words \"hello\" -").share(&words).start().unwrap();
    assert_eq!(words.get_timeout(Duration::from_secs(120)).unwrap(), "hello");
    process.join().unwrap();
}
