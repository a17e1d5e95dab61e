//! Rows of a source's quarantine enter it after all: read again as they were kept, or from text that somebody repaired.
//!
//! A repair belongs to the file that its row came from. Its rows lie beside those of the file, leave with them when the file
//! changes, and are made again when the file is read again under other settings. So rows in stay rows out plus rows in quarantine
//! plus rows dropped, file by file, and no later run undoes a repair. A row is told by its file, its line and the digest of its
//! text: what was taken in has left the quarantine, so replaying it again adds nothing.

use crate::catalog;
use crate::context::{Context, reports};
use crate::outcome::{RunOptions, StepAction};
use crate::run::Building;
use crate::{plan, source, stage};
use futures::StreamExt;
use pelton_base::fail::{self, Point};
use pelton_base::{Digest, NodeName, Report, Reports, VersionId, thousands};
use pelton_ingest::{Again, InputFile, Known, Origin};
use pelton_project::{Body, Node, Source};
use pelton_query::{BatchStream, Catalog, DataFile, QueryError, Relation};
use pelton_store::{Repair, SourceFile, TableDigest, VersionHead, VersionRecord};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

/// The most rows that are replayed at once: they are held in memory.
pub const REPLAY_ROWS_MAX: u64 = 100_000;

/// How many refused rows a report names.
const REFUSED_SHOWN_MAX: usize = 5;

/// Which rows are to be replayed.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The source.
    pub node: NodeName,
    /// Only rows that broke this rule.
    pub check: Option<String>,
    /// Repaired texts; without them, rows are read again as they were kept.
    pub repaired: Option<Vec<Repaired>>,
}

/// A row's repaired text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The row as an export of the quarantine names it; found by file and line when absent.
    pub id: Option<String>,
    /// The file that it came from.
    pub file: String,
    /// Its line there.
    pub line: u64,
    /// Its text now.
    pub text: String,
}

/// What came of a replay.
pub(crate) enum Replayed {
    /// No row entered; why.
    Nothing(String),
    /// A new version, and what entered it.
    Entered(Box<VersionRecord>, String),
}

/// What to run to replay the quarantine of a node: the node, and all that reads it.
///
/// The rows of a table come from what it reads: it is built again when its rules or its inputs changed, and refused by name when
/// they did not, because the same rows would break the same rules.
pub async fn replay(ctx: &Context, options: RunOptions, replay: Replay) -> Result<RunOptions, Reports> {
    let name = replay.node.clone();
    let node = ctx.project.known(name.as_str())?;
    let mut options = RunOptions { select: vec![format!("{name}+")], ..options };
    match &node.body {
        Body::Source(_) => options.replay = Some(replay),
        Body::Model(_) => {
            let message = format!("`{name}` is a model, and a model has no rows in quarantine");
            return Err(Report::error("wrong-kind", message).into());
        }
        Body::Table(_) => {
            let reads = node.reads.iter().map(|(read, _)| format!("`{read}`")).collect::<Vec<_>>().join(", ");
            if replay.repaired.is_some() {
                let message = format!("rows of the table `{name}` cannot be repaired: they are computed from {reads}");
                let hint = "repair them where they come from, or correct the SELECT or the rule";
                return Err(Report::error("not-replayed", message).at(node.place()).hint(hint).into());
            }
            let alone = RunOptions { select: vec![name.to_string()], ..options.clone() };
            let planned = plan::plan(ctx, &alone).await?;
            let step = planned.steps.iter().find(|step| step.node == name);
            if step.is_some_and(|step| matches!(step.action, StepAction::Skip | StepAction::Check)) {
                let message = format!(
                    "nothing of the table `{name}` can be replayed: neither its rules nor what it reads changed"
                );
                let report = Report::error("not-replayed", message).at(node.place());
                return Err(report
                    .note("the same rows would break the same rules")
                    .hint(format!("pelton quarantine {name}"))
                    .into());
            }
        }
    }
    Ok(options)
}

