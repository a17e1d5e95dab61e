//! Mistakes of a SELECT that the planner lets pass, and that come to light when rows are read, or never: constants that no row can make right,
//! times that lose their hours, windows and subqueries where none can be.

use crate::walk::{self, scope_of};
use crate::{micros, spans};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use pelton_query::{QueryError, types};

use arrow::datatypes::{DataType, TimeUnit};

/// The first mistake of an analyzed plan.
pub(crate) fn first_in(plan: &LogicalPlan) -> Option<QueryError> {
    let mut found = None;
    let walked = plan.apply_with_subqueries(|node| {
        found = found.take().or_else(|| of_node(node));
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                found = found.take().or_else(|| of_expression(part, node));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.err().map(crate::error::translate).or(found)
}

/// A window where rows are chosen: it is worked out over those that were. And a limit below none.
pub(crate) fn of_node(node: &LogicalPlan) -> Option<QueryError> {
    let condition = match node {
        LogicalPlan::Filter(filter) => Some(&filter.predicate),
        LogicalPlan::Join(join) => join.filter.as_ref(),
        LogicalPlan::Limit(limit) => {
            let is_below = [&limit.skip, &limit.fetch].into_iter().flatten().any(|count| is_negative(count));
            return is_below.then(|| QueryError::Type {
                message: "a number of rows, of LIMIT or OFFSET, is not negative".into(),
                at: None,
            });
        }
        _ => None,
    }?;
    let is_window = |part: &Expr| Ok(matches!(part, Expr::WindowFunction(_)));
    condition.exists(is_window).ok()?.then(|| QueryError::Unsupported {
        message: "a window function stands in WHERE, HAVING or ON; write it after QUALIFY, or in a subquery".into(),
    })
}

/// Why an expression fails or loses something whatever the row, when it does. Its types are resolved.
pub(crate) fn of_expression(part: &Expr, node: &LogicalPlan) -> Option<QueryError> {
    let message = match part {
        Expr::Cast(Cast { expr, field }) => {
            let Expr::Literal(value, _) = expr.as_ref() else { return None };
            // A time that nanoseconds do not reach may be run in microseconds.
            value.cast_to(&micros::cut(field.data_type())).err()?;
            let wanted = types::name(field.data_type());
            match value.try_as_str().flatten() {
                Some(text) => format!("`'{text}'` cannot be read as {wanted}"),
                None => format!("`{value}` cannot be a value of {wanted}"),
            }
        }
        Expr::BinaryExpr(BinaryExpr { op: Operator::Divide | Operator::Modulo, right, .. }) => {
            let Expr::Literal(value, _) = right.as_ref() else { return None };
            if !value.data_type().is_integer() || *value != ScalarValue::new_zero(&value.data_type()).ok()? {
                return None;
            }
            "division by zero".to_string()
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if spans::is_comparison(*op) => {
            let has_months = |side: &Expr| matches!(side, Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(span)), _) if span.months != 0);
            (has_months(left) || has_months(right)).then(|| spans::MONTHS.to_string())?
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) => {
            let (time, interval) = if is_interval(right) { (left, right) } else { (right, left) };
            let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = interval.as_ref() else {
                return None;
            };
            lost(interval.nanoseconds, &time.get_type(&scope_of(node)).ok()?)?
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if matches!(func.name(), "to_char" | "date_format") => {
            let Some(Expr::Literal(pattern, _)) = args.get(1) else { return None };
            let pattern = pattern.try_as_str().flatten().filter(|pattern| !pattern.contains('%'))?;
            format!("`'{pattern}'` has no `%`, so it would be the result; patterns are as '%Y-%m-%d %H:%M:%S'")
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name().starts_with("regexp_") => {
            // With the flag `x` a comment may hold anything.
            let has_flags = args.get(2).is_some_and(|flags| text_of(flags).is_none_or(|flags| flags.contains('x')));
            broken_pattern(text_of(args.get(1)?).filter(|_| !has_flags)?)?
        }
        Expr::BinaryExpr(BinaryExpr { op, right, .. }) if is_match(*op) => broken_pattern(text_of(right)?)?,
        Expr::WindowFunction(call) => {
            let name = call.fun.name();
            let constants = match name {
                "lag" | "lead" | "nth_value" => call.params.args.get(1..)?,
                "ntile" => call.params.args.as_slice(),
                _ => return None,
            };
            let has_column = |argument: &Expr| argument.any_column_refs();
            constants.iter().any(has_column).then(|| {
                format!("`{name}` goes by a constant, not by a column; for a default write coalesce({name}(x) over (...), y)")
            })?
        }
        _ => return None,
    };
    Some(QueryError::Type { message, at: None })
}

fn text_of(expr: &Expr) -> Option<&str> {
    let Expr::Literal(value, _) = expr else { return None };
    value.try_as_str().flatten()
}

fn is_match(op: Operator) -> bool {
    use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    matches!(op, RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch)
}

/// Why a regular expression cannot be read.
fn broken_pattern(pattern: &str) -> Option<String> {
    let error = regex::Regex::new(pattern).err()?.to_string();
    let reason = error.lines().last().unwrap_or_default();
    Some(format!("the pattern `{pattern}` cannot be read: {}", reason.trim_start_matches("error: ")))
}

fn is_negative(count: &Expr) -> bool {
    match count {
        Expr::Literal(ScalarValue::Int64(Some(count)), _) => *count < 0,
        Expr::Negative(count) => matches!(count.as_ref(), Expr::Literal(ScalarValue::Int64(Some(1..)), _)),
        Expr::Cast(Cast { expr, .. }) => is_negative(expr),
        _ => false,
    }
}

fn is_interval(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::IntervalMonthDayNano(_), _))
}

/// What a time has no place for: the engine passes over it.
fn lost(nanoseconds: i64, time: &DataType) -> Option<String> {
    const SECOND: i64 = 1_000_000_000;
    match time {
        DataType::Date32 | DataType::Date64 if nanoseconds % (24 * 3600 * SECOND) != 0 => {
            Some("a date has no hours: what is added to it would be lost; write `cast(DAY as timestamp)`".to_string())
        }
        DataType::Timestamp(TimeUnit::Second, _) if nanoseconds % SECOND != 0 => Some(
            "a time in seconds has no fractions: what is added to it would be lost; write `to_timestamp(x)`".into(),
        ),
        _ => None,
    }
}

/// What is said of a subquery that looks at the rows outside of it.
pub(crate) const CORRELATED: &str = "a subquery that looks at the rows outside of it can compare them with `=`, under at most an aggregate; write it as a join, and \
     `select unnest(LIST)` for the items of a list";

/// What is said of a question about a subquery's rows where it cannot be asked.
pub(crate) const ASKED: &str = "`in (select ...)` and `exists (select ...)` are asked in WHERE; elsewhere write a LEFT JOIN, and `is not null` of its key";

/// Whether an expression of a node may be a subquery that cannot be run there, which only the optimizer can tell.
pub(crate) fn may_not_run(part: &Expr, node: &LogicalPlan) -> bool {
    match part {
        Expr::OuterReferenceColumn(..) => true,
        Expr::InSubquery(_) | Expr::Exists(_) => !matches!(node, LogicalPlan::Filter(_)),
        _ => false,
    }
}

/// Of a plan with a subquery that may not run, whether it cannot be run.
pub(crate) fn subquery(state: &SessionState, plan: &LogicalPlan) -> Option<QueryError> {
    let correlated = || Some(QueryError::Unsupported { message: CORRELATED.into() });
    let Ok(optimized) = state.optimize(plan) else { return correlated() };
    let left_over = |is: fn(&Expr) -> bool| walk::any(&optimized, is).unwrap_or(false);
    if left_over(|part| matches!(part, Expr::OuterReferenceColumn(..))) {
        return correlated();
    }
    left_over(|part| matches!(part, Expr::InSubquery(_) | Expr::Exists(_)))
        .then(|| QueryError::Unsupported { message: ASKED.into() })
}
