//! The proof behind incremental builds: which rows of the inputs a part of a SELECT's result depends on, read off the analysed plan.
//!
//! Every occurrence of a table in the plan gets a number. From the scans up, each column of each plan node carries the occurrences
//! whose rows are bound to its value, with how far they may lie from it in time; an occurrence that a column does not carry counts as a
//! whole. A plan node that is not known carries nothing, so that the proof can be too weak but not wrong.

mod reach;

use crate::asof::AsOfNode;
use crate::error;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, Join, JoinType, LogicalPlan, Operator, Window,
};
use pelton_base::{DAY_US, Grain};
use pelton_query::{LocalColumn, Locality, Origin, QueryError};
use reach::{Reach, Zone, bin_us, converted, unit_of, window_reach, zone_of};
use std::collections::{BTreeMap, BTreeSet};

/// The occurrences that a column's value binds, and by which of their columns.
type Bound = BTreeMap<usize, (String, Reach)>;

fn reaching(bound: &Bound, by: Reach) -> Bound {
    bound.iter().map(|(at, (column, reach))| (*at, (column.clone(), reach.plus(by)))).collect()
}

/// Both hold: an occurrence that each of them binds is bound by the first.
fn merged(mut bound: Bound, other: &Bound) -> Bound {
    for (at, origin) in other {
        bound.entry(*at).or_insert_with(|| origin.clone());
    }
    bound
}

/// Over which occurrences a plan node is a sum.
enum Sum {
    /// It reads nothing that could grow.
    Still(BTreeSet<usize>),
    /// Over these; those may not change meanwhile.
    Over(BTreeSet<usize>, BTreeSet<usize>),
    /// Over none, because of this.
    No(String),
}

struct Seen {
    columns: Vec<Bound>,
    sum: Sum,
    /// All occurrences at and below the node.
    all: BTreeSet<usize>,
}

#[derive(Default)]
struct Walk {
    /// The table of each occurrence.
    tables: Vec<String>,
}

/// What the plan proves.
pub(crate) fn locality(plan: &LogicalPlan) -> std::result::Result<Locality, QueryError> {
    let mut walk = Walk::default();
    let seen = walk.node(plan).map_err(error::translate)?;
    let tables = |of: &BTreeSet<usize>| of.iter().map(|at| walk.tables[*at].clone()).collect::<BTreeSet<String>>();
    let additive = match seen.sum {
        Sum::Still(_) => Err("it reads no table".to_string()),
        Sum::No(why) => Err(why),
        Sum::Over(over, still) => match tables(&over).intersection(&tables(&still)).next() {
            Some(both) => Err(format!("it joins rows of `{both}` with rows of `{both}`")),
            None => Ok(tables(&over)),
        },
    };
    let columns = plan.schema().fields().iter().zip(&seen.columns);
    let columns =
        columns.map(|(field, bound)| LocalColumn { name: field.name().clone(), origins: walk.origins(bound) });
    Ok(Locality { inputs: walk.tables.iter().cloned().collect(), additive, columns: columns.collect() })
}

impl Walk {
    /// Origins in tables whose every occurrence is bound.
    fn origins(&self, bound: &Bound) -> Vec<Origin> {
        let is_whole = |table: &String| {
            self.tables.iter().enumerate().any(|(at, other)| other == table && !bound.contains_key(&at))
        };
        let mut origins: Vec<Origin> = bound
            .iter()
            .filter(|(at, _)| !is_whole(&self.tables[**at]))
            .map(|(at, (column, reach))| Origin {
                input: self.tables[*at].clone(),
                column: column.clone(),
                rounded: reach.rounded,
                before_us: reach.before.us,
                after_us: reach.after.us,
                all_before: reach.before.all,
                nulls: reach.before.us == i64::MAX || reach.after.us == i64::MAX,
            })
            .collect();
        origins.sort();
        origins.dedup();
        origins
    }

    fn node(&mut self, plan: &LogicalPlan) -> Result<Seen> {
        // Subqueries in expressions are read as a whole.
        let first = self.tables.len();
        self.subqueries(plan)?;
        let whole: BTreeSet<usize> = (first..self.tables.len()).collect();
        let mut seen = self.inputs_of(plan)?;
        seen.all.extend(&whole);
        match &mut seen.sum {
            Sum::Still(still) | Sum::Over(_, still) => still.extend(whole),
            Sum::No(_) => {}
        }
        seen.columns.resize_with(plan.schema().fields().len(), Bound::default);
        Ok(seen)
    }

