//! Numbers that are reached by asking whoever has them in memory: the same operations, each in one step there.

use serde::{Deserialize, Serialize};
use wasmpool_core::share::NumberType;

use super::{CellError, Cells, Number, Numbers, width};

/// Maximum bytes of numbers that one request passes or returns. A longer range is read or written in pieces, which it may
/// be, since a range is not of one instant.
const PIECE: usize = 1 << 18;

/// Something that is done with the numbers of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CellRequest {
    Load(u32),
    Store(u32, Number),
    Add(u32, Number),
    Min(u32, Number),
    Max(u32, Number),
    CompareExchange { index: u32, expected: Number, replacement: Number },
    Read { start: u32, count: u32 },
    Write { start: u32, numbers: Numbers },
}

/// What it comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CellReply {
    Done,
    Number(Number),
    Numbers(Numbers),
}

pub type CellAnswer = Result<CellReply, CellError>;

impl CellRequest {
    /// Returns the bytes of the request.
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes_of(self)
    }

    /// Reads a request; `None` for what is none.
    pub fn of_bytes(bytes: &[u8]) -> Option<CellRequest> {
        whole(bytes)
    }

    fn writes(&self) -> bool {
        !matches!(self, CellRequest::Load(_) | CellRequest::Read { .. })
    }

    /// Does it with these numbers, for somebody who may write them or not.
    pub fn perform(self, cells: &Cells, may_write: bool) -> CellAnswer {
        if self.writes() && !may_write {
            return Err(CellError::ReadOnly);
        }
        let number = match self {
            CellRequest::Load(index) => cells.load(index),
            CellRequest::Store(index, number) => return cells.store(index, number).map(|()| CellReply::Done),
            CellRequest::Add(index, number) => cells.add(index, number),
            CellRequest::Min(index, number) => cells.min(index, number),
            CellRequest::Max(index, number) => cells.max(index, number),
            CellRequest::CompareExchange { index, expected, replacement } => {
                cells.compare_exchange(index, expected, replacement)
            }
            CellRequest::Read { start, count } => {
                let most = u32::try_from(PIECE / width(cells.number_type())).unwrap_or(u32::MAX);
                return match count > most {
                    // Nobody who asks by these rules asks for more.
                    true => Err(CellError::Range { start, count: count.into(), len: cells.len() }),
                    false => cells.read(start, count).map(CellReply::Numbers),
                };
            }
            CellRequest::Write { start, numbers } => return cells.write(start, &numbers).map(|()| CellReply::Done),
        };
        number.map(CellReply::Number)
    }
}

/// Returns the bytes of an answer.
pub fn answer_bytes(answer: &CellAnswer) -> Vec<u8> {
    bytes_of(answer)
}

/// Reads an answer; `None` for what is none.
pub fn answer_of_bytes(bytes: &[u8]) -> Option<CellAnswer> {
    whole(bytes)
}

fn bytes_of(message: &impl Serialize) -> Vec<u8> {
    // They are plain data, which can always be written.
    postcard::to_allocvec(message).unwrap_or_default()
}

fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::take_from_bytes(bytes).ok().and_then(|(message, rest)| rest.is_empty().then_some(message))
}

/// The way to numbers that are asked for.
pub trait AskForNumbers {
    /// Asks, and waits for the answer.
    fn ask(&self, request: CellRequest) -> CellAnswer;
}

