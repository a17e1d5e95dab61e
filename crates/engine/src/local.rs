//! [`LocalEngine`]: the engine in this process, with a memory limit under which sorts, joins and aggregations spill.

use crate::context::{self, Bound};
use crate::damage::Suspects;
use crate::memory::Pool;
use crate::{
    asof, compile, delta, error, exact, lineage, locality, micros, mistake, order, overflow, rewrite, spans, times,
    volatile,
};
use async_trait::async_trait;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;
use futures::StreamExt;
use pelton_query::{
    BatchStream, Catalog, Commit, Engine, Lineage, Locality, QueryError, RowProgram, TableFiles, TableLocation, Typed,
};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

/// A query uses one more thread for each of these bytes.
const MEMORY_OF_THREAD_MIN: usize = 64 << 20;

/// What a query may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes that sorts, joins and aggregations of all queries together may hold before they spill.
    pub memory_bytes: usize,
    /// Threads; 0 means one a core. There are no more than the memory is enough for.
    pub threads: usize,
    /// Where spilled rows go; the system's temporary folder when absent.
    pub spill_dir: Option<PathBuf>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory_bytes: 1 << 30, threads: 0, spill_dir: None }
    }
}

/// The engine in this process.
pub struct LocalEngine {
    /// Functions, optimizer and memory pool; every query works on its own copy.
    pub(crate) base: SessionState,
    /// The same for plans without the places of their columns in the text, which only mistakes have a use for.
    placeless: SessionState,
}

impl std::fmt::Debug for LocalEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalEngine").finish_non_exhaustive()
    }
}

impl LocalEngine {
    /// An engine within `limits`.
    pub fn new(limits: &Limits) -> Result<Self, QueryError> {
        let mut disk = DiskManagerBuilder::default();
        if let Some(dir) = &limits.spill_dir {
            disk = disk.with_mode(DiskManagerMode::Directories(vec![dir.clone()]));
        }
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(Pool::new(limits.memory_bytes)))
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(error::translate)?;
        let threads = match limits.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            threads => threads,
        };
        // What a part of a query holds that cannot be on disk is bounded for each thread, not for all.
        let threads = threads.min(limits.memory_bytes / MEMORY_OF_THREAD_MIN).max(1);
        let mut config = SessionConfig::new().with_target_partitions(threads).with_information_schema(false);
        let options = config.options_mut();
        // Names are written as they are defined; SQL's folding to lower case stays for unquoted ones.
        options.sql_parser.map_string_types_to_utf8view = false;
        options.execution.parquet.schema_force_view_types = false;
        options.execution.parquet.pushdown_filters = true;
        options.execution.collect_statistics = false;
        // It refuses an aggregate over a UNION of columns that cannot be null, whose union says that they can.
        options.execution.skip_physical_aggregate_schema_check = true;
        // Spans in the plan give mistakes a place in the user's file.
        options.sql_parser.collect_spans = true;
        // A hash join's build side cannot spill; a sort-merge join can.
        options.optimizer.prefer_hash_join = true;
        // What a sort sets aside for merging its spilled runs, before it has any; by default 10 MB each. A SELECT has tens of sorts, each
        // on all threads.
        options.execution.sort_spill_reservation_bytes = (limits.memory_bytes / (64 * threads)).min(10 << 20);
        options.execution.sort_in_place_threshold_bytes = limits.memory_bytes.min(2 << 30);
        options.execution.time_zone = Some("UTC".into());
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            // Before those that come with the default features.
            .with_expr_planners(vec![Arc::new(times::Extract)])
            .with_default_features()
            .with_query_planner(Arc::new(asof::Planner))
            .with_analyzer_rule(Arc::new(asof::AsOfRule))
            .build();
        state.register_udf(Arc::new(asof::marker_function())).map_err(error::translate)?;
        exact::register(&mut state).map_err(error::translate)?;
        times::register(&mut state).map_err(error::translate)?;
        let mut placeless = state.clone();
        placeless.config_mut().options_mut().sql_parser.collect_spans = false;
        Ok(LocalEngine { base: state, placeless })
    }

    /// The logical plan of a SELECT over a catalog, after the analyzer has resolved types and as-of joins, with nothing left open,
    /// times in microseconds where that loses nothing, spans compared by their length, and arithmetic checked.
    fn logical(&self, catalog: &Catalog, sql: &str) -> Result<(SessionState, LogicalPlan), QueryError> {
        let state = context::state_at(&self.base, catalog);
        let plan = logical_in(&state, catalog, sql)?;
        if let Some(mistake) = mistake::first_in(&plan) {
            return Err(mistake);
        }
        let plan = spans::of_plan(micros::of_plan(plan)).and_then(order::with_ties_broken);
        let plan = plan.and_then(overflow::checked).map_err(error::translate)?;
        Ok((state, plan))
    }
}

