//! `pelton run`: builds what changed, checks it, publishes it in one step.

use crate::args::Run;
use crate::command::asked_to_stop;
use crate::notify;
use crate::print::progress::Progress;
use crate::print::{Out, outcome};
use crate::session::Session;
use pelton_base::{Report, Reports};
use pelton_runner::{Context, RunOptions, RunOutcome};

pub(crate) async fn run(args: &Run, session: &Session, out: &Out) -> Result<u8, Reports> {
    let ctx = session.context()?;
    let mut options = options(args, session);
    if args.resume {
        options = pelton_runner::resume(&ctx, options)?;
        out.note(outcome::resumed(&options));
    }
    let ended = with_progress(&ctx, options, out).await;
    tell(&ctx, session, ended, args.answer.is_json(), out).await
}

/// Answers how a run ended, and tells those who are to be told.
pub(crate) async fn tell(
    ctx: &Context,
    session: &Session,
    ended: Result<RunOutcome, Reports>,
    is_json: bool,
    out: &Out,
) -> Result<u8, Reports> {
    let (environment, clock) = (session.environment.as_str(), session.clock.as_ref());
    let ended = match ended {
        Ok(ended) => ended,
        Err(reports) => {
            notify::of_run(&ctx.project, environment, Err(&reports), clock, out).await;
            return Err(reports);
        }
    };
    if is_json {
        out.json(&ended);
    } else {
        out.data(outcome::outcome(&ended, out.data_style));
    }
    out.reports(&ended.reports);
    notify::of_run(&ctx.project, environment, Ok(&ended), clock, out).await;
    Ok(ended.exit_code())
}

fn options(args: &Run, session: &Session) -> RunOptions {
    RunOptions {
        environment: session.environment.clone(),
        select: args.selection.nodes.clone(),
        command: session.typed.clone(),
        roll_forward: args.roll_forward,
        ..RunOptions::default()
    }
}

/// Runs and says on stderr what happens, until it is done or the process is asked to stop.
pub(crate) async fn with_progress(ctx: &Context, options: RunOptions, out: &Out) -> Result<RunOutcome, Reports> {
    let names = ctx.project.nodes.keys().map(|name| name.as_str().len()).max().unwrap_or(0);
    let progress = Progress::new(out, names);
    let tell = |event| progress.on(event);
    let ended = tokio::select! {
        ended = pelton_runner::run(ctx, &options, &tell) => ended,
        () = asked_to_stop() => Err(interrupted()),
    };
    progress.finish();
    ended
}

fn interrupted() -> Reports {
    Report::error("interrupted", "the run was interrupted")
        .note("nothing is published halfway; what was built is kept for the next run")
        .hint("pelton run")
        .into()
}
