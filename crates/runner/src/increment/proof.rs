//! What is asked of an incremental table before it runs: its columns, and that the SQL allows its build at all.

use crate::shape;
use pelton_base::{DAY_US, Grain, Place, Report, Reports};
use pelton_project::{Body, Build, Node, Project, Spanned, Table};
use pelton_query::{Catalog, Engine, LocalColumn, Locality, QueryError, types};

use arrow::datatypes::{DataType, Field, SchemaRef};

/// Checks an incremental table whose SELECT has the columns `selected`; gives the columns of the table.
///
/// Fails with `unknown-column`, `type-mismatch`, `invalid-value`, the mistakes of `delete`, and `not-incremental`.
pub(crate) fn check(
    engine: &dyn Engine,
    catalog: &Catalog,
    node: &Node,
    table: &Table,
    (selected, volatile): (&SchemaRef, &[String]),
) -> Result<SchemaRef, Reports> {
    let mut mistakes = Reports::default();
    for column in &table.increment.key {
        let is_key = |kind: &DataType| !kind.is_nested() && !kind.is_floating();
        has(node, selected, column, is_key, "a key", &mut mistakes);
    }
    for column in &table.increment.track {
        has(node, selected, column, |kind| !kind.is_nested(), "a tracked column", &mut mistakes);
    }
    if let Some(column) = &table.time {
        let takes_dates = table.build != Build::History;
        let is_time =
            |kind: &DataType| matches!(kind, DataType::Timestamp(..)) || (takes_dates && *kind == DataType::Date32);
        has(node, selected, column, is_time, "a time", &mut mistakes);
    }
    if table.build == Build::History {
        for name in [shape::VALID_FROM, shape::VALID_TO, shape::IS_CURRENT] {
            if selected.field_with_name(name).is_ok() {
                let message = format!("table `{}` selects `{name}`, a column that a history adds", node.name);
                mistakes
                    .push(Report::error("invalid-name", message).at(node.place()).hint("name it otherwise with AS"));
            }
        }
    }
    if mistakes.has_errors() {
        return Err(mistakes);
    }
    let sql = shape::of_table(table, selected, 0);
    let schema = match engine.analyze(catalog, &sql) {
        Ok(typed) => typed.schema,
        Err(error) => return Err(delete_report(node, table, &error).into()),
    };
    if !volatile.is_empty() && !table.deterministic {
        let why = format!("it depends on more than its inputs ({})", volatile.join(", "));
        return Err(refused(node, table, &why).into());
    }
    let report = |error: QueryError| Reports::from(crate::table::select_report(node, &error));
    match table.build {
        Build::Append => {
            if let Err(why) = engine.locality(catalog, &sql).map_err(report)?.additive {
                return Err(refused(node, table, &why).into());
            }
        }
        Build::Merge | Build::History if table.build == Build::Merge || table.time.is_some() => {
            let locality = engine.locality(catalog, &sql).map_err(report)?;
            let is_bound = |column: &&LocalColumn| {
                table.increment.key.iter().any(|key| key.value == column.name)
                    && column.origins.iter().any(pelton_query::Origin::is_equal)
            };
            let is_sum = || {
                table.build == Build::Merge
                    && engine.locality(catalog, &table.select.sql).is_ok_and(|locality| locality.additive.is_ok())
            };
            if locality.columns.iter().find(is_bound).is_none() && !is_sum() {
                return Err(refused(node, table, "no key is a column of what it reads").into());
            }
        }
        Build::Interval => interval(node, table, &engine.locality(catalog, &sql).map_err(report)?, selected)?,
        _ => {}
    }
    Ok(schema)
}

fn interval(node: &Node, table: &Table, locality: &Locality, selected: &SchemaRef) -> Result<(), Report> {
    let Some(time) = &table.time else { return Ok(()) };
    let origins = locality.column(&time.value).map_or(&[][..], |column| &column.origins);
    if origins.is_empty() {
        let why = format!("`{}` is no time of what it reads, rounded down or as it is", time.value);
        return Err(refused(node, table, &why));
    }
    if selected.field_with_name(&time.value).is_ok_and(|field| *field.data_type() == DataType::Date32)
        && table.increment.interval.is_some_and(|interval| !interval.is_made_of(Grain::Us(DAY_US)))
    {
        let message = format!("`{}` is a date, so intervals of `{}` are whole days", time.value, node.name);
        return Err(Report::error("invalid-value", message).at(node.place()).hint("set `interval = \"1 day\"`"));
    }
    if table.increment.lookback_us.is_some() && origins.iter().any(|origin| origin.all_before) {
        let message = format!("`lookback` of table `{}` would leave out rows that its SELECT counts", node.name);
        return Err(Report::error("invalid-value", message)
            .at(node.place())
            .note("a running total, `rank`, `row_number` and their like depend on all rows before, however old")
            .hint("leave `lookback` out, or bound the window: `range between interval '30 days' preceding and current row`"));
    }
    let proven = origins.iter().map(|origin| origin.before_us).filter(|us| *us != i64::MAX).max().unwrap_or(0);
    if let Some(lookback_us) = table.increment.lookback_us.filter(|lookback_us| *lookback_us < proven) {
        let message = format!("`lookback` of table `{}` is shorter than what its SELECT looks back", node.name);
        let said = |us: i64| format!("{} seconds", pelton_base::thousands((us / 1_000_000) as u64));
        return Err(Report::error("invalid-value", message)
            .at(node.place())
            .note(format!("the SQL looks back {}, `lookback` is {}", said(proven), said(lookback_us)))
            .hint("leave `lookback` out: the SQL tells"));
    }
    Ok(())
}

