//! Frames between a participant and the manager of the objects.
//!
//! A frame is `payload · head · length of the head`. The payload is the bytes that a guest puts or gets. It comes first, so
//! that it can be sent from where it is, and so that a received frame becomes the message by cutting off its end: a
//! message of 1 MiB is never copied here. All numbers are little-endian and of fixed width, so each frame has exactly one
//! form.
//!
//! Either side decodes what it gets without trust: nothing is allocated on the word of a length before that many bytes are
//! known to have come, and a frame with anything left over is refused.

mod answers;
mod bytes;
mod operations;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use smallvec::SmallVec;

use crate::operation::{Answer, Request};
use bytes::{Reader, Writer};

/// A frame that a participant sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParticipantFrame {
    /// A request, which is answered with the same ticket. A participant chooses its tickets.
    Ask { ticket: u32, request: Request },
    /// A message for a queue, for which the participant had credit. It is not answered.
    PutOnCredit { object: u16, message: Vec<u8> },
    /// An entry for a dict, for which the participant had credit. It is not answered.
    SetOnCredit { object: u16, key: String, value: Vec<u8> },
    /// A lock that was lent to the participant, and is wanted, was released. It is not answered.
    Released { object: u16 },
    /// The item with this number has ended, and with it all that it holds. It failed if it did not come to its end.
    ItemEnded { item: u64, failed: bool },
    /// The item with this index in its run has begun, and may hold something from now on.
    ItemBegan { item: u64 },
}

/// A frame that the manager sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagerFrame {
    Answer {
        ticket: u32,
        answer: Answer,
    },
    /// Messages that the participant may take without asking.
    Ahead {
        object: u16,
        messages: Vec<Vec<u8>>,
    },
}

/// A frame that is ready to be sent, as parts of which the payload is borrowed.
#[derive(Debug)]
pub struct Frame<'a>(Writer<'a>);

/// Why a frame was refused. Whoever sent it does not speak this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub(crate) &'static str);

impl Display for Malformed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "a malformed frame: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

const ASK: u8 = 0;
const PUT_ON_CREDIT: u8 = 1;
const ITEM_ENDED: u8 = 2;
const ITEM_BEGAN: u8 = 3;
const SET_ON_CREDIT: u8 = 4;
const RELEASED: u8 = 5;
const ANSWER: u8 = 16;
const AHEAD: u8 = 17;

/// Makes the frame of [`ParticipantFrame::Ask`].
pub fn ask(ticket: u32, request: &Request) -> Frame<'_> {
    let mut writer = Writer::default();
    writer.u8(ASK);
    writer.u32(ticket);
    operations::write(&mut writer, request);
    Frame(writer.finish())
}

/// Makes the frame of [`ParticipantFrame::Ask`] for [`Operation::Put`](crate::operation::Operation::Put), of a message that
/// stays where it is.
pub fn ask_to_put(ticket: u32, object: u16, message: &[u8], timeout: Option<Duration>) -> Frame<'_> {
    let mut writer = Writer::default();
    writer.u8(ASK);
    writer.u32(ticket);
    operations::write_put(&mut writer, object, message, timeout);
    Frame(writer.finish())
}

/// Makes the frame of [`ParticipantFrame::PutOnCredit`].
pub fn put_on_credit(object: u16, message: &[u8]) -> Frame<'_> {
    let mut writer = Writer::default();
    writer.u8(PUT_ON_CREDIT);
    writer.u16(object);
    writer.payload(message);
    Frame(writer.finish())
}

/// Makes the frame of [`ParticipantFrame::SetOnCredit`].
pub fn set_on_credit<'a>(object: u16, key: &'a str, value: &'a [u8]) -> Frame<'a> {
    let mut writer = Writer::default();
    writer.u8(SET_ON_CREDIT);
    writer.u16(object);
    writer.text(key);
    writer.payload(value);
    Frame(writer.finish())
}

/// Makes the frame of [`ParticipantFrame::Released`].
pub fn released<'a>(object: u16) -> Frame<'a> {
    let mut writer = Writer::default();
    writer.u8(RELEASED);
    writer.u16(object);
    Frame(writer.finish())
}

/// Makes the frame of [`ParticipantFrame::ItemEnded`].
pub fn item_ended<'a>(item: u64, failed: bool) -> Frame<'a> {
    let mut writer = Writer::default();
    writer.u8(ITEM_ENDED);
    writer.u64(item);
    writer.bool(failed);
    Frame(writer.finish())
}

