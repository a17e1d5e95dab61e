//! A state database that is newer, foreign, damaged, locked or full is refused by name.

use super::{run, version, warehouse};
use crate::state::State;
use crate::{StoreError, Warehouse};
use pelton_base::{NodeName, VersionId};
use rusqlite::Connection;
use std::fs;
use std::path::Path;
use std::time::Duration;

fn codes(root: &Path) -> [&'static str; 2] {
    let code = |result: Result<(), StoreError>| result.map_or_else(|error| error.report().code, |()| "opened");
    [code(Warehouse::open(root).map(|_| ())), code(Warehouse::open_existing(root).map(|_| ()))]
}

#[test]
fn a_newer_warehouse_is_refused_and_left_alone() {
    let (folder, warehouse) = warehouse();
    drop(warehouse);
    let path = folder.path().join("state.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(codes(folder.path()), ["newer-warehouse"; 2]);
    let error = Warehouse::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::NewerWarehouse { found: 99, .. }), "{error:?}");
    let format: i64 =
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(format, 99);
}

#[test]
fn a_format_that_no_pelton_writes_is_damage() {
    for format in [-1, 0] {
        let (folder, warehouse) = warehouse();
        drop(warehouse);
        let path = folder.path().join("state.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", format).unwrap();
        assert_eq!(codes(folder.path()), ["damaged-state"; 2], "format {format}");
    }
}

#[test]
fn a_table_that_is_gone_is_damage() {
    let (folder, warehouse) = warehouse();
    let raw = Connection::open(folder.path().join("state.db")).unwrap();
    raw.execute_batch("pragma foreign_keys = off; drop table environment_nodes").unwrap();
    let error = warehouse.state().heads("main").unwrap_err();
    assert_eq!(error.report().code, "damaged-state", "{error}");
}

#[test]
fn what_is_not_a_state_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    fs::write(&path, "id,amount\n1,12.50\n".repeat(100)).unwrap();
    assert_eq!(codes(folder.path()), ["damaged-state"; 2]);
    assert!(fs::read_to_string(&path).unwrap().starts_with("id,amount"), "nothing was changed");

    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("create table notes (text)").unwrap();
    assert_eq!(codes(folder.path()), ["damaged-state"; 2]);
}

#[test]
fn an_empty_file_is_a_warehouse_that_was_never_made() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state.db"), "").unwrap();
    assert!(Warehouse::open_existing(folder.path()).unwrap().is_none());
    Warehouse::open(folder.path()).unwrap();
    assert!(Warehouse::open_existing(folder.path()).unwrap().is_some());
}

#[test]
fn what_cannot_be_written_is_read_as_a_file_that_nobody_changes() {
    let (folder, warehouse) = warehouse();
    let run = run(&warehouse, "r1");
    warehouse.state().insert_version(&version(&run, "a", "a1")).unwrap();
    let why = || StoreError::DiskFull { action: "open".into() };
    let open = || State::open_unchanging(folder.path(), why());
    // A writer has the database open, so its log is not written back.
    assert!(matches!(open(), Err(StoreError::DiskFull { .. })));
    drop(warehouse);
    let state = open().unwrap();
    assert!(state.version_head(&VersionId("a1".into())).unwrap().is_some());
    let refused = state.insert_version(&version(&run, "a", "a2")).unwrap_err();
    assert!(matches!(refused, StoreError::Unreadable { .. }), "{refused:?}");
    assert!(!folder.path().join("state.db-shm").exists(), "nothing was made beside the database");
    // Somebody can write all the same: what was read before and what is there now are not to be mixed.
    let writer = Connection::open(folder.path().join("state.db")).unwrap();
    writer.execute("update runs set outcome = 'failed'", []).unwrap();
    let refused = state.version_head(&VersionId("a1".into())).unwrap_err();
    assert!(refused.report().notes.concat().contains("another process has changed it"), "{refused:?}");
    drop(writer);
    let refused = state.version_head(&VersionId("a1".into())).unwrap_err();
    assert!(matches!(refused, StoreError::Storage { .. }), "{refused:?}");
    drop(state);
    Connection::open(folder.path().join("state.db")).unwrap().pragma_update(None, "user_version", 1).unwrap();
    assert!(matches!(open(), Err(StoreError::DiskFull { .. })), "an older format has to be changed first");
}

#[test]
fn damaged_pages_are_found() {
    let (folder, warehouse) = warehouse();
    let run = run(&warehouse, "r1");
    for i in 0..300 {
        warehouse.state().insert_version(&version(&run, "a", &format!("v{i}"))).unwrap();
    }
    warehouse.state().verify().unwrap();
    drop(warehouse);
    let path = folder.path().join("state.db");
    Connection::open(&path).unwrap().execute_batch("pragma wal_checkpoint(truncate)").unwrap();
    let sound = fs::read(&path).unwrap();

    // Everything behind the first page, and with it the schema.
    let mut bytes = sound.clone();
    bytes[4096..].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    assert_eq!(codes(folder.path()), ["damaged-state"; 2]);

    // The newer half: it opens, and is refused where it is read.
    let mut bytes = sound;
    let half = bytes.len() / 2 / 4096 * 4096;
    bytes[half..].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let warehouse = Warehouse::open(folder.path()).unwrap();
    let error = warehouse.state().versions_of(&NodeName::new("a")).unwrap_err();
    assert_eq!(error.report().code, "damaged-state", "{error}");
    assert_eq!(warehouse.state().verify().unwrap_err().report().code, "damaged-state");
}

