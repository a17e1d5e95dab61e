//! Reads `sources/NAME.toml`.

use crate::checks::Checks;
use crate::draft::{Draft, notes, whole_file};
use crate::settings::{CONTRACT, CSV, SOURCE, SOURCE_COLUMN};
use crate::toml::{Entry, File, parse};
use crate::{Body, Column, Contract, ContractRule, CsvSettings, FileFormat, Source, Spanned};
use pelton_base::Report;

/// Kinds of sources that the design has and this version does not.
const KINDS_LATER: &[&str] =
    &["kafka", "mqtt", "postgres", "mysql", "sqlite", "http", "delta", "iceberg", "s3", "mongodb", "webhook"];

/// Reads a source; what is wrong is reported, and the default stands in for it.
pub(crate) fn read(file: &File) -> Draft {
    let document = parse(file, (0, file.text.len()));
    let section = whole_file(file, document.as_ref(), &SOURCE);
    let (description, tags) = notes(&section);
    let (mut checks, mut readings) = (Checks::default(), Vec::new());
    if let Some(entry) = section.need("kind") {
        entry.choice(&[("files", ())], KINDS_LATER);
    }
    let path = section.need("path").and_then(|entry| path(&entry));
    let formats = [("csv", FileFormat::Csv), ("ndjson", FileFormat::Ndjson), ("parquet", FileFormat::Parquet)];
    let format = section.get("format").and_then(|entry| entry.choice(&formats, &[]));
    let mut columns: Vec<Column> = Vec::new();
    if let Some(entry) = section.get("columns") {
        for entry in entry.section(&crate::settings::SOURCE_COLUMNS).entries() {
            let column = column(&entry, &mut checks, &mut readings);
            if let Some(other) = columns.iter().find(|other| other.name.value.eq_ignore_ascii_case(&column.name.value))
            {
                let why = format!("`{}` is `{}` written in another case", column.name.value, other.name.value);
                entry.file.report_at(
                    entry.key_span,
                    Report::error("invalid-value", why).note("columns are told apart by more than case"),
                );
            }
            columns.push(column);
        }
    }
    if let Some(entry) = section.get("checks") {
        for entry in entry.section(&crate::settings::CHECKS).entries() {
            checks.read_named(&entry, &mut readings);
        }
    }
    let time = section.get("time").and_then(|entry| entry.words());
    if let Some(entry) = section.get("freshness") {
        checks.read_freshness(&entry, time.as_ref());
    }
    if let Some(entry) = section.get("anomaly") {
        checks.read_anomaly(&entry);
    }
    let csv = section.get("csv").map_or_else(CsvSettings::default, |entry| {
        let path = path.as_ref().map_or("", |path| path.value.as_str());
        refuse_csv_of_others(&entry, format.or_else(|| format_of(path)));
        csv(&entry)
    });
    let source = Source {
        kind: "files".to_string(),
        path: path.unwrap_or(Spanned { value: String::new(), span: (0, 0) }),
        format,
        csv,
        key: section.get("key").map_or_else(Vec::new, |entry| entry.texts()),
        time,
        contract: contract(section.get("contract")),
        columns,
        checks: checks.list,
    };
    Draft { description, tags, body: Body::Source(Box::new(source)), readings }
}

fn path(entry: &Entry) -> Option<Spanned<String>> {
    let path = entry.words()?;
    if path.value.contains("://") {
        entry.not_built(&path);
        return None;
    }
    if let Err(error) = glob::Pattern::new(&path.value) {
        entry.refuse(format_args!("is not a path pattern: {} at character {}", error.msg, error.pos + 1));
        return None;
    }
    Some(path)
}

/// The format that a path's extension names, compressed or not.
pub fn format_of(path: &str) -> Option<FileFormat> {
    let path = path.strip_suffix(".gz").or_else(|| path.strip_suffix(".zst")).unwrap_or(path);
    match path.rsplit_once('.')?.1 {
        "csv" | "tsv" => Some(FileFormat::Csv),
        "ndjson" | "jsonl" | "json" => Some(FileFormat::Ndjson),
        "parquet" => Some(FileFormat::Parquet),
        _ => None,
    }
}

