//! A model becomes a version: training examples with their features as of each row's time, fitted, judged, and packed for serving.

use crate::catalog::Versions;
use crate::context::Context;
use crate::fingerprint::Heads;
use crate::outcome::ModelReport;
use crate::run::Building;
use crate::{catalog, check, fingerprint, learned, table};
use pelton_base::{Digest, NodeName, Report, Reports, Seed, VersionId};
use pelton_features::{AsOf, FeatureTable, Labels, ResolvedUse, training_sql};
use pelton_project::{Model, Node};
use pelton_query::{Catalog, Engine, QueryError, Relation, collect, sql, types};
use pelton_serve::{FeatureColumn, Lookup, Package, RequestField, TrainedOn, Training, package_of};
use pelton_store::{ColumnType, MetricRecord, StoreError, VersionHead, VersionRecord};
use pelton_train::{Columns, InService, Options, Trained};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};

/// A trained version.
pub(crate) struct Built {
    pub(crate) version: VersionRecord,
    pub(crate) report: ModelReport,
    /// Why it is not put into service.
    pub(crate) held: Vec<Report>,
    /// The version that was trained on the same, where nothing was fitted.
    pub(crate) learned_by: Option<VersionId>,
}

/// Trains, judges and records a new version of a model.
pub(crate) async fn build(
    building: &Building<'_>,
    node: &Node,
    model: &Model,
    fingerprint: Digest,
    previous: Option<&VersionHead>,
) -> Result<Built, Reports> {
    let ctx = building.ctx;
    let id = VersionId::of(&node.name, fingerprint, building.run);
    let set = training_set(building, node, model, &id).await?;
    let training = learned::digest(ctx, model, &set)?;
    if let Some(same) = learned::before(ctx, node, training)? {
        return learned::again(building, (node, model), &set, &same, (id, fingerprint), previous).await;
    }
    let in_service = previous.map(|head| current(ctx, head)).transpose()?;
    let against = in_service.as_ref().map(|current| current.id.clone());
    let trained = train(building, node, &set, in_service).await?;
    let trained_bytes = trained.chosen.to_bytes();
    let store = |error: StoreError| Reports::from(error.report());
    let artifacts = ctx.warehouse.artifacts();
    let artifact = artifacts.put(&trained_bytes).map_err(store)?;
    let learned = (word(&trained.learner), trained.metrics());
    let package = package(building, node, model, &set, learned, artifact);
    package.validate()?;
    let package = artifacts.put(&package.to_bytes()).map_err(store)?;
    let card_markdown = artifacts.put(trained.card.markdown().as_bytes()).map_err(store)?;
    let card_json = serde_json::to_vec_pretty(&trained.card).map_err(|error| {
        Report::error("internal", format!("the card of `{}` cannot be written: {error}", node.name))
    })?;
    let card = artifacts.put(&card_json).map_err(store)?;
    let learner = word(&trained.learner);
    let metric = metric_name(model, &trained);
    let version = VersionRecord {
        id: id.clone(),
        node: node.name.clone(),
        kind: "model".into(),
        run: building.run.clone(),
        fingerprint,
        digest: artifact,
        built_at_us: ctx.now_us(),
        columns: ColumnType::of(&Schema::new(set.columns.inputs.clone())),
        rows: set.rows.num_rows() as u64,
        bytes: trained_bytes.len() as u64,
        delta_version: None,
        files: Arc::default(),
        inputs: building.inputs(node),
        quarantine: Vec::new(),
        quarantined: 0,
        dropped: 0,
        detail: serde_json::json!({
            "sql": model.select.sql,
            (learned::TRAINING): training,
            "package": package,
            "model": artifact,
            "card": card,
            "card_markdown": card_markdown,
            "learner": learner,
            "metric": metric,
            "metrics": trained.metrics(),
            "accepted": trained.accepted,
            "judged_against": JudgedAgainst::of(against, &trained),
            "beats_baseline": !trained.refusals.iter().any(|report| report.code == "baseline-not-beaten"),
        }),
    };
    let mut metrics = Vec::new();
    for candidate in &trained.candidates {
        for (part, values) in [("valid", &candidate.valid), ("test", &candidate.test)] {
            metrics.extend(values.iter().map(|(metric, value)| MetricRecord {
                run: building.run.clone(),
                node: node.name.clone(),
                version: id.clone(),
                learner: word(&candidate.learner),
                part: part.into(),
                metric: metric.clone(),
                value: *value,
            }));
        }
    }
    ctx.warehouse.state().insert_version(&version).map_err(store)?;
    ctx.warehouse.state().record_metrics(&metrics).map_err(store)?;
    for leak in &trained.leaks {
        building.warn(leak.clone());
    }
    let baseline = trained.candidates.iter().find(|candidate| word(&candidate.learner) == "baseline");
    let report = ModelReport {
        node: node.name.clone(),
        version: id,
        learner,
        metric,
        metrics: trained.metrics().clone(),
        baseline: baseline.map(|candidate| candidate.test.clone()).unwrap_or_default(),
        accepted: trained.accepted,
    };
    let held = if trained.accepted { Vec::new() } else { trained.refusals };
    Ok(Built { version, report, held, learned_by: None })
}

