//! `pelton show NODE`: everything about a node on one page.

use crate::args::Show;
use crate::command::node;
use crate::print::{Out, pages};
use crate::session::Session;
use pelton_base::Reports;

pub(crate) fn show(args: &Show, session: &Session, out: &Out) -> Result<u8, Reports> {
    let project = session.project()?;
    let name = node(&project, &args.node)?;
    let ctx = session.context_of(project)?;
    let shown = pelton_runner::show(&ctx, &session.environment, &name)?;
    if args.answer.is_json() {
        out.json(&shown);
    } else {
        out.data(pages::shown(&shown, out.data_style));
    }
    Ok(0)
}
