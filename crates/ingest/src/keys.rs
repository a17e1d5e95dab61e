//! Keys of rows as 128-bit hashes: the set that tells which row came first.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType,
};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use xxhash_rust::xxh3::xxh3_128;

/// The hashes of the keys of rows.
///
/// Two different keys share a 128-bit hash with a probability of about n² / 2¹²⁹ among n keys (the birthday bound): 10⁻²¹ for a
/// billion rows. A key takes about 20 bytes of memory.
#[derive(Debug, Clone, Default)]
pub struct KeySet(HashSet<u128, BuildHasherDefault<Low>>);

/// The keys are hashes already: their low half is as good as a hash of them.
#[derive(Debug, Clone, Copy, Default)]
struct Low(u64);

impl Hasher for Low {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

impl KeySet {
    /// Adds a key; false when it was there.
    pub fn insert(&mut self, key: u128) -> bool {
        self.0.insert(key)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the keys of stored rows; rows with a missing key part are left out.
    ///
    /// Fails with the name of a column that `batch` does not have.
    pub fn insert_rows(&mut self, batch: &RecordBatch, key_columns: &[String]) -> Result<(), String> {
        self.0.extend(Self::hash_rows(batch, key_columns)?.into_iter().flatten());
        Ok(())
    }

    /// The key of each row: XXH3-128 over its parts in order; `None` where a part is missing.
    ///
    /// A part is one byte for its class and then its value. Whole numbers are written alike whether they are stored as an
    /// integer, a decimal, a double or a text in its usual spelling, and dates like timestamps at midnight, so that a column
    /// that widened keeps its keys. Fails with the name of a column that `batch` does not have.
    pub fn hash_rows(batch: &RecordBatch, key_columns: &[String]) -> Result<Vec<Option<u128>>, String> {
        let columns = key_columns
            .iter()
            .map(|name| batch.column_by_name(name).ok_or_else(|| name.clone()))
            .collect::<Result<Vec<_>, String>>()?;
        let mut bytes = Vec::with_capacity(64);
        let mut keys = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            bytes.clear();
            let whole = columns.iter().all(|column| write_value(column, row, &mut bytes));
            keys.push(whole.then(|| xxh3_128(&bytes)));
        }
        Ok(keys)
    }
}

/// Classes of values, the first byte of a part.
mod class {
    pub(super) const WHOLE: u8 = 1;
    pub(super) const DOUBLE: u8 = 2;
    pub(super) const DECIMAL: u8 = 3;
    pub(super) const TEXT: u8 = 4;
    pub(super) const BOOLEAN: u8 = 5;
    pub(super) const TIME: u8 = 6;
    pub(super) const BYTES: u8 = 7;
    pub(super) const NESTED: u8 = 8;
}

/// Writes a value; false when it is missing.
fn write_value(column: &ArrayRef, row: usize, bytes: &mut Vec<u8>) -> bool {
    if column.is_null(row) {
        return false;
    }
    match column.data_type() {
        DataType::Int8 => whole(i64::from(column.as_primitive::<Int8Type>().value(row)), bytes),
        DataType::Int16 => whole(i64::from(column.as_primitive::<Int16Type>().value(row)), bytes),
        DataType::Int32 => whole(i64::from(column.as_primitive::<Int32Type>().value(row)), bytes),
        DataType::Int64 => whole(column.as_primitive::<Int64Type>().value(row), bytes),
        DataType::Float32 => double(f64::from(column.as_primitive::<Float32Type>().value(row)), bytes),
        DataType::Float64 => double(column.as_primitive::<Float64Type>().value(row), bytes),
        DataType::Decimal128(_, scale) => decimal(column.as_primitive::<Decimal128Type>().value(row), *scale, bytes),
        DataType::Utf8 => text(column.as_string::<i32>().value(row), bytes),
        DataType::Boolean => bytes.extend([class::BOOLEAN, u8::from(column.as_boolean().value(row))]),
        DataType::Date32 => {
            time(i64::from(column.as_primitive::<Date32Type>().value(row)) * pelton_base::DAY_US, bytes);
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            time(column.as_primitive::<TimestampMicrosecondType>().value(row), bytes);
        }
        DataType::Binary => sized(class::BYTES, column.as_binary::<i32>().value(row), bytes),
        _ => {
            // Lists and structs as text: a key of that kind is rare, and only its sameness counts.
            let shown = arrow::util::display::array_value_to_string(column, row).unwrap_or_default();
            sized(class::NESTED, shown.as_bytes(), bytes);
        }
    }
    true
}

fn whole(value: i64, bytes: &mut Vec<u8>) {
    bytes.push(class::WHOLE);
    bytes.extend(value.to_le_bytes());
}

fn time(us: i64, bytes: &mut Vec<u8>) {
    bytes.push(class::TIME);
    bytes.extend(us.to_le_bytes());
}

fn double(value: f64, bytes: &mut Vec<u8>) {
    // 2^63 is exact as a double; below it, a double without a fraction is an i64.
    if value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0 {
        return whole(value as i64, bytes);
    }
    bytes.push(class::DOUBLE);
    // All that are not numbers are the same key, whatever their bits.
    let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    bytes.extend(bits.to_le_bytes());
}

fn decimal(mut value: i128, mut scale: i8, bytes: &mut Vec<u8>) {
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    match i64::try_from(value) {
        Ok(value) if scale == 0 => whole(value, bytes),
        _ => {
            bytes.extend([class::DECIMAL, scale as u8]);
            bytes.extend(value.to_le_bytes());
        }
    }
}

fn text(value: &str, bytes: &mut Vec<u8>) {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let usual = value == "0" || (digits.len() <= 19 && matches!(digits.as_bytes().first(), Some(b'1'..=b'9')));
    match usual.then(|| value.parse::<i64>()) {
        Some(Ok(number)) => whole(number, bytes),
        _ => sized(class::TEXT, value.as_bytes(), bytes),
    }
}

fn sized(class: u8, value: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(class);
    bytes.extend((value.len() as u64).to_le_bytes());
    bytes.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray};
    use std::sync::Arc;

