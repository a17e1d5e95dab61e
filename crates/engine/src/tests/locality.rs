//! What a plan proves about the rows that a part of its result depends on.

use super::*;
use arrow::datatypes::{DataType, Field, Schema};
use pelton_base::Grain;

const DAY: i64 = 86_400_000_000;

fn catalog() -> Catalog {
    let schema = |fields: &[(&str, DataType)]| {
        let fields: Vec<Field> = fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
        Relation::Typed(Arc::new(Schema::new(fields)))
    };
    let time = pelton_query::types::timestamp();
    let orders =
        [("id", DataType::Int64), ("customer", DataType::Utf8), ("amount", DataType::Int64), ("at", time.clone())];
    Catalog::default()
        .with("orders", schema(&orders))
        .with("returns", schema(&orders))
        .with("customers", schema(&[("customer", DataType::Utf8), ("country", DataType::Utf8), ("since", time)]))
        .with("big", Relation::View("select * from orders where amount > 100".into()))
}

/// `additive inputs or why not; column: origins; ...`
fn proof(sql: &str) -> String {
    let found = engine().locality(&catalog(), sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut text = match found.additive {
        Ok(names) => names.into_iter().collect::<Vec<_>>().join(" "),
        Err(why) => format!("({why})"),
    };
    let end = |us: i64| if us == i64::MAX { "ever".into() } else { (us as f64 / DAY as f64).to_string() };
    let before = |origin: &pelton_query::Origin| if origin.all_before { "all".into() } else { end(origin.before_us) };
    for column in found.columns.iter().filter(|column| !column.origins.is_empty()) {
        let origins = column.origins.iter().map(|origin| {
            let mut text = format!("{}.{}", origin.input, origin.column);
            if origin.rounded != Grain::FINEST {
                text.push_str(&format!(" by {}", origin.rounded));
            }
            if origin.before_us != 0 || origin.after_us != 0 {
                text.push_str(&format!(" -{} +{}", before(origin), end(origin.after_us)));
                assert_eq!(origin.nulls, text.contains("ever") || text.contains("all"), "{text}");
            }
            text
        });
        text.push_str(&format!("; {}: {}", column.name, origins.collect::<Vec<_>>().join(", ")));
    }
    text
}

#[test]
fn what_adds_up_and_what_is_tied_to_a_column() {
    for (sql, expected) in [
        ("select id, amount * 2 as twice from orders where amount > 0", "orders; id: orders.id"),
        ("select id from big", "orders; id: orders.id"),
        (
            "select o.id, country from orders o join customers c on o.customer = c.customer",
            "orders; id: orders.id; country: customers.country",
        ),
        (
            "select o.customer, o.id from orders o left join customers c on o.customer = c.customer",
            "orders; customer: customers.customer, orders.customer; id: orders.id",
        ),
        ("select id from orders union all select id from returns", "orders returns; id: orders.id, returns.id"),
        ("select id from orders union all select 0 from returns", "orders returns; id: orders.id"),
        ("select id from orders union all select 7", "(a branch of its UNION reads no table); id: orders.id"),
        ("select customer, sum(amount) as total from orders group by 1", "(it aggregates); customer: orders.customer"),
        ("select sum(amount) as total from orders", "(it aggregates)"),
        ("select distinct customer from orders", "(it has a DISTINCT); customer: orders.customer"),
        ("select id from orders order by at limit 3", "(it has a LIMIT)"),
        (
            "select a.id from orders a join orders b on a.id = b.id",
            "(it joins rows of `orders` with rows of `orders`); id: orders.id",
        ),
        ("select a.id from orders a, orders b", "(it joins rows of `orders` with rows of `orders`)"),
        ("select id from orders where customer in (select customer from customers)", "orders; id: orders.id"),
        (
            "select id from orders where amount > (select avg(amount) from orders)",
            "(it joins rows of `orders` with rows of `orders`)",
        ),
        ("select o.id, r.id as rid from orders o full join returns r on o.id = r.id", "(it has a FULL JOIN)"),
        (
            "select r.id, o.id as oid from orders o left join returns r on o.id = r.id",
            "orders; oid: orders.id, returns.id",
        ),
        ("select id + 1 as id from orders", "orders"),
    ] {
        assert_eq!(proof(sql), expected, "{sql}");
    }
}

#[test]
fn how_far_a_time_reaches() {
    for (sql, expected) in [
        (
            "select date_trunc('day', at) as day, sum(amount) from orders group by 1",
            "(it aggregates); day: orders.at by 1 day",
        ),
        ("select cast(at as date) as day, count(*) from orders group by 1", "(it aggregates); day: orders.at by 1 day"),
        (
            "select date_trunc('hour', date_trunc('minute', at)) as hour from orders",
            "orders; hour: orders.at by 1 hour",
        ),
        (
            "select date_bin(interval '2 days', at) as bin, count(*) from orders group by 1",
            "(it aggregates); bin: orders.at by 2 days",
        ),
        (
            "select customer, at, sum(amount) over (partition by customer order by at range between interval '30 days' preceding and current row) as s from orders",
            "(it has a window over other rows); customer: orders.customer; at: orders.at -30 +0",
        ),
        (
            "select at, sum(amount) over (order by at rows between 3 preceding and current row) as s from orders",
            "(it has a window over other rows); at: orders.at -ever +0",
        ),
        (
            "select at, lead(amount) over (order by at) as s from orders",
            "(it has a window over other rows); at: orders.at -0 +ever",
        ),
        (
            "select at, lag(amount) over (order by at desc) as s from orders",
            "(it has a window over other rows); at: orders.at -0 +ever",
        ),
        ("select at, sum(amount) over (order by id) as s from orders", "(it has a window over other rows)"),
        (
            "select at, sum(amount) over (order by at) as s from orders",
            "(it has a window over other rows); at: orders.at -all +0",
        ),
        (
            "select at, rank() over (order by at desc) as s from orders",
            "(it has a window over other rows); at: orders.at -0 +ever",
        ),
        (
            "select at, lag(amount) over w as a, last_value(amount) ignore nulls over w as b from orders window w as (order by at)",
            "(it has a window over other rows); at: orders.at -ever +0",
        ),
        (
            "select at, first_value(amount) over (order by at) as s from orders",
            "(it has a window over other rows); at: orders.at -all +0",
        ),
        (
            "select at, lag(amount, -1) over (order by at) as s from orders",
            "(it has a window over other rows); at: orders.at -ever +ever",
        ),
        (
            "select at, lead(amount, 3 - 4) over (order by at) as s from orders",
            "(it has a window over other rows); at: orders.at -ever +ever",
        ),
        (
            "select at, lead(amount, 2) over (order by at) as s from orders",
            "(it has a window over other rows); at: orders.at -0 +ever",
        ),
        (
            "select at, sum(amount) over (order by at range between interval '1 month' preceding and interval '12 hours' following) as s from orders",
            "(it has a window over other rows); at: orders.at -31 +0.5",
        ),
        (
            "select at, count(*) over (partition by at) as s from orders",
            "(it has a window over other rows); at: orders.at",
        ),
        (
            "select o.at, o.customer, c.country from orders o asof join customers c match_condition (o.at >= c.since and o.at - c.since <= interval '7 days') on o.customer = c.customer",
            "orders; at: customers.since -7 +0, orders.at; customer: customers.customer, orders.customer",
        ),
    ] {
        assert_eq!(proof(sql), expected, "{sql}");
    }
}

#[test]
fn days_of_a_zone_begin_at_other_times() {
    let berlin = "at at time zone 'Europe/Berlin'";
    let naive = "cast(at as timestamp)";
    for (expression, expected) in [
        ("at at time zone 'UTC'".to_string(), "orders.at"),
        (berlin.to_string(), "orders.at"),
        (format!("({berlin}) at time zone 'Asia/Tokyo'"), "orders.at"),
        // 26 hours each way, and the rest of a day.
        (format!("date_trunc('day', {berlin})"), "orders.at -1.0833 +2.0833"),
        (format!("date_trunc('hour', {berlin})"), "orders.at -1.0833 +1.1250"),
        (format!("cast({berlin} as date)"), "orders.at -1.0833 +2.0833"),
        ("date_trunc('day', at at time zone 'UTC')".to_string(), "orders.at by 1 day"),
        // What clocks show in a zone.
        (format!("{naive} at time zone 'Europe/Berlin'"), ""),
        (format!("date_trunc('day', {naive}) at time zone 'Europe/Berlin'"), ""),
        ("cast(at as date) at time zone 'Europe/Berlin'".to_string(), ""),
        (format!("date_bin(interval '1 day', {berlin})"), "orders.at by 1 day"),
        ("date_bin(interval '1 day', at, timestamp '2026-01-01T07:00:00')".to_string(), ""),
        ("date_bin(interval '1500 nanoseconds', at)".to_string(), ""),
        ("date_trunc('week', at)".to_string(), "orders.at by 1 week"),
        ("date_trunc('month', at)".to_string(), "orders.at by 1 month"),
        ("date_trunc('year', date_trunc('quarter', at))".to_string(), "orders.at by 1 year"),
        ("date_trunc('month', cast(at as date))".to_string(), "orders.at by 1 month"),
        ("cast(date_trunc('year', at) as date)".to_string(), "orders.at by 1 year"),
        ("date_trunc('hour', date_trunc('month', at))".to_string(), "orders.at by 1 month"),
        // A month may begin within a week.
        ("date_trunc('month', date_trunc('week', at))".to_string(), "orders.at by 1 week -0.0000 +31.0000"),
        (format!("date_trunc('month', {berlin})"), "orders.at -1.0833 +32.0833"),
        // Cut off towards 1970, from both sides.
        ("cast(at as timestamp(0))".to_string(), "orders.at -0.0000 +0.0000"),
        ("to_timestamp(cast(at as text))".to_string(), ""),
        ("extract(year from at)".to_string(), ""),
        ("at + interval '1 day'".to_string(), ""),
    ] {
        let found = engine().locality(&catalog(), &format!("select {expression} as t from orders")).unwrap();
        let days = |us: i64| us as f64 / DAY as f64;
        let text = found.columns[0].origins.iter().map(|origin| {
            let by = if origin.rounded == Grain::FINEST { String::new() } else { format!(" by {}", origin.rounded) };
            let far = match (origin.before_us, origin.after_us) {
                (0, 0) => String::new(),
                (before, after) => format!(" -{:.4} +{:.4}", days(before), days(after)),
            };
            format!("{}.{}{by}{far}", origin.input, origin.column)
        });
        assert_eq!(text.collect::<Vec<_>>().join(", "), expected, "{expression}");
    }
    let far = "with zoned as (select at at time zone 'Europe/Berlin' as at, amount from orders) \
               select at, sum(amount) over (order by at range between interval '1 day' preceding and current row) as s from zoned";
    let found = engine().locality(&catalog(), far).unwrap();
    assert_eq!(found.column("at").unwrap().origins[0].before_us, DAY + 26 * 3_600_000_000);
}

#[tokio::test]
async fn an_instant_is_the_same_in_every_zone() {
    let noon = pelton_query::sql::instant(DAY / 2, &pelton_query::types::timestamp());
    for zoned in ["at at time zone 'Europe/Berlin'", "at at time zone 'UTC'", "cast(at as timestamp)", "at"] {
        let stored = "select cast(text as timestamp(6) with time zone) as at \
                      from (values ('1970-01-01T11:59:59.999999Z'), ('1970-01-01T12:00:00Z')) as v(text)";
        let sql = format!("select t from (select {zoned} as t from ({stored})) where t >= {noon}");
        let found = rows(&engine(), &Catalog::default(), &sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 1, "{sql}");
    }
}

#[tokio::test]
async fn an_instant_may_lie_beyond_the_years_that_texts_can_say() {
    const YEAR_10000: i64 = 253_402_300_800_000_000;
    const YEAR_0: i64 = -62_167_219_200_000_000;
    let day = arrow::datatypes::DataType::Date32;
    for (us, value, is_below) in
        [(YEAR_10000, "9999-12-31", true), (YEAR_10000 - DAY, "9999-12-31", false), (YEAR_0 - DAY, "0001-01-01", false)]
    {
        for (data_type, value) in [
            (&pelton_query::types::timestamp(), format!("cast('{value}' as timestamp(6) with time zone)")),
            (&day, format!("date '{value}'")),
        ] {
            let sql = format!("select 1 as one where {value} < {}", pelton_query::sql::instant(us, data_type));
            let found =
                rows(&engine(), &Catalog::default(), &sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), usize::from(is_below), "{sql}");
        }
    }
}
