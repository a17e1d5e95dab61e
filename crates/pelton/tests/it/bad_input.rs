//! Law 10: whatever is wrong with a file, of the project, of its data or of its warehouse, a command answers with a report and exit
//! code 1 or 2, or works; it never panics, never hangs, and never leaves half a result.
//!
//! `PELTON_MANGLE_SEEDS=7..8` replays a case, or asks for more of them.

use crate::program::{shell, stderr, stdout, write};
use crate::world::Draw;
use regex::Regex;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

const PROJECT: &[(&str, &str)] = &[
    ("pelton.toml", "name = \"shop\"\nseed = 7\n[retention]\nkeep = \"30 days\"\n"),
    (
        "sources/orders.toml",
        "kind = \"files\"\npath = \"data/*.csv\"\nkey = [\"order_id\"]\ntime = \"at\"\nfreshness = { warn_after = \"36500 days\" }\n\
         [columns]\norder_id = \"bigint\"\ncustomer = \"text\"\namount = \"decimal(12,2)\"\nat = \"timestamp\"\n",
    ),
    ("sources/notes.toml", "kind = \"files\"\npath = \"data/*.ndjson\"\n"),
    (
        "tables/totals.sql",
        "/* pelton\ndescription = \"Totals.\"\n[columns.total]\nchecks = [\"not_null\"]\n[checks]\nsome = \"row_count() > 0\"\n[anomaly]\nmean = \"total\"\n*/\n\
         select o.customer, sum(o.amount) as total, count(n.note) as notes\nfrom orders o left join notes n on n.customer = o.customer\ngroup by o.customer\n",
    ),
    ("tables/kept.sql", "/* pelton\nbuild = \"view\"\n*/\nselect * from totals where total > 10\n"),
    (
        "data/1.csv",
        "order_id,customer,amount,at\n1,ann,10.00,2026-01-01T00:00:00Z\n2,bob,20.50,2026-01-02T00:00:00Z\n3,ann,5.25,2026-01-03T00:00:00Z\n",
    ),
    (
        "data/2.csv",
        "order_id,customer,amount,at\n4,\"carl, jr\",7.00,2026-01-04T00:00:00Z\n5,bob,1.75,2026-01-05T00:00:00Z\n",
    ),
    (
        "data/1.ndjson",
        "{\"customer\": \"ann\", \"note\": \"first\"}\n{\"customer\": \"bob\", \"note\": \"späte Lieferung\", \"tags\": [1, 2]}\n",
    ),
];

/// The project, run once, with a third source that reads Parquet.
fn template(folder: &Path) {
    write(folder, PROJECT);
    works(folder, "pelton run");
    let data = fs::read_dir(folder.join("warehouse/tables/orders")).unwrap().flatten().map(|file| file.path());
    let parquet =
        data.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "parquet")).unwrap();
    fs::copy(parquet, folder.join("data/1.parquet")).unwrap();
    write(
        folder,
        &[
            ("sources/old_orders.toml", "kind = \"files\"\npath = \"data/*.parquet\"\n"),
            (
                "tables/both.sql",
                "select order_id, customer, amount, at from orders union all select order_id, customer, amount, at from old_orders\n",
            ),
        ],
    );
    works(folder, "pelton run");
}

fn works(folder: &Path, line: &str) -> String {
    let output = shell(folder, line).output().unwrap();
    assert!(output.status.success(), "{line}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// Of a source, how many rows it has: a column that a damaged header named stays, as any column that nobody declared.
const DIGESTS: &str = "pelton query \"select node, rows, case when kind <> 'source' then digest end as digest \
                       from pelton.environments order by node\" --format csv";

/// Every file below a folder, relative to it, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            if entry.path().is_dir() {
                waiting.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(folder).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let target = to.join(&path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from.join(&path), target).unwrap();
    }
}

/// What kinds of files there are; each is mangled as often as any other.
fn kind(path: &Path) -> &'static str {
    let text = path.to_string_lossy();
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "toml" => "settings",
        "sql" => "SQL",
        "csv" => "CSV",
        "ndjson" => "NDJSON",
        "parquet" if text.starts_with("data") => "Parquet",
        "parquet" => "stored rows",
        "json" => "Delta log",
        "db" | "db-wal" | "db-shm" => "state",
        _ => "other",
    }
}

