//! The merge itself: two sorted streams, one pass. Held at a time are the left batch, the right batch that is being read, the best match,
//! and of the right batches before it the rows that the left batch matched. So what is held is bounded by the left batch, however long
//! the right side is.

use super::exec::{Match, ORDER};
use super::matched::{Matched, copy};
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
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
    /// Left: the row's time. Right: from when on the row may be used.
    at: Int64Array,
    /// Right: the row's own time.
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
    place: Place,
    time: i64,
    visible_at: i64,
    /// Its number among the matched rows, once a row of the left batch matched it.
    number: Option<usize>,
}

/// Where a right row lies.
enum Place {
    /// A row of the batch that is being read.
    Current(usize),
    /// A batch of this row alone.
    Copied(RecordBatch),
}

pub(crate) struct Merge {
    left: SendableRecordBatchStream,
    right: SendableRecordBatchStream,
    on: Match,
    schema: SchemaRef,
    converter: RowConverter,
    /// For breaking ties by value; made when the first tie comes.
    values: Option<RowConverter>,
    /// The right batch that is being read.
    current: Option<Arc<Side>>,
    /// The next row of the batch that is being read.
    next: usize,
    best: Option<Best>,
    /// What the rows of the left batch matched.
    matched: Matched,
    /// Tells the memory pool what is held beside the batches on their way. It is never refused: it is no more than the rows of the batch that
    /// goes out, and a sort that holds what is left of the pool would make it fail by chance.
    reservation: MemoryReservation,
}

impl Merge {
    pub(crate) fn new(
        left: SendableRecordBatchStream,
        right: SendableRecordBatchStream,
        on: Match,
        schema: SchemaRef,
        reservation: MemoryReservation,
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
            current: None,
            next: 0,
            best: None,
            matched: Matched::default(),
            reservation,
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
        let mut matches: Vec<Option<usize>> = Vec::with_capacity(left.batch.num_rows());
        for row in 0..left.batch.num_rows() {
            if !left.is_usable(row) {
                matches.push(None);
                continue;
            }
            self.advance(&left, row).await?;
            matches.push(self.match_of(&left, row)?);
        }
        let joined = self.join(&left.batch, &matches)?;
        self.matched = Matched::default();
        if let Some(best) = &mut self.best {
            best.number = None;
        }
        self.tell_pool();
        Ok(Some(joined))
    }

    /// Reads right rows up to the left row's key and time, keeping the best of its key.
    async fn advance(&mut self, left: &Side, row: usize) -> Result<()> {
        let (key, time) = (left.keys.row(row), left.at.value(row));
        while let Some(right) = self.current().await? {
            while self.next < right.batch.num_rows() {
                let candidate = self.next;
                match right.keys.row(candidate).cmp(&key) {
                    Ordering::Greater => return Ok(()),
                    Ordering::Equal if right.is_usable(candidate) => {
                        if right.at.value(candidate) > time {
                            return Ok(());
                        }
                        self.consider(&right, candidate)?;
                    }
                    Ordering::Less | Ordering::Equal => {}
                }
                self.next += 1;
            }
        }
        Ok(())
    }

    /// The batch with the next right row, or `None` at the end.
    async fn current(&mut self) -> Result<Option<Arc<Side>>> {
        loop {
            if let Some(side) = &self.current
                && self.next < side.batch.num_rows()
            {
                return Ok(Some(side.clone()));
            }
            // The batch goes before the next one comes.
            self.leave()?;
            let Some(batch) = self.right.next().await else { return Ok(None) };
            let keys = self.on.keys.iter().map(|(_, key)| key.clone()).collect::<Vec<_>>();
            let (visible_at, time) = (self.on.visible_at.clone(), self.on.right_time.clone());
            self.current = Some(Arc::new(self.side(batch?, &keys, &visible_at, &time)?));
            self.next = 0;
        }
    }

    /// Lets go of the right batch that was read, after what is needed of it was copied.
    fn leave(&mut self) -> Result<()> {
        let Some(side) = self.current.take() else { return Ok(()) };
        self.matched.leave(&side.batch)?;
        if let Some(best) = &mut self.best
            && let Place::Current(row) = best.place
        {
            best.place = Place::Copied(copy(&side.batch, vec![row as u64])?);
        }
        self.tell_pool();
        Ok(())
    }

    fn tell_pool(&self) {
        let best = match &self.best {
            Some(Best { place: Place::Copied(row), .. }) => row.get_array_memory_size(),
            _ => 0,
        };
        self.reservation.resize(self.matched.bytes() + best);
    }

    /// The number of the right row that a left row matches.
    fn match_of(&mut self, left: &Side, row: usize) -> Result<Option<usize>> {
        let Some(best) = &mut self.best else { return Ok(None) };
        let age = left.at.value(row).saturating_sub(best.time);
        if best.key.row() != left.keys.row(row) || self.on.ttl.is_some_and(|ttl| age > ttl) {
            return Ok(None);
        }
        let number = match (best.number, &best.place) {
            (Some(number), _) => number,
            (None, Place::Current(row)) => self.matched.add(*row),
            (None, Place::Copied(row)) => self.matched.add_copy(row)?,
        };
        best.number = Some(number);
        Ok(best.number)
    }

    fn consider(&mut self, right: &Side, row: usize) -> Result<()> {
        let (time, visible_at) = (right.time.value(row), right.at.value(row));
        let key = right.keys.row(row);
        let better = match self.best.as_ref().filter(|best| best.key.row() == key) {
            Some(best) => match (time, visible_at).cmp(&(best.time, best.visible_at)) {
                Ordering::Greater => true,
                Ordering::Less => false,
                Ordering::Equal => {
                    let (held, held_row) = match &best.place {
                        Place::Current(row) => (right.batch.clone(), *row),
                        Place::Copied(row) => (row.clone(), 0),
                    };
                    self.is_greater((&right.batch, row), (&held, held_row))?
                }
            },
            None => true,
        };
        if better {
            let key = match self.best.take() {
                Some(best) if best.key.row() == key => best.key,
                _ => key.owned(),
            };
            self.best = Some(Best { key, place: Place::Current(row), time, visible_at, number: None });
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
    fn join(&self, left: &RecordBatch, matches: &[Option<usize>]) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = left.columns().to_vec();
        let current = self.current.as_ref().map(|side| &side.batch);
        columns.extend(self.matched.gather(matches, current, &self.schema.fields()[left.num_columns()..])?);
        let options = RecordBatchOptions::new().with_row_count(Some(left.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
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
        let at = ticks(&value(at)?)?;
        let time = ticks(&value(time)?)?;
        Ok(Side { batch, keys, whole, at, time })
    }
}

/// A time column as whole numbers of its unit; plain integers are taken as they are. The plan gave all times the same type.
fn ticks(array: &ArrayRef) -> Result<Int64Array> {
    let array = cast(array, &DataType::Int64)?;
    array
        .as_any()
        .downcast_ref::<Int64Array>()
        .cloned()
        .ok_or_else(|| DataFusionError::Internal("a cast to bigint gave something else".into()))
}

#[cfg(test)]
mod tests;
