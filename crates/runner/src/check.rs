//! Types every column of every node through the engine's planner, without reading data, up to what endpoints ask and answer.

use crate::known::KnownTypes;
use crate::source_columns::{self, Recorded, Untyped};
use crate::{column_names, increment, lineage, unit_tests};
use pelton_base::{Digest, NodeName, Report, Reports, Severity, parallel};
use pelton_features::{FeatureTable, ResolvedUse};
use pelton_project::{Body, Build, Check, Model, Node, Project, Select, UnitTests};
use pelton_query::{Catalog, Engine, QueryError, Relation, Scorer, sql, types};
use pelton_store::Warehouse;
use pelton_train::{Columns, Lookup};
use serde::Serialize;
use std::collections::BTreeMap;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// A column and its type, as Pelton names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypedColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// The columns of a node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeTypes {
    /// The node.
    pub node: NodeName,
    /// `source`, `table` or `model`.
    pub kind: &'static str,
    /// Its columns; of a model, those of its SELECT.
    pub columns: Vec<TypedColumn>,
}

/// What an endpoint asks and answers.
#[derive(Debug, Clone, Serialize)]
pub struct EndpointTypes {
    /// The model.
    pub model: NodeName,
    /// What a request carries.
    pub request: Vec<TypedColumn>,
    /// The time that a request may carry; without it, it is the time of the request.
    pub time: Option<String>,
    /// What is looked up by entity: `table.column`.
    pub features: Vec<String>,
    /// What is answered.
    pub answer: Vec<TypedColumn>,
}

/// A project whose every column has a type.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// All nodes, every one after what it reads.
    pub nodes: Vec<NodeTypes>,
    /// The endpoints that publishing would give.
    pub endpoints: Vec<EndpointTypes>,
    /// How many unit tests there are.
    pub tests: usize,
    /// What is suspicious, but stops nothing.
    pub warnings: Reports,
}

/// Types the project and its unit tests; fails with all mistakes.
pub fn check(
    project: &Project,
    tests: &UnitTests,
    engine: &dyn Engine,
    warehouse: Option<&Warehouse>,
) -> Result<Checked, Reports> {
    let mut mistakes = tests.mistakes.clone();
    let mut types = match types(project, engine, warehouse) {
        Ok(types) => types,
        Err(mut of_nodes) => {
            of_nodes.extend(mistakes);
            return Err(of_nodes);
        }
    };
    mistakes.extend(unit_tests::mistakes(project, &types, &tests.list));
    if mistakes.has_errors() {
        return Err(mistakes);
    }
    types.warnings.extend(without_files(project, warehouse)?);
    let columns = |fields: &[Field]| fields.iter().map(typed_column).collect::<Vec<_>>();
    let nodes = parallel::map(&project.order, 0, |name| NodeTypes {
        node: name.clone(),
        kind: project.nodes[name].kind(),
        columns: types.schemas[name].fields().iter().map(|field| typed_column(field)).collect(),
    });
    let endpoints = types
        .models
        .iter()
        .map(|(name, model)| EndpointTypes {
            model: name.clone(),
            request: columns(&model.columns.request),
            time: model.columns.time.as_ref().map(|field| field.name().clone()),
            features: model
                .uses
                .iter()
                .flat_map(|used| used.columns.iter().map(|taken| format!("{}.{}", used.table.name, taken.column)))
                .collect(),
            answer: columns(&model.columns.answer),
        })
        .collect();
    let warnings = std::mem::take(&mut types.warnings);
    // Ten thousand tables have a million small things to be freed, which nobody waits for.
    drop(std::thread::Builder::new().spawn(move || drop(types)));
    Ok(Checked { nodes, endpoints, tests: tests.list.len(), warnings })
}

