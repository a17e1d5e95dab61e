//! [`Warehouse`]: the folder where versions live, and the way to everything in it.
//!
//! ```text
//! state.db                    runs, versions, environments, decisions, checks, metrics
//! run.lock                    held by the run that writes
//! types                       columns of tables by a digest of what they follow from; can be deleted at any time
//! tables/<node>/              a Delta table each: part-<version>-<n>.parquet and _delta_log
//! quarantine/                 rows that broke a rule, plain Parquet, one schema
//! artifacts/<2>/<32 digits>   models, cards, records, by digest
//! online/<node>-<version>.redb  features by entity
//! log/                        the prediction log
//! ```

use crate::artifacts::Artifacts;
use crate::error::StoreError;
use crate::state::{BUSY_TIMEOUT, State};
use object_store::local::LocalFileSystem;
use pelton_base::{Digest, NodeName, VersionId};
use pelton_query::TableLocation;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

/// A warehouse; cheap to clone.
#[derive(Debug, Clone)]
pub struct Warehouse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    state: State,
    artifacts: Artifacts,
    files: Arc<LocalFileSystem>,
    input_digests: Mutex<HashMap<InputKey, Digest>>,
}

/// An input file by path, size and time of its last change.
pub type InputKey = (String, u64, i64);

impl Warehouse {
    /// Opens the warehouse in `root`, creating it on first use.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_waiting(root, BUSY_TIMEOUT)
    }

    /// As [`Warehouse::open`], waiting at most `busy_timeout` whenever another process holds the state database.
    pub fn open_waiting(root: &Path, busy_timeout: Duration) -> Result<Self, StoreError> {
        for folder in ["", "tables", "quarantine", "artifacts", "online", "log"] {
            let folder = if folder.is_empty() { root.to_path_buf() } else { root.join(folder) };
            fs::create_dir_all(&folder)
                .map_err(|error| StoreError::io(format!("create the folder `{}`", folder.display()), &error))?;
        }
        let root = absolute(root)?;
        has_its_state(&root)?;
        let state = State::open(&root, busy_timeout)?;
        Self::new(root, state)
    }

    /// The digest of an input file, when it was noted since the warehouse was opened.
    pub fn input_digest(&self, file: &InputKey) -> Option<Digest> {
        self.0.input_digests.lock().unwrap_or_else(PoisonError::into_inner).get(file).copied()
    }

    /// Notes the digest of an input file until the warehouse is closed: one command looks at a file more than once.
    pub fn note_input_digest(&self, file: InputKey, digest: Digest) {
        self.0.input_digests.lock().unwrap_or_else(PoisonError::into_inner).insert(file, digest);
    }

    /// Opens the warehouse in `root` to read it; where there is none, an empty one in memory stands in. Creates nothing.
    pub fn open_to_read(root: &Path) -> Result<Self, StoreError> {
        if let Some(warehouse) = Self::open_existing(root)? {
            return Ok(warehouse);
        }
        let root = std::path::absolute(root)
            .map_err(|error| StoreError::io(format!("open the warehouse `{}`", root.display()), &error))?;
        let state = State::in_memory(&root)?;
        let artifacts = Artifacts::new(root.join("artifacts"));
        let files = Arc::new(LocalFileSystem::new());
        Ok(Warehouse(Arc::new(Inner { root, state, artifacts, files, input_digests: Mutex::default() })))
    }

    /// Opens the warehouse in `root` when there is one; creates nothing.
    pub fn open_existing(root: &Path) -> Result<Option<Self>, StoreError> {
        Self::open_existing_waiting(root, BUSY_TIMEOUT)
    }

    /// As [`Warehouse::open_existing`], waiting at most `busy_timeout` whenever another process holds the state database.
    pub fn open_existing_waiting(root: &Path, busy_timeout: Duration) -> Result<Option<Self>, StoreError> {
        has_its_state(root)?;
        match fs::metadata(root.join(crate::state::FILE_NAME)) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(StoreError::io(format!("read the warehouse `{}`", root.display()), &error)),
        }
        let root = absolute(root)?;
        match State::open_existing(&root, busy_timeout)? {
            Some(state) => Self::new(root, state).map(Some),
            None => Ok(None),
        }
    }

    fn new(root: PathBuf, state: State) -> Result<Self, StoreError> {
        let files = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| StoreError::caused(format!("open the warehouse `{}`", root.display()), &error))?;
        let artifacts = Artifacts::new(root.join("artifacts"));
        Ok(Warehouse(Arc::new(Inner {
            root,
            state,
            artifacts,
            files: Arc::new(files),
            input_digests: Mutex::default(),
        })))
    }

    /// The folder, absolute.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Where a node's table lives, as a URL ending in `/`.
    pub fn table(&self, node: &NodeName) -> TableLocation {
        TableLocation(self.folder_url(&format!("tables/{node}")))
    }

    /// The folder of a node's table.
    pub fn table_dir(&self, node: &NodeName) -> PathBuf {
        self.0.root.join("tables").join(node.as_str())
    }

    /// The URL of a folder of the warehouse (`quarantine`, `log`), ending in `/`.
    pub fn folder_url(&self, folder: &str) -> String {
        Url::from_directory_path(self.0.root.join(folder)).expect("the root is an absolute path").to_string()
    }

    /// Byte strings by digest.
    pub fn artifacts(&self) -> &Artifacts {
        &self.0.artifacts
    }

    /// The state database.
    pub fn state(&self) -> &State {
        &self.0.state
    }

    /// The online store of a feature table's version.
    pub fn online_path(&self, node: &NodeName, version: &VersionId) -> PathBuf {
        self.0.root.join("online").join(format!("{node}-{version}.redb"))
    }

    /// The folder of the prediction log.
    pub fn log_dir(&self) -> PathBuf {
        self.0.root.join("log")
    }

    pub(crate) fn files(&self) -> &Arc<LocalFileSystem> {
        &self.0.files
    }
}

