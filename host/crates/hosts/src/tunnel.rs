//! The tunnel by which workers on other machines reach shared objects: what they ask, and what they are answered, exactly
//! once and in order, over messages that may be lost, doubled, delayed and reordered.
//!
//! A *near end* ([`near`]) is where participants are; the *far end* ([`far`]) is where the objects are, and has any number of
//! near ends. Each participant has a stream of frames in each direction ([`stream`]), so that none waits for another. A
//! frame is cut into numbered parts. A part is sent again until it is confirmed, and an end takes parts in their order
//! only. There is a window of parts that may be on their way, which opens further only when frames are taken: so neither
//! end keeps more of a participant than one frame and a window.
//!
//! It promises, whatever becomes of messages:
//!
//! * frames are delivered once each, complete and in order, as long as their participant has a part in the objects;
//! * the participants of a near end that is silent, or was started again, are cut off, and nothing that it still sends of
//!   them is delivered. Others that come from it later are as good as any;
//! * each participant that is cut off is told so as soon as it is heard, and so is whoever has the objects;
//! * an end that breaks the protocol is cut off, and makes the other end keep no more than any.

pub mod far;
pub mod near;
pub mod packet;
mod stream;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use stream::Delivery;

/// Time since some moment, as reported by the caller.
pub type Time = Duration;

/// Time without a message after which the participants of a near end are cut off.
pub const SILENCE: Duration = Duration::from_secs(5);
/// Time without a message of the far end after which the objects are lost to a near end.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Time between the beats of a near end.
const BEAT: Duration = Duration::from_secs(1);
/// Time after which parts are sent again that were not confirmed.
const AGAIN: Duration = Duration::from_secs(1);
/// Time that a confirmation may wait for a part to be sent with.
const CONFIRM: Duration = Duration::from_millis(200);
/// Number of parts that may be on their way.
const WINDOW: u64 = 8;
/// Number of bytes that may wait to be sent to a participant until no more of what it sent is delivered.
const BACKLOG: usize = 1 << 20;

/// Error: the other end has sent what no honest one sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end of a tunnel broke the protocol: {0}")]
pub struct Breach(pub &'static str);
