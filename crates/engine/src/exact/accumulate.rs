//! Accumulators over exact sums: for one group and for windows ([`One`]), and for many groups at once ([`PerGroup`]).
//!
//! Both pass the same state on: how many values there were, their sum, and where the variance asks for it the sum of their squares.

use super::Kind;
use super::sum::variance;
use super::total::{Squares, Total};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array, UInt64Array};
use arrow::datatypes::{Float64Type, UInt64Type};

/// The values of one group.
#[derive(Debug, Clone, Default)]
struct Values {
    count: u64,
    sum: Total<0>,
    /// The sum of their squares, for the variance.
    squares: Option<Box<Squares>>,
}

impl Values {
    #[inline]
    fn add(&mut self, kind: Kind, value: f64) {
        self.count += 1;
        self.sum.add(value);
        if kind.has_squares() {
            self.squares.get_or_insert_default().add_square(value);
        }
    }

    fn take(&mut self, kind: Kind, value: f64) {
        self.count -= 1;
        self.sum.take(value);
        if kind.has_squares() {
            self.squares.get_or_insert_default().take_square(value);
        }
    }

    /// Adds row `row` of a state.
    fn merge(&mut self, kind: Kind, state: &[ArrayRef], row: usize) -> Result<()> {
        let part = |at: usize| state[at].as_binary::<i32>().value(row);
        self.count += state[0].as_primitive::<UInt64Type>().value(row);
        let is_read = self.sum.merge(part(1));
        if is_read && (!kind.has_squares() || self.squares.get_or_insert_default().merge(part(2))) {
            return Ok(());
        }
        internal_err!("the state of an exact sum cannot be read")
    }

    fn result(&self, kind: Kind) -> Option<f64> {
        let variance = |is_sample| variance(self.count, &self.sum.whole(), &self.squares.as_ref()?.whole(), is_sample);
        match kind {
            _ if self.count == 0 => None,
            Kind::Sum => Some(self.sum.value()),
            Kind::Mean => Some(self.sum.value() / self.count as f64),
            Kind::Variance { is_sample } => variance(is_sample),
            Kind::Deviation { is_sample } => variance(is_sample).map(f64::sqrt),
        }
    }

    fn heap(&self) -> usize {
        self.sum.heap() + self.squares.as_ref().map_or(0, |squares| size_of::<Squares>() + squares.heap())
    }
}

/// Writes the states of groups as columns.
struct States {
    kind: Kind,
    counts: Vec<u64>,
    sums: BinaryBuilder,
    squares: BinaryBuilder,
    bytes: Vec<u8>,
}

impl States {
    fn new(kind: Kind, groups: usize) -> Self {
        let bytes = || BinaryBuilder::with_capacity(groups, 16 * groups);
        States { kind, counts: Vec::with_capacity(groups), sums: bytes(), squares: bytes(), bytes: Vec::new() }
    }

    fn push(&mut self, values: &Values) {
        self.counts.push(values.count);
        self.bytes.clear();
        values.sum.to_bytes(&mut self.bytes);
        self.sums.append_value(&self.bytes);
        if self.kind.has_squares() {
            self.bytes.clear();
            values.squares.as_deref().unwrap_or(&Squares::default()).to_bytes(&mut self.bytes);
            self.squares.append_value(&self.bytes);
        }
    }

    /// The state of one value, which is its own sum, or of none.
    fn push_value(&mut self, value: Option<f64>) {
        self.counts.push(u64::from(value.is_some()));
        let value = value.unwrap_or(0.0);
        self.sums.append_value(value.to_le_bytes());
        if self.kind.has_squares() {
            let mut square = Squares::default();
            square.add_square(value);
            self.bytes.clear();
            square.to_bytes(&mut self.bytes);
            self.squares.append_value(&self.bytes);
        }
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(self.counts)), Arc::new(self.sums.finish())];
        if self.kind.has_squares() {
            columns.push(Arc::new(self.squares.finish()));
        }
        columns
    }
}

/// The aggregate of one group, from which values can be taken away again.
#[derive(Debug)]
pub(super) struct One {
    kind: Kind,
    values: Values,
}

impl One {
    pub(super) fn new(kind: Kind) -> Self {
        One { kind, values: Values::default() }
    }
}

impl Accumulator for One {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        for value in columns[0].as_primitive::<Float64Type>().iter().flatten() {
            self.values.add(self.kind, value);
        }
        Ok(())
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        for value in columns[0].as_primitive::<Float64Type>().iter().flatten() {
            self.values.take(self.kind, value);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        (0..states[0].len()).try_for_each(|row| self.values.merge(self.kind, states, row))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut states = States::new(self.kind, 1);
        states.push(&self.values);
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
pub(super) struct PerGroup {
    kind: Kind,
    groups: Vec<Values>,
    /// Bytes that the groups have on the heap. Asked for after each batch, so it is kept instead of counted.
    heap: usize,
}

impl PerGroup {
    pub(super) fn new(kind: Kind) -> Self {
        PerGroup { kind, groups: Vec::new(), heap: 0 }
    }

    /// Changes a group, and keeps count of its bytes.
    #[inline]
    fn change(&mut self, group: usize, change: impl FnOnce(&mut Values) -> Result<()>) -> Result<()> {
        let values = &mut self.groups[group];
        let before = values.heap();
        change(values)?;
        self.heap += values.heap() - before;
        Ok(())
    }

    fn emit(&mut self, emit_to: EmitTo) -> Vec<Values> {
        let emitted = emit_to.take_needed(&mut self.groups);
        self.heap -= emitted.iter().map(Values::heap).sum::<usize>();
        emitted
    }
}

impl GroupsAccumulator for PerGroup {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.groups.resize_with(total, Values::default);
        let (kind, values) = (self.kind, columns[0].as_primitive::<Float64Type>());
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) && passes(filter, row) {
                self.change(*group, |group| {
                    group.add(kind, values.value(row));
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups.resize_with(total, Values::default);
        let kind = self.kind;
        for (row, group) in groups.iter().enumerate() {
            self.change(*group, |group| group.merge(kind, states, row))?;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let kind = self.kind;
        Ok(Arc::new(self.emit(emit_to).iter().map(|values| values.result(kind)).collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let emitted = self.emit(emit_to);
        let mut states = States::new(self.kind, emitted.len());
        emitted.iter().for_each(|values| states.push(values));
        Ok(states.finish())
    }

    fn convert_to_state(&self, columns: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = columns[0].as_primitive::<Float64Type>();
        let mut states = States::new(self.kind, values.len());
        for row in 0..values.len() {
            states.push_value((values.is_valid(row) && passes(filter, row)).then(|| values.value(row)));
        }
        Ok(states.finish())
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Values>() + self.heap
    }
}

fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}
