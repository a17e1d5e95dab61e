//! Aggregates of doubles are the same however rows are spread over batches and threads, and under little memory.

use super::*;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;

const ROWS: usize = 60_000;

/// Rows whose sums would differ with the order: magnitudes from 1e-9 to 1e9 and both signs.
fn readings() -> RecordBatch {
    let mut state = 7u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let values: Vec<Option<f64>> = (0..ROWS)
        .map(|_| {
            let scale = 10f64.powi((next() % 16) as i32 - 6);
            (next() % 50 != 0).then(|| (next() % 2001) as f64 / 1000.0 * scale - scale)
        })
        .collect();
    let values: ArrayRef = Arc::new(Float64Array::from(values));
    let keys = |count: usize| ints((0..ROWS).map(|row| Some((row * 7919 % count) as i64)).collect());
    batch(vec![
        ("row", ints((0..ROWS as i64).map(Some).collect())),
        ("few", keys(11)),
        ("many", keys(20_000)),
        ("x", values),
    ])
}

fn spread(whole: &RecordBatch, rows: usize, is_reversed: bool) -> Catalog {
    let mut parts: Vec<RecordBatch> =
        (0..ROWS).step_by(rows).map(|from| whole.slice(from, rows.min(ROWS - from))).collect();
    if is_reversed {
        parts.reverse();
    }
    Catalog::default().with("readings", Relation::Batches(whole.schema(), parts))
}

#[tokio::test]
async fn the_order_of_rows_makes_no_difference_to_aggregates_of_doubles() {
    let whole = readings();
    for sql in [
        "select sum(x), avg(x), var(x), var_pop(x), stddev(x), stddev_pop(x), sum(x) filter (where x > 0) from readings",
        "select few, sum(x), avg(x), stddev(x) from readings group by few order by few",
        "select many, sum(x), mean(x), var_samp(x) from readings group by many order by many",
        "select few, sum(distinct x), avg(distinct x), count(*), max(x) from readings group by few order by few",
        "select few, corr(x, row), covar(x, many), covar_pop(row, x), regr_slope(x, row), regr_intercept(x, row), regr_r2(row, x), regr_sxy(x, row)
         from readings group by few order by few",
        "select few, regr_avgx(x, row), regr_avgy(x, row), regr_sxx(row, x), regr_syy(x, row), regr_count(x, row)
         from readings group by few order by few",
        "select many, corr(x, row) from readings group by many order by many",
        "select row, corr(x, row) over (order by row rows between 20 preceding and current row) from readings order by row",
        "select few, row, sum(x) over (partition by few order by row rows between 20 preceding and current row),
                avg(x) over (partition by few order by row) from readings order by few, row",
    ] {
        let mut wanted: Option<String> = None;
        for (memory_mb, threads, rows, is_reversed) in
            [(1000, 1, ROWS, false), (1000, 2, 512, true), (1000, 7, 1000, false), (24, 3, 2048, true)]
        {
            let limits = Limits { memory_bytes: memory_mb << 20, threads, spill_dir: None };
            let engine = LocalEngine::new(&limits).unwrap();
            let found = text(&engine, &spread(&whole, rows, is_reversed), sql).await;
            assert_eq!(wanted.get_or_insert_with(|| found.clone()), &found, "{threads} threads, {memory_mb} MB: {sql}");
        }
    }
}

#[tokio::test]
async fn a_window_that_moves_on_forgets_what_it_left() {
    let engine = engine();
    let whole = readings();
    let moving = "select row, sum(x) over (order by row rows between 9 preceding and current row) as s from readings order by row";
    let moving = rows(&engine, &spread(&whole, 4096, false), moving).await.unwrap();
    let x = whole.column_by_name("x").unwrap().as_primitive::<Float64Type>();
    let mut row = 0;
    for batch in &moving {
        let sums = batch.column_by_name("s").unwrap().as_primitive::<Float64Type>();
        for found in sums.iter() {
            let window: Vec<f64> = (row.max(9) - 9..=row).filter(|at| x.is_valid(*at)).map(|at| x.value(at)).collect();
            let wanted = exact(&window);
            assert_eq!(found.map(f64::to_bits), wanted.map(f64::to_bits), "row {row}: {window:?}");
            row += 1;
        }
    }
    assert_eq!(row, ROWS);
}

/// The sum of a few doubles, as whole numbers of 2^-90: an oracle that shares nothing with the accumulator.
fn exact(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let unit = 2f64.powi(90);
    let total: i128 = values
        .iter()
        .map(|value| {
            let scaled = value * unit;
            assert!(scaled == scaled.trunc() && scaled.abs() < 1e38, "{value} is no whole number of units");
            scaled as i128
        })
        .sum();
    Some(total as f64 / unit)
}

