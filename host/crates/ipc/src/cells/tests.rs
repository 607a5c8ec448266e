//! Values and arrays keep their promises, also while others write. Each test names the row of the conformance list.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Instant;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mprotect, munmap};
use proptest::prelude::*;
use wasmpool_core::share::NumberType;

use super::*;

const TYPES: [NumberType; 12] = [
    NumberType::S8,
    NumberType::U8,
    NumberType::S16,
    NumberType::U16,
    NumberType::S32,
    NumberType::U32,
    NumberType::S64,
    NumberType::U64,
    NumberType::F32,
    NumberType::F64,
    NumberType::Bool,
    NumberType::Char,
];

fn array(of: NumberType, len: u32) -> (Cells, OwnedFd) {
    let fd = create(of, len).unwrap();
    (Cells::open(&fd, of, len).unwrap(), fd)
}

/// Returns some number of a type, a different one for each `nth`.
fn some(of: NumberType, nth: u32) -> Number {
    match of {
        NumberType::F32 => Number::F32(nth as f32 - 0.5),
        NumberType::F64 => Number::F64(f64::from(nth) / 3.0),
        NumberType::Bool => Number::Bool(nth % 2 == 1),
        NumberType::Char => Number::Char(char::from_u32(nth % 0xd800).unwrap()),
        _ => Number::from_bits(of, u64::from(nth).wrapping_mul(0x0101_0101_0101_0101)).unwrap(),
    }
}

fn collected(of: NumberType, numbers: &[Number]) -> Numbers {
    let (cells, _fd) = array(of, numbers.len() as u32);
    numbers.iter().zip(0..).for_each(|(&number, index)| cells.store(index, number).unwrap());
    cells.read(0, numbers.len() as u32).unwrap()
}

/// Row 4.1.
#[test]
fn each_type_keeps_its_numbers_and_what_one_writes_all_see() {
    for of in TYPES {
        let (writer, fd) = array(of, 5);
        let reader = Cells::open(&fd, of, 5).unwrap();
        for index in 0..5 {
            assert_eq!(reader.load(index).unwrap(), Number::from_bits(of, 0).unwrap(), "it begins with zero");
            writer.store(index, some(of, index + 1)).unwrap();
            assert_eq!(reader.load(index).unwrap(), some(of, index + 1));
        }
        assert_eq!((reader.number_type(), reader.len(), reader.is_empty()), (of, 5, false));
    }
    let (cells, _fd) = array(NumberType::S64, 1);
    for extreme in [i64::MIN, -1, i64::MAX] {
        cells.store(0, Number::S64(extreme)).unwrap();
        assert_eq!(cells.load(0).unwrap(), Number::S64(extreme));
    }
}

/// Row 4.2.
#[test]
fn integers_of_any_type_are_added_in_64_bits_as_they_are_in_their_own() {
    for of in TYPES {
        let (cells, _fd) = array(of, 3);
        for by in [1, -1, 127, 128, -129, 65_536, i64::MAX, i64::MIN, 0x0101_0101_0101_0101] {
            // What one adds to the element 1, the other adds to the element 2.
            if matches!(of, NumberType::F32 | NumberType::F64 | NumberType::Bool | NumberType::Char) {
                let error = cells.add_integer(0, by).unwrap_err();
                assert!(matches!(error, CellError::NoArithmetic(_) | CellError::WrongType { .. }), "{of:?}: {error}");
            } else {
                let sum = cells.add(1, Number::from_bits(of, by as u64).unwrap()).unwrap();
                assert_eq!(cells.add_integer(2, by), Ok(sum.to_integer().unwrap()), "{of:?} {by}");
            }
        }
        assert_eq!(cells.load(0).unwrap(), Number::from_bits(of, 0).unwrap());
    }
    let (cells, fd) = array(NumberType::U8, 3);
    assert_eq!(cells.add_integer(3, 1), Err(CellError::Index { index: 3, len: 3 }));
    let reader = Cells::open(&read_only(&fd).unwrap(), NumberType::U8, 3).unwrap();
    assert_eq!(reader.add_integer(0, 1), Err(CellError::ReadOnly));
}

