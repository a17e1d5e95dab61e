//! The SELECTs of the layered graph, in the forms that people write: CTEs, joins on grouped sides, windows, unions, CASE.
//!
//! Every table has `id`, `customer_id` and `occurred_at`, and up to 17 columns more. Joins meet a side that is grouped by customer,
//! so that no table has more rows than the one that it begins with.

use crate::data::{Column, Kind};
use crate::draw::Draw;
use crate::graph::Relation;

/// What a table does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Staging,
    Join,
    Aggregate,
    Window,
    Union,
    Filter,
    Feature,
}

impl Shape {
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Shape::Staging => "stg",
            Shape::Join => "int",
            Shape::Aggregate => "agg",
            Shape::Window => "win",
            Shape::Union => "uni",
            Shape::Filter => "sel",
            Shape::Feature => "ftr",
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Shape::Staging => "Rows with clean types and words.",
            Shape::Join => "Rows beside what is known of their customer elsewhere.",
            Shape::Aggregate => "Sums by customer.",
            Shape::Window => "Rows beside those before them.",
            Shape::Union => "Rows of several tables under each other.",
            Shape::Filter => "The rows that matter.",
            Shape::Feature => "What each customer did in the week before.",
        }
    }
}

/// A SELECT and what it gives.
pub(crate) struct Made {
    pub(crate) sql: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) is_unique: bool,
    pub(crate) size: usize,
}

/// Columns under way: `(expression, kind)`; names are given by place.
type Items = Vec<(String, Kind)>;

/// The most columns beside the first three.
const COLUMNS_MAX: usize = 17;

pub(crate) fn write(shape: Shape, parents: &[&Relation], draw: &mut Draw) -> Made {
    let first = parents[0];
    let (columns, sql) = match shape {
        Shape::Staging => staging(first, draw),
        Shape::Join => join(parents, draw),
        Shape::Aggregate => aggregate(first, draw),
        Shape::Window => window(first, draw),
        Shape::Union => union(parents, draw),
        Shape::Filter => filter(parents, draw),
        Shape::Feature => feature(first, draw),
    };
    let is_union = shape == Shape::Union && parents.len() > 1;
    let size = if is_union { parents.iter().map(|parent| parent.size).sum() } else { first.size };
    Made { sql, columns, is_unique: first.is_unique && !is_union, size }
}

fn named(items: &Items, draw: &mut Draw) -> Vec<Column> {
    let named = items.iter().enumerate();
    named.map(|(at, (_, kind))| Column { name: format!("{}_{}", kind.stem(draw), at + 1), kind: *kind }).collect()
}

/// `expression as name` lines.
fn listed(items: &Items, columns: &[Column]) -> String {
    items
        .iter()
        .zip(columns)
        .map(|((expression, _), column)| format!(",\n       {expression} as {}", column.name))
        .collect()
}

fn of_kind(relation: &Relation, kind: Kind) -> Vec<&str> {
    relation.columns.iter().filter(|column| column.kind == kind).map(|column| column.name.as_str()).collect()
}

/// Sums of sums would outgrow their type after a few layers.
fn money(sum: &str) -> String {
    format!("cast(least(cast({sum} as double), 1e6) as decimal(18,2))")
}

fn staging(parent: &Relation, draw: &mut Draw) -> (Vec<Column>, String) {
    let items: Items = parent
        .columns
        .iter()
        .map(|Column { name, kind }| {
            let expression = match kind {
                Kind::Money => format!("cast(coalesce({name}, 0) as decimal(18,2))"),
                Kind::Count => format!("cast(coalesce({name}, 0) as bigint)"),
                Kind::Ratio if draw.percent(50) => format!("nullif(cast({name} as double), 0)"),
                Kind::Ratio => format!("cast({name} as double)"),
                Kind::Word => format!("lower(trim({name}))"),
                Kind::Flag => format!("coalesce({name}, false)"),
            };
            (expression, *kind)
        })
        .collect();
    let columns = named(&items, draw);
    let list = listed(&items, &columns);
    let sql = format!(
        "-- One row for each that came in.\nselect id,\n       customer_id,\n       occurred_at{list}\nfrom {}\nwhere occurred_at >= timestamp '2020-01-01 00:00:00'\n",
        parent.name
    );
    (columns, sql)
}

