//! The log's segments: written before the answer, found by receipt, sound after a kill.

use super::*;
use crate::log::{End, Frames, find, read, take};
use pelton_base::{FixedClock, ReceiptId};
use std::io::Write;
use std::path::Path;

pub(super) const NOW_US: i64 = 1_772_366_400_000_000;

/// Asks `rows` predictions of customer `c1` in one request.
pub(super) async fn ask(log: &Log, rows: usize) -> Answer {
    let endpoints = Arc::new(endpoints(3));
    let endpoint = Arc::clone(endpoints.model("fraud", None).unwrap());
    let row = r#"{"customer_id":"c1","amount":0.1,"channel":"web","payment_id":"p1"}"#;
    let request = decode_rows(endpoint.pipeline.request(), &format!("[{}]", vec![row; rows].join(",")), rows).unwrap();
    predict(endpoints, endpoint, request, &FixedClock(NOW_US), log).await.unwrap()
}

fn records(path: &Path) -> (usize, End) {
    let mut count = 0;
    let end = read(path, |_| {
        count += 1;
        true
    });
    (count, end.unwrap())
}

#[tokio::test]
async fn a_prediction_is_in_the_log_when_it_is_answered_and_rescores_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), LogSettings::default()).unwrap();
    let answer = ask(&log, 3).await;
    let bytes = find(folder.path(), &answer.receipts[2]).unwrap().unwrap();
    let record = Record::from_bytes(&bytes).unwrap();
    assert_eq!((record.at_us, record.publication, record.row, record.version.0.as_str()), (NOW_US, 3, 2, "feed"));
    let request =
        r#"{"customer_id":"c1","amount":0.1,"channel":"web","occurred_at":"2026-03-01T12:00:00Z","payment_id":"p1"}"#;
    assert_eq!(record.request.get(), request);
    let looked = &record.features[0];
    assert_eq!((looked.table.as_str(), looked.version.0.as_str(), looked.found), ("activity", "aaaa", true));
    assert_eq!(looked.values.get(), r#"{"spend_30d":120.1,"activity_payments":7}"#);
    let again = record.rescore(&pipeline()).unwrap();
    assert_eq!((again.same_bits, again.output.as_str()), (true, record.output.get()));
    assert!(find(folder.path(), &ReceiptId::fresh(NOW_US)).unwrap().is_none());
}

#[tokio::test]
async fn more_rows_than_are_scored_in_place_are_logged_too() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), LogSettings::default()).unwrap();
    assert_eq!(ask(&log, 300).await.receipts.len(), 300);
    assert_eq!(records(&log.segments().unwrap()[0].path), (300, End::Whole));
}

#[tokio::test]
async fn a_segment_that_is_being_written_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let settings = LogSettings { segment_rows_max: 4, ..LogSettings::default() };
    let log = Log::open(folder.path(), settings).unwrap();
    ask(&log, 3).await;
    let segment = log.segments().unwrap().remove(0);
    assert!(take(&segment).unwrap().is_none());
    ask(&log, 1).await;
    assert!(take(&segment).unwrap().is_some(), "it is full");
    ask(&log, 1).await;
    assert_eq!(log.segments().unwrap().len(), 2);
    log.rotate().await.unwrap();
    let second = log.segments().unwrap().remove(1);
    assert!(take(&second).unwrap().is_some());
    drop(log);
}

#[tokio::test]
async fn many_requests_at_once_are_all_logged() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), LogSettings::default()).unwrap();
    futures::future::join_all((0..500).map(|_| ask(&log, 1))).await;
    drop(log);
    let segment = crate::log::segments(folder.path()).unwrap().remove(0);
    assert_eq!(records(&segment.path), (500, End::Whole));
}

#[test]
fn a_record_cut_at_any_byte_is_torn_and_hides_nothing_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.segment");
    let mut frames = Frames::default();
    frames.push(|out| out.extend_from_slice(b"first"));
    let first = 8 + frames.bytes().len();
    frames.push(|out| out.extend_from_slice(b"second"));
    let whole = [b"PELLOG\0\x01", frames.bytes()].concat();
    for cut in 0..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let expected = if cut == 0 || cut == 8 || cut == first || cut == whole.len() { End::Whole } else { End::Torn };
        let count = usize::from(cut >= first) + usize::from(cut == whole.len());
        assert_eq!(records(&path), (count, expected), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_is_damage_at_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.segment");
    let mut frames = Frames::default();
    frames.push(|out| out.extend_from_slice(b"first"));
    let first = frames.bytes().len();
    frames.push(|out| out.extend_from_slice(b"second"));
    let mut bytes = [b"PELLOG\0\x01", frames.bytes()].concat();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(records(&path), (1, End::Damaged(8 + first as u64)));
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b"another program's file").unwrap();
    assert_eq!(records(&path), (0, End::Damaged(0)));
}
