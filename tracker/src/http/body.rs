//! Reads a request body within limits of size and time.
//!
//! The memory of a body is claimed from the worker's budget as it arrives, whatever its
//! `Content-Length`: a client that announces a megabyte and sends nothing holds nothing.

use std::time::{Duration, Instant};

use bytes::BufMut as _;
use tokio::net::TcpStream;

use super::{
    budget::Claim,
    buffers::{BUFFER_BYTES, Buffer, BufferPool},
    chunked::ChunkedDecoder,
    parse::Framing,
    wait::{BodyRead, Wait},
};
use crate::config::Config;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It exceeds `limits.body_bytes_max`.
    TooLarge,
    /// It did not arrive in time, or stalled.
    Slow,
    /// The client disconnected before its end.
    Broken,
    /// Its chunked framing is wrong.
    BadChunk,
    /// The worker's budget is exhausted.
    NoRoom,
}

/// The body of a request, as far as it has arrived.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    claim: Claim,
    bytes_max: usize,
}

/// Where the bytes after a body are.
pub enum Rest {
    /// In the buffer of the head, after this many bytes of body.
    AfterHead(usize),
    /// In another buffer, as the body did not fit into the head's; `None` if nothing follows.
    In(Option<Buffer>),
}

/// The parts of a connection that reading a body needs.
pub struct BodyReader<'c> {
    pub socket: &'c mut TcpStream,
    pub wait: &'c mut Wait,
    pub buffers: &'c std::rc::Rc<BufferPool>,
    pub config: &'c Config,
}

/// When more of a body, and all of it, must have arrived.
struct Deadlines {
    /// A body that only trickles in must not hold memory for ever.
    whole: Instant,
    /// A stalled body is given up long before that.
    progress: Duration,
}

impl Deadlines {
    fn next(&self) -> Instant {
        self.whole.min(Instant::now() + self.progress)
    }
}

impl BodyReader<'_> {
    /// Reads a body to its end. `buffered` is what was read with the head: the start of the body,
    /// and of the next request if the body is short.
    ///
    /// # Errors
    /// See [`BodyError`]; the rest of the body is then left unread.
    pub async fn read(mut self, framing: Framing, buffered: &[u8]) -> Result<(Body, Rest), BodyError> {
        let body = Body {
            bytes: Vec::new(),
            claim: self.buffers.budget().claim(),
            bytes_max: self.config.limits.body_bytes_max,
        };
        let deadlines = Deadlines {
            whole: Instant::now() + Duration::from_millis(self.config.client_body_timeout_ms),
            progress: Duration::from_millis(self.config.client_request_timeout_ms),
        };
        match framing {
            Framing::Nothing => Ok((body, Rest::AfterHead(0))),
            Framing::Length(length) => self.by_length(body, length, buffered, &deadlines).await,
            Framing::Chunked => self.by_chunks(body, buffered, &deadlines).await,
        }
    }

    async fn by_length(
        &mut self,
        mut body: Body,
        length: u64,
        buffered: &[u8],
        deadlines: &Deadlines,
    ) -> Result<(Body, Rest), BodyError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        // Refuse by the announced length, before the client sends it.
        if length > body.bytes_max {
            return Err(BodyError::TooLarge);
        }
        let in_buffer = buffered.len().min(length);
        body.push(&buffered[..in_buffer])?;
        if in_buffer == length {
            return Ok((body, Rest::AfterHead(in_buffer)));
        }
        while body.bytes.len() < length {
            // Never read past the body: the bytes after it belong to the next head.
            let missing = length - body.bytes.len();
            let room = body.room(missing)?;
            let mut into = (&mut body.bytes).limit(room);
            require_bytes(self.wait.read_into(self.socket, &mut into, deadlines.next()).await)?;
        }
        Ok((body, Rest::In(None)))
    }

    async fn by_chunks(
        &mut self,
        mut body: Body,
        buffered: &[u8],
        deadlines: &Deadlines,
    ) -> Result<(Body, Rest), BodyError> {
        let mut chunks = ChunkedDecoder::default();
        let mut input = buffered;
        body.push_chunks(&mut chunks, &mut input)?;
        if chunks.has_ended() {
            return Ok((body, Rest::AfterHead(buffered.len() - input.len())));
        }
        // Chunks hide where the body ends, so read into a buffer of its own that can hold the start
        // of the next request.
        let mut buffer = self.buffers.take();
        loop {
            buffer.as_mut().clear();
            let mut into = buffer.as_mut().limit(BUFFER_BYTES);
            require_bytes(self.wait.read_into(self.socket, &mut into, deadlines.next()).await)?;
            let mut input: &[u8] = &buffer;
            body.push_chunks(&mut chunks, &mut input)?;
            if chunks.has_ended() {
                let taken = buffer.len() - input.len();
                buffer.discard(taken);
                return Ok((body, Rest::In(Some(buffer).filter(|buffer| !buffer.is_empty()))));
            }
        }
    }
}

fn require_bytes(read: BodyRead) -> Result<(), BodyError> {
    match read {
        BodyRead::Bytes => Ok(()),
        BodyRead::Disconnected => Err(BodyError::Broken),
        BodyRead::TimedOut => Err(BodyError::Slow),
    }
}

impl Body {
    /// How many of `wanted` bytes fit, at least one; claims more memory if there is no room.
    fn room(&mut self, wanted: usize) -> Result<usize, BodyError> {
        if self.bytes.len() == self.bytes.capacity() {
            // Doubling, but never beyond what is needed: small bodies must not claim large ones' memory.
            let needed = self.bytes.len() + wanted;
            let doubled = (2 * self.bytes.capacity()).max(BUFFER_BYTES);
            let capacity = needed.min(doubled).min(self.bytes_max);
            if !self.claim.grow_to(capacity) {
                return Err(BodyError::NoRoom);
            }
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        Ok(wanted.min(self.bytes.capacity() - self.bytes.len()))
    }

    fn push(&mut self, mut data: &[u8]) -> Result<(), BodyError> {
        if self.bytes.len() + data.len() > self.bytes_max {
            return Err(BodyError::TooLarge);
        }
        while !data.is_empty() {
            let (fits, rest) = data.split_at(self.room(data.len())?);
            self.bytes.extend_from_slice(fits);
            data = rest;
        }
        Ok(())
    }

    fn push_chunks(&mut self, chunks: &mut ChunkedDecoder, input: &mut &[u8]) -> Result<(), BodyError> {
        while let Some(data) = chunks.next(input).map_err(|_| BodyError::BadChunk)? {
            self.push(data)?;
        }
        Ok(())
    }
}

impl std::ops::Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests;
