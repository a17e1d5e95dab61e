//! The example of `pelton demo`: a simulated year of card payments with the dirt of real exports, and the project that turns
//! it into a fraud endpoint.
//!
//! [`write()`] makes a folder of both. The bytes depend on the number of payments and the seed alone. Memory is bounded by two
//! months of payments.

mod calendar;
mod chargebacks;
mod entities;
mod payments;
mod project;
mod random;
mod sample;
mod text;
mod transactions;
mod world;

pub use project::PROJECT_FILES;
pub use sample::{SampleRequest, sample_request};

use pelton_base::Report;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use transactions::MonthWritten;
use world::World;

/// Fewer payments than this have too little fraud in them to learn anything.
pub const ROWS_MIN: u64 = 1_000;
/// More than this do not fit the ids of the files.
pub const ROWS_MAX: u64 = 80_000_000;
/// Months that are simulated at a time; each holds its payments in memory.
const WRITERS: usize = 2;

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many payments. Default 500,000.
    pub rows: u64,
    /// The seed. Default 42.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { rows: 500_000, seed: 42 }
    }
}

/// What [`write()`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// All files, project and data, in a fixed order.
    pub files: Vec<WrittenFile>,
    /// Payments that happened.
    pub rows: u64,
    /// Those that were fraud, reported or not.
    pub frauds: u64,
    /// Chargebacks within the year.
    pub chargebacks: u64,
    /// Customers.
    pub customers: u64,
    /// Merchants.
    pub merchants: u64,
    /// The dirt in the files of payments.
    pub dirt: Dirt,
    /// Payments to ask the endpoint about.
    pub sample: SampleRequest,
}

/// A file of the example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenFile {
    /// Its path, relative to the folder, with `/`.
    pub path: String,
    /// How many lines it has, the header included.
    pub lines: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

/// How much of which dirt is in the files of payments; no payment has two kinds of the first seven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dirt {
    /// Lines that repeat an id that another line has: refused by the source's key.
    pub duplicate_ids: u64,
    /// Amounts written `"12,50"`: refused by the source's declared type.
    pub decimal_commas: u64,
    /// Lines that end too early: refused by the source.
    pub cut_off_lines: u64,
    /// Lines with two fields too many: refused by the source.
    pub extra_field_lines: u64,
    /// Payments at merchants that are not in the list: refused by a check of `payments`.
    pub unknown_merchants: u64,
    /// Amounts written `N/A`: refused by a check of `payments`.
    pub missing_amounts: u64,
    /// Amounts of 9,999,999.99: refused by a check of `payments`.
    pub impossible_amounts: u64,
    /// Channels in capitals: `payments` writes them small.
    pub mixed_case_channels: u64,
    /// Payments of June that arrive in a file of September: taken in as any other.
    pub late_rows: u64,
}

impl Dirt {
    /// Rows that the source `transactions` sends to quarantine.
    pub fn refused_by_source(&self) -> u64 {
        self.duplicate_ids + self.decimal_commas + self.cut_off_lines + self.extra_field_lines
    }

    /// Rows that the checks of the table `payments` send to quarantine.
    pub fn refused_by_checks(&self) -> u64 {
        self.unknown_merchants + self.missing_amounts + self.impossible_amounts
    }

    fn add(&mut self, other: &Dirt) {
        self.duplicate_ids += other.duplicate_ids;
        self.decimal_commas += other.decimal_commas;
        self.cut_off_lines += other.cut_off_lines;
        self.extra_field_lines += other.extra_field_lines;
        self.unknown_merchants += other.unknown_merchants;
        self.missing_amounts += other.missing_amounts;
        self.impossible_amounts += other.impossible_amounts;
        self.mixed_case_channels += other.mixed_case_channels;
        self.late_rows += other.late_rows;
    }
}

