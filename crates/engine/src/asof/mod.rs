//! The as-of join: each left row with the newest right row of its key that was known at the left row's time.
//!
//! SQL: `l ASOF JOIN r MATCH_CONDITION (l.time >= r.time [AND l.time >= r.known_at] [AND l.time - r.time <= INTERVAL '..']) ON l.k = r.k`.
//! Every left row comes out exactly once, with nulls where nothing matches. A right row is visible from the later of its time and
//! its `known_at`; of the visible ones the newest by time counts, then the newest by `known_at`, then the greatest by its values, so
//! that the result never depends on the order of rows. When the right side has a time `known_at` it is respected without being
//! named. Right rows with a null key, time or `known_at` are never used.
//!
//! Between the planner and the optimizer [`AsOfRule`] turns the marked left join of `rewrite` into an [`AsOfNode`]; [`Planner`] makes
//! it an [`exec::AsOfExec`]: both sides hash-partitioned by key and sorted, so the sorts spill under the memory limit.

mod condition;
mod exec;
mod matched;
mod merge;

use crate::rewrite::MARKER;
use async_trait::async_trait;
use condition::Condition;
use datafusion::catalog::Session;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchemaRef, DataFusionError, Result, not_impl_err, plan_err};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Extension, Join, JoinType, LogicalPlan, Operator, UserDefinedLogicalNode,
    UserDefinedLogicalNodeCore, build_join_schema, lit,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use std::fmt;
use std::sync::Arc;

/// Turns marked left joins into as-of joins. Runs after types are resolved.
#[derive(Debug)]
pub(crate) struct AsOfRule;

impl AnalyzerRule for AsOfRule {
    fn name(&self) -> &str {
        "pelton_asof"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) if join.filter.as_ref().is_some_and(has_marker) => {
                Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node_of(join)?) })))
            }
            other => Ok(Transformed::no(other)),
        })
        .map(|transformed| transformed.data)
    }
}

fn has_marker(filter: &Expr) -> bool {
    split_conjunction_owned(filter.clone()).iter().any(|part| marker_argument(part).is_some())
}

fn marker_argument(part: &Expr) -> Option<&Expr> {
    match part {
        Expr::ScalarFunction(call) if call.func.name() == MARKER => call.args.first(),
        _ => None,
    }
}

/// Which side of the join an expression reads.
#[derive(PartialEq, Clone, Copy)]
enum Side {
    Left,
    Right,
}

fn side_of(expr: &Expr, join: &Join) -> Option<Side> {
    let columns = expr.column_refs();
    if columns.is_empty() {
        None
    } else if columns.iter().all(|column| join.left.schema().has_column(column)) {
        Some(Side::Left)
    } else if columns.iter().all(|column| join.right.schema().has_column(column)) {
        Some(Side::Right)
    } else {
        None
    }
}

fn node_of(join: Join) -> Result<AsOfNode> {
    if join.join_type != JoinType::Left {
        return plan_err!("MATCH_CONDITION belongs to ASOF JOIN alone");
    }
    let mut keys = join.on.clone();
    let mut conditions = Vec::new();
    for part in split_conjunction_owned(join.filter.clone().unwrap_or_else(|| lit(true))) {
        match (marker_argument(&part), &part) {
            (Some(argument), _) => conditions.extend(split_conjunction_owned(argument.clone())),
            (None, Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })) => {
                match (side_of(left, &join), side_of(right, &join)) {
                    (Some(Side::Left), Some(Side::Right)) => keys.push((*left.clone(), *right.clone())),
                    (Some(Side::Right), Some(Side::Left)) => keys.push((*right.clone(), *left.clone())),
                    _ => return not_impl_err!("ASOF JOIN: ON compares a column of each side with `=`, not {part}"),
                }
            }
            _ => {
                return not_impl_err!(
                    "ASOF JOIN: ON compares columns of both sides with `=`, joined by AND, not {part}"
                );
            }
        }
    }
    let Condition { left_time, right_time, visible_at, ttl_us } = condition::read(&conditions, &join)?;
    let schema = Arc::new(build_join_schema(join.left.schema(), join.right.schema(), &JoinType::Left)?);
    if keys.is_empty() {
        return not_impl_err!(
            "ASOF JOIN needs ON with a column of each side, such as `on l.customer_id = r.customer_id`"
        );
    }
    Ok(AsOfNode { left: join.left, right: join.right, keys, left_time, right_time, visible_at, ttl_us, schema })
}

