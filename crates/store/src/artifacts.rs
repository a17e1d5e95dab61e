//! [`Artifacts`]: byte strings by digest, for models, cards and records. Written once, verified at every read.

use crate::error::StoreError;
use pelton_base::Digest;
use pelton_base::fail::{self, Point};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The artifacts of a warehouse: `artifacts/<first 2 digits>/<32 digits>`.
#[derive(Debug)]
pub struct Artifacts {
    folder: PathBuf,
    /// Tells apart the temporary files of one process.
    next: AtomicU64,
}

impl Artifacts {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Artifacts { folder, next: AtomicU64::new(0) }
    }

    /// The file of an artifact, whether or not it is there.
    pub fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.folder.join(&name[..2]).join(name)
    }

    /// Stores bytes; does nothing when they are there already. They are on the disk when this returns.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let path = self.path(digest);
        // A file of another length is damaged, and is replaced: the bytes at hand are right.
        if fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64) {
            return Ok(digest);
        }
        let folder = path.parent().expect("an artifact's path has a folder");
        let temporary =
            folder.join(format!(".{digest}-{}-{}", std::process::id(), self.next.fetch_add(1, Ordering::Relaxed)));
        let written = fs::create_dir_all(folder)
            .and_then(|()| fail::before(Point::ArtifactWrite))
            .and_then(|()| write_synced(&temporary, bytes))
            .and_then(|()| fail::before(Point::ArtifactPlace))
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| sync_folder(folder));
        written.map_err(|error| {
            // Best effort: the first error is the one to tell.
            let _ = fs::remove_file(&temporary);
            StoreError::io(format!("write artifact {digest}"), &error)
        })?;
        Ok(digest)
    }

    /// Reads bytes back and verifies their digest.
    pub fn get(&self, digest: Digest) -> Result<Vec<u8>, StoreError> {
        let bytes = fs::read(self.path(digest)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::DamagedArtifact { digest, reason: "is missing".into() },
            _ => StoreError::io(format!("read artifact {digest}"), &error),
        })?;
        let found = Digest::of(&bytes);
        if found != digest {
            let reason = format!("is not what was written: its {} bytes have digest {found}", bytes.len());
            return Err(StoreError::DamagedArtifact { digest, reason });
        }
        Ok(bytes)
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the names in a folder last: a file that was synced can still lose its name without this.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(folder.path().to_path_buf());
        let digest = artifacts.put(b"a model").unwrap();
        assert_eq!(artifacts.put(b"a model").unwrap(), digest);
        assert_eq!(artifacts.get(digest).unwrap(), b"a model");
        let names: Vec<_> = fs::read_dir(artifacts.path(digest).parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file stays");

        fs::write(artifacts.path(digest), b"b model").unwrap();
        let error = artifacts.get(digest).unwrap_err();
        assert_eq!(error.report().code, "damaged-artifact");
        fs::write(artifacts.path(digest), b"a mod").unwrap();
        assert!(matches!(artifacts.get(digest), Err(StoreError::DamagedArtifact { .. })));
        artifacts.put(b"a model").unwrap();
        assert_eq!(artifacts.get(digest).unwrap(), b"a model");
        fs::remove_file(artifacts.path(digest)).unwrap();
        let error = artifacts.get(digest).unwrap_err();
        assert!(error.to_string().ends_with("is missing"), "{error}");
    }
}
