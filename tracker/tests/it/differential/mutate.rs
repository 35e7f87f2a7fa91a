//! Requests that are right, and ways to make them wrong.

/// Requests that every server answers, so that a difference comes from what was changed.
pub fn corpus() -> Vec<Vec<u8>> {
    let entry = r#"{"program": "212312", "type": "click"}"#;
    let sized = format!("POST /b HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{entry}", entry.len());
    let (first, rest) = entry.split_at(16);
    let size = rest.len();
    let chunked = format!(
        "POST /b HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nUser-Agent: a\r\n\r\n\
         10\r\n{first}\r\n{size:x};a=\"b\"\r\n{rest}\r\n0\r\nX-Sum: 1\r\n\r\n"
    );
    let texts = [
        "GET /event/212312?utm_source=a&x=1 HTTP/1.1\r\nHost: t\r\nUser-Agent: Mozilla/5.0\r\n\r\n",
        "GET /i/212312.gif HTTP/1.1\r\nHost: t.example:8080\r\nReferer: https://a.example/?q=1\r\n\r\n",
        "HEAD /event/212312 HTTP/1.1\r\nHost: t\r\nAccept: */*\r\nCookie: a=b; c=d\r\n\r\n",
        "GET http://t.example/c/212312?utm_source=b HTTP/1.1\r\nHost: t.example\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n",
        "GET /v/212312 HTTP/1.0\r\nConnection: keep-alive\r\nHost: t\r\n\r\n",
        "OPTIONS /b HTTP/1.1\r\nHost: [::1]:80\r\nOrigin: https://a.example\r\nContent-Length: 0\r\n\r\n",
        "DELETE /health/live HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, x\r\nX: y\r\n\r\n",
        "\r\nGET /robots.txt HTTP/1.1\r\nhost:t\r\nx-empty:\r\nIf-None-Match: \"a\", \"b\"\r\n\r\n",
    ];
    let texts = texts.into_iter().map(|text| text.as_bytes().to_vec());
    texts
        .chain([
            sized.clone().into_bytes(),
            chunked.clone().into_bytes(),
            sized.into_bytes(),
            chunked.into_bytes(),
        ])
        .collect()
}

/// Bytes and words that parsers have stumbled over.
const ODD: [&[u8]; 48] = [
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b"  ",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc3\xa9",
    b":",
    b";",
    b",",
    b"/",
    b"@",
    b"#",
    b"?",
    b"*",
    b"\"",
    b"|",
    b"{",
    b"<",
    b"\\",
    b"^",
    b"+",
    b"-",
    b"0",
    b"1",
    b"9999999999999999999999",
    b"chunked",
    b", chunked",
    b"identity",
    b"close",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/1.2",
    b"GET ",
    b"Host: u\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Expect: x\r\n",
    b"Upgrade: h2c\r\nConnection: upgrade\r\n",
];

/// One of the corpus with one to three changes.
pub fn request(random: &mut fastrand::Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.choice(corpus).unwrap().clone();
    for _ in 0..random.usize(1..4).min(random.usize(1..4)) {
        change(random, &mut bytes);
    }
    bytes
}

fn change(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = random.usize(0..bytes.len());
    match random.u8(0..10) {
        0 => bytes[at] ^= 1 << random.u8(0..8),
        1 | 2 => {
            let odd = random.choice(ODD).unwrap();
            bytes.splice(at..=at, odd.iter().copied());
        }
        3 | 4 => {
            let odd = random.choice(ODD).unwrap();
            bytes.splice(at..at, odd.iter().copied());
        }
        5 => {
            bytes.drain(at..(at + random.usize(1..5)).min(bytes.len()));
        }
        _ => change_lines(random, bytes),
    }
}

fn change_lines(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (one, other) = (random.usize(0..lines.len()), random.usize(0..lines.len()));
    match random.u8(0..4) {
        0 => lines.insert(other, lines[one].clone()),
        1 => lines.swap(one, other),
        2 => {
            lines.remove(one);
        }
        _ => {
            // A header of our own, in a place where one may stand.
            let odd = random.choice(&ODD[40..]).unwrap();
            lines.insert(1.min(lines.len()), odd.to_vec());
        }
    }
    *bytes = lines.concat();
}
