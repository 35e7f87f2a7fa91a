//! An answer on the wire: always with its length, and the last one of its connection.

use std::fmt::Write as _;
use std::io;
use std::time::SystemTime;

use actix_web::HttpResponse;
use actix_web::body::{self, MessageBody};
use actix_web::http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use actix_web::web::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::pace::Pace;

/// What is to be sent.
pub struct Answer {
    pub head: Vec<u8>,
    pub body: Bytes,
}

/// The bytes of `response`; its length is that of the body also if the body is not to be sent.
pub async fn bytes_of<B: MessageBody>(response: HttpResponse<B>) -> Answer {
    let (response, body) = response.into_parts();
    let Ok(body) = body::to_bytes(body).await else {
        return Answer {
            head: b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                .to_vec(),
            body: Bytes::new(),
        };
    };
    let status = response.status();
    let mut text = String::new();
    let _ = write!(text, "HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or(""));
    let _ = write!(text, "Content-Length: {}\r\nConnection: close\r\n", body.len());
    let _ = write!(text, "Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
    let mut head = text.into_bytes();
    for (name, value) in response.headers() {
        // These are ours to say.
        if [CONTENT_LENGTH, CONNECTION, TRANSFER_ENCODING, DATE].contains(name) {
            continue;
        }
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Answer { head, body }
}

/// Sends all of `bytes`, unless the client does not take them.
///
/// # Errors
/// The client is gone or too slow.
pub async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    let mut pace = Pace::new(Instant::now());
    while !bytes.is_empty() {
        timeout_at(pace.deadline(), stream.writable()).await.map_err(|_| io::ErrorKind::TimedOut)??;
        match stream.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                pace.advance(written, Instant::now());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
