//! How a file's columns are encoded, decided by its first rows.
//!
//! A dictionary makes columns of few values small, and columns of many values slow *and* large: measured on 500,000 rows of
//! 15 columns, 611 ms of CPU and 39 MB with dictionaries everywhere, 215 ms and 37 MB with none. So each column gets one only
//! when its values are expected to repeat. The writer still falls back when the guess was wrong.
//!
//! Compression is zstd at level 1: on the same rows 278 ms and 23 MB, against snappy's 215 ms and 37 MB. The smaller file
//! also costs less to sync and to read from a bucket.

use crate::digest::distinct;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

/// The largest dictionary that the Parquet writer keeps before it falls back (its default).
const DICTIONARY_BYTES_MAX: usize = 1 << 20;

/// A dictionary pays when a value is expected this often in a row group.
const REPEATS_MIN: f64 = 4.0;

/// The properties of a file that begins with `first`.
pub(crate) fn properties(first: &RecordBatch, row_group_rows: usize) -> WriterProperties {
    let level = ZstdLevel::try_new(1).expect("1 is a level of zstd");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_enabled(true)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(row_group_rows.max(1)))
        .set_created_by("pelton".into());
    for (field, column) in first.schema().fields().iter().zip(first.columns()) {
        if !field.data_type().is_nested() && !repeats(column, row_group_rows) {
            let path = ColumnPath::new(vec![field.name().clone()]);
            properties = properties.set_column_dictionary_enabled(path, false);
        }
        // A range leaves NaN out, which readers take for the greatest: a file that has it would be passed over where it is asked for.
        if field.data_type().is_floating() {
            let path = ColumnPath::new(vec![field.name().clone()]);
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    properties.build()
}

/// Whether the values of a column that begins with `first` are expected to repeat enough for a dictionary.
fn repeats(first: &ArrayRef, row_group_rows: usize) -> bool {
    let rows = first.len() - first.null_count();
    if rows == 0 {
        return true;
    }
    let values = values_behind(rows, distinct(first));
    let bytes_each = match first.data_type() {
        DataType::Utf8 => text_bytes(first.as_string::<i32>().value_offsets()) / rows,
        DataType::Binary => text_bytes(first.as_binary::<i32>().value_offsets()) / rows,
        other => other.primitive_width().unwrap_or(1),
    };
    values * REPEATS_MIN <= row_group_rows as f64 && values * bytes_each as f64 <= DICTIONARY_BYTES_MAX as f64
}

fn text_bytes(offsets: &[i32]) -> usize {
    offsets.last().zip(offsets.first()).map_or(0, |(end, start)| (end - start) as usize)
}

/// How many values a column has, when a sample of `rows` rows shows `seen` of them: the `n` with
/// `seen = n (1 - exp(-rows / n))`, which is what drawing evenly from `n` values gives.
fn values_behind(rows: usize, seen: usize) -> f64 {
    let (rows, seen) = (rows as f64, seen as f64);
    if seen >= rows {
        return f64::INFINITY;
    }
    let (mut low, mut high) = (seen, rows * rows);
    // 60 halvings take any range of doubles down to rounding.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if middle * -(-rows / middle).exp_m1() < seen { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use pelton_base::Seed;
    use std::sync::Arc;

    const GROUP: usize = 131_072;

    #[test]
    fn few_values_get_a_dictionary_and_many_do_not() {
        let draw = |values: u64| (0..8_192).map(move |row| Seed(1).at(row) % values);
        let numbers = |values| -> ArrayRef { Arc::new(Int64Array::from_iter_values(draw(values).map(|v| v as i64))) };
        let texts = |values| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(draw(values).map(|v| format!("customer-{v}"))))
        };
        for values in [1, 40, 5_000, 20_000] {
            assert!(repeats(&numbers(values), GROUP), "{values}");
        }
        assert!(repeats(&texts(40), GROUP) && repeats(&texts(10_000), GROUP));
        assert!(!repeats(&numbers(100_000), GROUP) && !repeats(&numbers(u64::MAX), GROUP));
        assert!(!repeats(&texts(1_000_000), GROUP));
        let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None, None]));
        assert!(repeats(&nulls, GROUP));
    }

    #[test]
    fn the_number_of_values_is_guessed_from_a_sample() {
        for values in [100u64, 3_000, 20_000] {
            let seen: std::collections::HashSet<u64> = (0..8_192).map(|row| Seed(2).at(row) % values).collect();
            let guess = values_behind(8_192, seen.len());
            assert!((guess / values as f64 - 1.0).abs() < 0.1, "{guess} for {values}");
        }
    }
}
