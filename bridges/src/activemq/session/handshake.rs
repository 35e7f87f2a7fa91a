//! CONNECT and SUBSCRIBE, each with its answer.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::super::codec::{Decoder, encode};
use super::super::config::{Broker, Endpoint, Format, Queue};
use super::super::frame::{Command, Frame};
use super::SessionError;
use super::io::Pace;

/// Characters of a refusal that are repeated.
const REASON_CHARS_MAX: usize = 300;
/// Messages that may arrive before the receipt of SUBSCRIBE, and their bytes, with one message more.
const EARLY_MAX: usize = 10_000;
const EARLY_BYTES_MAX: usize = 16 << 20;

/// A connection that is not read by a task yet.
pub struct Talk<'t, S> {
    pub stream: &'t mut S,
    pub decoder: &'t mut Decoder,
    pub input: &'t mut BytesMut,
    pub endpoint: &'t Endpoint,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    /// Logs in; returns the pace of heart-beats that both agreed on.
    pub async fn log_in(&mut self, broker: &Broker, queue: &Queue) -> Result<Pace, SessionError> {
        let beat = broker.heart_beat_ms;
        let host = broker.virtual_host.as_deref().unwrap_or(&self.endpoint.host);
        let beats = format!("{beat},{beat}");
        let mut connect = Frame::new(
            Command::Connect,
            &[("accept-version", "1.2"), ("host", host), ("heart-beat", &beats)],
        );
        let optional =
            [("login", &broker.username), ("passcode", &broker.password), ("client-id", &queue.client_id)];
        for (name, value) in optional {
            if let Some(value) = value {
                connect.headers.push(name, value);
            }
        }
        for (name, value) in &broker.connect_headers {
            connect.headers.push(name, value);
        }
        self.write(&connect).await?;
        let answer = self.read("logging in").await?;
        match answer.command {
            Command::Connected if answer.header("version") == Some("1.2") => {
                let theirs = answer.header("heart-beat").unwrap_or("0,0");
                Ok(Pace::agreed(broker.heart_beat(), theirs))
            }
            Command::Connected => {
                let version = answer.header("version").unwrap_or("1.0");
                Err(self.refused("CONNECT", &format!("it speaks STOMP {version}, and not 1.2")))
            }
            _ => Err(self.refused("CONNECT", &reason(&answer))),
        }
    }

    /// Subscribes; returns what came before the receipt.
    pub async fn subscribe(
        &mut self,
        queue: &Queue,
        id: &str,
        receipt: &str,
    ) -> Result<Vec<Frame>, SessionError> {
        let prefetch = queue.prefetch.to_string();
        let mut subscribe = Frame::new(
            Command::Subscribe,
            &[
                ("id", id),
                ("destination", &queue.destination),
                ("ack", "client-individual"),
                ("activemq.prefetchSize", &prefetch),
                ("receipt", receipt),
            ],
        );
        if let Some(selector) = &queue.selector {
            subscribe.headers.push("selector", selector);
        }
        if let Some(durable) = &queue.durable {
            subscribe.headers.push("activemq.subscriptionName", durable);
        }
        if queue.format == Format::Map {
            subscribe.headers.push("transformation", "jms-map-json");
        }
        for (name, value) in &queue.subscribe_headers {
            subscribe.headers.push(name, value);
        }
        self.write(&subscribe).await?;
        let mut early = Vec::new();
        let mut early_bytes = 0;
        loop {
            let answer = self.read("subscribing").await?;
            match answer.command {
                Command::Receipt if answer.header("receipt-id") == Some(receipt) => return Ok(early),
                Command::Error => return Err(self.refused("SUBSCRIBE", &reason(&answer))),
                _ if early.len() < EARLY_MAX && early_bytes < EARLY_BYTES_MAX => {
                    early_bytes += answer.bytes();
                    early.push(answer);
                }
                _ => return Err(self.refused("SUBSCRIBE", "it sent messages without its receipt")),
            }
        }
    }

    async fn write(&mut self, frame: &Frame) -> Result<(), SessionError> {
        let mut bytes = BytesMut::new();
        encode(frame, &mut bytes);
        let written = self.stream.write_all(&bytes).await;
        let flushed = match written {
            Ok(()) => self.stream.flush().await,
            Err(error) => Err(error),
        };
        flushed.map_err(|source| self.io("writing failed", source))
    }

    async fn read(&mut self, what: &'static str) -> Result<Frame, SessionError> {
        loop {
            let decoded = self.decoder.next(self.input);
            let endpoint = || self.endpoint.to_string();
            match decoded.map_err(|fault| SessionError::BadFrame { endpoint: endpoint(), fault })? {
                Some(frame) => return Ok(frame),
                None => {
                    let read = self.stream.read_buf(self.input).await;
                    if read.map_err(|source| self.io(what, source))? == 0 {
                        return Err(SessionError::Closed { endpoint: self.endpoint.to_string() });
                    }
                }
            }
        }
    }

    fn io(&self, what: &'static str, source: std::io::Error) -> SessionError {
        SessionError::Io { endpoint: self.endpoint.to_string(), what, source }
    }

    fn refused(&self, what: &'static str, reason: &str) -> SessionError {
        SessionError::Refused { endpoint: self.endpoint.to_string(), what, reason: reason.to_owned() }
    }
}

