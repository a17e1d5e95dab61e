//! `min` and `max` of doubles by group in the one order that sorting and comparing have, where NaN is the greatest.
//!
//! DataFusion's own compares with `<`, which is never true of NaN: what it finds in a group with NaN depends on the order of rows.

use datafusion::common::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
    Signature, StatisticsArgs,
};
use datafusion::scalar::ScalarValue;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;
use std::cmp::Ordering;
use std::sync::Arc;

use arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef, Float32Type, Float64Type};

/// DataFusion's `min` or `max`, with another order by group.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Extreme {
    inner: Arc<AggregateUDF>,
    is_max: bool,
}

impl Extreme {
    /// `None` of other aggregates.
    pub(super) fn of(inner: &Arc<AggregateUDF>) -> Option<Self> {
        let is_max = match inner.name() {
            "max" => true,
            "min" => false,
            _ => return None,
        };
        Some(Extreme { inner: Arc::clone(inner), is_max })
    }

    fn by_group<T>(&self, data_type: &DataType, last: T::Native, of: fn(&T::Native, &T::Native) -> Ordering) -> Groups
    where
        T: ArrowPrimitiveType + Send,
    {
        let wanted = if self.is_max { Ordering::Greater } else { Ordering::Less };
        let keep = move |kept: &mut T::Native, value: T::Native| {
            if of(&value, kept) == wanted {
                *kept = value;
            }
        };
        Box::new(PrimitiveGroupsAccumulator::<T, _>::new(data_type, keep).with_starting_value(last))
    }
}

type Groups = Box<dyn GroupsAccumulator>;

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Groups> {
        // The last of the order, before which every value comes: for `max` the least, which is a negative NaN with all bits.
        match args.return_field.data_type() {
            DataType::Float64 => {
                let last = f64::from_bits(if self.is_max { u64::MAX } else { u64::MAX >> 1 });
                Ok(self.by_group::<Float64Type>(&DataType::Float64, last, f64::total_cmp))
            }
            DataType::Float32 => {
                let last = f32::from_bits(if self.is_max { u32::MAX } else { u32::MAX >> 1 });
                Ok(self.by_group::<Float32Type>(&DataType::Float32, last, f32::total_cmp))
            }
            _ => self.inner.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn value_from_stats(&self, _: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        None
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
