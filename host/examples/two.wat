(module
  (func (export "twice") (param i64) (result i64)
    (i64.add (local.get 0) (local.get 0)))
  (func (export "negate") (param i64) (result i64)
    (i64.sub (i64.const 0) (local.get 0))))
