//! `/v2`, as its standard clients speak it.

use super::*;

const INFER: &str = "/v2/models/fraud/infer";

fn tensor(name: &str, datatype: &str, data: Value) -> Value {
    let rows = data.as_array().unwrap().len();
    json!({"name": name, "datatype": datatype, "shape": [rows], "data": data})
}

fn two_rows() -> Vec<Value> {
    vec![
        tensor("channel", "BYTES", json!(["web", null])),
        tensor("customer_id", "INT64", json!([7, 8])),
        tensor("amount", "FP64", json!([12.34, null])),
    ]
}

async fn refused(inputs: Vec<Value>) -> String {
    let (status, code, message) = house().post(INFER, json!({"inputs": inputs})).await.refusal();
    assert_eq!((status, code.as_str()), (400, "invalid-request"));
    message
}

#[tokio::test]
async fn tensors_are_answered_by_tensors() {
    let house = house();
    let reply = house.post(INFER, json!({"id": "42", "inputs": two_rows()})).await.json();
    assert_eq!(
        (&reply["model_name"], &reply["model_version"], &reply["id"]),
        (&json!("fraud"), &json!("feed"), &json!("42"))
    );
    assert_eq!(reply["parameters"]["receipts"].as_array().unwrap().len(), 2);
    assert_eq!(
        reply["outputs"],
        json!([
            {"name": "prediction", "datatype": "BOOL", "shape": [2], "data": [true, false]},
            {"name": "score", "datatype": "FP64", "shape": [2], "data": [112.84, 0.0]},
            {"name": "probabilities", "datatype": "FP64", "shape": [2, 2], "data": [0.25, 112.84, 0.25, 0.0]},
        ])
    );
    let some = json!({"inputs": two_rows(), "outputs": [{"name": "score"}]});
    let reply = house.post("/v2/models/fraud/versions/feed/infer", some).await.json();
    assert_eq!(reply["outputs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn nested_data_and_narrower_integers_fit() {
    let inputs = json!([
        {"name": "customer_id", "datatype": "UINT32", "shape": [2, 1], "data": [[7], [8]]},
        {"name": "amount", "datatype": "BYTES", "shape": [2, 1], "data": ["1.50", "2"]},
        {"name": "channel", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]},
        {"name": "occurred_at", "datatype": "BYTES", "shape": [2], "data": ["2026-01-01T00:00:00Z", null]},
    ]);
    let reply = house().post(INFER, json!({"inputs": inputs})).await.json();
    assert_eq!(reply["outputs"][1]["data"], json!([102.0, 2.0]));
}

#[tokio::test]
async fn mistakes_in_tensors_are_named() {
    let with = |at: usize, value: Value| {
        let mut inputs = two_rows();
        inputs[at] = value;
        inputs
    };
    assert_eq!(
        refused(with(1, tensor("customer_id", "FP64", json!([7, 8])))).await,
        "input `customer_id` has datatype INT64, not FP64"
    );
    assert_eq!(
        refused(with(1, tensor("customer_id", "INT65", json!([7, 8])))).await,
        "input `customer_id` has datatype INT64, not INT65"
    );
    assert_eq!(
        refused(with(1, tensor("customer_id", "INT8", json!([7, 300])))).await,
        "row 1: `customer_id` takes an integer from -128 to 127, not 300"
    );
    assert_eq!(
        refused(with(1, tensor("customer_id", "INT64", json!([7, null])))).await,
        "row 1: `customer_id` must have a value"
    );
    assert_eq!(
        refused(with(1, tensor("customer_id", "INT64", json!([7])))).await,
        "input `customer_id` has 1 rows, and the first input has 2"
    );
    assert_eq!(refused(with(2, tensor("amuont", "FP64", json!([1, 2])))).await, "inputs: there is no column `amuont`");
    assert_eq!(
        refused(with(2, tensor("amount", "FP64", json!([1.234, 2])))).await,
        "row 0: `amount` takes a number with at most 10 digits before and 2 after the point, not 1.234"
    );
    assert_eq!(refused(two_rows()[..2].to_vec()).await, "input `amount` is missing");
    assert_eq!(refused(Vec::new()).await, "the request has no `inputs`");
    let shaped =
        |shape: Value, data: Value| json!({"name": "amount", "datatype": "FP64", "shape": shape, "data": data});
    assert_eq!(
        refused(with(2, shaped(json!([2, 3]), json!([1, 2])))).await,
        "input `amount` has shape [2, 3], and one value a row is [n] or [n, 1]"
    );
    assert_eq!(
        refused(with(2, shaped(json!([2]), json!([1, 2, 3])))).await,
        "input `amount` has shape [2], and its data has 3 values"
    );
    assert_eq!(
        refused(with(2, shaped(json!([2]), json!([[1], [2]])))).await,
        "row 0: `amount` takes a number, not [1]"
    );
    assert_eq!(
        refused(with(2, shaped(json!([2]), json!("no list")))).await,
        "input `amount`: `data` is a list of values, or lists of one value each"
    );
    let asked = json!({"inputs": two_rows(), "outputs": [{"name": "scroe"}]});
    let reply = house().post(INFER, asked).await;
    assert_eq!(
        (reply.refusal().2.as_str(), &reply.json()["hints"][0]),
        ("there is no output `scroe`", &json!("did you mean `score`?"))
    );
    let listed = json!({"inputs": [["amount", [1], "FP64", null, [1.0]]]});
    let (_, _, message) = house().post(INFER, listed).await.refusal();
    assert!(message.contains("invalid type: sequence, expected an input, an object with `name`"), "{message}");
}

#[tokio::test]
async fn no_rows_have_as_many_probabilities_as_there_are_classes() {
    let none = |name: &str, datatype: &str| json!({"name": name, "datatype": datatype, "shape": [0], "data": []});
    let inputs = [none("channel", "BYTES"), none("customer_id", "INT64"), none("amount", "FP64")];
    let reply = house().post(INFER, json!({"inputs": inputs})).await.json();
    let of_classes = json!({"name": "probabilities", "datatype": "FP64", "shape": [0, 2], "data": []});
    assert_eq!(reply["outputs"][2], of_classes, "{reply}");
}

fn binary_request(head: &Value, tail: &[u8]) -> Request<Body> {
    let head = head.to_string();
    let body = [head.as_bytes(), tail].concat();
    let request = Request::post(INFER).header("Inference-Header-Content-Length", head.len());
    request.body(Body::from(body)).unwrap()
}

fn binary_inputs(sizes: [usize; 3]) -> Value {
    let input = |name: &str, datatype: &str, size: usize| json!({"name": name, "datatype": datatype, "shape": [2, 1], "parameters": {"binary_data_size": size}});
    json!([
        input("customer_id", "INT64", sizes[0]),
        input("amount", "FP64", sizes[1]),
        input("channel", "BYTES", sizes[2]),
    ])
}

fn binary_tail() -> Vec<u8> {
    let mut tail = Vec::new();
    for id in [7i64, 8] {
        tail.extend_from_slice(&id.to_le_bytes());
    }
    for amount in [12.34f64, f64::NAN] {
        tail.extend_from_slice(&amount.to_le_bytes());
    }
    for channel in ["web", ""] {
        tail.extend_from_slice(&(channel.len() as u32).to_le_bytes());
        tail.extend_from_slice(channel.as_bytes());
    }
    tail
}

#[tokio::test]
async fn binary_tensors_go_in_and_come_out() {
    let head = json!({"inputs": binary_inputs([16, 16, 11]), "parameters": {"binary_data_output": true}});
    let reply = house().send(binary_request(&head, &binary_tail())).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", String::from_utf8_lossy(&reply.bytes));
    let length: usize = reply.headers["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let (head, tail) = reply.bytes.split_at(length);
    let head: Value = serde_json::from_slice(head).unwrap();
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 2);
    assert_eq!(
        head["outputs"][2],
        json!({"name": "probabilities", "datatype": "FP64", "shape": [2, 2], "parameters": {"binary_data_size": 32}})
    );
    assert_eq!(tail[..2], [1, 0]);
    assert_eq!(tail[2..10], 112.84f64.to_le_bytes());
    assert_eq!(tail.len(), 2 + 16 + 32);
}

#[tokio::test]
async fn binary_data_that_does_not_fit_is_refused() {
    for (sizes, tail) in
        [([16, 16, 11], 40), ([16, 15, 12], 43), ([16, 16, 10], 42), ([8, 16, 11], 43), ([16, 16, 11], 44)]
    {
        let mut data = binary_tail();
        data.resize(tail, 0);
        let reply = house().send(binary_request(&json!({"inputs": binary_inputs(sizes)}), &data)).await;
        assert_eq!(reply.refusal().1, "invalid-request", "{sizes:?} {tail}");
    }
    let request = Request::post(INFER).header("Inference-Header-Content-Length", "900").body(Body::from("{}")).unwrap();
    assert_eq!(house().send(request).await.refusal().1, "invalid-request");
    let shared =
        json!({"name": "amount", "datatype": "FP64", "shape": [1], "parameters": {"shared_memory_region": "a"}});
    assert_eq!(refused(vec![shared]).await, "input `amount`: Pelton has no shared memory extension");
}

#[tokio::test]
async fn health_and_metadata_are_as_the_protocol_has_them() {
    let house = house();
    assert_eq!(house.get("/v2/health/live").await.json(), json!({"live": true}));
    assert_eq!(house.get("/v2/health/ready").await.json(), json!({"ready": true}));
    assert_eq!(house.get("/v2").await.json()["name"], "pelton");
    assert_eq!(house.get("/v2/models/fraud/ready").await.status, StatusCode::OK);
    assert_eq!(house.get("/v2/models/fraud/versions/feed/ready").await.status, StatusCode::OK);
    let metadata = house.get("/v2/models/fraud").await.json();
    assert_eq!(metadata["versions"], json!(["feed"]));
    assert_eq!(
        metadata["inputs"][1],
        json!({"name": "amount", "datatype": "FP64", "shape": [-1], "parameters": {"optional": false}})
    );
    assert_eq!(metadata["outputs"][2], json!({"name": "probabilities", "datatype": "FP64", "shape": [-1, 2]}));
    house.app.begin_drain();
    assert_eq!(house.get("/v2/health/ready").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(house.get("/v2/health/live").await.status, StatusCode::OK);
}
