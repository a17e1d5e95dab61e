//! Dirty input, with the exact rows, quarantined lines and reasons that come of it.

use super::*;

const PAYMENTS: [(&str, &str); 5] =
    [("id", "bigint"), ("at", "timestamp"), ("amount", "decimal(8,2)"), ("ok", "boolean"), ("note", "text")];

#[test]
fn csv_rows_that_cannot_be_taken_in_are_quarantined_with_their_line_and_reason() {
    let text = "\u{feff}id,at,amount,ok,note\r\n\
        1,2026-01-01T10:00:00Z,12.50,true,plain\r\n\
        \r\n\
        2,2026-01-01 10:00:00,-3,no,\"two\r\nlines, \"\"quoted\"\"\"\r\n\
        x3,2026-01-01,1,yes,bad id\r\n\
        4,1700000000,1,yes,an epoch is no time\r\n\
        5,2026-01-01,1.234,yes,too fine\r\n\
        6,2026-01-01,1,maybe,undecided\r\n\
        7,2026-01-01,1,yes\r\n\
        8,2026-01-01,1,yes,a,b\r\n\
        9,2026-01-01,1,yes,\"open\r\n\
        10,NULL,NA,,\r\n\
        11,2026-01-01,1,yes,\"shut\"x\r\n\
        12, 2026-01-02 , 7 , T , spaced \r\n";
    let (found, intake) = run_text(&source(&PAYMENTS), "p.csv", text).unwrap();
    assert_eq!(
        found.rows,
        [
            "1|2026-01-01T10:00:00Z|12.50|true|plain",
            "2|2026-01-01T10:00:00Z|-3.00|false|two\r\nlines, \"quoted\"",
            "10|-|-|-|-",
            "12|2026-01-02T00:00:00Z|7.00|true| spaced ",
        ]
    );
    assert_eq!(
        found.reasons(),
        [
            "6 data_type id: `x3` is not a bigint",
            "7 data_type at: `1700000000` is not a timestamp",
            "8 data_type amount: `1.234` has more than 2 fraction digits, which a decimal(8,2) does not hold",
            "9 data_type ok: `maybe` is not a boolean",
            "10 unreadable: the row has 4 fields, not 5",
            "11 unreadable: the row has 6 fields, not 5",
            "12 unreadable: text stands between a closing quote and the next delimiter",
            "14 unreadable: text stands between a closing quote and the next delimiter",
        ]
    );
    assert_eq!(found.rejected[0].raw, "x3,2026-01-01,1,yes,bad id");
    assert_eq!(found.rejected[6].raw, "9,2026-01-01,1,yes,\"open");
    assert_eq!((intake.counts.rows_in, intake.counts.rows, intake.counts.quarantined), (12, 4, 8));
    assert_eq!(found.counts[0].digest, pelton_base::Digest::of(text.as_bytes()));
}

