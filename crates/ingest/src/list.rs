//! The files that a source's glob names, in the order in which they are taken in.

use pelton_base::{Place, Report, Reports, suggest};
use pelton_project::model::{FileFormat, Node, Source, Spanned};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// How many files a report names.
const NAMED_MAX: usize = 5;

const NAMES_THAT_TELL: &str =
    "names that tell: `.csv`, `.tsv`, `.ndjson`, `.jsonl`, `.json`, `.parquet`, each also with `.gz` or `.zst`";

/// How a file is compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`: one or more members.
    Gzip,
    /// `.zst`: one or more frames.
    Zstd,
}

/// A data file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Its path relative to the project's folder, with `/`; as it is when it lies elsewhere.
    pub path: String,
    /// Its path for the operating system.
    pub absolute: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was last modified, microseconds since the epoch.
    pub modified_us: i64,
    /// Its format: as the source declares, or by its name.
    pub format: FileFormat,
    /// Its compression, by its name.
    pub compression: Compression,
    /// Its content, when it does not lie on the disk.
    pub text: Option<Arc<str>>,
}

impl InputFile {
    /// A file that somebody named, with format and compression by its name.
    pub fn named(path: &Path) -> Result<Self, Report> {
        let name = path.display().to_string();
        let facts = fs::metadata(path).map_err(|error| unreadable(&name, &error))?;
        let (format, compression) = format_of(&name);
        let Some(format) = format else {
            let message = format!("the name of `{name}` does not tell its format");
            return Err(Report::error("missing-key", message).note(NAMES_THAT_TELL));
        };
        let absolute = path.to_path_buf();
        Ok(InputFile { path: name, absolute, bytes: facts.len(), modified_us: 0, format, compression, text: None })
    }
}

/// Lists the files that a source's path names, sorted by path, byte by byte.
///
/// `root` is the project's folder. Reports, all at once: a path that is not a glob or matches nothing, names that tell no format.
pub fn list(source: &Source, node: &Node, root: &Path) -> Result<Vec<InputFile>, Reports> {
    let place = place_of(node, &source.path);
    let pattern = source.path.value.trim();
    let full = full(pattern, root);
    let found = glob::glob_with(&full, MATCH).map_err(|error| {
        Report::error("invalid-value", format!("`{pattern}` is not a path pattern"))
            .note(format!("{} at character {}", error.msg, error.pos + 1))
            .at(place.clone())
    })?;

    let (mut files, mut reports, mut strange) = (Vec::new(), Reports::default(), Vec::new());
    for entry in found {
        let absolute = match entry {
            Ok(path) => path,
            Err(error) => {
                let path = relative(error.path(), root);
                reports.push(unreadable(&path, error.error()));
                continue;
            }
        };
        let path = relative(&absolute, root);
        let facts = match fs::metadata(&absolute) {
            Ok(facts) => facts,
            Err(error) => {
                reports.push(unreadable(&path, &error));
                continue;
            }
        };
        if !facts.is_file() {
            continue;
        }
        let (by_name, compression) = format_of(&path);
        let Some(format) = source.format.or(by_name) else {
            strange.push(path);
            continue;
        };
        let modified_us = facts.modified().map_or(0, |at| match at.duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_micros() as i64,
            Err(before) => -(before.duration().as_micros() as i64),
        });
        files.push(InputFile { path, absolute, bytes: facts.len(), modified_us, format, compression, text: None });
    }
    if !strange.is_empty() {
        reports.push(
            Report::error(
                "missing-key",
                format!("source `{}` needs a `format`: {}", node.name, strange_names(&strange)),
            )
            .note(NAMES_THAT_TELL)
            .hint("add `format = \"csv\"` (or `\"ndjson\"`, `\"parquet\"`), or narrow `path`")
            .at(place.clone()),
        );
    }
    if files.is_empty() && reports.0.is_empty() {
        reports.push(empty(pattern, root, node).at(place));
    }
    if reports.has_errors() {
        return Err(reports);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    if pattern.contains("**") {
        // A link to a folder above leads to the same files again, as often as the operating system follows it.
        let mut seen = HashSet::new();
        files.retain(|file| fs::canonicalize(&file.absolute).map_or(true, |path| seen.insert(path)));
    }
    Ok(files)
}

/// A star stays within a folder, and hidden files are left alone, as in a shell.
const MATCH: glob::MatchOptions =
    glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A pattern from the root of the file system.
fn full(pattern: &str, root: &Path) -> String {
    let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
    match Path::new(pattern).is_absolute() {
        true => pattern.to_string(),
        false => format!("{}/{pattern}", glob::Pattern::escape(&root.to_string_lossy())),
    }
}

/// Whether a source's path names a file of this [`InputFile::path`], be it there or not.
pub fn is_named(source: &Source, root: &Path, path: &str) -> bool {
    let pattern = glob::Pattern::new(&full(source.path.value.trim(), root));
    // As text: a path that leaves the project's folder keeps its `..`, as the pattern does.
    let absolute = if Path::new(path).is_absolute() { path.to_string() } else { format!("{}/{path}", root.display()) };
    pattern.is_ok_and(|pattern| pattern.matches_with(&absolute, MATCH))
}

/// The place of a value of a node's file.
pub(crate) fn place_of(node: &Node, value: &Spanned<String>) -> Place {
    Place::in_text(&node.file, &node.text, value.span.0, value.span.1)
}

fn unreadable(path: &str, error: &std::io::Error) -> Report {
    Report::error("unreadable-file", format!("cannot read `{path}`")).note(error.to_string()).at(Place::file(path))
}

