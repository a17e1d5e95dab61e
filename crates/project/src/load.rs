//! Puts a project together: reads all its files, links the names that they read, and gives a [`Project`] or every mistake.

use crate::draft::{Draft, How, Reading, node_name};
use crate::files::{FileSource, Folder};
use crate::graph;
use crate::toml::File;
use crate::views::{self, Mentions};
use crate::{Body, Node, Project, Rule, Settings, columns, model_file, project_file, source_file, table_file};
use pelton_base::{NodeName, Place, Report, Reports, parallel};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Searching a near name costs a comparison with every name; beyond so many unknown names nobody reads the suggestions.
const SUGGESTIONS_MAX: usize = 20;

/// Reads the project in `root`, the folder with `pelton.toml`, and checks it without looking at data.
///
/// Fails with every mistake of every file, in the order of files and lines.
pub fn load(root: &Path) -> Result<Project, Reports> {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    load_with(&root, &Folder(root.clone()))
}

/// Reads `pelton.toml` alone and gives a project without nodes: enough for what asks only what is published, which does not change
/// when a file is being edited.
pub fn load_settings(root: &Path) -> Result<Project, Reports> {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    let (settings, reports) = settings(&root, &Folder(root.clone()))?;
    match reports.is_empty() {
        true => {
            Ok(Project { root, settings, nodes: BTreeMap::new(), order: Vec::new(), by_column_order: BTreeSet::new() })
        }
        false => Err(Reports(reports)),
    }
}

fn settings(root: &Path, files: &dyn FileSource) -> Result<(Settings, Vec<Report>), Reports> {
    let text = match files.read("pelton.toml") {
        Ok(Some(text)) => text,
        Ok(None) => return Err(project_file::no_project(root).into()),
        Err(report) => return Err(report.into()),
    };
    let file = File::new("pelton.toml", &text);
    let settings = project_file::read(&file);
    let reports = file.finish();
    Ok((settings, reports))
}

/// As [`load`], with the files from elsewhere; `root` is only noted.
pub fn load_with(root: &Path, files: &dyn FileSource) -> Result<Project, Reports> {
    let (settings, mut reports) = settings(root, files)?;
    let mut drafts = Drafts::default();
    let mut has_all = true;
    for folder in [SOURCES, TABLES, MODELS] {
        match files.list(folder.name, folder.extension) {
            Ok(paths) => {
                // Files are read and parsed beside each other; what they say is put together in their order.
                let read = parallel::map(&paths, 0, |path| Read::of(&folder, path, files));
                paths.into_iter().zip(read).for_each(|(path, read)| drafts.add(&folder, path, read, &mut reports));
            }
            Err(report) => {
                reports.push(report);
                has_all = false;
            }
        }
    }
    // Of the files of a folder that cannot be listed nothing is known, and they are not missing.
    if !has_all {
        return Err(Reports(reports));
    }
    let (nodes, mentions) = drafts.link(&mut reports);
    let order = graph::order(&nodes).unwrap_or_else(|cycles| {
        reports.extend(cycles);
        Vec::new()
    });
    reports.extend(views::mistakes(&nodes, &order, &mentions));
    if reports.is_empty() {
        let by_column_order = columns::built_by_order(&nodes, &order);
        return Ok(Project { root: root.to_path_buf(), settings, nodes, order, by_column_order });
    }
    // A report without a place (a cycle) goes last.
    reports.sort_by_key(|report| {
        report.at.as_ref().map_or((1, String::new(), 0, 0), |at| (0, at.file.clone(), at.line, at.column))
    });
    Err(Reports(reports))
}

/// A folder of nodes.
struct NodeFolder {
    name: &'static str,
    extension: &'static str,
    kind: &'static str,
    read: fn(&File) -> Draft,
}

const SOURCES: NodeFolder = NodeFolder { name: "sources", extension: "toml", kind: "source", read: source_file::read };
const TABLES: NodeFolder = NodeFolder { name: "tables", extension: "sql", kind: "table", read: table_file::read };
const MODELS: NodeFolder = NodeFolder { name: "models", extension: "sql", kind: "model", read: model_file::read };

/// A node's file, by itself.
enum Read {
    Draft {
        text: String,
        draft: Box<Draft>,
        mistakes: Vec<Report>,
    },
    Unreadable(Report),
    /// It was listed a moment ago and is gone: as if it had not been there.
    Gone,
}

