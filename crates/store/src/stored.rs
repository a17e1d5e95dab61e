//! The one form in which rows are stored: the types of [`pelton_query::types::stored`], every field nullable.

use crate::error::StoreError;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::FormatOptions;
use pelton_query::types;
use std::sync::Arc;

/// The schema under which rows of `schema` are stored.
pub fn stored_schema(schema: &Schema) -> Result<SchemaRef, StoreError> {
    let fields = schema
        .fields()
        .iter()
        .map(|field| Ok(Field::new(field.name(), stored_type(field.name(), field.data_type())?, true)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// Casts rows to the types in which they are stored; columns that have them already are shared, not copied.
///
/// Times keep their instant, to the microsecond. A value that does not fit (an unsigned number of 2^63 or more, a time
/// beyond the year 294,246) is an error, not a null.
pub fn to_stored(batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
    let schema = stored_schema(&batch.schema())?;
    if schema == batch.schema() {
        return Ok(batch.clone());
    }
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| column_to_stored(field, column))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .map_err(|error| StoreError::Internal { message: format!("stored columns do not make a batch: {error}") })
}

pub(crate) fn stored_type(column: &str, data_type: &DataType) -> Result<DataType, StoreError> {
    types::stored(data_type)
        .ok_or_else(|| StoreError::UnstorableType { column: column.to_string(), data_type: types::name(data_type) })
}

/// Casts one column to the stored type that `field` has.
pub(crate) fn column_to_stored(field: &Field, column: &ArrayRef) -> Result<ArrayRef, StoreError> {
    if column.data_type() == field.data_type() {
        return Ok(column.clone());
    }
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(column, field.data_type(), &options).map_err(|error| StoreError::UnstorableValue {
        column: field.name().clone(),
        data_type: types::name(field.data_type()),
        reason: error.to_string(),
    })
}

/// The columns of rows in quarantine.
///
/// `rule` is `contract` or a check's name; `raw` the line as it was read, or the row as JSON.
pub fn quarantine_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        text("run"),
        text("node"),
        text("rule"),
        text("reason"),
        text("file"),
        Field::new("line", DataType::Int64, true),
        text("column"),
        text("raw"),
        Field::new("at", types::timestamp(), true),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        AsArray, DictionaryArray, DurationSecondArray, ListBuilder, NullArray, StringViewArray, StringViewBuilder,
        StructArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt32Array, UInt64Array,
    };
    use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn every_column_gets_its_stored_type() {
        let dictionary: DictionaryArray<Int32Type> = ["x", "y"].into_iter().collect();
        let rows = batch(vec![
            ("view", Arc::new(StringViewArray::from(vec![Some("a long text that is not inlined"), None]))),
            ("small", Arc::new(UInt8Array::from(vec![255, 0]))),
            ("big", Arc::new(UInt64Array::from(vec![i64::MAX as u64, 0]))),
            ("seconds", Arc::new(TimestampSecondArray::from(vec![1, -1]))),
            ("berlin", Arc::new(TimestampNanosecondArray::from(vec![1500, 0]).with_timezone("+02:00"))),
            ("word", Arc::new(dictionary)),
            ("nothing", Arc::new(NullArray::new(2))),
        ]);
        let stored = to_stored(&rows).unwrap();
        for (field, old) in stored.schema().fields().iter().zip(rows.schema().fields()) {
            assert_eq!(Some(field.data_type().clone()), types::stored(old.data_type()), "{}", field.name());
            assert!(field.is_nullable());
        }
        assert_eq!(stored.column(2).as_primitive::<Int64Type>().value(0), i64::MAX);
        let time = |at: usize, row| stored.column(at).as_primitive::<TimestampMicrosecondType>().value(row);
        assert_eq!((time(3, 0), time(3, 1), time(4, 0)), (1_000_000, -1_000_000, 1));
        assert_eq!(to_stored(&stored).unwrap(), stored);
    }

    #[test]
    fn nested_columns_are_stored_too() {
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        lists.append_value([Some("a"), None]);
        lists.append_null();
        let pair = StructArray::from(vec![(
            Arc::new(Field::new("n", DataType::UInt32, false)),
            Arc::new(UInt32Array::from(vec![1, 2])) as ArrayRef,
        )]);
        let stored = to_stored(&batch(vec![("lists", Arc::new(lists.finish())), ("pair", Arc::new(pair))])).unwrap();
        assert_eq!(types::name(stored.schema().field(0).data_type()), "text[]");
        assert_eq!(types::name(stored.schema().field(1).data_type()), "struct<n bigint>");
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error() {
        let error = to_stored(&batch(vec![("n", Arc::new(UInt64Array::from(vec![u64::MAX])))])).unwrap_err();
        assert!(matches!(&error, StoreError::UnstorableValue { column, .. } if column == "n"), "{error:?}");
        assert_eq!(error.report().code, "type-mismatch");
        let far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
        assert!(matches!(to_stored(&batch(vec![("at", far)])), Err(StoreError::UnstorableValue { .. })));
        let length: ArrayRef = Arc::new(DurationSecondArray::from(vec![1]));
        assert!(matches!(to_stored(&batch(vec![("length", length)])), Err(StoreError::UnstorableType { .. })));
    }

    #[test]
    fn a_batch_without_columns_keeps_its_rows() {
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        assert_eq!(to_stored(&rows).unwrap().num_rows(), 3);
    }
}
