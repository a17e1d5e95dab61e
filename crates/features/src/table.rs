//! [`FeatureTable`]: what a table must have so that models can use it, and which of its columns a model takes under which name.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pelton_base::{NodeName, Place, Report, Reports};
use pelton_project::{Body, FeatureUse, Node, Spanned};
use pelton_query::{sql, types};
use std::collections::{BTreeMap, BTreeSet};

/// A table with `entity` and `time`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureTable {
    /// The table's name.
    pub name: NodeName,
    /// The columns that identify what the row is about.
    pub entity: Vec<String>,
    /// The column of the time that the row speaks of.
    pub time: String,
    /// The column of the time at which the row became known.
    pub known_at: Option<String>,
    /// How old a row may be, microseconds.
    pub ttl_us: Option<i64>,
    /// All columns.
    pub schema: SchemaRef,
}

impl FeatureTable {
    /// The feature table that `node` is, with columns `schema`; `None` when it has no `entity` or no `time`.
    ///
    /// Fails with `unknown-column` and `type-mismatch`, all mistakes at once.
    pub fn of(node: &Node, schema: &SchemaRef) -> Result<Option<Self>, Reports> {
        let Body::Table(table) = &node.body else { return Ok(None) };
        let Some(time) = table.time.as_ref().filter(|_| !table.entity.is_empty()) else { return Ok(None) };
        let mut reports = Reports::default();
        for column in &table.entity {
            let advice = |_: &Field| "cast it to a number or a text".to_string();
            check(node, schema, column, ("an entity column", is_key), advice, &mut reports);
        }
        for column in [Some(time), table.known_at.as_ref()].into_iter().flatten() {
            let advice = |field: &Field| sql::timestamp_advice(field.name(), field.data_type());
            check(node, schema, column, ("a time", is_time), advice, &mut reports);
        }
        if reports.has_errors() {
            return Err(reports);
        }
        let implied = || schema.field_with_name("known_at").is_ok_and(is_time).then(|| "known_at".to_string());
        let known_at = table.known_at.as_ref().map(|column| column.value.clone()).or_else(implied);
        Ok(Some(FeatureTable {
            name: node.name.clone(),
            entity: table.entity.iter().map(|column| column.value.clone()).collect(),
            time: time.value.clone(),
            known_at: known_at.filter(|column| *column != time.value),
            ttl_us: table.ttl_us,
            schema: schema.clone(),
        }))
    }

    /// The columns that are features: all but entity, time and `known_at`, in the table's order.
    pub fn features(&self) -> Vec<&Field> {
        let is_other =
            |name: &String| self.entity.contains(name) || *name == self.time || self.known_at.as_ref() == Some(name);
        self.schema.fields().iter().map(AsRef::as_ref).filter(|field| !is_other(field.name())).collect()
    }
}

fn is_time(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Timestamp(_, _))
}

fn is_key(field: &Field) -> bool {
    let kind = field.data_type();
    !kind.is_nested() && !kind.is_floating()
}

fn check(
    node: &Node,
    schema: &Schema,
    column: &Spanned<String>,
    (role, fits): (&str, fn(&Field) -> bool),
    advice: impl Fn(&Field) -> String,
    reports: &mut Reports,
) {
    let place = || Place::in_text(&node.file, &node.text, column.span.0, column.span.1);
    match schema.field_with_name(&column.value) {
        Err(_) => {
            let message = format!("table `{}` has no column `{}`", node.name, column.value);
            let known = schema.fields().iter().map(|field| field.name().as_str());
            reports.push(Report::error("unknown-column", message).at(place()).suggest(&column.value, known));
        }
        Ok(field) if !fits(field) => {
            let found = types::name(field.data_type());
            let message = format!("`{}` of table `{}` is {found}, which cannot be {role}", column.value, node.name);
            reports.push(Report::error("type-mismatch", message).at(place()).hint(advice(field)));
        }
        Ok(_) => {}
    }
}

/// The columns that a model takes from one feature table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedUse {
    /// The table.
    pub table: FeatureTable,
    /// The columns, in the table's order.
    pub columns: Vec<Taken>,
}

impl ResolvedUse {
    /// The taken columns as the model sees them.
    pub fn fields(&self) -> Vec<Field> {
        let field = |taken: &Taken| {
            let found = self.table.schema.field_with_name(&taken.column).expect("taken columns are the table's");
            Field::new(&taken.name, found.data_type().clone(), true)
        };
        self.columns.iter().map(field).collect()
    }
}

/// A column that a model takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its name in the feature table.
    pub column: String,
    /// Its name in the training set: the same, or `TABLE_COLUMN` when that name is there already.
    pub name: String,
}

