//! `wasmpool inspect`: what a task exports and imports.

use crate::support::guest::{Task, built, file, wat};
use crate::support::run::{map, wasmpool};
use crate::support::wat::{FOREIGN_COMPONENT, FOREIGN_MODULE, RESOURCE, SQUARE, interfaces, minus};

/// Checks that the description contains each of these names.
#[track_caller]
fn shows(task: &Task, names: &[&str]) {
    let output = wasmpool().arg("inspect").task(task).run().exits(0);
    for name in names {
        assert!(output.text().contains(name), "no {name} in:\n{}", output.text());
    }
}

#[test]
fn functions_are_shown_with_their_types() {
    shows(&wat(SQUARE), &["square", "64"]);
    shows(&wat(minus()), &["minus", "from", "take", "s64"]);
    shows(&built("identity"), &["echo-record", "echo-option-option", "first-part", "list<u8>"]);
}

#[test]
fn functions_of_interfaces_are_shown_with_their_interface() {
    shows(&wat(interfaces()), &["acme:sums/one@1.2.0", "acme:sums/two@1.2.0", "apply", "square"]);
}

#[test]
fn imports_are_shown_even_where_nothing_provides_them() {
    shows(&wat(FOREIGN_COMPONENT), &["acme:store/keys@1.0.0"]);
    shows(&wat(FOREIGN_MODULE), &["environs", "magic"]);
    shows(&built("misbehave"), &["wasi:cli/"]);
    let in_full = wasmpool().args(["inspect", "-v"]).task(&built("misbehave")).run().exits(0);
    assert!(in_full.text().contains("  wasi:cli/environment@"), "{}", in_full.text());
}

#[test]
fn a_task_that_imports_what_nothing_provides_is_said_to_never_run() {
    for task in [wat(FOREIGN_COMPONENT), wat(FOREIGN_MODULE)] {
        let description = described(&task);
        let why = description["cannot-run"].as_str().expect("a reason");
        shows(&task, &[&format!("\ncannot run: {why}\n")]);
        let refused = map(&task).input("1\n").run().exits(2);
        assert!(refused.stderr.contains(why), "{why}\nis not in\n{}", refused.stderr);
    }
    for can_run in [wat(SQUARE), built("reach"), wat(importing("wasi_snapshot_preview1", "unheard-of", "func"))] {
        assert_eq!(described(&can_run)["cannot-run"], serde_json::Value::Null);
    }
}

/// Returns a core module with an import of this type.
fn importing(module: &str, name: &str, ty: &str) -> String {
    format!(
        r#"(module (import "{module}" "{name}" ({ty})) (func (export "f") (param i64) (result i64) (local.get 0)))"#
    )
}

/// Returns a component that imports a function, of this type, from an interface.
fn component_importing(interface: &str, function: &str, ty: &str) -> String {
    format!(
        r#"(component
          (import "{interface}" (instance (export "{function}" {ty})))
          (core module $m (func (export "f") (param i64) (result i64) (local.get 0)))
          (core instance $i (instantiate $m))
          (func (export "f") (param "x" s64) (result s64) (canon lift (core func $i "f"))))"#
    )
}

#[test]
fn a_task_that_imports_of_wasi_what_is_not_provided_is_said_to_never_run() {
    let tasks = [
        importing("wasi_snapshot_preview1", "memory", "memory 1"),
        importing("wasi_snapshot_preview1", "table", "table 1 funcref"),
        importing("wasi_snapshot_preview1", "fd_write", "global i32"),
        importing("wasi_snapshot_preview1", "fd_write", "func (param i64)"),
        importing("wasi_unstable", "fd_write", "func (param i64)"),
        component_importing("wasi:random/random@0.4.0", "get-random-u64", "(func (result u64))"),
        component_importing("wasi:random/random@0.2.0", "get-random-u65", "(func (result u64))"),
        component_importing("wasi:random/random@0.2.0", "get-random-u64", "(func (result u32))"),
        component_importing("wasi:keyvalue/store@0.2.0-draft", "close", "(func)"),
        component_importing("wasmpool:shared/queues@0.1.0", "close", "(func)"),
    ];
    for task in tasks {
        let described = described(&wat(&task));
        let why = described["cannot-run"].as_str().unwrap_or_else(|| panic!("{task} can run: {described}"));
        let refused = map(&wat(&task)).input("1\n").run().exits(2);
        assert!(refused.stderr.contains(why), "{why}\nis not in\n{}", refused.stderr);
    }
    let runs = component_importing("wasi:random/random@0.2.0", "get-random-u64", "(func (result u64))");
    assert_eq!(described(&wat(&runs))["cannot-run"], serde_json::Value::Null);
}

