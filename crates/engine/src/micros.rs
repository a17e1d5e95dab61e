//! Times in microseconds where DataFusion has nanoseconds, which reach from 1677 to 2262 alone.
//!
//! A time column is of microseconds, a literal and `at time zone` of nanoseconds: `coalesce(valid_to, timestamp '9999-12-31')` could not be
//! written, and `valid_to >= '2026-01-01'` failed at the first row of another age. A plan whose times have no digits beyond microseconds is
//! run in these. One that has such digits, or may have them, stays as it is.

use crate::walk::{self, scope_of};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Union,
    Values, Volatility,
};
use std::cell::LazyCell;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};

/// The functions of times that take any digits.
const TAKE_ANY: &[&str] = &[
    "coalesce",
    "date_bin",
    "date_part",
    "date_trunc",
    "greatest",
    "least",
    "nullif",
    "nvl",
    "nvl2",
    "to_char",
    "to_local_time",
    "to_unixtime",
];

/// The plan, analyzed, with times of microseconds if it loses nothing by that and there is something to be gained.
pub(crate) fn of_plan(plan: LogicalPlan) -> LogicalPlan {
    // Most plans have nothing that is made one of nanoseconds, and need no look at what they are made of.
    if !walk::any(&plan, is_cast).unwrap_or(false) {
        return plan;
    }
    let mut look = Look::default();
    let is_seen = plan.apply_with_subqueries(|node| {
        look.node(node)?;
        Ok(TreeNodeRecursion::Continue)
    });
    if is_seen.is_err() || !look.is_worth_it() {
        return if look.has_digits { as_they_are(plan.clone()).unwrap_or(plan) } else { plan };
    }
    let wanted: Vec<DataType> = plan.schema().fields().iter().map(|field| cut(field.data_type())).collect();
    match plan.clone().transform_up_with_subqueries(|node| Ok(Transformed::yes(converted(node)?))) {
        // What was not understood above has types of its own.
        Ok(done) if done.data.schema().fields().iter().map(|field| field.data_type()).eq(&wanted) => done.data,
        _ => plan,
    }
}

/// Whether an expression makes a time of nanoseconds.
fn is_cast(part: &Expr) -> bool {
    match part {
        Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) => is_cut(field.data_type()),
        _ => false,
    }
}

/// The same of an expression over `scope`.
pub(crate) fn of_expression(expr: Expr, scope: &DFSchema) -> Expr {
    let mut look = Look::default();
    if look.expression(&expr, &LazyCell::new(|| scope.clone())).is_err() || !look.is_worth_it() {
        return expr;
    }
    converted_expression(expr.clone(), scope).unwrap_or(expr)
}

/// The type of a time in microseconds.
pub(crate) fn cut(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Duration(TimeUnit::Nanosecond) => DataType::Duration(TimeUnit::Microsecond),
        other => other.clone(),
    }
}

fn is_cut(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Duration(TimeUnit::Nanosecond))
}

/// What was seen of a plan.
#[derive(Default)]
struct Look {
    /// Whether a time of fewer digits is made one of nanoseconds.
    is_wide: bool,
    /// Whether a time may have digits beyond microseconds, or is where it cannot be told.
    is_finer: bool,
    /// Whether a literal has such digits.
    has_digits: bool,
}

impl Look {
    fn is_worth_it(&self) -> bool {
        self.is_wide && !self.is_finer && !self.has_digits
    }

