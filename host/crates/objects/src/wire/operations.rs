//! How a request is written into a frame.

use std::time::Duration;

use super::Malformed;
use super::bytes::{Reader, Writer};
use crate::operation::{Operation, PipeEnd, Request};

const NANOSECONDS: u32 = 1_000_000_000;

pub(super) fn write<'a>(writer: &mut Writer<'a>, request: &'a Request) {
    write_head(writer, request.object, request.timeout);
    operation(writer, &request.operation);
}

/// Writes a request to put a message.
pub(super) fn write_put<'a>(writer: &mut Writer<'a>, object: u16, message: &'a [u8], timeout: Option<Duration>) {
    write_head(writer, object, timeout);
    put(writer, message);
}

fn write_head(writer: &mut Writer<'_>, object: u16, timeout: Option<Duration>) {
    writer.u16(object);
    writer.option(timeout, |writer, timeout| {
        writer.u64(timeout.as_secs());
        writer.u32(timeout.subsec_nanos());
    });
}

fn put<'a>(writer: &mut Writer<'a>, message: &'a [u8]) {
    writer.u8(0);
    writer.payload(message);
}

pub(super) fn read(mut reader: Reader) -> Result<Request, Malformed> {
    let object = reader.u16()?;
    let timeout = reader.option(|reader| {
        let (seconds, nanoseconds) = (reader.u64()?, reader.u32()?);
        // `Duration::new` would carry more than a second over.
        if nanoseconds < NANOSECONDS {
            Ok(Duration::new(seconds, nanoseconds))
        } else {
            Err(Malformed("a timeout has more nanoseconds than a second"))
        }
    })?;
    Ok(Request { object, operation: read_operation(reader)?, timeout })
}

fn write_end(writer: &mut Writer<'_>, end: PipeEnd) {
    writer.bool(end == PipeEnd::Second);
}

fn read_end(reader: &mut Reader) -> Result<PipeEnd, Malformed> {
    Ok(if reader.bool()? { PipeEnd::Second } else { PipeEnd::First })
}

fn operation<'a>(writer: &mut Writer<'a>, operation: &'a Operation) {
    match operation {
        Operation::Put(message) => put(writer, message),
        Operation::Get { most } => {
            writer.u8(1);
            writer.u32(*most);
        }
        Operation::Take => writer.u8(2),
        Operation::Finish(delivery) => {
            writer.u8(3);
            writer.u64(*delivery);
        }
        Operation::GiveBack(delivery) => {
            writer.u8(10);
            writer.u64(*delivery);
        }
        Operation::TaskDone => writer.u8(4),
        Operation::JoinQueue => writer.u8(5),
        Operation::Size => writer.u8(6),
        Operation::IsEmpty => writer.u8(7),
        Operation::IsFull => writer.u8(8),
        Operation::Shutdown { immediately } => {
            writer.u8(9);
            writer.bool(*immediately);
        }
        Operation::OpenEnd(end) => {
            writer.u8(16);
            write_end(writer, *end);
        }
        Operation::CloseEnd(end) => {
            writer.u8(17);
            write_end(writer, *end);
        }
        Operation::Send(end, message) => {
            writer.u8(18);
            write_end(writer, *end);
            writer.payload(message);
        }
        Operation::Recv { end, at_most } => {
            writer.u8(19);
            write_end(writer, *end);
            writer.option(*at_most, Writer::u64);
        }
        Operation::Poll(end) => {
            writer.u8(20);
            write_end(writer, *end);
        }
        Operation::PollAny(ends) => {
            writer.u8(21);
            writer.u64(ends.len() as u64);
            for (object, end) in ends {
                writer.u16(*object);
                write_end(writer, *end);
            }
        }
        Operation::Acquire => writer.u8(32),
        Operation::Release => writer.u8(33),
        Operation::IsLocked => writer.u8(34),
        Operation::Slots => writer.u8(35),
        Operation::Token => writer.u8(38),
        Operation::WaitCondition => writer.u8(36),
        Operation::Notify { most } => {
            writer.u8(37);
            writer.u32(*most);
        }
        Operation::IsSet => writer.u8(48),
        Operation::Set => writer.u8(49),
        Operation::Clear => writer.u8(50),
        Operation::WaitEvent => writer.u8(51),
        Operation::Parties => writer.u8(64),
        Operation::Waiting => writer.u8(65),
        Operation::IsBroken => writer.u8(66),
        Operation::WaitBarrier => writer.u8(67),
        Operation::Abort => writer.u8(68),
        Operation::Reset => writer.u8(69),
        Operation::DictGet(key) => {
            writer.u8(80);
            writer.text(key);
        }
        Operation::DictSet(key, value) => {
            writer.u8(81);
            writer.text(key);
            writer.payload(value);
        }
        Operation::DictSetMany(entries) => {
            writer.u8(82);
            writer.entries(entries);
        }
        Operation::DictCompareAndSet { key, version, value } => {
            writer.u8(83);
            writer.text(key);
            writer.option(*version, Writer::u64);
            writer.payload(value);
        }
        Operation::DictPop(key) => {
            writer.u8(84);
            writer.text(key);
        }
        Operation::DictContains(key) => {
            writer.u8(85);
            writer.text(key);
        }
        Operation::DictIncrement(key, by) => {
            writer.u8(86);
            writer.text(key);
            writer.i64(*by);
        }
        Operation::DictPage { after, most } => {
            writer.u8(87);
            writer.option(after.as_deref(), Writer::text);
            writer.u32(*most);
        }
        Operation::DictKeys { after, most } => {
            writer.u8(88);
            writer.option(after.as_deref(), Writer::text);
            writer.u32(*most);
        }
        Operation::ListGet(index) => {
            writer.u8(96);
            writer.i64(*index);
        }
        Operation::ListSet(index, value) => {
            writer.u8(97);
            writer.i64(*index);
            writer.payload(value);
        }
        Operation::ListCompareAndSet { index, expected, value } => {
            writer.u8(98);
            writer.i64(*index);
            writer.bytes(expected);
            writer.payload(value);
        }
        Operation::ListExtend(values) => {
            writer.u8(99);
            writer.payloads(values.iter().map(Vec::as_slice));
        }
        Operation::ListInsert(index, value) => {
            writer.u8(100);
            writer.i64(*index);
            writer.payload(value);
        }
        Operation::ListPop(index) => {
            writer.u8(101);
            writer.i64(*index);
        }
        Operation::ListRange { start, most } => {
            writer.u8(102);
            writer.u64(*start);
            writer.u32(*most);
        }
        Operation::Length => writer.u8(112),
        Operation::Empty => writer.u8(113),
        Operation::Numbers(request) => {
            writer.u8(120);
            writer.payload(request);
        }
        Operation::Settle => writer.u8(128),
        Operation::LastToken => writer.u8(129),
    }
}

