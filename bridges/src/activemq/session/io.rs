//! Reading, writing, beating and watching, at the same time, until one of them fails.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::codec::Decoder;
use super::super::frame::Frame;
use super::{BATCH_BYTES_MAX, BATCH_FRAMES_MAX, SessionError};

/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 256 * 1024;
/// How long a broker without heart-beats may take to read what we write.
const WRITE_WITHOUT_BEATS: Duration = Duration::from_secs(60);

/// The heart-beats that both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Ours; none are sent if it is `None`.
    pub goes_every: Option<Duration>,
    /// The broker's.
    pub comes_every: Option<Duration>,
}

impl Pace {
    /// Silence after which a beat goes out. Half an interval, as a broker cuts a client whose beat
    /// comes after 1.0 intervals.
    fn beat_after(self) -> Duration {
        self.goes_every.map_or(Duration::MAX, |every| every / 2)
    }

    /// Silence after which the broker is dead.
    fn dead_after(self) -> Option<Duration> {
        self.comes_every.map(|every| every * 5 / 2)
    }
}

/// An open connection.
pub struct Traffic<S> {
    pub stream: S,
    pub decoder: Decoder,
    /// What was read and not decoded yet.
    pub input: BytesMut,
    pub pace: Pace,
    pub endpoint: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Traffic<S> {
    /// Works until one side is done; returns why. `early` was read during the handshake.
    pub async fn run(
        self,
        early: Vec<Frame>,
        frames: mpsc::Sender<Vec<Frame>>,
        chunks: mpsc::Receiver<Bytes>,
    ) -> SessionError {
        let Self { stream, decoder, input, pace, endpoint } = self;
        let (reader, writer) = split(stream);
        let reading = Reading { reader, decoder, input, pace, endpoint: &endpoint };
        let writing = Writing { writer, pace, endpoint: &endpoint };
        // One task: a reader that waits for the bridge does not keep the writer from beating.
        tokio::select! {
            why = reading.run(early, frames) => why,
            why = writing.run(chunks) => why,
        }
    }
}

struct Reading<'t, S> {
    reader: ReadHalf<S>,
    decoder: Decoder,
    input: BytesMut,
    pace: Pace,
    endpoint: &'t str,
}

impl<S: AsyncRead> Reading<'_, S> {
    async fn run(mut self, early: Vec<Frame>, frames: mpsc::Sender<Vec<Frame>>) -> SessionError {
        let mut batch = early;
        loop {
            if let Err(fault) = self.fill(&mut batch) {
                // What was whole before the fault is the bridge's all the same.
                let _ = frames.send(batch).await;
                return SessionError::BadFrame { endpoint: self.endpoint.to_owned(), fault };
            }
            if !batch.is_empty() {
                if frames.send(std::mem::take(&mut batch)).await.is_err() {
                    return self.closed();
                }
                continue;
            }
            if let Err(why) = self.read().await {
                return why;
            }
        }
    }

    /// Decodes what is there, up to the bounds of a batch.
    fn fill(&mut self, batch: &mut Vec<Frame>) -> Result<(), super::BadFrame> {
        let mut bytes = 0;
        while batch.len() < BATCH_FRAMES_MAX && bytes < BATCH_BYTES_MAX {
            let Some(frame) = self.decoder.next(&mut self.input)? else { break };
            bytes += frame.bytes();
            batch.push(frame);
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), SessionError> {
        self.input.reserve(READ_BYTES);
        let reading = self.reader.read_buf(&mut self.input);
        let read = match self.pace.dead_after() {
            None => reading.await,
            Some(silence) => match timeout(silence, reading).await {
                Ok(read) => read,
                Err(_late) => {
                    let endpoint = self.endpoint.to_owned();
                    return Err(SessionError::Silent { endpoint, silent_ms: silence.as_millis() });
                }
            },
        };
        match read {
            Ok(0) => Err(self.closed()),
            Ok(_) => Ok(()),
            Err(source) => {
                Err(SessionError::Io { endpoint: self.endpoint.to_owned(), what: "reading failed", source })
            }
        }
    }

    fn closed(&self) -> SessionError {
        SessionError::Closed { endpoint: self.endpoint.to_owned() }
    }
}

struct Writing<'t, S> {
    writer: WriteHalf<S>,
    pace: Pace,
    endpoint: &'t str,
}

impl<S: AsyncWrite> Writing<'_, S> {
    async fn run(mut self, mut chunks: mpsc::Receiver<Bytes>) -> SessionError {
        loop {
            let written = match timeout(self.pace.beat_after(), chunks.recv()).await {
                Ok(Some(chunk)) => {
                    let mut together = BytesMut::from(&chunk[..]);
                    while together.len() < WRITE_BYTES {
                        let Ok(more) = chunks.try_recv() else { break };
                        together.extend_from_slice(&more);
                    }
                    self.write(&together).await
                }
                // The session was dropped; what it sent is written.
                Ok(None) => {
                    let _ = self.writer.shutdown().await;
                    return SessionError::Closed { endpoint: self.endpoint.to_owned() };
                }
                Err(_silent) => self.write(b"\n").await,
            };
            if let Err(why) = written {
                return why;
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let within = self.pace.dead_after().unwrap_or(WRITE_WITHOUT_BEATS);
        // By pieces, so that a slow broker that does read is not taken for a dead one.
        for piece in bytes.chunks(64 * 1024) {
            let writing = async {
                self.writer.write_all(piece).await?;
                self.writer.flush().await
            };
            let endpoint = || self.endpoint.to_owned();
            match timeout(within, writing).await {
                Ok(Ok(())) => {}
                Ok(Err(source)) => {
                    return Err(SessionError::Io { endpoint: endpoint(), what: "writing failed", source });
                }
                Err(_late) => {
                    return Err(SessionError::NotReading {
                        endpoint: endpoint(),
                        stuck_ms: within.as_millis(),
                    });
                }
            }
        }
        Ok(())
    }
}
