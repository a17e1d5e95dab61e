//! Law 2: whatever the files do, incremental runs give the digests of one full build of the same files.

use crate::program::{pelton, stderr, stdout, write};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

const PROJECT: &[(&str, &str)] = &[
    ("pelton.toml", "name = \"steps\"\n"),
    (
        "sources/orders.toml",
        "kind = \"files\"\npath = \"data/orders/*.csv\"\n\
         [columns]\norder_id = \"bigint\"\ncustomer = \"text\"\namount = \"bigint\"\n\
         weight = \"double\"\nordered_at = \"timestamp\"\n",
    ),
    (
        "sources/changes.toml",
        "kind = \"files\"\npath = \"data/changes/*.csv\"\n\
         [columns]\ncustomer = \"text\"\ncity = \"text\"\nstatus = \"text\"\nchanged_at = \"timestamp\"\n",
    ),
    (
        "sources/rates.toml",
        "kind = \"files\"\npath = \"data/rates.csv\"\n[columns]\ncity = \"text\"\nrate = \"bigint\"\n",
    ),
    ("tables/recent.sql", "/* pelton\nbuild = \"view\"\n*/\nselect * from orders where amount > 5"),
    (
        "tables/lines.sql",
        "/* pelton\nbuild = \"append\"\n*/\nselect order_id, amount * 2 as twice from recent union all select order_id, 0 from orders",
    ),
    (
        "tables/paid.sql",
        "/* pelton\nbuild = \"append\"\n[checks]\nsmall = { sql = \"amount < 15\", on_fail = \"quarantine\" }\n\
         even = { sql = \"(order_id + amount) % 2 = 0\", on_fail = \"quarantine\", tolerance = \"90%\" }\n*/\n\
         select order_id, customer, amount from orders",
    ),
    (
        "tables/newest.sql",
        "/* pelton\nbuild = \"merge\"\nkey = \"customer\"\ntime = \"changed_at\"\n*/\nselect * from changes",
    ),
    (
        "tables/open_customers.sql",
        "/* pelton\nbuild = \"merge\"\nkey = \"customer\"\ntime = \"changed_at\"\ndelete = \"status = 'closed'\"\n*/\nselect * from changes",
    ),
    (
        "tables/priced.sql",
        "/* pelton\nbuild = \"append\"\n*/\nselect c.customer, r.rate from changes c left join rates r on c.city = r.city",
    ),
    (
        "tables/totals.sql",
        "/* pelton\nbuild = \"merge\"\nkey = \"customer\"\n*/\n\
         select o.customer, sum(amount) as total, sum(weight) as weight, stddev(weight) as spread, count(*) as n, max(c.city) as city\n\
         from orders o left join newest c on o.customer = c.customer group by o.customer",
    ),
    (
        "tables/daily.sql",
        "/* pelton\nbuild = \"interval\"\ninterval = \"1 day\"\ntime = \"day\"\n*/\n\
         select date_trunc('day', ordered_at) as day, customer, sum(amount) as total, avg(weight) as weight from orders group by 1, 2 -- by day",
    ),
    (
        "tables/dates.sql",
        "/* pelton\nbuild = \"interval\"\ninterval = \"2 days\"\ntime = \"day\"\n*/\n\
         select cast(ordered_at as date) as day, count(distinct customer) as customers from orders group by 1",
    ),
    (
        "tables/rolling.sql",
        "/* pelton\nbuild = \"interval\"\ninterval = \"6 hours\"\ntime = \"ordered_at\"\n*/\n\
         select order_id, customer, ordered_at, sum(weight) over (partition by customer order by ordered_at\n\
         range between interval '2 days' preceding and current row) as recent from orders",
    ),
    (
        "tables/running.sql",
        "/* pelton\nbuild = \"interval\"\ninterval = \"1 day\"\ntime = \"ordered_at\"\n*/\n\
         select order_id, ordered_at, sum(amount) over so_far as so_far, avg(weight) over so_far as weight from orders\n\
         window so_far as (partition by customer order by ordered_at)",
    ),
    (
        "tables/settled.sql",
        "/* pelton\nbuild = \"interval\"\ninterval = \"1 day\"\ntime = \"ordered_at\"\nlateness = \"1 day\"\nstart = \"2026-01-03\"\n*/\n\
         select order_id, customer, amount, ordered_at from orders",
    ),
    (
        "tables/states.sql",
        "/* pelton\nbuild = \"history\"\nkey = \"customer\"\ntime = \"changed_at\"\ndelete = \"status = 'closed'\"\n*/\nselect * from changes",
    ),
    (
        "tables/cities.sql",
        "/* pelton\nbuild = \"history\"\nkey = \"customer\"\ntime = \"changed_at\"\ntrack = \"city\"\n*/\nselect * from changes",
    ),
    (
        "tables/by_city.sql",
        "/* pelton\nbuild = \"merge\"\nkey = \"city\"\n*/\nselect city, count(*) as n from open_customers group by city",
    ),
    ("tables/days_of.sql", "select customer, count(*) as days from daily group by customer"),
];

