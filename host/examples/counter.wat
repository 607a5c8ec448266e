;; Returns the number of calls since its memory was pristine.
(component
  (core module $m
    (global $calls (mut i64) (i64.const 0))
    (func (export "count") (result i64)
      (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
      (global.get $calls)))
  (core instance $i (instantiate $m))
  (func (export "count") (result s64)
    (canon lift (core func $i "count"))))
