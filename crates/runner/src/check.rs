//! Types every column of every node through the engine's planner, without reading data, up to what endpoints ask and answer.

use crate::source;
use pelton_base::{NodeName, Report, Reports};
use pelton_features::{FeatureTable, ResolvedUse};
use pelton_project::{Body, Model, Node, Project};
use pelton_query::{Catalog, Engine, Relation, types};
use pelton_store::{ColumnType, Warehouse};
use pelton_train::{Columns, Lookup};
use serde::Serialize;
use std::collections::BTreeMap;

use arrow::datatypes::{Field, Schema, SchemaRef};
use std::sync::Arc;

/// A column and its type, as Pelton names it.
#[derive(Debug, Clone, Serialize)]
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
    /// What is suspicious, but stops nothing.
    pub warnings: Reports,
}

/// Types the project; fails with all mistakes.
pub fn check(project: &Project, engine: &dyn Engine, warehouse: Option<&Warehouse>) -> Result<Checked, Reports> {
    let types = types(project, engine, warehouse)?;
    let columns = |fields: &[Field]| fields.iter().map(typed_column).collect::<Vec<_>>();
    let nodes = project
        .order
        .iter()
        .map(|name| NodeTypes {
            node: name.clone(),
            kind: project.nodes[name].kind(),
            columns: types.schemas[name].fields().iter().map(|field| typed_column(field)).collect(),
        })
        .collect();
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
    Ok(Checked { nodes, endpoints, warnings: types.warnings })
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
pub(crate) struct Types {
    pub(crate) schemas: BTreeMap<NodeName, SchemaRef>,
    pub(crate) models: BTreeMap<NodeName, ModelTypes>,
    volatile: BTreeMap<NodeName, Vec<String>>,
    warnings: Reports,
}

impl Types {
    /// What makes a node's SELECT depend on more than its inputs.
    pub(crate) fn volatile(&self, name: &NodeName) -> &[String] {
        self.volatile.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Types every node in order. A node that reads one with a mistake is left out, so that each mistake is told once.
pub(crate) fn types(project: &Project, engine: &dyn Engine, warehouse: Option<&Warehouse>) -> Result<Types, Reports> {
    let mut typing = Typing {
        project,
        engine,
        warehouse,
        catalog: Catalog::default(),
        features: BTreeMap::new(),
        types: Types {
            schemas: BTreeMap::new(),
            models: BTreeMap::new(),
            volatile: BTreeMap::new(),
            warnings: Reports::default(),
        },
        mistakes: Reports::default(),
    };
    for name in &project.order {
        let node = &project.nodes[name];
        if node.reads.iter().all(|(parent, _)| typing.types.schemas.contains_key(parent)) {
            typing.node(node);
        }
    }
    match typing.mistakes.has_errors() {
        true => Err(typing.mistakes),
        false => {
            typing.types.warnings.extend(typing.mistakes);
            Ok(typing.types)
        }
    }
}

struct Typing<'a> {
    project: &'a Project,
    engine: &'a dyn Engine,
    warehouse: Option<&'a Warehouse>,
    catalog: Catalog,
    features: BTreeMap<NodeName, FeatureTable>,
    types: Types,
    mistakes: Reports,
}

impl Typing<'_> {
    fn node(&mut self, node: &Node) {
        let typed = match &node.body {
            Body::Source(settings) => self.source(node, settings),
            Body::Table(table) => self.select(node, &table.select),
            Body::Model(model) => self.model(node, model),
        };
        match typed {
            Ok(schema) => {
                self.checks(node, &schema);
                self.feature_table(node, &schema);
                self.catalog.relations.insert(node.name.to_string(), Relation::Typed(schema.clone()));
                self.types.schemas.insert(node.name.clone(), schema);
            }
            Err(mistakes) => self.mistakes.extend(mistakes),
        }
    }

    fn source(&self, node: &Node, settings: &pelton_project::Source) -> Result<SchemaRef, Reports> {
        let known = match self.warehouse {
            Some(warehouse) => newest_columns(warehouse, &node.name)?,
            None => Vec::new(),
        };
        let schema = source::columns_of(&self.project.root, node, settings, &known)?;
        let mut mistakes = Reports::default();
        for name in settings.key.iter().chain(&settings.time) {
            if schema.field_with_name(&name.value).is_err() {
                let place = pelton_base::Place::in_text(&node.file, &node.text, name.span.0, name.span.1);
                let message = format!("source `{}` has no column `{}`", node.name, name.value);
                let known = schema.fields().iter().map(|field| field.name().as_str());
                mistakes.push(Report::error("unknown-column", message).at(place).suggest(&name.value, known));
            }
        }
        if mistakes.has_errors() { Err(mistakes) } else { Ok(schema) }
    }

    fn select(&mut self, node: &Node, select: &pelton_project::Select) -> Result<SchemaRef, Reports> {
        let typed = self
            .engine
            .analyze(&self.catalog, &select.sql)
            .map_err(|error| crate::table::select_report(node, &error))?;
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
        if !typed.volatile.is_empty() {
            self.types.volatile.insert(node.name.clone(), typed.volatile);
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn checks(&mut self, node: &Node, schema: &SchemaRef) {
        let checks = match &node.body {
            Body::Source(settings) => &settings.checks,
            Body::Table(table) => &table.checks,
            Body::Model(model) => &model.checks,
        };
        if checks.is_empty() {
            return;
        }
        let staged = Relation::Typed(schema.clone());
        let catalog = crate::stage::with_staged(&self.catalog, &node.name, &staged);
        let verified = pelton_quality::plan(node, schema, checks).and_then(|plan| plan.verify(self.engine, &catalog));
        if let Err(mistakes) = verified {
            self.mistakes.extend(mistakes);
        }
        if crate::catalog::is_view(node)
            && let Some(check) = checks.iter().find(|check| crate::fingerprint::removes_rows(check))
        {
            let place = pelton_base::Place::in_text(&node.file, &node.text, check.span.0, check.span.1);
            let message =
                format!("check `{}` sends rows of `{}` to quarantine, but a view stores none", check.name, node.name);
            self.mistakes.push(Report::error("invalid-check", message).at(place).hint("set `build = \"full\"`"));
        }
    }

    fn feature_table(&mut self, node: &Node, schema: &SchemaRef) {
        match FeatureTable::of(node, schema) {
            Ok(Some(table)) => {
                self.features.insert(node.name.clone(), table);
            }
            Ok(None) => {}
            Err(mistakes) => self.mistakes.extend(mistakes),
        }
    }

    fn model(&mut self, node: &Node, model: &Model) -> Result<SchemaRef, Reports> {
        let select = self.select(node, &model.select)?;
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
        // How `predict(model, table)` is typed: the model's answer on the columns that a table brings.
        let answer = columns.answer.clone();
        self.types.models.insert(node.name.clone(), ModelTypes { columns, uses });
        self.bind_typed_model(node, &answer);
        Ok(select)
    }

    /// Types `predict(model, table)` before the model was ever trained: the table's columns, then nulls of the answer's types.
    fn bind_typed_model(&mut self, node: &Node, answer: &[Field]) {
        use pelton_query::sql;
        let outputs: Vec<String> = answer
            .iter()
            .map(|field| format!("{} as {}", sql::cast("null", field.data_type()), sql::ident(field.name())))
            .collect();
        let outputs = outputs.join(", ");
        let template = Arc::new(move |table: &str| format!("select *, {outputs} from {table}"));
        self.catalog.predicts.insert(node.name.to_string(), template);
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

fn newest_columns(warehouse: &Warehouse, name: &NodeName) -> Result<Vec<ColumnType>, Reports> {
    let heads = warehouse.state().version_heads_of(name).map_err(crate::context::reports)?;
    let Some(head) = heads.into_iter().find(|head| head.kind == "source") else { return Ok(Vec::new()) };
    let version = warehouse.state().version(&head.id).map_err(crate::context::reports)?;
    Ok(version.map(|version| version.columns).unwrap_or_default())
}
