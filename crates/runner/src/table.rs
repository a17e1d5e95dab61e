//! A table becomes a version: its SELECT over pinned inputs, staged, checked, and recorded; a view is only checked.

use crate::run::Building;
use crate::{catalog, increment, stage};
use futures::StreamExt;
use pelton_base::{Digest, Report, Reports, VersionId};
use pelton_project::{Build, Check, Node, Table};
use pelton_quality::Removed;
use pelton_query::{Catalog, DataFile, QueryError, Relation};
use pelton_store::{ColumnType, Staged, TableDigest, VersionHead, VersionRecord};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

/// Builds a new version of a table from the versions in `heads`; `cover` has ranges of time that an interval build is to have beside
/// those that its settings say, each built by a query of its own.
pub(crate) async fn build(
    building: &Building<'_>,
    node: &Node,
    table: &Table,
    fingerprint: Digest,
    previous: Option<&VersionHead>,
    cover: &[(i64, i64)],
) -> Result<VersionRecord, Reports> {
    let ctx = building.ctx;
    let inputs = building.inputs(node);
    let reads = node.reads.iter().map(|(name, _)| name.clone());
    let catalog = catalog::bind(ctx, building.versions(), reads)?;
    let id = match cover {
        [] => VersionId::of(&node.name, fingerprint, building.run),
        [(from, _), ..] => VersionId::of_part(&node.name, fingerprint, building.run, &from.to_string()),
    };
    if catalog::is_view(node) {
        return view(building, node, table, fingerprint, id, catalog, inputs).await;
    }
    let mut rows = increment::stage_rows(building, node, table, previous, &catalog, (&id, cover)).await?;
    let schema = rows.schema.clone();
    let relation = stage::relation(ctx, &node.name, schema.clone(), &rows.files);
    // Only what `append` takes over has been asked by checks that remove rows.
    let has_asked = table.build == Build::Append && table.checks.iter().any(Check::removes_rows);
    let before = rows.built_on().filter(|_| has_asked).map(|before| catalog::load(ctx, before)).transpose()?;
    let removed = match &before {
        Some(before) => building.removed_from(before).await?,
        None => Removed::default(),
    };
    let checked = building.check_grown(node, &schema, &table.checks, (&relation, removed), &catalog, &id).await;
    let checked = match checked {
        Ok(checked) => checked,
        Err(reports) => {
            stage::discard(ctx, &node.name, &rows.staged);
            return Err(reports);
        }
    };
    let (mut quarantine, mut quarantined) =
        before.map_or((Vec::new(), 0), |before| (before.quarantine, before.quarantined));
    if let Some(checked) = checked.filter(|checked| checked.removed > 0) {
        building.progress(&node.name, "moving rows to quarantine");
        // What is taken over breaks none of these rules.
        let asked = rows.new_files();
        let relation = stage::relation(ctx, &node.name, schema.clone(), &asked);
        let kept = without_removed(building, node, &id, (&relation, quarantine), &catalog, &checked).await?;
        stage::discard(ctx, &node.name, &asked);
        rows.files.retain(|file| !asked.iter().any(|asked| asked.path == file.path));
        rows.files.extend(kept.staged.files);
        quarantine = kept.quarantine;
        quarantined += checked.removed;
        let came = asked.iter().map(|file| file.rows).sum::<u64>();
        if let (Build::Append, Some(how)) = (table.build, &mut rows.how) {
            *how = how.replacen(&increment::added(came), &increment::added(came.saturating_sub(checked.removed)), 1);
        }
    }
    let files = rows.files;
    let sum = files.iter().filter_map(|file| file.rows_digest).fold(Digest::default(), Digest::plus);
    let mut detail = serde_json::json!({ "sql": table.select.sql, "text": node.text });
    if let Some(memory) = &rows.memory {
        detail["increment"] = serde_json::json!(memory);
    }
    if let Some(how) = &rows.how {
        detail["how"] = how.as_str().into();
    }
    let mut version = VersionRecord {
        id,
        node: node.name.clone(),
        kind: "table".into(),
        run: building.run.clone(),
        fingerprint,
        digest: TableDigest::of_sum(&schema, sum).map_err(crate::context::reports)?,
        built_at_us: ctx.now_us(),
        columns: ColumnType::of(&schema),
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        delta_version: None,
        files: Arc::new(files),
        inputs,
        quarantine,
        quarantined,
        dropped: 0,
        detail,
    };
    // The same rows as before: the version before keeps its files, and the new ones are not needed.
    if let Some(previous) = previous
        && previous.digest == version.digest
    {
        let before = catalog::load(ctx, &previous.id)?;
        let is_new = |file: &&DataFile| !before.files.iter().any(|other| other.path == file.path);
        stage::discard(ctx, &node.name, &version.files.iter().filter(is_new).cloned().collect::<Vec<_>>());
        version.files = before.files;
        version.bytes = before.bytes;
    }
    ctx.warehouse.state().insert_version(&version).map_err(crate::context::reports)?;
    Ok(version)
}

