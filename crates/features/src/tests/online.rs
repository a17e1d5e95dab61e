//! What is stored is found again, as of a time; what is damaged is refused.

use super::*;
use arrow::array::{Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use pelton_base::{NodeName, Seed};

const DAY_US: i64 = 86_400_000_000;

fn table(ttl_us: Option<i64>) -> FeatureTable {
    let schema = Schema::new(vec![
        Field::new("customer_id", DataType::Int64, true),
        Field::new("country", DataType::Utf8, true),
        Field::new("at", types::timestamp(), true),
        Field::new("known_at", types::timestamp(), true),
        Field::new("spend", DataType::Float64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("limit", DataType::Decimal128(12, 2), true),
    ]);
    FeatureTable {
        name: NodeName::new("activity"),
        entity: vec!["customer_id".into(), "country".into()],
        time: "at".into(),
        known_at: Some("known_at".into()),
        ttl_us,
        schema: Arc::new(schema),
    }
}

fn times(days: &[Option<i64>]) -> ArrayRef {
    let us: Vec<Option<i64>> = days.iter().map(|day| day.map(|day| day * DAY_US)).collect();
    Arc::new(TimestampMicrosecondArray::from(us).with_timezone("UTC"))
}

/// Customers 1 to 3, and two rows that cannot be stored.
fn rows() -> RecordBatch {
    let limits = Decimal128Array::from(vec![Some(1050), None, Some(-1), Some(1), Some(1)]);
    RecordBatch::try_new(
        table(None).schema,
        vec![
            Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), None, Some(5)])),
            Arc::new(StringArray::from(vec!["de", "fr", "", "de", "de"])),
            times(&[Some(10), Some(20), Some(30), Some(1), None]),
            times(&[Some(10), Some(25), Some(5), Some(1), Some(1)]),
            Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::INFINITY), Some(1.0), Some(1.0)])),
            Arc::new(StringArray::from(vec![Some("Ann"), Some(""), None, None, None])),
            Arc::new(limits.with_precision_and_scale(12, 2).unwrap()),
        ],
    )
    .unwrap()
}

fn entities(ids: &[i64], countries: &[&str]) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(StringArray::from(countries.to_vec()))]
}

fn built(folder: &Path, table: &FeatureTable) -> PathBuf {
    let path = folder.join("activity-1.redb");
    assert_eq!(OnlineStore::build(&path, table, [&rows()]).unwrap(), 3);
    path
}

#[test]
fn what_is_stored_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = OnlineStore::open(&built(folder.path(), &table(None))).unwrap();
    assert_eq!(store.rows(), 3);
    let answer = store.lookup(&entities(&[3, 1, 9, 2], &["", "de", "de", "fr"]), 100 * DAY_US).unwrap();
    assert_eq!(answer.found, [Found::Yes, Found::Yes, Found::No, Found::Yes]);
    let wanted = rows().project(&[4, 5, 6]).unwrap();
    let rows_of = |at: usize| wanted.slice(at, 1);
    assert_eq!(answer.features.slice(0, 1), rows_of(2));
    assert_eq!(answer.features.slice(1, 1), rows_of(0));
    assert_eq!(answer.features.slice(3, 1), rows_of(1));
    assert!(answer.features.columns().iter().all(|column| column.is_null(2)));
    assert_eq!(store.lookup(&entities(&[], &[]), 0).unwrap().features.num_rows(), 0);
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["activity-1.redb"]);
}

#[test]
fn a_row_counts_from_when_it_was_known_until_it_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let store = OnlineStore::open(&built(folder.path(), &table(Some(10 * DAY_US)))).unwrap();
    let customer = entities(&[2], &["fr"]);
    let at = |us: i64| store.lookup(&customer, us).unwrap().found[0];
    assert_eq!(at(25 * DAY_US - 1), Found::Later);
    assert_eq!(at(25 * DAY_US), Found::Yes);
    assert_eq!(at(30 * DAY_US), Found::Yes);
    assert_eq!(at(30 * DAY_US + 1), Found::Expired);
    let both = store.lookup_at(&entities(&[2, 2], &["fr", "fr"]), [25 * DAY_US, 0]).unwrap();
    assert_eq!(both.found, [Found::Yes, Found::Later]);
}

#[test]
fn a_row_that_is_not_known_yet_leaves_the_one_before_it_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("activity-1.redb");
    // Customer 1 in the order of the SELECT, newest first: two rows that become known later, and the one that was known.
    let (ids, countries) = (Int64Array::from(vec![1, 1, 1, 2]), StringArray::from(vec!["de"; 4]));
    let spend = Float64Array::from(vec![3.0, 2.0, 1.0, 9.0]);
    let rows = RecordBatch::try_new(
        table(None).schema,
        vec![
            Arc::new(ids),
            Arc::new(countries),
            times(&[Some(12), Some(11), Some(10), Some(1)]),
            times(&[Some(14), Some(13), Some(11), Some(1)]),
            Arc::new(spend),
            Arc::new(StringArray::from(vec!["a"; 4])),
            Arc::new(Decimal128Array::from(vec![1; 4]).with_precision_and_scale(12, 2).unwrap()),
        ],
    )
    .unwrap();
    // The rows of an entity may come in several batches.
    let parts = [rows.slice(0, 1), rows.slice(1, 3)];
    assert_eq!(OnlineStore::build(&path, &table(None), &parts).unwrap(), 2);
    let store = OnlineStore::open(&path).unwrap();
    assert_eq!(store.rows(), 2);
    for (day, found, wanted) in [
        (10, Found::Later, None),
        (11, Found::Yes, Some(1.0)),
        (12, Found::Yes, Some(1.0)),
        (13, Found::Yes, Some(2.0)),
        (14, Found::Yes, Some(3.0)),
        (99, Found::Yes, Some(3.0)),
    ] {
        let answer = store.lookup(&entities(&[1], &["de"]), day * DAY_US).unwrap();
        let spend = answer.features.column(0).as_primitive::<arrow::datatypes::Float64Type>();
        assert_eq!((answer.found[0], spend.iter().next().unwrap()), (found, wanted), "day {day}");
    }
}

