//! Requests gone wrong in thousands of ways: each gets an answer or a refusal with a code, none a defect.

use super::*;
use pelton_base::Seed;

/// Values that are wrong somewhere, or nearly.
const TOKENS: [&str; 26] = [
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "-1",
    "0",
    "5.0",
    "1e3",
    "-0.0",
    "1e999",
    "1e-400",
    "0.1",
    "9223372036854775807",
    "18446744073709551616",
    "99999999999999999999999999999999999999999.99",
    "\"7\"",
    "\"\\ud800\"",
    "\"2026-03-01\"",
    "\"9999-99-99\"",
    "\"262142-12-31T23:59:59Z\"",
    "\"UINT64\"",
    "\"FP16\"",
    "[[[1]]]",
    "[null]",
    "\"amount\"",
];

/// Replaces one to three tokens of a request, or cuts or doubles a piece of it.
fn mutant(request: &str, seed: Seed) -> String {
    let mut text = request.to_string();
    for step in 0..=seed.at(0) % 3 {
        let draw = |what: u64, below: usize| (seed.at(10 * step + what) % below as u64) as usize;
        let cuts: Vec<usize> = text.match_indices([',', ':', '[', ']', '{', '}']).map(|(at, _)| at).collect();
        if cuts.len() < 2 {
            break;
        }
        let at = draw(1, cuts.len() - 1);
        let (from, to) = (cuts[at] + 1, cuts[at + 1]);
        match draw(2, 8) {
            0 => drop(text.drain(from..to)),
            1 => {
                let piece = text[from..=to].to_string();
                text.insert_str(from, &piece);
            }
            _ => text.replace_range(from..to, TOKENS[draw(3, TOKENS.len())]),
        }
    }
    text
}

#[tokio::test]
async fn no_request_makes_a_defect() {
    let house = house();
    let row =
        r#"{"customer_id":7,"amount":12.34,"channel":"web","occurred_at":"2026-01-01T00:00:00Z","payment_id":"p"}"#;
    let rows = format!(r#"{{"rows":[{row},{row}],"options":{{"features":true}}}}"#);
    let tensors = concat!(
        r#"{"id":"1","inputs":[{"name":"customer_id","datatype":"INT64","shape":[2],"data":[7,8]},"#,
        r#"{"name":"amount","datatype":"FP64","shape":[2,1],"data":[[1.5],[null]]},"#,
        r#"{"name":"channel","datatype":"BYTES","shape":[2],"data":["a","b"]}],"#,
        r#""outputs":[{"name":"score","parameters":{"binary_data":false}}]}"#,
    );
    let mut answered = 0;
    for case in 0..1500 {
        for (path, request) in [("/v1/models/fraud/predict", rows.as_str()), ("/v2/models/fraud/infer", tensors)] {
            let body = mutant(request, Seed(case));
            let reply = house.post(path, &body).await;
            if reply.status == StatusCode::OK {
                answered += 1;
                reply.json();
            } else {
                let (status, code, _) = reply.refusal();
                let known = ["invalid-request", "too-many-rows", "body-too-large"].contains(&code.as_str());
                assert!(known && (400..500).contains(&status), "case {case}: {status} {code} {body}");
            }
        }
    }
    // Else the mutants would be too wild to reach what lies behind the parser.
    assert!(answered > 100, "{answered} of 3000 were answered");
}
