//! Typing, mistakes, views, scoring and row-wise programs.

use super::*;
use arrow::array::{Array, ArrayRef, Float64Array, StructArray};
use arrow::datatypes::{DataType, Field};
use pelton_query::Scorer;

fn orders() -> RecordBatch {
    batch(vec![
        ("order_id", ints(vec![Some(1), Some(2), Some(3)])),
        ("customer_id", texts(vec![Some("a"), Some("b"), None])),
        ("amount", ints(vec![Some(10), Some(-5), None])),
        ("ordered_at", times(vec![Some(1), Some(2), Some(3)])),
    ])
}

#[tokio::test]
async fn types_are_known_without_data() {
    let catalog = Catalog::default()
        .with("orders", Relation::Typed(orders().schema()))
        .with("totals", Relation::View("select customer_id, sum(amount) as total from orders group by 1".into()));
    let typed = engine().analyze(&catalog, "select total / 2 as half, customer_id from totals").unwrap();
    let names: Vec<_> = typed.schema.fields().iter().map(|f| (f.name().as_str(), f.data_type().clone())).collect();
    assert_eq!(names, [("half", DataType::Int64), ("customer_id", DataType::Utf8)]);
    assert!(typed.volatile.is_empty());
}

#[tokio::test]
async fn a_union_of_columns_that_cannot_be_null_is_aggregated() {
    let part = "select customer_id, coalesce(amount, 0) as amount, coalesce(amount > 0, false) as is_paid from orders";
    let sql =
        format!("select sum(amount), count(*), bool_and(is_paid), max(customer_id) from ({part} union all {part}) t");
    assert_eq!(text(&engine(), &table("orders", &orders()), &sql).await, "10|6|false|b\n");
    let by =
        format!("select customer_id, sum(amount) from ({part} union all {part}) t group by 1 order by 1 nulls last");
    assert_eq!(text(&engine(), &table("orders", &orders()), &by).await, "a|20\nb|-10\n|0\n");
}

#[test]
fn views_on_views_fit_the_stack() {
    // As many as a project may have (`VIEWS_DEEP_MAX`), each of several steps, on a stack as the program gives its threads.
    const VIEWS: usize = 50;
    let mut catalog = Catalog::default().with("v0", Relation::Typed(orders().schema()));
    for view in 1..=VIEWS {
        let below = view - 1;
        // A CTE may have the name of the view that it stands in.
        let sql = format!(
            "with v{view} as (select customer_id, max(amount) as amount from v{below} where amount > 0 group by 1)
             select customer_id, amount + 1 as amount from v{view} where amount is not null"
        );
        catalog = catalog.with(format!("v{view}"), Relation::View(sql));
    }
    let typed = std::thread::Builder::new()
        .stack_size(8 << 20)
        .spawn(move || engine().analyze(&catalog, &format!("select sum(amount) as total from v{VIEWS}")).unwrap());
    assert_eq!(typed.unwrap().join().unwrap().schema.field(0).data_type(), &DataType::Int64);
    let itself = Catalog::default().with("v", Relation::View("select * from v".into()));
    assert!(engine().analyze(&itself, "select * from v").is_err());
}

#[test]
fn mistakes_are_told_in_the_users_words_with_their_place() {
    let catalog = Catalog::default().with("orders", Relation::Typed(orders().schema()));
    for (sql, wanted, at) in [
        ("select\n  custmer_id from orders", "[unknown-column]: table `t` names a column `custmer_id`", Some((2, 3))),
        ("select o.custmer_id from orders o", "[unknown-column]: table `o` has no column `custmer_id`", Some((1, 8))),
        ("select * from ordrs", "[unknown-node]: table `t` reads `ordrs`", None),
        ("select ampunt(amount) from orders", "[unknown-function]: table `t` calls `ampunt`", None),
        ("select amount + customer_id from orders where true and (", "[invalid-sql]", None),
        ("select amount + ordered_at from orders", "[type-mismatch]", None),
        ("select * from orders tablesample (10 percent)", "[unsupported-sql]", None),
        ("select amount from orders; select 1", "[invalid-sql]", None),
        ("delete from orders", "[invalid-sql]", None),
        ("select a.amount, b.amount from orders a join orders b on amount = 1", "[type-mismatch]", None),
    ] {
        let error = engine().analyze(&catalog, sql).unwrap_err();
        let report = error.report("table `t`").to_string();
        assert!(report.contains(wanted), "{sql}: {report}");
        for theirs in ["DataFusion", "Int64", "Utf8", "datafusion", "Error during"] {
            assert!(!report.contains(theirs), "{sql}: {report}");
        }
        if at.is_some() {
            assert_eq!(error.at(), at, "{sql}: {report}");
        }
    }
}

