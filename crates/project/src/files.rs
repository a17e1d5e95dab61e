//! Where a project's files come from: a folder, or texts in memory. The only module that touches the disk.

use pelton_base::{Place, Report};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The largest file that a project may have; the limit keeps a data file that was put into the wrong folder from being parsed.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// Gives a project's files by their path relative to the project, with `/`; several threads ask at the same time.
pub trait FileSource: Sync {
    /// The files below `folder` whose names end in `.extension`, sorted; none when there is no such folder.
    fn list(&self, folder: &str, extension: &str) -> Result<Vec<String>, Report>;

    /// The text of a file; `None` when there is no such file.
    fn read(&self, path: &str) -> Result<Option<String>, Report>;
}

/// The files of a folder on disk. Hidden files and folders are passed over, links are followed.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl FileSource for Folder {
    fn list(&self, folder: &str, extension: &str) -> Result<Vec<String>, Report> {
        let top = self.0.join(folder);
        if !top.exists() {
            return Ok(Vec::new());
        }
        let hidden =
            |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.');
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(&top).follow_links(true).into_iter().filter_entry(|entry| !hidden(entry)) {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(&top);
                let reason = error.io_error().map_or("links form a circle".to_string(), reason);
                unreadable(&self.relative(path), &reason)
            })?;
            if entry.file_type().is_file() && entry.path().extension().is_some_and(|found| found == extension) {
                files.push(self.relative(entry.path()));
            }
        }
        files.sort();
        Ok(files)
    }

    fn read(&self, path: &str) -> Result<Option<String>, Report> {
        let full = self.0.join(path);
        let too_large = |bytes: u64| {
            unreadable(path, &format!("it has {bytes} bytes; a file of a project may have {FILE_BYTES_MAX}"))
        };
        match std::fs::metadata(&full) {
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Err(too_large(metadata.len())),
            Ok(metadata) if !metadata.is_file() => return Err(unreadable(path, "it is not a file")),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(path, &reason(&error))),
        }
        let bytes = std::fs::read(&full).map_err(|error| unreadable(path, &reason(&error)))?;
        String::from_utf8(bytes).map(Some).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
            let line = text.matches('\n').count() + 1;
            unreadable(path, &format!("line {line} is not UTF-8")).at(Place { line, ..Place::file(path) })
        })
    }
}

impl Folder {
    fn relative(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.0).unwrap_or(path);
        path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
    }
}

/// Texts by path: a project that is not on disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles(pub BTreeMap<String, String>);

impl FileSource for MemoryFiles {
    fn list(&self, folder: &str, extension: &str) -> Result<Vec<String>, Report> {
        let (prefix, suffix) = (format!("{folder}/"), format!(".{extension}"));
        Ok(self.0.keys().filter(|path| path.starts_with(&prefix) && path.ends_with(&suffix)).cloned().collect())
    }

    fn read(&self, path: &str) -> Result<Option<String>, Report> {
        Ok(self.0.get(path).cloned())
    }
}

/// The folder with `pelton.toml` that `start` lies in: itself, or the nearest above it.
pub fn find_root(start: &Path) -> Option<PathBuf> {
    let start = std::path::absolute(start).ok()?;
    start.ancestors().find(|folder| folder.join("pelton.toml").is_file()).map(Path::to_path_buf)
}

fn unreadable(path: &str, reason: &str) -> Report {
    Report::error("unreadable-file", format!("cannot read `{path}`")).at(Place::file(path)).note(reason)
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "permission denied".to_string(),
        ErrorKind::NotFound => "it is not there (a link that leads nowhere?)".to_string(),
        kind => kind.to_string(),
    }
}
