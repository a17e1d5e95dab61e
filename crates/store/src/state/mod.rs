//! [`State`]: the state database, an SQLite file in the warehouse folder.
//!
//! One connection behind a mutex: a statement takes microseconds, so readers of one process wait for each other rather than
//! share a pool. Every write that spans rows is one transaction. Readers in other processes are never blocked: the database
//! is in WAL mode.

mod history;
mod lock;
mod profiles;
mod publications;
mod records;
mod retention;
mod runs;
mod schema;
mod verify;
mod versions;

pub use lock::{FileLock, RunLock};
pub use publications::SHOWN_ENVIRONMENT;
pub use records::{
    Action, CheckOutcome, CheckRecord, ColumnType, Decision, MetricRecord, NodeSince, PastDecision, ProfileRecord,
    Publication, PublicationHead, Publish, Repair, RunEntry, RunRecord, SourceFile, StaleFiles, VersionHead,
    VersionLinks, VersionRange, VersionRecord,
};
pub(crate) use versions::each_source_file;

use crate::error::StoreError;
use pelton_base::Digest;
use pelton_base::fail::{self, Point};
use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};
use schema::Found;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// The file's name in the warehouse folder.
pub(crate) const FILE_NAME: &str = "state.db";

/// How long Pelton waits for another process that holds the database.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many prepared statements are kept; there are about fifty in this module.
const STATEMENTS_KEPT: usize = 64;

/// The state database.
#[derive(Debug)]
pub struct State {
    connection: Mutex<Connection>,
    root: PathBuf,
    path: PathBuf,
    busy_timeout: Duration,
    /// How the file was when it was opened as one that nobody changes.
    unchanging: Option<FileStamp>,
}

/// What of a database's file and its log tells that somebody wrote.
#[derive(Debug, PartialEq, Eq)]
struct FileStamp {
    bytes: u64,
    modified: Option<SystemTime>,
    log_bytes: u64,
}

impl FileStamp {
    fn of(root: &Path) -> Option<Self> {
        let found = std::fs::metadata(root.join(FILE_NAME)).ok()?;
        let log_bytes = std::fs::metadata(root.join(format!("{FILE_NAME}-wal"))).map_or(0, |log| log.len());
        Some(FileStamp { bytes: found.len(), modified: found.modified().ok(), log_bytes })
    }
}

impl State {
    /// Opens the database in `root`, creating it when it is not there.
    pub(crate) fn open(root: &Path, busy_timeout: Duration) -> Result<Self, StoreError> {
        let opened = Self::open_with(root, busy_timeout, OpenFlags::SQLITE_OPEN_CREATE)?;
        Ok(opened.expect("a database that may be created is there"))
    }

    /// Opens the database in `root`; `None` when its creation was not finished. Where nothing can be written, it is opened to be read.
    pub(crate) fn open_existing(root: &Path, busy_timeout: Duration) -> Result<Option<Self>, StoreError> {
        match Self::open_with(root, busy_timeout, OpenFlags::empty()) {
            Err(error @ (StoreError::Unreadable { .. } | StoreError::Storage { .. } | StoreError::DiskFull { .. })) => {
                Ok(Some(Self::open_unchanging(root, error)?))
            }
            opened => opened,
        }
    }

