//! Laws about models: the same bytes, the same number everywhere, and receipts that hold.

use crate::program::{pelton, stderr, stdout, write};
use pelton_base::{Seed, format_time_us};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

const VISITS: u64 = 1500;
const START_US: i64 = 1_767_225_600_000_000;
const HOUR_US: i64 = 3_600_000_000;

/// Visits of 40 guests; whether one returns depends on the price of the visit before, which only the features know.
fn visits() -> String {
    let seed = Seed(9);
    let mut before = [0.0f64; 40];
    let mut text = String::from("visit_id,guest,at,price,room,returns\n");
    for id in 0..VISITS {
        let guest = (seed.at(id * 3) % 40) as usize;
        let price = 20.0 + (seed.at(id * 3 + 1) % 8000) as f64 / 100.0;
        let room = ["single", "double", "suite"][(seed.at(id * 3 + 2) % 3) as usize];
        let likes = before[guest] > 60.0;
        let returns = if seed.unit_at(id + 1_000_000) < 0.1 { !likes } else { likes };
        let at = format_time_us(START_US + id as i64 * HOUR_US);
        writeln!(text, "{id},g{guest},{at},{price:.2},{room},{returns}").expect("a string takes everything");
        before[guest] = price;
    }
    text
}

const ASKED: &str = "ask_id,guest,at,price,room\n\
    1,g1,2026-06-01T10:00:00Z,33.50,suite\n2,g2,2026-06-01T10:00:00Z,99.00,single\n\
    3,g39,2026-06-01T12:30:00Z,20.01,double\n4,stranger,2026-06-02T00:00:00Z,50.00,double\n";

fn project(folder: &Path, settings: &str) {
    write(
        folder,
        &[
            ("pelton.toml", &format!("name = \"inn\"\n{settings}")),
            ("data/visits.csv", &visits()),
            ("data/asked.csv", ASKED),
            (
                "sources/visits.toml",
                "kind = \"files\"\npath = \"data/visits.csv\"\nkey = [\"visit_id\"]\n[columns]\nvisit_id = \"bigint\"\n\
                 guest = \"text\"\nat = \"timestamp\"\nprice = \"decimal(10,2)\"\nroom = \"text\"\nreturns = \"boolean\"\n",
            ),
            (
                "sources/asked.toml",
                "kind = \"files\"\npath = \"data/asked.csv\"\n[columns]\nask_id = \"bigint\"\nguest = \"text\"\n\
                 at = \"timestamp\"\nprice = \"decimal(10,2)\"\nroom = \"text\"\n",
            ),
            (
                "tables/guest_history.sql",
                "/* pelton\nentity = \"guest\"\ntime = \"at\"\n*/\n\
                 select guest, at, at + interval '1 second' as known_at,\n\
                 cast(price as double) as last_price, count(*) over w as stays, at as last_at\nfrom visits\n\
                 window w as (partition by guest order by at)",
            ),
            (
                "models/returns.sql",
                "/* pelton\ntask = \"classification\"\ntarget = \"returns\"\nkey = [\"visit_id\"]\ntime = \"at\"\n\
                 features = [\"guest_history.last_price\", \"guest_history.stays\"]\nlearner = [\"gbdt\", \"logistic\"]\n\
                 accept = [\"roc_auc >= 0.7\"]\n\n[derive]\nprice_share = \"price / (1.0 + last_price)\"\nhour = \"date_part('hour', at)\"\n*/\n\
                 select visit_id, guest, at, price, room, returns from visits",
            ),
        ],
    );
}