/// What an ERROR frame says, in one line; the body of ActiveMQ's is a stack trace.
pub fn reason(error: &Frame) -> String {
    let body = String::from_utf8_lossy(&error.body);
    let said = error.header("message").or_else(|| body.lines().next());
    let said = said.filter(|said| !said.is_empty()).unwrap_or(error.command.word());
    said.chars().filter(|char| !char.is_control()).take(REASON_CHARS_MAX).collect()
}

impl Pace {
    /// `theirs` is the broker's `heart-beat`: what it sends, and what it wants.
    pub fn agreed(ours: Duration, theirs: &str) -> Self {
        let mut parts = theirs.split(',').map(|part| part.trim().parse::<u64>().unwrap_or(0));
        let mut longer = || match parts.next().map(Duration::from_millis) {
            Some(theirs) if !theirs.is_zero() && !ours.is_zero() => Some(theirs.max(ours)),
            // 0 on either side: there are no beats in this direction.
            _ => None,
        };
        let comes_every = longer();
        Self { goes_every: longer(), comes_every }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_of_both_sets_the_pace_and_zero_means_none() {
        let pace = |ours, theirs| {
            let pace = Pace::agreed(Duration::from_millis(ours), theirs);
            let ms = |every: Option<Duration>| every.map(|every| every.as_millis());
            (ms(pace.goes_every), ms(pace.comes_every))
        };
        assert_eq!(pace(10_000, "10000,10000"), (Some(10_000), Some(10_000)));
        assert_eq!(pace(10_000, "20000,5000"), (Some(10_000), Some(20_000)));
        assert_eq!(pace(10_000, "0,5000"), (Some(10_000), None));
        assert_eq!(pace(0, "5,5"), (None, None));
        assert_eq!(pace(10, "nonsense"), (None, None));
    }

    #[tokio::test]
    async fn what_comes_before_the_receipt_of_subscribe_is_bounded_by_its_bytes() {
        let (mut ours, mut brokers) = tokio::io::duplex(64 * 1024);
        let mut message = Frame::new(Command::Message, &[("subscription", "s")]);
        message.body = vec![b'x'; 1 << 20].into();
        let mut bytes = BytesMut::new();
        encode(&message, &mut bytes);
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            while brokers.write_all(&bytes).await.is_ok() {
                sent += 1;
            }
            sent
        });
        let endpoint = "stomp://broker:1".parse().unwrap();
        let mut decoder = Decoder::new(super::super::Limits::default());
        let mut talk = Talk {
            stream: &mut ours,
            decoder: &mut decoder,
            input: &mut BytesMut::new(),
            endpoint: &endpoint,
        };
        let subscribed = talk.subscribe(&Queue::default(), "s", "r").await;
        assert!(matches!(subscribed, Err(SessionError::Refused { what: "SUBSCRIBE", .. })), "{subscribed:?}");
        drop(ours);
        let sent = sending.await.unwrap();
        assert!(sent <= (EARLY_BYTES_MAX >> 20) + 2, "{sent} MiB");
    }

    #[test]
    fn of_a_refusal_one_line_is_repeated() {
        let mut error =
            Frame::new(Command::Error, &[("message", "User name [x] or password is invalid.\n\tat java")]);
        assert_eq!(reason(&error), "User name [x] or password is invalid.at java");
        error.headers = Default::default();
        error.body = "first\nsecond".into();
        assert_eq!(reason(&error), "first");
    }
}
