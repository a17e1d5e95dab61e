//! The program: makes the runtime, the clock and, when a command asks for it, the engine; the rest is the command line's.

use pelton_base::{Report, SystemClock};
use pelton_cli::EngineLimits;
use pelton_engine::{Limits, LocalEngine};
use pelton_query::Engine;
use std::sync::Arc;

/// As much as the main thread has: plans of deep queries are walked by recursion.
const STACK_BYTES: usize = 8 << 20;

fn main() {
    pelton_cli::report_panics();
    // A panic has told of itself; could-not-do-it is 2, whatever the reason.
    std::process::exit(std::panic::catch_unwind(run).unwrap_or(2).into());
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
