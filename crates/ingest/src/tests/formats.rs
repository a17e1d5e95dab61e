//! The same rows in every encoding, compression and format.

use super::*;
use ::parquet::arrow::ArrowWriter;
use ::parquet::data_type::{Int96, Int96Type};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use arrow::array::{
    ArrayRef, Date64Array, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Int64Type};
use std::io::Write;
use std::sync::Arc;

const TEXT: &str = "id,name\n1,Grüße\n2,\"a\nb\"\n3,œuvre\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str, mark: bool, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mark = if mark { "\u{feff}" } else { "" };
    format!("{mark}{text}").encode_utf16().flat_map(bytes).collect()
}

#[test]
fn every_encoding_and_compression_gives_the_same_rows() {
    let (head, tail) = TEXT.as_bytes().split_at(17);
    let zstd = |bytes: &[u8]| ::zstd::encode_all(bytes, 3).unwrap();
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("a.csv", "utf-8", TEXT.into()),
        ("a.csv", "utf-8", format!("\u{feff}{TEXT}").into()),
        ("a.csv", "utf-16le", utf16(TEXT, false, u16::to_le_bytes)),
        ("a.csv", "utf-16be", utf16(TEXT, false, u16::to_be_bytes)),
        ("a.csv", "utf-8", utf16(TEXT, true, u16::to_le_bytes)),
        ("a.csv", "windows-1252", utf16(TEXT, true, u16::to_be_bytes)),
        ("a.csv", "latin1", encoding_rs::WINDOWS_1252.encode(TEXT).0.into_owned()),
        ("a.csv", "ISO-8859-15", encoding_rs::ISO_8859_15.encode(TEXT).0.into_owned()),
        ("a.csv.gz", "utf-8", gzip(TEXT.as_bytes())),
        ("a.csv.gz", "utf-8", [gzip(head), gzip(tail)].concat()),
        ("a.csv.zst", "utf-8", zstd(TEXT.as_bytes())),
        ("a.csv.zst", "utf-8", [zstd(head), zstd(tail)].concat()),
        ("a.csv.gz", "utf-16le", gzip(&utf16(TEXT, false, u16::to_le_bytes))),
        ("a.tsv", "utf-8", TEXT.replace(',', "\t").into()),
        ("a.tsv.gz", "utf-8", gzip(TEXT.replace(',', "\t").as_bytes())),
    ];
    for (name, encoding, bytes) in cases {
        let folder = tempfile::tempdir().unwrap();
        let file = input(folder.path(), name, &bytes);
        let mut source = source(&[("id", "bigint")]);
        source.0.csv.encoding = encoding.into();
        let (found, _) = run(&source, std::slice::from_ref(&file)).unwrap();
        assert_eq!(found.rows, ["1|Grüße", "2|a\nb", "3|œuvre"], "{name} {encoding}");
        assert_eq!(found.counts[0].digest, pelton_base::Digest::of(&bytes), "{name} {encoding}");
        assert_eq!(digest_file(&file).unwrap(), found.counts[0].digest);
    }
}

#[test]
fn half_a_character_costs_its_row_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = utf16("id,name\n1,a\n2,", false, u16::to_le_bytes);
    bytes.extend(0xD800u16.to_le_bytes());
    bytes.extend(utf16("x\n3,c\n", false, u16::to_le_bytes));
    let mut source = source(&[]);
    source.0.csv.encoding = "utf-16".into();
    let (found, _) = run(&source, &[input(folder.path(), "a.csv", &bytes)]).unwrap();
    assert_eq!(found.rows, ["1|a", "3|c"]);
    assert_eq!(found.reasons(), ["3 unreadable: what stands at byte 3 is not utf-16le text"]);
}

#[test]
fn delimiter_quote_and_null_words_are_settings() {
    let mut source = source(&[("a", "bigint"), ("b", "text")]);
    source.0.csv.delimiter = Some(b';');
    source.0.csv.quote = b'\'';
    source.0.csv.null = vec!["-".into()];
    let (found, _) = run_text(&source, "a.csv", "a;b\n1;'x;''y'\n-;-\n2;\n3;'-'\n;x\n").unwrap();
    assert_eq!(found.rows, ["1|x;'y", "-|-", "2|", "3|-"]);
    assert_eq!(found.reasons(), ["6 data_type a: `` is not a bigint"]);
}

#[test]
fn lists_and_structs_are_json_inside_of_a_csv_field() {
    let source = source(&[("tags", "text[]"), ("geo", "struct<lat double>")]);
    let text = "tags,geo\n\"[\"\"a\"\", null]\",{\"lat\": 1.5}\nx,\n\"[1]\",\"{\"\"lon\"\": 2}\"\n";
    let (found, _) = run_text(&source, "a.csv", text).unwrap();
    assert_eq!(found.rows, ["[a, ]|{lat: 1.5}"]);
    assert_eq!(
        found.reasons(),
        ["3 data_type tags: `x` is not JSON", "4 data_type geo: field `lon` is not one of the column's"]
    );
}