    fn subqueries(&mut self, plan: &LogicalPlan) -> Result<()> {
        plan.apply_expressions(|expr| {
            expr.apply(|part| {
                let subquery = match part {
                    Expr::ScalarSubquery(subquery) => subquery,
                    Expr::Exists(exists) => &exists.subquery,
                    Expr::InSubquery(within) => &within.subquery,
                    Expr::SetComparison(comparison) => &comparison.subquery,
                    _ => return Ok(TreeNodeRecursion::Continue),
                };
                self.node(&subquery.subquery)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
        .map(|_| ())
    }

    fn inputs_of(&mut self, plan: &LogicalPlan) -> Result<Seen> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let at = self.tables.len();
                self.tables.push(scan.table_name.table().to_string());
                let bound = |name: &str| Bound::from([(at, (name.to_string(), Reach::EQUAL))]);
                let columns = scan.projected_schema.fields().iter().map(|field| bound(field.name())).collect();
                let (over, all) = (BTreeSet::from([at]), BTreeSet::from([at]));
                let sum = match scan.fetch {
                    None => Sum::Over(over, BTreeSet::new()),
                    Some(_) => Sum::No("it has a LIMIT".into()),
                };
                Ok(Seen { columns: if scan.fetch.is_none() { columns } else { Vec::new() }, sum, all })
            }
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
                Ok(Seen { columns: Vec::new(), sum: Sum::Still(BTreeSet::new()), all: BTreeSet::new() })
            }
            LogicalPlan::Projection(projection) => {
                let below = self.node(&projection.input)?;
                let schema = projection.input.schema();
                let columns = projection.expr.iter().map(|expr| bound_by(expr, schema, &below.columns)).collect();
                Ok(Seen { columns, ..below })
            }
            LogicalPlan::Filter(filter) => self.node(&filter.input),
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input),
            LogicalPlan::Subquery(subquery) => self.node(&subquery.subquery),
            LogicalPlan::Repartition(repartition) => self.node(&repartition.input),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.node(&sort.input),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => self.unknown(plan, "it has a LIMIT"),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(distinct) => self.distinct(distinct),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(&union.inputs),
            LogicalPlan::Unnest(unnest) => {
                let below = self.node(&unnest.input)?;
                let is_taken_apart = |at: &usize| {
                    unnest.list_type_columns.iter().any(|(column, _)| column == at)
                        || unnest.struct_type_columns.contains(at)
                };
                let column = |at: &usize| match is_taken_apart(at) {
                    true => Bound::default(),
                    false => below.columns.get(*at).cloned().unwrap_or_default(),
                };
                Ok(Seen { columns: unnest.dependency_indices.iter().map(column).collect(), ..below })
            }
            LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<AsOfNode>() {
                Some(node) => self.as_of(node),
                None => self.unknown(plan, "it has a part that cannot be divided"),
            },
            other => self.unknown(other, "it has a part that cannot be divided"),
        }
    }

    /// A plan node that binds nothing.
    fn unknown(&mut self, plan: &LogicalPlan, why: &str) -> Result<Seen> {
        let mut all = BTreeSet::new();
        for input in plan.inputs() {
            all.extend(self.node(input)?.all);
        }
        let sum = if all.is_empty() { Sum::Still(all.clone()) } else { Sum::No(why.to_string()) };
        Ok(Seen { columns: Vec::new(), sum, all })
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Seen> {
        let below = self.node(&aggregate.input)?;
        let columns = match aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            true => Vec::new(),
            false => {
                let schema = aggregate.input.schema();
                aggregate.group_expr.iter().map(|expr| bound_by(expr, schema, &below.columns)).collect()
            }
        };
        Ok(Seen { columns, sum: divided(below.sum, "it aggregates"), all: below.all })
    }

    fn distinct(&mut self, distinct: &Distinct) -> Result<Seen> {
        let (below, columns) = match distinct {
            Distinct::All(input) => {
                let below = self.node(input)?;
                let columns = below.columns.clone();
                (below, columns)
            }
            Distinct::On(on) => {
                let below = self.node(&on.input)?;
                let column = |expr: &Expr| match on.on_expr.iter().any(|key| key == plain(expr)) {
                    true => bound_by(expr, on.input.schema(), &below.columns),
                    false => Bound::default(),
                };
                let columns = on.select_expr.iter().map(column).collect();
                (below, columns)
            }
        };
        Ok(Seen { columns, sum: divided(below.sum, "it has a DISTINCT"), all: below.all })
    }

    fn window(&mut self, window: &Window) -> Result<Seen> {
        let below = self.node(&window.input)?;
        let schema = window.input.schema();
        let columns = below.columns.iter().enumerate().map(|(at, bound)| {
            let reaches = window.window_expr.iter().map(|expr| window_reach(expr, at, schema));
            match reaches.collect::<Option<Vec<Reach>>>() {
                Some(reaches) => reaching(bound, reaches.into_iter().fold(Reach::EQUAL, Reach::or)),
                None => Bound::default(),
            }
        });
        let columns = columns.collect();
        Ok(Seen { columns, sum: divided(below.sum, "it has a window over other rows"), all: below.all })
    }

    fn union(&mut self, inputs: &[std::sync::Arc<LogicalPlan>]) -> Result<Seen> {
        let (mut columns, mut all): (Option<Vec<Bound>>, _) = (None, BTreeSet::new());
        let (mut over, mut still) = (BTreeSet::new(), BTreeSet::new());
        let mut why = None;
        let mut without = 0;
        for input in inputs {
            let seen = self.node(input)?;
            all.extend(&seen.all);
            match seen.sum {
                Sum::Over(more, needed) => {
                    over.extend(more);
                    still.extend(needed);
                }
                Sum::Still(_) => without += 1,
                Sum::No(reason) => why = why.or(Some(reason)),
            }
            columns = Some(match columns {
                None => seen.columns,
                Some(columns) => columns.into_iter().zip(&seen.columns).map(|(had, more)| merged(had, more)).collect(),
            });
        }
        let sum = match why {
            Some(why) => Sum::No(why),
            None if over.is_empty() => Sum::Still(all.clone()),
            None if without > 0 => Sum::No("a branch of its UNION reads no table".into()),
            None => Sum::Over(over, still),
        };
        Ok(Seen { columns: columns.unwrap_or_default(), sum, all })
    }

    fn join(&mut self, join: &Join) -> Result<Seen> {
        let (left, right) = (self.node(&join.left)?, self.node(&join.right)?);
        let keys = equalities(join);
        // A row of the result holds one row of each side with equal keys, so a key's value binds both.
        let of = |seen: &Seen, other: &Seen, is_left: bool| -> Vec<Bound> {
            seen.columns
                .iter()
                .enumerate()
                .map(|(at, bound)| {
                    let pairs = keys.iter().map(|(left, right)| if is_left { (left, right) } else { (right, left) });
                    pairs
                        .filter(|(own, _)| **own == at)
                        .fold(bound.clone(), |bound, (_, theirs)| merged(bound, &other.columns[*theirs]))
                })
                .collect()
        };
        let (lefts, rights) = (of(&left, &right, true), of(&right, &left, false));
        let nothing = |seen: &Seen| vec![Bound::default(); seen.columns.len()];
        let columns = match join.join_type {
            JoinType::Inner => [lefts, rights].concat(),
            // A row without a partner has nulls there, which bind nothing.
            JoinType::Left => [lefts, nothing(&right)].concat(),
            JoinType::Right => [nothing(&left), rights].concat(),
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => lefts,
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => rights,
            JoinType::Full => Vec::new(),
        };
        let all: BTreeSet<usize> = left.all.union(&right.all).copied().collect();
        let sum = match join.join_type {
            JoinType::Full => Sum::No("it has a FULL JOIN".into()),
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                joined(right.sum, &left.all)
            }
            JoinType::Inner => match joined(left.sum, &right.all) {
                Sum::Over(over, still) => Sum::Over(over, still),
                _ => joined(right.sum, &left.all),
            },
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                joined(left.sum, &right.all)
            }
        };
        Ok(Seen { columns, sum, all })
    }

    /// Left rows with what was visible at their time: the right rows of their key, from any time before, or as old as the limit allows.
    fn as_of(&mut self, node: &AsOfNode) -> Result<Seen> {
        let (left, right) = (self.node(&node.left)?, self.node(&node.right)?);
        let column = |expr: &Expr, schema: &DFSchema| position(expr, schema);
        let (left_schema, right_schema) = (node.left.schema(), node.right.schema());
        let time = column(&node.left_time, left_schema).zip(column(&node.right_time, right_schema));
        let age = Reach::to(node.ttl_us.unwrap_or(i64::MAX), 0);
        let mut columns = left.columns.clone();
        for (own, theirs) in &node.keys {
            if let (Some(own), Some(theirs)) = (column(own, left_schema), column(theirs, right_schema)) {
                columns[own] = merged(columns[own].clone(), &right.columns[theirs]);
            }
        }
        if let Some((own, theirs)) = time {
            columns[own] = merged(columns[own].clone(), &reaching(&right.columns[theirs], age));
        }
        let all: BTreeSet<usize> = left.all.union(&right.all).copied().collect();
        Ok(Seen { columns, sum: joined(left.sum, &right.all), all })
    }
}

