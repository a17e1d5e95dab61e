//! `pelton show NODE`: everything about a node on one page, or what each of its columns is made from.

use crate::args::Show;
use crate::command::{graph, of_published};
use crate::print::{Out, lineage, pages};
use crate::session::Session;
use pelton_base::{NodeName, Reports};

pub(crate) fn show(args: &Show, session: &Session, out: &Out) -> Result<u8, Reports> {
    if args.columns {
        let project = session.project()?;
        let shown = graph::column_graph(session, &project)?.shown(&NodeName::new(&args.node))?;
        if args.answer.is_json() {
            out.json(&shown);
        } else {
            out.data(lineage::shown(&shown, out.data_style));
        }
        return Ok(0);
    }
    let (project, mistakes) = session.project_or_settings()?;
    let ctx = session.context_to_read(project)?;
    let shown = pelton_runner::show(&ctx, &session.environment, &NodeName::new(&args.node));
    let shown = of_published(shown, mistakes, out)?;
    if args.answer.is_json() {
        out.json(&shown);
    } else {
        out.data(pages::shown(&shown, out.data_style));
    }
    Ok(0)
}
