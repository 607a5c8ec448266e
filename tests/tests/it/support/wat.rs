//! Guests as text: the core modules and components that the tests map over.

/// `square(i64) -> i64`, a core module.
pub const SQUARE: &str = r#"
(module
  (func (export "square") (param i64) (result i64)
    (i64.mul (local.get 0) (local.get 0))))"#;

/// The same module in binary, as a compiler writes it.
pub const SQUARE_BINARY: [u8; 43] = *b"\0asm\x01\0\0\0\
    \x01\x06\x01\x60\x01\x7e\x01\x7e\
    \x03\x02\x01\0\
    \x07\x0a\x01\x06square\0\0\
    \x0a\x09\x01\x07\0\x20\0\x20\0\x7e\x0b";

/// `go(i64) -> i64`: a negative item loops for ever, others are doubled.
pub const SPIN_IF_NEGATIVE: &str = r#"
(module
  (func (export "go") (param i64) (result i64)
    (if (i64.lt_s (local.get 0) (i64.const 0)) (then (loop $l (br $l))))
    (i64.mul (local.get 0) (i64.const 2))))"#;

/// `work(i64) -> i64`: counts up to its item and returns it.
pub const COUNT_TO: &str = r#"
(module
  (func (export "work") (param i64) (result i64)
    (local $i i64)
    (loop $l
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $l (i64.lt_u (local.get $i) (local.get 0))))
    (local.get $i)))"#;

/// Returns the beginning of a component that imports a function of this type, and has it lowered as `$it`, with a memory `$m` in
/// which what it returns is at 1024.
pub fn importing(interface: &str, name: &str, ty: &str) -> String {
    format!(
        r#"
  (import "{interface}" (instance $imported (export "{name}" (func {ty}))))
  (core module $libc (memory (export "m") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "m" (core memory $m))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $it (canon lower (func $imported "{name}") (memory $m) (realloc $realloc)))"#
    )
}

/// Returns a component around a core module `$m` of this body. The module gets a memory and a `realloc` that only moves
/// forward; results are stored at 16. `$lifts` are functions, each made by [`lift`].
pub fn component(body: &str, lifts: &[String]) -> String {
    let lifts = lifts.concat();
    format!(
        r#"
(component
  (core module $m
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func $realloc (export "realloc")
      (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32) (local $missing i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (local.set $missing (i32.sub
        (i32.shr_u (i32.add (global.get $next) (i32.const 65535)) (i32.const 16))
        (memory.size)))
      (if (i32.gt_s (local.get $missing) (i32.const 0))
        (then (if (i32.eq (memory.grow (local.get $missing)) (i32.const -1)) (then unreachable))))
      (memory.copy (local.get $at) (local.get $old) (local.get $old_size))
      (local.get $at))
    {body})
  (core instance $i (instantiate $m))
  {lifts})"#
    )
}

/// Returns an exported function of this name and type, such as `(param "x" s64) (result s64)`.
pub fn lift(name: &str, ty: &str) -> String {
    format!(
        r#"
  (func (export "{name}") {ty}
    (canon lift (core func $i "{name}") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))"#
    )
}

/// Returns `echo: func(item: string) -> string`.
pub fn echo_string() -> String {
    component(ECHO, &[lift("echo", r#"(param "item" string) (result string)"#)])
}

/// Returns `echo: func(item: list<u8>) -> list<u8>`.
pub fn echo_bytes() -> String {
    let ty = r#"(param "item" (list u8)) (result (list u8))"#;
    component(ECHO, &[lift("echo", ty)])
}

/// Returns `echo: func(item: list<u8>) -> list<u8>`, whose `post-return` overwrites what was returned, and traps if
/// that begins with `!`. A result that begins with `?` lies beyond the memory.
pub fn echo_bytes_once() -> String {
    let body = r#"
    (func (export "echo") (param $at i32) (param $size i32) (result i32)
      (i32.store (i32.const 16) (local.get $at))
      (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 63))
        (then (i32.store (i32.const 16) (i32.const -2))))
      (i32.store (i32.const 20) (local.get $size))
      (i32.const 16))
    (func (export "free") (param $result i32)
      (if (i32.eq (i32.load8_u (i32.load (local.get $result))) (i32.const 33)) (then unreachable))
      (memory.fill (i32.load (local.get $result)) (i32.const 120) (i32.load offset=4 (local.get $result))))"#;
    let lift = r#"
  (func (export "echo") (param "item" (list u8)) (result (list u8))
    (canon lift (core func $i "echo") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))
      (post-return (core func $i "free"))))"#;
    component(body, &[lift.to_owned()])
}

