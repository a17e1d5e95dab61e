//! What makes a SELECT's result depend on more than its inputs.

use crate::order::{self, Below};
use crate::{error, mistake};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, LogicalPlan, Volatility, WindowFrame, WindowFrameUnits, WindowFunctionDefinition,
};
use pelton_query::QueryError;
use std::collections::BTreeSet;

/// The reasons, in words; empty when the result is a function of the inputs. And whether there is a subquery that may not run. Fails with
/// the first mistake that is met.
pub(crate) fn reasons(plan: &LogicalPlan) -> Result<(Vec<String>, bool), QueryError> {
    let mut may_not_run = false;
    let mut found = BTreeSet::new();
    let mut first = None;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Limit(limit) => match order::below(&limit.input) {
                Below::Anything => {
                    found.insert("a limit without an order".to_string());
                }
                Below::Ties => {
                    found.insert("a limit whose order leaves ties open".to_string());
                }
                Below::Order => {}
            },
            LogicalPlan::Distinct(Distinct::On(DistinctOn { sort_expr: None, .. })) => {
                found.insert("distinct on without an order".to_string());
            }
            _ => {}
        }
        first = first.take().or_else(|| mistake::of_node(node));
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                look(part, &mut found);
                may_not_run |= mistake::may_not_run(part, node);
                first = first.take().or_else(|| mistake::of_expression(part, node));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(error::translate)?;
    first.map_or(Ok((found.into_iter().collect(), may_not_run)), Err)
}

/// Aggregates and windows whose result depends on the order of rows.
const ORDERED: [&str; 9] =
    ["first_value", "last_value", "nth_value", "array_agg", "string_agg", "row_number", "lag", "lead", "ntile"];

fn look(part: &Expr, found: &mut BTreeSet<String>) {
    match part {
        Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
            found.insert(format!("{}()", call.func.name()));
        }
        Expr::AggregateFunction(call) if ORDERED.contains(&call.func.name()) && call.params.order_by.is_empty() => {
            found.insert(format!("{}() without an order", call.func.name()));
        }
        Expr::WindowFunction(call) if call.params.order_by.is_empty() => {
            let (name, is_aggregate) = match &call.fun {
                WindowFunctionDefinition::AggregateUDF(function) => (function.name().to_string(), true),
                WindowFunctionDefinition::WindowUDF(function) => (function.name().to_string(), false),
            };
            if ORDERED.contains(&name.as_str()) {
                found.insert(format!("{name}() without an order"));
            } else if is_aggregate && counts_rows(&call.params.window_frame) {
                found.insert("a frame of rows without an order".to_string());
            }
        }
        _ => {}
    }
}

/// Whether a frame ends a number of rows away, or at the row itself as one of those around it.
fn counts_rows(frame: &WindowFrame) -> bool {
    frame.units == WindowFrameUnits::Rows && !(frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded())
}
