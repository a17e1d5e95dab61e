//! Column lineage: many shapes of SQL with answers derived by hand, and two properties of every one of them. What the optimizer says
//! that a SELECT must read is named; and a column that is not named can be changed without changing the answer.

use super::*;
use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use pelton_base::Seed;
use pelton_query::{How, Lineage, LineageOrigin, Scorer};
use std::fmt::Write;

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// Tables of the shapes below.
fn schemas() -> Vec<(&'static str, SchemaRef)> {
    let time = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
    let int = || DataType::Int64;
    let text = || DataType::Utf8;
    let point = DataType::Struct(vec![field("x", int()), field("y", int())].into());
    let list = DataType::List(Arc::new(Field::new_list_field(int(), true)));
    let of = |fields: Vec<Field>| Arc::new(Schema::new(fields));
    vec![
        (
            "orders",
            of(vec![
                field("id", int()),
                field("customer", int()),
                field("amount", int()),
                field("state", text()),
                field("at", time.clone()),
            ]),
        ),
        ("customers", of(vec![field("id", int()), field("name", text()), field("country", text())])),
        (
            "seen",
            of(vec![field("customer", int()), field("at", time.clone()), field("known_at", time), field("n", int())]),
        ),
        ("shapes", of(vec![field("id", int()), field("point", point), field("items", list)])),
        ("more", of(vec![field("key", int()), field("small", DataType::Int32)])),
        ("edges", of(vec![field("a", int()), field("b", int())])),
    ]
}

/// Scores `amount` and `state`.
#[derive(Debug)]
struct Fraud(Vec<Field>);

impl Scorer for Fraud {
    fn subject(&self) -> String {
        "model `fraud`".into()
    }

    fn inputs(&self) -> &[Field] {
        &self.0
    }
    fn output(&self) -> Field {
        field("score", DataType::Float64)
    }
    fn score(&self, _: &[ArrayRef]) -> Result<ArrayRef, String> {
        Err("it is only looked at".into())
    }
}

fn typed() -> Catalog {
    let mut catalog = Catalog::default();
    for (name, schema) in schemas() {
        catalog = catalog.with(name, Relation::Typed(schema));
    }
    catalog = catalog.with("paid", Relation::View("select id, amount as paid from orders where state = 'paid'".into()));
    let inputs =
        vec![field("amount", DataType::Float64), field("state", DataType::Utf8), field("gone", DataType::Utf8)];
    catalog.scorers.insert("score_fraud".into(), Arc::new(Fraud(inputs)));
    let predict = |table: &str| format!("select *, score_fraud() as score from {table}");
    catalog.predicts.insert("fraud".into(), Arc::new(predict));
    catalog
}

/// A way in one word.
fn word(how: How) -> &'static str {
    match how {
        How::Copied => "copied",
        How::Computed => "computed",
        How::Aggregated => "aggregated",
        How::Predicted => "predicted",
        How::Learned => "learned",
        How::Filter => "filter",
        How::Join => "join",
        How::Group => "group",
        How::Order => "order",
        How::AsOf => "as of",
        How::Unnest => "unnest",
        How::Split => "split",
        How::Rows => "rows",
        How::Check => "check",
    }
}

/// The lineage on lines: `column <- how origin, ..`, and at the end `| how origin, ..` for the rows.
fn told(lineage: &Lineage) -> String {
    let origins = |from: &[LineageOrigin]| {
        let origin = |origin: &LineageOrigin| match &origin.column {
            Some(column) => format!("{} {}.{column}", word(origin.how), origin.relation),
            None => format!("{} {}", word(origin.how), origin.relation),
        };
        let mut told: Vec<(How, String)> = from.iter().map(|from| (from.how, origin(from))).collect();
        told.sort();
        told.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(", ")
    };
    let mut text = String::new();
    for column in &lineage.columns {
        let _ = writeln!(text, "{}", format!("{} <- {}", column.name, origins(&column.from)).trim_end());
    }
    let _ = writeln!(text, "{}", format!("| {}", origins(&lineage.rows)).trim_end());
    text
}

