//! What the rows of a table are, as one SELECT over all of its input: the meaning that an incremental build has to keep.

use pelton_project::{Build, Table};
use pelton_query::{sql, types};

use arrow::datatypes::{DataType, Schema};

/// The columns that a history adds.
pub(crate) const VALID_FROM: &str = "valid_from";
pub(crate) const VALID_TO: &str = "valid_to";
pub(crate) const IS_CURRENT: &str = "is_current";

/// A text as a part of a larger one: it may end in a comment.
pub(crate) fn nested(select: &str) -> String {
    format!("(\n{select}\n)")
}

/// The SELECT of a table's rows; `columns` are those of the SELECT in its file. Of a history without `time`, it is that of its
/// first version; [`history_seen`] is that of the later ones.
pub(crate) fn of_table(table: &Table, columns: &Schema, now_us: i64) -> String {
    match table.build {
        Build::View | Build::Full | Build::Append | Build::Interval => table.select.sql.clone(),
        Build::Merge => merge(table, columns, &nested(&table.select.sql)),
        Build::History if table.time.is_some() => history(table, columns, &nested(&table.select.sql)),
        Build::History => first_seen(table, columns, now_us),
    }
}

fn keys(table: &Table) -> Vec<&str> {
    table.increment.key.iter().map(|key| key.value.as_str()).collect()
}

fn names(columns: &Schema) -> Vec<&str> {
    columns.fields().iter().map(|field| field.name().as_str()).collect()
}

/// An order that makes the choice among rows with one key and time the same, whatever order they come in: rows that are equal in all columns,
/// lists and structs too, are the same row.
fn ties(columns: &Schema, except: &[&str]) -> String {
    let rest = names(columns).into_iter().filter(|name| !except.contains(name));
    rest.map(|name| format!(", {} desc nulls last", sql::ident(name))).collect()
}

/// Of each key the newest row, unless it meets `delete`.
pub(crate) fn merge(table: &Table, columns: &Schema, rows: &str) -> String {
    let (all, keys) = (sql::idents(names(columns)), keys(table));
    let kept = match &table.increment.delete {
        Some(delete) => format!("({}) is not true", delete.value),
        None => "true".into(),
    };
    let Some(time) = &table.time else { return format!("select {all} from {rows} as pelton_rows where {kept}") };
    let mut except = keys.clone();
    except.push(&time.value);
    format!(
        "select {all} from (select *, row_number() over (partition by {} order by {} desc nulls last{}) as pelton_rank \
         from {rows} as pelton_rows) as pelton_ranked where pelton_rank = 1 and {kept}",
        sql::idents(keys),
        sql::ident(&time.value),
        ties(columns, &except)
    )
}

/// The columns whose change begins a new row of a history.
fn tracked<'a>(table: &'a Table, columns: &'a Schema) -> Vec<&'a str> {
    if !table.increment.track.is_empty() {
        return table.increment.track.iter().map(|column| column.value.as_str()).collect();
    }
    let time = table.time.as_ref().map(|time| time.value.as_str());
    names(columns).into_iter().filter(|name| !keys(table).contains(name) && Some(*name) != time).collect()
}

/// Every state of each key, from its time until the next one's: rows that change no tracked column begin none.
pub(crate) fn history(table: &Table, columns: &Schema, rows: &str) -> String {
    let time = table.time.as_ref().map_or("", |time| time.value.as_str());
    let (all, keys, at) = (sql::idents(names(columns)), keys(table), sql::ident(time));
    let by = sql::idents(keys.clone());
    let mut except = keys;
    except.push(time);
    let gone = match &table.increment.delete {
        Some(delete) => format!("({}) is true", delete.value),
        None => "false".into(),
    };
    let tracked = tracked(table, columns);
    let before: String = tracked
        .iter()
        .enumerate()
        .map(|(at_, name)| format!(", lag({}) over pelton_states as pelton_before_{at_}", sql::ident(name)))
        .collect();
    let differs: Vec<String> = tracked
        .iter()
        .enumerate()
        .map(|(at, name)| format!("({} is distinct from pelton_before_{at})", sql::ident(name)))
        .collect();
    let differs = if differs.is_empty() { "false".to_string() } else { differs.join(" or ") };
    format!(
        "select {all}, {VALID_FROM}, {VALID_TO}, {VALID_TO} is null as {IS_CURRENT} from (\
           select *, {at} as {VALID_FROM}, lead({at}) over (partition by {by} order by {at}) as {VALID_TO} from (\
             select *, lag(pelton_gone) over pelton_states as pelton_was_gone{before} from (\
               select *, {gone} as pelton_gone from (\
                 select *, row_number() over (partition by {by}, {at} order by {at}{}) as pelton_rank from {rows} as pelton_rows\
               ) as pelton_ranked where pelton_rank = 1\
             ) as pelton_marked window pelton_states as (partition by {by} order by {at})\
           ) as pelton_compared \
           where (pelton_was_gone is null) or (pelton_gone <> pelton_was_gone) or (not pelton_gone and ({differs}))\
         ) as pelton_ranges where not pelton_gone",
        ties(columns, &except)
    )
}

