//! `sum`, `avg`, `var`, `stddev`, `covar`, `corr` and the `regr_` functions that do not depend on the order of rows, and never leave their type in silence.
//!
//! Addition of floating point numbers is not associative, so an ordinary sum depends on how rows are spread over files, batches and threads.
//! A table with such a column would get another digest on a machine with more cores, after a spill, or when it is built incrementally. These
//! aggregates take the place of DataFusion's for doubles: the sum is exact and rounded once (`total`, `sum`), so it is a function of the values.
//! A sum of whole numbers or decimals that does not fit its type is an error (`whole`). `min` and `max` have the order of a sort (`extreme`). Other types are passed on to DataFusion's own.

mod accumulate;
mod distinct;
mod extreme;
mod pair;
mod single;
mod sum;
mod total;
mod whole;

use accumulate::{One, PerGroup, Values};
use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Operator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs, TypeSignature,
};
use datafusion::scalar::ScalarValue;
use distinct::Distinct;
use extreme::Extreme;
use pair::{Pair, Pairs};
use single::{Column, Single};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};

/// What is made of the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Single(Single),
    Pair(Pair),
}

impl Kind {
    fn of(name: &str) -> Option<Kind> {
        Some(Kind::Single(match name {
            "sum" => Single::Sum,
            "avg" => Single::Mean,
            "var" => Single::Variance { is_sample: true },
            "var_pop" => Single::Variance { is_sample: false },
            "stddev" => Single::Deviation { is_sample: true },
            "stddev_pop" => Single::Deviation { is_sample: false },
            _ => return Pair::of(name).map(Kind::Pair),
        }))
    }

    /// How many sums of doubles are kept.
    fn sums(self) -> usize {
        match self {
            Kind::Single(kind) => Column::sums(kind),
            Kind::Pair(kind) => Pairs::sums(kind),
        }
    }
}

/// Puts the exact aggregates into the place of those with the same names.
pub(crate) fn register(state: &mut SessionState) -> Result<()> {
    let mut found: Vec<Arc<AggregateUDF>> = state.aggregate_functions().values().cloned().collect();
    found.sort_by(|a, b| a.name().cmp(b.name()));
    found.dedup_by(|a, b| a.name() == b.name());
    for inner in found {
        let by = Kind::of(inner.name()).map(By::Sums).or_else(|| Extreme::of(inner.name()).map(By::Order));
        if let Some(by) = by {
            state.register_udaf(Arc::new(AggregateUDF::new_from_impl(Exact::new(inner, by))))?;
        }
    }
    Ok(())
}

/// An aggregate of DataFusion with other sums, or in another order by group.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Exact {
    inner: Arc<AggregateUDF>,
    by: By,
    signature: Signature,
}

/// What of an aggregate is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum By {
    Sums(Kind),
    Order(Extreme),
}

/// Who adds up.
#[derive(Debug, Clone, PartialEq)]
enum Way {
    /// Exact sums of doubles.
    Doubles(Kind),
    /// Sums of whole numbers or decimals of this type that cannot leave it unseen.
    Whole(DataType),
}

impl Way {
    /// `None` where DataFusion's own does.
    fn of(kind: Kind, is_distinct: bool, inputs: &[FieldRef]) -> Option<Way> {
        let are_doubles = inputs.iter().all(|input| input.data_type() == &DataType::Float64);
        match (kind, inputs) {
            (Kind::Single(Single::Sum | Single::Mean), [_]) if are_doubles => Some(Way::Doubles(kind)),
            (_, [_] | [_, _]) if are_doubles && !is_distinct => Some(Way::Doubles(kind)),
            (Kind::Single(Single::Sum), [input]) if whole::can_overflow(input.data_type()) => {
                Some(Way::Whole(input.data_type().clone()))
            }
            _ => None,
        }
    }

    fn one(&self) -> Box<dyn Accumulator> {
        match self {
            Way::Doubles(Kind::Single(kind)) => Box::new(One::<Column>::new(*kind)),
            Way::Doubles(Kind::Pair(kind)) => Box::new(One::<Pairs>::new(*kind)),
            Way::Whole(data_type) => whole::one(data_type),
        }
    }

    fn per_group(&self) -> Box<dyn GroupsAccumulator> {
        match self {
            Way::Doubles(Kind::Single(kind)) => Box::new(PerGroup::<Column>::new(*kind)),
            Way::Doubles(Kind::Pair(kind)) => Box::new(PerGroup::<Pairs>::new(*kind)),
            Way::Whole(data_type) => whole::per_group(data_type),
        }
    }
}

impl Exact {
    fn new(inner: Arc<AggregateUDF>, by: By) -> Self {
        let signature = Signature { type_signature: TypeSignature::UserDefined, ..inner.signature().clone() };
        Exact { inner, by, signature }
    }