/// Shapes of SQL, and what their columns are made from.
const SHAPES: &[(&str, &str)] = &[
    // Columns as they are.
    ("select id, amount as paid from orders", "id <- copied orders.id\npaid <- copied orders.amount\n| rows orders"),
    (
        "select * from customers",
        "id <- copied customers.id\nname <- copied customers.name\ncountry <- copied customers.country\n| rows customers",
    ),
    ("select 1 as one, 'x' as x, null as n", "one <-\nx <-\nn <-\n|"),
    ("select 1 as one from orders", "one <-\n| rows orders"),
    // Row-wise expressions.
    (
        "select amount * 2 as twice, cast(amount as double) as real, coalesce(name, state) as word
         from orders, customers",
        "twice <- computed orders.amount\nreal <- computed orders.amount
word <- computed customers.name, computed orders.state\n| rows customers, rows orders",
    ),
    (
        "select case when state = 'paid' then amount else 0 end as paid from orders",
        "paid <- computed orders.amount, computed orders.state\n| rows orders",
    ),
    ("select amount + amount as a from (select amount from orders) x", "a <- computed orders.amount\n| rows orders"),
    // Filters.
    (
        "select id from orders where amount > 10 and state is not null",
        "id <- copied orders.id\n| filter orders.amount, filter orders.state, rows orders",
    ),
    // Aggregates.
    (
        "select customer, sum(amount) as total, count(*) as n, count(distinct state) as states
         from orders group by customer",
        "customer <- copied orders.customer\ntotal <- aggregated orders.amount\nn <- aggregated orders
states <- aggregated orders.state\n| group orders.customer, rows orders",
    ),
    (
        "select state || '!' as s, max(amount) - min(amount) as spread from orders group by state || '!'",
        "s <- computed orders.state\nspread <- aggregated orders.amount\n| group orders.state, rows orders",
    ),
    (
        "select sum(amount) as total, count(*) as n from orders where state = 'paid'",
        "total <- aggregated orders.amount, filter orders.state, rows orders
n <- aggregated orders, filter orders.state, rows orders\n|",
    ),
    (
        "select customer, sum(amount) filter (where state = 'paid') as paid from orders group by 1
         having count(*) > 1 and max(at) is not null",
        "customer <- copied orders.customer\npaid <- aggregated orders.amount, filter orders.state
| filter orders.at, group orders.customer, rows orders",
    ),
    (
        "select array_agg(id order by at) as ids from orders group by customer",
        "ids <- aggregated orders.id, order orders.at\n| group orders.customer, rows orders",
    ),
    (
        "select customer, state, sum(amount) as total from orders group by rollup (customer, state)",
        "customer <- copied orders.customer\nstate <- copied orders.state\ntotal <- aggregated orders.amount
| group orders.customer, group orders.state, rows orders",
    ),
    (
        "select customer, grouping(customer) as g from orders group by grouping sets ((customer), ())",
        "customer <- copied orders.customer\ng <- computed orders.customer\n| group orders.customer, rows orders",
    ),
    ("select distinct state from orders", "state <- copied orders.state\n| group orders.state, rows orders"),
    (
        "select distinct on (customer) customer, amount from orders order by customer, at desc",
        "customer <- copied orders.customer\namount <- copied orders.amount
| group orders.customer, order orders.at, order orders.customer, rows orders",
    ),
    // Windows.
    (
        "select id, sum(amount) over (partition by customer order by at) as so_far from orders",
        "id <- copied orders.id\nso_far <- aggregated orders.amount, group orders.customer, order orders.at\n| rows orders",
    ),
    (
        "select id, row_number() over (partition by customer order by at) as nth, count(*) over () as all_of_them
         from orders",
        "id <- copied orders.id\nnth <- group orders.customer, order orders.at
all_of_them <- aggregated orders\n| rows orders",
    ),
    (
        "select id, lag(amount) over (order by at) as before from orders
         qualify row_number() over (partition by customer order by id) = 1",
        "id <- copied orders.id\nbefore <- aggregated orders.amount, order orders.at
| group orders.customer, order orders.id, rows orders",
    ),
    // Orders and limits.
    ("select id from orders order by amount", "id <- copied orders.id\n| order orders.amount, rows orders"),
    ("select id from orders order by amount limit 3", "id <- copied orders.id\n| order orders.amount, rows orders"),
    (
        "select n from (select id as n from orders order by at limit 3) x where n > 1 order by n",
        "n <- copied orders.id\n| filter orders.id, order orders.at, order orders.id, rows orders",
    ),
    // Joins.
    (
        "select o.id, c.name from orders o join customers c on o.customer = c.id and c.country <> o.state",
        "id <- copied orders.id\nname <- copied customers.name
| join customers.country, join customers.id, join orders.customer, join orders.state, rows customers, rows orders",
    ),
    (
        "select o.id, coalesce(c.name, 'nobody') as name from orders o left join customers c on o.customer = c.id",
        "id <- copied orders.id\nname <- computed customers.name
| join customers.id, join orders.customer, rows customers, rows orders",
    ),
    (
        "select id, name, amount from orders join customers using (id)",
        "id <- copied orders.id\nname <- copied customers.name\namount <- copied orders.amount
| join customers.id, join orders.id, rows customers, rows orders",
    ),
    (
        "select a.id, b.amount from orders a join orders b on a.id = b.customer",
        "id <- copied orders.id\namount <- copied orders.amount\n| join orders.customer, join orders.id, rows orders",
    ),
    (
        "select name from customers c left anti join orders o on o.customer = c.id",
        "name <- copied customers.name\n| join customers.id, join orders.customer, rows customers, rows orders",
    ),
    ("select name, key from customers cross join more", "name <- copied customers.name\nkey <- copied more.key
| rows customers, rows more"),
    // CTEs, subqueries in FROM, views.
    (
        "with paid as (select id, amount from orders where state = 'paid'), big as (select * from paid where amount > 5)
         select id, amount / 2 as half from big",
        "id <- copied orders.id\nhalf <- computed orders.amount\n| filter orders.amount, filter orders.state, rows orders",
    ),
    ("select paid + 1 as more from paid", "more <- computed orders.amount\n| filter orders.state, rows orders"),
    (
        "with orders as (select name as amount from customers) select amount from orders",
        "amount <- copied customers.name\n| rows customers",
    ),
    (
        "select max(total) as most from (select customer, sum(amount) as total from orders group by customer) t",
        "most <- aggregated orders.amount, group orders.customer, rows orders\n|",
    ),
    // Subqueries in expressions.
    (
        "select id, (select max(n) from seen) as most from orders",
        "id <- copied orders.id\nmost <- aggregated seen.n, rows seen\n| rows orders",
    ),
    (
        "select id, (select max(c.name) from customers c where c.id = o.customer) as name from orders o",
        "id <- copied orders.id
name <- aggregated customers.name, filter customers.id, filter orders.customer, rows customers\n| rows orders",
    ),
    (
        "select id from orders where customer in (select id from customers where country = 'AT')",
        "id <- copied orders.id
| filter customers.country, filter customers.id, filter orders.customer, rows customers, rows orders",
    ),
    (
        "select id from orders o where not exists (select 1 from seen s where s.customer = o.customer and s.n > 3)",
        "id <- copied orders.id
| filter orders.customer, filter seen.customer, filter seen.n, rows orders, rows seen",
    ),
    (
        "select id from orders where amount > (select avg(n) from seen)",
        "id <- copied orders.id\n| filter orders.amount, filter seen.n, rows orders, rows seen",
    ),
    (
        "select o.id, l.best from orders o, lateral (select max(s.n) as best from seen s where s.customer = o.customer) l",
        "id <- copied orders.id
best <- aggregated seen.n, filter orders.customer, filter seen.customer, rows seen\n| rows orders",
    ),
    // Sets.
    (
        "select id as k, amount as v from orders union all select key, small from more",
        "k <- copied more.key, copied orders.id\nv <- copied more.small, copied orders.amount\n| rows more, rows orders",
    ),
    (
        "select state as s from orders union select name from customers where country = 'AT'",
        "s <- copied customers.name, copied orders.state
| filter customers.country, group customers.name, group orders.state, rows customers, rows orders",
    ),
    (
        "select id from orders except select key from more",
        "id <- copied orders.id\n| join more.key, join orders.id, group orders.id, rows more, rows orders",
    ),
    (
        "select id from orders intersect select key from more",
        "id <- copied orders.id\n| join more.key, join orders.id, group orders.id, rows more, rows orders",
    ),
    ("select * from (values (1, 'a'), (2, 'b')) t(x, y)", "x <-\ny <-\n|"),
    (
        "with recursive reach as (select a, b from edges union all select r.a, e.b from reach r join edges e on r.b = e.a)
         select a, b from reach",
        "a <- copied edges.a\nb <- copied edges.b\n| join edges.a, join edges.b, rows edges",
    ),
    // Structs and lists.
    ("select point['x'] as x, point.y as y from shapes", "x <- computed shapes.point\ny <- computed shapes.point\n| rows shapes"),
    (
        "select id, unnest(items) as item from shapes",
        "id <- copied shapes.id\nitem <- computed shapes.items\n| unnest shapes.items, rows shapes",
    ),
    (
        "select sum(item) as total from (select unnest(items) as item from shapes) i",
        "total <- aggregated shapes.items, unnest shapes.items, rows shapes\n|",
    ),
    // As-of joins: what finds the right row concerns the right columns alone.
    (
        "select o.id, s.n from orders o asof join seen s match_condition (o.at >= s.at) on o.customer = s.customer",
        "id <- copied orders.id
n <- copied seen.n, join orders.customer, join seen.customer, as of orders.at, as of seen.at, as of seen.known_at, rows seen
| rows orders",
    ),
    // Models.
    (
        "select id, score from predict(fraud, orders) where score > 0.5",
        "id <- copied orders.id
score <- predicted orders.amount, predicted orders.state, predicted score_fraud.score
| filter orders.amount, filter orders.state, filter score_fraud.score, rows orders",
    ),
    (
        "with o as (select id, amount * 2 as amount from orders) select score + 1 as s from predict(fraud, o)",
        "s <- predicted orders.amount, predicted score_fraud.score\n| rows orders",
    ),
    (
        "select score_fraud(cast(amount as double), state, name) as s from orders join customers using (id)",
        "s <- predicted customers.name, predicted orders.amount, predicted orders.state, predicted score_fraud.score
| join customers.id, join orders.id, rows customers, rows orders",
    ),
];

#[test]
fn columns_are_made_from_what_the_sql_says() {
    let (engine, catalog) = (engine(), typed());
    let mut wrong = String::new();
    for (sql, wanted) in SHAPES {
        let found = match engine.lineage(&catalog, sql) {
            Ok(lineage) => told(&lineage),
            Err(error) => format!("{error}\n"),
        };
        if found.trim_end() != *wanted {
            let _ = write!(wrong, "\n{sql}\n--- expected\n{wanted}\n--- found\n{found}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_mistake_is_told_as_when_it_is_typed() {
    let error = engine().lineage(&typed(), "select amuont from orders").unwrap_err();
    assert!(matches!(error, QueryError::UnknownColumn { ref name, .. } if name == "amuont"), "{error}");
}

#[test]
fn long_chains_fit_the_stack_and_take_no_time() {
    // As many operators as a SELECT may have (`CHAIN_MAX`); planning as many unions takes a test too long. Planning alone needs a stack beyond a thread's when nothing is optimised.
    const CHAIN: usize = 1_000;
    const STACK_BYTES: usize = 128 << 20;
    let unions = vec!["select id, amount from orders where state = 'x'"; CHAIN / 4].join(" union all ");
    let sum = format!("select {} as s from orders", vec!["amount"; CHAIN].join(" + "));
    let walked = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let (engine, catalog) = (engine(), typed());
        assert_eq!(
            told(&engine.lineage(&catalog, &unions).unwrap()),
            "id <- copied orders.id\namount <- copied orders.amount\n| filter orders.state, rows orders\n"
        );
        assert_eq!(told(&engine.lineage(&catalog, &sum).unwrap()), "s <- computed orders.amount\n| rows orders\n");
    });
    walked.unwrap().join().unwrap();
}

/// Whether origins name a column of a table, or without a column its rows as a whole.
fn names(from: &[LineageOrigin], table: &str, column: Option<&str>) -> bool {
    from.iter().any(|origin| origin.relation == table && origin.column.as_deref() == column)
}

/// The shapes that can be run, and as many generated ones.
fn runnable(generated: u64) -> Vec<String> {
    let shapes = SHAPES.iter().filter(|(sql, _)| !sql.contains("fraud")).map(|(sql, _)| sql.to_string());
    let random = (0..generated).map(|seed| Writer { seed: Seed(seed), drawn: 0, aliases: 0 }.select(2));
    shapes.chain(random).collect()
}

#[test]
fn every_column_that_the_optimizer_reads_is_named() {
    let (engine, catalog) = (engine(), typed());
    for sql in runnable(100) {
        let lineage = engine.lineage(&catalog, &sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let is_named = |table: &str, column: Option<&str>| {
            names(&lineage.rows, table, column) || lineage.columns.iter().any(|made| names(&made.from, table, column))
        };
        // An as-of join reads all columns of its right side, to tell rows of the same time apart.
        let Some(plan) = engine.explain(&catalog, &sql).ok().filter(|_| !sql.contains("asof")) else { continue };
        let is_table = |name: &str| schemas().iter().any(|(table, _)| *table == name);
        for line in plan.lines().filter_map(|line| line.trim().strip_prefix("TableScan: ")) {
            let (table, rest) = line.split_once(" projection=[").unwrap_or((line, ""));
            // A recursive query reads itself.
            if !is_table(table) {
                continue;
            }
            let columns: Vec<&str> = rest.split_once(']').map_or("", |(columns, _)| columns).split(", ").collect();
            for column in columns.iter().filter(|column| !column.is_empty()) {
                // Where only the number of rows counts, the optimizer reads some column, because it has to read one.
                let is_any = columns.len() == 1 && is_named(table, None);
                assert!(
                    is_named(table, Some(column)) || is_any,
                    "{sql}\nreads {table}.{column}\n{plan}\n{}",
                    told(&lineage)
                );
            }
        }
    }
}

#[test]
fn a_column_without_which_a_select_fails_is_named() {
    let (engine, catalog) = (engine(), typed());
    let mut fails = 0;
    // A view fails without a column that nobody asks it for.
    for sql in runnable(60).iter().filter(|sql| !sql.contains("from paid")) {
        let lineage = engine.lineage(&catalog, sql).unwrap();
        for (table, schema) in schemas().into_iter().filter(|(table, _)| sql.contains(table)) {
            for column in schema.fields() {
                let renamed = schema.fields().iter().map(|field| match field == column {
                    true => field.as_ref().clone().with_name("renamed"),
                    false => field.as_ref().clone(),
                });
                let renamed = Relation::Typed(Arc::new(Schema::new(renamed.collect::<Vec<_>>())));
                if engine.analyze(&catalog.clone().with(table, renamed), sql).is_ok() {
                    continue;
                }
                fails += 1;
                let column = Some(column.name().as_str());
                assert!(
                    names(&lineage.rows, table, column)
                        || lineage.columns.iter().any(|made| names(&made.from, table, column)),
                    "{sql}\nfails without {table}.{column:?}, which is not named\n{}",
                    told(&lineage)
                );
            }
        }
    }
    assert!(fails > 100, "{fails}");
}

#[tokio::test]
async fn what_is_not_named_can_be_changed_without_changing_the_answer() {
    let engine = LocalEngine::new(&Limits { threads: 1, ..Limits::default() }).unwrap();
    let view = typed().relations["paid"].clone();
    let (mut claims, mut named, mut shown) = (0, 0, 0);
    for (number, sql) in runnable(20).into_iter().enumerate() {
        let data = Data::random(Seed(number as u64));
        let Ok(before) = answer(&engine, &data.catalog(&view), &sql).await else { continue };
        let lineage = engine.lineage(&typed(), &sql).unwrap();
        for (table, schema) in schemas().into_iter().filter(|(table, _)| sql.contains(table)) {
            let columns = schema.fields().iter().map(|field| Some(field.name().as_str()));
            for column in columns.chain([None]) {
                let concerns_all = names(&lineage.rows, table, column);
                let is_untouched = |at: usize| !concerns_all && !names(&lineage.columns[at].from, table, column);
                let is_claimed = (0..lineage.columns.len()).any(is_untouched);
                // Of what is named everywhere only every tenth is changed, to see that changes do show.
                named += usize::from(!is_claimed);
                if !is_claimed && named % 10 != 0 {
                    continue;
                }
                let changed = data.changed(table, column, Seed(number as u64).derive("changed"));
                let after = answer(&engine, &changed.catalog(&view), &sql).await.unwrap();
                claims += usize::from(is_claimed);
                shown += usize::from(!is_claimed && before.rows(&|_| true) != after.rows(&|_| true));
                assert!(
                    concerns_all || before.rows(&is_untouched) == after.rows(&is_untouched),
                    "{sql}\nchanges with {table}.{column:?}, which is not named\n{}",
                    told(&lineage)
                );
            }
        }
    }
    assert!(claims > 200 && shown > named / 40, "{claims} claims, {shown} of {named} show");
}

/// An answer as text, a row a vector.
struct Told(Vec<Vec<String>>);

impl Told {
    /// The rows in order, only these columns.
    fn rows(&self, is_kept: &dyn Fn(usize) -> bool) -> Vec<Vec<String>> {
        let kept = |row: &Vec<String>| {
            row.iter().enumerate().filter(|(at, _)| is_kept(*at)).map(|(_, value)| value.clone()).collect()
        };
        let mut rows: Vec<Vec<String>> = self.0.iter().map(kept).collect();
        rows.sort();
        rows
    }
}

async fn answer(engine: &LocalEngine, catalog: &Catalog, sql: &str) -> Result<Told, QueryError> {
    let mut told = Vec::new();
    for batch in rows(engine, catalog, sql).await? {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| {
                arrow::util::display::ArrayFormatter::try_new(
                    column,
                    &arrow::util::display::FormatOptions::default().with_null("null"),
                )
                .unwrap()
            })
            .collect();
        told.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect()));
    }
    Ok(Told(told))
}

