//! Which file is damaged: the engine's readers say that something is, and rarely what. Looked for only after a query failed.

use pelton_query::{Catalog, DataFile, QueryError, Relation};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use url::Url;

/// The tables that a query could read, to be looked at when it fails.
#[derive(Clone)]
pub(crate) struct Suspects(Arc<Vec<Suspect>>);

/// A table's name, its folder and its files.
type Suspect = (String, String, Arc<Vec<DataFile>>);

impl Suspects {
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let files = |(name, relation): (&String, &Relation)| match relation {
            Relation::Files { folder, files, .. } => Some((named(name, folder), folder.clone(), files.clone())),
            _ => None,
        };
        Suspects(Arc::new(catalog.relations.iter().filter_map(files).collect()))
    }

    /// The error with the first file named that is damaged or cannot be read, when that is what it is about.
    pub(crate) fn explain(&self, error: QueryError) -> QueryError {
        let is_damage = match &error {
            QueryError::Damaged { .. } => true,
            QueryError::Storage { .. } => false,
            _ => return error,
        };
        for (name, folder, files) in self.0.iter() {
            let Some(folder) = Url::parse(folder).ok().and_then(|url| url.to_file_path().ok()) else { continue };
            for file in files.iter() {
                let path = folder.join(&file.path);
                let named = |what: String| format!("file `{}` of `{name}` {what}", path.display());
                match damage(&path, file.bytes) {
                    Ok(Some(what)) => return QueryError::Damaged { message: named(what) },
                    Err(refused) => {
                        return QueryError::Storage { message: named(format!("cannot be read: {}", refused.kind())) };
                    }
                    Ok(None) => {}
                }
            }
        }
        if !is_damage {
            return error;
        }
        // Every file has its size and its marks, so the damage lies between them.
        let names: Vec<String> = self.0.iter().map(|(name, _, _)| format!("`{name}`")).collect();
        QueryError::Damaged { message: format!("a file of {} is not what was written", names.join(" or ")) }
    }
}

/// The table's name: some files are read under a name of ours, and lie in the folder of their table.
fn named(name: &str, folder: &str) -> String {
    let table = folder.trim_end_matches('/').rsplit('/').next().filter(|_| name.starts_with("pelton_"));
    table.unwrap_or(name).to_string()
}

/// What is wrong with a Parquet file, as far as its ends tell; an error when the operating system does not let us look.
fn damage(path: &Path, bytes: u64) -> std::io::Result<Option<String>> {
    const MARK: &[u8; 4] = b"PAR1";
    let look = || -> std::io::Result<Option<String>> {
        let mut file = File::open(path)?;
        let found = file.metadata()?.len();
        if found != bytes {
            return Ok(Some(format!("has {found} bytes, and {bytes} were written")));
        }
        let (mut head, mut tail) = ([0; 4], [0; 4]);
        file.read_exact(&mut head)?;
        file.seek(SeekFrom::End(-4))?;
        file.read_exact(&mut tail)?;
        Ok((&head != MARK || &tail != MARK).then(|| "is not what was written".to_string()))
    };
    match look() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some("is missing".into())),
        found => found,
    }
}
