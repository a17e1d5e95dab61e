//! Accumulators over exact sums: for one group and for windows ([`One`]), and for many groups at once ([`PerGroup`]).
//!
//! Both pass the same state on: how many rows there were, and their sums. What is added up, of one column ([`super::single`]) or of pairs
//! ([`super::pair`]), is theirs.

use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;
use smallvec::SmallVec;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array, UInt64Array};
use arrow::datatypes::{Float64Type, UInt64Type};

/// The arguments of the aggregate in a batch.
pub(super) type Columns<'a> = SmallVec<[&'a Float64Array; 2]>;

fn columns(arrays: &[ArrayRef]) -> Columns<'_> {
    arrays.iter().map(|array| array.as_primitive::<Float64Type>()).collect()
}

/// The sums of one group.
pub(super) trait Values: Clone + Debug + Default + Send + Sync + 'static {
    /// What is made of them.
    type Kind: Copy + Debug + Send + Sync;
    /// What is added.
    type Row;

    /// Row `at`; `None` where a value is missing.
    fn row(columns: &Columns<'_>, at: usize) -> Option<Self::Row>;
    fn add(&mut self, kind: Self::Kind, row: Self::Row);
    fn take(&mut self, kind: Self::Kind, row: Self::Row);
    fn result(&self, kind: Self::Kind) -> Option<f64>;
    /// How many rows are in the sums.
    fn count(&mut self) -> &mut u64;
    /// How many sums there are.
    fn sums(kind: Self::Kind) -> usize;
    /// Sum `at` as bytes.
    fn to_bytes(&self, at: usize, out: &mut Vec<u8>);
    /// Adds bytes to sum `at`; whether they can be read.
    fn merge(&mut self, at: usize, bytes: &[u8]) -> bool;
    /// Bytes on the heap.
    fn heap(&self) -> usize;
}

/// Adds row `row` of a state.
fn merge<V: Values>(values: &mut V, kind: V::Kind, state: &[ArrayRef], row: usize) -> Result<()> {
    *values.count() += state[0].as_primitive::<UInt64Type>().value(row);
    let is_read = (0..V::sums(kind)).all(|sum| values.merge(sum, state[1 + sum].as_binary::<i32>().value(row)));
    if is_read { Ok(()) } else { internal_err!("the state of an exact sum cannot be read") }
}

/// Writes the states of groups as columns.
struct States<V: Values> {
    kind: V::Kind,
    counts: Vec<u64>,
    sums: Vec<BinaryBuilder>,
    bytes: Vec<u8>,
}

impl<V: Values> States<V> {
    fn new(kind: V::Kind, groups: usize) -> Self {
        let bytes = |_| BinaryBuilder::with_capacity(groups, 16 * groups);
        let sums = (0..V::sums(kind)).map(bytes).collect();
        States { kind, counts: Vec::with_capacity(groups), sums, bytes: Vec::new() }
    }

    fn push(&mut self, values: &mut V) {
        self.counts.push(*values.count());
        for (at, sums) in self.sums.iter_mut().enumerate() {
            self.bytes.clear();
            values.to_bytes(at, &mut self.bytes);
            sums.append_value(&self.bytes);
        }
    }

    /// The state of one row, or of none.
    fn push_row(&mut self, row: Option<V::Row>) {
        let mut values = V::default();
        if let Some(row) = row {
            values.add(self.kind, row);
        }
        self.push(&mut values);
    }

    fn finish(self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(self.counts))];
        columns.extend(self.sums.into_iter().map(|mut sums| Arc::new(sums.finish()) as ArrayRef));
        columns
    }
}

/// The aggregate of one group, from which rows can be taken away again.
#[derive(Debug)]
pub(super) struct One<V: Values> {
    kind: V::Kind,
    values: V,
}

impl<V: Values> One<V> {
    pub(super) fn new(kind: V::Kind) -> Self {
        One { kind, values: V::default() }
    }
}

impl<V: Values> Accumulator for One<V> {
    fn update_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        let columns = columns(arrays);
        for row in (0..columns[0].len()).filter_map(|at| V::row(&columns, at)) {
            self.values.add(self.kind, row);
        }
        Ok(())
    }

    fn retract_batch(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        let columns = columns(arrays);
        for row in (0..columns[0].len()).filter_map(|at| V::row(&columns, at)) {
            self.values.take(self.kind, row);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        (0..states[0].len()).try_for_each(|row| merge(&mut self.values, self.kind, states, row))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut states = States::new(self.kind, 1);
        states.push(&mut self.values);
        states.finish().iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.values.result(self.kind)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.heap()
    }
}

/// The aggregates of many groups.
#[derive(Debug)]
pub(super) struct PerGroup<V: Values> {
    kind: V::Kind,
    groups: Vec<V>,
    /// Bytes that the groups have on the heap. Asked for after each batch, so it is kept instead of counted.
    heap: usize,
}

impl<V: Values> PerGroup<V> {
    pub(super) fn new(kind: V::Kind) -> Self {
        PerGroup { kind, groups: Vec::new(), heap: 0 }
    }

    /// Changes a group, and keeps count of its bytes.
    #[inline]
    fn change(&mut self, group: usize, change: impl FnOnce(&mut V) -> Result<()>) -> Result<()> {
        let values = &mut self.groups[group];
        let before = values.heap();
        change(values)?;
        self.heap += values.heap() - before;
        Ok(())
    }

    fn emit(&mut self, emit_to: EmitTo) -> Vec<V> {
        let emitted = emit_to.take_needed(&mut self.groups);
        self.heap -= emitted.iter().map(V::heap).sum::<usize>();
        emitted
    }
}

impl<V: Values> GroupsAccumulator for PerGroup<V> {
    fn update_batch(
        &mut self,
        arrays: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.groups.resize_with(total, V::default);
        let (kind, columns) = (self.kind, columns(arrays));
        for (at, group) in groups.iter().enumerate() {
            if let Some(row) = V::row(&columns, at).filter(|_| passes(filter, at)) {
                self.change(*group, |values| {
                    values.add(kind, row);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups.resize_with(total, V::default);
        let kind = self.kind;
        for (row, group) in groups.iter().enumerate() {
            self.change(*group, |values| merge(values, kind, states, row))?;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let kind = self.kind;
        Ok(Arc::new(self.emit(emit_to).iter().map(|values| values.result(kind)).collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut emitted = self.emit(emit_to);
        let mut states = States::new(self.kind, emitted.len());
        emitted.iter_mut().for_each(|values| states.push(values));
        Ok(states.finish())
    }

    fn convert_to_state(&self, arrays: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let columns = columns(arrays);
        let mut states = States::<V>::new(self.kind, columns[0].len());
        for at in 0..columns[0].len() {
            states.push_row(V::row(&columns, at).filter(|_| passes(filter, at)));
        }
        Ok(states.finish())
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<V>() + self.heap
    }
}

pub(super) fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}
