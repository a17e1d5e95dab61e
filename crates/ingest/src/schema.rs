//! From settings, the version before and a look at the new files to the columns that are taken in.
//!
//! A look reads headers, and values only of columns whose type nobody knows. See [`resolve_schema`].

use crate::block::broken;
use crate::error::{IngestError, unreadable};
use crate::infer::{settle, widen};
use crate::keys::KeySet;
use crate::list::{InputFile, place_of};
use crate::{csv, ndjson, parquet, read};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pelton_base::{Place, Report, Reports};
use pelton_project::model::{ContractRule, FileFormat, Node, Source};
use pelton_query::types;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The most columns of a source: NDJSON whose keys are data would make a column of each.
const COLUMNS_MAX: usize = 5_000;

/// How many mistakes of one kind are reported.
const REPORTS_MAX: usize = 20;

/// What is known of a source before new files are taken in; empty at first.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The columns of the version before, in order. `DataType::Null` stands for a column without any value so far
    /// ([`crate::Intake::untyped`]): it takes whatever type comes.
    pub columns: Vec<(String, DataType)>,
    /// The keys of rows that are kept from before.
    pub keys: KeySet,
}

/// How far a look goes.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// How many files are looked at at the same time.
    pub threads: usize,
    /// How many rows of each file are looked at; all when absent.
    pub sample_rows: Option<u64>,
}

impl Default for Look {
    fn default() -> Self {
        Look { threads: 1, sample_rows: None }
    }
}

/// What becomes of a row or a value, from mild to grave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// The value is missing from now on.
    DropValue,
    /// The row is dropped and counted.
    DropRow,
    /// The row goes to quarantine.
    Quarantine,
    /// Nothing is taken in.
    Stop,
}

impl Verdict {
    /// What a rule means for something that does not fit and cannot be taken in by evolving.
    fn of(rule: ContractRule) -> Self {
        match rule {
            ContractRule::DiscardValue => Verdict::DropValue,
            ContractRule::DiscardRow => Verdict::DropRow,
            ContractRule::Evolve | ContractRule::Quarantine => Verdict::Quarantine,
            ContractRule::Freeze => Verdict::Stop,
        }
    }
}

/// Everything that a parser needs to know.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The source's name.
    pub(crate) source: String,
    /// The columns as Arrow has them.
    pub(crate) schema: SchemaRef,
    /// The columns.
    pub(crate) columns: Vec<PlanColumn>,
    /// Their positions by name.
    pub(crate) index: HashMap<String, usize>,
    /// The key's columns.
    pub(crate) key: Vec<String>,
    /// What becomes of a value that does not read as its column's type.
    pub(crate) on_misfit: Verdict,
    /// What becomes of a row with a value in a column that is none.
    pub(crate) on_unknown: Verdict,
    /// What becomes of a row that cannot be read.
    pub(crate) on_unreadable: Verdict,
    /// Whether a file must have every column that was known before.
    pub(crate) columns_frozen: bool,
    /// The settings of text files.
    pub(crate) text: TextSettings,
    /// Declared names, for CSV files without a header.
    pub(crate) declared: Vec<String>,
    pub(crate) widened: Vec<(String, DataType, DataType)>,
    pub(crate) new_columns: Vec<String>,
    pub(crate) untyped: Vec<String>,
}

/// A column that is taken in.
#[derive(Debug)]
pub(crate) struct PlanColumn {
    /// Its name.
    pub(crate) name: String,
    /// Its type.
    pub(crate) data_type: DataType,
    /// Whether it was known before the new files: declared, of the version before, or of the very first file.
    pub(crate) known: bool,
}

/// The settings of text files, resolved.
#[derive(Debug, Clone)]
pub(crate) struct TextSettings {
    pub(crate) delimiter: Option<u8>,
    pub(crate) quote: u8,
    pub(crate) header: bool,
    pub(crate) null: Vec<String>,
    pub(crate) encoding: &'static encoding_rs::Encoding,
}

/// What a look should find out about a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Want {
    /// Only whether it is there.
    Name,
    /// The type of all its values.
    Type,
    /// The type of the values that do not read as this type.
    Beyond(DataType),
}

