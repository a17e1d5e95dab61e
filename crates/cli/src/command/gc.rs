//! `pelton gc`: names what nobody needs and why, and removes it with `--yes`.

use crate::args::Gc;
use crate::print::{Out, gc as page};
use crate::session::Session;
use pelton_base::Reports;
use pelton_runner::GcOptions;

pub(crate) async fn gc(args: &Gc, session: &Session, out: &Out) -> Result<u8, Reports> {
    let ctx = session.published()?;
    let options = GcOptions {
        keep_us: args.keep,
        publications: args.keep_publications,
        remove: args.yes && !args.dry_run,
        environment: session.environment.clone(),
        command: session.typed.clone(),
    };
    let collected = pelton_runner::gc(&ctx, &options).await?;
    if args.answer.is_json() {
        out.json(&collected);
    } else {
        out.data(page::collected(&collected, out.data_style));
    }
    out.reports(&collected.reports);
    Ok(collected.reports.exit_code())
}