/// The version in service that a new one was compared with, and its metrics on the new one's test part.
///
/// A version that is held is found again by the next run, and gets the same verdict: metrics that either version has of its own
/// training are of other examples, and are compared with nothing.
#[derive(serde::Serialize, serde::Deserialize)]
struct JudgedAgainst {
    version: String,
    metrics: BTreeMap<String, f64>,
}

impl JudgedAgainst {
    fn of(version: Option<String>, trained: &Trained) -> Option<Self> {
        let (version, metrics) = version.zip(trained.marks.clone())?;
        Some(JudgedAgainst { version, metrics })
    }

    fn recorded(version: &VersionRecord) -> Option<Self> {
        serde_json::from_value(version.detail.get("judged_against")?.clone()).ok()
    }
}

/// Asks the gates of a version again that was trained earlier; gives why it is held, nothing when it may go into service.
///
/// `inputs` are the versions that its examples come from, to ask a version in service that it was not compared with yet.
pub(crate) async fn judge_again(
    ctx: &Context,
    node: &Node,
    model: &Model,
    head: &VersionHead,
    in_service: Option<&VersionHead>,
    inputs: Option<&Versions>,
) -> Result<Vec<Report>, Reports> {
    let version = catalog::load(ctx, &head.id)?;
    let metrics = metrics_of(&version);
    let marks = match in_service.filter(|current| current.id != head.id) {
        Some(current) => Some((current.id.0.clone(), marks(ctx, node, model, &version, current, inputs).await?)),
        None => None,
    };
    let current = marks.as_ref().map(|(id, metrics)| InService { version: id, metrics, model: None });
    let mut held = pelton_train::refusals(node, model, &metrics, current.as_ref());
    if version.detail.get("beats_baseline").and_then(serde_json::Value::as_bool) == Some(false) {
        let message = format!("model `{}` is no better than the baseline", node.name);
        held.push(Report::error("baseline-not-beaten", message).note(format!("version {}", head.id)));
    }
    Ok(held)
}

/// The metrics of the version in service on the test part of `version`: as they were recorded when `version` was judged, or found
/// now. Those of its own training stand in where it cannot be asked, as they do in a first judgement.
async fn marks(
    ctx: &Context,
    node: &Node,
    model: &Model,
    version: &VersionRecord,
    in_service: &VersionHead,
    inputs: Option<&Versions>,
) -> Result<BTreeMap<String, f64>, Reports> {
    if let Some(judged) = JudgedAgainst::recorded(version).filter(|judged| judged.version == in_service.id.0) {
        return Ok(judged.metrics);
    }
    let of_its_own = metrics_of(&catalog::load(ctx, &in_service.id)?);
    let is_compared = model.accept.iter().any(|gate| gate.relative);
    let Some(inputs) = inputs.filter(|_| is_compared) else { return Ok(of_its_own) };
    let Some(asked) = current(ctx, in_service)?.model else { return Ok(of_its_own) };
    let (catalog, select) = reads(ctx, node, model, inputs)?;
    let set = joined(ctx, node, model, inputs, &catalog, &select).await?;
    let (owned, seed) = (node.clone(), Seed(ctx.project.settings.seed));
    let asking =
        tokio::task::spawn_blocking(move || pelton_train::marks(&set.rows, &owned, &set.columns, seed, &asked));
    let found = asking.await.map_err(|_| Report::error("internal", format!("judging `{}` panicked", node.name)))??;
    Ok(found.unwrap_or(of_its_own))
}

