//! [`App`]: what the routes share, and the limits around them.

use crate::refusal::{Refusal, json};
use crate::{v1, v2};
use axum::Router;
use axum::body::BodyDataStream;
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};
use pelton_base::{Clock, Report, SystemClock};
use pelton_project::ServerSettings;
use pelton_serve::{Endpoints, Log, ReceiptSource, Switch};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How much of a refused body is read, so that its client gets to the answer; a client that sends more sees a closed connection.
const DISCARDED_BYTES_MAX: usize = 64 << 20;

/// For how long more of a refused body is waited for.
const DISCARD_PAUSE_MAX: Duration = Duration::from_millis(500);

/// What the routes share; cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) settings: Arc<ServerSettings>,
    pub(crate) log: Arc<Log>,
    pub(crate) receipts: Arc<dyn ReceiptSource>,
    pub(crate) clock: Arc<dyn Clock>,
    switch: Arc<Switch>,
    permits: Arc<Semaphore>,
    draining: Arc<AtomicBool>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl App {
    /// An app on the clock of the machine.
    pub fn new(settings: ServerSettings, switch: Arc<Switch>, log: Arc<Log>, receipts: Arc<dyn ReceiptSource>) -> Self {
        App::with_clock(settings, switch, log, receipts, Arc::new(SystemClock))
    }

    /// An app on any clock.
    pub fn with_clock(
        settings: ServerSettings,
        switch: Arc<Switch>,
        log: Arc<Log>,
        receipts: Arc<dyn ReceiptSource>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(settings.requests_max.min(Semaphore::MAX_PERMITS)));
        App { settings: Arc::new(settings), log, receipts, clock, switch, permits, draining: Arc::default() }
    }

    /// The endpoints that a request which arrives now is answered by.
    pub(crate) fn endpoints(&self) -> Arc<Endpoints> {
        self.switch.get()
    }

    /// From now on `/v2/health/ready` says no.
    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Requests under way.
    pub(crate) fn under_way(&self) -> usize {
        self.settings.requests_max.saturating_sub(self.permits.available_permits())
    }
}

/// All routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(about))
        .merge(v1::routes())
        .merge(v2::routes())
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

async fn about(State(app): State<App>) -> String {
    let endpoints = app.endpoints();
    let mut text = format!(
        "Pelton {}: environment `{}`, publication {}\n\n",
        env!("CARGO_PKG_VERSION"),
        endpoints.environment,
        endpoints.publication
    );
    for name in endpoints.models.keys() {
        text.push_str(&format!("POST /v1/models/{name}/predict\nPOST /v2/models/{name}/infer\n"));
    }
    text.push_str("GET  /v1/models\nGET  /v1/models/NAME\nGET  /v1/receipts/ID\nGET  /v1/environment\nGET  /v2\n");
    text
}

async fn unknown_route(method: Method, uri: Uri) -> Refusal {
    Report::error("unknown-route", format!("there is no route `{method} {}`", uri.path()))
        .hint("`GET /` lists the routes")
        .into()
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let asks = ["/predict", "/infer"].iter().any(|end| uri.path().ends_with(end));
    let other = if asks { "POST" } else { "GET" };
    let report = Report::error("unknown-route", format!("there is no route `{method} {}`", uri.path()))
        .hint(format!("`{other} {}` is there", uri.path()));
    Refusal::with_status(report, StatusCode::METHOD_NOT_ALLOWED)
}

/// The limits on requests under way and on time, and the end of every panic.
async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    // A server at its limit is alive, and says so.
    if request.uri().path().starts_with("/v2/health/") {
        return next.run(request).await;
    }
    let Ok(_permit) = app.permits.try_acquire() else {
        let max = app.settings.requests_max;
        return Refusal::from(
            Report::error("too-busy", "too many requests are under way")
                .note(format!("`server.requests_max` is {max}"))
                .hint("try again in a moment"),
        )
        .into_response();
    };
    let timeout_ms = app.settings.timeout_ms;
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(Duration::from_millis(timeout_ms), answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Refusal::from(Report::error("internal", "answering the request failed")).into_response(),
        Err(_) => Refusal::from(
            Report::error("timed-out", format!("the request took longer than {timeout_ms} ms"))
                .note(format!("`server.timeout_ms` is {timeout_ms}")),
        )
        .into_response(),
    }
}

/// A request's body, as long as `server.body_bytes_max` allows.
pub(crate) struct Content(pub(crate) Bytes);

impl FromRequest<App> for Content {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let bytes_max = app.settings.body_bytes_max;
        let headers = request.headers();
        if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
            && encoding != "identity"
        {
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
            let message =
                format!("the request's body is compressed with `{encoding}`, and Pelton takes it uncompressed only");
            return Err(Report::error("invalid-request", message).into());
        }
        let told = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let is_waiting =
            headers.get(header::EXPECT).is_some_and(|what| what.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let is_too_large = told.is_some_and(|told| told > bytes_max);
        let mut chunks = request.into_body().into_data_stream();
        let read = if is_too_large { Err(too_large(bytes_max)) } else { read(&mut chunks, bytes_max).await };
        // A client that waits to be told to go on has sent nothing.
        if read.is_err() && !is_waiting {
            discard(&mut chunks).await;
        }
        read.map(Content)
    }
}

async fn read(chunks: &mut BodyDataStream, bytes_max: u64) -> Result<Bytes, Refusal> {
    let broken = |_| Refusal::from(Report::error("invalid-request", "the request's body ended before it was complete"));
    let Some(first) = chunks.next().await.transpose().map_err(broken)? else { return Ok(Bytes::new()) };
    if first.len() as u64 > bytes_max {
        return Err(too_large(bytes_max));
    }
    let mut whole = BytesMut::new();
    while let Some(chunk) = chunks.next().await.transpose().map_err(broken)? {
        if whole.is_empty() {
            whole.extend_from_slice(&first);
        }
        if (whole.len() + chunk.len()) as u64 > bytes_max {
            return Err(too_large(bytes_max));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

/// Takes the rest of a refused body off the wire, as long as it comes and up to a limit: many clients read the answer only when they have sent
/// everything.
async fn discard(chunks: &mut BodyDataStream) {
    let mut bytes = 0;
    while bytes < DISCARDED_BYTES_MAX
        && let Ok(Some(Ok(chunk))) = tokio::time::timeout(DISCARD_PAUSE_MAX, chunks.next()).await
    {
        bytes += chunk.len();
    }
}

fn too_large(bytes_max: u64) -> Refusal {
    Report::error("body-too-large", format!("the request's body is larger than {bytes_max} bytes"))
        .note(format!("`server.body_bytes_max` is {bytes_max}"))
        .hint("send the rows in several requests")
        .into()
}

/// The names in a route's path.
pub(crate) struct Names<T>(pub(crate) T);

impl<T: serde::de::DeserializeOwned + Send> FromRequestParts<App> for Names<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, app).await {
            Ok(Path(names)) => Ok(Names(names)),
            Err(_) => {
                let message = format!("the path `{}` is not readable", parts.uri.path());
                Err(Report::error("invalid-request", message).into())
            }
        }
    }
}

/// What a health route answers.
pub(crate) fn health(name: &'static str, is_so: bool) -> Response {
    let mut response = json(&serde_json::json!({ name: is_so }));
    if !is_so {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
