//! Folders and files that commands write: never over something that was not named.

use pelton_base::Report;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What stands in a folder that counts as empty: a repository that was just made.
const IGNORED: [&str; 1] = [".git"];

/// Whether a folder does not exist or has nothing in it.
pub(crate) fn is_empty(folder: &Path) -> Result<bool, Report> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().all(|entry| IGNORED.iter().any(|ignored| entry.file_name() == *ignored))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(unreadable("read the folder", folder, &error)),
    }
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Report> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| unreadable("make the folder", parent, &error))?;
    }
    std::fs::write(path, text).map_err(|error| unreadable("write", path, &error))
}

/// The report of a file or folder that the operating system does not let us use; `action` is a verb phrase.
pub(crate) fn unreadable(action: &str, path: &Path, error: &std::io::Error) -> Report {
    let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    let message = format!("cannot {action} `{}`", path.display());
    // A pending file's own path is nothing that the reader named.
    let reason = error.to_string();
    let reason = reason.split_once(" at path ").map_or(reason.as_str(), |(reason, _)| reason);
    Report::error(if full { "disk-full" } else { "unreadable-file" }, message).note(reason)
}

/// A file that appears under its name once it is complete; until then it stands beside it and goes when dropped.
pub(crate) struct Pending {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Pending {
    /// Begins a file.
    pub(crate) fn begin(path: &Path) -> Result<Self, Report> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if path.is_dir() {
            return Err(
                Report::error("unreadable-file", format!("cannot write `{}`", path.display())).note("it is a folder")
            );
        }
        let file = tempfile::Builder::new()
            .prefix(".pelton-")
            .permissions(permissions())
            .tempfile_in(folder)
            .map_err(|error| unreadable("write", path, &error))?;
        Ok(Pending { file, path: path.to_path_buf() })
    }

    /// Where to write.
    pub(crate) fn sink(&mut self) -> &mut (impl Write + Send + use<>) {
        self.file.as_file_mut()
    }

    /// Gives the file its name; one that has it is replaced.
    pub(crate) fn finish(self) -> Result<(), Report> {
        let path = self.path;
        self.file.persist(&path).map(|_| ()).map_err(|error| unreadable("write", &path, &error.error))
    }
}

/// As other files have them; the umask is applied to it.
#[cfg(unix)]
fn permissions() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

#[cfg(not(unix))]
fn permissions() -> std::fs::Permissions {
    std::fs::metadata(".").expect("the current folder exists").permissions()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_file_appears_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let mut dropped = Pending::begin(&path).unwrap();
        dropped.sink().write_all(b"half").unwrap();
        drop(dropped);
        assert!(is_empty(folder.path()).unwrap());
        let mut kept = Pending::begin(&path).unwrap();
        kept.sink().write_all(b"all").unwrap();
        assert!(!path.exists());
        kept.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "all");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_fresh_repository_counts_as_empty() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        assert!(is_empty(folder.path()).unwrap());
        assert!(is_empty(&folder.path().join("missing")).unwrap());
        write(&folder.path().join("a/b.txt"), "x").unwrap();
        assert!(!is_empty(folder.path()).unwrap());
        assert_eq!(is_empty(&folder.path().join("a/b.txt")).unwrap_err().code, "unreadable-file");
    }
}
