//! Reads `tests/**/*.toml`, and finds what can be wrong with a test before types are known.

use crate::draft::whole_file;
use crate::files::FileSource;
use crate::model_file::metric_mistake;
use crate::settings::{EXPECT_CHECKS, GIVEN, TEST, TEST_CASE};
use crate::toml::{Entry, File, Section, Span, parse};
use crate::{
    Body, ExpectedCheck, Folder, Gate, Given, Node, Project, Rows, Spanned, TestFile, UnitTest, UnitTests, test_rows,
    values,
};
use pelton_base::{NodeName, Place, Report, Reports, parallel, parse_time_us};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Reads a project and its unit tests, and gives both or every mistake of both.
pub fn load_tested(root: &Path) -> Result<(Project, UnitTests), Reports> {
    match crate::load(root) {
        Ok(project) => {
            let tests = load_tests(&project);
            Ok((project, tests))
        }
        Err(mut mistakes) => {
            // Which nodes there are is not known now, but what is wrong with a file by itself is.
            let files = Folder(std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf()));
            if let Ok(paths) = files.list(FOLDER, EXTENSION) {
                parallel::map(&paths, 0, |path| Read::of(path, &files))
                    .into_iter()
                    .for_each(|read| mistakes.0.extend(read.mistakes));
            }
            Err(mistakes)
        }
    }
}

/// Reads the unit tests of a project.
pub fn load_tests(project: &Project) -> UnitTests {
    load_tests_with(project, &Folder(project.root.clone()))
}

const FOLDER: &str = "tests";
const EXTENSION: &str = "toml";

/// As [`load_tests`], with the files from elsewhere.
pub fn load_tests_with(project: &Project, files: &dyn FileSource) -> UnitTests {
    let paths = match files.list(FOLDER, EXTENSION) {
        Ok(paths) => paths,
        Err(report) => return UnitTests { list: Vec::new(), mistakes: report.into() },
    };
    let mut tests = UnitTests::default();
    for read in parallel::map(&paths, 0, |path| Read::of(path, files)) {
        let mut mistakes = read.mistakes;
        let mut linked = Vec::new();
        for draft in read.drafts {
            match link(project, &read.file, draft) {
                Ok(test) => linked.push(test),
                Err(reports) => {
                    // What stands above the cases is wrong in each of them, and told once.
                    mistakes
                        .extend(reports.into_iter().filter(|report| !mistakes.contains(report)).collect::<Vec<_>>());
                }
            }
        }
        mistakes.sort_by_key(|report| report.at.as_ref().map(|at| (at.line, at.column)));
        match mistakes.is_empty() {
            true => tests.list.extend(linked),
            false => tests.mistakes.0.extend(mistakes),
        }
    }
    tests
}

/// A file by itself.
struct Read {
    file: Arc<TestFile>,
    drafts: Vec<Draft>,
    mistakes: Vec<Report>,
}

impl Read {
    fn of(path: &str, files: &dyn FileSource) -> Self {
        let (text, unreadable) = match files.read(path) {
            Ok(text) => (text.unwrap_or_default(), None),
            Err(report) => (String::new(), Some(report)),
        };
        let file = Arc::new(TestFile { path: path.to_string(), text });
        if let Some(report) = unreadable {
            return Read { file, drafts: Vec::new(), mistakes: vec![report] };
        }
        let reading = File::new(&file.path, &file.text);
        let drafts = read(&reading);
        let mistakes = reading.finish();
        Read { drafts, mistakes, file }
    }
}

/// A test whose names are not known to exist.
struct Draft {
    name: String,
    span: Span,
    node: Spanned<String>,
    part: Part,
}

/// What a file says above its cases, or a case by itself.
#[derive(Clone, Default)]
struct Part {
    now_us: Option<i64>,
    given: BTreeMap<String, Given>,
    prior: Option<Given>,
    examples: Option<Given>,
    expect: Option<Rows>,
    columns: Vec<Spanned<String>>,
    key: Vec<Spanned<String>>,
    tolerance: Option<f64>,
    checks: Option<Vec<ExpectedCheck>>,
    metrics: Option<Vec<Gate>>,
    /// Whether it says what is expected, rightly or not.
    expects: bool,
}

