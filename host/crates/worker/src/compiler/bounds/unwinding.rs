//! What instructions count in addition to their number, for work that the engine does not count.
//!
//! An exception is compared with one clause after the other of each function that it goes through, and a `throw` counts
//! the same however many they are. So a function counts the clauses wherever it throws, or calls another that may, if
//! they are more than a compiler makes of a program that somebody wrote.

use wasmparser::{Operator, StorageType};

use super::ModuleFacts;

/// Number of clauses round an instruction that are not counted.
const FEW: u64 = 8;
/// Instructions that each other clause counts.
const CLAUSE: u64 = 3;
/// Instructions that a reference counts which an array is made of.
const REFERENCE: u64 = 2;

/// The number of clauses for exceptions round each block that is open in a function.
#[derive(Default)]
pub struct Clauses(Vec<u64>);

impl Clauses {
    /// Takes the next instruction of a function, and returns what it counts for the clauses round it.
    pub fn cost_of(&mut self, operator: &Operator<'_>) -> u64 {
        let around = self.0.last().copied().unwrap_or(0);
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => self.0.push(around),
            Operator::TryTable { try_table } => self.0.push(around.saturating_add(try_table.catches.len() as u64)),
            Operator::End => drop(self.0.pop()),
            Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
                if around > FEW =>
            {
                return around.saturating_mul(CLAUSE);
            }
            _ => {}
        }
        0
    }
}

impl ModuleFacts {
    /// Returns what an instruction counts for the references that it copies.
    pub fn cost_of(&self, operator: &Operator<'_>) -> u64 {
        let Operator::ArrayNewFixed { array_type_index, array_size } = *operator else {
            return 0;
        };
        let element = self.arrays.get(array_type_index as usize).copied().flatten();
        match element {
            Some(StorageType::Val(wasmparser::ValType::Ref(_))) if u64::from(array_size) > FEW => {
                u64::from(array_size).saturating_mul(REFERENCE)
            }
            _ => 0,
        }
    }
}