impl Read {
    fn of(folder: &NodeFolder, path: &str, files: &dyn FileSource) -> Self {
        match files.read(path) {
            Ok(Some(text)) => {
                let file = File::new(path, &text);
                let draft = Box::new((folder.read)(&file));
                let mistakes = file.finish();
                Read::Draft { text, draft, mistakes }
            }
            Ok(None) => Read::Gone,
            Err(report) => Read::Unreadable(report),
        }
    }
}

/// All files of nodes that were read.
#[derive(Default)]
struct Drafts {
    by_name: BTreeMap<NodeName, Entry>,
    /// Files that no node comes from: their names exist, but nothing is known of them.
    unread: BTreeMap<String, &'static str>,
}

struct Entry {
    path: String,
    kind: &'static str,
    text: String,
    draft: Draft,
}

impl Drafts {
    fn add(&mut self, folder: &NodeFolder, path: String, read: Read, reports: &mut Vec<Report>) {
        let stem = |path: &str| {
            let file = path.rsplit('/').next().unwrap_or(path);
            file.rsplit_once('.').map_or(file, |(stem, _)| stem).to_string()
        };
        let (text, draft) = match read {
            Read::Gone => return,
            Read::Unreadable(report) => {
                self.unread.insert(stem(&path), folder.kind);
                reports.push(report);
                return;
            }
            Read::Draft { text, draft, mistakes } => {
                reports.extend(mistakes);
                (text, *draft)
            }
        };
        let name = match node_name(&path) {
            Ok(name) => name,
            Err(report) => {
                self.unread.insert(stem(&path), folder.kind);
                reports.push(report);
                return;
            }
        };
        if let Some(first) = self.by_name.get(&name) {
            reports.push(
                Report::error("duplicate-node", format!("`{name}` is defined twice"))
                    .at(Place::file(&path))
                    .note(format!("the other is `{}`; sources, tables and models share their names", first.path))
                    .hint("rename one of the files"),
            );
            return;
        }
        self.by_name.insert(name, Entry { path, kind: folder.kind, text, draft });
    }

    /// Makes nodes of the drafts; a name that is unknown, or that cannot be read so, becomes a report.
    fn link(self, reports: &mut Vec<Report>) -> (BTreeMap<NodeName, Node>, Mentions) {
        let mut suggestions = 0;
        let mut mentions = Mentions::new();
        let mut all_reads = Vec::with_capacity(self.by_name.len());
        for (name, entry) in &self.by_name {
            let mut reads: BTreeMap<NodeName, (usize, usize)> = BTreeMap::new();
            for reading in &entry.draft.readings {
                let is_itself = reading.name == name.as_str();
                if is_itself && matches!(reading.how, How::Check | How::References) {
                    continue;
                }
                if let Some(mut report) = self.mistake(entry, reading) {
                    if report.code == "unknown-node" && suggestions < SUGGESTIONS_MAX {
                        suggestions += 1;
                        report = self.suggest(report, entry, reading);
                    }
                    let (start, end) = reading.span;
                    reports.push(report.at(Place::in_text(&entry.path, &entry.text, start, end)));
                    continue;
                }
                if self.by_name.contains_key(reading.name.as_str()) {
                    let count =
                        mentions.entry(name.clone()).or_default().entry(NodeName::new(&reading.name)).or_insert(0);
                    *count += 1;
                    let first = reads.entry(NodeName::new(&reading.name)).or_insert(reading.span);
                    *first = (*first).min(reading.span);
                }
            }
            all_reads.push(reads);
        }
        let read: Vec<_> = self.by_name.values().zip(all_reads).collect();
        let placed = |(entry, reads): &(&Entry, BTreeMap<NodeName, (usize, usize)>)| {
            let place = |(start, end): (usize, usize)| Place::in_text(&entry.path, &entry.text, start, end);
            reads.iter().map(|(read, span)| (read.clone(), place(*span))).collect::<Vec<_>>()
        };
        let placed = parallel::map(&read, 0, placed);
        let nodes = self.by_name.into_iter().zip(placed).map(|((name, entry), reads)| {
            let Entry { path, text, draft, .. } = entry;
            let Draft { description, tags, body, readings } = draft;
            let mut node =
                Node { name, file: path, text, description, tags, body, reads, checked_with: BTreeSet::new() };
            node.checked_with = checked_with(&node, &readings);
            (node.name.clone(), node)
        });
        let nodes = nodes.collect();
        (nodes, mentions)
    }

