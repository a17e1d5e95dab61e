//! `pelton verify`: says whether everything in the warehouse is as it was written, and mends it with `--repair`.

use crate::args::Verify;
use crate::print::{Out, verified as page};
use crate::session::Session;
use pelton_base::Reports;
use pelton_runner::VerifyOptions;

pub(crate) async fn verify(args: &Verify, session: &Session, out: &Out) -> Result<u8, Reports> {
    // A repair asks how each node is built; to look, the settings are enough while a file has a mistake.
    let project = if args.repair { session.project()? } else { session.project_or_settings()?.0 };
    let ctx = session.published_of(project)?;
    let options = VerifyOptions {
        repair: args.repair,
        rows: args.rows,
        environment: session.environment.clone(),
        command: session.typed.clone(),
    };
    let verified = pelton_runner::verify(&ctx, &options).await?;
    if args.answer.is_json() {
        out.json(&verified);
    } else {
        out.data(page::verified(&verified, args.rows, out.data_style));
    }
    out.reports(&verified.reports);
    Ok(verified.exit_code())
}