#[tokio::test]
async fn a_from_without_select_is_all_of_it() {
    let catalog = table("t", &batch(vec![("a", ints(vec![Some(1)])), ("b", ints(vec![Some(2)]))]));
    for sql in [
        "from t",
        "FROM t limit 1",
        "(from t)",
        "select * from (from t) s",
        "with s as (\n  -- all of it\n  select 1), u as ( from t) from u",
        "from t select a, b",
        "select 1, 2 where false union all from t",
        "from t except select 3, 4",
    ] {
        assert_eq!(text(&engine(), &catalog, sql).await, "1|2\n", "{sql}");
        assert_eq!(engine().analyze(&catalog, sql).unwrap().schema.fields().len(), 2, "{sql}");
    }
    let error = engine().analyze(&catalog, "select n from generate_series(1, 3) as t(n)").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`generate_series` gives a list; in FROM write `unnest(generate_series(...)) as t(n)`"
    );
    assert_eq!(text(&engine(), &catalog, "select n from unnest(generate_series(1, 2)) as t(n)").await, "1\n2\n");
}

#[test]
fn the_reference_page_has_every_function() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/sql.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let state = engine().base;
    let of_rows = state.scalar_functions().keys().chain(state.higher_order_functions().keys());
    let groups: [(&str, Vec<&String>); 3] = [
        ("### Of a row", of_rows.filter(|name| *name != crate::rewrite::MARKER).collect()),
        ("### Aggregates", state.aggregate_functions().keys().collect()),
        ("### Windows", state.window_functions().keys().collect()),
    ];
    let mut wanted = page.clone();
    for (heading, mut names) in groups {
        names.sort();
        let list: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
        let (before, rest) = wanted.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
        let after = rest.split_once("\n###").map_or_else(String::new, |(_, after)| format!("\n###{after}"));
        wanted = format!("{before}\n{heading}\n\n{}\n{after}", list.join(" "));
    }
    if std::env::var_os("PELTON_UPDATE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert_eq!(page, wanted, "`PELTON_UPDATE=1 cargo test -p pelton-engine the_reference_page` writes it anew");
}

#[tokio::test]
async fn a_view_gives_its_readers_the_types_of_a_table() {
    let raw = batch(vec![("id", ints(vec![Some(1)])), ("raw", texts(vec![Some("2026-07-01 22:30:00")]))]);
    for (inner, outer, wanted) in [
        (
            "select id, cast(raw as timestamp) as ts from a",
            "select ts at time zone 'Europe/Berlin' as l, cast(ts at time zone 'Europe/Berlin' as date) as d from v",
            "2026-07-02T00:30:00+02:00|2026-07-02\n",
        ),
        (
            "select id, to_timestamp(raw) at time zone 'Europe/Berlin' as l from a",
            "select cast(l as date) as d, extract(hour from l) as h from v",
            "2026-07-01|22\n",
        ),
        (
            "select to_timestamp_seconds(id) as s from a",
            "select s + interval '500 milliseconds' as x from v",
            "1970-01-01T00:00:01.500Z\n",
        ),
        ("select arrow_cast(id, 'UInt8') as u from a", "select -u as n from v", "-1\n"),
        ("select 1 as one, w.* from (select id, raw from a) w", "select one, id from v", "1|1\n"),
    ] {
        let catalog = table("a", &raw).with("v", Relation::View(inner.into()));
        assert_eq!(text(&engine(), &catalog, outer).await, wanted, "{inner}");
    }
}

