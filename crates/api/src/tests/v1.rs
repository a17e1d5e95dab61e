//! `/v1`.

use super::*;

#[tokio::test]
async fn rows_are_answered_with_a_receipt_each() {
    let house = house();
    let rows = json!({"rows": [
        {"customer_id": 7, "amount": 12.34, "channel": "web", "payment_id": "p1"},
        {"customer_id": 8, "amount": null, "channel": null, "occurred_at": "2026-01-01T00:00:00Z"},
    ]});
    let body = house.post("/v1/models/fraud/predict", rows).await.json();
    assert_eq!((&body["model"], &body["version"], &body["publication"]), (&json!("fraud"), &json!("feed"), &json!(1)));
    let [first, second] = body["predictions"].as_array().unwrap().as_slice() else { panic!("{body}") };
    assert_eq!((&first["prediction"], &first["score"]), (&json!(true), &json!(112.84)));
    assert_eq!((&second["prediction"], &second["score"]), (&json!(false), &json!(0.0)));
    assert_eq!(first["probabilities"], json!([0.25, 112.84]));
    assert_ne!(first["receipt"], second["receipt"]);
    let segment = house.log.segments().unwrap().remove(0);
    let logged = String::from_utf8_lossy(&std::fs::read(segment.path).unwrap()).into_owned();
    assert!(logged.contains(first["receipt"].as_str().unwrap()) && logged.contains(r#""payment_id":"p1""#), "{logged}");
}

#[tokio::test]
async fn one_row_is_answered_with_its_features_when_asked() {
    let body = json!({"row": {"customer_id": 7, "amount": 1, "channel": null}, "options": {"features": true}});
    let body = house().post("/v1/models/fraud/predict", body).await.json();
    assert_eq!(body["predictions"][0]["features"], json!({"spend_30d": 100.5}));
    assert_eq!(body["predictions"][0]["derived"], json!({}));
}

#[tokio::test]
async fn mistakes_in_a_request_are_named() {
    let house = house();
    let send = async |body: &str| house.post("/v1/models/fraud/predict", body).await;
    let reply = send(r#"{"rows":[{"customer_id":"7","amuont":1,"channel":null}]}"#).await;
    assert_eq!(
        reply.refusal(),
        (400, "invalid-request".into(), "row 0: `customer_id` takes an integer, not \"7\"".into())
    );
    assert_eq!(
        reply.json()["notes"],
        json!(["row 0: there is no column `amuont`", "row 0: `amount` is missing; `null` says that it is not known",])
    );
    assert_eq!(reply.json()["hints"], json!(["did you mean `amount`?"]));
    for body in ["", "{", "[]", "{}", r#"{"rows":[],"row":{}}"#, r#"{"rwos":[]}"#, r#"{"rows":[],"options":{"x":1}}"#] {
        assert_eq!(send(body).await.refusal().1, "invalid-request", "{body}");
    }
    for (body, message, notes) in [
        (
            "\n\"x\"",
            "the request is not the JSON that is expected: invalid type: string \"x\", expected an object with `rows` or `row`",
            json!(["line 2, column 3"]),
        ),
        (
            "{\"row\":\n {",
            "the request is not the JSON that is expected: the text ends within an object",
            json!(["line 2, column 2"]),
        ),
        (r#"{"rows":{}}"#, "invalid type: map, expected a list of rows, each an object of columns", json!([])),
        (r#"{"row":[]}"#, "row 0: invalid type: sequence, expected a row, an object of columns", json!([])),
        (
            r#"{"rows":[{"customer_id":7,"amount":1,"channel":null}, 5]}"#,
            "row 1: invalid type: integer `5`, expected a row, an object of columns",
            json!([]),
        ),
        (
            r#"{"rows":[],"options":7}"#,
            "the request is not the JSON that is expected: invalid type: integer `7`, expected an object such as `{\"features\": true}`",
            json!(["line 1, column 22"]),
        ),
    ] {
        let reply = send(body).await;
        assert_eq!(reply.refusal(), (400, "invalid-request".into(), message.into()), "{body}");
        assert_eq!(reply.json()["notes"], notes, "{body}");
    }
    assert_eq!(send(r#"{"rows":[]}"#).await.json()["predictions"], json!([]));
    // The fields of an object in their order are no object.
    for body in [r#"[null,{"customer_id":7,"amount":1,"channel":null},[true]]"#, r#"{"rows":[],"options":[true]}"#] {
        let (_, code, message) = send(body).await.refusal();
        assert!(
            code == "invalid-request" && message.contains("invalid type: sequence, expected an object"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn an_unknown_endpoint_is_missing() {
    let house = house();
    for path in ["/v1/models/fruad", "/v2/models/fruad", "/v2/models/fruad/ready", "/v2/models/fraud/versions/1"] {
        assert_eq!(house.get(path).await.refusal().1, "unknown-endpoint", "{path}");
    }
    let reply = house.post("/v1/models/fruad/predict", "{}").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["hints"]), (404, &json!(["did you mean `fraud`?"])));
}

#[tokio::test]
async fn a_model_tells_what_it_takes_and_answers() {
    let house = house();
    let card = house.get("/v1/models/fraud").await.json();
    assert_eq!(
        card["request"][0],
        json!({"name": "customer_id", "type": "bigint", "required": true, "nullable": false})
    );
    assert_eq!(card["request"][3]["name"], "occurred_at");
    assert_eq!(card["request"][4]["required"], false);
    assert_eq!(card["features"][0]["table"], "activity");
    assert_eq!(card["answer"][2], json!({"name": "probabilities", "type": "double[]"}));
    assert_eq!(card["classes"], json!([false, true]));
    let models = house.get("/v1/models").await.json();
    assert_eq!(models["models"][0]["metrics"]["average_precision"], 0.75);
    let environment = house.get("/v1/environment").await.json();
    let nodes = json!({"activity": "aaaa", "fraud": "feed"});
    assert_eq!(environment, json!({"environment": "main", "publication": 1, "nodes": nodes}));
}

#[tokio::test]
async fn an_unknown_receipt_is_missing() {
    let reply = house().get("/v1/receipts/nothing").await;
    assert_eq!(reply.refusal(), (404, "unknown-receipt".into(), "no prediction has the id `nothing`".into()));
}
