//! What each column of an analyzed plan is made from. The meaning of each operator stands here once, in [`Walk::plan`].
//!
//! Bottom up, every operator gives a [`Flow`]: for each of its columns the columns of the catalog whose values go into it and how, and
//! beside them what else decides its value; and for its rows what decides which there are. Nothing is looked up by text: columns are
//! resolved as the planner resolved them.

use crate::asof::AsOfNode;
use crate::error;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result, internal_err, not_impl_err};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction, WindowFunction};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Extension, Join, LogicalPlan, Projection, RecursiveQuery, SortExpr, Subquery, TableScan,
    Union, Unnest, Values, Window, WindowFunctionDefinition,
};
use pelton_query::{Catalog, ColumnLineage, How, Lineage, LineageOrigin, QueryError};
use std::collections::{BTreeMap, BTreeSet};

/// The lineage of a plan's columns.
pub(crate) fn of(plan: &LogicalPlan, catalog: &Catalog) -> std::result::Result<Lineage, QueryError> {
    let mut walk = Walk { catalog, relations: Vec::new(), numbers: BTreeMap::new(), working: Vec::new() };
    let flow = walk.plan(plan, None).map_err(error::translate)?;
    let named = plan.schema().fields().iter().zip(&flow.columns);
    let columns = named.map(|(field, made)| ColumnLineage { name: field.name().clone(), from: walk.origins(made) });
    Ok(Lineage { columns: columns.collect(), rows: walk.named(flow.rows.iter().copied()) })
}

/// A column of a relation of the catalog, or its rows as a whole: the relation's number, the column's index.
type Place = (usize, Option<usize>);

/// Places with the ways in which they decide something.
type Ways = BTreeSet<(Place, How)>;

/// What one column is made from.
#[derive(Debug, Clone, Default, PartialEq)]
struct Made {
    /// Whose values go into its value, each in the greatest way.
    direct: BTreeMap<Place, How>,
    /// What else decides its value, beyond what decides the rows.
    beside: Ways,
}

impl Made {
    /// Adds what another value is made from; `least` is the least way in which that one is used.
    fn add(&mut self, other: &Made, least: How) {
        for (place, how) in &other.direct {
            self.put(*place, (*how).max(least));
        }
        self.beside.extend(&other.beside);
    }

    fn put(&mut self, place: Place, how: How) {
        let kept = self.direct.entry(place).or_insert(how);
        *kept = how.max(*kept);
    }

    /// What decides something when this value decides it in the way `how`.
    fn deciding(&self, how: How) -> impl Iterator<Item = (Place, How)> {
        let direct = self.direct.keys().map(move |place| (*place, if place.1.is_some() { how } else { How::Rows }));
        direct.chain(self.beside.iter().copied())
    }
}

/// What the columns and the rows of an operator are made from.
#[derive(Debug, Clone, Default, PartialEq)]
struct Flow {
    columns: Vec<Made>,
    rows: Ways,
}

/// Where the names of an expression are looked up: the input, then the queries around it.
#[derive(Clone, Copy)]
struct Scope<'a> {
    schema: &'a DFSchema,
    flow: &'a Flow,
    around: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn column(&self, column: &Column) -> Result<&Made> {
        match self.schema.maybe_index_of_column(column).and_then(|index| self.flow.columns.get(index)) {
            Some(made) => Ok(made),
            None => internal_err!("the lineage of column `{column}` is unknown"),
        }
    }

    /// A column of a query around this one, the nearest first.
    fn outer(&self, column: &Column) -> Result<&Made> {
        let mut around = self.around;
        while let Some(scope) = around {
            if scope.schema.is_column_from_schema(column) {
                return scope.column(column);
            }
            around = scope.around;
        }
        internal_err!("the lineage of column `{column}` of an outer query is unknown")
    }
}

struct Walk<'a> {
    catalog: &'a Catalog,
    /// Names of relations and of their columns, by number.
    relations: Vec<(String, Vec<String>)>,
    numbers: BTreeMap<String, usize>,
    /// The recursive queries that are being walked, each with what its rows are made from as far as it is known.
    working: Vec<(String, Flow)>,
}

