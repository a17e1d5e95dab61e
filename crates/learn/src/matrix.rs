//! The one conversion of columns to a matrix: what an [`Encoder`] learned from the training rows, it applies to every row that
//! is ever scored.
//!
//! | column | becomes |
//! |---|---|
//! | number | its value minus an offset (the training minimum where the values lie far from zero, else 0) |
//! | boolean | 0 or 1 |
//! | text | the code of its category |
//! | date | days since the first training day, and the day of the week (Monday is 0) |
//! | timestamp | seconds since the first training time, the hour of the day with its fraction, and the day of the week, in UTC |
//!
//! Missing and infinite values become NaN. Trees read single-precision numbers; the offset keeps the digits of times and large
//! ids, which would be lost otherwise (an epoch second has a rounding error of a minute as an `f32`). Finite values beyond
//! +-1e37 are cut to it, so that no sum of two overflows.
//!
//! A text column's categories are its most frequent training values. All others share code 0, in training and afterwards; where
//! training had no others, a value that it never saw is taken as missing.

use crate::error::LearnError;
use crate::values::{Sort, Stored, plain, read_numbers, read_texts, type_name};
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Rows that are encoded as one task; also the least number for which other threads are asked.
const BLOCK_ROWS: usize = 4_096;
/// Beyond, a finite value is cut, so that a difference of two still is a finite `f32`.
const CELL_MAX: f64 = 1e37;

/// What a text column keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CategoryLimits {
    /// The most categories of a column.
    pub(crate) categories_max: usize,
    /// The fewest training rows of a category.
    pub(crate) rows_min: usize,
}

/// A column that a model reads.
#[derive(Debug, Clone, PartialEq)]
pub struct InputColumn {
    /// Its name.
    pub name: String,
    /// Its type, as tables store it.
    pub data_type: DataType,
}

/// What one column of the matrix is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Slot {
    /// A number; also 0 and 1 of a flag.
    Number,
    /// A category's code, below `categories`.
    Category { categories: u32 },
    /// A number that starts again at 0 after `period`.
    Cyclic { period: f64 },
}

/// How an input column becomes columns of the matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Number {
        offset: f64,
    },
    Flag,
    /// Codes from 1 in the order of `categories`, which is sorted; 0 is any other value when `others`.
    Text {
        categories: Vec<String>,
        others: bool,
    },
    Date {
        offset: f64,
    },
    Time {
        offset: f64,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Column {
    name: String,
    stored: Stored,
    encoding: Encoding,
}

/// What was learned about the input columns; see the module.
#[derive(Debug, Serialize, Deserialize)]
#[serde(from = "Vec<Column>", into = "Vec<Column>")]
pub(crate) struct Encoder {
    columns: Vec<Column>,
    /// For text columns, the code of each category.
    codes: Vec<HashMap<String, u32>>,
    inputs: Vec<InputColumn>,
    width: usize,
}

impl Clone for Encoder {
    fn clone(&self) -> Self {
        Encoder::from(self.columns.clone())
    }
}

impl From<Encoder> for Vec<Column> {
    fn from(encoder: Encoder) -> Self {
        encoder.columns
    }
}

impl From<Vec<Column>> for Encoder {
    fn from(columns: Vec<Column>) -> Self {
        let codes = columns
            .iter()
            .map(|column| match &column.encoding {
                Encoding::Text { categories, .. } => categories.iter().cloned().zip(1..).collect(),
                _ => HashMap::new(),
            })
            .collect();
        let inputs = columns
            .iter()
            .map(|column| InputColumn { name: column.name.clone(), data_type: column.stored.data_type() })
            .collect();
        let width = columns.iter().map(Column::width).sum();
        Encoder { columns, codes, inputs, width }
    }
}

impl Column {
    fn width(&self) -> usize {
        match self.encoding {
            Encoding::Number { .. } | Encoding::Flag | Encoding::Text { .. } => 1,
            Encoding::Date { .. } => 2,
            Encoding::Time { .. } => 3,
        }
    }

    fn slots(&self) -> Vec<Slot> {
        let week = Slot::Cyclic { period: 7.0 };
        match &self.encoding {
            Encoding::Number { .. } | Encoding::Flag => vec![Slot::Number],
            Encoding::Text { categories, .. } => vec![Slot::Category { categories: categories.len() as u32 + 1 }],
            Encoding::Date { .. } => vec![Slot::Number, week],
            Encoding::Time { .. } => vec![Slot::Number, Slot::Cyclic { period: 24.0 }, week],
        }
    }
}

/// A cell of a matrix: single precision for trees, double for linear models.
pub(crate) trait Cell: Copy + Send + Sync + Default {
    fn of(value: f64) -> Self;
}

impl Cell for f32 {
    #[inline]
    fn of(value: f64) -> Self {
        value as f32
    }
}

impl Cell for f64 {
    #[inline]
    fn of(value: f64) -> Self {
        value
    }
}

/// Which rows of a batch are encoded.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    All(usize),
    Some(&'a [u32]),
}

impl Rows<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Rows::All(rows) => *rows,
            Rows::Some(rows) => rows.len(),
        }
    }
}

