//! Parts have their shares, keep their rows together, and do not depend on the order of rows.

use super::*;
use crate::fixture::{examples, model, node, select};
use crate::plan_columns;
use arrow::array::{Int64Array, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Schema;
use std::collections::HashMap;
use std::sync::Arc;

fn columns() -> Columns {
    plan_columns(&node(model()), &select(), &[], &Arc::new(Schema::empty())).unwrap()
}

fn parts(batch: &RecordBatch, by: SplitBy) -> Vec<Part> {
    split(batch, &Split { by, test: 0.2, valid: 0.1 }, &columns(), Seed(42)).unwrap()
}

fn count(parts: &[Part], part: Part) -> usize {
    parts.iter().filter(|other| **other == part).count()
}

fn with_times(times: &[Option<i64>]) -> RecordBatch {
    let batch = examples(times.len());
    let mut columns = batch.columns().to_vec();
    columns[1] = Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"));
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

#[test]
fn a_part_does_not_depend_on_the_order_of_rows() {
    let batch = examples(500);
    let order: Vec<u32> = (0..500).map(|row| (row * 7 + 3) % 500).collect();
    let turned = take_record_batch(&batch, &UInt32Array::from(order.clone())).unwrap();
    for by in [SplitBy::Time, SplitBy::Random, SplitBy::Stratified, SplitBy::Group("channel".into())] {
        let (here, there) = (parts(&batch, by.clone()), parts(&turned, by));
        assert!(order.iter().zip(&there).all(|(row, part)| here[*row as usize] == *part));
    }
}

#[test]
fn an_example_keeps_its_part_when_others_come() {
    let (few, many) = (parts(&examples(400), SplitBy::Random), parts(&examples(1000), SplitBy::Random));
    assert_eq!(few[..], many[..400]);
    assert_ne!(
        many,
        split(&examples(1000), &Split { by: SplitBy::Random, test: 0.2, valid: 0.1 }, &columns(), Seed(1)).unwrap()
    );
    let (test, valid) = (count(&many, Part::Test), count(&many, Part::Valid));
    // Four standard deviations of a binomial draw of 1,000.
    assert!((150..=250).contains(&test) && (62..=138).contains(&valid), "{test} {valid}");
}

#[test]
fn the_latest_examples_judge() {
    let parts = parts(&examples(100), SplitBy::Time);
    assert!(parts[..70].iter().all(|part| *part == Part::Train));
    assert!(parts[70..80].iter().all(|part| *part == Part::Valid));
    assert!(parts[80..].iter().all(|part| *part == Part::Test));
}

#[test]
fn examples_of_one_moment_stay_together() {
    for ties in [1, 3, 7, 30, 50] {
        let times: Vec<Option<i64>> = (0..100).map(|row| Some(row / ties)).collect();
        let parts = parts(&with_times(&times), SplitBy::Time);
        let mut seen: HashMap<i64, Part> = HashMap::new();
        for (time, part) in times.iter().flatten().zip(&parts) {
            assert_eq!(seen.entry(*time).or_insert(*part), part, "{ties}");
        }
        assert!(parts.is_sorted_by_key(|part| *part as u8), "{ties}");
        assert!(count(&parts, Part::Test) > 0 && count(&parts, Part::Train) > 0, "{ties}: {parts:?}");
    }
    // All at once: there is no later, so nothing judges, and the caller refuses.
    assert_eq!(count(&parts(&with_times(&[Some(1); 50]), SplitBy::Time), Part::Train), 50);
    // Without a time an example never judges.
    let mut times: Vec<Option<i64>> = (0..100).map(Some).collect();
    times[99] = None;
    assert_eq!(parts(&with_times(&times), SplitBy::Time)[99], Part::Train);
}

#[test]
fn groups_stay_together() {
    let batch = examples(600);
    let mut columns = batch.columns().to_vec();
    columns[0] = Arc::new(Int64Array::from_iter_values((0..600).map(|row| row / 6)));
    let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
    let parts = parts(&batch, SplitBy::Group("id".into()));
    assert!(parts.chunks(6).all(|group| group.iter().all(|part| *part == group[0])));
    assert!(count(&parts, Part::Test) > 0 && count(&parts, Part::Valid) > 0);
}

#[test]
fn each_class_has_its_shares() {
    let batch = examples(1000);
    let parts = parts(&batch, SplitBy::Stratified);
    let target = batch.column(4).as_boolean();
    for class in [true, false] {
        let rows: Vec<usize> = (0..1000).filter(|row| target.value(*row) == class).collect();
        let of = |part: Part| rows.iter().filter(|row| parts[**row] == part).count() as f64 / rows.len() as f64;
        assert!((of(Part::Test) - 0.2).abs() < 0.01 && (of(Part::Valid) - 0.1).abs() < 0.01);
    }
}

#[test]
fn a_valid_share_of_nothing_is_no_valid_part() {
    for by in [SplitBy::Time, SplitBy::Random, SplitBy::Stratified] {
        let parts = split(&examples(200), &Split { by, test: 0.2, valid: 0.0 }, &columns(), Seed(42)).unwrap();
        assert_eq!(count(&parts, Part::Valid), 0);
        assert!(count(&parts, Part::Test) > 10);
    }
}
