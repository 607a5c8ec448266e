//! Which functions of a core module leave all global variables as they were: after a call of one, none has to be restored.
//!
//! Most functions of toolchains move the end of the stack down, which is a global variable, and back up before they return. So
//! that is followed: through all ways from the beginning of a function to its ends, the variable must have been set to the
//! value that it had. Everything else that sets a global variable counts as a change, and so does a call of a function that
//! is not known to change none. A call behind which nothing but a trap comes does not count, since a trap ends the instance.

use std::collections::BTreeSet;

use wasmparser::Operator;

/// What the functions of a module do to global variables.
#[derive(Default)]
pub struct GlobalChanges {
    /// Number of functions that are imported, which may change anything.
    pub imported: u32,
    /// The functions that are defined and that may change a global variable themselves.
    changing: Vec<bool>,
    /// Calls of functions that are defined, each as the one that is called and the one that calls.
    calls: Vec<(u32, u32)>,
    exported: Vec<(String, u32)>,
    body: BodyWalk,
}

/// A walk through the body of a function, in the order of its instructions.
#[derive(Default)]
struct BodyWalk {
    /// Number of instructions so far, and the last four of them.
    count: usize,
    last: [SeenInstruction; 4],
    lowering: Option<StackLowering>,
    state: StackState,
    blocks: Vec<OpenBlock>,
    /// A call that counts unless a trap follows.
    pending: Option<Callee>,
    changes: bool,
}

/// The lowering of the stack at the beginning of a function: this global variable is set to its value less this amount, which
/// this local variable keeps.
#[derive(Clone, Copy)]
struct StackLowering {
    global: u32,
    local: u32,
    amount: i32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum SeenInstruction {
    GlobalGet(u32),
    Const(i32),
    Sub,
    Add,
    LocalTee(u32),
    LocalGet(u32),
    #[default]
    Other,
}

/// The end of the stack, compared with what it was at the beginning of the function.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum StackState {
    #[default]
    Same,
    Lowered,
    /// The code is never reached.
    Unreached,
}

/// A block that has not ended. The first one is the function.
struct OpenBlock {
    /// The state in which a branch to it has to be, if that is known: one goes to the beginning of a loop, and to the end of
    /// any other block.
    target: Option<StackState>,
    /// The state behind the condition of an `if` without `else` so far.
    otherwise: Option<StackState>,
    is_loop: bool,
}

#[derive(Clone, Copy)]
enum Callee {
    Function(u32),
    Unknown,
}

impl GlobalChanges {
    /// Takes note of an exported function.
    pub fn export(&mut self, name: &str, function: u32) {
        self.exported.push((name.to_owned(), function));
    }

    /// Begins the next function that is defined.
    pub fn begin(&mut self) {
        self.changing.push(false);
        self.body = BodyWalk::default();
        self.body.open(Some(StackState::Same), None, false);
    }

    /// Takes note of an instruction of the function that was begun last.
    pub fn read(&mut self, operator: &Operator<'_>) {
        let caller = self.changing.len().saturating_sub(1);
        let called = self.body.pending.take().filter(|_| !matches!(operator, Operator::Unreachable));
        let returning = self.body.read(operator);
        for callee in called.into_iter().chain(returning) {
            match callee {
                Callee::Function(function) if function >= self.imported => {
                    self.calls.push((function - self.imported, caller as u32));
                }
                _ => self.body.changes = true,
            }
        }
        if let Some(changing) = self.changing.get_mut(caller) {
            *changing |= self.body.changes;
        }
    }

    /// Returns the names of exported functions that change nothing.
    pub fn keeping(mut self) -> BTreeSet<String> {
        self.calls.sort_unstable();
        self.calls.dedup();
        let mut found: Vec<u32> =
            self.changing.iter().enumerate().filter(|(_, changes)| **changes).map(|(at, _)| at as u32).collect();
        // Whoever calls a function that changes something does so, too.
        while let Some(callee) = found.pop() {
            let first = self.calls.partition_point(|(called, _)| *called < callee);
            let callers = self.calls.iter().skip(first).take_while(|(called, _)| *called == callee);
            for (_, caller) in callers {
                if let Some(changes) = self.changing.get_mut(*caller as usize).filter(|changes| !**changes) {
                    *changes = true;
                    found.push(*caller);
                }
            }
        }
        let keeps = |function: &u32| {
            let defined = function.checked_sub(self.imported);
            defined.is_some_and(|function| self.changing.get(function as usize).is_some_and(|changes| !changes))
        };
        self.exported.iter().filter(|(_, function)| keeps(function)).map(|(name, _)| name.clone()).collect()
    }
}