fn parquet_bytes(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

pub(super) fn sample() -> Vec<u8> {
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(1)]),
        None,
        Some(vec![]),
        Some(vec![None]),
        None,
        None,
    ]);
    let lat: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 2.0, 3.0, 4.0, 5.0, 6.0]));
    let geo = StructArray::from(vec![(Arc::new(Field::new("lat", DataType::Float64, true)), lat)]);
    parquet_bytes(vec![
        ("id", Arc::new(UInt64Array::from(vec![1, 2, u64::MAX, 4, 4, 6]))),
        ("amount", Arc::new(Float64Array::from(vec![Some(1.25), None, Some(2.0), Some(0.125), Some(3.0), Some(-4.1)]))),
        ("at", Arc::new(TimestampNanosecondArray::from(vec![1_500, 0, 0, 0, 0, 1_000_000_000]))),
        ("day", Arc::new(StringArray::from(vec!["2026-01-01"; 5].into_iter().chain(["soon"]).collect::<Vec<_>>()))),
        ("tags", Arc::new(list)),
        ("geo", Arc::new(geo)),
    ])
}

#[test]
fn parquet_columns_are_cast_where_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = sample();
    let mut source = source(&[("id", "bigint"), ("amount", "decimal(10,2)"), ("day", "date")]);
    source.0.key = vec![spanned("id")];
    for name in ["a.parquet", "a.parquet.gz", "a.parquet.zst"] {
        let bytes = match name.rsplit('.').next() {
            Some("gz") => gzip(&bytes),
            Some("zst") => ::zstd::encode_all(&bytes[..], 1).unwrap(),
            _ => bytes.clone(),
        };
        let (found, _) = run(&source, &[input(folder.path(), name, &bytes)]).unwrap();
        assert_eq!(
            found.columns(),
            "id bigint, amount decimal(10,2), day date, at timestamp, tags bigint[], geo struct<lat double>"
        );
        assert_eq!(
            found.rows,
            [
                "1|1.25|2026-01-01|1970-01-01T00:00:00.000001Z|[1]|{lat: 1.5}",
                "2|-|2026-01-01|1970-01-01T00:00:00Z|-|{lat: 2.0}",
                "4|3.00|2026-01-01|1970-01-01T00:00:00Z|-|{lat: 5.0}",
            ]
        );
        assert_eq!(
            found.reasons(),
            [
                "3 data_type id: `18446744073709551615` is too large for a bigint",
                "4 data_type amount: `0.125` has more than 2 fraction digits, which a decimal(10,2) does not hold",
                "6 data_type day: `soon` is not a date",
            ],
            "row 5 has the key of row 4, which is not taken in"
        );
        assert_eq!(found.counts[0].digest, pelton_base::Digest::of(&bytes));
        assert!(found.rejected[1].raw.starts_with("{\"id\":4,\"amount\":0.125,"), "{}", found.rejected[1].raw);
    }
}

#[test]
fn parquet_columns_that_are_not_known_obey_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = parquet_bytes(vec![
        ("id", Arc::new(Int32Array::from(vec![1, 1, 3]))),
        ("x", Arc::new(Int64Array::from(vec![None, None, Some(7)]))),
    ]);
    let mut source = source(&[("id", "text")]);
    source.0.contract.columns = ContractRule::Quarantine;
    source.0.key = vec![spanned("id")];
    let file = input(folder.path(), "a.parquet", &bytes);
    let (found, _) = run(&source, std::slice::from_ref(&file)).unwrap();
    assert_eq!(found.rows, ["1"]);
    assert_eq!(
        found.reasons(),
        [
            "2 duplicate_key id: an earlier row has the same key (`id`)",
            "3 columns x: the contract knows no column `x`, and it has a value",
        ]
    );
    assert_eq!(found.rejected[0].raw, "{\"id\":1}");
    source.0.contract.columns = ContractRule::Freeze;
    assert!(report(run(&source, std::slice::from_ref(&file))).contains("a column `x` that is not known (a.parquet:1)"));
    source.0.contract = Contract { columns: ContractRule::Evolve, data_type: ContractRule::Freeze };
    source.0.columns[0].data_type = spanned("date");
    assert!(
        report(run(&source, &[file]))
            .starts_with("unreadable-data: column `id` of `a.parquet` is an int, which does not become a date")
    );
}

