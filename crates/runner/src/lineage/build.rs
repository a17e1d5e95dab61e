//! Builds the [`ColumnGraph`] of a project from its typed nodes.

use super::{ColumnGraph, GraphColumn, GraphNode, Link, Part};
use crate::check::{self, Types};
use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema};
use pelton_base::{NodeName, Report, Reports, parallel};
use pelton_project::{Body, Build, Model, Node, Project, Rule, Spanned, SplitBy, Table};
use pelton_quality::STAGED;
use pelton_query::{Catalog, Engine, How, Lineage, LineageOrigin, Relation, Scorer, sql, types};
use pelton_store::Warehouse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What each column of the project is made from; fails with all mistakes, as [`crate::check()`] does.
pub fn lineage(project: &Project, engine: &dyn Engine, warehouse: Option<&Warehouse>) -> Result<ColumnGraph, Reports> {
    let types = check::types(project, engine, warehouse)?;
    let numbers: BTreeMap<NodeName, usize> =
        project.order.iter().enumerate().map(|(number, name)| (name.clone(), number)).collect();
    let columns = project.order.iter().map(|name| columns_of(&project.nodes[name], &types)).collect();
    let building = Building { engine, types: &types, numbers: &numbers, columns };
    let found = parallel::map(&project.order, 0, |name| building.node(&project.nodes[name]));
    let (mut nodes, mut mistakes) = (Vec::new(), Reports::default());
    for node in found {
        match node {
            Ok(node) => nodes.push(node),
            Err(report) => mistakes.push(report),
        }
    }
    if mistakes.has_errors() { Err(mistakes) } else { Ok(ColumnGraph { nodes, numbers }) }
}

/// The columns of a node, before it is known what they are made from.
fn columns_of(node: &Node, types: &Types) -> Vec<(Field, Part)> {
    let select = types.schemas[&node.name].fields().iter().map(|field| (field.as_ref().clone(), Part::Column));
    let mut columns: Vec<(Field, Part)> = select.collect();
    if let Some(model) = types.models.get(&node.name) {
        let features = model.uses.iter().flat_map(|used| used.fields());
        columns.extend(features.map(|field| (field, Part::Feature)));
        columns.extend(model.columns.derived.iter().map(|field| (field.clone(), Part::Derived)));
        columns.extend(model.columns.answer.iter().map(|field| (field.clone(), Part::Answer)));
    }
    columns
}

struct Building<'a> {
    engine: &'a dyn Engine,
    types: &'a Types,
    numbers: &'a BTreeMap<NodeName, usize>,
    /// Of each node by number.
    columns: Vec<Vec<(Field, Part)>>,
}

/// What a SELECT is made from, in links.
struct Linked {
    columns: Vec<Vec<Link>>,
    rows: Vec<Link>,
}