/// Rows of the tables: a number a cell, from which values of all types are made.
#[derive(Clone)]
struct Data(Vec<(&'static str, SchemaRef, Vec<Vec<i64>>)>);

impl Data {
    const ROWS: u64 = 8;

    fn random(seed: Seed) -> Self {
        let table = |(name, schema): (&'static str, SchemaRef)| {
            let columns = schema.fields().iter().map(|field| Self::column(seed.derive(name), field.name())).collect();
            (name, schema, columns)
        };
        Data(schemas().into_iter().map(table).collect())
    }

    /// Values that are told apart where an order must decide, and meet each other where rows must match.
    fn column(seed: Seed, name: &str) -> Vec<i64> {
        let seed = seed.derive(name);
        let value = |row: u64| match name {
            "at" | "known_at" | "amount" | "n" => (seed.at(row) % 50 * Self::ROWS + row) as i64,
            // Never a circle: every `a` is less than the `b` of its row, whichever of them is changed.
            "a" => 2 * row as i64 - 2 * (seed.at(row) % 3) as i64,
            "b" => 2 * row as i64 + 2 * (seed.at(row) % 3) as i64 + 2,
            _ => (seed.at(row) % 5) as i64,
        };
        (0..Self::ROWS).map(value).collect()
    }

    /// The same with other values of a column, or without some rows.
    fn changed(&self, table: &str, column: Option<&str>, seed: Seed) -> Self {
        let mut data = self.clone();
        let (_, schema, columns) = data.0.iter_mut().find(|(name, ..)| *name == table).unwrap();
        match column {
            Some(column) => columns[schema.index_of(column).unwrap()] = Self::column(seed, column),
            None => columns.iter_mut().for_each(|column| column.truncate(Self::ROWS as usize / 2)),
        }
        data
    }

    fn catalog(&self, view: &Relation) -> Catalog {
        let mut catalog = Catalog::default().with("paid", view.clone());
        for (name, schema, columns) in &self.0 {
            let arrays =
                schema.fields().iter().zip(columns).map(|(field, values)| Self::array(field.data_type(), values));
            let batch = RecordBatch::try_new(schema.clone(), arrays.collect()).unwrap();
            catalog = with(catalog, name, &batch);
        }
        catalog
    }

    fn array(data_type: &DataType, values: &[i64]) -> ArrayRef {
        let some = || values.iter().map(|value| Some(*value));
        match data_type {
            DataType::Timestamp(..) => times(some().collect()),
            DataType::Utf8 => {
                let words = ["paid", "open", "AT", "paid", "x"];
                Arc::new(values.iter().map(|value| words.get(*value as usize).copied()).collect::<StringArray>())
            }
            DataType::Struct(fields) => {
                let parts = fields.iter().map(|field| (field.clone(), ints(some().collect())));
                Arc::new(StructArray::from(parts.collect::<Vec<_>>()))
            }
            DataType::List(_) => Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
                values.iter().map(|value| Some((0..value % 3).map(move |item| Some(value + item)))),
            )),
            other => arrow::compute::cast(&Int64Array::from(values.to_vec()), other).unwrap(),
        }
    }
}

