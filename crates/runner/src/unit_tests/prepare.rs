//! A test with its types: everything that can be wrong with it before it runs is found here, by `pelton check` as well.

use super::compare::is_key_type;
use super::left::notes_now;
use super::rows::{Table, typed, unknown};
use crate::check::Types;
use crate::shape;
use pelton_base::{NodeName, Report, Reports};
use pelton_project::{Body, Build, Node, Project, Rule, UnitTest};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

/// A test that can run.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    pub(crate) test: &'a UnitTest,
    /// The nodes that are looked at.
    pub(crate) reached: BTreeSet<NodeName>,
    /// The rows of inputs; of models, what they answer.
    pub(crate) given: BTreeMap<NodeName, Table>,
    /// The rows that an incremental table had before.
    pub(crate) prior: Option<Table>,
    /// The training examples with features.
    pub(crate) examples: Option<Table>,
    pub(crate) expected: Option<Expected>,
}

/// The rows that are expected.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) rows: Table,
    /// The columns that count.
    pub(crate) columns: Vec<String>,
    /// Which rows belong together, when the test or the node says so.
    pub(crate) key: Vec<String>,
}

/// Gives a test its types; fails with all of its mistakes.
pub(crate) fn prepare<'a>(project: &Project, types: &Types, test: &'a UnitTest) -> Result<Prepared<'a>, Reports> {
    let mut mistakes = Reports::default();
    let reached = test.reached(project);
    let mut given = BTreeMap::new();
    for (name, rows) in &test.given {
        let (Some(node), Some(schema)) = (project.nodes.get(name), types.schemas.get(name)) else { continue };
        let schema = match types.models.get(name) {
            Some(model) => answers(schema, &model.columns.answer),
            None => schema.clone(),
        };
        let what = format!("{} `{name}`", node.kind());
        let rows =
            typed(&project.root, test, &what, &rows.rows, &schema).and_then(|table| match types.models.get(name) {
                Some(model) => check_answers(test, node, &model.columns.answer, &table).map(|()| table),
                None => Ok(table),
            });
        match rows {
            Ok(table) => drop(given.insert(name.clone(), table)),
            Err(reports) => mistakes.extend(reports),
        }
    }
    let examples = test.examples.as_ref().zip(examples_schema(types, &test.node)).and_then(|(rows, schema)| {
        let what = format!("the examples of `{}`", test.node);
        typed(&project.root, test, &what, &rows.rows, &schema).map_err(|reports| mistakes.extend(reports)).ok()
    });
    let prior = test.prior.as_ref().zip(types.schemas.get(&test.node)).and_then(|(rows, schema)| {
        let what = format!("table `{}`", test.node);
        typed(&project.root, test, &what, &rows.rows, schema).map_err(|reports| mistakes.extend(reports)).ok()
    });
    let expected = match expected(project, types, test) {
        Ok(expected) => expected,
        Err(reports) => {
            mistakes.extend(reports);
            None
        }
    };
    mistakes.0.extend(without_now(project, types, test, &reached));
    if mistakes.has_errors() { Err(mistakes) } else { Ok(Prepared { test, reached, given, prior, examples, expected }) }
}

/// What a model may be given: what it answers, and the columns of its SELECT that say which row gets which answer.
fn answers(select: &SchemaRef, answer: &[Field]) -> SchemaRef {
    let others = select.fields().iter().filter(|field| !answer.iter().any(|answer| answer.name() == field.name()));
    let fields: Vec<Arc<Field>> = answer.iter().cloned().map(Arc::new).chain(others.cloned()).collect();
    Arc::new(Schema::new(fields))
}

/// The columns by which a model's given answers are told apart.
pub(crate) fn answered_by(answer: &[Field], table: &Table) -> Vec<String> {
    table.named.iter().filter(|name| !answer.iter().any(|answer| answer.name() == *name)).cloned().collect()
}

/// One row gets one answer.
fn check_answers(test: &UnitTest, node: &Node, answer: &[Field], table: &Table) -> Result<(), Reports> {
    let by = answered_by(answer, table);
    let wrong = |why: &str| {
        let report = Report::error("invalid-value", format!("model `{}` is given {why}", node.name));
        let place = test.given.get(&node.name).map_or(test.place(), |given| test.place_at(given.span));
        let report = report.note("one row answers everything alike; rows that name columns of the model's SELECT answer what is equal in them");
        Err(report.at(place).into())
    };
    if by.is_empty() {
        return if table.rows.num_rows() == 1 { Ok(()) } else { wrong("several answers that no column tells apart") };
    }
    let mut seen = HashSet::new();
    for row in 0..table.rows.num_rows() {
        let mut text = Vec::new();
        for array in by.iter().filter_map(|name| table.rows.column_by_name(name)) {
            pelton_serve::write_value(&mut text, array, row);
            text.push(b'\n');
        }
        if !seen.insert(text) {
            return wrong("two answers for the same row");
        }
    }
    Ok(())
}

/// The columns of a model's training examples before `derive`: those of its SELECT, then its features.
pub(crate) fn examples_schema(types: &Types, model: &NodeName) -> Option<SchemaRef> {
    let select = types.schemas.get(model)?;
    let features = types.models.get(model)?.uses.iter().flat_map(|used| used.fields()).map(Arc::new);
    Some(Arc::new(Schema::new(select.fields().iter().cloned().chain(features).collect::<Vec<_>>())))
}

