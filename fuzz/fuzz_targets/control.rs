//! A worker that sends whatever it likes over its socket, descriptors included.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../host/src/lane/mod.rs"]
mod lane;
#[path = "../../host/src/memfd.rs"]
mod memfd;
#[path = "../../host/src/refused.rs"]
mod refused;

use std::io::IoSlice;
use std::os::fd::AsRawFd;

use arbitrary::Arbitrary;
use lane::control::{Control, Incoming};
use libfuzzer_sys::fuzz_target;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde::Deserialize;

/// The shape of what the host reads from a worker.
#[derive(Deserialize, Debug)]
enum Started {
    Ready,
    Unusable(String),
    BadArtifact(String),
}

#[derive(Arbitrary, Debug)]
struct Message {
    bytes: Vec<u8>,
    descriptors: u8,
}

fuzz_target!(|messages: Vec<Message>| {
    let (host, worker) = Control::pair().expect("a socket pair");
    let before = std::fs::read_dir("/proc/self/fd").expect("a list").count();
    for message in messages.iter().take(16) {
        let fds = vec![worker.as_raw_fd(); usize::from(message.descriptors % 12)];
        let rights = [ControlMessage::ScmRights(&fds)];
        let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let _ = sendmsg::<()>(worker.as_raw_fd(), &[IoSlice::new(&message.bytes)], control, flags, None);
        while let Ok(Incoming::Message(..) | Incoming::Bell) = host.receive::<Started>(true) {}
    }
    // No descriptor that a worker sent stays open in the host.
    let after = std::fs::read_dir("/proc/self/fd").expect("a list").count();
    assert_eq!(before, after);
});