    /// Whether an argument of this type is taken as it is, beyond doubt. Typing asks many times, and DataFusion tries all that a sum takes each
    /// time, with an error in words for each that it is not.
    fn takes(&self, data_type: &DataType) -> bool {
        let By::Sums(Kind::Single(kind)) = self.by else { return false };
        match data_type {
            DataType::Int64 | DataType::UInt64 => kind == Single::Sum,
            DataType::Float64 | DataType::Decimal128(..) => matches!(kind, Single::Sum | Single::Mean),
            _ => false,
        }
    }

    /// Who adds up, when that is not DataFusion's own.
    fn way(&self, is_distinct: bool, inputs: &[FieldRef]) -> Option<Way> {
        match self.by {
            By::Sums(kind) => Way::of(kind, is_distinct, inputs),
            By::Order(_) => None,
        }
    }
}

impl AggregateUDFImpl for Exact {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
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
        if let [data_type] = types
            && self.takes(data_type)
        {
            return Ok(types.to_vec());
        }
        if self.inner.signature().type_signature == TypeSignature::UserDefined {
            return self.inner.coerce_types(types);
        }
        let argument = |data_type: &DataType| Arc::new(Field::new("argument", data_type.clone(), true));
        let arguments: Vec<FieldRef> = types.iter().map(argument).collect();
        let taken = fields_with_udf(&arguments, self.inner.as_ref())?;
        Ok(taken.iter().map(|field| field.data_type().clone()).collect())
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let way = self.way(args.is_distinct, args.input_fields).filter(|_| !args.is_distinct);
        let field = |part: &str, data_type| Arc::new(Field::new(format_state_name(args.name, part), data_type, true));
        match way {
            None => self.inner.state_fields(args),
            Some(Way::Whole(data_type)) => Ok(vec![field("sum", whole::state_type(&data_type))]),
            Some(Way::Doubles(kind)) => {
                let sum = |at: usize| field(&format!("sum {at}"), DataType::Binary);
                Ok(std::iter::once(field("count", DataType::UInt64)).chain((0..kind.sums()).map(sum)).collect())
            }
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match self.way(args.is_distinct, args.expr_fields) {
            None => self.inner.accumulator(args),
            Some(way) if args.is_distinct => Ok(Box::new(Distinct::new(self.inner.accumulator(args)?, way))),
            Some(way) => Ok(way.one()),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match self.way(args.is_distinct, args.expr_fields) {
            Some(way) if !args.is_distinct => Ok(way.one()),
            _ => self.inner.create_sliding_accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        match self.way(args.is_distinct, args.expr_fields) {
            Some(_) => !args.is_distinct,
            None => self.inner.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match self.way(args.is_distinct, args.expr_fields) {
            Some(way) => Ok(way.per_group()),
            None => match self.by {
                By::Order(extreme) => extreme.by_group(&self.inner, args),
                By::Sums(_) => self.inner.create_groups_accumulator(args),
            },
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    /// DataFusion makes `sum(x) + c * count(x)` of `sum(x + c)`: for doubles another number, for others one that overflows where this does not.
    fn simplify_expr_op_literal(
        &self,
        _: &AggregateFunction,
        _: &Expr,
        _: Operator,
        _: &Expr,
        _: bool,
    ) -> Result<Option<Expr>> {
        Ok(None)
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::TimeUnit;
    use datafusion::execution::SessionStateBuilder;

    #[test]
    fn arguments_are_taken_as_datafusion_takes_them() {
        let state = SessionStateBuilder::new().with_default_features().build();
        let types = [
            DataType::Int8,
            DataType::Int32,
            DataType::Int64,
            DataType::UInt16,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::Utf8,
            DataType::Boolean,
            DataType::Date32,
            DataType::Null,
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Duration(TimeUnit::Second),
        ];
        let decimals =
            (1..=38).flat_map(|digits| (0..=digits as i8).map(move |scale| DataType::Decimal128(digits, scale)));
        let types: Vec<DataType> = types.into_iter().chain(decimals).collect();
        let mut compared = 0;
        for inner in state.aggregate_functions().values() {
            let by = Kind::of(inner.name()).map(By::Sums).or_else(|| Extreme::of(inner.name()).map(By::Order));
            let Some(by) = by else { continue };
            let ours = AggregateUDF::new_from_impl(Exact::new(inner.clone(), by));
            for data_type in &types {
                for count in 1..=2 {
                    let argument = Arc::new(Field::new("a", data_type.clone(), true));
                    let arguments: Vec<FieldRef> = (0..count).map(|_| argument.clone()).collect();
                    let wanted = fields_with_udf(&arguments, inner.as_ref());
                    let found = fields_with_udf(&arguments, &ours);
                    assert_eq!(found.is_ok(), wanted.is_ok(), "{} of {count} {data_type}", inner.name());
                    assert_eq!(found.ok(), wanted.ok(), "{} of {count} {data_type}", inner.name());
                    compared += 1;
                }
            }
        }
        assert!(compared > 10_000, "{compared}");
    }
}