/// Integers, bools and chars pass as 64 bits, and come back as they were; what a type does not have is none.
#[test]
fn numbers_pass_as_64_bits_and_come_back_as_they_were() {
    for of in TYPES {
        for nth in 0..300 {
            let number = some(of, nth);
            let back = match number.to_integer() {
                Some(integer) => Number::from_integer(of, integer),
                None => Number::from_float(of, number.to_float().unwrap()),
            };
            assert_eq!(back, Some(number));
        }
    }
    for (of, number) in [
        (NumberType::S8, 128),
        (NumberType::U8, -1),
        (NumberType::U16, 65_536),
        (NumberType::S32, i64::MAX),
        (NumberType::U32, -1),
        (NumberType::Bool, 2),
        (NumberType::Char, 0xd800),
        (NumberType::F64, 0),
    ] {
        assert_eq!(Number::from_integer(of, number), None, "{of:?} {number}");
    }
    assert_eq!(Number::from_float(NumberType::S64, 0.0), None);
}

/// Row 4.2.
#[test]
fn a_sum_wraps_and_a_number_of_another_type_is_refused() {
    let add = |of, before, number| {
        let (cells, _fd) = array(of, 3);
        cells.store(1, before).unwrap();
        let sum = cells.add(1, number).unwrap();
        assert_eq!(cells.load(1).unwrap(), sum);
        let neighbours = [0, 2].map(|index| cells.load(index).unwrap().bits());
        assert_eq!(neighbours, [0, 0], "a carry stays within the element");
        sum
    };
    assert_eq!(add(NumberType::S32, Number::S32(i32::MAX), Number::S32(1)), Number::S32(i32::MIN));
    assert_eq!(add(NumberType::S8, Number::S8(-100), Number::S8(-100)), Number::S8(56));
    assert_eq!(add(NumberType::U8, Number::U8(255), Number::U8(2)), Number::U8(1));
    assert_eq!(add(NumberType::U16, Number::U16(u16::MAX), Number::U16(1)), Number::U16(0));
    assert_eq!(add(NumberType::S64, Number::S64(i64::MIN), Number::S64(-1)), Number::S64(i64::MAX));
    assert_eq!(add(NumberType::F32, Number::F32(0.5), Number::F32(0.25)), Number::F32(0.75));
    assert_eq!(add(NumberType::F64, Number::F64(f64::MAX), Number::F64(f64::MAX)), Number::F64(f64::INFINITY));
    for of in [NumberType::Bool, NumberType::Char] {
        let (cells, _fd) = array(of, 1);
        assert_eq!(cells.add(0, some(of, 1)), Err(CellError::NoArithmetic(of)));
        assert_eq!(cells.max(0, some(of, 1)), Err(CellError::NoArithmetic(of)));
    }
    let (cells, _fd) = array(NumberType::S8, 1);
    let (is, given) = (NumberType::S8, NumberType::S16);
    let refused = Err(CellError::WrongType { is, given });
    assert_eq!(cells.store(0, Number::S16(300)), refused.map(|_: Number| ()));
    assert_eq!(cells.add(0, Number::S16(1)), refused);
    assert_eq!(cells.compare_exchange(0, Number::S8(0), Number::S16(1)), refused);
    assert_eq!(cells.compare_exchange(0, Number::S16(0), Number::S8(1)), refused);
    assert_eq!(cells.write(0, &Numbers::S16(vec![1])), refused.map(|_| ()));
    assert_eq!(cells.load(0).unwrap(), Number::S8(0));
}

/// Row 4.3.
#[test]
fn sums_greatest_and_least_of_eight_writers_are_exact() {
    const TIMES: u32 = 100_000;
    let (sums, sums_fd) = array(NumberType::U64, 3);
    let (floats, floats_fd) = array(NumberType::F64, 1);
    sums.store(2, Number::U64(u64::MAX)).unwrap();
    thread::scope(|scope| {
        for nth in 0..8u32 {
            let (sums_fd, floats_fd) = (&sums_fd, &floats_fd);
            scope.spawn(move || {
                let sums = Cells::open(sums_fd, NumberType::U64, 3).unwrap();
                let floats = Cells::open(floats_fd, NumberType::F64, 1).unwrap();
                for time in 0..TIMES {
                    let own = u64::from(time * 8 + nth);
                    sums.add(0, Number::U64(2)).unwrap();
                    sums.max(1, Number::U64(own)).unwrap();
                    sums.min(2, Number::U64(own + 5)).unwrap();
                    floats.add(0, Number::F64(0.5)).unwrap();
                }
            });
        }
    });
    let all = u64::from(TIMES) * 8;
    assert_eq!(sums.read(0, 3).unwrap(), Numbers::U64(vec![2 * all, all - 1, 5]));
    assert_eq!(floats.load(0).unwrap(), Number::F64(all as f64 / 2.0));
}