/// Warnings of sources whose path matches no file: they may be checked before their data is there, because their columns are declared,
/// but a run needs it. Fails with what is wrong with a path whatever files there are.
fn without_files(project: &Project, warehouse: Option<&Warehouse>) -> Result<Reports, Reports> {
    let mut found = Reports::default();
    for node in project.nodes.values() {
        let Body::Source(settings) = &node.body else { continue };
        for mut report in pelton_ingest::list(settings, node, &project.root).err().unwrap_or_default().0 {
            if matches!(report.code, "empty-glob" | "unreadable-file") {
                report.severity = Severity::Warning;
                let taken_in = match warehouse.filter(|_| report.code == "empty-glob") {
                    Some(warehouse) => {
                        Recorded::newest(warehouse, node, settings)?.files_named(&project.root, settings)
                    }
                    None => 0,
                };
                report = report.note(match taken_in {
                    0 => "a run refuses the source as long as it is so",
                    _ => "the files that it named were taken in, and their rows stay",
                });
            }
            found.push(report);
        }
    }
    if found.has_errors() { Err(found) } else { Ok(found) }
}

fn typed_column(field: &Field) -> TypedColumn {
    TypedColumn { name: field.name().clone(), data_type: types::name(field.data_type()) }
}

/// A model's columns and features.
pub(crate) struct ModelTypes {
    pub(crate) columns: Columns,
    pub(crate) uses: Vec<ResolvedUse>,
}

/// The types of everything in a project.
#[derive(Default)]
pub(crate) struct Types {
    pub(crate) schemas: BTreeMap<NodeName, SchemaRef>,
    pub(crate) models: BTreeMap<NodeName, ModelTypes>,
    volatile: BTreeMap<NodeName, Vec<String>>,
    /// What of that holds for a node's readers too: a view is read in place, and a model looks up in what it reads.
    passed_on: BTreeMap<NodeName, Vec<String>>,
    /// Sources without types because of their files, and what is wrong with these; what reads one has no types either.
    pub(crate) unread: BTreeMap<NodeName, Reports>,
    warnings: Reports,
}

impl Types {
    /// What a node reads, as types alone.
    pub(crate) fn catalog(&self, node: &Node) -> Catalog {
        let mut catalog = Catalog::default();
        for (parent, _) in &node.reads {
            if let Some(schema) = self.schemas.get(parent) {
                catalog.relations.insert(parent.to_string(), Relation::Typed(schema.clone()));
            }
            if let Some(model) = self.models.get(parent) {
                bind_typed_model(&mut catalog, parent, &model.columns);
            }
        }
        catalog
    }

    /// As [`Types::catalog`], with views as the SELECTs that they are: what a proof over a stored table would say of them does not hold.
    pub(crate) fn catalog_through_views(&self, project: &Project, node: &Node) -> Catalog {
        let mut catalog = self.catalog(node);
        let names = |node: &Node| node.reads.iter().map(|(parent, _)| parent.clone()).collect::<Vec<_>>();
        let mut waiting = names(node);
        while let Some(name) = waiting.pop() {
            let Some(parent) = project.nodes.get(&name).filter(|parent| crate::catalog::is_view(parent)) else {
                continue;
            };
            let sql = parent.select().map(|select| select.sql.clone()).unwrap_or_default();
            if let Some(Relation::View(_)) = catalog.relations.insert(name.to_string(), Relation::View(sql)) {
                continue;
            }
            let below = self.catalog(parent);
            for (name, relation) in below.relations {
                catalog.relations.entry(name).or_insert(relation);
            }
            catalog.predicts.extend(below.predicts);
            catalog.scorers.extend(below.scorers);
            waiting.extend(names(parent));
        }
        catalog
    }