#[test]
fn ndjson_rows_that_cannot_be_taken_in_are_quarantined_with_their_line_and_reason() {
    let text = r#"{"id": 1, "at": "2026-01-01T10:00:00Z", "amount": 12.50, "ok": true, "note": "plain"}

{"note": null, "amount": "3.1", "id": "2", "ok": "no"}
{"id": 3.5}
{"id": 4, "at": 1700000000}
{"id": 5, "amount": 1.234}
{"id": 6, "amount": 1e9}
{"id": 7, "id": 8}
{"id": 9
[1, 2]
"text"
{"id": 10} {"id": 11}
{"id": 12, "note": {"a": [1.10]}}
{"id": 13, "ok": [true]}
{"id": 14, "note": "\ud800"}
{}
{"id": 15, 'note': 1}"#;
    let (found, _) = run_text(&source(&PAYMENTS), "p.ndjson", text).unwrap();
    assert_eq!(
        found.rows,
        ["1|2026-01-01T10:00:00Z|12.50|true|plain", "2|-|3.10|false|-", "12|-|-|-|{\"a\": [1.10]}", "-|-|-|-|-"]
    );
    assert_eq!(
        found.reasons(),
        [
            "4 data_type id: `3.5` is not a bigint",
            "5 data_type at: `1700000000` is not a timestamp",
            "6 data_type amount: `1.234` has more than 2 fraction digits, which a decimal(8,2) does not hold",
            "7 data_type amount: `1e9` is too large for a decimal(8,2)",
            "8 unreadable: key `id` stands twice in the object",
            "9 unreadable: the line ends in the middle of its JSON",
            "10 unreadable: the line is an array, not a JSON object",
            "11 unreadable: the line is a string, not a JSON object",
            "12 unreadable: the line is not JSON from character 12 on",
            "14 data_type ok: `[true]` is not a boolean",
            "15 data_type note: the text holds half of a surrogate pair",
            "17 unreadable: the line is not JSON from character 12 on",
        ]
    );
}

#[test]
fn ndjson_lines_may_end_in_returns_alone() {
    let text = "{\"id\": 1, \"note\": \"a\\r\\nb\"}\n\n{\"id\": \"x\"}\n{\"id\": 2}\n{\"id\": 3";
    let source = source(&[("id", "bigint"), ("note", "text")]);
    let folder = tempfile::tempdir().unwrap();
    for line_end in ["\n", "\r\n", "\r"] {
        let file = input(folder.path(), "p.ndjson", text.replace('\n', line_end).as_bytes());
        let (found, intake) = run(&source, &[file]).unwrap();
        assert_eq!(found.rows, ["1|a\r\nb", "2|-"], "{line_end:?}");
        assert_eq!(
            found.reasons(),
            ["3 data_type id: `x` is not a bigint", "5 unreadable: the line ends in the middle of its JSON"],
            "{line_end:?}"
        );
        assert_eq!((found.rejected[0].raw.as_str(), intake.counts.rows_in), ("{\"id\": \"x\"}", 4));
    }
    // With one line feed in the file, a return is white space.
    let (found, _) = run_text(&source, "p.ndjson", "{\"id\": 1,\r\"note\": \"a\"}\n{\"id\": 2}\r").unwrap();
    assert_eq!(found.rows, ["1|a", "2|-"]);
}

#[test]
fn later_rows_with_the_same_key_are_quarantined_across_files_and_versions() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        input(folder.path(), "1.csv", b"id,shop,x\n1,a,1\n1,b,2\n1,a,3\n,a,4\nx,a,5\n"),
        input(
            folder.path(),
            "2.ndjson",
            b"{\"id\": 1, \"shop\": \"b\", \"x\": 6}\n{\"id\": 2, \"shop\": \"b\", \"x\": 7}\n{\"id\": 3}\n",
        ),
    ];
    let mut source = source(&[("id", "bigint"), ("shop", "text"), ("x", "bigint")]);
    source.0.key = vec![spanned("id"), spanned("shop")];
    let (found, intake) = run(&source, &files).unwrap();
    assert_eq!(found.rows, ["1|a|1", "1|b|2", "2|b|7"]);
    assert_eq!(
        found.reasons(),
        [
            "4 duplicate_key: an earlier row has the same key (`id`, `shop`)",
            "5 null_key id: `id` is part of the key and has no value",
            "6 data_type id: `x` is not a bigint",
            "1 duplicate_key: an earlier row has the same key (`id`, `shop`)",
            "3 null_key shop: `shop` is part of the key and has no value",
        ]
    );
    assert_eq!(found.rejected[0].raw, "1,a,3");
    assert_eq!(intake.keys.len(), 3);

    let mut rebuilt = KeySet::default();
    found.batches.iter().for_each(|batch| rebuilt.insert_rows(batch, &["id".into(), "shop".into()]).unwrap());
    assert_eq!(rebuilt.len(), 3);
    let known = Known { columns: vec![], keys: rebuilt };
    let (again, intake) = run_known(&source, &files, known).unwrap();
    assert_eq!((again.rows.len(), intake.keys.len(), intake.counts.quarantined), (0, 3, 8));
}

