//! What serving needs of a publication: its endpoints, online features, receipts, and models inside SQL.

use crate::catalog::{self, Versions};
use crate::context::{Context, nothing_published};
use arrow::array::ArrayRef;
use pelton_base::{Digest, NodeName, Report, Reports, VersionId};
use pelton_features::{
    AsOf, FeatureTable, Found, Labels, OnlineBuilder, OnlineStore, ResolvedUse, Taken, training_sql,
};
use pelton_query::{Catalog, Relation, sql};
use pelton_serve::{
    Endpoint, Endpoints, Features, Followed, Loader, Log, LogSettings, Looked, Lookup, Package, Pipeline,
    ReceiptSource, Receipts, Switch, Training, package_of,
};
use pelton_store::VersionRecord;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a server looks for a new publication: a lookup of one row.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// How often the prediction log becomes rows of its table.
const DRAIN_EVERY: Duration = Duration::from_secs(5);

/// The parts of a running server that come from a project's warehouse.
pub struct Serving {
    ctx: Arc<Context>,
    environment: String,
    /// The endpoints in service.
    pub switch: Arc<Switch>,
    /// The prediction log.
    pub log: Arc<Log>,
    /// Resolves receipts.
    pub receipts: Arc<dyn ReceiptSource>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("environment", &self.environment).finish_non_exhaustive()
    }
}

impl Serving {
    /// Loads the environment's endpoints and takes in what an earlier server left in its log.
    pub async fn start(ctx: Arc<Context>, environment: &str) -> Result<Serving, Reports> {
        pelton_serve::drain(ctx.engine.as_ref(), &ctx.warehouse).await?;
        let endpoints = load_endpoints(&ctx, environment)?;
        let log = Log::open(&ctx.warehouse.log_dir(), LogSettings::default())?;
        let receipts = receipts(&ctx);
        Ok(Serving {
            ctx,
            environment: environment.to_string(),
            switch: Arc::new(Switch::new(endpoints)),
            log: Arc::new(log),
            receipts,
        })
    }

    /// Switches to new publications and moves the log into its table until `stop` completes; then moves what is left.
    ///
    /// `on_mistake` hears of everything that went wrong; serving goes on with what is in service.
    pub async fn watch(
        &self,
        stop: impl Future<Output = ()>,
        on_mistake: impl Fn(&Report) + Send + Sync,
        on_switch: impl Fn(i64) + Send + Sync,
    ) {
        let following =
            pelton_serve::follow(
                self.switch.clone(),
                Arc::new(self.loader()),
                WATCH_EVERY,
                |followed| match followed {
                    Followed::Switched { to, .. } => on_switch(to),
                    Followed::Failed(mistake) => on_mistake(&mistake),
                },
            );
        let draining = pelton_serve::keep_draining(
            self.log.clone(),
            self.ctx.engine.clone(),
            self.ctx.warehouse.clone(),
            DRAIN_EVERY,
            stop,
            |mistake| on_mistake(&mistake),
        );
        tokio::select! {
            () = draining => {}
            () = following => {}
        }
    }

    fn loader(&self) -> EnvironmentLoader {
        EnvironmentLoader { ctx: self.ctx.clone(), environment: self.environment.clone() }
    }
}

/// Resolves receipts of the context's warehouse.
pub fn receipts(ctx: &Context) -> Arc<dyn ReceiptSource> {
    Arc::new(Receipts::new(ctx.engine.clone(), ctx.warehouse.clone()))
}

struct EnvironmentLoader {
    ctx: Arc<Context>,
    environment: String,
}

impl Loader for EnvironmentLoader {
    fn current(&self) -> Result<Option<i64>, Report> {
        self.ctx.warehouse.state().current_id(&self.environment).map_err(|error| error.report())
    }

    fn load(&self) -> Result<Endpoints, Report> {
        load_endpoints(&self.ctx, &self.environment)
    }
}

/// The endpoints of an environment's newest publication.
pub(crate) fn load_endpoints(ctx: &Context, environment: &str) -> Result<Endpoints, Report> {
    let current = ctx.warehouse.state().current(environment).map_err(|error| error.report())?;
    let Some(publication) = current else { return Err(nothing_published(environment)) };
    let mut models = BTreeMap::new();
    let mut stores = BTreeMap::new();
    for (name, id) in &publication.nodes {
        let head = ctx.warehouse.state().version_head(id).map_err(|error| error.report())?;
        if head.is_none_or(|head| head.kind != "model") {
            continue;
        }
        let version = catalog::load(ctx, id)?;
        let pipeline = pipeline(ctx, &version, &publication.nodes)?;
        for lookup in &pipeline.package().lookups {
            if let std::collections::btree_map::Entry::Vacant(empty) = stores.entry(lookup.version.clone()) {
                let path = ctx.warehouse.online_path(&lookup.table, &lookup.version);
                let store = OnlineStore::open(&path).map_err(|error| error.report(&format!("model `{name}`")))?;
                empty.insert(store);
            }
        }
        models.insert(name.clone(), Arc::new(Endpoint { version: id.clone(), pipeline: Arc::new(pipeline) }));
    }
    Ok(Endpoints {
        environment: environment.to_string(),
        publication: publication.id,
        nodes: publication.nodes,
        models,
        features: Arc::new(OnlineFeatures(stores)),
    })
}

