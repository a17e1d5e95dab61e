//! Law 2 over many SELECTs: whatever `check` accepts for an incremental build gives, after any sequence of changes of its files, the rows of a full build.
//!
//! `PELTON_LAW_SEEDS=7..8 PELTON_LAW_STEPS=40` replays a seed, or asks for more; `PELTON_LAW_TABLES=zone` keeps the tables whose names have that
//! in them. Rows come with equal times, without times or keys, from before 1970, and from the days on which clocks are changed.

mod list;

use crate::laws::{Lab, range, run_to_the_end, told};
use crate::world::Draw;
use list::{APPENDS, HISTORIES, INTERVALS, MERGES, SETTLED};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

const SOURCES: &[(&str, &str)] = &[
    ("pelton.toml", "name = \"selects\"\n"),
    (
        "sources/events.toml",
        "kind = \"files\"\npath = \"data/events/*.ndjson\"\n[columns]\nid = \"bigint\"\nk = \"text\"\ng = \"bigint\"\namount = \"bigint\"\n\
         at = \"timestamp\"\nday = \"date\"\ntags = \"text[]\"\ninfo = \"struct<a bigint, b text>\"\n",
    ),
    (
        "sources/prices.toml",
        "kind = \"files\"\npath = \"data/prices/*.csv\"\n[columns]\nk = \"text\"\nprice = \"bigint\"\nsince = \"timestamp\"\n",
    ),
    ("tables/known.sql", "/* pelton\nbuild = \"view\"\n*/\nselect * from events where at is not null"),
];

/// The tables by path.
fn tables() -> BTreeMap<String, String> {
    let only = std::env::var("PELTON_LAW_TABLES").unwrap_or_default();
    let mut files = BTreeMap::new();
    let mut add = |name: &str, header: &str, select: &str| {
        if name.contains(&only) || name == "totals" {
            files.insert(format!("tables/{name}.sql"), format!("/* pelton\n{header}*/\n{select}\n"));
        }
    };
    for (at, (name, time, select)) in INTERVALS.iter().enumerate() {
        // Dates need whole days.
        let interval = if select.contains("day is not null") || name.contains("dates") || name.ends_with("of_days") {
            ["2 days", "1 week", "1 month"][at % 3]
        } else {
            ["1 day", "6 hours", "2 days", "1 week", "1 month"][at % 5]
        };
        add(name, &format!("build = \"interval\"\ninterval = \"{interval}\"\ntime = \"{time}\"\n"), select);
    }
    for (name, time, more, select) in SETTLED {
        add(name, &format!("build = \"interval\"\ninterval = \"1 day\"\ntime = \"{time}\"\n{more}"), select);
    }
    for (name, header, select) in MERGES {
        add(name, &format!("build = \"merge\"\n{header}"), select);
    }
    for (name, header, select) in HISTORIES {
        add(name, &format!("build = \"history\"\n{header}"), select);
    }
    for (name, select) in APPENDS {
        add(name, "build = \"append\"\n", select);
    }
    files
}

/// Files that change.
struct Files {
    draw: Draw,
    /// The first of the ten days in which all times lie, since 1970.
    first_day: i64,
    ids: usize,
    texts: BTreeMap<String, String>,
}

