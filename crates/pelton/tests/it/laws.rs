//! Laws 1, 2 and 4 over random histories: after every change of a random project, a second run builds nothing, every record of every
//! file is accounted for, and every node has the digest that one full build of the same files gives.
//!
//! `PELTON_LAW_SEEDS=7..8 PELTON_LAW_STEPS=40` replays a seed, or asks for more.

use crate::world::World;
use pelton_base::{Clock, Report, Reports, SystemClock};
use pelton_engine::{Limits, LocalEngine};
use pelton_query::Engine;
use pelton_runner::{Context, RunOptions, RunOutcome};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// How many threads build step by step, by the seed, and how many at once: results do not depend on them.
const THREADS: [(usize, usize); 4] = [(2, 1), (1, 8), (8, 2), (3, 3)];

/// Runs in this process, with the engine of the product.
pub(crate) struct Lab {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with_threads(2)
    }

    pub(crate) fn with_threads(threads: usize) -> Self {
        let limits = Limits { threads, ..Limits::default() };
        Lab { engine: Arc::new(LocalEngine::new(&limits).unwrap()), clock: Arc::new(SystemClock) }
    }

    pub(crate) fn context(&self, folder: &Path) -> Result<Context, Reports> {
        Context::open(Arc::new(pelton_project::load(folder)?), self.engine.clone(), self.clock.clone())
    }

    pub(crate) async fn run(&self, folder: &Path) -> Result<RunOutcome, Reports> {
        pelton_runner::run(&self.context(folder)?, &RunOptions::default(), &|_| {}).await
    }

    /// The digest of every published node.
    pub(crate) fn digests(&self, folder: &Path) -> BTreeMap<String, String> {
        self.digests_of(folder, "main")
    }

    /// The digest of every node of an environment.
    pub(crate) fn digests_of(&self, folder: &Path, environment: &str) -> BTreeMap<String, String> {
        let heads = self.context(folder).unwrap().warehouse.state().heads(environment).unwrap();
        heads.into_iter().map(|head| (head.node.to_string(), format!("{} {} rows", head.digest, head.rows))).collect()
    }
}

pub(crate) fn told(reports: &Reports) -> String {
    reports.0.iter().map(Report::to_string).collect::<Vec<_>>().join("\n")
}

/// Law 4, file by file.
fn every_record_is_accounted_for(lab: &Lab, world: &World, folder: &Path) -> Result<(), String> {
    let ctx = lab.context(folder).map_err(|reports| told(&reports))?;
    let state = ctx.warehouse.state();
    for source in &world.sources {
        let heads = state.heads("main").unwrap();
        let head = heads.iter().find(|head| head.node.as_str() == source.name).ok_or("a source is not published")?;
        let files = state.source_files(&head.id).unwrap();
        // Rows of a file that is gone stay.
        for (path, data) in source.files.iter().chain(&source.gone) {
            let file =
                files.iter().find(|file| file.path == *path).ok_or_else(|| format!("{path} was not taken in"))?;
            let (rows, kept_out, dropped) = (file.rows, file.quarantined, file.dropped);
            if rows + kept_out + dropped != data.records {
                return Err(format!(
                    "{path} has {} records: {rows} rows, {kept_out} in quarantine, {dropped} dropped",
                    data.records
                ));
            }
        }
        let sum = |of: fn(&pelton_store::SourceFile) -> u64| files.iter().map(of).sum::<u64>();
        let counted = (sum(|file| file.rows), sum(|file| file.quarantined), sum(|file| file.dropped));
        if counted != (head.rows, head.quarantined, head.dropped) {
            return Err(format!("{}: {counted:?} of its files are not what its version says", source.name));
        }
    }
    Ok(())
}