#[tokio::test]
async fn times_of_texts_are_what_they_are_announced_to_be() {
    let raw = batch(vec![("raw", texts(vec![Some("2026-07-01 22:30:00"), None])), ("n", ints(vec![Some(5), None]))]);
    let catalog = table("a", &raw);
    for (sql, wanted) in [
        ("to_timestamp(raw)", "2026-07-01T22:30:00Z\n\n"),
        ("to_timestamp(raw) + interval '1 hour'", "2026-07-01T23:30:00Z\n\n"),
        ("date_trunc('hour', to_timestamp(raw))", "2026-07-01T22:00:00Z\n\n"),
        ("to_timestamp(raw, '%Y-%m-%d %H:%M:%S')", "2026-07-01T22:30:00Z\n\n"),
        ("to_timestamp(raw) at time zone 'UTC'", "2026-07-01T22:30:00Z\n\n"),
        ("to_timestamp_seconds(raw)", "2026-07-01T22:30:00Z\n\n"),
        ("to_timestamp_millis(n)", "1970-01-01T00:00:00.005Z\n\n"),
        ("to_timestamp(n)", "1970-01-01T00:00:05Z\n\n"),
    ] {
        let sql = format!("select {sql} as x from a");
        assert_eq!(text(&engine(), &catalog, &sql).await, wanted, "{sql}");
    }
    assert_eq!(text(&engine(), &catalog, "select to_timestamp('2026-01-01') as x").await, "2026-01-01T00:00:00Z\n");
}

#[test]
fn what_always_fails_when_it_is_run_is_told_when_it_is_typed() {
    let catalog = Catalog::default().with("orders", Relation::Typed(orders().schema()));
    for (sql, says) in [
        ("select order_id from orders where row_number() over () = 1", "a window function stands in WHERE"),
        ("select customer_id from orders group by 1 having row_number() over () = 1", "a window function stands in"),
        ("select o.order_id from orders o join orders p on row_number() over () = 1", "a window function stands in"),
        (
            "select (select max(amount) from orders p where p.order_id < o.order_id) as m from orders o",
            "a subquery that",
        ),
        (
            "select (select order_id from orders p where p.customer_id = o.customer_id order by amount limit 1) as m from orders o",
            "a subquery that",
        ),
        (
            "select o.order_id, z.m from orders o, lateral (select max(amount) as m from orders p where p.order_id < o.order_id) z",
            "a subquery that",
        ),
        ("select date '2026-01-01' + interval '36 hours' as d", "a date has no hours"),
        (
            "select count(*) as n from orders where ordered_at < cast(ordered_at as date) - interval '1 minute'",
            "a date has",
        ),
        (
            "select to_timestamp_seconds(order_id) + interval '500 milliseconds' as d from orders",
            "a time in seconds has",
        ),
        ("select to_char(ordered_at, 'YYYY-MM') as m from orders", "`'YYYY-MM'` has no `%`"),
    ] {
        let error = engine().analyze(&catalog, sql).expect_err(sql);
        assert!(error.to_string().starts_with(says), "{sql}: {error}");
    }
    for sql in [
        "select order_id from orders qualify row_number() over (order by order_id) = 1",
        "select (select max(amount) from orders p where p.customer_id = o.customer_id) as m from orders o",
        "select order_id from orders o where exists (select 1 from orders p where p.customer_id = o.customer_id)",
        "select order_id from orders where customer_id in (select customer_id from orders where amount > 0)",
        "select date '2026-01-01' + interval '48 hours' as d, date '2026-01-31' + interval '1 month' as m",
        "select timestamp '2026-01-01' + interval '36 hours' as d, to_char(ordered_at, '%Y-%m') as m from orders",
    ] {
        assert!(engine().analyze(&catalog, sql).is_ok(), "{sql}: {:?}", engine().analyze(&catalog, sql));
    }
}

