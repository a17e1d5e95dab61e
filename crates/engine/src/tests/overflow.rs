//! Whole numbers and decimals that leave their type are an error, whatever adds them up; those that come back to it are not.

use super::*;

const MAX: i64 = i64::MAX;

fn numbers() -> Catalog {
    table(
        "t",
        &batch(vec![
            ("g", ints(vec![Some(1), Some(1), Some(2), Some(2), Some(3)])),
            ("x", ints(vec![Some(MAX), Some(MAX), Some(MAX), Some(-MAX), None])),
            ("one", ints(vec![Some(1); 5])),
        ]),
    )
}

async fn error(sql: &str) -> String {
    rows(&engine(), &numbers(), sql).await.expect_err(sql).to_string()
}

#[tokio::test]
async fn a_sum_that_leaves_its_type_is_an_error() {
    for sql in [
        "select sum(x) from t",
        "select g, sum(x) from t group by g",
        "select sum(x) over (order by g, one rows between 1 preceding and current row) from t",
        "select sum(x) over (partition by g) from t",
        "select sum(distinct x + g * 0 + case when x > 0 then g - 2 else 5 end), count(*) from t where g < 3",
        "select sum(cast(x as decimal(38, 0)) * 5000000000000000000) from t where x > 0",
        "select sum(y) from (select arrow_cast(x, 'UInt64') as y from t where x > 0)",
    ] {
        let found = error(sql).await;
        assert!(
            found.contains("a sum is above what `bigint` holds") || found.contains("a sum has more than the 38 digits"),
            "{sql}: {found}"
        );
    }
}

#[tokio::test]
async fn a_sum_that_comes_back_to_its_type_is_right() {
    let of = async |sql: &str| text(&engine(), &numbers(), sql).await;
    assert_eq!(of("select g, sum(x) from t where g > 1 group by g order by g").await, "2|0\n3|\n");
    // The first three together are above the maximum.
    assert_eq!(of("select sum(v) from (select x as v from t union all select -x from t where g = 1)").await, "0\n");
    assert_eq!(of("select sum(cast(x as decimal(38, 0))) from t").await, "18446744073709551614\n");
    assert_eq!(of("select sum(x) from t where g > 5").await, "\n");
    assert_eq!(of("select sum(distinct x), sum(x) from t where g > 1").await, "0|0\n");
    assert_eq!(
        of("select sum(x) over (order by g, x rows between 1 preceding and current row) from t where g > 1 order by g, x").await,
        "-9223372036854775807\n0\n9223372036854775807\n"
    );
    assert_eq!(of("select sum(x + 0) from t where g = 2").await, "0\n");
}

#[tokio::test]
async fn arithmetic_that_leaves_its_type_is_an_error() {
    for (sql, wanted) in [
        (
            "select x + one from t",
            "`9223372036854775807 + 1` is outside of `bigint`; write `cast(x as decimal(38, 0))` for one of the operands",
        ),
        (
            "select -x - one - one from t where g = 1",
            "`-9223372036854775808 - 1` is outside of `bigint`; write `cast(x as decimal(38, 0))` for one of the operands",
        ),
        (
            "select x * 2 as double from t",
            "`9223372036854775807 * 2` is outside of `bigint`; write `cast(x as decimal(38, 0))` for one of the operands",
        ),
        (
            "select 9223372036854775807 + 1",
            "`9223372036854775807 + 1` is outside of `bigint`; write `cast(x as decimal(38, 0))` for one of the operands",
        ),
        (
            "select g from t where x + g > 5",
            "`9223372036854775807 + 1` is outside of `bigint`; write `cast(x as decimal(38, 0))` for one of the operands",
        ),
        (
            "select cast(g as smallint) * cast(20000 as smallint) from t where g = 2",
            "`2 * 20000` is outside of `smallint`; write `cast(x as bigint)` for one of the operands",
        ),
        (
            "select cast(x as decimal(38, 0)) * cast('99999999999999999999' as decimal(38, 0)) from t where x > 0",
            "has more than 38 digits",
        ),
        (
            "select max(x + one) from t",
            "`9223372036854775807 + 1` is outside of `bigint`; write `cast(x as decimal(38, 0))` for one of the operands",
        ),
        (
            "select g from t where x < (select max(u.x + u.one) from t u)",
            "`9223372036854775807 + 1` is outside of `bigint`; write `cast(x as decimal(38, 0))` for one of the operands",
        ),
    ] {
        let found = error(sql).await;
        assert!(found.contains(wanted), "{sql}: {found}");
    }
}

#[tokio::test]
async fn checked_arithmetic_keeps_names_nulls_and_laziness() {
    let of = async |sql: &str| text(&engine(), &numbers(), sql).await;
    let names = |sql: &str| {
        let schema = engine().analyze(&numbers(), sql).unwrap().schema;
        schema.fields().iter().map(|field| format!("{} {}", field.name(), field.is_nullable())).collect::<Vec<_>>()
    };
    let sql = "select g + one, g * 2 - one, -g, sum(g * 2) over () from t where g = 1 limit 1";
    let found = rows(&engine(), &numbers(), sql).await.unwrap();
    let run: Vec<String> =
        found[0].schema().fields().iter().map(|field| format!("{} {}", field.name(), field.is_nullable())).collect();
    assert_eq!(run, names(sql));
    assert_eq!(of(sql).await, "2|1|-1|4\n");
    assert_eq!(of("select case when g > 1 then 0 else g * 2 end as d, case when x > 0 then 0 else x + 9 end from t where g = 2 order by x").await, "0|-9223372036854775798\n0|0\n");
    assert_eq!(of("select date '2026-03-01' - date '2026-02-01' as days, 7 % 4, -7 / 2").await, "28|3|-3\n");
    assert_eq!(
        of("select count(*) filter (where not ((g + one) % 2 = 0)), sum((g + one) * 3 - 1), max(-(g + one)) from t")
            .await,
        "2|37|-2\n"
    );
    assert_eq!(
        of("select (g + one) * 2, count(*) from t group by (g + one) * 2 order by (g + one) * 2").await,
        "4|2\n6|2\n8|1\n"
    );
    assert_eq!(of("select g, sum(g * 2) from t group by g having sum(g) + 1 > 3 order by g").await, "2|8\n3|6\n");
}

#[test]
fn derived_columns_are_checked_too() {
    let one = batch(vec![("x", ints(vec![Some(MAX), Some(1)]))]);
    let program = engine().compile(one.schema(), &[("y".to_string(), "x * 2".to_string())]).unwrap();
    assert!(
        program.evaluate(&one).unwrap_err().to_string().contains("`9223372036854775807 * 2` is outside of `bigint`")
    );
    let y = program.evaluate(&one.slice(1, 1)).unwrap();
    assert_eq!(y.column(0).as_ref(), ints(vec![Some(2)]).as_ref());
}