    /// What makes a node's rows depend on more than its inputs, in its own SELECT or in a view below it.
    pub(crate) fn volatile(&self, name: &NodeName) -> &[String] {
        self.volatile.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Types every node in order. A node that reads one with a mistake is left out, so that each mistake is told once.
///
/// The engine is not asked again about tables that were typed before from the same file over the same columns.
pub(crate) fn types(project: &Project, engine: &dyn Engine, warehouse: Option<&Warehouse>) -> Result<Types, Reports> {
    types_known(project, engine, warehouse, Unread::IsMistake)
}

/// As [`types`], for what a run does: a source whose files nobody can read fails the run only where it is needed, so it is left out with
/// what reads it ([`Types::unread`]). Mistakes in the project's own files stop every run.
pub(crate) fn types_of_run(project: &Project, engine: &dyn Engine, warehouse: &Warehouse) -> Result<Types, Reports> {
    types_known(project, engine, Some(warehouse), Unread::IsLeftOut)
}

/// What a source means whose files cannot be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unread {
    IsMistake,
    IsLeftOut,
}

fn types_known(
    project: &Project,
    engine: &dyn Engine,
    warehouse: Option<&Warehouse>,
    unread: Unread,
) -> Result<Types, Reports> {
    let known = warehouse.map_or_else(KnownTypes::none, KnownTypes::open);
    let types = types_beside(project, engine, warehouse, (&known, unread))?;
    // After a mistake, what stands on it was not looked at, and what is known of it is kept as it was.
    if types.unread.is_empty() {
        known.keep();
    }
    Ok(types)
}

fn types_beside(
    project: &Project,
    engine: &dyn Engine,
    warehouse: Option<&Warehouse>,
    (known, means): (&KnownTypes, Unread),
) -> Result<Types, Reports> {
    let mut typing = Typing {
        project,
        engine,
        warehouse,
        known,
        features: BTreeMap::new(),
        shapes: BTreeMap::new(),
        types: Types::default(),
    };
    let mut mistakes: BTreeMap<&NodeName, Reports> = BTreeMap::new();
    let mut unread: BTreeMap<&NodeName, Reports> = BTreeMap::new();
    for level in levels(project) {
        let is_ready = |node: &&Node| node.reads.iter().all(|(parent, _)| typing.types.schemas.contains_key(parent));
        let ready: Vec<&Node> = level.into_iter().filter(is_ready).collect();
        let found = parallel::map(&ready, 0, |node| typing.node(node));
        for (node, found) in ready.into_iter().zip(found) {
            match found {
                Ok((typed, said)) => {
                    typing.take(node, typed);
                    if !said.0.is_empty() {
                        mistakes.insert(&node.name, said);
                    }
                }
                Err(Untyped::Project(said)) => {
                    mistakes.insert(&node.name, said);
                }
                Err(Untyped::Files(said)) => {
                    unread.insert(&node.name, said);
                }
            }
        }
    }
    // Where nothing is run, all mistakes are told at once.
    if means == Unread::IsMistake || mistakes.values().any(Reports::has_errors) {
        mistakes.append(&mut unread);
    }
    tell_what_is_stopped(project, &mut mistakes);
    let mut said = Reports::default();
    project.order.iter().filter_map(|name| mistakes.remove(name)).for_each(|reports| said.extend(reports));
    let mut types = typing.types;
    if said.has_errors() {
        return Err(said);
    }
    types.warnings.extend(said);
    types.unread = unread.into_iter().map(|(name, said)| (name.clone(), said)).collect();
    Ok(types)
}

/// Notes what else each node's mistakes stop, once a node.
fn tell_what_is_stopped(project: &Project, mistakes: &mut BTreeMap<&NodeName, Reports>) {
    if !mistakes.values().any(Reports::has_errors) {
        return;
    }
    let readers = project.readers();
    for (name, reports) in mistakes {
        let Some(error) = reports.0.iter_mut().find(|report| report.is_error()) else { continue };
        error.notes.extend(lineage::stops(project, &readers, name));
    }
}

/// The nodes by how far they are from what reads nothing: those of a level do not read each other.
fn levels(project: &Project) -> Vec<Vec<&Node>> {
    let mut level_of: BTreeMap<&NodeName, usize> = BTreeMap::new();
    let mut levels: Vec<Vec<&Node>> = Vec::new();
    for name in &project.order {
        let node = &project.nodes[name];
        let below = node.reads.iter().filter_map(|(parent, _)| level_of.get(parent)).max();
        let level = below.map_or(0, |level| level + 1);
        level_of.insert(name, level);
        levels.resize_with(levels.len().max(level + 1), Vec::new);
        levels[level].push(node);
    }
    levels
}

struct Typing<'a> {
    project: &'a Project,
    engine: &'a dyn Engine,
    warehouse: Option<&'a Warehouse>,
    known: &'a KnownTypes,
    features: BTreeMap<NodeName, FeatureTable>,
    /// A digest of everything that the typing of a reader sees of each node, by which types are known to the next command.
    shapes: BTreeMap<NodeName, Digest>,
    types: Types,
}

