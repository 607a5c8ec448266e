//! The check finds what is left behind, whatever it is, and nothing else.

use super::*;

/// A module that leaves traces in all that it has.
const TRACES: &str = r#"(module
  (memory (export "memory") 3)
  (global (export "global") (mut i64) (i64.const 5))
  (table (export "table") 3 funcref) (elem (i32.const 1) $f)
  (func $f (export "f") (param i64) (result i64)
    (i64.store (i32.wrap_i64 (i64.rem_u (local.get 0) (i64.const 190000))) (i64.const -1))
    (global.set 0 (i64.add (global.get 0) (local.get 0)))
    (global.get 0)))"#;

fn check(text: &str, leave: Option<Leftover>) -> Verdict {
    let mut random = numbers(7);
    let check = RestoringCheck::new().expect("an engine");
    check.check(&wat::parse_str(text).expect("a text"), 300, leave, &mut random)
}

/// Returns a source of numbers that are the same each time.
fn numbers(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below.max(1)
    }
}

#[test]
fn a_restored_instance_is_like_a_new_one() {
    let Verdict::Same(checked) = check(TRACES, None) else { panic!("{:?}", check(TRACES, None)) };
    assert!(checked.restored > 200, "{checked:?}");
}

#[test]
fn whatever_is_left_behind_is_found() {
    for leave in [Leftover::Page, Leftover::Global, Leftover::TableElement] {
        let verdict = check(TRACES, Some(leave));
        assert!(matches!(verdict, Verdict::Differs { .. }), "{leave:?}: {verdict:?}");
    }
}

#[test]
fn a_module_that_changes_what_is_not_restored_is_left_out() {
    let verdict =
        check("(module (table 1 funcref) (func (export \"f\") (table.set (i32.const 0) (ref.null func))))", None);
    assert!(matches!(verdict, Verdict::LeftOut(_)), "{verdict:?}");
}