fn join(parents: &[&Relation], draw: &mut Draw) -> (Vec<Column>, String) {
    let base = parents[0];
    let mut items: Items = base.columns.iter().map(|column| (format!("base.{}", column.name), column.kind)).collect();
    // Some of the base's columns are left behind, so that tables do not only grow.
    items.truncate(draw.between(4, 11));
    let (mut sides, mut joins) = (String::new(), String::new());
    for (at, parent) in parents.iter().enumerate().skip(1) {
        let mut list = String::new();
        for (number, column) in parent.columns.iter().enumerate().take(draw.between(2, 5)) {
            let (name, side) = (&column.name, format!("v{number}"));
            let (expression, read, kind) = match column.kind {
                Kind::Money => (format!("sum({name})"), money(&format!("coalesce(side_{at}.{side}, 0)")), Kind::Money),
                Kind::Count => (format!("max({name})"), format!("coalesce(side_{at}.{side}, 0)"), Kind::Count),
                Kind::Ratio => (format!("avg({name})"), format!("side_{at}.{side}"), Kind::Ratio),
                Kind::Word => (format!("min({name})"), format!("coalesce(side_{at}.{side}, 'online')"), Kind::Word),
                Kind::Flag => {
                    (format!("count(*) filter (where {name})"), format!("coalesce(side_{at}.{side}, 0)"), Kind::Count)
                }
            };
            list.push_str(&format!(",\n           {expression} as {side}"));
            items.push((read, kind));
        }
        sides.push_str(&format!(
            "{} side_{at} as (\n    select customer_id{list}\n    from {}\n    group by customer_id\n)",
            if at == 1 { "with" } else { "," },
            parent.name
        ));
        joins.push_str(&format!("left join side_{at} on side_{at}.customer_id = base.customer_id\n"));
    }
    if let Some(amount) = of_kind(base, Kind::Money).first() {
        items.push((
            format!(
                "case when base.{amount} > 500 then 'partner' when base.{amount} > 100 then 'online' else 'north' end"
            ),
            Kind::Word,
        ));
    }
    items.truncate(COLUMNS_MAX);
    let columns = named(&items, draw);
    let list = listed(&items, &columns);
    let sql = format!(
        "{sides}{}select base.id,\n       base.customer_id,\n       base.occurred_at{list}\nfrom {} as base\n{joins}",
        if sides.is_empty() { "" } else { "\n" },
        base.name
    );
    (columns, sql)
}

fn aggregate(parent: &Relation, draw: &mut Draw) -> (Vec<Column>, String) {
    let mut items: Items = vec![("count(*)".into(), Kind::Count)];
    for Column { name, kind } in &parent.columns {
        match kind {
            Kind::Money => items.push((money(&format!("sum({name})")), Kind::Money)),
            Kind::Count if draw.percent(50) => items.push((format!("max({name})"), Kind::Count)),
            Kind::Count => items.push((format!("count(distinct {name})"), Kind::Count)),
            Kind::Ratio => items.push((format!("avg({name})"), Kind::Ratio)),
            Kind::Word => items.push((format!("max({name})"), Kind::Word)),
            Kind::Flag => items.push((format!("bool_or({name})"), Kind::Flag)),
        }
    }
    items.truncate(COLUMNS_MAX);
    let columns = named(&items, draw);
    let list = listed(&items, &columns);
    let group = if draw.percent(50) { "customer_id" } else { "customer_id, date_trunc('day', occurred_at)" };
    let having = if draw.percent(30) { "having count(*) >= 1\n" } else { "" };
    let sql = format!(
        "select min(id) as id,\n       customer_id,\n       max(occurred_at) as occurred_at{list}\nfrom {}\ngroup by {group}\n{having}",
        parent.name
    );
    (columns, sql)
}

