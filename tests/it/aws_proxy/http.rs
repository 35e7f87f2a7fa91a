//! Whole HTTP/1.1 messages, as much of them as a proxy needs.

use std::io::{self, BufRead, Read, Write};

/// Bytes of the head of a message at most.
const HEAD_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a body at most: PutRecords takes 10 MiB, which are a third more in base64.
const BODY_BYTES_MAX: u64 = 32 << 20;

/// A request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `POST / HTTP/1.1`, or `HTTP/1.1 200 OK`.
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    /// The next request of a client; `None` if there is none.
    pub fn read_request(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        if from.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut message = Self::read_head(from)?;
        message.body = message.read_body(from, 0)?;
        Ok(Some(message))
    }

    /// The answer of a server that closes the connection after it.
    pub fn read_answer(from: &mut impl BufRead) -> io::Result<Self> {
        let mut message = Self::read_head(from)?;
        message.body = message.read_body(from, BODY_BYTES_MAX)?;
        Ok(message)
    }

    /// An answer with this JSON.
    pub fn answer(status: u16, body: Vec<u8>) -> Self {
        let headers = [
            ("Date", httpdate::fmt_http_date(std::time::SystemTime::now())),
            ("Content-Type", "application/x-amz-json-1.1".to_owned()),
            ("x-amzn-RequestId", format!("{:032x}", fastrand::u128(..))),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        Self { start: format!("HTTP/1.1 {status} by the proxy"), headers, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// In the place of all of that name.
    pub fn set_header(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Of an answer.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// Head and body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.start).into_bytes();
        for (name, value) in &self.headers {
            if !["content-length", "transfer-encoding"].contains(&&*name.to_ascii_lowercase()) {
                write!(bytes, "{name}: {value}\r\n").expect("a vector grows");
            }
        }
        write!(bytes, "Content-Length: {}\r\n\r\n", self.body.len()).expect("a vector grows");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn read_head(from: &mut impl BufRead) -> io::Result<Self> {
        let mut head = from.take(HEAD_BYTES_MAX);
        let start = line(&mut head)?;
        let mut headers = Vec::new();
        loop {
            let line = line(&mut head)?;
            if line.is_empty() {
                return Ok(Self { start, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// `length_if_unknown`: of a body whose head does not say how long it is, at most.
    fn read_body(&self, from: &mut impl BufRead, length_if_unknown: u64) -> io::Result<Vec<u8>> {
        if self.header("Transfer-Encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked")) {
            return read_chunks(from);
        }
        let mut body = Vec::new();
        let Some(length) = self.header("Content-Length") else {
            from.take(length_if_unknown).read_to_end(&mut body)?;
            return Ok(body);
        };
        let length = length.parse().ok().filter(|length| *length <= BODY_BYTES_MAX);
        read_exactly(from, length.ok_or(io::ErrorKind::InvalidData)?, &mut body)?;
        Ok(body)
    }
}

fn read_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(from)?;
        let size = u64::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.map_err(io::Error::other)?;
        if size > BODY_BYTES_MAX - body.len() as u64 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        read_exactly(from, size, &mut body)?;
        // After the last chunk trailers may follow; there are none in this protocol.
        if !line(from)?.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if size == 0 {
            return Ok(body);
        }
    }
}

fn read_exactly(from: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let read = from.take(length).read_to_end(body)?;
    if read as u64 == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let whole = line.strip_suffix('\n').ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(whole.trim_end_matches('\r').to_owned())
}

#[test]
fn a_message_is_read_however_its_length_is_said_and_a_part_of_it_is_an_error() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let counted = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde";
    for text in [chunked, counted] {
        let message = Message::read_answer(&mut text.as_bytes()).unwrap();
        assert_eq!((message.status(), &message.body[..]), (200, &b"abcde"[..]));
        let again = String::from_utf8(message.to_bytes()).unwrap();
        assert_eq!(again, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde");
        for end in 0..text.len() {
            assert!(Message::read_answer(&mut &text.as_bytes()[..end]).is_err(), "{end} of {text}");
        }
    }
    let to_the_end = Message::read_answer(&mut "HTTP/1.1 200 OK\r\n\r\nabcde".as_bytes()).unwrap();
    assert_eq!(to_the_end.body, b"abcde");
    let mut two = "POST / HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\n\r\n".as_bytes();
    assert_eq!(Message::read_request(&mut two).unwrap().unwrap().body, b"");
    assert_eq!(Message::read_request(&mut two).unwrap().unwrap().start, "POST /2 HTTP/1.1");
    assert_eq!(Message::read_request(&mut two).unwrap(), None);
    for too_long in ["Content-Length: 99999999999", "Transfer-Encoding: chunked\r\n\r\nfffffffff"] {
        let text = format!("HTTP/1.1 200 OK\r\n{too_long}\r\n\r\n");
        assert!(Message::read_answer(&mut text.as_bytes()).is_err());
    }
    let endless = "x".repeat(HEAD_BYTES_MAX as usize + 1);
    assert!(Message::read_answer(&mut endless.as_bytes()).is_err());
}
