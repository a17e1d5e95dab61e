//! The tables of the state database, as steps: a database at format `n` has had the first `n` steps.
//!
//! A step is never changed once it has been published; a new format is a new step. Older databases are brought up to date
//! when they are opened, in one transaction; newer ones are refused.

use pelton_base::fail::{self, Point};
use rusqlite::{Connection, Transaction, TransactionBehavior};

/// Marks the file as Pelton's in SQLite's header ("Pelt").
pub(crate) const APPLICATION_ID: i64 = 0x5065_6c74;

/// The newest format that this program knows.
pub(crate) const FORMAT: i64 = STEPS.len() as i64;

/// Times are microseconds since the epoch, digests 32 hexadecimal digits, `blob`s JSON, zstd-compressed
/// when it is long.
///
/// - `environment_nodes` holds ranges: a row says that `node` stood at `version` from publication `since` until publication
///   `until` replaced it. A publication therefore writes what changed, not the whole map, every earlier one can be read
///   back, and a rollback is a publication like any other.
/// - `publications.removed_at_us` says that a publication's map was removed, with the ranges that no other needs: it stays as a
///   fact, and cannot be read or restored any more.
/// - `version_bodies` is apart from `versions` so that the heads of 10,000 nodes are read without their file lists.
/// - `checks` and `staging` name versions that may never be inserted: the failed ones.
/// - `check_passes` has a row for each check, as a digest of all that it asks, that a version need not be asked again.
/// - `profiles` are what anomaly and freshness checks measured of versions; `column_name` is empty for a statistic of the whole table.
/// - `versions.delta_version` is the newest commit of the node's Delta log that showed the version; null when none does, and from a
///   publication of the version until its commit. Until format 5 a log showed what was built last, so what is published is shown anew.
/// - `checks.fact` says what a check found that is not about single rows.
const STEPS: &[&str] = &[
    "
    create table runs (
        seq integer primary key,
        id text not null unique,
        environment text not null,
        command text not null,
        pid integer not null,
        started_at_us integer not null,
        finished_at_us integer,
        outcome text check (outcome in ('published', 'nothing', 'failed', 'interrupted')),
        publication integer references publications (id),
        summary text not null default 'null'
    ) strict;

    create table versions (
        seq integer primary key,
        id text not null unique,
        node text not null,
        kind text not null,
        run text not null references runs (id),
        fingerprint text not null,
        digest text not null,
        built_at_us integer not null,
        rows integer not null,
        bytes integer not null,
        delta_version integer,
        quarantined integer not null,
        dropped integer not null
    ) strict;
    create index versions_by_node on versions (node, fingerprint);

    create table version_bodies (
        version text primary key references versions (id),
        columns text not null,
        inputs text not null,
        detail text not null,
        files blob not null,
        quarantine blob not null
    ) strict, without rowid;

    create table source_files (
        version text primary key,
        files blob not null
    ) strict, without rowid;

    create table publications (
        id integer primary key autoincrement,
        environment text not null,
        run text not null references runs (id),
        at_us integer not null,
        nodes integer not null,
        restores integer references publications (id)
    ) strict;
    create index publications_by_environment on publications (environment, id);

    create table environment_nodes (
        environment text not null,
        node text not null,
        since integer not null references publications (id),
        until integer references publications (id),
        version text not null references versions (id),
        primary key (environment, node, since)
    ) strict, without rowid;
    create index environment_nodes_now on environment_nodes (environment, node, version) where until is null;
    create index environment_nodes_by_version on environment_nodes (version);

    create table decisions (
        run text not null references runs (id),
        position integer not null,
        node text not null,
        action text not null,
        reason text not null,
        detail text not null,
        primary key (run, position)
    ) strict, without rowid;
    create index decisions_by_node on decisions (node, run);

    create table checks (
        seq integer primary key,
        run text not null references runs (id),
        node text not null,
        version text,
        name text not null,
        rule text not null,
        on_fail text not null,
        outcome text not null,
        failed_rows integer not null,
        rows integer not null,
        samples text not null,
        at_us integer not null
    ) strict;
    create index checks_by_version on checks (version);
    create index checks_by_node on checks (node, run);

    create table metrics (
        seq integer primary key,
        run text not null references runs (id),
        node text not null,
        version text not null,
        learner text not null,
        part text not null,
        metric text not null,
        value real
    ) strict;
    create index metrics_by_version on metrics (version);

    create table staging (
        run text not null references runs (id),
        folder text not null,
        prefix text not null,
        primary key (run, folder, prefix)
    ) strict, without rowid;
",
    "
    alter table publications add column removed_at_us integer;
",
    "
    create table check_passes (
        version text not null,
        digest text not null,
        run text not null references runs (id),
        at_us integer not null,
        primary key (version, digest)
    ) strict, without rowid;

    create table profiles (
        seq integer primary key,
        version text not null,
        node text not null,
        run text not null references runs (id),
        statistic text not null,
        column_name text not null,
        value real,
        at_us integer not null
    ) strict;
    create index profiles_by_node on profiles (node, statistic, column_name);
    create index profiles_by_version on profiles (version);
",
    "
    alter table checks add column fact text;
",
    "
    update versions set delta_version = null
    where delta_version < (select max(other.delta_version) from versions other where other.node = versions.node)
      and exists (select 1 from environment_nodes e
                  where e.environment = 'main' and e.version = versions.id and e.until is null);
    alter table versions add column is_view integer not null default 0;
    update versions set is_view = 1
    where kind = 'table' and exists (select 1 from version_bodies b
                                     where b.version = versions.id and json_extract(b.detail, '$.view') is not null);
    create index versions_unshown on versions (id) where delta_version is null and is_view = 0 and kind <> 'model';
",
];

/// What a state database says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A file without any table.
    Empty,
    /// Pelton's, at this format.
    Format(i64),
    /// Some other program's.
    Foreign,
}

pub(crate) fn look(connection: &Connection) -> rusqlite::Result<Found> {
    let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application == APPLICATION_ID {
        return Ok(Found::Format(format));
    }
    let tables: i64 = connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
    Ok(if tables == 0 && format == 0 && application == 0 { Found::Empty } else { Found::Foreign })
}

/// Brings a database to [`FORMAT`]. Another process may be doing the same: the format is looked at again under the lock.
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let format = match look(&transaction)? {
        Found::Format(format) => format,
        Found::Empty | Found::Foreign => 0,
    };
    for step in STEPS.iter().skip(usize::try_from(format).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    if format < FORMAT {
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    fail::after(Point::StateCreate);
    transaction.commit()
}
