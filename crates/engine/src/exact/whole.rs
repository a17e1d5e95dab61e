//! Accumulators of sums of whole numbers and decimals that say when the sum does not fit its type, where DataFusion's begin again at the other end.
//!
//! A sum is kept in a type that no number of rows can leave, and is looked at only when it is asked for, so neither the order of rows nor
//! what is added up on the way makes a difference. A state is that sum, and null where there was no value.

use super::accumulate::passes;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;
use pelton_query::QueryError;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, DecimalType,
    Int64Type, UInt64Type, i256,
};

/// The sum of values of `data_type`, one of those that [`can_overflow`].
pub(super) fn one(data_type: &DataType) -> Box<dyn Accumulator> {
    match data_type {
        DataType::Int64 => Box::new(One::<Int64Type>::new(data_type)),
        DataType::UInt64 => Box::new(One::<UInt64Type>::new(data_type)),
        _ => Box::new(One::<Decimal128Type>::new(data_type)),
    }
}

/// As [`one`], for many groups at once.
pub(super) fn per_group(data_type: &DataType) -> Box<dyn GroupsAccumulator> {
    match data_type {
        DataType::Int64 => Box::new(PerGroup::<Int64Type>::new(data_type)),
        DataType::UInt64 => Box::new(PerGroup::<UInt64Type>::new(data_type)),
        _ => Box::new(PerGroup::<Decimal128Type>::new(data_type)),
    }
}

/// Whether DataFusion's own sum of this type can leave it. It gives a sum of decimals ten digits more than its values have: ten thousand
/// million rows, where there is room for ten more.
pub(super) fn can_overflow(data_type: &DataType) -> bool {
    const DIGITS_MORE: u8 = 10;
    match data_type {
        DataType::Int64 | DataType::UInt64 => true,
        DataType::Decimal128(precision, _) => *precision > DECIMAL128_MAX_PRECISION - DIGITS_MORE,
        _ => false,
    }
}

/// The type of the state of a sum.
pub(super) fn state_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Decimal128(_, scale) => DataType::Decimal256(DECIMAL256_MAX_PRECISION, *scale),
        _ => DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0),
    }
}

/// A type of numbers, and one that holds the sum of more of them than there can be rows.
trait Whole: ArrowPrimitiveType + Debug {
    type Wide: ArrowPrimitiveType + Debug;

    fn widen(value: Self::Native) -> <Self::Wide as ArrowPrimitiveType>::Native;

    /// `None` where the sum is none of the values of `data_type`.
    fn narrow(sum: <Self::Wide as ArrowPrimitiveType>::Native, data_type: &DataType) -> Option<Self::Native>;
}

type Wide<T> = <<T as Whole>::Wide as ArrowPrimitiveType>::Native;

impl Whole for Int64Type {
    type Wide = Decimal128Type;

    fn widen(value: i64) -> i128 {
        i128::from(value)
    }

    fn narrow(sum: i128, _: &DataType) -> Option<i64> {
        i64::try_from(sum).ok()
    }
}

impl Whole for UInt64Type {
    type Wide = Decimal128Type;

    fn widen(value: u64) -> i128 {
        i128::from(value)
    }

    fn narrow(sum: i128, _: &DataType) -> Option<u64> {
        u64::try_from(sum).ok()
    }
}

impl Whole for Decimal128Type {
    type Wide = Decimal256Type;

    fn widen(value: i128) -> i256 {
        i256::from_i128(value)
    }

    fn narrow(sum: i256, data_type: &DataType) -> Option<i128> {
        let DataType::Decimal128(precision, _) = data_type else { return None };
        sum.to_i128().filter(|sum| Decimal128Type::is_valid_decimal_precision(*sum, *precision))
    }
}

fn narrow<T: Whole>(sum: Wide<T>, data_type: &DataType) -> Result<T::Native> {
    T::narrow(sum, data_type).ok_or_else(|| {
        let message = match data_type {
            DataType::Decimal128(precision, _) => format!("a sum has more than the {precision} digits of its type"),
            _ => "a sum is above what `bigint` holds; write `sum(cast(x as decimal(38, 0)))`".to_string(),
        };
        DataFusionError::External(Box::new(QueryError::Value { message }))
    })
}

/// Sums as a column of the type that holds them.
fn states<T: Whole>(sums: Vec<Option<Wide<T>>>, data_type: &DataType) -> ArrayRef {
    let sums: PrimitiveArray<T::Wide> = sums.into_iter().collect();
    Arc::new(sums.with_data_type(state_type(data_type)))
}