/// The versions that a model's examples came from; `None` when the project makes other examples now, or one of them is not recorded.
pub(crate) fn trained_on(ctx: &Context, node: &Node, version: &VersionRecord) -> Result<Option<Versions>, Reports> {
    let (mut heads, mut waiting) = (Heads::default(), VecDeque::from(version.inputs.clone()));
    while let Some((name, id)) = waiting.pop_front() {
        if heads.contains_key(&name) {
            continue;
        }
        let Some(read) = ctx.warehouse.state().version(&id).map_err(crate::context::reports)? else { return Ok(None) };
        // What a view or a model reads is read with it.
        if read.kind == "model" || read.is_view() {
            waiting.extend(read.inputs.iter().cloned());
        }
        heads.insert(name, read.head());
    }
    let is_same = fingerprint::of_node(ctx, node, &heads)? == Some(version.fingerprint);
    Ok(is_same.then(|| catalog::versions(&heads)))
}

/// Asks the gates of the version in service, after they changed; gives a report for each that it does not meet.
pub(crate) fn judge_in_service(
    ctx: &Context,
    node: &Node,
    model: &Model,
    head: &VersionHead,
) -> Result<Vec<Report>, Report> {
    let metrics = metrics_of(&catalog::load(ctx, &head.id)?);
    let in_service = InService { version: &head.id.0, metrics: &metrics, model: None };
    Ok(pelton_train::refusals_in_service(node, model, &in_service))
}

/// The columns of a model's SELECT.
pub(crate) fn select_schema(
    ctx: &Context,
    node: &Node,
    model: &Model,
    catalog: &Catalog,
) -> Result<SchemaRef, Reports> {
    let typed = ctx.engine.analyze(catalog, &model.select.sql).map_err(|error| table::select_report(node, &error))?;
    pelton_store::stored_schema(&typed.schema).map_err(crate::context::reports)
}

pub(crate) fn metrics_of(version: &VersionRecord) -> BTreeMap<String, f64> {
    version.detail.get("metrics").and_then(|metrics| serde_json::from_value(metrics.clone()).ok()).unwrap_or_default()
}

/// The version in service, to be judged on the same examples as its successor.
struct Current {
    id: String,
    metrics: BTreeMap<String, f64>,
    model: Option<pelton_learn::Model>,
}

fn current(ctx: &Context, head: &VersionHead) -> Result<Current, Report> {
    let version = catalog::load(ctx, &head.id)?;
    let package = package_of(&ctx.warehouse, &version)?;
    let bytes = ctx.warehouse.artifacts().get(package.artifact).map_err(|error| error.report())?;
    Ok(Current {
        id: head.id.0.clone(),
        metrics: metrics_of(&version),
        model: pelton_learn::Model::from_bytes(&bytes).ok(),
    })
}

/// Training examples with features and derived columns, ordered by key.
pub(crate) struct TrainingSet {
    pub(crate) rows: RecordBatch,
    pub(crate) columns: Columns,
    uses: Vec<ResolvedUse>,
}

async fn training_set(
    building: &Building<'_>,
    node: &Node,
    model: &Model,
    id: &VersionId,
) -> Result<TrainingSet, Reports> {
    let ctx = building.ctx;
    building.progress(&node.name, "joining features as of each row's time");
    let (catalog, select) = reads(ctx, node, model, building.versions())?;
    let relation = Relation::View(model.select.sql.clone());
    building.check_staged(node, &select, &model.checks, &relation, &catalog, id).await?;
    joined(ctx, node, model, building.versions(), &catalog, &select).await
}

/// What a model reads, and the columns of its SELECT.
fn reads(ctx: &Context, node: &Node, model: &Model, versions: &Versions) -> Result<(Catalog, SchemaRef), Reports> {
    let catalog = catalog::bind(ctx, versions, node.reads.iter().map(|(name, _)| name.clone()))?;
    let select = select_schema(ctx, node, model, &catalog)?;
    Ok((catalog, select))
}

