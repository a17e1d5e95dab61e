//! Gates: what a model must reach on the test part to go into service.

use pelton_base::{Place, Report};
use pelton_learn::{Model, Task, metrics};
use pelton_project::{Comparison, Gate, Node};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version that answers requests now.
pub struct InService<'a> {
    /// Its id.
    pub version: &'a str,
    /// Its metrics on the test part of its own training.
    pub metrics: &'a BTreeMap<String, f64>,
    /// The model itself. When it is given and reads the same columns, it is judged anew, on the same examples as its successor.
    pub model: Option<&'a Model>,
}

/// What came of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// The gate as written.
    pub text: String,
    /// The metric.
    pub metric: String,
    /// The metric on the test part; missing when it is not defined there.
    pub value: Option<f64>,
    /// What was asked; missing for a gate that compares with a version in service when there is none.
    pub threshold: Option<f64>,
    /// Whether it was met.
    pub met: bool,
}

/// Asks one gate; `test` are the model's metrics, `current` those of the version in service.
pub fn ask(gate: &Gate, test: &BTreeMap<String, f64>, current: Option<&BTreeMap<String, f64>>) -> GateResult {
    let value = test.get(&gate.metric).copied();
    let threshold = match (gate.relative, current) {
        (false, _) => Some(gate.number),
        // A version whose metric is not known, like no version, has set no mark.
        (true, current) => current.and_then(|metrics| metrics.get(&gate.metric)).map(|mark| mark + gate.number),
    };
    let met = match (value, threshold) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(value), Some(threshold)) => match gate.comparison {
            Comparison::AtLeast => value >= threshold,
            Comparison::Above => value > threshold,
            Comparison::AtMost => value <= threshold,
            Comparison::Below => value < threshold,
        },
    };
    GateResult { text: gate.text.clone(), metric: gate.metric.clone(), value, threshold, met }
}

/// Which metrics a task has, when `name` is not one of them.
pub(crate) fn no_metric(name: &str, task: Task) -> Option<String> {
    let known = metrics::names_of(task);
    let listed = || known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    (!known.contains(&name)).then(|| format!("metrics are {}", listed()))
}

/// The report of a gate that was not met.
pub(crate) fn report(
    node: &Node,
    gate: &Gate,
    (result, test): (&GateResult, &BTreeMap<String, f64>),
    in_service: Option<&InService<'_>>,
) -> Report {
    let is_multiclass = test.contains_key("macro_f1");
    let found = match result.value {
        Some(value) => format!("it is {value:.4}"),
        None => "it is not defined on the test part".to_string(),
    };
    let message = format!("model `{}` does not meet `{}`: {found}", node.name, gate.text);
    let place = Place::in_text(&node.file, &node.text, gate.span.0, gate.span.1);
    let report = Report::error("gate-not-met", message).at(place);
    // A version that was trained before the gate was written may have classes for which there is no such metric.
    let report = match no_metric(&gate.metric, Task::Multiclass).filter(|_| result.value.is_none() && is_multiclass) {
        Some(why) => report.note(format!("the target has more than two classes: {why}")),
        None => report,
    };
    let report = match (gate.relative, result.threshold, in_service) {
        (true, Some(threshold), Some(current)) => {
            let mark = threshold - gate.number;
            report.note(format!("version {} in service has {mark:.4}", current.version))
        }
        _ => report,
    };
    match in_service {
        Some(current) => report.note(format!("version {} stays in service", current.version)),
        None => report.note("the model was not put into service"),
    }
}

/// Asks a model's gates again from its recorded metrics on the test part; gives a report for each that is not met.
///
/// The project's gates may have changed since the model was trained, and so may the version in service.
pub fn refusals(
    node: &Node,
    model: &pelton_project::Model,
    test: &BTreeMap<String, f64>,
    in_service: Option<&InService<'_>>,
) -> Vec<Report> {
    let asked = model.accept.iter().map(|gate| (gate, ask(gate, test, in_service.map(|current| current.metrics))));
    asked
        .filter(|(_, result)| !result.met)
        .map(|(gate, result)| report(node, gate, (&result, test), in_service))
        .collect()
}

/// As [`refusals`], of the version in service itself: a gate that compares with it holds.
pub fn refusals_in_service(node: &Node, model: &pelton_project::Model, current: &InService<'_>) -> Vec<Report> {
    let asked = model.accept.iter().map(|gate| (gate, ask(gate, current.metrics, None)));
    let not_met = asked.filter(|(_, result)| !result.met);
    not_met.map(|(gate, result)| report(node, gate, (&result, current.metrics), Some(current))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(text: &str, comparison: Comparison, relative: bool, number: f64) -> Gate {
        let metric = text.split(' ').next().unwrap().to_string();
        Gate { text: text.into(), metric, comparison, relative, number, span: (0, 0) }
    }

    #[test]
    fn gates_compare_with_numbers_and_with_the_version_in_service() {
        let test: BTreeMap<String, f64> = [("roc_auc".to_string(), 0.8), ("rmse".to_string(), 2.0)].into();
        let better: BTreeMap<String, f64> = [("roc_auc".to_string(), 0.82)].into();
        let met = |gate: Gate, current: Option<&BTreeMap<String, f64>>| ask(&gate, &test, current).met;
        assert!(met(gate("roc_auc >= 0.8", Comparison::AtLeast, false, 0.8), None));
        assert!(!met(gate("roc_auc > 0.8", Comparison::Above, false, 0.8), None));
        assert!(met(gate("rmse <= 2", Comparison::AtMost, false, 2.0), None));
        assert!(!met(gate("rmse < 2", Comparison::Below, false, 2.0), None));
        assert!(!met(gate("r2 >= 0", Comparison::AtLeast, false, 0.0), None));
        assert!(met(gate("roc_auc >= current", Comparison::AtLeast, true, 0.0), None));
        assert!(!met(gate("roc_auc >= current", Comparison::AtLeast, true, 0.0), Some(&better)));
        assert!(met(gate("roc_auc >= current - 0.03", Comparison::AtLeast, true, -0.03), Some(&better)));
        assert!(met(gate("rmse <= current", Comparison::AtMost, true, 0.0), Some(&better)));
    }
}
