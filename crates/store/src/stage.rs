//! [`StageWriter`]: rows to Parquet files that belong to nobody until a version that names them is committed.

use crate::artifacts::sync_folder;
use crate::digest::TableDigest;
use crate::encoding::properties;
use crate::error::StoreError;
use crate::stats::FileStats;
use crate::stored::{stored_schema, to_stored};
use crate::wait::wait;
use crate::warehouse::Warehouse;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use pelton_base::Digest;
use pelton_base::fail::{self, Point};
use pelton_query::DataFile;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// How many rows are encoded between two looks at a file's size.
const CHUNK_ROWS: usize = 16_384;

/// The size of the rows in memory that are encoded between two such looks: wide rows would otherwise pass any bound at once.
const CHUNK_BYTES: usize = 8 << 20;

/// How files are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageOptions {
    /// The most rows of a file.
    pub rows_per_file_max: u64,
    /// The size at which a file is ended. A file is put together in memory, so this bounds memory too: a writer holds at
    /// most this much and one chunk of rows, 8 MiB of them or one. Default 64 MiB.
    pub bytes_per_file_max: u64,
    /// The rows of a row group. Default 131,072: four or more groups to read in parallel in a table of half a million rows.
    pub row_group_rows: usize,
    /// Whether to compute digests. Without, the files have none, and that of what was staged says nothing. Default true.
    pub digests: bool,
}

impl Default for StageOptions {
    fn default() -> Self {
        StageOptions {
            rows_per_file_max: u64::MAX,
            bytes_per_file_max: 64 << 20,
            row_group_rows: 131_072,
            digests: true,
        }
    }
}

/// What was staged.
#[derive(Debug, Clone, PartialEq)]
pub struct Staged {
    /// The files, relative to the folder, with their statistics. None when there were no rows.
    pub files: Vec<DataFile>,
    /// Number of rows.
    pub rows: u64,
    /// Size of the files.
    pub bytes: u64,
    /// The digest of the rows.
    pub digest: Digest,
}

/// Writes rows to `<folder>/<prefix>-<n>.parquet`. Dropping it unfinished deletes what it wrote.
///
/// Sync: encoding is work for a thread, not for a task. Columns are cast to their stored types on the way.
pub struct StageWriter {
    store: Arc<dyn ObjectStore>,
    /// Where the store keeps its files, when that is a folder of this machine.
    root: Option<PathBuf>,
    folder: String,
    prefix: String,
    schema: SchemaRef,
    options: StageOptions,
    digest: TableDigest,
    files: Vec<DataFile>,
    open: Option<OpenFile>,
}

struct OpenFile {
    writer: ArrowWriter<Vec<u8>>,
    stats: FileStats,
    rows: u64,
    /// The sum of the rows' hashes of the files before it.
    before: Digest,
}

