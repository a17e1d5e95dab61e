//! [`StoreError`]: what can go wrong with a warehouse, a variant for each thing the reader would do differently.

use pelton_base::fail::{self, Point};
use pelton_base::{Digest, Report};
use std::io;
use std::path::{Path, PathBuf};

/// Why the warehouse could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the run lock.
    #[error("another run works on this warehouse")]
    RunLocked {
        /// The process, when it could be read.
        pid: Option<u32>,
    },
    /// The environment got another publication than the one that the run began with.
    #[error("environment `{environment}` was published by another run meanwhile")]
    Conflict {
        /// The environment.
        environment: String,
        /// The publication that the run saw.
        expected: Option<i64>,
        /// The publication that is there.
        found: Option<i64>,
    },
    /// The state database has a format of a later Pelton.
    #[error("the warehouse was written by a newer Pelton (state format {found}, this one knows {known})")]
    NewerWarehouse {
        /// The format found.
        found: i64,
        /// The newest format that this program knows.
        known: i64,
    },
    /// Another process kept the state database locked for longer than Pelton waits.
    #[error("another process keeps the state database locked")]
    StateLocked {
        /// How long Pelton waited, in milliseconds.
        waited_ms: u64,
    },
    /// The state database is not one of Pelton's, or its bytes are not what was written.
    #[error("the state database `{}` is damaged: {reason}", path.display())]
    DamagedState {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A stored artifact is missing or its bytes are not what was written.
    #[error("artifact {digest} {reason}")]
    DamagedArtifact {
        /// The digest it should have.
        digest: Digest,
        /// What was found, as the end of a sentence.
        reason: String,
    },
    /// There is no space left.
    #[error("no space left on the disk while Pelton tried to {action}")]
    DiskFull {
        /// What was tried, as a verb phrase.
        action: String,
    },
    /// The operating system does not let Pelton use a file or folder.
    #[error("cannot {action}")]
    Unreadable {
        /// What was tried, as a verb phrase with the path.
        action: String,
        /// The operating system's reason.
        reason: String,
    },
    /// The storage did not do its part.
    #[error("cannot {action}")]
    Storage {
        /// What was tried, as a verb phrase.
        action: String,
        /// Its reason.
        reason: String,
    },
    /// Something names a version that the state database does not have.
    #[error("there is no version `{version}`")]
    UnknownVersion {
        /// The id.
        version: String,
    },
    /// Something names a run that the state database does not have.
    #[error("there is no run `{run}`")]
    UnknownRun {
        /// The id.
        run: String,
    },
    /// A table cannot hold a column of this type.
    #[error("column `{column}` has type {data_type}, which a table cannot hold")]
    UnstorableType {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
    },
    /// A value does not fit the type in which its column is stored.
    #[error("a value of column `{column}` does not fit {data_type}")]
    UnstorableValue {
        /// The column.
        column: String,
        /// The stored type.
        data_type: String,
        /// Which value, or how it fails.
        reason: String,
    },
    /// A defect of Pelton.
    #[error("{message}")]
    Internal {
        /// What happened.
        message: String,
    },
}

impl StoreError {
    /// The report of this error.
    pub fn report(&self) -> Report {
        match self {
            StoreError::RunLocked { pid } => {
                let report = Report::error("run-locked", self.to_string());
                match pid {
                    Some(pid) => report.note(format!("process {pid} holds the lock")),
                    None => report,
                }
                .hint("wait until it ends, then run again")
            }
            StoreError::Conflict { expected, found, .. } => {
                let name = |id: &Option<i64>| id.map_or("none".to_string(), |id| id.to_string());
                Report::error("publication-conflict", self.to_string())
                    .note(format!("publication {} was expected, {} is there", name(expected), name(found)))
                    .note("nothing was published; what was built is kept for the next run")
                    .hint("run again")
            }
            StoreError::NewerWarehouse { .. } => Report::error("newer-warehouse", self.to_string())
                .note("nothing was changed")
                .hint("use the Pelton that wrote it, or a later one"),
            StoreError::StateLocked { waited_ms } => Report::error("state-locked", self.to_string())
                .note(format!("waited {waited_ms} ms for it"))
                .note("another `pelton` command works on this warehouse, or another program has its `state.db` open")
                .hint("wait until it ends, then try again"),
            StoreError::DamagedState { .. } => Report::error("damaged-state", self.to_string())
                .note("nothing was changed")
                .hint("restore `state.db` from a copy, or move the whole warehouse away and run again to build everything anew"),
            StoreError::DamagedArtifact { .. } => {
                Report::error("damaged-artifact", self.to_string()).hint("pelton verify --repair")
            }
            StoreError::DiskFull { .. } => Report::error("disk-full", self.to_string())
                .note("nothing was published")
                .hint("free some space, then run again"),
            StoreError::Unreadable { reason, .. } => {
                Report::error("unreadable-file", self.to_string()).note(format!("the reason: {reason}"))
            }
            StoreError::Storage { reason, .. } => {
                Report::error("storage-failed", self.to_string()).note(format!("the reason: {reason}"))
            }
            StoreError::UnknownVersion { .. } => Report::error("unknown-version", self.to_string()),
            StoreError::UnknownRun { .. } => Report::error("internal", self.to_string()),
            StoreError::UnstorableType { .. } => Report::error("type-mismatch", self.to_string())
                .hint("cast the column to a type that a table can hold, for example `text`"),
            StoreError::UnstorableValue { reason, .. } => {
                Report::error("type-mismatch", self.to_string()).note(reason.clone())
            }
            StoreError::Internal { message } => Report::error("internal", message.clone()),
        }
    }