/// Row 4.3.
#[test]
fn a_compare_exchange_replaces_what_is_expected_and_returns_what_was_there() {
    for of in TYPES {
        let (cells, _fd) = array(of, 2);
        let (zero, one) = (some(of, 2), some(of, 1));
        cells.store(1, zero).unwrap();
        assert_eq!(cells.compare_exchange(1, one, one).unwrap(), zero);
        assert_eq!(cells.load(1).unwrap(), zero);
        assert_eq!(cells.compare_exchange(1, zero, one).unwrap(), zero);
        assert_eq!(cells.load(1).unwrap(), one);
    }
    let (cells, _fd) = array(NumberType::F64, 1);
    // A NaN that went through a guest may have other bits, and a loop that waits for it would never end.
    cells.store(0, Number::F64(f64::from_bits(0x7ff8_0000_0000_0001))).unwrap();
    cells.compare_exchange(0, Number::F64(f64::NAN), Number::F64(-0.0)).unwrap();
    assert_eq!(cells.load(0).unwrap(), Number::F64(0.0));
    cells.compare_exchange(0, Number::F64(0.0), Number::F64(7.0)).unwrap();
    assert_eq!(cells.load(0).unwrap(), Number::F64(7.0));
}

/// Row 4.3.
#[test]
fn of_a_nan_and_a_number_the_number_is_the_greater_and_the_lesser() {
    let (cells, _fd) = array(NumberType::F32, 1);
    cells.store(0, Number::F32(f32::NAN)).unwrap();
    assert_eq!(cells.max(0, Number::F32(1.0)).unwrap(), Number::F32(1.0));
    assert_eq!(cells.min(0, Number::F32(f32::NAN)).unwrap(), Number::F32(1.0));
    assert_eq!(cells.max(0, Number::F32(f32::NAN)).unwrap(), Number::F32(1.0));
    assert_eq!(cells.min(0, Number::F32(-1.0)).unwrap(), Number::F32(-1.0));
}

/// Row 4.5.
#[test]
fn an_array_begins_with_zeroes_and_may_be_empty() {
    for of in TYPES {
        for len in [0, 1, 4097] {
            let (cells, _fd) = array(of, len);
            let zeroes = vec![Number::from_bits(of, 0).unwrap(); len as usize];
            assert_eq!(cells.read(0, len).unwrap(), collected(of, &zeroes));
            assert_eq!(cells.load(len), Err(CellError::Index { index: len, len }));
            assert_eq!(cells.len(), len);
        }
    }
}

/// Row 4.6.
#[test]
fn what_is_outside_is_an_error_with_index_and_length() {
    let (cells, _fd) = array(NumberType::U32, 7);
    let number = Number::U32(1);
    for index in [7, 8, 1 << 30, u32::MAX] {
        let error = CellError::Index { index, len: 7 };
        assert_eq!(cells.load(index), Err(error));
        assert_eq!(cells.store(index, number), Err(error));
        assert_eq!(cells.add(index, number), Err(error));
        assert_eq!(cells.max(index, number), Err(error));
        assert_eq!(cells.compare_exchange(index, number, number), Err(error));
        assert_eq!(error.to_string(), format!("the index {index} is outside of the 7 elements"));
    }
    for (start, count) in [(0, 8), (1, 7), (7, 1), (8, 0), (u32::MAX, u32::MAX), (u32::MAX, 0), (0, u32::MAX)] {
        let error = CellError::Range { start, count: count.into(), len: 7 };
        assert_eq!(cells.read(start, count), Err(error));
        if count < 100 {
            assert_eq!(cells.write(start, &Numbers::U32(vec![1; count as usize])), Err(error));
        }
    }
    assert_eq!(cells.read(7, 0).unwrap(), Numbers::U32(vec![]));
    cells.write(7, &Numbers::U32(vec![])).unwrap();
    assert_eq!(cells.read(0, 7).unwrap(), Numbers::U32(vec![0; 7]), "nothing was written");
}

