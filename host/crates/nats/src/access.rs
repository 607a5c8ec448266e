//! How the message system is reached: where it is, which servers are believed to be it, and who this program is to it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

use crate::nkey::{BadSeed, UserKey};
use crate::url::BrokerUrl;
use wasmpool_core::chain::with_sources;
use wasmpool_core::text::ForeignText;
use wasmpool_run::error::Error;

/// Maximum bytes of a file of credentials, and of certificates.
const MOST_CREDENTIALS: u64 = 64 << 10;
const MOST_CERTIFICATES: u64 = 16 << 20;
/// The lines between which credentials have the JWT, and the seed.
const JWT: &str = "NATS USER JWT";
const SEED: &str = "USER NKEY SEED";

/// A reason why a file that the user named for the connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("cannot read {}, {}", .what, ForeignText::of(.path))]
    Unreadable { what: AccessFile, path: PathBuf, source: io::Error },
    #[error("{} is too large for {what}", ForeignText::of(.path))]
    TooLarge { what: AccessFile, path: PathBuf },
    #[error(
        "every user of this machine may open {what}, {}: take that from them (chmod o-rwx), or have a new key made if they have",
        ForeignText::of(.path)
    )]
    OpenToOthers { what: AccessFile, path: PathBuf },
    #[error("{} is no file of credentials: it has no part -----BEGIN {part}-----", ForeignText::of(.path))]
    NoCredentials { path: PathBuf, part: &'static str },
    #[error("{} is a file of credentials, with a JWT, and not the seed of an nkey alone", ForeignText::of(.path))]
    CredentialsForSeed { path: PathBuf },
    #[error(
        "the nkey is given as itself and not as a file that holds it: others can see it there, so have a new one made, and name its file"
    )]
    SeedForFile,
    #[error("{} has no seed of an nkey: it begins with SU, and is as nsc or nk wrote it", ForeignText::of(.path))]
    NoSeed { path: PathBuf },
    #[error("the seed in {} is not that of a user, whose seeds begin with SU", ForeignText::of(.path))]
    NotOfUser { path: PathBuf },
    #[error("{} has no certificate in it (-----BEGIN CERTIFICATE-----)", ForeignText::of(.path))]
    NoCertificate { path: PathBuf },
    #[error("a certificate in {} cannot be used: {}", ForeignText::of(.path), ForeignText::of(.why))]
    BadCertificate { path: PathBuf, why: String },
    #[error(
        "this machine has no certificates of authorities (package ca-certificates); name one that signed the server's"
    )]
    NoRoots,
    #[error("TLS is not available: {0}")]
    Tls(String),
}

impl From<AccessError> for Error {
    fn from(e: AccessError) -> Error {
        Error::Broker(with_sources(&e))
    }
}

/// What such a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFile {
    Credentials,
    Seed,
    Certificates,
}

impl fmt::Display for AccessFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AccessFile::Credentials => "the credentials",
            AccessFile::Seed => "the nkey",
            AccessFile::Certificates => "the certificates of authorities",
        })
    }
}

/// A file by which this program logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityFile {
    /// A JWT and the seed of the nkey that it is for, as `nsc` writes them.
    Credentials(PathBuf),
    /// The seed of an nkey that the server knows.
    Seed(PathBuf),
}

/// Who this program is to the server. It is not shown, nor sent: the key signs what the server asks to have signed.
pub struct Identity {
    key: UserKey,
    jwt: Option<String>,
}

/// Returns true if a text looks like the seed of a key, whatever that is for and if it is complete or not.
fn looks_like_seed(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    text.len() > 50 && text.starts_with('S') && text.chars().all(letters)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("key", &self.public_key()).finish_non_exhaustive()
    }
}

impl IdentityFile {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`AccessError`] names the file.
    pub fn read(&self) -> Result<Identity, AccessError> {
        let (what, path) = match self {
            IdentityFile::Credentials(path) => (AccessFile::Credentials, path),
            IdentityFile::Seed(path) => (AccessFile::Seed, path),
        };
        if path.to_str().is_some_and(looks_like_seed) {
            return Err(AccessError::SeedForFile);
        }
        let text = read(what, path, MOST_CREDENTIALS, true)?;
        let text = String::from_utf8_lossy(&text);
        let path = path.clone();
        let (seed, jwt) = match what {
            AccessFile::Credentials => {
                let part =
                    |name| block(&text, name).ok_or(AccessError::NoCredentials { path: path.clone(), part: name });
                (part(SEED)?, Some(part(JWT)?.to_owned()))
            }
            _ if block(&text, JWT).is_some() => return Err(AccessError::CredentialsForSeed { path }),
            // Tools that make a key may print the public one too.
            _ => (text.lines().map(str::trim).find(|line| line.starts_with('S')).unwrap_or_default(), None),
        };
        match UserKey::of_seed(seed) {
            Ok(key) => Ok(Identity { key, jwt }),
            Err(BadSeed::Form) => Err(AccessError::NoSeed { path }),
            Err(BadSeed::NotOfUser) => Err(AccessError::NotOfUser { path }),
        }
    }
}