impl Building<'_> {
    fn node(&self, node: &Node) -> Result<GraphNode, Report> {
        let number = self.numbers[&node.name];
        let mut linked = match node.select() {
            None => Linked { columns: vec![Vec::new(); self.columns[number].len()], rows: Vec::new() },
            Some(select) => {
                let lineage = self.engine.lineage(&self.catalog(node), &select.sql);
                self.linked(number, &lineage.map_err(|error| crate::table::select_report(node, &error))?)
            }
        };
        linked.rows.extend(self.kept(node)?);
        linked.rows.extend(self.checked_with(node)?);
        if let Body::Table(table) = &node.body {
            self.increment(node, table, &mut linked)?;
        }
        let mut request = Vec::new();
        if let Body::Model(model) = &node.body {
            self.model(node, model, &mut linked)?;
            let carried = &self.types.models[&node.name].columns.request;
            request = carried.iter().filter_map(|field| self.own(number, field.name()).column).collect();
        }
        linked.rows.sort_by_key(|link| (link.how, link.node, link.column));
        linked.rows.dedup();
        debug_assert_eq!(linked.columns.len(), self.columns[number].len(), "every column of `{}`", node.name);
        linked.columns.resize(self.columns[number].len(), Vec::new());
        let columns = self.columns[number].iter().zip(linked.columns).map(|((field, part), mut from)| {
            from.sort_by_key(|link| (link.how, link.node, link.column));
            from.dedup();
            let data_type = types::name(field.data_type());
            GraphColumn { name: field.name().clone(), data_type, part: *part, from }
        });
        let columns = columns.collect();
        Ok(GraphNode { name: node.name.clone(), kind: node.kind(), columns, rows: linked.rows, request })
    }

    /// What a node reads, typed; of a model, what it answers.
    fn catalog(&self, node: &Node) -> Catalog {
        let mut catalog = Catalog::default();
        for (parent, _) in &node.reads {
            catalog.relations.insert(parent.to_string(), Relation::Typed(self.types.schemas[parent].clone()));
            if let Some(model) = self.types.models.get(parent) {
                let mut inputs = model.columns.request.clone();
                inputs.extend(model.columns.time.clone());
                bind_answers(&mut catalog, parent, &inputs, &model.columns.answer);
            }
        }
        catalog
    }

    /// What removes rows of a node after its SELECT: checks that send them to quarantine.
    fn kept(&self, node: &Node) -> Result<Vec<Link>, Report> {
        let checks = node.checks();
        if !checks.iter().any(|check| check.removes_rows()) {
            return Ok(Vec::new());
        }
        let schema = &self.types.schemas[&node.name];
        let Ok(plan) = pelton_quality::plan(node, schema, checks) else { return Ok(Vec::new()) };
        let staged = Relation::Typed(schema.clone());
        let catalog = crate::stage::with_staged(&self.catalog(node), &node.name, &staged);
        let lineage = self.engine.lineage(&catalog, &plan.kept_select());
        let lineage = lineage.map_err(|error| error.report(&format!("the checks of `{}`", node.name)))?;
        let number = self.numbers[&node.name];
        let links = lineage.rows.iter().filter_map(|origin| self.link(number, origin));
        Ok(links.filter(|link| link.node != number || link.column.is_some()).collect())
    }

    /// The columns of other nodes that checks compare rows with.
    fn checked_with(&self, node: &Node) -> Result<Vec<Link>, Report> {
        let number = self.numbers[&node.name];
        let mut links = Vec::new();
        for check in node.checks() {
            match &check.rule {
                Rule::References { table, other, .. } => {
                    links.extend(self.numbers.get(table).map(|table| self.own(*table, other)));
                }
                Rule::Custom(select) => {
                    let staged = Relation::Typed(self.types.schemas[&node.name].clone());
                    let catalog = crate::stage::with_staged(&self.catalog(node), &node.name, &staged);
                    let subject = format!("check `{}` of `{}`", check.name, node.name);
                    let lineage = self.engine.lineage(&catalog, select);
                    let lineage = lineage.map_err(|error| error.report(&subject).at(node.place_at(check.span)))?;
                    let read = lineage.columns.iter().flat_map(|column| &column.from).chain(&lineage.rows);
                    links.extend(read.filter_map(|origin| self.link(number, origin)));
                }
                _ => {}
            }
        }
        links.retain(|link| link.node != number && link.column.is_some());
        Ok(links.into_iter().map(|link| link.with(How::Check)).collect())
    }

    /// What the build of a table does to the rows of its SELECT: of each key the newest, or every state with its times.
    fn increment(&self, node: &Node, table: &Table, linked: &mut Linked) -> Result<(), Report> {
        if !matches!(table.build, Build::Merge | Build::History) {
            return Ok(());
        }
        let number = self.numbers[&node.name];
        let own = |column: &Spanned<String>, how| self.own(number, &column.value).with(how);
        // Without a time, a merge takes the rows as they are.
        let mut chosen: Vec<Link> = Vec::new();
        if table.build == Build::History || table.time.is_some() {
            chosen.extend(table.increment.key.iter().map(|column| own(column, How::Group)));
            chosen.extend(table.time.iter().map(|column| own(column, How::Order)));
        }
        if let Some(delete) = &table.increment.delete {
            let text = format!("select 1 as one from {EXAMPLES} where ({}\n)", delete.value);
            let catalog = Catalog::default().with(EXAMPLES, Relation::Typed(self.types.schemas[&node.name].clone()));
            let lineage = self.engine.lineage(&catalog, &text);
            let subject = format!("`delete` of table `{}`", node.name);
            let lineage = lineage.map_err(|error| error.report(&subject).at(node.place_at(delete.span)))?;
            let read = lineage.rows.iter().filter(|origin| origin.column.is_some());
            chosen.extend(read.filter_map(|origin| self.link(number, origin)));
        }
        if table.build == Build::History {
            // A row begins where a tracked column differs from the state before.
            let selected = &self.columns[number][..linked.columns.len()];
            let is_named = |named: &[Spanned<String>], name: &str| named.iter().any(|column| column.value == name);
            let is_tracked = |name: &str| match table.increment.track.is_empty() {
                true => {
                    let is_time = table.time.as_ref().is_some_and(|time| time.value == name);
                    !is_time && !is_named(&table.increment.key, name)
                }
                false => is_named(&table.increment.track, name),
            };
            let tracked = selected.iter().filter(|(field, _)| is_tracked(field.name()));
            chosen.extend(tracked.map(|(field, _)| self.own(number, field.name()).with(How::Filter)));
            let begins = table.time.iter().map(|time| own(time, How::Copied)).collect();
            let mut ends: Vec<Link> = table.time.iter().map(|time| own(time, How::Aggregated)).collect();
            ends.extend(&chosen);
            linked.columns.extend([begins, ends.clone(), ends]);
        }
        linked.rows.extend(chosen);
        Ok(())
    }

    fn model(&self, node: &Node, model: &Model, linked: &mut Linked) -> Result<(), Report> {
        let number = self.numbers[&node.name];
        let typed = &self.types.models[&node.name];
        let time = model.time.as_ref().map(|time| self.own(number, &time.value).with(How::AsOf));
        for used in &typed.uses {
            let table = self.numbers[&used.table.name];
            let of_table = |column: &String, how| self.own(table, column).with(how);
            let mut beside = vec![Link { node: table, column: None, how: How::Rows }];
            beside.extend(time);
            beside.push(of_table(&used.table.time, How::AsOf));
            beside.extend(used.table.known_at.iter().map(|column| of_table(column, How::AsOf)));
            for entity in &used.table.entity {
                beside.extend([of_table(entity, How::Join), self.own(number, entity).with(How::Join)]);
            }
            for taken in &used.columns {
                let mut from = vec![of_table(&taken.column, How::Copied)];
                from.extend(&beside);
                linked.columns.push(from);
            }
        }
        let mut seen: Vec<Field> =
            self.columns[number].iter().take(linked.columns.len()).map(|(field, _)| field.clone()).collect();
        for (derived, field) in model.derive.iter().zip(&typed.columns.derived) {
            let catalog = Catalog::default().with(EXAMPLES, Relation::Typed(Arc::new(Schema::new(seen.clone()))));
            // A new line before the bracket, because the expression may end in a comment.
            let text = format!("select ({}\n) as {} from {EXAMPLES}", derived.sql, sql::ident(&derived.name));
            let subject = format!("derived column `{}` of `{}`", derived.name, node.name);
            let lineage = self.engine.lineage(&catalog, &text);
            let lineage = lineage.map_err(|error| error.report(&subject).at(node.place_at(derived.span)))?;
            let from = lineage.columns.iter().flat_map(|column| &column.from);
            linked.columns.push(from.filter_map(|origin| self.link(number, origin)).collect());
            seen.push(field.clone());
        }
        let own = |name: &str, how| self.own(number, name).with(how);
        let mut answer: Vec<Link> =
            typed.columns.inputs.iter().map(|field| own(field.name(), How::Predicted)).collect();
        answer.push(own(typed.columns.target.name(), How::Learned));
        let split = typed.columns.key.iter().chain(&typed.columns.time).map(|field| field.name().as_str());
        answer.extend(split.map(|name| own(name, How::Split)));
        if let SplitBy::Group(name) = &model.split.by {
            answer.push(own(name, How::Split));
        }
        answer.push(Link { node: number, column: None, how: How::Rows });
        linked.columns.extend(typed.columns.answer.iter().map(|_| answer.clone()));
        Ok(())
    }

    fn linked(&self, number: usize, lineage: &Lineage) -> Linked {
        let links =
            |from: &[LineageOrigin]| from.iter().filter_map(|origin| self.link(number, origin)).collect::<Vec<_>>();
        Linked {
            columns: lineage.columns.iter().map(|column| links(&column.from)).collect(),
            rows: links(&lineage.rows),
        }
    }

    /// An origin as the engine names it: a node, the staged rows or the examples of `number` itself, or what a model answers.
    fn link(&self, number: usize, origin: &LineageOrigin) -> Option<Link> {
        let column = origin.column.as_deref();
        if let Some(answer) = origin.relation.strip_prefix(ANSWERS) {
            let (at, model) = answer.split_once('_')?;
            let node = *self.numbers.get(&NodeName::new(model))?;
            let first = self.columns[node].iter().position(|(_, part)| *part == Part::Answer)?;
            return Some(Link { node, column: Some(first + at.parse::<usize>().ok()?), how: origin.how });
        }
        let node = match origin.relation.as_str() {
            STAGED | EXAMPLES => number,
            name => *self.numbers.get(&NodeName::new(name))?,
        };
        Some(match column {
            Some(column) => self.own(node, column).with(origin.how),
            None => Link { node, column: None, how: origin.how },
        })
    }

    /// A column of a node by name; its rows when it has none of that name.
    fn own(&self, node: usize, name: &str) -> Link {
        let column = self.columns[node].iter().position(|(field, _)| field.name() == name);
        Link { node, column, how: How::Rows }
    }
}

