//! What the order of a table's columns means to those who read it.
//!
//! A digest says nothing of the order of columns, because SQL that names its columns does not see it. SQL that takes columns by their
//! place does: `select * from a union all select x, y from b`, `a as t(x, y)`, `order by 2`. So does what chooses among rows
//! that tie by all of their values, from the first column to the last: an as-of join, a merge, a history. Here it is told for which nodes the order counts,
//! so that another order rebuilds these and no others.

use crate::{Body, Build, ColumnOrder, Model, Node};
use pelton_base::NodeName;
use sqlparser::ast::{
    Expr, GroupByExpr, Join, JoinOperator, OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr,
    SetQuantifier, TableAlias, TableFactor, Value, Visit, Visitor,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// What a query does with the order of the columns that it reads. Where its parts differ, it is told too much rather than too little.
pub(crate) fn order_in(query: &Query) -> ColumnOrder {
    let mut found = Found::default();
    let _ = query.visit(&mut found);
    ColumnOrder { is_taken: found.wildcard, is_seen: found.of_tables || (found.wildcard && found.by_place) }
}

#[derive(Default)]
struct Found {
    /// `*`, `t.*`, or a `FROM` without SELECT.
    wildcard: bool,
    /// The columns of a table are taken by their place: they get names by it, or rows that tie are told apart by it.
    of_tables: bool,
    /// Columns of a query are taken by their place.
    by_place: bool,
}

impl Found {
    fn joins(&mut self, joins: &[Join]) {
        self.of_tables |= joins.iter().any(|join| matches!(join.join_operator, JoinOperator::AsOf { .. }));
    }

    fn set_operations(&mut self, body: &SetExpr) {
        if let SetExpr::SetOperation { left, right, set_quantifier, .. } = body {
            use SetQuantifier::{AllByName, ByName, DistinctByName};
            self.by_place |= !matches!(set_quantifier, ByName | AllByName | DistinctByName);
            self.set_operations(left);
            self.set_operations(right);
        }
    }
}

impl Visitor for Found {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.set_operations(&query.body);
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.by_place |= ctes.into_iter().any(|cte| !cte.alias.columns.is_empty());
        self.by_place |= query.order_by.as_ref().is_some_and(|order_by| match &order_by.kind {
            OrderByKind::All(_) => true,
            OrderByKind::Expressions(list) => list.iter().any(|item| is_number(&item.expr)),
        });
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let is_wildcard =
            |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        self.wildcard |= select.flavor == SelectFlavor::FromFirstNoSelect || select.projection.iter().any(is_wildcard);
        select.from.iter().for_each(|from| self.joins(&from.joins));
        if let GroupByExpr::Expressions(list, _) = &select.group_by {
            self.by_place |= list.iter().any(is_number);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let renames = |alias: &Option<TableAlias>| alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
        match factor {
            TableFactor::Table { alias, .. } => self.of_tables |= renames(alias),
            // What an array is unnested to has no columns of a table.
            TableFactor::UNNEST { .. } => {}
            TableFactor::Derived { alias, .. } => self.by_place |= renames(alias),
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.joins(&table_with_joins.joins);
                self.of_tables |= renames(alias);
            }
            TableFactor::Function { alias, .. } | TableFactor::TableFunction { alias, .. } => {
                self.of_tables |= renames(alias);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        // `(a, b) in (select * from t)`
        self.by_place |= matches!(expr, Expr::InSubquery { expr, .. } if matches!(**expr, Expr::Tuple(_)));
        ControlFlow::Continue(())
    }
}

fn is_number(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Number(..)))
}

/// The nodes that are to be built again when the columns of what they read have another order: those that see it, and those that hand
/// it on to them.
pub(crate) fn built_by_order(nodes: &BTreeMap<NodeName, Node>, order: &[NodeName]) -> BTreeSet<NodeName> {
    let mut seeing: BTreeSet<&NodeName> = BTreeSet::new();
    for name in order {
        let node = &nodes[name];
        // A view is read in place: what it sees, its readers see.
        let through_views = |parent: &NodeName| seeing.contains(parent) && is_view(&nodes[parent]);
        if sees(node) || rows_of(node).any(through_views) {
            seeing.insert(name);
        }
    }
    // From the last one back: whose readers see the order of its columns, be it through others.
    let mut wanted: BTreeSet<&NodeName> = BTreeSet::new();
    let mut built: BTreeSet<NodeName> = BTreeSet::new();
    for name in order.iter().rev() {
        let node = &nodes[name];
        let hands_on = node.select().is_some_and(|select| select.order.is_taken) && wanted.contains(name);
        if seeing.contains(name) || hands_on {
            wanted.extend(rows_of(node));
            // A view has no rows of its own to be built; its readers look through it.
            if seeing.contains(name) || !is_view(node) {
                built.insert(name.clone());
            }
        }
    }
    built
}