/// Refuses settings that the source's format does not have, instead of ignoring them.
fn refuse_csv_of_others(entry: &Entry, format: Option<FileFormat>) {
    let refused = match format {
        Some(FileFormat::Parquet) => "Parquet",
        Some(FileFormat::Ndjson) if entry.has_other_than("encoding") => "NDJSON",
        _ => return,
    };
    let report = Report::error("invalid-value", format!("`[csv]` has no effect: the source reads {refused}"));
    let report = if refused == "NDJSON" { report.note("of `[csv]`, NDJSON has `encoding` alone") } else { report };
    entry.file.report_at(entry.key_span, report);
}

fn csv(entry: &Entry) -> CsvSettings {
    let section = entry.section(&CSV);
    let defaults = CsvSettings::default();
    let byte = |key: &str| {
        let entry = section.get(key)?;
        let text = entry.text()?;
        match text.value.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Some(*byte),
            _ => {
                entry.refuse(format_args!("cannot be {:?}", text.value));
                None
            }
        }
    };
    let (delimiter, quote) = (byte("delimiter"), byte("quote").unwrap_or(defaults.quote));
    if delimiter == Some(quote)
        && let Some(entry) = section.get("delimiter")
    {
        entry.refuse("cannot be the same as `quote`");
    }
    let encoding = section.get("encoding").and_then(|entry| {
        let label = entry.words()?;
        if encoding_rs::Encoding::for_label(label.value.as_bytes()).is_none() {
            entry.refuse(format_args!("cannot be `{}`, which is no known encoding", label.value));
            return None;
        }
        Some(label.value)
    });
    let null = section.get("null").map(|entry| {
        let words = entry.items().into_iter().filter_map(|item| item.text()).map(|text| text.value);
        words.collect()
    });
    CsvSettings {
        delimiter,
        quote,
        header: section.get("header").and_then(|entry| entry.flag()).unwrap_or(defaults.header),
        null: null.unwrap_or(defaults.null),
        encoding: encoding.unwrap_or(defaults.encoding),
    }
}

impl Default for CsvSettings {
    fn default() -> Self {
        CsvSettings {
            delimiter: None,
            quote: b'"',
            header: true,
            null: ["", "NULL", "null", "NA", "N/A"].map(str::to_string).to_vec(),
            encoding: "utf-8".to_string(),
        }
    }
}

fn contract(entry: Option<Entry>) -> Contract {
    let mut contract = Contract::default();
    let Some(entry) = entry else { return contract };
    let section = entry.section(&CONTRACT);
    let words = [
        ("evolve", ContractRule::Evolve),
        ("freeze", ContractRule::Freeze),
        ("discard_row", ContractRule::DiscardRow),
        ("discard_value", ContractRule::DiscardValue),
        ("quarantine", ContractRule::Quarantine),
    ];
    let rule = |key: &str| section.get(key).and_then(|entry| entry.choice(&words, &[]));
    contract.columns = rule("columns").unwrap_or(contract.columns);
    contract.data_type = rule("data_type").unwrap_or(contract.data_type);
    contract
}

impl Default for Contract {
    fn default() -> Self {
        Contract { columns: ContractRule::Evolve, data_type: ContractRule::Quarantine }
    }
}

fn column(entry: &Entry, checks: &mut Checks, readings: &mut Vec<crate::draft::Reading>) -> Column {
    let name = Spanned { value: entry.key.clone(), span: entry.key_span };
    let unread = || Spanned { value: String::new(), span: entry.span };
    if !entry.is_table() {
        return Column { name, data_type: entry.words().unwrap_or_else(unread), description: None };
    }
    let section = entry.section(&SOURCE_COLUMN);
    if let Some(entry) = section.get("checks") {
        checks.read_column(&name.value, &entry, readings);
    }
    Column {
        name,
        data_type: section.need("type").and_then(|entry| entry.words()).unwrap_or_else(unread),
        description: section.get("description").and_then(|entry| entry.text()).map(|text| text.value),
    }
}
