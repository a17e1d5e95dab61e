//! Failpoints: named moments at which a test lets this process die, wait, or fail at a write.
//!
//! They are always compiled in, so that what is tested is what is shipped; until [`arm`] is called, passing one costs one load of
//! an atomic. Nothing here reads the environment: `main` reads `PELTON_FAILPOINT` and hands it on. The crash campaign of
//! `crates/pelton/tests/it/crash` goes through [`ALL`], and fails when one of them is reached by none of its runs.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

macro_rules! points {
    ($($point:ident $name:literal $when:literal)*) => {
        /// A moment at which a process may die.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $(#[doc = $when] $point),*
        }

        /// All failpoints: the point, its name, and when it is passed.
        pub const ALL: &[(Point, &str, &str)] = &[$((Point::$point, $name, $when)),*];
    };
}

points! {
    LockTaken "lock.taken" "The run lock is held, and nothing was done with it yet."
    StateCreate "state.create" "The tables of a new state database are about to be committed."
    StateWrite "state.write" "A transaction of the state database is about to be committed."
    StateWritten "state.written" "A transaction of the state database was committed."
    StageFile "stage.file" "A Parquet file is about to be written: rows, quarantined rows, predictions."
    StageFiles "stage.files" "All Parquet files of a table are on the disk, and nothing names them yet."
    StageDiscard "stage.discard" "A staged file that will not be committed is about to be deleted."
    StageClean "stage.clean" "What a dead run staged is about to be deleted."
    DeltaCommit "delta.commit" "A commit is about to be written to a Delta log."
    DeltaCommitted "delta.committed" "A commit was written to a Delta log, and the state database does not know of it."
    ArtifactWrite "artifact.write" "A model, a package or a card is about to be written."
    ArtifactPlace "artifact.place" "An artifact is written beside its place, and about to be put into it."
    OnlineWrite "online.write" "Rows of an online store are about to be committed to its unfinished file."
    OnlinePlace "online.place" "An online store is written beside its place, and about to be put into it."
    TypesWrite "types.write" "The types of tables are written beside their place, and about to be put into it."
    ReplayRows "replay.rows" "Replayed rows and the rest of their quarantine are staged, and no version names them yet."
    PublicationWrite "publication.write" "An environment's map is replaced in a transaction that is not committed yet."
    PublicationWritten "publication.written" "A publication was committed."
    EnvironmentPublish "environment.publish" "An environment is about to be published to another one."
    EnvironmentRollback "environment.rollback" "An environment is about to go back to an earlier publication."
    GcForget "gc.forget" "gc is about to forget versions and publications."
    GcFile "gc.file" "gc is about to delete a file that nothing names."
    RepairAside "repair.aside" "A Delta log that cannot be read is about to be put aside."
    RepairDelete "repair.delete" "A damaged online store is about to be deleted, to be made anew."
    LogSegment "log.segment" "A segment of the prediction log is written beside its place, and about to be put into it."
    LogAppend "log.append" "Predictions are about to be written to the log."
    LogAppended "log.appended" "Predictions are in the log, and not answered yet."
    DrainSettle "drain.settle" "A segment of the prediction log is in its table, and about to be deleted."
}

impl Point {
    /// The name by which it is armed.
    pub fn name(self) -> &'static str {
        ALL[self as usize].1
    }
}

/// What happens at an armed failpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// The process dies at once, as by `kill -9`: nothing is flushed, nothing is dropped.
    Abort,
    /// The process waits there for ever, until somebody kills it.
    Stop,
    /// The write fails in this way; so do later ones when told to.
    Error { kind: io::ErrorKind, always: bool },
}

/// A failpoint with what is to happen when it is passed for the `nth` time.
#[derive(Debug, Clone, Copy)]
struct Armed {
    point: Point,
    action: Action,
    nth: u64,
}

struct Plan {
    armed: Vec<Armed>,
    passed: Vec<AtomicU64>,
}

static IS_ARMED: AtomicBool = AtomicBool::new(false);
static PLAN: OnceLock<Plan> = OnceLock::new();

/// Arms failpoints for the rest of the process, and counts how often each is passed.
///
/// `text` has parts `NAME=ACTION@N` separated by commas: the action happens when the failpoint is passed for the Nth time, the
/// first without `@N`. Actions are `abort`, `stop`, `error` (the storage does not answer), `full` (there is no space left), and `error-on` and
/// `full-on` for this time and all later ones. An empty text only counts. Fails with what is wrong with the text.
pub fn arm(text: &str) -> Result<(), String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let armed = parts.map(parse).collect::<Result<Vec<_>, _>>()?;
    let passed = ALL.iter().map(|_| AtomicU64::new(0)).collect();
    PLAN.set(Plan { armed, passed }).map_err(|_| "failpoints are armed once".to_string())?;
    IS_ARMED.store(true, Ordering::Release);
    Ok(())
}

