//! The as-of join against a naive oracle, on random inputs with ties, duplicates, nulls and late rows.

use super::*;
use arrow::array::{Array, Int64Array};
use pelton_base::Seed;

type Key = (Option<i64>, Option<i64>);

#[tokio::test]
async fn joins_one_above_the_other_each_get_their_order_on_any_number_of_threads() {
    let numbers = |of: &dyn Fn(i64) -> i64| ints((0..300).map(|row| Some(of(row))).collect());
    let at = |of: &dyn Fn(i64) -> i64| times((0..300).map(|row| Some(of(row) * 86_400_000_000)).collect());
    let labels = batch(vec![
        ("id", numbers(&|row| row)),
        ("u", numbers(&|row| row % 7)),
        ("r", numbers(&|row| row % 3)),
        ("t", at(&|row| 1 + row % 28)),
    ]);
    let by_user = batch(vec![("u", numbers(&|row| row % 7)), ("t", at(&|row| row % 28)), ("g", numbers(&|row| row))]);
    let by_both = batch(vec![
        ("u", numbers(&|row| row % 7)),
        ("r", numbers(&|row| row % 3)),
        ("t", at(&|row| row % 28)),
        ("f", numbers(&|row| row)),
    ]);
    let catalog = with(with(table("l", &labels), "f1", &by_user), "f2", &by_both);
    let lagged = |days: usize, name: &str| {
        format!(" asof join f1 {name} match_condition (l.t - interval '{days} days' >= {name}.t) on l.u = {name}.u")
    };
    let user = " asof join f1 a match_condition (l.t >= a.t) on l.u = a.u".to_string();
    let both = " asof join f2 b match_condition (l.t >= b.t) on l.u = b.u and l.r = b.r".to_string();
    let swapped = " asof join f2 c match_condition (l.t >= c.t) on l.r = c.r and l.u = c.u".to_string();
    for joins in [
        lagged(1, "a") + &lagged(2, "b") + &lagged(3, "c"),
        user.clone() + &both,
        both.clone() + &user,
        both.clone() + &swapped,
        user.clone() + &lagged(1, "b"),
        both + &lagged(2, "c") + &user,
    ] {
        for select in ["count(*) as n, sum(l.id) as s", "l.u, count(a.g) as n, sum(a.g) as s"] {
            let group = if select.starts_with("l.u") { " group by l.u order by l.u" } else { "" };
            if !group.is_empty() && !joins.contains(" a match") {
                continue;
            }
            let sql = format!("select {select} from l{joins}{group}");
            let on = async |threads| {
                let engine = LocalEngine::new(&Limits { threads, ..Limits::default() }).unwrap();
                text(&engine, &catalog, &sql).await
            };
            let alone = on(1).await;
            assert!(alone.starts_with("300|44850\n") || !group.is_empty(), "{sql}: {alone}");
            for threads in [2, 3, 8] {
                assert_eq!(on(threads).await, alone, "{threads} threads: {sql}");
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Label {
    id: i64,
    key: Key,
    at: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Feature {
    time: Option<i64>,
    known_at: Option<i64>,
    key: Key,
    value: Option<i64>,
}

/// What the join must give: looks at every feature row for every label row.
fn oracle(labels: &[Label], features: &[Feature], knows: bool, ttl: Option<i64>) -> Vec<(i64, Option<Feature>)> {
    let mut out: Vec<_> = labels
        .iter()
        .map(|label| {
            let visible = features.iter().filter(|feature| {
                let (Some(at), Some(time)) = (label.at, feature.time) else { return false };
                let known = if knows { feature.known_at } else { Some(time) };
                let same_key = label.key == feature.key && label.key.0.is_some() && label.key.1.is_some();
                same_key && time <= at && known.is_some_and(|known| known <= at)
            });
            let best = visible.max_by_key(|feature| {
                let visible_at = if knows { feature.known_at.max(feature.time) } else { feature.time };
                // Ties go to the greatest row, columns in the order of the table: k1, k2, time, known_at, value.
                (feature.time, visible_at, feature.key, feature.known_at, feature.value)
            });
            let fresh = best.filter(|best| ttl.is_none_or(|ttl| label.at.unwrap() - best.time.unwrap() <= ttl));
            (label.id, fresh.cloned())
        })
        .collect();
    out.sort_by_key(|(id, _)| *id);
    out
}

fn random(seed: Seed, labels: usize, features: usize) -> (Vec<Label>, Vec<Feature>) {
    let mut next = 0;
    let mut draw = |below: u64| {
        next += 1;
        seed.at(next) % below
    };
    let mut maybe = |below: u64, nulls: u64| {
        if draw(nulls) == 0 { None } else { Some(draw(below) as i64) }
    };
    let labels =
        (0..labels).map(|id| Label { id: id as i64, key: (maybe(4, 12), maybe(3, 12)), at: maybe(40, 15) }).collect();
    let features = (0..features)
        .map(|_| {
            let time = maybe(40, 15);
            let late = maybe(10, 6);
            let known_at = time.zip(late).map(|(time, late)| time + late - 2);
            Feature { time, known_at, key: (maybe(4, 12), maybe(3, 12)), value: maybe(3, 5) }
        })
        .collect();
    (labels, features)
}

fn label_batch(labels: &[Label]) -> RecordBatch {
    batch(vec![
        ("id", ints(labels.iter().map(|row| Some(row.id)).collect())),
        ("k1", ints(labels.iter().map(|row| row.key.0).collect())),
        ("k2", ints(labels.iter().map(|row| row.key.1).collect())),
        ("at", times(labels.iter().map(|row| row.at).collect())),
    ])
}

fn feature_batch(features: &[Feature], known_at: &str) -> RecordBatch {
    batch(vec![
        ("k1", ints(features.iter().map(|row| row.key.0).collect())),
        ("k2", ints(features.iter().map(|row| row.key.1).collect())),
        ("time", times(features.iter().map(|row| row.time).collect())),
        (known_at, times(features.iter().map(|row| row.known_at).collect())),
        ("value", ints(features.iter().map(|row| row.value).collect())),
    ])
}

fn column(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    let array = arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Int64).unwrap();
    array.as_any().downcast_ref::<Int64Array>().unwrap().iter().collect()
}

fn split(batch: &RecordBatch, size: usize) -> Relation {
    let parts = (0..batch.num_rows()).step_by(size).map(|at| batch.slice(at, size.min(batch.num_rows() - at)));
    Relation::Batches(batch.schema(), parts.collect())
}

async fn joined(engine: &LocalEngine, catalog: &Catalog, sql: &str) -> Vec<(i64, Option<i64>, Option<i64>)> {
    let batches = rows(engine, catalog, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    batches
        .iter()
        .flat_map(|batch| {
            let (ids, times, values) = (column(batch, "id"), column(batch, "time"), column(batch, "value"));
            ids.into_iter().zip(times).zip(values).map(|((id, time), value)| (id.unwrap(), time, value))
        })
        .collect()
}

#[test]
fn a_join_without_keys_is_refused() {
    let catalog = table("l", &batch(vec![("at", times(vec![Some(1)]))]));
    let catalog = with(catalog, "r", &batch(vec![("at", times(vec![Some(1)])), ("x", ints(vec![Some(1)]))]));
    let sql = "select l.at, r.x from l asof join r match_condition (l.at >= r.at)";
    let error = engine().analyze(&catalog, sql).unwrap_err().report("table `t`").to_string();
    assert!(error.contains("[unsupported-sql]") && error.contains("ASOF JOIN needs ON"), "{error}");
}

#[tokio::test]
async fn it_equals_a_naive_join_on_random_inputs() {
    let engine = LocalEngine::new(&Limits { threads: 3, ..Limits::default() }).unwrap();
    for round in 0..60 {
        let seed = Seed(round);
        let (labels, features) = random(seed, (round * 3) as usize, (round * 5 % 97) as usize);
        let knows = round % 2 == 0;
        let ttl = (round % 3 == 0).then_some(7);
        let known_at = if knows { "known_at" } else { "noticed" };
        let catalog = Catalog::default()
            .with("labels", split(&label_batch(&labels), 7))
            .with("features", split(&feature_batch(&features, known_at), 5));
        let limit = if ttl.is_some() { "and l.at - f.time <= interval '0.000007 seconds'" } else { "" };
        let sql = format!(
            "select l.id, f.time, f.value from labels l asof join features f match_condition (l.at >= f.time {limit}) \
             on l.k1 = f.k1 and f.k2 = l.k2 order by id"
        );
        let found = joined(&engine, &catalog, &sql).await;
        let wanted: Vec<_> = oracle(&labels, &features, knows, ttl)
            .into_iter()
            .map(|(id, best)| (id, best.as_ref().and_then(|best| best.time), best.and_then(|best| best.value)))
            .collect();
        assert_eq!(found, wanted, "round {round}");
    }
}

#[tokio::test]
async fn a_known_at_column_can_be_named() {
    let engine = engine();
    let labels = [Label { id: 1, key: (Some(1), Some(1)), at: Some(10) }];
    let feature =
        |time, known_at, value| Feature { time: Some(time), known_at: Some(known_at), key: (Some(1), Some(1)), value };
    let features = [feature(3, 4, Some(30)), feature(9, 11, Some(90)), feature(5, 10, Some(50))];
    let catalog = table("l", &label_batch(&labels));
    let catalog = with(catalog, "f", &feature_batch(&features, "noticed"));
    let sql = "select l.id, f.time, f.value from l asof join f \
               match_condition (l.at >= f.time and l.at >= f.noticed) on l.k1 = f.k1";
    assert_eq!(joined(&engine, &catalog, sql).await, [(1, Some(5), Some(50))]);
    let sql = "select l.id, f.time, f.value from l asof join f match_condition (f.time <= l.at) on l.k1 = f.k1";
    assert_eq!(joined(&engine, &catalog, sql).await, [(1, Some(9), Some(90))]);
}

#[tokio::test]
async fn a_known_at_column_that_is_no_time_is_a_column_like_others() {
    let engine = engine();
    let labels = [Label { id: 1, key: (Some(1), Some(1)), at: Some(10) }];
    let catalog = table("l", &label_batch(&labels));
    let features = batch(vec![
        ("k1", ints(vec![Some(1)])),
        ("time", times(vec![Some(3)])),
        ("known_at", texts(vec![Some("the office")])),
        ("value", ints(vec![Some(30)])),
    ]);
    let catalog = with(catalog, "f", &features);
    let sql = "select l.id, f.time, f.value from l asof join f match_condition (l.at >= f.time) on l.k1 = f.k1";
    assert_eq!(joined(&engine, &catalog, sql).await, [(1, Some(3), Some(30))]);
}

#[tokio::test]
async fn several_joins_in_one_select_keep_every_left_row_once() {
    let engine = engine();
    let (labels, features) = random(Seed(11), 200, 150);
    let catalog = table("l", &label_batch(&labels));
    let catalog = with(catalog, "f", &feature_batch(&features, "known_at"));
    let sql = "select l.id, f.time, g.value from l \
               asof join f match_condition (l.at >= f.time) on l.k1 = f.k1 and l.k2 = f.k2 \
               asof join (select k1, time as t2, known_at, value from f) g match_condition (l.at >= g.t2) on l.k1 = g.k1 \
               order by id";
    let found = joined(&engine, &catalog, sql).await;
    assert_eq!(found.iter().map(|row| row.0).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    let wanted: Vec<_> =
        oracle(&labels, &features, true, None).into_iter().map(|(_, best)| best.and_then(|best| best.time)).collect();
    assert_eq!(found.iter().map(|row| row.1).collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn it_spills_under_a_small_memory_limit_with_the_same_result() {
    const ROWS: i64 = 500_000;
    let seed = Seed(5);
    let labels: Vec<_> = (0..ROWS)
        .map(|id| Label { id, key: (Some(seed.at(id as u64) as i64 % 5000), Some(0)), at: Some((id * 7919) % ROWS) })
        .collect();
    let features: Vec<_> = (0..ROWS)
        .map(|at| Feature {
            time: Some((at * 104_729) % ROWS),
            known_at: Some((at * 104_729) % ROWS),
            key: (Some(seed.at((at + ROWS) as u64) as i64 % 5000), Some(0)),
            value: Some(at),
        })
        .collect();
    // Each with memory of its own, as batches of files have.
    let parts = |batches: Vec<RecordBatch>| Relation::Batches(batches[0].schema(), batches);
    let catalog = Catalog::default()
        .with("l", parts(labels.chunks(8192).map(label_batch).collect()))
        .with("f", parts(features.chunks(8192).map(|rows| feature_batch(rows, "known_at")).collect()));
    let sql = "select count(*) as id, max(f.time) as time, sum(f.value * (l.id % 1000)) as value \
               from l asof join f match_condition (l.at >= f.time) on l.k1 = f.k1";
    let plenty = joined(&engine(), &catalog, sql).await;
    let little = LocalEngine::new(&Limits { memory_bytes: 24 << 20, ..Limits::default() }).unwrap();
    assert_eq!(joined(&little, &catalog, sql).await, plenty);
    assert_eq!(plenty[0].0, ROWS);
}

/// Labels at two times, and features whose `known_at` is another column than their time.
fn two_times() -> Catalog {
    let labels = batch(vec![
        ("id", ints(vec![Some(1)])),
        ("k1", ints(vec![Some(1)])),
        ("at", times(vec![Some(10)])),
        ("asked_at", times(vec![Some(20)])),
        ("day", Arc::new(arrow::array::Date32Array::from(vec![1]))),
        ("n", ints(vec![Some(10)])),
        ("name", texts(vec![Some("a")])),
    ]);
    let features = batch(vec![
        ("k1", ints(vec![Some(1); 2])),
        ("time", times(vec![Some(3), Some(9)])),
        ("noticed", times(vec![Some(4), Some(11)])),
        ("day", Arc::new(arrow::array::Date32Array::from(vec![0, 1]))),
        ("n", ints(vec![Some(3), Some(9)])),
        ("name", texts(vec![Some("a"); 2])),
        ("value", ints(vec![Some(30), Some(90)])),
    ]);
    with(table("l", &labels), "f", &features)
}

#[tokio::test]
async fn each_form_of_a_match_condition_asks_what_it_says() {
    let (engine, catalog) = (engine(), two_times());
    for (condition, value) in [
        ("l.at >= f.time", Some(90)),
        ("f.time <= l.at", Some(90)),
        ("l.at >= f.time and l.at >= f.time", Some(90)),
        ("l.at >= f.time and l.at >= f.noticed", Some(30)),
        ("l.at >= f.time and f.noticed <= l.at", Some(30)),
        ("l.asked_at >= f.time and l.asked_at >= f.noticed", Some(90)),
        ("l.asked_at >= f.time and l.asked_at - f.time <= interval '0.000011 seconds'", Some(90)),
        ("l.asked_at >= f.time and l.asked_at - f.time <= interval '0.000010 seconds'", None),
        ("l.asked_at >= f.time and interval '0.000011 seconds' >= l.asked_at - f.time", Some(90)),
        ("l.asked_at - f.time <= interval '0.000010 seconds' and l.asked_at >= f.time", None),
        ("l.at >= f.time and l.at >= f.noticed and l.at - f.time <= interval '0.000007 seconds'", Some(30)),
        ("l.at >= f.time and l.at >= f.noticed and l.at - f.time <= interval '0.000006 seconds'", None),
        ("l.at - interval '0.000002 seconds' >= f.time", Some(30)),
        ("l.n >= f.n", Some(90)),
        ("l.day >= f.day", Some(90)),
    ] {
        let sql =
            format!("select l.id, f.time, f.value from l asof join f match_condition ({condition}) on l.k1 = f.k1");
        match rows(&engine, &catalog, &sql).await {
            Ok(found) => assert_eq!(column(&found[0], "value"), [value], "{condition}"),
            Err(error) => panic!("{condition}: {error}"),
        }
    }
}

#[tokio::test]
async fn times_are_compared_as_finely_as_they_are() {
    let engine = engine();
    let catalog = Catalog::default();
    let at = |text: &str| format!("arrow_cast('2026-01-01T00:00:{text}', 'Timestamp(Nanosecond, None)')");
    let found = |left: String, right: String| {
        let sql = format!(
            "select r.value from (select 1 as k, {left} as at) l asof join (select 1 as k, {right}, 7 as value) r \
             match_condition (l.at >= r.at) on l.k = r.k"
        );
        let (engine, catalog) = (&engine, &catalog);
        async move { text(engine, catalog, &sql).await }
    };
    assert_eq!(found(at("00.000000500"), format!("{} as at", at("00.000000900"))).await, "\n");
    assert_eq!(found(at("00.000000900"), format!("{} as at", at("00.000000500"))).await, "7\n");
    // What was known in the course of a day was not known when the day began.
    let known =
        "date '2026-01-02' as at, arrow_cast('2026-01-02T10:00:00', 'Timestamp(Microsecond, None)') as known_at";
    assert_eq!(found("date '2026-01-02'".into(), known.into()).await, "\n");
    assert_eq!(found("date '2026-01-03'".into(), known.into()).await, "7\n");
}

#[tokio::test]
async fn what_it_cannot_do_is_said() {
    let (engine, catalog) = (engine(), two_times());
    for (condition, message) in [
        ("l.at > f.time", "MATCH_CONDITION is `l.time >= r.time`, then"),
        ("l.at > f.time", "`l.at > f.time` is none of these"),
        ("f.time >= l.at", "`f.time >= l.at` is none of these"),
        ("l.at >= f.time or l.at >= f.noticed", "is none of these"),
        ("l.at >= f.time and f.n > 3", "is none of these"),
        ("l.at - f.time <= interval '7 days'", "needs `l.time >= r.time`"),
        (
            "l.at >= f.time and l.at - f.noticed <= interval '7 days'",
            "limits the age by `l.at - f.noticed`, but matches `l.at >= f.time` first; only `l.at - f.time` can be limited",
        ),
        ("l.at >= f.time and l.asked_at - f.time <= interval '7 days'", "limits the age by `l.asked_at - f.time`"),
        (
            "l.at >= f.noticed and l.at >= f.time and l.at - f.time <= interval '7 days'",
            "but matches `l.at >= f.noticed` first",
        ),
        ("l.at >= f.time and l.at - l.asked_at <= interval '7 days'", "limits the age by `l.at - l.asked_at`"),
        ("l.at >= f.time and l.at - f.time <= interval '1 month'", "a span that is always as long"),
        (
            "l.at >= f.time and l.at - f.time <= interval '1 day' and l.at - f.time <= interval '2 days'",
            "is none of these",
        ),
        (
            "l.asked_at >= f.time and l.at >= f.noticed",
            "compares `f.time` with `l.asked_at` and `f.noticed` with `l.at`; both are compared with the same time",
        ),
        ("cast(l.at as date) >= f.day and l.at >= f.noticed", "both are compared with the same time"),
        ("l.at >= f.time and l.at >= f.noticed and l.at >= f.day", "`f.day` is a third time"),
        ("l.name >= f.name", "not text"),
    ] {
        let sql = format!("select * from l asof join f match_condition ({condition}) on l.k1 = f.k1");
        let error = engine.analyze(&catalog, &sql).unwrap_err();
        assert!(matches!(error, QueryError::Unsupported { .. }), "{condition}: {error:?}");
        assert!(error.to_string().contains(message), "{condition}: {error}");
    }
    for (sql, message) in [
        ("select * from l asof join f match_condition (l.at >= f.time) on l.k1 > f.k1", "ON compares"),
        ("select * from l asof join f match_condition (l.at >= f.time) using (k1)", "names its keys with ON"),
    ] {
        let error = engine.analyze(&catalog, sql).unwrap_err().to_string();
        assert!(error.contains(message), "{sql}: {error}");
    }
}