    /// Opens the database in `root` as a file that nobody changes: on a disk that is full, or that is mounted to be read. SQLite's readers
    /// of a WAL database write too, the file in which they find each other.
    ///
    /// Fails with `why` when the last writer did not come to write its log back into the database, and with other formats. Somebody may write
    /// nevertheless, who can where this process cannot: from then on every read fails, so that none sees a mixture.
    pub(crate) fn open_unchanging(root: &Path, why: StoreError) -> Result<Self, StoreError> {
        let path = root.join(FILE_NAME);
        let unchanging = FileStamp::of(root).filter(|stamp| stamp.log_bytes == 0);
        let url = match Url::from_file_path(&path) {
            Ok(url) if unchanging.is_some() => format!("{url}?immutable=1"),
            _ => return Err(why),
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let Ok(connection) = Connection::open_with_flags(url, flags) else { return Err(why) };
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        match schema::look(&connection) {
            Ok(Found::Format(schema::FORMAT)) => {}
            _ => return Err(why),
        }
        let (connection, root) = (Mutex::new(connection), root.to_path_buf());
        Ok(State { connection, root, path, busy_timeout: Duration::ZERO, unchanging })
    }

    /// An empty database that is nowhere on the disk.
    pub(crate) fn in_memory(root: &Path) -> Result<Self, StoreError> {
        let path = root.join(FILE_NAME);
        let failed = |error: rusqlite::Error| StoreError::sqlite(&path, 0, &error);
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        schema::migrate(&mut connection).map_err(failed)?;
        let root = root.to_path_buf();
        Ok(State { connection: Mutex::new(connection), root, path, busy_timeout: Duration::ZERO, unchanging: None })
    }

    fn open_with(root: &Path, busy_timeout: Duration, create: OpenFlags) -> Result<Option<Self>, StoreError> {
        let path = root.join(FILE_NAME);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        let failed = |error: rusqlite::Error| StoreError::sqlite(&path, waited_ms(busy_timeout), &error);
        let mut connection = Connection::open_with_flags(&path, flags).map_err(failed)?;
        connection.busy_timeout(busy_timeout).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        // One transaction: another process may create the database between two looks at it.
        let found = connection.unchecked_transaction().and_then(|whole| schema::look(&whole)).map_err(failed)?;
        match found {
            Found::Format(found) if found > schema::FORMAT => {
                return Err(StoreError::NewerWarehouse { found, known: schema::FORMAT });
            }
            Found::Foreign => {
                return Err(StoreError::DamagedState { path, reason: "it is not a Pelton state database".into() });
            }
            // Formats count from 1, and the number is written in one transaction with the tables.
            Found::Format(found) if found < 1 => {
                let reason = format!("it says that it has format {found}, which no Pelton writes");
                return Err(StoreError::DamagedState { path, reason });
            }
            Found::Empty if create.is_empty() => return Ok(None),
            found => {
                prepare(&connection, busy_timeout).map_err(failed)?;
                if found != Found::Format(schema::FORMAT) {
                    schema::migrate(&mut connection).map_err(failed)?;
                }
            }
        }
        let root = root.to_path_buf();
        Ok(Some(State { connection: Mutex::new(connection), root, path, busy_timeout, unchanging: None }))
    }

    /// Reads the whole database and says whether it is sound; takes time in proportion to its size.
    pub fn verify(&self) -> Result<(), StoreError> {
        let answer =
            self.read(|connection| connection.query_row("pragma quick_check(1)", [], |row| row.get::<_, String>(0)))?;
        if answer == "ok" { Ok(()) } else { Err(self.damaged(answer)) }
    }

    /// Hands every row of a query to `take`.
    pub(crate) fn each_row(
        &self,
        sql: &str,
        take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        self.read(|db| each_row(db, sql, take))
    }

    /// Makes the database full at this size, as a disk would.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: i64) {
        let limit = |db: &Connection| db.query_row(&format!("pragma max_page_count = {pages}"), [], |_| Ok(()));
        self.read(limit).expect("SQLite knows the pragma");
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere leaves no half of a transaction: dropping one rolls it back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let found = query(&self.connection());
        // Also when it failed: half of what another process wrote looks like damage.
        if self.unchanging.is_some() && FileStamp::of(&self.root) != self.unchanging {
            let action = format!("read `{}`, which this process cannot write", self.path.display());
            return Err(StoreError::Storage { action, reason: "another process has changed it; ask again".into() });
        }
        found.map_err(|error| self.failed(&error))
    }

    /// Runs `change` in one transaction that is on the disk when this returns, and with it all before it.
    fn write<T>(&self, change: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>) -> Result<T, StoreError> {
        self.transact(&mut self.connection(), change)
    }

    /// Runs `change` in one transaction that survives the death of this process, and that of the machine once a later
    /// [`State::write`] has returned: for what may be lost together with the run that records it.
    fn write_soon<T>(&self, change: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>) -> Result<T, StoreError> {
        self.transact_soon(&mut self.connection(), change)
    }

    fn transact_soon<T>(
        &self,
        connection: &mut Connection,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let set = |connection: &Connection, level: &str| {
            connection.pragma_update(None, "synchronous", level).map_err(|error| self.failed(&error))
        };
        set(connection, "normal")?;
        let result = self.transact(connection, change);
        set(connection, "full")?;
        result
    }

