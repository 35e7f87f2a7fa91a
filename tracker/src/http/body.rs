//! Reads the body of a request whose route asked for it, within bounds of bytes and time.
//!
//! The memory of a body is claimed from the worker's budget as it grows, whatever its length
//! field promises: who announces a megabyte and sends nothing holds nothing.

use std::time::{Duration, Instant};

use bytes::BufMut as _;
use tokio::net::TcpStream;

use super::{
    budget::Claim,
    buffers::{BUFFER_BYTES, Buffer, Buffers},
    chunked::Chunks,
    parse::Framing,
    wait::{Next, Wait},
};
use crate::config::Config;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is larger than a body may be.
    TooLarge,
    /// It took too long, or stopped coming.
    Slow,
    /// The client closed the connection before its end.
    Broken,
    /// Its chunked framing is wrong.
    BadChunk,
    /// This worker holds as many bytes as it may.
    NoRoom,
}

/// A body.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    claim: Claim,
    bytes_max: usize,
}

/// Where the bytes after a body are.
pub enum Rest {
    /// In what was read with the head, after so many bytes of body.
    AfterHead(usize),
    /// In another buffer, since the body was longer; often nothing.
    In(Option<Buffer>),
}

/// What reading a body needs of its connection.
pub struct BodyReader<'c> {
    pub socket: &'c mut TcpStream,
    pub wait: &'c mut Wait,
    pub buffers: &'c std::rc::Rc<Buffers>,
    pub config: &'c Config,
}

/// The times by which more of a body, and all of it, must have come.
struct Deadlines {
    all: Instant,
    progress: Duration,
}

impl Deadlines {
    fn next(&self) -> Instant {
        self.all.min(Instant::now() + self.progress)
    }
}

impl BodyReader<'_> {
    /// Reads a body to its end; `begun` are its first bytes, and what follows it.
    ///
    /// # Errors
    /// See [`BodyError`]; the rest of the body is not read then.
    pub async fn read(mut self, framing: Framing, begun: &[u8]) -> Result<(Body, Rest), BodyError> {
        let body = Body {
            bytes: Vec::new(),
            claim: self.buffers.budget().claim(),
            bytes_max: self.config.limits.body_bytes_max,
        };
        let deadlines = Deadlines {
            all: Instant::now() + Duration::from_millis(self.config.client_body_timeout_ms),
            progress: Duration::from_millis(self.config.client_request_timeout_ms),
        };
        match framing {
            Framing::Nothing => Ok((body, Rest::AfterHead(0))),
            Framing::Length(length) => self.by_length(body, length, begun, &deadlines).await,
            Framing::Chunked => self.by_chunks(body, begun, &deadlines).await,
        }
    }

    async fn by_length(
        &mut self,
        mut body: Body,
        length: u64,
        begun: &[u8],
        deadlines: &Deadlines,
    ) -> Result<(Body, Rest), BodyError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > body.bytes_max {
            return Err(BodyError::TooLarge);
        }
        let at_once = begun.len().min(length);
        body.push(&begun[..at_once])?;
        if at_once == length {
            return Ok((body, Rest::AfterHead(at_once)));
        }
        while body.bytes.len() < length {
            // Not one byte more than the body has: the next request is read as a request.
            let missing = length - body.bytes.len();
            let room = body.room(missing)?;
            let mut into = (&mut body.bytes).limit(room);
            arrived(self.wait.read_into(self.socket, &mut into, deadlines.next()).await)?;
        }
        Ok((body, Rest::In(None)))
    }

    async fn by_chunks(
        &mut self,
        mut body: Body,
        begun: &[u8],
        deadlines: &Deadlines,
    ) -> Result<(Body, Rest), BodyError> {
        let mut chunks = Chunks::default();
        let mut input = begun;
        body.push_chunks(&mut chunks, &mut input)?;
        if chunks.has_ended() {
            return Ok((body, Rest::AfterHead(begun.len() - input.len())));
        }
        let mut buffer = self.buffers.take();
        loop {
            buffer.as_mut().clear();
            let mut into = buffer.as_mut().limit(BUFFER_BYTES);
            arrived(self.wait.read_into(self.socket, &mut into, deadlines.next()).await)?;
            let mut input: &[u8] = &buffer;
            body.push_chunks(&mut chunks, &mut input)?;
            if chunks.has_ended() {
                let taken = buffer.len() - input.len();
                buffer.forget(taken);
                return Ok((body, Rest::In(Some(buffer).filter(|buffer| !buffer.is_empty()))));
            }
        }
    }
}

fn arrived(next: Next) -> Result<(), BodyError> {
    match next {
        Next::Bytes => Ok(()),
        Next::Gone => Err(BodyError::Broken),
        Next::TimedOut => Err(BodyError::Slow),
    }
}

impl Body {
    /// So many bytes fit in, at least one and `wanted` at most; claims more memory if it must.
    fn room(&mut self, wanted: usize) -> Result<usize, BodyError> {
        if self.bytes.len() == self.bytes.capacity() {
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

    fn push_chunks(&mut self, chunks: &mut Chunks, input: &mut &[u8]) -> Result<(), BodyError> {
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
