//! One query's view of the world: the catalog's names as DataFusion table sources.

use crate::{error, provider, rewrite, score};
use chrono::{DateTime, TimeZone, Utc};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::{Column, DataFusionError, Result, TableReference, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF, cast,
};
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use pelton_query::{Catalog, QueryError, Relation, Scorer};
use sqlparser::ast::Statement;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, SchemaRef};

/// A session state with a catalog's names bound.
pub(crate) struct Bound<'a> {
    state: &'a SessionState,
    catalog: &'a Catalog,
    scorers: HashMap<String, Arc<ScalarUDF>>,
    /// Sources made so far, so that a table that is named twice is one object.
    made: Mutex<HashMap<String, Arc<dyn TableSource>>>,
}

impl<'a> Bound<'a> {
    pub(crate) fn new(state: &'a SessionState, catalog: &'a Catalog) -> Self {
        let scorers = catalog
            .scorers
            .iter()
            .map(|(name, scorer)| (name.clone(), Arc::new(score::udf(name, scorer.clone()))))
            .collect();
        Bound { state, catalog, scorers, made: Mutex::default() }
    }

    /// As [`Bound::new`], for plans that are looked at and never run: scorers take any arguments.
    pub(crate) fn to_look_at(state: &'a SessionState, catalog: &'a Catalog) -> Self {
        let planned = |(name, scorer): (&String, &Arc<dyn Scorer>)| {
            (name.clone(), Arc::new(score::planned_udf(name, scorer.clone())))
        };
        Bound { state, catalog, scorers: catalog.scorers.iter().map(planned).collect(), made: Mutex::default() }
    }

    /// Plans a parsed SELECT, and before it the views that it reads.
    pub(crate) fn plan(&self, statement: Statement) -> std::result::Result<LogicalPlan, QueryError> {
        // Planned where its name is met, a view would lie on the stack above all that read it.
        let mut open = vec![(None, statement)];
        while let Some((name, statement)) = open.pop() {
            if let Some((view, sql)) = self.view_to_plan(&statement, &open, name.as_deref()) {
                let of_view = rewrite::parse(&sql, &self.catalog.predicts)?;
                open.extend([(name, statement), (Some(view), of_view)]);
                continue;
            }
            let plan = self.plan_one(statement)?;
            let Some(name) = name else { return Ok(plan) };
            let plan = as_stored(plan).map_err(error::translate)?;
            self.keep(&name, provider_as_source(Arc::new(ViewTable::new(plan, None))));
        }
        unreachable!("the SELECT itself has no name, and ends the loop")
    }

    /// A view that a statement reads, that was not planned yet and is not open.
    fn view_to_plan(
        &self,
        statement: &Statement,
        open: &[(Option<String>, Statement)],
        itself: Option<&str>,
    ) -> Option<(String, String)> {
        if !self.catalog.relations.values().any(|relation| matches!(relation, Relation::View(_))) {
            return None;
        }
        let made = self.made.lock().expect("no planning panics while it holds the lock");
        let is_open = |view: &str| itself == Some(view) || open.iter().any(|(name, _)| name.as_deref() == Some(view));
        let found = sqlparser::ast::visit_relations(statement, |name| {
            let name =
                name.0.iter().filter_map(|part| part.as_ident()).map(rewrite::fold).collect::<Vec<_>>().join(".");
            match self.catalog.relations.get(&name) {
                Some(Relation::View(sql)) if !made.contains_key(&name) && !is_open(&name) => {
                    ControlFlow::Break((name, sql.clone()))
                }
                _ => ControlFlow::Continue(()),
            }
        });
        match found {
            ControlFlow::Break(view) => Some(view),
            ControlFlow::Continue(()) => None,
        }
    }

    fn plan_one(&self, statement: Statement) -> std::result::Result<LogicalPlan, QueryError> {
        let options = ParserOptions::from(&self.state.config_options().sql_parser);
        SqlToRel::new_with_options(self, options).sql_statement_to_plan(statement).map_err(error::translate)
    }

    fn source(&self, name: &str) -> Result<Arc<dyn TableSource>> {
        if let Some(source) = self.made.lock().expect("no planning panics while it holds the lock").get(name) {
            return Ok(source.clone());
        }
        let relation = match self.catalog.relations.get(name) {
            Some(relation) => relation,
            None => {
                return Err(DataFusionError::External(Box::new(QueryError::UnknownTable { name: name.to_string() })));
            }
        };
        let provider: Arc<dyn TableProvider> = match relation {
            Relation::Typed(schema) => Arc::new(provider::Typed::new(name, schema.clone())),
            Relation::Files { schema, folder, files } => {
                Arc::new(provider::Files::new(schema.clone(), folder, files.clone())?)
            }
            Relation::Batches(schema, batches) => Arc::new(MemTable::try_new(schema.clone(), vec![batches.clone()])?),
            // Views are planned before what reads them; one that is met here reads itself.
            Relation::View(_) => return plan_err!("view `{name}` reads itself"),
        };
        let source = provider_as_source(provider);
        self.keep(name, source.clone());
        Ok(source)
    }

    fn keep(&self, name: &str, source: Arc<dyn TableSource>) {
        self.made.lock().expect("no planning panics while it holds the lock").insert(name.to_string(), source);
    }
}

/// A view gives its readers the types of a table: what is stored has times in UTC, whichever zone or none the SELECT gave them.
fn as_stored(plan: LogicalPlan) -> Result<LogicalPlan> {
    let stored = |data_type: &DataType| pelton_query::types::stored(data_type).filter(|stored| stored != data_type);
    if plan.schema().fields().iter().all(|field| stored(field.data_type()).is_none()) {
        return Ok(plan);
    }
    let columns = plan.schema().iter().map(|(table, field)| {
        let column = Expr::Column(Column::new(table.cloned(), field.name()));
        match stored(field.data_type()) {
            Some(stored) => cast(column, stored).alias_qualified(table.cloned(), field.name()),
            None => column,
        }
    });
    LogicalPlanBuilder::from(plan.clone()).project(columns.collect::<Vec<_>>())?.build()
}

/// A state of a query's own, at the instant that the catalog says.
pub(crate) fn state_at(base: &SessionState, catalog: &Catalog) -> SessionState {
    let mut state = base.clone();
    let now = catalog.now_us.and_then(time_of).unwrap_or_else(Utc::now);
    state.execution_props_mut().query_execution_start_time = Some(now);
    state
}

fn time_of(us: i64) -> Option<DateTime<Utc>> {
    Utc.timestamp_micros(us).single()
}

impl ContextProvider for Bound<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match name {
            TableReference::Bare { table } => self.source(&table),
            TableReference::Partial { schema, table } => self.source(&format!("{schema}.{table}")),
            TableReference::Full { catalog, schema, table } => self.source(&format!("{catalog}.{schema}.{table}")),
        }
    }

    fn get_table_function_source(
        &self,
        name: &str,
        _: Vec<datafusion::logical_expr::Expr>,
    ) -> Result<Arc<dyn TableSource>> {
        if matches!(name, "generate_series" | "range") {
            let message = format!("`{name}` gives a list; in FROM write `unnest({name}(...)) as t(n)`");
            return Err(DataFusionError::External(Box::new(QueryError::Unsupported { message })));
        }
        plan_err!("Invalid function '{name}'.")
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scorers.get(name).or_else(|| self.state.scalar_functions().get(name)).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
