//! Columns over files and versions: inference, widening, evolution.

use super::*;

#[test]
fn types_are_inferred_from_all_rows_of_all_files() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        input(folder.path(), "1.csv", b"id,when,flag,code,amount\n1,2026-01-01,true,007,1\n2,2026-01-02,false,8,2\n"),
        input(folder.path(), "2.csv", b"amount,id,late\n2.5,3,x\nNA,4,\nbroken,row\n"),
        input(folder.path(), "3.ndjson", b"{\"id\": 5, \"when\": \"2026-01-03T10:00:00Z\", \"tags\": [\"a\", \"b\"], \"geo\": {\"lat\": 1}}\n{\"id\": 6, \"geo\": {\"lat\": 1.5, \"lon\": 2}}\n"),
    ];
    let (found, intake) = run(&source(&[("id", "bigint")]), &files).unwrap();
    assert_eq!(
        found.columns(),
        "id bigint, when timestamp, flag boolean, code text, amount double, late text, tags text[], geo struct<lat double, lon bigint>"
    );
    assert_eq!(
        found.rows,
        [
            "1|2026-01-01T00:00:00Z|true|007|1.0|-|-|-",
            "2|2026-01-02T00:00:00Z|false|8|2.0|-|-|-",
            "3|-|-|-|2.5|x|-|-",
            "4|-|-|-|-|-|-|-",
            "5|2026-01-03T10:00:00Z|-|-|-|-|[a, b]|{lat: 1.0, lon: }",
            "6|-|-|-|-|-|-|{lat: 1.5, lon: 2}",
        ]
    );
    assert_eq!(found.reasons(), ["4 unreadable: the row has 2 fields, not 3"]);
    assert_eq!((intake.new_columns.len(), intake.widened.len(), intake.missing_columns.len()), (8, 0, 0));
    assert_eq!(found.files, ["1.csv", "2.csv", "3.ndjson"]);
}

fn known(columns: &[(&str, &str)]) -> Known {
    let columns = columns.iter().map(|(name, data_type)| match *data_type {
        "null" => (name.to_string(), DataType::Null),
        _ => (name.to_string(), pelton_query::types::parse(data_type).unwrap()),
    });
    Known { columns: columns.collect(), keys: KeySet::default() }
}

#[test]
fn a_known_column_widens_under_evolve_and_holds_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let file = input(folder.path(), "2.csv", b"n,new,gone\n2.5,1,x\n3,2,y\n");
    let before = || known(&[("old", "text"), ("n", "bigint"), ("gone", "text")]);
    let mut source = source(&[]);
    let (found, intake) = run_known(&source, std::slice::from_ref(&file), before()).unwrap();
    assert_eq!(found.columns(), "old text, n bigint, gone text, new bigint");
    assert_eq!(found.reasons(), ["2 data_type n: `2.5` is not a bigint"]);
    assert_eq!(found.rows, ["-|3|y|2"]);
    assert_eq!((intake.new_columns, intake.missing_columns), (vec!["new".to_string()], vec!["old".to_string()]));

    source.0.contract.data_type = ContractRule::Evolve;
    let (found, intake) = run_known(&source, std::slice::from_ref(&file), before()).unwrap();
    assert_eq!(found.rows, ["-|2.5|x|1", "-|3.0|y|2"]);
    assert_eq!(intake.widened, [("n".to_string(), DataType::Int64, DataType::Float64)]);

    // It never narrows.
    let (found, intake) = run_known(&source, &[file], known(&[("n", "text"), ("new", "double")])).unwrap();
    assert_eq!(found.columns(), "n text, new double, gone text");
    assert!(intake.widened.is_empty());
}

#[test]
fn files_one_by_one_give_the_types_of_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let texts =
        ["a,b,c\n1,,true\n", "a,b,c\n2.5,,x\n", "b,d\n7,2026-01-01\n", "d\n2026-01-01 10:00:00\n", "d,b\n,1.5\n"];
    let files: Vec<InputFile> =
        texts.iter().enumerate().map(|(i, text)| input(folder.path(), &format!("{i}.csv"), text.as_bytes())).collect();
    let mut source = source(&[]);
    source.0.contract.data_type = ContractRule::Evolve;
    let (all, _) = run(&source, &files).unwrap();
    let mut before = Known::default();
    for file in &files {
        let (_, intake) = run_known(&source, std::slice::from_ref(file), before).unwrap();
        let columns = intake.schema.fields().iter().map(|field| match intake.untyped.contains(field.name()) {
            true => (field.name().clone(), DataType::Null),
            false => (field.name().clone(), field.data_type().clone()),
        });
        before = Known { columns: columns.collect(), keys: KeySet::default() };
    }
    assert_eq!(all.columns(), "a double, b double, c text, d timestamp");
    let names: Vec<_> =
        all.schema.unwrap().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
    assert_eq!(before.columns, names);
}

