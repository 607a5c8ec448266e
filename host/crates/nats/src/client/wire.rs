//! The protocol of NATS: lines of text, some of which announce bytes. What the server sends is read with bounds.

use std::io;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::access::Identity;

pub const PING: &[u8] = b"PING\r\n";
pub const PONG: &[u8] = b"PONG\r\n";

/// Maximum bytes of a line: that of INFO, which lists all servers, is the longest.
const MOST_LINE: usize = 64 << 10;
/// Maximum bytes of a message before the server has said its own.
const FIRST_PAYLOAD: usize = 1 << 20;
/// Maximum bytes of the headers of a message.
const MOST_HEADERS: usize = 64 << 10;
/// Maximum bytes of a message, whatever the server says.
const MOST_PAYLOAD: usize = 64 << 20;

/// What the server says of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct ServerInfo {
    #[serde(default)]
    pub version: String,
    pub max_payload: usize,
    #[serde(default)]
    pub jetstream: bool,
    /// The name of the servers that this one belongs to, if there are more.
    #[serde(default)]
    pub cluster: Option<String>,
    #[serde(default)]
    pub tls_required: bool,
    #[serde(default)]
    pub tls_available: bool,
    /// True if the server wants a certificate of its clients.
    #[serde(default)]
    pub tls_verify: bool,
    /// What a client has to sign to log in.
    #[serde(default)]
    pub nonce: Option<String>,
}

impl ServerInfo {
    /// Returns true if there is no JetStream: the server has none, and no others that may have it.
    pub fn lacks_jetstream(&self) -> bool {
        !self.jetstream && self.cluster.is_none()
    }

    /// Returns the number of bytes to send in a message where there are more: its headers have room beside them.
    pub fn longest_part(&self) -> usize {
        (self.max_payload / 2).max(1)
    }
}

/// What this client says of itself. It has no `Debug`, so that credentials get into no message.
#[derive(Serialize)]
pub struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'a str,
    lang: &'a str,
    version: &'a str,
    protocol: u8,
    echo: bool,
    headers: bool,
    no_responders: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

impl<'a> Connect<'a> {
    /// Returns what a client of this name says, which logs in as this identity where the server asks for one.
    pub fn new(name: &'a str, tls: bool, identity: Option<&'a Identity>, nonce: Option<&str>) -> Connect<'a> {
        let login = identity.zip(nonce);
        Connect {
            verbose: false,
            pedantic: false,
            tls_required: tls,
            name,
            lang: "wasmpool",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            echo: false,
            headers: true,
            no_responders: true,
            jwt: login.and_then(|(identity, _)| identity.jwt()),
            // A JWT has the key in it.
            nkey: login.filter(|(identity, _)| identity.jwt().is_none()).map(|(identity, _)| identity.public_key()),
            sig: login.map(|(identity, nonce)| identity.sign(nonce)),
        }
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub subject: String,
    pub reply: Option<String>,
    /// The code in its headers, with which the server says something itself.
    pub status: Option<u16>,
    pub payload: Bytes,
}

/// What the server sends.
#[derive(Debug)]
pub enum Operation {
    Info(ServerInfo),
    Message(Message),
    Ping,
    Pong,
    Ok,
    Error(String),
}

/// Appends the first lines that a client sends. The server answers the ping.
pub fn connect(connect: &Connect<'_>, to: &mut Vec<u8>) {
    to.extend_from_slice(b"CONNECT ");
    // Plain data can always be written.
    let _ = serde_json::to_writer(&mut *to, connect);
    to.extend_from_slice(b"\r\n");
    to.extend_from_slice(PING);
}

pub fn subscribe(subject: &str, number: usize, to: &mut Vec<u8>) {
    to.extend_from_slice(format!("SUB {subject} {number}\r\n").as_bytes());
}