impl std::fmt::Debug for StageWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StageWriter")
            .field("folder", &self.folder)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl StageWriter {
    /// A writer of rows of `schema` to `folder` (`tables/<node>` or `quarantine`), a folder of the warehouse.
    pub fn new(
        warehouse: &Warehouse,
        folder: &str,
        prefix: &str,
        schema: SchemaRef,
        options: StageOptions,
    ) -> Result<Self, StoreError> {
        let root = Some(warehouse.root().to_path_buf());
        Self::on(warehouse.files().clone(), root, folder, prefix, &schema, options)
    }

    fn on(
        store: Arc<dyn ObjectStore>,
        root: Option<PathBuf>,
        folder: &str,
        prefix: &str,
        schema: &Schema,
        options: StageOptions,
    ) -> Result<Self, StoreError> {
        Ok(StageWriter {
            store,
            root,
            folder: folder.to_string(),
            prefix: prefix.to_string(),
            schema: stored_schema(schema)?,
            options,
            digest: TableDigest::new(schema)?,
            files: Vec::new(),
            open: None,
        })
    }

    /// The columns as they are stored.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        let batch = to_stored(batch)?;
        let chunk_rows = chunk_rows(&batch);
        let mut at = 0;
        while at < batch.num_rows() {
            let written = self.open.as_ref().map_or(0, |open| open.rows);
            let room = usize::try_from(self.options.rows_per_file_max.max(1) - written).unwrap_or(usize::MAX);
            let rows = (batch.num_rows() - at).min(chunk_rows).min(room);
            self.write_chunk(&batch.slice(at, rows))?;
            at += rows;
        }
        Ok(())
    }

    fn write_chunk(&mut self, chunk: &RecordBatch) -> Result<(), StoreError> {
        let action = || format!("write Parquet to `{}`", self.folder);
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let properties = properties(chunk, self.options.row_group_rows);
                let writer = ArrowWriter::try_new(Vec::new(), self.schema.clone(), Some(properties))
                    .map_err(|error| StoreError::caused(action(), &error))?;
                let before = self.digest.rows_sum();
                none.insert(OpenFile { writer, stats: FileStats::new(&self.schema), rows: 0, before })
            }
        };
        if self.options.digests {
            self.digest.add(chunk)?;
        }
        open.writer.write(chunk).map_err(|error| StoreError::caused(action(), &error))?;
        open.stats.add(chunk);
        open.rows += chunk.num_rows() as u64;
        let bytes = (open.writer.bytes_written() + open.writer.in_progress_size()) as u64;
        if bytes >= self.options.bytes_per_file_max || open.rows >= self.options.rows_per_file_max.max(1) {
            self.end_file()?;
        }
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), StoreError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let name = format!("{}-{}.parquet", self.prefix, self.files.len());
        let action = || format!("write `{}/{name}`", self.folder);
        let bytes = open.writer.into_inner().map_err(|error| StoreError::caused(action(), &error))?;
        let (size, digest) = (bytes.len() as u64, Some(Digest::of(&bytes)));
        StoreError::at(Point::StageFile, action)?;
        wait(self.store.put(&self.object(&name), Bytes::from(bytes).into()))
            .map_err(|error| StoreError::caused(action(), &error))?;
        let rows_digest = self.options.digests.then(|| self.digest.rows_sum().minus(open.before));
        let stats = Some(open.stats.json());
        self.files.push(DataFile { path: name, bytes: size, rows: open.rows, stats, rows_digest, digest });
        Ok(())
    }

    /// Ends the last file; all of them are on the disk when this returns, because the commit that will name them may outlive
    /// a power failure.
    pub fn finish(mut self) -> Result<Staged, StoreError> {
        self.end_file()?;
        self.sync()?;
        fail::after(Point::StageFiles);
        let files = std::mem::take(&mut self.files);
        let bytes = files.iter().map(|file| file.bytes).sum();
        let rows = files.iter().map(|file| file.rows).sum();
        Ok(Staged { bytes, rows, digest: self.digest.finish(), files })
    }

    /// Deletes what was written.
    pub fn abort(mut self) -> Result<(), StoreError> {
        self.delete()
    }

    fn delete(&mut self) -> Result<(), StoreError> {
        self.open = None;
        for file in std::mem::take(&mut self.files) {
            match wait(self.store.delete(&self.object(&file.path))) {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    return Err(StoreError::caused(format!("delete `{}/{}`", self.folder, file.path), &error));
                }
            }
        }
        Ok(())
    }

    fn object(&self, name: &str) -> ObjectPath {
        ObjectPath::from(format!("{}/{name}", self.folder))
    }

    /// The store's put ends in the page cache of this machine; a bucket's does not, and needs no more.
    fn sync(&self) -> Result<(), StoreError> {
        let Some(root) = &self.root else { return Ok(()) };
        if self.files.is_empty() {
            return Ok(());
        }
        let folder = root.join(&self.folder);
        let synced = self.files.iter().try_for_each(|file| File::open(folder.join(&file.path))?.sync_all());
        synced
            .and_then(|()| sync_folder(&folder))
            .and_then(|()| sync_folder(folder.parent().unwrap_or(root)))
            .map_err(|error| StoreError::io(format!("write `{}`", self.folder), &error))
    }
}

