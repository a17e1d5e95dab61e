//! What the files promise: the same bytes for the same options, dirt that is counted exactly, and fraud that leaves traces.

use super::*;
use pelton_base::Digest;
use std::collections::{BTreeMap, BTreeSet, HashSet};

fn made(rows: u64, seed: u64) -> (tempfile::TempDir, Written) {
    let folder = tempfile::tempdir().unwrap();
    let written = write(folder.path(), &Options { rows, seed }, &|_| {}).unwrap();
    (folder, written)
}

fn text(folder: &tempfile::TempDir, path: &str) -> String {
    std::fs::read_to_string(folder.path().join(path)).unwrap()
}

fn digest(folder: &tempfile::TempDir, written: &Written) -> Digest {
    let texts: Vec<String> = written.files.iter().map(|file| text(folder, &file.path)).collect();
    Digest::of_parts(written.files.iter().zip(&texts).flat_map(|(file, text)| [file.path.as_str(), text.as_str()]))
}

/// The fields of a line of the payments' files; only amounts are quoted.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut is_quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            c => fields.last_mut().unwrap().push(c),
        }
    }
    fields
}

#[test]
fn the_same_options_give_the_same_bytes() {
    let (a, b, c) = (made(3_000, 7), made(3_000, 7), made(3_000, 8));
    assert_eq!(a.1, b.1);
    assert_eq!(digest(&a.0, &a.1), digest(&b.0, &b.1));
    assert_ne!(digest(&a.0, &a.1), digest(&c.0, &c.1));
}

#[test]
fn no_month_is_missing_and_files_are_as_long_as_is_said() {
    for rows in [ROWS_MIN, 20_000] {
        let (folder, written) = made(rows, 1);
        for month in 1..=12 {
            let path = format!("data/transactions/2025-{month:02}.csv");
            assert!(written.files.iter().any(|file| file.path == path && file.lines > 20), "{rows} {path}");
        }
        assert!(written.files.iter().any(|file| file.path.starts_with("data/chargebacks/")));
        for file in &written.files {
            let text = text(&folder, &file.path);
            assert_eq!((text.lines().count() as u64, text.len() as u64), (file.lines, file.bytes), "{}", file.path);
        }
    }
}

#[test]
fn every_line_is_accounted_for() {
    let (folder, written) = made(30_000, 3);
    let merchants: HashSet<String> = text(&folder, "data/merchants.ndjson")
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["merchant_id"].as_str().unwrap().to_string()
        })
        .collect();
    assert_eq!(merchants.len() as u64, written.merchants);
    let (mut dirt, mut lines, mut good, mut seen) = (Dirt::default(), 0, 0, HashSet::new());
    for file in written.files.iter().filter(|file| file.path.starts_with("data/transactions/")) {
        let text = text(&folder, &file.path);
        let mut rows = text.lines().map(fields);
        let header = rows.next().unwrap();
        assert_eq!(header.len(), if file.path.as_str() < "data/transactions/2025-07" { 8 } else { 9 });
        for row in rows {
            lines += 1;
            if row.len() != header.len() {
                let counter =
                    if row.len() < header.len() { &mut dirt.cut_off_lines } else { &mut dirt.extra_field_lines };
                *counter += 1;
                continue;
            }
            match row[5].as_str() {
                "9999999.99" => dirt.impossible_amounts += 1,
                "N/A" => dirt.missing_amounts += 1,
                amount if amount.contains(',') => dirt.decimal_commas += 1,
                _ if !merchants.contains(&row[3]) => dirt.unknown_merchants += 1,
                _ if !seen.insert(row[0].clone()) => dirt.duplicate_ids += 1,
                amount => {
                    assert!(amount.parse::<f64>().unwrap() > 0.0);
                    good += 1;
                }
            }
            dirt.mixed_case_channels += u64::from(row[6] != row[6].to_lowercase());
            assert!(["pos", "contactless", "ecom"].contains(&row[6].to_lowercase().as_str()));
            dirt.late_rows += u64::from(file.path.contains("late") && !row[1].starts_with("2025-09"));
        }
    }
    // The late file also repeats rows; those were counted as late above.
    let june = text(&folder, "data/transactions/2025-06.csv");
    let late = text(&folder, transactions::LATE_FILE);
    let repeated = late.lines().skip(1).filter(|line| june.contains(line.trim_end_matches(','))).count() as u64;
    dirt.late_rows -= repeated;
    assert_eq!(dirt, written.dirt);
    assert!(dirt.duplicate_ids > 10 && dirt.decimal_commas > 5 && dirt.unknown_merchants > 5 && dirt.late_rows > 5);
    assert_eq!(lines, written.rows + dirt.duplicate_ids);
    assert_eq!(lines, good + dirt.refused_by_source() + dirt.refused_by_checks());
}