impl Part {
    /// What a case says, and where it says nothing, what stands above it.
    fn over(self, above: &Part) -> Part {
        let mut given = above.given.clone();
        given.extend(self.given);
        let or = |own: Vec<Spanned<String>>, above: &Vec<Spanned<String>>| match own.is_empty() {
            true => above.clone(),
            false => own,
        };
        Part {
            now_us: self.now_us.or(above.now_us),
            given,
            prior: self.prior.or_else(|| above.prior.clone()),
            examples: self.examples.or_else(|| above.examples.clone()),
            expect: self.expect.or_else(|| above.expect.clone()),
            columns: or(self.columns, &above.columns),
            key: or(self.key, &above.key),
            tolerance: self.tolerance.or(above.tolerance),
            checks: self.checks.or_else(|| above.checks.clone()),
            metrics: self.metrics.or_else(|| above.metrics.clone()),
            expects: self.expects || above.expects,
        }
    }
}

/// Reads a file's tests; what is wrong is reported.
fn read(file: &File) -> Vec<Draft> {
    let document = parse(file, (0, file.text.len()));
    let section = whole_file(file, document.as_ref(), &TEST);
    let node = section.need("node").and_then(|entry| entry.words());
    let above = part(&section);
    let mut drafts = Vec::new();
    match section.get("case") {
        None => {
            let (Some(node), true) = (node, document.is_some()) else { return drafts };
            let stem = file.path.rsplit('/').next().unwrap_or(file.path).trim_end_matches(".toml");
            drafts.push(Draft { name: stem.to_string(), span: node.span, node, part: above });
        }
        Some(entry) => {
            let cases = entry.sections(&TEST_CASE);
            if cases.is_empty() && entry.is_list() {
                entry.refuse("cannot be empty");
            }
            let mut names = BTreeSet::new();
            for case in cases {
                let name = case.need("name").and_then(|entry| entry.words());
                let own = part(&case).over(&above);
                let (Some(name), Some(node)) = (name, node.clone()) else { continue };
                if !names.insert(name.value.clone()) {
                    let report = Report::error("invalid-value", format!("two cases have the name `{}`", name.value));
                    file.report_at(name.span, report);
                }
                drafts.push(Draft { name: name.value, span: case.span.unwrap_or(name.span), node, part: own });
            }
        }
    }
    let expects_rows = drafts.iter().any(|draft| draft.part.expect.is_some());
    let unused = drafts.iter().flat_map(|draft| draft.part.columns.iter().chain(&draft.part.key)).next();
    if let Some(column) = unused.filter(|_| !expects_rows) {
        let report = Report::error("invalid-value", "`columns` and `key` have no effect without `expect`");
        file.report_at(column.span, report);
    }
    drafts
}

fn part(section: &Section) -> Part {
    let mut given = BTreeMap::new();
    if let Some(entry) = section.get("given") {
        for entry in entry.section(&GIVEN).entries() {
            if let Some(rows) = test_rows::read(&entry) {
                given.insert(entry.key.clone(), Given { span: entry.key_span, rows });
            }
        }
    }
    let rows = |key: &str| section.get(key).and_then(|entry| test_rows::read(&entry));
    let named = |key: &str| {
        let entry = section.get(key)?;
        Some(Given { span: entry.key_span, rows: test_rows::read(&entry)? })
    };
    let names = |key: &str| section.get(key).map_or_else(Vec::new, |entry| entry.some_texts());
    Part {
        now_us: section.get("now").and_then(|entry| time(&entry)),
        given,
        prior: named("prior"),
        examples: named("examples"),
        expect: rows("expect"),
        columns: names("columns"),
        key: names("key"),
        tolerance: section.get("tolerance").and_then(|entry| tolerance(&entry)),
        checks: section.get("expect_checks").map(|entry| checks(&entry)),
        metrics: section.get("expect_metrics").map(|entry| metrics(&entry)),
        expects: ["expect", "expect_checks", "expect_metrics"].iter().any(|key| section.get(key).is_some()),
    }
}

fn time(entry: &Entry) -> Option<i64> {
    let (text, span) = match entry.date_time() {
        Some(text) => (text, entry.span),
        None => entry.words().map(|text| (text.value, text.span))?,
    };
    let us = parse_time_us(&text);
    if us.is_none() {
        let report = Report::error("invalid-value", format!("`{}` is not a time: `{text}`", entry.key));
        entry.file.report_at(span, report.note(format!("accepted is {}", entry.doc.accepts)));
    }
    us
}

