//! The scenes of the campaign: what was there before, and the command that dies.

use super::owned::live;
use super::{command, ended};
use crate::program::{pelton, stderr, stdout, write};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// A project, what happened in it, and a command.
pub(super) struct Scene {
    pub(super) name: &'static str,
    /// Its share of the kills.
    pub(super) weight: u64,
    /// Whether the project can be put back to what it was before the command.
    pub(super) goes_back: bool,
    /// Whether it has the tables of [`STAMPED`], of which another process reads the rows.
    pub(super) has_stamps: bool,
    words: &'static [&'static str],
    before: fn(&Path),
}

/// In an order that gives both parts of the campaign about the same work.
pub(super) const SCENES: &[Scene] = &[
    Scene { name: "first", weight: 4, goes_back: false, has_stamps: false, words: &["run"], before: first },
    Scene { name: "growing", weight: 6, goes_back: true, has_stamps: false, words: &["run"], before: growing },
    Scene { name: "mending", weight: 2, goes_back: true, has_stamps: false, words: &["run"], before: died },
    Scene {
        name: "publish",
        weight: 1,
        goes_back: false,
        has_stamps: false,
        words: &["publish", "try"],
        before: other_environment,
    },
    Scene {
        name: "rollback",
        weight: 1,
        goes_back: false,
        has_stamps: false,
        words: &["rollback", "--to", "1"],
        before: grown,
    },
    Scene {
        name: "replay",
        weight: 3,
        goes_back: false,
        has_stamps: false,
        words: &["quarantine", "replay", "orders", "--file", "mended.csv"],
        before: repaired,
    },
    Scene {
        name: "gc",
        weight: 2,
        goes_back: false,
        has_stamps: false,
        words: &["gc", "--yes", "--keep", "0s", "--keep-publications", "1"],
        before: grown,
    },
    Scene {
        name: "repair",
        weight: 2,
        goes_back: false,
        has_stamps: false,
        words: &["verify", "--repair"],
        before: damaged,
    },
    Scene { name: "incremental", weight: 4, goes_back: true, has_stamps: false, words: &["run"], before: incremental },
    Scene { name: "predict", weight: 1, goes_back: false, has_stamps: false, words: PREDICT, before: first_published },
    SERVE,
    Scene { name: "merging", weight: 2, before: often_predicted, ..SERVE },
    Scene { name: "stamped", weight: 2, goes_back: false, has_stamps: true, words: &["run"], before: stamped },
    Scene {
        name: "backfill",
        weight: 1,
        goes_back: false,
        has_stamps: false,
        words: &["backfill", "recent", "--from", "2026-01-01", "--to", "2026-01-06"],
        before: with_start,
    },
    Scene { name: SEEN, weight: 1, goes_back: false, has_stamps: false, words: &["run"], before: seen },
    Scene { name: "behind", weight: 1, goes_back: false, has_stamps: false, words: &["run"], before: behind },
];

/// A scene and its table: a history of what was seen, whose rows have the time of the run.
pub(super) const SEEN: &str = "seen";

const SERVE: Scene = Scene {
    name: "serve",
    weight: 1,
    goes_back: false,
    has_stamps: false,
    words: &["serve", "--port", "0"],
    before: predicted,
};

/// So many files of predictions are merged into one.
const MERGED_FILES: usize = 64;