impl Encoder {
    /// Learns from the rows `train` of `features`.
    pub(crate) fn fit(features: &RecordBatch, train: &[u32], limits: CategoryLimits) -> Result<Self, LearnError> {
        check_inputs(features.schema_ref())?;
        let columns: Vec<Column> = features
            .schema_ref()
            .fields()
            .par_iter()
            .zip(features.columns())
            .map(|(field, array)| {
                let stored = Stored::of(array.data_type()).expect("the types were checked");
                let array = plain(array);
                let encoding = match stored.sort() {
                    Sort::Flag => Encoding::Flag,
                    Sort::Number => Encoding::Number { offset: offset_of(&array, train) },
                    Sort::Date => Encoding::Date { offset: first_of(&array, train, 86_400.0) },
                    Sort::Time => Encoding::Time { offset: first_of(&array, train, 1.0) },
                    Sort::Text => categories_of(&array, train, limits),
                };
                Column { name: field.name().clone(), stored, encoding }
            })
            .collect();
        Ok(Encoder::from(columns))
    }

    /// The columns that are read.
    pub(crate) fn inputs(&self) -> &[InputColumn] {
        &self.inputs
    }

    /// How many columns the matrix has.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// What the columns of the matrix are.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.columns.iter().flat_map(Column::slots).collect()
    }

    /// Sums a value per column of the matrix over each input column.
    pub(crate) fn by_input(&self, slots: &[f64]) -> Vec<(String, f64)> {
        let mut at = 0;
        self.columns
            .iter()
            .map(|column| {
                let from = at;
                at += column.width();
                (column.name.clone(), slots[from..at].iter().sum())
            })
            .collect()
    }

    /// Finds the columns by name; fails with all that are missing or of another kind. Other columns are not looked at.
    pub(crate) fn resolve(&self, features: &RecordBatch) -> Result<Vec<ArrayRef>, LearnError> {
        let fields = features.schema_ref().fields();
        let mut arrays = Vec::with_capacity(self.columns.len());
        let mut errors = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            let found = match fields.get(at) {
                Some(field) if *field.name() == column.name => Some(at),
                _ => fields.iter().position(|field| *field.name() == column.name),
            };
            let Some(found) = found else {
                let present = fields.iter().map(|field| field.name().clone()).collect();
                errors.push(LearnError::MissingColumn { column: column.name.clone(), present });
                continue;
            };
            let array = features.column(found);
            let same = *array.data_type() == self.inputs[at].data_type
                || Stored::of(array.data_type()).is_some_and(|stored| stored.sort() == column.stored.sort());
            if same {
                arrays.push(plain(array));
            } else {
                errors.push(LearnError::ColumnType {
                    column: column.name.clone(),
                    expected: type_name(&self.inputs[at].data_type),
                    found: type_name(array.data_type()),
                });
            }
        }
        LearnError::all(errors)?;
        Ok(arrays)
    }

    /// The matrix of the rows, row by row.
    pub(crate) fn matrix<T: Cell>(&self, features: &RecordBatch, rows: Rows<'_>) -> Result<Vec<T>, LearnError> {
        let arrays = self.resolve(features)?;
        let mut cells = vec![T::default(); rows.len() * self.width];
        if cells.is_empty() {
            return Ok(cells);
        }
        if rows.len() <= BLOCK_ROWS {
            self.fill(&arrays, rows, 0, &mut cells);
        } else {
            let blocks = cells.par_chunks_mut(BLOCK_ROWS * self.width).enumerate();
            blocks.for_each(|(block, cells)| self.fill(&arrays, rows, block * BLOCK_ROWS, cells));
        }
        Ok(cells)
    }

    /// Fills `cells` with the rows from the `from`th on.
    fn fill<T: Cell>(&self, arrays: &[ArrayRef], rows: Rows<'_>, from: usize, cells: &mut [T]) {
        let count = cells.len() / self.width.max(1);
        let mut slot = 0;
        for ((column, codes), array) in self.columns.iter().zip(&self.codes).zip(arrays) {
            match rows {
                Rows::All(_) => self.fill_column(column, codes, array, from..from + count, &mut cells[slot..]),
                Rows::Some(rows) => {
                    let rows = rows[from..from + count].iter().map(|&row| row as usize);
                    self.fill_column(column, codes, array, rows, &mut cells[slot..]);
                }
            }
            slot += column.width();
        }
    }

    fn fill_column<T: Cell>(
        &self,
        column: &Column,
        codes: &HashMap<String, u32>,
        array: &ArrayRef,
        rows: impl Iterator<Item = usize>,
        cells: &mut [T],
    ) {
        let (width, mut at) = (self.width, 0);
        match &column.encoding {
            Encoding::Flag => read_numbers(array, rows, |value| {
                cells[at] = T::of(value);
                at += width;
            }),
            Encoding::Number { offset } => read_numbers(array, rows, |value| {
                cells[at] = T::of((value - offset).clamp(-CELL_MAX, CELL_MAX));
                at += width;
            }),
            Encoding::Date { offset } => read_numbers(array, rows, |seconds| {
                cells[at] = T::of((seconds - offset) / 86_400.0);
                cells[at + 1] = T::of(weekday(seconds));
                at += width;
            }),
            Encoding::Time { offset } => read_numbers(array, rows, |seconds| {
                cells[at] = T::of(seconds - offset);
                cells[at + 1] = T::of(seconds.rem_euclid(86_400.0) / 3_600.0);
                cells[at + 2] = T::of(weekday(seconds));
                at += width;
            }),
            Encoding::Text { others, .. } => read_texts(array, rows, |value| {
                let code = value.and_then(|value| codes.get(value).copied().or(others.then_some(0)));
                cells[at] = T::of(code.map_or(f64::NAN, f64::from));
                at += width;
            }),
        }
    }
}

