//! Checks before operations on arrays, which then trap by themselves.

use wasm_encoder::{BlockType, HeapType, Instruction, RefType, ValType};
use wasmparser::{Operator, StorageType};

use super::BoundsChecks;

impl BoundsChecks<'_> {
    /// Inserts a check before an operation on arrays.
    pub fn check_array(&mut self, operator: &Operator<'_>) -> Option<()> {
        const I32: ValType = ValType::I32;
        let bytes = |data: u32| self.known.data.get(data as usize).copied();
        let elements = |segment: u32| self.known.elements.get(segment as usize).copied();
        let (types, spans) = match *operator {
            Operator::ArrayFill { array_type_index: ty } => {
                let value = self.known.arrays.get(ty as usize).copied()??;
                let value = value.unpack().try_into().ok()?;
                (vec![array(ty), I32, value, I32], vec![ArraySpan { from: 1, of: ArrayBounds::Array(0) }])
            }
            Operator::ArrayCopy { array_type_index_dst: to, array_type_index_src: from } => (
                vec![array(to), I32, array(from), I32, I32],
                vec![
                    ArraySpan { from: 1, of: ArrayBounds::Array(0) },
                    ArraySpan { from: 3, of: ArrayBounds::Array(2) },
                ],
            ),
            Operator::ArrayInitData { array_type_index: ty, array_data_index: data } => {
                let of = ArrayBounds::Segment { length: bytes(data)?, each: self.each(ty)? };
                (
                    vec![array(ty), I32, I32, I32],
                    vec![ArraySpan { from: 1, of: ArrayBounds::Array(0) }, ArraySpan { from: 2, of }],
                )
            }
            Operator::ArrayInitElem { array_type_index: ty, array_elem_index: segment } => {
                let of = ArrayBounds::Segment { length: elements(segment)?, each: 1 };
                (
                    vec![array(ty), I32, I32, I32],
                    vec![ArraySpan { from: 1, of: ArrayBounds::Array(0) }, ArraySpan { from: 2, of }],
                )
            }
            Operator::ArrayNewData { array_type_index: ty, array_data_index: data } => {
                let of = ArrayBounds::Segment { length: bytes(data)?, each: self.each(ty)? };
                (vec![I32, I32], vec![ArraySpan { from: 0, of }])
            }
            Operator::ArrayNewElem { array_elem_index: segment, .. } => {
                let of = ArrayBounds::Segment { length: elements(segment)?, each: 1 };
                (vec![I32, I32], vec![ArraySpan { from: 0, of }])
            }
            _ => return Some(()),
        };
        self.narrow(&types, &spans)
    }

    /// Returns the number of bytes of an element in an array of this type.
    fn each(&self, array: u32) -> Option<u64> {
        Some(match self.known.arrays.get(array as usize).copied()?? {
            StorageType::I8 => 1,
            StorageType::I16 => 2,
            StorageType::Val(wasmparser::ValType::I32 | wasmparser::ValType::F32) => 4,
            StorageType::Val(wasmparser::ValType::V128) => 16,
            StorageType::Val(_) => 8,
        })
    }

    /// Stores the operands of an operation, the last of which is a count, and restores them. If one of `spans` is too
    /// long, they are replaced by one element beyond its end, so that the operation traps as it would have.
    fn narrow(&mut self, types: &[ValType], spans: &[ArraySpan]) -> Option<()> {
        let operands: Vec<u32> = types.iter().enumerate().map(|(at, ty)| self.local(at, *ty)).collect();
        let count = *operands.last()?;
        for local in operands.iter().rev() {
            self.emit(&Instruction::LocalSet(*local));
        }
        for span in spans {
            let from = *operands.get(span.from)?;
            self.wide(count, ValType::I32);
            if let ArrayBounds::Segment { each, .. } = span.of {
                self.emit(&Instruction::I64Const(i64::try_from(each).ok()?));
                self.emit(&Instruction::I64Mul);
            }
            self.wide(from, ValType::I32);
            self.emit(&Instruction::I64Add);
            match span.of {
                ArrayBounds::Array(at) => {
                    self.emit(&Instruction::LocalGet(*operands.get(at)?));
                    // A null reference traps here as it does in the operation.
                    self.emit(&Instruction::ArrayLen);
                    self.emit(&Instruction::I64ExtendI32U);
                }
                ArrayBounds::Segment { length, .. } => self.emit(&Instruction::I64Const(i64::try_from(length).ok()?)),
            }
            self.emit(&Instruction::I64GtU);
            self.emit(&Instruction::If(BlockType::Empty));
            for (local, value) in [(from, -1), (count, 1)] {
                self.emit(&Instruction::I32Const(value));
                self.emit(&Instruction::LocalSet(local));
            }
            self.emit(&Instruction::End);
        }
        for local in operands {
            self.emit(&Instruction::LocalGet(local));
        }
        Some(())
    }
}

/// The elements that an operation on arrays touches.
struct ArraySpan {
    /// The operand with the index of the first of them.
    from: usize,
    of: ArrayBounds,
}

/// The range that the elements have to be within.
#[derive(Clone, Copy)]
enum ArrayBounds {
    /// The array that is this operand.
    Array(usize),
    /// A segment of `length` bytes or elements, of which an element of the array takes `each`.
    Segment { length: u64, each: u64 },
}

/// Returns the type of a reference to an array of this type.
fn array(ty: u32) -> ValType {
    ValType::Ref(RefType { nullable: true, heap_type: HeapType::Concrete(ty) })
}
