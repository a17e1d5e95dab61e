//! What a build leaves of an incremental table: its rows by the inputs that are given, together with the rows that it had before.
//!
//! A run knows from its inputs' versions what changed, a test has only rows. So a test's inputs stand for what a run finds new, and
//! `prior` for everything that it finds in the table: `append` adds to it, `merge` and `history` go on with its keys, and `interval`
//! replaces the intervals in which the SELECT gives rows.

use super::bench::failed;
use super::rows::Table as Given;
use crate::context::reports;
use crate::shape::{self, IS_CURRENT, VALID_FROM, VALID_TO, nested};
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{Schema, TimestampMicrosecondType};
use pelton_base::{Grain, Reports};
use pelton_project::{Build, Node, Spanned, Table};
use pelton_query::{Catalog, Engine, Relation, collect, sql, types};
use std::collections::BTreeSet;

/// The rows that the table had before, in catalogs; no node can have the name.
const PRIOR: &str = "pelton_prior";

/// As they are given, before what they leave out is filled in.
const GIVEN: &str = "pelton_prior_given";

/// A build of an incremental table in a test.
pub(super) struct Left<'a> {
    pub(super) engine: &'a dyn Engine,
    pub(super) node: &'a Node,
    pub(super) table: &'a Table,
    pub(super) now_us: i64,
}

