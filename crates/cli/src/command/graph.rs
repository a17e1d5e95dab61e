//! `pelton graph`: which node reads which, which column is made from which, or what depends on a column. Reads no data.

use crate::args::{Graph, GraphFormat};
use crate::print::{Out, lineage};
use crate::session::Session;
use pelton_base::Reports;
use pelton_project::Project;
use pelton_runner::ColumnGraph;
use pelton_store::Warehouse;

pub(crate) fn graph(args: &Graph, session: &Session, out: &Out) -> Result<u8, Reports> {
    let project = session.project()?;
    match &args.impact {
        Some(column) => {
            let impact = column_graph(session, &project)?.impact(column)?;
            match args.format {
                GraphFormat::Text => out.data(lineage::impact(&impact, out.data_style)),
                GraphFormat::Mermaid => out.data(lineage::Drawing::of_impact(&impact).mermaid()),
                GraphFormat::Dot => out.data(lineage::Drawing::of_impact(&impact).dot()),
                GraphFormat::Json => out.json(&impact),
            }
        }
        None if args.columns => {
            let nodes = column_graph(session, &project)?.origins();
            match args.format {
                GraphFormat::Text => out.data(lineage::columns(&nodes, out.data_style)),
                GraphFormat::Mermaid => out.data(lineage::Drawing::of_columns(&nodes).mermaid()),
                GraphFormat::Dot => out.data(lineage::Drawing::of_columns(&nodes).dot()),
                GraphFormat::Json => out.json(&serde_json::json!({ "nodes": nodes })),
            }
        }
        None => out.data(match args.format {
            GraphFormat::Text => pelton_project::graph_text(&project),
            GraphFormat::Mermaid => pelton_project::graph_mermaid(&project),
            GraphFormat::Dot => pelton_project::graph_dot(&project),
            GraphFormat::Json => pelton_project::graph_json(&project),
        }),
    }
    Ok(0)
}

/// What each column of a project is made from. The warehouse, when there is one, knows the columns that sources do not declare.
pub(crate) fn column_graph(session: &Session, project: &Project) -> Result<ColumnGraph, Reports> {
    let engine = session.engine(project)?;
    let folder = project.root.join(&project.settings.warehouse);
    let warehouse = Warehouse::open_existing(&folder).map_err(|error| error.report())?;
    pelton_runner::lineage(project, engine.as_ref(), warehouse.as_ref())
}
