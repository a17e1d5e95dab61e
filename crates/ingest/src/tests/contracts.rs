//! The five words of a contract, for columns and for types, in CSV and NDJSON.

use super::*;
use ContractRule::{DiscardRow, DiscardValue, Evolve, Freeze, Quarantine};

fn with(columns: ContractRule, data_type: ContractRule, declared: &[(&str, &str)]) -> (Source, Node) {
    let mut made = source(declared);
    made.0.contract = Contract { columns, data_type };
    made
}

const CSV: &str = "id,n,extra\n1,10,\n2,ten,x\n3,30,y\n";
const JSON: &str = "{\"id\": 1, \"n\": 10, \"extra\": null}\n{\"id\": 2, \"n\": \"ten\", \"extra\": \"x\"}\n{\"id\": 3, \"n\": 30, \"extra\": \"y\"}\n";

/// Both files give the same.
fn both(source: &(Source, Node), rows: &[&str], reasons: &[&str], dropped: (u64, u64)) {
    for (name, text) in [("a.csv", CSV), ("a.ndjson", JSON)] {
        let (found, intake) = run_text(source, name, text).unwrap();
        assert_eq!(found.rows, rows, "{name}");
        assert_eq!(found.reasons(), reasons, "{name}");
        assert_eq!((intake.counts.dropped, intake.counts.values_dropped), dropped, "{name}");
        assert_eq!(intake.counts.rows_in, 3, "{name}");
    }
}

const DECLARED: [(&str, &str); 2] = [("id", "bigint"), ("n", "bigint")];

#[test]
fn types_evolve_only_where_nothing_is_declared() {
    let misfit = "3 data_type n: `ten` is not a bigint";
    // The header of the CSV file is line 1, so lines differ by one; tested apart.
    let (found, _) = run_text(&with(Evolve, Evolve, &DECLARED), "a.csv", CSV).unwrap();
    assert_eq!(found.rows, ["1|10|-", "3|30|y"]);
    assert_eq!(found.reasons(), [misfit]);
    both(&with(Evolve, Evolve, &[]), &["1|10|-", "2|ten|x", "3|30|y"], &[], (0, 0));
}

#[test]
fn values_that_do_not_fit_are_dropped_alone_or_with_their_row() {
    both(&with(Evolve, DiscardValue, &DECLARED), &["1|10|-", "2|-|x", "3|30|y"], &[], (0, 1));
    both(&with(Evolve, DiscardRow, &DECLARED), &["1|10|-", "3|30|y"], &[], (1, 0));
}

#[test]
fn columns_that_are_not_known_are_dropped_alone_or_with_their_row() {
    both(&with(DiscardValue, DiscardValue, &DECLARED), &["1|10", "2|-", "3|30"], &[], (0, 3));
    both(&with(DiscardRow, DiscardValue, &DECLARED), &["1|10"], &[], (2, 1));
}

#[test]
fn quarantine_beats_dropping() {
    let (found, intake) = run_text(&with(Quarantine, DiscardRow, &DECLARED), "a.csv", CSV).unwrap();
    assert_eq!(found.rows, ["1|10"]);
    let reason = "columns extra: the contract knows no column `extra`, and it has a value";
    assert_eq!(found.reasons(), [format!("3 {reason}"), format!("4 {reason}")]);
    assert_eq!(intake.counts.dropped, 0);
    let (found, _) = run_text(&with(Quarantine, Quarantine, &DECLARED), "a.ndjson", JSON).unwrap();
    assert_eq!(found.reasons(), ["2 data_type n: `ten` is not a bigint".to_string(), format!("3 {reason}")]);
}

#[test]
fn a_frozen_contract_stops_with_the_place_of_the_first_difference() {
    let csv = report(run_text(&with(Evolve, Freeze, &DECLARED), "a.csv", CSV));
    let told = "contract-broken: source `s` breaks its frozen contract in column `n`: `ten` is not a bigint";
    assert_eq!(csv, format!("{told} (a.csv:3:3)"));
    let json = report(run_text(&with(Evolve, Freeze, &DECLARED), "a.ndjson", JSON));
    assert_eq!(json, format!("{told} (a.ndjson:2:16)"));
    assert_eq!(reports(run_text(&with(Evolve, Freeze, &DECLARED), "a.csv", CSV)).exit_code(), 1);
    // A multi-line record: the place is the field's own line.
    let text = "id,note,n\n1,\"a\nb\nc\",x\n";
    let found = report(run_text(&with(Evolve, Freeze, &DECLARED), "a.csv", text));
    assert!(found.ends_with("`x` is not a bigint (a.csv:4:4)"), "{found}");
    let found = report(run_text(&with(Evolve, Freeze, &DECLARED), "a.csv", "id,n\n1,2\n1,2,3\n"));
    assert_eq!(
        found,
        "contract-broken: source `s` breaks its frozen contract: the row has 3 fields, not 2 (a.csv:3:1)"
    );
    let found = report(run_text(&with(Evolve, Freeze, &DECLARED), "a.ndjson", "{\"id\": 1, \"n\": 1}\n{\"id\": é}\n"));
    assert_eq!(
        found,
        "contract-broken: source `s` breaks its frozen contract: the line is not JSON from character 8 on (a.ndjson:2:8)"
    );
}

#[test]
fn frozen_columns_stop_for_new_and_for_missing_ones() {
    let frozen = with(Freeze, Quarantine, &DECLARED);
    let told = "contract-broken: source `s` breaks its frozen contract";
    assert_eq!(
        report(run_text(&frozen, "a.csv", CSV)),
        format!("{told}: it has a column `extra` that is not known (a.csv:1)")
    );
    assert_eq!(report(run_text(&frozen, "a.csv", "id\n1\n")), format!("{told}: column `n` is missing (a.csv:1)"));
    assert_eq!(
        report(run_text(&frozen, "a.ndjson", "{\"id\": 1, \"n\": 2}\n{\"id\": 1, \"x\": 2}\n")),
        format!("{told} in column `x`: the contract knows no column `x`, and it has a value (a.ndjson:2:16)")
    );
    assert_eq!(
        report(run_text(&frozen, "a.ndjson", "{\"id\": 1}\n")),
        format!("{told}: column `n` is missing (a.ndjson:1)")
    );
    // Rows that cannot be read are about types: they are quarantined here.
    let (found, _) = run_text(&frozen, "a.csv", "id,n\n1,2,3\n4,5\n").unwrap();
    assert_eq!((found.rows.len(), found.rejected.len()), (1, 1));
}

#[test]
fn with_nothing_declared_the_first_file_says_what_the_columns_are() {
    let folder = tempfile::tempdir().unwrap();
    let files =
        [input(folder.path(), "1.csv", b"id,n\n1,2\n"), input(folder.path(), "2.csv", b"n,id,x\n3,4,5\n6,7,\n")];
    let (found, _) = run(&with(Quarantine, Quarantine, &[]), &files).unwrap();
    assert_eq!((found.columns().as_str(), found.rows.join(" ")), ("id bigint, n bigint", "1|2 7|6".into()));
    assert_eq!(found.reasons(), ["2 columns x: the contract knows no column `x`, and it has a value"]);
    assert!(report(run(&with(Freeze, Quarantine, &[]), &files)).contains("`x` that is not known (2.csv:1)"));
    assert!(run(&with(Freeze, Quarantine, &[]), &files[..1]).is_ok());
}
