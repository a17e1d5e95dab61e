//! What is wrong with names of columns that the SQL allows.

use arrow::datatypes::{Field, Schema};
use pelton_base::{Report, Reports};
use pelton_project::{Body, Node};
use pelton_query::QueryError;
use std::collections::BTreeMap;

/// Characters that Spark refuses in a column's name.
const REFUSED_IN_NAMES: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// A warning of a table's column whose name Delta Lake allows only with a feature that we do not write, because older readers lack it.
pub(crate) fn unreadable(node: &Node, name: &str) -> Option<Report> {
    if !matches!(node.body, Body::Table(_)) || crate::catalog::is_view(node) || !name.contains(REFUSED_IN_NAMES) {
        return None;
    }
    let message = format!("column `{name}` of `{}` has a name that Spark cannot read", node.name);
    let report = Report::warning("invalid-name", message).at(node.place());
    Some(report.note("it refuses names with spaces and any of `,;{}()=`").hint("name the column with AS"))
}

/// What is wrong with columns whose names differ in case alone, which a table at rest does not tell apart.
pub(crate) fn twins(node: &Node, schema: &Schema) -> Reports {
    let mut reports = Reports::default();
    let names = || schema.fields().iter().map(|field| field.name());
    if matches!(node.body, Body::Source(_)) || !names().any(|name| name.contains(char::is_uppercase)) {
        return reports;
    }
    let mut by_lower: BTreeMap<String, &str> = BTreeMap::new();
    for name in names() {
        if let Some(other) = by_lower.insert(name.to_lowercase(), name).filter(|other| other != name) {
            let message =
                format!("columns `{other}` and `{name}` of {} `{}` differ in case alone", node.kind(), node.name);
            reports.push(Report::error("invalid-name", message).at(node.place()).hint("name one of them with AS"));
        }
    }
    reports
}

/// Warnings of columns that a model is asked with and that are called as one of its answer: `predict` cannot tell them apart.
pub(crate) fn answers<'a>(node: &Node, asked: impl Iterator<Item = &'a Field>, answer: &[Field]) -> Reports {
    let is_answer = |field: &&Field| answer.iter().any(|other| other.name() == field.name());
    let warning = |field: &Field| {
        let name = field.name();
        let message =
            format!("model `{}` is asked with a column `{name}`, and answers with one of that name", node.name);
        Report::warning("invalid-name", message)
            .at(node.place())
            .note(format!("`predict({}, TABLE)` cannot tell them apart; an endpoint can", node.name))
            .hint("name it with AS")
    };
    Reports(asked.filter(is_answer).map(warning).collect())
}

/// The mistake of a SELECT that gives `predict` a table with a column that the answer has too, in words for who wrote it.
pub(crate) fn of_predict(sql: &str, error: &QueryError) -> Option<QueryError> {
    let QueryError::Type { message, at } = error else { return None };
    let (name, _) = message.strip_prefix("column `")?.split_once("` is in more than one of the tables")?;
    let is_answer = ["prediction", "score", "probabilities"].contains(&name);
    (is_answer && sql.to_lowercase().contains("predict")).then(|| QueryError::Type {
        message: format!(
            "a table that goes into `predict` has a column `{name}`, which the answer has too; give it another name with AS"
        ),
        at: *at,
    })
}