fn window(parent: &Relation, draw: &mut Draw) -> (Vec<Column>, String) {
    let mut items: Items =
        vec![("row_number() over (partition by customer_id order by occurred_at desc, id)".into(), Kind::Count)];
    for Column { name, kind } in &parent.columns {
        match kind {
            Kind::Money if draw.percent(60) => items.push((
                money(&format!("sum({name}) over (partition by customer_id order by occurred_at, id rows between 4 preceding and current row)")),
                Kind::Money,
            )),
            Kind::Count if draw.percent(40) => items.push((
                format!("coalesce(lag({name}) over (partition by customer_id order by occurred_at, id), 0)"),
                Kind::Count,
            )),
            kind => items.push((name.clone(), *kind)),
        }
    }
    items.truncate(COLUMNS_MAX);
    let columns = named(&items, draw);
    let list = listed(&items, &columns);
    (columns, format!("select id,\n       customer_id,\n       occurred_at{list}\nfrom {}\n", parent.name))
}

fn union(parents: &[&Relation], draw: &mut Draw) -> (Vec<Column>, String) {
    let first = parents[0];
    let items: Items = first.columns.iter().map(|column| (column.name.clone(), column.kind)).collect();
    let columns = named(&items, draw);
    let mut sql = format!(
        "select id,\n       customer_id,\n       occurred_at{}\nfrom {}\n",
        listed(&items, &columns),
        first.name
    );
    for parent in &parents[1..] {
        let list: String = columns
            .iter()
            .map(|column| {
                let other = of_kind(parent, column.kind);
                let nothing = match column.kind {
                    Kind::Money => "cast(0 as decimal(18,2))",
                    Kind::Count => "cast(0 as bigint)",
                    Kind::Ratio => "cast(null as double)",
                    Kind::Word => "'online'",
                    Kind::Flag => "false",
                };
                let value = if other.is_empty() { nothing } else { draw.one(&other) };
                format!(",\n       {value} as {}", column.name)
            })
            .collect();
        sql.push_str(&format!(
            "union all\nselect id,\n       customer_id,\n       occurred_at{list}\nfrom {}\n",
            parent.name
        ));
    }
    (columns, sql)
}

fn filter(parents: &[&Relation], draw: &mut Draw) -> (Vec<Column>, String) {
    let base = parents[0];
    let mut items: Items = base.columns.iter().map(|column| (column.name.clone(), column.kind)).collect();
    let money = of_kind(base, Kind::Money);
    if let [one, two, ..] = money.as_slice() {
        items.insert(0, (format!("cast(({one} + {two}) / 2 as decimal(18,2))"), Kind::Money));
        items.insert(0, (format!("cast({one} as double) / nullif(cast({two} as double), 0)"), Kind::Ratio));
    }
    items.truncate(COLUMNS_MAX);
    let columns = named(&items, draw);
    let mut conditions = vec!["occurred_at is not null".to_string()];
    if let Some(word) = of_kind(base, Kind::Word).first() {
        conditions.push(format!("{word} in ('north', 'south', 'east', 'west', 'online')"));
    }
    if let Some(other) = parents.get(1) {
        conditions.push(format!("customer_id in (select customer_id from {} where id > 0)", other.name));
    }
    let list = listed(&items, &columns);
    let sql = format!(
        "select id,\n       customer_id,\n       occurred_at{list}\nfrom {}\nwhere {}\n",
        base.name,
        conditions.join("\n  and ")
    );
    (columns, sql)
}

/// One row for each customer and time, because a feature table says one thing at a time.
fn feature(parent: &Relation, draw: &mut Draw) -> (Vec<Column>, String) {
    let over = "over (partition by customer_id order by occurred_at range between interval '7 days' preceding and current row)";
    let mut items: Items = vec![(format!("sum(rows_here) {over}"), Kind::Count)];
    let mut inner = String::new();
    for column in parent.columns.iter().filter(|column| matches!(column.kind, Kind::Money | Kind::Count)).take(6) {
        inner.push_str(&format!(",\n           sum({0}) as {0}", column.name));
        let sum = format!("sum({}) {over}", column.name);
        let expression = if column.kind == Kind::Money { money(&sum) } else { sum };
        items.push((expression, column.kind));
    }
    let columns = named(&items, draw);
    let list = listed(&items, &columns);
    let sql = format!(
        "with grouped as (\n    select customer_id,\n           occurred_at,\n           min(id) as id,\n           count(*) as rows_here{inner}\n    from {}\n    group by customer_id, occurred_at\n)\n\
         select id,\n       customer_id,\n       occurred_at{list}\nfrom grouped\n",
        parent.name
    );
    (columns, sql)
}
