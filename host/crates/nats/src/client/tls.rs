//! TLS between a socket that one thread reads and others write.
//!
//! The state of a connection is behind a lock that nobody holds while waiting for the network. So a reader is not kept
//! waiting by a writer whose server does not read, which may be because it waits for the reader.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection};

use super::ConnectionRefused;

/// Maximum number of bytes that are sealed at a time, so that the library keeps no more.
const PIECE: usize = 16 << 10;

/// Returns why one side refuses the other, if that is what this error says.
pub fn refusal(error: &io::Error) -> Option<ConnectionRefused> {
    use rustls::{Error, PeerIncompatible};
    match error.get_ref()?.downcast_ref::<Error>()? {
        // An authority of the same name as the one that is believed has another key.
        Error::InvalidCertificate(why @ (CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            Some(ConnectionRefused::UnknownAuthority(in_words(why)))
        }
        Error::InvalidCertificate(why) => Some(ConnectionRefused::Certificate(in_words(why))),
        Error::AlertReceived(AlertDescription::CertificateRequired) => Some(ConnectionRefused::ClientCertificate),
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => Some(ConnectionRefused::OldTls),
        _ => None,
    }
}

/// Says what is wrong with a certificate, and what helps.
fn in_words(error: &CertificateError) -> String {
    use CertificateError::*;
    let said = match error {
        UnknownIssuer => "no authority that is believed has signed it",
        BadSignature => {
            "its signature does not hold: another authority of the same name as one that is believed has signed it, or a key of \
             RSA has less than 2048 bits"
        }
        Expired | ExpiredContext { .. } => "it has expired: the server needs a new one",
        NotValidYet | NotValidYetContext { .. } => "it is not valid yet: is the clock of this machine right?",
        InvalidPurpose | InvalidPurposeContext { .. } => {
            "it is not for servers: its extended key usage has no serverAuth"
        }
        BadEncoding => "it cannot be read",
        NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| plain_name(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            return format!("it is not for {} but for {names}: name the server as it does", expected.to_str());
        }
        // The library has no name of its own for it.
        Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "it is that of an authority, or has signed itself: the server needs one that an authority has signed for it, with CA:FALSE"
        }
        other => return other.to_string(),
    };
    said.to_owned()
}

/// Returns the name in the library's words for one, such as `DnsName("localhost")`.
fn plain_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// One connection's TLS.
#[derive(Debug)]
pub struct Tls {
    connection: Mutex<ClientConnection>,
    /// True if the server has said that nothing more comes.
    is_closed: AtomicBool,
}

impl Tls {
    /// Agrees with the server on keys, once its certificate is found to be for this host.
    pub fn handshake(config: Arc<ClientConfig>, host: &str, stream: &mut (impl Read + Write)) -> io::Result<Tls> {
        let host = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(config, host).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(stream)?;
        }
        Ok(Tls { connection: Mutex::new(connection), is_closed: AtomicBool::new(false) })
    }

    /// Returns true if the server has said that nothing more comes.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, ClientConnection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the bytes to send for these. What was sealed first has to be sent first.
    pub fn seal(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut connection = self.lock();
        let mut sealed = Vec::with_capacity(bytes.len() + bytes.len() / 64 + 64);
        for piece in bytes.chunks(PIECE) {
            connection.writer().write_all(piece)?;
            while connection.wants_write() {
                connection.write_tls(&mut sealed)?;
            }
        }
        Ok(sealed)
    }

    /// Opens what came, and gives the bytes to `take`.
    pub fn open(&self, mut received: &[u8], mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut connection = self.lock();
        let mut bytes = [0; PIECE];
        while !received.is_empty() {
            connection.read_tls(&mut received)?;
            let state = connection.process_new_packets().map_err(io::Error::other)?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let count = connection.reader().read(&mut bytes)?;
                take(bytes.get(..count).unwrap_or_default());
                left = left.saturating_sub(count.max(1));
            }
            if state.peer_has_closed() {
                self.is_closed.store(true, Ordering::Relaxed);
                break;
            }
        }
        Ok(())
    }
}