fn run(folder: &Path) {
    let output = pelton(folder, &["run"]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
}

fn csv(folder: &Path, sql: &str) -> Vec<String> {
    let output = pelton(folder, &["query", sql, "--format", "csv"]);
    assert!(output.status.success(), "{sql}: {}", stderr(&output));
    stdout(&output).lines().skip(1).map(str::to_string).collect()
}

fn predict(folder: &Path, row: &Value) -> Value {
    let output = pelton(folder, &["predict", "returns", "--row", &row.to_string(), "--format", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let answer: Value = serde_json::from_str(&stdout(&output)).expect("the answer is JSON");
    answer["predictions"][0].clone()
}

fn receipt(folder: &Path, id: &str) -> Value {
    let output = pelton(folder, &["receipt", id, "--format", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("a receipt is JSON")
}

fn asked() -> Vec<Value> {
    ASKED
        .lines()
        .skip(1)
        .map(|line| {
            let values: Vec<&str> = line.split(',').collect();
            let price: f64 = values[3].parse().unwrap();
            serde_json::json!({ "guest": values[1], "at": values[2], "price": price, "room": values[4] })
        })
        .collect()
}

#[test]
fn the_endpoint_and_sql_give_the_same_number_and_receipts_hold_after_ten_publications() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "");
    run(folder.path());
    let by_sql = csv(folder.path(), "select score from predict(returns, asked) order by ask_id");
    let answers: Vec<Value> = asked().iter().map(|row| predict(folder.path(), row)).collect();
    let by_endpoint: Vec<f64> = answers.iter().map(|answer| answer["score"].as_f64().unwrap()).collect();
    let by_sql: Vec<f64> = by_sql.iter().map(|score| score.parse().unwrap()).collect();
    assert_eq!(by_sql, by_endpoint, "offline and online features, batch and row, give the same bits");
    assert!(by_endpoint[0] != by_endpoint[3], "a stranger has no history");

    let first = receipt(folder.path(), answers[0]["receipt"].as_str().unwrap());
    assert_eq!(first["rescored"]["same_bits"], true);
    for round in 0..10 {
        let more = format!(
            "visit_id,guest,at,price,room,returns\n{},g1,2026-07-{:02}T00:00:00Z,75.00,suite,true\n",
            9000 + round,
            round + 1
        );
        let so_far = std::fs::read_to_string(folder.path().join("data/visits.csv")).unwrap();
        let text = format!("{so_far}{}", more.lines().nth(1).unwrap().to_owned() + "\n");
        write(folder.path(), &[("data/visits.csv", &text)]);
        run(folder.path());
    }
    assert_eq!(csv(folder.path(), "select max(publication) from pelton.publications"), ["11"]);
    let later = receipt(folder.path(), answers[0]["receipt"].as_str().unwrap());
    assert_eq!(later["rescored"]["same_bits"], true);
    assert_eq!(later["version"], first["version"]);
    assert_eq!(later["features"], first["features"]);
    let unknown = pelton(folder.path(), &["receipt", "01a2046f-0000-7000-8000-000000000000"]);
    assert!(stderr(&unknown).contains("unknown-receipt"), "{}", stderr(&unknown));
}

#[test]
fn rows_that_tie_are_told_apart_alike_in_training_and_at_the_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "");
    // Two rows a visit, of one time; which is the greater says `copy`, a column that the model does not take.
    let history = "/* pelton\nentity = \"guest\"\ntime = \"at\"\n*/\n\
                   select guest, at, at + interval '1 second' as known_at, copy,\n\
                   cast(price as double) + case copy when 1 then 100 else 0 end as last_price, count(*) over w as stays\n\
                   from visits cross join (values (1), (2)) as c (copy)\nwindow w as (partition by guest order by at)";
    write(folder.path(), &[("tables/guest_history.sql", history)]);
    run(folder.path());
    let by_sql = csv(folder.path(), "select score from predict(returns, asked) order by ask_id");
    let by_sql: Vec<f64> = by_sql.iter().map(|score| score.parse().unwrap()).collect();
    let by_endpoint: Vec<f64> =
        asked().iter().map(|row| predict(folder.path(), row)["score"].as_f64().unwrap()).collect();
    assert_eq!(by_sql, by_endpoint);
}

#[test]
fn training_sees_only_what_was_known() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "");
    run(folder.path());
    // The model's own join, against what a correlated count says was known before each visit.
    let sql = "with seen as (select l.visit_id, f.stays from visits l asof join guest_history f \
               match_condition (l.at >= f.at) on l.guest = f.guest), \
               known as (select l.visit_id, count(p.visit_id) as n from visits l left join visits p \
               on p.guest = l.guest and p.at + interval '1 second' <= l.at group by l.visit_id) \
               select count(*) from seen join known using (visit_id) where coalesce(stays, 0) <> n";
    assert_eq!(csv(folder.path(), sql), ["0"]);
}

#[test]
fn the_same_inputs_give_the_same_bytes_at_any_thread_count_and_memory_limit() {
    let digests = |settings: &str| {
        let folder = tempfile::tempdir().unwrap();
        project(folder.path(), settings);
        run(folder.path());
        csv(folder.path(), "select node, digest from pelton.environments order by node")
    };
    let one = digests("[engine]\nthreads = 1\n");
    assert_eq!(digests("[engine]\nthreads = 3\nmemory = \"32MB\"\n"), one);
}
