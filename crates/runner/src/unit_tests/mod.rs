//! Unit tests: given some rows, a table must have these rows, or a model reach these metrics.
//!
//! `prepare` gives a test the types of the project and finds its mistakes, `bench` runs it in memory through the port, `left` says
//! what an incremental build leaves, `compare` tells how rows differ. No warehouse is opened: tests give the same answer on every machine that has the project's files.

mod bench;
mod compare;
mod left;
mod prepare;
mod rows;

pub use compare::{DifferentRow, DifferentValue, RowsDiffer};

use crate::check::{self, Types};
use bench::Bench;
use pelton_base::{NodeName, Report, Reports, parallel};
use pelton_project::{Project, UnitTest, UnitTests, select};
use pelton_query::Engine;
use prepare::Prepared;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A row that a check sent to quarantine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Removed {
    /// The check.
    pub check: String,
    /// What it broke.
    pub reason: String,
    /// The row.
    pub row: Value,
}

/// A check that was broken by other rows than expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokenCheck {
    /// The check.
    pub check: String,
    /// Whether it was expected to be broken.
    pub is_expected: bool,
    /// By how many rows, when the test says so.
    pub expected_rows: Option<u64>,
    /// How many rows break it.
    pub rows: u64,
}

/// A metric and its bound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricBound {
    /// The bound as written.
    pub rule: String,
    /// The metric.
    pub metric: String,
    /// The metric on the test part; missing when it is not defined there.
    pub value: Option<f64>,
    /// Whether the bound is met.
    pub met: bool,
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tested {
    /// Its name.
    pub name: String,
    /// The file that it stands in.
    pub file: String,
    /// The line where it begins.
    pub line: usize,
    /// What was tested.
    pub node: NodeName,
    /// Whether everything was as expected.
    pub passed: bool,
    /// How long it took, milliseconds.
    pub elapsed_ms: u64,
    /// How the rows differ; absent when they do not.
    pub rows: Option<RowsDiffer>,
    /// The rows that checks sent to quarantine.
    pub removed: Vec<Removed>,
    /// Checks that did not do what was expected.
    pub checks: Vec<BrokenCheck>,
    /// The metrics that were asked for.
    pub metrics: Vec<MetricBound>,
    /// Why it could not be run to its end.
    pub errors: Reports,
}

/// What came of all tests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TestsOutcome {
    /// How many passed.
    pub passed: usize,
    /// How many did not.
    pub failed: usize,
    /// How long all of them took, milliseconds.
    pub elapsed_ms: u64,
    /// The tests, in the order of files and lines.
    pub tests: Vec<Tested>,
}

impl TestsOutcome {
    /// 0 when all tests passed, else 1.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.failed > 0)
    }
}

/// Runs the tests that the words select: selectors of the nodes under test, or `path:` with a test's file or folder; all without
/// words. `on_done` hears of each test, in the order of files and lines.
///
/// Tests run beside each other, so it must be called within a multi-threaded tokio runtime.
///
/// Fails, before any test runs, with every mistake in the test files, or in what the tests stand on.
pub async fn test(
    project: &Project,
    tests: UnitTests,
    engine: &dyn Engine,
    words: &[String],
    on_done: &(dyn Fn(&Tested) + Send + Sync),
) -> Result<TestsOutcome, Reports> {
    let began = Instant::now();
    let UnitTests { list, mut mistakes } = tests;
    let chosen = match chosen(project, &list, words) {
        // Which tests a file with a mistake has is not known, so it may have those that are asked for.
        Err(_) if mistakes.has_errors() => return Err(mistakes),
        chosen => chosen?,
    };
    let part = project.upstream(chosen.iter().map(|test| test.node.clone()));
    let types = check::types(&part, engine, None)?;
    let prepared = match prepared(&part, &types, &chosen) {
        Ok(prepared) if !mistakes.has_errors() => prepared,
        more => {
            mistakes.extend(more.err().unwrap_or_default());
            return Err(mistakes);
        }
    };
    let threads = match project.settings.engine.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        threads => threads,
    };
    let bench = Bench { project: &part, types: &types, engine, threads };
    let done = Mutex::new(Done { tests: Vec::new(), waiting: BTreeMap::new() });
    let runtime = tokio::runtime::Handle::current();
    let run = |(at, prepared): &(usize, Prepared<'_>)| {
        let tested = runtime.block_on(bench.test(prepared));
        done.lock().unwrap_or_else(PoisonError::into_inner).take(*at, tested, on_done);
    };
    let prepared: Vec<(usize, Prepared<'_>)> = prepared.into_iter().enumerate().collect();
    tokio::task::block_in_place(|| parallel::map(&prepared, threads, run));
    let tests = done.into_inner().unwrap_or_else(PoisonError::into_inner).tests;
    let passed = tests.iter().filter(|test| test.passed).count();
    let elapsed_ms = began.elapsed().as_millis() as u64;
    Ok(TestsOutcome { passed, failed: tests.len() - passed, elapsed_ms, tests })
}

