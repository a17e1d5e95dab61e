//! One connection: its requests, the time it has for headers, and its end.

use crate::refusal;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pelton_base::Report;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower_service::Service;

/// How long a connection without a request under way stays after serving was told to end: what was sent by then is read in less.
const UNASKED: Duration = Duration::from_millis(500);

/// How long a client that is refused may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers the requests of a connection until it ends, its next request's headers take longer than `headers`, or `stopped`; then a request
/// under way is still answered.
pub(crate) async fn answer(stream: TcpStream, routes: Router, headers: Duration, mut stopped: watch::Receiver<()>) {
    // Small answers must not wait for an acknowledgement of the one before; a socket that refuses the option still works.
    drop(stream.set_nodelay(true));
    let is_asked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_asked);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let under_way = UnderWay::begin(&asked);
        let answer = routes.clone().call(request);
        async move { answer.await.map(|response| response.map(|body| Answer { body, _under_way: under_way })) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(headers);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // How a client breaks off concerns nobody.
        _ = connection.as_mut() => return,
        // A dropped sender means the same as a message.
        _ = stopped.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = tokio::time::sleep(UNASKED) => {}
        }
        // Half a header must not hold up the end of everything.
        if !is_asked.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// A request between its headers and the end of its answer; a connection has one at a time.
struct UnderWay(Arc<AtomicBool>);

impl UnderWay {
    fn begin(is_asked: &Arc<AtomicBool>) -> Self {
        is_asked.store(true, Ordering::Relaxed);
        UnderWay(Arc::clone(is_asked))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A response's body, which ends the request when it was handed on.
struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Tells a client that its connection is one too many, whatever it asks, and closes it.
pub(crate) async fn refuse(mut stream: TcpStream, connections_max: usize) {
    let report = Report::error("too-busy", "too many connections are open")
        .note(format!("`server.connections_max` is {connections_max}"))
        .hint("try again in a moment");
    let told = async {
        stream.write_all(&refusal::http(&report)).await?;
        stream.shutdown().await?;
        // What it sent is read: closed before, the connection would be reset, and its client might not get to the answer.
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    // Who does not listen is not told.
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, told).await;
}