#[test]
fn whole_numbers_that_a_double_would_change_stay_as_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let long = input(folder.path(), "1.csv", b"n,m\n9007199254740993,9007199254740992\n");
    let fine = input(folder.path(), "2.ndjson", b"{\"n\": 0.5, \"m\": 1.5}\n");
    let mut source = source(&[]);
    source.0.contract.data_type = ContractRule::Evolve;
    for files in [[long.clone(), fine.clone()], [fine.clone(), long.clone()]] {
        let (found, _) = run(&source, &files).unwrap();
        assert_eq!(found.columns(), "n text, m double");
        let mut kept: Vec<&str> = found.rows.iter().filter_map(|row| row.split('|').next()).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["0.5", "9007199254740993"]);
    }
    // One after the other: what was stored tells no long numbers, so the column widens; then all files are read again.
    let (found, _) = run(&source, std::slice::from_ref(&long)).unwrap();
    assert_eq!(found.columns(), "n bigint, m bigint");
    let (found, _) =
        run_known(&source, std::slice::from_ref(&fine), known(&[("n", "bigint"), ("m", "bigint")])).unwrap();
    assert_eq!(found.columns(), "n double, m double");
    let before = known(&[("n", "double"), ("m", "double")]);
    let less = crate::narrowed(&source.0, &source.1, std::slice::from_ref(&long), &before.columns, &[], 1).unwrap();
    assert_eq!(less.unwrap().columns, known(&[("n", "bigint"), ("m", "bigint")]).columns);
    let (found, _) = run_known(&source, &[long.clone(), fine], before).unwrap();
    assert_eq!(found.columns(), "n text, m double");
    // Where earlier files decide the type, such a number does not fit; a double that somebody declared takes the nearest one.
    source.0.contract.data_type = ContractRule::Quarantine;
    let before = || known(&[("n", "double"), ("m", "double")]);
    let (found, _) = run_known(&source, std::slice::from_ref(&long), before()).unwrap();
    assert_eq!(found.reasons(), ["2 data_type n: `9007199254740993` has more digits than a double holds"]);
    let declared = super::source(&[("n", "double")]);
    let (found, _) = run_known(&declared, &[long], before()).unwrap();
    assert_eq!((found.rows.len(), found.rejected.len()), (1, 0));
}

#[test]
fn declared_types_of_other_kinds_hold_when_the_declaration_goes() {
    let folder = tempfile::tempdir().unwrap();
    let file = input(folder.path(), "2.csv", b"price,small\n1.25,7\n");
    let mut source = source(&[]);
    source.0.contract.data_type = ContractRule::Evolve;
    let before = || known(&[("price", "decimal(12,2)"), ("small", "smallint")]);
    let (found, intake) = run_known(&source, &[file], before()).unwrap();
    assert_eq!((found.columns().as_str(), intake.widened.len()), ("price decimal(12,2), small smallint", 0));
    let file = input(folder.path(), "3.csv", b"price,small\n1.255,70000\n");
    let (found, intake) = run_known(&source, &[file], before()).unwrap();
    assert_eq!((found.columns().as_str(), intake.widened.len()), ("price double, small bigint", 2));
}

#[test]
fn a_sample_is_bounded_and_headers_alone_are_read_when_all_is_declared() {
    let folder = tempfile::tempdir().unwrap();
    let file = input(folder.path(), "1.csv", b"a,b\n1,2\nx,y\n");
    let (source, node) = source(&[("b", "text")]);
    let files = std::slice::from_ref(&file);
    let schema = |rows| {
        let look = Look { threads: 1, sample_rows: rows };
        described(&resolve_schema(&source, &node, files, &Known::default(), look).unwrap())
    };
    assert_eq!(schema(Some(1)), "b text, a bigint");
    assert_eq!(schema(None), "b text, a text");
}

