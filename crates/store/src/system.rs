//! The state database as tables that SQL can read (`pelton.runs`, `pelton.versions`, ...).

use crate::error::StoreError;
use crate::state::{State, each_row, each_source_file};
use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pelton_query::types;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The names of the system tables, without `pelton.`.
pub const SYSTEM_TABLES: &[&str] =
    &["runs", "versions", "publications", "environments", "decisions", "checks", "profiles", "metrics", "sources"];

/// The columns of a system table.
pub fn system_table_schema(name: &str) -> Option<SchemaRef> {
    find(name).map(schema)
}

impl State {
    /// The rows of every system table by its name, all of one moment.
    pub fn system_tables(&self) -> Result<BTreeMap<&'static str, RecordBatch>, StoreError> {
        let tables = self.read(|db| {
            // One read transaction, so that no publication is seen without its run.
            let db = db.unchecked_transaction()?;
            TABLES.iter().map(|table| Ok((table, rows_of(&db, table)?))).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let batch = |(table, columns): (&'static Table, Vec<Column>)| {
            let columns = columns.into_iter().map(Column::finish).collect();
            let batch = RecordBatch::try_new(schema(table), columns).map_err(|error| StoreError::Internal {
                message: format!("`pelton.{}` does not fit: {error}", table.name),
            })?;
            Ok((table.name, batch))
        };
        tables.into_iter().map(batch).collect()
    }
}

fn rows_of(db: &Connection, table: &Table) -> rusqlite::Result<Vec<Column>> {
    let mut columns: Vec<Column> = table.columns.iter().map(|(_, kind)| Column::new(*kind)).collect();
    if table.name == "sources" {
        each_source_file(db, |node, version, run, taken_in_at_us, file| {
            let digest = file.digest.to_string();
            let cells = [
                text(node),
                text(version),
                text(run),
                ValueRef::Integer(taken_in_at_us),
                text(&file.path),
                ValueRef::Integer(file.bytes as i64),
                ValueRef::Integer(file.modified_us),
                text(&digest),
                ValueRef::Integer(file.rows as i64),
                ValueRef::Integer(file.quarantined as i64),
                ValueRef::Integer(file.dropped as i64),
            ];
            columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        })?;
    } else {
        each_row(db, table.rows, |row| {
            for (at, column) in columns.iter_mut().enumerate() {
                column.push(row.get_ref(at)?);
            }
            Ok(())
        })?;
    }
    Ok(columns)
}

fn text(value: &str) -> ValueRef<'_> {
    ValueRef::Text(value.as_bytes())
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
    Time,
    Double,
    Flag,
}

struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    /// Gives the columns in their order.
    rows: &'static str,
}

use Kind::{Double, Flag, Number, Text, Time};

