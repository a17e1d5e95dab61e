//! What a node depends on beside the rows that it reads: the time, through views; the order of columns; the features that a model looks up.

use crate::program::{pelton, stderr, stdout, write};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

fn run(folder: &Path) -> Value {
    let output = pelton(folder, &["run", "--format", "json"]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("the outcome is JSON")
}

fn names(outcome: &Value, what: &str) -> Vec<String> {
    let list = outcome[what].as_array().unwrap_or_else(|| panic!("{outcome}"));
    let mut names: Vec<String> = list.iter().map(|name| name.as_str().unwrap_or_default().to_string()).collect();
    names.sort();
    names
}

fn csv(folder: &Path, sql: &str) -> Vec<String> {
    let output = pelton(folder, &["query", sql, "--format", "csv"]);
    assert!(output.status.success(), "{sql}: {}", stderr(&output));
    stdout(&output).lines().skip(1).map(str::to_string).collect()
}

fn why(folder: &Path, node: &str) -> String {
    stdout(&pelton(folder, &["why", node]))
}

/// The digest of each published node that stores rows.
fn digests(folder: &Path) -> BTreeMap<String, String> {
    let rows = csv(folder, "select node, digest from pelton.environments where environment = 'main' and rows > 0");
    rows.iter().filter_map(|line| line.split_once(',')).map(|(a, b)| (a.to_string(), b.to_string())).collect()
}

const VIEW: &str = "/* pelton\nbuild = \"view\"\n*/\n";

const ORDERS: &str = "kind = \"files\"\npath = \"data/orders/*.csv\"\n\
    [columns]\norder_id = \"bigint\"\ncustomer = \"text\"\namount = \"bigint\"\nat = \"timestamp\"\n";

fn view(sql: &str) -> String {
    format!("{VIEW}{sql}")
}

#[test]
fn what_reads_a_view_of_now_is_built_by_every_run() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("pelton.toml", "name = \"aging\"\n"),
            ("sources/orders.toml", ORDERS),
            ("data/orders/1.csv", "order_id,customer,amount,at\n1,ann,5,2026-01-01T00:00:00Z\n"),
            ("tables/recent.sql", &view("select * from orders where at > now() - interval '30 days'")),
            ("tables/by_customer.sql", &view("select customer, count(*) as n from recent group by customer")),
            ("tables/n.sql", "select count(*) as n from recent"),
            ("tables/customers.sql", "select count(*) as n from by_customer"),
            ("tables/below.sql", "select n from n"),
            (
                "tables/declared.sql",
                "/* pelton\nbuild = \"view\"\ndeterministic = true\n*/\nselect order_id from recent",
            ),
            ("tables/trusting.sql", "select count(*) as n from declared"),
            ("tables/sure.sql", "/* pelton\ndeterministic = true\n*/\nselect count(*) as n from recent"),
        ],
    );
    run(folder.path());
    let second = run(folder.path());
    assert_eq!(names(&second, "built"), ["by_customer", "customers", "n", "recent"]);
    assert_eq!(names(&second, "skipped"), ["below", "declared", "orders", "sure", "trusting"]);
    let told = why(folder.path(), "customers");
    assert!(told.contains("its SQL depends on more than its inputs (now() in view `recent`)"), "{told}");
    // The owner's word goes for the view, so for all that read it.
    write(
        folder.path(),
        &[(
            "tables/recent.sql",
            "/* pelton\nbuild = \"view\"\ndeterministic = true\n*/\nselect * from orders where at > now() - interval '30 days'",
        )],
    );
    assert_eq!(names(&run(folder.path()), "built"), Vec::<String>::new());
}

