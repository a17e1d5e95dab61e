//! `pelton completions SHELL`: a script that the shell loads.

use crate::args::{Arguments, Completions};
use crate::print::Out;
use clap::CommandFactory;
use pelton_base::Reports;

pub(crate) fn completions(args: &Completions, out: &Out) -> Result<u8, Reports> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "pelton", &mut script);
    out.data(script);
    Ok(0)
}
