//! Rows that break a rule with `on_fail = "quarantine"`: which SELECT keeps the others, which gives the removed ones, and what
//! is written about each.
//!
//! Every removed row is removed once, under the first rule that it breaks: row-wise rules and `references` in the order of the
//! file, then `unique` in the order of the file, among the rows that are still there. Of rows that share a key, the first one by
//! all columns stays. So rows in = rows kept + rows removed.
//!
//! This is about where a row goes. How many rows break a rule is counted by [`crate::run()`] over all staged rows, whatever the others
//! remove.

use crate::plan::{CheckPlan, Form, Item, STAGED, all_present};
use crate::rule::{checked_columns, rule_text};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use pelton_base::{Report, RunId};
use pelton_query::sql;
use std::sync::Arc;

/// The column of [`CheckPlan::removed_select`] that says which check removed the row, counted from 0.
pub(crate) const RULE: &str = "pelton_rule";

impl CheckPlan {
    /// The SELECT of the rows of `staged` that stay.
    pub fn kept_select(&self) -> String {
        self.kept_of(STAGED)
    }

    pub(crate) fn kept_of(&self, relation: &str) -> String {
        format!("select {} from ({}) as \"marked\" where \"{RULE}\" is null", self.columns(None), self.marked(relation))
    }

    /// The SELECT of the rows of `staged` that are removed, all columns and `pelton_rule`; [`quarantine_rows`] reads it.
    pub fn removed_select(&self) -> String {
        format!("select * from ({}) as \"marked\" where \"{RULE}\" is not null", self.marked(STAGED))
    }

    /// The SELECT of the first rows that a check removes.
    pub(crate) fn removed_sample(&self, index: usize, limit: usize) -> String {
        format!(
            "select {} from ({}) as \"marked\" where \"{RULE}\" = {index} order by {} limit {limit}",
            self.columns(None),
            self.marked(STAGED),
            self.order(None)
        )
    }

    /// All rows, each with the number of the check that removes it, or null.
    pub(crate) fn marked(&self, relation: &str) -> String {
        let removing = || self.items.iter().enumerate().filter(|(_, item)| item.removes());
        let mut cases = String::new();
        let mut joins = String::new();
        let mine = sql::ident(self.node.as_str());
        for (i, item) in removing() {
            match &item.form {
                Form::Rows { broken } => cases.push_str(&format!(" when {broken} then {i}")),
                Form::References { column, table, other } => {
                    let (value, other) = (format!("{mine}.{}", sql::ident(column)), sql::ident(other));
                    cases.push_str(&format!(" when {value} is not null and \"r{i}\".\"pelton_hit\" is null then {i}"));
                    joins.push_str(&format!(
                        "\nleft join (select distinct {other} as \"pelton_key\", true as \"pelton_hit\" from {} \
                         where {other} is not null) as \"r{i}\" on {value} = \"r{i}\".\"pelton_key\"",
                        sql::dotted(table.as_str()),
                    ));
                }
                Form::Unique { .. } | Form::Table { .. } | Form::Custom { .. } | Form::Measured { .. } => {}
            }
        }
        let rule = if cases.is_empty() {
            "cast(null as bigint)".to_string()
        } else {
            format!("cast(case{cases} end as bigint)")
        };
        let mut select = format!(
            "select {}, {rule} as \"{RULE}\"\nfrom {} as {mine}{joins}",
            self.columns(Some(self.node.as_str())),
            sql::ident(relation),
        );
        for (i, item) in removing() {
            if let Form::Unique { columns } = &item.form {
                select = format!(
                    "select {all}, coalesce(\"{RULE}\", case when {present} and row_number() over (partition by {key}, \
                     \"{RULE}\" is null order by {order} rows between unbounded preceding and current row) > 1 \
                     then {i} end) as \"{RULE}\"\nfrom ({select}) as \"m{i}\"",
                    all = self.columns(None),
                    present = all_present(columns),
                    key = sql::idents(columns.iter().map(String::as_str)),
                    order = self.order(None),
                );
            }
        }
        select
    }

    /// The counts of removed rows, by the check that each is removed under: `c<i>`.
    pub(crate) fn removed_counts(&self) -> String {
        let removing = self.items.iter().enumerate().filter(|(_, item)| item.removes());
        let columns = removing.map(|(i, _)| format!("count(*) filter (where \"{RULE}\" = {i}) as \"c{i}\""));
        let columns = columns.collect::<Vec<_>>().join(", ");
        format!("select {columns}\nfrom ({}) as \"marked\"", self.marked(STAGED))
    }
}

/// Turns a batch of [`CheckPlan::removed_select`] into rows of the quarantine; `now_us` is the time of the run.
///
/// `file` and `line` are null, because a row of a SELECT has no origin of that kind; `raw` is the row as JSON.
pub fn quarantine_rows(
    plan: &CheckPlan,
    removed: &RecordBatch,
    run: &RunId,
    now_us: i64,
) -> Result<RecordBatch, Report> {
    let broken = |what: String| Report::error("internal", format!("removed rows of `{}`: {what}", plan.node));
    let at = removed.schema().index_of(RULE).map_err(|error| broken(error.to_string()))?;
    let rules = removed.column(at).as_primitive_opt::<Int64Type>().ok_or_else(|| broken("rule is no number".into()))?;
    let mut data = removed.clone();
    data.remove_column(at);
    let raw = json_lines(&data).map_err(|error| broken(error.to_string()))?;
    let items: Vec<&Item> = (0..removed.num_rows())
        .map(|row| {
            let known = |index: i64| plan.items.get(usize::try_from(index).ok()?);
            rules.is_valid(row).then(|| known(rules.value(row))).flatten().ok_or_else(|| broken("unknown rule".into()))
        })
        .collect::<Result<_, _>>()?;
    let rows = items.len();
    let texts = |of: &dyn Fn(&Item) -> Option<String>| -> ArrayRef {
        Arc::new(items.iter().map(|item| of(item)).collect::<StringArray>())
    };
    let times = TimestampMicrosecondArray::from(vec![now_us; rows]).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![run.0.as_str(); rows])),
        Arc::new(StringArray::from(vec![plan.node.as_str(); rows])),
        texts(&|item| Some(item.check.name.clone())),
        texts(&|item| Some(reason(item))),
        Arc::new(StringArray::new_null(rows)),
        Arc::new(Int64Array::new_null(rows)),
        texts(&|item| {
            let columns = checked_columns(&item.check.rule);
            (!columns.is_empty()).then(|| columns.join(", "))
        }),
        Arc::new(StringArray::from(raw)),
        Arc::new(times),
    ];
    RecordBatch::try_new(pelton_store::quarantine_schema(), columns).map_err(|error| broken(error.to_string()))
}

fn reason(item: &Item) -> String {
    match &item.form {
        Form::Unique { columns } => format!("another row has the same {}", columns.join(", ")),
        Form::References { column, table, other } => format!("its {column} is in no row of {table}.{other}"),
        _ => format!("breaks {}", rule_text(&item.check.rule)),
    }
}

/// Each row as a JSON object, missing values as nulls.
pub(crate) fn json_lines(batch: &RecordBatch) -> Result<Vec<String>, arrow::error::ArrowError> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner()).expect("the JSON writer writes UTF-8");
    Ok(text.lines().map(str::to_string).collect())
}