fn seen_rows(table: &Table) -> String {
    let rows = nested(&table.select.sql);
    match &table.increment.delete {
        Some(delete) => format!("(select * from {rows} as pelton_rows where ({}) is not true)", delete.value),
        None => rows,
    }
}

/// A history that begins: every row holds from now on.
fn first_seen(table: &Table, columns: &Schema, now_us: i64) -> String {
    let (now, never) = (sql::instant(now_us, &types::timestamp()), sql::cast("null", &types::timestamp()));
    format!(
        "select {}, {now} as {VALID_FROM}, {never} as {VALID_TO}, true as {IS_CURRENT} from {} as pelton_seen",
        sql::idents(names(columns)),
        seen_rows(table)
    )
}

/// A history that goes on: what differs from what is seen now, or is not seen any more, ends now. `before` is the relation of the
/// version before.
pub(crate) fn history_seen(table: &Table, columns: &Schema, before: &str, now_us: i64) -> String {
    let (names, keys) = (names(columns), keys(table));
    let of =
        |table: &str| names.iter().map(|name| format!("{table}.{}", sql::ident(name))).collect::<Vec<_>>().join(", ");
    let now = sql::instant(now_us, &types::timestamp());
    let on: Vec<String> = keys.iter().map(|key| format!("o.{0} = s.{0}", sql::ident(key))).collect();
    let on = on.join(" and ");
    let key = sql::ident(keys.first().unwrap_or(&""));
    let same: Vec<String> = tracked(table, columns)
        .iter()
        .map(|name| format!("(o.{0} is not distinct from s.{0})", sql::ident(name)))
        .collect();
    let same = if same.is_empty() { "true".to_string() } else { same.join(" and ") };
    let open = format!("(select * from {before} where {IS_CURRENT}) as o");
    let seen = format!("{} as s", seen_rows(table));
    format!(
        "select {0}, {VALID_FROM}, {VALID_TO}, {IS_CURRENT} from {before} where not {IS_CURRENT} \
         union all \
         select {1}, o.{VALID_FROM}, case when (s.{key} is not null) and {same} then null else {now} end as {VALID_TO}, \
                ((s.{key} is not null) and {same}) as {IS_CURRENT} \
         from {open} left join {seen} on {on} \
         union all \
         select {2}, {now} as {VALID_FROM}, {3} as {VALID_TO}, true as {IS_CURRENT} \
         from {seen} left join {open} on {on} where (o.{key} is null) or not ({same})",
        sql::idents(names.iter().copied()),
        of("o"),
        of("s"),
        sql::cast("null", &types::timestamp()),
    )
}

/// A condition on a time column that it lies in one of some ranges, each from its first microsecond to before its last.
pub(crate) fn within(column: &str, data_type: &DataType, ranges: &[(i64, i64)]) -> String {
    let column = sql::ident(column);
    let at = |us: i64| sql::instant(us, data_type);
    let parts: Vec<String> = ranges
        .iter()
        .map(|(from, to)| match (*from == i64::MIN, *to == i64::MAX) {
            (true, true) => "true".to_string(),
            (false, true) => format!("{column} >= {}", at(*from)),
            (true, false) => format!("{column} < {}", at(*to)),
            (false, false) => format!("({column} >= {} and {column} < {})", at(*from), at(*to)),
        })
        .collect();
    if parts.is_empty() { "false".into() } else { format!("({})", parts.join(" or ")) }
}
