//! The merge itself: two sorted streams, one pass, bounded memory (the current batches, and the one that holds the best match).

use super::exec::{Match, ORDER};
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use std::cmp::Ordering;
use std::sync::Arc;

/// A batch with what the merge compares.
struct Side {
    batch: RecordBatch,
    keys: Rows,
    /// Rows whose key has no null.
    whole: Option<NullBuffer>,
    /// Left: the row's time. Right: from when on the row may be used. Microseconds.
    at: Int64Array,
    /// Right: the row's own time, microseconds.
    time: Int64Array,
}

impl Side {
    fn is_usable(&self, row: usize) -> bool {
        self.whole.as_ref().is_none_or(|whole| whole.is_valid(row)) && self.at.is_valid(row) && self.time.is_valid(row)
    }
}

/// The best right row of the current key so far.
struct Best {
    key: OwnedRow,
    batch: usize,
    row: usize,
    time: i64,
    visible_at: i64,
}

pub(crate) struct Merge {
    left: SendableRecordBatchStream,
    right: SendableRecordBatchStream,
    on: Match,
    schema: SchemaRef,
    converter: RowConverter,
    /// For breaking ties by value; made when the first tie comes.
    values: Option<RowConverter>,
    /// Right batches that the best match or rows to come lie in. The last one is being read.
    held: Vec<Arc<Side>>,
    /// The next row of the last held batch.
    next: usize,
    ended: bool,
    best: Option<Best>,
}

impl Merge {
    pub(crate) fn new(
        left: SendableRecordBatchStream,
        right: SendableRecordBatchStream,
        on: Match,
        schema: SchemaRef,
    ) -> Result<Self> {
        let left_schema = left.schema();
        let fields = on
            .keys
            .iter()
            .map(|(key, _)| Ok(SortField::new_with_options(key.data_type(&left_schema)?, ORDER)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Merge {
            left,
            right,
            on,
            schema,
            converter: RowConverter::new(fields)?,
            values: None,
            held: Vec::new(),
            next: 0,
            ended: false,
            best: None,
        })
    }

    /// The join of the next left batch; `None` at the end.
    pub(crate) async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let batch = match self.left.next().await {
            Some(batch) => batch?,
            None => return Ok(None),
        };
        let keys = self.on.keys.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        let left_time = self.on.left_time.clone();
        let left = self.side(batch, &keys, &left_time, &left_time)?;
        let mut matches: Vec<Option<(usize, usize)>> = Vec::with_capacity(left.batch.num_rows());
        for row in 0..left.batch.num_rows() {
            if !left.is_usable(row) {
                matches.push(None);
                continue;
            }
            self.advance(&left, row).await?;
            let time = left.at.value(row);
            matches.push(
                self.best
                    .as_ref()
                    .filter(|best| best.key.row() == left.keys.row(row))
                    .filter(|best| self.on.ttl_us.is_none_or(|ttl| time.saturating_sub(best.time) <= ttl))
                    .map(|best| (best.batch, best.row)),
            );
        }
        let joined = self.join(&left.batch, &matches)?;
        self.release();
        Ok(Some(joined))
    }

    /// Reads right rows up to the left row's key and time, keeping the best of its key.
    async fn advance(&mut self, left: &Side, row: usize) -> Result<()> {
        let (key, time) = (left.keys.row(row), left.at.value(row));
        while let Some(right) = self.current().await? {
            let candidate = self.next;
            match right.keys.row(candidate).cmp(&key) {
                Ordering::Greater => return Ok(()),
                Ordering::Less => self.next += 1,
                Ordering::Equal => {
                    if !right.is_usable(candidate) {
                        self.next += 1;
                        continue;
                    }
                    if right.at.value(candidate) > time {
                        return Ok(());
                    }
                    self.consider(&right, candidate)?;
                    self.next += 1;
                }
            }
        }
        Ok(())
    }

    /// The batch with the next right row, or `None` at the end.
    async fn current(&mut self) -> Result<Option<Arc<Side>>> {
        loop {
            if let Some(side) = self.held.last()
                && self.next < side.batch.num_rows()
            {
                return Ok(Some(side.clone()));
            }
            if self.ended {
                return Ok(None);
            }
            match self.right.next().await {
                Some(batch) => {
                    let keys = self.on.keys.iter().map(|(_, key)| key.clone()).collect::<Vec<_>>();
                    let (visible_at, time) = (self.on.visible_at.clone(), self.on.right_time.clone());
                    let side = self.side(batch?, &keys, &visible_at, &time)?;
                    self.held.push(Arc::new(side));
                    self.next = 0;
                }
                None => self.ended = true,
            }
        }
    }

