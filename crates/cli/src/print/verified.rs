//! What `verify` looked at and found, on a page.

use super::sheet::Sheet;
use super::style::Style;
use super::words;
use pelton_runner::{Became, Remedy, Verified};

/// How many findings are shown; `--format json` has all.
const LINES_MAX: usize = 50;

/// What was looked at and found.
pub(crate) fn verified(verified: &Verified, rows: bool, style: Style) -> String {
    let mut text = String::new();
    let mut sheet = Sheet::new().indent(2);
    for finding in verified.findings.iter().take(LINES_MAX) {
        let became = match (finding.became, finding.remedy) {
            (Became::Repaired, _) => "repaired",
            (Became::Marked, _) => "the next run that needs it builds it again",
            (Became::Found | Became::Left, Remedy::Restore) => "only a copy of it helps",
            (Became::Left, _) => "could not be repaired",
            (Became::Found, Remedy::Rebuild) => "`--repair` has the next run that needs it build it again",
            (Became::Found, _) => "`--repair` makes it anew",
        };
        let whose = match (&finding.node, &finding.version) {
            (Some(node), Some(version)) => format!("{node} {version}"),
            (Some(node), None) => node.to_string(),
            (None, _) => "-".into(),
        };
        sheet.row([whose, format!("{} {}", finding.path, finding.problem), became.to_string()]);
    }
    if !sheet.is_empty() {
        text.push_str(&format!("{}\n{}", style.bold("not as written"), sheet.text(style)));
        if verified.findings.len() > LINES_MAX {
            let more = words::count((verified.findings.len() - LINES_MAX) as u64);
            text.push_str(&format!("  and {more} more; `--format json` names all\n"));
        }
        text.push('\n');
    }
    let read = if rows { format!(", {} read", words::counted(verified.rows, "row")) } else { String::new() };
    text.push_str(&format!(
        "looked at  the state database, {} with {} of {}{read}, {} of models, {}, {}\n",
        words::counted(verified.versions, "version"),
        words::counted(verified.files, "file"),
        words::bytes(verified.bytes),
        words::counted(verified.artifacts, "artifact"),
        words::counted(verified.logs, "Delta log"),
        words::counted(verified.online, "online store"),
    ));
    if verified.replaced > 0 {
        let lost = words::counted(verified.replaced, "version");
        let were = if verified.replaced == 1 { "was" } else { "were" };
        text.push_str(&format!(
            "{lost} lost something and {were} replaced since: what published them cannot be read\n"
        ));
    }
    if verified.findings.is_empty() {
        text.push_str(&format!("{}\n", style.green("everything that is published is as it was written")));
    }
    text
}
