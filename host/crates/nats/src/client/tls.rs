//! TLS between a socket that one thread reads and others write.
//!
//! The state of a connection is behind a lock that nobody holds while waiting for the network. So a reader is not kept
//! waiting by a writer whose server does not read, which may be because it waits for the reader.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection};

/// Maximum number of bytes that are sealed at a time, so that the library keeps no more.
const PIECE: usize = 16 << 10;

/// Error: there is no TLS between this side and the server.
#[derive(Debug)]
pub enum HandshakeError {
    /// No authority that is believed has signed the server's certificate.
    UnknownAuthority(String),
    /// The server is not believed to be the one that was named, for another reason.
    Certificate(String),
    Io(io::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(e: io::Error) -> HandshakeError {
        match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            // An authority of the same name as the one that is believed has another key.
            Some(
                why @ rustls::Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                ),
            ) => HandshakeError::UnknownAuthority(why.to_string()),
            Some(why @ rustls::Error::InvalidCertificate(_)) => HandshakeError::Certificate(why.to_string()),
            _ => HandshakeError::Io(e),
        }
    }
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
    pub fn handshake(
        config: Arc<ClientConfig>,
        host: &str,
        stream: &mut (impl Read + Write),
    ) -> Result<Tls, HandshakeError> {
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
