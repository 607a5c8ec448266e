//! What the coordinator of a run over many machines and its hosts say to each other, and who has which chunk. Without
//! I/O and without a clock.
//!
//! The *coordinator* is the process that has the input and takes the outcomes; a *host* is a process on any machine that
//! runs chunks in its own workers. Between them is a broker, which carries messages and is trusted with nothing else:
//! the coordinator keeps the input of each chunk until it has the chunk's outcomes.
//!
//! [`subjects`] are the names under which messages travel, [`chunk`] and [`outcomes`] what most of them hold, [`notes`]
//! all others. [`slots`] decides what is sent again, and which outcomes count. [`tunnel`] carries what workers ask of
//! shared objects.

#![forbid(unsafe_code)]

pub mod ahead;
pub mod chunk;
pub mod digest;
mod fields;
pub mod names;
pub mod notes;
pub mod outcomes;
pub mod permissions;
pub mod slots;
pub mod subjects;
pub mod tunnel;

// Items and outcomes travel in the form that they have in a lane, where numbers are in the machine's byte order.
#[cfg(not(target_endian = "little"))]
compile_error!("machines of another byte order than the others' cannot take part in a run over many machines");

/// Number of the protocol. Hosts of another leave a run alone.
pub const PROTOCOL: u8 = 1;