const PREDICT: &[&str] =
    &["predict", "late", "--row", r#"{"customer": "c1", "at": "2026-03-01T00:00:00Z", "amount": 20}"#];

const PROJECT: &[(&str, &str)] = &[
    ("pelton.toml", "name = \"shop\"\n[engine]\nthreads = 1\n"),
    (
        "sources/orders.toml",
        "kind = \"files\"\npath = \"data/*.csv\"\nkey = [\"order_id\"]\ntime = \"at\"\n[columns]\norder_id = \"bigint\"\n\
         customer = \"text\"\nat = \"timestamp\"\namount = \"decimal(12,2)\"\nlate = \"boolean\"\n",
    ),
    (
        "tables/sound.sql",
        "/* pelton\n[checks]\npositive = { sql = \"amount > 0\", on_fail = \"quarantine\" }\n*/\nselect * from orders",
    ),
    (
        "tables/spend.sql",
        "/* pelton\nentity = \"customer\"\ntime = \"at\"\n*/\n\
         select customer, at, cast(max(amount) as double) as most from sound group by customer, at",
    ),
    ("tables/names.sql", "/* pelton\nbuild = \"view\"\n*/\nselect distinct customer from sound"),
    (
        "models/late.sql",
        "/* pelton\ntask = \"classification\"\ntarget = \"late\"\nkey = [\"order_id\"]\ntime = \"at\"\nfeatures = [\"spend.most\"]\n\
         learner = [\"logistic\"]\n*/\nselect order_id, customer, at, amount, late from sound",
    ),
];

/// Tables that are built from what changed.
const INCREMENTAL: &[(&str, &str)] = &[
    ("tables/lines.sql", "/* pelton\nbuild = \"append\"\n*/\nselect order_id, amount * 2 as twice from orders"),
    (
        "tables/totals.sql",
        "/* pelton\nbuild = \"merge\"\nkey = \"customer\"\n*/\n\
         select customer, sum(amount) as total, count(*) as n from orders group by customer",
    ),
    (
        "tables/daily.sql",
        "/* pelton\nbuild = \"interval\"\ninterval = \"1 day\"\ntime = \"day\"\n*/\n\
         select date_trunc('day', at) as day, sum(amount) as total from orders group by 1",
    ),
    (
        "tables/states.sql",
        "/* pelton\nbuild = \"history\"\nkey = \"customer\"\ntime = \"at\"\n*/\nselect customer, late, at from orders",
    ),
];

/// Two tables that are always published together, and say of which publication they are.
pub(super) const STAMPED: &[(&str, &str)] = &[
    ("pelton.toml", "name = \"stamps\"\n[engine]\nthreads = 1\n"),
    ("sources/stamps.toml", "kind = \"files\"\npath = \"data/*.csv\"\n[columns]\nstamp = \"bigint\"\n"),
    ("data/stamps.csv", "stamp\n1\n"),
    ("tables/stamps_here.sql", "select stamp from stamps"),
    ("tables/stamps_there.sql", "/* pelton\nbuild = \"merge\"\nkey = \"stamp\"\n*/\nselect stamp from stamps"),
];

/// An interval table that begins late.
const WITH_START: &[(&str, &str)] = &[(
    "tables/recent.sql",
    "/* pelton\nbuild = \"interval\"\ninterval = \"1 day\"\ntime = \"day\"\nstart = \"2026-01-06\"\n*/\n\
     select date_trunc('day', at) as day, sum(amount) as total from orders group by 1",
)];

/// A history of what was seen.
const WITH_SEEN: &[(&str, &str)] = &[(
    "tables/seen.sql",
    "/* pelton\nbuild = \"history\"\nkey = \"customer\"\n*/\nselect customer, count(*) as n from orders group by customer",
)];

/// Has what comes next in a scene's project work with so many threads; the scenes begin with one.
pub(super) fn set_threads(folder: &Path, threads: usize) {
    let path = folder.join("pelton.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (one, wanted) = ("threads = 1\n", format!("threads = {threads}\n"));
    assert!(text.contains(one), "{text}");
    fs::write(&path, text.replace(one, &wanted)).unwrap();
}

/// Orders as CSV, each file with a row that does not fit and one that breaks the check.
fn orders(from: u64, until: u64) -> String {
    let mut text = String::from("order_id,customer,at,amount,late\n");
    for id in from..until {
        let amount = 1 + id * 37 % 101;
        let at = format!("2026-01-{:02}T{:02}:00:00Z", 1 + id / 24 % 28, id % 24);
        writeln!(text, "{id},c{},{at},{amount}.00,{}", id % 5, amount > 50).expect("a string takes everything");
    }
    writeln!(text, "{},c1,2026-01-01T00:00:00Z,12;50,false", until + 10_000).expect("a string takes everything");
    writeln!(text, "{},c1,2026-01-01T00:00:00Z,-1.00,false", until + 20_000).expect("a string takes everything");
    text
}

fn run(folder: &Path, words: &[&str]) {
    let output = pelton(folder, words);
    assert!(output.status.success(), "{words:?}: {}{}", stdout(&output), stderr(&output));
}

/// A project that was never run.
fn first(folder: &Path) {
    write(folder, PROJECT);
    write(folder, &[("data/2026-01.csv", &orders(0, 200))]);
}

pub(crate) fn first_published(folder: &Path) {
    first(folder);
    run(folder, &["run"]);
}

/// What changes in a project: a new file, and other SQL.
const NEW_FILE: &str = "data/2026-02.csv";
const SPEND_NOW: &str = "/* pelton\nentity = \"customer\"\ntime = \"at\"\n*/\n\
     select customer, at, cast(max(amount) as double) + 0.5 as most from sound group by customer, at";

fn change(folder: &Path) {
    write(folder, &[(NEW_FILE, &orders(200, 260)), ("tables/spend.sql", SPEND_NOW)]);
}

/// A published project that changed since.
fn growing(folder: &Path) {
    first_published(folder);
    change(folder);
}

/// A published project with tables that go on from what they are, and that changed since.
fn incremental(folder: &Path) {
    write(folder, INCREMENTAL);
    growing(folder);
}

/// A project that changed, and whose run died with the files of a table on the disk.
fn died(folder: &Path) {
    growing(folder);
    died_at(folder, "stage.files=abort@3");
}

/// A project that changed, and whose run died after its publication, before all Delta logs showed it.
fn behind(folder: &Path) {
    growing(folder);
    died_at(folder, "delta.committed=abort@2");
}

fn died_at(folder: &Path, failpoint: &str) {
    let (status, said) = ended(command(folder, &["run"], &[("PELTON_FAILPOINT", failpoint)]));
    assert_eq!(status.signal(), Some(6), "{said}");
}

/// A project with an interval table that begins in the middle of its orders.
fn with_start(folder: &Path) {
    write(folder, WITH_START);
    first_published(folder);
}

/// A project with a history of what was seen, and that changed since.
fn seen(folder: &Path) {
    write(folder, WITH_SEEN);
    growing(folder);
}

/// A project whose stamp changed since.
fn stamped(folder: &Path) {
    write(folder, STAMPED);
    run(folder, &["run"]);
    write(folder, &[("data/stamps.csv", "stamp\n2\n")]);
}

/// A project with two publications.
fn grown(folder: &Path) {
    growing(folder);
    run(folder, &["run"]);
}

/// A project with another environment that is newer than `main`.
fn other_environment(folder: &Path) {
    growing(folder);
    run(folder, &["run", "--env", "try"]);
}

/// A project with a repaired export of its quarantine.
fn repaired(folder: &Path) {
    first_published(folder);
    run(folder, &["quarantine", "orders", "--output", "rows.csv"]);
    let rows = fs::read_to_string(folder.join("rows.csv")).unwrap();
    fs::write(folder.join("mended.csv"), rows.replace(",12;50,", ",12.50,")).unwrap();
}

/// A project whose Delta log cannot be read, and whose online store is cut off.
fn damaged(folder: &Path) {
    first_published(folder);
    let warehouse = folder.join("warehouse");
    write(&warehouse, &[("tables/orders/_delta_log/00000000000000000000.json", "no log at all\n")]);
    let store = fs::read_dir(warehouse.join("online")).unwrap().flatten().next().unwrap().path();
    let bytes = fs::read(&store).unwrap();
    fs::write(&store, &bytes[..bytes.len() / 2]).unwrap();
}

/// A project of which predictions were asked that are in no table yet.
fn predicted(folder: &Path) {
    first_published(folder);
    predict_into_log(folder);
    predict_into_log(folder);
}

/// Asks for a prediction that stays in the log, as one that a server answered.
fn predict_into_log(folder: &Path) {
    let (status, said) = ended(command(folder, PREDICT, &[("PELTON_FAILPOINT", "stage.file=error-on")]));
    assert!(status.success() && said.contains("warning[storage-failed]"), "{said}");
}

/// A project whose table of predictions has all but one of the files that are merged.
fn often_predicted(folder: &Path) {
    first_published(folder);
    for _ in 1..MERGED_FILES {
        predict_into_log(folder);
    }
    let (status, said) = SERVE.command(folder, &[]);
    assert!(status.success(), "{said}");
    predict_into_log(folder);
}

impl Scene {
    pub(super) fn prepare(&self, folder: &Path) {
        (self.before)(folder);
    }

    /// Gives the command, and waits for its end. A server is told to stop when it listens.
    pub(super) fn command(&self, folder: &Path, settings: &[(&str, &str)]) -> (ExitStatus, String) {
        let mut command = command(folder, self.words, settings);
        if self.words[0] != "serve" {
            return ended(command);
        }
        let mut server = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line.starts_with("listening") {
            let stopped = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
            assert!(stopped.success());
        }
        let output = server.wait_with_output().unwrap();
        (output.status, format!("{line}{}", stderr(&output)))
    }

    /// Gives the command, and kills it after a time.
    pub(super) fn command_killed_after(&self, folder: &Path, time: Duration) -> ExitStatus {
        let began = Instant::now();
        let mut process = command(folder, self.words, &[]).spawn().unwrap();
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            if began.elapsed() >= time {
                // It may end by itself at this very moment.
                let _ = process.kill();
                return process.wait().unwrap();
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    /// Puts the project back to what it was when it was last published.
    pub(super) fn go_back(&self, folder: &Path) {
        fs::remove_file(folder.join(NEW_FILE)).unwrap();
        write(folder, PROJECT);
    }

    /// What the command must have done when nobody disturbed it, so that the scene is about what it says.
    pub(super) fn check_calm(&self, folder: &Path) {
        if self.name == "merging" {
            let live = live(&folder.join("warehouse/tables/pelton_predictions/_delta_log"));
            assert_eq!(live.map(|live| live.len()), Some(1), "predictions were not merged into one file");
        }
    }

    /// What must hold after the command, beside what is published.
    pub(super) fn check(&self, folder: &Path) {
        if self.words[0] == "serve" {
            let asked = if self.name == SERVE.name { 2 } else { MERGED_FILES };
            let counted = "select count(*) as n, count(distinct receipt) as receipts from pelton.predictions";
            let output = pelton(folder, &["query", counted, "--format", "csv"]);
            assert_eq!(stdout(&output), format!("n,receipts\n{asked},{asked}\n"), "{}", stderr(&output));
        }
        if self.name == SEEN {
            // Every customer was seen twice, and the second time ends what was seen the first time.
            let whole = "select count(*) as n, sum(case when is_current then 1 else 0 end) as current, \
                         count(distinct customer) as customers, (select count(*) from seen a join seen b \
                         on a.customer = b.customer and a.valid_to = b.valid_from and not a.is_current) as ended from seen";
            let output = pelton(folder, &["query", whole, "--format", "csv"]);
            assert_eq!(stdout(&output), "n,current,customers,ended\n10,5,5,5\n", "{}", stderr(&output));
        }
        if self.name == "growing" {
            // Rows that were asked for by name go by the publication: the table and the view are of one moment.
            let whole = "select (select count(*) from sound) as sound, \
                         (select count(*) from orders where amount > 0) as positive";
            let output = pelton(folder, &["query", whole, "--format", "csv"]);
            let line = stdout(&output).lines().nth(1).unwrap_or_default().to_string();
            let (sound, positive) = line.split_once(',').unwrap_or_default();
            assert!(!sound.is_empty() && sound == positive, "{line}{}", stderr(&output));
        }
    }
}
