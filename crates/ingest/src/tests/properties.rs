//! What holds for any input: counts add up, nothing depends on threads or batches, and no bytes make it panic.

use super::*;
use pelton_base::Seed;

struct Draw(Seed, u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.1 += 1;
        self.0.at(self.1) % limit
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

const IDS: [&str; 8] = ["1", "2", "3", "17", "x", "", "9223372036854775808", " 5 "];
const AMOUNTS: [&str; 7] = ["1.25", "-3", "1.234", "abc", "", "1e2", "99999999999"];
const NOTES: [&str; 7] = ["", "plain", "\"quo,ted\"", "\"two\nlines\"", "\"open", "\"shut\"x", "caf\u{e9}"];

fn csv_row(draw: &mut Draw) -> String {
    let mut row = format!("{},{},{}", draw.of(&IDS), draw.of(&AMOUNTS), draw.of(&NOTES));
    match draw.below(12) {
        0 => row.push_str(",extra"),
        1 => row = "lonely".into(),
        2 => row.clear(),
        _ => {}
    }
    row
}

fn json_row(draw: &mut Draw) -> String {
    let ids = ["1", "2", "\"3\"", "null", "4.5", "[1]", "\"x\""];
    let amounts = ["1.25", "\"7\"", "1.234", "{\"a\": 1}", "null", "true"];
    match draw.below(12) {
        0 => "{\"id\": 1".into(),
        1 => "[1, 2]".into(),
        2 => "{\"id\": 1, \"id\": 2}".into(),
        3 => String::new(),
        4 => format!("{{\"other\": {}}}", draw.of(&ids)),
        _ => format!("{{\"amount\": {}, \"id\": {}}}", draw.of(&amounts), draw.of(&ids)),
    }
}

const RULES: [ContractRule; 4] =
    [ContractRule::Evolve, ContractRule::DiscardRow, ContractRule::DiscardValue, ContractRule::Quarantine];

#[test]
fn counts_add_up_and_threads_and_batches_change_nothing() {
    for seed in 0..60 {
        let mut draw = Draw(Seed(seed), 0);
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<InputFile> = (0..draw.below(4) + 1)
            .map(|at| {
                let rows = draw.below(60);
                let is_csv = draw.below(2) == 0;
                let lines: Vec<String> =
                    (0..rows).map(|_| if is_csv { csv_row(&mut draw) } else { json_row(&mut draw) }).collect();
                let text = lines.join("\n");
                match is_csv {
                    true => input(folder.path(), &format!("{at}.csv"), format!("id,amount,note\n{text}").as_bytes()),
                    false => input(folder.path(), &format!("{at}.ndjson"), text.as_bytes()),
                }
            })
            .collect();
        let declared = [("id", "bigint"), ("amount", "decimal(8,2)"), ("note", "text")];
        let mut source = source(&declared[..draw.below(4) as usize]);
        source.0.contract =
            Contract { columns: RULES[draw.below(4) as usize], data_type: RULES[draw.below(4) as usize] };
        if draw.below(2) == 0 && !source.0.columns.is_empty() {
            source.0.key = vec![spanned("id")];
        }
        let mut expect = None;
        for (threads, batch_rows) in [(1, 1), (3, 7), (2, 8192)] {
            let mut sink = Collected::default();
            let options = TakeIn { threads, batch_rows };
            let result = take_in(&source.0, &source.1, &files, Known::default(), &mut sink, &options);
            // Files without a row and without declared columns have no columns.
            let Ok(intake) = result else { continue };
            assert_eq!(sink.rows.len() as u64, intake.counts.rows);
            assert_eq!(sink.rejected.len() as u64, intake.counts.quarantined);
            assert_eq!(intake.counts.rows_in, intake.counts.rows + intake.counts.quarantined + intake.counts.dropped);
            let mut keys = std::collections::HashSet::new();
            if !source.0.key.is_empty() {
                let at = sink.schema.as_ref().unwrap().index_of("id").unwrap();
                assert!(sink.rows.iter().all(|row| keys.insert(row.split('|').nth(at).unwrap().to_string())));
            }
            let found = (sink.rows, sink.rejected, sink.counts);
            match &expect {
                None => expect = Some(found),
                Some(expect) => assert_eq!(expect, &found, "seed {seed}"),
            }
        }
    }
}

#[test]
fn lines_of_rejected_rows_are_those_of_their_text() {
    for seed in 100..130 {
        let mut draw = Draw(Seed(seed), 0);
        let lines: Vec<String> = (0..50).map(|_| csv_row(&mut draw)).collect();
        let text = format!("id,amount,note\n{}\n", lines.join("\n"));
        let (found, _) = run_text(&source(&[("id", "bigint"), ("amount", "decimal(8,2)")]), "a.csv", &text).unwrap();
        assert!(!found.rejected.is_empty());
        for row in &found.rejected {
            let rest: Vec<&str> = text.split('\n').skip(row.line as usize - 1).collect();
            assert!(rest.join("\n").starts_with(&row.raw), "seed {seed}: {row:?}");
        }
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let parts: [&[u8]; 20] = [
        b"id,name\n",
        b"1,",
        b"\"",
        b"\n",
        b"\r\n",
        b"{\"id\":",
        b"}",
        b"[",
        b"]",
        b",",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\x00",
        b"PAR1",
        b"\x1f\x8b\x08\x00",
        b"\x28\xb5\x2f\xfd",
        b"2026-01-01T00:00:00Z",
        b"99999999999999999999",
        b"\\u00",
        b"\xf0\x9f",
    ];
    let sound = super::formats::sample();
    let mut outcomes = [0, 0];
    for seed in 0..400 {
        let mut draw = Draw(Seed(seed).derive("bytes"), 0);
        let mut bytes: Vec<u8> = Vec::new();
        if seed % 4 == 0 {
            // A sound Parquet file with a few bytes changed.
            bytes = sound.clone();
            for _ in 0..draw.below(4) + 1 {
                let at = draw.below(bytes.len() as u64) as usize;
                bytes[at] = draw.below(256) as u8;
            }
        } else {
            for _ in 0..draw.below(80) {
                match draw.below(3) {
                    0 => bytes.push(draw.below(256) as u8),
                    _ => bytes.extend(parts[draw.below(20) as usize]),
                }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.csv", "a.csv.gz", "a.tsv.zst", "a.ndjson", "a.json.gz", "a.parquet", "a.parquet.zst"] {
            let file = input(folder.path(), name, &bytes);
            let mut source = source(&[("id", "bigint")]);
            source.0.csv.encoding = draw.of(&["utf-8", "utf-16le", "shift_jis", "gb18030", "windows-1252"]).into();
            source.0.contract.data_type = RULES[draw.below(4) as usize];
            outcomes[usize::from(run(&source, &[file]).is_ok())] += 1;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 100), "{outcomes:?}");
}