#[test]
fn a_stored_value_that_does_not_read_back_is_damage() {
    let (folder, warehouse) = warehouse();
    let run = run(&warehouse, "r1");
    warehouse.state().insert_version(&version(&run, "a", "v1")).unwrap();
    let raw = Connection::open(folder.path().join("state.db")).unwrap();
    for change in [
        "update version_bodies set columns = '['",
        "update version_bodies set files = x'00'",
        "update versions set digest = 'short'",
        "update versions set rows = -1",
    ] {
        let before = raw.unchecked_transaction().unwrap();
        before.execute(change, []).unwrap();
        before.commit().unwrap();
        let error = warehouse.state().version(&VersionId("v1".into())).unwrap_err();
        assert_eq!(error.report().code, "damaged-state", "{change}: {error}");
        raw.execute_batch("delete from version_bodies; delete from versions").unwrap();
        warehouse.state().insert_version(&version(&run, "a", "v1")).unwrap();
    }
}

#[test]
fn a_locked_database_is_named_after_the_time_limit() {
    let (folder, warehouse) = warehouse();
    drop(warehouse);
    let short = Duration::from_millis(20);
    let opened = Warehouse::open_waiting(folder.path(), short).unwrap();

    // A writer that does not end blocks writers, and only them.
    let writer = Connection::open(folder.path().join("state.db")).unwrap();
    writer.execute_batch("begin immediate").unwrap();
    assert_eq!(opened.state().current_id("main").unwrap(), None);
    let error = opened.state().set_delta_version(&VersionId("v1".into()), 1).unwrap_err();
    assert!(matches!(error, StoreError::StateLocked { waited_ms: 20 }), "{error:?}");
    assert_eq!(error.report().code, "state-locked");
    writer.execute_batch("rollback").unwrap();
    drop(opened);

    // One that takes the file for itself blocks everybody.
    writer.execute_batch("pragma locking_mode = exclusive; begin exclusive; create table x (a); commit").unwrap();
    for result in [
        Warehouse::open_waiting(folder.path(), short).map(|_| ()),
        Warehouse::open_existing_waiting(folder.path(), short).map(|_| ()),
    ] {
        assert_eq!(result.unwrap_err().report().code, "state-locked");
    }
}

#[test]
fn a_full_disk_is_named() {
    let (folder, warehouse) = warehouse();
    let run = run(&warehouse, "r1");
    warehouse.state().limit_pages(60);
    let mut big = version(&run, "a", "v1");
    big.detail = serde_json::json!("x".repeat(1 << 20));
    let error = warehouse.state().insert_version(&big).unwrap_err();
    assert_eq!(error.report().code, "disk-full", "{error}");
    assert_eq!(warehouse.state().version_head(&big.id).unwrap(), None, "nothing of it stays");
    drop(folder);
}

#[test]
fn an_index_that_lacks_rows_is_found_and_made_anew() {
    let (folder, warehouse) = warehouse();
    let state = warehouse.state();
    run(&warehouse, "r1");
    assert_eq!(state.problems().unwrap(), []);
    // The index is hidden while a row comes in, and then misses it.
    let raw = Connection::open(folder.path().join("state.db")).unwrap();
    let hide = "pragma writable_schema = on; create table hidden as select * from sqlite_schema where name = 'versions_by_node';
                delete from sqlite_schema where name = 'versions_by_node'";
    raw.execute_batch(hide).unwrap();
    drop(raw);
    let raw = Connection::open(folder.path().join("state.db")).unwrap();
    raw.execute_batch(
        "insert into versions (id, node, kind, run, fingerprint, digest, built_at_us, rows, bytes, quarantined, dropped)
         values ('v1', 'a', 'table', 'r1', '0', '0', 1, 1, 1, 0, 0);
         pragma writable_schema = on; insert into sqlite_schema select * from hidden; drop table hidden",
    )
    .unwrap();
    drop(raw);
    let warehouse = Warehouse::open(folder.path()).unwrap();
    let problems = warehouse.state().problems().unwrap();
    assert!(
        !problems.is_empty()
            && problems.iter().all(|(text, is_of_index)| *is_of_index && text.contains("versions_by_node")),
        "{problems:?}"
    );
    let lock = warehouse.state().lock_run().unwrap();
    warehouse.state().reindex(&lock).unwrap();
    assert_eq!(warehouse.state().problems().unwrap(), []);
}

#[test]
fn rows_that_name_what_is_not_there_are_found() {
    let (folder, warehouse) = warehouse();
    let raw = Connection::open(folder.path().join("state.db")).unwrap();
    raw.execute_batch("pragma foreign_keys = off; insert into staging values ('nobody', 'tables/a', 'part-')").unwrap();
    let problems = warehouse.state().problems().unwrap();
    assert_eq!(problems, [("1 rows of `staging` name rows of `runs` that are not there".to_string(), false)]);
}
