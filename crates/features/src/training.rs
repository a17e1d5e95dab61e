//! SQL texts: the training set (labels with features as of each row's time) and the newest row of each entity.

use crate::table::{FeatureTable, ResolvedUse};
use pelton_query::{sql, types};

/// Rows that get features.
#[derive(Debug, Clone)]
pub struct Labels {
    /// A relation's name, quoted, or a SELECT in brackets, which may end in a comment.
    pub relation: String,
    /// The columns to keep, in order.
    pub columns: Vec<String>,
    /// As of when features are looked up.
    pub as_of: AsOf,
    /// The columns by which the result is ordered; unordered when empty.
    pub order_by: Vec<String>,
}

/// As of when features are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// Each row at its own time.
    Column(String),
    /// All rows at this time, microseconds since the epoch.
    Instant(i64),
}

/// The name of the column that carries [`AsOf::Instant`].
const INSTANT: &str = "pelton_as_of";

/// The SELECT of labels with features: the kept columns, then the features of each use in order. One row a label row.
///
/// Columns of labels are `l`, of the feature tables `f0`, `f1` and so on, one `ASOF JOIN` a table.
pub fn training_sql(labels: &Labels, uses: &[ResolvedUse]) -> String {
    let mut columns: Vec<String> = labels.columns.iter().map(|name| format!("l.{}", sql::ident(name))).collect();
    for (i, used) in uses.iter().enumerate() {
        for taken in &used.columns {
            columns.push(format!("f{i}.{} as {}", sql::ident(&taken.column), sql::ident(&taken.name)));
        }
    }
    let relation = match labels.relation.trim().strip_prefix('(').and_then(|select| select.strip_suffix(')')) {
        // A new line before the bracket, because the SELECT is a user's and its last line may be a comment.
        Some(select) if select.contains("--") => format!("({select}\n)"),
        _ => labels.relation.clone(),
    };
    let (relation, time) = match &labels.as_of {
        AsOf::Column(name) => (relation, sql::ident(name)),
        AsOf::Instant(us) => {
            let instant = format!("arrow_cast({us}, 'Timestamp(Microsecond, Some(\"UTC\"))')");
            let wrapped = format!("(select *, {instant} as \"{INSTANT}\" from {relation} as \"rows\")");
            (wrapped, sql::ident(INSTANT))
        }
    };
    let mut text = format!("select {}\nfrom {relation} as l", columns.join(", "));
    for (i, used) in uses.iter().enumerate() {
        text.push_str(&join(&used.table, i, &time));
    }
    if !labels.order_by.is_empty() {
        let order: Vec<_> = labels.order_by.iter().map(|name| format!("l.{}", sql::ident(name))).collect();
        text.push_str(&format!("\norder by {}", order.join(", ")));
    }
    text
}

/// Joins the whole table, not only the columns that are taken: rows that tie in entity and times are told apart by all their values,
/// here as in [`latest_sql`], so the taken columns must not decide which of them is seen.
fn join(table: &FeatureTable, index: usize, time: &str) -> String {
    let f = format!("f{index}");
    let of_right = |name: &str| format!("{f}.{}", sql::ident(name));
    let mut conditions = vec![format!("l.{time} >= {}", of_right(&table.time))];
    if let Some(known_at) = &table.known_at {
        conditions.push(format!("l.{time} >= {}", of_right(known_at)));
    }
    if let Some(ttl_us) = table.ttl_us {
        conditions.push(format!("l.{time} - {} <= interval '{} seconds'", of_right(&table.time), seconds(ttl_us)));
    }
    let on: Vec<_> = table.entity.iter().map(|name| format!("l.{} = {}", sql::ident(name), of_right(name))).collect();
    format!(
        "\nasof join {} as {f}\n  match_condition ({})\n  on {}",
        sql::dotted(table.name.as_str()),
        conditions.join(" and "),
        on.join(" and "),
    )
}

/// Microseconds as seconds, with a fraction only when there is one.
fn seconds(us: i64) -> String {
    match us % 1_000_000 {
        0 => (us / 1_000_000).to_string(),
        rest => format!("{}.{rest:06}", us / 1_000_000),
    }
}

