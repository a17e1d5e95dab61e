//! `pelton publish ENV`: everything of an environment goes to another one, in one step.

use crate::args::Publish;
use crate::notify;
use crate::print::{Out, environments};
use crate::session::Session;
use pelton_base::Reports;
use pelton_runner::{Context, Moved, PublishOptions};

pub(crate) async fn publish(args: &Publish, session: &Session, out: &Out) -> Result<u8, Reports> {
    let ctx = session.published_of(session.project()?)?;
    let options = PublishOptions {
        from: args.from.clone(),
        to: args.to.clone().unwrap_or_else(|| session.environment.clone()),
        force: args.force,
        command: session.typed.clone(),
    };
    let moved = pelton_runner::publish(&ctx, &options).await?;
    Ok(tell(&ctx, session, &moved, args.answer.is_json(), out).await)
}

/// Tells how an environment took other versions; gives the exit code.
pub(crate) async fn tell(ctx: &Context, session: &Session, moved: &Moved, is_json: bool, out: &Out) -> u8 {
    if is_json {
        out.json(moved);
    } else {
        out.data(environments::moved(moved, out.data_style));
    }
    out.reports(&moved.reports);
    notify::of_move(&ctx.project, moved, session.clock.as_ref(), out).await;
    moved.exit_code()
}
