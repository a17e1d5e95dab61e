//! [`Session`]: what the commands share, made when it is first needed.

use crate::args::Common;
use pelton_base::{Clock, Report, Reports};
use pelton_project::Project;
use pelton_query::Engine;
use pelton_runner::Context;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Within which limits an engine is to work.
#[derive(Debug, Clone)]
pub struct EngineLimits {
    /// What sorts, joins and aggregations may hold before they spill, in bytes.
    pub memory_bytes: u64,
    /// Threads; 0 means one a core.
    pub threads: usize,
}

/// Makes the engine of this process.
pub type MakeEngine = Box<dyn Fn(&EngineLimits) -> Result<Arc<dyn Engine>, Report> + Send + Sync>;

/// What the commands share.
pub(crate) struct Session {
    folder: Option<PathBuf>,
    /// The environment that is read and published to.
    pub(crate) environment: String,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// The command as it was typed, for the record of the run.
    pub(crate) typed: String,
    program: String,
    make_engine: MakeEngine,
}

impl Session {
    pub(crate) fn new(common: Common, make_engine: MakeEngine, clock: Arc<dyn Clock>, words: &[OsString]) -> Self {
        let program = words.first().map_or("pelton".into(), quoted);
        Session { folder: common.project, environment: common.env, clock, typed: typed(words), program, make_engine }
    }

    /// The folder with `pelton.toml`, around `--project` or the current folder.
    pub(crate) fn root(&self) -> Result<PathBuf, Report> {
        let start = self.folder.as_deref().unwrap_or(Path::new("."));
        pelton_project::find_root(start).ok_or_else(|| {
            let report = match &self.folder {
                Some(folder) => Report::error("no-project", format!("there is no project in `{}`", folder.display()))
                    .note("neither it nor a folder above it has a `pelton.toml`"),
                None => Report::error("no-project", "there is no project here")
                    .note("neither the current folder nor one above it has a `pelton.toml`"),
            };
            report.hint("pelton init DIR").hint("pelton demo")
        })
    }

    /// The checked project.
    pub(crate) fn project(&self) -> Result<Arc<Project>, Reports> {
        Ok(Arc::new(pelton_project::load(&self.root()?)?))
    }

    /// The program as it was called, so that a command that is shown can be pasted.
    pub(crate) fn program(&self) -> String {
        self.program.clone()
    }

    /// An engine within the project's limits.
    pub(crate) fn engine(&self, project: &Project) -> Result<Arc<dyn Engine>, Report> {
        self.engine_of(project, project.settings.engine.threads)
    }

    /// An engine within the project's limits, on so many threads; 0 is one a core.
    pub(crate) fn engine_of(&self, project: &Project, threads: usize) -> Result<Arc<dyn Engine>, Report> {
        (self.make_engine)(&EngineLimits { memory_bytes: project.settings.engine.memory_bytes, threads })
    }

    /// Everything for commands that build: makes the warehouse when there is none.
    pub(crate) fn context(&self) -> Result<Context, Reports> {
        self.context_of(self.project()?)
    }

    /// The checked project, for commands that tell what is published as well. Where a file of it has a mistake, the project
    /// without its nodes, and the mistakes: what is published does not change while a file is being edited.
    pub(crate) fn project_or_settings(&self) -> Result<(Arc<Project>, Reports), Reports> {
        let root = self.root()?;
        match pelton_project::load(&root) {
            Ok(project) => Ok((Arc::new(project), Reports::default())),
            Err(mistakes) => match pelton_project::load_settings(&root) {
                Ok(settings) => Ok((Arc::new(settings), mistakes)),
                Err(_) => Err(mistakes),
            },
        }
    }

    /// Everything for commands that look at a project and its warehouse; makes none.
    pub(crate) fn context_to_read(&self, project: Arc<Project>) -> Result<Context, Reports> {
        let engine = self.engine(&project)?;
        Context::open_to_read(project, engine, self.clock.clone())
    }

    /// As [`Session::context`], for a project that is loaded already.
    pub(crate) fn context_of(&self, project: Arc<Project>) -> Result<Context, Reports> {
        let engine = self.engine(&project)?;
        Context::open(project, engine, self.clock.clone())
    }

    /// Everything for commands that read what was published: of the project's files, only its settings.
    pub(crate) fn published(&self) -> Result<Context, Reports> {
        self.published_of(Arc::new(pelton_project::load_settings(&self.root()?)?))
    }

    /// As [`Session::published`], for a project that is loaded already.
    pub(crate) fn published_of(&self, project: Arc<Project>) -> Result<Context, Reports> {
        let engine = self.engine(&project)?;
        Context::open_existing(project, engine, self.clock.clone())
    }
}

/// The words of a command line as one could type them again; the program's path becomes `pelton`.
fn typed(words: &[OsString]) -> String {
    ["pelton".to_string()].into_iter().chain(words.iter().skip(1).map(quoted)).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back.
pub(crate) fn quoted(word: impl AsRef<OsStr>) -> String {
    let plain = |c: char| c.is_alphanumeric() || "+-_./:=,@%".contains(c);
    let word = word.as_ref().to_string_lossy();
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_recorded_as_it_could_be_typed_again() {
        let words = ["/usr/bin/pelton", "query", "select 'a'", "--format=csv", ""].map(OsString::from);
        assert_eq!(typed(&words), r"pelton query 'select '\''a'\''' --format=csv ''");
    }
}
