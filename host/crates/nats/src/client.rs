//! A connection to a NATS server, which is made again for as long as it is wanted.
//!
//! One thread reads, and tells what came; whoever has the [`Client`] writes. What is written while there is no connection
//! is dropped: all that is said over it is said again until it is answered.
//!
//! The protocol of NATS is a few lines of text ([`wire`]), and TLS is that of rustls. The crate `async-nats` is not between
//! them: it changes the features of crates that wasmtime shares (`tokio`, `bytes`, `futures`, `tracing`, and `semver` by the
//! crate `nkeys`), so that wasmtime would be compiled a second time for all that does not have it; and it keeps what is written
//! without a connection for the next one, where it would come a second time.

mod first;
mod outage;
mod tls;
mod wire;

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::access::{AccessError, BrokerAccess};
pub use first::FIRST_CONNECTION;
use first::{FirstConnection, Missing};
pub use outage::{Cuts, Outage};
use tls::Tls;
use wasmpool_core::text::ForeignText;
use wasmpool_run::error::Error;
use wasmpool_run::scarce::start_thread;
use wire::{Connect, Operation, Parser};
pub use wire::{Message, ServerInfo};

/// Time without anything from the server after which it is asked whether it is there.
const IDLE: Duration = Duration::from_secs(1);
/// Number of such questions in a row without an answer after which the connection is given up.
const MOST_UNANSWERED: u32 = 5;
/// Time that connecting, greeting, and writing may take each.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time for which the server is waited for at a time while it greets.
const GREETING: Duration = Duration::from_millis(250);
/// The pauses between tries to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Time for which a connection has to last for the next pause to be the first again.
const STEADY: Duration = Duration::from_secs(5);
/// Time without anything from the server after which the silence of others means nothing.
pub const BROKER_SILENCE: Duration = Duration::from_secs(3);
/// Number of bytes that are gathered before they are written.
const GATHERED: usize = 64 << 10;
/// Number of bytes of messages that may wait to be handled, and what each counts beside its payload.
const MOST_WAITING: usize = 16 << 20;
const OF_MESSAGE: usize = 256;

/// Something that happened to a connection.
#[derive(Debug)]
pub enum ClientEvent {
    Connected(ServerInfo),
    /// There is no first connection yet: this is for the user, and told once. It is tried again.
    NotYet(String),
    /// There is no first connection, and none is tried any more: the program ends with this error.
    Never(Error),
    /// There is none any more, or still none if it was not made before, for this reason. It is tried again.
    Disconnected {
        why: io::Error,
        was_made: bool,
    },
    /// Server and client do not come together again, for a reason that lasts. It is tried again all the same.
    Refused(ConnectionRefused),
    /// The server lets this client not do something, in its own words.
    Denied(String),
    /// A message, which counts as waiting to be handled until its second part is dropped.
    Message(Message, Waiting),
}

/// The bytes of messages that came and are not handled yet. Where they are too many nothing more is read, so that whoever
/// sends without end fills the server's memory rather than this program's.
#[derive(Debug, Default)]
struct Backlog {
    bytes: Mutex<usize>,
    fewer: Condvar,
}

/// A message's part of a backlog.
#[derive(Debug)]
pub struct Waiting {
    backlog: Arc<Backlog>,
    bytes: usize,
}

impl Backlog {
    fn bytes(&self) -> MutexGuard<'_, usize> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Backlog>, bytes: usize) -> Waiting {
        *self.bytes() += bytes;
        Waiting { backlog: self.clone(), bytes }
    }

    /// Waits until there is room, but not for ever: the connection may end meanwhile.
    fn wait_for_room(&self) {
        let bytes = self.bytes();
        if *bytes > MOST_WAITING {
            drop(self.fewer.wait_timeout_while(bytes, IDLE, |bytes| *bytes > MOST_WAITING / 2));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut bytes = self.backlog.bytes();
        let before = *bytes;
        *bytes -= self.bytes;
        if before > MOST_WAITING / 2 && *bytes <= MOST_WAITING / 2 {
            self.backlog.fewer.notify_one();
        }
    }
}