#[test]
fn parquet_columns_without_a_type_are_missing_values() {
    let folder = tempfile::tempdir().unwrap();
    let none = || -> ArrayRef { Arc::new(arrow::array::NullArray::new(2)) };
    let x: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let geo = StructArray::from(vec![
        (Arc::new(Field::new("x", DataType::Int64, true)), x),
        (Arc::new(Field::new("y", DataType::Null, true)), none()),
    ]);
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let bytes = parquet_bytes(vec![("id", ids), ("note", none()), ("geo", Arc::new(geo)), ("extra", none())]);
    let mut source = source(&[("id", "bigint"), ("note", "text"), ("geo", "struct<x bigint>")]);
    source.0.contract.columns = ContractRule::Quarantine;
    let (found, _) = run(&source, &[input(folder.path(), "a.parquet", &bytes)]).unwrap();
    assert_eq!(found.reasons(), [""; 0]);
    assert_eq!(found.rows, ["1|-|{x: 1}", "2|-|{x: 2}"]);
}

#[test]
fn times_of_96_bits_are_read_in_any_year() {
    // Days since the Julian epoch, of which 2,440,588 is 1970-01-01, and nanoseconds of the day.
    let time = |days: u32, nanoseconds: u64| {
        let mut value = Int96::new();
        value.set_data(nanoseconds as u32, (nanoseconds >> 32) as u32, days);
        value
    };
    let at = [time(2_440_588, 1_500), time(5_373_484, 86_399_999_999_999), time(1_721_426, 0)];
    let schema = "message rows { REQUIRED INT64 id; REQUIRED INT96 at; OPTIONAL group geo { REQUIRED INT96 seen; } }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes: Vec<u8> = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Default::default()).unwrap();
    let mut rows = writer.next_row_group().unwrap();
    let mut column = rows.next_column().unwrap().unwrap();
    column.typed::<::parquet::data_type::Int64Type>().write_batch(&[1, 2, 3], None, None).unwrap();
    column.close().unwrap();
    let mut column = rows.next_column().unwrap().unwrap();
    column.typed::<Int96Type>().write_batch(&at, None, None).unwrap();
    column.close().unwrap();
    let mut column = rows.next_column().unwrap().unwrap();
    column.typed::<Int96Type>().write_batch(&at[1..], Some(&[1, 0, 1]), None).unwrap();
    column.close().unwrap();
    rows.close().unwrap();
    writer.close().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (found, _) = run(&source(&[]), &[input(folder.path(), "a.parquet", &bytes)]).unwrap();
    assert_eq!(found.columns(), "id bigint, at timestamp, geo struct<seen timestamp>");
    assert_eq!(
        found.rows,
        [
            "1|1970-01-01T00:00:00.000001Z|{seen: 9999-12-31T23:59:59.999999Z}",
            "2|9999-12-31T23:59:59.999999Z|-",
            "3|0001-01-01T00:00:00Z|{seen: 0001-01-01T00:00:00Z}",
        ]
    );
}

#[test]
fn dates_that_carry_a_time_of_day_are_not_cut() {
    let folder = tempfile::tempdir().unwrap();
    // Milliseconds: midnight, half a day later, one millisecond before 1970.
    let day: ArrayRef = Arc::new(Date64Array::from(vec![Some(86_400_000), Some(129_600_000), Some(-1), None]));
    let file = input(folder.path(), "a.parquet", &parquet_bytes(vec![("day", day)]));
    let (found, _) = run(&source(&[]), std::slice::from_ref(&file)).unwrap();
    assert_eq!((found.columns().as_str(), found.rows.join(" ")), ("day date", "1970-01-02 -".into()));
    assert_eq!(
        found.reasons(),
        [
            "2 data_type day: `1970-01-02T12:00:00` is not a date",
            "3 data_type day: `1969-12-31T23:59:59.999` is not a date",
        ]
    );
    let mut dropping = source(&[("day", "date")]);
    dropping.0.contract.data_type = ContractRule::DiscardValue;
    let (found, intake) = run(&dropping, std::slice::from_ref(&file)).unwrap();
    assert_eq!((found.rows.join(" "), intake.counts.values_dropped), ("1970-01-02 - - -".into(), 2));
    let (found, _) = run(&source(&[("day", "timestamp")]), &[file]).unwrap();
    assert_eq!(
        found.rows,
        ["1970-01-02T00:00:00Z", "1970-01-02T12:00:00Z", "1969-12-31T23:59:59.999Z", "-"],
        "a declared timestamp takes them"
    );
}