#[test]
fn settings_that_do_not_fit_the_files_are_reported_together() {
    let folder = tempfile::tempdir().unwrap();
    let file = input(folder.path(), "1.csv", b"id,when,Id\n1,soon,2\n");
    let mut source = source(&[]);
    source.0.key = vec![spanned("ids")];
    source.0.time = Some(spanned("when"));
    let found = reports(run(&source, &[file]));
    let codes: Vec<_> = found.0.iter().map(|report| report.code).collect();
    assert_eq!(codes, ["unreadable-data", "unknown-column", "type-mismatch"]);
    assert_eq!(found.0[1].hints, ["did you mean `id`?"]);

    let mut source = super::source(&[("a", "bigit"), ("b", "text")]);
    source.0.csv.encoding = "utf-9".into();
    let found = reports(run(&source, &[]));
    assert_eq!(found.0.iter().map(|report| report.code).collect::<Vec<_>>(), ["invalid-value", "invalid-value"]);
}

#[test]
fn without_a_header_the_declared_columns_are_the_columns() {
    let mut headless = source(&[("a", "bigint"), ("b", "text")]);
    headless.0.csv.header = false;
    let (found, _) = run_text(&headless, "a.csv", "1,x\n2,y\n3\n").unwrap();
    assert_eq!(found.rows, ["1|x", "2|y"]);
    assert_eq!(found.reasons(), ["3 unreadable: the row has 1 field, not 2"]);
    headless.0.columns.clear();
    assert!(report(run_text(&headless, "a.csv", "1,x\n")).starts_with("missing-key: source `s` needs `[columns]`"));
}

#[test]
fn no_rows_and_no_columns_is_a_mistake_and_no_rows_alone_is_not() {
    let (found, intake) = run_text(&source(&[("id", "bigint")]), "a.ndjson", "\n\n").unwrap();
    assert_eq!((found.rows.len(), found.counts.len(), intake.counts.rows_in), (0, 1, 0));
    assert_eq!(intake.missing_columns, ["id"]);
    let told = report(run_text(&source(&[]), "a.ndjson", "\n"));
    assert_eq!(told, "unreadable-data: source `s` has no columns: its files hold no rows (sources/s.toml:1:1)");
    let (found, intake) = run_text(&source(&[]), "a.csv", "id,,x\n").unwrap();
    assert_eq!(found.columns(), "id text, column_2 text, x text");
    assert_eq!(intake.untyped, ["id", "column_2", "x"]);
}

#[test]
fn columns_and_types_that_only_a_file_needed_go_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        input(folder.path(), "1.csv", b"id,n,day,empty\n1,2,2026-01-01,\n"),
        input(folder.path(), "2.ndjson", b"{\"id\": 2, \"geo\": {\"lat\": 1}}\n"),
    ];
    let source = source(&[("id", "bigint"), ("unit", "text")]);
    let before = known(&[
        ("id", "bigint"),
        ("unit", "text"),
        ("n", "text"),
        ("day", "timestamp"),
        ("empty", "bigint"),
        ("junk", "text"),
        ("geo", "struct<lat double, lon bigint>"),
    ]);
    let less = |held: &[&str]| {
        let held: Vec<String> = held.iter().map(|name| name.to_string()).collect();
        let less = crate::narrowed(&source.0, &source.1, &files, &before.columns, &held, 2).unwrap();
        less.map(|less| {
            let type_of = |data_type: &DataType| match data_type {
                DataType::Null => "none".to_string(),
                other => pelton_query::types::name(other),
            };
            let all = less.columns.iter().map(|(name, data_type)| format!("{name} {}", type_of(data_type)));
            (all.collect::<Vec<_>>().join(", "), less.gone.join(", "))
        })
    };
    let (columns, gone) = less(&[]).unwrap();
    assert_eq!(columns, "id bigint, unit text, n bigint, day date, empty none, geo struct<lat bigint>");
    assert_eq!(gone, "junk");
    let (columns, gone) = less(&["junk", "n", "geo"]).unwrap();
    assert_eq!(
        columns,
        "id bigint, unit text, n text, day date, empty none, junk text, geo struct<lat double, lon bigint>"
    );
    assert_eq!(gone, "", "what rows of other files have stays");
    assert_eq!(less(&["junk", "n", "day", "empty", "geo"]), None);
}