/// The examples of a model over versions of what it reads.
async fn joined(
    ctx: &Context,
    node: &Node,
    model: &Model,
    versions: &Versions,
    catalog: &Catalog,
    select: &SchemaRef,
) -> Result<TrainingSet, Reports> {
    let mut tables = BTreeMap::new();
    for used in &model.features {
        if let (Some(node), Some(id)) = (ctx.project.nodes.get(&used.table), versions.get(&used.table)) {
            let schema = match catalog::is_view(node) {
                true => view_schema(ctx, catalog, node)?,
                false => catalog::load(ctx, id)?.schema(),
            };
            tables.extend(FeatureTable::of(node, &schema)?.map(|table| (used.table.clone(), table)));
        }
    }
    examples(ctx.engine.as_ref(), node, model, catalog, select, &tables, ctx.now_us()).await
}

/// A model's training examples over a catalog: its SELECT, whose columns are `select`, joined with `tables` as of each row's time.
pub(crate) async fn examples(
    engine: &dyn Engine,
    node: &Node,
    model: &Model,
    catalog: &Catalog,
    select: &SchemaRef,
    tables: &BTreeMap<NodeName, FeatureTable>,
    now_us: i64,
) -> Result<TrainingSet, Reports> {
    let uses = pelton_features::resolve(node, select, tables)?;
    let names: Vec<String> = select.fields().iter().map(|field| field.name().clone()).collect();
    let key: Vec<String> = model.key.iter().map(|key| key.value.clone()).collect();
    let labels = Labels {
        relation: format!("({})", model.select.sql.trim_end().trim_end_matches(';')),
        columns: names.clone(),
        as_of: match &model.time {
            Some(time) => AsOf::Column(time.value.clone()),
            None => AsOf::Instant(now_us),
        },
        // The order of examples is part of what is learned: without a key, all columns give it.
        order_by: if key.is_empty() { names } else { key },
    };
    let failed = |error: QueryError| Reports::from(table::select_report(node, &error));
    let stream = engine.query(catalog, &training_sql(&labels, &uses)).await.map_err(failed)?;
    let schema = pelton_store::stored_schema(&stream.schema).map_err(crate::context::reports)?;
    let batches = collect(stream).await.map_err(failed)?;
    let batches =
        batches.iter().map(pelton_store::to_stored).collect::<Result<Vec<_>, _>>().map_err(crate::context::reports)?;
    let joined = concat_batches(&schema, &batches).map_err(|error| {
        Report::error("too-few-rows", format!("the examples of `{}` do not fit together: {error}", node.name))
    })?;
    drop(batches);
    with_derived(engine, node, model, select, uses, &joined)
}

/// Adds the derived columns to examples that have their features: the columns of the SELECT, then those of `uses`.
pub(crate) fn with_derived(
    engine: &dyn Engine,
    node: &Node,
    model: &Model,
    select: &SchemaRef,
    uses: Vec<ResolvedUse>,
    joined: &RecordBatch,
) -> Result<TrainingSet, Reports> {
    let failed = |error: QueryError| Reports::from(table::select_report(node, &error));
    let lookups = check::lookups(&uses);
    let expressions: Vec<(String, String)> =
        model.derive.iter().map(|derived| (derived.name.clone(), derived.sql.clone())).collect();
    let program = engine.compile(Columns::derive_schema(select, &lookups), &expressions).map_err(failed)?;
    let derived = program.evaluate(joined).map_err(failed)?;
    let columns = pelton_train::plan_columns(node, select, &lookups, &derived.schema())?;
    let fields: Vec<Arc<Field>> = joined.schema().fields().iter().chain(derived.schema().fields()).cloned().collect();
    let arrays = joined.columns().iter().chain(derived.columns()).cloned().collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| {
        Report::error("internal", format!("the examples of `{}` do not fit together: {error}", node.name))
    })?;
    Ok(TrainingSet { rows, columns, uses })
}