fn absolute(root: &Path) -> Result<PathBuf, StoreError> {
    root.canonicalize().map_err(|error| StoreError::io(format!("open the warehouse `{}`", root.display()), &error))
}

/// Refuses tables without the state database that tells of them: a new one would know nothing of what they are, and gc would remove them.
fn has_its_state(root: &Path) -> Result<(), StoreError> {
    // In this order: the database is there before the first table is.
    let has_tables = fs::read_dir(root.join("tables")).is_ok_and(|mut tables| tables.next().is_some());
    let path = root.join(crate::state::FILE_NAME);
    let what = match fs::metadata(&path) {
        Ok(found) if found.len() == 0 => "empty",
        Err(error) if error.kind() == io::ErrorKind::NotFound => "missing",
        _ => return Ok(()),
    };
    if !has_tables {
        return Ok(());
    }
    Err(StoreError::DamagedState { path, reason: format!("it is {what}, and the warehouse has tables") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_without_their_state_database_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        drop(Warehouse::open(root).unwrap());
        let state = root.join(crate::state::FILE_NAME);
        fs::remove_file(&state).unwrap();
        assert!(Warehouse::open(root).is_ok(), "without tables it is a new one");
        fs::create_dir(root.join("tables/orders")).unwrap();
        assert!(Warehouse::open(root).is_ok());
        for is_there in [true, false] {
            if is_there {
                fs::write(&state, "").unwrap();
            } else {
                fs::remove_file(&state).unwrap();
            }
            assert!(matches!(Warehouse::open(root), Err(StoreError::DamagedState { .. })), "{is_there}");
            assert!(matches!(Warehouse::open_to_read(root), Err(StoreError::DamagedState { .. })), "{is_there}");
            assert_eq!(state.exists(), is_there, "nothing is made or removed");
        }
    }

    #[test]
    fn a_table_is_found_under_a_folder_with_odd_letters() {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::open(&folder.path().join("my data/ü#1%")).unwrap();
        let location = warehouse.table(&NodeName::new("orders")).0;
        assert!(
            location.starts_with("file:///") && location.ends_with("/my%20data/%C3%BC%231%25/tables/orders/"),
            "{location}"
        );
        let back = Url::parse(&location).unwrap().to_file_path().unwrap();
        assert_eq!(back, warehouse.table_dir(&NodeName::new("orders")));
    }

    #[test]
    fn readers_create_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("warehouse");
        assert!(Warehouse::open_existing(&root).unwrap().is_none());
        let empty = Warehouse::open_to_read(&root).unwrap();
        assert!(empty.state().current("main").unwrap().is_none());
        assert!(!root.exists());
        fs::write(&root, "a file").unwrap();
        assert!(Warehouse::open_existing(&root).unwrap().is_none());
        assert_eq!(Warehouse::open(&root).unwrap_err().report().code, "unreadable-file");
        fs::remove_file(&root).unwrap();
        Warehouse::open(&root).unwrap();
        assert!(Warehouse::open_existing(&root).unwrap().is_some());
        assert_eq!(Warehouse::open_to_read(&root).unwrap().root(), root.canonicalize().unwrap());
    }
}
