//! Spans of time: which is longer, and how long each is.

use super::*;
use pelton_base::parse_time_us;

fn catalog() -> Catalog {
    let at = |text: &str| parse_time_us(text);
    table(
        "t",
        &batch(vec![
            ("id", ints(vec![Some(1), Some(2), Some(3), Some(4)])),
            ("a", times(vec![at("2026-01-01"), at("2026-01-01"), at("1600-01-01"), None])),
            ("b", times(vec![at("2026-01-03"), at("2026-01-01T00:00:30Z"), at("9999-12-31"), at("2026-01-01")])),
        ]),
    )
}

#[tokio::test]
async fn spans_are_compared_by_their_length() {
    let mut wrong = Vec::new();
    for (expression, wanted) in [
        ("b - a > interval '1 day'", "true false true "),
        ("b - a > interval '24 hours'", "true false true "),
        ("interval '1 day' < b - a", "true false true "),
        ("b - a <= interval '30 seconds'", "false true false "),
        ("b - a = interval '2 days'", "true false false "),
        ("b - a <> interval '48 hours'", "false true true "),
        ("b - a between interval '1 minute' and interval '1 week'", "true false false "),
        ("b - a in (interval '48 hours', interval '30 seconds')", "true true false "),
        ("b - a is distinct from interval '2 days'", "false true true true"),
        ("b - timestamp '2026-01-01' >= interval '2 days'", "true false true false"),
        ("now() - a > interval '1 day'", "true true true "),
        ("(select max(b) - min(b) from t where id < 3) > interval '1 day'", "true true true true"),
        ("interval '48 hours' > interval '1 day'", "true true true true"),
        ("interval '24 hours' = interval '1 day'", "true true true true"),
        ("case when b - a > interval '1 day' then 'late' else 'soon' end", "late soon late soon"),
        ("extract(epoch from b - a)", "172800.0 30.0 265078310400.0 "),
        ("extract(day from b - a)", "2 0 3068036 "),
        (
            "extract(epoch from timestamp '2026-01-01' - timestamp '1900-01-01')",
            "3976214400.0 3976214400.0 3976214400.0 3976214400.0",
        ),
    ] {
        let found = text(&engine(), &catalog(), &format!("select {expression} as x from t order by id")).await;
        let found = found.trim_end_matches('\n').replace('\n', " ");
        if found.trim_end() != wanted.trim_end() {
            wrong.push(format!("{expression}: {found}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    let sql = "select id from t where b - a > interval '1 day' and exists (select 1 from t o where o.b - t.a > interval '1 day' and o.id = t.id)";
    assert_eq!(text(&engine(), &catalog(), sql).await, "1\n3\n");
}

#[tokio::test]
async fn a_row_wise_expression_compares_spans_as_a_select_does() {
    let rows = rows(&engine(), &catalog(), "select a, b from t where id < 3 order by id").await.unwrap();
    let is_late = [("is_late".to_string(), "b - a > interval '1 day'".to_string())];
    let program = engine().compile(rows[0].schema(), &is_late).unwrap();
    let found = program.evaluate(&rows[0]).unwrap();
    assert_eq!(
        found.column(0).as_ref(),
        &arrow::array::BooleanArray::from(vec![true, false]) as &dyn arrow::array::Array
    );
}

#[test]
fn a_month_is_longer_or_shorter_than_nothing() {
    for sql in [
        "select id from t where b - a > interval '1 month'",
        "select interval '1 year' > interval '365 days' as x from t",
    ] {
        let error = engine().analyze(&catalog(), sql).unwrap_err();
        assert!(error.to_string().starts_with("a month has no fixed length"), "{error}");
    }
}

#[tokio::test]
async fn digits_beyond_microseconds_are_no_less_than_they_are() {
    // Nanoseconds do not reach what is far.
    let day = parse_time_us("2026-01-01");
    let near = table("t", &batch(vec![("id", ints(vec![Some(1), Some(2)])), ("a", times(vec![day, day]))]));
    for (condition, wanted) in [
        ("a = '2026-01-01 00:00:00.0000001'", ""),
        ("a in ('2026-01-01 00:00:00.0000001')", ""),
        ("a < '2026-01-01 00:00:00.0000001'", "1\n2\n"),
        ("a < timestamp '2026-01-01 00:00:00.0000001'", "1\n2\n"),
        ("a >= '2026-01-01 00:00:00.0000001'", ""),
        ("a between '2026-01-01 00:00:00.0000001' and '2026-01-02'", ""),
        ("a = timestamp '2026-01-01' + interval '100 nanoseconds'", ""),
        ("a >= '2026-01-01' and a < '2026-01-01 00:00:00.0000005'", "1\n2\n"),
    ] {
        let sql = format!("select id from t where {condition} order by id");
        assert_eq!(text(&engine(), &near, &sql).await, wanted, "{condition}");
    }
}

#[tokio::test]
async fn a_time_as_a_number_does_not_depend_on_what_stands_beside_it() {
    let number = "cast(coalesce(a, timestamp '2024-01-01') as bigint)";
    for beside in ["", ", to_timestamp('2024-01-01') as other"] {
        let sql = format!("select {number} as x{beside} from t where id = 1");
        assert!(text(&engine(), &catalog(), &sql).await.starts_with("1767225600000000000"), "{sql}");
    }
}

#[tokio::test]
async fn what_stands_for_a_missing_time_is_a_time() {
    let sql =
        "select arrow_typeof(nvl(a, timestamp '2026-01-01')) as x, arrow_typeof(ifnull(b, a)) as y from t where id = 1";
    let found = text(&engine(), &catalog(), sql).await;
    assert!(!found.contains("Utf8") && found.matches("Timestamp").count() == 2, "{found}");
}