    /// As [`State::write_soon`], for what is given up when others hold the database for longer than `patience`.
    fn write_within<T>(
        &self,
        patience: Duration,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection();
        let wait = |connection: &Connection, time| connection.busy_timeout(time).map_err(|error| self.failed(&error));
        wait(&connection, patience)?;
        let result = self.transact_soon(&mut connection, change);
        wait(&connection, self.busy_timeout)?;
        result
    }

    /// One transaction, which takes the write lock at once: upgrading a read lock could fail halfway.
    fn transact<T>(
        &self,
        connection: &mut Connection,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let attempt = || {
            let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
            let value = change(&transaction)?;
            StoreError::at(Point::StateWrite, || "write the state database".into())?;
            transaction.commit()?;
            fail::after(Point::StateWritten);
            Ok(value)
        };
        attempt().map_err(|failure: Failure| match failure {
            Failure::Sqlite(error) => self.failed(&error),
            Failure::Store(error) => *error,
        })
    }

    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::sqlite(&self.path, waited_ms(self.busy_timeout), error)
    }

    fn damaged(&self, reason: impl Into<String>) -> StoreError {
        StoreError::DamagedState { path: self.path.clone(), reason: reason.into() }
    }
}

/// Hands every row of a query to `take`.
pub(crate) fn each_row(
    db: &Connection,
    sql: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

/// Why a transaction was given up: SQLite's reason, or ours.
enum Failure {
    Sqlite(rusqlite::Error),
    Store(Box<StoreError>),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sqlite(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Store(Box::new(error))
    }
}

fn waited_ms(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}

/// Sets what holds for a connection.
///
/// `synchronous = full`: a commit is on the disk when it returns. With `normal` a power failure may take back the last
/// transactions, and a publication that was announced must not come undone, nor a version whose Delta commit outlived it.
/// It costs one fsync a transaction; [`State::write_soon`] saves it where nothing is lost with the record.
fn prepare(connection: &Connection, busy_timeout: Duration) -> rusqlite::Result<()> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode != "wal" {
        // SQLite does not wait for other processes while it changes the mode, so we do: two first runs may meet here.
        let start = Instant::now();
        loop {
            match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0)) {
                Err(error) if is_busy(&error) && start.elapsed() < busy_timeout => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
    }
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Temporary tables and sorts stay in memory: the state is small.
    connection.pragma_update(None, "temp_store", "memory")
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Counts are stored in SQLite's signed integers; none that Pelton counts comes near the limit.
fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Reads column `at` with `parse`; what does not parse is damage.
fn parsed<T>(row: &Row<'_>, at: usize, parse: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text = row.get_ref(at)?.as_str()?;
    parse(text).ok_or_else(|| unreadable(at, format!("column {at} holds `{text}`")))
}

fn digest_at(row: &Row<'_>, at: usize) -> rusqlite::Result<Digest> {
    parsed(row, at, Digest::parse)
}

fn count_at(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(at)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, value))
}

fn json_at<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(at)?.as_str()?).map_err(|error| unreadable(at, error.to_string()))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records have text keys and no failing serialisers")
}

/// Lists below this size are stored as they are: setting up a compressor costs more than they do.
const PLAIN_BYTES_MAX: usize = 4096;

/// JSON, compressed when it is long. Level 1: file lists repeat themselves so much that higher levels gain little.
fn blob(value: &impl Serialize) -> Vec<u8> {
    let text = json(value).into_bytes();
    if text.len() <= PLAIN_BYTES_MAX {
        return text;
    }
    zstd::bulk::compress(&text, 1).expect("compressing into memory does not fail")
}

fn blob_at<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    /// The first byte of a zstd frame, which no JSON begins with.
    const ZSTD: u8 = 0x28;
    let bytes = row.get_ref(at)?.as_blob()?;
    let parsed = if bytes.first() == Some(&ZSTD) {
        let text = zstd::stream::decode_all(bytes).map_err(|error| unreadable(at, error.to_string()))?;
        serde_json::from_slice(&text)
    } else {
        serde_json::from_slice(bytes)
    };
    parsed.map_err(|error| unreadable(at, error.to_string()))
}

fn unreadable(at: usize, reason: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, reason.into())
}