fn sees(node: &Node) -> bool {
    match &node.body {
        Body::Source(_) => false,
        Body::Table(table) => {
            let tells_ties_apart = matches!(table.build, Build::Merge | Build::History);
            table.select.order.is_seen || (tells_ties_apart && table.select.order.is_taken)
        }
        Body::Model(model) => learns_in_order(model),
    }
}

/// A model learns its columns in the order in which it gets them, and features are joined as of a time.
fn learns_in_order(model: &Model) -> bool {
    model.select.order.is_seen || model.select.order.is_taken || !model.features.is_empty()
}

/// What a node's rows come from.
fn rows_of(node: &Node) -> impl Iterator<Item = &NodeName> {
    node.reads.iter().map(|(parent, _)| parent).filter(|parent| !node.checked_with.contains(*parent))
}

fn is_view(node: &Node) -> bool {
    matches!(&node.body, Body::Table(table) if table.build == Build::View)
}

#[cfg(test)]
mod tests {
    use crate::{ColumnOrder, MemoryFiles, load_with, sql};
    use std::path::Path;

    fn order(text: &str) -> ColumnOrder {
        sql::parse_query(text).unwrap().order
    }

    #[test]
    fn sql_that_takes_columns_by_their_place_sees_their_order() {
        for text in [
            "select * from p union all select a, b from s",
            "select a, b from s except select p.* from p",
            "select * exclude (c) from p intersect select a, b from s",
            "from p union all select a, b from s",
            "select x from p as t(x, y)",
            "select x from predict(m, p) as t(x, y)",
            "with t(x, y) as (select * from p) select x from t",
            "select x from (select * from p) as t(x, y)",
            "select s.a, p.b from s asof join p match_condition (s.at >= p.at) on s.a = p.a",
            "select * from p order by 2 limit 3",
            "select a from s where (a, b) in (select * from p)",
            "with recursive t as (select * from p union all select a + 1, b from t where a < 3) select a from t",
        ] {
            assert!(order(text).is_seen, "{text}");
        }
    }

    #[test]
    fn sql_that_names_columns_does_not_see_their_order() {
        for text in [
            "select * from p",
            "select a, b from p union all select a, b from s",
            "select * from p union all by name select a, b from s",
            "select p.*, s.c from p join s using (a) where p.b > 1 order by a",
            "select count(*) from p",
            "select a, count(*) from p group by 1 order by 2",
            "select x from unnest([1, 2]) as t(x)",
            "select distinct * from p",
        ] {
            assert!(!order(text).is_seen, "{text}");
        }
        assert!(order("select * from p").is_taken && order("from p").is_taken);
        assert!(!order("select a, count(*) from p group by a").is_taken);
    }

    #[test]
    fn the_order_counts_for_those_who_see_it_and_for_those_who_hand_it_on_to_them() {
        let source = "kind = \"files\"\npath = \"data/*.csv\"\n[columns]\na = \"bigint\"\nb = \"bigint\"\n";
        let view = |sql: &str| format!("/* pelton\nbuild = \"view\"\n*/\n{sql}");
        let files = [
            ("pelton.toml", "name = \"order\"\n".to_string()),
            ("sources/s.toml", source.into()),
            ("tables/p.sql", "select a, b from s".into()),
            ("tables/copied.sql", "select * from p".into()),
            ("tables/shown.sql", view("select * from copied")),
            ("tables/summed.sql", "select * from shown union all select a, b from s".into()),
            ("tables/both.sql", view("select * from p union all select a, b from s")),
            ("tables/counted.sql", "select count(*) as n from both".into()),
            ("tables/harmless.sql", "select * from p".into()),
            ("tables/last.sql", "select * from harmless where a > 1".into()),
            (
                "models/whole.sql",
                "/* pelton\ntask = \"regression\"\ntarget = \"b\"\nkey = [\"a\"]\n*/\nselect * from last2".into(),
            ),
            (
                "models/named.sql",
                "/* pelton\ntask = \"regression\"\ntarget = \"b\"\nkey = [\"a\"]\n*/\nselect a, b from last".into(),
            ),
            ("tables/last2.sql", "select * from harmless2".into()),
            ("tables/harmless2.sql", "select * from p".into()),
        ];
        let files = MemoryFiles(files.into_iter().map(|(path, text)| (path.to_string(), text)).collect());
        let project = load_with(Path::new("/project"), &files).unwrap();
        let built: Vec<&str> = project.by_column_order.iter().map(|name| name.as_str()).collect();
        assert_eq!(built, ["both", "copied", "counted", "harmless2", "last2", "summed", "whole"]);
    }
}
