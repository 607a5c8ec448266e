//! The shared objects, driven through random schedules in virtual time.
//!
//! A seed determines a [`World`]: which objects there are, who uses them and how, and what goes wrong. Participants put,
//! get, take, lock, wait, end their items, die and lie. Puts on credit and messages ahead are modelled over plain numbers,
//! with all that participants can do while the machine looks at them. Every answer of the machine is compared with a
//! second implementation that is as simple as possible (`reference.rs`, `pipes.rs`), or, for queues, checked against what
//! became of each message (`queues.rs`).

mod actors;
mod channels;
mod figures;
mod noted;
mod pipes;
mod play;
mod queues;
mod reference;
mod world;

pub use figures::Figures;
pub use world::World;
