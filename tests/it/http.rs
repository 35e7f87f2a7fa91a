//! A client that shows what is on the wire, and nothing of its own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The id of the event that this answer acknowledged: of `/event`, or of a `/c`
    /// that was recorded, with a landing URL that has `click=`.
    pub fn message_id(&self) -> Option<String> {
        match self.status {
            200 => self.json()["messageId"].as_str().map(str::to_owned),
            302 if self.header("x-clickgate-recorded").is_none() => {
                let (_, id) = self.header("location")?.split_once("click=")?;
                id.get(..36).map(str::to_owned)
            }
            _ => None,
        }
    }
}

/// One connection, kept open.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub fn get(&mut self, target: &str) -> io::Result<Answer> {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: edge.test\r\nUser-Agent: it/1\r\n\r\n"))
    }

    /// Sends the head as it is and reads one answer.
    pub fn send(&mut self, head: &str) -> io::Result<Answer> {
        self.stream.get_mut().write_all(head.as_bytes())?;
        let mut line = String::new();
        let mut read_line = |stream: &mut BufReader<TcpStream>| -> io::Result<String> {
            line.clear();
            match stream.read_line(&mut line)? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(line.trim_end().to_owned()),
            }
        };
        let status = read_line(&mut self.stream)?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut headers = Vec::new();
        loop {
            let header = read_line(&mut self.stream)?;
            let Some((name, value)) = header.split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut answer =
            Answer { status: status.ok_or(io::ErrorKind::InvalidData)?, headers, body: Vec::new() };
        let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if !head.starts_with("HEAD ") {
            answer.body.resize(length, 0);
            self.stream.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }
}

/// One request on a connection of its own.
pub fn get(address: SocketAddr, target: &str) -> Answer {
    Client::open(address)
        .and_then(|mut client| client.get(target))
        .unwrap_or_else(|error| panic!("{target}: {error}"))
}