/// The reason why a connection is refused, by the server or by this side.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionRefused {
    #[error("it refuses the connection: {}", ForeignText::of(.0))]
    Login(String),
    #[error("its certificate is not accepted: {}", ForeignText::of(.0))]
    UnknownAuthority(String),
    #[error("its certificate is not accepted: {}", ForeignText::of(.0))]
    Certificate(String),
    /// It lets nobody in at this moment.
    #[error("it refuses the connection: {}", ForeignText::of(.0))]
    Full(String),
    #[error("it has no TLS, and tls:// asks for it")]
    NoTls,
    #[error("it has no TLS 1.3, and an older one is not used")]
    OldTls,
    #[error(
        "it wants a certificate of its clients (`verify` of its configuration), which there is none of: a key says who this is"
    )]
    ClientCertificate,
    #[error(
        "it takes messages of {0} bytes at most (`max_payload` of its configuration), and {LEAST_PAYLOAD} are needed"
    )]
    SmallMessages(usize),
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl ConnectionRefused {
    /// Returns what it means that a server ends a connection with these words.
    fn of_server(why: String) -> ConnectionRefused {
        let lower = why.to_ascii_lowercase();
        match lower.contains("maximum") && lower.contains("connections exceeded") {
            true => ConnectionRefused::Full(why),
            false => ConnectionRefused::Login(why),
        }
    }

    /// Returns the error that a program ends with if it never had a connection.
    fn into_error(self, access: &BrokerAccess) -> Error {
        let said = format!("{access} cannot be used: {self}");
        match self {
            ConnectionRefused::Login(_) => Error::BrokerLogin(said),
            ConnectionRefused::UnknownAuthority(_) => Error::BrokerCertificate(said),
            ConnectionRefused::Certificate(_)
            | ConnectionRefused::Full(_)
            | ConnectionRefused::NoTls
            | ConnectionRefused::OldTls
            | ConnectionRefused::ClientCertificate
            | ConnectionRefused::SmallMessages(_)
            | ConnectionRefused::Access(_) => Error::Broker(said),
        }
    }
}

/// Returns the error of a program to which its client tells nothing any more.
pub fn connection_ended() -> Error {
    Error::Bug("the connection to the message system ended".to_owned())
}

/// Returns the subject that a server does not permit, of which it says so in these words.
pub fn denied_subject(why: &str) -> Option<&str> {
    let (_, rest) = why.split_once('"')?;
    rest.split_once('"').map(|(subject, _)| subject)
}

/// Bytes that a message may have at every server that is of use: what hosts and runs say of themselves is sent whole.
const LEAST_PAYLOAD: usize = 16 << 10;

/// The writing half of a connection. Dropping it ends the connection.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    access: BrokerAccess,
    name: String,
    started: Instant,
    /// When the server was last heard, in milliseconds since the start.
    heard: AtomicU64,
    ended: AtomicBool,
    backlog: Arc<Backlog>,
    half: Mutex<WritingHalf>,
}

#[derive(Debug, Default)]
struct WritingHalf {
    stream: Option<TcpStream>,
    tls: Option<Arc<Tls>>,
    gathered: Vec<u8>,
    subjects: Vec<String>,
}

impl Client {
    /// Starts a thread that connects, and tells what happens.
    pub fn start(
        access: BrokerAccess,
        name: &str,
        mut tell: impl FnMut(ClientEvent) + Send + 'static,
    ) -> io::Result<Client> {
        let shared = Arc::new(Shared {
            access,
            name: name.to_owned(),
            started: Instant::now(),
            heard: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            backlog: Arc::default(),
            half: Mutex::default(),
        });
        let reading = shared.clone();
        start_thread("broker", move || reading.read_for_ever(&mut tell))?;
        Ok(Client { shared })
    }

    /// Ends the connection. Another is made, with all that is subscribed.
    pub fn connect_again(&self) {
        self.shared.half().close();
    }

    /// Subscribes to a subject, now and after each new connection.
    pub fn subscribe(&self, subject: &str) {
        let mut half = self.shared.half();
        half.subjects.push(subject.to_owned());
        let number = half.subjects.len();
        wire::subscribe(subject, number, &mut half.gathered);
    }

