//! A checked project on a page: how many nodes, and what every endpoint will ask and answer.

use super::sheet::Sheet;
use super::style::Style;
use super::words;
use pelton_runner::{Checked, TypedColumn};

/// How many features an endpoint names.
const FEATURES_MAX: usize = 60;

/// The page.
pub(crate) fn checked(found: &Checked, style: Style) -> String {
    let of_kind = |kind: &str| found.nodes.iter().filter(|node| node.kind == kind).count() as u64;
    let columns: u64 = found.nodes.iter().map(|node| node.columns.len() as u64).sum();
    let tests = match found.tests as u64 {
        0 => String::new(),
        tests => format!(", {}", words::counted(tests, "test")),
    };
    let mut text = format!(
        "{} {} ({}, {}, {}), {}{}: every name and type fits\n",
        style.green("OK"),
        words::counted(found.nodes.len() as u64, "node"),
        words::counted(of_kind("source"), "source"),
        words::counted(of_kind("table"), "table"),
        words::counted(of_kind("model"), "model"),
        words::counted(columns, "column"),
        tests,
    );
    for endpoint in &found.endpoints {
        text.push_str(&format!("\nendpoint {}\n", style.bold(endpoint.model.as_str())));
        text.push_str("  request\n");
        text.push_str(&columns_text(&endpoint.request, endpoint.time.as_deref(), style));
        if !endpoint.features.is_empty() {
            let features = words::names(&endpoint.features, FEATURES_MAX);
            text.push_str(&format!("  looked up by entity\n{}", wrapped(&features, 4)));
        }
        text.push_str("  answer\n");
        text.push_str(&columns_text(&endpoint.answer, None, style));
    }
    text
}

fn columns_text(columns: &[TypedColumn], time: Option<&str>, style: Style) -> String {
    let mut sheet = Sheet::new().indent(4);
    for column in columns.iter().filter(|column| time != Some(column.name.as_str())) {
        sheet.row([column.name.as_str(), &column.data_type]);
    }
    if let Some(time) = time {
        sheet.row([time, "timestamp", "default: when the request arrives"]);
    }
    sheet.text(style)
}

/// A list over several lines.
pub(crate) fn wrapped(list: &str, indent: usize) -> String {
    const WIDTH: usize = 100;
    let mut text = String::new();
    let mut line = " ".repeat(indent);
    for word in list.split(' ') {
        if words::width(&line) + words::width(word) > WIDTH && !line.trim().is_empty() {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(indent);
        }
        line.push_str(word);
        line.push(' ');
    }
    text.push_str(line.trim_end());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use pelton_base::Reports;
    use pelton_runner::{EndpointTypes, NodeTypes};

    #[test]
    fn an_endpoint_says_what_it_asks_and_answers() {
        let column = |name: &str, data_type: &str| TypedColumn { name: name.into(), data_type: data_type.into() };
        let found = Checked {
            nodes: vec![
                NodeTypes { node: "orders".into(), kind: "source", columns: vec![column("id", "bigint")] },
                NodeTypes { node: "churn".into(), kind: "model", columns: vec![column("id", "bigint")] },
            ],
            endpoints: vec![EndpointTypes {
                model: "churn".into(),
                request: vec![column("customer_id", "bigint")],
                time: Some("at".into()),
                features: vec!["spend.spend_30d".into(), "spend.orders_30d".into()],
                answer: vec![column("prediction", "boolean"), column("score", "double")],
            }],
            tests: 0,
            warnings: Reports::default(),
        };
        assert_eq!(
            checked(&found, Style::default()),
            "\
OK 2 nodes (1 source, 0 tables, 1 model), 2 columns: every name and type fits

endpoint churn
  request
    customer_id  bigint
    at           timestamp  default: when the request arrives
  looked up by entity
    spend.spend_30d, spend.orders_30d
  answer
    prediction  boolean
    score       double
"
        );
    }
}