#[test]
fn long_rows_are_quarantined_with_the_beginning_of_their_text() {
    let text = format!("id\n{}\n{}\n", "é".repeat(5_000), "1");
    let (found, _) = run_text(&source(&[("id", "bigint")]), "p.csv", &text).unwrap();
    assert_eq!(found.rows, ["1"]);
    assert!(found.rejected[0].raw.len() <= 4096 + "…".len() && found.rejected[0].raw.ends_with("é…"));
    assert!(found.rejected[0].reason.len() < 250, "{}", found.rejected[0].reason);
}

#[test]
fn bytes_that_are_not_text_cost_their_row_alone() {
    let folder = tempfile::tempdir().unwrap();
    let csv = input(folder.path(), "a.csv", b"id,note\n1,ok\n2,caf\xe9\n3,fine\n");
    let json = input(folder.path(), "b.ndjson", b"{\"id\": 4, \"note\": \"caf\xe9\"}\n{\"id\": 5}\n");
    let (found, _) = run(&source(&[("id", "bigint"), ("note", "text")]), &[csv, json]).unwrap();
    assert_eq!(found.rows, ["1|ok", "3|fine", "5|-"]);
    assert_eq!(
        found.reasons(),
        [
            "3 unreadable: what stands at byte 6 is not utf-8 text",
            "1 unreadable: what stands at byte 23 is not utf-8 text"
        ]
    );
    assert_eq!(found.rejected[0].raw, "2,caf\u{fffd}");
}

#[test]
fn files_that_are_wrong_as_a_whole_are_refused_by_name() {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    let text: String = (0..200_000).map(|i| format!("{}\n", i * 7919 % 100_003)).collect();
    let whole = gzip(format!("id\n{text}").as_bytes());
    let mut broken = whole.clone();
    // The checksum at the end.
    let end = broken.len();
    broken[end - 8..].fill(0xAA);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a.csv", vec![], "`a.csv` has no header that can be read: the file is empty"),
        ("a.csv", b"id,x,id\n1,2,3\n".to_vec(), "`a.csv` names column `id` twice"),
        ("a.csv", b"\"id\n1\n".to_vec(), "`a.csv` has no header that can be read: a quote is never closed"),
        ("a.csv", b"caf\xe9\n1\n".to_vec(), "`a.csv` has no header that can be read: it is not utf-8 text"),
        ("a.csv", b"a,b\r1,x\r2,y\r".to_vec(), "`a.csv` ends its lines with a carriage return alone"),
        ("a.csv", whole.clone(), "`a.csv` is not a text file: it looks like a gzip archive"),
        ("a.csv", b"PAR1\x15\x00xxxx".to_vec(), "`a.csv` is not a text file: it looks like a Parquet file"),
        (
            "a.csv",
            "id,name\n1,b\n".encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "`a.csv` is not a text file: it looks like UTF-16 text",
        ),
        ("a.csv.gz", b"id,name\n1,nobody\n".to_vec(), "`a.csv.gz` is not sound gzip data"),
        ("a.csv.gz", whole[..whole.len() / 2].to_vec(), "`a.csv.gz` is cut off in the middle of its gzip data"),
        ("a.csv.gz", broken, "`a.csv.gz` is not sound gzip data"),
        ("a.csv.zst", b"id\n1\n".to_vec(), "`a.csv.zst` is not sound Zstandard data"),
        ("a.json", b" [{\"id\": 1}]".to_vec(), "`a.json` is one JSON array, not one object a line"),
        ("a.json", b"{\n  \"id\": 1\n}\n".to_vec(), "`a.json` has objects over several lines, not one a line"),
        ("a.ndjson", vec![0; 100], "`a.ndjson` is not NDJSON: it looks like UTF-16 text"),
        ("a.parquet", b"id\n1\n".to_vec(), "`a.parquet` is not a Parquet file"),
        ("a.parquet", vec![], "`a.parquet` is not a Parquet file"),
        (
            "a.parquet",
            b"PAR1 and then nothing of the kind PAR1".to_vec(),
            "`a.parquet` is a Parquet file that cannot be read",
        ),
    ];
    for (name, bytes, expect) in cases {
        let folder = tempfile::tempdir().unwrap();
        let file = input(folder.path(), name, &bytes);
        let found = reports(run(&source(&[("id", "bigint")]), &[file]));
        assert_eq!(found.0[0].message, expect);
        assert_eq!((found.0[0].code, found.exit_code()), ("unreadable-data", 2));
        assert_eq!(found.0[0].at.as_ref().unwrap().file, name);
    }
    let folder = tempfile::tempdir().unwrap();
    let gone = InputFile { absolute: folder.path().join("gone.csv"), ..input(folder.path(), "a.csv", b"id\n") };
    assert_eq!(report(run(&source(&[]), &[gone])), "unreadable-file: cannot read `a.csv` (a.csv)");
}

