//! `append`: the rows that the SELECT gives for what its inputs got are added to the table.

use super::base::{Base, grown};
use super::intervals::Times;
use super::{Before, Rows, Stop, Work};
use pelton_base::thousands;

pub(crate) async fn build(work: &Work<'_>, base: &Base, before: &Before) -> Result<Rows, Stop> {
    let locality = work.locality(&work.sql)?;
    let additive = locality.additive.map_err(Stop::Anew)?;
    let changed = base.changed(work, before, &locality.inputs)?;
    for input in &changed {
        if !additive.contains(&input.name) {
            return Err(Stop::Anew(format!("`{}` changed, which rows of other tables are looked up in", input.name)));
        }
        if !input.only_grew() {
            return Err(Stop::Anew(format!("rows of `{}` changed or went away", input.name)));
        }
    }
    work.building.progress(&work.node.name, "adding rows");
    let staged = match changed.is_empty() {
        true => Vec::new(),
        false => work.stage(&grown(work, &additive, &changed), &work.sql, "").await?,
    };
    let rows: u64 = staged.iter().map(|file| file.rows).sum();
    let files = before.version.files.iter().chain(&staged).cloned().collect();
    let how = Some(added(rows));
    Ok(Rows { schema: work.schema.clone(), files, staged, how, memory: Some(base.memory(Times::default())) })
}

/// What was done, for people.
pub(crate) fn added(rows: u64) -> String {
    format!("{} added", thousands(rows))
}