/// Row 4.7.
#[test]
fn no_element_of_a_range_is_torn_while_others_write() {
    const LEN: u32 = 300;
    let (cells, fd) = array(NumberType::U64, LEN);
    let halves = |half: u32| u64::from(half) << 32 | u64::from(half);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let cells = Cells::open(&fd, NumberType::U64, LEN).unwrap();
            (1..2_000).for_each(|half| cells.write(0, &Numbers::U64(vec![halves(half); LEN as usize])).unwrap());
        });
        while !writer.is_finished() {
            let Numbers::U64(numbers) = cells.read(0, LEN).unwrap() else { panic!("another type") };
            assert!(numbers.iter().all(|&number| number >> 32 == number & u64::from(u32::MAX)));
        }
    });
}

/// Row 4.12 and row 4.13.
#[test]
fn memory_that_others_close_stays() {
    let (cells, fd) = array(NumberType::S16, 4);
    let other = Cells::open(&fd, NumberType::S16, 4).unwrap();
    other.store(3, Number::S16(-3)).unwrap();
    drop((other, fd));
    assert_eq!(cells.load(3).unwrap(), Number::S16(-3));
}

/// Row 4.13 and row 4.15.
#[test]
fn nobody_can_change_the_size() {
    let (cells, fd) = array(NumberType::U8, 10);
    assert!(nix::unistd::ftruncate(&fd, 0).is_err());
    assert!(nix::unistd::ftruncate(&fd, 1 << 20).is_err());
    assert_eq!(cells.load(9).unwrap(), Number::U8(0));
    assert!(Cells::open(&fd, NumberType::U64, 1000).is_err(), "the memory is shorter than that");
}

/// Row 4.15.
#[test]
fn what_was_granted_for_reading_can_never_be_written() {
    let (cells, fd) = array(NumberType::U32, 3);
    let fd = read_only(&fd).unwrap();
    let reader = Cells::open(&fd, NumberType::U32, 3).unwrap();
    cells.store(2, Number::U32(9)).unwrap();
    assert_eq!(reader.load(2).unwrap(), Number::U32(9));
    assert_eq!(reader.read(1, 2).unwrap(), Numbers::U32(vec![0, 9]));
    let number = Number::U32(1);
    assert_eq!(reader.store(0, number), Err(CellError::ReadOnly));
    assert_eq!(reader.add(0, number), Err(CellError::ReadOnly));
    assert_eq!(reader.max(0, number), Err(CellError::ReadOnly));
    assert_eq!(reader.compare_exchange(0, number, number), Err(CellError::ReadOnly));
    assert_eq!(reader.write(0, &Numbers::U32(vec![1])), Err(CellError::ReadOnly));
    // A holder that does not keep to this interface fares no better: the kernel refuses.
    let page = NonZeroUsize::new(PAGE).unwrap();
    // SAFETY: a fresh mapping at an address of the kernel's choosing, if there is one.
    let map = |protection| unsafe { mmap(None, page, protection, MapFlags::MAP_SHARED, &fd, 0) };
    assert!(map(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).is_err());
    let mapped = map(ProtFlags::PROT_READ).unwrap();
    // SAFETY: it was mapped just now, and nobody else knows of it.
    unsafe {
        assert!(mprotect(mapped, PAGE, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).is_err());
        munmap(mapped, PAGE).unwrap();
    }
    assert!(nix::unistd::write(&fd, b"1234").is_err());
    assert_eq!(reader.load(0).unwrap(), Number::U32(0));
}

