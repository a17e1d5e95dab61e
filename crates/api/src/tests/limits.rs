//! The named limits, a switch under load, and the end of serving.

use super::*;
use crate::{Drain, bind, serve};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

const PREDICT: &str = "/v1/models/fraud/predict";

/// A body that sends its first half and then nothing until it is told to end.
fn slow_body(end: oneshot::Receiver<()>) -> Body {
    let first = futures::stream::iter([Ok::<_, std::io::Error>(r#"{"row":{"customer_id":7,"#)]);
    let second = futures::stream::once(async {
        let _ = end.await;
        Ok(r#""amount":1,"channel":null}}"#)
    });
    Body::from_stream(first.chain(second))
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let house = house();
    let (status, code, _) = house.post(PREDICT, " ".repeat(5000)).await.refusal();
    assert_eq!((status, code.as_str()), (413, "body-too-large"));
    let chunks = futures::stream::iter((0..5).map(|_| Ok::<_, std::io::Error>(" ".repeat(1000))));
    let reply = house.send(Request::post(PREDICT).body(Body::from_stream(chunks)).unwrap()).await;
    assert_eq!(reply.refusal().1, "body-too-large");
    let zipped = Request::post(PREDICT).header("content-encoding", "gzip").body(Body::empty()).unwrap();
    assert_eq!(house.send(zipped).await.refusal().1, "invalid-request");
}

#[tokio::test]
async fn a_client_that_sends_too_much_gets_to_read_why() {
    let house = house();
    let listener = bind("127.0.0.1", 0).await.unwrap();
    let mut connection = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, house.app.clone(), async {
        let _ = stopped.await;
    }));
    let body = vec![b' '; 3 << 20];
    let head = format!("POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&body).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body-too-large"), "{answer}");
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_sends_nothing_of_too_much_is_refused_at_once() {
    let house = house_with(ServerSettings { timeout_ms: 3_600_000, ..settings() });
    let listener = bind("127.0.0.1", 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, house.app.clone(), async {
        let _ = stopped.await;
    }));
    for expects in ["expect: 100-continue\r\n", ""] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!("POST {PREDICT} HTTP/1.1\r\nhost: x\r\n{expects}content-length: 99999999999\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        connection.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413", "{expects}");
    }
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn rows_beyond_the_limit_are_refused() {
    let house = house();
    let row = json!({"customer_id": 7, "amount": 1, "channel": null});
    assert_eq!(house.post(PREDICT, json!({"rows": vec![row.clone(); 5]})).await.status, StatusCode::OK);
    let (status, code, _) = house.post(PREDICT, json!({"rows": vec![row; 6]})).await.refusal();
    assert_eq!((status, code.as_str()), (413, "too-many-rows"));
    let tensor = json!({"name": "amount", "datatype": "FP64", "shape": [6], "data": [1, 1, 1, 1, 1, 1]});
    assert_eq!(house.post("/v2/models/fraud/infer", json!({"inputs": [tensor]})).await.refusal().1, "too-many-rows");
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_and_health_is_not() {
    let house = house_with(ServerSettings { requests_max: 1, ..settings() });
    let (end, ended) = oneshot::channel();
    let slow = house.send(Request::post(PREDICT).body(slow_body(ended)).unwrap());
    let others = async {
        let refused = house.get("/v1/models").await.refusal();
        assert_eq!((refused.0, refused.1.as_str()), (503, "too-busy"));
        assert_eq!(house.get("/v2/health/ready").await.status, StatusCode::OK);
        end.send(()).unwrap();
    };
    let (slow, ()) = tokio::join!(slow, others);
    assert_eq!(slow.status, StatusCode::OK);
    assert_eq!(house.get("/v1/models").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_beyond_its_time_is_refused() {
    let house = house_with(ServerSettings { timeout_ms: 1, ..settings() });
    let (_end, ended) = oneshot::channel();
    let (status, code, _) = house.send(Request::post(PREDICT).body(slow_body(ended)).unwrap()).await.refusal();
    assert_eq!((status, code.as_str()), (503, "timed-out"));
}

#[tokio::test]
async fn a_switch_drops_no_request() {
    let house = house();
    let (end, ended) = oneshot::channel();
    let slow = house.send(Request::post(PREDICT).body(slow_body(ended)).unwrap());
    let switching = async {
        house.switch.set(endpoints(2));
        assert_eq!(house.get("/v1/environment").await.json()["publication"], 2);
        end.send(()).unwrap();
    };
    let (slow, ()) = tokio::join!(slow, switching);
    assert_eq!(slow.status, StatusCode::OK);
}

#[tokio::test]
async fn serving_ends_after_the_requests_under_way() {
    let house = house();
    let listener = bind("127.0.0.1", 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = bind("127.0.0.1", address.port()).await.unwrap_err();
    assert_eq!(taken.code, "port-in-use");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, house.app.clone(), async {
        let _ = stopped.await;
    }));
    let mut connection = TcpStream::connect(address).await.unwrap();
    let body = r#"{"row":{"customer_id":7,"amount":1,"channel":null}}"#;
    let head = format!("POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).await.unwrap();
    while house.app.under_way() == 0 {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    while !house.app.is_draining() {
        tokio::task::yield_now().await;
    }
    connection.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"receipt\""), "{answer}");
    assert_eq!(serving.await.unwrap().unwrap(), Drain { cut_off: 0 });
}

#[tokio::test]
async fn requests_that_do_not_end_are_cut_off() {
    let house = house_with(ServerSettings { drain_ms: 1, ..settings() });
    let listener = bind("127.0.0.1", 0).await.unwrap();
    let mut connection = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let app = house.app.clone();
    let serving = tokio::spawn(serve(listener, house.app.clone(), async move {
        while app.under_way() == 0 {
            tokio::task::yield_now().await;
        }
    }));
    let head = format!("POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(serving.await.unwrap().unwrap(), Drain { cut_off: 1 });
}

/// Sends bytes over a new connection, and reads what comes back until it is closed; a reset ends it too.
async fn exchange(address: std::net::SocketAddr, bytes: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let _ = connection.write_all(bytes.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// Reads one answer of a connection that stays open.
async fn answer_of(connection: &mut TcpStream) -> String {
    let (mut text, mut piece) = (String::new(), [0; 1024]);
    loop {
        let read = connection.read(&mut piece).await.unwrap();
        assert!(read > 0, "it was closed after {text:?}");
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() == length.unwrap() {
            return text;
        }
    }
}

const ENVIRONMENT: &str = "GET /v1/environment HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const HALF_A_HEADER: &str = "GET /v1/environment HTTP/1.1\r\nho";

#[tokio::test]
async fn a_connection_without_the_rest_of_its_headers_is_closed() {
    let house = house_with(ServerSettings { headers_ms: 20, connections_max: 1, ..settings() });
    let listener = bind("127.0.0.1", 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, house.app.clone(), async {
        let _ = stopped.await;
    }));
    for sent in [HALF_A_HEADER, "", ENVIRONMENT.trim_end()] {
        let answer = exchange(address, sent).await;
        assert!(!answer.contains("200 OK"), "{sent}: {answer}");
    }
    // One that was closed takes nobody's place.
    loop {
        let answer = exchange(address, ENVIRONMENT).await;
        if answer.starts_with("HTTP/1.1 200 OK") {
            break;
        }
        // On a machine that has much to do its headers came too late.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_by_name() {
    let house = house_with(ServerSettings { connections_max: 2, ..settings() });
    let listener = bind("127.0.0.1", 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, house.app.clone(), async {
        let _ = stopped.await;
    }));
    // Connections are accepted in the order in which they were made.
    let mut open = TcpStream::connect(address).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(HALF_A_HEADER.as_bytes()).await.unwrap();
    for sent in ["", HALF_A_HEADER, ENVIRONMENT] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\nconnection: close", body.len())), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["code"], &body["notes"][0]), (&json!("too-busy"), &json!("`server.connections_max` is 2")));
    }
    // Those that are open go on, one request after the other; when one ends, the next is let in.
    for _ in 0..2 {
        open.write_all(ENVIRONMENT.replace("connection: close\r\n", "").as_bytes()).await.unwrap();
        let answer = answer_of(&mut open).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    drop(half);
    while !exchange(address, ENVIRONMENT).await.starts_with("HTTP/1.1 200 OK") {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn half_a_header_does_not_hold_up_the_end() {
    let hour = 3_600_000;
    let house = house_with(ServerSettings { headers_ms: hour, drain_ms: hour, ..settings() });
    let listener = bind("127.0.0.1", 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve(listener, house.app.clone(), async {
        let _ = stopped.await;
    }));
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(HALF_A_HEADER.as_bytes()).await.unwrap();
    // A later one was answered, so the first was accepted.
    assert!(exchange(address, ENVIRONMENT).await.starts_with("HTTP/1.1 200 OK"));
    stop.send(()).unwrap();
    assert_eq!(serving.await.unwrap().unwrap(), Drain { cut_off: 0 });
}
