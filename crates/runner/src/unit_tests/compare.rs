//! Expected rows against those that came out: equal as collections, with a tolerance for floating-point numbers; where they are
//! not, which rows are missing, surplus or changed.

use pelton_serve::write_value;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;

/// The most rows of each sort that are listed; all are counted.
const LISTED_MAX: usize = 20;

/// How far apart two floating-point numbers may be without a `tolerance`, as a share of the larger: sums in another order differ
/// in the last of their sixteen digits.
const DEFAULT_SHARE: f64 = 1e-9;

/// A value that is not what was expected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DifferentValue {
    /// The column.
    pub column: String,
    /// What was expected.
    pub expected: Value,
    /// What came out.
    pub actual: Value,
}

/// A row that is there under its key, with other values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DifferentRow {
    /// The key.
    pub key: Map<String, Value>,
    /// The values that differ, in the order of the columns.
    pub values: Vec<DifferentValue>,
}

/// How the rows that came out differ from those that were expected.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RowsDiffer {
    /// The columns that were compared.
    pub columns: Vec<String>,
    /// The columns by which rows that differ were found to belong together; empty when none tells them apart.
    pub key: Vec<String>,
    /// How many rows were expected.
    pub expected_rows: u64,
    /// How many came out.
    pub actual_rows: u64,
    /// How many expected rows are not there.
    pub missing_rows: u64,
    /// How many rows are there that were not expected.
    pub surplus_rows: u64,
    /// How many rows have other values.
    pub changed_rows: u64,
    /// The first rows that are not there.
    pub missing: Vec<Map<String, Value>>,
    /// The first rows that were not expected.
    pub surplus: Vec<Map<String, Value>>,
    /// The first rows with other values.
    pub changed: Vec<DifferentRow>,
}

/// How to compare.
#[derive(Debug, Clone, Default)]
pub(crate) struct How<'a> {
    /// The columns that count.
    pub(crate) columns: &'a [String],
    /// Which rows belong together, when that is known.
    pub(crate) key: &'a [String],
    /// How far apart floating-point numbers may be.
    pub(crate) tolerance: Option<f64>,
}

/// Compares rows; `None` when they are equal. Both have all of the columns.
pub(crate) fn compare(expected: &RecordBatch, actual: &RecordBatch, how: &How<'_>) -> Option<RowsDiffer> {
    let (expected, actual) = (values(expected, how.columns), values(actual, how.columns));
    let (missing, surplus) = unmatched(&expected, &actual, how.tolerance);
    if missing.is_empty() && surplus.is_empty() {
        return None;
    }
    let mut differ = RowsDiffer {
        columns: how.columns.to_vec(),
        expected_rows: expected.len() as u64,
        actual_rows: actual.len() as u64,
        ..RowsDiffer::default()
    };
    let known: Vec<usize> =
        how.key.iter().filter_map(|name| how.columns.iter().position(|column| column == name)).collect();
    let key = if is_key_of(&expected, &known) { Some(known) } else { guessed_key(&expected, &actual) };
    let (mut missing, mut surplus): (Vec<&Row>, Vec<&Row>) = (
        missing.into_iter().map(|row| &expected[row]).collect(),
        surplus.into_iter().map(|row| &actual[row]).collect(),
    );
    if let Some(key) = key {
        differ.key = key.iter().map(|column| how.columns[*column].clone()).collect();
        let key_of = |row: &Row| key.iter().map(|column| row[*column].to_string()).collect::<Vec<_>>().join("\n");
        let mut by_key: HashMap<String, Vec<&Row>> = HashMap::new();
        surplus.iter().rev().for_each(|row| by_key.entry(key_of(row)).or_default().push(row));
        let mut taken: HashSet<*const Row> = HashSet::new();
        missing.retain(|row| {
            let Some(other) = by_key.get_mut(&key_of(row)).and_then(Vec::pop) else { return true };
            taken.insert(std::ptr::from_ref(other));
            differ.changed_rows += 1;
            if differ.changed.len() < LISTED_MAX {
                differ.changed.push(changed(row, other, how, &key));
            }
            false
        });
        surplus.retain(|row| !taken.contains(&std::ptr::from_ref(*row)));
    }
    let listed = |rows: &[&Row]| rows.iter().take(LISTED_MAX).map(|row| object(row, how.columns)).collect();
    (differ.missing_rows, differ.surplus_rows) = (missing.len() as u64, surplus.len() as u64);
    (differ.missing, differ.surplus) = (listed(&missing), listed(&surplus));
    Some(differ)
}