#[test]
fn names_of_what_cannot_be_linked_stand_on_one_line() {
    let name = r"x\0awasmpool: sandbox: strict, all layers on\0a".repeat(100);
    for ty in ["memory 1", "table 1 funcref", "global i32"] {
        for module in ["wasi_snapshot_preview1", "wasi_unstable", "env"] {
            for (module, name) in [(module, &*name), (&*name, module)] {
                let task = wat(importing(module, name, ty));
                let refused = map(&task).input("1\n").run().exits(2);
                assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
                assert!(refused.stderr.len() < 600, "{}", refused.stderr);
            }
        }
    }
}

#[test]
fn a_task_that_cannot_be_mapped_can_be_looked_at() {
    shows(&wat(RESOURCE), &["take", "thing"]);
}

#[test]
fn what_is_no_task_is_refused() {
    for task in [file("task.wasm", b"no wasm"), file("task.wasm", b"\0asm\x01\0\0")] {
        let output = wasmpool().arg("inspect").task(&task).run().exits(2);
        assert_eq!(output.text(), "");
        assert!(!output.stderr.is_empty());
    }
    wasmpool().args(["inspect", "/nowhere/task.wasm"]).run().exits(2);
}

#[test]
fn a_function_that_cannot_be_called_is_shown_with_all_its_parameters() {
    let module = r#"
(module
  (func (export "mixed") (param i32 v128 f64 externref) (result i64 v128) unreachable)
  (func (export "only") (param funcref)))"#;
    let component = r#"
(component
  (type $hidden (resource (rep i32)))
  (export $thing "thing" (type $hidden))
  (core module $m
    (func (export "take") (param i32 i32 i32) (result i32) unreachable)
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m))
  (func (export "take") (param "by" u32) (param "them" (list (own $thing))) (result (tuple u8 (own $thing)))
    (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#;
    for (task, signatures) in [
        (
            module,
            &[
                "mixed: func(p0: i32, p1: v128, p2: f64, p3: (ref null extern)) -> (i64, v128)",
                "only: func(p0: (ref null func))",
            ][..],
        ),
        (component, &["take: func(by: u32, them: list<resource>) -> tuple<u8, resource>"]),
    ] {
        let output = wasmpool().arg("inspect").task(&wat(task)).run().exits(0);
        for signature in signatures {
            assert!(output.text().contains(signature), "{signature} in {}", output.text());
        }
    }
}

#[test]
fn what_toolchains_add_is_left_out_unless_it_is_asked_for() {
    let task = wat(r#"(module
             (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "path_open"
               (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
             (memory (export "memory") 1)
             (func (export "_initialize"))
             (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
             (func (export "init"))
             (func (export "work") (param i64) (result i64) (local.get 0)))"#);
    let shown = wasmpool().arg("inspect").task(&task).run().exits(0);
    for added in ["cabi_realloc", "_initialize", "init:", "fd_write", "path_open"] {
        assert!(!shown.text().contains(added), "{added} in {}", shown.text());
    }
    assert!(shown.text().contains("wasi_snapshot_preview1: 2 functions"), "{}", shown.text());
    assert!(shown.text().contains("--dir HOST::GUEST[:ro|:rw]") && !shown.text().contains("--env"), "{}", shown.text());
    let in_full = wasmpool().args(["inspect", "-v"]).task(&task).run().exits(0);
    for added in ["cabi_realloc", "_initialize", "init: func()", "fd_write", "path_open"] {
        assert!(in_full.text().contains(added), "{added} is not in {}", in_full.text());
    }
}

#[test]
fn grants_that_a_task_can_use_are_named() {
    shows(&built("reach"), &["--dir HOST::GUEST[:ro|:rw]", "--env NAME=VALUE", "--allow-net HOST:PORT"]);
    shows(&built("shared"), &["--share NAME=KIND"]);
    let shown = wasmpool().arg("inspect").task(&wat(SQUARE)).run().exits(0);
    assert!(!shown.text().contains("--"), "{}", shown.text());
}

/// Returns the description as JSON.
fn described(task: &Task) -> serde_json::Value {
    let output = wasmpool().args(["inspect", "--json"]).task(task).run().exits(0);
    assert_eq!(output.text().lines().count(), 1);
    serde_json::from_str(output.text()).expect("JSON")
}

#[test]
fn an_item_is_shown_for_each_function_and_fits_it() {
    let mut mapped = 0;
    for name in ["identity", "square", "square_batch", "score", "logfilter", "thumbnail"] {
        let task = built(name);
        for function in described(&task)["functions"].as_array().expect("functions") {
            let path = function["name"].as_str().expect("a name");
            let item = &function["example"];
            assert_eq!(function["callable"], !function["signature"].as_str().expect("a type").contains("resource"));
            let run = map(&task).args(["-f", path, "--dry-run"]).input(format!("{item}\n"));
            let output = run.run().exits(0);
            assert!(!output.text().contains("does not fit"), "{path}: {item}: {}", output.text());
            mapped += 1;
        }
    }
    assert!(mapped > 20, "only {mapped} functions were tried");
    shows(&wat(minus()), &["      item: [1,1]"]);
}

#[test]
fn the_description_as_json_has_the_members_that_are_promised() {
    let reference =
        std::fs::read_to_string(crate::support::workspace().join("docs/reference.md")).expect("it is there");
    for task in [wat(SQUARE), built("identity"), wat(FOREIGN_MODULE)] {
        let description = described(&task);
        let members = description.as_object().expect("an object");
        for member in members.keys() {
            assert!(reference.contains(&format!("`{member}`")), "docs/reference.md does not have {member}");
        }
        for member in [
            "task",
            "kind",
            "functions",
            "command",
            "other-exports",
            "imports",
            "cannot-run",
            "left-out",
            "grants",
            "init",
            "restoring",
            "memory-at-start",
            "plugin",
        ] {
            assert!(members.contains_key(member), "no {member}");
        }
    }
    let square = described(&wat(SQUARE));
    assert_eq!(square["kind"], "core module");
    assert_eq!(square["functions"][0]["name"], "square");
    assert_eq!(square["functions"][0]["example"], 1);
    assert_eq!(square["restoring"]["in-place"], true);
    assert_eq!(square["restoring"]["unless"], serde_json::Value::Null);
    let changes = "(module (table 1 funcref) (func (export \"f\") (table.set (i32.const 0) (ref.null func))))";
    let changes = described(&wat(changes));
    assert_eq!(changes["restoring"]["in-place"], false);
    assert!(changes["restoring"]["why"].as_str().expect("a reason").contains("table.set"));
}

#[test]
fn a_long_type_is_wrapped() {
    let params = (0..40).map(|nth| format!("(param \"parameter{nth}\" s64)")).collect::<String>();
    let core = "(param i32) (result i64) unreachable";
    let code = format!(
        r#"(func (export "many") {core}) (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))"#
    );
    let task = wat(format!(
        r#"(component
             (core module $m {code})
             (core instance $i (instantiate $m))
             (func (export "many") {params} (result s64)
               (canon lift (core func $i "many") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    ));
    let shown = wasmpool().arg("inspect").task(&task).run().exits(0);
    let words = shown.text().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.text().contains("\n      ") && words.contains("parameter39: s64) -> s64"), "{}", shown.text());
    assert!(shown.text().lines().skip(1).filter(|line| !line.contains("item: ")).all(|line| line.len() <= 100));
}