impl BodyWalk {
    /// Takes note of an instruction. Returns what is called by one that returns as well.
    fn read(&mut self, operator: &Operator<'_>) -> Option<Callee> {
        let mut returning = None;
        match operator {
            Operator::GlobalSet { global_index } => self.set(*global_index),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                self.changes |= self.lowering.is_some_and(|lowering| lowering.local == *local_index);
            }
            Operator::Call { function_index } => self.pending = Some(Callee::Function(*function_index)),
            Operator::CallIndirect { .. } => self.pending = Some(Callee::Unknown),
            Operator::ReturnCall { function_index } => {
                returning = Some(Callee::Function(*function_index));
                self.leave();
            }
            Operator::Block { .. } => self.open(None, None, false),
            Operator::Loop { .. } => self.open(Some(self.state), None, true),
            Operator::If { .. } => self.open(None, Some(self.state), false),
            Operator::Else => self.otherwise(),
            Operator::End => self.close(),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.state = StackState::Unreached;
            }
            Operator::BrIf { relative_depth } => self.branch(*relative_depth),
            Operator::BrTable { targets } => {
                for target in targets.targets().chain([Ok(targets.default())]) {
                    match target {
                        Ok(depth) => self.branch(depth),
                        Err(_) => self.changes = true,
                    }
                }
                self.state = StackState::Unreached;
            }
            Operator::Return => self.leave(),
            Operator::Unreachable => self.state = StackState::Unreached,
            other => self.changes |= !goes_on(other),
        }
        self.remember(match operator {
            Operator::GlobalGet { global_index } => SeenInstruction::GlobalGet(*global_index),
            Operator::I32Const { value } => SeenInstruction::Const(*value),
            Operator::I32Sub => SeenInstruction::Sub,
            Operator::I32Add => SeenInstruction::Add,
            Operator::LocalTee { local_index } => SeenInstruction::LocalTee(*local_index),
            Operator::LocalGet { local_index } => SeenInstruction::LocalGet(*local_index),
            _ => SeenInstruction::Other,
        });
        returning
    }

    fn remember(&mut self, seen: SeenInstruction) {
        self.count += 1;
        self.last.rotate_left(1);
        self.last[3] = seen;
    }

    /// Takes note that a global variable is set.
    fn set(&mut self, set: u32) {
        use SeenInstruction::{Add, Const, GlobalGet, LocalGet, LocalTee, Sub};
        match (self.last, self.lowering) {
            ([GlobalGet(global), Const(amount), Sub, LocalTee(local)], None) if self.count == 4 && global == set => {
                self.lowering = Some(StackLowering { global, local, amount });
                self.state = StackState::Lowered;
            }
            ([_, LocalGet(from), Const(added), Add], Some(StackLowering { global, local, amount }))
                if global == set && from == local && added == amount =>
            {
                if self.state == StackState::Lowered {
                    self.state = StackState::Same;
                }
            }
            _ => self.changes = true,
        }
    }

    fn open(&mut self, target: Option<StackState>, otherwise: Option<StackState>, is_loop: bool) {
        self.blocks.push(OpenBlock { target, otherwise, is_loop });
    }

    /// Takes note that the function may be left here.
    fn leave(&mut self) {
        self.changes |= self.state == StackState::Lowered;
        self.state = StackState::Unreached;
    }

    fn branch(&mut self, depth: u32) {
        let state = self.state;
        let at = self.blocks.len().checked_sub(depth as usize + 1);
        match at.and_then(|at| self.blocks.get_mut(at)) {
            Some(block) => self.changes |= !block.is_reached_in(state),
            None => self.changes = true,
        }
    }

    /// The condition of an `if` is false from here on.
    fn otherwise(&mut self) {
        let state = self.state;
        let Some(block) = self.blocks.last_mut() else {
            self.changes = true;
            return;
        };
        self.changes |= !block.is_reached_in(state);
        self.state = block.otherwise.take().unwrap_or(StackState::Unreached);
    }

    fn close(&mut self) {
        let Some(mut block) = self.blocks.pop() else {
            self.changes = true;
            return;
        };
        if block.is_loop {
            return;
        }
        let otherwise = block.otherwise.take().unwrap_or(StackState::Unreached);
        self.changes |= !block.is_reached_in(self.state) || !block.is_reached_in(otherwise);
        self.state = block.target.unwrap_or(StackState::Unreached);
    }
}