fn tolerance(entry: &Entry) -> Option<f64> {
    let number = entry.number()?;
    if number < 0.0 {
        entry.refuse(format_args!("cannot be {number}"));
        return None;
    }
    Some(number)
}

fn checks(entry: &Entry) -> Vec<ExpectedCheck> {
    if !entry.is_table() {
        return entry.texts().into_iter().map(|name| ExpectedCheck { name, rows: None }).collect();
    }
    let of_entry = |entry: Entry| {
        let rows = entry.integer(1, i64::MAX)?;
        let name = Spanned { value: entry.key.clone(), span: entry.key_span };
        Some(ExpectedCheck { name, rows: Some(rows.unsigned_abs()) })
    };
    entry.section(&EXPECT_CHECKS).entries().into_iter().filter_map(of_entry).collect()
}

fn metrics(entry: &Entry) -> Vec<Gate> {
    let mut gates = Vec::new();
    for text in entry.some_texts() {
        let refuse = |why: &str| {
            let report = Report::error("invalid-value", format!("`{}` {why}", text.value));
            entry.file.report_at(text.span, report.note("accepted is `METRIC >= NUMBER`; `>`, `<=` and `<` too"));
        };
        match values::parse_gate(&text.value) {
            None => refuse("is not a rule"),
            Some((_, _, true, _)) => refuse("speaks of `current`, and a test has no version in service"),
            Some((metric, comparison, relative, number)) => {
                let metric = metric.to_string();
                gates.push(Gate { text: text.value.clone(), metric, comparison, relative, number, span: text.span });
            }
        }
    }
    gates
}

/// Makes a test of a draft, or says what it names that is not there.
fn link(project: &Project, file: &Arc<TestFile>, draft: Draft) -> Result<UnitTest, Vec<Report>> {
    let at = |span: Span| Place::in_text(&file.path, &file.text, span.0, span.1);
    let Some(node) = project.nodes.get(draft.node.value.as_str()) else {
        let name = &draft.node.value;
        let known = project.nodes.values().filter(|node| node.kind() != "source").map(|node| node.name.as_str());
        let report = Report::error("unknown-node", format!("there is no table or model `{name}`"));
        return Err(vec![report.suggest(name, known).at(at(draft.node.span))]);
    };
    if matches!(node.body, Body::Source(_)) {
        let report = Report::error("wrong-kind", format!("`{}` is a source, which computes nothing", node.name));
        let report = report.note("tests are of tables and models; the rows of a source are what is given");
        return Err(vec![report.at(at(draft.node.span))]);
    }
    let Draft { name, span, part, .. } = draft;
    let given = part.given.iter().map(|(name, given)| (NodeName::new(name), given.clone())).collect();
    let test = UnitTest {
        name,
        file: file.clone(),
        span,
        node: node.name.clone(),
        now_us: part.now_us,
        given,
        prior: part.prior,
        examples: part.examples,
        expect: part.expect,
        columns: part.columns,
        key: part.key,
        tolerance: part.tolerance,
        checks: part.checks,
        metrics: part.metrics.unwrap_or_default(),
    };
    let mut reports = of_given(project, &test);
    let is_misplaced = test.given.keys().any(|name| TEST_CASE.find(name.as_str()).is_some());
    if !part.expects && !is_misplaced {
        let expectations = match node.kind() {
            "model" => "`expect`, `expect_checks` or `expect_metrics`",
            _ => "`expect` or `expect_checks`",
        };
        let missing = Report::error("missing-key", format!("test `{}` expects nothing", test.name)).at(test.place());
        reports.push(missing.note(format!("a test needs {expectations}")).hint("add `expect = []` for no rows"));
    }
    reports.extend(of_expectations(node, &test));
    if reports.is_empty() { Ok(test) } else { Err(reports) }
}

/// How many inputs a report names.
const INPUTS_MAX: usize = 12;

