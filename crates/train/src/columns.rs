//! [`Columns`]: what each column of a model is for, found from types alone.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pelton_base::{NodeName, Place, Report, Reports};
use pelton_learn::{Learner, TaskKind, check_inputs, check_params, check_target};
use pelton_project::{Body, LearnerKind, Model, Node, Spanned, SplitBy, Task};
use pelton_query::{sql, types};
use sqlparser::ast::{Expr, Ident, visit_expressions};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What an endpoint looks up in one feature table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The feature table.
    pub table: NodeName,
    /// The columns of the model's SELECT by which it is looked up.
    pub entity: Vec<String>,
    /// The features, under the names that they have in the training set.
    pub fields: Vec<Field>,
}

/// What each column of a model is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// What identifies an example.
    pub key: Vec<Field>,
    /// The time of an example. A request may carry it; without it, it is the time of the request.
    pub time: Option<Field>,
    /// What is learned.
    pub target: Field,
    /// What a request must carry: the SELECT's columns without key, time, target and `exclude`, but with entities and with what
    /// `derive` reads.
    pub request: Vec<Field>,
    /// What is looked up.
    pub lookups: Vec<Lookup>,
    /// What is computed.
    pub derived: Vec<Field>,
    /// What the model sees: the request without entities and without what only `derive` reads, features, derived columns; without
    /// `exclude`.
    pub inputs: Vec<Field>,
    /// What is answered: `prediction`, of a classification `score`, and of one whose target is not boolean `probabilities`, one
    /// for each class.
    pub answer: Vec<Field>,
}

impl Columns {
    /// Key columns that a request may give to have them logged, and for nothing else: those that are neither asked for, because an
    /// entity or `derive` needs them, nor the time.
    pub fn key_beside_request(&self) -> impl Iterator<Item = &Field> {
        let asked = self.request.iter().chain(&self.time);
        let asked: BTreeSet<&str> = asked.map(|field| field.name().as_str()).collect();
        self.key.iter().filter(move |field| !asked.contains(field.name().as_str()))
    }

    /// The columns that an expression of `derive` may read: the SELECT's, then the features.
    pub fn derive_schema(select: &Schema, lookups: &[Lookup]) -> SchemaRef {
        let features = lookups.iter().flat_map(|lookup| lookup.fields.iter().cloned());
        let select = select.fields().iter().map(|field| field.as_ref().clone());
        Arc::new(Schema::new(select.chain(features).collect::<Vec<_>>()))
    }
}

/// Says what each column of the model `node` is for: `select` are the columns of its SELECT, `derived` those of its `[derive]`.
///
/// Fails with everything that is wrong with them: columns that do not exist, names that are there twice, a target or an input
/// that cannot be learned from, a learner that does not fit the task, parameters that it does not have.
pub fn plan_columns(
    node: &Node,
    select: &SchemaRef,
    lookups: &[Lookup],
    derived: &SchemaRef,
) -> Result<Columns, Reports> {
    let Body::Model(model) = &node.body else {
        return Err(Report::error("internal", format!("`{}` is no model", node.name)).into());
    };
    let mut planning = Planning { node, model, select, reports: Reports::default() };
    let target = planning.column(&model.target);
    let key: Vec<Field> = model.key.iter().filter_map(|name| planning.column(name)).collect();
    let time = model.time.as_ref().and_then(|name| planning.column(name));
    let excluded = planning.excluded(lookups, derived);
    planning.check_time(time.as_ref());
    planning.check_group();
    planning.check_names(lookups, derived);
    let read = planning.read_by_derive();
    let (request, own_inputs) = planning.request(lookups, &read, &excluded);
    let derived: Vec<Field> = derived.fields().iter().map(|field| field.as_ref().clone()).collect();
    let others = lookups.iter().flat_map(|lookup| &lookup.fields).chain(&derived);
    let others = others.filter(|field| !excluded.contains(field.name())).cloned();
    let inputs: Vec<Field> = own_inputs.into_iter().chain(others).collect();
    planning.check_learning(target.as_ref(), &inputs);
    match target {
        Some(target) if !planning.reports.has_errors() => {
            let answer = answer(model.task, &target);
            Ok(Columns { key, time, target, request, lookups: lookups.to_vec(), derived, inputs, answer })
        }
        _ => Err(planning.reports),
    }
}

