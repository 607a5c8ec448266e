(component
  (core module $m
    (func (export "power") (param $base i64) (param $exponent i64) (result i64)
      (local $power i64)
      (local.set $power (i64.const 1))
      (block $done
        (loop $again
          (br_if $done (i64.eqz (local.get $exponent)))
          (local.set $power (i64.mul (local.get $power) (local.get $base)))
          (local.set $exponent (i64.sub (local.get $exponent) (i64.const 1)))
          (br $again)))
      (local.get $power)))
  (core instance $i (instantiate $m))
  (func (export "power") (param "base" s64) (param "exponent" s64) (result s64)
    (canon lift (core func $i "power"))))