impl Walk<'_> {
    /// A function an operator, so that a deep plan needs little stack.
    fn plan(&mut self, plan: &LogicalPlan, around: Option<&Scope<'_>>) -> Result<Flow> {
        match plan {
            LogicalPlan::Projection(projection) => self.projection(projection, around, false),
            LogicalPlan::Filter(filter) => self.filter(&filter.predicate, &filter.input, around),
            LogicalPlan::Window(window) => self.window(window, around),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, around),
            LogicalPlan::Sort(sort) => self.sort(&sort.expr, &sort.input, around),
            // Which rows a limit keeps is for the order below it to say; without one they are any.
            LogicalPlan::Limit(limit) => self.plan(&limit.input, around),
            LogicalPlan::Join(join) => self.join(join, around),
            LogicalPlan::Union(union) => self.union(union, around),
            LogicalPlan::TableScan(scan) => Ok(self.scan(scan)),
            LogicalPlan::Subquery(subquery) => self.plan(&subquery.subquery, around),
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input, around),
            LogicalPlan::Repartition(repartition) => self.plan(&repartition.input, around),
            LogicalPlan::EmptyRelation(empty) => Ok(Flow::literal(empty.schema.fields().len())),
            LogicalPlan::Values(values) => self.values(values, around),
            LogicalPlan::Extension(extension) => self.extension(extension, around),
            LogicalPlan::Distinct(distinct) => self.distinct(distinct, around),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest, around),
            LogicalPlan::RecursiveQuery(recursive) => self.recursive(recursive, around),
            other => not_impl_err!("the lineage of {}", other.display()),
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Flow {
        let name = scan.table_name.to_string();
        if let Some((_, flow)) = self.working.iter().rev().find(|(working, _)| *working == name) {
            return flow.clone();
        }
        let schema = scan.source.schema();
        let columns: Vec<usize> = match &scan.projection {
            Some(columns) => columns.clone(),
            None => (0..schema.fields().len()).collect(),
        };
        let relation = self.relation(&name, || schema.fields().iter().map(|field| field.name().clone()).collect());
        let made =
            |column| Made { direct: BTreeMap::from([((relation, Some(column)), How::Copied)]), ..Made::default() };
        Flow { columns: columns.into_iter().map(made).collect(), rows: BTreeSet::from([((relation, None), How::Rows)]) }
    }

    fn relation(&mut self, name: &str, columns: impl FnOnce() -> Vec<String>) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.relations.len();
        self.relations.push((name.to_string(), columns()));
        self.numbers.insert(name.to_string(), number);
        number
    }

    /// With `is_coerced`, a cast of a column is one that a union needs, and copies.
    fn projection(&mut self, projection: &Projection, around: Option<&Scope<'_>>, is_coerced: bool) -> Result<Flow> {
        let input = self.plan(&projection.input, around)?;
        let scope = Scope { schema: projection.input.schema(), flow: &input, around };
        let columns = projection.expr.iter().map(|expr| self.value(uncoerced(expr, is_coerced), &scope));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(Flow { columns, rows: input.rows })
    }

    fn filter(&mut self, predicate: &Expr, input: &LogicalPlan, around: Option<&Scope<'_>>) -> Result<Flow> {
        let mut flow = self.plan(input, around)?;
        let made = self.value(predicate, &Scope { schema: input.schema(), flow: &flow, around })?;
        flow.rows.extend(made.deciding(How::Filter));
        Ok(flow)
    }

    /// An order decides which rows there are only under a limit; it is told without one too, because it names columns.
    fn sort(&mut self, by: &[SortExpr], input: &LogicalPlan, around: Option<&Scope<'_>>) -> Result<Flow> {
        let mut flow = self.plan(input, around)?;
        for by in by {
            let made = self.value(&by.expr, &Scope { schema: input.schema(), flow: &flow, around })?;
            flow.rows.extend(made.deciding(How::Order));
        }
        Ok(flow)
    }

    fn window(&mut self, window: &Window, around: Option<&Scope<'_>>) -> Result<Flow> {
        let mut flow = self.plan(&window.input, around)?;
        let scope = Scope { schema: window.input.schema(), flow: &flow, around };
        let computed = window.window_expr.iter().map(|expr| self.value(expr, &scope)).collect::<Result<Vec<_>>>()?;
        flow.columns.extend(computed);
        Ok(flow)
    }

    fn aggregate(&mut self, aggregate: &Aggregate, around: Option<&Scope<'_>>) -> Result<Flow> {
        let input = self.plan(&aggregate.input, around)?;
        let scope = Scope { schema: aggregate.input.schema(), flow: &input, around };
        let groups = grouping_set_to_exprlist(&aggregate.group_expr)?;
        let mut columns = groups.iter().map(|expr| self.value(expr, &scope)).collect::<Result<Vec<_>>>()?;
        let mut keys = Made::default();
        columns.iter().for_each(|made| keys.add(made, How::Computed));
        if matches!(aggregate.group_expr.first(), Some(Expr::GroupingSet(_))) {
            // The engine numbers the sets in a column of its own.
            columns.push(keys.clone());
        }
        for expr in &aggregate.aggr_expr {
            let mut made = self.value(expr, &scope)?;
            if groups.is_empty() {
                made.beside.extend(&input.rows);
            }
            columns.push(made);
        }
        // Without groups there is one row, whatever there was.
        let mut rows = if groups.is_empty() { Ways::new() } else { input.rows };
        rows.extend(keys.deciding(How::Group));
        Ok(Flow { columns, rows })
    }

    fn join(&mut self, join: &Join, around: Option<&Scope<'_>>) -> Result<Flow> {
        let left = self.plan(&join.left, around)?;
        let on_left = Scope { schema: join.left.schema(), flow: &left, around };
        let right = self.plan(&join.right, if is_lateral(&join.right) { Some(&on_left) } else { around })?;
        let on_right = Scope { schema: join.right.schema(), flow: &right, around };
        let mut matched = Made::default();
        for (key_left, key_right) in &join.on {
            self.take(key_left, &on_left, How::Computed, &mut matched)?;
            self.take(key_right, &on_right, How::Computed, &mut matched)?;
        }
        let mut both = Flow { columns: left.columns.clone(), ..Flow::default() };
        both.columns.extend(right.columns.iter().cloned());
        both.rows.extend(left.rows.iter().chain(&right.rows));
        if let Some(filter) = &join.filter {
            let schema = join.left.schema().join(join.right.schema())?;
            self.take(filter, &Scope { schema: &schema, flow: &both, around }, How::Computed, &mut matched)?;
        }
        both.rows.extend(matched.deciding(How::Join));
        match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {}
            JoinType::LeftSemi | JoinType::LeftAnti => both.columns = left.columns,
            JoinType::RightSemi | JoinType::RightAnti => both.columns = right.columns,
            // Every row stays, with a mark whether it found one.
            JoinType::LeftMark => {
                both = left;
                matched.beside.extend(right.rows);
                both.columns.push(matched);
            }
            JoinType::RightMark => {
                both = right;
                matched.beside.extend(left.rows);
                both.columns.push(matched);
            }
        }
        Ok(both)
    }

    fn union(&mut self, union: &Union, around: Option<&Scope<'_>>) -> Result<Flow> {
        let mut all = Flow::literal(union.schema.fields().len());
        for input in &union.inputs {
            let flow = match input.as_ref() {
                LogicalPlan::Projection(projection) => self.projection(projection, around, true)?,
                other => self.plan(other, around)?,
            };
            all.merge(&flow);
        }
        Ok(all)
    }

    fn values(&mut self, values: &Values, around: Option<&Scope<'_>>) -> Result<Flow> {
        let mut flow = Flow::literal(values.schema.fields().len());
        let nothing = (DFSchema::empty(), Flow::default());
        let scope = Scope { schema: &nothing.0, flow: &nothing.1, around };
        for row in &values.values {
            for (column, expr) in flow.columns.iter_mut().zip(row) {
                self.take(expr, &scope, How::Computed, column)?;
            }
        }
        Ok(flow)
    }

    fn distinct(&mut self, distinct: &Distinct, around: Option<&Scope<'_>>) -> Result<Flow> {
        match distinct {
            Distinct::All(input) => {
                let mut flow = self.plan(input, around)?;
                flow.group_by_all();
                Ok(flow)
            }
            Distinct::On(on) => {
                let input = self.plan(&on.input, around)?;
                let scope = Scope { schema: on.input.schema(), flow: &input, around };
                let columns = on.select_expr.iter().map(|expr| self.value(expr, &scope)).collect::<Result<Vec<_>>>()?;
                let mut rows = input.rows.clone();
                for expr in &on.on_expr {
                    rows.extend(self.value(expr, &scope)?.deciding(How::Group));
                }
                for by in on.sort_expr.iter().flatten() {
                    rows.extend(self.value(&by.expr, &scope)?.deciding(How::Order));
                }
                Ok(Flow { columns, rows })
            }
        }
    }

    fn unnest(&mut self, unnest: &Unnest, around: Option<&Scope<'_>>) -> Result<Flow> {
        let input = self.plan(&unnest.input, around)?;
        let lists: BTreeSet<usize> = unnest.list_type_columns.iter().map(|(index, _)| *index).collect();
        let is_opened = |index: &usize| lists.contains(index) || unnest.struct_type_columns.contains(index);
        let columns = unnest.dependency_indices.iter().map(|index| {
            let mut made = Made::default();
            made.add(&input.columns[*index], if is_opened(index) { How::Computed } else { How::Copied });
            made
        });
        let mut rows = input.rows.clone();
        for list in &lists {
            rows.extend(input.columns[*list].deciding(How::Unnest));
        }
        Ok(Flow { columns: columns.collect(), rows })
    }

    /// The recursive part reads what it makes, so it is walked until nothing is added. There are finitely many places.
    fn recursive(&mut self, recursive: &RecursiveQuery, around: Option<&Scope<'_>>) -> Result<Flow> {
        let mut flow = self.plan(&recursive.static_term, around)?;
        loop {
            self.working.push((recursive.name.clone(), flow.clone()));
            let more = self.plan(&recursive.recursive_term, around);
            self.working.pop();
            let mut all = flow.clone();
            all.merge(&more?);
            if recursive.is_distinct {
                all.group_by_all();
            }
            if all == flow {
                return Ok(all);
            }
            flow = all;
        }
    }

    fn extension(&mut self, extension: &Extension, around: Option<&Scope<'_>>) -> Result<Flow> {
        let Some(join) = extension.node.as_any().downcast_ref::<AsOfNode>() else {
            return not_impl_err!("the lineage of {}", extension.node.name());
        };
        let (left_plan, right_plan) = join.sides();
        let mut flow = self.plan(left_plan, around)?;
        let right = self.plan(right_plan, around)?;
        let on_left = Scope { schema: left_plan.schema(), flow: &flow, around };
        let on_right = Scope { schema: right_plan.schema(), flow: &right, around };
        // Every left row comes out once, so what decides which right row it gets concerns the right columns alone. Rows that tie in
        // their times are told apart by all their values, which makes the result repeatable and says nothing about it.
        let mut deciding = right.rows.clone();
        for (key_left, key_right) in join.keys() {
            deciding.extend(self.value(key_left, &on_left)?.deciding(How::Join));
            deciding.extend(self.value(key_right, &on_right)?.deciding(How::Join));
        }
        let (time_left, times_right) = join.times();
        deciding.extend(self.value(time_left, &on_left)?.deciding(How::AsOf));
        for time in times_right {
            deciding.extend(self.value(time, &on_right)?.deciding(How::AsOf));
        }
        for mut made in right.columns {
            made.beside.extend(&deciding);
            flow.columns.push(made);
        }
        Ok(flow)
    }

    /// What an expression's value is made from.
    fn value(&mut self, expr: &Expr, scope: &Scope<'_>) -> Result<Made> {
        let least = match unnamed(expr) {
            Expr::Column(_) | Expr::OuterReferenceColumn(..) | Expr::ScalarSubquery(_) => How::Copied,
            _ => How::Computed,
        };
        let mut made = Made::default();
        self.take(expr, scope, least, &mut made)?;
        Ok(made)
    }

    /// Adds what an expression reads to `made`, each at least in the way `least`.
    fn take(&mut self, expr: &Expr, scope: &Scope<'_>, least: How, made: &mut Made) -> Result<()> {
        expr.apply(|part| {
            match part {
                Expr::Column(column) => made.add(scope.column(column)?, least),
                Expr::OuterReferenceColumn(_, column) => made.add(scope.outer(column)?, least),
                Expr::ScalarSubquery(subquery) => self.subquery(subquery, scope, Some(least), made)?,
                Expr::Exists(exists) => self.subquery(&exists.subquery, scope, None, made)?,
                Expr::InSubquery(test) => {
                    self.take(&test.expr, scope, How::Computed.max(least), made)?;
                    self.subquery(&test.subquery, scope, Some(How::Computed.max(least)), made)?;
                }
                Expr::SetComparison(test) => {
                    self.take(&test.expr, scope, How::Computed.max(least), made)?;
                    self.subquery(&test.subquery, scope, Some(How::Computed.max(least)), made)?;
                }
                Expr::AggregateFunction(call) => self.aggregate_call(call, scope, made)?,
                Expr::WindowFunction(call) => self.window_call(call, scope, made)?,
                Expr::ScalarFunction(call) if self.catalog.scorers.contains_key(call.func.name()) => {
                    self.prediction(call, scope, made)?;
                }
                _ => return Ok(TreeNodeRecursion::Continue),
            }
            Ok(TreeNodeRecursion::Jump)
        })
        .map(|_| ())
    }

    /// A subquery in an expression: its rows decide the value, and its one column goes into it in the way `value`, when it does.
    fn subquery(&mut self, subquery: &Subquery, scope: &Scope<'_>, value: Option<How>, made: &mut Made) -> Result<()> {
        let flow = self.plan(&subquery.subquery, Some(scope))?;
        if let (Some(least), Some(column)) = (value, flow.columns.first()) {
            made.add(column, least);
        }
        made.beside.extend(flow.rows);
        Ok(())
    }

    fn aggregate_call(&mut self, call: &AggregateFunction, scope: &Scope<'_>, made: &mut Made) -> Result<()> {
        let params = &call.params;
        self.call(&params.args, params.filter.as_deref(), &params.order_by, scope, made)?;
        if made.direct.is_empty() {
            made.count(scope.flow);
        }
        Ok(())
    }

    fn window_call(&mut self, call: &WindowFunction, scope: &Scope<'_>, made: &mut Made) -> Result<()> {
        let params = &call.params;
        self.call(&params.args, params.filter.as_deref(), &params.order_by, scope, made)?;
        if made.direct.is_empty() && matches!(call.fun, WindowFunctionDefinition::AggregateUDF(_)) {
            made.count(scope.flow);
        }
        for expr in &params.partition_by {
            made.beside.extend(self.value(expr, scope)?.deciding(How::Group));
        }
        Ok(())
    }

    /// What aggregates and windows have in common.
    fn call(
        &mut self,
        arguments: &[Expr],
        filter: Option<&Expr>,
        order_by: &[SortExpr],
        scope: &Scope<'_>,
        made: &mut Made,
    ) -> Result<()> {
        for argument in arguments {
            self.take(argument, scope, How::Aggregated, made)?;
        }
        if let Some(filter) = filter {
            made.beside.extend(self.value(filter, scope)?.deciding(How::Filter));
        }
        for by in order_by {
            made.beside.extend(self.value(&by.expr, scope)?.deciding(How::Order));
        }
        Ok(())
    }

    /// The call of a scorer: what the model answers, from its inputs.
    fn prediction(&mut self, call: &ScalarFunction, scope: &Scope<'_>, made: &mut Made) -> Result<()> {
        let name = call.func.name();
        let Some(scorer) = self.catalog.scorers.get(name).cloned() else { return Ok(()) };
        let relation = self.relation(name, || vec![scorer.output().name().clone()]);
        made.put((relation, Some(0)), How::Predicted);
        for argument in &call.args {
            self.take(argument, scope, How::Predicted, made)?;
        }
        if call.args.is_empty() {
            for input in scorer.inputs() {
                if let Some(index) = scope.schema.index_of_column_by_name(None, input.name()) {
                    made.add(&scope.flow.columns[index], How::Predicted);
                }
            }
        }
        Ok(())
    }

    fn origins(&self, made: &Made) -> Vec<LineageOrigin> {
        let mut origins = self.named(made.direct.iter().map(|(place, how)| (*place, *how)));
        origins.extend(self.named(made.beside.iter().copied()));
        origins
    }

    fn named(&self, ways: impl Iterator<Item = (Place, How)>) -> Vec<LineageOrigin> {
        let name = |((relation, column), how): (Place, How)| {
            let (relation, columns) = &self.relations[relation];
            LineageOrigin { relation: relation.clone(), column: column.map(|column| columns[column].clone()), how }
        };
        let mut origins: Vec<LineageOrigin> = ways.map(name).collect();
        origins.sort();
        origins
    }
}