/// Writes SELECTs of whole numbers: joins, filters, groups, windows, unions and subqueries, in each other.
struct Writer {
    seed: Seed,
    drawn: u64,
    aliases: usize,
}

impl Writer {
    const TABLES: [(&str, &[&str]); 4] = [
        ("orders", &["id", "customer", "amount"]),
        ("customers", &["id"]),
        ("seen", &["customer", "n"]),
        ("more", &["key", "small"]),
    ];

    fn draw(&mut self, below: usize) -> usize {
        self.drawn += 1;
        (self.seed.at(self.drawn) % below as u64) as usize
    }

    fn one<'a>(&mut self, of: &'a [String]) -> &'a str {
        let at = self.draw(of.len());
        &of[at]
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    /// A relation with its alias, and its columns.
    fn relation(&mut self, deep: usize) -> (String, Vec<String>) {
        let alias = self.alias();
        if deep > 0 && self.draw(2) == 0 {
            let select = self.select(deep - 1);
            return (format!("({select}) {alias}"), vec![format!("{alias}.c0"), format!("{alias}.c1")]);
        }
        let (table, columns) = Self::TABLES[self.draw(Self::TABLES.len())];
        (format!("{table} {alias}"), columns.iter().map(|column| format!("{alias}.{column}")).collect())
    }

    fn number(&mut self, columns: &[String]) -> String {
        let (a, b) = (self.one(columns).to_string(), self.one(columns).to_string());
        match self.draw(7) {
            0 => format!("{a} + {b}"),
            1 => format!("case when {a} > 2 then {b} else 0 end"),
            2 => format!("coalesce(nullif({a}, 3), {b})"),
            3 => {
                let alias = self.alias();
                format!("(select max({alias}.n) from seen {alias} where {alias}.customer = {a})")
            }
            _ => a,
        }
    }

    fn condition(&mut self, columns: &[String]) -> String {
        let (a, b, alias) = (self.one(columns).to_string(), self.one(columns).to_string(), self.alias());
        match self.draw(5) {
            0 => format!("{a} > {b}"),
            1 => format!("{a} in (select {alias}.key from more {alias} where {alias}.small > 1)"),
            2 => format!("exists (select 1 from seen {alias} where {alias}.customer = {a})"),
            3 => format!("{a} not in (select {alias}.id from customers {alias})"),
            _ => format!("{a} <> 2"),
        }
    }

    /// A SELECT of two columns, `c0` and `c1`.
    fn select(&mut self, deep: usize) -> String {
        let (mut from, mut columns) = self.relation(deep);
        if self.draw(2) == 0 {
            let (other, more) = self.relation(deep.saturating_sub(1));
            let join = ["join", "left join", "full join"][self.draw(3)];
            let on = format!("{} = {}", self.one(&columns), self.one(&more));
            from = format!("{from} {join} {other} on {on}");
            columns.extend(more);
        }
        let filter = match self.draw(2) {
            0 => format!(" where {}", self.condition(&columns)),
            _ => String::new(),
        };
        let (a, b) = (self.one(&columns).to_string(), self.one(&columns).to_string());
        match self.draw(6) {
            0 => {
                let total = ["sum", "max", "count"][self.draw(3)];
                let having = if self.draw(2) == 0 { format!(" having min({b}) < 9") } else { String::new() };
                format!("select {a} as c0, {total}({b}) as c1 from {from}{filter} group by {a}{having}")
            }
            1 => format!("select sum({a}) as c0, count(*) as c1 from {from}{filter}"),
            2 => format!("select {a} as c0, sum({b}) over (partition by {a}) as c1 from {from}{filter}"),
            3 => format!("select distinct {a} as c0, {b} as c1 from {from}{filter}"),
            4 if deep > 0 => {
                let other = self.select(deep - 1);
                let (first, second) = (self.number(&columns), self.number(&columns));
                let all = ["all ", ""][self.draw(2)];
                format!("select {first} as c0, {second} as c1 from {from}{filter} union {all}{other}")
            }
            _ => {
                let (first, second) = (self.number(&columns), self.number(&columns));
                format!("select {first} as c0, {second} as c1 from {from}{filter}")
            }
        }
    }
}