/// The report of a mistake in a node's SELECT, with the word at its place underlined.
pub(crate) fn select_report(node: &Node, error: &QueryError) -> Report {
    let of_predict = node.select().and_then(|select| crate::column_names::of_predict(&select.sql, error));
    let error = of_predict.as_ref().unwrap_or(error);
    let report = error.report(&format!("{} `{}`", node.kind(), node.name));
    let found = node.select().and_then(|select| error.place_in(&select.sql));
    let Some((line, column)) = found else { return report.at(node.place()) };
    let mut place = node.place_in_select(line, column, 1);
    let rest = || place.text.iter().flat_map(|text| text.chars().skip(place.column.saturating_sub(1)));
    place.length = match rest().next() {
        Some('\'') => rest().skip(1).take_while(|c| *c != '\'').count() + 2,
        _ => rest().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.')).count().max(1),
    };
    report.at(place)
}

struct Kept {
    staged: Staged,
    quarantine: Vec<DataFile>,
}

/// As many small files of quarantined rows are written together.
const QUARANTINE_FILES_MAX: usize = 32;

/// Stages the rows that stay, and adds the others to `quarantine`, which is what is there of rows that are not staged.
async fn without_removed(
    building: &Building<'_>,
    node: &Node,
    id: &VersionId,
    (staged, quarantine): (&Relation, Vec<DataFile>),
    catalog: &Catalog,
    checked: &crate::checks::CheckedRows,
) -> Result<Kept, Reports> {
    let ctx = building.ctx;
    let subject = format!("table `{}`", node.name);
    let catalog = stage::with_staged(catalog, &node.name, staged);
    let report = |error: QueryError| Reports::from(error.report(&subject));
    let removed = ctx.engine.query(&catalog, &checked.plan.removed_select()).await.map_err(report)?;
    let mut writer = stage::quarantine_writer(ctx, building.run, id, "").map_err(crate::context::reports)?;
    let mut removed = removed.batches;
    while let Some(batch) = removed.next().await {
        let batch = batch.map_err(report)?;
        let rows = pelton_quality::quarantine_rows(&checked.plan, &batch, building.run, ctx.now_us())?;
        writer.write(&rows).map_err(crate::context::reports)?;
    }
    let is_small = |file: &DataFile| file.bytes < increment::SMALL_BYTES_MAX;
    let (small, mut quarantine): (Vec<_>, Vec<_>) = quarantine.into_iter().partition(is_small);
    if small.len() < QUARANTINE_FILES_MAX {
        quarantine.extend(small);
    } else {
        const SMALL: &str = "pelton_small";
        let catalog = Catalog::default().with(SMALL, catalog::quarantine(ctx, small));
        let rows = ctx.engine.query(&catalog, &format!("select * from {SMALL}")).await.map_err(report)?;
        let mut rows = rows.batches;
        while let Some(batch) = rows.next().await {
            let batch = pelton_store::to_stored(&batch.map_err(report)?).map_err(crate::context::reports)?;
            writer.write(&batch).map_err(crate::context::reports)?;
        }
    }
    quarantine.extend(writer.finish().map_err(crate::context::reports)?.files);
    let kept = ctx.engine.query(&catalog, &checked.plan.kept_select()).await.map_err(report)?;
    let (_, staged) = stage::stage(ctx, building.run, &node.name, id, "-kept", kept).await?;
    Ok(Kept { staged, quarantine })
}

async fn view(
    building: &Building<'_>,
    node: &Node,
    table: &Table,
    fingerprint: Digest,
    id: VersionId,
    catalog: Catalog,
    inputs: Vec<(pelton_base::NodeName, VersionId)>,
) -> Result<VersionRecord, Reports> {
    let ctx = building.ctx;
    let typed = ctx.engine.analyze(&catalog, &table.select.sql).map_err(|error| select_report(node, &error))?;
    let schema: SchemaRef = pelton_store::stored_schema(&typed.schema).map_err(crate::context::reports)?;
    let relation = Relation::View(table.select.sql.clone());
    building.check_staged(node, &schema, &table.checks, &relation, &catalog, &id).await?;
    // A view's rows are not read, so its digest stands for them: what it selects, from which inputs.
    let columns = TableDigest::new(&schema).map_err(crate::context::reports)?.finish();
    let version = VersionRecord {
        id,
        node: node.name.clone(),
        kind: "table".into(),
        run: building.run.clone(),
        fingerprint,
        digest: fingerprint.plus(columns),
        built_at_us: ctx.now_us(),
        columns: ColumnType::of(&schema),
        rows: 0,
        bytes: 0,
        delta_version: None,
        files: Arc::default(),
        inputs,
        quarantine: Vec::new(),
        quarantined: 0,
        dropped: 0,
        detail: serde_json::json!({ "sql": table.select.sql, "text": node.text, "view": table.select.sql }),
    };
    ctx.warehouse.state().insert_version(&version).map_err(crate::context::reports)?;
    Ok(version)
}