pub fn publish(subject: &str, reply: Option<&str>, payload: &[&[u8]], to: &mut Vec<u8>) {
    let size: usize = payload.iter().map(|part| part.len()).sum();
    let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
    to.extend_from_slice(format!("PUB {subject} {reply}{size}\r\n").as_bytes());
    payload.iter().for_each(|part| to.extend_from_slice(part));
    to.extend_from_slice(b"\r\n");
}

pub fn publish_once(subject: &str, reply: &str, id: &str, payload: &[&[u8]], to: &mut Vec<u8>) {
    let headers = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n");
    let size: usize = headers.len() + payload.iter().map(|part| part.len()).sum::<usize>();
    to.extend_from_slice(format!("HPUB {subject} {reply} {} {size}\r\n{headers}", headers.len()).as_bytes());
    payload.iter().for_each(|part| to.extend_from_slice(part));
    to.extend_from_slice(b"\r\n");
}

/// Takes what the server sends apart, whatever pieces it comes in.
#[derive(Debug)]
pub struct Parser {
    buffer: BytesMut,
    most: usize,
    missing: usize,
}

impl Default for Parser {
    fn default() -> Parser {
        Parser { buffer: BytesMut::new(), most: FIRST_PAYLOAD, missing: 0 }
    }
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Parser {
    /// Appends bytes that came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the number of bytes without which the message is not complete that has begun to come, or 0. For these there is
    /// memory; with what follows them, it would have to be made twice as large.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Sets the maximum bytes of a message.
    pub fn allow(&mut self, payload: usize) {
        self.most = payload.min(MOST_PAYLOAD);
    }

    /// Returns the next operation, if it has arrived as a whole.
    pub fn next(&mut self) -> io::Result<Option<Operation>> {
        let Some(end) = memmem::find(&self.buffer, b"\r\n") else {
            return match self.buffer.len() > MOST_LINE {
                true => Err(broken("the server sends a line that never ends")),
                false => Ok(None),
            };
        };
        let line = self.buffer.get(..end).unwrap_or_default();
        let text = str::from_utf8(line).map_err(|_| broken("the server sends what is no text"))?;
        let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let operation = match word.to_ascii_uppercase().as_str() {
            "MSG" => return self.message(end, false),
            "HMSG" => return self.message(end, true),
            "PING" => Operation::Ping,
            "PONG" => Operation::Pong,
            "+OK" => Operation::Ok,
            "-ERR" => Operation::Error(rest.trim().trim_matches('\'').to_owned()),
            "INFO" => Operation::Info(
                serde_json::from_str(rest).map_err(|_| broken("the server says nothing readable of itself"))?,
            ),
            _ => return Err(broken("the server does not speak as NATS does")),
        };
        let _ = self.buffer.split_to(end + 2);
        Ok(Some(operation))
    }

    /// Returns the message that the line up to `end` announces, if it has arrived as a whole.
    fn message(&mut self, end: usize, with_headers: bool) -> io::Result<Option<Operation>> {
        let malformed = || broken("the server announces a message in a way that cannot be read");
        let line = str::from_utf8(self.buffer.get(..end).unwrap_or_default()).map_err(|_| malformed())?;
        let mut words: Vec<&str> = line.split_ascii_whitespace().skip(1).collect();
        let number = |word: Option<&str>| word.and_then(|word| word.parse::<usize>().ok()).ok_or_else(malformed);
        let size = number(words.pop())?;
        let headers = if with_headers { number(words.pop())? } else { 0 };
        let (subject, reply) = match words.as_slice() {
            [subject, _] => ((*subject).to_owned(), None),
            [subject, _, reply] => ((*subject).to_owned(), Some((*reply).to_owned())),
            _ => return Err(malformed()),
        };
        if headers > size || headers > MOST_HEADERS || size - headers > self.most {
            return Err(broken("the server sends a message that is longer than it may be"));
        }
        self.missing = (end + 2 + size + 2).saturating_sub(self.buffer.len());
        if self.missing > 0 {
            self.buffer.reserve(self.missing);
            return Ok(None);
        }
        let _ = self.buffer.split_to(end + 2);
        let head = self.buffer.split_to(headers);
        let payload = self.buffer.split_to(size - headers).freeze();
        if self.buffer.split_to(2).as_ref() != b"\r\n" {
            return Err(malformed());
        }
        Ok(Some(Operation::Message(Message { subject, reply, status: status(&head), payload })))
    }
}

/// Returns the code in the first line of headers, `NATS/1.0 404 No Messages`.
fn status(headers: &[u8]) -> Option<u16> {
    let line = headers.split(|&byte| byte == b'\r').next()?;
    str::from_utf8(line).ok()?.strip_prefix("NATS/1.0 ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]]) -> io::Result<Vec<Operation>> {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for piece in pieces {
            parser.feed(piece);
            while let Some(operation) = parser.next()? {
                found.push(operation);
            }
        }
        Ok(found)
    }