/// Why the example could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The number of payments is out of range.
    #[error("the demo has {ROWS_MIN} to {ROWS_MAX} payments, not {rows}")]
    Rows {
        /// The number asked for.
        rows: u64,
    },
    /// There are files already.
    #[error("folder `{folder}` is not empty")]
    NotEmpty {
        /// The folder.
        folder: String,
    },
    /// The operating system refused.
    #[error("cannot write `{path}`")]
    Write {
        /// The file, relative to the folder.
        path: String,
        /// Its reason.
        source: std::io::Error,
    },
}

impl DemoError {
    /// The report of this error.
    pub fn report(&self) -> Report {
        match self {
            DemoError::Rows { .. } => Report::error("invalid-value", self.to_string()),
            DemoError::NotEmpty { .. } => Report::error("folder-not-empty", self.to_string())
                .note("nothing was written")
                .hint("choose another folder with `--dir`"),
            DemoError::Write { source, .. } => {
                Report::error("unreadable-file", self.to_string()).note(source.to_string())
            }
        }
    }
}

/// Writes the project and its data into `folder`, which must be empty or not exist; says what it does through `progress`.
///
/// The same options give the same bytes, on any machine and at any time.
pub fn write(folder: &Path, options: &Options, progress: &dyn Fn(&str)) -> Result<Written, DemoError> {
    if !(ROWS_MIN..=ROWS_MAX).contains(&options.rows) {
        return Err(DemoError::Rows { rows: options.rows });
    }
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(DemoError::NotEmpty { folder: folder.display().to_string() });
    }
    let mut files = Vec::new();
    for (path, text) in PROJECT_FILES {
        files.push(write_text(folder, path, text)?);
    }
    let world = World::new(options);
    let sample = sample::sample(&world);
    for (name, row) in [("normal", &sample.normal), ("suspicious", &sample.suspicious)] {
        files.push(write_text(folder, &format!("requests/{name}.json"), &format!("{{\"rows\": [{row}]}}\n"))?);
    }
    progress("customers and merchants");
    files.push(entities::write_customers(&world, folder)?);
    files.push(entities::write_merchants(&world, folder)?);

    let (mut dirt, mut frauds, mut chargebacks, mut late) = (Dirt::default(), 0, Vec::new(), Vec::new());
    for month in write_months(&world, options, folder, progress)? {
        dirt.add(&month.dirt);
        frauds += month.frauds;
        files.push(month.file);
        chargebacks.extend(month.chargebacks);
        late.extend(month.late);
    }
    files.push(transactions::write_late(&late, folder)?);
    progress("chargebacks");
    let count = chargebacks.len() as u64;
    files.extend(chargebacks::write(chargebacks, folder)?);
    let (customers, merchants) = (world.customers.len() as u64, world.merchants.len() as u64);
    Ok(Written { files, rows: options.rows, frauds, chargebacks: count, customers, merchants, dirt, sample })
}

fn write_text(folder: &Path, path: &str, text: &str) -> Result<WrittenFile, DemoError> {
    let failed = |source| DemoError::Write { path: path.to_string(), source };
    let full = folder.join(path);
    if let Some(parent) = full.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    std::fs::write(&full, text).map_err(failed)?;
    Ok(WrittenFile { path: path.to_string(), lines: text.lines().count() as u64, bytes: text.len() as u64 })
}

/// Simulates and writes the months, [`WRITERS`] at a time; returns them in their order.
fn write_months(
    world: &World,
    options: &Options,
    folder: &Path,
    progress: &dyn Fn(&str),
) -> Result<Vec<MonthWritten>, DemoError> {
    let months = calendar::months(options.rows);
    let next = AtomicUsize::new(0);
    // At most one message a month waits.
    let (send, receive) = mpsc::sync_channel(months.len());
    let mut written: Vec<Option<MonthWritten>> = months.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            let (send, months, next) = (send.clone(), &months, &next);
            scope.spawn(move || {
                while let Some((i, month)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, months.get(i)?)))
                {
                    if send.send((i, transactions::write_month(world, month, folder))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for (i, month) in receive {
            let month = month?;
            progress(&month.file.path);
            written[i] = Some(month);
        }
        Ok(())
    })?;
    Ok(written.into_iter().map(|month| month.expect("every month was sent or its error returned")).collect())
}

#[cfg(test)]
mod tests;
