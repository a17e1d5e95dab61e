//! [`Matched`]: the right rows that one left batch matched, copied out of the batches that they came in.
//!
//! The matches of one left batch may lie anywhere in the right side. Held in their batches, a few labels would keep all of a long feature
//! table in memory; copied out, they are at most as many rows as the left batch has.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::{concat_batches, interleave, take_arrays};
use arrow::datatypes::{DataType, Field};
use datafusion::common::Result;
use std::sync::Arc;

/// Copies that become one when there are so many of them: what a batch costs beside its rows is then shared by as many rows, and each row
/// is copied twice at most.
const COPIES_MAX: usize = 64;

/// Right rows that were matched, numbered in the order of the right side. A row is found later than the rows before it, because the best
/// match of a key gives way to later rows only.
#[derive(Default)]
pub(super) struct Matched {
    /// Rows of batches that were read to their end.
    copies: Vec<RecordBatch>,
    /// How many of the first copies are made of [`COPIES_MAX`] already.
    whole: usize,
    copied_rows: usize,
    copied_bytes: usize,
    /// Rows of the batch that is being read.
    current: Vec<u64>,
}

impl Matched {
    /// Adds a row of the batch that is being read; gives its number.
    pub(super) fn add(&mut self, row: usize) -> usize {
        self.current.push(row as u64);
        self.copied_rows + self.current.len() - 1
    }

    /// Adds a row of a batch that was read before, as a batch of one row; gives its number.
    pub(super) fn add_copy(&mut self, row: &RecordBatch) -> Result<usize> {
        debug_assert!(self.current.is_empty(), "a row of an earlier batch is found before those of the one being read");
        self.push(row.clone())?;
        Ok(self.copied_rows - 1)
    }

    /// Copies what was found in a batch that is let go.
    pub(super) fn leave(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.current);
        self.push(copy(batch, rows)?)
    }

    fn push(&mut self, rows: RecordBatch) -> Result<()> {
        self.copied_rows += rows.num_rows();
        self.copied_bytes += rows.get_array_memory_size();
        self.copies.push(rows);
        if self.copies.len() - self.whole == COPIES_MAX {
            let parts = self.copies.split_off(self.whole);
            let one = concat_batches(&parts[0].schema(), &parts)?;
            self.copied_bytes -= parts.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
            self.copied_bytes += one.get_array_memory_size();
            self.copies.push(one);
            self.whole += 1;
        }
        Ok(())
    }

    /// Bytes of the copies.
    pub(super) fn bytes(&self) -> usize {
        self.copied_bytes
    }

    /// The columns of the matched rows, a row a match, by number; null where there is none. `batch` is the one being read.
    pub(super) fn gather(
        &self,
        matches: &[Option<usize>],
        batch: Option<&RecordBatch>,
        fields: &[Arc<Field>],
    ) -> Result<Vec<ArrayRef>> {
        let batches: Vec<&RecordBatch> = self.copies.iter().chain(batch).collect();
        let places = self.places(matches, batches.len());
        let column = |(at, field): (usize, &Arc<Field>)| -> Result<ArrayRef> {
            let null = new_null_array(field.data_type(), 1);
            let parts = batches.iter().map(|batch| batch.column(at).as_ref()).chain([null.as_ref()]);
            Ok(interleave(&parts.collect::<Vec<_>>(), &places)?)
        };
        fields.iter().enumerate().map(column).collect()
    }

    /// Where the rows with these numbers lie: the copy and the row in it, after the copies those of the batch being read. The first row of
    /// `nothing` stands for no match.
    fn places(&self, matches: &[Option<usize>], nothing: usize) -> Vec<(usize, usize)> {
        let (mut at, mut first) = (0, 0);
        let mut place = |number: &Option<usize>| {
            let Some(number) = *number else { return (nothing, 0) };
            if let Some(current) = number.checked_sub(self.copied_rows) {
                return (self.copies.len(), self.current[current] as usize);
            }
            // The matches of the left rows go up with the right side, as the numbers do.
            while number >= first + self.copies[at].num_rows() {
                first += self.copies[at].num_rows();
                at += 1;
            }
            (at, number - first)
        };
        matches.iter().map(&mut place).collect()
    }
}

/// Rows of a batch as a batch of their own, which keeps nothing of the other rows.
pub(super) fn copy(batch: &RecordBatch, rows: Vec<u64>) -> Result<RecordBatch> {
    let columns = take_arrays(batch.columns(), &UInt64Array::from(rows), None)?;
    let columns = columns.into_iter().map(|column| -> ArrayRef {
        // Views point into the buffers of the batch that they were taken from.
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => column,
        }
    });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
}
