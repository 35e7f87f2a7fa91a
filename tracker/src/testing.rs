//! A request for unit tests.

use crate::{
    http::parse::parse,
    request::head::{Head, Method},
};

pub use programs::testing::NOW;

/// The bytes of a request head.
pub struct TestHead {
    bytes: Vec<u8>,
    pub method: Method,
}

impl TestHead {
    /// Parses it as a connection does.
    pub fn read(&self) -> Head<'_> {
        let request = parse(&self.bytes, Some([203, 0, 113, 9].into()), 1 << 20).unwrap().unwrap();
        Head { method: self.method, ..request.head }
    }
}

pub fn head(target: &str, headers: &[(&'static str, &[u8])]) -> TestHead {
    let mut bytes = format!("GET {target} HTTP/1.1\r\nhost: t\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    TestHead { bytes, method: Method::Get }
}