#[test]
fn chargebacks_follow_payments_by_five_to_sixty_days() {
    let (folder, written) = made(20_000, 4);
    let mut paid = BTreeMap::new();
    for file in written.files.iter().filter(|file| file.path.starts_with("data/transactions/")) {
        for row in text(&folder, &file.path).lines().skip(1).map(fields).filter(|row| row.len() > 2) {
            paid.insert(row[0].clone(), pelton_base::parse_time_us(&row[1]).unwrap());
        }
    }
    let (mut ids, mut count) = (BTreeSet::new(), 0);
    for file in written.files.iter().filter(|file| file.path.starts_with("data/chargebacks/")) {
        for line in text(&folder, &file.path).lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let reported = pelton_base::parse_time_us(row["reported_at"].as_str().unwrap()).unwrap();
            assert!(row["reported_at"].as_str().unwrap().starts_with(&file.path["data/chargebacks/".len()..][..7]));
            assert!(ids.insert(row["chargeback_id"].as_str().unwrap().to_string()));
            count += 1;
            if let Some(paid) = paid.get(&row["transaction_id"].to_string()) {
                assert!((5..=60).contains(&((reported - paid) / 86_400_000_000)), "{line}");
            }
        }
    }
    assert_eq!(count, written.chargebacks);
    // About one payment in a hundred is fraud; those of December are not all reported yet.
    assert_eq!(written.frauds, 200);
    assert!((150..=215).contains(&count), "{count}");
}

#[test]
fn the_sample_request_is_about_a_known_customer() {
    let (folder, written) = made(5_000, 9);
    assert_eq!(written.sample, sample_request(&Options { rows: 5_000, seed: 9 }));
    let customers = text(&folder, "data/customers.csv");
    for (name, row) in [("normal", &written.sample.normal), ("suspicious", &written.sample.suspicious)] {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        assert!(customers.contains(&format!("\n{},", row["customer_id"])), "{name}");
        let file: serde_json::Value = serde_json::from_str(&text(&folder, &format!("requests/{name}.json"))).unwrap();
        assert_eq!(file["rows"][0], row);
    }
}

#[test]
fn a_folder_with_files_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    let error = write(folder.path(), &Options::default(), &|_| {}).unwrap_err();
    assert_eq!(error.report().code, "folder-not-empty");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn too_few_payments_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = write(folder.path(), &Options { rows: 10, seed: 1 }, &|_| {}).unwrap_err();
    assert_eq!(error.report().code, "invalid-value");
    assert_eq!(error.to_string(), "the demo has 1000 to 80000000 payments, not 10");
}

#[test]
fn the_whole_example_is_written() {
    fn walk(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => walk(&entry.path(), &format!("{name}/"), found),
                false => drop(found.insert(name)),
            }
        }
    }
    let mut found = BTreeSet::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fraud");
    for part in ["sources", "tables", "models", "tests"] {
        walk(&example.join(part), &format!("{part}/"), &mut found);
    }
    found.extend(["README.md", "pelton.toml"].map(str::to_string));
    assert_eq!(found, PROJECT_FILES.iter().map(|(path, _)| path.to_string()).collect());
    let (folder, _) = made(ROWS_MIN, 1);
    for (path, expected) in PROJECT_FILES {
        assert_eq!(&text(&folder, path), expected);
    }
}

#[test]
fn a_card_makes_one_payment_a_second() {
    let options = Options { rows: 60_000, seed: 5 };
    let world = World::new(&options);
    for month in calendar::months(options.rows) {
        let payments = payments::simulate(&world, &month);
        assert_eq!(payments.len() as u64, month.rows);
        assert!(payments.is_sorted() && payments.iter().all(|payment| (month.start..month.end).contains(&payment.at)));
        let moments: HashSet<_> = payments.iter().map(|payment| (payment.at, payment.customer)).collect();
        assert_eq!(moments.len(), payments.len());
    }
}