fn read_operation(mut reader: Reader) -> Result<Operation, Malformed> {
    let r = &mut reader;
    // The operations with a payload return at once, since the payload is what is read last.
    let operation = match r.u8()? {
        0 => return Ok(Operation::Put(reader.payload()?)),
        1 => Operation::Get { most: r.u32()? },
        2 => Operation::Take,
        3 => Operation::Finish(r.u64()?),
        4 => Operation::TaskDone,
        5 => Operation::JoinQueue,
        6 => Operation::Size,
        7 => Operation::IsEmpty,
        8 => Operation::IsFull,
        9 => Operation::Shutdown { immediately: r.bool()? },
        10 => Operation::GiveBack(r.u64()?),
        16 => Operation::OpenEnd(read_end(r)?),
        17 => Operation::CloseEnd(read_end(r)?),
        18 => return Ok(Operation::Send(read_end(r)?, reader.payload()?)),
        19 => Operation::Recv { end: read_end(r)?, at_most: r.option(Reader::u64)? },
        20 => Operation::Poll(read_end(r)?),
        21 => {
            let count = r.count(size_of::<u16>() + size_of::<u8>())?;
            let ends = (0..count).map(|_| Ok((r.u16()?, read_end(r)?))).collect::<Result<_, Malformed>>();
            Operation::PollAny(ends?)
        }
        32 => Operation::Acquire,
        33 => Operation::Release,
        34 => Operation::IsLocked,
        35 => Operation::Slots,
        36 => Operation::WaitCondition,
        38 => Operation::Token,
        37 => Operation::Notify { most: r.u32()? },
        48 => Operation::IsSet,
        49 => Operation::Set,
        50 => Operation::Clear,
        51 => Operation::WaitEvent,
        64 => Operation::Parties,
        65 => Operation::Waiting,
        66 => Operation::IsBroken,
        67 => Operation::WaitBarrier,
        68 => Operation::Abort,
        69 => Operation::Reset,
        80 => Operation::DictGet(r.text()?),
        81 => return Ok(Operation::DictSet(r.text()?, reader.payload()?)),
        82 => return Ok(Operation::DictSetMany(reader.entries()?)),
        83 => {
            let (key, version) = (r.text()?, r.option(Reader::u64)?);
            return Ok(Operation::DictCompareAndSet { key, version, value: reader.payload()? });
        }
        84 => Operation::DictPop(r.text()?),
        85 => Operation::DictContains(r.text()?),
        86 => Operation::DictIncrement(r.text()?, r.i64()?),
        87 => Operation::DictPage { after: r.option(Reader::text)?, most: r.u32()? },
        88 => Operation::DictKeys { after: r.option(Reader::text)?, most: r.u32()? },
        96 => Operation::ListGet(r.i64()?),
        97 => return Ok(Operation::ListSet(r.i64()?, reader.payload()?)),
        98 => {
            let (index, expected) = (r.i64()?, r.bytes()?);
            return Ok(Operation::ListCompareAndSet { index, expected, value: reader.payload()? });
        }
        99 => return Ok(Operation::ListExtend(reader.payloads()?)),
        100 => return Ok(Operation::ListInsert(r.i64()?, reader.payload()?)),
        101 => Operation::ListPop(r.i64()?),
        102 => Operation::ListRange { start: r.u64()?, most: r.u32()? },
        112 => Operation::Length,
        113 => Operation::Empty,
        120 => return Ok(Operation::Numbers(reader.payload()?)),
        128 => Operation::Settle,
        129 => Operation::LastToken,
        _ => return Err(Malformed("an unknown operation")),
    };
    reader.end()?;
    Ok(operation)
}