/// Numbers wherever they are: in memory that this process has mapped, or with somebody who is asked for them.
#[derive(Clone, Copy)]
pub enum CellAccess<'a> {
    Mapped(&'a Cells),
    Asked { of: NumberType, len: u32, by: &'a dyn AskForNumbers },
}

impl CellAccess<'_> {
    #[inline]
    pub fn number_type(&self) -> NumberType {
        match self {
            CellAccess::Mapped(cells) => cells.number_type(),
            CellAccess::Asked { of, .. } => *of,
        }
    }

    #[inline]
    pub fn len(&self) -> u32 {
        match self {
            CellAccess::Mapped(cells) => cells.len(),
            CellAccess::Asked { len, .. } => *len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As [`Cells::load`].
    #[inline]
    pub fn load(&self, index: u32) -> Result<Number, CellError> {
        match self {
            CellAccess::Mapped(cells) => cells.load(index),
            CellAccess::Asked { by, .. } => number(by.ask(CellRequest::Load(index))),
        }
    }

    /// As [`Cells::store`].
    #[inline]
    pub fn store(&self, index: u32, number: Number) -> Result<(), CellError> {
        match self {
            CellAccess::Mapped(cells) => cells.store(index, number),
            CellAccess::Asked { by, .. } => by.ask(CellRequest::Store(index, number)).map(drop),
        }
    }

    /// As [`Cells::add`].
    #[inline]
    pub fn add(&self, index: u32, by: Number) -> Result<Number, CellError> {
        match self {
            CellAccess::Mapped(cells) => cells.add(index, by),
            CellAccess::Asked { by: other, .. } => number(other.ask(CellRequest::Add(index, by))),
        }
    }

    /// As [`Cells::add_integer`].
    #[inline]
    pub fn add_integer(&self, index: u32, by: i64) -> Result<i64, CellError> {
        match self {
            CellAccess::Mapped(cells) => cells.add_integer(index, by),
            CellAccess::Asked { of, .. } => {
                let by = Number::to_be_added(*of, by).ok_or(match of {
                    NumberType::Bool | NumberType::Char => CellError::NoArithmetic(*of),
                    _ => CellError::WrongType { is: *of, given: NumberType::S64 },
                })?;
                Ok(self.add(index, by)?.to_integer().unwrap_or_default())
            }
        }
    }

    /// As [`Cells::min`].
    #[inline]
    pub fn min(&self, index: u32, other: Number) -> Result<Number, CellError> {
        match self {
            CellAccess::Mapped(cells) => cells.min(index, other),
            CellAccess::Asked { by, .. } => number(by.ask(CellRequest::Min(index, other))),
        }
    }

    /// As [`Cells::max`].
    #[inline]
    pub fn max(&self, index: u32, other: Number) -> Result<Number, CellError> {
        match self {
            CellAccess::Mapped(cells) => cells.max(index, other),
            CellAccess::Asked { by, .. } => number(by.ask(CellRequest::Max(index, other))),
        }
    }

    /// As [`Cells::compare_exchange`].
    #[inline]
    pub fn compare_exchange(&self, index: u32, expected: Number, replacement: Number) -> Result<Number, CellError> {
        match self {
            CellAccess::Mapped(cells) => cells.compare_exchange(index, expected, replacement),
            CellAccess::Asked { by, .. } => {
                number(by.ask(CellRequest::CompareExchange { index, expected, replacement }))
            }
        }
    }

    /// As [`Cells::read`].
    pub fn read(&self, start: u32, count: u32) -> Result<Numbers, CellError> {
        let (of, len, by) = match self {
            CellAccess::Mapped(cells) => return cells.read(start, count),
            CellAccess::Asked { of, len, by } => (*of, *len, *by),
        };
        check_range(start, count.into(), len)?;
        let mut all = Numbers::none(of);
        let (mut at, end) = (start, start.saturating_add(count));
        loop {
            let count = (end - at).min(u32::try_from(PIECE / width(of)).unwrap_or(u32::MAX));
            match by.ask(CellRequest::Read { start: at, count })? {
                CellReply::Numbers(piece) if piece.len() == count as usize && piece.number_type() == of => {
                    all.append(piece);
                    at += count;
                }
                _ => return Err(CellError::Lost),
            }
            if at == end {
                return Ok(all);
            }
        }
    }

    /// As [`Cells::write`].
    pub fn write(&self, start: u32, numbers: &Numbers) -> Result<(), CellError> {
        let (of, len, by) = match self {
            CellAccess::Mapped(cells) => return cells.write(start, numbers),
            CellAccess::Asked { of, len, by } => (*of, *len, *by),
        };
        if numbers.number_type() != of {
            return Err(CellError::WrongType { is: of, given: numbers.number_type() });
        }
        check_range(start, numbers.len() as u64, len)?;
        let mut at = 0;
        loop {
            let piece = numbers.piece(at, PIECE / width(of));
            let from = start.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
            at += piece.len();
            by.ask(CellRequest::Write { start: from, numbers: piece })?;
            if at >= numbers.len() {
                return Ok(());
            }
        }
    }
}

fn number(answer: CellAnswer) -> Result<Number, CellError> {
    match answer? {
        CellReply::Number(number) => Ok(number),
        // Who has the numbers answers as it should, or is of no use.
        _ => Err(CellError::Lost),
    }
}

fn check_range(start: u32, count: u64, len: u32) -> Result<(), CellError> {
    match u64::from(start) <= u64::from(len) && count <= u64::from(len - start.min(len)) {
        true => Ok(()),
        false => Err(CellError::Range { start, count, len }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cells;

    /// Asks through the bytes of requests and answers.
    struct Other<'a>(&'a Cells, bool);

    impl AskForNumbers for Other<'_> {
        fn ask(&self, request: CellRequest) -> CellAnswer {
            let request = CellRequest::of_bytes(&request.to_bytes()).expect("a request");
            answer_of_bytes(&answer_bytes(&request.perform(self.0, self.1))).expect("an answer")
        }
    }

    fn open(of: NumberType, len: u32) -> Cells {
        Cells::open(&cells::create(of, len).expect("memory"), of, len).expect("memory")
    }

    proptest! {
        #[test]
        fn what_is_asked_for_is_done_as_in_mapped_memory(
            steps in proptest::collection::vec((0..9_u8, 0..6_u32, any::<i64>(), any::<i64>(), any::<f64>()), 1..40),
            kind in 0..12_usize,
        ) {
            let of = [
                NumberType::S8, NumberType::U8, NumberType::S16, NumberType::U16, NumberType::S32, NumberType::U32,
                NumberType::S64, NumberType::U64, NumberType::F32, NumberType::F64, NumberType::Bool, NumberType::Char,
            ][kind];
            let (here, there) = (open(of, 4), open(of, 4));
            let other = Other(&there, true);
            let (mapped, asked) =
                (CellAccess::Mapped(&here), CellAccess::Asked { of, len: 4, by: &other });
            let number = |integer: i64, float: f64| {
                Number::from_integer(of, integer % 100).or_else(|| Number::from_float(of, float)).unwrap_or(Number::U8(3))
            };
            for (step, index, a, b, float) in steps {
                let (one, two) = (number(a, float), number(b, float));
                let both = [mapped, asked].map(|cells| match step {
                    0 => format!("{:?}", cells.load(index)),
                    1 => format!("{:?}", cells.store(index, one)),
                    2 => format!("{:?}", cells.add(index, one)),
                    3 => format!("{:?}", cells.min(index, one)),
                    4 => format!("{:?}", cells.max(index, one)),
                    5 => format!("{:?}", cells.compare_exchange(index, one, two)),
                    6 => format!("{:?}", cells.add_integer(index, a)),
                    7 => format!("{:?}", cells.read(index, (b % 6).unsigned_abs() as u32)),
                    _ => format!("{:?}", cells.write(index, &Numbers::none(of))),
                });
                prop_assert_eq!(&both[0], &both[1]);
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            let _ = (CellRequest::of_bytes(&bytes), answer_of_bytes(&bytes));
        }
    }

    #[test]
    fn a_long_range_passes_in_pieces_and_who_may_not_write_changes_nothing() {
        let (of, len) = (NumberType::U64, 100_000);
        let there = open(of, len);
        let other = Other(&there, true);
        let asked = CellAccess::Asked { of, len, by: &other };
        let numbers = Numbers::U64((0..u64::from(len)).collect());
        asked.write(0, &numbers).expect("it fits");
        assert_eq!(asked.read(0, len), Ok(numbers));
        let reader = Other(&there, false);
        let asked = CellAccess::Asked { of, len, by: &reader };
        assert_eq!(asked.add(7, Number::U64(1)), Err(CellError::ReadOnly));
        assert_eq!(asked.write(7, &Numbers::U64(vec![1])), Err(CellError::ReadOnly));
        assert_eq!(asked.load(7), Ok(Number::U64(7)));
    }
}
