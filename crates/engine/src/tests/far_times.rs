//! Times before 1677 and after 2262, which nanoseconds do not reach.

use super::*;
use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use pelton_base::parse_time_us;

/// Rows `near`, of our age, and `far`, at both ends of what people write.
fn catalog() -> Catalog {
    let times = |texts: &[Option<&str>]| {
        let times: TimestampMicrosecondArray = texts.iter().map(|text| text.and_then(parse_time_us)).collect();
        Arc::new(times.with_timezone("UTC")) as ArrayRef
    };
    table(
        "t",
        &batch(vec![
            ("id", ints(vec![Some(1), Some(2), Some(3)])),
            ("near", times(&[Some("2026-01-05T10:00:00.000001Z"), Some("1999-12-31"), None])),
            ("far", times(&[Some("9999-12-31T23:59:59.999999Z"), Some("1600-02-29T03:04:05Z"), None])),
        ]),
    )
}

#[tokio::test]
async fn times_of_any_age_are_compared_cut_and_written() {
    let mut wrong = Vec::new();
    for (expression, wanted) in [
        (
            "coalesce(far, timestamp '9999-12-31')",
            "9999-12-31T23:59:59.999999Z 1600-02-29T03:04:05Z 9999-12-31T00:00:00Z",
        ),
        ("far > '2026-01-01'", "true false "),
        ("far = '9999-12-31T23:59:59.999999Z'", "true false "),
        ("far between '0001-01-01' and timestamp '9999-01-01'", "false true "),
        ("far in ('1600-02-29T03:04:05Z', '2026-01-01')", "false true "),
        ("far < now()", "false true "),
        ("near < timestamp '9999-12-31'", "true true "),
        (
            "case when far is null then timestamp '2026-01-01' else far end",
            "9999-12-31T23:59:59.999999Z 1600-02-29T03:04:05Z 2026-01-01T00:00:00Z",
        ),
        (
            "greatest(far, timestamp '2026-01-01')",
            "9999-12-31T23:59:59.999999Z 2026-01-01T00:00:00Z 2026-01-01T00:00:00Z",
        ),
        ("nullif(far, timestamp '9999-12-31 23:59:59.999999')", " 1600-02-29T03:04:05Z "),
        ("date_trunc('second', far)", "9999-12-31T23:59:59Z 1600-02-29T03:04:05Z "),
        ("date_trunc('hour', far)", "9999-12-31T23:00:00Z 1600-02-29T03:00:00Z "),
        ("date_trunc('day', far)", "9999-12-31T00:00:00Z 1600-02-29T00:00:00Z "),
        // 9999-12-31 is a Friday, 1600-02-29 a Tuesday.
        ("date_trunc('week', far)", "9999-12-27T00:00:00Z 1600-02-28T00:00:00Z "),
        ("date_trunc('month', far)", "9999-12-01T00:00:00Z 1600-02-01T00:00:00Z "),
        ("date_trunc('quarter', far)", "9999-10-01T00:00:00Z 1600-01-01T00:00:00Z "),
        ("date_trunc('year', far)", "9999-01-01T00:00:00Z 1600-01-01T00:00:00Z "),
        ("date_trunc('year', cast(far as date))", "9999-01-01T00:00:00 1600-01-01T00:00:00 "),
        ("date_trunc('year', timestamp '9999-12-31')", "9999-01-01T00:00:00 9999-01-01T00:00:00 9999-01-01T00:00:00"),
        ("to_char(far, '%Y-%m-%d')", "9999-12-31 1600-02-29 "),
        ("cast(far as timestamp)", "9999-12-31T23:59:59.999999 1600-02-29T03:04:05 "),
        ("extract(day from timestamp '9999-12-31' - far)", "0 3067976 "),
        ("far at time zone 'UTC'", "9999-12-31T23:59:59.999999Z 1600-02-29T03:04:05Z "),
        ("cast(far at time zone 'Asia/Kolkata' as date)", "+10000-01-01 1600-02-29 "),
        (
            "(select max(far) from t where far < timestamp '2500-01-01')",
            "1600-02-29T03:04:05Z 1600-02-29T03:04:05Z 1600-02-29T03:04:05Z",
        ),
        ("max(far) over (order by far nulls first)", ""),
    ] {
        let found = text(&engine(), &catalog(), &format!("select {expression} as x from t order by id")).await;
        let found = found.trim_end_matches('\n').replace('\n', " ");
        let wanted = if wanted.is_empty() { "9999-12-31T23:59:59.999999Z 1600-02-29T03:04:05Z " } else { wanted };
        if found.trim_end() != wanted.trim_end() {
            wrong.push(format!("{expression}: {found}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn times_of_any_age_are_grouped_joined_and_put_together() {
    for (sql, wanted) in [
        (
            "select date_trunc('year', far) as y, count(*) as n from t where far > '1000-01-01' group by 1 order by 1",
            "1600-01-01T00:00:00Z|1\n9999-01-01T00:00:00Z|1\n",
        ),
        (
            "select id, far from t where far < '2000-01-01' union all select 9, timestamp '9999-12-31' order by id",
            "2|1600-02-29T03:04:05Z\n9|9999-12-31T00:00:00Z\n",
        ),
        (
            "select a.id, b.id as other from t a join t b on a.far >= b.near and a.far > timestamp '2500-01-01' order by 2",
            "1|1\n1|2\n",
        ),
        (
            "select v.id, t.id as row from (values (7, timestamp '9999-12-31 23:59:59.999999')) as v(id, at) join t on t.far = v.at",
            "7|1\n",
        ),
        (
            "with recursive days as (select timestamp '2026-01-01' as d union all select d + interval '1 day' from days where d < '2026-01-03') \
             select d from days order by d",
            "2026-01-01T00:00:00\n2026-01-02T00:00:00\n2026-01-03T00:00:00\n",
        ),
        ("select id from t where exists (select 1 from t o where o.far = t.far and o.far > '2500-01-01')", "1\n"),
        ("select distinct on (far) far from t where far > '1000-01-01' order by far limit 1", "1600-02-29T03:04:05Z\n"),
    ] {
        assert_eq!(text(&engine(), &catalog(), sql).await, wanted, "{sql}");
    }
}

#[tokio::test]
async fn nanoseconds_count_where_there_are_some() {
    let raw =
        batch(vec![("raw", texts(vec![Some("2026-01-01 00:00:00.000000002"), Some("2026-01-01 00:00:00.000000001")]))]);
    let catalog = table("a", &raw);
    for (sql, wanted) in [
        // The newest by its last digit.
        ("select raw from a order by cast(raw as timestamp) desc limit 1", "2026-01-01 00:00:00.000000002\n"),
        ("select count(*) as n from a where cast(raw as timestamp) > timestamp '2026-01-01 00:00:00.000000001'", "1\n"),
        ("select extract(nanosecond from max(cast(raw as timestamp)) - timestamp '2026-01-01') as n from a", "2\n"),
    ] {
        assert_eq!(text(&engine(), &catalog, sql).await, wanted, "{sql}");
    }
}

#[test]
fn a_time_of_any_age_is_no_mistake() {
    for sql in ["select timestamp '9999-12-31' as t", "select id from t where far = '0001-01-01'"] {
        assert!(engine().analyze(&catalog(), sql).is_ok(), "{sql}: {:?}", engine().analyze(&catalog(), sql));
    }
    let error = engine().analyze(&catalog(), "select timestamp '9999-13-31' as t").unwrap_err();
    assert!(error.to_string().starts_with("`'9999-13-31'` cannot be read as timestamp"), "{error}");
}