const ECHO: &str = r#"
    (func (export "echo") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0))
      (i32.store (i32.const 20) (local.get 1))
      (i32.const 16))"#;

/// Returns `repeat: func(count: u32) -> string`: `count` times the letter a.
pub fn repeat() -> String {
    component(
        r#"
    (func (export "repeat") (param $count i32) (result i32)
      (local $at i32)
      (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $count)))
      (memory.fill (local.get $at) (i32.const 97) (local.get $count))
      (i32.store (i32.const 16) (local.get $at))
      (i32.store (i32.const 20) (local.get $count))
      (i32.const 16))"#,
        &[lift("repeat", r#"(param "count" u32) (result string)"#)],
    )
}

/// Returns `minus: func(from: s64, take: s64) -> s64`.
pub fn minus() -> String {
    component(
        r#"
    (func (export "minus") (param i64 i64) (result i64)
      (i64.sub (local.get 0) (local.get 1)))"#,
        &[lift("minus", r#"(param "from" s64) (param "take" s64) (result s64)"#)],
    )
}

/// Returns `minus: func(from: s64, take: s64, more: s64) -> s64`.
pub fn minus_twice() -> String {
    component(
        r#"
    (func (export "minus") (param i64 i64 i64) (result i64)
      (i64.sub (i64.sub (local.get 0) (local.get 1)) (local.get 2)))"#,
        &[lift("minus", r#"(param "from" s64) (param "take" s64) (param "more" s64) (result s64)"#)],
    )
}

/// Returns `counted: func() -> s64`: the number of calls in this instance.
pub fn no_parameter() -> String {
    component(
        r#"
    (global $calls (mut i64) (i64.const 0))
    (func (export "counted") (result i64)
      (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
      (global.get $calls))"#,
        &[lift("counted", "(result s64)")],
    )
}

/// Returns `squares: func(items: list<s64>) -> list<s64>`; a list that holds 13 comes back one too short, 14 traps.
pub fn batch() -> String {
    component(
        r#"
    (func (export "squares") (param $at i32) (param $count i32) (result i32)
      (local $i i32) (local $slot i32) (local $value i64)
      (i32.store (i32.const 16) (local.get $at))
      (i32.store (i32.const 20) (local.get $count))
      (block $end
        (loop $l
          (br_if $end (i32.ge_u (local.get $i) (local.get $count)))
          (local.set $slot (i32.add (local.get $at) (i32.mul (local.get $i) (i32.const 8))))
          (local.set $value (i64.load (local.get $slot)))
          (if (i64.eq (local.get $value) (i64.const 13))
            (then (i32.store (i32.const 20) (i32.sub (local.get $count) (i32.const 1)))))
          (if (i64.eq (local.get $value) (i64.const 14)) (then unreachable))
          (i64.store (local.get $slot) (i64.mul (local.get $value) (local.get $value)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $l)))
      (i32.const 16))"#,
        &[lift("squares", r#"(param "items" (list s64)) (result (list s64))"#)],
    )
}

/// Returns `below: func(end: u32) -> list<u32>`: 0, 1, … up to its item.
pub fn below() -> String {
    component(
        r#"
    (func (export "below") (param $end i32) (result i32)
      (local $at i32) (local $i i32)
      (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 4)
        (i32.mul (local.get $end) (i32.const 4))))
      (i32.store (i32.const 16) (local.get $at))
      (i32.store (i32.const 20) (local.get $end))
      (block $stop
        (loop $l
          (br_if $stop (i32.ge_u (local.get $i) (local.get $end)))
          (i32.store (i32.add (local.get $at) (i32.mul (local.get $i) (i32.const 4))) (local.get $i))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $l)))
      (i32.const 16))"#,
        &[lift("below", r#"(param "end" u32) (result (list u32))"#)],
    )
}

/// Returns `many: func(count: u32) -> list<u8>`: `count` zeros, after printing 64 KiB of U+0001.
pub fn printing_many() -> String {
    r#"
(component
  (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $stream (sub resource)))
    (alias outer 1 $error (type $outer))
    (export "error" (type $error (eq $outer)))
    (type $failed (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failed)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $stream (type $outer))
    (export "output-stream" (type $stream (eq $outer)))
    (export "get-stdout" (func (result (own $stream))))))
  (core module $memory (memory (export "memory") 1024))
  (core instance $m (instantiate $memory))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $m "memory"))))
  (core module $main
    (import "m" "memory" (memory 1024))
    (import "w" "get-stdout" (func $get-stdout (result i32)))
    (import "w" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "many") (param $count i32) (result i32)
      (local $stdout i32) (local $i i32)
      (local.set $stdout (call $get-stdout))
      (memory.fill (i32.const 4096) (i32.const 1) (i32.const 4096))
      (loop $l
        (call $write (local.get $stdout) (i32.const 4096) (i32.const 4096) (i32.const 64))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 16))))
      (i32.store (i32.const 16) (i32.const 65536))
      (i32.store (i32.const 20) (local.get $count))
      (i32.const 16)))
  (core instance $i (instantiate $main
    (with "m" (instance $m))
    (with "w" (instance (export "get-stdout" (func $get-stdout)) (export "write" (func $write))))))
  (func (export "many") (param "count" u32) (result (list u8))
    (canon lift (core func $i "many") (memory (core memory $m "memory")))))"#
        .to_owned()
}