/// Tests end in any order, and are told in theirs.
struct Done {
    tests: Vec<Tested>,
    waiting: BTreeMap<usize, Tested>,
}

impl Done {
    fn take(&mut self, at: usize, tested: Tested, on_done: &(dyn Fn(&Tested) + Send + Sync)) {
        self.waiting.insert(at, tested);
        while let Some(tested) = self.waiting.remove(&self.tests.len()) {
            on_done(&tested);
            self.tests.push(tested);
        }
    }
}

/// Finds what is wrong with tests over a project whose types are known.
pub(crate) fn mistakes(project: &Project, types: &Types, tests: &[UnitTest]) -> Reports {
    let chosen: Vec<&UnitTest> = tests.iter().collect();
    prepared(project, types, &chosen).err().unwrap_or_default()
}

fn prepared<'a>(project: &Project, types: &Types, tests: &[&'a UnitTest]) -> Result<Vec<Prepared<'a>>, Reports> {
    let (mut prepared, mut mistakes) = (Vec::new(), Reports::default());
    for test in tests {
        match prepare::prepare(project, types, test) {
            Ok(test) => prepared.push(test),
            // What stands above the cases is wrong in each of them, and told once.
            Err(reports) => reports.0.into_iter().for_each(|report| {
                if !mistakes.0.contains(&report) {
                    mistakes.push(report);
                }
            }),
        }
    }
    mistakes.0.sort_by_key(|report| report.at.as_ref().map(|at| (at.file.clone(), at.line, at.column)));
    if mistakes.has_errors() { Err(mistakes) } else { Ok(prepared) }
}

fn chosen<'a>(project: &Project, tests: &'a [UnitTest], words: &[String]) -> Result<Vec<&'a UnitTest>, Reports> {
    if words.is_empty() {
        return Ok(tests.iter().collect());
    }
    let in_file = |test: &UnitTest, word: &str| {
        let Some(path) = word.strip_prefix("path:") else { return false };
        let path = path.trim_start_matches("./").trim_end_matches('/');
        test.file.path == path || test.file.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
    };
    let (of_files, of_nodes): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| tests.iter().any(|test| in_file(test, word)));
    let of_nodes: Vec<String> = of_nodes.into_iter().cloned().collect();
    let nodes = if of_nodes.is_empty() { Default::default() } else { select(project, &of_nodes)? };
    let is_chosen = |test: &&UnitTest| nodes.contains(&test.node) || of_files.iter().any(|word| in_file(test, word));
    let chosen: Vec<&UnitTest> = tests.iter().filter(is_chosen).collect();
    if chosen.is_empty() {
        let selected = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let report = Report::error("no-tests", format!("no test is of what {selected} selects"));
        let all = if tests.len() == 1 { "1 test".to_string() } else { format!("{} tests", tests.len()) };
        return Err(report.note(format!("the project has {all}")).into());
    }
    Ok(chosen)
}
