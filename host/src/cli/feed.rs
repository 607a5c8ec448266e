//! The thread that reads the input of a run.

use std::sync::mpsc::Receiver;

use wasmpool_run::input::ItemSource;
use wasmpool_run::journal::InputDigest;
use wasmpool_run::supervisor::{Event, EventSender};

/// Reads one batch of items for each request, until there are no more items or no more requests. A run that continues
/// an earlier one has a tally, which finds what is left of the items that were read then.
pub fn feed(
    mut items: Box<dyn ItemSource>,
    mut tally: Option<InputDigest>,
    requests: &Receiver<()>,
    supervisor: &EventSender,
) {
    while requests.recv().is_ok() {
        if let Some(tally) = tally.as_mut().filter(|tally| tally.expects()) {
            match tally.take_up(&mut *items) {
                Ok(left) => supervisor.send(Event::TakenUp(left)),
                Err(e) => return supervisor.send(Event::Refused(e)),
            }
            continue;
        }
        let (batch, end) = items.next_batch();
        if let Some(tally) = &mut tally {
            tally.add(&batch);
        }
        supervisor.send(Event::Input(batch));
        if let Some(end) = end {
            return supervisor.send(Event::of_end(end));
        }
    }
}