/// Returns `long-err: func(length: u32) -> result<u32, string>`: always an `err`, `length` times the letter a.
pub fn long_err() -> String {
    component(
        r#"
    (func (export "long-err") (param $length i32) (result i32)
      (local $at i32)
      (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $length)))
      (memory.fill (local.get $at) (i32.const 97) (local.get $length))
      (i32.store (i32.const 16) (i32.const 1))
      (i32.store (i32.const 20) (local.get $at))
      (i32.store (i32.const 24) (local.get $length))
      (i32.const 16))"#,
        &[lift("long-err", r#"(param "length" u32) (result (result u32 (error string)))"#)],
    )
}

/// Returns `even: func(item: s64) -> option<s64>`: its item if that is even.
pub fn even() -> String {
    component(
        r#"
    (func (export "even") (param i64) (result i32)
      (i32.store8 (i32.const 16) (i32.eqz (i32.wrap_i64 (i64.and (local.get 0) (i64.const 1)))))
      (i64.store (i32.const 24) (local.get 0))
      (i32.const 16))"#,
        &[lift("even", r#"(param "item" s64) (result (option s64))"#)],
    )
}

/// Returns `init: func(base: s64)` and `add: func(item: s64) -> s64`, which adds the base and then raises it by 1000.
pub fn initialised() -> String {
    component(
        r#"
    (global $base (mut i64) (i64.const -1))
    (func (export "init") (param i64) (global.set $base (local.get 0)))
    (func (export "add") (param i64) (result i64)
      (local $sum i64)
      (local.set $sum (i64.add (local.get 0) (global.get $base)))
      (global.set $base (i64.add (global.get $base) (i64.const 1000)))
      (local.get $sum))"#,
        &[lift("init", r#"(param "base" s64)"#), lift("add", r#"(param "item" s64) (result s64)"#)],
    )
}

/// Returns two interfaces of one package, each with a function; the first has the same name in both.
pub fn interfaces() -> String {
    component(
        r#"
    (func (export "square") (param i64) (result i64) (i64.mul (local.get 0) (local.get 0)))
    (func (export "minus") (param i64) (result i64) (i64.sub (i64.const 0) (local.get 0)))"#,
        &[r#"
  (func $square (param "x" s64) (result s64) (canon lift (core func $i "square")))
  (func $minus (param "x" s64) (result s64) (canon lift (core func $i "minus")))
  (instance $one (export "apply" (func $square)) (export "square" (func $square)))
  (instance $two (export "apply" (func $minus)))
  (export "acme:sums/one@1.2.0" (instance $one))
  (export "acme:sums/two@1.2.0" (instance $two))"#
            .to_owned()],
    )
}

/// A component whose function takes a resource.
pub const RESOURCE: &str = r#"
(component
  (type $hidden (resource (rep i32)))
  (export $thing "thing" (type $hidden))
  (core module $m (func (export "take") (param i32)))
  (core instance $i (instantiate $m))
  (func (export "take") (param "it" (own $thing)) (canon lift (core func $i "take"))))"#;

/// A component with an import that is not part of WASI.
pub const FOREIGN_COMPONENT: &str = r#"
(component
  (import "acme:store/keys@1.0.0" (instance
    (export "get" (func (param "key" u32) (result u32)))))
  (core module $m (func (export "f") (param i32) (result i32) (local.get 0)))
  (core instance $i (instantiate $m))
  (func (export "f") (param "x" u32) (result u32) (canon lift (core func $i "f"))))"#;

/// A core module with an import that is not part of WASI.
pub const FOREIGN_MODULE: &str = r#"
(module
  (import "environs" "magic" (func $magic (result i64)))
  (func (export "f") (param i64) (result i64) (call $magic)))"#;
