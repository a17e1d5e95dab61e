//! `pelton quarantine`: the rows that broke a rule, each with its reason and its origin; and their way back.

use crate::args::{Quarantine, QuarantineAction, Replay};
use crate::command::{node, of_published, query, run};
use crate::print::{Out, pages};
use crate::session::Session;
use pelton_base::{NodeName, Report, Reports, RunId};
use pelton_runner::{QuarantineOptions, Quarantined, RunOptions};
use pelton_serve::json_row;
use serde_json::value::RawValue;

pub(crate) async fn quarantine(args: &Quarantine, session: &Session, out: &Out) -> Result<u8, Reports> {
    if let Some(QuarantineAction::Replay(args)) = &args.action {
        return replay(args, session, out).await;
    }
    let (project, mistakes) = session.project_or_settings()?;
    let ctx = session.published_of(project)?;
    let name = args.node.as_deref().map(NodeName::new);
    let run = args.run.clone().map(RunId);
    let options = QuarantineOptions { node: name.as_ref(), check: args.check.as_deref(), run: run.as_ref() };
    if let Some(path) = &args.output {
        let rows = pelton_runner::quarantine_rows(&ctx, &session.environment, options).await;
        let (rows, note) = of_published(rows, mistakes, out)?;
        note.iter().for_each(|note| out.note(note));
        let Some(format) = query::by_ending(path) else {
            let report =
                Report::error("invalid-argument", format!("the ending of `{}` names no format", path.display()));
            return Err(report.hint("pelton quarantine --output rows.ndjson").into());
        };
        query::to_file(rows, format, path, out).await?;
        return Ok(0);
    }
    let found = pelton_runner::quarantine(&ctx, &session.environment, options, args.limit as usize).await;
    let Quarantined { total, batches, note } = of_published(found, mistakes, out)?;
    note.iter().for_each(|note| out.note(note));
    if args.answer.is_json() {
        let rows: Vec<Box<RawValue>> = batches
            .iter()
            .flat_map(|batch| (0..batch.num_rows()).map(|row| json_row(batch, row)))
            .filter_map(|row| RawValue::from_string(row).ok())
            .collect();
        out.json(&Answer { total, rows });
    } else {
        out.data(pages::quarantined(total, &batches, out.data_style));
    }
    Ok(0)
}

async fn replay(args: &Replay, session: &Session, out: &Out) -> Result<u8, Reports> {
    let ctx = session.published_of(session.project()?)?;
    let wanted = pelton_runner::Replay {
        node: node(&ctx.project, &args.node)?,
        check: args.check.clone(),
        repaired: args.file.as_deref().map(pelton_runner::read_repaired).transpose()?,
    };
    let (environment, command) = (session.environment.clone(), session.typed.clone());
    let options = RunOptions { environment, command, ..RunOptions::default() };
    let options = pelton_runner::replay(&ctx, options, wanted).await?;
    let ended = run::with_progress(&ctx, options, out).await;
    run::tell(&ctx, session, ended, args.answer.is_json(), out).await
}

#[derive(serde::Serialize)]
struct Answer {
    /// How many rows there are.
    total: u64,
    /// The first of them.
    rows: Vec<Box<RawValue>>,
}
