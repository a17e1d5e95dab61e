//! Environments: which node stands at which version, now and at every publication before.

use super::history::insert_decisions;
use super::runs::finish;
use super::versions::{HEAD, head};
use super::{Failure, NodeSince, Publication, PublicationHead, Publish, State, VersionHead, count_at};
use crate::error::StoreError;
use pelton_base::fail::{self, Point};
use pelton_base::{NodeName, RunId, VersionId};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::{BTreeMap, BTreeSet};

/// The environment whose versions the Delta logs of nodes show. Other programs read a log without knowing of environments, so it
/// can show one of them.
pub const SHOWN_ENVIRONMENT: &str = "main";

impl State {
    /// Replaces an environment's map, records what the run did with nodes, and ends the run, in one transaction; gives the
    /// publication's number. So no publication is ever seen without the decisions that led to it.
    ///
    /// Fails with [`StoreError::Conflict`] when the environment is not at `expect` any more, and with
    /// [`StoreError::UnknownVersion`] when a version was not inserted; then nothing has changed.
    pub fn publish(&self, publish: &Publish<'_>) -> Result<i64, StoreError> {
        let id = self.write(|db| {
            let id = replace(db, publish)?;
            insert_decisions(db, publish.run, publish.decisions)?;
            Ok(id)
        })?;
        fail::after(Point::PublicationWritten);
        Ok(id)
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

    /// A publication without its map, by its number; also one whose map was removed.
    pub fn publication_head(&self, id: i64) -> Result<Option<PublicationHead>, StoreError> {
        self.read(|db| head_of(db, id))
    }

    /// A publication, by its number; `None` also when its map was removed, because versions of it may be gone.
    pub fn publication(&self, id: i64) -> Result<Option<Publication>, StoreError> {
        self.read(|db| {
            // One read transaction, so that no gc removes the map between the two queries.
            let db = db.unchecked_transaction()?;
            let Some(head) = head_of(&db, id)?.filter(|head| head.removed_at_us.is_none()) else { return Ok(None) };
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

    /// Since which publication some nodes of an environment stand at their versions, and since which one a node that it had is gone. A node
    /// that it never had is left out.
    pub fn since(&self, environment: &str, nodes: &BTreeSet<NodeName>) -> Result<Vec<NodeSince>, StoreError> {
        self.read(|db| {
            let db = db.unchecked_transaction()?;
            // The newest range of a node is the one that says how it stands.
            let mut newest = db.prepare_cached(
                "select node, version, since, until from environment_nodes where environment = ?1 and node = ?2
                 order by since desc limit 1",
            )?;
            let since = |row: &Row<'_>| {
                let until: Option<i64> = row.get(3)?;
                Ok(NodeSince {
                    node: NodeName::new(row.get_ref(0)?.as_str()?),
                    version: if until.is_some() { None } else { Some(VersionId(row.get(1)?)) },
                    since: match until {
                        Some(until) => until,
                        None => row.get(2)?,
                    },
                })
            };
            let found =
                nodes.iter().map(|node| newest.query_row(params![environment, node.as_str()], since).optional());
            found.filter_map(Result::transpose).collect()
        })
    }

    /// The publication of an environment in which a node of it changed last; 0 when it never had one.
    pub fn changed_last(&self, environment: &str) -> Result<i64, StoreError> {
        self.read(|db| {
            db.prepare_cached(
                "select coalesce(max(max(since, coalesce(until, 0))), 0) from environment_nodes where environment = ?",
            )?
            .query_row([environment], |row| row.get(0))
        })
    }

    /// Versions at which [`SHOWN_ENVIRONMENT`] stands and that no Delta log shows, by node. What has no log (a view, a model) is
    /// not among them.
    pub fn unshown(&self) -> Result<Vec<VersionHead>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!(
                "{HEAD} indexed by versions_unshown join environment_nodes e on e.version = v.id
                 where v.delta_version is null and v.is_view = 0 and v.kind <> 'model'
                   and e.environment = ? and e.until is null
                 order by v.node"
            ))?
            .query_map([SHOWN_ENVIRONMENT], head)?
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

/// Replaces an environment's map, and ends the run.
fn replace(db: &Connection, publish: &Publish<'_>) -> Result<i64, Failure> {
    let found = current_id(db, publish.environment)?;
    let expected = publish.expect.map(|(id, _)| id);
    if found != expected {
        let environment = publish.environment.to_string();
        return Err(StoreError::Conflict { environment, expected, found }.into());
    }
    let id: i64 = db
        .prepare_cached(
            "insert into publications (environment, run, at_us, nodes, restores) values (?, ?, ?, ?, ?) returning id",
        )?
        .query_row(
            params![publish.environment, publish.run.0, publish.at_us, publish.nodes.len() as i64, publish.restores],
            |row| row.get(0),
        )?;
    // A publication never changes, so its nodes are what the caller read of it.
    let nothing = BTreeMap::new();
    let before = publish.expect.map_or(&nothing, |(_, nodes)| nodes);
    let mut end = db.prepare_cached(
        "update environment_nodes set until = ? where environment = ? and node = ? and until is null",
    )?;
    for (node, version) in before {
        if publish.nodes.get(node) != Some(version) {
            end.execute(params![id, publish.environment, node.as_str()])?;
        }
    }
    let mut known = db.prepare_cached("select 1 from versions where id = ? and node = ?")?;
    let mut begin =
        db.prepare_cached("insert into environment_nodes (environment, node, since, version) values (?, ?, ?, ?)")?;
    // A log that showed the version before another one was published does not any more.
    let mut unshow = db.prepare_cached("update versions set delta_version = null where id = ?")?;
    for (node, version) in publish.nodes {
        if before.get(node) != Some(version) {
            if !known.exists([&version.0, node.as_str()])? {
                return Err(StoreError::UnknownVersion { version: version.0.clone() }.into());
            }
            begin.execute(params![publish.environment, node.as_str(), id, version.0])?;
            if publish.environment == SHOWN_ENVIRONMENT {
                unshow.execute([&version.0])?;
            }
        }
    }
    StoreError::at(Point::PublicationWrite, || format!("publish `{}`", publish.environment))?;
    finish(db, publish.run, publish.at_us, "published", Some(id))?;
    Ok(id)
}

const PUBLICATION: &str = "select id, environment, run, at_us, nodes, restores, removed_at_us from publications";

fn publication_head(row: &Row<'_>) -> rusqlite::Result<PublicationHead> {
    Ok(PublicationHead {
        id: row.get(0)?,
        environment: row.get(1)?,
        run: RunId(row.get(2)?),
        at_us: row.get(3)?,
        nodes: count_at(row, 4)?,
        restores: row.get(5)?,
        removed_at_us: row.get(6)?,
    })
}

fn head_of(db: &Connection, id: i64) -> rusqlite::Result<Option<PublicationHead>> {
    db.prepare_cached(&format!("{PUBLICATION} where id = ?"))?.query_row([id], publication_head).optional()
}

fn with_nodes(head: PublicationHead, nodes: BTreeMap<NodeName, VersionId>) -> Publication {
    let PublicationHead { id, environment, run, at_us, restores, .. } = head;
    Publication { id, environment, run, at_us, restores, nodes }
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