const TABLES: &[Table] = &[
    Table {
        name: "runs",
        columns: &[
            ("run", Text),
            ("environment", Text),
            ("command", Text),
            ("pid", Number),
            ("started_at", Time),
            ("finished_at", Time),
            ("outcome", Text),
            ("publication", Number),
            ("summary", Text),
        ],
        rows: "select id, environment, command, pid, started_at_us, finished_at_us, outcome, publication, summary
               from runs order by seq",
    },
    Table {
        name: "versions",
        columns: &[
            ("version", Text),
            ("node", Text),
            ("kind", Text),
            ("run", Text),
            ("fingerprint", Text),
            ("digest", Text),
            ("built_at", Time),
            ("rows", Number),
            ("bytes", Number),
            ("delta_version", Number),
            ("quarantined", Number),
            ("dropped", Number),
            ("columns", Text),
            ("inputs", Text),
            ("detail", Text),
        ],
        rows: "select v.id, v.node, v.kind, v.run, v.fingerprint, v.digest, v.built_at_us,
                      case when not v.is_view then v.rows end, v.bytes,
                      v.delta_version, v.quarantined, v.dropped, b.columns, b.inputs, b.detail
               from versions v join version_bodies b on b.version = v.id order by v.seq",
    },
    Table {
        name: "publications",
        columns: &[
            ("publication", Number),
            ("environment", Text),
            ("run", Text),
            ("published_at", Time),
            ("nodes", Number),
            ("is_current", Flag),
            ("restores", Number),
            ("removed_at", Time),
        ],
        rows: "select p.id, p.environment, p.run, p.at_us, p.nodes,
                      p.id = (select max(id) from publications where environment = p.environment),
                      p.restores, p.removed_at_us
               from publications p order by p.id",
    },
    Table {
        name: "environments",
        columns: &[
            ("environment", Text),
            ("node", Text),
            ("kind", Text),
            ("version", Text),
            ("digest", Text),
            ("rows", Number),
            ("publication", Number),
            ("published_at", Time),
        ],
        rows: "select e.environment, e.node, v.kind, e.version, v.digest,
                      case when not v.is_view then v.rows end, e.since, p.at_us
               from environment_nodes e join versions v on v.id = e.version join publications p on p.id = e.since
               where e.until is null order by e.environment, e.node",
    },
    Table {
        name: "decisions",
        columns: &[
            ("run", Text),
            ("started_at", Time),
            ("node", Text),
            ("action", Text),
            ("reason", Text),
            ("detail", Text),
        ],
        // What a run decided about itself as a whole is about no node.
        rows: "select d.run, r.started_at_us, nullif(d.node, ''), d.action, d.reason, d.detail
               from decisions d join runs r on r.id = d.run order by r.seq, d.position",
    },
    Table {
        name: "checks",
        columns: &[
            ("run", Text),
            ("node", Text),
            ("version", Text),
            ("name", Text),
            ("rule", Text),
            ("on_fail", Text),
            ("outcome", Text),
            ("failed_rows", Number),
            ("rows", Number),
            ("samples", Text),
            ("fact", Text),
            ("checked_at", Time),
        ],
        rows: "select run, node, version, name, rule, on_fail, outcome, failed_rows, rows, samples, fact, at_us
               from checks order by seq",
    },
    Table {
        name: "profiles",
        columns: &[
            ("run", Text),
            ("node", Text),
            ("version", Text),
            ("statistic", Text),
            ("column_name", Text),
            ("value", Double),
            ("measured_at", Time),
        ],
        rows: "select run, node, version, statistic, nullif(column_name, ''), value, at_us from profiles order by seq",
    },
    Table {
        name: "metrics",
        columns: &[
            ("run", Text),
            ("node", Text),
            ("version", Text),
            ("learner", Text),
            ("part", Text),
            ("metric", Text),
            ("value", Double),
        ],
        rows: "select run, node, version, learner, part, metric, value from metrics order by seq",
    },
    // The files that the newest version of each source has taken in; they are not rows of the database.
    Table {
        name: "sources",
        columns: &[
            ("node", Text),
            ("version", Text),
            ("run", Text),
            ("taken_in_at", Time),
            ("path", Text),
            ("bytes", Number),
            ("modified_at", Time),
            ("digest", Text),
            ("rows", Number),
            ("quarantined", Number),
            ("dropped", Number),
        ],
        rows: "",
    },
];

fn find(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

fn schema(table: &Table) -> SchemaRef {
    let field = |(name, kind): &(&str, Kind)| {
        let data_type = match kind {
            Text => DataType::Utf8,
            Number => DataType::Int64,
            Time => types::timestamp(),
            Double => DataType::Float64,
            Flag => DataType::Boolean,
        };
        Field::new(*name, data_type, true)
    };
    Arc::new(Schema::new(table.columns.iter().map(field).collect::<Vec<_>>()))
}

enum Column {
    Text(StringBuilder),
    Number(Int64Builder),
    Time(TimestampMicrosecondBuilder),
    Double(Float64Builder),
    Flag(BooleanBuilder),
}

impl Column {
    fn new(kind: Kind) -> Self {
        match kind {
            Text => Column::Text(StringBuilder::new()),
            Number => Column::Number(Int64Builder::new()),
            Time => Column::Time(TimestampMicrosecondBuilder::new().with_data_type(types::timestamp())),
            Double => Column::Double(Float64Builder::new()),
            Flag => Column::Flag(BooleanBuilder::new()),
        }
    }

    /// Adds a value; one of another type than the column's, which `strict` tables cannot hold, is null.
    fn push(&mut self, value: ValueRef<'_>) {
        match self {
            Column::Text(column) => column.append_option(value.as_str_or_null().ok().flatten()),
            Column::Number(column) => column.append_option(value.as_i64_or_null().ok().flatten()),
            Column::Time(column) => column.append_option(value.as_i64_or_null().ok().flatten()),
            Column::Double(column) => column.append_option(value.as_f64_or_null().ok().flatten()),
            Column::Flag(column) => column.append_option(value.as_i64_or_null().ok().flatten().map(|flag| flag != 0)),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Column::Text(mut column) => Arc::new(column.finish()),
            Column::Number(mut column) => Arc::new(column.finish()),
            Column::Time(mut column) => Arc::new(column.finish()),
            Column::Double(mut column) => Arc::new(column.finish()),
            Column::Flag(mut column) => Arc::new(column.finish()),
        }
    }
}
