//! Several runs, gc and readers at once: nothing is lost, nobody sees it by halves, and in the end all is as if one run had seen everything.
//!
//! `PELTON_LOAD_SEED` repeats what the runners do; who comes first is decided by the machine.

use crate::crash::owned::{Showing, wrong_logs};
use crate::crash::rows::RowReader;
use crate::incremental::Draw;
use crate::program::{pelton, stderr, stdout, write};
use pelton_base::Seed;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const PROJECT: &[(&str, &str)] = &[
    ("pelton.toml", "name = \"shop\"\n[retry]\nwait_ms = 10\n"),
    (
        "sources/orders.toml",
        "kind = \"files\"\npath = \"data/*.csv\"\nkey = [\"order_id\"]\n\
         [columns]\norder_id = \"bigint\"\ncustomer = \"text\"\namount = \"bigint\"\nat = \"timestamp\"\n",
    ),
    ("tables/big.sql", "select * from orders where amount >= 10"),
    ("tables/totals.sql", "select customer, sum(amount) as total, count(*) as n from big group by customer"),
    ("tables/lines.sql", "/* pelton\nbuild = \"append\"\n*/\nselect order_id, amount * 2 as twice from orders"),
    (
        "tables/newest.sql",
        "/* pelton\nbuild = \"merge\"\nkey = \"customer\"\ntime = \"at\"\n*/\nselect customer, at, order_id, amount from orders",
    ),
    (
        "tables/by_customer.sql",
        "/* pelton\nbuild = \"merge\"\nkey = \"customer\"\n*/\n\
         select customer, sum(amount) as total, count(*) as n from orders group by customer",
    ),
    (
        "tables/daily.sql",
        "/* pelton\nbuild = \"interval\"\ninterval = \"1 day\"\ntime = \"day\"\n*/\n\
         select date_trunc('day', at) as day, count(*) as n from orders group by 1",
    ),
];

/// How many orders there are, told by every table: whatever is not of one publication tells another number.
const COUNTED: &str = "select (select count(*) from orders) as orders, (select count(*) from lines) as lines, \
    (select sum(n) from by_customer) as by_customer, (select sum(n) from daily) as daily, \
    (select count(*) from orders where amount < 10) + (select sum(n) from totals) as totals, \
    (select count(*) from orders) + (select count(*) from newest) - (select count(distinct customer) from orders) as newest";

/// How many sets of files are brought, each by a project of its own.
const SEEDS: u64 = 3;

/// How many files each of the runners brings.
const ROUNDS: u64 = 4;

/// How long who looks at the logs rests: it is to leave the processor to those that it looks at.
const REST: Duration = Duration::from_millis(10);

fn orders(draw: &mut Draw, from: u64, count: u64) -> String {
    let mut text = String::from("order_id,customer,amount,at\n");
    for id in from..from + count {
        let (customer, amount) = (draw.below(9), draw.below(50));
        let at = format!("2026-01-{:02}T{:02}:00:00Z", 1 + draw.below(6), draw.below(24));
        writeln!(text, "{id},c{customer},{amount},{at}").expect("a string takes everything");
    }
    text
}

fn csv(folder: &Path, sql: &str) -> String {
    let output = pelton(folder, &["query", sql, "--format", "csv"]);
    assert!(output.status.success(), "{sql}: {}", stderr(&output));
    stdout(&output)
}

/// What ran, and what was refused by name.
#[derive(Default)]
struct Runs {
    published: AtomicU64,
    refused: AtomicU64,
}

/// Brings files, new ones and others in place of its own, and runs after each.
fn bring(folder: &Path, runner: u64, mut draw: Draw, runs: &Runs) {
    let mut brought: Vec<(u64, u64)> = Vec::new();
    for round in 0..ROUNDS {
        let (first, count) = match draw.below(4) {
            // As many orders as before: they only become more.
            0 if !brought.is_empty() => brought[draw.below(brought.len() as u64) as usize],
            _ => (1000 * (1 + runner * ROUNDS + round), 5 + draw.below(60)),
        };
        brought.push((first, count));
        let (hidden, name) = (format!("data/.{first}"), format!("data/{first}.csv"));
        write(folder, &[(&hidden, &orders(&mut draw, first, count))]);
        // A file appears as a whole, as from anybody who delivers files.
        fs::rename(folder.join(hidden), folder.join(name)).unwrap();
        while !is_let_through(folder, runs) && round + 1 == ROUNDS {
            // The last one comes again until the others leave it the lock, so that somebody publishes beside them.
            std::thread::yield_now();
        }
    }
}

