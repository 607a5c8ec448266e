use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use wasmpool_ipc::lane::frame::{OUTCOME_HEADER, OutcomeHeader, OutcomeTag};
use wasmpool_ipc::lane::host::{HostLane, Received};
use wasmpool_ipc::lane::region::RING;
use wasmpool_ipc::lane::worker::WorkerLane;
use wasmpool_ipc::wake::Bell;

use super::*;

/// All ways of this build.
const WAYS: &[ReturnWay] = &[
    ReturnWay::Plain,
    #[cfg(feature = "direct-results")]
    ReturnWay::Direct,
];

/// `echo` returns its item, which `post-return` overwrites. `checked` does the same, but `err(item)` where it begins with
/// `e`. An item that begins with `?` comes back from beyond the memory.
const ECHO: &str = r#"(component
  (core module $m
    (memory (export "memory") 64)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func $write (param $to i32) (param $at i32) (param $size i32)
      (i32.store (local.get $to) (local.get $at))
      (if (i32.and (i32.ne (local.get $size) (i32.const 0))
            (i32.eq (i32.load8_u (local.get $at)) (i32.const 63)))
        (then (i32.store (local.get $to) (i32.const -2))))
      (i32.store offset=4 (local.get $to) (local.get $size)))
    (func (export "echo") (param $at i32) (param $size i32) (result i32)
      (call $write (i32.const 16) (local.get $at) (local.get $size))
      (i32.const 16))
    (func (export "checked") (param $at i32) (param $size i32) (result i32)
      (i32.store (i32.const 12) (i32.eq (i32.load8_u (local.get $at)) (i32.const 101)))
      (call $write (i32.const 16) (local.get $at) (local.get $size))
      (i32.const 12))
    (func (export "free") (param i32)
      (memory.fill (i32.const 1024) (i32.const 120) (i32.const 4096))))
  (core instance $i (instantiate $m))
  (func (export "echo") (param "item" (list u8)) (result (list u8))
    (canon lift (core func $i "echo") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))
      (post-return (core func $i "free"))))
  (func (export "checked") (param "item" (list u8)) (result (result (list u8) (error string)))
    (canon lift (core func $i "checked") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))
      (post-return (core func $i "free")))))"#;

/// A bell that nobody needs.
struct Silent;

impl Bell for Silent {
    fn wait(&self) -> std::io::Result<()> {
        panic!("nothing is to be waited for")
    }

    fn ring(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What came of a call: what the guest said, what went to `out`, and what the host found in the lane.
#[derive(Debug, PartialEq)]
struct Came {
    said: std::result::Result<std::result::Result<(), String>, ()>,
    out: Vec<u8>,
    in_lane: Option<Vec<u8>>,
}

fn call(way: ReturnWay, function: &str, item: &[u8], form: ResultForm, with_lane: bool, most: usize) -> Came {
    let engine = Engine::default();
    let component = Component::new(&engine, ECHO).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Linker::new(&engine).instantiate(&mut store, &component).unwrap();
    let callee = instance.get_func(&mut store, function).unwrap();
    let callee = BytesFunction::new(callee, &store, function == "checked", way).unwrap();
    let (mut host, fd) = HostLane::create(u64::MAX).unwrap();
    let mut worker = WorkerLane::map(&fd).unwrap();
    let lane = with_lane.then(|| worker.lend_output());
    let mut place = ResultPlace { form, lane, most, out: Vec::new() };
    let said = callee.call(&mut store, item, &mut place).map_err(drop);
    assert_eq!(place.lane.is_some(), with_lane, "the lane comes back");
    if let Some(lane) = place.lane.take() {
        worker.take_back(lane);
    }
    let placed = worker.placed();
    let in_lane = (placed > 0).then(|| {
        let header = OutcomeHeader { tag: OutcomeTag::Value, len: placed as u32, elapsed: std::time::Duration::ZERO };
        worker.write_placed(&header.to_bytes(), &Silent).unwrap();
        worker.answered();
        match host.receive().unwrap() {
            Received::Outcome(_, bytes) => bytes.into_owned(),
            Received::Nothing => panic!("the outcome was written whole"),
        }
    });
    Came { said, out: place.out, in_lane }
}

#[test]
fn both_ways_have_the_same_results() {
    assert!(cfg!(not(feature = "direct-results")) || WAYS.len() == 2);
    let most = RING - OUTCOME_HEADER;
    let long: Vec<u8> = (0..most + 1).map(|i| i as u8).collect();
    let items: [&[u8]; 7] = [b"", b"x", b"e, it says", b"?", b"\x00\xff\n", &long[..most], &long];
    for function in ["echo", "checked"] {
        for item in items {
            for form in [ResultForm::Raw, ResultForm::Json] {
                for (with_lane, most) in [(false, usize::MAX), (true, usize::MAX), (true, 4), (true, most)] {
                    let came: Vec<Came> =
                        WAYS.iter().map(|&way| call(way, function, item, form, with_lane, most)).collect();
                    assert!(came.windows(2).all(|two| two[0] == two[1]), "{function} {with_lane} {most}: {came:.200?}");
                    let Some(Came { said, out, in_lane }) = came.into_iter().next() else { panic!("there is a way") };
                    let wanted = match item.first() {
                        Some(b'?') => Err(()),
                        Some(b'e') if function == "checked" => Ok(Err(String::from_utf8_lossy(item).into_owned())),
                        _ => Ok(Ok(())),
                    };
                    assert_eq!(said, wanted);
                    if said == Ok(Ok(())) && form == ResultForm::Raw {
                        assert!(in_lane.unwrap_or(out) == item, "what went in came out");
                    }
                }
            }
        }
    }
}
