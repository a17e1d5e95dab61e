//! Laws over random histories of two environments, `main` and `try`: both are run, one is published to the other, `main` goes back,
//! rows in quarantine are repaired, what nobody needs is collected. After each of these:
//!
//! - what an environment has is what one full build gives of exactly the files that its sources say they took in, repairs included;
//! - what `main` knew it knows: the files that are gone, the repaired rows, the states that a history without `time` saw; only a
//!   rollback takes some of it out;
//! - a publication moves everything, or is refused and moves nothing; after a run of `try` it is not refused;
//! - a rollback gives back the digests of the publication that it names;
//! - every file is there with the rows that were written.
//!
//! `PELTON_TRIAL_SEEDS=7..8 PELTON_TRIAL_STEPS=40` replays a seed, or asks for more.

use crate::laws::{Lab, range, run_to_the_end, told};
use crate::program::{pelton, stderr, stdout};
use crate::world::World;
use pelton_base::{Digest, Reports};
use pelton_runner::{
    GcOptions, PublishOptions, Repaired, Replay, RollbackOptions, RunOptions, RunOutcome, VerifyOptions,
};
use pelton_store::SourceFile;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

const ENVIRONMENTS: [&str; 2] = ["main", "try"];

/// A history without `time`: no full build tells what it saw.
const SEEN: (&str, &str) = (
    "seen",
    "/* pelton\nbuild = \"history\"\nkey = \"id\"\n*/\nselect id, min(grp) as grp from source_0 where id is not null group by id",
);

/// What an environment has: the digest of each node.
type Digests = BTreeMap<String, String>;

/// What `main` knows beside what there is to be read.
#[derive(Default, PartialEq)]
struct Known {
    /// Of each file of each source, its content and how many rows of it were repaired.
    files: BTreeMap<(String, String), (Digest, usize)>,
    /// The states that were seen.
    seen: BTreeSet<String>,
}

impl Known {
    /// What of an earlier knowledge is not known any more. Another content of a file takes the place of what it had.
    fn lacks(&self, earlier: &Known) -> Vec<String> {
        let has = |file, content: Digest, repairs| {
            self.files.get(file).is_some_and(|has| has.0 != content || has.1 >= repairs)
        };
        let files = earlier.files.iter().filter(|(file, (content, repairs))| !has(file, *content, *repairs));
        let seen = earlier.seen.difference(&self.seen).map(|state| format!("that it saw {state}"));
        files.map(|((_, path), (_, repairs))| format!("{path} with {repairs} repaired rows")).chain(seen).collect()
    }
}

struct Trials {
    world: World,
    folder: tempfile::TempDir,
    lab: Lab,
    /// Every text that a file ever had.
    contents: BTreeMap<Digest, String>,
    /// What `main` had at each of its publications.
    publications: BTreeMap<i64, Digests>,
    known: Known,
    told: Vec<String>,
}

impl Trials {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        world.others.push(SEEN);
        let lab = Lab::with_threads(1 + (seed % 3) as usize);
        Trials {
            world,
            folder: tempfile::tempdir().unwrap(),
            lab,
            contents: BTreeMap::new(),
            publications: BTreeMap::new(),
            known: Known::default(),
            told: vec!["made".into()],
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&mut self) {
        self.world.write(self.folder.path());
        let texts = self.world.sources.iter().flat_map(|source| source.files.values());
        self.contents.extend(texts.map(|data| (Digest::of(data.text.as_bytes()), data.text.clone())));
    }

    /// What each source of an environment took in.
    fn taken_in(&self, environment: &str) -> BTreeMap<String, Vec<SourceFile>> {
        let ctx = self.lab.context(self.path()).unwrap();
        let state = ctx.warehouse.state();
        let heads = state.heads(environment).unwrap().into_iter().filter(|head| head.kind == "source");
        heads.map(|head| (head.node.to_string(), state.source_files(&head.id).unwrap())).collect()
    }