/// Takes rows of a source's quarantine into a new version.
pub(crate) async fn build(
    building: &Building<'_>,
    node: &Node,
    head: &VersionHead,
    replay: &Replay,
) -> Result<Replayed, Reports> {
    let ctx = building.ctx;
    let Body::Source(source) = &node.body else {
        return Err(Report::error("wrong-kind", format!("`{}` is no source", node.name)).into());
    };
    if !source::has_settings(ctx, head, source)? {
        if replay.repaired.is_some() {
            let message = format!("the settings of `{}` changed since its files were read", node.name);
            let report = Report::error("not-replayed", message).note("the rows in quarantine may be others under them");
            return Err(report.hint(format!("pelton run {}", node.name)).into());
        }
        let version = source::build(building, node, source, Some(head)).await?;
        return Ok(Replayed::Entered(
            Box::new(version),
            "its settings changed, so all its files were read again".into(),
        ));
    }
    let mut files = ctx.warehouse.state().source_files(&head.id).map_err(reports)?;
    let version = catalog::load(ctx, &head.id)?;
    let schema = version.schema();
    let id = VersionId::of(&node.name, source::settings_digest(source), building.run);
    let wanted = Wanted::of(replay, &files);
    let held: u64 = files.iter().map(|file| file.quarantined).sum();
    if held > REPLAY_ROWS_MAX {
        let message = format!("`{}` has {} rows in quarantine", node.name, thousands(held));
        let note = format!("at most {} are replayed at once", thousands(REPLAY_ROWS_MAX));
        return Err(Report::error("not-replayed", message).note(note).into());
    }
    let entry = Entry { building, node, source, id: &id, schema: &schema, part: "-r", only: None };
    let done = entry.apply(&mut files, |file, row| wanted.text(file, row)).await?;
    wanted.say(building, node, &done);
    if done.entered == 0 {
        return Ok(Replayed::Nothing(match done.asked {
            0 => "no row of its quarantine is to be replayed".to_string(),
            _ => format!("no row of its quarantine can be taken in, {} stay there", thousands(done.asked as u64)),
        }));
    }
    let untyped = source::untyped_of(&version);
    fail::after(Point::ReplayRows);
    let version = source::commit(building, node, source, id.clone(), (schema.clone(), untyped), &files).await?;
    let rows = if done.entered == 1 { "row" } else { "rows" };
    let stay = version.quarantined;
    let why =
        format!("{} {rows} of its quarantine replayed, {} left there", thousands(done.entered as u64), thousands(stay));
    Ok(Replayed::Entered(Box::new(version), why))
}

/// Makes repairs again in files that were read again, as far as their rows are in quarantine again.
pub(crate) async fn reapply(
    building: &Building<'_>,
    node: &Node,
    source: &Source,
    id: &VersionId,
    before: Vec<SourceFile>,
    (files, schema): (&mut [SourceFile], &SchemaRef),
) -> Result<(), Reports> {
    let mut repaired: BTreeMap<String, Vec<Repair>> = BTreeMap::new();
    for file in before.into_iter().filter(|file| !file.repairs.is_empty()) {
        let is_read_again = |now: &&mut SourceFile| now.path == file.path && now.digest == file.digest;
        if files.iter_mut().find(is_read_again).is_some_and(|now| now.repairs.is_empty()) {
            repaired.insert(file.path, file.repairs);
        }
    }
    if repaired.is_empty() {
        return Ok(());
    }
    // However many rows are in quarantine, no more are held than were repaired, and so many the state database holds already.
    let lines = |repairs: &Vec<Repair>| repairs.iter().map(|repair| repair.line).collect::<HashSet<u64>>();
    let only = Some(repaired.iter().map(|(path, repairs)| (path.clone(), lines(repairs))).collect());
    let entry = Entry { building, node, source, id, schema, part: "-a", only };
    let places = repaired.iter().flat_map(|(path, repairs)| repairs.iter().map(move |repair| (path.as_str(), repair)));
    let by_line: HashMap<(&str, u64), &Repair> = places.map(|(path, repair)| ((path, repair.line), repair)).collect();
    let text = |file: &SourceFile, row: &Row| {
        let known = by_line.get(&(file.path.as_str(), row.line))?;
        (known.raw == row.digest()).then(|| known.text.clone())
    };
    entry.apply(files, text).await?;
    for file in files {
        if let Some(repairs) = repaired.remove(&file.path) {
            file.repairs = repairs;
        }
    }
    Ok(())
}