impl Made {
    /// `count(*)` and its like name no column: they are made from the rows of the tables.
    fn count(&mut self, input: &Flow) {
        for (place, _) in input.rows.iter().filter(|(place, _)| place.1.is_none()) {
            self.put(*place, How::Aggregated);
        }
    }
}

impl Flow {
    /// Columns that are made from nothing.
    fn literal(columns: usize) -> Self {
        Flow { columns: vec![Made::default(); columns], ..Flow::default() }
    }

    /// The rows of both.
    fn merge(&mut self, other: &Flow) {
        for (ours, theirs) in self.columns.iter_mut().zip(&other.columns) {
            ours.add(theirs, How::Copied);
        }
        self.rows.extend(&other.rows);
    }

    /// Equal rows become one.
    fn group_by_all(&mut self) {
        for made in &self.columns {
            self.rows.extend(made.deciding(How::Group));
        }
    }
}

/// Whether the right side of a join names columns of the left one.
fn is_lateral(right: &LogicalPlan) -> bool {
    match right {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_lateral(&alias.input),
        _ => false,
    }
}

/// An expression without its name.
fn unnamed(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unnamed(&alias.expr),
        other => other,
    }
}

/// An expression without a cast of a column, where the cast is the union's doing.
fn uncoerced(expr: &Expr, is_coerced: bool) -> &Expr {
    match unnamed(expr) {
        Expr::Cast(cast) if is_coerced && matches!(unnamed(&cast.expr), Expr::Column(_)) => &cast.expr,
        _ => expr,
    }
}