/// Checks that every column can be learned from; fails with all that cannot.
pub(crate) fn check_inputs(schema: &Schema) -> Result<(), LearnError> {
    if schema.fields().is_empty() {
        return Err(LearnError::NoInputs);
    }
    let unsupported = schema.fields().iter().filter(|field| Stored::of(field.data_type()).is_none());
    let errors = unsupported.map(|field| LearnError::UnsupportedColumn {
        column: field.name().clone(),
        data_type: type_name(field.data_type()),
    });
    LearnError::all(errors.collect())
}

/// The day of the week of a time, Monday 0 to Sunday 6; the epoch was a Thursday.
fn weekday(seconds: f64) -> f64 {
    ((seconds / 86_400.0).floor() + 3.0).rem_euclid(7.0)
}

fn range_of(array: &ArrayRef, train: &[u32]) -> Option<(f64, f64)> {
    let mut range: Option<(f64, f64)> = None;
    read_numbers(array, train.iter().map(|&row| row as usize), |value| {
        if !value.is_nan() {
            let (least, greatest) = range.unwrap_or((value, value));
            range = Some((least.min(value), greatest.max(value)));
        }
    });
    range
}

/// The least training value when the values lie further from zero than from each other, else 0.
fn offset_of(array: &ArrayRef, train: &[u32]) -> f64 {
    match range_of(array, train) {
        Some((least, greatest)) if least.abs().min(greatest.abs()) > greatest - least => least,
        _ => 0.0,
    }
}

/// The least training value, rounded down to `unit`.
fn first_of(array: &ArrayRef, train: &[u32], unit: f64) -> f64 {
    range_of(array, train).map_or(0.0, |(least, _)| (least / unit).floor() * unit)
}