/// How many rows of its quarantine a version has taken in.
pub(crate) fn repairs_of(ctx: &Context, version: &VersionId) -> Result<usize, Reports> {
    let files = ctx.warehouse.state().source_files(version).map_err(reports)?;
    Ok(files.iter().map(|file| file.repairs.len()).sum())
}

/// A row in quarantine.
struct Row {
    rule: String,
    line: u64,
    raw: String,
}

impl Row {
    fn digest(&self) -> Digest {
        Digest::of(self.raw.as_bytes())
    }
}

/// What tells a row of a source in quarantine from all others, for people and their files.
fn row_id(file: &str, line: u64, raw: Digest) -> String {
    Digest::of_parts([file, &line.to_string(), &raw.to_string()]).to_string()
}

/// Which rows are wanted, with which text.
struct Wanted<'a> {
    replay: &'a Replay,
    /// Where in `repaired` a row is.
    by_id: BTreeMap<String, usize>,
    by_line: BTreeMap<(&'a str, u64), usize>,
    /// How many of the repaired texts were taken in before.
    before: usize,
    /// How many belong to no row.
    unknown: usize,
}

impl<'a> Wanted<'a> {
    fn of(replay: &'a Replay, files: &[SourceFile]) -> Self {
        let mut wanted = Wanted { replay, by_id: BTreeMap::new(), by_line: BTreeMap::new(), before: 0, unknown: 0 };
        for (at, row) in replay.repaired.iter().flatten().enumerate() {
            let known = files.iter().find(|file| file.path == row.file);
            let is_same = |repair: &Repair| match &row.id {
                Some(id) => *id == row_id(&row.file, repair.line, repair.raw),
                None => repair.line == row.line,
            };
            match known {
                Some(file) if file.repairs.iter().any(is_same) => wanted.before += 1,
                Some(_) => {
                    match &row.id {
                        Some(id) => wanted.by_id.insert(id.clone(), at),
                        None => wanted.by_line.insert((row.file.as_str(), row.line), at),
                    };
                }
                None => wanted.unknown += 1,
            }
        }
        wanted
    }

    fn text(&self, file: &SourceFile, row: &Row) -> Option<String> {
        if self.replay.check.as_ref().is_some_and(|check| *check != row.rule) {
            return None;
        }
        let Some(repaired) = &self.replay.repaired else { return Some(row.raw.clone()) };
        let by_id = self.by_id.get(&row_id(&file.path, row.line, row.digest()));
        let at = by_id.or_else(|| self.by_line.get(&(file.path.as_str(), row.line)))?;
        Some(repaired[*at].text.clone())
    }

    /// Tells what of a repaired file did not enter.
    fn say(&self, building: &Building<'_>, node: &Node, done: &Done) {
        if self.replay.repaired.is_none() {
            return;
        }
        let missing = (self.by_id.len() + self.by_line.len()).saturating_sub(done.asked) + self.unknown;
        if done.refused.is_empty() && missing == 0 {
            return;
        }
        let count = done.refused.len() + missing;
        let rows = if count == 1 { "row was" } else { "rows were" };
        let message = format!("{} repaired {rows} not taken into `{}`", thousands(count as u64), node.name);
        let mut report = Report::warning("not-replayed", message);
        for (file, line, reason) in done.refused.iter().take(REFUSED_SHOWN_MAX) {
            report = report.note(format!("{file}:{line}: {reason}"));
        }
        if done.refused.len() > REFUSED_SHOWN_MAX {
            report = report.note(format!("and {} more", thousands((done.refused.len() - REFUSED_SHOWN_MAX) as u64)));
        }
        if missing > 0 {
            report = report.note(format!(
                "{} are not in quarantine: their file changed, or they were never there",
                thousands(missing as u64)
            ));
        }
        building.warn(report.hint(format!("pelton quarantine {}", node.name)));
    }
}

/// What came of rows that were asked for.
#[derive(Default)]
struct Done {
    asked: usize,
    entered: usize,
    /// File, line and reason.
    refused: Vec<(String, u64, String)>,
}