#[test]
fn every_file_that_is_wrong_is_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        input(folder.path(), "a.csv", b""),
        input(folder.path(), "b.csv", b"id\n1\n"),
        input(folder.path(), "c.json", b"[]"),
        input(folder.path(), "d.parquet", b"no"),
    ];
    assert_eq!(reports(run(&source(&[("id", "bigint")]), &files)).0.len(), 3);
}

/// Fails at the so-manieth batch.
struct Failing(usize);

impl Sink for Failing {
    fn begin_file(&mut self, _: &InputFile, _: &SchemaRef) -> Result<(), IngestError> {
        Ok(())
    }

    fn rows(&mut self, _: RecordBatch) -> Result<(), IngestError> {
        self.0 -= 1;
        match self.0 {
            0 => Err(IngestError::sink(pelton_base::Report::error("disk-full", "no space left on the disk"))),
            _ => Ok(()),
        }
    }

    fn rejected(&mut self, _: Rejected) -> Result<(), IngestError> {
        Ok(())
    }

    fn end_file(&mut self, _: FileCounts) -> Result<(), IngestError> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_stops_the_parsers_and_its_error_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..1_000).map(|i| format!("{i}\n")).collect();
    let files: Vec<InputFile> =
        (0..10).map(|i| input(folder.path(), &format!("{i}.csv"), format!("id\n{text}").as_bytes())).collect();
    let (source, node) = source(&[("id", "bigint")]);
    for batches in [1, 3, 300] {
        let options = TakeIn { threads: 3, batch_rows: 10 };
        let result = take_in(&source, &node, &files, Known::default(), &mut Failing(batches), &options);
        assert_eq!(report(result), "disk-full: no space left on the disk");
    }
}

#[test]
fn what_came_before_a_damaged_file_was_handed_on_and_its_end_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    let text: String = (0..300_000).map(|i| format!("{i}\n")).collect();
    std::io::Write::write_all(&mut encoder, format!("id\n{text}").as_bytes()).unwrap();
    let mut bytes = encoder.finish().unwrap();
    bytes.truncate(bytes.len() - 100);
    let files = [input(folder.path(), "1.csv", b"id\n1\n"), input(folder.path(), "2.csv.gz", &bytes)];
    let (source, node) = source(&[("id", "bigint")]);
    let mut sink = Collected::default();
    let result = take_in(&source, &node, &files, Known::default(), &mut sink, &TakeIn::default());
    assert_eq!(report(result), "unreadable-data: `2.csv.gz` is cut off in the middle of its gzip data (2.csv.gz)");
    assert_eq!((sink.files.len(), sink.counts.len()), (2, 1));
}
