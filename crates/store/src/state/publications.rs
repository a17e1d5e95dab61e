//! Environments: which node stands at which version, now and at every publication before.

use super::runs::finish;
use super::{Publication, PublicationHead, Publish, State, count_at};
use crate::error::StoreError;
use pelton_base::{NodeName, RunId, VersionId};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

impl State {
    /// Replaces an environment's map and ends the run, in one transaction; gives the publication's number.
    ///
    /// Fails with [`StoreError::Conflict`] when the environment is not at `expect` any more, and with
    /// [`StoreError::UnknownVersion`] when a version was not inserted; then nothing has changed.
    pub fn publish(&self, publish: &Publish<'_>) -> Result<i64, StoreError> {
        self.write(|db| {
            let found = current_id(db, publish.environment)?;
            if found != publish.expect {
                let environment = publish.environment.to_string();
                return Err(StoreError::Conflict { environment, expected: publish.expect, found }.into());
            }
            let id: i64 = db
                .prepare_cached(
                    "insert into publications (environment, run, at_us, nodes) values (?, ?, ?, ?) returning id",
                )?
                .query_row(
                    params![publish.environment, publish.run.0, publish.at_us, publish.nodes.len() as i64],
                    |row| row.get(0),
                )?;
            let before = nodes_now(db, publish.environment)?;
            let mut end = db.prepare_cached(
                "update environment_nodes set until = ? where environment = ? and node = ? and until is null",
            )?;
            for (node, version) in &before {
                if publish.nodes.get(node) != Some(version) {
                    end.execute(params![id, publish.environment, node.as_str()])?;
                }
            }
            let mut known = db.prepare_cached("select 1 from versions where id = ? and node = ?")?;
            let mut begin = db.prepare_cached(
                "insert into environment_nodes (environment, node, since, version) values (?, ?, ?, ?)",
            )?;
            for (node, version) in publish.nodes {
                if before.get(node) != Some(version) {
                    if !known.exists([&version.0, node.as_str()])? {
                        return Err(StoreError::UnknownVersion { version: version.0.clone() }.into());
                    }
                    begin.execute(params![publish.environment, node.as_str(), id, version.0])?;
                }
            }
            finish(db, publish.run, publish.at_us, "published", Some(id))?;
            Ok(id)
        })
    }

    /// The number of an environment's newest publication: cheap enough to ask before every request.
    pub fn current_id(&self, environment: &str) -> Result<Option<i64>, StoreError> {
        self.read(|db| current_id(db, environment))
    }

    /// An environment's newest publication.
    pub fn current(&self, environment: &str) -> Result<Option<Publication>, StoreError> {
        self.read(|db| {
            // One read transaction, so that another process's publication cannot come between the two queries.
            let db = db.unchecked_transaction()?;
            let Some(id) = current_id(&db, environment)? else { return Ok(None) };
            let head = head_of(&db, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            Ok(Some(with_nodes(head, nodes_now(&db, environment)?)))
        })
    }

    /// A publication, by its number.
    pub fn publication(&self, id: i64) -> Result<Option<Publication>, StoreError> {
        self.read(|db| {
            let Some(head) = head_of(db, id)? else { return Ok(None) };
            let nodes = db
                .prepare_cached(
                    "select node, version from environment_nodes
                     where environment = ?1 and since <= ?2 and (until is null or until > ?2)",
                )?
                .query_map(params![head.environment, id], node_version)?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Some(with_nodes(head, nodes)))
        })
    }

    /// An environment's publications, newest first.
    pub fn publications(&self, environment: &str) -> Result<Vec<PublicationHead>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!("{PUBLICATION} where environment = ? order by id desc"))?
                .query_map([environment], publication_head)?
                .collect()
        })
    }

    /// The environments that have a publication, by name.
    pub fn environments(&self) -> Result<Vec<String>, StoreError> {
        self.read(|db| {
            db.prepare_cached("select distinct environment from publications order by environment")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
    }
}

const PUBLICATION: &str = "select id, environment, run, at_us, nodes from publications";

fn publication_head(row: &Row<'_>) -> rusqlite::Result<PublicationHead> {
    Ok(PublicationHead {
        id: row.get(0)?,
        environment: row.get(1)?,
        run: RunId(row.get(2)?),
        at_us: row.get(3)?,
        nodes: count_at(row, 4)?,
    })
}

fn head_of(db: &Connection, id: i64) -> rusqlite::Result<Option<PublicationHead>> {
    db.prepare_cached(&format!("{PUBLICATION} where id = ?"))?.query_row([id], publication_head).optional()
}

fn with_nodes(head: PublicationHead, nodes: BTreeMap<NodeName, VersionId>) -> Publication {
    Publication { id: head.id, environment: head.environment, run: head.run, at_us: head.at_us, nodes }
}

fn current_id(db: &Connection, environment: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("select max(id) from publications where environment = ?")?
        .query_row([environment], |row| row.get(0))
}

fn nodes_now(db: &Connection, environment: &str) -> rusqlite::Result<BTreeMap<NodeName, VersionId>> {
    db.prepare_cached("select node, version from environment_nodes where environment = ? and until is null")?
        .query_map([environment], node_version)?
        .collect()
}

fn node_version(row: &Row<'_>) -> rusqlite::Result<(NodeName, VersionId)> {
    Ok((NodeName::new(row.get_ref(0)?.as_str()?), VersionId(row.get(1)?)))
}
