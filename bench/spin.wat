;; Work of a chosen length: repeats a step that depends on the one before it as often as the item says. A component without
;; imports, so that little but the loop is measured.
(component
  (core module $spin
    (func (export "spin") (param $rounds i64) (result i64)
      (local $x i64)
      (loop $again
        (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (local.get $rounds)))
        (local.set $rounds (i64.sub (local.get $rounds) (i64.const 1)))
        (br_if $again (i64.gt_s (local.get $rounds) (i64.const 0))))
      (local.get $x)))
  (core instance $instance (instantiate $spin))
  (func (export "spin") (param "rounds" s64) (result s64)
    (canon lift (core func $instance "spin"))))
