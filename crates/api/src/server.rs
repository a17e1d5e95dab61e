//! From an address to answers, and to a quiet end.

use crate::app::{App, router};
use crate::connection;
use pelton_base::Report;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How many clients beyond `server.connections_max` are told so at a time; further ones see a closed connection.
const REFUSALS_MAX: usize = 64;

/// How long nothing is accepted after the operating system refused to.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    let (stop, stopped) = watch::channel(());
    // A task of its own: what is awaited beside this does not hold up who connects.
    let mut server = tokio::spawn(accept(listener, app.clone(), stopped));
    let failed = |reason: String| Report::error("internal", "serving failed").note(reason);
    tokio::select! {
        ended = &mut server => return Err(failed(format!("{ended:?}"))),
        () = shutdown => {}
    }
    app.begin_drain();
    drop(stop);
    match tokio::time::timeout(drain, &mut server).await {
        Ok(Ok(())) => Ok(Drain { cut_off: 0 }),
        Ok(ended) => Err(failed(format!("{ended:?}"))),
        Err(_) => {
            let cut_off = app.under_way();
            server.abort();
            Ok(Drain { cut_off })
        }
    }
}

/// Takes connections until the sender of `stopped` is gone, and waits for their ends.
async fn accept(listener: TcpListener, app: App, mut stopped: watch::Receiver<()>) {
    let connections_max = app.settings.connections_max;
    let headers = Duration::from_millis(app.settings.headers_ms);
    let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let routes = router(app);
    // Dropped with this, so that no connection outlives the server.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            // A dropped sender means the same as a message.
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
                    let answering = connection::answer(stream, routes.clone(), headers, stopped.clone());
                    connections.spawn(async move {
                        answering.await;
                        drop(permit);
                    });
                } else if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    connections.spawn(async move {
                        connection::refuse(stream, connections_max).await;
                        drop(permit);
                    });
                }
            }
            // Of a client that left before its turn, or of a process that has no descriptors left: some come back.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}
