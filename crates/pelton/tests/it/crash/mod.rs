//! The crash campaign: law 3, kill -9 anywhere and run again, is as if nothing had happened, and no reader ever saw half of it.
//!
//! A scene is a small project with a warehouse and a command. Its calm run says how often it passes each failpoint, and what is
//! published then. The campaign has the command die at such moments, and at random times, while a reader looks at the warehouse all
//! the time; then the command is given again, and gc. In the end the published digests are those of the calm run, every file
//! belongs to somebody, every node has its decision, and the reader saw nothing but the state before and the state after. In one scene
//! another process reads the rows of two tables that are always published together ([`rows`]).
//!
//! `PELTON_CRASH_SEED` repeats a campaign, `PELTON_CRASH_RUNS` says how many kills it has, `PELTON_CRASH_SCENE` takes one scene.

pub(crate) mod owned;
mod reader;
pub(crate) mod rows;
pub(crate) mod scenes;

use crate::program::{PELTON, pelton, stderr, stdout};
use owned::Showing;
use pelton_base::{Seed, fail};
use reader::{Published, Reader};
use rows::RowReader;
use scenes::{SCENES, Scene};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Kills in all scenes together, unless `PELTON_CRASH_RUNS` says otherwise; several hundred in less than three minutes on two cores.
const RUNS: u64 = 360;

/// One of so many kills comes at a random time instead of at a failpoint.
const RANDOM_EVERY: u64 = 4;

/// How many threads go on where one died: results do not depend on it.
const THREADS: [usize; 3] = [1, 2, 8];

/// The campaign is cut into so many tests, which run beside each other.
const PARTS: usize = 2;

#[test]
fn crash_campaign_first_part() {
    campaign(0);
}

#[test]
fn crash_campaign_second_part() {
    campaign(1);
}

#[test]
fn every_failpoint_is_passed_by_some_scene_and_told_in_the_docs() {
    let mut passed = BTreeSet::new();
    for scene in SCENES {
        let folder = tempfile::tempdir().unwrap();
        scene.prepare(folder.path());
        let calm = Calm::of(scene, folder.path());
        passed.extend(calm.moments.into_iter().map(|(name, _)| name));
    }
    let all: BTreeSet<String> = fail::ALL.iter().map(|(_, name, _)| name.to_string()).collect();
    assert_eq!(all.difference(&passed).collect::<Vec<_>>(), Vec::<&String>::new(), "passed by no scene");

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/adr/0013-failpoints-and-locks.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let told: Vec<(&str, &str)> = rows.map(|(name, when)| (name, when.trim_end_matches(" |"))).collect();
    let wanted: Vec<(&str, &str)> = fail::ALL.iter().map(|(_, name, when)| (*name, *when)).collect();
    assert_eq!(told, wanted, "the page tells of other failpoints than there are");
}

#[test]
fn a_failpoint_that_does_not_exist_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), &["explain"], &[("PELTON_FAILPOINT", "stage.fiel=abort")]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("there is no failpoint `stage.fiel`"), "{}", stderr(&output));
}

/// What a scene does when nobody disturbs it.
struct Calm {
    before: Published,
    after: Published,
    /// Every moment at which it can die: a failpoint and how often it was passed before, 1 for the first time.
    moments: Vec<(String, u64)>,
    took: Duration,
}

impl Calm {
    fn of(scene: &Scene, template: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(template, folder.path());
        let before = Published::read(folder.path()).unwrap_or_default();
        let counts = folder.path().join("counts");
        let began = Instant::now();
        let (status, said) =
            scene.command(folder.path(), &[("PELTON_FAILPOINT_COUNTS", &counts.display().to_string())]);
        assert!(status.success(), "{}: {said}", scene.name);
        let took = began.elapsed();
        let mut moments = Vec::new();
        for line in fs::read_to_string(&counts).unwrap().lines() {
            let (name, count) = line.split_once(' ').unwrap();
            moments.extend((1..=count.parse::<u64>().unwrap()).map(|nth| (name.to_string(), nth)));
        }
        let after = Published::read(folder.path()).unwrap_or_default();
        scene.check(folder.path());
        scene.check_calm(folder.path());
        Calm { before, after, moments, took }
    }
}

#[expect(clippy::print_stdout, reason = "a seed that nobody sees cannot be used again")]
fn campaign(part: usize) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("PELTON_CRASH_SEED").unwrap_or_else(|| Seed(u64::from(std::process::id())).derive("crash").0);
    let runs = number("PELTON_CRASH_RUNS").unwrap_or(RUNS);
    let only = std::env::var("PELTON_CRASH_SCENE").ok();
    println!("PELTON_CRASH_SEED={seed} PELTON_CRASH_RUNS={runs}");
    let weights: u64 = SCENES.iter().map(|scene| scene.weight).sum();
    let began = Instant::now();
    let (mut kills, mut missed) = (0u64, 0u64);
    for (at, scene) in SCENES.iter().enumerate() {
        if at % PARTS != part || only.as_ref().is_some_and(|only| only != scene.name) {
            continue;
        }
        let template = tempfile::tempdir().unwrap();
        scene.prepare(template.path());
        let calm = Calm::of(scene, template.path());
        let of_scene = Seed(seed).derive(scene.name);
        for (at, death) in deaths(&calm, runs * scene.weight / weights, of_scene).into_iter().enumerate() {
            // Who kills half of the time goes back to the project as it was.
            let goes_back = scene.goes_back && of_scene.derive("back").at(at as u64).is_multiple_of(2);
            let after = After { goes_back, threads: THREADS[at % THREADS.len()] };
            missed += u64::from(!kill(scene, template.path(), &calm, &death, after, seed));
            kills += 1;
        }
    }
    println!("{kills} kills in {:.0} s, {missed} of them came too late", began.elapsed().as_secs_f64());
    assert!(missed * 50 <= kills, "{missed} of {kills} commands ended before they were to die");
}

