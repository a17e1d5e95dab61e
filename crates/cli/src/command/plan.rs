//! `pelton plan`: what a run would do, and why; nothing is built.

use crate::args::Plan;
use crate::print::{Out, pages};
use crate::session::Session;
use pelton_base::Reports;
use pelton_runner::RunOptions;

pub(crate) async fn plan(args: &Plan, session: &Session, out: &Out) -> Result<u8, Reports> {
    let ctx = session.context_to_read(session.project()?)?;
    let options = RunOptions {
        environment: session.environment.clone(),
        select: args.selection.nodes.clone(),
        command: session.typed.clone(),
        ..RunOptions::default()
    };
    let planned = pelton_runner::plan(&ctx, &options).await?;
    if args.answer.is_json() {
        out.json(&planned);
    } else {
        out.data(pages::planned(&planned, out.data_style));
    }
    out.reports(&planned.reports);
    Ok(planned.reports.exit_code().max(u8::from(args.exit_code && planned.changes_anything())))
}
