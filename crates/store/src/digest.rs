//! [`TableDigest`]: what the rows of a table are, independent of their order, of batches and of the order of columns.
//!
//! The bytes that are hashed are part of Pelton's stored formats; `docs/reference/digests.md` describes them for other
//! programs. A change here makes every table look changed: the frozen digests in the tests must hold for ever.

use crate::error::StoreError;
use crate::stored::{column_to_stored, stored_schema};
use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::*;
use pelton_base::Digest;
use pelton_query::types;
use std::collections::HashSet;
use std::sync::Arc;

/// Adds up the digest of a table while its rows pass by.
///
/// The digest is the wrapping sum of the XXH3-128 of each row's bytes, plus the XXH3-128 of the schema's text. Rows can be
/// taken out again, and the digests of parts merged.
#[derive(Debug, Clone)]
pub struct TableDigest {
    /// Columns in the order of their names.
    fields: Vec<FieldRef>,
    sum: Digest,
    rows: u64,
    /// The bytes of one row, kept for the next.
    buffer: Vec<u8>,
}

impl TableDigest {
    /// The digest of a table without rows. Types are taken as they are stored.
    pub fn new(schema: &Schema) -> Result<Self, StoreError> {
        let mut fields: Vec<FieldRef> = stored_schema(schema)?.fields().iter().cloned().collect();
        fields.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(TableDigest { fields, sum: Digest::default(), rows: 0, buffer: Vec::new() })
    }

    /// Adds rows. Their columns are found by name and may come in any order.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        let sum = self.sum_of(batch)?;
        self.sum = self.sum.plus(sum);
        self.rows = self.rows.wrapping_add(batch.num_rows() as u64);
        Ok(())
    }

    /// Takes rows out that were added before, here or in a part that was merged.
    pub fn remove(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        let sum = self.sum_of(batch)?;
        self.sum = self.sum.plus(Digest(sum.0.wrapping_neg()));
        self.rows = self.rows.wrapping_sub(batch.num_rows() as u64);
        Ok(())
    }

    /// Adds the rows of another part of the same table.
    pub fn merge(&mut self, part: &TableDigest) {
        debug_assert_eq!(self.fields, part.fields, "parts of one table have the same columns");
        self.sum = self.sum.plus(part.sum);
        self.rows = self.rows.wrapping_add(part.rows);
    }

    /// The sum of the rows' hashes, without the columns: of disjoint parts of a table, these sums add up.
    pub fn rows_sum(&self) -> Digest {
        self.sum
    }

    /// The digest of a table with these columns and rows of this sum.
    pub fn of_sum(schema: &Schema, sum: Digest) -> Result<Digest, StoreError> {
        Ok(Self::new(schema)?.finish().plus(sum))
    }

    /// The hash of each row.
    pub fn row_hashes(&mut self, batch: &RecordBatch) -> Result<Vec<Digest>, StoreError> {
        let mut hashes = Vec::with_capacity(batch.num_rows());
        self.each_row(batch, |hash| hashes.push(hash))?;
        Ok(hashes)
    }

    /// How many rows were added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest of the rows so far.
    pub fn finish(&self) -> Digest {
        self.sum.plus(Digest::of(schema_text(&self.fields).as_bytes()))
    }

    fn sum_of(&mut self, batch: &RecordBatch) -> Result<Digest, StoreError> {
        let mut sum = Digest::default();
        self.each_row(batch, |hash| sum = sum.plus(hash))?;
        Ok(sum)
    }

    /// Calls `take` with the hash of each row.
    fn each_row(&mut self, batch: &RecordBatch, mut take: impl FnMut(Digest)) -> Result<(), StoreError> {
        let missing = |name: &str| StoreError::Internal { message: format!("rows to digest lack column `{name}`") };
        if batch.num_columns() != self.fields.len() {
            let message = format!("rows to digest have {} columns, not {}", batch.num_columns(), self.fields.len());
            return Err(StoreError::Internal { message });
        }
        let columns = self
            .fields
            .iter()
            .map(|field| {
                column_to_stored(field, batch.column_by_name(field.name()).ok_or_else(|| missing(field.name()))?)
            })
            .collect::<Result<Vec<ArrayRef>, StoreError>>()?;
        let encoders: Vec<Encoder<'_>> = columns.iter().map(Encoder::of).collect();
        for row in 0..batch.num_rows() {
            self.buffer.clear();
            for encoder in &encoders {
                encoder.encode(row, &mut self.buffer);
            }
            take(Digest::of(&self.buffer));
        }
        Ok(())
    }
}

/// How many different values a column of a stored type has; nulls do not count.
pub(crate) fn distinct(column: &ArrayRef) -> usize {
    let encoder = Encoder::of(column);
    let mut value = Vec::new();
    let hash = |row| {
        value.clear();
        encoder.encode(row, &mut value);
        Digest::of(&value).0
    };
    (0..column.len()).filter(|row| column.is_valid(*row)).map(hash).collect::<HashSet<u128>>().len()
}

/// `name type\n` for each column, in the order of names; the fields of structs in the order of names too.
fn schema_text(fields: &[FieldRef]) -> String {
    fields
        .iter()
        .map(|field| format!("{} {}\n", field.name(), types::name(&in_name_order(field.data_type()))))
        .collect()
}

fn in_name_order(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Struct(fields) => {
            let mut fields: Vec<Field> =
                fields.iter().map(|f| Field::new(f.name(), in_name_order(f.data_type()), true)).collect();
            fields.sort_by(|a, b| a.name().cmp(b.name()));
            DataType::Struct(fields.into())
        }
        DataType::List(item) => DataType::List(Arc::new(Field::new("item", in_name_order(item.data_type()), true))),
        other => other.clone(),
    }
}

