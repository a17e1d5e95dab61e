//! `pelton diff ENV ENV`: what differs between two environments, or two publications.

use crate::args::Diff;
use crate::print::{Out, diff as page};
use crate::session::Session;
use pelton_base::{NodeName, Reports};
use pelton_runner::DiffOptions;

pub(crate) async fn diff(args: &Diff, session: &Session, out: &Out) -> Result<u8, Reports> {
    let (project, _) = session.project_or_settings()?;
    let ctx = session.published_of(project)?;
    let options = DiffOptions {
        left: args.left.clone(),
        right: args.right.clone(),
        select: args.selection.nodes.clone(),
        rows_max: args.rows as usize,
    };
    let on_node = |node: &NodeName| {
        if out.is_note_terminal {
            out.note(format!("comparing the rows of {node}"));
        }
    };
    let compared = pelton_runner::diff(&ctx, &options, &on_node).await?;
    if args.answer.is_json() {
        out.json(&compared);
    } else {
        out.data(page::compared(&compared, out.data_style));
    }
    Ok(u8::from(args.exit_code && !compared.nodes.is_empty()))
}
