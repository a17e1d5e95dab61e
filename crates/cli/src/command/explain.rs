//! `pelton explain CODE`: what a report's code means, why Pelton insists, what to do.

use crate::args::Explain;
use crate::print::{Out, pages};
use pelton_base::codes::{self, Code};
use pelton_base::{Report, Reports};

pub(crate) fn explain(args: &Explain, out: &Out) -> Result<u8, Reports> {
    let Some(word) = &args.code else {
        if args.answer.is_json() {
            out.json(&codes::ALL.iter().map(json).collect::<Vec<_>>());
        } else {
            out.data(pages::codes(out.data_style));
        }
        return Ok(0);
    };
    // As it stands in a report: `error[unknown-column]`.
    let word = word.rsplit_once('[').map_or(word.as_str(), |(_, code)| code.trim_end_matches(']'));
    let Some(code) = codes::find(word) else {
        return Err(Report::error("unknown-code", format!("there is no code `{word}`"))
            .suggest(word, codes::ALL.iter().map(|code| code.code))
            .hint("pelton explain")
            .into());
    };
    if args.answer.is_json() {
        out.json(&json(code));
    } else {
        out.data(pages::code(code, out.data_style));
    }
    Ok(0)
}

fn json(code: &Code) -> serde_json::Value {
    serde_json::json!({
        "code": code.code,
        "kind": code.kind,
        "exit_code": code.kind.exit_code(),
        "http_status": code.kind.http_status(),
        "what": code.what,
        "why": code.why,
    })
}