/// A look's question: what is wanted of each column, by name.
pub(crate) struct Question {
    wants: HashMap<String, Want>,
    other: Want,
    pub(crate) declared: Vec<String>,
    pub(crate) text: TextSettings,
    pub(crate) sample_rows: Option<u64>,
    /// Whether names that no look at a header gives (keys of JSON objects) are wanted.
    pub(crate) all_names: bool,
}

impl Question {
    /// What is wanted of a column.
    pub(crate) fn want(&self, name: &str) -> &Want {
        self.wants.get(name).unwrap_or(&self.other)
    }

    /// Whether the type of any column is wanted that a header does not name.
    pub(crate) fn wants_types(&self) -> bool {
        self.wants.values().any(|want| *want != Want::Name)
    }
}

/// A look's answer: the columns of a file, with the types that were wanted (`Null`: none, or no values).
pub(crate) type Seen = Vec<(String, DataType)>;

/// The columns that a source has: those of the version before, then declared ones, then those that only the files name, in the
/// order of their appearance.
///
/// Declared types hold. Types of other columns are inferred from all rows of `files` (from [`Look::sample_rows`] of each file,
/// when given) and from the version before; they widen under `data_type = "evolve"` and stay as they are under every other rule.
/// Reads no values when there is nothing to infer; NDJSON under `columns = "evolve"` is read once for the names of its keys.
pub fn resolve_schema(
    source: &Source,
    node: &Node,
    files: &[InputFile],
    known: &Known,
    look: Look,
) -> Result<SchemaRef, IngestError> {
    resolve(source, node, files, &known.columns, look).map(|plan| plan.schema)
}

/// Columns that are less than they were, see [`narrowed`].
#[derive(Debug, Clone, PartialEq)]
pub struct Narrowed {
    /// All columns, as [`Known::columns`] takes them.
    pub columns: Vec<(String, DataType)>,
    /// Columns that left.
    pub gone: Vec<String>,
    /// Columns with a narrower type: name, old type, new type (`Null`: no values).
    pub narrower: Vec<(String, DataType, DataType)>,
}

/// The columns of a version as they would be had its files always been as they are now; `None` when nothing is less than it was.
///
/// `files` are all files that there are; where one of them changed, a column that only its old content had leaves, and a type that
/// only its old values needed is narrow again. What is declared stays, and so do the columns in `held`, which rows of other files have.
pub fn narrowed(
    source: &Source,
    node: &Node,
    files: &[InputFile],
    known: &[(String, DataType)],
    held: &[String],
    threads: usize,
) -> Result<Option<Narrowed>, IngestError> {
    let (text, declared) = settings(source, node)?;
    let stays = |name: &String| held.contains(name) || declared.iter().any(|(declared, _)| declared == name);
    if known.iter().all(|(name, _)| stays(name)) {
        return Ok(None);
    }
    let mut now: HashMap<String, DataType> = HashMap::new();
    for seen in look_at_all(source, node, files, &[], &declared, &text, Look { threads, sample_rows: None })? {
        for (name, data_type) in seen {
            let joined = now.get(&name).map_or(data_type.clone(), |other| widen(other, &data_type));
            now.insert(name, joined);
        }
    }
    let evolves = source.contract.columns == ContractRule::Evolve;
    // Long whole numbers are less than the double that the column was, although together the two are text.
    let is_less = |before: &DataType, now: &DataType| {
        settle(now) != *before && [now, &settle(now)].iter().any(|now| settle(&widen(before, now)) == *before)
    };
    let mut less = Narrowed { columns: Vec::new(), gone: Vec::new(), narrower: Vec::new() };
    for (name, before) in known {
        match now.get(name) {
            _ if stays(name) => less.columns.push((name.clone(), before.clone())),
            None if evolves => less.gone.push(name.clone()),
            Some(now) if is_less(before, now) => {
                // A column without any value stays open for whatever type comes.
                let now = if *now == DataType::Null { DataType::Null } else { settle(now) };
                less.narrower.push((name.clone(), before.clone(), now.clone()));
                less.columns.push((name.clone(), now));
            }
            _ => less.columns.push((name.clone(), before.clone())),
        }
    }
    Ok((!less.gone.is_empty() || !less.narrower.is_empty()).then_some(less))
}