fn view_schema(ctx: &Context, catalog: &Catalog, node: &Node) -> Result<SchemaRef, Reports> {
    let text = format!("select * from {}", sql::ident(node.name.as_str()));
    let typed = ctx.engine.analyze(catalog, &text).map_err(|error| error.report(&format!("table `{}`", node.name)))?;
    pelton_store::stored_schema(&typed.schema).map_err(crate::context::reports)
}

async fn train(
    building: &Building<'_>,
    node: &Node,
    set: &TrainingSet,
    in_service: Option<Current>,
) -> Result<Trained, Reports> {
    let ctx = building.ctx;
    let options = Options { seed: Seed(ctx.project.settings.seed), threads: ctx.threads };
    let facts = facts(building, node)?;
    let (rows, columns, owned) = (set.rows.clone(), set.columns.clone(), node.clone());
    let handle = building.handle();
    let training = tokio::task::spawn_blocking(move || {
        let current = in_service.as_ref().map(|current| InService {
            version: &current.id,
            metrics: &current.metrics,
            model: current.model.as_ref(),
        });
        let name = owned.name.clone();
        let progress = |progress: pelton_train::Progress| {
            let doing = format!("fitting {} ({} of {})", word(&progress.learner), progress.step, progress.steps);
            handle.progress(&name, doing);
        };
        pelton_train::train(&rows, &owned, &columns, options, facts, current.as_ref(), &progress)
    });
    training.await.map_err(|_| Report::error("internal", format!("training `{}` panicked", node.name)))?
}

fn facts(building: &Building<'_>, node: &Node) -> Result<pelton_train::Facts, Reports> {
    let mut data = Vec::new();
    for (name, _) in &node.reads {
        if let Some(head) = building.head(name.as_str()) {
            data.push(pelton_train::DataVersion {
                node: name.to_string(),
                version: head.id.0.clone(),
                digest: Some(head.digest.to_string()),
                rows: head.rows_known(),
            });
        }
    }
    Ok(pelton_train::Facts { data })
}

/// The package of a version whose learner has reached these metrics.
pub(crate) fn package(
    building: &Building<'_>,
    node: &Node,
    model: &Model,
    set: &TrainingSet,
    (learner, metrics): (String, &BTreeMap<String, f64>),
    artifact: Digest,
) -> Package {
    let field = |field: &Field| RequestField {
        name: field.name().clone(),
        data_type: types::name(field.data_type()),
        nullable: true,
    };
    let lookup = |used: &ResolvedUse| Lookup {
        table: used.table.name.clone(),
        version: building
            .head(used.table.name.as_str())
            .map_or_else(|| VersionId(String::new()), |head| head.id.clone()),
        entity: used.table.entity.clone(),
        columns: used
            .columns
            .iter()
            .zip(used.fields())
            .map(|(taken, field)| FeatureColumn {
                column: taken.column.clone(),
                name: taken.name.clone(),
                data_type: types::name(field.data_type()),
            })
            .collect(),
        ttl_us: used.table.ttl_us,
        time: used.table.time.clone(),
        known_at: used.table.known_at.clone(),
    };
    Package {
        format: 0,
        model: node.name.clone(),
        task: model.task,
        learner,
        target: model.target.value.clone(),
        request: set.columns.request.iter().map(field).collect(),
        time: set.columns.time.as_ref().map(|time| time.name().clone()),
        key: set.columns.key_beside_request().map(field).collect(),
        lookups: set.uses.iter().map(lookup).collect(),
        derive: model.derive.iter().map(|derived| (derived.name.clone(), derived.sql.clone())).collect(),
        inputs: set.columns.inputs.iter().map(|field| field.name().clone()).collect(),
        missing: model.missing,
        artifact,
        training: Training {
            inputs: building.inputs(node).into_iter().map(|(node, version)| TrainedOn { node, version }).collect(),
            rows: set.rows.num_rows() as u64,
            metrics: metrics.clone(),
        },
    }
}

fn word(learner: &pelton_learn::Learner) -> String {
    format!("{learner:?}").to_lowercase()
}

/// The metric by which candidates were compared.
fn metric_name(model: &Model, trained: &Trained) -> String {
    match &model.metric {
        Some(metric) => metric.value.clone(),
        None => trained.card.metric.clone(),
    }
}
