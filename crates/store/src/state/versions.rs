//! Versions of nodes, and the files that sources have taken in.

use super::runs::settle_staging;
use super::{
    ColumnType, SourceFile, State, VersionHead, VersionRecord, blob, blob_at, count, count_at, digest_at, json,
    json_at, unreadable,
};
use crate::error::StoreError;
use pelton_base::{Digest, NodeName, RunId, VersionId};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::sync::Arc;

impl State {
    /// Records a version, and that its staged files are no longer under way.
    pub fn insert_version(&self, version: &VersionRecord) -> Result<(), StoreError> {
        self.write(|db| Ok(insert(db, version)?))
    }

    /// Records many versions in one transaction.
    pub fn insert_versions(&self, versions: &[VersionRecord]) -> Result<(), StoreError> {
        self.write(|db| Ok(versions.iter().try_for_each(|version| insert(db, version))?))
    }

    /// Records a source's version together with the files it has taken in: neither is there without the other.
    pub fn insert_source_version(&self, version: &VersionRecord, files: &[SourceFile]) -> Result<(), StoreError> {
        self.write(|db| {
            insert(db, version)?;
            Ok(insert_source_files(db, &version.id, files)?)
        })
    }

    /// Records the files that a source's version has taken in. Call it before [`State::insert_version`], or use
    /// [`State::insert_source_version`]: a version without its files would take all of them in again.
    pub fn record_source_files(&self, version: &VersionId, files: &[SourceFile]) -> Result<(), StoreError> {
        self.write(|db| Ok(insert_source_files(db, version, files)?))
    }

    /// The files that a source's version has taken in, in the order they were recorded.
    pub fn source_files(&self, version: &VersionId) -> Result<Vec<SourceFile>, StoreError> {
        let files = self.read(|db| {
            db.prepare_cached("select files from source_files where version = ?")?
                .query_row([&version.0], |row| blob_at(row, 0))
                .optional()
        })?;
        Ok(files.unwrap_or_default())
    }

    /// Records that a node's Delta log shows a version. What is lost of it is found out by committing again.
    pub fn set_delta_version(&self, version: &VersionId, delta_version: i64) -> Result<(), StoreError> {
        self.write_soon(|db| {
            let changed = db
                .prepare_cached("update versions set delta_version = ? where id = ?")?
                .execute(params![delta_version, version.0])?;
            if changed == 0 { Err(StoreError::UnknownVersion { version: version.0.clone() }.into()) } else { Ok(()) }
        })
    }

    /// A version.
    pub fn version(&self, version: &VersionId) -> Result<Option<VersionRecord>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!("{RECORD} where v.id = ?"))?.query_row([&version.0], record).optional()
        })
    }

    /// The columns of a version, without what else belongs to it.
    pub fn columns_of(&self, version: &VersionId) -> Result<Option<Vec<ColumnType>>, StoreError> {
        self.read(|db| {
            db.prepare_cached("select columns from version_bodies where version = ?")?
                .query_row([&version.0], |row| json_at(row, 0))
                .optional()
        })
    }

    /// A version without its columns, files, inputs and detail.
    pub fn version_head(&self, version: &VersionId) -> Result<Option<VersionHead>, StoreError> {
        self.read(|db| db.prepare_cached(&format!("{HEAD} where v.id = ?"))?.query_row([&version.0], head).optional())
    }

    /// All versions of a node, newest first, with everything; [`State::version_heads_of`] is cheaper.
    pub fn versions_of(&self, node: &NodeName) -> Result<Vec<VersionRecord>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!("{RECORD} where v.node = ? order by v.seq desc"))?
                .query_map([node.as_str()], record)?
                .collect()
        })
    }

    /// All versions of a node, newest first.
    pub fn version_heads_of(&self, node: &NodeName) -> Result<Vec<VersionHead>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!("{HEAD} where v.node = ? order by v.seq desc"))?
                .query_map([node.as_str()], head)?
                .collect()
        })
    }

    /// All versions of a node that were built from this fingerprint, newest first.
    pub fn heads_by_fingerprint(&self, node: &NodeName, fingerprint: Digest) -> Result<Vec<VersionHead>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!("{HEAD} where v.node = ? and v.fingerprint = ? order by v.seq desc"))?
                .query_map([node.as_str(), &fingerprint.to_string()], head)?
                .collect()
        })
    }

    /// The nodes that have a version that is a model, by name.
    pub fn nodes_with_models(&self) -> Result<Vec<NodeName>, StoreError> {
        self.read(|db| {
            db.prepare_cached("select distinct node from versions where kind = 'model' order by node")?
                .query_map([], |row| Ok(NodeName::new(row.get_ref(0)?.as_str()?)))?
                .collect()
        })
    }

    /// The version that an environment has of one node.
    pub fn head_in(&self, environment: &str, node: &NodeName) -> Result<Option<VersionHead>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!(
                "{HEAD} join environment_nodes e on e.version = v.id
                 where e.environment = ? and e.node = ? and e.until is null"
            ))?
            .query_row([environment, node.as_str()], head)
            .optional()
        })
    }

    /// The versions that an environment stands at, by node name, in one query.
    pub fn heads(&self, environment: &str) -> Result<Vec<VersionHead>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!(
                "{HEAD} join environment_nodes e on e.version = v.id
                 where e.environment = ? and e.until is null order by v.node"
            ))?
            .query_map([environment], head)?
            .collect()
        })
    }
}

