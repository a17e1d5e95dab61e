//! [`Refusal`]: a report as an HTTP response. `error` is the message as text, as the Open Inference Protocol wants it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pelton_base::Report;

/// A request that is not answered, and why.
#[derive(Debug)]
pub(crate) struct Refusal {
    report: Box<Report>,
    status: Option<StatusCode>,
}

impl Refusal {
    /// With another status than the report's kind has.
    pub(crate) fn with_status(report: Report, status: StatusCode) -> Self {
        Refusal { report: Box::new(report), status: Some(status) }
    }
}

impl From<Report> for Refusal {
    fn from(report: Report) -> Self {
        Refusal { report: Box::new(report), status: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json_bytes(body(&self.report));
        let kind = StatusCode::from_u16(self.report.kind().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.status_mut() = self.status.unwrap_or(kind);
        // The rest of a refused body is not read, so the connection cannot go on.
        if self.report.code == "body-too-large" {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The one shape of all refusals.
fn body(report: &Report) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        error: &'a str,
        code: &'a str,
        notes: &'a [String],
        hints: &'a [String],
    }
    let Report { message, code, notes, hints, .. } = report;
    serde_json::to_vec(&Body { error: message, code, notes, hints }).expect("answers have string keys only")
}

/// A whole answer of HTTP/1.1, for who is refused before a request is read.
pub(crate) fn http(report: &Report) -> Vec<u8> {
    let kind = StatusCode::from_u16(report.kind().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = body(report);
    let head = format!(
        "HTTP/1.1 {kind}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// A JSON response.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Response {
    json_bytes(serde_json::to_vec(value).expect("answers have string keys only"))
}

/// A JSON response that is written already.
pub(crate) fn json_bytes(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}