/// Makes something else of a file's bytes, and says what.
fn mangle(bytes: &[u8], draw: &mut Draw) -> (Vec<u8>, String) {
    let length = bytes.len();
    let at = draw.below(length + 1);
    let until = at + draw.below(length + 1 - at);
    match draw.below(9) {
        0 => (bytes[..at].to_vec(), format!("cut off at {at}")),
        1 => (Vec::new(), "emptied".into()),
        2 => {
            let mut mangled = bytes.to_vec();
            let flips = 1 + draw.below(8);
            for _ in 0..flips {
                let at = draw.below(length);
                if let Some(byte) = mangled.get_mut(at) {
                    *byte ^= 1 << draw.below(8);
                }
            }
            (mangled, format!("{flips} bits flipped"))
        }
        3 => {
            let garbage: Vec<u8> = (0..1 + draw.below(40)).map(|_| draw.below(256) as u8).collect();
            let said = format!("{} bytes put in at {at}", garbage.len());
            ([&bytes[..at], &garbage, &bytes[at..]].concat(), said)
        }
        4 => ([&bytes[..at], &bytes[until..]].concat(), format!("{at}..{until} left out")),
        5 => ([&bytes[..until], &bytes[at..]].concat(), format!("{at}..{until} twice")),
        6 => {
            // Numbers as they never should be.
            let number = draw.one_of(&["-1", "99999999999999999999", "1e400", "NaN", "", "null", "0x7", "١"]);
            let digit = bytes.iter().skip(at).position(u8::is_ascii_digit).map_or(at, |found| at + found);
            let rest = bytes.get(digit + 1..).unwrap_or_default();
            ([&bytes[..digit], number.as_bytes(), rest].concat(), format!("`{number}` at {digit}"))
        }
        7 => {
            let word: &[u8] = draw.one_of(&[
                b"\0\0\0\0" as &[u8],
                b"\xff\xfe",
                b"\"\"\"",
                b"/*",
                b"*/",
                b"'",
                b"{{{{",
                b"\r\n\r\n",
                b"select",
            ]);
            ([&bytes[..at], word, &bytes[at..]].concat(), format!("{word:?} put in at {at}"))
        }
        _ => {
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            let (one, other) = (draw.below(lines.len()), draw.below(lines.len()));
            if one < lines.len() {
                lines.swap(one, other);
            }
            (lines.concat(), format!("lines {one} and {other} swapped"))
        }
    }
}

/// Runs a command that may find anything; gives why its answer is none.
fn answers(folder: &Path, line: &str, code: &Regex) -> Result<Option<String>, String> {
    // A bound on memory and time turns a runaway into a failure of this test alone.
    let bounded = format!("ulimit -v 12000000; timeout 120 {line}");
    let output = shell(folder, &bounded).output().unwrap();
    let (out, err) = (stdout(&output), stderr(&output));
    let refuse = |why: &str| Err(format!("`{line}` {why}\n--- stdout\n{out}\n--- stderr\n{err}"));
    if err.contains("panicked")
        || out.contains("panicked")
        || err.contains("[internal]")
        || out.contains("\"internal\"")
    {
        return refuse("panicked");
    }
    match output.status.code() {
        Some(0) => Ok(Some(out)),
        Some(1 | 2) if code.is_match(&err) => Ok(None),
        Some(1 | 2) => refuse("gave no report"),
        _ => refuse(&format!("ended with {:?}", output.status)),
    }
}

fn campaign(seeds: Range<u64>) {
    let seeds = match std::env::var("PELTON_MANGLE_SEEDS").ok().as_deref().map(|text| text.split_once("..")) {
        Some(Some((from, to))) => from.parse().unwrap()..to.parse().unwrap(),
        _ => seeds,
    };
    let made = tempfile::tempdir().unwrap();
    template(made.path());
    let digests = works(made.path(), DIGESTS);
    let code = Regex::new(r"(?m)^(error|warning)\[[a-z0-9-]+\]: .").unwrap();
    let mut wrong = Vec::new();
    for seed in seeds {
        let mut draw = Draw::new(seed);
        let folder = tempfile::tempdir().unwrap();
        copy(made.path(), folder.path());
        let all = files(folder.path());
        let kinds = ["settings", "SQL", "CSV", "NDJSON", "Parquet", "stored rows", "Delta log", "state", "other"];
        let meant = draw.one_of(&kinds);
        let of_kind: Vec<&PathBuf> = all.iter().filter(|path| kind(path) == meant).collect();
        let Some(path) = of_kind.get(draw.below(of_kind.len())) else { continue };
        let target = folder.path().join(path);
        let bytes = fs::read(&target).unwrap();
        let (mangled, what) = mangle(&bytes, &mut draw);
        fs::write(&target, &mangled).unwrap();
        let told = format!("seed {seed}: {meant}, {} {what}", path.display());
        let result = one_case(folder.path(), &code, meant, || fs::write(&target, &bytes).unwrap(), &digests);
        if let Err(why) = result {
            wrong.push(format!("=== {told}\n{why}"));
        }
    }
    assert!(wrong.is_empty(), "{} cases\n{}", wrong.len(), wrong.join("\n"));
}

fn one_case(folder: &Path, code: &Regex, kind: &str, mend: impl Fn(), digests: &str) -> Result<(), String> {
    for line in
        ["pelton check", "pelton query \"select count(*), sum(total) from kept\"", "pelton run", "pelton show totals"]
    {
        answers(folder, line, code)?;
    }
    if matches!(kind, "settings" | "SQL" | "CSV" | "NDJSON" | "Parquet") {
        // Mended, it is as if nothing had happened.
        mend();
        if answers(folder, "pelton run", code)?.is_none() {
            let again = shell(folder, "pelton run").output().unwrap();
            return Err(format!("the mended project does not run\n{}", stderr(&again)));
        }
        let found = answers(folder, DIGESTS, code)?.ok_or("the mended project cannot be read")?;
        if found != digests {
            return Err(format!("mended, it has\n{found}and not\n{digests}"));
        }
    }
    Ok(())
}

#[test]
fn bad_input_of_any_kind_is_answered_first_part() {
    campaign(0..40);
}

#[test]
fn bad_input_of_any_kind_is_answered_second_part() {
    campaign(40..80);
}
