//! WASI commands. A command runs once per item, which is in its arguments or is its standard input. Its standard output
//! is the value.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::piped::PipedStreams;
use wasmpool_core::outcome::{Failure, FailureKind};
use wasmpool_core::policy::{CommandCall, ItemEncoding};
use wasmpool_core::setting::Setting;
use wasmpool_ipc::lane;
use wasmpool_ipc::lane::control::Control;
use wasmpool_ipc::lane::frame::{OutcomeHeader, OutcomeTag, PART};

/// The arguments and streams of one run of a command.
#[derive(Debug)]
pub struct CommandInvocation {
    /// The first one is its name.
    pub arguments: Vec<String>,
    pub stdin: Bytes,
    pub stdout: CapturedOutput,
    /// Pipes that take the place of these.
    pub piped: PipedStreams,
}

impl CommandInvocation {
    /// Returns the invocation for an item.
    pub fn new(
        command: &CommandCall,
        item: &[u8],
        form: ItemEncoding,
        index: u64,
        stdout: CapturedOutput,
    ) -> Result<CommandInvocation, Failure> {
        let item = bytes_of(item, form)?;
        let (name, templates) = command.arguments.split_first().map_or(("", Default::default()), |(n, t)| (&**n, t));
        let in_arguments = templates.iter().any(|template| template.contains(&command.item));
        let text = if in_arguments { argument(&item)? } else { "" };
        let mut arguments = vec![name.to_owned()];
        arguments.extend(templates.iter().map(|template| fill(template, command, text, index)));
        let stdin = if in_arguments { Bytes::new() } else { Bytes::copy_from_slice(&item) };
        Ok(CommandInvocation { arguments, stdin, stdout, piped: PipedStreams::default() })
    }
}