    #[test]
    fn messages_are_read_with_and_without_headers_and_replies() {
        let sent = b"MSG a.b 1 3\r\nabc\r\nMSG a 2 _INBOX.x 0\r\n\r\n+OK\r\nHMSG a 1 r 28 30\r\nNATS/1.0 404 No Messages\r\n\r\nhi\r\nPING\r\n";
        let read = all(&[sent]).unwrap();
        let message = |subject: &str, reply: Option<&str>, status, payload: &'static [u8]| Message {
            subject: subject.to_owned(),
            reply: reply.map(str::to_owned),
            status,
            payload: Bytes::from_static(payload),
        };
        match &read[..] {
            [Operation::Message(a), Operation::Message(b), Operation::Ok, Operation::Message(c), Operation::Ping] => {
                assert_eq!(*a, message("a.b", None, None, b"abc"));
                assert_eq!(*b, message("a", Some("_INBOX.x"), None, b""));
                assert_eq!(*c, message("a", Some("r"), Some(404), b"hi"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_server_cannot_have_more_memory_taken_than_a_message_may_have() {
        for bad in [
            &b"MSG a 1 999999999999\r\n"[..],
            b"MSG a 1 -1\r\n",
            b"MSG a 1 99999999999999999999999\r\n",
            b"HMSG a 1 9 3\r\n",
            b"HMSG a 1 70000 70000\r\n",
            b"MSG a\r\n",
            b"HELLO\r\n",
            b"INFO {}\r\n",
            b"MSG a 1 1\r\nabc\r\n",
            &[b'x'; MOST_LINE + 1],
        ] {
            all(&[bad]).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_is_read_in_whatever_pieces_it_comes(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6),
            size in 1..50usize,
        ) {
            let mut sent = Vec::new();
            for payload in &payloads {
                // As the server passes it on.
                publish("s", Some("7"), &[payload], &mut sent);
            }
            let sent: Vec<u8> = {
                let mut as_server = Vec::new();
                let mut rest = &sent[..];
                while let Some(at) = memmem::find(rest, b"PUB ").filter(|&at| at == 0) {
                    as_server.extend_from_slice(b"MSG ");
                    let line = memmem::find(rest, b"\r\n").unwrap();
                    let size: usize = str::from_utf8(&rest[..line]).unwrap().rsplit(' ').next().unwrap().parse().unwrap();
                    as_server.extend_from_slice(&rest[at + 4..line + 2 + size + 2]);
                    rest = &rest[line + 2 + size + 2..];
                }
                as_server
            };
            let pieces: Vec<&[u8]> = sent.chunks(size).collect();
            let read = all(&pieces).unwrap();
            let back: Vec<Vec<u8>> = read.into_iter().map(|operation| match operation {
                Operation::Message(message) => message.payload.to_vec(),
                other => panic!("{other:?}"),
            }).collect();
            prop_assert_eq!(back, payloads);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), start in "(MSG|HMSG|INFO|) ?.{0,9}") {
            let _ = all(&[start.as_bytes(), &bytes, b"\r\n"]);
        }
    }
}