/// How rows enter: into which version of which source.
struct Entry<'a> {
    building: &'a Building<'a>,
    node: &'a Node,
    source: &'a Source,
    id: &'a VersionId,
    schema: &'a SchemaRef,
    /// How the new files' names go on.
    part: &'static str,
    /// The lines of each file at which rows may enter; without it, all.
    only: Option<BTreeMap<String, HashSet<u64>>>,
}

/// A row that is asked for: its file and its place among the file's rows in quarantine.
struct Asked {
    file: usize,
    row: usize,
    text: String,
}

impl Entry<'_> {
    /// Reads the rows for which `text` gives one, and moves those that fit from the quarantine of their file to its data.
    async fn apply(
        &self,
        files: &mut [SourceFile],
        text: impl Fn(&SourceFile, &Row) -> Option<String>,
    ) -> Result<Done, Reports> {
        let ctx = self.building.ctx;
        self.building.progress(&self.node.name, "replaying its quarantine");
        let (mut batches, mut asked, mut done) = (BTreeMap::new(), Vec::new(), Done::default());
        for (at, file) in files.iter().enumerate().filter(|(_, file)| file.quarantined > 0) {
            let lines = match &self.only {
                Some(only) => match only.get(&file.path) {
                    Some(lines) => Some(lines),
                    None => continue,
                },
                None => None,
            };
            let batch = quarantined(ctx, file, lines).await?;
            let rows = rows_of(&batch)?;
            for (row, known) in rows.iter().enumerate() {
                let Some(text) = text(file, known) else { continue };
                done.asked += 1;
                if text == known.raw && !pelton_ingest::is_whole(&known.raw) {
                    let reason = "its text was not kept as a whole".to_string();
                    done.refused.push((file.path.clone(), known.line, reason));
                } else {
                    asked.push(Asked { file: at, row, text });
                }
            }
            batches.insert(at, (batch, rows));
        }
        let answers = self.read(files, &asked).await?;
        let mut fitting: BTreeMap<usize, Vec<(usize, RecordBatch, String)>> = BTreeMap::new();
        for (asked, answer) in asked.into_iter().zip(answers) {
            match answer {
                Again::Fits(row) => fitting.entry(asked.file).or_default().push((asked.row, row, asked.text)),
                Again::Refused(reason) => {
                    let line = batches[&asked.file].1[asked.row].line;
                    done.refused.push((files[asked.file].path.clone(), line, reason));
                }
            }
        }
        for (at, entering) in fitting {
            done.entered += entering.len();
            let (batch, rows) = &batches[&at];
            self.enter(at, &mut files[at], batch, rows, entering).await?;
        }
        Ok(done)
    }

    /// Reads the texts; what cannot be read for want of its file is refused.
    async fn read(&self, files: &[SourceFile], asked: &[Asked]) -> Result<Vec<Again>, Reports> {
        let ctx = self.building.ctx;
        let origins = self.origins(files, asked)?;
        let mut answers: Vec<Option<Again>> = vec![None; asked.len()];
        let mut texts: Vec<(Origin, String)> = Vec::new();
        let mut places = Vec::new();
        for (at, row) in asked.iter().enumerate() {
            match &origins[&row.file] {
                Ok(origin) => {
                    texts.push((origin.clone(), row.text.clone()));
                    places.push(at);
                }
                Err(reason) => answers[at] = Some(Again::Refused(reason.to_string())),
            }
        }
        let columns = pelton_store::ColumnType::of(self.schema);
        let known = Known {
            columns: self.schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect(),
            keys: source::kept_keys(ctx, self.node, self.source, files, &columns).await?,
        };
        let (node, source, threads) = (self.node.clone(), self.source.clone(), ctx.threads);
        let reading = tokio::task::spawn_blocking(move || {
            let texts: Vec<(&Origin, &str)> = texts.iter().map(|(origin, text)| (origin, text.as_str())).collect();
            pelton_ingest::read_again(&source, &node, &texts, known, threads)
        });
        let read = reading.await.map_err(|_| Report::error("internal", "the reader of rows panicked"))?;
        for (at, answer) in places.into_iter().zip(read.map_err(pelton_ingest::IngestError::into_reports)?) {
            answers[at] = Some(answer);
        }
        Ok(answers.into_iter().map(|answer| answer.expect("every row was refused or read")).collect())
    }

    /// How the rows of each file are written, or why that is not known.
    fn origins(
        &self,
        files: &[SourceFile],
        asked: &[Asked],
    ) -> Result<BTreeMap<usize, Result<Origin, &'static str>>, Reports> {
        // Where every file is gone, the list is the report of an empty glob.
        let present = pelton_ingest::list(self.source, self.node, &self.building.ctx.project.root).unwrap_or_default();
        let present: BTreeMap<&str, &InputFile> = present.iter().map(|file| (file.path.as_str(), file)).collect();
        let mut origins = BTreeMap::new();
        for row in asked {
            let file = &files[row.file];
            if origins.contains_key(&row.file) {
                continue;
            }
            let ingest = pelton_ingest::IngestError::into_reports;
            let origin = match present.get(file.path.as_str()) {
                None => Origin::gone(self.source, &file.path).ok_or("its file is gone, and with it the header"),
                Some(input) => match pelton_ingest::digest_file(input).map_err(ingest)? == file.digest {
                    true => Ok(Origin::of(self.source, self.node, input).map_err(ingest)?),
                    false => Err("its file changed, and the next run reads all of it"),
                },
            };
            origins.insert(row.file, origin);
        }
        Ok(origins)
    }

    /// Moves rows of a file from its quarantine to its data; `quarantined` are those that were looked at.
    async fn enter(
        &self,
        at: usize,
        file: &mut SourceFile,
        quarantined: &RecordBatch,
        rows: &[Row],
        entering: Vec<(usize, RecordBatch, String)>,
    ) -> Result<(), Reports> {
        let Building { ctx, run, .. } = self.building;
        let part = format!("{}{at}", self.part);
        let mut writer =
            stage::writer(ctx, run, &self.node.name, self.id, &part, self.schema.clone()).map_err(reports)?;
        for (_, row, _) in &entering {
            writer.write(row).map_err(reports)?;
        }
        let staged = writer.finish().map_err(reports)?;
        let entered: HashSet<usize> = entering.iter().map(|(row, _, _)| *row).collect();
        let stay: BooleanArray = (0..rows.len()).map(|row| Some(!entered.contains(&row))).collect();
        let staying = filter_record_batch(quarantined, &stay).map_err(defect)?;
        let left = file.quarantined - entering.len() as u64;
        let before = std::mem::take(&mut file.quarantine);
        if left > 0 {
            let mut writer = stage::quarantine_writer(ctx, run, self.id, &part).map_err(reports)?;
            writer.write(&staying).map_err(reports)?;
            if let Some(lines) = self.only.as_ref().and_then(|only| only.get(&file.path)) {
                let failed = |error: QueryError| error.report("quarantine");
                let mut others = held(ctx, &before, "select * from held").await?;
                while let Some(batch) = others.batches.next().await {
                    writer
                        .write(&at_lines(&batch.map_err(failed)?, |line| !lines.contains(&line))?)
                        .map_err(reports)?;
                }
            }
            file.quarantine = writer.finish().map_err(reports)?.files;
        }
        // A table's digest is the sum of its rows' hashes and one hash of its columns.
        let columns = TableDigest::new(self.schema).map_err(reports)?.finish();
        file.rows_digest = Digest(file.rows_digest.0.wrapping_add(staged.digest.0).wrapping_sub(columns.0));
        file.rows += staged.rows;
        file.quarantined = left;
        file.data.extend(staged.files);
        file.repairs.extend(entering.into_iter().map(|(row, _, text)| Repair {
            line: rows[row].line,
            raw: rows[row].digest(),
            text,
        }));
        Ok(())
    }
}

