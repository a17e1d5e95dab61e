//! Unit tests as values: what is given, what is expected, and where each of it is written. Nothing has a type yet: the types come
//! from the checked project.

use crate::{Gate, Project, Spanned};
use pelton_base::{NodeName, Place, Reports};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The unit tests of a project.
#[derive(Debug, Clone, Default)]
pub struct UnitTests {
    /// The tests of all files without a mistake, in the order of files and lines.
    pub list: Vec<UnitTest>,
    /// What is wrong with the other files.
    pub mistakes: Reports,
}

/// A file of tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFile {
    /// Its path, relative to the project, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// A unit test.
#[derive(Debug, Clone)]
pub struct UnitTest {
    /// The case's `name`; of a file without cases, the file's name.
    pub name: String,
    /// The file that it stands in.
    pub file: Arc<TestFile>,
    /// Where it begins in the file's text.
    pub span: (usize, usize),
    /// The table or model under test.
    pub node: NodeName,
    /// `now`, microseconds since the epoch.
    pub now_us: Option<i64>,
    /// `given`, by input.
    pub given: BTreeMap<NodeName, Given>,
    /// `prior` of an incremental table: the rows that it had before.
    pub prior: Option<Given>,
    /// `examples` of a model.
    pub examples: Option<Given>,
    /// `expect`.
    pub expect: Option<Rows>,
    /// `columns`; empty when they are those that `expect` names.
    pub columns: Vec<Spanned<String>>,
    /// `key`.
    pub key: Vec<Spanned<String>>,
    /// `tolerance`.
    pub tolerance: Option<f64>,
    /// `expect_checks`.
    pub checks: Option<Vec<ExpectedCheck>>,
    /// `expect_metrics` of a model; none is relative.
    pub metrics: Vec<Gate>,
}

/// Rows that are given.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Where the name is written.
    pub span: (usize, usize),
    /// The rows.
    pub rows: Rows,
}

/// A check that is expected to be broken.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedCheck {
    /// Its name.
    pub name: Spanned<String>,
    /// How many rows break it; any number when absent.
    pub rows: Option<u64>,
}

/// Rows, before they have types.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows {
    /// In the test file itself.
    Listed(ListedRows),
    /// In a data file: its path, relative to the project.
    File(Spanned<String>),
}

/// Rows that stand in the test file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListedRows {
    /// The columns that at least one row names, in the order of their first mention.
    pub columns: Vec<Spanned<String>>,
    /// The rows.
    pub rows: Vec<ListedRow>,
}

/// A row that stands in the test file.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedRow {
    /// Where it is written.
    pub span: (usize, usize),
    /// Its values by column of [`ListedRows::columns`]; one that is missing, or beyond the end, is null.
    pub cells: Vec<Option<Spanned<Literal>>>,
}

/// A value as it is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// Of TOML, as JSON; dates and times as text.
    Json(String),
    /// A cell of a table as text, without quotes.
    Bare(String),
    /// A cell of a table as text, in quotes.
    Quoted(String),
}

impl UnitTest {
    /// The place of a byte range of the test's file.
    pub fn place_at(&self, span: (usize, usize)) -> Place {
        Place::in_text(&self.file.path, &self.file.text, span.0, span.1)
    }

    /// The place where the test begins.
    pub fn place(&self) -> Place {
        self.place_at(self.span)
    }

    /// The nodes whose rows the test is about: the one under test, and what it is built from, down to what is given.
    ///
    /// Models are among them when a SELECT asks them for predictions; they are not trained, so what they are trained on is not.
    pub fn reached(&self, project: &Project) -> BTreeSet<NodeName> {
        let mut reached = BTreeSet::from([self.node.clone()]);
        if self.examples.is_some() {
            return reached;
        }
        let mut open = vec![self.node.clone()];
        while let Some(name) = open.pop() {
            let Some(node) = project.nodes.get(&name) else { continue };
            let is_tested = name == self.node;
            if !is_tested && (self.given.contains_key(&name) || node.kind() == "model") {
                continue;
            }
            // Checks that remove no row are asked of the node under test alone, and only when the test is about them.
            let asks_all = is_tested && self.checks.is_some();
            for (read, _) in node.reads.iter().filter(|(read, _)| asks_all || !node.checked_with.contains(read)) {
                if reached.insert(read.clone()) {
                    open.push(read.clone());
                }
            }
        }
        reached
    }
}

impl Project {
    /// The part of the project that these nodes are built from, themselves included.
    pub fn upstream(&self, names: impl IntoIterator<Item = NodeName>) -> Project {
        let mut open: Vec<NodeName> = names.into_iter().collect();
        let mut kept = BTreeSet::new();
        while let Some(name) = open.pop() {
            if let Some(node) = self.nodes.get(&name)
                && kept.insert(name)
            {
                open.extend(node.reads.iter().map(|(read, _)| read.clone()));
            }
        }
        Project {
            root: self.root.clone(),
            settings: self.settings.clone(),
            by_column_order: self.by_column_order.clone(),
            order: self.order.iter().filter(|name| kept.contains(*name)).cloned().collect(),
            nodes: self
                .nodes
                .iter()
                .filter(|(name, _)| kept.contains(*name))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
        }
    }
}
