//! Every file of a warehouse, damaged in turn: `verify` names it, `--repair` and a run bring back what was there.

use crate::crash::copy;
use crate::crash::owned::{Showing, wrong_logs};
use crate::crash::scenes::first_published;
use crate::program::{pelton, stderr, stdout, write};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// What can happen to a file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Damage {
    Gone,
    Cut,
    Flipped,
}

fn harm(path: &Path, damage: Damage) {
    let bytes = fs::read(path).unwrap();
    match damage {
        Damage::Gone => fs::remove_file(path).unwrap(),
        Damage::Cut => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        Damage::Flipped => {
            let mut bytes = bytes;
            // Among the rows, behind the mark at the beginning.
            for byte in &mut bytes[8..40] {
                *byte ^= 0xff;
            }
            fs::write(path, bytes).unwrap();
        }
    }
}

fn digests(folder: &Path) -> String {
    let sql = "select node, digest from pelton.environments where environment = 'main' order by node";
    let output = pelton(folder, &["query", sql, "--format", "csv"]);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

/// Files below a folder of a warehouse, relative to it.
fn files(warehouse: &Path, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(warehouse.join(folder)).into_iter().flatten().flatten() {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => found.extend(files(warehouse, &path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

#[test]
fn whatever_is_damaged_is_named_and_mended() {
    let template = tempfile::tempdir().unwrap();
    first_published(template.path());
    let sound = pelton(template.path(), &["verify", "--rows"]);
    assert!(sound.status.success() && stdout(&sound).ends_with("is as it was written\n"), "{}", stdout(&sound));
    let wanted = digests(template.path());
    let warehouse = template.path().join("warehouse");
    let mut tried = 0;
    for folder in ["tables", "quarantine", "artifacts", "online"] {
        let all = files(&warehouse, folder);
        assert!(!all.is_empty(), "{folder} has no file");
        for file in all {
            let is_data = file.starts_with("tables/") && file.ends_with(".parquet");
            let harms: &[Damage] =
                if is_data { &[Damage::Gone, Damage::Cut, Damage::Flipped] } else { &[Damage::Gone, Damage::Cut] };
            for damage in harms {
                let folder = tempfile::tempdir().unwrap();
                copy(template.path(), folder.path());
                harm(&folder.path().join("warehouse").join(&file), *damage);
                let what = format!("{file} {damage:?}");
                let words: &[&str] = if *damage == Damage::Flipped {
                    &["verify", "--rows", "--format", "json"]
                } else {
                    &["verify", "--format", "json"]
                };
                let found = pelton(folder.path(), words);
                assert_eq!(found.status.code(), Some(1), "{what}: {}{}", stdout(&found), stderr(&found));
                assert!(
                    stderr(&found).contains("error[damage-found]")
                        && stderr(&found).contains("hint: pelton verify --repair")
                );
                if *damage == Damage::Flipped {
                    let table = file.split('/').nth(1).unwrap();
                    let read = pelton(folder.path(), &["query", &format!("select * from {table}")]);
                    assert!(stderr(&read).contains("error[damaged-table]"), "{what}: {}", stderr(&read));
                }
                let answer: Value = serde_json::from_str(&stdout(&found)).unwrap();
                let named: Vec<&str> = answer["findings"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|finding| finding["path"].as_str().unwrap())
                    .collect();
                // Rows are of a table, and a log is one thing.
                assert!(named.iter().any(|named| file.starts_with(named)), "{what}: {named:?}");

                let words: Vec<&str> = words.iter().copied().chain(["--repair"]).collect();
                let repaired = pelton(folder.path(), &words);
                assert_eq!(repaired.status.code(), Some(0), "{what}: {}{}", stdout(&repaired), stderr(&repaired));
                let run = pelton(folder.path(), &["run"]);
                assert_eq!(run.status.code(), Some(0), "{what}: {}{}", stdout(&run), stderr(&run));
                let again = pelton(folder.path(), &["verify", "--rows"]);
                assert_eq!(again.status.code(), Some(0), "{what}: {}{}", stdout(&again), stderr(&again));
                assert!(stderr(&again).is_empty(), "{what}: {}", stderr(&again));
                assert_eq!(digests(folder.path()), wanted, "{what}");
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn a_log_that_is_damaged_together_with_its_rows_is_mended_at_once() {
    let template = tempfile::tempdir().unwrap();
    first_published(template.path());
    let wanted = digests(template.path());
    let of_table = files(&template.path().join("warehouse"), "tables/spend");
    for damage in [Damage::Gone, Damage::Cut] {
        let folder = tempfile::tempdir().unwrap();
        copy(template.path(), folder.path());
        let warehouse = folder.path().join("warehouse");
        of_table.iter().for_each(|file| harm(&warehouse.join(file), damage));
        let repaired = pelton(folder.path(), &["verify", "--repair"]);
        assert_eq!(repaired.status.code(), Some(0), "{damage:?}: {}{}", stdout(&repaired), stderr(&repaired));
        assert!(stderr(&repaired).contains("findings are mended by the next run"), "{}", stderr(&repaired));
        let run = pelton(folder.path(), &["run"]);
        assert_eq!(run.status.code(), Some(0), "{damage:?}: {}{}", stdout(&run), stderr(&run));
        let again = pelton(folder.path(), &["verify", "--rows"]);
        assert_eq!(again.status.code(), Some(0), "{damage:?}: {}{}", stdout(&again), stderr(&again));
        assert_eq!(digests(folder.path()), wanted, "{damage:?}");
        assert_eq!(wrong_logs(&warehouse, Showing::Now), Vec::<String>::new(), "{damage:?}");
    }
}

#[test]
fn predictions_that_are_gone_are_not_made_up() {
    let folder = tempfile::tempdir().unwrap();
    first_published(folder.path());
    let row = r#"{"customer": "c1", "at": "2026-03-01T00:00:00Z", "amount": 20}"#;
    assert!(pelton(folder.path(), &["predict", "late", "--row", row]).status.success());
    let (mut server, _) = crate::serving::start(folder.path());
    let stopped = std::process::Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(stopped.success() && server.wait().unwrap().success());
    assert!(pelton(folder.path(), &["verify"]).status.success());
    let warehouse = folder.path().join("warehouse");
    let file =
        files(&warehouse, "tables/pelton_predictions").into_iter().find(|file| file.ends_with(".parquet")).unwrap();
    fs::remove_file(warehouse.join(&file)).unwrap();
    for words in [&["verify"][..], &["verify", "--repair"]] {
        let output = pelton(folder.path(), words);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(&format!("note: {file} is missing\n")), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("hint: restore what is named from a copy of the warehouse"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn another_programs_rows_in_a_table_are_named_and_taken_out_of_its_log() {
    let folder = tempfile::tempdir().unwrap();
    first_published(folder.path());
    let log = folder.path().join("warehouse/tables/orders/_delta_log");
    let file = "part-00000-5f0c8a1e-1111-2222-3333-444455556666-c000.snappy.parquet";
    let add = format!(
        "{{\"add\":{{\"path\":\"{file}\",\"partitionValues\":{{}},\"size\":9,\"modificationTime\":1,\"dataChange\":true}}}}\n"
    );
    fs::write(log.join("00000000000000000001.json"), add).unwrap();
    let found = pelton(folder.path(), &["verify"]);
    assert_eq!(found.status.code(), Some(1));
    let said = format!("note: tables/orders/_delta_log names `{file}`, which Pelton did not write\n");
    assert!(stderr(&found).contains(&said), "{}", stderr(&found));
    assert!(pelton(folder.path(), &["verify", "--repair"]).status.success());
    assert!(pelton(folder.path(), &["verify"]).status.success());
    assert!(log.join("00000000000000000002.json").exists(), "the log goes on");
}

#[test]
fn a_history_of_what_was_seen_is_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        &[
            ("pelton.toml", "name = \"shop\"\n"),
            ("data/customers.csv", "id,city\n1,Bern\n2,Genf\n"),
            ("sources/customers.toml", "kind = \"files\"\npath = \"data/*.csv\"\nkey = [\"id\"]\n"),
            ("tables/seen.sql", "/* pelton\nbuild = \"history\"\nkey = \"id\"\n*/\nselect id, city from customers"),
        ],
    );
    assert!(pelton(folder, &["run"]).status.success());
    let warehouse = folder.join("warehouse");
    let file = files(&warehouse, "tables/seen").into_iter().find(|file| file.ends_with(".parquet")).unwrap();
    let kept = fs::read(warehouse.join(&file)).unwrap();
    fs::remove_file(warehouse.join(&file)).unwrap();
    let output = pelton(folder, &["verify", "--repair"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).contains(&format!("{file} is missing  only a copy of it helps\n")), "{}", stdout(&output));
    assert!(
        stderr(&output).contains("hint: restore what is named from a copy of the warehouse"),
        "{}",
        stderr(&output)
    );
    let planned = pelton(folder, &["plan", "--exit-code"]);
    assert_eq!(planned.status.code(), Some(0), "{}", stdout(&planned));
    fs::write(warehouse.join(&file), kept).unwrap();
    assert!(pelton(folder, &["verify", "--rows"]).status.success());
}

#[test]
fn a_publication_whose_files_are_lost_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    first_published(folder.path());
    for file in files(&folder.path().join("warehouse"), "tables/sound").iter().filter(|file| file.ends_with(".parquet"))
    {
        harm(&folder.path().join("warehouse").join(file), Damage::Gone);
    }
    let repair = pelton(folder.path(), &["verify", "--repair"]);
    assert!(stdout(&repair).contains("sound"), "{}{}", stdout(&repair), stderr(&repair));
    let run = pelton(folder.path(), &["run"]);
    assert!(run.status.success(), "{}", stderr(&run));
    let before = digests(folder.path());
    let back = pelton(folder.path(), &["rollback", "--to", "1"]);
    assert_eq!(back.status.code(), Some(2), "{}", stdout(&back));
    assert!(
        stderr(&back).starts_with(
            "error[damaged-table]: publication 1 of `main` cannot be read any more: files of `sound` are lost\n"
        ),
        "{}",
        stderr(&back)
    );
    assert_eq!(digests(folder.path()), before);
}

#[test]
fn what_reads_a_version_that_was_lost_is_built_when_its_input_changes_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    first_published(folder);
    let of_customer = "select customer, sum(amount) as total, count(*) as n from sound group by customer";
    let merged = format!("/* pelton\nbuild = \"merge\"\nkey = \"customer\"\n*/\n{of_customer}");
    write(folder, &[("tables/totals.sql", &merged)]);
    assert!(pelton(folder, &["run"]).status.success());
    let warehouse = folder.join("warehouse");
    for file in files(&warehouse, "tables/sound").iter().filter(|file| file.ends_with(".parquet")) {
        harm(&warehouse.join(file), Damage::Gone);
    }
    let more = "order_id,customer,at,amount,late\n9000,c1,2026-02-01T00:00:00Z,5.00,false\n";
    write(folder, &[("data/2026-02.csv", more)]);
    assert!(pelton(folder, &["verify", "--repair"]).status.success());
    let run = pelton(folder, &["run"]);
    assert_eq!(run.status.code(), Some(0), "{}{}", stdout(&run), stderr(&run));
    let differing =
        format!("(select * from totals except {of_customer}) union all ({of_customer} except select * from totals)");
    let found = pelton(folder, &["query", &format!("select count(*) as n from ({differing})"), "--format", "csv"]);
    assert_eq!(stdout(&found), "n\n0\n", "{}", stderr(&found));
}

#[test]
fn rows_whose_file_and_copy_are_gone_are_not_published_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    first_published(folder);
    let wanted = digests(folder);
    let warehouse = folder.join("warehouse");
    let of_source = files(&warehouse, "tables/orders");
    of_source
        .iter()
        .filter(|file| file.ends_with(".parquet"))
        .for_each(|file| harm(&warehouse.join(file), Damage::Gone));
    let data = fs::read(folder.join("data/2026-01.csv")).unwrap();
    fs::remove_file(folder.join("data/2026-01.csv")).unwrap();
    assert!(pelton(folder, &["verify", "--repair"]).status.success());
    for _ in 0..2 {
        let run = pelton(folder, &["run"]);
        assert_ne!(run.status.code(), Some(0), "{}", stdout(&run));
        assert!(
            stderr(&run).contains("error[gone-file]: rows of a file that is gone of `orders` are lost"),
            "{}",
            stderr(&run)
        );
        assert_eq!(digests(folder), wanted);
    }
    fs::write(folder.join("data/2026-01.csv"), data).unwrap();
    let run = pelton(folder, &["run"]);
    assert_eq!(run.status.code(), Some(0), "{}{}", stdout(&run), stderr(&run));
    assert_eq!(digests(folder), wanted);
}

#[test]
fn a_single_bit_of_a_data_file_is_found() {
    let template = tempfile::tempdir().unwrap();
    first_published(template.path());
    let wanted = digests(template.path());
    let path =
        files(&template.path().join("warehouse"), "tables/spend").into_iter().find(|file| file.ends_with(".parquet"));
    let path = path.unwrap();
    let bytes = fs::read(template.path().join("warehouse").join(&path)).unwrap();
    // The rows, and behind them what is said of the columns, the rows and their least and greatest values.
    for at in (4..bytes.len() - 4).step_by(bytes.len() / 24) {
        let folder = tempfile::tempdir().unwrap();
        copy(template.path(), folder.path());
        let mut harmed = bytes.clone();
        harmed[at] ^= 0x10;
        fs::write(folder.path().join("warehouse").join(&path), harmed).unwrap();
        let found = pelton(folder.path(), &["verify", "--rows"]);
        assert_eq!(found.status.code(), Some(1), "byte {at}: {}{}", stdout(&found), stderr(&found));
        assert!(stderr(&found).contains(&format!("{path} is not what was written")), "byte {at}: {}", stderr(&found));
        assert!(pelton(folder.path(), &["verify", "--rows", "--repair"]).status.success(), "byte {at}");
        let run = pelton(folder.path(), &["run"]);
        assert_eq!(run.status.code(), Some(0), "byte {at}: {}{}", stdout(&run), stderr(&run));
        assert_eq!(digests(folder.path()), wanted, "byte {at}");
    }
}
