//! How an answer is written into a frame.

use super::Malformed;
use super::bytes::{Reader, Writer};
use crate::operation::{Acquisition, Answer, ObjectError, Reply};

/// Number from which on the kinds of answers are errors.
const ERRORS: u8 = 64;

pub(super) fn write<'a>(writer: &mut Writer<'a>, answer: &'a Answer) {
    match answer {
        Ok(reply) => write_reply(writer, reply),
        Err(error) => write_error(writer, error),
    }
}

pub(super) fn read(mut reader: Reader) -> Result<Answer, Malformed> {
    let kind = reader.u8()?;
    if kind < ERRORS { read_reply(kind, reader).map(Ok) } else { read_error(kind, reader).map(Err) }
}

fn write_reply<'a>(writer: &mut Writer<'a>, reply: &'a Reply) {
    match reply {
        Reply::Done => writer.u8(0),
        Reply::Bool(is) => {
            writer.u8(1);
            writer.bool(*is);
        }
        Reply::Number(n) => {
            writer.u8(2);
            writer.u64(*n);
        }
        Reply::Signed(n) => {
            writer.u8(3);
            writer.i64(*n);
        }
        Reply::Bytes(bytes) => {
            writer.u8(4);
            writer.payload(bytes);
        }
        Reply::Many(all) => {
            writer.u8(5);
            writer.payloads(all.iter().map(Vec::as_slice));
        }
        Reply::Delivery { id, item, redelivered } => {
            writer.u8(6);
            writer.u64(*id);
            writer.bool(*redelivered);
            writer.payload(item);
        }
        Reply::Acquired(Acquisition::Acquired) => writer.u8(7),
        Reply::Acquired(Acquisition::Abandoned(by)) => {
            writer.u8(8);
            writer.text(by);
        }
        Reply::Acquired(Acquisition::TimedOut) => writer.u8(9),
        Reply::Entry(None) => writer.u8(10),
        Reply::Entry(Some((value, version))) => {
            writer.u8(11);
            writer.u64(*version);
            writer.payload(value);
        }
        Reply::MaybeBytes(None) => writer.u8(12),
        Reply::MaybeBytes(Some(bytes)) => {
            writer.u8(13);
            writer.payload(bytes);
        }
        Reply::MaybeNumber(n) => {
            writer.u8(14);
            writer.option(*n, Writer::u64);
        }
        Reply::Page(entries) => {
            writer.u8(15);
            writer.entries(entries);
        }
        Reply::Keys(keys) => {
            writer.u8(16);
            writer.u64(keys.len() as u64);
            keys.iter().for_each(|key| writer.text(key));
        }
        Reply::Places(places) => {
            writer.u8(17);
            writer.u64(places.len() as u64);
            places.iter().for_each(|place| writer.u32(*place));
        }
    }
}

fn read_reply(kind: u8, mut reader: Reader) -> Result<Reply, Malformed> {
    let r = &mut reader;
    let reply = match kind {
        0 => Reply::Done,
        1 => Reply::Bool(r.bool()?),
        2 => Reply::Number(r.u64()?),
        3 => Reply::Signed(r.i64()?),
        4 => return Ok(Reply::Bytes(reader.payload()?)),
        5 => return Ok(Reply::Many(reader.payloads()?)),
        6 => {
            let (id, redelivered) = (r.u64()?, r.bool()?);
            return Ok(Reply::Delivery { id, item: reader.payload()?, redelivered });
        }
        7 => Reply::Acquired(Acquisition::Acquired),
        8 => Reply::Acquired(Acquisition::Abandoned(r.text()?)),
        9 => Reply::Acquired(Acquisition::TimedOut),
        10 => Reply::Entry(None),
        11 => {
            let version = r.u64()?;
            return Ok(Reply::Entry(Some((reader.payload()?, version))));
        }
        12 => Reply::MaybeBytes(None),
        13 => return Ok(Reply::MaybeBytes(Some(reader.payload()?))),
        14 => Reply::MaybeNumber(r.option(Reader::u64)?),
        15 => return Ok(Reply::Page(reader.entries()?)),
        16 => {
            let count = r.count(size_of::<u64>())?;
            Reply::Keys((0..count).map(|_| r.text()).collect::<Result<_, _>>()?)
        }
        17 => {
            let count = r.count(size_of::<u32>())?;
            Reply::Places((0..count).map(|_| r.u32()).collect::<Result<_, Malformed>>()?)
        }
        _ => return Err(Malformed("an unknown reply")),
    };
    reader.end()?;
    Ok(reply)
}

fn write_error(writer: &mut Writer<'_>, error: &ObjectError) {
    let (kind, text) = match error {
        ObjectError::Denied(text) => (64, Some(text)),
        ObjectError::Closed => (65, None),
        ObjectError::Full => (66, None),
        ObjectError::Empty => (67, None),
        ObjectError::Timeout => (68, None),
        ObjectError::Quota(text) => (69, Some(text)),
        ObjectError::NotHeld => (70, None),
        ObjectError::NotHolder => (71, None),
        ObjectError::TooMany => (72, None),
        ObjectError::Broken(text) => (73, Some(text)),
        ObjectError::Eof => (74, None),
        ObjectError::ClosedByPeer => (75, None),
        ObjectError::NotReadable => (76, None),
        ObjectError::NotWritable => (77, None),
        ObjectError::TooLong(_) => (78, None),
        ObjectError::OutOfRange(text) => (79, Some(text)),
        ObjectError::Invalid(text) => (80, Some(text)),
    };
    writer.u8(kind);
    if let Some(text) = text {
        writer.text(text);
    }
    if let ObjectError::TooLong(length) = error {
        writer.u64(*length);
    }
}

fn read_error(kind: u8, mut reader: Reader) -> Result<ObjectError, Malformed> {
    let r = &mut reader;
    let error = match kind {
        64 => ObjectError::Denied(r.text()?),
        65 => ObjectError::Closed,
        66 => ObjectError::Full,
        67 => ObjectError::Empty,
        68 => ObjectError::Timeout,
        69 => ObjectError::Quota(r.text()?),
        70 => ObjectError::NotHeld,
        71 => ObjectError::NotHolder,
        72 => ObjectError::TooMany,
        73 => ObjectError::Broken(r.text()?),
        74 => ObjectError::Eof,
        75 => ObjectError::ClosedByPeer,
        76 => ObjectError::NotReadable,
        77 => ObjectError::NotWritable,
        78 => ObjectError::TooLong(r.u64()?),
        79 => ObjectError::OutOfRange(r.text()?),
        80 => ObjectError::Invalid(r.text()?),
        _ => return Err(Malformed("an unknown error")),
    };
    reader.end()?;
    Ok(error)
}