/// A sequence that a seed tells.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    /// A number less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// A time within ten days, coarse enough that some are equal.
    fn time(&mut self) -> String {
        format!("2026-01-{:02}T{:02}:00:00Z", 1 + self.below(10), self.below(24))
    }

    fn orders(&mut self, rows: u64) -> String {
        let mut text = String::from("order_id,customer,amount,weight,ordered_at\n");
        for _ in 0..rows {
            let (id, customer, amount) = (self.below(1_000_000), self.below(12), self.below(20));
            // Weights from a thousandth to millions, of which no double is exact.
            let weight = format!("{}.{}e{}", self.below(1000), 1 + self.below(998), self.below(8) as i64 - 3);
            writeln!(text, "{id},c{customer},{amount},{weight},{}", self.time()).expect("a string takes everything");
        }
        text
    }

    fn changes(&mut self, rows: u64) -> String {
        let mut text = String::from("customer,city,status,changed_at\n");
        for _ in 0..rows {
            let status = if self.below(4) == 0 { "closed" } else { "open" };
            let (customer, city) = (self.below(12), self.below(4));
            writeln!(text, "c{customer},city{city},{status},{}", self.time()).expect("a string takes everything");
        }
        text
    }

    fn rates(&mut self) -> String {
        (0..4).fold("city,rate\n".to_string(), |text, city| format!("{text}city{city},{}\n", self.below(5)))
    }
}

fn run(folder: &Path, step: &str) {
    let output = pelton(folder, &["run"]);
    assert!(output.status.success(), "{step}\n{}{}", stdout(&output), stderr(&output));
}

