//! [`Pipeline`]: one compiled scorer: request -> online features -> derived columns -> model -> prediction.
//!
//! Everything up to the model is prepared once, at [`Pipeline::compile`], which also scores zero rows: what does not fit together
//! is found when an endpoint is loaded, not at its first request.

use crate::package::{Lookup, Package};
use crate::rows::{Column, batch_of};
use arrow::array::cast::AsArray;
use arrow::array::types::TimestampMicrosecondType;
use arrow::array::{Array, ArrayRef, RecordBatch, StructArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{Field, Fields, Schema, SchemaRef};
use pelton_base::{Digest, Report};
use pelton_project::MissingRule;
use pelton_query::{Engine, RowProgram, types};
use std::sync::Arc;

/// How many entities without features a refusal names.
const MISSING_SHOWN_MAX: usize = 5;

/// Finds the features of entities as they are online.
pub trait Features: Send + Sync {
    /// The features of the entities in the rows of `entities` (one array for each of [`Lookup::entity`], of equal lengths) at the
    /// times `at_us`, one a row, microseconds since the epoch. A row older than [`Lookup::ttl_us`] is not found.
    fn lookup(&self, lookup: &Lookup, entities: &[ArrayRef], at_us: &[i64]) -> Result<Looked, Report>;
}

/// What a lookup found.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The feature columns under the names that they have in their table, one row for each asked; null where nothing was found.
    pub columns: RecordBatch,
    /// Which rows were found.
    pub found: Vec<bool>,
}

/// A model, seen from here.
pub trait Predictor: Send + Sync {
    /// Predicts rows of the columns that the model was fitted on: a struct of the prediction's columns.
    fn predict(&self, inputs: &RecordBatch) -> Result<StructArray, Report>;
    /// The classes in the order of their probabilities; `None` when the model predicts a number.
    fn classes(&self) -> Option<Vec<String>>;
}

/// The rows that one lookup found.
pub type Found = Vec<bool>;

/// A scored request.
#[derive(Debug, Clone)]
pub struct Scored {
    /// What derived columns and model saw: request, time, features. [`Pipeline::rescore`] of it gives the same output.
    pub inputs: RecordBatch,
    /// The key columns of the request.
    pub key: RecordBatch,
    /// By lookup: which rows were found.
    pub found: Vec<Found>,
    /// The derived columns.
    pub derived: RecordBatch,
    /// The prediction's columns.
    pub output: StructArray,
}

/// Where a column of the model comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Input(usize),
    Derived(usize),
}

/// A model version, ready to answer.
pub struct Pipeline {
    package: Package,
    /// Request columns, then time, then key.
    request: Vec<Column>,
    /// Request columns, then time: what of a request goes on to the model.
    request_width: usize,
    /// `request_width` columns, then features.
    inputs: SchemaRef,
    /// By lookup: the entity's places in the request.
    entities: Vec<Vec<usize>>,
    derive: Option<Arc<dyn RowProgram>>,
    derived: SchemaRef,
    origins: Vec<Origin>,
    model_schema: SchemaRef,
    model: Arc<dyn Predictor>,
    output: Fields,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").field("package", &self.package).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Compiles a package around the model's bytes; they must be the ones that the package names.
    pub fn compile(engine: &dyn Engine, package: Package, model_bytes: &[u8]) -> Result<Self, Report> {
        if Digest::of(model_bytes) != package.artifact {
            let message = format!("the bytes of model `{}` are not what was stored", package.model);
            return Err(Report::error("damaged-artifact", message));
        }
        let model = crate::learned::load(&package.model, model_bytes)?;
        Pipeline::with_model(engine, package, model)
    }

