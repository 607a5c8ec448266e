//! Text and bytes as JSON.

use std::borrow::Cow;

use base64::DecodeError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Appends `text` as a JSON string.
pub fn encode_string(text: &str, out: &mut Vec<u8>) {
    // Writing a string to a `Vec` does not fail.
    let _written = serde_json::to_writer(out, text);
}

/// Appends bytes as JSON: base64 between quotes.
pub fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    base64(bytes, out);
    out.push(b'"');
}

/// Appends the base64 of `bytes`. To encode data in parts, the length of each part but the last has to be a multiple of
/// three.
pub fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The slice has exactly the length needed, so it cannot be too small.
    let written = out.get_mut(start..).map(|room| STANDARD.encode_slice(bytes, room));
    out.truncate(start + written.and_then(Result::ok).unwrap_or(0));
}

/// Error: a text is not base64.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has to be base64 with padding")]
pub struct NotBase64(#[from] DecodeError);

/// Returns the bytes of a base64 text.
pub fn from_base64(text: &str) -> Result<Vec<u8>, NotBase64> {
    Ok(STANDARD.decode(text)?)
}

/// Returns the bytes whose base64 a JSON string holds.
pub fn decode_bytes(json: &str) -> Option<Vec<u8>> {
    from_base64(&serde_json::from_str::<std::borrow::Cow<'_, str>>(json).ok()?).ok()
}

/// Returns what is wrong with a text that is no JSON, without the place, in words for somebody who does not know the parser.
pub fn problem(error: &serde_json::Error) -> Cow<'static, str> {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(&*message, |(what, _)| what);
    match message {
        "expected value" => "no value begins".into(),
        "expected ident" => "a word that is none of true, false and null".into(),
        "trailing characters" => "more follows the value".into(),
        "key must be a string" => "a name that is not in quotes".into(),
        _ => match message.strip_prefix("EOF while parsing ") {
            Some(what) => format!("it breaks off within {what}").into(),
            None => message.to_owned().into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_in_no_word_of_the_parser() {
        for (text, wanted) in [
            ("hello", "no value begins"),
            ("[1,2", "it breaks off within a list"),
            ("{\"a\": ", "it breaks off within a value"),
            ("tag", "a word that is none of true, false and null"),
            ("1 2", "more follows the value"),
            ("{a: 1}", "a name that is not in quotes"),
            ("[1,]", "trailing comma"),
            ("[1 2]", "expected `,` or `]`"),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(text).expect_err(text);
            assert_eq!(problem(&error), wanted, "{text}");
        }
    }
}