/// Parses, plans and analyzes a SELECT.
fn logical_in(state: &SessionState, catalog: &Catalog, sql: &str) -> Result<LogicalPlan, QueryError> {
    analyzed(state, &Bound::new(state, catalog), catalog, sql)
}

fn analyzed(state: &SessionState, bound: &Bound<'_>, catalog: &Catalog, sql: &str) -> Result<LogicalPlan, QueryError> {
    let plan = bound.plan(rewrite::parse(sql, &catalog.predicts)?)?;
    state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).map_err(error::translate)
}

#[async_trait]
impl Engine for LocalEngine {
    fn analyze(&self, catalog: &Catalog, sql: &str) -> Result<Typed, QueryError> {
        // Types do not depend on the instant; a state of its own would be a third of the time of typing a small SELECT.
        let plan = match logical_in(&self.placeless, catalog, sql) {
            Ok(plan) => plan,
            // Once more, for its place.
            Err(_) => logical_in(&self.base, catalog, sql)?,
        };
        let (volatile, may_not_run) = volatile::reasons(&plan)?;
        if may_not_run && let Some(mistake) = mistake::subquery(&self.base, &plan) {
            return Err(mistake);
        }
        Ok(Typed { schema: Arc::new(plan.schema().as_arrow().clone()), volatile })
    }

    fn locality(&self, catalog: &Catalog, sql: &str) -> Result<Locality, QueryError> {
        locality::locality(&logical_in(&self.base, catalog, sql)?)
    }

    fn lineage(&self, catalog: &Catalog, sql: &str) -> Result<Lineage, QueryError> {
        let plan = analyzed(&self.base, &Bound::to_look_at(&self.base, catalog), catalog, sql)?;
        lineage::of(&plan, catalog)
    }

    async fn query(&self, catalog: &Catalog, sql: &str) -> Result<BatchStream, QueryError> {
        let (state, plan) = self.logical(catalog, sql)?;
        let suspects = Suspects::of(catalog);
        let failed = move |error| suspects.explain(error::translate(error));
        let plan = state.optimize(&plan).map_err(&failed)?;
        let physical = state.query_planner().create_physical_plan(&plan, &state).await.map_err(&failed)?;
        let stream = datafusion::physical_plan::execute_stream(physical, state.task_ctx()).map_err(&failed)?;
        let schema = stream.schema();
        Ok(BatchStream { schema, batches: stream.map(move |batch| batch.map_err(&failed)).boxed() })
    }

    fn explain(&self, catalog: &Catalog, sql: &str) -> Result<String, QueryError> {
        let (state, plan) = self.logical(catalog, sql)?;
        let plan = state.optimize(&plan).map_err(error::translate)?;
        Ok(plan.display_indent().to_string())
    }

    fn compile(&self, schema: SchemaRef, expressions: &[(String, String)]) -> Result<Arc<dyn RowProgram>, QueryError> {
        compile::compile(&self.base, schema, expressions)
    }

    async fn commit(&self, table: &TableLocation, commit: Commit) -> Result<i64, QueryError> {
        delta::commit(table, commit).await
    }

    async fn files(&self, table: &TableLocation, version: Option<i64>) -> Result<Option<TableFiles>, QueryError> {
        delta::files(table, version).await
    }
}