type Row = Vec<Value>;

/// The rows as JSON values: floating-point numbers are the only numbers with a fraction, since decimals are texts.
fn values(rows: &RecordBatch, columns: &[String]) -> Vec<Row> {
    let arrays: Vec<_> = columns.iter().filter_map(|name| rows.column_by_name(name)).collect();
    let value = |array: &arrow::array::ArrayRef, row: usize| {
        let mut out = Vec::new();
        write_value(&mut out, array, row);
        serde_json::from_slice(&out).unwrap_or(Value::Null)
    };
    (0..rows.num_rows()).map(|row| arrays.iter().map(|array| value(array, row)).collect()).collect()
}

/// The rows of each side that have no equal on the other.
///
/// Rows are sorted into groups that agree in everything but floating-point numbers, so only few are compared with each other.
fn unmatched(expected: &[Row], actual: &[Row], tolerance: Option<f64>) -> (Vec<usize>, Vec<usize>) {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, row) in actual.iter().enumerate() {
        groups.entry(exact_part(row)).or_default().push(at);
    }
    let mut missing = Vec::new();
    for (at, row) in expected.iter().enumerate() {
        let group = groups.get_mut(&exact_part(row));
        let found =
            group.as_ref().and_then(|group| group.iter().position(|other| are_equal(row, &actual[*other], tolerance)));
        match (group, found) {
            (Some(group), Some(found)) => drop(group.remove(found)),
            _ => missing.push(at),
        }
    }
    let mut surplus: Vec<usize> = groups.into_values().flatten().collect();
    surplus.sort_unstable();
    (missing, surplus)
}

fn exact_part(row: &[Value]) -> String {
    let mut text = String::new();
    for value in row {
        push_exact(value, &mut text);
        text.push('\n');
    }
    text
}

fn push_exact(value: &Value, text: &mut String) {
    match value {
        Value::Number(number) if number.is_f64() => text.push('~'),
        Value::Array(items) => {
            text.push('[');
            items.iter().for_each(|item| {
                push_exact(item, text);
                text.push(',');
            });
        }
        Value::Object(fields) => {
            text.push('{');
            fields.iter().for_each(|(name, value)| {
                text.push_str(name);
                text.push(':');
                push_exact(value, text);
                text.push(',');
            });
        }
        other => text.push_str(&other.to_string()),
    }
}

fn are_equal(expected: &[Value], actual: &[Value], tolerance: Option<f64>) -> bool {
    expected.iter().zip(actual).all(|(expected, actual)| is_equal(expected, actual, tolerance))
}

fn is_equal(expected: &Value, actual: &Value, tolerance: Option<f64>) -> bool {
    match (expected, actual) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            let bound = tolerance.unwrap_or(DEFAULT_SHARE * a.abs().max(b.abs()));
            a == b || (a - b).abs() <= bound
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b, tolerance))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_equal(a, b, tolerance)))
        }
        (a, b) => a == b,
    }
}

/// Whether columns tell the rows apart that are expected; of what is there, a mistake may have made two alike.
fn is_key_of(expected: &[Row], columns: &[usize]) -> bool {
    let mut met = HashSet::new();
    let key_of = |row: &Row| columns.iter().map(|column| row[*column].to_string()).collect::<Vec<_>>();
    !columns.is_empty() && expected.iter().all(|row| met.insert(key_of(row)))
}

/// A column that tells rows apart on both sides, and that both sides have values of in common: with it, a wrong value shows as one
/// instead of as a missing and a surplus row.
fn guessed_key(expected: &[Row], actual: &[Row]) -> Option<Vec<usize>> {
    let columns = expected.first()?.len();
    // One column that is compared alone is the value, not the key.
    let candidates = if columns > 1 { 0..columns } else { 0..0 };
    let texts = |rows: &[Row], column: usize| -> Option<HashSet<String>> {
        let is_key = |value: &Value| {
            !matches!(value, Value::Null | Value::Bool(_)) && value.as_f64().is_none_or(|_| value.is_i64())
        };
        let texts: HashSet<String> =
            rows.iter().map(|row| &row[column]).filter(|value| is_key(value)).map(Value::to_string).collect();
        (texts.len() == rows.len()).then_some(texts)
    };
    let tells_apart = |column: &usize| {
        let (Some(expected), Some(actual)) = (texts(expected, *column), texts(actual, *column)) else { return false };
        !expected.is_disjoint(&actual)
    };
    candidates.into_iter().find(tells_apart).map(|column| vec![column])
}

