//! What makes a SELECT's result depend on more than its inputs.

use crate::error;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility, WindowFunctionDefinition};
use pelton_query::QueryError;
use std::collections::BTreeSet;

/// The reasons, in words; empty when the result is a function of the inputs.
pub(crate) fn reasons(plan: &LogicalPlan) -> Result<Vec<String>, QueryError> {
    let mut found = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node
            && !matches!(limit.input.as_ref(), LogicalPlan::Sort(_))
        {
            found.insert("a limit without an order".to_string());
        }
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                look(part, &mut found);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(error::translate)?;
    Ok(found.into_iter().collect())
}

/// Aggregates and windows whose result depends on the order of rows.
const ORDERED: [&str; 8] =
    ["first_value", "last_value", "nth_value", "array_agg", "string_agg", "row_number", "lag", "lead"];

fn look(part: &Expr, found: &mut BTreeSet<String>) {
    match part {
        Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
            found.insert(format!("{}()", call.func.name()));
        }
        Expr::AggregateFunction(call) if ORDERED.contains(&call.func.name()) && call.params.order_by.is_empty() => {
            found.insert(format!("{}() without an order", call.func.name()));
        }
        Expr::WindowFunction(call) if call.params.order_by.is_empty() => {
            let name = match &call.fun {
                WindowFunctionDefinition::AggregateUDF(function) => function.name().to_string(),
                WindowFunctionDefinition::WindowUDF(function) => function.name().to_string(),
            };
            if ORDERED.contains(&name.as_str()) {
                found.insert(format!("{name}() without an order"));
            }
        }
        _ => {}
    }
}