/// The type of a sum of values of this type.
fn sum_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Decimal128(_, scale) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale),
        other => other.clone(),
    }
}

/// The sum of one group, from which values can be taken away again.
#[derive(Debug)]
struct One<T: Whole> {
    data_type: DataType,
    sum: Wide<T>,
    /// How many values are in it.
    count: u64,
}

impl<T: Whole> One<T> {
    fn new(data_type: &DataType) -> Self {
        One { data_type: sum_type(data_type), sum: Wide::<T>::ZERO, count: 0 }
    }
}

/// The values of a column together, and how many there are.
fn total<T: Whole>(column: &ArrayRef) -> (Wide<T>, u64) {
    let column = column.as_primitive::<T>();
    let add = |sum: Wide<T>, value: T::Native| sum.add_wrapping(T::widen(value));
    let sum = match column.null_count() {
        0 => column.values().iter().fold(Wide::<T>::ZERO, |sum, value| add(sum, *value)),
        _ => column.iter().flatten().fold(Wide::<T>::ZERO, add),
    };
    (sum, (column.len() - column.null_count()) as u64)
}

impl<T: Whole> Accumulator for One<T> {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let (sum, count) = total::<T>(&columns[0]);
        self.sum = self.sum.add_wrapping(sum);
        self.count += count;
        Ok(())
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let (sum, count) = total::<T>(&columns[0]);
        self.sum = self.sum.sub_wrapping(sum);
        self.count -= count;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for sum in states[0].as_primitive::<T::Wide>().iter().flatten() {
            self.sum = self.sum.add_wrapping(sum);
            self.count += 1;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let state = states::<T>(vec![(self.count > 0).then_some(self.sum)], &self.data_type);
        Ok(vec![ScalarValue::try_from_array(&state, 0)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = (self.count > 0).then(|| narrow::<T>(self.sum, &self.data_type)).transpose()?;
        ScalarValue::new_primitive::<T>(sum, &self.data_type)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sums of many groups.
#[derive(Debug)]
struct PerGroup<T: Whole> {
    data_type: DataType,
    sums: Vec<Wide<T>>,
    /// Which groups have a value.
    is_met: Vec<bool>,
}

impl<T: Whole> PerGroup<T> {
    fn new(data_type: &DataType) -> Self {
        PerGroup { data_type: sum_type(data_type), sums: Vec::new(), is_met: Vec::new() }
    }

    fn grow(&mut self, total: usize) {
        self.sums.resize(total, Wide::<T>::ZERO);
        self.is_met.resize(total, false);
    }

    #[inline]
    fn add(&mut self, group: usize, value: Wide<T>) {
        self.sums[group] = self.sums[group].add_wrapping(value);
        self.is_met[group] = true;
    }

    fn emit(&mut self, emit_to: EmitTo) -> impl Iterator<Item = Option<Wide<T>>> {
        let is_met = emit_to.take_needed(&mut self.is_met);
        emit_to.take_needed(&mut self.sums).into_iter().zip(is_met).map(|(sum, is_met)| is_met.then_some(sum))
    }
}

impl<T: Whole> GroupsAccumulator for PerGroup<T> {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        let values = columns[0].as_primitive::<T>();
        if values.null_count() == 0 && filter.is_none() {
            for (value, group) in values.values().iter().zip(groups) {
                self.add(*group, T::widen(*value));
            }
            return Ok(());
        }
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) && passes(filter, row) {
                self.add(*group, T::widen(values.value(row)));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        for (sum, group) in states[0].as_primitive::<T::Wide>().iter().zip(groups) {
            if let Some(sum) = sum {
                self.add(*group, sum);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let data_type = self.data_type.clone();
        let sums = self.emit(emit_to).map(|sum| sum.map(|sum| narrow::<T>(sum, &data_type)).transpose());
        let sums = sums.collect::<Result<PrimitiveArray<T>>>()?;
        Ok(Arc::new(sums.with_data_type(data_type)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let sums = self.emit(emit_to).collect();
        Ok(vec![states::<T>(sums, &self.data_type)])
    }

    fn convert_to_state(&self, columns: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = columns[0].as_primitive::<T>();
        let sum = |row: usize| (values.is_valid(row) && passes(filter, row)).then(|| T::widen(values.value(row)));
        Ok(vec![states::<T>((0..values.len()).map(sum).collect(), &self.data_type)])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<Wide<T>>() + self.is_met.capacity()
    }
}
