;; Adds its item to the shared value `total`, a `s64`, and returns the sum.
(component
  (import "wasmpool:shared/types@0.1.0" (instance $types
    (type $error (variant
      (case "not-granted" string) (case "wrong-kind" string) (case "denied" string) (case "closed") (case "full")
      (case "empty") (case "timeout") (case "quota" string) (case "not-held") (case "not-holder") (case "too-many")
      (case "broken" string) (case "eof") (case "closed-by-peer") (case "not-readable") (case "not-writable")
      (case "too-long" u64) (case "out-of-range" string) (case "invalid" string) (case "lost")))
    (export "error" (type (eq $error)))))
  (alias export $types "error" (type $error))
  (import "wasmpool:shared/numbers@0.1.0" (instance $numbers
    (alias outer 1 $error (type $outer))
    (export "error" (type $error (eq $outer)))
    (type $variant (variant
      (case "s8" s8) (case "u8" u8) (case "s16" s16) (case "u16" u16) (case "s32" s32) (case "u32" u32) (case "s64" s64)
      (case "u64" u64) (case "f32" f32) (case "f64" f64) (case "boolean" bool) (case "character" char)))
    (export "number" (type $number (eq $variant)))
    (export "value" (type $value (sub resource)))
    (export "[static]value.open" (func (param "name" string) (result (result (own $value) (error $error)))))
    (export "[method]value.add"
      (func (param "self" (borrow $value)) (param "number" $number) (result (result $number (error $error)))))))
  (core module $memory
    (memory (export "memory") 1)
    (data (i32.const 0) "total")
    (global $end (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $end)
      (global.set $end (i32.and (i32.add (i32.add (global.get $end) (local.get 3)) (i32.const 7)) (i32.const -8)))))
  (core instance $m (instantiate $memory))
  (alias core export $m "memory" (core memory $mem))
  (core func $open (canon lower (func $numbers "[static]value.open") (memory $mem) (realloc (core func $m "realloc"))))
  (core func $add (canon lower (func $numbers "[method]value.add") (memory $mem) (realloc (core func $m "realloc"))))
  (core module $main
    (import "" "memory" (memory 1))
    (import "" "open" (func $open (param i32 i32 i32)))
    (import "" "add" (func $add (param i32 i32 i64 i32)))
    (func (export "add") (param i64) (result i64)
      (call $open (i32.const 0) (i32.const 5) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (unreachable)))
      (call $add (i32.load (i32.const 72)) (i32.const 6) (local.get 0) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (unreachable)))
      (i64.load (i32.const 80))))
  (core instance $i (instantiate $main (with "" (instance
    (export "memory" (memory $mem)) (export "open" (func $open)) (export "add" (func $add))))))
  (func (export "add") (param "number" s64) (result s64) (canon lift (core func $i "add"))))