impl Files {
    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        // Across the end of 1969, across the days on which clocks change in Berlin and Auckland, and in some January.
        let first_day = draw.one_of(&[-5, 20_537, 20_455]);
        let mut files = Files { draw, first_day, ids: 0, texts: BTreeMap::new() };
        let (events, more) = (files.events(40, 6), files.events(10, 40));
        let prices = files.prices(12);
        files.texts.insert("data/events/0.ndjson".into(), events);
        files.texts.insert("data/events/00.ndjson".into(), more);
        files.texts.insert("data/prices/0.csv".into(), prices);
        files
    }

    fn time(&mut self) -> String {
        const HOUR_US: i64 = 3_600_000_000;
        let hours = self.draw.below(240) as i64;
        // Some on the first and the last moment of an hour, and with every digit.
        let us = self.draw.one_of(&[0, 0, 0, 1, 300, 1_800_000_000, HOUR_US - 1]);
        pelton_base::format_time_us((self.first_day * 24 + hours) * HOUR_US + us)
    }

    fn events(&mut self, rows: usize, missing_in: usize) -> String {
        let mut text = String::new();
        for _ in 0..rows {
            self.ids += 1;
            let time = match self.draw.once_in(missing_in) {
                true => String::new(),
                false => format!(", \"at\": \"{}\"", self.time()),
            };
            let key = match self.draw.once_in(missing_in) {
                true => String::new(),
                false => format!(", \"k\": \"k{}\"", self.draw.below(9)),
            };
            let amount = match self.draw.once_in(8) {
                true => "null".to_string(),
                false => self.draw.below(10).to_string(),
            };
            let day =
                &pelton_base::format_time_us((self.first_day + self.draw.below(10) as i64) * 86_400_000_000)[..10];
            let day = if self.draw.once_in(missing_in) { String::new() } else { format!(", \"day\": \"{day}\"") };
            let tags = self.draw.one_of(&["[]", "[\"a\"]", "[\"a\", \"b\"]", "[\"b\", null]", "null"]);
            let info =
                self.draw.one_of(&["null", "{\"a\": 1}", "{\"a\": 1, \"b\": \"x\"}", "{\"b\": \"x\"}", "{\"a\": 2}"]);
            let group = self.draw.below(4);
            writeln!(
                text,
                "{{\"id\": {}, \"g\": {group}, \"amount\": {amount}{time}{key}{day}, \"tags\": {tags}, \"info\": {info}}}",
                self.ids
            )
            .expect("a string takes everything");
        }
        text
    }

    fn prices(&mut self, rows: usize) -> String {
        let mut text = String::from("k,price,since\n");
        for _ in 0..rows {
            // One price a key and time: which of two an as-of join finds is another question.
            let (key, time) = (self.draw.below(9), self.time());
            let price = (key + time.bytes().map(usize::from).sum::<usize>()) % 8;
            writeln!(text, "k{key},{price},{time}").expect("a string takes everything");
        }
        text
    }

    fn some(&mut self, folder: &str) -> String {
        let paths: Vec<&String> = self.texts.keys().filter(|path| path.starts_with(folder)).collect();
        let at = self.draw.below(paths.len());
        paths[at].clone()
    }

    fn change(&mut self, step: usize) -> String {
        let (few, missing_in) = (1 + self.draw.below(4), self.draw.one_of(&[30, 200, 1000]));
        match self.draw.below(11) {
            0..=3 => {
                let text = self.events(few, missing_in);
                self.texts.insert(format!("data/events/{step}.ndjson"), text);
                format!("{few} events more")
            }
            4 => {
                let text = self.prices(few);
                self.texts.insert(format!("data/prices/{step}.csv"), text);
                format!("{few} prices more")
            }
            5 => {
                // The same keys and times with other lists: ties.
                let from = self.some("data/events");
                let lines: Vec<&str> = self.texts[&from].lines().take(3).collect();
                let text = lines.join("\n").replace("[\"a\"]", "[\"c\", \"a\"]").replace("\"a\": 1", "\"a\": 3") + "\n";
                self.texts.insert(format!("data/events/{step}.ndjson"), text);
                format!("some of {from} again")
            }
            6 | 7 => {
                let (path, more) = (self.some("data/events"), self.events(1, missing_in));
                let text = self.texts.get_mut(&path).expect("it was just listed");
                let kept = text.lines().count().saturating_sub(1);
                *text = text.lines().take(kept).fold(more, |text, line| text + line + "\n");
                format!("another row in {path}")
            }
            8 => {
                let (path, more) = (self.some("data/events"), self.events(few, missing_in));
                self.texts.get_mut(&path).expect("it was just listed").push_str(&more);
                format!("{few} events more in {path}")
            }
            9 => {
                let path = self.some("data/events");
                let text = self.texts.get_mut(&path).expect("it was just listed");
                let kept = text.lines().count() / 2;
                *text = text.lines().skip(kept).fold(String::new(), |text, line| text + line + "\n");
                format!("half of {path} goes away")
            }
            _ => {
                let (path, more) = (self.some("data/prices"), self.prices(1));
                let text = self.texts.get_mut(&path).expect("it was just listed");
                let kept = text.lines().count().saturating_sub(1).max(1);
                let last = more.lines().last().unwrap_or_default().to_string();
                *text = text.lines().take(kept).fold(String::new(), |text, line| text + line + "\n") + &last + "\n";
                format!("another price in {path}")
            }
        }
    }
}

