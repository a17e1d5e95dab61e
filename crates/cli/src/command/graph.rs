//! `pelton graph`: which node reads which. Needs neither engine nor warehouse.

use crate::args::{Graph, GraphFormat};
use crate::print::Out;
use crate::session::Session;
use pelton_base::Reports;

pub(crate) fn graph(args: &Graph, session: &Session, out: &Out) -> Result<u8, Reports> {
    let project = session.project()?;
    out.data(match args.format {
        GraphFormat::Text => pelton_project::graph_text(&project),
        GraphFormat::Mermaid => pelton_project::graph_mermaid(&project),
        GraphFormat::Dot => pelton_project::graph_dot(&project),
        GraphFormat::Json => pelton_project::graph_json(&project),
    });
    Ok(0)
}