fn defect(error: arrow::error::ArrowError) -> Report {
    Report::error("internal", format!("rows in quarantine do not fit together: {error}"))
}

/// The rows of a file in quarantine, in the order of their lines; only those at `lines`, when given.
async fn quarantined(ctx: &Context, file: &SourceFile, lines: Option<&HashSet<u64>>) -> Result<RecordBatch, Reports> {
    let mut stream = held(ctx, &file.quarantine, "select * from held order by line, raw").await?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.batches.next().await {
        let batch = batch.map_err(|error| error.report("quarantine"))?;
        batches.push(match lines {
            Some(lines) => at_lines(&batch, |line| lines.contains(&line))?,
            None => pelton_store::to_stored(&batch).map_err(reports)?,
        });
    }
    Ok(concat_batches(&pelton_store::quarantine_schema(), &batches).map_err(defect)?)
}

/// Runs a SELECT over files of rows in quarantine.
async fn held(ctx: &Context, files: &[DataFile], text: &str) -> Result<BatchStream, Report> {
    let catalog = Catalog::default().with("held", relation(ctx, files));
    ctx.engine.query(&catalog, text).await.map_err(|error| error.report("quarantine"))
}

/// The rows of a file in quarantine whose lines are wanted, as they are stored.
fn at_lines(batch: &RecordBatch, wanted: impl Fn(u64) -> bool) -> Result<RecordBatch, Reports> {
    let batch = pelton_store::to_stored(batch).map_err(reports)?;
    let rows = rows_of(&batch)?;
    let mask: BooleanArray = rows.iter().map(|row| Some(wanted(row.line))).collect();
    Ok(filter_record_batch(&batch, &mask).map_err(defect)?)
}