/// What typing a node gives.
struct TypedNode {
    schema: SchemaRef,
    /// What makes its own SELECT depend on more than what it reads.
    volatile: Vec<String>,
    feature: Option<FeatureTable>,
    model: Option<ModelTypes>,
}

impl Typing<'_> {
    /// Types a node over the types of what it reads. One whose checks are wrong has types nevertheless.
    fn node(&self, node: &Node) -> Result<(TypedNode, Reports), Untyped> {
        let mut said = Reports::default();
        let key = (self.known.is_kept() && matches!(node.body, Body::Table(_))).then(|| self.key(node));
        let known = key.and_then(|key| self.known.get(key));
        let is_known = known.is_some();
        let mut typed = match (&node.body, known) {
            (_, Some((schema, volatile))) => TypedNode { schema, volatile, feature: None, model: None },
            (Body::Source(settings), None) => TypedNode::of_schema(self.source(node, settings)?),
            (Body::Table(table), None) => self.table(node, table)?,
            (Body::Model(model), None) => self.model(node, model)?,
        };
        match FeatureTable::of(node, &typed.schema) {
            Ok(feature) => typed.feature = feature,
            Err(mistakes) => said.extend(mistakes),
        }
        if !is_known {
            self.checks(node, &typed.schema, &mut said);
            let names = typed.schema.fields().iter().map(|field| field.name());
            names.filter_map(|name| column_names::unreadable(node, name)).for_each(|warning| said.push(warning));
            said.extend(column_names::twins(node, &typed.schema));
            if let Some(model) = &typed.model {
                said.extend(column_names::answers(node, asked_with(&model.columns), &model.columns.answer));
            }
            if let Some(key) = key.filter(|_| said.0.is_empty()) {
                self.known.put(key, &typed.schema, &typed.volatile);
            }
        }
        Ok((typed, said))
    }

    /// Makes a node's types known to its readers.
    fn take(&mut self, node: &Node, typed: TypedNode) {
        let name = &node.name;
        let passed_on = self.passed_on(node, &typed.volatile);
        if self.known.is_kept() {
            let shape = self.shape(node, &typed, &passed_on);
            self.shapes.insert(name.clone(), shape);
        }
        if let Some(model) = typed.model {
            self.types.models.insert(name.clone(), model);
        }
        if let Some(feature) = typed.feature {
            self.features.insert(name.clone(), feature);
        }
        if !passed_on.is_empty() {
            self.types.passed_on.insert(name.clone(), passed_on);
        }
        let volatile = self.with_inherited(node, typed.volatile);
        if !volatile.is_empty() {
            self.types.volatile.insert(name.clone(), volatile);
        }
        self.types.schemas.insert(name.clone(), typed.schema);
    }

    /// A digest of everything that the typing of a node's readers sees of it.
    fn shape(&self, node: &Node, typed: &TypedNode, passed_on: &[String]) -> Digest {
        let mut shape = vec![shape_of(typed.schema.fields().iter().map(AsRef::as_ref))];
        if let Some(model) = &typed.model {
            shape.push(shape_of(&model.columns.answer));
            shape.push(shape_of(asked_with(&model.columns)));
        }
        if let Some(select) = node.select().filter(|_| crate::catalog::is_view(node)) {
            shape.push(select.normal.clone());
            shape.extend(node.reads.iter().filter_map(|(parent, _)| Some(self.shapes.get(parent)?.to_string())));
        }
        shape.extend(passed_on.iter().cloned());
        Digest::of_parts(shape.iter().map(String::as_str))
    }

    /// What makes a node's rows depend on more than its inputs: its own SELECT, and what it reads in place.
    fn with_inherited(&self, node: &Node, own: Vec<String>) -> Vec<String> {
        let rows_come_from =
            node.reads.iter().map(|(parent, _)| parent).filter(|parent| !node.checked_with.contains(*parent));
        self.with_passed_on(own, rows_come_from)
    }

    fn with_passed_on<'a>(&self, mut own: Vec<String>, parents: impl Iterator<Item = &'a NodeName>) -> Vec<String> {
        for word in parents.filter_map(|parent| self.types.passed_on.get(parent)).flatten() {
            if !own.contains(word) {
                own.push(word.clone());
            }
        }
        own
    }

    /// What of a node's dependence on more than its inputs its readers share, unless the owner gave their word.
    fn passed_on(&self, node: &Node, own: &[String]) -> Vec<String> {
        match &node.body {
            Body::Table(table) if table.build == Build::View && !table.deterministic => {
                let own = own.iter().map(|what| format!("{what} in view `{}`", node.name)).collect();
                self.with_inherited(node, own)
            }
            Body::Model(model) => self.with_passed_on(Vec::new(), model.features.iter().map(|used| &used.table)),
            _ => Vec::new(),
        }
    }

    /// Everything that a table's types depend on: its file, and the shapes of what it reads.
    fn key(&self, node: &Node) -> Digest {
        let mut parts = vec![node.name.to_string(), node.text.clone()];
        for (parent, _) in &node.reads {
            let shape = self.shapes.get(parent).copied().unwrap_or_default();
            parts.push(format!("{parent} {shape}"));
        }
        Digest::of_parts(parts.iter().map(String::as_str))
    }

    /// What a node may read, typed. Only that: a catalog of all nodes for each of them would cost their number squared.
    fn catalog(&self, node: &Node) -> Catalog {
        self.types.catalog(node)
    }

    fn source(&self, node: &Node, settings: &pelton_project::Source) -> Result<SchemaRef, Untyped> {
        let recorded = match self.warehouse {
            Some(warehouse) => Recorded::newest(warehouse, node, settings)?,
            None => Recorded::default(),
        };
        let schema = source_columns::columns_of((&self.project.root, self.warehouse), node, settings, &recorded)?;
        let mut mistakes = Reports::default();
        for name in settings.key.iter().chain(&settings.time) {
            if schema.field_with_name(&name.value).is_err() {
                let place = pelton_base::Place::in_text(&node.file, &node.text, name.span.0, name.span.1);
                let message = format!("source `{}` has no column `{}`", node.name, name.value);
                let known = schema.fields().iter().map(|field| field.name().as_str());
                mistakes.push(Report::error("unknown-column", message).at(place).suggest(&name.value, known));
            }
        }
        if mistakes.has_errors() { Err(mistakes.into()) } else { Ok(schema) }
    }

    fn table(&self, node: &Node, table: &pelton_project::Table) -> Result<TypedNode, Reports> {
        let mut typed = self.select(node, &table.select, &self.catalog(node))?;
        if table.build.is_incremental() {
            let catalog = self.types.catalog_through_views(self.project, node);
            let volatile = self.with_inherited(node, typed.volatile.clone());
            let schema = increment::check(self.engine, &catalog, node, table, (&typed.schema, &volatile))?;
            typed.schema = pelton_store::stored_schema(&schema).map_err(|error| error.report())?;
        }
        Ok(typed)
    }

    fn select(&self, node: &Node, select: &Select, catalog: &Catalog) -> Result<TypedNode, Reports> {
        let typed = self.engine.analyze(catalog, &select.sql).map_err(|error| self.select_report(node, &error))?;
        let mut fields: Vec<Field> = Vec::with_capacity(typed.schema.fields().len());
        let mut mistakes = Reports::default();
        for field in typed.schema.fields() {
            if fields.iter().any(|other| other.name() == field.name()) {
                let message = format!("{} `{}` has two columns called `{}`", node.kind(), node.name, field.name());
                mistakes
                    .push(Report::error("type-mismatch", message).at(node.place()).hint("name one of them with AS"));
            }
            match types::stored(field.data_type()) {
                Some(data_type) => fields.push(Field::new(field.name(), data_type, true)),
                None => {
                    let what = types::name(field.data_type());
                    let message =
                        format!("column `{}` of `{}` is of type {what}, which no table holds", field.name(), node.name);
                    mistakes.push(Report::error("type-mismatch", message).at(node.place()).hint("cast it"));
                }
            }
        }
        if mistakes.has_errors() {
            return Err(mistakes);
        }
        Ok(TypedNode { volatile: typed.volatile, ..TypedNode::of_schema(Arc::new(Schema::new(fields))) })
    }

    /// The report of a mistake in a SELECT; of a column that only a model asks for, it says which.
    fn select_report(&self, node: &Node, error: &QueryError) -> Report {
        let report = crate::table::select_report(node, error);
        let QueryError::UnknownColumn { name, .. } = error else { return report };
        let underlined = report.at.iter().flat_map(|at| {
            let text = at.text.as_deref().unwrap_or_default();
            text.chars().skip(at.column.saturating_sub(1)).take(at.length)
        });
        let is_call = underlined.collect::<String>().eq_ignore_ascii_case("predict");
        let asks = |(parent, _): &&(NodeName, _)| {
            let model = self.types.models.get(parent);
            model.is_some_and(|model| asked_with(&model.columns).any(|field| field.name() == name))
        };
        match node.reads.iter().find(asks).filter(|_| is_call) {
            Some((model, _)) => report.note(format!("`predict` asks `{model}` with it")),
            None => report,
        }
    }

    fn checks(&self, node: &Node, schema: &SchemaRef, said: &mut Reports) {
        let checks = match &node.body {
            Body::Source(settings) => &settings.checks,
            Body::Table(table) => &table.checks,
            Body::Model(model) => &model.checks,
        };
        if checks.is_empty() {
            return;
        }
        let staged = Relation::Typed(schema.clone());
        let catalog = crate::stage::with_staged(&self.catalog(node), &node.name, &staged);
        let verified = pelton_quality::plan(node, schema, checks).and_then(|plan| plan.verify(self.engine, &catalog));
        if let Err(mistakes) = verified {
            said.extend(mistakes);
        }
        let (why, hint) = match &node.body {
            Body::Table(table) if table.build == Build::Append => {
                let removing = checks.iter().filter(|check| check.removes_rows());
                said.0.extend(removing.filter_map(|check| self.asked_once(node, schema, check, &catalog)));
                return;
            }
            Body::Table(table) if table.build == Build::View => ("a view stores none", "set `build = \"full\"`"),
            Body::Table(_) => return,
            Body::Source(_) => (
                "a source keeps what its contract lets in",
                "declare the column's type and `contract = { data_type = \"quarantine\" }`, or put the check on a table",
            ),
            Body::Model(_) => ("a model has no rows of its own", "put the check on a table that the model reads"),
        };
        if let Some(check) = checks.iter().find(|check| check.removes_rows()) {
            let message = format!("check `{}` sends rows of `{}` to quarantine, but {why}", check.name, node.name);
            let place = node.place_at(check.span);
            said.push(Report::error("invalid-check", message).at(place).hint(hint));
        }
    }

    /// The report of a check that decides which rows an `append` keeps, by more than the row: it is asked of each row once, when it comes.
    fn asked_once(&self, node: &Node, schema: &SchemaRef, check: &Check, catalog: &Catalog) -> Option<Report> {
        let plan = pelton_quality::plan(node, schema, std::slice::from_ref(check)).ok()?;
        let typed = self.engine.analyze(catalog, &plan.kept_select()).ok()?;
        if typed.volatile.is_empty() {
            return None;
        }
        let message = format!("check `{}` cannot quarantine rows of a table built `append`", check.name);
        let report = Report::error("invalid-check", message).at(node.place_at(check.span));
        let report = report.note(format!("it depends on more than the row ({})", typed.volatile.join(", ")));
        Some(report.hint("use `on_fail = \"stop\"` or `on_fail = \"warn\"`, or set `build = \"full\"`"))
    }

    fn model(&self, node: &Node, model: &Model) -> Result<TypedNode, Reports> {
        let mut typed = self.select(node, &model.select, &self.catalog(node))?;
        let select = typed.schema.clone();
        let uses = pelton_features::resolve(node, &select, &self.features)?;
        let lookups = lookups(&uses);
        let derive = Columns::derive_schema(&select, &lookups);
        let expressions: Vec<(String, String)> =
            model.derive.iter().map(|derived| (derived.name.clone(), derived.sql.clone())).collect();
        let mut mistakes = Reports::default();
        let mut derived = Arc::new(Schema::empty());
        for until in 1..=expressions.len() {
            // One more at a time, so that each expression's mistake gets its own place.
            match self.engine.compile(derive.clone(), &expressions[..until]) {
                Ok(program) => derived = program.schema(),
                Err(error) => {
                    let span = model.derive[until - 1].span;
                    let place = pelton_base::Place::in_text(&node.file, &node.text, span.0, span.1);
                    let subject = format!("derived column `{}` of `{}`", expressions[until - 1].0, node.name);
                    mistakes.push(error.report(&subject).at(place));
                    break;
                }
            }
        }
        if mistakes.has_errors() {
            return Err(mistakes);
        }
        let columns = pelton_train::plan_columns(node, &select, &lookups, &derived)?;
        typed.model = Some(ModelTypes { columns, uses });
        Ok(typed)
    }
}