/// The as-of join in a logical plan. The output is all left columns, then all right columns.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct AsOfNode {
    pub(crate) left: Arc<LogicalPlan>,
    pub(crate) right: Arc<LogicalPlan>,
    pub(crate) keys: Vec<(Expr, Expr)>,
    pub(crate) left_time: Expr,
    pub(crate) right_time: Expr,
    /// From when on the right row may be used.
    visible_at: Expr,
    pub(crate) ttl_us: Option<i64>,
    schema: DFSchemaRef,
}

impl AsOfNode {
    /// The left and the right input.
    pub(crate) fn sides(&self) -> (&LogicalPlan, &LogicalPlan) {
        (&self.left, &self.right)
    }

    /// What is compared with `=`: of the left input, of the right one.
    pub(crate) fn keys(&self) -> &[(Expr, Expr)] {
        &self.keys
    }

    /// The time of the left input, and those of the right one.
    pub(crate) fn times(&self) -> (&Expr, [&Expr; 2]) {
        (&self.left_time, [&self.right_time, &self.visible_at])
    }
}

impl PartialOrd for AsOfNode {
    fn partial_cmp(&self, _: &Self) -> Option<std::cmp::Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for AsOfNode {
    fn name(&self) -> &str {
        "AsOfJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let keys = self.keys.iter().flat_map(|(left, right)| [left.clone(), right.clone()]);
        keys.chain([self.left_time.clone(), self.right_time.clone(), self.visible_at.clone()]).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let keys = self.keys.iter().map(|(left, right)| format!("{left} = {right}")).collect::<Vec<_>>();
        write!(f, "AsOfJoin: {} >= {} on {}", self.left_time, self.visible_at, keys.join(" and "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Ok([left, right]) = <[LogicalPlan; 2]>::try_from(inputs) else {
            return plan_err!("an as-of join has two inputs");
        };
        let mut exprs = exprs.into_iter();
        let mut next = || exprs.next().ok_or_else(|| DataFusionError::Plan("an as-of join lost an expression".into()));
        let keys = self.keys.iter().map(|_| Ok((next()?, next()?))).collect::<Result<Vec<_>>>()?;
        let (left_time, right_time, visible_at) = (next()?, next()?, next()?);
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &JoinType::Left)?);
        Ok(AsOfNode {
            left: Arc::new(left),
            right: Arc::new(right),
            keys,
            left_time,
            right_time,
            visible_at,
            ttl_us: self.ttl_us,
            schema,
        })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let split = self.left.schema().fields().len();
        let left = output_columns.iter().copied().filter(|column| *column < split).collect();
        // All right columns stay: which of two equal-timed rows wins must not depend on the columns that a query asks for.
        let right = (0..self.right.schema().fields().len()).collect();
        Some(vec![left, right])
    }
}

/// DataFusion's planner with the as-of join added.
#[derive(Debug)]
pub(crate) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(AsOfPlanner)]);
        planner.create_physical_plan(plan, state).await
    }
}

struct AsOfPlanner;

#[async_trait]
impl ExtensionPlanner for AsOfPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        state: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<AsOfNode>() else { return Ok(None) };
        let [left, right] = physical_inputs else { return plan_err!("an as-of join has two inputs") };
        let on_left = |expr: &Expr| planner.create_physical_expr(expr, node.left.schema(), state, context);
        let on_right = |expr: &Expr| planner.create_physical_expr(expr, node.right.schema(), state, context);
        let keys = node.keys.iter().map(|(l, r)| Ok((on_left(l)?, on_right(r)?))).collect::<Result<Vec<_>>>()?;
        let time_type = node.right_time.get_type(node.right.schema())?;
        let ttl = node.ttl_us.map(|us| condition::ticks_of(us, &time_type));
        let match_on = exec::Match {
            keys,
            left_time: on_left(&node.left_time)?,
            right_time: on_right(&node.right_time)?,
            visible_at: on_right(&node.visible_at)?,
            ttl,
        };
        let schema = Arc::new(node.schema.as_arrow().clone());
        Ok(Some(Arc::new(exec::AsOfExec::new(left.clone(), right.clone(), match_on, schema)?)))
    }
}

/// The marker as a function, so that the planner can resolve its argument; it is never called.
pub(crate) fn marker_function() -> datafusion::logical_expr::ScalarUDF {
    use arrow::datatypes::DataType;
    use datafusion::logical_expr::{Volatility, create_udf};
    create_udf(
        MARKER,
        vec![DataType::Boolean],
        DataType::Boolean,
        Volatility::Immutable,
        Arc::new(|_| plan_err!("MATCH_CONDITION belongs to ASOF JOIN alone")),
    )
}