fn write(folder: &Path, texts: &BTreeMap<String, String>, tables: &BTreeMap<String, String>) {
    let fixed = SOURCES.iter().map(|(path, text)| (*path, *text));
    let files = texts.iter().chain(tables).map(|(path, text)| (path.as_str(), text.as_str()));
    for (path, text) in fixed.chain(files) {
        let path = folder.join(path);
        if std::fs::read_to_string(&path).ok().as_deref() != Some(text) {
            std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder is ours");
            std::fs::write(path, text).expect("the folder is ours");
        }
    }
}

/// Runs a project; gives the tables that were built in part.
async fn built_in_part(lab: &Lab, folder: &Path) -> BTreeSet<String> {
    let outcome = lab.run(folder).await.unwrap_or_else(|reports| panic!("{}", told(&reports)));
    assert!(outcome.failed.is_empty(), "{}", told(&outcome.reports));
    let ctx = lab.context(folder).unwrap();
    let decisions = ctx.warehouse.state().decisions(&outcome.run).unwrap();
    let is_part = |detail: String| detail.contains(" built\"") || detail.contains(" added\"");
    decisions.into_iter().filter(|one| is_part(one.detail.to_string())).map(|one| one.node.to_string()).collect()
}

/// Runs the project in `folder` with these files, and a new one; gives the tables that were built in part, and those that differ.
async fn compared(
    lab: &Lab,
    folder: &Path,
    texts: &BTreeMap<String, String>,
    tables: &BTreeMap<String, String>,
) -> (BTreeSet<String>, Vec<String>) {
    write(folder, texts, tables);
    let in_part = built_in_part(lab, folder).await;
    let full = tempfile::tempdir().unwrap();
    write(full.path(), texts, tables);
    built_in_part(lab, full.path()).await;
    let (stepwise, once) = (lab.digests(folder), lab.digests(full.path()));
    let differing = once.iter().filter(|(node, digest)| stepwise.get(*node) != Some(digest));
    let differing =
        differing.map(|(node, digest)| format!("{node}: {:?} step by step, {digest} at once", stepwise.get(node)));
    (in_part, differing.collect())
}

fn hold(seeds: std::ops::Range<u64>, steps: u64) -> BTreeSet<String> {
    let (seeds, steps) = (range("PELTON_LAW_SEEDS", seeds), range("PELTON_LAW_STEPS", 0..steps).end);
    run_to_the_end(async move {
        let (lab, tables, mut in_part) = (Lab::new(), tables(), BTreeSet::new());
        for seed in seeds {
            let (folder, mut files, mut changes) = (tempfile::tempdir().unwrap(), Files::new(seed), Vec::new());
            for step in 0..=steps {
                if step > 0 {
                    changes.push(files.change(step as usize));
                }
                let (parts, differing) = compared(&lab, folder.path(), &files.texts, &tables).await;
                in_part.extend(parts);
                if !differing.is_empty() {
                    let kept = folder.keep();
                    let replay = format!("PELTON_LAW_SEEDS={seed}..{} PELTON_LAW_STEPS={step}", seed + 1);
                    let (kept, changes) = (kept.display(), changes.join("\n  "));
                    panic!("{}\n{replay}, in {kept}\nchanges:\n  {changes}", differing.join("\n"));
                }
            }
        }
        in_part
    })
}

#[test]
fn every_select_gives_the_rows_of_a_full_build() {
    let in_part = hold(0..1, 5);
    // The steps would prove nothing if everything had been built anew each time.
    let all: BTreeSet<String> =
        tables().into_keys().map(|path| path["tables/".len()..path.len() - 4].to_string()).collect();
    // A table keeps no nanoseconds, so its rows do not tell which were the newest of such a key.
    let never: Vec<&String> = all.difference(&in_part).filter(|name| *name != "keys_of_nanos").collect();
    assert!(never.is_empty(), "always built anew: {never:?}");
}