#[test]
fn constants_that_no_row_makes_right_are_told_when_the_select_is_typed() {
    let catalog = Catalog::default().with("orders", Relation::Typed(orders().schema()));
    for (sql, says, at) in [
        ("select date '2026-13-01' as day", "`'2026-13-01'` cannot be read as date", Some((1, 13))),
        ("select * from orders\nwhere ordered_at > '2026-02-30'", "`'2026-02-30'` cannot be read as", Some((2, 20))),
        ("select cast('x' as int) as n", "`'x'` cannot be read as int", Some((1, 13))),
        ("select '1,5'::double as n, '1,5' as text", "`'1,5'` cannot be read as double", None),
        ("select cast(3000000000 as int) as n", "`3000000000` cannot be a value of int", Some((1, 13))),
        ("select amount / 0 as n from orders", "division by zero", None),
        ("select order_id from orders group by 1 having max(amount) % 0 = 1", "division by zero", None),
        ("select order_id from orders order by 1 limit -1", "a number of rows, of LIMIT or OFFSET, is", None),
        ("select order_id from orders order by 1 offset -2", "a number of rows, of LIMIT or OFFSET, is", None),
        (
            "select regexp_like('a', '[') as is_like",
            "the pattern `[` cannot be read: unclosed character",
            Some((1, 26)),
        ),
        (
            "select regexp_replace('a', '(', '', 'g') as b",
            "the pattern `(` cannot be read: unclosed group",
            Some((1, 29)),
        ),
        ("select 1 as one where 'a' ~ '*'", "the pattern `*` cannot be read: repetition", Some((1, 30))),
        (
            "select lag(amount, 1, amount) over (order by ordered_at) as b from orders",
            "`lag` goes by a constant",
            Some((1, 8)),
        ),
    ] {
        let error = engine().analyze(&catalog, sql).unwrap_err();
        assert!(matches!(error, QueryError::Type { .. }) && error.to_string().starts_with(says), "{sql}: {error}");
        assert_eq!(error.place_in(sql), at, "{sql}");
    }
    for sql in [
        "select date '2026-02-28' as day, timestamp '2026-02-28 10:00:00' as at, '7'::int as n, null::int as none",
        "select try_cast('x' as int) as n, amount / 1 as one, 1.5 / 0.0 as infinite from orders",
        "select * from orders where ordered_at > '2026-02-28' and amount > '7'",
        "select regexp_like('a', 'a # [', 'x') as is_like, 'a' ~ '^[a-c]$' as is_same from orders order by 1 limit 0",
    ] {
        let typed = engine().analyze(&catalog, sql);
        assert!(typed.is_ok(), "{sql}: {typed:?}");
    }
}