    /// Sends a message.
    pub fn publish(&self, subject: &str, reply: Option<&str>, payload: &[&[u8]]) {
        self.send(|to| wire::publish(subject, reply, payload, to));
    }

    /// Sends a message that the server's streams keep once, however often it is sent with this id.
    pub fn publish_once(&self, subject: &str, reply: &str, id: &str, payload: &[&[u8]]) {
        self.send(|to| wire::publish_once(subject, reply, id, payload, to));
    }

    fn send(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut half = self.shared.half();
        if half.stream.is_some() {
            write(&mut half.gathered);
            if half.gathered.len() >= GATHERED {
                half.flush();
            }
        }
    }

    /// Writes what was sent and is not written yet.
    pub fn flush(&self) {
        self.shared.half().flush();
    }

    /// Returns true if something was heard of the server within this time.
    pub fn heard_within(&self, time: Duration) -> bool {
        let heard = Duration::from_millis(self.shared.heard.load(Ordering::Relaxed));
        self.shared.started.elapsed().saturating_sub(heard) <= time
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let mut half = self.shared.half();
        half.flush();
        half.close();
    }
}

impl WritingHalf {
    fn flush(&mut self) {
        let Some(mut stream) = self.stream.as_ref().filter(|_| !self.gathered.is_empty()) else {
            return;
        };
        let written = match &self.tls {
            None => stream.write_all(&self.gathered),
            Some(tls) => tls.seal(&self.gathered).and_then(|sealed| stream.write_all(&sealed)),
        };
        if written.is_err() {
            self.close();
        }
        self.gathered.clear();
    }