/// A column of a stored type, ready to write the bytes of its values. An enum, because a virtual call for each value would
/// cost more than the value.
enum Encoder<'a> {
    Boolean(&'a BooleanArray),
    Int8(&'a Int8Array),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    Decimal(&'a Decimal128Array),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a Date32Array),
    Time(&'a TimestampMicrosecondArray),
    List { nulls: Option<&'a NullBuffer>, offsets: &'a OffsetBuffer<i32>, items: Box<Encoder<'a>> },
    Struct { nulls: Option<&'a NullBuffer>, fields: Vec<Encoder<'a>> },
}

impl<'a> Encoder<'a> {
    fn of(column: &'a ArrayRef) -> Self {
        match column.data_type() {
            DataType::Boolean => Encoder::Boolean(column.as_boolean()),
            DataType::Int8 => Encoder::Int8(column.as_primitive()),
            DataType::Int16 => Encoder::Int16(column.as_primitive()),
            DataType::Int32 => Encoder::Int32(column.as_primitive()),
            DataType::Int64 => Encoder::Int64(column.as_primitive()),
            DataType::Float32 => Encoder::Float32(column.as_primitive()),
            DataType::Float64 => Encoder::Float64(column.as_primitive()),
            DataType::Decimal128(_, _) => Encoder::Decimal(column.as_primitive()),
            DataType::Utf8 => Encoder::Text(column.as_string()),
            DataType::Binary => Encoder::Bytes(column.as_binary()),
            DataType::Date32 => Encoder::Date(column.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Encoder::Time(column.as_primitive()),
            DataType::List(_) => {
                let list = column.as_list::<i32>();
                let items = Box::new(Encoder::of(list.values()));
                Encoder::List { nulls: list.nulls(), offsets: list.offsets(), items }
            }
            DataType::Struct(fields) => {
                let mut order: Vec<usize> = (0..fields.len()).collect();
                order.sort_by(|a, b| fields[*a].name().cmp(fields[*b].name()));
                let column = column.as_struct();
                let fields = order.into_iter().map(|at| Encoder::of(column.column(at))).collect();
                Encoder::Struct { nulls: column.nulls(), fields }
            }
            other => unreachable!("{other} is not a stored type, and columns were cast to stored types"),
        }
    }

    #[inline]
    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Encoder::Boolean(column) => match column.is_null(row) {
                true => out.push(0),
                false => out.extend_from_slice(&[1, u8::from(column.value(row))]),
            },
            Encoder::Int8(column) => integer(*column, row, out),
            Encoder::Int16(column) => integer(*column, row, out),
            Encoder::Int32(column) => integer(*column, row, out),
            Encoder::Int64(column) => integer(*column, row, out),
            Encoder::Time(column) => integer(*column, row, out),
            Encoder::Float32(column) => {
                fixed(*column, row, out, |value: f32| tagged::<4, 5>(canonical_f32(value).to_le_bytes()))
            }
            Encoder::Float64(column) => {
                fixed(*column, row, out, |value: f64| tagged::<8, 9>(canonical_f64(value).to_le_bytes()))
            }
            Encoder::Decimal(column) => fixed(*column, row, out, |value: i128| tagged::<16, 17>(value.to_le_bytes())),
            Encoder::Date(column) => fixed(*column, row, out, |value: i32| tagged::<4, 5>(value.to_le_bytes())),
            Encoder::Text(column) => match column.is_null(row) {
                true => out.push(0),
                false => bytes(column.value(row).as_bytes(), out),
            },
            Encoder::Bytes(column) => match column.is_null(row) {
                true => out.push(0),
                false => bytes(column.value(row), out),
            },
            Encoder::List { nulls, offsets, items } => {
                if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                    return out.push(0);
                }
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                out.extend_from_slice(&tagged::<8, 9>(((end - start) as u64).to_le_bytes()));
                for item in start..end {
                    items.encode(item, out);
                }
            }
            Encoder::Struct { nulls, fields } => {
                if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                    return out.push(0);
                }
                out.push(1);
                for field in fields {
                    field.encode(row, out);
                }
            }
        }
    }
}

#[inline]
fn integer<T: ArrowPrimitiveType<Native: Into<i64>>>(column: &PrimitiveArray<T>, row: usize, out: &mut Vec<u8>) {
    fixed(column, row, out, |value: T::Native| tagged::<8, 9>(value.into().to_le_bytes()));
}

#[inline]
fn fixed<T: ArrowPrimitiveType, const N: usize>(
    column: &PrimitiveArray<T>,
    row: usize,
    out: &mut Vec<u8>,
    write: impl Fn(T::Native) -> [u8; N],
) {
    if column.is_null(row) { out.push(0) } else { out.extend_from_slice(&write(column.value(row))) }
}

/// `01`, then the value's bytes. `TAGGED` is `N + 1`, which the language cannot say yet.
#[inline]
fn tagged<const N: usize, const TAGGED: usize>(value: [u8; N]) -> [u8; TAGGED] {
    let mut all = [1; TAGGED];
    all[1..].copy_from_slice(&value);
    all
}

#[inline]
fn bytes(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&tagged::<8, 9>((value.len() as u64).to_le_bytes()));
    out.extend_from_slice(value);
}

/// The bits of a number: one zero, one not-a-number.
#[inline]
fn canonical_f64(value: f64) -> u64 {
    if value.is_nan() {
        0x7ff8_0000_0000_0000
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    }
}

#[inline]
fn canonical_f32(value: f32) -> u32 {
    if value.is_nan() {
        0x7fc0_0000
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    }
}
