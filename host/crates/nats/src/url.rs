//! Where the message system is.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

/// The port of NATS, where none is named.
const PORT: u16 = 4222;

/// The address of a NATS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    host: String,
    port: u16,
    /// True if nothing is said to a server without TLS.
    tls: bool,
}

/// Error: a URL is none that this program can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("it is no URL of a NATS server, such as tls://nats.example.com:4222 or nats://127.0.0.1:4222")]
    Form,
    #[error(
        "passwords in a URL are not taken, since others can see them there: log in by a file of credentials or by an nkey"
    )]
    Password,
    #[error(
        "items would go over the network in plain text: only a server on this machine is used without TLS; use tls:// in place of nats://"
    )]
    NotLoopback,
}

impl BrokerUrl {
    /// Parses a URL. Without TLS, only loopback addresses are taken.
    ///
    /// # Errors
    ///
    /// [`UrlError`] says what is not taken.
    pub fn parse(text: &str) -> Result<BrokerUrl, UrlError> {
        let (rest, tls) = match text.split_once("://") {
            Some(("nats", rest)) => (rest, false),
            Some(("tls", rest)) => (rest, true),
            _ => return Err(UrlError::Form),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err(UrlError::Password);
        }
        let (host, port) = match rest.rsplit_once(':') {
            // The colons of an address of IPv6 are in brackets.
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| UrlError::Form)?),
            _ => (rest, PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_');
        if host.is_empty() || !host.chars().all(plain) {
            return Err(UrlError::Form);
        }
        let loopback = match host.parse::<std::net::IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => host == "localhost",
        };
        match tls || loopback {
            true => Ok(BrokerUrl { host: host.to_owned(), port, tls }),
            false => Err(UrlError::NotLoopback),
        }
    }

    /// Returns true if nothing is said to a server without TLS.
    pub(crate) fn wants_tls(&self) -> bool {
        self.tls
    }

    /// Returns the name or address that the server's certificate has to be for.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Looks up the addresses. Without TLS, a name that leads elsewhere than to this machine is refused here.
    pub(crate) fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        let addresses: Vec<SocketAddr> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        match self.tls || addresses.iter().all(|address| address.ip().is_loopback()) {
            true => Ok(addresses),
            false => Err(std::io::Error::other(UrlError::NotLoopback)),
        }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_on_this_machine_is_taken_without_tls() {
        for (text, shown) in [
            ("nats://127.0.0.1:4333", "nats://127.0.0.1:4333"),
            ("nats://localhost", "nats://localhost:4222"),
            ("nats://[::1]:1/", "nats://[::1]:1"),
            ("nats://[::1]", "nats://[::1]:4222"),
            ("tls://127.0.0.1", "tls://127.0.0.1:4222"),
            ("tls://nats.example.com:4333/", "tls://nats.example.com:4333"),
            ("tls://[2001:db8::1]", "tls://[2001:db8::1]:4222"),
        ] {
            assert_eq!(BrokerUrl::parse(text).unwrap().to_string(), shown);
        }
        for (text, error) in [
            ("nats://10.0.0.1:4222", UrlError::NotLoopback),
            ("nats://example.com", UrlError::NotLoopback),
            ("nats://localhost.example.com", UrlError::NotLoopback),
            ("tls://me:secret@nats.example.com", UrlError::Password),
            ("tls://", UrlError::Form),
            ("nats://me:secret@127.0.0.1", UrlError::Password),
            ("127.0.0.1:4222", UrlError::Form),
            ("http://127.0.0.1", UrlError::Form),
            ("nats://", UrlError::Form),
            ("nats://127.0.0.1:x", UrlError::Form),
            ("nats://a b", UrlError::Form),
        ] {
            assert_eq!(BrokerUrl::parse(text).unwrap_err(), error, "{text}");
        }
    }
}
