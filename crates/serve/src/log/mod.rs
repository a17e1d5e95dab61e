//! [`Log`]: the prediction log on its way to the table. Every prediction is in a segment file before it is answered.
//!
//! One thread writes. It takes what has queued up, writes it with one call, and only then lets the requests go on, so a
//! `kill -9` loses nothing that was answered (the operating system has the bytes; a power cut may lose the last seconds).
//! A segment is locked by the process that writes it: one that is not locked is complete, whoever left it, and
//! [`crate::drain`] takes it in.

mod segment;

pub(crate) use segment::{End, Frames, read};

use pelton_base::fail::{self, Point};
use pelton_base::{ReceiptId, Report};
use pelton_store::FileLock;
use segment::MAGIC;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait for the writer. Further ones wait before it, where `server.timeout_ms` bounds them.
const QUEUE_MAX: usize = 1024;

/// Requests whose records are written with one call.
const BATCH_MAX: usize = 256;

/// The ending of segment files.
const EXTENSION: &str = "segment";

/// When a segment is full.
#[derive(Debug, Clone, Copy)]
pub struct LogSettings {
    /// Records in a segment. Default 10,000.
    pub segment_rows_max: usize,
    /// Bytes in a segment. Default 32 MiB.
    pub segment_bytes_max: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { segment_rows_max: 10_000, segment_bytes_max: 32 << 20 }
    }
}

/// A segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its name, without the ending.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Size in bytes.
    pub bytes: u64,
}

/// The prediction log of one process.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    queue: Option<mpsc::Sender<Command>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
enum Command {
    Append(Frames, oneshot::Sender<Result<(), Report>>),
    Rotate(oneshot::Sender<Result<(), Report>>),
}

impl Log {
    /// Opens the log in `folder`, which may hold segments of other processes, living and dead.
    pub fn open(folder: &Path, settings: LogSettings) -> Result<Self, Report> {
        fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
        let (queue, commands) = mpsc::channel(QUEUE_MAX);
        let writer = Writer { folder: folder.to_path_buf(), settings, current: None };
        let thread = std::thread::Builder::new()
            .name("prediction-log".into())
            .spawn(move || writer.run(commands))
            .map_err(|error| Report::error("internal", "cannot start the log's thread").note(error.to_string()))?;
        Ok(Log { folder: folder.to_path_buf(), queue: Some(queue), writer: Mutex::new(Some(thread)) })
    }

    /// Writes records; they survive the process when this returns.
    pub(crate) async fn append(&self, frames: Frames) -> Result<(), Report> {
        if frames.rows == 0 {
            return Ok(());
        }
        self.send(|done| Command::Append(frames, done)).await
    }

    /// Ends the segment that is being written, so that it can be taken in. Does nothing when it has no record.
    pub async fn rotate(&self) -> Result<(), Report> {
        self.send(Command::Rotate).await
    }

    async fn send(&self, command: impl FnOnce(oneshot::Sender<Result<(), Report>>) -> Command) -> Result<(), Report> {
        let stopped = || Report::error("internal", "the prediction log has stopped");
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().expect("the queue is there until the log is dropped");
        queue.send(command(done)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// The segments of all processes, oldest first, also those that are being written.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>, Report> {
        segments(&self.folder)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue = None;
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A panic of the writer was told to every request that waited for it.
            let _ = writer.join();
        }
    }
}

/// The segments in a log's folder, oldest first.
pub(crate) fn segments(folder: &Path) -> Result<Vec<SegmentInfo>, Report> {
    let unreadable = |error: io::Error| unwritable(folder, &error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION)
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
            && let Ok(metadata) = entry.metadata()
        {
            found.push(SegmentInfo { name: name.to_string(), bytes: metadata.len(), path });
        }
    }
    // Names are UUIDv7, so they sort by the time at which the segment began.
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Files of segments that were not put into their place because their process died: such a file is locked by nobody.
pub(crate) fn abandoned(folder: &Path) -> Result<Vec<String>, Report> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(unwritable(folder, &error)),
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_hidden = name.strip_prefix('.').is_some_and(|id| uuid::Uuid::parse_str(id).is_ok());
        if is_hidden && File::open(entry.path()).and_then(FileLock::of).is_ok_and(|lock| lock.is_some()) {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

/// Takes a segment that nobody writes any more; `None` when somebody does, or when it is gone.
pub(crate) fn take(segment: &SegmentInfo) -> Result<Option<FileLock>, Report> {
    let file = match File::open(&segment.path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unwritable(&segment.path, &error)),
    };
    FileLock::of(file).map_err(|error| unwritable(&segment.path, &error))
}

