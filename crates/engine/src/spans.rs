//! Spans of time are compared by their length.
//!
//! DataFusion compares intervals by their months, then their days, then the rest, so 48 hours are less than a day, and `now() - at > interval '1
//! day'` is false for every row. Here a comparison of spans is one of their nanoseconds, as numbers that no span is too long for.

use crate::walk;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result, exec_err};
use datafusion::functions::utils::make_scalar_function;
use datafusion::logical_expr::expr::{Cast, InList};
use datafusion::logical_expr::{
    Between, BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use pelton_query::QueryError;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, TimeUnit,
};

/// What is said of a comparison with months.
pub(crate) const MONTHS: &str =
    "a month has no fixed length, so no span is longer or shorter; write days, as `interval '30 days'`";

/// The plan, analyzed, with all comparisons of spans by their length.
pub(crate) fn of_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    // An interval is written, or made of what is compared with one.
    match walk::any(&plan, is_interval_itself)? {
        true => walk::changed(plan, is_compared, of_expression),
        false => Ok(plan),
    }
}

fn is_compared(part: &Expr) -> bool {
    match part {
        Expr::BinaryExpr(BinaryExpr { op, .. }) => is_comparison(*op),
        Expr::Between(_) | Expr::InList(_) => true,
        _ => false,
    }
}

fn is_interval_itself(part: &Expr) -> bool {
    match part {
        Expr::Literal(value, _) => matches!(value.data_type(), DataType::Interval(_)),
        Expr::Cast(Cast { field, .. }) => matches!(field.data_type(), DataType::Interval(_)),
        _ => false,
    }
}

/// An expression over `scope`, its types resolved, with its comparisons of spans by their length.
pub(crate) fn of_expression(expr: Expr, scope: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|part| {
        let is_interval =
            |value: &Expr| Ok::<_, DataFusionError>(matches!(value.get_type(scope)?, DataType::Interval(_)));
        let length = |value: Expr| length(value, scope);
        Ok(match part {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) && is_interval(&left)? => {
                let (left, right) = (Box::new(length(*left)?), Box::new(length(*right)?));
                Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
            Expr::Between(Between { expr, negated, low, high }) if is_interval(&expr)? => {
                let (expr, low, high) = (length(*expr)?, length(*low)?, length(*high)?);
                Transformed::yes(Expr::Between(Between::new(Box::new(expr), negated, Box::new(low), Box::new(high))))
            }
            Expr::InList(InList { expr, list, negated }) if is_interval(&expr)? => {
                let list = list.into_iter().map(length).collect::<Result<Vec<_>>>()?;
                Transformed::yes(Expr::InList(InList { expr: Box::new(length(*expr)?), list, negated }))
            }
            other => Transformed::no(other),
        })
    })
}

pub(crate) fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// The length of a span; a difference of times is taken as it is, because as an interval it may be too long.
fn length(span: Expr, scope: &DFSchema) -> Result<Expr> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Length(Signature::any(1, Volatility::Immutable)))));
    let span = match span {
        Expr::Cast(Cast { expr, field }) if matches!(expr.get_type(scope)?, DataType::Duration(_)) => {
            debug_assert!(matches!(field.data_type(), DataType::Interval(_)), "spans are compared as intervals");
            *expr
        }
        other => other,
    };
    Ok(FUNCTION.call(vec![span]))
}

/// The nanoseconds of a span.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Length(Signature);

impl ScalarUDFImpl for Length {
    fn name(&self) -> &str {
        "pelton_length"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(38, 0))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        make_scalar_function(|spans| Ok(Arc::new(lengths(&spans[0])?) as ArrayRef), Vec::new())(&args.args)
    }
}

fn lengths(spans: &ArrayRef) -> Result<Decimal128Array> {
    const DAY: i128 = 86_400_000_000_000;
    let months = || DataFusionError::External(Box::new(QueryError::Value { message: MONTHS.into() }));
    let unit = |unit: i128| move |length: i64| Ok(i128::from(length) * unit);
    let lengths = match spans.data_type() {
        DataType::Null => Decimal128Array::new_null(spans.len()),
        DataType::Duration(TimeUnit::Second) => each::<DurationSecondType>(spans, unit(1_000_000_000))?,
        DataType::Duration(TimeUnit::Millisecond) => each::<DurationMillisecondType>(spans, unit(1_000_000))?,
        DataType::Duration(TimeUnit::Microsecond) => each::<DurationMicrosecondType>(spans, unit(1_000))?,
        DataType::Duration(TimeUnit::Nanosecond) => each::<DurationNanosecondType>(spans, unit(1))?,
        DataType::Interval(IntervalUnit::DayTime) => each::<IntervalDayTimeType>(spans, |span| {
            Ok(i128::from(span.days) * DAY + i128::from(span.milliseconds) * 1_000_000)
        })?,
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            each::<IntervalMonthDayNanoType>(spans, |span| match span.months {
                0 => Ok(i128::from(span.days) * DAY + i128::from(span.nanoseconds)),
                _ => Err(months()),
            })?
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            each::<IntervalYearMonthType>(spans, |span| if span == 0 { Ok(0) } else { Err(months()) })?
        }
        other => return exec_err!("{other} is no span of time"),
    };
    Ok(lengths.with_precision_and_scale(38, 0)?)
}

fn each<T: ArrowPrimitiveType>(
    spans: &ArrayRef,
    length: impl Fn(T::Native) -> Result<i128>,
) -> Result<Decimal128Array> {
    spans.as_primitive::<T>().iter().map(|span| span.map(&length).transpose()).collect()
}