    /// Compiles a package around a model.
    pub fn with_model(engine: &dyn Engine, package: Package, model: Arc<dyn Predictor>) -> Result<Self, Report> {
        let mut request: Vec<Column> = package
            .request
            .iter()
            .map(|field| Column::required(&field.name, field.arrow_type(), field.nullable))
            .collect();
        request.extend(package.time.iter().map(|time| Column::optional(time, types::timestamp())));
        let request_width = request.len();
        request.extend(package.key.iter().map(|field| Column::optional(&field.name, field.arrow_type())));

        let features = package.lookups.iter().flat_map(|lookup| &lookup.columns);
        let fields = request[..request_width].iter().map(|column| column.field.clone());
        let fields = fields.chain(features.map(|feature| Field::new(&feature.name, feature.arrow_type(), true)));
        let inputs: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let index = |name: &String| package.request.iter().position(|field| field.name == *name);
        let place = |lookup: &Lookup, name: &String| {
            index(name).ok_or_else(|| unprovided(&package, &format!("the entity `{name}` of `{}`", lookup.table)))
        };
        let entities = package
            .lookups
            .iter()
            .map(|lookup| lookup.entity.iter().map(|name| place(lookup, name)).collect())
            .collect::<Result<_, _>>()?;

        let subject = format!("`derive` of model `{}`", package.model);
        let derive = match package.derive.as_slice() {
            [] => None,
            derive => Some(engine.compile(Arc::clone(&inputs), derive).map_err(|error| error.report(&subject))?),
        };
        let derived: SchemaRef = match &derive {
            Some(program) => Arc::new(stored_schema(&program.schema())),
            None => Arc::new(Schema::empty()),
        };
        let mut origins = Vec::new();
        let mut fields = Vec::new();
        for name in &package.inputs {
            if let Ok(at) = inputs.index_of(name) {
                origins.push(Origin::Input(at));
                fields.push(inputs.field(at).clone());
            } else if let Ok(at) = derived.index_of(name) {
                origins.push(Origin::Derived(at));
                fields.push(derived.field(at).clone());
            } else {
                return Err(unprovided(&package, &format!("the input `{name}`")));
            }
        }
        let mut pipeline = Pipeline {
            request,
            request_width,
            entities,
            derive,
            derived,
            origins,
            model_schema: Arc::new(Schema::new(fields)),
            model,
            output: Fields::empty(),
            package,
            inputs,
        };
        let (_, output) = pipeline.rescore(&RecordBatch::new_empty(Arc::clone(&pipeline.inputs)))?;
        pipeline.output = output.fields().clone();
        Ok(pipeline)
    }

    /// The package that was compiled.
    pub fn package(&self) -> &Package {
        &self.package
    }

    /// The columns that a request gives: request columns, then time, then key.
    pub fn request(&self) -> &[Column] {
        &self.request
    }

    /// The columns of [`Scored::inputs`]: request columns, time, features.
    pub fn inputs(&self) -> &SchemaRef {
        &self.inputs
    }

    /// How many of [`Pipeline::inputs`] come from the request and its time; features follow them.
    pub fn request_width(&self) -> usize {
        self.request_width
    }

    /// The classes in the order of their probabilities; `None` when the model predicts a number.
    pub fn classes(&self) -> Option<Vec<String>> {
        self.model.classes()
    }

    /// The prediction's columns.
    pub fn output(&self) -> &Fields {
        &self.output
    }

    /// Scores rows of [`Pipeline::request`]; a missing time is `now_us`.
    pub fn score(&self, request: &RecordBatch, now_us: i64, features: &dyn Features) -> Result<Scored, Report> {
        let rows = request.num_rows();
        let mut columns = request.columns()[..self.request_width].to_vec();
        let at_us = match (&self.package.time, columns.last_mut()) {
            (Some(_), Some(time)) => {
                let at_us = fill_time(time, now_us);
                *time = Arc::new(TimestampMicrosecondArray::from(at_us.clone()).with_timezone("UTC"));
                at_us
            }
            _ => vec![now_us; rows],
        };
        let mut found = Vec::with_capacity(self.package.lookups.len());
        for (lookup, entities) in self.package.lookups.iter().zip(&self.entities) {
            let entities: Vec<ArrayRef> = entities.iter().map(|at| Arc::clone(request.column(*at))).collect();
            let looked = features.lookup(lookup, &entities, &at_us)?;
            self.take_features(lookup, &looked, rows, &mut columns)?;
            if self.package.missing == MissingRule::Refuse {
                refuse_missing(lookup, &entities, &looked.found)?;
            }
            found.push(looked.found);
        }
        let inputs = new_batch(Arc::clone(&self.inputs), columns, rows)?;
        let key = &self.request[self.request_width..];
        let key = batch_of(key, request.columns()[self.request_width..].to_vec(), rows)?;
        let (derived, output) = self.rescore(&inputs).map_err(|report| self.of_row(&inputs, report))?;
        Ok(Scored { inputs, key, found, derived, output })
    }

    /// The report with the first row that it is about, when a row by itself fails too.
    fn of_row(&self, inputs: &RecordBatch, report: Report) -> Report {
        let alone = |row: usize| Some((row, self.rescore(&inputs.slice(row, 1)).err()?));
        match (0..inputs.num_rows()).find_map(alone) {
            Some((row, alone)) => Report { message: format!("row {row}: {}", alone.message), ..alone },
            None => report,
        }
    }