/// How many rows of a batch are a chunk.
fn chunk_rows(batch: &RecordBatch) -> usize {
    let bytes: usize = batch.columns().iter().filter_map(|column| column.to_data().get_slice_memory_size().ok()).sum();
    let each = bytes.div_ceil(batch.num_rows().max(1)).max(1);
    (CHUNK_BYTES / each).clamp(1, CHUNK_ROWS)
}

impl Drop for StageWriter {
    fn drop(&mut self) {
        // Best effort: what stays is known to the state database and is deleted by the next run.
        let _ = self.delete();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use futures::StreamExt;
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::{
        CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
        PutOptions, PutPayload, PutResult, Result,
    };
    use pelton_base::Seed;
    use std::fmt;
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A store that is full after some files.
    #[derive(Debug)]
    struct Full {
        inner: InMemory,
        room: AtomicUsize,
    }

    impl fmt::Display for Full {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a full store")
        }
    }

    #[async_trait::async_trait]
    impl ObjectStore for Full {
        async fn put_opts(&self, at: &ObjectPath, bytes: PutPayload, options: PutOptions) -> Result<PutResult> {
            if self.room.load(Ordering::Relaxed) == 0 {
                const ENOSPC: i32 = 28;
                return Err(Error::Generic { store: "full", source: io::Error::from_raw_os_error(ENOSPC).into() });
            }
            self.room.fetch_sub(1, Ordering::Relaxed);
            self.inner.put_opts(at, bytes, options).await
        }

        async fn put_multipart_opts(
            &self,
            at: &ObjectPath,
            options: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.inner.put_multipart_opts(at, options).await
        }

        async fn get_opts(&self, at: &ObjectPath, options: GetOptions) -> Result<GetResult> {
            self.inner.get_opts(at, options).await
        }

        fn delete_stream(
            &self,
            paths: BoxStream<'static, Result<ObjectPath>>,
        ) -> BoxStream<'static, Result<ObjectPath>> {
            self.inner.delete_stream(paths)
        }

        fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.inner.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
            self.inner.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
            self.inner.copy_opts(from, to, options).await
        }
    }

    #[test]
    fn wide_rows_do_not_pass_the_size_of_a_file() {
        let noise = |row: u64| {
            let words = (0..8_192).map(|word| Seed(row).at(word).to_string());
            words.collect::<String>()
        };
        let texts: ArrayRef = Arc::new(arrow::array::StringArray::from_iter_values((0..160).map(noise)));
        let rows = RecordBatch::try_from_iter([("text", texts)]).unwrap();
        let store = Arc::new(InMemory::new());
        let options = StageOptions { bytes_per_file_max: 1 << 20, ..StageOptions::default() };
        let mut stage = StageWriter::on(store, None, "tables/a", "part", &rows.schema(), options).unwrap();
        stage.write(&rows).unwrap();
        let staged = stage.finish().unwrap();
        // 160 kB a row, of which half is left: without a look in between, all would be one file of 12 MB.
        assert_eq!(staged.rows, 160);
        assert!(staged.files.len() > 1, "{:?}", staged.files);
        assert!(staged.files.iter().all(|file| file.bytes <= (1 << 20) + CHUNK_BYTES as u64), "{:?}", staged.files);
    }

    #[test]
    fn a_full_disk_is_named_and_nothing_stays() {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
        let rows = RecordBatch::try_from_iter([("id", ids)]).unwrap();
        let store = Arc::new(Full { inner: InMemory::new(), room: AtomicUsize::new(2) });
        let options = StageOptions { rows_per_file_max: 30, ..StageOptions::default() };
        let mut stage = StageWriter::on(store.clone(), None, "tables/a", "part", &rows.schema(), options).unwrap();
        let error = stage.write(&rows).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
        assert_eq!(error.report().code, "disk-full");
        assert_eq!(wait(store.list(None).count()), 2);
        drop(stage);
        assert_eq!(wait(store.list(None).count()), 0);
    }
}