impl Identity {
    /// Returns the key by which a server knows this identity.
    pub fn public_key(&self) -> String {
        self.key.public()
    }

    pub(crate) fn jwt(&self) -> Option<&str> {
        self.jwt.as_deref()
    }

    /// Signs what the server asks to have signed.
    pub(crate) fn sign(&self, nonce: &str) -> String {
        self.key.sign(nonce)
    }
}

/// Returns the line between the lines that begin and end a part of credentials.
fn block<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let marks = |line: &str, word: &str| line.starts_with("---") && line.contains(&format!("{word} {name}"));
    let mut lines = text.lines().map(str::trim).skip_while(|line| !marks(line, "BEGIN")).skip(1);
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with("---"))
}

/// Reads a file, which others must not be able to read if it is `secret`. That its group may is how services are given theirs.
fn read(what: AccessFile, path: &Path, most: u64, secret: bool) -> Result<Vec<u8>, AccessError> {
    let unreadable = |source| AccessError::Unreadable { what, path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if secret && mode & 0o007 != 0 {
        return Err(AccessError::OpenToOthers { what, path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > most {
        true => Err(AccessError::TooLarge { what, path: path.to_owned() }),
        false => Ok(bytes),
    }
}

/// The way to the message system.
#[derive(Clone, Debug)]
pub struct BrokerAccess {
    pub url: BrokerUrl,
    authorities: Option<Arc<RootCertStore>>,
    login: Option<(IdentityFile, Arc<Identity>)>,
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl BrokerAccess {
    /// Returns the way to this server. Its certificate has to be signed by one of `authorities`, or by one that this system
    /// knows, where none are named.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if a file cannot be used.
    pub fn new(
        url: BrokerUrl,
        authorities: Option<&Path>,
        login: Option<IdentityFile>,
    ) -> Result<BrokerAccess, AccessError> {
        let authorities = authorities.map(roots_of).transpose()?.map(Arc::new);
        let login = login.map(|file| file.read().map(|identity| (file, Arc::new(identity)))).transpose()?;
        Ok(BrokerAccess { url, authorities, login, tls: Arc::default() })
    }

    /// Returns the identity to log in with. Credentials are exchanged before they expire, so the file is read again.
    pub(crate) fn identity(&self) -> Option<Arc<Identity>> {
        let (file, first) = self.login.as_ref()?;
        Some(file.read().map_or_else(|_| first.clone(), Arc::new))
    }

    /// Returns the error of a program that cannot reach this server.
    pub(crate) fn unreachable(&self, why: impl fmt::Display) -> Error {
        Error::Broker(format!(
            "{self} cannot be reached: {why}; is the server started, with JetStream (nats-server -js)?"
        ))
    }

    /// Returns in words that the first connection is tried for this time in all, and not made yet.
    pub(crate) fn not_yet_reached(&self, why: impl fmt::Display, time: Duration) -> String {
        format!("{self} cannot be reached yet: {why}; it is tried for {} s", time.as_secs())
    }

    /// Returns in words that the first connection is made, after it was told that it is not.
    pub(crate) fn reached_at_last(&self) -> String {
        format!("{self} is reached")
    }

    /// Returns in words that there is a connection again.
    pub(crate) fn reached_again(&self) -> String {
        format!("{self} is there again")
    }

    /// Returns in words that this server does not permit what `what` needs; `why` is what it says.
    pub(crate) fn denial(&self, what: impl fmt::Display, why: &str) -> String {
        format!("{self} does not permit what {what} needs: {}", ForeignText::of(why))
    }

    /// Returns the settings of TLS.
    pub(crate) fn tls(&self) -> Result<Arc<ClientConfig>, AccessError> {
        if let Some(config) = self.tls.get() {
            return Ok(config.clone());
        }
        let roots = match &self.authorities {
            Some(roots) => roots.clone(),
            None => Arc::new(roots_of_system()?),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| AccessError::Tls(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(self.tls.get_or_init(|| Arc::new(config)).clone())
    }
}

impl fmt::Display for BrokerAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

fn roots_of(path: &Path) -> Result<RootCertStore, AccessError> {
    let bytes = read(AccessFile::Certificates, path, MOST_CERTIFICATES, false)?;
    let bad = |why: String| AccessError::BadCertificate { path: path.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|e| bad(broken(e)))?;
        // The library's words are for the certificate of a server.
        roots.add(certificate).map_err(|_| bad("it is not the whole of one, or damaged".to_owned()))?;
    }
    match roots.is_empty() {
        true => Err(AccessError::NoCertificate { path: path.to_owned() }),
        false => Ok(roots),
    }
}

/// Says what is wrong with a text that is to be a certificate.
fn broken(error: pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("it has no end, -----END {}-----: is the file complete?", String::from_utf8_lossy(&end_marker))
        }
        pem::Error::IllegalSectionStart { line } => format!("{} begins none", String::from_utf8_lossy(&line)),
        pem::Error::Base64Decode(_) => "it has characters that are not of base64".to_owned(),
        other => other.to_string(),
    }
}

/// Returns the authorities that this system knows: so one that a company has installed is believed here too.
fn roots_of_system() -> Result<RootCertStore, AccessError> {
    let mut roots = RootCertStore::empty();
    // Some that are too old for this library are in most systems.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(AccessError::NoRoots) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::nkey::tests::{ACCOUNT, seed as seed_of, user_seed};

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    fn credentials(jwt: &str, seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }

    #[test]
    fn an_identity_is_read_from_credentials_and_from_a_seed() {
        let seed = user_seed();
        let public = UserKey::of_seed(&seed).ok().unwrap().public();
        for text in [credentials("a.b.c", &seed), credentials("a.b.c", &seed).replace('\n', "\r\n")] {
            let file = file(&text, 0o640);
            let identity = IdentityFile::Credentials(file.path().to_owned()).read().unwrap();
            assert_eq!((identity.public_key(), identity.jwt()), (public.clone(), Some("a.b.c")));
        }
        for text in [seed.clone(), format!("{seed}\n{public}\n"), format!("{public}\n {seed} ")] {
            let file = file(&text, 0o600);
            let identity = IdentityFile::Seed(file.path().to_owned()).read().unwrap();
            assert_eq!((identity.public_key(), identity.jwt()), (public.clone(), None));
        }
    }

    #[test]
    fn a_file_that_is_no_identity_is_refused_by_its_name_and_never_shown() {
        let seed = user_seed();
        let account = seed_of(ACCOUNT, [7; 32]);
        let half = &seed[..40];
        for (text, mode, expected) in [
            (credentials("a.b.c", &seed), 0o604, "every user of this machine"),
            (credentials("a.b.c", &account), 0o600, "not that of a user"),
            (credentials("a.b.c", half), 0o600, "has no seed"),
            (seed.clone(), 0o600, "BEGIN USER NKEY SEED"),
            (format!("-----BEGIN USER NKEY SEED-----\n{seed}\n"), 0o600, "BEGIN NATS USER JWT"),
            (String::new(), 0o600, "no file of credentials"),
            ("x".repeat(70_000), 0o600, "too large"),
        ] {
            let file = file(&text, mode);
            let error = IdentityFile::Credentials(file.path().to_owned()).read().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(file.path().to_str().unwrap()), "{error}");
            assert!(!error.contains(half), "{error}");
        }
        for (text, expected) in [
            (credentials("a.b.c", &seed), "a file of credentials"),
            (account, "not that of a user"),
            (half.to_owned(), "has no seed"),
            ("\u{0}\u{1}".to_owned(), "has no seed"),
        ] {
            let file = file(&text, 0o600);
            let error = IdentityFile::Seed(file.path().to_owned()).read().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let missing = IdentityFile::Seed("/nowhere/seed".into()).read().unwrap_err().to_string();
        assert!(missing.contains("/nowhere/seed"), "{missing}");
        let shown = file(&seed, 0o600);
        let shown = format!("{:?}", IdentityFile::Seed(shown.path().to_owned()).read().unwrap());
        assert!(!shown.contains(half), "{shown}");
    }

    #[test]
    fn authorities_are_read_and_what_is_none_is_refused() {
        let url = BrokerUrl::parse("tls://localhost").unwrap();
        for (text, expected) in [
            ("", "has no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "cannot be used: it is not the whole of one",
            ),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "it has no end, -----END CERTIFICATE-----: is the file complete?"),
            ("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "not of base64"),
        ] {
            let file = file(text, 0o644);
            let error = BrokerAccess::new(url.clone(), Some(file.path()), None).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