/// The SELECT of what the online store is built from: of each entity the newest row that is known at `now_us`, and all that become known
/// later, all columns, ordered by entity, the newest first.
///
/// Newest as an as-of join at the end of time sees it: by time, then by the moment it became visible, then the greatest by its values
/// in the table's order of columns.
pub fn latest_sql(table: &FeatureTable, relation: &str, now_us: i64) -> String {
    let all = || table.schema.fields().iter().map(|field| field.name().as_str());
    let entity = sql::idents(table.entity.iter().map(String::as_str));
    let times: Vec<&str> = [Some(table.time.as_str()), table.known_at.as_deref()].into_iter().flatten().collect();
    let time = sql::ident(&table.time);
    let mut order = vec![format!("{time} desc")];
    let visible = match &table.known_at {
        Some(known_at) => format!("greatest({time}, {})", sql::ident(known_at)),
        None => time.clone(),
    };
    if table.known_at.is_some() {
        order.push(format!("{visible} desc"));
    }
    let is_known = format!("{visible} <= {}", sql::instant(now_us, &types::timestamp()));
    let rest = all().filter(|name| !table.entity.iter().any(|entity| entity == name) && *name != table.time);
    order.extend(rest.map(|name| format!("{} desc nulls last", sql::ident(name))));
    let present = table.entity.iter().map(String::as_str).chain(times.iter().copied());
    let present: Vec<_> = present.map(|name| format!("{} is not null", sql::ident(name))).collect();
    format!(
        "select {columns} from (select {columns}, {is_known} as \"pelton_is_known\", \
         row_number() over (partition by {entity}, {is_known} order by {order} \
         rows between unbounded preceding and current row) as \"pelton_rank\" from {relation} where {present}) as \"ranked\" \
         where \"pelton_rank\" = 1 or not \"pelton_is_known\" order by {entity}, {order}",
        order = order.join(", "),
        present = present.join(" and "),
        columns = sql::idents(all()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Taken;
    use arrow::datatypes::{DataType, Field, Schema};
    use pelton_base::NodeName;
    use pelton_query::types::timestamp;
    use std::sync::Arc;

    fn table(known_at: Option<&str>, ttl_us: Option<i64>) -> FeatureTable {
        let schema = Schema::new(vec![
            Field::new("customer_id", DataType::Int64, true),
            Field::new("at", timestamp(), true),
            Field::new("loaded", timestamp(), true),
            Field::new("spend", DataType::Float64, true),
            Field::new("count", DataType::Int64, true),
        ]);
        FeatureTable {
            name: NodeName::new("activity"),
            entity: vec!["customer_id".into()],
            time: "at".into(),
            known_at: known_at.map(str::to_string),
            ttl_us,
            schema: Arc::new(schema),
        }
    }

    fn uses(table: FeatureTable) -> Vec<ResolvedUse> {
        vec![ResolvedUse { table, columns: vec![Taken { column: "spend".into(), name: "activity_spend".into() }] }]
    }

    #[test]
    fn the_training_set_is_one_as_of_join_a_table() {
        let labels = Labels {
            relation: "\"labels\"".into(),
            columns: vec!["id".into(), "at".into(), "spend".into()],
            as_of: AsOf::Column("at".into()),
            order_by: vec!["id".into()],
        };
        assert_eq!(
            training_sql(&labels, &uses(table(Some("loaded"), Some(2_592_000_000_000)))),
            "select l.\"id\", l.\"at\", l.\"spend\", f0.\"spend\" as \"activity_spend\"\n\
             from \"labels\" as l\n\
             asof join \"activity\" as f0\n  \
             match_condition (l.\"at\" >= f0.\"at\" and l.\"at\" >= f0.\"loaded\" \
             and l.\"at\" - f0.\"at\" <= interval '2592000 seconds')\n  \
             on l.\"customer_id\" = f0.\"customer_id\"\n\
             order by l.\"id\""
        );
    }

    #[test]
    fn rows_without_a_time_are_looked_up_at_an_instant() {
        let labels = Labels {
            relation: "(select 1 as customer_id)".into(),
            columns: vec!["customer_id".into()],
            as_of: AsOf::Instant(5),
            order_by: Vec::new(),
        };
        assert_eq!(
            training_sql(&labels, &uses(table(None, Some(1_500_000)))),
            "select l.\"customer_id\", f0.\"spend\" as \"activity_spend\"\n\
             from (select *, arrow_cast(5, 'Timestamp(Microsecond, Some(\"UTC\"))') as \"pelton_as_of\" \
             from (select 1 as customer_id) as \"rows\") as l\n\
             asof join \"activity\" as f0\n  \
             match_condition (l.\"pelton_as_of\" >= f0.\"at\" and l.\"pelton_as_of\" - f0.\"at\" <= interval '1.500000 seconds')\n  \
             on l.\"customer_id\" = f0.\"customer_id\""
        );
    }

    #[test]
    fn a_select_may_end_in_a_comment() {
        let labels = Labels {
            relation: "(select 1 as id -- one)".into(),
            columns: vec!["id".into()],
            as_of: AsOf::Column("at".into()),
            order_by: Vec::new(),
        };
        assert_eq!(training_sql(&labels, &[]), "select l.\"id\"\nfrom (select 1 as id -- one\n) as l");
    }

    #[test]
    fn without_features_the_labels_are_the_training_set() {
        let labels = Labels {
            relation: "\"labels\"".into(),
            columns: vec!["id".into()],
            as_of: AsOf::Column("at".into()),
            order_by: Vec::new(),
        };
        assert_eq!(training_sql(&labels, &[]), "select l.\"id\"\nfrom \"labels\" as l");
    }

    #[test]
    fn the_newest_row_breaks_ties_as_the_join_does() {
        assert_eq!(
            latest_sql(&table(Some("loaded"), None), "\"activity\"", 0),
            "select \"customer_id\", \"at\", \"loaded\", \"spend\", \"count\" from (select \"customer_id\", \"at\", \"loaded\", \
             \"spend\", \"count\", greatest(\"at\", \"loaded\") <= NOW as \"pelton_is_known\", \
             row_number() over (partition by \"customer_id\", greatest(\"at\", \"loaded\") <= NOW order by ORDER \
             rows between unbounded preceding and current row) as \"pelton_rank\" from \"activity\" \
             where \"customer_id\" is not null and \"at\" is not null and \"loaded\" is not null) as \"ranked\" \
             where \"pelton_rank\" = 1 or not \"pelton_is_known\" order by \"customer_id\", ORDER"
                .replace("NOW", &sql::instant(0, &timestamp()))
                .replace(
                    "ORDER",
                    "\"at\" desc, greatest(\"at\", \"loaded\") desc, \"loaded\" desc nulls last, \"spend\" desc nulls last, \
                     \"count\" desc nulls last"
                )
        );
    }
}