/// As [`resolve_schema`], with everything that the parsers need.
pub(crate) fn resolve(
    source: &Source,
    node: &Node,
    files: &[InputFile],
    known: &[(String, DataType)],
    look: Look,
) -> Result<Plan, IngestError> {
    let (text, declared) = settings(source, node)?;
    let seen = look_at_all(source, node, files, known, &declared, &text, look)?;
    let mut draft = Draft::new(source, known, &declared);
    let mut reports = Reports::default();
    for (file, columns) in files.iter().zip(seen) {
        draft.fold(source, node, file, columns, &mut reports);
    }
    draft.finish(source, node, text, &declared, reports)
}

/// Checks what the settings say about types and texts.
fn settings(source: &Source, node: &Node) -> Result<(TextSettings, Vec<(String, DataType)>), Reports> {
    let mut reports = Reports::default();
    let encoding = read::encoding(&source.csv.encoding).unwrap_or_else(|| {
        reports.push(
            Report::error("invalid-value", format!("`{}` is not an encoding", source.csv.encoding))
                .note("labels of the WHATWG standard are known: `utf-8`, `utf-16le`, `windows-1252`, `iso-8859-15`, `shift_jis`, ...")
                .at(node.place()),
        );
        encoding_rs::UTF_8
    });
    for (name, byte) in [("delimiter", source.csv.delimiter), ("quote", Some(source.csv.quote))] {
        if byte.is_some_and(|byte| !byte.is_ascii() || byte == b'\n' || byte == b'\r') {
            reports.push(
                Report::error("invalid-value", format!("`{name}` of source `{}` is not an ASCII character", node.name))
                    .at(node.place()),
            );
        }
    }
    let mut declared: Vec<(String, DataType)> = Vec::new();
    for column in &source.columns {
        match types::parse(&column.data_type.value) {
            Ok(data_type) => declared.push((column.name.value.clone(), data_type)),
            Err(message) => reports.push(Report::error("invalid-value", message).at(place_of(node, &column.data_type))),
        }
    }
    if reports.has_errors() {
        return Err(reports);
    }
    let text = TextSettings {
        delimiter: source.csv.delimiter,
        quote: source.csv.quote,
        header: source.csv.header,
        null: source.csv.null.clone(),
        encoding,
    };
    Ok((text, declared))
}

/// The settings of text files.
pub(crate) fn text_settings(source: &Source, node: &Node) -> Result<TextSettings, IngestError> {
    Ok(settings(source, node)?.0)
}

/// Looks at all files, several at a time; the answers come in the order of the files.
fn look_at_all(
    source: &Source,
    node: &Node,
    files: &[InputFile],
    known: &[(String, DataType)],
    declared: &[(String, DataType)],
    text: &TextSettings,
    look: Look,
) -> Result<Vec<Seen>, IngestError> {
    let evolves = source.contract.columns == ContractRule::Evolve;
    let fresh = known.is_empty() && declared.is_empty();
    let mut wants: HashMap<String, Want> = HashMap::new();
    for (name, data_type) in known {
        let want = match data_type {
            DataType::Null => Want::Type,
            _ if source.contract.data_type != ContractRule::Evolve => Want::Name,
            // These are what inference finds, so that values and the version before are joined on equal terms.
            DataType::Boolean | DataType::Int64 | DataType::Float64 | DataType::Date32 => Want::Type,
            DataType::Timestamp(_, _) | DataType::List(_) | DataType::Struct(_) => Want::Type,
            // Text takes everything.
            DataType::Utf8 => Want::Name,
            other => Want::Beyond(other.clone()),
        };
        wants.insert(name.clone(), want);
    }
    wants.extend(declared.iter().map(|(name, _)| (name.clone(), Want::Name)));
    let question = Question {
        wants,
        other: if evolves || fresh { Want::Type } else { Want::Name },
        declared: declared.iter().map(|(name, _)| name.clone()).collect(),
        text: text.clone(),
        sample_rows: look.sample_rows,
        all_names: evolves || fresh,
    };
    let answers: Vec<Mutex<Option<Result<Seen, IngestError>>>> = files.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..look.threads.clamp(1, files.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(at) else { return };
                    let answer = match file.format {
                        FileFormat::Csv => csv::look(file, node, &question),
                        FileFormat::Ndjson => ndjson::look(file, &question),
                        FileFormat::Parquet => parquet::look(file, &question),
                    };
                    *answers[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
                }
            });
        }
    });
    let (mut seen, mut reports) = (Vec::with_capacity(files.len()), Reports::default());
    for answer in answers {
        match answer.into_inner().unwrap_or_else(PoisonError::into_inner).expect("every file was looked at") {
            Ok(columns) => seen.push(columns),
            Err(IngestError::Refused(more)) => {
                // The settings of the source as a whole are refused once, not once a file.
                for report in more.0 {
                    if !reports.0.contains(&report) {
                        reports.push(report);
                    }
                }
            }
            Err(error) => reports.extend(error.into_reports()),
        }
    }
    match reports.has_errors() {
        true => {
            let count = reports.0.len();
            reports.0.truncate(REPORTS_MAX);
            if let Some(last) = reports.0.last_mut().filter(|_| count > REPORTS_MAX) {
                last.notes.push(format!("and {} more", count - REPORTS_MAX));
            }
            Err(reports.into())
        }
        false => Ok(seen),
    }
}