#[test]
fn entities_of_other_types_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = OnlineStore::open(&built(folder.path(), &table(None))).unwrap();
    let swapped: Vec<ArrayRef> = entities(&[1], &["de"]).into_iter().rev().collect();
    let error = store.lookup(&swapped, 0).unwrap_err();
    assert_eq!(error.to_string(), "an entity is (bigint, text), not (text, bigint)");
}

#[test]
fn two_rows_of_one_entity_are_refused_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("activity-1.redb");
    let error = OnlineStore::build(&path, &table(None), [&rows(), &rows()]).unwrap_err();
    assert!(error.to_string().contains("in two places"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_missing_foreign_or_cut_file_is_a_damaged_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let path = built(folder.path(), &table(None));
    let whole = fs::read(&path).unwrap();
    let code = |path: &Path| OnlineStore::open(path).unwrap_err().report("model `fraud`").code;
    assert_eq!(code(&folder.path().join("none.redb")), "damaged-artifact");
    for (name, bytes) in [("foreign", &b"id,amount\n1,2\n"[..]), ("empty", &[]), ("cut", &whole[..whole.len() / 2])] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        assert_eq!(code(&path), "damaged-artifact", "{name}");
    }
    // A redb file of somebody else.
    let other = folder.path().join("other");
    let database = Database::create(&other).unwrap();
    database.begin_write().unwrap().commit().unwrap();
    drop(database);
    assert_eq!(code(&other), "damaged-artifact");
}

#[test]
fn a_flipped_bit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = built(folder.path(), &table(None));
    let whole = fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged");
    let seed = Seed(1);
    for draw in 0..200 {
        let at = (seed.at(draw) % whole.len() as u64) as usize;
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (seed.at(draw) >> 40 & 7);
        fs::write(&damaged, &bytes).unwrap();
        let error = OnlineStore::open(&damaged).unwrap_err();
        assert!(matches!(error, OnlineError::Damaged { .. }), "byte {at}: {error}");
    }
}

#[test]
fn a_row_that_changes_after_the_store_was_opened_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("activity-1.redb");
    // Enough rows that the pages of most are not read when the store is opened.
    let ids: Vec<i64> = (0..5000).collect();
    let days = vec![Some(1); ids.len()];
    let mut columns = entities(&ids, &vec!["de"; ids.len()]);
    columns.extend([times(&days), times(&days), arrow::array::new_null_array(&DataType::Float64, ids.len())]);
    columns.push(Arc::new(StringArray::from(vec!["Annabel"; ids.len()])));
    columns.push(arrow::array::new_null_array(&DataType::Decimal128(12, 2), ids.len()));
    let rows = RecordBatch::try_new(table(None).schema, columns).unwrap();
    assert_eq!(OnlineStore::build(&path, &table(None), [&rows.slice(2500, 2500), &rows.slice(0, 2500)]).unwrap(), 5000);
    let store = OnlineStore::open(&path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() - 7 {
        if &bytes[at..at + 7] == b"Annabel" {
            bytes[at] = b'E';
        }
    }
    // Written in place, as a failing disk would.
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
    let error = store.lookup(&entities(&[1234], &["de"]), 100 * DAY_US).unwrap_err();
    assert!(error.to_string().contains("a row is not what was written"), "{error}");
}

/// A file written by format 1. When this fails, old warehouses can no longer be served: raise `FORMAT`, and keep reading 1.
#[test]
fn a_frozen_file_of_format_1_is_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frozen.redb");
    let pages = include_str!("online_format_1.txt");
    fs::write(&path, unpacked(pages)).unwrap();
    let store = OnlineStore::open(&path).unwrap();
    let answer = store.lookup(&entities(&[1, 2, 3], &["de", "fr", ""]), 100 * DAY_US).unwrap();
    assert_eq!(answer.features, rows().project(&[4, 5, 6]).unwrap().slice(0, 3));
}

/// Reads words, each hexadecimal bytes or `BYTE*COUNT`.
fn unpacked(text: &str) -> Vec<u8> {
    let byte = |hex: &str| u8::from_str_radix(hex, 16).unwrap();
    let word = |word: &str| match word.split_once('*') {
        Some((hex, count)) => vec![byte(hex); count.parse().unwrap()],
        None => (0..word.len()).step_by(2).map(|at| byte(&word[at..at + 2])).collect(),
    };
    text.split_whitespace().flat_map(word).collect()
}

/// The inverse of [`unpacked`].
fn packed(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        match run.len() {
            12.. => text.push_str(&format!("\n{:02x}*{}\n", run[0], run.len())),
            _ => run.iter().for_each(|byte| text.push_str(&format!("{byte:02x}"))),
        }
    }
    text.replace("\n\n", "\n").trim().to_string() + "\n"
}

/// With `PELTON_FREEZE=FILE` in the environment it also writes the sample of a new format.
#[test]
fn packing_a_file_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(built(folder.path(), &table(None))).unwrap();
    assert_eq!(unpacked(&packed(&bytes)), bytes);
    if let Some(path) = std::env::var_os("PELTON_FREEZE") {
        fs::write(path, packed(&bytes)).unwrap();
    }
}