/// Runs once; whether nobody else had the lock.
fn is_let_through(folder: &Path, runs: &Runs) -> bool {
    let output = pelton(folder, &["run"]);
    let is_refused = output.status.code() == Some(2) && stderr(&output).starts_with("error[run-locked]: ");
    assert!(is_refused || output.status.success(), "{:?}: {}", output.status.code(), stderr(&output));
    let counted = if is_refused { &runs.refused } else { &runs.published };
    counted.fetch_add(1, Ordering::Relaxed);
    !is_refused
}

fn at_once(seed: Seed) {
    let (folder, calm) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    write(folder, PROJECT);
    write(folder, &[("data/0.csv", &orders(&mut Draw(seed.0), 0, 200))]);
    assert!(pelton(folder, &["run"]).status.success());
    let (is_over, runs) = (AtomicBool::new(false), Runs::default());
    let rows = RowReader::start(folder, COUNTED);
    std::thread::scope(|scope| {
        let runners: Vec<_> = (0..2)
            .map(|runner| {
                let (runs, draw) = (&runs, Draw(seed.derive("runner").at(runner)));
                scope.spawn(move || bring(folder, runner, draw, runs))
            })
            .collect();
        let collector = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let output = pelton(folder, &["gc", "--yes", "--keep", "0s", "--keep-publications", "5"]);
                let is_refused = stderr(&output).starts_with("error[run-locked]: ");
                assert!(output.status.success() || is_refused, "{}", stderr(&output));
                runs.refused.fetch_add(u64::from(is_refused), Ordering::Relaxed);
                std::thread::sleep(REST);
            }
        });
        let logs = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(wrong_logs(&folder.join("warehouse"), Showing::Ever), Vec::<String>::new());
                std::thread::sleep(REST);
            }
        });
        let ended: Vec<_> = runners.into_iter().map(|runner| runner.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        collector.join().unwrap();
        logs.join().unwrap();
        ended.into_iter().for_each(|runner| runner.unwrap());
    });
    let what = format!("PELTON_LOAD_SEED={}", seed.0);
    let read = rows.stop(&what);
    assert!(runs.published.load(Ordering::Relaxed) > 0 && read > 1, "{what}: {read} reads");
    let refused = "select detail, count(*) as n from pelton.decisions where action = 'refused' group by detail";
    let recorded = csv(folder, refused);
    let (codes, counted): (Vec<&str>, Vec<&str>) =
        recorded.lines().skip(1).map(|line| line.rsplit_once(',').unwrap()).unzip();
    assert!(codes.iter().all(|code| code.contains("run-locked")), "{what}: {recorded}");
    let counted: u64 = counted.iter().map(|count| count.parse::<u64>().unwrap()).sum();
    // A refusal is not recorded when somebody just writes; what was not refused never is.
    assert!(counted <= runs.refused.load(Ordering::Relaxed), "{what}: {recorded}");

    // Whoever was refused left its file for somebody else; in the end all is as if one run had seen everything.
    assert!(pelton(folder, &["run"]).status.success());
    assert_eq!(wrong_logs(&folder.join("warehouse"), Showing::Now), Vec::<String>::new());
    write(calm.path(), PROJECT);
    fs::create_dir_all(calm.path().join("data")).unwrap();
    for file in fs::read_dir(folder.join("data")).unwrap().flatten() {
        fs::copy(file.path(), calm.path().join("data").join(file.file_name())).unwrap();
    }
    assert!(pelton(calm.path(), &["run"]).status.success());
    let digests = "select node, digest from pelton.environments where environment = 'main' order by node";
    assert_eq!(csv(folder, digests), csv(calm.path(), digests), "{what}");
}

#[test]
#[expect(clippy::print_stdout, reason = "a seed that nobody sees cannot be used again")]
fn runs_readers_and_gc_at_once_lose_nothing_and_show_nothing_by_halves() {
    let given = std::env::var("PELTON_LOAD_SEED").ok().and_then(|text| text.parse().ok());
    let first = Seed(u64::from(std::process::id())).derive("load");
    for number in 0..SEEDS {
        let seed = given.map_or_else(|| Seed(first.at(number)), Seed);
        println!("PELTON_LOAD_SEED={}", seed.0);
        at_once(seed);
        if given.is_some() {
            return;
        }
    }
}
