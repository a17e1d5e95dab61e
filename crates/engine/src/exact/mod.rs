//! `sum`, `avg`, `var` and `stddev` of doubles that do not depend on the order of rows.
//!
//! Addition of floating point numbers is not associative, so an ordinary sum depends on how rows are spread over files, batches and threads.
//! A table with such a column would get another digest on a machine with more cores, after a spill, or when it is built incrementally. These
//! aggregates take the place of DataFusion's for doubles: the sum is exact and rounded once (`total`, `sum`), so it is a function of the values.
//! Everything else (other types, `distinct`) is passed on to DataFusion's own.

mod accumulate;
mod sum;
mod total;

use accumulate::{One, PerGroup};
use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Operator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};

/// What is made of the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    Mean,
    Variance { is_sample: bool },
    Deviation { is_sample: bool },
}

impl Kind {
    fn of(name: &str) -> Option<Kind> {
        Some(match name {
            "sum" => Kind::Sum,
            "avg" => Kind::Mean,
            "var" => Kind::Variance { is_sample: true },
            "var_pop" => Kind::Variance { is_sample: false },
            "stddev" => Kind::Deviation { is_sample: true },
            "stddev_pop" => Kind::Deviation { is_sample: false },
            _ => return None,
        })
    }

    fn has_squares(self) -> bool {
        matches!(self, Kind::Variance { .. } | Kind::Deviation { .. })
    }
}

/// Puts the exact aggregates into the place of those with the same names.
pub(crate) fn register(state: &mut SessionState) -> Result<()> {
    let mut found: Vec<Arc<AggregateUDF>> = state.aggregate_functions().values().cloned().collect();
    found.sort_by(|a, b| a.name().cmp(b.name()));
    found.dedup_by(|a, b| a.name() == b.name());
    for inner in found {
        if let Some(kind) = Kind::of(inner.name()) {
            state.register_udaf(Arc::new(AggregateUDF::new_from_impl(Exact { inner, kind })))?;
        }
    }
    Ok(())
}

/// An aggregate of DataFusion that is exact for doubles.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Exact {
    inner: Arc<AggregateUDF>,
    kind: Kind,
}

impl Exact {
    fn is_ours(&self, args: &AccumulatorArgs<'_>) -> bool {
        ours(args.is_distinct, args.expr_fields)
    }
}

fn ours(is_distinct: bool, inputs: &[FieldRef]) -> bool {
    !is_distinct && matches!(inputs, [input] if input.data_type() == &DataType::Float64)
}

impl AggregateUDFImpl for Exact {
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
        if !ours(args.is_distinct, args.input_fields) {
            return self.inner.state_fields(args);
        }
        let field = |part: &str, data_type| Arc::new(Field::new(format_state_name(args.name, part), data_type, true));
        let mut fields = vec![field("count", DataType::UInt64), field("sum", DataType::Binary)];
        if self.kind.has_squares() {
            fields.push(field("squares", DataType::Binary));
        }
        Ok(fields)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if !self.is_ours(&args) {
            return self.inner.accumulator(args);
        }
        Ok(Box::new(One::new(self.kind)))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if !self.is_ours(&args) {
            return self.inner.create_sliding_accumulator(args);
        }
        Ok(Box::new(One::new(self.kind)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.is_ours(&args) || self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        if !self.is_ours(&args) {
            return self.inner.create_groups_accumulator(args);
        }
        Ok(Box::new(PerGroup::new(self.kind)))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    /// DataFusion makes `sum(x) + c * count(x)` of `sum(x + c)`, which for doubles is another number.
    fn simplify_expr_op_literal(
        &self,
        function: &AggregateFunction,
        arg: &Expr,
        operator: Operator,
        literal: &Expr,
        arg_is_left: bool,
    ) -> Result<Option<Expr>> {
        match literal {
            Expr::Literal(value, _) if value.data_type().is_floating() => Ok(None),
            _ => self.inner.simplify_expr_op_literal(function, arg, operator, literal, arg_is_left),
        }
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        match args.return_type {
            DataType::Float64 => None,
            _ => self.inner.value_from_stats(args),
        }
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
