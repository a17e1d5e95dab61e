//! From an address to answers, and to a quiet end: listening, following publications, draining.

use crate::app::{App, router};
use axum::serve::ListenerExt;
use pelton_base::Report;
use pelton_serve::{Loader, Switch};
use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A publication that could not be loaded is tried again, and its failure told again, at every so manieth look.
const RETRY_LOOKS: u32 = 25;

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

/// What following an environment came upon.
#[derive(Debug)]
pub enum Followed {
    /// Another publication is in service.
    Switched {
        /// The one before.
        from: i64,
        /// The one now.
        to: i64,
    },
    /// A publication could not be loaded; the one before stays in service.
    Failed(Report),
}

/// Follows an environment for ever: looks every `every`, and puts a new publication into service.
pub async fn watch(switch: Arc<Switch>, loader: Arc<dyn Loader>, every: Duration, mut tell: impl FnMut(Followed)) {
    let mut follower = Follower { switch, loader, refused: None };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(followed) = follower.look().await {
            tell(followed);
        }
    }
}

/// Looks at an environment, again and again.
pub(crate) struct Follower {
    pub(crate) switch: Arc<Switch>,
    pub(crate) loader: Arc<dyn Loader>,
    /// The publication that could not be loaded (`None`: it could not even be named), and the looks since.
    pub(crate) refused: Option<(Option<i64>, u32)>,
}

impl Follower {
    /// Looks once.
    pub(crate) async fn look(&mut self) -> Option<Followed> {
        let loader = Arc::clone(&self.loader);
        let current = match blocking(move || loader.current()).await {
            Ok(current) => current,
            Err(report) => return self.refuse(None, report),
        };
        let from = self.switch.get().publication;
        // An environment does not lose its publications; if it seems to, what is in service is better than nothing.
        let Some(to) = current.filter(|current| *current != from) else {
            self.refused = None;
            return None;
        };
        if let Some((Some(refused), looks)) = &mut self.refused
            && *refused == to
            && *looks + 1 < RETRY_LOOKS
        {
            *looks += 1;
            return None;
        }
        let loader = Arc::clone(&self.loader);
        match blocking(move || loader.load()).await {
            Ok(endpoints) => {
                let to = endpoints.publication;
                self.refused = None;
                self.switch.set(endpoints);
                Some(Followed::Switched { from, to })
            }
            Err(report) => self.refuse(Some(to), report),
        }
    }

    /// Tells a failure, but not the same one at every look.
    fn refuse(&mut self, publication: Option<i64>, report: Report) -> Option<Followed> {
        match &mut self.refused {
            Some((refused, looks)) if *refused == publication && *looks + 1 < RETRY_LOOKS => {
                *looks += 1;
                None
            }
            refused => {
                *refused = Some((publication, 0));
                Some(Followed::Failed(report))
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Report> + Send + 'static) -> Result<T, Report> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Report::error("internal", "following the environment failed")))
}
