//! What is noted of a run: its hash tells whether two runs of a seed are the same, and a replay prints it.

use wasmpool_objects::operation::{Answer, Request};
use wasmpool_objects::{ParticipantId, Ticket};

use super::queues::MessageId;

#[derive(Debug, Hash)]
pub(super) enum Noted {
    Joined { who: ParticipantId, name: String },
    Asked { who: ParticipantId, ticket: Ticket, request: Request },
    Handled { who: ParticipantId, ticket: Ticket },
    Answered { who: ParticipantId, ticket: Ticket, answer: Answer },
    Subtracted { who: ParticipantId, object: u16, bytes: u64 },
    PutOnCredit { who: ParticipantId, object: u16, id: MessageId },
    SetOnCredit { who: ParticipantId, object: u16, version: Option<u64> },
    Remembered { who: ParticipantId, object: u16, version: Option<u64> },
    ToldOfChange { who: ParticipantId, object: u16 },
    Lent { who: ParticipantId, object: u16 },
    AcquiredLent { who: ParticipantId, object: u16 },
    ReleasedLent { who: ParticipantId, object: u16 },
    TakenAhead { who: ParticipantId, object: u16, id: MessageId },
    Granted { who: ParticipantId, object: u16, entries: u32, bytes: u64 },
    TakenBack { who: ParticipantId, object: u16, entries: u32 },
    Wanted { who: ParticipantId, object: u16, wanted: bool },
    Read { who: ParticipantId, puts: usize },
    SentAhead { who: ParticipantId, object: u16, ids: Vec<MessageId> },
    Recalled { who: ParticipantId, object: u16, taken: u32 },
    ItemEnds { who: ParticipantId, failed: bool },
    ItemEnded { who: ParticipantId },
    Dies { who: ParticipantId },
    Left { who: ParticipantId },
    Violates { who: ParticipantId, what: &'static str },
    Ticks,
}
