//! A connection to a NATS server, which is made again for as long as it is wanted.
//!
//! One thread reads, and tells what came; whoever has the [`Client`] writes. What is written while there is no connection
//! is dropped: all that is said over it is said again until it is answered. The protocol of NATS is a few lines of text
//! ([`wire`]), so there is no library between it and this program, whose dependencies would come with one.

mod wire;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::url::BrokerUrl;
use wasmpool_run::scarce::start_thread;
use wire::{Connect, Operation, Parser};
pub use wire::{Message, ServerInfo};

/// Time without anything from the server after which it is asked whether it is there.
const IDLE: Duration = Duration::from_secs(1);
/// Number of such questions in a row without an answer after which the connection is given up.
const MOST_UNANSWERED: u32 = 5;
/// Time that connecting, and writing, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pauses between tries to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Number of bytes that are gathered before they are written.
const GATHERED: usize = 64 << 10;

/// Something that happened to a connection.
#[derive(Debug)]
pub enum ClientEvent {
    Connected(ServerInfo),
    /// There is none any more, or still none, for this reason. It is tried again.
    Disconnected(io::Error),
    /// The server refuses this client. It is tried again.
    Refused(String),
    Message(Message),
}

/// The writing half of a connection. Dropping it ends the connection.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    url: BrokerUrl,
    name: String,
    started: Instant,
    /// When the server was last heard, in milliseconds since the start.
    heard: AtomicU64,
    ended: AtomicBool,
    half: Mutex<WritingHalf>,
}

#[derive(Debug, Default)]
struct WritingHalf {
    stream: Option<TcpStream>,
    gathered: Vec<u8>,
    subjects: Vec<String>,
}

impl Client {
    /// Starts a thread that connects, and tells what happens.
    pub fn start(url: BrokerUrl, name: &str, mut tell: impl FnMut(ClientEvent) + Send + 'static) -> io::Result<Client> {
        let shared = Arc::new(Shared {
            url,
            name: name.to_owned(),
            started: Instant::now(),
            heard: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            half: Mutex::default(),
        });
        let reading = shared.clone();
        start_thread("broker", move || reading.read_for_ever(&mut tell))?;
        Ok(Client { shared })
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
        if stream.write_all(&self.gathered).is_err() {
            self.close();
        }
        self.gathered.clear();
    }

    /// Ends the connection, which the reading thread notices.
    fn close(&mut self) {
        self.gathered.clear();
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
        while !self.ended.load(Ordering::SeqCst) {
            let ended = self.connect().and_then(|(stream, parser, info)| {
                pause = FIRST_PAUSE;
                tell(ClientEvent::Connected(info));
                self.read(stream, parser, tell)
            });
            self.half().close();
            match ended {
                Err(ConnectionEnd::Io(e)) => tell(ClientEvent::Disconnected(e)),
                Err(ConnectionEnd::Refused(why)) => tell(ClientEvent::Refused(why)),
                Ok(()) => return,
            }
            if !self.ended.load(Ordering::SeqCst) {
                thread::sleep(pause);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn connect(&self) -> Result<(TcpStream, Parser, ServerInfo), ConnectionEnd> {
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        for address in self.url.addresses()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return self.greet(stream),
                Err(e) => last = e,
            }
        }
        Err(last.into())
    }

    fn greet(&self, mut stream: TcpStream) -> Result<(TcpStream, Parser, ServerInfo), ConnectionEnd> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut parser = Parser::default();
        let info = loop {
            match parser.next()? {
                Some(Operation::Info(info)) => break info,
                Some(_) => {}
                None => self.receive_soon(&mut stream, &mut parser)?,
            }
        };
        if info.tls_required {
            return Err(ConnectionEnd::Refused("it wants TLS, which is not built in yet".to_owned()));
        }
        let mut hello = Vec::new();
        wire::connect(&Connect::named(&self.name), &mut hello);
        stream.write_all(&hello)?;
        loop {
            match parser.next()? {
                Some(Operation::Pong) => break,
                Some(Operation::Error(why)) => return Err(ConnectionEnd::Refused(why)),
                Some(_) => {}
                None => self.receive_soon(&mut stream, &mut parser)?,
            }
        }
        stream.set_read_timeout(Some(IDLE))?;
        parser.allow(info.max_payload);
        let mut half = self.half();
        half.gathered.clear();
        let WritingHalf { gathered, subjects, .. } = &mut *half;
        subjects.iter().enumerate().for_each(|(at, subject)| wire::subscribe(subject, at + 1, gathered));
        half.stream = Some(stream.try_clone()?);
        half.flush();
        drop(half);
        Ok((stream, parser, info))
    }

    /// Receives something while greeting, when the server has to say something.
    fn receive_soon(&self, stream: &mut TcpStream, parser: &mut Parser) -> io::Result<()> {
        self.receive(stream, parser).map_err(|e| match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => io::Error::new(ErrorKind::TimedOut, "it does not answer"),
            _ => e,
        })
    }

    fn receive(&self, stream: &mut TcpStream, parser: &mut Parser) -> io::Result<()> {
        let mut bytes = [0; 64 << 10];
        let count = match stream.read(&mut bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(e) => return Err(e),
        };
        self.heard.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
        parser.feed(bytes.get(..count).unwrap_or_default());
        Ok(())
    }

    fn read(
        &self,
        mut stream: TcpStream,
        mut parser: Parser,
        tell: &mut dyn FnMut(ClientEvent),
    ) -> Result<(), ConnectionEnd> {
        let mut unanswered = 0;
        loop {
            while let Some(operation) = parser.next()? {
                match operation {
                    Operation::Message(message) => tell(ClientEvent::Message(message)),
                    Operation::Ping => {
                        let mut half = self.half();
                        half.gathered.extend_from_slice(wire::PONG);
                        half.flush();
                    }
                    // What this client may not do is not answered, and that is seen elsewhere.
                    Operation::Pong | Operation::Info(_) | Operation::Error(_) | Operation::Ok => {}
                }
            }
            if self.ended.load(Ordering::SeqCst) {
                return Ok(());
            }
            match self.receive(&mut stream, &mut parser) {
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

/// The reason why a connection ended.
enum ConnectionEnd {
    Io(io::Error),
    Refused(String),
}

impl From<io::Error> for ConnectionEnd {
    fn from(e: io::Error) -> ConnectionEnd {
        ConnectionEnd::Io(e)
    }
}