    /// What is wrong with reading a name in this way.
    fn mistake(&self, entry: &Entry, reading: &Reading) -> Option<Report> {
        let name = reading.name.as_str();
        let found = self.by_name.get(name);
        let Some(kind) = found.map(|entry| entry.kind).or_else(|| self.unread.get(name).copied()) else {
            return Some(unknown(entry, reading));
        };
        let wrong = |message: String| Some(Report::error("wrong-kind", message));
        match reading.how {
            How::Predict if kind != "model" => wrong(format!("`{name}` is a {kind}, not a model"))
                .map(|report| report.hint("write `predict(MODEL, TABLE)`")),
            How::Predict => None,
            How::Feature => {
                let Body::Table(table) = &found?.draft.body else {
                    return wrong(format!("`{name}` is a {kind}, not a feature table")).map(|report| {
                        report.note("a feature table is a table with `entity` and `time` in its header")
                    });
                };
                let missing = match (table.entity.is_empty(), table.time.is_none()) {
                    (false, false) if !table.online => {
                        let said =
                            wrong(format!("the endpoint would look features up in `{name}`, which is not online"));
                        return said.map(|report| {
                            report
                                .note(format!("`online = false` in the header of `{name}` keeps endpoints from it"))
                                .hint(format!("remove `online = false` from the header of `{name}`"))
                                .hint("or join the columns in the model's SELECT, so that requests carry them")
                        });
                    }
                    (false, false) => return None,
                    (true, true) => "`entity` and `time`",
                    (true, false) => "`entity`",
                    (false, true) => "`time`",
                };
                wrong(format!("`{name}` is not a feature table"))
                    .map(|report| report.hint(format!("add {missing} to the header of `{name}`")))
            }
            _ if kind == "model" => wrong(format!("`{name}` is a model, which is not read like a table"))
                .map(|report| report.hint(format!("write `predict({name}, TABLE)` to score a table"))),
            _ => None,
        }
    }

    fn suggest(&self, report: Report, entry: &Entry, reading: &Reading) -> Report {
        let last = reading.name.rsplit('.').next().unwrap_or_default();
        if reading.name.contains('.') && self.by_name.contains_key(last) {
            return report.hint(format!("write `{last}` alone"));
        }
        let fits = |kind: &str| match reading.how {
            How::Predict => kind == "model",
            How::Feature => kind == "table",
            _ => kind != "model",
        };
        // A name of one or two letters is near to every other.
        if reading.name.len() < 3 {
            return report;
        }
        let candidates = self.by_name.iter().filter(|(_, other)| fits(other.kind) && other.path != entry.path);
        report.suggest(&reading.name, candidates.map(|(name, _)| name.as_str()))
    }
}

/// The nodes that only checks look at which remove no row.
fn checked_with(node: &Node, readings: &[Reading]) -> BTreeSet<NodeName> {
    let removing = node.checks().iter().filter(|check| check.removes_rows());
    let read_by_removing = removing.filter_map(|check| match &check.rule {
        Rule::References { table, .. } => Some(table.as_str()),
        _ => None,
    });
    let read_for_rows = readings
        .iter()
        .filter(|reading| !matches!(reading.how, How::Check | How::References))
        .map(|reading| &*reading.name);
    let rows_come_from: BTreeSet<&str> = read_for_rows.chain(read_by_removing).collect();
    node.reads.iter().map(|(name, _)| name).filter(|name| !rows_come_from.contains(name.as_str())).cloned().collect()
}

fn unknown(entry: &Entry, reading: &Reading) -> Report {
    let name = &reading.name;
    if name.starts_with("pelton.") {
        return Report::error("unsupported-sql", format!("a {} cannot read the system table `{name}`", entry.kind))
            .note("system tables change with every run, so nothing built from them could be repeated; `pelton query` reads them");
    }
    if name.contains('.') {
        return Report::error("unknown-node", format!("there is no node `{name}`"))
            .note("nodes are named alone, without a schema before them");
    }
    let what = match reading.how {
        How::Predict => "model",
        How::Feature => "feature table",
        _ => "source or table",
    };
    Report::error("unknown-node", format!("there is no {what} `{name}`"))
}
