//! Why files could not be taken in, and how that reads to a person.

use crate::list::{Compression, InputFile};
use pelton_base::{Place, Report, Reports};
use std::io;

/// Why taking in stopped. Single bad rows never stop it, unless a contract is frozen: they are quarantined.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The settings or the data are wrong; the reports say where.
    #[error("{0}")]
    Refused(Reports),
    /// A file could not be read from the disk.
    #[error("cannot read `{file}`: {error}")]
    Io {
        /// The file, as named by [`InputFile::path`].
        file: String,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// What takes the rows failed; the error is its own.
    #[error("{0}")]
    Sink(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl IngestError {
    /// Wraps the error of a [`crate::Sink`].
    pub fn sink(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        IngestError::Sink(error.into())
    }

    /// The reports of this error. A sink's error that is a [`Report`] or [`Reports`] is passed on as it is.
    pub fn into_reports(self) -> Reports {
        match self {
            IngestError::Refused(reports) => reports,
            IngestError::Io { file, error } => {
                let report = match error.kind() {
                    io::ErrorKind::StorageFull => Report::error("disk-full", "no space left on the disk"),
                    _ => Report::error("unreadable-file", format!("cannot read `{file}`")).note(error.to_string()),
                };
                report.at(Place::file(file)).into()
            }
            IngestError::Sink(error) => match error.downcast::<Report>() {
                Ok(report) => Reports::from(*report),
                Err(error) => match error.downcast::<Reports>() {
                    Ok(reports) => *reports,
                    Err(error) => {
                        Report::error("storage-failed", "rows could not be stored").note(error.to_string()).into()
                    }
                },
            },
        }
    }

    /// The error of a read: the disk's own, or a sign that a compressed file is damaged.
    pub(crate) fn read(file: &InputFile, error: io::Error) -> Self {
        // Decompressors report what they find as errors without a number of the operating system.
        if error.raw_os_error().is_some() || file.compression == Compression::None {
            return IngestError::Io { file: file.path.clone(), error };
        }
        let (archive, ending) = match file.compression {
            Compression::Zstd => ("Zstandard", ".zst"),
            _ => ("gzip", ".gz"),
        };
        let report = match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                unreadable(file, format!("`{}` is cut off in the middle of its {archive} data", file.path))
            }
            _ => unreadable(file, format!("`{}` is not sound {archive} data", file.path))
                .note(format!("its name ends in `{ending}`")),
        };
        report.hint("copy or download the file again").into()
    }
}

impl From<Report> for IngestError {
    fn from(report: Report) -> Self {
        IngestError::Refused(report.into())
    }
}

impl From<Reports> for IngestError {
    fn from(reports: Reports) -> Self {
        IngestError::Refused(reports)
    }
}

/// A report about a file that is wrong as a whole.
pub(crate) fn unreadable(file: &InputFile, message: impl Into<String>) -> Report {
    Report::error("unreadable-data", message).at(Place::file(&file.path))
}

/// What a file's first bytes look like, when they are not text.
pub(crate) fn looks_like(head: &[u8]) -> Option<&'static str> {
    const SIGNS: [(&[u8], &str); 10] = [
        (b"PAR1", "a Parquet file"),
        (&[0x1f, 0x8b], "a gzip archive"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "a Zstandard archive"),
        (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
        (&[0xd0, 0xcf, 0x11, 0xe0], "an old Excel workbook"),
        (b"BZh91AY&SY", "a bzip2 archive"),
        (&[0xfd, b'7', b'z', b'X', b'Z'], "an xz archive"),
        (b"%PDF", "a PDF document"),
        (b"SQLite format 3", "an SQLite database"),
        (b"ARROW1", "an Arrow file"),
    ];
    let is_control = |byte: &u8| *byte < b' ' && !byte.is_ascii_whitespace();
    let has_control = head[..head.len().min(512)].iter().any(is_control);
    let found = SIGNS.iter().find(|(sign, _)| head.starts_with(sign));
    // `PAR1` may well be the name of a column: a sign of letters needs a byte behind it that no text has.
    if let Some((_, what)) = found.filter(|(sign, _)| has_control || !sign.iter().all(|byte| byte.is_ascii_graphic())) {
        return Some(what);
    }
    let head = &head[..head.len().min(512)];
    let zeros = |rest: usize| head.iter().skip(rest).step_by(2).filter(|&&byte| byte == 0).count();
    if head.len() >= 8 && zeros(1).max(zeros(0)) > head.len() / 4 {
        return Some("UTF-16 text");
    }
    head.contains(&0).then_some("binary data")
}
