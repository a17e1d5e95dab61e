//! `pelton publish ENV`: everything of an environment goes to another one, in one step.

use crate::args::Publish;
use crate::notify;
use crate::print::{Out, environments};
use crate::session::Session;
use pelton_base::Reports;
use pelton_runner::PublishOptions;

pub(crate) async fn publish(args: &Publish, session: &Session, out: &Out) -> Result<u8, Reports> {
    let ctx = session.published_of(session.project()?)?;
    let options = PublishOptions {
        from: args.from.clone(),
        to: args.to.clone().unwrap_or_else(|| session.environment.clone()),
        force: args.force,
        command: session.typed.clone(),
    };
    let moved = pelton_runner::publish(&ctx, &options).await?;
    if args.answer.is_json() {
        out.json(&moved);
    } else {
        out.data(environments::moved(&moved, out.data_style));
    }
    out.reports(&moved.reports);
    notify::of_move(&ctx.project, &moved, session.clock.as_ref(), out).await;
    Ok(moved.exit_code())
}
