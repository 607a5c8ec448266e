;; Functions that leave something behind in their instance: so many pages that are written to, a memory that has grown, or
;; text that is printed.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 17)
  (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\0a")
  (func $write (param $pages i32) (param $item i64)
    (loop $next
      (local.set $pages (i32.sub (local.get $pages) (i32.const 1)))
      (i64.store (i32.mul (local.get $pages) (i32.const 4096)) (local.get $item))
      (br_if $next (local.get $pages))))
  (func (export "pages16") (param i64) (result i64) (call $write (i32.const 16) (local.get 0)) (local.get 0))
  (func (export "pages64") (param i64) (result i64) (call $write (i32.const 64) (local.get 0)) (local.get 0))
  (func (export "pages256") (param i64) (result i64) (call $write (i32.const 256) (local.get 0)) (local.get 0))
  (func (export "grows") (param i64) (result i64)
    (i64.add (local.get 0) (i64.extend_i32_s (memory.grow (i32.const 1)))))
  (func (export "prints") (param i64) (result i64)
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64))) (local.get 0)))
