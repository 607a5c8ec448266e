;; Returns its item, except for negative ones, for which it runs without end.
(module
  (func (export "spin") (param i64) (result i64)
    (loop $again (br_if $again (i64.lt_s (local.get 0) (i64.const 0))))
    (local.get 0)))