fn changed(expected: &Row, actual: &Row, how: &How<'_>, key: &[usize]) -> DifferentRow {
    let mut row = DifferentRow { key: Map::new(), values: Vec::new() };
    for (at, column) in how.columns.iter().enumerate() {
        if key.contains(&at) {
            row.key.insert(column.clone(), expected[at].clone());
        } else if !is_equal(&expected[at], &actual[at], how.tolerance) {
            row.values.push(DifferentValue {
                column: column.clone(),
                expected: expected[at].clone(),
                actual: actual[at].clone(),
            });
        }
    }
    row
}

fn object(row: &Row, columns: &[String]) -> Map<String, Value> {
    columns.iter().cloned().zip(row.iter().cloned()).collect()
}

/// Whether a column can tell rows apart for people.
pub(crate) fn is_key_type(data_type: &DataType) -> bool {
    !data_type.is_nested() && !data_type.is_floating()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use std::sync::Arc;

    fn rows(ids: &[i64], names: &[&str], amounts: &[f64]) -> RecordBatch {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(ids.to_vec()))),
            ("name", Arc::new(StringArray::from(names.to_vec()))),
            ("amount", Arc::new(Float64Array::from(amounts.to_vec()))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn differ(expected: &RecordBatch, actual: &RecordBatch, tolerance: Option<f64>) -> Option<RowsDiffer> {
        let columns: Vec<String> = ["id", "name", "amount"].map(String::from).into();
        compare(expected, actual, &How { columns: &columns, key: &[], tolerance })
    }

    #[test]
    fn order_does_not_count_and_rows_that_occur_twice_do() {
        let one = rows(&[1, 2, 2], &["a", "b", "b"], &[0.5, 1.0, 1.0]);
        assert_eq!(differ(&one, &rows(&[2, 1, 2], &["b", "a", "b"], &[1.0, 0.5, 1.0]), None), None);
        let found = differ(&one, &rows(&[1, 2], &["a", "b"], &[0.5, 1.0]), None).unwrap();
        assert_eq!((found.missing_rows, found.surplus_rows, found.changed_rows), (1, 0, 0));
    }

    #[test]
    fn floats_are_equal_within_the_tolerance() {
        let (one, other) = (rows(&[1], &["a"], &[0.1 + 0.2]), rows(&[1], &["a"], &[0.3]));
        assert_eq!(differ(&one, &other, None), None);
        assert!(differ(&one, &other, Some(0.0)).is_some());
        let (one, other) = (rows(&[1], &["a"], &[1e6]), rows(&[1], &["a"], &[1e6 + 0.02]));
        assert!(differ(&one, &other, Some(0.01)).is_some());
        assert_eq!(differ(&one, &other, Some(0.03)), None);
        let nan = rows(&[1], &["a"], &[f64::NAN]);
        assert_eq!(differ(&nan, &nan, None), None);
        assert!(differ(&nan, &one, Some(1e9)).is_some());
    }

    #[test]
    fn a_key_that_tells_no_rows_apart_pairs_none() {
        let columns: Vec<String> = ["id", "name", "amount"].map(String::from).into();
        let how = How { columns: &columns, key: &["id".to_string()], tolerance: None };
        let expected = rows(&[1, 1], &["a", "b"], &[1.0, 2.0]);
        let found = compare(&expected, &rows(&[1, 1], &["b", "a"], &[2.0, 3.0]), &how).unwrap();
        assert_eq!((found.key, found.changed_rows, found.missing_rows), (vec!["name".to_string()], 1, 0));
        let found = compare(&rows(&[1, 2], &["a", "b"], &[1.0, 2.0]), &rows(&[1, 1], &["a", "b"], &[1.0, 2.0]), &how);
        assert_eq!(found.unwrap().key, ["id"]);
    }

    #[test]
    fn a_wrong_value_is_found_by_a_column_that_tells_rows_apart() {
        let found = differ(&rows(&[1, 2], &["a", "b"], &[1.0, 2.0]), &rows(&[2, 3], &["c", "d"], &[2.0, 3.0]), None);
        let found = found.unwrap();
        assert_eq!(found.key, ["id"]);
        assert_eq!((found.missing_rows, found.surplus_rows, found.changed_rows), (1, 1, 1));
        assert_eq!(found.changed[0].values.len(), 1);
        assert_eq!(found.changed[0].values[0].actual, "c");
        assert_eq!(found.missing[0]["id"], 1);
        assert_eq!(found.surplus[0]["id"], 3);
    }
}
