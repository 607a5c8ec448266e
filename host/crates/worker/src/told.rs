//! Limits what is reported of a failure: names in a guest, and things that it asks for, may be of any length.

use std::borrow::Cow;

use wasmpool_core::outcome::{Failure, FailureKind};
use wasmpool_core::text::{ForeignText, head};

/// Maximum size of a message in bytes. The message of an `err` is limited like its payload.
const MESSAGE: usize = 8 << 10;
/// Maximum number of characters of a frame of the stack, and of a thing that was not granted.
const LINE: usize = 400;
/// Number of bytes of an `err` that are reported however small a result has to be, so that it cannot hide the reason of a
/// failure.
const ERR: usize = 64 << 10;

/// Returns the failure as it is reported: shortened if it is too long, otherwise itself.
pub fn bounded(failure: &Failure) -> Cow<'_, Failure> {
    let lines = || failure.trace.iter().chain(&failure.denied);
    let long_message = failure.kind != FailureKind::Error && failure.message.len() > MESSAGE;
    if !long_message && lines().all(|line| line.len() <= LINE) {
        return Cow::Borrowed(failure);
    }
    let mut failure = failure.clone();
    if long_message {
        let end = head(&failure.message, MESSAGE).len();
        failure.message.truncate(end);
        failure.message.push('…');
    }
    let failure_lines = &mut *failure;
    for line in failure_lines.trace.iter_mut().chain(&mut failure_lines.denied).filter(|line| line.len() > LINE) {
        *line = ForeignText::of(line).at_most(LINE).to_string();
    }
    Cow::Owned(failure)
}

/// Returns how long the JSON of an `err` may be. A text is reported twice: as the failure's message, and as its
/// payload.
pub fn most_of_err(most: usize, is_text: bool) -> usize {
    let most = most.max(ERR);
    if is_text { most / 2 } else { most }
}

/// Returns the message of an `err` that is not a text, given as JSON.
pub fn message_of_err(json: &str) -> String {
    let cut = head(json, MESSAGE);
    format!("the task returned err: {cut}{}", if cut.len() < json.len() { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_no_more_than_fits_beside_a_value() {
        let long = "\u{1}".repeat(1 << 20);
        let mut failure = Failure::new(FailureKind::Trap, long.clone());
        failure.trace = vec![long.clone(); 20];
        failure.denied = vec![long.clone(); 32];
        let json = serde_json::to_vec(&*bounded(&failure)).unwrap();
        assert!(json.len() < 200 << 10, "{} bytes", json.len());
        // An `err` that is a text and fits is reported completely, except the text of an item that cannot be read.
        let mut failure = Failure::new(FailureKind::Error, long.clone());
        failure.trace = vec!["f".to_owned()];
        assert_eq!((bounded(&failure).message.len(), &*bounded(&failure).trace), (long.len(), &["f".to_owned()][..]));
        assert!(message_of_err(&long).len() < 9 << 10);
        assert_eq!(message_of_err("[1]"), "the task returned err: [1]");
    }
}
