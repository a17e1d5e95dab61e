//! `pelton why NODE`: the newest decisions about a node, each with its reason.

use crate::args::Why;
use crate::command::of_published;
use crate::print::{Out, pages};
use crate::session::Session;
use pelton_base::{NodeName, Reports};

pub(crate) fn why(args: &Why, session: &Session, out: &Out) -> Result<u8, Reports> {
    let (project, mistakes) = session.project_or_settings()?;
    let name = NodeName::new(&args.node);
    let ctx = session.context_to_read(project)?;
    let decisions = of_published(pelton_runner::why(&ctx, &name, args.limit as usize), mistakes, out)?;
    if args.answer.is_json() {
        out.json(&pages::decisions_json(&name, &decisions));
    } else {
        out.data(pages::decisions(&name, &decisions, out.data_style));
    }
    Ok(0)
}
