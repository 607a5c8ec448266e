(component
  (core module $m
    (func (export "divide") (param i64 i64) (result i64)
      (i64.div_s (local.get 0) (local.get 1))))
  (core instance $i (instantiate $m))
  (func (export "divide") (param "dividend" s64) (param "divisor" s64) (result s64)
    (canon lift (core func $i "divide"))))