    /// Derived columns and model alone, on rows of [`Pipeline::inputs`]: the derived columns and the prediction.
    pub fn rescore(&self, inputs: &RecordBatch) -> Result<(RecordBatch, StructArray), Report> {
        let rows = inputs.num_rows();
        let derived = match &self.derive {
            Some(program) => {
                let subject = || format!("`derive` of model `{}`", self.package.model);
                let derived = program.evaluate(inputs).map_err(|error| error.report(&subject()))?;
                let columns = derived.columns().iter().zip(self.derived.fields());
                let columns = columns.map(|(column, field)| to_type(column, field, "derived column"));
                new_batch(Arc::clone(&self.derived), columns.collect::<Result<_, _>>()?, rows)?
            }
            None => new_batch(Arc::clone(&self.derived), Vec::new(), rows)?,
        };
        let columns = self.origins.iter().map(|origin| match *origin {
            Origin::Input(at) => Arc::clone(inputs.column(at)),
            Origin::Derived(at) => Arc::clone(derived.column(at)),
        });
        let output = self.model.predict(&new_batch(Arc::clone(&self.model_schema), columns.collect(), rows)?)?;
        Ok((derived, output))
    }

    /// Appends the features of one lookup under their names and types in the training set.
    fn take_features(
        &self,
        lookup: &Lookup,
        looked: &Looked,
        rows: usize,
        columns: &mut Vec<ArrayRef>,
    ) -> Result<(), Report> {
        if looked.found.len() != rows || looked.columns.num_rows() != rows {
            let message = format!("a lookup in `{}` gave {} rows for {rows}", lookup.table, looked.columns.num_rows());
            return Err(Report::error("internal", message));
        }
        for feature in &lookup.columns {
            let Some(column) = looked.columns.column_by_name(&feature.column) else {
                let Lookup { table, version, .. } = lookup;
                let message = format!("version {version} of `{table}` has no feature `{}`", feature.column);
                return Err(Report::error("missing-feature", message)
                    .note(format!("model `{}` was trained with it", self.package.model))
                    .hint("pelton run"));
            };
            columns.push(to_type(column, &Field::new(&feature.name, feature.arrow_type(), true), "feature")?);
        }
        Ok(())
    }
}

fn unprovided(package: &Package, what: &str) -> Report {
    Report::error("internal", format!("nothing provides {what} of model `{}`", package.model))
}

/// The schema as tables store it: derived columns were stored in the training set before the model saw them.
fn stored_schema(schema: &Schema) -> Schema {
    let stored = |field: &Field| {
        Field::new(field.name(), types::stored(field.data_type()).unwrap_or_else(|| field.data_type().clone()), true)
    };
    Schema::new(schema.fields().iter().map(|field| stored(field)).collect::<Vec<_>>())
}

fn to_type(column: &ArrayRef, field: &Field, what: &str) -> Result<ArrayRef, Report> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    cast(column, field.data_type()).map_err(|error| {
        let (has, needs) = (types::name(column.data_type()), types::name(field.data_type()));
        Report::error("type-mismatch", format!("{what} `{}` is {has}, and the model needs {needs}", field.name()))
            .note(error.to_string())
    })
}

fn new_batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Report> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| {
        Report::error("internal", "columns on the way to a model do not fit together").note(error.to_string())
    })
}

fn fill_time(time: &ArrayRef, now_us: i64) -> Vec<i64> {
    time.as_primitive::<TimestampMicrosecondType>().iter().map(|at| at.unwrap_or(now_us)).collect()
}

fn refuse_missing(lookup: &Lookup, entities: &[ArrayRef], found: &[bool]) -> Result<(), Report> {
    let missing: Vec<usize> = (0..found.len()).filter(|row| !found[*row]).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let shown = missing.iter().take(MISSING_SHOWN_MAX).map(|row| {
        let values = lookup.entity.iter().zip(entities).map(|(name, array)| {
            let mut out = Vec::new();
            crate::write_value(&mut out, array, *row);
            format!("{name} {}", crate::values::into_text(out))
        });
        format!("row {row}: {}", values.collect::<Vec<_>>().join(", "))
    });
    let message = format!("{} of {} rows have no features in `{}`", missing.len(), found.len(), lookup.table);
    Err(shown
        .fold(Report::error("missing-feature", message), Report::note)
        .note("the model's `missing = \"refuse\"` demands them"))
}