/// How a process is to die.
#[derive(Debug)]
enum Death {
    /// When it passes a failpoint for the nth time.
    At(String, u64),
    /// After this time, wherever it is.
    After(Duration),
}

/// What is done after a death, before the command is given again.
#[derive(Debug, Clone, Copy)]
struct After {
    /// Whether the project becomes as it was.
    goes_back: bool,
    /// With how many threads the next one works.
    threads: usize,
}

/// Every failpoint of the scene when it is first passed, then moments by chance, some of them times.
fn deaths(calm: &Calm, runs: u64, seed: Seed) -> Vec<Death> {
    let (first, mut later): (Vec<_>, Vec<_>) = calm.moments.iter().cloned().partition(|(_, nth)| *nth == 1);
    let mut deaths: Vec<Death> = first.into_iter().map(|(name, nth)| Death::At(name, nth)).collect();
    let mut draw = 0u64;
    while (deaths.len() as u64) < runs {
        draw += 1;
        if draw.is_multiple_of(RANDOM_EVERY) || later.is_empty() {
            deaths.push(Death::After(calm.took.mul_f64(seed.unit_at(draw))));
        } else {
            let (name, nth) = later.swap_remove((seed.at(draw) % later.len() as u64) as usize);
            deaths.push(Death::At(name, nth));
        }
    }
    deaths
}

/// Whether the command died where it was to die. One may pass a failpoint less often than the calm run did, because its threads met
/// otherwise; then it has ended, and is looked at like any other.
fn kill(scene: &Scene, template: &Path, calm: &Calm, death: &Death, after: After, seed: u64) -> bool {
    let folder = tempfile::tempdir().unwrap();
    copy(template, folder.path());
    let what = format!("scene {}, {death:?}, {after:?}, PELTON_CRASH_SEED={seed}", scene.name);
    let reader = Reader::start(folder.path(), vec![calm.before.clone(), calm.after.clone()]);
    let rows = scene.has_stamps.then(|| RowReader::start(folder.path(), rows::STAMPS));
    let has_died = match death {
        Death::At(name, nth) => {
            let (status, said) = scene.command(folder.path(), &[("PELTON_FAILPOINT", &format!("{name}=abort@{nth}"))]);
            let has_ended = *nth > 1 && status.success();
            assert!(has_ended || status.signal() == Some(6), "{what}: it did not die: {said}");
            !has_ended
        }
        Death::After(time) => {
            let status = scene.command_killed_after(folder.path(), *time);
            assert!(status.success() || status.signal() == Some(9), "{what}: {status}");
            true
        }
    };
    let found = Published::read(folder.path()).unwrap_or_default();
    assert!(found == calm.before || found == calm.after, "{what}: a mixture is published: {found:?}");
    // What was published stays published: a file that is gone keeps its rows.
    let wanted = match after.goes_back && found == calm.before {
        true => {
            scene.go_back(folder.path());
            &calm.before
        }
        false => &calm.after,
    };
    scenes::set_threads(folder.path(), after.threads);
    let (status, said) = scene.command(folder.path(), &[]);
    assert!(status.success(), "{what}: the next one: {said}");
    let found = Published::read(folder.path()).unwrap_or_default();
    assert_eq!(found.digests, wanted.digests, "{what}: something else is published than without the kill");
    scene.check(folder.path());
    reader.stop(&what);
    if let Some(rows) = rows {
        rows.stop(&what);
    }
    let warehouse = folder.path().join("warehouse");
    let logs = owned::wrong_logs(&warehouse, Showing::Now);
    assert_eq!(logs, Vec::<String>::new(), "{what}: Delta logs that do not show what is published");
    assert_eq!(owned::undecided(&warehouse), Vec::<String>::new(), "{what}: nodes that nothing was decided about");

    // Readers of the predictions keep files that were merged for an hour.
    age(&folder.path().join("warehouse/tables/pelton_predictions/_delta_log"));
    let gc = pelton(folder.path(), &["gc", "--yes", "--keep", "0s", "--keep-publications", "1"]);
    assert!(gc.status.success(), "{what}: gc: {}{}", stdout(&gc), stderr(&gc));
    let orphans = owned::orphans(&folder.path().join("warehouse"));
    assert_eq!(orphans, Vec::<String>::new(), "{what}: files that nobody owns, or that are not there");
    has_died
}

/// Makes the files of a folder two hours old, where there is one.
fn age(folder: &Path) {
    for file in fs::read_dir(folder).into_iter().flatten() {
        let file = fs::File::options().append(true).open(file.unwrap().path()).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(2 * 3600)).unwrap();
    }
}

/// The program, in a folder, with settings for this process alone.
fn command(folder: &Path, words: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(PELTON);
    command.args(words).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("RUST_BACKTRACE").envs(settings.iter().copied());
    command
}

/// Runs it to its end, whatever that is; gives what it said too.
fn ended(mut command: Command) -> (ExitStatus, String) {
    let output = command.output().unwrap();
    (output.status, format!("{}{}", stdout(&output), stderr(&output)))
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}