/// The columns of `table` that `wanted` names, in the table's order; fails when there is no such feature.
pub fn columns_of(wanted: &FeatureUse, table: &FeatureTable) -> Result<Vec<String>, Report> {
    let features = table.features();
    let Some(column) = &wanted.column else {
        return Ok(features.iter().map(|field| field.name().clone()).collect());
    };
    if features.iter().any(|field| field.name() == column) {
        return Ok(vec![column.clone()]);
    }
    if table.schema.field_with_name(column).is_ok() {
        let message = format!("`{column}` identifies or dates the rows of `{}`, it is no feature", table.name);
        return Err(Report::error("invalid-value", message));
    }
    let message = format!("feature table `{}` has no column `{column}`", table.name);
    let known = features.iter().map(|field| field.name().as_str());
    Err(Report::error("unknown-column", message).suggest(column, known))
}

/// Resolves a model's `features`: one entry a table, in order of first mention. `labels` are the columns of the model's SELECT;
/// `tables` are the feature tables of the project by name.
///
/// Fails with everything that is wrong: a table that is no feature table, an unknown column, an entity column that the SELECT
/// lacks or has with another type, a missing `time`.
pub fn resolve(
    model: &Node,
    labels: &Schema,
    tables: &BTreeMap<NodeName, FeatureTable>,
) -> Result<Vec<ResolvedUse>, Reports> {
    let Body::Model(settings) = &model.body else { return Ok(Vec::new()) };
    let mut reports = Reports::default();
    let mut wanted: Vec<(&FeatureTable, BTreeSet<String>)> = Vec::new();
    for feature in &settings.features {
        let place = || Place::in_text(&model.file, &model.text, feature.span.0, feature.span.1);
        let Some(table) = tables.get(&feature.table) else {
            let message = format!("model `{}` uses `{}`, which is no feature table", model.name, feature.table);
            let report = Report::error("invalid-value", message).at(place());
            reports.push(
                report
                    .note("a feature table is a table with `entity` and `time`")
                    .suggest(feature.table.as_str(), tables.keys().map(NodeName::as_str)),
            );
            continue;
        };
        match columns_of(feature, table) {
            Err(report) => reports.push(report.at(place())),
            Ok(columns) => match wanted.iter_mut().find(|(other, _)| other.name == table.name) {
                Some((_, taken)) => taken.extend(columns),
                None => {
                    check_entities(model, labels, table, place(), &mut reports);
                    wanted.push((table, columns.into_iter().collect()));
                }
            },
        }
    }
    if settings.time.is_none() && !settings.features.is_empty() {
        let message = format!("model `{}` uses features and has no `time`", model.name);
        let report = Report::error("missing-key", message).at(model.place());
        reports.push(
            report.note("features are joined as of each row's time").hint("add `time = \"COLUMN\"` to the header"),
        );
    }
    let mut taken_names: BTreeSet<String> = labels.fields().iter().map(|field| field.name().clone()).collect();
    let mut uses = Vec::new();
    for (table, columns) in wanted {
        let mut taken = Vec::new();
        for field in table.features().into_iter().filter(|field| columns.contains(field.name())) {
            let column = field.name().clone();
            let name = if taken_names.contains(&column) { format!("{}_{column}", table.name) } else { column.clone() };
            if !taken_names.insert(name.clone()) {
                let message =
                    format!("feature `{column}` of `{}` cannot be called `{name}`: that is there already", table.name);
                reports.push(Report::error("invalid-name", message).at(model.place()));
            }
            taken.push(Taken { column, name });
        }
        uses.push(ResolvedUse { table: table.clone(), columns: taken });
    }
    if reports.has_errors() { Err(reports) } else { Ok(uses) }
}

fn check_entities(model: &Node, labels: &Schema, table: &FeatureTable, place: Place, reports: &mut Reports) {
    for column in &table.entity {
        let theirs = table.schema.field_with_name(column).map(|field| types::name(field.data_type()));
        let report = match (labels.field_with_name(column), theirs) {
            (Err(_), _) => {
                let message = format!(
                    "model `{}` does not select `{column}`, by which `{}` is looked up",
                    model.name, table.name
                );
                let known = labels.fields().iter().map(|field| field.name().as_str());
                Report::error("unknown-column", message).suggest(column, known)
            }
            (Ok(ours), Ok(theirs)) if types::name(ours.data_type()) != theirs => {
                let ours = types::name(ours.data_type());
                let message = format!(
                    "`{column}` is {ours} in model `{}` and {theirs} in feature table `{}`",
                    model.name, table.name
                );
                Report::error("type-mismatch", message).hint("cast one of them")
            }
            _ => continue,
        };
        reports.push(report.at(place.clone()));
    }
}

#[cfg(test)]
#[path = "tests/table.rs"]
mod tests;