const PAIRS: &[(&str, &str)] = &[
    ("pelton.toml", "name = \"pairs\"\n"),
    ("sources/s.toml", "kind = \"files\"\npath = \"data/*.csv\"\n[columns]\na = \"bigint\"\nb = \"bigint\"\n"),
    ("data/1.csv", "a,b\n1,10\n2,20\n"),
    ("tables/united.sql", "select * from p union all select a, b from s"),
    ("tables/added.sql", "/* pelton\nbuild = \"append\"\n*/\nselect * from p union all select a, b from s"),
    ("tables/without.sql", "select a + 1 as a, b from s except select * from p"),
    ("tables/renamed.sql", "select sum(x) as x from p as t(x, y)"),
    ("tables/defined.sql", "with t(x, y) as (select * from p) select sum(x) as x from t"),
    ("tables/copied.sql", "select * from p"),
    ("tables/of_copied.sql", "select * from copied union all select a, b from s"),
    ("tables/shown.sql", "/* pelton\nbuild = \"view\"\n*/\nselect * from p where a > 0"),
    ("tables/of_shown.sql", "select * from shown union all select a, b from s"),
    ("tables/both.sql", "/* pelton\nbuild = \"view\"\n*/\nselect * from p union all select a, b from s"),
    ("tables/of_both.sql", "select sum(a) as a from both"),
    (
        "sources/t.toml",
        "kind = \"files\"\npath = \"ties/*.csv\"\n[columns]\nk = \"text\"\nat = \"timestamp\"\nx = \"bigint\"\ny = \"bigint\"\n",
    ),
    ("ties/1.csv", "k,at,x,y\none,2026-01-01T00:00:00Z,1,2\none,2026-01-01T00:00:00Z,2,1\n"),
    ("tables/newest.sql", "/* pelton\nbuild = \"merge\"\nkey = \"k\"\ntime = \"at\"\n*/\nselect * from q"),
    ("tables/as_of.sql", "select t.k, q.x from t asof join q match_condition (t.at >= q.at) on t.k = q.k"),
    ("tables/harmless.sql", "select * from p"),
    ("tables/named.sql", "select b, a from p union all select b, a from s"),
    ("tables/of_shown_by_name.sql", "select sum(a) as a from shown"),
];

