//! From an address to answers, and to a quiet end.

use crate::app::{App, router};
use axum::serve::ListenerExt;
use pelton_base::Report;
use std::future::{Future, IntoFuture};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Requests that were still under way when `server.drain_ms` was over.
    pub cut_off: usize,
}

/// Listens on an address; port 0 means any free one.
pub async fn bind(host: &str, port: u16) -> Result<TcpListener, Report> {
    TcpListener::bind((host, port)).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => Report::error(
            "port-in-use",
            format!("cannot listen on {host}:{port}, another process does"),
        )
        .hint(format!("pass `--port {}`, or `--port 0` for any free port", port.checked_add(10).unwrap_or(8470))),
        _ => Report::error("cannot-listen", format!("cannot listen on {host}:{port}"))
            .note(format!("the reason: {error}")),
    })
}

/// Answers requests until `shutdown` is done; then takes no further ones, and gives those under way `server.drain_ms` to end.
pub async fn serve(
    listener: TcpListener,
    app: App,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Drain, Report> {
    let drain = Duration::from_millis(app.settings.drain_ms);
    let (stop, stopped) = oneshot::channel::<()>();
    // Small answers must not wait for an acknowledgement of the one before; a socket that refuses the option still works.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let server = axum::serve(listener, router(app.clone())).with_graceful_shutdown(async {
        // A dropped sender means the same as a message.
        let _ = stopped.await;
    });
    let mut server = tokio::spawn(server.into_future());
    let failed = |reason: String| Report::error("internal", "serving failed").note(reason);
    tokio::select! {
        ended = &mut server => return Err(failed(format!("{ended:?}"))),
        () = shutdown => {}
    }
    app.begin_drain();
    drop(stop);
    match tokio::time::timeout(drain, &mut server).await {
        Ok(Ok(Ok(()))) => Ok(Drain { cut_off: 0 }),
        Ok(ended) => Err(failed(format!("{ended:?}"))),
        Err(_) => {
            server.abort();
            Ok(Drain { cut_off: app.under_way() })
        }
    }
}