fn answer(task: Task, target: &Field) -> Vec<Field> {
    let double = |name: &str| Field::new(name, DataType::Float64, true);
    match task {
        Task::Classification => {
            let mut answer = vec![Field::new("prediction", target.data_type().clone(), true), double("score")];
            if *target.data_type() != DataType::Boolean {
                answer.push(Field::new_list("probabilities", double("item"), true));
            }
            answer
        }
        Task::Regression => vec![double("prediction")],
    }
}

/// The learner as the algorithms know it.
pub(crate) fn learner_of(kind: LearnerKind) -> Learner {
    match kind {
        LearnerKind::Gbdt => Learner::Gbdt,
        LearnerKind::Logistic => Learner::Logistic,
        LearnerKind::Linear => Learner::Linear,
        LearnerKind::Baseline => Learner::Baseline,
    }
}

/// The task as the algorithms know it.
pub(crate) fn task_of(task: Task) -> TaskKind {
    match task {
        Task::Classification => TaskKind::Classification,
        Task::Regression => TaskKind::Regression,
    }
}

struct Planning<'a> {
    node: &'a Node,
    model: &'a Model,
    select: &'a SchemaRef,
    reports: Reports,
}

impl Planning<'_> {
    fn place(&self, span: (usize, usize)) -> Place {
        Place::in_text(&self.node.file, &self.node.text, span.0, span.1)
    }

    fn subject(&self) -> String {
        format!("model `{}`", self.node.name)
    }

    /// The SELECT's column that a setting names.
    fn column(&mut self, name: &Spanned<String>) -> Option<Field> {
        if let Ok(field) = self.select.field_with_name(&name.value) {
            return Some(field.clone());
        }
        let known = self.select.fields().iter().map(|field| field.name().as_str());
        let report = Report::error("unknown-column", format!("{} does not select `{}`", self.subject(), name.value))
            .suggest(&name.value, known)
            .at(self.place(name.span));
        self.reports.push(report);
        None
    }

    /// The columns that the model does not see: of the SELECT, features by their names here or as `TABLE.COLUMN`, derived ones.
    fn excluded(&mut self, lookups: &[Lookup], derived: &SchemaRef) -> BTreeSet<String> {
        let features = || lookups.iter().flat_map(|lookup| &lookup.fields);
        let own = self.select.fields().iter().chain(derived.fields()).map(AsRef::as_ref);
        let known: Vec<&str> = own.chain(features()).map(|field| field.name().as_str()).collect();
        let mut excluded = BTreeSet::new();
        let mut mistakes = Reports::default();
        for written in &self.model.exclude {
            let of_table = written.value.split_once('.').and_then(|(table, column)| {
                let lookup = lookups.iter().find(|lookup| lookup.table.as_str() == table)?;
                // A name that the SELECT has too stands here with its table in front.
                let long = format!("{table}_{column}");
                let names = || lookup.fields.iter().map(|field| field.name());
                names().find(|name| *name == column).or_else(|| names().find(|name| **name == long)).cloned()
            });
            let found = known.iter().find(|name| **name == written.value).map(|name| name.to_string());
            match found.or(of_table) {
                Some(name) => {
                    excluded.insert(name);
                }
                None => {
                    let message = format!("{} has no column `{}` to exclude", self.subject(), written.value);
                    let column = written.value.rsplit('.').next().unwrap_or_default();
                    mistakes.push(
                        Report::error("unknown-column", message)
                            .note("what can be excluded are columns of the SELECT, features, and derived columns")
                            .suggest(column, known.iter().copied())
                            .at(self.place(written.span)),
                    );
                }
            }
        }
        self.reports.extend(mistakes);
        excluded
    }

    fn check_time(&mut self, time: Option<&Field>) {
        let Some((field, written)) = time.zip(self.model.time.as_ref()) else { return };
        if !matches!(field.data_type(), DataType::Timestamp(_, _)) {
            let found = types::name(field.data_type());
            let message = format!("the time `{}` of {} is {found}, not a timestamp", field.name(), self.subject());
            let report = Report::error("type-mismatch", message).at(self.place(written.span));
            self.reports.push(report.hint(sql::timestamp_advice(field.name(), field.data_type())));
        }
    }

    fn check_group(&mut self) {
        let SplitBy::Group(name) = &self.model.split.by else { return };
        if self.select.field_with_name(name).is_err() {
            let known = self.select.fields().iter().map(|field| field.name().as_str());
            let message = format!("{} does not select `{name}`, by which it is split", self.subject());
            self.reports.push(Report::error("unknown-column", message).suggest(name, known).at(self.node.place()));
        }
    }

    /// A name means one column.
    fn check_names(&mut self, lookups: &[Lookup], derived: &SchemaRef) {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for field in self.select.fields() {
            if !seen.insert(field.name()) {
                let message = format!("{} selects `{}` twice", self.subject(), field.name());
                self.reports.push(Report::error("invalid-name", message).at(self.node.place()));
            }
        }
        seen.extend(lookups.iter().flat_map(|lookup| &lookup.fields).map(|field| field.name().as_str()));
        for field in derived.fields() {
            if !seen.insert(field.name()) {
                let message = format!("{} derives `{}`, which is there already", self.subject(), field.name());
                let written = self.model.derive.iter().find(|derived| derived.name == *field.name());
                let place = written.map_or_else(|| self.node.place(), |derived| self.place(derived.span));
                self.reports.push(Report::error("invalid-name", message).at(place).hint("give it another name"));
            }
        }
    }

    /// The columns that expressions of `derive` name. One that names the target is refused: it would be the answer.
    fn read_by_derive(&mut self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for derived in &self.model.derive {
            let read = names_in(&derived.sql);
            if read.contains(&self.model.target.value) {
                let message = format!("`{}` of {} is derived from the target", derived.name, self.subject());
                let report = Report::error("invalid-value", message).at(self.place(derived.span));
                self.reports.push(report.note("at the endpoint the target is not known"));
            }
            all.extend(read);
        }
        all
    }

    /// What a request carries, and what of it the model sees.
    fn request(
        &self,
        lookups: &[Lookup],
        read: &BTreeSet<String>,
        excluded: &BTreeSet<String>,
    ) -> (Vec<Field>, Vec<Field>) {
        let model = self.model;
        let is_in = |names: &[Spanned<String>], name: &str| names.iter().any(|other| other.value == name);
        let (mut request, mut inputs) = (Vec::new(), Vec::new());
        for field in self.select.fields() {
            let name = field.name().as_str();
            if name == model.target.value || model.time.as_ref().is_some_and(|time| time.value == name) {
                continue;
            }
            let is_entity = lookups.iter().any(|lookup| lookup.entity.iter().any(|entity| entity == name));
            let is_input = !is_entity && !is_in(&model.key, name) && !excluded.contains(name);
            if is_input {
                inputs.push(field.as_ref().clone());
            }
            if is_input || is_entity || read.contains(name) {
                request.push(field.as_ref().clone());
            }
        }
        (request, inputs)
    }

    fn check_learning(&mut self, target: Option<&Field>, inputs: &[Field]) {
        let subject = self.subject();
        let mut found = Vec::new();
        if let Err(error) = check_inputs(&Schema::new(inputs.to_vec())) {
            found.extend(error.reports(&subject).into_iter().map(|report| report.at(self.node.place())));
        }
        if let Some(target) = target
            && let Err(error) = check_target(target.data_type(), task_of(self.model.task))
        {
            let place = self.place(self.model.target.span);
            found.extend(error.reports(&subject).into_iter().map(|report| report.at(place.clone())));
        }
        for learner in &self.model.learner {
            let fits = !matches!(
                (learner.value, self.model.task),
                (LearnerKind::Logistic, Task::Regression) | (LearnerKind::Linear, Task::Classification)
            );
            if !fits {
                let error = pelton_learn::LearnError::LearnerTask {
                    learner: learner_of(learner.value),
                    task: task_of(self.model.task),
                };
                found.push(error.report(&subject).at(self.place(learner.span)));
            }
        }
        for (learner, params) in &self.model.params {
            if let Err(error) = check_params(learner_of(*learner), params) {
                found.extend(error.reports(&subject).into_iter().map(|report| report.at(self.node.place())));
            }
        }
        self.reports.extend(Reports(found));
    }
}

/// The names that an expression reads, folded as SQL folds unquoted names. None of a text that does not parse: the engine, which
/// compiles the expression, reports that with its place.
fn names_in(sql: &str) -> BTreeSet<String> {
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(sql).and_then(|mut parser| parser.parse_expr());
    let folded = |name: &Ident| if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
    let mut names = BTreeSet::new();
    if let Ok(expression) = parsed {
        let _ = visit_expressions(&expression, |part: &Expr| {
            match part {
                Expr::Identifier(name) => drop(names.insert(folded(name))),
                Expr::CompoundIdentifier(parts) => names.extend(parts.first().map(folded)),
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
    }
    names
}

#[cfg(test)]
#[path = "tests/columns.rs"]
mod tests;