    /// Translates an error of the file system. `action` is a verb phrase, for example "write `tables/orders`".
    pub(crate) fn io(action: impl Into<String>, error: &io::Error) -> Self {
        let (action, reason) = (action.into(), error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull { action },
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotFound => StoreError::Unreadable { action, reason },
            _ => StoreError::Storage { action, reason },
        }
    }

    /// Passes a failpoint before a write.
    pub(crate) fn at(point: Point, action: impl FnOnce() -> String) -> Result<(), Self> {
        fail::before(point).map_err(|error| StoreError::io(action(), &error))
    }

    /// Translates an error whose cause may be one of the file system, such as an object store's or a Parquet writer's.
    pub(crate) fn caused(action: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<io::Error>()
                && io.get_ref().is_none()
            {
                return StoreError::io(action, io);
            }
            cause = error.source();
        }
        StoreError::Storage { action: action.into(), reason: error.to_string() }
    }

    /// Translates an error of the state database in the file `path`.
    pub(crate) fn sqlite(path: &Path, waited_ms: u64, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let reason = error.to_string();
        let action = || format!("use the state database `{}`", path.display());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::StateLocked { waited_ms },
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                StoreError::DamagedState { path: path.to_path_buf(), reason }
            }
            // On a full disk SQLite does not get as far as writing: the file in which connections find each other does not fit.
            Some(ErrorCode::DiskFull) => StoreError::DiskFull { action: "write the state database".into() },
            Some(ErrorCode::SystemIoFailure) if extended(error) == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
                StoreError::DiskFull { action: "write the state database".into() }
            }
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                let reason = "it cannot be opened to be written, which this command needs".into();
                StoreError::Unreadable { action: action(), reason }
            }
            Some(ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed | ErrorCode::NoLargeFileSupport) => {
                StoreError::Storage { action: action(), reason }
            }
            _ => match error {
                // A value of another type than was written there.
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..) => {
                    StoreError::DamagedState { path: path.to_path_buf(), reason }
                }
                // Our statements are constants, so what they name was there and is gone.
                rusqlite::Error::SqliteFailure(_, Some(text)) | rusqlite::Error::SqlInputError { msg: text, .. }
                    if text.starts_with("no such table") || text.starts_with("no such column") =>
                {
                    StoreError::DamagedState { path: path.to_path_buf(), reason: text.clone() }
                }
                _ => StoreError::Internal { message: format!("the state database refused a statement: {reason}") },
            },
        }
    }
}

fn extended(error: &rusqlite::Error) -> Option<i32> {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => Some(failure.extended_code),
        _ => None,
    }
}

impl From<StoreError> for Report {
    fn from(error: StoreError) -> Self {
        error.report()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_found_below_other_errors() {
        let full = io::Error::from_raw_os_error(28);
        assert!(matches!(StoreError::io("write", &full), StoreError::DiskFull { .. }));
        let wrapped = object_store::Error::Generic { store: "local", source: Box::new(full) };
        let error = StoreError::caused("write `part-1`", &wrapped);
        assert!(matches!(&error, StoreError::DiskFull { action } if action == "write `part-1`"), "{error:?}");
        assert_eq!(error.report().code, "disk-full");
        let parquet = parquet::errors::ParquetError::External(Box::new(io::Error::from_raw_os_error(28)));
        assert!(matches!(StoreError::caused("write", &parquet), StoreError::DiskFull { .. }));
    }

    #[test]
    fn every_error_has_a_code_of_the_table() {
        let text = || "x".to_string();
        let all = [
            (StoreError::RunLocked { pid: Some(7) }, "run-locked"),
            (StoreError::Conflict { environment: text(), expected: None, found: Some(3) }, "publication-conflict"),
            (StoreError::NewerWarehouse { found: 9, known: 1 }, "newer-warehouse"),
            (StoreError::StateLocked { waited_ms: 10_000 }, "state-locked"),
            (StoreError::DamagedState { path: PathBuf::from("state.db"), reason: text() }, "damaged-state"),
            (StoreError::DamagedArtifact { digest: Digest(1), reason: text() }, "damaged-artifact"),
            (StoreError::DiskFull { action: text() }, "disk-full"),
            (StoreError::Unreadable { action: text(), reason: text() }, "unreadable-file"),
            (StoreError::Storage { action: text(), reason: text() }, "storage-failed"),
            (StoreError::UnknownVersion { version: text() }, "unknown-version"),
            (StoreError::UnknownRun { run: text() }, "internal"),
            (StoreError::UnstorableType { column: text(), data_type: text() }, "type-mismatch"),
            (StoreError::UnstorableValue { column: text(), data_type: text(), reason: text() }, "type-mismatch"),
            (StoreError::Internal { message: text() }, "internal"),
        ];
        for (error, code) in all {
            let report = error.report();
            assert_eq!(report.code, code);
            assert!(!report.message.ends_with('.') && !report.message.is_empty(), "{}", report.message);
        }
    }
}
