//! `pelton check`: every file, every column, up to what each endpoint wants and answers; no data is read.

use crate::args::Check;
use crate::print::{Out, checked};
use crate::session::Session;
use pelton_base::Reports;
use pelton_store::Warehouse;

pub(crate) fn check(args: &Check, session: &Session, out: &Out) -> Result<u8, Reports> {
    let (project, tests) = pelton_project::load_tested(&session.root()?)?;
    let engine = session.engine(&project)?;
    let folder = project.root.join(&project.settings.warehouse);
    let warehouse = Warehouse::open_existing(&folder).map_err(|error| error.report())?;
    let found = pelton_runner::check(&project, &tests, engine.as_ref(), warehouse.as_ref())?;
    if args.answer.is_json() {
        out.json(&found);
    } else {
        out.data(checked::checked(&found, out.data_style));
    }
    out.reports(&found.warnings);
    let code = found.warnings.exit_code();
    // The process ends; what is freed piece by piece now is waited for.
    std::mem::forget((project, tests, found));
    Ok(code)
}
