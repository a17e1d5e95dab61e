//! A reader that looks at a warehouse all the time, by itself: what is published, whether its files are there, and what other programs
//! see of it in the Delta logs.

use super::owned::{self, Showing};
use super::scenes::SEEN;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the reader rests: it is to see much, and to leave the processor to those that it looks at.
const REST: Duration = Duration::from_millis(2);

/// One of so many looks is at the Delta logs too: there are many files to read.
const LOGS_EVERY: u64 = 8;

/// What is published in `main`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Published {
    /// The digest of each node.
    pub(super) digests: BTreeMap<String, String>,
}

/// The state database, to read it as another program does.
pub(super) fn open(warehouse: &Path) -> Option<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(warehouse.join("state.db"), flags).ok()?;
    connection.busy_timeout(Duration::from_secs(10)).ok()?;
    Some(connection)
}

const PUBLISHED: &str = "select e.node, v.digest, b.files from environment_nodes e join versions v on v.id = e.version \
     join version_bodies b on b.version = v.id where e.environment = 'main' and e.until is null";

impl Published {
    /// What is published in a project; nothing while there is no state database.
    pub(super) fn read(project: &Path) -> Option<Self> {
        look(&open(&project.join("warehouse"))?).map(|(published, _)| published)
    }
}

/// What is published, and its files with their sizes, in one statement and so of one moment.
fn look(connection: &Connection) -> Option<(Published, Vec<(PathBuf, u64)>)> {
    // Until the first run has made the tables there is nothing to read.
    let mut statement = connection.prepare(PUBLISHED).ok()?;
    let mut rows = statement.query([]).ok()?;
    let (mut published, mut files) = (Published::default(), Vec::new());
    while let Some(row) = rows.next().expect("a reader is never refused") {
        let node: String = row.get(0).unwrap();
        for (path, bytes) in owned::files(row.get_ref(2).unwrap().as_blob().unwrap()) {
            files.push((Path::new("tables").join(&node).join(path), bytes));
        }
        // What a history without `time` saw has the time at which it saw it.
        let digest = if node == SEEN { "of any time".into() } else { row.get(1).unwrap() };
        published.digests.insert(node, digest);
    }
    Some((published, files))
}

/// The reader, at work until it is stopped.
pub(super) struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, String>>,
}

impl Reader {
    /// Looks at the project's warehouse; only what is in `allowed` may be seen.
    pub(super) fn start(project: &Path, allowed: Vec<Published>) -> Self {
        let (stop, warehouse) = (Arc::new(AtomicBool::new(false)), project.join("warehouse"));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = 0;
            let mut connection = None;
            while !until.load(Ordering::Relaxed) {
                connection = connection.or_else(|| open(&warehouse));
                if let Some((published, files)) = connection.as_ref().and_then(look) {
                    seen += 1;
                    if !allowed.contains(&published) {
                        return Err(format!("a mixture: {published:?}"));
                    }
                    for (path, bytes) in files {
                        let found = std::fs::metadata(warehouse.join(&path)).map(|file| file.len()).ok();
                        let is_published = || look(connection.as_ref()?).map(|(now, _)| now == published);
                        if found != Some(bytes) && is_published() == Some(true) {
                            return Err(format!("{} has {found:?} bytes, not {bytes}", path.display()));
                        }
                    }
                    if seen % LOGS_EVERY == 1 {
                        let wrong = owned::wrong_logs(&warehouse, Showing::Ever);
                        if !wrong.is_empty() {
                            return Err(format!("Delta logs that show what was never published: {wrong:?}"));
                        }
                    }
                }
                std::thread::sleep(REST);
            }
            Ok(seen)
        });
        Reader { stop, thread }
    }

    /// Ends it; fails with what it saw that it should not have seen.
    pub(super) fn stop(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join().unwrap() {
            Ok(seen) => assert!(seen > 0, "{what}: the reader saw nothing at all"),
            Err(saw) => panic!("{what}: a reader saw {saw}"),
        }
    }
}
