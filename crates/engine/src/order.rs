//! What an order leaves open: which of the rows with equal keys comes first.
//!
//! A limit above a sort may keep any of the rows that tie at its end. Each answer is right in SQL, and another run, more threads or another
//! layout of files give another one: the table would have another digest for the same inputs. So ties are broken by the other columns,
//! which leaves open only rows that are equal in all that is looked at, and one answer. Lineage is told from the SQL as it is written,
//! where these columns decide nothing.

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, Limit, LogicalPlan, Projection, Sort, SortExpr, SubqueryAlias};
use std::sync::Arc;

use arrow::datatypes::DataType;

/// The most columns by which ties are broken. What a limited sort compares grows with the square of its keys.
const TIES_MAX: usize = 100;

/// The plan with the ties of its limited sorts broken, as far as they can be.
pub(crate) fn with_ties_broken(plan: LogicalPlan) -> Result<LogicalPlan> {
    let broken = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(limit) => Ok(match sorted(&limit.input)? {
            Some(input) => Transformed::yes(LogicalPlan::Limit(Limit { input: Arc::new(input), ..limit })),
            None => Transformed::no(LogicalPlan::Limit(limit)),
        }),
        other => Ok(Transformed::no(other)),
    });
    broken.map(|plan| plan.data)
}

/// What is below a limit.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Below {
    /// Rows in any order.
    Anything,
    /// A sort with ties that cannot be broken.
    Ties,
    /// A sort with ties that can be broken.
    Order,
}

/// What is below a limit.
pub(crate) fn below(input: &LogicalPlan) -> Below {
    match input {
        LogicalPlan::Projection(Projection { input, .. }) | LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => {
            below(input)
        }
        LogicalPlan::Sort(sort) => match ties(sort) {
            Some(_) => Below::Order,
            None => Below::Ties,
        },
        _ => Below::Anything,
    }
}

/// The input of a limit with all its columns as keys of the sort in it.
fn sorted(input: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    Ok(match input {
        LogicalPlan::Projection(projection) => match sorted(&projection.input)? {
            Some(input) => {
                let (expr, schema) = (projection.expr.clone(), projection.schema.clone());
                Some(LogicalPlan::Projection(Projection::try_new_with_schema(expr, Arc::new(input), schema)?))
            }
            None => None,
        },
        LogicalPlan::SubqueryAlias(alias) => match sorted(&alias.input)? {
            Some(input) => {
                Some(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?))
            }
            None => None,
        },
        LogicalPlan::Sort(sort) => ties(sort).filter(|ties| !ties.is_empty()).map(|ties| {
            let expr = sort.expr.iter().cloned().chain(ties).collect();
            LogicalPlan::Sort(Sort { expr, input: sort.input.clone(), fetch: sort.fetch })
        }),
        _ => None,
    })
}

/// The keys that leave no ties but between equal rows; `None` where there are too many, or one cannot be compared.
fn ties(sort: &Sort) -> Option<Vec<SortExpr>> {
    let keys: Vec<&Expr> = sort.expr.iter().map(|key| &key.expr).collect();
    let schema = sort.input.schema();
    let columns = schema.iter().map(|(qualifier, field)| (Expr::from((qualifier, field)), field.data_type()));
    let left: Vec<_> = columns.filter(|(column, _)| !keys.contains(&column)).collect();
    (left.len() <= TIES_MAX && left.iter().all(|(_, data_type)| is_comparable(data_type)))
        .then(|| left.into_iter().map(|(column, _)| column.sort(true, false)).collect())
}

/// Nested values are left out: the engine does not compare the nulls in them alike everywhere.
fn is_comparable(data_type: &DataType) -> bool {
    !data_type.is_nested()
}
