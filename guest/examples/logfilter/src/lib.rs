//! Parses lines of a web server's log, in the common or the combined format, into
//! records. Lines of anything else become nothing.

mod fields;
mod time;

use exports::wasmpool::logfilter::parser::{Entry, Guest, Request};
use fields::Fields;

wit_bindgen::generate!();

struct LogFilter;
export!(LogFilter);

impl Guest for LogFilter {
    fn parse(line: String) -> Option<Entry> {
        entry(&line)
    }
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = Fields::new(line.trim_end());
    let host = fields.word()?.to_owned();
    let identity = present(fields.word()?);
    let user = present(fields.word()?);
    let time = time::rfc3339(fields.bracketed()?)?;
    let request = request(&fields.quoted()?);
    let status = fields.word()?.parse().ok()?;
    let size = match fields.word()? {
        "-" => None,
        digits => Some(digits.parse().ok()?),
    };
    // The common format ends here; servers may add fields after the combined one.
    let (referer, user_agent) =
        if fields.is_empty() { (None, None) } else { (present(&fields.quoted()?), present(&fields.quoted()?)) };
    Some(Entry { host, identity, user, time, request, status, size, referer, user_agent })
}

fn request(line: &str) -> Option<Request> {
    let (method, rest) = line.split_once(' ')?;
    let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    if !is_method {
        return None;
    }
    // Careless clients leave spaces in the path: the protocol is what is last.
    let (path, protocol) = match rest.rsplit_once(' ') {
        Some((path, protocol)) if protocol.starts_with("HTTP/") => (path, Some(protocol)),
        _ => (rest, None),
    };
    Some(Request { method: method.to_owned(), path: path.to_owned(), protocol: protocol.map(str::to_owned) })
}

fn present(field: &str) -> Option<String> {
    (field != "-").then(|| field.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = r#"192.0.2.7 - ada [10/Oct/2025:13:55:36 -0700] "GET /a b HTTP/1.1" 200 2326"#;

    #[test]
    fn reads_the_common_format() {
        let entry = entry(COMMON).unwrap();
        assert_eq!(entry.host, "192.0.2.7");
        assert_eq!(entry.identity, None);
        assert_eq!(entry.user.as_deref(), Some("ada"));
        assert_eq!(entry.time, "2025-10-10T13:55:36-07:00");
        let request = entry.request.unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/a b"));
        assert_eq!(request.protocol.as_deref(), Some("HTTP/1.1"));
        assert_eq!((entry.status, entry.size), (200, Some(2326)));
        assert_eq!((entry.referer, entry.user_agent), (None, None));
    }

    #[test]
    fn reads_the_combined_format_and_its_escapes() {
        let entry = entry(&format!(r#"{COMMON} "-" "say \"hi\"" extra"#)).unwrap();
        assert_eq!(entry.referer, None);
        assert_eq!(entry.user_agent.as_deref(), Some(r#"say "hi""#));
    }

    #[test]
    fn a_request_that_is_not_http_keeps_its_line() {
        let line = r#"::1 - - [10/Oct/2025:13:55:36 +0000] "\x16\x03\x01" 400 -"#;
        let entry = entry(line).unwrap();
        assert!(entry.request.is_none());
        assert_eq!((entry.status, entry.size), (400, None));
    }

    #[test]
    fn what_is_no_log_line_is_none() {
        for line in ["", "# comment", "a b c", &COMMON[..40], &COMMON.replace("200", "2OO")] {
            assert!(entry(line).is_none(), "{line}");
        }
    }
}
