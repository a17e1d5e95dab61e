//! `pelton quarantine`: the rows that broke a rule, each with its reason and its origin.

use crate::args::Quarantine;
use crate::command::node;
use crate::print::{Out, pages};
use crate::session::Session;
use pelton_base::Reports;
use pelton_serve::json_row;
use serde_json::value::RawValue;

pub(crate) async fn quarantine(args: &Quarantine, session: &Session, out: &Out) -> Result<u8, Reports> {
    let ctx = session.published()?;
    let name = args.node.as_deref().map(|name| node(&ctx.project, name)).transpose()?;
    let (check, limit) = (args.check.as_deref(), args.limit as usize);
    let (total, batches) = pelton_runner::quarantine(&ctx, &session.environment, name.as_ref(), check, limit).await?;
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

#[derive(serde::Serialize)]
struct Answer {
    /// How many rows there are.
    total: u64,
    /// The first of them.
    rows: Vec<Box<RawValue>>,
}
