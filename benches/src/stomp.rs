//! A client of ActiveMQ for benchmarks, on the codec of our bridge: publishes, acknowledges without doing
//! anything else, and looks whether a queue is empty.
//!
//! It blocks, beats no heart and bounds each wait.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bridges::activemq::{Command, Decoder, Frame, Limits, encode};
use bytes::{Bytes, BytesMut};

/// Longest silence of the broker.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages of a transaction; its COMMIT costs the broker a sync.
const TRANSACTION: usize = 500;
const READ_BYTES: usize = 256 * 1024;

/// A connection that is logged in.
pub struct Client {
    stream: TcpStream,
    decoder: Decoder,
    input: BytesMut,
    chunk: Vec<u8>,
}

/// What was taken off a queue.
#[derive(Clone, Copy, Debug)]
pub struct Drained {
    /// Messages behind the first batch, with which the clock starts.
    pub messages: u64,
    /// From the first batch to the last acknowledgement.
    pub took: Duration,
    /// user+sys of the thread meanwhile.
    pub cpu: Duration,
}

impl Client {
    /// Connects, and logs in without a user.
    ///
    /// # Errors
    /// The operating system's, and what the broker refuses.
    pub fn connect(broker: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(broker)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let decoder = Decoder::new(Limits::default());
        let mut client = Self { stream, decoder, input: BytesMut::new(), chunk: vec![0; READ_BYTES] };
        let connect = [("accept-version", "1.2"), ("host", "localhost"), ("heart-beat", "0,0")];
        client.send(&[Frame::new(Command::Connect, &connect)])?;
        match client.next()? {
            Frame { command: Command::Connected, .. } => Ok(client),
            other => Err(unexpected(&other)),
        }
    }

    /// Publishes each body as a persistent text message; all are durable at the broker when it returns.
    ///
    /// # Errors
    /// The operating system's, and what the broker refuses.
    pub fn publish(&mut self, destination: &str, bodies: &[String]) -> io::Result<()> {
        for (nth, bodies) in bodies.chunks(TRANSACTION).enumerate() {
            let transaction = format!("t{nth}");
            let begin = Frame::new(Command::Begin, &[("transaction", &transaction)]);
            let sends = bodies.iter().map(|body| {
                let headers = [
                    ("destination", destination),
                    ("persistent", "true"),
                    ("amq-msg-type", "text"),
                    ("transaction", &transaction),
                ];
                let mut send = Frame::new(Command::Send, &headers);
                send.body = Bytes::copy_from_slice(body.as_bytes());
                send
            });
            let commit = [("transaction", transaction.as_str()), ("receipt", &transaction)];
            let frames = [begin].into_iter().chain(sends).chain([Frame::new(Command::Commit, &commit)]);
            self.send(&frames.collect::<Vec<_>>())?;
            self.receipt(&transaction)?;
        }
        Ok(())
    }

    /// Takes `messages` off a queue, acknowledges each by itself and does nothing else. Everything that was
    /// read at once is acknowledged by one write, as the bridge does.
    ///
    /// # Errors
    /// The operating system's, what the broker refuses, and a silence before all have come.
    pub fn acknowledge_all(mut self, destination: &str, messages: u64, prefetch: u32) -> io::Result<Drained> {
        self.subscribe(destination, &[("activemq.prefetchSize", &prefetch.to_string())])?;
        let mut left = messages;
        let mut acks = BytesMut::new();
        let mut clock = None;
        let mut last = (Instant::now(), Duration::ZERO);
        while left > 0 {
            let mut frame = Some(self.next()?);
            while let Some(message) = frame {
                let Some(id) = message.header("ack").filter(|_| message.command == Command::Message) else {
                    return Err(unexpected(&message));
                };
                encode(&Frame::new(Command::Ack, &[("id", id)]), &mut acks);
                left = left.checked_sub(1).ok_or_else(|| io::Error::other("more messages than published"))?;
                frame = self.buffered()?;
            }
            self.stream.write_all(&acks)?;
            acks.clear();
            last = (Instant::now(), cpu_of_thread());
            clock.get_or_insert((left, last));
        }
        self.disconnect()?;
        let (left, first) = clock.ok_or_else(|| io::Error::other("no message was wanted"))?;
        Ok(Drained { messages: left, took: last.0 - first.0, cpu: last.1 - first.1 })
    }

    /// How many messages are in a queue. They stay there; ActiveMQ says of a browser when it has seen all.
    ///
    /// # Errors
    /// The operating system's, and what the broker refuses.
    pub fn count(mut self, destination: &str) -> io::Result<usize> {
        self.subscribe(destination, &[("browser", "true")])?;
        let mut messages = 0;
        loop {
            match self.next()? {
                end if end.header("browser") == Some("end") => break,
                Frame { command: Command::Message, .. } => messages += 1,
                other => return Err(unexpected(&other)),
            }
        }
        self.disconnect()?;
        Ok(messages)
    }

    fn subscribe(&mut self, destination: &str, more: &[(&str, &str)]) -> io::Result<()> {
        let mut subscribe = Frame::new(
            Command::Subscribe,
            &[("id", "s"), ("destination", destination), ("ack", "client-individual"), ("receipt", "s")],
        );
        more.iter().for_each(|(name, value)| subscribe.headers.push(name, value));
        self.send(&[subscribe])?;
        // ActiveMQ sends no message before it.
        self.receipt("s")
    }

    /// In order: everything that was sent is processed when it returns.
    fn disconnect(mut self) -> io::Result<()> {
        self.send(&[Frame::new(Command::Disconnect, &[("receipt", "bye")])])?;
        self.receipt("bye")
    }

    fn receipt(&mut self, id: &str) -> io::Result<()> {
        match self.next()? {
            frame if frame.command == Command::Receipt && frame.header("receipt-id") == Some(id) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn send(&mut self, frames: &[Frame]) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| encode(frame, &mut bytes));
        self.stream.write_all(&bytes)
    }

    /// The next frame; waits for it.
    fn next(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            match self.stream.read(&mut self.chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.input.extend_from_slice(&self.chunk[..read]),
            }
        }
    }

    /// The next frame, if it was read already.
    fn buffered(&mut self) -> io::Result<Option<Frame>> {
        self.decoder.next(&mut self.input).map_err(io::Error::other)
    }
}

fn unexpected(frame: &Frame) -> io::Error {
    io::Error::other(format!("the broker sent {frame:?}"))
}

fn cpu_of_thread() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec.unsigned_abs() as u32)
}
