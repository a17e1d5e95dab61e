//! From a request to an output.

use super::*;
use crate::follow::Follower;
use std::sync::Mutex;

const NOW_US: i64 = 1_772_366_400_000_000;

fn score(package: Package, rows: &str) -> Result<Scored, Report> {
    let pipeline = Pipeline::with_model(&FakeEngine::default(), package, Arc::new(FakeModel))?;
    let request = decode_rows(pipeline.request(), rows, 10)?;
    pipeline.score(&request, NOW_US, &FakeFeatures)
}

#[test]
fn a_request_meets_its_features_and_derived_columns() {
    let rows = r#"[{"customer_id":"c1","amount":2,"channel":"web","payment_id":"p1"},
                   {"customer_id":"c9","amount":null,"channel":null,"occurred_at":"2026-01-01"}]"#;
    let scored = score(fraud_package(), rows).unwrap();
    let first = r#"{"customer_id":"c1","amount":2.0,"channel":"web","occurred_at":"2026-03-01T12:00:00Z","spend_30d":120.1,"activity_payments":7}"#;
    assert_eq!(json_row(&scored.inputs, 0), first);
    let second = r#"{"customer_id":"c9","amount":null,"channel":null,"occurred_at":"2026-01-01T00:00:00Z","spend_30d":null,"activity_payments":null}"#;
    assert_eq!(json_row(&scored.inputs, 1), second);
    assert_eq!(json_row(&scored.key, 0), r#"{"payment_id":"p1"}"#);
    assert_eq!(json_row(&scored.derived, 0), r#"{"amount_times_spend":240.2}"#);
    assert_eq!(scored.found, [vec![true, false]]);
    assert_eq!(
        scored.output.column_by_name("score").unwrap().as_primitive::<Float64Type>().value(0),
        2.0 / 7.0 + 120.1 / 3.0 + 240.2 / 11.0
    );
}

#[test]
fn rescoring_and_sql_give_the_same_bits() {
    let scored = score(fraud_package(), r#"[{"customer_id":"c1","amount":0.1,"channel":"web"}]"#).unwrap();
    let pipeline = Arc::new(pipeline());
    assert_eq!(pipeline.rescore(&scored.inputs).unwrap().1, scored.output);
    let scorer = pipeline.as_scorer();
    assert_eq!(scorer.inputs().len(), 6);
    let output = scorer.score(scored.inputs.columns()).unwrap();
    assert_eq!(output.as_struct(), &scored.output);
    assert_eq!(scorer.output().data_type(), output.data_type());
}

#[test]
fn an_entity_without_features_is_refused_when_the_model_demands_them() {
    let package = Package { missing: MissingRule::Refuse, ..fraud_package() };
    let rows = r#"[{"customer_id":"c1","amount":1,"channel":null},{"customer_id":"c9","amount":1,"channel":null}]"#;
    let report = score(package, rows).unwrap_err();
    assert_eq!(
        (report.code, report.message.as_str()),
        ("missing-feature", "1 of 2 rows have no features in `activity`")
    );
    assert_eq!(report.notes[0], "row 1: customer_id \"c9\"");
}

#[test]
fn a_feature_that_the_table_lost_is_named() {
    let mut package = fraud_package();
    package.lookups[0].columns[1].column = "chargebacks".into();
    let report = score(package, r#"[{"customer_id":"c1","amount":1,"channel":null}]"#).unwrap_err();
    assert_eq!(
        (report.code, report.message.as_str()),
        ("missing-feature", "version aaaa of `activity` has no feature `chargebacks`")
    );
}

#[test]
fn a_derived_column_that_does_not_fit_is_found_when_the_endpoint_is_loaded() {
    let mut package = fraud_package();
    package.derive[0].1 = "amuont * spend_30d".into();
    let report = score(package, "[]").unwrap_err();
    assert_eq!((report.code, report.hints[0].as_str()), ("unknown-column", "did you mean `amount`?"));
}

#[test]
fn other_bytes_than_the_packages_model_are_refused() {
    let report = Pipeline::compile(&FakeEngine::default(), fraud_package(), b"another model").unwrap_err();
    assert_eq!(report.code, "damaged-artifact");
}

#[test]
fn a_switch_leaves_requests_under_way_what_they_began_with() {
    let switch = Switch::new(endpoints(1));
    let under_way = switch.get();
    assert_eq!(switch.set(endpoints(2)).publication, 1);
    assert_eq!((under_way.publication, switch.get().publication), (1, 2));
    let report = under_way.model("fruad", None).unwrap_err();
    assert_eq!((report.code, report.hints[0].as_str()), ("unknown-endpoint", "did you mean `fraud`?"));
    assert_eq!(under_way.model("fraud", Some("beef")).unwrap_err().code, "unknown-endpoint");
    assert!(under_way.model("fraud", Some("feed")).is_ok());
}

/// Gives the publication it is told, or fails.
struct FakeLoader(Mutex<Result<i64, Report>>);

impl Loader for FakeLoader {
    fn current(&self) -> Result<Option<i64>, Report> {
        Ok(Some(self.0.lock().unwrap().clone().unwrap_or(3)))
    }

    fn load(&self) -> Result<Endpoints, Report> {
        self.0.lock().unwrap().clone().map(endpoints)
    }
}

#[tokio::test]
async fn a_new_publication_is_put_into_service_and_a_broken_one_is_not() {
    let switch = Arc::new(Switch::new(endpoints(1)));
    let loader = Arc::new(FakeLoader(Mutex::new(Ok(1))));
    let mut follower = Follower { switch: Arc::clone(&switch), loader: loader.clone(), refused: None };
    assert!(follower.look().await.is_none());
    *loader.0.lock().unwrap() = Ok(2);
    assert!(matches!(follower.look().await, Some(Followed::Switched { from: 1, to: 2 })));
    assert!(follower.look().await.is_none());
    *loader.0.lock().unwrap() = Err(Report::error("damaged-artifact", "a model is not readable"));
    assert!(matches!(follower.look().await, Some(Followed::Failed(report)) if report.code == "damaged-artifact"));
    for _ in 0..24 {
        assert!(follower.look().await.is_none());
    }
    assert!(matches!(follower.look().await, Some(Followed::Failed(_))), "it is tried again");
    assert_eq!(switch.get().publication, 2);
    *loader.0.lock().unwrap() = Ok(4);
    assert!(matches!(follower.look().await, Some(Followed::Switched { from: 2, to: 4 })));
}