#[test]
fn decimals_and_long_numbers_are_not_rounded_into_a_double_that_nobody_declared() {
    let folder = tempfile::tempdir().unwrap();
    let decimals: Vec<i128> = vec![1_250_000_000, 1, 12_345_678_901_234_567_890_123_456_789];
    let fine = Decimal128Array::from(decimals).with_precision_and_scale(38, 10).unwrap();
    let bytes = parquet_bytes(vec![
        ("fine", Arc::new(fine)),
        ("n", Arc::new(Int64Array::from(vec![(1 << 53) + 1, 1 << 60, 3]))),
    ]);
    let file = input(folder.path(), "b.parquet", &bytes);
    let first = input(folder.path(), "a.csv", b"fine,n\n0.5,0.5\n");
    let of = |source: &(Source, Node), known: Known| run_known(source, std::slice::from_ref(&file), known).unwrap().0;
    assert_eq!(of(&source(&[]), Known::default()).columns(), "fine decimal(38,10), n bigint");
    let (both, _) = run(&source(&[]), &[first, file.clone()]).unwrap();
    assert_eq!(both.columns(), "fine text, n double");
    assert_eq!(both.reasons(), ["1 data_type n: `9007199254740993` has more digits than a double holds"]);
    assert!(both.rows[1].starts_with("0.0000000001|") && both.rows[2].starts_with("1234567890123456789.0123456789|"));
    // What is stored as a double stays one under this contract, and takes the values that are the same in it.
    let known = |name: &str| (name.to_string(), DataType::Float64);
    let known = Known { columns: vec![known("fine"), known("n")], keys: KeySet::default() };
    let found = of(&source(&[]), known.clone());
    assert_eq!(
        found.reasons(),
        [
            "1 data_type n: `9007199254740993` has more digits than a double holds",
            "3 data_type fine: `1234567890123456789.0123456789` has more digits than a double holds",
        ]
    );
    assert_eq!(found.rows.len(), 1);
    // A double that somebody declared is the nearest one.
    let found = of(&source(&[("fine", "double"), ("n", "double")]), known);
    assert_eq!((found.rows.len(), found.rejected.len()), (3, 0));
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_above_adds_no_files() {
    let folder = tempfile::tempdir().unwrap();
    input(folder.path(), "data/x/1.csv", b"id\n");
    std::os::unix::fs::symlink("..", folder.path().join("data/x/up")).unwrap();
    let (mut source, node) = source(&[]);
    source.path = Spanned { value: "data/**/*.csv".into(), span: (0, 0) };
    let found = list(&source, &node, folder.path()).unwrap();
    assert_eq!(found.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["data/x/1.csv"]);
}

#[test]
fn a_glob_lists_files_in_order_and_helps_when_it_matches_none() {
    let folder = tempfile::tempdir().unwrap();
    for name in
        ["data/b.csv.gz", "data/a.csv", "data/.hidden.csv", "data/deep/c.tsv.zst", "data/x.parquet", "other/y.txt"]
    {
        input(folder.path(), name, b"id\n");
    }
    let list_of = |pattern: &str| {
        let (mut source, mut node) = source(&[]);
        node.text = format!("path = \"{pattern}\"");
        source.path = Spanned { value: pattern.into(), span: (8, 8 + pattern.len()) };
        list(&source, &node, folder.path())
    };
    let found = list_of("data/**/*").unwrap();
    let found: Vec<_> = found.iter().map(|f| (f.path.as_str(), f.format, f.compression)).collect();
    assert_eq!(
        found,
        [
            ("data/a.csv", FileFormat::Csv, Compression::None),
            ("data/b.csv.gz", FileFormat::Csv, Compression::Gzip),
            ("data/deep/c.tsv.zst", FileFormat::Csv, Compression::Zstd),
            ("data/x.parquet", FileFormat::Parquet, Compression::None),
        ]
    );
    for (pattern, code, help) in [
        ("data/*.ndjson", "empty-glob", "`path = \"data/*.csv\"` matches 1 of them"),
        ("data/aa.csv", "empty-glob", "did you mean `data/a.csv`?"),
        ("dota/*.csv", "empty-glob", "did you mean `data/*.csv`?"),
        ("other/*", "missing-key", "add `format = \"csv\"` (or `\"ndjson\"`, `\"parquet\"`), or narrow `path`"),
    ] {
        let reports = list_of(pattern).unwrap_err();
        assert_eq!((reports.0[0].code, reports.0[0].hints[0].as_str()), (code, help), "{pattern}");
        assert_eq!(reports.0[0].at.as_ref().map(|at| (at.line, at.column)), Some((1, 9)));
    }
    assert_eq!(list_of("data/[").unwrap_err().0[0].code, "invalid-value");
    assert!(list_of("data/*.xml").unwrap_err().0[0].notes[0].starts_with("folder `data` holds 3 files: `a.csv`"));
}
