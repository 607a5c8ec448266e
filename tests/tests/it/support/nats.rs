//! A client of a NATS server that says whatever a test wants to have said, and keys to log in with.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// The first bytes of the texts of a user's seed and public key.
const USER: [u8; 1] = [20 << 3];
const SEED_OF_USER: [u8; 2] = [18 << 3 | USER[0] >> 5, (USER[0] & 31) << 3];

/// The key of a user.
#[derive(Clone)]
pub struct UserKey {
    seed: [u8; 32],
}

impl UserKey {
    pub fn new() -> UserKey {
        let mut seed = [0; 32];
        fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed)).expect("random bytes");
        UserKey { seed }
    }

    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.seed).expect("32 bytes")
    }

    pub fn public(&self) -> String {
        text(&USER, self.pair().public_key().as_ref())
    }

    /// Returns the public key as that of an account (`A`) or an operator (`O`).
    pub fn public_of(&self, letter: char) -> String {
        let kind = if letter == 'O' { 14 << 3 } else { 0 };
        text(&[kind], self.pair().public_key().as_ref())
    }

    pub fn seed(&self) -> String {
        text(&SEED_OF_USER, &self.seed)
    }

    pub fn sign(&self, text: &str) -> String {
        BASE64URL_NOPAD.encode(self.pair().sign(text.as_bytes()).as_ref())
    }

    /// Writes the seed into a file that only this user can read.
    pub fn write(&self, path: PathBuf) -> PathBuf {
        fs::write(&path, self.seed()).expect("a file of the test");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file of the test");
        path
    }
}

/// Writes a key as NATS does: what it is, its bytes and a checksum, in base 32.
fn text(kind: &[u8], bytes: &[u8]) -> String {
    let mut all = [kind, bytes].concat();
    let sum = all.iter().fold(0_u16, |sum, &byte| {
        (0..8).fold(sum ^ u16::from(byte) << 8, |sum, _| if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 })
    });
    all.extend_from_slice(&sum.to_le_bytes());
    BASE32_NOPAD.encode(&all)
}

/// Something that the server sends.
#[derive(Debug)]
pub enum Heard {
    Message { subject: String, reply: String, payload: Vec<u8> },
    Error(String),
    Pong,
}

/// A connection, over which a test says what it wants.
pub struct Speaker {
    to: TcpStream,
    from: BufReader<TcpStream>,
    subscriptions: u32,
}

impl Speaker {
    /// Logs in.
    pub fn connect(port: u16, key: &UserKey) -> Speaker {
        let to = TcpStream::connect(("127.0.0.1", port)).expect("the server takes connections");
        to.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let mut from = BufReader::new(to.try_clone().expect("a socket"));
        let mut line = String::new();
        from.read_line(&mut line).expect("the server greets");
        let info: Value = serde_json::from_str(line.strip_prefix("INFO ").expect("a greeting")).expect("JSON");
        let nonce = info["nonce"].as_str().unwrap_or_default();
        let hello = json!({
            "verbose": false, "pedantic": false, "protocol": 1, "headers": true, "no_responders": true, "lang": "test",
            "nkey": key.public(), "sig": key.sign(nonce),
        });
        let mut speaker = Speaker { to, from, subscriptions: 0 };
        speaker.write(format!("CONNECT {hello}\r\n").as_bytes());
        assert_eq!(speaker.settle(), Vec::<String>::new(), "the server refuses the test's own client");
        speaker
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.to.write_all(bytes).expect("the server reads");
    }

    pub fn subscribe(&mut self, subject: &str) {
        self.subscriptions += 1;
        self.write(format!("SUB {subject} {}\r\n", self.subscriptions).as_bytes());
    }

    pub fn publish(&mut self, subject: &str, reply: &str, payload: &[u8]) {
        self.write(format!("PUB {subject} {reply} {}\r\n", payload.len()).as_bytes());
        self.write(payload);
        self.write(b"\r\n");
    }

    /// Asks, and returns the answer.
    pub fn ask(&mut self, subject: &str, payload: &[u8]) -> Vec<u8> {
        let answer = format!("answer.{}", self.subscriptions);
        self.subscribe(&answer);
        self.publish(subject, &answer, payload);
        loop {
            if let Heard::Message { subject, payload, .. } = self.next()
                && subject == answer
            {
                return payload;
            }
        }
    }

    /// Waits until the server has read all that was written, and returns the errors that it told meanwhile.
    pub fn settle(&mut self) -> Vec<String> {
        self.write(b"PING\r\n");
        let mut errors = Vec::new();
        loop {
            match self.next() {
                Heard::Pong => return errors,
                Heard::Error(error) => errors.push(error),
                Heard::Message { .. } => {}
            }
        }
    }

    /// Returns what the server sends next.
    pub fn next(&mut self) -> Heard {
        loop {
            let mut line = String::new();
            assert!(self.from.read_line(&mut line).expect("the server says something") > 0, "the server has hung up");
            let line = line.trim_end();
            let words: Vec<&str> = line.split(' ').collect();
            let sized = |at: usize| words[words.len() - at].parse::<usize>().expect("a number");
            let (headers, size, named) = match words[0] {
                "MSG" => (0, sized(1), words.len() == 5),
                "HMSG" => (sized(2), sized(1), words.len() == 6),
                "PING" => {
                    self.write(b"PONG\r\n");
                    continue;
                }
                "PONG" => return Heard::Pong,
                "-ERR" => return Heard::Error(line.to_owned()),
                _ => continue,
            };
            let mut bytes = vec![0; size + 2];
            self.from.read_exact(&mut bytes).expect("a message");
            bytes.truncate(size);
            let reply = if named { words[3].to_owned() } else { String::new() };
            return Heard::Message { subject: words[1].to_owned(), reply, payload: bytes.split_off(headers) };
        }
    }
}

/// A certificate's authority, and a server's certificate that it has signed.
pub struct Certificates {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    /// Makes certificates for a server at 127.0.0.1, of which that of the server is changed before it is signed.
    pub fn new(folder: &Path, name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Certificates {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let mut of_authority = CertificateParams::default();
        of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("a key");
        let authority = of_authority.self_signed(&authority_key).expect("a certificate");
        let mut of_server = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
        change(&mut of_server);
        let key = KeyPair::generate().expect("a key");
        let certificate = of_server.signed_by(&key, &Issuer::new(of_authority, authority_key)).expect("a certificate");
        let write = |part: &str, text: String| {
            let path = folder.join(format!("{name}.{part}.pem"));
            fs::write(&path, text).expect("a file of the test");
            path
        };
        Certificates {
            authority: write("authority", authority.pem()),
            certificate: write("certificate", certificate.pem()),
            key: write("key", key.serialize_pem()),
        }
    }
}
