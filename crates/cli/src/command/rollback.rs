//! `pelton rollback`: an environment goes back to an earlier publication, in one step; `--list` says which there are.

use crate::args::Rollback;
use crate::command::publish;
use crate::print::{Out, environments};
use crate::session::Session;
use pelton_base::Reports;
use pelton_runner::RollbackOptions;

pub(crate) async fn rollback(args: &Rollback, session: &Session, out: &Out) -> Result<u8, Reports> {
    let ctx = session.published()?;
    if args.list {
        let publications = pelton_runner::publications(&ctx, &session.environment)?;
        if args.answer.is_json() {
            out.json(&environments::publications_json(&session.environment, &publications));
        } else {
            out.data(environments::publications(&publications, out.data_style));
        }
        return Ok(0);
    }
    let options =
        RollbackOptions { environment: session.environment.clone(), to: args.to, command: session.typed.clone() };
    let moved = pelton_runner::rollback(&ctx, &options).await?;
    Ok(publish::tell(&ctx, session, &moved, args.answer.is_json(), out).await)
}