    fn keys(columns: Vec<(&str, ArrayRef)>) -> Vec<Option<u128>> {
        let names: Vec<String> = columns.iter().map(|(name, _)| name.to_string()).collect();
        KeySet::hash_rows(&RecordBatch::try_from_iter(columns).unwrap(), &names).unwrap()
    }

    #[test]
    fn a_key_survives_the_widening_of_its_column() {
        let narrow = keys(vec![("a", Arc::new(Int32Array::from(vec![0, -5, 12345])))]);
        assert_eq!(narrow, keys(vec![("a", Arc::new(Int64Array::from(vec![0, -5, 12345])))]));
        assert_eq!(narrow, keys(vec![("a", Arc::new(Float64Array::from(vec![-0.0, -5.0, 12345.0])))]));
        assert_eq!(narrow, keys(vec![("a", Arc::new(StringArray::from(vec!["0", "-5", "12345"])))]));
        let decimals = Decimal128Array::from(vec![0, -500, 1_234_500]).with_precision_and_scale(12, 2).unwrap();
        assert_eq!(narrow, keys(vec![("a", Arc::new(decimals))]));
    }

    #[test]
    fn texts_that_differ_have_keys_that_differ() {
        let texts = vec!["1", "01", "1.0", "+1", "-1", "--1", "", "9223372036854775808", "1 "];
        let mut set = KeySet::default();
        for key in keys(vec![("a", Arc::new(StringArray::from(texts.clone())))]) {
            assert!(set.insert(key.unwrap()));
        }
        assert_eq!(set.len(), texts.len());
    }

    #[test]
    fn parts_do_not_run_into_each_other_and_missing_parts_make_no_key() {
        let left = Arc::new(StringArray::from(vec![Some("ab"), Some("a"), None]));
        let right = Arc::new(StringArray::from(vec![Some("c"), Some("bc"), Some("x")]));
        let keys = keys(vec![("a", left), ("b", right)]);
        assert_ne!(keys[0], keys[1]);
        assert_eq!(keys[2], None);
        let batch = RecordBatch::try_from_iter(vec![("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
        assert_eq!(KeySet::hash_rows(&batch, &["b".to_string()]), Err("b".to_string()));
    }
}