    fn known(&self, environment: &str) -> Known {
        let taken_in = self.taken_in(environment);
        let files = taken_in.into_iter().flat_map(|(source, files)| {
            files.into_iter().map(move |file| ((source.clone(), file.path), (file.digest, file.repairs.len())))
        });
        let seen = "select distinct id, grp from seen";
        let output = pelton(self.path(), &["query", seen, "--env", environment, "--format", "csv"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let seen = stdout(&output).lines().skip(1).map(str::to_string).collect();
        Known { files: files.collect(), seen }
    }

    /// `main` may know more than before, and not less.
    fn nothing_is_forgotten(&mut self) -> Result<(), String> {
        let known = self.known("main");
        let lacking = known.lacks(&self.known);
        self.known = known;
        if lacking.is_empty() { Ok(()) } else { Err(format!("`main` does not know any more: {}", lacking.join(", "))) }
    }

    /// Notes what `main` has at a publication.
    fn note(&mut self, publication: Option<i64>) {
        let digests = self.lab.digests_of(self.path(), "main");
        self.publications.extend(publication.map(|id| (id, digests)));
    }

    async fn run_once(&self, environment: &str, options: RunOptions) -> Result<RunOutcome, Reports> {
        let options = RunOptions { environment: environment.into(), ..options };
        pelton_runner::run(&self.lab.context(self.path())?, &options, &|_| {}).await
    }

    /// Runs an environment; everything of it is then what a full build gives.
    async fn run(&mut self, environment: &str, replay: Option<Replay>) -> Result<(), String> {
        self.write();
        let options = RunOptions { replay, ..RunOptions::default() };
        let options = match &options.replay {
            None => options,
            Some(replay) => {
                let ctx = self.lab.context(self.path()).map_err(|reports| told(&reports))?;
                pelton_runner::replay(&ctx, options.clone(), replay.clone()).await.map_err(|reports| told(&reports))?
            }
        };
        let is_part = options.replay.is_some();
        let mut outcome = self.run_once(environment, options.clone()).await;
        if outcome.as_ref().is_err_and(|reports| reports.0[0].code == "rolled-back") {
            self.told.push(format!("{environment} rolls forward"));
            outcome = self.run_once(environment, RunOptions { roll_forward: true, ..options }).await;
        }
        let outcome = match outcome {
            // The rows may be in quarantine under other settings, or not be there any more.
            Err(reports) if is_part && reports.0[0].code == "not-replayed" => {
                self.told.push(format!("not replayed: {}", reports.0[0].message));
                return Ok(());
            }
            outcome => outcome.map_err(|reports| format!("a run of {environment} is refused: {}", told(&reports)))?,
        };
        if !outcome.failed.is_empty() || outcome.reports.has_errors() {
            return Err(format!("a run of {environment} failed: {}", told(&outcome.reports)));
        }
        if is_part {
            // Only the source and what reads it was built: a whole run takes in what else there is.
            self.told.push(format!("replayed: {:?} were built", outcome.built));
            let whole = self.run_once(environment, RunOptions::default()).await;
            let whole = whole.map_err(|reports| told(&reports))?;
            if !whole.failed.is_empty() || whole.reports.has_errors() {
                return Err(format!("a run of {environment} after a replay failed: {}", told(&whole.reports)));
            }
        }
        let again = self.run_once(environment, RunOptions::default()).await.map_err(|reports| told(&reports))?;
        if again.published || !again.built.is_empty() || !again.reused.is_empty() {
            return Err(format!(
                "law 1: a second run of {environment} built {:?}, reused {:?}",
                again.built, again.reused
            ));
        }
        if environment == "main" {
            self.note(again.publication);
            self.nothing_is_forgotten()?;
        }
        self.is_a_full_build(environment).await
    }

    /// Whether what an environment has is what a full build gives of the files that it says it took in.
    async fn is_a_full_build(&self, environment: &str) -> Result<(), String> {
        let full = tempfile::tempdir().unwrap();
        self.world.write(full.path());
        let taken_in = self.taken_in(environment);
        for source in &self.world.sources {
            let files = &taken_in[&source.name];
            for (path, data) in &source.files {
                let digest = Digest::of(data.text.as_bytes());
                if !files.iter().any(|file| file.path == *path && file.digest == digest) {
                    return Err(format!("{environment} did not take in {path}"));
                }
            }
            for file in files {
                // A file that was gone when other files changed the types is as it was read then.
                if file.is_outdated {
                    return Ok(());
                }
                std::fs::write(full.path().join(&file.path), repaired(&self.contents[&file.digest], file)).unwrap();
            }
        }
        let outcome = self.lab.run(full.path()).await.map_err(|reports| told(&reports))?;
        if !outcome.failed.is_empty() {
            return Err(format!("the full build failed: {}", told(&outcome.reports)));
        }
        differing(&self.lab.digests_of(self.path(), environment), &self.lab.digests(full.path())).map_or(
            Ok(()),
            |differing| {
                let kept = full.keep();
                Err(format!("{environment} is not what a full build in {} gives: {differing}", kept.display()))
            },
        )
    }

    /// Repairs the wrong rows of a file, in an environment.
    async fn replay(&mut self, environment: &str) -> Result<(), String> {
        let mut taken_in = self.taken_in(environment);
        let at = self.world.draw.below(taken_in.len());
        let Some((source, files)) = taken_in.iter_mut().nth(at) else { return Ok(()) };
        // A row whose key another one had meanwhile stays out, and which one of them is first is told by the files.
        let is_keyed = self.world.sources.iter().any(|one| one.name == *source && one.has_key);
        if files.is_empty() || is_keyed {
            return Ok(());
        }
        let file = files.swap_remove(self.world.draw.below(files.len()));
        let lines = self.contents[&file.digest].lines().enumerate().filter(|(_, line)| line.contains("much"));
        let rows: Vec<Repaired> = lines
            .map(|(at, line)| Repaired {
                id: None,
                file: file.path.clone(),
                line: at as u64 + 1,
                text: line.replace("\"much\"", "5.25").replace("much", "5.25"),
            })
            .collect();
        if rows.is_empty() || file.is_outdated {
            return Ok(());
        }
        self.told.push(format!("{} rows of {} are repaired in {environment}", rows.len(), file.path));
        let replay = Replay { node: source.as_str().into(), check: None, repaired: Some(rows) };
        self.run(environment, Some(replay)).await
    }

    /// Publishes one environment to the other. What was not built on what the other has is refused, until it is.
    async fn publish(&mut self, from: &str, to: &str) -> Result<(), String> {
        self.write();
        for attempt in 0..2 {
            let before = self.lab.digests_of(self.path(), to);
            let wanted = self.lab.digests_of(self.path(), from);
            let ctx = self.lab.context(self.path()).map_err(|reports| told(&reports))?;
            let options = PublishOptions { from: from.into(), to: to.into(), force: false, command: "publish".into() };
            let moved = pelton_runner::publish(&ctx, &options).await;
            let after = self.lab.digests_of(self.path(), to);
            match moved {
                Ok(moved) => {
                    if moved.exit_code() != 0 {
                        return Err(format!("publishing {from} failed: {}", told(&moved.reports)));
                    }
                    self.told.push(format!("{from} is published to {to}: {} nodes", moved.nodes.len()));
                    let wrong = wanted.iter().filter(|(node, digest)| after.get(*node) != Some(digest));
                    let kept = after.iter().filter(|(node, _)| !wanted.contains_key(*node));
                    let wrong = wrong.chain(kept.filter(|(node, digest)| before.get(*node) != Some(digest)));
                    let wrong: Vec<&String> = wrong.map(|(node, _)| node).collect();
                    if !wrong.is_empty() {
                        return Err(format!("{from} was published to {to}, but not {wrong:?}"));
                    }
                    if to == "main" {
                        self.note(moved.publication);
                        self.nothing_is_forgotten()?;
                    }
                    return Ok(());
                }
                Err(reports) => {
                    let code = reports.0[0].code;
                    self.told.push(format!("{from} is not published to {to}: {}", told(&reports)));
                    if after != before {
                        return Err(format!("a publication was refused and changed {to}"));
                    }
                    let is_absent = matches!(code, "nothing-published" | "unknown-environment");
                    let is_expected = is_absent || matches!(code, "environment-moved" | "check-failed");
                    // After a rollback, or with files that `main` never saw, `try` may know all that `main` does: a run does not change that, and
                    // `--force` has to be said.
                    let is_held = reports.0[0].notes.iter().any(|note| note.contains("would change none of that"));
                    let lacking =
                        if is_held && from != "main" { self.known(from).lacks(&self.known(to)) } else { Vec::new() };
                    if !lacking.is_empty() {
                        return Err(format!(
                            "{from} does not know, and a run would not change it: {}",
                            lacking.join(", ")
                        ));
                    }
                    if !is_expected || (attempt == 1 && !is_held) {
                        return Err(format!("publishing {from} to {to} is refused: {}", told(&reports)));
                    }
                    if is_held || from == "main" || is_absent {
                        return Ok(());
                    }
                    self.run(from, None).await?;
                }
            }
        }
        Ok(())
    }

    /// `main` goes back to one of its publications.
    async fn roll_back(&mut self) -> Result<(), String> {
        self.write();
        let past: Vec<i64> = self.publications.keys().copied().collect();
        let to = past.get(self.world.draw.below(past.len() + 1)).copied();
        let ctx = self.lab.context(self.path()).map_err(|reports| told(&reports))?;
        let options = RollbackOptions { environment: "main".into(), to, command: "rollback".into() };
        match pelton_runner::rollback(&ctx, &options).await {
            Err(reports) if reports.0[0].code == "unknown-publication" || reports.0[0].code == "nothing-published" => {
                self.told.push(format!("main does not go back to {to:?}"));
                Ok(())
            }
            Err(reports) => Err(format!("a rollback is refused: {}", told(&reports))),
            Ok(moved) => {
                let back = moved.restores.expect("a rollback names what it restores");
                self.told.push(format!("main goes back to {back}"));
                if to.is_some_and(|to| to != back) {
                    return Err(format!("main went back to {back} instead of {to:?}"));
                }
                if let Some(differing) = differing(&self.lab.digests_of(self.path(), "main"), &self.publications[&back])
                {
                    return Err(format!("main is not what it was at {back}: {differing}"));
                }
                self.note(moved.publication);
                self.known = self.known("main");
                Ok(())
            }
        }
    }

    /// Removes what nobody needs; what environments have is untouched.
    async fn collect(&mut self) -> Result<(), String> {
        self.write();
        let had = ENVIRONMENTS.map(|environment| self.lab.digests_of(self.path(), environment));
        let ctx = self.lab.context(self.path()).map_err(|reports| told(&reports))?;
        let options = GcOptions {
            keep_us: Some(0),
            publications: Some(1 + self.world.draw.below(3) as u64),
            remove: true,
            environment: "main".into(),
            command: "gc".into(),
        };
        let collected = pelton_runner::gc(&ctx, &options).await.map_err(|reports| told(&reports))?;
        self.told.push(format!("{} versions, {} files are removed", collected.versions.len(), collected.files.len()));
        match ENVIRONMENTS.map(|environment| self.lab.digests_of(self.path(), environment)) == had {
            true => Ok(()),
            false => Err("gc changed what an environment has".into()),
        }
    }

    /// Reads all rows of all versions.
    async fn is_sound(&self) -> Result<(), String> {
        let ctx = self.lab.context(self.path()).map_err(|reports| told(&reports))?;
        let options = VerifyOptions { repair: false, rows: true, environment: "main".into(), command: "verify".into() };
        let verified = pelton_runner::verify(&ctx, &options).await.map_err(|reports| told(&reports))?;
        match verified.findings.is_empty() {
            true => Ok(()),
            false => Err(format!("the warehouse is damaged: {:?}", verified.findings)),
        }
    }

    async fn step(&mut self) -> Result<(), String> {
        for _ in 0..self.world.draw.below(3) {
            let change = self.world.change();
            self.told.push(change);
        }
        let environment = self.world.draw.one_of(&ENVIRONMENTS);
        match self.world.draw.below(12) {
            0..=4 => {
                self.told.push(format!("a run of {environment}"));
                self.run(environment, None).await?;
            }
            5..=7 => self.publish("try", "main").await?,
            8 => self.publish("main", "try").await?,
            9 => self.roll_back().await?,
            10 => self.collect().await?,
            _ => self.replay(environment).await?,
        }
        self.world.was_taken_in();
        self.is_sound().await
    }
}

/// A file's text with its repairs in place.
fn repaired(text: &str, file: &SourceFile) -> String {
    let repairs: BTreeMap<u64, &str> = file.repairs.iter().map(|one| (one.line, one.text.as_str())).collect();
    let lines = text.lines().enumerate();
    lines.map(|(at, line)| format!("{}\n", repairs.get(&(at as u64 + 1)).unwrap_or(&line))).collect()
}

/// Which nodes differ, but for the history of what was seen when.
fn differing(has: &Digests, expected: &Digests) -> Option<String> {
    let nodes: BTreeSet<&String> = has.keys().chain(expected.keys()).filter(|node| *node != SEEN.0).collect();
    let differing = nodes.into_iter().filter(|node| has.get(*node) != expected.get(*node));
    let text = |of: Option<&String>| of.map_or_else(|| "nothing".to_string(), String::clone);
    let said: Vec<String> = differing
        .map(|node| format!("{node} has {}, expected {}", text(has.get(node)), text(expected.get(node))))
        .collect();
    (!said.is_empty()).then(|| said.join("\n"))
}

fn histories(seeds: Range<u64>) {
    let seeds = range("PELTON_TRIAL_SEEDS", seeds);
    let steps = range("PELTON_TRIAL_STEPS", 0..20).end;
    run_to_the_end(async move {
        for seed in seeds {
            let mut trials = Trials::new(seed);
            for step in 0..steps {
                trials.told.push(format!("-- {step}"));
                let held = if step == 0 { trials.run("main", None).await } else { trials.step().await };
                if let Err(why) = held {
                    let replay = format!("PELTON_TRIAL_SEEDS={seed}..{} PELTON_TRIAL_STEPS={}", seed + 1, step + 1);
                    let (kept, told) = (trials.folder.keep(), trials.told.join("\n  "));
                    panic!("{why}\n{replay}, in {}\nwhat happened:\n  {told}", kept.display());
                }
            }
        }
    });
}

#[test]
fn environments_hold_over_random_histories_first_part() {
    histories(0..4);
}

#[test]
fn environments_hold_over_random_histories_second_part() {
    histories(4..8);
}