fn insert(db: &Connection, version: &VersionRecord) -> rusqlite::Result<()> {
    db.prepare_cached(
        "insert into versions (id, node, kind, run, fingerprint, digest, built_at_us, rows, bytes, delta_version,
                               quarantined, dropped, is_view)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        version.id.0,
        version.node.as_str(),
        version.kind,
        version.run.0,
        version.fingerprint.to_string(),
        version.digest.to_string(),
        version.built_at_us,
        count(version.rows),
        count(version.bytes),
        version.delta_version,
        count(version.quarantined),
        count(version.dropped),
        version.is_view(),
    ])?;
    db.prepare_cached(
        "insert into version_bodies (version, columns, inputs, detail, files, quarantine) values (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        version.id.0,
        json(&version.columns),
        json(&version.inputs),
        json(&version.detail),
        blob(&*version.files),
        blob(&version.quarantine),
    ])?;
    settle_staging(db, version)
}

fn insert_source_files(db: &Connection, version: &VersionId, files: &[SourceFile]) -> rusqlite::Result<()> {
    db.prepare_cached("insert or replace into source_files (version, files) values (?, ?)")?
        .execute(params![version.0, blob(&files)])?;
    Ok(())
}

pub(super) const HEAD: &str = "select v.id, v.node, v.kind, v.run, v.fingerprint, v.digest, v.built_at_us, v.rows, v.bytes, \
                    v.delta_version, v.quarantined, v.dropped, v.is_view from versions v";

const RECORD: &str = "select v.id, v.node, v.kind, v.run, v.fingerprint, v.digest, v.built_at_us, v.rows, v.bytes, \
                      v.delta_version, v.quarantined, v.dropped, v.is_view, b.columns, b.inputs, b.detail, b.files, b.quarantine \
                      from versions v join version_bodies b on b.version = v.id";

pub(super) fn head(row: &Row<'_>) -> rusqlite::Result<VersionHead> {
    Ok(VersionHead {
        id: VersionId(row.get(0)?),
        node: NodeName::new(row.get_ref(1)?.as_str()?),
        kind: row.get(2)?,
        run: RunId(row.get(3)?),
        fingerprint: digest_at(row, 4)?,
        digest: digest_at(row, 5)?,
        built_at_us: row.get(6)?,
        rows: count_at(row, 7)?,
        bytes: count_at(row, 8)?,
        delta_version: row.get(9)?,
        quarantined: count_at(row, 10)?,
        dropped: count_at(row, 11)?,
        is_view: row.get(12)?,
    })
}

fn record(row: &Row<'_>) -> rusqlite::Result<VersionRecord> {
    let head = head(row)?;
    let columns: Vec<ColumnType> = json_at(row, 13)?;
    // A type that nobody can read must not become another one: the rows would be taken for what they are not.
    ColumnType::try_schema(&columns).map_err(|why| unreadable(13, why))?;
    Ok(VersionRecord {
        id: head.id,
        node: head.node,
        kind: head.kind,
        run: head.run,
        fingerprint: head.fingerprint,
        digest: head.digest,
        built_at_us: head.built_at_us,
        columns,
        rows: head.rows,
        bytes: head.bytes,
        delta_version: head.delta_version,
        files: Arc::new(blob_at(row, 16)?),
        inputs: json_at(row, 14)?,
        quarantine: blob_at(row, 17)?,
        quarantined: head.quarantined,
        dropped: head.dropped,
        detail: json_at(row, 15)?,
    })
}

/// Hands every file that the newest version of each source has taken in to `take`, with the source, the version, its run
/// and when it was built.
pub(crate) fn each_source_file(
    db: &Connection,
    mut take: impl FnMut(&str, &str, &str, i64, &SourceFile),
) -> rusqlite::Result<()> {
    let sql = "select v.node, v.id, v.run, v.built_at_us, s.files
               from source_files s join versions v on v.id = s.version
               where v.seq = (select max(seq) from versions where node = v.node) order by v.node";
    super::each_row(db, sql, |row| {
        let text = |at| row.get_ref(at)?.as_str().map_err(rusqlite::Error::from);
        let files: Vec<SourceFile> = blob_at(row, 4)?;
        for file in &files {
            take(text(0)?, text(1)?, text(2)?, row.get(3)?, file);
        }
        Ok(())
    })
}
