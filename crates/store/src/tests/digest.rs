//! A table's digest: the frozen sample, and that it depends on the rows alone.

use crate::TableDigest;
use arrow::array::*;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pelton_base::Seed;
use pelton_query::types;
use std::sync::Arc;

fn digest(batches: &[RecordBatch]) -> String {
    let mut digest = TableDigest::new(&batches[0].schema()).unwrap();
    for batch in batches {
        digest.add(batch).unwrap();
    }
    digest.finish().to_string()
}

fn schema(columns: &[(&str, &str)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, &str)| Field::new(*name, types::parse(data_type).unwrap(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// The rows of `docs/reference/digests.md`.
fn sample() -> RecordBatch {
    let schema = schema(&[
        ("id", "bigint"),
        ("small", "tinyint"),
        ("name", "text"),
        ("amount", "decimal(12,2)"),
        ("at", "timestamp"),
        ("day", "date"),
        ("ok", "boolean"),
        ("share", "double"),
        ("weight", "real"),
        ("raw", "bytes"),
        ("tags", "text[]"),
        ("place", "struct<zip int, city text>"),
    ]);
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("a"), None, Some("")]);
    tags.append_value::<_, &str>([]);
    tags.append_null();
    tags.append_null();
    let DataType::Struct(fields) = schema.field(11).data_type() else { unreachable!() };
    let zip: ArrayRef = Arc::new(Int32Array::from(vec![Some(8001), None, Some(1), None]));
    let city: ArrayRef = Arc::new(StringArray::from(vec![Some("Zürich"), None, Some("not seen"), None]));
    let there = arrow::buffer::NullBuffer::from(vec![true, true, false, false]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), Some(-2), None, None])),
        Arc::new(Int8Array::from(vec![Some(-5), Some(127), None, None])),
        Arc::new(StringArray::from(vec![Some("Zoë"), Some(""), None, None])),
        Arc::new(
            Decimal128Array::from(vec![Some(1250), Some(-1), None, None]).with_precision_and_scale(12, 2).unwrap(),
        ),
        Arc::new(
            TimestampMicrosecondArray::from(vec![Some(1_772_366_400_000_250), Some(-1), None, None])
                .with_timezone("UTC"),
        ),
        Arc::new(Date32Array::from(vec![Some(20_513), Some(-1), None, None])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, None])),
        Arc::new(Float64Array::from(vec![Some(0.1), Some(-0.0), None, None])),
        Arc::new(Float32Array::from(vec![Some(0.5), Some(-f32::NAN), None, None])),
        Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), Some(b""), None, None])),
        Arc::new(tags.finish()),
        Arc::new(StructArray::new(fields.clone(), vec![zip, city], Some(there))),
    ];
    RecordBatch::try_new(schema, columns).unwrap()
}

#[test]
fn the_sample_has_the_digest_that_the_reference_program_computes() {
    assert_eq!(digest(&[sample()]), "759cfcda90be12838ab796bfcc0f3a06");
}

/// As the reference program says.
#[test]
fn names_of_fields_that_need_quotes_have_them_in_the_digest() {
    let schema = schema(&[
        ("id", "bigint"),
        ("attrs", r#"struct<"first name" text, "a,""b" int, "" boolean, plain(x) bigint>"#),
    ]);
    let DataType::Struct(fields) = schema.field(1).data_type() else { unreachable!() };
    let values: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["Ann"])),
        Arc::new(Int32Array::from(vec![7])),
        Arc::new(BooleanArray::from(vec![true])),
        Arc::new(Int64Array::from(vec![None])),
    ];
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![1])), Arc::new(StructArray::new(fields.clone(), values, None))];
    assert_eq!(digest(&[RecordBatch::try_new(schema, columns).unwrap()]), "3893f7684c094d27f6876f64ea65e7dd");
}

#[test]
fn every_value_and_every_name_counts() {
    let rows = sample();
    let whole = digest(std::slice::from_ref(&rows));
    for at in 0..rows.num_columns() {
        let mut columns = rows.columns().to_vec();
        columns[at] = arrow::compute::take(&columns[at], &UInt32Array::from(vec![1, 0, 2, 3]), None).unwrap();
        let swapped = RecordBatch::try_new(rows.schema(), columns).unwrap();
        assert_ne!(digest(&[swapped]), whole, "{}", rows.schema().field(at).name());

        let mut fields = rows.schema().fields().to_vec();
        fields[at] = Arc::new(fields[at].as_ref().clone().with_name("other"));
        let renamed = RecordBatch::try_new(Arc::new(Schema::new(fields)), rows.columns().to_vec()).unwrap();
        assert_ne!(digest(&[renamed]), whole);
    }
    assert_ne!(digest(&[rows.slice(0, 3)]), whole, "a row less of two equal ones");
}