/// A model version, compiled, with the feature tables at the versions of a publication.
pub(crate) fn pipeline(ctx: &Context, version: &VersionRecord, versions: &Versions) -> Result<Pipeline, Report> {
    let mut package = package_of(&ctx.warehouse, version)?;
    package.set_versions(versions);
    let bytes = ctx.warehouse.artifacts().get(package.artifact).map_err(|error| error.report())?;
    Pipeline::compile(ctx.engine.as_ref(), package, &bytes)
}

/// What `predict(model, table)` depends on, beside the rows of the table.
pub(crate) struct Scoring {
    /// How a row is scored: the model's bytes, and all of its package but the versions that it was trained on.
    pub(crate) recipe: Digest,
    /// Where features are looked up.
    pub(crate) features: Vec<NodeName>,
}

/// What scoring with a version of a model depends on.
pub(crate) fn scoring(ctx: &Context, model: &VersionId) -> Result<Scoring, Report> {
    let version = catalog::load(ctx, model)?;
    // A package that this Pelton cannot read is told by what needs it.
    let Ok(mut package) = package_of(&ctx.warehouse, &version) else {
        return Ok(Scoring { recipe: version.digest, features: Vec::new() });
    };
    package.training = Training::default();
    for lookup in &mut package.lookups {
        lookup.version = VersionId(String::new());
    }
    let features = package.lookups.iter().map(|lookup| lookup.table.clone()).collect();
    Ok(Scoring { recipe: Digest::of(&package.to_bytes()), features })
}

/// Online features of one publication, by feature table version.
struct OnlineFeatures(BTreeMap<VersionId, OnlineStore>);

impl Features for OnlineFeatures {
    fn lookup(&self, lookup: &Lookup, entities: &[ArrayRef], at_us: &[i64]) -> Result<Looked, Report> {
        let Some(store) = self.0.get(&lookup.version) else {
            return Err(Report::error("internal", format!("features of `{}` are not online", lookup.table)));
        };
        let found = store
            .lookup_at(entities, at_us.iter().copied())
            .map_err(|error| error.report(&format!("features of `{}`", lookup.table)))?;
        let is_there = found.found.iter().map(|found| *found == Found::Yes).collect();
        Ok(Looked { columns: found.features, found: is_there })
    }
}

/// The packages of the models among these versions.
pub(crate) fn packages(ctx: &Context, versions: &Versions) -> Result<Vec<Package>, Reports> {
    // Asked one by one, ten thousand nodes take a tenth of a second.
    let models = ctx.warehouse.state().nodes_with_models().map_err(crate::context::reports)?;
    let mut packages = Vec::new();
    for id in models.iter().filter_map(|name| versions.get(name)) {
        let version = catalog::load(ctx, id)?;
        if version.kind == "model" {
            packages.push(package_of(&ctx.warehouse, &version)?);
        }
    }
    Ok(packages)
}

/// The feature table versions that models among these versions look up.
pub(crate) fn wanted_online(ctx: &Context, versions: &Versions) -> Result<BTreeMap<VersionId, Lookup>, Reports> {
    Ok(looked_up(packages(ctx, versions)?, versions))
}

fn looked_up(packages: Vec<Package>, versions: &Versions) -> BTreeMap<VersionId, Lookup> {
    let mut wanted: BTreeMap<VersionId, Lookup> = BTreeMap::new();
    for mut package in packages {
        package.set_versions(versions);
        wanted.extend(package.lookups.into_iter().map(|lookup| (lookup.version.clone(), lookup)));
    }
    wanted
}

/// Makes the online features of every feature table that the models among these versions, given as `packages`, look up; those that are there
/// stay.
pub(crate) async fn build_online(ctx: &Context, versions: &Versions, packages: Vec<Package>) -> Result<(), Reports> {
    for (id, lookup) in looked_up(packages, versions) {
        let name = lookup.table.clone();
        let path = ctx.warehouse.online_path(&name, &id);
        if path.exists() {
            continue;
        }
        let table = feature_table(ctx, &lookup)?;
        let catalog = catalog::bind(ctx, versions, [name.clone()])?;
        let subject = format!("feature table `{name}`");
        let text = pelton_features::latest_sql(&table, &sql::ident(name.as_str()), ctx.now_us());
        let failed = |error: pelton_query::QueryError| Reports::from(error.report(&subject));
        let mut stream = ctx.engine.query(&catalog, &text).await.map_err(failed)?;
        let mut builder = OnlineBuilder::create(&path, &table).map_err(|error| error.report(&subject))?;
        while let Some(batch) = futures::StreamExt::next(&mut stream.batches).await {
            let batch = pelton_store::to_stored(&batch.map_err(failed)?).map_err(crate::context::reports)?;
            builder.add(&batch).map_err(|error| error.report(&subject))?;
        }
        builder.finish().map_err(|error| error.report(&subject))?;
    }
    Ok(())
}