/// The digest of each node, and of `paid` the rows in quarantine by check, and what its checks found.
fn digests(folder: &Path) -> BTreeMap<String, String> {
    let sql = "select node, digest from pelton.environments where environment = 'main' and node <> 'recent' \
               union all select 'quarantine of ' || rule, string_agg(raw, ' ' order by raw) from pelton.quarantine \
               where node = 'paid' group by rule \
               union all select 'check ' || c.name, cast(c.failed_rows as text) || ' of ' || cast(c.rows as text) \
               from pelton.checks c join pelton.environments e on c.version = e.version \
               where e.environment = 'main' and e.node = 'paid'";
    let output = pelton(folder, &["query", sql, "--format", "csv"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    text.lines().skip(1).filter_map(|line| line.split_once(',')).map(|(a, b)| (a.into(), b.into())).collect()
}

/// The digests of a full build of the files of `from`.
fn in_full(from: &Path, files: &BTreeMap<String, String>, step: &str) -> BTreeMap<String, String> {
    let fresh = tempfile::tempdir().unwrap();
    write(fresh.path(), PROJECT);
    for (path, text) in files {
        write(fresh.path(), &[(path.as_str(), text.as_str())]);
    }
    run(fresh.path(), &format!("in full after {step} in {}", from.display()));
    digests(fresh.path())
}

fn walk(seed: u64, steps: u64) {
    let (folder, mut draw) = (tempfile::tempdir().unwrap(), Draw(seed));
    write(folder.path(), PROJECT);
    let mut files = BTreeMap::from([
        ("data/orders/0.csv".to_string(), draw.orders(60)),
        ("data/changes/0.csv".to_string(), draw.changes(30)),
        ("data/rates.csv".to_string(), draw.rates()),
    ]);
    for number in 0..steps {
        let step = match draw.below(if number == 0 { 1 } else { 8 }) {
            0..=2 => {
                let rows = 1 + draw.below(8);
                files.insert(format!("data/orders/{}.csv", number + 1), draw.orders(rows));
                format!("{rows} orders more")
            }
            3 | 4 => {
                let rows = 1 + draw.below(4);
                files.insert(format!("data/changes/{}.csv", number + 1), draw.changes(rows));
                format!("{rows} changes more")
            }
            5 => {
                files.insert("data/rates.csv".into(), draw.rates());
                "other rates".into()
            }
            what => {
                // A file loses one row and gets another: the rest of it did not change.
                let kind = if what == 6 { "data/orders/" } else { "data/changes/" };
                let paths: Vec<String> = files.keys().filter(|path| path.starts_with(kind)).cloned().collect();
                let path = &paths[draw.below(paths.len() as u64) as usize];
                let other = if what == 6 { draw.orders(1) } else { draw.changes(1) };
                let text = files.get_mut(path).expect("it was just listed");
                let lines = text.lines().count();
                let mut kept: Vec<&str> = text.lines().take(lines.saturating_sub(1).max(1)).collect();
                kept.extend(other.lines().skip(1));
                *text = kept.join("\n") + "\n";
                format!("another last row in {path}")
            }
        };
        for (path, text) in &files {
            if std::fs::read_to_string(folder.path().join(path)).ok().as_ref() != Some(text) {
                write(folder.path(), &[(path.as_str(), text.as_str())]);
            }
        }
        let step = format!("seed {seed}, step {number}: {step}");
        run(folder.path(), &step);
        assert_eq!(digests(folder.path()), in_full(folder.path(), &files, &step), "{step}");
    }
    // The steps would prove nothing if everything had been built anew each time.
    let sql = "select node from pelton.decisions where detail like '%key% built%' or detail like '%interval% built%' or detail like '%added%' group by node order by node";
    let output = pelton(folder.path(), &["query", sql, "--format", "csv"]);
    let incremental: Vec<String> = stdout(&output).lines().skip(1).map(str::to_string).collect();
    assert_eq!(
        incremental,
        [
            "by_city",
            "cities",
            "daily",
            "dates",
            "lines",
            "newest",
            "open_customers",
            "paid",
            "priced",
            "rolling",
            "running",
            "settled",
            "states",
            "totals"
        ],
        "{}",
        stderr(&output)
    );
}

#[test]
fn any_sequence_of_changes_gives_the_digests_of_a_full_build() {
    walk(1, 14);
}

#[test]
fn another_sequence_of_changes_gives_the_digests_of_a_full_build() {
    walk(20_260_101, 14);
}

#[test]
fn an_append_asks_a_row_once_so_its_answer_may_not_change_with_the_time() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), PROJECT);
    let check = |condition: &str| {
        let table = format!(
            "/* pelton\nbuild = \"append\"\n[checks]\nasked = {{ sql = \"{condition}\", on_fail = \"quarantine\" }}\n*/\n\
             select order_id, ordered_at from orders"
        );
        write(folder.path(), &[("tables/asked.sql", &table)]);
        let output = pelton(folder.path(), &["check"]);
        (output.status.code(), stderr(&output))
    };
    let (code, said) = check("ordered_at < now()");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("check `asked` cannot quarantine rows of a table built `append`"), "{said}");
    assert!(said.contains("note: it depends on more than the row (now())"), "{said}");
    let (code, said) = check("order_id > 0");
    assert_eq!(code, Some(0), "{said}");
}
