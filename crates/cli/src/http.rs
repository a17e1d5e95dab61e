//! A client for one request at a time over HTTP/1.1: enough for `demo` to ask the endpoint that it has just published.

use pelton_base::Report;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: String,
}

/// Sends a request, with a JSON body when there is one, and reads the answer.
pub(crate) async fn send(address: SocketAddr, method: &str, path: &str, body: Option<&str>) -> Result<Answer, Report> {
    let failed = |reason: String| {
        Report::error("internal", format!("the server that was just started did not answer `{method} {path}`"))
            .note(reason)
    };
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let length = body.map_or(0, str::len);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.unwrap_or_default().as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(TIMEOUT, exchange)
        .await
        .map_err(|_| failed(format!("it took longer than {} s", TIMEOUT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    parse(&answer).ok_or_else(|| failed("the answer is not HTTP".into()))
}

/// Reads an answer whose body ends with the connection; the server sends its length, and so it is not in chunks.
fn parse(answer: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, body: body.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_request_gets_its_answer() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let mut length = 0;
            while !request[..length].ends_with(b"{}") {
                length += stream.read(&mut request[length..]).await.unwrap();
            }
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope").await.unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        };
        let (answer, request) = tokio::join!(send(address, "POST", "/v1/x", Some("{}")), server);
        assert_eq!(answer.unwrap(), Answer { status: 404, body: "nope".into() });
        assert!(
            request.starts_with("POST /v1/x HTTP/1.1\r\n") && request.contains("Content-Length: 2\r\n"),
            "{request}"
        );
    }

    #[test]
    fn noise_is_not_an_answer() {
        assert_eq!(parse(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(parse(b"HTTP/1.1 20"), None);
    }
}
