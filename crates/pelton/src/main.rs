//! The program: makes the runtime, the clock and, when a command asks for it, the engine; the rest is the command line's.

mod allocator;

use pelton_base::{Report, SystemClock, fail};
use pelton_cli::EngineLimits;
use pelton_engine::{Limits, LocalEngine};
use pelton_query::Engine;
use std::sync::Arc;

/// As much as the main thread has: plans of deep queries are walked by recursion.
const STACK_BYTES: usize = 8 << 20;

fn main() {
    allocator::keep_freed_memory();
    pelton_cli::report_panics();
    if let Err(report) = arm_failpoints() {
        std::process::exit(pelton_cli::refuse(report).into());
    }
    // A panic has told of itself; could-not-do-it is 2, whatever the reason.
    let code = std::panic::catch_unwind(run).unwrap_or(2);
    count_failpoints();
    std::process::exit(code.into());
}

/// Arms what `PELTON_FAILPOINT` says, for tests: see `pelton_base::fail`.
fn arm_failpoints() -> Result<(), Report> {
    let armed = std::env::var_os("PELTON_FAILPOINT");
    if armed.is_none() && std::env::var_os(COUNTS).is_none() {
        return Ok(());
    }
    let text = armed.unwrap_or_default().to_string_lossy().into_owned();
    fail::arm(&text).map_err(|reason| {
        Report::error("invalid-argument", "`PELTON_FAILPOINT` does not say where to fail, and how").note(reason)
    })
}

/// Names the file into which a process that ends by itself writes how often it passed each failpoint.
const COUNTS: &str = "PELTON_FAILPOINT_COUNTS";

fn count_failpoints() {
    let Some(path) = std::env::var_os(COUNTS) else { return };
    let lines: String = fail::passed().iter().map(|(name, count)| format!("{name} {count}\n")).collect();
    // Who asked for the counts finds no file, and says so.
    let _ = std::fs::write(path, lines);
}

/// Runs the command; gives the exit code.
fn run() -> u8 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
        .expect("the operating system gives a process a few threads");
    let words = std::env::args_os().collect();
    let code = runtime.block_on(pelton_cli::main(words, Box::new(make_engine), Arc::new(SystemClock)));
    // Without waiting for threads that may be in the middle of a query: what matters is written, the rest may be cut off.
    runtime.shutdown_background();
    code
}

fn make_engine(limits: &EngineLimits) -> Result<Arc<dyn Engine>, Report> {
    let memory_bytes = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
    let limits = Limits { memory_bytes, threads: limits.threads, spill_dir: None };
    LocalEngine::new(&limits)
        .map(|engine| Arc::new(engine) as Arc<dyn Engine>)
        .map_err(|error| error.report("the engine"))
}