    fn consider(&mut self, right: &Arc<Side>, row: usize) -> Result<()> {
        let (time, visible_at) = (right.time.value(row), right.at.value(row));
        let better = match &self.best {
            Some(best) if best.key.row() == right.keys.row(row) => {
                match (time, visible_at).cmp(&(best.time, best.visible_at)) {
                    Ordering::Greater => true,
                    Ordering::Less => false,
                    Ordering::Equal => {
                        let (held, held_row) = (self.held[best.batch].clone(), best.row);
                        self.is_greater((&right.batch, row), (&held.batch, held_row))?
                    }
                }
            }
            _ => true,
        };
        if better {
            let key = match self.best.take() {
                Some(best) if best.key.row() == right.keys.row(row) => best.key,
                _ => right.keys.row(row).owned(),
            };
            self.best = Some(Best { key, batch: self.held.len() - 1, row, time, visible_at });
        }
        Ok(())
    }

    fn is_greater(&mut self, a: (&RecordBatch, usize), b: (&RecordBatch, usize)) -> Result<bool> {
        let converter = match &mut self.values {
            Some(converter) => converter,
            empty => {
                let fields = a.0.columns().iter().map(|column| SortField::new(column.data_type().clone())).collect();
                empty.insert(RowConverter::new(fields)?)
            }
        };
        let row_of = |(batch, row): (&RecordBatch, usize)| {
            let columns = batch.columns().iter().map(|column| column.slice(row, 1)).collect::<Vec<_>>();
            converter.convert_columns(&columns)
        };
        let (a, b) = (row_of(a)?, row_of(b)?);
        Ok(a.row(0) > b.row(0))
    }

    /// Left columns as they are, right columns gathered from the matches.
    fn join(&self, left: &RecordBatch, matches: &[Option<(usize, usize)>]) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = left.columns().to_vec();
        // The array after the held batches is one null, for rows without a match.
        let nulls = self.held.len();
        let picks = matches.iter().map(|found| found.unwrap_or((nulls, 0))).collect::<Vec<_>>();
        for (right_column, field) in self.schema.fields()[left.num_columns()..].iter().enumerate() {
            let null = new_null_array(field.data_type(), 1);
            let mut arrays: Vec<&dyn Array> =
                self.held.iter().map(|side| side.batch.column(right_column).as_ref()).collect();
            arrays.push(&null);
            columns.push(interleave(&arrays, &picks)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(left.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }

    /// Lets go of right batches that nothing points to any more.
    fn release(&mut self) {
        let Some(last) = self.held.len().checked_sub(1) else { return };
        let first = self.best.as_ref().map_or(last, |best| best.batch);
        let mut kept = Vec::with_capacity(2);
        if first != last {
            kept.push(self.held[first].clone());
        }
        kept.push(self.held[last].clone());
        if let Some(best) = &mut self.best {
            best.batch = if best.batch == last { kept.len() - 1 } else { 0 };
        }
        self.held = kept;
    }

    fn side(
        &self,
        batch: RecordBatch,
        keys: &[Arc<dyn PhysicalExpr>],
        at: &Arc<dyn PhysicalExpr>,
        time: &Arc<dyn PhysicalExpr>,
    ) -> Result<Side> {
        let rows = batch.num_rows();
        let value = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(&batch)?.into_array(rows);
        let columns = keys.iter().map(value).collect::<Result<Vec<_>>>()?;
        let whole = columns
            .iter()
            .fold(None, |whole, column| NullBuffer::union(whole.as_ref(), column.logical_nulls().as_ref()));
        let keys = if columns.is_empty() {
            self.converter.empty_rows(rows, 0)
        } else {
            self.converter.convert_columns(&columns)?
        };
        let at = microseconds(&value(at)?)?;
        let time = microseconds(&value(time)?)?;
        Ok(Side { batch, keys, whole, at, time })
    }
}

/// A time column as microseconds; plain integers are taken as they are.
fn microseconds(array: &ArrayRef) -> Result<Int64Array> {
    let array = match array.data_type() {
        DataType::Timestamp(_, zone) => cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?,
        DataType::Date32 | DataType::Date64 => cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => array.clone(),
        other => return exec_err!("ASOF JOIN: the time is a timestamp, a date or an integer, not {other}"),
    };
    let array = cast(&array, &DataType::Int64)?;
    array
        .as_any()
        .downcast_ref::<Int64Array>()
        .cloned()
        .ok_or_else(|| DataFusionError::Internal("a cast to bigint gave something else".into()))
}
