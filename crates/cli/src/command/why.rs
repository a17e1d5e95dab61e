//! `pelton why NODE`: the newest decisions about a node, each with its reason.

use crate::args::Why;
use crate::command::node;
use crate::print::{Out, pages};
use crate::session::Session;
use pelton_base::Reports;

pub(crate) fn why(args: &Why, session: &Session, out: &Out) -> Result<u8, Reports> {
    let project = session.project()?;
    let name = node(&project, &args.node)?;
    let ctx = session.context_of(project)?;
    let decisions = pelton_runner::why(&ctx, &name, args.limit as usize)?;
    if args.answer.is_json() {
        out.json(&pages::decisions_json(&name, &decisions));
    } else {
        out.data(pages::decisions(&name, &decisions, out.data_style));
    }
    Ok(0)
}