#[tokio::test]
async fn nulls_empty_groups_and_other_types_are_as_in_sql() {
    let none: ArrayRef = Arc::new(Float64Array::from(vec![None, None, Some(2.5), Some(f64::INFINITY)]));
    let catalog = table("t", &batch(vec![("g", ints(vec![Some(1), Some(1), Some(2), Some(3)])), ("x", none)]));
    let engine = engine();
    assert_eq!(
        text(&engine, &catalog, "select g, sum(x), avg(x), var(x), var_pop(x) from t group by g order by g").await,
        "1||||\n2|2.5|2.5||0.0\n3|inf|inf||NaN\n"
    );
    assert_eq!(text(&engine, &catalog, "select sum(x), avg(x), stddev(x) from t where g > 9").await, "||\n");
    assert_eq!(
        text(
            &engine,
            &catalog,
            "select sum(g), avg(g), (select sum(cast(g as decimal(10,2))) from t where g < 3), sum(distinct x) from t where g < 3"
        )
        .await,
        "4|1.3333333333333333|4.00|2.5\n"
    );
}

#[tokio::test]
async fn groups_of_one_row_each_that_are_passed_on_unaggregated_are_the_same() {
    // So many different keys that the engine gives up to aggregate before it exchanges rows; each comes twice, far apart.
    const KEYS: i64 = 250_000;
    let value = |row: i64| (row % 13 != 0).then(|| (row % 1999) as f64 * 0.1 - 77.7e3 / (1 + row % 7) as f64);
    let rows_of = |from: i64| {
        let x: ArrayRef = Arc::new((from..from + KEYS).map(value).collect::<Float64Array>());
        batch(vec![("k", ints((0..KEYS).map(Some).collect())), ("x", x)])
    };
    let batches = [rows_of(0), rows_of(KEYS)]
        .iter()
        .flat_map(|half| (0..50).map(|at| half.slice(at * 5000, 5000)).collect::<Vec<_>>())
        .collect();
    let catalog = Catalog::default().with("t", Relation::Batches(rows_of(0).schema(), batches));
    let engine = LocalEngine::new(&Limits { threads: 2, ..Limits::default() }).unwrap();
    let sql = "select k, sum(x) as s, var_pop(x) as v, sum(x) filter (where x > 0) as p from t group by k order by k";
    let mut key = 0;
    for found in rows(&engine, &catalog, sql).await.unwrap() {
        let column = |name: &str| found.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
        let (sums, variances, positive) = (column("s"), column("v"), column("p"));
        for row in 0..found.num_rows() {
            let values: Vec<f64> = [value(key), value(KEYS + key)].into_iter().flatten().collect();
            // One addition of two doubles is rounded once.
            let sum = |values: &[f64]| values.iter().copied().reduce(|a, b| a + b);
            let of = |column: &Float64Array| column.is_valid(row).then(|| column.value(row));
            assert_eq!(of(&sums), sum(&values), "key {key}");
            let above: Vec<f64> = values.iter().copied().filter(|value| *value > 0.0).collect();
            assert_eq!(of(&positive), sum(&above), "key {key}");
            let half = (values.first().unwrap_or(&0.0) - values.last().unwrap_or(&0.0)) / 2.0;
            let variance = of(&variances);
            assert!(variance.is_some() != values.is_empty(), "key {key}");
            assert!((variance.unwrap_or(0.0) - half * half).abs() <= 1e-9 * half * half, "key {key}: {variance:?}");
            key += 1;
        }
    }
    assert_eq!(key, KEYS);
}

#[tokio::test]
async fn not_a_number_is_the_greatest_wherever_it_stands() {
    let engine = engine();
    for values in [[-5.0, f64::NAN, 3.0], [f64::NAN, -5.0, 3.0], [-5.0, 3.0, f64::NAN]] {
        let all: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let single = arrow::compute::cast(&all, &arrow::datatypes::DataType::Float32).unwrap();
        let whole = batch(vec![("g", ints(vec![Some(1); 3])), ("x", all), ("y", single)]);
        let parts = (0..3).map(|row| whole.slice(row, 1)).collect();
        let catalog = Catalog::default().with("t", Relation::Batches(whole.schema(), parts));
        for sql in [
            "select min(x), max(x), min(y), max(y) from t group by g",
            "select min(x), max(x), min(y), max(y) from t",
            "select distinct min(x) over (), max(x) over (), min(y) over (), max(y) over () from t",
        ] {
            assert_eq!(text(&engine, &catalog, sql).await, "-5.0|NaN|-5.0|NaN\n", "{values:?}: {sql}");
        }
        let of_nulls = "select max(x) filter (where x is null), min(x) filter (where x < -9) from t group by g";
        assert_eq!(text(&engine, &catalog, of_nulls).await, "|\n");
    }
}