/// What is wrong with the names of inputs.
fn of_given(project: &Project, test: &UnitTest) -> Vec<Report> {
    let reached = test.reached(project);
    let upstream = project.upstream([test.node.clone()]).nodes;
    let inputs: Vec<&str> = upstream.keys().filter(|input| **input != test.node).map(NodeName::as_str).collect();
    let built_from = || {
        let named = crate::toml::listed(inputs.iter().copied().take(INPUTS_MAX));
        match inputs.len().saturating_sub(INPUTS_MAX) {
            _ if inputs.is_empty() => format!("`{}` reads nothing", test.node),
            0 => format!("`{}` is built from {named}", test.node),
            more => format!("`{}` is built from {named} and {more} more", test.node),
        }
    };
    let mut reports = Vec::new();
    for (name, given) in &test.given {
        let report = if *name == test.node {
            let report = Report::error("invalid-value", format!("`{name}` is what is tested, so it cannot be given"));
            match project.nodes[name].kind() {
                "model" => report.hint("give its training examples as `examples`"),
                _ => report.hint("put the rows that it must have under `expect`"),
            }
        } else if !project.nodes.contains_key(name) && TEST_CASE.find(name.as_str()).is_some() {
            // In TOML, `[given]` goes on until the next table begins.
            Report::error(
                "invalid-value",
                format!("`{name}` stands under `[given]`, which ends where another table begins"),
            )
            .hint("write it above `[given]`, or write the inputs as `given.NAME = ...` instead of `[given]`")
        } else if !project.nodes.contains_key(name) {
            let report = Report::error("unknown-node", format!("there is no node `{name}`"));
            let report = report.suggest(name.as_str(), inputs.iter().copied());
            if report.hints.is_empty() { report.note(built_from()) } else { report }
        } else if test.examples.is_some() {
            Report::error("invalid-value", format!("`{name}` is given, and so are the training examples themselves"))
                .note("with `examples`, the model's SELECT does not run")
        } else if !reached.contains(name) {
            let report =
                Report::error("invalid-value", format!("`{name}` is given, but `{}` is not built from it", test.node));
            let between = test.given.keys().find(|other| {
                *other != name
                    && reached.contains(*other)
                    && project.upstream([(*other).clone()]).nodes.contains_key(name)
            });
            match between.filter(|_| upstream.contains_key(name)) {
                Some(between) => report.note(format!("`{between}`, which reads it, is given too")),
                None if upstream.contains_key(name) => {
                    report.note("only checks look at it, and the test has no `expect_checks`")
                }
                None => report.note(built_from()),
            }
        } else {
            continue;
        };
        reports.push(report.at(test.place_at(given.span)));
    }
    reports
}

/// What is wrong with what is expected, as far as it shows without types.
fn of_expectations(node: &Node, test: &UnitTest) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut report = |report: Report, span: Span| reports.push(report.at(test.place_at(span)));
    let known = || node.checks().iter().map(|check| check.name.as_str());
    for expected in test.checks.iter().flatten() {
        if !known().any(|name| name == expected.name.value) {
            let message = format!("`{}` has no check `{}`", node.name, expected.name.value);
            let mistake = Report::error("invalid-check", message).suggest(&expected.name.value, known());
            let mistake = match known().next() {
                Some(_) => mistake.note(format!("its checks: {}", crate::toml::listed(known()))),
                None => mistake.note("it has no checks"),
            };
            report(mistake, expected.name.span);
        }
    }
    let is_incremental = matches!(&node.body, Body::Table(table) if table.build.is_incremental());
    if let Some(prior) = test.prior.as_ref().filter(|_| !is_incremental) {
        let message = format!("`{}` is made of its inputs alone, so no rows are there before", node.name);
        let mistake = Report::error("wrong-kind", message);
        report(mistake.note("`prior` is for tables built `append`, `merge`, `interval` or `history`"), prior.span);
    }
    match &node.body {
        Body::Model(model) => {
            for gate in &test.metrics {
                if let Some(mistake) = metric_mistake(&gate.metric, Some(model.task)) {
                    report(mistake, gate.span);
                }
            }
        }
        _ => {
            if let Some(gate) = test.metrics.first() {
                let message = format!("`{}` is a {}, which has no metrics", node.name, node.kind());
                report(Report::error("wrong-kind", message), gate.span);
            }
            if let Some(examples) = &test.examples {
                let message = format!("`{}` is a {}, which has no training examples", node.name, node.kind());
                report(
                    Report::error("wrong-kind", message).hint("put the rows of its inputs under `given`"),
                    examples.span,
                );
            }
        }
    }
    reports
}
