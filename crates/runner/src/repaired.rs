//! Reads a file of repaired rows: an export of the quarantine whose `raw` somebody corrected.
//!
//! It is read as a source of Pelton's own, so that CSV, NDJSON and Parquet are understood as everywhere.

use crate::data_file;
use crate::replay::{REPLAY_ROWS_MAX, Repaired};
use pelton_base::{Place, Report, Reports, thousands};
use pelton_ingest::InputFile;
use pelton_project::{Contract, ContractRule, CsvSettings};
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

/// The columns that are read; an export has others beside them.
const COLUMNS: [(&str, &str); 4] = [("id", "text"), ("file", "text"), ("line", "bigint"), ("raw", "text")];

/// Reads repaired rows from CSV, NDJSON or Parquet: `file`, `line` and `raw`, and `id` as the export has it.
pub fn read_repaired(path: &Path) -> Result<Vec<Repaired>, Reports> {
    let file = InputFile::named(path)?;
    let name = file.path.clone();
    // A repaired text may be any word; only nothing at all is nothing.
    let csv = CsvSettings { null: vec![String::new()], ..CsvSettings::default() };
    let contract = Contract { columns: ContractRule::DiscardValue, data_type: ContractRule::Quarantine };
    let rows = data_file::read(file, "repaired", COLUMNS.map(|(n, t)| (n.to_string(), t.to_string())), csv, contract)?;
    if let Some(first) = rows.rejected.first() {
        let report =
            Report::error("unreadable-data", format!("`{name}` has a row that cannot be read: {}", first.reason));
        let place = Place { line: first.line as usize, ..Place::file(&name) };
        return Err(report
            .at(place)
            .note("a repaired file has `file`, `line` and `raw`, as the export wrote them")
            .into());
    }
    let mut repaired = Vec::new();
    for batch in &rows.batches {
        read_batch(batch, &mut repaired).map_err(|missing| {
            Report::error("unreadable-data", format!("a row of `{name}` has no `{missing}`"))
                .at(Place::file(&name))
                .hint("pelton quarantine NODE --output rows.ndjson")
        })?;
    }
    if repaired.len() as u64 > REPLAY_ROWS_MAX {
        let message = format!("`{name}` has {} rows", thousands(repaired.len() as u64));
        let note = format!("at most {} are replayed at once", thousands(REPLAY_ROWS_MAX));
        return Err(Report::error("not-replayed", message).note(note).into());
    }
    Ok(repaired)
}

fn read_batch(batch: &RecordBatch, into: &mut Vec<Repaired>) -> Result<(), &'static str> {
    let text = |name: &str, row: usize| {
        let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row).to_string())
    };
    let line = |row: usize| {
        let column = batch.column_by_name("line")?.as_primitive_opt::<Int64Type>()?;
        column.is_valid(row).then(|| u64::try_from(column.value(row)).ok()).flatten()
    };
    for row in 0..batch.num_rows() {
        into.push(Repaired {
            id: text("id", row),
            file: text("file", row).ok_or("file")?,
            line: line(row).ok_or("line")?,
            text: text("raw", row).ok_or("raw")?,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<Repaired>, Reports> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_repaired(&path)
    }

    #[test]
    fn an_export_is_read_back_whatever_else_it_has() {
        let row = |id: Option<&str>, line, text: &str| Repaired {
            id: id.map(str::to_string),
            file: "data/a.csv".into(),
            line,
            text: text.into(),
        };
        let csv = "id,node,rule,file,line,raw\nabc,orders,data_type,data/a.csv,3,\"1,\"\"x\"\",NA\"\n,orders,x,data/a.csv,4,NA\n";
        assert_eq!(read("rows.csv", csv).unwrap(), [row(Some("abc"), 3, "1,\"x\",NA"), row(None, 4, "NA")]);
        let json = "{\"file\":\"data/a.csv\",\"line\":3,\"raw\":\"{\\\"a\\\": 1}\",\"reason\":null}\n";
        assert_eq!(read("rows.ndjson", json).unwrap(), [row(None, 3, "{\"a\": 1}")]);
    }

    #[test]
    fn a_file_that_is_no_export_is_refused_by_name() {
        let missing = read("rows.csv", "file,raw\ndata/a.csv,x\n").unwrap_err();
        assert!(missing.0[0].message.ends_with("has no `line`"), "{missing}");
        let wrong = read("rows.csv", "file,line,raw\ndata/a.csv,three,x\n").unwrap_err();
        assert_eq!((wrong.0[0].code, wrong.0[0].at.as_ref().map(|at| at.line)), ("unreadable-data", Some(2)));
        assert_eq!(read("rows.xlsx", "x").unwrap_err().0[0].code, "missing-key");
    }
}
