//! The body of a request, read on demand.

use std::io;
use std::pin::Pin;
use std::rc::Rc;

use actix_web::error::PayloadError;
use actix_web::web::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::answer;
use super::pace::Pace;

const CHUNK_BYTES: usize = 64 << 10;

/// A body of known length.
pub struct Body {
    stream: Rc<TcpStream>,
    /// Arrived with the head.
    early: BytesMut,
    left: u64,
    /// The client waits to be told that it may send.
    expects_continue: bool,
}

impl Body {
    /// `early` is what came behind the head.
    pub fn new(stream: Rc<TcpStream>, length: u64, early: BytesMut, expects_continue: bool) -> Self {
        Self { stream, early, left: length, expects_continue }
    }

    /// As the app reads it.
    pub fn into_stream(self) -> Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> {
        let reading = (self, None);
        Box::pin(stream::unfold(reading, |(mut body, pace)| async move {
            if body.left == 0 {
                return None;
            }
            let mut pace = pace.unwrap_or_else(|| Pace::new(Instant::now()));
            let chunk = body.chunk(&mut pace).await;
            match &chunk {
                Ok(bytes) => body.left -= bytes.len() as u64,
                // It is said once.
                Err(_) => body.left = 0,
            }
            Some((chunk.map_err(failed), (body, Some(pace))))
        }))
    }

    /// The next bytes, at least one.
    async fn chunk(&mut self, pace: &mut Pace) -> io::Result<Bytes> {
        let bytes_max = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        if !self.early.is_empty() {
            let bytes = bytes_max.min(self.early.len());
            return Ok(self.early.split_to(bytes).freeze());
        }
        if std::mem::take(&mut self.expects_continue) {
            answer::write(&self.stream, b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut chunk = vec![0; bytes_max];
        loop {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not arrive");
            timeout_at(pace.deadline(), self.stream.readable()).await.map_err(late)??;
            match self.stream.try_read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => {
                    pace.advance(bytes, Instant::now());
                    chunk.truncate(bytes);
                    return Ok(chunk.into());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn failed(error: io::Error) -> PayloadError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => PayloadError::Incomplete(None),
        _ => PayloadError::Io(error),
    }
}
