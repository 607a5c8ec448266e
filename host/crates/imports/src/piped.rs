//! Standard streams of a command that are pipes to other processes of the run. Reading and writing wait as long as it
//! takes; nothing else happens in a worker meanwhile.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::meter::Meter;
use wasmpool_core::policy::CommandPipes;
use wasmpool_objects::operation::PipeEnd;
use wasmpool_shared::{SharedObjects, StreamEnd, StreamFault};

/// Maximum bytes that are written at a time. A pipe has room for several of these.
const PIECE: usize = 64 << 10;

/// The standard streams that are pipes.
#[derive(Clone, Debug, Default)]
pub struct PipedStreams {
    pub stdin: Option<PipedInput>,
    pub stdout: Option<PipedOutput>,
}

impl PipedStreams {
    /// Opens them, for the item that begins.
    pub fn open(shared: &Arc<SharedObjects>, pipes: CommandPipes) -> Result<PipedStreams, StreamFault> {
        let open = |object: Option<u16>, end| object.map(|object| StreamEnd::open(shared, object, end)).transpose();
        let stdin = open(pipes.stdin, PipeEnd::First)?;
        let stdout = open(pipes.stdout, PipeEnd::Second)?;
        Ok(PipedStreams {
            stdin: stdin.map(|end| PipedInput { end, meter: Meter::default(), rest: Arc::default() }),
            stdout: stdout.map(|end| PipedOutput {
                end,
                meter: Meter::default(),
                unread: Arc::default(),
                is_preview1: false,
            }),
        })
    }
}

/// Standard input.
#[derive(Clone, Debug)]
pub struct PipedInput {
    end: StreamEnd,
    /// Counts bytes that are read as a stream of WASI 0.3. Streams of other versions count with each call.
    meter: Meter,
    /// What was received and not read yet.
    rest: Arc<Mutex<Bytes>>,
}

/// Standard output.
#[derive(Clone, Debug)]
pub struct PipedOutput {
    end: StreamEnd,
    meter: Meter,
    /// True once something was refused because nobody reads it any more.
    unread: Arc<AtomicBool>,
    /// True if it is that of a module of preview 1. The runtime tells such a module `EIO` of a stream that is closed, and the
    /// right number of an error that has one.
    is_preview1: bool,
}

impl PipedInput {
    /// Returns the same stream, which counts.
    pub fn counting(&self, meter: &Meter) -> PipedInput {
        PipedInput { meter: meter.clone(), ..self.clone() }
    }

    /// Returns at most this many bytes; none at the end of the stream.
    fn next(&self, most: usize) -> Result<Bytes, StreamFault> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        while rest.is_empty() && most > 0 {
            match self.end.receive()? {
                Some(bytes) => *rest = bytes.into(),
                None => break,
            }
        }
        let most = most.min(rest.len());
        Ok(rest.split_to(most))
    }
}

impl PipedOutput {
    /// Returns the same stream, which counts.
    pub fn counting(&self, meter: &Meter) -> PipedOutput {
        PipedOutput { meter: meter.clone(), ..self.clone() }
    }

    /// Returns the same stream, for a module of preview 1.
    pub fn of_preview1(self) -> PipedOutput {
        PipedOutput { is_preview1: true, ..self }
    }

    /// Returns what becomes true once something was refused because nobody reads it any more.
    pub fn unread(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.unread)
    }

    fn send(&self, piece: &[u8]) -> Result<(), StreamFault> {
        let sent = self.end.send(piece);
        if let Err(StreamFault::ClosedByPeer) = sent {
            self.unread.store(true, Ordering::Relaxed);
        }
        sent
    }
}

/// Returns the error of a stream for what is wrong with it. Without the manager process the command cannot go on.
fn stream_error(fault: StreamFault) -> StreamError {
    match fault {
        StreamFault::ClosedByPeer => StreamError::Closed,
        fault => StreamError::Trap(fault.into()),
    }
}

fn io_error(fault: StreamFault) -> io::Error {
    match fault {
        StreamFault::ClosedByPeer => io::ErrorKind::BrokenPipe.into(),
        fault => io::Error::other(fault),
    }
}

impl IsTerminal for PipedInput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for PipedInput {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

impl InputStream for PipedInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let bytes = self.next(size.min(PIECE)).map_err(stream_error)?;
        if bytes.is_empty() && size > 0 { Err(StreamError::Closed) } else { Ok(bytes) }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for PipedInput {
    /// Is ready at any time, as a file is: the read waits.
    async fn ready(&mut self) {}
}

impl AsyncRead for PipedInput {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.next(into.remaining().min(PIECE)).map_err(io_error).map(|bytes| {
            self.meter.bytes_or_unwind(bytes.len());
            into.put_slice(&bytes);
        });
        Poll::Ready(read)
    }
}

impl IsTerminal for PipedOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for PipedOutput {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl OutputStream for PipedOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        bytes.chunks(PIECE).try_for_each(|piece| self.send(piece)).map_err(|fault| match fault {
            StreamFault::ClosedByPeer if self.is_preview1 => {
                StreamError::LastOperationFailed(io::Error::from_raw_os_error(libc::EPIPE).into())
            }
            fault => stream_error(fault),
        })
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PIECE)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for PipedOutput {
    /// Is ready at any time: the write waits.
    async fn ready(&mut self) {}
}

impl AsyncWrite for PipedOutput {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        if let Err(e) = self.meter.bytes(piece.len()) {
            return Poll::Ready(Err(io::Error::other(e)));
        }
        if piece.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Poll::Ready(self.send(piece).map(|()| piece.len()).map_err(io_error))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