fn strange_names(paths: &[String]) -> String {
    let rest = paths.len().saturating_sub(NAMED_MAX);
    let named = paths.iter().take(NAMED_MAX).map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
    match (paths.len(), rest) {
        (1, _) => format!("the name of {named} tells none"),
        (_, 0) => format!("the names of {named} tell none"),
        _ => format!("the names of {named} and {rest} more files tell none"),
    }
}

/// The path from the project's folder, with `/`.
fn relative(path: &Path, root: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let text = inside.to_string_lossy();
    if std::path::MAIN_SEPARATOR == '/' { text.into_owned() } else { text.replace(std::path::MAIN_SEPARATOR, "/") }
}

/// Format and compression by name.
pub(crate) fn format_of(path: &str) -> (Option<FileFormat>, Compression) {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let (name, compression) = match name.rsplit_once('.') {
        Some((stem, "gz" | "gzip")) => (stem.to_string(), Compression::Gzip),
        Some((stem, "zst" | "zstd")) => (stem.to_string(), Compression::Zstd),
        _ => (name, Compression::None),
    };
    let format = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("csv" | "tsv") => Some(FileFormat::Csv),
        Some("ndjson" | "jsonl" | "json") => Some(FileFormat::Ndjson),
        Some("parquet") => Some(FileFormat::Parquet),
        _ => None,
    };
    (format, compression)
}

/// Whether a name says that its values are separated by tabs.
pub(crate) fn is_tsv(file: &InputFile) -> bool {
    let name = file.path.to_ascii_lowercase();
    let stem =
        name.trim_end_matches(".gz").trim_end_matches(".gzip").trim_end_matches(".zst").trim_end_matches(".zstd");
    stem.ends_with(".tsv")
}

/// The report of a pattern that matches nothing: what the folder holds instead, and what may have been meant.
fn empty(pattern: &str, root: &Path, node: &Node) -> Report {
    let report = Report::error("empty-glob", format!("no file matches `{pattern}` of source `{}`", node.name));
    let parts: Vec<&str> = pattern.split('/').collect();
    let plain = parts.iter().take_while(|part| !part.contains(['*', '?', '['])).count().min(parts.len() - 1);
    let mut folder = if pattern.starts_with('/') { PathBuf::from("/") } else { root.to_path_buf() };
    let mut shown = String::new();
    for part in parts[..plain].iter().filter(|part| !part.is_empty()) {
        let next = folder.join(part);
        if !next.is_dir() {
            let siblings = names(&folder, |path| path.is_dir());
            let parent = if shown.is_empty() { "the project".to_string() } else { format!("`{shown}`") };
            let report = report.note(format!("{parent} has no folder `{part}`"));
            return match suggest::did_you_mean(part, siblings.iter().map(String::as_str)) {
                Some(near) => {
                    let other = pattern.replacen(part, near, 1);
                    let has_files =
                        glob::glob_with(&full(&other, root), MATCH).is_ok_and(|mut found| found.next().is_some());
                    report.hint(match has_files {
                        true => format!("did you mean `{other}`?"),
                        false => format!("did you mean the folder `{near}`?"),
                    })
                }
                None => report,
            };
        }
        folder = next;
        shown = if shown.is_empty() { (*part).to_string() } else { format!("{shown}/{part}") };
    }
    if folder.join(parts.last().copied().unwrap_or_default()).is_dir() {
        let pattern = pattern.trim_end_matches('/');
        return report
            .note(format!("`{pattern}` is a folder"))
            .hint(format!("`path = \"{pattern}/*\"` names its files"));
    }
    let shown = if shown.is_empty() { "the project's folder".to_string() } else { format!("folder `{shown}`") };
    let files = names(&folder, |path| path.is_file());
    if files.is_empty() {
        let folders = names(&folder, |path| path.is_dir());
        return match folders.is_empty() {
            true => report.note(format!("{shown} is empty")),
            false => report.note(format!(
                "{shown} holds no files, but {}: {}",
                counted(&folders, "folder"),
                listed(&folders)
            )),
        };
    }
    let report = report.note(format!("{shown} holds {}: {}", counted(&files, "file"), listed(&files)));
    let wanted = parts.last().copied().unwrap_or_default();
    if let Some(near) = suggest::did_you_mean(wanted, files.iter().map(String::as_str)) {
        return report.hint(format!("did you mean `{}`?", pattern.replacen(wanted, near, 1)));
    }
    // Same pattern, another ending: `*.csv` where the files are `a.csv.gz`.
    let endings =
        ["csv", "csv.gz", "csv.zst", "tsv", "ndjson", "ndjson.gz", "jsonl", "jsonl.gz", "json", "json.gz", "parquet"];
    if let Some((stem, _)) = wanted.split_once('.') {
        for ending in endings {
            let other = format!("{stem}.{ending}");
            let matching =
                glob::Pattern::new(&other).map_or(0, |glob| files.iter().filter(|name| glob.matches(name)).count());
            if matching > 0 {
                let other = format!("{}{other}", &pattern[..pattern.len() - wanted.len()]);
                return report.hint(format!("`path = \"{other}\"` matches {matching} of them"));
            }
        }
    }
    report
}

/// `1 file`, `2 files`.
fn counted(names: &[String], noun: &str) -> String {
    format!("{} {noun}{}", names.len(), if names.len() == 1 { "" } else { "s" })
}

fn listed(names: &[String]) -> String {
    let rest = names.len().saturating_sub(NAMED_MAX);
    let mut text = names.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if rest > 0 {
        text.push_str(&format!(" and {rest} more"));
    }
    text
}

/// The names in a folder, sorted, without hidden ones.
fn names(folder: &Path, want: impl Fn(&Path) -> bool) -> Vec<String> {
    // A large folder need not be read whole to say what it holds.
    const READ_MAX: usize = 10_000;
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .take(READ_MAX)
        .flatten()
        .filter(|entry| want(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}