/// Columns while the answers of the files are joined.
struct Draft {
    columns: Vec<DraftColumn>,
    index: HashMap<String, usize>,
    fresh: bool,
    frozen_reports: usize,
}

struct DraftColumn {
    name: String,
    data_type: DataType,
    /// The type in the version before.
    before: Option<DataType>,
    declared: bool,
    known: bool,
}

impl Draft {
    fn new(source: &Source, known: &[(String, DataType)], declared: &[(String, DataType)]) -> Self {
        let mut draft = Draft { columns: Vec::new(), index: HashMap::new(), fresh: true, frozen_reports: 0 };
        for (name, before) in known {
            let said = declared.iter().find(|(other, _)| other == name).map(|(_, data_type)| data_type.clone());
            draft.push(DraftColumn {
                name: name.clone(),
                data_type: said.clone().unwrap_or_else(|| before.clone()),
                before: Some(before.clone()),
                declared: said.is_some(),
                known: true,
            });
        }
        for (name, data_type) in declared {
            if !draft.index.contains_key(name) {
                let (name, data_type) = (name.clone(), data_type.clone());
                draft.push(DraftColumn { name, data_type, before: None, declared: true, known: true });
            }
        }
        draft.fresh = draft.columns.is_empty();
        debug_assert_eq!(draft.index.len(), draft.columns.len(), "source `{}` has columns twice", source.path.value);
        draft
    }

    fn push(&mut self, column: DraftColumn) {
        self.index.insert(column.name.clone(), self.columns.len());
        self.columns.push(column);
    }

    /// Joins what a look at a file gave.
    fn fold(&mut self, source: &Source, node: &Node, file: &InputFile, seen: Seen, reports: &mut Reports) {
        // With nothing declared and nothing before, the first file says what the columns are.
        let first = std::mem::take(&mut self.fresh);
        let evolves = source.contract.columns == ContractRule::Evolve;
        let frozen = source.contract.columns == ContractRule::Freeze;
        let names: Vec<String> = seen.iter().map(|(name, _)| name.clone()).collect();
        for (name, data_type) in seen {
            if let Some(&at) = self.index.get(&name) {
                let column = &mut self.columns[at];
                let fixed = column.known
                    && column.before.as_ref().is_some_and(|before| *before != DataType::Null)
                    && source.contract.data_type != ContractRule::Evolve;
                if !column.declared && !fixed {
                    column.data_type = widen(&column.data_type, &data_type);
                }
            } else if first || evolves {
                self.push(DraftColumn { name, data_type, before: None, declared: false, known: first });
            } else if frozen {
                self.refuse(node, file, &format!("it has a column `{name}` that is not known"), reports);
            }
        }
        // Keys of JSON objects are known at the end of the file only; the parser looks after them.
        if frozen && file.format != FileFormat::Ndjson {
            let gone: Vec<String> =
                self.columns.iter().filter(|c| c.known && !names.contains(&c.name)).map(|c| c.name.clone()).collect();
            for name in gone {
                self.refuse(node, file, &format!("column `{name}` is missing"), reports);
            }
        }
    }

    fn refuse(&mut self, node: &Node, file: &InputFile, reason: &str, reports: &mut Reports) {
        self.frozen_reports += 1;
        if self.frozen_reports <= REPORTS_MAX {
            let place = Place { line: 1, ..Place::file(&file.path) };
            reports.push(broken(node.name.as_str(), "columns", reason, None).at(place));
        }
    }

