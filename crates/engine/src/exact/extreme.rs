//! `min` and `max` of doubles by group in the one order that sorting and comparing have, where NaN is the greatest.
//!
//! DataFusion's own compares with `<`, which is never true of NaN: what it finds in a group with NaN depends on the order of rows.

use datafusion::common::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{AggregateUDF, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;
use std::cmp::Ordering;

use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};

/// `min` or `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Extreme {
    is_max: bool,
}

impl Extreme {
    /// `None` of other aggregates.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "max" => Some(Extreme { is_max: true }),
            "min" => Some(Extreme { is_max: false }),
            _ => None,
        }
    }

    /// The accumulator of many groups: ours of doubles, else that of `inner`, which is DataFusion's aggregate.
    pub(super) fn by_group(
        self,
        inner: &AggregateUDF,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        // The last of the order, before which every value comes: for `max` the least, which is a negative NaN with all bits.
        match args.return_field.data_type() {
            DataType::Float64 => {
                let last = f64::from_bits(if self.is_max { u64::MAX } else { u64::MAX >> 1 });
                Ok(self.ordered::<Float64Type>(&DataType::Float64, last, f64::total_cmp))
            }
            DataType::Float32 => {
                let last = f32::from_bits(if self.is_max { u32::MAX } else { u32::MAX >> 1 });
                Ok(self.ordered::<Float32Type>(&DataType::Float32, last, f32::total_cmp))
            }
            _ => inner.create_groups_accumulator(args),
        }
    }

    fn ordered<T>(
        self,
        data_type: &DataType,
        last: T::Native,
        of: fn(&T::Native, &T::Native) -> Ordering,
    ) -> Box<dyn GroupsAccumulator>
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
