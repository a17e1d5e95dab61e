//! What a plan proves about the rows that a part of its result depends on.

use super::*;
use arrow::datatypes::{DataType, Field, Schema};

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
    for column in found.columns.iter().filter(|column| !column.origins.is_empty()) {
        let origins = column.origins.iter().map(|origin| {
            let mut text = format!("{}.{}", origin.input, origin.column);
            if origin.rounded_us != 1 {
                text.push_str(&format!(" by {}", end(origin.rounded_us)));
            }
            if origin.before_us != 0 || origin.after_us != 0 {
                text.push_str(&format!(" -{} +{}", end(origin.before_us), end(origin.after_us)));
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
            "(it aggregates); day: orders.at by 1",
        ),
        ("select cast(at as date) as day, count(*) from orders group by 1", "(it aggregates); day: orders.at by 1"),
        (
            "select date_trunc('hour', date_trunc('minute', at)) as hour from orders",
            "orders; hour: orders.at by 0.041666666666666664",
        ),
        (
            "select date_bin(interval '2 days', at) as bin, count(*) from orders group by 1",
            "(it aggregates); bin: orders.at by 2",
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
