//! Columns under construction: one value after another, from text or JSON, each of exactly the column's type or refused.
//!
//! A value that is refused leaves a null behind, so that all columns of a block stay equally long; the caller decides what
//! becomes of the row.

use crate::{json, parse};
use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int8Builder, Int16Builder, Int32Builder, Int64Builder, ListArray, NullBufferBuilder, StringBuilder, StructArray,
    TimestampMicrosecondBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};
use pelton_query::types;
use std::sync::Arc;

/// A column that grows.
pub(crate) struct ColumnBuilder {
    data_type: DataType,
    values: Values,
    /// Whether doubles take no whole number that they change.
    exact: bool,
}

enum Values {
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(TimestampMicrosecondBuilder),
    List { field: FieldRef, item: Box<ColumnBuilder>, ends: Vec<i32>, nulls: NullBufferBuilder },
    Struct { fields: Fields, columns: Vec<ColumnBuilder>, nulls: NullBufferBuilder, length: usize },
}

/// A value that its column does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// Why, for the quarantine.
    pub(crate) reason: String,
    /// Where the value stands in the column's text, in bytes.
    pub(crate) at: usize,
}

impl ColumnBuilder {
    /// A column of a type that a table can store.
    pub(crate) fn new(data_type: &DataType, rows: usize) -> Self {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBuilder::with_capacity(rows)),
            DataType::Int8 => Values::Int8(Int8Builder::with_capacity(rows)),
            DataType::Int16 => Values::Int16(Int16Builder::with_capacity(rows)),
            DataType::Int32 => Values::Int32(Int32Builder::with_capacity(rows)),
            DataType::Int64 => Values::Int64(Int64Builder::with_capacity(rows)),
            DataType::Float32 => Values::Float32(Float32Builder::with_capacity(rows)),
            DataType::Float64 => Values::Float64(Float64Builder::with_capacity(rows)),
            DataType::Decimal128(precision, scale) => {
                let builder = Decimal128Builder::with_capacity(rows).with_data_type(data_type.clone());
                Values::Decimal(builder, *precision, *scale)
            }
            DataType::Binary => Values::Bytes(BinaryBuilder::with_capacity(rows, rows * 16)),
            DataType::Date32 => Values::Date(Date32Builder::with_capacity(rows)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Values::Time(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(types::timestamp()))
            }
            DataType::List(field) => Values::List {
                field: Arc::clone(field),
                item: Box::new(ColumnBuilder::new(field.data_type(), rows)),
                ends: vec![0],
                nulls: NullBufferBuilder::new(rows),
            },
            DataType::Struct(fields) => Values::Struct {
                fields: fields.clone(),
                columns: fields.iter().map(|field| ColumnBuilder::new(field.data_type(), rows)).collect(),
                nulls: NullBufferBuilder::new(rows),
                length: 0,
            },
            // Every other type was turned into one of these, or refused, when the schema was resolved.
            _ => Values::Text(StringBuilder::with_capacity(rows, rows * 16)),
        };
        ColumnBuilder { data_type: data_type.clone(), values, exact: false }
    }

    /// From now on, whole numbers that a double does not hold are refused, also inside of lists and structs: nobody declared that the
    /// nearest one will do.
    pub(crate) fn be_exact(&mut self) {
        self.exact = true;
        match &mut self.values {
            Values::List { item, .. } => item.be_exact(),
            Values::Struct { columns, .. } => columns.iter_mut().for_each(ColumnBuilder::be_exact),
            _ => {}
        }
    }

    /// Whether values are taken as they are, with the space around them.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.values, Values::Text(_) | Values::Bytes(_))
    }

    /// Adds a missing value.
    pub(crate) fn append_null(&mut self) {
        match &mut self.values {
            Values::Boolean(builder) => builder.append_null(),
            Values::Int8(builder) => builder.append_null(),
            Values::Int16(builder) => builder.append_null(),
            Values::Int32(builder) => builder.append_null(),
            Values::Int64(builder) => builder.append_null(),
            Values::Float32(builder) => builder.append_null(),
            Values::Float64(builder) => builder.append_null(),
            Values::Decimal(builder, _, _) => builder.append_null(),
            Values::Text(builder) => builder.append_null(),
            Values::Bytes(builder) => builder.append_null(),
            Values::Date(builder) => builder.append_null(),
            Values::Time(builder) => builder.append_null(),
            Values::List { ends, nulls, .. } => {
                ends.push(*ends.last().expect("ends begin with 0"));
                nulls.append_null();
            }
            Values::Struct { columns, nulls, length, .. } => {
                columns.iter_mut().for_each(ColumnBuilder::append_null);
                nulls.append_null();
                *length += 1;
            }
        }
    }

    /// Adds a value written as text, as in a CSV field; a null and `false` when it is not one of the type.
    ///
    /// Lists and structs are JSON inside the field.
    pub(crate) fn append_text(&mut self, text: &str) -> bool {
        macro_rules! option {
            ($builder:ident, $value:expr) => {{
                let value = $value;
                $builder.append_option(value);
                value.is_some()
            }};
        }
        let exact = self.exact;
        match &mut self.values {
            Values::Text(builder) => {
                builder.append_value(text);
                true
            }
            Values::Bytes(builder) => {
                builder.append_value(text.as_bytes());
                true
            }
            Values::Int64(builder) => option!(builder, parse::integer(text)),
            Values::Float64(builder) => {
                option!(builder, parse::double(text).filter(|value| !exact || parse::holds_whole(*value, text)))
            }
            Values::Decimal(builder, precision, scale) => {
                option!(builder, parse::decimal(text, *precision, *scale).ok())
            }
            Values::Time(builder) => option!(builder, parse::timestamp(text)),
            Values::Date(builder) => option!(builder, parse::date(text)),
            Values::Boolean(builder) => option!(builder, parse::boolean(text)),
            Values::Int8(builder) => option!(builder, parse::integer(text).and_then(|value| i8::try_from(value).ok())),
            Values::Int16(builder) => {
                option!(builder, parse::integer(text).and_then(|value| i16::try_from(value).ok()))
            }
            Values::Int32(builder) => {
                option!(builder, parse::integer(text).and_then(|value| i32::try_from(value).ok()))
            }
            Values::Float32(builder) => option!(builder, parse::real(text)),
            Values::List { .. } | Values::Struct { .. } => match json::value(text) {
                Ok(raw) => self.append_json(raw).is_ok(),
                Err(_) => {
                    self.append_null();
                    false
                }
            },
        }
    }

    /// Adds a JSON value, given as its raw text. What does not fit inside of a list or a struct becomes a null there; the first
    /// such value is the error.
    pub(crate) fn append_json(&mut self, raw: &str) -> Result<(), Misfit> {
        let first = raw.as_bytes().first().copied().unwrap_or(b'n');
        if first == b'n' {
            self.append_null();
            return Ok(());
        }
        match (&mut self.values, first) {
            (Values::List { item, ends, nulls, .. }, b'[') => {
                let mut count = 0;
                let mut trouble = None;
                let read = json::items(raw, |part| {
                    count += 1;
                    if let Err(misfit) = item.append_json(part) {
                        trouble.get_or_insert(misfit.inside(raw, part));
                    }
                });
                ends.push(ends.last().expect("ends begin with 0") + count);
                nulls.append_non_null();
                debug_assert!(read.is_ok(), "the text around was read already");
                trouble.map_or(Ok(()), Err)
            }
            (Values::Struct { fields, columns, nulls, length }, b'{') => {
                let (mut trouble, mut guess) = (None, 0);
                let mut given = vec![false; columns.len()];
                let read = json::fields(raw, |name, part| {
                    let found = match fields.get(guess) {
                        Some(field) if field.name() == name.as_ref() => Some(guess),
                        _ => fields.iter().position(|field| field.name() == name.as_ref()),
                    };
                    let misfit = match found {
                        Some(at) if given[at] => {
                            Some(Misfit { reason: format!("field `{name}` stands twice in one object"), at: 0 })
                        }
                        Some(at) => {
                            given[at] = true;
                            guess = at + 1;
                            columns[at].append_json(part).err().map(|misfit| misfit.of_field(&name))
                        }
                        None if part == "null" => None,
                        None => Some(Misfit { reason: format!("field `{name}` is not one of the column's"), at: 0 }),
                    };
                    if let Some(misfit) = misfit {
                        trouble.get_or_insert(misfit.inside(raw, part));
                    }
                });
                for (at, column) in columns.iter_mut().enumerate() {
                    if !given[at] {
                        column.append_null();
                    }
                }
                nulls.append_non_null();
                *length += 1;
                debug_assert!(read.is_ok(), "the text around was read already");
                trouble.map_or(Ok(()), Err)
            }
            (Values::List { .. } | Values::Struct { .. }, _) => self.refuse(raw),
            (Values::Text(builder), b'"') => match json::string(raw) {
                Some(text) => {
                    builder.append_value(text);
                    Ok(())
                }
                None => self.refuse_half_pair(),
            },
            // A text column takes every value as it is written.
            (Values::Text(builder), _) => {
                builder.append_value(raw);
                Ok(())
            }
            (_, b'"') => match json::string(raw) {
                Some(text) if self.append_text(&text) => Ok(()),
                Some(text) => Err(Misfit { reason: parse::explain(&text, &self.data_type), at: 0 }),
                None => self.refuse_half_pair(),
            },
            (_, b'{' | b'[') => self.refuse(raw),
            _ => match self.append_text(raw) {
                true => Ok(()),
                false => Err(Misfit { reason: parse::explain(raw, &self.data_type), at: 0 }),
            },
        }
    }

    fn refuse(&mut self, raw: &str) -> Result<(), Misfit> {
        self.append_null();
        Err(Misfit { reason: format!("{} is not {}", parse::quote(raw), parse::a_type(&self.data_type)), at: 0 })
    }

    fn refuse_half_pair(&mut self) -> Result<(), Misfit> {
        self.append_null();
        Err(Misfit { reason: "the text holds half of a surrogate pair".into(), at: 0 })
    }

    /// The finished column; the builder is empty again.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        match &mut self.values {
            Values::Boolean(builder) => Arc::new(builder.finish()),
            Values::Int8(builder) => Arc::new(builder.finish()),
            Values::Int16(builder) => Arc::new(builder.finish()),
            Values::Int32(builder) => Arc::new(builder.finish()),
            Values::Int64(builder) => Arc::new(builder.finish()),
            Values::Float32(builder) => Arc::new(builder.finish()),
            Values::Float64(builder) => Arc::new(builder.finish()),
            Values::Decimal(builder, _, _) => Arc::new(builder.finish()),
            Values::Text(builder) => Arc::new(builder.finish()),
            Values::Bytes(builder) => Arc::new(builder.finish()),
            Values::Date(builder) => Arc::new(builder.finish()),
            Values::Time(builder) => Arc::new(builder.finish()),
            Values::List { field, item, ends, nulls } => {
                let ends = OffsetBuffer::new(std::mem::replace(ends, vec![0]).into());
                Arc::new(ListArray::new(Arc::clone(field), ends, item.finish(), nulls.finish()))
            }
            Values::Struct { fields, columns, nulls, length } => {
                let arrays = columns.iter_mut().map(ColumnBuilder::finish).collect();
                Arc::new(
                    StructArray::try_new_with_length(fields.clone(), arrays, nulls.finish(), std::mem::take(length))
                        .expect("every row adds one value to every field"),
                )
            }
        }
    }
}