/// Row 4.15.
#[test]
fn elements_are_aligned_and_of_the_size_of_their_type() {
    for of in TYPES {
        let (cells, _fd) = array(of, 10);
        let base = cells.mapping.base().as_ptr() as usize;
        assert!(base.is_multiple_of(8) && matches!(width(of), 1 | 2 | 4 | 8));
        for index in 0..10 {
            cells.store(index, some(of, 3)).unwrap();
            // SAFETY: the element is mapped there, and nobody writes it meanwhile.
            let bytes =
                unsafe { std::slice::from_raw_parts((base + index as usize * width(of)) as *const u8, width(of)) };
            assert_eq!(bytes, &some(of, 3).bits().to_ne_bytes()[..width(of)]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Row 4.15.
    #[test]
    fn any_bits_that_others_write_are_a_number_or_an_error(
        which in 0..TYPES.len(), bits in any::<[u64; 4]>(), small in any::<[u8; 4]>(), index in 0..4u32
    ) {
        let of = TYPES[which];
        let (cells, fd) = array(of, 4);
        // The same memory as numbers of the same width that are not checked.
        let raw = [NumberType::U8, NumberType::U16, NumberType::U32, NumberType::U64]
            .into_iter().find(|&raw| width(raw) == width(of)).unwrap();
        let hostile = Cells::open(&fd, raw, 4).unwrap();
        for nth in 0..4usize {
            let bits = if nth % 2 == 0 { bits[nth] } else { u64::from(small[nth]) % 4 };
            hostile.store(nth as u32, Number::from_bits(raw, bits).unwrap()).unwrap();
        }
        let was = hostile.load(index).unwrap().bits();
        match Number::from_bits(of, was) {
            Some(number) => prop_assert_eq!(cells.load(index).unwrap().bits(), number.bits()),
            None => {
                prop_assert!(matches!(of, NumberType::Bool | NumberType::Char));
                let error = CellError::Garbage { is: of, index, bits: was };
                prop_assert_eq!(cells.load(index), Err(error));
                prop_assert_eq!(cells.compare_exchange(index, some(of, 1), some(of, 2)), Err(error));
                prop_assert_eq!(hostile.load(index).unwrap().bits(), was);
                let is_refused = matches!(cells.read(0, 4), Err(CellError::Garbage { .. }));
                prop_assert!(is_refused);
                cells.store(index, some(of, 1)).unwrap();
                prop_assert_eq!(cells.load(index).unwrap(), some(of, 1));
            }
        }
    }

    /// Row 4.6 and row 4.7.
    #[test]
    fn a_range_is_written_and_read_as_its_elements_are(
        which in 0..TYPES.len(), seeds in proptest::collection::vec(any::<u32>(), 0..70), start in 0..40u32
    ) {
        let of = TYPES[which];
        let numbers: Vec<Number> = seeds.iter().map(|&seed| some(of, seed)).collect();
        let range = collected(of, &numbers);
        prop_assert_eq!((range.len(), range.number_type()), (numbers.len(), of));
        let (cells, _fd) = array(of, 110);
        cells.write(start, &range).unwrap();
        prop_assert_eq!(cells.read(start, numbers.len() as u32).unwrap(), range);
        for index in 0..110u32 {
            let inside = index.checked_sub(start).and_then(|nth| numbers.get(nth as usize)).copied();
            prop_assert_eq!(cells.load(index).unwrap(), inside.unwrap_or(Number::from_bits(of, 0).unwrap()));
        }
    }
}

/// Row 4.16. Prints what operations cost: `cargo test --release -p wasmpool-ipc cost_of -- --ignored --nocapture`.
#[test]
#[ignore = "it measures, and asserts nothing"]
#[allow(clippy::print_stdout)]
fn cost_of_operations() {
    const TIMES: u32 = 5_000_000;
    let (_, fd) = array(NumberType::S64, 1);
    let (_, floats) = array(NumberType::F64, 1);
    let measure = |what: &str, threads: u32, act: &(dyn Fn(&Cells, &Cells) + Sync)| {
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let cells = Cells::open(&fd, NumberType::S64, 1).unwrap();
                    let floats = Cells::open(&floats, NumberType::F64, 1).unwrap();
                    (0..TIMES).for_each(|_| act(&cells, &floats));
                });
            }
        });
        let each = began.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES);
        println!("{what}, {threads} at a time: {each:.1} ns");
    };
    for threads in [1, 2] {
        measure("load", threads, &|cells, _| _ = std::hint::black_box(cells.load(0)));
        measure("store", threads, &|cells, _| cells.store(0, Number::S64(1)).unwrap());
        measure("add", threads, &|cells, _| _ = cells.add(0, Number::S64(1)).unwrap());
        measure("add to a float", threads, &|_, floats| _ = floats.add(0, Number::F64(1.0)).unwrap());
    }
}
