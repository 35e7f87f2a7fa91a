//! A TCP proxy in front of Redis that loses what a network, a failover or a slow peer loses.
//!
//! It knows as much of RESP as it takes to drop whole published messages on their way to a
//! subscriber, and nothing else: every other byte passes as it came. It can be pointed at
//! another server, as a failover does (open connections are cut), and hold what a server
//! says, as a link does that lags.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Bytes of one frame at most; beyond it the connection is cut.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// A running proxy; its connections are cut when it is dropped.
pub struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: AtomicU16,
    /// Whether what the server says is RESP.
    is_resp: bool,
    /// Of so many published messages the last one is dropped; 0 drops none, 1 all.
    drop_every: AtomicU64,
    published: AtomicU64,
    dropped: AtomicU64,
    held: Mutex<bool>,
    let_go: Condvar,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl FaultProxy {
    /// A proxy of the server on this port of 127.0.0.1, for clients of Redis.
    pub fn to(target: u16) -> Self {
        Self::start(target, true)
    }

    /// The same for a replica, to which a server says more than RESP: drops no messages.
    pub fn of_replication(target: u16) -> Self {
        Self::start(target, false)
    }

    fn start(target: u16, is_resp: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            target: AtomicU16::new(target),
            is_resp,
            drop_every: AtomicU64::new(0),
            published: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            held: Mutex::new(false),
            let_go: Condvar::new(),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || serving.serve(&listener));
        Self { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on the server on this port; open connections are cut.
    pub fn point_to(&self, target: u16) {
        self.shared.target.store(target, SeqCst);
        self.shared.cut();
    }

    /// Drops one of `every` published messages from now on; 0 none.
    pub fn drop_one_of(&self, every: u64) {
        self.shared.published.store(0, SeqCst);
        self.shared.drop_every.store(every, SeqCst);
    }

    /// Messages dropped so far.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(SeqCst)
    }

    /// Keeps back what the server says.
    pub fn hold(&self) {
        *self.shared.held.lock().unwrap() = true;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        *self.shared.held.lock().unwrap() = false;
        self.shared.let_go.notify_all();
        self.shared.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.ended.load(SeqCst) {
                return;
            }
            // A server that is gone refuses; so do we, by hanging up.
            if let Ok(client) = client {
                let _ = self.join(client);
            }
        }
    }

    fn join(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, self.target.load(SeqCst)));
        let server = TcpStream::connect(server)?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            self.open.lock().unwrap().push(stream.try_clone()?);
        }
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from_client, &mut to_server);
            hang_up(&[from_client, to_server]);
        });
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let _ = shared.pass_answers(&server, &client);
            hang_up(&[server, client]);
        });
        Ok(())
    }

    /// Server to client, message by message.
    fn pass_answers(&self, mut server: &TcpStream, mut client: &TcpStream) -> io::Result<()> {
        let (mut waiting, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let read = server.read(&mut chunk)?;
            if read == 0 || waiting.len() > FRAME_BYTES_MAX {
                return Ok(());
            }
            let held = self.held.lock().unwrap();
            drop(self.let_go.wait_while(held, |held| *held).unwrap());
            if !self.is_resp {
                client.write_all(&chunk[..read])?;
                continue;
            }
            waiting.extend_from_slice(&chunk[..read]);
            let mut passed = 0;
            while let Some(length) = frame_length(&waiting[passed..]) {
                let frame = &waiting[passed..passed + length];
                if !(is_published(frame) && self.is_to_be_dropped()) {
                    client.write_all(frame)?;
                }
                passed += length;
            }
            waiting.drain(..passed);
        }
    }

    fn is_to_be_dropped(&self) -> bool {
        let number = self.published.fetch_add(1, SeqCst) + 1;
        let every = self.drop_every.load(SeqCst);
        let drops = every > 0 && number.is_multiple_of(every);
        self.dropped.fetch_add(u64::from(drops), SeqCst);
        drops
    }

    fn cut(&self) {
        let open: Vec<_> = self.open.lock().unwrap().drain(..).collect();
        hang_up(&open);
    }
}

fn hang_up(streams: &[TcpStream]) {
    for stream in streams {
        // It may be gone already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Bytes of the first frame of RESP 2 or 3; `None` if it is not whole, or no frame.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<i64>().ok();
    let elements = match bytes[0] {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => 0,
        b'$' | b'=' | b'!' => {
            let length = usize::try_from(number()?).ok().map_or(line, |body| line + body + 2);
            return (bytes.len() >= length).then_some(length);
        }
        b'*' | b'~' | b'>' => number()?.max(0),
        b'%' | b'|' => number()?.max(0) * 2,
        _ => return None,
    };
    let mut length = line;
    for _ in 0..elements {
        length += frame_length(&bytes[length..])?;
    }
    Some(length)
}

/// Whether a frame is a message of a channel, of a node or of a shard.
fn is_published(frame: &[u8]) -> bool {
    let Some(line) = frame.windows(2).position(|pair| pair == b"\r\n") else { return false };
    let body = &frame[line + 2..];
    b">*".contains(&frame[0])
        && [&b"$7\r\nmessage\r\n"[..], b"$8\r\nsmessage\r\n"].iter().any(|kind| body.starts_with(kind))
}

#[test]
fn a_frame_is_as_long_as_it_says_and_a_part_of_it_is_none() {
    let published = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nab\r\nc\r\n";
    for frame in [&b"+OK\r\n"[..], b"$-1\r\n", b"*2\r\n:1\r\n$2\r\nab\r\n", b"%1\r\n+k\r\n*0\r\n", published]
    {
        assert_eq!(frame_length(&[frame, b"+next\r\n"].concat()), Some(frame.len()));
        for end in 0..frame.len() {
            assert_eq!(frame_length(&frame[..end]), None, "{end} of {frame:?}");
        }
    }
    assert!(is_published(published) && !is_published(b"*2\r\n$7\r\nmessage\r\n".split_at(4).1));
    assert!(!is_published(b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"));
}
