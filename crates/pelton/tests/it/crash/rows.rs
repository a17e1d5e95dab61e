//! A reader of rows: a process that asks one SELECT over several tables, again and again, while others publish them together. What it reads
//! must be of one publication: every number in its answer is the same.

use crate::program::{pelton, stderr, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Reads the stamp of each of two tables that are always published together: its least and its greatest in each.
pub(super) const STAMPS: &str = "select (select min(stamp) from stamps_here) as a, (select max(stamp) from stamps_here) as b, \
     (select min(stamp) from stamps_there) as c, (select max(stamp) from stamps_there) as d";

/// The one number that all columns of an answer have, or why it is none of one publication.
pub(crate) fn of_one_publication(answer: &str) -> Result<u64, String> {
    let line = answer.lines().nth(1).ok_or_else(|| format!("no row: {answer}"))?;
    let mut numbers = line.split(',').map(str::parse::<u64>);
    match numbers.next() {
        Some(Ok(first)) if numbers.all(|number| number == Ok(first)) => Ok(first),
        _ => Err(format!("a mixture of publications: {answer}")),
    }
}

/// The reader, at work until it is stopped.
pub(crate) struct RowReader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, String>>,
}

impl RowReader {
    /// Asks the SELECT, one process after the other. The numbers only grow: nobody reads what was there before what was read.
    pub(crate) fn start(project: &Path, select: &'static str) -> Self {
        let (stop, project) = (Arc::new(AtomicBool::new(false)), project.to_path_buf());
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut read, mut newest) = (0, 0);
            // It reads after the last publication too.
            loop {
                let is_last = until.load(Ordering::Relaxed);
                newest = ask(&project, select, newest)?;
                read += 1;
                if is_last {
                    return Ok(read);
                }
            }
        });
        RowReader { stop, thread }
    }

    /// Ends it; fails with what it read that it should not have read. Gives how often it read.
    pub(crate) fn stop(self, what: &str) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join().unwrap() {
            Ok(read) => read,
            Err(read) => panic!("{what}: a reader of rows read {read}"),
        }
    }
}

fn ask(project: &Path, select: &str, newest: u64) -> Result<u64, String> {
    let output = pelton(project, &["query", select, "--format", "csv"]);
    if !output.status.success() {
        return Err(format!("nothing: {}", stderr(&output)));
    }
    let read = of_one_publication(&stdout(&output))?;
    if read < newest { Err(format!("{read} after {newest}")) } else { Ok(read) }
}

#[test]
fn a_mixture_of_two_publications_is_seen_in_the_rows() {
    assert_eq!(of_one_publication("a,b,c,d\n7,7,7,7\n"), Ok(7));
    for mixture in ["a,b,c,d\n7,7,8,8\n", "a,b,c,d\n7,8,7,7\n", "a,b,c,d\n7,7,7,\n", "a,b,c,d\n"] {
        assert!(of_one_publication(mixture).is_err(), "{mixture}");
    }
}

#[test]
fn a_reader_of_rows_fails_when_two_tables_are_not_of_one_publication() {
    use crate::program::write;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), super::scenes::STAMPED);
    assert!(pelton(folder.path(), &["run"]).status.success());
    assert_eq!(ask(folder.path(), STAMPS, 0), Ok(1));
    // One of the tables alone: what a publication by halves would be.
    write(folder.path(), &[("data/stamps.csv", "stamp\n2\n")]);
    assert!(pelton(folder.path(), &["run", "+stamps_here"]).status.success());
    let read = ask(folder.path(), STAMPS, 0).unwrap_err();
    assert!(read.starts_with("a mixture of publications"), "{read}");
}

#[test]
fn a_log_that_shows_what_main_has_not_published_is_seen() {
    use super::owned::{Showing, wrong_logs};
    use crate::program::write;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), super::scenes::STAMPED);
    assert!(pelton(folder.path(), &["run"]).status.success());
    let warehouse = folder.path().join("warehouse");
    assert_eq!(wrong_logs(&warehouse, Showing::Now), Vec::<String>::new());
    let add = "{\"add\":{\"path\":\"other.parquet\"}}\n";
    write(&warehouse, &[("tables/stamps_here/_delta_log/00000000000000000001.json", add)]);
    let wrong = wrong_logs(&warehouse, Showing::Ever);
    assert!(wrong.iter().any(|wrong| wrong.contains("the log of `stamps_here` shows")), "{wrong:?}");
    assert!(wrong.iter().any(|wrong| wrong.contains("other.parquet, which is not there")), "{wrong:?}");
}
