//! What many increments leave: a bounded number of files, and bounded memory while they are made.

use crate::program::{pelton, stderr, stdout, write};
use pelton_base::NodeName;
use pelton_query::DataFile;
use pelton_store::Warehouse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

const ORDERS: (&str, &str) = (
    "sources/orders.toml",
    "kind = \"files\"\npath = \"data/orders/*.csv\"\n\
     [columns]\norder_id = \"bigint\"\ncustomer = \"text\"\namount = \"bigint\"\nordered_at = \"timestamp\"\n",
);

const NEWEST: (&str, &str) = (
    "tables/newest.sql",
    "/* pelton\nbuild = \"merge\"\nkey = \"order_id\"\ntime = \"ordered_at\"\n*/\n\
     select order_id, customer, amount, ordered_at from orders",
);

const TABLES: &[(&str, &str)] = &[
    ("tables/lines.sql", "/* pelton\nbuild = \"append\"\n*/\nselect order_id, amount * 2 as twice from orders"),
    // They read a table whose files are written together.
    ("tables/dear.sql", "/* pelton\nbuild = \"append\"\n*/\nselect order_id, twice from lines where twice >= 0"),
    (
        "tables/totals.sql",
        "/* pelton\nbuild = \"merge\"\nkey = \"order_id\"\n*/\nselect order_id, sum(twice) as total from lines group by order_id",
    ),
    (
        "tables/daily.sql",
        "/* pelton\nbuild = \"interval\"\ninterval = \"1 day\"\ntime = \"day\"\n*/\n\
         select date_trunc('day', ordered_at) as day, sum(amount) as total from orders group by 1",
    ),
];

fn run(folder: &Path) {
    let output = pelton(folder, &["run"]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
}

fn query(folder: &Path, sql: &str) -> String {
    let output = pelton(folder, &["query", sql, "--format", "csv"]);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

fn digests(folder: &Path) -> String {
    query(folder, "select node, digest from pelton.environments where environment = 'main' order by node")
}

/// The files of a node's newest version.
fn files(folder: &Path, node: &str) -> Vec<DataFile> {
    let warehouse = Warehouse::open_existing(&folder.join("warehouse")).unwrap().unwrap();
    let versions = warehouse.state().versions_of(&NodeName::new(node)).unwrap();
    versions.first().unwrap().files.to_vec()
}

/// The file of a step: an order a day, and now and then an older one that changes.
fn step(number: u32) -> (String, String) {
    let mut text = String::from("order_id,customer,amount,ordered_at\n");
    let mut order = |id: u32, amount: u32, day: u32| {
        writeln!(text, "{id},c{},{amount},2026-{:02}-{:02}T08:00:00Z", id % 7, 1 + day / 28, 1 + day % 28).unwrap();
    };
    order(1000 + number, number % 11, number);
    if number.is_multiple_of(8) {
        order(1000 + number / 2, 1 + number % 5, number);
    }
    (format!("data/orders/{number:03}.csv"), text)
}

/// The project with all these files, built at once.
fn in_full(project: &[(&str, &str)], data: &BTreeMap<String, String>) -> String {
    let fresh = tempfile::tempdir().unwrap();
    write(fresh.path(), project);
    data.iter().for_each(|(path, text)| write(fresh.path(), &[(path, text)]));
    run(fresh.path());
    digests(fresh.path())
}

#[test]
fn many_small_increments_leave_few_files_with_the_rows_of_a_full_build() {
    let folder = tempfile::tempdir().unwrap();
    let project = [&[("pelton.toml", "name = \"steps\"\n"), ORDERS, NEWEST], TABLES].concat();
    write(folder.path(), &project);
    let mut data = BTreeMap::new();
    let steps = 44;
    for number in 0..steps {
        let (path, text) = step(number);
        write(folder.path(), &[(&path, &text)]);
        data.insert(path, text);
        run(folder.path());
        if number == 34 || number + 1 == steps {
            assert_eq!(digests(folder.path()), in_full(&project, &data), "after step {number}");
        }
    }
    for node in ["lines", "dear", "newest", "totals", "daily"] {
        let files = files(folder.path(), node);
        assert!(files.len() < 32, "{node} has {} files", files.len());
    }
    // What has the same rows in other files did not change: nothing was built anew for it.
    let anew = "select node, detail from pelton.decisions where detail like '%built anew%'";
    assert_eq!(query(folder.path(), anew).lines().count(), 1, "{}", query(folder.path(), anew));
    let packed =
        "select distinct node from pelton.decisions where detail like '%files written together%' order by node";
    assert_eq!(query(folder.path(), packed), "node\ndaily\ndear\nlines\nnewest\ntotals\n");
    assert!(pelton(folder.path(), &["verify", "--rows"]).status.success());
}

#[test]
fn a_table_that_lags_behind_adds_what_its_input_got_although_files_were_written_together() {
    let folder = tempfile::tempdir().unwrap();
    let project = [("pelton.toml", "name = \"steps\"\n"), ORDERS, TABLES[0], TABLES[1]];
    write(folder.path(), &project);
    let mut data = BTreeMap::new();
    for number in 0..37 {
        let (path, text) = step(number);
        write(folder.path(), &[(&path, &text)]);
        data.insert(path, text);
        let built = match number {
            10..36 => pelton(folder.path(), &["run", "lines"]),
            _ => pelton(folder.path(), &["run"]),
        };
        assert!(built.status.success(), "{}", stderr(&built));
    }
    let last = "select detail from pelton.decisions where node = 'dear' order by started_at desc";
    let details = query(folder.path(), last);
    assert!(!details.contains("built anew") && details.contains("added"), "{details}");
    assert_eq!(digests(folder.path()), in_full(&project, &data));
}

/// Rows with texts of 80 bytes.
fn wide(ids: std::ops::Range<u32>, day: u32) -> String {
    let mut text = String::from("k,note,at\n");
    let wide = "wide ".repeat(16);
    for id in ids {
        writeln!(text, "{id},{wide},2026-01-{day:02}T08:00:00Z").unwrap();
    }
    text
}

const WIDE: (&str, &str) = (
    "sources/wide.toml",
    "kind = \"files\"\npath = \"data/wide/*.csv\"\n[columns]\nk = \"text\"\nnote = \"text\"\nat = \"timestamp\"\n",
);

const WIDEST: (&str, &str) =
    ("tables/widest.sql", "/* pelton\nbuild = \"merge\"\nkey = \"k\"\ntime = \"at\"\n*/\nselect k, note, at from wide");

#[test]
fn rows_that_are_too_many_to_hold_are_read_twice() {
    let little = ("pelton.toml", "name = \"steps\"\n[engine]\nmemory = \"64MB\"\nthreads = 1\n");
    let folder = tempfile::tempdir().unwrap();
    let mut data = BTreeMap::from([("data/wide/1.csv".to_string(), wide(0..120_000, 1))]);
    write(folder.path(), &[little, WIDE, WIDEST]);
    write(folder.path(), &[("data/wide/1.csv", &data["data/wide/1.csv"])]);
    run(folder.path());
    data.insert("data/wide/2.csv".into(), wide(25_000..120_000, 2));
    write(folder.path(), &[("data/wide/2.csv", &data["data/wide/2.csv"])]);
    run(folder.path());
    let sql = "select detail from pelton.decisions where node = 'widest' order by started_at desc limit 1";
    let detail = query(folder.path(), sql);
    assert!(detail.contains("95,000 keys built, their rows read twice"), "{detail}");
    assert_eq!(digests(folder.path()), in_full(&[("pelton.toml", "name = \"steps\"\n"), WIDE, WIDEST], &data));
}
