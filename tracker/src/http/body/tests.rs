use std::rc::Rc;

use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::*;
use crate::{
    config::Limits,
    http::{budget::Budget, closing::Closing},
};

/// A server's side of a connection, what it needs to read a body, and the client's side.
struct Pair {
    socket: TcpStream,
    client: TcpStream,
    wait: Wait,
    buffers: Rc<BufferPool>,
    config: Config,
}

impl Pair {
    async fn new(body_bytes_max: usize, bodies_bytes_max: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let limits = Limits { body_bytes_max, ..Limits::default() };
        let config = Config { limits, client_request_timeout_ms: 200, ..Config::default() };
        let wait = Wait::new(Instant::now(), &Closing::default());
        Self { socket, client, wait, buffers: BufferPool::new(Budget::new(bodies_bytes_max)), config }
    }

    async fn read(&mut self, framing: Framing, begun: &[u8]) -> Result<(Body, Rest), BodyError> {
        let Self { socket, wait, buffers, config, .. } = self;
        BodyReader { socket, wait, buffers, config }.read(framing, begun).await
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.unwrap();
    }

    fn held_bytes(&self) -> usize {
        self.buffers.budget().held_bytes()
    }
}

fn after_head(rest: &Rest) -> Option<usize> {
    if let Rest::AfterHead(bytes) = rest { Some(*bytes) } else { None }
}

#[tokio::test]
async fn a_body_that_came_with_its_head_is_read_without_another_look() {
    let mut pair = Pair::new(10, 10).await;
    let (body, rest) = pair.read(Framing::Length(3), b"abcGET").await.unwrap();
    assert_eq!((&*body, after_head(&rest)), (&b"abc"[..], Some(3)));
    let (body, rest) = pair.read(Framing::Chunked, b"3\r\nabc\r\n0\r\n\r\nGET").await.unwrap();
    assert_eq!((&*body, after_head(&rest)), (&b"abc"[..], Some(13)));
    let (body, rest) = pair.read(Framing::Nothing, b"GET").await.unwrap();
    assert_eq!((body.len(), after_head(&rest)), (0, Some(0)));
}

#[tokio::test]
async fn what_follows_a_body_is_left_for_the_next_request() {
    let mut pair = Pair::new(10, 10).await;
    pair.send(b"cdGET / HTTP").await;
    let (body, rest) = pair.read(Framing::Length(4), b"ab").await.unwrap();
    assert!(matches!(rest, Rest::In(None)));
    assert_eq!(&*body, b"abcd");
    let mut left = [0; 10];
    tokio::io::AsyncReadExt::read_exact(&mut pair.socket, &mut left).await.unwrap();
    assert_eq!(&left, b"GET / HTTP");

    pair.send(b"d\r\n0\r\n\r\nGET /").await;
    let (body, rest) = pair.read(Framing::Chunked, b"4\r\nabc").await.unwrap();
    let Rest::In(Some(buffer)) = rest else { panic!("the next request") };
    assert_eq!((&*body, &*buffer), (&b"abcd"[..], &b"GET /"[..]));
}

#[tokio::test]
async fn a_body_has_its_bound_to_the_byte_and_is_refused_by_its_length_at_once() {
    let mut pair = Pair::new(10, 100).await;
    assert_eq!(pair.read(Framing::Length(10), b"0123456789").await.unwrap().0.len(), 10);
    assert_eq!(pair.read(Framing::Length(11), b"").await.err(), Some(BodyError::TooLarge));
    assert_eq!(pair.read(Framing::Length(u64::MAX), b"").await.err(), Some(BodyError::TooLarge));
    assert!(pair.read(Framing::Chunked, b"a\r\n0123456789\r\n0\r\n\r\n").await.is_ok());
    let long = b"a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n";
    assert_eq!(pair.read(Framing::Chunked, long).await.err(), Some(BodyError::TooLarge));
    assert_eq!(pair.read(Framing::Chunked, b"x\r\n").await.err(), Some(BodyError::BadChunk));
}

#[tokio::test]
async fn bodies_share_their_room_and_a_promise_takes_none() {
    let mut pair = Pair::new(1 << 20, 2 * BUFFER_BYTES).await;
    let (first, _) = pair.read(Framing::Length(BUFFER_BYTES as u64), &[b'x'; BUFFER_BYTES]).await.unwrap();
    assert_eq!(pair.held_bytes(), BUFFER_BYTES);
    pair.send(&[b'x'; 3 * BUFFER_BYTES]).await;
    assert_eq!(pair.read(Framing::Length(1 << 20), b"").await.err(), Some(BodyError::NoRoom));
    assert_eq!(pair.held_bytes(), BUFFER_BYTES, "given back");
    assert_eq!(pair.read(Framing::Length(1 << 19), b"x").await.err(), Some(BodyError::NoRoom));
    drop(first);
    assert_eq!(pair.held_bytes(), 0);
}

#[tokio::test]
async fn a_body_that_stops_is_given_up_and_one_that_breaks_off_is_told_apart() {
    let mut pair = Pair::new(10, 100).await;
    let began = Instant::now();
    assert_eq!(pair.read(Framing::Length(10), b"begun").await.err(), Some(BodyError::Slow));
    assert_eq!(pair.read(Framing::Chunked, b"5\r\nbe").await.err(), Some(BodyError::Slow));
    assert!(began.elapsed() >= Duration::from_millis(400));
    pair.config.client_body_timeout_ms = 100;
    assert_eq!(
        pair.read(Framing::Length(10), b"").await.err(),
        Some(BodyError::Slow),
        "all of it, at the latest"
    );
    pair.client.shutdown().await.unwrap();
    assert_eq!(pair.read(Framing::Length(10), b"begun").await.err(), Some(BodyError::Broken));
    assert_eq!(pair.held_bytes(), 0);
}
