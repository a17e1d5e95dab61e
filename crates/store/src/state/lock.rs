//! [`RunLock`]: one run at a time, by a lock that the operating system takes back when its process dies.

use super::State;
use crate::error::StoreError;
use pelton_base::fail::{self, Point};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};

/// Held by the one run that may write; given back when dropped, or when the process dies.
#[derive(Debug)]
pub struct RunLock {
    _lock: FileLock,
}

/// A lock on a file; given back when dropped, or when the process dies.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Locks an open file; `None` while somebody else has locked it. Never waits.
    pub fn of(file: File) -> std::io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(FileLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that this process is just starting has it open too, until it becomes its program.
        let _ = self.0.unlock();
    }
}

impl State {
    /// Takes the run lock, or says who holds it. Never waits.
    pub fn lock_run(&self) -> Result<RunLock, StoreError> {
        let path = self.root.join("run.lock");
        let failed = |error: std::io::Error| StoreError::io(format!("lock `{}`", path.display()), &error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let Some(lock) = file.try_clone().and_then(FileLock::of).map_err(failed)? else {
            let mut text = String::new();
            // The holder writes its number after it took the lock: for a moment there may be none, or that of the holder before.
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(StoreError::RunLocked { pid });
        };
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        fail::after(Point::LockTaken);
        Ok(RunLock { _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use crate::{FileLock, StoreError, Warehouse};

    #[test]
    fn a_second_run_is_refused_until_the_first_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (Warehouse::open(folder.path()).unwrap(), Warehouse::open(folder.path()).unwrap());
        let held = one.state().lock_run().unwrap();
        let error = two.state().lock_run().unwrap_err();
        assert!(matches!(error, StoreError::RunLocked { pid: Some(pid) } if pid == std::process::id()), "{error:?}");
        assert_eq!(error.report().code, "run-locked");
        drop(held);
        two.state().lock_run().unwrap();
    }

    #[test]
    fn a_lock_is_given_back_even_while_a_child_that_is_being_started_has_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let open = || std::fs::File::create(folder.path().join("lock")).unwrap();
        let file = open();
        // Until it becomes its program, a child has all files of its parent.
        let of_child = file.try_clone().unwrap();
        let lock = FileLock::of(file).unwrap().unwrap();
        assert!(FileLock::of(open()).unwrap().is_none());
        drop(lock);
        assert!(FileLock::of(open()).unwrap().is_some());
        drop(of_child);
    }

    #[test]
    fn a_file_that_a_dead_process_left_does_not_hold_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::open(folder.path()).unwrap();
        std::fs::write(folder.path().join("run.lock"), "4194304999\n").unwrap();
        let _held = warehouse.state().lock_run().unwrap();
        let text = std::fs::read_to_string(folder.path().join("run.lock")).unwrap();
        assert_eq!(text.trim(), std::process::id().to_string());
    }
}
