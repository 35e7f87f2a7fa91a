//! A server on hyper that answers 200 to whatever it understands, once it has read the body.

use std::net::{SocketAddr, TcpListener};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// The header that tells its own answers from those that hyper gives by itself.
pub const SERVED: &str = "x-served";

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    request.into_body().collect().await?;
    let mut answer = Response::new(Full::from("served\n"));
    answer.headers_mut().insert(SERVED, hyper::header::HeaderValue::from_static("1"));
    Ok(answer)
}

/// Starts it on a free port, for as long as the tests run.
pub fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let connection = http1::Builder::new()
                .half_close(true)
                .serve_connection(TokioIo::new(socket), service_fn(answer));
            // How a connection ends is seen by its client.
            tokio::spawn(async move { drop(connection.await) });
        }
    };
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve)
    });
    address
}