impl OpenBlock {
    /// Returns false if its target was reached in another state before.
    fn is_reached_in(&mut self, state: StackState) -> bool {
        state == StackState::Unreached || *self.target.get_or_insert(state) == state
    }
}

/// Returns true if an instruction is followed by the next one, or traps, and sets no global variable.
fn goes_on(operator: &Operator<'_>) -> bool {
    macro_rules! is_of_plain_proposal {
        ($(@$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
            match operator {
                $(Operator::$op { .. } => is_plain(stringify!($proposal)),)*
                _ => false,
            }
        };
    }
    wasmparser::for_each_operator!(is_of_plain_proposal)
}

/// Returns true if the instructions of a proposal of WebAssembly change no global variable and go nowhere else, but for
/// those that are known one by one.
fn is_plain(proposal: &str) -> bool {
    const PLAIN: [&str; 8] = [
        "mvp",
        "sign_extension",
        "saturating_float_to_int",
        "bulk_memory",
        "reference_types",
        "simd",
        "relaxed_simd",
        "wide_arithmetic",
    ];
    PLAIN.contains(&proposal)
}

#[cfg(test)]
mod tests {
    use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

    use super::*;

    /// Returns which of the exported functions of a module are found to keep all global variables.
    fn keeping(text: &str) -> Vec<String> {
        let wasm = wat::parse_str(format!(
            "(module (global $sp (mut i32) (i32.const 4096)) (global $g (mut i32) (i32.const 0)) {text})"
        ));
        let mut changes = GlobalChanges::default();
        for payload in Parser::new(0).parse_all(&wasm.expect("a text")) {
            match payload.expect("a part") {
                Payload::ImportSection(imports) => {
                    let functions = imports
                        .into_imports()
                        .filter(|i| matches!(i.as_ref().expect("an import").ty, TypeRef::Func(_)));
                    changes.imported += functions.count() as u32;
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export.expect("an export");
                        if export.kind == ExternalKind::Func {
                            changes.export(export.name, export.index);
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    changes.begin();
                    for operator in body.get_operators_reader().expect("code") {
                        changes.read(&operator.expect("an instruction"));
                    }
                }
                _ => {}
            }
        }
        changes.keeping().into_iter().collect()
    }

    const LOWER: &str = "(global.set $sp (local.tee $x (i32.sub (global.get $sp) (i32.const 16))))";
    const RAISE: &str = "(global.set $sp (i32.add (local.get $x) (i32.const 16)))";

    #[track_caller]
    fn keeps(body: &str, wanted: bool) {
        let body = body.replace("LOWER", LOWER).replace("RAISE", RAISE);
        let found = keeping(&format!(
            r#"(table 1 funcref) (func $changes (global.set $g (i32.const 1)))
               (func (export "f") (param $p i32) (local $x i32) (local $y i32) {body})"#
        ));
        assert_eq!(!found.is_empty(), wanted, "{body}");
    }

    #[test]
    fn a_stack_that_is_where_it_was_on_every_way_out_is_no_change() {
        for body in [
            "",
            "LOWER RAISE",
            "LOWER (if (local.get $p) (then RAISE (return))) RAISE",
            "LOWER (block (br_if 0 (local.get $p)) (call $changes) unreachable) RAISE",
            "LOWER (block (block (br_table 0 1 (local.get $p))) RAISE (return)) RAISE",
            "LOWER (loop $l (br_if $l (local.get $p))) RAISE",
            "LOWER (if (local.get $p) (then RAISE) (else RAISE))",
            "LOWER (block $out (block $in (br_if $in (local.get $p)) RAISE (br $out)) RAISE)",
            "LOWER (call_indirect (i32.const 0)) unreachable",
        ] {
            keeps(body, true);
        }
    }

    #[test]
    fn whatever_may_leave_a_global_variable_changed_is_found() {
        for body in [
            "(global.set $g (i32.const 0))",
            "LOWER",
            "RAISE",
            "LOWER (if (local.get $p) (then (return))) RAISE",
            "LOWER (br_if 0 (local.get $p)) RAISE",
            "LOWER (if (local.get $p) (then RAISE))",
            "LOWER (block (br_if 0 (local.get $p)) RAISE)",
            "LOWER (block (block (br_table 0 1 (local.get $p))) RAISE)",
            "LOWER (loop $l (block (br_if 0 (local.get $p)) RAISE (br $l)) RAISE)",
            "LOWER (local.set $x (i32.const 0)) RAISE",
            "LOWER (drop (local.tee $x (i32.const 0))) RAISE",
            "LOWER (global.set $sp (i32.add (local.get $x) (i32.const 32)))",
            "LOWER (global.set $sp (i32.add (local.get $y) (i32.const 16)))",
            "LOWER (global.set $g (i32.add (local.get $x) (i32.const 16))) RAISE",
            "LOWER LOWER RAISE",
            "nop LOWER RAISE",
            "LOWER (call $changes) RAISE",
            "LOWER (call_indirect (i32.const 0)) RAISE",
            "LOWER (call $changes) (if (local.get $p) (then unreachable)) RAISE",
            "LOWER (return_call $changes)",
        ] {
            keeps(body, false);
        }
    }

    #[test]
    fn a_change_is_found_through_calls_however_they_go_in_circles() {
        let found = keeping(
            r#"(import "i" "f" (func $imported))
               (func $a (export "a") (call $b)) (func $b (export "b") (call $c)) (func $c (export "c") (call $a) (call $d))
               (func $d (export "d") (global.set $g (i32.const 2)))
               (func $e (export "e") (call $f)) (func $f (export "f") (call $e) (call $h)) (func $h)
               (func (export "imports") (call $imported)) (export "imported" (func $imported))
               (func (export "returns") (return_call $h))"#,
        );
        assert_eq!(found, ["e", "f", "returns"]);
    }

    /// Writes statements of a function that these bytes choose, at this depth of blocks.
    fn statements(choices: &mut std::vec::IntoIter<u8>, depth: u32, out: &mut String) {
        // Each condition takes another bit of the argument.
        const BIT: &str = "(i32.and (local.tee $p (i32.rotr (local.get $p) (i32.const 1))) (i32.const 1))";
        while let Some(choice) = choices.next() {
            let target = u32::from(choices.next().unwrap_or(0)) % (depth + 1);
            match choice % 16 {
                0..=3 => *out += RAISE,
                4 => *out += "(global.set $sp (i32.add (local.get $x) (i32.const 32)))",
                5 => *out += "(local.set $x (i32.const 4000))",
                6 => *out += "(call $changes)",
                7 => *out += "(call $fine)",
                8 => *out += "(call $changes) unreachable",
                9 => *out += &format!("(br {target})"),
                10 => *out += &format!("(br_if {target} {BIT})"),
                11 => *out += &format!("(br_table {target} 0 {BIT})"),
                12 => *out += "(return)",
                13 if depth < 5 => {
                    *out += &format!("(if {BIT} (then ");
                    statements(choices, depth + 1, out);
                    if target % 2 == 0 {
                        *out += ") (else ";
                        statements(choices, depth + 1, out);
                    }
                    *out += "))";
                }
                14 if depth < 5 => {
                    *out += if target % 3 == 0 { "(loop " } else { "(block " };
                    statements(choices, depth + 1, out);
                    *out += ")";
                }
                _ if depth > 0 => return,
                _ => *out += "nop ",
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn a_function_that_is_said_to_change_nothing_changes_nothing(
            choices in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
            raises: bool,
        ) {
            let mut body = String::new();
            statements(&mut choices.into_iter(), 0, &mut body);
            let end = if raises { RAISE } else { "" };
            let text = format!(
                r#"(export "sp" (global $sp)) (export "g" (global $g))
                   (func $changes (global.set $g (i32.const 1)))
                   (func $fine (local $x i32) {LOWER} {RAISE})
                   (func (export "f") (param $p i32) (local $x i32) {LOWER} {body} {end})"#
            );
            if keeping(&text).is_empty() {
                return Ok(());
            }
            let mut config = wasmtime::Config::new();
            let engine = wasmtime::Engine::new(config.consume_fuel(true)).expect("an engine");
            let globals = "(global $sp (mut i32) (i32.const 4096)) (global $g (mut i32) (i32.const 0))";
            let module = wasmtime::Module::new(&engine, format!("(module {globals} {text})")).expect("a module");
            for argument in [0, -1, 0x5555_5555, 0x1234_5678, 0x3333_3333] {
                let mut store = wasmtime::Store::new(&engine, ());
                store.set_fuel(10_000).expect("fuel is counted");
                let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("an instance");
                let function = instance.get_typed_func::<i32, ()>(&mut store, "f").expect("it is exported");
                if function.call(&mut store, argument).is_ok() {
                    let mut value = |name| instance.get_global(&mut store, name).expect("a variable").get(&mut store).i32();
                    proptest::prop_assert_eq!((value("sp"), value("g")), (Some(4096), Some(0)), "{}", text);
                }
            }
        }
    }
}
