//! The slots of a run over many machines, driven through random schedules in virtual time, together with the scheduler.
//!
//! A seed determines a [`World`]: how many hosts, which items, and what goes wrong. The broker delays, doubles, reorders
//! and loses messages, loses all that it has, and cannot be reached; hosts end, stand still, are cut off, come back under
//! the same name, and lie. Each outcome carries the index of its item, which no real one does, so that it is seen whether
//! it is counted for that item, and once.

mod broker;
mod figures;
mod play;
mod site;
mod world;

pub use figures::Figures;
pub use world::World;