impl Misfit {
    fn of_field(mut self, name: &str) -> Self {
        self.reason = format!("in `{name}`: {}", self.reason);
        self
    }

    /// Moves the place from `part` to the text `whole` that it is a part of.
    fn inside(mut self, whole: &str, part: &str) -> Self {
        self.at += offset(whole, part);
        self
    }
}

/// How far into `whole` its part begins, in bytes.
pub(crate) fn offset(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize).min(whole.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::display::array_value_to_string;

    /// Adds JSON values; gives what was stored, and the reasons.
    fn json_column(data_type: &str, values: &[&str]) -> (Vec<String>, Vec<String>) {
        let mut column = ColumnBuilder::new(&types::parse(data_type).unwrap(), 4);
        let reasons = values.iter().filter_map(|raw| column.append_json(raw).err()).map(|m| m.reason).collect();
        let array = column.finish();
        assert_eq!(array.len(), values.len());
        ((0..array.len()).map(|row| array_value_to_string(&array, row).unwrap()).collect(), reasons)
    }

    #[test]
    fn json_numbers_keep_every_digit() {
        let (values, reasons) = json_column("decimal(20,4)", &["1234567890123456.7891", "\"1.5\"", "1e2", "0.00001"]);
        assert_eq!(values, ["1234567890123456.7891", "1.5000", "100.0000", ""]);
        assert_eq!(reasons, ["`0.00001` has more than 4 fraction digits, which a decimal(20,4) does not hold"]);
        assert_eq!(
            json_column("text", &["1.10", "true", "[1, 2]", "\"a\\n\"", "null"]).0,
            ["1.10", "true", "[1, 2]", "a\n", ""]
        );
    }

    #[test]
    fn nested_values_that_do_not_fit_say_where() {
        let data_type = "struct<a bigint, b struct<c date>[]>";
        let raw = r#"{"b": [{"c": "2026-01-01"}, {"c": "soon"}], "a": 1}"#;
        let mut column = ColumnBuilder::new(&types::parse(data_type).unwrap(), 4);
        let misfit = column.append_json(raw).unwrap_err();
        assert_eq!(misfit.reason, "in `b`: in `c`: `soon` is not a date");
        assert_eq!(&raw[misfit.at..misfit.at + 6], "\"soon\"");
        let (values, reasons) =
            json_column(data_type, &[r#"{"a": 1, "a": 2}"#, r#"{"x": 1}"#, r#"{"x": null}"#, "[]", "{}"]);
        assert_eq!(values[3], "");
        assert_eq!(reasons.len(), 3, "{reasons:?}");
    }

    #[test]
    fn every_type_takes_nulls_and_stays_in_step() {
        for data_type in [
            "boolean",
            "tinyint",
            "smallint",
            "int",
            "bigint",
            "real",
            "double",
            "decimal(5,1)",
            "text",
            "bytes",
            "date",
            "timestamp",
            "bigint[]",
            "struct<a bigint, b text[]>",
        ] {
            let data_type = types::parse(data_type).unwrap();
            let mut column = ColumnBuilder::new(&data_type, 4);
            column.append_null();
            column.append_text("no such value");
            let _ = column.append_json("{\"a\": \"x\"}");
            column.append_null();
            let array = column.finish();
            assert_eq!((array.len(), array.data_type()), (4, &data_type));
            assert_eq!(column.finish().len(), 0);
        }
    }
}
