//! The way to the server: the listening socket, the connections, and outages.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, Weak};

use socket2::{Domain, SockRef, Socket, Type};

/// How a server is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Connections are refused, and open ones cut.
    Refusing,
    /// Connections are made, requests are taken, and nothing is said.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Down(Outage),
    Ended,
}

pub struct Link {
    listener: Socket,
    port: u16,
    state: Mutex<State>,
    changed: Condvar,
    open: Mutex<Vec<Weak<TcpStream>>>,
}

impl Link {
    pub fn open() -> Self {
        // Only a port that was asked for by its number outlives an outage, so a free one is held
        // until it has been.
        let (_free, port) = bind(0);
        let (listener, port) = bind(port);
        listener.listen(1024).unwrap();
        let state = Mutex::new(State::Up);
        Self { listener, port, state, changed: Condvar::new(), open: Mutex::default() }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.open.lock().unwrap().iter().filter(|stream| stream.strong_count() > 0).count()
    }

    /// The next connection; `None` when all is over.
    pub fn accept(&self) -> Option<Arc<TcpStream>> {
        loop {
            let state = self.state.lock().unwrap();
            let is_refusing = |state: &mut State| *state == State::Down(Outage::Refusing);
            if *self.changed.wait_while(state, is_refusing).unwrap() == State::Ended {
                return None;
            }
            // An outage that begins meanwhile is an error here.
            let Ok((client, _)) = self.listener.accept() else { continue };
            let client = Arc::new(TcpStream::from(client));
            let mut open = self.open.lock().unwrap();
            open.retain(|stream| stream.strong_count() > 0);
            open.push(Arc::downgrade(&client));
            return Some(client);
        }
    }

    pub fn go_down(&self, outage: Outage) {
        self.change(State::Down(outage));
        if outage == Outage::Refusing {
            // It keeps its port, and refuses whoever comes.
            self.listener.shutdown(Shutdown::Both).unwrap();
            self.cut();
        }
    }

    pub fn come_back(&self) {
        // Again after an outage in which it refused; else it does nothing.
        self.listener.listen(1024).unwrap();
        self.change(State::Up);
    }

    pub fn end(&self) {
        let _ = self.listener.listen(1024);
        self.change(State::Ended);
        self.cut();
    }

    /// Goes on if there is no outage; an error if there is one, after it if it is a silent one.
    pub fn pass(&self) -> io::Result<()> {
        let state = self.state.lock().unwrap();
        if *state == State::Up {
            return Ok(());
        }
        let is_silent = |state: &mut State| *state == State::Down(Outage::Silent);
        drop(self.changed.wait_while(state, is_silent).unwrap());
        Err(io::ErrorKind::ConnectionReset.into())
    }

    fn change(&self, state: State) {
        *self.state.lock().unwrap() = state;
        self.changed.notify_all();
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..).filter_map(|stream| stream.upgrade()) {
            reset_when_closed(&stream);
            // Who reads from it ends, and closes it. It may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn bind(port: u16) -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

/// The other side is told that the connection was reset, not that it has ended.
pub fn reset_when_closed(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

/// Whether the other side has hung up.
pub fn has_hung_up(stream: &TcpStream) -> bool {
    peek(stream).map_or_else(|error| error.kind() != io::ErrorKind::WouldBlock, |bytes| bytes == 0)
}

/// Whether the other side has not taken what was sent to it.
///
/// One that closes a connection without having read everything resets it, as does one that is sent
/// more after that. One that has read everything does not.
pub fn has_reset(stream: &TcpStream) -> bool {
    peek(stream).is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
}

fn peek(stream: &TcpStream) -> io::Result<usize> {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    peeked
}
