//! NaN and the infinities, for which JSON has no numbers, go in and come out unchanged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wasmpool::Pool;

use crate::support::{beside_others, builder};

/// A component: `same` returns its record of `one: f64`, `small: f32`, `maybe: option<f64>` and `all: list<f64>`
/// unchanged, `half` halves a number, and `less` subtracts `by` from it.
const SAME: &str = r#"
(component
  (core module $m
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at))
    (func (export "same") (param f64 f32 i32 f64 i32 i32) (result i32)
      (f64.store (i32.const 16) (local.get 0))
      (f32.store (i32.const 24) (local.get 1))
      (i32.store8 (i32.const 32) (local.get 2))
      (f64.store (i32.const 40) (local.get 3))
      (i32.store (i32.const 48) (local.get 4))
      (i32.store (i32.const 52) (local.get 5))
      (i32.const 16))
    (func (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
    (func (export "less") (param f64 f64) (result f64) (f64.sub (local.get 0) (local.get 1))))
  (core instance $i (instantiate $m))
  (type $values' (record (field "one" float64) (field "small" float32) (field "maybe" (option float64))
    (field "all" (list float64))))
  (export $values "values" (type $values'))
  (func (export "same") (param "item" $values) (result $values)
    (canon lift (core func $i "same") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func (export "half") (param "item" float64) (result float64) (canon lift (core func $i "half")))
  (func (export "less") (param "item" float64) (param "by" float64) (result float64)
    (canon lift (core func $i "less"))))"#;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Values {
    one: f64,
    small: f32,
    maybe: Option<f64>,
    all: Vec<f64>,
}

fn pool(function: &str) -> Pool {
    builder(SAME.as_bytes()).workers(1).function(function).build().expect("the pool is built")
}

const ALL: [f64; 5] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1.5];

fn bits(floats: &[f64]) -> Vec<u64> {
    floats.iter().map(|float| float.to_bits()).collect()
}

#[test]
fn nan_and_infinities_are_passed_and_returned_wherever_they_are() {
    let _beside = beside_others();
    let items = ALL.map(|one| Values { one, small: one as f32, maybe: Some(one), all: ALL.to_vec() });
    let none = Values { maybe: None, ..items[0].clone() };
    let given: Vec<Values> = items.iter().cloned().chain([none]).collect();
    let got: Vec<Values> = pool("same").map(&given).unwrap();
    for (given, got) in given.iter().zip(&got) {
        assert_eq!((got.one.to_bits(), got.small.to_bits()), (given.one.to_bits(), given.small.to_bits()));
        assert_eq!(got.maybe.map(f64::to_bits), given.maybe.map(f64::to_bits));
        assert_eq!(bits(&got.all), bits(&given.all));
    }
    assert_eq!(got.len(), 6);
}

#[test]
fn so_they_are_alone_and_as_one_of_several_arguments() {
    let _beside = beside_others();
    let halves: Vec<f64> = pool("half").map(ALL).unwrap();
    assert_eq!(bits(&halves), bits(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.75]));
    let less: Vec<f64> = pool("less").starmap([(1.0, f64::INFINITY), (f64::INFINITY, 1.0)]).unwrap();
    assert_eq!(less, [f64::NEG_INFINITY, f64::INFINITY]);
    let bound = builder(SAME.as_bytes()).function("less").bind("by", &f64::INFINITY).build().unwrap();
    assert_eq!(bound.apply::<_, f64>(1.0).unwrap(), f64::NEG_INFINITY);
    let named: f64 = pool("less").apply(BTreeMap::from([("item", f64::NAN), ("by", 1.0)])).unwrap();
    assert!(named.is_nan());
    let read: Option<f32> = pool("half").apply(f32::NEG_INFINITY).unwrap();
    assert_eq!(read, Some(f32::NEG_INFINITY));
}
