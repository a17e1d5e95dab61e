//! How a run ended, on a page: what became of every node, what was published, how models compare.

use super::sheet::{Cell, Sheet};
use super::style::Style;
use super::words;
use pelton_base::NodeName;
use pelton_runner::{ModelReport, RunOptions, RunOutcome};
use std::collections::BTreeMap;

/// How many names a line has.
const NAMES_MAX: usize = 12;

/// What is gone on with.
pub(crate) fn resumed(options: &RunOptions) -> String {
    let Some(resumed) = &options.resumes else { return String::new() };
    let built = match resumed.built.as_slice() {
        [] => "it had recorded nothing".to_string(),
        built => format!("it had recorded {}", words::names(built.iter().map(NodeName::to_string), NAMES_MAX)),
    };
    let selected = match options.select.as_slice() {
        [] => String::new(),
        select => format!("\nnodes: {}", select.join(" ")),
    };
    format!("resuming run {}, which began {} and {}: {built}{selected}", resumed.run, resumed.started_at, resumed.ended)
}

/// A run's end.
pub(crate) fn outcome(ended: &RunOutcome, style: Style) -> String {
    let mut sheet = Sheet::new();
    let mut add = |action: &str, names: Vec<String>| {
        if !names.is_empty() {
            let count = Cell::from(words::count(names.len() as u64));
            sheet.row([
                Cell::painted(action, style.action(action, action)),
                count,
                words::names(names, NAMES_MAX).into(),
            ]);
        }
    };
    let plain = |names: &[NodeName]| names.iter().map(NodeName::to_string).collect::<Vec<_>>();
    add("built", plain(&ended.built));
    add("reused", plain(&ended.reused));
    add("skipped", plain(&ended.skipped));
    add("checked", plain(&ended.checked));
    add("removed", plain(&ended.removed));
    add("withheld", plain(&ended.withheld));
    add("failed", plain(&ended.failed));
    let held = ended.held.iter().map(|held| match &held.in_service {
        Some(version) => format!("{} ({version} stays in service)", held.node),
        None => format!("{} (nothing of it is in service)", held.node),
    });
    add("held", held.collect());
    let mut text = sheet.text(style);
    for model in &ended.models {
        text.push('\n');
        text.push_str(&compared(model, style));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let published = match (ended.published, ended.publication) {
        (true, Some(id)) => format!("{}: publication {id} of `{}`", style.green("published"), ended.environment),
        (_, Some(id)) => format!("nothing new is published, `{}` stays at publication {id}", ended.environment),
        (_, None) => format!("nothing is published in `{}`", ended.environment),
    };
    text.push_str(&format!("{published}   run {}   {}\n", ended.run, words::elapsed_ms(ended.elapsed_ms)));
    text
}

/// A model beside its baseline, on the test part.
fn compared(model: &ModelReport, style: Style) -> String {
    let word = if model.accepted { style.green("accepted") } else { style.yellow("held back") };
    let head =
        format!("model {} ({}, version {}): {word}\n", style.bold(model.node.as_str()), model.learner, model.version);
    head + &side_by_side(&[(&model.learner, &model.metrics), ("baseline", &model.baseline)], Some(&model.metric), style)
}

/// Metrics in columns, a row a metric; the one that decides comes first.
pub(crate) fn side_by_side(columns: &[(&str, &BTreeMap<String, f64>)], first: Option<&str>, style: Style) -> String {
    let mut names: Vec<&str> = columns.iter().flat_map(|(_, metrics)| metrics.keys().map(String::as_str)).collect();
    names.sort_by_key(|name| (Some(*name) != first, *name));
    names.dedup();
    let head = ["on the test part"].into_iter().chain(columns.iter().map(|(name, _)| *name));
    let mut sheet = Sheet::with_head(head).right(1..=columns.len()).indent(2);
    for name in names {
        let values =
            columns.iter().map(|(_, metrics)| metrics.get(name).map_or("-".into(), |value| words::metric(*value)));
        sheet.row([name.to_string()].into_iter().chain(values));
    }
    sheet.text(style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pelton_base::{Reports, RunId, VersionId};
    use pelton_runner::HeldModel;

    fn ended() -> RunOutcome {
        RunOutcome {
            run: RunId("0198".into()),
            environment: "main".into(),
            publication: Some(4),
            published: true,
            selected: vec![],
            resumed: None,
            built: vec!["orders".into(), "spend".into()],
            skipped: vec!["customers".into()],
            checked: vec![],
            reused: vec![],
            removed: vec!["churn".into()],
            withheld: vec![],
            failed: vec![],
            held: vec![],
            models: vec![],
            retried: vec![],
            reports: Reports::default(),
            elapsed_ms: 1_240,
        }
    }

    #[test]
    fn a_run_that_published_says_what() {
        assert_eq!(
            outcome(&ended(), Style::default()),
            "\
built    2  orders, spend
skipped  1  customers
removed  1  churn

published: publication 4 of `main`   run 0198   1.2 s
"
        );
    }

    #[test]
    fn a_held_model_stands_beside_its_baseline() {
        let metrics = |value: f64| BTreeMap::from([("average_precision".into(), value), ("accuracy".into(), 0.99)]);
        let ended = RunOutcome {
            published: false,
            built: vec![],
            removed: vec![],
            held: vec![HeldModel {
                node: "fraud".into(),
                version: VersionId("b".into()),
                in_service: Some(VersionId("a".into())),
            }],
            models: vec![ModelReport {
                node: "fraud".into(),
                version: VersionId("b".into()),
                learner: "gbdt".into(),
                metric: "average_precision".into(),
                metrics: metrics(0.31),
                baseline: metrics(0.0123),
                accepted: false,
            }],
            ..ended()
        };
        assert_eq!(
            outcome(&ended, Style::default()),
            "\
skipped  1  customers
held     1  fraud (a stays in service)

model fraud (gbdt, version b): held back
  on the test part     gbdt  baseline
  -----------------  ------  --------
  average_precision  0.3100    0.0123
  accuracy           0.9900    0.9900

nothing new is published, `main` stays at publication 4   run 0198   1.2 s
"
        );
    }
}