    fn finish(
        self,
        source: &Source,
        node: &Node,
        text: TextSettings,
        declared: &[(String, DataType)],
        mut reports: Reports,
    ) -> Result<Plan, IngestError> {
        let (mut widened, mut new_columns, mut untyped, mut columns) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for column in self.columns {
            let data_type = settle(&column.data_type);
            match &column.before {
                Some(before) if *before != data_type && (*before != DataType::Null || data_type != DataType::Utf8) => {
                    widened.push((column.name.clone(), before.clone(), data_type.clone()));
                }
                Some(_) => {}
                None => new_columns.push(column.name.clone()),
            }
            if column.data_type == DataType::Null {
                untyped.push(column.name.clone());
            }
            columns.push(PlanColumn { name: column.name, data_type, known: column.known });
        }
        check_columns(source, node, &columns, &mut reports);
        if reports.has_errors() {
            return Err(reports.into());
        }
        let fields: Vec<Field> = columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true)).collect();
        let on_misfit = Verdict::of(source.contract.data_type);
        Ok(Plan {
            source: node.name.to_string(),
            schema: Arc::new(Schema::new(fields)),
            index: columns.iter().enumerate().map(|(at, column)| (column.name.clone(), at)).collect(),
            columns,
            key: source.key.iter().map(|key| key.value.clone()).collect(),
            on_misfit,
            on_unknown: Verdict::of(source.contract.columns),
            on_unreadable: if on_misfit == Verdict::Stop { Verdict::Stop } else { Verdict::Quarantine },
            columns_frozen: source.contract.columns == ContractRule::Freeze,
            text,
            declared: declared.iter().map(|(name, _)| name.clone()).collect(),
            widened,
            new_columns,
            untyped,
        })
    }
}

/// Finds what is wrong with the columns as a whole.
fn check_columns(source: &Source, node: &Node, columns: &[PlanColumn], reports: &mut Reports) {
    if columns.is_empty() && !reports.has_errors() {
        reports.push(
            Report::error("unreadable-data", format!("source `{}` has no columns: its files hold no rows", node.name))
                .hint("declare its columns under `[columns]`")
                .at(place_of(node, &source.path)),
        );
        return;
    }
    if columns.len() > COLUMNS_MAX {
        reports.push(
            Report::error("unreadable-data", format!("source `{}` has {} columns", node.name, columns.len()))
                .note(format!("at most {COLUMNS_MAX} are taken in; are some of the names data?"))
                .at(place_of(node, &source.path)),
        );
        return;
    }
    let mut by_lower: HashMap<String, &str> = HashMap::new();
    for column in columns {
        // Tables at rest do not tell names apart by case.
        if let Some(other) = by_lower.insert(column.name.to_lowercase(), &column.name) {
            let message =
                format!("columns `{other}` and `{}` of source `{}` differ in case alone", column.name, node.name);
            reports.push(Report::error("unreadable-data", message).at(place_of(node, &source.path)));
        }
    }
    let find = |name: &str| columns.iter().find(|column| column.name == name);
    for named in source.key.iter().chain(&source.time) {
        if find(&named.value).is_none() {
            reports.push(
                Report::error("unknown-column", format!("source `{}` has no column `{}`", node.name, named.value))
                    .suggest(&named.value, columns.iter().map(|column| column.name.as_str()))
                    .at(place_of(node, named)),
            );
        }
    }
    let time = source.time.as_ref().and_then(|time| Some((time, &find(&time.value)?.data_type)));
    if let Some((time, data_type)) = time.filter(|(_, t)| !matches!(t, DataType::Timestamp(_, _) | DataType::Date32)) {
        let message = format!(
            "column `{}` is the time of source `{}`, but {}",
            time.value,
            node.name,
            crate::parse::a_type(data_type)
        );
        reports.push(
            Report::error("type-mismatch", message)
                .note("without a declared type, one value that is not a time makes the whole column text")
                .hint(format!(
                    "add `{} = \"timestamp\"` under `[columns]`: other values then go to quarantine",
                    time.value
                ))
                .at(place_of(node, time)),
        );
    }
}

/// The name of a file's column that stands twice, as a report.
pub(crate) fn twice<'a>(file: &InputFile, names: impl IntoIterator<Item = &'a str>) -> Option<Report> {
    let mut seen = std::collections::HashSet::new();
    let name = names.into_iter().find(|name| !seen.insert(*name))?;
    Some(unreadable(file, format!("`{}` names column `{name}` twice", file.path)))
}
