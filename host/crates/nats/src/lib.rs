//! Runs over many machines, by way of a NATS server with JetStream: the connection ([`client`]), the process that has the
//! input ([`coordinator`]), the processes that run chunks ([`serve`]), and shared objects across machines ([`objects`]).
//!
//! What is sent again, and which outcomes count, is decided in `wasmpool-hosts`; this crate carries it out. The connection
//! belongs to the process of the command. Workers have no network and no descriptor of it.

pub mod access;
pub mod client;
pub mod coordinator;
mod jetstream;
mod nkey;
pub mod objects;
mod presence;
mod random;
pub mod serve;
pub mod url;

pub use presence::machine_name;

/// Returns a random number of the system.
///
/// # Errors
///
/// The error of the system if it has none.
pub fn random_number() -> std::io::Result<u64> {
    random::bytes().map(u64::from_le_bytes)
}
