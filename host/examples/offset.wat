;; Adds the argument of `init` to each item.
(component
  (core module $m
    (global $offset (mut i64) (i64.const 0))
    (func (export "init") (param i64)
      (global.set $offset (local.get 0)))
    (func (export "add") (param i64) (result i64)
      (i64.add (local.get 0) (global.get $offset))))
  (core instance $i (instantiate $m))
  (func (export "init") (param "offset" s64)
    (canon lift (core func $i "init")))
  (func (export "add") (param "item" s64) (result s64)
    (canon lift (core func $i "add"))))