    fn node(&mut self, node: &LogicalPlan) -> Result<()> {
        match node {
            // The table of what it has so far has its types from before.
            LogicalPlan::RecursiveQuery(_) => self.is_finer = true,
            LogicalPlan::TableScan(scan) => {
                self.is_finer |= scan.projected_schema.fields().iter().any(|field| is_cut(field.data_type()));
            }
            _ => {}
        }
        let scope = LazyCell::new(|| scope_of(node));
        node.apply_expressions(|expr| {
            self.expression(expr, &scope)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    fn expression<F: FnOnce() -> DFSchema>(&mut self, expr: &Expr, scope: &LazyCell<DFSchema, F>) -> Result<()> {
        expr.apply(|part| {
            match part {
                Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
                    self.cast(expr, field.data_type(), scope)?;
                }
                Expr::Literal(value, _) => {
                    self.has_digits |= nanos(value).is_some_and(|nanos| nanos % 1000 != 0);
                }
                Expr::ScalarFunction(ScalarFunction { func, args }) if !matches!(func.name(), "now") => {
                    let of_nanos = |expr: &Expr| Ok::<_, DataFusionError>(is_cut(&expr.get_type(&**scope)?));
                    let takes = args.iter().map(of_nanos).collect::<Result<Vec<_>>>()?.contains(&true);
                    self.is_finer |= match takes {
                        true => !TAKE_ANY.contains(&func.name()),
                        false => of_nanos(part)?,
                    };
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    fn cast<F: FnOnce() -> DFSchema>(
        &mut self,
        value: &Expr,
        to: &DataType,
        scope: &LazyCell<DFSchema, F>,
    ) -> Result<()> {
        match to {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {}
            DataType::List(_) | DataType::LargeList(_) | DataType::Struct(_) => {
                self.is_finer |= holds_nanos(to);
                return Ok(());
            }
            // As a number, a time counts what it is made of.
            to if to.is_numeric() => {
                self.is_finer |= is_cut(&value.get_type(&**scope)?);
                return Ok(());
            }
            _ => return Ok(()),
        }
        if let Expr::Literal(text, _) = value
            && text.data_type().is_string()
        {
            match (text.cast_to(to), text.cast_to(&cut(to))) {
                (Ok(time), _) => self.has_digits |= nanos(&time).is_some_and(|nanos| nanos % 1000 != 0),
                (Err(_), Ok(_)) => self.is_wide = true,
                (Err(_), Err(_)) => {}
            }
            return Ok(());
        }
        match value.get_type(&**scope)? {
            DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Null => {}
            DataType::Timestamp(..) | DataType::Date32 => self.is_wide = true,
            _ => self.is_finer = true,
        }
        Ok(())
    }
}

fn nanos(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampNanosecond(nanos, _) | ScalarValue::DurationNanosecond(nanos) => *nanos,
        ScalarValue::IntervalMonthDayNano(span) => span.map(|span| span.nanoseconds),
        _ => None,
    }
}

fn holds_nanos(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) => holds_nanos(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_nanos(field.data_type())),
        other => is_cut(other),
    }
}

/// The plan with times that are made ones of nanoseconds where the optimizer does not see it: it would cut the digits off what they are
/// compared with instead, and a time would be equal to one that is some nanoseconds later.
fn as_they_are(plan: LogicalPlan) -> Result<LogicalPlan> {
    walk::changed(plan, is_cast, |expr, scope| {
        expr.transform_up(|part| {
            let Expr::Cast(Cast { expr, field }) = &part else { return Ok(Transformed::no(part)) };
            let is_coarser =
                matches!(expr.get_type(scope)?, DataType::Timestamp(unit, _) if unit != TimeUnit::Nanosecond);
            if !is_cut(field.data_type()) || !is_coarser {
                return Ok(Transformed::no(part));
            }
            let signature = Signature::any(1, Volatility::Immutable);
            let function = ScalarUDF::new_from_impl(Nanos(field.data_type().clone(), signature));
            Ok(Transformed::yes(function.call(vec![expr.as_ref().clone()])))
        })
    })
}

/// A cast to a time of nanoseconds.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Nanos(DataType, Signature);

impl ScalarUDFImpl for Nanos {
    fn name(&self) -> &str {
        "pelton_nanos"
    }

    fn signature(&self) -> &Signature {
        &self.1
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.0.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        args.args[0].cast_to(&self.0, None)
    }
}

/// A node over inputs that are converted.
fn converted(node: LogicalPlan) -> Result<LogicalPlan> {
    let scope = scope_of(&node);
    let node = walk::with_names(node, |expr| Ok(Transformed::yes(converted_expression(expr, &scope)?)))?;
    Ok(match node.data {
        LogicalPlan::Union(Union { inputs, schema }) => {
            LogicalPlan::Union(Union { inputs, schema: converted_schema(&schema)? })
        }
        LogicalPlan::Values(Values { schema, values }) => {
            LogicalPlan::Values(Values { schema: converted_schema(&schema)?, values })
        }
        node => node.recompute_schema()?,
    })
}

fn converted_schema(schema: &DFSchemaRef) -> Result<DFSchemaRef> {
    let fields = schema.iter().map(|(table, field)| (table.cloned(), converted_field(field))).collect();
    let converted = DFSchema::new_with_metadata(fields, schema.metadata().clone())?;
    Ok(Arc::new(converted.with_functional_dependencies(schema.functional_dependencies().clone())?))
}

fn converted_field(field: &FieldRef) -> FieldRef {
    match is_cut(field.data_type()) {
        true => Arc::new(Field::clone(field).with_data_type(cut(field.data_type()))),
        false => field.clone(),
    }
}

fn converted_expression(expr: Expr, scope: &DFSchema) -> Result<Expr> {
    let converted = expr.transform_up(|part| {
        Ok(Transformed::yes(match part {
            Expr::Cast(Cast { expr, field }) => Expr::Cast(Cast::new_from_field(expr, converted_field(&field))),
            Expr::TryCast(TryCast { expr, field }) => {
                Expr::TryCast(TryCast::new_from_field(expr, converted_field(&field)))
            }
            Expr::OuterReferenceColumn(field, column) => Expr::OuterReferenceColumn(converted_field(&field), column),
            Expr::Literal(value, metadata) if is_cut(&value.data_type()) => {
                Expr::Literal(value.cast_to(&cut(&value.data_type()))?, metadata)
            }
            Expr::ScalarFunction(_) => {
                let data_type = part.get_type(scope)?;
                match is_cut(&data_type) {
                    true => Expr::Cast(Cast::new(Box::new(part), cut(&data_type))),
                    false => part,
                }
            }
            other => other,
        }))
    })?;
    Ok(converted.data)
}
