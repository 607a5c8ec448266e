//! Ends of pipes that stand for a command's standard streams. The item has them from its start on.

use std::fmt;
use std::sync::Arc;

use super::SharedObjects;
use wasmpool_objects::operation::{Answer, ObjectError, Operation, PipeEnd, Reply, Request};

/// One end of a pipe, which is closed when the item ends.
#[derive(Clone)]
pub struct StreamEnd {
    shared: Arc<SharedObjects>,
    object: u16,
    end: PipeEnd,
}

/// The reason why a standard stream cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamFault {
    #[error("the process that keeps the shared objects has ended")]
    Lost,
    /// The process at the other end has ended.
    #[error("nobody reads the standard output any more")]
    ClosedByPeer,
    #[error("a standard stream is a pipe that cannot be used: {0:?}")]
    Refused(ObjectError),
}

impl fmt::Debug for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamEnd").field("object", &self.object).field("end", &self.end).finish_non_exhaustive()
    }
}

impl StreamEnd {
    /// Opens this end of the pipe with this number, for the item in work.
    pub fn open(shared: &Arc<SharedObjects>, object: u16, end: PipeEnd) -> Result<StreamEnd, StreamFault> {
        let stream = StreamEnd { shared: Arc::clone(shared), object, end };
        stream.ask(Operation::OpenEnd(end))?.map_err(StreamFault::Refused)?;
        Ok(stream)
    }

    /// Sends bytes, and waits until the pipe has room for them.
    pub fn send(&self, bytes: &[u8]) -> Result<(), StreamFault> {
        match self.ask(Operation::Send(self.end, bytes.to_vec()))? {
            Ok(_) => Ok(()),
            Err(ObjectError::ClosedByPeer) => Err(StreamFault::ClosedByPeer),
            Err(error) => Err(StreamFault::Refused(error)),
        }
    }

    /// Waits for bytes. `None` is the end of the stream.
    pub fn receive(&self) -> Result<Option<Vec<u8>>, StreamFault> {
        match self.ask(Operation::Recv { end: self.end, at_most: None })? {
            Ok(Reply::Bytes(bytes)) => Ok(Some(bytes)),
            Err(ObjectError::Eof) => Ok(None),
            Ok(_) => Err(StreamFault::Lost),
            Err(error) => Err(StreamFault::Refused(error)),
        }
    }

    fn ask(&self, operation: Operation) -> Result<Answer, StreamFault> {
        let request = Request { object: self.object, operation, timeout: None };
        self.shared.ask(true, |objects| objects.ask(request)).map_err(|_| StreamFault::Lost)
    }
}