/// The columns of what a test looks at: of a table its own; of a model its training examples, the derived columns included.
pub(crate) fn result_schema(types: &Types, name: &NodeName) -> Option<SchemaRef> {
    let Some(model) = types.models.get(name) else { return types.schemas.get(name).cloned() };
    let examples = examples_schema(types, name)?;
    let derived = model.columns.derived.iter().cloned().map(Arc::new);
    Some(Arc::new(Schema::new(examples.fields().iter().cloned().chain(derived).collect::<Vec<_>>())))
}

fn expected(project: &Project, types: &Types, test: &UnitTest) -> Result<Option<Expected>, Reports> {
    let (Some(rows), Some(schema)) = (&test.expect, result_schema(types, &test.node)) else { return Ok(None) };
    let Some(node) = project.nodes.get(&test.node) else { return Ok(None) };
    let what = format!("{} `{}`", node.kind(), test.node);
    let mut mistakes = Reports::default();
    for column in test.columns.iter().chain(&test.key) {
        if schema.field_with_name(&column.value).is_err() {
            mistakes.push(unknown(&what, &column.value, &schema).at(test.place_at(column.span)));
        }
    }
    let rows = match typed(&project.root, test, &what, rows, &schema) {
        Ok(rows) => rows,
        Err(reports) => {
            mistakes.extend(reports);
            return Err(mistakes);
        }
    };
    if mistakes.has_errors() {
        return Err(mistakes);
    }
    let columns: Vec<String> = match (test.columns.is_empty(), rows.named.is_empty()) {
        (false, _) => test.columns.iter().map(|column| column.value.clone()).collect(),
        (true, false) => rows.named.clone(),
        (true, true) => schema.fields().iter().map(|field| field.name().clone()).collect(),
    };
    if let Some(name) = rows.named.iter().find(|name| !columns.contains(name)) {
        let message = format!("`expect` names `{name}`, which `columns` leaves out of the comparison");
        let place = test.columns.first().map_or(test.place(), |column| test.place_at(column.span));
        mistakes.push(Report::error("invalid-value", message).at(place));
    }
    for column in test.key.iter().filter(|column| !columns.contains(&column.value)) {
        let report = Report::error("invalid-value", format!("`key` names `{}`, which is not compared", column.value));
        mistakes
            .push(report.at(test.place_at(column.span)).hint("name it in the rows of `expect`, or under `columns`"));
    }
    if mistakes.has_errors() {
        return Err(mistakes);
    }
    let key = match test.key.is_empty() {
        false => test.key.iter().map(|column| column.value.clone()).collect(),
        true => key_of(node, &schema).filter(|key| key.iter().all(|name| columns.contains(name))).unwrap_or_default(),
    };
    Ok(Some(Expected { rows, columns, key }))
}

/// The columns that tell a node's rows apart, as far as it says so itself.
fn key_of(node: &Node, schema: &SchemaRef) -> Option<Vec<String>> {
    let unique = node.checks().iter().find_map(|check| match &check.rule {
        Rule::Unique(columns) => Some(columns.clone()),
        _ => None,
    });
    let own: Vec<String> = match &node.body {
        Body::Source(source) => source.key.iter().map(|key| key.value.clone()).collect(),
        Body::Model(model) => model.key.iter().map(|key| key.value.clone()).collect(),
        Body::Table(table) if !table.increment.key.is_empty() => {
            let is_history = table.build == Build::History;
            let from = is_history.then(|| shape::VALID_FROM.to_string());
            table.increment.key.iter().map(|key| key.value.clone()).chain(from).collect()
        }
        Body::Table(table) if table.time.is_some() => {
            table.entity.iter().chain(&table.time).map(|column| column.value.clone()).collect()
        }
        Body::Table(_) => Vec::new(),
    };
    let key = match &node.body {
        Body::Table(_) => unique.unwrap_or(own),
        _ => own,
    };
    let fits = |name: &String| schema.field_with_name(name).is_ok_and(|field| is_key_type(field.data_type()));
    (!key.is_empty() && key.iter().all(fits)).then_some(key)
}

/// Functions of the present.
const CLOCKS: [&str; 5] = ["now()", "current_timestamp()", "current_date()", "current_time()", "today()"];

/// The report of a test without `now` that looks at the present.
fn without_now(project: &Project, types: &Types, test: &UnitTest, reached: &BTreeSet<NodeName>) -> Option<Report> {
    if test.now_us.is_some() || test.examples.is_some() {
        return None;
    }
    let calls = |name: &NodeName| types.volatile(name).iter().find(|call| CLOCKS.contains(&call.as_str()));
    let runs = reached.iter().filter(|name| !test.given.contains_key(*name));
    let in_sql = runs.filter_map(|name| Some(format!("`{name}` calls `{}`", calls(name)?))).next();
    let in_checks = || {
        let node = project.nodes.get(&test.node)?;
        let words = ["now(", "freshness(", "current_date", "current_timestamp"];
        let asks = |rule: &Rule| {
            let text = pelton_quality::rule_text(rule).to_lowercase();
            words.iter().any(|word| text.contains(word))
        };
        let check = node.checks().iter().filter(|_| test.checks.is_some()).find(|check| asks(&check.rule))?;
        Some(format!("check `{}` looks at the time", check.name))
    };
    let in_history = || {
        let mut built = reached.iter().filter(|name| !test.given.contains_key(*name));
        let name = built.find(|name| match project.nodes.get(*name).map(|node| &node.body) {
            Some(Body::Table(table)) => notes_now(table),
            _ => false,
        })?;
        Some(format!("`{name}` is a history without `time`, which notes when it sees what"))
    };
    let why = in_sql.or_else(in_history).or_else(in_checks)?;
    let report = Report::error("missing-key", format!("test `{}` needs `now`: {why}", test.name));
    Some(report.at(test.place()).hint("add `now = \"2026-03-01T12:00:00Z\"`"))
}