/// Fills in an argument. Text that was filled in is not searched for placeholders again.
fn fill(template: &str, command: &CommandCall, item: &str, index: u64) -> String {
    let index = index.to_string();
    let mut places = [(&*command.item, item), (&*command.index, &*index)];
    // One placeholder may begin like the other.
    places.sort_by_key(|(place, _)| std::cmp::Reverse(place.len()));
    let mut filled = String::new();
    let mut rest = template;
    while let Some(first) = rest.chars().next() {
        match places.iter().find_map(|(place, with)| Some((rest.strip_prefix(place)?, with))) {
            Some((behind, with)) => {
                filled += with;
                rest = behind;
            }
            None => {
                filled.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    filled
}

/// Returns the bytes that a command gets: the text of a JSON string, or other JSON as it is written.
fn bytes_of(item: &[u8], form: ItemEncoding) -> Result<Cow<'_, [u8]>, Failure> {
    let invalid = |e| {
        let hint = Setting::InputOfLines;
        Failure::new(FailureKind::InvalidInput, format!("the item is not JSON: {e}; {hint} takes each line as it is"))
    };
    if form != ItemEncoding::Json {
        return Ok(Cow::Borrowed(item));
    }
    let item = item.trim_ascii();
    if item.first() == Some(&b'"') {
        let text: String = serde_json::from_slice(item).map_err(invalid)?;
        return Ok(Cow::Owned(text.into_bytes()));
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(item).map_err(invalid)?;
    Ok(Cow::Borrowed(item))
}

/// Returns an item as an argument, which is text that a NUL ends.
fn argument(item: &[u8]) -> Result<&str, Failure> {
    let invalid = |what| {
        let hint = "where no argument holds it, it is the command's standard input";
        Failure::new(FailureKind::InvalidInput, format!("the item {what} and cannot be in an argument; {hint}"))
    };
    match std::str::from_utf8(item) {
        Err(_) => Err(invalid("is not UTF-8")),
        Ok(text) if text.contains('\0') => Err(invalid("holds a NUL")),
        Ok(text) => Ok(text),
    }
}

/// A command's standard output: all of it, or the information that it was too long.
#[derive(Clone, Debug)]
pub struct CapturedOutput(Arc<Mutex<OutputStream>>);

#[derive(Debug)]
struct OutputStream {
    /// The output that has not been sent.
    bytes: Vec<u8>,
    /// Number of bytes that may still be written.
    left: usize,
    too_much: bool,
    /// True if nothing of it is kept: it is shown elsewhere, and is no value.
    discards: bool,
    /// If present, the output is sent in parts.
    parts: Option<ValueParts>,
}

/// The channel on which parts of a value are sent to the host.
#[derive(Debug)]
pub struct ValueParts {
    pub lane: lane::worker::OutcomeWriter,
    pub control: &'static Control,
}

impl ValueParts {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let header = OutcomeHeader { tag: OutcomeTag::Part, len: bytes.len() as u32, elapsed: Duration::ZERO };
        self.lane.write(&header.to_bytes(), self.control)?;
        self.lane.write(bytes, self.control)?;
        self.lane.publish();
        self.lane.ring_if_filling_up(self.control)
    }
}

/// Error: the output is longer than allowed.
#[derive(Debug, thiserror::Error)]
#[error("there is more output than may be")]
pub struct TooMuch;

impl CapturedOutput {
    pub fn new(most: usize, parts: Option<ValueParts>) -> CapturedOutput {
        let (bytes, too_much, discards) = (Vec::new(), false, false);
        CapturedOutput(Arc::new(Mutex::new(OutputStream { bytes, left: most, too_much, discards, parts })))
    }

    /// Returns an output of which there can be any amount, and that is empty.
    pub fn discarding(parts: Option<ValueParts>) -> CapturedOutput {
        let output = CapturedOutput::new(0, parts);
        output.0.lock().unwrap_or_else(PoisonError::into_inner).discards = true;
        output
    }

    pub fn write(&self, bytes: &[u8]) -> Result<(), TooMuch> {
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if output.discards {
            return Ok(());
        }
        output.too_much |= bytes.len() > output.left;
        if output.too_much {
            return Err(TooMuch);
        }
        output.left -= bytes.len();
        output.bytes.extend_from_slice(bytes);
        let OutputStream { bytes, parts, .. } = &mut *output;
        if let Some(parts) = parts.as_mut().filter(|_| bytes.len() >= PART) {
            let whole = bytes.chunks_exact(PART);
            let rest = whole.remainder().len();
            // Without a host, this process is about to end.
            whole.into_iter().try_for_each(|part| parts.send(part)).map_err(|_| TooMuch)?;
            bytes.drain(..bytes.len() - rest);
        }
        Ok(())
    }

    /// Returns all output that has not been sent.
    pub fn take(&self) -> Result<Vec<u8>, TooMuch> {
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if output.too_much { Err(TooMuch) } else { Ok(std::mem::take(&mut output.bytes)) }
    }

    /// Returns the channel for parts, for use by the next item.
    pub fn give_back(&self) -> Option<ValueParts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).parts.take()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn invocation(templates: &[&str], item: &[u8], form: ItemEncoding) -> Result<CommandInvocation, Failure> {
        replacing("{}", "{#}", templates, item, form)
    }

    fn replacing(
        by: &str,
        index: &str,
        templates: &[&str],
        item: &[u8],
        form: ItemEncoding,
    ) -> Result<CommandInvocation, Failure> {
        let arguments = ["name"].iter().chain(templates).map(|&t| t.to_owned()).collect();
        let (by, index) = (by.to_owned(), index.to_owned());
        let command = CommandCall { arguments, item: by, index, ..CommandCall::default() };
        CommandInvocation::new(&command, item, form, 7, CapturedOutput::new(10, None))
    }

    #[test]
    fn what_stands_for_the_item_can_be_chosen_and_braces_are_passed_as_they_are() {
        let made = replacing("@", "@#", &["{}", "{#}", "a@b@#c@@#"], b"x@", ItemEncoding::Bytes).expect("text");
        assert_eq!(made.arguments, ["name", "{}", "{#}", "ax@b7cx@7"]);
        let made = replacing("@", "%", &["{}", "{#}%"], b"x", ItemEncoding::Bytes).expect("text");
        assert_eq!((made.arguments, &*made.stdin), (["name", "{}", "{#}7"].map(str::to_owned).to_vec(), &b"x"[..]));
    }

    #[test]
    fn an_item_fills_every_place_that_stands_for_it_and_is_not_looked_at_again() {
        let made = invocation(&["-e", "{}", "a{}b{}", "{#}/{}", "{", "{{}}", "{x}"], b"{#}{}", ItemEncoding::Bytes)
            .expect("text");
        assert_eq!(made.arguments, ["name", "-e", "{#}{}", "a{#}{}b{#}{}", "7/{#}{}", "{", "{{#}{}}", "{x}"]);
        assert!(made.stdin.is_empty());
    }

    #[test]
    fn an_item_that_no_argument_takes_is_standard_input() {
        let made = invocation(&["{#}"], b"\xff\0", ItemEncoding::Bytes).expect("any bytes");
        assert_eq!((made.arguments, &*made.stdin), (vec!["name".to_owned(), "7".to_owned()], &b"\xff\0"[..]));
    }

    #[test]
    fn a_json_string_is_its_text_and_other_json_the_text_it_stands_in() {
        for (item, bytes) in [(r#" "a\nb" "#, "a\nb"), (" [1, 2] ", "[1, 2]"), ("{\"a\":1}", "{\"a\":1}"), ("7", "7")] {
            assert_eq!(invocation(&[], item.as_bytes(), ItemEncoding::Json).expect("JSON").stdin, bytes.as_bytes());
        }
    }

    #[test]
    fn what_cannot_be_given_is_invalid_input() {
        for (templates, item, form) in [
            (&["{}"][..], &b"a\0b"[..], ItemEncoding::Bytes),
            (&["{}"], b"\xff", ItemEncoding::Bytes),
            (&[], b"plain text", ItemEncoding::Json),
            (&[], b"\"open", ItemEncoding::Json),
        ] {
            assert_eq!(invocation(templates, item, form).expect_err("no").kind, FailureKind::InvalidInput);
        }
    }

    #[test]
    fn of_an_output_that_is_no_value_there_can_be_any_amount() {
        let discarding = CapturedOutput::discarding(None);
        assert!(discarding.write(&[b'x'; 1000]).is_ok());
        assert_eq!(discarding.take().ok(), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn arguments_are_as_many_as_were_said(templates in proptest::collection::vec("[a{}#]{0,6}", 0..5), item in "[^\0]*") {
            let given: Vec<&str> = templates.iter().map(String::as_str).collect();
            let made = invocation(&given, item.as_bytes(), ItemEncoding::Bytes).expect("text");
            prop_assert_eq!(made.arguments.len(), templates.len() + 1);
            for (made, template) in made.arguments.iter().skip(1).zip(&templates) {
                let stays = !template.contains("{}") && !template.contains("{#}");
                prop_assert!(!stays || made == template, "{:?} became {:?}", template, made);
            }
        }

        #[test]
        fn output_is_whole_or_known_to_be_too_much(writes in proptest::collection::vec(0_usize..6, 0..6)) {
            let captured = CapturedOutput::new(10, None);
            for &len in &writes {
                let _ = captured.write(&vec![b'x'; len]);
            }
            let all = writes.iter().sum::<usize>();
            prop_assert_eq!(captured.take().ok().map(|bytes| bytes.len()), (all <= 10).then_some(all));
        }
    }
}