impl Left<'_> {
    /// The SELECT of the rows that the build leaves, and the catalog that it reads.
    pub(super) async fn select(&self, catalog: &Catalog, prior: Option<&Given>) -> Result<(Catalog, String), Reports> {
        let table = self.table;
        let failed = |error| failed(self.node, &error);
        let columns = self.engine.analyze(catalog, &table.select.sql).map_err(failed)?.schema;
        let mut catalog = catalog.clone();
        let has_prior = prior.is_some();
        if let Some(prior) = prior {
            catalog.relations.insert(GIVEN.into(), prior.relation());
            catalog.relations.insert(PRIOR.into(), Relation::View(self.prior(&columns)));
        }
        let text = match (table.build, has_prior) {
            (Build::Interval, _) => self.interval(&catalog, &columns, has_prior).await?,
            (_, false) => shape::of_table(table, &columns, self.now_us),
            (Build::Append, true) => both(&columns, &nested(&table.select.sql)),
            (Build::Merge, true) => self.merge(&columns),
            (Build::History, true) if table.time.is_some() => self.history(&columns),
            (Build::History, true) => shape::history_seen(table, &columns, PRIOR, self.now_us),
            // The project was refused when a test gives another table a state before.
            (Build::View | Build::Full, true) => table.select.sql.clone(),
        };
        Ok((catalog, text))
    }

    fn keys(&self) -> Vec<String> {
        self.table.increment.key.iter().map(|key| sql::ident(&key.value)).collect()
    }

    fn time(&self) -> &str {
        self.table.time.as_ref().map_or("", |time| time.value.as_str())
    }

    /// The rows before; of a history, with the times that follow from others where they are left out.
    fn prior(&self, columns: &Schema) -> String {
        if self.table.build != Build::History {
            return format!("select * from {GIVEN}");
        }
        let from = match &self.table.time {
            Some(time) => format!("coalesce({VALID_FROM}, {})", sql::ident(&time.value)),
            None => VALID_FROM.to_string(),
        };
        format!(
            "select {}, {from} as {VALID_FROM}, {VALID_TO}, coalesce({IS_CURRENT}, {VALID_TO} is null) as {IS_CURRENT} from {GIVEN}",
            names(columns)
        )
    }

    /// Of each key the newest row, of those before and those that the SELECT gives; without a time, those of the SELECT.
    fn merge(&self, columns: &Schema) -> String {
        let table = self.table;
        let new = nested(&table.select.sql);
        if table.time.is_some() {
            return shape::merge(table, columns, &nested(&both(columns, &new)));
        }
        let all = names(columns);
        let same = self.keys().iter().map(|key| format!("s.{key} = p.{key}")).collect::<Vec<_>>().join(" and ");
        format!(
            "{} union all select {all} from {PRIOR} as p where not exists (select 1 from {new} as s where {same})",
            shape::merge(table, columns, &new)
        )
    }

    /// The states before are changes like those that the SELECT gives. One that ended without another beginning is a change to nothing.
    fn history(&self, columns: &Schema) -> String {
        const ENDS: &str = "pelton_ends";
        let (new, time) = (nested(&self.table.select.sql), sql::ident(self.time()));
        let all = names(columns);
        let ended = columns.fields().iter().map(|field| match field.name() == self.time() {
            true => format!("p.{VALID_TO} as {time}"),
            false => format!("p.{}", sql::ident(field.name())),
        });
        let same =
            |other: &str| self.keys().iter().map(|key| format!("{other}.{key} = p.{key} and ")).collect::<String>();
        let rows = format!(
            "(select {all}, false as {ENDS} from {new} as pelton_new \
             union all select {all}, false from {PRIOR} \
             union all select {}, true from {PRIOR} as p where p.{VALID_TO} is not null \
               and not exists (select 1 from {PRIOR} as n where {}n.{VALID_FROM} = p.{VALID_TO}) \
               and not exists (select 1 from {new} as s where {}s.{time} = p.{VALID_TO}))",
            ended.collect::<Vec<_>>().join(", "),
            same("n"),
            same("s"),
        );
        let mut table = self.table.clone();
        let delete = match &table.increment.delete {
            Some(delete) => format!("(({}) is true) or {ENDS}", delete.value),
            None => ENDS.to_string(),
        };
        table.increment.delete = Some(Spanned { value: delete, span: (0, 0) });
        shape::history(&table, columns, &rows)
    }

    /// The rows in the intervals that a run would build, and those before in others.
    async fn interval(&self, catalog: &Catalog, columns: &Schema, has_prior: bool) -> Result<String, Reports> {
        let settings = &self.table.increment;
        let grain = settings.interval.unwrap_or(Grain::FINEST);
        let (time, new) = (sql::ident(self.time()), nested(&self.table.select.sql));
        let data_type =
            columns.field_with_name(self.time()).map_or(types::timestamp(), |field| field.data_type().clone());
        let from = settings.start_us.map_or(i64::MIN, |start| grain.floor(start));
        let until = match settings.lateness_us {
            None => i64::MAX,
            Some(lateness_us) => {
                let newest = self.newest(catalog).await?;
                let closed = newest.map_or(i64::MIN, |newest| grain.floor(newest.saturating_sub(lateness_us)));
                // What the table has was built when it was closed.
                let had = match has_prior {
                    true => self.times(catalog, &format!("select max({time}) as t from {PRIOR}")).await?,
                    false => Vec::new(),
                };
                had.into_iter().map(|at| grain.end(at)).max().unwrap_or(i64::MIN).max(closed)
            }
        };
        let all = names(columns);
        let wanted = shape::within(self.time(), &data_type, &[(from, until)]);
        let built = format!("select {all} from {new} as pelton_new where {wanted}");
        if !has_prior {
            return Ok(built);
        }
        let times = self.times(catalog, &format!("select distinct {time} as t from {}", nested(&built))).await?;
        let touched: BTreeSet<(i64, i64)> = times.into_iter().map(|at| (grain.floor(at), grain.end(at))).collect();
        let touched: Vec<(i64, i64)> = touched.into_iter().collect();
        let stays = shape::within(self.time(), &data_type, &touched);
        Ok(format!("{built} union all select {all} from {PRIOR} where not {stays}"))
    }

    /// The newest time in the inputs, by which `lateness` is counted.
    async fn newest(&self, catalog: &Catalog) -> Result<Option<i64>, Reports> {
        let locality = self.engine.locality(catalog, &self.table.select.sql);
        let locality = locality.map_err(|error| failed(self.node, &error))?;
        let mut newest = None;
        for origin in locality.column(self.time()).into_iter().flat_map(|column| &column.origins) {
            let text = format!("select max({}) as t from {}", sql::ident(&origin.column), sql::ident(&origin.input));
            newest = newest.max(self.times(catalog, &text).await?.into_iter().max());
        }
        Ok(newest)
    }

    /// The times, microseconds since the epoch, of a SELECT of one column; missing ones are left out.
    async fn times(&self, catalog: &Catalog, text: &str) -> Result<Vec<i64>, Reports> {
        let failed = |error| failed(self.node, &error);
        let stream = self.engine.query(catalog, text).await.map_err(failed)?;
        let mut times = Vec::new();
        for batch in collect(stream).await.map_err(failed)? {
            let batch = pelton_store::to_stored(&batch).map_err(reports)?;
            let column = cast(batch.column(0), &types::timestamp());
            let column = column.map_err(|error| pelton_base::Report::error("internal", error.to_string()))?;
            times.extend(column.as_primitive::<TimestampMicrosecondType>().iter().flatten());
        }
        Ok(times)
    }
}

fn names(columns: &Schema) -> String {
    sql::idents(columns.fields().iter().map(|field| field.name().as_str()))
}

/// The rows of a SELECT and those before.
fn both(columns: &Schema, new: &str) -> String {
    let all = names(columns);
    format!("select {all} from {new} as pelton_new union all select {all} from {PRIOR}")
}

/// Whether a history notes the time of the run.
pub(super) fn notes_now(table: &Table) -> bool {
    table.build == Build::History && table.time.is_none()
}