fn relation(ctx: &Context, files: &[DataFile]) -> Relation {
    Relation::Files {
        schema: pelton_store::quarantine_schema(),
        folder: ctx.warehouse.folder_url("quarantine"),
        files: Arc::new(files.to_vec()),
    }
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Row>, Report> {
    let missing = |name: &str| Report::error("damaged-table", format!("rows in quarantine have no column `{name}`"));
    let text =
        |name: &str| batch.column_by_name(name).and_then(|c| c.as_string_opt::<i32>()).ok_or_else(|| missing(name));
    let lines = batch.column_by_name("line").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let (rules, raws, lines) = (text("rule")?, text("raw")?, lines.ok_or_else(|| missing("line"))?);
    let line = |row: usize| if lines.is_valid(row) { lines.value(row).max(0) as u64 } else { 0 };
    Ok((0..batch.num_rows())
        .map(|row| Row { rule: rules.value(row).into(), line: line(row), raw: raws.value(row).into() })
        .collect())
}

/// Rows of `pelton.quarantine` with the id by which a repaired file names them: `id` is null for rows of tables.
pub(crate) fn with_ids(stream: BatchStream) -> BatchStream {
    let mut fields = vec![Arc::new(Field::new("id", DataType::Utf8, true))];
    fields.extend(stream.schema.fields().iter().cloned());
    let schema = Arc::new(Schema::new(fields));
    let with = schema.clone();
    let batches = stream.batches.map(move |batch| add_ids(&batch?, &with));
    BatchStream { schema, batches: batches.boxed() }
}

fn add_ids(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, QueryError> {
    let internal = |message: String| QueryError::Internal { message };
    let text = |name: &str| -> Result<StringArray, QueryError> {
        let column = batch.column_by_name(name).ok_or_else(|| internal(format!("no column `{name}`")))?;
        let column = arrow::compute::cast(column, &DataType::Utf8).map_err(|error| internal(error.to_string()))?;
        Ok(column.as_string::<i32>().clone())
    };
    let (files, lines, raws) = (text("file")?, text("line")?, text("raw")?);
    let ids: StringArray = (0..batch.num_rows())
        .map(|row| {
            let has_origin = files.is_valid(row) && lines.is_valid(row);
            let line = has_origin.then(|| lines.value(row).parse().ok()).flatten()?;
            Some(row_id(files.value(row), line, Digest::of(raws.value(row).as_bytes())))
        })
        .collect();
    let columns: Vec<ArrayRef> =
        [Arc::new(ids) as ArrayRef].into_iter().chain(batch.columns().iter().cloned()).collect();
    RecordBatch::try_new(schema.clone(), columns).map_err(|error| internal(error.to_string()))
}
