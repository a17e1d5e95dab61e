//! The files of a new project, as `pelton init` writes them: small, and running as they are.

/// The files of a new project called `name`, by path.
pub fn init_files(name: &str) -> Vec<(&'static str, String)> {
    let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace(|c: char| c.is_control(), " ");
    vec![
        ("pelton.toml", format!("name = \"{name}\"\n")),
        (".gitignore", "/warehouse/\n".to_string()),
        ("data/orders.csv", DATA.to_string()),
        ("sources/orders.toml", SOURCE.to_string()),
        ("tables/spend_by_day.sql", TABLE.to_string()),
        ("tests/spend_by_day.toml", TEST.to_string()),
    ]
}

const DATA: &str = "\
order_id,customer_id,ordered_at,amount
1,17,2026-03-01T09:12:00Z,25.00
2,17,2026-03-01T18:40:00Z,7.50
3,23,2026-03-02T11:05:00Z,120.00
4,42,2026-03-02T15:30:00Z,13.20
5,23,2026-03-03T08:00:00Z,64.90
";

const SOURCE: &str = r#"description = "One row for each order."
kind = "files"
path = "data/orders*.csv"
key = "order_id"
time = "ordered_at"

[columns]
order_id = "bigint"
customer_id = "bigint"
ordered_at = "timestamp"
amount = "decimal(12,2)"
"#;

const TABLE: &str = r#"/* pelton
description = "How much was spent, day by day."

[columns.day]
checks = ["not_null", "unique"]

[checks]
nothing_negative = "spent >= 0"
*/
select date_trunc('day', ordered_at) as day,
       count(*) as orders,
       sum(amount) as spent
from orders
group by 1
"#;

const TEST: &str = r#"# `pelton test` runs this in memory: with these orders, the table must have these rows.
node = "spend_by_day"

given.orders = """
order_id | ordered_at          | amount
1        | 2026-03-01 09:12:00 | 25.00
2        | 2026-03-01 18:40:00 | 7.50
3        | 2026-03-02 11:05:00 | 120.00
"""
expect = """
day        | orders | spent
2026-03-01 | 2      | 32.50
2026-03-02 | 1      | 120.00
"""
"#;
