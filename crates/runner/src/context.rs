//! [`Context`]: the project, its warehouse, the engine and the clock.

use pelton_base::{Clock, Report, Reports};
use pelton_project::Project;
use pelton_query::Engine;
use pelton_store::{StoreError, Warehouse};
use std::path::PathBuf;
use std::sync::Arc;

/// What every operation on a project needs.
#[derive(Clone)]
pub struct Context {
    /// The checked project.
    pub project: Arc<Project>,
    /// Where versions live.
    pub warehouse: Warehouse,
    /// Runs SQL and commits tables.
    pub engine: Arc<dyn Engine>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Threads for training; one a core unless the project says otherwise.
    pub threads: usize,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("project", &self.project.settings.name).finish_non_exhaustive()
    }
}

impl Context {
    /// Opens the project's warehouse, making it when there is none.
    pub fn open(project: Arc<Project>, engine: Arc<dyn Engine>, clock: Arc<dyn Clock>) -> Result<Self, Reports> {
        let warehouse = Warehouse::open(&warehouse_dir(&project)).map_err(reports)?;
        Ok(Self::with(project, warehouse, engine, clock))
    }

    /// Opens the project's warehouse to look at it; where there is none, an empty one stands in, and nothing is made.
    pub fn open_to_read(
        project: Arc<Project>,
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Reports> {
        let warehouse = Warehouse::open_to_read(&warehouse_dir(&project)).map_err(reports)?;
        Ok(Self::with(project, warehouse, engine, clock))
    }

    /// Opens the project's warehouse to read it; reports `nothing-published` when there is none.
    pub fn open_existing(
        project: Arc<Project>,
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Reports> {
        match Warehouse::open_existing(&warehouse_dir(&project)).map_err(reports)? {
            Some(warehouse) => Ok(Self::with(project, warehouse, engine, clock)),
            None => Err(nothing_published("main").into()),
        }
    }

    fn with(project: Arc<Project>, warehouse: Warehouse, engine: Arc<dyn Engine>, clock: Arc<dyn Clock>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let threads = match project.settings.engine.threads {
            0 => cores,
            threads => threads,
        };
        Context { project, warehouse, engine, clock, threads }
    }

    /// The time now, microseconds since the epoch.
    pub fn now_us(&self) -> i64 {
        self.clock.now_us()
    }
}

/// The folder of a project's warehouse.
pub(crate) fn warehouse_dir(project: &Project) -> PathBuf {
    project.root.join(&project.settings.warehouse)
}

/// The report of an environment without a publication.
pub(crate) fn nothing_published(environment: &str) -> Report {
    let run = if environment == "main" { "pelton run".to_string() } else { format!("pelton run --env {environment}") };
    Report::error("nothing-published", format!("environment `{environment}` has no publication yet")).hint(run)
}

/// A store's error as reports.
pub(crate) fn reports(error: StoreError) -> Reports {
    error.report().into()
}