fn refused(node: &Node, table: &Table, why: &str) -> Report {
    let word = table.build.word();
    let message = format!("table `{}` cannot be built `{word}`: {why}", node.name);
    let report = Report::error("not-incremental", message).at(node.place());
    report.note("an incremental build has to give the rows that a full one gives").hint("set `build = \"full\"`")
}

fn has(
    node: &Node,
    schema: &SchemaRef,
    column: &Spanned<String>,
    fits: impl Fn(&DataType) -> bool,
    role: &str,
    mistakes: &mut Reports,
) {
    let place = node.place_at(column.span);
    match schema.field_with_name(&column.value) {
        Err(_) => {
            let message = format!("table `{}` has no column `{}`", node.name, column.value);
            let known = schema.fields().iter().map(|field: &std::sync::Arc<Field>| field.name().as_str());
            mistakes.push(Report::error("unknown-column", message).at(place).suggest(&column.value, known));
        }
        Ok(field) if !fits(field.data_type()) => {
            let found = types::name(field.data_type());
            let message = format!("`{}` of table `{}` is {found}, which cannot be {role}", column.value, node.name);
            mistakes.push(Report::error("type-mismatch", message).at(place));
        }
        Ok(_) => {}
    }
}

/// A mistake in the shape's SQL is one of `delete`: everything else in it was written by us over columns that are there.
fn delete_report(node: &Node, table: &Table, error: &QueryError) -> Report {
    if let QueryError::UnknownColumn { name, .. } = error
        && !name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && table.increment.delete.as_ref().is_none_or(|delete| !delete.value.contains(name.as_str()))
    {
        let message = format!("column `{name}` of table `{}` has no name of its own", node.name);
        let report = Report::error("invalid-name", message).at(node.place());
        return report
            .note(format!("a table built `{}` reads its columns by name", table.build.word()))
            .hint("name it with AS");
    }
    let place: Place =
        table.increment.delete.as_ref().map_or_else(|| node.place(), |delete| node.place_at(delete.span));
    error.report(&format!("`delete` of table `{}`", node.name)).at(place)
}

/// The build that would do less work for a table that is built anew each time, in a sentence; `catalog` has views as their SELECTs.
pub(crate) fn suggestion(
    engine: &dyn Engine,
    project: &Project,
    catalog: &Catalog,
    table: &Table,
    volatile: &[String],
) -> Option<String> {
    let is_repeatable = volatile.is_empty() || table.deterministic;
    if table.build != Build::Full || !is_repeatable || table.checks.iter().any(pelton_project::Check::removes_rows) {
        return None;
    }
    let locality = engine.locality(catalog, &table.select.sql).ok()?;
    // What else it reads is looked up in as a whole.
    let unless = |rest: Vec<&String>| match rest.is_empty() {
        true => String::new(),
        false => format!(", unless {} changed", listed(rest)),
    };
    if let Ok(additive) = &locality.additive
        && additive.iter().all(|name| only_grows(project, name))
    {
        return Some(format!(
            "each row of {} only adds to it: with `build = \"append\"`, only new rows are built{}",
            listed(additive),
            unless(locality.inputs.difference(additive).collect())
        ));
    }
    let time = locality.columns.iter().find(|column| {
        column
            .origins
            .iter()
            .any(|origin| origin.rounded != Grain::FINEST && origin.before_us == 0 && origin.after_us == 0)
    })?;
    let interval = match time.origins.iter().map(|origin| origin.rounded).max()? {
        Grain::Us(us) if us <= 3_600_000_000 => Grain::Us(3_600_000_000),
        Grain::Us(_) => Grain::Us(DAY_US),
        part_of_the_calendar => part_of_the_calendar,
    };
    Some(format!(
        "it aggregates by `{0}`: with `build = \"interval\"`, `time = \"{0}\"` and `interval = \"{interval}\"`, only intervals whose input changed are built{1}",
        time.name,
        unless(locality.inputs.iter().filter(|input| time.of(input).next().is_none()).collect())
    ))
}

/// Whether a node's new versions usually keep the files of the one before: new files of a source, new rows of an `append`.
fn only_grows(project: &Project, name: &str) -> bool {
    project.nodes.get(name).is_some_and(|node| match &node.body {
        Body::Source(_) => true,
        Body::Table(table) => table.build == Build::Append,
        Body::Model(_) => false,
    })
}

fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
}