/// How often each failpoint was passed since they were armed.
pub fn passed() -> Vec<(&'static str, u64)> {
    let count = |at: usize| PLAN.get().map_or(0, |plan| plan.passed[at].load(Ordering::Relaxed));
    ALL.iter().enumerate().map(|(at, (_, name, _))| (*name, count(at))).collect()
}

/// Passes a failpoint before a write, which may be made to fail.
#[inline]
pub fn before(point: Point) -> io::Result<()> {
    if IS_ARMED.load(Ordering::Acquire) { reached(point) } else { Ok(()) }
}

/// Passes a failpoint after a write: it is done, so it cannot fail any more.
#[inline]
pub fn after(point: Point) {
    if IS_ARMED.load(Ordering::Acquire) {
        let _ = reached(point);
    }
}

#[cold]
fn reached(point: Point) -> io::Result<()> {
    let Some(plan) = PLAN.get() else { return Ok(()) };
    let count = plan.passed[point as usize].fetch_add(1, Ordering::Relaxed) + 1;
    for armed in plan.armed.iter().filter(|armed| armed.point == point) {
        match armed.action {
            Action::Abort if armed.nth == count => std::process::abort(),
            Action::Stop if armed.nth == count => loop {
                std::thread::park();
            },
            Action::Error { kind, always } if armed.nth == count || (always && armed.nth < count) => {
                let message = format!("failpoint `{}` was told to fail", point.name());
                return Err(io::Error::new(kind, message));
            }
            _ => {}
        }
    }
    Ok(())
}

fn parse(part: &str) -> Result<Armed, String> {
    let (name, action) = part.split_once('=').ok_or_else(|| format!("`{part}` is not written as NAME=ACTION"))?;
    let (action, nth) = match action.split_once('@') {
        Some((action, nth)) => (action, nth.parse().ok().filter(|nth| *nth > 0)),
        None => (action, Some(1)),
    };
    let nth = nth.ok_or_else(|| format!("`{part}`: what follows `@` is not a number from 1"))?;
    let known = ALL.iter().find(|(_, known, _)| *known == name);
    let point = known.ok_or_else(|| format!("there is no failpoint `{name}`"))?.0;
    let action = match action {
        "abort" => Action::Abort,
        "stop" => Action::Stop,
        "error" => Action::Error { kind: io::ErrorKind::TimedOut, always: false },
        "error-on" => Action::Error { kind: io::ErrorKind::TimedOut, always: true },
        "full" => Action::Error { kind: io::ErrorKind::StorageFull, always: false },
        "full-on" => Action::Error { kind: io::ErrorKind::StorageFull, always: true },
        other => {
            return Err(format!("`{other}` is none of `abort`, `stop`, `error`, `error-on`, `full` and `full-on`"));
        }
    };
    Ok(Armed { point, action, nth })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_in_the_list_at_their_own_place_under_one_name() {
        for (at, (point, name, when)) in ALL.iter().enumerate() {
            assert_eq!(*point as usize, at);
            assert_eq!(point.name(), *name);
            assert!(ALL[..at].iter().all(|(_, other, _)| other != name), "{name} twice");
            assert!(when.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn what_is_armed_is_read_or_refused() {
        let armed = parse("stage.file=error@3").unwrap();
        let once = Action::Error { kind: io::ErrorKind::TimedOut, always: false };
        assert_eq!((armed.point, armed.action, armed.nth), (Point::StageFile, once, 3));
        let full = Action::Error { kind: io::ErrorKind::StorageFull, always: true };
        assert_eq!(parse("state.write=full-on").unwrap().action, full);
        assert_eq!(parse("stage.file=abort").unwrap().nth, 1);
        for (text, says) in [
            ("stage.file", "NAME=ACTION"),
            ("stage.fiel=abort", "no failpoint `stage.fiel`"),
            ("stage.file=explode", "`explode` is none of"),
            ("stage.file=abort@0", "number from 1"),
            ("stage.file=abort@x", "number from 1"),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }

    #[test]
    fn nothing_happens_and_nothing_is_counted_until_it_is_armed() {
        // Nothing in this process arms a failpoint: the campaign arms those of processes of its own.
        before(Point::StageFile).unwrap();
        after(Point::StateWritten);
        assert!(passed().iter().all(|(_, count)| *count == 0));
    }
}