impl TypedNode {
    fn of_schema(schema: SchemaRef) -> Self {
        TypedNode { schema, volatile: Vec::new(), feature: None, model: None }
    }
}

/// Names and types of columns, as one text.
fn shape_of<'a>(fields: impl IntoIterator<Item = &'a Field>) -> String {
    fields.into_iter().map(|field| format!("{} {}\n", field.name(), types::name(field.data_type()))).collect()
}

/// Types `predict(model, table)` before the model was ever trained: the table's columns, then nulls of the answer's types.
///
/// The table must have the columns that a trained model is asked with, in types that it takes; as a trained model's scorer does, a
/// scorer for each of them sees to that.
pub(crate) fn bind_typed_model(catalog: &mut Catalog, model: &NodeName, columns: &Columns) {
    let (mut asked, mut hidden) = (Vec::new(), Vec::new());
    for (at, field) in asked_with(columns).enumerate() {
        let scorer = format!("pelton_asked_{model}_{at}");
        hidden.push(format!("pelton_asked_{at}"));
        asked.push(format!("{}({}) as pelton_asked_{at}", sql::ident(&scorer), sql::ident(field.name())));
        catalog.scorers.insert(scorer, Arc::new(Asked { model: model.clone(), field: field.clone() }));
    }
    let outputs: Vec<String> = columns
        .answer
        .iter()
        .map(|field| format!("{} as {}", sql::cast("null", field.data_type()), sql::ident(field.name())))
        .collect();
    let (asked, hidden, outputs) = (asked.join(", "), hidden.join(", "), outputs.join(", "));
    let template = Arc::new(move |table: &str| match hidden.is_empty() {
        true => format!("select *, {outputs} from {table}"),
        false => format!("select * except ({hidden}), {outputs} from (select *, {asked} from {table}) as asked"),
    });
    catalog.predicts.insert(model.to_string(), template);
}

/// The columns that `predict` needs of a table.
fn asked_with(columns: &Columns) -> impl Iterator<Item = &Field> {
    columns.request.iter().chain(&columns.time)
}

/// Takes one column that a model is asked with, and answers nothing.
#[derive(Debug)]
struct Asked {
    model: NodeName,
    field: Field,
}

impl Scorer for Asked {
    fn subject(&self) -> String {
        format!("model `{}`", self.model)
    }

    fn inputs(&self) -> &[Field] {
        std::slice::from_ref(&self.field)
    }

    fn output(&self) -> Field {
        Field::new("asked", DataType::Boolean, true)
    }

    fn score(&self, inputs: &[ArrayRef]) -> Result<ArrayRef, String> {
        Ok(new_null_array(&DataType::Boolean, inputs.first().map_or(0, |column| column.len())))
    }
}

/// What an endpoint looks up, from the features that a model uses.
pub(crate) fn lookups(uses: &[ResolvedUse]) -> Vec<Lookup> {
    let lookup = |used: &ResolvedUse| Lookup {
        table: used.table.name.clone(),
        entity: used.table.entity.clone(),
        fields: used.fields(),
    };
    uses.iter().map(lookup).collect()
}