/// Events come file by file to one table, which is built in part every time.
fn arrive(header: &str, select: &str, files: &[&str]) {
    let table = format!("/* pelton\n{header}*/\n{select}\n");
    let tables = BTreeMap::from([("tables/told.sql".to_string(), table)]);
    let files: Vec<String> = files.iter().map(|text| text.to_string()).collect();
    run_to_the_end(async move {
        let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
        let mut texts = BTreeMap::from([("data/prices/0.csv".to_string(), "k,price,since\n".to_string())]);
        for (at, text) in files.into_iter().enumerate() {
            texts.insert(format!("data/events/{at}.ndjson"), text);
            let (in_part, differing) = compared(&lab, folder.path(), &texts, &tables).await;
            assert!(differing.is_empty(), "after {} files: {}", at + 1, differing.join("\n"));
            assert_eq!(in_part.contains("told"), at > 0);
        }
    });
}

#[test]
fn a_day_of_a_zone_keeps_its_early_rows() {
    arrive(
        "build = \"interval\"\ninterval = \"1 day\"\ntime = \"day\"\n",
        "select date_trunc('day', at at time zone 'Europe/Berlin') as day, sum(amount) as s from events group by 1",
        &[
            "{\"amount\": 1, \"at\": \"2026-01-01T23:30:00Z\"}\n{\"amount\": 2, \"at\": \"2026-01-09T12:00:00Z\"}\n",
            "{\"amount\": 4, \"at\": \"2026-01-02T10:00:00Z\"}\n",
        ],
    );
}

#[test]
fn rows_without_a_time_stay_in_a_running_total() {
    arrive(
        "build = \"interval\"\ninterval = \"1 day\"\ntime = \"at\"\nlateness = \"1 day\"\n",
        "select id, at, s from (select id, at, sum(amount) over (order by at nulls first) as s from events) where at is not null",
        &[
            "{\"id\": 1, \"amount\": 1}\n{\"id\": 2, \"amount\": 2, \"at\": \"2026-01-01T12:00:00Z\"}\n",
            "{\"id\": 3, \"amount\": 4, \"at\": \"2026-01-05T12:00:00Z\"}\n",
        ],
    );
}

#[test]
fn lag_of_minus_one_looks_ahead() {
    arrive(
        "build = \"interval\"\ninterval = \"1 day\"\ntime = \"at\"\n",
        "select id, at, lag(amount, -1) over (order by at, id) as next from events",
        &[
            "{\"id\": 1, \"amount\": 1, \"at\": \"2026-01-01T12:00:00Z\"}\n{\"id\": 2, \"amount\": 2, \"at\": \"2026-01-09T12:00:00Z\"}\n",
            "{\"id\": 3, \"amount\": 4, \"at\": \"2026-01-05T12:00:00Z\"}\n",
        ],
    );
}

#[test]
fn of_rows_that_differ_in_a_list_the_same_one_wins_in_any_order() {
    let (a, b) = (
        "{\"k\": \"x\", \"at\": \"2026-01-01T12:00:00Z\", \"tags\": [\"a\"]}\n",
        "{\"k\": \"x\", \"at\": \"2026-01-01T12:00:00Z\", \"tags\": [\"b\"]}\n",
    );
    for files in [[a, b], [b, a]] {
        let header = "build = \"merge\"\nkey = \"k\"\ntime = \"at\"\n";
        arrive(header, "select k, at, tags from events", &files);
    }
}

#[test]
fn of_rows_that_differ_in_nanoseconds_the_newest_wins_in_any_order() {
    let (a, b) =
        ("{\"k\": \"x\", \"id\": 7, \"amount\": 1000200}\n", "{\"k\": \"x\", \"id\": 8, \"amount\": 1000900}\n");
    for files in [[a, b], [b, a]] {
        let header = "build = \"merge\"\nkey = \"k\"\ntime = \"t\"\n";
        arrive(header, "select k, id, to_timestamp_nanos(amount) as t from events", &files);
    }
}
