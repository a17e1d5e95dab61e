//! A receipt on a page: the answer, what the model saw, where the model came from with its SQL, and the score of today.

use super::sheet::{Cell, Sheet};
use super::style::Style;
use super::words;
use pelton_serve::{Receipt, TrainingVersion};
use serde_json::{Map, Value};

/// The page.
pub(crate) fn receipt(found: &Receipt, style: Style) -> String {
    let mut head = Sheet::new();
    head.row(["receipt", &found.id.0]);
    head.row(["predicted at", &found.at]);
    head.row(["model", &format!("{} version {} ({})", found.model, found.version, found.learner)]);
    head.row(["published in", &format!("`{}`, publication {}", found.environment, found.publication)]);
    head.row(["re-scored", &same_bits(found)]);
    let mut text = head.text(style);
    section(&mut text, "answer", &values(&found.output, style), style);
    section(&mut text, "request", &values(&found.request, style), style);
    let mut features = Sheet::new().indent(2);
    let mut unknown = String::new();
    for source in &found.lookups {
        if !source.found {
            unknown.push_str(&format!("  {} ({}) has nothing of this entity\n", source.table, source.version));
            continue;
        }
        for name in &source.features {
            let value = found.features.get(name).map_or("null".into(), value_text);
            features.row([name.clone(), value, format!("{} {}", source.table, source.version)]);
        }
    }
    section(&mut text, "features, as they were looked up", &(features.text(style) + &unknown), style);
    section(&mut text, "derived", &values(&found.derived, style), style);
    section(&mut text, "trained on", &training(&found.training, usize::MAX, style), style);
    for version in &found.training {
        if let Some(sql) = &version.sql {
            section(&mut text, &format!("SQL of {} {}", version.kind, version.node), &indented(sql), style);
        }
    }
    text
}

/// A SELECT as the version had it.
fn indented(sql: &str) -> String {
    // `visible` would write a tab as an escape.
    sql.trim().lines().map(|line| format!("  {}\n", words::visible(&line.replace('\t', "    ")))).collect()
}

/// `same bits`, or what became of the answer.
pub(crate) fn same_bits(found: &Receipt) -> String {
    match found.rescored.same_bits {
        true => "same bits".into(),
        false => format!("DIFFERENT: {}", Value::Object(found.rescored.output.clone())),
    }
}

fn section(text: &mut String, title: &str, body: &str, style: Style) {
    if !body.is_empty() {
        text.push_str(&format!("\n{}\n{body}", style.bold(title)));
    }
}

fn values(values: &Map<String, Value>, style: Style) -> String {
    let mut sheet = Sheet::new().indent(2);
    for (name, value) in values {
        sheet.row([name.clone(), value_text(value)]);
    }
    sheet.text(style)
}

/// A JSON value as people read it.
pub(crate) fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => words::visible(text),
        other => other.to_string(),
    }
}

/// Every version that the model came from, each source with so many of its files.
pub(crate) fn training(versions: &[TrainingVersion], files_max: usize, style: Style) -> String {
    let mut sheet = Sheet::new().indent(2);
    for version in versions {
        let what = if version.kind == "model" { "examples" } else { "rows" };
        sheet.row([
            Cell::from(version.kind.clone()),
            Cell::from(version.node.to_string()),
            Cell::from(version.version.to_string()),
            Cell::from(version.rows.map_or("view".into(), |rows| format!("{} {what}", words::count(rows)))),
            Cell::painted(version.digest.to_string(), style.dim(&version.digest.to_string())),
        ]);
        for file in version.files.iter().take(files_max) {
            sheet.row([
                Cell::from(""),
                Cell::from(format!("  {}", words::visible(&file.path))),
                Cell::from(""),
                Cell::from(format!("{} rows", words::count(file.rows))),
                Cell::painted(file.digest.to_string(), style.dim(&file.digest.to_string())),
            ]);
        }
        if version.files.len() > files_max {
            sheet.row([String::new(), format!("  and {} more files", version.files.len() - files_max)]);
        }
    }
    sheet.text(style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pelton_base::Digest;
    use serde_json::json;

    #[test]
    fn a_receipt_leads_from_the_answer_to_the_files() {
        let digest = Digest(0xabc);
        let found: Receipt = serde_json::from_value(json!({
            "id": "0198-1", "at": "2026-01-01T09:20:00Z", "environment": "main", "publication": 3, "model": "fraud",
            "version": "aaaa", "learner": "gbdt", "row": 0, "request": {"amount": 12.5, "channel": "ecom"},
            "features": {"spend_30d": 7.25}, "derived": {"ratio": null},
            "lookups": [
                {"table": "activity", "version": "bbbb", "found": true, "features": ["spend_30d"]},
                {"table": "device", "version": "cccc", "found": false, "features": ["uses"]}],
            "output": {"prediction": true, "score": 0.93}, "rescored": {"output": {}, "same_bits": true},
            "training": [
                {"node": "fraud", "kind": "model", "version": "aaaa", "digest": digest, "rows": 1200,
                 "built_at": "2026-01-01T00:00:00Z", "inputs": [["orders", "dddd"]],
                 "sql": "\nselect id,\n\tamount\nfrom orders\n"},
                {"node": "orders", "kind": "source", "version": "dddd", "digest": digest, "rows": 5,
                 "built_at": "2026-01-01T00:00:00Z", "inputs": [],
                 "files": [{"path": "data/orders.csv", "digest": digest, "rows": 5}]}]
        }))
        .unwrap();
        assert_eq!(
            receipt(&found, Style::default()),
            "\
receipt       0198-1
predicted at  2026-01-01T09:20:00Z
model         fraud version aaaa (gbdt)
published in  `main`, publication 3
re-scored     same bits

answer
  prediction  true
  score       0.93

request
  amount   12.5
  channel  ecom

features, as they were looked up
  spend_30d  7.25  activity bbbb
  device (cccc) has nothing of this entity

derived
  ratio  null

trained on
  model   fraud              aaaa  1,200 examples  00000000000000000000000000000abc
  source  orders             dddd  5 rows          00000000000000000000000000000abc
            data/orders.csv        5 rows          00000000000000000000000000000abc

SQL of model fraud
  select id,
      amount
  from orders
"
        );
    }
}
