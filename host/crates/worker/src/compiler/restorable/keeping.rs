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
mod tests;