async fn laws_hold((lab, at_once): (&Lab, &Lab), world: &World, folder: &Path) -> Result<(), String> {
    world.write(folder);
    let outcome = lab.run(folder).await.map_err(|reports| told(&reports))?;
    if !outcome.failed.is_empty() || outcome.reports.has_errors() {
        return Err(format!("the run failed: {}", told(&outcome.reports)));
    }
    let again = lab.run(folder).await.map_err(|reports| told(&reports))?;
    let idle = again.built.is_empty() && again.reused.is_empty() && again.checked.is_empty() && !again.published;
    if !idle || again.skipped.len() != world.sources.len() + world.tables.len() {
        return Err(format!(
            "law 1: a second run built {:?}, reused {:?}, checked {:?}, skipped {}",
            again.built,
            again.reused,
            again.checked,
            again.skipped.len()
        ));
    }
    every_record_is_accounted_for(lab, world, folder).map_err(|why| format!("law 4: {why}"))?;
    // A full build cannot see files that are gone. Once all of them are back, nothing tells that they ever were.
    if !world.is_whole() {
        return Ok(());
    }
    let full = tempfile::tempdir().unwrap();
    world.write(full.path());
    let outcome = at_once.run(full.path()).await.map_err(|reports| told(&reports))?;
    if !outcome.failed.is_empty() {
        return Err(format!("the full build failed: {}", told(&outcome.reports)));
    }
    let (step, once) = (lab.digests(folder), lab.digests(full.path()));
    let differing = once.iter().filter(|(node, digest)| step.get(*node) != Some(digest));
    let differing: Vec<String> = differing
        .map(|(node, digest)| {
            format!("{node}: {} step by step, {digest} at once", step.get(node).map_or("none", |d| d))
        })
        .collect();
    match differing.is_empty() && step.len() == once.len() {
        true => Ok(()),
        false => Err(format!("law 2: {}", differing.join("\n"))),
    }
}

/// A run in which a check stops a table publishes nothing, and the next one goes on from there.
async fn a_failed_run_changes_nothing(lab: &Lab, world: &mut World, folder: &Path) -> Result<(), String> {
    let before = lab.digests(folder);
    let Some((at, table)) = world.break_a_table() else { return Ok(()) };
    world.write(folder);
    let outcome = lab.run(folder).await.map_err(|reports| told(&reports))?;
    if outcome.exit_code() != 1 || outcome.published || outcome.failed.len() != 1 {
        return Err(format!("a broken check of {} did not stop the run: {outcome:?}", table.name));
    }
    if lab.digests(folder) != before {
        return Err(format!("the failed {} changed what is published", table.name));
    }
    world.tables[at] = table;
    Ok(())
}

pub(crate) fn range(name: &str, default: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var(name) else { return default };
    match text.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => 0..text.parse().unwrap(),
    }
}

/// As the program has it, with fewer threads.
fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).thread_stack_size(8 << 20).enable_all().build().unwrap()
}

/// Runs it in the runtime; what it panics with is passed on.
pub(crate) fn run_to_the_end<T: Send + 'static>(walk: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = runtime();
    match runtime.block_on(runtime.spawn(walk)) {
        Ok(done) => done,
        Err(broken) => std::panic::resume_unwind(broken.into_panic()),
    }
}

fn histories(seeds: Range<u64>) {
    let seeds = range("PELTON_LAW_SEEDS", seeds);
    let steps = range("PELTON_LAW_STEPS", 0..12).end;
    run_to_the_end(async move {
        for seed in seeds {
            let (threads, at_once) = THREADS[(seed % THREADS.len() as u64) as usize];
            let (lab, at_once) = (Lab::with_threads(threads), Lab::with_threads(at_once));
            let folder = tempfile::tempdir().unwrap();
            let mut world = World::new(seed);
            let mut changes = vec!["made".to_string()];
            for step in 0..=steps {
                if step > 0 {
                    changes.push(world.change());
                    while world.draw.once_in(3) {
                        changes.push(world.change());
                    }
                }
                let held = match step % 6 {
                    5 => a_failed_run_changes_nothing(&lab, &mut world, folder.path()).await,
                    _ => Ok(()),
                };
                let held = match held {
                    Ok(()) => laws_hold((&lab, &at_once), &world, folder.path()).await,
                    broken => broken,
                };
                world.was_taken_in();
                if let Err(why) = held {
                    let kept = folder.keep();
                    let replay = format!("PELTON_LAW_SEEDS={seed}..{} PELTON_LAW_STEPS={step}", seed + 1);
                    panic!("{why}\n{replay}, in {}\nchanges:\n  {}", kept.display(), changes.join("\n  "));
                }
            }
        }
    });
}

#[test]
fn laws_hold_over_random_histories_first_part() {
    histories(0..5);
}

#[test]
fn laws_hold_over_random_histories_second_part() {
    histories(5..10);
}
