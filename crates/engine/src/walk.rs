//! Through the expressions of a plan, those of its subqueries included.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// The columns that the expressions of a node see.
pub(crate) fn scope_of(node: &LogicalPlan) -> DFSchema {
    match node.inputs().as_slice() {
        [] => node.schema().as_ref().clone(),
        inputs => merge_schema(inputs),
    }
}

/// Whether a part of an expression in a plan is one of those that are meant.
pub(crate) fn any(plan: &LogicalPlan, is_meant: impl Fn(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found = found || any_of_node(node, &is_meant)?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn any_of_node(node: &LogicalPlan, is_meant: impl Fn(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found = found || expr.exists(|part| Ok(is_meant(part)))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The plan with other expressions of the same types in the nodes that have a part which is meant.
pub(crate) fn changed(
    plan: LogicalPlan,
    is_meant: impl Fn(&Expr) -> bool,
    change: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| {
        if !any_of_node(&node, &is_meant)? {
            return Ok(Transformed::no(node));
        }
        let scope = scope_of(&node);
        with_names(node, |expr| change(expr, &scope))
    });
    changed.map(|plan| plan.data)
}

/// A node with other expressions under the same names: what is above finds the columns of this node by them, and those without one are
/// called by their expressions.
pub(crate) fn with_names(
    node: LogicalPlan,
    change: impl Fn(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(change(expr)?.update_data(|expr| name.restore(expr)))
    })
}
