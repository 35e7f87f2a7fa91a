//! The bytes of requests, so that a row shows only what is peculiar to it.
//!
//! `ROW` stands for the number of the row, in three digits, so that no length changes.

pub fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A hit with this request line and a host.
pub fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    bytes(&[line.as_ref(), b"\r\nHost: t\r\n\r\n"])
}

/// A hit on this target.
pub fn target(target: impl AsRef<[u8]>) -> Vec<u8> {
    line(bytes(&[b"GET ", target.as_ref(), b" HTTP/1.1"]))
}

/// A hit with these headers, each with its line break, and no host.
pub fn bare(headers: impl AsRef<[u8]>) -> Vec<u8> {
    bytes(&[b"GET /event/212312?row=ROW HTTP/1.1\r\n", headers.as_ref(), b"\r\n"])
}

/// A hit with these headers besides the host.
pub fn with(headers: impl AsRef<[u8]>) -> Vec<u8> {
    bare(bytes(&[b"Host: t\r\n", headers.as_ref()]))
}

/// The entry of a beacon that belongs to this row.
pub fn entry() -> &'static str {
    r#"{"program": "212312", "type": "click", "params": {"row": "ROW"}}"#
}

/// A beacon with these headers besides the host, none of which is added, and a body.
pub fn post(headers: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    bytes(&[b"POST /b HTTP/1.1\r\nHost: t\r\n", headers.as_ref(), b"\r\n", body.as_ref()])
}

/// A beacon with a body of known length.
pub fn sized(headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n{headers}", body.as_ref().len());
    post(length, body)
}

/// A beacon whose body stands here as it is on the wire, with `JSON` for an entry and `SIZE` for
/// its length in hex.
pub fn chunked(body: &str) -> Vec<u8> {
    let size = format!("{:x}", entry().len());
    post("Transfer-Encoding: chunked\r\n", body.replace("JSON", entry()).replace("SIZE", &size))
}

/// The requests behind one another.
pub fn pipeline(requests: &[&[u8]]) -> Vec<u8> {
    requests.concat()
}