impl Link {
    fn with(self, how: How) -> Link {
        Link { how, ..self }
    }
}

/// The name of a node's own rows in the lineage of what is written over them: derived columns, `delete`.
const EXAMPLES: &str = "pelton_examples";

/// The beginning of the names of scorers that stand for what models answer, before `NUMBER_MODEL`.
const ANSWERS: &str = "pelton_answer_";

/// Binds `predict(model, table)`: the table's columns, then what the model answers from those of them that it asks for.
fn bind_answers(catalog: &mut Catalog, model: &NodeName, inputs: &[Field], answer: &[Field]) {
    let mut outputs = Vec::new();
    for (at, field) in answer.iter().enumerate() {
        let name = format!("{ANSWERS}{at}_{model}");
        outputs.push(format!("{name}() as {}", sql::ident(field.name())));
        let asked = Answer { inputs: inputs.to_vec(), output: field.clone() };
        catalog.scorers.insert(name, Arc::new(asked));
    }
    let outputs = outputs.join(", ");
    let template = Arc::new(move |table: &str| format!("select *, {outputs} from {table}"));
    catalog.predicts.insert(model.to_string(), template);
}

/// What a model answers in a SELECT that is looked at and never run.
#[derive(Debug)]
struct Answer {
    inputs: Vec<Field>,
    output: Field,
}

impl Scorer for Answer {
    fn subject(&self) -> String {
        "a model".into()
    }

    fn inputs(&self) -> &[Field] {
        &self.inputs
    }

    fn output(&self) -> Field {
        self.output.clone()
    }

    fn score(&self, _: &[ArrayRef]) -> Result<ArrayRef, String> {
        Err("the model is not trained here".into())
    }
}
