//! `pelton backfill`: gives an interval table times before its `start`, and publishes them.

use crate::args::Backfill;
use crate::command::{node, run};
use crate::print::Out;
use crate::session::Session;
use pelton_base::{Report, Reports, parse_time_us};
use pelton_runner::RunOptions;

pub(crate) async fn backfill(args: &Backfill, session: &Session, out: &Out) -> Result<u8, Reports> {
    let ctx = session.context()?;
    let wanted = pelton_runner::Backfill {
        node: node(&ctx.project, &args.node)?,
        from_us: time("--from", &args.from)?,
        to_us: time("--to", &args.to)?,
    };
    let (environment, command) = (session.environment.clone(), session.typed.clone());
    let options = RunOptions { environment, command, ..RunOptions::default() };
    let options = pelton_runner::backfill(&ctx, options, wanted)?;
    let ended = run::with_progress(&ctx, options, out).await;
    run::tell(&ctx, session, ended, args.answer.is_json(), out).await
}

fn time(option: &str, text: &str) -> Result<i64, Report> {
    parse_time_us(text).ok_or_else(|| {
        Report::error("invalid-argument", format!("`{option} {text}` is not a date or a time"))
            .hint(format!("{option} 2026-01-01"))
    })
}