    /// Ends the connection, which the reading thread notices.
    fn close(&mut self) {
        self.gathered.clear();
        self.tls = None;
        if let Some(stream) = self.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn half(&self) -> MutexGuard<'_, WritingHalf> {
        self.half.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_for_ever(&self, tell: &mut dyn FnMut(ClientEvent)) {
        let mut pause = FIRST_PAUSE;
        let mut first = FirstConnection::default();
        let mut logins_refused = 0;
        while !self.ended.load(Ordering::SeqCst) {
            let mut connected = None;
            let ended = self.connect(&mut first, tell).and_then(|(incoming, info)| {
                logins_refused = 0;
                connected = Some(Instant::now());
                first.make();
                tell(ClientEvent::Connected(info));
                self.read(incoming, tell)
            });
            self.half().close();
            // One that ends as soon as it is made is not made again at once.
            if connected.is_some_and(|since| since.elapsed() >= STEADY) {
                pause = FIRST_PAUSE;
            }
            match ended {
                Ok(()) => return,
                // A server that is reading its configuration again refuses whoever logs in at that moment.
                Err(ConnectionEnd::Refused(ConnectionRefused::Login(_)))
                    if connected.is_none() && logins_refused == 0 =>
                {
                    logins_refused += 1;
                }
                Err(ConnectionEnd::Io(why)) if first.is_made() => {
                    tell(ClientEvent::Disconnected { why, was_made: connected.is_some() });
                }
                Err(ConnectionEnd::Refused(why)) if first.is_made() => tell(ClientEvent::Refused(why)),
                // Another may leave.
                Err(ConnectionEnd::Refused(why @ ConnectionRefused::Full(_))) => {
                    if self.miss(&mut first, &why, tell) == Missing::Late {
                        return tell(ClientEvent::Never(why.into_error(&self.access)));
                    }
                }
                Err(ConnectionEnd::Refused(why)) => return tell(ClientEvent::Never(why.into_error(&self.access))),
                Err(ConnectionEnd::Io(e)) => {
                    if self.miss(&mut first, &e, tell) == Missing::Late {
                        return tell(ClientEvent::Never(self.access.unreachable(e)));
                    }
                }
            }
            if !self.ended.load(Ordering::SeqCst) {
                thread::sleep(first.wait(self.started.elapsed(), pause));
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Handles that there is no first connection yet.
    fn miss(&self, first: &mut FirstConnection, why: &dyn fmt::Display, tell: &mut dyn FnMut(ClientEvent)) -> Missing {
        let missing = first.miss(self.started.elapsed());
        if missing == Missing::Told {
            tell(ClientEvent::NotYet(self.access.not_yet_reached(why, FIRST_CONNECTION)));
        }
        missing
    }

    fn connect(
        &self,
        first: &mut FirstConnection,
        tell: &mut dyn FnMut(ClientEvent),
    ) -> Result<(Incoming, ServerInfo), ConnectionEnd> {
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        for address in self.access.url.addresses()? {
            match TcpStream::connect_timeout(&address, first.wait(self.started.elapsed(), PATIENCE)) {
                Ok(stream) => {
                    let mut goes_on = || first.is_made() || self.miss(first, &no_answer(), tell) != Missing::Late;
                    return self.greet(stream, &mut goes_on);
                }
                Err(e) => last = e,
            }
        }
        Err(last.into())
    }

    /// Logs in to a server, as long as `goes_on` returns true, which is asked now and then.
    fn greet(
        &self,
        stream: TcpStream,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<(Incoming, ServerInfo), ConnectionEnd> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(GREETING))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut incoming = Incoming { stream: stream.try_clone()?, received: Received::default() };
        let mut greeting = Greeting { stream, since: Instant::now(), goes_on, heard: None };
        let info = loop {
            match incoming.received.parser.next()? {
                Some(Operation::Info(info)) => break info,
                Some(Operation::Error(why)) => return Err(ConnectionRefused::of_server(why).into()),
                Some(_) => {}
                None => self.receive(&mut greeting, &mut incoming.received)?,
            }
        };
        if info.max_payload < LEAST_PAYLOAD {
            return Err(ConnectionRefused::SmallMessages(info.max_payload).into());
        }
        let url = &self.access.url;
        let tls = url.wants_tls() || info.tls_required;
        if tls {
            if !info.tls_required && !info.tls_available {
                return Err(ConnectionRefused::NoTls.into());
            }
            if info.tls_verify {
                return Err(ConnectionRefused::ClientCertificate.into());
            }
            let config = self.access.tls().map_err(ConnectionRefused::from)?;
            greeting.heard = Some(Vec::new());
            let agreed = Tls::handshake(config, url.host(), &mut greeting);
            // A server that refuses the connection at once says so in plain text, before or after it was spoken to.
            incoming.received.parser.feed(&greeting.heard.take().unwrap_or_default());
            if let (Err(_), Ok(Some(Operation::Error(why)))) = (&agreed, incoming.received.parser.next()) {
                return Err(ConnectionRefused::of_server(why).into());
            }
            incoming.received.tls = Some(Arc::new(agreed?));
            // What came in plain text is not part of what follows.
            incoming.received.parser = Parser::default();
        }
        let identity = self.access.identity();
        let mut hello = Vec::new();
        wire::connect(&Connect::new(&self.name, tls, identity.as_deref(), info.nonce.as_deref()), &mut hello);
        let hello = incoming.received.tls.as_ref().map_or_else(|| Ok(hello.clone()), |tls| tls.seal(&hello))?;
        greeting.write_all(&hello)?;
        loop {
            match incoming.received.parser.next()? {
                Some(Operation::Pong) => break,
                Some(Operation::Error(why)) => return Err(ConnectionRefused::of_server(why).into()),
                Some(_) => {}
                None => self.receive(&mut greeting, &mut incoming.received)?,
            }
        }
        let Greeting { stream, .. } = greeting;
        stream.set_read_timeout(Some(IDLE))?;
        incoming.received.parser.allow(info.max_payload);
        let mut half = self.half();
        half.gathered.clear();
        let WritingHalf { gathered, subjects, .. } = &mut *half;
        subjects.iter().enumerate().for_each(|(at, subject)| wire::subscribe(subject, at + 1, gathered));
        half.stream = Some(stream);
        half.tls = incoming.received.tls.clone();
        half.flush();
        drop(half);
        Ok((incoming, info))
    }

    /// Receives something from the server.
    fn receive(&self, from: &mut dyn Read, received: &mut Received) -> io::Result<()> {
        let Received { tls, parser, bytes } = received;
        // What came before the end was read first: it may say why.
        if tls.as_deref().is_some_and(Tls::is_closed) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let most = match (parser.missing(), &tls) {
            (missing @ 1.., None) => missing.min(bytes.len()),
            _ => bytes.len(),
        };
        let count = match from.read(bytes.get_mut(..most).unwrap_or_default()) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(e) => return Err(e),
        };
        self.heard.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
        let read = bytes.get(..count).unwrap_or_default();
        match tls {
            None => parser.feed(read),
            Some(tls) => tls.open(read, |bytes| parser.feed(bytes))?,
        }
        Ok(())
    }

    fn read(&self, mut incoming: Incoming, tell: &mut dyn FnMut(ClientEvent)) -> Result<(), ConnectionEnd> {
        let mut unanswered = 0;
        loop {
            while let Some(operation) = incoming.received.parser.next()? {
                match operation {
                    Operation::Message(message) => {
                        let waiting = self.backlog.add(message.payload.len() + OF_MESSAGE);
                        tell(ClientEvent::Message(message, waiting));
                    }
                    Operation::Ping => {
                        let mut half = self.half();
                        half.gathered.extend_from_slice(wire::PONG);
                        half.flush();
                    }
                    // The server goes on after these, and ends the connection after all others.
                    Operation::Error(why) => match why.to_ascii_lowercase().contains("permissions violation") {
                        true => tell(ClientEvent::Denied(why)),
                        false => return Err(ConnectionRefused::of_server(why).into()),
                    },
                    Operation::Pong | Operation::Info(_) | Operation::Ok => {}
                }
            }
            if self.ended.load(Ordering::SeqCst) {
                return Ok(());
            }
            self.backlog.wait_for_room();
            match self.receive(&mut incoming.stream, &mut incoming.received) {
                Ok(()) => unanswered = 0,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    unanswered += 1;
                    if unanswered > MOST_UNANSWERED {
                        return Err(io::Error::from(ErrorKind::TimedOut).into());
                    }
                    let mut half = self.half();
                    half.gathered.extend_from_slice(wire::PING);
                    half.flush();
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// The reading half of a connection.
struct Incoming {
    stream: TcpStream,
    received: Received,
}

/// What the server has sent, and is not taken apart yet.
struct Received {
    tls: Option<Arc<Tls>>,
    parser: Parser,
    /// Room for what is read at once, made only once.
    bytes: Box<[u8]>,
}

impl Default for Received {
    fn default() -> Received {
        Received { tls: None, parser: Parser::default(), bytes: vec![0; 64 << 10].into_boxed_slice() }
    }
}

/// A connection until the server has let this client in, which has to be soon, however much the server says until then.
struct Greeting<'a> {
    stream: TcpStream,
    since: Instant,
    /// Returns true if the server is waited for any longer. Asked now and then, once it has been waited for.
    goes_on: &'a mut dyn FnMut() -> bool,
    /// The first bytes that were read since this was set.
    heard: Option<Vec<u8>>,
}

/// Maximum number of bytes in which a server says that it refuses a connection.
const REFUSAL: usize = 512;

impl Read for Greeting<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.since.elapsed() < GREETING || self.since.elapsed() < PATIENCE && (self.goes_on)() {
            match self.stream.read(bytes) {
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                read => {
                    let read = bytes.get(..read?).unwrap_or_default();
                    if let Some(heard) = &mut self.heard {
                        heard.extend(read.iter().take(REFUSAL.saturating_sub(heard.len())));
                    }
                    return Ok(read.len());
                }
            }
        }
        Err(no_answer())
    }
}

impl Write for Greeting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn no_answer() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "it does not answer")
}

/// The reason why a connection ended.
enum ConnectionEnd {
    Io(io::Error),
    Refused(ConnectionRefused),
}

impl From<io::Error> for ConnectionEnd {
    fn from(e: io::Error) -> ConnectionEnd {
        tls::refusal(&e).map_or(ConnectionEnd::Io(e), ConnectionEnd::Refused)
    }
}

impl From<ConnectionRefused> for ConnectionEnd {
    fn from(refused: ConnectionRefused) -> ConnectionEnd {
        ConnectionEnd::Refused(refused)
    }
}

#[cfg(test)]
mod tests;