#[test]
fn a_number_digests_the_same_in_every_form_that_is_stored_the_same() {
    let one = |column: ArrayRef| digest(&[RecordBatch::try_from_iter([("c", column)]).unwrap()]);
    assert_eq!(one(Arc::new(StringArray::from(vec!["a", "b"]))), one(Arc::new(StringViewArray::from(vec!["a", "b"]))));
    assert_eq!(one(Arc::new(UInt32Array::from(vec![7]))), one(Arc::new(Int64Array::from(vec![7]))));
    assert_ne!(one(Arc::new(Int32Array::from(vec![7]))), one(Arc::new(Int64Array::from(vec![7]))));
    assert_eq!(
        one(Arc::new(TimestampSecondArray::from(vec![7]))),
        one(Arc::new(TimestampNanosecondArray::from(vec![7_000_000_000]).with_timezone("+01:00")))
    );
}

/// Random rows of random columns, with many nulls and few distinct values.
fn random(seed: Seed, rows: usize) -> RecordBatch {
    let draw = |column: &str, row: usize| seed.derive(column).at(row as u64);
    let kinds = 1 + (draw("kinds", 0) % 6) as usize;
    let mut columns: Vec<(String, ArrayRef, bool)> = Vec::new();
    for at in 0..kinds {
        let name = format!("{}{at}", ["z", "a", "m"][(draw("name", at) % 3) as usize]);
        let cell = |row: usize| {
            let bits = draw(&name, row);
            (bits % 4 != 0).then_some((bits >> 8) % 5)
        };
        let cells = (0..rows).map(cell);
        let column: ArrayRef = match draw("kind", at) % 5 {
            0 => Arc::new(Int64Array::from_iter(cells.map(|v| v.map(|v| v as i64 - 2)))),
            1 => Arc::new(StringArray::from_iter(cells.map(|v| v.map(|v| "x".repeat(v as usize))))),
            2 => Arc::new(Float64Array::from_iter(cells.map(|v| v.map(|v| (v as f64 - 2.0).sqrt())))),
            3 => Arc::new(BooleanArray::from_iter(cells.map(|v| v.map(|v| v > 2)))),
            _ => {
                let mut lists = ListBuilder::new(Int32Builder::new());
                for value in cells {
                    match value {
                        Some(value) => lists.append_value((0..value as i32).map(|i| (i != 1).then_some(i))),
                        None => lists.append_null(),
                    }
                }
                Arc::new(lists.finish())
            }
        };
        columns.push((name, column, true));
    }
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn rows_digest_the_same_however_they_are_ordered_and_cut() {
    for case in 0..200 {
        let seed = Seed(case).derive("digest");
        let rows = (seed.at(0) % 60) as usize;
        let table = random(seed, rows);
        let whole = digest(std::slice::from_ref(&table));

        // The same rows, columns in reverse, in another order, cut at random, in two parts that are merged.
        let reverse: Vec<usize> = (0..table.num_columns()).rev().collect();
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.sort_by_key(|row| seed.derive("order").at(u64::from(*row)));
        let shuffled = take_record_batch(&table.project(&reverse).unwrap(), &UInt32Array::from(order)).unwrap();
        let mut parts = [TableDigest::new(&table.schema()).unwrap(), TableDigest::new(&shuffled.schema()).unwrap()];
        let mut at = 0;
        while at < rows {
            let length = (1 + seed.derive("cut").at(at as u64) as usize % 9).min(rows - at);
            parts[at % 2].add(&shuffled.slice(at, length)).unwrap();
            at += length;
        }
        let [mut merged, other] = parts;
        merged.merge(&other);
        assert_eq!(merged.finish().to_string(), whole, "case {case}");
        assert_eq!(merged.rows(), rows as u64);

        // Rows that are added and taken out again leave nothing behind.
        let more = concat_batches(&table.schema(), [&table, &table.slice(0, rows / 2)]).unwrap();
        let mut there_and_back = TableDigest::new(&table.schema()).unwrap();
        there_and_back.add(&more).unwrap();
        there_and_back.remove(&table.slice(0, rows / 2)).unwrap();
        assert_eq!(there_and_back.finish().to_string(), whole, "case {case}");
        assert_eq!(there_and_back.rows(), rows as u64);
    }
}
