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

mod exec;
mod merge;

use crate::rewrite::MARKER;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchemaRef, DataFusionError, Result, ScalarValue, plan_err};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Extension, Join, JoinType, LogicalPlan, Operator, UserDefinedLogicalNode,
    UserDefinedLogicalNodeCore, build_join_schema, lit, when,
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
                    _ => return plan_err!("ASOF JOIN: ON compares a column of each side with `=`, not {part}"),
                }
            }
            _ => return plan_err!("ASOF JOIN: ON compares columns of both sides with `=`, joined by AND, not {part}"),
        }
    }
    let mut times: Vec<(Expr, Expr)> = Vec::new();
    let mut ttl = None;
    for condition in &conditions {
        match at_least(condition, &join) {
            Some(pair) if times.len() < 2 => times.push(pair),
            _ => match age_limit(condition) {
                Some(us) if ttl.is_none() => ttl = Some(us),
                _ => {
                    return plan_err!(
                        "MATCH_CONDITION is `l.time >= r.time`, then optionally `l.time >= r.known_at` and `l.time - r.time <= INTERVAL '..'`, joined by AND"
                    );
                }
            },
        }
    }
    let Some((left_time, right_time)) = times.first().cloned() else {
        return plan_err!("MATCH_CONDITION needs `l.time >= r.time`");
    };
    let known_at = match times.get(1) {
        Some((_, known_at)) => Some(known_at.clone()),
        None => implied_known_at(&join, &right_time)?,
    };
    let right_known = match known_at {
        Some(known_at) => {
            let known_at = as_type_of(known_at, &right_time, &join)?;
            // A row that nobody knew, or without a time, gets no moment at which it is visible.
            let mut known = when(known_at.clone().gt(right_time.clone()), known_at.clone());
            Some(known.when(known_at.is_not_null(), right_time.clone()).end()?)
        }
        None => None,
    };
    let schema = Arc::new(build_join_schema(join.left.schema(), join.right.schema(), &JoinType::Left)?);
    Ok(AsOfNode {
        left: join.left,
        right: join.right,
        keys,
        left_time,
        visible_at: right_known.unwrap_or_else(|| right_time.clone()),
        right_time,
        ttl_us: ttl,
        schema,
    })
}

/// `left >= right`, or `right <= left`, as (left side, right side).
fn at_least(condition: &Expr, join: &Join) -> Option<(Expr, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (newer, older) = match op {
        Operator::GtEq => (left, right),
        Operator::LtEq => (right, left),
        _ => return None,
    };
    (side_of(newer, join) == Some(Side::Left) && side_of(older, join) == Some(Side::Right))
        .then(|| (*newer.clone(), *older.clone()))
}

/// The microseconds of `... <= INTERVAL '..'`.
fn age_limit(condition: &Expr) -> Option<i64> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::LtEq, right }) = condition else { return None };
    let Expr::BinaryExpr(BinaryExpr { op: Operator::Minus, .. }) = strip_cast(left) else { return None };
    let literal = match strip_cast(right) {
        Expr::Literal(literal, _) => literal,
        _ => return None,
    };
    interval_us(literal)
}

/// The microseconds of an interval, when they are always the same; a month is none of them.
pub(crate) fn interval_us(literal: &ScalarValue) -> Option<i64> {
    const DAY_US: i64 = 86_400_000_000;
    match literal {
        ScalarValue::IntervalMonthDayNano(Some(value)) if value.months == 0 => {
            Some(i64::from(value.days) * DAY_US + value.nanoseconds / 1000)
        }
        ScalarValue::IntervalDayTime(Some(value)) => {
            Some(i64::from(value.days) * DAY_US + i64::from(value.milliseconds) * 1000)
        }
        ScalarValue::DurationMicrosecond(Some(us)) => Some(*us),
        ScalarValue::DurationNanosecond(Some(ns)) => Some(ns / 1000),
        _ => None,
    }
}

fn strip_cast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => strip_cast(&cast.expr),
        other => other,
    }
}

/// The right side's own `known_at` column, when it is a time (a column of that name may hold anything) and not what is matched already.
fn implied_known_at(join: &Join, right_time: &Expr) -> Result<Option<Expr>> {
    use arrow::datatypes::DataType;
    let schema = join.right.schema();
    let time = right_time.get_type(schema)?;
    let is_time = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..)) || *data_type == time;
    let found = schema.iter().find(|(_, field)| field.name() == "known_at" && is_time(field.data_type()));
    Ok(found
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())))
        .filter(|column| column != right_time))
}

fn as_type_of(expr: Expr, other: &Expr, join: &Join) -> Result<Expr> {
    let wanted = other.get_type(join.right.schema())?;
    if expr.get_type(join.right.schema())? == wanted { Ok(expr) } else { expr.cast_to(&wanted, join.right.schema()) }
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
        let match_on = exec::Match {
            keys,
            left_time: on_left(&node.left_time)?,
            right_time: on_right(&node.right_time)?,
            visible_at: on_right(&node.visible_at)?,
            ttl_us: node.ttl_us,
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