/// The most frequent values, ties by value.
fn categories_of(array: &ArrayRef, train: &[u32], limits: CategoryLimits) -> Encoding {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    read_texts(array, train.iter().map(|&row| row as usize), |value| {
        if let Some(value) = value {
            *counts.entry(value).or_default() += 1;
        }
    });
    let distinct = counts.len();
    let mut kept: Vec<(&str, usize)> = counts.into_iter().filter(|(_, rows)| *rows >= limits.rows_min).collect();
    kept.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    kept.truncate(limits.categories_max);
    let mut categories: Vec<String> = kept.into_iter().map(|(value, _)| value.to_string()).collect();
    categories.sort_unstable();
    Encoding::Text { others: categories.len() < distinct, categories }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::*;
    use std::sync::Arc;

    const LIMITS: CategoryLimits = CategoryLimits { categories_max: 2, rows_min: 1 };

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn encode(encoder: &Encoder, features: &RecordBatch) -> Vec<f32> {
        encoder.matrix(features, Rows::All(features.num_rows())).unwrap()
    }

    #[test]
    fn times_keep_their_seconds_in_single_precision() {
        // 2026-11-22T16:39:07Z, a Sunday, and one second later.
        let first = 1_795_365_547_000_000i64;
        let times = TimestampMicrosecondArray::from(vec![first, first + 1_000_000]).with_timezone("UTC");
        let features = batch(vec![("at", Arc::new(times))]);
        let encoder = Encoder::fit(&features, &[0, 1], LIMITS).unwrap();
        let cells = encode(&encoder, &features);
        assert_eq!((cells[0], cells[3]), (0.0, 1.0));
        assert!((cells[1] - (16.0 + 39.0 / 60.0 + 7.0 / 3600.0)).abs() < 1e-5, "{}", cells[1]);
        assert_eq!(cells[2], 6.0);
        let ids = batch(vec![("id", Arc::new(Int64Array::from(vec![9_000_000_000_000_001, 9_000_000_000_000_002])))]);
        let encoder = Encoder::fit(&ids, &[0, 1], LIMITS).unwrap();
        assert_eq!(encode(&encoder, &ids), [0.0, 1.0]);
    }

    #[test]
    fn rare_values_share_a_code_and_unseen_ones_join_them() {
        let texts = StringArray::from(vec![Some("b"), Some("b"), Some("a"), Some("a"), Some("c"), None, Some("zz")]);
        let features = batch(vec![("channel", Arc::new(texts))]);
        let encoder = Encoder::fit(&features, &[0, 1, 2, 3, 4, 5], LIMITS).unwrap();
        let cells = encode(&encoder, &features);
        assert_eq!(cells[..5], [2.0, 2.0, 1.0, 1.0, 0.0]);
        assert!(cells[5].is_nan());
        assert_eq!(cells[6], 0.0);
        let encoder = Encoder::fit(&features, &[0, 1, 2, 3], LIMITS).unwrap();
        assert!(encode(&encoder, &features)[6].is_nan(), "training had no others, so an unseen value is missing");
    }

    #[test]
    fn columns_are_found_by_name_in_any_order_and_encoding() {
        let a: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let b: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "x"]));
        let encoder = Encoder::fit(&batch(vec![("a", a.clone()), ("b", b.clone())]), &[0, 1, 2], LIMITS).unwrap();
        let expected = encode(&encoder, &batch(vec![("a", a.clone()), ("b", b.clone())]));
        let dictionary: ArrayRef =
            Arc::new(vec!["x", "y", "x"].into_iter().collect::<DictionaryArray<arrow::datatypes::Int32Type>>());
        let other =
            batch(vec![("extra", b), ("b", dictionary), ("a", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0])))]);
        assert_eq!(encode(&encoder, &other), expected);
        let wrong = encoder.resolve(&batch(vec![("b", a)])).unwrap_err();
        let messages: Vec<_> = wrong.reports("model `m`").into_iter().map(|report| report.message).collect();
        assert_eq!(
            messages,
            ["input `a` of model `m` is missing", "input `b` of model `m` has type bigint, and was trained as text"]
        );
    }

    #[test]
    fn many_rows_encode_as_few_do() {
        let rows = 3 * BLOCK_ROWS + 17;
        let numbers: ArrayRef =
            Arc::new((0..rows).map(|row| (row % 7 > 0).then_some(row as f64)).collect::<Float64Array>());
        let texts: ArrayRef = Arc::new((0..rows).map(|row| Some(["x", "y", "z"][row % 3])).collect::<StringArray>());
        let features = batch(vec![("n", numbers), ("t", texts)]);
        let train: Vec<u32> = (0..rows as u32).collect();
        let encoder = Encoder::fit(&features, &train, LIMITS).unwrap();
        let all = encode(&encoder, &features);
        for row in [0, 1, BLOCK_ROWS, rows - 1] {
            let one = encode(&encoder, &features.slice(row, 1));
            assert_eq!(one[0].to_bits(), all[row * 2].to_bits());
            assert_eq!(one[1].to_bits(), all[row * 2 + 1].to_bits());
        }
        let picked: Vec<f32> = encoder.matrix(&features, Rows::Some(&[5, 1])).unwrap();
        assert_eq!(picked[0].to_bits(), all[10].to_bits());
    }

    #[test]
    fn unsupported_types_are_all_named() {
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"x"[..]]));
        let error = Encoder::fit(&batch(vec![("p", bytes.clone()), ("q", bytes)]), &[0], LIMITS).unwrap_err();
        assert_eq!(error.reports("model `m`").len(), 2);
        assert_eq!(error.report("model `m`").code, "type-mismatch");
    }
}