/// Puts a model into a catalog: its scoring function, `predict(model, table)`, and the feature tables that it looks up.
pub(crate) fn bind_model(
    ctx: &Context,
    versions: &Versions,
    version: &VersionRecord,
    catalog: &mut Catalog,
) -> Result<(), Report> {
    let pipeline = Arc::new(pipeline(ctx, version, versions)?);
    let package = pipeline.package().clone();
    let mut uses = Vec::new();
    for lookup in &package.lookups {
        let bound = catalog::bind(ctx, versions, [lookup.table.clone()])?;
        catalog.relations.extend(bound.relations);
        uses.push(resolved(ctx, lookup)?);
    }
    let scorer = format!("pelton_score_{}", version.node);
    let text = predict_sql(&pipeline, &package, uses, &scorer, ctx.now_us());
    catalog.scorers.insert(scorer, pipeline.as_scorer());
    catalog.predicts.insert(version.node.to_string(), text);
    Ok(())
}

/// The feature table that a model looks up, as the model was trained on it, at the version of the publication.
fn feature_table(ctx: &Context, lookup: &Lookup) -> Result<FeatureTable, Report> {
    Ok(FeatureTable {
        name: lookup.table.clone(),
        entity: lookup.entity.clone(),
        time: lookup.time.clone(),
        known_at: lookup.known_at.clone(),
        ttl_us: lookup.ttl_us,
        schema: catalog::load(ctx, &lookup.version)?.schema(),
    })
}

/// What a lookup stands for in the as-of join.
fn resolved(ctx: &Context, lookup: &Lookup) -> Result<ResolvedUse, Report> {
    let table = feature_table(ctx, lookup)?;
    let columns = lookup
        .columns
        .iter()
        .map(|column| Taken { column: column.column.clone(), name: column.name.clone() })
        .collect();
    Ok(ResolvedUse { table, columns })
}

/// The SELECT that `predict(model, table)` stands for: the table's columns, then the prediction's.
fn predict_sql(
    pipeline: &Pipeline,
    package: &Package,
    uses: Vec<ResolvedUse>,
    scorer: &str,
    now_us: i64,
) -> pelton_query::Predict {
    let feature = |name: &String| {
        let of_use = |(at, used): (usize, &ResolvedUse)| {
            let taken = used.columns.iter().find(|taken| taken.name == *name)?;
            Some(format!("f{at}.{}", sql::ident(&taken.column)))
        };
        uses.iter().enumerate().find_map(of_use)
    };
    let input = |name: &String| feature(name).unwrap_or_else(|| format!("l.{}", sql::ident(name)));
    let inputs: Vec<String> = pipeline.inputs().fields().iter().map(|field| input(field.name())).collect();
    let outputs: Vec<String> = pipeline
        .output()
        .iter()
        .map(|field| format!("pelton_scored[{}] as {}", sql::text(field.name()), sql::ident(field.name())))
        .collect();
    let score = format!("{}({}) as pelton_scored", sql::ident(scorer), inputs.join(", "));
    let outputs = outputs.join(", ");
    let as_of = match &package.time {
        Some(time) => AsOf::Column(time.clone()),
        None => AsOf::Instant(now_us),
    };
    Arc::new(move |table: &str| {
        let labels =
            Labels { relation: table.to_string(), columns: Vec::new(), as_of: as_of.clone(), order_by: Vec::new() };
        let joined = training_sql(&labels, &uses);
        let from = joined.find("\nfrom ").map_or("", |at| &joined[at..]);
        let hidden = match as_of {
            AsOf::Column(_) => "pelton_scored",
            AsOf::Instant(_) => "pelton_scored, pelton_as_of",
        };
        format!("select * except ({hidden}), {outputs} from (select l.*, {score}{from}) as scored")
    })
}

/// Adds `pelton.predictions`, when anything was ever predicted.
pub(crate) fn bind_predictions(ctx: &Context, catalog: &mut Catalog) -> Result<(), Report> {
    let place = pelton_serve::predictions_table(&ctx.warehouse);
    let found = pelton_store::wait(ctx.engine.files(&place, None)).map_err(|error| error.report("predictions"))?;
    let relation = match found {
        Some(found) => Relation::Files { schema: found.schema, folder: place.0.clone(), files: Arc::new(found.files) },
        None => Relation::Batches(pelton_serve::predictions_schema(), Vec::new()),
    };
    catalog.relations.insert("pelton.predictions".into(), relation);
    Ok(())
}