/// Makes the frame of [`ParticipantFrame::ItemBegan`].
pub fn item_began<'a>(item: u64) -> Frame<'a> {
    let mut writer = Writer::default();
    writer.u8(ITEM_BEGAN);
    writer.u64(item);
    Frame(writer.finish())
}

/// Makes the frame of [`ManagerFrame::Answer`].
pub fn answer(ticket: u32, answer: &Answer) -> Frame<'_> {
    let mut writer = Writer::default();
    writer.u8(ANSWER);
    writer.u32(ticket);
    answers::write(&mut writer, answer);
    Frame(writer.finish())
}

/// Makes the frame of [`ManagerFrame::Ahead`].
pub fn ahead<M: AsRef<[u8]>>(object: u16, messages: &[M]) -> Frame<'_> {
    let mut writer = Writer::default();
    writer.u8(AHEAD);
    writer.u16(object);
    writer.payloads(messages.iter().map(M::as_ref));
    Frame(writer.finish())
}

impl Frame<'_> {
    /// Returns the parts of the frame, to be sent one after the other.
    pub fn parts(&self) -> SmallVec<[&[u8]; 4]> {
        self.0.parts()
    }

    /// Returns the length of all parts together.
    #[expect(clippy::len_without_is_empty, reason = "no frame is empty")]
    pub fn len(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    /// Returns the frame as one piece, which copies it.
    pub fn to_vec(&self) -> Vec<u8> {
        self.parts().concat()
    }
}

impl ParticipantFrame {
    /// Decodes a frame that came from a participant.
    pub fn decode(frame: Vec<u8>) -> Result<ParticipantFrame, Malformed> {
        let mut reader = Reader::of(frame)?;
        match reader.u8()? {
            ASK => Ok(ParticipantFrame::Ask { ticket: reader.u32()?, request: operations::read(reader)? }),
            PUT_ON_CREDIT => Ok(ParticipantFrame::PutOnCredit { object: reader.u16()?, message: reader.payload()? }),
            SET_ON_CREDIT => {
                let (object, key) = (reader.u16()?, reader.text()?);
                Ok(ParticipantFrame::SetOnCredit { object, key, value: reader.payload()? })
            }
            RELEASED => {
                let object = reader.u16()?;
                reader.end()?;
                Ok(ParticipantFrame::Released { object })
            }
            ITEM_ENDED => {
                let (item, failed) = (reader.u64()?, reader.bool()?);
                reader.end()?;
                Ok(ParticipantFrame::ItemEnded { item, failed })
            }
            ITEM_BEGAN => {
                let item = reader.u64()?;
                reader.end()?;
                Ok(ParticipantFrame::ItemBegan { item })
            }
            _ => Err(Malformed("an unknown kind of frame")),
        }
    }

    pub fn encode(&self) -> Frame<'_> {
        match self {
            ParticipantFrame::Ask { ticket, request } => ask(*ticket, request),
            ParticipantFrame::PutOnCredit { object, message } => put_on_credit(*object, message),
            ParticipantFrame::SetOnCredit { object, key, value } => set_on_credit(*object, key, value),
            ParticipantFrame::Released { object } => released(*object),
            ParticipantFrame::ItemEnded { item, failed } => item_ended(*item, *failed),
            ParticipantFrame::ItemBegan { item } => item_began(*item),
        }
    }
}

impl ManagerFrame {
    /// Decodes a frame that came from the manager.
    pub fn decode(frame: Vec<u8>) -> Result<ManagerFrame, Malformed> {
        let mut reader = Reader::of(frame)?;
        match reader.u8()? {
            ANSWER => Ok(ManagerFrame::Answer { ticket: reader.u32()?, answer: answers::read(reader)? }),
            AHEAD => Ok(ManagerFrame::Ahead { object: reader.u16()?, messages: reader.payloads()? }),
            _ => Err(Malformed("an unknown kind of frame")),
        }
    }

    pub fn encode(&self) -> Frame<'_> {
        match self {
            ManagerFrame::Answer { ticket, answer: content } => answer(*ticket, content),
            ManagerFrame::Ahead { object, messages } => ahead(*object, messages),
        }
    }
}
