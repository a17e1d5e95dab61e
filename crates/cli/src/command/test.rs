//! `pelton test`: the unit tests, in memory; no warehouse is made, read or changed.

use crate::args::Test;
use crate::print::{Out, tested as page, words};
use crate::session::Session;
use pelton_base::Reports;
use pelton_runner::Tested;

pub(crate) async fn test(args: &Test, session: &Session, out: &Out) -> Result<u8, Reports> {
    let (project, tests) = pelton_project::load_tested(&session.root()?)?;
    // A handful of rows is done sooner by one thread than it is dealt out to several.
    let engine = session.engine_of(&project, 1)?;
    let is_json = args.answer.is_json();
    if tests.list.is_empty() && tests.mistakes.0.is_empty() && args.nodes.is_empty() && !is_json {
        out.note("there are no tests: a test is a file in `tests`, such as `tests/orders.toml`");
    }
    let on_done = |tested: &Tested| {
        if !is_json {
            out.data(page::tested(tested, out.data_style));
        }
    };
    let outcome = pelton_runner::test(&project, tests, engine.as_ref(), &args.nodes, &on_done).await?;
    if is_json {
        out.json(&outcome);
    } else {
        let counts = [(outcome.passed, "passed"), (outcome.failed, "failed")];
        let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        let all = words::counted(outcome.tests.len() as u64, "test");
        let counts = if counts.is_empty() { all } else { format!("{all}: {counts}") };
        let line = match outcome.failed {
            0 => out.data_style.green(&counts),
            _ => out.data_style.red(&counts),
        };
        out.line(format!("{line} in {}", words::elapsed_ms(outcome.elapsed_ms)));
    }
    Ok(outcome.exit_code())
}
