//! What `gc` found, on a page: what goes, why, and what stays for whom.

use super::sheet::Sheet;
use super::style::Style;
use super::words;
use pelton_base::VersionId;
use pelton_runner::{Collected, OldFile};
use std::collections::BTreeMap;

/// How many lines of each sort are shown; `--format json` has all.
const LINES_MAX: usize = 50;

/// What gc found, and what became of it.
pub(crate) fn collected(collected: &Collected, style: Style) -> String {
    let mut text = String::new();
    let mut publications = Sheet::new().indent(2);
    for old in collected.publications.iter().take(LINES_MAX) {
        publications.row([
            format!("{} of `{}`", old.publication, old.environment),
            format!("published {}", old.published_at),
            format!("replaced {}", old.replaced_at),
        ]);
    }
    section(&mut text, "publications", &publications, collected.publications.len(), style);

    let mut of_version: BTreeMap<&VersionId, (u64, u64)> = BTreeMap::new();
    for file in &collected.files {
        if let Some(version) = &file.version {
            let sums = of_version.entry(version).or_default();
            sums.0 += 1;
            sums.1 += file.bytes;
        }
    }
    let mut versions = Sheet::new().indent(2);
    for old in collected.versions.iter().take(LINES_MAX) {
        let files = match of_version.get(&old.version) {
            Some((files, bytes)) => format!("{}, {}", words::counted(*files, "file"), words::bytes(*bytes)),
            None => "no file of its own".into(),
        };
        versions.row([
            old.kind.clone(),
            old.node.to_string(),
            old.version.to_string(),
            format!("built {}", old.built_at),
            files,
        ]);
    }
    section(&mut text, "versions", &versions, collected.versions.len(), style);
    if let Some(why) = collected.versions.first().map(|old| &old.why) {
        text.push_str(&format!("  why: {why}\n"));
    }

    let gone: Vec<&VersionId> = collected.versions.iter().map(|old| &old.version).collect();
    let others: Vec<&OldFile> =
        collected.files.iter().filter(|file| file.version.as_ref().is_none_or(|id| !gone.contains(&id))).collect();
    let mut files = Sheet::new().indent(2).right([1]);
    for file in others.iter().take(LINES_MAX) {
        files.row([file.path.clone(), words::bytes(file.bytes)]);
    }
    section(&mut text, "files that nothing names", &files, others.len(), style);

    if !text.is_empty() {
        text.push('\n');
    }
    let kept = &collected.kept;
    let parts = [
        (kept.by_publication, "in publications"),
        (kept.by_receipt, "by receipts"),
        (kept.by_age, "by age"),
        (kept.by_input, "as inputs of these"),
    ];
    let all = words::counted(parts.iter().map(|(count, _)| count).sum(), "version");
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", words::count(*count)))
        .collect();
    let of = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    text.push_str(&format!(
        "kept     {all}{of}; publications for {} after they were replaced, and the newest {} of each environment\n",
        words::duration_us(collected.keep_seconds.saturating_mul(1_000_000)),
        words::count(collected.keep_publications),
    ));
    let what = format!(
        "{}, {} and {} of {}",
        words::counted(collected.publications.len() as u64, "publication"),
        words::counted(collected.versions.len() as u64, "version"),
        words::counted(collected.files.len() as u64, "file"),
        words::bytes(collected.bytes)
    );
    text.push_str(&match (collected.is_empty(), collected.removed) {
        (true, _) => "nothing to remove\n".to_string(),
        (false, true) => {
            let run = collected.run.as_ref().map_or(String::new(), |run| format!("   run {run}"));
            format!("{}  {what}{run}\n", style.green("removed"))
        }
        (false, false) => format!("nothing was removed; `--yes` removes {what}\n"),
    });
    text
}

fn section(text: &mut String, title: &str, sheet: &Sheet, all: usize, style: Style) {
    if sheet.is_empty() {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!("{}\n{}", style.bold(title), sheet.text(style)));
    if all > LINES_MAX {
        text.push_str(&format!("  and {} more; `--format json` names all\n", words::count((all - LINES_MAX) as u64)));
    }
}
