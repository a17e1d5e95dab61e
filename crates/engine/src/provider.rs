//! Relations of the catalog as DataFusion table providers: a pinned list of Parquet files, and a type without data.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DataFusionError, Result, Statistics, plan_err};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectMeta;
use object_store::path::Path;
use pelton_query::DataFile;
use std::sync::Arc;
use url::Url;

/// A table of which only the columns are known.
#[derive(Debug)]
pub(crate) struct Typed {
    name: String,
    schema: SchemaRef,
}

impl Typed {
    pub(crate) fn new(name: &str, schema: SchemaRef) -> Self {
        Typed { name: name.to_string(), schema }
    }
}

#[async_trait]
impl TableProvider for Typed {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan_err!("table `{}` has no version to read", self.name)
    }
}

/// A pinned table version.
#[derive(Debug)]
pub(crate) struct Files {
    schema: SchemaRef,
    store: ObjectStoreUrl,
    folder: Path,
    files: Arc<Vec<DataFile>>,
}

impl Files {
    pub(crate) fn new(schema: SchemaRef, folder: &str, files: Arc<Vec<DataFile>>) -> Result<Self> {
        let url = Url::parse(folder).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let store = ObjectStoreUrl::parse(&url[..url::Position::BeforePath])?;
        let folder = Path::from_url_path(url.path())?;
        Ok(Files { schema, store, folder, files })
    }

    fn totals(&self) -> Statistics {
        let rows = self.files.iter().map(rows_of).fold(Precision::Exact(0), |total, rows| total.add(&rows));
        let bytes: u64 = self.files.iter().map(|file| file.bytes).sum();
        Statistics {
            num_rows: rows,
            total_byte_size: Precision::Inexact(bytes as usize),
            column_statistics: Statistics::unknown_column(&self.schema),
        }
    }
}

/// A file's row count; unknown when a foreign writer left the statistics out.
fn rows_of(file: &DataFile) -> Precision<usize> {
    if file.stats.is_some() { Precision::Exact(file.rows as usize) } else { Precision::Absent }
}

#[async_trait]
impl TableProvider for Files {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.totals())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => self.schema.clone(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let files = self.files.iter().map(|file| {
            let path = file.path.split('/').fold(self.folder.clone(), |path, part| path.join(part));
            let statistics = Statistics {
                num_rows: rows_of(file),
                total_byte_size: Precision::Inexact(file.bytes as usize),
                column_statistics: Statistics::unknown_column(&self.schema),
            };
            // Data files never change, so their times do not matter.
            let meta = ObjectMeta {
                location: path,
                last_modified: DateTime::UNIX_EPOCH,
                size: file.bytes,
                e_tag: None,
                version: None,
            };
            PartitionedFile::new_from_meta(meta).with_statistics(Arc::new(statistics))
        });
        let groups = FileGroup::new(files.collect()).split_files(state.config().target_partitions().max(1));
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_pushdown_filters(true);
        let config = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(self.totals())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
