//! What the tests of this crate share: a package, an engine, a model and features that need nothing built.

mod drain;
mod log;
mod pipeline;

use crate::*;
use arrow::array::cast::AsArray;
use arrow::array::types::Float64Type;
use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use async_trait::async_trait;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pelton_base::{Digest, NodeName, Report, VersionId};
use pelton_project::{MissingRule, Task};
use pelton_query::{
    BatchStream, Catalog, Commit, Engine, Lineage, Locality, QueryError, Relation, RowProgram, TableFiles,
    TableLocation, Typed, stream_of,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

fn field(name: &str, data_type: &str, nullable: bool) -> RequestField {
    RequestField { name: name.into(), data_type: data_type.into(), nullable }
}

fn feature(column: &str, name: &str, data_type: &str) -> FeatureColumn {
    FeatureColumn { column: column.into(), name: name.into(), data_type: data_type.into() }
}

/// A model of card payments with one lookup and one derived column.
pub(crate) fn fraud_package() -> Package {
    Package {
        format: 2,
        model: NodeName::new("fraud"),
        task: Task::Classification,
        learner: "gbdt".into(),
        target: "is_fraud".into(),
        request: vec![
            field("customer_id", "text", false),
            field("amount", "double", true),
            field("channel", "text", true),
        ],
        time: Some("occurred_at".into()),
        key: vec![field("payment_id", "text", true)],
        lookups: vec![Lookup {
            table: NodeName::new("activity"),
            version: VersionId("aaaa".into()),
            entity: vec!["customer_id".into()],
            columns: vec![
                feature("spend_30d", "spend_30d", "double"),
                feature("payments", "activity_payments", "bigint"),
            ],
            ttl_us: None,
            time: "at".into(),
            known_at: None,
        }],
        derive: vec![("amount_times_spend".into(), "amount * spend_30d".into())],
        inputs: ["amount", "channel", "spend_30d", "activity_payments", "amount_times_spend"].map(String::from).into(),
        missing: MissingRule::Null,
        artifact: Digest::of(b"a model"),
        training: Training::default(),
    }
}

/// A score that depends on every bit of `amount`, `spend_30d` and the derived column.
pub(crate) struct FakeModel;

impl Predictor for FakeModel {
    fn predict(&self, inputs: &RecordBatch) -> Result<StructArray, Report> {
        let column = |name: &str| inputs.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
        let (amount, spend, product) = (column("amount"), column("spend_30d"), column("amount_times_spend"));
        let value = |array: &Float64Array, row: usize| if array.is_null(row) { 0.125 } else { array.value(row) };
        let score = |row| value(&amount, row) / 7.0 + value(&spend, row) / 3.0 + value(&product, row) / 11.0;
        let scores: Vec<f64> = (0..inputs.num_rows()).map(score).collect();
        let fields: Fields =
            vec![Field::new("prediction", DataType::Boolean, true), Field::new("score", DataType::Float64, true)]
                .into();
        let prediction = BooleanArray::from_iter(scores.iter().map(|score| Some(*score > 10.0)));
        Ok(StructArray::new(fields, vec![Arc::new(prediction), Arc::new(Float64Array::from(scores))], None))
    }

    fn classes(&self) -> Option<Vec<String>> {
        Some(vec!["false".into(), "true".into()])
    }
}

/// Knows customer `c1`.
pub(crate) struct FakeFeatures;

impl Features for FakeFeatures {
    fn lookup(&self, _: &Lookup, entities: &[ArrayRef], _: &[i64]) -> Result<Looked, Report> {
        let customers = entities[0].as_string::<i32>();
        let found: Vec<bool> = customers.iter().map(|customer| customer == Some("c1")).collect();
        let spend = Float64Array::from_iter(found.iter().map(|found| found.then_some(120.1)));
        let payments = Int64Array::from_iter(found.iter().map(|found| found.then_some(7)));
        let columns = RecordBatch::try_from_iter([
            ("payments", Arc::new(payments) as ArrayRef),
            ("spend_30d", Arc::new(spend) as ArrayRef),
        ]);
        Ok(Looked { columns: columns.unwrap(), found })
    }
}

/// Compiles `a * b`, keeps tables in memory, and answers the one query that receipts ask.
#[derive(Default)]
pub(crate) struct FakeEngine {
    pub(crate) tables: Mutex<BTreeMap<String, TableFiles>>,
    /// When there is one, every look at a table's files takes a permit, and waits for it.
    pub(crate) gate: Option<tokio::sync::Semaphore>,
}

struct Product {
    schema: SchemaRef,
    places: Vec<(usize, usize)>,
}

impl RowProgram for Product {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let column = |at: usize| batch.column(at).as_primitive::<Float64Type>();
        let product = |(a, b): &(usize, usize)| {
            let (a, b) = (column(*a), column(*b));
            let values = a.iter().zip(b).map(|(a, b)| Some(a? * b?));
            Arc::new(Float64Array::from_iter(values)) as ArrayRef
        };
        Ok(RecordBatch::try_new(self.schema(), self.places.iter().map(product).collect()).unwrap())
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn locality(&self, _: &Catalog, _: &str) -> Result<Locality, QueryError> {
        Err(QueryError::Unsupported { message: "locality".into() })
    }

    fn analyze(&self, _: &Catalog, _: &str) -> Result<Typed, QueryError> {
        Err(QueryError::Unsupported { message: "analyze".into() })
    }

    fn lineage(&self, _: &Catalog, _: &str) -> Result<Lineage, QueryError> {
        Err(QueryError::Unsupported { message: "lineage".into() })
    }

    async fn query(&self, catalog: &Catalog, sql: &str) -> Result<BatchStream, QueryError> {
        let (_, relation) = catalog.relations.first_key_value().unwrap();
        let Relation::Files { schema, folder, files } = relation else { panic!("{sql}") };
        let wanted = sql.contains("where").then(|| sql.rsplit('\'').nth(1).unwrap());
        let folder = folder.strip_prefix("file://").unwrap();
        let mut found = Vec::new();
        for file in files.iter() {
            let file = std::fs::File::open(format!("{folder}{}", file.path)).unwrap();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let receipts = batch.column_by_name("receipt").unwrap().as_string::<i32>();
                let rows =
                    (0..batch.num_rows()).filter(|row| wanted.is_none_or(|wanted| receipts.value(*row) == wanted));
                found.extend(rows.map(|row| batch.slice(row, 1)));
            }
        }
        Ok(stream_of(Arc::clone(schema), found))
    }

    fn explain(&self, _: &Catalog, _: &str) -> Result<String, QueryError> {
        Err(QueryError::Unsupported { message: "explain".into() })
    }

    fn compile(&self, schema: SchemaRef, expressions: &[(String, String)]) -> Result<Arc<dyn RowProgram>, QueryError> {
        let place = |name: &str| {
            schema.index_of(name).map_err(|_| QueryError::UnknownColumn {
                name: name.into(),
                table: None,
                known: schema.fields().iter().map(|field| field.name().clone()).collect(),
                at: None,
            })
        };
        let places = expressions.iter().map(|(_, sql)| {
            let (a, b) = sql.split_once(" * ").unwrap();
            Ok((place(a)?, place(b)?))
        });
        let places = places.collect::<Result<_, QueryError>>()?;
        let fields = expressions.iter().map(|(name, _)| Field::new(name, DataType::Float64, true));
        Ok(Arc::new(Product { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), places }))
    }

    async fn commit(&self, table: &TableLocation, commit: Commit) -> Result<i64, QueryError> {
        let mut tables = self.tables.lock().unwrap();
        let version = tables.get(&table.0).map_or(0, |present| present.version + 1);
        tables.insert(table.0.clone(), TableFiles { version, schema: commit.schema, files: commit.files });
        Ok(version)
    }

    async fn files(&self, table: &TableLocation, _: Option<i64>) -> Result<Option<TableFiles>, QueryError> {
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        Ok(self.tables.lock().unwrap().get(&table.0).cloned())
    }
}

pub(crate) fn pipeline() -> Pipeline {
    Pipeline::with_model(&FakeEngine::default(), fraud_package(), Arc::new(FakeModel)).unwrap()
}

pub(crate) fn endpoints(publication: i64) -> Endpoints {
    let endpoint = Endpoint { version: VersionId("feed".into()), pipeline: Arc::new(pipeline()) };
    Endpoints {
        environment: "main".into(),
        publication,
        nodes: BTreeMap::from([(NodeName::new("fraud"), VersionId("feed".into()))]),
        models: BTreeMap::from([(NodeName::new("fraud"), Arc::new(endpoint))]),
        features: Arc::new(FakeFeatures),
    }
}