/// Finds a record by its receipt in the segments of a log's folder.
pub(crate) fn find(folder: &Path, receipt: &ReceiptId) -> Result<Option<Vec<u8>>, Report> {
    let begins = format!("{}{receipt}\"", crate::record::RECEIPT_PREFIX);
    // Newest first: receipts are asked for soon after they were given.
    for segment in segments(folder)?.iter().rev() {
        let mut found = None;
        let end = read(&segment.path, |record| {
            if record.starts_with(begins.as_bytes()) {
                found = Some(record.to_vec());
            }
            found.is_none()
        });
        match end {
            Ok(_) if found.is_some() => return Ok(found),
            Ok(_) => {}
            // It was taken in meanwhile: its records are in the table.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unwritable(&segment.path, &error)),
        }
    }
    Ok(None)
}

pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Report {
    let what = format!("the prediction log `{}`", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Report::error("disk-full", format!("no space left for {what}")).note("no prediction is answered unlogged")
        }
        _ => Report::error("storage-failed", format!("cannot use {what}")).note(format!("the reason: {error}")),
    }
}

/// The thread that writes.
struct Writer {
    folder: PathBuf,
    settings: LogSettings,
    current: Option<Segment>,
}

struct Segment {
    file: File,
    path: PathBuf,
    rows: usize,
    bytes: u64,
}

impl Writer {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut bytes = Vec::new();
        let mut waiting = Vec::new();
        while let Some(command) = commands.blocking_recv() {
            let (mut rows, mut next) = (0, Some(command));
            let mut rotate = None;
            while let Some(command) = next.take() {
                match command {
                    Command::Append(frames, done) => {
                        bytes.extend_from_slice(frames.bytes());
                        rows += frames.rows;
                        waiting.push(done);
                    }
                    Command::Rotate(done) => {
                        rotate = Some(done);
                        break;
                    }
                }
                if waiting.len() < BATCH_MAX {
                    next = commands.try_recv().ok();
                }
            }
            let written = if rows > 0 { self.write(&bytes, rows) } else { Ok(()) };
            bytes.clear();
            for done in waiting.drain(..) {
                // A request that was given up no longer waits; its prediction is logged all the same.
                let _ = done.send(written.clone());
            }
            if let Some(done) = rotate {
                self.current = None;
                let _ = done.send(Ok(()));
            }
        }
    }

    fn write(&mut self, bytes: &[u8], rows: usize) -> Result<(), Report> {
        if self.current.is_none() {
            self.current = Some(Segment::create(&self.folder)?);
        }
        let segment = self.current.as_mut().expect("it was created above");
        let written = fail::before(Point::LogAppend).and_then(|()| segment.file.write_all(bytes));
        if let Err(error) = written {
            let report = unwritable(&segment.path, &error);
            // Half a record at the end would hide those after it.
            let cut = segment.file.set_len(segment.bytes).and_then(|()| segment.file.seek(SeekFrom::End(0)));
            if cut.is_err() {
                self.current = None;
            }
            return Err(report);
        }
        fail::after(Point::LogAppended);
        segment.rows += rows;
        segment.bytes += bytes.len() as u64;
        if segment.rows >= self.settings.segment_rows_max || segment.bytes >= self.settings.segment_bytes_max {
            self.current = None;
        }
        Ok(())
    }
}

impl Segment {
    /// The file appears under its name only once it is locked: a segment that is not locked is complete.
    ///
    /// gc may take the file away between its creation and its lock; then another one is made.
    fn create(folder: &Path) -> Result<Self, Report> {
        Self::create_once(folder).or_else(|_| Self::create_once(folder))
    }

    fn create_once(folder: &Path) -> Result<Self, Report> {
        let name = uuid::Uuid::now_v7();
        let path = folder.join(format!("{name}.{EXTENSION}"));
        let hidden = folder.join(format!(".{name}"));
        let create = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&hidden)?;
            file.lock()?;
            file.write_all(MAGIC)?;
            fail::before(Point::LogSegment)?;
            fs::rename(&hidden, &path)?;
            Ok(file)
        };
        match create() {
            Ok(file) => Ok(Segment { file, path, rows: 0, bytes: MAGIC.len() as u64 }),
            Err(error) => {
                // Best effort: the first error is the one to tell.
                let _ = fs::remove_file(&hidden);
                Err(unwritable(&path, &error))
            }
        }
    }
}
