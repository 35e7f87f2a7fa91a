//! Reads a body, within bounds of bytes and time.
//!
//! A worker's bodies have a bound together as well: 25,000 connections with a body each
//! of the largest size would be 25 GB.

use std::{cell::Cell, time::Duration};

use actix_http::error::PayloadError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::config::Config;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is larger than a body may be.
    TooLarge,
    /// It took too long.
    Slow,
    /// It broke off, or its framing is wrong.
    Broken,
    /// This worker holds as many bytes of bodies as it may.
    NoRoom,
}

/// The bodies that a worker holds at the moment.
#[derive(Debug)]
pub struct Bodies {
    held_bytes: Cell<usize>,
    held_bytes_max: usize,
    body_bytes_max: usize,
    timeout: Duration,
}

/// A body; gives its room back when it is dropped.
#[derive(Debug)]
pub struct Body<'b> {
    bytes: Vec<u8>,
    held: &'b Cell<usize>,
}

impl Bodies {
    /// None yet.
    pub fn new(config: &Config) -> Self {
        Self {
            held_bytes: Cell::new(0),
            held_bytes_max: config.limits.bodies_bytes_max,
            body_bytes_max: config.limits.body_bytes_max,
            timeout: Duration::from_millis(config.client_body_timeout_ms),
        }
    }

    /// The largest body, in bytes.
    pub fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    /// Reads a body to its end.
    ///
    /// # Errors
    /// See [`BodyError`]; the rest of the body is not read then.
    pub async fn read(
        &self,
        payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    ) -> Result<Body<'_>, BodyError> {
        let body = tokio::time::timeout(self.timeout, self.collect(payload)).await;
        body.unwrap_or(Err(BodyError::Slow))
    }

    async fn collect(
        &self,
        mut payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    ) -> Result<Body<'_>, BodyError> {
        let mut body = Body { bytes: Vec::new(), held: &self.held_bytes };
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| BodyError::Broken)?;
            if body.bytes.len() + chunk.len() > self.body_bytes_max {
                return Err(BodyError::TooLarge);
            }
            if self.held_bytes.get() + chunk.len() > self.held_bytes_max {
                return Err(BodyError::NoRoom);
            }
            self.held_bytes.set(self.held_bytes.get() + chunk.len());
            body.bytes.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl std::ops::Deref for Body<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        self.held.set(self.held.get() - self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};

    use super::*;
    use crate::config::Limits;

    fn bodies(body_bytes_max: usize, bodies_bytes_max: usize) -> Bodies {
        let limits = Limits { body_bytes_max, bodies_bytes_max, ..Limits::default() };
        Bodies::new(&Config { limits, ..Config::default() })
    }

    fn chunks(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin {
        stream::iter(sizes.to_vec()).map(|bytes| Ok(Bytes::from(vec![b'x'; bytes])))
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(test)
    }

    #[test]
    fn a_body_ends_at_its_bound_to_the_byte() {
        run(async {
            let bodies = bodies(10, 100);
            assert_eq!(bodies.read(chunks(&[4, 6])).await.unwrap().len(), 10);
            assert_eq!(bodies.read(chunks(&[4, 7])).await.unwrap_err(), BodyError::TooLarge);
            assert_eq!(bodies.read(chunks(&[])).await.unwrap().len(), 0);
            let broken =
                chunks(&[4]).chain(stream::once(async { Err(PayloadError::Incomplete(None)) }).boxed_local());
            assert_eq!(bodies.read(broken).await.unwrap_err(), BodyError::Broken);
        });
    }

    #[test]
    fn bodies_share_their_room_and_give_it_back() {
        run(async {
            let bodies = bodies(10, 15);
            let first = bodies.read(chunks(&[10])).await.unwrap();
            assert_eq!(bodies.read(chunks(&[3, 3])).await.unwrap_err(), BodyError::NoRoom);
            drop(first);
            assert_eq!(bodies.held_bytes.get(), 0);
            assert!(bodies.read(chunks(&[10])).await.is_ok());
        });
    }

    #[test]
    fn a_body_that_never_ends_is_given_up_after_its_time() {
        run(async {
            let bodies = bodies(10, 15);
            let mut reading = Box::pin(bodies.read(chunks(&[5]).chain(stream::pending())));
            assert!((&mut reading).now_or_never().is_none());
            assert_eq!(bodies.held_bytes.get(), 5);
            assert_eq!(reading.await.unwrap_err(), BodyError::Slow);
            assert_eq!(bodies.held_bytes.get(), 0);
        });
    }
}
