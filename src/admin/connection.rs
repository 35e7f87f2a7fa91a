//! A connection of the admin address: one request, one answer, closed.
//!
//! ```text
//! accept ──► head ──► the app, which may ask for the body ──► answer ──► close
//!            10 s     as fast as a pace allows                a pace     2 s
//! ```
//!
//! Each state in which we wait for the client has a deadline, and nothing is read before it is
//! asked for. So a client that is silent, slow or greedy holds one of [`CONNECTIONS_MAX`] places
//! for a while, at most a head and what it is answered in memory, and no CPU at all.
//!
//! # Why not `HttpServer`?
//!
//! The dispatcher of actix-http reads ahead of the answers: it keeps a core busy for as long as a
//! client pipelines and does not read, it bounds neither the requests nor the answers that wait,
//! and it has no time limit once the first head is there. So the `App` is called directly. One
//! request a connection is enough for a page, a command and Prometheus, and leaves nothing to
//! pipeline.

mod answer;
mod body;
mod head;
mod pace;

use std::io;
use std::net::{Shutdown, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use actix_http::Request;
use actix_server::GracefulShutdownSignal;
use actix_service::IntoServiceFactory;
use actix_web::body::MessageBody;
use actix_web::dev::{
    AppConfig, Payload, Server, Service, ServiceFactory, ServiceResponse, fn_factory, fn_service,
};
use actix_web::{Error, HttpResponse};
use tokio::net::TcpStream;
use tokio::time::timeout;

use body::Body;
use head::Head;
pub use head::says_no_length;

/// Connections at a time; more wait in the kernel.
const CONNECTIONS_MAX: usize = 128;
/// A client gets this long to take the end of the answer and to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// Bytes that a client may have sent unasked without its connection being reset.
const IGNORED_BYTES_MAX: usize = 1 << 20;
/// Requests in progress when the server stops.
const SHUTDOWN_SECONDS: u64 = 2;

/// Serves what `app` makes, on one worker; the server is to be spawned.
///
/// # Errors
/// The worker cannot be started.
pub fn serve<A, F, S, B>(listener: TcpListener, app: A) -> io::Result<Server>
where
    A: Fn() -> F + Clone + Send + 'static,
    F: IntoServiceFactory<S, Request>,
    S: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let builder = Server::build()
        .workers(1)
        .max_concurrent_connections(CONNECTIONS_MAX)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let worker = move || {
        let app = app.clone();
        let stopping = stopping.clone();
        fn_factory(move || {
            let made = app().into_factory().new_service(AppConfig::default());
            let stopping = stopping.clone();
            async move {
                let app = Rc::new(made.await?);
                Ok::<_, ()>(fn_service(move |stream: TcpStream| {
                    let app = Rc::clone(&app);
                    let stopping = stopping.clone();
                    async move { answer_one(stream, &*app, &stopping).await }
                }))
            }
        })
    };
    Ok(builder.listen("admin", listener, worker)?.run())
}

/// Reads a request, answers it and closes.
async fn answer_one<S, B>(stream: TcpStream, app: &S, stopping: &GracefulShutdownSignal) -> io::Result<()>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    let stream = Rc::new(stream);
    stream.set_nodelay(true)?;
    let head = tokio::select! {
        head = Head::read(&stream) => head,
        // Nobody waits for an answer here.
        () = stopping.notified() => return Ok(()),
    };
    let wants_body = !matches!(&head, Ok(Some(head)) if head.method == "HEAD");
    let answer = match head {
        Ok(Some(head)) => ask(app, head, &stream).await,
        Ok(None) => return Ok(()),
        Err(refused) => answer::bytes_of(super::refusal(&refused)).await,
    };
    answer::write(&stream, &answer.head).await?;
    if wants_body {
        answer::write(&stream, &answer.body).await?;
    }
    close(&stream).await
}

async fn ask<S, B>(app: &S, head: Head, stream: &Rc<TcpStream>) -> answer::Answer
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    let Head { method, uri, version, headers, length, expects_continue, rest } = head;
    let body = Body::new(Rc::clone(stream), length, rest, expects_continue);
    let mut request = Request::with_payload(Payload::Stream { payload: body.into_stream() });
    let given = request.head_mut();
    given.method = method;
    given.uri = uri;
    given.version = version;
    given.headers = headers;
    given.peer_addr = stream.peer_addr().ok();
    match app.call(request).await {
        Ok(answered) => answer::bytes_of(answered.into_parts().1).await,
        Err(error) => answer::bytes_of(HttpResponse::from_error(error)).await,
    }
}

/// Lets the client take the whole answer before the connection goes: bytes that we leave unread
/// make the kernel reset it, and a reset may overtake the answer.
async fn close(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).shutdown(Shutdown::Write)?;
    let mut ignored = vec![0; 16 << 10];
    let mut left = IGNORED_BYTES_MAX;
    let drained = async {
        while left > 0 {
            stream.readable().await?;
            match stream.try_read(&mut ignored) {
                Ok(0) => break,
                Ok(bytes) => left = left.saturating_sub(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    timeout(CLOSE_WITHIN, drained).await.unwrap_or(Ok(()))
}