#[test]
fn another_order_of_columns_rebuilds_what_sees_it_and_nothing_else() {
    let (folder, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(folder.path(), PAIRS);
    write(folder.path(), &[("tables/p.sql", "select a, b from s"), ("tables/q.sql", "select k, at, x, y from t")]);
    run(folder.path());
    assert_eq!(names(&run(folder.path()), "built"), Vec::<String>::new());
    let turned = [("tables/p.sql", "select b, a from s"), ("tables/q.sql", "select k, at, y, x from t")];
    write(folder.path(), &turned);
    let outcome = run(folder.path());
    assert_eq!(
        names(&outcome, "built"),
        [
            "added",
            "as_of",
            "both",
            "copied",
            "defined",
            "newest",
            "of_both",
            "of_copied",
            "of_shown",
            "p",
            "q",
            "renamed",
            "united",
            "without"
        ]
    );
    assert_eq!(names(&outcome, "skipped"), ["harmless", "named", "of_shown_by_name", "s", "shown", "t"]);
    let told = why(folder.path(), "united");
    assert!(told.contains("the columns of `p` have another order"), "{told}");
    write(fresh.path(), PAIRS);
    write(fresh.path(), &turned);
    run(fresh.path());
    assert_eq!(digests(folder.path()), digests(fresh.path()));
    // Rows that come later are added to what was built by the new order.
    let more = ("data/2.csv", "a,b\n3,30\n");
    write(folder.path(), &[more]);
    write(fresh.path(), &[more]);
    run(folder.path());
    run(fresh.path());
    assert_eq!(digests(folder.path()), digests(fresh.path()));
    let told = why(folder.path(), "added");
    assert!(told.contains("`p`, `s` changed"), "{told}");
}

/// Visits of January, profiles of their guests, and guests who ask in March.
fn inn(folder: &Path) {
    let (mut visits, mut profiles) = (String::from("visit_id,guest,at,nights\n"), String::from("guest,at,stars\n"));
    for id in 0..300u64 {
        let (guest, stars) = (id % 30, (id % 30) % 5);
        let nights = 2 * stars + id % 3;
        writeln!(visits, "{id},g{guest},2024-01-{:02}T12:00:00Z,{nights}", 10 + id % 20)
            .expect("a string takes everything");
        if id < 30 {
            writeln!(profiles, "g{guest},2024-01-01T00:00:00Z,{stars}").expect("a string takes everything");
        }
    }
    let model = "/* pelton\ntask = \"regression\"\ntarget = \"nights\"\nkey = [\"visit_id\"]\ntime = \"at\"\n\
        features = [\"profile\"]\nlearner = [\"linear\"]\n*/\n\
        select visit_id, guest, at, nights from visits where at < '2024-02-01'";
    write(
        folder,
        &[
            ("pelton.toml", "name = \"inn\"\n"),
            ("data/visits/1.csv", &visits),
            ("data/profiles/1.csv", &profiles),
            ("data/asked.csv", "ask_id,guest,at\n1,g1,2024-03-01T00:00:00Z\n2,g2,2024-03-01T00:00:00Z\n"),
            (
                "sources/visits.toml",
                "kind = \"files\"\npath = \"data/visits/*.csv\"\n[columns]\nvisit_id = \"bigint\"\nguest = \"text\"\n\
                 at = \"timestamp\"\nnights = \"double\"\n",
            ),
            (
                "sources/profiles.toml",
                "kind = \"files\"\npath = \"data/profiles/*.csv\"\n[columns]\nguest = \"text\"\nat = \"timestamp\"\nstars = \"double\"\n",
            ),
            (
                "sources/asked.toml",
                "kind = \"files\"\npath = \"data/asked.csv\"\n[columns]\nask_id = \"bigint\"\nguest = \"text\"\nat = \"timestamp\"\n",
            ),
            (
                "tables/profile.sql",
                "/* pelton\nentity = \"guest\"\ntime = \"at\"\n*/\nselect guest, at, stars from profiles",
            ),
            ("models/stay.sql", model),
            ("tables/expected.sql", "select ask_id, prediction from predict(stay, asked)"),
            (
                "tables/expected_step.sql",
                "/* pelton\nbuild = \"append\"\n*/\nselect ask_id, prediction from predict(stay, asked)",
            ),
        ],
    );
}

#[test]
fn a_scored_table_follows_the_features_that_its_model_looks_up() {
    let folder = tempfile::tempdir().unwrap();
    inn(folder.path());
    run(folder.path());
    let predicted = "select ask_id, prediction from predict(stay, asked) order by ask_id";
    let stored = |table: &str| csv(folder.path(), &format!("select ask_id, prediction from {table} order by ask_id"));
    let before = csv(folder.path(), predicted);
    assert_eq!((stored("expected"), stored("expected_step")), (before.clone(), before.clone()));

    // Known after every example, so the model learns what it learned; known before the guests ask, so they get other answers.
    write(
        folder.path(),
        &[("data/profiles/2.csv", "guest,at,stars\ng1,2024-02-15T00:00:00Z,4\ng2,2024-02-15T00:00:00Z,0\n")],
    );
    let outcome = run(folder.path());
    let built = names(&outcome, "built");
    assert!(built.contains(&"expected".into()) && built.contains(&"expected_step".into()), "{built:?}");
    assert_eq!(names(&outcome, "reused").first().map(String::as_str), Some("stay"), "{outcome}");
    let after = csv(folder.path(), predicted);
    assert!(before != after, "{after:?}");
    assert_eq!((stored("expected"), stored("expected_step")), (after.clone(), after));
    let told = why(folder.path(), "expected");
    assert!(told.contains("what model `stay` looks up, or how, changed"), "{told}");

    let third = run(folder.path());
    let skipped = names(&third, "skipped");
    assert!(["stay", "expected", "expected_step"].iter().all(|name| skipped.contains(&(*name).to_string())), "{third}");
}

#[test]
fn a_model_is_not_trained_again_on_the_same_examples() {
    let folder = tempfile::tempdir().unwrap();
    inn(folder.path());
    let first = run(folder.path());
    assert_eq!(first["models"].as_array().map(Vec::len), Some(1));
    let bytes =
        || csv(folder.path(), "select digest from pelton.environments where node = 'stay' and environment = 'main'");
    let (trained, shown) = (bytes(), stdout(&pelton(folder.path(), &["show", "stay"])));
    // Visits of February are none of its examples.
    write(folder.path(), &[("data/visits/2.csv", "visit_id,guest,at,nights\n900,g1,2024-02-03T12:00:00Z,7\n")]);
    let outcome = run(folder.path());
    assert_eq!(names(&outcome, "reused"), ["stay"]);
    assert_eq!(outcome["models"].as_array().map(Vec::len), Some(0));
    assert_eq!(bytes(), trained);
    let told = why(folder.path(), "stay");
    assert!(told.contains("`visits` changed, but what it learns from is the same: version "), "{told}");
    let card = |text: &str| text.split("# ").skip(1).collect::<String>();
    assert_eq!(card(&stdout(&pelton(folder.path(), &["show", "stay"]))), card(&shown));
    let skipped = names(&run(folder.path()), "skipped");
    assert!(skipped.contains(&"stay".to_string()), "{skipped:?}");

    // Another example, and another seed, teach it anew.
    write(folder.path(), &[("data/visits/3.csv", "visit_id,guest,at,nights\n901,g1,2024-01-10T01:00:00Z,40\n")]);
    assert!(names(&run(folder.path()), "built").contains(&"stay".to_string()));
    assert!(bytes() != trained);
    write(folder.path(), &[("pelton.toml", "name = \"inn\"\nseed = 7\n")]);
    assert!(names(&run(folder.path()), "built").contains(&"stay".to_string()));
}

#[test]
fn a_build_is_suggested_where_it_would_do_less_work() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("pelton.toml", "name = \"hints\"\n"),
            ("sources/orders.toml", ORDERS),
            ("data/orders/1.csv", "order_id,customer,amount,at\n1,ann,5,2026-01-01T00:00:00Z\n"),
            ("tables/totals.sql", "select customer, sum(amount) as total from orders group by customer"),
            ("tables/by_customer.sql", &view("select customer, sum(amount) as total from orders group by customer")),
            ("tables/kept.sql", "/* pelton\nbuild = \"append\"\n*/\nselect * from orders"),
            ("tables/of_source.sql", "select order_id from orders"),
            ("tables/of_append.sql", "select order_id from kept"),
            ("tables/looked_up.sql", "select o.order_id, t.total from orders o left join totals t using (customer)"),
            ("tables/of_full.sql", "select total from totals where total > 1"),
            ("tables/of_view.sql", "select total from by_customer"),
            ("tables/aged.sql", "select order_id from orders where at > now() - interval '1 day'"),
            ("tables/daily.sql", "select date_trunc('day', at) as day, sum(amount) as total from orders group by 1"),
        ],
    );
    let suggested = || -> BTreeMap<String, String> {
        let output = pelton(folder.path(), &["plan", "--format", "json"]);
        let planned: Value = serde_json::from_str(&stdout(&output)).expect("a plan is JSON");
        let steps = planned["steps"].as_array().expect("a plan has steps");
        let text = |step: &Value, key: &str| step[key].as_str().map(str::to_string);
        steps.iter().filter_map(|step| Some((text(step, "node")?, text(step, "suggestion")?))).collect()
    };
    let all = suggested();
    let expected = ["daily", "looked_up", "of_append", "of_source"];
    assert_eq!(all.keys().collect::<Vec<_>>(), expected, "{all:?}");
    assert!(all["of_source"].ends_with("with `build = \"append\"`, only new rows are built"), "{all:?}");
    assert!(all["looked_up"].ends_with("only new rows are built, unless `totals` changed"), "{all:?}");
    run(folder.path());
    assert!(suggested().is_empty());
    // A source with new files: what reads it waits for it, and is suggested all the same.
    write(folder.path(), &[("data/orders/2.csv", "order_id,customer,amount,at\n2,bob,7,2026-01-02T00:00:00Z\n")]);
    assert_eq!(suggested().keys().collect::<Vec<_>>(), expected);
}