/// What divides rows by other rows is a sum over nothing.
fn divided(below: Sum, why: &str) -> Sum {
    match below {
        Sum::Over(..) => Sum::No(why.into()),
        other => other,
    }
}

/// A side of a join that is a sum stays one as long as the other side does not change.
fn joined(side: Sum, other: &BTreeSet<usize>) -> Sum {
    match side {
        Sum::Over(over, still) => Sum::Over(over, still.union(other).copied().collect()),
        Sum::Still(still) if other.is_empty() => Sum::Still(still),
        Sum::Still(_) => Sum::No("the side of its join that is kept whole reads no table".into()),
        no => no,
    }
}

fn plain(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => plain(&alias.expr),
        other => other,
    }
}

/// The position of a column that an expression is, under names.
fn position(expr: &Expr, schema: &DFSchema) -> Option<usize> {
    match plain(expr) {
        Expr::Column(column) => schema.maybe_index_of_column(column),
        _ => None,
    }
}

/// What an expression over a node's columns binds: a column what it bound, a time rounded down what lies within the step.
fn bound_by(expr: &Expr, schema: &DFSchema, columns: &[Bound]) -> Bound {
    let near = |inner: &Expr, by: &dyn Fn(Reach) -> Reach| -> Bound {
        let bound = bound_by(inner, schema, columns);
        bound.into_iter().map(|(at, (column, reach))| (at, (column, by(reach)))).collect()
    };
    // Rounded down to steps of the time in its zone, where they begin at any time.
    let step = |inner: &Expr, step: Grain| match zone_of(inner, schema) {
        Zone::Utc => near(inner, &|reach| reach.rounded(step)),
        Zone::Other => near(inner, &|reach| reach.rounded_anywhere(step).plus(Reach::ZONE)),
    };
    match plain(expr) {
        Expr::Column(column) => {
            schema.maybe_index_of_column(column).and_then(|at| columns.get(at)).cloned().unwrap_or_default()
        }
        Expr::Cast(cast) => match (type_of(&cast.expr, schema), cast.field.data_type()) {
            (Some(DataType::Timestamp(..)), DataType::Date32) => step(&cast.expr, Grain::Us(DAY_US)),
            (Some(from @ (DataType::Timestamp(..) | DataType::Date32)), to @ DataType::Timestamp(..)) => {
                match converted(&from, to) {
                    Some(by) => near(&cast.expr, &|reach| reach.plus(by)),
                    None => Bound::default(),
                }
            }
            _ => Bound::default(),
        },
        Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
            ("date_trunc", [Expr::Literal(unit, _), time]) => match unit.try_as_str().flatten().and_then(unit_of) {
                Some(unit) => step(time, unit),
                None => Bound::default(),
            },
            // Its bins begin at multiples since the epoch in every zone.
            ("date_bin", [Expr::Literal(by, _), time]) => match bin_us(by) {
                Some(us) => near(time, &|reach| reach.rounded(Grain::Us(us))),
                None => Bound::default(),
            },
            _ => Bound::default(),
        },
        _ => Bound::default(),
    }
}

fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    expr.get_type(schema).ok()
}

/// The pairs of columns, by position in their side, whose equality a join asks.
fn equalities(join: &Join) -> Vec<(usize, usize)> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let pair = |a: &Expr, b: &Expr| position(a, left).zip(position(b, right));
    let mut pairs: Vec<(usize, usize)> = join.on.iter().filter_map(|(a, b)| pair(a, b)).collect();
    for part in join.filter.iter().flat_map(split_conjunction) {
        if let Expr::BinaryExpr(BinaryExpr { left: a, op: Operator::Eq, right: b }) = part {
            pairs.extend(pair(a, b).or_else(|| pair(b, a)));
        }
    }
    pairs
}