#[test]
fn what_depends_on_more_than_the_inputs_is_named() {
    let mut wide = orders().schema().fields().to_vec();
    wide.push(Arc::new(Field::new("tags", DataType::new_list(DataType::Utf8, true), true)));
    let catalog = Catalog::default()
        .with("orders", Relation::Typed(orders().schema()))
        .with("tagged", Relation::Typed(Arc::new(arrow::datatypes::Schema::new(wide))));
    for (sql, wanted) in [
        ("select now() as t from orders", "now()"),
        ("select random() as r from orders", "random()"),
        ("select * from orders limit 2", "a limit without an order"),
        // The order of a subquery is not that of what is around it.
        ("select n from (select order_id as n from orders order by amount) x limit 2", "a limit without an order"),
        ("select * from (select * from orders order by amount) where amount > 0 limit 2", "a limit without an order"),
        ("select * from orders where order_id in (select order_id from orders limit 2)", "a limit without an order"),
        ("select * from tagged order by amount limit 2", "a limit whose order leaves ties open"),
        ("select distinct on (customer_id) customer_id, amount from orders", "distinct on without an order"),
        ("select row_number() over () as n from orders", "row_number() without an order"),
        ("select ntile(2) over (partition by customer_id) as n from orders", "ntile() without an order"),
        (
            "select sum(amount) over (rows between 1 preceding and current row) as n from orders",
            "a frame of rows without an order",
        ),
        ("select array_agg(amount) as n from orders", "array_agg() without an order"),
        ("select (select max(random()) from orders) as n from orders", "random()"),
    ] {
        assert_eq!(engine().analyze(&catalog, sql).unwrap().volatile, [wanted], "{sql}");
    }
    for sql in [
        "select * from orders order by order_id limit 2",
        "select order_id from orders order by amount desc limit 2",
        "select order_id + 1 as n from orders order by amount desc, customer_id offset 1",
        "select order_id, amount from tagged order by amount limit 2",
        "select distinct on (customer_id) customer_id, amount from orders order by customer_id, ordered_at",
        "select row_number() over (order by order_id) from orders",
        "select sum(amount) over (partition by customer_id) from orders",
        "select sum(amount) over (rows between unbounded preceding and unbounded following) from orders",
        "select rank() over (order by amount), sum(amount) over (order by amount) from orders",
    ] {
        let typed = engine().analyze(&catalog, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(typed.volatile, [] as [&str; 0], "{sql}");
    }
}

/// Rows with many ties, and nulls, in any layout.
fn ties(threads: usize, rows: usize, is_reversed: bool) -> (LocalEngine, Catalog) {
    const ROWS: i64 = 4_000;
    let of = |by: i64, count: i64, nulls: i64| {
        ints((0..ROWS).map(|row| (row * by % ROWS % nulls != 0).then_some(row * by % ROWS % count)).collect())
    };
    let whole = batch(vec![
        ("g", of(1, 3, ROWS)),
        ("x", of(7, 4, 11)),
        ("a", of(31, 500, 13)),
        (
            "b",
            Arc::new(Float64Array::from_iter((0..ROWS).map(|row| (row % 17 != 0).then_some((row * 77 % 640) as f64)))),
        ),
        (
            "t",
            Arc::new(arrow::array::StringArray::from_iter(
                (0..ROWS).map(|row| (row % 5 != 0).then_some(format!("t{}", row * 13 % 90))),
            )),
        ),
    ]);
    let mut parts: Vec<RecordBatch> =
        (0..whole.num_rows()).step_by(rows).map(|at| whole.slice(at, rows.min(whole.num_rows() - at))).collect();
    if is_reversed {
        parts.reverse();
    }
    let engine = LocalEngine::new(&Limits { threads, ..Limits::default() }).unwrap();
    (engine, Catalog::default().with("r", Relation::Batches(whole.schema(), parts)))
}

#[tokio::test]
async fn an_order_with_ties_gives_the_same_rows_however_they_are_spread() {
    for sql in [
        "select * from r order by x limit 10",
        "select a, t from r order by x desc nulls last limit 7 offset 3",
        "select s.b from (select b, t from r where g = 1 order by x limit 20) s order by b",
        "select g, (select max(a) from (select a from r order by x limit 5)) as m from r group by g order by g",
    ] {
        let mut wanted: Option<String> = None;
        for (threads, rows, is_reversed) in
            [(1, 4_000, false), (1, 4_000, true), (3, 64, true), (5, 1_000, false), (2, 7, false)]
        {
            let (engine, catalog) = ties(threads, rows, is_reversed);
            let found = text(&engine, &catalog, sql).await;
            assert_eq!(
                wanted.get_or_insert_with(|| found.clone()),
                &found,
                "{threads} threads, {rows} rows a batch: {sql}"
            );
        }
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_computed_is_told_as_one() {
    let catalog = table("orders", &orders());
    let error = rows(&engine(), &catalog, "select 1 / (amount - 10) as x from orders").await.unwrap_err();
    assert!(error.to_string().contains("division by zero"), "{error}");
    let error = rows(&engine(), &catalog, "select cast(customer_id as bigint) from orders").await.unwrap_err();
    assert!(matches!(error, QueryError::Value { .. }), "{error}");
}

#[tokio::test]
async fn a_column_without_a_name_is_called_what_it_says() {
    let catalog = table("orders", &orders());
    for (sql, names) in [
        ("select 1, 'a', amount, o.amount + 1 from orders o", vec!["1", "'a'", "amount", "o.amount + 1"]),
        ("select count(*), max(amount) from orders order by max(amount)", vec!["count(*)", "max(amount)"]),
        ("(select 1 union all select 2) order by 1", vec!["1"]),
        ("with x as (select * from orders) select distinct upper('b') from x", vec!["upper('b')"]),
    ] {
        let typed = engine().analyze(&catalog, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let found: Vec<_> = typed.schema.fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(found, names, "{sql}");
        rows(&engine(), &catalog, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[derive(Debug)]
struct Doubler([Field; 1]);

impl Scorer for Doubler {
    fn subject(&self) -> String {
        "model `m`".into()
    }

    fn inputs(&self) -> &[Field] {
        &self.0
    }

    fn output(&self) -> Field {
        Field::new("scored", DataType::Struct(vec![Field::new("prediction", DataType::Float64, true)].into()), true)
    }

    fn score(&self, inputs: &[ArrayRef]) -> Result<ArrayRef, String> {
        let values = inputs[0].as_any().downcast_ref::<Float64Array>().ok_or("not a double")?;
        let doubled: Float64Array = values.iter().map(|value| value.map(|value| value * 2.0)).collect();
        let DataType::Struct(fields) = self.output().data_type().clone() else { return Err("not a struct".into()) };
        Ok(Arc::new(StructArray::new(fields, vec![Arc::new(doubled)], None)))
    }
}

#[tokio::test]
async fn predict_scores_a_table_a_view_or_a_cte() {
    let mut catalog = table("orders", &orders());
    catalog.scorers.insert("pelton_score_m".into(), Arc::new(Doubler([Field::new("amount", DataType::Float64, true)])));
    catalog.predicts.insert(
        "m".into(),
        Arc::new(|table| {
            format!(
                "select order_id, scored['prediction'] as prediction from \
                 (select order_id, pelton_score_m(amount) as scored from {table})"
            )
        }),
    );
    let engine = engine();
    let found = text(&engine, &catalog, "select * from predict(m, orders) order by 1").await;
    assert_eq!(found, "1|20.0\n2|-10.0\n3|\n");
    let cte = "with few as (select * from orders where order_id < 2) select p.prediction from predict(m, few) p";
    assert_eq!(text(&engine, &catalog, cte).await, "20.0\n");
    assert!(engine.analyze(&catalog, "select * from predict(n, orders)").is_err());
    // What a model lacks is a mistake of the call.
    let lacks = "with few as (select order_id from orders)\nselect p.prediction from predict(m, few) p";
    let error = engine.analyze(&catalog, lacks).unwrap_err();
    assert!(matches!(&error, QueryError::UnknownColumn { name, .. } if name == "amount"), "{error}");
    assert_eq!(error.at(), Some((2, 26)));
    let mistyped = "with few as (select order_id, ordered_at as amount from orders) select * from predict(m, few)";
    let error = engine.analyze(&catalog, mistyped).unwrap_err();
    assert_eq!(error.to_string(), "`amount` of model `m` takes double, not timestamp");
}

#[test]
fn row_programs_see_earlier_columns_and_give_the_same_bits_alone_and_in_a_batch() {
    let engine = engine();
    let input = orders();
    let expressions = [
        ("half".to_string(), "amount / 2.0".to_string()),
        ("scaled".to_string(), "half * 3 / nullif(order_id - 2, 0)".to_string()),
        ("hour".to_string(), "date_part('hour', ordered_at)".to_string()),
    ];
    let program = engine.compile(input.schema(), &expressions).unwrap();
    let all = program.evaluate(&input).unwrap();
    assert_eq!(all.num_columns(), 3);
    for row in 0..input.num_rows() {
        let alone = program.evaluate(&input.slice(row, 1)).unwrap();
        assert_eq!(alone, all.slice(row, 1));
    }
    for (sql, message) in
        [("sum(amount)", "row-wise"), ("now()", "row-wise"), ("nothing + 1", "nothing"), ("amount +", "expected")]
    {
        let error = match engine.compile(input.schema(), &[("x".into(), sql.into())]) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{sql} must be refused"),
        };
        assert!(error.contains(message), "{sql}: {error}");
    }
}

#[test]
fn what_would_fail_or_be_wrong_when_it_runs_is_refused_when_it_is_typed() {
    let catalog = Catalog::default()
        .with("orders", Relation::Typed(orders().schema()))
        .with("others", Relation::Typed(orders().schema()));
    for (sql, says) in [
        ("select order_id from orders full join others using (order_id)", "a RIGHT or FULL JOIN with `using`"),
        ("select * from orders natural full join others", "a RIGHT or FULL JOIN with `using`"),
        ("select order_id from (orders right join others using (order_id))", "a RIGHT or FULL JOIN with `using`"),
        (
            "with a as (select order_id from orders right join others using (order_id)) select 1 as one from a",
            "a RIGHT or FULL",
        ),
        ("select order_id in (select order_id from others) as is_in from orders", "`in (select ...)` and `exists"),
        ("select case when exists (select 1 from others) then 1 end as a from orders", "`in (select ...)` and `exists"),
    ] {
        let error = engine().analyze(&catalog, sql).unwrap_err();
        assert!(
            matches!(error, QueryError::Unsupported { .. }) && error.to_string().starts_with(says),
            "{sql}: {error}"
        );
    }
    for sql in [
        "select order_id from orders join others using (order_id)",
        "select order_id from orders left join others using (order_id)",
        "select orders.order_id from orders full join others on orders.order_id = others.order_id",
        "select order_id from orders where order_id in (select order_id from others) or amount > 1",
        "select order_id from orders where not exists (select 1 from others where others.order_id = orders.order_id)",
        "select order_id, (select max(amount) from others) as most from orders",
        "select lag(amount, 2, 0.0) over (order by ordered_at) as before, ntile(2 * 2) over (order by order_id) as n from orders",
    ] {
        let typed = engine().analyze(&catalog, sql);
        assert!(typed.is_ok(), "{sql}: {typed:?}");
    }
}
